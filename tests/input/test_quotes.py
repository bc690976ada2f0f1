"""Quotes are word for word in the stored texts."""

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from evisynth.errors import InputError
from evisynth.quotes import check_quotes, main

TEXT = "Of 30 patients,\n  9 of 30\tresponded  (30%).\n"
ROOT = Path(__file__).parents[2]
SOURCES = ROOT.parent / "shared" / "sources"


@pytest.fixture
def stored(review):
    """The small review, the text of beta's report stored, and its folder of texts."""
    review.write("texts/beta.txt", TEXT)
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    review.change(
        "studies/beta.yaml", "id: b1,", f"id: b1, source: beta.txt, source_sha256: {digest},"
    )
    return review


def run(review):
    return check_quotes(review.folder / "studies", review.folder / "texts")


def failures(review):
    return [check for check in run(review) if check.verdict == "failed"]


def test_white_space_is_folded_on_both_sides(stored):
    verdicts = Counter(check.verdict for check in run(stored))
    assert verdicts == {"digest": 1, "verbatim": 1, "not checked": 3}


def test_a_report_without_a_stored_text_is_not_checked(stored):
    check = next(check for check in run(stored) if check.verdict == "not checked")
    assert check.report == "a1"
    assert "no stored text" in check.detail


@pytest.mark.parametrize(
    "quote", ["9 of 31 responded", "9 of 30 Responded", "9of 30 responded"]
)
def test_other_words_fail(stored, quote):
    stored.change("studies/beta.yaml", "9 of 30 responded", quote)
    (failure,) = failures(stored)
    assert failure.place == "results[1].quote"
    assert failure.line == 10
    assert repr(quote) in failure.detail


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ("    also: [{report: b1, quote: not there}]\n", "results[1].also[1].quote"),
        (
            "overlaps: [{with: alpha, kind: same_patients, certainty: likely, report: b1, "
            "quote: not there}]\n",
            "overlaps[1].quote",
        ),
        (
            "events_after_randomisation: [{what: x, from: all, to: all, n: 1, of: 2, "
            "report: b1, quote: not there}]\n",
            "events_after_randomisation[1].quote",
        ),
    ],
)
def test_every_quote_is_checked(stored, more, place):
    stored.change("studies/beta.yaml", "$", more)
    (failure,) = failures(stored)
    assert failure.place == place


@pytest.mark.parametrize(
    "entry",
    [
        "captions: [{label: Fig. 1, quote: not there}]",
        "references: [{title: x, quote: not there}]",
        "methods: [{about: survival, says: other, quote: not there}]",
        "claims: [{about: orr, quote: not there}]",
    ],
)
def test_what_is_kept_of_a_report_is_checked_too(stored, entry):
    stored.change("studies/beta.yaml", "id: b1,", f"id: b1, {entry},")
    (failure,) = failures(stored)
    assert failure.place == f"reports[1].{entry.partition(':')[0]}[1].quote"


def test_a_changed_text_fails(stored):
    stored.write("texts/beta.txt", TEXT + "!")
    (failure,) = failures(stored)
    assert failure.place == "reports[1].source"
    assert "another text" in failure.detail


def test_a_text_without_a_digest_fails(stored):
    text = stored.read("studies/beta.yaml")
    start = text.index(", source_sha256")
    stored.write("studies/beta.yaml", text[:start] + text[text.index(", kind") :])
    (failure,) = failures(stored)
    assert "no source_sha256" in failure.detail


def test_a_missing_text_fails_with_its_quotes(stored):
    (stored.folder / "texts" / "beta.txt").unlink()
    assert [failure.place for failure in failures(stored)] == [
        "reports[1].source",
        "results[1].quote",
    ]


@pytest.mark.parametrize("name", ["../table.csv", "/etc/passwd", "..", "a\\b", "sub/beta.txt"])
def test_the_name_of_a_text_does_not_lead_out_of_the_folder(stored, name):
    stored.change("studies/beta.yaml", "beta.txt", f"'{name}'")
    assert "no plain file name" in failures(stored)[0].detail


def test_mistakes_of_study_files_are_reported(stored):
    stored.change("studies/beta.yaml", "design: single_arm", "design: x")
    stored.write("studies/delta.yaml", "[")
    with pytest.raises(InputError) as caught:
        run(stored)
    assert len(caught.value.problems) == 2


def test_the_command(stored, capsys):
    folders = [str(stored.folder / "studies"), str(stored.folder / "texts")]
    assert main(folders) == 0
    assert "1 texts with the right digest, 1 quotes verbatim, 3 not checked" in (
        capsys.readouterr().out
    )
    stored.change("studies/beta.yaml", "9 of 30 responded", '"\\u202e9 of 31"')
    assert main(folders) == 1
    said = capsys.readouterr().out
    assert "studies/beta.yaml, line 10: results[1].quote" in said
    assert said.replace("\n", "").isprintable()
    stored.write("studies/beta.yaml", "")
    assert main(folders) == 1
    assert "an empty file" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([folders[0], "nowhere"])


def test_the_command_runs_as_a_module(stored):
    done = subprocess.run(
        [sys.executable, "-m", "evisynth.quotes", "studies", "texts"],
        cwd=stored.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(
    not SOURCES.is_dir(), reason=f"the texts of the reports are not here ({SOURCES})"
)
def test_the_quotes_of_the_shipped_studies():
    checks = check_quotes(ROOT / "data" / "studies", SOURCES)
    assert [str(check) for check in checks if check.verdict == "failed"] == []
    counts = Counter(check.verdict for check in checks)
    assert counts["digest"] == 5  # the news release is a report of two studies
    assert counts["verbatim"] > 250
