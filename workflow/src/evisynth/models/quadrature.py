"""Integrals over normal random effects, with first and second derivatives.

The rule is the trapezoidal one on a grid that is fitted to each study's integrand. For
integrands that are analytic in a strip and vanish at the ends it converges exponentially
(Trefethen & Weideman 2014, doi:10.1137/130932132), also where the integrand is far from normal
(no event, large tau2), where Gauss-Hermite rules fitted to mode and curvature need hundreds of
nodes. Its error is known: that of half of the nodes is seen, and that of all is about its
square.
"""

import math
from dataclasses import dataclass

import numpy as np

from evisynth.models.count_terms import Rows, Terms
from evisynth.records import Floats

# Nodes per random effect at first and at most; odd, so that every second makes a rule too.
NODES = {1: 33, 2: 17}
MOST = {1: 20_000, 2: 300}
# Log-integrand below its maximum where the grid ends: exp(-36) = 2e-16.
DROP = 36.0
# Most numbers in an array: 16 MB.
CHUNK = 2_000_000


@dataclass(frozen=True, slots=True)
class Integral:
    """Log of the integrals and derivatives, one row per study.

    Attributes
    ----------
    value : (r,).
    gradient, hessian : (r, d), (r, d, d) in the d = c + l channels: c of the fixed part of the
        linear predictor, l standard deviations of the random effects.
    error : (r,), how far the rule with half of the nodes is off, relative.
    nodes : most nodes per random effect that were needed.
    """

    value: Floats
    gradient: Floats
    hessian: Floats
    error: Floats
    nodes: int


@dataclass(frozen=True, slots=True)
class Latent:
    """The integrands of r rows: sum of the arms' log-probability, minus b'b / 2.

    Attributes
    ----------
    terms, rows : likelihood, and the study of each row.
    eta : (r, a), fixed part of the linear predictor of each arm.
    scale : (r, l), standard deviations of the random effects.
    fixed, random : (a, c) and (a, l), how channels and random effects enter the arms.
    """

    terms: Terms
    rows: Rows
    eta: Floats
    scale: Floats
    fixed: Floats
    random: Floats


def _take(latent: Latent, keep: Rows) -> Latent:
    return Latent(
        latent.terms,
        latent.rows[keep],
        latent.eta[keep],
        latent.scale[keep],
        latent.fixed,
        latent.random,
    )


def _predictor(latent: Latent, b: Floats) -> Floats:
    """Linear predictors (r, a, q) at random effects b of shape (r, q, l)."""
    shift = (b * latent.scale[:, None, :]) @ latent.random.T
    return latent.eta[:, :, None] + np.swapaxes(shift, 1, 2)


def _log_integrand(latent: Latent, b: Floats) -> Floats:
    value = latent.terms(latent.rows, _predictor(latent, b))[0].sum(axis=1)
    return np.asarray(value - 0.5 * (b * b).sum(axis=-1))


def _at(latent: Latent, b: Floats) -> tuple[Floats, Floats, Floats]:
    """Log-integrand at one b (r, l) per row, Newton's step, information (r, l, l)."""
    value, slope, curve = latent.terms(latent.rows, _predictor(latent, b[:, None, :]))
    # Far off, where a step has gone too far and is not taken, the matrix may not be singular.
    curve = np.maximum(curve, -1e9)
    loading = latent.random[None] * latent.scale[:, None, :]
    gradient = (loading * slope).sum(axis=1) - b
    information = np.eye(b.shape[1]) - np.swapaxes(loading, 1, 2) @ (loading * curve)
    step = np.linalg.solve(information, gradient[..., None])[..., 0]
    total = value.sum(axis=(1, 2)) - 0.5 * (b * b).sum(axis=1)
    return total, step, information


def _modes(latent: Latent) -> tuple[Floats, Floats, Floats]:
    """Mode (r, l), log-integrand there and information: damped Newton, concave function.

    A thousandth of a standard deviation is near enough: the grid only has to cover the mass.
    """
    b = np.zeros_like(latent.scale)
    value, newton, information = _at(latent, b)
    step = newton
    for _ in range(200):
        size = np.einsum("rl,rlm,rm->r", newton, information, newton)
        if (size < 1e-6).all():
            break
        new_value, new_newton, new_information = _at(latent, b + step)
        better = new_value >= value - 1e-12 * np.abs(value)
        b = np.where(better[:, None], b + step, b)
        value = np.where(better, new_value, value)
        newton = np.where(better[:, None], new_newton, newton)
        information = np.where(better[:, None, None], new_information, information)
        step = np.where(better[:, None], newton, step / 2)
    return b, value, information


def _reach(latent: Latent, mode: Floats, top: Floats, sd: Floats) -> Floats:
    """How far (r, 2) below and above the mode the log-integrand has dropped by DROP.

    At least DROP and at most half as much again. The drop is convex, and at least t^2 / 2
    at a distance of t, because the prior alone has that curvature.
    """
    side = np.array([-1.0, 1.0])
    low = np.zeros((len(mode), 2))
    high = np.full((len(mode), 2), 1.01 * math.sqrt(2 * DROP))
    far = np.minimum(math.sqrt(2.4 * DROP) * sd[:, None] * np.ones(2), high)
    for turn in range(100):
        drop = top[:, None] - _log_integrand(latent, (mode + far * side)[..., None])
        short, long = drop < DROP, drop > 1.5 * DROP
        if not (short | long).any():
            break
        low, high = np.where(short, far, low), np.where(long, far, high)
        # exact for a parabola; every other time the middle, which cannot creep
        guess = far * np.sqrt(1.2 * DROP / np.maximum(drop, 1e-3))
        within = (guess > low) & (guess < high) & (turn % 2 == 0)
        guess = np.where(within, guess, 0.5 * (low + high))
        far = np.where(short | long, guess, far)
    return np.asarray(far, dtype=np.float64)


def _grid1(latent: Latent, nodes: int) -> tuple[Floats, Floats]:
    """Nodes (r, q, 1) and logarithm of the step (r, 1) of one random effect."""
    mode, top, information = _modes(latent)
    far = _reach(latent, mode, top, 1 / np.sqrt(information[:, 0, 0]))
    step = far.sum(axis=1) / (nodes - 1)
    b = (mode[:, 0] - far[:, 0])[:, None] + step[:, None] * np.arange(nodes)
    return b[..., None], np.log(step)[:, None]


def _grid2(latent: Latent, nodes: int) -> tuple[Floats, Floats]:
    """Nodes (r, q, 2) and logarithm of the cell (r, 1) of two random effects.

    A square in coordinates in which the curvature at the mode is the unit matrix, enlarged
    until nothing is left at its edge.
    """
    mode, top, information = _modes(latent)
    axes = np.linalg.inv(np.swapaxes(np.linalg.cholesky(information), 1, 2))
    line = np.linspace(-1, 1, nodes)
    square = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    edge = np.linspace(-1, 1, 9)
    one = np.ones_like(edge)
    border = np.concatenate(
        [
            np.stack(pair, axis=-1)
            for pair in ((edge, one), (edge, -one), (one, edge), (-one, edge))
        ]
    )
    half = np.full(len(mode), math.sqrt(2 * DROP))
    for _ in range(30):
        b = mode[:, None, :] + half[:, None, None] * (border @ np.swapaxes(axes, 1, 2))
        short = (top[:, None] - _log_integrand(latent, b)).min(axis=1) < DROP - 4
        if not short.any():
            break
        half = np.where(short, 1.25 * half, half)
    b = mode[:, None, :] + half[:, None, None] * (square @ np.swapaxes(axes, 1, 2))
    cell = 2 * np.log(2 * half / (nodes - 1)) - 0.5 * np.linalg.slogdet(information)[1]
    return b, cell[:, None]


def _half(nodes: int, dimensions: int) -> Floats:
    """Mask of the nodes that make the rule of twice the step."""
    line = np.arange(nodes) % 2 == 0
    return line if dimensions == 1 else np.outer(line, line).ravel()


def _integrate(latent: Latent, nodes: int) -> Integral:
    dimensions = latent.scale.shape[1]
    b, cell = (_grid1 if dimensions == 1 else _grid2)(latent, nodes)
    value, slope, curve = latent.terms(latent.rows, _predictor(latent, b))
    log_mass = value.sum(axis=1) - 0.5 * (b * b).sum(axis=-1) + cell
    log_mass -= 0.5 * dimensions * math.log(2 * math.pi)
    top = log_mass.max(axis=1, keepdims=True)
    mass = np.exp(log_mass - top)
    total = mass.sum(axis=1)
    coarse = 2**dimensions * mass[:, _half(nodes, dimensions)].sum(axis=1)
    weight = mass / total[:, None]

    # d log-probability = score' d(channels): one vector per arm and node
    r, q, _ = b.shape
    arms, channels = latent.fixed.shape
    loads = np.empty((r, arms, q, channels + dimensions))
    loads[..., :channels] = latent.fixed[None, :, None, :]
    loads[..., channels:] = latent.random[None, :, None, :] * b[:, None]
    score = (slope[..., None] * loads).sum(axis=1)
    gradient = (weight[..., None] * score).sum(axis=1)
    # Louis (1982, doi:10.1111/j.2517-6161.1982.tb01203.x): mean of the second derivative plus
    # covariance of the first, under the posterior of the random effects.
    score -= gradient[:, None, :]
    hessian = np.swapaxes(score, 1, 2) @ (weight[..., None] * score)
    flat = loads.reshape(r, arms * q, -1)
    bent = (weight[:, None, :] * curve).reshape(r, arms * q, 1)
    hessian += np.swapaxes(flat, 1, 2) @ (bent * flat)
    return Integral(
        value=top[:, 0] + np.log(total),
        gradient=gradient,
        hessian=hessian,
        error=np.abs(coarse / total - 1),
        nodes=nodes,
    )


def _in_chunks(latent: Latent, nodes: int) -> Integral:
    arms, channels = latent.fixed.shape
    dimensions = latent.scale.shape[1]
    step = max(1, CHUNK // (arms * nodes**dimensions * (channels + dimensions)))
    rows = np.arange(len(latent.rows))
    parts = [
        _integrate(_take(latent, rows[begin : begin + step]), nodes)
        for begin in range(0, len(rows), step)
    ]
    if len(parts) == 1:
        return parts[0]
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("value", "gradient", "hessian", "error")
    }
    return Integral(**joined, nodes=nodes)


def without_random(latent: Latent) -> Integral:
    """The integral where all standard deviations are 0, exactly: nothing to integrate."""
    value, slope, curve = (
        part[..., 0] for part in latent.terms(latent.rows, latent.eta[..., None])
    )
    channels = latent.fixed.shape[1]
    gradient = np.zeros((len(latent.rows), channels + latent.random.shape[1]))
    gradient[:, :channels] = slope @ latent.fixed
    size = gradient.shape[1]
    hessian = np.zeros((len(latent.rows), size, size))
    hessian[:, :channels, :channels] = (
        np.swapaxes(latent.fixed[None] * curve[..., None], 1, 2) @ latent.fixed
    )
    # E b = 0 and E b^2 = 1: only the diagonal of the random effects is left
    for effect, loading in enumerate(latent.random.T, start=channels):
        hessian[:, effect, effect] = (slope @ loading) ** 2 + curve @ loading**2
    zero = np.zeros(len(latent.rows))
    return Integral(value.sum(axis=1), gradient, hessian, zero, 1)


def integrate(latent: Latent, tolerance: float) -> Integral:
    """Integrals of all rows; twice the nodes for those where half of them is off too far.

    `tolerance` is that of the rule with half of the nodes. Where MOST nodes do not reach it,
    `error` says so.
    """
    if not latent.scale.any():
        return without_random(latent)
    dimensions = latent.scale.shape[1]
    nodes = NODES[dimensions]
    found = _in_chunks(latent, nodes)
    while (pending := np.flatnonzero(found.error > tolerance)).size:
        nodes = 2 * nodes - 1
        if nodes > MOST[dimensions]:
            break
        again = _in_chunks(_take(latent, pending), nodes)
        for name in ("value", "gradient", "hessian", "error"):
            getattr(found, name)[pending] = getattr(again, name)
        found = Integral(found.value, found.gradient, found.hessian, found.error, nodes)
    return found
