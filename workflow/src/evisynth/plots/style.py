"""The look of every drawing: colours, lines, fonts; in force only inside `forest_style`."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.style
import seaborn as sns

INK = "#1a1a1a"
GREY = "#767676"  # 4.5:1 on white: grey rows stay readable
HAIRLINE = "#b3b3b3"
# Blue and vermilion are told apart in every common colour blindness (Okabe & Ito 2008); on grey
# paper the square, the diamond and the bar differ in shape as well as in lightness.
SQUARE = "#5b8db8"
DIAMOND = "#123a5e"
PREDICTION = "#c4510a"

TEXT, SMALL, TITLE = 8.5, 7.5, 10.5  # points

_OURS: dict[str, object] = {
    # The font that matplotlib brings along: text is as wide, and bytes the same, everywhere.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": TEXT,
    "text.color": INK,
    "text.parse_math": False,  # a label may contain $
    "text.usetex": False,
    "text.hinting": "no_hinting",  # widths in proportion at every resolution
    "axes.unicode_minus": True,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.8,
    "figure.dpi": 300,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "path.simplify": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "evisynth",
    "pdf.fonttype": 42,
    "pdf.compression": 6,
}


@contextmanager
def forest_style() -> Iterator[None]:
    """Set the style, whatever the user's own settings are, and put them back at the end."""
    look = [
        "default",
        sns.axes_style("ticks"),
        sns.plotting_context("paper"),
        _OURS,
    ]
    with matplotlib.style.context(look), warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes in PNG and PDF, and in the
        # reader's own fonts in SVG; neither is a reason to stop.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        yield
