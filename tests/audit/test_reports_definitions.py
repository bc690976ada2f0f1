"""What a number is of."""

import pytest
from support.studies import failures, review, study

SPLIT = """\
arms:
  - {id: a, n: 7, treatment: x}
  - {id: b, n: 53, treatment: x}
  - {id: c, n: 7, treatment: x}
  - {id: all, n: 67, treatment: x, made_of: [a, b, c]}
splits: [{of: all, into: [a, b, c]}]
"""


def split(tmp_path, arms, whole=SPLIT):
    text = study(
        "one",
        f"  - outcome: orr\n    kind: crude_proportion\n    arms: {{{arms}}}\n"
        "    report: r\n    quote: x\n",
    )
    head, _, tail = text.partition("arms:\n")
    tail = tail[tail.index("results:") :]
    return review(tmp_path, head + whole + tail).studies[0]


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        ('a: {printed: "42.9%"}, b: {events: 19}', "42.9%: 3/7 of a, or 6/14 with c"),
        ('a: {printed: "35.7%"}, b: {events: 19}', "35.7%: no count of 7 of a, or 5/14 with c"),
        ('a: {printed: "42.9%", events: 3}, b: {events: 19}', None),
        ('a: {printed: "99.9%"}, b: {events: 19}', None),
    ],
)
def test_a_percentage_may_be_of_a_group_and_the_part_left_out(tmp_path, arms, says):
    found = failures("LEFT-OUT", split(tmp_path, arms))
    assert [check.recomputed for check in found] == [says] * bool(says)


def test_a_split_without_a_third_part_leaves_nobody_out(tmp_path):
    whole = SPLIT.replace("into: [a, b, c]", "into: [a, b], unknown: 7")
    arms = 'a: {printed: "42.9%"}, b: {events: 19}'
    assert not failures("LEFT-OUT", split(tmp_path, arms, whole))


MEDIAN = """\
  - id: %s
    outcome: pfs
    kind: median
    when: %s
    unit: months
    arms: {%s: {median: "%s"}}
    report: r
    quote: x
"""


@pytest.mark.parametrize(
    ("second", "count"),
    [
        (("b", "diagnosis to relapse", "old", "14"), 1),
        (("b", "diagnosis to event", "old", "14"), 0),
        (("b", "diagnosis to relapse", "old", "15"), 0),
    ],
)
def test_one_median_has_one_definition(tmp_path, second, count):
    results = MEDIAN % ("a", "diagnosis to event", "new", "14") + MEDIAN % second
    found = review(tmp_path, study("one", results)).studies[0]
    assert len(failures("DEFINITION", found)) == count


@pytest.mark.parametrize(
    ("quote", "count"),
    [
        ("44% had progression-free time", 1),
        ("44% responded", 0),
        ("the response, not the progression-free time", 0),
    ],
)
def test_the_words_of_a_probability_name_its_outcome(tmp_path, quote, count):
    result = (
        '  - outcome: orr\n    kind: km_probability\n    arms: {new: {printed: "44%"}}\n'
        f"    report: r\n    quote: {quote}\n"
    )
    assert len(failures("OUTCOME-LABEL", review(tmp_path, study("one", result)))) == count
