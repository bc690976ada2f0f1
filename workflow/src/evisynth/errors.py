"""What is wrong with the input, said so that its author can mend it."""

from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_ECHO = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in one file.

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

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        super().__init__(
            f"{head} in the input; nothing was computed and earlier results are untouched.\n\n"
            + "\n\n".join(str(problem) for problem in self.problems)
        )


def echo(value: object) -> str:
    """`value` as it can be shown safely: quoted, on one line, shortened."""
    text = repr(value) if not isinstance(value, str) else repr(value.strip())
    return text if len(text) <= LONGEST_ECHO else text[: LONGEST_ECHO - 4] + "...'"
