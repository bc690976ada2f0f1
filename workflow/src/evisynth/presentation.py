"""From estimates to the words and numbers of a forest plot; nothing is drawn here.

Numbers are set as journals set them: a true minus sign, ``p < 0.001``, intervals in brackets.
"""

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from evisynth.measures import Measure, measure_of
from evisynth.menus import GLMM, PREDICTION, ROBUST, TAU2, TAU2_GIVEN
from evisynth.plots.spec import (
    Column,
    Diamond,
    Favours,
    ForestPlot,
    ForestRow,
    PredictionBar,
)
from evisynth.records import EffectSizes, Estimate, Fit, Floats, Heterogeneity, as_pooled

Formatter = Callable[[float], str]

MINUS = "\N{MINUS SIGN}"
NOT_ESTIMABLE = "Not estimable"
SAYS_ITSELF = ("not pooled", "not estimable")
LONGEST_HEAD = 18  # characters
FOOTNOTE_SIGNS = "*†‡§¶"


class ForestSettings(TypedDict, total=False):
    """How the forest plot looks: `config.ForestOptions` as plain values; all may be missing."""

    axis: Sequence[float] | None
    ticks: Sequence[float] | None
    favours: Mapping[str, str] | None
    sort: str
    show_common: bool


@dataclass(frozen=True, slots=True)
class AnalysisText:
    """What the analysis is called, and what its reviewer says of it.

    Attributes
    ----------
    outcome : name of the outcome, for the axis and the line under the title.
    higher_is : ``good`` or ``bad`` for patients (a value above no effect), or ``neither``.
    numerator, denominator : names of the two groups; empty for single arms.
    forest : options of the drawing.
    why_not : why nothing is pooled; empty where it is, or where the fit says so itself.
    notes : caveats of the reviewer, unless the fit carries them.
    """

    title: str
    outcome: str = ""
    higher_is: str = "neither"
    numerator: str = ""
    denominator: str = ""
    forest: ForestSettings = field(default_factory=ForestSettings)
    why_not: str = ""
    notes: tuple[str, ...] = ()


TEST_WORDS: dict[str, str] = {
    "z": "Wald (normal)",
    "knha": "Knapp–Hartung",
    "adhoc": "Knapp–Hartung, never below Wald’s standard error",
    "t": "Wald’s standard error, t",
    "hybrid_wald": "the wider of Knapp–Hartung and Wald",
    "hybrid_common": "the wider of Knapp–Hartung and common effect",
    "iqwig6": "Knapp–Hartung, floored where narrower than DerSimonian–Laird",
    "kr": "Kenward–Roger",
    "hc": "Henmi–Copas",
    "uwls": "multiplicative model",
    "posterior": "shortest posterior interval",
    "profile": "profile of the penalised likelihood",
}
RVE_TEST = "cluster-robust CR2, Satterthwaite’s degrees of freedom"
MODEL_WORDS: dict[str, str] = {
    "common": "Common effect",
    "random": "Random effects",
    "multilevel": "Multilevel model",
    "rve": "Robust variance estimation",
    "bayes": "Bayesian random effects",
}
# Methods that are no estimators of tau2.
METHOD_WORDS: dict[str, str] = {
    "IV": "inverse variance",
    "MH": "Mantel–Haenszel",
    "MHDL": "inverse variance; τ²: DerSimonian & Laird, around the Mantel–Haenszel estimate",
    "PETO": "Peto’s one-step odds ratio",
    "GLMM": "exact likelihood of the counts, normally distributed effects (GLMM)",
    "BB": "beta-binomial",
    "PLR": "logistic regression with Firth’s penalty",
    "UWLS": "multiplicative model",
    "CORR": "correlated effects",
    "HIER": "hierarchical effects",
    **{name: f"exact likelihood of the counts, {words} (GLMM)" for name, words in GLMM.items()},
}


# --- numbers --------------------------------------------------------------------------------


def decimal(value: float, digits: int) -> str:
    """`value` with `digits` decimals and a true minus sign; empty for nan."""
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else MINUS + "∞"
    if abs(value) >= 1e7:
        return _scientific(value)
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")  # minus nought says nothing
    return text.replace("-", MINUS)


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".replace("-", MINUS).split("e")
    power = str(int(exponent.replace("+", ""))).translate(
        str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    )
    return f"{mantissa}×10{power}"


def ratio(value: float) -> str:
    """A ratio with 2 decimals; a positive one never reads as nought."""
    if 0 < value < 0.005:
        return "<0.01"
    return decimal(value, 2 if value < 10_000 else 0)


def percent(value: float) -> str:
    """A fraction in per cent with 1 decimal, without the sign; more where these hide it.

    A positive fraction never reads as nought and one below 1 never as all.
    """
    if 0 < value < 0.0005:
        return f"{100 * value:.2g}" if value >= 1e-7 else _scientific(100 * value)
    if 0.9995 <= value < 1:
        return ">99.9"
    return decimal(100 * value, 1)


def difference_digits(half_widths: Iterable[float]) -> int:
    """Decimals that show 2 significant digits of the typical half-width; 0 to 6."""
    finite = [half for half in half_widths if math.isfinite(half) and half > 0]
    if not finite:
        return 2
    return min(max(1 - math.floor(math.log10(float(np.median(finite)))), 0), 6)


def p_text(p: float) -> str:
    """``p = 0.03``, ``p < 0.001``; three decimals below 0.01 and where two would hide 0.05."""
    if math.isnan(p):
        return ""
    if p < 0.001:
        return "p < 0.001"
    if p > 0.99:
        return "p > 0.99"
    if f"{p:.3f}" == "0.050" and p != 0.05:
        return f"p = {p:.4f}"
    close = p < 0.0095 or 0.045 <= p < 0.055
    return f"p = {p:.3f}" if close else f"p = {p:.2f}"


def tau2_text(value: float) -> str:
    """A variance: 2 decimals, more where these would hide it."""
    if value == 0:
        return "0"
    if 0 < value < 0.0001:
        return "<0.0001"
    return decimal(value, 2 if value >= 0.095 else 1 - math.floor(math.log10(value)))


def interval(low: float, high: float, number: Formatter) -> str:
    """``[0.13, 1.26]``; empty where an end is unknown."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{number(low)}, {number(high)}]"


def with_interval(estimate: float, low: float, high: float, number: Formatter) -> str:
    """``0.41 [0.13, 1.26]``."""
    return f"{number(estimate)} {interval(low, high, number)}".rstrip()


def level_text(level: float) -> str:
    """``95%``."""
    return f"{100 * level:.6g}%"


def formatter(effects: EffectSizes) -> Formatter:
    """How estimates of this measure are written."""
    measure, axis = effects.measure, measure_of(effects).axis
    if axis == "log":
        return ratio
    if axis == "proportion":
        return percent
    halves = (effects.ci_high - effects.ci_low) / 2
    digits = 2 if measure == "SMD" else difference_digits(halves.tolist())
    if measure == "RD":
        digits = min(max(digits, 2), 4)
    return lambda value: decimal(value, digits)


# --- columns --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RawColumn:
    """A column of raw numbers: its head, the arm that it belongs to, and its texts."""

    head: str
    texts: tuple[str, ...]
    group: str = ""
    total: str = ""


def raw_columns(effects: EffectSizes, text: AnalysisText) -> tuple[RawColumn, ...]:
    """Columns between the study and the plot; none where no study brought numbers."""
    columns = _all_columns(effects, text)
    return columns if any(any(column.texts) for column in columns) else ()


def _all_columns(effects: EffectSizes, text: AnalysisText) -> tuple[RawColumn, ...]:
    raw = effects.raw
    if "xi" in raw:
        size = _counts("Total", raw["ni"], effects) if "ni" in raw else _time(raw["ti"])
        return (_counts("Events", raw["xi"], effects), size)
    groups = text.numerator or "Group 1", text.denominator or "Group 2"
    if "ai" in raw:
        return _two_by_two(effects, groups)
    if "x1i" in raw and "t1i" in raw:
        return _two_rates(effects, groups)
    if {"m1i", "n1i"} <= raw.keys():
        return _two_means(effects, groups)
    if measure_of(effects).axis == "log":
        return _estimates(effects, f"log {effects.measure}")
    return _estimates(effects, "Estimate")


def _counts(head: str, counts: Floats, effects: EffectSizes, group: str = "") -> RawColumn:
    pooled = counts[effects.pooled]
    total = decimal(float(pooled.sum()), 0) if pooled.size else ""
    return RawColumn(head, tuple(_count(count) for count in counts.tolist()), group, total)


def _count(value: float) -> str:
    """A count; one that is not whole (person-years, an effective size) keeps a decimal."""
    return decimal(value, 0 if math.isnan(value) or float(value).is_integer() else 1)


def _time(times: Floats, group: str = "") -> RawColumn:
    digits = difference_digits(times.tolist())
    return RawColumn("Time", tuple(decimal(value, digits) for value in times.tolist()), group)


def _two_rates(effects: EffectSizes, groups: tuple[str, str]) -> tuple[RawColumn, ...]:
    raw = effects.raw
    return (
        _counts("Events", raw["x1i"], effects, groups[0]),
        _time(raw["t1i"], groups[0]),
        _counts("Events", raw["x2i"], effects, groups[1]),
        _time(raw["t2i"], groups[1]),
    )


def _two_by_two(effects: EffectSizes, groups: tuple[str, str]) -> tuple[RawColumn, ...]:
    raw = effects.raw
    n1i, n2i = _sizes(raw, "n1i", "ai", "bi"), _sizes(raw, "n2i", "ci", "di")
    return (
        _counts("Events", raw["ai"], effects, groups[0]),
        _counts("Total", n1i, effects, groups[0]),
        _counts("Events", raw["ci"], effects, groups[1]),
        _counts("Total", n2i, effects, groups[1]),
    )


def _sizes(raw: Mapping[str, Floats], size: str, events: str, others: str) -> Floats:
    """Group sizes; studies may give them or the non-events."""
    if size not in raw:
        return raw[events] + raw[others]
    if others not in raw:
        return raw[size]
    return np.where(np.isfinite(raw[size]), raw[size], raw[events] + raw[others])


def _two_means(effects: EffectSizes, groups: tuple[str, str]) -> tuple[RawColumn, ...]:
    raw = effects.raw
    digits = difference_digits([*raw["sd1i"].tolist(), *raw["sd2i"].tolist()])

    def numbers(head: str, values: Floats, group: str) -> RawColumn:
        return RawColumn(head, tuple(decimal(v, digits) for v in values.tolist()), group)

    return (
        numbers("Mean", raw["m1i"], groups[0]),
        numbers("SD", raw["sd1i"], groups[0]),
        _counts("Total", raw["n1i"], effects, groups[0]),
        numbers("Mean", raw["m2i"], groups[1]),
        numbers("SD", raw["sd2i"], groups[1]),
        _counts("Total", raw["n2i"], effects, groups[1]),
    )


def _estimates(effects: EffectSizes, head: str) -> tuple[RawColumn, ...]:
    """Estimate and standard error on the analysis scale, as RevMan's inverse variance."""
    digits = max(2, difference_digits(effects.sei.tolist()))
    yi = tuple(decimal(value, digits) for value in effects.yi.tolist())
    sei = tuple(decimal(value, digits) for value in effects.sei.tolist())
    return RawColumn(head, yi), RawColumn("SE", sei)


# --- rows -----------------------------------------------------------------------------------


def study_effects(effects: EffectSizes) -> Floats:
    """Effect per study on the display scale.

    A proportion is shown as counted, not as corrected for the analysis: the exact interval of
    0/8 belongs to 0 %, and an added half would move the square and not the interval.
    """
    back = measure_of(effects).back
    shown = np.array([back(float(value)) for value in effects.yi], dtype=np.float64)
    if measure_of(effects).axis != "proportion" or "xi" not in effects.raw:
        return shown
    xi, ni = effects.raw["xi"], effects.raw["ni"]
    counted = np.divide(xi, ni, out=np.full_like(shown, np.nan), where=ni > 0)
    return np.asarray(np.where(np.isfinite(counted), counted, shown), dtype=np.float64)


def footnote_marks(notes: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Marks per row, and the footnotes: one sign for each different note."""
    different = [note for note in dict.fromkeys(notes) if note]
    signs = {note: footnote_sign(place) for place, note in enumerate(different)}
    marks = tuple(signs.get(note, "") for note in notes)
    return marks, tuple(f"{signs[note]} {note}" for note in different)


def footnote_sign(place: int) -> str:
    """``* † ‡ § ¶ ** ††`` ..., the usual order."""
    rounds, sign = divmod(place, len(FOOTNOTE_SIGNS))
    return FOOTNOTE_SIGNS[sign] * (rounds + 1)


def order(effects: EffectSizes, shown: Floats, weights: Floats, sort: str) -> list[int]:
    """Order of the rows; those without the number to sort by come last."""
    keys: dict[str, Callable[[int], tuple[bool, float | str]]] = {
        "as_given": lambda i: (False, float(i)),
        "label": lambda i: (False, (effects.label[i] or effects.study[i]).casefold()),
        "effect": lambda i: (math.isnan(shown[i]), _zero_if_nan(float(shown[i]))),
        "weight": lambda i: (math.isnan(weights[i]), -_zero_if_nan(float(weights[i]))),
    }
    return sorted(range(len(effects.study)), key=keys[sort])


def _zero_if_nan(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _rows(
    effects: EffectSizes, fit: Fit, text: AnalysisText, columns: tuple[RawColumn, ...]
) -> tuple[ForestRow, ...]:
    shown, number = study_effects(effects), formatter(effects)
    marks, _ = footnote_marks(effects.notes)
    weights = fit.weights

    def row(i: int) -> ForestRow:
        effect, low, high = (float(x[i]) for x in (shown, effects.ci_low, effects.ci_high))
        words = with_interval(effect, low, high, number) or _no_effect(effects, i)
        return ForestRow(
            label=effects.label[i] or effects.study[i],
            cells_left=tuple(column.texts[i] for column in columns),
            effect=effect,
            low=low,
            high=high,
            weight=float(weights[i]) if effects.included[i] else math.nan,
            effect_text=words,
            pooled=effects.included[i],
            reason=_reason(effects, i),
            mark=marks[i],
        )

    return tuple(
        row(i) for i in order(effects, shown, weights, text.forest.get("sort", "as_given"))
    )


def _no_effect(effects: EffectSizes, i: int) -> str:
    """Words for a row without an effect: what its report prints, if that is known."""
    if effects.printed and effects.printed[i]:
        return effects.printed[i]
    brought = any(math.isfinite(float(values[i])) for values in effects.raw.values())
    return NOT_ESTIMABLE if brought else "–"


def _reason(effects: EffectSizes, i: int) -> str:
    return "" if effects.included[i] else why(effects.reason[i], "Not pooled")


def why(reason: str, what: str) -> str:
    """``Not pooled: REASON``; a reason that says so itself stands alone."""
    if not reason:
        return what
    if reason.casefold().startswith(SAYS_ITSELF):
        return reason[0].upper() + reason[1:]
    return f"{what}: {reason}"


# --- summaries ------------------------------------------------------------------------------


def shown_estimates(fit: Fit, text: AnalysisText) -> tuple[Estimate, ...]:
    """The estimates that get a diamond: the headline, then the common effect.

    The latter belongs beside random effects of independent rows only: it would deny the
    dependence that a multilevel model is about.
    """
    if text.why_not:
        return ()
    headline = fit.headline
    common = [e for e in fit.estimates if e.model == "common"]
    wanted = [headline] if headline else []
    if (
        text.forest.get("show_common", True)
        and common
        and (not headline or headline.model == "random")
    ):
        wanted.append(common[0])
    return tuple(e for e in wanted if _estimable(e))


def _estimable(estimate: Estimate) -> bool:
    return all(map(math.isfinite, (estimate.estimate, estimate.ci_low, estimate.ci_high)))


def no_summary(fit: Fit, text: AnalysisText) -> str:
    """Why there is no pooled estimate; empty where there is one."""
    if text.why_not:
        return why(text.why_not, "Not pooled")
    headline = fit.headline
    if headline and _estimable(headline):
        return ""
    said = list(dict.fromkeys([*(headline.notes if headline else ()), *fit.notes]))
    if itself := [note for note in said if note.casefold().startswith(SAYS_ITSELF)]:
        return why(itself[0], "")
    if fit.k == 0:
        return "Not estimable: no study could be pooled"
    if fit.k == 1:
        return "Not pooled: a single study, whose own result is shown"
    return why("; ".join(said), "Not estimable" if fit.estimates else "Not pooled")


def _diamonds(
    effects: EffectSizes, fit: Fit, text: AnalysisText, columns: tuple[RawColumn, ...]
) -> tuple[Diamond, ...]:
    measure, number = measure_of(fit), formatter(effects)
    totals = tuple(column.total for column in columns)
    diamonds = []
    for place, one in enumerate(shown_estimates(fit, text)):
        estimate = measure.back(one.estimate)
        low, high = measure.shown(one.ci_low, one.ci_high)
        first = place == 0
        diamonds.append(
            Diamond(
                label=MODEL_WORDS[one.model] + (f" ({one.subgroup})" if one.subgroup else ""),
                estimate=estimate,
                low=low,
                high=high,
                text=with_interval(estimate, low, high, number),
                kind="common" if one.model == "common" else "random",
                weight_text="100.0%" if first and one.headline else "",
                cells_left=totals if first and any(totals) else (),
            )
        )
    return tuple(diamonds)


def _prediction(effects: EffectSizes, fit: Fit, text: AnalysisText) -> PredictionBar | None:
    headline = fit.headline
    if not headline or text.why_not or math.isnan(headline.pi_low + headline.pi_high):
        return None
    low, high = measure_of(fit).shown(headline.pi_low, headline.pi_high)
    return PredictionBar(
        label=f"{level_text(fit.level)} prediction interval ({fit.prediction})",
        low=low,
        high=high,
        text=interval(low, high, formatter(effects)),
    )


# --- sentences ------------------------------------------------------------------------------


def heterogeneity_line(found: Heterogeneity) -> str:
    """``Heterogeneity: τ² = 0.31 (0.12 to 1.11), Q = ..., df = ... (p ...), I² = ...``."""
    parts = []
    if math.isfinite(found.tau2):
        between = _to(found.tau2_low, found.tau2_high, tau2_text)
        name = f"τ² ({found.method})"
        parts.append(f"{name} = {tau2_text(found.tau2)}{between}".replace("= <", "< "))
    if math.isfinite(found.q):
        p = f" ({p_text(found.q_p)})" if math.isfinite(found.q_p) else ""
        parts.append(f"Q = {decimal(found.q, 2)}, df = {found.q_df}{p}")
    if math.isfinite(found.i2):
        between = _to(found.i2_low, found.i2_high, lambda value: decimal(value, 1))
        parts.append(f"I² = {decimal(found.i2, 1)}%{between}")
    return "Heterogeneity: " + ", ".join(parts) if parts else ""


def _to(low: float, high: float, number: Formatter) -> str:
    if math.isnan(low) or math.isnan(high):
        return ""
    return f" ({number(low)} to {number(high)})"


def overall_test_line(estimate: Estimate, null: float | None) -> str:
    """``Test for overall effect: t = −3.95, df = 12 (p = 0.002)``; empty without a null."""
    if null is None or not math.isfinite(estimate.statistic):
        return ""
    statistic = decimal(estimate.statistic, 2)
    if math.isnan(estimate.df):
        return f"Test for overall effect: z = {statistic} ({p_text(estimate.p)})"
    df = f"{estimate.df:.4g}" if estimate.df < 1000 else f"{estimate.df:.0f}"
    return f"Test for overall effect: t = {statistic}, df = {df} ({p_text(estimate.p)})"


def favours(measure: Measure, text: AnalysisText) -> Favours | None:
    """Words under the axis: as asked for, else from the outcome's direction and the arms."""
    if measure.null is None:
        return None
    if measure.key == "HR" and text.higher_is == "good" and not text.forest.get("favours"):
        return None  # survival is good and its hazard is not: which is meant cannot be told
    if asked := text.forest.get("favours"):
        return Favours(left=asked["left"], right=asked["right"])
    if text.higher_is == "neither" or not text.numerator or not text.denominator:
        return None
    better_above, better_below = text.numerator, text.denominator
    if text.higher_is == "bad":
        better_above, better_below = better_below, better_above
    return Favours(left=f"Favours {better_below}", right=f"Favours {better_above}")


def subtitle(effects: EffectSizes, fit: Fit, text: AnalysisText) -> str:
    """``Objective response · 4 of 5 studies pooled, n = 117``; a study may give more rows."""
    studies = len(set(effects.study))
    counted = _plural(studies, "study", "studies")
    if fit.k < fit.k_total and shown_estimates(fit, text):
        pooled = len(
            {s for s, used in zip(effects.study, effects.included, strict=True) if used}
        )
        counted = f"{pooled} of {counted} pooled"
    if fit.k_total != studies:
        counted += f" ({_plural(fit.k, 'estimate', 'estimates')})"
    if fit.k and math.isfinite(fit.n_total) and fit.n_total > 0:
        counted += f", n = {fit.n_total:,.0f}"
    named = text.outcome and text.outcome != text.title
    return f"{text.outcome} · {counted}" if named else counted


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def axis_label(measure: Measure, text: AnalysisText) -> str:
    """``Risk ratio (log scale)``; for proportions the outcome itself."""
    name, axis = measure.label, measure.axis
    if axis == "proportion":
        return text.outcome or name
    return f"{name} (log scale)" if axis == "log" else name


def footer(effects: EffectSizes, fit: Fit, text: AnalysisText) -> tuple[str, ...]:
    """How the drawing was computed and how to read it."""
    estimates = shown_estimates(fit, text)
    lines = []
    if estimates and estimates[0].headline:
        lines.append(f"{_model_words(estimates[0], fit)}.")
    marks = []
    if measure_of(effects).axis == "proportion" and "xi" in effects.raw:
        marks.append(f"{level_text(fit.level)} CI of studies: exact (Clopper–Pearson)")
    if bool(np.isfinite(fit.weights[effects.pooled]).any()):
        marks.append("squares: area proportional to weight, with a smallest size")
    if bool(np.isfinite(effects.yi[~effects.pooled]).any()):
        marks.append("hollow and grey: shown, not pooled")
    if marks:
        lines.append(_sentence("; ".join(marks)))
    return tuple(lines)


def _model_words(estimate: Estimate, fit: Fit) -> str:
    level = level_text(fit.level)
    test = (
        RVE_TEST
        if estimate.model == "rve"
        else TEST_WORDS.get(estimate.test)
        or (f"cluster-robust {estimate.test}, {ROBUST[estimate.test]}")
    )
    method, model = estimate.method, MODEL_WORDS[estimate.model]
    if method in METHOD_WORDS:
        words = f"{model}, {METHOD_WORDS[method]}"
    elif estimate.model == "random":
        tau2 = (TAU2 | TAU2_GIVEN)[method]
        words = f"{model}, inverse variance; τ²: {method} ({tau2})"
    else:
        words = f"{model}, {method}"
    words += f"; {level} CI: {test}"
    if math.isfinite(estimate.pi_low):
        flavour = PREDICTION.get(fit.prediction)
        words += f"; prediction interval {fit.prediction}" + (f": {flavour}" if flavour else "")
    return words.replace(" - ", f" {MINUS} ")


def _sentence(words: str) -> str:
    """`words` as a sentence; a symbol at its beginning (k = 2, τ²) stays as it is."""
    words = true_symbols(words)
    symbol = words[1:].startswith(" = ") or not words[0].isascii()
    return (words if symbol else words[0].upper() + words[1:]).removesuffix(".") + "."


def true_symbols(words: str) -> str:
    """``tau2`` and ``I2``, as programs write them, in print."""
    return re.sub(r"\btau2\b", "τ²", re.sub(r"\bI2\b", "I²", words))


def caveats(effects: EffectSizes, fit: Fit, text: AnalysisText) -> tuple[str, ...]:
    """Footnotes of rows, then every note of the reviewer and of the pooling, each once."""
    _, footnotes = footnote_marks(effects.notes)
    said = no_summary(fit, text)
    notes = [*text.notes, *fit.notes]
    notes += [note for estimate in shown_estimates(fit, text) for note in estimate.notes]
    notes += [note for found in fit.heterogeneity[:1] for note in found.notes]
    different = [note for note in dict.fromkeys(notes) if note.strip()]
    return (*footnotes, *(_sentence(note) for note in different if not _repeats(note, said)))


def _repeats(note: str, said: str) -> bool:
    """Whether the sentence in place of the estimate says it already."""
    return note.casefold() in said.casefold() or ("single study" in said and "k = 1:" in note)


# --- the whole ------------------------------------------------------------------------------


def forest_plot(effects: EffectSizes, fit: Fit, text: AnalysisText) -> ForestPlot:
    """Describe the forest plot of one analysis."""
    effects = as_pooled(effects, fit.entered)
    measure, columns = measure_of(effects), raw_columns(effects, text)
    ticks = text.forest.get("ticks")
    # A generic effect has no value of no effect unless it is one between two groups.
    asked = effects.options.get("null", 0.0) not in (0.0, "none")
    compares = effects.measure != "GEN" or bool(text.numerator) or asked
    null = measure.null if compares else None
    rows, summaries = (
        _rows(effects, fit, text, columns),
        _diamonds(effects, fit, text, columns),
    )
    draws = bool(summaries) or any(math.isfinite(row.effect) for row in rows)
    return ForestPlot(
        title=text.title,
        subtitle=subtitle(effects, fit, text),
        axis=measure.axis,
        null=None if null is None else measure.back(null),
        axis_label=axis_label(measure, text) if draws else "",
        column_headers_left=_left_heads(columns),
        column_headers_right=_right_heads(effects, fit),
        rows=rows,
        summaries=summaries,
        no_summary=true_symbols(no_summary(fit, text)),
        prediction=_prediction(effects, fit, text),
        axis_range=_pair(text.forest.get("axis")),
        ticks=None if ticks is None else tuple(ticks),
        favours=favours(measure, text) if draws else None,
        lines=_lines(fit, text, null),
        footer=footer(effects, fit, text),
        caveats=caveats(effects, fit, text),
    )


def _pair(axis: Sequence[float] | None) -> tuple[float, float] | None:
    return None if axis is None else (axis[0], axis[1])


def _left_heads(columns: tuple[RawColumn, ...]) -> tuple[Column, ...]:
    return (
        Column(("Study",)),
        *(Column((column.head,), column.group) for column in columns),
    )


def _right_heads(effects: EffectSizes, fit: Fit) -> tuple[Column, ...]:
    unit = ", %" if measure_of(effects).axis == "proportion" else ""
    interval_head = f"[{level_text(fit.level)} CI]"
    name = textwrap.wrap(measure_of(effects).label + unit, LONGEST_HEAD)
    effect = Column((*name, interval_head))
    weighted = bool(np.isfinite(fit.weights[effects.pooled]).any())
    return (effect, Column(("Weight",))) if weighted else (effect,)


def _lines(fit: Fit, text: AnalysisText, null: float | None) -> tuple[str, ...]:
    lines = [heterogeneity_line(fit.heterogeneity[0])] if fit.heterogeneity else []
    shown = shown_estimates(fit, text)
    lines += [overall_test_line(shown[0], null)] if shown else []
    return tuple(line for line in lines if line) if not text.why_not else ()
