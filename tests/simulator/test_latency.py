"""How long a call takes: the shapes, where they are named, and what is refused."""

import math
import random
import statistics
from pathlib import Path

import httpx
import pytest

from loadtest.simulator.behaviour import Behaviour
from loadtest.simulator.chance import Chance, Drawn
from loadtest.simulator.latency import Latency, read_latency, read_option
from loadtest.simulator.options import read_options
from tests.simulator.server import Server, running

SHARES = [(number + 0.5) / 2000 for number in range(2000)]


def drawn(latency: Latency) -> list[float]:
    return [latency.at(share) for share in SHARES]


def test_fixed_is_always_the_same() -> None:
    assert set(drawn(read_latency("1.5"))) == {1.5}


def test_normal_has_its_mean_and_deviation_and_is_never_below_0() -> None:
    values = drawn(read_latency("normal:2:0.25"))
    assert statistics.mean(values) == pytest.approx(2, rel=0.01)
    assert statistics.stdev(values) == pytest.approx(0.25, rel=0.02)
    assert min(drawn(read_latency("normal:0.1:1"))) == 0


def test_lognormal_goes_through_its_p50_and_p99() -> None:
    latency = read_latency("lognormal:0.8:4")
    assert latency.at(0.5) == pytest.approx(0.8)
    assert latency.at(0.99) == pytest.approx(4)
    assert statistics.mean(drawn(latency)) > 0.9, "a long tail lies above its median"
    assert set(drawn(read_latency("lognormal:2:2"))) == {2.0}


def test_recorded_has_each_value_as_often_as_any_other(tmp_path: Path) -> None:
    file = tmp_path / "seconds.txt"
    file.write_text("# as measured\n0.5\n\n0.1  # quick\n7\n0.5\n")
    values = drawn(read_option(f"recorded:{file}"))
    assert {value: values.count(value) for value in set(values)} == {0.1: 500, 0.5: 1000, 7.0: 500}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("normal:1", "normal:MEAN:DEVIATION"),
        ("pareto:1:2", "lognormal:P50:P99"),
        ("lognormal:2:1", "p99 not below it"),
        ("lognormal:0:1", "p50 above 0"),
        ("inf", "from 0 to 86400"),
        ("1:2", "normal:MEAN:DEVIATION"),
        ("recorded:/etc/passwd", "no request opens a file"),
    ],
)
def test_what_is_no_latency_says_what_would_be(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace(":", ".")):
        read_latency(text)


@pytest.mark.parametrize(
    ("content", "said"), [("1\nsoon\n", "line 2 of .* is 'soon'"), ("# nothing\n", "holds none"), (None, "can be read")]
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "seconds.txt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=said):
        read_option(f"recorded:{file}")


def test_a_request_that_names_a_file_is_refused(simulator: Server) -> None:
    answer = simulator.post("[[delay=recorded:pyproject.toml]]")
    assert answer.status_code == 400
    assert "no request opens a file" in answer.json()["error"]["message"]


def test_it_is_never_quicker_than_it_was_told(simulator: Server) -> None:
    """Timers of event loops may come early; an instrument may not."""
    for number in range(25):
        simulator.post(f"exact {number} [[delay={0.01 + number / 10_000}]]")
    metrics = simulator.http.get(f"{simulator.root}/metrics.json").json()["latency"]
    assert metrics["asked"]["count"] == metrics["given"]["count"] == 25
    assert metrics["given"]["mean_s"] >= metrics["asked"]["mean_s"]
    for call in simulator.journal(match="exact")["calls"]:
        assert call["duration_ms"] >= 10 + int(call["message"].split()[1]) / 10 - 0.06, "rounded to a tenth"


def test_the_same_seed_draws_the_same_in_any_order() -> None:
    behaviour = Behaviour(delay=read_latency("lognormal:0.5:3"), hang_rate=0.1, error_rate=0.2, status=503)
    calls = [(f"message {number % 40}", step) for number in range(120) for step in (1, 2)]

    def draws(seed: int) -> dict[tuple[str, int], list[Drawn]]:
        chance = Chance(seed)
        found: dict[tuple[str, int], list[Drawn]] = {}
        for message, step in random.sample(calls, len(calls)):
            found.setdefault((message, step), []).append(chance.draw(behaviour, message, step))
        return found

    first = draws(7)
    assert first == draws(7)
    assert first != draws(8)
    assert len({str(drawn) for kinds in first.values() for drawn in kinds}) == len(calls), "each call draws anew"


def test_a_seed_makes_a_run_repeatable_until_the_counts_are_forgotten() -> None:
    with running("--latency", "lognormal:0.002:0.03", "--seed", "7") as server:
        first = [asked(server, message) for message in "abca"]
        server.http.delete(f"{server.root}/control").raise_for_status()
        again = [asked(server, message) for message in "aacb"]
        third = asked(server, "a")
    assert (first[0], first[3], first[2], first[1]) == tuple(again)
    assert len({*first, third}) == 5


def asked(server: Server, message: str) -> float:
    """The latency that one call was given to keep."""
    server.http.delete(f"{server.root}/journal").raise_for_status()
    assert server.post(message).status_code == 200
    return float(server.http.get(f"{server.root}/metrics.json").json()["latency"]["asked"]["total_s"])


def test_rates_are_the_shares_that_they_say() -> None:
    """Of 4,000 seeded draws; the shares are the same every time."""
    chance, behaviour = Chance(1), Behaviour(error_rate=0.25, hang_rate=0.1)
    draws = [chance.draw(behaviour, f"number {number}", 1) for number in range(4000)]
    assert sum(drawn.fails for drawn in draws) / 4000 == pytest.approx(0.25, abs=0.02)
    assert sum(drawn.hangs for drawn in draws) / 4000 == pytest.approx(0.1, abs=0.015)
    assert not any(drawn.fails and drawn.hangs for drawn in draws)


def test_a_rate_without_a_status_is_a_500_and_a_hang_rate_hangs(simulator: Server) -> None:
    assert simulator.post("[[error_rate=1]]").status_code == 500
    assert simulator.post("[[error_rate=0 status=503]]").status_code == 200
    assert simulator.post("[[error=anthropic_overloaded error_rate=1]]").status_code == 529
    with pytest.raises(Exception, match="timed out"):
        simulator.http.post(
            f"{simulator.url}/chat/completions",
            json={"model": "s", "messages": [{"role": "user", "content": "stuck [[hang_rate=1]]"}]},
            timeout=httpx.Timeout(30, read=0.3),
        )
    assert simulator.call("stuck", outcome="disconnected")["fault"] == "hang"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--latency", "recorded:FOLDER/missing"), "a file that can be read; "),
        (("--error-rate", "2"), "expected a number from 0 to 1, got '2'"),
        (("--rpm", "0"), "expected an integer from 1 to 1000000, got '0'"),
        (("--seed", "now"), "expected an integer from 0"),
        (("--do", "stauts=500"), "did you mean 'status'"),
        (("--do", "times=1 status=500"), "use PUT /control"),
    ],
)
def test_an_option_that_cannot_be_says_what_can(
    options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        read_options([word.replace("FOLDER", str(tmp_path)) for word in options])
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_shares_are_never_0_or_1() -> None:
    latency = read_latency("lognormal:1:2")
    assert all(math.isfinite(latency.at(share)) for share in (0.5 / 2**52, 1 - 2**-53))
