"""The study file: everything that is known of one set of patients, and where it is printed."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from evisynth.printed import number, parse_printed
from evisynth.schema import Count, Id, NumberText, PrintedText, Strict, Text

Unit = Literal["patients", "episodes", "tumours", "centres", "reports"]
Interval = Annotated[
    list[NumberText | Literal["NR"]],
    Field(
        min_length=2,
        max_length=2,
        description="Lower and upper bound as printed; NR: not reached.",
    ),
]


def _interval_mistakes(estimate: str | None, ci: list[str] | None, what: str) -> list[str]:
    if ci is None or "NR" in ci:
        return []
    low, high = (number(bound) for bound in ci)
    mistakes = []
    if low > high:
        mistakes.append(f"{what} has its bounds in the wrong order: {ci[0]} is above {ci[1]}")
    elif estimate is not None and not low <= parse_printed(estimate).value <= high:
        mistakes.append(f"the estimate {estimate} lies outside its {what} {ci[0]} to {ci[1]}")
    return mistakes


class Derived(Strict):
    """How a number that no report prints was obtained."""

    from_: Text = Field(
        alias="from", description="The printed numbers that it was derived from."
    )
    method: Text = Field(description="How: unique_integer, sum, difference, inversion, ...")


class Period(Strict):
    """When and where patients were recruited."""

    from_: Text | None = Field(
        None, alias="from", description="First date, as 2019-01 or 2019."
    )
    to: Text | None = Field(None, description="Last date.")
    countries: Count | None = Field(None, description="Number of countries.")
    sites: Count | None = Field(None, description="Number of centres.")


class Population(Strict):
    """Who was studied."""

    setting: Id | None = Field(
        None,
        description="Setting in one word: relapsed_or_refractory, first_line_progression, ...",
    )
    note: Text | None = Field(None, description="What one word cannot say.")
    age: Text | None = Field(None, description="Age as printed or as an eligibility range.")
    patients: Count | None = Field(None, description="Number of patients.")
    episodes: Count | None = Field(
        None, description="Number of episodes, where these are counted."
    )
    refractory: Count | None = Field(None, description="Of these, refractory.")
    relapsed: Count | None = Field(None, description="Of these, relapsed or progressive.")


class Caption(Strict):
    """The legend of a figure or table."""

    label: Text = Field(description="Figure or table as the legend names it, e.g. Fig. 2.")
    quote: Text = Field(description="Its words, verbatim.")


class Reference(Strict):
    """An entry of a report's list of references, kept where something about it is wrong."""

    title: Text = Field(description="Title as printed.")
    doi: Text | None = Field(
        None, description="DOI as printed, without the resolver's address."
    )
    journal: Text | None = Field(None, description="Journal as printed.")
    quote: Text = Field(description="The entry, or the part with these words, verbatim.")


class Method(Strict):
    """What a report says of its statistics."""

    about: Literal[
        "sidedness", "test_of_survival", "test_of_counts", "survival", "interval"
    ] = Field(description="What it is about.")
    says: Literal[
        "one_sided",
        "two_sided",
        "log_rank",
        "fisher",
        "chi_square",
        "kaplan_meier",
        "exact",
        "wald",
        "wilson",
        "other",
    ] = Field(description="What it says, in one word.")
    quote: Text = Field(description="Its words, verbatim.")


class Claim(Strict):
    """A conclusion that a report draws from a number."""

    about: Id = Field(description="Result of this file that it is about.")
    quote: Text = Field(description="Its words, verbatim.")


class Report(Strict):
    """One publication about the study."""

    id: Id = Field(description="Name of the report within this file.")
    kind: Literal[
        "journal_article",
        "journal_abstract",
        "conference_abstract",
        "preprint",
        "press_release",
        "repository_record",
        "registry_record",
        "secondary_source",
    ] = Field(description="Kind of publication; a press release ranks lowest.")
    title: Text | None = Field(None, description="Title as printed.")
    year: Annotated[int, Field(ge=1800, le=2200)] | None = Field(None, description="Year.")
    date: Text | None = Field(None, description="Date as printed.")
    doi: Text | None = Field(None, description="DOI without the resolver's address.")
    doi_status: Literal["printed_in_source", "evidence_table", "unverified"] | None = Field(
        None,
        description=(
            "Where the DOI was seen: in the source text, in the table of further evidence that "
            "the review started from, or nowhere that could be checked."
        ),
    )
    pmid: Annotated[str, Field(pattern=r"^\d{1,9}$")] | None = Field(
        None, description="PubMed id."
    )
    url: Text | None = Field(None, description="Address where no DOI exists.")
    seen: Literal[
        "full_text", "abstract", "press_release", "record", "secondary", "not_seen"
    ] = Field("abstract", description="What of it the person who extracted had before them.")
    primary: bool = Field(
        False, description="Numbers are taken from here if several give them."
    )
    duplicate_of: Id | None = Field(None, description="Report with the same text.")
    superseded_by: Id | None = Field(None, description="Later report that replaces this one.")
    correction: Text | None = Field(
        None, description="What is known of a correction or notice."
    )
    source: Text | None = Field(
        None,
        description="File name of the source text that the quotes are checked against.",
    )
    source_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="Digest of that file."
    )
    captions: list[Caption] = Field([], description="Legends, for the audit of figures.")
    references: list[Reference] = Field([], description="Entries of its list of references.")
    methods: list[Method] = Field([], description="What it says of its statistics.")
    claims: list[Claim] = Field([], description="Conclusions it draws, for the audit.")
    silent_on: list[Literal["randomisation", "intervals", "p_values", "counts"]] = Field(
        [], description="What it ought to say and does not, as its reader found."
    )
    note: Text | None = Field(None, description="Anything else.")


class Arm(Strict):
    """A group of patients that is counted once."""

    id: Id = Field(description="Name of the arm within this file.")
    label: Text | None = Field(None, description="Name to print.")
    n: Count = Field(description="Number of units.")
    unit: Unit = Field("patients", description="What n counts.")
    clusters: Count | None = Field(None, description="Patients, where the unit is smaller.")
    treatment: Id = Field(description="Treatment class, the word that analyses select by.")
    role: Literal["experimental", "comparator", "single", "subgroup"] = Field(
        "single", description="Its part in the design."
    )
    made_of: list[Id] = Field([], description="Arms of this study that it consists of.")
    note: Text | None = Field(None, description="Anything else.")


class ArmValue(Strict):
    """What one result prints for one arm."""

    events: Count | None = Field(None, description="Number with the outcome.")
    n: Count | None = Field(None, description="Number evaluated.")
    unit: Unit | None = Field(None, description="What n counts, if not the arm's unit.")
    printed: PrintedText | None = Field(
        None, description="The percentage or number as printed."
    )
    estimate: NumberText | None = Field(
        None, description="Estimate (probability as a fraction, median, ...)."
    )
    ci: Interval | None = Field(None, description="Its confidence interval.")
    se: NumberText | None = Field(None, description="Its standard error.")
    mean: NumberText | None = Field(None, description="Mean.")
    sd: NumberText | None = Field(
        None, description="Standard deviation (never a standard error)."
    )
    median: NumberText | None = Field(None, description="Median.")
    iqr: Interval | None = Field(None, description="First and third quartile.")
    range: Interval | None = Field(None, description="Minimum and maximum.")
    spread: Interval | None = Field(
        None, description="An interval of which the report does not say what it is."
    )
    derived: Derived | None = Field(None, description="Set where a number here is not printed.")

    @model_validator(mode="after")
    def _is_possible(self) -> "ArmValue":
        mistakes = []
        if self.events is not None and self.n is not None and self.events > self.n:
            mistakes.append(f"events ({self.events}) are more than n ({self.n})")
        for name in ("sd", "se"):
            value = getattr(self, name)
            if value is not None and number(value) < 0:
                mistakes.append(f"{name} is negative ({value})")
        mistakes += _interval_mistakes(self.estimate or self.median, self.ci, "ci")
        mistakes += _interval_mistakes(self.median, self.iqr, "iqr")
        mistakes += _interval_mistakes(self.median, self.range, "range")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


class Contrast(Strict):
    """Direction of an effect as printed: above the line, below the line."""

    numerator: Text = Field(description="Group whose risk or hazard is in the numerator.")
    denominator: Text = Field(description="Group it is compared with.")


class AlsoPrinted(Strict):
    """The same number in another report."""

    report: Id = Field(description="Report.")
    quote: Text = Field(description="Its words.")
    note: Text | None = Field(None, description="In what it differs.")


class Limits(Strict):
    """The bounds of a category, to check a range against."""

    of: Id = Field(description="Result of this file whose range or median they bound.")
    low: NumberText | None = Field(None, description="Lower bound, in the unit of that result.")
    high: NumberText | None = Field(None, description="Upper bound.")


Kind = Literal[
    "count",
    "crude_proportion",
    "km_probability",
    "hazard_ratio",
    "risk_ratio",
    "odds_ratio",
    "mean",
    "median",
    "p_value",
    "range",
    "statement",
]


class Result(Strict):
    """One number of one report: an outcome, in arms or as an effect between groups."""

    id: Id | None = Field(None, description="Name within this file; by default the outcome.")
    outcome: Id = Field(description="Outcome, as defined in outcomes.yaml.")
    kind: Kind = Field("count", description="What the number is; a km_probability is no count.")
    category: Text | None = Field(None, description="Category of a characteristic, as printed.")
    when: Text | None = Field(None, description="Time point and definition.")
    subgroup: Text | None = Field(None, description="Part of the patients that it is about.")
    unit: Text | None = Field(None, description="Unit of the number: months, years, per cent.")
    arms: dict[Id, ArmValue] = Field({}, description="Numbers per arm, by the arm's id.")
    contrast: Contrast | None = Field(
        None,
        description=(
            "Direction of an effect as printed; of a p-value without an effect, the numerator "
            "is the group that is said to have more of the outcome."
        ),
    )
    model: Text | None = Field(None, description="Model that gave the effect, adjustment, n.")
    estimate: PrintedText | None = Field(None, description="Effect as printed.")
    ci: Interval | None = Field(None, description="Its confidence interval as printed.")
    ci_level: NumberText = Field("0.95", description="Level of that interval, as a fraction.")
    p: PrintedText | None = Field(None, description="p-value as printed.")
    parts: dict[Id, Count] = Field({}, description="Counts that the events or n consist of.")
    limits: Limits | None = Field(
        None, description="Bounds of the category, where it is one of numbers (age groups)."
    )
    report: Id = Field(description="Report that prints it.")
    quote: Text = Field(description="Its words, verbatim.")
    also: list[AlsoPrinted] = Field([], description="Other reports that print it.")
    derived: Derived | None = Field(None, description="Set where the number is not printed.")
    use: bool = Field(True, description="Whether an analysis may take it.")
    why_not: Text | None = Field(None, description="Why not; needed with `use: no`.")
    note: Text | None = Field(None, description="Anything else.")

    @model_validator(mode="after")
    def _is_possible(self) -> "Result":
        mistakes = _interval_mistakes(self.estimate, self.ci, "ci")
        if not 0 < number(self.ci_level) < 1:
            mistakes.append(f"ci_level {self.ci_level} is not between 0 and 1")
        if not self.use and not self.why_not:
            mistakes.append("`use: no` needs `why_not`")
        if self.kind == "km_probability" and any(
            v.events is not None for v in self.arms.values()
        ):
            mistakes.append("a Kaplan-Meier probability is not a count: remove `events`")
        if self.kind == "hazard_ratio" and self.estimate and not self.contrast:
            mistakes.append("a hazard ratio needs `contrast: {numerator, denominator}`")
        if self.kind in ("hazard_ratio", "risk_ratio", "odds_ratio"):
            bounds = [b for b in [self.estimate, *(self.ci or [])] if b not in (None, "NR")]
            if any(parse_printed(b).value <= 0 for b in bounds):
                mistakes.append("a ratio and its bounds are above 0")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


class Split(Strict):
    """Arms that divide another arm: every unit is in one of them, or its part is unknown."""

    of: Id = Field(description="The arm that is divided.")
    into: list[Id] = Field(min_length=2, description="Its parts, which share nobody.")
    unknown: Count = Field(0, description="Units of which the part is not known.")
    note: Text | None = Field(None, description="Anything else.")


class Sum(Strict):
    """Results whose events add up: categories that exclude each other."""

    parts: list[Id] = Field(min_length=2, description="Results of this file.")
    total: Id | None = Field(
        None, description="Result whose events are their sum; by default the n of the parts."
    )
    arm: Id | None = Field(None, description="Arm, where the results have several.")
    note: Text | None = Field(None, description="Anything else.")


class Move(Strict):
    """Patients who changed arms after randomisation."""

    what: Text = Field(description="What happened, e.g. crossover.")
    from_: Id = Field(alias="from", description="Arm they left.")
    to: Id = Field(description="Arm or treatment they went to.")
    n: Count = Field(description="How many.")
    of: Count = Field(description="Of how many.")
    report: Id = Field(description="Report that says so.")
    quote: Text = Field(description="Its words.")


class Overlap(Strict):
    """Patients who may be in another study too."""

    with_: Id = Field(alias="with", description="The other study.")
    kind: Literal["same_patients", "same_registry", "same_centres"] = Field(description="How.")
    exactly: Count | None = Field(None, description="Number shared, where it is known.")
    at_most: Count | None = Field(None, description="Upper bound of the number shared.")
    unit: Unit = Field("patients", description="What the number counts.")
    certainty: Literal["stated", "likely", "possible", "excluded"] = Field(
        description="How sure that is."
    )
    report: Id | None = Field(None, description="Report that says so.")
    quote: Text | None = Field(None, description="Its words.")
    detail: Text | None = Field(None, description="Anything else.")


class AcceptedFlag(Strict):
    """A person's decision on a finding of the audit."""

    rule: Id = Field(description="Rule, as in audit.csv.")
    place: Text = Field(description="Place of the finding, as in audit.csv.")
    decision: Literal["accept", "exclude"] = Field(
        description="accept: the row may be pooled as it is printed; exclude: it stays out."
    )
    reason: Text = Field(description="Reason.")
    who: Text = Field(description="Person who decided.")
    when: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] = Field(
        description="Date, as 2026-11-21."
    )


class RiskOfBias(Strict):
    """Judgements of a person; null until there is one."""

    tool: Text = Field(description="Tool: RoB2, ROBINS-I, JBI-case-series, QUIPS, ...")
    per_outcome: dict[Id, dict[str, Text | None] | None] = Field(
        {}, description="Judgement per domain, by outcome."
    )


class StudyFile(Strict):
    """One study: a set of patients, whatever the number of reports about it."""

    study: Id = Field(description="Name of the study; unique in the review.")
    label: Text | None = Field(None, description="Name to print; by default the id.")
    design: Literal[
        "rct", "nonrandomised", "single_arm", "registry", "cohort", "case_series"
    ] = Field(description="Design.")
    excluded: Text | None = Field(
        None, description="Why no analysis takes this study; it is listed with this reason."
    )
    registry: list[Text] = Field([], description="Registry numbers.")
    randomisation: Text | None = Field(None, description="Ratio, masking, factors.")
    recruited: Period | None = Field(None, description="When and where.")
    population: Population | None = Field(None, description="Who.")
    reports: list[Report] = Field(min_length=1, description="Publications about the study.")
    arms: list[Arm] = Field(min_length=1, description="Groups of patients.")
    results: list[Result] = Field([], description="One entry per number.")
    splits: list[Split] = Field([], description="Arms that divide another arm, for the audit.")
    sums: list[Sum] = Field([], description="Results that add up, for the audit.")
    events_after_randomisation: list[Move] = Field([], description="Crossover and the like.")
    overlaps: list[Overlap] = Field([], description="Patients shared with other studies.")
    accepted_flags: list[AcceptedFlag] = Field([], description="Decisions on audit findings.")
    risk_of_bias: RiskOfBias | None = Field(None, description="Judgements on bias.")
    note: Text | None = Field(None, description="Anything else.")


class Outcome(Strict):
    """An outcome and its direction."""

    label: Text = Field(description="Name to print.")
    definition: Text = Field(description="What counts, when, how measured.")
    unit: Text | None = Field(None, description="Unit of the number.")
    higher_is: Literal["good", "bad", "neither"] = Field(
        description=(
            "Whether a higher value of it is good (more responses, a longer time); for an "
            "outcome of hazard ratios, whether a higher hazard is. Decides `favours` labels."
        )
    )
    synonyms: list[Text] = Field([], description="Other names in reports.")


class OutcomesFile(Strict):
    """outcomes.yaml: the outcomes of the review."""

    outcomes: dict[Id, Outcome] = Field(min_length=1, description="Outcomes by their id.")
