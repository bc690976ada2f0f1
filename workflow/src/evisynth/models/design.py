"""From a formula and columns of text to a design matrix.

The language of formulas is that of `evisynth.formula`. Each variable (a column, or a
transformation of columns) is computed there and replaced by a made-up name, so that the library
`formulaic`, which could run Python, sees nothing but ``v0``, ``v1``, ``+ - * : ^ ( )`` and
``0``, ``1``. What the library does is the algebra: to expand the formula into terms and to code
categories without redundant columns.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from formulaic import Formula  # type: ignore[import-untyped]
from formulaic.errors import FormulaicError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from evisynth.formula import (
    INTERCEPT,
    DesignError,
    Variable,
    evaluated,
    natural,
    rewritten,
    settled,
)
from evisynth.records import Floats

__all__ = ["INTERCEPT", "Design", "DesignError", "Term", "dependencies", "design", "natural"]

# Columns, scaled to unit length, closer to dependence than this are collinear.
COLLINEAR = 1e-10
# Differences within a column, relative to its largest value, that arithmetic alone can make.
ROUNDING = 1e-14


@dataclass(frozen=True, slots=True)
class Term:
    """A term of a formula and the columns of the design matrix that it takes."""

    name: str
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Design:
    """A design matrix with the names of its columns.

    Attributes
    ----------
    formula : as given.
    x : of shape (k, p), one row per study that is kept.
    names : one per column: ``intercept``, ``year``, ``setting[group]``, ``year:setting[b]``.
    terms : in the order of their columns, the intercept first if there is one.
    kept : mask over the rows that were given; the others have an empty cell.
    variables : what the formula is made from.
    notes : rows left out, columns that look numeric but are not, few studies.
    """

    formula: str
    x: Floats
    names: tuple[str, ...]
    terms: tuple[Term, ...]
    kept: NDArray[np.bool_]
    variables: tuple[Variable, ...]
    notes: tuple[str, ...]
    # the library's record of terms and contrasts, to code further rows alike
    spec: Any

    @property
    def intercept(self) -> bool:
        """Whether the design has a column of ones for the intercept."""
        return INTERCEPT in self.names

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """Levels of the categorical variables, each with its reference first."""
        return {v.text: v.levels for v in self.variables if v.levels}

    def rows(self, covariates: Mapping[str, Sequence[str | float]]) -> Floats:
        """Design rows of shape (m, p) for m further combinations of covariates.

        Raises
        ------
        DesignError
            A column is missing, a cell is empty or not a number, or a level was not among
            those that the model was fitted to.
        """
        if self.spec is None:
            raise DesignError("a design made from a matrix takes rows, not covariates")
        needed = {column for variable in self.variables for column in variable.columns}
        if missing := sorted(needed - covariates.keys()):
            raise DesignError(f"a prediction needs a value of {', '.join(missing)}")
        sizes = {len(cells) for cells in covariates.values()}
        if len(sizes) > 1:
            raise DesignError(f"covariates differ in length: {sorted(sizes)}")
        cells = {name: [str(cell).strip() for cell in covariates[name]] for name in needed}
        for name, column in cells.items():
            if "" in column:
                raise DesignError(f"a prediction needs a value of {name}: one cell is empty")
        size = sizes.pop() if sizes else 1
        return _matrix(self.spec, _columns(self.variables, cells), size)


def _codes(variable: Variable, cells: Sequence[str]) -> NDArray[np.str_]:
    """Levels as text that sorts in their order: the library takes the first for reference."""
    position = {level: f"{place:06d}" for place, level in enumerate(variable.levels)}
    for cell in cells:
        if cell not in position:
            raise DesignError(
                f"{variable.text} has no level {cell!r}, only {', '.join(variable.levels)}"
            )
    return np.array([position[cell] for cell in cells])


def _columns(
    variables: Sequence[Variable], cells: Mapping[str, Sequence[str]]
) -> dict[str, NDArray[Any]]:
    """Values of v0, v1, ..."""
    return {
        f"v{place}": _codes(variable, cells[variable.columns[0]])
        if variable.levels
        else np.array(evaluated(variable, cells)) - variable.origin
        for place, variable in enumerate(variables)
    }


def _records(columns: Mapping[str, NDArray[Any]], size: int) -> np.recarray[Any, Any]:
    """The columns in the one form that the library takes without pandas being made here."""
    # A formula without variables still needs a column to know how many rows there are.
    table = columns or {"v0": np.zeros(size)}
    records = np.recarray(size, dtype=[(name, values.dtype) for name, values in table.items()])
    for name, values in table.items():
        records[name] = values
    return records


def _matrix(spec: Any, columns: Mapping[str, NDArray[Any]], size: int) -> Floats:
    """Design matrix of shape (size, p) by the library."""
    coded = spec.get_model_matrix(_records(columns, size), output="numpy")
    return np.array(coded, dtype=float)


def _name(name: str, variables: Sequence[Variable]) -> str:
    """Name of a column or term in words: v0[T.000001]:v1 becomes setting[group]:year."""

    def word(found: re.Match[str]) -> str:
        variable = variables[int(found[1])]
        level = "" if found[2] is None else f"[{variable.levels[int(found[2])]}]"
        return variable.text + level

    if name in ("Intercept", "1"):
        return INTERCEPT
    return re.sub(r"v(\d+)(?:\[(?:T\.)?(\d+)\])?", word, name)


def _used(
    covariates: Mapping[str, Sequence[str]],
    variables: Sequence[Variable],
    labels: Sequence[str] | None,
    size: int,
) -> tuple[NDArray[np.bool_], list[str]]:
    """Which rows have all cells, and a note that names the others."""
    kept = np.ones(size, dtype=bool)
    notes = []
    for column in dict.fromkeys(c for variable in variables for c in variable.columns):
        empty = [row for row, cell in enumerate(covariates[column]) if not cell.strip()]
        if empty:
            named = "; ".join(labels[row] if labels else f"row {row + 1}" for row in empty)
            notes.append(f"left out of the model, {column} is missing: {named}")
        kept[empty] = False
    return kept, notes


def design(
    formula: str,
    covariates: Mapping[str, Sequence[str]],
    *,
    reference: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    size: int | None = None,
) -> Design:
    """Design matrix of a formula over covariates of n studies.

    Parameters
    ----------
    formula : for example ``year + factor(dose) * setting``; a leading ``~`` is allowed.
    covariates : columns of text, n cells each. A column is numeric if all its cells that are
        not empty are numbers, otherwise its values are categories.
    reference : reference level by column; otherwise the first in natural order.
    labels : names of the n studies, for the notes.
    size : n, needed only where there are no covariates.

    Rows with an empty cell in a column that the formula uses are left out, with a note that
    names them. Categories are coded by treatment contrasts.

    Raises
    ------
    DesignError
        Anything outside of the language, unknown columns, cells that do not fit, constant or
        collinear columns (each named), no study or no column left.
    """
    code, variables = rewritten(formula, covariates)
    lengths = {len(column) for column in covariates.values()}
    lengths |= {len(labels)} if labels is not None else set()
    lengths |= {size} if size is not None else set()
    if len(lengths) != 1:
        raise DesignError(f"covariates, labels and size differ in length: {sorted(lengths)}")
    reference = {} if reference is None else reference
    if unknown := sorted(reference.keys() - covariates.keys()):
        raise DesignError(f"a reference level for {', '.join(unknown)}, which is no covariate")
    kept, notes = _used(covariates, variables, labels, lengths.pop())
    if not kept.any():
        raise DesignError(f"formula {formula!r}: no study has all covariates")
    cells = {
        name: [cell.strip() for cell, use in zip(column, kept, strict=True) if use]
        for name, column in covariates.items()
    }
    fixed = []
    for variable in variables:
        done, said = settled(variable, cells, reference)
        fixed.append(done)
        notes += [note for note in said if note not in notes]
    try:
        spec = Formula(code)
        records = _records(_columns(fixed, cells), int(kept.sum()))
        coded = spec.get_model_matrix(records, output="numpy")
    except FormulaicError as error:
        raise DesignError(f"formula {formula!r} is not well formed") from error
    x: Floats = np.array(coded, dtype=float)
    names = tuple(_name(name, fixed) for name in coded.model_spec.column_names)
    if not names:
        raise DesignError(f"formula {formula!r} has neither intercept nor moderator")
    if dependent := dependencies(x, names):
        raise DesignError(f"formula {formula!r}: {'; '.join(dependent)}")
    x.setflags(write=False)
    kept.setflags(write=False)
    return Design(
        formula=formula,
        x=x,
        names=names,
        terms=tuple(
            Term(_name(str(term), fixed), tuple(places))
            for term, places in coded.model_spec.term_indices.items()
            if places
        ),
        kept=kept,
        variables=tuple(fixed),
        notes=tuple(notes),
        spec=coded.model_spec,
    )


def dependencies(x: Floats, names: Sequence[str]) -> list[str]:
    """What is wrong with the columns of a design of shape (k, p), in words; empty if nothing.

    Constant columns beside an intercept and sets of collinear columns are named. Columns that
    lie within `COLLINEAR` of dependence, scaled to unit length and free of their constant part
    where there is an intercept, count as dependent.
    """
    return list(_dependencies(x, names))


def _dependencies(x: Floats, names: Sequence[str]) -> Iterator[str]:
    sizes = np.abs(x).max(axis=0)
    for name, largest in zip(names, sizes, strict=True):
        if largest == 0:
            yield f"column {name} is 0 in all studies"
    if (sizes == 0).any():
        return
    # exact for columns whose values differ by less than a factor 2, such as years
    ones = [place for place in range(x.shape[1]) if (x[:, place] == x[0, place]).all()]
    for extra in ones[1:]:
        yield f"column {names[extra]} is constant, as is {names[ones[0]]}"
    if len(ones) > 1:
        return
    scaled = x / sizes
    if ones:
        others = np.delete(np.arange(x.shape[1]), ones)
        scaled = (x[:, others] - x[0, others]) / sizes[others]
        scaled = scaled - scaled.mean(axis=0)
        names = [names[place] for place in others.tolist()]
    lengths = np.linalg.norm(scaled, axis=0)
    for name, length in zip(names, lengths, strict=True):
        if length < ROUNDING:
            yield f"column {name} is constant but for rounding"
    if (lengths < ROUNDING).any() or not names:
        return
    _, triangle, order = scipy.linalg.qr(scaled / lengths, mode="economic", pivoting=True)
    pivots = np.abs(np.diag(triangle))
    rank = int((pivots > COLLINEAR * pivots[0]).sum())
    head = triangle[:rank, :rank]
    for place in range(rank, len(names)):
        shares = scipy.linalg.solve_triangular(head, triangle[:rank, place])
        partners = [names[int(order[j])] for j in np.flatnonzero(np.abs(shares) > 1e-6)]
        yield (
            f"column {names[int(order[place])]} is determined by {', '.join(sorted(partners))}"
            ": leave one of them out"
        )
