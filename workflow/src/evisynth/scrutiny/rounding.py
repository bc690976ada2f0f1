"""Bounds of the pooled estimate over all values that the rounding of printed numbers allows.

The numbers of a row lie in a box: each may be anything that is rounded to what is printed. The
rows are independent of each other, so a row enters as the effects and variances at the corners
of its box. The search goes from corner to corner of all boxes together: every row is moved by
itself, all that gain move at once, and this is repeated until nothing gains (iterated
linearisation); if moving all at once does not gain, the best single move is made. It starts at
the printed numbers and at the best of random corners, and random points of the interior are
compared with what it finds. Bounds are therefore values that are attained; that none lies
beyond is certain only where all corners were tried and the estimate is monotone in each number.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evisynth.families import EXACT
from evisynth.heterogeneity import FEW
from evisynth.inference import normal_quantile, quantile
from evisynth.records import Floats, RawRow
from evisynth.scrutiny.refit import Answer, Compute, refit
from evisynth.specification import ModelSpec

Numbers = dict[str, float]
Complete = Callable[[Mapping[str, float]], Mapping[str, float]]
"""From reported numbers to those that the measure takes."""
NAN = math.nan
TARGETS = ("estimate", "ci_low", "ci_high")
# So many corners of all boxes together are all tried.
ALL = 256
# A row with more rounded numbers is represented by its outermost corners.
MOST_NUMBERS = 6
DIRECTIONS = tuple(d for d in itertools.product((-1, 0, 1), repeat=2) if d != (0, 0))
RANDOM_CORNERS, RANDOM_POINTS, SEED = 200, 50, 1
# Fits of a model that has no kernel for many data sets; two for each row.
MOST_FITS = 160
MOST_STEPS = 60
SCORING = 100
GAIN = 1e-12


@dataclass(frozen=True, slots=True)
class Precise:
    """How exactly the numbers of a row are printed; fields as in `rows.RawRow`."""

    given: Mapping[str, float]
    spans: Mapping[str, tuple[float, float]]
    choices: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class _Row:
    """One row at its printed numbers (first) and at the corners of its box.

    Attributes
    ----------
    numbers : inputs of the measure.
    yi, vi : shape (corners + 1,).
    fields : numbers that move it.
    """

    place: int
    numbers: tuple[Numbers, ...]
    yi: Floats
    vi: Floats
    fields: tuple[str, ...]
    inside: "Callable[[np.random.Generator], Numbers]"


@dataclass(frozen=True, slots=True)
class Bound:
    """The answer where one of `TARGETS` is lowest or highest."""

    target: str
    end: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds, with what was done to find them.

    Attributes
    ----------
    moved : number of rows that rounding can move.
    """

    found: tuple[Bound, ...]
    moved: int
    notes: tuple[str, ...]


def rounding_bounds(
    rows: Sequence[RawRow],
    precision: Sequence[Precise],
    compute: Compute,
    spec: ModelSpec,
    complete: Complete = dict,
    *,
    enumerated: int = ALL,
) -> Bounds:
    """Lowest and highest estimate and ends of its interval over the boxes of all pooled rows.

    Parameters
    ----------
    rows, precision : of the analysis, one entry each; rows that are not included stay out.
    compute : effect sizes of rows.
    complete : the conversions of the analysis, for rows with numbers `given` before them.
    enumerated : up to so many combinations of corners all are tried.
    """
    effects = compute(rows)
    boxes, notes = [], []
    for place, (row, precise) in enumerate(zip(rows, precision, strict=True)):
        if effects.included[place] or (row.included and spec.family in EXACT):
            box, why = _box(place, row, precise, compute, complete)
            boxes += [box] if len(box.numbers) > 1 else []
            notes += [why] if why else []
    if not boxes:
        return Bounds((), 0, (*notes, "every number is printed in full"))

    def exact(corners: Sequence[Numbers]) -> Answer:
        changed = list(rows)
        for box, numbers in zip(boxes, corners, strict=True):
            changed[box.place] = replace(rows[box.place], numbers=numbers)
        try:
            return refit(compute(changed), spec)
        except ValueError as error:
            return Answer(0, notes=(str(error),))

    combinations = math.prod(len(box.numbers) for box in boxes)
    if combinations <= enumerated:
        tried = [exact(c) for c in itertools.product(*(box.numbers for box in boxes))]
        notes.append(f"all {combinations} combinations of corners and printed numbers tried")
    elif spec.family in EXACT:
        tried = _one_by_one(boxes, exact)
        notes.append("each count moved by itself, and all that gain together")
    else:
        yi, vi = effects.yi.copy(), effects.vi.copy()
        used = np.flatnonzero(effects.pooled)
        search = _Search(boxes, yi, vi, used, spec)
        candidates = search.candidates()
        if not search.is_the_model and 2 * len(boxes) <= MOST_FITS:
            candidates += _linearised(boxes, exact)
            notes.append("one linearisation of this model")
        if not search.is_the_model:
            notes.append("corners found by inverse variance as well, answers by this model")
        unique = dict.fromkeys(tuple(corner) for corner in candidates)
        tried = [
            exact([box.numbers[i] for box, i in zip(boxes, corner, strict=True)])
            for corner in unique
        ]
        notes.append("corners found by search, not all tried")
        tried += _inside(search, boxes, exact)
    tried = [answer for answer in tried if math.isfinite(answer.estimate)]
    found = tuple(
        Bound(target, end, best(tried, key=lambda answer: getattr(answer, target)))
        for target in TARGETS
        for end, best in (("lowest", min), ("highest", max))
        if tried
    )
    return Bounds(found, len(boxes), tuple(notes))


def _box(
    place: int, row: RawRow, precise: Precise, compute: Compute, complete: Complete
) -> tuple[_Row, str]:
    """One row at the corners of its box; and what could not be moved."""
    why = ""
    base: Numbers = {name: v for name, v in row.numbers.items() if not math.isnan(v)}
    convert: Complete = dict
    if precise.given:
        again = complete(precise.given)
        if all(math.isclose(again.get(name, NAN), v) for name, v in base.items()):
            base, convert = dict(precise.given), complete
        else:
            why = f"{row.label}: the numbers that it is derived from are taken as printed"
            precise = Precise({}, {}, {})
    ranges: dict[str, tuple[float, ...]] = {
        **{name: precise.spans[name] for name in base if name in precise.spans},
        **{name: precise.choices[name] for name in base if name in precise.choices},
    }

    def effect(numbers: Mapping[str, float]) -> tuple[Numbers, float, float]:
        inputs = {k: v for k, v in convert(numbers).items() if k in row.numbers}
        try:
            found = compute([replace(row, included=True, numbers=inputs)])
        except ValueError:  # a corner that no interval, or no count, can have
            return inputs, NAN, NAN
        return inputs, float(found.yi[0]), float(found.vi[0])

    printed = effect(base)
    moving = []
    for name, values in ranges.items():
        ends = [effect({**base, name: value})[1:] for value in (values[0], values[-1])]
        if any(end != printed[1:] for end in ends):
            moving.append(name)
    corners = [base]
    if len(moving) > MOST_NUMBERS:
        corners += _outermost(base, {name: ranges[name] for name in moving}, effect)
    elif moving:
        corners += [
            {**base, **dict(zip(moving, values, strict=True))}
            for values in itertools.product(*(ranges[name] for name in moving))
        ]
    found: dict[tuple[float, float], Numbers] = {}
    for corner in corners:
        inputs, yi, vi = effect(corner)
        # An exact family may take a row without an effect size, of which only counts move.
        if (math.isfinite(yi) and vi > 0) or precise.choices:
            found.setdefault((yi, vi), inputs)

    def inside(random: np.random.Generator) -> Numbers:
        drawn = {
            name: float(random.uniform(*precise.spans[name]))
            for name in moving
            if name in precise.spans
        }
        inputs, yi, vi = effect({**base, **drawn})
        return inputs if math.isfinite(yi) and vi > 0 else printed[0]

    return (
        _Row(
            place,
            tuple(found.values()),
            np.array([yi for yi, _ in found]),
            np.array([vi for _, vi in found]),
            tuple(moving),
            inside,
        ),
        why,
    )


def _outermost(
    base: Numbers,
    ranges: Mapping[str, tuple[float, ...]],
    effect: Callable[[Mapping[str, float]], tuple[Numbers, float, float]],
) -> list[Numbers]:
    """Corners where effect and variance, or combinations of them, are farthest out."""
    moves = {
        name: np.subtract(
            effect({**base, name: values[-1]})[1:], effect({**base, name: values[0]})[1:]
        )
        for name, values in ranges.items()
    }
    scale = np.abs(list(moves.values())).sum(axis=0)
    scale[scale == 0] = 1.0
    return [
        {
            **base,
            **{
                name: values[-1 if float(moves[name] / scale @ direction) > 0 else 0]
                for name, values in ranges.items()
            },
        }
        for direction in DIRECTIONS
    ]


class _Search:
    """Corners where an inverse-variance model of many data sets is lowest and highest.

    Parameters
    ----------
    yi, vi : of all rows; `used` are the positions of those that are pooled.
    """

    def __init__(
        self,
        boxes: Sequence[_Row],
        yi: Floats,
        vi: Floats,
        used: "np.ndarray[tuple[int], np.dtype[np.intp]]",
        spec: ModelSpec,
    ) -> None:
        self.boxes, self.spec = boxes, spec
        self.yi, self.vi = yi[used], vi[used]
        self.columns = [int(np.flatnonzero(used == box.place)[0]) for box in boxes]
        own = spec.effects == "common" or spec.method in ("REML", "DL")
        self.is_the_model = (
            spec.family == "IV"
            and own
            and (spec.effects == "common" or spec.test in ("z", "knha", "adhoc"))
        )

    def fits(self, corners: Sequence[Sequence[int]]) -> Floats:
        """Targets at each of `corners`, shape (corners, 3)."""
        yi = np.tile(self.yi, (len(corners), 1))
        vi = np.tile(self.vi, (len(corners), 1))
        for place, (box, column) in enumerate(zip(self.boxes, self.columns, strict=True)):
            chosen = [corner[place] for corner in corners]
            yi[:, column], vi[:, column] = box.yi[chosen], box.vi[chosen]
        return many(yi, vi, self.spec)

    def candidates(self) -> list[list[int]]:
        """A corner for each end of each target, from two starts, and the printed numbers."""
        random = np.random.default_rng(SEED)
        sizes = [box.yi.size for box in self.boxes]
        drawn = random.integers(0, sizes, size=(RANDOM_CORNERS, len(sizes))).tolist()
        values = self.fits(drawn)
        found = [[0] * len(sizes)]
        for target in range(len(TARGETS)):
            for sign in (-1.0, 1.0):
                best = drawn[int(np.argmax(sign * values[:, target]))]
                found += [self.climb(start, target, sign) for start in ([0] * len(sizes), best)]
        return found

    def climb(self, start: Sequence[int], target: int, sign: float) -> list[int]:
        """From `start` to a corner that no move of rows improves."""
        at = list(start)
        value = sign * float(self.fits([at])[0, target])
        moves = [
            (place, corner)
            for place, box in enumerate(self.boxes)
            for corner in range(box.yi.size)
        ]
        for _ in range(MOST_STEPS):
            trials = [[*at[:p], corner, *at[p + 1 :]] for p, corner in moves]
            values = sign * self.fits(trials)[:, target]
            together, gains = list(at), [value] * len(at)
            for (place, corner), gained in zip(moves, values.tolist(), strict=True):
                if gained > gains[place]:
                    together[place], gains[place] = corner, gained
            single = int(np.argmax(values))
            all_at_once = sign * float(self.fits([together])[0, target])
            if all_at_once >= values[single]:
                following, reached = together, all_at_once
            else:
                following, reached = trials[single], float(values[single])
            if not reached > value + GAIN * max(1.0, abs(value)):
                break
            at, value = following, reached
        return at


def many(yi: Floats, vi: Floats, spec: ModelSpec) -> Floats:
    """Estimate and interval of many data sets of one size, analysis scale, shape (m, 3).

    A guide for the search: the restricted likelihood by Fisher scoring from DerSimonian and
    Laird's tau2, so that the maximum is the one nearby. `spec` decides on common effect or
    tau2 by REML (any estimator but DL) and on Wald's or Knapp and Hartung's interval with its
    floor (any other test: Wald's).

    Parameters
    ----------
    yi, vi : shape (m, k), k > 1.
    """
    k = yi.shape[1]
    wi = 1 / vi
    total = wi.sum(axis=1)
    centre = yi.mean(axis=1, keepdims=True)  # keeps the digits of effects far from 0
    yi = yi - centre
    mean = (wi * yi).sum(axis=1) / total
    tau2 = np.zeros(len(yi))
    if spec.effects == "random":
        q = (wi * (yi - mean[:, None]) ** 2).sum(axis=1)
        tau2 = np.maximum(0, (q - (k - 1)) / (total - (wi**2).sum(axis=1) / total))
        for _ in range(SCORING if spec.method != "DL" else 0):
            wi = 1 / (vi + tau2[:, None])
            total, squares = wi.sum(axis=1), (wi**2).sum(axis=1)
            mean = (wi * yi).sum(axis=1) / total
            ypp = (wi**2 * (yi - mean[:, None]) ** 2).sum(axis=1)
            trace = total - squares / total
            double = squares - 2 * (wi**3).sum(axis=1) / total + (squares / total) ** 2
            new = np.maximum(0, tau2 + (ypp - trace) / double)
            done = bool((np.abs(new - tau2) <= 1e-10 * (new + vi.min())).all())
            tau2 = new
            if done:
                break
        wi = 1 / (vi + tau2[:, None])
        total = wi.sum(axis=1)
        mean = (wi * yi).sum(axis=1) / total
    z = normal_quantile(spec.level)
    half = z / np.sqrt(total)
    if spec.effects == "random" and spec.test in ("knha", "adhoc") and k > 2:
        t = quantile(spec.level, k - 1)
        s2w = (wi * (yi - mean[:, None]) ** 2).sum(axis=1) / (k - 1)
        floored = (tau2 == 0) | (t * np.sqrt(s2w) < z) | (k < FEW)
        floored = (floored & spec.floor) | (spec.test == "adhoc")
        factor = np.where(floored, np.maximum(1, s2w), s2w)
        half = t * np.sqrt(factor / total)
    mean = mean + centre[:, 0]
    return np.column_stack([mean, mean - half, mean + half])


def _linearised(
    boxes: Sequence[_Row], exact: Callable[[Sequence[Numbers]], Answer]
) -> list[list[int]]:
    """Corners that the derivatives of the model itself at the printed numbers point to."""
    printed = [box.numbers[0] for box in boxes]

    def targets(answer: Answer) -> list[float]:
        return [getattr(answer, target) for target in TARGETS]

    middle = np.array(targets(exact(printed)))
    slopes = []
    for place, box in enumerate(boxes):
        ends = [int(np.argmax(box.yi)), int(np.argmax(box.vi))]
        moved = [[*printed[:place], box.numbers[end], *printed[place + 1 :]] for end in ends]
        rises = np.array([targets(exact(numbers)) for numbers in moved]) - middle
        moves = np.column_stack([box.yi[ends] - box.yi[0], box.vi[ends] - box.vi[0]])
        # shape (2, targets): per unit of effect, and of variance
        slopes.append(np.linalg.lstsq(moves, np.nan_to_num(rises))[0])
    return [
        [
            int(
                np.argmax(
                    sign
                    * (
                        slope[0, target] * (box.yi - box.yi[0])
                        + slope[1, target] * (box.vi - box.vi[0])
                    )
                )
            )
            for box, slope in zip(boxes, slopes, strict=True)
        ]
        for target in range(len(TARGETS))
        for sign in (-1.0, 1.0)
    ]


def _one_by_one(
    boxes: Sequence[_Row], exact: Callable[[Sequence[Numbers]], Answer]
) -> list[Answer]:
    """Answers with each row moved by itself, and with all moves that gain together."""
    printed = [box.numbers[0] for box in boxes]
    tried = [exact(printed)]
    single = [
        [exact([*printed[:place], n, *printed[place + 1 :]]) for n in box.numbers]
        for place, box in enumerate(boxes)
    ]
    for target in TARGETS:
        for sign in (-1.0, 1.0):
            corner = []
            for box, answers in zip(boxes, single, strict=True):
                values = [sign * getattr(answer, target) for answer in answers]
                corner.append(box.numbers[int(np.argmax(np.nan_to_num(values, nan=-np.inf)))])
            tried.append(exact(corner))
    return [*tried, *(answer for answers in single for answer in answers)]


def _inside(
    search: _Search, boxes: Sequence[_Row], exact: Callable[[Sequence[Numbers]], Answer]
) -> list[Answer]:
    """Answers at random points of the interior, where the model is quick enough."""
    if not search.is_the_model:
        return []
    random = np.random.default_rng(SEED)
    return [exact([box.inside(random) for box in boxes]) for _ in range(RANDOM_POINTS)]
