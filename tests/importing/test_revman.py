"""What is taken from RevMan's files, as which measure and model, and what is not."""

import math

import pytest
import yaml
from support.foreign import (
    bcg_rm5,
    csv_text,
    dich_data,
    dich_outcome,
    escaped,
    headline,
    import_,
    remarks,
    rm5,
    table,
    totals,
    trials,
)

from evisynth.project import load_project

COUNTS = [tuple(map(int, totals(trial))) for trial in trials()]


def mantel_haenszel_risk_ratio():
    """Mantel & Haenszel (1959), by hand."""
    above = sum(a * n2 / (n1 + n2) for a, n1, c, n2 in COUNTS)
    below = sum(c * n1 / (n1 + n2) for a, n1, c, n2 in COUNTS)
    return math.log(above / below)


def observed_and_variance(a, n1, c, n2):
    """O - E and V of Yusuf et al. (1985)."""
    n, events = n1 + n2, a + c
    return a - events * n1 / n, events * (n - events) * n1 * n2 / n**2 / (n - 1)


def peto_odds_ratio():
    parts = [observed_and_variance(*counts) for counts in COUNTS]
    return sum(o for o, _ in parts) / sum(v for _, v in parts)


def log_risk_ratios():
    return [
        (math.log(a / n1 * n2 / c), 1 / a - 1 / n1 + 1 / c - 1 / n2) for a, n1, c, n2 in COUNTS
    ]


def inverse_variance(pairs):
    return sum(y / v for y, v in pairs) / sum(1 / v for _, v in pairs)


def imported(text, tmp_path, capsys, *words, status=0):
    source = tmp_path / "review.rm5"
    source.write_text(text, encoding="utf-8")
    import_(capsys, source, tmp_path / "out", *words, status=status)
    return tmp_path / "out"


def config(folder):
    return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["analyses"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"METHOD": "MH", "RANDOM": "NO"}, mantel_haenszel_risk_ratio()),
        ({"METHOD": "PETO", "RANDOM": "NO", "EFFECT_MEASURE": "PETO_OR"}, peto_odds_ratio()),
        ({"METHOD": "IV", "RANDOM": "NO"}, inverse_variance(log_risk_ratios())),
    ],
)
def test_counts_are_pooled_as_revman_pools_them(attributes, expected, tmp_path, capsys):
    folder = imported(bcg_rm5(**attributes), tmp_path, capsys)
    assert headline(folder).estimate == pytest.approx(expected, rel=1e-12)


def test_random_effects_by_mantel_haenszel(tmp_path, capsys):
    attributes = {"METHOD": "MH", "RANDOM": "YES", "EFFECT_MEASURE": "OR"}
    folder = imported(bcg_rm5(**attributes), tmp_path, capsys)
    found = headline(folder)
    # the row revman5 of docs/presets.md, to the printed digits
    assert math.exp(found.estimate) == pytest.approx(0.4735, abs=5e-5)
    assert math.exp(found.ci_low) == pytest.approx(0.3246, abs=5e-5)
    assert math.exp(found.ci_high) == pytest.approx(0.6908, abs=5e-5)


def test_events_that_revman_swaps(tmp_path, capsys):
    folder = imported(bcg_rm5(SWAP_EVENTS="YES", METHOD="MH", RANDOM="NO"), tmp_path, capsys)
    swapped = [(n1 - a, n1, n2 - c, n2) for a, n1, c, n2 in COUNTS]
    above = sum(a * n2 / (n1 + n2) for a, n1, c, n2 in swapped)
    below = sum(c * n1 / (n1 + n2) for a, n1, c, n2 in swapped)
    assert headline(folder).estimate == pytest.approx(math.log(above / below), rel=1e-9)
    first = table(next(folder.glob("cmp*.csv")))[0]
    assert (first["ai"], first["events1"]) == ("119", "4")


def test_what_revman_prints_is_kept_beside(tmp_path, capsys):
    printed = {"EFFECT_SIZE": "0.49", "CI_START": "0.34", "CI_END": "0.70", "TAU2": "0.31"}
    folder = imported(bcg_rm5(**printed), tmp_path, capsys)
    said = "RevMan prints 0.49 [0.34, 0.70], tau2 0.31"
    assert [a["notes"] for a in config(folder).values()] == [[said]]
    assert said in [row["reason"] for row in remarks(folder)]


SUBGROUPS = "".join(
    f'<DICH_SUBGROUP ID="CMP-001.01.0{i}" NO="{i}"><NAME>{name}</NAME>{data}</DICH_SUBGROUP>'
    for i, name, data in (
        (1, "Early", "".join(map(dich_data, trials()[:4]))),
        (2, "Late, =1", "".join(map(dich_data, [trials()[0], *trials()[5:]]))),
    )
)


@pytest.mark.parametrize("target", ["table", "studies"])
def test_subtotals_only_are_analyses_of_their_own(target, tmp_path, capsys):
    text = rm5(dich_outcome(SUBGROUPS, TOTALS="SUB", METHOD="MH", RANDOM="NO"))
    folder = imported(text, tmp_path, capsys, "--to", target, "--design", "rct")
    names = list(config(folder))
    assert len(names) == 2
    found = headline(folder, names[0])
    assert found.k == 4
    above = sum(a * n2 / (n1 + n2) for a, n1, c, n2 in COUNTS[:4])
    below = sum(c * n1 / (n1 + n2) for a, n1, c, n2 in COUNTS[:4])
    assert found.estimate == pytest.approx(math.log(above / below), rel=1e-12)
    assert headline(folder, names[1]).k == 9


@pytest.mark.parametrize("target", ["table", "studies"])
def test_a_study_in_two_subgroups_is_pooled_and_said(target, tmp_path, capsys):
    text = rm5(dich_outcome(SUBGROUPS, METHOD="IV", RANDOM="NO"))
    folder = imported(text, tmp_path, capsys, "--to", target, "--design", "rct")
    effects = log_risk_ratios()
    both = [*effects[:4], effects[0], *effects[5:]]
    assert headline(folder).estimate == pytest.approx(inverse_variance(both), rel=1e-12)
    if target == "table":
        assert any("stands 2 times" in row["reason"] for row in remarks(folder))


def test_no_total_is_no_pooling(tmp_path, capsys):
    folder = imported(bcg_rm5(TOTALS="NO"), tmp_path, capsys)
    analysis = next(iter(config(folder).values()))
    assert (analysis["pool"], bool(analysis["why_not"])) == (False, True)


CONTINUOUS = """<CONT_OUTCOME ID="CMP-001.02" EFFECT_MEASURE="{measure}" RANDOM="NO">
<NAME>Weight</NAME><GROUP_LABEL_1>A</GROUP_LABEL_1><GROUP_LABEL_2>B</GROUP_LABEL_2>
<CONT_DATA STUDY_ID="STD-1" MEAN_1="5.0" SD_1="4.70" TOTAL_1="13" MEAN_2="6.5" SD_2="3.8"
 TOTAL_2="13"/>
<CONT_DATA STUDY_ID="STD-2" MEAN_1="4.9" SD_1="1.71" TOTAL_1="30" MEAN_2="6.1" SD_2="2.3"
 TOTAL_2="50"/></CONT_OUTCOME>"""
MEANS = [(5.0, 4.7, 13, 6.5, 3.8, 13), (4.9, 1.71, 30, 6.1, 2.3, 50)]


def standardised(m1, s1, n1, m2, s2, n2):
    """Hedges' g as Deeks & Higgins (2010) have it for Review Manager 5."""
    n = n1 + n2
    pooled = math.sqrt(((n1 - 1) * s1**2 + (n2 - 1) * s2**2) / (n - 2))
    g = (m1 - m2) / pooled * (1 - 3 / (4 * n - 9))
    return g, n / (n1 * n2) + g**2 / (2 * (n - 3.94))


def difference(m1, s1, n1, m2, s2, n2):
    return m1 - m2, s1**2 / n1 + s2**2 / n2


@pytest.mark.parametrize(("measure", "effect"), [("SMD", standardised), ("MD", difference)])
@pytest.mark.parametrize("target", ["table", "studies"])
def test_means(measure, effect, target, tmp_path, capsys):
    text = rm5(CONTINUOUS.format(measure=measure))
    folder = imported(text, tmp_path, capsys, "--to", target, "--design", "rct")
    expected = inverse_variance([effect(*numbers) for numbers in MEANS])
    assert headline(folder).estimate == pytest.approx(expected, rel=1e-9)
    path = (
        next(folder.glob("cmp*.csv"))
        if target == "table"
        else next(p for p in (folder / "studies").iterdir() if "4.70" in p.read_text())
    )
    assert "4.70" in path.read_text()


def generic(rows, measure, **attributes):
    words = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    data = "".join(
        f'<IV_DATA STUDY_ID="STD-{i}" '
        + " ".join(f'{key}="{value!r}"' for key, value in row.items())
        + "/>"
        for i, row in enumerate(rows, 1)
    )
    return rm5(
        f'<IV_OUTCOME ID="CMP-001.03" METHOD="IV" RANDOM="NO" CI_STUDY="95" {words}>'
        f"<NAME>Death</NAME><EFFECT_MEASURE>{measure}</EFFECT_MEASURE>{data}</IV_OUTCOME>"
    )


def ratio_row(y, se, *, entered):
    row = {
        "EFFECT_SIZE": math.exp(y),
        "CI_START": math.exp(y - 1.959964 * se),
        "CI_END": math.exp(y + 1.959964 * se),
        "SE": se,
    }
    return row | ({"ESTIMATE": y} if entered else {})


@pytest.mark.parametrize("entered", [True, False])
@pytest.mark.parametrize(
    ("name", "measure"), [("Hazard Ratio", "HR"), ("Rate ratio", "GEN"), ("Effect", "GEN")]
)
def test_ratios_with_a_standard_error_are_pooled_as_logarithms(
    name, measure, entered, tmp_path, capsys
):
    pairs = [(-0.2, 0.1), (0.3, 0.25), (0.05, 0.2)]
    text = generic([ratio_row(y, se, entered=entered) for y, se in pairs], name)
    folder = imported(text, tmp_path, capsys)
    assert next(iter(config(folder).values()))["measure"] == measure
    expected = inverse_variance([(y, se**2) for y, se in pairs])
    # RevMan's quantile has seven digits here, ours has all
    assert headline(folder).estimate == pytest.approx(expected, rel=1e-5)


def test_differences_with_a_standard_error_stay_as_they_are(tmp_path, capsys):
    pairs = [(-2.0, 1.0), (3.0, 2.5)]
    rows = [
        {"EFFECT_SIZE": y, "CI_START": y - 1.959964 * s, "CI_END": y + 1.959964 * s, "SE": s}
        for y, s in pairs
    ]
    folder = imported(generic(rows, "Mean ratio, adjusted"), tmp_path, capsys)
    expected = inverse_variance([(y, s**2) for y, s in pairs])
    assert headline(folder).estimate == pytest.approx(expected, rel=1e-12)


def test_observed_minus_expected(tmp_path, capsys):
    parts = [observed_and_variance(*counts) for counts in COUNTS]
    data = "".join(
        f'<IPD_DATA STUDY_ID="STD-{i}" O_E="{o!r}" VAR="{v!r}" EVENTS_1="{a}" TOTAL_1="{n1}" '
        f'EVENTS_2="{c}" TOTAL_2="{n2}"/>'
        for i, ((o, v), (a, n1, c, n2)) in enumerate(zip(parts, COUNTS, strict=True), 1)
    )
    outcome = (
        f'<IPD_OUTCOME ID="CMP-001.04" RANDOM="NO" TOTALS="YES"><NAME>Death</NAME>'
        f"<EFFECT_MEASURE>Hazard Ratio</EFFECT_MEASURE>{data}</IPD_OUTCOME>"
    )
    folder = imported(rm5(outcome), tmp_path, capsys)
    assert headline(folder).estimate == pytest.approx(peto_odds_ratio(), rel=1e-12)
    text = rm5(outcome.replace("Hazard Ratio", "Odd"))
    (tmp_path / "x.rm5").write_text(text)
    said = import_(capsys, tmp_path / "x.rm5", tmp_path / "no", status=2)
    assert "the effect measure Odd, unknown" in said


QUALITY = """<QUALITY_ITEMS><QUALITY_ITEM LEVEL="STUDY"><NAME>Blinding?</NAME>
<QUALITY_ITEM_DATA>
<QUALITY_ITEM_DATA_ENTRY STUDY_ID="STD-1" RESULT="NO"><DESCRIPTION><P>Open.</P></DESCRIPTION>
</QUALITY_ITEM_DATA_ENTRY></QUALITY_ITEM_DATA></QUALITY_ITEM></QUALITY_ITEMS>"""


def test_risk_of_bias_is_kept(tmp_path, capsys):
    text = rm5(dich_outcome("".join(map(dich_data, trials()))), QUALITY)
    folder = imported(text, tmp_path, capsys)
    assert table(folder / "risk_of_bias.csv") == [
        {"study": "Aronson 1948", "domain": "Blinding?", "judgement": "high risk",
         "words": "Open."}
    ]  # fmt: skip
    source = tmp_path / "review.rm5"
    import_(capsys, source, tmp_path / "s", "--to", "studies", "--design", "rct")
    study = yaml.safe_load((tmp_path / "s/studies/aronson-1948.yaml").read_text())
    judged = study["risk_of_bias"]["per_outcome"]
    assert list(judged.values()) == [{"Blinding?": "high risk"}]


def test_whatever_is_not_taken_is_said_with_its_place(tmp_path, capsys):
    other = (
        '<OTHER_OUTCOME ID="CMP-001.08"><NAME>In words</NAME></OTHER_OUTCOME>'
        '<DICH_OUTCOME ID="CMP-001.09" EFFECT_MEASURE="RR"><NAME>Empty</NAME></DICH_OUTCOME>'
        '<DICH_OUTCOME ID="CMP-001.10" EFFECT_MEASURE="XX"><NAME>Odd</NAME>'
        + dich_data(trials()[0])
        + "</DICH_OUTCOME>"
    )
    data = "".join(map(dich_data, trials()[:-1])) + '<DICH_DATA STUDY_ID="STD-99"/>'
    folder = imported(rm5(dich_outcome(data) + other), tmp_path, capsys, status=1)
    said = {(row["level"], row["place"], row["found"]) for row in remarks(folder)}
    assert said >= {
        ("lost", "CMP-001.01, STD-99", "STD-99"),
        ("lost", "CMP-001.08", "In words"),
        ("left", "CMP-001.09", "BCG v none: Empty"),
        ("lost", "CMP-001.10", "BCG v none: Odd"),
        ("left", "STD-13", "Comstock et al 1976"),
        ("left", "EXCLUDED_STUDIES", "Left out 1950"),
        ("left", "MAIN_TEXT", "text of the review"),
    }


def test_text_of_a_review_is_data_and_nothing_else(tmp_path, capsys):
    evil = '=cmd|"/c calc"!A1: {x} # & <b>'
    name = escaped(evil)
    text = bcg_rm5().replace("Tuberculosis", name).replace("Aronson 1948", name)
    folder = imported(text, tmp_path, capsys, "--to", "studies", "--design", "rct")
    analysis = next(iter(config(folder).values()))
    assert analysis["title"] == f"BCG v none: {evil}"
    tables = imported(text, tmp_path, capsys, "--force")
    first = table(next(tables.glob("cmp*.csv")))[0]
    assert first["study"] == f"'{evil}"
    # and as it was where an analysis reads it
    rows = next(iter(load_project(tables / "config.yaml").rows.values()))
    assert rows[0].study == evil


def test_a_file_of_data_rows_needs_its_settings(tmp_path, capsys):
    source = tmp_path / "CD1-data-rows.csv"
    source.write_text(
        csv_text([["Analysis group", "Analysis number", "Study"], ["1", "1", "A"]])
    )
    said = import_(capsys, source, tmp_path / "out", status=2)
    assert "no file overall-estimates-and-settings" in said
