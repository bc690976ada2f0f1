"""The floor under Knapp-Hartung intervals: where it holds, and the words that say so."""

from evisynth.heterogeneity import FEW
from evisynth.inference import normal_quantile, quantile


def knapp_hartung(
    *, s2w: float, tau2: float, k: int, df: int, level: float, se: float | None, floor: bool
) -> tuple[str, tuple[str, ...]]:
    """The test that is used where Knapp and Hartung's is asked for, and why another one.

    ``knha`` where the factor is at least 1 or where nothing speaks against it; ``adhoc``, the
    factor floored at 1 (Röver et al. 2015, doi:10.1186/s12874-015-0091-1), where tau2 is 0, the
    interval is narrower than Wald's or degrees of freedom are few.

    Parameters
    ----------
    s2w : the factor, a weighted mean square of residuals.
    k, df : number of studies, and degrees of freedom of the t distribution.
    level : as a fraction.
    se : Wald's standard error, for the widths in the words; None where there are several.
    floor : with False the plain interval stays, and the words say what speaks against it. Where
        all residuals are 0 there is none that could stay.
    """
    if s2w >= 1:
        return "knha", ()
    t, z = quantile(level, df), normal_quantile(level)
    if s2w == 0:
        return "adhoc", (
            "floored Knapp-Hartung interval (factor 1): the plain one is not estimable, "
            "residuals are all zero",
        )
    narrow = t * s2w**0.5 < z
    reasons = ["tau2 is 0"] if tau2 == 0 else []
    if narrow:
        widths = ""
        if se is not None:
            plain, wald = 2 * t * se * s2w**0.5, 2 * z * se
            widths = f" ({plain:.6g} against {wald:.6g} on the analysis scale)"
        reasons.append(f"the Knapp-Hartung interval is narrower than Wald's{widths}")
    if not reasons and df + 1 < FEW:
        few = f"{FEW} studies" if k < FEW else f"{FEW - 1} degrees of freedom"
        reasons.append(f"fewer than {few}")
    if not reasons:
        return "knha", ()
    why = " and ".join(reasons)
    if not floor:
        return "knha", (f"Knapp-Hartung interval not floored, as configured, although {why}",)
    width = "" if se is None else f", width {2 * t * se:.6g}"
    return "adhoc", (
        f"floored Knapp-Hartung interval (factor 1 instead of {s2w:.6g}{width}): {why}",
    )
