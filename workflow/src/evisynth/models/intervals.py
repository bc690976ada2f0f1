"""Further confidence intervals for the mean of the normal-normal model, each by its name."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainc, ndtri

from evisynth.inference import normal_quantile, quantile, wald
from evisynth.linear import Mean, Problem, at, problem, total, weighted_mean
from evisynth.models.integration import adaptive
from evisynth.records import Estimate, Floats
from evisynth.tau2 import Tau2, estimate

NAN = math.nan
ALONE = "not estimable: one study, nothing is pooled"
# Below so many degrees of freedom the quantile is above 3 at 95%, and depends on little.
FEW_DF = 4


@dataclass(frozen=True, slots=True)
class Traces:
    """Traces of P = W - W1 (1'W1)^-1 1'W and its powers, and moments of the weights.

    All weights are 1 / (vi + tau2), in a unit in which the largest is near 1; `p` below is a
    weight's share of their sum.

    Attributes
    ----------
    w1 : sum of the weights.
    mean : sum of p w.
    spread : sum of p (w - mean)^2, the variance of the weights.
    third : sum of p w (w - mean)^2.
    p, pp : traces of P and of its square.
    """

    w1: float
    mean: float
    spread: float
    third: float
    p: float
    pp: float


def traces(data: Problem, tau2: float) -> Traces:
    """What Kenward-Roger and Henmi-Copas need, in sums of terms that are not negative.

    `data` with an intercept only, and `tau2` in its unit.
    """
    fit = at(data, tau2)
    w1, ones = total(fit.wi), np.ones(data.k)
    share = fit.wi / w1
    mean = total(share * fit.wi)
    away = fit.wi - mean
    # Only the first, most precise study can outweigh the others and lose digits.
    away[0] = total(share * (fit.wi[0] - fit.wi))
    return Traces(
        w1=w1,
        mean=mean,
        spread=total(share * away**2),
        third=total(share * fit.wi * away**2),
        p=fit.trace_p,
        pp=fit.trace_pspt(ones, ones),
    )


def _alone(yi: Floats, *, model: str, method: str, test: str, null: float | None) -> Estimate:
    """The row of one study: its effect, and nothing about a mean."""
    return wald(
        model=model,
        method=method,
        test=test,
        k=1,
        estimate=float(yi[0]),
        se=NAN,
        level=0.95,
        null=null,
        notes=(ALONE,),
    )


def _t_row(
    mean: Mean,
    *,
    model: str,
    method: str,
    test: str,
    k: int,
    factor: float,
    level: float,
    null: float | None,
    tau2: Tau2 | None,
    notes: tuple[str, ...] = (),
) -> Estimate:
    """A t interval with k - 1 df; the standard error is Wald's times the root of `factor`."""
    notes = (*(tau2.notes if tau2 else ()), *notes)
    se = mean.se * math.sqrt(factor)
    if se == 0:
        se = NAN
        notes = (*notes, "not estimable: residuals are all zero")
    return wald(
        model=model,
        method=method,
        test=test,
        k=k,
        estimate=mean.estimate,
        se=se,
        level=level,
        df=k - 1.0,
        null=null,
        tau2=tau2.value if tau2 else NAN,
        notes=notes,
    )


def t_wald(
    yi: Floats,
    vi: Floats,
    tau2: Tau2,
    *,
    method: str,
    level: float,
    null: float | None = 0.0,
) -> Estimate:
    """Wald's standard error with a t quantile of k - 1 degrees of freedom.

    Follmann & Proschan (1999, doi:10.1111/j.0006-341X.1999.00732.x); metafor's ``test="t"``.

    Parameters
    ----------
    yi, vi : effects and sampling variances, (k,), on the analysis scale.
    tau2, method : the estimate of tau2 and the key of its estimator.
    level : confidence level as a fraction.
    null : value under the hypothesis; None for no test.
    """
    data = problem(yi, vi)
    if data.k == 1:
        return _alone(yi, model="random", method=method, test="t", null=null)
    return _t_row(
        weighted_mean(data, tau2.value),
        model="random",
        method=method,
        test="t",
        k=data.k,
        factor=1.0,
        level=level,
        null=null,
        tau2=tau2,
    )


def uwls(yi: Floats, vi: Floats, *, level: float, null: float | None = 0.0) -> Estimate:
    """Unrestricted weighted least squares: the multiplicative model, common/UWLS/t.

    The common-effect estimate, its variance times s2w = Q / (k - 1), t with k - 1 df (Stanley &
    Doucouliagos 2015, doi:10.1002/sim.6481; Thompson & Sharp 1999, doi:10.1002/(SICI)1097-0258
    (19991030)18:20<2693::AID-SIM235>3.0.CO;2-V). The factor is not restricted to at least 1: a
    note says so where it is below. Parameters as for `t_wald`.
    """
    data = problem(yi, vi)
    if data.k == 1:
        return _alone(yi, model="common", method="UWLS", test="t", null=null)
    mean = weighted_mean(data, 0.0)
    notes: tuple[str, ...] = ()
    if 0 < mean.s2w < 1:
        notes = (
            f"effects more alike than chance: the factor of the variance is {mean.s2w:.6g}, "
            "below 1, so that the interval claims more than the studies' own variances allow",
        )
    return _t_row(
        mean,
        model="common",
        method="UWLS",
        test="t",
        k=data.k,
        factor=mean.s2w,
        level=level,
        null=null,
        tau2=None,
        notes=notes,
    )


def kenward_roger(
    yi: Floats,
    vi: Floats,
    *,
    level: float,
    null: float | None = 0.0,
    prediction: str = "KR",
    original_df: bool = False,
) -> Estimate:
    """Kenward-Roger interval of the mean after REML, random/REML/kr.

    With W1, W2, W3 the sums of the weights, of their squares and of their cubes, and the
    expected information of tau2, I = W2/2 - W3/W1 + (W2/W1)^2/2: the variance is 1/W1 times 1 +
    2 (W3/W1 - (W2/W1)^2) / I, and the degrees of freedom are 2 I / (variance W2)^2 (Partlett &
    Riley 2017, doi:10.1002/sim.7140; Kenward & Roger 1997, doi:10.2307/2533558; package meta's
    ``method.random.ci = "KR"``).

    Parameters
    ----------
    yi, vi, level, null : as for `t_wald`.
    prediction : ``KR`` (t with the degrees of freedom of the interval) or ``KR-PR`` (one fewer;
        Partlett & Riley), both with variance tau2 + se^2.
    original_df : with the unadjusted variance 1/W1 in the degrees of freedom, as Kenward and
        Roger have it; the row is then called ``kr1997``. They are more and the interval is
        narrower.
    """
    if prediction not in ("KR", "KR-PR"):
        raise ValueError(f"prediction must be KR or KR-PR, not {prediction!r}")
    test = "kr1997" if original_df else "kr"
    data = problem(yi, vi)
    if data.k == 1:
        return _alone(yi, model="random", method="REML", test=test, null=null)
    tau2 = estimate("REML", yi, vi)
    mean = weighted_mean(data, tau2.value)
    moments = traces(data, data.scaled(tau2.value))
    information = moments.pp / 2
    inflation = 1 + 2 * moments.spread / information
    df = 2 * information / (moments.mean * (1.0 if original_df else inflation)) ** 2
    notes = list(tau2.notes)
    if tau2.value == 0:
        notes.append("Kenward-Roger is derived for tau2 above 0 and is rough at the boundary")
    if df < FEW_DF:
        notes.append(f"{df:.3g} degrees of freedom: the interval depends on few studies")
    se = mean.se * math.sqrt(inflation)
    pi_df = df - (prediction == "KR-PR")
    pi_half = NAN
    if data.k < 3:
        notes.append("no prediction interval below 3 studies")
    elif pi_df <= 0:
        notes.append("no prediction interval: no degrees of freedom are left for it")
    else:
        pi_half = quantile(level, pi_df) * math.hypot(se, math.sqrt(tau2.value))
    return wald(
        model="random",
        method="REML",
        test=test,
        k=data.k,
        estimate=mean.estimate,
        se=se,
        level=level,
        df=df,
        null=null,
        tau2=tau2.value,
        pi_half=pi_half,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class _Pivot:
    """Approximate law of Q given the mean (Henmi & Copas 2010, section 3).

    The mean of Q is `mean` + `mean_slope` (z^2 - 1) and its variance `variance` +
    `variance_slope` (z^2 - 1) + `variance_bend` (1 - 2 z^2), z the standardised mean.

    Attributes
    ----------
    root : square root of the factor by which tau2 enlarges the variance of the mean.
    ratio : trace of P over the mean weight, both at tau2 = 0.
    """

    k: int
    root: float
    ratio: float
    mean: float
    mean_slope: float
    variance: float
    variance_slope: float
    variance_bend: float

    def below(self, z: Floats, x: float) -> Floats:
        """Probability that tau2 is small enough for the statistic to exceed `x`, given z."""
        square = z * z
        mean = self.mean + self.mean_slope * (square - 1)
        variance = (
            self.variance
            + self.variance_slope * (square - 1)
            + self.variance_bend * (1 - 2 * square)
        )
        with np.errstate(over="ignore"):  # x near 0: certain
            bound = self.ratio * ((z / x) ** 2 - 1) + self.k - 1
        # The gamma distribution with this mean and variance.
        below: Floats = gammainc(mean**2 / variance, bound * (mean / variance))
        return below

    def tail(self, x: float) -> float:
        """Probability that the statistic exceeds `x` > 0 on one side."""
        # Beyond the last edge the normal density adds nothing to the last digit.
        edges = np.sqrt(x * x + np.linspace(0, 9, 10) ** 2)
        return adaptive(
            lambda z: self.below(z, x) * np.exp(-z * z / 2) / math.sqrt(2 * math.pi), edges
        ).integral


def _pivot(data: Problem, tau2: float) -> _Pivot:
    moments = traces(data, 0.0)
    factor = 1 + tau2 * moments.mean
    bend = tau2**2 * moments.spread / factor
    return _Pivot(
        k=data.k,
        root=math.sqrt(factor),
        ratio=moments.p / moments.mean,
        mean=data.k - 1 + tau2 * moments.p,
        mean_slope=bend,
        variance=2 * (data.k - 1) + 4 * tau2 * moments.p + 2 * tau2**2 * moments.pp,
        variance_slope=4 * bend + 4 * tau2**3 * moments.third / factor,
        variance_bend=2 * bend**2,
    )


def henmi_copas(yi: Floats, vi: Floats, *, level: float, null: float | None = 0.0) -> Estimate:
    """Henmi & Copas (2010, doi:10.1002/sim.4029): random/DL/hc.

    The common-effect estimate, which publication bias distorts least, with an interval that
    holds under random effects: the distribution of its statistic is that of a normal mean over
    a scale in which DerSimonian and Laird's tau2 is random (section 3, gamma approximation to
    Q given the mean). The quantile is the exact root of that distribution function, by
    adaptive quadrature, and the p-value is that function at the observed statistic. Parameters
    as for `t_wald`.
    """
    data = problem(yi, vi)
    if data.k == 1:
        return _alone(yi, model="random", method="DL", test="hc", null=null)
    tau2 = estimate("DL", yi, vi)
    mean = weighted_mean(data, 0.0)
    pivot = _pivot(data, data.scaled(tau2.value))
    tail = (1 - level) / 2
    # The statistic is never larger than the standardised mean: the normal quantile bounds it.
    low = 1e-12
    # Variances that differ by many decades under a large tau2 leave a very small quantile.
    while low > 1e-150 and pivot.tail(low) < tail:
        low *= 1e-6
    x = brentq(
        lambda x: math.log(pivot.tail(x) / tail),
        low,
        -float(ndtri(tail)) * (1 + 1e-12),
        xtol=1e-300,
        rtol=4 * np.finfo(float).eps,
    )
    se = mean.se * pivot.root
    half = x * pivot.root * se
    statistic = NAN if null is None else (mean.estimate - null) / se
    p = NAN
    if not math.isnan(statistic):
        p = 2 * pivot.tail(abs(statistic) / pivot.root) if statistic else 1.0
    row = wald(
        model="random",
        method="DL",
        test="hc",
        k=data.k,
        estimate=mean.estimate,
        se=se,
        level=level,
        null=null,
        tau2=tau2.value,
        notes=(*tau2.notes, "centred at the common-effect estimate"),
    )
    return replace(row, ci_low=mean.estimate - half, ci_high=mean.estimate + half, p=p)


def _width(row: Estimate) -> float:
    return row.ci_high - row.ci_low


def _wider(knapp_hartung: Estimate, other: Estimate, *, test: str, name: str) -> Estimate:
    """The row with the wider interval, under the name of the rule; it says which and why."""
    widths = (
        f"width {_width(knapp_hartung):.6g} by Knapp-Hartung, {_width(other):.6g} by {name}"
    )
    if math.isnan(_width(knapp_hartung)):
        note = f"the interval of {name}: that of Knapp-Hartung is not estimable"
    elif _width(other) > _width(knapp_hartung):
        note = f"the interval of {name}, being the wider one: {widths}"
    else:
        return replace(
            knapp_hartung, test=test, notes=(*knapp_hartung.notes, f"Knapp-Hartung: {widths}")
        )
    return replace(
        other,
        model=knapp_hartung.model,
        method=knapp_hartung.method,
        test=test,
        tau2=knapp_hartung.tau2,
        notes=(*other.notes, note),
    )


def _knapp_hartung_and_wald(
    data: Problem, tau2: Tau2, *, method: str, level: float, null: float | None
) -> tuple[Estimate, Estimate]:
    mean = weighted_mean(data, tau2.value)
    knapp_hartung = _t_row(
        mean,
        model="random",
        method=method,
        test="knha",
        k=data.k,
        factor=mean.s2w,
        level=level,
        null=null,
        tau2=tau2,
    )
    plain = wald(
        model="random",
        method=method,
        test="z",
        k=data.k,
        estimate=mean.estimate,
        se=mean.se,
        level=level,
        null=null,
        tau2=tau2.value,
        notes=tau2.notes,
    )
    return knapp_hartung, plain


def hybrid_wald(
    yi: Floats,
    vi: Floats,
    tau2: Tau2,
    *,
    method: str,
    level: float,
    null: float | None = 0.0,
) -> Estimate:
    """The wider of Knapp and Hartung's and Wald's interval with the same tau2.

    Hybrid method 2 of Jackson et al. (2017, doi:10.1002/sim.7411); package meta's
    ``adhoc.hakn.ci = "ci"``. Estimate, statistic and p are those of the interval that is taken;
    where it is Wald's, df is nan. Parameters as for `t_wald`.
    """
    data = problem(yi, vi)
    if data.k == 1:
        return _alone(yi, model="random", method=method, test="hybrid_wald", null=null)
    rows = _knapp_hartung_and_wald(data, tau2, method=method, level=level, null=null)
    return _wider(*rows, test="hybrid_wald", name="Wald")


def hybrid_common(
    yi: Floats,
    vi: Floats,
    tau2: Tau2,
    *,
    method: str,
    level: float,
    null: float | None = 0.0,
) -> Estimate:
    """The wider of Knapp and Hartung's and the common-effect interval (inverse variance, z).

    Wiksten et al. (2016, doi:10.1002/sim.6879) and Jackson et al. (2017,
    doi:10.1002/sim.7411). Where the common effect's interval is taken, so is its estimate.
    Parameters as for `t_wald`.
    """
    data = problem(yi, vi)
    if data.k == 1:
        return _alone(yi, model="random", method=method, test="hybrid_common", null=null)
    knapp_hartung, _ = _knapp_hartung_and_wald(
        data, tau2, method=method, level=level, null=null
    )
    _, common = _knapp_hartung_and_wald(data, Tau2(0.0), method=method, level=level, null=null)
    return _wider(knapp_hartung, common, test="hybrid_common", name="the common effect")


def iqwig6(
    yi: Floats,
    vi: Floats,
    tau2: Tau2,
    *,
    method: str,
    level: float,
    null: float | None = 0.0,
) -> Estimate:
    """Knapp-Hartung, its factor floored at 1 where it is narrower than DerSimonian-Laird.

    IQWiG, General Methods 6 and later (the institute's own tau2 is PM); package meta's
    ``adhoc.hakn.ci = "IQWiG6"``: the interval is compared with Wald's for the tau2 of
    DerSimonian and Laird, and if it is narrower, its variance is that of Wald wherever
    Knapp and Hartung's is smaller. Parameters as for `t_wald`.
    """
    data = problem(yi, vi)
    if data.k == 1:
        return _alone(yi, model="random", method=method, test="iqwig6", null=null)
    row, _ = _knapp_hartung_and_wald(data, tau2, method=method, level=level, null=null)
    reference = (
        2 * normal_quantile(level) * weighted_mean(data, estimate("DL", yi, vi).value).se
    )
    if _width(row) >= reference:
        return replace(row, test="iqwig6")
    mean = weighted_mean(data, tau2.value)
    note = (
        f"Knapp-Hartung interval (width {_width(row):.6g}) narrower than DerSimonian-Laird's "
        f"({reference:.6g}): its factor {mean.s2w:.6g} is "
        + ("floored at 1" if mean.s2w < 1 else "kept, being at least 1")
    )
    return _t_row(
        mean,
        model="random",
        method=method,
        test="iqwig6",
        k=data.k,
        factor=max(1.0, mean.s2w),
        level=level,
        null=null,
        tau2=tau2,
        notes=(note,),
    )


# Rules that work on any estimate of tau2, by the key of the test.
FLOORED: dict[str, Callable[..., Estimate]] = {
    "t": t_wald,
    "hybrid_wald": hybrid_wald,
    "hybrid_common": hybrid_common,
    "iqwig6": iqwig6,
}

# Rules with an estimate of tau2, or none, of their own.
OTHERS: dict[str, Callable[..., Estimate]] = {
    "kr": kenward_roger,
    "hc": henmi_copas,
    "uwls": uwls,
}
