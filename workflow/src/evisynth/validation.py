"""A document against its model: every mistake at once, with its line and the nearest valid word."""

import difflib
import types
from collections.abc import Iterable
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from evisynth.errors import Problem, echo
from evisynth.yamltext import Document, Keys, show

M = TypeVar("M", bound=BaseModel)


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the known word closest to `word`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def choices(known: Iterable[str], most: int = 12) -> str:
    """Known words as a reader wants them: all of a few, the first of many."""
    words = sorted(known)
    return ", ".join(words[:most]) + (
        f", ... ({len(words)} in all)" if len(words) > most else ""
    )


def validate(model: type[M], document: Document) -> tuple[M | None, list[Problem]]:
    """`document` as `model`, or None with everything that is wrong with it."""
    try:
        return model.model_validate(document.tree), []
    except ValidationError as error:
        return None, _problems(model, document, error)


def _problems(
    model: type[BaseModel], document: Document, error: ValidationError
) -> list[Problem]:
    by_place: dict[Keys, list[dict[str, Any]]] = {}
    for item in error.errors(include_url=False, include_context=True):
        by_place.setdefault(_keys(document.tree, item["loc"]), []).append(dict(item))
    return [_problem(model, document, keys, items) for keys, items in by_place.items()]


def _keys(tree: object, loc: tuple[int | str, ...]) -> Keys:
    """The part of pydantic's location that exists in the document (it names unions too)."""
    keys: list[str | int] = []
    for i, part in enumerate(loc):
        if isinstance(tree, dict) and part in tree and loc[i + 1 : i + 2] != ("[key]",):
            tree = tree[part]
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        elif i == len(loc) - 1 and isinstance(part, str) and isinstance(tree, dict):
            keys.append(part)  # a missing key
            break
        elif part in ("[key]",) or not isinstance(tree, (dict, list)):
            continue
        elif isinstance(tree, dict) and loc[i + 1 : i + 2] == ("[key]",):
            keys.append(part)
            break
        else:
            continue
        keys.append(part)
    return tuple(keys)


def _value(tree: Any, keys: Keys) -> object:
    for key in keys:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def _problem(
    model: type[BaseModel], document: Document, keys: Keys, items: list[dict[str, Any]]
) -> Problem:
    kinds = {item["type"] for item in items}
    value, line = _value(document.tree, keys), document.line(keys)
    if kinds == {"extra_forbidden"}:
        known = _fields_at(model, keys[:-1])
        return Problem(
            document.file,
            show(keys),
            f"the unknown key {echo(str(keys[-1]))}",
            f"one of: {choices(known, 40)}",
            f"correct or remove it{nearest(str(keys[-1]), known)}",
            line,
        )
    if kinds == {"missing"}:
        return Problem(
            document.file,
            show(keys),
            "nothing",
            f"the key {keys[-1]!r}: {_describe(model, keys)}",
            "add it",
            line,
        )
    expected = " or ".join(dict.fromkeys(_expected(item) for item in items))
    allowed = [
        str(word)
        for item in items
        if item["type"] == "literal_error"
        for word in item["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
    ]
    hint = nearest(value, allowed) if isinstance(value, str) else ""
    return Problem(
        document.file,
        show(keys),
        echo(value) if not isinstance(value, dict | list) else _shape(value),
        expected,
        f"correct it{hint}",
        line,
    )


def _shape(value: dict[str, Any] | list[Any]) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}: {echo(value)}"
    return "the keys " + ", ".join(echo(str(key)) for key in list(value)[:12])


_EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "yes or no",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "`key: value` lines",
    "model_type": "`key: value` lines",
    "model_attributes_type": "`key: value` lines",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "yes or no",
}


def _expected(item: dict[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx") or {}
    if kind == "literal_error":
        return f"one of {context['expected']}"
    if kind == "value_error":
        return f"{context['error']}"
    if kind == "string_pattern_mismatch":
        return f"a safe name matching {context['pattern']}"
    return _EXPECTED.get(kind, str(item["msg"]))


def _models(annotation: Any) -> list[Any]:
    """Models and containers within an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType) or origin is not None and annotation is not None:
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
