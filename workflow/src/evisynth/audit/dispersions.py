"""Means, medians and their spreads: what kind they are, and whether they can be."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from evisynth.audit.material import Material, StudyMaterial, TableMaterial, everywhere, name_of
from evisynth.audit.records import Check, Place, Rule, Summary
from evisynth.audit.rounding import Span, figure, safe_log, span
from evisynth.audit.texts import number_said
from evisynth.conversions.distributions import beta_tails, normal_half_width
from evisynth.printed import Printed
from evisynth.studyfile import Result

# "median 3.4 years (1.3-8.0)": two numbers in brackets without a word for what they are
_UNNAMED = re.compile(
    r"\bmedian\b[^();]*\((?P<inner>\s*\d+(?:\.\d+)?\s*(?:[-–]|to)\s*\d+(?:\.\d+)?\s*\w*)\)",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\b(range|iqr|interquartile|quartiles?|min|max|ci)\b", re.IGNORECASE)
_AT = re.compile(r"_(?P<n>\d+(?:\.\d+)?)(?P<unit>y|yr|m|mo)$")
_WHEN = re.compile(
    r"\b(?P<n>\d+(?:\.\d+)?|one|two|three|four|five|ten)[\s-]*(?P<unit>years?|months?)\b",
    re.IGNORECASE,
)
MONTHS = {"y": 12.0, "m": 1.0}
DIFFERENT = 1.25
LARGEST_SMD = 3.0
# A standard deviation below this share of its siblings', with sqrt(n) explaining it.
SMALL_SHARE = 1 / 3
# How near sd * sqrt(n) must be to its siblings.
NEAR = 1.6
# Robust deviations from the median of the table.
FAR = 3.5
FEWEST_ROWS = 5
# Two equal standard deviations differ that much with this probability.
CHANCE = 0.001
# Rows of one table measure different things: their log(SD) vary by this much at least.
LEAST_SPREAD = 0.15
SMD_MEASURES = frozenset({"SMD", "SMDH", "SMCC", "SMCR"})
TIMES_1_PERCENT = 0.01

TIERNEY = "Tierney et al. (2007), Trials 8:16, doi:10.1186/1745-6215-8-16"
SE_FOR_SD = (
    "Gøtzsche et al. (2007), JAMA 298(4):430-437, doi:10.1001/jama.298.4.430; "
    "Cochrane Handbook, version 6.5 (2024), section 6.5.2.2"
)


def dispersion(material: StudyMaterial) -> Iterator[Check]:
    """Spreads of which nobody says what they are."""
    for one in material.summaries:
        if one.spread is not None:
            low, high = one.spread
            centre = one.median or one.mean
            yield Check(
                one.place,
                "inconsistent",
                f"{centre.text if centre else ''} ({low.text} to {high.text})".strip(),
                "range or interquartile range",
                "range or IQR not stated: the spread cannot be converted",
                "find out from the report or its authors, and write `range` or `iqr`",
            )
        elif one.iqr is not None or one.range is not None or one.sd is not None:
            yield Check(one.place, "consistent", explanation="the spread says what it is")
    population = material.study.content.population
    text = (population.age if population else None) or ""
    found = _UNNAMED.search(text)
    if found and not _NAMED.search(text):
        yield Check(
            material.place("population.age"),
            "inconsistent",
            found.group(0),
            "range or interquartile range",
            "range or IQR not stated: the spread cannot be converted",
            "find out from the report or its authors, and say it in the text",
        )


def median_order(material: StudyMaterial) -> Iterator[Check]:
    """Minimum, quartiles, median and maximum in rising order, over all roundings."""
    for one in material.summaries:
        chain: list[tuple[str, Printed]] = []
        if one.range:
            chain.append(("minimum", one.range[0]))
        if one.iqr:
            chain.append(("lower quartile", one.iqr[0]))
        if one.median:
            chain.append(("median", one.median))
        if one.iqr:
            chain.append(("upper quartile", one.iqr[1]))
        if one.range:
            chain.append(("maximum", one.range[1]))
        if len(chain) < 2:
            continue
        said = ", ".join(f"{name} {printed.text}" for name, printed in chain)
        wrong = _disorder(chain)
        if wrong:
            yield Check(
                one.place,
                "inconsistent",
                said,
                "in rising order",
                wrong,
                "check them against the report; a range may be an interquartile range",
            )
        else:
            yield Check(one.place, "consistent", said, "in rising order", "in order")
        if one.mean and one.range:
            low, high = span(one.range[0]).low, span(one.range[1]).high
            if not (low <= span(one.mean).high and span(one.mean).low <= high):
                yield Check(
                    one.place,
                    "inconsistent",
                    f"mean {one.mean.text}, {said}",
                    "a mean within the range",
                    "the mean lies outside the range",
                    "check them against the report",
                )


def _disorder(chain: Sequence[tuple[str, Printed]]) -> str:
    for i, (name, printed) in enumerate(chain):
        for other, later in chain[i + 1 :]:
            if span(printed).low > span(later).high:
                return f"the {name} {printed.text} is above the {other} {later.text}"
    return ""


# Medians against survival at a time


def median_v_st(material: StudyMaterial) -> Iterator[Check]:
    """Ratio of hazards from two medians against the one from survival at a time."""
    medians = [r for r in material.results.values() if r.kind == "median" and len(r.arms) == 2]
    at_time = [
        r for r in material.results.values() if r.kind == "km_probability" and len(r.arms) == 2
    ]
    for one in medians:
        for other in at_time:
            arms = list(one.arms)
            same = set(arms) == set(other.arms) and _endpoint(one) == _endpoint(other)
            if not same or one.subgroup != other.subgroup:
                continue
            times = [one.arms[arm].median for arm in arms]
            shares = [_survival(material, other, arm) for arm in arms]
            if None in times or "NR" in times or None in shares:
                continue
            yield _exponential(
                material,
                (one, other),
                [float(str(t)) for t in times],
                [s for s in shares if s is not None],
            )


def _endpoint(result: Result) -> str:
    return result.outcome.split("_")[0]


def _survival(material: StudyMaterial, result: Result, arm: str) -> float | None:
    value = result.arms[arm]
    printed = material.proportion(result, arm, value).percent
    if printed is not None:
        share = printed.value / 100
    elif value.estimate is not None:
        share = float(value.estimate)
    else:
        return None
    return share if 0 < share < 1 else None


def _exponential(
    material: StudyMaterial,
    pair: tuple[Result, Result],
    times: Sequence[float],
    shares: Sequence[float],
) -> Check:
    one, other = pair
    arms = list(one.arms)
    if min(times) <= 0:
        return Check(
            material.result_place(one), "undecided", explanation="a median of 0 has no hazard"
        )
    from_medians = times[1] / times[0]
    from_shares = math.log(shares[0]) / math.log(shares[1])
    ratio = max(from_medians, from_shares) / min(from_medians, from_shares)
    said = f"medians {' and '.join(f'{t:g}' for t in times)}" + (
        f" {one.unit}" if one.unit else ""
    )
    said += f"; survival {' and '.join(f'{100 * s:g}%' for s in shares)}"
    text = f"hazard ratio {arms[0]} v {arms[1]}: {from_medians:.2f} and {from_shares:.2f}"
    place = material.place(
        f"results.{name_of(one)}", one.report, (name_of(one), name_of(other))
    )
    at = _months(other)
    if at is not None:
        expected = [100 * 0.5 ** (at / (t * _per_month(one))) for t in times]
        text += "; at that time the medians give " + " and ".join(
            f"{share:.0f}%" for share in expected
        )
    if ratio <= DIFFERENT:
        return Check(place, "consistent", said, text, "within 25% of each other")
    return Check(
        place,
        "inconsistent",
        said,
        text,
        f"with constant hazards the two differ by a factor of {ratio:.2g}",
        "take no hazard ratio from medians or single times; look at the curves",
    )


def _per_month(result: Result) -> float:
    return 12.0 if (result.unit or "").startswith("year") else 1.0


def _months(result: Result) -> float | None:
    found = _AT.search(result.outcome) or _WHEN.search(result.when or "")
    if not found:
        return None
    return number_said(found["n"]) * MONTHS[found["unit"][0].casefold()]


# Standard deviations and standard errors


def sd_se(material: Material) -> Iterator[Check]:
    """Standard deviations that are likely standard errors, and the reverse."""
    if isinstance(material, TableMaterial):
        yield from _sd_se_of_table(material)
        return
    for one in material.summaries:
        check = _within(one)
        if check:
            yield check
    by_result: dict[str, list[Summary]] = {}
    for one in material.summaries:
        by_result.setdefault(one.place.results[0], []).append(one)
    for group in by_result.values():
        known = [one for one in group if one.sd is not None and one.n]
        if len(known) == 2:
            values = [(one.sd.value, one.n) for one in known if one.sd and one.n]
            yield _pair(known[0].place, values, _sds(known), "sd")


def _sds(known: Sequence[Summary]) -> str:
    return " and ".join(f"SD {one.sd.text} of {one.n}" for one in known if one.sd)


def _within(one: Summary) -> Check | None:
    """One arm's standard deviation against its standard error and interval."""
    if one.n is None or one.n < 2 or one.sd is None:
        return None
    sd, root = span(one.sd), math.sqrt(one.n)
    if one.se is not None:
        se = span(one.se)
        said = f"SD {one.sd.text}, SE {one.se.text}, n {one.n}"
        implied = Span(sd.low / root, sd.high / root).widened(TIMES_1_PERCENT)
        text = f"SD/sqrt(n) = {figure((implied.low + implied.high) / 2)}"
        if implied.meets(se):
            return Check(one.place, "consistent", said, text, "SD and SE agree")
        return Check(
            one.place,
            "inconsistent",
            said,
            text,
            "the standard error is not the standard deviation over the root of n",
            "check both against the report, and which is which",
        )
    if one.low is not None and one.high is not None and one.mean is not None:
        z = 2 * normal_half_width(one.ci_level)
        low, high = span(one.low), span(one.high)
        se = Span((high.low - low.high) / z, (high.high - low.low) / z)
        said = f"SD {one.sd.text}, n {one.n}, interval {one.low.text} to {one.high.text}"
        text = f"the interval gives SE {figure(se.middle)}, SD {figure(se.middle * root)}"
        if se.meets(Span(sd.low / root, sd.high / root).widened(0.1)):
            return Check(one.place, "consistent", said, text, "SD and interval agree")
        if one.n >= 5 and se.meets(sd.widened(0.1)):
            return Check(
                one.place,
                "inconsistent",
                said,
                text,
                "the printed SD is the standard error that the interval implies",
                "enter it as `se`, or find the standard deviation in the report",
            )
    return None


def _pair(place: Place, values: Sequence[tuple[float, int]], said: str, what: str) -> Check:
    """Two groups of one comparison: the SD of one may be that of the other over sqrt(n)."""
    (sd1, n1), (sd2, n2) = values
    which = _looks_like_se(sd1, n1, sd2, n2)
    text = f"SD x sqrt(n): {figure(sd1 * math.sqrt(n1))} and {figure(sd2 * math.sqrt(n2))}"
    if which is None:
        return Check(place, "consistent", said, text, "the two spreads are of one kind")
    return Check(
        place,
        "inconsistent",
        said,
        text,
        f"the {what} of group {which} is likely a standard error: times the root of its n it "
        "is near to that of the other group",
        "look up in the report what it is",
    )


def _looks_like_se(sd1: float, n1: float, sd2: float, n2: float) -> int | None:
    """Group whose SD is likely an SE: far below the other's, and near to it times sqrt(n)."""
    if min(sd1, sd2) <= 0 or min(n1, n2) < 2:
        return None
    ratio = sd1 / sd2
    if ratio < SMALL_SHARE and 1 / NEAR < ratio * math.sqrt(n1) < NEAR:
        return 1 if _variance_test(ratio, n1 - 1, n2 - 1) < CHANCE else None
    if 1 / ratio < SMALL_SHARE and 1 / NEAR < math.sqrt(n2) / ratio < NEAR:
        return 2 if _variance_test(1 / ratio, n2 - 1, n1 - 1) < CHANCE else None
    return None


def _variance_test(ratio: float, df1: float, df2: float) -> float:
    """Probability of a ratio of two SDs this small if the variances are equal (F test)."""
    f = ratio * ratio
    x = df1 * f / (df1 * f + df2)
    return beta_tails(df1 / 2, df2 / 2, x, 1 - x)[0]


def _sd_se_of_table(table: TableMaterial) -> Iterator[Check]:
    for group in ("", "1", "2"):
        yield from _against_the_table(table, f"m{group}i", f"sd{group}i", f"n{group}i")
    for line, number, study, found in table.numbered:
        names = ("sd1i", "n1i", "sd2i", "n2i")
        if all(name in found for name in names):
            sd1, n1, sd2, n2 = (found[name] for name in names)
            if min(sd1.value, sd2.value) <= 0 or min(n1.value, n2.value) < 2:
                continue
            place = table.place(line, number, study, "sd1i", "sd2i")
            values = [(sd1.value, int(n1.value)), (sd2.value, int(n2.value))]
            said = f"SD {sd1.text} of {n1.text} and {sd2.text} of {n2.text}"
            yield _pair(place, values, said, "SD")
        for group in ("", "1", "2"):
            keys = [f"{key}{group}i" for key in ("mse", "sd", "n")]
            if all(key in found for key in keys) and found[keys[2]].value > 1:
                yield _se_of_sd(table, (line, number, study), found, keys)


def _se_of_sd(
    table: TableMaterial,
    row: tuple[int, int, str],
    found: Mapping[str, Printed],
    keys: Sequence[str],
) -> Check:
    se, sd, n = (found[key] for key in keys)
    root = math.sqrt(n.value)
    implied = Span(span(sd).low / root, span(sd).high / root).widened(TIMES_1_PERCENT)
    place = table.place(*row, keys[0], keys[1])
    said = f"SD {sd.text}, SE {se.text}, n {n.text}"
    text = f"SD/sqrt(n) = {figure((implied.low + implied.high) / 2)}"
    if implied.meets(span(se)):
        return Check(place, "consistent", said, text, "SD and SE agree")
    return Check(
        place,
        "inconsistent",
        said,
        text,
        "the standard error is not the standard deviation over the root of n",
        "check both against the report, and which is which",
        "error",
    )


def _against_the_table(table: TableMaterial, mean: str, sd: str, size: str) -> Iterator[Check]:
    """Coefficients of variation far from the table's, and in line with sqrt(n) put right."""
    rows = [
        (line, number, study, found)
        for line, number, study, found in table.numbered
        if all(name in found for name in (mean, sd, size))
        and found[mean].value != 0
        and found[sd].value > 0
        and found[size].value > 1
    ]
    if len(rows) < FEWEST_ROWS:
        return
    logs = [safe_log(found[sd].value / abs(found[mean].value)) for *_, found in rows]
    centre, scale = robust(logs)
    for (line, number, study, found), log in zip(rows, logs, strict=True):
        root = 0.5 * math.log(found[size].value)
        low = log < centre - FAR * scale and abs(log + root - centre) < scale
        high = log > centre + FAR * scale and abs(log - root - centre) < scale
        place = table.place(line, number, study, sd)
        said = f"mean {found[mean].text}, SD {found[sd].text}, n {found[size].text}"
        text = (
            f"SD/mean {math.exp(log):.3g}, median of the table {math.exp(centre):.3g}, "
            f"times sqrt(n) {math.exp(log + root):.3g}"
        )
        if (low or high) and abs(log - centre) > -math.log(SMALL_SHARE):
            kind = "standard error" if low else "standard deviation times the root of n"
            yield Check(
                place,
                "inconsistent",
                said,
                text,
                f"the spread is likely a {kind}: far from those of the table, else in line",
                "look up in the report what it is",
            )
        else:
            yield Check(place, "consistent", said, text, "in line with the table")


def robust(values: Sequence[float]) -> tuple[float, float]:
    """Median, and the median absolute deviation as that of a normal distribution."""
    centre = median(values)
    scale = 1.4826 * median(abs(value - centre) for value in values)
    return centre, max(scale, LEAST_SPREAD)


def smd(material: Material) -> Iterator[Check]:
    """Standardised mean differences that are too large to be true."""
    if isinstance(material, StudyMaterial):
        for result in material.results.values():
            found = [
                (float(v.mean), float(v.sd), v.n or material.study.arm(arm).n)
                for arm, v in result.arms.items()
                if v.mean is not None and v.sd is not None
            ]
            if result.kind == "mean" and len(found) == 2:
                place = material.result_place(result)
                (m1, sd1, n1), (m2, sd2, n2) = found
                yield _smd(place, m1 - m2, (sd1, sd2), (n1, n2))
        return
    for line, number, study, row in material.numbered:
        names = ("m1i", "m2i", "sd1i", "sd2i")
        sizes = tuple(row[name].value if name in row else math.inf for name in ("n1i", "n2i"))
        if min(sizes) < 2:
            continue
        if all(name in row for name in names) and "ri" not in row:
            m1, m2, sd1, sd2 = (row[name].value for name in names)
            place = material.place(line, number, study, *names)
            yield _smd(place, m1 - m2, (sd1, sd2), sizes, material.measure)
        elif material.measure in SMD_MEASURES and "yi" in row:
            place = material.place(line, number, study, "yi")
            yield _smd(place, row["yi"].value, (1.0, 1.0), sizes, material.measure)


def _smd(
    place: Place,
    difference: float,
    sds: tuple[float, float],
    sizes: Sequence[float],
    measure: str = "",
) -> Check:
    """Beyond 3 by more than two standard errors: in tiny groups chance makes large ones."""
    pooled = math.sqrt((sds[0] ** 2 + sds[1] ** 2) / 2)
    d = difference / pooled if pooled > 0 else math.copysign(math.inf, difference)
    said = f"difference {difference:.4g}, SD {sds[0]:.4g} and {sds[1]:.4g}"
    text = f"standardised {d:.3g}"
    se = math.sqrt(1 / sizes[0] + 1 / sizes[1] + d * d / (2 * sum(sizes)))
    if difference == 0 or abs(d) - 2 * se <= LARGEST_SMD:
        return Check(place, "consistent", said, text, "within the usual")
    return Check(
        place,
        "inconsistent",
        said,
        text,
        "a standardised mean difference above 3: the SDs may be standard errors",
        "look up in the report what the spreads are, and check the means",
        None if measure in ("", *SMD_MEASURES) else "note",
    )


RULES = (
    Rule(
        "DISPERSION",
        "note",
        "study",
        "An interval after a mean or median of which the report does not say whether it is a "
        "range or an interquartile range.",
        dispersion,
    ),
    Rule(
        "MEDIAN-IQR",
        "error",
        "study",
        "Minimum, quartiles, median and maximum are not in rising order, or a mean lies "
        "outside its range.",
        median_order,
    ),
    Rule(
        "MEDIAN-V-ST",
        "warning",
        "study",
        "Under constant hazards the hazard ratio from the two medians and the one from "
        "survival at a time, ln S1/ln S2, differ by more than 25 %.",
        median_v_st,
        TIERNEY,
    ),
    Rule(
        "SD-SE",
        "warning",
        "review",
        "A standard deviation is likely a standard error (or the reverse): it contradicts the "
        "printed SE or interval (an error in tables), or it is less than a third of that of "
        "its siblings and near to theirs when multiplied by the root of n.",
        everywhere(sd_se),
        SE_FOR_SD,
    ),
    Rule(
        "SMD",
        "warning",
        "review",
        "A standardised mean difference is above 3 by more than two of its standard errors (a "
        "note where the analysis takes another measure): standard errors entered as standard "
        "deviations make such differences.",
        everywhere(smd),
        SE_FOR_SD,
    ),
)
