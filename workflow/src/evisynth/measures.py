"""Effect measures: what each needs, how it is computed, shown and cited.

Counts are turned into effects in exact rational arithmetic with one rounding at the end, so
that small differences between large counts lose no digits.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.special import betainc, betaincc, betainccinv, betaincinv, betaln

from evisynth.inference import normal_quantile
from evisynth.inputs import INPUTS, Axis, Design, check_numbers
from evisynth.records import EffectSizes, Floats, RawRow

NAN = math.nan
HALF_PI = math.pi / 2
# Above this number of degrees of freedom math.gamma overflows; the series has converged long
# before.
LARGEST_GAMMA = 300
DEFAULT_CI_LEVEL = 0.95
TO = ("only0", "all", "if0all", "none")

COUNTS = frozenset({"xi", "ai", "bi", "ci", "di"})

ADDED_TO = {"one_group": "added to events and non-events", "two_groups": "added to each cell"}

VIECHTBAUER = "Viechtbauer (2010), J Stat Softw 36(3), doi:10.18637/jss.v036.i03"


@dataclass(frozen=True, slots=True)
class Effect:
    """Effect and sampling variance on the analysis scale; nan or infinite where undefined."""

    yi: float
    vi: float


Numbers = Mapping[str, float]
Transformation = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Measure:
    """An effect measure.

    Attributes
    ----------
    key, label : name in the configuration; name to print, of the display scale.
    back, back_name : analysis to display scale.
    forward : display to analysis scale.
    null : no effect, on the analysis scale; None where there is no such value.
    formula : of yi and vi, in the symbols of the inputs.
    citation : where the formula is from.
    compute : numbers, after any continuity correction, to effect and variance.
    """

    key: str
    label: str
    back: Transformation
    back_name: str
    forward: Transformation
    null: float | None
    formula: str
    citation: str
    compute: Callable[[Numbers], Effect]

    @property
    def design(self) -> Design:
        """What is compared; effects come ready made."""
        return INPUTS[self.key].design

    @property
    def axis(self) -> Axis:
        """How the display scale is drawn."""
        return INPUTS[self.key].axis

    @property
    def inputs(self) -> tuple[tuple[str, ...], ...]:
        """Alternative sets of numbers; the first complete one is used."""
        return INPUTS[self.key].alternatives

    @property
    def counts(self) -> bool:
        """Whether it is computed from counts, so that zero cells matter."""
        return self.inputs[0][0] in COUNTS

    @property
    def add(self) -> float:
        """Default of the continuity correction: 1/2, but 0 where zero cells do no harm."""
        return 0.5 if self.counts and self.key != "PAS" else 0.0


def identity(x: float) -> float:
    """Return x."""
    return x


def exponential(x: float) -> float:
    """Exponential function, infinite where it leaves the range of double precision."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def logarithm(x: float) -> float:
    """Natural logarithm; minus infinity at 0, nan below."""
    if x > 0:
        return math.log(x)
    return -math.inf if x == 0 else NAN


def expit(x: float) -> float:
    """Inverse of the logit, accurate in both tails."""
    if x < 0:
        return exponential(x) / (1 + exponential(x))
    return 1 / (1 + exponential(-x))


def logit(p: float) -> float:
    """Log odds of a proportion; infinite at 0 and 1, nan outside."""
    if p == 1:
        return math.inf
    return logarithm(p) - math.log1p(-p) if p < 1 else NAN


def squared_sine(x: float) -> float:
    """Inverse of the arcsine square root.

    Below 0 it is 0 and above pi / 2 it is 1, as in metafor: the sine itself would turn back
    there and put the end of a wide interval inside of it.
    """
    return math.sin(min(max(x, 0.0), HALF_PI)) ** 2 if not math.isnan(x) else x


def arcsine_root(p: float) -> float:
    """Arcsine of the square root of a proportion; nan outside of 0 to 1."""
    return math.asin(math.sqrt(p)) if 0 <= p <= 1 else NAN


def clopper_pearson(xi: float, ni: float, level: float) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404).

    `xi` events among `ni`; `level` as a fraction. Lower and upper end, as fractions.
    """
    tail = (1 - level) / 2
    low, high = 0.0, 1.0
    if xi > 0:
        low = float(betaincinv(xi, ni - xi + 1, tail))
        low -= _beta_step(xi, ni - xi + 1, low, float(betainc(xi, ni - xi + 1, low)) - tail)
    if xi < ni:
        high = float(betainccinv(xi + 1, ni - xi, tail))
        high += _beta_step(xi + 1, ni - xi, high, float(betaincc(xi + 1, ni - xi, high)) - tail)
    return low, high


def _beta_step(a: float, b: float, x: float, excess: float) -> float:
    """Newton's step for a quantile: scipy's inverse is off by 1e-11 for few among 1e6."""
    if not 0 < x < 1:
        return 0.0
    log_density = (a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - float(betaln(a, b))
    return excess / math.exp(log_density)


def log_ratio(numerator: Fraction, denominator: Fraction) -> float:
    """Logarithm of a ratio, accurate near 1 as well; infinite or nan where one of them is 0."""
    if numerator == 0 or denominator == 0:
        return logarithm(float(numerator)) - logarithm(float(denominator))
    ratio = numerator / denominator
    if Fraction(1, 2) < ratio < 2:
        return math.log1p(float(ratio - 1))
    return math.log(float(ratio))


def reciprocals(*counts: Fraction) -> float:
    """Sum of the reciprocals; infinite if one of the counts is 0."""
    if 0 in counts:
        return math.inf
    return float(sum((1 / count for count in counts), Fraction(0)))


def _group(numbers: Numbers) -> tuple[Fraction, Fraction]:
    return Fraction(numbers["xi"]), Fraction(numbers["ni"])


def _fourfold(numbers: Numbers) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    return (
        Fraction(numbers["ai"]),
        Fraction(numbers["bi"]),
        Fraction(numbers["ci"]),
        Fraction(numbers["di"]),
    )


def _proportion(numbers: Numbers) -> Effect:
    x, n = _group(numbers)
    return Effect(float(x / n), float(x * (n - x) / n**3))


def _log_proportion(numbers: Numbers) -> Effect:
    x, n = _group(numbers)
    return Effect(log_ratio(x, n), float((n - x) / (x * n)) if x else math.inf)


def _logit_proportion(numbers: Numbers) -> Effect:
    x, n = _group(numbers)
    return Effect(log_ratio(x, n - x), reciprocals(x, n - x))


def _arcsine_proportion(numbers: Numbers) -> Effect:
    x, n = _group(numbers)
    # The arctangent of the odds' root keeps the digits that the arcsine loses near 1.
    return Effect(math.atan2(math.sqrt(x), math.sqrt(n - x)), float(1 / (4 * n)))


def _odds_ratio(numbers: Numbers) -> Effect:
    a, b, c, d = _fourfold(numbers)
    return Effect(log_ratio(a * d, b * c), reciprocals(a, b, c, d))


def _risk_ratio(numbers: Numbers) -> Effect:
    a, b, c, d = _fourfold(numbers)
    n1, n2 = a + b, c + d
    variance = float(b / (a * n1) + d / (c * n2)) if a and c else math.inf
    return Effect(log_ratio(a * n2, c * n1), variance)


def _risk_difference(numbers: Numbers) -> Effect:
    a, b, c, d = _fourfold(numbers)
    n1, n2 = a + b, c + d
    return Effect(float(a / n1 - c / n2), float(a * b / n1**3 + c * d / n2**3))


def _squared(x: float) -> float:
    # Unlike x**2 this is infinite, and no exception, where it leaves double precision.
    return x * x


def _mean_difference(numbers: Numbers) -> Effect:
    variance = (
        _squared(numbers["sd1i"]) / numbers["n1i"] + _squared(numbers["sd2i"]) / numbers["n2i"]
    )
    return Effect(numbers["m1i"] - numbers["m2i"], variance)


def hedges_correction(m: float) -> float:
    """Hedges' c(m), exact: gamma(m/2) / (sqrt(m/2) gamma((m - 1)/2)); m > 1, the df.

    Hedges (1981, eq. 6e; doi:10.3102/10769986006002107).
    """
    if m <= LARGEST_GAMMA:
        return math.gamma(m / 2) / (math.sqrt(m / 2) * math.gamma((m - 1) / 2))
    # Differences of log gamma lose digits here; this is the asymptotic series of
    # gamma(x + 1/2) / (gamma(x) sqrt(x)), its next term being below 1e-16.
    x = (m - 1) / 2
    terms = (1, -1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144, 869 / 4194304)
    series = math.fsum(term / x**power for power, term in enumerate(terms))
    return series * math.sqrt((m - 1) / m)


def _standardised_mean_difference(numbers: Numbers) -> Effect:
    n1, n2 = numbers["n1i"], numbers["n2i"]
    m = n1 + n2 - 2
    if m <= 1:
        return Effect(NAN, NAN)
    squares = (n1 - 1) * _squared(numbers["sd1i"]) + (n2 - 1) * _squared(numbers["sd2i"])
    if squares == 0:
        return Effect(NAN, NAN)
    g = hedges_correction(m) * (numbers["m1i"] - numbers["m2i"]) / math.sqrt(squares / m)
    return Effect(g, 1 / n1 + 1 / n2 + _squared(g) / (2 * (n1 + n2)))


def _as_given(numbers: Numbers) -> Effect:
    return Effect(numbers["yi"], numbers["vi"] if "vi" in numbers else _squared(numbers["sei"]))


def _hazard_ratio(numbers: Numbers) -> Effect:
    if "yi" in numbers:
        return _as_given(numbers)
    width = math.log(numbers["ci_high"]) - math.log(numbers["ci_low"])
    sei = width / (2 * normal_quantile(numbers.get("ci_level", DEFAULT_CI_LEVEL)))
    return Effect(math.log(numbers["estimate"]), _squared(sei))


MEASURES: dict[str, Measure] = {
    "PR": Measure(
        key="PR",
        label="Proportion",
        back=identity,
        back_name="identity",
        forward=identity,
        null=None,
        formula="yi = xi/ni; vi = yi (1 - yi)/ni",
        citation=VIECHTBAUER,
        compute=_proportion,
    ),
    "PLN": Measure(
        key="PLN",
        label="Proportion",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=None,
        formula="yi = log(xi/ni); vi = 1/xi - 1/ni",
        citation=VIECHTBAUER,
        compute=_log_proportion,
    ),
    "PLO": Measure(
        key="PLO",
        label="Proportion",
        back=expit,
        back_name="expit",
        forward=logit,
        null=None,
        formula="yi = log(xi/(ni - xi)); vi = 1/xi + 1/(ni - xi)",
        citation="Stijnen et al. (2010), Stat Med 29(29):3046-3067, doi:10.1002/sim.4040",
        compute=_logit_proportion,
    ),
    "PAS": Measure(
        key="PAS",
        label="Proportion",
        back=squared_sine,
        back_name="squared sine, 0 below 0 and 1 above pi/2",
        forward=arcsine_root,
        null=None,
        formula="yi = asin(sqrt(xi/ni)); vi = 1/(4 ni)",
        citation=VIECHTBAUER,
        compute=_arcsine_proportion,
    ),
    "OR": Measure(
        key="OR",
        label="Odds ratio",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula="yi = log(ai di/(bi ci)); vi = 1/ai + 1/bi + 1/ci + 1/di",
        citation=(
            "Woolf (1955), Ann Hum Genet 19(4):251-253, doi:10.1111/j.1469-1809.1955.tb01348.x"
        ),
        compute=_odds_ratio,
    ),
    "RR": Measure(
        key="RR",
        label="Risk ratio",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula="yi = log((ai/n1i)/(ci/n2i)); vi = 1/ai - 1/n1i + 1/ci - 1/n2i",
        citation="Katz et al. (1978), Biometrics 34(3):469-474, doi:10.2307/2530610",
        compute=_risk_ratio,
    ),
    "RD": Measure(
        key="RD",
        label="Risk difference",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula=(
            "yi = p1 - p2, p1 = ai/n1i, p2 = ci/n2i; vi = p1 (1 - p1)/n1i + p2 (1 - p2)/n2i"
        ),
        citation=VIECHTBAUER,
        compute=_risk_difference,
    ),
    "MD": Measure(
        key="MD",
        label="Mean difference",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula="yi = m1i - m2i; vi = sd1i^2/n1i + sd2i^2/n2i",
        citation=VIECHTBAUER,
        compute=_mean_difference,
    ),
    "SMD": Measure(
        key="SMD",
        label="Standardised mean difference",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula=(
            "yi = c(m) (m1i - m2i)/sp, sp the pooled standard deviation, m = n1i + n2i - 2, "
            "c(m) exact; vi = 1/n1i + 1/n2i + yi^2/(2 (n1i + n2i))"
        ),
        citation="Hedges (1981), J Educ Stat 6(2):107-128, doi:10.3102/10769986006002107",
        compute=_standardised_mean_difference,
    ),
    "GEN": Measure(
        key="GEN",
        label="Effect",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula="yi as given; vi as given or sei^2",
        citation=VIECHTBAUER,
        compute=_as_given,
    ),
    "HR": Measure(
        key="HR",
        label="Hazard ratio",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula=(
            "yi = log(estimate), sei = (log(ci_high) - log(ci_low))/(2 z), z the normal "
            "quantile of the interval's level; or yi, the log hazard ratio, with sei or vi"
        ),
        citation=(
            "Parmar et al. (1998), Stat Med 17(24):2815-2834, "
            "doi:10.1002/(SICI)1097-0258(19981230)17:24<2815::AID-SIM110>3.0.CO;2-8"
        ),
        compute=_hazard_ratio,
    ),
}


def _given(measure: Measure, numbers: Numbers) -> Numbers:
    """Numbers that the measure knows and that are not nan."""
    return {
        name: float(value)
        for name, value in numbers.items()
        if name in INPUTS[measure.key].known and not math.isnan(value)
    }


def _chosen(measure: Measure, given: Numbers) -> tuple[str, ...]:
    """The first alternative that is complete; empty if none is."""
    return next((names for names in measure.inputs if given.keys() >= set(names)), ())


def _missing(measure: Measure, given: Numbers) -> list[str]:
    if _chosen(measure, given):
        return []
    nearest = min(measure.inputs, key=lambda names: len(set(names) - given.keys()))
    absent = ", ".join(name for name in nearest if name not in given)
    wanted = " or ".join(f"({', '.join(names)})" for names in measure.inputs)
    return [f"{absent} not given: {measure.key} needs {wanted}"]


def _complete(given: Numbers, names: Sequence[str]) -> dict[str, float]:
    """The chosen numbers, with all cells of one or two groups; empty if none are chosen."""
    if not names:
        return {}
    cells = {name: given[name] for name in (*names, "ci_level") if name in given}
    if "xi" in cells:
        cells["mi"] = cells["ni"] - cells["xi"]
    if "ai" in cells and "bi" not in cells:
        cells["bi"], cells["di"] = cells["n1i"] - cells["ai"], cells["n2i"] - cells["ci"]
    return cells


def _has_zero(cells: Numbers) -> bool:
    return any(cells.get(name) == 0 for name in ("xi", "mi", "ai", "bi", "ci", "di"))


def _double_zero(cells: Numbers) -> str:
    """Why the two groups tell nothing of a ratio; empty if they do."""
    if cells.get("ai") == 0 and cells.get("ci") == 0:
        return "no events in both groups (drop00)"
    if cells.get("bi") == 0 and cells.get("di") == 0:
        return "only events in both groups (drop00)"
    return ""


def _corrected(cells: Numbers, add: float) -> dict[str, float]:
    corrected = {name: value + add for name, value in cells.items() if name in (*COUNTS, "mi")}
    if "xi" in cells:
        corrected["ni"] = cells["ni"] + 2 * add
    return corrected


def _correction_note(add: float, measure: Measure) -> str:
    amount = "1/2" if add == 0.5 else f"{add:g}"
    return f"{amount} {ADDED_TO[measure.design]}"


def corrections(effects: EffectSizes) -> int:
    """Number of pooled rows that have a continuity correction."""
    return sum(
        included and any(note.endswith(tuple(ADDED_TO.values())) for note in notes.split("; "))
        for included, notes in zip(effects.included, effects.notes, strict=True)
    )


def _not_estimable(effect: Effect, zero: bool) -> str:
    """Why an effect cannot be pooled; empty if it can."""
    if not math.isfinite(effect.yi) or not math.isfinite(effect.vi):
        return (
            "not estimable: zero cell"
            if zero
            else "not estimable: effect or variance undefined"
        )
    if effect.vi <= 0:
        return "its sampling variance is 0" + (" (zero cell)" if zero else "")
    return ""


def _size(measure: Measure, given: Numbers, cells: Numbers) -> float:
    if measure.design != "two_groups":
        return given.get("ni", NAN)
    if "ai" in cells:
        return cells["ai"] + cells["bi"] + cells["ci"] + cells["di"]
    return given.get("n1i", NAN) + given.get("n2i", NAN)


def _interval(
    measure: Measure, effect: Effect, cells: Numbers, level: float
) -> tuple[float, float, str]:
    """The study's own interval on the display scale, and a note."""
    if "xi" in cells:
        return (*clopper_pearson(cells["xi"], cells["ni"], level), "")
    note = ""
    if "ci_low" in cells:
        printed = cells.get("ci_level", DEFAULT_CI_LEVEL)
        if printed == level:
            return cells["ci_low"], cells["ci_high"], ""
        note = f"printed at {100 * printed:g}%: {cells['ci_low']:g} to {cells['ci_high']:g}"
    half = normal_quantile(level) * math.sqrt(effect.vi)
    return measure.back(effect.yi - half), measure.back(effect.yi + half), note


def _frozen(values: Sequence[float]) -> Floats:
    array = np.array(values, dtype=float)
    array.setflags(write=False)
    return array


def compute_effects(
    measure: str,
    rows: Sequence[RawRow],
    *,
    level: float,
    add: float | None = None,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Effect sizes of `rows`, in their order; a row that is not pooled stays, with a reason.

    Zero cells as in metafor's `escalc`: `add` (by default 1/2, for PAS 0) goes to all four
    cells, in one group to events and non-events, of the studies that `to` names: ``only0``
    those with a zero cell, ``all``, ``if0all`` all if any study that is pooled has a zero cell,
    ``none``. With `drop00` studies of two groups without events, or with events only, are not
    pooled. Rows that come in as not included get their effect too, but decide nothing about the
    others.

    The study's own interval has the confidence `level` (a fraction) and is on the display
    scale: exact (Clopper-Pearson, from the uncorrected counts) for proportions; as printed for
    hazard ratios with an interval of this level; else normal on the analysis scale and
    transformed back.

    Raises
    ------
    KeyError
        Unknown measure.
    ValueError
        Impossible numbers (see `check_numbers`; missing ones are no error here, but a reason
        not to be pooled), or impossible options.
    """
    chosen = MEASURES[measure]
    if not 0 < level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {level}")
    if to not in TO:
        raise ValueError(f"to must be one of {', '.join(TO)}, not {to!r}")
    if add is not None and not (math.isfinite(add) and add >= 0):
        raise ValueError(f"add must be finite and not negative, not {add}")
    amount = chosen.add if add is None or not chosen.counts else add

    given = [_given(chosen, row.numbers) for row in rows]
    for row, numbers in zip(rows, given, strict=True):
        for field, found, expected in check_numbers(measure, numbers):
            if field in ("vi", "sei") and numbers[field] == 0:
                continue  # possible, though not to be pooled: the row says so
            raise ValueError(f"{measure}, {row.study}: {field} is {found}; expected {expected}")
    names = [_chosen(chosen, numbers) for numbers in given]
    cells = [_complete(numbers, used) for numbers, used in zip(given, names, strict=True)]
    dropped = [_double_zero(numbers) if drop00 else "" for numbers in cells]
    any_zero = any(
        _has_zero(numbers)
        for row, numbers, why in zip(rows, cells, dropped, strict=True)
        if row.included and not why
    )

    effects, intervals, reasons, notes = [], [], [], []
    for row, numbers, known, double_zero in zip(rows, cells, given, dropped, strict=True):
        reason = "; ".join(_missing(chosen, known)) or double_zero
        remarks = list(row.notes)
        effect, low, high = Effect(NAN, NAN), NAN, NAN
        if numbers:
            used = numbers
            corrects = {"only0": _has_zero(numbers), "all": True, "if0all": any_zero}
            if amount > 0 and corrects.get(to, False) and not double_zero:
                used = _corrected(numbers, amount)
                remarks.append(_correction_note(amount, chosen))
            if not double_zero:
                effect = chosen.compute(used)
                reason = _not_estimable(effect, _has_zero(used))
            if not (math.isfinite(effect.yi) and math.isfinite(effect.vi)):
                effect = Effect(NAN, NAN)
            low, high, remark = _interval(chosen, effect, numbers, level)
            remarks += [remark] if remark else []
        effects.append(effect)
        intervals.append((low, high))
        reasons.append(reason if row.included else row.reason)
        notes.append("; ".join(remarks))

    alternatives = [used for used in chosen.inputs if used in names] or chosen.inputs[:1]
    vi = [effect.vi for effect in effects]
    return EffectSizes(
        measure=measure,
        study=tuple(row.study for row in rows),
        label=tuple(row.label for row in rows),
        yi=_frozen([effect.yi for effect in effects]),
        vi=_frozen(vi),
        sei=_frozen([math.sqrt(variance) for variance in vi]),
        ci_low=_frozen([low for low, _ in intervals]),
        ci_high=_frozen([high for _, high in intervals]),
        ni=_frozen(
            [_size(chosen, numbers, used) for numbers, used in zip(given, cells, strict=True)]
        ),
        cluster=tuple(row.cluster or row.study for row in rows),
        included=tuple(
            row.included and not reason for row, reason in zip(rows, reasons, strict=True)
        ),
        reason=tuple(reasons),
        notes=tuple(notes),
        raw={
            name: _frozen([numbers.get(name, NAN) for numbers in given])
            for used in alternatives
            for name in used
        },
        covariates={
            name: tuple(row.covariates.get(name, "") for row in rows)
            for name in dict.fromkeys(name for row in rows for name in row.covariates)
        },
        printed=tuple(row.printed for row in rows),
        report=tuple(row.report for row in rows),
        quote=tuple(row.quote for row in rows),
        place=tuple(row.place for row in rows),
    )
