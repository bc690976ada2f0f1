"""Beta-binomial models: one proportion, or two groups with one overdispersion."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln, expit

from evisynth.inference import wald
from evisynth.linear import total
from evisynth.models.tables import ChiSquare, chi_square, tables
from evisynth.records import Estimate, Floats

NAN = math.nan
NO_TEST = ChiSquare(NAN, 0, NAN)
MEASURES = ("OR", "RR", "RD")
# Sums over whole numbers below this are written out, beyond by quadrature in octaves: there log
# and reciprocals of a + r b are analytic far enough around an octave for all digits.
DENSE = 64
NODES = 12
# Spacing of the scan in the logit of rho.
STEP = 0.25
# Numbers held at once by the scan.
BLOCK = 500_000
ITERATIONS = 200
WIDEST = 60.0  # of a logit; counts up to 1e15 stay far inside


@dataclass(frozen=True, slots=True)
class BetaBinomial:
    """A beta-binomial fit.

    Attributes
    ----------
    estimates : random/BB/z on the analysis scales: the logit of the mean proportion, or OR, RR
        (log) and RD in this order.
    means : mean proportion of each group of the comparison (1 or 2 numbers).
    rho : intraclass correlation, 0 (binomial) to 1.
    log_likelihood, log_likelihood_binomial : at the maximum, and at rho = 0.
    rho_test : likelihood ratio test of rho = 0; its p-value is half the chi-square one, 0 being
        the end of the range (Self & Liang 1987, doi:10.1080/01621459.1987.10478472).
    maxima : rho at the local maxima of the profile likelihood, ascending.
    notes : every caveat.
    """

    estimates: tuple[Estimate, ...]
    means: tuple[float, ...]
    rho: float
    log_likelihood: float
    log_likelihood_binomial: float
    rho_test: ChiSquare
    maxima: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sum:
    """Sum over studies and over r from 1 to m - 1 as weights at nodes; both of shape (q,)."""

    r: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class _Group:
    """One group of the comparison, with events and with non-events.

    Attributes
    ----------
    up, down : sums over events and non-events.
    any_up, any_down : number of studies with an event, with a non-event.
    crude : events over members.
    """

    up: _Sum
    down: _Sum
    any_up: float
    any_down: float
    crude: float


@dataclass(frozen=True, slots=True)
class _Data:
    """All groups that tell something about rho.

    Attributes
    ----------
    groups : those with events and non-events.
    size : sums over members, of these groups.
    inner : number of studies with both outcomes in a group, counted by group.
    constant : log binomial coefficients, of all groups.
    largest : size of the largest group.
    """

    groups: tuple[_Group, ...]
    size: _Sum
    inner: float
    constant: float
    largest: float


def _gauss(count: int) -> tuple[Floats, Floats]:
    """Nodes in 0 to count - 1 and weights that sum polynomials over these whole numbers.

    Golub & Welsch (1969) with the recurrence of the discrete Chebyshev polynomials.
    """
    if count <= NODES:
        return np.arange(count, dtype=float), np.ones(count)
    order = np.arange(1, NODES)
    off = order / 2 * np.sqrt((1 - (order / count) ** 2) / (4.0 * order**2 - 1))
    nodes, vectors = np.linalg.eigh(np.diag(off, 1) + np.diag(off, -1))
    return (count - 1) / 2 + count * nodes, count * vectors[0] ** 2


def _sum(limits: Floats) -> _Sum:
    """Nodes and weights of the sum over studies i and r = 1 ... limits[i] - 1."""
    r: list[Floats] = [np.arange(1.0, DENSE)]
    weight: list[Floats] = [(limits[:, None] > r[0]).sum(axis=0).astype(float)]
    values, counts = np.unique(limits, return_counts=True)
    start = DENSE
    while (values > start).any():
        whole = counts[values >= 2 * start].sum()
        pieces = [(start, float(whole))] if whole else []
        partial = (values > start) & (values < 2 * start)
        pieces += [
            (int(value) - start, float(number))
            for value, number in zip(values[partial], counts[partial], strict=True)
        ]
        for length, number in pieces:
            nodes, weights = _gauss(length)
            r.append(start + nodes)
            weight.append(number * weights)
        start *= 2
    nodes, weights = np.concatenate(r), np.concatenate(weight)
    return _Sum(nodes[weights > 0], weights[weights > 0])


def _group(xi: Floats, ni: Floats) -> _Group:
    yi = ni - xi
    return _Group(
        up=_sum(xi),
        down=_sum(yi),
        any_up=float((xi > 0).sum()),
        any_down=float((yi > 0).sum()),
        crude=total(xi) / total(ni),
    )


def _data(counts: Sequence[tuple[Floats, Floats]]) -> _Data:
    """Sums of all groups; those without one of the outcomes say nothing about rho."""
    telling = [(xi, ni) for xi, ni in counts if 0 < total(xi) < total(ni)]
    sizes = [ni for _, ni in telling]
    return _Data(
        groups=tuple(_group(xi, ni) for xi, ni in telling),
        size=_sum(np.concatenate(sizes)) if sizes else _sum(np.zeros(0)),
        inner=float(sum(((xi > 0) & (xi < ni)).sum() for xi, ni in telling)),
        constant=total(
            np.concatenate([-np.log1p(ni) - betaln(xi + 1, ni - xi + 1) for xi, ni in telling])
        )
        if telling
        else 0.0,
        largest=max((float(ni.max()) for ni in sizes), default=1.0),
    )


def _mean_score(group: _Group, eta: Floats, rho: Floats) -> tuple[Floats, Floats]:
    """First and second derivative of the log-likelihood by the mean, each (m,).

    Every term is the log of a linear function: the log-likelihood is concave in the mean.
    """
    mean, rest = expit(eta), expit(-eta)
    scale = (1 - rho)[:, None]
    up = scale / (scale * mean[:, None] + rho[:, None] * group.up.r)
    down = scale / (scale * rest[:, None] + rho[:, None] * group.down.r)
    first = group.any_up / mean - group.any_down / rest
    first = first + up @ group.up.weight - down @ group.down.weight
    second = group.any_up / mean**2 + group.any_down / rest**2
    second = second + up**2 @ group.up.weight + down**2 @ group.down.weight
    return first, -second


def _best_mean(group: _Group, rho: Floats) -> Floats:
    """Logit of the mean that maximises at each rho (m,): unique, found to the last digits."""
    low, high = np.full(rho.size, -WIDEST), np.full(rho.size, WIDEST)
    eta = np.full(rho.size, math.log(group.crude / (1 - group.crude)))
    for _ in range(ITERATIONS):
        first, second = _mean_score(group, eta, rho)
        mean, rest = expit(eta), expit(-eta)
        low, high = np.where(first > 0, eta, low), np.where(first < 0, eta, high)
        # by the logit, without the term of the gradient that vanishes at the root
        step = first / (-second * mean * rest)
        new = eta + np.clip(step, -2.0, 2.0)
        inside = (low <= new) & (new <= high)
        new = np.where(inside, new, low + (high - low) / 2)
        done = np.abs(new - eta) <= 1e-15 * (1 + np.abs(eta))
        eta = np.where(first == 0, eta, new)
        if np.all(done | (first == 0)):
            break
    return eta


def _value(data: _Data, etas: Sequence[Floats], rho: Floats) -> Floats:
    """Log-likelihood at means (one array of shape (m,) per group) and rho (m,)."""
    scale, column = (1 - rho)[:, None], rho[:, None]
    with np.errstate(divide="ignore"):  # minus infinity at rho = 1, where it is meant
        value = data.constant + (data.inner * np.log1p(-rho) if data.inner else 0.0)
    value = value - np.log(scale + column * data.size.r) @ data.size.weight
    for group, eta in zip(data.groups, etas, strict=True):
        mean, rest = expit(eta), expit(-eta)
        value = (
            value
            - group.any_up * np.logaddexp(0, -eta)
            - group.any_down * np.logaddexp(0, eta)
            + np.log(scale * mean[:, None] + column * group.up.r) @ group.up.weight
            + np.log(scale * rest[:, None] + column * group.down.r) @ group.down.weight
        )
    return value


def _rho_slope(data: _Data, etas: Sequence[Floats], rho: Floats) -> Floats:
    """Derivative of the log-likelihood by rho (m,); of the profile, if the means are best."""
    scale, column = (1 - rho)[:, None], rho[:, None]
    slope = -((data.size.r - 1) / (scale + column * data.size.r)) @ data.size.weight
    if data.inner:
        slope = slope - data.inner / (1 - rho)
    for group, eta in zip(data.groups, etas, strict=True):
        for sign, part in ((1, group.up), (-1, group.down)):
            p = expit(sign * eta)[:, None]
            slope = slope + ((part.r - p) / (scale * p + column * part.r)) @ part.weight
    return slope


def _information(data: _Data, etas: Sequence[float], rho: float) -> Floats:
    """Minus the second derivatives by the logits of the means, then rho."""
    size = len(data.groups)
    found = np.zeros((size + 1, size + 1))
    all_r = data.size
    found[-1, -1] = -(((all_r.r - 1) / (1 - rho + rho * all_r.r)) ** 2) @ all_r.weight
    if data.inner:
        found[-1, -1] += data.inner / (1 - rho) ** 2
    for row, (group, eta) in enumerate(zip(data.groups, etas, strict=True)):
        mean, rest = float(expit(eta)), float(expit(-eta))
        _, second = _mean_score(group, np.array([eta]), np.array([rho]))
        slope = mean * rest
        found[row, row] = -second[0] * slope**2
        for sign, p, part in ((1, mean, group.up), (-1, rest, group.down)):
            base = (1 - rho) * p + rho * part.r
            found[row, -1] += sign * slope * (part.r / base**2) @ part.weight
            found[-1, -1] += ((part.r - p) / base) ** 2 @ part.weight
        found[-1, row] = found[row, -1]
    return found


def _grid(data: _Data) -> Floats:
    """Values of rho: 0, then even steps of its logit from a hundredth of 1 / n up to 0.999."""
    low, high = -math.log(100 * data.largest), math.log(999)
    logits = np.linspace(low, high, 1 + math.ceil((high - low) / STEP))
    return np.concatenate([[0.0], expit(logits)])


def _scan(data: _Data, rho: Floats) -> Floats:
    """Slope of the profile at each rho."""
    nodes = data.size.r.size + sum(g.up.r.size + g.down.r.size for g in data.groups)
    rows = max(1, BLOCK // max(1, nodes))
    slopes = []
    for start in range(0, rho.size, rows):
        part = rho[start : start + rows]
        slopes.append(_rho_slope(data, [_best_mean(g, part) for g in data.groups], part))
    return np.concatenate(slopes)


def _slope_at(data: _Data, rho: float) -> float:
    at = np.array([rho])
    return float(_rho_slope(data, [_best_mean(group, at) for group in data.groups], at)[0])


def _maxima(data: _Data) -> list[float]:
    """All local maxima of the profile likelihood of rho in 0 to 1, ascending."""
    rho = _grid(data)
    slope = _scan(data, rho)
    found = [0.0] if slope[0] <= 0 else []
    for left in np.flatnonzero((slope[:-1] > 0) & (slope[1:] <= 0)):
        low, high = float(rho[left]), float(rho[left + 1])
        if _slope_at(data, high) >= 0:  # a point of the scan, but for rounding
            found.append(high)
            continue
        found.append(
            float(brentq(lambda x: _slope_at(data, x), low, high, xtol=1e-18, rtol=1e-14))
        )
    if slope[-1] > 0:
        found.append(_last_maximum(data, float(rho[-1])))
    return found


def _last_maximum(data: _Data, low: float) -> float:
    """The maximum above the scan: at 1 where no group of a study shows both outcomes."""
    if not data.inner:
        return 1.0
    high = low
    while _slope_at(data, high) > 0:
        high = (1 + high) / 2
    return float(brentq(lambda x: _slope_at(data, x), low, high, xtol=1e-18, rtol=1e-14))


@dataclass(frozen=True, slots=True)
class _Fit:
    """Maximum of the likelihood; logits of the means of the telling groups with covariance."""

    etas: tuple[float, ...]
    covariance: Floats
    rho: float
    value: float
    binomial: float
    maxima: tuple[float, ...]
    notes: tuple[str, ...]


def _values(data: _Data, rho: float) -> tuple[tuple[float, ...], float]:
    """Best logits at rho, and the log-likelihood there."""
    at = np.array([rho])
    etas = [_best_mean(group, at) for group in data.groups]
    return tuple(float(eta[0]) for eta in etas), float(_value(data, etas, at)[0])


def _fit(data: _Data) -> _Fit:
    """Global maximum: the best mean is unique at each rho, and rho is scanned."""
    notes = []
    if data.size.r.size == 0:
        maxima = [0.0]
        notes.append("rho not estimable, taken as 0: no group has more than one member")
    else:
        maxima = _maxima(data)
    fits = {rho: _values(data, rho) for rho in maxima}
    rho = max(maxima, key=lambda place: fits[place][1])
    etas, value = fits[rho]
    binomial = _values(data, 0.0)[1]
    if len(maxima) > 1:
        places = ", ".join(f"{place:.6g}" for place in maxima)
        notes.append(f"the likelihood has several maxima (rho {places}); the highest is used")
    size = len(data.groups)
    information = _information(data, etas, rho)
    covariance = np.full((size, size), NAN)
    if rho in (0.0, 1.0):
        covariance = np.diag(1 / np.diag(information)[:size])
        if rho == 0 and data.size.r.size:
            notes.append("rho = 0, end of its range: the model is binomial, as if one study")
        if rho == 1:
            notes.append("rho = 1, end of its range: each study shows one outcome only")
    elif np.linalg.eigvalsh(_scaled(information))[0] > 0:
        covariance = np.linalg.inv(information)[:size, :size]
    else:
        notes.append("standard errors not estimable: the likelihood is flat at its maximum")
    return _Fit(etas, covariance, rho, value, binomial, tuple(maxima), tuple(notes))


def _scaled(matrix: Floats) -> Floats:
    """The matrix with a diagonal of 1, where its diagonal is positive."""
    diagonal = np.diag(matrix)
    if (diagonal <= 0).any():
        return matrix
    scaled: Floats = matrix / np.sqrt(np.outer(diagonal, diagonal))
    return scaled


def _rho_test(fit: _Fit, data: _Data) -> ChiSquare:
    if data.size.r.size == 0:
        return NO_TEST
    statistic = max(0.0, 2 * (fit.value - fit.binomial)) if fit.rho > 0 else 0.0
    test = chi_square(statistic, 1)
    return ChiSquare(statistic, 1, test.p / 2 if statistic > 0 else 1.0)


def _check(counts: Sequence[tuple[Floats, Floats]], level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {level}")
    for xi, ni in counts:
        if xi.ndim != 1 or xi.shape != ni.shape or xi.size == 0:
            raise ValueError("xi and ni must be of one shape (k,), k > 0")
        if not (np.isfinite(xi) & np.isfinite(ni) & (xi >= 0) & (ni >= xi) & (ni > 0)).all():
            raise ValueError("events must be in 0 to n, and n at least 1")
        if ((xi != np.floor(xi)) | (ni != np.floor(ni))).any():
            raise ValueError("events and members must be whole numbers")


def _one_outcome(never: bool, members: float, k: int, level: float) -> BetaBinomial:
    """No event, or events only, in any study: exact, by Clopper and Pearson on the totals."""
    # logit of 1 - (alpha / 2)^(1 / n)
    end = math.log(math.expm1(-math.log((1 - level) / 2) / members))
    note = (
        f"{'no event' if never else 'events only'} in any study: the proportion is "
        f"{0 if never else 1}, rho is not estimable, and the interval is Clopper and Pearson's "
        "for all members together, as if they were one study"
    )
    row = Estimate(
        model="random",
        method="BB",
        test="z",
        k=k,
        estimate=-math.inf if never else math.inf,
        se=NAN,
        ci_low=-math.inf if never else -end,
        ci_high=end if never else math.inf,
        pi_low=NAN,
        pi_high=NAN,
        statistic=NAN,
        df=NAN,
        p=NAN,
        tau2=NAN,
        notes=(note,),
    )
    return BetaBinomial(
        estimates=(row,),
        means=(0.0 if never else 1.0,),
        rho=NAN,
        log_likelihood=0.0,
        log_likelihood_binomial=0.0,
        rho_test=NO_TEST,
        notes=(note,),
    )


def beta_binomial(xi: Floats, ni: Floats, *, level: float = 0.95) -> BetaBinomial:
    """Mean proportion when the studies' own proportions follow a beta distribution.

    Events are beta-binomial with mean mu and intraclass correlation rho = 1 / (alpha + beta +
    1) (Young-Xu & Chan 2008, doi:10.1186/1471-2288-8-58). Maximum likelihood with rho from 0
    to 1, both ends included; at the ends the standard error takes rho as known. The interval is
    Wald's on the logit scale, from the observed information.

    mu is the mean of the studies' proportions, where the binomial-normal model estimates their
    median.

    Parameters
    ----------
    xi, ni : (k,) whole numbers of events and members.
    level : of the interval, as a fraction.

    Raises
    ------
    ValueError
        Impossible counts, a level outside 0 to 1.
    """
    xi, ni = np.asarray(xi, dtype=float), np.asarray(ni, dtype=float)
    _check([(xi, ni)], level)
    data = _data([(xi, ni)])
    if not data.groups:
        return _one_outcome(total(xi) == 0, total(ni), xi.size, level)
    fit = _fit(data)
    notes = list(fit.notes)
    if xi.size == 1:
        notes.append("k = 1: the study itself, nothing is pooled")
    row = wald(
        model="random",
        method="BB",
        test="z",
        k=xi.size,
        estimate=fit.etas[0],
        se=math.sqrt(float(fit.covariance[0, 0])),
        level=level,
        null=None,
        notes=tuple(notes),
    )
    return BetaBinomial(
        estimates=(row,),
        means=(float(expit(fit.etas[0])),),
        rho=fit.rho,
        log_likelihood=fit.value,
        log_likelihood_binomial=fit.binomial,
        rho_test=_rho_test(fit, data),
        maxima=fit.maxima,
        notes=tuple(notes),
    )


def _effect(measure: str, etas: tuple[float, float]) -> tuple[float, Floats]:
    """Effect on the analysis scale and its gradient by the two logits."""
    p1, q1, p2, q2 = (float(expit(sign * eta)) for eta in etas for sign in (1, -1))
    if measure == "OR":
        return etas[0] - etas[1], np.array([1.0, -1.0])
    if measure == "RR":
        log_p1, log_p2 = (-float(np.logaddexp(0, -eta)) for eta in etas)
        return log_p1 - log_p2, np.array([q1, -q2])
    # difference of two expits without cancellation
    difference = 0.5 * math.sinh((etas[0] - etas[1]) / 2)
    difference /= math.cosh(etas[0] / 2) * math.cosh(etas[1] / 2)
    return difference, np.array([p1 * q1, -p2 * q2])


def _row(estimate: float, vi: float, k: int, level: float, notes: Sequence[str]) -> Estimate:
    return wald(
        model="random",
        method="BB",
        test="z",
        k=k,
        estimate=estimate,
        se=math.sqrt(vi),
        level=level,
        notes=tuple(notes),
    )


def beta_binomial_two_groups(
    ai: Floats, bi: Floats, ci: Floats, di: Floats, *, level: float = 0.95
) -> BetaBinomial:
    """Odds ratio, risk ratio and risk difference of two beta-binomial groups with one rho.

    Kuss (2015, doi:10.1002/sim.6383): the groups of all studies are beta-binomial with a mean
    for each of the two groups and a common intraclass correlation. Studies without events take
    part without any correction. Groups are not matched within studies: a study's two groups are
    taken as independent, so that the effect is marginal, and is confounded where allocation
    ratios and risks both vary between studies. Intervals and tests are Wald's (delta method for
    RR and RD) from the observed information.

    Parameters
    ----------
    ai, bi, ci, di : (k,) whole counts; events and non-events of group 1, then of group 2.
    level : of the intervals, as a fraction.

    Raises
    ------
    ValueError
        Impossible counts, a level outside 0 to 1.
    """
    table = tables(ai, bi, ci, di)
    counts = [(table.ai, table.n1i), (table.ci, table.n2i)]
    _check(counts, level)
    data = _data(counts)
    crude = [total(xi) / total(ni) for xi, ni in counts]
    fit = _fit(data) if data.groups else None
    notes = list(fit.notes) if fit else ["rho not estimable: each group has one outcome only"]
    if table.k == 1:
        notes.append("k = 1: the study itself, nothing is pooled")
    if fit is None or len(fit.etas) < 2:
        which = " and ".join(
            f"{'no event' if mean == 0 else 'events only'} in group {number}"
            for number, mean in enumerate(crude, start=1)
            if mean in (0, 1)
        )
        inner = iter(fit.etas if fit else ())
        means = tuple(mean if mean in (0, 1) else float(expit(next(inner))) for mean in crude)
        notes.insert(0, f"not estimable: {which} of any study")
        estimates = tuple(
            _row(means[0] - means[1] if m == "RD" else NAN, NAN, table.k, level, notes)
            for m in MEASURES
        )
    else:
        etas = (fit.etas[0], fit.etas[1])
        means = tuple(float(expit(eta)) for eta in etas)
        effects = [_effect(measure, etas) for measure in MEASURES]
        estimates = tuple(
            _row(
                estimate,
                float(gradient @ fit.covariance @ gradient),
                table.k,
                level,
                notes,
            )
            for estimate, gradient in effects
        )
    return BetaBinomial(
        estimates=estimates,
        means=means,
        rho=fit.rho if fit else NAN,
        log_likelihood=fit.value if fit else 0.0,
        log_likelihood_binomial=fit.binomial if fit else 0.0,
        rho_test=_rho_test(fit, data) if fit else NO_TEST,
        maxima=fit.maxima if fit else (),
        notes=tuple(notes),
    )
