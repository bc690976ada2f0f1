"""What the readers of foreign files hand to the writer: rows of text, each with its place."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["lost", "left", "note"]
"""lost: asked for and not taken; left: not asked for; note: taken, with something to know."""

LONGEST_QUOTE = 1500


@dataclass(frozen=True, slots=True)
class Remark:
    """A line of the report of an import.

    Attributes
    ----------
    level : see `Level`.
    place : where in the file.
    found : what stands there.
    reason : why it was not taken, or what was done with it.
    """

    level: Level
    place: str
    found: str
    reason: str


@dataclass(frozen=True, slots=True)
class Item:
    """What one row of a file says of one study.

    Attributes
    ----------
    place : where the row stands.
    study : name of the study as it stands there.
    texts : text by the names of fields, as it stands there.
    quote : the row, verbatim.
    """

    place: str
    study: str
    texts: Mapping[str, str]
    quote: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rows that belong together: a table, and an analysis of it.

    Attributes
    ----------
    id : safe name.
    title : name as it stands in the file.
    measure : effect measure.
    items : the rows.
    groups : labels of the groups, two or one.
    settings : further keys of the analysis (`model`, `measure_options`, `notes`, ...).
    mapped : fields that the analysis names; the other columns are carried along.
    per_subgroup : whether every subgroup is an analysis of its own.
    unit : unit of means.
    """

    id: str
    title: str
    measure: str
    items: tuple[Item, ...]
    groups: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    mapped: tuple[str, ...] = ()
    per_subgroup: bool = False
    unit: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the rows, in the order in which they first come."""
        return tuple(dict.fromkeys(name for item in self.items for name in item.texts))


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judgement of the risk of bias that a file has."""

    study: str
    domain: str
    judgement: str
    words: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file gave.

    Attributes
    ----------
    source : name of the file.
    format : what it was read as.
    outcomes : tables.
    remarks : what was not taken, and what is to be known.
    judgements : risk of bias.
    """

    source: str
    format: str
    outcomes: tuple[Outcome, ...]
    remarks: tuple[Remark, ...]
    judgements: tuple[Judgement, ...] = ()


def slug(text: str, longest: int = 48) -> str:
    """A safe name made of `text`: small letters, digits and `-`.

    A text that holds none of them gets a name from its digest, the same on every machine.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:longest].strip("-")
    return name or "x" + hashlib.sha256(text.encode()).hexdigest()[:8]


class Names:
    """Safe names that differ: the same text gets the same name, another text another one."""

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self._by_text: dict[str, str] = {}
        self._taken = set(taken)

    def of(self, text: str) -> str:
        """The name of `text`."""
        if text not in self._by_text:
            base = name = slug(text)
            count = 1
            while name in self._taken:
                count += 1
                name = f"{base}-{count}"
            self._taken.add(name)
            self._by_text[text] = name
        return self._by_text[text]


def quoted(place: str, cells: Mapping[str, str]) -> str:
    """A row verbatim, `place: column=text; ...`, without its empty cells."""
    words = "; ".join(f"{name}={text}" for name, text in cells.items() if text)
    whole = f"{place}: {words}"
    return whole if len(whole) <= LONGEST_QUOTE else whole[: LONGEST_QUOTE - 4] + " ..."
