"""The horizontal axis of a forest plot: which range it shows and where it has ticks."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from evisynth.plots.spec import ForestPlot
from evisynth.plots.text import NOTE, width

Range = tuple[float, float]

EMPTY: dict[str, Range] = {"log": (0.1, 10.0), "linear": (-1.0, 1.0), "proportion": (0.0, 1.0)}
PROPORTION_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
WIDE = math.log(1e4)  # a log axis from 0.01 to 100, as in RevMan
LARGEST_LOG = 690.0  # exp of more is infinite
MARGIN = 0.04  # of the range, on both sides
BETWEEN_LABELS = 0.07  # inches
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def choose_range(plot: ForestPlot) -> Range:
    """The range asked for, or one that shows every estimate and all but extreme intervals."""
    if plot.axis_range is not None:
        return plot.axis_range
    if plot.axis == "proportion":
        return EMPTY["proportion"]
    scale = math.log if plot.axis == "log" else float
    points, studies, pooled = _numbers(plot, scale)
    if not _has_numbers(plot):
        return EMPTY[plot.axis]
    low, high = _padded(_span(points, studies, pooled, log=plot.axis == "log"))
    if plot.axis == "log":
        return math.exp(max(low, -LARGEST_LOG)), math.exp(min(high, LARGEST_LOG))
    return low, high


def _has_numbers(plot: ForestPlot) -> bool:
    return any(math.isfinite(row.effect) for row in plot.rows) or bool(plot.summaries)


def _numbers(
    plot: ForestPlot, scale: Callable[[float], float]
) -> tuple[list[float], list[Range], list[Range]]:
    """What is finite on the scale of the axis: estimates, studies' intervals, pooled ones."""
    lowest = 0.0 if plot.axis == "log" else -math.inf

    def shown(*values: float) -> bool:
        return all(math.isfinite(value) and value > lowest for value in values)

    points = [row.effect for row in plot.rows] + [d.estimate for d in plot.summaries]
    points += [plot.null] if plot.null is not None else []
    studies = [(row.low, row.high) for row in plot.rows if math.isfinite(row.effect)]
    pooled = [(diamond.low, diamond.high) for diamond in plot.summaries]
    pooled += [(plot.prediction.low, plot.prediction.high)] if plot.prediction else []
    return (
        [scale(point) for point in points if shown(point)],
        [(scale(low), scale(high)) for low, high in studies if shown(low, high)],
        [(scale(low), scale(high)) for low, high in pooled if shown(low, high)],
    )


def _span(
    points: list[float], studies: list[Range], pooled: list[Range], *, log: bool
) -> Range:
    """Range of the estimates, extended to the ends of the intervals unless these lie far out.

    For a study far is three times the half-width of a typical interval beyond the outermost
    estimate; on a log axis that would cover more than four decades, once. For the diamonds and
    the prediction interval it is the whole range of the estimates again.
    """
    inner = min(points), max(points)
    across = inner[1] - inner[0]
    reach = 0.25 * across
    if studies:
        outer = max(high for _, high in studies) - min(low for low, _ in studies)
        typical = float(np.median([(high - low) / 2 for low, high in studies]))
        reach = max(reach, typical if log and outer > WIDE else 3 * typical)
    span = _extended(inner, inner, studies, reach)
    return _extended(span, inner, pooled, max(across, reach))


def _extended(span: Range, inner: Range, intervals: list[Range], reach: float) -> Range:
    """`span` with the ends of the intervals, but at most `reach` beyond `inner`."""
    lows, highs = [low for low, _ in intervals], [high for _, high in intervals]
    return (
        max(min(span[0], *lows), min(span[0], inner[0] - reach)) if lows else span[0],
        min(max(span[1], *highs), max(span[1], inner[1] + reach)) if highs else span[1],
    )


def _padded(span: Range) -> Range:
    low, high = span
    extra = MARGIN * (high - low)
    if extra <= 1e-9 * max(abs(low), abs(high)):
        extra = 0.5 * max(abs(low), abs(high)) or 1.0
    return low - extra, high + extra


def choose_ticks(plot: ForestPlot, shown: Range, inches: float) -> tuple[float, ...]:
    """The ticks asked for, or round ones whose labels stand apart on an axis of `inches`."""
    if plot.ticks is not None:
        return tuple(tick for tick in sorted(plot.ticks) if shown[0] <= tick <= shown[1])
    if plot.axis == "proportion" and shown == EMPTY["proportion"]:
        return PROPORTION_TICKS
    if plot.axis == "linear" and plot.axis_range is None and not _has_numbers(plot):
        return (plot.null,) if plot.null is not None else ()  # any other number is made up
    candidates = list(_candidates(plot.axis, shown))
    for ticks in candidates:
        if 2 <= len(ticks) <= 9 and _apart(plot.axis, ticks, shown, inches):
            return ticks
    return candidates[-1]


def _candidates(axis: str, shown: Range) -> Iterable[tuple[float, ...]]:
    """Sets of ticks within `shown`, the densest first."""
    if axis == "log":
        low, high = (math.log10(end) for end in shown)
        powers = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
        if high - low > 0.8:
            decades = range(math.floor(low), math.ceil(high) + 1)
            fine = [step * 10.0**n for n in decades for step in (1, 2, 5)]
            yield tuple(tick for tick in fine if shown[0] <= tick <= shown[1])
            for every in (1, 2, 3, 5, 10, 20, 50, 100, 200):
                yield tuple(10.0**n for n in powers if n % every == 0)
    for count in (6, 5, 4, 3, 2):
        locator = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10])
        ticks = [float(tick) for tick in locator.tick_values(*shown)]
        # counted from zero the step is lost in rounding: 3 × 0.1 is not 0.3
        yield tuple(float(f"{tick:.12g}") for tick in ticks if shown[0] <= tick <= shown[1])


def _apart(axis: str, ticks: Sequence[float], shown: Range, inches: float) -> bool:
    labels = tick_labels(axis, ticks)
    return labels_shown(axis, ticks, labels, shown, inches) == labels


def labels_shown(
    axis: str, ticks: Sequence[float], labels: tuple[str, ...], shown: Range, inches: float
) -> tuple[str, ...]:
    """`labels` without those that would run into their left neighbour."""
    kept: list[str] = []
    right_end = -math.inf
    for tick, label in zip(ticks, labels, strict=True):
        middle, half = inches * _fraction(axis, tick, shown), width(label, NOTE) / 2
        fits = middle - half >= right_end
        kept.append(label if fits else "")
        right_end = middle + half + BETWEEN_LABELS if fits else right_end
    return tuple(kept)


def _fraction(axis: str, value: float, shown: Range) -> float:
    """Where `value` lies on the axis, from 0 to 1."""
    scale = math.log if axis == "log" else float
    low, high = (scale(end) for end in shown)
    return (scale(value) - low) / (high - low)


def tick_labels(axis: str, ticks: Sequence[float]) -> tuple[str, ...]:
    """Labels of ticks: as short as they can be on a log axis, of equal decimals elsewhere."""
    if axis == "log":
        return tuple(_short(tick) for tick in ticks)
    scaled = [100 * tick for tick in ticks] if axis == "proportion" else list(ticks)
    if any(abs(tick) >= 1e6 for tick in scaled) or _decimals(scaled) > 5:
        return tuple(_short(tick) for tick in scaled)
    texts = [f"{tick:.{_decimals(scaled)}f}".replace("-", "−") for tick in scaled]
    unit = "%" if axis == "proportion" else ""
    return tuple(text + unit for text in texts)


def _decimals(values: Sequence[float]) -> int:
    """Decimals that tell `values` apart and lose nothing, up to 6."""
    exact = (n for n in range(6) if all(math.isclose(v, round(v, n)) for v in values))
    return next(exact, 6)


def _short(value: float) -> str:
    """``0.05``, ``200``, ``2×10⁵``."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.10g}".replace("-", "−")
    mantissa, exponent = f"{value:.3e}".split("e")
    front = mantissa.rstrip("0").rstrip(".").replace("-", "−")
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPT)
    return power if front == "1" else f"{front}×{power}"
