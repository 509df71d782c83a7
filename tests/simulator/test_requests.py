"""Wrong requests are answered as a provider answers them, and say what is wrong."""

from typing import Any

import pytest

from tests.simulator.server import CALCULATOR, Server, user

ASKED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "calculator", "arguments": "{}"}}],
}
TOLD = {"role": "tool", "tool_call_id": "call_1", "content": "42"}


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"messages": [user("Hi")], "model": None}, "model", "model"),
        ({"model": "simulator"}, "messages", "messages"),
        ({"messages": "Hi"}, "messages", "array"),
        ({"messages": []}, "messages", "empty array"),
        ({"messages": ["Hi"]}, "messages[0]", "object"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role", "robot"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "string"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "string"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content", "parts"),
        ({"messages": [user("Hi"), {"role": "tool", "content": "42"}]}, "messages[1].tool_call_id", "tool_call_id"),
        ({"messages": [user("Hi"), TOLD]}, "messages[1].role", "must be a response to a preceding message"),
        ({"messages": [user("Hi"), ASKED]}, "messages[1]", "call_1"),
        ({"messages": [user("Hi"), ASKED, user("And?"), TOLD]}, "messages[1]", "call_1"),
        ({"messages": [user("Hi"), ASKED, TOLD, TOLD]}, "messages[3].role", "preceding"),
        ({"messages": [user("Hi"), {**ASKED, "tool_calls": [{"id": "x"}]}]}, "messages[1].tool_calls", "arguments"),
        ({"messages": [user("Hi")], "stream": "yes"}, "stream", "boolean"),
        ({"messages": [user("Hi")], "stream_options": {"include_usage": True}}, "stream_options", "only allowed"),
        ({"messages": [user("Hi")], "max_tokens": 0}, "max_tokens", "1 or more"),
        ({"messages": [user("Hi")], "max_tokens": "9"}, "max_tokens", "integer"),
        ({"messages": [user("Hi")], "n": 2}, "n", "one choice"),
        ({"messages": [user("Hi")], "tools": [{"type": "function"}]}, "tools[0]", "function"),
        ({"messages": [user("Hi")], "tools": {}}, "tools", "array"),
        (
            {"messages": [user("Hi")], "tools": [{"type": "function", "function": {"name": "bad name"}}]},
            "tools[0].function.name",
            "letters",
        ),
        ({"messages": [user("Hi")], "tool_choice": "auto"}, "tool_choice", "tools"),
        ({"messages": [user("Hi")], "tools": [CALCULATOR], "tool_choice": "nonsense"}, "tool_choice", "names no tool"),
    ],
)
def test_a_wrong_request_is_refused(simulator: Server, body: dict[str, Any], param: str, words: str) -> None:
    answer = simulator.post(**body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert words in error["message"]
    assert [call["outcome"] for call in simulator.journal()["calls"]] == ["refused"]


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b'{"model": "simulator", "messages": [', b"[]", b'"\\ud800"', b"\xff"]
)
def test_what_is_no_json_object_is_refused(simulator: Server, body: bytes) -> None:
    answer = simulator.http.post(f"{simulator.url}/chat/completions", content=body)
    assert answer.status_code == 400
    assert "JSON" in answer.json()["error"]["message"]


def test_a_body_without_end_is_refused(simulator: Server) -> None:
    answer = simulator.http.post(f"{simulator.url}/chat/completions", content=b" " * (17 * 1024 * 1024))
    assert answer.status_code == 413
    assert simulator.journal()["calls"][-1]["status"] == 413


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/v1/chat/completions"), ("POST", "/v1/embeddings")]
)
def test_an_unknown_address(simulator: Server, method: str, path: str) -> None:
    answer = simulator.http.request(method, simulator.root + path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_url"


@pytest.mark.parametrize("prefix", ["", "/v1", "/compatible-mode/v1"])
def test_every_providers_base_address_works(simulator: Server, prefix: str) -> None:
    body = {"model": "simulator", "messages": [user("Hi")]}
    assert simulator.http.post(f"{simulator.root}{prefix}/chat/completions", json=body).status_code == 200


def test_health(simulator: Server) -> None:
    body = simulator.http.get(f"{simulator.root}/health").json()
    assert body["status"] == "healthy"
    assert body["simulated"] is True
