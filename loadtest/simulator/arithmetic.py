"""Finds arithmetic in a sentence. It only copies what it finds, in a calculator's notation: it computes nothing."""

import itertools
import re
from dataclasses import dataclass

# One character for one, so that a place in the translation is the same place in the message.
_PLAIN = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {
    ord(sign): plain
    for sign, plain in {
        "\u3000": " ",
        "×": "*",
        "✕": "*",
        "·": "*",
        "∙": "*",
        "⋅": "*",
        "÷": "/",
        "∕": "/",
        "−": "-",
        "–": "-",
    }.items()
}

_WORDS = {
    "plus": "+", "minus": "-", "times": "*", "multiplied by": "*", "divided by": "/", "to the power of": "**",
    "x": "*", "^": "**",
    "加上": "+", "加": "+", "减去": "-", "减": "-", "乘以": "*", "乘": "*", "除以": "/",
}  # fmt: skip
_FUNCTIONS = "sqrt|abs|round|min|max|pow|factorial|log10|log2|log|exp|sin|cos|tan|floor|ceil"

_TOKEN = re.compile(
    rf"""
    (?P<number>(?:(?<![A-Za-z_\d.])|(?<=\dx))
        (?:0x[0-9a-f]++ | \d{{1,3}}(?:,\d{{3}})++(?:\.\d++)?(?![\d,]) | \d++(?:\.\d++)?(?:e[+-]?\d++)? | \.\d++)
        (?![a-wyz_]))
  | (?P<function>\b(?:{_FUNCTIONS})(?=[ ]?\()|\bpi\b)
  | (?P<operator>\*\*|//|<<|>>|[-+*/%^]
        |\b(?:plus|minus|times|multiplied[ ]by|divided[ ]by|to[ ]the[ ]power[ ]of)\b
        |(?<=[\d) ])x(?=[ \d(])|加上|加|减去|减|乘以|乘|除以)
  | (?P<open>\() | (?P<close>\)) | (?P<comma>,)
    """,
    re.VERBOSE | re.IGNORECASE,
)

_TOLD = re.compile(r"\b(?:compute|calculate|calc|evaluate|work out)\b|计算|算", re.IGNORECASE)
_ASKED = re.compile(r"\b(?:what(?:'s| is)|how much is|solve|equals?)\b|=|等于|多少|求", re.IGNORECASE)
_DATE = re.compile(r"\b\d{4}[-/]\d{1,2}[-/]\d{1,2}\b|\b\d{1,2}/\d{1,2}/\d{2,4}\b|\b\d{1,2}:\d{2}(?::\d{2})?\b")
_CLEARLY_MEANT = re.compile(r"[+*(^]|\d\s+[-/%]\s+\d")


@dataclass(frozen=True, slots=True)
class Expression:
    text: str
    at: int  # where it begins in the message


def plain_signs(text: str) -> str:
    """Full-width digits, brackets and signs as ASCII; the length stays."""
    return text.translate(_PLAIN)


def find_expressions(text: str) -> list[Expression]:
    """The arithmetic in `text`, which went through `plain_signs`, in order.

    A sentence that tells to compute is taken at its word, so that wrong input reaches the calculator too; elsewhere
    dates, ranges and single numbers are left alone.
    """
    told = bool(_TOLD.search(text))
    asked = told or bool(_ASKED.search(text))
    if not told:
        text = _DATE.sub(lambda match: "_" * len(match.group()), text)
    found = []
    for run in _runs(text):
        expression = _written(run)
        binary = any(
            token.lastgroup == "operator" and before.lastgroup in {"number", "close"}
            for before, token in itertools.pairwise(run)
        )
        called = any(token.lastgroup == "function" for token in run)
        if binary or called or told:
            if not asked and not _CLEARLY_MEANT.search(expression):
                continue
            found.append(Expression(expression, run[0].start()))
    return found


def _runs(text: str) -> list[list[re.Match[str]]]:
    """Stretches of tokens that read as one expression each and hold an operator or a function, in one linear pass."""
    runs: list[list[re.Match[str]]] = []
    current: list[re.Match[str]] = []
    depth = 0
    wants_operand = True
    whole = 0  # so many tokens of `current` read as a whole expression

    def close() -> None:
        nonlocal depth, wants_operand, whole
        # With a bracket left open the calculator shall say so; without one, what hangs over the end is prose.
        kept = current[:whole] if whole or not depth else current
        if len(kept) > 1 and any(token.lastgroup in {"operator", "function"} for token in kept):
            runs.append(kept.copy())
        current.clear()
        depth, wants_operand, whole = 0, True, 0

    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if current and text[current[-1].end() : token.start()].strip(" \t"):
            close()
        if kind in {"number", "function", "open"}:
            misplaced = False
            if not wants_operand:
                close()
        elif kind == "operator":
            misplaced = wants_operand and (token.group() not in "+-" or _is_bullet(text, token, current))
        else:
            misplaced = wants_operand or not depth
        if misplaced:
            close()
            continue
        current.append(token)
        depth += {"open": 1, "close": -1}.get(kind or "", 0)
        wants_operand = kind in {"open", "comma", "operator"} or (kind == "function" and token.group().lower() != "pi")
        if not wants_operand and not depth:
            whole = len(current)
    close()
    return runs


def _is_bullet(text: str, sign: re.Match[str], current: list[re.Match[str]]) -> bool:
    """Whether a minus stands at the start of a line with a blank after it: a list, not a negative number."""
    line_start = text.rfind("\n", 0, sign.start()) + 1
    return not current and not text[line_start : sign.start()].strip() and text[sign.end() : sign.end() + 1] == " "


def _written(run: list[re.Match[str]]) -> str:
    """The run with the message's own spacing and a calculator's signs."""
    parts = []
    end = run[0].start()
    for token in run:
        word = token.group().lower()
        parts.append(" " if token.start() > end else "")
        parts.append(word.replace(",", "") if token.lastgroup == "number" else _WORDS.get(word, word))
        end = token.end()
    return "".join(parts)
