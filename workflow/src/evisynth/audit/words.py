"""Rules about words: conclusions against numbers, wrong names of statistics, spellings."""

import math
import re
from collections.abc import Iterator

from evisynth.audit.exact import chi_square, fisher
from evisynth.audit.material import RATIOS, StudyMaterial, name_of, printed_or_none
from evisynth.audit.proportions import proportion_intervals
from evisynth.audit.records import Check, Place, Proportion, Rule
from evisynth.audit.texts import folded, numbers_in
from evisynth.conversions.distributions import normal_half_width
from evisynth.studyfile import Claim, Report, Result

SIGNIFICANT = 0.05
LARGEST = 2_000  # tables of the longest exact test, and units of an interval that is said

_ASSERTS = re.compile(
    r"significan|improv|benefit|promising|better|superior|advantage|effective|\bbest\b|"
    r"\bhigher\b|\blonger\b|increased|predictor|prognostic|associated|correlate|\btrend\b|"
    r"supports?\b|related with|favou?r",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\b(?:no|not|without)\b[^.;]{0,60}\b(?:significan|differen|benefit|improve|associat)",
    re.IGNORECASE,
)
_COMPARES = re.compile(
    r"benefit|improv|better|superior|effective|advantage|supports?\b|promising|\bbest\b",
    re.IGNORECASE,
)
_SIGNIFICANT = re.compile(r"(?<!non-)(?<!in)\bsignificant", re.IGNORECASE)
_ALL = re.compile(
    r"^(?:all|every|each of the|only)\s+(?:the\s+)?(?:survivors?|responders?|deaths?|"
    r"patients|episodes|events|relapses)\b",
    re.IGNORECASE,
)
_AVERAGE = re.compile(r"\b(?:average|mean)\b", re.IGNORECASE)

_SAME_GENE = {
    "MYCN": re.compile(r"\b(?:NMYC|N-MYC|MYC-N|N-myc|n-myc|Nmyc)\b"),
}
"""The name in use of a gene, and other spellings of it."""


def _claims(study: StudyMaterial) -> Iterator[tuple[Report, Claim, Result]]:
    for report in study.study.content.reports:
        for claim in report.claims:
            yield report, claim, study.results[claim.about]


def _place(study: StudyMaterial, report: Report, claim: Claim) -> Place:
    return study.place(f"results.{claim.about}", report.id, (claim.about,))


# ---- CLAIM-V-CI


def claim_v_ci(study: StudyMaterial) -> Iterator[Check]:
    """Conclusions whose comparison does not exclude chance, or has no precision at all."""
    single = study.study.content.design in ("single_arm", "case_series", "registry")
    yield from significant(study)
    for report, claim, result in _claims(study):
        if not _ASSERTS.search(claim.quote) or _DENIES.search(claim.quote):
            continue
        if single and len(result.arms) < 2 and result.contrast is None:
            continue  # nothing is compared: SINGLE-ARM says so
        against, supports = _evidence(study, result)
        place, words = _place(study, report, claim), folded(claim.quote)
        if against:
            yield Check(
                place,
                "inconsistent",
                words,
                "; ".join((*against, *supports)),
                "the words claim more than the numbers show",
                "do not repeat the claim; give the estimate with its interval",
            )
        elif supports:
            yield Check(place, "consistent", words, "; ".join(supports), "chance is unlikely")
        else:
            yield Check(
                place,
                "inconsistent",
                words,
                _nothing(result),
                "the claim has no comparison with an interval or p-value behind it",
                "do not repeat the claim; look for a report that prints the precision",
            )


def significant(study: StudyMaterial) -> Iterator[Check]:
    """Rows whose quote says significant although their own numbers do not exclude chance."""
    claimed = {folded(claim.quote) for _, claim, _ in _claims(study)}
    for result in study.study.content.results:
        words = folded(result.quote)
        if not _SIGNIFICANT.search(words) or _DENIES.search(words) or words in claimed:
            continue
        against, supports = _evidence(study, result)
        if against or supports:
            yield Check(
                study.result_place(result),
                "inconsistent" if against else "consistent",
                words,
                "; ".join((*against, *supports)),
                "the quote says significant, which the row's numbers do not show"
                if against
                else "chance is unlikely",
                "do not repeat the word; give the estimate with its interval"
                if against
                else "",
            )


def _nothing(result: Result) -> str:
    printed = " v ".join(
        value.printed or str(value.events)
        for value in result.arms.values()
        if value.printed or value.events is not None
    )
    return f"{printed or name_of(result)}: no interval, no p-value"


def _evidence(study: StudyMaterial, result: Result) -> tuple[list[str], list[str]]:
    """What speaks against chance being excluded, and what for it."""
    against: list[str] = []
    supports: list[str] = []
    p = printed_or_none(result.p)
    if p is not None:
        below = p.value <= SIGNIFICANT if p.relation != ">" else False
        (supports if below else against).append(f"printed p {p.text}")
    if result.ci and result.kind in RATIOS and "NR" not in result.ci:
        low, high = (printed_or_none(bound) for bound in result.ci)
        if low and high:
            inside = low.value <= 1 <= high.value
            words = f"interval {low.text} to {high.text}"
            (against if inside else supports).append(words + (" holds 1" if inside else ""))
    exact = _exact(study, result)
    if exact:
        words, value = exact
        (against if value > SIGNIFICANT else supports).append(words)
    return against, supports


def _exact(study: StudyMaterial, result: Result) -> tuple[str, float] | None:
    """Fisher's exact test of two groups with counts, Pearson's if they are large."""
    if result.kind not in ("count", "crude_proportion") or len(result.arms) != 2:
        return None
    one, two = (study.proportion(result, arm, value) for arm, value in result.arms.items())
    a, n1, c, n2 = one.events, one.n, two.events, two.n
    if a is None or c is None or not n1 or not n2 or a > n1 or c > n2:
        return None
    # the exact test takes one step per possible table: many only where events are many
    if min(n1, a + c) - max(0, a + c - n2) > LARGEST:
        name, value = "chi-square p", chi_square(a, n1, c, n2)
        assert value is not None  # so many tables have no empty margin
    else:
        name, value = "Fisher's exact p", fisher(a, n1, c, n2).two_sided
    text = f"{value:.2f}" if value >= 0.095 else f"{value:.3f}"
    return f"{a}/{n1} v {c}/{n2}, {_ratio(a, n1, c, n2)}{name} {text}", value


def _ratio(a: int, n1: int, c: int, n2: int) -> str:
    """Risk ratio with its 95% interval on the log scale, where no cell is empty."""
    if not a or not c:
        return ""
    ratio = (a / n1) / (c / n2)
    se = math.sqrt(1 / a - 1 / n1 + 1 / c - 1 / n2)
    step = math.exp(normal_half_width(0.95) * se)
    low, high = ratio / step, ratio * step
    return f"risk ratio {ratio:.2f} ({low:.2f} to {high:.2f}), "


# ---- LOGIC


def logic(study: StudyMaterial) -> Iterator[Check]:
    """Sentences about all of a kind against a group that has one outside."""
    for report, claim, result in _claims(study):
        if not _ALL.search(claim.quote.strip()) or len(result.arms) < 2:
            continue
        place, words = _place(study, report, claim), folded(claim.quote)
        others = [
            study.proportion(result, arm, value) for arm, value in list(result.arms.items())[1:]
        ]
        outside = [one for one in others if one.events]
        if outside:
            yield Check(
                place,
                "inconsistent",
                words,
                "; ".join(f"{one.arm}: {_share(one)}" for one in outside)
                + f' ("{folded(result.quote)}")',
                "the sentence says that there is no such patient, and a group has some",
                "read both sentences; ask the authors which of them holds",
            )
        elif all(one.events == 0 for one in others):
            yield Check(place, "consistent", words, "none outside", "the other group has none")
        else:
            yield Check(
                place, "undecided", words, "", "the count of the other group is not known"
            )


def _share(one: Proportion) -> str:
    shown = f" ({one.percent.text})" if one.percent else ""
    return f"{one.events} of {one.n}{shown}" if one.n else f"{one.events}{shown}"


# ---- SINGLE-ARM


def single_arm(study: StudyMaterial) -> Iterator[Check]:
    """Conclusions that compare, from a study without a comparison."""
    content = study.study.content
    if content.design not in ("single_arm", "case_series", "registry"):
        return
    for report, claim, result in _claims(study):
        if len(result.arms) != 1 or result.contrast or not _COMPARES.search(claim.quote):
            continue
        (arm,) = result.arms
        one = study.proportion(result, arm, result.arms[arm])
        recomputed = f"{len(result.arms)} arm"
        if one.events is not None and one.n and one.events <= one.n <= LARGEST:
            low, high = proportion_intervals(one.events, one.n, 0.95)["Clopper-Pearson"]
            recomputed = (
                f"{one.events} of {one.n}, exact 95% interval {100 * low:.1f}% to "
                f"{100 * high:.1f}%, no control group"
            )
        yield Check(
            _place(study, report, claim),
            "inconsistent",
            folded(claim.quote),
            recomputed,
            "a conclusion that compares, from a single arm",
            "report the proportion with its interval and no comparative words",
        )


# ---- STATISTIC


def statistic(study: StudyMaterial) -> Iterator[Check]:
    """A median that another report calls an average or mean."""
    for name, result in study.results.items():
        medians = [
            float(value.median)
            for value in result.arms.values()
            if value.median not in (None, "NR") and _is_number(str(value.median))
        ]
        if not medians:
            continue
        for also in result.also:
            place = study.place(f"results.{name}", also.report)
            said = [
                value
                for value in medians
                if {value, float(round(value))} & numbers_in(also.quote)
            ]
            called = _AVERAGE.search(also.quote)
            if not said:
                continue
            values = ", ".join(f"{value:g}" for value in said)
            if called and "median" not in also.quote.casefold():
                yield Check(
                    place,
                    "inconsistent",
                    folded(also.quote),
                    f"{values} is a median in {result.report}",
                    f"a median is called '{called.group().casefold()}' in another report",
                    "take the kind of statistic from the article",
                )
            else:
                yield Check(place, "consistent", values, "a median", "called the same")


def _is_number(text: str) -> bool:
    printed = printed_or_none(text)
    return printed is not None and printed.exact and text.replace(".", "", 1).isdigit()


# ---- SYNONYM


def synonym(study: StudyMaterial) -> Iterator[Check]:
    """Other names of what the review calls otherwise."""
    for word, others in _SAME_GENE.items():
        found: dict[str, list[str]] = {}
        for name, result in study.results.items():
            for text in (result.quote, result.category or "", result.subgroup or ""):
                if match := others.search(text):
                    found.setdefault(match.group(), []).append(name)
        for other, names in found.items():
            places = list(dict.fromkeys(names))
            yield Check(
                study.place(f"results.{places[0]}", study.results[places[0]].report),
                "inconsistent",
                f"{other} (in {', '.join(places)})",
                word,
                f"{other} is another name of {word}",
                f"use {word} in labels and keep the words of the quote",
            )


RULES: tuple[Rule, ...] = (
    Rule(
        "CLAIM-V-CI",
        "note",
        "study",
        "A conclusion (`claims`) speaks of improvement, benefit, significance or association "
        "where p is above 0.05 as printed or by Fisher's exact test, or the interval holds the "
        "null value, or the comparison has neither.",
        claim_v_ci,
        "Boutron et al. 2010, JAMA 303:2058",
    ),
    Rule(
        "LOGIC",
        "error",
        "study",
        "A sentence about all survivors, responders or patients (`claims`) is about a result "
        "whose other group has some.",
        logic,
    ),
    Rule(
        "SINGLE-ARM",
        "warning",
        "study",
        "A conclusion (`claims`) of a study with one arm speaks of benefit, improvement or "
        "support.",
        single_arm,
    ),
    Rule(
        "STATISTIC",
        "note",
        "study",
        "A number that one report prints as a median is called an average or a mean in "
        "another.",
        statistic,
    ),
    Rule(
        "SYNONYM",
        "note",
        "study",
        "A quote, category or subgroup has another name of a gene or target than the review.",
        synonym,
    ),
)
