"""Designs: the language of formulas, hostile formulas, coding, what is refused and named."""

import contextlib
import keyword

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evisynth.models.design import DesignError, dependencies, design, natural

COVARIATES = {
    "year": ["2001", "2003", "2003", "2010", "2012", "1999", "2005", "2008"],
    "dose": ["1", "2", "4", "8", "1", "2", "4", "16"],
    "setting": ["group", "single", "group", "single", "group", "group", "single", "group"],
    "arm": ["arm 10", "arm 9", "arm 9", "arm 10", "arm 2", "arm 2", "arm 9", "arm 10"],
    "twice": ["2", "4", "8", "16", "2", "4", "8", "32"],
    "same": ["x"] * 8,
    "seven": ["7"] * 8,
    "mixed": ["1", "2", "n/a", "4", "5", "6", "7", "8"],
    "gaps": ["1", "", "3", "4", " ", "6", "7", "9"],
    "lambda": ["3", "1", "4", "1", "5", "9", "2", "6"],
    "log": ["2", "7", "1", "8", "2", "8", "1", "8"],
}


def columns(formula, **options):
    made = design(formula, COVARIATES, **options)
    return dict(zip(made.names, made.x.T, strict=True))


def numbers(name):
    return np.array([float(cell) for cell in COVARIATES[name]])


def test_a_numeric_column_is_taken_as_it_is():
    made = columns("year")
    assert list(made) == ["intercept", "year"]
    np.testing.assert_array_equal(made["intercept"], 1)
    np.testing.assert_array_equal(made["year"], numbers("year"))


@pytest.mark.parametrize(
    "formula", ["year + dose", "~ year + dose", " ~year+dose ", "dose+year"]
)
def test_spaces_tilde_and_order_are_free(formula):
    assert set(columns(formula)) == {"intercept", "year", "dose"}


def test_text_is_coded_by_treatment_contrasts_with_the_first_level_in_natural_order():
    made = design("arm", COVARIATES)
    assert made.levels == {"arm": ("arm 2", "arm 9", "arm 10")}
    assert made.names == ("intercept", "arm[arm 9]", "arm[arm 10]")
    np.testing.assert_array_equal(made.x[:, 1], [cell == "arm 9" for cell in COVARIATES["arm"]])
    assert [(term.name, term.columns) for term in made.terms] == [
        ("intercept", (0,)),
        ("arm", (1, 2)),
    ]


def test_the_reference_level_can_be_chosen():
    made = design("arm", COVARIATES, reference={"arm": "arm 10"})
    assert made.levels["arm"] == ("arm 10", "arm 2", "arm 9")
    with pytest.raises(DesignError, match="'arm 7' of arm is not among: arm 2, arm 9, arm 10"):
        design("arm", COVARIATES, reference={"arm": "arm 7"})
    with pytest.raises(DesignError, match="nowhere, which is no covariate"):
        design("arm", COVARIATES, reference={"nowhere": "x"})
    with pytest.raises(DesignError, match=r"write factor\(dose\)"):
        design("dose", COVARIATES, reference={"dose": "8"})


@pytest.mark.parametrize("function", ["factor", "C"])
def test_numbers_can_be_taken_for_categories(function):
    made = design(f"{function}(dose)", COVARIATES, reference={"dose": "8"})
    assert made.names[1:] == tuple(f"{function}(dose)[{level}]" for level in (1, 2, 4, 16))


def test_without_intercept_every_level_has_its_column():
    for formula in ("0 + setting", "setting - 1", "setting + 0"):
        made = design(formula, COVARIATES)
        assert made.names == ("setting[group]", "setting[single]")
        assert not made.intercept


def test_interactions():
    made = columns("setting * dose")
    assert list(made) == ["intercept", "setting[single]", "dose", "setting[single]:dose"]
    np.testing.assert_array_equal(
        made["setting[single]:dose"], made["setting[single]"] * made["dose"]
    )
    assert list(columns("(year + dose + log)^2"))[-1] == "dose:log"
    assert list(columns("year * dose - dose"))[1:] == ["year", "year:dose"]
    # without its main effect an interaction takes a column per level
    assert list(columns("setting:dose"))[1:] == ["setting[group]:dose", "setting[single]:dose"]


def test_arithmetic():
    np.testing.assert_array_equal(
        columns("I(year - 2000)")["I(year-2000)"], numbers("year") - 2000
    )
    np.testing.assert_allclose(
        columns("I(-(dose + 1)^2 / 3.5e-1)")["I(-(dose+1)^2/3.5e-1)"],
        -((numbers("dose") + 1) ** 2) / 0.35,
        rtol=1e-15,
    )
    np.testing.assert_allclose(columns("log(dose)")["log(dose)"], np.log(numbers("dose")))
    np.testing.assert_allclose(
        columns("I(sqrt(dose) * exp(dose / 4))")["I(sqrt(dose)*exp(dose/4))"],
        np.sqrt(numbers("dose")) * np.exp(numbers("dose") / 4),
    )


def test_centring_is_by_the_mean_of_the_studies_in_the_model():
    made = columns("center(gaps)")["center(gaps)"]
    np.testing.assert_allclose(made, np.array([1, 3, 4, 6, 7, 9]) - 5)
    kept = design("center(year)", COVARIATES)
    np.testing.assert_allclose(
        kept.rows({"year": [2010]}), [[1, 2010 - numbers("year").mean()]]
    )


def test_columns_may_be_called_like_words_of_python_or_functions():
    np.testing.assert_array_equal(columns("lambda")["lambda"], numbers("lambda"))
    np.testing.assert_array_equal(
        columns("I(lambda^2 + log)")["I(lambda^2+log)"], numbers("lambda") ** 2 + numbers("log")
    )
    np.testing.assert_allclose(columns("log(log)")["log(log)"], np.log(numbers("log")))
    for word in keyword.kwlist:
        cells = {word: COVARIATES["dose"]}
        made = design(f"{word} + I({word}^2)", cells)
        np.testing.assert_array_equal(made.x[:, 2], numbers("dose") ** 2)


def test_rows_with_empty_cells_are_left_out_by_name():
    made = design("gaps + year", COVARIATES, labels=[f"Study {i}" for i in range(8)])
    assert made.kept.tolist() == [True, False, True, True, False, True, True, True]
    assert made.notes == ("left out of the model, gaps is missing: Study 1; Study 4",)
    assert made.x.shape == (6, 3)
    assert design("year", COVARIATES).kept.all()


def test_a_column_that_is_almost_numeric_is_said_to_be_categorical():
    made = design("mixed", COVARIATES, reference={"mixed": "4"})
    assert made.notes == ("mixed is taken for categories because 'n/a' is not a number",)
    with pytest.raises(DesignError, match="'n/a' of mixed is not a number"):
        design("I(mixed + 1)", COVARIATES)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("year + year2", "no covariate year2"),
        ("dose + twice", "column twice is determined by dose"),
        ("twice + I(dose / 3)", "is determined by"),
        ("same", "same is constant: all studies have 'x'"),
        ("seven", "column seven is constant"),
        ("I(dose - dose)", "is 0 in all studies"),
        ("I(dose / dose)", "is constant"),
        ("setting + I(0 * dose) + dose", "is 0 in all studies"),
        ("0 + setting + seven", "determined by"),
        ("0", "neither intercept nor moderator"),
        ("log(gaps - 1)", "not a finite number for gaps = 1"),
        ("I(1 / (gaps - 1))", "not a finite number"),
        ("I(dose^dose^dose^dose)", "not a finite number"),
        ("dose^2", r"written I\(dose\^2\)"),
        ("dose + 5", "5 is arithmetic"),
        ("2 * dose", "2 is arithmetic"),
        ("dose:1", "1 is arithmetic"),
        ("(dose + year)^9", r"\^ takes 1 to 3, not 9"),
        ("dose / year", r"/ has its place inside I\(\)"),
        ("dose ~ year", "~ has its place"),
        ("dose year", "not well formed"),
        ("dose +", "not well formed"),
        ("(dose", "not well formed"),
        ("dose)", "not well formed"),
        ("I(dose", "a bracket is not closed"),
        ("I()", "contains no covariate"),
        ("I(3)", "contains no covariate"),
        ("I(dose year)", "is not arithmetic"),
        ("I(dose)(year)", "not well formed"),
        ("I((dose)(year))", "are arithmetic here"),
        ("I(dose:year)", r"may contain \+ - \* / \^ only"),
        ("factor(dose + year)", "takes the name of one column"),
        ("factor()", "takes the name of one column"),
        ("log(dose * 1e300 * 1e300)", "not a finite number"),
        ("*".join(["dose"] * 30), "too many products"),
        ("+".join(["dose"] * 200), "at most 500 characters"),
    ],
)
def test_what_has_no_meaning_is_refused_with_the_reason(formula, words):
    with pytest.raises(DesignError, match=words):
        design(formula, COVARIATES)


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os').system('id')",
        "__import__(dose)",
        "`dose`",
        "dose.__class__",
        "I(dose.real)",
        "I(dose.__class__)",
        "{dose}",
        "{__import__('os')}",
        "dose[0]",
        "I(dose[0])",
        "I(lambda: dose)",
        "I(dose if year else dose)",
        "I([dose for dose in year])",
        "I(exec(dose))",
        "I(eval(dose))",
        "exec(dose)",
        "np.log(dose)",
        "bs(dose, df=4)",
        "poly(dose, 3)",
        "scale(dose)",
        "hashed(dose)",
        "C(dose, contr.sum)",
        "Q('dose')",
        "I(dose := 1)",
        "I(dose == 1)",
        "I(dose < 1)",
        "I(dose, year)",
        "I(*dose)",
        "I(dose @ year)",
        "I(dose % 3)",
        "I(dose // 3)",
        "I(~dose)",
        "I(not dose)",
        "I('a' + dose)",
        "I(dose; year)",
        "I(dose)\n__import__('os')",
        "dose # comment",
        "dose | year",
        "dose %in% year",
        ".",
        "dose + .",
        "a=b",
        "v0",
        "v0[T.000001]",
        "I(c0)",
        "log(log(year) for year in dose)",
        "I(9**9)",
        "exp(dose)(dose)",
        "I(dose\\year)",
        "dose\x00",
        "ｅval(dose)",
    ],
)
def test_nothing_but_the_small_language_reaches_the_library(formula):
    with pytest.raises(DesignError):
        design(formula, COVARIATES)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*"+-*:^()/~.0123", "dose", "year", "setting", "I(", "factor(", "center(", "log("]
        ),
        max_size=14,
    ).map(" ".join)
)
def test_any_formula_gives_a_design_of_full_rank_or_words(formula):
    try:
        made = design(formula, COVARIATES)
    except DesignError:
        return
    assert made.x.shape == (8, len(made.names))
    assert np.isfinite(made.x).all()
    assert len(set(made.names)) == len(made.names)
    scaled = made.x / np.abs(made.x).max(axis=0)
    assert np.linalg.matrix_rank(scaled, tol=1e-13) == len(made.names)
    assert sorted(j for term in made.terms for j in term.columns) == [*range(len(made.names))]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_any_text_gives_a_design_or_words(formula):
    with contextlib.suppress(DesignError):
        design(formula, COVARIATES)


def test_new_rows_are_coded_like_those_of_the_model():
    made = design(
        "arm * I(dose - 4)", COVARIATES | {"arm": ["arm 9", "arm 9", "arm 10", "arm 10"] * 2}
    )
    again = made.rows({"arm": ["arm 9", "arm 10"], "dose": ["4", 5.5]})
    np.testing.assert_array_equal(again[:, 0], 1)
    assert made.names == ("intercept", "arm[arm 10]", "I(dose-4)", "arm[arm 10]:I(dose-4)")
    np.testing.assert_array_equal(again, [[1, 0, 0, 0], [1, 1, 1.5, 1.5]])
    np.testing.assert_array_equal(
        design("1", {}, size=3).rows({}),
        [[1]],
    )


def test_new_rows_that_the_model_knows_nothing_of_are_refused():
    made = design("arm + dose", COVARIATES)
    with pytest.raises(DesignError, match="arm has no level 'arm 3'"):
        made.rows({"arm": ["arm 3"], "dose": [1]})
    with pytest.raises(DesignError, match="needs a value of dose"):
        made.rows({"arm": ["arm 2"]})
    with pytest.raises(DesignError, match="one cell is empty"):
        made.rows({"arm": ["arm 2"], "dose": [""]})
    with pytest.raises(DesignError, match="'much' of dose is not a number"):
        made.rows({"arm": ["arm 2"], "dose": ["much"]})
    with pytest.raises(DesignError, match="differ in length"):
        made.rows({"arm": ["arm 2"], "dose": [1, 2]})


def test_lengths_must_fit():
    with pytest.raises(DesignError, match="differ in length"):
        design("dose", {"dose": ["1", "2"], "year": ["1"]})
    with pytest.raises(DesignError, match="differ in length"):
        design("dose", {"dose": ["1", "2"]}, labels=["a"])
    with pytest.raises(DesignError, match="no study has all covariates"):
        design("dose", {"dose": ["", ""]})
    assert design("1", {}, size=3).x.tolist() == [[1], [1], [1]]


@pytest.mark.parametrize("far", [0, 2000, 1e6, 1e9])
@pytest.mark.parametrize("scale", [1e-6, 1, 1e9])
def test_columns_far_from_0_or_of_another_unit_are_not_taken_for_constants(far, scale):
    x = np.column_stack([np.ones(6), scale * (far + np.array([1, 2, 3, 5, 4, 7.0]))])
    assert dependencies(x, ["intercept", "x"]) == []


def test_levels_may_be_any_text():
    odd = ["²", "٣", "1" * 6000, "a[b]:c", "\x00", "007", "{", "x"]
    made = design("odd", {"odd": odd})
    assert sorted(made.levels["odd"]) == sorted(odd)
    np.testing.assert_array_equal(made.rows({"odd": odd}), made.x)


def test_levels_that_differ_in_zeros_or_case_only_have_a_fixed_order():
    for cells in (["7", "007", "x", "a", "A"], ["A", "a", "x", "007", "7"]):
        assert design("g", {"g": cells}).levels["g"] == ("007", "7", "A", "a", "x")


def test_a_covariate_cannot_take_the_name_of_the_intercept():
    with pytest.raises(DesignError, match="needs another name"):
        design("intercept", {"intercept": ["1", "2", "3"]})


def test_natural_order():
    assert sorted(["100", "020", "3", "x12", "x9"], key=natural) == [
        "3",
        "020",
        "100",
        "x9",
        "x12",
    ]
    assert sorted(["10", "9", "2b", "2a", "b", "A"], key=natural) == [
        "2a", "2b", "9", "10", "A", "b",
    ]  # fmt: skip
