"""Which counts a printed percentage allows, in integers; words for them."""

from collections.abc import Iterable, Sequence

from evisynth.audit.records import Proportion
from evisynth.audit.rounding import in_units
from evisynth.printed import Printed


def rounded(percent: Printed, n: int) -> range:
    """Counts of `n` that print `percent`, halves rounded either way.

    The count k is in when ``|100 k / n - percent| <= 0.5 * 10**-decimals``: the GRIM test of
    Brown and Heathers 2017 (Soc Psychol Personal Sci 8:363) for percentages. Of a bound such
    as ``<5%`` all counts within it.

    >>> from evisynth.printed import parse_printed
    >>> rounded(parse_printed("51.7%"), 7), rounded(parse_printed("57%"), 7)
    (range(4, 4), range(4, 5))
    """
    if n <= 0:
        return range(0)
    value, decimals = in_units(percent)
    scale = 200 * 10**decimals
    least, most = (2 * value - 1) * n, (2 * value + 1) * n
    if percent.relation in ("<", "≤"):
        least, most = 0, 2 * value * n - (percent.relation == "<")
    elif percent.relation in (">", "≥"):
        least, most = 2 * value * n + (percent.relation == ">"), scale * n
    return _between(-(-least // scale), most // scale, n)


def cut(percent: Printed, n: int) -> range:
    """Counts of `n` that print `percent` if digits are cut off instead of rounded."""
    if n <= 0:
        return range(0)
    value, decimals = in_units(percent)
    scale = 100 * 10**decimals
    return _between(-(-value * n // scale), -(-(value + 1) * n // scale) - 1, n)


def _between(first: int, last: int, n: int) -> range:
    first, last = max(0, first), min(n, last)
    return range(first, max(last + 1, first))


def usable(percent: Printed | None) -> bool:
    """Whether it is a number of its own, no bound such as ``<5%``."""
    return percent is not None and percent.relation in ("", "=")


def candidates(value: Proportion) -> range | None:
    """Counts that a proportion allows; None if it says nothing about them.

    A printed count is itself. A percentage allows the counts that round to it, or where there
    are none those that print it cut off; an empty range is an impossible percentage.
    """
    if value.events is not None and not value.derived:
        return range(value.events, value.events + 1)
    if value.percent is None or not usable(value.percent) or value.n is None:
        return None
    return rounded(value.percent, value.n) or cut(value.percent, value.n)


def chance(percent: Printed, n: int) -> float:
    """Share of all percentages with these decimals that some count of `n` prints.

    How often a percentage that is no count at all would pass for one.
    """
    return min(1.0, (n + 1) / (100 * 10.0**percent.decimals + 1))


def share(events: int, n: int, decimals: int = 1) -> str:
    """``4/7 = 57.1%``, halves rounded up."""
    if not n:
        return f"{events}/0"
    scale = 10 ** max(decimals, 0)
    units = (200 * events * scale + n) // (2 * n)
    rest = f".{units % scale:0{decimals}d}" if decimals > 0 else ""
    return f"{events}/{n} = {units // scale}{rest}%"


def percent_text(percent: Printed) -> str:
    """The percentage as printed, with its sign."""
    text = percent.text.strip()
    return text if percent.percent else f"{text}%"


def digits(value: Printed) -> int:
    """Significant digits of a printed number: 0.034 has two, 10 has one, 0 has none."""
    mantissa = "".join(c for c in value.text.lower().split("e")[0] if c.isdigit() or c == ".")
    whole, point, rest = mantissa.partition(".")
    found = (whole + rest).lstrip("0")
    return len(found if point else found.rstrip("0"))


def listed(words: Iterable[object], last: str = "and", most: int = 8) -> str:
    """``a, b and c``; beyond `most` only how many more there are."""
    texts = [str(word) for word in words]
    if len(texts) > most:
        return ", ".join(texts[:most]) + f" {last} {len(texts) - most} more"
    if len(texts) < 2:
        return "".join(texts)
    return ", ".join(texts[:-1]) + f" {last} {texts[-1]}"


def folded(text: str | None) -> str:
    """Text with white space and case folded, to compare labels."""
    return " ".join((text or "").casefold().split())


def spread(values: Sequence[int]) -> str:
    """``3``, ``3 and 4`` or ``3 to 9`` for sorted counts."""
    if len(values) <= 4:
        return listed(values, "or")
    return f"{values[0]} to {values[-1]}"
