"""Which of several reports of the same number is taken."""

from collections.abc import Mapping
from dataclasses import replace

from evisynth.evidence import Study
from evisynth.readings import Candidate, folded
from evisynth.studyfile import Report, Result


def authoritative(study: Study, candidates: list[Candidate]) -> list[Candidate]:
    """One value where several reports give the same number; the others cannot be used.

    A report that is superseded, or a duplicate, gives way to the one that it names. Of the
    others the primary report is taken, where exactly one result of it qualifies. What is left
    with several values is for the reviewer to choose from. A value that gives way is named in
    the notes of the one that is taken.
    """
    reports = {report.id: report for report in study.content.reports}
    found = list(candidates)
    for place, one in enumerate(candidates):
        later = _replaced_by(one.result.report, reports)
        if one.unusable or not later:
            continue
        word = "superseded by" if reports[one.result.report].superseded_by else "duplicate of"
        taken = [
            i
            for i, other in enumerate(candidates)
            if other.result.report in later and not other.unusable and _same(one, other)
        ]
        if taken:
            report = candidates[taken[0]].result.report
            _give_way(found, place, taken, f"its report is {word} {report}")
        elif word == "superseded by":
            note = (
                f"from {one.result.report}, which is superseded by {later[0]}; "
                "no later report gives a number that can be used instead"
            )
            found[place] = replace(one, notes=(*one.notes, note))
    for place, one in enumerate(candidates):
        if found[place].unusable or reports[one.result.report].primary:
            continue
        rivals = [
            i
            for i, other in enumerate(candidates)
            if reports[other.result.report].primary
            and not found[i].unusable
            and _same(one, other)
            and _same_time(one.result, other.result)
        ]
        if len(rivals) == 1:
            report = candidates[rivals[0]].result.report
            _give_way(found, place, rivals, f"the primary report, {report}, gives it")
    return found


def _replaced_by(report: str, reports: Mapping[str, Report]) -> tuple[str, ...]:
    """Reports that take the place of this one, the next one first; circles end."""
    found: dict[str, None] = {}
    following = reports[report].superseded_by or reports[report].duplicate_of
    while following and following not in found and following != report:
        found[following] = None
        following = reports[following].superseded_by or reports[following].duplicate_of
    return tuple(found)


def _same(one: Candidate, two: Candidate) -> bool:
    """Whether two candidates are the same number of the same patients, if both are right."""
    return (
        one is not two
        and set(one.arms) == set(two.arms)
        and one.result.subgroup == two.result.subgroup
        and one.result.category == two.result.category
    )


def _same_time(one: Result, two: Result) -> bool:
    return one.when is None or two.when is None or folded(one.when) == folded(two.when)


def _give_way(found: list[Candidate], place: int, taken: list[int], why: str) -> None:
    """Make the candidate at `place` unusable, and name it where its number is taken from."""
    one = found[place]
    found[place] = replace(one, unusable=why)
    for i in taken:
        note = f"taken instead of {one.name!r} of {one.result.report} ({one.counts})"
        found[i] = replace(found[i], notes=(*found[i].notes, note))
