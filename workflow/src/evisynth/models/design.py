"""From a formula and columns of text to a design matrix.

Formulas come from configuration files that anybody may have written. They are cut into tokens
of a small language here, and whatever is not in it is refused. Each variable (a column, or a
transformation of columns) is computed here and replaced by a made-up name, so that the library
`formulaic`, which could run Python, sees nothing but ``v0``, ``v1``, ``+ - * : ^ ( )`` and
``0``, ``1``. What the library does is the algebra: to expand the formula into terms and to code
categories without redundant columns.

The language: names of columns; ``+ - * : ^ ( )`` with their meaning in R (``a*b`` is ``a + b +
a:b``, ``(a + b + c)^2`` all terms up to second order, ``0 +`` or ``- 1`` no intercept);
``factor(x)`` or ``C(x)`` to take numbers for categories; ``I(...)`` for arithmetic with ``+ - *
/ ^``, numbers, ``log``, ``sqrt`` and ``exp``; ``log(x)``, ``sqrt(x)``, ``exp(x)`` likewise; and
``center(x)``, x minus its mean over the studies in the model.
"""

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from formulaic import Formula  # type: ignore[import-untyped]
from formulaic.errors import FormulaicError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from evisynth.records import Floats

INTERCEPT = "intercept"
# A formula beyond these is a mistake, and the number of its terms could grow without bounds.
LONGEST = 500
MOST_PRODUCTS = 4
MOST_VARIABLES = 20
HIGHEST_POWER = 3
# Columns, scaled to unit length, closer to dependence than this are collinear.
COLLINEAR = 1e-10
# Differences within a column, relative to its largest value, that arithmetic alone can make.
ROUNDING = 1e-14

NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
TOKEN = re.compile(rf"\s*(?:(?P<number>{NUMBER})|(?P<name>[^\W\d]\w*)|(?P<sign>[-+*/:^()~]))")
CELL = re.compile(rf"\s*[-+]?{NUMBER}\s*")
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "log": math.log,
    "sqrt": math.sqrt,
    "exp": math.exp,
}
CATEGORICAL = ("factor", "C")
ARITHMETIC = ("I", "center", *FUNCTIONS)


class DesignError(ValueError):
    """A formula, a covariate or a design that no model can be fitted to; the words say why."""


@dataclass(frozen=True, slots=True)
class Term:
    """A term of a formula and the columns of the design matrix that it takes."""

    name: str
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A column of text, or a transformation of such columns, that a formula names.

    Attributes
    ----------
    text : as written in the formula, without spaces.
    columns : the covariates that it is made from.
    levels : of a categorical variable, its reference first; empty for a numeric one.
    function : ``I`` (also for a plain column), ``center`` or, where categorical, ``factor``.
    body : the arithmetic of a numeric variable, its columns written c0, c1, ...
    origin : what ``center`` subtracts.
    """

    text: str
    columns: tuple[str, ...]
    levels: tuple[str, ...] = ()
    function: str = "I"
    body: str = ""
    origin: float = 0.0


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


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key by which 2 comes before 10, also inside of words."""
    parts = (
        (part[0].isdecimal(), part.lstrip("0") if part[0].isdecimal() else part.casefold())
        for part in re.findall(r"\d+|\D+", text)
    )
    # A longer number is a larger one, however long; the text itself tells 7 from 007, A from a.
    keys = [(0, len(part), part) if number else (1, 0, part) for number, part in parts]
    return (*keys, (2, 0, text))


def _tokens(formula: str) -> list[str]:
    if len(formula) > LONGEST:
        raise DesignError(f"a formula has at most {LONGEST} characters, not {len(formula)}")
    tokens, place = [], 0
    text = formula.rstrip()
    while place < len(text):
        found = TOKEN.match(text, place)
        if not found:
            raise DesignError(
                f"formula {formula!r}: {text[place:].strip()[:20]!r} is not part of the "
                "language (names of columns, numbers, + - * : ^ ( ), factor(), I(), center(), "
                "log(), sqrt(), exp())"
            )
        tokens.append(found[found.lastgroup or 0])
        place = found.end()
    return tokens[1:] if tokens[:1] == ["~"] else tokens


def _is_name(token: str) -> bool:
    return token[0].isalpha() or token[0] == "_"


def _is_number(token: str) -> bool:
    return token[0].isdigit() or token[0] == "."


def _closing(tokens: Sequence[str], start: int, formula: str) -> int:
    """Position of the bracket that closes the one at `start`."""
    depth = 0
    for place in range(start, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[place], 0)
        if depth == 0:
            return place
    raise DesignError(f"formula {formula!r}: a bracket is not closed")


def _known(name: str, covariates: Mapping[str, object], formula: str) -> str:
    if name == INTERCEPT:
        raise DesignError(f"a covariate called {INTERCEPT} needs another name: it is taken")
    if name not in covariates:
        known = ", ".join(sorted(covariates)) or "none"
        raise DesignError(f"formula {formula!r}: no covariate {name} (there are: {known})")
    return name


def _transformed(
    function: str, body: Sequence[str], covariates: Mapping[str, object], formula: str
) -> Variable:
    """The variable that a call stands for."""
    text = f"{function}({''.join(body)})"
    if function in CATEGORICAL:
        if len(body) != 1 or not _is_name(body[0]):
            raise DesignError(f"formula {formula!r}: {function}() takes the name of one column")
        column = _known(body[0], covariates, formula)
        return Variable(text, (column,), function="factor")
    is_column = [
        _is_name(token) and not (token in FUNCTIONS and after == "(")
        for token, after in zip(body, [*body, ""][1:], strict=True)
    ]
    names = [token for token, column in zip(body, is_column, strict=True) if column]
    columns = tuple(dict.fromkeys(_known(name, covariates, formula) for name in names))
    if not columns:
        raise DesignError(f"formula {formula!r}: {text} contains no covariate")
    if {":", "~"} & set(body):
        raise DesignError(f"formula {formula!r}: {text} may contain + - * / ^ only")
    # A column may be called like a word of Python: c0, c1, ... are not.
    code = " ".join(
        "**" if token == "^" else f"c{columns.index(token)}" if column else token
        for token, column in zip(body, is_column, strict=True)
    )
    if function in FUNCTIONS:
        function, code = "I", f"{function}({code})"
    _tree(code, text)  # so that bad syntax is found now
    return Variable(text, columns, function=function, body=code)


def _rewritten(
    formula: str, covariates: Mapping[str, object]
) -> tuple[str, tuple[Variable, ...]]:
    """The formula over v0, v1, ... and what these stand for."""
    tokens = _tokens(formula)
    variables: dict[str, Variable] = {}
    out: list[str] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        call = tokens[place + 1 : place + 2] == ["("]
        if _is_name(token) and call:
            if token not in (*CATEGORICAL, *ARITHMETIC):
                raise DesignError(
                    f"formula {formula!r}: {token}() is not one of "
                    f"{', '.join((*CATEGORICAL, *ARITHMETIC))}"
                )
            end = _closing(tokens, place + 1, formula)
            variable = _transformed(token, tokens[place + 2 : end], covariates, formula)
            place = end
        elif _is_name(token):
            column = _known(token, covariates, formula)
            variable = Variable(token, (column,), body="c0")
        else:
            _check_sign(tokens, place, formula)
            out.append(token)
            place += 1
            continue
        variables.setdefault(variable.text, variable)
        out.append(f"v{list(variables).index(variable.text)}")
        place += 1
    if (
        len(variables) > MOST_VARIABLES
        or out.count("*") + out.count(":") > 4 * MOST_PRODUCTS
        or out.count("*") > MOST_PRODUCTS
        or out.count("^") > 1
    ):
        raise DesignError(f"formula {formula!r}: too many products for a meta-analysis")
    return " ".join(out) or "1", tuple(variables.values())


def _check_sign(tokens: Sequence[str], place: int, formula: str) -> None:
    """Refuse what is legal elsewhere but means nothing, or something else, in a formula."""
    token, before = tokens[place], tokens[place - 1] if place else ""
    after = tokens[place + 1] if place + 1 < len(tokens) else ""
    if token in "/~":
        raise DesignError(f"formula {formula!r}: {token} has its place inside I() only")
    if token == "^" and before != ")":
        raise DesignError(
            f"formula {formula!r}: a power of a variable is written I({before}^{after}); "
            "^ outside of I() is for interactions, as in (a + b)^2"
        )
    if not _is_number(token):
        return
    if before == "^":
        if token not in map(str, range(1, HIGHEST_POWER + 1)):
            raise DesignError(f"formula {formula!r}: ^ takes 1 to {HIGHEST_POWER}, not {token}")
    elif token not in ("0", "1") or before in ("*", ":") or after in ("*", ":", "^"):
        raise DesignError(
            f"formula {formula!r}: {token} is arithmetic, which has its place inside I(); "
            "outside there are only 1 and 0, with and without intercept"
        )


def _tree(code: str, text: str) -> ast.expr:
    """Syntax tree of arithmetic; `code` holds nothing but tokens of the language."""
    try:
        return ast.parse(code, mode="eval").body
    except (SyntaxError, RecursionError) as error:
        raise DesignError(f"{text} is not arithmetic") from error


def _value(node: ast.expr, cells: Mapping[str, float]) -> float:
    """Value of arithmetic; ValueError, OverflowError, ZeroDivisionError where there is none."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in cells:
            return cells[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, cells)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, cells)
        case ast.BinOp(left=left, op=operator, right=right):
            return _combined(operator, _value(left, cells), _value(right, cells))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if (
            name in FUNCTIONS
        ):
            return FUNCTIONS[name](_value(argument, cells))
    raise DesignError("only + - * / ^, numbers, columns, log, sqrt and exp are arithmetic here")


def _combined(operator: ast.operator, left: float, right: float) -> float:
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.Pow():
            return math.pow(left, right)
    raise DesignError("only + - * / ^ are arithmetic here")


def _numbers(variable: Variable, cells: Mapping[str, Sequence[str]]) -> Floats:
    """Values of a numeric variable before centring."""
    for column in variable.columns:
        for cell in cells[column]:
            if not CELL.fullmatch(cell):
                raise DesignError(f"{variable.text}: {cell!r} of {column} is not a number")
    tree = _tree(variable.body, variable.text)
    values = []
    for row in range(len(cells[variable.columns[0]])):
        numbers = {
            f"c{place}": float(cells[column][row])
            for place, column in enumerate(variable.columns)
        }
        try:
            value = _value(tree, numbers)
        except (ValueError, OverflowError, ZeroDivisionError) as error:
            if isinstance(error, DesignError):
                raise
            value = math.nan
        if not math.isfinite(value):
            where = ", ".join(f"{column} = {cells[column][row]}" for column in variable.columns)
            raise DesignError(f"{variable.text} is not a finite number for {where}")
        values.append(value)
    return np.array(values)


def _fixed(
    variable: Variable,
    cells: Mapping[str, Sequence[str]],
    reference: Mapping[str, str],
) -> tuple[Variable, list[str]]:
    """The variable with its levels or origin taken from the cells of the studies used."""
    column, notes = variable.columns[0], []
    plain = variable.text == column
    numeric = [CELL.fullmatch(cell) is not None for cell in cells[column]]
    if variable.function == "factor" or (plain and not all(numeric)):
        if plain and any(numeric):
            odd = next(c for c, fits in zip(cells[column], numeric, strict=True) if not fits)
            notes.append(f"{column} is taken for categories because {odd!r} is not a number")
        levels = sorted(set(cells[column]), key=natural)
        if column in reference:
            first = reference[column]
            if first not in levels:
                raise DesignError(
                    f"reference level {first!r} of {column} is not among: {', '.join(levels)}"
                )
            levels.remove(first)
            levels.insert(0, first)
        if len(levels) == 1:
            raise DesignError(f"{column} is constant: all studies have {levels[0]!r}")
        return Variable(variable.text, (column,), tuple(levels), "factor"), notes
    if plain and column in reference:
        raise DesignError(
            f"a reference level for {column}, which is numeric: write factor({column}) to take "
            "its numbers for categories"
        )
    if variable.function != "center":
        return variable, notes
    values = _numbers(variable, cells)
    origin = math.fsum(values.tolist()) / values.size
    return Variable(variable.text, variable.columns, (), "center", variable.body, origin), notes


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
        else _numbers(variable, cells) - variable.origin
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
    code, variables = _rewritten(formula, covariates)
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
        settled, said = _fixed(variable, cells, reference)
        fixed.append(settled)
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
