"""The same estimates from PyMARE and statsmodels, compared with ours."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evisynth.errors import Disagreement, Problem
from evisynth.files import write_text
from evisynth.steps.pool import model_spec
from evisynth.tables import effects_from_json
from evisynth.tabular import to_csv

COLUMNS = (
    "engine version quantity method test value ours difference tolerance agrees note"
).split()


def write_engines(effects: str, settings: Mapping[str, Any], output: str) -> None:
    """Write engines.csv of one analysis.

    Raises
    ------
    Disagreement
        Two engines disagree beyond what is documented; names them and the inputs.
    """
    sizes = effects_from_json(Path(effects).read_text(encoding="utf-8"))
    rows = []
    if settings["pool"] and any(sizes.included):
        # Importing the other programs takes two seconds, so only where there is work for them.
        from evisynth.engines import compare

        rows = compare(sizes, model_spec(settings["model"], settings["level"]))
    disagreements = [row for row in rows if not row.agrees]
    if disagreements:
        inputs = ", ".join(
            f"{y!r} ({v!r})"
            for y, v, pooled in zip(
                sizes.yi.tolist(), sizes.vi.tolist(), sizes.included, strict=True
            )
            if pooled
        )
        raise Disagreement(
            Problem(
                effects,
                f"{row.engine} {row.version}: {row.quantity}, {row.method}, {row.test}",
                f"{row.value!r} against ours {row.ours!r}, for yi (vi) = {inputs}",
                f"a difference of at most {row.tolerance:g}",
                "report this to the authors of evisynth: a number here is wrong",
            )
            for row in disagreements
        )
    write_text(output, to_csv(COLUMNS, [asdict(row) for row in rows]))
