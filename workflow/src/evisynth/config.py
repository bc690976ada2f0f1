"""The shape of config.yaml."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evisynth.menus import FIELDS, MEASURES, PLOTS, PREDICTION, TAU2, TESTS
from evisynth.schema import Id, OneOrMore, Strict, Text

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
else:  # the menus say which words are allowed
    Measure = Literal[tuple(MEASURES)]
    Method = Literal[tuple(TAU2)]
    Test = Literal[tuple(TESTS)]
    Prediction = Literal[tuple(PREDICTION)]
    Plot = Literal[tuple(PLOTS)]
    FieldName = Literal[tuple(FIELDS)]

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


class EvidenceFiles(Strict):
    """Where the evidence lies, relative to the configuration file."""

    studies: RelativePath = Field(description="Folder of study files (*.yaml).")
    outcomes: RelativePath = Field(description="File that defines the outcomes.")


class Model(Strict):
    """The main model of an analysis."""

    effects: Literal["random", "common"] = Field(
        "random",
        description="Whether studies share one effect or have a distribution of effects.",
    )
    method: Method = Field("REML", description="Estimator of tau2.")
    test: Test = Field("knha", description="Interval and test of the pooled effect.")
    floor: bool = Field(
        True,
        description=(
            "Replace a Knapp-Hartung interval that is narrower than Wald's, or that stands on "
            "tau2 = 0, by the floored one in the headline, and say so."
        ),
    )
    prediction: Prediction = Field("HK", description="Flavour of the prediction interval.")


class ZeroCells(Strict):
    """Continuity correction, as in metafor."""

    add: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = Field(
        None,
        description="Number added to each cell; by default 0.5 (0 for PAS), see `to`.",
    )
    to: Literal["only0", "all", "if0all", "none"] = Field(
        "only0",
        description=("Which studies: those with a zero cell, all, all if any has one, none."),
    )
    drop00: bool = Field(
        False, description="Leave out studies with no events, or only events, in both groups."
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
    moderators: list[Text] = Field([], description="Further columns to carry along.")
    label_prefix: str = Field("", max_length=50, description="Put before labels of a table.")
    measure: Measure = Field(description="Effect measure.")
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
    preset: Literal["cochrane2025"] = Field(
        "cochrane2025", description="Set of rules for few studies; see docs/statistics.md."
    )


class Config(Strict):
    """config.yaml."""

    review: Review = Field(description="The question.")
    evidence: EvidenceFiles | None = Field(
        None, description="Study files; not for tables only."
    )
    defaults: Defaults = Field(Defaults(), description="Defaults of all analyses.")
    analyses: dict[AnalysisId, Analysis] = Field(min_length=1, description="Analyses by id.")
