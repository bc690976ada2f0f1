"""Digests of all that a run was made from and made, as JSON and as an RO-Crate."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evisynth.files import write_text
from evisynth.provenance import crate, record, sha256
from evisynth.tabular import to_json


def write_provenance(
    asked: Mapping[str, Any], results: Iterable[str], output: Mapping[str, str]
) -> None:
    """Write provenance.json and ro-crate-metadata.json.

    Parameters
    ----------
    asked : what `provenance.asked` gave.
    results : files of all results, those two excepted.
    """
    folder = Path(asked["results"])
    paths = {Path(name).relative_to(folder).as_posix(): Path(name) for name in results}
    outputs = {name: sha256(paths[name]) for name in sorted(paths)}
    text = to_json(record(dict(asked), outputs))
    write_text(output["provenance"], text)
    own = Path(output["provenance"])
    described = {**outputs, own.relative_to(folder).as_posix(): sha256(own)}
    paths[own.relative_to(folder).as_posix()] = own
    sizes = {name: paths[name].stat().st_size for name in described}
    write_text(output["crate"], to_json(crate(dict(asked), described, sizes)))
