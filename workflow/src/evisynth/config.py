"""The shape of config.yaml."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evisynth.conversions import FIELDS as CONVERSION_FIELDS
from evisynth.menus import (
    FAMILIES,
    FIELDS,
    GLMM,
    INTERVALS,
    MEASURES,
    PLOTS,
    PREDICTION,
    PRESETS,
    ROBUST,
    STRUCTURES,
    STUDY_MODERATORS,
    TAU2,
    TAU2_GIVEN,
    TESTS,
    WEIGHTS,
)
from evisynth.schema import Id, OneOrMore, Strict, Text
from evisynth.studyfile import AcceptedFlag

ANALYSIS_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
AnalysisId = Annotated[str, Field(pattern=ANALYSIS_PATTERN)]
RESERVED = frozenset({"evidence", "logs", "benchmarks"})

if TYPE_CHECKING:
    Measure = str
    Method = str
    Test = str
    Prediction = str
    Plot = str
    FieldName = str
    Family = str
    Glmm = str
    Structure = str
    Robust = str
    Tau2Interval = str
    GenqWeights = str
    PresetName = str
else:  # the menus say which words are allowed
    Measure = Literal[tuple(MEASURES)]
    Method = Literal[(*TAU2, *TAU2_GIVEN)]
    Test = Literal[tuple(TESTS)]
    Prediction = Literal[tuple(PREDICTION)]
    Plot = Literal[tuple(PLOTS)]
    FieldName = Literal[tuple(FIELDS | CONVERSION_FIELDS)]
    Family = Literal[tuple(FAMILIES)]
    Glmm = Literal[tuple(GLMM)]
    Structure = Literal[tuple(STRUCTURES)]
    Robust = Literal[tuple(ROBUST)]
    Tau2Interval = Literal[tuple(INTERVALS)]
    GenqWeights = Literal[tuple(WEIGHTS)]
    PresetName = Literal[tuple(PRESETS)]

Treatments = Annotated[list[Id], OneOrMore, Field(min_length=1)]
Level = Annotated[float, Field(gt=0.5, lt=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
RelativePath = Annotated[str, Field(min_length=1, max_length=500)]


class Review(Strict):
    """What the review asks."""

    title: Text = Field(description="Title.")
    question: Text = Field(description="Question, in one sentence.")
    search: Text | None = Field(
        None,
        description="File of the search log; without one the review is not called systematic.",
    )
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = Field(
        None, description="Date of the review, as 2026-11-21; for the RO-Crate of the results."
    )
    license: Text | None = Field(
        None, description="Licence of the results: an SPDX name (CC-BY-4.0) or an address."
    )
    authors: list[Text] = Field([], description="Who answers for the review.")


class EvidenceFiles(Strict):
    """Where the evidence lies, relative to the configuration file."""

    studies: RelativePath = Field(description="Folder of study files (*.yaml).")
    outcomes: RelativePath = Field(description="File that defines the outcomes.")
    sources: RelativePath | None = Field(
        None,
        description=(
            "Folder of stored texts of the reports; the audit looks up quotes in those that "
            "are there."
        ),
    )


class Model(Strict):
    """A model; keys that are not given are those of the preset and of `defaults`."""

    effects: Literal["random", "common"] = Field(
        "random",
        description="Whether studies share one effect or have a distribution of effects.",
    )
    family: Family = Field("IV", description="What the likelihood is of; docs/statistics.md.")
    method: Method = Field("REML", description="Estimator of tau2.")
    tau2: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="Value of tau2, with `method: fixed`."
    )
    weights: GenqWeights = Field(
        "inverse_variance", description="Weights of `method: GENQ` and `GENQM`."
    )
    test: Test = Field("knha", description="Interval and test of the pooled effect.")
    floor: bool = Field(
        True,
        description=(
            "Replace a Knapp-Hartung interval that is narrower than Wald's, or that stands on "
            "tau2 = 0, by the floored one in the headline, and say so."
        ),
    )
    prediction: Prediction = Field("HK", description="Flavour of the prediction interval.")
    glmm: Glmm = Field("UM.FS", description="Model for two groups, with `family: GLMM`.")
    prior: Annotated[str, Field(max_length=200)] = Field(
        "half_normal(0.5)",
        description=(
            "Prior of tau, with `family: BAYES`: half_normal(scale), half_cauchy(scale), "
            "uniform(maximum), log_normal(location; scale), log_student_t(location; scale), "
            "turner(outcome; comparison), rhodes(outcome; comparison; area)."
        ),
    )
    modelweights: Literal["CORR", "HIER"] = Field(
        "CORR", description="Working model, with `family: RVE`: correlated or hierarchical."
    )
    replicates: Annotated[int, Field(ge=100, le=1_000_000)] = Field(
        25_000, description="Bootstrap samples, with `prediction: NNF-boot`."
    )
    seed: Annotated[int, Field(ge=0, le=2**31)] = Field(
        1, description="Seed of whatever is random: the same result on every run."
    )


class Dependence(Strict):
    """Which rows are not independent; columns are `study`, `cluster` or `moderators`."""

    levels: list[Text] = Field(
        [],
        description=(
            "Columns of nested groups, the widest first, for `family: MV`; an innermost level "
            "of single effects is `effect`."
        ),
    )
    inner: Text | None = Field(
        None, description="Column of what is measured in every group (outcome), not for nested."
    )
    structure: Structure = Field("nested", description="Random effects.")
    rho: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] | None = Field(
        None, description="Assumed correlation of sampling errors within `within`."
    )
    within: Text = Field(
        "cluster",
        description="Column that is equal for the rows that `rho` or `correlation` is about.",
    )
    grid: list[Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]] = Field(
        [], description="Further values of `rho`; each gives a sensitivity row."
    )
    correlation: Text | None = Field(
        None,
        description=(
            "Column of the printed correlation of sampling errors, one value for every group "
            "of `within`."
        ),
    )
    shared_arm: Text | None = Field(
        None, description="Column with one value for all rows of the same control group."
    )
    overlaps: bool = Field(
        False,
        description=(
            "Take the patients that study files declare as shared (`at_most`) into the "
            "covariances."
        ),
    )
    robust: Robust = Field("none", description="Cluster-robust standard errors.")


class Subgroups(Strict):
    """A comparison of subgroups of studies."""

    by: Text = Field(description="Column of `moderators` (or `study`, `cluster`).")
    tau2: Literal["auto", "separate", "common"] = Field(
        "auto",
        description="Own or common tau2; by default common where a subgroup has few studies.",
    )


class Regression(Strict):
    """A meta-regression."""

    formula: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        description="Moderators: `ablat + alloc`, `ablat * alloc`, `0 + alloc`."
    )
    reference: dict[Text, Text] = Field(
        {}, description="column: its reference level; by default the first in order."
    )
    predict: list[dict[Text, Text]] = Field(
        [], description="Values of the moderators to predict the effect for."
    )
    contrasts: dict[Text, dict[Text, Finite]] = Field(
        {}, description="name: {coefficient: weight}; tested and estimated."
    )
    test: Test | None = Field(None, description="By default that of the model.")
    method: Method | None = Field(None, description="By default that of the model.")
    permutations: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        0, description="Permutations of the test; exact where there are no more. 0: none."
    )
    seed: Annotated[int, Field(ge=0, le=2**31)] = Field(1, description="Of the permutations.")


class ZeroCells(Strict):
    """Continuity correction, as in metafor."""

    add: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = Field(
        None,
        description=(
            "Number added to each cell; by default 0.5, or 0 for measures that need none "
            "(docs/statistics/effect-measures.md)."
        ),
    )
    to: Literal["only0", "all", "if0all", "none", "tacc"] = Field(
        "only0",
        description=(
            "Which studies: those with a zero cell, all, all if any has one, none; `tacc`: "
            "those with a zero cell, by the treatment-arm correction."
        ),
    )
    drop00: bool = Field(
        False, description="Leave out studies with no events, or only events, in both groups."
    )
    form: Literal["cells", "meta"] = Field(
        "cells",
        description=(
            "What is corrected: all cells; or as the R package meta does it, for RR and PLN "
            "events and group sizes alike, for RD and PR the variance only."
        ),
    )


class Side(Strict):
    """One side of a contrast between arms."""

    treatment: Treatments = Field(description="Treatment class or classes of the arm.")
    label: Text | None = Field(None, description="Name of the group to print.")


class ArmContrast(Strict):
    """A contrast between arms of a study."""

    numerator: Side | Text = Field(
        description="Arm above the line: {treatment: ...}; or the name of a printed group."
    )
    denominator: Side | Text = Field(description="Arm or group below the line.")


class Shown(Strict):
    """A result that is drawn beside the pooled studies and never pooled."""

    study: Id = Field(description="Study.")
    result: Id = Field(description="Id of its result.")
    reason: Text = Field(description="Why it is not pooled; printed.")


class Favours(Strict):
    """Words under the axis of a contrast."""

    left: Text = Field(description="Below the null value.")
    right: Text = Field(description="Above the null value.")


class ForestOptions(Strict):
    """How the forest plot looks; changes redraw and refit nothing."""

    axis: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None = Field(
        None, description="Range of the axis on the display scale; intervals beyond get arrows."
    )
    ticks: list[Finite] | None = Field(None, description="Tick positions on the display scale.")
    favours: Favours | None = Field(
        None, description="By default derived from the outcome's direction and the arms."
    )
    sort: Literal["as_given", "label", "effect", "weight"] = Field(
        "as_given", description="Order of the studies."
    )
    show_common: bool = Field(True, description="Draw the common-effect diamond too.")


class Analysis(Strict):
    """One synthesis: which numbers, which measure, which model."""

    title: Text = Field(description="Title, printed on the plot.")
    outcome: Id | None = Field(None, description="Outcome of the study files.")
    arms: Side | None = Field(None, description="Single arms: {treatment: ...}.")
    contrast: ArmContrast | None = Field(None, description="Contrast between two groups.")
    table: RelativePath | None = Field(None, description="CSV table instead of study files.")
    rows: dict[Text, Annotated[list[str], OneOrMore]] = Field(
        {}, description="Rows of the table to take: column: value or list of values."
    )
    columns: dict[FieldName, Text] = Field(
        {}, description="Which column of the table holds which field."
    )
    moderators: list[Text] = Field(
        [],
        description=(
            "Further columns to carry along, for subgroups and regressions; of study files: "
            f"{', '.join(STUDY_MODERATORS)}."
        ),
    )
    label_prefix: str = Field("", max_length=50, description="Put before labels of a table.")
    measure: Measure = Field(description="Effect measure.")
    measure_options: dict[Text, Text] = Field(
        {}, description="Variants of the measure; see docs/measures.md."
    )
    conversions: dict[Text, Text] = Field(
        {}, description="choice: method; how numbers are derived, see docs/conversions.md."
    )
    zero_cells: ZeroCells = Field(ZeroCells(), description="Continuity correction.")
    studies: Literal["all"] | list[Id] = Field("all", description="Which studies.")
    exclude: dict[Text, Text] = Field(
        {}, description="study: reason; listed and drawn in grey."
    )
    choose: dict[Id, Annotated[list[Id], OneOrMore]] = Field(
        {}, description="study: id of the result to take where it has several that fit."
    )
    show: list[Shown] = Field([], description="Results drawn beside, not pooled.")
    pool: bool = Field(True, description="`no` lists and draws the studies without pooling.")
    why_not: Text | None = Field(None, description="Why not; needed with `pool: no`.")
    model: Model | None = Field(None, description="Main model; by default that of `defaults`.")
    also: list[Model] = Field(
        [], description="Further models, shown beside; keys not given are those of `model`."
    )
    preset: PresetName | None = Field(None, description="By default that of `defaults`.")
    dependence: Dependence | None = Field(None, description="For the families MV and RVE.")
    intervals: list[Tau2Interval] = Field(
        ["QP"], description="Intervals of tau2, in tau2_intervals.csv."
    )
    multi_arm: Literal["refuse", "split", "covariance"] = Field(
        "refuse",
        description=(
            "What becomes of a study with several arms on one side of a contrast: a mistake; "
            "the shared arm split evenly between the comparisons; or all comparisons with the "
            "covariance that the shared arm gives them (family MV)."
        ),
    )
    icc: list[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]] = Field(
        [0.3, 1.0],
        description=(
            "Assumed correlations within a patient, where a study counts episodes or tumours; "
            "each gives a fit with the effective number of them, in dependence.csv."
        ),
    )
    thresholds: list[Finite] = Field(
        [],
        description=(
            "Values on the display scale; beyond.csv says how probable it is that a new study "
            "lies beyond them."
        ),
    )
    subgroups: list[Subgroups] = Field([], description="Comparisons of subgroups.")
    regressions: dict[AnalysisId, Regression] = Field({}, description="Meta-regressions by id.")
    level: Level | None = Field(None, description="Confidence level; by default of `defaults`.")
    notes: list[Text] = Field(
        [], description="Caveats of the reviewer, printed with the result."
    )
    plots: list[Plot] = Field(["forest"], description="Plots to draw.")
    forest: ForestOptions = Field(ForestOptions(), description="Options of the forest plot.")


class Defaults(Strict):
    """What analyses use unless they say otherwise."""

    model: Model = Field(Model(), description="Main model.")
    level: Level = Field(0.95, description="Confidence level.")
    preset: PresetName = Field(
        "cochrane2025", description="Bundle of choices; see docs/presets.md."
    )


class TableFlag(AcceptedFlag):
    """A person's decision on a finding of the audit that is in no study file."""

    table: RelativePath | None = Field(
        None,
        description="Table, as the analyses name it; none for findings about the analyses.",
    )


class Audit(Strict):
    """Decisions on findings of the audit that no study file can hold."""

    accepted_flags: list[TableFlag] = Field(
        [], description="Decisions on rows of tables and on analyses."
    )


class Config(Strict):
    """config.yaml."""

    review: Review = Field(description="The question.")
    evidence: EvidenceFiles | None = Field(
        None, description="Study files; not for tables only."
    )
    audit: Audit = Field(Audit(), description="Decisions on findings of the audit.")
    defaults: Defaults = Field(Defaults(), description="Defaults of all analyses.")
    analyses: dict[AnalysisId, Analysis] = Field(min_length=1, description="Analyses by id.")
