"""What one study gives to one analysis; free of numpy, so cheap to import."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

BY_AUDIT = "audit, "
"""How the reason of a row begins that the audit keeps out of pooling."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """What one study gives to one analysis, before any effect size is computed.

    Attributes
    ----------
    study, label : id and name to print; text from data.
    numbers : raw inputs by the field's names (``xi ni``, ``ai n1i ci n2i``,
        ``m1i sd1i n1i ...``, ``yi vi``, ``estimate ci_low ci_high``); nan where not given.
    arms : ``study/arm`` of every arm that these numbers count.
    cluster : set of rows that share patients; by default the study.
    covariates : other columns that the analysis carries along, as text.
    included, reason : False with the reason where the row is shown but not pooled.
    notes : what was done to it (contrast inverted, ...).
    place : file and line, or file and row.
    printed : the number as its report prints it, for readers of rows that cannot be plotted.
    given : the numbers before any was derived, by the field's names; empty where none was.
    spans : lowest and highest value that rounding may have made the printed one, by field of
        `given`, or of `numbers` where that is empty.
    choices : the counts that fit a printed percentage, where several do, by field.
    divided : whether an arm is divided between comparisons, so that counts may be fractions.
    """

    study: str
    label: str
    numbers: Mapping[str, float]
    arms: tuple[str, ...] = ()
    cluster: str = ""
    covariates: Mapping[str, str] = field(default_factory=dict)
    included: bool = True
    reason: str = ""
    notes: tuple[str, ...] = ()
    place: str = ""
    report: str = ""
    quote: str = ""
    printed: str = ""
    given: Mapping[str, float] = field(default_factory=dict)
    spans: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    choices: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    divided: bool = False


def counted(
    reports: Mapping[str, Sequence[int]], studies: Iterable[str]
) -> dict[str, int | None]:
    """Number of studies and of their reports; None for reports if a study has no file.

    Parameters
    ----------
    reports : of each study that has a file: reports that repeat no other, and those that do.
    """
    distinct = set(studies)
    known = distinct <= reports.keys() and bool(reports)
    return {
        "studies": len(distinct),
        "reports": sum(reports[study][0] for study in distinct) if known else None,
        "duplicate_reports": sum(reports[study][1] for study in distinct) if known else None,
    }
