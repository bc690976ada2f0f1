"""What holds for any input: numbers keep their text, and nothing but InputError comes out."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from evisynth import yamltext
from evisynth.config import Config
from evisynth.errors import InputError, Problem, echo, safe
from evisynth.printed import number, parse_printed
from evisynth.project import load_project
from evisynth.rows import RawRow
from evisynth.selection import digest
from evisynth.studyfile import OutcomesFile, StudyFile
from evisynth.validation import PATTERNS, nearest
from evisynth.yamltext import read_yaml

# the folder of a review is written anew for every example
EXAMPLES = settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

LOADERS = [yaml.BaseLoader, getattr(yaml, "CBaseLoader", yaml.BaseLoader)]
DECIMALS = st.decimals(-(10**9), 10**9, places=4, allow_nan=False, allow_infinity=False)
ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=200)


# --- printed numbers -------------------------------------------------------------------------


@EXAMPLES
@given(
    st.integers(0, 10**9),
    st.text("0123456789", max_size=6),
    st.sampled_from(["", "-", "−", "–", "+"]),
    st.sampled_from(["", "<", ">", "≤", "≥", "="]),
    st.sampled_from(["", "%", " %"]),
    st.sampled_from([".", "·"]),
)
def test_a_printed_number_keeps_value_and_decimals(
    whole, fraction, sign, relation, unit, point
):
    digits = f"{whole}{point}{fraction}" if fraction else f"{whole}"
    text = f"{relation}{sign}{digits}{unit}"
    printed = parse_printed(text)
    value = float(f"{whole}.{fraction or 0}") * (-1 if sign in ("-", "−", "–") else 1)
    assert printed.text == text
    assert printed.value == value
    assert printed.decimals == len(fraction)
    assert printed.relation == relation
    assert printed.percent == bool(unit)
    assert printed.exact == (relation in ("", "=") and not unit)


@EXAMPLES
@given(DECIMALS)
def test_a_plain_number_is_its_value(value):
    assert number(str(value)) == float(value)


@pytest.mark.parametrize(
    "text",
    ["", " ", ".", "-", "%", "1.2.3", "1,5", "1 000", "--5", "+-1", "NaN", "1e400", "1\n2",
     "-1e999", "0x10", "1_000", "٣", "½", "1/2", "5 (3)", "inf", "<", "<<1", "1%%", "e5", "1e"],
)  # fmt: skip
def test_what_is_no_printed_number(text):
    with pytest.raises(ValueError, match=r"is not a number as printed|too large"):
        parse_printed(text)


@pytest.mark.parametrize("text", ["<.001", "30.2%", "≥5"])
def test_what_is_printed_but_no_plain_number(text):
    parse_printed(text)
    with pytest.raises(ValueError, match="is not a plain number"):
        number(text)


# --- anything at all -------------------------------------------------------------------------


def only_input_errors(review):
    """Load the review; whatever is wrong is said in text that a terminal can show."""
    problems, said = (), ""
    try:
        load_project(review.folder / "config.yaml")
    except InputError as error:
        problems, said = error.problems, str(error)
    assert bool(problems) == bool(said)
    for problem in problems:
        for part in (problem.file, problem.place, problem.found, problem.action):
            assert part.isprintable()
    assert said.replace("\n", "").isprintable()


FILES = ["studies/beta.yaml", "config.yaml", "outcomes.yaml", "table.csv"]


@EXAMPLES
@given(ANY_TEXT, st.sampled_from(FILES))
def test_any_text_as_a_file(review, text, file):
    before = review.read(file)
    review.write(file, text)
    only_input_errors(review)
    review.write(file, before)


@EXAMPLES
@given(st.binary(max_size=100), st.sampled_from(FILES))
def test_any_bytes_as_a_file(review, content, file):
    before = review.read(file)
    review.write(file, content)
    only_input_errors(review)
    review.write(file, before)


TREES = st.recursive(
    st.none()
    | st.text("abc \x1b<>{}[]:#&*!'\"%@\n-0.", max_size=8)
    | st.sampled_from(["orr", "alpha", "N", "n", "all", "1", "-1", "NaN", "yes", "[key]"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc.[]0\x1b", max_size=4), inner)
    ),
    max_leaves=6,
)


def places(tree, keys=()):
    """Paths of all values of a tree."""
    yield keys
    for key, value in (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    ):
        yield from places(value, (*keys, key))


def put(tree, keys, value):
    if not keys:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[keys[0]] = put(tree[keys[0]], keys[1:], value)
    return copy


FULL_STUDY = """\
study: beta
design: single_arm
recruited: {from: 2019-01, sites: 2}
reports: [{id: b1, kind: preprint}, {id: b2, kind: preprint, duplicate_of: b1}]
arms:
  - {id: all, n: 30, treatment: new, made_of: [one, two]}
  - {id: one, n: 10, treatment: other}
  - {id: two, n: 20, treatment: other, unit: patients}
results:
  - outcome: orr
    arms: {all: {events: 9, n: 30, derived: {from: x, method: y}}}
    parts: {cr: 1}
    report: b1
    quote: 9 of 30 responded
    also: [{report: b2, quote: x}]
  - {id: hr, outcome: death, kind: hazard_ratio, estimate: "2", ci: ["1", "3"], report: b1,
     contrast: {numerator: one, denominator: two}, quote: x, use: no, why_not: because}
events_after_randomisation: [{what: x, from: one, to: two, n: 1, of: 2, report: b1, quote: x}]
overlaps: [{with: alpha, kind: same_patients, certainty: likely, report: b1}]
risk_of_bias: {tool: RoB2, per_outcome: {orr: {D1: null}}}
"""


@EXAMPLES
@given(st.data())
@pytest.mark.parametrize("file", ["studies/beta.yaml", "config.yaml", "outcomes.yaml"])
def test_any_value_anywhere(review, file, data):
    before = FULL_STUDY if "beta" in file else review.read(file)
    tree = yaml.load(before, Loader=LOADERS[-1])
    keys = data.draw(st.sampled_from([keys for keys in places(tree) if keys]))
    mutated = put(tree, keys, data.draw(TREES))
    review.write(
        file,
        yaml.dump(
            mutated, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), allow_unicode=True
        ),
    )
    only_input_errors(review)
    review.write(file, before)


def damaged(text, chance):
    """`text` with a few lines lost, doubled or exchanged, or characters replaced."""
    for _ in range(chance.randint(1, 3)):
        lines = text.splitlines(keepends=True)
        i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
        kind = chance.randrange(5)
        if kind == 0:
            del lines[i]
        elif kind == 1:
            lines.insert(j, lines[i])
        elif kind == 2:
            lines[i], lines[j] = lines[j], lines[i]
        text = "".join(lines) or "x"
        at, to = chance.randrange(len(text)), chance.randrange(len(text))
        if kind == 3:
            text = text[:at] + text[to] + text[at + 1 :]
        elif kind == 4:
            text = text[:at] + chance.choice(":-{}[]'\",\t#&*!%\x1b\x00é<>. ") + text[at + 1 :]
    return text


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file(review, file):
    chance = random.Random(20260101)
    before = FULL_STUDY if "beta" in file else review.read(file)
    review.write("studies/beta.yaml", FULL_STUDY)
    review.load()
    for _ in range(200):
        review.write(file, damaged(before, chance))
        only_input_errors(review)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "text",
    [
        'a: "\\ud800"',
        'a: "\\U00110000"',
        "a: b: c",
        "a: [",
        50 * "[",
        "a: &b [*b]",
        "? {a: b}\n: c",
    ],
)
def test_yaml_with_and_without_libyaml(tmp_path, monkeypatch, loader, text):
    monkeypatch.setattr(yamltext, "LOADER", loader)
    (tmp_path / "x.yaml").write_text(text)
    try:
        problems = read_yaml(tmp_path / "x.yaml", "x.yaml").problems
    except InputError as error:
        problems = error.problems
    assert problems


SHIPPED = sorted((Path(__file__).parents[2] / "data" / "studies").glob("*.yaml"))


@pytest.mark.parametrize(
    ("path", "loader"),
    # without libyaml, the longest file alone would take seconds
    [(p, loader) for p in SHIPPED for loader in LOADERS[p.stat().st_size > 20_000 :]],
    ids=lambda value: getattr(value, "stem", None) or value.__name__,
)
def test_the_reader_agrees_with_pyyaml(path, loader, monkeypatch):
    monkeypatch.setattr(yamltext, "LOADER", loader)
    text = path.read_text(encoding="utf-8")

    def as_read(tree):
        if isinstance(tree, dict):
            return {key: as_read(value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [as_read(value) for value in tree]
        return None if tree in ("", "null", "~") else tree

    document = read_yaml(path, path.name)
    assert as_read(document.tree) == as_read(yaml.load(text, Loader=loader))
    assert document.problems == ()
    lines = text.splitlines()
    for keys, line in document.lines.items():
        if keys and isinstance(keys[-1], str):
            assert f"{keys[-1]}" in lines[line - 1]


# --- messages --------------------------------------------------------------------------------


@EXAMPLES
@given(st.text(max_size=300), st.text(max_size=300))
def test_the_text_of_a_problem_is_one_paragraph_that_no_terminal_acts_on(one, two):
    problem = Problem(one, two, echo(one), safe(two), one + two, 3)
    assert len(str(problem).splitlines()) == 4
    assert str(problem).replace("\n", "").isprintable()
    str(InputError([problem])).encode()


def test_a_problem_cannot_grow_without_bound():
    assert len(str(Problem(*(5 * [10**6 * "x"])))) < 11_000


@pytest.mark.parametrize(
    "value", [None, "", "x", 10**4 * "x", [], {"a": 1}, {str(i): i for i in range(99)}]
)
def test_an_echo_is_short_and_no_python(value):
    text = echo(value)
    assert len(text) < 120
    assert "None" not in text


def test_the_nearest_word_regardless_of_capitals():
    assert nearest("plo", ["PLO", "PLN"]) == "; did you mean 'PLO'?"
    assert nearest("zzz", ["PLO"]) == ""


def patterns(model: type[BaseModel]):
    def walk(node):
        if isinstance(node, dict):
            if isinstance(node.get("pattern"), str):
                yield node["pattern"]
            yield from node.get("patternProperties", {})
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    return set(walk(model.model_json_schema()))


def test_every_pattern_is_said_in_words():
    used = patterns(Config) | patterns(StudyFile) | patterns(OutcomesFile)
    assert used == set(PATTERNS)


# --- digests ---------------------------------------------------------------------------------

ROW = RawRow("a", "A", {"xi": 1.0, "ni": 2.0}, ("a/x",), "a", {"year": "2020"}, place="f#row 1")

CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "study": st.text(max_size=3),
        "label": st.text(max_size=3),
        "numbers": st.dictionaries(st.sampled_from(["xi", "ni"]), st.floats(allow_nan=False)),
        "covariates": st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=2),
        "included": st.booleans(),
        "notes": st.tuples(st.text(max_size=3)),
    },
)


def same(one: RawRow, two: RawRow) -> bool:
    """Equal, and in the order that the results will have; -0.0 is another number than 0.0."""
    return repr(replace(one, numbers=dict(sorted(one.numbers.items())))) == repr(
        replace(two, numbers=dict(sorted(two.numbers.items())))
    )


@EXAMPLES
@given(CHANGES, CHANGES)
def test_the_digest_differs_exactly_if_the_rows_do(one, two):
    first, second = replace(ROW, **one), replace(ROW, **two)
    assert (digest([first], {}) == digest([second], {})) == same(first, second)


def test_the_digest_is_the_same_everywhere():
    assert digest([ROW], {"level": 0.95}) == digest([replace(ROW)], {"level": 0.95})
    assert digest([ROW], {"level": 0.95}) != digest([ROW], {"level": 0.9})
    assert digest([ROW, ROW], {}) != digest([ROW], {})
    assert len(digest([ROW], {})) == 16
