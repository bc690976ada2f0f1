"""All conversions by name: what each needs and gives, its formula, source and limits.

Fields are named as for one group (`mi`, `sdi`, `ni`, `mini`, ...). For two groups the number of
the group comes before the last letter (`m1i`, `sd2i`, `n1i`, `min2i`); events `xi` are `ai` in
group 1 and `ci` in group 2.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from evisynth.conversions import counts, effects, spreads, summaries
from evisynth.conversions.derived import Derived, Numbers, refused
from evisynth.conversions.summaries import Summary
from evisynth.printed import parse_printed

Scope = Literal["group", "study"]
Texts = Mapping[str, str]
Derive = Callable[[Numbers, Texts], Derived]

DEFAULT_LEVEL = 0.95
# Of a summary's largest to its smallest positive value; beyond it a unit must be wrong.
WIDEST = 1e12
HANDBOOK = "Cochrane Handbook"
HANDBOOK_FULL = (
    "Higgins et al., Cochrane Handbook for Systematic Reviews of Interventions, "
    "version 6.5 (2024)"
)
CHINN = (
    "Chinn (2000), Stat Med 19(22):3127-3131, "
    "doi:10.1002/1097-0258(20001130)19:22<3127::AID-SIM784>3.0.CO;2-M"
)
WAN_FULL = "Wan et al. (2014), BMC Med Res Methodol 14:135, doi:10.1186/1471-2288-14-135"
MCGRATH_FULL = (
    "McGrath et al. (2020), Stat Methods Med Res 29(9):2520-2537, doi:10.1177/0962280219889080"
)
SUMMARY_FULL = (
    "Luo et al. (2018), Stat Methods Med Res 27(6):1785-1805, doi:10.1177/0962280216669183; "
    f"{WAN_FULL}; Shi et al. (2020), Res Synth Methods 11(5):641-654, doi:10.1002/jrsm.1429; "
    "skewness: Shi et al. (2023), Stat Methods Med Res 32(7):1338-1360, "
    "doi:10.1177/09622802231172043"
)


@dataclass(frozen=True, slots=True)
class Conversion:
    """A way to derive numbers that a study does not report.

    Attributes
    ----------
    key, label : name in the configuration; name to print.
    choice : what it is a method for; methods of one choice exclude each other.
    default : whether it is used where no method is chosen. A choice without a default is made
        by the user or not at all, since the numbers alone do not tell which is right.
    scope : ``group`` (fields named as for one group) or ``study``.
    needs : sets of fields, any of which is enough; the first complete one is used.
    gives : fields that can be derived; those that are reported already stay as they are.
    formula, citation, limits : formula; source with DOI; when it is wrong.
    derive : from numbers, and their text as printed where that is known.
    """

    key: str
    label: str
    choice: str
    default: bool
    scope: Scope
    needs: tuple[tuple[str, ...], ...]
    gives: tuple[str, ...]
    formula: str
    citation: str
    limits: str
    derive: Derive


def _level(numbers: Numbers) -> float:
    return numbers.get("ci_level", DEFAULT_LEVEL)


def _derived(source: str, notes: tuple[str, ...] = (), **values: float) -> Derived:
    """Numbers of one source; a refusal if one of them is not finite."""
    bad = [field for field, value in values.items() if not math.isfinite(value)]
    if bad:
        return refused(f"the formula gives no finite {', '.join(bad)}", *notes)
    return Derived(values, dict.fromkeys(values, source), notes)


def _positive_spread(source: str, notes: tuple[str, ...] = (), **values: float) -> Derived:
    """The same for standard deviations and errors; a refusal if one is not above 0."""
    if any(value <= 0 for field, value in values.items() if field.startswith(("sd", "se"))):
        return refused("the spread would be 0, and the study's weight infinite", *notes)
    return _derived(source, notes, **values)


# ---------------------------------------------------------------- means and spreads


def _se_of_mean(numbers: Numbers, texts: Texts) -> Derived:
    sd = spreads.sd_from_se(numbers["msei"], numbers["ni"])
    return _positive_spread(f"{HANDBOOK} 6.5.2.2", sdi=sd)


def _mean_ci(distribution: str) -> Derive:
    def derive(numbers: Numbers, texts: Texts) -> Derived:
        low, high, n = numbers["mci_lowi"], numbers["mci_highi"], numbers["ni"]
        if n < 2:
            return refused("a mean of one person has no interval")
        level = _level(numbers)
        sd = spreads.sd_from_interval(low, high, n, level=level, distribution=distribution)
        said = f"t with {n - 1:.0f} df" if distribution == "t" else "normal"
        notes = spreads.centre_note(low, high, numbers.get("mi", math.nan), "the mean")
        return _positive_spread(f"{HANDBOOK} 6.5.2.2, {said}", notes, sdi=sd)

    return derive


def _difference(se_of: Callable[[Numbers, float], float], source: str) -> Derive:
    """Common SD of two groups from what tells the standard error of their difference."""

    def derive(numbers: Numbers, texts: Texts) -> Derived:
        n1, n2 = numbers["n1i"], numbers["n2i"]
        if n1 + n2 <= 2:
            return refused("two persons leave no degrees of freedom")
        sd = spreads.pooled_sd_from_se(se_of(numbers, n1 + n2 - 2), n1, n2)
        notes: tuple[str, ...] = ()
        if "md_lowi" in numbers and "mdi" in numbers:
            notes = spreads.centre_note(
                numbers["md_lowi"], numbers["md_highi"], numbers["mdi"], "the difference"
            )
        return _positive_spread(f"{HANDBOOK} {source}", notes, sd1i=sd, sd2i=sd)

    return derive


def _md_se_ci(numbers: Numbers, df: float) -> float:
    low, high = numbers["md_lowi"], numbers["md_highi"]
    return spreads.se_from_interval(low, high, level=_level(numbers), df=df)


def _md_se_ci_normal(numbers: Numbers, df: float) -> float:
    return _md_se_ci(numbers, math.nan)


def _md_se_t(numbers: Numbers, df: float) -> float:
    return abs(numbers["mdi"] / numbers["md_ti"]) if numbers["md_ti"] else math.nan


def _md_se_p(numbers: Numbers, df: float) -> float:
    return spreads.se_from_p(numbers["mdi"], numbers["md_pi"], df=df)


def _combined(numbers: Numbers, texts: Texts) -> Derived:
    n, mean, sd = spreads.combine_groups(
        (numbers["n_ai"], numbers["n_bi"]),
        (numbers["m_ai"], numbers["m_bi"]),
        (numbers["sd_ai"], numbers["sd_bi"]),
    )
    if numbers.get("ni", n) != n:
        return refused(f"the subgroups have {n:.0f} units, the group {numbers['ni']:.15g}")
    return _positive_spread(f"{HANDBOOK} 6.5.2.10", ni=n, mi=mean, sdi=sd)


def _change(numbers: Numbers, texts: Texts) -> Derived:
    sd = spreads.sd_of_change(numbers["sd_prei"], numbers["sd_posti"], numbers["ri"])
    source = f"{HANDBOOK} 6.5.2.8, r = {numbers['ri']:g}"
    if "m_prei" in numbers and "m_posti" in numbers:
        return _positive_spread(source, sdi=sd, mi=numbers["m_posti"] - numbers["m_prei"])
    return _positive_spread(source, sdi=sd)


def _iqr(*, by_n: bool) -> Derive:
    def derive(numbers: Numbers, texts: Texts) -> Derived:
        if not by_n:
            return _positive_spread(
                f"{HANDBOOK} 6.5.2.5", sdi=spreads.sd_from_iqr(numbers["iqri"])
            )
        n = numbers["ni"]
        if n < summaries.LEAST_N:
            return refused(_too_few(n))
        return _positive_spread(
            summaries.WAN, sdi=numbers["iqri"] / summaries.quartile_divisor(n)
        )

    return derive


# ---------------------------------------------------------------- five-number summaries


def _too_few(n: float) -> str:
    return f"n is {n:.15g}; the method needs at least {summaries.LEAST_N}"


def _summary(numbers: Numbers) -> Summary:
    names = {"mini": "minimum", "q1i": "q1", "medi": "median", "q3i": "q3", "maxi": "maximum"}
    return Summary(
        numbers["ni"], **{name: numbers.get(field, math.nan) for field, name in names.items()}
    )


def _unfit(summary: Summary) -> str:
    """Why no method can use a summary, or nothing."""
    if summary.n < summaries.LEAST_N:
        return _too_few(summary.n)
    if summary.has_quartiles and summary.q1 == summary.q3:
        return "both quartiles are equal"
    if summary.has_range and summary.minimum == summary.maximum:
        return "minimum and maximum are equal"
    return ""


def _too_wide(summary: Summary) -> str:
    """Why no skewed distribution can be fitted, or nothing."""
    positive = [value for value in summary.values if value > 0]
    if positive and positive[-1] > WIDEST * positive[0]:
        return f"the values span more than {WIDEST:g} times"
    return ""


def _skewed(summary: Summary) -> str:
    """That the skewness test rejects, in words; nothing otherwise or without a median."""
    if math.isnan(summary.median):
        return ""
    test = summaries.skewness_test(summary)
    if not test.rejected:
        return ""
    return (
        f"skewed data (test of {summaries.SHI_SKEWNESS}: {test.statistic:.3f}, critical value "
        f"{test.critical:.3f} at 5%)"
    )


SUMMARY_NEEDS = (
    ("mini", "q1i", "medi", "q3i", "maxi", "ni"),
    ("q1i", "medi", "q3i", "ni"),
    ("mini", "medi", "maxi", "ni"),
)
# The standard deviation alone needs no median.
SPREAD_NEEDS = (
    ("mini", "q1i", "q3i", "maxi", "ni"),
    ("q1i", "q3i", "ni"),
    ("mini", "maxi", "ni"),
)


def _luo_wan_shi(*, tested: bool) -> Derive:
    def derive(numbers: Numbers, texts: Texts) -> Derived:
        summary = _summary(numbers)
        if unfit := _unfit(summary):
            return refused(unfit)
        skewed = _skewed(summary)
        if skewed and tested:
            return refused(
                f"{skewed}, and the method is for normal data; choose for `summary` one of "
                "lognormal, quantile_estimation, box_cox, or luo_wan_shi_untested"
            )
        sd, source = summaries.sd_normal(summary)
        values, sources = {"sdi": sd}, {"sdi": source}
        if not math.isnan(summary.median):
            values["mi"], sources["mi"] = summaries.mean_luo(summary), summaries.LUO
        notes = (f"{skewed}, but treated as normal",) if skewed else ()
        if not all(map(math.isfinite, values.values())) or sd <= 0:
            return refused("the values are too large or too small to compute with")
        return Derived(values, sources, notes)

    return derive


def _lognormal(numbers: Numbers, texts: Texts) -> Derived:
    summary = _summary(numbers)
    if unfit := _unfit(summary) or _too_wide(summary):
        return refused(unfit)
    if summary.values[0] <= 0:
        return refused(f"{summary.values[0]:.15g} has no logarithm")
    mean, sd = summaries.mean_sd_lognormal(summary)
    skewed = _skewed(summary.mapped(math.log))
    notes = (f"the logarithms are {skewed}",) if skewed else ()
    return _positive_spread(summaries.SHI_LOG, notes, mi=mean, sdi=sd)


def _quantile_estimation(numbers: Numbers, texts: Texts) -> Derived:
    summary = _summary(numbers)
    if unfit := _unfit(summary) or _too_wide(summary):
        return refused(unfit)
    if summary.values[0] >= 0 and summary.median == 0:
        return refused("the median is 0, as in none of the distributions of positive values")
    best = summaries.quantile_estimates(summary)[0]
    source = f"{summaries.MCGRATH}, quantile estimation, {best.name} distribution"
    return _positive_spread(source, mi=best.mean, sdi=best.sd)


def _box_cox(numbers: Numbers, texts: Texts) -> Derived:
    summary = _summary(numbers)
    if unfit := _unfit(summary) or _too_wide(summary):
        return refused(unfit)
    if summary.values[0] <= 0:
        return refused(f"{summary.values[0]:.15g} has no Box-Cox transformation")
    if len(set(summary.values)) < len(summary.values):
        return refused("two of the values are equal, so that symmetry cannot be judged")
    mean, sd, power = summaries.mean_sd_box_cox(summary)
    notes: tuple[str, ...] = ()
    if power == 0:
        notes = ("Box-Cox power 0: the data are taken as log-normal, or are even more skewed",)
    elif power == summaries.LARGEST_POWER:
        notes = (f"Box-Cox power at its largest value {power:g}: more skewed to the left",)
    source = f"{summaries.MCGRATH}, Box-Cox, power {power:.3g}"
    return _positive_spread(source, notes, mi=mean, sdi=sd)


# ---------------------------------------------------------------- counts


def _reported(field: str, numbers: Numbers, texts: Texts) -> str | float:
    return texts.get(field, numbers[field])


def _percent(numbers: Numbers, texts: Texts) -> Derived:
    try:
        count, notes = counts.count_from_percent(
            _reported("pcti", numbers, texts), numbers["ni"]
        )
    except ValueError as error:
        return refused(str(error))
    if notes:
        return refused(*notes)
    return _derived("the only count that rounds to it", xi=count)


EFFECT_FIELDS: dict[str, counts.Effect] = {"ori": "OR", "rri": "RR", "rdi": "RD", "phii": "PHI"}


def _effect_field(numbers: Numbers) -> str:
    return next(field for field in EFFECT_FIELDS if field in numbers)


def _margins(numbers: Numbers) -> tuple[int, int]:
    return int(numbers["n1i"]), int(numbers["n2i"])


def _cells(table: counts.Table, source: str, notes: tuple[str, ...] = ()) -> Derived:
    cells = dict(zip(("ai", "bi", "ci", "di"), map(float, table), strict=True))
    return Derived(cells, dict.fromkeys(cells, source), notes)


def _agreeing(tables: tuple[counts.Table, ...], numbers: Numbers) -> tuple[counts.Table, ...]:
    """Tables whose cells are those that are reported, as far as any are."""
    fields = ("ai", "bi", "ci", "di")
    return tuple(
        table
        for table in tables
        if all(numbers.get(f, cell) == cell for f, cell in zip(fields, table, strict=True))
    )


def _one_table(tables: tuple[counts.Table, ...], source: str, assumed: str) -> Derived:
    if len(tables) == 1:
        return _cells(tables[0], source, (assumed,) if assumed else ())
    if not tables:
        return refused("no table of whole numbers rounds to the printed numbers")
    return refused(
        f"{len(tables)} tables (ai, bi, ci, di) round to the printed numbers: "
        f"{counts.listed(tables)}"
    )


def _table_from_margins(numbers: Numbers, texts: Texts) -> Derived:
    field = _effect_field(numbers)
    try:
        tables = counts.tables_from_margins(
            EFFECT_FIELDS[field],
            _reported(field, numbers, texts),
            *_margins(numbers),
            int(numbers["eventsi"]),
        )
    except ValueError as error:
        return refused(str(error))
    tables = _agreeing(tables, numbers)
    return _one_table(tables, "the only table that rounds to it", "")


def _table_nearest(numbers: Numbers, texts: Texts) -> Derived:
    field = _effect_field(numbers)
    effect, events = EFFECT_FIELDS[field], int(numbers["eventsi"])
    table = counts.nearest_table(effect, numbers[field], *_margins(numbers), events)
    if table is None:
        return refused("the effect is impossible with these margins")
    fitting = counts.tables_from_margins(
        effect, _reported(field, numbers, texts), *_margins(numbers), events
    )
    note = "" if fitting == (table,) else f"nearest table; {len(fitting)} round to the effect"
    return _cells(table, "Bonett 2007", (note,) if note else ())


INTERVAL_FIELDS = {
    "OR": ("ori", "or_lowi", "or_highi"),
    "RR": ("rri", "rr_lowi", "rr_highi"),
    "RD": ("rdi", "rd_lowi", "rd_highi"),
}


def _table_from_interval(numbers: Numbers, texts: Texts) -> Derived:
    effect, fields = next(
        (effect, fields)
        for effect, fields in INTERVAL_FIELDS.items()
        if all(field in numbers for field in fields)
    )
    value, low, high = (_reported(field, numbers, texts) for field in fields)
    try:
        tables = counts.tables_from_interval(
            EFFECT_FIELDS[fields[0]],
            value,
            low,
            high,
            *_margins(numbers),
            level=_level(numbers),
        )
    except ValueError as error:
        return refused(str(error))
    if "eventsi" in numbers:
        tables = tuple(table for table in tables if table[0] + table[2] == numbers["eventsi"])
    return _one_table(
        _agreeing(tables, numbers),
        counts.DI_PIETRANTONJ,
        f"taken as an unadjusted {effect} with Wald's interval",
    )


# ---------------------------------------------------------------- effects


def _wald(scale: effects.Scale) -> Derive:
    def derive(numbers: Numbers, texts: Texts) -> Derived:
        values = (numbers["estimate"], numbers["ci_low"], numbers["ci_high"])
        if scale == "log" and min(values) <= 0:
            return refused("a ratio and its interval are above 0")
        yi, sei = effects.wald_interval(*values, level=_level(numbers), scale=scale)
        low, high = (effects.to_analysis(value, scale) for value in values[1:])
        said = "the log estimate" if scale == "log" else "the estimate"
        notes = spreads.centre_note(low, high, yi, said)
        return _positive_spread("Wald's interval", notes, yi=yi, sei=sei)

    return derive


def _wald_p(scale: effects.Scale) -> Derive:
    def derive(numbers: Numbers, texts: Texts) -> Derived:
        estimate, p = numbers["estimate"], numbers["pval"]
        if scale == "log" and estimate <= 0:
            return refused("a ratio is above 0")
        if "pval" in texts and _is_bound(texts["pval"]):
            return refused(f"p {texts['pval'].strip()} is a bound, not a number")
        yi, sei = effects.wald_p(estimate, p, scale=scale)
        if math.isnan(sei):
            return refused("no effect, or p = 1: its standard error cannot be told from p")
        return _positive_spread("two-sided p of Wald's test", yi=yi, sei=sei)

    return derive


def _is_bound(text: str) -> bool:
    """Whether a printed number is a bound such as ``<.001``."""
    return parse_printed(text).relation not in ("", "=")


def _log_base(prefix: str, base: float) -> Derive:
    def derive(numbers: Numbers, texts: Texts) -> Derived:
        yi = effects.natural(numbers[f"{prefix}_yi"], base)
        sei = effects.natural(numbers[f"{prefix}_sei"], base)
        return _positive_spread(f"times ln {base:g}", yi=yi, sei=sei)

    return derive


def _to_log_or(factor: float, source: str) -> Derive:
    def derive(numbers: Numbers, texts: Texts) -> Derived:
        yi, sei = effects.log_odds_ratio_from_d(
            numbers["smd_yi"], numbers["smd_sei"], factor=factor
        )
        return _positive_spread(source, yi=yi, sei=sei)

    return derive


def _to_d(factor: float, source: str) -> Derive:
    def derive(numbers: Numbers, texts: Texts) -> Derived:
        yi, sei = effects.d_from_log_odds_ratio(
            numbers["logor_yi"], numbers["logor_sei"], factor=factor
        )
        return _positive_spread(source, yi=yi, sei=sei)

    return derive


_MD = ("n1i", "n2i")
_SDS = ("sd1i", "sd2i")
_COX_FULL = (
    "Cox (1970), Analysis of Binary Data; Haddock et al. (1998), Psychol Methods 3(3):339-353, "
    "doi:10.1037/1082-989X.3.3.339"
)
_INDEPENDENT = (
    "Two independent groups with one standard deviation; not of an adjusted difference "
    "(analysis of covariance), a change or paired data, where it is too small."
)
_NORMAL_DATA = "Normal data without outliers; a skewed outcome needs another method."

_ALL = (
    Conversion(
        "se_of_mean",
        "standard error of a mean to standard deviation",
        "se_of_mean",
        True,
        "group",
        (("msei", "ni"),),
        ("sdi",),
        "sd = se sqrt(n)",
        f"{HANDBOOK_FULL}, 6.5.2.2",
        "The standard error must be that of this group's mean, not of a difference.",
        _se_of_mean,
    ),
    Conversion(
        "mean_ci_t",
        "t interval of a mean to standard deviation",
        "mean_ci",
        True,
        "group",
        (("mci_lowi", "mci_highi", "ni"),),
        ("sdi",),
        "sd = sqrt(n) (high - low) / (2 t), t of n - 1 degrees of freedom",
        f"{HANDBOOK_FULL}, 6.5.2.2",
        "The interval must be that of this group's mean, symmetrical, on the outcome's scale.",
        _mean_ci("t"),
    ),
    Conversion(
        "mean_ci_normal",
        "normal interval of a mean to standard deviation",
        "mean_ci",
        False,
        "group",
        (("mci_lowi", "mci_highi", "ni"),),
        ("sdi",),
        "sd = sqrt(n) (high - low) / (2 z)",
        f"{HANDBOOK_FULL}, 6.5.2.2",
        "As mean_ci_t; too large a standard deviation for a small group if the study used t.",
        _mean_ci("normal"),
    ),
    Conversion(
        "combined_groups",
        "two subgroups combined into one group",
        "combined_groups",
        True,
        "group",
        (("n_ai", "m_ai", "sd_ai", "n_bi", "m_bi", "sd_bi"),),
        ("ni", "mi", "sdi"),
        "sd^2 = ((na - 1) sda^2 + (nb - 1) sdb^2 + na nb (ma - mb)^2 / (na + nb)) / (n - 1)",
        f"{HANDBOOK_FULL}, 6.5.2.10",
        "Exact; the subgroups must be disjoint.",
        _combined,
    ),
    Conversion(
        "difference_se",
        "standard error of a mean difference to the common standard deviation",
        "difference_se",
        True,
        "study",
        (("md_sei", *_MD),),
        _SDS,
        "sd = se / sqrt(1/n1 + 1/n2)",
        f"{HANDBOOK_FULL}, 6.5.2.3",
        _INDEPENDENT,
        _difference(lambda numbers, df: numbers["md_sei"], "6.5.2.3"),
    ),
    Conversion(
        "difference_ci_t",
        "t interval of a mean difference to the common standard deviation",
        "difference_ci",
        True,
        "study",
        (("md_lowi", "md_highi", *_MD),),
        _SDS,
        "se = (high - low) / (2 t), t of n1 + n2 - 2 degrees of freedom; then as difference_se",
        f"{HANDBOOK_FULL}, 6.5.2.3",
        _INDEPENDENT,
        _difference(_md_se_ci, "6.5.2.3, t"),
    ),
    Conversion(
        "difference_ci_normal",
        "normal interval of a mean difference to the common standard deviation",
        "difference_ci",
        False,
        "study",
        (("md_lowi", "md_highi", *_MD),),
        _SDS,
        "se = (high - low) / (2 z); then as difference_se",
        f"{HANDBOOK_FULL}, 6.5.2.3",
        _INDEPENDENT,
        _difference(_md_se_ci_normal, "6.5.2.3, normal"),
    ),
    Conversion(
        "difference_t",
        "mean difference and its t statistic to the common standard deviation",
        "difference_t",
        True,
        "study",
        (("mdi", "md_ti", *_MD),),
        _SDS,
        "se = |difference / t|; then as difference_se",
        f"{HANDBOOK_FULL}, 6.5.2.3",
        _INDEPENDENT + " Of a rounded t near 0 nothing is left.",
        _difference(_md_se_t, "6.5.2.3, t statistic"),
    ),
    Conversion(
        "difference_p",
        "mean difference and its two-sided p to the common standard deviation",
        "difference_p",
        True,
        "study",
        (("mdi", "md_pi", *_MD),),
        _SDS,
        "t of n1 + n2 - 2 degrees of freedom with that p; then as difference_t",
        f"{HANDBOOK_FULL}, 6.5.2.3",
        _INDEPENDENT + " Not from a bound such as p < .05, nor a rank test's p.",
        _difference(_md_se_p, "6.5.2.3, p-value"),
    ),
    Conversion(
        "luo_wan_shi",
        "median with quartiles or range to mean and SD, if not skewed",
        "summary",
        True,
        "group",
        (*SUMMARY_NEEDS, *SPREAD_NEEDS),
        ("mi", "sdi"),
        "mean: weighted mid-range, mid-quartile range and median (Luo); sd: range or "
        "interquartile range over its expectation (Wan), with all five numbers the optimally "
        "weighted mean of both (Shi); refused if the skewness test rejects at 5%",
        SUMMARY_FULL,
        _NORMAL_DATA + " n of at least 5.",
        _luo_wan_shi(tested=True),
    ),
    Conversion(
        "luo_wan_shi_untested",
        "median with quartiles or range to mean and SD, skewed or not",
        "summary",
        False,
        "group",
        (*SUMMARY_NEEDS, *SPREAD_NEEDS),
        ("mi", "sdi"),
        "as luo_wan_shi; the skewness test is reported but does not decide",
        SUMMARY_FULL,
        _NORMAL_DATA,
        _luo_wan_shi(tested=False),
    ),
    Conversion(
        "lognormal",
        "median with quartiles or range to mean and SD of log-normal data",
        "summary",
        False,
        "group",
        SUMMARY_NEEDS,
        ("mi", "sdi"),
        "luo_wan_shi of the logarithms, then a bias-corrected exp(mu + s^2/2) and its variance",
        "Shi et al. (2020b), Stat Interface 13(4):519-531, doi:10.4310/SII.2020.v13.n4.a9",
        "Positive values, log-normal; n of at least 5.",
        _lognormal,
    ),
    Conversion(
        "quantile_estimation",
        "median with quartiles or range to mean and SD, distribution chosen by fit",
        "summary",
        False,
        "group",
        SUMMARY_NEEDS,
        ("mi", "sdi"),
        "least squares of quantiles over normal, log-normal, gamma, Weibull and (values "
        "between 0 and 1) beta distributions; mean and sd of the nearest",
        MCGRATH_FULL,
        "Any unit; only normal if a value is negative. Minimum and maximum stand for the "
        "quantiles 1/n and 1 - 1/n.",
        _quantile_estimation,
    ),
    Conversion(
        "box_cox",
        "median with quartiles or range to mean and SD by a Box-Cox transformation",
        "summary",
        False,
        "group",
        SUMMARY_NEEDS,
        ("mi", "sdi"),
        "power (0 to 3) that makes the summary symmetrical; Luo's mean and Wan's sd there; "
        "moments of the back-transformed normal distribution by quadrature",
        MCGRATH_FULL,
        "Positive values that differ from each other.",
        _box_cox,
    ),
    Conversion(
        "iqr_wan",
        "width of the interquartile range to standard deviation",
        "iqr",
        True,
        "group",
        (("iqri", "ni"),),
        ("sdi",),
        "sd = iqr / (2 z((0.75 n - 0.125) / (n + 0.25)))",
        WAN_FULL,
        _NORMAL_DATA + " Skewness cannot be checked from the width alone.",
        _iqr(by_n=True),
    ),
    Conversion(
        "iqr_large",
        "width of the interquartile range to standard deviation, large groups",
        "iqr",
        False,
        "group",
        (("iqri",),),
        ("sdi",),
        "sd = iqr / 1.349",
        f"{HANDBOOK_FULL}, 6.5.2.5",
        _NORMAL_DATA + " Large groups.",
        _iqr(by_n=False),
    ),
    Conversion(
        "change_from_correlation",
        "means and SDs before and after to those of the change, with a correlation",
        "change",
        False,
        "group",
        (("sd_prei", "sd_posti", "ri", "m_prei", "m_posti"), ("sd_prei", "sd_posti", "ri")),
        ("mi", "sdi"),
        "sd^2 = sd_pre^2 + sd_post^2 - 2 r sd_pre sd_post; m = m_post - m_pre",
        f"{HANDBOOK_FULL}, 6.5.2.8",
        "On request only: the outcome must be the change. An assumed r needs a sensitivity "
        "analysis.",
        _change,
    ),
    Conversion(
        "percent_exact",
        "percentage of n to the one count that rounds to it",
        "percent",
        True,
        "group",
        (("pcti", "ni"),),
        ("xi",),
        "x whole with 100 x / n within half a unit of the last printed digit",
        "exact arithmetic",
        "Refused, with the candidates, unless exactly one count fits. Cut off rather than "
        "rounded percentages are not recognised.",
        _percent,
    ),
    Conversion(
        "table_from_interval",
        "group sizes and an effect with its interval to the fourfold table",
        "table_from_interval",
        True,
        "study",
        tuple((*fields, *_MD) for fields in INTERVAL_FIELDS.values()),
        ("ai", "bi", "ci", "di"),
        "all whole tables whose OR, RR or RD and Wald interval round to the printed ones",
        "Di Pietrantonj (2006), Stat Med 25(13):2299-2322, doi:10.1002/sim.2287; limits: "
        "Veroniki et al. (2013), Res Synth Methods 4(1):78-94, doi:10.1002/jrsm.1061",
        "Refused, with the candidates, unless exactly one table fits; often two sets do, and "
        "the events in all (`eventsi`) tell them apart. Wrong for adjusted effects and for "
        "other than Wald's intervals, for which as a rule no table fits.",
        _table_from_interval,
    ),
    Conversion(
        "table_from_margins",
        "group sizes, all events and an effect to the fourfold table",
        "table_from_margins",
        True,
        "study",
        tuple((field, *_MD, "eventsi") for field in EFFECT_FIELDS),
        ("ai", "bi", "ci", "di"),
        "all whole tables with these margins whose OR, RR, RD or phi rounds to the printed one",
        "Bonett (2007), Am Psychol 62(3):254-255, doi:10.1037/0003-066X.62.3.254",
        "Refused, with the candidates, unless exactly one table fits. Unadjusted effects.",
        _table_from_margins,
    ),
    Conversion(
        "table_nearest",
        "group sizes, all events and an effect to the nearest fourfold table",
        "table_from_margins",
        False,
        "study",
        tuple((field, *_MD, "eventsi") for field in EFFECT_FIELDS),
        ("ai", "bi", "ci", "di"),
        "the real solution for ai, rounded (metafor's conv.2x2)",
        "Bonett (2007), Am Psychol 62(3):254-255, doi:10.1037/0003-066X.62.3.254",
        "May be one of many tables that fit the printed effect; how many is noted.",
        _table_nearest,
    ),
    Conversion(
        "log10",
        "effect on the decimal logarithm to natural logarithms",
        "log10",
        True,
        "study",
        (("log10_yi", "log10_sei"),),
        ("yi", "sei"),
        "times ln 10",
        "definition",
        "None.",
        _log_base("log10", 10),
    ),
    Conversion(
        "log2",
        "effect on the binary logarithm to natural logarithms",
        "log2",
        True,
        "study",
        (("log2_yi", "log2_sei"),),
        ("yi", "sei"),
        "times ln 2",
        "definition",
        "None.",
        _log_base("log2", 2),
    ),
    Conversion(
        "wald_ratio",
        "ratio with its interval to log effect and standard error",
        "wald",
        False,
        "study",
        (("estimate", "ci_low", "ci_high"),),
        ("yi", "sei"),
        "yi = ln estimate; sei = (ln high - ln low) / (2 z)",
        "Parmar et al. (1998), Stat Med 17(24):2815-2834, "
        "doi:10.1002/(SICI)1097-0258(19981230)17:24<2815::AID-SIM110>3.0.CO;2-8",
        "On request only: the scale must be known. Not of exact or profile intervals.",
        _wald("log"),
    ),
    Conversion(
        "wald_difference",
        "difference with its interval to effect and standard error",
        "wald",
        False,
        "study",
        (("estimate", "ci_low", "ci_high"),),
        ("yi", "sei"),
        "yi = estimate; sei = (high - low) / (2 z)",
        f"{HANDBOOK_FULL}, 6.3.1",
        "On request only: the scale must be known.",
        _wald("identity"),
    ),
    Conversion(
        "wald_p_ratio",
        "ratio with its two-sided p to log effect and standard error",
        "wald",
        False,
        "study",
        (("estimate", "pval"),),
        ("yi", "sei"),
        "sei = |ln estimate| / z(1 - p/2)",
        f"{HANDBOOK_FULL}, 6.3.2",
        "On request only. Not from a bound such as p < .05; imprecise for p near 1.",
        _wald_p("log"),
    ),
    Conversion(
        "wald_p_difference",
        "difference with its two-sided p to effect and standard error",
        "wald",
        False,
        "study",
        (("estimate", "pval"),),
        ("yi", "sei"),
        "sei = |estimate| / z(1 - p/2)",
        f"{HANDBOOK_FULL}, 6.3.2",
        "On request only. Not from a bound such as p < .05; imprecise for p near 1.",
        _wald_p("identity"),
    ),
    Conversion(
        "chinn_d_to_or",
        "standardised mean difference to log odds ratio (Chinn)",
        "effect_measure",
        False,
        "study",
        (("smd_yi", "smd_sei"),),
        ("yi", "sei"),
        "yi = d pi / sqrt(3), sei alike",
        CHINN,
        "On request only: logistic outcome with one standard deviation in both groups.",
        _to_log_or(effects.LOGISTIC, "Chinn 2000"),
    ),
    Conversion(
        "chinn_or_to_d",
        "log odds ratio to standardised mean difference (Chinn)",
        "effect_measure",
        False,
        "study",
        (("logor_yi", "logor_sei"),),
        ("yi", "sei"),
        "yi = ln OR sqrt(3) / pi, sei alike",
        CHINN,
        "On request only: logistic outcome with one standard deviation in both groups.",
        _to_d(effects.LOGISTIC, "Chinn 2000"),
    ),
    Conversion(
        "cox_d_to_or",
        "standardised mean difference to log odds ratio (Cox)",
        "effect_measure",
        False,
        "study",
        (("smd_yi", "smd_sei"),),
        ("yi", "sei"),
        "yi = 1.65 d, sei alike",
        _COX_FULL,
        "On request only: normal outcome with one standard deviation in both groups.",
        _to_log_or(effects.COX, "Cox 1970"),
    ),
    Conversion(
        "cox_or_to_d",
        "log odds ratio to standardised mean difference (Cox)",
        "effect_measure",
        False,
        "study",
        (("logor_yi", "logor_sei"),),
        ("yi", "sei"),
        "yi = ln OR / 1.65, sei alike",
        _COX_FULL,
        "On request only: normal outcome with one standard deviation in both groups.",
        _to_d(effects.COX, "Cox 1970"),
    ),
)
CONVERSIONS: dict[str, Conversion] = {conversion.key: conversion for conversion in _ALL}
"""By key; conversions earlier in the table are tried first."""
