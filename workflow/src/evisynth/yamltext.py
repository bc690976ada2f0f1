"""YAML read as its author wrote it: every scalar stays text, every value knows its line.

YAML's own typing would turn ``no`` into False, ``.050`` into 0.05 and ``2020-01-01`` into a date;
trailing zeros and ``<`` carry information here, so only the schema decides on types.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evisynth.errors import InputError, Problem, echo

Keys = tuple[str | int, ...]

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
DEEPEST = 40
LARGEST_FILE = 10_000_000
LOADER = getattr(
    yaml, "CBaseLoader", yaml.BaseLoader
)  # libyaml, where PyYAML was built with it


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file.

    Attributes
    ----------
    file : name to show in messages.
    tree : dicts, lists, text and None (an empty or ``null`` plain scalar).
    lines : line (from 1) of every value, by its path of keys.
    """

    file: str
    tree: dict[str, Any]
    lines: dict[Keys, int]

    def line(self, keys: Keys) -> int | None:
        """Line of the value at `keys`, or of the nearest enclosing one."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys)


def read_text(path: Path, name: str) -> str:
    """Content of a UTF-8 text file; InputError where it is missing, empty, huge or not UTF-8."""

    def problem(found: str, expected: str, action: str) -> InputError:
        return InputError([Problem(name, "the file itself", found, expected, action)])

    try:
        if path.stat().st_size > LARGEST_FILE:
            raise problem(
                f"{path.stat().st_size} bytes", f"at most {LARGEST_FILE}", "split the file"
            )
        content = path.read_bytes()
    except IsADirectoryError:
        raise problem("a folder", "a file", "correct the path") from None
    except FileNotFoundError:
        raise problem("no such file", "a text file", "create it or correct the path") from None
    except OSError as error:
        raise problem(str(error.strerror), "a readable file", "check its permissions") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise problem(
            f"byte 0x{content[error.start]:02x} at position {error.start}, not UTF-8",
            "text in UTF-8",
            "save the file as UTF-8",
        ) from None
    if not text.strip():
        raise problem("an empty file", "content", "fill it in or remove it")
    return text


def read_yaml(path: Path, name: str) -> Document:
    """Read the YAML mapping in `path`, shown as `name` in messages.

    Raises
    ------
    InputError
        The file cannot be read, is not YAML, repeats a key, holds no mapping, or uses
        anchors, aliases or tags, none of which a study needs.
    """
    text = read_text(path, name)
    try:
        for event in yaml.parse(text, Loader=LOADER):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise InputError(
                    [
                        Problem(
                            name,
                            "an anchor or alias",
                            echo(event.anchor),
                            "plain YAML",
                            "write the value out",
                            event.start_mark.line + 1,
                        )
                    ]
                )
        node = yaml.compose(text, Loader=LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(
            [
                Problem(
                    name,
                    "YAML syntax",
                    str(getattr(error, "problem", None) or "text that is not YAML"),
                    "valid YAML",
                    "look at this line and the one above: indentation, quotes, `key: value`",
                    mark.line + 1 if mark else None,
                )
            ]
        ) from None
    except RecursionError:
        raise InputError(
            [Problem(name, "YAML syntax", "deep nesting", "a flat file", "flatten it")]
        ) from None
    problems: list[Problem] = []
    lines: dict[Keys, int] = {}
    tree = _plain(node, (), name, lines, problems)
    if not isinstance(tree, dict):
        problems.append(
            Problem(name, "top level", echo(tree), "`key: value` lines", "write a mapping", 1)
        )
    if problems:
        raise InputError(problems)
    return Document(name, tree, lines)


def _plain(
    node: yaml.Node, keys: Keys, name: str, lines: dict[Keys, int], problems: list[Problem]
) -> Any:
    lines[keys] = node.start_mark.line + 1
    if len(keys) > DEEPEST:
        problems.append(
            Problem(
                name, show(keys[:3]), "deep nesting", "a flat file", "flatten it", lines[keys]
            )
        )
        return None
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain(item, (*keys, i), name, lines, problems) for i, item in enumerate(node.value)
        ]
    if isinstance(node, yaml.MappingNode):
        tree: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                problems.append(
                    Problem(
                        name, show(keys), "a key that is no text", "text", "rename it", line
                    )
                )
            elif key in tree:
                problems.append(
                    Problem(
                        name,
                        show((*keys, key)),
                        f"the key {echo(key)} a second time",
                        "every key once",
                        "rename or remove one of the two",
                        line,
                    )
                )
            else:
                tree[key] = _plain(value_node, (*keys, key), name, lines, problems)
                lines[(*keys, key)] = line
        return tree
    return None if not node.style and node.value in NULLS else node.value


def show(keys: Keys) -> str:
    """A path of keys as a reader would write it: ``results[3].arms.all``."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key + 1}]"
        else:
            text += ("." if text else "") + str(key)
    return text or "top level"
