"""Parts and their totals: counts that add up, percentages that add up, and rounded sums."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from evisynth.audit.counting import (
    candidates,
    cut,
    folded,
    listed,
    percent_text,
    rounded,
    share,
    spread,
    usable,
)
from evisynth.audit.material import StudyMaterial, name_of
from evisynth.audit.records import Check, Place, Proportion, Rule
from evisynth.studyfile import Sum

# Categories of response; ORR is the sum of the first row's, by whatever a study counts there.
RESPONSE = ("cr", "pr", "vgpr")
MAYBE_RESPONSE = ("mixed_response", "mr", "minor_response")
# Of more sets of counts than these no sum is formed: an integer percentage of a large group.
MOST_SUMS = 10_000
ACTION = "compare the parts and the total with the report"


@dataclass(frozen=True, slots=True)
class Added:
    """One set of parts in one arm, with what they add up to.

    Attributes
    ----------
    parts : proportions of the parts; `total` the proportion of the sum, None for n.
    n : number of units of the parts; None if they differ.
    """

    place: Place
    parts: tuple[Proportion, ...]
    total: Proportion | None
    n: int | None


def check_sums(material: StudyMaterial) -> Iterator[Check]:
    """Rule SUM-PARTS."""
    yield from _parts_of_results(material)
    for added in declared(material):
        check = _added(added)
        if check:
            yield check
    yield from _arms_made_of(material)
    yield from _responses(material)


def _by_result(material: StudyMaterial) -> Mapping[tuple[str, str], Proportion]:
    """Proportions by result and arm; of results without a percentage or count the n too."""
    return {
        key: value for key, value in material.values.items() if value.kind != "km_probability"
    }


def declared(material: StudyMaterial) -> Iterator[Added]:
    """The entries of `sums`, per arm that all their parts have."""
    values = _by_result(material)
    for entry in material.study.content.sums:
        for arm in _arms(material, entry):
            parts = [values[name, arm] for name in entry.parts if (name, arm) in values]
            if len(parts) < len(entry.parts):
                continue
            total = None
            if entry.total:
                arms = material.results[entry.total].arms
                only = next(iter(arms)) if len(arms) == 1 else arm
                total = values.get((entry.total, arm if arm in arms else only))
                if total is None:
                    continue
            names = (*entry.parts, *([entry.total] if entry.total else []))
            sizes = {part.n for part in parts}
            place = replace(
                parts[0].place if total is None else total.place,
                results=names,
                arms=tuple(dict.fromkeys((arm, *((total.arm,) if total else ())))),
            )
            yield Added(place, tuple(parts), total, sizes.pop() if len(sizes) == 1 else None)


def _arms(material: StudyMaterial, entry: Sum) -> list[str]:
    if entry.arm:
        return [entry.arm]
    known = [material.results.get(name) for name in (*entry.parts, entry.total) if name]
    if not all(known):
        return []
    common = [set(result.arms) for result in known[: len(entry.parts)] if result]
    return sorted(set.intersection(*common))


def _sums(parts: Sequence[range]) -> set[int] | None:
    found = {0}
    for part in parts:
        if len(found) * len(part) > MOST_SUMS:
            return None
        found = {a + b for a in found for b in part}
    return found


def _counts(value: Proportion) -> range | None:
    """The count as extracted, derived ones too; else what its percentage allows."""
    if value.events is not None:
        return range(value.events, value.events + 1)
    return candidates(value)


def _added(added: Added) -> Check | None:
    counts = [_counts(part) for part in added.parts]
    known = [values for values in counts if values]
    if not known:
        return None
    sums = _sums(known)
    if added.total is not None:
        goal = _counts(added.total)
        name = added.total.place.results[0]
    else:
        goal = None if added.n is None else range(added.n, added.n + 1)
        name = "n"
    printed = " + ".join(spread(values) if values else "?" for values in counts)
    if sums is None or not goal:
        return Check(
            added.place,
            "undecided",
            printed,
            explanation=f"the total ({name}) is not printed as a count or fits none",
        )
    target = f"{name} {spread(goal)}"
    reached = spread(sorted(sums))
    whole = len(known) == len(counts)
    fits = bool(sums & set(goal)) if whole else min(sums) <= goal[-1]
    if fits:
        verdict = "consistent" if whole else "undecided"
        return Check(
            added.place,
            "consistent" if whole else "undecided",
            printed,
            f"{reached}; {target}",
            "the parts add up" if verdict == "consistent" else "a part has no usable number",
        )
    names = [part.place.results[0] for part in added.parts]
    return Check(
        added.place,
        "inconsistent",
        printed,
        f"{reached}, not {target}",
        f"{listed(names)} exclude each other and add up to {reached}, not to {target}",
        ACTION,
    )


def _parts_of_results(material: StudyMaterial) -> Iterator[Check]:
    values = _by_result(material)
    for name, result in material.results.items():
        if not result.parts:
            continue
        total = sum(result.parts.values())
        own = [values[name, arm] for arm in result.arms if (name, arm) in values]
        goals = [goal for value in own for goal in (value.events, value.n) if goal is not None]
        place = material.result_place(result)
        printed = f"{' + '.join(map(str, result.parts.values()))} = {total}"
        if not goals:
            yield Check(place, "undecided", printed, "", "the result has no events and no n")
        elif total in goals:
            yield Check(place, "consistent", printed, f"{total}", "the parts add up")
        elif len(own) > 1:
            yield Check(
                place,
                "undecided",
                printed,
                listed(goals),
                "the parts do not say to which of the arms they belong",
            )
        else:
            goal = own[0].events if own[0].events is not None else own[0].n
            yield Check(
                place,
                "inconsistent",
                printed,
                f"events {goal}",
                f"the parts {listed(result.parts)} add up to {total}, not to {goal}",
                ACTION,
            )
        if len(own) == 1:
            yield from _parts_elsewhere(material, name, own[0])


def _parts_elsewhere(material: StudyMaterial, name: str, total: Proportion) -> Iterator[Check]:
    """A part that is a result of its own has the same count there."""
    values = _by_result(material)
    for part, count in material.results[name].parts.items():
        other = values.get((part, total.arm))
        if other is None or other.events is None:
            continue
        if (folded(other.when), other.subgroup, other.n, other.place.report) != (
            folded(total.when),
            total.subgroup,
            total.n,
            total.place.report,
        ):
            continue
        place = replace(other.place, results=(part, name))
        if other.events == count:
            yield Check(place, "consistent", str(other.events), str(count), "the part agrees")
        else:
            yield Check(
                place,
                "inconsistent",
                f"{part} {other.events}",
                f"{count} as a part of {name}",
                f"{part} is {other.events} on its own and {count} as a part of {name}",
                ACTION,
            )


def _arms_made_of(material: StudyMaterial) -> Iterator[Check]:
    arms = {arm.id: arm for arm in material.study.content.arms}
    for arm in arms.values():
        parts = [arms[part] for part in arm.made_of]
        if not parts or {part.unit for part in parts} != {arm.unit}:
            continue
        total = sum(part.n for part in parts)
        place = material.place(f"arms.{arm.id}")
        printed = f"{arm.id} {arm.n}"
        recomputed = f"{' + '.join(str(part.n) for part in parts)} = {total}"
        if total == arm.n:
            yield Check(place, "consistent", printed, recomputed, "the arms add up")
            continue
        concerned = tuple(
            name
            for name, result in material.results.items()
            if any(
                value.n is None and id_ in (arm.id, *arm.made_of)
                for id_, value in result.arms.items()
            )
        )
        yield Check(
            replace(place, results=concerned, arms=(arm.id, *arm.made_of)),
            "inconsistent",
            printed,
            recomputed,
            f"the arms that {arm.id} is made of have {total} units, not {arm.n}",
            "check the sizes of the arms",
        )


def _responses(material: StudyMaterial) -> Iterator[Check]:
    """CR + PR = ORR, ORR + SD = clinical benefit, + PD at most n: known by their outcomes."""
    told = {entry.total for entry in material.study.content.sums}
    groups: dict[tuple[object, ...], dict[str, list[Proportion]]] = defaultdict(dict)
    for value in material.proportions:
        if value.kind == "km_probability" or value.events is None or value.category:
            continue
        key = (value.arm, folded(value.when), value.subgroup, value.n, value.place.report)
        groups[key].setdefault(value.outcome, []).append(value)
    for group in groups.values():
        one = {outcome: found[0] for outcome, found in group.items() if len(found) == 1}
        yield from _ladder(material, one, told)


def _ladder(
    material: StudyMaterial, one: Mapping[str, Proportion], told: set[str | None]
) -> Iterator[Check]:
    def explained(outcome: str) -> bool:
        name = one[outcome].place.results[0]
        return name in told or bool(material.results[name].parts)

    if {"cr", "pr", "orr"} <= set(one) and not explained("orr"):
        yield _step(one, [o for o in RESPONSE if o in one], "orr")
    if {"orr", "sd", "clinical_benefit"} <= set(one) and not explained("clinical_benefit"):
        yield _step(one, ["orr", "sd"], "clinical_benefit")
    best = (
        ["clinical_benefit"]
        if "clinical_benefit" in one
        else ["orr", "sd"]
        if {"orr", "sd"} <= set(one)
        else []
    )
    if best and "pd" in one:
        steps = [one[outcome] for outcome in (*best, "pd")]
        total, n = sum(value.events or 0 for value in steps), steps[0].n
        if n is None:
            return
        place = replace(steps[0].place, results=tuple(v.place.results[0] for v in steps))
        printed = f"{' + '.join(str(v.events) for v in steps)} of {n}"
        if total > n:
            yield Check(
                place,
                "inconsistent",
                printed,
                f"{total}, not {n}",
                f"{listed((*best, 'pd'))} are more than the {n} evaluated",
                ACTION,
            )
        elif total == n:
            yield Check(place, "consistent", printed, str(total), "the responses add up to n")
        else:
            yield Check(
                place,
                "undecided",
                printed,
                str(total),
                f"{n - total} of {n} are in no category of response; they may be not evaluable",
            )


def _step(one: Mapping[str, Proportion], parts: Sequence[str], total: str) -> Check:
    values = [one[part] for part in parts]
    added, goal = sum(value.events or 0 for value in values), one[total].events or 0
    names = tuple(one[outcome].place.results[0] for outcome in (*parts, total))
    place = replace(one[total].place, results=names)
    printed = f"{' + '.join(f'{v.outcome} {v.events}' for v in values)}; {total} {goal}"
    extra = [one[outcome].events or 0 for outcome in MAYBE_RESPONSE if outcome in one]
    if added == goal or added + sum(extra) == goal:
        return Check(place, "consistent", printed, str(goal), "the responses add up")
    if total == "clinical_benefit" and goal >= (one["orr"].events or 0):
        return Check(
            place,
            "undecided",
            printed,
            str(added),
            f"{listed(parts)} add up to {added}, {total} is {goal}: stable disease may count "
            "only if it lasts",
        )
    return Check(
        place,
        "inconsistent",
        printed,
        f"{added}, not {goal}",
        f"{listed(parts)} add up to {added}, {total} is {goal}",
        ACTION + "; what counts as a response may differ",
        # A total above its parts may count a category that nobody extracted.
        "warning" if added < goal else None,
    )


def check_rounded(material: StudyMaterial) -> Iterator[Check]:
    """Rule SUM-ROUNDED."""
    seen: set[str] = set()
    for total, parts in _with_percent(material):
        if total.place.text not in seen:
            check = _rounded(total, parts)
            if check:
                seen.add(total.place.text)
                yield check
    for part, check in _differences(material):
        if part.place.text not in seen:
            seen.add(part.place.text)
            yield check
    yield from _hidden_totals(material, seen)


def _with_percent(
    material: StudyMaterial,
) -> Iterator[tuple[Proportion, tuple[Proportion, ...]]]:
    """Totals and parts that all have a percentage: declared, and parts that are results."""
    values = _by_result(material)
    for added in declared(material):
        if added.total is not None and added.total.percent is not None:
            yield added.total, added.parts
    for result in material.study.content.results:
        for arm in result.arms if result.parts and len(result.arms) == 1 else ():
            parts = [values[part, arm] for part in result.parts if (part, arm) in values]
            if len(parts) == len(result.parts):
                yield values[name_of(result), arm], tuple(parts)


def _units(value: Proportion, decimals: int) -> int:
    assert value.percent is not None  # of the callers' choice
    return round(value.percent.value * 10.0**decimals)


def _decimals(values: Sequence[Proportion]) -> int | None:
    """Decimals that all percentages have; None if one has none, or they differ."""
    found = {
        value.percent.decimals if usable(value.percent) and value.percent else None
        for value in values
    }
    return found.pop() if len(found) == 1 else None


def _rounded(total: Proportion, parts: tuple[Proportion, ...]) -> Check | None:
    decimals = _decimals((total, *parts))
    if decimals is None or total.percent is None or total.n is None or total.events is None:
        return None
    sum_of_parts = sum(_units(part, decimals) for part in parts)
    texts = " + ".join(percent_text(part.percent) for part in parts if part.percent)
    fits = total.events in rounded(total.percent, total.n)
    equal = sum_of_parts == _units(total, decimals)
    ratio = share(total.events, total.n, decimals)
    if fits:
        return Check(
            total.place, "consistent", percent_text(total.percent), ratio, "rounded once"
        )
    if not equal:
        return None  # wrong in another way: other rules say so
    return Check(
        total.place,
        "inconsistent",
        percent_text(total.percent),
        f"{ratio}; {texts} = {percent_text(total.percent)}",
        f"{percent_text(total.percent)} is the sum of the rounded {texts}; "
        f"{total.events} of {total.n} would print {100 * total.events / total.n:.{decimals}f}%",
        "take the counts, not the percentage",
    )


def _differences(material: StudyMaterial) -> Iterator[tuple[Proportion, Check]]:
    """A part that is printed as the difference of the total and the other parts."""
    for total, parts in _with_percent(material):
        decimals = _decimals((total, *parts))
        if decimals is None or total.percent is None:
            continue
        if _units(total, decimals) != sum(_units(part, decimals) for part in parts):
            continue
        for part in parts:
            if part.percent is None or part.n is None or part.events is None:
                continue
            if part.events in rounded(part.percent, part.n):
                continue
            others = [p.percent for p in parts if p is not part and p.percent]
            texts = " - ".join(percent_text(p) for p in (total.percent, *others))
            own = percent_text(part.percent)
            ratio = share(part.events, part.n, decimals)
            yield (
                part,
                Check(
                    part.place,
                    "inconsistent",
                    own,
                    f"{ratio}; {texts} = {own}",
                    f"{own} makes the rounded percentages add up to "
                    f"{percent_text(total.percent)}; {part.events} of {part.n} would print "
                    f"{100 * part.events / part.n:.{decimals}f}%",
                    "take the counts, not the percentage",
                ),
            )


def _hidden_totals(material: StudyMaterial, seen: set[str]) -> Iterator[Check]:
    """A percentage that no count prints and that some exclusive categories add up to."""
    exclusive = [added for added in declared(material) if len(added.parts) <= 12]
    for value in material.proportions:
        percent = value.percent
        if (
            percent is None
            or not usable(percent)
            or percent.decimals == 0
            or not value.n
            or value.place.text in seen
            or value.kind == "km_probability"
            or (value.events is not None and not value.derived)
            or rounded(percent, value.n)
        ):
            continue
        for added in exclusive:
            if added.parts[0].arm == value.arm and added.n == value.n:
                found = _subset(value, added.parts)
                if found:
                    seen.add(value.place.text)
                    yield _hidden(value, found)
                    break


def _words(value: Proportion) -> set[str]:
    """Words that tell what a category is about."""
    return {word for word in re.findall(r"\w+", value.category.casefold()) if len(word) > 5}


def _subset(value: Proportion, parts: Sequence[Proportion]) -> tuple[Proportion, ...] | None:
    """Two to four categories whose percentages add up to this one, about the same thing.

    Without a common word such a sum is likely to be a coincidence: there are many subsets.
    """
    assert value.percent is not None  # checked by the caller
    decimals = value.percent.decimals
    words = _words(value)
    usual = [
        part
        for part in parts
        if part.percent is not None
        and part.percent.decimals == decimals
        and part.events
        and part.place.text != value.place.text
    ]
    for size in range(2, min(len(usual), 4) + 1):
        for chosen in combinations(usual, size):
            about = any(words & _words(part) for part in chosen)
            total = sum(_units(part, decimals) for part in chosen)
            if about and total == _units(value, decimals):
                return chosen
    return None


def _hidden(value: Proportion, parts: Sequence[Proportion]) -> Check:
    assert value.percent is not None  # checked by the caller
    assert value.n is not None
    events = sum(part.events or 0 for part in parts)
    texts = " + ".join(percent_text(part.percent) for part in parts if part.percent)
    own = percent_text(value.percent)
    also = "" if events not in cut(value.percent, value.n) else ", or cut off"
    return Check(
        value.place,
        "inconsistent",
        own,
        f"{share(events, value.n, value.percent.decimals + 1)}; {texts} = {own}",
        f"{own} is no count of {value.n}; it is the sum of the rounded {texts} "
        f"({events} of {value.n}){also}",
        "take the counts, not the percentage",
    )


def check_hundred(material: StudyMaterial) -> Iterator[Check]:
    """Rule SUM-HUNDRED."""
    for added in declared(material):
        if added.total is not None or added.n is None:
            continue
        used = [part for part in added.parts if part.percent is not None]
        silent = [part for part in added.parts if part.percent is None and part.events != 0]
        if silent or len(used) < 2 or not all(usable(part.percent) for part in used):
            continue
        total = sum(part.percent.value for part in used if part.percent)
        units = [10.0**-part.percent.decimals for part in used if part.percent]
        # Rounded percentages miss by half a unit each; cut off, they fall short by a whole one.
        low, high = 100 - sum(units), 100 + sum(units) / 2
        decimals = max(part.percent.decimals for part in used if part.percent)
        printed = " + ".join(percent_text(part.percent) for part in used if part.percent)
        recomputed = f"{total:.{decimals}f}%"
        if low - 1e-9 <= total <= high + 1e-9:
            yield Check(
                added.place, "consistent", printed, recomputed, "the percentages add up to 100"
            )
        else:
            names = [part.place.results[0] for part in used]
            yield Check(
                added.place,
                "inconsistent",
                printed,
                f"{recomputed}; rounding allows {low:.{decimals}f} to {high:.{decimals}f}%",
                f"{listed(names)} exclude each other and add up to {recomputed}, not to 100%",
                "check the denominators; a category may be missing or counted twice",
            )


RULES: tuple[Rule, ...] = (
    Rule(
        "SUM-PARTS",
        "error",
        "study",
        "Parts do not add up to their total: `parts` of a result, `sums`, arms `made_of` arms, "
        "CR + PR = ORR, ORR + SD = clinical benefit (not decided where only lasting SD may "
        "count), with PD at most n.",
        check_sums,
    ),
    Rule(
        "SUM-ROUNDED",
        "note",
        "study",
        "A printed percentage is the sum or the difference of rounded percentages, not the "
        "rounded ratio of its count.",
        check_rounded,
    ),
    Rule(
        "SUM-HUNDRED",
        "warning",
        "study",
        "Percentages of categories that exclude each other and exhaust n add up to other than "
        "100, beyond what rounding or cutting off digits allows.",
        check_hundred,
    ),
)
