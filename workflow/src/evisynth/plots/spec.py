"""What a forest plot shows, down to the words; nothing here knows how it is drawn.

Numbers are on the display scale (risk ratio, not its log; proportion as a fraction). Whatever
does not exist is nan or the empty string, and is not drawn.
"""

import math
from dataclasses import dataclass
from typing import Literal

Axis = Literal["log", "linear", "proportion"]


@dataclass(frozen=True, slots=True)
class Column:
    """Head of a column of text: its lines, and the group that neighbouring columns share."""

    lines: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One study.

    Attributes
    ----------
    label : study.
    cells_left : one text per column after the first of `ForestPlot.column_headers_left`.
    effect, low, high : estimate and interval.
    weight : per cent.
    effect_text : the estimate with its interval in words.
    pooled : False draws it in grey with a hollow marker.
    reason : why it is not pooled, written beneath the label.
    mark : footnote sign after the label; its text is among the plot's caveats.
    """

    label: str
    cells_left: tuple[str, ...]
    effect: float
    low: float
    high: float
    weight: float
    effect_text: str
    pooled: bool = True
    reason: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Diamond:
    """A pooled estimate: filled for random effects, open for a common effect."""

    label: str
    estimate: float
    low: float
    high: float
    text: str
    kind: Literal["random", "common"]
    weight_text: str = ""
    cells_left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PredictionBar:
    """A prediction interval; the label names its flavour and level."""

    label: str
    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True)
class Favours:
    """Words beneath the axis, left and right of no effect."""

    left: str
    right: str


@dataclass(frozen=True, slots=True)
class ForestPlot:
    """A whole forest plot.

    Attributes
    ----------
    null : value of no effect, or None where there is none (proportions).
    axis_range, ticks : None leaves the choice to the drawing.
    column_headers_left : study first, then one per text of `ForestRow.cells_left`.
    column_headers_right : effect, then weight; without the second no weights are written.
    summaries : headline first; where nothing was estimated, `no_summary` says why.
    lines : heterogeneity and test, beside the axis.
    footer : how it was computed.
    caveats : what a reader must know before believing it; footnotes.
    """

    title: str
    subtitle: str
    axis: Axis
    null: float | None
    axis_label: str
    column_headers_left: tuple[Column, ...]
    column_headers_right: tuple[Column, ...]
    rows: tuple[ForestRow, ...]
    summaries: tuple[Diamond, ...] = ()
    no_summary: str = ""
    prediction: PredictionBar | None = None
    axis_range: tuple[float, float] | None = None
    ticks: tuple[float, ...] | None = None
    favours: Favours | None = None
    lines: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def draws(self) -> bool:
        """Whether there is anything to draw on an axis."""
        return bool(self.summaries) or any(math.isfinite(row.effect) for row in self.rows)

    def __post_init__(self) -> None:
        columns = len(self.column_headers_left) - 1
        cells = [(row.label, row.cells_left) for row in self.rows]
        cells += [(d.label, d.cells_left) for d in self.summaries if d.cells_left]
        for label, texts in cells:
            if len(texts) != columns:
                raise ValueError(f"{label!r}: {columns} cells expected, not {texts}")
        if self.axis_range is not None:
            low, high = self.axis_range
            if not low < high or (self.axis == "log" and low <= 0):
                raise ValueError(f"{self.axis_range} does not suit a {self.axis} axis")
