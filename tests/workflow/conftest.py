"""The small review, built once, and a copy of it for each test."""

import shutil
from pathlib import Path

import pytest
from support.review import Project


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was built once; tests copy it."""
    project = Project(tmp_path_factory.mktemp("built") / "a review").create()
    project.build()
    return project


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """A built project of one's own, in a folder with a space in its name."""
    folder = tmp_path / "a review"
    shutil.copytree(built.folder, folder)
    return Project(folder)
