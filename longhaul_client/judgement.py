"""What an answer means: the one place where a call's failure is told from its success."""

import contextlib
from typing import Any

from longhaul_client.errors import LonghaulError, UnreachableError
from longhaul_client.messages import Lost, Reply

_SHOWN_CHARACTERS = 200


def refusal(answer: Reply | Lost, url: str) -> LonghaulError | None:
    """None when the call succeeded."""
    if isinstance(answer, Lost):
        return UnreachableError(f"no answer from {url}", answer.reason, hopeless=answer.hopeless)
    if 200 <= answer.status < 300:
        return None
    retry_after_s = seconds(answer.headers.get("retry-after"))
    problem: Any = None
    with contextlib.suppress(ValueError):
        problem = answer.json()
    if isinstance(problem, dict) and isinstance(problem.get("code"), str):
        detail = str(problem.get("detail") or problem["code"])
        return LonghaulError(
            problem["code"], detail, status=answer.status, retry_after_s=retry_after_s, problem=problem
        )
    said = " ".join(answer.text.split())[:_SHOWN_CHARACTERS]
    detail = f"{url} answers {answer.status}" + (f": {said}" if said else "")
    return LonghaulError(f"http_{answer.status}", detail, status=answer.status, retry_after_s=retry_after_s)


def unreadable(url: str, fault: Exception) -> LonghaulError:
    """Of a success whose body is not what was promised: most likely something else answers there."""
    said = f"{type(fault).__name__} {fault}"[:_SHOWN_CHARACTERS]
    return LonghaulError("bad_answer", f"{url} does not answer as Longhaul does ({said}). Is that its address?")


def seconds(retry_after: str | None) -> float | None:
    """Of the header; a date, as some proxies send, is none: our clock may be another than theirs."""
    try:
        found = float(retry_after or "")
    except ValueError:
        return None
    return found if 0 <= found < float("inf") else None
