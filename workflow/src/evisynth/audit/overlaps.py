"""Rules about patients who are counted more than once."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

from evisynth.audit.material import AnalysisMaterial, Review, StudyMaterial
from evisynth.audit.records import Check, Rule
from evisynth.audit.texts import folded, plain
from evisynth.rows import RawRow
from evisynth.studyfile import Overlap

_REGISTERED = re.compile(
    r"\b(?:NCT[0-9]{8}|ISRCTN[0-9]{8}|ACTRN[0-9]{14}|ChiCTR[-A-Z0-9]{6,20}|DRKS[0-9]{8}|"
    r"UMIN[0-9]{9}|20[0-9]{2}-[0-9]{6}-[0-9]{2})\b"
)
_GROUP = re.compile(r"\b(?:[A-Z][\w’'-]+\s+){1,4}(?:Group|Consortium|Network|Collaboration)\b")
_HOSPITAL = re.compile(r"hospital|cent(?:re|er)|site", re.IGNORECASE)
_NAME = re.compile(r"\b(?:[dl]['’])?([A-ZÁÉÍÓÚÀÈÖÜ][\w]{3,})")
_NO_NAMES = frozenset(
    "hospital hospitals universitario university universitaria infantil clinico politecnico "
    "department unit group centre center institute research national european spain spanish "
    "pediatric paediatric oncology onco hemato hematology haematology member reference network "
    "health paedcan clinical translational investigation barcelona madrid valencia".split()
)
_MANY = 8  # more studies than this with one group name are not listed in pairs

Pair = tuple[str, str]


def overlap(review: Review) -> Iterator[Check]:
    """Pairs of studies that may share patients, and whether the files say so."""
    studies = {study.study.id: study for study in review.studies}
    declared = _declared(review.studies)
    reasons: dict[Pair, list[str]] = defaultdict(list)
    for pair, words in _registered(review.studies):
        reasons[pair].append(words)
    for pair, words in _hospitals(review.studies):
        reasons[pair].append(words)
    pooled = _pooled(review.analyses)
    for pair in sorted({*reasons, *declared}):
        yield _judged(studies, pair, reasons.get(pair, []), declared.get(pair, {}), pooled)
    yield from _groups(review.studies, {*reasons, *declared})


def _pair(one: str, two: str) -> Pair:
    return (one, two) if one < two else (two, one)


def _declared(studies: Iterable[StudyMaterial]) -> dict[Pair, dict[str, Overlap]]:
    """Declarations by pair and by the study whose file has it."""
    found: dict[Pair, dict[str, Overlap]] = defaultdict(dict)
    for study in studies:
        for entry in study.study.content.overlaps:
            found[_pair(study.study.id, entry.with_)][study.study.id] = entry
    return found


def _pooled(analyses: Iterable[AnalysisMaterial]) -> dict[Pair, list[str]]:
    """Analyses that pool both studies of a pair; only pairs of study files."""
    found: dict[Pair, list[str]] = defaultdict(list)
    for analysis in analyses:
        if analysis.table or analysis.settings.get("pool") == "no":
            continue
        names = {row.study for row in analysis.rows if row.included}
        declaring = [
            (name, entry.with_)
            for name in names
            if name in analysis.studies
            for entry in analysis.studies[name].content.overlaps
        ]
        for one, two in declaring:
            pair = _pair(one, two)
            if two in names and analysis.name not in found[pair]:
                found[pair].append(analysis.name)
    return found


def _registered(studies: Iterable[StudyMaterial]) -> Iterator[tuple[Pair, str]]:
    """Pairs with one registry number, or of which one's results name the other's."""
    own: dict[str, list[str]] = defaultdict(list)
    named: dict[str, list[str]] = defaultdict(list)
    for study in studies:
        content = study.study.content
        mine = {
            (match.group() if (match := _REGISTERED.search(number)) else plain(number)).upper()
            for number in content.registry
        }
        said = {
            number.upper()
            for result in content.results
            for words in (result.quote, result.category or "")
            for number in _REGISTERED.findall(words)
        }
        for number in sorted(mine):
            own[number].append(study.study.id)
        for number in sorted(said - mine):
            named[number].append(study.study.id)
    for number, owners in sorted(own.items()):
        for one, two in combinations(owners, 2):
            yield _pair(one, two), f"both are registered as {number}"
        for other in named.get(number, ()):
            for owner in owners:
                yield _pair(owner, other), f"{other} names {number}, which is {owner}"


def _hospitals(studies: Iterable[StudyMaterial]) -> Iterator[tuple[Pair, str]]:
    """Pairs with two names of hospitals in common."""
    found: dict[str, dict[str, str]] = {}
    for study in studies:
        names: dict[str, str] = {}
        for result in study.study.content.results:
            if result.kind == "statement" and _HOSPITAL.search(result.category or ""):
                for name in _NAME.findall(result.quote):
                    if plain(name) not in _NO_NAMES:
                        names.setdefault(plain(name), name)
        if names:
            found[study.study.id] = names
    for one, two in combinations(sorted(found), 2):
        shared = sorted(found[one].keys() & found[two].keys())
        if len(shared) > 1:
            words = ", ".join(found[one][name] for name in shared)
            yield _pair(one, two), f"hospitals with the same names ({words})"


def _judged(
    studies: Mapping[str, StudyMaterial],
    pair: Pair,
    reasons: list[str],
    declared: Mapping[str, Overlap],
    pooled: Mapping[Pair, list[str]],
) -> Check:
    one, two = pair
    printed = "; ".join(dict.fromkeys(reasons)) or "declared"
    if not declared:
        place = studies[two].place(f"overlaps.{one}")
        return Check(
            place,
            "inconsistent",
            f"{one} and {two}: {printed}",
            "no `overlaps` in either file",
            "two studies may share patients and neither file says anything about it",
            f"declare it: `overlaps: [{{with: {one}, kind: ..., certainty: ...}}]`, with "
            "`certainty: excluded` and the words that exclude it if they do not",
        )
    first = next(iter(declared))
    entry, other = declared[first], pair[1] if first == pair[0] else pair[0]
    place = studies[first].place(f"overlaps.{other}", entry.report or "")
    said = "; ".join(_said(name, declared[name], pair, studies) for name in declared)
    printed = f"{one} and {two}: {printed}"
    if len(declared) == 2 and (against := _contradiction(*declared.values())):
        return Check(
            place,
            "inconsistent",
            printed,
            said,
            f"the two declarations contradict each other in {against}",
            "correct one of the two files",
        )
    analyses = pooled.get(pair, [])
    if analyses and entry.certainty != "excluded":
        return Check(
            place,
            "inconsistent",
            printed,
            f"{said}; both are in {', '.join(analyses)}",
            "studies that share patients are pooled with each other",
            "read the fits that leave one of them out, in dependence.csv",
        )
    return Check(
        place, "consistent", printed, said, "the files say whether they share patients"
    )


def _said(name: str, entry: Overlap, pair: Pair, studies: Mapping[str, StudyMaterial]) -> str:
    """A declaration in words, with its share of both studies."""
    size = entry.exactly if entry.exactly is not None else entry.at_most
    words = [f"{name} says {entry.certainty}"]
    if size is not None:
        most = "" if entry.exactly is not None else "at most "
        words.append(f"{most}{size} {entry.unit}")
        for one in pair:
            population = one in studies and studies[one].study.content.population
            whole = population and (
                (entry.unit == "episodes" and population.episodes) or population.patients
            )
            if whole:
                whose = "its" if one == name else f"{one}'s"
                words.append(f"{size / whole:.0%} of {whose} {whole}")
    if entry.quote:
        words.append(f'"{folded(entry.quote)}"')
    return ", ".join(words)


def _contradiction(one: Overlap, two: Overlap) -> str:
    if (one.certainty == "excluded") != (two.certainty == "excluded"):
        return "certainty"
    for key in ("exactly", "at_most"):
        a, b = getattr(one, key), getattr(two, key)
        if a is not None and b is not None and a != b and one.unit == two.unit:
            return "size"
    return ""


def _groups(studies: Iterable[StudyMaterial], known: set[Pair]) -> Iterator[Check]:
    """Studies of one cooperative group, where their periods cannot tell them apart."""
    named: dict[str, list[StudyMaterial]] = defaultdict(list)
    spelled: dict[str, str] = {}
    for study in studies:
        if study.study.content.excluded:
            continue
        found = {
            folded(match)
            for report in study.study.content.reports
            for match in _GROUP.findall(report.title or "")
        }
        for name in sorted(found):
            spelled.setdefault(plain(name), name)
            named[plain(name)].append(study)
    for key, members in sorted(named.items()):
        if len(members) < 2:
            continue
        if len(members) > _MANY:
            yield Check(
                members[0].place("reports"),
                "undecided",
                f"{spelled[key]}: {len(members)} studies",
                "",
                "so many studies of one group that pairs are not listed",
            )
            continue
        for one, two in combinations(members, 2):
            if _pair(one.study.id, two.study.id) not in known:
                yield _in_time(one, two, spelled[key])


def _in_time(one: StudyMaterial, two: StudyMaterial, group: str) -> Check:
    printed = f"{one.study.id} and {two.study.id}: both by {group}"
    place = two.place(f"overlaps.{one.study.id}")
    periods = [_years(study) for study in (one, two)]
    if None in periods:
        return Check(
            place,
            "undecided",
            printed,
            "",
            "one group made both studies, and not both files say when patients were recruited",
            "fill in `recruited`, or declare `overlaps`",
        )
    (a, b), (c, d) = (period for period in periods if period)
    recomputed = f"{a} to {b} and {c} to {d}"
    if b < c or d < a:
        return Check(place, "consistent", printed, recomputed, "recruited at different times")
    return Check(
        place,
        "inconsistent",
        printed,
        recomputed,
        "one group recruited for both studies at the same time",
        "declare `overlaps` in one of the files, `certainty: excluded` if they share nobody",
    )


def _years(study: StudyMaterial) -> tuple[str, str] | None:
    recruited = study.study.content.recruited
    if recruited is None or not recruited.from_ or not recruited.to:
        return None
    return recruited.from_, recruited.to + "~"  # "2019" reaches to the end of 2019


# ---- ARM-REUSE


def arm_reuse(analysis: AnalysisMaterial) -> Iterator[Check]:
    """Rows of one analysis that count the same arm."""
    by_study: dict[str, list[RawRow]] = defaultdict(list)
    for row in analysis.rows:
        if row.included and row.arms and row.study in analysis.studies:
            by_study[row.study].append(row)
    for study_id, rows in by_study.items():
        study = StudyMaterial(analysis.studies[study_id])
        for one, two in combinations(rows, 2):
            yield _reuse(analysis, study, one, two)


def _reuse(analysis: AnalysisMaterial, study: StudyMaterial, one: RawRow, two: RawRow) -> Check:
    names = [row.place.partition("#results.")[2] for row in (one, two)]
    arms = [[arm.partition("/")[2] for arm in row.arms] for row in (one, two)]
    parts = [{part: arm for arm in group for part in study.study.parts(arm)} for group in arms]
    shared = sorted(parts[0].keys() & parts[1].keys())
    result = study.study.result(names[1])
    place = study.place(f"results.{names[1]}", result.report if result else "", (names[1],))
    printed = f"{analysis.name}: {' + '.join(arms[0])}; {' + '.join(arms[1])}"
    if not shared:
        return Check(place, "consistent", printed, "no arm in common", "every arm once")
    recomputed = "in both: " + ", ".join(shared)
    if analysis.settings.get("multi_arm", "refuse") != "refuse":
        return Check(
            place,
            "consistent",
            printed,
            recomputed,
            f"the shared arm is dealt with by `multi_arm: {analysis.settings['multi_arm']}`",
        )
    return Check(
        place,
        "inconsistent",
        printed,
        recomputed,
        "two rows of one analysis count the same patients",
        "choose one of them: `choose: {study: result}`",
    )


RULES: tuple[Rule, ...] = (
    Rule(
        "OVERLAP",
        "warning",
        "review",
        "Two studies have a registry number or two names of hospitals in common, or one names "
        "the other's number, and neither declares `overlaps`; or one cooperative group "
        "recruited for both at the same time; or the declarations of two files contradict each "
        "other; or studies with a declared overlap that is not excluded are pooled together.",
        overlap,
        "Senn 2009, BMC Med Res Methodol 9:10",
    ),
    Rule(
        "ARM-REUSE",
        "error",
        "analysis",
        "Two rows of one analysis count one arm, or an arm and one that it is made of.",
        arm_reuse,
        "Senn 2009, BMC Med Res Methodol 9:10",
    ),
)
