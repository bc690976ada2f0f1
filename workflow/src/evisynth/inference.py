"""From an estimate and its standard error to interval, statistic and p-value."""

import math

from scipy.special import betainc, betaincc, ndtri, stdtrit

from evisynth.records import Estimate

NAN = math.nan


def normal_quantile(level: float) -> float:
    """Half-width, in standard errors, of the normal interval of `level` (a fraction)."""
    return -float(ndtri((1 - level) / 2))


def quantile(level: float, df: float) -> float:
    """Half-width in standard errors of the t interval of `level`; normal where df is nan."""
    return normal_quantile(level) if math.isnan(df) else -float(stdtrit(df, (1 - level) / 2))


def two_sided_p(statistic: float, df: float = NAN) -> float:
    """Two-sided p-value of a t statistic; normal where df is nan, nan where df is 0."""
    if df == 0:
        return NAN
    if math.isnan(df) or math.isnan(statistic):
        return math.erfc(abs(statistic) / math.sqrt(2))
    # One function in three forms, each where none of its arguments or results is a difference
    # from 1 that has lost its digits.
    square = statistic * statistic
    if square < 1:
        return 1 - float(betainc(0.5, df / 2, square / (df + square)))
    if square < df:
        return float(betaincc(0.5, df / 2, square / (df + square)))
    return float(betainc(df / 2, 0.5, df / (df + square)))


def wald(
    *,
    model: str,
    method: str,
    test: str,
    k: int,
    estimate: float,
    se: float,
    level: float,
    df: float = NAN,
    null: float | None = 0.0,
    tau2: float = NAN,
    pi_half: float = NAN,
    notes: tuple[str, ...] = (),
) -> Estimate:
    """One row: estimate -/+ quantile * se, with the test against `null`.

    Parameters
    ----------
    level : confidence level as a fraction.
    df : degrees of freedom of the t distribution; nan for the normal.
    null : value under the hypothesis, on the analysis scale; None for no test (proportions).
    pi_half : half-width of the prediction interval; nan for none.
    """
    half = quantile(level, df) * se
    statistic = NAN if null is None else (estimate - null) / se
    return Estimate(
        model=model,
        method=method,
        test=test,
        k=k,
        estimate=estimate,
        se=se,
        ci_low=estimate - half,
        ci_high=estimate + half,
        pi_low=estimate - pi_half,
        pi_high=estimate + pi_half,
        statistic=statistic,
        df=df,
        p=NAN if math.isnan(statistic) else two_sided_p(statistic, df),
        tau2=tau2,
        notes=notes,
    )
