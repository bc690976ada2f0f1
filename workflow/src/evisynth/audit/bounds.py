"""Numbers that cannot be: counts beyond their group, p-values beyond 1, negative variances."""

import re
from collections.abc import Iterator

from evisynth.audit.material import Material, StudyMaterial, TableMaterial, everywhere, level_of
from evisynth.audit.records import Check, Place, Rule
from evisynth.printed import Printed, parse_printed

_TIME = re.compile(
    r"\b\d+(?:\.\d+)?[\s-]*(?:years?|months?|yr|mo)\b|\b(?:one|two|three|five|ten)[\s-]years?\b"
    r"|_\d+(?:y|m|yr|mo)\b",
    re.IGNORECASE,
)
_SURVIVAL = re.compile(
    r"\b(?:surviv\w*|alive|progression[\s-]free|event[\s-]free|disease[\s-]free)\b"
    r"|\b(?:OS|EFS|PFS|DFS|RFS)\b",
    re.IGNORECASE,
)
TEXTS = frozenset({"study", "label", "year", "cluster"})
_COUNTS = ("xi", "ni", "ai", "bi", "ci", "di", "n1i", "n2i", "x1i", "x2i", "events", "eventsi")
_PAIRS = (("xi", "ni"), ("ai", "n1i"), ("ci", "n2i"), ("bi", "n1i"), ("di", "n2i"))
_POSITIVE = ("vi", "sei", "v", "md_sei", "smd_sei", "logor_sei", "msei", "mse1i", "mse2i")
_NOT_NEGATIVE = ("sdi", "sd1i", "sd2i", "iqri", "iqr1i", "iqr2i", "chi2")
_ORDERED = (
    ("ci_low", "estimate", "ci_high"),
    ("or_lowi", "ori", "or_highi"),
    ("rr_lowi", "rri", "rr_highi"),
    ("rd_lowi", "rdi", "rd_highi"),
    ("md_lowi", "mdi", "md_highi"),
    *(
        tuple(f"{name}{group}i" for name in names)
        for group in ("", "1", "2")
        for names in (("min", "q1", "med", "q3", "max"), ("mci_low", "m", "mci_high"))
    ),
)


def n_bounds(material: Material) -> Iterator[Check]:
    """Counts within their groups, groups within their study."""
    for proportion in material.proportions:
        k, n = proportion.events, proportion.n
        if k is not None and n is not None:
            yield _at_most(proportion.place, k, n, f"{k} of {n}", "more events than units")
    if isinstance(material, TableMaterial):
        yield from _whole_counts(material)
    else:
        yield from _groups(material)


def _at_most(place: Place, count: int, most: int, said: str, wrong: str) -> Check:
    if count <= most:
        return Check(place, "consistent", said, f"at most {most}", "within its bounds")
    return Check(
        place,
        "inconsistent",
        said,
        f"at most {most}",
        wrong,
        "check both numbers and what they count against the report",
    )


def _groups(material: StudyMaterial) -> Iterator[Check]:
    """Arms against the patients or episodes of the study, and patients against their units."""
    content = material.study.content
    population = content.population
    patients = population.patients if population else None
    sizes = {"patients": patients, "episodes": population.episodes if population else None}
    for arm in content.arms:
        place = material.place(f"arms.{arm.id}", arms=(arm.id,))
        most = sizes.get(arm.unit)
        if most is not None:
            said = f"{arm.n} {arm.unit}"
            yield _at_most(place, arm.n, most, said, f"more {arm.unit} than the study has")
        if arm.clusters is not None:
            most = min(arm.n, patients or arm.n)
            said = f"{arm.clusters} patients with {arm.n} {arm.unit}"
            yield _at_most(place, arm.clusters, most, said, "more patients than there can be")


def _whole_counts(table: TableMaterial) -> Iterator[Check]:
    """Counts of tables: whole, not negative, cells that add to their group."""
    for line, number, study, found in table.numbered:
        wrong = []
        for name in _COUNTS:
            value = found[name].value if name in found else 0.0
            if value < 0 or value != int(value):
                wrong.append((name, f"{found[name].text} is no whole number from 0 on"))
        for events, total in _PAIRS:
            if (
                events in found
                and total in found
                and (events in ("bi", "di") or found[events].value != int(found[events].value))
                and found[events].value > found[total].value
            ):
                wrong.append((events, f"{found[events].text} of {found[total].text}"))
        for one, two, total in (("ai", "bi", "n1i"), ("ci", "di", "n2i")):
            if one in found and two in found and total in found:
                cells = found[one].value + found[two].value
                if cells != found[total].value:
                    said = f"{found[one].text} + {found[two].text} are not {found[total].text}"
                    wrong.append((total, said))
        for name, said in wrong:
            yield Check(
                table.place(line, number, study, name),
                "inconsistent",
                said,
                "whole numbers, no more than their group",
                "counts that cannot be",
                "check the row against the report; a percentage may stand for a count",
            )


def p_bounds(material: Material) -> Iterator[Check]:
    """Every p-value from 0 to 1."""
    for place, p in _p_values(material):
        if 0 <= p.value <= 1:
            yield Check(place, "consistent", f"p = {p.text}", "0 to 1", "within its bounds")
        else:
            yield Check(
                place,
                "inconsistent",
                f"p = {p.text}",
                "0 to 1",
                "no p-value lies beyond 0 and 1",
                "check it against the report; another number of the row may stand here",
            )


def _p_values(material: Material) -> Iterator[tuple[Place, Printed]]:
    if isinstance(material, StudyMaterial):
        for result in material.study.content.results:
            if result.p is not None:
                yield material.result_place(result), parse_printed(result.p)
        return
    for line, number, study, found in material.numbered:
        for name in ("pval", "p", "md_pi"):
            if name in found:
                yield material.place(line, number, study, name), found[name]


def spread_bounds(table: TableMaterial) -> Iterator[Check]:
    """Variances above 0, bounds in order, correlations from -1 to 1."""
    for (line, number, study, found), (*_, cells) in zip(
        table.numbered, table.rows, strict=True
    ):
        wrong = [
            (name, printed.text, "a size that a number of a study can have")
            for name, printed in table.numbers(cells).items()
            if name not in found and name not in TEXTS
        ]
        wrong += [
            (name, found[name].text, "above 0")
            for name in _POSITIVE
            if name in found and found[name].value <= 0
        ]
        wrong += [
            (name, found[name].text, "not below 0")
            for name in _NOT_NEGATIVE
            if name in found and found[name].value < 0
        ]
        for names in _ORDERED:
            given = [(name, found[name]) for name in names if name in found]
            values = [printed.value for _, printed in given]
            if len(given) > 1 and values != sorted(values):
                said = ", ".join(printed.text for _, printed in given)
                wrong.append((given[0][0], said, "in rising order"))
        if "ci_level" in found and level_of(found) != found["ci_level"].value:
            wrong.append(("ci_level", found["ci_level"].text, "a fraction between 0 and 1"))
        if "ri" in found and not -1 <= found["ri"].value <= 1:
            wrong.append(("ri", found["ri"].text, "from -1 to 1"))
        for name, said, expected in wrong:
            yield Check(
                table.place(line, number, study, name),
                "inconsistent",
                said,
                expected,
                "a number that cannot be",
                "check it against the report; a sign, or two columns, may be exchanged",
            )
        if not wrong and any(
            name in found for names in (_POSITIVE, _NOT_NEGATIVE, *_ORDERED) for name in names
        ):
            place = table.place(line, number, study)
            yield Check(place, "consistent", explanation="spreads and bounds can be")


def km_not_count(material: StudyMaterial) -> Iterator[Check]:
    """Survival at a time is a Kaplan-Meier probability, unless nobody was censored before."""
    for result in material.study.content.results:
        if result.kind not in ("km_probability", "count", "crude_proportion"):
            continue
        place = material.result_place(result)
        counted = [value.events for value in result.arms.values() if value.events is not None]
        if result.kind == "km_probability" and not counted:
            yield Check(place, "consistent", explanation="a Kaplan-Meier value without a count")
        elif result.kind == "km_probability":
            yield _counted(place, counted[0], None)
        elif (
            counted and result.kind == "count" and any(v.printed for v in result.arms.values())
        ):
            words = f"{result.outcome} {result.when or ''}"
            at_time = _TIME.search(words) or _TIME.search(result.quote)
            named = _SURVIVAL.search(words.replace("_", " "))
            if at_time and named:
                yield _counted(place, counted[0], "warning")


def _counted(place: Place, events: int, level: str | None) -> Check:
    return Check(
        place,
        "inconsistent",
        f"{events} events of a survival probability at a time",
        "a probability without a count",
        "a Kaplan-Meier value is no count: those censored before are in neither part",
        "set `kind: km_probability` and remove `events`, or say that follow-up was complete",
        "warning" if level == "warning" else None,
    )


RULES = (
    Rule(
        "N-BOUNDS",
        "error",
        "review",
        "A count is negative, not whole or more than its group; a group is larger than its "
        "study; cells do not add to their group. Units are compared with the same units only.",
        everywhere(n_bounds),
    ),
    Rule("P-BOUNDS", "error", "review", "A p-value is not from 0 to 1.", everywhere(p_bounds)),
    Rule(
        "SPREAD-BOUNDS",
        "error",
        "table",
        "A variance or standard error is not above 0, a standard deviation negative, a "
        "correlation beyond 1, or an estimate or quantile out of order with its bounds.",
        spread_bounds,
    ),
    Rule(
        "KM-NOT-COUNT",
        "error",
        "study",
        "A Kaplan-Meier probability has a number of events; as a warning, a count with a "
        "percentage is worded as survival at a time.",
        km_not_count,
        "Kaplan & Meier (1958), J Am Stat Assoc 53(282):457-481, "
        "doi:10.1080/01621459.1958.10501452",
    ),
)
