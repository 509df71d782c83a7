"""Whatever a client sends, it gets an answer or a refusal in OpenAI's shape: never a fault of the simulator."""

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.simulator.behaviour import Behaviour
from loadtest.simulator.conversation import Conversation
from loadtest.simulator.dialogue import reply_to
from loadtest.simulator.request import RefusedError, parse_request
from loadtest.simulator.wire import Answer, prompt_tokens
from tests.simulator.server import TOOLS, user

CALL = {"id": "call_1", "type": "function", "function": {"name": "calculator", "arguments": '{"expression": "1+1"}'}}
GOOD: dict[str, Any] = {
    "model": "simulator",
    "messages": [
        {"role": "system", "content": "Be brief."},
        user("Compute 1+1 and search for arq. What time is it?"),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "2"},
    ],
    "tools": TOOLS,
    "tool_choice": {"type": "function", "function": {"name": "calculator"}},
    "parallel_tool_calls": False,
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 5,
}

odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))][not path :]


def replaced(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    body = copy.deepcopy(GOOD)
    target: Any = body
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    return body


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(places(GOOD)), odd)
def test_one_odd_value_anywhere(place: tuple[Any, ...], value: Any) -> None:
    body = json.dumps(replaced(place, value), ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        request = parse_request(body)
    except RefusedError:
        return
    for behaviour in (Behaviour(), Behaviour(loop=True, cut=True)):
        reply = reply_to(request, Conversation(request.messages), behaviour)
        answer = Answer(request, reply, behaviour, prompt_tokens(request))
        assert json.loads(answer.body())["choices"]
        content, closing = answer.events()
        assert content
        assert closing[-1] == b"data: [DONE]\n\n"


def test_the_good_request_is_good() -> None:
    assert parse_request(json.dumps(GOOD).encode()).model == "simulator"
