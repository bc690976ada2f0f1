"""Where everything on a forest plot goes: in inches, from the left and from the top."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from evisynth.plots.spec import Column, ForestPlot, ForestRow
from evisynth.plots.text import (
    ASIDE,
    BODY,
    BOLD,
    HEAD,
    NOTE,
    Face,
    clean,
    shorten,
    widest,
    width,
    wrap,
    wrap_clauses,
)

MARGIN = 0.15
ROW = 0.205
GAP, GROUP_GAP, BLOCK_GAP = 0.13, 0.24, 0.2
LABEL_LEAST, LABEL_MOST, CELL_MOST, GROUP_MOST = 1.5, 3.0, 1.7, 1.6
LEFT_LEAST = 2.9  # the lines on heterogeneity stand beneath the left columns
ARROW_ROOM = 0.14
PLOT_LEAST, PLOT_USUAL, PLOT_MOST = 2.4, 3.1, 4.0
PAGE_LEAST, PAGE_MOST = 7.5, 10.0


@dataclass(frozen=True, slots=True)
class Span:
    """A column, from `left` to `right`."""

    left: float
    right: float

    @property
    def width(self) -> float:
        """Distance of its sides."""
        return self.right - self.left

    @property
    def middle(self) -> float:
        """Half way between its sides."""
        return (self.left + self.right) / 2


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the columns stand, from left to right."""

    left: tuple[Span, ...]
    plot: Span
    right: tuple[Span, ...]
    page: float

    @property
    def text(self) -> Span:
        """All columns left of the plot, together."""
        return Span(self.left[0].left, self.left[-1].right)

    @property
    def content(self) -> Span:
        """The page without its margins."""
        return Span(MARGIN, self.page - MARGIN)


@dataclass(frozen=True, slots=True)
class Words:
    """The texts as they are drawn: cleaned, wrapped, shortened."""

    title: tuple[str, ...]
    subtitle: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    reasons: tuple[tuple[str, ...], ...]
    no_summary: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    favours: tuple[tuple[str, ...], tuple[str, ...]]
    axis_label: tuple[str, ...]
    footer: tuple[tuple[str, ...], ...]
    caveats: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Heights:
    """Where things stand, from the top of the page: tops of blocks, middles of rows.

    `groups` is where the names of groups end; `rule` is the line under the heads.
    """

    title: float
    subtitle: float
    groups: float
    rule: float
    rows: tuple[float, ...]
    summaries: tuple[float, ...]
    no_summary: float
    prediction: float
    axis: float
    favours: float
    axis_label: float
    footer: float
    page: float


def arrange(plot: ForestPlot) -> tuple[Columns, Words, Heights]:
    """Decide where everything goes; inside `forest_style` only."""
    columns = _columns(plot)
    words = _words(plot, columns)
    return columns, words, _heights(plot, words)


def _columns(plot: ForestPlot) -> Columns:
    left, left_gaps = _left_widths(plot)
    right = _right_widths(plot)
    words = sum(left) + sum(left_gaps) + sum(right) + GAP * (len(right) - 1)
    fixed = words + 2 * BLOCK_GAP + 2 * MARGIN
    # Too wide for a page even with the narrowest plot: the labels give way, to a point.
    too_wide = min(fixed + PLOT_LEAST - PAGE_MOST, left[0] - LABEL_LEAST)
    left[0] -= max(0.0, too_wide)
    fixed -= max(0.0, too_wide)
    inches = min(max(PLOT_USUAL, PAGE_LEAST - fixed), PLOT_MOST)
    inches = max(PLOT_LEAST, min(inches, PAGE_MOST - fixed))
    spans_left = _side_by_side(MARGIN, left, left_gaps)
    middle = Span(spans_left[-1].right + BLOCK_GAP, spans_left[-1].right + BLOCK_GAP + inches)
    spans_right = _side_by_side(middle.right + BLOCK_GAP, right, [GAP] * (len(right) - 1))
    return Columns(spans_left, middle, spans_right, spans_right[-1].right + MARGIN)


def _side_by_side(
    start: float, widths: Sequence[float], gaps: Sequence[float]
) -> tuple[Span, ...]:
    spans = [Span(start, start + widths[0])]
    for inches, gap in zip(widths[1:], gaps, strict=True):
        left = spans[-1].right + gap
        spans.append(Span(left, left + inches))
    return tuple(spans)


def _left_widths(plot: ForestPlot) -> tuple[list[float], list[float]]:
    """Widths of the columns left of the plot, and the gaps between them."""
    heads = plot.column_headers_left
    marks = [f" {clean(row.mark)}" if row.mark else "" for row in plot.rows]
    labels = [
        width(clean(row.label) + mark, BODY) for row, mark in zip(plot.rows, marks, strict=True)
    ]
    with_cells = [width(clean(d.label), BOLD) for d in plot.summaries if d.cells_left]
    widths = [max(min(LABEL_MOST, max(labels, default=0.0)), *with_cells, _head(heads[0]))]
    for place, head in enumerate(heads[1:]):
        cells = [row.cells_left[place] for row in plot.rows]
        totals = [d.cells_left[place] for d in plot.summaries if d.cells_left]
        cell = max(_widest_cell(cells, BODY), _widest_cell(totals, BOLD))
        widths.append(max(_head(head), min(CELL_MOST, cell)))
    gaps = [
        GAP if one.group and one.group == next_one.group else GROUP_GAP
        for one, next_one in pairwise(heads)
    ]
    _widen_for_groups(heads, widths, gaps)
    labels_below = [d.label for d in plot.summaries]
    labels_below += [plot.prediction.label] if plot.prediction else []
    least = max([LEFT_LEAST, *(width(clean(label), BOLD) for label in labels_below)])
    widths[0] += max(0.0, least - sum(widths) - sum(gaps))
    return widths, gaps


def _head(head: Column) -> float:
    return min(CELL_MOST, _widest_cell(list(head.lines), BOLD))


def _widest_cell(cells: list[str], face: Face) -> float:
    return widest([clean(cell) for cell in cells], face)


def _widen_for_groups(
    heads: tuple[Column, ...], widths: list[float], gaps: list[float]
) -> None:
    """Widen columns, in place, until the name of their group fits above them."""
    for group, places in groups_of(heads):
        room = sum(widths[place] for place in places) + sum(
            gaps[place] for place in places[:-1]
        )
        missing = min(GROUP_MOST, width(clean(group), BOLD)) - room
        for place in places:
            widths[place] += max(0.0, missing) / len(places)


def groups_of(heads: tuple[Column, ...]) -> list[tuple[str, list[int]]]:
    """Names of groups, with the places of their columns."""
    runs = groupby(enumerate(heads), key=lambda item: item[1].group)
    return [(group, [place for place, _ in run]) for group, run in runs if group]


def _right_widths(plot: ForestPlot) -> list[float]:
    heads = plot.column_headers_right
    below = [d.text for d in plot.summaries] + (
        [plot.prediction.text] if plot.prediction else []
    )
    effect = max(
        _widest_cell([row.effect_text for row in plot.rows], BODY), _widest_cell(below, BOLD)
    )
    widths = [max(_head(heads[0]), min(2 * CELL_MOST, effect))]
    if len(heads) > 1:
        weights = [weight_text(row) for row in plot.rows] + [
            d.weight_text for d in plot.summaries
        ]
        widths.append(max(_head(heads[1]), _widest_cell(weights, BOLD)))
    return widths


def weight_text(row: ForestRow) -> str:
    """Weight in words; a dash where there is none."""
    return f"{row.weight:.1f}%" if math.isfinite(row.weight) else "–"


def _words(plot: ForestPlot, columns: Columns) -> Words:
    whole, beside = columns.content.width, columns.text.width
    groups = [
        wrap(
            clean(group), BOLD, columns.left[places[-1]].right - columns.left[places[0]].left, 2
        )
        for group, places in groups_of(plot.column_headers_left)
    ]
    return Words(
        title=wrap(clean(plot.title), HEAD, whole, 3),
        subtitle=wrap(clean(plot.subtitle), BODY, whole, 2),
        groups=tuple(groups),
        labels=tuple(_label(row, columns.left[0].width) for row in plot.rows),
        reasons=tuple(wrap(clean(row.reason), ASIDE, beside, 5) for row in plot.rows),
        no_summary=wrap(clean(plot.no_summary), BODY, beside, 6),
        lines=tuple(wrap_clauses(clean(line), NOTE, beside, 4) for line in plot.lines),
        favours=_favours(plot, columns.plot.width),
        axis_label=wrap(clean(plot.axis_label), NOTE, columns.plot.width, 2),
        footer=tuple(wrap(clean(line), NOTE, whole, 4) for line in plot.footer),
        caveats=tuple(wrap(clean(line), NOTE, whole, 6) for line in plot.caveats),
    )


def _favours(plot: ForestPlot, whole: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words left and right, without arrows; a short one leaves its room to the other."""
    if plot.favours is None:
        return (), ()
    left, right = clean(plot.favours.left), clean(plot.favours.right)
    room = whole - GAP - 2 * ARROW_ROOM
    room_left = max(room / 2, room - width(right, NOTE))
    room_right = max(room / 2, room - width(left, NOTE))
    return wrap(left, NOTE, room_left, 3), wrap(right, NOTE, room_right, 3)


def _label(row: ForestRow, room: float) -> str:
    mark = f" {clean(row.mark)}" if row.mark else ""
    return shorten(clean(row.label), BODY, room - width(mark, BODY)) + mark


def _heights(plot: ForestPlot, words: Words) -> Heights:
    title = MARGIN
    subtitle = title + HEAD.line * len(words.title) + 0.02
    top = subtitle + BODY.line * len(words.subtitle) + 0.12
    group_tall = max((BOLD.line * len(lines) + 0.05 for lines in words.groups), default=0.0)
    heads = (*plot.column_headers_left, *plot.column_headers_right)
    grouped = BOLD.line * max((len(head.lines) for head in heads if head.group), default=0)
    rule = top + max(grouped + group_tall, *(BOLD.line * len(head.lines) for head in heads))
    rule += 0.04
    groups = rule - 0.04 - grouped - 0.05
    top = rule + 0.06
    rows: list[float] = []
    for reason in words.reasons:
        rows.append(top + ROW / 2)
        top += ROW + (ASIDE.line * len(reason) + 0.03 if reason else 0.0)
    top += 0.08
    summaries = [top + ROW * (place + 0.5) for place in range(len(plot.summaries))]
    top += ROW * len(summaries)
    no_summary = top
    top += BODY.line * len(words.no_summary)
    prediction = top + ROW / 2
    axis = top + (ROW if plot.prediction else 0.0) + 0.08
    favours = axis + 0.06 + NOTE.line + 0.05
    below = max(len(side) for side in words.favours)
    axis_label = favours + NOTE.line * below + (0.03 if below else 0.0)
    right_end = axis_label + NOTE.line * len(words.axis_label)
    left_end = axis + 0.06 + NOTE.line * sum(len(lines) for lines in words.lines)
    footer = max(left_end, right_end) + 0.12
    last = sum(len(lines) for lines in (*words.footer, *words.caveats))
    page = footer + NOTE.line * last + (0.05 if words.footer and words.caveats else 0) + MARGIN
    return Heights(
        title=title,
        subtitle=subtitle,
        groups=groups,
        rule=rule,
        rows=tuple(rows),
        summaries=tuple(summaries),
        no_summary=no_summary,
        prediction=prediction,
        axis=axis,
        favours=favours,
        axis_label=axis_label,
        footer=footer,
        page=page,
    )
