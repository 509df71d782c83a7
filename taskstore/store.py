"""The task store: one method per verb, one script per method, one round trip per script.

Every verb may be sent twice (a lost reply is asked for again): the second answer is as the first. Methods raise
StoreUnavailable when Redis does not answer, and then nothing is known of the write.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import orjson

from core_config import Settings

from .agents import NOBODY_HAS_IT, flat_of, reports_of
from .claims import Claimed, ModelRules, QuarantinePart, Settled, Settlement
from .connection import Client
from .errors import (
    AgentUnavailable,
    IdempotencyConflict,
    NeverDue,
    NotDead,
    QueueFull,
    SessionBusy,
    StorageFull,
    StoreError,
    TaskNotFound,
    WrongStatus,
)
from .estimate import Look, outlook_of
from .events import TaskHistory, event_of, held_of, moment
from .keys import Keys
from .listing import MOST_LOOKED_AT, Cursor, TaskFilter, TaskPage, bound_ms, page_of
from .measures import Measures, measure
from .records import (
    RECORD_VERSION,
    Cooling,
    Kind,
    NewTask,
    Overview,
    Submitted,
    TaskRecord,
    UsageRow,
    WorkerInfo,
    json_text,
)
from .scripts import OnCall, Scripts
from .sessions import Sessions
from .states import Status
from .steps import StepBatch
from .unpack import SEPARATOR, claim_of, paused_of, record_of, usage_rows

ANY_CALLER = "*"
"""In place of a caller's name: an admin's, who may touch every caller's tasks."""

CLAIM_LIMIT = 100
"""Most tasks that one claim takes, so that no script holds Redis for long."""

SWEEP_LIMIT = 100
"""Most of each kind that one sweep takes; a sweep that took so many may have left more."""


class TaskStore:
    def __init__(self, redis: Client, settings: Settings, on_call: OnCall | None = None) -> None:
        """`on_call` hears of every verb's round trip."""
        self.redis = redis
        self.keys = Keys(settings.key_prefix)
        self._settings = settings
        self._scripts = Scripts(redis, settings, on_call)

    @property
    def sessions(self) -> Sessions:
        return Sessions(self._scripts)

    # -- the gateway's

    async def submit(self, task: NewTask) -> Submitted:
        """Writes, indexes and announces the task. Raises QueueFull, StorageFull, AgentUnavailable, SessionBusy,
        NeverDue or IdempotencyConflict, and then wrote nothing.
        """
        fields = {
            "v": RECORD_VERSION,
            "caller": task.caller,
            "message": task.message,
            "model": task.model,
            "agent": task.agent,
            "kind": task.kind.value,
            "priority": task.priority,
            "flow": f"{task.share or task.caller}|{task.priority}",
            "weight": 2.0 ** (task.priority - 5),
            "session": task.session,
            "metadata": orjson.dumps(dict(task.metadata)).decode(),
            "attempt": 0,
            "retries": 0,
            "crashes": 0,
            "fence": 0,
        }
        if task.input is not None:
            fields["input"] = json_text(task.input)
        if task.output_schema is not None:
            fields["output_schema"] = json_text(task.output_schema)
        if task.stream:
            fields["stream"] = 1
        if task.user_id is not None:
            fields["user_id"] = task.user_id
        if task.session_id is not None:
            fields["session_id"] = task.session_id
        if task.traceparent is not None:
            fields["traceparent"] = task.traceparent
        flat = [str(part) for pair in fields.items() for part in pair]
        idempotency = "" if task.idempotency_key is None else self.keys.idempotency(task.caller, task.idempotency_key)
        word, *rest = await self._scripts.run(
            "submit", task.task_id, task.run_at_ms, task.deadline_ms, idempotency, task.body_sha256, task.on_busy, *flat
        )
        if word in {"created", "exists"}:
            task_id, status, created_at = rest
            return Submitted(
                task_id=task_id,
                status=Status(status),
                created_at=datetime.fromtimestamp(int(created_at) / 1000, UTC),
                created=word == "created",
            )
        if word == "full":
            raise StorageFull("nine tenths of Redis's memory are taken: the rest is for what was let in")
        if word == "queue_full":
            raise QueueFull(self._settings.queue_max_depth)
        if word == "session_busy":
            raise SessionBusy(rest[0])
        if word == "agent_unavailable":
            raise AgentUnavailable(task.agent, rest[0] or NOBODY_HAS_IT)
        if word == "idempotency_conflict":
            raise IdempotencyConflict
        if word == "never_due":
            raise NeverDue
        raise _unexpected("submit", word)

    async def get(self, task_id: str, caller: str = ANY_CALLER) -> TaskRecord:
        """The record. Raises TaskNotFound for an unknown, expired or foreign id, which look the same."""
        answer = await self._scripts.run("read", task_id, caller)
        if answer == "not_found":
            raise TaskNotFound
        return record_of(task_id, *answer)

    async def history(self, task_id: str, caller: str = ANY_CALLER) -> TaskHistory:
        """The record and all that happened to it, as of one moment. Raises TaskNotFound as `get` does."""
        answer = await self._scripts.run("read", task_id, caller, "stream")
        if answer == "not_found":
            raise TaskNotFound
        position, flat, now, held, entries, behind = answer
        return TaskHistory(
            record=record_of(task_id, position, flat),
            events=[event_of(entry_id, fields) for entry_id, fields in entries],
            now=moment(now),
            held=held_of(held),
            behind=behind,
        )

    async def look(self, task_id: str, caller: str = ANY_CALLER) -> Look:
        """The record with its steps and what an estimate of its end goes by. Raises TaskNotFound as `get` does."""
        answer = await self._scripts.run("read", task_id, caller, "progress")
        if answer == "not_found":
            raise TaskNotFound
        position, flat, entries, words, facts = answer
        record = record_of(task_id, position, flat)
        return Look(
            record=replace(record, partial=words) if words else record,
            events=[event_of(entry_id, fields) for entry_id, fields in entries],
            outlook=outlook_of(facts),
        )

    async def list_tasks(
        self, wanted: TaskFilter, *, limit: int, after: Cursor | None = None, caller: str = ANY_CALLER
    ) -> TaskPage:
        """At most `limit` tasks that the caller may read, newest first, from `after` on."""
        place = ("", "") if after is None else (after.created_ms, after.task_id)
        span = (bound_ms(wanted.since), bound_ms(wanted.until))
        answer = await self._scripts.run("list", caller, limit, MOST_LOOKED_AT, *place, *span, wanted.as_json())
        return page_of(answer)

    async def cancel(self, task_id: str, caller: str = ANY_CALLER) -> Status:
        """The status after it: `cancelled`, or `running` with the request noted. Raises TaskNotFound, WrongStatus."""
        return _status_after(await self._scripts.run("cancel", task_id, caller))

    async def decide(self, task_id: str, decision: str, caller: str = ANY_CALLER) -> Status:
        """Sends a waiting task on with a person's decision (JSON). Raises TaskNotFound, WrongStatus."""
        return _status_after(await self._scripts.run("decide", task_id, caller, decision))

    async def replay(self, task_id: str, deadline_ms: int = 0, *, model: str | None = None) -> Status:
        """Gives a failed task new attempts, on `model` if one is named; its history stays. Sent again, it changes
        nothing and answers the status of then. Raises TaskNotFound, WrongStatus.
        """
        return _status_after(await self._scripts.run("replay", task_id, deadline_ms, model or ""))

    # -- the worker's

    async def claim(
        self,
        worker_id: str,
        number: int,
        *,
        room: int,
        extra: int,
        models: Mapping[str, int | None],
        rules: Mapping[str, ModelRules] | None = None,
        quarantine: QuarantinePart = "leave",
        attendant: str | None = None,
    ) -> Claimed:
        """Takes up to `room` batch tasks and `room + extra` in all, interactive ones first.

        `models` are those that this worker can run, each with the most that may run at once over all workers, and
        `rules` what else holds for some of them. `attendant` is the worker whose quarantine worker this is, when it is
        one. The same `number` twice is the same claim: its answer is given again, but for `attend`.
        """
        limits: list[str | int] = []
        for name, most in models.items():
            rule = (rules or {}).get(name, ModelRules())
            limits += [name, most or 0, rule.rpm or 0, int(rule.cooldown), SEPARATOR.join(rule.fallbacks)]
        rooms = (min(room, CLAIM_LIMIT), min(room + extra, CLAIM_LIMIT))
        word, next_due, more, tasks, attend = await self._scripts.run(
            "claim", worker_id, number, *rooms, quarantine, attendant or worker_id, *limits
        )
        if word != "ok":
            raise _unexpected("claim", word)
        due = int(next_due)
        return Claimed([claim_of(task) for task in tasks], None if due < 0 else due, more == "1", attend == "1")

    async def ring(self, kind: Kind) -> None:
        """Passes a wake-up on that reached a worker without room."""
        await self._scripts.run("ring", kind.value)

    async def renew(self, worker: WorkerInfo, held: Iterable[tuple[str, int]]) -> dict[str, str]:
        """Gives each held task (id, fence) another lease. Per id: `ok`, `cancel` (asked for) or `lost`."""
        pairs = list(held)
        flat = [str(part) for pair in pairs for part in pair]
        described = orjson.dumps(
            {
                "host": worker.host,
                "pid": worker.pid,
                "version": worker.version,
                "slots": worker.slots,
                "quarantine": worker.quarantine,
            }
        )
        words = await self._scripts.run("renew", worker.id, described, *flat)
        return {task_id: word for (task_id, _), word in zip(pairs, words, strict=True)}

    async def report(self, worker_id: str, agents: Mapping[str, str | None]) -> None:
        """Says which agents can be run: name -> None, or the problem. The last worker to say so speaks for all."""
        word = await self._scripts.run("report", worker_id, *flat_of(agents))
        if word != "ok":
            raise _unexpected("report", word)

    async def step(self, batches: Sequence[tuple[str, int, StepBatch]]) -> Sequence[str]:
        """Notes what calls of running tasks (id, fence) did. Per task: `ok`, or `lease_lost`: nothing was written."""
        flat = [
            part for task_id, fence, batch in batches for part in (task_id, fence, batch.as_json(), *batch.fields())
        ]
        words: Sequence[str] = await self._scripts.run("step", *flat)
        return words

    async def progress(self, task_id: str) -> dict[str, bytes]:
        """What the runs of a task have got done, as `Progress` wrote it."""
        return await self._scripts.bytes_of(self.keys.steps(task_id))

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Ends or hands on running tasks. Per settlement: `ok`, or `lease_lost`, and then nothing was written."""
        flat = [
            part
            for one in settlements
            for part in (
                one.task_id, one.fence, one.kind, one.as_json(), *([0] if one.steps is None else one.steps.fields()),
            )
        ]  # fmt: skip
        return [Settled.of(answer) for answer in await self._scripts.run("settle", *flat)]

    async def sweep(self, dead: str = "") -> dict[str, int]:
        """Rescues, expires and forgets what is due, a bounded number at a time; answers how many of each.

        `dead` names a worker that is known to have ended: its tasks are rescued without waiting for their leases.
        """
        return (await self.reap(dead))[0]

    async def reap(self, dead: str = "") -> tuple[dict[str, int], int | None]:
        """A sweep, for who makes the next one: also ms until the next lease ends, None when nothing runs."""
        next_end, flat = await self._scripts.run("sweep", dead, SWEEP_LIMIT)
        counts = {name: int(count) for name, count in zip(flat[::2], flat[1::2], strict=True)}
        return counts, int(next_end) if next_end else None

    # -- the operator's

    async def overview(self) -> Overview:
        counts, workers, agents, paused, cooling = await self._scripts.run("overview")
        queued, running, scheduled, blocked, waiting, dead = (int(count) for count in counts)
        return Overview(
            queued,
            running,
            scheduled,
            blocked,
            waiting,
            dead,
            [
                WorkerInfo(worker_id, host, int(pid), version, int(slots), int(seen), quarantine == "1")
                for worker_id, seen, host, pid, version, slots, quarantine in workers
            ],
            reports_of(agents),
            [paused_of(what, int(ms)) for what, ms in paused],
            [Cooling(model, int(left), code) for model, left, code in cooling],
        )

    async def measures(self) -> Measures:
        """What operators' metrics are made of, in one round trip."""
        return await measure(self._scripts, self.keys.counts())

    async def pause(self, kind: Literal["model", "agent"], name: str) -> None:
        """Tasks of that model or agent are accepted, but not started; those that run go on."""
        await self._scripts.run("pause", f"{kind} {name}")

    async def resume(self, kind: Literal["model", "agent"], name: str) -> tuple[bool, bool]:
        """Lets them start at once; of a model also ends its cooldown. Whether it was paused, whether it cooled down."""
        paused, cooled = await self._scripts.run("resume", f"{kind} {name}")
        return paused == "1", cooled == "1"

    async def purge(self, task_id: str, fence: int) -> None:
        """Deletes the dead letter whose record has that fence, for good; of an id that nothing has, nothing is left.
        Raises NotDead, also when it was replayed and buried again since it was seen with the fence.
        """
        word = await self._scripts.run("purge", task_id, fence)
        verdict, _, status = word.partition(":")
        if verdict == "not_dead":
            raise NotDead(status)
        if verdict != "ok":
            raise _unexpected("purge", word)

    async def usage(self, *, by: Literal["caller", "user", "agent", "model"], since_days: int) -> list[UsageRow]:
        """What each name spent on each of the last `since_days` UTC days, today included."""
        today = int(datetime.now(UTC).timestamp() // 86_400)
        days = range(today - since_days + 1, today + 1)
        async with self.redis.pipeline(transaction=False) as pipe:
            for day in days:
                pipe.hgetall(self.keys.usage(day))
            totals = await pipe.execute()
        return [row for day, fields in zip(days, totals, strict=True) for row in usage_rows(day, fields, by)]

    async def audit(self) -> list[str]:
        """Every way in which what is stored breaks the rules, in one atomic look; empty is right. Reads everything:
        for tests, chaos runs and the doctor.
        """
        broken: list[str] = await self._scripts.run("audit")
        return broken


def _status_after(word: str) -> Status:
    verdict, _, status = word.partition(":")
    if verdict == "ok":
        return Status(status)
    if verdict == "not_found":
        raise TaskNotFound
    if verdict == "wrong_status":
        raise WrongStatus(status)
    raise _unexpected("verb", word)


def _unexpected(verb: str, word: str) -> StoreError:
    return StoreError(f"{verb} answered {word!r}, which this version does not know")
