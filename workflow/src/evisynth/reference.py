"""The JSON schemas and the reference pages, written from the models of the input files.

``python -m evisynth.reference`` writes them; with ``--check`` it shows differences and fails.
"""

import difflib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from evisynth.audit.records import LEVELS
from evisynth.audit.registry import RULES
from evisynth.audit.run import UNANSWERED, UNANSWERED_MEANS
from evisynth.config import AnalysisId, Config, RelativePath
from evisynth.conversions import CONVERSIONS, methods, named
from evisynth.conversions import FIELDS as CONVERSION_FIELDS
from evisynth.measures import MEASURES as REGISTRY
from evisynth.menus import (
    FAMILIES,
    FAMILY_MEASURES,
    FIELDS,
    GLMM,
    INTERVALS,
    MEASURES,
    PLOTS,
    PREDICTION,
    PRESETS,
    PRIORS,
    ROBUST,
    STRUCTURES,
    TAU2,
    TAU2_GIVEN,
    TESTS,
    WEIGHTS,
)
from evisynth.schema import Id, NumberText, OneOrMore, PrintedText, Text
from evisynth.studyfile import Interval, OutcomesFile, StudyFile

ROOT = Path(__file__).resolve().parents[3]

MEASURES_PAGE = """\
# Effect measures

`yi` is the effect and `vi` its sampling variance on the analysis scale; *to display* is what
brings it back to the scale that a reader sees. Counts: `xi` events of `ni`; two groups `ai` of
`n1i` (`bi` others) and `ci` of `n2i` (`di` others); rates `x1i` events in the
time `t1i`. What is done with zero cells, and the intervals of single studies:
[statistics/effect-measures.md](statistics/effect-measures.md). Numbers that a study does not
report may be derived: [conversions.md](conversions.md).
"""

CONVERSIONS_PAGE = """\
# Conversions

Numbers that a measure needs and a row of a table does not report are derived where that is
possible; each is marked in `notes` of `effects.csv`. Map the columns of your table to the
[fields](#fields) below. Several methods for one thing are a *choice*; `conversions` of the
analysis names another method than the default:

```yaml
measure: MD
columns:
  study: study
  n1i: n_new
  med1i: median_new
  q11i: q1_new
  q31i: q3_new
  n2i: n_old
  med2i: median_old
  q12i: q1_old
  q32i: q3_old
conversions: {{summary: quantile_estimation}}
```

Formulas in full, what rounding does, and when not to:
[statistics/conversions.md](statistics/conversions.md).
{note}
## Choices

The first method is the default. A choice without a default is made on request only, because the
numbers do not tell which is right.

{choices}
## Methods

{methods}
## Fields

Names are as for one group; with two groups the number of the group comes before the last
letter.

{group_fields}
Of the study as a whole:

{study_fields}"""

RULES_PAGE = """\
# Rules of the audit

What verdicts and levels mean, and how to decide on a finding: [audit.md](audit.md). A rule
looks at one study file, one table, one analysis or its fit, or at the whole review. Its level
is that of a plain inconsistency; milder forms of one are warnings or notes.
`evisynth audit --rules` prints this list.
"""

MINIMAL_STUDY = """\
study: mystudy-2027
design: single_arm
reports: [{id: me-2027, doi: 10.1000/xyz, kind: journal_article}]
arms: [{id: all, n: 20, unit: patients, treatment: anti_gd2_chemo}]
results:
  - outcome: orr
    arms: {all: {events: 8, n: 20, printed: "40%"}}
    report: me-2027
    quote: "Eight of 20 patients (40%) responded"
"""

MINIMAL_CONFIG = """\
review: {title: My review, question: "How many patients respond?"}
evidence: {studies: data/studies, outcomes: data/outcomes.yaml}
analyses:
  response:
    title: Objective response
    outcome: orr
    arms: {treatment: anti_gd2_chemo}
    measure: PLO
"""

MINIMAL_OUTCOMES = """\
outcomes:
  orr:
    label: Objective response
    definition: Complete or partial response at best, by the criteria of the study.
    higher_is: good
"""

STUDY_PAGE = """\
# The study file

One YAML file per study, that is per set of patients, however many reports there are about it.
The file lies in the folder that `evidence.studies` of the configuration names, and its `study`
is the name under which the configuration knows it. This is enough:

```yaml
{study}```

Everything else is optional. Three habits help:

- Numbers are written as the report prints them: `printed: "0.050"`, `p: "<.001"`. They are read
  as text, with or without quotes, so that no zero, sign or `%` is lost.
- Every number has its `quote`, verbatim, and the `report` that prints it.
- A number that no report prints has `derived`, and one that must not be used has `use: no` with
  `why_not`.

Several reports of one study are one file. The number of a report that has `superseded_by` or
`duplicate_of` gives way to that of the report named there, where both give it for the same
arms; else that of the one `primary` report is taken. What gives way is named in the notes of
the row, and `choose` in the configuration overrules it. What the audit finds keeps a row out
until `accepted_flags` says otherwise; rule and place are those of `audit.csv`:

```yaml
study: ourstudy-2028
design: single_arm
reports:
  - {{id: abstract-2027, kind: conference_abstract, superseded_by: paper-2028}}
  - {{id: paper-2028, kind: journal_article, primary: yes}}
arms: [{{id: all, n: 20, treatment: anti_gd2_chemo}}]
results:
  - id: orr-2027
    outcome: orr
    arms: {{all: {{events: 7, n: 19}}}}
    report: abstract-2027
    quote: Seven of 19 patients responded
  - outcome: orr
    arms: {{all: {{events: 8, n: 20, printed: "42%"}}}}
    report: paper-2028
    quote: Eight of 20 patients (42%) responded
accepted_flags:
  - rule: COUNT-PERCENT
    place: results.orr.arms.all
    decision: accept
    reason: the authors confirmed the count; 42% is a misprint for 40%
    who: A. Reviewer
    when: "2028-05-04"
```

The [audit](audit.md) finds more the more it is told: which arms divide another one (`splits`),
which results add up (`sums`), between which bounds a category lies (`limits`), and what a
report says of its figures, its statistics and its conclusions, verbatim. Patients that two
studies share are declared under `overlaps`; with `exactly`, the analyses that take both get a
fit with the covariance that this number implies:

```yaml
study: theirstudy-2029
design: single_arm
reports:
  - id: paper-2029
    kind: journal_article
    captions: [{{label: Fig. 1, quote: "Fig. 1 Overall survival by first event (n=8)"}}]
    methods: [{{about: sidedness, says: two_sided, quote: All tests were two-sided}}]
    claims: [{{about: orr, quote: Patients with a first event responded better}}]
    references: [{{title: A trial, doi: 10.1000/abc, quote: A trial. J Trials. 2019}}]
arms:
  - {{id: all, n: 20, treatment: anti_gd2_chemo}}
  - {{id: first, n: 8, treatment: first_event}}
  - {{id: later, n: 11, treatment: later_event}}
results:
  - outcome: orr
    arms: {{first: {{events: 5, printed: "62.5%"}}, later: {{events: 3, printed: "27.3%"}}}}
    report: paper-2029
    quote: 5 of 8 (62.5%) with a first event and 3 of 11 (27.3%) later responded
  - id: complete
    outcome: cr
    arms: {{all: {{events: 3}}}}
    report: paper-2029
    quote: 3 complete and 5 partial responses
  - id: partial
    outcome: pr
    arms: {{all: {{events: 5}}}}
    report: paper-2029
    quote: 3 complete and 5 partial responses
  - id: responses
    outcome: orr
    arms: {{all: {{events: 8, printed: "40%"}}}}
    report: paper-2029
    quote: 8 of 20 (40%) responded
  - id: age
    outcome: age_years
    kind: median
    arms: {{all: {{median: "4.5", range: ["2", "11"]}}}}
    report: paper-2029
    quote: the median age was 4.5 years (range 2 to 11)
  - id: younger
    outcome: age_group
    category: under 5 years
    limits: {{of: age, high: "5"}}
    arms: {{all: {{events: 12, printed: "60%"}}}}
    report: paper-2029
    quote: 12 (60%) were under 5 years of age
splits: [{{of: all, into: [first, later], unknown: 1}}]
sums: [{{parts: [complete, partial], total: responses}}]
overlaps:
  - with: ourstudy-2028
    kind: same_patients
    exactly: 6
    certainty: stated
    report: paper-2029
    quote: Six patients have been reported before
```

An editor with YAML support completes and checks the keys after this first line (the path is
relative to the file):

```yaml
# yaml-language-server: $schema=../../workflow/schemas/study.schema.json
```

The schema knows the keys and the types. What else is checked (order of bounds, events above n,
reports and arms that exist) is said when the workflow reads the file, all mistakes at once. In
the tables below an id is a safe name: letters, digits, `.`, `_` and `-`, at most 64 of them; a
map is `key: value` lines.
"""

OUTCOMES_INTRODUCTION = """
# The outcomes file

`evidence.outcomes` of the configuration names the file that defines the outcomes:

```yaml
{outcomes}```

Its schema is `workflow/schemas/outcomes.schema.json`.
"""

CONFIG_PAGE = """\
# The configuration

`config.yaml` says what the review asks, where its evidence lies and which analyses to make.
Paths are relative to the file. This is enough:

```yaml
{config}```

Another review is another file in a folder of its own:
`snakemake --configfile path/config.yaml`. An analysis takes its numbers from study files
(`outcome` with `arms` or `contrast`) or from a CSV table (`table` with `columns`).

In the tables below an id is a safe name: letters, digits, `.`, `_` and `-`, at most 64 of them
(small letters for an analysis, which names a folder); a map is `key: value` lines. The defaults
of a model are those of the preset `cochrane2025` (`PLO` and `IRLN`: family `GLMM`). What the
models are, and when to choose which: [statistics.md](statistics.md).

An editor with YAML support completes and checks the keys after this first line:

```yaml
# yaml-language-server: $schema=workflow/schemas/config.schema.json
```
"""


class EditorSchema(GenerateJsonSchema):
    """JSON schema of a file as an editor sees it.

    We read every scalar as text, so that ``year: 2019`` and ``use: no`` need no quotes; an
    editor sees a number and, by the version of YAML, a truth value or a word.
    """

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        """Text may look like a number."""
        return {**super().str_schema(schema), "type": ["string", "number"]}

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        """Truth values may be words."""
        return {"enum": [True, False, "yes", "no"]}

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        """Where one or more are allowed, one needs no list."""
        inner = super().function_before_schema(schema)
        if schema["function"]["function"] is OneOrMore.func:
            return {"anyOf": [inner, inner["items"]]}
        return inner

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Titles would repeat the keys."""
        return False


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Give the schema of a whole file."""
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **model.model_json_schema(schema_generator=EditorSchema),
    }


def _shape(kind: Any) -> dict[str, Any]:
    return _bare(TypeAdapter(kind).json_schema(schema_generator=EditorSchema))


def _bare(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in ("description", "default")}


NAMES = [
    (_shape(Id), "id"),
    (_shape(AnalysisId), "id in small letters"),
    (_shape(Text), "text"),
    (_shape(RelativePath), "path"),
    (_shape(NumberText), "number, kept as text"),
    (_shape(PrintedText), "number as printed"),
    (_shape(Interval), "interval: `[low, high]`"),
]

WORDS: dict[str, Mapping[str, str]] = {
    "Measures": MEASURES,
    "Families": FAMILIES,
    "Methods (estimators of τ²)": TAU2 | TAU2_GIVEN,
    "Weights of GENQ": WEIGHTS,
    "Tests": TESTS,
    "Prediction intervals": PREDICTION,
    "Models of two groups of counts": GLMM,
    "Priors of τ": PRIORS,
    "Structures of random effects": STRUCTURES,
    "Robust standard errors": ROBUST,
    "Intervals of τ²": INTERVALS,
    "Presets": PRESETS,
    "Plots": PLOTS,
    "Columns of a table": FIELDS,
}
# Words that a key takes besides those of a menu, and the page that lists them.
BESIDES = {
    "Columns of a table": (CONVERSION_FIELDS, "fields of conversions", "conversions.md#fields")
}
# Keys of free text, and where their words are explained.
SEE = {
    "prior": "[Priors of τ](#priors-of-τ)",
    "measure_options": "[options of the measures](measures.md#options)",
    "conversions": "[choices and methods](conversions.md#choices)",
    "formula": "[formulas](statistics/regression.md#formulas)",
}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _heading(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def _link(heading: str) -> str:
    return f"[{heading}](#{_anchor(heading)})"


def _one_of(words: list[Any]) -> str:
    for heading, menu in WORDS.items():
        more, name, page = BESIDES.get(heading, ({}, "", ""))
        if set(words) == set(menu) | set(more):
            return _link(heading) + (f" or [{name}]({page})" if more else "")
    listed = ", ".join(f"`{word}`" for word in words)
    return listed if len(words) == 1 else f"one of {listed}"


def _bounds(node: dict[str, Any]) -> str:
    said = {"minimum": "from", "exclusiveMinimum": "above", "exclusiveMaximum": "and below"}
    parts = [f"{word} {node[key]}" for key, word in said.items() if key in node]
    if 0 < node.get("maximum", 0) < 10**9:
        parts.append(f"to {node['maximum']}")
    return "".join(f" {part}" for part in parts)


def _type(node: dict[str, Any]) -> str:
    """Say in words what a node of the schema accepts."""
    named = [name for shape, name in NAMES if shape == _bare(node)]
    if named:
        return named[0]
    if "$ref" in node:
        return _link(_heading(node["$ref"].rpartition("/")[2]))
    if "anyOf" in node:
        options = [_type(option) for option in node["anyOf"] if option.get("type") != "null"]
        return " or ".join(options)
    if node.get("enum") == [True, False, "yes", "no"]:
        return "`yes` or `no`"
    if "enum" in node or "const" in node:
        return _one_of(node.get("enum") or [node["const"]])
    if node["type"] == "array":
        return f"list of {_type(node['items'])}"
    if node["type"] == "object":
        values = node.get("additionalProperties") or next(
            iter(node["patternProperties"].values())
        )
        return f"map from {_keys(node)} to {_type(values)}"
    words = {"integer": "whole number", "number": "number"}
    return words.get(str(node["type"]), "text") + _bounds(node)


def _keys(node: dict[str, Any]) -> str:
    names = node.get("propertyNames", {})
    if "enum" in names:
        return _one_of(names["enum"])
    return "id" if "patternProperties" in node or "pattern" in names else "text"


def _default(key: str, node: dict[str, Any], required: list[str]) -> str:
    if key in required:
        return "**required**"
    value = node.get("default")
    if isinstance(value, bool):
        return "`yes`" if value else "`no`"
    if isinstance(value, list) and value:
        return f"`[{', '.join(map(str, value))}]`"
    # the defaults of a nested section are in its own table
    return "" if value in (None, "") or isinstance(value, dict | list) else f"`{value}`"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in lines
    )


def _section(model: dict[str, Any]) -> str:
    rows = [
        (
            f"`{key}`",
            _type(node) + (f"; see {SEE[key]}" if key in SEE else ""),
            _default(key, node, model.get("required", [])),
            _linked(node["description"]),
        )
        for key, node in model["properties"].items()
    ]
    text = _linked(model["description"])
    return f"{text}\n\n{_table(('key', 'type', 'default', 'meaning'), rows)}\n"


def _linked(text: str) -> str:
    """Names of pages become links."""
    return re.sub(r"docs/([\w/-]+\.md)", r"[\1](\1)", text)


def _references(node: Any) -> Iterator[str]:
    """Names of the models that a part of the schema names, in order."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def sections(model: type[BaseModel]) -> str:
    """Give the tables of a file's model: the top level first, then in the order of its keys."""
    schema = json_schema(model)
    order: list[str] = []
    todo = list(_references(schema["properties"]))
    while todo:
        name = todo.pop(0)
        if name not in order:
            order.append(name)
            todo = [*_references(schema["$defs"][name]["properties"]), *todo]
    text = f"\n## {_heading(model.__name__)}\n\n{_section(schema)}"
    for name in order:
        text += f"\n## {_heading(name)}\n\n{_section(schema['$defs'][name])}"
    return text


def words() -> str:
    """Give the tables of the words that the configuration may use."""
    text = ""
    for heading, menu in WORDS.items():
        rows = [
            (f"`{word}`", meaning + (_only_for(word) if menu is FAMILIES else ""))
            for word, meaning in menu.items()
        ]
        text += f"\n## {heading}\n\n{_table(('word', 'meaning'), rows)}\n"
        if heading in BESIDES:
            _, name, page = BESIDES[heading]
            text += f"\nColumns from which numbers are derived: [{name}]({page}).\n"
    return text


def _only_for(family: str) -> str:
    measures = FAMILY_MEASURES.get(family)
    return f"; for {', '.join(f'`{key}`' for key in measures)}" if measures else ""


def _words(words: Sequence[str]) -> str:
    return f"`{' '.join(words)}`"


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;")


def conversions() -> str:
    """Give the page of the conversions, out of the registry that makes them."""
    by_choice = dict.fromkeys(entry.choice for entry in CONVERSIONS.values())
    choices = [
        (
            f"`{choice}`",
            ", ".join(f"`{key}`" for key in methods(choice)),
            "yes" if CONVERSIONS[methods(choice)[0]].default else "none: on request only",
        )
        for choice in by_choice
    ]
    listed = [
        (
            f"`{entry.key}`",
            f"`{entry.choice}`",
            _words(entry.gives),
            " or ".join(map(_words, entry.needs)),
            *map(_escaped, (entry.formula, entry.limits, entry.citation)),
        )
        for entry in CONVERSIONS.values()
    ]
    of_groups = [field for field in CONVERSION_FIELDS if named(field, 1) in CONVERSION_FIELDS]
    later = {named(field, group) for field in of_groups for group in (1, 2)}
    of_studies = [f for f in CONVERSION_FIELDS if f not in later and f not in of_groups]
    return CONVERSIONS_PAGE.format(
        note=NOTE,
        choices=_table(("choice", "methods", "default"), choices) + "\n",
        methods=_table(
            ("key", "choice", "gives", "needs", "formula", "limits", "source"), listed
        )
        + "\n",
        group_fields=_table(
            ("one group", "group 1", "group 2", "meaning"),
            [
                (*(f"`{named(field, group)}`" for group in (0, 1, 2)), CONVERSION_FIELDS[field])
                for field in of_groups
            ],
        )
        + "\n",
        study_fields=_table(
            ("field", "meaning"), [(f"`{f}`", CONVERSION_FIELDS[f]) for f in of_studies]
        )
        + "\n",
    )


def audit_rules() -> str:
    """Give the tables of the rules of the audit, out of the registry that runs them."""
    text = ""
    for level in LEVELS:
        rows = [
            (f"`{rule.id}`", rule.scope, *map(_escaped, (rule.definition, rule.reference)))
            for rule in sorted(RULES.values(), key=lambda rule: rule.id)
            if rule.level == level
        ]
        if level == "warning":
            rows.append((f"`{UNANSWERED}`", "review", UNANSWERED_MEANS, ""))
        table = _table(("rule", "looks at", "fails when", "source"), rows)
        text += f"\n## {level.capitalize()}s\n\n{table}\n"
    return text


def measures() -> str:
    """Give the table of the effect measures, out of the registry that computes them."""
    rows = [
        (
            f"`{key}`",
            MEASURES[key],
            " or ".join(f"`{' '.join(names)}`" for names in measure.inputs),
            measure.formula,
            measure.back_name,
            measure.limits,
            measure.citation.replace("<", "&lt;"),
        )
        for key, measure in REGISTRY.items()
    ]
    head = ("key", "effect", "inputs", "formula", "to display", "limits", "source")
    return _table(head, rows) + "\n"


def options() -> str:
    """Give the table of the options of the effect measures."""
    rows = []
    for key, measure in REGISTRY.items():
        for option in measure.options:
            values = [f"`{word}`: {meaning}" for word, meaning in option.allowed.items()]
            values += [f"a number: {option.number}"] if option.number else []
            values += [f"not `{word}`: {why}" for word, why in option.refused.items()]
            said = f"`{option.default}`", "; ".join(values)
            rows.append((f"`{key}`", f"`{option.name}`", option.meaning, *said))
    return _table(("measure", "option", "decides", "default", "values"), rows) + "\n"


NOTE = "\n<!-- Written by `python -m evisynth.reference` from the models; edit those. -->\n"


def expected() -> dict[Path, str]:
    """Give every file that this module writes, relative to the repository, with its content."""
    models: dict[str, type[BaseModel]] = {
        "study": StudyFile,
        "config": Config,
        "outcomes": OutcomesFile,
    }
    files = {
        Path(f"workflow/schemas/{name}.schema.json"): json.dumps(
            json_schema(model), indent=2, ensure_ascii=False
        )
        + "\n"
        for name, model in models.items()
    }
    files[Path("docs/study-file.md")] = (
        STUDY_PAGE.format(study=MINIMAL_STUDY)
        + NOTE
        + sections(StudyFile)
        + OUTCOMES_INTRODUCTION.format(outcomes=MINIMAL_OUTCOMES)
        + sections(OutcomesFile)
    )
    files[Path("docs/config.md")] = (
        CONFIG_PAGE.format(config=MINIMAL_CONFIG) + NOTE + sections(Config) + words()
    )
    files[Path("docs/measures.md")] = (
        MEASURES_PAGE + NOTE + "\n" + measures() + "\n## Options\n\n" + options()
    )
    files[Path("docs/conversions.md")] = conversions()
    files[Path("docs/audit-rules.md")] = RULES_PAGE + NOTE + audit_rules()
    return files


def differences(root: Path = ROOT) -> str:
    """Show how the files below `root` differ from what they should be; empty if they do not."""
    text = ""
    for path, new in expected().items():
        file = root / path
        old = file.read_text(encoding="utf-8") if file.exists() else ""
        lines = difflib.unified_diff(
            old.splitlines(keepends=True),
            new.splitlines(keepends=True),
            f"{path}",
            "the models",
        )
        text += "".join(lines)
    return text


def main(arguments: list[str]) -> int:
    """Write the files, or compare them with ``--check``."""
    if arguments == ["--check"]:
        found = differences()
        if found:
            print(found)
            print("out of step: run python -m evisynth.reference")
        return 1 if found else 0
    for path, text in expected().items():
        file = ROOT / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
