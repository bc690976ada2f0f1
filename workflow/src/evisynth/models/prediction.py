"""Where the effect of a new study lies: Nagashima's interval, and the share beyond a value."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, gammainccinv, gammaincinv, ndtr, stdtr

from evisynth.inference import normal_quantile
from evisynth.linear import Problem, at, problem
from evisynth.models.integration import adaptive, dot
from evisynth.models.mixture import NEGLIGIBLE, Mixture
from evisynth.records import Floats

Complex = NDArray[np.complex128]
NAN = math.nan
FEWEST_FOR_PREDICTION = 3
# Replicates of the bootstrap: Nagashima et al. (2019) use 25,000.
REPLICATES = 25_000
# Numbers held at once by a contour integral.
BLOCK = 2_000_000
# Where the integrand on the path has fallen below the last digit, in units of its width.
REACH = 24.0
# Width of the panels, in logarithms, that a quadrature starts from.
PANEL = 4.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction interval for the effect of a new study, on the analysis scale.

    Attributes
    ----------
    method : ``NNF`` (exact) or ``NNF-boot``.
    level : as a fraction.
    low, high : nan where not estimable.
    error_low, error_high : Monte Carlo standard error of the ends; 0 for the exact one.
    replicates, seed : of the bootstrap; 0 and None for the exact one.
    notes : every caveat.
    """

    method: str
    k: int
    level: float
    low: float
    high: float
    error_low: float
    error_high: float
    replicates: int
    seed: int | None
    notes: tuple[str, ...] = ()


def _contours(data: Problem, q: float, tau2: Floats) -> tuple[Floats, Floats]:
    """P(Q > `q`) and its derivative with respect to tau2, at each of `tau2` (m,).

    Q is Cochran's statistic, a sum of chi-squared variables with the non-zero eigenvalues of
    D^1/2 (I - u u') D^1/2 as weights, where D = 1 + tau2 wi and u'u = 1, so that its cumulant
    generating function is K(s) = -1/2 [sum log(1 - 2 s D) + log sum p / (1 - 2 s D)] with p =
    wi / sum wi: no eigenvalue has to be found. The tail is the integral of exp(K(s) - s q) /
    (2 pi i s) along any path to the right of 0 (to its left, minus the lower tail) that goes
    around the cut s >= 1 / (2 max eigenvalue): a parabola through the saddle point, on which
    the integrand falls faster than exponentially, so that the trapezium rule converges
    geometrically (Rice 1980, doi:10.1137/0901032; Helstrom 1996, doi:10.1109/7.481249).
    """
    wi = 1 / data.vi
    share = wi / wi.sum()
    rows = max(1, BLOCK // data.k // 64)
    parts = [
        _contour(share, wi, q, tau2[start : start + rows])
        for start in range(0, tau2.size, rows)
    ]
    return (
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
    )


def _contour(share: Floats, wi: Floats, q: float, tau2: Floats) -> tuple[Floats, Floats]:
    scale = 1 + tau2[:, np.newaxis] * wi  # (m, k)
    # Which tail: the smaller one, so that neither is a difference from 1.
    upper = _slope(share, scale, np.zeros(tau2.size)) < q
    saddle = _saddle(share, scale, q, upper)
    second, third = _curvature(share, scale, saddle)
    width = 1 / np.sqrt(second + 1 / saddle**2)
    bend = np.maximum(third, 0) / (6 * second)

    def along(points: Floats) -> tuple[Floats, Floats]:
        """Sums of tail and density over `points` of the path, in units of `width`."""
        y = points[:, np.newaxis] * width
        s = (saddle + bend * y * y).astype(complex) + 1j * y
        value, slope = _integrand(share, wi, scale, q, s)
        value *= (1j + 2 * bend * y) * (width / math.pi)
        return (value / s).imag.sum(axis=0), (value * slope).imag.sum(axis=0)

    step = 1.0
    middle = along(np.zeros(1))
    others = along(np.arange(step, REACH, step))
    tail = step * (middle[0] / 2 + others[0])
    for _ in range(6):
        between = along(np.arange(step / 2, REACH, step))
        others = (others[0] + between[0], others[1] + between[1])
        step /= 2
        before, tail = tail, step * (middle[0] / 2 + others[0])
        # Halving the step squares the error: the next change would be below the last digit.
        if (np.abs(tail - before) <= 1e-9 * np.abs(middle[0])).all():
            break
    density = step * (middle[1] / 2 + others[1])
    return np.where(upper, tail, 1 + tail), density


def _mixed(share: Floats, scale: Floats, s: Floats) -> tuple[Floats, Floats]:
    """B = (1 - 2 s D_0) sum p / (1 - 2 s D), and 1 / (1 - 2 s D) for all but D_0, real `s`.

    D_0, that of the most precise study, is the largest; B has no pole where 1 = 2 s D_0.
    """
    inverse = 1 / (1 - 2 * s[:, np.newaxis] * scale[:, 1:])
    mixed: Floats = share[0] + dot(inverse, share[1:]) * (1 - 2 * s * scale[:, 0])
    return mixed, inverse


def _slope(share: Floats, scale: Floats, s: Floats) -> Floats:
    """First derivative of K at real `s` (m,)."""
    mixed, inverse = _mixed(share, scale, s)
    below = scale[:, 1:] - scale[:, :1]
    slope: Floats = (scale[:, 1:] * inverse).sum(axis=1) - (
        dot(below * inverse**2, share[1:]) / mixed
    )
    return slope


def _curvature(share: Floats, scale: Floats, s: Floats) -> tuple[Floats, Floats]:
    """Second and third derivative of K at real `s` (m,)."""
    mixed, inverse = _mixed(share, scale, s)
    a = scale[:, 1:] * inverse
    terms = (scale[:, 1:] - scale[:, :1]) * inverse**2
    first = 2 * dot(terms, share[1:]) / mixed
    second = 8 * dot(terms * a, share[1:]) / mixed
    third = 48 * dot(terms * a**2, share[1:]) / mixed
    return (
        2 * (a**2).sum(axis=1) - (second - first**2) / 2,
        8 * (a**3).sum(axis=1) - (third - 3 * first * second + 2 * first**3) / 2,
    )


def _branch(share: Floats, scale: Floats) -> Floats:
    """Slightly less than the first branch point of K: B changes sign there, (m,)."""
    low, high = 0.5 / scale[:, 0], 0.5 / scale[:, 1]
    for _ in range(12):
        middle = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):  # middle = high where D_0 = D_1
            before = _mixed(share, scale, middle)[0] > 0
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    return low


def _saddle(share: Floats, scale: Floats, q: float, upper: NDArray[np.bool_]) -> Floats:
    """Roughly the saddle of K(s) - s q - log |s|: above 0 where `upper`, else below.

    Below 0 the search begins at -(k + 2) / (2 q), since K' is below k / (2 |s|). Any point on
    the right side of 0 and before the branch point gives the right integral, the saddle gives
    it with fewest points.
    """
    low = np.where(upper, 0.0, -(share.size + 2) / (2 * q))
    high = np.where(upper, 0.999 * _branch(share, scale), 0.0)
    for _ in range(16):
        middle = (low + high) / 2
        rising = _slope(share, scale, middle) - q - 1 / middle > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return (low + high) / 2


def _integrand(
    share: Floats, wi: Floats, scale: Floats, q: float, s: Complex
) -> tuple[Complex, Complex]:
    """exp(K(s) - s q), and dK/dtau2 / s, for complex `s` (n, m)."""
    inverse = 1 / (1 - 2 * s[..., np.newaxis] * scale[:, 1:])
    mixed = share[0] + dot(inverse, share[1:]) * (1 - 2 * s * scale[:, 0])
    k = (np.log(inverse).sum(axis=-1) - np.log(mixed)) / 2
    slope = dot(inverse, wi[1:])
    slope -= (1 - 2 * s) * dot(inverse**2, (share * (wi - wi[0]))[1:]) / mixed
    return np.exp(k - s * q), slope


@dataclass(frozen=True, slots=True)
class _Tau2:
    """Nagashima's distribution of tau2: an atom at 0, and a quadrature rule for the rest.

    Attributes
    ----------
    data : the studies, in whose unit tau2 is.
    q : Cochran's Q.
    atom : probability of tau2 = 0.
    tau2, weights : (n,), tau2 ascending; the weights are probabilities, with the atom 1.
    """

    data: Problem
    q: float
    atom: float
    tau2: Floats
    weights: Floats


def _distribution(data: Problem, q: float) -> _Tau2:
    """The confidence distribution of tau2: P(tau2 <= t) = P(Q > `q`) if tau2 were t."""
    wi = 1 / data.vi
    # Q is at least (1 + tau2 min wi) times a chi-squared variable.
    least = 2 * float(gammaincinv((data.k - 1) / 2, 1e-17))
    highest = math.log(max(q / least, 2.0) / float(wi.min()))
    lowest = math.log(1e-16 / float(wi.max()))

    def density(x: Floats) -> Floats:
        """Of x = log tau2."""
        tau2 = np.exp(x)
        slope = _contours(data, q, tau2.ravel())[1].reshape(x.shape)
        return np.maximum(slope * tau2, 0.0)  # rounding error where there is nothing

    panels = math.ceil((highest - lowest) / PANEL)
    result = adaptive(density, np.linspace(lowest, highest, panels + 1), 1e-11)
    atom = float(chdtrc(data.k - 1, q))
    weights = (result.weights * result.values).ravel()
    return _Tau2(
        data=data,
        q=q,
        atom=atom,
        tau2=np.exp(result.points.ravel()),
        weights=weights * ((1 - atom) / weights.sum()),
    )


def _means(data: Problem, tau2: Floats) -> tuple[Floats, Floats]:
    """Weighted mean and Knapp and Hartung's variance of it at each of `tau2` (n,)."""
    wi = 1 / (data.vi + tau2[:, np.newaxis])
    sums = wi.sum(axis=1)
    means = dot(wi, data.yi) / sums
    squares = (wi * (data.yi - means[:, np.newaxis]) ** 2).sum(axis=1)
    return means, squares / ((data.k - 1) * sums)


def _predictive(law: _Tau2) -> Mixture:
    """The law of mean + z tau - t se, z normal and t with k - 1 df, as normals mixed.

    t is a normal variable over the root of chi-squared / (k - 1), which is mixed over, too.
    """
    df = law.data.k - 1
    # The logarithm of chi-squared; a smaller one than exp(low) has a probability below 1e-16.
    low = math.log(2 * float(gammaincinv(df / 2, 1e-16)))
    high = math.log(2 * float(gammainccinv(df / 2, 1e-16)))

    def density(x: Floats) -> Floats:
        return np.exp(df / 2 * (x - math.log(2)) - np.exp(x) / 2 - math.lgamma(df / 2))

    panels = adaptive(density, np.linspace(low, high, math.ceil((high - low) / PANEL) + 1))
    shares = (panels.weights * panels.values).ravel()
    tau2 = np.append(0.0, law.tau2)
    weights = np.append(law.atom, law.weights)
    means, variances = _means(law.data, tau2)
    spread = tau2[:, np.newaxis] + variances[:, np.newaxis] * df / np.exp(panels.points.ravel())
    joint = weights[:, np.newaxis] * (shares / shares.sum())
    kept = joint > NEGLIGIBLE
    columns = np.broadcast_to(means[:, np.newaxis], joint.shape)
    return Mixture(joint[kept] / joint[kept].sum(), columns[kept], np.sqrt(spread[kept]))


def _draws(law: _Tau2, replicates: int, seed: int) -> Floats:
    """Effects of new studies, (replicates,), in the unit of the data."""
    random = np.random.Generator(np.random.PCG64(seed))
    uniform = random.random(replicates)
    below = _contours(law.data, law.q, law.tau2)[0]
    rising = np.append(True, np.diff(np.maximum.accumulate(below)) > 0)
    # Between points this dense the inverse is nearly straight.
    tau2 = np.exp(np.interp(uniform, below[rising], np.log(law.tau2[rising])))
    tau2[uniform <= law.atom] = 0.0
    means, variances = _means(law.data, tau2)
    normal = random.standard_normal(replicates)
    t = random.standard_t(law.data.k - 1, replicates)
    drawn: Floats = means + normal * np.sqrt(tau2) - t * np.sqrt(variances)
    return drawn


def nagashima(
    yi: Floats,
    vi: Floats,
    *,
    level: float,
    seed: int | None = None,
    replicates: int = REPLICATES,
) -> Prediction:
    """Prediction interval of Nagashima, Noma & Furukawa (2019, doi:10.1177/0962280218773520).

    The effect of a new study is mean + z tau - t se: tau2 has its confidence distribution
    (P(tau2 <= t) = P(Q > observed Q) if tau2 were t), the mean and Knapp and Hartung's se
    belong to that tau2, z is normal and t has k - 1 degrees of freedom. Unlike other prediction
    intervals it holds its level for few studies.

    Parameters
    ----------
    yi, vi : effects and sampling variances, (k,), on the analysis scale.
    level : as a fraction.
    seed : None for the limit of infinitely many replicates, by quadrature: nothing is random.
        A number for the parametric bootstrap as published, with the generator PCG64; then the
        Monte Carlo standard error of both ends is given.
    replicates : of the bootstrap.
    """
    method = "NNF" if seed is None else "NNF-boot"
    data = problem(yi, vi)
    q = at(data, 0.0).q
    nothing = Prediction(method, data.k, level, NAN, NAN, NAN, NAN, 0, seed)
    if data.k < FEWEST_FOR_PREDICTION:
        why = f"no prediction interval below {FEWEST_FOR_PREDICTION} studies"
        return replace(nothing, notes=(why,))
    if q == 0:
        return replace(nothing, notes=("not estimable: residuals are all zero",))
    law = _distribution(data, q)
    mixture = _predictive(law)
    tail = (1 - level) / 2
    errors = (0.0, 0.0)
    if seed is None:
        ends = (mixture.quantile(tail), mixture.quantile(1 - tail))
    else:
        low, high = np.quantile(_draws(law, replicates, seed), [tail, 1 - tail])
        ends = (float(low), float(high))
        error = math.sqrt(tail * (1 - tail) / replicates)
        errors = (error / mixture.density(ends[0]), error / mixture.density(ends[1]))
    back = data.exponent
    return Prediction(
        method=method,
        k=data.k,
        level=level,
        low=data.shift + math.ldexp(ends[0], back),
        high=data.shift + math.ldexp(ends[1], back),
        error_low=math.ldexp(errors[0], back),
        error_high=math.ldexp(errors[1], back),
        replicates=0 if seed is None else replicates,
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class Beyond:
    """How likely it is that an effect lies beyond a threshold, or the share of those that do.

    Attributes
    ----------
    method : ``normal``, ``t`` or ``calibrated``.
    side : ``above`` or ``below`` the threshold.
    probability : a fraction.
    se, low, high : delta-method standard error and interval; nan where there is none.
    notes : every caveat.
    """

    method: str
    side: str
    threshold: float
    probability: float
    se: float = NAN
    low: float = NAN
    high: float = NAN
    notes: tuple[str, ...] = ()


def _sign(side: str) -> float:
    if side not in ("above", "below"):
        raise ValueError(f"side must be above or below, not {side!r}")
    return 1.0 if side == "above" else -1.0


def beyond(
    *,
    estimate: float,
    tau2: float,
    threshold: float,
    side: str,
    level: float = 0.95,
    se: float = NAN,
    se_tau2: float = NAN,
) -> Beyond:
    """Share of the true effects beyond `threshold`, if they are normal about the estimate.

    Mathur & VanderWeele (2019, doi:10.1002/sim.8057): Phi((estimate - threshold) / tau) above
    it; by the delta method its standard error is phi(.) sqrt(se^2 / tau2 + se_tau2^2 (estimate
    - threshold)^2 / (4 tau2^3)). The interval ends at 0 and 1, and is rough near them.

    Parameters
    ----------
    estimate, threshold : analysis scale.
    tau2 : at least 0; square of that unit.
    side : ``above`` or ``below``.
    level : as a fraction.
    se, se_tau2 : standard errors of the estimate and of tau2; nan for no interval.

    Raises
    ------
    ValueError
        Unknown side; tau2 negative.
    """
    sign = _sign(side)
    if tau2 < 0:
        raise ValueError(f"tau2 must not be negative, not {tau2}")
    distance = sign * (estimate - threshold)
    if math.isnan(distance) or math.isnan(tau2):
        why = ("not estimable: there is no estimate or no tau2",)
        return Beyond("normal", side, threshold, NAN, notes=why)
    if tau2 == 0:
        share = 0.5 + 0.5 * np.sign(distance) if distance else NAN
        why = (
            "tau2 = 0: all true effects are taken to equal the estimate, so that all or none "
            "lie beyond the threshold",
        )
        return Beyond("normal", side, threshold, float(share), notes=why)
    tau = math.sqrt(tau2)
    z = distance / tau
    probability = float(ndtr(z))
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    error = density * math.hypot(se / tau, se_tau2 * z / (2 * tau2))
    if math.isnan(error):
        why = ("no interval: a standard error is missing",)
        return Beyond("normal", side, threshold, probability, notes=why)
    half = normal_quantile(level) * error
    low, high = probability - half, probability + half
    notes = []
    if low < 0 or high > 1:
        notes.append("the interval is cut at 0 or 1, where the delta method is rough")
    if not 0.15 <= probability <= 0.85:
        notes.append("the delta method is rough below 0.15 and above 0.85")
    return Beyond(
        method="normal",
        side=side,
        threshold=threshold,
        probability=probability,
        se=error,
        low=max(low, 0.0),
        high=min(high, 1.0),
        notes=tuple(notes),
    )


def beyond_new(
    *, estimate: float, se: float, tau2: float, df: float, threshold: float, side: str
) -> Beyond:
    """Probability that the effect of a new study lies beyond `threshold`.

    From the distribution whose quantiles are the prediction interval: t with `df` degrees of
    freedom (normal where nan) about the estimate, scale sqrt(se^2 + tau2) (Higgins et al. 2009,
    doi:10.1111/j.1467-985X.2008.00552.x). Unlike `beyond` it carries the uncertainty of the
    mean. Parameters as for `beyond`.
    """
    sign = _sign(side)
    scale = math.hypot(se, math.sqrt(tau2))
    z = sign * (estimate - threshold) / scale if scale else NAN
    if math.isnan(z):
        why = ("not estimable: there is no estimate, or it has no standard error",)
        return Beyond("t", side, threshold, NAN, notes=why)
    probability = float(ndtr(z) if math.isnan(df) else stdtr(df, z))
    return Beyond("normal-new" if math.isnan(df) else "t", side, threshold, probability)


def calibrated(
    yi: Floats, vi: Floats, *, estimate: float, tau2: float, threshold: float, side: str
) -> Beyond:
    """Share of calibrated effects beyond `threshold`: no normal distribution is assumed.

    Each effect is drawn towards the mean until the effects vary by tau2: estimate + sqrt(tau2 /
    (tau2 + vi)) (yi - estimate) (Wang & Lee 2019, doi:10.1002/jrsm.1345; Mathur & VanderWeele
    2020, doi:10.1002/jrsm.1379). An interval would need a bootstrap and is not given.
    Parameters as for `beyond`; effects and variances of shape (k,).
    """
    sign = _sign(side)
    drawn = estimate + np.sqrt(tau2 / (tau2 + vi)) * (yi - estimate)
    share = float((sign * (drawn - threshold) > 0).mean())
    notes = (f"steps of 1/{yi.size}: one study each", "no interval")
    return Beyond("calibrated", side, threshold, share, notes=notes)
