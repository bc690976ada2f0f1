"""Symbolic links out of a review's folder are refused; those within it are read."""

import os
import shutil

import pytest

STUDY = "studies/beta.yaml"


@pytest.fixture
def elsewhere(review, tmp_path_factory):
    """A folder outside the review with a copy of everything."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(review.folder, folder, dirs_exist_ok=True)
    return folder


def link(review, name, target):
    path = review.folder / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("name", [STUDY, "outcomes.yaml", "table.csv", "studies"])
def test_a_link_out_of_the_review_is_refused(review, elsewhere, name):
    link(review, name, elsewhere / name)
    found = [p for p in review.problems() if "symbolic link" in p.found]
    assert [p.file for p in found] == [name]
    assert str(elsewhere / name) in found[0].found.replace("...", "") or "..." in found[0].found
    assert "link" in found[0].expected
    assert "copy" in found[0].action


def test_a_relative_link_and_a_link_through_a_folder_are_refused(review, elsewhere):
    link(review, STUDY, os.path.relpath(elsewhere / STUDY, review.folder / "studies"))
    (review.folder / "away").symlink_to(elsewhere)
    review.change("config.yaml", "table: table.csv", "table: away/table.csv")
    found = [p.file for p in review.problems() if "symbolic link" in p.found]
    assert sorted(found) == ["away/table.csv", STUDY]


def test_all_links_are_said_in_one_go(review, elsewhere):
    names = [STUDY, "studies/alpha.yaml", "outcomes.yaml", "table.csv"]
    for name in names:
        link(review, name, elsewhere / name)
    found = [p.file for p in review.problems() if "symbolic link" in p.found]
    assert sorted(found) == sorted(names)


def test_what_a_link_out_of_the_review_leads_to_is_not_shown(review, tmp_path_factory):
    secret = tmp_path_factory.mktemp("secret") / "secret.txt"
    secret.write_text("study: a-secret\nword: hunter2\n")
    link(review, STUDY, secret)
    assert "hunter2" not in "".join(map(str, review.problems()))


@pytest.mark.parametrize("what", ["sources", "sources/report.txt"])
def test_stored_texts_behind_a_link_out_of_the_review_are_refused(what, review, elsewhere):
    (elsewhere / "sources").mkdir()
    (elsewhere / "sources/report.txt").write_text("Words of the report.")
    review.change("config.yaml", "studies: studies", "studies: studies, sources: sources")
    if what != "sources":
        (review.folder / "sources").mkdir()
    (review.folder / what).symlink_to(elsewhere / what)
    found = [p for p in review.problems() if "symbolic link" in p.found]
    assert [p.file for p in found] == [what]


@pytest.mark.parametrize("target", ["/dev/zero", "/proc/self/environ", "/nowhere/at/all"])
def test_a_link_to_a_device_or_to_nothing_is_refused(review, target):
    link(review, STUDY, target)
    found = [p for p in review.problems() if p.file == STUDY]
    assert "symbolic link" in found[0].found


def test_a_link_that_goes_round_in_circles_is_refused(review):
    (review.folder / "studies" / "delta.yaml").symlink_to("delta.yaml")
    assert [p.file for p in review.problems()] == ["studies/delta.yaml"]


def test_links_within_the_review_are_read(review):
    for name in (STUDY, "outcomes.yaml", "table.csv"):
        kept = review.folder / "kept" / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(review.folder / name, kept)
        (review.folder / name).symlink_to(kept)
    shutil.move(review.folder / "studies", review.folder / "kept-studies")
    (review.folder / "studies").symlink_to("kept-studies")
    assert len(review.rows("response")) == 3
    assert len(review.rows("tabled")) == 3


def test_a_review_in_a_folder_that_is_itself_a_link_is_read(review, tmp_path_factory):
    way = tmp_path_factory.mktemp("way") / "review"
    way.symlink_to(review.folder)
    linked = type(review)(way)
    assert len(linked.rows("response")) == 3


def test_a_folder_outside_that_the_configuration_names_is_read(review, elsewhere):
    """A path that leads out as it is written hides nothing."""
    outside = os.path.relpath(elsewhere, review.folder)
    review.change("config.yaml", "studies: studies", f"studies: {outside}/studies")
    review.change("config.yaml", "table: table.csv", f"table: {outside}/table.csv")
    assert len(review.rows("response")) == 3


def test_links_out_of_a_folder_that_is_outside_are_refused(review, elsewhere, tmp_path_factory):
    away = tmp_path_factory.mktemp("away") / "beta.yaml"
    shutil.move(elsewhere / STUDY, away)
    (elsewhere / STUDY).symlink_to(away)
    outside = os.path.relpath(elsewhere, review.folder)
    review.change("config.yaml", "studies: studies", f"studies: {outside}/studies")
    (problem,) = [p for p in review.problems() if "symbolic link" in p.found]
    assert problem.file.endswith("studies/beta.yaml")
