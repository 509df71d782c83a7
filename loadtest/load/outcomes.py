"""What an answer means to who asked: words that are few, so that failures can be counted by them."""

import json
from typing import Any

FINAL = frozenset({"success", "failed", "cancelled"})


class Failure(Exception):  # noqa: N818 it is reported, never caught
    """Counted and shown by its words: a status and a problem's `code`, or a task's `error_code`."""

    def __repr__(self) -> str:
        return str(self)


def refusal(response: Any) -> Failure | None:
    """Why an HTTP answer is no good, such as `429 queue_full`; None when it is good. Of either client."""
    status = response.status_code
    if status == 200:
        return None
    if not status:
        return Failure(f"no answer: {type(response.error).__name__}")
    try:
        code = json.loads(response.text).get("code")
    except (ValueError, AttributeError):
        code = None
    return Failure(f"{status} {code}" if isinstance(code, str) else f"{status}")


def verdict(view: dict[str, Any]) -> Failure | None:
    """Why a final task is no success, such as `task failed: model_unavailable`."""
    status = view.get("status")
    if status == "success":
        return None
    return Failure(f"task {status}: {view.get('error_code')}")
