"""What a preset gives is what its program gives."""

import csv
import dataclasses
import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from support.references import analyses, find
from support.references import effects_of as escalc_effects

from evisynth import menus, presets
from evisynth.config import Model, ZeroCells
from evisynth.inputs import check_options
from evisynth.measures import compute_effects
from evisynth.pooling import pool
from evisynth.records import RawRow
from evisynth.specification import ModelSpec, check

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests" / "reference" / "presets").glob("*.json"))


@dataclasses.dataclass(frozen=True)
class Case:
    """One analysis of a program whose defaults a preset stands for."""

    file: Path
    id: str
    preset: str
    measure: str
    inputs: dict
    model: dict
    rtol: float
    result: dict

    def __str__(self):
        return f"{self.file.stem}:{self.id}"


@functools.cache
def document(path):
    return json.loads(path.read_text(encoding="utf-8"))


def cases():
    return [
        Case(path, entry["id"], **entry["args"], rtol=entry["rtol"], result=entry["result"])
        for path in FILES
        for entry in document(path)["analyses"]
    ]


def number(text):
    return math.nan if text in (None, "") else float(text)


@functools.cache
def columns(path):
    """Columns of the data of a reference file, by name."""
    data = document(path)["data"]
    if isinstance(data, str):
        with (ROOT / data).open(encoding="utf-8", newline="") as lines:
            read = list(csv.DictReader(lines))
        for name, wanted in document(path).get("rows", {}).items():
            read = [row for row in read if row[name] == wanted]
        data = {name: [row[name] for row in read] for name in read[0]}
    assert {len(values) for values in data.values()} == {document(path)["n_rows"]}
    return data


def column(path, wanted):
    """A column, or a sum or difference of two, or numbers."""
    if isinstance(wanted, list):
        return [number(value) for value in wanted]
    data = columns(path)
    for sign, factor in (("+", 1), ("-", -1)):
        if wanted not in data and sign in wanted:
            one, two = (column(path, part) for part in wanted.split(sign))
            return [a + factor * b for a, b in zip(one, two, strict=True)]
    return [number(value) for value in data[wanted]]


def rows(path, inputs):
    taken = {name: column(path, wanted) for name, wanted in inputs.items()}
    return [
        RawRow(str(i), f"study {i}", dict(zip(taken, values, strict=True)))
        for i, values in enumerate(zip(*taken.values(), strict=True), start=1)
    ]


def pooled(preset, measure, given, **model):
    effects = compute_effects(
        measure,
        given,
        level=0.95,
        options=presets.measure_options(preset, measure),
        **presets.zero_cells(preset, measure),
    )
    return pool(effects, ModelSpec(**{**presets.choices(preset, measure), **model}))


def close(found, expected, rtol, scale):
    """Whether numbers agree to `rtol`, or to as much of `scale` where they are near 0."""
    return found == pytest.approx(expected, rel=rtol, abs=rtol * scale)


@pytest.mark.parametrize("case", cases(), ids=str)
def test_headline_is_that_of_the_program(case):
    expected = case.result
    fit = pooled(case.preset, case.measure, rows(case.file, case.inputs), **case.model)
    head = fit.headline
    if case.preset == "cochrane2025" and head.test == "adhoc":
        # The floor is ours: RevMan's interval is that of the row without it.
        assert any("floored Knapp-Hartung interval" in note for note in head.notes)
        head = next(e for e in fit.estimates if (e.method, e.test) == ("REML", "knha"))
    assert head.k == expected["k"]
    # Other programs stop iterating at 0 or just above it.
    width = expected["ci_ub"] - expected["ci_lb"]
    for name, key in (("estimate", "estimate"), ("ci_low", "ci_lb"), ("ci_high", "ci_ub")):
        assert close(getattr(head, name), expected[key], case.rtol, width), name
    assert close(head.tau2, expected["tau2"], 10 * case.rtol, width**2)
    if "pi_lb" in expected:
        for name, key in (("pi_low", "pi_lb"), ("pi_high", "pi_ub")):
            assert close(getattr(head, name), expected[key], case.rtol, width), name


def test_no_reference_is_lost():
    found = [case.preset for case in cases()]
    counted = {name: found.count(name) for name in sorted(set(found))}
    assert counted == {"cochrane2025": 17, "iqwig6": 4, "meta8": 127, "revman5": 35}


def by_metafor():
    """Default effect sizes, and the default model of rma for them."""
    for entry in analyses("rma.uni"):
        options = {"add", "to", "drop00", "vtype", "correct", "rows", "mods"}
        if (
            entry.status != "ok"
            or entry.args["method"] != "REML"
            or options & entry.args.keys()
        ):
            continue
        data = find(entry.file, entry.args["data"])
        if data.kind == "escalc" and options & data.args.keys():
            continue
        # rma lets negative variances through.
        if entry.result["k"] > 2 and "negative_variance" not in entry.file:
            yield entry


@pytest.mark.parametrize("entry", list(by_metafor()), ids=str)
def test_metafor_gives_the_same_with_its_defaults(entry):
    data = find(entry.file, entry.args["data"])
    measure = escalc_effects(data).measure
    assert presets.measure_options("metafor", measure) == {}
    level = entry.args["level"] / 100
    spec = ModelSpec(**presets.choices("metafor", measure), level=level)
    head = pool(escalc_effects(data), spec).headline
    test = entry.result["tests"]["z"]
    width = test["ci_ub"] - test["ci_lb"]
    for name, key in (("estimate", "estimate"), ("ci_low", "ci_lb"), ("ci_high", "ci_ub")):
        assert close(getattr(head, name), test[key], entry.rtol, width)
    interval = test["pi"]["default"]
    assert close(head.pi_low, interval["lb"], entry.rtol, width)
    assert close(head.pi_high, interval["ub"], entry.rtol, width)
    assert close(head.tau2, entry.result["tau2"], 10 * entry.rtol, width**2)


MEASURES = [*menus.MEASURES]


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("measure", MEASURES)
def test_every_choice_exists_for_every_measure(preset, measure):
    model = Model(**presets.choices(preset, measure))
    check(measure, ModelSpec(**model.model_dump(), level=0.95))
    ZeroCells(**presets.zero_cells(preset, measure))
    assert list(check_options(measure, presets.measure_options(preset, measure))) == []


def test_the_menu_names_every_preset_and_each_says_its_limits():
    assert list(menus.PRESETS) == list(presets.PRESETS)
    for preset in presets.PRESETS.values():
        assert preset.source
        assert presets.FEW in preset.limits
        assert all(measure in menus.MEASURES for measure in preset.zero_cells)
        assert all(measure in menus.MEASURES for measure in preset.by_measure)
        assert all(measure in menus.MEASURES for measure in preset.measure_options)


# Stata's metan for BCG (metafor's test_misc_metan_vs_rma.uni_with_dat.bcg.r): estimate, tau2.
METAN = {"RR": (-0.7141, 0.3088), "OR": (-0.7474, 0.3663)}


@pytest.mark.parametrize("measure", METAN)
def test_inverse_variance_of_review_manager_is_statas_metan(measure):
    inputs = {"ai": "tpos", "bi": "tneg", "ci": "cpos", "di": "cneg"}
    path = next(path for path in FILES if path.stem == "bcg_bias")
    head = pooled("revman5", measure, rows(path, inputs), family="IV").headline
    assert (round(head.estimate, 4), round(head.tau2, 4)) == METAN[measure]


def two_by_two(*tables):
    names = ("ai", "n1i", "ci", "n2i")
    return [
        RawRow(str(i), f"study {i}", dict(zip(names, map(float, table), strict=True)))
        for i, table in enumerate(tables, start=1)
    ]


RARE = two_by_two(
    (0, 40, 3, 42), (3, 50, 6, 48), (0, 30, 0, 31), (7, 100, 9, 99), (12, 12, 8, 9)
)


@pytest.mark.parametrize("preset", ["cochrane2025", "revman5", "meta8"])
@pytest.mark.parametrize("measure", ["OR", "RR"])
def test_ratios_leave_out_and_name_studies_without_events(preset, measure):
    fit = pooled(preset, measure, RARE)
    assert fit.k == 4
    assert any("left out" in note and "study 3" in note for note in fit.headline.notes)


@pytest.mark.parametrize("preset", ["cochrane2025", "revman5", "meta8", "metafor", "iqwig6"])
def test_differences_keep_studies_without_events(preset):
    assert pooled(preset, "RD", RARE).k == 5


def test_metafor_keeps_studies_without_events():
    assert pooled("metafor", "OR", RARE).k == 5


def test_arcsine_proportions_are_never_corrected():
    rows_ = [RawRow(str(x), str(x), {"xi": float(x), "ni": 12.0}) for x in (0, 3, 12)]
    for preset in presets.PRESETS:
        assert presets.zero_cells(preset, "PAS") == {}
        assert presets.zero_cells(preset, "PFT") == {}
        effects = compute_effects("PAS", rows_, level=0.95, **presets.zero_cells(preset, "PAS"))
        assert effects.yi.tolist() == pytest.approx([0, math.pi / 6, math.pi / 2], abs=1e-15)


def test_risk_ratios_like_meta_add_the_same_to_events_and_sizes():
    effects = compute_effects("RR", RARE, level=0.95, form="meta", drop00=True)
    assert effects.yi[0] == pytest.approx(math.log((0.5 / 40.5) / (3.5 / 42.5)), rel=1e-15)
    expected = 1 / 0.5 - 1 / 40.5 + 1 / 3.5 - 1 / 42.5
    assert effects.vi[0] == pytest.approx(expected, rel=1e-15)
    assert effects.yi[1] == pytest.approx(math.log((3 / 50) / (6 / 48)), rel=1e-15)
    assert effects.notes[0] == "1/2 added to sizes of groups and added to events"
    assert effects.included == (True, True, False, True, True)


def test_two_groups_of_events_only_have_a_risk_ratio_in_meta_and_no_odds_ratio():
    full = two_by_two((20, 20, 18, 18))
    effects = compute_effects("RR", full, level=0.95, form="meta", drop00=True)
    assert effects.included == (True,)
    assert effects.yi[0] == 0
    # Hartung & Knapp (2001), eq. 18
    expected = 1 / 20 - 1 / 20.5 + 1 / 18 - 1 / 18.5
    assert effects.vi[0] == pytest.approx(expected, rel=1e-13)
    assert compute_effects("OR", full, level=0.95, form="meta", drop00=True).included == (
        False,
    )


def test_differences_like_meta_have_a_correction_in_the_variance_only():
    effects = compute_effects("RD", RARE, level=0.95, form="meta")
    plain = compute_effects("RD", RARE, level=0.95)
    assert effects.yi[0] == -3 / 42
    assert effects.vi.tolist() == plain.vi.tolist()
    assert "for the variance only" in effects.notes[0]
    one = [RawRow("a", "a", {"xi": 0.0, "ni": 20.0})]
    assert compute_effects("PR", one, level=0.95, form="meta").yi[0] == 0


def test_an_unknown_form_of_the_correction_is_refused():
    with pytest.raises(ValueError, match="form must be one of cells, meta"):
        compute_effects("RR", RARE, level=0.95, form="stata")


def test_tau2_around_mantel_haenszel_by_hand():
    """Deeks & Higgins (2010): DerSimonian and Laird's tau2, Q around the MH estimate."""
    tables = np.array(
        [(4, 123, 11, 139), (29, 306, 6, 303), (3, 231, 11, 220), (62, 13598, 248, 12867)]
    )
    a, n1, c, n2 = tables.T
    yi = np.log(a * (n2 - c) / (c * (n1 - a)))
    vi = 1 / a + 1 / (n1 - a) + 1 / c + 1 / (n2 - c)
    size = n1 + n2
    centre = math.log((a * (n2 - c) / size).sum() / (c * (n1 - a) / size).sum())
    wi = 1 / vi
    tau2 = ((wi * (yi - centre) ** 2).sum() - 3) / (wi.sum() - (wi**2).sum() / wi.sum())
    assert tau2 > 0
    fit = pooled("revman5", "OR", two_by_two(*tables))
    head = fit.headline
    assert (head.model, head.method, head.test) == ("random", "MHDL", "z")
    assert head.tau2 == pytest.approx(tau2, rel=1e-12)
    assert head.estimate == pytest.approx(
        (yi / (vi + tau2)).sum() / (1 / (vi + tau2)).sum(), rel=1e-12
    )
    assert fit.heterogeneity[0].method == "MHDL"
    assert not any("is given" in note for note in head.notes)


# dat.nielweise2007: meta 8.3-0, metabin(method = "MH"), common effect: 1/2 in zero cells.
COMMON = {
    "OR": (-1.14857722594, 0.214430435836),
    "RR": (-1.11830661832, 0.210163019622),
}


@pytest.mark.parametrize("measure", COMMON)
def test_the_common_effect_of_review_manager_is_mantel_haenszels(measure):
    path = next(path for path in FILES if path.stem == "nielweise2007")
    inputs = {"ai": "ai", "n1i": "n1i", "ci": "ci", "n2i": "n2i"}
    head = pooled("revman5", measure, rows(path, inputs), effects="common").headline
    assert (head.model, head.method, head.test) == ("common", "MH", "z")
    assert (head.estimate, head.se) == pytest.approx(COMMON[measure], rel=1e-10)
    assert any("0.5 added" in note or "1/2 added" in note for note in head.notes)


def test_review_manager_has_estimates_where_a_group_has_no_event():
    none = two_by_two((0, 40, 3, 42), (0, 50, 6, 48), (0, 30, 1, 31))
    assert math.isfinite(pooled("revman5", "OR", none).headline.estimate)
    empty = two_by_two((0, 40, 0, 42), (0, 50, 0, 48), (0, 30, 0, 31))
    assert pooled("revman5", "RD", empty).headline.estimate == pytest.approx(0, abs=1e-3)


# Homogeneous effects: Knapp and Hartung's interval is narrower than that of any other.
ALIKE = [
    RawRow(str(i), str(i), {"yi": yi, "vi": vi})
    for i, (yi, vi) in enumerate(((0.30, 0.04), (0.31, 0.05), (0.29, 0.06)))
]


def test_iqwig_floors_an_interval_narrower_than_that_of_dersimonian_and_laird():
    fit = pooled("iqwig6", "GEN", ALIKE)
    floored = next(e for e in fit.estimates if (e.method, e.test) == ("PM", "adhoc"))
    assert fit.headline.test == "iqwig6"
    assert (fit.headline.ci_low, fit.headline.ci_high) == (floored.ci_low, floored.ci_high)
    assert any("narrower than DerSimonian-Laird" in note for note in fit.headline.notes)


def test_two_studies_have_a_wald_interval_under_every_preset():
    for preset in presets.PRESETS:
        head = pooled(preset, "GEN", ALIKE[:2]).headline
        assert head.test == "z"
        assert math.isnan(head.pi_low)


def test_a_program_that_does_not_floor_is_not_floored():
    for preset in ("revman5", "metafor", "meta8"):
        assert pooled(preset, "GEN", ALIKE).headline.test == "z"


PAGE = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")


def words(text):
    return " ".join(text.split())


def sections():
    return {
        part.partition("\n")[0]: part
        for part in PAGE.partition("\n## Each preset")[2].split("\n### ")[1:]
    }


def keys(choices):
    said = {True: "yes", False: "no"}
    return ", ".join(
        f"{key}: {said[value] if isinstance(value, bool) else value}"
        for key, value in choices.items()
    )


def test_the_page_says_what_each_preset_chooses_where_from_and_its_limits():
    assert list(sections()) == list(presets.PRESETS)
    for name, preset in presets.PRESETS.items():
        said = words(sections()[name])
        assert f"`{keys(preset.model)}`" in said
        for measure, chosen in preset.by_measure.items():
            assert f"- {measure}: `{keys(chosen)}`" in said
        for measure, chosen in preset.zero_cells.items():
            assert f"- {measure}: `zero_cells: {{{keys(chosen)}}}`" in said
        for measure, chosen in preset.measure_options.items():
            assert f"- {measure}: `measure_options: {{{keys(chosen)}}}`" in said
        for text in (preset.source, *preset.limits):
            assert words(text) in said


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_the_table_of_the_page_is_what_the_presets_give(preset):
    path = next(path for path in FILES if path.stem == "bcg_bias")
    inputs = {"ai": "tpos", "bi": "tneg", "ci": "cpos", "di": "cneg"}
    cells = [f"`{preset}`"]
    for measure in ("RR", "OR"):
        head = pooled(preset, measure, rows(path, inputs)).headline
        shown = [
            f"{math.exp(value):.4f}"
            for value in (head.estimate, head.ci_low, head.ci_high, head.pi_low, head.pi_high)
        ]
        cells += [f"{shown[0]} [{shown[1]}, {shown[2]}]", f"[{shown[3]}, {shown[4]}]"]
    assert f"| {' | '.join(cells)} |" in PAGE


def test_the_page_counts_what_is_compared():
    meta, metafor = len(cases()), len(list(by_metafor()))
    assert f"{meta} analyses by package meta 8.3-0 and {metafor} by metafor" in words(PAGE)
