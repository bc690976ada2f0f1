"""Rules about a fit: intervals that became narrower, estimates at a bound."""

from collections.abc import Iterator

from evisynth.audit.records import Check, FitFacts, Place, Rule


def _place(facts: FitFacts) -> Place:
    return Place(facts.file, None, "", "", f"analyses.{facts.analysis}")


def hk_narrow(facts: FitFacts) -> Iterator[Check]:
    """Knapp-Hartung's interval against Wald's."""
    if facts.k < 2 or facts.hk_width is None:
        return
    place = _place(facts)
    if facts.wald_width is None:
        yield Check(place, "undecided", explanation="Wald's interval was not computed")
        return
    printed = f"Knapp-Hartung {facts.hk_width:.4g} wide"
    recomputed = f"Wald {facts.wald_width:.4g} wide"
    if facts.q is not None and facts.q_df is not None:
        recomputed += f", Q = {facts.q:.4g} on {facts.q_df} df"
    if facts.hk_width < facts.wald_width:
        yield Check(
            place,
            "inconsistent",
            printed,
            recomputed,
            "Knapp-Hartung's interval is narrower than Wald's: the studies differ less than "
            "their sampling errors, by chance or because they are not independent",
            "show the interval with the floor max(1, q), `model: {floor: yes}`",
        )
    else:
        yield Check(place, "consistent", printed, recomputed, "it is not narrower than Wald's")


def boundary(facts: FitFacts) -> Iterator[Check]:
    """Variances and correlations at a bound."""
    noted = [note for note in facts.notes if "bound" in note.casefold()]
    if facts.tau2 is None and not noted:
        return
    place = _place(facts)
    printed = "" if facts.tau2 is None else f"tau² = {facts.tau2:.4g}"
    if facts.tau2_at_bound or noted:
        yield Check(
            place,
            "inconsistent",
            printed or "; ".join(noted),
            "; ".join(noted) or "0 is the least that is allowed",
            "an estimate lies at the bound of what is allowed, where its standard error and "
            "intervals that rest on it do not hold",
            "read the interval of tau² and an estimator that avoids the bound; with few "
            "studies a bound is no evidence that the studies agree",
        )
    else:
        yield Check(place, "consistent", printed, "inside its bounds", "no bound is met")


RULES: tuple[Rule, ...] = (
    Rule(
        "HK-NARROW",
        "warning",
        "fit",
        "The interval by Knapp and Hartung is narrower than Wald's, which happens when "
        "Q < k - 1.",
        hk_narrow,
        "Jackson et al. 2017, Stat Med 36:3923",
    ),
    Rule(
        "BOUNDARY",
        "warning",
        "fit",
        "tau² = 0, or a correlation is -1 or 1, at the bound of what is allowed.",
        boundary,
        "Chung et al. 2013, Stat Med 32:4071",
    ),
)
