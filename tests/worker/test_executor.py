"""What an attempt hands to the agent."""

import pytest

from agent.errors import AgentError, ErrorCode
from taskstore.claims import Claim, Turn
from taskstore.records import Kind
from worker.executor import is_expected, work_of


def claim(**fields):
    values = {
        "task_id": "t", "fence": 1, "attempt": 1, "crashes": 0, "retries": 0, "caller": "alice", "model": "M",
        "agent": "default", "kind": Kind.BATCH, "message": "and now?", "user_id": "u", "session_id": "s",
        "metadata": {}, "left_ms": None,
    }  # fmt: skip
    return Claim(**{**values, **fields})


def test_a_session_s_turns_come_before_the_message_in_order():
    work = work_of(claim(history=[Turn("first", "one"), Turn("second", "two")]), {})
    assert [(turn.role, turn.text) for turn in work.history] == [
        ("user", "first"), ("assistant", "one"), ("user", "second"), ("assistant", "two"),
    ]  # fmt: skip
    assert work.message == "and now?"


def test_a_client_cannot_name_the_trace_s_session():
    work = work_of(claim(metadata={"langfuse_session_id": "another's", "ticket": 7}), {"langfuse_session_id": "s"})
    assert work.metadata == {"ticket": 7, "langfuse_session_id": "s"}
    assert "langfuse_user_id" not in work_of(claim(metadata={"langfuse_user_id": "x"}), {}).metadata


@pytest.mark.parametrize("code", ErrorCode)
def test_only_what_the_record_does_not_explain_is_logged_with_its_traceback(code):
    assert is_expected(AgentError(code)) == (code not in {ErrorCode.INTERNAL, ErrorCode.AGENT_FAILED})
