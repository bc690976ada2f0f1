"""What is asked of the pooling of one analysis: plain choices, free of numpy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from evisynth.menus import (
    FAMILIES,
    FAMILY_MEASURES,
    GLMM,
    PREDICTION,
    ROBUST,
    STRUCTURES,
    TAU2,
    TAU2_GIVEN,
    TESTS,
    WEIGHTS,
)

FIXED = "fixed"
"""Name of the method that takes tau2 as given."""


METHOD_OF_TEST = {"kr": "REML", "hc": "DL"}
"""Tests that stand on one estimator of tau2."""
NOT_AROUND_MH = ("kr", "hc", "uwls")
"""Tests that bring a tau2, or a model, of their own: not for the family MHDL."""


@dataclass(frozen=True, slots=True)
class Dependence:
    """Which rows are not independent, and how.

    Attributes
    ----------
    levels : columns of nested groups, the widest first; a random effect for each.
    inner : column of what is measured several times within the innermost of `levels`, for the
        multivariate structures.
    structure : key of `menus.STRUCTURES`.
    rho : assumed correlation of sampling errors within `within`; none is 0.
    within : column of the rows whose sampling errors are correlated by `rho`.
    grid : further values of `rho`, for a sensitivity row each.
    correlation : column of the printed correlation of the sampling errors of each group of
        `within`.
    shared_arm : column that is equal for rows with the same control group.
    shared : numbers of patients that pairs of studies share, at most.
    robust : key of `menus.ROBUST`.
    """

    levels: tuple[str, ...] = ()
    inner: str = ""
    structure: str = "nested"
    rho: float | None = None
    within: str = ""
    grid: tuple[float, ...] = ()
    correlation: str = ""
    shared_arm: str = ""
    shared: Mapping[tuple[str, str], float] = field(default_factory=dict)
    robust: str = "none"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of an analysis; keys as in `menus`.

    Attributes
    ----------
    effects : whether the headline assumes one common effect or a distribution of effects.
    family : what the likelihood is of.
    method, test : estimator of tau2; interval and test of the mean.
    tau2 : its value where `method` is ``fixed``.
    weights : of the generalised Q, where `method` is ``GENQ`` or ``GENQM``.
    floor : replace a Knapp-Hartung headline that is narrower than Wald's, or stands on tau2 =
        0, by the floored one.
    prediction : flavour of the prediction intervals.
    glmm : which of the models for two groups.
    prior : of tau, for the family ``BAYES``: name and numbers.
    modelweights : of the family ``RVE``: ``CORR`` or ``HIER``.
    dependence : of rows, for the families ``MV`` and ``RVE``.
    replicates, seed : of bootstrap intervals.
    level : of all intervals, as a fraction.
    """

    effects: Literal["random", "common"] = "random"
    family: str = "IV"
    method: str = "REML"
    test: str = "knha"
    tau2: float | None = None
    weights: str = "inverse_variance"
    floor: bool = True
    prediction: str = "HK"
    glmm: str = "UM.FS"
    prior: str = "half_normal(0.5)"
    modelweights: str = "CORR"
    dependence: Dependence = Dependence()
    replicates: int = 25_000
    seed: int = 1
    level: float = 0.95


def check(measure: str, spec: ModelSpec) -> None:
    """Refuse a model that does not exist, or not for `measure`.

    Raises
    ------
    ValueError
        With the choice, what was found and what is possible.
    """
    if not 0 < spec.level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {spec.level}")
    menus = {
        "effects": ("random", "common"),
        "family": FAMILIES,
        "method": (*TAU2, *TAU2_GIVEN),
        "test": TESTS,
        "prediction": PREDICTION,
        "glmm": GLMM,
        "weights": WEIGHTS,
    }
    for name, menu in menus.items():
        value = getattr(spec, name)
        if value not in menu:
            raise ValueError(f"{name} must be one of {', '.join(menu)}, not {value!r}")
    for name, menu in (("structure", STRUCTURES), ("robust", ROBUST)):
        value = getattr(spec.dependence, name)
        if value not in menu:
            raise ValueError(f"{name} must be one of {', '.join(menu)}, not {value!r}")
    possible = FAMILY_MEASURES.get(spec.family)
    if possible and measure not in possible:
        raise ValueError(
            f"family {spec.family} is for {', '.join(possible)}, not for {measure}"
        )
    if spec.family == "GLMM" and measure == "IRR" and spec.glmm == "CM.AL":
        raise ValueError("the conditional likelihood of rates is exact: glmm CM.EL, not CM.AL")
    wanted = METHOD_OF_TEST.get(spec.test)
    if wanted and spec.family == "IV" and spec.method != wanted:
        raise ValueError(f"the test {spec.test} is for the method {wanted}, not {spec.method}")
    if spec.family == "MHDL" and spec.test in NOT_AROUND_MH:
        raise ValueError(f"the test {spec.test} is not for the family MHDL, but for IV")
    if (spec.method == FIXED) != (spec.tau2 is not None):
        raise ValueError(f"tau2 is given with the method {FIXED}, and only with it")
