"""Arithmetic, bounded so that no expression takes longer than a millisecond or so.

The text is parsed into Python's syntax tree and only numeric nodes are walked: nothing is ever executed. Limits in
length, nodes, bits and exponent are checked before the work they bound, because `9**9**9` never comes back.
"""

import ast
import math
import operator
import re
from collections.abc import Callable
from typing import Annotated, Final

from langchain_core.tools import StructuredTool, ToolException, tool

Number = int | float

MAX_CHARS: Final = 1000
MAX_NODES: Final = 200
MAX_BITS: Final = 4096
MAX_ROUND_DIGITS: Final = 20

KNOWN: Final = (
    "Use numbers, + - * / // % **, parentheses, pi, e and the functions abs, round, min, max, sqrt, exp, log, log10, "
    "log2, sin, cos, tan, floor, ceil."
)


def calculate(expression: str) -> str:
    """The value of `expression` as text; whole results have no decimal point. Raises ToolException, saying why."""
    if len(expression) > MAX_CHARS:
        raise ToolException(f"The expression has {len(expression)} characters; at most {MAX_CHARS} are allowed.")
    try:
        tree = ast.parse(_ascii(expression), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ToolException(f"This is not an arithmetic expression. {KNOWN}") from None
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise ToolException(f"The expression is too complex: more than {MAX_NODES} parts. Split it.")
    try:
        return _as_text(_value(tree.body))
    except ZeroDivisionError:
        raise ToolException("Division by zero.") from None
    except OverflowError:
        raise ToolException("The result is too large.") from None
    except (ValueError, TypeError):
        raise ToolException("A function was given a number that it has no value for.") from None


_SIGNS: Final = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # full-width forms
    | dict(zip("×✕·∙÷∕−–【】\u3000", "****//--() ", strict=True))
)
_SUPERSCRIPTS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def _ascii(expression: str) -> str:
    """Python's signs for those that people and models write, full-width ones and 3² too."""
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda run: f"**({run[0].translate(_SUPERSCRIPTS)})", expression)
    return text.translate(_SIGNS).replace("^", "**").strip().rstrip("=? ")


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=value) if type(value) in (int, float):
            return _checked(value)  # type: ignore[arg-type]  # the guard says what mypy can't read from it
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _checked(_BINARY[type(op)](_value(left), _value(right)))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _checked(_FUNCTIONS[name](*(_value(argument) for argument in arguments)))
        case ast.Tuple():
            raise ToolException("Write numbers without commas: 1234567, not 1,234,567.")
        case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)):
            raise ToolException(f"{name[:40]!r} is not known here. {KNOWN}")
        case _:
            raise ToolException(f"Only arithmetic is possible. {KNOWN}")


def _checked(value: Number) -> Number:
    if isinstance(value, complex):
        raise ToolException("The result is not a real number.")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise OverflowError
    elif value.bit_length() > MAX_BITS:
        raise ToolException(f"The result is too large: more than {MAX_BITS} bits.")
    return value


def _divide(left: Number, right: Number) -> Number:
    """Exact while both are whole and it comes out even, so that large numbers keep every digit."""
    if isinstance(left, int) and isinstance(right, int) and right and left % right == 0:
        return left // right
    return left / right


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int):
        if (base.bit_length() - 1) * abs(exponent) > MAX_BITS:  # what the result has at least
            raise ToolException(f"The power is too large: its result would have more than {MAX_BITS} bits.")
        if exponent < 0:
            return float(base) ** exponent
    return base**exponent


def _round(value: Number, digits: Number = 0) -> Number:
    if not isinstance(digits, int) or abs(digits) > MAX_ROUND_DIGITS:
        raise ToolException(f"round takes a whole number of digits from -{MAX_ROUND_DIGITS} to {MAX_ROUND_DIGITS}.")
    return round(value, digits)


_CONSTANTS: Final[dict[str, float]] = {"pi": math.pi, "π": math.pi, "e": math.e}
_UNARY: Final[dict[type[ast.unaryop], Callable[[Number], Number]]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_BINARY: Final[dict[type[ast.operator], Callable[[Number, Number], Number]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_FUNCTIONS: Final[dict[str, Callable[..., Number]]] = {
    "abs": abs,
    "round": _round,
    "min": lambda *numbers: min(numbers),
    "max": lambda *numbers: max(numbers),
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "ln": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "floor": math.floor,
    "ceil": math.ceil,
}


def _as_text(value: Number) -> str:
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        return f"{value:.15g}"  # what a double holds for sure: 0.1 + 0.2 is 0.3
    return str(value)


@tool("calculator")
async def _calculator(
    expression: Annotated[str, "The expression, numbers without thousands separators."],
) -> str:
    """Compute an arithmetic expression exactly, such as (123 * 456 + 789) / 3.

    Knows + - * / // % **, parentheses, pi, e, sqrt, abs, round, min, max, exp, log, log10, log2, sin, cos, tan, floor
    and ceil. Use it for every calculation.
    """
    return calculate(expression)


def build() -> StructuredTool:
    assert isinstance(_calculator, StructuredTool)  # noqa: S101  for the type checker; @tool may make others
    return _calculator
