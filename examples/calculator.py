"""
Arithmetic on text from a stranger. Nothing is ever evaluated as Python: the text is parsed, and only the nodes
named here are worked out, with a limit on every intermediate result.
"""

import ast
import math
import operator
import re
from collections.abc import Callable

Number = int | float

LONGEST_EXPRESSION = 200
MOST_BITS = 4096  # about 1200 digits; 9**9**9 would take all the memory there is
# Before the parser: it warns about odd literals, and a warning may be an error to the site.
ALLOWED = re.compile(r"[0-9\s.+\-*/%()eE]+")

OPERATIONS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
SIGNS: dict[type[ast.unaryop], Callable[[Number], Number]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


class RefusedExpression(ValueError):
    """
    Not arithmetic, or arithmetic beyond our limits. The message may be shown to anybody.
    """


def calculate(expression: str) -> str:
    try:
        return written(value_of(parsed(expression)))
    except ZeroDivisionError:
        raise RefusedExpression("That divides by zero.") from None
    except OverflowError:
        raise RefusedExpression("The result is too large.") from None


def parsed(expression: str) -> ast.expr:
    if len(expression) > LONGEST_EXPRESSION:
        raise RefusedExpression(f"An expression may have at most {LONGEST_EXPRESSION} characters.")
    if not ALLOWED.fullmatch(expression):
        raise RefusedExpression("Only numbers, brackets and + - * / // % ** are understood.")
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (
        SyntaxError,
        MemoryError,
        RecursionError,
    ):  # the last two: very deep brackets
        raise RefusedExpression("That is not a complete expression.") from None


def value_of(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as value):
            return within_limits(value)
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in SIGNS:
            return SIGNS[type(sign)](value_of(operand))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return within_limits(power(value_of(left), value_of(right)))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
            return within_limits(OPERATIONS[type(op)](value_of(left), value_of(right)))
    raise RefusedExpression("Only numbers, brackets and + - * / // % ** are understood.")


def power(base: Number, exponent: Number) -> Number:
    # The size is reckoned beforehand: afterwards the time and the memory are spent.
    if (
        isinstance(base, int)
        and isinstance(exponent, int)
        and base.bit_length() * abs(exponent) > MOST_BITS
    ):
        raise RefusedExpression("The result is too large.")
    result = base**exponent
    if isinstance(result, complex):
        raise RefusedExpression("That has no real result.")
    return float(result) if isinstance(result, float) else int(result)


def within_limits(value: Number) -> Number:
    too_large = (
        value.bit_length() > MOST_BITS if isinstance(value, int) else not math.isfinite(value)
    )
    if too_large:
        raise RefusedExpression("The result is too large.")
    return value


def written(value: Number) -> str:
    return str(value) if isinstance(value, int) else f"{value:.12g}"
