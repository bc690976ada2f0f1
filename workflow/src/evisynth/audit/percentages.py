"""Percentages against counts: which integers can print the percentage that is printed."""

from collections.abc import Iterator
from fractions import Fraction

from evisynth.audit.counting import cut, rounded, share
from evisynth.audit.material import Material, StudyMaterial, everywhere, name_of
from evisynth.audit.records import Check, Proportion, Rule
from evisynth.audit.rounding import in_units
from evisynth.printed import Printed, parse_printed

GRIM_PAPER = (
    "Brown & Heathers (2017), Soc Psychol Personal Sci 8(4):363-369, "
    "doi:10.1177/1948550616673876"
)


def _with_percentage(material: Material) -> Iterator[tuple[Proportion, Printed, int]]:
    """Proportions that are counts (a Kaplan-Meier value is none) with a percentage and n."""
    for one in material.proportions:
        possible = one.n is not None and one.n > 0 and (one.events is None or one.events >= 0)
        if one.percent and one.n and possible and one.kind != "km_probability":
            yield one, one.percent, one.n


def _shown(percent: Printed) -> str:
    return percent.text.strip() + ("" if percent.percent else "%")


def _said(percent: Printed, n: int, events: int | None = None) -> str:
    """The print as a reader wants it: ``51.7% of 7``."""
    text = _shown(percent)
    return f"{text} of {n}" if events is None else f"{events} of {n}, {text}"


def _of(k: int, n: int, percent: Printed) -> str:
    return share(k, n, in_units(percent)[1])


def _neighbours(percent: Printed, n: int) -> str:
    """The two counts between which the percentage lies: ``3/7 = 42.9%, 4/7 = 57.1%``."""
    value, decimals = in_units(percent)
    below = min(max(value * n // (100 * 10**decimals), 0), n)
    return ", ".join(_of(k, n, percent) for k in (below, below + 1) if k <= n)


def grim(material: Material) -> Iterator[Check]:
    """Whether any integer count, or the derived one, prints the percentage."""
    for proportion, percent, n in _with_percentage(material):
        if proportion.events is not None and not proportion.derived:
            continue  # a printed count: COUNT-PERCENT
        said = _said(percent, n)
        fits = rounded(percent, n) or cut(percent, n)
        if fits and (proportion.events is None or proportion.events in fits):
            k = fits[0] if proportion.events is None else proportion.events
            coarse = n > 10 ** (in_units(percent)[1] + 2) // 2 and not percent.relation
            yield Check(
                proportion.place,
                "undecided" if coarse else "consistent",
                said,
                _candidates(material, proportion, percent, n) if coarse else _of(k, n, percent),
                "no power at this n: nearly every percentage with these digits is possible"
                if coarse
                else "an integer count prints the percentage",
            )
        elif fits:
            yield Check(
                proportion.place,
                "inconsistent",
                _said(percent, n, proportion.events),
                _of(int(proportion.events or 0), n, percent),
                f"the derived count {proportion.events} does not print the percentage; "
                + f"{_either(list(fits)[:3])} of {n} does",
                "correct the derived count, or the percentage against the report",
            )
        else:
            yield _impossible(material, proportion, percent, n)


def _either(words: list[int]) -> str:
    return " or ".join(map(str, words))


def count_percent(material: Material) -> Iterator[Check]:
    """Whether the printed count of the printed n prints the printed percentage."""
    for proportion, percent, n in _with_percentage(material):
        k = proportion.events
        if k is None or proportion.derived or k > n:
            continue
        if k in rounded(percent, n):
            yield Check(
                proportion.place,
                "consistent",
                _said(percent, n, k),
                _of(k, n, percent),
                "count and percentage agree",
            )
        elif k in cut(percent, n):
            yield Check(
                proportion.place,
                "consistent",
                _said(percent, n, k),
                _of(k, n, percent),
                "they agree if digits were cut off instead of rounded: see TRUNCATED",
            )
        else:
            yield _impossible(material, proportion, percent, n)


def truncated(material: Material) -> Iterator[Check]:
    """Whether a percentage fits only if its digits were cut off."""
    for proportion, percent, n in _with_percentage(material):
        k = proportion.events
        if percent.relation or (k is not None and k > n):
            continue
        rounds, cuts = rounded(percent, n), cut(percent, n)
        if (k in rounds) if k is not None else bool(rounds):
            yield Check(
                proportion.place,
                "consistent",
                _said(percent, n, k),
                _of(rounds[0] if k is None else k, n, percent),
                "rounding explains the percentage",
            )
        elif (k in cuts) if k is not None else bool(cuts):
            yield Check(
                proportion.place,
                "inconsistent",
                _said(percent, n, k),
                _of(cuts[0] if k is None else k, n, percent),
                "the digits were cut off instead of rounded",
                "nothing to do; take the count, not the percentage",
            )


def grim_unique(material: Material) -> Iterator[Check]:
    """Whether exactly one count prints the percentage, so that it may be derived from it."""
    for proportion, percent, n in _with_percentage(material):
        claimed = proportion.derived == "unique_integer"
        if proportion.events is not None and not claimed:
            continue
        fits = rounded(percent, n) or cut(percent, n)
        counts = ", ".join(_of(k, n, percent) for k in fits[:3])
        more = ", ..." if len(fits) > 3 else ""
        if len(fits) == 1 and proportion.events in (None, fits[0]):
            yield Check(
                proportion.place,
                "consistent",
                _said(percent, n),
                counts,
                "exactly one count prints the percentage",
            )
        elif claimed and len(fits) != 1:
            yield Check(
                proportion.place,
                "inconsistent",
                _said(percent, n, proportion.events),
                counts + more if fits else _neighbours(percent, n),
                f"the count is said to be the only one, and {len(fits) or 'none'} can be it",
                "leave `events` empty, or say by what else it was derived",
                "error",
            )
        elif len(fits) > 1:
            yield Check(
                proportion.place,
                "undecided",
                _said(percent, n),
                counts + more,
                f"{len(fits)} counts print the percentage, so none can be derived",
            )


# Why a percentage is not what it should be


def _impossible(material: Material, proportion: Proportion, percent: Printed, n: int) -> Check:
    """No count, or not the printed one, prints the percentage."""
    k = proportion.events
    sums = _explained_by_sum(material, proportion, percent, n)
    if sums:
        return Check(
            proportion.place,
            "inconsistent",
            _said(percent, n, k),
            _neighbours(percent, n) if k is None else _of(k, n, percent),
            f"the percentages were made to add up: {sums}; see SUM-ROUNDED",
            "nothing to do; take the count, not the percentage",
            "note",
        )
    hints = _hints(material, proportion, percent, n)
    what = (
        f"no count out of {n} gives this percentage"
        if k is None or proportion.derived
        else f"{_of(k, n, percent)}, not the printed {_shown(percent)}"
    )
    if not proportion.own_n:
        what += f" ({n} is the size of the arm {proportion.arm})" if proportion.arm else ""
    return Check(
        proportion.place,
        "inconsistent",
        _said(percent, n, k),
        _neighbours(percent, n) if k is None or proportion.derived else _of(k, n, percent),
        what + (f"; {'; '.join(hints)}" if hints else ""),
        "check the percentage, the count and the denominator against the report",
    )


def _candidates(material: Material, proportion: Proportion, percent: Printed, n: int) -> str:
    """Counts that print a percentage without a denominator, of all larger groups."""
    sizes = {n}
    if (
        isinstance(material, StudyMaterial)
        and proportion.events is None
        and not proportion.own_n
    ):
        sizes |= {arm.n for arm in material.study.content.arms if 2 * arm.n > n}
    found = [(m, rounded(percent, m)) for m in sorted(sizes, reverse=True)]
    return ", ".join(_of(counts[0], m, percent) for m, counts in found if counts)


def _hints(material: Material, proportion: Proportion, percent: Printed, n: int) -> list[str]:
    """What would make it fit: another denominator, exchanged in_units, the complement."""
    k, hints = proportion.events, []
    others = [m for m in _other_sizes(material, proportion, n) if _fits(percent, k, m)]
    if others:
        shown = ", ".join(
            _of(k if k is not None else rounded(percent, m)[0], m, percent) for m in others[:3]
        )
        hints.append(f"it would fit n = {_either(others[:3])}: {shown}")
    elif k is not None:
        hints += [
            f"{_of(c, m, percent)} fits"
            for m in (n - 1, n + 1)
            for c in (k - 1, k + 1)
            if 0 <= c <= m > 0 and _fits(percent, c, m)
        ][:1]
    for text in _exchanged(percent):
        swapped = parse_printed(text)
        if _fits(swapped, k, n):
            count = k if k is not None else rounded(swapped, n)[0]
            hints.append(f"with two digits exchanged it is {text}% = {count}/{n}")
            break
    if k is not None and k in rounded(percent, 100):
        hints.append("the count is the percentage itself")
    elif k is not None and n - k in rounded(percent, n):
        hints.append("it is the percentage of the others")
    elif k is not None and not proportion.derived:
        counts = rounded(percent, n)
        if counts:
            hints.append(f"{_of(counts[0], n, percent)} would fit")
    return hints


def _fits(percent: Printed, k: int | None, n: int) -> bool:
    """Whether the count of n prints the percentage; without a count, whether any does.

    Only where the digits tell: with a large n any percentage has a count.
    """
    if k is not None:
        return k <= n and k in rounded(percent, n)
    return n <= 10 ** (in_units(percent)[1] + 2) // 2 and bool(rounded(percent, n))


def _other_sizes(material: Material, proportion: Proportion, n: int) -> list[int]:
    """Other n: of the study, then those one or two from n; the nearest first."""
    known: set[int] = set()
    if isinstance(material, StudyMaterial):
        known = {arm.n for arm in material.study.content.arms}
        known |= {p.n for p in material.proportions if p.n}
    near = {m for m in (n - 1, n + 1, n - 2, n + 2) if m > 0}
    return sorted((known | near) - {n, 0}, key=lambda m: (abs(m - n), m))


def _exchanged(percent: Printed) -> Iterator[str]:
    """The percentage with two neighbouring digits exchanged."""
    value, decimals = in_units(percent)
    text = str(max(value, 0))
    for i in range(len(text) - 1):
        if text[i] != text[i + 1]:
            other = int(text[:i] + text[i + 1] + text[i] + text[i + 2 :])
            if other <= 100 * 10**decimals:
                whole = f"{other:0{decimals + 1}d}"
                yield f"{whole[:-decimals]}.{whole[-decimals:]}" if decimals else whole


def _explained_by_sum(
    material: Material, proportion: Proportion, percent: Printed, n: int
) -> str:
    """``18.2 + 6.1 = 24.3`` where this is one of these and they print a sum; else nothing.

    Rounding each part moves a sum by half a unit per part, so the percentage must be that
    close to a count (the given one, if there is one).
    """
    if not isinstance(material, StudyMaterial):
        return ""
    own = proportion.place.results[0]
    for parts, total in _families(material, proportion.arm):
        members = [*parts, total]
        if own not in [member.place.results[0] for member in members]:
            continue
        printed = [_exact(member) for member in members]
        if None in printed or sum(p for p in printed[:-1] if p) != printed[-1]:
            continue
        value, decimals = in_units(percent)
        k = proportion.events
        counts = [value * n // (100 * 10**decimals)] if k is None else [k]
        counts += [counts[0] + 1] if k is None else []
        away = min(abs(Fraction(100 * c, n) - Fraction(value, 10**decimals)) for c in counts)
        if away <= Fraction(len(parts) + 1, 2 * 10**decimals):
            texts = [_figure(member) for member in members]
            return f"{' + '.join(texts[:-1])} = {texts[-1]}"
    return ""


def _exact(proportion: Proportion) -> Fraction | None:
    if proportion.percent is None:
        return None
    value, decimals = in_units(proportion.percent)
    return Fraction(value, 10**decimals)


def _figure(proportion: Proportion) -> str:
    return proportion.percent.text.strip(" %") if proportion.percent else ""


def _families(
    material: StudyMaterial, arm: str
) -> Iterator[tuple[list[Proportion], Proportion]]:
    """Results of one arm that are parts of another, and that other."""
    by_name = {p.place.results[0]: p for p in material.proportions if p.arm == arm}
    by_outcome = {p.outcome: p for p in reversed(material.proportions) if p.arm == arm}
    for result in material.study.content.results:
        total = by_name.get(name_of(result))
        parts = [by_name.get(part) or by_outcome.get(part) for part in result.parts]
        known = [part for part in parts if part is not None]
        if total is not None and len(known) == len(parts) > 1:
            yield known, total
    for entry in material.study.content.sums:
        total = by_name.get(entry.total or "")
        known = [by_name[part] for part in entry.parts if part in by_name]
        if total is not None and len(known) == len(entry.parts):
            yield known, total


RULES = (
    Rule(
        "GRIM",
        "error",
        "review",
        "No integer count of the group prints the percentage (half-up or half-even), or the "
        "count derived from it does not. Not decided where n exceeds half of the number of "
        "percentages that the digits can tell apart, 10^(d + 2)/2 for d decimals.",
        everywhere(grim),
        GRIM_PAPER,
    ),
    Rule(
        "COUNT-PERCENT",
        "error",
        "review",
        "Count, group size and percentage are all printed and disagree, and neither cut-off "
        "digits nor percentages that were made to add up explain it.",
        everywhere(count_percent),
        GRIM_PAPER,
    ),
    Rule(
        "TRUNCATED",
        "note",
        "review",
        "A percentage fits its count only if digits were cut off instead of rounded.",
        everywhere(truncated),
    ),
    Rule(
        "GRIM-UNIQUE",
        "note",
        "review",
        "A count that is said to be the only one that prints a percentage is not (an error). "
        "Not decided where several counts print it.",
        everywhere(grim_unique),
        GRIM_PAPER,
    ),
)
