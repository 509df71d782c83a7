"""Scripts' flat answers into values. The order of a claim's fields is claim.lua's `answer_of`."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from .claims import Claim, LostAttempt, Turn
from .records import Kind, Paused, TaskRecord, UsageRow

SEPARATOR = "\x1f"
NAMES = {"caller": 0, "user": 1, "agent": 2, "model": 3}


def record_of(task_id: str, position: str, flat: Sequence[str]) -> TaskRecord:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return TaskRecord.of(task_id, fields, None if int(position) < 0 else int(position))


def claim_of(fields: Sequence[Any]) -> Claim:
    (task_id, fence, attempt, crashes, retries, caller, model, agent, kind, message, user_id, session_id, metadata,
     left, history, input_text, schema_text, kept, avoid, stream, queued_ms, age, replays,
     traceparent, lost) = fields  # fmt: skip
    return Claim(
        task_id=task_id,
        fence=int(fence),
        attempt=int(attempt),
        crashes=int(crashes),
        retries=int(retries),
        caller=caller,
        model=model,
        agent=agent,
        kind=Kind(kind),
        message=message,
        user_id=user_id or None,
        session_id=session_id or None,
        metadata=orjson.loads(metadata),
        left_ms=None if int(left) < 0 else int(left),
        history=[_turn(orjson.loads(turn)) for turn in history],
        input=json.loads(input_text) if input_text else None,
        output_schema=json.loads(schema_text) if schema_text else None,
        kept=kept == "1",
        stream=stream == "1",
        avoid=avoid.split(SEPARATOR) if avoid else (),
        queued_ms=int(queued_ms),
        age_ms=int(age),
        replays=int(replays),
        traceparent=traceparent or None,
        lost=_lost(lost),
    )


def _lost(text: str) -> LostAttempt | None:
    if not text:
        return None
    fence, attempt, began, ended, worker = text.split(" ", 4)
    return LostAttempt(int(fence), int(attempt), int(began), int(ended), worker)


def _turn(turn: Mapping[str, str]) -> Turn:
    return Turn(turn["message"], turn["answer"])


def paused_of(what: str, for_ms: int) -> Paused:
    kind, _, name = what.partition(" ")
    return Paused("model" if kind == "model" else "agent", name, for_ms)


def usage_rows(
    day: int, fields: Mapping[str, str], by: Literal["caller", "user", "agent", "model"]
) -> Iterator[UsageRow]:
    """One day's hash, whose fields are `caller, user, agent, model, measure`, summed over all names but one."""
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for field, count in fields.items():
        # a user_id is what a client wrote and may hold the separator; the names around it are ours
        caller, rest = field.split(SEPARATOR, 1)
        *names, measure = [caller, *rest.rsplit(SEPARATOR, 3)]
        sums[names[NAMES[by]]][measure] += int(count)
    date = datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
    for name, sum_of in sums.items():
        priced = sum_of["attempts"] > sum_of["unpriced"]
        yield UsageRow(
            day=date,
            name=name,
            tasks=sum_of["tasks"],
            prompt_tokens=sum_of["prompt_tokens"],
            completion_tokens=sum_of["completion_tokens"],
            total_tokens=sum_of["total_tokens"],
            cost_usd=sum_of["cost_nusd"] / 1e9 if priced else None,
            unpriced=sum_of["unpriced"],
        )
