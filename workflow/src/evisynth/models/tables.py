"""Counts of two groups, one study per row: checked, corrected, and sorted by what they tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from evisynth.records import Floats

NAN = math.nan
Mask = NDArray[np.bool_]

TO = ("none", "only0", "all", "if0all")
# Most studies that a note lists by name.
LISTED = 12


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A chi-square test; nan where there is none."""

    statistic: float
    df: int
    p: float


@dataclass(frozen=True, slots=True)
class Tables:
    """2x2 tables, arrays of shape (k,): events and non-events in group 1, then in group 2."""

    ai: Floats
    bi: Floats
    ci: Floats
    di: Floats

    @property
    def k(self) -> int:
        """Number of studies."""
        return self.ai.size

    @property
    def n1i(self) -> Floats:
        """Size of group 1."""
        return self.ai + self.bi

    @property
    def n2i(self) -> Floats:
        """Size of group 2."""
        return self.ci + self.di

    @property
    def one_outcome(self) -> Mask:
        """Studies without an event, or with events only, in both groups together."""
        return (self.ai + self.ci <= 0) | (self.bi + self.di <= 0)

    @property
    def zero_cell(self) -> Mask:
        """Studies with a cell of 0."""
        return (self.ai <= 0) | (self.bi <= 0) | (self.ci <= 0) | (self.di <= 0)


@dataclass(frozen=True, slots=True)
class Rates:
    """Events and person-time in two groups, arrays of shape (k,)."""

    x1i: Floats
    t1i: Floats
    x2i: Floats
    t2i: Floats

    @property
    def k(self) -> int:
        """Number of studies."""
        return self.x1i.size

    @property
    def one_outcome(self) -> Mask:
        """Studies without an event."""
        return self.x1i + self.x2i <= 0

    @property
    def zero_cell(self) -> Mask:
        """Studies with a group without events."""
        return (self.x1i <= 0) | (self.x2i <= 0)


@dataclass(frozen=True, slots=True)
class Correction:
    """What is added to which tables.

    Attributes
    ----------
    add : added to each cell (rates: to the events).
    to : ``none``; ``only0`` studies with a zero cell; ``all``; ``if0all`` all if any has one.
    drop00 : leave studies with one outcome only as they are.
    """

    add: float = 0.0
    to: str = "none"
    drop00: bool = True


NO_CORRECTION = Correction()
HALF = Correction(add=0.5, to="only0")


def _columns(**columns: Floats) -> list[Floats]:
    arrays = [np.asarray(values, dtype=float) for values in columns.values()]
    if arrays[0].ndim != 1 or arrays[0].size == 0 or len({a.shape for a in arrays}) > 1:
        raise ValueError(f"{', '.join(columns)} must be of one shape (k,), k > 0")
    for name, values in zip(columns, arrays, strict=True):
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(f"{name} must be finite and not negative, not {values.tolist()}")
    return arrays


def _whole(**columns: Floats) -> None:
    for name, values in columns.items():
        if (values != np.floor(values)).any():
            raise ValueError(f"{name} must be whole numbers, not {values.tolist()}")


def tables(ai: Floats, bi: Floats, ci: Floats, di: Floats, *, whole: bool = True) -> Tables:
    """Checked 2x2 tables of counts of shape (k,).

    Parameters
    ----------
    whole : whether fractions are refused; an arm that is divided between comparisons has them
        (Cochrane Handbook 23.3.4).

    Raises
    ------
    ValueError
        Different shapes, no study, a count that is negative, not finite or not `whole`, an
        empty group.
    """
    ai, bi, ci, di = _columns(ai=ai, bi=bi, ci=ci, di=di)
    if whole:
        _whole(ai=ai, bi=bi, ci=ci, di=di)
    if ((ai + bi == 0) | (ci + di == 0)).any():
        raise ValueError("each group of each study must have at least one member")
    return Tables(ai, bi, ci, di)


def rates(x1i: Floats, t1i: Floats, x2i: Floats, t2i: Floats) -> Rates:
    """Checked events and person-time of shape (k,).

    Raises
    ------
    ValueError
        Different shapes, no study, events that are negative, time that is not positive.
    """
    x1i, t1i, x2i, t2i = _columns(x1i=x1i, t1i=t1i, x2i=x2i, t2i=t2i)
    if ((t1i == 0) | (t2i == 0)).any():
        raise ValueError("t1i and t2i must be positive")
    return Rates(x1i, t1i, x2i, t2i)


def corrected_studies(data: Tables | Rates, correction: Correction) -> Mask:
    """Which studies are corrected."""
    if correction.to not in TO or correction.add < 0:
        raise ValueError(f"add must not be negative and to one of {', '.join(TO)}")
    zero = data.zero_cell
    chosen = {
        "none": np.zeros(data.k, dtype=bool),
        "only0": zero,
        "all": np.ones(data.k, dtype=bool),
        "if0all": np.full(data.k, zero.any()),
    }[correction.to]
    if correction.add == 0:
        return np.zeros(data.k, dtype=bool)
    return chosen & ~data.one_outcome if correction.drop00 else chosen


def correct_tables(data: Tables, correction: Correction) -> Tables:
    """The tables after the correction."""
    add = np.where(corrected_studies(data, correction), correction.add, 0.0)
    return Tables(data.ai + add, data.bi + add, data.ci + add, data.di + add)


def correct_rates(data: Rates, correction: Correction) -> Rates:
    """The rates after the correction, person-time unchanged."""
    add = np.where(corrected_studies(data, correction), correction.add, 0.0)
    return Rates(data.x1i + add, data.t1i, data.x2i + add, data.t2i)


def chi_square(statistic: float, df: int) -> ChiSquare:
    """Test with its p-value; nan without degrees of freedom."""
    if df < 1 or math.isnan(statistic):
        return ChiSquare(NAN, max(df, 0), NAN)
    return ChiSquare(statistic, df, float(chdtrc(df, statistic)))


def names(labels: Sequence[str] | None, k: int) -> tuple[str, ...]:
    """Labels of the studies, `study 1` ... where none are given."""
    if labels is None:
        return tuple(f"study {row}" for row in range(1, k + 1))
    if len(labels) != k:
        raise ValueError(f"{len(labels)} labels for {k} studies")
    return tuple(labels)


def listed(mask: Mask, labels: Sequence[str]) -> str:
    """The studies of a mask by name, the tail of a long list as a number."""
    chosen = [label for label, used in zip(labels, mask.tolist(), strict=True) if used]
    if len(chosen) <= LISTED:
        return "; ".join(chosen)
    return f"{'; '.join(chosen[:LISTED])}; and {len(chosen) - LISTED} more"


def counted(mask: Mask) -> str:
    """Number of studies of a mask, with its noun."""
    number = int(mask.sum())
    return f"{number} study" if number == 1 else f"{number} studies"


def fitted_cell(n: Floats, m: Floats, other: Floats, psi: float) -> Floats:
    """Expected count where row `n` meets column `m`, margins kept, at odds ratio `psi`.

    Positive root of the quadratic of Breslow & Day (1980, IARC Sci Publ 32, eq. 4.27), in a
    form without differences of nearly equal numbers, so that it holds at psi = 1 too.

    Parameters
    ----------
    n, m, other : size of the group, total of the outcome, size of the other group; (k,).
    """
    rest = n + other - m
    a = psi * (n + m) + (other - m)
    # a^2 - 4 psi (psi - 1) n m, written out
    root = np.sqrt((psi * (n - m)) ** 2 + (other - m) ** 2 + 2 * psi * (n * other + m * rest))
    with np.errstate(divide="ignore", invalid="ignore"):  # the branch that is not taken
        return np.where(a >= 0, 2 * psi * n * m / (a + root), (root - a) / (2 * (1 - psi)))
