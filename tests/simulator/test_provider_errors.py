"""The table of providers' own errors: each is sent byte for byte, and those that Longhaul must tell apart are there."""

import json
import tomllib
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.simulator.server import ROOT, Server, user

TABLE: dict[str, Any] = tomllib.loads(
    (ROOT / "loadtest" / "simulator" / "provider_errors.toml").read_text(encoding="utf-8")
)

# What a client of these providers has to tell apart, as they told it: status and words. Written here a second time on
# purpose: an entry that is changed by accident must not change its own test.
TOLD = {
    "deepseek_no_balance": (402, "Insufficient Balance"),
    "deepseek_content_risk": (400, "Content Exists Risk"),
    "deepseek_unknown_model": (400, "Model Not Exist"),
    "deepseek_invalid_key": (401, "Authentication Fails"),
    "deepseek_context_length": (400, "maximum context length"),
    "dashscope_arrearage": (400, '"code":"Arrearage"'),
    "dashscope_data_inspection": (400, '"code":"data_inspection_failed"'),
    "dashscope_data_inspection_algo": (400, "InternalError.Algo.DataInspectionFailed"),
    "dashscope_unknown_model": (404, '"code":"model_not_found"'),
    "dashscope_invalid_key": (401, '"code":"invalid_api_key"'),
    "dashscope_model_denied": (403, "Access to model denied"),
    "dashscope_context_length": (400, "Range of input length should be"),
    "openai_unknown_model": (404, '"code":"model_not_found"'),
    "openai_invalid_key": (401, '"code":"invalid_api_key"'),
    "openai_forbidden": (403, "unsupported_country_region_territory"),
    "openai_rate_limit": (429, '"code":"rate_limit_exceeded"'),
    "openai_insufficient_quota": (429, '"code":"insufficient_quota"'),
    "openai_context_length": (400, '"code":"context_length_exceeded"'),
    "openai_server_error": (500, "The server had an error"),
    "anthropic_overloaded": (529, "overloaded_error"),
    "proxy_bad_gateway": (502, "<title>502 Bad Gateway</title>"),
    "proxy_unavailable": (503, "503 Service Temporarily Unavailable"),
    "leaky_bad_request": (400, "sk-simulated-"),
}


def test_the_list_is_whole() -> None:
    assert TOLD.keys() == TABLE.keys()


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("stream", [False, True])
def test_each_is_sent_as_it_stands(simulator: Server, name: str, stream: bool) -> None:
    answer = simulator.post(f"[[error={name}]]", stream=stream)
    status, words = TOLD[name]
    assert answer.status_code == status == TABLE[name]["status"]
    assert words in answer.text
    assert answer.content == TABLE[name]["body"].encode()
    for key, value in TABLE[name].get("headers", {}).items():
        assert answer.headers[key] == value
    if answer.headers["content-type"] == "application/json":
        assert "error" in json.loads(answer.content)


def test_a_rate_limit_says_when_to_come_again(simulator: Server) -> None:
    assert simulator.post("[[error=openai_rate_limit]]").headers["retry-after"] == "2"
    answer = simulator.post("[[error=openai_rate_limit retry_after=9]]")
    assert answer.headers["retry-after"] == "9"
    assert "retry-after-ms" not in answer.headers
    assert "retry-after" not in simulator.post("[[error=openai_insufficient_quota]]").headers


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("deepseek_no_balance", openai.APIStatusError),
        ("deepseek_content_risk", openai.BadRequestError),
        ("dashscope_invalid_key", openai.AuthenticationError),
        ("openai_unknown_model", openai.NotFoundError),
        ("openai_forbidden", openai.PermissionDeniedError),
        ("openai_rate_limit", openai.RateLimitError),
        ("anthropic_overloaded", openai.InternalServerError),
    ],
)
async def test_the_openai_client_reads_them(client: AsyncOpenAI, name: str, error: type[openai.APIStatusError]) -> None:
    with pytest.raises(error) as caught:
        await client.chat.completions.create(model="simulator", messages=[user(f"[[error={name}]]")])
    assert caught.value.status_code == TOLD[name][0]
