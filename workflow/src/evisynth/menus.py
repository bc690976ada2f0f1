"""Names that the configuration may use, with what they mean: one place, imported by all.

Only text lives here, so that the configuration can be checked without importing numpy. A test
keeps the keys equal to those of the registries that compute.
"""

MEASURES: dict[str, str] = {
    "PR": "raw proportion",
    "PLN": "log proportion",
    "PLO": "logit proportion",
    "PAS": "arcsine square-root proportion",
    "OR": "log odds ratio",
    "RR": "log risk ratio",
    "RD": "risk difference",
    "MD": "mean difference",
    "SMD": "standardised mean difference (Hedges' g)",
    "GEN": "generic: yi with vi or sei",
    "HR": "log hazard ratio from estimate and interval, or yi with sei",
}

TAU2: dict[str, str] = {
    "DL": "DerSimonian & Laird (1986)",
    "HE": "Hedges (1983)",
    "PM": "Paule & Mandel (1982)",
    "ML": "maximum likelihood",
    "REML": "restricted maximum likelihood",
    "HS": "Hunter & Schmidt (1990)",
    "HSk": "Hunter & Schmidt with the small-sample factor of Brannick et al. (2019)",
    "SJ": "Sidik & Jonkman (2005)",
    "EB": "empirical Bayes (Morris 1983); the same equation as Paule & Mandel's",
    "PMM": "median-unbiased Paule & Mandel (Viechtbauer 2021)",
    "DLIT": "DerSimonian & Laird iterated; its only fixed point is Paule & Mandel's",
}

# Estimators of tau2 that need a number besides their name.
TAU2_GIVEN: dict[str, str] = {
    "GENQ": "generalised Q with given weights (DerSimonian & Kacker 2007)",
    "GENQM": "median-unbiased generalised Q with given weights (Jackson 2013)",
    "fixed": "tau2 is given",
}

TESTS: dict[str, str] = {
    "z": "Wald, normal distribution",
    "knha": "Knapp & Hartung (2003), t with k - 1 degrees of freedom",
    "adhoc": "Knapp & Hartung with its factor floored at 1 (never below Wald's standard error)",
}

PREDICTION: dict[str, str] = {
    "normal": "normal quantile, Wald standard error",
    "V": "t with k - 1 degrees of freedom, Wald standard error",
    "HTS": "t with k - 2 degrees of freedom, Wald standard error (Higgins et al. 2009)",
    "HK": "t with k - 1 degrees of freedom, standard error of the confidence interval",
    "HK-PR": (
        "t with k - 2 degrees of freedom, standard error of the confidence interval "
        "(Partlett & Riley 2017)"
    ),
}

PLOTS: dict[str, str] = {"forest": "forest plot"}

FIELDS: dict[str, str] = {
    "study": "id of the study (text)",
    "label": "name to print",
    "year": "year of publication",
    "cluster": "rows of one study, of different patients (its arms); pooled as independent",
    "xi": "events, one group",
    "ni": "number of units, one group or in all",
    "ai": "events, group 1",
    "bi": "non-events, group 1",
    "n1i": "number of units, group 1",
    "ci": "events, group 2",
    "di": "non-events, group 2",
    "n2i": "number of units, group 2",
    "m1i": "mean, group 1",
    "sd1i": "standard deviation, group 1",
    "m2i": "mean, group 2",
    "sd2i": "standard deviation, group 2",
    "yi": "effect on the analysis scale",
    "vi": "its sampling variance",
    "sei": "its standard error",
    "estimate": "effect on the display scale",
    "ci_low": "lower bound of its interval, display scale",
    "ci_high": "upper bound of its interval, display scale",
    "ci_level": "level of that interval as a fraction; 0.95 where no column is mapped",
}
