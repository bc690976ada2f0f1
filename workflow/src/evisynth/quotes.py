"""Whether the quotes of study files stand in the stored texts of their reports, word for word.

Run ``python -m evisynth.quotes STUDIES SOURCES``: a folder of study files, a folder of texts.
"""

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evisynth.errors import InputError, Problem, echo, safe
from evisynth.evidence import study_files
from evisynth.studyfile import Report, StudyFile
from evisynth.validation import validate
from evisynth.yamltext import Document, Keys, read_text, read_yaml, show

Verdict = Literal["verbatim", "digest", "failed", "not checked"]


@dataclass(frozen=True, slots=True)
class QuoteCheck:
    """What became of one quote, or of one stored text.

    Attributes
    ----------
    file, line, place : where it stands.
    report : id of the report.
    verdict : ``verbatim`` (quote found), ``digest`` (text is the one that was extracted from),
        ``failed``, or ``not checked`` (the report has no stored text).
    detail : what failed, or why it was not checked.
    """

    file: str
    line: int | None
    place: str
    report: str
    verdict: Verdict
    detail: str = ""

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        return safe(f"{self.file}{line}: {self.place}: {self.detail or self.verdict}")


def check_quotes(studies: Path, sources: Path) -> list[QuoteCheck]:
    """Check every quote of the study files in `studies` against the texts in `sources`.

    A quote is verbatim if it occurs in the text after runs of white space became single spaces
    in both. The digest of every text is compared with ``source_sha256``.

    Raises
    ------
    InputError
        With every problem of the study files.
    """
    problems: list[Problem] = []
    checks: list[QuoteCheck] = []
    for path in study_files(studies):
        try:
            document = read_yaml(path, path.as_posix())
        except InputError as error:
            problems += error.problems
            continue
        content, found = validate(StudyFile, document)
        problems += found
        if content is not None:
            checks += _check_study(document, content, sources)
    if problems:
        raise InputError(problems)
    return checks


def _check_study(document: Document, content: StudyFile, sources: Path) -> list[QuoteCheck]:
    checks: list[QuoteCheck] = []
    texts: dict[str, str | None] = {}

    def judge(keys: Keys, report: str, verdict: Verdict, detail: str = "") -> None:
        line = document.line(keys)
        checks.append(QuoteCheck(document.file, line, show(keys), report, verdict, detail))

    for i, report in enumerate(content.reports):
        if report.source is None:
            continue
        texts[report.id], wrong = _source_text(report, sources)
        judge(("reports", i, "source"), report.id, "failed" if wrong else "digest", wrong)
    for keys, name, quote in _quotes(content):
        if name not in texts:
            why = "its report has no stored text" if name else "no report is named"
            judge(keys, name, "not checked", why)
            continue
        text = texts[name]
        if text is None:
            judge(keys, name, "failed", "its text cannot be used, see its report")
        elif _folded(quote) in text:
            judge(keys, name, "verbatim")
        else:
            judge(keys, name, "failed", f"{echo(quote)} does not stand in the text")
    return checks


def _quotes(content: StudyFile) -> Iterator[tuple[Keys, str, str]]:
    """Place, report and words of every quote."""
    for i, report in enumerate(content.reports):
        for key in ("captions", "references", "methods", "claims"):
            for j, entry in enumerate(getattr(report, key)):
                yield ("reports", i, key, j, "quote"), report.id, entry.quote
    for i, result in enumerate(content.results):
        yield ("results", i, "quote"), result.report, result.quote
        for j, also in enumerate(result.also):
            yield ("results", i, "also", j, "quote"), also.report, also.quote
    for i, move in enumerate(content.events_after_randomisation):
        yield ("events_after_randomisation", i, "quote"), move.report, move.quote
    for i, overlap in enumerate(content.overlaps):
        if overlap.quote is not None:
            yield ("overlaps", i, "quote"), overlap.report or "", overlap.quote


def _source_text(report: Report, sources: Path) -> tuple[str | None, str]:
    """Text of a report with white space folded, and what is wrong with it."""
    name = str(report.source)
    # the name comes from data: it must not lead out of the folder
    if Path(name).name != name or "\\" in name or name in (".", ".."):
        return None, f"{echo(name)} is no plain file name"
    try:
        text = read_text(sources / name, name)
        digest = hashlib.sha256((sources / name).read_bytes()).hexdigest()
    except InputError as error:
        return None, "; ".join(f"{name}: {problem.found}" for problem in error.problems)
    if report.source_sha256 is None:
        return _folded(text), f"{name} has no source_sha256; it is {digest}"
    if digest != report.source_sha256:
        return _folded(text), f"{name} is another text: its sha256 is {digest}"
    return _folded(text), ""


def _folded(text: str) -> str:
    return " ".join(text.split())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print counts and failures; 0 if there are none, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m evisynth.quotes", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("studies", type=Path, help="folder of study files")
    parser.add_argument("sources", type=Path, help="folder of the texts of the reports")
    options = parser.parse_args(arguments)
    for folder in (options.studies, options.sources):
        if not folder.is_dir():
            parser.error(f"{safe(str(folder))}: no such folder")
    try:
        checks = check_quotes(options.studies, options.sources)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    failures = [check for check in checks if check.verdict == "failed"]
    for check in failures:
        sys.stdout.write(f"{check}\n")
    counts = Counter(check.verdict for check in checks)
    sys.stdout.write(
        f"{counts['digest']} texts with the right digest, "
        f"{counts['verbatim']} quotes verbatim, "
        f"{counts['not checked']} not checked (no stored text), "
        f"{len(failures)} failures\n"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
