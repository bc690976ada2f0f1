"""Rules about what an analysis pools: direction, contrasts, settings, number of studies."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from evisynth.audit.material import RATIOS, AnalysisMaterial, Review, StudyMaterial
from evisynth.audit.records import Check, Place, Rule
from evisynth.evidence import Study
from evisynth.printed import Printed, parse_printed
from evisynth.rows import RawRow
from evisynth.studyfile import Outcome, Result

STRONG = 1.96
"""Standard errors from the null value from which a row has a direction of its own."""


def _row_place(analysis: AnalysisMaterial, row: RawRow) -> Place:
    """The result or the row of a table that a row comes from."""
    file, _, entry = row.place.partition("#")
    name = entry.removeprefix("results.")
    study = analysis.studies.get(row.study)
    if study is not None and entry.startswith("results."):
        result = study.result(name)
        return StudyMaterial(study).place(entry, result.report if result else "", (name,))
    return Place(file, None, row.study, "", entry, (entry,))


# ---- CONTRAST


def contrast(review: Review) -> Iterator[Check]:
    """Ratios that name no groups, and outcomes of which no direction is good."""
    for study in review.studies:
        for result in study.study.content.results:
            if result.kind in RATIOS and result.estimate is not None:
                yield _named(study, result)
    outcomes = review.evidence.outcomes if review.evidence else {}
    for analysis in review.analyses:
        outcome = outcomes.get(analysis.settings.get("outcome", ""))
        compares = any(len(row.arms) > 1 or "ai" in row.numbers for row in analysis.rows)
        if outcome is None or not compares:
            continue
        place = analysis.place("outcome")
        if outcome.higher_is == "neither":
            yield Check(
                place,
                "inconsistent",
                f"{outcome.label}: neither direction is good",
                "a contrast",
                "a contrast of an outcome that does not say whether more of it is good",
                "set `higher_is` of the outcome, or give `forest.favours`",
                "note",
            )
        else:
            yield Check(
                place, "consistent", outcome.label, f"higher is {outcome.higher_is}", "it says"
            )


def _named(study: StudyMaterial, result: Result) -> Check:
    place = study.result_place(result)
    if result.contrast is None:
        return Check(
            place,
            "inconsistent",
            f"{result.estimate}",
            "no group above and below the line",
            "a ratio does not say which group is compared with which",
            "write `contrast: {numerator, denominator}`",
        )
    groups = f"{result.contrast.numerator} v {result.contrast.denominator}"
    return Check(place, "consistent", f"{result.estimate}", groups, "the groups are named")


# ---- INVERTED


def inverted(analysis: AnalysisMaterial) -> Iterator[Check]:
    """Printed contrasts that the selection turned round."""
    for row in analysis.rows:
        printed = next((n for n in row.notes if n.startswith("inverted: ")), "")
        if not printed:
            continue
        numbers = row.numbers
        value = f"{numbers['estimate']:.3g}"
        if "ci_low" in numbers:
            value += f" ({numbers['ci_low']:.3g} to {numbers['ci_high']:.3g})"
        yield Check(
            _row_place(analysis, row),
            "inconsistent",
            printed.removeprefix("inverted: "),
            f"{value} for the contrast of {analysis.name}",
            "the report prints the opposite contrast; the row is its reciprocal",
            "nothing; the printed number stays in the file",
        )


# ---- DIRECTION


def direction(review: Review) -> Iterator[Check]:
    """Effects that contradict each other in sign, each with strong evidence."""
    for analysis in review.analyses:
        yield from _pooled(analysis)
    outcomes = review.evidence.outcomes if review.evidence else {}
    for study in review.studies:
        yield from _of_study(study, outcomes)


def _pooled(analysis: AnalysisMaterial) -> Iterator[Check]:
    strong = [
        (row, z)
        for row in analysis.rows
        if row.included
        and (z := _z(row.numbers, analysis.settings)) is not None
        and abs(z) > STRONG
    ]
    if len(strong) < 2:
        return
    signs = Counter(z > 0 for _, z in strong)
    if len(signs) < 2:
        yield Check(
            analysis.place("direction"),
            "consistent",
            f"{len(strong)} rows with z beyond {STRONG}",
            "all on one side",
            "rows with strong evidence agree in direction",
        )
        return
    fewer = signs[True] < signs[False]
    for row, z in strong:
        if (z > 0) == fewer:
            yield Check(
                _row_place(analysis, row),
                "inconsistent",
                f"{row.label}: z = {z:.1f}",
                f"{signs[not fewer]} other rows of {analysis.name} on the other side",
                "a row points the other way than the others, with strong evidence",
                "look whether its contrast or its outcome is the reverse",
            )


def _z(numbers: Mapping[str, float], settings: Mapping[str, str]) -> float | None:
    """Distance from no difference in standard errors; None for one group or too few numbers."""
    if {"ai", "n1i", "ci", "n2i"} <= numbers.keys():
        a, n1, c, n2 = (numbers[key] for key in ("ai", "n1i", "ci", "n2i"))
        if not (0 < a < n1 and 0 < c < n2):
            return None
        b, d = n1 - a, n2 - c
        return math.log(a * d / (b * c)) / math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    if not settings.get("measure", "") or settings["measure"] in ("GEN", "PLO", "PR", "PAS"):
        return None  # no null value is known
    if "yi" in numbers and numbers.get("sei", 0) > 0:
        return numbers["yi"] / numbers["sei"]
    if "yi" in numbers and numbers.get("vi", 0) > 0:
        return numbers["yi"] / math.sqrt(numbers["vi"])
    if {"estimate", "ci_low", "ci_high"} <= numbers.keys() and settings["measure"] == "HR":
        low, high = numbers["ci_low"], numbers["ci_high"]
        if 0 < low < high and numbers["estimate"] > 0:
            return math.log(numbers["estimate"]) / (math.log(high / low) / (2 * STRONG))
    return None


def _of_study(study: StudyMaterial, outcomes: Mapping[str, Outcome]) -> Iterator[Check]:
    """One contrast under two outcomes: the better group should be the same."""
    found: dict[frozenset[str], list[tuple[Result, str, str]]] = defaultdict(list)
    for result in study.study.content.results:
        outcome = outcomes.get(result.outcome)
        if result.contrast is None or outcome is None or outcome.higher_is == "neither":
            continue
        groups = (result.contrast.numerator.casefold(), result.contrast.denominator.casefold())
        ahead = _ahead(result, outcome)
        if ahead is not None and groups[0] != groups[1]:
            better = groups[0] if ahead else groups[1]
            found[frozenset(groups)].append((result, better, _evidence(result)))
    for entries in found.values():
        first, better, evidence = entries[0]
        for result, other, words in entries[1:]:
            place = study.result_place(first)
            one, two = study.result_place(first).text, study.result_place(result).text
            printed = f"{first.outcome}: better with {better} ({evidence})"
            recomputed = f"{result.outcome}: better with {other} ({words})"
            if better == other:
                yield Check(place, "consistent", printed, recomputed, "the same group is ahead")
            else:
                yield Check(
                    place,
                    "inconsistent",
                    printed,
                    recomputed,
                    f"one group is better in {one} and the other in {two}",
                    "look which direction the report means before using either",
                )


def _ahead(result: Result, outcome: Outcome) -> bool | None:
    """Whether the numerator is better off; None without strong evidence.

    A p-value with a contrast and without an estimate says that the numerator has more of the
    outcome, see the description of `contrast` in `studyfile`.
    """
    p = _exact(result.p)
    good = outcome.higher_is == "good"
    if result.kind in RATIOS and result.estimate is not None:
        estimate = parse_printed(result.estimate).value
        if result.ci and "NR" not in result.ci:
            low, high = (parse_printed(bound).value for bound in result.ci)
            if low <= 1 <= high:
                return None
        elif p is None or p.value > 0.05:
            return None
        return (estimate > 1) == good
    if result.kind == "p_value" and p is not None and p.value <= 0.05:
        return good
    return None


def _exact(text: str | None) -> Printed | None:
    return parse_printed(text) if text else None


def _evidence(result: Result) -> str:
    words = [result.estimate] if result.estimate else []
    words += [f"{result.ci[0]} to {result.ci[1]}"] if result.ci else []
    return ", ".join([*words, f"p {result.p}"] if result.p else words)


# ---- SETTING


def setting(analysis: AnalysisMaterial) -> Iterator[Check]:
    """Populations of different settings in one analysis."""
    settings = {
        row.study: study.content.population.setting
        for row in analysis.rows
        if row.included
        and (study := analysis.studies.get(row.study)) is not None
        and study.content.population
        and study.content.population.setting
    }
    if len(settings) < 2:
        return
    counts = Counter(settings.values())
    usual, most = max(counts.items(), key=lambda item: (item[1], item[0]))
    if len(counts) == 1:
        yield Check(
            analysis.place("setting"), "consistent", usual, f"{most} studies", "one setting"
        )
        return
    for name, other in sorted(settings.items()):
        if other != usual:
            yield Check(
                _population(analysis.studies[name]),
                "inconsistent",
                other,
                f"{usual} in {most} of {len(settings)} studies of {analysis.name}",
                "the population has another setting than most of the analysis",
                "leave it out in a sensitivity analysis; judge indirectness",
            )


def _population(study: Study) -> Place:
    return StudyMaterial(study).place("population")


# ---- K-SMALL


def k_small(analysis: AnalysisMaterial) -> Iterator[Check]:
    """Too few studies for what is usually done."""
    if analysis.settings.get("pool") == "no":
        return
    k = sum(row.included for row in analysis.rows)
    if k == 0:
        return
    place = analysis.place("k")
    if k >= 10:
        yield Check(place, "consistent", f"k = {k}", "", "10 or more")
        return
    if k == 1:
        words, action = "one row is no synthesis", "report the study with its interval"
    elif k < 5:
        words = "so few rows tell next to nothing of how much studies differ"
        action = "show the studies one by one; give no I², and a prediction interval with care"
    else:
        words = "too few rows for funnel plots, tests of asymmetry and regressions"
        action = "leave these out"
    yield Check(place, "inconsistent", f"k = {k}", "10 for all that is usual", words, action)


RULES: tuple[Rule, ...] = (
    Rule(
        "CONTRAST",
        "error",
        "review",
        "A ratio does not name the groups above and below the line; or, as a note, a contrast "
        "is of an outcome that does not say whether more of it is good.",
        contrast,
    ),
    Rule(
        "DIRECTION",
        "warning",
        "review",
        "A row of an analysis is 1.96 standard errors or more from no difference on the other "
        "side than the other such rows; or within a study one contrast favours one group in "
        "one outcome and the other in another, each with p <= 0.05.",
        direction,
    ),
    Rule(
        "INVERTED",
        "note",
        "analysis",
        "A report prints the opposite contrast of the analysis; the row is the reciprocal.",
        inverted,
    ),
    Rule(
        "SETTING",
        "warning",
        "analysis",
        "The settings of the populations (`population.setting`) of one analysis differ.",
        setting,
        "Guyatt et al. 2011, J Clin Epidemiol 64:1303",
    ),
    Rule(
        "K-SMALL",
        "note",
        "analysis",
        "An analysis pools fewer than 10 rows; 2 to 4; or has one.",
        k_small,
        "Cochrane Handbook 6.5, sections 10.10 and 13.3",
    ),
)
