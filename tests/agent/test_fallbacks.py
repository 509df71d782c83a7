"""Fallbacks inside an attempt, over real HTTP: which errors go on, who is asked again, what is metered, how it ends."""

import asyncio
from collections.abc import Iterator

import pytest

from agent.errors import AgentError, ErrorCode
from agent.fallbacks import FALLS_BACK, chain_of
from core_config import MODEL_REGISTRY, ModelConfig
from tests.agent.conftest import Bench
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion, scripted_provider

PRICE = {"price_in": 1.0, "price_out": 2.0}


class Chain:
    """Models A, B and C, each at a provider of its own; A falls back to B, then to C."""

    def __init__(self, bench: Bench, providers: dict[str, ScriptedProvider]) -> None:
        self.bench = bench
        self.providers = providers

    async def run(self, model: str = "A", avoid: tuple[str, ...] = ()) -> str:
        return (await self.bench.answer("default", "hello", model=model, avoid=avoid)).text

    def says(self, **scripts: list[Reply]) -> None:
        for name, replies in scripts.items():
            self.providers[name].says(*replies)

    @property
    def asked(self) -> dict[str, int]:
        return {name: len(provider.requests) for name, provider in self.providers.items()}

    @property
    def ended(self) -> list[tuple[str, str | None]]:
        return [(step.name, step.error) for step in self.bench.steps if (step.kind, step.phase) == ("model", "end")]


@pytest.fixture
def chain(bench: Bench, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chain]:
    with scripted_provider() as second, scripted_provider() as third:
        providers = {"A": provider, "B": second, "C": third}
        for number, (name, one) in enumerate(providers.items()):
            config = ModelConfig(
                litellm_id="openai/scripted", base_url=one.url, fallbacks=("B", "C") if name == "A" else (),
                price_in=float(number + 1), price_out=0.0,
            )  # fmt: skip
            monkeypatch.setitem(MODEL_REGISTRY, name, config)
        yield Chain(bench, providers)


def error(status: int, message: str = "no", **headers: str) -> Reply:
    return Reply(status, {"error": {"message": message}}, headers)


FAILS: dict[ErrorCode, Reply] = {
    ErrorCode.PROVIDER_RATE_LIMITED: error(429),
    ErrorCode.PROVIDER_UNAVAILABLE: error(503),
    ErrorCode.PROVIDER_TIMEOUT: Reply(how="hang"),
    ErrorCode.PROVIDER_BAD_RESPONSE: Reply(200, "{"),
    ErrorCode.PROVIDER_NO_BALANCE: error(402),
    ErrorCode.PROVIDER_AUTH: error(401),
    ErrorCode.MODEL_UNAVAILABLE: error(404),
}


@pytest.mark.parametrize("code", FAILS, ids=str)
async def test_what_the_provider_is_to_blame_for_goes_to_the_next_model(chain: Chain, code: ErrorCode) -> None:
    if code is ErrorCode.PROVIDER_TIMEOUT:
        await chain.run()  # the first call of a process takes litellm a while
        chain.providers["A"].requests.clear()
        chain.bench.configure(model_timeout_seconds=4)
    chain.says(A=[FAILS[code]], B=[completion("Of B.")])
    assert await chain.run() == "Of B."
    assert chain.asked == {"A": 1, "B": 1, "C": 0}
    assert chain.ended == [("A", code), ("B", None)]
    meter = chain.bench.meter
    assert (meter.model, meter.model_calls, meter.usage.prompt_tokens) == ("B", 2, 10)
    assert meter.cost_usd == pytest.approx(10 * 2.0 / 1000)  # at B's price


def test_every_error_that_falls_back_is_tried() -> None:
    assert FAILS.keys() == FALLS_BACK


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (error(400), "provider_bad_request"),
        (error(400, "Content Exists Risk"), "content_blocked"),
        (error(400, "maximum context length is 5 tokens"), "context_too_long"),
        (completion("half", finish="length"), "answer_truncated"),
        (completion(""), "empty_answer"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
async def test_what_the_request_is_to_blame_for_goes_nowhere(chain: Chain, reply: Reply, code: str) -> None:
    chain.says(A=[reply])
    with pytest.raises(AgentError) as raised:
        await chain.run()
    assert raised.value.code == code
    assert chain.asked == {"A": 1, "B": 0, "C": 0}


async def test_each_of_the_chain_is_asked_once_in_a_run_and_the_first_failure_in_passing_is_told(chain: Chain) -> None:
    chain.says(A=[error(401)], B=[error(503, **{"retry-after": "7"})], C=[error(429)])
    with pytest.raises(AgentError) as raised:
        await chain.run()
    assert (raised.value.code, raised.value.retry_after) == ("provider_unavailable", 7)
    assert chain.asked == {"A": 1, "B": 1, "C": 1}


async def test_when_all_fail_for_good_the_own_models_error_is_told(chain: Chain) -> None:
    chain.says(A=[error(402)], B=[error(401)], C=[error(404)])
    with pytest.raises(AgentError) as raised:
        await chain.run()
    assert raised.value.code == "provider_no_balance"


async def test_a_model_that_failed_is_not_asked_again_in_the_same_run(chain: Chain) -> None:
    look = completion(calls=[("calculator", {"expression": "6*7"})])
    chain.says(A=[look, error(503), completion("never")], B=[look, look, error(401)], C=[completion("Of C.")])
    assert await chain.run() == "Of C."
    assert chain.asked == {"A": 2, "B": 3, "C": 1}
    assert [name for name, _ in chain.ended] == ["A", "A", "B", "B", "B", "C"]
    # the next run begins with its own model again
    chain.says(A=[completion("Of A.")])
    assert await chain.run() == "Of A."


async def test_a_failure_after_which_none_is_left_tells_what_may_pass(chain: Chain) -> None:
    look = completion(calls=[("calculator", {"expression": "6*7"})])
    chain.says(A=[error(503)], B=[look, error(401)], C=[error(401)])
    with pytest.raises(AgentError) as raised:
        await chain.run()
    assert raised.value.code == "provider_unavailable"


async def test_a_fallbacks_calls_count_towards_the_limit_of_calls(chain: Chain) -> None:
    chain.bench.configure(agent_max_iterations=2)
    look = completion(calls=[("calculator", {"expression": "6*7"})])
    chain.says(A=[error(503)], B=[look])
    with pytest.raises(AgentError) as raised:
        await chain.run()
    assert raised.value.code == "max_iterations"
    assert chain.asked == {"A": 1, "B": 1, "C": 0}


async def test_a_cancel_ends_the_run_at_whichever_model_it_is(chain: Chain) -> None:
    chain.says(A=[error(503)], B=[Reply(how="hang")])
    run = asyncio.create_task(chain.run())
    while chain.asked["B"] == 0:
        await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert chain.asked == {"A": 1, "B": 1, "C": 0}


async def test_models_that_cool_down_are_passed_over_as_long_as_one_is_left(chain: Chain) -> None:
    chain.says(A=[completion("Of A.")], B=[error(503)], C=[completion("Of C.")])
    assert await chain.run(avoid=("A",)) == "Of C."
    assert chain.asked == {"A": 0, "B": 1, "C": 1}
    assert await chain.run(avoid=("A", "B", "C")) == "Of A."


async def test_a_fallback_without_its_key_is_left_out(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without = MODEL_REGISTRY["B"].model_copy(update={"api_key_env": "KEY_OF_B"})
    monkeypatch.setitem(MODEL_REGISTRY, "B", without)
    chain.says(A=[error(503)], C=[completion("Of C.")])
    assert await chain.run() == "Of C."
    (unusable,) = [record for record in caplog.records if record.getMessage() == "fallback_unusable"]
    assert vars(unusable)["fallback"] == "B"
    assert "KEY_OF_B" in vars(unusable)["problem"]


async def test_a_model_without_fallbacks_has_no_middleware(chain: Chain) -> None:
    runner = chain.bench.configure()
    nodes = {key: set(runner._agent(key, "default")._untyped.nodes) for key in ("A", "C")}  # type: ignore[attr-defined]  # a DescribedAgent
    assert nodes["A"] == nodes["C"]  # it wraps the call, and is no node of its own
    chain.says(C=[error(503)])
    with pytest.raises(AgentError):
        await chain.run(model="C")
    assert chain.asked["A"] == chain.asked["B"] == 0


def test_the_chain_is_the_models_own_list_and_no_fallbacks_of_fallbacks() -> None:
    registry = {
        "A": ModelConfig(litellm_id="x/a", fallbacks=("B", "A")),
        "B": ModelConfig(litellm_id="x/b", fallbacks=("C",)),
    }
    assert chain_of("A", registry, ()) == ["A", "B"]
    assert chain_of("A", registry, ("A",)) == ["B"]
    assert chain_of("A", registry, ("A", "B")) == ["A", "B"]
    assert chain_of("unknown", registry, ()) == ["unknown"]


async def test_a_fallback_without_its_key_is_no_way_round_a_model_to_avoid(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = MODEL_REGISTRY["B"].model_copy(update={"api_key_env": "KEY_OF_B"})
    monkeypatch.setitem(MODEL_REGISTRY, "B", config)
    assert await chain.run(avoid=("A",)) == "Done."
    assert chain.asked == {"A": 0, "B": 0, "C": 1}
    assert await chain.run(avoid=("A", "C")) == "Done."
    assert chain.asked == {"A": 1, "B": 0, "C": 1}
    with pytest.raises(AgentError, match="KEY_OF_B is not set"):
        await chain.run("B")
