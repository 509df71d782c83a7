"""POST /chat/stream on the system as shipped: gateway, Redis, worker, LangChain, LiteLLM and the simulator."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx

from operations import runstate


def events(answer: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Name and data of each event, as it comes."""
    name = ""
    for line in answer.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def release(system: Any, word: str) -> int:
    state = runstate.read(system.folder / "var")
    assert state
    port = state.simulator_port
    answer = httpx.post(f"http://127.0.0.1:{port}/release", json={"match": word}, trust_env=False)
    return int(answer.json()["released"])


def test_each_token_comes_while_the_next_one_is_held_back(system):
    """Lockstep: the simulator sends a token only when this client has confirmed the one before it. Whatever in between
    waited for more before it passed something on would stop it for good.
    """
    word = uuid.uuid4().hex[:8]
    said: list[str] = []
    with system.http.stream(
        "POST", "/chat/stream", json={"message": f"[[hold_each tokens=12]] hello {word}"}
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        coming = events(answer)
        name, first = next(coming)
        assert (name, first["status"]) == ("status", "pending")
        for name, data in coming:
            if name == "token":
                said.append(data["text"])
                assert (data["kind"], data["attempt"], data["number"]) == ("text", 1, 1)
                if len(said) < 12:
                    while not release(system, word):
                        pass
            elif name == "result":
                result = data
    assert len(said) == 12, "each alone: the next was held back"
    assert "".join(said) == result["result"]
    assert result["task_id"] == first["task_id"]
    # right in a stream too: as many as the same words cost unstreamed
    plain = system.ask(f"[[tokens=12]] hello {word}")
    assert plain["token_usage"]["completion_tokens"] == result["token_usage"]["completion_tokens"] == 12
