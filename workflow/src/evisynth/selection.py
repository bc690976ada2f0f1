"""Which numbers enter an analysis: from study files or a table to one list of rows.

No study is left out silently: one that fits the question but cannot be pooled becomes a row
that is not included, with its reason.
"""

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from evisynth import conversions
from evisynth.config import Analysis, ArmContrast, Side
from evisynth.conversions import named
from evisynth.errors import Problem, echo
from evisynth.evidence import Evidence, Study
from evisynth.inputs import INPUTS, check_numbers
from evisynth.menus import FIELDS
from evisynth.printed import number, parse_printed
from evisynth.rows import RawRow
from evisynth.spans import Span, counts_of, inverted, span
from evisynth.studyfile import ArmValue, Derived, Report, Result
from evisynth.table_rows import chosen_conversions, table_rows
from evisynth.validation import choices, nearest

BOUNDS = ("ci_low", "ci_high")
NO_SPAN: Span = (math.nan, math.nan)
NO_STUDY = "no study that fits"
SHARED_ARM = "shared_arm"
"""Column of the arm below the line, for `multi_arm: covariance`."""
ProblemAt = Callable[[str, str, str, str], Problem]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A result of a study that fits the question of an analysis.

    Attributes
    ----------
    given, spans, choices, divided : as in `rows.RawRow`.
    """

    study: Study
    result: Result
    arms: tuple[str, ...]
    numbers: dict[str, float]
    unusable: str = ""
    notes: tuple[str, ...] = ()
    given: Mapping[str, float] = field(default_factory=dict)
    spans: Mapping[str, Span] = field(default_factory=dict)
    choices: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    divided: bool = False

    @property
    def name(self) -> str:
        """Id of the result within its file."""
        return self.result.id or self.result.outcome

    @property
    def counts(self) -> str:
        """The numbers in short, for messages."""
        return ", ".join(f"{key} {value:g}" for key, value in self.numbers.items())


def select(
    name: str, analysis: Analysis, evidence: Evidence | None, base: Path, config: str
) -> tuple[tuple[RawRow, ...], list[Problem]]:
    """Rows of the analysis `name` and everything that is wrong with its request.

    Parameters
    ----------
    evidence : the study files; None where the configuration names none.
    base : folder that paths of the configuration are relative to.
    config : name of the configuration file, for messages.
    """
    problems: list[Problem] = []

    def problem(place: str, found: str, expected: str, action: str) -> Problem:
        return Problem(config, f"analyses.{name}.{place}", found, expected, action)

    if analysis.table:
        rows = table_rows(name, analysis, base, config, problems)
    else:
        rows = _study_rows(analysis, evidence, problem, problems)
    if analysis.pool and not problems and not rows:
        problems.append(
            problem(
                "rows" if analysis.table else "outcome",
                NO_STUDY,
                "at least one study",
                "correct outcome, arms, contrast or rows; if the answer is that there is none, "
                "write `pool: no` with `why_not`",
            )
        )
    if evidence:
        rows += _shown_rows(analysis, evidence, problem, problems)
    elif analysis.show:
        problems.append(
            problem(
                "show", "results of study files", "`evidence` in the configuration", "add it"
            )
        )
    return tuple(rows), problems


def fitting(analysis: Analysis, study: Study) -> list[Candidate]:
    """Results of a study that fit an analysis, usable or not; mistakes are not said here."""

    def problem(place: str, found: str, expected: str, action: str) -> Problem:
        return Problem(study.file, place, found, expected, action)

    return _candidates(analysis, study, problem, [])


def check_words(
    name: str, analysis: Analysis, evidence: Evidence, config: str
) -> list[Problem]:
    """Outcome and studies that `analysis` names, where nothing can be selected yet."""

    def problem(place: str, found: str, expected: str, action: str) -> Problem:
        return Problem(config, f"analyses.{name}.{place}", found, expected, action)

    named = analysis if evidence.outcomes else analysis.model_copy(update={"outcome": ""})
    if evidence.ids is None:
        named = named.model_copy(update={"studies": "all", "exclude": {}, "choose": {}})
    problems = _unknown_words(named, evidence, evidence.ids or frozenset(), problem)
    return [p for p in problems if evidence.outcomes or not p.place.endswith(".outcome")]


def digest(rows: Iterable[RawRow], settings: object) -> str:
    """Short hash of the rows and the settings, the same on every machine.

    What only says how exactly numbers are printed does not count: no effect size is made of it.
    """
    plain = [[_digested(row) for row in rows], settings]
    text = json.dumps(plain, sort_keys=True, ensure_ascii=True, default=dict)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digested(row: RawRow) -> dict[str, object]:
    kept = {
        key: value
        for key, value in asdict(row).items()
        if key not in ("given", "spans", "choices")
    }
    # the order of covariates is that of columns in the results, so it counts too
    return kept | {"covariates": [*row.covariates.items()]}


def _study_rows(
    analysis: Analysis, evidence: Evidence | None, problem: ProblemAt, problems: list[Problem]
) -> list[RawRow]:
    if evidence is None:
        problems.append(
            problem(
                "outcome",
                "study files are asked for",
                "`evidence` in the configuration",
                "add it",
            )
        )
        return []
    known = {study.id for study in evidence.studies}
    problems += _unknown_words(analysis, evidence, known, problem)
    wanted = known if analysis.studies == "all" else set(analysis.studies)
    rows: list[RawRow] = []
    for study in sorted(evidence.studies, key=lambda s: (s.label.casefold(), s.id)):
        if study.id in wanted:
            found = _rows_of_study(analysis, study, problem, problems)
            rows += found
            if analysis.studies != "all" and not found:
                problems.append(
                    problem(
                        f"studies[{analysis.studies.index(study.id) + 1}]",
                        f"{echo(study.id)}, which has no result that fits",
                        f"results of {analysis.outcome!r} in these arms or this contrast",
                        "take it out of the list, or correct its file",
                    )
                )
    return rows


def _unknown_words(
    analysis: Analysis, evidence: Evidence, known: Collection[str], problem: ProblemAt
) -> list[Problem]:
    problems = []
    listed: list[tuple[str, str]] = []
    if analysis.studies != "all":
        listed += [(f"studies[{i}]", study) for i, study in enumerate(analysis.studies, 1)]
        if not analysis.studies:
            problems.append(_no_studies(problem))
    listed += [(f"exclude.{study}", study) for study in analysis.exclude]
    listed += [(f"choose.{study}", study) for study in analysis.choose]
    for place, study in listed:
        if study not in known:
            problems.append(_unknown_study(place, study, known, problem))
    if analysis.studies != "all":
        problems += [
            problem(
                f"exclude.{study}",
                f"{echo(study)}, which is not among `studies`",
                "a study of the list",
                "add it to `studies`, or remove it here",
            )
            for study in analysis.exclude
            if study in known and study not in analysis.studies
        ]
    problems += _unknown_treatments(analysis, evidence, problem)
    if analysis.outcome is None:
        problems.append(problem("outcome", "nothing", "an outcome, or a `table`", "add it"))
    elif analysis.outcome not in evidence.outcomes:
        problems.append(
            problem(
                "outcome",
                f"the outcome {echo(analysis.outcome)}",
                f"one of: {choices(evidence.outcomes, 60)}",
                f"correct it or define it{nearest(analysis.outcome, evidence.outcomes)}",
            )
        )
    return problems


def _unknown_treatments(
    analysis: Analysis, evidence: Evidence, problem: ProblemAt
) -> list[Problem]:
    """Treatment classes that no arm of any study has: a misspelt one would drop its studies."""
    known = {arm.treatment for study in evidence.studies for arm in study.content.arms}
    if not known or not analysis.pool:
        return []  # no study could be read, or none is expected
    sides = {"arms": analysis.arms}
    if analysis.contrast:
        sides |= {
            f"contrast.{key}": side
            for key, side in (
                ("numerator", analysis.contrast.numerator),
                ("denominator", analysis.contrast.denominator),
            )
            if isinstance(side, Side)
        }
    return [
        problem(
            f"{place}.treatment",
            f"the treatment {echo(word)}",
            f"a treatment class of some arm: {choices(known, 40)}",
            f"correct it{nearest(word, known)}",
        )
        for place, side in sides.items()
        if side
        for word in side.treatment
        if word not in known
    ]


def _no_studies(problem: ProblemAt) -> Problem:
    return problem(
        "studies", "an empty list", "`all` or a list of ids", "name at least one study"
    )


def _unknown_study(
    place: str, study: str, known: Collection[str], problem: ProblemAt
) -> Problem:
    return problem(
        place,
        f"the study {echo(study)}",
        f"one of: {choices(known, 40)}",
        f"correct it or add its file{nearest(study, known)}",
    )


def _rows_of_study(
    analysis: Analysis, study: Study, problem: ProblemAt, problems: list[Problem]
) -> list[RawRow]:
    candidates = _candidates(analysis, study, problem, problems)
    if study.id in analysis.choose:
        chosen = analysis.choose[study.id]
        for name in chosen:
            if name not in {c.name for c in candidates}:
                names = {c.name for c in candidates}
                problems.append(
                    problem(
                        f"choose.{study.id}",
                        f"the result {echo(name)}",
                        f"one of: {choices(names) or 'none fits this analysis'}",
                        f"correct it{nearest(name, names)}",
                    )
                )
        candidates = [c for c in candidates if c.name in chosen]
    else:
        candidates = _authoritative(study, candidates)
    if not candidates:
        return []
    not_pooled = study.content.excluded or analysis.exclude.get(study.id)
    usable = [c for c in candidates if not c.unusable]
    if usable and not not_pooled:
        usable = _multi_arm(analysis, study, usable, problem, problems)
    if not_pooled or not usable:
        shown = usable or candidates
        return [
            _row(
                c,
                analysis,
                included=False,
                reason=not_pooled or c.unusable,
                several=len(shown) > 1,
            )
            for c in shown
        ]
    for candidate in usable:
        problems += _impossible(analysis, candidate)
    comparisons = analysis.multi_arm != "refuse"
    problems += _reused_arms(study, usable, problem, comparisons=comparisons)
    return [_row(c, analysis, several=len(usable) > 1) for c in usable]


def _multi_arm(
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


def _authoritative(study: Study, candidates: list[Candidate]) -> list[Candidate]:
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
    return one.when is None or two.when is None or _folded(one.when) == _folded(two.when)


def _give_way(found: list[Candidate], place: int, taken: list[int], why: str) -> None:
    """Make the candidate at `place` unusable, and name it where its number is taken from."""
    one = found[place]
    found[place] = replace(one, unusable=why)
    for i in taken:
        note = f"taken instead of {one.name!r} of {one.result.report} ({one.counts})"
        found[i] = replace(found[i], notes=(*found[i].notes, note))


def _impossible(analysis: Analysis, candidate: Candidate) -> list[Problem]:
    return [
        Problem(
            candidate.study.file,
            f"result {candidate.name}"
            + (f", {' v '.join(candidate.arms)}" if candidate.arms else "")
            + f": {FIELDS.get(field, field)}",
            found,
            expected,
            "correct it against the report",
            candidate.study.line(f"results.{candidate.name}"),
        )
        for field, found, expected in check_numbers(
            analysis.measure, candidate.numbers, whole=not candidate.divided
        )
    ]


def _candidates(
    analysis: Analysis, study: Study, problem: ProblemAt, problems: list[Problem]
) -> list[Candidate]:
    found: list[Candidate] = []
    for result in study.content.results:
        if result.outcome != analysis.outcome:
            continue
        if INPUTS[analysis.measure].design == "effect":
            candidate = _printed_effect(analysis, study, result)
            found += [candidate] if candidate else []
        elif INPUTS[analysis.measure].design == "two_groups":
            found += _two_groups(analysis, study, result, problem, problems)
        else:
            found += _one_group(analysis, study, result)
    return found


def _fits(study: Study, arm_id: str, side: Side | None) -> bool:
    return side is None or study.arm(arm_id).treatment in side.treatment


def _one_group(analysis: Analysis, study: Study, result: Result) -> list[Candidate]:
    read = _GROUP_READERS.get(analysis.measure, _counted)
    candidates = []
    for arm_id, value in result.arms.items():
        if _fits(study, arm_id, analysis.arms):
            numbers, why, notes = read(result, value, _n(study, arm_id, value))
            found = _candidate(analysis, study, result, (arm_id,), numbers, why, notes)
            candidates.append(
                replace(
                    found,
                    spans=_spans_of_group(analysis.measure, result, value),
                    choices=_choices(study, result, {"xi": arm_id}, numbers),
                )
            )
    return candidates


def _spans_of_group(measure: str, result: Result, value: ArmValue) -> dict[str, Span]:
    """Spans of what the readers of `_GROUP_READERS` take from one arm."""
    if measure in ("MN", "MNLN"):
        return _spans(_summary_texts(result, value, 0))
    texts: dict[str, str | None]
    low, high = value.ci or (None, None)
    if measure in ("SCLL", "SLO"):
        text = value.estimate or value.printed
        texts = {"estimate": text, "ci_low": low, "ci_high": high, "sei": value.se}
        in_percent = text is not None and _in_percent(result, text)
        return _spans(texts, Fraction(1, 100) if in_percent else Fraction(1))
    if measure == "MED":
        months = MONTHS.get((result.unit or "").strip().casefold(), Fraction(1))
        texts = {"estimate": value.median or value.estimate, "ci_low": low, "ci_high": high}
        return _spans(texts, months)
    return {}


def _spans(texts: Mapping[str, str | None], factor: Fraction = Fraction(1)) -> dict[str, Span]:
    """Spans of printed numbers; a bound such as ``<5`` or ``NR`` has none."""
    return {
        name: span(text, factor)
        for name, text in texts.items()
        if text not in (None, "NR") and parse_printed(text).relation in ("", "=")
    }


def _choices(
    study: Study, result: Result, arms: Mapping[str, str], numbers: Mapping[str, float | None]
) -> dict[str, tuple[float, ...]]:
    """Counts that fit a percentage from which the events of an arm were derived.

    Parameters
    ----------
    arms : field of the events to arm.
    """
    found = {}
    for events, arm in arms.items():
        value = result.arms[arm]
        derived = value.derived or result.derived
        if numbers.get(events) is None or derived is None or value.printed is None:
            continue
        printed = parse_printed(value.printed)
        if not printed.percent or printed.relation not in ("", "="):
            continue
        counts = counts_of(printed, _n(study, arm, value))
        if len(counts) > 1 and numbers[events] in counts:
            found[events] = counts
    return found


GroupNumbers = tuple[dict[str, float | None], str, tuple[str, ...]]
"""Numbers of one arm, why they cannot be used or nothing, and notes."""


def _counted(result: Result, value: ArmValue, n: int) -> GroupNumbers:
    return {"xi": value.events, "ni": n}, "", ()


def _averaged(result: Result, value: ArmValue, n: int) -> GroupNumbers:
    return _summary(result, value, n, 0), "", ()


def _summary(result: Result, value: ArmValue, n: int, group: int) -> dict[str, float | None]:
    """Mean and standard deviation of an arm, and what they may be derived from.

    Parameters
    ----------
    group : 1 or 2 of a contrast, 0 for a single arm.
    """
    numbers: dict[str, float | None] = {named("ni", group): n}
    return numbers | {
        field: None if text in (None, "NR") else number(str(text))
        for field, text in _summary_texts(result, value, group).items()
    }


def _summary_texts(result: Result, value: ArmValue, group: int) -> dict[str, str | None]:
    """The same as printed, without the number of patients."""
    # Where the result is a median, standard error and interval are the median's.
    of_mean = result.kind == "mean"
    ci = value.ci if of_mean and value.ci and "NR" not in value.ci else (None, None)
    q1, q3 = value.iqr or (None, None)
    lowest, highest = value.range or (None, None)
    texts = {
        "mi": value.mean,
        "sdi": value.sd,
        "msei": value.se if of_mean else None,
        "mci_lowi": ci[0],
        "mci_highi": ci[1],
        "medi": value.median,
        "q1i": q1,
        "q3i": q3,
        "mini": lowest,
        "maxi": highest,
    }
    return {named(field, group): text for field, text in texts.items()}


def _survived(result: Result, value: ArmValue, n: int) -> GroupNumbers:
    """A Kaplan-Meier probability as a fraction, with its interval or standard error."""
    text = value.estimate or value.printed
    if text is None or parse_printed(text).relation not in ("", "="):
        return {}, "gives no exact probability", ()
    if value.ci and "NR" in value.ci:
        return {}, "a bound of its interval was not reached", ()
    if not value.ci and value.se is None:
        return {}, "printed without an interval or standard error", ()
    percent = _in_percent(result, text)
    numbers: dict[str, float | None] = {"estimate": _fraction(text, percent=percent), "ni": n}
    if value.ci:
        low, high = (_fraction(bound, percent=percent) for bound in value.ci)
        numbers |= {"ci_low": low, "ci_high": high, "ci_level": number(result.ci_level)}
    elif value.se is not None:
        numbers["sei"] = _fraction(value.se, percent=percent)
    return numbers, "", ("printed in per cent",) if percent else ()


def _in_percent(result: Result, text: str) -> bool:
    return (result.unit or "").strip().casefold() in PERCENT or parse_printed(text).percent


def _fraction(text: str, *, percent: bool) -> float:
    """The double next to the printed number, divided by 100 in decimals if in per cent."""
    printed = parse_printed(text)
    if not percent:
        return printed.value
    return float(Decimal(repr(printed.value)) / 100)


def _halved(result: Result, value: ArmValue, n: int) -> GroupNumbers:
    """A median survival time in months, with its interval."""
    text = value.median or value.estimate
    unit = (result.unit or "").strip().casefold()
    if text is None:
        return {}, "gives no median", ()
    if value.ci and "NR" in value.ci:
        return {}, "a bound of its interval was not reached", ()
    if not value.ci:
        return {}, "printed without an interval, so that no standard error can be derived", ()
    if unit not in MONTHS:
        asked = ", ".join(word for word in MONTHS if word.endswith("s"))
        return {}, f"its unit is {echo(result.unit or '')}, and not one of {asked}", ()
    months = MONTHS[unit]
    numbers: dict[str, float | None] = {
        name: float(Decimal(repr(number(part))) * months.numerator / months.denominator)
        for name, part in zip(("estimate", "ci_low", "ci_high"), (text, *value.ci), strict=True)
    }
    numbers |= {"ni": n, "ci_level": number(result.ci_level)}
    return numbers, "", () if months == 1 else (f"months, from {text} {result.unit}",)


PERCENT = ("%", "per cent", "percent")
# A month is the twelfth part of 365.25 days.
MONTHS = {
    "months": Fraction(1),
    "month": Fraction(1),
    "years": Fraction(12),
    "year": Fraction(12),
    "weeks": Fraction(7 * 48, 1461),
    "week": Fraction(7 * 48, 1461),
    "days": Fraction(48, 1461),
    "day": Fraction(48, 1461),
}
_GROUP_READERS: dict[str, Callable[[Result, ArmValue, int], GroupNumbers]] = {
    "SCLL": _survived,
    "SLO": _survived,
    "MED": _halved,
    "MN": _averaged,
    "MNLN": _averaged,
}


def _n(study: Study, arm_id: str, value: ArmValue) -> int:
    return study.arm(arm_id).n if value.n is None else value.n


def _two_groups(
    analysis: Analysis,
    study: Study,
    result: Result,
    problem: ProblemAt,
    problems: list[Problem],
) -> list[Candidate]:
    contrast = analysis.contrast
    if not (
        contrast
        and isinstance(contrast.numerator, Side)
        and isinstance(contrast.denominator, Side)
    ):
        return []
    above = [a for a in result.arms if _fits(study, a, contrast.numerator)]
    below = [a for a in result.arms if _fits(study, a, contrast.denominator)]
    if not above or not below:
        return []
    if (len(above) > 1 or len(below) > 1) and analysis.multi_arm == "refuse":
        problems.append(
            problem(
                "contrast",
                f"{study.id}, result {result.id or result.outcome}: arms {', '.join(above)} "
                f"against {', '.join(below)}",
                "one arm on each side",
                "give the arms different treatments, or record the merged arms as a result, "
                "or choose `multi_arm: split` or `multi_arm: covariance`",
            )
        )
        return []
    twice = [
        _twice(study, one, two)
        for one in above
        for two in below
        if study.parts(one) & study.parts(two)
    ]
    if twice:
        problems.append(
            problem(
                "contrast",
                f"{study.file}, result {result.id or result.outcome}: {'; '.join(twice)}",
                "every patient once",
                "correct the treatments of the two sides",
            )
        )
        return []
    return [_comparison(analysis, study, result, one, two) for one in above for two in below]


def _comparison(
    analysis: Analysis, study: Study, result: Result, above: str, below: str
) -> Candidate:
    """Two arms of one result."""
    one, two = result.arms[above], result.arms[below]
    numbers: dict[str, float | None] = {
        "ai": one.events,
        "n1i": _n(study, above, one),
        "ci": two.events,
        "n2i": _n(study, below, two),
    }
    spans: dict[str, Span] = {}
    if "sd1i" in INPUTS[analysis.measure].fields:
        numbers = _summary(result, one, _n(study, above, one), 1)
        numbers |= _summary(result, two, _n(study, below, two), 2)
        spans = _spans(_summary_texts(result, one, 1) | _summary_texts(result, two, 2))
    return replace(
        _candidate(analysis, study, result, (above, below), numbers),
        spans=spans,
        choices=_choices(study, result, {"ai": above, "ci": below}, numbers),
    )


def _candidate(
    analysis: Analysis,
    study: Study,
    result: Result,
    arms: tuple[str, ...],
    numbers: dict[str, float | None],
    why: str = "",
    notes: tuple[str, ...] = (),
) -> Candidate:
    inputs = INPUTS[analysis.measure]
    given = {
        key: math.nan if value is None else float(value)
        for key, value in numbers.items()
        if key in inputs.known | conversions.FIELDS.keys()
    }
    unusable = _unusable(analysis, result) or why
    missing = [key for key in inputs.known & given.keys() if math.isnan(given[key])]
    before: dict[str, float] = {}
    if missing and not unusable:
        given["ci_level"] = number(result.ci_level)
        before = {key: value for key, value in given.items() if not math.isnan(value)}
        given, derived = conversions.complete(
            given, inputs.alternatives, chosen=chosen_conversions(analysis)
        )
        notes += derived
        missing = [key for key in missing if math.isnan(given[key])]
        if missing:
            unusable = "; ".join([f"does not give {', '.join(sorted(missing))}", *derived])
    given = {key: value for key, value in given.items() if key in inputs.known}
    return Candidate(study, result, arms, given, unusable, notes, given=before)


def _unusable(analysis: Analysis, result: Result) -> str:
    """Why this result cannot be pooled, or nothing."""
    if not result.use:
        return str(result.why_not)
    kinds = INPUTS[analysis.measure].kinds
    if result.kind == "median" and "mean" in kinds:
        if "summary" in analysis.conversions:
            return ""
        return "printed as a median: `conversions: {summary: ...}` says how to derive a mean"
    if result.kind not in kinds:
        kind = result.kind.replace("_", " ")
        return f"printed as a {kind}, which this measure cannot take"
    return ""


def _printed_effect(analysis: Analysis, study: Study, result: Result) -> Candidate | None:
    """A printed effect, turned into the direction that the analysis asks for.

    A result of another contrast is no candidate. A result per arm (a median, a Kaplan-Meier
    value) fits if one of its arms does; it is then not usable, and the reason says so.
    """
    if result.estimate is None:
        arms = tuple(a for a in result.arms if _fits(study, a, analysis.arms))
        if not arms:
            return None
        reason = _unusable(analysis, result) or "gives no effect with its standard error"
        return Candidate(study, result, arms, {}, reason)
    direction = _direction(analysis.contrast, study, result)
    if direction == 0:
        return _of_no_arm(analysis, study, result)
    estimate = parse_printed(result.estimate)
    numbers = {"estimate": estimate.value}
    unusable = _unusable(analysis, result)
    if not estimate.exact:
        unusable = unusable or f"printed as {result.estimate}, which is no exact number"
    if result.ci and "NR" not in result.ci:
        numbers["ci_low"], numbers["ci_high"] = (number(bound) for bound in result.ci)
        numbers["ci_level"] = number(result.ci_level)
    elif result.ci:
        unusable = unusable or "a bound of its interval was not reached"
    else:
        unusable = unusable or (
            "printed without an interval, so that no standard error can be derived"
        )
    notes: tuple[str, ...] = ()
    if direction < 0 and result.contrast and _is_ratio(result):
        printed = (
            f"{result.estimate} ({' to '.join(result.ci)})" if result.ci else result.estimate
        )
        notes = (
            f"inverted: printed as {printed} for "
            f"{result.contrast.numerator} v {result.contrast.denominator}",
        )
        numbers |= _inverted(numbers)
    spans = _effect_spans(result) if estimate.exact else {}
    if notes:
        estimated, low, high = (spans.get(k, NO_SPAN) for k in ("estimate", *BOUNDS))
        spans = {"estimate": inverted(estimated)} | (
            {"ci_low": inverted(high), "ci_high": inverted(low)} if "ci_low" in spans else {}
        )
    arms = _arms_of(study, result)
    return Candidate(study, result, arms, numbers, unusable, notes, spans=spans)


def _effect_spans(result: Result) -> dict[str, Span]:
    """Spans of a printed effect and its interval, in the direction that is printed."""
    ends = dict(zip(BOUNDS, result.ci or (), strict=False))
    return _spans({"estimate": result.estimate, **ends})


def _of_no_arm(analysis: Analysis, study: Study, result: Result) -> Candidate | None:
    """A row for an effect between groups of which neither is an arm, if arms are asked for.

    A misspelt name of a group must not make a trial vanish.
    """
    asked, contrast = analysis.contrast, result.contrast
    if asked is None or contrast is None or _arms_of(study, result):
        return None
    treatments = {arm.treatment for arm in study.content.arms}
    for side in (asked.numerator, asked.denominator):
        if isinstance(side, str) or not treatments & set(side.treatment):
            return None
    groups = f"{contrast.numerator} v {contrast.denominator}"
    reason = _unusable(analysis, result) or f"its groups, {groups}, are no arms of the study"
    return Candidate(study, result, (), {}, reason)


def _arms_of(study: Study, result: Result) -> tuple[str, ...]:
    """Arms that an effect is about: those with numbers, else those that its contrast names."""
    if result.arms or result.contrast is None:
        return tuple(result.arms)
    groups = [_folded(result.contrast.numerator), _folded(result.contrast.denominator)]
    return tuple(
        arm.id
        for arm in study.content.arms
        if _folded(arm.id) in groups or _folded(arm.label or arm.id) in groups
    )


def _is_ratio(result: Result) -> bool:
    """Whether the schema has made sure that estimate and bounds are above 0."""
    return result.kind in ("hazard_ratio", "risk_ratio", "odds_ratio")


def _inverted(numbers: dict[str, float]) -> dict[str, float]:
    """The ratio of the opposite contrast: reciprocals, bounds exchanged."""
    inverse = {"estimate": 1 / numbers["estimate"]}
    if "ci_low" in numbers:
        inverse |= {"ci_low": 1 / numbers["ci_high"], "ci_high": 1 / numbers["ci_low"]}
    return inverse


def _direction(contrast: ArmContrast | None, study: Study, result: Result) -> int:
    """1: as asked for; -1: the other way round; 0: another contrast."""
    if contrast is None or result.contrast is None:
        return 1 if contrast is None else 0
    above, below = result.contrast.numerator, result.contrast.denominator
    if _names(contrast.numerator, above, study) and _names(contrast.denominator, below, study):
        return 1
    if _names(contrast.numerator, below, study) and _names(contrast.denominator, above, study):
        return -1
    return 0


def _names(side: Side | str, group: str, study: Study) -> bool:
    """Whether `group`, a name as printed, is this side; capitals and spaces do not matter."""
    if isinstance(side, str):
        return _folded(side) == _folded(group)
    return any(
        _folded(group) in (_folded(arm.id), _folded(arm.label or arm.id))
        and arm.treatment in side.treatment
        for arm in study.content.arms
    )


def _folded(text: str) -> list[str]:
    return text.casefold().split()


def _reused_arms(
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
                _twice(study, first, second)
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


def _twice(study: Study, first: str, second: str) -> str:
    if first == second:
        return f"the arm {first!r} would enter twice"
    if second in study.parts(first):
        return f"the arm {second!r} is part of the arm {first!r} and both would enter"
    if first in study.parts(second):
        return f"the arm {first!r} is part of the arm {second!r} and both would enter"
    return f"the arms {first!r} and {second!r} have patients in common and both would enter"


def _row(
    candidate: Candidate,
    analysis: Analysis,
    *,
    included: bool = True,
    reason: str = "",
    several: bool = False,
) -> RawRow:
    study, result = candidate.study, candidate.result
    label = study.label
    if several:
        label += ": " + " v ".join(study.arm(a).label or a for a in candidate.arms)
    reports = {report.id: report for report in study.content.reports}
    report = reports[result.report]
    notes = candidate.notes
    if result.derived:
        notes += (_derivation(result.derived),)
    notes += tuple(
        (f"{arm}: " if len(candidate.arms) > 1 else "") + _derivation(value.derived)
        for arm, value in result.arms.items()
        if arm in candidate.arms and value.derived
    )
    units = {
        (result.arms[a].unit if a in result.arms else None) or study.arm(a).unit
        for a in candidate.arms
    }
    notes += tuple(f"unit: {unit}" for unit in sorted(units - {"patients"}))
    covariates = {name: _moderator(name, candidate) for name in analysis.moderators}
    if analysis.multi_arm == "covariance" and len(candidate.arms) == 2:
        covariates[SHARED_ARM] = f"{study.id}/{candidate.arms[1]}"
    return RawRow(
        study=study.id,
        label=label,
        numbers=candidate.numbers,
        arms=tuple(f"{study.id}/{arm}" for arm in candidate.arms),
        cluster=study.id,
        covariates=covariates,
        included=included and not candidate.unusable,
        reason=reason or candidate.unusable,
        notes=notes,
        place=f"{study.file}#results.{candidate.name}",
        report=report.doi or report.id,
        quote=result.quote,
        printed=printed_text(result, candidate.arms),
        given=candidate.given,
        spans=candidate.spans,
        choices=candidate.choices,
        divided=candidate.divided,
    )


def _moderator(name: str, candidate: Candidate) -> str:
    """One of `menus.STUDY_MODERATORS` as text; empty where the file does not say."""
    content = candidate.study.content
    if name == "year":
        reports = {report.id: report for report in content.reports}
        year = reports[candidate.result.report].year
        return "" if year is None else str(year)
    if name == "setting":
        return (content.population and content.population.setting) or ""
    if name == "treatment":
        return " v ".join(candidate.study.arm(arm).treatment for arm in candidate.arms)
    return content.design if name == "design" else ""


def _derivation(derived: Derived) -> str:
    return f"derived from {derived.from_} ({derived.method.replace('_', ' ')})"


def printed_text(result: Result, arms: tuple[str, ...]) -> str:
    """The number as printed, for a row that has no effect size."""
    parts = []
    for arm in arms or tuple(result.arms):
        value = result.arms.get(arm)
        if value is None:
            continue
        text = value.printed or value.estimate or value.median or ""
        if value.events is not None and value.n is not None:
            text = f"{value.events}/{value.n}" + (f" ({text})" if text else "")
        if value.ci:
            text += f" ({value.ci[0]} to {value.ci[1]})"
        if text:
            parts.append(f"{arm}: {text}" if len(result.arms) > 1 else text)
    if result.estimate:
        parts.append(result.estimate + (f" ({' to '.join(result.ci)})" if result.ci else ""))
    unit = f" {result.unit}" if result.unit else ""
    return "; ".join(parts) + (unit if parts else "")


def _shown_rows(
    analysis: Analysis, evidence: Evidence, problem: ProblemAt, problems: list[Problem]
) -> list[RawRow]:
    rows = []
    by_id = {study.id: study for study in evidence.studies}
    for i, shown in enumerate(analysis.show, 1):
        study = by_id.get(shown.study)
        if study is None:
            problems.append(
                _unknown_study(f"show[{i}].study", shown.study, by_id.keys(), problem)
            )
            continue
        result = study.result(shown.result)
        if result is None:
            names = {r.id or r.outcome for r in study.content.results}
            problems.append(
                problem(
                    f"show[{i}].result",
                    f"the result {echo(shown.result)} of {shown.study}",
                    f"one of: {choices(names, 20)}",
                    f"correct it{nearest(shown.result, names)}",
                )
            )
            continue
        candidate = _printed_effect(analysis, study, result)
        fits = candidate and result.kind in INPUTS[analysis.measure].kinds
        if candidate is None or not fits or "estimate" not in candidate.numbers:
            problems.append(
                problem(
                    f"show[{i}].result",
                    f"the result {echo(shown.result)} of {shown.study}, "
                    f"a {result.kind.replace('_', ' ')}"
                    + (
                        f" of {result.contrast.numerator} v {result.contrast.denominator}"
                        if result.contrast
                        else ""
                    ),
                    f"a printed {analysis.measure} of this analysis' contrast",
                    "correct the contrast or the result",
                )
            )
            continue
        problems += _impossible(analysis, candidate)
        rows.append(_row(candidate, analysis, included=False, reason=shown.reason))
    return rows
