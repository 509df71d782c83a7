"""What a user's message needs: arithmetic, the time, a search, a page of the web, a query of the database, or their own
earlier words. English and Chinese.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from loadtest.simulator.arithmetic import find_expressions, plain_signs

MAX_NEEDS = 16
_MAX_KNOWN_CHARS = 8192


class Kind(StrEnum):
    CALCULATOR = "calculator"
    TIME = "get_time"
    SEARCH = "search"
    FETCH = "fetch"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Need:
    kind: Kind
    value: str  # the expression, the time zone or "", the query, the address, the statement


_CHINESE = re.compile(r"[\u3400-\u9fff]")

_TIME = re.compile(
    r"\bwhat(?:'s| is)?(?: the)?(?: current| exact)? (?:time|date|day)\b(?! complexity)"
    r"|\b(?:current|local) (?:time|date)\b|\btime is it\b|\btoday'?s date\b|\btell me the (?:time|date)\b"
    r"|几点|几号|星期几|周几|(?:现在|当前|此刻|今天)的?.{0,4}(?:时间|日期)|时间是多少",
    re.IGNORECASE,
)
_ZONE = re.compile(r"\b(?:UTC|GMT|[A-Z][a-z]+/[A-Z][A-Za-z]+(?:_[A-Za-z]+)*)\b")

# A query ends with the sentence, or where the next errand begins.
_SEARCH = re.compile(
    r"(?:"
    r"\b(?:search(?:ing)?(?: the (?:web|internet)| online)? for"
    r"|(?:^|(?<=[.!?;,\n] )|(?<=please )|(?<=then )|(?<=and )|(?<=also )|(?<=you ))search(?: the web| online)?:?"
    r"|look up|google|find information (?:about|on))\s+"
    r"|(?:搜索一下|搜一下|搜索|搜搜|查一下|查找|查询)[\s:：]*"
    r")"
    r"(?P<query>.+?)"
    r"(?=[.!?](?:\s|$)|[。！？?；;，\n]|,? and (?:then |also )?(?:compute|calculate|what|tell|search|look)\b"
    r"|,? then\b|(?:[,，]|然后|并且|并|再|顺便|同时)(?:计算|算|搜索|查|告诉)|$)",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTES = " \t\"'“”‘’「」《》"

_ADDRESS = re.compile(r"(?<![a-z])[a-z]{2,10}://[^\s<>\"'`，。、）】」]+", re.IGNORECASE)

# In backquotes, or from a keyword in capitals to the end of the message: "select a book" is no SQL.
_VERBS = r"(?:SELECT|WITH|VALUES|EXPLAIN|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|ATTACH|PRAGMA|VACUUM)\s"
_SQL = re.compile(rf"`+(?:sql\b)?\s*((?i:{_VERBS})[^`]+)`|\b({_VERBS}.+)", re.DOTALL)

_RECALL = re.compile(
    r"\bwhat (?:did|have) I (?:just |already )?(?:sa(?:y|id)|ask(?:ed)?|t(?:ell|old)|wr(?:ite|itten))\b"
    r"|\bwhat was my (?:last|previous|first|earlier) (?:message|question)\b"
    r"|\b(?:do you remember|what(?:'s| is) my name)\b"
    r"|我(?:刚才|刚刚|之前|以前|前面|上面)?(?:说了|说过|问了|问过|说的是)(?:些)?什么|还记得|我叫什么",
    re.IGNORECASE,
)


def is_chinese(text: str) -> bool:
    return bool(_CHINESE.search(text))


def asks_to_recall(text: str) -> bool:
    return bool(_RECALL.search(text))


def find_needs(text: str, offered: Iterable[Kind] = ()) -> list[Need]:
    """The errands of a message in its own order, each once, at most MAX_NEEDS.

    Addresses and SQL are errands only if a tool for them is `offered`: most messages that hold one want something else.
    """
    kinds = frozenset(offered)
    return list(_known_needs(text, kinds) if len(text) <= _MAX_KNOWN_CHARS else _needs(text, kinds))


@lru_cache(maxsize=1024)
def _known_needs(text: str, offered: frozenset[Kind]) -> list[Need]:
    """Each step of a turn asks about the same message."""
    return _needs(text, offered)


def _needs(text: str, offered: frozenset[Kind]) -> list[Need]:
    placed: list[tuple[int, Need]] = []
    rest = text
    for kind, pattern in ((Kind.DATABASE, _SQL), (Kind.FETCH, _ADDRESS)):
        for match in pattern.finditer(rest) if kind in offered else ():
            value = match.group().rstrip(".,;:!?)") if kind is Kind.FETCH else (match[1] or match[2]).strip()
            placed.append((match.start(), Need(kind, value)))
            rest = _without(rest, match)
    text = rest
    for match in _SEARCH.finditer(text):
        query = match["query"].strip(_QUOTES)
        if query:
            placed.append((match.start(), Need(Kind.SEARCH, query)))
            rest = _without(rest, match)
    if asked := _TIME.search(rest):
        zone = _ZONE.search(rest)
        placed.append((asked.start(), Need(Kind.TIME, zone.group() if zone else "")))
    placed += [(found.at, Need(Kind.CALCULATOR, found.text)) for found in find_expressions(plain_signs(rest))]
    placed.sort(key=lambda item: item[0])
    return list(dict.fromkeys(need for _, need in placed))[:MAX_NEEDS]


def _without(text: str, match: re.Match[str]) -> str:
    """What is searched for, read or asked is not also computed. Every place stays where it is."""
    return text[: match.start()] + "_" * len(match.group()) + text[match.end() :]
