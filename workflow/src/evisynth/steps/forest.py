"""From effect sizes and fit to the forest plot."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evisynth.files import write_bytes
from evisynth.plots.forest import render
from evisynth.presentation import AnalysisText, forest_plot
from evisynth.tables import effects_from_json, fit_from_json


def write_forest(
    effects: str, fit: str, settings: Mapping[str, Any], outputs: Iterable[str]
) -> None:
    """Draw the forest plot of one analysis in the format that each file name asks for."""
    plot = forest_plot(
        effects_from_json(Path(effects).read_text(encoding="utf-8")),
        fit_from_json(Path(fit).read_text(encoding="utf-8")),
        AnalysisText(**settings),
    )
    paths = {Path(path).suffix[1:]: path for path in outputs}
    for name, content in render(plot, list(paths)).items():
        write_bytes(paths[name], content)
