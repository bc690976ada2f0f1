"""Rules about reports: duplicates, identifiers, sources, corrections, legends."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from evisynth.audit.material import AnalysisMaterial, Review, StudyMaterial, name_of
from evisynth.audit.records import Check, Place, Rule
from evisynth.audit.texts import folded, number_said, plain, similar_pairs, similarity
from evisynth.studyfile import Report, Result

SAME = 0.9
"""From this similarity on, two titles or legends are taken for one."""

_DOI = re.compile(r"^(?:https?://(?:dx\.)?doi\.org/|doi:\s*)", re.IGNORECASE)

# How DOIs of a journal begin, by its plain abbreviated name.
_OF_JOURNAL = {
    "br j cancer": ("10.1038/bjc", "10.1038/sj.bjc", "10.1038/s41416", "10.1054/bjoc"),
    "bmj": ("10.1136/",),
    "cancer": ("10.1002/cncr", "10.1002/1097-0142", "10.3322/"),
    "clin cancer res": ("10.1158/",),
    "eur j cancer": ("10.1016/j.ejca", "10.1016/s0959-8049"),
    "j clin oncol": ("10.1200/",),
    "jama": ("10.1001/",),
    "lancet": ("10.1016/s0140-6736",),
    "lancet oncol": ("10.1016/s1470-2045",),
    "n engl j med": ("10.1056/",),
    "pediatr blood cancer": ("10.1002/pbc",),
}

# Kinds of report, and of what was seen of one, from which a number is weakly supported.
_WEAK = {
    "press_release": "a press release",
    "secondary_source": "a secondary source",
    "conference_abstract": "a conference abstract",
}
_WEAK_SEEN = {
    "press_release": "a press release",
    "secondary": "the words of somebody else",
    "not_seen": "a report that was not seen",
}
_BRIEF = {
    "journal_abstract": "the abstract",
    "preprint": "a preprint",
    "repository_record": "a repository's record",
    "registry_record": "a registry's record",
}

_CORRECTED = re.compile(
    r"corrected publication|corrected and republished|\berrat(?:um|a)\b|\bcorrigend(?:um|a)\b|"
    r"\b(?:author|publisher)(?:'s)? correction\b|^correction(?: to)?\b|correction notice|"
    r"\bretracted\b|retraction (?:note|notice)|expression of concern",
    re.IGNORECASE,
)


def _may_correct(text: str) -> bool:
    """Whether `_CORRECTED` can match: it needs one of these, which are found much faster."""
    folded_text = text.casefold()
    return any(stem in folded_text for stem in ("corr", "errat", "retract", "concern"))


def normal_doi(doi: str | None) -> str:
    """A DOI in lower case without the resolver's address and without spaces."""
    return _DOI.sub("", "".join((doi or "").split())).casefold()


# ---- REPORT-DUP


def report_dup(review: Review) -> Iterator[Check]:
    """Reports that are the same or nearly, within a study file and between two."""
    entries = [
        (study, report) for study in review.studies for report in study.study.content.reports
    ]
    for first, second, alike in _pairs([report for _, report in entries]):
        (one, a), (two, b) = entries[first], entries[second]
        if one is two:
            yield _within(one, a, b, alike)
        else:
            yield _between(one, a, two, b, alike)


def _pairs(reports: Sequence[Report]) -> Iterator[tuple[int, int, float | None]]:
    """Pairs with one DOI or PubMed id or similar titles, and the similarity of two titles."""
    found: dict[tuple[int, int], None] = {}
    for key in ("doi", "pmid"):
        owners: dict[str, list[int]] = defaultdict(list)
        for i, report in enumerate(reports):
            value = normal_doi(report.doi) if key == "doi" else report.pmid or ""
            if value:
                # with the first of them: a chain is as good as all pairs
                found |= dict.fromkeys((j, i) for j in owners[value][:1])
                owners[value].append(i)
    # titles with other numbers in them ("at 2 years", "part 3") are other reports
    titled: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, report in enumerate(reports):
        if report.title:
            titled[tuple(re.findall("[0-9]+", report.title))].append(i)
    for members in titled.values():
        for a, b, _ in similar_pairs([str(reports[i].title) for i in members], SAME):
            found.setdefault((members[a], members[b]))
    for first, second in sorted(found):
        one, two = reports[first].title, reports[second].title
        yield first, second, similarity(one, two) if one and two else None


def _shared_ids(one: Report, two: Report) -> list[str]:
    shared = []
    if one.doi and normal_doi(one.doi) == normal_doi(two.doi):
        shared.append(f"DOI {normal_doi(one.doi)}")
    if one.pmid and one.pmid == two.pmid:
        shared.append(f"PubMed id {one.pmid}")
    return shared


def _likeness(one: Report, two: Report, alike: float | None) -> str:
    words = _shared_ids(one, two)
    if alike is not None:
        words.append(f"similarity of titles {alike:.2f}")
    return ", ".join(words)


def _within(study: StudyMaterial, one: Report, two: Report, alike: float | None) -> Check:
    place = study.place(f"reports.{two.id}", two.id)
    printed = f"{one.id} and {two.id}: {_likeness(one, two, alike)}"
    if two.id in _linked(study.study.content.reports, one.id):
        return Check(
            place,
            "consistent",
            printed,
            "declared: " + (_link(two) or _link(one) or "through another report"),
            "one study, declared as such",
        )
    return Check(
        place,
        "inconsistent",
        printed,
        "two reports that do not name each other",
        "two reports of this study are one, or one replaces the other, and neither says so",
        f"write `duplicate_of: {one.id}` or `superseded_by` under one of them",
    )


def _link(report: Report) -> str:
    if report.duplicate_of:
        return f"{report.id} is a duplicate of {report.duplicate_of}"
    if report.superseded_by:
        return f"{report.id} is superseded by {report.superseded_by}"
    return ""


def _linked(reports: Sequence[Report], start: str) -> set[str]:
    """Reports that are tied to one by `duplicate_of` and `superseded_by`, over others too."""
    ties = [
        (report.id, other)
        for report in reports
        for other in (report.duplicate_of, report.superseded_by)
        if other
    ]
    found, size = {start}, 0
    while len(found) > size:
        size = len(found)
        found |= {b for a, b in ties if a in found} | {a for a, b in ties if b in found}
    return found


def _between(
    one: StudyMaterial, a: Report, two: StudyMaterial, b: Report, alike: float | None
) -> Check:
    ids = _shared_ids(a, b)
    printed = f"{one.study.id}/{a.id} and {two.study.id}/{b.id}: {_likeness(a, b, alike)}"
    of_report = [name for name, result in two.results.items() if result.report == b.id]
    if ids and alike is not None and alike < SAME / 2:
        return Check(
            two.place(f"reports.{b.id}", b.id, of_report),
            "inconsistent",
            printed,
            "titles that have little in common",
            "two study files give one identifier to reports with different titles",
            "look the identifier up and correct the wrong one",
            "warning",
        )
    other_ids = bool((a.doi and b.doi and not ids) or (a.pmid and b.pmid and not ids))
    return Check(
        two.place(f"reports.{b.id}", b.id, of_report),
        "inconsistent",
        printed,
        f"one report, of which {one.study.file} has numbers already",
        "one report is in two study files: its patients would be counted twice",
        "merge the files: one file per set of patients, all its reports in it",
        "warning" if other_ids else None,
    )


# ---- DOI-DUP


def doi_dup(review: Review) -> Iterator[Check]:
    """DOIs in lists of references: under two titles, of another journal, of another report."""
    known = [
        (report, normal_doi(report.doi))
        for study in review.studies
        for report in study.study.content.reports
        if report.doi and report.title
    ]
    for study in review.studies:
        for report in study.study.content.reports:
            if report.references:
                place = study.place(f"reports.{report.id}", report.id)
                yield from _references(place, report, known)


def _references(
    place: Place, report: Report, known: Sequence[tuple[Report, str]]
) -> Iterator[Check]:
    titles: dict[str, list[str]] = defaultdict(list)
    for entry in report.references:
        doi = normal_doi(entry.doi)
        if not doi:
            continue
        if not any(similarity(entry.title, title) >= SAME for title in titles[doi]):
            titles[doi].append(entry.title)
        begins = _OF_JOURNAL.get(plain(entry.journal or ""))
        if begins and not doi.startswith(begins):
            yield Check(
                place,
                "inconsistent",
                f"DOI {doi} for {entry.journal}: {entry.title}",
                f"DOIs of that journal begin with {' or '.join(begins)}",
                "a reference carries the DOI of another journal",
                "do not merge reports by this DOI",
            )
        for other, right in known:
            if right != doi and similarity(entry.title, str(other.title)) >= SAME:
                yield Check(
                    place,
                    "inconsistent",
                    f"DOI {doi} for: {entry.title}",
                    f"DOI {right} in this review ({other.id})",
                    "a reference names a report of this review with another DOI",
                    "look both up; do not merge reports by DOI alone",
                )
    for doi, named in titles.items():
        if len(named) > 1:
            yield Check(
                place,
                "inconsistent",
                f"DOI {doi}: {'; '.join(named)}",
                "one DOI names one work",
                "one DOI stands under two titles in the list of references",
                "do not merge reports by DOI alone",
            )
        else:
            yield Check(place, "consistent", f"DOI {doi}", "one title", "one title per DOI")


# ---- SOURCE-RANK


def source_rank(analysis: AnalysisMaterial) -> Iterator[Check]:
    """What kind of report each row of an analysis rests on."""
    for row in analysis.rows:
        study = analysis.studies.get(row.study)
        name = row.place.partition("#results.")[2]
        result = study.result(name) if study and name else None
        if study is None or result is None:
            continue  # a row of a table
        reports = {report.id: report for report in study.content.reports}
        named = [result.report, *(also.report for also in result.also)]
        ranked = sorted(
            {reports[one].id: _weakness(reports[one]) for one in named}.items(),
            key=lambda item: item[1][0],
        )
        best, (rank, words) = ranked[0]
        place = StudyMaterial(study).place(f"results.{name}", best, (name,))
        if rank:
            yield Check(
                place,
                "inconsistent",
                f"{best}: {reports[best].kind.replace('_', ' ')}, seen: "
                f"{reports[best].seen.replace('_', ' ')}",
                "no better source among the reports that print it",
                f"the only source of this row is {words}",
                "take the number from the full article, or read the result with this in mind",
                "note" if rank == 1 else None,
            )
        else:
            yield Check(place, "consistent", best, "article, read in full", "a full source")


def _weakness(report: Report) -> tuple[int, str]:
    """0: an article read in full; 1: an abstract or the like; 2: weaker; and its name."""
    if report.kind in _WEAK:
        return 2, _WEAK[report.kind]
    if report.seen in _WEAK_SEEN:
        return 2, _WEAK_SEEN[report.seen]
    if report.kind in _BRIEF:
        return 1, _BRIEF[report.kind]
    return (1, "the abstract of an article") if report.seen != "full_text" else (0, "")


# ---- CORRECTION


def correction(study: StudyMaterial) -> Iterator[Check]:
    """Words that say that a report was corrected or retracted."""
    for report in study.study.content.reports:
        text = study.texts.get(report.id, "")
        quotes = [r.quote for r in study.study.content.results if r.report == report.id]
        found = next(
            (
                folded(match.group())
                for words in (report.correction, report.title, *quotes, text)
                if words and _may_correct(words) and (match := _CORRECTED.search(words))
            ),
            "",
        )
        place = study.place(f"reports.{report.id}", report.id)
        if found or report.correction:
            yield Check(
                place,
                "inconsistent",
                found or str(report.correction),
                "a correction exists",
                "the report was corrected or retracted after it appeared",
                "get the notice before using its numbers, and say in `correction` what it "
                "changes",
            )
        elif text:
            yield Check(place, "consistent", "", "", "its text does not speak of a correction")


# ---- CAPTION

_NUMBER = re.compile(r"\b(fig(?:ure|\.)?|tab(?:le|\.)?)\s*\.?\s*([0-9]+)", re.IGNORECASE)
_CITED = re.compile(r"\bFig(?:ure|\.)?s?\s*([0-9]+)\s*([A-Z](?:\s*,\s*[A-Z])*)\b")
_NO_NAMES = frozenset(
    "with without and all any the group treatment therapy patients episodes".split()
)
_PANEL = re.compile(r"(?:\*\*|(?<=[.,;)\s]))([A-H])(?:\*\*|\)|(?=\s[A-Z]))[:.]?\s")


def caption(study: StudyMaterial) -> Iterator[Check]:
    """Legends that repeat each other, and citations of figures that show something else."""
    for report in study.study.content.reports:
        if report.captions:
            place = study.place(f"reports.{report.id}", report.id)
            yield from _captions(place, report)
            yield from _citations(study, report)


def _captions(place: Place, report: Report) -> Iterator[Check]:
    legends = [(entry.label, _figure(entry.label), entry.quote) for entry in report.captions]
    for i, (label, number, words) in enumerate(legends):
        clean = True
        for other, same_number, others in legends[:i]:
            alike = similarity(_panels_only(words), _panels_only(others))
            if number and number == same_number:
                clean = False
                yield Check(
                    place,
                    "inconsistent",
                    f"{other} and {label}",
                    "one legend per figure",
                    "two legends have the same number",
                    "look at the figures: one legend may be left over from an earlier version",
                )
            if alike >= SAME / 1.5:
                clean = False
                yield Check(
                    place,
                    "inconsistent",
                    f"{other} and {label}",
                    f"similarity of the legends {alike:.2f}",
                    "two legends describe the same figure",
                    "look at the figures: one legend may be left over from an earlier version",
                )
        if clean:
            yield Check(place, "consistent", label, "its own number and words", "one legend")


def _figure(label: str) -> str:
    match = _NUMBER.search(label)
    return f"{match[1][:3].casefold()} {match[2]}" if match else ""


def _panels_only(words: str) -> str:
    """A legend without its number and without sizes of groups, which versions differ in."""
    return re.sub(r"\(\s*n\s*=\s*[0-9]+\s*\)|\[[A-Z]\]|[*]", "", _NUMBER.sub("", words))


def _panels(words: str) -> dict[str, str]:
    """Text of each lettered panel of a legend."""
    marks = list(_PANEL.finditer(words))
    panels: dict[str, str] = {}
    for i, mark in enumerate(marks):
        end = marks[i + 1].start() if i + 1 < len(marks) else len(words)
        panels.setdefault(mark[1], words[mark.end() : end])
    return panels


def _citations(study: StudyMaterial, report: Report) -> Iterator[Check]:
    """A result whose quote cites a panel that does not speak of it, while another does."""
    shown = {
        (number, letter): plain(text)
        for entry in report.captions
        for number in [_figure(entry.label).removeprefix("fig ")]
        if not entry.label.isupper()  # a left-over legend in capitals is no figure to cite
        for letter, text in _panels(entry.quote).items()
    }
    for result in study.study.content.results:
        cited = [
            (match[1], letter)
            for match in _CITED.finditer(result.quote)
            for letter in re.findall("[A-Z]", match[2])
        ]
        if result.report != report.id or not cited or len(result.arms) < 2:
            continue  # a legend names the groups that are compared, not the cohort
        words = _names(study, result)
        said = {key for key, text in shown.items() if words & set(text.split())}
        place = study.place(study.result_place(result).text, report.id)
        called = ", ".join(f"Fig. {number}{letter}" for number, letter in cited)
        lost = [key for key in cited if key not in shown]
        if lost:
            yield Check(
                place,
                "inconsistent",
                f"{called} cited",
                "no such panel is described",
                "the text cites a panel that the legend does not describe",
                "look at the figure before reading numbers from it",
            )
        elif said and not said & set(cited):
            where = ", ".join(f"Fig. {number}{letter}" for number, letter in sorted(said))
            yield Check(
                place,
                "inconsistent",
                f"{called} cited",
                f"{where} is the one that names it",
                "the text cites a figure that shows something else",
                "look at the figure before reading numbers from it",
            )
        elif said:
            yield Check(place, "consistent", called, "it names the group", "cited rightly")


def _names(study: StudyMaterial, result: Result) -> set[str]:
    """Words by which a legend could name the first group of a result."""
    arm = study.study.arm(next(iter(result.arms)))
    words = set(plain(f"{arm.id} {arm.label or ''}".replace("_", " ")).split())
    return {word for word in words if len(word) > 2} - _NO_NAMES


# ---- REQUIRED, REPORTING, CROSSOVER, N-REPORTS

_COMPARING = frozenset({"km_probability", "crude_proportion", "mean", "median", "count"})
_NO_OUTCOME = frozenset(
    {"characteristic", "treatment_received", "procedure", "trial_participation"}
)


def required(study: StudyMaterial) -> Iterator[Check]:
    """What a design has to say: randomisation of a trial, precision of a comparison."""
    content = study.study.content
    if content.design == "rct":
        if content.randomisation:
            yield Check(
                study.place("randomisation"),
                "consistent",
                content.randomisation,
                "",
                "the file says how patients were randomised",
            )
        else:
            yield Check(
                study.place("randomisation"),
                "inconsistent",
                "a randomised trial",
                "ratio, masking and factors are not given",
                "a randomised trial without a word on randomisation",
                "fill in `randomisation` from the report",
            )
        said = {report.id for report in content.reports if "randomisation" in report.silent_on}
        for report_id, text in study.texts.items():
            if (
                report_id not in said
                and "random" not in text.casefold()
                and "randomiz" not in text.casefold()
            ):
                yield Check(
                    study.place(f"reports.{report_id}", report_id),
                    "inconsistent",
                    "the text does not say that patients were randomised",
                    "a randomised trial",
                    "a report of a randomised trial does not mention randomisation",
                    "take the design from another report",
                )
    for report in content.reports:
        if report.silent_on:
            words = ", ".join(word.replace("_", "-") for word in report.silent_on)
            yield Check(
                study.place(f"reports.{report.id}", report.id),
                "inconsistent",
                f"{report.kind.replace('_', ' ')} without {words}",
                "design and precision of a comparison are needed to judge it",
                f"the report does not give: {words}",
                "take design and numbers from another report",
            )
    for result in content.results:
        if result.outcome not in _NO_OUTCOME and (check := _precision(study, result)):
            yield check


def _precision(study: StudyMaterial, result: Result) -> Check | None:
    """Whether a comparison has an interval, a p-value or what gives one."""
    effect = result.estimate is not None and result.contrast is not None
    groups = len(result.arms) > 1 and result.kind in _COMPARING
    if not effect and not groups:
        return None
    each = all(
        value.ci
        or value.se
        or value.iqr
        or value.range
        or value.sd
        or (value.events is not None)
        for value in result.arms.values()
    )
    place = study.place(study.result_place(result).text, result.report)
    has = [word for word, given in (("interval", result.ci), ("p-value", result.p)) if given]
    if groups and each:
        has.append("counts or intervals of the groups")
    if has:
        return Check(place, "consistent", " and ".join(has), "", "precision can be told")
    printed = result.estimate or " v ".join(
        value.printed or value.estimate or value.median or value.mean or "?"
        for value in result.arms.values()
    )
    return Check(
        place,
        "inconsistent",
        printed,
        "no interval, no p-value, no counts",
        "a comparison is printed without its precision",
        "look for another report that prints it",
    )


_ADJUSTED = re.compile(r"multivari|adjust|\bcox\b", re.IGNORECASE)
_SAYS_N = re.compile(r"\bn\s*=\s*[0-9]|[0-9]\s+(?:patients|episodes|participants|children)")
_SAYS_EVENTS = re.compile(r"[0-9]\s+(?:deaths|events|relapses)")
_SAYS_SET = re.compile(r"adjusted for (?!what)|covariates?:|factors:")


def reporting(study: StudyMaterial) -> Iterator[Check]:
    """Effects of a model whose size, events and adjustment are not given."""
    models: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in study.study.content.results:
        ratio = result.kind in ("hazard_ratio", "odds_ratio", "risk_ratio")
        if ratio and _ADJUSTED.search(result.model or ""):
            models[result.report, str(result.model)].append(result)
    for (report, model), results in models.items():
        names = [name_of(result) for result in results]
        missing = [
            what
            for what, said in (
                ("n", _SAYS_N.search(model) or all(r.arms for r in results)),
                ("events", _SAYS_EVENTS.search(model)),
                ("the adjustment set", _SAYS_SET.search(model)),
            )
            if not said
        ]
        place = study.place(f"results.{names[0]}", report, names)
        many = "1 effect" if len(names) == 1 else f"{len(names)} effects"
        if missing:
            yield Check(
                place,
                "inconsistent",
                f"{many}: {model}",
                f"missing: {', '.join(missing)}",
                "effects of an adjusted model are printed without what it takes to judge them",
                "ask the authors; judge confounding and over-fitting as high",
            )
        else:
            yield Check(place, "consistent", many, model, "size, events and adjustment given")


def crossover(study: StudyMaterial) -> Iterator[Check]:
    """Patients who got the treatment of the other arm later."""
    late = [
        name
        for name, result in study.results.items()
        if result.outcome.startswith("os") and result.kind != "statement"
    ]
    for move in study.study.content.events_after_randomisation:
        share = move.n / move.of if move.of else 0.0
        place = study.place(f"arms.{move.from_}", move.report, late)
        printed = f"{move.n} of {move.of} moved from {move.from_} to {move.to}"
        if share < 0.05:
            yield Check(place, "consistent", printed, f"{share:.0%}", "few changed arms")
            continue
        yield Check(
            place,
            "inconsistent",
            printed,
            f"{share:.0%} of the arm",
            "so many changed arms that a contrast of overall survival does not tell the effect "
            "of the treatment",
            "do not pool overall survival as randomised; progression-free survival only if it "
            "was counted up to the change; responses before it",
        )


_PLACES = {
    "centres": "centres",
    "centers": "centres",
    "sites": "centres",
    "hospitals": "centres",
    "countries": "countries",
}
_RANGE = re.compile(
    r"\b([0-9]+(?:\.[0-9]+)?|zero|one|two|three|four|five)\s*(?:-|–|to|and)\s*"
    r"([0-9]+(?:\.[0-9]+)?)\s*(?:years|y\b)"
)


def n_reports(review: Review) -> Iterator[Check]:
    """Centres within a study and ages within a trial that differ between reports."""
    trials: dict[str, list[StudyMaterial]] = defaultdict(list)
    for study in review.studies:
        yield from _centres(study)
        for number in study.study.content.registry:
            trials[number.casefold()].append(study)
    done: set[frozenset[str]] = set()
    for studies in trials.values():
        key = frozenset(study.study.id for study in studies)
        if len(key) > 1 and key not in done:
            done.add(key)
            yield from _ages(studies)


def _centres(study: StudyMaterial) -> Iterator[Check]:
    said: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for name, result in study.results.items():
        what = _PLACES.get((result.unit or "").strip().casefold())
        if what and result.estimate:
            said[what].setdefault(result.estimate, (name, result.category or name))
    for what, values in said.items():
        names = [name for name, _ in values.values()]
        place = study.place(f"results.{names[-1]}", study.results[names[-1]].report)
        printed = "; ".join(f"{value} ({words})" for value, (_, words) in values.items())
        if len(values) > 1:
            yield Check(
                place,
                "inconsistent",
                printed,
                f"one number of {what} per study",
                f"reports differ in the number of {what}",
                "say which of them recruited these patients",
            )
        else:
            yield Check(place, "consistent", printed, "", f"one number of {what}")


def _ages(studies: Iterable[StudyMaterial]) -> Iterator[Check]:
    found = [(study, _age(study)) for study in studies]
    ranges = [(study, age) for study, age in found if age]
    if len(ranges) < 2:
        return
    (first, one), *others = ranges
    for study, age in others:
        printed = (
            f"{first.study.id}: {one[0]:g} to {one[1]:g} years; "
            f"{study.study.id}: {age[0]:g} to {age[1]:g} years"
        )
        place = study.place("population")
        if age == one:
            yield Check(place, "consistent", printed, "the same", "one range of ages")
        else:
            yield Check(
                place,
                "inconsistent",
                printed,
                "one trial",
                "the range of ages differs between reports of one trial",
                "say which is that of eligibility and which that of the patients",
            )


def _age(study: StudyMaterial) -> tuple[float, float] | None:
    population = study.study.content.population
    match = _RANGE.search((population and population.age) or "")
    if not match:
        return None
    return number_said(match[1]), float(match[2])


RULES: tuple[Rule, ...] = (
    Rule(
        "REPORT-DUP",
        "error",
        "review",
        f"Two study files have a report with the same DOI or PubMed id, or with titles that "
        f"are more than {SAME:.0%} similar (Dice's coefficient of trigrams) and have the same "
        f"numbers in them; or two reports of one file are, and neither says `duplicate_of` or "
        f"`superseded_by`. Similar titles with different identifiers are a warning.",
        report_dup,
    ),
    Rule(
        "DOI-DUP",
        "note",
        "review",
        "A list of references has one DOI under two titles, a DOI that does not begin as those "
        "of its journal do, or another DOI than this review for the same title.",
        doi_dup,
    ),
    Rule(
        "SOURCE-RANK",
        "warning",
        "analysis",
        "The best source of a row is a press release, a secondary source, a conference "
        "abstract or a report that was not seen; an abstract, a preprint or a record is a "
        "note.",
        source_rank,
    ),
    Rule(
        "CORRECTION",
        "warning",
        "study",
        "A report, its title, a quote or its stored text says: corrected publication, erratum, "
        "corrigendum, correction to, retracted, expression of concern.",
        correction,
    ),
    Rule(
        "CAPTION",
        "note",
        "study",
        "Two legends of a report have one number or nearly the same words; or the text cites "
        "a panel that no legend describes, or one that does not name the group while another "
        "does.",
        caption,
    ),
    Rule(
        "REQUIRED",
        "warning",
        "study",
        "A randomised trial says nothing of randomisation, in the file or in a stored text; a "
        "report lacks what it ought to say (`silent_on`); or a comparison has neither interval "
        "nor p-value nor counts.",
        required,
    ),
    Rule(
        "REPORTING",
        "warning",
        "study",
        "Effects of an adjusted or multivariable model without number of patients, number of "
        "events or adjustment set.",
        reporting,
        "Harrell 2015, Regression Modeling Strategies, 2nd ed., section 4.4",
    ),
    Rule(
        "CROSSOVER",
        "warning",
        "study",
        "5% or more of an arm got the treatment of the other arm later "
        "(`events_after_randomisation`).",
        crossover,
        "Latimer et al. 2014, Med Decis Making 34:387",
    ),
    Rule(
        "N-REPORTS",
        "note",
        "review",
        "The number of centres or countries differs within a study, or the range of ages "
        "between studies with one registry number.",
        n_reports,
    ),
)
