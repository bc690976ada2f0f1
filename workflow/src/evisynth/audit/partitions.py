"""Complementary groups share integer totals: the search, and what it says."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from evisynth.audit.counting import (
    candidates,
    cut,
    folded,
    listed,
    percent_text,
    rounded,
    share,
    spread,
    usable,
)
from evisynth.audit.material import StudyMaterial
from evisynth.audit.records import Check, Place, Proportion, Rule
from evisynth.studyfile import Split

# Sets of counts are integers used as bit sets; beyond this many units the search is not run.
LARGEST = 20_000
COUNTED = frozenset({"count", "crude_proportion"})
# "Biopsy: first v recurring": the same characteristic in several groupings.
_GROUPING = re.compile(r"\bv(?:s\.?|ersus)?\b")


@dataclass(frozen=True, slots=True)
class Constraint:
    """The count of `of` is the sum of those of `into` plus between ``-less`` and ``more``."""

    of: str
    into: tuple[str, ...]
    less: int
    more: int


@dataclass(frozen=True, slots=True)
class Cell:
    """What is printed of one outcome in one arm.

    Attributes
    ----------
    counts : bit set of the counts that it allows; 0 if none does.
    cut : whether only cutting digits off explains it.
    """

    arm: str
    value: Proportion
    counts: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Partition:
    """One outcome in groups that divide the same units.

    Attributes
    ----------
    splits : those that take part; `cells` by arm; `sizes` of all arms.
    counts : by arm, bit set of what all splits together allow; None if nothing does.
    """

    outcome: str
    top: str
    splits: tuple[Split, ...]
    constraints: tuple[Constraint, ...]
    cells: Mapping[str, Cell]
    sizes: Mapping[str, int]
    counts: Mapping[str, int] | None

    def impossible(self) -> list[Cell]:
        """Cells whose percentage no count prints."""
        return [cell for cell in self.cells.values() if not cell.counts]


def bits(values: Sequence[int]) -> int:
    """The set of these counts as an integer."""
    if isinstance(values, range) and values.step == 1 and values:
        return ((1 << len(values)) - 1) << values[0]
    found = 0
    for value in values:
        found |= 1 << value
    return found


def members(found: int) -> list[int]:
    """The counts in a bit set, ascending."""
    out, at = [], 0
    while found:
        step = (found & -found).bit_length() - 1
        at += step
        out.append(at)
        found >>= step + 1
        at += 1
    return out


def _moved(values: int, by: int) -> int:
    """Every sum of a value and a step of `by`."""
    if values.bit_count() < by.bit_count():
        values, by = by, values
    low = (by & -by).bit_length() - 1
    length = by.bit_length() - low
    if by.bit_count() == length:  # a run: by doubling
        found, done = values, 1
        while done < length:
            step = min(done, length - done)
            found |= found << step
            done += step
        return found << low
    found = 0
    for step in members(by):
        found |= values << step
    return found


def _back(values: int, by: int) -> int:
    """Every difference, at least 0, of a value and a step of `by`."""
    # Mirrored, a difference is a sum; the mirror's last place is that of the largest value.
    size = max(values.bit_length(), by.bit_length())
    found = _moved(_mirror(values, size), by)
    return _mirror(found & ((1 << size) - 1), size)


def _mirror(values: int, size: int) -> int:
    return int(f"{values:0{size}b}"[::-1], 2) if size else 0


def propagate(
    counts: Mapping[str, int], constraints: Sequence[Constraint]
) -> dict[str, int] | None:
    """Drop every count that some constraint rules out, until nothing changes.

    A value stays if every constraint on its own has a solution with it (generalised arc
    consistency, Mackworth 1977, Artif Intell 8:99). For constraints without cycles these are
    exactly the values of the solutions; with cycles some may be too many, but none is missing,
    so that an empty set is always a proof. None where there is no solution.
    """
    found = dict(counts)
    changed = True
    while changed:
        changed = False
        for constraint in constraints:
            parts = [found[arm] for arm in constraint.into]
            slack = (1 << (constraint.less + constraint.more + 1)) - 1
            before, after = [1], [slack]
            for part in parts:
                before.append(_moved(before[-1], part))
            for part in reversed(parts):
                after.append(_moved(after[-1], part))
            # Everything is shifted up by `less`, so that no difference is negative.
            whole = found[constraint.of] << constraint.less
            new = {constraint.of: found[constraint.of] & (after[-1] >> constraint.less)}
            for i, arm in enumerate(constraint.into):
                others = _moved(before[i], after[len(parts) - 1 - i])
                new[arm] = new.get(arm, found[arm]) & _back(whole, others)
            for arm, kept in new.items():
                if not kept:
                    return None
                if kept != found[arm]:
                    found[arm] = kept
                    changed = True
    return found


def key_of(value: Proportion) -> tuple[str, str, str, str]:
    """What makes two proportions the same quantity, apart from the arm."""
    return (value.outcome, folded(value.when), folded(value.subgroup), folded(value.category))


def partitions(material: StudyMaterial) -> list[Partition]:
    """Every outcome over the splits that connect its arms, with what they allow together."""
    splits = material.study.content.splits
    if not splits:
        return []
    sizes = {arm.id: arm.n for arm in material.study.content.arms}
    by_key: dict[tuple[str, ...], list[Proportion]] = defaultdict(list)
    for value in material.proportions:
        if value.kind in COUNTED:
            by_key[key_of(value)].append(value)
    found = []
    for key, values in _grouped(by_key):
        for component in _components(splits, {value.arm for value in values}):
            arms = {arm for split in component for arm in (split.of, *split.into)}
            cells = _cells([value for value in values if value.arm in arms])
            if len(cells) >= 2 and max(sizes[arm] for arm in arms) <= LARGEST:
                found.append(_solved(key[0], component, cells, sizes))
    return found


def _grouped(
    by_key: Mapping[tuple[str, ...], list[Proportion]],
) -> Iterator[tuple[tuple[str, ...], list[Proportion]]]:
    """Groups of one quantity; a characteristic in several groupings is one quantity."""
    merged: dict[tuple[str, ...], list[Proportion]] = {}
    for key, values in by_key.items():
        head, colon, tail = key[3].partition(":")
        if colon and _GROUPING.search(tail):
            merged.setdefault((*key[:3], head), []).extend(values)
        else:
            merged.setdefault(key, []).extend(values)
    yield from merged.items()


def _components(splits: Sequence[Split], arms: set[str]) -> Iterator[tuple[Split, ...]]:
    """Sets of splits that share arms, each with at least one part that has a number."""
    todo = [split for split in splits if arms & {split.of, *split.into}]
    while todo:
        inside, reached = [todo.pop(0)], set[str]()
        reached.update((inside[0].of, *inside[0].into))
        grown = True
        while grown:
            near = [s for s in todo if reached & {s.of, *s.into}]
            grown = bool(near)
            for split in near:
                todo.remove(split)
                inside.append(split)
                reached.update((split.of, *split.into))
        yield tuple(split for split in splits if split in inside)


def _cells(values: Sequence[Proportion]) -> dict[str, Cell]:
    """One cell per arm; of several prints that agree what all allow, else what any does."""
    cells: dict[str, Cell] = {}
    for value in values:
        allowed = candidates(value)
        if allowed is None or (allowed and allowed[-1] > LARGEST):
            continue
        only_cut = bool(
            allowed
            and (value.events is None or value.derived)
            and value.percent
            and value.n
            and not rounded(value.percent, value.n)
        )
        new = Cell(value.arm, value, bits(allowed), only_cut)
        old = cells.get(value.arm)
        if old is not None and old.counts and new.counts:
            both = old.counts & new.counts
            new = replace(old, counts=both or old.counts | new.counts, cut=old.cut and new.cut)
        elif old is not None and old.counts:
            new = old
        cells[value.arm] = new
    return cells


def _solved(
    outcome: str, splits: tuple[Split, ...], cells: Mapping[str, Cell], sizes: Mapping[str, int]
) -> Partition:
    missing = {
        arm: max(sizes[arm] - cell.value.n, 0)
        for arm, cell in cells.items()
        if cell.value.n is not None
    }
    constraints = tuple(
        Constraint(
            split.of,
            tuple(split.into),
            missing.get(split.of, 0),
            max(split.unknown, sizes[split.of] - sum(sizes[arm] for arm in split.into), 0)
            + sum(missing.get(arm, 0) for arm in split.into),
        )
        for split in splits
    )
    parts = {arm for split in splits for arm in split.into}
    top = next((split.of for split in splits if split.of not in parts), splits[0].of)
    arms = {top, *parts, *(split.of for split in splits)}
    used = {arm: sizes[arm] for arm in sorted(arms)}
    whole = Partition(outcome, top, splits, constraints, cells, used, None)
    counts = propagate(start(whole), constraints)
    if counts is None and any(cell.cut for cell in cells.values()):
        # That digits were cut off was only a guess: such a cell may as well be impossible.
        freed = {
            arm: replace(cell, counts=0) if cell.cut else cell for arm, cell in cells.items()
        }
        trial = replace(whole, cells=freed)
        counts = propagate(start(trial), constraints)
        if counts is not None:
            whole = trial
    return replace(whole, counts=counts)


def start(partition: Partition, free: Sequence[str] = ()) -> dict[str, int]:
    """What each arm allows on its own; arms without a number, and `free`, everything."""
    found = {}
    for arm, size in partition.sizes.items():
        cell = partition.cells.get(arm)
        every = (1 << (size + 1)) - 1
        if cell is None or not cell.counts or arm in free:
            found[arm] = every
        else:
            # A count above the arm's n is another rule's; here it must not crash the search.
            found[arm] = cell.counts & every or every
    return found


def fits(split: Split, arm: str, cells: Sequence[tuple[Partition, Cell]]) -> "list[Fit]":
    """Unions of `arm` with other parts of the split of which its percentages are possible.

    Parameters
    ----------
    cells : the impossible cells of this arm, with the partition each is in.
    """
    sizes = cells[0][0].sizes
    others = [part for part in split.into if part != arm]
    found = []
    for chosen in range(1, 1 << len(others)) if len(others) <= 8 else ():
        union = [other for i, other in enumerate(others) if chosen >> i & 1]
        n = sizes[arm] + sum(sizes[other] for other in union)
        counts = []
        for partition, cell in cells:
            if cell.value.percent is None:
                break
            allowed = bits(rounded(cell.value.percent, n))
            known = partition.counts or start(partition)
            rest = (1 << (sizes[arm] + 1)) - 1
            for other in union:
                rest = _moved(rest, known[other])
            if not allowed & rest:
                break
            counts.append(members(allowed & rest))
        else:
            found.append(Fit((arm, *union), n, tuple(counts)))
    return found


@dataclass(frozen=True, slots=True)
class Fit:
    """Arms whose union has counts for all percentages, and those counts per percentage."""

    arms: tuple[str, ...]
    n: int
    counts: tuple[list[int], ...]


@dataclass(frozen=True, slots=True)
class Repair:
    """An impossible percentage: what the other groups leave of its arm, or whom it fits.

    Attributes
    ----------
    counts : counts of the arm that the other groups leave.
    fit : the only union of groups that it fits, if there is just one.
    """

    partition: Partition
    cell: Cell
    counts: tuple[int, ...]
    fit: Fit | None
    fit_counts: tuple[int, ...]


def repairs(found: Sequence[Partition]) -> list[Repair]:
    """Every impossible percentage of partitions that have a solution."""
    by_arm: dict[str, list[tuple[Partition, Cell]]] = defaultdict(list)
    for partition in found:
        if partition.counts is not None:
            for cell in partition.impossible():
                by_arm[cell.arm].append((partition, cell))
    out = []
    for arm, cells in by_arm.items():
        fitting = [
            fit
            for split in cells[0][0].splits
            if arm in split.into and len(split.into) > 2
            for fit in fits(split, arm, cells)
        ]
        only = fitting[0] if len(fitting) == 1 else None
        for i, (partition, cell) in enumerate(cells):
            counts = tuple(members((partition.counts or {})[arm]))
            out.append(
                Repair(
                    partition,
                    cell,
                    counts,
                    only if len(counts) > 1 else None,
                    tuple(only.counts[i]) if only and len(counts) > 1 else (),
                )
            )
    return out


def counts_of(
    material: StudyMaterial, found: Sequence[Partition] | None = None
) -> dict[tuple[str, str], tuple[int, int]]:
    """Counts and n that are certain, by result and arm: printed, unique, forced by others."""
    known: dict[tuple[str, str], tuple[int, int]] = {}
    for value in material.proportions:
        allowed = candidates(value) if value.kind in COUNTED else None
        if allowed is not None and len(allowed) == 1 and value.n is not None:
            known[value.place.results[0], value.arm] = (allowed[0], value.n)
    found = partitions(material) if found is None else found
    for partition in found:
        for cell in partition.cells.values():
            left = members((partition.counts or {}).get(cell.arm, 0))
            place = (cell.value.place.results[0], cell.arm)
            if len(left) == 1 and cell.value.n is not None and place not in known:
                known[place] = (left[0], cell.value.n)
    for repair in repairs(found):
        if repair.fit and len(repair.fit_counts) == 1:
            place = (repair.cell.value.place.results[0], repair.cell.arm)
            known[place] = (repair.fit_counts[0], repair.fit.n)
    return known


def check_partitions(material: StudyMaterial) -> Iterator[Check]:
    """Rule PARTITION."""
    yield from _sizes(material)
    found = partitions(material)
    for partition in found:
        if partition.counts is None:
            yield _contradiction(material, partition)
        elif _redundant(partition):
            yield _agreement(material, partition)
    for repair in repairs(found):
        yield _repaired(repair)


def _redundant(partition: Partition) -> bool:
    """Whether two sources say something of the same total."""
    split = sum(1 for s in partition.splits if set(s.into) & set(partition.cells))
    return split + sum(1 for s in partition.splits if s.of in partition.cells) >= 2


def _sizes(material: StudyMaterial) -> Iterator[Check]:
    """The parts of a split have no more units than the whole."""
    arms = {arm.id: arm for arm in material.study.content.arms}
    for split in material.study.content.splits:
        if len({arms[arm].unit for arm in (split.of, *split.into)}) > 1:
            continue
        total = sum(arms[arm].n for arm in split.into)
        whole = arms[split.of].n
        printed = f"{split.of} {whole}"
        recomputed = f"{' + '.join(str(arms[a].n) for a in split.into)} = {total}"
        if split.unknown:
            recomputed += f", {split.unknown} unknown"
        place = material.place(f"arms.{split.of}")
        if total > whole:
            results = tuple(
                name
                for name, result in material.results.items()
                if any(arm in result.arms for arm in split.into)
            )
            yield Check(
                replace(place, results=results, arms=tuple(split.into)),
                "inconsistent",
                printed,
                recomputed,
                f"{listed(split.into)} are said to share nobody and have more units than "
                f"{split.of}",
                "check the sizes of the groups, or whether they overlap",
            )
        elif total + split.unknown < whole:
            yield Check(
                place,
                "undecided",
                printed,
                recomputed,
                f"{whole - total - split.unknown} of {split.of} are in none of "
                f"{listed(split.into)}",
                "write `unknown` in `splits`, or add the group",
            )
        else:
            yield Check(place, "consistent", printed, recomputed, "the groups fit the whole")


def _total(partition: Partition) -> str:
    counts = members((partition.counts or {})[partition.top])
    return f"{spread(counts)} of {partition.sizes[partition.top]}"


def _agreement(material: StudyMaterial, partition: Partition) -> Check:
    cells = partition.cells.values()
    return Check(
        material.place(f"arms.{partition.top}", next(iter(cells)).value.place.report),
        "consistent",
        f"{partition.outcome} in {len(cells)} groups of {len(partition.splits)} splits",
        f"total {_total(partition)}",
        "all groups have counts with a common total",
    )


def _repaired(repair: Repair) -> Check:
    partition, value = repair.partition, repair.cell.value
    percent = value.percent
    assert percent is not None  # only a percentage can be impossible
    printed = f"{percent_text(percent)} of {value.n}"
    impossible = f"no count of {value.n} prints {percent_text(percent)}"
    decimals = max(percent.decimals, 1)
    if len(repair.counts) == 1 and value.n:
        one = share(repair.counts[0], value.n, decimals)
        return Check(
            value.place,
            "inconsistent",
            printed,
            f"{one}; total {_total(partition)}",
            f"{impossible}; the only consistent count is {one} "
            f"(printed {percent_text(percent)})",
            "leave it out, or ask the authors; the implied count is not put in its place",
        )
    if repair.fit:
        fit = repair.fit
        ways = listed([share(k, fit.n, decimals) for k in repair.fit_counts], "or")
        return Check(
            value.place,
            "inconsistent",
            printed,
            f"{ways} of {' + '.join(fit.arms)}",
            f"{impossible}; it fits {listed(fit.arms)} together ({fit.n}): {ways}",
            "find out which groups were compared; the number is not that of the group it names",
        )
    return Check(
        value.place,
        "undecided",
        printed,
        f"{spread(repair.counts)} of {value.n}",
        f"{impossible}, and the other groups leave {len(repair.counts)} counts",
        "ask the authors for the count",
    )


def _contradiction(material: StudyMaterial, partition: Partition) -> Check:
    wide = {
        arm: _wider(cell, partition.sizes[arm])
        for arm, cell in partition.cells.items()
        if cell.counts
    }
    culprits = [
        arm
        for arm, cell in partition.cells.items()
        if cell.counts and propagate(start(partition, [arm]), partition.constraints) is not None
    ]
    by_cutting = propagate({**start(partition), **wide}, partition.constraints) is not None
    doubted = [partition.cells[arm] for arm in culprits or partition.cells]
    repaired = []
    for arm in culprits:
        left = propagate(start(partition, [arm]), partition.constraints) or {}
        repaired.append(f"{arm} {spread(members(left[arm]))} of {partition.sizes[arm]}")
    printed = "; ".join(
        f"{cell.arm} {spread(members(cell.counts))} of {cell.value.n}"
        for cell in partition.cells.values()
        if cell.counts
    )
    one = culprits[0] if len(culprits) == 1 else None
    first = doubted[0].value.place
    place: Place = (
        first
        if one
        else replace(
            first,
            results=tuple(dict.fromkeys(cell.value.place.results[0] for cell in doubted)),
            arms=tuple(dict.fromkeys(cell.arm for cell in doubted)),
        )
    )
    splits = f"{len(partition.splits)} split{'s' if len(partition.splits) > 1 else ''}"
    return Check(
        place,
        "inconsistent",
        printed,
        f"consistent if changed: {'; or '.join(repaired)}" if repaired else "no single change",
        f"no total of {partition.top} fits the groups of {splits} for {partition.outcome}"
        + ("; it would if digits were cut off instead of rounded" if by_cutting else ""),
        "compare these numbers with the report; one of them cannot be right",
        "note" if by_cutting else None,
    )


def _wider(cell: Cell, size: int) -> int:
    value = cell.value
    if value.percent is None or not usable(value.percent) or value.n is None:
        return cell.counts
    if value.events is not None and not value.derived:
        return cell.counts
    return (cell.counts | bits(cut(value.percent, value.n))) & ((1 << (size + 1)) - 1)


RULES: tuple[Rule, ...] = (
    Rule(
        "PARTITION",
        "error",
        "study",
        "Groups that divide the same patients (`splits`) must have counts with a common total, "
        "over all splits of an outcome; a percentage that no count prints is shown beside the "
        "only count that the other groups leave, if there is one.",
        check_partitions,
        "Brown and Heathers 2017, Soc Psychol Personal Sci 8:363 (a single percentage)",
    ),
)
