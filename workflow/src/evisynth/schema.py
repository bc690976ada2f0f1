"""What the models of all input files share: strictness, safe names, printed numbers."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from evisynth.printed import PLAIN, PRINTED, number, parse_printed


class Strict(BaseModel):
    """A model that refuses unknown keys and never changes."""

    # deferred: a model that is only part of another is then never built on its own
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, defer_build=True
    )


def _printed(text: str) -> str:
    try:
        parse_printed(text)
    except ValueError:
        raise ValueError(PRINTED) from None
    return text


def _number(text: str) -> str:
    try:
        number(text)
    except ValueError:
        raise ValueError(PLAIN) from None
    return text


def _whole(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[+-]?\d{1,30}", value, re.ASCII):
        raise ValueError("a whole number, in digits only")
    return value


def _many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Id = Annotated[str, Field(pattern=ID_PATTERN)]
"""A safe name: letters, digits, `.`, `_`, `-`; at most 64 characters."""

Text = Annotated[str, Field(min_length=1, max_length=5000)]

PrintedText = Annotated[
    str, AfterValidator(_printed), Field(examples=["0.050", "<.001", "30.2%"])
]
"""A number as printed; its text is kept, zeros and signs included."""

NumberText = Annotated[str, AfterValidator(_number), Field(examples=["0.212", "-1.50"])]
"""A plain number, kept as text."""

Count = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=10**9)]

OneOrMore = BeforeValidator(_many)
"""Lets an author write one text where a list is allowed."""
