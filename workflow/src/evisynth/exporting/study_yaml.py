"""Study files as text: what `evidence.read_evidence` reads back as the same study."""

from collections.abc import Mapping
from typing import Any

import yaml

from evisynth.studyfile import Outcome, OutcomesFile, StudyFile

WIDTH = 96


def study_yaml(content: StudyFile, schema: str = "") -> str:
    """A study as the text of its file; keys with their default value are left out.

    Parameters
    ----------
    schema : address of the JSON schema, for the completion of editors; empty for none.
    """
    return _head(schema) + _dump(content.model_dump(by_alias=True, exclude_defaults=True))


def outcomes_yaml(outcomes: Mapping[str, Outcome], schema: str = "") -> str:
    """Outcomes as the text of their file."""
    content = OutcomesFile(outcomes=dict(outcomes))
    return _head(schema) + _dump(content.model_dump(exclude_defaults=True))


def _head(schema: str) -> str:
    return f"# yaml-language-server: $schema={schema}\n" if schema else ""


def _dump(tree: Any) -> str:
    # quotes every text that YAML would take for a number, a date, yes or nothing
    return str(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=WIDTH, indent=2))
