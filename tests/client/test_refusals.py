"""What a caller is told when there is no answer, none that can be used, or none yet."""

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from longhaul_client import (
    AsyncClient,
    Client,
    LonghaulError,
    NotFinalError,
    StatusEvent,
    TaskFailed,
    UnreachableError,
)
from tests.conftest import free_port
from tests.gateway.conftest import StartGateway

from .conftest import MakeShell

KEY = "lh_" + "k" * 40


async def test_a_wrong_key_is_said_at_once_and_the_right_one_may_come_from_the_environment(
    shell: MakeShell, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
):
    gateway = start_gateway(api_keys=f"alice:{hashlib.sha256(KEY.encode()).hexdigest()}", active_model_key="Simulator")
    for wrong in (None, "nonsense"):
        with pytest.raises(LonghaulError) as refused:
            await (await shell(gateway.url, wrong)).call("submit", "say 1")
        assert (refused.value.code, refused.value.status) == ("unauthorized", 401)
        assert "valid API key" in str(refused.value)
    monkeypatch.setenv("LONGHAUL_URL", gateway.url + "/")
    monkeypatch.setenv("LONGHAUL_API_KEY", f" {KEY}\n")
    client = await shell("")
    assert (await client.call("submit", "say 1")).status == "pending"


async def test_a_host_that_does_not_exist_is_named(shell: MakeShell):
    client = await shell("http://gateway.invalid:8000", retry_for_s=0.5)
    with pytest.raises(UnreachableError) as unknown:
        await client.call("get", "0" * 32)
    assert str(unknown.value).startswith("no answer from http://gateway.invalid:8000: its host name is not known")
    assert unknown.value.status is None


async def test_where_nothing_listens_it_is_tried_as_long_as_was_asked_for(shell: MakeShell):
    client = await shell(f"http://127.0.0.1:{free_port()}", retry_for_s=0.5)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="nothing listens there"):
        await client.call("submit", "say 1")
    assert time.monotonic() - began > 0.09, "the first pause is longer: it was tried again"


async def test_loopback_is_never_reached_through_a_proxy(shell: MakeShell, url: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert (await (await shell(url, retry_for_s=0)).call("request", "GET", "/health")).status == 200
    through = await shell("http://longhaul.invalid", retry_for_s=0)
    with pytest.raises(UnreachableError, match="nothing listens there"):  # at the proxy's address
        await through.call("request", "GET", "/health")


async def test_refusals_say_what_the_gateway_says_and_are_not_tried_again(shell: MakeShell, url: str):
    client = await shell(url)
    with pytest.raises(LonghaulError) as unknown:
        await client.call("submit", "say 1", model="GPT-2")
    assert (unknown.value.code, unknown.value.status) == ("unknown_model", 422)
    assert "known:" in unknown.value.detail
    assert unknown.value.problem["errors"][0]["loc"] == ["body", "model"]
    with pytest.raises(LonghaulError) as missing:
        await client.call("get", "../health")
    assert missing.value.status == 404
    task_id = (await client.call("submit", "say 1")).task_id
    await client.call("wait", task_id, 60)
    with pytest.raises(LonghaulError) as over:
        await client.call("cancel", task_id)
    assert (over.value.code, over.value.problem["task_status"]) == ("wrong_status", "success")


async def test_a_failed_task_is_an_error_when_its_answer_is_asked_for(shell: MakeShell, url: str):
    client = await shell(url)
    task = await client.call("wait", (await client.call("submit", "raise agent_refused")).task_id, 60)
    assert (task.status, task.error_code) == ("failed", "agent_refused")
    with pytest.raises(TaskFailed) as failed:
        task.answer()
    assert (failed.value.error_code, failed.value.task_id) == ("agent_refused", task.task_id)
    assert task.error in str(failed.value)
    with pytest.raises(TaskFailed) as chat:
        await client.call("chat", "raise agent_refused")
    assert chat.value.error_code == "agent_refused"


async def test_a_task_that_takes_longer_than_one_waits_goes_on_and_can_be_cancelled(
    shell: MakeShell, url: str, tmp_path: Path
):
    client = await shell(url)
    task_id = (await client.call("submit", f"hold {tmp_path / 'never'}")).task_id
    async for event in client.each("stream", task_id):
        if isinstance(event, StatusEvent) and event.status == "running":
            break
    for seconds in (0, 0.3):
        with pytest.raises(NotFinalError, match=f"is running after {seconds} s") as early:
            await client.call("wait", task_id, seconds)
        assert isinstance(early.value, TimeoutError)
        assert early.value.task is not None
        assert early.value.task_id == task_id
        with pytest.raises(NotFinalError):
            early.value.task.answer()
    assert await client.call("cancel", task_id) == "running"
    task = await client.call("wait", task_id, 60)
    assert task.status == "cancelled"
    assert await client.call("cancel", task_id) == "cancelled", "to ask twice changes nothing"
    with pytest.raises(TaskFailed) as failed:
        task.answer()
    assert failed.value.error_code == "cancelled"


async def test_a_chat_goes_on_when_the_gateway_stops_waiting_for_it(shell: MakeShell, url: str):
    """CHAT_TIMEOUT_SECONDS is half a second there."""
    answer = await (await shell(url)).call("chat", "sleep 1.2", session_id="default")
    assert (answer.output, answer.model) == ("done", "Simulator")
    assert answer.duration_ms is not None
    assert answer.duration_ms >= 1200


@pytest.mark.parametrize("made", [Client, AsyncClient])
def test_arguments_that_can_be_none_are_refused_before_anything_is_sent(made: type[Client] | type[AsyncClient]):
    for url in ("localhost:8000", "ftp://localhost", "http://", "http://a b", "http://h:99999"):
        with pytest.raises(ValueError, match="is no address of a gateway: write http://host:port"):
            made(url)
    with pytest.raises(ValueError, match="the API key holds characters that no key has") as secret:
        made("http://localhost", "gehe\nim")
    assert "gehe" not in str(secret.value)
    for name, value in {"retry_for_s": -1, "connect_timeout_s": 0, "answer_timeout_s": float("inf")}.items():
        settings: dict[str, Any] = {name: value}
        with pytest.raises(ValueError, match="give seconds"):
            made("http://localhost", **settings)
