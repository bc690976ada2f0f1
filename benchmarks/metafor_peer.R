#!/usr/bin/env Rscript
# The work of our analyses done by R's metafor, in one process: the yardstick of the benchmark.
#
#   Rscript benchmarks/metafor_peer.R RESULTS OUT
#
# RESULTS holds one folder per analysis with an effects.csv (results/*/effects.csv); OUT receives
# estimates.csv and ANALYSIS/forest.{svg,pdf,png}. Needs metafor >= 3.8 (Debian: r-cran-metafor).
suppressPackageStartupMessages(library(metafor))

args <- commandArgs(trailingOnly = TRUE)
if (length(args) != 2) stop("usage: metafor_peer.R RESULTS OUT")
out <- args[2]

METHODS <- c("EE", "DL", "PM", "REML", "ML", "HE")
TESTS <- c("z", "knha", "adhoc")
# Back-transformation to the display scale; a measure that is not listed is shown as it is.
DISPLAY <- list(OR = exp, RR = exp, HR = exp, IRR = exp, PLN = exp, PLO = transf.ilogit, PAS = transf.iarcsin)

# metafor's tolerances and search limits are absolute and loose: set them relative to the spread of the data.
control_for <- function(method, data) {
  scale <- mean(data$vi) + if (nrow(data) > 1) var(data$yi) else 0
  switch(method, EE = , DL = , HE = list(), ML = , REML = list(threshold = 1e-12 * scale, maxiter = 10000),
         PM = , confint = list(tol = 1e-12 * scale, tau2.max = 1e4 * scale, maxiter = 10000))
}

# One row of estimates; a fit that metafor refuses gives a row with its message.
estimate <- function(fit, analysis, data, method, test, tau2_ci) {
  row <- data.frame(analysis = analysis, measure = data$measure[1], k = nrow(data), method = method, test = test,
                    estimate = NA, se = NA, ci_low = NA, ci_high = NA, pi_low = NA, pi_high = NA, statistic = NA, p = NA,
                    tau2 = NA, tau2_low = NA, tau2_high = NA, i2 = NA, h2 = NA, q = NA, q_p = NA,
                    display = NA, display_low = NA, display_high = NA, notes = "")
  if (inherits(fit, "error")) { row$notes <- conditionMessage(fit); return(row) }
  pred <- predict(fit)                                          # predict() has no prediction interval for EE
  pi <- if (method == "EE") c(NA, NA) else c(pred$pi.lb, pred$pi.ub)
  shown <- DISPLAY[[row$measure]]
  if (is.null(shown)) shown <- identity
  row[6:20] <- list(fit$beta[1], fit$se, fit$ci.lb, fit$ci.ub, pi[1], pi[2], fit$zval, fit$pval,
                    fit$tau2, tau2_ci[1], tau2_ci[2], fit$I2, fit$H2, fit$QE, fit$QEp)
  row[21:23] <- lapply(c(fit$beta[1], fit$ci.lb, fit$ci.ub), shown)
  row
}

draw <- function(fit, data, folder) {
  dir.create(folder, recursive = TRUE, showWarnings = FALSE)
  height <- 2 + 0.25 * nrow(data)
  size <- list(svg = function(f) svg(f, 8, height), pdf = function(f) pdf(f, 8, height),
               png = function(f) png(f, 8, height, units = "in", res = 150, type = "cairo"))
  for (kind in names(size)) {
    size[[kind]](file.path(folder, paste0("forest.", kind)))
    forest(fit, slab = data$label, atransf = DISPLAY[[data$measure[1]]], xlab = data$measure[1], addpred = TRUE, header = TRUE)
    dev.off()
  }
}

analyse <- function(path) {
  analysis <- basename(dirname(path))
  data <- read.csv(path, na.strings = "", colClasses = c(study = "character", label = "character", included = "character"))
  data <- data[tolower(data$included) == "true", ]
  if (nrow(data) == 0) return(NULL)
  rows <- list()
  for (method in METHODS) {
    tau2_ci <- c(NA, NA)
    for (test in if (method == "EE") "z" else TESTS) {          # Knapp-Hartung belongs to random effects
      fit <- tryCatch(suppressWarnings(rma(yi, vi, data = data, method = method, test = test,
                                           control = control_for(method, data))), error = identity)
      if (test == "z" && method != "EE" && !inherits(fit, "error"))     # Q-profile: does not depend on the test
        tau2_ci <- tryCatch(suppressMessages(confint(fit, control = control_for("confint", data))$random[1, 2:3]),
                            error = function(e) c(NA, NA))
      rows[[length(rows) + 1]] <- estimate(fit, analysis, data, method, test, tau2_ci)
      if (method == "REML" && test == "knha") main <- fit
    }
  }
  if (!inherits(main, "error")) draw(main, data, file.path(out, analysis))
  do.call(rbind, rows)
}

dir.create(out, recursive = TRUE, showWarnings = FALSE)
paths <- sort(Sys.glob(file.path(args[1], "*", "effects.csv")))
write.csv(do.call(rbind, lapply(paths, analyse)), file.path(out, "estimates.csv"), row.names = FALSE, na = "")
