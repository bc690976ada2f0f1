"""The tables of scrutiny of whole analyses, from settings to rows."""

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from support.review import ROOT

from evisynth.audit.records import AuditReport, Check, Decision, Finding, Place
from evisynth.audit.run import blocked
from evisynth.measures import compute_effects
from evisynth.project import Project, load_project
from evisynth.steps import scrutiny
from evisynth.steps.pool import fit_analysis, model_spec
from evisynth.steps.scrutiny import Case


def case_of(project: Project, name: str) -> Case:
    chosen = project.effects_settings(name)
    effects = compute_effects(
        chosen["measure"],
        project.rows[name],
        level=chosen["level"],
        options=chosen["options"],
        **chosen["zero_cells"],
    )
    settings = project.scrutiny_settings(name)
    assert json.loads(json.dumps(settings)) == settings  # plain builtins, no nan
    spec = model_spec(settings["model"], settings["level"], settings["dependence"])
    return Case(effects, fit_analysis(effects, project.pooling_settings(name)), spec, settings)


@pytest.fixture(scope="module")
def shipped() -> Project:
    return load_project(ROOT / "config.yaml")


def without_findings(project: Project, *findings: Finding) -> Project:
    return replace(project, audit=AuditReport(findings, {}))


def test_every_shipped_analysis_has_rows_and_none_without_a_reason(shipped):
    for name in shipped.config.analyses:
        if name.startswith("mycn"):
            continue
        case = case_of(shipped, name)
        for rows in (scrutiny.cost_rows(case), scrutiny.dependence_rows(case)):
            assert rows
            assert all(row.get("notes") or row.get("k") for row in rows)
            assert all(row["analysis"] == name for row in rows)


def test_the_rows_are_those_that_the_effect_sizes_were_made_of(shipped):
    for name in shipped.config.analyses:
        case = case_of(shipped, name)
        again = case.compute(case.rows)
        assert again.yi.tolist() == pytest.approx(case.effects.yi.tolist(), nan_ok=True)
        assert again.vi.tolist() == pytest.approx(case.effects.vi.tolist(), nan_ok=True)
        assert again.included == case.effects.included


def test_episodes_of_patients_are_said_and_inflated_in_the_shipped_review(shipped):
    rows = scrutiny.dependence_rows(case_of(shipped, "orr_any_salvage"))
    units = [row for row in rows if row["question"] == "units"]
    assert [row["scenario"] for row in units] == ["icc 0.3", "icc 1"]
    assert "66 episodes of 48.27 patients" in units[0]["notes"]
    assert units[1]["ci_high"] - units[1]["ci_low"] > units[0]["ci_high"] - units[0]["ci_low"]


def test_pooling_a_study_with_one_that_holds_its_patients_shows_what_that_does(
    shipped, tmp_path
):
    everything = shipped.config.analyses["orr_anti_gd2_chemo"].model_copy(
        update={
            "arms": shipped.config.analyses["orr_any_salvage"].arms.model_copy(
                update={"treatment": ["any_salvage", "anti_gd2_chemo"]}
            )
        }
    )
    config = shipped.config.model_copy(update={"analyses": {"all": everything}})
    from evisynth.selection import select

    rows, problems = select("all", everything, shipped.evidence, shipped.folder, "c")
    assert not problems
    project = Project(shipped.file, config, shipped.evidence, {"all": rows}, shipped.audit)
    found = scrutiny.dependence_rows(case_of(project, "all"))
    overlaps = [row for row in found if row["question"] == "overlap"]
    assert {(row["studies"], row["shared"], row["unit"]) for row in overlaps} == {
        ("beacon-immuno, sehop-2025", "at most 11", "episodes")
    }
    scenarios = [row["scenario"] for row in overlaps]
    assert scenarios[:4] == [
        "without beacon-immuno",
        "without sehop-2025",
        "covariance, 0 shared",
        "covariance, 11 shared (at most)",
    ]
    assert any(s.endswith(": 5/55") for s in scenarios)
    assert any(s.endswith(": 16/55") for s in scenarios)


def flag(file, text, results, level="error", rule="GRIM"):
    place = Place(file, 12, "", "", text, results)
    return Finding(rule, level, Check(place, "inconsistent", explanation="no count fits"))


def of_rule(case, rule):
    rows = scrutiny.audit_rows(case.fit, case.settings)
    return [row for row in rows if row["rule"] == rule]


def test_a_blocked_row_is_in_the_cost_with_its_rule_and_place(shipped):
    name = "orr_chemo_alone"
    row = next(row for row in shipped.rows[name] if row.included)
    file, _, entry = row.place.partition("#")
    finding = flag(file, entry, (entry.removeprefix("results."),))
    rows = {**shipped.rows, name: blocked(shipped.rows[name], [finding])}
    project = replace(without_findings(shipped, finding), rows=rows)
    case = case_of(project, name)
    costs = {r["scenario"]: r for r in scrutiny.cost_rows(case) if r["question"] == "flags"}
    entered = costs["with the row as printed"]
    assert (entered["rule"], entered["place"], entered["study"]) == ("GRIM", entry, row.study)
    before = case_of(without_findings(shipped), name).now
    assert entered["estimate"] == pytest.approx(before.estimate, abs=1e-12)
    assert entered["k"] == before.k == case.now.k + 1
    (audited,) = [
        r for r in scrutiny.audit_rows(case.fit, case.settings) if r["rule"] == "GRIM"
    ]
    assert audited["explanation"] == "no count fits"


def test_what_concerns_another_analysis_changes_no_setting_of_this_one(shipped):
    before = without_findings(shipped)
    row = next(r for r in shipped.rows["orr_any_salvage"] if r.included)
    file, _, entry = row.place.partition("#")
    after = without_findings(shipped, flag(file, entry, (entry.removeprefix("results."),)))
    changed = [
        name
        for name in shipped.config.analyses
        if before.scrutiny_settings(name) != after.scrutiny_settings(name)
    ]
    assert changed == ["orr_any_salvage"]


def test_a_line_that_moves_changes_nothing(shipped):
    def at(line):
        place = Place("config.yaml", line, "", "", "analyses.mycn_os")
        found = Finding("K-SMALL", "note", Check(place, "inconsistent", explanation="x"))
        project = replace(shipped, file=Path("config.yaml"), audit=AuditReport((found,), {}))
        return project._findings("mycn_os")

    assert at(3) == at(300)
    assert len(at(3)) == 1


def test_the_decision_of_a_person_is_printed(shipped):
    name = "orr_chemo_alone"
    row = next(row for row in shipped.rows[name] if row.included)
    file, _, entry = row.place.partition("#")
    decided = replace(
        flag(file, entry, (entry.removeprefix("results."),)),
        decision=Decision(
            "GRIM", entry, "accept", "the table is right", "A. Person", "2026-01-02"
        ),
    )
    case = case_of(without_findings(shipped, decided), name)
    (audited,) = [
        r for r in scrutiny.audit_rows(case.fit, case.settings) if r["rule"] == "GRIM"
    ]
    assert (audited["decision"], audited["decided_by"], audited["decided_on"]) == (
        "accept",
        "A. Person",
        "2026-01-02",
    )
    (left_out,) = [
        r for r in scrutiny.cost_rows(case) if r.get("scenario") == "without the row"
    ]
    assert left_out["decision"] == "accept"
    assert left_out["k"] == case.now.k - 1


def test_a_rule_that_needs_the_fit_gets_its_widths(shipped):
    case = case_of(shipped, "orr_anti_gd2_chemo")
    facts = scrutiny.fit_facts(case.fit, case.settings)
    rows = {(e.method, e.test): e for e in case.fit.estimates}
    assert facts is not None
    if facts.hk_width is not None:
        knha = rows[case.fit.headline.method, "knha"]
        assert facts.hk_width == pytest.approx(knha.ci_high - knha.ci_low)
    assert facts.file.endswith("config.yaml")
    assert scrutiny.fit_facts(case_of(shipped, "pfs_median").fit, case.settings) is None


def test_the_tables_have_the_announced_columns_and_the_same_bytes(shipped, tmp_path):
    from evisynth.tables import effects_to_json, fit_to_json

    case = case_of(shipped, "orr_chemo_alone")
    effects, fit = tmp_path / "e.json", tmp_path / "f.json"
    effects.write_text(effects_to_json(case.effects, "", {}), encoding="utf-8")
    fit.write_text(fit_to_json(case.fit), encoding="utf-8")
    texts = Counter()
    for run in ("one", "two"):
        output = {key: str(tmp_path / f"{run}-{key}.csv") for key in scrutiny_outputs()}
        scrutiny.write_scrutiny(str(effects), str(fit), case.settings, output)
        for key, path in output.items():
            text = Path(path).read_text(encoding="utf-8")
            texts[key, text] += 1
            header = next(csv.reader(io.StringIO(text)))
            assert header == scrutiny_outputs()[key]
    assert set(texts.values()) == {2}


def scrutiny_outputs():
    return {
        "audit": scrutiny.AUDIT,
        "audit_cost": scrutiny.AUDIT_COST,
        "dependence": scrutiny.DEPENDENCE,
    }
