"""The horizontal axis of a forest plot: which range it shows and where it has ticks."""

import math
from collections.abc import Iterable, Sequence

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
    points, intervals = _numbers(plot)
    if plot.axis == "log":
        points, intervals = _logs(points), [_logs(pair) for pair in intervals]
    ends = [pair for pair in intervals if len(pair) == 2]
    if not points or (len(points) == 1 and not ends and plot.null is not None):
        return EMPTY[plot.axis]
    low, high = _padded(_span(points, ends, log=plot.axis == "log"))
    if plot.axis == "log":
        return math.exp(max(low, -LARGEST_LOG)), math.exp(min(high, LARGEST_LOG))
    return low, high


def _numbers(plot: ForestPlot) -> tuple[list[float], list[list[float]]]:
    """Estimates, and intervals, that are finite."""
    points = [row.effect for row in plot.rows] + [d.estimate for d in plot.summaries]
    points += [plot.null] if plot.null is not None else []
    pairs = [[row.low, row.high] for row in plot.rows if math.isfinite(row.effect)]
    pairs += [[diamond.low, diamond.high] for diamond in plot.summaries]
    pairs += [[plot.prediction.low, plot.prediction.high]] if plot.prediction else []
    return _finite(points), [_finite(pair) for pair in pairs]


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _logs(values: Iterable[float]) -> list[float]:
    return [math.log(value) for value in values if value > 0]


def _span(points: list[float], ends: list[list[float]], *, log: bool) -> Range:
    """Range of the estimates, extended to the ends of the intervals unless these lie far out.

    Far is three times the half-width of a typical interval beyond the outermost estimate; on a
    log axis that would cover more than four decades, once.
    """
    inner = min(points), max(points)
    if not ends:
        return inner
    outer = min(*inner, *(low for low, _ in ends)), max(*inner, *(high for _, high in ends))
    typical = float(np.median([(high - low) / 2 for low, high in ends]))
    reach = typical if log and outer[1] - outer[0] > WIDE else 3 * typical
    return max(outer[0], inner[0] - reach), min(outer[1], inner[1] + reach)


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
