"""The language of the formulas of meta-regressions, and the variables they are made from.

Formulas come from configuration files that anybody may have written. They are cut into tokens
of a small language here, and whatever is not in it is refused. Free of numpy, so that a
formula can be checked where the configuration is read.

The language: names of columns; ``+ - * : ^ ( )`` with their meaning in R (``a*b`` is ``a + b +
a:b``, ``(a + b + c)^2`` all terms up to second order, ``0 +`` or ``- 1`` no intercept);
``factor(x)`` or ``C(x)`` to take numbers for categories; ``I(...)`` for arithmetic with ``+ - *
/ ^``, numbers, ``log``, ``sqrt`` and ``exp``; ``log(x)``, ``sqrt(x)``, ``exp(x)`` likewise; and
``center(x)``, x minus its mean over the studies in the model.
"""

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

INTERCEPT = "intercept"
# A formula beyond these is a mistake, and the number of its terms could grow without bounds.
LONGEST = 500
MOST_PRODUCTS = 4
MOST_VARIABLES = 20
HIGHEST_POWER = 3

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


def columns_of(formula: str) -> tuple[str, ...]:
    """Names in a formula that are those of columns, each once; DesignError for other text."""
    tokens = _tokens(formula)
    return tuple(
        dict.fromkeys(
            token
            for token, after in zip(tokens, [*tokens[1:], ""], strict=True)
            if _is_name(token) and after != "("
        )
    )


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


def rewritten(
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
    _check_grammar(out, formula)
    return " ".join(out) or "1", tuple(variables.values())


def _check_grammar(tokens: Sequence[str], formula: str) -> None:
    """Operands with signs between them, in brackets that close."""
    depth, before, bad = 0, "(", ""
    for token in tokens:
        ended = before not in "+-*/:^("
        depth += {"(": 1, ")": -1}.get(token, 0)
        if token in "*:^)" and not ended:
            bad = f"something is missing before {token}"
        elif ended and token not in "+-*/:^)":
            bad = "a sign is missing between two of its parts"
        elif depth < 0:
            bad = "a bracket is closed that was not opened"
        if bad:
            break
        before = token
    if not bad and tokens and before in "+-*/:^(":
        bad = f"something is missing after {before}"
    if not bad and depth:
        bad = "a bracket is not closed"
    if bad:
        raise DesignError(f"formula {formula!r} is not well formed: {bad}")


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


def evaluated(variable: Variable, cells: Mapping[str, Sequence[str]]) -> list[float]:
    """Values of a numeric variable before centring; DesignError where there is none."""
    for column in variable.columns:
        for cell in cells[column]:
            if not CELL.fullmatch(cell):
                raise DesignError(f"{variable.text}: {cell!r} of {column} is not a number")
    tree = _tree(variable.body, variable.text)
    found = []
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
        found.append(value)
    return found


def settled(
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
    numbers = evaluated(variable, cells)
    origin = math.fsum(numbers) / len(numbers)
    return Variable(variable.text, variable.columns, (), "center", variable.body, origin), notes
