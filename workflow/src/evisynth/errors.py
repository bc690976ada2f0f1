"""What is wrong with the input, said so that its author can mend it."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

LONGEST_ECHO = 80
LONGEST_TEXT = 2000
MOST_SHOWN = 200


def safe(text: str) -> str:
    """`text` as one paragraph; what is not printable is spelled out for the terminal's sake."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in text[:LONGEST_TEXT]
    )
    return shown if len(text) <= LONGEST_TEXT else shown + "..."


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in one file; its text holds no control characters, whatever it quotes.

    Attributes
    ----------
    file : the file as the user names it.
    place : where in the file: a path of keys, a column, a study.
    found, expected, action : what stands there, what should, what to do next.
    line : line number from 1, or None where no line can be told.
    """

    file: str
    place: str
    found: str
    expected: str
    action: str
    line: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self)[:-1]:
            object.__setattr__(self, field.name, safe(getattr(self, field.name)))

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        return (
            f"{self.file}{line}: {self.place}\n"
            f"    found:    {self.found}\n"
            f"    expected: {self.expected}\n"
            f"    to do:    {self.action}"
        )


class InputError(ValueError):
    """Mistakes of the user, all of them; never a bug of the program."""

    HEAD = "in the input; nothing was computed and earlier results are untouched"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        shown = [str(problem) for problem in self.problems[:MOST_SHOWN]]
        if count > MOST_SHOWN:
            shown.append(f"... and {count - MOST_SHOWN} more; mend these first")
        super().__init__(f"{head} {self.HEAD}.\n\n" + "\n\n".join(shown))


def changed_under_way(file: object, place: str) -> InputError:
    """The error of a job whose input is no longer what the workflow saw when it planned it."""
    return InputError(
        [
            Problem(
                str(file),
                place,
                "evidence that changed while the workflow was running",
                "the same input from start to end",
                "run snakemake again",
            )
        ]
    )


class NotComputable(InputError):
    """What is asked for cannot be computed from these numbers.

    Snakemake removes the results of a job before it runs, so that none is left that another
    configuration gave.
    """

    HEAD = (
        "that only the numbers show; the tables of this step are not there until mended, "
        "and all other results are"
    )


class Disagreement(InputError):
    """Numbers of two programs that should be the same and are not."""

    HEAD = "in the comparison with other software; do not use this analysis until explained"


def echo(value: object) -> str:
    """`value` as it can be shown safely: quoted, on one line, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        keys = ", ".join(echo(str(key)) for key in list(value)[:12])
        return f"the keys {keys}" + (", ..." if len(value) > 12 else "")
    text = value.strip() if isinstance(value, str) else str(value)
    if not text:
        return "an empty text"
    if len(text) > LONGEST_ECHO:
        return repr(text[: LONGEST_ECHO - 6]) + "..."
    return repr(text)
