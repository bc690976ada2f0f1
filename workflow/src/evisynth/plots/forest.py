"""The forest plot: from its description to a figure and to the bytes of a file.

Two phases. `arrange` measures every text and decides where everything goes, in inches from the
left and from the top; the `_draw_*` functions then put it there. Artists carry a gid
(``square-3``, ``diamond-random``, ...): rows count from 0 in the order of the plot.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFT, CARETRIGHT
from matplotlib.patches import Polygon

from evisynth.plots.axis import (
    Range,
    choose_range,
    choose_ticks,
    labels_shown,
    tick_labels,
)
from evisynth.plots.layout import (
    ARROW_ROOM,
    MARGIN,
    ROW,
    Columns,
    Heights,
    Span,
    Words,
    arrange,
    groups_of,
    weight_text,
)
from evisynth.plots.spec import Diamond, ForestPlot, ForestRow
from evisynth.plots.style import (
    DIAMOND,
    GREY,
    HAIRLINE,
    INK,
    PREDICTION,
    SQUARE,
    forest_style,
)
from evisynth.plots.text import (
    ASIDE,
    BODY,
    BOLD,
    DPI,
    HEAD,
    NOTE,
    Face,
    clean,
    shorten,
)

FORMATS: dict[str, type[FigureCanvasBase]] = {
    "svg": FigureCanvasSVG,
    "pdf": FigureCanvasPdf,
    "png": FigureCanvasAgg,
}
# Whatever would differ from one run to the next, or name the machine, is left out.
METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
}

DIAMOND_HALF_HEIGHT = 0.07  # inches
PIXELS_MOST = 60_000  # Agg draws less than 2**16 pixels in a direction

# Points
SQUARE_MOST, SQUARE_LEAST, SQUARE_PLAIN = 10.0, 3.2, 5.5
ARROW, BAR_ARROW = 5.5, 9.0


def draw_forest(plot: ForestPlot) -> Figure:
    """Draw `plot`; the figure is as large as its content needs."""
    with forest_style():
        return _draw(plot)


def render(plot: ForestPlot, formats: Sequence[str]) -> dict[str, bytes]:
    """`plot` as the bytes of ``svg``, ``pdf`` and ``png`` files; the same on every run."""
    files = {}
    with forest_style():
        figure = _draw(plot)
        longest_side = max(figure.get_size_inches())
        for name in formats:
            buffer = io.BytesIO()
            FORMATS[name](figure).print_figure(
                buffer,
                format=name,
                dpi=min(DPI, int(PIXELS_MOST / longest_side)),
                metadata={**METADATA[name], "Title": clean(plot.title)},
            )
            files[name] = buffer.getvalue()
    return files


def _draw(plot: ForestPlot) -> Figure:
    columns, words, heights = arrange(plot)
    figure = Figure(figsize=(columns.page, heights.page), dpi=DPI)
    FigureCanvasAgg(figure)
    page = Page(figure, heights.page)
    shown = choose_range(plot)
    axes = _draw_axes(page, plot, shown, columns, heights)
    _draw_title(page, words, columns, heights)
    _draw_headers(page, plot, words, columns, heights)
    for index, row in enumerate(plot.rows):
        _draw_row_words(page, index, row, words, columns, heights)
        _draw_row_marks(axes, index, row, plot, shown, heights)
    _draw_summaries(page, axes, plot, shown, columns, heights)
    _draw_no_summary(page, words, columns, heights)
    _draw_prediction(page, axes, plot, shown, columns, heights)
    _draw_below_axis(page, words, columns, heights)
    _draw_footer(page, words, columns, heights)
    return figure


# --- words ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """A figure on which one writes in inches from the left and from the top."""

    figure: Figure
    height: float

    def write(
        self,
        x: float,
        middle: float,
        text: str,
        face: Face,
        gid: str,
        *,
        align: Literal["left", "center", "right"] = "left",
        colour: str = INK,
    ) -> None:
        """Write one line, its capitals centred on `middle`."""
        if not text:
            return
        self.figure.text(
            x,
            self.height - middle - face.rise,
            text,
            transform=self.figure.dpi_scale_trans,
            fontsize=face.size,
            fontweight=face.weight,
            fontstyle=face.slant,
            color=colour,
            horizontalalignment=align,
            verticalalignment="baseline",
            parse_math=False,
            gid=gid,
        )

    def write_block(
        self,
        x: float,
        top: float,
        lines: Sequence[str],
        face: Face,
        gid: str,
        *,
        align: Literal["left", "center", "right"] = "left",
        colour: str = INK,
    ) -> float:
        """Write lines below each other; return where they end."""
        for place, line in enumerate(lines):
            name = gid if place == 0 else f"{gid}-line-{place}"
            middle = top + face.line * (place + 0.5)
            self.write(x, middle, line, face, name, align=align, colour=colour)
        return top + face.line * len(lines)

    def rule(self, span: Span, down: float, gid: str, *, strong: bool = True) -> None:
        """Draw a horizontal line."""
        line = Line2D(
            [span.left, span.right],
            [self.height - down] * 2,
            transform=self.figure.dpi_scale_trans,
            color=INK if strong else HAIRLINE,
            linewidth=0.8 if strong else 0.6,
            gid=gid,
        )
        self.figure.add_artist(line)


def _draw_title(page: Page, words: Words, columns: Columns, heights: Heights) -> None:
    page.write_block(MARGIN, heights.title, words.title, HEAD, "title")
    page.write_block(MARGIN, heights.subtitle, words.subtitle, BODY, "subtitle", colour=GREY)
    page.rule(columns.content, heights.rule, "header-rule")


def _draw_headers(
    page: Page, plot: ForestPlot, words: Words, columns: Columns, heights: Heights
) -> None:
    for number, (_, places) in enumerate(groups_of(plot.column_headers_left)):
        span = Span(columns.left[places[0]].left, columns.left[places[-1]].right)
        lines, gid = words.groups[number], f"group-{number}"
        top = heights.groups - BOLD.line * len(lines)
        page.write_block(span.middle, top, lines, BOLD, gid, align="center")
        page.rule(span, heights.groups + 0.02, f"group-rule-{number}", strong=False)
    for side, heads, spans in (
        ("left", plot.column_headers_left, columns.left),
        ("right", plot.column_headers_right, columns.right),
    ):
        for place, (head, span) in enumerate(zip(heads, spans, strict=True)):
            first = side == "left" and place == 0
            head_lines = [shorten(clean(line), BOLD, span.width) for line in head.lines]
            page.write_block(
                span.left if first else span.right,
                heights.rule - 0.04 - BOLD.line * len(head_lines),
                head_lines,
                BOLD,
                f"header-{side}-{place}",
                align="left" if first else "right",
            )


def _draw_row_words(
    page: Page, index: int, row: ForestRow, words: Words, columns: Columns, heights: Heights
) -> None:
    middle, colour = heights.rows[index], INK if row.pooled else GREY
    label = words.labels[index]
    page.write(MARGIN, middle, label, BODY, f"row-label-{index}", colour=colour)
    _write_cells(page, row.cells_left, middle, BODY, columns, f"row-cell-{index}", colour)
    texts = [row.effect_text, weight_text(row)]
    for name, text, span in zip(("effect", "weight"), texts, columns.right, strict=False):
        short = shorten(clean(text), BODY, span.width)
        gid = f"row-{name}-{index}"
        page.write(span.right, middle, short, BODY, gid, align="right", colour=colour)
    reason, top = words.reasons[index], middle + ROW / 2 - 0.02
    page.write_block(MARGIN, top, reason, ASIDE, f"row-reason-{index}", colour=GREY)


def _write_cells(
    page: Page,
    cells: tuple[str, ...],
    middle: float,
    face: Face,
    columns: Columns,
    gid: str,
    colour: str,
) -> None:
    for place, (cell, span) in enumerate(zip(cells, columns.left[1:], strict=False)):
        text = shorten(clean(cell), face, span.width)
        page.write(
            span.right, middle, text, face, f"{gid}-{place}", align="right", colour=colour
        )


def _draw_no_summary(page: Page, words: Words, columns: Columns, heights: Heights) -> None:
    page.write_block(MARGIN, heights.no_summary, words.no_summary, BODY, "no-summary")


def _draw_below_axis(page: Page, words: Words, columns: Columns, heights: Heights) -> None:
    top = heights.axis + 0.06
    for number, lines in enumerate(words.lines):
        top = page.write_block(MARGIN, top, lines, NOTE, f"line-{number}")
    _draw_favours(page, words, columns.plot, heights.favours)
    label, middle = words.axis_label, columns.plot.middle
    page.write_block(middle, heights.axis_label, label, NOTE, "axis-label", align="center")


def _draw_favours(page: Page, words: Words, span: Span, top: float) -> None:
    (left, right), middle = words.favours, top + NOTE.line / 2
    if left:
        page.write(span.left, middle, "←", NOTE, "favours-left-arrow")
        page.write_block(span.left + ARROW_ROOM, top, left, NOTE, "favours-left")
    if right:
        x = span.right - ARROW_ROOM
        page.write(span.right, middle, "→", NOTE, "favours-right-arrow", align="right")
        page.write_block(x, top, right, NOTE, "favours-right", align="right")


def _draw_footer(page: Page, words: Words, columns: Columns, heights: Heights) -> None:
    top = heights.footer
    for number, lines in enumerate(words.footer):
        top = page.write_block(MARGIN, top, lines, NOTE, f"footer-{number}", colour=GREY)
    top += 0.05 if words.footer else 0.0
    for number, lines in enumerate(words.caveats):
        top = page.write_block(MARGIN, top, lines, NOTE, f"caveat-{number}")


# --- marks ----------------------------------------------------------------------------------


def _draw_axes(
    page: Page, plot: ForestPlot, shown: Range, columns: Columns, heights: Heights
) -> Axes:
    """The axis, with the lines of no effect and of the estimate; y is inches from the top."""
    span, tall = columns.plot, heights.axis - heights.rule
    axes = page.figure.add_axes(
        (
            span.left / columns.page,
            1 - heights.axis / heights.page,
            span.width / columns.page,
            tall / heights.page,
        ),
        facecolor="none",
        gid="plot",
    )
    axes.set_xscale("log" if plot.axis == "log" else "linear")
    axes.set_xlim(*shown)
    axes.set_ylim(heights.axis, heights.rule)
    axes.yaxis.set_visible(False)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    if not plot.draws:
        axes.set_axis_off()
        return axes
    _draw_ticks(page, axes, plot, shown, columns, heights)
    if plot.null is not None and shown[0] <= plot.null <= shown[1]:
        axes.axvline(plot.null, color=INK, linewidth=0.8, zorder=1, gid="null-line")
    if plot.summaries and shown[0] <= plot.summaries[0].estimate <= shown[1]:
        axes.plot(
            [plot.summaries[0].estimate] * 2,
            [heights.rule, heights.summaries[0]],
            color=GREY,
            linewidth=0.7,
            linestyle=(0, (4, 3)),
            zorder=1,
            gid="estimate-line",
        )
    return axes


def _draw_ticks(
    page: Page,
    axes: Axes,
    plot: ForestPlot,
    shown: Range,
    columns: Columns,
    heights: Heights,
) -> None:
    """Ticks; their labels are written on the page, where nothing reformats them."""
    ticks = choose_ticks(plot, shown, columns.plot.width)
    axes.set_xticks(ticks, labels=[""] * len(ticks))
    axes.minorticks_off()
    axes.tick_params(axis="x", length=3, width=0.8)
    labels = tick_labels(plot.axis, ticks)
    labels = labels_shown(plot.axis, ticks, labels, shown, columns.plot.width)
    for number, (tick, label) in enumerate(zip(ticks, labels, strict=True)):
        fraction = axes.transLimits.transform(axes.transScale.transform((tick, 1.0)))[0]
        x = columns.plot.left + fraction * columns.plot.width
        middle = heights.axis + 0.06 + NOTE.line / 2
        page.write(x, middle, label, NOTE, f"tick-{number}", align="center")


def _draw_row_marks(
    axes: Axes, index: int, row: ForestRow, plot: ForestPlot, shown: Range, heights: Heights
) -> None:
    if not math.isfinite(row.effect):
        return
    y, colour = heights.rows[index], INK if row.pooled else GREY
    _draw_interval(axes, row.low, row.high, y, shown, colour, f"{index}")
    if not shown[0] <= row.effect <= shown[1]:
        side = "low" if row.effect < shown[0] else "high"
        _draw_arrow(axes, side, y, colour, f"{index}", shown)
        return
    axes.plot(
        [row.effect],
        [y],
        marker="s",
        markersize=square_size(row, plot) if row.pooled else SQUARE_PLAIN,
        markerfacecolor=SQUARE if row.pooled else "white",
        markeredgecolor=SQUARE if row.pooled else GREY,
        markeredgewidth=0.0 if row.pooled else 0.9,
        linestyle="none",
        clip_on=False,
        zorder=2 if row.pooled else 4,
        gid=f"square-{index}",
    )


def square_size(row: ForestRow, plot: ForestPlot) -> float:
    """Side of the square in points: its area is proportional to the weight, yet always seen."""
    weights = [other.weight for other in plot.rows if other.pooled and other.weight > 0]
    if not row.weight > 0:
        return SQUARE_PLAIN
    return max(SQUARE_LEAST, SQUARE_MOST * math.sqrt(row.weight / max(weights)))


def _draw_interval(
    axes: Axes, low: float, high: float, y: float, shown: Range, colour: str, name: str
) -> None:
    """A line from `low` to `high`, with an arrow where the axis ends before it does."""
    left, right = max(low, shown[0]), min(high, shown[1])
    if left <= right:
        axes.plot(
            [left, right],
            [y, y],
            color=colour,
            linewidth=1.0,
            solid_capstyle="butt",
            clip_on=False,
            zorder=3,
            gid=f"ci-{name}",
        )
    _draw_arrows(axes, low, high, y, shown, colour, name)


def _draw_arrows(
    axes: Axes, low: float, high: float, y: float, shown: Range, colour: str, name: str
) -> None:
    if low < shown[0]:
        _draw_arrow(axes, "low", y, colour, name, shown)
    if high > shown[1]:
        _draw_arrow(axes, "high", y, colour, name, shown)


def _draw_arrow(axes: Axes, side: str, y: float, colour: str, name: str, shown: Range) -> None:
    axes.plot(
        [shown[0] if side == "low" else shown[1]],
        [y],
        marker=CARETLEFT if side == "low" else CARETRIGHT,
        markersize=BAR_ARROW if name == "prediction" else ARROW,
        color=colour,
        markeredgewidth=0.0,
        linestyle="none",
        clip_on=False,
        zorder=4,
        gid=f"arrow-{side}-{name}",
    )


def _draw_summaries(
    page: Page, axes: Axes, plot: ForestPlot, shown: Range, columns: Columns, heights: Heights
) -> None:
    for place, (diamond, y) in enumerate(zip(plot.summaries, heights.summaries, strict=True)):
        face = BOLD if place == 0 else BODY
        _draw_diamond(axes, diamond, y, shown, plot.axis)
        room = columns.left[0].width if diamond.cells_left else columns.text.width
        label = shorten(clean(diamond.label), face, room)
        page.write(MARGIN, y, label, face, f"diamond-label-{diamond.kind}")
        gid = f"diamond-cell-{diamond.kind}"
        _write_cells(page, diamond.cells_left, y, face, columns, gid, INK)
        for what, text, span in zip(
            ("text", "weight"),
            (diamond.text, diamond.weight_text),
            columns.right,
            strict=False,  # without weights there is no column for them
        ):
            short = shorten(clean(text), face, span.width)
            gid = f"diamond-{what}-{diamond.kind}"
            page.write(span.right, y, short, face, gid, align="right")


def _draw_diamond(axes: Axes, diamond: Diamond, y: float, shown: Range, axis: str) -> None:
    if not all(map(math.isfinite, (diamond.estimate, diamond.low, diamond.high))):
        return
    name, random = f"diamond-{diamond.kind}", diamond.kind == "random"
    if shown[0] <= diamond.estimate <= shown[1]:
        outline = Polygon(
            diamond_outline(diamond, y, shown, axis),
            closed=True,
            facecolor=DIAMOND if random else "white",
            edgecolor=DIAMOND if random else INK,
            linewidth=0.8,
            joinstyle="round",
            clip_on=False,
            zorder=4,
            gid=name,
        )
        axes.add_patch(outline)
    _draw_arrows(axes, diamond.low, diamond.high, y, shown, INK, name)


def diamond_outline(
    diamond: Diamond, y: float, shown: Range, axis: str
) -> list[tuple[float, float]]:
    """Corners of the diamond; a side that reaches beyond the axis is cut off there."""

    def side(end: float, edge: float, beyond: bool) -> list[tuple[float, float]]:
        if not beyond:
            return [(end, y)]
        half = DIAMOND_HALF_HEIGHT * _share(end, edge, diamond.estimate, axis)
        return [(edge, y + half), (edge, y - half)]

    left = side(diamond.low, shown[0], diamond.low < shown[0])
    right = side(diamond.high, shown[1], diamond.high > shown[1])
    top = (diamond.estimate, y - DIAMOND_HALF_HEIGHT)
    bottom = (diamond.estimate, y + DIAMOND_HALF_HEIGHT)
    return [*left, top, *reversed(right), bottom]


def _share(end: float, edge: float, estimate: float, axis: str) -> float:
    """How high the diamond still is at the edge of the axis, from 0 to 1."""
    if axis != "log":
        return (edge - end) / (estimate - end)
    if end <= 0:
        return 1.0
    return math.log(edge / end) / math.log(estimate / end)


def _draw_prediction(
    page: Page, axes: Axes, plot: ForestPlot, shown: Range, columns: Columns, heights: Heights
) -> None:
    """The prediction interval: a bar of its own with end caps, below the diamonds."""
    bar, y = plot.prediction, heights.prediction
    if bar is None:
        return
    page.write(MARGIN, y, clean(bar.label), BODY, "prediction-label")
    text = shorten(clean(bar.text), BODY, columns.right[0].width)
    page.write(columns.right[0].right, y, text, BODY, "prediction-text", align="right")
    left, right = max(bar.low, shown[0]), min(bar.high, shown[1])
    if not left <= right:  # nan, or beyond the axis
        return
    axes.plot(
        [left, right],
        [y, y],
        color=PREDICTION,
        linewidth=3.0,
        solid_capstyle="butt",
        clip_on=False,
        zorder=3,
        gid="prediction",
    )
    caps = [end for end in (bar.low, bar.high) if shown[0] <= end <= shown[1]]
    axes.plot(
        caps,
        [y] * len(caps),
        marker="|",
        markersize=8.0,
        markeredgewidth=1.4,
        color=PREDICTION,
        linestyle="none",
        clip_on=False,
        zorder=3,
        gid="prediction-caps",
    )
    _draw_arrows(axes, bar.low, bar.high, y, shown, PREDICTION, "prediction")
