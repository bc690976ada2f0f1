"""What each measure needs, and which numbers are possible; free of numpy, so cheap to ask."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Design = Literal["one_group", "two_groups", "effect"]
Axis = Literal["log", "linear", "proportion"]

Wrong = tuple[str, str, str]
"""Field, what was found, what was expected."""


@dataclass(frozen=True, slots=True)
class Option:
    """A choice that a measure offers.

    Attributes
    ----------
    name, meaning : key in the configuration, and what it decides.
    allowed : words, with what each means.
    default : one of the words, or a number.
    number : what a number means; empty where none is allowed.
    lowest : the least of the numbers.
    refused : words that somebody may well write, with the reason against each.
    """

    name: str
    meaning: str
    allowed: Mapping[str, str]
    default: str | float
    number: str = ""
    lowest: float = -math.inf
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def expected(self) -> str:
        """What may be chosen, in words."""
        words = ", ".join(self.allowed)
        return f"one of: {words}" + (f"; or a number: {self.number}" if self.number else "")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs of a measure.

    Attributes
    ----------
    design : ``one_group``, ``two_groups`` or ``effect`` (printed effects).
    alternatives : sets of fields, any of which is enough; the first complete one is used.
    kinds : kinds of result in study files from which it can be computed.
    axis : how the display scale is drawn: ``log`` for ratios, ``proportion``, ``linear``.
    options : what can be chosen.
    """

    design: Design
    alternatives: tuple[tuple[str, ...], ...]
    kinds: frozenset[str]
    axis: Axis
    options: tuple[Option, ...] = ()

    @property
    def fields(self) -> frozenset[str]:
        """All fields of all alternatives."""
        return frozenset(field for fields in self.alternatives for field in fields)

    @property
    def known(self) -> frozenset[str]:
        """These, and further numbers that are used where given."""
        return self.fields | {"ni", "ci_level"}


_NOTHING: frozenset[str] = frozenset()
_COUNT = frozenset({"count"})
_MEAN = frozenset({"mean"})
_FOURFOLD = (("ai", "bi", "ci", "di"), ("ai", "n1i", "ci", "n2i"))
_TWO_RATES = (("x1i", "t1i", "x2i", "t2i"),)
_TWO_MEANS = (("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i"),)
_INTERVAL = ("estimate", "ci_low", "ci_high")
_BY_GROUP, _BY_SHARE = ("x1i", "x2i"), ("events", "n1i", "n2i")

_IPFT = Option(
    "ipft",
    "how estimates get back to proportions",
    {"arcsine": "the squared sine, as for PAS"},
    "arcsine",
    number="the sample size n of Miller's (1978) inverse",
    lowest=1,
    refused={
        "harmonic": (
            "the harmonic mean of the sample sizes is none of them: with sizes that differ "
            "much it can give 0 where every study has events (Schwarzer et al. 2019)"
        )
    },
)
_SMD_VARIANCE = Option(
    "variance",
    "formula of the sampling variance",
    {
        "LS": "large-sample: 1/n1 + 1/n2 + g^2/(2 (n1 + n2)); metafor's default",
        "LS2": "c(m)^2 (1/n1 + 1/n2 + d^2/(2 (n1 + n2))), d = g/c(m); Borenstein et al. (2009)",
        "UB": "unbiased: 1/n1 + 1/n2 + (1 - (m - 2)/(m c(m)^2)) g^2; Hedges (1983)",
        "RevMan": (
            "N/(n1 n2) + g^2/(2 (N - 3.94)), with 1 - 3/(4 N - 9) for c(m), N = n1 + n2; "
            "Review Manager, statsmodels"
        ),
    },
    "LS",
)
_CVR_BIAS = Option(
    "bias",
    "correction of the small-sample bias",
    {
        "Senior2020": "of the standard deviations and of the means; metafor from 5.0 on",
        "Nakagawa2015": "of the standard deviations only; metafor before 5.0",
        "none": "none",
    },
    "Senior2020",
)
_ROMC_BIAS = Option(
    "bias",
    "correction of the small-sample bias",
    {
        "none": "none; metafor before 5.0",
        "Lajeunesse2015": (
            "(sd1i^2/m1i^2 - sd2i^2/m2i^2)/(2 ni) is added; metafor from 5.0 on"
        ),
    },
    "none",
)
_SCALES = {
    "plain": "S itself: estimate -/+ z times Greenwood's standard error",
    "log": "log(S)",
    "cloglog": "log(-log(S)), often called log-log",
    "logit": "log(S/(1 - S))",
}
_TRANSFORMATION = (
    Option(
        "transformation",
        "from the analysis scale to the display scale",
        {
            "identity": "none",
            "exp": "ratios, analysed as logarithms",
            "tanh": "correlations, analysed as Fisher's z",
            "expit": "proportions, analysed as logits",
        },
        "identity",
    ),
    Option(
        "scale",
        "scale of `estimate` and of the interval (yi, vi and sei are always analysis scale)",
        {"display": "as shown to readers", "analysis": "log, Fisher's z, logit"},
        "display",
    ),
    Option(
        "null",
        "value of no effect on the analysis scale",
        {"none": "there is no such value, so no test"},
        0.0,
        number="the value",
    ),
)
_P_VALUE = Option(
    "p_value",
    "which p-values the field p has",
    {
        "undeclared": "not said: rows that need p are not pooled",
        "two_sided_logrank": "two-sided, of the log-rank test",
        "two_sided_cox": "two-sided, of the Cox model (Wald test)",
    },
    "undeclared",
    refused={
        "one_sided": "double it and declare it two-sided, if it is below 1/2 in the effect's "
        "direction",
        "other": "a p-value of another test than the log-rank test, or of another model than "
        "that of the estimate, does not give its standard error",
    },
)


def _survival(interval: str) -> Inputs:
    option = Option("interval", "scale on which intervals were made", _SCALES, interval)
    return Inputs(
        "one_group",
        (_INTERVAL, ("estimate", "sei")),
        frozenset({"km_probability"}),
        "proportion",
        (option,),
    )


_PROPORTION = Inputs("one_group", (("xi", "ni"),), _COUNT, "proportion")
_RATIO = Inputs("two_groups", _FOURFOLD, _COUNT, "log")
_DIFFERENCE = Inputs("two_groups", _FOURFOLD, _COUNT, "linear")
_RATE = Inputs("one_group", (("xi", "ti"),), _NOTHING, "linear")
_RATES = Inputs("two_groups", _TWO_RATES, _NOTHING, "linear")
_MEANS = Inputs("two_groups", _TWO_MEANS, _MEAN, "linear")
_RATIO_OF_MEANS = Inputs("two_groups", _TWO_MEANS, _MEAN, "log")
_CORRELATION = Inputs("one_group", (("ri", "ni"),), _NOTHING, "linear")
_PARTIAL = (("ri", "ni", "mi"), ("ti", "ni", "mi"))
_PAIRED = (("m1i", "m2i", "sd1i", "sd2i", "ri", "ni"),)

INPUTS: dict[str, Inputs] = {
    "PR": _PROPORTION,
    "PLN": _PROPORTION,
    "PLO": _PROPORTION,
    "PAS": _PROPORTION,
    "PFT": Inputs("one_group", (("xi", "ni"),), _COUNT, "proportion", (_IPFT,)),
    "IR": _RATE,
    "IRLN": Inputs("one_group", (("xi", "ti"),), _NOTHING, "log"),
    "IRS": _RATE,
    "MN": Inputs("one_group", (("mi", "sdi", "ni"),), _MEAN, "linear"),
    "MNLN": Inputs("one_group", (("mi", "sdi", "ni"),), _MEAN, "log"),
    "COR": _CORRELATION,
    "ZCOR": _CORRELATION,
    "PCOR": Inputs("one_group", _PARTIAL, _NOTHING, "linear"),
    "ZPCOR": Inputs("one_group", _PARTIAL, _NOTHING, "linear"),
    "SCLL": _survival("cloglog"),
    "SLO": _survival("logit"),
    "MED": Inputs("one_group", (_INTERVAL,), frozenset({"median"}), "log"),
    "OR": _RATIO,
    "RR": _RATIO,
    "RD": _DIFFERENCE,
    "AS": _DIFFERENCE,
    "PETO": _RATIO,
    "PHI": _DIFFERENCE,
    "YUQ": _DIFFERENCE,
    "YUY": _DIFFERENCE,
    "IRR": Inputs("two_groups", _TWO_RATES, _NOTHING, "log"),
    "IRD": _RATES,
    "IRSD": _RATES,
    "MD": _MEANS,
    "SMD": Inputs("two_groups", _TWO_MEANS, _MEAN, "linear", (_SMD_VARIANCE,)),
    "SMDH": _MEANS,
    "ROM": _RATIO_OF_MEANS,
    "ROMBC": _RATIO_OF_MEANS,
    "VR": Inputs("two_groups", (("sd1i", "n1i", "sd2i", "n2i"),), _MEAN, "log"),
    "CVR": Inputs("two_groups", _TWO_MEANS, _MEAN, "log", (_CVR_BIAS,)),
    "MC": Inputs("one_group", _PAIRED, _NOTHING, "linear"),
    "SMCC": Inputs("one_group", _PAIRED, _NOTHING, "linear"),
    "SMCR": Inputs("one_group", (("m1i", "m2i", "sd1i", "ri", "ni"),), _NOTHING, "linear"),
    "ROMC": Inputs("one_group", _PAIRED, _NOTHING, "log", (_ROMC_BIAS,)),
    "GEN": Inputs(
        "effect",
        (
            ("yi", "vi"),
            ("yi", "sei"),
            ("yi", "ci_low", "ci_high"),
            _INTERVAL,
        ),
        _NOTHING,
        "linear",
        _TRANSFORMATION,
    ),
    "HR": Inputs(
        "effect",
        (
            _INTERVAL,
            ("yi", "sei"),
            ("yi", "vi"),
            ("oe", "v"),
            ("estimate", "z"),
            ("estimate", "chi2"),
            ("estimate", "p"),
            *(("z", *events) for events in (_BY_GROUP, _BY_SHARE)),
            *(("chi2", "direction", *events) for events in (_BY_GROUP, _BY_SHARE)),
            *(("p", "direction", *events) for events in (_BY_GROUP, _BY_SHARE)),
            *(("estimate", *events) for events in (_BY_GROUP, _BY_SHARE)),
        ),
        frozenset({"hazard_ratio"}),
        "log",
        (_P_VALUE,),
    ),
}

SMALLEST_PART = 1e-3  # of a group that is divided between comparisons
_COUNT_FIELDS = ("xi", "ni", "ai", "bi", "ci", "di", "n1i", "n2i", "x1i", "x2i", "events")
_WITHIN = (("xi", "ni"), ("ai", "n1i"), ("ci", "n2i"))
_CELLS = (("ai", "bi", "n1i"), ("ci", "di", "n2i"))
_TOTALS = ("ni", "n1i", "n2i")
_TIMES = ("t1i", "t2i")
_PARTIAL_MEASURES = ("PCOR", "ZPCOR")
_POSITIVE_MEASURES = {"HR": "above 0, as a ratio is", "MED": "above 0, as a time is"}


def check_numbers(
    measure: str, numbers: Mapping[str, float], *, whole: bool = True
) -> list[Wrong]:
    """Impossible numbers among the inputs of `measure`; missing ones (nan) are no mistake.

    Counts are whole and not negative, events at most n, n at least 1; times are positive;
    standard deviations are not negative; variances and standard errors are positive; no group
    is empty, and its size is that of its cells; an interval is in order, positive for a ratio,
    and holds its estimate; correlations and probabilities are where these can be.

    Parameters
    ----------
    whole : False where an arm is divided between comparisons, so that counts may be fractions
        and groups smaller than 1.
    """
    given = {
        field: value
        for field, value in numbers.items()
        if field in INPUTS[measure].known and not math.isnan(value)
    }
    said = {field: f"{value:.15g}" for field, value in given.items()}
    wrong: list[Wrong] = []
    for name, value in given.items():
        if math.isinf(value):
            wrong.append((name, f"{value}", "a finite number"))
        elif expected := _impossible(measure, name, value, whole=whole):
            wrong.append((name, said[name], expected))
    wrong += _impossible_counts(measure, given, said)
    wrong += _impossible_interval(measure, given, said)
    return wrong


def _impossible(measure: str, name: str, value: float, *, whole: bool) -> str:
    """What the single number `name` should be; empty if it can be what it is."""
    count = name in _COUNT_FIELDS or (name == "mi" and measure in _PARTIAL_MEASURES)
    if count and (value < 0 or (whole and value != int(value))):
        return "a whole number that is not negative"
    if name in _TOTALS and value < (1 if whole else SMALLEST_PART):
        return "at least 1"
    if name in ("sd1i", "sd2i", "sdi") and value < 0:
        return "a standard deviation, not negative"
    if name in ("vi", "sei", "v") and value <= 0:
        return "above 0"
    if (name in _TIMES or (name == "ti" and measure not in _PARTIAL_MEASURES)) and value <= 0:
        return "a time above 0"
    if name == "ci_level" and not 0 < value < 1:
        return "a fraction between 0 and 1"
    if name == "p" and not 0 < value <= 1:
        return "a p-value, above 0 and at most 1"
    if name == "chi2" and value < 0:
        return "a chi-square, not negative"
    if name == "direction" and abs(value) != 1:
        return "1 (higher hazard in group 1) or -1"
    if name == "ri":
        return _impossible_correlation(measure, value)
    return ""


def _impossible_correlation(measure: str, value: float) -> str:
    if "m1i" in INPUTS[measure].fields and not -1 < value < 1:
        return "a correlation between -1 and 1, and neither of them"
    return "" if -1 <= value <= 1 else "a correlation from -1 to 1"


def _impossible_counts(
    measure: str, given: Mapping[str, float], said: Mapping[str, str]
) -> Iterator[Wrong]:
    """Counts that contradict each other."""
    within = [*_WITHIN, ("x1i", "n1i"), ("x2i", "n2i")] if measure == "HR" else _WITHIN
    for events, total in within:
        if events in given and total in given and given[events] > given[total]:
            found = f"{said[events]} events of {said[total]}"
            yield events, found, "no more events than units"
    for events, others, total in _CELLS:
        if events in given and others in given:
            size = given[events] + given[others]
            if size == 0:
                yield events, f"0, and 0 {others}", "a group that is not empty"
            elif given.get(total, size) != size:
                yield total, said[total], f"{events} + {others}, which is {size:.15g}"
    if {"events", "x1i", "x2i"} <= given.keys():
        total_events = given["x1i"] + given["x2i"]
        if given["events"] != total_events:
            yield "events", said["events"], f"x1i + x2i, which is {total_events:.15g}"
    units = given.get("n1i", math.nan) + given.get("n2i", math.nan)
    if given.get("events", math.nan) > units:
        yield "events", f"{said['events']} events of {units:.15g}", "no more events than units"


def _impossible_interval(
    measure: str, given: Mapping[str, float], said: Mapping[str, str]
) -> Iterator[Wrong]:
    """Estimates and intervals where they cannot be."""
    low, high = given.get("ci_low"), given.get("ci_high")
    estimate = given.get("estimate")
    if low is not None and high is not None:
        interval = f"{said['ci_low']} to {said['ci_high']}"
        if low > high:
            yield "ci_low", interval, "the lower bound first"
        elif estimate is not None and not low <= estimate <= high:
            yield (
                "estimate",
                f"{said['estimate']} outside {interval}",
                "within its interval",
            )
        if low == high:
            yield "ci_low", interval, "an interval of some width"
    printed = [name for name in _INTERVAL if name in given]
    if measure in _POSITIVE_MEASURES:
        for name in printed:
            if given[name] <= 0:
                yield name, said[name], _POSITIVE_MEASURES[measure]
    if measure in ("SCLL", "SLO"):
        for name in printed:
            if not 0 <= given[name] <= 1:
                yield name, said[name], "a survival probability, a fraction from 0 to 1"


def check_options(measure: str, options: Mapping[str, object]) -> list[Wrong]:
    """Options that `measure` does not have, or values that they do not allow.

    Option, what was found, what was expected; for a refused word the reason against it.
    """
    offered = {option.name: option for option in INPUTS[measure].options}
    wrong: list[Wrong] = []
    for name, value in options.items():
        option = offered.get(name)
        if option is None:
            names = ", ".join(offered) or "no options"
            wrong.append((name, f"given, which {measure} does not have", names))
        elif reason := option.refused.get(str(value), ""):
            wrong.append((name, f"{value!r}: {reason}", option.expected))
        elif not _is_allowed(option, value):
            wrong.append((name, repr(value), option.expected))
    return wrong


def _is_allowed(option: Option, value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return bool(option.number) and math.isfinite(value) and value >= option.lowest
    return isinstance(value, str) and value in option.allowed


def with_defaults(measure: str, options: Mapping[str, object]) -> dict[str, object]:
    """All options of `measure`: those given, and the defaults of the others."""
    return {option.name: option.default for option in INPUTS[measure].options} | dict(options)
