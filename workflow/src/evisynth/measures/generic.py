"""Effects that come ready made."""

import math
from dataclasses import replace

from evisynth.inputs import Axis
from evisynth.measures.base import (
    VIECHTBAUER,
    Effect,
    Measure,
    Numbers,
    Options,
    Transformation,
    none,
    squared,
)
from evisynth.measures.intervals import centre_note, standard_error
from evisynth.measures.transformations import (
    expit,
    exponential,
    fisher_z,
    hyperbolic_tangent,
    identity,
    logarithm,
    logit,
)

# Back to the display scale, its inverse, the name of the analysis scale, the axis.
TRANSFORMATIONS: dict[str, tuple[Transformation, Transformation, str, Axis]] = {
    "identity": (identity, identity, "plain", "linear"),
    "exp": (exponential, logarithm, "log", "log"),
    "tanh": (hyperbolic_tangent, fisher_z, "Fisher's z", "linear"),
    "expit": (expit, logit, "logit", "proportion"),
}


def _generic(
    numbers: Numbers, transformation: str = "identity", scale: str = "display"
) -> Effect:
    """Effect as given, or with the variance that its interval on the declared scale gives."""
    back, forward, name, _ = TRANSFORMATIONS[transformation]
    if "vi" in numbers:
        return Effect(numbers["yi"], numbers["vi"])
    if "sei" in numbers:
        return Effect(numbers["yi"], squared(numbers["sei"]))
    analysed = identity if scale == "analysis" else forward
    yi = numbers["yi"] if "yi" in numbers else analysed(numbers["estimate"])
    low, high = analysed(numbers["ci_low"]), analysed(numbers["ci_high"])
    if not all(math.isfinite(x) for x in (yi, low, high)):
        return none(f"the effect or a bound has no place on the {name} scale")
    if not low <= yi <= high:
        return none("the effect lies outside of its interval: check the declared scale")
    notes = _centre(numbers, yi, name, scale, back, forward)
    vi = squared(standard_error(numbers, analysed))
    said = f"derived: variance from the interval on the {name} scale"
    return Effect(yi, vi, notes=(said, *notes))


def _centre(
    numbers: Numbers,
    yi: float,
    name: str,
    scale: str,
    back: Transformation,
    forward: Transformation,
) -> tuple[str, ...]:
    """Whether the interval looks as if made on another scale than the declared one."""
    low, high = numbers["ci_low"], numbers["ci_high"]
    others: dict[str, Transformation] = {"log": logarithm} if low > 0 else {}
    if scale == "analysis":
        return centre_note(yi, low, high, name, others | {name: identity})
    estimate = numbers.get("estimate", back(yi))
    return centre_note(
        estimate, low, high, name, {"plain": identity} | others | {name: forward}
    )


def _configured(measure: Measure, options: Options) -> Measure:
    chosen, scale = str(options["transformation"]), str(options["scale"])
    back, forward, _, axis = TRANSFORMATIONS[chosen]
    null = options["null"]
    return replace(
        measure,
        back=back,
        back_name=chosen,
        forward=forward,
        drawn=axis,
        null=float(null) if isinstance(null, int | float) else None,
        printed="analysis" if scale == "analysis" else "display",
        compute=lambda numbers: _generic(numbers, chosen, scale),
    )


GENERIC = (
    Measure(
        key="GEN",
        label="Effect",
        back=identity,
        back_name="identity; option transformation",
        forward=identity,
        null=0.0,
        formula=(
            "yi as given; vi as given, or sei^2, or (half the width of the interval on the "
            "analysis scale / z)^2, z the normal quantile of its level; options "
            "transformation, scale, null"
        ),
        citation=VIECHTBAUER,
        compute=_generic,
        limits="No raw number can be checked: use another measure where one fits.",
        configure=_configured,
    ),
)
