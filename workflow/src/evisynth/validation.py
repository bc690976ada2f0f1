"""A document against its model: every mistake, with its line and the nearest valid word."""

import re
import types
from collections.abc import Iterable
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from evisynth.errors import Problem, echo
from evisynth.printed import spelling
from evisynth.yamltext import LONGEST_KEY, Document, Keys, show

M = TypeVar("M", bound=BaseModel)
Item = dict[str, Any]


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the known word closest to `word`, or nothing."""
    import difflib  # only a mistake needs it

    by_fold = {other.casefold(): other for other in sorted(known, reverse=True)}
    close = difflib.get_close_matches(word[:200].casefold(), list(by_fold), n=1, cutoff=0.6)
    return f"; did you mean {echo(by_fold[close[0]])}?" if close else ""


def choices(known: Iterable[str], most: int = 12) -> str:
    """Known words as a reader wants them: all of a few, the first of many."""
    words = sorted(known)
    shown = [w if len(w) <= LONGEST_KEY else w[:LONGEST_KEY] + "..." for w in words[:most]]
    return ", ".join(shown) + (f", ... ({len(words)} in all)" if len(words) > most else "")


def validate(model: type[M], document: Document) -> tuple[M | None, list[Problem]]:
    """`document` as `model`, or None with everything that is wrong with it."""
    try:
        content = model.model_validate(document.tree)
    except ValidationError as error:
        return None, [*document.problems, *_problems(model, document, error)]
    return (None if document.problems else content), list(document.problems)


def part(model: type[M], tree: object) -> M | None:
    """`tree` as `model` if nothing is wrong with it."""
    try:
        return model.model_validate(tree)
    except ValidationError:
        return None


def _problems(
    model: type[BaseModel], document: Document, error: ValidationError
) -> list[Problem]:
    """All mistakes.

    A rule that compares several keys of an entry is not asked while one of them is wrong by
    itself. So what is wrong is taken away and the rest is asked again.
    """
    problems: list[Problem] = []
    seen: set[Keys] = set()
    removed: set[Keys] = set()
    tree: Any = document.tree
    while True:
        by_place = _by_place(tree, error)
        fresh = {
            k: v for k, v in by_place.items() if k not in seen and not _is_gap(k, v, removed)
        }
        for keys, items in fresh.items():
            problems += _problem(model, document, keys, items, removed)
        seen |= set(fresh)
        wrong = {
            keys
            for keys, items in fresh.items()
            if keys and isinstance(keys[-1], str) and items[0]["type"] != "missing"
        }
        if not wrong:
            return problems
        removed |= wrong
        tree = _without(tree, wrong)
        try:
            model.model_validate(tree)
        except ValidationError as again:
            error = again
        else:
            return problems


def _by_place(tree: object, error: ValidationError) -> dict[Keys, list[Item]]:
    places: dict[Keys, list[Item]] = {}
    for item in error.errors(include_url=False, include_context=True):
        of_key = {"of_key": item["loc"][-1:] == ("[key]",)}
        places.setdefault(_keys(tree, item["loc"], item["type"]), []).append({**item, **of_key})
    outer = {keys[:i] for keys in places for i in range(len(keys))}
    # of a union, the alternatives that the author did not write are no mistakes
    return {
        keys: items
        for keys, items in places.items()
        if keys not in outer or not all(item["type"] in _WRONG_SHAPE for item in items)
    }


def _is_gap(keys: Keys, items: list[Item], removed: set[Keys]) -> bool:
    """Whether this is only wrong because a mistake was taken away."""
    if keys in removed:
        return True
    return items[0]["type"] == "too_short" and any(r[: len(keys)] == keys for r in removed)


def _without(tree: Any, places: set[Keys], at: Keys = ()) -> Any:
    if isinstance(tree, dict):
        return {
            key: _without(value, places, (*at, key))
            for key, value in tree.items()
            if (*at, key) not in places
        }
    if isinstance(tree, list):
        return [_without(value, places, (*at, i)) for i, value in enumerate(tree)]
    return tree


def _keys(tree: object, loc: tuple[int | str, ...], kind: str) -> Keys:
    """The part of pydantic's location that exists in the document (it names unions too)."""
    keys: list[str | int] = []
    for i, step in enumerate(loc):
        if loc[i + 1 :] == ("[key]",):
            keys.append(step)
            break
        there = (
            step in tree
            if isinstance(tree, dict)
            else (isinstance(tree, list) and isinstance(step, int) and step < len(tree))
        )
        if there:
            tree = tree[step]  # type: ignore[index]
        elif not (kind == "missing" and i == len(loc) - 1):
            continue
        keys.append(step)
    return tuple(keys)


def _value(tree: Any, keys: Keys) -> object:
    for key in keys:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def _problem(
    model: type[BaseModel],
    document: Document,
    keys: Keys,
    items: list[Item],
    removed: set[Keys],
) -> list[Problem]:
    kinds = {item["type"] for item in items}
    value, line = _value(document.tree, keys), document.line(keys)
    name, place = document.file, show(keys)
    if kinds == {"extra_forbidden"}:
        known = _fields_at(model, keys[:-1])
        found = f"the unknown key {echo(str(keys[-1]))}"
        action = f"correct or remove it{nearest(str(keys[-1]), known)}"
        return [Problem(name, place, found, f"one of: {choices(known, 40)}", action, line)]
    if kinds == {"missing"}:
        expected = f"the key {str(keys[-1])!r}: {_describe(model, keys)}"
        return [Problem(name, place, "nothing", expected, "add it", line)]
    if kinds == {"value_error"} and isinstance(value, dict):
        return [
            Problem(
                name,
                place,
                *_rule(mistake),
                "compare with the report and correct it",
                document.line((*keys, _mentioned(mistake, value))),
            )
            for item in items
            for mistake in str(item["ctx"]["error"]).split("; ")
            if not any((*keys, word) in removed for word in re.findall(r"\w+", mistake))
        ]
    expected = " or ".join(dict.fromkeys(_expected(item) for item in items))
    found, action = echo(value), f"correct it{_hint(value, items)}"
    if all(item["of_key"] for item in items):
        found, action = f"the name {echo(keys[-1])}", "rename it"
    return [Problem(name, place, found, expected, action, line)]


_RULES = (
    ("more than n", "{}", "no more events than n"),
    ("wrong order", "{}", "the lower bound first"),
    ("lies outside its", "{}", "an estimate within its interval"),
    ("is negative", "{}", "0 or more"),
    ("not between 0 and 1", "{}", "a fraction, such as 0.95"),
    ("needs `why_not`", "`use: no` without a reason", "{}"),
    ("needs `contrast", "an estimate without `contrast`", "{}"),
    ("is not a count", "`events` with a km_probability", "{}"),
    ("are above 0", "a ratio or a bound that is 0 or less", "{}"),
)
"""What a rule on several keys says, turned into what was found and what is expected."""


def _rule(mistake: str) -> tuple[str, str]:
    for words, found, expected in _RULES:
        if words in mistake:
            return found.replace("{}", mistake), expected.replace("{}", mistake)
    return mistake, "entries that can be true together"


def _mentioned(mistake: str, value: dict[str, Any]) -> str:
    """The key that a mistake of an entry is about."""
    return next((word for word in re.findall(r"\w+", mistake) if word in value), "")


def _hint(value: object, items: list[Item]) -> str:
    if not isinstance(value, str):
        return ""
    allowed = [word for item in items for word in _literals(item)]
    close = nearest(value, allowed)
    if close:
        return close
    kinds = {item["type"] for item in items}
    if "list_type" in kinds:
        return f"; write [{value}]" if len(value) <= LONGEST_KEY and value.isprintable() else ""
    if "less_than" in kinds and re.fullmatch(r"[0-9]{2}(\.[0-9]+)?", value):
        return f"; as a fraction: {float(value) / 100:g}"
    return spelling(value)


def _literals(item: Item) -> list[str]:
    return re.findall(r"'([^']*)'", item["ctx"]["expected"]) if _is_literal(item) else []


def _is_literal(item: Item) -> bool:
    return bool(item["type"] == "literal_error")


_WRONG_SHAPE = {
    "bool_type": "yes or no",
    "dict_type": "`key: value` lines",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "literal_error": "",
    "model_attributes_type": "`key: value` lines",
    "model_type": "`key: value` lines",
    "string_type": "text",
}

_EXPECTED = _WRONG_SHAPE | {
    "bool_parsing": "yes or no",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number that is not so long",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "text that is not empty",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entries",
}

PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": (
        "a name of letters, digits, `.`, `_` and `-` that begins with a letter or digit, "
        "at most 64 characters"
    ),
    r"^[a-z0-9][a-z0-9_-]{0,63}$": (
        "a name of small letters, digits, `_` and `-` that begins with a letter or digit, "
        "at most 64 characters: it names a folder"
    ),
    r"^\d{1,9}$": "at most 9 digits",
    r"^[0-9a-f]{64}$": "64 digits 0-9 a-f, as sha256sum prints them",
    r"^\d{4}-\d{2}-\d{2}$": "a date as 2026-11-21",
}
"""Patterns of the models in words."""


def _expected(item: Item) -> str:
    kind, context = item["type"], item.get("ctx") or {}
    if _is_literal(item):
        words = _literals(item)
        return f"one of: {', '.join(words)}" if len(words) > 1 else f"`{words[0]}`"
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], "another spelling")
    if kind == "too_short" and context.get("min_length") == 1:
        return "at least one entry"
    return _EXPECTED.get(kind, "another value").format(**context)


def _models(annotation: Any) -> list[Any]:
    """Models and containers within an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType) or (origin is not None and annotation is not None):
        return [found for part in get_args(annotation) for found in _models(part)]
    return []


def _models_at(model: type[BaseModel], keys: Keys) -> list[type[BaseModel]]:
    models = [model]
    inside_dict = False
    for key in keys:
        if isinstance(key, int) or inside_dict:
            inside_dict = False
            continue
        step: list[type[BaseModel]] = []
        for candidate in models:
            for name, field in candidate.model_fields.items():
                if key in (name, field.alias):
                    step += _models(field.annotation)
                    inside_dict = inside_dict or _is_dict(field.annotation)
        models = step or models
    return models


def _is_dict(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return origin is dict or any(_is_dict(part) for part in get_args(annotation) if origin)


def _fields_at(model: type[BaseModel], keys: Keys) -> set[str]:
    return {
        field.alias or name
        for candidate in _models_at(model, keys)
        for name, field in candidate.model_fields.items()
    }


def _describe(model: type[BaseModel], keys: Keys) -> str:
    for candidate in _models_at(model, keys[:-1]):
        for name, field in candidate.model_fields.items():
            if keys[-1] in (name, field.alias):
                return field.description or ""
    return ""
