"""What an attempt hands to the agent, and what it makes of a run that is ended from outside."""

import asyncio

import pytest

from agent.errors import AgentError, ErrorCode
from monitoring.tracing import Tracing
from taskstore.claims import Claim, Turn
from taskstore.records import Kind
from worker.attempt import Attempt, Stop
from worker.executor import Executor, is_expected, work_of
from worker.steps import StepLog


def claim(**fields):
    values = {
        "task_id": "t", "fence": 1, "attempt": 1, "crashes": 0, "retries": 0, "caller": "alice", "model": "M",
        "agent": "default", "kind": Kind.BATCH, "message": "and now?", "user_id": "u", "session_id": "s",
        "metadata": {}, "left_ms": None,
    }  # fmt: skip
    return Claim(**{**values, **fields})


def test_a_session_s_turns_come_before_the_message_in_order():
    work = work_of(claim(history=[Turn("first", "one"), Turn("second", "two")]))
    assert [(turn.role, turn.text) for turn in work.history] == [
        ("user", "first"), ("assistant", "one"), ("user", "second"), ("assistant", "two"),
    ]  # fmt: skip
    assert work.message == "and now?"


def test_a_client_cannot_name_the_trace_s_session():
    names = {"langfuse_session_id": "another's", "langfuse_user_id": "another", "langfuse_tags": ["x"]}
    assert work_of(claim(metadata={**names, "ticket": 7})).metadata == {"ticket": 7}


@pytest.mark.parametrize("code", ErrorCode)
def test_only_what_the_record_does_not_explain_is_logged_with_its_traceback(code):
    assert is_expected(AgentError(code)) == (code not in {ErrorCode.INTERNAL, ErrorCode.AGENT_FAILED})


class Run:
    """A run that ends only when it is made to."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False

    async def run(self, *given, **named):
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def attempt_at(task: Claim, timeout_s: float = 60) -> Attempt:
    return Attempt(task, timeout_s, StepLog(task, str, lambda log, seconds: None))


@pytest.mark.parametrize(
    ("why", "kind", "code"),
    [
        (Stop.CANCEL, "cancelled", None),
        (Stop.DRAIN, "release", None),
        (Stop.TIMEOUT, "fail", "attempt_timeout"),
        (Stop.DEADLINE, "fail", "deadline_exceeded"),
    ],
)
async def test_an_attempt_that_is_stopped_is_settled_by_why_it_was(settings, why, kind, code):
    run, attempt = Run(), attempt_at(claim())
    running = asyncio.create_task(Executor(run, Tracing(settings, str)).run(attempt))
    await run.begun.wait()
    attempt.stop(why)
    settled = await running
    assert settled is not None
    assert (settled.kind, settled.error_code, run.cancelled) == (kind, code, True)


@pytest.mark.parametrize(("left_ms", "code"), [(None, "attempt_timeout"), (20, "deadline_exceeded")])
async def test_an_attempt_that_runs_into_its_time_is_settled(settings, left_ms, code):
    run = Run()
    settled = await Executor(run, Tracing(settings, str)).run(attempt_at(claim(left_ms=left_ms), 0.05))
    assert settled is not None
    assert (settled.kind, settled.error_code, run.cancelled) == ("fail", code, True)


async def test_an_attempt_whose_lease_is_lost_settles_nothing(settings):
    run, attempt = Run(), attempt_at(claim())
    running = asyncio.create_task(Executor(run, Tracing(settings, str)).run(attempt))
    await run.begun.wait()
    attempt.stop(Stop.CANCEL)
    attempt.stop(Stop.LOST)
    assert await running is None
    assert run.cancelled


async def test_a_run_that_cancels_itself_is_a_failure(settings):
    """As an agent's own `asyncio.timeout` gone wrong does: nobody asked for it, and the task must end all the same."""

    class Cancels:
        async def run(self, *given, **named):
            raise asyncio.CancelledError

    settled = await Executor(Cancels(), Tracing(settings, str)).run(attempt_at(claim()))
    assert settled is not None
    assert (settled.kind, settled.error_code) == ("fail", "internal")
