"""Rate limits: what is over answers 429 and says when there is room."""

import time

import pytest

from loadtest.simulator.limits import LimitedError, Limits, Quota
from tests.simulator.server import Server, hanging, running


def let_in(limits: Limits, now: float) -> bool:
    try:
        with limits.place(now):
            return True
    except LimitedError:
        return False


def wait(limits: Limits, now: float) -> float:
    with pytest.raises(LimitedError) as refused, limits.place(now):
        pass
    return int(dict(refused.value.headers)[b"retry-after-ms"]) / 1000


def test_no_minute_has_more_and_the_wait_is_exact() -> None:
    limits = Limits(Quota(rpm=3))
    assert [let_in(limits, now) for now in (0, 10, 20, 30, 59.9)] == [True, True, True, False, False]
    assert wait(limits, 30) == 30
    assert let_in(limits, 60.001), "the first is a minute ago"
    assert not let_in(limits, 60.001)
    assert wait(limits, 60.001) == pytest.approx(9.999, abs=0.002), "until the second is"


def test_a_shorter_window_holds_its_part_of_the_minute() -> None:
    limits = Limits(Quota(rpm=120, window=1))
    assert [let_in(limits, now) for now in (0, 0.1, 0.2, 0.9, 1.01)] == [True, True, False, False, True]


def test_a_refused_call_uses_up_nothing() -> None:
    limits = Limits(Quota(rpm=1))
    assert let_in(limits, 0)
    assert not any(let_in(limits, now) for now in range(1, 60))
    assert let_in(limits, 60)
    assert limits.refused == {"rpm": 59, "concurrent": 0}


def test_over_http_with_headers_and_in_every_count(simulator: Server) -> None:
    put(simulator, {"rpm": 2})
    try:
        answers = [simulator.post(f"limited {number}") for number in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        refused = answers[2]
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert "Limit 2" in refused.json()["error"]["message"]
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert 0 < int(refused.headers["retry-after-ms"]) <= 60_000
        assert simulator.call("limited 2")["outcome"] == "limited"
        assert simulator.http.get(f"{simulator.root}/limits").json()["refused"] == {"rpm": 1, "concurrent": 0}
    finally:
        simulator.http.delete(f"{simulator.root}/limits").raise_for_status()
    assert simulator.post("free again").status_code == 200


def test_a_wrong_request_uses_up_nothing(simulator: Server) -> None:
    put(simulator, {"rpm": 1})
    try:
        assert simulator.post("x", n=2).status_code == 400
        assert simulator.post("x").status_code == 200
    finally:
        simulator.http.delete(f"{simulator.root}/limits").raise_for_status()


def test_so_many_at_once() -> None:
    with running("--concurrent", "2") as server:
        with hanging(server, "held", calls=2):
            refused = server.post("one more")
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert "concurrent" in refused.json()["error"]["message"]
        until_free(server)
        assert server.http.delete(f"{server.root}/limits").json()["concurrent"] == 2, "back to the options"


def until_free(server: Server) -> None:
    """Those who hung up are noticed when their connections close."""
    give_up = time.monotonic() + 30
    while server.post("one more").status_code == 429:
        assert time.monotonic() < give_up
        time.sleep(0.02)


@pytest.mark.parametrize(
    "limits", [{"rpm": 0}, {"rpm": True}, {"rpm": "9"}, {"window": 0}, {"rmp": 1}, [], {"concurrent": -1}]
)
def test_wrong_limits_change_nothing(simulator: Server, limits: object) -> None:
    before = simulator.http.get(f"{simulator.root}/limits").json()
    assert simulator.http.put(f"{simulator.root}/limits", json=limits).status_code == 400
    assert simulator.http.get(f"{simulator.root}/limits").json() == before


def put(server: Server, limits: object) -> None:
    server.http.put(f"{server.root}/limits", json=limits).raise_for_status()
