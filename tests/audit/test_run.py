"""What carries the rules: decisions, rows that stay out, counts, outputs."""

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from support.review import CONFIG, OUTCOMES, TABLE
from support.toy_rules import TOYS, install

from evisynth.audit.material import Review, TableMaterial
from evisynth.audit.records import Check, Decision, Finding, Place
from evisynth.audit.run import audit, blocked, concerns, merged
from evisynth.audit_page import About, page
from evisynth.errors import InputError
from evisynth.project import load_project
from evisynth.rows import RawRow
from evisynth.steps.audit import COLUMNS, RULE_COLUMNS, write_audit
from evisynth.steps.effects import write_effects
from evisynth.steps.forest import write_forest
from evisynth.steps.pool import write_pooled

STUDY = """\
study: {name}
design: single_arm
reports: [{{id: r, kind: journal_article}}]
arms: [{{id: new, n: {n}, treatment: new}}]
results:
  - outcome: orr
    unit: per cent
    arms: {{new: {{events: {events}, n: {n}, printed: "{printed}"}}}}
    report: r
    quote: it was so
"""
FLAG = """\
accepted_flags:
  - {{rule: {rule}, place: {place}, decision: {decision}, reason: "{reason}", who: A. Person,
     when: 2026-11-21}}
"""
AT = "results.orr.arms.new"


def flag(rule="TOY-PERCENT", place=AT, decision="accept", reason="seen with the authors"):
    return FLAG.format(rule=rule, place=place, decision=decision, reason=reason)


@pytest.fixture
def review(tmp_path, monkeypatch):
    """A review of two right studies and a wrong one; `more` is put into the wrong one."""
    install(monkeypatch)
    monkeypatch.chdir(tmp_path)

    def write(more="", config=CONFIG, table=TABLE, contrast=False):
        (tmp_path / "data/studies").mkdir(parents=True, exist_ok=True)
        if not contrast:
            config = re.sub(r"  contrast:\n(?:    .*\n)+?(?=  \w)", "", config)
        (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
        (tmp_path / "data/outcomes.yaml").write_text(OUTCOMES, encoding="utf-8")
        (tmp_path / "data/hazard.csv").write_text(table, encoding="utf-8")
        for name, events, n, printed in (
            ("ada", 13, 43, "30"),
            ("bea", 9, 17, "53"),
            ("cleo", 5, 13, "83"),
        ):
            text = STUDY.format(name=name, events=events, n=n, printed=printed)
            text += more if name == "cleo" else ""
            (tmp_path / f"data/studies/{name}.yaml").write_text(text, encoding="utf-8")
        return load_project((tmp_path / "config.yaml").relative_to(tmp_path))

    return write


def row_of(project, study, analysis="response"):
    (row,) = [row for row in project.rows[analysis] if row.study == study]
    return row


def test_an_error_keeps_its_row_out_and_no_other(review):
    project = review()
    assert [(row.study, row.included) for row in project.rows["response"]] == [
        ("ada", True),
        ("bea", True),
        ("cleo", False),
    ]
    assert row_of(project, "cleo").reason == "audit, TOY-PERCENT: 5 of 13 are 38%"


def test_findings_come_with_the_gravest_first_and_are_counted(review):
    report = review(table=TABLE.replace("c,0.9", "c,1.9")).audit
    order = [(f.check.verdict, f.level, f.rule) for f in report.findings]
    assert order[:4] == [
        ("inconsistent", "error", "TOY-PERCENT"),
        ("inconsistent", "warning", "TOY-LARGE"),
        ("inconsistent", "note", "TOY-TITLE"),
        ("inconsistent", "note", "TOY-TITLE"),
    ]
    assert {verdict for verdict, _, _ in order[4:]} == {"consistent"}
    counts = report.counts["TOY-PERCENT"]
    assert (counts.consistent, counts.inconsistent, counts.undecided) == (2, 1, 0)
    assert (report.counts["TOY-LARGE"].consistent, report.counts["TOY-LARGE"].inconsistent) == (
        3,
        1,
    )


def test_an_accepted_error_is_pooled_with_a_note_of_who_when_and_why(review):
    row = row_of(review(flag()), "cleo")
    assert row.included
    (note,) = row.notes
    assert note == (
        "audit, TOY-PERCENT: accepted by A. Person on 2026-11-21: seen with the authors"
    )


def test_an_excluded_error_stays_out_and_says_who_decided(review):
    row = row_of(review(flag(decision="exclude")), "cleo")
    assert not row.included
    assert row.reason == (
        "audit, TOY-PERCENT: 5 of 13 are 38% (excluded by A. Person on 2026-11-21: "
        "seen with the authors)"
    )


TABLE_FLAG = """\
audit:
  accepted_flags:
    - {{{table}rule: {rule}, place: "{place}", decision: {decision}, reason: r, who: P,
       when: 2026-11-21}}
analyses:
"""


def with_flag(
    table="table: data/hazard.csv, ", rule="TOY-LARGE", place="row 3: yi", decision="exclude"
):
    text = TABLE_FLAG.format(table=table, rule=rule, place=place, decision=decision)
    return CONFIG.replace("analyses:\n", text)


def test_a_warning_lets_its_row_in_until_a_person_excludes_it(review):
    table = TABLE.replace("c,0.9", "c,1.9")
    assert row_of(review(table=table), "c", "hazard").included
    row = row_of(review(config=with_flag(), table=table), "c", "hazard")
    assert not row.included
    assert "excluded by P on 2026-11-21: r" in row.reason


def test_an_accepted_warning_needs_no_note(review):
    table = TABLE.replace("c,0.9", "c,1.9")
    row = row_of(review(config=with_flag(decision="accept"), table=table), "c", "hazard")
    assert (row.included, row.notes) == (True, ())


def test_a_finding_about_an_analysis_can_be_decided_on(review):
    place = "analyses.hazard.title"
    project = review(config=with_flag("", "TOY-TITLE", place, "accept"))
    (decided,) = [f for f in project.audit.findings if f.decision]
    assert (decided.rule, decided.check.place.text) == ("TOY-TITLE", place)
    assert project.audit.unused == ()


def test_a_decision_without_a_finding_is_a_warning(review):
    report = review(flag(place="results.orr.arms.old")).audit
    (file, decision) = report.unused[0]
    assert (file, decision.place) == ("data/studies/cleo.yaml", "results.orr.arms.old")
    (stale,) = [f for f in report.findings if f.rule == "DECISION"]
    assert (stale.level, stale.check.verdict) == ("warning", "inconsistent")
    assert stale.check.place.study == "cleo"
    assert "answers to no finding" in stale.check.explanation


def test_a_decision_on_something_that_is_right_is_stale(review):
    config = with_flag(place="row 1: yi")
    assert len(review(config=config).audit.unused) == 1


def test_a_decision_on_a_rule_that_needs_the_fit_is_not_called_stale(review):
    assert review(flag(rule="TOY-FIT")).audit.unused == ()


def test_decisions_that_name_no_rule_or_table_or_come_twice_are_mistakes(review):
    config = with_flag("table: data/hazards.csv, ", "TOY-LARG")
    with pytest.raises(InputError) as found:
        review(flag(rule="TOY-PERCENTS") + "".join(flag().splitlines(True)[1:]) * 2, config)
    said = {problem.place: problem for problem in found.value.problems}
    assert set(said) == {
        "accepted_flags[1].rule",
        "accepted_flags[3]",
        "audit.accepted_flags[1].rule",
        "audit.accepted_flags[1].table",
    }
    assert "did you mean 'TOY-PERCENT'?" in said["accepted_flags[1].rule"].action
    assert "did you mean 'TOY-LARGE'?" in said["audit.accepted_flags[1].rule"].action
    assert "data/hazard.csv" in said["audit.accepted_flags[1].table"].expected
    assert all(problem.line for problem in found.value.problems)


def finding(file="f.csv", results=("row 1",), arms=(), level="error", decision=None, rule="R"):
    place = Place(file, 1, "s", "", "row 1", results, arms)
    check = Check(place, "inconsistent", explanation=f"{rule} says no")
    return Finding(rule, level, check, decision)


def raw(place="f.csv#row 1", arms=(), **more):
    return RawRow(study="s", label="S", numbers={}, place=place, arms=arms, **more)


def test_rows_are_met_by_file_entry_and_arm():
    rows = [
        raw(),
        raw("f.csv#row 11"),
        raw("g.csv#row 1"),
        raw("a.yaml#results.os", arms=("s/new", "s/old")),
        raw("a.yaml#results.os", arms=("s/other",)),
        raw("a.yaml#results.osx", arms=("s/new",)),
    ]
    of_table = finding()
    of_arm = finding("a.yaml", ("os",), ("new",))
    kept = [row.included for row in blocked(rows, [of_table, of_arm])]
    assert kept == [False, True, True, False, True, True]
    assert kept == [not (concerns(of_table, row) or concerns(of_arm, row)) for row in rows]


def test_several_errors_on_a_row_are_all_said_once():
    (row,) = blocked([raw()], [finding(rule="A"), finding(rule="B"), finding(rule="A")])
    assert row.reason == "audit, A: A says no; audit, B: B says no"


def test_a_row_that_is_out_already_keeps_its_reason():
    (row,) = blocked([raw(included=False, reason="too old")], [finding()])
    assert row.reason == "too old"


def test_one_accepted_error_does_not_open_the_door_for_another():
    yes = Decision("A", "row 1", "accept", "fine", "P", "2026-11-21")
    (row,) = blocked([raw()], [finding(rule="A", decision=yes), finding(rule="B")])
    assert not row.included
    assert row.reason == "audit, B: B says no"


def test_notes_and_undecided_checks_keep_nothing_out():
    undecided = Finding("R", "error", Check(finding().check.place, "undecided"))
    (row,) = blocked([raw()], [finding(level="note"), finding(level="warning"), undecided])
    assert row.included


def test_two_analyses_of_one_table_count_its_findings_once(review):
    config = CONFIG + CONFIG[CONFIG.index("  hazard:") :].replace("hazard:", "danger:", 1)
    assert review(config=config).audit.counts["TOY-LARGE"].consistent == 4


def test_reports_of_several_audits_add_up(review):
    one = review().audit
    both = merged([one, review(table=TABLE + "e,9,1\n").audit])
    assert both.counts["TOY-LARGE"].consistent == 8
    assert both.counts["TOY-LARGE"].inconsistent == 1
    assert both.findings[0].level == "error"
    assert len(both.findings) == len(set(both.findings))


# -- outputs ---------------------------------------------------------------------------------


def outputs(project, folder):
    folder.mkdir(exist_ok=True)
    files = {
        "findings": folder / "audit.csv",
        "rules": folder / "audit_rules.csv",
        "page": folder / "audit.html",
    }
    write_audit(project.file, project.audit_digest(), {k: str(v) for k, v in files.items()})
    return {name: path.read_text(encoding="utf-8") for name, path in files.items()}


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_audit_csv_has_every_check_failures_first(review, tmp_path):
    project = review(flag())
    rows = table(outputs(project, tmp_path / "out")["findings"])
    assert list(rows[0]) == COLUMNS
    assert COLUMNS[:10] == (
        "study report place rule level printed recomputed verdict explanation action".split()
    )
    assert len(rows) == len(project.audit.findings)
    first = rows[0]
    assert {key: first[key] for key in ("study", "place", "rule", "level", "verdict")} == {
        "study": "cleo",
        "place": AT,
        "rule": "TOY-PERCENT",
        "level": "error",
        "verdict": "inconsistent",
    }
    assert (first["printed"], first["recomputed"]) == ("83 of 13", "38%")
    assert (first["file"], first["line"]) == ("data/studies/cleo.yaml", "6")
    assert (first["decision"], first["decided_by"], first["decided_on"]) == (
        "accept",
        "A. Person",
        "2026-11-21",
    )
    assert first["decision_reason"] == "seen with the authors"
    verdicts = [row["verdict"] for row in rows]
    assert verdicts == sorted(verdicts, key=["inconsistent", "undecided", "consistent"].index)


def test_audit_rules_csv_counts_every_rule_and_the_decisions(review, tmp_path):
    more = flag() + "".join(flag(place="nowhere").splitlines(True)[1:])
    rows = table(outputs(review(more), tmp_path / "out")["rules"])
    assert list(rows[0]) == RULE_COLUMNS
    found = {row["rule"]: row for row in rows}
    assert set(found) == {"TOY-PERCENT", "TOY-LARGE", "TOY-TITLE", "DECISION"}
    numbers = [found["TOY-PERCENT"][k] for k in ("passed", "failed", "decided", "undecided")]
    assert numbers == ["2", "1", "1", "0"]
    assert found["TOY-PERCENT"]["reference"] == "Toy 1999"
    assert (found["DECISION"]["passed"], found["DECISION"]["failed"]) == ("1", "1")


def test_evidence_that_changed_under_way_is_refused(review, tmp_path):
    project = review()
    digest = project.audit_digest()
    review(flag())
    with pytest.raises(InputError, match="changed while the workflow was running"):
        write_audit(project.file, digest, {})


@pytest.mark.parametrize(
    ("more", "config", "table_text", "same"),
    [
        ("# a comment at the end\n", CONFIG, TABLE, True),
        ("", CONFIG.replace("title: Hazard of death", "title: Death"), TABLE, True),
        (flag(), CONFIG, TABLE, False),
        ("", CONFIG, TABLE.replace("0.9", "0.8"), False),
        ("", CONFIG, TABLE + "e,0.5,0.5\n", False),
    ],
)
def test_the_digest_changes_with_what_the_audit_says(review, more, config, table_text, same):
    before = review().audit_digest()
    assert (review(more, config, table_text).audit_digest() == before) == same


KEPT_OUT = ("analysis", "label", "reason")


class Strict(HTMLParser):
    """Every tag is closed in its order; text, tags and ids are kept."""

    VOID = frozenset({"meta", "br", "hr", "link"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.text = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attributes:
            if key == "id":
                self.ids.append(value)
            if key == "href":
                self.links.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_well_formed_and_stands_alone(review, tmp_path):
    text = outputs(review(flag()), tmp_path / "out")["page"]
    seen = Strict(text)
    names = [tag for tag, _ in seen.tags]
    assert not {"script", "img", "iframe", "object", "form"} & set(names)
    assert not any(key.startswith("on") for _, found in seen.tags for key in found)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert len(seen.ids) == len(set(seen.ids))
    assert {link.removeprefix("#") for link in seen.links} <= set(seen.ids)
    assert all("scope" in found for tag, found in seen.tags if tag == "th")
    assert names.count("caption") == names.count("table")
    assert dict(seen.tags)["html"] == {"lang": "en"}


def test_the_page_shows_errors_before_notes_and_decisions_with_reasons(review, tmp_path):
    text = " ".join(Strict(outputs(review(flag()), tmp_path / "out")["page"]).text)
    assert text.index("5 of 13 are 38%") < text.casefold().index("no full stop")
    assert "accepted by A. Person on 2026-11-21: seen with the authors" in text
    assert "Percentage and count differ." in text


def test_the_page_says_what_is_kept_out_of_which_analysis_and_why(review, tmp_path):
    project = review()
    kept_out = project.audit_context()["kept_out"]
    assert kept_out
    text = " ".join(Strict(outputs(project, tmp_path / "out")["page"]).text)
    section = text[text.index("Kept out of analyses") : text.index("Each error keeps")]
    for row in kept_out:
        assert row["reason"] in section
        assert row["analysis"] in section
    rules = {finding.rule for finding in project.audit.findings if finding.blocks}
    assert {row["reason"].partition(":")[0] for row in kept_out} <= rules
    assert len(review(flag()).audit_context()["kept_out"]) < len(kept_out)


def test_the_page_may_load_nothing_and_prints_what_is_folded(review, tmp_path):
    text = outputs(review(), tmp_path / "out")["page"]
    policy = [found for _, found in Strict(text).tags if "http-equiv" in found]
    assert [found["http-equiv"] for found in policy] == ["Content-Security-Policy"]
    assert policy[0]["content"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    on_paper = text.partition("@media print")[2]
    assert "details::details-content { content-visibility: visible" in on_paper


def test_text_from_data_is_no_markup_on_the_page(tmp_path):
    evil = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"
    place = Place(evil, 1, evil, evil, evil)
    said = Decision(evil, evil, "accept", evil, evil, evil)
    rule = TOYS["TOY-LARGE"]
    toys = {"TOY-LARGE": rule}

    def check(_):
        yield Check(place, "inconsistent", evil, evil, evil, evil)
        yield Check(place, "undecided", evil, evil, evil)

    toys["TOY-LARGE"] = replace(rule, check=check, definition=evil, reference=evil)
    tables = (TableMaterial("t.csv", "", ()),)
    report = audit(
        Review(None, (), tables), {evil: [replace(said, rule="TOY-LARGE")], "t": [said]}, toys
    )
    text = page(
        report, toys, About(evil, {"tables": 1}, {evil: evil}, [dict.fromkeys(KEPT_OUT, evil)])
    )
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "49" not in text
    Strict(text)


def test_a_review_without_findings_has_a_page_too():
    text = page(merged([]), {}, About("Empty", {"study files": 0}, {}, ()))
    assert "None." in text
    Strict(text)


TABLES = (
    "effects",
    "pooled",
    "heterogeneity",
    "tau2_intervals",
    "components",
    "blups",
    "beyond",
)


def drawn(project, folder):
    """Effects table and forest plot of the analysis of response."""
    folder.mkdir()
    sizes, name = str(folder / "effect_sizes.json"), "response"
    write_effects(project.file, name, project.effects_digest(name), sizes)
    output = {table: str(folder / f"{table}.csv") for table in TABLES}
    output |= {"fit": str(folder / "fit.json"), "script": str(folder / "metafor.R")}
    write_pooled(sizes, project.pooling_settings(name), output, "config.yaml")
    plots = [str(folder / f"forest.{suffix}") for suffix in ("svg", "png")]
    write_forest(sizes, output["fit"], project.drawing_settings(name), plots)
    rows = table((folder / "effects.csv").read_text(encoding="utf-8"))
    return {row["study"]: row for row in rows}, (folder / "forest.svg").read_text("utf-8")


def test_a_row_with_an_open_error_is_drawn_with_its_reason_and_has_no_weight(review, tmp_path):
    rows, plot = drawn(review(), tmp_path / "out")
    assert (rows["cleo"]["included"], rows["cleo"]["weight"]) == ("false", "")
    words = " ".join(re.findall(r"<text[^>]*>(?:<!--.*?-->)?([^<]*)", plot))
    assert "Not pooled: audit, TOY-PERCENT: 5 of 13 are 38%" in words
    assert "cleo" in words


def test_the_note_of_an_accepted_error_is_in_the_effects_and_on_the_plot(review, tmp_path):
    rows, plot = drawn(review(flag()), tmp_path / "out")
    assert rows["cleo"]["included"] == "true"
    assert "accepted by A. Person on 2026-11-21" in rows["cleo"]["notes"]
    assert "accepted by A. Person on 2026-11-21" in re.sub(r"<!--.*?-->", "", plot)
