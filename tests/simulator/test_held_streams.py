"""Streams that are held in the middle until somebody who has seen what came before lets them go on."""

import json
import time
import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.simulator.server import Server, user


def words(answer: httpx.Response) -> Iterator[str]:
    for line in answer.iter_lines():
        data = line.removeprefix("data: ")
        if data and data != "[DONE]":
            for choice in json.loads(data)["choices"]:
                if word := choice["delta"].get("content"):
                    yield word


def release(simulator: Server, match: str) -> int:
    answer = simulator.http.post(f"{simulator.root}/release", json={"match": match})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["released"])


def eventually(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.parametrize(("directive", "releases"), [("hold_token=4", 1), ("hold_token=1", 1), ("hold_each", 7)])
def test_what_is_held_comes_after_its_release_and_nothing_is_missing(
    simulator: Server, directive: str, releases: int
) -> None:
    word = uuid.uuid4().hex[:8]
    body = {"model": "simulator", "stream": True, "messages": [user(f"[[{directive} tokens=8]] {word}")]}
    with simulator.http.stream("POST", f"{simulator.url}/chat/completions", json=body, timeout=30) as answer:
        coming = words(answer)
        before = {"hold_token=4": 3, "hold_token=1": 0, "hold_each": 1}[directive]
        said = [next(coming) for _ in range(before)]
        assert release(simulator, "another message") == 0
        for _ in range(releases):
            eventually(lambda: release(simulator, word))
        said += coming
    assert "".join(said) == simulator.say(f"[[tokens=8]] {word}")["content"]
    assert release(simulator, word) == 0


def test_a_client_that_leaves_a_held_stream_frees_it(simulator: Server) -> None:
    word = uuid.uuid4().hex[:8]
    body = {"model": "simulator", "stream": True, "messages": [user(f"[[hold_token=2]] {word}")]}
    with simulator.http.stream("POST", f"{simulator.url}/chat/completions", json=body, timeout=30) as answer:
        next(words(answer))
    assert simulator.call(word, outcome="disconnected")["stream"] is True
    assert release(simulator, word) == 0


def test_an_unstreamed_answer_is_not_held(simulator: Server) -> None:
    assert simulator.say("[[hold_token=1 tokens=4]] hello")["content"]


@pytest.mark.parametrize("body", ["[]", '{"match": 1}', "{"])
def test_a_wrong_release_is_refused(simulator: Server, body: str) -> None:
    assert simulator.http.post(f"{simulator.root}/release", content=body).status_code == 400
