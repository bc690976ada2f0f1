"""An R script that refits an analysis by metafor from its effects.csv and compares.

The script reads the numbers of the studies from `effects.csv` beside it, computes the effect
sizes by `escalc` from the raw columns, fits every model that metafor has, prints its numbers
beside ours, and ends in an error where they differ by more than the tolerance of the model.
What metafor does not have, or does otherwise by design (docs/agreement.md), is named in a
comment.

Text that comes from the reviewer's files is only ever a string of ASCII characters, with
everything else escaped, or a comment of one line.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evisynth.errors import LONGEST_TEXT
from evisynth.families import rows_for
from evisynth.records import EffectSizes, Estimate, Fit
from evisynth.tables import EFFECTS, SOURCES
from evisynth.tabular import cell

_FOURFOLD = "ai bi ci di"
_MEANS = "m1i sd1i n1i m2i sd2i n2i"
_RATES = "x1i t1i x2i t2i"
_PAIRED = "m1i m2i sd1i sd2i ri ni"
ESCALC: dict[str, str] = {
    **dict.fromkeys(("PR", "PLN", "PLO", "PAS", "PFT"), "xi ni"),
    **dict.fromkeys(("IR", "IRLN", "IRS"), "xi ti"),
    **dict.fromkeys(("MN", "MNLN"), "mi sdi ni"),
    **dict.fromkeys(("COR", "ZCOR"), "ri ni"),
    **dict.fromkeys(("OR", "RR", "RD", "AS", "PETO", "YUQ", "YUY"), _FOURFOLD),
    **dict.fromkeys(("IRR", "IRD", "IRSD"), _RATES),
    **dict.fromkeys(("MD", "SMD", "ROM"), _MEANS),
    "VR": "sd1i n1i sd2i n2i",
    **dict.fromkeys(("MC", "SMCC", "ROMC"), _PAIRED),
    "SMCR": "m1i m2i sd1i ri ni",
}
"""Arguments of escalc for the measures that all versions of metafor since 3.8 compute alike."""

OTHERWISE: dict[str, str] = {
    "SMDH": "its variance differs between versions of metafor",
    "PHI": "its variance differs between versions of metafor",
    "CVR": "its bias correction differs between versions of metafor",
    "ROMBC": "metafor before 5.0 does not have it; from 5.0 on it is metafor's ROM",
    "PCOR": "metafor counts the other predictors otherwise",
    "ZPCOR": "metafor counts the other predictors otherwise",
    "GEN": "they are given",
    "HR": "metafor takes log hazard ratios with their standard errors",
    "SCLL": "metafor does not have this measure",
    "SLO": "metafor does not have this measure",
    "MED": "metafor does not have this measure",
}
"""Why the effect sizes of a measure are not computed again."""

METHODS = frozenset("DL HE PM ML REML HS HSk SJ EB PMM".split())
TESTS = frozenset("z knha adhoc t".split())
GLMMS = {"PLO": "xi ni", "IRLN": "xi ti", "OR": _FOURFOLD, "IRR": _RATES}

EXACT, ITERATED, INTEGRATED, LIKELIHOOD, LAPLACE = 1e-6, 1e-4, 1e-3, 2e-2, 0.2
"""Tolerances, as parts of our standard error; of tau2 as parts of tau2 plus its square."""


def r_string(text: str) -> str:
    """`text` as a string of R, in ASCII."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    code = ord(character)
    if 32 <= code < 127:
        return character
    # R has no NUL in strings, and no surrogates
    if code == 0 or 0xD800 <= code < 0xE000:
        return "?"
    return f"\\U{{{code:x}}}" if code > 0xFFFF else f"\\u{{{code:x}}}"


def r_comment(text: str) -> str:
    """`text` as what can follow ``# `` on one line, in ASCII."""
    plain = "".join(
        c if 32 <= ord(c) < 127 else c.encode("unicode_escape").decode()
        for c in text[:LONGEST_TEXT]
    )
    return plain if len(text) <= LONGEST_TEXT else plain + "..."


def r_number(value: float) -> str:
    """A number of R, exact to the last digit; NA where there is none."""
    if math.isnan(value):
        return "NA"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return repr(float(value))


@dataclass(frozen=True, slots=True)
class Asked:
    """An analysis, for the script.

    Attributes
    ----------
    effects : with the rows that inverse variance uses included.
    choices : measure, options, zero_cells and level of the effect sizes.
    pooling : settings of pooling (`project.Project.pooling_settings`).
    """

    effects: EffectSizes
    fit: Fit
    choices: Mapping[str, Any]
    pooling: Mapping[str, Any]

    @property
    def level(self) -> str:
        """Confidence level in per cent."""
        return r_number(100 * self.fit.level)


def r_script(asked: Asked) -> str:
    """The script of an analysis."""
    parts = [
        _head(asked),
        *_effect_sizes(asked),
        *_models(asked),
        TAIL,
    ]
    return "\n".join(parts)


def _head(asked: Asked) -> str:
    name = r_comment(str(asked.pooling["analysis"]))
    return HEAD.format(name=name)


def _rows(included: Sequence[bool]) -> str:
    """Positions of rows in R."""
    found = [str(i) for i, used in enumerate(included, 1) if used]
    lines, line = [], ""
    for number in found:
        if len(line) + len(number) > 80:
            lines.append(line)
            line = ""
        line += f"{number}, "
    return "c(" + "\n  ".join([*lines, line]).removesuffix(", ") + ")"


def _effect_sizes(asked: Asked) -> Iterator[str]:
    effects, measure = asked.effects, asked.effects.measure
    yield "# --- effect sizes ---------------------------------------------------------------"
    if not any(effects.included):
        yield "# no row has an effect size that is pooled"
        yield "used <- integer()"
        yield 'es <- dat[used, c("yi", "vi")]\n'
        return
    yield f"used <- {_rows(effects.included)}"
    if why := _not_computed(asked):
        yield f"# yi and vi are those of effects.csv: {r_comment(why)}"
        yield "es <- dat[used, ]\n"
        return
    if ESCALC[measure] == _FOURFOLD:
        yield CELLS
    zeros = asked.choices["zero_cells"]
    extra = []
    if zeros["add"] is not None:
        extra.append(f"add = {r_number(zeros['add'])}")
    elif measure == "PETO":
        extra.append("add = 0")
    if zeros["to"] != "only0":
        extra.append(f"to = {r_string(zeros['to'])}")
    if zeros["drop00"] and ESCALC[measure] in (_FOURFOLD, _RATES):
        extra.append("drop00 = TRUE")
    variance = dict(effects.options).get("variance")
    if variance and variance != "LS":
        extra.append(f"vtype = {r_string(str(variance))}")
    arguments = ", ".join([*(f"{a} = {a}" for a in ESCALC[measure].split()), *extra])
    yield f"es <- escalc(measure = {r_string(measure)}, {arguments}, data = dat)"
    yield "es <- data.frame(yi = as.numeric(es$yi), vi = es$vi)[used, ]"
    yield 'compare_columns("yi", es$yi, dat$yi[used])'
    yield 'compare_columns("vi", es$vi, dat$vi[used])\n'


def _not_computed(asked: Asked) -> str:
    """Why escalc does not compute the effect sizes again; empty where it does."""
    effects, zeros = asked.effects, asked.choices["zero_cells"]
    if effects.measure not in ESCALC:
        return OTHERWISE.get(effects.measure, "metafor does not have this measure")
    if zeros["form"] != "cells" or zeros["to"] == "tacc":
        return "this correction of zero cells is not metafor's"
    options = dict(effects.options)
    if options.get("variance") == "RevMan":
        return "this variance is Review Manager's"
    if options.get("bias", "none") != "none":
        return "this bias correction is that of later versions of metafor"
    return ""


def _models(asked: Asked) -> Iterator[str]:
    yield "# --- models ---------------------------------------------------------------------"
    if not asked.fit.estimates:
        yield "".join(f"# {r_comment(note)}\n" for note in asked.fit.notes)
        return
    yield CONTROL.format(level=asked.level)
    for row in asked.fit.estimates:
        name = f"{row.model}, {row.method}, {row.test}"
        if row.subgroup:
            name += f", {row.subgroup}"
        if row.headline:
            name += " (headline)"
            for note in row.notes:
                if "Knapp" in note or "floor" in note:
                    yield f"# {r_comment(note)}"
        call, why, tolerance = _call(asked, row)
        if math.isnan(row.estimate):
            call, why = "", "not estimable"
        elif math.isinf(row.estimate):
            call, why = "", "at the end of its scale, where metafor has no model"
        if not call:
            yield f"# {r_comment(name)}: not refitted, {r_comment(why)}"
            continue
        yield f"compare({r_string(name)}, {r_number(tolerance)}, {_ours(row)},\n  {call})"
    yield ""


def _ours(row: Estimate) -> str:
    keys = ("estimate", "se", "ci_low", "ci_high", "tau2")
    values = {key: getattr(row, key) for key in keys}
    return "c(" + ", ".join(f"{k} = {r_number(v)}" for k, v in values.items() if v == v) + ")"


Call = tuple[str, str, float]
"""What R evaluates, or nothing; why nothing; the tolerance."""


def _call(asked: Asked, row: Estimate) -> Call:
    known = {
        "multilevel": _multilevel,
        "rve": lambda *_: ("", "robust variance estimation is not in metafor", 0.0),
        "bayes": lambda *_: ("", "metafor has no Bayesian models", 0.0),
    }
    if row.model in known:
        return known[row.model](asked, row)
    if row.method in ("MH", "PETO"):
        return _exact(asked, row)
    if row.method in ("GLMM", "UM.FS", "UM.RS", "CM.EL", "CM.AL"):
        return _glmm(asked, row)
    return _inverse_variance(asked, row)


def _inverse_variance(asked: Asked, row: Estimate) -> Call:
    if row.method == "UWLS":
        return "uwls(es$yi, es$vi)", "", EXACT
    if row.test == "hc":
        return (
            'values(hc(rma(yi, vi, data = es, method = "DL", level = level)))',
            "",
            INTEGRATED,
        )
    if row.test not in TESTS:
        return "", f"metafor has no test {row.test}", 0.0
    more = ""
    if row.model == "common" and row.method == "IV":
        method = "EE"
    elif row.method == "fixed":
        method, more = "REML", f", tau2 = {r_number(row.tau2)}"
    elif row.method in METHODS:
        method = row.method
    else:
        return "", f"metafor has no method {row.method}, or another of this name", 0.0
    return (
        f"values(rma(yi, vi, data = es, method = {r_string(method)}, "
        f"test = {r_string(row.test)}{more}, level = level, control = control))",
        "",
        EXACT if method in ("EE", "DL", "HE") or more else ITERATED,
    )


def _arguments(names: str) -> str:
    return ", ".join(f"{name} = {name}" for name in names.split())


def _data(asked: Asked, family: str) -> str:
    """Rows of the counts that a family takes, also without an effect size."""
    return f"dat[{_rows(rows_for(asked.effects, family).included)}, ]"


def _exact(asked: Asked, row: Estimate) -> Call:
    measure = asked.effects.measure
    names = _RATES if measure in ("IRR", "IRD") else _FOURFOLD
    cells = f"{_arguments(names)}, data = cells({_data(asked, row.method)}), level = level"
    if row.method == "PETO":
        return f"values(rma.peto({cells}))", "", EXACT
    return f"values(rma.mh(measure = {r_string(measure)}, {cells}))", "", EXACT


def _glmm(asked: Asked, row: Estimate) -> Call:
    measure = asked.effects.measure
    method = "EE" if row.model == "common" else "ML"
    data = f"cells({_data(asked, 'GLMM')})"
    own = measure in ("PLO", "IRLN")
    model = "" if own else f", model = {r_string(row.method)}"
    # metafor's integral for random study effects is Laplace's approximation
    nodes = 1 if row.method == "UM.RS" else 25
    test = "t" if row.test == "t" else "z"
    fit = (
        f"values(rma.glmm(measure = {r_string(measure)}, {_arguments(GLMMS[measure])}, "
        f"data = {data}{model}, method = {r_string(method)}, nAGQ = {nodes}, "
        f"test = {r_string(test)}, level = level))"
    )
    if own and method == "ML":
        fit = f'if (requireNamespace("lme4", quietly = TRUE)) {fit} else\n    marginal({data})'
    return fit, "", LAPLACE if row.method == "UM.RS" else LIKELIHOOD


def _multilevel(asked: Asked, row: Estimate) -> Call:
    dependence = asked.pooling["dependence"]
    other = [k for k in ("correlation", "shared_arm", "shared") if dependence.get(k)]
    if dependence.get("structure", "nested") != "nested" or row.subgroup or other:
        return "", "this script knows nested levels with an assumed correlation only", 0.0
    if "(rho" in row.method:
        return "", "a further assumed correlation", 0.0
    levels = dependence["levels"]
    named = [f"level{i} = {_column(asked, name)}" for i, name in enumerate(levels, 1)]
    nested = "/".join(f"level{i}" for i, _ in enumerate(levels, 1))
    rho = dependence.get("rho") or 0.0
    within = _column(asked, dependence.get("within") or "cluster") if rho else "NULL"
    kind = "none" if row.test in ("z", "t") else row.test
    return (
        f"multilevel(data.frame(yi = es$yi, vi = es$vi, {', '.join(named)}),\n"
        f"    ~ 1 | {nested}, {r_string(row.method)}, {r_number(rho)}, {within}, "
        f"{r_string(kind)})",
        "",
        ITERATED,
    )


def _column(asked: Asked, name: str) -> str:
    """A column of the rows that are pooled, by its name in effects.csv."""
    if name == "effect":
        return "factor(used)"
    taken = {*EFFECTS, *asked.effects.raw, *SOURCES, "notes"}
    if name in asked.effects.covariates and name in taken:
        name = f"{name}_given"
    return f"factor(dat[[{r_string(cell(name))}]][used])"


HEAD = """\
# Refits the analysis {name} by the R package metafor and compares; written by Evisynth.
#
#   Rscript metafor.R
#
# Reads effects.csv beside this file. Prints our number beside metafor's, and ends in an error
# where one differs by more than the tolerance of its model: parts of our standard error for
# estimates and intervals, of tau2 plus its square root times that error for tau2. What is known
# to differ, and why, is in docs/agreement.md of Evisynth.
suppressWarnings(suppressPackageStartupMessages(library(metafor)))
options(digits = 10)

file <- sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))
folder <- if (length(file)) dirname(gsub("~+~", " ", file[1], fixed = TRUE)) else "."
dat <- read.csv(file.path(folder, "effects.csv"), check.names = FALSE, na.strings = "",
                encoding = "UTF-8", stringsAsFactors = FALSE)

failed <- character()
missed <- character()
compared <- 0

compare_columns <- function(name, theirs, ours) {{
  off <- which(!(abs(theirs - ours) <= 1e-8 * pmax(abs(ours), 1e-8)))
  compared <<- compared + length(ours)
  cat(sprintf("%-44s %d of %d agree\\n", name, length(ours) - length(off), length(ours)))
  if (length(off)) failed <<- c(failed, paste(name, "of row", used[off]))
}}

compare <- function(name, tolerance, ours, theirs) {{
  theirs <- tryCatch(theirs, error = function(e) conditionMessage(e))
  if (is.character(theirs)) {{
    cat(sprintf("%-44s not compared: %s\\n", name, theirs))
    missed <<- c(missed, name)
    return(invisible())
  }}
  for (quantity in intersect(names(ours), names(theirs)[!is.na(theirs)])) {{
    a <- ours[[quantity]]
    b <- theirs[[quantity]]
    scale <- if ("se" %in% names(ours)) ours[["se"]] else abs(a)
    if (quantity == "tau2") scale <- a + scale * sqrt(a) + scale^2
    agrees <- abs(a - b) <= tolerance * scale
    compared <<- compared + 1
    cat(sprintf("%-44s %-9s %22.15g %22.15g  %s\\n", name, quantity, a, b,
                if (agrees) "agrees" else "DIFFERS"))
    if (!agrees) failed <<- c(failed, paste(name, quantity))
  }}
}}

values <- function(fit) {{
  one <- function(value) if (is.null(value)) NA else as.numeric(value)[1]
  c(estimate = one(fit$beta), se = one(fit$se), ci_low = one(fit$ci.lb),
    ci_high = one(fit$ci.ub), tau2 = one(fit$tau2))
}}

# Cells of a fourfold table, where group sizes are given.
cells <- function(dat) {{
  for (group in list(c("ai", "bi", "n1i"), c("ci", "di", "n2i"))) {{
    if (!is.null(dat[[group[3]]])) {{
      rest <- dat[[group[3]]] - dat[[group[1]]]
      given <- dat[[group[2]]]
      dat[[group[2]]] <- if (is.null(given)) rest else ifelse(is.na(given), rest, given)
    }}
  }}
  dat
}}

# The multiplicative model is a weighted regression.
uwls <- function(yi, vi) {{
  fit <- lm(yi ~ 1, weights = 1 / vi)
  ends <- confint(fit, level = level / 100)
  c(estimate = coef(fit)[[1]], se = sqrt(vcov(fit)[1, 1]), ci_low = ends[1], ci_high = ends[2])
}}

# Without lme4: the same likelihood of counts of one group, integrated by R itself.
marginal <- function(dat) {{
  logs <- function(mu, tau) sum(vapply(seq_len(nrow(dat)), function(i) {{
    x <- dat$xi[i]
    of <- function(theta) if (is.null(dat[["ti"]])) dbinom(x, dat$ni[i], plogis(theta)) else
      dpois(x, exp(theta) * dat$ti[i])
    if (tau < 1e-6) return(log(of(mu)))
    log(integrate(function(u) of(mu + tau * u) * dnorm(u), -12, 12, rel.tol = 1e-10,
                  subdivisions = 1000)$value)
  }}, 0))
  total <- sum(dat$xi) / sum(if (is.null(dat[["ti"]])) dat$ni else dat$ti)
  start <- if (is.null(dat[["ti"]])) qlogis(total) else log(total)
  minus <- function(p) -logs(p[1], abs(p[2]))
  best <- optim(c(start, 0.5), minus, control = list(reltol = 1e-14, maxit = 5000))
  c(estimate = best$par[1], tau2 = best$par[2]^2,
    se = sqrt(solve(optimHess(best$par, minus))[1, 1]))
}}

multilevel <- function(frame, random, method, rho, within, robust) {{
  V <- diag(frame$vi, nrow(frame))
  if (rho != 0) {{
    V <- sqrt(outer(frame$vi, frame$vi)) * ifelse(outer(within, within, "=="), rho, 0)
    diag(V) <- frame$vi
  }}
  fit <- rma.mv(yi, V, random = random, data = frame, method = method, level = level,
                control = list(rel.tol = 1e-12, x.tol = 1e-12))
  found <- c(estimate = fit$beta[1], tau2 = sum(fit$sigma2))
  if (robust == "none") return(c(found, se = fit$se[1]))
  if (robust %in% c("CR0", "CR1")) {{
    sandwich <- metafor::robust(fit, frame$level1, adjust = robust == "CR1")
    return(c(found, se = sandwich$se[1]))
  }}
  if (robust == "CR2" && requireNamespace("clubSandwich", quietly = TRUE)) {{
    sandwich <- metafor::robust(fit, frame$level1, clubSandwich = TRUE)
    return(c(found, se = sandwich$se[1]))
  }}
  cat("  (standard error not compared: ", robust, " needs clubSandwich)\\n", sep = "")
  found
}}
"""

CELLS = "dat <- cells(dat)"

CONTROL = """\
level <- {level}
# tight, so that what differs is the method and not where an iteration stops
control <- list(threshold = 1e-11, tol = 1e-13, maxiter = 10000,
                tau2.max = 100 * (1 + sum((es$yi - mean(es$yi))^2) + sum(es$vi)))
"""

TAIL = """\
cat(sprintf("%d numbers compared, %d differ; %d models not compared\\n", compared,
            length(failed), length(missed)))
if (length(failed)) {
  cat("What is known to differ, and which program is right, is in docs/agreement.md.\\n")
  stop("metafor differs: ", paste(failed, collapse = "; "), call. = FALSE)
}
"""
