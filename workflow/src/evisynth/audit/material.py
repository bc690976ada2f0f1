"""The evidence as the rules of the audit want it: atoms with their places."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from evisynth.audit.records import Check, Comparison, Effect, Place, Proportion, Summary
from evisynth.evidence import Evidence, Study
from evisynth.inputs import INPUTS
from evisynth.printed import Printed, parse_printed
from evisynth.rows import RawRow
from evisynth.studyfile import ArmValue, Result

RATIOS = frozenset({"hazard_ratio", "risk_ratio", "odds_ratio"})
PROPORTIONS = frozenset({"count", "crude_proportion", "km_probability"})
PER_CENT = frozenset({"%", "per cent", "percent"})
# Fields of tables whose effects are on the log scale already.
LOG_MEASURES = frozenset({"HR", "RR", "OR", "IRR", "ROM", "PETO"})
SMALLEST, LARGEST = 1e-100, 1e12
DEFAULT_LEVEL = 0.95
SMALLEST_TAIL = 1e-9


def name_of(result: Result) -> str:
    """Id of a result within its file."""
    return result.id or result.outcome


def printed_or_none(text: str | None) -> Printed | None:
    """`text` as a printed number; None for nothing and for ``NR`` (not reached)."""
    return None if text in (None, "", "NA", "NR") else parse_printed(str(text))


@dataclass(frozen=True)
class StudyMaterial:
    """One study file.

    Attributes
    ----------
    texts : stored text of each report that has one, by the report's id, white space folded.
    """

    study: Study
    texts: Mapping[str, str] = field(default_factory=dict)

    def place(
        self,
        text: str,
        report: str = "",
        results: Sequence[str] = (),
        arms: Sequence[str] = (),
    ) -> Place:
        """A place in this file."""
        study = self.study
        return Place(
            study.file, study.line(text), study.id, report, text, tuple(results), tuple(arms)
        )

    def result_place(self, result: Result, arm: str = "") -> Place:
        """Place of a result, or of one of its arms."""
        name = name_of(result)
        key = (name, arm, result.report)
        if key not in self._places:
            text = f"results.{name}" + (f".arms.{arm}" if arm else "")
            self._places[key] = self.place(text, result.report, (name,), (arm,) if arm else ())
        return self._places[key]

    @cached_property
    def _places(self) -> dict[tuple[str, str, str], Place]:
        """Places that were asked for: nearly every rule asks for every one."""
        return {}

    @cached_property
    def results(self) -> Mapping[str, Result]:
        """Results by their ids."""
        return {name_of(result): result for result in self.study.content.results}

    @cached_property
    def proportions(self) -> tuple[Proportion, ...]:
        """Every percentage or count of an arm; of a Kaplan-Meier value the percentage."""
        return tuple(
            self.values[name_of(result), arm]
            for result in self.study.content.results
            if result.kind in PROPORTIONS
            for arm, value in result.arms.items()
            if value.events is not None or value.printed is not None
        )

    @cached_property
    def values(self) -> Mapping[tuple[str, str], Proportion]:
        """Every arm of every result, of any kind, by the result's id and the arm's."""
        return {
            (name_of(result), arm): self.proportion(result, arm, value)
            for result in self.study.content.results
            for arm, value in result.arms.items()
        }

    def proportion(self, result: Result, arm: str, value: ArmValue) -> Proportion:
        """One arm of a result."""
        of_arm = self.study.arm(arm)
        printed = printed_or_none(value.printed)
        per_cent = (result.unit or "").strip().casefold() in PER_CENT
        percent = printed if printed and (printed.percent or per_cent) else None
        derived = value.derived or result.derived
        same_unit = value.unit in (None, of_arm.unit)
        return Proportion(
            place=self.result_place(result, arm),
            outcome=result.outcome,
            kind=result.kind,
            category=result.category or "",
            subgroup=result.subgroup or "",
            when=result.when or "",
            arm=arm,
            unit=value.unit or of_arm.unit,
            events=value.events,
            n=value.n if value.n is not None else of_arm.n if same_unit else None,
            own_n=value.n is not None,
            derived=derived.method if derived else "",
            percent=percent,
            low=printed_or_none(value.ci[0]) if value.ci and percent else None,
            high=printed_or_none(value.ci[1]) if value.ci and percent else None,
            ci_level=float(result.ci_level),
        )

    @cached_property
    def effects(self) -> tuple[Effect, ...]:
        """Every printed effect between groups."""
        return tuple(
            Effect(
                place=self.result_place(result),
                outcome=result.outcome,
                kind=result.kind,
                label=result.contrast.numerator if result.contrast else name_of(result),
                model=result.model or "",
                scale="log" if result.kind in RATIOS else "linear",
                null=1.0 if result.kind in RATIOS else 0.0 if result.contrast else None,
                estimate=printed_or_none(result.estimate),
                low=printed_or_none(result.ci[0]) if result.ci else None,
                high=printed_or_none(result.ci[1]) if result.ci else None,
                ci_level=float(result.ci_level),
                p=printed_or_none(result.p),
                numerator=result.contrast.numerator if result.contrast else "",
                denominator=result.contrast.denominator if result.contrast else "",
            )
            for result in self.study.content.results
            if result.estimate is not None and (result.contrast or result.kind in RATIOS)
        )

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Every result with exactly two arms that are proportions."""
        found = []
        for result in self.study.content.results:
            if result.kind in PROPORTIONS and len(result.arms) == 2:
                one, two = (self.values[name_of(result), arm] for arm in result.arms)
                found.append(
                    Comparison(
                        self.result_place(result),
                        result.outcome,
                        one,
                        two,
                        printed_or_none(result.p),
                    )
                )
        return tuple(found)

    @cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """Every mean, median or range of an arm."""
        found = []
        for result in self.study.content.results:
            for arm, value in result.arms.items():
                pairs = {
                    key: (parse_printed(pair[0]), parse_printed(pair[1]))
                    for key in ("iqr", "range", "spread")
                    if (pair := getattr(value, key)) and "NR" not in pair
                }
                if value.mean is None and value.median is None and not pairs:
                    continue
                ci = value.ci or (None, None)
                found.append(
                    Summary(
                        place=self.result_place(result, arm),
                        outcome=result.outcome,
                        kind=result.kind,
                        arm=arm,
                        unit=result.unit or "",
                        n=value.n if value.n is not None else self.study.arm(arm).n,
                        mean=printed_or_none(value.mean),
                        sd=printed_or_none(value.sd),
                        se=printed_or_none(value.se),
                        low=printed_or_none(ci[0]),
                        high=printed_or_none(ci[1]),
                        ci_level=float(result.ci_level),
                        median=printed_or_none(value.median),
                        **pairs,
                    )
                )
        return tuple(found)


@dataclass(frozen=True)
class TableMaterial:
    """Rows of one table that one analysis (or a command) maps to the field's names.

    Attributes
    ----------
    file : the table.
    measure : effect measure of the analysis; empty if none is known.
    rows : ``(line, row number from 1, study, cells by field as text)``.
    """

    file: str
    measure: str
    rows: tuple[tuple[int, int, str, Mapping[str, str]], ...]

    def place(self, line: int, number: int, study: str, *fields: str) -> Place:
        """A row, or some fields of it."""
        row = f"row {number}"
        text = row + (f": {', '.join(fields)}" if fields else "")
        return Place(self.file, line, study, "", text, (row,))

    def numbers(self, cells: Mapping[str, str]) -> dict[str, Printed]:
        """Cells that hold a number."""
        found = {}
        for name, text in cells.items():
            try:
                found[name] = parse_printed(text)
            except ValueError:
                continue  # a label, or empty
        return found

    @cached_property
    def numbered(self) -> tuple[tuple[int, int, str, Mapping[str, Printed]], ...]:
        """`rows` with the cells that hold a number of a possible size, parsed."""
        return tuple(
            (
                line,
                number,
                study,
                {k: v for k, v in self.numbers(cells).items() if is_possible(v.value)},
            )
            for line, number, study, cells in self.rows
        )

    @cached_property
    def proportions(self) -> tuple[Proportion, ...]:
        """Counts, percentages or both of one group (xi ni) or two (ai n1i, ci n2i)."""
        return tuple(self._proportions())

    def _proportions(self) -> Iterator[Proportion]:
        for line, number, study, found in self.numbered:
            for events, n, arm in (("xi", "ni", ""), ("ai", "n1i", "1"), ("ci", "n2i", "2")):
                percent = found.get(f"percent{arm}i") or found.get(f"pct{arm}i")
                others = found.get({"ai": "bi", "ci": "di"}.get(events, ""))
                size = _whole(found[n]) if n in found else None
                count = _whole(found[events]) if events in found else None
                if size is None and count is not None and others is not None:
                    size = count + int(others.value)
                if size is None or (count is None and percent is None):
                    continue
                fields = [name for name in (events, n) if name in found]
                yield Proportion(
                    place=self.place(line, number, study, *fields),
                    outcome="",
                    kind="count",
                    category="",
                    subgroup="",
                    when="",
                    arm=arm,
                    unit="patients",
                    events=count,
                    n=size,
                    own_n=True,
                    derived="",
                    percent=percent,
                )

    @cached_property
    def on_log_scale(self) -> bool:
        """Whether printed estimates are ratios.

        Told by the measure; where that says nothing (GEN, or none is known) by whether most
        estimates lie nearer to the geometric than to the arithmetic middle of their intervals.
        """
        if self.measure in LOG_MEASURES:
            return True
        if self.measure not in ("GEN", ""):
            return False
        votes, largest = 0, 0.0
        for _, _, _, found in self.numbered:
            if not {"estimate", "ci_low", "ci_high"} <= found.keys():
                continue
            value, low, high = (found[k].value for k in ("estimate", "ci_low", "ci_high"))
            if min(value, low, high) < 0:
                return False
            if not 0 < low < value < high:
                continue  # rounded to nothing, or to the same
            largest = max(largest, high)
            shares = (
                math.log(value / low) / math.log(high / low),
                (value - low) / (high - low),
            )
            votes += 1 if abs(shares[0] - 0.5) < abs(shares[1] - 0.5) else -1
        return votes > 0 and largest > 1  # up to 1 they may be proportions

    @cached_property
    def effects(self) -> tuple[Effect, ...]:
        """Effects: `estimate` with its interval and p-value, else `yi` with `vi` or `sei`.

        Survival probabilities, proportions and medians are none: no null value, and intervals
        that need not be even on any scale.
        """
        known = INPUTS.get(self.measure)
        if known and (known.axis == "proportion" or self.measure == "MED"):
            return ()
        return tuple(self._effects())

    def _effects(self) -> Iterator[Effect]:
        known = INPUTS.get(self.measure)
        null = known is None or known.design != "one_group"
        for line, number, study, found in self.numbered:
            on_display = "estimate" in found
            estimate = found.get("estimate") or found.get("yi")
            if estimate is None:
                continue
            ratio = on_display and self.on_log_scale
            bounds = on_display or self.measure in ("GEN", "")
            yield Effect(
                place=self.place(line, number, study),
                outcome="",
                kind="effect",
                label=study,
                model="",
                scale="log" if ratio else "linear",
                null=(1.0 if ratio else 0.0) if null else None,
                estimate=estimate,
                low=found.get("ci_low") if bounds else None,
                high=found.get("ci_high") if bounds else None,
                ci_level=level_of(found),
                p=found.get("pval") or found.get("p"),
                sei=found.get("sei"),
                vi=found.get("vi"),
            )


def is_possible(value: float) -> bool:
    """Whether a number's size is one that arithmetic, and a study, can have."""
    return value == 0 or SMALLEST < abs(value) < LARGEST


def level_of(found: Mapping[str, Printed]) -> float:
    """Level of a row's intervals; 0.95 where none is given, or none that there can be."""
    level = found["ci_level"].value if "ci_level" in found else DEFAULT_LEVEL
    return level if 0 < level < 1 - SMALLEST_TAIL else DEFAULT_LEVEL


def _whole(printed: Printed) -> int | None:
    return int(printed.value) if math.floor(printed.value) == printed.value else None


@dataclass(frozen=True)
class AnalysisMaterial:
    """What one analysis takes.

    Attributes
    ----------
    rows : selected rows, those that are not pooled too.
    studies : study files by id.
    settings : title, outcome, measure and `higher_is` of the analysis.
    """

    name: str
    file: str
    rows: tuple[RawRow, ...]
    studies: Mapping[str, Study]
    settings: Mapping[str, str]
    table: str = ""

    def place(self, text: str = "", study: str = "") -> Place:
        """The analysis in the configuration."""
        return Place(
            self.file, None, study, "", f"analyses.{self.name}" + (f".{text}" if text else "")
        )


@dataclass(frozen=True)
class Review:
    """Everything: study files, tables, analyses."""

    evidence: Evidence | None
    studies: tuple[StudyMaterial, ...]
    tables: tuple[TableMaterial, ...] = ()
    analyses: tuple[AnalysisMaterial, ...] = ()


Material = StudyMaterial | TableMaterial


def everywhere(check: Callable[[Any], Iterable[Check]]) -> Callable[[Review], Iterator[Check]]:
    """A check of study files or tables as one of the review: of all of both."""

    def of_review(review: Review) -> Iterator[Check]:
        for material in (*review.studies, *review.tables):
            yield from check(material)

    return of_review
