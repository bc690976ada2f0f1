"""Subgroups: a pooled estimate for each, and whether they differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from evisynth import linear, tau2
from evisynth.heterogeneity import FEW
from evisynth.inference import NAN, quantile, wald
from evisynth.models.design import DesignError, natural
from evisynth.models.floor import knapp_hartung
from evisynth.models.regression import (
    TESTS,
    JointTest,
    RegressionFit,
    columns_as_design,
    contrasts,
    meta_regression,
)
from evisynth.records import Estimate, Floats

# Degrees of freedom that the prediction interval spends beyond those of the mean (None: normal
# quantile), and whether it takes the standard error of the test (True) or Wald's.
PREDICTION: dict[str, tuple[int | None, bool]] = {
    "normal": (None, False),
    "V": (0, False),
    "HTS": (1, False),
    "HK": (0, True),
    "HK-PR": (1, True),
}


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One level; `q`, `i2` (per cent) and `se_tau2` are nan for a single study.

    With a common tau2, `i2` stands on that tau2 and the typical variance in the subgroup.
    """

    level: str
    k: int
    estimate: Estimate
    q: float
    q_df: int
    q_p: float
    i2: float
    se_tau2: float


@dataclass(frozen=True, slots=True)
class Partition:
    """Cochran's Q of all studies, split into between and within subgroups (common effect)."""

    q_total: float
    q_within: float
    q_between: float
    df: int
    p: float


@dataclass(frozen=True, slots=True)
class SubgroupFit:
    """All subgroups of one variable.

    Attributes
    ----------
    tau2 : ``separate`` or ``common``.
    groups : in natural order of their names.
    between : test of interaction; nan where it is refused, with the reason in `notes`.
    partition : the same for common effects; None where refused.
    regression : the model with one tau2; None for ``separate``. Its R2 and residual tau2.
    """

    tau2: str
    groups: tuple[Subgroup, ...]
    between: JointTest
    partition: Partition | None
    regression: RegressionFit | None
    notes: tuple[str, ...]


def _q(yi: Floats, vi: Floats) -> float:
    return linear.generalised_q(linear.problem(yi, vi), 0.0)


def _typical(vi: Floats) -> float:
    data = linear.problem(np.zeros(vi.size), vi)
    return (vi.size - 1) / linear.trace_p(data, 0.0)


def _prediction_half(
    flavour: str, own: float, plain: float, value: float, df: int, level: float
) -> float:
    spent, takes_own = PREDICTION[flavour]
    df_used = NAN if spent is None else float(df - spent)
    if df_used < 1 or df < 2:
        return NAN
    return quantile(level, df_used) * math.hypot(own if takes_own else plain, math.sqrt(value))


def _single(
    yi: Floats, vi: Floats, method: str, level: float, null: float | None, value: float
) -> Estimate:
    """The study itself; nothing is pooled."""
    return wald(
        model="common" if method == "IV" else "random",
        method=method,
        test="z",
        k=1,
        estimate=float(yi[0]),
        se=math.sqrt(float(vi[0])),
        level=level,
        null=null,
        tau2=value,
        notes=("one study: its own effect, nothing is pooled",),
    )


def _pooled(
    yi: Floats,
    vi: Floats,
    method: str,
    test: str,
    level: float,
    null: float | None,
    prediction: str,
    floor: bool,
) -> tuple[Estimate, float]:
    """Estimate of one subgroup by itself, and the standard error of its tau2."""
    k = yi.size
    data = linear.problem(yi, vi)
    if method == "IV":
        estimated, test = tau2.Tau2(0.0), "z"
    else:
        estimated = tau2.estimate(method, yi, vi)
    value = estimated.value
    solved = linear.coefficients(data, value)
    plain = float(solved.se[0])
    s2w = linear.generalised_q(data, value) / (k - 1)
    notes = estimated.notes
    if k == 2 and test != "z":
        test = "z"
        notes = (*notes, "two studies: z instead of t with 1 degree of freedom")
    elif test == "knha":
        test, said = knapp_hartung(
            s2w=s2w, tau2=value, k=k, df=k - 1, level=level, se=plain, floor=floor
        )
        notes = (*notes, *said)
    factor = {"knha": s2w, "adhoc": max(1.0, s2w)}.get(test, 1.0)
    se = plain * math.sqrt(factor)
    if se == 0:
        se, notes = NAN, (*notes, "not estimable: residuals are all zero")
    half = NAN
    if method != "IV":
        half = _prediction_half(prediction, se, plain, value, k - 1, level)
    row = wald(
        model="common" if method == "IV" else "random",
        method=method,
        test=test,
        k=k,
        estimate=float(solved.b[0]),
        se=se,
        level=level,
        df=NAN if test == "z" else k - 1.0,
        null=null,
        tau2=NAN if method == "IV" else value,
        pi_half=half,
        notes=notes,
    )
    return row, estimated.se


def _separate(
    parts: dict[str, tuple[Floats, Floats]],
    method: str,
    test: str,
    level: float,
    null: float | None,
    prediction: str,
    floor: bool,
) -> tuple[Subgroup, ...]:
    groups = []
    for name, (yi, vi) in parts.items():
        if yi.size == 1:
            row = _single(yi, vi, method, level, null, NAN)
            groups.append(Subgroup(name, 1, row, NAN, 0, NAN, NAN, NAN))
            continue
        row, se_tau2 = _pooled(yi, vi, method, test, level, null, prediction, floor)
        q, df = _q(yi, vi), yi.size - 1
        if method == "IV":
            i2 = 100 * max(0.0, (q - df) / q) if q > 0 else 0.0
        else:
            i2 = 100 * row.tau2 / (row.tau2 + _typical(vi))
        groups.append(Subgroup(name, yi.size, row, q, df, float(chdtrc(df, q)), i2, se_tau2))
    return tuple(groups)


def _wald_between(groups: Sequence[Subgroup], parts: dict[str, tuple[Floats, Floats]]) -> float:
    """Q of the subgroups' estimates with the weights 1 / se^2, se that of Wald."""
    estimates = np.array([group.estimate.estimate for group in groups])
    variances = [
        1 / linear.total(1 / (vi + (0.0 if math.isnan(g.estimate.tau2) else g.estimate.tau2)))
        for g, (_, vi) in zip(groups, parts.values(), strict=True)
    ]
    return _q(estimates, np.array(variances))


def _common(
    parts: dict[str, tuple[Floats, Floats]],
    method: str,
    test: str,
    level: float,
    null: float | None,
    prediction: str,
    floor: bool,
) -> tuple[tuple[Subgroup, ...], RegressionFit]:
    """One tau2 for all subgroups: a regression with one mean per subgroup."""
    names = list(parts)
    sizes = [yi.size for yi, _ in parts.values()]
    x = np.repeat(np.eye(len(names)), sizes, axis=0)
    yi = np.concatenate([y for y, _ in parts.values()])
    vi = np.concatenate([v for _, v in parts.values()])
    design = columns_as_design(x, names)
    if method == "IV":
        test = "z"
    fit = meta_regression(yi, vi, design, method=method, test=test, level=level)
    said: tuple[str, ...] = ()
    if test == "knha":
        other, said = knapp_hartung(
            s2w=fit.s2w,
            tau2=fit.tau2,
            k=fit.k,
            df=fit.k - fit.p,
            level=level,
            se=None,
            floor=floor,
        )
        if other != test:
            fit = meta_regression(yi, vi, design, method=method, test=other, level=level)
    groups = []
    for place, (name, (y, v)) in enumerate(parts.items()):
        se = math.sqrt(float(fit.covariance[place, place]))
        plain = se / math.sqrt(fit.factor) if fit.factor > 0 else NAN
        half = NAN
        if method != "IV":
            half = _prediction_half(prediction, se, plain, fit.tau2, fit.k - fit.p, level)
        row = wald(
            model="common" if method == "IV" else "random",
            method=method,
            test=fit.test,
            k=y.size,
            estimate=fit.coefficients[place].estimate,
            se=se if se > 0 else NAN,
            level=level,
            df=fit.df,
            null=null,
            tau2=NAN if method == "IV" else fit.tau2,
            pi_half=half,
            notes=(*said, "one study in this subgroup") if y.size == 1 else said,
        )
        q, df, i2 = NAN, y.size - 1, NAN
        if df:
            q = _q(y, v)
            i2 = 100 * fit.tau2 / (fit.tau2 + _typical(v))
        p = float(chdtrc(df, q)) if df else NAN
        groups.append(Subgroup(name, y.size, row, q, df, p, i2, fit.se_tau2))
    return tuple(groups), fit


def _parts(
    yi: Floats, vi: Floats, levels: Sequence[str], labels: Sequence[str] | None
) -> tuple[dict[str, tuple[Floats, Floats]], list[str]]:
    names = [level.strip() for level in levels]
    missing = [row for row, name in enumerate(names) if not name]
    notes = []
    if missing:
        named = "; ".join(labels[row] if labels else f"row {row + 1}" for row in missing)
        notes.append(f"left out of all subgroups, the level is missing: {named}")
    parts = {}
    for level in sorted(set(names) - {""}, key=natural):
        mask = np.array([name == level for name in names])
        parts[level] = (yi[mask], vi[mask])
    return parts, notes


def _refusal(parts: dict[str, tuple[Floats, Floats]]) -> str:
    """Why there is no test of interaction; empty if there is one."""
    if len(parts) < 2:
        return "no test of interaction: there is one subgroup only"
    single = [name for name, (yi, _) in parts.items() if yi.size == 1]
    if single:
        return (
            f"no test of interaction: {', '.join(single)} has one study, whose own "
            "peculiarities cannot be told from those of the subgroup"
        )
    return ""


def subgroups(
    yi: Floats,
    vi: Floats,
    levels: Sequence[str],
    *,
    variance: str = "separate",
    method: str = "REML",
    test: str = "knha",
    level: float = 0.95,
    null: float | None = 0.0,
    prediction: str = "HK",
    floor: bool = True,
    labels: Sequence[str] | None = None,
) -> SubgroupFit:
    """Pool subgroups, with a tau2 each or one for all, and test whether they differ.

    Parameters
    ----------
    yi, vi : effects and variances of shape (k,).
    levels : subgroup of each study; studies with an empty one are left out, with a note.
    variance : ``separate``: each subgroup is pooled by itself, and Q of their estimates with
        the weights 1 / se^2 (Wald's standard errors) is chi-squared with one degree of freedom
        less than there are subgroups (Borenstein & Higgins 2013,
        doi:10.1007/s11121-013-0377-7). ``common``: the studies of all subgroups together give
        one tau2; degrees of freedom are k minus the number of subgroups, and with a t test the
        subgroups are compared by F. To be preferred where a subgroup has few studies.
    method, test, level : as in `meta_regression`.
    null : value tested in each subgroup; None for no test.
    prediction : flavour of the prediction intervals, as in `menus.PREDICTION`; with a common
        tau2 the degrees of freedom are k minus the number of subgroups instead of k - 1.
    floor : take the floored Knapp-Hartung interval where the plain one is narrower than Wald's
        or stands on tau2 = 0. Two studies by themselves are never given a t interval.
    labels : names of the studies, for the notes.

    There is no test of interaction where a subgroup has one study or where there is one
    subgroup: nan, with the reason in the notes.

    Raises
    ------
    ValueError
        Shapes, unknown options, no study with a level; what `linear.problem` raises.
    DesignError
        A common tau2 where every subgroup has one study.
    """
    yi, vi = np.asarray(yi, dtype=float), np.asarray(vi, dtype=float)
    if yi.shape != (len(levels),) or vi.shape != yi.shape:
        raise ValueError(f"yi, vi and levels differ: {yi.shape}, {vi.shape}, {len(levels)}")
    if variance not in ("separate", "common"):
        raise ValueError(f"variance must be separate or common, not {variance!r}")
    if test not in TESTS:
        raise ValueError(f"test must be one of {', '.join(TESTS)}, not {test!r}")
    if prediction not in PREDICTION:
        raise ValueError(
            f"prediction must be one of {', '.join(PREDICTION)}, not {prediction!r}"
        )
    parts, notes = _parts(yi, vi, levels, labels)
    if not parts:
        raise ValueError("no study has a subgroup")
    if variance == "common" and all(y.size == 1 for y, _ in parts.values()):
        raise DesignError("every subgroup has one study: nothing tells tau2 from their means")
    options = (method, test, level, null, prediction, floor)
    names, df = tuple(parts), len(parts) - 1
    fit = None
    if variance == "separate":
        groups = _separate(parts, *options)
        few = [g.level for g in groups if g.k < FEW]
        if few and method != "IV":
            notes.append(
                f"fewer than {FEW} studies in {', '.join(few)}: a common tau2 is safer"
            )
    else:
        groups, fit = _common(parts, *options)
        notes += [note for note in fit.notes if "moderator" not in note]
    between = JointTest("subgroups", names, NAN, df, NAN, NAN)
    partition = None
    if why := _refusal(parts):
        notes.append(why)
    else:
        within = math.fsum(group.q for group in groups)
        whole = _q(
            np.concatenate([y for y, _ in parts.values()]),
            np.concatenate([v for _, v in parts.values()]),
        )
        apart = _apart(parts)
        partition = Partition(whole, within, apart, df, float(chdtrc(df, apart)))
        if fit is None:
            q = _wald_between(groups, parts)
            between = JointTest("subgroups", names, q, df, NAN, float(chdtrc(df, q)))
        else:
            rows = {f"{name} v {names[0]}": {name: 1.0, names[0]: -1.0} for name in names[1:]}
            _, joint = contrasts(fit, rows)
            between = JointTest("subgroups", names, joint.statistic, df, joint.df2, joint.p)
    return SubgroupFit(variance, groups, between, partition, fit, tuple(notes))


def _apart(parts: dict[str, tuple[Floats, Floats]]) -> float:
    """Q between subgroups with common effects, free of the cancellation in Q minus Q within."""
    solved = [linear.coefficients(linear.problem(y, v), 0.0) for y, v in parts.values()]
    means = np.array([float(s.b[0]) for s in solved])
    return _q(means, np.array([float(s.covariance[0, 0]) for s in solved]))
