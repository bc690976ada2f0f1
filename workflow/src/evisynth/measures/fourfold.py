"""Two groups with counts: the fourfold table."""

import math
from fractions import Fraction

from evisynth.measures.base import (
    VIECHTBAUER,
    Effect,
    Measure,
    Numbers,
    log_ratio,
    none,
    reciprocals,
    root,
)
from evisynth.measures.transformations import exponential, identity, logarithm

YULE = "Yule (1912), J R Stat Soc 75(6):579-652, doi:10.2307/2340126"


def _cells(numbers: Numbers) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    return (
        Fraction(numbers["ai"]),
        Fraction(numbers["bi"]),
        Fraction(numbers["ci"]),
        Fraction(numbers["di"]),
    )


def _odds_ratio(numbers: Numbers) -> Effect:
    a, b, c, d = _cells(numbers)
    return Effect(log_ratio(a * d, b * c), reciprocals(a, b, c, d))


def _risk_ratio(numbers: Numbers) -> Effect:
    a, b, c, d = _cells(numbers)
    n1, n2 = a + b, c + d
    variance = float(b / (a * n1) + d / (c * n2)) if a and c else math.inf
    return Effect(log_ratio(a * n2, c * n1), variance)


def _risk_difference(numbers: Numbers) -> Effect:
    a, b, c, d = _cells(numbers)
    n1, n2 = a + b, c + d
    return Effect(float(a / n1 - c / n2), float(a * b / n1**3 + c * d / n2**3))


def _arcsine_difference(numbers: Numbers) -> Effect:
    a, b, c, d = _cells(numbers)
    # The tangent of the difference; ad - bc is exact where two arcsines would cancel.
    roots = root(a * d) + root(b * c)
    above = float(a * d - b * c) / roots if roots else 0.0
    yi = math.atan2(above, root(b * d) + root(a * c))
    return Effect(yi, float(1 / (4 * (a + b)) + 1 / (4 * (c + d))))


def _peto(numbers: Numbers) -> Effect:
    a, b, c, d = _cells(numbers)
    n1, n2, events, others = a + b, c + d, a + c, b + d
    n = n1 + n2
    if n <= 1 or not events or not others:
        what = "no events in both groups" if not events else "only events in both groups"
        return none(f"{what}, which tell nothing of an odds ratio")
    v = n1 * n2 * events * others / (n**2 * (n - 1))
    return Effect(float((a - events * n1 / n) / v), float(1 / v))


def _phi(numbers: Numbers) -> Effect:
    a, b, c, d = _cells(numbers)
    n1, n2, events, others = a + b, c + d, a + c, b + d
    if not events or not others:
        return none("no events, or only events, in both groups")
    n = n1 + n2
    margins = root(n1 * n2 * events * others)
    phi = float(a * d - b * c) / margins
    skew = float((n1 - n2) * (events - others)) / margins
    squares = float((n1 - n2) ** 2 / (n1 * n2) + (events - others) ** 2 / (events * others))
    # Within rounding of |phi| = 1 the sum of terms may come out below 0; it is 0 there.
    vi = 1 - phi**2 + phi * (1 + phi**2 / 2) * skew - 0.75 * phi**2 * squares
    return Effect(phi, max(vi, 0.0) / float(n))


def _yule_q(numbers: Numbers) -> Effect:
    a, b, c, d = _cells(numbers)
    if not a * d + b * c:
        return none("zero cell")
    yi = float((a * d - b * c) / (a * d + b * c))
    # 1 - Q^2 = 4 ad bc/(ad + bc)^2, without cancellation where Q is near 1
    rest = float(4 * a * b * c * d / (a * d + b * c) ** 2)
    return Effect(yi, rest**2 * reciprocals(a, b, c, d) / 4)


def _yule_y(numbers: Numbers) -> Effect:
    a, b, c, d = _cells(numbers)
    if not a * d + b * c:
        return none("zero cell")
    roots = root(a * d) + root(b * c)
    yi = float(a * d - b * c) / roots**2
    rest = 4 * root(a * b * c * d) / roots**2  # 1 - Y^2
    return Effect(yi, rest**2 * reciprocals(a, b, c, d) / 16)


FOURFOLD = (
    Measure(
        key="OR",
        label="Odds ratio",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula="yi = log(ai di/(bi ci)); vi = 1/ai + 1/bi + 1/ci + 1/di",
        citation=(
            "Woolf (1955), Ann Hum Genet 19(4):251-253, doi:10.1111/j.1469-1809.1955.tb01348.x"
        ),
        compute=_odds_ratio,
        limits=(
            "Not to be read as a risk ratio where events are common; with rare events "
            "Mantel-Haenszel needs no correction of zero cells."
        ),
    ),
    Measure(
        key="RR",
        label="Risk ratio",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula="yi = log((ai/n1i)/(ci/n2i)); vi = 1/ai - 1/n1i + 1/ci - 1/n2i",
        citation="Katz et al. (1978), Biometrics 34(3):469-474, doi:10.2307/2530610",
        compute=_risk_ratio,
        limits=(
            "Depends on which of event and non-event is counted; with rare events "
            "Mantel-Haenszel needs no correction of zero cells."
        ),
    ),
    Measure(
        key="RD",
        label="Risk difference",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula=(
            "yi = p1 - p2, p1 = ai/n1i, p2 = ci/n2i; vi = p1 (1 - p1)/n1i + p2 (1 - p2)/n2i"
        ),
        citation=VIECHTBAUER,
        compute=_risk_difference,
        limits=(
            "Depends on the baseline risk; studies without events get large weights in "
            "inverse-variance pooling."
        ),
    ),
    Measure(
        key="AS",
        label="Arcsine difference",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula=("yi = asin(sqrt(ai/n1i)) - asin(sqrt(ci/n2i)); vi = 1/(4 n1i) + 1/(4 n2i)"),
        citation="Rücker et al. (2009), Stat Med 28(5):721-738, doi:10.1002/sim.3511",
        compute=_arcsine_difference,
        limits=(
            "Hard to read: a sensitivity analysis where events are rare. It keeps studies "
            "without events and needs no correction."
        ),
        corrected=False,
    ),
    Measure(
        key="PETO",
        label="Peto odds ratio",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula=(
            "yi = (ai - E)/V, E = n1i (ai + ci)/n, "
            "V = n1i n2i (ai + ci) (bi + di)/(n^2 (n - 1)), n = n1i + n2i; vi = 1/V"
        ),
        citation=(
            "Yusuf et al. (1985), Prog Cardiovasc Dis 27(5):335-371, "
            "doi:10.1016/s0033-0620(85)80003-7"
        ),
        compute=_peto,
        limits=(
            "Only for rare events, groups of like size and small effects; biased elsewhere. "
            "Studies without events are not estimable, and zero cells are not corrected "
            "unless `add` says so."
        ),
        corrected=False,
    ),
    Measure(
        key="PHI",
        label="Phi coefficient",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula=(
            "yi = (ai di - bi ci)/sqrt(n1i n2i m1 m2), m1 = ai + ci, m2 = bi + di; "
            "vi = (1 - yi^2 + yi (1 + yi^2/2) (n1i - n2i) (m1 - m2)/sqrt(n1i n2i m1 m2) "
            "- 3/4 yi^2 ((n1i - n2i)^2/(n1i n2i) + (m1 - m2)^2/(m1 m2)))/n"
        ),
        citation=YULE,
        compute=_phi,
        limits=(
            "The variance is for cross-sectional (multinomial) sampling, not for groups of "
            "fixed size; depends on the margins, so not across different designs."
        ),
        corrected=False,
    ),
    Measure(
        key="YUQ",
        label="Yule's Q",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula=(
            "yi = (o - 1)/(o + 1), o the odds ratio; "
            "vi = (1 - yi^2)^2 (1/ai + 1/bi + 1/ci + 1/di)/4"
        ),
        citation=YULE,
        compute=_yule_q,
        limits="Not near -1 or 1: intervals leave that range; OR says the same.",
    ),
    Measure(
        key="YUY",
        label="Yule's Y",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula=(
            "yi = (sqrt(o) - 1)/(sqrt(o) + 1), o the odds ratio; "
            "vi = (1 - yi^2)^2 (1/ai + 1/bi + 1/ci + 1/di)/16"
        ),
        citation=YULE,
        compute=_yule_y,
        limits="Not near -1 or 1: intervals leave that range; OR says the same.",
    ),
)
