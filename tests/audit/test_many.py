"""What many studies change nothing of: findings by row, places, Python's collector."""

import gc
import importlib.util
from pathlib import Path

import pytest

import evisynth
from evisynth.audit import reports
from evisynth.audit.fits import RULES as OF_FITS
from evisynth.audit.registry import RULES
from evisynth.audit.run import Concerned, audit, concerns
from evisynth.collector import paused_collector
from evisynth.project import load_project, review
from evisynth.sources import sources

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("of_audit", ROOT / "benchmarks/audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def synthetic(benchmark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    benchmark.write_review(folder, studies=12, results=13, seed=3)
    return load_project(folder / "config.yaml")


def test_the_lookup_of_rows_finds_exactly_the_rows_that_a_finding_concerns(synthetic):
    found = 0
    for rows in synthetic.rows.values():
        lookup = Concerned(rows)
        for finding in synthetic.audit.findings:
            expected = [i for i, row in enumerate(rows) if concerns(finding, row)]
            assert lookup.by(finding) == expected
            found += len(expected)
    assert found > 100


def test_a_second_audit_of_the_same_review_finds_the_same(synthetic):
    material = review(synthetic.file, synthetic.config, synthetic.evidence, synthetic.rows)
    first, second = audit(material), audit(material)
    assert first == second
    assert [f.check for f in first.findings] == [f.check for f in synthetic.audit.findings]


def test_studies_alone_have_the_findings_that_they_have_among_others(benchmark, tmp_path):
    benchmark.write_review(tmp_path, studies=6, results=10, seed=5)
    of_all = load_project(tmp_path / "config.yaml").audit.findings
    scoped = {rule.id for rule in RULES.values() if rule.scope == "study"}
    together = {
        repr(f.check)
        for f in of_all
        if f.rule in scoped and f.check.place.study == "study-0004"
    }
    for path in (tmp_path / "studies").iterdir():
        if path.stem != "study-0004":
            path.unlink()
    of_one = load_project(tmp_path / "config.yaml").audit.findings
    assert {repr(f.check) for f in of_one if f.rule in scoped} == together
    assert together


def test_the_collector_is_as_it_was_after_a_pause_that_ended_badly():
    def fail():
        with paused_collector():
            assert not gc.isenabled()
            raise RuntimeError

    assert gc.isenabled()
    with pytest.raises(RuntimeError):
        fail()
    assert gc.isenabled()
    gc.disable()
    try:
        with paused_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_scrutiny_asks_every_rule_of_fits_and_reads_no_study_files():
    assert list(OF_FITS) == [rule for rule in RULES.values() if rule.scope == "fit"]
    code = {Path(path).resolve() for path in sources(ROOT / "workflow/scripts/scrutiny.py")}
    package = Path(evisynth.__file__).parent
    assert package / "audit" / "fits.py" in code
    assert not code & {package / "studyfile.py", package / "audit" / "registry.py"}


@pytest.mark.parametrize(
    "words",
    [
        "a Corrected Publication",
        "CORRECTED AND REPUBLISHED",
        "Erratum in: J 2",
        "two errata",
        "a corrigendum",
        "CORRIGENDA",
        "Author's correction",
        "publisher correction",
        "Correction to: a trial",
        "a correction notice",
        "this article was RETRACTED",
        "Retraction note",
        "An Expression of Concern",
    ],
)
def test_the_quick_look_for_corrections_overlooks_none(words):
    assert reports._CORRECTED.search(words)
    assert reports._may_correct(words)


def test_the_benchmark_writes_the_same_review_for_the_same_seed(benchmark):
    one, two, other = (benchmark.Author(seed).study(1, 10) for seed in (1, 1, 2))
    assert one == two != other
