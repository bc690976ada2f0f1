"""The exact distribution of a generalised Q: y'Py, y normal, P of any weights.

Q is a weighted sum of k - p chi-squared variables with 1 degree of freedom. Its tails are
integrals of its moment generating function, det(1 - 2 z P S)^(-1/2), S = diag(variances), along
a path through the saddle point (Daniels 1954; Rice 1980), where the
trapezoidal rule converges exponentially: to twelve digits of the smaller tail. The determinant
needs no eigenvalues, so that time and memory are proportional to k: with W^(1/2) X = [1; M]
(see `linear`) and a = weight times variance, it is

    prod(1 - 2 z a) det(D_B + M' D_N M) / det(1 + M'M),    D = diag(1 / (1 - 2 z a)).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evisynth.linear import Complexes, Weighted, total
from evisynth.records import Floats

# Tails below this are given as 0.
SMALLEST = 1e-30
# Relative to its peak, the size of the integrand at which the path ends.
NEGLIGIBLE = 1e-17
# Halving the step squares its error: after so small a change nothing is left but rounding.
SETTLED = 1e-9
# Most points of a path; a hundred are enough but for odd forms.
MOST = 2**12


@dataclass(frozen=True, slots=True)
class Form:
    """A quadratic form.

    Attributes
    ----------
    inside, outside : `a` of the p basis studies and of the k - p others.
    m : (k - p, p), M.
    base : log det(1 + M'M).
    mean : expectation of the form.
    largest : at most the largest eigenvalue of PS, and at least its k-th part.
    """

    inside: Floats
    outside: Floats
    m: Floats
    base: float
    mean: float
    largest: float


def form(fit: Weighted, variance: Floats) -> Form:
    """The Q of `fit` where effects have the variances `variance`, (k,)."""
    a = fit.wi * variance
    singular = np.linalg.svd(fit.m, compute_uv=False)
    return Form(
        inside=a[fit.basis.inside],
        outside=a[fit.basis.outside],
        m=fit.m,
        base=total(np.log1p(singular**2)),
        mean=total(a * fit.free),
        largest=float((a * fit.free).max()),
    )


def _factors(of: Form, z: NDArray[Any]) -> NDArray[Any]:
    """The factors 1 - 2 z a, and the pivots of D_B + M' D_N M, at each z: (T, k + p)."""
    left_b = 1 - 2 * z[:, np.newaxis] * of.inside
    left_n = 1 - 2 * z[:, np.newaxis] * of.outside
    matrix = (of.m.T * (1 / left_n)[:, np.newaxis]) @ of.m
    places = np.arange(of.inside.size)
    matrix[:, places, places] += 1 / left_b
    pivots = np.empty_like(left_b)
    for j in places:
        pivots[:, j] = matrix[:, j, j]
        row = matrix[:, j, j + 1 :] / pivots[:, j, np.newaxis]
        matrix[:, j + 1 :, j + 1 :] -= matrix[:, j + 1 :, j, np.newaxis] * row[:, np.newaxis]
    return np.concatenate([left_b, left_n, pivots], axis=1)


def _log_real(of: Form, z: Floats) -> Floats:
    """Cumulant generating function at real z, (T,); infinite from its first singularity on.

    Before that, and only there, 1 - 2 z PS is positive definite, which by Sylvester's law of
    inertia is so if p pivots are positive or factors negative.
    """
    p = of.inside.size
    # z may hit a factor of 0 exactly: nan, which is taken for a singularity
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = _factors(of, z)
        logs: Floats = (of.base - np.log(np.abs(factors)).sum(axis=1)) / 2
    inertia = (factors[:, :-p] < 0).sum(axis=1) + (factors[:, -p:] > 0).sum(axis=1)
    logs[(inertia != p) | ~np.isfinite(logs)] = np.inf
    return logs


def _log_complex(of: Form, z: Complexes) -> Complexes:
    """Cumulant generating function at complex z, (T,), off the real axis.

    Eigenvalues of nested models interlace, so that the argument of no pivot reaches pi: the sum
    of principal logarithms is the right branch.
    """
    logs: Complexes = (of.base - np.log(_factors(of, z)).sum(axis=1)) / 2
    return logs


def _saddle(of: Form, q: float, sign: float) -> tuple[float, float]:
    """Where, near enough, the integrand is smallest on the real axis, and its logarithm there.

    On the positive axis for the upper tail, on the negative one for the lower.
    """
    size = 0.5 / of.largest if sign > 0 else 1 / q
    powers = np.arange(-80.0, 1.0) if sign > 0 else np.arange(-40.0, 80.0)
    for _ in range(5):
        z = sign * size * np.exp2(powers)
        logs = _log_real(of, z) - z * q - np.log(np.abs(z))
        best = int(np.argmin(logs))
        step = powers[1] - powers[0]
        centre = powers[best]
        powers = centre + step * np.linspace(-1, 1, 17)
    return float(z[best]), float(logs[best])


def tails(of: Form, q: float) -> tuple[float, float]:
    """Probabilities that the form is at most `q`, and that it is larger.

    Raises
    ------
    ArithmeticError
        The integral did not settle.
    """
    if q <= 0:
        return 0.0, 1.0
    sign = 1.0 if q > of.mean else -1.0
    centre, peak = _saddle(of, q, sign)
    smaller = 0.0 if peak < math.log(SMALLEST) else sign * _integral(of, q, centre, peak)
    smaller = min(1.0, max(0.0, smaller))
    return (1 - smaller, smaller) if sign > 0 else (smaller, 1 - smaller)


def _integral(of: Form, q: float, centre: float, peak: float) -> float:
    """Integral of exp(K(z) - z q) / (2 pi i z) over a parabola open to the right."""
    # Along the path of steepest descent beside one singularity at the distance d the real part
    # grows by y^2 / (3 d); to be near it is enough, here and for many singularities.
    bend = 1 / (3 * (0.5 / of.largest + abs(centre)))

    def integrand(indices: Floats, step: float) -> Floats:
        # Singularities may lie decades apart: steps grow with the distance.
        y = abs(centre) * np.sinh(indices * step)
        z = centre + bend * y**2 + 1j * y
        slope = (1j + 2 * bend * y) * np.hypot(centre, y)
        values = np.exp(_log_complex(of, z) - z * q - peak) / (z * 1j) * slope
        real: Floats = values.real
        return real

    sizes = abs(centre) * np.exp2(np.arange(-30.0, 61.0))
    z = centre + bend * sizes**2 + 1j * sizes
    height = (_log_complex(of, z) - z * q - np.log(z)).real - peak
    last = float(sizes[np.flatnonzero(height > math.log(NEGLIGIBLE))[-1]])
    end, n = math.asinh(2 * last / abs(centre)), 64
    # On the real axis, where logarithms of negative pivots are ambiguous, the first is known.
    whole = centre / 2 + float(integrand(np.arange(1.0, n + 1), end / n).sum())
    estimate = whole * end / n
    while n < MOST:
        whole += float(integrand(np.arange(0.5, n), end / n).sum())
        n *= 2
        last, estimate = estimate, whole * end / n
        if abs(estimate - last) <= SETTLED * abs(estimate):
            return estimate * math.exp(peak) / math.pi
    raise ArithmeticError(f"the distribution of the generalised Q did not settle at {q:.6g}")
