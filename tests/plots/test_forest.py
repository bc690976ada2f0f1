"""The forest plot as drawn: what stands where, and that its bytes never change."""

import hashlib
import io
import math
import subprocess
import sys
import warnings
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.text import Text
from PIL import Image

from evisynth.plots import spec
from evisynth.plots.axis import choose_range, choose_ticks, tick_labels
from evisynth.plots.forest import FORMATS, draw_forest, render
from evisynth.plots.style import GREY, forest_style
from evisynth.plots.text import BODY, clean, shorten, width, wrap

NAN = math.nan
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    "<script>alert('&')</script>",
    "$x_1^2$ and $\\frac{1}{0}$",
    "two\nlines\tand \x00 nought",
    "x" * 500,
    "many words " * 50,
    "神经母细胞瘤研究",
    "دراسة الأورام",
    "מחקר 2021",
    "\u202eoverride",
    "byte\ufefforder",
    "\ud800 lone surrogate",
    "😀",
    "",
)


def row(label="Study", effect=0.5, low=0.25, high=1.0, weight=10.0, **others):
    text = f"{effect:.2f} [{low:.2f}, {high:.2f}]"
    return spec.ForestRow(label, ("3", "40"), effect, low, high, weight, text, **others)


def random_diamond(estimate=0.5, low=0.3, high=0.8):
    text = f"{estimate:.2f} [{low:.2f}, {high:.2f}]"
    cells = ("12", "160")
    return spec.Diamond("Random effects", estimate, low, high, text, "random", "100.0%", cells)


def plot(rows, **others):
    """A risk ratio with columns of events and totals."""
    settings = {
        "title": "Title",
        "subtitle": "Outcome · studies",
        "axis": "log",
        "null": 1.0,
        "axis_label": "Risk ratio (log scale)",
        "column_headers_left": (
            spec.Column(("Study",)),
            spec.Column(("Events",), "Chemotherapy and antibody"),
            spec.Column(("Total",), "Chemotherapy and antibody"),
        ),
        "column_headers_right": (
            spec.Column(("Risk ratio", "[95% CI]")),
            spec.Column(("Weight",)),
        ),
        "rows": tuple(rows),
        "summaries": (
            random_diamond(),
            spec.Diamond("Common effect", 0.6, 0.5, 0.7, "0.60 [0.50, 0.70]", "common"),
        ),
        "prediction": spec.PredictionBar(
            "95% prediction interval (HK)", 0.2, 1.3, "[0.2, 1.3]"
        ),
        "favours": spec.Favours("Favours antibody", "Favours chemotherapy alone"),
        "lines": ("Heterogeneity: τ² = 0.31 (0.12 to 1.11), Q = 152.23, df = 12 (p < 0.001)",),
        "footer": ("Random effects, inverse variance; τ²: REML.",),
        "caveats": ("A caveat.",),
    }
    return spec.ForestPlot(**{**settings, **others})


def many(k):
    """k rows whose effects spread over the axis."""
    return [
        row(f"Study {i}", 0.1 * 1.1**i, 0.05 * 1.1**i, 0.2 * 1.1**i, i + 1.0) for i in range(k)
    ]


def artists(figure: Figure) -> dict:
    return {artist.get_gid(): artist for artist in figure.findobj() if artist.get_gid()}


def drawn(a_plot) -> dict:
    return artists(draw_forest(a_plot))


# --- marks -----------------------------------------------------------------------------------


def test_areas_of_squares_are_proportional_to_the_weights():
    weights = (10.0, 20.0, 70.0)
    found = drawn(plot([row(weight=w) for w in weights]))
    areas = [found[f"square-{i}"].get_markersize() ** 2 for i in range(3)]
    assert [area / areas[0] for area in areas] == pytest.approx([1, 2, 7])


def test_the_smallest_square_is_still_wider_than_its_interval_is_thick():
    found = drawn(plot([row(weight=0.001), row(weight=99.999)]))
    assert found["square-0"].get_markersize() > 3 * found["ci-0"].get_linewidth()


def test_marks_stand_at_the_numbers_given():
    found = drawn(plot([row(effect=0.5, low=0.25, high=1.5)]))
    assert found["square-0"].get_xdata()[0] == 0.5
    assert list(found["ci-0"].get_xdata()) == [0.25, 1.5]
    corners = found["diamond-random"].get_xy()[:, 0]
    assert (corners.min(), corners.max()) == (0.3, 0.8)
    assert sorted(corners)[2] == 0.5
    assert list(found["prediction"].get_xdata()) == [0.2, 1.3]


def test_every_row_has_its_own_height_even_if_labels_are_equal():
    found = drawn(plot([row("Same"), row("Same"), row("Same")]))
    heights = [found[f"square-{i}"].get_ydata()[0] for i in range(3)]
    assert all(upper < lower for upper, lower in pairwise(heights))
    below = [found[name].get_xy()[:, 1].mean() for name in ("diamond-random", "diamond-common")]
    assert heights[-1] < below[0] < below[1] < found["prediction"].get_ydata()[0]


def test_the_random_diamond_is_filled_and_the_common_one_open():
    found = drawn(plot([row()]))
    assert to_hex(found["diamond-common"].get_facecolor()) == "#ffffff"
    red, green, blue, _ = found["diamond-random"].get_facecolor()
    assert 0.21 * red + 0.72 * green + 0.07 * blue < 0.3  # dark on grey paper as well


def test_the_line_of_no_effect_stands_at_the_null_value():
    assert set(drawn(plot([row()]))["null-line"].get_xdata()) == {1.0}


def test_proportions_have_no_line_of_no_effect_and_an_axis_in_per_cent():
    found = drawn(plot([row()], axis="proportion", null=None, favours=None))
    assert "null-line" not in found
    assert found["plot"].get_xlim() == (0, 1)
    ticks = [found[f"tick-{i}"].get_text() for i in range(6)]
    assert ticks == ["0%", "20%", "40%", "60%", "80%", "100%"]


def test_cut_intervals_end_in_an_arrow_on_the_side_where_they_are_cut():
    rows = [row(low=0.01), row(high=50.0), row(low=0.01, high=50.0), row()]
    found = drawn(plot(rows, axis_range=(0.1, 10.0), prediction=None))
    arrows = {name for name in found if name.startswith("arrow")}
    assert arrows == {"arrow-low-0", "arrow-high-1", "arrow-low-2", "arrow-high-2"}
    assert list(found["ci-2"].get_xdata()) == [0.1, 10.0]
    assert found["arrow-low-0"].get_xdata()[0] == 0.1


def test_a_study_beyond_the_axis_is_an_arrow_without_a_square():
    found = drawn(plot([row(effect=300.0, low=200.0, high=900.0)], axis_range=(0.1, 10.0)))
    assert "arrow-high-0" in found
    assert not {"square-0", "ci-0"} & set(found)


def test_a_diamond_that_is_cut_ends_at_the_edge_with_an_arrow():
    found = drawn(
        plot([row()], summaries=(random_diamond(0.5, 0.0, 0.8),), axis_range=(0.1, 5))
    )
    assert found["diamond-random"].get_xy()[:, 0].min() == 0.1
    assert "arrow-low-diamond-random" in found


@pytest.mark.parametrize("end", [0.0, math.inf, 1e-300, 1e300])
def test_impossible_ends_of_intervals_draw_without_warning(end):
    low, high = min(end, 0.25), max(end, 1.0)
    found = drawn(plot([row(low=low, high=high), row()]))
    assert ("arrow-low-0" in found, "arrow-high-0" in found) == (low < 0.25, high > 1)


def test_without_an_estimate_there_is_no_diamond_but_the_reason():
    found = drawn(
        plot([row()], summaries=(), prediction=None, no_summary="Not pooled: because")
    )
    assert not [
        name for name in found if name.startswith(("diamond", "prediction", "estimate"))
    ]
    assert found["no-summary"].get_text() == "Not pooled: because"


def test_a_row_that_is_not_pooled_is_grey_and_hollow_with_its_reason_in_italics():
    found = drawn(plot([row(), row(weight=NAN, pooled=False, reason="Not pooled: overlap")]))
    square = found["square-1"]
    assert to_hex(square.get_markerfacecolor()) == "#ffffff"
    colours = {square.get_markeredgecolor(), found["ci-1"].get_color()}
    colours |= {found[f"row-{part}-1"].get_color() for part in ("label", "effect", "reason")}
    assert {to_hex(colour) for colour in colours} == {GREY}
    assert found["row-reason-1"].get_text() == "Not pooled: overlap"
    assert found["row-reason-1"].get_fontstyle() == "italic"
    assert to_hex(found["row-label-0"].get_color()) != GREY


def test_a_row_without_numbers_has_words_and_no_mark():
    empty = spec.ForestRow(
        "Empty", ("", ""), NAN, NAN, NAN, NAN, "–", pooled=False, reason="Why"
    )
    found = drawn(plot([empty], summaries=(), prediction=None, no_summary="Not estimable"))
    assert {"row-label-0", "row-reason-0"} <= set(found)
    assert not {"square-0", "ci-0"} & set(found)


def test_a_footnote_mark_survives_the_shortening_of_its_label():
    text = drawn(plot([row("x" * 500, mark="†")]))["row-label-0"].get_text()
    assert text.endswith("… †")


def test_favours_words_keep_their_sides():
    found = drawn(plot([row()]))
    left, right = (found[f"favours-{side}"] for side in ("left", "right"))
    assert (left.get_text(), right.get_text()) == (
        "Favours antibody",
        "Favours chemotherapy alone",
    )
    assert left.get_position()[0] < right.get_position()[0]
    assert found["favours-left-arrow"].get_text() == "←"
    assert found["favours-right-arrow"].get_text() == "→"


# --- axis ------------------------------------------------------------------------------------


def test_the_log_axis_of_an_ordinary_plot_has_the_usual_ticks():
    a_plot = plot([row()], axis_range=(0.1, 10.0))
    ticks = choose_ticks(a_plot, (0.1, 10.0), 3.1)
    with forest_style():
        assert tick_labels("log", ticks) == ("0.1", "0.2", "0.5", "1", "2", "5", "10")


@pytest.mark.parametrize(
    ("low", "high"), [(0.9, 1.1), (0.05, 30), (1e-4, 1e3), (1e-30, 1e40), (0.98, 250)]
)
def test_a_log_axis_always_has_two_ticks_or_more(low, high):
    with forest_style():
        ticks = choose_ticks(plot([]), (low, high), 2.4)
    assert 2 <= len(ticks) <= 9
    assert all(low <= tick <= high for tick in ticks)


def test_ticks_asked_for_are_kept_within_the_axis():
    a_plot = plot([], ticks=(0.01, 0.3, 1.0, 3.0), axis_range=(0.1, 10.0))
    assert choose_ticks(a_plot, (0.1, 10.0), 3.0) == (0.3, 1.0, 3.0)


def test_labels_of_crowded_ticks_are_thinned_out():
    ticks = tuple(1 + i / 100 for i in range(60))
    found = drawn(plot([row()], ticks=ticks, axis_range=(0.5, 2.0)))
    assert len(found["plot"].get_xticks()) == 60
    assert 2 <= sum(name.startswith("tick-") for name in found) < 30


def test_the_axis_shows_all_estimates_but_does_not_follow_an_extreme_interval():
    rows = [*(row() for _ in range(9)), row(effect=299.0, low=10.0, high=8900.0)]
    low, high = choose_range(plot(rows))
    assert low < 0.2
    assert 299 < high < 8900


def test_a_single_wider_interval_among_precise_studies_is_not_cut():
    rows = [*(row(effect=e, low=e - 0.001, high=e + 0.001) for e in (0.0, 0.01, 0.02))]
    rows.append(row(effect=-0.14, low=-0.17, high=-0.11))
    settings = {"axis": "linear", "null": 0.0, "summaries": (), "prediction": None}
    assert choose_range(plot(rows, **settings))[0] < -0.17


def test_the_prediction_interval_is_seen_whole_unless_it_is_extreme():
    settings = {"axis": "linear", "null": 0.0, "summaries": ()}
    rows = [row(effect=e, low=e - 1, high=e + 1) for e in (-70.0, 10.0)]
    bar = spec.PredictionBar("", -80.0, 50.0, "")
    low, high = choose_range(plot(rows, **settings, prediction=bar))
    assert (low < -80, high > 50) == (True, True)
    _, high = choose_range(plot(rows, **settings, prediction=replace(bar, high=1e6)))
    assert high < 200


def test_an_axis_without_any_numbers_makes_none_up():
    empty = plot([], axis="linear", null=0.0, summaries=(), prediction=None)
    assert choose_ticks(empty, choose_range(empty), 3.0) == (0.0,)


def test_equal_effects_leave_room_around_them():
    rows = [row(effect=0.0, low=0.0, high=0.0) for _ in range(3)]
    low, high = choose_range(plot(rows, axis="linear", null=0.0, summaries=(), prediction=None))
    assert low < 0 < high


def test_tick_labels_are_typographically_right():
    assert tick_labels("linear", (-1.0, -0.5, 0.0, 0.5)) == ("−1.0", "−0.5", "0.0", "0.5")
    assert tick_labels("log", (1e-5, 0.001, 1e5)) == ("10⁻⁵", "0.001", "10⁵")


def test_an_axis_range_that_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="does not suit a log axis"):
        plot([], axis_range=(0.0, 2.0))


# --- words -----------------------------------------------------------------------------------


def crowded():
    return plot(
        [
            row(label, weight=NAN, pooled=False, reason=label)
            if number % 3 == 0
            else row(label, mark="*")
            for number, label in enumerate(HOSTILE)
        ],
        title="Title $_ <b> " * 60,
        subtitle="s" * 400,
        column_headers_left=(
            spec.Column(("Study",)),
            spec.Column(("Events",), "G" * 200),
            spec.Column(("Total",), "Group " * 50),
        ),
        favours=spec.Favours("left " * 40, "r" * 300),
        lines=("L" * 300, "one, two, " * 60),
        footer=("f" * 600, "word " * 300),
        caveats=HOSTILE,
    )


EXAMPLES = {
    "k = 0": plot([], summaries=(), prediction=None, no_summary="Not estimable: no study."),
    "k = 1": plot([row()], summaries=(), prediction=None, no_summary="Not pooled: " * 20),
    "k = 2": plot(many(2)),
    "k = 13": plot([replace(r, reason="Not pooled: why", pooled=i % 4 > 0)
                    for i, r in enumerate(many(13))]),
    "k = 56": plot(many(56)),
    "hostile": crowded(),
    "no columns": plot(
        [replace(row(), cells_left=())],
        column_headers_left=(spec.Column(("Study",)),),
        column_headers_right=(spec.Column(("Risk ratio",)),),
        summaries=(replace(random_diamond(), cells_left=()),),
    ),
    "extreme": plot([row(effect=299.0, low=10.1, high=8876.0), row("Tiny", 0.001, 1e-9, 0.1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_texts_neither_overlap_nor_leave_the_page_nor_enter_the_plot(name):
    figure = draw_forest(EXAMPLES[name])
    with forest_style():
        renderer = figure.canvas.get_renderer()
        texts = [
            text for text in figure.findobj(Text) if text.get_text() and text.get_visible()
        ]
        boxes = [(text, text.get_window_extent(renderer)) for text in texts]
    page, area = figure.bbox, artists(figure)["plot"].bbox
    for text, box in boxes:
        assert box.x0 >= page.x0 + 20, text
        assert box.x1 <= page.x1 - 20, text
        assert page.y0 + 20 <= box.y0 < box.y1 <= page.y1 - 20, text
        assert not overlap(box, area), text
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not overlap(a, b), (one, other)


def overlap(a, b) -> bool:
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_suits_print(name):
    across, _ = draw_forest(EXAMPLES[name]).get_size_inches()
    assert 7 <= across <= 10.5


def test_no_text_is_markup():
    figure = draw_forest(EXAMPLES["hostile"])
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if text.get_gid())


@pytest.mark.parametrize("label", HOSTILE)
def test_a_shortened_text_fits_and_says_that_it_was_cut(label):
    with forest_style():
        text = shorten(clean(label), BODY, 1.0)
        assert width(text, BODY) <= 1.01
    assert text == clean(label) or text.endswith("…")


def test_wrapping_loses_no_word_where_there_is_room():
    words = "several words that need more than one line of an inch each"
    with forest_style():
        lines = wrap(words, BODY, 1.0, 10)
    assert len(lines) > 1
    assert " ".join(lines) == words


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", FORMATS)
def test_bytes_are_the_same_twice_in_one_process(file_format):
    a_plot = EXAMPLES["k = 2"]
    alone = render(a_plot, [file_format])[file_format]
    assert alone == render(a_plot, sorted(FORMATS))[file_format]


def test_bytes_are_the_same_in_another_process_with_other_settings(tmp_path):
    """A user's matplotlibrc, locale, time zone and hash seed must not matter."""
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 30\nfigure.dpi: 50\nlines.linewidth: 9\n"
    )
    code = (
        "import hashlib, runpy, sys\n"
        f"module = runpy.run_path({__file__!r})\n"
        "for name in sorted(module['FORMATS']):\n"
        "    data = module['render'](module['EXAMPLES']['k = 2'], [name])[name]\n"
        "    print(hashlib.sha256(data).hexdigest())\n"
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "MATPLOTLIBRC": str(tmp_path),
        "MPLCONFIGDIR": str(tmp_path),
        "PYTHONHASHSEED": "7",
        "TZ": "Asia/Tokyo",
        "LC_ALL": "C",
    }
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    here = [
        hashlib.sha256(render(EXAMPLES["k = 2"], [name])[name]).hexdigest()
        for name in sorted(FORMATS)
    ]
    assert run.stdout.split() == here


@pytest.mark.parametrize("file_format", FORMATS)
def test_hostile_labels_can_be_written_in_every_format(file_format):
    start = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[file_format]
    assert render(EXAMPLES["hostile"], [file_format])[file_format].startswith(start)


def test_svg_is_well_formed_with_its_text_as_text_and_nothing_active():
    data = render(EXAMPLES["hostile"], ["svg"])["svg"]
    root = ET.fromstring(data)
    texts = {"".join(element.itertext()) for element in root.iter(f"{SVG}text")}
    assert "<script>alert('&')</script>" in texts
    assert {"神经母细胞瘤研究", "$x_1^2$ and $\\frac{1}{0}$"} <= texts
    assert b"<script" not in data
    assert root.find(f"{SVG}title").text.startswith("Title $_ <b>")


def test_ids_in_svg_are_those_of_the_artists_and_unique():
    root = ET.fromstring(render(EXAMPLES["k = 13"], ["svg"])["svg"])
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert {"square-3", "ci-3", "row-label-3", "diamond-random", "null-line"} <= set(ids)


def test_png_has_the_size_of_the_page_at_300_dots_per_inch():
    a_plot = EXAMPLES["k = 13"]
    inches = draw_forest(a_plot).get_size_inches()
    with Image.open(io.BytesIO(render(a_plot, ["png"])["png"])) as image:
        assert image.size == tuple(int(side * 300) for side in inches)


def test_settings_and_warning_filters_are_as_before():
    settings, filters = dict(mpl.rcParams), list(warnings.filters)
    render(EXAMPLES["hostile"], ["svg"])
    draw_forest(EXAMPLES["k = 2"])
    assert dict(mpl.rcParams) == settings
    assert warnings.filters == filters


def test_only_the_warning_about_missing_glyphs_is_silenced():
    with forest_style(), pytest.warns(UserWarning, match="something else"):
        warnings.warn("something else", UserWarning, stacklevel=1)


@pytest.mark.parametrize("weight", ["normal", "bold"])
def test_the_font_is_the_one_that_matplotlib_brings_along(weight):
    """A system's own DejaVu Sans may be another version, with other widths and bytes."""
    with forest_style():
        found = findfont(FontProperties(weight=weight))
    assert Path(found).is_relative_to(mpl.get_data_path())
