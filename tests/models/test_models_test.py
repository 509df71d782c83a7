"""`manage.py models test`: what each fault of a provider, of the way there and of the entry is told as."""

import asyncio
import datetime as dt
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import core_config
from core_config import MODEL_REGISTRY, SIMULATOR, ModelConfig, Settings, load_registry
from loadtest.simulator.provider_errors import PROVIDER_ERRORS
from operations import models_test, providers
from operations.errors import CommandError
from operations.models_test import Trial
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion, scripted_provider
from tests.agent.web import running_web

KEY = "canary.key.4f9a8b7c6d5e"
AT_HOME = {
    "DeepSeek-V3": "http://api.deepseek.com/v1",
    "Qwen-Max": "http://dashscope.aliyuncs.com/compatible-mode/v1",
    "GPT-Small": "http://api.openai.com/v1",
    "Claude-Small": "http://api.anthropic.com",
}
"""The providers' own hosts, without TLS: the scripted provider stands in for them as a proxy does."""


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the machine's keys nor its proxies."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.endswith("_API_KEY") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(core_config, "ENV_FILE", tmp_path / ".env")


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider() as running:
        yield running


@pytest.fixture
def home(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> ScriptedProvider:
    """Answers as every provider, and each shipped model has a key."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:hunter22@127.0.0.1:{provider.port}")
    for model in MODEL_REGISTRY.values():
        if model.api_key_env:
            monkeypatch.setenv(model.api_key_env, KEY)
    return provider


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Bound and not listening: every connection is refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def called(model: ModelConfig, name: str = "Mine", seconds: float = 60) -> Trial:
    (tested,) = await models_test.call_models({name: model}, Settings(_env_file=None), seconds)
    return tested


async def called_at_home(name: str) -> Trial:
    return await called(MODEL_REGISTRY[name].model_copy(update={"base_url": AT_HOME[name]}), name)


def own(url: str, **more: Any) -> ModelConfig:
    return ModelConfig(litellm_id="openai/mine", base_url=url, **more)


def told(tested: Trial) -> tuple[str, str]:
    """The fault and the sentence, in which there is never a secret."""
    assert tested.diagnosis is not None
    shown = f"{tested.diagnosis.says} {tested.said}"
    assert KEY not in shown
    assert "hunter22" not in shown
    assert "sk-" not in shown
    return tested.diagnosis.fault.value, tested.diagnosis.says


# Each refusal that a provider really sends (loadtest/simulator/provider_errors.toml): the fault, and what the sentence
# says in that provider's terms.
REFUSALS = {
    "deepseek_no_balance": ("no_balance", "https://platform.deepseek.com/top_up"),
    "deepseek_content_risk": ("content_blocked", "DeepSeek's content filter"),
    "deepseek_unknown_model": ("model_not_served", "DeepSeek serves this account no model 'deepseek-flash'"),
    "deepseek_invalid_key": ("key_refused", "refuses the key in DEEPSEEK_API_KEY (HTTP 401)"),
    "deepseek_context_length": ("bad_request", "max_tokens_limit or params of DeepSeek-V3"),
    "dashscope_arrearage": ("no_balance", "help.aliyun.com/zh/model-studio/error-code#overdue-payment"),
    "dashscope_data_inspection": ("content_blocked", "Alibaba Cloud Model Studio's content filter"),
    "dashscope_data_inspection_algo": ("content_blocked", "Alibaba Cloud Model Studio's content filter"),
    "dashscope_unknown_model": ("model_not_served", "no model 'qwen-max'"),
    "dashscope_invalid_key": (
        "key_or_region",
        '[Qwen-Max] what fits: base_url = "https://dashscope-intl.aliyuncs.com/compatible-mode/v1" takes those of',
    ),
    "dashscope_model_denied": ("model_not_served", "or have the account admitted"),
    "dashscope_context_length": ("bad_request", "max_tokens_limit"),
    "openai_unknown_model": ("model_not_served", "OpenAI serves this account no model 'gpt-6-luna'"),
    "openai_invalid_key": ("key_refused", "https://platform.openai.com/account/api-keys"),
    "openai_forbidden": ("country_not_served", "does not serve the country"),
    "openai_rate_limit": ("rate_limited", "The key works, but OpenAI limits its rate (HTTP 429) and asks to wait 2 s"),
    "openai_insufficient_quota": ("no_balance", "https://platform.openai.com/settings/organization/billing"),
    "openai_context_length": ("bad_request", "max_tokens_limit"),
    "openai_server_error": ("provider_down", "OpenAI has a fault (HTTP 500)"),
    "anthropic_overloaded": ("provider_down", "Anthropic has a fault (HTTP 529)"),
    "proxy_bad_gateway": ("provider_down", "(HTTP 502)"),
    "proxy_unavailable": ("provider_down", "(HTTP 503)"),
    "leaky_bad_request": ("bad_request", "params"),
}
OF = {"deepseek": "DeepSeek-V3", "dashscope": "Qwen-Max", "openai": "GPT-Small", "anthropic": "Claude-Small"}


@pytest.mark.parametrize("name", PROVIDER_ERRORS)
async def test_each_refusal_is_told_in_the_providers_terms(home: ScriptedProvider, name: str) -> None:
    error = PROVIDER_ERRORS[name]
    headers = {key.decode(): value.decode() for key, value in error.headers}
    home.says(Reply(error.status, error.body.decode(), headers))
    tested = await called_at_home(OF.get(name.partition("_")[0], "GPT-Small"))
    fault, sentence = REFUSALS[name]
    assert told(tested)[0] == fault
    assert sentence in told(tested)[1]
    assert tested.said
    assert tested.said in " ".join(error.body.decode().split()) or "[redacted]" in tested.said
    assert (len(home.requests), tested.seen.status) == (1, error.status)
    assert tested.seen.latency_ms is not None


async def test_a_model_that_answers_works_and_costs_what_it_cost(home: ScriptedProvider) -> None:
    tested = await called_at_home("DeepSeek-V3")
    assert tested.works
    assert (tested.said, tested.seen.usage.total_tokens, tested.seen.status) == (None, 15, 200)
    assert tested.seen.cost_usd is not None
    assert tested.seen.cost_usd > 0
    (request,) = home.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body["max_tokens"] == Settings(_env_file=None).max_tokens_per_request, "as a real call has it"
    assert request.body["thinking"] == {"type": "disabled"}, "with the entry's params"
    assert "tools" not in request.body


@pytest.mark.parametrize(("finish", "text", "fault"), [
    ("length", None, None),  # it thought until the end of its tokens: the key works
    ("length", "ye", None),
    ("stop", None, "bad_answer"),
    ("content_filter", "ye", "content_blocked"),
])  # fmt: skip
async def test_what_counts_as_an_answer(
    home: ScriptedProvider, finish: str, text: str | None, fault: str | None
) -> None:
    home.says(completion(text, finish=finish))
    tested = await called_at_home("GPT-Small")
    assert (told(tested)[0] if tested.diagnosis else None) == fault
    assert tested.seen.usage.total_tokens == 15


async def test_without_usage_the_cost_is_unknown_and_not_zero(home: ScriptedProvider) -> None:
    home.says(completion("yes", usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}))
    tested = await called_at_home("GPT-Small")
    assert tested.works
    assert models_test.report([tested])["cost_usd"] is None


async def test_a_key_is_never_shown_however_it_is_quoted(home: ScriptedProvider) -> None:
    short = f"no such key: {KEY}, sk-PMafP****E873, Bearer abcdef0123456789, sk-{'x' * 40}"
    home.says(Reply(401, {"error": {"message": f"{short} {'long ' * 200}", "code": "invalid_api_key"}}))
    tested = await called_at_home("GPT-Small")
    told(tested)
    assert tested.said is not None
    assert tested.said.startswith("no such key: [redacted], [redacted] [redacted], [redacted] long")
    assert len(tested.said) <= 300


async def test_without_a_key_nothing_is_sent(provider: ScriptedProvider) -> None:
    tested = await called(own(provider.url, api_key_env="MY_API_KEY"))
    assert told(tested) == ("key_missing", "MY_API_KEY holds no key: it is unset, or a placeholder.")
    assert (await called_at_home("Claude-Small")).seen.requests == 0
    assert provider.requests == []


async def test_an_id_that_litellm_does_not_know_is_told_before_anything_is_sent() -> None:
    tested = await called(ModelConfig(litellm_id="opneai/gpt"))
    fault, sentence = told(tested)
    assert (fault, tested.seen.requests) == ("bad_request", 0)
    assert "litellm_id = 'opneai/gpt'" in sentence
    assert tested.said


HTML = "<html><head><title>Sign in to Corp</title></head><body><p>Accept</p></body></html>"


@pytest.mark.parametrize("status", [200, 403, 404])
async def test_a_page_in_place_of_json_is_the_proxys_or_the_addresss(
    home: ScriptedProvider, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.says(Reply(status, HTML, {"content-type": "text/html"}))
    tested = await called_at_home("GPT-Small")
    fault, sentence = told(tested)
    assert (fault, tested.said) == ("proxy", "Sign in to Corp")
    assert f"The proxy 127.0.0.1:{home.port} (HTTP_PROXY) is in the way" in sentence
    monkeypatch.delenv("HTTP_PROXY")
    fault, sentence = told(await called(own(f"http://127.0.0.1:{home.port}")))
    assert fault == "not_the_api"
    assert "most servers' ends in /v1" in sentence


async def test_a_redirect_says_where_it_leads(home: ScriptedProvider) -> None:
    home.says(Reply(302, "", {"location": "https://login.corp.example/?from=x"}))
    fault, sentence = told(await called_at_home("GPT-Small"))
    assert fault == "not_the_api"
    assert "sends on to login.corp.example (HTTP 302)" in sentence
    home.says(Reply(302, "", {"location": "http://host:nonsense/"}))
    assert "sends on to another page" in told(await called_at_home("GPT-Small"))[1]


async def test_a_password_in_an_address_is_not_shown(provider: ScriptedProvider) -> None:
    tested = await called(own(f"http://me:hunter22@127.0.0.1:{provider.port}/v1"))
    assert told(tested)[0] == "bad_request", "HTTP has one Authorization, and the key has it"
    assert tested.said
    assert "hunter22" not in str(models_test.report([tested]))


@pytest.mark.parametrize(("reply", "fault"), [
    (Reply(200, {"hello": "world"}), "bad_answer"),
    (Reply(200, '{"id": "x", "cho'), "bad_answer"),
    (Reply(how="close"), "unreachable"),
    (Reply(429, {"error": {"message": "slow down"}}, {"retry-after": "7"}), "rate_limited"),
    (Reply(401, {"error": {"message": "who are you?"}}), "key_refused"),
    (Reply(402, {"error": {"message": "pay"}}), "no_balance"),
    (Reply(404, {"error": {"message": "model 'mine' not found, try pulling it first"}}), "model_not_served"),
])  # fmt: skip
async def test_ones_own_server_is_called_by_its_address(provider: ScriptedProvider, reply: Reply, fault: str) -> None:
    provider.says(reply)
    tested = await called(own(provider.url))
    assert told(tested)[0] == fault
    assert "127.0.0.1" in told(tested)[1] or fault == "no_balance"
    assert len(provider.requests) == 1


async def test_a_call_ends_at_its_limit(provider: ScriptedProvider) -> None:
    await called(own(provider.url))  # the process's first call loads much
    provider.says(Reply(how="hang"))
    fault, sentence = told(await called(own(provider.url), seconds=4))
    assert fault == "timeout"
    assert "No answer from 127.0.0.1 within 4 s" in sentence
    assert "--timeout 16" in sentence
    provider.says(Reply(how="drip"))
    assert "began to answer" in told(await called(own(provider.url), seconds=4))[1]


async def test_the_way_there(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fault, sentence = told(await called(own(f"http://127.0.0.1:{closed_port}/v1")))
    assert (fault, sentence) == ("refused", f"Nothing listens at 127.0.0.1:{closed_port}. Is the server running?")
    fault, sentence = told(await called(own("http://model.example.invalid/v1")))
    assert fault == "no_such_host"
    assert "model.example.invalid" in sentence
    simulator = load_registry(Settings(_env_file=None, simulator_port=closed_port))[SIMULATOR]
    assert "`manage.py start` runs it." in told(await called(simulator, SIMULATOR))[1]
    for variable in ("https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, f"http://user:hunter22@127.0.0.1:{closed_port}")
        fault, sentence = told(await called(own("https://model.example.invalid/v1")))
        assert fault == "proxy"
        assert f"The proxy 127.0.0.1:{closed_port} ({variable}) is not there" in sentence
        assert f"Correct {variable}, or add model.example.invalid to NO_PROXY" in sentence
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.invalid:3128")
    assert "no address is known for" in told(await called(own("https://model.example.invalid/v1")))[1]


@pytest.mark.parametrize(("status", "says"), [(407, "wants a user and a password"), (403, "does not let this through")])
async def test_a_proxy_that_refuses_a_tunnel(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, status: int, says: str
) -> None:
    provider.says(Reply(status, ""))
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter22@127.0.0.1:{provider.port}")
    fault, sentence = told(await called(own("https://model.example.invalid/v1")))
    assert fault == "proxy"
    assert says in sentence
    assert "HTTPS_PROXY" in sentence


async def test_a_certificate_that_nobody_trusts_and_a_server_without_tls(tmp_path: Path) -> None:
    async with running_web(tmp_path, "localhost") as web:
        fault, sentence = told(await called(own(f"https://localhost:{web.ports[443]}/v1")))
    assert fault == "tls"
    assert "is not trusted" in sentence
    assert "SSL_CERT_FILE" in sentence

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        fault, sentence = told(await called(own(f"https://localhost:{port}/v1")))
    assert fault == "tls"
    assert "base_url begins with http://" in sentence


# What is known of providers


TABLE: dict[str, dict[str, object]] = {
    "deepseek-old": {"litellm_provider": "deepseek", "mode": "chat", "deprecation_date": "2026-07-24"},
    "deepseek/deepseek-new": {"litellm_provider": "deepseek", "mode": "chat"},
    "deepseek-new": {"litellm_provider": "deepseek", "mode": "chat"},
    "deepseek-embed": {"litellm_provider": "deepseek", "mode": "embedding"},
    "deepseek-zzz": {"litellm_provider": "deepseek", "mode": "chat"},
    "deepseek-ole": {"litellm_provider": "azure", "mode": "chat"},
}


def test_a_retired_models_successors_are_shipped_or_listed_and_never_retired_themselves() -> None:
    today = dt.date(2026, 11, 21)
    old = ModelConfig(litellm_id="deepseek/deepseek-old")
    found = providers.successors(old, TABLE, today)
    assert found == [MODEL_REGISTRY["DeepSeek-V3"].litellm_id, "deepseek/deepseek-new", "deepseek/deepseek-zzz"]
    assert providers.successors(MODEL_REGISTRY["DeepSeek-V3"], TABLE, today)[0] == "deepseek/deepseek-new"
    assert providers.successors(own("http://127.0.0.1:1/v1"), TABLE, today) == []
    assert providers.retired_on(TABLE["deepseek-old"], today) == "2026-07-24"
    assert providers.retired_on(TABLE["deepseek-old"], dt.date(2026, 7, 23)) is None


async def test_a_retired_name_is_told_with_its_day_and_its_successor(home: ScriptedProvider) -> None:
    home.says(Reply(400, {"error": {"message": "Model Not Exist"}}))
    old = ModelConfig(litellm_id="deepseek/deepseek-chat", base_url=AT_HOME["DeepSeek-V3"])
    fault, sentence = told(await called(old, "Mine"))
    assert fault == "model_not_served"
    assert "switched off on 2026-07-24" in sentence
    assert 'Set litellm_id = "deepseek/deepseek-flash"' in sentence
    assert "under [Mine] in MODELS_FILE" in sentence


def test_every_shipped_provider_is_known_and_its_region_too() -> None:
    for name, model in MODEL_REGISTRY.items():
        assert (providers.provider_of(model) is None) == (name in {"Local", SIMULATOR}), name
    qwen = MODEL_REGISTRY["Qwen-Max"]
    assert providers.region_of(providers.PROVIDERS["dashscope"], qwen) == "China (Beijing)"


def test_what_is_called_is_what_has_a_key_or_is_named_or_active(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-xxxx")
    registry = load_registry(Settings(_env_file=None))
    assert models_test.chosen(registry, [], "Qwen-Max") == ["Qwen-Max"]
    assert models_test.chosen(registry, [], "Local") == ["Qwen-Max", "Local"]
    assert models_test.chosen(registry, [], SIMULATOR) == ["Qwen-Max", SIMULATOR]
    assert models_test.chosen(registry, ["Local", "GPT", "Local"], None) == ["Local", "GPT"]
    with pytest.raises(CommandError, match="no model 'Lokal'"):
        models_test.chosen(registry, ["Lokal"], None)
