"""Effect sizes of tests/reference/measures: against metafor 5.0-1 and meta 8.3-0."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from support.references import ROOT, rows

from evisynth.measures import compute_effects

FILES = sorted((ROOT / "tests" / "reference" / "measures").glob("*.json"))


def number(text):
    try:
        return math.nan if text in (None, "") else float(text)
    except ValueError:
        return math.nan


def columns_of(document):
    data = document["data"]
    if isinstance(data, str):
        with (ROOT / data).open(encoding="utf-8", newline="") as lines:
            read = list(csv.DictReader(lines))
        data = {name: [row[name] for row in read] for name in read[0]}
    columns = {name: [number(value) for value in values] for name, values in data.items()}
    assert {len(values) for values in columns.values()} == {document["n_rows"]}
    return columns


def entries(kind):
    for path in FILES:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        for entry in document["analyses"]:
            if entry["kind"] == kind:
                yield pytest.param(document, entry, id=f"{path.stem}:{entry['id']}")


ESCALC, TACC = list(entries("escalc")), list(entries("meta::metabin"))

# Of metafor's arguments, by measure: our key and options.
VARIANTS = {
    ("ROM", True): ("ROMBC", {}),
    ("CVR", False): ("CVR", {"bias": "none"}),
    ("ROMC", True): ("ROMC", {"bias": "Lajeunesse2015"}),
}


def effects_of(document, entry):
    columns, args = columns_of(document), entry["args"]
    used = {
        name: columns[column] if isinstance(column, str) else column
        for name, column in args["inputs"].items()
    }
    if kept := args.get("rows"):
        used = {name: [values[row - 1] for row in kept] for name, values in used.items()}
    if args["measure"] in ("PCOR", "ZPCOR"):
        # metafor counts the predictor itself, we count the others
        used["mi"] = [value - 1 for value in used["mi"]]
    measure, options = VARIANTS.get(
        (args["measure"], args.get("correct", True)), (args["measure"], {})
    )
    if "vtype" in args:
        options = {"variance": args["vtype"]}
    zero = {name: args[name] for name in ("add", "to", "drop00") if name in args}
    return compute_effects(measure, rows(**used), level=0.95, options=options, **zero)


def test_no_reference_is_lost():
    assert (len(ESCALC), len(TACC)) == (82, 6)


# Where metafor gives an effect without a variance, or with a variance of 0, we give none.
WITHOUT = {
    ("edge_cor_extreme", "escalc/COR"): [(4, 1.0), (5, 0.3)],
    ("edge_cor_extreme", "escalc/ZCOR"): [(5, 0.309519604203112)],
}


@pytest.mark.parametrize(("document", "entry"), ESCALC)
def test_effects_equal_those_of_metafor(document, entry):
    if entry["status"] == "error":
        with pytest.raises(ValueError, match=r"expected"):
            effects_of(document, entry)
        return
    effects = effects_of(document, entry)
    yi, vi = (np.array([number(x) for x in entry["result"][name]]) for name in ("yi", "vi"))
    assert all(
        "not estimable" in effects.reason[row - 1] and yi[row - 1] == value
        for row, value in WITHOUT.get((document["name"], entry["id"]), [])
    )
    for row, _ in WITHOUT.get((document["name"], entry["id"]), []):
        yi[row - 1] = vi[row - 1] = math.nan
    # 15 digits are printed, of small differences of large logarithms and roots
    np.testing.assert_allclose(effects.yi, yi, rtol=2e-12, atol=1e-13)
    # metafor's c(m), by logarithms, has 12 digits, of which the unbiased variance loses one
    np.testing.assert_allclose(effects.vi, vi, rtol=5e-12 if "UB" in entry["id"] else 2e-12)
    np.testing.assert_array_equal(effects.pooled, np.isfinite(vi) & (np.nan_to_num(vi) > 0))


@pytest.mark.parametrize(("document", "entry"), TACC)
def test_treatment_arm_correction_equals_that_of_meta(document, entry):
    args = entry["args"]
    names = {"event.e": "ai", "n.e": "n1i", "event.c": "ci", "n.c": "n2i"}
    columns = columns_of(document)
    used = {names[name]: columns[column] for name, column in args["inputs"].items()}
    effects = compute_effects(args["sm"], rows(**used), level=0.95, to="tacc", drop00=True)
    theirs = {
        name: np.array([number(value) for value in values])
        for name, values in entry["result"]["studies"].items()
    }
    corrected = np.array(["correction" in notes for notes in effects.notes])
    kept = effects.pooled
    # meta leaves a risk difference itself uncorrected, metafor and we correct it too
    like = kept & ~corrected if args["sm"] == "RD" else kept
    np.testing.assert_allclose(effects.yi[like], theirs["TE"][like], rtol=1e-11)
    # in the variance of a risk ratio meta adds the correction once to the size of a group,
    # metafor, RevMan and we add it twice, for events and non-events
    like = kept & ~corrected if args["sm"] == "RR" else kept
    np.testing.assert_allclose(effects.sei[like], theirs["seTE"][like], rtol=1e-11)
    assert corrected.any()
