"""The sentences of the simulated model, in the language of the question. Every one is marked as simulated."""

import re
from collections.abc import Iterable

import orjson

from loadtest.simulator.conversation import ToolResult

MARK = {False: "[simulated] ", True: "[模拟] "}
MAX_RESULT_CHARS = 2000
MAX_RECALLED = 5
MAX_RECALLED_CHARS = 200

_ERROR = re.compile(
    r"\s*(?:(?:tool )?error\b[^.\n]{0,80}?:|\w+(?:Error|Exception)\b|traceback\b|failed\b"
    r"|the tool [\w-]+ (?:failed|did not finish)|错误|失败|出错)",
    re.IGNORECASE,
)

_GREETING = re.compile(r"\s*(?:hi|hello|hey|good (?:morning|evening|day)|你好|您好|嗨)\b", re.IGNORECASE)


def looks_like_error(content: str) -> bool:
    """The wire has no flag for a failed tool: a tool says so in its first words, or in a JSON field."""
    if content.lstrip().startswith("{"):
        try:
            data = orjson.loads(content)
        except orjson.JSONDecodeError:
            return False
        return isinstance(data, dict) and bool(data.get("error") or data.get("status") == "error")
    return bool(_ERROR.match(content))


def about_results(results: Iterable[ToolResult], *, chinese: bool) -> list[str]:
    return [_about_result(result, chinese=chinese) for result in results]


def _about_result(result: ToolResult, *, chinese: bool) -> str:
    content = result.content.strip()
    if len(content) > MAX_RESULT_CHARS:
        content = content[:MAX_RESULT_CHARS] + "…"
    stop = "" if content.endswith((".", "!", "?", "…", "。", "！", "？")) else ("。" if chinese else ".")
    if not content:
        return f"工具 {result.tool} 没有返回内容。" if chinese else f"The {result.tool} tool returned nothing."
    if looks_like_error(content):
        said = f"工具 {result.tool} 报告错误：" if chinese else f"The {result.tool} tool reported an error: "
    else:
        said = f"工具 {result.tool} 的结果：" if chinese else f"The {result.tool} tool answered: "
    return said + content + stop


def about_missing(kinds: Iterable[str], *, chinese: bool) -> list[str]:
    return [
        f"这需要 {kind} 工具，但这次请求没有提供。"
        if chinese
        else f"That needs a {kind} tool, and this request offers none."
        for kind in kinds
    ]


def about_earlier(earlier: list[str], *, chinese: bool) -> str:
    said = [text.strip()[:MAX_RECALLED_CHARS] for text in earlier if text.strip()][-MAX_RECALLED:]
    if not said:
        return "在这条消息之前，你还没有说过什么。" if chinese else "You said nothing before this message."
    if chinese:
        return "你之前说过：" + "；".join(f"「{text}」" for text in said) + "。"
    return "Earlier you said: " + "; ".join(f'"{text}"' for text in said) + "."


def small_talk(text: str, *, chinese: bool) -> str:
    hello = bool(_GREETING.match(text))
    if chinese:
        return ("你好！" if hello else "") + "我是内置的模拟模型，不会真正思考。可以让我计算、看时间或搜索。"
    return (
        "Hello! " if hello else ""
    ) + "I am the built-in simulated model and do not think. Ask me to compute something, for the time, or to search."


def nothing_to_call(*, chinese: bool) -> str:
    return (
        "脚本要求调用工具，但这次请求没有提供。" if chinese else "The script wants a tool call, and no tool is offered."
    )
