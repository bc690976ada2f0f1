"""Ranges against categories, sizes of one label, units of analysis, text layers."""

import pytest
from support.materials import checks, failures, level, result, study

from evisynth.audit.sizes import effective


def ages(below, between, above, **summary):
    def group(name, n, **limits):
        limits = {"of": "age"} | limits
        more = {"outcome": "age_group", "category": f"Age: {name}", "limits": limits}
        return result(name.replace(" ", "-"), {"all": {"events": n}}, **more)

    return study(
        {"all": 49},
        [
            result("age", {"all": summary}, outcome="age", kind="median"),
            group("below 18", below, high="18"),
            group("18 to 60", between, low="18", high="60"),
            group("60 and more", above, low="60"),
        ],
    )


@pytest.mark.parametrize(
    ("counts", "summary", "says"),
    [
        ((10, 31, 8), {"range": ["19", "51"]}, "10 are below 18 and 8 are 60 and more"),
        ((0, 49, 0), {"range": ["19", "51"]}, None),
        ((10, 31, 8), {"range": ["2", "71"]}, None),
        ((10, 39, 0), {"range": ["18", "60"]}, None),  # bounds belong to either side
        ((0, 41, 8), {"range": ["2", "71"]}, "2 is an extreme, but nobody is in below 18"),
        ((10, 31, 8), {"median": "37", "iqr": ["19", "51"]}, None),
        ((30, 11, 8), {"median": "37"}, "30 of 49 are in categories below 37"),
        ((10, 11, 28), {"median": "37"}, "28 above: it is not the median"),
        ((10, 31, 8), {"median": "37", "iqr": ["30", "70"]}, "not the third quartile"),
        ((15, 31, 3), {"iqr": ["30", "51"]}, "not the first quartile"),
    ],
)
def test_ranges_and_quantiles_fit_the_categories_that_people_are_in(counts, summary, says):
    found = failures("RANGE-V-CAT", ages(*counts, **summary))
    assert bool(found) == bool(says)
    for check in found:
        assert says in check.explanation
        assert check.place.results == ("age",)
        assert level("RANGE-V-CAT", check) == "error"


def test_without_limits_there_is_nothing_to_check():
    one = result("age", {"all": {"range": ["19", "51"]}}, kind="median")
    assert not checks("RANGE-V-CAT", study({"all": 49}, [one]))


def labelled(name, events, category, printed=None, **more):
    cell = {"events": events} | ({"printed": printed} if printed else {})
    return result(name, {"all": cell}, outcome="treatment", category=category, **more)


def test_one_label_with_two_counts_is_a_warning_and_percentages_tell_which_fits():
    results = [
        labelled("text", 31, "Immunotherapy: any", "48%"),
        labelled("legend", 32, "immunotherapy:  any (legend of Fig. 2)"),
    ]
    found = failures("N-CONSISTENCY", study({"all": 67, "chemo": 65}, results))
    assert [level("N-CONSISTENCY", check) for check in found] == ["warning"] * 2
    both, denominator = found
    assert set(both.place.results) == {"text", "legend"}
    assert both.recomputed == "48% of 67 fits 32"
    assert denominator.explanation == "48% is 31 of 65 (chemo), not of 67, or 32 of 67"


@pytest.mark.parametrize(
    "other",
    [
        {"category": "Maintenance"},
        {"when": "at entry"},
        {"subgroup": "first relapse"},
        {"outcome": "procedure"},
    ],
)
def test_other_labels_times_and_subgroups_may_have_other_counts(other):
    results = [labelled("a", 31, "Any"), labelled("b", 32, "Any") | other]
    assert not failures("N-CONSISTENCY", study({"all": 67}, results))


def test_a_superseded_report_may_have_another_count():
    reports = [
        {"id": "r", "kind": "journal_article"},
        {"id": "old", "kind": "conference_abstract", "superseded_by": "r"},
    ]
    results = [labelled("a", 31, "Any"), labelled("b", 22, "Any", report="old")]
    assert not failures("N-CONSISTENCY", study({"all": 67}, results, reports=reports))


def test_a_percentage_that_its_own_n_or_no_arm_explains_is_no_denominator():
    results = [labelled("a", 31, "A", "46.3%"), labelled("b", 31, "B", "46.2%")]
    # 46.2% is 31 of 67 cut off; 99.9% is of nobody
    results.append(labelled("c", 31, "C", "99.9%"))
    assert not failures("N-CONSISTENCY", study({"all": 67, "chemo": 65}, results))


def test_responses_of_one_arm_at_one_time_are_of_one_n():
    def response(name, n, **more):
        return result(name, {"all": {"events": 3, "n": n}}, outcome=name, **more)

    [check] = failures(
        "N-CONSISTENCY", study({"all": 70}, [response("cr", 66), response("pr", 65)])
    )
    assert check.explanation == "responses of one arm at one time are of 65 and 66"
    later = response("pr", 65, when="later")
    assert not failures("N-CONSISTENCY", study({"all": 70}, [response("cr", 66), later]))


def episodes(n=67, clusters=49, evaluated=66, use=True):
    arm = {"id": "all", "n": n, "unit": "episodes", "clusters": clusters, "treatment": "x"}
    why = {} if use else {"use": False, "why_not": "x"}
    return study([arm], [result("orr", {"all": {"events": 16, "n": evaluated}}, **why)])


def test_episodes_counted_as_independent_show_their_effective_number():
    [check] = failures("UNIT", episodes())
    assert check.printed == "67 episodes of 49 patients"
    assert check.recomputed == "effective n of 66: 59 at ICC 0.3, 48 at ICC 1"
    assert level("UNIT", check) == "warning"
    assert effective(67, 67, 49, 1) == pytest.approx(49)
    assert effective(67, 67, 49, 0) == 67


def test_one_episode_per_patient_passes_and_an_unknown_number_is_undecided():
    assert [c.verdict for c in checks("UNIT", episodes(44, 44, 44))] == ["consistent"]
    assert [c.verdict for c in checks("UNIT", episodes(clusters=None))] == ["undecided"]
    assert not checks("UNIT", episodes(clusters=None, use=False))


def test_an_arm_has_no_more_patients_than_the_study():
    results = [result("orr", {"all": {"events": 16}})]
    large = study({"all": 67}, results, population={"patients": 49})
    [check] = failures("UNIT", large)
    assert check.explanation == "all has 67 patients, the study 49"
    assert not failures("UNIT", study({"all": 49}, results, population={"patients": 49}))


def row(name, quote, events, percent, report="r"):
    cell = {"printed": percent} | ({} if events is None else {"events": events})
    more = {"outcome": "characteristic", "unit": "per cent", "category": name}
    return result(name, {"all": cell}, quote=quote, **more)


def test_a_row_that_the_text_layer_repeats_with_misread_letters_is_noted():
    rows = [row("male", "Male 20 40.8", 20, "40.8"), row("odd", "iviale 20 40.6", None, "40.6")]
    [check] = failures("TEXT-LAYER", study({"all": 49}, rows))
    assert check.place.results == ("odd",)
    assert "'iviale' looks like 'Male'" in check.explanation
    assert level("TEXT-LAYER", check) == "note"


@pytest.mark.parametrize(
    "quote",
    [
        "Female 29 59.3",  # another label and other numbers
        "Male 20 40.6",  # the same label: another table
        "iviale 21 40.6",  # two numbers differ
    ],
)
def test_rows_with_other_labels_or_numbers_are_no_copies(quote):
    numbers = quote.split()[-2:]
    rows = [row("male", "Male 20 40.8", 20, "40.8"), row("odd", quote, None, numbers[1])]
    assert not failures("TEXT-LAYER", study({"all": 49}, rows))


@pytest.mark.parametrize(
    ("quote", "merged"),
    [
        ("No Unknown 19 12 38.8 24.5", True),
        ("Absence 19 15 38.8 Unknown 15 30.6", True),
        ("No 19 38.8", False),
        ("No 19 38.8 2 compartments", False),  # the number of the next label
        ("Grade 3 19 38.8", False),
        ("given to 19 patients (38.8)", False),
    ],
)
def test_rows_with_more_numbers_than_columns_are_noted(quote, merged):
    found = failures("TEXT-LAYER", study({"all": 49}, [row("no", quote, 19, "38.8")]))
    assert bool(found) == merged
