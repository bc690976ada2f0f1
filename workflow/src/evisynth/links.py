"""Symbolic links that lead out of a review's folder, which no review needs."""

import os
from pathlib import Path

from evisynth.errors import Problem, echo


def leads_out(path: Path, base: Path, name: str) -> list[Problem]:
    """What is wrong with a path within `base` that a symbolic link takes out of it; else empty.

    A path that is outside `base` as it is written (`../tables/x.csv`) says so itself and is no
    such mistake.

    Parameters
    ----------
    base : folder of the review.
    name : of the path, for messages.
    """
    inside = os.path.normpath(os.path.relpath(path, base)).split(os.sep)[0] != os.pardir
    # The system's own way, which never follows a link that goes round in circles for ever.
    home, real = os.path.realpath(base), os.path.realpath(path)
    if not inside or real == home or real.startswith(os.path.join(home, "")):
        return []
    return [
        Problem(
            name,
            "the file itself" if not path.is_dir() else "the folder itself",
            f"a symbolic link that leads out of the review's folder, to {echo(real)}",
            "a file or folder of the review, or a link to one",
            "copy what it leads to into the review, or name its real path",
        )
    ]
