"""From the rows of an analysis to effect sizes."""

from pathlib import Path

from evisynth.errors import changed_under_way
from evisynth.files import write_text
from evisynth.measures import compute_effects
from evisynth.project import load_project
from evisynth.tables import effects_to_json


def write_effects(config: Path, analysis: str, digest: str, output: str) -> None:
    """Select the rows of `analysis`, compute its effect sizes, write them as JSON.

    Parameters
    ----------
    digest : what the workflow saw when it decided on this job.

    Raises
    ------
    InputError
        If the input is wrong, or has changed since the workflow looked at it.
    """
    project = load_project(config)
    if project.effects_digest(analysis) != digest:
        raise changed_under_way(config, f"analyses.{analysis}")
    settings = project.effects_settings(analysis)
    effects = compute_effects(
        settings["measure"],
        project.rows[analysis],
        level=settings["level"],
        options=settings["options"],
        **settings["zero_cells"],
    )
    write_text(output, effects_to_json(effects, digest, settings))
