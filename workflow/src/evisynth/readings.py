"""What the results of a study file give to an analysis: numbers, or why there are none."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

from evisynth import conversions
from evisynth.config import Analysis, ArmContrast, Side
from evisynth.conversions import named
from evisynth.errors import Problem, echo
from evisynth.evidence import Study
from evisynth.inputs import INPUTS
from evisynth.printed import number, parse_printed
from evisynth.spans import Span, counts_of, inverted, span
from evisynth.studyfile import ArmValue, Result
from evisynth.table_rows import chosen_conversions

BOUNDS = ("ci_low", "ci_high")
NO_SPAN: Span = (math.nan, math.nan)
ProblemAt = Callable[[str, str, str, str], Problem]
"""A problem of an analysis from place, found, expected, action."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A result of a study that fits the question of an analysis.

    Attributes
    ----------
    given, spans, choices, divided : as in `rows.RawRow`.
    """

    study: Study
    result: Result
    arms: tuple[str, ...]
    numbers: dict[str, float]
    unusable: str = ""
    notes: tuple[str, ...] = ()
    given: Mapping[str, float] = field(default_factory=dict)
    spans: Mapping[str, Span] = field(default_factory=dict)
    choices: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    divided: bool = False

    @property
    def name(self) -> str:
        """Id of the result within its file."""
        return self.result.id or self.result.outcome

    @property
    def counts(self) -> str:
        """The numbers in short, for messages."""
        return ", ".join(f"{key} {value:g}" for key, value in self.numbers.items())


def readings(
    analysis: Analysis, study: Study, problem: ProblemAt, problems: list[Problem]
) -> list[Candidate]:
    """All results of a study that fit an analysis, usable or not.

    Parameters
    ----------
    problem : makes a problem of the analysis from place, found, expected and action.
    problems : what is wrong is added here.
    """
    found: list[Candidate] = []
    for result in study.content.results:
        if result.outcome != analysis.outcome:
            continue
        if INPUTS[analysis.measure].design == "effect":
            candidate = printed_effect(analysis, study, result)
            found += [candidate] if candidate else []
        elif INPUTS[analysis.measure].design == "two_groups":
            found += _two_groups(analysis, study, result, problem, problems)
        else:
            found += _one_group(analysis, study, result)
    return found


def _fits(study: Study, arm_id: str, side: Side | None) -> bool:
    return side is None or study.arm(arm_id).treatment in side.treatment


def _one_group(analysis: Analysis, study: Study, result: Result) -> list[Candidate]:
    read = _GROUP_READERS.get(analysis.measure, _counted)
    candidates = []
    for arm_id, value in result.arms.items():
        if _fits(study, arm_id, analysis.arms):
            numbers, why, notes = read(result, value, _n(study, arm_id, value))
            found = _candidate(analysis, study, result, (arm_id,), numbers, why, notes)
            candidates.append(
                replace(
                    found,
                    spans=_spans_of_group(analysis.measure, result, value),
                    choices=_choices(study, result, {"xi": arm_id}, numbers),
                )
            )
    return candidates


def _spans_of_group(measure: str, result: Result, value: ArmValue) -> dict[str, Span]:
    """Spans of what the readers of `_GROUP_READERS` take from one arm."""
    if measure in ("MN", "MNLN"):
        return _spans(_summary_texts(result, value, 0))
    texts: dict[str, str | None]
    low, high = value.ci or (None, None)
    if measure in ("SCLL", "SLO"):
        text = value.estimate or value.printed
        texts = {"estimate": text, "ci_low": low, "ci_high": high, "sei": value.se}
        in_percent = text is not None and _in_percent(result, text)
        return _spans(texts, Fraction(1, 100) if in_percent else Fraction(1))
    if measure == "MED":
        months = MONTHS.get((result.unit or "").strip().casefold(), Fraction(1))
        texts = {"estimate": value.median or value.estimate, "ci_low": low, "ci_high": high}
        return _spans(texts, months)
    return {}


def _spans(texts: Mapping[str, str | None], factor: Fraction = Fraction(1)) -> dict[str, Span]:
    """Spans of printed numbers; a bound such as ``<5`` or ``NR`` has none."""
    return {
        name: span(text, factor)
        for name, text in texts.items()
        if text not in (None, "NR") and parse_printed(text).relation in ("", "=")
    }


def _choices(
    study: Study, result: Result, arms: Mapping[str, str], numbers: Mapping[str, float | None]
) -> dict[str, tuple[float, ...]]:
    """Counts that fit a percentage from which the events of an arm were derived.

    Parameters
    ----------
    arms : field of the events to arm.
    """
    found = {}
    for events, arm in arms.items():
        value = result.arms[arm]
        derived = value.derived or result.derived
        if numbers.get(events) is None or derived is None or value.printed is None:
            continue
        printed = parse_printed(value.printed)
        if not printed.percent or printed.relation not in ("", "="):
            continue
        counts = counts_of(printed, _n(study, arm, value))
        if len(counts) > 1 and numbers[events] in counts:
            found[events] = counts
    return found


GroupNumbers = tuple[dict[str, float | None], str, tuple[str, ...]]
"""Numbers of one arm, why they cannot be used or nothing, and notes."""


def _counted(result: Result, value: ArmValue, n: int) -> GroupNumbers:
    return {"xi": value.events, "ni": n}, "", ()


def _averaged(result: Result, value: ArmValue, n: int) -> GroupNumbers:
    return _summary(result, value, n, 0), "", ()


def _summary(result: Result, value: ArmValue, n: int, group: int) -> dict[str, float | None]:
    """Mean and standard deviation of an arm, and what they may be derived from.

    Parameters
    ----------
    group : 1 or 2 of a contrast, 0 for a single arm.
    """
    numbers: dict[str, float | None] = {named("ni", group): n}
    return numbers | {
        field: None if text in (None, "NR") else number(str(text))
        for field, text in _summary_texts(result, value, group).items()
    }


def _summary_texts(result: Result, value: ArmValue, group: int) -> dict[str, str | None]:
    """The same as printed, without the number of patients."""
    # Where the result is a median, standard error and interval are the median's.
    of_mean = result.kind == "mean"
    ci = value.ci if of_mean and value.ci and "NR" not in value.ci else (None, None)
    q1, q3 = value.iqr or (None, None)
    lowest, highest = value.range or (None, None)
    texts = {
        "mi": value.mean,
        "sdi": value.sd,
        "msei": value.se if of_mean else None,
        "mci_lowi": ci[0],
        "mci_highi": ci[1],
        "medi": value.median,
        "q1i": q1,
        "q3i": q3,
        "mini": lowest,
        "maxi": highest,
    }
    return {named(field, group): text for field, text in texts.items()}


def _survived(result: Result, value: ArmValue, n: int) -> GroupNumbers:
    """A Kaplan-Meier probability as a fraction, with its interval or standard error."""
    text = value.estimate or value.printed
    if text is None or parse_printed(text).relation not in ("", "="):
        return {}, "gives no exact probability", ()
    if value.ci and "NR" in value.ci:
        return {}, "a bound of its interval was not reached", ()
    if not value.ci and value.se is None:
        return {}, "printed without an interval or standard error", ()
    percent = _in_percent(result, text)
    numbers: dict[str, float | None] = {"estimate": _fraction(text, percent=percent), "ni": n}
    if value.ci:
        low, high = (_fraction(bound, percent=percent) for bound in value.ci)
        numbers |= {"ci_low": low, "ci_high": high, "ci_level": number(result.ci_level)}
    elif value.se is not None:
        numbers["sei"] = _fraction(value.se, percent=percent)
    return numbers, "", ("printed in per cent",) if percent else ()


def _in_percent(result: Result, text: str) -> bool:
    return (result.unit or "").strip().casefold() in PERCENT or parse_printed(text).percent


def _fraction(text: str, *, percent: bool) -> float:
    """The double next to the printed number, divided by 100 in decimals if in per cent."""
    printed = parse_printed(text)
    if not percent:
        return printed.value
    return float(Decimal(repr(printed.value)) / 100)


def _halved(result: Result, value: ArmValue, n: int) -> GroupNumbers:
    """A median survival time in months, with its interval."""
    text = value.median or value.estimate
    unit = (result.unit or "").strip().casefold()
    if text is None:
        return {}, "gives no median", ()
    if value.ci and "NR" in value.ci:
        return {}, "a bound of its interval was not reached", ()
    if not value.ci:
        return {}, "printed without an interval, so that no standard error can be derived", ()
    if unit not in MONTHS:
        asked = ", ".join(word for word in MONTHS if word.endswith("s"))
        return {}, f"its unit is {echo(result.unit or '')}, and not one of {asked}", ()
    months = MONTHS[unit]
    numbers: dict[str, float | None] = {
        name: float(Decimal(repr(number(part))) * months.numerator / months.denominator)
        for name, part in zip(("estimate", "ci_low", "ci_high"), (text, *value.ci), strict=True)
    }
    numbers |= {"ni": n, "ci_level": number(result.ci_level)}
    return numbers, "", () if months == 1 else (f"months, from {text} {result.unit}",)


PERCENT = ("%", "per cent", "percent")
# A month is the twelfth part of 365.25 days.
MONTHS = {
    "months": Fraction(1),
    "month": Fraction(1),
    "years": Fraction(12),
    "year": Fraction(12),
    "weeks": Fraction(7 * 48, 1461),
    "week": Fraction(7 * 48, 1461),
    "days": Fraction(48, 1461),
    "day": Fraction(48, 1461),
}
_GROUP_READERS: dict[str, Callable[[Result, ArmValue, int], GroupNumbers]] = {
    "SCLL": _survived,
    "SLO": _survived,
    "MED": _halved,
    "MN": _averaged,
    "MNLN": _averaged,
}


def _n(study: Study, arm_id: str, value: ArmValue) -> int:
    return study.arm(arm_id).n if value.n is None else value.n


def _two_groups(
    analysis: Analysis,
    study: Study,
    result: Result,
    problem: ProblemAt,
    problems: list[Problem],
) -> list[Candidate]:
    contrast = analysis.contrast
    if not (
        contrast
        and isinstance(contrast.numerator, Side)
        and isinstance(contrast.denominator, Side)
    ):
        return []
    above = [a for a in result.arms if _fits(study, a, contrast.numerator)]
    below = [a for a in result.arms if _fits(study, a, contrast.denominator)]
    if not above or not below:
        return []
    if (len(above) > 1 or len(below) > 1) and analysis.multi_arm == "refuse":
        problems.append(
            problem(
                "contrast",
                f"{study.id}, result {result.id or result.outcome}: arms {', '.join(above)} "
                f"against {', '.join(below)}",
                "one arm on each side",
                "give the arms different treatments, or record the merged arms as a result, "
                "or choose `multi_arm: split` or `multi_arm: covariance`",
            )
        )
        return []
    twice = [
        counted_twice(study, one, two)
        for one in above
        for two in below
        if study.parts(one) & study.parts(two)
    ]
    if twice:
        problems.append(
            problem(
                "contrast",
                f"{study.file}, result {result.id or result.outcome}: {'; '.join(twice)}",
                "every patient once",
                "correct the treatments of the two sides",
            )
        )
        return []
    return [_comparison(analysis, study, result, one, two) for one in above for two in below]


def _comparison(
    analysis: Analysis, study: Study, result: Result, above: str, below: str
) -> Candidate:
    """Two arms of one result."""
    one, two = result.arms[above], result.arms[below]
    numbers: dict[str, float | None] = {
        "ai": one.events,
        "n1i": _n(study, above, one),
        "ci": two.events,
        "n2i": _n(study, below, two),
    }
    spans: dict[str, Span] = {}
    if "sd1i" in INPUTS[analysis.measure].fields:
        numbers = _summary(result, one, _n(study, above, one), 1)
        numbers |= _summary(result, two, _n(study, below, two), 2)
        spans = _spans(_summary_texts(result, one, 1) | _summary_texts(result, two, 2))
    return replace(
        _candidate(analysis, study, result, (above, below), numbers),
        spans=spans,
        choices=_choices(study, result, {"ai": above, "ci": below}, numbers),
    )


def _candidate(
    analysis: Analysis,
    study: Study,
    result: Result,
    arms: tuple[str, ...],
    numbers: dict[str, float | None],
    why: str = "",
    notes: tuple[str, ...] = (),
) -> Candidate:
    inputs = INPUTS[analysis.measure]
    given = {
        key: math.nan if value is None else float(value)
        for key, value in numbers.items()
        if key in inputs.known | conversions.FIELDS.keys()
    }
    unusable = _unusable(analysis, result) or why
    missing = [key for key in inputs.known & given.keys() if math.isnan(given[key])]
    before: dict[str, float] = {}
    if missing and not unusable:
        given["ci_level"] = number(result.ci_level)
        before = {key: value for key, value in given.items() if not math.isnan(value)}
        given, derived = conversions.complete(
            given, inputs.alternatives, chosen=chosen_conversions(analysis)
        )
        notes += derived
        missing = [key for key in missing if math.isnan(given[key])]
        if missing:
            unusable = "; ".join([f"does not give {', '.join(sorted(missing))}", *derived])
    given = {key: value for key, value in given.items() if key in inputs.known}
    return Candidate(study, result, arms, given, unusable, notes, given=before)


def _unusable(analysis: Analysis, result: Result) -> str:
    """Why this result cannot be pooled, or nothing."""
    if not result.use:
        return str(result.why_not)
    kinds = INPUTS[analysis.measure].kinds
    if result.kind == "median" and "mean" in kinds:
        if "summary" in analysis.conversions:
            return ""
        return "printed as a median: `conversions: {summary: ...}` says how to derive a mean"
    if result.kind not in kinds:
        kind = result.kind.replace("_", " ")
        return f"printed as a {kind}, which this measure cannot take"
    return ""


def printed_effect(analysis: Analysis, study: Study, result: Result) -> Candidate | None:
    """A printed effect, turned into the direction that the analysis asks for.

    A result of another contrast is no candidate. A result per arm (a median, a Kaplan-Meier
    value) fits if one of its arms does; it is then not usable, and the reason says so.
    """
    if result.estimate is None:
        arms = tuple(a for a in result.arms if _fits(study, a, analysis.arms))
        if not arms:
            return None
        reason = _unusable(analysis, result) or "gives no effect with its standard error"
        return Candidate(study, result, arms, {}, reason)
    direction = _direction(analysis.contrast, study, result)
    if direction == 0:
        return _of_no_arm(analysis, study, result)
    estimate = parse_printed(result.estimate)
    numbers = {"estimate": estimate.value}
    unusable = _unusable(analysis, result)
    if not estimate.exact:
        unusable = unusable or f"printed as {result.estimate}, which is no exact number"
    if result.ci and "NR" not in result.ci:
        numbers["ci_low"], numbers["ci_high"] = (number(bound) for bound in result.ci)
        numbers["ci_level"] = number(result.ci_level)
    elif result.ci:
        unusable = unusable or "a bound of its interval was not reached"
    else:
        unusable = unusable or (
            "printed without an interval, so that no standard error can be derived"
        )
    notes: tuple[str, ...] = ()
    if direction < 0 and result.contrast and _is_ratio(result):
        printed = (
            f"{result.estimate} ({' to '.join(result.ci)})" if result.ci else result.estimate
        )
        notes = (
            f"inverted: printed as {printed} for "
            f"{result.contrast.numerator} v {result.contrast.denominator}",
        )
        numbers |= _inverted(numbers)
    spans = _effect_spans(result) if estimate.exact else {}
    if notes:
        estimated, low, high = (spans.get(k, NO_SPAN) for k in ("estimate", *BOUNDS))
        spans = {"estimate": inverted(estimated)} | (
            {"ci_low": inverted(high), "ci_high": inverted(low)} if "ci_low" in spans else {}
        )
    arms = _arms_of(study, result)
    return Candidate(study, result, arms, numbers, unusable, notes, spans=spans)


def _effect_spans(result: Result) -> dict[str, Span]:
    """Spans of a printed effect and its interval, in the direction that is printed."""
    ends = dict(zip(BOUNDS, result.ci or (), strict=False))
    return _spans({"estimate": result.estimate, **ends})


def _of_no_arm(analysis: Analysis, study: Study, result: Result) -> Candidate | None:
    """A row for an effect between groups of which neither is an arm, if arms are asked for.

    A misspelt name of a group must not make a trial vanish.
    """
    asked, contrast = analysis.contrast, result.contrast
    if asked is None or contrast is None or _arms_of(study, result):
        return None
    treatments = {arm.treatment for arm in study.content.arms}
    for side in (asked.numerator, asked.denominator):
        if isinstance(side, str) or not treatments & set(side.treatment):
            return None
    groups = f"{contrast.numerator} v {contrast.denominator}"
    reason = _unusable(analysis, result) or f"its groups, {groups}, are no arms of the study"
    return Candidate(study, result, (), {}, reason)


def _arms_of(study: Study, result: Result) -> tuple[str, ...]:
    """Arms that an effect is about: those with numbers, else those that its contrast names."""
    if result.arms or result.contrast is None:
        return tuple(result.arms)
    groups = [folded(result.contrast.numerator), folded(result.contrast.denominator)]
    return tuple(
        arm.id
        for arm in study.content.arms
        if folded(arm.id) in groups or folded(arm.label or arm.id) in groups
    )


def _is_ratio(result: Result) -> bool:
    """Whether the schema has made sure that estimate and bounds are above 0."""
    return result.kind in ("hazard_ratio", "risk_ratio", "odds_ratio")


def _inverted(numbers: dict[str, float]) -> dict[str, float]:
    """The ratio of the opposite contrast: reciprocals, bounds exchanged."""
    inverse = {"estimate": 1 / numbers["estimate"]}
    if "ci_low" in numbers:
        inverse |= {"ci_low": 1 / numbers["ci_high"], "ci_high": 1 / numbers["ci_low"]}
    return inverse


def _direction(contrast: ArmContrast | None, study: Study, result: Result) -> int:
    """1: as asked for; -1: the other way round; 0: another contrast."""
    if contrast is None or result.contrast is None:
        return 1 if contrast is None else 0
    above, below = result.contrast.numerator, result.contrast.denominator
    if _names(contrast.numerator, above, study) and _names(contrast.denominator, below, study):
        return 1
    if _names(contrast.numerator, below, study) and _names(contrast.denominator, above, study):
        return -1
    return 0


def _names(side: Side | str, group: str, study: Study) -> bool:
    """Whether `group`, a name as printed, is this side; capitals and spaces do not matter."""
    if isinstance(side, str):
        return folded(side) == folded(group)
    return any(
        folded(group) in (folded(arm.id), folded(arm.label or arm.id))
        and arm.treatment in side.treatment
        for arm in study.content.arms
    )


def folded(text: str) -> list[str]:
    """Words of a text whatever their capitals and the space between them."""
    return text.casefold().split()


def counted_twice(study: Study, first: str, second: str) -> str:
    """How two arms that share patients do so, for messages."""
    if first == second:
        return f"the arm {first!r} would enter twice"
    if second in study.parts(first):
        return f"the arm {second!r} is part of the arm {first!r} and both would enter"
    if first in study.parts(second):
        return f"the arm {first!r} is part of the arm {second!r} and both would enter"
    return f"the arms {first!r} and {second!r} have patients in common and both would enter"
