"""Conclusions against numbers, names of statistics and of genes."""

import pytest
from support.studies import checks, failures, review, study

CLAIMS = """\
  - id: r
    kind: journal_article
    claims: [{about: orr, quote: "%s"}]
  - {id: news, kind: press_release}
"""


def material(tmp_path, claim, result, design="rct"):
    text = f"  - outcome: orr\n{result}    report: r\n    quote: x\n"
    reports = CLAIMS % claim
    return review(tmp_path, study("one", text, reports=reports, design=design)).studies[0]


def counts(new, old):
    return f"    arms: {{new: {{events: {new}}}, old: {{events: {old}}}}}\n"


SURVIVAL = """\
    kind: km_probability
    arms: {new: {printed: "44%"}, old: {printed: "27%"}}
"""
RATIO = """\
    kind: risk_ratio
    contrast: {numerator: new, denominator: old}
    estimate: "1.5"
    ci: ["%s", "2.8"]
"""


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (counts(8, 3), "8/20 v 3/18, risk ratio 2.40 (0.75 to 7.69), Fisher's exact p 0.16"),
        (counts(15, 3), None),
        (counts(8, 3) + '    p: ".17"\n', "printed p .17"),
        (RATIO % "0.83", "interval 0.83 to 2.8 holds 1"),
        (RATIO % "1.1", None),
        ('    kind: p_value\n    p: "0.053"\n', "printed p 0.053"),
        ('    kind: p_value\n    p: "<.001"\n', None),
        ('    kind: p_value\n    p: "> 0.01"\n', "printed p > 0.01"),
        (SURVIVAL, "44% v 27%: no interval, no p-value"),
    ],
)
def test_a_claim_needs_a_comparison_that_excludes_chance(tmp_path, result, says):
    found = failures("CLAIM-V-CI", material(tmp_path, "it improved the response", result))
    assert len(found) == bool(says)
    assert all(says in check.recomputed for check in found)


@pytest.mark.parametrize(
    "claim", ["we found no significant difference", "20 patients responded", "not improved"]
)
def test_words_that_claim_nothing_are_no_finding(tmp_path, claim):
    assert not checks("CLAIM-V-CI", material(tmp_path, claim, counts(8, 3)))


def test_a_single_arm_does_not_compare(tmp_path):
    result = "    arms: {new: {events: 5, n: 13}}\n"
    one = material(tmp_path, "it can benefit patients", result, design="single_arm")
    assert not checks("CLAIM-V-CI", one)
    (check,) = failures("SINGLE-ARM", one)
    # Clopper and Pearson's interval of 5 of 13, as R's binom.test gives it
    assert "13.9% to 68.4%" in check.recomputed


def test_a_single_arm_that_only_describes_is_no_finding(tmp_path):
    result = "    arms: {new: {events: 5, n: 13}}\n"
    one = material(tmp_path, "five patients responded", result, design="single_arm")
    assert not checks("SINGLE-ARM", one)


@pytest.mark.parametrize(
    ("old", "verdict"),
    [
        ("events: 3", "inconsistent"),
        ("events: 0", "consistent"),
        ('printed: "9%"', "undecided"),
    ],
)
def test_all_means_all(tmp_path, old, verdict):
    result = f"    arms: {{new: {{events: 8}}, old: {{{old}}}}}\n"
    (check,) = checks("LOGIC", material(tmp_path, "All survivors received new", result))
    assert check.verdict == verdict


@pytest.mark.parametrize(
    ("quote", "verdicts"),
    [
        ("an average of 11 months", ["inconsistent"]),
        ("a mean of 11.1 months", ["inconsistent"]),
        ("a median of 11 months", ["consistent"]),
        ("an average of 12 months", []),
    ],
)
def test_a_median_is_no_average(tmp_path, quote, verdicts):
    result = (
        '    kind: median\n    arms: {new: {median: "11.1"}}\n'
        f"    also: [{{report: news, quote: {quote}}}]\n"
    )
    found = checks("STATISTIC", material(tmp_path, "x", result))
    assert [check.verdict for check in found] == verdicts


@pytest.mark.parametrize(
    ("category", "found"), [("NMYC amplified", ["NMYC"]), ("MYCN amplified", [])]
)
def test_other_names_of_a_gene(tmp_path, category, found):
    one = material(tmp_path, "x", counts(8, 3) + f"    category: {category}\n")
    assert [check.printed.split()[0] for check in failures("SYNONYM", one)] == found


@pytest.mark.parametrize(
    ("low", "high", "words", "verdicts"),
    [
        ("0.50", "1.28", "significantly longer", ["inconsistent"]),
        ("0.70", "0.91", "significantly longer", ["consistent"]),
        ("0.50", "1.28", "not significantly longer", []),
        ("0.50", "1.28", "longer", []),
    ],
)
def test_a_quote_that_says_significant_is_held_against_its_own_numbers(
    tmp_path, low, high, words, verdicts
):
    text = (
        "  - outcome: orr\n    kind: hazard_ratio\n"
        "    contrast: {numerator: new, denominator: old}\n"
        f'    estimate: "0.80"\n    ci: ["{low}", "{high}"]\n    report: r\n'
        f"    quote: survival was {words}, 0.80 ({low} to {high})\n"
    )
    found = review(tmp_path, study("one", text, design="rct")).studies[0]
    assert [check.verdict for check in checks("CLAIM-V-CI", found)] == verdicts
