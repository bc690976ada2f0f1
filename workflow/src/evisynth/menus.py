"""Names that the configuration may use, with what they mean: one place, imported by all.

Only text lives here, so that the configuration can be checked without importing numpy. A test
keeps the keys equal to those of the registries that compute.
"""

MEASURES: dict[str, str] = {
    "PR": "raw proportion",
    "PLN": "log proportion",
    "PLO": "logit proportion",
    "PAS": "arcsine square-root proportion",
    "PFT": "Freeman-Tukey double arcsine proportion",
    "IR": "raw incidence rate",
    "IRLN": "log incidence rate",
    "IRS": "square-root incidence rate",
    "MN": "raw mean",
    "MNLN": "log mean",
    "COR": "raw correlation",
    "ZCOR": "correlation by Fisher's z",
    "PCOR": "raw partial correlation",
    "ZPCOR": "partial correlation by Fisher's z",
    "SCLL": "survival probability at a time, complementary log-log",
    "SLO": "survival probability at a time, logit",
    "MED": "log median survival from estimate and interval",
    "OR": "log odds ratio",
    "RR": "log risk ratio",
    "RD": "risk difference",
    "AS": "arcsine square-root difference",
    "PETO": "log odds ratio by Peto's method",
    "PHI": "phi coefficient",
    "YUQ": "Yule's Q",
    "YUY": "Yule's Y",
    "IRR": "log incidence rate ratio",
    "IRD": "incidence rate difference",
    "IRSD": "difference of square-root incidence rates",
    "MD": "mean difference",
    "SMD": "standardised mean difference (Hedges' g)",
    "SMDH": "standardised mean difference, unequal variances",
    "ROM": "log ratio of means",
    "ROMBC": "log ratio of means, bias corrected",
    "VR": "log variability ratio",
    "CVR": "log ratio of coefficients of variation",
    "MC": "mean change of one group",
    "SMCC": "mean change in standard deviations of the change",
    "SMCR": "mean change in standard deviations of the first measurement given",
    "ROMC": "log ratio of means of one group",
    "GEN": "generic: yi with vi, sei or interval",
    "HR": "log hazard ratio from an interval, a p-value, a log-rank test or yi with sei",
}

TAU2: dict[str, str] = {
    "DL": "DerSimonian & Laird (1986)",
    "HE": "Hedges (1983)",
    "PM": "Paule & Mandel (1982)",
    "ML": "maximum likelihood",
    "REML": "restricted maximum likelihood",
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
    "ti": "person-time, one group; for PCOR and ZPCOR the t statistic of the predictor",
    "x1i": "events, group 1, for rates and hazard ratios",
    "t1i": "person-time, group 1",
    "x2i": "events, group 2, for rates and hazard ratios",
    "t2i": "person-time, group 2",
    "mi": "mean, one group; for PCOR and ZPCOR the number of other predictors",
    "sdi": "standard deviation, one group",
    "m1i": "mean, group 1 (or first of two measurements)",
    "sd1i": "standard deviation, group 1 (or first of two measurements)",
    "m2i": "mean, group 2 (or second of two measurements)",
    "sd2i": "standard deviation, group 2 (or second of two measurements)",
    "ri": "correlation (of the two measurements for MC, SMCC, SMCR, ROMC)",
    "yi": "effect on the analysis scale",
    "vi": "its sampling variance",
    "sei": "its standard error; for SCLL and SLO that of the survival probability",
    "estimate": "effect on the display scale",
    "ci_low": "lower bound of its interval, display scale (GEN: see the option scale)",
    "ci_high": "upper bound of its interval, display scale (GEN: see the option scale)",
    "ci_level": "level of that interval as a fraction; 0.95 where no column is mapped",
    "oe": "observed minus expected events, group 1",
    "v": "variance of that",
    "z": "log-rank statistic as a normal deviate, above 0 for more hazard in group 1",
    "chi2": "log-rank chi-square with 1 degree of freedom",
    "p": "p-value; see the option p_value of HR",
    "direction": "1 for more hazard in group 1, -1 for less, where chi2 or p does not say",
    "events": "events in both groups",
}
