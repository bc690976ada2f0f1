"""Every YAML example of the documents is valid, and those with data at hand are computed."""

import itertools
import json
import re
import shutil

import pytest
from support.review import ROOT

from evisynth.config import Analysis, Config
from evisynth.conversions import check_chosen, reachable
from evisynth.inputs import INPUTS, check_options
from evisynth.measures import compute_effects
from evisynth.menus import (
    FAMILIES,
    GLMM,
    INTERVALS,
    MEASURES,
    PREDICTION,
    PRIORS,
    ROBUST,
    STRUCTURES,
    TAU2,
    TAU2_GIVEN,
    TESTS,
    WEIGHTS,
)
from evisynth.models import priors
from evisynth.models.priors import named
from evisynth.project import load_project, model, options
from evisynth.specification import check
from evisynth.steps.moderators import write_moderators
from evisynth.steps.pool import fit_analysis, model_spec
from evisynth.studyfile import OutcomesFile, StudyFile
from evisynth.tables import effects_to_json
from evisynth.yamltext import read_yaml

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
REVIEW = {"title": "An example", "question": "Is it valid?"}
# What a fragment of an analysis stands in, unless it says otherwise: the trials of BCG.
BASE = {
    "title": "An example",
    "table": "data/bcg.csv",
    "columns": {
        "study": "study", "label": "label", "year": "year",
        "ai": "tpos", "bi": "tneg", "ci": "cpos", "di": "cneg",
    },
    "moderators": ["ablat", "alloc"],
    "measure": "OR",
}  # fmt: skip
DATA = {
    path.name: path
    for folder in ("tests/data", "reviews/bcg/data")
    for path in sorted((ROOT / folder).glob("*.csv"))
}


def blocks():
    for page in PAGES:
        for place, text in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1):
            if not all(line.startswith("#") for line in text.splitlines()):
                yield pytest.param(text, id=f"{page.relative_to(ROOT)}:{place}")


BLOCKS = list(blocks())


def whole(tree):
    """The example as a whole configuration."""
    if tree.keys() <= set(Analysis.model_fields):
        base = BASE
        measure = tree.get("measure", "OR")
        if "columns" in tree or "ai" not in INPUTS[measure].alternatives[0]:
            names = ("study", *INPUTS[measure].alternatives[0])
            base = BASE | {"table": "data/mine.csv", "columns": {n: f"my_{n}" for n in names}}
        tree = {"analyses": {"example": base | tree}}
    return {"review": REVIEW, "analyses": {"example": BASE}} | tree


def check_in_words(config):
    """What the models of the files do not check, and needs no data."""
    for analysis in config.analyses.values():
        main = model(analysis, config.defaults)
        for one in (main, *analysis.also):
            keys = {key: getattr(one, key) for key in one.model_fields_set}
            spec = model_spec(main.model_copy(update=keys).model_dump(), 0.95)
            check(analysis.measure, spec)
            named(spec.prior)
        assert check_chosen(analysis.conversions) == []
        assert check_options(analysis.measure, options(analysis)) == []
        if analysis.table:
            there = reachable(analysis.columns, analysis.conversions)
            alternatives = INPUTS[analysis.measure].alternatives
            assert any(set(needed) <= there for needed in alternatives)


def compute(config, folder):
    """Every analysis of a configuration whose tables are among the test data."""
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    (folder / "data").mkdir()
    for analysis in config["analyses"].values():
        name = analysis["table"].removeprefix("data/")
        shutil.copyfile(DATA[name], folder / "data" / name)
    project = load_project(folder / "config.yaml")
    for name in config["analyses"]:
        settings = project.effects_settings(name)
        effects = compute_effects(
            settings["measure"],
            project.rows[name],
            level=settings["level"],
            options=settings["options"],
            **settings["zero_cells"],
        )
        fit = fit_analysis(effects, project.pooling_settings(name))
        assert fit.headline is not None
        bare = [(e.model, e.method, e.notes) for e in fit.estimates if e.estimate != e.estimate]
        assert bare == []
        if project.has_moderators(name):
            source = folder / "effect_sizes.json"
            source.write_text(effects_to_json(effects, "", settings), encoding="utf-8")
            tables = (
                "subgroups", "subgroup_tests", "regression", "regression_tests", "predictions",
            )  # fmt: skip
            output = {table: folder / f"{table}.csv" for table in tables}
            write_moderators(source, project.moderator_settings(name), output, "config.yaml")


@pytest.mark.parametrize("text", BLOCKS)
def test_example_is_valid(text, tmp_path):
    file = tmp_path / "file.yaml"
    file.write_text(text, encoding="utf-8")
    tree = read_yaml(file, file.name).tree
    if "study" in tree:
        StudyFile.model_validate(tree)
        return
    if "outcomes" in tree:
        OutcomesFile.model_validate(tree)
        return
    tree = whole(tree)
    check_in_words(Config.model_validate(tree))
    tables = [analysis.get("table", "") for analysis in tree["analyses"].values()]
    if all(table.removeprefix("data/") in DATA for table in tables):
        compute(tree, tmp_path)


def test_every_page_of_the_statistics_has_an_example():
    named_pages = {block.id.rpartition(":")[0] for block in BLOCKS}
    pages = {str(path.relative_to(ROOT)) for path in ROOT.glob("docs/statistics/*.md")}
    assert pages <= named_pages


def page(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


EXPLAINED = {
    "statistics/tau2.md": [*TAU2, *TAU2_GIVEN, *WEIGHTS],
    "statistics/heterogeneity.md": INTERVALS,
    "statistics/mean.md": [*TESTS, *PREDICTION],
    "statistics/counts.md": ["MH", "PETO", "PLR", "BB"],
    "statistics/glmm.md": GLMM,
    "statistics/dependence.md": [*STRUCTURES, *ROBUST.keys() - {"none"}, "CORR", "HIER"],
    "statistics/bayes.md": PRIORS,
    "agreement.md": [*TESTS.keys() - {"adhoc"}, "CR2", "GLMM", "RVE", "REML", "DLIT"],
}  # fmt: skip


@pytest.mark.parametrize("name", EXPLAINED)
def test_every_word_of_a_menu_is_on_its_page(name):
    text = page(name)
    lost = [w for w in EXPLAINED[name] if not re.search(rf"(?<!\w){re.escape(w)}(?!\w)", text)]
    assert lost == []


def test_every_family_and_measure_has_a_page():
    text = "".join(page(str(path.relative_to(ROOT / "docs"))) for path in PAGES[2:])
    assert [word for word in (*FAMILIES, *MEASURES) if f"`{word}`" not in text] == []


def test_priors_of_the_menu_are_those_that_exist():
    assert set(PRIORS) == set(priors.PRIORS)


def test_published_priors_on_the_page_are_all_that_there_are():
    found = {}
    for name in ("Turner", "Rhodes"):
        (line,) = re.findall(rf"^\*\*{name}\*\*.*$", page("statistics/bayes.md"), re.MULTILINE)
        lists = [re.findall(r"`([^`]+)`", part) for part in re.split(r"\. ?[A-Z]\w+: ", line)]
        known, refused = 0, []
        for keys in itertools.product(*lists):
            try:
                named(f"{name.lower()}({'; '.join(keys)})")
                known += 1
            except ValueError as error:
                refused.append(str(error))
        assert all("check the paper" in why for why in refused)
        found[name] = (known, len(refused))
    assert found == {"Turner": (16 * 5, 0), "Rhodes": (8 * 3 * 3 - 3, 3)}


def test_agreement_names_tests_and_how_much_they_compare():
    """The number of analyses in a row is one that its tests assert, or the sum of two."""
    rows = [line for line in page("agreement.md").splitlines() if "`test_" in line]
    assert len(rows) > 50
    for row in rows:
        asserted = set()
        for name in re.findall(r"`(test_\w+\.py)`", row):
            text = (ROOT / "tests/statistics" / name).read_text(encoding="utf-8")
            _, _, counted = text.partition("def test_no_reference_is_lost")
            asserted |= {int(n) for n in re.findall(r"\d+", counted.partition("\n\n\n")[0])}
        sums = asserted | {one + two for one in asserted for two in asserted}
        for number in re.findall(r"(\d\d+) (?:analyses|models|fits|data sets)", row):
            assert int(number) in sums, row


LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")


def anchors(page):
    """Anchors of the headings of a page, as they are made for reading on the web."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    words = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_headings_that_exist(page):
    lost = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:")):
            continue
        file = (page.parent / target).resolve() if target else page
        known = file.suffix != ".md" or not anchor or anchor[1:] in anchors(file)
        if not file.exists() or not known:
            lost.append(target + anchor)
    assert lost == []
