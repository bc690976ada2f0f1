"""One row per analysis: what a reader wants first."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evisynth.files import write_text
from evisynth.measures import measure_of
from evisynth.pooling import display
from evisynth.records import Fit
from evisynth.rows import counted
from evisynth.tables import fit_from_json
from evisynth.tabular import Cell, plain, to_csv

COLUMNS = (
    "analysis title outcome measure k k_total n_total model method test estimate ci_low "
    "ci_high pi_low pi_high p tau2 i2 level notes studies reports duplicate_reports"
).split()


def write_summary(
    fits: Mapping[str, str],
    effects: Mapping[str, str],
    settings: Mapping[str, Any],
    output: str,
) -> None:
    """Write summary.csv: display scale, analyses in the order of the configuration.

    Parameters
    ----------
    fits, effects : fit.json and effects.csv of every analysis.
    settings : of every analysis its title, its outcome and, for each study that has a study
        file, its number of reports and of those that repeat another (`reports`).
    """
    rows = [
        {
            **_row(name, fit_from_json(Path(fits[name]).read_text(encoding="utf-8")), text),
            **counted(text["reports"], _pooled_studies(Path(effects[name]))),
        }
        for name, text in settings.items()
    ]
    write_text(output, to_csv(COLUMNS, rows))


def _pooled_studies(effects: Path) -> set[str]:
    """Ids of the studies of which a row is pooled."""
    with effects.open(encoding="utf-8", newline="") as stream:
        return {
            plain(row["study"]) for row in csv.DictReader(stream) if row["included"] == "true"
        }


def _row(name: str, fit: Fit, text: Mapping[str, Any]) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        "analysis": name,
        "title": text["title"],
        "outcome": text["outcome"],
        "measure": fit.measure,
        "k": fit.k,
        "k_total": fit.k_total,
        "n_total": fit.n_total,
        "level": fit.level,
        "notes": "; ".join(fit.notes),
    }
    headline = fit.headline
    if headline is None:
        return row
    shown = display(headline, measure_of(fit))
    for key in "model method test estimate ci_low ci_high pi_low pi_high p tau2".split():
        row[key] = getattr(shown, key)
    # That of the headline comes first; a family without an I2 must not show another's.
    i2 = next((h.i2 for h in fit.heterogeneity[:1] if h.method == headline.method), None)
    notes = dict.fromkeys([*headline.notes, *fit.notes])
    return {**row, "i2": i2, "notes": "; ".join(notes)}
