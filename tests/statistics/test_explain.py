"""Why two runs differ."""

import math
from dataclasses import replace

import pytest
from support.references import rows

from evisynth import presets
from evisynth.explain import (
    MOST_STUDIES,
    Run,
    effects_of,
    explain,
    headline,
    model_choices,
    raw_rows,
    report,
)
from evisynth.records import RawRow
from evisynth.specification import Dependence, ModelSpec

BCG = rows(
    ai=[4, 6, 3, 62, 33, 180],
    bi=[119, 300, 228, 13536, 5036, 1361],
    ci=[11, 29, 11, 248, 47, 372],
    di=[128, 274, 209, 12619, 5761, 1079],
)


def run(measure="RR", data=BCG, spec=None, options=None, **zero_cells):
    cells = {"add": None, "to": "only0", "drop00": False, "form": "cells", **zero_cells}
    return Run(
        tuple(data),
        {
            "measure": measure,
            **{f"options.{name}": value for name, value in (options or {}).items()},
            "level": (spec or ModelSpec()).level,
            **{f"zero_cells.{name}": value for name, value in cells.items()},
            **model_choices(spec or ModelSpec()),
        },
    )


def preset(name, measure="RR", data=BCG):
    return run(
        measure,
        data,
        ModelSpec(**presets.choices(name, measure)),
        presets.measure_options(name, measure),
        **presets.zero_cells(name, measure),
    )


def numbers(result):
    row = result.estimate
    return [row.estimate, row.ci_low, row.ci_high, row.pi_low, row.pi_high]


def names(found):
    return [step.choice for step in found.steps]


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_run_beside_itself_has_no_steps(name):
    found = explain(preset(name), preset(name))
    assert found.steps == ()
    assert "No choice differs" in report(found, ("one", "two"))


@pytest.mark.parametrize("measure", ["OR", "RD"])
@pytest.mark.parametrize("first", presets.PRESETS)
@pytest.mark.parametrize("second", presets.PRESETS)
def test_the_last_step_is_the_second_run_exactly(first, second, measure):
    found = explain(preset(first, measure), preset(second, measure))
    if found.steps:
        assert numbers(found.steps[-1].so_far) == numbers(found.second)
        assert found.steps[0].so_far == found.steps[0].alone
    else:
        assert numbers(found.first) == numbers(found.second)


def test_a_step_says_how_far_it_moves_the_estimate_and_its_interval():
    found = explain(run(), run(spec=ModelSpec(method="DL", test="z")))
    assert names(found) == ["model.method", "model.test"]
    wald = headline(run(spec=ModelSpec(test="z"))).estimate
    dl = headline(run(spec=ModelSpec(method="DL", test="z"))).estimate
    start = found.first.estimate
    test = found.steps[1]
    assert test.alone.estimate.ci_low == wald.ci_low
    assert test.alone_change.estimate == 0
    width = (wald.ci_high - wald.ci_low) / (start.ci_high - start.ci_low)
    assert test.alone_change.width == width
    assert found.change.estimate == dl.estimate - start.estimate
    assert sum(step.so_far_change.estimate for step in found.steps) == pytest.approx(
        found.change.estimate, rel=1e-12
    )
    assert math.prod(step.so_far_change.width for step in found.steps) == pytest.approx(
        found.change.width, rel=1e-12
    )


def test_changed_numbers_of_a_study_are_a_step():
    changed = [replace(BCG[0], numbers={**BCG[0].numbers, "ai": 40.0}), *BCG[1:]]
    found = explain(run(), run(data=changed))
    assert names(found) == ["study 1"]
    assert "ai=4 " in found.steps[0].before
    assert "ai=40 " in found.steps[0].after
    assert numbers(found.steps[0].alone) == numbers(headline(run(data=changed)))


def test_the_same_table_by_cells_and_by_sizes_is_no_step():
    sizes = [
        replace(
            row,
            numbers={
                "ai": row.numbers["ai"],
                "n1i": row.numbers["ai"] + row.numbers["bi"],
                "ci": row.numbers["ci"],
                "n2i": row.numbers["ci"] + row.numbers["di"],
            },
        )
        for row in BCG
    ]
    assert explain(run(), run(data=sizes)).steps == ()


def test_an_excluded_and_an_absent_study_are_steps_with_the_reason():
    data = [replace(BCG[0], included=False, reason="another disease"), *BCG[1:-1]]
    found = explain(run(), run(data=data))
    assert names(found) == ["study 1", "study 6"]
    assert found.steps[0].after == "left out (another disease)"
    assert found.steps[1].after == "absent"
    assert found.second.estimate.k == 4


def test_rows_of_one_study_and_name_are_told_apart():
    twins = [replace(row, study="a", label="A") for row in BCG[:3]]
    changed = [*twins[:2], replace(twins[2], numbers={**twins[2].numbers, "ai": 9.0})]
    found = explain(run(data=twins), run(data=changed))
    assert names(found) == ["study a"]
    assert numbers(found.steps[-1].so_far) == numbers(headline(run(data=changed)))


def test_rows_in_another_order_are_the_second_run_to_the_last_bit():
    second = run(data=BCG[::-1], spec=ModelSpec(method="DL"))
    found = explain(run(), second)
    assert names(found) == ["model.method"]
    assert numbers(found.steps[-1].so_far) == numbers(headline(second))


def test_many_studies_that_differ_are_one_step():
    many = rows(yi=[0.1 * (i % 7) for i in range(60)], vi=[0.1] * 60)
    other = rows(yi=[0.1 * (i % 5) for i in range(60)], vi=[0.2] * 60)
    found = explain(run("GEN", many), run("GEN", other))
    assert names(found) == ["60 rows that differ"]
    assert len(many) > MOST_STUDIES


def test_another_measure_has_no_difference_on_a_common_scale():
    found = explain(run("OR"), run("RR"))
    assert names(found) == ["measure"]
    assert math.isnan(found.change.estimate)
    text = report(found, ("a", "b"))
    assert f"RR {found.second.shown.estimate:.6g}" in text
    assert f"OR {found.first.shown.estimate:.6g}" in text
    assert "another measure" in text


def test_measure_and_its_options_change_together():
    means = rows(
        m1i=[1, 2, 3],
        sd1i=[1, 1, 2],
        n1i=[9, 8, 7],
        m2i=[1, 1, 1],
        sd2i=[1, 2, 1],
        n2i=[8, 8, 9],
    )
    first = run("MD", means)
    found = explain(first, run("SMD", means, options={"variance": "UB"}))
    assert names(found) == ["measure"]
    assert found.steps[0].after == "SMD, variance UB"
    found = explain(
        run("SMD", means, options={"variance": "LS"}),
        run("SMD", means, options={"variance": "UB"}),
    )
    assert names(found) == ["options.variance"]
    assert (found.steps[0].before, found.steps[0].after) == ("LS", "UB")


def test_another_rule_for_zero_cells_is_a_step():
    zero = [*BCG, RawRow("z", "z", {"ai": 0.0, "bi": 40.0, "ci": 3.0, "di": 39.0})]
    found = explain(run(data=zero), run(data=zero, to="tacc", form="meta"))
    assert names(found) == ["zero_cells.to", "zero_cells.form"]
    assert found.steps[1].alone_change.estimate != 0
    assert numbers(found.steps[-1].so_far) == numbers(found.second)


def test_what_hangs_together_is_one_step():
    found = explain(run(), run(spec=ModelSpec(method="fixed", tau2=0.2)))
    assert names(found) == ["model.method"]
    assert found.steps[0].after == "fixed, tau2 0.2"


def test_choices_that_are_impossible_alone_say_so_and_go_on():
    found = explain(
        run(spec=ModelSpec(method="DL")), run(spec=ModelSpec(method="REML", test="kr"))
    )
    test = next(step for step in found.steps if step.choice == "model.test")
    assert test.alone.estimate is None
    assert "kr is for the method REML" in test.alone.why
    assert test.so_far.estimate == found.second.estimate
    assert "impossible: " in report(found, ("a", "b"))


def test_families_are_told_apart():
    proportions = rows(xi=[2, 5, 9, 1], ni=[20, 30, 40, 25])
    found = explain(preset("meta8", "PLO", proportions), preset("metafor", "PLO", proportions))
    assert "model.family" in names(found)
    assert found.first.estimate.method == "GLMM"
    assert found.second.estimate.method == "REML"


def test_groups_that_a_model_does_not_use_are_no_step_and_those_that_it_uses_are():
    def data(groups):
        return [
            replace(row, covariates={"site": group})
            for row, group in zip(BCG, groups, strict=True)
        ]

    one, other = data("aabbcc"), data("abcabc")
    assert explain(run(data=one), run(data=other)).steps == ()
    spec = ModelSpec(family="MV", dependence=Dependence(levels=("site", "effect")))
    found = explain(run(data=one, spec=spec), run(data=other, spec=spec))
    assert len(found.steps) == 4
    assert numbers(found.steps[-1].so_far)[0] == numbers(found.second)[0]


def test_nothing_to_pool_has_words_instead_of_numbers():
    single = run(data=BCG[:1])
    found = explain(single, run())
    assert found.first.estimate is None
    assert "k = 1" in found.first.why
    assert "no estimate (k = 1" in report(found, ("a", "b"))
    closed = replace(run(), unpooled="too different")
    found = explain(closed, run())
    assert names(found) == ["pool"]
    assert found.first.why == "not pooled: too different"
    assert found.steps[0].so_far.estimate == found.second.estimate


def test_a_prediction_interval_alone_can_move():
    found = explain(run(), run(spec=ModelSpec(prediction="HTS")))
    assert "moves the prediction interval only" in report(found, ("a", "b"))


def test_the_report_says_that_the_order_matters():
    text = report(explain(run(), run(spec=ModelSpec(method="DL", test="z"))), ("a", "b"))
    assert "depends on the order" in text


def test_text_from_data_cannot_steer_a_terminal():
    evil = "a\x1b[2J\r\n\x07\u202e"
    data = [replace(BCG[0], study=evil, label=evil, included=False, reason=evil), *BCG[1:]]
    text = report(explain(run(data=BCG[1:]), run(data=data)), (evil, "b"))
    assert all(letter.isprintable() for letter in text.replace("\n", ""))
    assert "\\x1b[2J" in text


INPUTS = {
    "OR": BCG,
    "PLO": rows(xi=[0, 5, 9, 1], ni=[20, 30, 40, 25]),
    "GEN": rows(
        estimate=[1, 2, 3], ci_low=[0, 1, 1], ci_high=[2, 3, 5], ci_level=[0.9, 0.95, 0.99]
    ),
    "HR": [
        RawRow("a", "a", {"yi": 0.3, "sei": 0.2, "ni": 80.0}),
        RawRow("b", "b", {"estimate": 1.4, "ci_low": 0.9, "ci_high": 2.2, "ci_level": 0.9}),
        RawRow("c", "c", {"oe": 3.0, "v": 12.0}, included=False, reason="no"),
    ],
    "MD": rows(m1i=[1, 2], sd1i=[1, 1], n1i=[9, 8], m2i=[1, 1], sd2i=[1, 2], n2i=[8, 8]),
}


@pytest.mark.parametrize("measure", INPUTS)
def test_effects_can_be_computed_again_from_what_results_hold(measure):
    first = effects_of(run(measure, INPUTS[measure]))
    again = effects_of(run(measure, raw_rows(first)))
    for name in ("yi", "vi", "ci_low", "ci_high", "ni"):
        assert getattr(again, name).tolist() == pytest.approx(
            getattr(first, name).tolist(), rel=0, abs=0, nan_ok=True
        )
    assert again.included == first.included
