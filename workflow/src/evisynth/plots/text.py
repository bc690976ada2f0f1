"""Words that fit: how wide they are when drawn, and how to shorten or wrap them; in inches."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from evisynth.plots.style import SMALL, TEXT, TITLE

DPI = 300
ELLIPSIS = "…"
_ROUNDING = 0.002  # inches: columns are as wide as their widest text, give or take rounding
_LONGEST = 2000  # characters that can matter in a drawing; measuring more is waste
# Embedding and override marks would let one label rearrange how others read; of a byte order
# mark Matplotlib's writer of PDF finds no glyph, and fails.
_NOT_DRAWN = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


@dataclass(frozen=True, slots=True)
class Face:
    """A way to write: size in points, weight and slant."""

    size: float
    weight: Literal["normal", "bold"] = "normal"
    slant: Literal["normal", "italic"] = "normal"

    @property
    def line(self) -> float:
        """Distance between two base lines."""
        return 1.35 * self.size / 72

    @property
    def rise(self) -> float:
        """How far the base line lies below the middle of the capitals."""
        return 0.365 * self.size / 72


BODY = Face(TEXT)
BOLD = Face(TEXT, weight="bold")
HEAD = Face(TITLE, weight="bold")
NOTE = Face(SMALL)
ASIDE = Face(SMALL, slant="italic")


def clean(text: str) -> str:
    """`text` on one line and without characters that no file format can hold."""
    kept = (_drawable(character) for character in text[:_LONGEST])
    return " ".join("".join(kept).split())


def _drawable(character: str) -> str:
    if character in _NOT_DRAWN:
        return ""
    kind = unicodedata.category(character)
    if kind == "Cc":
        return " "
    return "\ufffd" if kind in ("Cs", "Cn", "Co") else character


@lru_cache(maxsize=1)
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]  # not in the stubs


def width(text: str, face: Face) -> float:
    """Width of `text` as drawn; inside `forest_style` only."""
    if not text:
        return 0.0
    font = FontProperties(size=face.size, weight=face.weight, style=face.slant)
    size = _renderer().get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]
    pixels = size[0]
    return float(pixels) / DPI


def widest(texts: tuple[str, ...] | list[str], face: Face) -> float:
    """Width of the widest of `texts`."""
    return max((width(text, face) for text in texts), default=0.0)


def fits_into(text: str, face: Face, room: float) -> bool:
    """Whether `text` is no wider than `room`."""
    return width(text, face) <= room + _ROUNDING


def shorten(text: str, face: Face, room: float) -> str:
    """The longest beginning of `text` that fits into `room`, with an ellipsis if cut."""
    if fits_into(text, face, room):
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        cut = text[:middle].rstrip() + ELLIPSIS
        fits, too_long = (middle, too_long) if fits_into(cut, face, room) else (fits, middle)
    return text[:fits].rstrip() + ELLIPSIS


def wrap(text: str, face: Face, room: float, most: int) -> tuple[str, ...]:
    """`text` in at most `most` lines of width `room`; the last is shortened if it must be."""
    return _fill(text.split(), face, room, most)


def wrap_clauses(text: str, face: Face, room: float, most: int) -> tuple[str, ...]:
    """As `wrap`, but breaks after a comma or colon, so that ``df = 12`` stays together."""
    clauses = re.findall(r".+?(?:[,;:](?= )|$)", text)
    clauses = [clause.strip() for clause in clauses]
    if widest(clauses, face) > room:
        return wrap(text, face, room, most)
    return _fill(clauses, face, room, most)


def _fill(pieces: list[str], face: Face, room: float, most: int) -> tuple[str, ...]:
    lines: list[str] = []
    for place, piece in enumerate(pieces):
        longer = f"{lines[-1]} {piece}" if lines else piece
        if lines and fits_into(longer, face, room):
            lines[-1] = longer
        elif len(lines) == most:
            lines[-1] = shorten(" ".join([lines[-1], *pieces[place:]]), face, room)
            break
        else:
            lines.append(piece)
    return tuple(shorten(line, face, room) for line in lines)
