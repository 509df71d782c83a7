"""Each way in which a provider fails: its code, exactly one request, and a detail that clients may see."""

import asyncio
import re
import socket
import struct
import time
from email.utils import formatdate

import httpx
import pytest

from agent.errors import AgentError, ErrorCode, from_body, retry_after
from core_config import MODEL_REGISTRY
from tests.agent.conftest import Bench, PointAt
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion, eventually


def openai_error(status: int, message: str, kind: str | None = None, code: str | None = None, **headers: str) -> Reply:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return Reply(status, {"error": error}, {k.replace("_", "-"): v for k, v in headers.items()})


def anthropic_error(status: int, kind: str, message: str) -> Reply:
    return Reply(status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011"})


# The providers' own bodies, word for word.
ERRORS = {
    "DeepSeek 401": (
        openai_error(
            401,
            "Authentication Fails, Your api key: ****5b6a is invalid",
            "authentication_error",
            "invalid_request_error",
        ),
        "provider_auth",
    ),
    "DeepSeek 402": (
        openai_error(402, "Insufficient Balance", "unknown_error", "invalid_request_error"),
        "provider_no_balance",
    ),
    "DeepSeek content risk": (
        openai_error(400, "Content Exists Risk", "invalid_request_error", "invalid_request_error"),
        "content_blocked",
    ),
    "DeepSeek model": (
        openai_error(400, "Model Not Exist", "invalid_request_error", "invalid_request_error"),
        "model_unavailable",
    ),
    "DeepSeek length": (
        openai_error(
            400,
            "This model's maximum context length is 131072 tokens. However, you requested 140000 tokens",
            "invalid_request_error",
            "invalid_request_error",
        ),
        "context_too_long",
    ),
    "DashScope Arrearage": (
        openai_error(
            400,
            "Access denied, please make sure your account is in good standing. For details, see: "
            "https://help.aliyun.com/zh/model-studio/error-code#overdue-payment",
            "Arrearage",
            "Arrearage",
        ),
        "provider_no_balance",
    ),
    "DashScope inspection": (
        openai_error(
            400,
            "Input data may contain inappropriate content.",
            "data_inspection_failed",
            "data_inspection_failed",
        ),
        "content_blocked",
    ),
    "DashScope inspection, older spelling": (
        openai_error(400, "Output data may contain inappropriate content.", None, "DataInspectionFailed"),
        "content_blocked",
    ),
    "DashScope key": (
        openai_error(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
        "provider_auth",
    ),
    "DashScope length": (
        openai_error(
            400,
            "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
            "invalid_request_error",
            "invalid_parameter_error",
        ),
        "context_too_long",
    ),
    "DashScope free tier": (
        openai_error(
            403,
            "The free tier of the model has been exhausted.",
            "AllocationQuota.FreeTierOnly",
            "AllocationQuota.FreeTierOnly",
        ),
        "provider_no_balance",
    ),
    "OpenAI model": (
        openai_error(
            404,
            "The model `gpt-9` does not exist or you do not have access to it.",
            "invalid_request_error",
            "model_not_found",
        ),
        "model_unavailable",
    ),
    "OpenAI quota": (
        openai_error(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
            retry_after="20",
        ),
        "provider_no_balance",
    ),
    "OpenAI rate": (
        openai_error(429, "Rate limit reached for requests", "requests", "rate_limit_exceeded", retry_after="7"),
        "provider_rate_limited",
    ),
    "OpenAI length": (
        openai_error(
            400,
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 10000 tokens.",
            "invalid_request_error",
            "context_length_exceeded",
        ),
        "context_too_long",
    ),
    "OpenAI policy": (
        openai_error(
            400, "Invalid prompt: flagged by our policy.", "invalid_request_error", "content_policy_violation"
        ),
        "content_blocked",
    ),
    "OpenAI parameter": (
        openai_error(400, "Unsupported parameter: 'foo' at /v1/chat", "invalid_request_error", "unsupported_parameter"),
        "provider_bad_request",
    ),
    "403": (openai_error(403, "Country, region, or territory not supported"), "provider_auth"),
    "404 without a word": (Reply(404, "<html>nginx</html>"), "model_unavailable"),
    "408": (openai_error(408, "Request timeout"), "provider_timeout"),
    "422": (openai_error(422, "Unprocessable"), "provider_bad_request"),
    "500": (openai_error(500, "The server had an error while processing your request"), "provider_unavailable"),
    "500 with misleading words": (openai_error(500, "insufficient_quota"), "provider_unavailable"),
    "502": (Reply(502, "<html>Bad Gateway /usr/share/nginx</html>"), "provider_unavailable"),
    "503": (Reply(503, "busy", {"retry-after": "3"}), "provider_unavailable"),
    "504": (Reply(504, ""), "provider_unavailable"),
    "a redirect": (Reply(302, "", {"location": "http://127.0.0.1:1/elsewhere"}), "provider_bad_response"),
    "broken JSON": (Reply(200, '{"id": "x", "choi'), "provider_bad_response"),
    "HTML": (Reply(200, "<html>login</html>", {"content-type": "text/html"}), "provider_bad_response"),
    "an empty body": (Reply(200, ""), "provider_bad_response"),
    "a list": (Reply(200, "[1, 2]"), "provider_bad_response"),
    "200 with an error": (Reply(200, {"error": {"message": "oops", "code": 500}}), "provider_bad_response"),
    "no choices": (Reply(200, {"id": "x", "object": "chat.completion", "choices": []}), "provider_bad_response"),
    "half a body": (Reply(200, completion("a long answer").body, how="half"), "provider_bad_response"),
    "no answer at all": (Reply(how="close"), "provider_unavailable"),
}
ANTHROPIC_ERRORS = {
    "key": (anthropic_error(401, "authentication_error", "invalid x-api-key"), "provider_auth"),
    "balance": (
        anthropic_error(
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.",
        ),
        "provider_no_balance",
    ),
    "model": (anthropic_error(404, "not_found_error", "model: claude-2"), "model_unavailable"),
    "length": (
        anthropic_error(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        "context_too_long",
    ),
    "size": (
        anthropic_error(413, "request_too_large", "Request exceeds the maximum allowed number of bytes"),
        "context_too_long",
    ),
    "rate": (anthropic_error(429, "rate_limit_error", "Number of requests has exceeded"), "provider_rate_limited"),
    "overloaded": (anthropic_error(529, "overloaded_error", "Overloaded"), "provider_unavailable"),
    "broken JSON": (Reply(200, '{"id": "x"'), "provider_bad_response"),
    "not a message": (Reply(200, {"hello": "world"}), "provider_bad_response"),
}
CASES = [
    *(("DeepSeek-V3", name, *ERRORS[name]) for name in ERRORS if name.startswith("DeepSeek")),
    *(("Simulator", name, *case) for name, case in ERRORS.items()),
    *(("Claude-Small", name, *case) for name, case in ANTHROPIC_ERRORS.items()),
    *(("GPT-Small", name, *ERRORS[name]) for name in ERRORS if name.startswith("OpenAI")),
    *(("Qwen-Max", name, *ERRORS[name]) for name in ERRORS if name.startswith("DashScope")),
]


@pytest.mark.parametrize(
    ("model", "reply", "code"), [(m, r, c) for m, _, r, c in CASES], ids=[f"{c[0]} {c[1]}" for c in CASES]
)
async def test_each_error_has_its_code_and_costs_one_request(
    bench: Bench, provider: ScriptedProvider, point_at: PointAt, model: str, reply: Reply, code: str, caplog, capfd
) -> None:
    if model != "Simulator":
        point_at(model)
    provider.says(reply)
    with pytest.raises(AgentError) as caught:
        await bench.run("a secret question about insufficient_quota and model not exist", model=model)
    error = caught.value
    assert error.code == code
    assert error.transient is ErrorCode[code.upper()].transient
    assert len(provider.requests) == 1
    expected = float(reply.headers["retry-after"]) if "retry-after" in reply.headers and error.transient else None
    assert error.retry_after == expected
    safe(error, provider)
    assert bench.meter.model_calls == 1
    assert bench.meter.usage.total_tokens == 0
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def safe(error: AgentError, provider: ScriptedProvider) -> None:
    """The detail holds no key, path, address, stack or word of the provider's."""
    told = error.detail
    assert re.fullmatch(r"[A-Z][^\n]{10,200}", told)
    for leak in ("sk-", "5b6a", "://", "127.0.0.1", str(provider.port), "/", "\\", "Traceback", "litellm", "secret"):
        assert leak not in told
    assert told in str(error)


@pytest.mark.parametrize("how", ["hang", "drip"])
async def test_a_model_call_ends_at_its_timeout_and_its_connection_is_closed(
    bench: Bench, provider: ScriptedProvider, how: str
) -> None:
    """A slow drip too: each byte comes in time, the answer never does."""
    await bench.run()  # the process's first call loads much; here the request must be on its way within the limit
    bench.configure(model_timeout_seconds=4)
    provider.says(Reply(how=how))  # type: ignore[arg-type]  # one of the literals
    with pytest.raises(AgentError) as caught:
        async with asyncio.timeout(60):  # only so that a broken limit fails here and doesn't hang
            await bench.run()
    assert (caught.value.code, caught.value.transient) == ("provider_timeout", True)
    await eventually(lambda: provider.closed_early == 1)
    assert len(provider.requests) == 2


async def test_a_refused_connection_is_tried_once(bench: Bench) -> None:
    """The address is held by a socket that doesn't listen, so that each attempt is refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        bench.configure(simulator_port=held.getsockname()[1])
        with pytest.raises(AgentError) as caught:
            await bench.run()
    assert (caught.value.code, caught.value.transient) == ("provider_unavailable", True)


async def test_a_connection_that_is_cut_while_waiting_is_tried_once(bench: Bench) -> None:
    """litellm's own handler sends again after such errors; one accepted connection must be all."""
    accepted = 0

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await reader.read(10)
        # A reset and not an orderly end: aiohttp's ClientOSError, which becomes the ConnectError that is sent again.
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    bench.configure(simulator_port=server.sockets[0].getsockname()[1])
    with pytest.raises(AgentError) as caught:
        await bench.run()
    assert (caught.value.code, accepted) == ("provider_unavailable", 1)
    server.close()
    await server.wait_closed()


async def test_an_answer_without_end_is_cut_off(
    bench: Bench, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.transport.MAX_ANSWER_BYTES", 10_000)
    provider.says(completion("x" * 20_000))
    with pytest.raises(AgentError) as caught:
        await bench.run()
    assert caught.value.code == "provider_bad_response"


async def test_an_error_after_tools_keeps_what_was_spent(bench: Bench, provider: ScriptedProvider) -> None:
    provider.says(completion("So far.", calls=[("get_time", {})]), openai_error(500, "down"))
    with pytest.raises(AgentError, match="provider_unavailable"):
        await bench.run()
    assert (bench.meter.model_calls, bench.meter.tool_calls, bench.meter.usage.total_tokens) == (2, 1, 15)
    assert bench.meter.partial == "So far."


def test_what_a_provider_quotes_from_the_user_is_not_read_as_its_own_words() -> None:
    body = '{"error": {"message": "bad field", "code": "invalid", "input": "insufficient_quota Content Exists Risk"}}'
    assert from_body(400, body) is ErrorCode.PROVIDER_BAD_REQUEST


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Sat, 21 Nov 2015 00:00:00 GMT"}, 0.0),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(httpx.Headers(headers)) == seconds


def test_retry_after_as_a_date_is_a_wait() -> None:
    seconds = retry_after(httpx.Headers({"retry-after": formatdate(time.time() + 60, usegmt=True)}))
    assert seconds is not None
    assert 50 < seconds <= 60


def test_every_shipped_provider_is_tried_against_its_own_errors() -> None:
    providers = {m.litellm_id.partition("/")[0] for m in MODEL_REGISTRY.values()}
    tried = {MODEL_REGISTRY[case[0]].litellm_id.partition("/")[0] for case in CASES}
    assert providers == tried
