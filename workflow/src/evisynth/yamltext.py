"""YAML read as its author wrote it: every scalar stays text, every value knows its line.

YAML's own typing would turn ``no`` into False, ``.050`` into 0.05 and ``2020-01-01`` into a
date; trailing zeros and ``<`` carry information here, so only the schema decides on types.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import yaml

from evisynth.errors import InputError, Problem, echo

Keys = tuple[str | int, ...]

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
DEEPEST = 40
LARGEST_FILE = 10_000_000
LONGEST_KEY = 60
# libyaml, where PyYAML was built with it
LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
NODES = (yaml.ScalarEvent, yaml.CollectionStartEvent, yaml.AliasEvent)
# no part of any text: terminals act on them and XML cannot hold them
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file.

    Attributes
    ----------
    file : name to show in messages.
    tree : dicts, lists, text and None (an empty or ``null`` plain scalar).
    lines : line (from 1) of every value, by its path of keys.
    problems : mistakes that left the rest readable, such as a key that stands twice.
    """

    file: str
    tree: dict[str, Any]
    lines: dict[Keys, int]
    problems: tuple[Problem, ...] = ()

    def line(self, keys: Keys) -> int | None:
        """Line of the value at `keys`, or of the nearest enclosing one."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys)

    def line_of(self, place: str) -> int | None:
        """Line of a place as `show` writes it, or of the nearest enclosing one."""
        shown = {show(keys): line for keys, line in self.lines.items()}
        while place and place not in shown:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return shown.get(place)


def read_text(path: Path, name: str, largest: int = LARGEST_FILE) -> str:
    """Content of a UTF-8 text file of at most `largest` bytes.

    Raises
    ------
    InputError
        The file is missing, empty, huge, no regular file, not UTF-8, or holds control
        characters.
    """

    def problem(found: str, expected: str, action: str, line: int | None = None) -> InputError:
        return InputError([Problem(name, "the file itself", found, expected, action, line)])

    try:
        status = path.stat()
        if S_ISDIR(status.st_mode):
            raise problem("a folder", "a file", "correct the path")
        if not S_ISREG(status.st_mode):
            raise problem("a device or pipe", "a file", "correct the path")
        if status.st_size > largest:
            raise problem(f"{status.st_size} bytes", f"at most {largest}", "split the file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise problem("no such file", "a text file", "create it or correct the path") from None
    except OSError as error:
        raise problem(
            error.strerror or "no access", "a readable file", "check its path and permissions"
        ) from None
    except InputError:
        raise
    except ValueError:  # a NUL in the path
        raise problem("a path that cannot exist", "a file", "correct the path") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise problem(
            f"byte 0x{content[error.start]:02x} at position {error.start}, not UTF-8",
            "text in UTF-8",
            "save the file as UTF-8",
            content.count(b"\n", 0, error.start) + 1,
        ) from None
    if not text.strip():
        raise problem("an empty file", "content", "fill it in or remove it")
    control = CONTROL.search(text)
    if control:
        raise problem(
            _control(control),
            "text",
            "remove it; if there are many, save the file as plain text in UTF-8",
            text.count("\n", 0, control.start()) + 1,
        )
    return text


def _control(match: re.Match[str]) -> str:
    return f"the control character U+{ord(match[0]):04X}"


def read_yaml(path: Path, name: str) -> Document:
    """Read the YAML mapping in `path`, shown as `name` in messages.

    Raises
    ------
    InputError
        The file cannot be read, is not YAML, or holds no mapping.
    """
    text = read_text(path, name)
    reader = _Reader(name)
    try:
        for event in yaml.parse(text, Loader=LOADER):
            reader.take(event)
    except yaml.YAMLError as error:
        raise InputError([*reader.problems, _syntax(name, text, error)]) from None
    except InputError:
        raise
    except (ValueError, OverflowError):  # PyYAML without libyaml: an escape beyond Unicode
        raise InputError(
            [*reader.problems, Problem(name, "YAML syntax", "a \\ escape", "text", "remove it")]
        ) from None
    if not isinstance(reader.tree, dict):
        raise InputError(
            [
                *reader.problems,
                Problem(
                    name,
                    "top level",
                    "only comments" if reader.tree is None else echo(reader.tree),
                    "`key: value` lines",
                    "write a mapping",
                    1,
                ),
            ]
        )
    return Document(name, reader.tree, reader.lines, tuple(reader.problems))


_SYNTAX = (
    (
        "mapping values are not allowed",
        "a second `key: value` on one line, or a wrong indentation",
        "put text that holds a colon in quotation marks; indent keys of one level alike",
    ),
    (
        "cannot start any token",
        "a character that no value can begin with",
        "indent with spaces, not tabs; put the value in quotation marks",
    ),
    (
        "unexpected end of stream",
        "a quotation mark that is never closed",
        "close it",
    ),
    ("',' or ']'", "a list in [ ] that is not closed", "add the comma or the ]"),
    ("',' or '}'", "keys in { } that are not closed", "add the comma or the }"),
    ("expected '-' indicator", "a list and keys mixed", "indent the lines of one list alike"),
    (
        "could not find expected ':'",
        "a line without `key:`",
        "add the colon, or indent the line",
    ),
    ("did not find expected key", "a key that is not indented as its neighbours", "align it"),
)


def _syntax(name: str, text: str, error: yaml.YAMLError) -> Problem:
    said = str(getattr(error, "problem", None) or "text that is not YAML")
    found, action = next(
        ((words, advice) for part, words, advice in _SYNTAX if part in said),
        (
            said.removeprefix("found "),
            "look at this line and the one above: indentation, quotes, `key: value`",
        ),
    )
    # what is never closed is noticed at the end; where it begins is more helpful
    marks = ("context_mark", "problem_mark") if "closed" in found else ("problem_mark",)
    mark = next((m for name in marks if (m := getattr(error, name, None))), None)
    line = mark.line + 1 if mark else None
    lines = text.splitlines()
    if line and line <= len(lines) and lines[line - 1].strip():
        found += f", in {echo(lines[line - 1])}"
    return Problem(name, "YAML syntax", found, "valid YAML", action, line)


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    keys: Keys
    value: Any
    key: str | None = None
    kept: bool = True


@dataclass(slots=True)
class _Reader:
    """Builds the tree from YAML's events; without recursion, so no file exhausts a stack."""

    name: str
    tree: Any = None
    lines: dict[Keys, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    documents: int = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, NODES):
            self._take_node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.stack.pop()
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents == 2:
                self._wrong(event, (), "a second document (`---`)", "one", "split the file")

    def _wrong(
        self, event: yaml.Event, keys: Keys, found: str, expected: str, action: str
    ) -> None:
        line = event.start_mark.line + 1 if event.start_mark else None
        self.problems.append(Problem(self.name, show(keys), found, expected, action, line))

    def _take_node(self, event: Any) -> None:
        top = self.stack[-1] if self.stack else None
        keys = self._keys(top)
        if event.anchor is not None or getattr(event, "tag", None) is not None:
            self._more_than_text(event, keys)
        if top and top.key is None and isinstance(top.value, dict):
            self._take_key(event, top)
            return
        self.lines.setdefault(keys, event.start_mark.line + 1)
        value = self._value(event, keys)
        if top is None:
            if self.documents == 1:
                self.tree = value
        elif isinstance(top.value, list):
            top.value.append(value)
        else:
            if top.kept:
                top.value[top.key] = value
            top.key = None
        if isinstance(event, yaml.CollectionStartEvent):
            self._open(event, keys, value)

    def _more_than_text(self, event: Any, keys: Keys) -> None:
        """Anchors, aliases and tags are refused."""
        if event.anchor is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            self._wrong(
                event,
                keys,
                f"the anchor or alias {sign}{event.anchor[:LONGEST_KEY]}",
                "plain YAML",
                "write the value out; quote a text that begins with & or *",
            )
        if getattr(event, "tag", None) is not None:
            self._wrong(
                event,
                keys,
                f"the tag {echo(event.tag)}",
                "plain YAML",
                "remove it; quote a text that begins with !",
            )

    def _keys(self, top: _Open | None) -> Keys:
        if top is None:
            return ()
        if isinstance(top.value, list):
            return (*top.keys, len(top.value))
        return top.keys if top.key is None else (*top.keys, top.key)

    def _take_key(self, event: Any, top: _Open) -> None:
        top.kept = isinstance(event, yaml.ScalarEvent)
        if not top.kept:
            top.key = ""
            self._wrong(event, top.keys, "a key that is no text", "text", "rename it")
            if isinstance(event, yaml.CollectionStartEvent):
                self._open(event, top.keys, [])
            return
        top.key = self._text(event, top.keys)
        keys = (*top.keys, top.key)
        if top.key in top.value:
            top.kept = False
            first = self.lines[keys]
            self._wrong(
                event,
                keys,
                f"the key {echo(top.key)} a second time, after line {first}",
                "every key once",
                "rename or remove one of the two",
            )
        else:
            self.lines[keys] = event.start_mark.line + 1

    def _value(self, event: Any, keys: Keys) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            if not event.style and event.value in NULLS:
                return None
            return self._text(event, keys)
        if isinstance(event, yaml.SequenceStartEvent):
            return []
        return {} if isinstance(event, yaml.MappingStartEvent) else None

    def _text(self, event: Any, keys: Keys) -> str:
        # only a double-quoted scalar can spell one out; the file itself was searched for them
        spelled = event.style == '"' and not event.value.isprintable()
        if spelled and (control := CONTROL.search(event.value)):
            self._wrong(event, keys, _control(control), "text", "remove it")
            return CONTROL.sub("", event.value)
        return str(event.value)

    def _open(self, event: Any, keys: Keys, value: Any) -> None:
        if len(self.stack) == DEEPEST:
            self._wrong(
                event,
                keys[:3],
                f"more than {DEEPEST} levels, one within another",
                "a flat file",
                "flatten it",
            )
            raise InputError(self.problems)
        self.stack.append(_Open(keys, value))


def show(keys: Keys) -> str:
    """A path of keys as a reader would write it: ``results[3].arms.all``."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key + 1}]"
        else:
            short = key if len(key) <= LONGEST_KEY else key[:LONGEST_KEY] + "..."
            text += ("." if text else "") + short
    return text or "top level"
