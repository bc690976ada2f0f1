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
    "t": "Wald's standard error, t with k - 1 degrees of freedom",
    "hybrid_wald": "the wider of Knapp & Hartung's and Wald's interval (Jackson et al. 2017)",
    "hybrid_common": "the wider of Knapp & Hartung's and the common-effect interval",
    "iqwig6": "Knapp & Hartung, floored where narrower than DerSimonian & Laird (IQWiG 6)",
    "kr": "Kenward & Roger (Partlett & Riley 2017), with REML",
    "hc": "Henmi & Copas (2010), with DL: centred at the common effect",
    "uwls": "multiplicative model (Stanley & Doucouliagos 2015)",
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
    "NNF": "confidence distribution of tau2, exact (Nagashima, Noma & Furukawa 2019)",
    "NNF-boot": "the same by parametric bootstrap: `replicates`, `seed`",
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

FAMILIES: dict[str, str] = {
    "IV": "inverse variance: normal likelihood of every study's effect",
    "MH": "Mantel & Haenszel (1959): common effect, no continuity correction",
    "MHDL": "Review Manager's random effects: inverse variance, DL's tau2 around MH's estimate",
    "PETO": "Peto (Yusuf et al. 1985): common odds ratio, one step from no effect",
    "GLMM": "exact likelihood of the counts, normally distributed effects (`glmm`)",
    "BB": "beta-binomial (Young-Xu & Chan 2008)",
    "PLR": "logistic regression with Firth's penalty (1993), common odds ratio",
    "MV": "multilevel or multivariate normal model (`dependence` says which)",
    "RVE": "robust variance estimation (Hedges, Tipton & Johnson 2010)",
    "BAYES": "Bayesian normal-normal model by quadrature (Röver 2020), see `prior`",
}

FAMILY_MEASURES: dict[str, tuple[str, ...]] = {
    "MH": ("OR", "RR", "RD", "IRR", "IRD"),
    "MHDL": ("OR", "RR", "RD"),
    "PETO": ("OR", "PETO"),
    "GLMM": ("PLO", "OR", "IRLN", "IRR"),
    "BB": ("PLO", "OR", "RR", "RD"),
    "PLR": ("OR",),
}
"""Measures that a family is for; a family that is not named takes every measure."""

REGRESSION_TESTS = ("z", "t", "knha", "adhoc")
"""Tests of `TESTS` that there are with moderators."""

SHARED_ARM_MEASURES = ("OR", "RR", "RD", "AS", "IRR", "IRD", "MD", "ROM", "SMD")
"""Measures for which a shared control group gives the covariance."""

STUDY_MODERATORS: dict[str, str] = {
    "year": "year of the report that the numbers are from",
    "design": "design of the study",
    "setting": "setting of its population",
    "treatment": "treatment class of the arm, or of both arms: new v old",
}
"""Moderators that study files have."""

GLMM: dict[str, str] = {
    "UM.FS": "unconditional, fixed study effects",
    "UM.RS": "unconditional, random study effects",
    "CM.EL": "conditional on the number of events, exact (noncentral hypergeometric)",
    "CM.AL": "conditional on the number of events, approximate (binomial)",
}

STRUCTURES: dict[str, str] = {
    "nested": "random effects of `levels`, each within the one before it",
    "CS": "one variance, one correlation of `inner`",
    "HCS": "a variance for every value of `inner`, one correlation",
    "UN": "a variance and a correlation for every pair of values of `inner`",
    "DIAG": "a variance for every value of `inner`, no correlation",
    "ID": "one variance, no correlation",
}

ROBUST: dict[str, str] = {
    "none": "model-based standard errors",
    "CR2": "bias-reduced, target the working model (Pustejovsky & Tipton 2018)",
    "CR2-identity": "bias-reduced, target the identity (PyMARE's)",
    "CR1": "the plain sandwich times m/(m - 1), m clusters",
    "CR0": "the plain sandwich",
}

INTERVALS: dict[str, str] = {
    "QP": "Q-profile (Viechtbauer 2007)",
    "PL-REML": "profile restricted likelihood",
    "PL-ML": "profile likelihood (Hardy & Thompson 1996)",
    "BJ": "generalised Q, weights 1/vi (Biggerstaff & Jackson 2008)",
    "J": "generalised Q, weights 1/sei (Jackson 2013)",
    "J1": "generalised Q, equal weights (Jackson 2013)",
    "BT": "Biggerstaff & Tweedie (1997), gamma approximation to Q",
    "SJ": "Sidik & Jonkman (2005)",
    "WALD-REML": "normal, from the standard error of the REML estimate",
    "WALD-ML": "normal, from the standard error of the ML estimate",
}

WEIGHTS: dict[str, str] = {
    "inverse_variance": "1/vi",
    "inverse_se": "1/sei",
    "equal": "the same for every study",
}

PRIORS: dict[str, str] = {
    "half_normal": "`half_normal(scale)`: normal, folded at 0",
    "half_cauchy": "`half_cauchy(scale)`: Cauchy, folded at 0",
    "uniform": "`uniform(maximum)`: 0 to the maximum",
    "log_normal": "`log_normal(location; scale)`: log tau is normal",
    "log_student_t": "`log_student_t(location; scale)`: log tau has a t distribution with 5 df",
    "turner": "`turner(outcome; comparison)` or `turner`: Turner et al. (2015), for OR",
    "rhodes": "`rhodes(outcome; comparison; area)` or `rhodes`: Rhodes et al. (2015), for SMD",
}
"""Priors of tau, with their arguments."""

PRESETS: dict[str, str] = {
    "cochrane2025": "Cochrane's methods since January 2025 (RevMan), our rules for few studies",
    "revman5": "Review Manager 5: DerSimonian-Laird, Wald, one half added to zero cells",
    "metafor": "R package metafor: REML, Wald, normal prediction interval",
    "meta8": "R package meta, version 8: REML, Wald, prediction with k - 1 df",
    "iqwig6": "IQWiG, General Methods 6: Paule-Mandel, Knapp-Hartung",
}
