"""Log-likelihoods of counts in the linear predictor: binomial, Poisson, hypergeometric.

Each is a function `terms(rows, eta)` that returns the log-probability of the observed counts
with all its constants, its first and its second derivative in eta, in the shape of eta: (r, a,
q) for r rows (`rows` says which study each of them is), a arms and q values. All are concave in
eta.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, expit, gammaln

from evisynth.records import Floats

Rows: TypeAlias = NDArray[np.intp]
Terms: TypeAlias = Callable[[Rows, Floats], tuple[Floats, Floats, Floats]]

# Most terms of hypergeometric sums held at once: 16 MB an array.
CHUNK = 2_000_000
# The largest exponent that leaves room for a product; beyond it a likelihood is 0 anyhow.
HIGHEST = 300.0


def softplus(eta: Floats) -> Floats:
    """log(1 + exp(eta)) without overflow or loss of digits."""
    return np.maximum(eta, 0) + np.log1p(np.exp(-np.abs(eta)))


def log_binomial(ni: Floats, xi: Floats) -> Floats:
    """Logarithm of the binomial coefficient."""
    return np.asarray(-np.log1p(ni) - betaln(ni - xi + 1, xi + 1), dtype=np.float64)


def binomial(xi: Floats, ni: Floats) -> Terms:
    """Events `xi` of `ni`, both (k, a); eta is the logit of the probability."""
    constant = log_binomial(ni, xi)

    def terms(rows: Rows, eta: Floats) -> tuple[Floats, Floats, Floats]:
        x, n, c = (values[rows][:, :, None] for values in (xi, ni, constant))
        p = expit(eta)
        return c + x * eta - n * softplus(eta), x - n * p, -n * p * expit(-eta)

    return terms


def poisson(xi: Floats) -> Terms:
    """Events `xi` of shape (k, a); eta is the logarithm of the expected number."""
    constant = gammaln(xi + 1)

    def terms(rows: Rows, eta: Floats) -> tuple[Floats, Floats, Floats]:
        x, c = (values[rows][:, :, None] for values in (xi, constant))
        mean = np.exp(np.minimum(eta, HIGHEST))
        return x * eta - mean - c, x - mean, -mean

    return terms


def hypergeometric(ai: Floats, n1i: Floats, ci: Floats, n2i: Floats) -> Terms:
    """Fisher's noncentral hypergeometric distribution of `ai` given ai + ci; one arm.

    Arrays of shape (k,); eta is the log odds ratio. The sum over the support is limited to a
    window around its largest term. Beyond it the terms are below 1e-17 of that term: their
    logarithm is concave, with second differences of at most -1/v, where 1/v = 4 max(1/n1 +
    1/n2, 1/m + 1/(n - m)), m = ai + ci, n = n1 + n2 (minimum of the sum of the reciprocals of
    the four cells), so that d from the top they are at most exp(-d^2 / 2v).
    """
    mi = ai + ci
    first = np.maximum(0, mi - n2i)
    size = (np.minimum(n1i, mi) - first + 1).astype(np.intp)
    start = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.intp)
    # log of P(u) / P(ai) at eta = 0, for all supports one after the other
    ratio = np.full(int(size.sum()) + 1, -math.inf)
    for i, length in enumerate(size):
        u = first[i] + np.arange(1, length)
        steps = np.log((n1i[i] - u + 1) * (mi[i] - u + 1) / (u * (n2i[i] - mi[i] + u)))
        cumulated = np.concatenate([[0.0], np.cumsum(steps)])
        ratio[start[i] : start[i] + length] = cumulated - cumulated[int(ai[i] - first[i])]
    with np.errstate(divide="ignore"):  # no event, or only events: a support of one value
        sharp = np.maximum(1 / n1i + 1 / n2i, 1 / mi + 1 / (n1i + n2i - mi))
    half = np.ceil(9 * np.sqrt(0.25 / sharp)).astype(np.intp) + 12

    widest = int(size.max(initial=1))

    def window(rows: Rows, eta: Floats, width: int) -> tuple[Floats, Floats, Floats]:
        a, m, n1, n2, low = (v[rows][:, None, None] for v in (ai, mi, n1i, n2i, first))
        length, begin = (v[rows][:, None, None] for v in (size, start))
        # The top of the summands (Liao & Rosen 2001, doi:10.1198/000313001317098149): the
        # smaller root of (psi - 1) u^2 - b u + c, in the form that cancels nothing; b < 0 only
        # where psi < 1.
        tilt = np.expm1(np.clip(eta, -HIGHEST, HIGHEST))
        odds = tilt + 1
        b = (n1 + m + 2) * odds + (n2 - m)
        c = (n1 + 1) * (m + 1) * odds
        root = np.sqrt(np.maximum(b * b - 4 * tilt * c, 0))
        rising = b > 0
        peak = np.where(rising, 2 * c, b - root) / np.where(rising, b + root, 2 * tilt)
        top = np.clip(peak.astype(np.intp) - low.astype(np.intp), 0, length - 1)
        left = np.zeros_like(top[:, :1]) if width >= widest else top - width // 2
        left = np.clip(left, 0, np.maximum(length - width, 0))
        place = left[..., None] + np.arange(width)
        # past the end of the support: the last entry, a probability of 0
        place = np.where(place < length[..., None], begin[..., None] + place, -1)
        at_top = top - left
        shift = ratio[begin + top]
        share = ratio[place] - shift[..., None]
        # relative to the summand at the top: nothing overflows
        share = share + eta[..., None] * (np.arange(width) - at_top[..., None])
        np.exp(share, out=share)
        steps = np.arange(width) - width // 2
        moments = share.reshape(-1, width) @ np.stack([steps**0, steps, steps**2], axis=1)
        total, first_moment, second = np.moveaxis(moments.reshape(*eta.shape, 3), -1, 0)
        mean = first_moment / total
        spread = np.maximum(second / total - mean * mean, 0)
        away = low + top - a
        offset = mean + (width // 2) - at_top
        return -(shift + eta * away + np.log(total)), -(away + offset), -spread

    def terms(rows: Rows, eta: Floats) -> tuple[Floats, Floats, Floats]:
        width = int(np.minimum(size[rows], 2 * half[rows] + 1).max())
        step = max(1, CHUNK // (width * max(1, eta[0].size)))
        if step >= len(rows):
            return window(rows, eta, width)
        out = np.empty((3, *eta.shape))
        # by size, so that small supports are not padded to the largest
        order = np.argsort(np.minimum(size[rows], 2 * half[rows] + 1), kind="stable")
        for begin in range(0, len(rows), step):
            part = order[begin : begin + step]
            width = int(np.minimum(size[rows[part]], 2 * half[rows[part]] + 1).max())
            out[:, part] = window(rows[part], eta[part], width)
        return out[0], out[1], out[2]

    return terms
