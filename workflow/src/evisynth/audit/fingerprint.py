"""Which test reproduces the printed p-values of a report; which survival is a crude share."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from evisynth.audit.counting import chance, listed, rounded, usable
from evisynth.audit.exact import LARGEST, at_least, chi_square, fisher
from evisynth.audit.material import StudyMaterial
from evisynth.audit.partitions import Partition, counts_of, members, partitions
from evisynth.audit.records import Check, Proportion, Rule
from evisynth.printed import Printed
from evisynth.studyfile import Report

FAMILIES = (
    "one-sided Fisher",
    "two-sided Fisher",
    "one-sided mid-p",
    "two-sided mid-p",
    "chi-square",
    "chi-square with Yates' correction",
)
FEWEST = 5
# A family is told from chance, and from the second best, at this probability.
CERTAIN = 0.001
BETTER = 0.05
SURVIVAL = frozenset({"os", "efs", "pfs", "dfs", "rfs", "ffs", "ttp", "survival"})
_TIME = re.compile(r"[0-9]|\b(?:one|two|three|four|five|ten)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tried:
    """One printed p-value and what the tests of its counts give, in the order of `FAMILIES`.

    Attributes
    ----------
    rounds, cuts : whether each test gives the printed digits by rounding, by cutting off.
    """

    name: str
    p: Printed
    values: tuple[float | None, ...]

    @property
    def rounds(self) -> tuple[bool, ...]:
        """Whether each test's value rounds to the printed digits, halves either way."""
        unit = 10.0**-self.p.decimals
        return tuple(
            v is not None and abs(v - self.p.value) <= unit / 2 * (1 + 1e-9)
            for v in self.values
        )

    @property
    def cuts(self) -> tuple[bool, ...]:
        """Whether each test's value begins with the printed digits."""
        scale = 10.0**self.p.decimals
        printed = round(self.p.value * scale)
        return tuple(
            v is not None and math.floor(v * scale * (1 + 1e-12)) == printed
            for v in self.values
        )

    def by_chance(self, family: int) -> float:
        """Chance that the printed digits agree although another test gave them.

        Another test's value is taken as spread evenly, on the log scale, over a factor of e
        to either side: so near lie the p-values of different tests of one table.
        """
        value = self.values[family]
        unit = 10.0**-self.p.decimals
        return 1.0 if not value else min(1.0, unit / (2 * value))


def tried(name: str, p: Printed, a: int, n1: int, c: int, n2: int) -> Tried:
    """All tests of `a` of `n1` against `c` of `n2`."""
    exact = fisher(a, n1, c, n2)
    return Tried(
        name,
        p,
        (
            exact.one_sided,
            exact.two_sided,
            exact.mid_one_sided,
            exact.mid_two_sided,
            chi_square(a, n1, c, n2),
            chi_square(a, n1, c, n2, yates=True),
        ),
    )


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Agreement of every family with the printed p-values.

    Attributes
    ----------
    rounded, with_cut : number of p-values that each family gives by rounding; by that or by
        cutting digits off.
    best : index of the family with most; `chance` the probability that a wrong family agrees
        at least as often; `better` the one that the second best is no worse (sign test of the
        p-values that only one of the two gives).
    """

    tests: int
    rounded: tuple[int, ...]
    with_cut: tuple[int, ...]
    best: int
    chance: float
    better: float

    @property
    def certain(self) -> bool:
        """Whether one family is clearly the one."""
        return (
            self.tests >= FEWEST
            and self.chance < CERTAIN
            and self.better < BETTER
            and 2 * self.with_cut[self.best] > self.tests
        )


def fingerprint(tests: Sequence[Tried]) -> Fingerprint:
    """Count the agreements of each family and judge the best one against chance."""
    columns = range(len(FAMILIES))
    by_rounding = tuple(sum(test.rounds[j] for test in tests) for j in columns)
    either = tuple(sum(test.rounds[j] or test.cuts[j] for test in tests) for j in columns)
    best = max(columns, key=lambda j: (by_rounding[j], either[j], -j))
    by_chance = at_least([test.by_chance(best) for test in tests], by_rounding[best])
    rival = 0.0
    for j in columns:
        if j == best:
            continue
        mine = sum(test.rounds[best] and not test.rounds[j] for test in tests)
        theirs = sum(test.rounds[j] and not test.rounds[best] for test in tests)
        rival = max(rival, at_least([0.5] * (mine + theirs), mine))
    return Fingerprint(len(tests), by_rounding, either, best, by_chance, rival)


def check_fingerprint(material: StudyMaterial) -> Iterator[Check]:
    """Rule P-FINGERPRINT."""
    comparisons = [
        c for c in material.comparisons if c.p is not None and c.p.relation in ("", "=")
    ]
    if not comparisons:
        return
    known = counts_of(material)
    for report in material.study.content.reports:
        tests, survival = [], []
        for comparison in comparisons:
            name, p = comparison.place.results[0], comparison.p
            one = known.get((name, comparison.one.arm))
            two = known.get((name, comparison.two.arm))
            if comparison.place.report != report.id or not one or not two or p is None:
                continue
            if not (one[0] <= one[1] and two[0] <= two[1] and one[1] + two[1] <= LARGEST):
                continue
            tests.append(tried(name, p, *one, *two))
            if _is_survival(comparison.outcome):
                survival.append(name)
        if tests:
            yield _fingerprinted(material, report, tests, survival)


def _fingerprinted(
    material: StudyMaterial, report: Report, tests: Sequence[Tried], survival: Sequence[str]
) -> Check:
    found = fingerprint(tests)
    place = material.place(
        f"reports.{report.id}", report.id, tuple(test.name for test in tests)
    )
    said = {(method.about, method.says) for method in report.methods}
    says: set[str] = {says for _, says in said}
    stated = listed(sorted(word.replace("_", " ") for word in says & _TESTS)) or "no test"
    printed = f"{found.tests} p-values with known counts; the report says {stated}"
    order = sorted(range(len(FAMILIES)), key=lambda j: (-found.rounded[j], j))
    recomputed = ", ".join(
        f"{FAMILIES[j]} {found.rounded[j]}"
        + (
            f" ({found.with_cut[j]} with cut digits)"
            if found.with_cut[j] > found.rounded[j]
            else ""
        )
        for j in order
    )
    if found.tests < FEWEST:
        return Check(
            place,
            "undecided",
            printed,
            recomputed,
            f"fewer than {FEWEST} p-values with known counts",
        )
    best = FAMILIES[found.best]
    many = f"{best} reproduces {found.rounded[found.best]} of {found.tests} p-values"
    if not found.certain:
        return Check(
            place,
            "undecided",
            printed,
            recomputed,
            f"{many}, no test is clearly the one (a wrong one would agree as often with "
            f"probability {found.chance:.2g}); tests of times to events and adjusted tests are "
            "not reproduced by counts",
        )
    against = _against(found.best, says, bool(survival))
    why = f"by chance a wrong test would with probability {found.chance:.1g}"
    if not against:
        return Check(place, "consistent", printed, recomputed, f"{many}; {why}")
    return Check(
        place,
        "inconsistent",
        printed,
        recomputed,
        f"{many} ({why}); the report says {listed(against)}",
        "take no p-value of this report as what it says it is, and turn none into an effect; "
        "compute from the counts",
    )


_TESTS = frozenset({"one_sided", "two_sided", "log_rank", "fisher", "chi_square"})


def _against(best: int, says: Set[str], survival: bool) -> list[str]:
    """What the report says of its tests and the best family contradicts."""
    against = []
    one_sided = FAMILIES[best].startswith("one-sided")
    if one_sided and "two_sided" in says:
        against.append("two-sided")
    if not one_sided and "one_sided" in says:
        against.append("one-sided")
    if survival and "log_rank" in says:
        against.append("log-rank for survival")
    exact = "Fisher" in FAMILIES[best] or "mid-p" in FAMILIES[best]
    named = says & {"fisher", "chi_square"}
    if named and not (named & ({"fisher"} if exact else {"chi_square"})):
        against.append(listed(sorted(word.replace("_", " ") for word in named)))
    return against


def _is_survival(outcome: str) -> bool:
    return bool(SURVIVAL & set(re.split(r"[_\-.]", outcome.casefold())))


def check_crude(material: StudyMaterial) -> Iterator[Check]:
    """Rule CRUDE-KM."""
    found: list[Partition] | None = None
    for report in material.study.content.reports:
        if not any(m.about == "survival" and m.says == "kaplan_meier" for m in report.methods):
            continue
        cells = [
            value
            for value in material.proportions
            if value.place.report == report.id
            and _is_survival(value.outcome)
            and value.percent is not None
            and usable(value.percent)
            and 0 < value.percent.value < 100
            and value.n
            and not _TIME.search(value.when)
        ]
        if not cells:
            continue
        found = partitions(material) if found is None else found
        yield _crude(material, report, cells, found)


def _crude(
    material: StudyMaterial,
    report: Report,
    cells: Sequence[Proportion],
    found: Sequence[Partition],
) -> Check:
    hits = [v for v in cells if v.percent and v.n and rounded(v.percent, v.n)]
    chances = [chance(v.percent, v.n) for v in cells if v.percent and v.n]
    probability = at_least(chances, len(hits))
    results = tuple(dict.fromkeys(value.place.results[0] for value in hits))
    place = material.place(f"reports.{report.id}", report.id, results)
    printed = f"{len(cells)} survival percentages without a time point, said to be Kaplan-Meier"
    recomputed = f"{len(hits)} of {len(cells)} are a count over the whole group"
    totals = _totals(found, {value.outcome for value in hits})
    if totals:
        recomputed += "; " + "; ".join(
            f"{outcome} {count} of {n}" for outcome, (count, n) in totals.items()
        )
    if len(cells) < 4 or probability >= CERTAIN:
        expected = sum(chances)
        if 4 * len(hits) < 3 * len(cells) and len(cells) >= 4:
            return Check(
                place, "consistent", printed, recomputed, "the percentages are no counts"
            )
        return Check(
            place,
            "undecided",
            printed,
            recomputed,
            f"of {len(cells)} percentages {expected:.1f} would be counts by chance at these "
            "group sizes",
        )
    if 4 * len(hits) < 3 * len(cells):
        return Check(
            place,
            "undecided",
            printed,
            recomputed,
            "some percentages are counts, too many are not",
        )
    return Check(
        place,
        "inconsistent",
        printed,
        recomputed,
        f"{len(hits)} of {len(cells)} 'Kaplan-Meier' percentages are crude shares of their "
        "groups"
        + (", with common totals" if totals else "")
        + f" (by chance with probability {probability:.1g})",
        "enter them as `kind: crude_proportion`; pool them with no survival at a time",
    )


def _totals(found: Sequence[Partition], outcomes: set[str]) -> Mapping[str, tuple[int, int]]:
    """Totals of outcomes that two or more splits share and that are certain."""
    totals: dict[str, tuple[int, int]] = {}
    for partition in found:
        splits = sum(1 for s in partition.splits if set(s.into) & set(partition.cells))
        left = members((partition.counts or {}).get(partition.top, 0))
        if partition.outcome in outcomes and splits >= 2 and len(left) == 1:
            totals.setdefault(partition.outcome, (left[0], partition.sizes[partition.top]))
    return totals


RULES: tuple[Rule, ...] = (
    Rule(
        "P-FINGERPRINT",
        "warning",
        "study",
        "Over all p-values of a report whose counts are known, another test than the one the "
        "report names reproduces the printed digits, more often than chance and than any other "
        "test.",
        check_fingerprint,
    ),
    Rule(
        "CRUDE-KM",
        "error",
        "study",
        "A report names the Kaplan-Meier method, and its survival percentages without a time "
        "point are counts over whole groups, more often than chance.",
        check_crude,
    ),
)
