"""Intervals, estimates and p-values: whether they can be of one another."""

import math
import re
from collections.abc import Iterator
from statistics import NormalDist

from evisynth.audit.material import Material, StudyMaterial, everywhere
from evisynth.audit.proportions import methods_that_print, proportion_intervals
from evisynth.audit.records import Check, Effect, Level, Place, Proportion, Rule
from evisynth.audit.rounding import SLACK, Span, figure, log_span, p_span, p_text, span
from evisynth.conversions.distributions import (
    beta_tails,
    normal_half_width,
    t_half_width,
)
from evisynth.printed import Printed

LEVELS = (0.90, 0.95, 0.99)
# A likelihood ratio, score or log-rank test of the same data differs from the test that the
# interval implies; by less than this factor in p, or this share of z, nothing is said.
OTHER_TEST = 1.5
# Other tests of the same data give another z than Wald's, which the interval implies. Factors
# and summands that hold for simulated tables of 9 to 800 patients, survival of 8 to 300:
# - ratios: the score test of rare events has the largest, 2 sinh(x/2)/x times it with x the
#   logarithm of the ratio; exact tests and Yates' correction lower it by half an event over the
#   root of the information, half a standard error, and by more in groups of unequal size;
# - where a cell may be zero, what was added to it has lowered it;
# - ratios of risks near 1 have intervals that are too short, and so any smaller z.
# Of differences nothing is an error: of skewed or few values, tests of ranks give any other p.
OTHER_Z = 1.25
LESS_Z = 1.1
EXACT_Z = 1.0
SPARSE_SE = 1.0
SPARSE_Z = 0.5
RISK_Z = Span(0.15, 1.5)
RISK_MORE = Span(-0.4, 0.75)
# Words of p-values that test another hypothesis than that of no effect.
_OTHER_NULL = re.compile(
    r"non[\s-]?inferior|equivalen|interaction|\btrend|heterogeneity|margin|bonferroni|"
    r"multiplicity|one[\s-]?(?:sided|tailed)",
    re.IGNORECASE,
)
# Levels differ by a factor of 1.19 or 1.31 in z, tests of the same data mostly by less.
NEARLY = 1.05
# Of the rows of a table whose p-values follow from the intervals; then all should.
MOST = 0.9
FEWEST_ROWS = 8
# Ratio of the two halves of an interval on the scale where it should be even. Exact intervals
# of a single event against many reach 2.
UNEVEN = 3.0
# The smallest degrees of freedom of a t test that a linear interval may be from.
FEWEST_DF = 5
LARGEST_RATIO = 50.0
LARGEST_SE = 1.5
TINY = 1e-290
# The logarithm beyond which a ratio is no more than "very large".
MOST_LOG = 20.0

ALTMAN = "Altman & Bland (2011), BMJ 343:d2304, doi:10.1136/bmj.d2304"
NEWCOMBE = (
    "Newcombe (1998), Stat Med 17(8):857-872, "
    "doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E"
)


def _scaled(effect: Effect, printed: Printed) -> Span:
    return log_span(printed) if effect.scale == "log" else span(printed)


def _null(effect: Effect) -> float | None:
    if effect.null is None:
        return None
    return math.log(effect.null) if effect.scale == "log" else effect.null


def interval_text(estimate: Printed | None, low: Printed, high: Printed) -> str:
    """``0.42 (0.18 to 0.94)``, as printed."""
    bounds = f"{low.text} to {high.text}"
    return f"{estimate.text} ({bounds})" if estimate else bounds


def standard_error(effect: Effect, level: float) -> Span | None:
    """Standard error that the printed interval implies, over all roundings of its bounds."""
    if effect.low is None or effect.high is None:
        return None
    low, high = _scaled(effect, effect.low), _scaled(effect, effect.high)
    if not (math.isfinite(low.high) and math.isfinite(high.low)):
        return None  # a ratio's bound that is not positive
    z = 2 * normal_half_width(level)
    return Span(max(0.0, high.low - low.high) / z, (high.high - low.low) / z)


def _z(effect: Effect, se: Span) -> Span:
    """|estimate - null| over its standard error, over all corners."""
    null = _null(effect)
    assert effect.estimate is not None
    assert null is not None
    value = _scaled(effect, effect.estimate)
    ends = (abs(value.low - null), abs(value.high - null))
    nearest = 0.0 if value.holds(null) else min(ends)
    return Span(
        nearest / se.high if se.high < math.inf else 0.0,
        max(ends) / se.low if se.low > 0 else math.inf,
    )


def _two_sided(z: float) -> float:
    return math.erfc(z / math.sqrt(2))


def _t_two_sided(t: float, df: int) -> float:
    if t == math.inf:
        return 0.0
    share = df / (df + t * t)
    return beta_tails(df / 2, 0.5, share, t * t / (df + t * t))[0]


def p_of(effect: Effect, level: float, small: bool = True) -> Span | None:
    """Two-sided p-value that estimate and interval imply, over all corners of rounding.

    On the linear scale the hull with the t test with few degrees of freedom, which small
    trials use, unless `small` is false.
    """
    se = standard_error(effect, level)
    if se is None or effect.estimate is None or effect.null is None or se.high <= 0:
        return None
    if _scaled(effect, effect.estimate).high == -math.inf:
        return None
    z = _z(effect, se)
    p = Span(_two_sided(z.high), _two_sided(z.low))
    if effect.scale == "log" or not small:
        return p
    share = t_half_width(level, FEWEST_DF) / normal_half_width(level)
    ends = [_t_two_sided(share * end, FEWEST_DF) for end in (z.high, z.low)]
    return Span(min(p.low, ends[0]), max(p.high, ends[1]))


def se_span(sei: Printed | None, vi: Printed | None) -> Span | None:
    """Interval of a printed standard error, or of the root of a printed variance."""
    if sei is not None:
        return span(sei)
    return span(vi).through(lambda x: math.sqrt(max(x, 0.0))) if vi is not None else None


def p_from_se(effect: Effect) -> Span | None:
    """Two-sided p-value of estimate over printed standard error."""
    se = se_span(effect.sei, effect.vi)
    if se is None or effect.estimate is None or effect.null is None or se.low <= 0:
        return None
    if _scaled(effect, effect.estimate).high == -math.inf:
        return None
    z = _z(effect, se)
    return Span(_two_sided(z.high), _two_sided(z.low))


def _apart(one: Span, two: Span) -> tuple[float, float]:
    """Factor between two intervals of p that do not meet, and ratio of their z; at least 1."""
    small, large = (one.high, two.low) if one.high < two.low else (two.high, one.low)
    if small < TINY:
        return math.inf, math.inf
    z_large, z_small = (-NormalDist().inv_cdf(min(x, 1.0 - 1e-12) / 2) for x in (small, large))
    return large / small, z_large / z_small if z_small > 0 else math.inf


def ci_p(material: Material) -> Iterator[Check]:
    """Printed p-values against those of the printed intervals."""
    found = [
        (effect, effect.p, p_span(effect.p), implied)
        for effect in material.effects
        if effect.p is not None
        and 0 <= effect.p.value <= 1
        and (implied := p_of(effect, effect.ci_level) or p_from_se(effect)) is not None
    ]
    normal = [p_of(effect, effect.ci_level, small=False) for effect, *_ in found]
    right = sum(
        printed.meets(z or implied)
        for (_, _, printed, implied), z in zip(found, normal, strict=True)
    )
    strict = (
        not isinstance(material, StudyMaterial)
        and len(found) >= FEWEST_ROWS
        and right >= MOST * len(found)
    )
    for (effect, p, printed, implied), z in zip(found, normal, strict=True):
        compared = (z or implied) if strict else implied
        yield _p_check(material, effect, p, printed, compared, strict)


def _allowed_z(effect: Effect) -> Span:
    """|z| that usual tests of the data behind the interval of a ratio may have.

    Over all corners of rounding. The interval may be Wald's or, if it is uneven, of profile
    likelihood or exact: then its half towards the null value tells.
    """
    null = _null(effect)
    assert effect.estimate is not None
    assert null is not None
    value = _scaled(effect, effect.estimate)
    away = max(abs(value.low - null), abs(value.high - null))
    se = standard_error(effect, effect.ci_level) or se_span(effect.sei, effect.vi)
    assert se is not None  # else there is no implied p-value to compare with
    wald = _z(effect, se)
    low, high = wald.low, wald.high
    if effect.low is not None and effect.high is not None:
        bounds = _scaled(effect, effect.low), _scaled(effect, effect.high)
        z = normal_half_width(effect.ci_level)
        half = (
            Span(value.low - bounds[0].high, value.high - bounds[0].low)
            if value.middle > null
            else Span(bounds[1].low - value.high, bounds[1].high - value.low)
        )
        if half.low > 0 and math.isfinite(half.high):
            nearer = _z(effect, Span(half.low / z, half.high / z))
            low, high = min(low, nearer.low), max(high, nearer.high)
    away = min(away, MOST_LOG)
    rare = 2 * math.sinh(away / 2) / away if away > 0 else 1.0
    widest = min(se.high, MOST_LOG)
    if widest > SPARSE_SE:
        high += SPARSE_Z * widest
    low -= EXACT_Z * widest
    if effect.kind in ("hazard_ratio", "odds_ratio"):
        return Span(max(0.0, low / LESS_Z), high * max(rare, OTHER_Z))
    return Span(
        max(0.0, RISK_Z.low * low + RISK_MORE.low),
        high * max(rare, RISK_Z.high) + RISK_MORE.high,
    )


def _z_of_p(p: Span, sides: int = 2) -> Span:
    """|z| of a two-sided p-value, or of a one-sided one."""

    def z(x: float) -> float:
        tail = x / sides
        return math.inf if tail < TINY else max(0.0, -NormalDist().inv_cdf(min(tail, 0.5)))

    return Span(z(p.high), z(p.low))


def _p_check(
    material: Material, effect: Effect, p: Printed, printed: Span, implied: Span, strict: bool
) -> Check:
    """A p-value against the implied one; `strict` where all other rows of a table agree."""
    said = _printed(effect, p)
    recomputed = f"p = {p_text(implied)}"
    if printed.meets(implied):
        return Check(
            effect.place, "consistent", said, recomputed, "the interval contains the p-value"
        )
    if isinstance(material, StudyMaterial) and _OTHER_NULL.search(
        material.results[effect.place.results[0]].quote
    ):
        return Check(
            effect.place,
            "undecided",
            said,
            recomputed,
            "the p-value tests something else than the interval shows (non-inferiority, "
            "interaction, trend, one-sided), as its quote says",
        )
    recomputed += _needed(effect, p)
    factor = _apart(printed, implied)[0]
    times = f"a factor of {factor:.2g}" if factor < math.inf else "more than any factor"
    ratio = effect.scale == "log" or _log_yi(material, effect)
    allowed = _allowed_z(effect) if ratio else Span(0.0, math.inf)
    gross = not _z_of_p(printed).meets(allowed)
    if not gross and factor <= OTHER_TEST and not strict:
        return Check(
            effect.place,
            "consistent",
            said,
            recomputed,
            f"{times} apart, as another test of the same data may be",
        )
    one_sided = _z_of_p(printed, 1).meets(_z_of_p(implied))
    other = next(
        (
            level
            for level in LEVELS
            if level != effect.ci_level
            and (at := p_of(effect, level)) is not None
            and printed.meets(at)
        ),
        None,
    )
    hint = (
        "; it fits a one-sided test"
        if one_sided
        else f"; the p-value fits a {100 * other:g}% interval"
        if other
        else "; a score, exact or rank test may differ as much"
        if not gross
        else ""
    )
    return Check(
        effect.place,
        "inconsistent",
        said,
        recomputed,
        f"the printed p-value and that of the interval differ by {times}{hint}",
        "check both against the report; to take the estimate, say which of the two to trust",
        "warning" if not gross or _z_of_p(printed, 1).meets(allowed) else None,
    )


def _needed(effect: Effect, p: Printed) -> str:
    """The Wald interval that the printed p-value would go with, for ratios."""
    if effect.scale != "log" or effect.estimate is None or effect.estimate.value <= 0:
        return ""
    if p.relation or not 0 < p.value < 1:
        return ""
    middle = math.log(effect.estimate.value)
    half = abs(middle) / normal_half_width(1 - p.value) * normal_half_width(effect.ci_level)
    low, high = (figure(math.exp(middle + sign * half)) for sign in (-1, 1))
    return f"; p {p.text} would need the interval {low} to {high}"


def _printed(effect: Effect, p: Printed) -> str:
    shown = f"p {p.text}" if p.relation else f"p = {p.text}"
    if effect.low is not None and effect.high is not None:
        return f"{interval_text(effect.estimate, effect.low, effect.high)}, {shown}"
    return f"{effect.estimate.text if effect.estimate else ''}, {shown}"


def geo_mid(material: Material) -> Iterator[Check]:
    """Estimates against the middle of their intervals."""
    for effect in material.effects:
        if effect.estimate and effect.low and effect.high:
            yield _middle(effect)
    for proportion in material.proportions:
        if proportion.percent and proportion.low and proportion.high and not proportion.own_n:
            yield _middle_of_percentage(proportion)


def _middle(effect: Effect) -> Check:
    assert effect.estimate is not None
    assert effect.low is not None
    assert effect.high is not None
    value, low, high = (
        _scaled(effect, printed) for printed in (effect.estimate, effect.low, effect.high)
    )
    middle = Span((low.low + high.low) / 2, (low.high + high.high) / 2)
    said = interval_text(effect.estimate, effect.low, effect.high)
    log = effect.scale == "log"
    ends = [
        figure(math.exp(x) if log else x) if x > -math.inf else "0"
        for x in (middle.low, middle.high)
    ]
    name = "geometric" if log else "arithmetic"
    recomputed = f"{name} middle {ends[0]} to {ends[1]}{_halves(effect)}"
    if middle.meets(value.widened(1e-9)):
        return Check(
            effect.place, "consistent", said, recomputed, "in the middle of its interval"
        )
    # the nearest that rounding brings the two halves to each other
    if value.low > middle.high:
        upper, lower = high.high - value.low, value.low - low.high
        share = lower / upper if upper > 0 else math.inf
    else:
        upper, lower = high.low - value.high, value.high - low.low
        share = upper / lower if lower > 0 else math.inf
    return Check(
        effect.place,
        "inconsistent",
        said,
        recomputed,
        f"the estimate is not in the middle of its interval on the {_scale_word(log)} scale; "
        + (
            f"one half is at least {figure(share)} times the other"
            if share < math.inf
            else "it lies at a bound or beyond"
        ),
        "check estimate and bounds against the report; an interval that is not a Wald interval "
        "(profile likelihood, exact) may be uneven",
        "error" if share > UNEVEN and log else None,
    )


def _halves(effect: Effect) -> str:
    """Ratio of the two halves of an interval as they are printed, on its own scale."""
    assert effect.estimate is not None
    assert effect.low is not None
    assert effect.high is not None
    values = [printed.value for printed in (effect.low, effect.estimate, effect.high)]
    if effect.scale == "log":
        if min(values) <= 0:
            return ""
        values = [math.log(value) for value in values]
    lower, upper = values[1] - values[0], values[2] - values[1]
    if min(lower, upper) <= 0:
        return ""
    return f"; ratio of the halves {min(lower, upper) / max(lower, upper):.2f}"


def _scale_word(log: bool) -> str:
    return "logarithmic" if log else "linear"


def _middle_of_percentage(proportion: Proportion) -> Check:
    """Without counts no method is known: either scale will do, grossly uneven will not."""
    assert proportion.percent is not None
    assert proportion.low is not None
    assert proportion.high is not None
    printed = (proportion.percent, proportion.low, proportion.high)
    said = interval_text(*printed)
    value, low, high = (span(p) for p in printed)
    middle = Span((low.low + high.low) / 2, (low.high + high.high) / 2)
    logits = [s.through(lambda x: _logit(x / 100)) for s in (value, low, high)]
    logit_middle = Span(
        (logits[1].low + logits[2].low) / 2, (logits[1].high + logits[2].high) / 2
    )
    recomputed = f"middle {figure(middle.low, 2)} to {figure(middle.high, 2)}"
    if middle.meets(value) or logit_middle.meets(logits[0]):
        return Check(
            proportion.place, "consistent", said, recomputed, "in the middle of its interval"
        )
    upper, lower = logits[2].middle - logits[0].middle, logits[0].middle - logits[1].middle
    if not math.isfinite(upper + lower) or 1 / UNEVEN < upper / lower < UNEVEN:
        return Check(
            proportion.place,
            "undecided",
            said,
            recomputed,
            "exact and score intervals of proportions are uneven, and no count is printed",
        )
    return Check(
        proportion.place,
        "inconsistent",
        said,
        recomputed,
        "the percentage is not in the middle of its interval on any scale",
        "check percentage and bounds against the report",
    )


def _logit(p: float) -> float:
    if p <= 0:
        return -math.inf
    return math.log(p / (1 - p)) if p < 1 else math.inf


# Intervals of proportions


def _counted_intervals(
    material: Material,
) -> Iterator[tuple[Proportion, Printed, Printed, int, int]]:
    for one in material.proportions:
        if one.low and one.high and one.events is not None and one.n and one.events <= one.n:
            yield one, one.low, one.high, one.events, one.n


def _other_level(one: Proportion, low: Printed, high: Printed, k: int, n: int) -> float | None:
    """Another level at which a method prints the interval; None if there is none."""
    return next(
        (
            level
            for level in LEVELS
            if level != one.ci_level and methods_that_print(span(low), span(high), k, n, level)
        ),
        None,
    )


def _shown(k: int, n: int, level: float, name: str) -> str:
    low, high = proportion_intervals(k, n, level)[name]
    return f"{name} {100 * low:.1f} to {100 * high:.1f}"


def ci_method(material: Material) -> Iterator[Check]:
    """By which method the interval of a proportion was made."""
    for one, low, high, k, n in _counted_intervals(material):
        said = f"{k} of {n}, {100 * one.ci_level:g}% interval {low.text} to {high.text}"
        names = methods_that_print(span(low), span(high), k, n, one.ci_level)
        if names:
            yield Check(
                one.place,
                "consistent",
                said,
                _shown(k, n, one.ci_level, names[0]),
                f"made by: {', '.join(names)}",
            )
            continue
        shown = "; ".join(_shown(k, n, one.ci_level, m) for m in ("Wald", "Wilson"))
        ends = proportion_intervals(k, n, one.ci_level).values()
        lows, highs = [100 * x for x, _ in ends], [100 * y for _, y in ends]
        slack = 0.25 * (max(highs) - min(lows)) / 2
        near = span(low).meets(Span(min(lows) - slack, max(lows) + slack))
        near &= span(high).meets(Span(min(highs) - slack, max(highs) + slack))
        if near and not _other_level(one, low, high, k, n):
            yield Check(
                one.place,
                "undecided",
                said,
                shown,
                "none of the methods that are tried prints it, and it is near to them",
            )
        else:
            yield Check(
                one.place,
                "inconsistent",
                said,
                shown,
                "no method gives this interval for this count",
                "check count and bounds against the report; clusters make intervals wider",
                "warning",
            )


def ci_level(material: Material) -> Iterator[Check]:
    """Intervals that fit the other numbers at another level than is stated."""
    for one, low, high, k, n in _counted_intervals(material):
        if methods_that_print(span(low), span(high), k, n, one.ci_level):
            yield Check(one.place, "consistent", explanation="fits its level")
        elif (level := _other_level(one, low, high, k, n)) is not None:
            name = methods_that_print(span(low), span(high), k, n, level)[0]
            reason = f"{name} for {k} of {n}"
            said = f"{low.text} to {high.text}"
            yield _wrong_level(one.place, said, one.ci_level, level, reason, "warning")
    for effect in material.effects:
        if effect.low and effect.high:
            yield from _level_of_effect(effect, effect.low, effect.high)


def _level_of_effect(effect: Effect, low: Printed, high: Printed) -> Iterator[Check]:
    stated = effect.ci_level
    said = interval_text(effect.estimate, low, high)
    printed_se = se_span(effect.sei, effect.vi)
    if printed_se is not None:
        se = printed_se.widened(SLACK)
        fits = [
            level
            for level in LEVELS
            if (implied := standard_error(effect, level)) is not None and implied.meets(se)
        ]
        own = standard_error(effect, stated)
        if own is not None and own.meets(se):
            yield Check(effect.place, "consistent", said, explanation="fits its level")
        elif fits:
            # a t or profile interval may be as wide as one of a higher level
            may_be = effect.scale == "linear" or fits[0] > stated
            gravity: Level = "warning" if may_be else "error"
            reason = f"standard error {figure(printed_se.middle)}"
            yield _wrong_level(effect.place, said, stated, fits[0], reason, gravity)
        return
    if effect.p is None or effect.p.relation or not 0 <= effect.p.value <= 1:
        return
    printed, own = p_span(effect.p), p_of(effect, stated)
    if own is None:
        return
    if printed.meets(own):
        yield Check(effect.place, "consistent", said, explanation="fits its level")
        return
    if _apart(printed, own)[1] <= NEARLY:
        return
    for level in LEVELS:
        at = p_of(effect, level)
        if level != stated and at is not None and printed.meets(at):
            reason = f"p = {effect.p.text}"
            yield _wrong_level(effect.place, said, stated, level, reason, "warning")
            return


def _wrong_level(
    place: Place, said: str, stated: float, level: float, reason: str, gravity: Level
) -> Check:
    return Check(
        place,
        "inconsistent",
        f"{said}, stated level {100 * stated:g}%",
        f"a {100 * level:g}% interval ({reason})",
        f"the interval fits the other numbers at {100 * level:g}%, not at {100 * stated:g}%",
        "find its level in the report and give `ci_level`",
        gravity,
    )


def extreme(material: Material) -> Iterator[Check]:
    """Ratios beyond 50 or 1/50, and standard errors of logarithms above 1.5."""
    for effect in material.effects:
        value = effect.estimate
        if value is None or value.relation:
            continue
        on_log = effect.scale == "log"
        if not on_log and not _log_yi(material, effect):
            continue
        if on_log and value.value <= 0:
            continue
        log = math.log(value.value) if on_log else value.value
        own = se_span(effect.sei, effect.vi)
        se = own.middle if own is not None else None
        if se is None and on_log:
            implied = standard_error(effect, effect.ci_level)
            se = implied.middle if implied and math.isfinite(implied.high) else None
        text = f"ratio {figure(math.exp(min(log, 700.0)))}, log {figure(log)}"
        text += f", SE {figure(se)}" if se is not None else ""
        if abs(log) > math.log(LARGEST_RATIO) or (se is not None and se > LARGEST_SE):
            yield Check(
                effect.place,
                "inconsistent",
                value.text,
                text,
                "a ratio above 50 or below 1/50: likely a misprint, or sparse data"
                if abs(log) > math.log(LARGEST_RATIO)
                else "a standard error above 1.5 on the logarithmic scale",
                "check it against the report, and what the analysis is without it",
            )
        else:
            yield Check(effect.place, "consistent", value.text, text, "within the usual")


def _log_yi(material: Material, effect: Effect) -> bool:
    """Whether a linear effect of a table is the logarithm of a ratio."""
    return not isinstance(material, StudyMaterial) and material.on_log_scale


RULES = (
    Rule(
        "CI-P",
        "error",
        "review",
        "The p-value that estimate and interval imply, SE = (upper - lower)/(2 z) on the "
        "logarithmic scale for ratios, over all corners of rounding, does not contain the "
        "printed one. An error where no usual test of the same data (score, log-rank, "
        "likelihood ratio, exact, with correction, one-sided) explains the distance, for "
        "ratios; a warning above a factor of 1.5 in p; smaller differences are let pass, "
        "unless nine tenths of a table of 8 rows or more agree exactly (a warning). Not "
        "decided where the quote says that the p-value tests something else "
        "(non-inferiority, interaction, trend, one-sided).",
        everywhere(ci_p),
        ALTMAN,
    ),
    Rule(
        "GEO-MID",
        "warning",
        "review",
        "The estimate, with its rounding, is not in the middle of its interval: geometric for "
        "ratios, arithmetic for differences; for percentages arithmetic or of the logits. An "
        "error for ratios where one half of the interval is more than 3 times the other.",
        everywhere(geo_mid),
        ALTMAN,
    ),
    Rule(
        "CI-METHOD",
        "note",
        "review",
        "No usual method (Wald, Wilson, Clopper-Pearson, Agresti-Coull, Jeffreys, arcsine, "
        "logit, log-log) prints the interval of a proportion, and it is not near to any "
        "(a warning). Consistent checks name the method.",
        everywhere(ci_method),
        NEWCOMBE,
    ),
    Rule(
        "CI-LEVEL",
        "error",
        "review",
        "An interval fits the standard error, the p-value or the count that are printed at 90, "
        "95 or 99 % and not at the level that is stated. A warning where only a p-value or a "
        "count tells, or where it is wider, as t and profile intervals are.",
        everywhere(ci_level),
        "Higgins et al., Cochrane Handbook for Systematic Reviews of Interventions, "
        "version 6.5 (2024), section 6.3",
    ),
    Rule(
        "EXTREME",
        "warning",
        "review",
        "A ratio is above 50 or below 1/50, or the standard error of its logarithm above 1.5.",
        everywhere(extreme),
    ),
)
