"""Priors of tau as a configuration names them, and the published tables; free of numpy."""

import math
import re

Cell = tuple[float, float]
"""Location and scale of log tau2."""

# Turner et al. (2015), table IV: mean and standard deviation of log tau2 for log odds ratios,
# one row per outcome, one pair per comparison. Two transcriptions (R packages bayesmeta and
# hetprior) agree in 158 of the 160 numbers; in the other two hetprior has swapped digits,
# against which the additive pattern of the table decides.
TURNER_COMPARISONS = (
    "pharmacological vs placebo/control",
    "pharmacological vs pharmacological",
    "non-pharmacological vs placebo/control",
    "non-pharmacological vs pharmacological",
    "non-pharmacological vs non-pharmacological",
)
TURNER: dict[str, tuple[Cell, ...]] = {
    "all-cause mortality": (
        (-3.95, 1.34),
        (-4.18, 1.41),
        (-4.17, 1.55),
        (-2.92, 1.02),
        (-3.50, 1.26),
    ),
    "obstetric outcomes": (
        (-3.52, 1.74),
        (-3.75, 1.79),
        (-3.74, 1.91),
        (-2.49, 1.50),
        (-3.08, 1.68),
    ),
    "cause-specific mortality / major morbidity event / composite": (
        (-3.71, 1.74),
        (-3.95, 1.79),
        (-3.93, 1.91),
        (-2.68, 1.51),
        (-3.27, 1.68),
    ),
    "resource use / hospital stay / process": (
        (-2.34, 1.74),
        (-2.58, 1.79),
        (-2.56, 1.91),
        (-1.31, 1.50),
        (-1.90, 1.68),
    ),
    "surgical / device related success / failure": (
        (-2.14, 1.74),
        (-2.37, 1.79),
        (-2.36, 1.91),
        (-1.11, 1.50),
        (-1.69, 1.68),
    ),
    "withdrawals / drop-outs": (
        (-2.99, 1.74),
        (-3.23, 1.79),
        (-3.21, 1.91),
        (-1.96, 1.51),
        (-2.55, 1.68),
    ),
    "internal / structure-related outcomes": (
        (-2.71, 1.74),
        (-2.94, 1.79),
        (-2.93, 1.92),
        (-1.67, 1.51),
        (-2.26, 1.68),
    ),
    "general physical health indicators": (
        (-2.29, 1.53),
        (-2.53, 1.58),
        (-2.51, 1.72),
        (-1.26, 1.25),
        (-1.85, 1.46),
    ),
    "adverse events": (
        (-1.87, 1.52),
        (-2.10, 1.58),
        (-2.10, 1.71),
        (-0.84, 1.24),
        (-1.43, 1.45),
    ),
    "infection / onset of new disease": (
        (-2.49, 1.52),
        (-2.73, 1.58),
        (-2.71, 1.71),
        (-1.46, 1.24),
        (-2.05, 1.45),
    ),
    "signs / symptoms reflecting continuation / end of condition": (
        (-2.06, 1.51),
        (-2.29, 1.58),
        (-2.28, 1.71),
        (-1.03, 1.24),
        (-1.61, 1.45),
    ),
    "pain": (
        (-1.83, 1.52),
        (-2.06, 1.58),
        (-2.05, 1.71),
        (-0.80, 1.25),
        (-1.38, 1.45),
    ),
    "quality of life / functioning (dichotomised)": (
        (-2.54, 1.54),
        (-2.78, 1.60),
        (-2.77, 1.73),
        (-1.51, 1.27),
        (-2.10, 1.47),
    ),
    "mental health indicators": (
        (-2.12, 1.53),
        (-2.35, 1.60),
        (-2.34, 1.72),
        (-1.09, 1.27),
        (-1.67, 1.47),
    ),
    "biological markers (dichotomised)": (
        (-1.77, 1.52),
        (-2.00, 1.58),
        (-1.99, 1.71),
        (-0.74, 1.24),
        (-1.33, 1.45),
    ),
    "subjective outcomes (various)": (
        (-2.70, 1.52),
        (-2.93, 1.58),
        (-2.92, 1.71),
        (-1.67, 1.25),
        (-2.26, 1.45),
    ),
}
TURNER_GENERAL = (-2.56, 1.74)

# Rhodes et al. (2015), tables 3, A.3.1 and A.3.2: location and scale of log tau2 for SMDs, t
# with 5 df; one pair per comparison.
RHODES_COMPARISONS = (
    "pharmacological vs placebo/control",
    "pharmacological vs pharmacological",
    "non-pharmacological vs any",
)
RHODES_OUTCOMES = (
    "obstetric outcomes",
    "resource use / hospital stay / process",
    "internal / external structure-related outcomes",
    "physical health / adverse events / pain / quality of life / functioning",
    "signs / symptoms / end of condition / infection / onset of new disease",
    "mental health indicators",
    "biological markers",
    "subjective outcomes (various)",
)
RHODES: dict[str, tuple[tuple[Cell, ...], ...]] = {
    "other": (
        ((-4.13, 2.34), (-4.40, 2.31), (-3.99, 2.11)),
        ((-2.55, 2.73), (-2.83, 2.70), (-2.41, 2.57)),
        ((-2.43, 2.50), (-2.70, 2.46), (-2.29, 2.32)),
        ((-3.16, 2.50), (-3.44, 2.44), (-3.02, 2.27)),
        ((-3.00, 2.50), (-3.27, 2.47), (-2.86, 2.33)),
        ((-2.99, 2.16), (-3.27, 2.14), (-3.85, 1.93)),
        ((-3.41, 2.83), (-3.68, 2.78), (-3.27, 2.66)),
        ((-2.76, 2.58), (-3.03, 2.59), (-2.62, 2.41)),
    ),
    "respiratory": (
        ((-6.03, 2.36), (-6.31, 2.31), (-5.89, 2.21)),
        ((-4.46, 2.74), (-4.73, 2.70), (-4.32, 2.57)),
        ((-4.33, 2.51), (-4.61, 2.46), (-4.19, 2.33)),
        ((-5.07, 2.51), (-5.34, 2.45), (-4.93, 2.28)),
        ((-4.90, 2.50), (-5.18, 2.47), (-4.76, 2.33)),
        ((-4.90, 2.17), (-5.17, 2.14), (-4.76, 1.94)),
        ((-5.31, 2.83), (-5.59, 2.78), (-5.17, 2.66)),
        ((-4.66, 2.59), (-4.94, 2.59), (-4.52, 2.41)),
    ),
    "cancer": (
        ((-1.57, 2.45), (-1.85, 2.41), (-1.43, 2.24)),
        ((0.01, 2.83), (-0.27, 2.79), (0.15, 2.68)),
        ((-0.13, 2.61), (-0.14, 2.56), (0.27, 2.45)),
        ((-0.60, 2.61), (-0.88, 2.55), (-0.46, 2.40)),
        ((-0.44, 2.60), (-0.71, 2.57), (-0.30, 2.46)),
        ((-0.43, 2.28), (-0.71, 2.25), (-0.29, 2.08)),
        ((-0.85, 2.93), (-1.13, 2.87), (-0.71, 2.78)),
        ((-0.20, 2.68), (-0.48, 2.68), (-0.06, 2.53)),
    ),
}
RHODES_GENERAL = (-3.44, 2.59)
# Cells, by area, outcome and comparison, that two transcriptions agree on but that break the
# pattern of their table, in which every comparison shifts the location by a constant and every
# area the scale: probably misprints. They are refused, not repaired.
RHODES_DOUBTFUL: dict[tuple[str, str, str], str] = {
    ("other", RHODES_OUTCOMES[5], RHODES_COMPARISONS[2]): (
        "location -3.85 is printed where the table's pattern gives -2.85"
    ),
    ("cancer", RHODES_OUTCOMES[2], RHODES_COMPARISONS[0]): (
        "location -0.13 is printed where the table's pattern gives +0.13"
    ),
    ("respiratory", RHODES_OUTCOMES[0], RHODES_COMPARISONS[2]): (
        "scale 2.21 is printed where the table's pattern gives 2.12"
    ),
}


NUMBERS: dict[str, tuple[str, ...]] = {
    "half_normal": ("scale",),
    "half_cauchy": ("scale",),
    "uniform": ("maximum",),
    "log_normal": ("location", "scale"),
    "log_student_t": ("location", "scale"),
}
"""Priors that take numbers, all but locations above 0."""
WORDS: dict[str, tuple[str, ...]] = {
    "turner": ("outcome", "comparison"),
    "rhodes": ("outcome", "comparison", "area"),
}
"""Priors that are looked up, or are general without any word."""
WRITTEN = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> int:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {'; '.join(allowed)}, not {value!r}")
    return allowed.index(value)


def _both(outcome: str | None, comparison: str | None) -> tuple[str, str] | None:
    if outcome is None and comparison is None:
        return None
    if outcome is None or comparison is None:
        raise ValueError("outcome and comparison must be given both or neither")
    return outcome, comparison


def turner_cell(outcome: str | None = None, comparison: str | None = None) -> Cell:
    """Location and scale for log odds ratios; ValueError for unknown keys."""
    asked = _both(outcome, comparison)
    if asked is None:
        return TURNER_GENERAL
    _one_of("outcome", asked[0], tuple(TURNER))
    return TURNER[asked[0]][_one_of("comparison", asked[1], TURNER_COMPARISONS)]


def rhodes_cell(
    outcome: str | None = None, comparison: str | None = None, area: str = "other"
) -> Cell:
    """Location and scale for standardised mean differences.

    Raises
    ------
    ValueError
        Unknown key; a cell of the published table that looks like a misprint.
    """
    asked = _both(outcome, comparison)
    if asked is None:
        return RHODES_GENERAL
    _one_of("area", area, tuple(RHODES))
    row = _one_of("outcome", asked[0], RHODES_OUTCOMES)
    column = _one_of("comparison", asked[1], RHODES_COMPARISONS)
    if doubt := RHODES_DOUBTFUL.get((area, *asked)):
        raise ValueError(
            f"no prior for {asked[0]}, {asked[1]}, area {area}: {doubt}; check the paper and "
            "give log_student_t(location / 2; scale / 2) instead"
        )
    return RHODES[area][row][column]


def read_prior(text: str) -> tuple[str, tuple[float | str, ...]]:
    """Name and arguments of a prior as a configuration writes it.

    ``half_normal(0.5)``, ``log_normal(-2.56; 1.74)``, ``turner(all-cause mortality;
    pharmacological vs placebo/control)``: arguments are separated by semicolons, because names
    of outcomes have commas.

    Raises
    ------
    ValueError
        An unknown prior; arguments that it does not take.
    """
    match = WRITTEN.fullmatch(text)
    name = match[1] if match else text
    if match is None or name not in NUMBERS | WORDS:
        known = ", ".join([*NUMBERS, *WORDS])
        raise ValueError(f"prior must be one of {known}, with its arguments, not {text!r}")
    given = [part.strip() for part in (match[2] or "").split(";") if part.strip()]
    try:
        return name, _numbers(name, given) if name in NUMBERS else _words(name, given)
    except ValueError as error:
        raise ValueError(f"prior {text!r}: {error}") from None


def _numbers(name: str, given: list[str]) -> tuple[float, ...]:
    wanted = NUMBERS[name]
    if len(given) != len(wanted):
        raise ValueError(f"{name} takes {'; '.join(wanted)}, separated by semicolons")
    numbers = []
    for what, text in zip(wanted, given, strict=True):
        try:
            number = float(text)
        except ValueError:
            raise ValueError(f"{what} must be a number, not {text!r}") from None
        if not math.isfinite(number) or (what != "location" and number <= 0):
            above = "" if what == "location" else "positive and "
            raise ValueError(f"{what} must be {above}finite, not {text}")
        numbers.append(number)
    return tuple(numbers)


def _words(name: str, given: list[str]) -> tuple[str, ...]:
    wanted = WORDS[name]
    if len(given) > len(wanted):
        raise ValueError(f"{name} takes {'; '.join(wanted)}, separated by semicolons")
    {"turner": turner_cell, "rhodes": rhodes_cell}[name](*given)
    return tuple(given)
