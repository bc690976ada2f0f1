"""A study file to fill in: commented, and wrong only where something has to be filled in."""

import os
import re
from pathlib import Path

from evisynth.errors import InputError, Problem, echo
from evisynth.project import DEVICES
from evisynth.schema import ID_PATTERN
from evisynth.validation import PATTERNS

FILL_IN = "# fill in"
"""Ends every line without which the file is not valid."""

SCHEMA = "workflow/schemas/study.schema.json"
TWO_ARMS = ("rct", "nonrandomised")

_HEAD = """\
{schema}# {study}: who this is, in a line.
# One file per set of patients, whatever the number of reports. Lines that end in `# fill in`
# are needed; remove other lines that the reports say nothing of. Every key: docs/study-file.md.
# Numbers as printed, with their zeros: "0.050", "<.001", "30.2%".
study: {study}
label: {study}          # name to print, e.g. Smith 2020
design: {design}
# excluded: why no analysis takes it
# registry: [NCT00000000]
# recruited: {{from: 2019-01, to: 2021-06, countries: 1, sites: 1}}
# population: {{setting: one_word, age: as printed, patients: 0}}

# ---- publications about these patients; numbers are taken from the `primary` one
reports:
  - id: {study}-report
    # journal_article, journal_abstract, conference_abstract, preprint, press_release,
    # repository_record, registry_record or secondary_source
    kind:          # fill in
    title:
    year:
    doi:           # without https://doi.org/
    seen: full_text          # or abstract, press_release, record, secondary, not_seen
    primary: true

# ---- groups of patients, each counted once; `treatment` is the word that analyses select by
arms:
"""

_ARM = """\
  - id: {arm}
    label: {label}
    n:          # fill in
    unit: patients          # or episodes, tumours (then also `clusters`: patients)
    treatment:          # fill in
    role: {role}
"""

_RESULTS = """\

# ---- one entry per printed number, with the words that print it
results:
  - outcome:          # fill in
    # count, crude_proportion, km_probability, hazard_ratio, risk_ratio, odds_ratio, mean,
    # median, p_value, range or statement
    kind: count
    when:          # time point and definition
    arms:
{values}    report: {study}-report
    quote:          # fill in
"""

_VALUE = """\
      {arm}: {{events: , n: , printed: }}
"""

_EFFECT = """\
  # An effect as printed:
  # - outcome: os
  #   kind: hazard_ratio
  #   contrast: {{numerator: experimental, denominator: comparator}}
  #   estimate: "0.72"
  #   ci: ["0.55", "0.94"]
  #   p: "0.016"
  #   report: {study}-report
  #   quote: "its words, verbatim"
"""

_FOOT = """\

# ---- patients who may be in another study too, declared in both files
# overlaps:
#   - {with: other-study, kind: same_centres, at_most: 0, certainty: possible}

# ---- what a person judges stays empty until a person has
# risk_of_bias: {tool: RoB2, per_outcome: {}}
"""


def template(study: str, design: str, schema: str = "") -> str:
    """A study file with comments, for `study` of the given `design`.

    Parameters
    ----------
    schema : path of the JSON schema from the file's folder, for editors; empty for none.
    """
    two = design in TWO_ARMS
    arms = (
        (("experimental", "experimental"), ("comparator", "comparator"))
        if two
        else (("all", "single"),)
    )
    line = f"# yaml-language-server: $schema={schema}\n" if schema else ""
    text = _HEAD.format(schema=line, study=study, design=design)
    for arm, role in arms:
        text += _ARM.format(arm=arm, label=arm.capitalize(), role=role)
    values = "".join(_VALUE.format(arm=arm) for arm, _ in arms)
    text += _RESULTS.format(study=study, values=values)
    if two:
        text += _EFFECT.format(study=study)
    return text + _FOOT


def new_file(study: str, folder: Path) -> Path:
    """Path of the new file, which is not there yet.

    Raises
    ------
    InputError
        A name that is not safe, or a file or folder that is in the way.
    """
    problems = []
    if not re.fullmatch(ID_PATTERN, study):
        problems.append(
            Problem(
                "evisynth new",
                "STUDY",
                echo(study),
                PATTERNS[ID_PATTERN],
                "choose another name",
            )
        )
    elif study.casefold().partition(".")[0] in DEVICES:
        problems.append(
            Problem(
                "evisynth new",
                "STUDY",
                f"the name {echo(study)}",
                "a name that Windows can give to a file",
                "choose another name",
            )
        )
    shown = folder.as_posix()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        problems.append(
            Problem(shown, "--out", found, "the folder of study files", "create or correct it")
        )
    elif not problems:
        wanted = f"{study}.yaml".casefold()
        twin = next((p for p in sorted(folder.iterdir()) if p.name.casefold() == wanted), None)
        if twin is not None:
            problems.append(
                Problem(
                    (folder / twin.name).as_posix(),
                    "the file to write",
                    "a file of that name",
                    "a new study",
                    "edit it, or choose another name",
                )
            )
    if problems:
        raise InputError(problems)
    return folder / f"{study}.yaml"


def schema_path(folder: Path) -> str:
    """The schema as seen from `folder`: in the nearest folder above it; empty if in none."""
    here = folder.resolve()
    for above in (here, *here.parents):
        if (above / SCHEMA).is_file():
            return Path(os.path.relpath(above / SCHEMA, here)).as_posix()
    return ""
