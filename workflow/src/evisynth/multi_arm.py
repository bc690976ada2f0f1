"""Every patient once: comparisons that share an arm, and results that share patients."""

from dataclasses import replace

from evisynth.config import Analysis
from evisynth.errors import Problem
from evisynth.evidence import Study
from evisynth.inputs import INPUTS
from evisynth.readings import Candidate, ProblemAt, counted_twice

SHARED_ARM = "shared_arm"
"""Column of the arm below the line, for `multi_arm: covariance`."""


def as_multi_arm(
    analysis: Analysis,
    study: Study,
    usable: list[Candidate],
    problem: ProblemAt,
    problems: list[Problem],
) -> list[Candidate]:
    """Comparisons of one study that share an arm, as `multi_arm` wants them.

    ``split``: the shared arm is divided evenly between its comparisons, events and units;
    Cochrane Handbook, 23.3.4. A mean and a standard deviation stay as they are.
    ``covariance``: all stay whole; the column `SHARED_ARM` says which share a control.
    """
    if INPUTS[analysis.measure].design != "two_groups" or analysis.multi_arm == "refuse":
        return usable
    times = [
        tuple(sum(other.arms[side] == c.arms[side] for other in usable) for side in (0, 1))
        for c in usable
    ]
    if analysis.multi_arm == "split":
        return [_divided(c, *shared) for c, shared in zip(usable, times, strict=True)]
    numerators = sorted(
        {c.arms[0] for c, shared in zip(usable, times, strict=True) if shared[0] > 1}
    )
    if numerators:
        problems.append(
            problem(
                "multi_arm",
                f"`covariance`, and {study.id} shares the arm {', '.join(numerators)} above "
                "the line",
                "comparisons that share the arm below the line",
                "turn the contrast round, or choose `multi_arm: split`",
            )
        )
    return usable


GROUP_FIELDS = (("ai", "n1i", "n_a1i", "n_b1i"), ("ci", "n2i", "n_a2i", "n_b2i"))
"""Counts of the two arms of a comparison, which are divided with the arm."""


def _divided(candidate: Candidate, first: int, second: int) -> Candidate:
    """A comparison whose arms are divided between so many comparisons."""
    numbers, given, choices = dict(candidate.numbers), dict(candidate.given), {}
    notes = []
    for times, fields, arm in zip((first, second), GROUP_FIELDS, candidate.arms, strict=True):
        for name in fields:
            for values in (numbers, given):
                if name in values:
                    values[name] /= times
            if name in candidate.choices:
                choices[name] = tuple(count / times for count in candidate.choices[name])
        if times > 1:
            notes.append(f"arm {arm} divided evenly between {times} comparisons")
    return replace(
        candidate,
        numbers=numbers,
        given=given,
        choices=choices,
        notes=(*candidate.notes, *notes),
        divided=candidate.divided or bool(notes),
    )


def reused_arms(
    study: Study, usable: list[Candidate], problem: ProblemAt, *, comparisons: bool = False
) -> list[Problem]:
    """Pairs of results that count the same patients, or of which that cannot be told.

    Parameters
    ----------
    comparisons : whether two comparisons may have one arm in common, on the same side.
    """
    problems = []
    for i, one in enumerate(usable):
        for two in usable[i + 1 :]:
            same = [
                first
                for first, second in zip(one.arms, two.arms, strict=False)
                if first == second
            ]
            allowed = same if comparisons and len(one.arms) == 2 and len(same) == 1 else []
            twice = [
                counted_twice(study, first, second)
                for first in one.arms
                for second in two.arms
                if study.parts(first) & study.parts(second)
                and not (first == second and first in allowed)
            ]
            if not (one.arms and two.arms):
                twice = ["which arms they are about is not said and both would enter"]
            if twice:
                problems.append(
                    problem(
                        "choose",
                        f"{study.file}: {'; '.join(twice)}, in the results "
                        f"{one.name!r} ({one.counts}) and {two.name!r} ({two.counts})",
                        "every patient once",
                        f"name the one to take: choose: {{{study.id}: {one.name}}}"
                        if one.name != two.name
                        else "record them as two results with an `id` each, and choose one; or "
                        "give the parts another treatment class",
                    )
                )
    return problems
