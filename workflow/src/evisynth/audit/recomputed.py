"""Numbers of a row that follow from its other numbers: recomputed, and compared."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from evisynth.audit.expected import SAME, SCALES, SOURCES, Expected, Row
from evisynth.audit.material import LOG_MEASURES, TableMaterial, level_of
from evisynth.audit.proportions import methods_that_print
from evisynth.audit.records import Check, Level, Rule
from evisynth.audit.rounding import SLACK, Span, figure, span
from evisynth.conversions.distributions import normal_half_width, t_half_width
from evisynth.printed import Printed, parse_printed

LEVELS = (0.90, 0.95, 0.99)
# Share of a table's rows that a formula must reproduce to be the table's.
MAJORITY = 0.6
FEWEST = 3
# Of rows whose groups add to the total; elsewhere the total is of all who were randomised.
MOST = 0.8
# Beyond this ratio a standard error is not that of another formula or of an adjusted effect.
GROSS_SE = 1.5
# Exact and profile intervals of few events, and t intervals of tiny groups, stay below it.
GROSS_WIDTH = 2.0
# Standard errors, and of ratios the logarithm, by which an adjusted effect may be away.
GROSS_EFFECT = 3.0
GROSS_LOG = math.log(2)
# Below it exact and profile intervals are those of Wald within the next ratio; z of 90, 95 and
# 99 % differ by more.
NORMAL_SE = 0.2
OTHER_LEVEL = 1.1
# Share of a number that its rounding may be if it is to look like a tenth of another.
COARSE = 0.2
ABSOLUTE = 1e-9
# Share that a ratio with two decimals moves if it is rounded before it is inverted.
TWICE = 0.01


@dataclass(frozen=True, slots=True)
class Claim:
    """A printed effect or standard error.

    Attributes
    ----------
    fields : columns that print it.
    kind : ``effect`` (on the analysis scale), ``display``, ``se``, ``variance``, ``interval``.
    only : measure that it is of; empty for that of the table.
    """

    fields: tuple[str, ...]
    kind: str
    only: str = ""


CLAIMS = (
    Claim(("yi",), "effect"),
    Claim(("estimate",), "display"),
    Claim(("sei",), "se"),
    Claim(("vi",), "variance"),
    Claim(("ci_low", "ci_high"), "interval"),
    Claim(("ori",), "display", "OR"),
    Claim(("or_lowi", "or_highi"), "interval", "OR"),
    Claim(("rri",), "display", "RR"),
    Claim(("rr_lowi", "rr_highi"), "interval", "RR"),
    Claim(("rdi",), "display", "RD"),
    Claim(("rd_lowi", "rd_highi"), "interval", "RD"),
    Claim(("mdi",), "display", "MD"),
    Claim(("md_sei",), "se", "MD"),
    Claim(("md_lowi", "md_highi"), "interval", "MD"),
)


def _scale(measure: str, value: float) -> float:
    return SCALES[measure](value) if measure in SCALES else value


def claimed(claim: Claim, row: Row, measure: str, level: float) -> Span | None:
    """What a claim says on the analysis scale of `measure`: an effect or a standard error."""
    first = span(row[claim.fields[0]])
    if claim.kind in ("effect", "se"):
        return first
    if claim.kind == "variance":
        return first.through(lambda x: math.sqrt(max(x, 0.0)))
    if claim.kind == "display":
        return first.through(lambda x: _scale(measure, x))
    last = span(row[claim.fields[1]])
    low, high = (s.through(lambda x: _scale(measure, x)) for s in (first, last))
    z = 2 * normal_half_width(level)
    return Span(high.low - low.high, high.high - low.low).through(lambda x: x / z)


def fits(claim: Claim, said: Span, one: Expected, level: float) -> bool:
    """Whether a variant gives what is printed, within the rounding of all that goes in."""
    if claim.kind in ("effect", "display"):
        return said.holds(one.value, one.slack + ABSOLUTE + 1e-6 * abs(one.value))
    share = SLACK + one.se_slack
    ses = list(one.ses)
    if claim.kind == "interval" and one.df > 0:
        wider = t_half_width(level, one.df) / normal_half_width(level)
        ses += [wider * se for se in one.ses]
    return any(said.holds(se, share * se + ABSOLUTE) for se in ses)


def _any_fits(
    claim: Claim, row: Row, measure: str, level: float, variants: Sequence[Expected]
) -> bool:
    said = claimed(claim, row, measure, level)
    return said is not None and any(fits(claim, said, one, level) for one in variants)


def recomputed(table: TableMaterial) -> Iterator[Check]:
    """Effects and standard errors against counts and means, and against each other."""
    names = {name for *_, found in table.numbered for name in found}
    if not names & {field for claim in CLAIMS for field in claim.fields}:
        return
    yield from _against_sources(table)
    yield from _against_each_other(table)


# Against counts, means, correlations


def _against_sources(table: TableMaterial) -> Iterator[Check]:
    every = [
        {name: found for name, source in SOURCES.items() if (found := tuple(source(row)))}
        for *_, row in table.numbered
    ]
    if not any(every):
        return
    for claim in CLAIMS:
        rows = [
            (entry, sources)
            for entry, sources in zip(table.numbered, every, strict=True)
            if sources and all(field in entry[3] for field in claim.fields)
        ]
        if not rows:
            continue
        measures, share = _measures(claim, table.measure, rows)
        own = SAME.get(table.measure, table.measure)
        sure = share >= MAJORITY and len(rows) >= FEWEST
        if not measures or (not sure and claim.only == "" and own not in measures):
            continue
        for entry, sources in rows:
            known = [m for m in measures if m in sources]
            if known:
                yield from _one(table, claim, entry, known, sources, sure)


Entry = tuple[int, int, str, Mapping[str, Printed]]
Sources = Mapping[str, tuple[Expected, ...]]


def _measures(
    claim: Claim, measure: str, rows: Sequence[tuple[Entry, Sources]]
) -> tuple[list[str], float]:
    """Measures that a claim may be of, and the share of rows that one of them reproduces."""
    measure = claim.only or SAME.get(measure, measure)
    candidates = [measure] if measure in SOURCES else list(SOURCES)
    shares = {}
    for name in candidates:
        given = [(entry[3], sources[name]) for entry, sources in rows if name in sources]
        if given:
            right = sum(_any_fits(claim, row, name, level_of(row), v) for row, v in given)
            shares[name] = right / len(given)
    if not shares:
        return [], 0.0
    best = max(shares, key=lambda name: shares[name])
    return [best], shares[best]


def _one(
    table: TableMaterial,
    claim: Claim,
    entry: Entry,
    measures: Sequence[str],
    sources: Sources,
    sure: bool,
) -> Iterator[Check]:
    line, number, study, row = entry
    level = level_of(row)
    place = table.place(line, number, study, *claim.fields)
    measure = measures[0]
    variants = sources[measure]
    is_effect = claim.kind in ("effect", "display")
    said = ", ".join(f"{field} {row[field].text}" for field in claim.fields)
    text = _text(claim, measure, variants[0], level)
    if _any_fits(claim, row, measure, level, variants) or _is_of_counts(
        claim, row, measure, level
    ):
        yield Check(place, "consistent", said, text, "follows from the row's other numbers")
        return
    strong = _strong_hint(claim, row, measure, level, variants)
    hint = strong or _weak_hint(claim, row, measure, level, sources)
    gross = _gross(claim, row, measure, level, variants)
    gravity: Level = "error" if gross and (sure or strong) else "warning"
    if is_effect and strong and _away(claim, row, measure, level, variants) > 1:
        gravity = "error"
    if not is_effect and sure and _is_crude(claim, row, measure, level, variants):
        gravity = "error"
    if not is_effect and not sure and not strong and not gross:
        yield Check(
            place,
            "undecided",
            said,
            text,
            "not by the usual formula, and near to it: it may be exact or adjusted",
        )
        return
    yield Check(
        place,
        "inconsistent",
        said,
        text,
        "the row's other numbers give another value"
        + (f"; {hint}" if hint else "" if gravity == "error" else "; it may be adjusted"),
        "check all numbers of the row against the report",
        None if gravity == "error" else gravity,
    )


def _gross(
    claim: Claim, row: Row, measure: str, level: float, variants: Sequence[Expected]
) -> bool:
    """Whether it is too far away for another formula or an adjusted analysis."""
    said = claimed(claim, row, measure, level)
    if said is None:
        return False
    if claim.kind in ("effect", "display"):
        least = GROSS_LOG if measure in LOG_MEASURES else 0.0
        return _away(claim, row, measure, level, variants, least) > GROSS_EFFECT
    most = GROSS_WIDTH if claim.kind == "interval" else GROSS_SE
    ses = [
        se * (t_half_width(level, one.df) / normal_half_width(level) if wider and one.df else 1)
        for one in variants
        for se in one.ses
        for wider in (False, claim.kind == "interval")
        if se > 0
    ]
    return all(said.low > most * se or said.high < se / most for se in ses)


def _is_crude(
    claim: Claim, row: Row, measure: str, level: float, variants: Sequence[Expected]
) -> bool:
    """Whether the effect beside it is unadjusted, of so many that all methods nearly agree."""
    beside = [
        other
        for other in CLAIMS
        if other.kind in ("effect", "display")
        and other.only == claim.only
        and other.fields[0] in row
    ]
    said = claimed(claim, row, measure, level)
    ses = [se for one in variants for se in one.ses]
    return (
        bool(beside)
        and said is not None
        and all(one.df == 0 for one in variants)  # baselines adjust means, and hardly move them
        and all(
            0 < se < NORMAL_SE and (said.low > OTHER_LEVEL * se or said.high < se / OTHER_LEVEL)
            for se in ses
        )
        and all(_any_fits(other, row, measure, level, variants) for other in beside)
    )


def _away(
    claim: Claim,
    row: Row,
    measure: str,
    level: float,
    variants: Sequence[Expected],
    least: float = 0.0,
) -> float:
    """Standard errors from the nearest variant to an effect; 0 if not even `least` away."""
    said = claimed(claim, row, measure, level)
    if said is None:
        return 0.0
    found = []
    for one in variants:
        gap = max(said.low - one.value, one.value - said.high, 0.0)
        found.append(gap / max(one.ses) if gap > least and max(one.ses) > 0 else 0.0)
    return min(found, default=0.0)


def _is_of_counts(claim: Claim, row: Row, measure: str, level: float) -> bool:
    """Whether it is the proportion itself, or a usual interval of it (Wilson, exact, ...)."""
    if claim.kind not in ("display", "interval") or measure not in ("PR", "PLO", "PAS"):
        return False
    k, n = int(row["xi"].value), int(row["ni"].value)
    first, last = span(row[claim.fields[0]]), span(row[claim.fields[-1]])
    if claim.kind == "display":
        return first.holds(k / n, ABSOLUTE)
    bounds = [Span(100 * bound.low, 100 * bound.high) for bound in (first, last)]
    return bool(methods_that_print(bounds[0], bounds[1], k, n, level))


def _text(claim: Claim, measure: str, one: Expected, level: float) -> str:
    back = measure in SCALES and SCALES[measure](1.0) == 0.0 and measure != "ZCOR"
    if claim.kind == "display":
        return f"{measure} {figure(math.exp(one.value) if back else one.value)}"
    if claim.kind == "effect":
        return f"{'log ' if back else ''}{measure} {figure(one.value, 4)}"
    se = one.ses[0]
    if claim.kind == "variance":
        return f"variance {figure(se * se, 4)}"
    if claim.kind == "se":
        return f"standard error {figure(se, 4)}"
    z = normal_half_width(level)
    ends = (one.value - z * se, one.value + z * se)
    low, high = (math.exp(x) if back else x for x in ends)
    return f"{figure(low)} to {figure(high)}"


def _strong_hint(
    claim: Claim, row: Row, measure: str, level: float, variants: Sequence[Expected]
) -> str:
    """A mistake in the claim itself that would explain it; empty if none does."""
    if claim.kind in ("effect", "display"):
        return _hint_of_effect(claim, span(row[claim.fields[0]]), measure, variants)
    return _hint_of_se(claim, row, measure, level, variants)


def _weak_hint(claim: Claim, row: Row, measure: str, level: float, sources: Sources) -> str:
    """A mistake in one of the other numbers, of which there are many, so that one may fit."""
    for field, other, why in alterations(row):
        found = tuple(SOURCES[measure]({**row, field: other}))
        if _any_fits(claim, row, measure, level, found):
            return f"it fits {field} = {other.text} ({why})"
    for name, others in sources.items():
        if name != measure and claim.only == "" and _any_fits(claim, row, name, level, others):
            return f"it is the {name}"
    return ""


def _hint_of_effect(claim: Claim, raw: Span, measure: str, variants: Sequence[Expected]) -> str:
    scaled = raw if claim.kind == "effect" else raw.through(lambda x: _scale(measure, x))
    ratio = measure in LOG_MEASURES
    for one in variants:
        slack = one.slack + ABSOLUTE + 1e-6 * abs(one.value)
        # rounded, inverted and rounded again
        twice = slack + (TWICE if ratio and claim.kind == "display" else 0.0)
        if abs(one.value) > 2 * twice and scaled.holds(-one.value, twice):
            return "it is that of the inverted contrast: numerator and denominator, or the arms"
        if ratio and claim.kind == "effect" and raw.holds(_exp(one.value), slack):
            return "its logarithm was not taken"
        if ratio and claim.kind == "effect" and raw.holds(one.value / math.log(10), slack):
            return "it is a decimal logarithm"
        if ratio and claim.kind == "display" and raw.holds(one.value, slack):
            return "it is the logarithm"
        shown = one.value if claim.kind == "effect" or not ratio else _exp(one.value)
        for factor in (10.0, 0.1, 100.0, 0.01):
            fine = raw.high - raw.low < COARSE * abs(shown * factor)
            if fine and raw.holds(shown * factor, slack * factor):
                return f"it is {factor:g} times that: a displaced decimal point, or per cent"
    return ""


def _exp(x: float) -> float:
    return math.exp(min(x, 700.0))


def _hint_of_se(
    claim: Claim, row: Row, measure: str, level: float, variants: Sequence[Expected]
) -> str:
    if claim.kind == "interval":
        for other in LEVELS:
            if other != level and _any_fits(claim, row, measure, other, variants):
                return f"it is a {100 * other:g}% interval"
    said = claimed(claim, row, measure, level)
    if said is None:
        return ""
    sizes = [row[name].value for name in ("ni", "n1i", "n2i") if name in row]
    total = row["n1i"].value + row["n2i"].value if {"n1i", "n2i"} <= row.keys() else 0.0
    for se in {se for one in variants for se in one.ses}:
        slack = SLACK * se + ABSOLUTE
        for size in (*sizes, total):
            if size > 1 and said.holds(se * math.sqrt(size), slack * math.sqrt(size)):
                return "it is a standard deviation"
        if said.holds(se * se, slack):
            return "it is the variance, not the standard error"
        if claim.kind == "variance" and said.holds(math.sqrt(se), slack):
            return "it is the standard error, not the variance"
        for factor in (10.0, 0.1):
            if said.holds(se * factor, slack * factor):
                return f"it is {factor:g} times that: a displaced decimal point"
    return ""


def alterations(row: Row) -> Iterator[tuple[str, Printed, str]]:
    """Single inputs as one mistake might have left them: ``(field, other value, mistake)``."""
    for events, others, total in (
        ("ai", "bi", "n1i"),
        ("ci", "di", "n2i"),
        ("xi", "", "ni"),
    ):
        if events in row and total in row:
            k, n = row[events].value, row[total].value
            yield events, _number(n - k), "those without the event"
            yield events, _number(round(k * n / 100)), "a percentage stands there"
        if events in row and others in row:
            yield events, row[others], "those without the event"
    for sd, size in (("sd1i", "n1i"), ("sd2i", "n2i"), ("sdi", "ni")):
        if sd in row and size in row and row[size].value > 1:
            root = math.sqrt(row[size].value)
            yield sd, _like(row[sd], row[sd].value * root), "a standard error stands there"
            yield sd, _like(row[sd], row[sd].value / root), "SD times the root of n"
    fields = ("ai", "bi", "ci", "di", "xi", "n1i", "n2i", "ni", "x1i", "x2i",
              "m1i", "m2i", "mi", "sd1i", "sd2i", "sdi", "ri")  # fmt: skip
    for field in fields:
        if field in row:
            for text, why in _misprints(row[field].text.strip()):
                yield field, parse_printed(text), why


def _number(value: float) -> Printed:
    return parse_printed(f"{value:.15g}")


def _like(printed: Printed, value: float) -> Printed:
    """Value with as many significant digits as `printed` has."""
    figures = len(printed.text.strip(" -+.0").replace(".", "")) or 1
    return parse_printed(f"{value:.{max(figures, 2)}g}")


@lru_cache(maxsize=4096)
def _misprints(text: str) -> tuple[tuple[str, str], ...]:
    """A number with neighbouring digits exchanged, its point displaced or its sign changed."""
    found = []
    digits = [i for i, sign in enumerate(text) if sign.isdigit()]
    for i, j in pairwise(digits):
        if text[i] != text[j]:
            sign = list(text)
            sign[i], sign[j] = sign[j], sign[i]
            found.append(("".join(sign), "two digits exchanged"))
    value = float(text.translate(str.maketrans("−–·", "--.")).strip("<>=%"))
    for factor in (10, 0.1):
        if value and (value * factor == int(value * factor) or "." in text):
            found.append((f"{value * factor:.12g}", "a factor of ten"))
    if "." in text or text.startswith(("-", "−")):
        found.append((f"{-value:.12g}", "the other sign"))
    return tuple(found)


# Against each other


def _against_each_other(table: TableMaterial) -> Iterator[Check]:
    """`vi` and `sei`, `yi` and `estimate`, the interval and both."""
    yield from _variances(table)
    yield from _two_scales(table)
    yield from _intervals(table)
    yield from _sizes(table)


def _variances(table: TableMaterial) -> Iterator[Check]:
    for line, number, study, row in table.numbered:
        if "vi" in row and "sei" in row:
            vi, sei = span(row["vi"]), span(row["sei"])
            square = Span(max(sei.low, 0.0) ** 2, sei.high**2).widened(SLACK)
            place = table.place(line, number, study, "vi", "sei")
            said = f"vi {row['vi'].text}, sei {row['sei'].text}"
            text = f"sei squared {figure(row['sei'].value ** 2, 4)}"
            if square.meets(vi):
                yield Check(place, "consistent", said, text, "they agree")
            else:
                equal = row["vi"].value == row["sei"].value
                yield Check(
                    place,
                    "inconsistent",
                    said,
                    text,
                    "the variance is not the square of the standard error"
                    + ("; one column stands for both" if equal else ""),
                    "check both against the report",
                )


_TWO_SCALES = ("log", "identity", "logit", "atanh")
_OF_SCALE = {"log": "OR", "identity": "MD", "logit": "PLO", "atanh": "ZCOR"}


def _own_scale(measure: str) -> str:
    """Scale of a measure's `estimate`; empty where the measure does not tell."""
    if measure in ("", "GEN"):
        return ""
    if measure in LOG_MEASURES or measure in ("MED", "IRLN", "MNLN", "PLN"):
        return "log"
    return {"PLO": "logit", "SLO": "logit", "ZCOR": "atanh"}.get(measure, "identity")


def _two_scales(table: TableMaterial) -> Iterator[Check]:
    """`yi` is `estimate` on the analysis scale."""
    rows = [entry for entry in table.numbered if {"yi", "estimate"} <= entry[3].keys()]
    own = _own_scale(table.measure)

    def same(row: Row, scale: str) -> bool:
        shown = span(row["estimate"]).through(lambda x: _scale(_OF_SCALE[scale], x))
        return shown.meets(span(row["yi"]).widened(1e-6))

    right = {s: sum(same(e[3], s) for e in rows) for s in ([own] if own else _TWO_SCALES)}
    if not rows:
        return
    scale = max(right, key=lambda s: right[s])
    sure = right[scale] >= MAJORITY * len(rows) and len(rows) >= FEWEST
    if not own and not sure:
        return
    for line, number, study, row in rows:
        place = table.place(line, number, study, "yi", "estimate")
        said = f"yi {row['yi'].text}, estimate {row['estimate'].text}"
        shown = _scale(_OF_SCALE[scale], row["estimate"].value)
        text = f"{scale} of the estimate {figure(shown, 4)}"
        if same(row, scale):
            yield Check(place, "consistent", said, text, "they agree")
            continue
        hint = ""
        yi = span(row["yi"]).widened(1e-6)
        if scale == "log" and yi.meets(span(row["estimate"])):
            hint = "; the logarithm was not taken"
        elif yi.meets(Span(-shown, -shown).widened(0.01)):
            hint = "; one of them has the other sign: the contrast is inverted"
        yield Check(
            place,
            "inconsistent",
            said,
            text,
            f"the two are not the same effect{hint}",
            "check both against the report",
        )


def _intervals(table: TableMaterial) -> Iterator[Check]:
    """The interval has `yi` in its middle, and the width that `sei` or `vi` gives it."""
    rows = [
        entry
        for entry in table.numbered
        if {"ci_low", "ci_high"} <= entry[3].keys()
        and entry[3].keys() & {"yi", "sei", "vi"}
        and entry[3]["ci_low"].value < entry[3]["ci_high"].value
    ]
    if not rows:
        return

    def right(row: Row, scale: str, level: float) -> bool:
        low, high = (
            span(row[name]).through(lambda x: _scale(_OF_SCALE[scale], x))
            for name in ("ci_low", "ci_high")
        )
        good = True
        if "yi" in row and "estimate" not in row:  # else GEO-MID and the check above
            middle = Span((low.low + high.low) / 2, (low.high + high.high) / 2)
            # yi may come from an estimate with no more digits than the bounds have
            noise = SLACK * (high.middle - low.middle) + (high.high - high.low) / 2
            good = Span(middle.low - noise, middle.high + noise).meets(span(row["yi"]))
        se = span(row["sei"]) if "sei" in row else None
        if se is None and "vi" in row:
            se = span(row["vi"]).through(_root)
        if good and se is not None:
            z = 2 * normal_half_width(level)
            width = Span((high.low - low.high) / z, (high.high - low.low) / z)
            good = width.meets(se.widened(SLACK))
        return good

    own = _own_scale(table.measure)
    scales = [own, "identity"] if own == "log" and "estimate" not in rows[0][3] else [own]
    shares = {
        s: sum(right(e[3], s, level_of(e[3])) for e in rows) / len(rows)
        for s in (scales if own else _TWO_SCALES)
    }
    scale = max(shares, key=lambda s: shares[s])
    sure = shares[scale] >= MAJORITY and len(rows) >= FEWEST
    for line, number, study, row in rows:
        place = table.place(line, number, study, "ci_low", "ci_high")
        level = level_of(row)
        said = f"{row['ci_low'].text} to {row['ci_high'].text}"
        others = ", ".join(f"{k} {row[k].text}" for k in ("yi", "sei", "vi") if k in row)
        if right(row, scale, level):
            yield Check(place, "consistent", said, others, "they agree")
            continue
        other = next((x for x in LEVELS if x != level and right(row, scale, x)), None)
        if not sure and other is None:
            continue
        yield Check(
            place,
            "inconsistent",
            said,
            others,
            "the interval is not that of the effect and its standard error"
            + (f"; it is a {100 * other:g}% interval" if other else ""),
            "check all of them against the report",
            None if _far_apart(row, scale, level) else "warning",
        )


def _far_apart(row: Row, scale: str, level: float) -> bool:
    """Whether the interval is of another width than `sei` by more than t or profile make it."""
    if not row.keys() & {"sei", "vi"}:
        return False
    se = span(row["sei"]) if "sei" in row else span(row["vi"]).through(_root)
    low, high = (
        span(row[name]).through(lambda x: _scale(_OF_SCALE[scale], x))
        for name in ("ci_low", "ci_high")
    )
    z = 2 * normal_half_width(level)
    return (high.low - low.high) / z > GROSS_WIDTH * se.high or (
        high.high - low.low
    ) / z < se.low / GROSS_WIDTH


def _root(x: float) -> float:
    return math.sqrt(max(x, 0.0))


def _sizes(table: TableMaterial) -> Iterator[Check]:
    """`ni` is the sum of the groups, where it is in nearly all rows."""
    rows = [e for e in table.numbered if {"ni", "n1i", "n2i"} <= e[3].keys()]
    right = [e[3]["ni"].value == e[3]["n1i"].value + e[3]["n2i"].value for e in rows]
    if len(rows) < FEWEST or sum(right) < MOST * len(rows):
        return
    for (line, number, study, row), good in zip(rows, right, strict=True):
        total = row["n1i"].value + row["n2i"].value
        yield Check(
            table.place(line, number, study, "ni"),
            "consistent" if good else "inconsistent",
            f"ni {row['ni'].text}, n1i {row['n1i'].text}, n2i {row['n2i'].text}",
            f"n1i + n2i = {total:g}",
            "they agree" if good else "the groups do not add to the total, as in other rows",
            ""
            if good
            else "check all three; those who were not evaluated may be the difference",
            None if good else "warning",
        )


RULES = (
    Rule(
        "RECOMPUTED",
        "error",
        "table",
        "An effect, its standard error or its interval is not what the row's own counts, means "
        "or other columns give, by any formula in use and over all corners of rounding. A "
        "warning where an adjusted analysis, an exact, profile or t interval may explain it: "
        "an effect within 3 standard errors (of ratios, of 2) unless it is inverted, its "
        "logarithm was not taken or its point is displaced; a standard error within a factor "
        "of 1.5, an interval of 2, or both of 1.1 beside an unadjusted effect of many "
        "events.",
        recomputed,
        "Xu et al. (2022), BMJ 377:e069155, doi:10.1136/bmj-2021-069155; Cochrane Handbook, "
        "version 6.5 (2024), chapters 6 and 10",
    ),
)
