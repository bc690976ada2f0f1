"""Which results an analysis took and why, and the way from its estimate to every quote."""

import json
from collections.abc import Mapping
from pathlib import Path

from evisynth.errors import changed_under_way
from evisynth.files import write_text
from evisynth.project import load_project
from evisynth.tabular import to_json
from evisynth.tracing import final_lines, selection_csv, trace_tree
from evisynth.trail import trail


def write_trace(
    config: Path,
    analysis: str,
    digest: str,
    effects: str,
    fit: str,
    output: Mapping[str, str],
) -> None:
    """Write selection.csv and trace.json of one analysis.

    Parameters
    ----------
    digest : of the trail that the workflow saw when it decided on this job.

    Raises
    ------
    InputError
        If the input is wrong, or has changed since the workflow looked at it.
    """
    found = trail(load_project(config), analysis)
    if found.digest != digest:
        raise changed_under_way(config, f"analyses.{analysis}")
    sizes, fitted = (
        json.loads(Path(name).read_text(encoding="utf-8")) for name in (effects, fit)
    )
    write_text(output["selection"], selection_csv(final_lines(found, sizes, fitted)))
    write_text(output["trace"], to_json(trace_tree(found, sizes, fitted)))
