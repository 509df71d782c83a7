"""What models say on its way to Redis: at once or soon, in order with the steps, redacted, bounded."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from agent.run_context import StepEvent
from core_config import Settings
from monitoring.logs import Redactor
from taskstore.claims import Claim
from taskstore.connection import connect
from taskstore.events import event_of
from taskstore.records import Kind
from taskstore.steps import StepNote
from taskstore.store import TaskStore
from tests.conftest import RedisServer
from tests.worker.conftest import eventually
from tests.worker.test_step_writer import Bench
from worker import tokens
from worker.steps import MOST_WAITING as MOST_STEPS
from worker.steps import StepLog
from worker.tokens import MOST_WAITING, SLOWER_AFTER, Tokens

SECRET = "hunter2-secret"
AFTER_S = 1000.0


def model(number: int, phase: Any, **fields: Any) -> StepEvent:
    return StepEvent(**{"kind": "model", "phase": phase, "number": number, "name": "M", **fields})


def a_log(calls: list[float] | None = None) -> StepLog:
    claim = Claim(
        task_id="t", fence=1, attempt=1, crashes=0, retries=0, caller="a", model="M", agent="default", kind=Kind.BATCH,
        message="x", user_id=None, session_id=None, metadata={}, left_ms=None, stream=True,
    )  # fmt: skip
    told = calls if calls is not None else []
    return StepLog(claim, str, lambda _, seconds: told.append(seconds), tokens=Tokens(Redactor([SECRET])))


def notes(log: StepLog) -> list[Any]:
    """What is due now: (step, kind, text[, lost]) of tokens, `start` or `end` of steps, numbers of dropped ones."""
    batch = log.take()
    found: list[Any] = []
    for note in batch.notes if batch else ():
        if not isinstance(note, StepNote):
            found.append(note)
        elif note.is_token:
            found.append((*note.call[1:3], note.text, *note.call[3:]))
        else:
            found.append("end" if '"end"' in note.text else "start")
    return found


def written(log: StepLog) -> list[Any]:
    """What is due, taken and written."""
    batch = log.take()
    assert batch is not None
    log.written(batch)
    return list(batch.notes)


def make_due(log: StepLog) -> None:
    assert log._tokens
    log._tokens.wait(0)


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, nothing is due that a test does not make so."""
    monkeypatch.setattr(tokens, "TOKENS_AFTER_S", AFTER_S)


def test_the_first_words_of_each_call_go_at_once_and_those_that_follow_within_a_moment(slowly):
    asked: list[float] = []
    log = a_log(asked)
    log.note(model(1, "start"))
    asked.clear()
    log.token(1, "text", "He")
    assert asked == [0.0]
    assert notes(log) == ["start", (1, "text", "He")]
    log.token(1, "text", "l")
    log.token(1, "text", "lo")
    assert len(asked) == 2, "once for what goes together"
    assert 0.9 * AFTER_S < asked[1] < 1.1 * AFTER_S
    assert notes(log) == [], "not yet"
    log.remind()
    assert 0.8 * AFTER_S < asked[2] <= asked[1], "but as soon as it is"
    make_due(log)
    assert notes(log) == [(1, "text", "llo")]
    log.remind()
    assert len(asked) == 3, "nothing waits"
    log.token(2, "text", "Other")
    assert asked[3] == 0.0
    assert notes(log) == [(2, "text", "Other")]


def test_a_pause_makes_the_next_words_go_at_once(slowly):
    asked: list[float] = []
    log = a_log(asked)
    log.token(1, "text", "a")
    notes(log)
    make_due(log)
    log.token(1, "text", "b")
    assert asked == [0.0, 0.0]


def test_a_calls_end_comes_after_its_last_words_also_when_it_failed():
    log = a_log()
    log.note(model(1, "start"))
    log.token(1, "text", "Half")
    assert len(notes(log)) == 2
    log.token(1, "text", " of")
    log.note(model(1, "end", error="provider_unavailable"))
    log.token(2, "text", "All")
    assert notes(log) == [(1, "text", " of"), "end", (2, "text", "All")]


def test_kinds_and_calls_are_told_apart():
    log = a_log()
    for number, kind, text in ((1, "reasoning", "a"), (2, "text", "x"), (1, "reasoning", "b"), (1, "text", "c")):
        log.token(number, kind, text)  # type: ignore[arg-type]
    assert notes(log) == [(1, "reasoning", "ab"), (1, "text", "c"), (2, "text", "x")]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
def test_a_secret_that_comes_in_pieces_is_in_no_entry(size):
    log, said = a_log(), f"It is {SECRET}, and sk-abcdefghij0123456789."
    shown = []
    for at in range(0, len(said), size):
        log.token(1, "text", said[at : at + size])
        make_due(log)
        shown += [note[2] for note in notes(log)]
    log.note(model(1, "end"))
    shown += [note[2] for note in notes(log) if note != "end"]
    whole = "".join(shown)
    assert whole.count("[redacted]") == 2
    assert not any(SECRET[at : at + 4] in whole for at in range(len(SECRET) - 3))
    assert "abcd" not in whole
    assert "6789" not in whole


def test_what_waits_is_bounded_and_what_is_too_much_is_said():
    log = a_log()
    for number in range(MOST_STEPS):
        log.note(model(number, "end"))
    log.token(500, "text", "x" * (MOST_WAITING - 10))
    log.token(500, "text", "y" * 11)
    log.token(500, "text", "z" * 10)
    batch = log.take()
    assert batch is not None
    *steps, first, token = batch.notes
    assert len(steps) == MOST_STEPS, "no step gave way"
    assert isinstance(first, StepNote)
    assert isinstance(token, StepNote)
    assert (first.text[-1], len(first.call)) == ("x", 3)
    assert (token.text, token.call[3]) == ("z" * 10, 11)
    log.put_back(batch)
    log.token(500, "text", "more")
    log.note(model(500, "end"))
    again = log.take()
    assert again is not None
    assert again.notes[: MOST_STEPS + 2] == batch.notes, "the same keep their numbers"
    last, dropped = again.notes[MOST_STEPS + 2 :]
    assert isinstance(last, StepNote)
    assert (last.text, last.call[3], dropped) == ("", 4, 1), "a last entry says that words are missing"
    log.written(again)
    log.token(501, "text", "x" * (MOST_WAITING - 10))
    assert len(notes(log)) == 1, "there is room again"


def test_words_fill_no_place_of_a_step():
    log = a_log()
    for number in range(MOST_STEPS):
        log.token(number, "text", "word")
        log.note(model(number, "end"))
    assert notes(log).count("end") == MOST_STEPS


def test_the_more_an_attempt_has_said_the_larger_its_entries(slowly):
    log = a_log()
    assert log._tokens
    log._tokens._entries = 2 * SLOWER_AFTER
    log.token(1, "text", "a")
    assert len(written(log)) == 1
    assert 2.8 * AFTER_S < log._tokens.due_in() < 3.1 * AFTER_S


def test_a_run_that_outlives_its_attempt_says_nothing_and_what_it_said_before_is_there():
    log = a_log()
    log.token(1, "text", "a")
    assert len(written(log)) == 1
    log.token(1, "text", "b sk-abcdefgh")
    log.close()
    log.token(1, "text", "c")
    assert notes(log) == [(1, "text", "b [redacted]")], "at the end nothing is held back"


@pytest.mark.parametrize("text", ["half \ud800 pair", "a\x00b", "🙂" * 3000])
def test_any_text_can_be_written(text):
    log = a_log()
    log.token(1, "text", text)
    batch = log.take()
    assert batch is not None
    assert len(batch.as_json()) < 40_000


class Streaming(Bench):
    async def running(self) -> StepLog:
        log = await super().running()
        return self._with_tokens(log)

    def _with_tokens(self, log: StepLog) -> StepLog:
        log._tokens = Tokens(Redactor([SECRET]))
        return log

    async def said(self, log: StepLog) -> list[Any]:
        """The stream from the first token or step on: `(step, text, lost)` or `start` and `end`."""
        client: Any = self.store.redis
        try:
            entries = await client.xrange(self.store.keys.events(log.task_id))
        except RedisError:  # the first look after an outage, on a connection of before
            return []
        events = [event_of(entry, [part for pair in fields.items() for part in pair]) for entry, fields in entries]
        return [
            event.step["phase"] if event.step else (event.number, event.text, event.lost)
            for event in events
            if event.type in {"token", "step"}
        ]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Streaming]:
    server = RedisServer(tmp_path)
    server.start()
    async with connect(server.url) as client:
        made = Streaming(server, TaskStore(client, Settings(redis_url=server.url, key_prefix="s:")))
        await made.writer.start()
        yield made
        await made.writer.stop()
    server.kill()


async def until_said(bench: Streaming, log: StepLog, wanted: list[Any]) -> None:
    async def there() -> bool:
        found = await bench.said(log)
        assert len(found) <= len(wanted), found
        return found == wanted

    await eventually(there)


async def test_words_are_in_the_stream_without_another_one_coming(bench: Streaming):
    log = await bench.running()
    log.note(model(1, "start"))
    log.token(1, "text", "One")
    await until_said(bench, log, ["start", (1, "One", 0)])
    log.token(1, "text", " two")
    await until_said(bench, log, ["start", (1, "One", 0), (1, " two", 0)])


async def test_the_last_words_of_an_attempt_go_with_its_outcome(bench: Streaming):
    log = await bench.running()
    log.token(1, "text", "One")
    await until_said(bench, log, [(1, "One", 0)])
    log.token(1, "text", " two")
    log.note(model(1, "end"))
    log.close()
    assert await bench.writer.settle(bench.outcome(log), log) == "ok"
    assert await bench.said(log) == [(1, "One", 0), (1, " two", 0), "end"]


async def test_a_redis_that_is_away_costs_words_only_beyond_what_may_wait_and_no_step(bench: Streaming):
    log = await bench.running()
    log.token(1, "text", "One")
    await until_said(bench, log, [(1, "One", 0)])
    bench.server.kill()
    log.note(model(2, "start"))
    log.token(2, "text", "x" * MOST_WAITING)
    log.token(2, "text", "lost")

    async def put_back() -> bool:
        return bench.writer._outage._since is not None and log in bench.writer._noted

    await eventually(put_back)
    log.token(2, "text", "also")
    bench.server.start()

    async def back() -> bool:
        assert log._tokens
        return len(await bench.said(log)) == 3 and log._tokens._taken == 0

    await eventually(back)
    log.token(2, "text", "Back.")
    log.note(model(2, "end"))
    await until_said(
        bench, log, [(1, "One", 0), "start", (2, "x" * MOST_WAITING, 0), (2, "Back.", len("lostalso")), "end"]
    )


async def test_words_that_cannot_be_written_are_dropped_and_said(bench: Streaming):
    """The record's own count of tokens is no number: every script that adds to it fails."""
    log = await bench.running()
    client: Any = bench.store.redis
    key = bench.store.keys.task(log.task_id)
    await client.hset(key, "tokens", "broken")
    log.token(1, "text", "Gone")

    async def dropped() -> bool:
        return log._tokens is not None and log._tokens._lost == 4

    await eventually(dropped)
    await client.hset(key, "tokens", "0")
    log.token(1, "text", "Here")
    await until_said(bench, log, [(1, "Here", 4)])
    assert (await bench.store.get(log.task_id)).steps_dropped == 0


async def test_a_lost_lease_ends_the_words(bench: Streaming):
    log = await bench.running()
    await bench.store.sweep("w1")
    log.token(1, "text", "One")

    async def closed() -> bool:
        return log._closed

    await eventually(closed)
    log.token(1, "text", "Two")
    assert await bench.said(log) == []
