"""The simulator's own metrics: what it was asked to do, what it did, and by how much it was late."""

import random

from prometheus_client.parser import text_string_to_metric_families

from loadtest.simulator.spread import Spread
from tests.simulator.server import TOOLS, Server, hanging, user


def samples(server: Server) -> dict[tuple[str, str], float]:
    """By name and label value (of labels there is one at most)."""
    answer = server.http.get(f"{server.root}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_every_call_is_counted_by_what_became_of_it(simulator: Server) -> None:
    simulator.post("fine")
    simulator.post("[[status=503]]")
    simulator.post("wrong", n=2)
    with hanging(simulator, "hangs", calls=2):
        page = samples(simulator)
        assert page["simulator_in_flight", ""] == 2
    assert page["simulator_calls_total", "answered"] == 1
    assert page["simulator_calls_total", "failed"] == 1
    assert page["simulator_calls_total", "refused"] == 1
    assert {status: page["simulator_responses_total", status] for status in ("200", "503", "400")} == {
        "200": 1, "503": 1, "400": 1,
    }  # fmt: skip
    assert page["simulator_in_flight_most", ""] == 2
    assert page["simulator_limited_total", "rpm"] == 0


def test_tokens_are_those_of_the_answers(simulator: Server) -> None:
    usage = simulator.post("[[tokens=7]] Hello").json()["usage"]
    page = samples(simulator)
    assert page["simulator_tokens_total", "prompt"] == usage["prompt_tokens"]
    assert page["simulator_tokens_total", "completion"] == usage["completion_tokens"] == 7


def test_latency_asked_for_beside_latency_given(simulator: Server) -> None:
    simulator.post("[[delay=0.1 first_token=0.05 tokens_per_second=100 tokens=5]]")
    simulator.post("[[delay=0.1 first_token=0.05 tokens_per_second=100 tokens=6]]", stream=True)
    page, told = samples(simulator), simulator.http.get(f"{simulator.root}/metrics.json").json()
    # the whole answer is due after its five tokens, the stream's sixth one five paces after its first
    assert told["latency"]["asked"] == {
        "count": 2, "total_s": 0.4, "mean_s": 0.2, "p50_s": 0.2, "p95_s": 0.2, "p99_s": 0.2, "max_s": 0.2,
    }  # fmt: skip
    assert told["first_token"]["asked"]["mean_s"] == 0.15
    for part in ("latency", "first_token"):
        given, asked, late = (told[part][name] for name in ("given", "asked", "late"))
        assert given["mean_s"] >= asked["mean_s"]
        assert abs(given["mean_s"] - asked["mean_s"] - late["mean_s"]) < 1e-5
    assert page["simulator_answer_given_seconds_count", ""] == 2
    assert page["simulator_answer_asked_seconds_sum", ""] == 0.4
    assert page["simulator_answer_given_seconds_bucket", "+Inf"] == 2
    assert page["simulator_first_token_late_seconds_count", ""] == 1


def test_an_answer_that_was_told_to_break_counts_in_no_latency(simulator: Server) -> None:
    for words in ("[[status=500]]", "[[slow_drip=0.0001]]", "[[error_body]]"):
        simulator.post(words)
    told = simulator.http.get(f"{simulator.root}/metrics.json").json()
    assert told["latency"]["given"]["count"] == 0


def test_the_loop_is_watched_while_calls_run_and_the_seed_is_told(simulator: Server) -> None:
    simulator.post("[[delay=0.4]]")
    told = simulator.http.get(f"{simulator.root}/metrics.json").json()
    assert told["loop_late"]["count"] >= 1, "the first look is due long before the answer"
    assert told["seed"] == samples(simulator)["simulator_seed", ""]


def test_a_new_journal_begins_every_count_anew(simulator: Server) -> None:
    simulator.post("[[first_token=0.01]]", stream=True)
    simulator.http.delete(f"{simulator.root}/journal").raise_for_status()
    told = simulator.http.get(f"{simulator.root}/metrics.json").json()
    assert told["latency"]["given"]["count"] == told["first_token"]["given"]["count"] == told["counters"]["calls"] == 0


def test_quantiles_are_right_to_5_percent() -> None:
    numbers = random.Random(1)
    values = sorted(numbers.lognormvariate(-1, 1.5) for _ in range(5000))
    spread = Spread()
    for value in values:
        spread.add(value)
    for share in (0.5, 0.95, 0.99):
        exact = values[int(share * len(values)) - 1]
        assert exact <= spread.quantile(share) <= exact * 1.05
    assert spread.quantile(1) == values[-1] == spread.most
    buckets = spread.buckets()
    assert buckets[-1] == ("+Inf", 5000)
    for bound, count in buckets[:-1]:
        assert abs(count - sum(value <= float(bound) for value in values)) <= 1, "a bound is shown with six digits"


def test_nothing_and_beyond_everything() -> None:
    spread = Spread()
    assert (spread.quantile(0.5), spread.as_json()["mean_s"]) == (0, 0)
    spread.add(-0.5)
    assert spread.total == 0
    spread.add(1e6)
    assert spread.quantile(1) == 1e6
    assert spread.buckets()[-2][1] == 1


def test_steps_that_call_the_tools_they_name(simulator: Server) -> None:
    words = "[[tools=search,calculator+calculator+get_time]]"
    messages = [user(words)]
    called = []
    for _ in range(3):
        message = simulator.message(messages=messages, tools=TOOLS)
        called.append([call["function"]["name"] for call in message.get("tool_calls") or ()])
        messages.append(message)
        messages += [
            {"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in message.get("tool_calls") or ()
        ]
    assert called == [["search"], ["calculator", "calculator", "get_time"], []]
    refused = simulator.post(f"{words} ", tools=TOOLS[:1])
    assert refused.status_code == 400
    assert "'search' for step 1" in refused.json()["error"]["message"]
    assert "it offers calculator" in refused.json()["error"]["message"]
    assert "comma between steps" in simulator.post("[[tools=a,,b]]").json()["error"]["message"]
