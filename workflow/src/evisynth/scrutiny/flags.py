"""The pooled estimate with and without the rows that the audit has found something about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evisynth.families import rows_for
from evisynth.records import RawRow
from evisynth.rows import BY_AUDIT
from evisynth.scrutiny.refit import Answer, Compute, refit
from evisynth.specification import ModelSpec

IN, OUT = "with the row as printed", "without the row"
DOUBTFUL = ("error", "warning")
"""Levels that count among all flagged rows; a note casts no doubt on a number."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One answer about flagged rows.

    Attributes
    ----------
    words : what was done.
    rows : positions of the rows that were put in or left out.
    findings : those that it is about; none where it is about all.
    """

    words: str
    answer: Answer
    rows: tuple[int, ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()


def flagged(
    rows: Sequence[RawRow],
    findings: Sequence[Mapping[str, Any]],
    compute: Compute,
    spec: ModelSpec,
) -> list[Scenario]:
    """What each row with findings costs, alone and all together.

    Findings about the same rows are one scenario. A row that an open error keeps out is put in
    as it is printed; a row that is pooled in spite of a finding, accepted or less grave, is
    left out.

    Parameters
    ----------
    rows : of the analysis; a row that is kept out by the audit alone has a reason that begins
        with `rows.BY_AUDIT`.
    findings : each with ``verdict``, ``level`` and ``rows``, positions in `rows`.
    """
    effects = rows_for(compute(rows), spec.family)
    known: dict[tuple[bool, ...], Answer] = {}

    def answer(included: Sequence[bool]) -> Answer:
        key = tuple(included)
        if key not in known:
            changed = [
                replace(row, included=used, reason="" if used else row.reason or "left out")
                for row, used in zip(rows, key, strict=True)
            ]
            known[key] = refit(compute(changed), spec)
        return known[key]

    now = [row.included for row in rows]
    pooled = {i for i, used in enumerate(effects.included) if used}
    kept_out = {i for i, row in enumerate(rows) if row.reason.startswith(BY_AUDIT)}
    alone: dict[tuple[str, tuple[int, ...]], list[Mapping[str, Any]]] = {}
    found, doubtful = [], set()
    for finding in findings:
        if finding["verdict"] != "inconsistent":
            continue
        about = set(finding["rows"])
        if finding["level"] in DOUBTFUL:
            doubtful |= about
        for words, chosen in ((IN, about & kept_out), (OUT, about & pooled)):
            if chosen:
                alone.setdefault((words, tuple(sorted(chosen))), []).append(finding)
    for (words, about_them), of_them in alone.items():
        used = words == IN
        changed = [used if i in about_them else one for i, one in enumerate(now)]
        said = words if len(about_them) == 1 else words.replace("the row", "the rows")
        found.append(Scenario(said, answer(changed), about_them, tuple(of_them)))
    for words, chosen, used in (
        ("all flagged rows in", doubtful & (kept_out | pooled), True),
        ("all flagged rows out", doubtful & (kept_out | pooled), False),
    ):
        if chosen:
            changed = [used if i in chosen else one for i, one in enumerate(now)]
            found.append(Scenario(words, answer(changed), tuple(sorted(chosen))))
    return found
