"""What RevMan 5 and RevMan Web have in common: their words for measures and models."""

from collections.abc import Mapping
from typing import Any

MEASURES = {
    "or": "OR",
    "odds ratio": "OR",
    "peto_or": "PETO",
    "peto odds ratio": "PETO",
    "rr": "RR",
    "risk ratio": "RR",
    "rd": "RD",
    "risk difference": "RD",
    "md": "MD",
    "mean difference": "MD",
    "smd": "SMD",
    "std. mean difference": "SMD",
    "standardised mean difference": "SMD",
    "standardized mean difference": "SMD",
}
"""Names of effect measures, in small letters, and ours."""

COUNTS, MEANS = ("ai", "n1i", "ci", "n2i"), ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")


def is_hazard(measure: str) -> bool:
    """Whether a free name of an effect measure is that of a hazard ratio."""
    return "hazard" in measure.casefold() or measure.strip().casefold() == "hr"


def model(method: str, measure: str, *, random: bool) -> dict[str, Any]:
    """Model of Review Manager 5 as keys of an analysis.

    Parameters
    ----------
    method : ``MH``, ``IV``, ``PETO`` or ``EXP_O_E_VAR``.
    measure : ours.

    Notes
    -----
    Deeks & Higgins (2010), Statistical algorithms in Review Manager 5: random effects of counts
    that are pooled by Mantel & Haenszel take tau2 from Q around that estimate.
    """
    if measure == "PETO":
        return {"effects": "common", "family": "PETO", "test": "z"}
    counts = measure in ("OR", "RR", "RD")
    if not random:
        family = "MH" if counts and method == "MH" else "IV"
        return {"effects": "common", "family": family, "test": "z"}
    family = "MHDL" if counts and method == "MH" else "IV"
    return {"family": family, "method": "DL", "test": "z", "floor": False}


def settings(method: str, measure: str, *, random: bool, level: str = "95") -> dict[str, Any]:
    """Keys of an analysis that does what Review Manager does."""
    found: dict[str, Any] = {"preset": "revman5"}
    found["model"] = model(method, measure, random=random)
    try:
        share = float(level.strip().rstrip("%")) / 100
    except ValueError:
        share = 0.95
    if share != 0.95 and 0.5 < share < 1:
        found["level"] = round(share, 6)
    return found


def printed(values: Mapping[str, str]) -> str:
    """What Review Manager prints of a pooled estimate, in a sentence; empty where nothing."""
    estimate = values.get("estimate", "")
    # before RevMan has calculated, all of them are empty or 0
    if not estimate or values.get("ci_low") == values.get("ci_high"):
        return ""
    words = [f"RevMan prints {estimate}"]
    if values.get("ci_low") and values.get("ci_high"):
        words.append(f"[{values['ci_low']}, {values['ci_high']}]")
    rest = [
        f"{name} {values[name]}"
        for name in ("tau2", "chi2", "df", "I2", "Z", "p")
        if values.get(name)
    ]
    return " ".join(words) + (f", {', '.join(rest)}" if rest else "")


def without_events(
    texts: dict[str, str],
) -> dict[str, str]:
    """Counts of those without the event, where Review Manager swaps the two."""
    swapped = dict(texts)
    for events, total in (("ai", "n1i"), ("ci", "n2i")):
        try:
            swapped[events] = str(int(texts[total]) - int(texts[events]))
        except (KeyError, ValueError):
            swapped[events] = ""
    return {**swapped, "events1": texts.get("ai", ""), "events2": texts.get("ci", "")}
