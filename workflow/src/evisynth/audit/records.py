"""What the audit looks at and what it says: plain values; no files, no numpy."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from evisynth.errors import safe
from evisynth.printed import Printed

Level = Literal["error", "warning", "note"]
Verdict = Literal["consistent", "inconsistent", "undecided"]
Scope = Literal["study", "review", "table", "analysis", "fit"]

LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a number stands.

    Attributes
    ----------
    file, line : the file as messages name it, and the line from 1 if it can be told.
    study, report : ids; empty where there is none.
    text : path within the file: ``results.ID``, ``results.ID.arms.ARM``, ``reports.ID``,
        ``overlaps.ID``, ``arms.ID``; in a table ``row N`` (rows counted from 1 below the
        header). What `accepted_flags` name as ``place``.
    results : ids of the results that are in doubt if the check fails; in tables ``row N``.
    arms : ids of the arms in doubt; empty for all of the results.
    """

    file: str
    line: int | None
    study: str
    report: str
    text: str
    results: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """What one rule says of one place.

    Attributes
    ----------
    verdict : ``consistent``; ``inconsistent``; ``undecided`` where the rule applies and cannot
        tell, `explanation` says why.
    printed, recomputed : the number as it is printed, and what follows from the other numbers;
        both as a reader wants them ("51.7% of 7", "3/7 = 42.9%, 4/7 = 57.1%").
    explanation : one sentence, without a full stop at its end.
    action : what the reviewer should do; empty where the verdict is consistent.
    level : set where it differs from the rule's (a milder form of it).
    """

    place: Place
    verdict: Verdict
    printed: str = ""
    recomputed: str = ""
    explanation: str = ""
    action: str = ""
    level: Level | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """An entry of the registry.

    Attributes
    ----------
    id : name, upper case with hyphens.
    level : what an inconsistency is: ``error`` keeps the row out of pooling until a person
        decides; ``warning`` and ``note`` are printed.
    scope : what `check` is called with: ``study`` a `material.StudyMaterial`, ``review`` the
        `material.Review`, ``table`` a `material.TableMaterial`, ``analysis`` a
        `material.AnalysisMaterial`; ``fit`` a `FitFacts`, by the step that has the fit.
    definition : when it fails, one or two sentences.
    reference : paper, or empty.
    check : yields a `Check` for every place that the rule applies to.
    """

    id: str
    level: Level
    scope: Scope
    definition: str
    check: Callable[..., Iterable[Check]]
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's decision on a finding (`accepted_flags`)."""

    rule: str
    place: str
    decision: Literal["accept", "exclude"]
    reason: str
    who: str
    when: str

    def __str__(self) -> str:
        return safe(f"{self.decision}ed by {self.who} on {self.when}: {self.reason}").replace(
            "excludeed", "excluded", 1
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """A check with its rule, level and, if there is one, the decision on it."""

    rule: str
    level: Level
    check: Check
    decision: Decision | None = None

    @property
    def blocks(self) -> bool:
        """Whether its rows stay out of pooling: an error that nobody has accepted."""
        failed = self.level == "error" and self.check.verdict == "inconsistent"
        if self.decision is not None and self.check.verdict == "inconsistent":
            return self.decision.decision == "exclude"
        return failed

    def cells(self) -> dict[str, str | float | int | bool | None]:
        """Cells of its row in tables, by column."""
        check, decision = self.check, self.decision
        return {
            "study": check.place.study,
            "report": check.place.report,
            "place": check.place.text,
            "rule": self.rule,
            "level": self.level,
            "printed": check.printed,
            "recomputed": check.recomputed,
            "verdict": check.verdict,
            "explanation": check.explanation,
            "action": check.action,
            "line": check.place.line,
            "file": check.place.file,
            "decision": decision.decision if decision else "",
            "decision_reason": decision.reason if decision else "",
            "decided_by": decision.who if decision else "",
            "decided_on": decision.when if decision else "",
        }


@dataclass(frozen=True, slots=True)
class Proportion:
    """A printed proportion, count or both, of one arm.

    Attributes
    ----------
    events, n : as extracted; `n` is that of the arm if the result has none of its own.
    derived : method by which `events` was derived from the percentage; empty if printed.
    percent : the percentage as printed, its value in per cent; None if none is printed.
    own_n : whether the result itself gives n.
    """

    place: Place
    outcome: str
    kind: str
    category: str
    subgroup: str
    when: str
    arm: str
    unit: str
    events: int | None
    n: int | None
    own_n: bool
    derived: str
    percent: Printed | None
    low: Printed | None = None
    high: Printed | None = None
    ci_level: float = 0.95


@dataclass(frozen=True, slots=True)
class Effect:
    """A printed effect with its interval and p-value.

    Attributes
    ----------
    scale : ``log`` for ratios (null value 1), ``linear`` for differences and means (null
        value `null`; None if the p-value tests something else).
    ci_level : level of the interval as a fraction.
    sei, vi : a printed standard error, or its square, on the analysis scale (log for ratios).
    """

    place: Place
    outcome: str
    kind: str
    label: str
    model: str
    scale: Literal["log", "linear"]
    null: float | None
    estimate: Printed | None
    low: Printed | None
    high: Printed | None
    ci_level: float
    p: Printed | None
    sei: Printed | None = None
    vi: Printed | None = None
    numerator: str = ""
    denominator: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two arms of one result, and the p-value of their comparison if one is printed."""

    place: Place
    outcome: str
    one: Proportion
    two: Proportion
    p: Printed | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean or median of one arm with its dispersion, all as printed."""

    place: Place
    outcome: str
    kind: str
    arm: str
    unit: str
    n: int | None
    mean: Printed | None = None
    sd: Printed | None = None
    se: Printed | None = None
    low: Printed | None = None
    high: Printed | None = None
    ci_level: float = 0.95
    median: Printed | None = None
    iqr: tuple[Printed, Printed] | None = None
    range: tuple[Printed, Printed] | None = None
    spread: tuple[Printed, Printed] | None = None


@dataclass(frozen=True, slots=True)
class FitFacts:
    """What rules of scope ``fit`` look at: the primary fit of one analysis.

    Attributes
    ----------
    file : the configuration.
    k : number of pooled effects.
    q, q_df : Cochran's Q and its degrees of freedom; None where the model has none.
    tau2 : between-study variance; None for a model of one common effect.
    tau2_at_bound : whether its estimate lies at a bound of what is allowed.
    hk_width, wald_width : lengths of the intervals of the mean by Knapp and Hartung without a
        floor and by Wald, on the analysis scale; None where one is not computed.
    notes : what the fit says of itself (a correlation of 1, ...).
    """

    analysis: str
    file: str
    k: int
    q: float | None = None
    q_df: int | None = None
    tau2: float | None = None
    tau2_at_bound: bool = False
    hk_width: float | None = None
    wald_width: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How often a rule passed, failed, could not decide."""

    consistent: int = 0
    inconsistent: int = 0
    undecided: int = 0


@dataclass(frozen=True, slots=True)
class AuditReport:
    """All findings, the gravest first, and counts per rule.

    Attributes
    ----------
    unused : decisions that no finding answers to, with the file they stand in.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, Counts]
    unused: tuple[tuple[str, Decision], ...] = field(default=())
