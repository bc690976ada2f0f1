"""How many slips of extraction the audit finds, and how often it cries wolf.

``python benchmarks/mutations.py`` takes clean extractions, plants realistic errors of 12
kinds in them, one at a time and each with a seed, audits the clean and the spoilt material,
and writes ``mutations.csv``, ``mutations_clean.csv`` and the section of ``README.md``. About
two minutes.

Every table is taken twice: *poor*, with nothing but the numbers that are pooled, and *rich*,
with what papers print beside them (percentages, effect, interval, p-value), derived here from
the true numbers. Study files are a third kind of material: they have quotes.

An error is **detectable** if the spoilt row contradicts itself: some number of it is not the
one (by more than one unit of its last digit; p-values by more than half) that the row's other
numbers give by the formula that it came from, or is impossible, or, in a study file, stands
nowhere in its quote; for duplicates, if the row has at least six significant digits. Whether
it does is computed here, by none of the audit's code. Otherwise another study could truly
have printed exactly this, and no audit can know. **Detected** is an error that is refused
when the file is read, or that raises an error or warning which the clean material does not.
"""

import copy
import csv
import math
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from scipy.special import ndtri, stdtr, stdtrit

from evisynth.audit.material import Review, StudyMaterial, TableMaterial
from evisynth.audit.records import Finding
from evisynth.audit.run import audit
from evisynth.evidence import Evidence, Study
from evisynth.inputs import INPUTS, check_numbers
from evisynth.studyfile import StudyFile
from evisynth.yamltext import read_yaml

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).parent
SEED = 20261121
PER_KIND = 120
MOST_ROWS = 40
DIGITS_OF_A_DUPLICATE = 6
README_MARKS = ("<!-- mutations: begin -->", "<!-- mutations: end -->")

KINDS = {
    "transposed digits": "two neighbouring digits of a number",
    "wrong denominator": "the other group's size, or both together",
    "SE for SD": "standard errors in the column of standard deviations",
    "wrong sign": "an effect with the other sign",
    "log not taken": "a ratio in the column of its logarithm",
    "inverted contrast": "effect and interval of group 2 v group 1",
    "duplicated row": "the numbers of another row",
    "wrong CI level": "a 90 or 99% interval taken for one of 95%",
    "swapped arms": "all numbers of the two groups exchanged",
    "percent as count": "a percentage in the column of events",
    "off by ten": "a displaced decimal point, or a digit too many",
    "wrong column": "those without the event, mean for SD, variance for standard error, bounds",
}

Row = dict[str, str]
"""Fields and their text."""


# -- what a paper prints -----------------------------------------------------------------------


def rounded(value: float, decimals: int) -> str:
    """Half up, as papers do."""
    unit = Decimal(1).scaleb(-decimals)
    return str(Decimal(repr(value)).quantize(unit, rounding=ROUND_HALF_UP))


def p_text(p: float) -> str:
    """Three decimals."""
    return "<0.001" if p < 0.0005 else rounded(p, 3)


def two_sided(z: float) -> float:
    """p-value of a normal deviate."""
    return math.erfc(abs(z) / math.sqrt(2))


def around(centre: float, se: float, level: float) -> tuple[float, float]:
    """Wald interval."""
    half = float(ndtri(0.5 + level / 2)) * se
    return centre - half, centre + half


def of_two_counts(row: Row, level: float) -> Row:
    """Percentages, risk ratio with Wald interval, chi-square test (Pearson's)."""
    a, n1, c, n2 = (float(row[key]) for key in ("ai", "n1i", "ci", "n2i"))
    said = {"percent1i": rounded(100 * a / n1, 1), "percent2i": rounded(100 * c / n2, 1)}
    if a > 0 and c > 0 and a + c < n1 + n2:
        log = math.log(a / n1 / (c / n2))
        low, high = around(log, math.sqrt(1 / a - 1 / n1 + 1 / c - 1 / n2), level)
        share = (a + c) / (n1 + n2)
        z = (a / n1 - c / n2) / math.sqrt(share * (1 - share) * (1 / n1 + 1 / n2))
        said |= {
            "estimate": rounded(math.exp(log), 2),
            "ci_low": rounded(math.exp(low), 2),
            "ci_high": rounded(math.exp(high), 2),
            "pval": p_text(two_sided(z)),
        }
    return said


def of_one_count(row: Row, level: float) -> Row:
    """The percentage."""
    return {"percenti": rounded(100 * float(row["xi"]) / float(row["ni"]), 1)}


def of_two_means(row: Row, level: float) -> Row:
    """Difference, pooled t interval and test."""
    n1, m1, s1, n2, m2, s2 = (
        float(row[key]) for key in ("n1i", "m1i", "sd1i", "n2i", "m2i", "sd2i")
    )
    df = n1 + n2 - 2
    se = math.sqrt(((n1 - 1) * s1**2 + (n2 - 1) * s2**2) / df * (1 / n1 + 1 / n2))
    half = float(stdtrit(df, 0.5 + level / 2)) * se
    decimals = max(1, *(len(row[key].partition(".")[2]) for key in ("m1i", "m2i")))
    return {
        "estimate": rounded(m1 - m2, decimals),
        "ci_low": rounded(m1 - m2 - half, decimals),
        "ci_high": rounded(m1 - m2 + half, decimals),
        "pval": p_text(2 * float(stdtr(df, -abs(m1 - m2) / se))),
    }


def of_log_effect(row: Row, level: float) -> Row:
    """Ratio with Wald interval and test."""
    yi, se = float(row["yi"]), float(row["sei"])
    low, high = around(yi, se, level)
    return {
        "estimate": rounded(math.exp(yi), 2),
        "ci_low": rounded(math.exp(low), 2),
        "ci_high": rounded(math.exp(high), 2),
        "pval": p_text(two_sided(yi / se)),
    }


def of_effect(row: Row, level: float) -> Row:
    """Wald interval and test of a difference."""
    yi, se = float(row["yi"]), math.sqrt(float(row["vi"]))
    low, high = around(yi, se, level)
    return {
        "ci_low": rounded(low, 2),
        "ci_high": rounded(high, 2),
        "pval": p_text(two_sided(yi / se)),
    }


@dataclass(frozen=True)
class Shape:
    """What the rows of a table consist of.

    Attributes
    ----------
    base : fields that are pooled.
    prints : what a paper prints beside them, from these, at a level.
    """

    measure: str
    base: tuple[str, ...]
    prints: Callable[[Row, float], Row]


COUNTS = Shape("RR", ("ai", "n1i", "ci", "n2i"), of_two_counts)
COUNT = Shape("PLO", ("xi", "ni"), of_one_count)
MEANS = Shape("MD", ("n1i", "m1i", "sd1i", "n2i", "m2i", "sd2i"), of_two_means)
LOGS = Shape("HR", ("yi", "sei"), of_log_effect)
EFFECTS = Shape("GEN", ("yi", "vi"), of_effect)


@dataclass(frozen=True)
class Source:
    """A clean extraction."""

    name: str
    shape: Shape
    rows: tuple[tuple[str, Row], ...]

    def rich(self) -> "Source":
        """With what papers print beside the numbers.

        Of rows with the same numbers only the first: what is derived from them is the same to
        the last digit, which papers' own effects, from unrounded numbers, would not be.
        """
        once: dict[tuple[str, ...], tuple[str, Row]] = {}
        for name, row in self.rows:
            once.setdefault(tuple(row.values()), (name, row | self.shape.prints(row, 0.95)))
        return Source(self.name, self.shape, tuple(once.values()))


# name: shape, file, column of the study, columns of the fields, rows to take
TABLES: dict[str, tuple[Shape, str, str, dict[str, str], dict[str, str]]] = {
    "bcg": (COUNTS, "reviews/bcg/data/bcg.csv", "study", {"ai": "tpos", "ci": "cpos"}, {}),
    "li2007": (COUNTS, "tests/data/li2007.csv", "study", {}, {}),
    "anand1999": (COUNTS, "tests/data/anand1999.csv", "study", {}, {}),
    "egger2001": (COUNTS, "tests/data/egger2001.csv", "study", {}, {}),
    "hine1989": (COUNTS, "tests/data/hine1989.csv", "study", {}, {}),
    "yusuf1985": (COUNTS, "tests/data/yusuf1985.csv", "trial", {}, {"table": "6"}),
    "nielweise2007": (COUNTS, "tests/data/nielweise2007.csv", "author", {}, {}),
    "linde2005": (COUNTS, "tests/data/linde2005.csv", "study", {}, {}),
    "pritz1997": (COUNT, "tests/data/pritz1997.csv", "authors", {}, {}),
    "normand1999": (MEANS, "reviews/normand1999/data/normand1999.csv", "study", {}, {}),
    "curtis1998": (MEANS, "tests/data/curtis1998.csv", "id", {}, {}),
    "riley2003_os": (LOGS, "data/tables/riley2003.csv", "study", {}, {"outcome": "OS"}),
    "riley2003_dfs": (LOGS, "data/tables/riley2003.csv", "study", {}, {"outcome": "DFS"}),
    "konstantopoulos2011": (
        EFFECTS,
        "reviews/konstantopoulos2011/data/konstantopoulos2011.csv",
        "study",
        {},
        {},
    ),
    "raudenbush1985": (EFFECTS, "tests/data/raudenbush1985.csv", "author", {}, {}),
    "knapp2017": (EFFECTS, "tests/data/knapp2017.csv", "authors", {}, {}),
}


def source(name: str) -> Source:
    """Read a clean table; rows with missing numbers are left out."""
    shape, file, study, columns, wanted = TABLES[name]
    rows = []
    with (ROOT / file).open(newline="", encoding="utf-8") as stream:
        for cells in csv.DictReader(stream):
            if any(cells[column] != value for column, value in wanted.items()):
                continue
            if name == "bcg":
                cells["n1i"] = str(int(cells["tpos"]) + int(cells["tneg"]))
                cells["n2i"] = str(int(cells["cpos"]) + int(cells["cneg"]))
            row = {field: cells.get(columns.get(field, field)) or "" for field in shape.base}
            if all(text not in ("", "NA") for text in row.values()):
                rows.append((cells[study], row))
    return Source(name, shape, tuple(rows[:MOST_ROWS]))


# -- planting ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spoilt:
    """A table with one error.

    Attributes
    ----------
    touched : numbers, from 1, of the rows that it may show in.
    """

    rows: tuple[tuple[str, Row], ...]
    touched: tuple[int, ...]
    what: str


Change = Callable[[random.Random, Source, Row], Row | None]


def transposed(rng: random.Random, table: Source, row: Row) -> Row | None:
    """Two neighbouring digits exchanged."""
    field = rng.choice([f for f in row if not row[f].startswith("<")])
    text = row[field]
    places = [
        i
        for i in range(len(text) - 1)
        if text[i : i + 2].isdigit()
        and text[i] != text[i + 1]
        and not (i == 0 and text[1] == "0")
    ]
    if not places:
        return None
    i = rng.choice(places)
    return row | {field: text[:i] + text[i + 1] + text[i] + text[i + 2 :]}


def wrong_denominator(rng: random.Random, table: Source, row: Row) -> Row | None:
    """Another group size."""
    if "n1i" in row:
        one, two = rng.choice([("n1i", "n2i"), ("n2i", "n1i")])
        both = str(int(row["n1i"]) + int(row["n2i"]))
        return row | {one: rng.choice([row[two], both])}
    if "ni" in row:
        return row | {"ni": rng.choice(table.rows)[1]["ni"]}
    return None


def se_for_sd(rng: random.Random, table: Source, row: Row) -> Row | None:
    """Standard errors for standard deviations."""
    if "sd1i" not in row:
        return None
    wrong = {}
    for sd, n in (("sd1i", "n1i"), ("sd2i", "n2i")):
        digits = max(2, len(re.sub(r"\D", "", row[sd]).lstrip("0")))
        wrong[sd] = f"{float(row[sd]) / math.sqrt(float(row[n])):.{digits}g}"
    return row | wrong


def negated(text: str) -> str:
    """The text of a number with the other sign."""
    return text[1:] if text.startswith("-") else f"-{text}"


def wrong_sign(rng: random.Random, table: Source, row: Row) -> Row | None:
    """An effect with the other sign."""
    if "yi" in row:
        return row | {"yi": negated(row["yi"])}
    if table.shape is MEANS:
        field = rng.choice([f for f in ("m1i", "m2i", "estimate") if f in row])
        return row | {field: negated(row[field])}
    return None


def log_not_taken(rng: random.Random, table: Source, row: Row) -> Row | None:
    """The ratio for its logarithm."""
    return row | {"yi": rounded(math.exp(float(row["yi"])), 2)} if table.shape is LOGS else None


def inverted(rng: random.Random, table: Source, row: Row) -> Row | None:
    """Effect and interval of the opposite contrast."""
    if "estimate" not in row:
        return None
    if table.shape is MEANS:
        ends = (negated(row[key]) for key in ("estimate", "ci_high", "ci_low"))
    else:
        texts = [row[key] for key in ("estimate", "ci_high", "ci_low")]
        if any(float(text) == 0 for text in texts):
            return None
        ends = (rounded(1 / float(text), 2) for text in texts)
    return row | dict(zip(("estimate", "ci_low", "ci_high"), ends, strict=True))


def wrong_level(rng: random.Random, table: Source, row: Row) -> Row | None:
    """The interval at another level."""
    if "ci_low" not in row:
        return None
    other = table.shape.prints(row, rng.choice([0.90, 0.99]))
    return row | {key: other[key] for key in ("ci_low", "ci_high")}


def swapped(rng: random.Random, table: Source, row: Row) -> Row | None:
    """The numbers of the two groups exchanged."""
    if table.shape not in (COUNTS, MEANS):
        return None
    pairs = [("ai", "ci"), *((f, f.replace("1i", "2i")) for f in row if f.endswith("1i"))]
    found = dict(row)
    for one, two in pairs:
        if one in row and two in row:
            found[one], found[two] = row[two], row[one]
    return found


def percent_as_count(rng: random.Random, table: Source, row: Row) -> Row | None:
    """A percentage for a count."""
    choices = [(k, n) for k, n in (("ai", "n1i"), ("ci", "n2i"), ("xi", "ni")) if k in row]
    if not choices:
        return None
    k, n = rng.choice(choices)
    return row | {k: rounded(100 * float(row[k]) / float(row[n]), 0)}


def off_by_ten(rng: random.Random, table: Source, row: Row) -> Row | None:
    """A number ten times as large or small."""
    field = rng.choice([f for f in row if not row[f].startswith("<")])
    text = row[field]
    if "." in text:
        # a point that is one place away
        value = Decimal(text) * rng.choice([Decimal(10), Decimal("0.1")])
        return row | {field: f"{value.normalize():f}"}
    if text.endswith("0") and len(text) > 1 and rng.random() < 0.5:
        return row | {field: text[:-1]}
    return row | {field: text + "0"}


def wrong_column(rng: random.Random, table: Source, row: Row) -> Row | None:
    """A number of a neighbouring column."""
    options: list[Row] = []
    for k, n in (("ai", "n1i"), ("ci", "n2i"), ("xi", "ni")):
        if k in row:
            options.append({k: str(int(row[n]) - int(row[k]))})
    for mean, sd in (("m1i", "sd1i"), ("m2i", "sd2i")):
        if mean in row:
            options.append({mean: row[sd], sd: row[mean]})
    if "sei" in row:
        options.append({"sei": f"{float(row['sei']) ** 2:.2g}"})
    if "vi" in row:
        options.append({"vi": f"{math.sqrt(float(row['vi'])):.3g}"})
    if "estimate" in row:
        options.append({"estimate": row["ci_low"], "ci_low": row["estimate"]})
    return row | rng.choice(options) if options else None


def duplicated(rng: random.Random, table: Source, i: int) -> Spoilt | None:
    """The numbers of row `i` in another row too."""
    j = rng.randrange(len(table.rows))
    rows = list(table.rows)
    if i == j or rows[i][1] == rows[j][1]:
        return None
    rows[j] = (rows[j][0], dict(rows[i][1]))
    return Spoilt(tuple(rows), (i + 1, j + 1), f"row {j + 1} has the numbers of row {i + 1}")


CHANGES: dict[str, Change] = {
    "transposed digits": transposed,
    "wrong denominator": wrong_denominator,
    "SE for SD": se_for_sd,
    "wrong sign": wrong_sign,
    "log not taken": log_not_taken,
    "inverted contrast": inverted,
    "wrong CI level": wrong_level,
    "swapped arms": swapped,
    "percent as count": percent_as_count,
    "off by ten": off_by_ten,
    "wrong column": wrong_column,
}


def plant(rng: random.Random, kind: str, table: Source) -> Spoilt | None:
    """One error of a kind in a random row; None if that row cannot have it."""
    i = rng.randrange(len(table.rows))
    if kind == "duplicated row":
        return duplicated(rng, table, i)
    name, row = table.rows[i]
    wrong = CHANGES[kind](rng, table, row)
    if wrong is None or all(same(wrong[field], row[field]) for field in row):
        return None
    rows = (*table.rows[:i], (name, wrong), *table.rows[i + 1 :])
    said = ", ".join(f"{f} {row[f]} -> {wrong[f]}" for f in row if wrong[f] != row[f])
    return Spoilt(rows, (i + 1,), f"row {i + 1}: {said}")


def same(one: str, two: str) -> bool:
    """Whether two texts are the same number."""
    return one == two or (not {one[:1], two[:1]} & {"<"} and float(one) == float(two))


# -- what can be known -------------------------------------------------------------------------


def detectable(table: Source, spoilt: Spoilt, kind: str) -> bool:
    """Whether the spoilt row contradicts itself; see the top of this file."""
    if kind == "duplicated row":
        row = spoilt.rows[spoilt.touched[0] - 1][1]
        digits = sum(
            len(re.sub(r"\D", "", row[field]).strip("0")) for field in table.shape.base
        )
        return digits >= DIGITS_OF_A_DUPLICATE
    row = spoilt.rows[spoilt.touched[0] - 1][1]
    base = {field: row[field] for field in table.shape.base}
    if impossible(base):
        return True
    try:
        right = table.shape.prints(base, 0.95)
    except (ValueError, ArithmeticError):
        return True
    return any(differs(row[field], right.get(field)) for field in row if field not in base)


def impossible(base: Row) -> bool:
    """Whether no study at all can have these numbers."""
    values = {field: float(text) for field, text in base.items()}
    for k, n in (("ai", "n1i"), ("ci", "n2i"), ("xi", "ni")):
        if k in values and not 0 <= values[k] <= values[n]:
            return True
    spreads = any(values.get(field, 1.0) < 0 for field in ("sd1i", "sd2i"))
    return spreads or any(values.get(field, 1.0) <= 0 for field in ("sei", "vi"))


def differs(printed: str, right: str | None) -> bool:
    """Whether a print is another one than the row's numbers give, beyond its last digit."""
    if right is None:
        return True
    if printed.startswith("<") or right.startswith("<"):
        return (
            printed != right and max(float(printed.strip("<")), float(right.strip("<"))) > 0.002
        )
    one, two = float(printed), float(right)
    unit = 10.0 ** -len(right.partition(".")[2])
    if len(right.partition(".")[2]) == 3 and min(one, two) >= 0:  # a p-value
        return abs(one - two) > max(1.01 * unit, 0.5 * min(one, two))
    return abs(one - two) > 1.01 * unit


# -- what is found -----------------------------------------------------------------------------


def material(table: Source) -> Review:
    """The table as the audit sees it."""
    rows = tuple((i + 1, i, name, row) for i, (name, row) in enumerate(table.rows, 1))
    return Review(None, (), (TableMaterial(f"{table.name}.csv", table.shape.measure, rows),))


def alarms(review: Review) -> dict[tuple[str, tuple[str, ...]], Finding]:
    """Errors and warnings, by rule and what they are about."""
    return {
        (finding.rule, finding.check.place.results): finding
        for finding in audit(review).findings
        if finding.check.verdict == "inconsistent" and finding.level != "note"
    }


def refused(table: Source, row: Row) -> bool:
    """Whether reading the table already says that a number is impossible."""
    known = INPUTS[table.shape.measure].known
    numbers = {
        field: float(text) for field, text in row.items() if field in known and text[:1] != "<"
    }
    return bool(check_numbers(table.shape.measure, numbers))


@dataclass(frozen=True)
class Trial:
    """One planted error."""

    material: str
    kind: str
    source: str
    what: str
    detectable: bool
    detected: bool
    by: str


def tries(kinds: Iterable[str], per_kind: int, *, rich: bool, seed: int = SEED) -> list[Trial]:
    """Plant `per_kind` errors of each kind in the tables."""
    tables = [source(name) for name in TABLES]
    if rich:
        tables = [table.rich() for table in tables]
    clean = {table.name: set(alarms(material(table))) for table in tables}
    found = []
    for kind in kinds:
        rng = random.Random(f"{seed} {kind} {rich}")
        fit = [t for t in tables if any(plant(rng, kind, t) for _ in range(20))]
        done = 0
        while fit and done < per_kind:
            table = rng.choice(fit)
            spoilt = plant(rng, kind, table)
            if spoilt is None:
                continue
            done += 1
            by = caught(table, spoilt, clean[table.name])
            found.append(
                Trial(
                    "rich" if rich else "poor",
                    kind,
                    table.name,
                    spoilt.what,
                    detectable(table, spoilt, kind),
                    bool(by),
                    by,
                )
            )
    return found


def caught(table: Source, spoilt: Spoilt, known: set[tuple[str, tuple[str, ...]]]) -> str:
    """By what the error is found; empty if it is not."""
    if any(refused(table, spoilt.rows[i - 1][1]) for i in spoilt.touched):
        return "reading"
    wrong = Source(table.name, table.shape, spoilt.rows)
    about = {f"row {i}" for i in spoilt.touched}
    rules = {
        rule
        for rule, results in alarms(material(wrong)).keys() - known
        if about & set(results) or not results
    }
    return " ".join(sorted(rules))


# -- study files -------------------------------------------------------------------------------

KNOWN_MISTAKES = frozenset({"sehop-2025"})
"""A paper with misprints of its own: nothing to count false alarms on."""


@dataclass(frozen=True)
class Spot:
    """A number of a study file that can be spoilt."""

    study: int
    result: int
    keys: tuple[str | int, ...]
    text: str
    percent: bool


def study_trees() -> list[tuple[str, dict[str, Any]]]:
    """The shipped study files without the one that is known to be wrong."""
    files = sorted((ROOT / "data/studies").glob("*.yaml"))
    return [
        (path.name, read_yaml(path, path.name).tree)
        for path in files
        if path.stem not in KNOWN_MISTAKES
    ]


def spots(trees: Sequence[tuple[str, dict[str, Any]]]) -> list[Spot]:
    """Printed numbers of results that have a quote and are not derived."""
    found = []
    for s, (_, tree) in enumerate(trees):
        for r, result in enumerate(tree.get("results") or []):
            if result.get("derived"):
                continue
            places: list[tuple[str | int, ...]] = [("estimate",), ("p",), ("ci", 0), ("ci", 1)]
            for arm, value in (result.get("arms") or {}).items():
                if not value.get("derived"):
                    places += [
                        ("arms", arm, key) for key in ("events", "n", "printed", "median")
                    ]
            for keys in places:
                text = at(result, keys)
                if isinstance(text, str) and re.fullmatch(r"[\d.]+%?", text):
                    found.append(Spot(s, r, keys, text, text.endswith("%")))
    return found


def at(tree: Any, keys: Sequence[str | int]) -> Any:
    """What stands at a path of keys; None if nothing does."""
    for key in keys:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def spoil_text(rng: random.Random, kind: str, text: str) -> str | None:
    """A misread number."""
    sign = "%" if text.endswith("%") else ""
    number = text.removesuffix("%")
    if kind == "transposed digits":
        wrong = transposed(rng, Source("", COUNT, ()), {"x": number})
    else:
        wrong = off_by_ten(rng, Source("", COUNT, ()), {"x": number})
    return None if wrong is None or same(wrong["x"], number) else wrong["x"] + sign


WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()


def in_quote(text: str, quote: str) -> bool:
    """Whether a number stands in a quote, in digits or as a word."""
    number = text.strip("%")
    digits = rf"(?<![\d.]){re.escape(number.lstrip('0') or '0')}(?!\d|\.\d)"
    if re.search(digits, re.sub(r"(?<!\d)0+(?=[.\d])", "", quote.replace("·", "."))):
        return True
    plain = number.isdigit() and int(number) < len(WORDS)
    return plain and re.search(rf"\b{WORDS[int(number)]}\b", quote, re.IGNORECASE) is not None


def evidence(trees: Sequence[tuple[str, dict[str, Any]]]) -> Review:
    """Study files as the audit sees them."""
    studies = tuple(Study(name, StudyFile.model_validate(tree)) for name, tree in trees)
    whole = Evidence(studies, {})
    return Review(whole, tuple(StudyMaterial(study) for study in studies))


def study_tries(per_kind: int, seed: int = SEED) -> list[Trial]:
    """Misread numbers of study files, which have quotes."""
    trees = study_trees()
    every = spots(trees)
    known = [set(alarms(evidence([tree]))) for tree in trees]
    found = []
    for kind in ("transposed digits", "off by ten"):
        rng = random.Random(f"{seed} {kind} study files")
        done = 0
        while done < per_kind:
            spot = rng.choice(every)
            wrong = spoil_text(rng, kind, spot.text)
            if wrong is None:
                continue
            done += 1
            name, tree = trees[spot.study]
            spoilt = copy.deepcopy(tree)
            result = spoilt["results"][spot.result]
            at(result, spot.keys[:-1])[spot.keys[-1]] = wrong
            try:
                raised = alarms(evidence([(name, spoilt)])).keys() - known[spot.study]
                by = " ".join(sorted({rule for rule, _ in raised}))
            except ValueError:
                by = "reading"
            place = ".".join(map(str, spot.keys))
            found.append(
                Trial(
                    "study files",
                    kind,
                    name,
                    f"{result.get('id') or result['outcome']}.{place}: {spot.text} -> {wrong}",
                    not in_quote(wrong, result.get("quote") or "") or by == "reading",
                    bool(by),
                    by,
                )
            )
    return found


# -- false alarms ------------------------------------------------------------------------------


def false_alarms() -> list[dict[str, str | int]]:
    """Errors and warnings on clean material."""
    rows = []

    def count(kind: str, name: str, size: int, review: Review) -> None:
        found = list(alarms(review).values())
        levels = Counter(finding.level for finding in found)
        rows.append(
            {
                "material": kind,
                "source": name,
                "rows": size,
                "errors": levels["error"],
                "warnings": levels["warning"],
                "rules": " ".join(sorted({finding.rule for finding in found})),
            }
        )

    for name in TABLES:
        table = source(name)
        count("poor", name, len(table.rows), material(table))
        count("rich", name, len(table.rows), material(table.rich()))
    for name, tree in study_trees():
        count("study files", name, len(tree.get("results") or []), evidence([(name, tree)]))
    return rows


# -- report ------------------------------------------------------------------------------------


def table_of(trials: Sequence[Trial]) -> list[dict[str, str | int]]:
    """Counts by material and kind."""
    groups: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[trial.material, trial.kind].append(trial)
    rows: list[dict[str, str | int]] = []
    for (kind_of_material, kind), group in groups.items():
        can = [trial for trial in group if trial.detectable]
        hit = sum(trial.detected for trial in can)
        rows.append(
            {
                "material": kind_of_material,
                "kind": kind,
                "planted": len(group),
                "detectable": len(can),
                "detected": hit,
                "percent": f"{100 * hit / len(can):.0f}" if can else "",
                "suspected": sum(t.detected for t in group) - hit,
                "by": ", ".join(
                    f"{rule} {times}"
                    for rule, times in Counter(
                        rule for t in can for rule in t.by.split()
                    ).most_common(4)
                ),
            }
        )
    return rows


def markdown(
    rows: Sequence[Mapping[str, str | int]], clean: Sequence[Mapping[str, Any]]
) -> str:
    """The tables of the README."""
    text = ""
    for name, about in (
        ("rich", "Rich tables, with what papers print beside the numbers"),
        ("poor", "Poor tables, with nothing but the numbers that are pooled"),
        ("study files", "Study files, with quotes"),
    ):
        part = [row for row in rows if row["material"] == name]
        total = {
            key: sum(int(row[key]) for row in part)
            for key in ("planted", "detectable", "detected", "suspected")
        }
        share = f"{100 * total['detected'] / max(total['detectable'], 1):.0f}"
        text += f"{about}:\n\n| kind | planted | detectable | detected | % | suspected | by |\n"
        text += "|---|---|---|---|---|---|---|\n"
        for row in [*part, {"kind": "**all**", **total, "percent": share, "by": ""}]:
            cells = (row[k] for k in ("kind", "planted", "detectable", "detected", "percent",
                                      "suspected", "by"))  # fmt: skip
            text += f"| {' | '.join(map(str, cells))} |\n"
        text += "\n"
    errors, warnings = (sum(row[key] for row in clean) for key in ("errors", "warnings"))
    size = sum(row["rows"] for row in clean)
    named = "; ".join(
        f"{row['source']} ({row['material']}): {row['rules']}" for row in clean if row["rules"]
    )
    return (
        text + f"Clean material, {len(clean)} extractions with {size} rows or results: "
        f"**{errors} errors**, {warnings} warnings{f' ({named})' if named else ''}.\n"
    )


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Plant, audit, write."""
    per_kind = int(sys.argv[1]) if len(sys.argv) > 1 else PER_KIND
    trials = [
        *tries(KINDS, per_kind, rich=True),
        *tries(KINDS, per_kind, rich=False),
        *study_tries(per_kind),
    ]
    rows, clean = table_of(trials), false_alarms()
    write(HERE / "mutations.csv", rows)
    write(HERE / "mutations_clean.csv", clean)
    text = markdown(rows, clean)
    print(text)
    page = HERE / "README.md"
    head, begin, rest = page.read_text(encoding="utf-8").partition(README_MARKS[0])
    _, end, tail = rest.partition(README_MARKS[1])
    if begin and end:
        page.write_text(f"{head}{begin}\n\n{text}\n{end}{tail}", encoding="utf-8")
    for trial in trials:
        if trial.detectable and not trial.detected:
            print(f"missed: {trial.material}, {trial.kind}, {trial.source}, {trial.what}")


if __name__ == "__main__":
    main()
