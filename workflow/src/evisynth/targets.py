"""Which results stand on disk without Snakemake's record of how they were made."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path

RECORDS = Path(".snakemake")
LONGEST_NAME = 254  # Snakemake splits longer names into folders


def unrecorded(targets: Iterable[str]) -> list[str]:
    """Targets that exist but have neither a record nor the mark of an interrupted job."""
    return [
        target
        for target in targets
        if Path(target).exists()
        and not _has_record("metadata", target)
        and not (_place("incomplete", target)).exists()
    ]


def touched(target: str, digest: str) -> bool:
    """Whether Snakemake takes `target` for made from `digest` although it holds another one.

    That is what ``snakemake --touch`` leaves after a change of the input.
    """
    try:
        made_from = json.loads(Path(target).read_text(encoding="utf-8"))["digest"]
        record = json.loads(_place("metadata", target).read_text(encoding="utf-8"))
        return made_from != digest and repr(digest) in record["params"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _place(kind: str, target: str) -> Path:
    name = urlsafe_b64encode(target.encode()).decode()
    parts = [name[i : i + LONGEST_NAME] for i in range(0, len(name), LONGEST_NAME)]
    return RECORDS.joinpath(kind, *("@" + part for part in parts[:-1]), parts[-1])


def _has_record(kind: str, target: str) -> bool:
    try:
        return bool(json.loads(_place(kind, target).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False
