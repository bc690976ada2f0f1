"""Rows of a table beside each other: copies, order, groups and columns that look exchanged."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from evisynth.audit.counting import digits, folded, listed
from evisynth.audit.duplicates import INFORMATIVE
from evisynth.audit.material import Review, TableMaterial
from evisynth.audit.records import Check, Place, Rule
from evisynth.inputs import INPUTS
from evisynth.printed import Printed

FEWEST_SORTED = 8
FEWEST_ROWS = 6
# Chance below which a coincidence or an order is called one.
RARE = 0.01
UNLIKELY = 0.05
COUNTS = ("ai", "bi", "ci", "di", "n1i", "n2i", "xi", "ni", "x1i", "x2i")
# Words that name a row with the sum of the others.
TOTALS = frozenset({"total", "totals", "all", "all studies", "overall", "sum", "pooled"})
# Fields of which the second is computed from, or is a name for, the first.
REDUNDANT = {"vi": "sei", "sei": "vi"}
# What effects are computed from; two studies with the same few counts have all of it the same.
SOURCES = (
    frozenset({"xi", "ni"}),
    frozenset({"ai", "ci", "n1i", "n2i"}),
    frozenset({"ai", "bi", "ci", "di"}),
    frozenset({"x1i", "t1i", "x2i", "t2i"}),
)
COMPUTED = frozenset({"estimate", "ci_low", "ci_high", "yi", "vi", "sei"})
PAIRS = (("n1i", "n2i"), ("sd1i", "sd2i"), ("t1i", "t2i"))
# Fields that never have to be equal, of which one column may stand for another.
TWINS = (("ai", "ci"), ("m1i", "m2i"), ("sd1i", "sd2i"), ("x1i", "x2i"), ("yi", "sei"),
         ("yi", "vi"), ("m1i", "sd1i"), ("m2i", "sd2i"), ("mi", "sdi"), ("xi", "ni"),
         ("ai", "n1i"), ("ci", "n2i"), ("ci_low", "ci_high"))  # fmt: skip

# Of these, pairs that mean different things: in one row too they are hardly ever equal.
UNLIKE = (("yi", "sei"), ("yi", "vi"), ("m1i", "sd1i"), ("m2i", "sd2i"), ("mi", "sdi"))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table with its numbers by field."""

    line: int
    number: int
    study: str
    label: str
    numbers: Mapping[str, Printed]

    def value(self, name: str) -> float | None:
        """The number of a field; None if there is none."""
        return self.numbers[name].value if name in self.numbers else None


def rows_of(table: TableMaterial) -> list[Row]:
    """Rows with the numbers that the measure of the analysis uses."""
    known = (
        INPUTS[table.measure].known
        if table.measure in INPUTS
        else frozenset(name for inputs in INPUTS.values() for name in inputs.known)
    ) - {"ci_level"}
    return [
        Row(
            line,
            number,
            study,
            cells.get("label") or study,
            table.numbers({k: v for k, v in cells.items() if k in known}),
        )
        for line, number, study, cells in table.rows
    ]


def _place(table: TableMaterial, rows: Sequence[Row], *fields: str) -> Place:
    """The last of the rows, with all of them in doubt."""
    last = rows[-1]
    place = table.place(last.line, last.number, last.study, *fields)
    return Place(
        place.file,
        place.line,
        place.study,
        "",
        place.text,
        tuple(f"row {row.number}" for row in rows),
    )


def _whole(table: TableMaterial, rows: Sequence[Row]) -> Place:
    return Place(table.file, None, "", "", "table", tuple(f"row {r.number}" for r in rows))


def _shown(row: Row, fields: Sequence[str]) -> str:
    return ", ".join(f"{name} {row.numbers[name].text.strip()}" for name in fields)


def _own(row: Row) -> list[str]:
    """Fields whose number no other field of the row says or gives."""
    found: list[str] = []
    seen: set[float] = set()
    given = any(names <= row.numbers.keys() for names in SOURCES)
    for name in sorted(row.numbers.keys() - (COMPUTED if given else frozenset())):
        value = row.numbers[name]
        if value.value in seen or REDUNDANT.get(name) in found:
            continue
        seen.add(value.value)
        found.append(name)
    return found


def check_records(table: TableMaterial) -> Iterator[Check]:
    """Rule DUP-RECORD."""
    rows = [row for row in rows_of(table) if row.numbers]
    if len(rows) < 2:
        return
    groups: dict[tuple[tuple[str, float], ...], list[Row]] = defaultdict(list)
    for row in rows:
        key = tuple((name, row.numbers[name].value) for name in sorted(row.numbers))
        groups[key].append(row)
    same = [found for found in groups.values() if len(found) > 1]
    if not same:
        yield Check(
            _whole(table, ()),
            "consistent",
            f"{len(rows)} rows",
            f"{len(groups)} different",
            "no two rows have the same numbers",
        )
    chances = Coincidence.of(rows)
    for found in same:
        yield _record(table, chances, found)


@dataclass(frozen=True, slots=True)
class Coincidence:
    """How often two rows of a table agree by chance.

    Attributes
    ----------
    pairs, of_one_study : pairs of rows; those of rows with one study's name, at least 1.
    agree : by field, pairs with the same number.
    """

    pairs: float
    of_one_study: float
    agree: Mapping[str, float]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Coincidence":
        """Counts of pairs."""
        sizes = Counter(folded(row.study) for row in rows).values()
        values: dict[str, Counter[float]] = defaultdict(Counter)
        for row in rows:
            for name, value in row.numbers.items():
                values[name][value.value] += 1
        return cls(
            len(rows) * (len(rows) - 1) / 2,
            max(1.0, sum(n * (n - 1) / 2 for n in sizes)),
            {
                name: sum(n * (n - 1) / 2 for n in found.values())
                for name, found in values.items()
            },
        )

    def expected(self, fields: Sequence[str], one_study: bool) -> float:
        """Expected number of pairs that agree by chance in all of `fields`.

        The shares of pairs that agree in each field alone, the found pair left out, multiplied
        as if the fields were independent.
        """
        found = self.of_one_study if one_study else self.pairs
        for name in fields:
            found *= (max(self.agree[name] - 1, 0) + 0.5) / (self.pairs + 0.5)
        return found


def _record(table: TableMaterial, chances: Coincidence, found: Sequence[Row]) -> Check:
    fields = _own(found[0])
    informative = sum(digits(found[0].numbers[name]) >= 2 for name in fields)
    one_study = len({folded(row.study) for row in found}) == 1
    expected = chances.expected(fields, one_study)
    printed = _shown(found[0], sorted(found[0].numbers))
    names = listed([f"row {row.number} ({row.study})" for row in found])
    by_chance = f"{expected:.2g} such pairs are expected by chance"
    place = _place(table, found)
    if informative >= INFORMATIVE and expected < RARE:
        level = None
    elif informative and expected < UNLIKELY:
        level = "warning"
    else:
        return Check(
            place,
            "undecided",
            printed,
            by_chance,
            f"{names} have the same numbers, which may be chance",
        )
    return Check(
        place,
        "inconsistent",
        printed,
        f"identical; {by_chance}",
        f"{names} have the same numbers",
        "find out whether it is one study counted twice, or a row pasted over another",
        "warning" if level else None,
    )


def check_groups(table: TableMaterial) -> Iterator[Check]:
    """Rule SHARED-GROUP."""
    rows = rows_of(table)
    chances = Coincidence.of(rows)
    for fields in (("ci", "n2i"), ("ci", "di"), ("m2i", "sd2i", "n2i"), ("x2i", "t2i")):
        groups: dict[tuple[float, ...], list[Row]] = defaultdict(list)
        for row in rows:
            if all(name in row.numbers for name in fields):
                groups[tuple(row.numbers[name].value for name in fields)].append(row)
        for found in groups.values():
            informative = sum(digits(found[0].numbers[name]) >= 2 for name in fields)
            if len(found) < 2 or informative < 2:
                continue
            numbers = {tuple(sorted((k, v.value) for k, v in r.numbers.items())) for r in found}
            one_study = len({folded(row.study) for row in found}) == 1
            expected = chances.expected(fields, one_study)
            if len(numbers) == 1 or expected >= UNLIKELY:
                continue
            names = listed([f"row {row.number} ({row.study})" for row in found])
            yield Check(
                _place(table, found, *fields),
                "inconsistent",
                _shown(found[0], fields),
                f"in {names}; {expected:.2g} such pairs are expected by chance",
                f"{names} have the same comparison group; its patients may be counted twice",
                "if it is one group, split it or merge the rows of the study",
            )


def check_order(table: TableMaterial) -> Iterator[Check]:
    """Rule SORTED."""
    rows = rows_of(table)
    name = next((n for n in ("yi", "estimate") if any(n in r.numbers for r in rows)), "")
    ordered = [row for row in rows if name in row.numbers]
    k = len(ordered)
    if k < FEWEST_SORTED:
        return
    values = [row.numbers[name].value for row in ordered]
    first, last = max((*_runs(values, 1), *_runs(values, -1)), key=lambda run: run[1] - run[0])
    length = last - first + 1
    # Runs of distinct values that chance gives somewhere in the table.
    distinct = len(set(values[first : last + 1]))
    by_chance = min(1.0, 2 * k / math.factorial(min(distinct, 100)))
    place = _whole(table, ())
    printed = f"{name} of {k} rows"
    if length < FEWEST_SORTED or by_chance >= RARE:
        yield Check(
            place,
            "consistent",
            printed,
            f"longest run {length}",
            "the rows are not sorted by effect",
        )
        return
    which = (
        "all rows"
        if length == k
        else f"rows {ordered[first].number} to " + str(ordered[last].number)
    )
    yield Check(
        place,
        "inconsistent",
        printed,
        f"{which} in order, {values[first]:g} to {values[last]:g}; by chance {by_chance:.1g}",
        f"{which} are sorted by effect: their order is not that of time",
        "make no cumulative analysis in this order",
    )


def _runs(values: Sequence[float], sign: int) -> Iterator[tuple[int, int]]:
    """First and last place of every stretch that nowhere falls (rises, if `sign` is -1)."""
    start = 0
    for i in range(1, len(values) + 1):
        if i == len(values) or sign * (values[i] - values[i - 1]) < 0:
            yield start, i - 1
            start = i


def check_pairs(table: TableMaterial) -> Iterator[Check]:
    """Rule GROUP-RATIO."""
    rows = rows_of(table)
    for one, two in PAIRS:
        found = [
            (row, math.log(a / b))
            for row in rows
            if (a := row.value(one)) and (b := row.value(two)) and a > 0 and b > 0
        ]
        if len(found) < FEWEST_ROWS:
            continue
        outliers = list(_outliers(found))
        if len(outliers) > max(1, len(found) // 10):
            continue  # the groups of these studies have no common ratio
        if not outliers:
            yield Check(
                _whole(table, ()),
                "consistent",
                f"{one}/{two} of {len(found)} rows",
                "",
                "no row has another ratio than the rest",
            )
        for row, log_ratio, middle, width in outliers:
            yield _ratio(table, row, (one, two), log_ratio, middle, width)


def _outliers(
    found: Sequence[tuple[Row, float]],
) -> Iterator[tuple[Row, float, float, float]]:
    """Rows whose log ratio is far from that of the others: 5 robust SD, and a factor of 3.

    Or, where the others agree that one group is larger, a row that has it as much smaller.
    """
    values = [value for _, value in found]
    middle = median(values)
    width = 1.4826 * median(abs(value - middle) for value in values)
    same_side = sum(value * middle > 0 for value in values)
    for row, log_ratio in found:
        far = abs(log_ratio - middle) > max(5 * width, math.log(4))
        agree = same_side == len(values) - 1 and abs(middle) > math.log(1.3)
        swapped = (
            agree
            and log_ratio * middle < 0
            and abs(log_ratio + middle) < max(2 * width, 0.1)
            and abs(log_ratio - middle) > 5 * width
        )
        if far or swapped:
            yield row, log_ratio, middle, width


def _ratio(
    table: TableMaterial,
    row: Row,
    fields: tuple[str, str],
    log_ratio: float,
    middle: float,
    width: float,
) -> Check:
    near = max(2 * width, 0.1)
    if abs(log_ratio + middle) < near and abs(middle) > near:
        guess = "the two groups look exchanged"
    elif any(abs(log_ratio - middle + s * math.log(10)) < max(near, 0.3) for s in (1, -1)):
        guess = "one of them looks ten times too large or too small"
    else:
        guess = "one of them may be misread or of another column"
    return Check(
        table.place(row.line, row.number, row.study, *fields),
        "inconsistent",
        _shown(row, fields),
        f"ratio {math.exp(log_ratio):.3g}, of the other rows {math.exp(middle):.3g}",
        f"{fields[0]}/{fields[1]} is {math.exp(log_ratio):.3g}, in the other rows about "
        f"{math.exp(middle):.3g}: {guess}",
        "compare the row with its report",
    )


def check_percent(table: TableMaterial) -> Iterator[Check]:
    """Rule PERCENT-AS-COUNT."""
    rows = rows_of(table)
    for events, size in (("ai", "n1i"), ("ci", "n2i"), ("xi", "ni")):
        found = [
            (row, x, n)
            for row in rows
            if (x := row.value(events)) is not None and (n := row.value(size)) and x <= n
        ]
        if len(found) < FEWEST_ROWS:
            continue
        rates = [_logit(x, n) for _, x, n in found]
        middle = median(rates)
        width = max(1.4826 * median(abs(rate - middle) for rate in rates), 0.2)
        hits = 0
        for i, (row, x, n) in enumerate(found):
            count = x * n / 100
            as_percent = _logit(count, n) if x <= 100 else math.inf
            if abs(rates[i] - middle) > 5 * width and abs(as_percent - middle) < 2 * width:
                hits += 1
                yield Check(
                    table.place(row.line, row.number, row.study, events, size),
                    "inconsistent",
                    _shown(row, (events, size)),
                    f"{x:g}% of {n:g} is {count:.3g}",
                    f"{x:g} of {n:g} is far from the rates of the other rows; {x:g}% of {n:g} "
                    "is like them",
                    "find out whether a percentage was entered as a count",
                )
        if not hits:
            yield Check(
                _whole(table, ()),
                "consistent",
                f"{events}/{size} of {len(found)} rows",
                "",
                "no count looks like a percentage",
            )


def _logit(events: float, n: float) -> float:
    return math.log((events + 0.5) / (n - events + 0.5))


def check_columns(table: TableMaterial) -> Iterator[Check]:
    """Rule WRONG-COLUMN."""
    rows = rows_of(table)
    for one, two in TWINS:
        both = [r for r in rows if one in r.numbers and two in r.numbers]
        equal = [
            r
            for r in both
            if r.numbers[one].value == r.numbers[two].value and digits(r.numbers[one]) >= 2
        ]
        if not both:
            continue
        if len(both) >= 4 and len(equal) == len(both):
            yield Check(
                _whole(table, equal),
                "inconsistent",
                f"{one} = {two} in all {len(both)} rows",
                "",
                f"{one} and {two} are the same column",
                "map each field to its own column",
                "error",
            )
        elif equal and _odd(one, two, equal, both):
            for row in equal:
                yield Check(
                    table.place(row.line, row.number, row.study, one, two),
                    "inconsistent",
                    _shown(row, (one, two)),
                    f"equal here, in {len(both) - len(equal)} other rows not",
                    f"{one} and {two} are the same number here and differ in the other rows",
                    "compare the row with its report; one may be copied from the other",
                )
        else:
            yield Check(
                _whole(table, ()),
                "consistent",
                f"{one}, {two} of {len(both)} rows",
                "",
                "two different columns",
            )


def _odd(one: str, two: str, equal: Sequence[Row], both: Sequence[Row]) -> bool:
    """Whether equal numbers are odd: of other meaning, and of three digits and more."""
    if len(equal) > max(1, len(both) // 20) or len(both) < FEWEST_ROWS:
        return False
    if (one, two) not in UNLIKE:
        return False  # two groups may well have the same number
    # Of numbers with d digits about one pair in 10**d agrees by chance.
    fewest = min(digits(row.numbers[one]) for row in equal)
    return fewest >= 3 and len(both) <= 10 ** (fewest - 1)


def check_totals(table: TableMaterial) -> Iterator[Check]:
    """Rule TOTAL-ROW."""
    rows = rows_of(table)
    fields = [name for name in COUNTS if all(name in row.numbers for row in rows)]
    sums = {name: sum(row.numbers[name].value for row in rows) for name in fields}
    found = False
    for row in rows if len(rows) >= 3 else ():
        adds = [
            name
            for name in fields
            # the row is the sum of the others: half of the sum of all
            if row.numbers[name].value * 2 == sums[name] and row.numbers[name].value
        ]
        named = bool(TOTALS & {folded(row.study), folded(row.label)})
        every = len(adds) == len(fields) >= 2
        if named or every:
            found = True
            telling = sum(digits(row.numbers[name]) >= 2 for name in adds)
            sure = every and (named or (telling >= 2 and len(rows) >= 4))
            shown = _shown(row, fields) if fields else row.study
            yield Check(
                table.place(row.line, row.number, row.study),
                "inconsistent",
                shown,
                listed([f"{name} {sums[name] - row.numbers[name].value:g}" for name in fields])
                + (" in the other rows together" if fields else ""),
                f"row {row.number} ({row.study}) "
                + ("is" if every else "is named as")
                + " the total of the others: every patient would be counted twice",
                "take the row out of the table",
                None if sure else "warning",
            )
    if not found and len(rows) >= 3:
        yield Check(
            _whole(table, ()),
            "consistent",
            f"{len(rows)} rows",
            "",
            "no row is the total of the others",
        )


def check_labels(table: TableMaterial) -> Iterator[Check]:
    """Rule DUP-LABEL."""
    rows = rows_of(table)
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[folded(row.study)].append(row)
    repeated = [found for found in groups.values() if len(found) > 1]
    if not repeated:
        yield Check(
            _whole(table, ()),
            "consistent",
            f"{len(rows)} rows",
            f"{len(groups)} studies",
            "one row per study",
        )
    elif len(repeated) > max(1, len(groups) // 10):
        return  # several effects per study are the design of this table
    else:
        for found in repeated:
            names = listed([f"row {row.number}" for row in found])
            yield Check(
                _place(table, found),
                "undecided",
                found[0].study,
                names,
                f"{names} have one study's name; whether they share patients cannot be told",
                "give each study its name, or name the cluster",
            )


def check_tables(review: Review) -> Iterator[Check]:
    """Rule N-TABLES."""
    seen: dict[tuple[str, str], tuple[TableMaterial, Row]] = {}
    for table in _distinct(review.tables):
        studies = Counter(folded(row.study) for row in rows_of(table))
        for row in rows_of(table):
            if studies[folded(row.study)] > 1:
                continue
            for name in ("ni", "n1i", "n2i"):
                if name not in row.numbers:
                    continue
                other, there = seen.setdefault((folded(row.study), name), (table, row))
                if other is table:
                    continue
                yield _sizes(table, row, other, there, name)


EFFECTS = (("yi", "sei"), ("yi", "vi"), ("estimate", "ci_low", "ci_high"))
"""Numbers that two outcomes of one study do not share by chance."""


def check_outcomes(review: Review) -> Iterator[Check]:
    """Rule SAME-EFFECT."""
    seen: dict[tuple[str, str], list[tuple[TableMaterial, Row]]] = defaultdict(list)
    for table in _distinct(review.tables):
        for row in rows_of(table):
            key = (table.file, folded(row.study))
            for other, there in seen[key]:
                if other is not table and other.measure == table.measure:
                    yield from _same_effect(table, row, there)
            seen[key].append((table, row))


def _same_effect(table: TableMaterial, row: Row, there: Row) -> Iterator[Check]:
    for fields in EFFECTS:
        if row.number == there.number or not all(
            f in row.numbers and f in there.numbers for f in fields
        ):
            continue
        here = [row.numbers[name].text.strip() for name in fields]
        before = [there.numbers[name].text.strip() for name in fields]
        same = here == before and sum(digits(row.numbers[name]) for name in fields) >= 4
        yield Check(
            table.place(row.line, row.number, row.study, *fields),
            "inconsistent" if same else "consistent",
            ", ".join(here),
            f"row {there.number}: {', '.join(before)}",
            "one study has the same effect and the same precision in two outcomes"
            if same
            else "two outcomes, two effects",
            "look up both in the report: one may have been copied for the other"
            if same
            else "",
        )
        return


def _distinct(tables: Sequence[TableMaterial]) -> Iterator[TableMaterial]:
    """Each set of rows of each file once: several analyses may take the same."""
    seen = set()
    for table in tables:
        key = (table.file, tuple(number for _, number, _, _ in table.rows))
        if key not in seen:
            seen.add(key)
            yield table


def _sizes(
    table: TableMaterial, row: Row, other: TableMaterial, there: Row, name: str
) -> Check:
    here, before = row.numbers[name], there.numbers[name]
    place = table.place(row.line, row.number, row.study, name)
    printed = f"{name} {here.text.strip()}"
    recomputed = f"{before.text.strip()} in {other.file}, row {there.number}"
    if here.value == before.value:
        return Check(place, "consistent", printed, recomputed, "the same in both tables")
    swapped = sorted(here.text.strip()) == sorted(before.text.strip())
    return Check(
        place,
        "inconsistent",
        printed,
        recomputed,
        f"{row.study} has {name} {here.text.strip()} here and {before.text.strip()} in "
        f"{other.file}" + (": the same digits in another order" if swapped else ""),
        "find out whether patients are missing for one outcome, or a number is misread",
        "warning" if swapped else None,
    )


RULES: tuple[Rule, ...] = (
    Rule(
        "DUP-RECORD",
        "error",
        "table",
        "Two rows of a table have the same numbers: an error with four informative numbers or "
        "more, a warning with fewer where chance is unlikely, else undecided.",
        check_records,
    ),
    Rule(
        "SHARED-GROUP",
        "warning",
        "table",
        "Two rows have the same numbers in the comparison group and others in the first: one "
        "control group may be counted twice.",
        check_groups,
    ),
    Rule(
        "SORTED",
        "warning",
        "table",
        "Eight or more consecutive rows are in the order of their effects, which chance does "
        "not explain; a cumulative analysis in this order would be an artefact.",
        check_order,
    ),
    Rule(
        "GROUP-RATIO",
        "warning",
        "table",
        "The ratio of the two groups' sizes, standard deviations or times differs more than "
        "fourfold and by five robust standard deviations from the other rows', or is turned "
        "round, in at most a tenth of the rows.",
        check_pairs,
    ),
    Rule(
        "PERCENT-AS-COUNT",
        "warning",
        "table",
        "A count gives a rate far from the other rows', and read as a percentage it does not.",
        check_percent,
    ),
    Rule(
        "WRONG-COLUMN",
        "warning",
        "table",
        "Two fields that mean different things hold the same number in a row, or in every row "
        "(an error).",
        check_columns,
    ),
    Rule(
        "TOTAL-ROW",
        "error",
        "table",
        "The counts of a row are the sums of all other rows; a warning where there are few, or "
        "where only its name says total.",
        check_totals,
    ),
    Rule(
        "DUP-LABEL",
        "note",
        "table",
        "Two rows have one study's name in a table of one row per study.",
        check_labels,
    ),
    Rule(
        "SAME-EFFECT",
        "warning",
        "review",
        "One study has the same effect and standard error in two outcomes of a table.",
        check_outcomes,
    ),
    Rule(
        "N-TABLES",
        "note",
        "review",
        "A study has another n in another table; a warning where the digits are the same in "
        "another order.",
        check_tables,
    ),
)
