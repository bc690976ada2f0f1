"""Sampling covariances between effects that share patients, and their bookkeeping by blocks."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from evisynth.records import Floats

Indices = NDArray[np.intp]
Labels = Sequence[Hashable]
# Correlations within a study that a sensitivity analysis tries where none is reported.
GRID = (0.0, 0.2, 0.4, 0.6, 0.8)
# A matrix is positive definite here if the smallest eigenvalue of its correlation matrix is
# above this: below, inverting it loses 10 of 16 digits.
SMALLEST = 1e-10


@dataclass(frozen=True, slots=True)
class Blocks:
    """A symmetric block-diagonal matrix of shape (k, k), without its zeros.

    Attributes
    ----------
    rows : row numbers of each block, shape (n_b,); together 0 to k - 1, each once.
    matrices : the blocks, shapes (n_b, n_b).
    """

    rows: tuple[Indices, ...]
    matrices: tuple[Floats, ...]

    @property
    def k(self) -> int:
        """Number of rows."""
        return sum(rows.size for rows in self.rows)


def codes(labels: Labels) -> Indices:
    """Number labels from 0 in the order in which they appear; shape (k,)."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels], dtype=np.intp)


def groups(labels: Labels) -> tuple[Indices, ...]:
    """Row numbers of each distinct label, labels in the order in which they appear."""
    numbers = codes(labels)
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers))[:-1]
    return tuple(np.split(order, ends))


def diagonal(vi: Floats) -> Blocks:
    """Independent effects with the variances `vi`, shape (k,)."""
    vi = np.asarray(vi, dtype=float)
    return Blocks(
        rows=tuple(np.arange(vi.size).reshape(-1, 1)), matrices=tuple(vi.reshape(-1, 1, 1))
    )


def dense(blocks: Blocks) -> Floats:
    """The whole matrix, shape (k, k)."""
    matrix = np.zeros((blocks.k, blocks.k))
    for rows, block in zip(blocks.rows, blocks.matrices, strict=True):
        matrix[np.ix_(rows, rows)] = block
    return matrix


def variances(blocks: Blocks) -> Floats:
    """The diagonal, shape (k,)."""
    vi = np.empty(blocks.k)
    for rows, block in zip(blocks.rows, blocks.matrices, strict=True):
        vi[rows] = np.diagonal(block)
    return vi


def components(k: int, *partitions: Sequence[Indices]) -> tuple[Indices, ...]:
    """Group rows 0 to k - 1 that any of the partitions links, directly or through others.

    Rows inside a group, and groups by their first row, are in ascending order.
    """
    parent = list(range(k))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    for partition in partitions:
        for rows in partition:
            first, *others = rows.tolist()
            for row in others:
                one, other = sorted((root(first), root(row)))
                parent[other] = one
    return groups([root(row) for row in range(k)])


def merged(blocks: Blocks, *partitions: Sequence[Indices]) -> Blocks:
    """Return the same matrix in blocks large enough for each group of every partition."""
    rows = components(blocks.k, blocks.rows, *partitions)
    block_of = np.empty(blocks.k, dtype=np.intp)
    place = np.empty(blocks.k, dtype=np.intp)
    for number, members in enumerate(rows):
        block_of[members], place[members] = number, np.arange(members.size)
    matrices = tuple(np.zeros((members.size, members.size)) for members in rows)
    for members, block in zip(blocks.rows, blocks.matrices, strict=True):
        target = place[members]
        matrices[block_of[members[0]]][np.ix_(target, target)] = block
    return Blocks(rows, matrices)


def from_dense(matrix: Floats) -> Blocks:
    """Split a symmetric matrix of shape (k, k) into the smallest blocks that hold it.

    Raises
    ------
    ValueError
        Not square, not finite, not symmetric, a variance that is not positive.
    """
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"a covariance matrix must be square, not {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("a covariance matrix must be finite")
    scale = np.sqrt(np.abs(np.diagonal(matrix)))
    if (np.abs(matrix - matrix.T) > 1e-12 * np.outer(scale, scale)).any():
        raise ValueError("a covariance matrix must be symmetric")
    if not (np.diagonal(matrix) > 0).all():
        raise ValueError("variances must be positive")
    links = tuple(np.array(pair) for pair in np.argwhere(np.triu(matrix, 1) != 0))
    rows = components(len(matrix), links)
    symmetric = (matrix + matrix.T) / 2
    return Blocks(rows, tuple(symmetric[np.ix_(members, members)] for members in rows))


def from_correlations(
    vi: Floats, rows: Sequence[Indices], correlations: Sequence[Floats]
) -> Blocks:
    """Blocks with variances `vi` (k,) and the given correlation matrix on each set of rows."""
    sei = np.sqrt(_positive(vi))
    matrices = []
    for members, correlation in zip(rows, correlations, strict=True):
        matrix = correlation * np.outer(sei[members], sei[members])
        np.fill_diagonal(matrix, vi[members])
        matrices.append(matrix)
    return Blocks(tuple(rows), tuple(matrices))


def _positive(vi: Floats) -> Floats:
    vi = np.asarray(vi, dtype=float)
    if vi.ndim != 1 or not (np.isfinite(vi) & (vi > 0)).all():
        raise ValueError(f"vi must be of shape (k,), positive and finite, not {vi.tolist()}")
    return vi


def _correlation(rho: float) -> float:
    if not -1 <= rho <= 1:
        raise ValueError(f"rho must lie in -1 to 1, not {rho}")
    return rho


def constant_correlation(vi: Floats, cluster: Labels, rho: float) -> Blocks:
    """One assumed correlation `rho` between all effects of a cluster.

    Covariance rho sqrt(vi vj) (Hedges, Tipton & Johnson 2010, doi:10.1002/jrsm.5; Pustejovsky &
    Tipton 2022, doi:10.1007/s11121-021-01246-3). `vi` (k,). Raises ValueError for variances
    that are not positive and for |rho| > 1; whether the result is positive definite is for
    `problems` to say.
    """
    vi, rows = _positive(vi), groups(cluster)
    _correlation(rho)
    if rho == 0:
        return diagonal(vi)
    return from_correlations(vi, rows, [np.full((n.size, n.size), rho) for n in rows])


def correlation_grid(
    vi: Floats, cluster: Labels, rhos: Sequence[float] = GRID
) -> dict[float, Blocks]:
    """One covariance per assumed correlation within clusters: a sensitivity analysis each."""
    return {rho: constant_correlation(vi, cluster, rho) for rho in rhos}


def correlation_by_type(
    vi: Floats,
    cluster: Labels,
    kind: Labels,
    correlations: Mapping[tuple[Hashable, Hashable], float],
) -> Blocks:
    """Correlations within clusters that depend on what the two effects measure.

    `correlations` maps a pair of kinds (outcomes, time points; either order) to their
    correlation; a pair of one kind with itself is the correlation of two effects of that kind
    in one cluster, 1 unless given. Raises ValueError where a pair that occurs is not given.
    """
    vi, rows, kinds = _positive(vi), groups(cluster), list(kind)
    return from_correlations(
        vi,
        rows,
        [
            np.array(
                [[_pair(correlations, kinds[i], kinds[j]) for j in members] for i in members]
            )
            for members in (row.tolist() for row in rows)
        ],
    )


def _pair(
    correlations: Mapping[tuple[Hashable, Hashable], float], one: Hashable, other: Hashable
) -> float:
    for pair in ((one, other), (other, one)):
        if pair in correlations:
            return _correlation(correlations[pair])
    if one == other:
        return 1.0
    raise ValueError(f"no correlation is given for {one!r} with {other!r}")


def shared_group_correlation(
    cluster: Labels, group1: Labels, group2: Labels, n1i: Floats, n2i: Floats
) -> tuple[tuple[Indices, ...], tuple[Floats, ...]]:
    """Correlation of contrasts that share a group, from the group sizes alone.

    A contrast of groups 1 and 2 has variance 1/n1 + 1/n2 in units of the patients' variance,
    two contrasts have the covariance 1/n of a group that is on the same side in both, and minus
    that of one that changes sides (Gleser & Olkin 2009; the rule of metafor's `vcalc`). Right
    for mean differences with one standard deviation; an approximation for other measures, of
    which `shared_control` knows the covariance. Returns the rows of each cluster and their
    correlation matrices.
    """
    n1i, n2i = np.asarray(n1i, dtype=float), np.asarray(n2i, dtype=float)
    if not ((n1i > 0) & (n2i > 0)).all():
        raise ValueError("group sizes must be positive")
    rows, one, two = groups(cluster), codes([*group1, *group2]), len(n1i)
    first, second = one[:two], one[two:]
    spread = np.sqrt(1 / n1i + 1 / n2i)
    matrices = []
    for members in rows:
        sides = ((first[members], n1i[members], 1.0), (second[members], n2i[members], -1.0))
        covariance = np.zeros((members.size, members.size))
        for here, n_here, sign_here in sides:
            for there, n_there, sign_there in sides:
                same = here[:, np.newaxis] == there
                # One group may be printed with two sizes: the geometric mean is symmetric.
                size = np.sqrt(np.outer(n_here, n_there))
                covariance += np.where(same, sign_here * sign_there / size, 0)
        matrices.append(covariance / np.outer(spread[members], spread[members]))
    return rows, tuple(matrices)


def _odds_ratio(raw: Mapping[str, Floats]) -> Floats:
    return 1 / raw["ci"] + 1 / raw["di"]


def _risk_ratio(raw: Mapping[str, Floats]) -> Floats:
    return 1 / raw["ci"] - 1 / (raw["ci"] + raw["di"])


def _risk_difference(raw: Mapping[str, Floats]) -> Floats:
    n2i = raw["ci"] + raw["di"]
    return raw["ci"] * raw["di"] / n2i**3


def _arcsine(raw: Mapping[str, Floats]) -> Floats:
    return 1 / (4 * (raw["ci"] + raw["di"]))


# Variance that the control group adds to the effect: what two contrasts with it share.
CONTROL: dict[str, Callable[[Mapping[str, Floats]], Floats]] = {
    "OR": _odds_ratio,
    "RR": _risk_ratio,
    "RD": _risk_difference,
    "AS": _arcsine,
    "IRR": lambda raw: 1 / raw["x2i"],
    "IRD": lambda raw: raw["x2i"] / raw["t2i"] ** 2,
    "MD": lambda raw: raw["sd2i"] ** 2 / raw["n2i"],
    "ROM": lambda raw: raw["sd2i"] ** 2 / (raw["n2i"] * raw["m2i"] ** 2),
    "SMD": lambda raw: 1 / raw["n2i"],
}


def shared_control(
    measure: str,
    vi: Floats,
    cluster: Labels,
    raw: Mapping[str, Floats],
    *,
    yi: Floats | None = None,
    pooled_sd: str = "pair",
) -> Blocks:
    """Covariances of contrasts that share their control group (group 2), by measure.

    Effects of one cluster are contrasts of different groups 1 with one group 2; each covariance
    is the variance that group 2 contributes (Gleser & Olkin 2009, chapter 19 of the Handbook of
    Research Synthesis; Lajeunesse 2011, doi:10.1890/11-0423.1 for ROM). The standardised mean
    difference has a further term, because the standard deviation is shared too:

    - ``pooled_sd="pair"``, each contrast divided by the standard deviation pooled over its own
      two groups: yi yj (n2 - 1) / (2 (n1i + n2 - 2) (n1j + n2 - 2)), by the delta method;
    - ``pooled_sd="all"``, all contrasts divided by the one pooled over all groups of the study:
      yi yj / (2 N), N the patients of all groups (Gleser & Olkin 2009).

    Parameters
    ----------
    measure : a key of `CONTROL`.
    vi : variances, shape (k,).
    raw : ``ci di`` after any continuity correction, ``x2i t2i``, ``m2i sd2i n2i``, or for SMD
        ``n1i n2i``; shapes (k,). Where rows of a cluster differ, as after a continuity
        correction in some of them, the geometric mean of the two is the covariance.
    yi : effects, shape (k,); SMD only.

    Raises
    ------
    ValueError
        Unknown measure or option, columns missing, a contribution that is not positive.
    """
    if measure not in CONTROL:
        raise ValueError(f"covariances with a shared control group: {', '.join(CONTROL)}")
    if pooled_sd not in ("pair", "all"):
        raise ValueError(f"pooled_sd must be pair or all, not {pooled_sd!r}")
    vi, rows = _positive(vi), groups(cluster)
    # No events give an infinite variance, which is refused below.
    with np.errstate(divide="ignore", invalid="ignore"):
        shared = CONTROL[measure]({name: np.asarray(raw[name], dtype=float) for name in raw})
    if not (np.isfinite(shared) & (shared >= 0)).all():
        raise ValueError("the control group contributes no finite variance in some rows")
    root = np.sqrt(shared)
    matrices = []
    for members in rows:
        covariance = np.outer(root[members], root[members])
        if measure == "SMD":
            if yi is None:
                raise ValueError("SMD needs yi")
            covariance += _shared_sd(
                np.asarray(yi, dtype=float)[members],
                np.asarray(raw["n1i"], dtype=float)[members],
                np.asarray(raw["n2i"], dtype=float)[members],
                pooled_sd,
            )
        np.fill_diagonal(covariance, vi[members])
        matrices.append(covariance)
    return Blocks(rows, tuple(matrices))


def _shared_sd(yi: Floats, n1i: Floats, n2i: Floats, pooled_sd: str) -> Floats:
    product: Floats = np.outer(yi, yi)
    if pooled_sd == "all":
        return product / (2 * (float(n1i.sum()) + float(n2i[0])))
    df = n1i + n2i - 2
    return product * np.sqrt(np.outer(n2i - 1, n2i - 1)) / (2 * np.outer(df, df))


def several_endpoints(
    yi: Floats,
    vi: Floats,
    cluster: Labels,
    n1i: Floats,
    n2i: Floats,
    correlation: Mapping[Hashable, float] | float,
) -> Blocks:
    """Covariances of standardised mean differences of endpoints of the same two groups.

    (1/n1 + 1/n2) r + yi yj r^2 / (2 (n1 + n2)), r the correlation of the endpoints within
    groups, one number or one by cluster (Gleser & Olkin 2009). Shapes (k,). Raises ValueError
    for |r| > 1 or variances that are not positive.
    """
    yi, vi = np.asarray(yi, dtype=float), _positive(vi)
    n1i, n2i = np.asarray(n1i, dtype=float), np.asarray(n2i, dtype=float)
    rows, labels = groups(cluster), list(dict.fromkeys(cluster))
    matrices = []
    for label, members in zip(labels, rows, strict=True):
        r = _correlation(
            correlation[label] if isinstance(correlation, Mapping) else correlation
        )
        spread = np.sqrt(1 / n1i[members] + 1 / n2i[members])
        share = yi[members] / np.sqrt(2 * (n1i[members] + n2i[members]))
        covariance = r * np.outer(spread, spread) + r**2 * np.outer(share, share)
        np.fill_diagonal(covariance, vi[members])
        matrices.append(covariance)
    return Blocks(rows, tuple(matrices))


def _share(n_shared: float, n_one: float, n_other: float) -> float:
    if not 0 <= n_shared <= min(n_one, n_other):
        raise ValueError(
            f"{n_shared:g} patients cannot be shared by groups of {n_one:g} and {n_other:g}"
        )
    return n_shared / math.sqrt(n_one * n_other)


def patient_overlap(vi: Floats, ni: Floats, shared: Mapping[tuple[int, int], float]) -> Blocks:
    """Covariances of one-group effects from the number of patients that two rows share.

    Correlation n_shared / sqrt(ni nj): each mean (or, to first order, each transformed
    proportion) is an average over its patients, of whom n_shared are in both.

    Parameters
    ----------
    vi, ni : variances and numbers of patients, shape (k,).
    shared : patients in both, by pair of row numbers from 0.

    Raises
    ------
    ValueError
        More shared patients than a row has, a row that is not there, a pair given twice.
    """
    vi, ni = _positive(vi), np.asarray(ni, dtype=float)
    rho = {
        pair: _share(n, float(ni[pair[0]]), float(ni[pair[1]]))
        for pair, n in _distinct(shared, vi.size).items()
    }
    return _from_pairs(vi, {(i, j): r * math.sqrt(vi[i] * vi[j]) for (i, j), r in rho.items()})


def patient_overlap_by_group(
    vi: Floats,
    n1i: Floats,
    n2i: Floats,
    shared: Mapping[tuple[int, int], tuple[float, float]],
    *,
    v1i: Floats | None = None,
    v2i: Floats | None = None,
) -> Blocks:
    """Covariances of two-group effects from the patients shared in each group.

    The variance of a contrast is the sum of what its groups contribute, v1 + v2, and group g
    shares r_g sqrt(v_gi v_gj) with r_g = n_shared_g / sqrt(n_gi n_gj). With variances in
    proportion to 1 / n this is eq. 2 of Lin & Sullivan (2009, doi:10.1016/j.ajhg.2009.11.001).

    Parameters
    ----------
    vi, n1i, n2i : variances and group sizes, shape (k,).
    shared : patients of group 1 and of group 2 in both, by pair of row numbers from 0.
    v1i, v2i : variances contributed by the groups, shape (k,); if not given, vi is divided
        between the groups in proportion to 1 / n.

    Raises
    ------
    ValueError
        As for `patient_overlap`.
    """
    vi = _positive(vi)
    n1i, n2i = np.asarray(n1i, dtype=float), np.asarray(n2i, dtype=float)
    v1i = vi * n2i / (n1i + n2i) if v1i is None else np.asarray(v1i, dtype=float)
    v2i = vi - v1i if v2i is None else np.asarray(v2i, dtype=float)
    covariances = {}
    for (i, j), counts in _distinct(shared, vi.size).items():
        parts = zip(counts, (n1i, n2i), (v1i, v2i), strict=True)
        covariances[i, j] = sum(
            _share(n, float(size[i]), float(size[j])) * math.sqrt(part[i] * part[j])
            for n, size, part in parts
        )
    return _from_pairs(vi, covariances)


T = TypeVar("T")


def _distinct(shared: Mapping[tuple[int, int], T], k: int) -> dict[tuple[int, int], T]:
    ordered: dict[tuple[int, int], T] = {}
    for (i, j), value in shared.items():
        pair = (min(i, j), max(i, j))
        if i == j or pair[0] < 0 or pair[1] >= k:
            raise ValueError(f"rows {i} and {j} are no pair of {k} rows")
        if pair in ordered:
            raise ValueError(f"the pair of rows {pair} is given twice")
        ordered[pair] = value
    return ordered


def _from_pairs(vi: Floats, covariances: Mapping[tuple[int, int], float]) -> Blocks:
    rows = components(vi.size, [np.array(pair) for pair in covariances])
    blocks = merged(diagonal(vi), rows)
    block_of = np.empty(vi.size, dtype=np.intp)
    place = np.empty(vi.size, dtype=np.intp)
    for number, members in enumerate(blocks.rows):
        block_of[members], place[members] = number, np.arange(members.size)
    for (i, j), value in covariances.items():
        block = blocks.matrices[block_of[i]]
        block[place[i], place[j]] = block[place[j], place[i]] = value
    return blocks


def _correlations(matrix: Floats) -> Floats:
    sei = np.sqrt(np.diagonal(matrix))
    scaled: Floats = matrix / np.outer(sei, sei)
    np.fill_diagonal(scaled, 1)
    return scaled


def problems(blocks: Blocks, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Say in words what keeps a covariance from being positive definite; empty if it is.

    `labels` (k,) name the rows. The matrix is never changed.
    """
    found = []
    for rows, matrix in zip(blocks.rows, blocks.matrices, strict=True):
        if rows.size == 1:
            continue
        correlations = _correlations(matrix)
        smallest = float(np.linalg.eigvalsh(correlations)[0])
        if smallest > SMALLEST:
            continue
        names = [labels[row] if labels else f"row {row + 1}" for row in rows.tolist()]
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        upper = correlations[np.triu_indices(rows.size, 1)]
        extreme = float(upper[np.argmax(np.abs(upper))])
        if abs(extreme) > 1 + 1e-12:
            why = f"a covariance implies a correlation of {extreme:.4g}"
        elif abs(extreme) > 1 - SMALLEST:
            why = (
                f"a correlation of {extreme:.4g} makes one effect a copy of another: "
                "merge them, or assume less"
            )
        elif np.ptp(upper) < 1e-12:
            why = (
                f"{rows.size} effects cannot all have the correlation {extreme:.4g}: the "
                f"lowest possible is {-1 / (rows.size - 1):.4g}"
            )
        else:
            why = "the correlations contradict each other: no set of effects can have them all"
        found.append(
            f"the covariance of {shown} is not positive definite (smallest eigenvalue of the "
            f"correlation matrix {smallest:.3g}): {why}"
        )
    return tuple(found)


def nearest(blocks: Blocks, labels: Sequence[str] = ()) -> tuple[Blocks, tuple[str, ...]]:
    """Replace blocks that are not positive definite; on request only, and each is named.

    Variances stay; the correlation matrix becomes the nearest one in the Frobenius norm with
    eigenvalues of at least 1e-6 (Higham 2002, doi:10.1093/imanum/22.3.329, alternating
    projections with Dykstra's correction).
    """
    matrices, notes = [], []
    for rows, matrix in zip(blocks.rows, blocks.matrices, strict=True):
        names = [labels[row] if labels else f"row {row + 1}" for row in rows.tolist()]
        said = problems(Blocks((np.arange(rows.size),), (matrix,)), names)
        if not said:
            matrices.append(matrix)
            continue
        old = _correlations(matrix)
        new = _nearest_correlations(old)
        sei = np.sqrt(np.diagonal(matrix))
        repaired = new * np.outer(sei, sei)
        np.fill_diagonal(repaired, np.diagonal(matrix))
        matrices.append(repaired)
        notes.append(
            f"{said[0]}; replaced, as asked for, by the nearest positive definite matrix: "
            f"correlations moved by up to {np.abs(new - old).max():.3g}"
        )
    return Blocks(blocks.rows, tuple(matrices)), tuple(notes)


def _nearest_correlations(matrix: Floats, floor: float = 1e-6) -> Floats:
    current, correction = matrix.copy(), np.zeros_like(matrix)
    for _ in range(10_000):
        shifted = current - correction
        values, vectors = np.linalg.eigh(shifted)
        projected = (vectors * np.maximum(values, floor)) @ vectors.T
        correction = projected - shifted
        following = projected.copy()
        np.fill_diagonal(following, 1)
        change = float(np.abs(following - current).max())
        current = following
        if change < 1e-13:
            break
    # Unit diagonal and smallest eigenvalue meet only in the limit: a last, tiny, shrinkage.
    short = max(0.0, floor / 2 - float(np.linalg.eigvalsh(current)[0]))
    shrunk: Floats = (current + short * np.eye(len(current))) / (1 + short)
    return shrunk


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One effect per cluster.

    Attributes
    ----------
    cluster : labels, in the order of the first rows.
    yi, vi : effects and variances, shape (number of clusters,).
    """

    cluster: tuple[Hashable, ...]
    yi: Floats
    vi: Floats


def aggregate(yi: Floats, v: Blocks, cluster: Labels, *, weighted: bool = True) -> Aggregate:
    """Combine the effects (k,) of each cluster into one, given their covariance.

    Weighted: generalised least squares, 1'V^-1 y / 1'V^-1 1 with variance 1 / 1'V^-1 1;
    otherwise the plain mean with variance 1'V 1 / n^2. Raises ValueError for a covariance
    between clusters.
    """
    yi, rows = np.asarray(yi, dtype=float), groups(cluster)
    labels = list(dict.fromkeys(cluster))
    joined = merged(v, rows)
    if len(joined.rows) != len(rows):
        raise ValueError("effects of different clusters are correlated")
    effects, spreads = [], []
    for members, matrix in zip(joined.rows, joined.matrices, strict=True):
        ones = np.ones(members.size)
        weights = np.linalg.solve(matrix, ones) if weighted else ones
        weights = weights / weights.sum()
        # The shift keeps the digits of effects far from 0.
        origin = yi[members[0]]
        effects.append(origin + weights @ (yi[members] - origin))
        spreads.append(weights @ matrix @ weights)
    return Aggregate(tuple(labels), np.array(effects), np.array(spreads))
