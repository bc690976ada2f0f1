"""Rows recomputed from their own numbers: clean tables pass, planted mistakes are found."""

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.auditing import found, kinds, table

from evisynth.audit.expected import SOURCES
from evisynth.audit.material import Review, TableMaterial
from evisynth.audit.registry import RULES
from evisynth.audit.run import audit
from evisynth.conversions import FIELDS as CONVERTED
from evisynth.inputs import INPUTS
from evisynth.menus import FIELDS
from evisynth.printed import parse_printed

DATA = Path(__file__).parents[1] / "data"
COUNTS = {"ai": "ai", "n1i": "n1i", "ci": "ci", "n2i": "n2i"}
MEANS = {name: name for name in ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")}
TABLES = [
    ("anand1999", "OR", COUNTS),
    ("egger2001", "OR", COUNTS),
    ("hine1989", "RD", COUNTS),
    ("li2007", "OR", COUNTS),
    ("linde2005", "RR", {**COUNTS, "ni": "ni"}),
    ("nielweise2007", "OR", COUNTS),
    ("yusuf1985", "PETO", COUNTS),
    ("bornmann2007", "OR", {"ai": "waward", "n1i": "wtotal", "ci": "maward", "n2i": "mtotal"}),
    ("collins1985a", "OR", {"ai": "b_xti", "n1i": "nti", "ci": "b_xci", "n2i": "nci"}),
    ("vanhowe1999", "OR", {"ai": "non_pos", "bi": "non_neg", "ci": "cir_pos", "di": "cir_neg"}),
    ("viechtbauer2021", "OR", {"ai": "xTi", "n1i": "nTi", "ci": "xCi", "n2i": "nCi"}),
    ("fine1993", "OR", {"ai": "e1i", "n1i": "nei", "ci": "c1i", "n2i": "nci"}),
    ("curtis1998", "ROM", MEANS),
    ("curtis1998", "SMD", MEANS),
    *(
        (
            "hackshaw1998",
            measure,
            {"estimate": "or", "ci_low": "or_lb", "ci_high": "or_ub", "yi": "yi", "vi": "vi"},
        )
        for measure in ("HR", "GEN", "")
    ),
    ("raudenbush1985", "SMD", {"yi": "yi", "vi": "vi", "n1i": "n1i", "n2i": "n2i"}),
    ("knapp2017", "SMD", {"yi": "yi", "vi": "vi", "n1i": "n_sz", "n2i": "n_hc"}),
    ("assink2016", "GEN", {"yi": "yi", "vi": "vi"}),
    ("berkey1998", "GEN", {"yi": "yi", "vi": "vi", "ni": "ni"}),
    ("ishak2007", "GEN", {"yi": "y1i", "vi": "v1i"}),
    ("konstantopoulos2011", "GEN", {"yi": "yi", "vi": "vi"}),
    ("lopez2019", "GEN", {"yi": "diff", "sei": "se", "ni": "n"}),
    ("mcdaniel1994", "ZCOR", {"ri": "ri", "ni": "ni"}),
    ("nielweise2008", "IRR", {"x1i": "x1i", "t1i": "t1i", "x2i": "x2i", "t2i": "t2i"}),
    ("pritz1997", "PLO", {"xi": "xi", "ni": "ni"}),
    ("riley2003", "HR", {"yi": "yi", "vi": "vi", "sei": "sei"}),
    ("aloe2013", "PCOR", {"ti": "tval", "ni": "n", "mi": "preds"}),
]


def read(name: str, measure: str, columns: dict[str, str]) -> TableMaterial:
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = [{f: row[c] for f, c in columns.items()} for row in csv.DictReader(file)]
    return table(rows, measure)


@pytest.mark.parametrize(("name", "measure", "columns"), TABLES)
def test_no_error_and_few_warnings_in_published_tables(name, measure, columns):
    clean = read(name, measure, columns)
    findings = found(clean)
    assert [f for f in findings if f.level == "error"] == []
    assert len({f.check.place.results for f in findings if f.level == "warning"}) <= 0.05 * max(
        len(clean.rows), 20
    )


def effect(measure: str, cells: dict[str, str]) -> tuple[float, float]:
    one = next(SOURCES[measure]({k: parse_printed(v) for k, v in cells.items()}))
    return one.value, one.ses[0]


def test_effects_of_counts_are_those_of_the_bcg_trials():
    # Aronson 1948: log risk ratio -0.8893, variance 0.3256 (help page of metafor's escalc)
    cells = {"ai": "4", "bi": "119", "ci": "11", "di": "128"}
    value, se = effect("RR", cells)
    assert (round(value, 4), round(se**2, 4)) == (-0.8893, 0.3256)
    value, se = effect("OR", cells)
    assert value == pytest.approx(math.log(4 * 128 / (119 * 11)), rel=1e-12)
    assert se**2 == pytest.approx(1 / 4 + 1 / 119 + 1 / 11 + 1 / 128, rel=1e-12)


def test_effects_of_means_are_those_of_the_definition():
    cells = {"m1i": "30", "sd1i": "22.5", "n1i": "60", "m2i": "25", "sd2i": "20", "n2i": "50"}
    assert effect("MD", cells) == pytest.approx((5, math.sqrt(22.5**2 / 60 + 20**2 / 50)))
    pooled = math.sqrt((59 * 22.5**2 + 49 * 20**2) / 108)
    correction = math.gamma(54) / (math.sqrt(54) * math.gamma(53.5))  # Hedges (1981), eq. 6e
    g, se = effect("SMD", cells)
    assert g == pytest.approx(correction * 5 / pooled, rel=1e-10)
    assert se**2 == pytest.approx(1 / 60 + 1 / 50 + g**2 / 220, rel=1e-10)


COUNTED = [(9, 135, 23, 135), (4, 56, 14, 74), (16, 200, 32, 200), (10, 66, 20, 69),
           (6, 151, 12, 125), (27, 300, 45, 295), (12, 97, 15, 93), (90, 1159, 118, 1157),
           (21, 225, 28, 230)]  # fmt: skip


def extraction(measure: str = "OR") -> list[dict[str, str]]:
    """Trials as a paper prints them: counts, percentages, ratio, interval, p-value."""
    rows = []
    for a, n1, c, n2 in COUNTED:
        log = math.log(a * (n2 - c) / (c * (n1 - a)))
        se = math.sqrt(1 / a + 1 / (n1 - a) + 1 / c + 1 / (n2 - c))
        if measure == "RR":
            log = math.log(a * n2 / (c * n1))
            se = math.sqrt(1 / a - 1 / n1 + 1 / c - 1 / n2)
        bounds = [f"{math.exp(log + sign * 1.96 * se):.2f}" for sign in (-1, 1)]
        p = math.erfc(abs(log) / se / math.sqrt(2))
        rows.append(
            {
                "ai": str(a),
                "n1i": str(n1),
                "percent1i": f"{100 * a / n1:.1f}",
                "ci": str(c),
                "n2i": str(n2),
                "percent2i": f"{100 * c / n2:.1f}",
                "estimate": f"{math.exp(log):.2f}",
                "ci_low": bounds[0],
                "ci_high": bounds[1],
                "pval": f"{p:.3f}" if p >= 0.001 else "<0.001",
            }
        )
    return rows


def inverse(cells: dict[str, str]) -> dict[str, str]:
    names = {"estimate": "estimate", "ci_low": "ci_high", "ci_high": "ci_low"}
    return {new: f"{1 / float(cells[old]):.2f}" for new, old in names.items()}


# Kind of mistake, what it does to a row, what the finding says
MISTAKES = {
    "transposed digits": (lambda c: {"ai": c["ai"][::-1]}, "digits exchanged"),
    "wrong denominator": (lambda c: {"n1i": str(int(c["n1i"]) + 40)}, ""),
    "log not taken back": (
        lambda c: {
            k: f"{math.log(float(c[k])):.2f}" for k in ("estimate", "ci_low", "ci_high")
        },
        "it is the logarithm",
    ),
    "inverted contrast": (inverse, "inverted contrast"),
    "wrong level": (
        lambda c: {
            k: f"{float(c['estimate']) * (float(c[k]) / float(c['estimate'])) ** 0.8392:.2f}"
            for k in ("ci_low", "ci_high")
        },
        "a 90% interval",
    ),
    "swapped arms": (
        lambda c: {"ai": c["ci"], "n1i": c["n2i"], "ci": c["ai"], "n2i": c["n1i"]},
        "or the arms",
    ),
    "percentage as count": (lambda c: {"ai": c["percent1i"].partition(".")[0]}, ""),
    "displaced point": (lambda c: {"n2i": c["n2i"] + "0"}, "factor of ten"),
    "wrong column": (lambda c: {"ci": c["n1i"]}, ""),
}


@pytest.mark.parametrize("measure", ["OR", "RR"])
@pytest.mark.parametrize("kind", MISTAKES)
def test_a_planted_mistake_is_an_error_on_its_row_and_nowhere_else(kind, measure):
    clean = extraction(measure)
    assert found(table(clean, measure)) == []
    change, words = MISTAKES[kind]
    row = 7  # 90/1159 v 118/1157
    rows = [{**cells, **change(cells)} if i == row else cells for i, cells in enumerate(clean)]
    findings = found(table(rows, measure))
    assert {f.check.place.results for f in findings} == {("row 8",)}
    assert "error" in {f.level for f in findings}
    assert any(words in f.check.explanation for f in findings)


def test_an_adjusted_ratio_beside_counts_is_no_error():
    rows = [
        {**cells, "estimate": f"{float(cells['estimate']) * factor:.2f}"}
        for cells, factor in zip(
            extraction(), (1.1, 0.93, 1.07, 0.9, 1.12, 0.94, 1.06, 1.04, 0.95), strict=True
        )
    ]
    for cells in rows:
        for name in ("ci_low", "ci_high", "pval"):
            del cells[name]
    assert "error" not in {f.level for f in found(table(rows, "OR"), "RECOMPUTED")}


def test_variance_and_standard_error_are_one_number():
    assert found(table([{"yi": "0.2", "sei": "0.67", "vi": "0.4489"}])) == []
    assert found(table([{"yi": "0.2", "sei": "0.67", "vi": "0.45"}])) == []
    assert kinds(found(table([{"yi": "0.2", "sei": "0.67", "vi": "0.67"}]))) == {
        ("RECOMPUTED", "error")
    }


def test_a_logarithm_that_was_not_taken_is_named():
    rows = [
        {"yi": f"{math.log(x):.3f}", "estimate": f"{x:.2f}"}
        for x in (0.55, 0.81, 1.32, 2.4, 0.93)
    ]
    assert found(table(rows, "HR")) == []
    rows[3]["yi"] = "2.400"
    (finding,) = found(table(rows, "HR"), "RECOMPUTED")
    assert finding.level == "error"
    assert "the logarithm was not taken" in finding.check.explanation
    assert finding.check.place.results == ("row 4",)


def test_a_displaced_point_and_a_wrong_sign_stand_out_in_a_table_without_other_columns():
    rows = read("raudenbush1985", "SMD", {"yi": "yi", "vi": "vi", "n1i": "n1i", "n2i": "n2i"})
    cells = [dict(row[3]) for row in rows.rows]
    assert not [f for f in found(table(cells, "SMD")) if f.rule == "OUTLIER"]
    cells[4]["vi"] = f"{float(cells[4]['vi']) * 10:g}"
    assert {f.check.place.results for f in found(table(cells, "SMD"), "OUTLIER")} == {
        ("row 5",)
    }


CELLS = st.sampled_from(
    ["0", "1", "-1", "0.0", "1e300", "1e-300", "-3.5", "<0.001", ">5", "NA", "", "abc", "50%",
     "0.5", ".5", "7", "12", "1.2e-3", "99999999999999999999", "5e-324", "<0", "−2",
     "1·5", "0.95"]
)  # fmt: skip
NAMES = sorted({*FIELDS, *CONVERTED, "percenti", "percent1i", "percent2i"})
USUAL = ["ai", "bi", "ci", "di", "n1i", "n2i", "m1i", "m2i", "sd1i", "sd2i", "yi", "vi", "sei",
         "estimate", "ci_low", "ci_high", "ci_level", "pval", "xi", "ni", "ri"]  # fmt: skip


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.dictionaries(st.sampled_from(USUAL), CELLS, min_size=4),
            st.dictionaries(st.sampled_from(NAMES), CELLS, min_size=3, max_size=12),
        ),
        min_size=1,
        max_size=9,
    ),
    st.sampled_from(["", *INPUTS]),
)
def test_no_cells_whatever_stop_the_audit(rows, measure):
    for finding in found(table(rows, measure)):
        assert finding.check.explanation
        assert finding.check.action
        assert "nan" not in finding.check.recomputed


def test_exact_intervals_among_others_are_no_errors():
    clean = extraction("OR")
    # 5/6 v 2/12: conditional estimate and exact interval, two-sided Fisher test
    exact = {"ai": "5", "n1i": "6", "ci": "2", "n2i": "12", "estimate": "19.21",
             "ci_low": "1.30", "ci_high": "1295.30", "pval": "0.013"}  # fmt: skip
    levels = {f.level for f in found(table([*clean, exact], "OR"))}
    assert "error" not in levels


def test_two_studies_with_the_same_few_counts_are_no_copies():
    row = {"xi": "8", "ni": "15", "estimate": "0.533", "ci_low": "0.281", "ci_high": "0.786"}
    others = [{**row, "xi": str(i), "estimate": f"{i / 15:.3f}"} for i in range(4, 8)]
    chosen = {"DUP-RECORD": RULES["DUP-RECORD"]}
    report = audit(Review(None, (), (table([row, row, *others], "PR"),)), rules=chosen)
    assert ("error", "inconsistent") not in {
        (f.level, f.check.verdict) for f in report.findings
    }
