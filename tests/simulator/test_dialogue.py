"""What the simulated model does with a message: which offered tools it calls, and what it makes of their answers."""

import json
from typing import Any

import pytest

from tests.simulator.server import CALCULATOR, GET_TIME, SEARCH, TOOLS, Server, tool, user


def asked(message: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    return [
        (call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message.get("tool_calls", [])
    ]


def calculate(expression: str) -> tuple[str, dict[str, str]]:
    return "calculator", {"expression": expression}


TIME: tuple[str, dict[str, str]] = ("get_time", {})


def search(query: str) -> tuple[str, dict[str, str]]:
    return "search", {"query": query}


def answered(server: Server, messages: list[Any], results: list[str], **body: Any) -> str:
    """The final text after every tool call was answered, in order, with `results`."""
    first = server.message(messages=messages, **body)
    calls = first["tool_calls"]
    assert len(calls) == len(results)
    told = [
        {"role": "tool", "tool_call_id": call["id"], "content": result}
        for call, result in zip(calls, results, strict=True)
    ]
    last = server.message(messages=[*messages, first, *told], **body)
    assert "tool_calls" not in last
    return str(last["content"])


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("Compute (123 * 456 + 789) / 3", [calculate("(123 * 456 + 789) / 3")]),
        ("Compute 42 * 1337 + 100", [calculate("42 * 1337 + 100")]),
        ("What is 2+2?", [calculate("2+2")]),
        ("what is 12 plus 7", [calculate("12 + 7")]),
        ("3 x 4 = ?", [calculate("3 * 4")]),
        ("2^10", [calculate("2**10")]),
        ("calculate 1,234.5 * 2", [calculate("1234.5 * 2")]),
        ("Compute −3 × 4 ÷ 2", [calculate("-3 * 4 / 2")]),
        ("Compute 9**9**9", [calculate("9**9**9")]),
        ("Compute 1/0", [calculate("1/0")]),
        ("Compute sqrt(16) + max(2, 3)", [calculate("sqrt(16) + max(2, 3)")]),
        ("Compute (3 + 4", [calculate("(3 + 4")]),
        ("- 3 + 4\n- 5 + 6", [calculate("3 + 4"), calculate("5 + 6")]),
        ("计算 42 * 1337 + 100 的结果", [calculate("42 * 1337 + 100")]),
        ("计算（１２３×４５６＋７８９）÷３", [calculate("(123*456+789)/3")]),
        ("6乘以7等于多少？", [calculate("6*7")]),
        ("帮我算一下 100减去58", [calculate("100-58")]),
        ("What time is it?", [TIME]),
        ("Tell me the time, please", [TIME]),
        ("What's today's date?", [TIME]),
        ("现在几点了?", [TIME]),
        ("今天星期几", [TIME]),
        ("search for the weather in Paris", [search("the weather in Paris")]),
        ("Please search the web for C++ 20.", [search("C++ 20")]),
        ('Look up "Ada Lovelace"', [search("Ada Lovelace")]),
        ("搜索一下 Python 的最新版本", [search("Python 的最新版本")]),
        ("帮我查一下「上海天气」。", [search("上海天气")]),
        ("What time is it, and compute 2+2 and 3*3", [TIME, calculate("2+2"), calculate("3*3")]),
        ("Search for arq and compute 6*7", [search("arq"), calculate("6*7")]),
        ("现在几点，然后计算 6×7，再搜索一下今天的新闻", [TIME, calculate("6*7"), search("今天的新闻")]),
        ("Compute 2+2 and 2+2", [calculate("2+2")]),
        ("Hello", []),
        ("你好", []),
        ("Search for what 2+2 means", [search("what 2+2 means")]),
        ("What happened on 2026-11-21?", []),
        ("What is planned for 2026-11-21 at 12:30?", []),
        ("Call 555-1234, we are open 24/7", []),
        ("What is the time complexity of binary search?", []),
        ("I have 3 cats", []),
        ("Is Python3 good?", []),
        ("[[1, 2], [3, 4]] is a matrix and [[Some Page]] a link", []),
    ],
)
def test_the_tools_it_asks_for(simulator: Server, text: str, calls: list[tuple[str, dict[str, str]]]) -> None:
    assert asked(simulator.say(text, tools=TOOLS)) == calls


def test_the_answer_is_made_of_the_tools_answer_only(simulator: Server) -> None:
    """With a calculator that always answers 7, the model says 7: nothing in the message could have told it so."""
    text = answered(simulator, [user("Compute 42 * 1335 + 100")], ["7"], tools=TOOLS)
    assert "7" in text
    assert "56170" not in text
    assert text == "[simulated] The calculator tool answered: 7."


def test_several_answers_in_one_text(simulator: Server) -> None:
    text = answered(simulator, [user("What time is it, and compute 6*7")], ["12:34 (Berlin)", "42"], tools=TOOLS)
    assert text.startswith("[simulated] ")
    assert text.index("12:34 (Berlin)") < text.index("42")


def test_chinese_is_answered_in_chinese(simulator: Server) -> None:
    assert answered(simulator, [user("计算 6×7")], ["42"], tools=TOOLS) == "[模拟] 工具 calculator 的结果：42。"
    assert simulator.say("你好")["content"].startswith("[模拟] 你好！")


@pytest.mark.parametrize(
    "said", ["Error: Division by zero", "ZeroDivisionError('division by zero')", '{"error": "division by zero"}',
             "The tool calculator failed (TimeoutError).", "错误：除数为零"],
)  # fmt: skip
def test_a_tools_error_is_reported_as_one(simulator: Server, said: str) -> None:
    text = answered(simulator, [user("Compute 1/0")], [said], tools=TOOLS)
    assert "reported an error" in text
    assert said in text


@pytest.mark.parametrize("said", ["Results about error handling in Go", '{"error": null, "value": 3}', "0 errors"])
def test_an_answer_about_errors_is_no_error(simulator: Server, said: str) -> None:
    assert "reported an error" not in answered(simulator, [user("search for it")], [said], tools=TOOLS)


def test_an_empty_tool_answer_is_said(simulator: Server) -> None:
    assert "returned nothing" in answered(simulator, [user("Compute 1+1")], [""], tools=TOOLS)


def test_a_missing_tool_is_said_and_nothing_computed(simulator: Server) -> None:
    for offered in ([], [SEARCH, GET_TIME]):
        message = simulator.say("Compute 6*7", tools=offered)
        assert "tool_calls" not in message
        assert "calculator" in message["content"]
        assert "42" not in message["content"]
    assert "没有提供" in simulator.say("现在几点了?", tools=[CALCULATOR])["content"]


def test_what_is_offered_is_used_and_what_is_not_is_said(simulator: Server) -> None:
    text = answered(simulator, [user("What time is it, and compute 6*7")], ["42"], tools=[CALCULATOR])
    assert "42" in text
    assert "get_time" in text


def test_tools_are_known_by_name_and_schema(simulator: Server) -> None:
    offered = [tool("math_eval", "formula"), tool("web_search", "q"), tool("current_time")]
    assert asked(simulator.say("Compute 6*7, then search for arq. What time is it?", tools=offered)) == [
        ("math_eval", {"formula": "6*7"}),
        ("web_search", {"q": "arq"}),
        ("current_time", {}),
    ]
    # The very name goes before a likeness.
    offered = [tool("math_eval", "formula"), CALCULATOR]
    assert asked(simulator.say("Compute 6*7", tools=offered)) == [calculate("6*7")]
    # A calculator that takes no text cannot take an expression.
    numeric = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}
    blind = {"type": "function", "function": {"name": "calculator", "parameters": numeric}}
    assert "offers none" in simulator.say("Compute 6*7", tools=[blind])["content"]


def test_other_required_arguments_are_filled_by_their_schema(simulator: Server) -> None:
    parameters = {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "limit": {"type": "integer"},
            "engine": {"enum": ["searxng", "tavily"]},
            "deep": {"type": "boolean"},
            "note": {"type": "string"},
        },
        "required": ["query", "limit", "engine", "deep"],
    }
    offered = [{"type": "function", "function": {"name": "search", "parameters": parameters}}]
    assert asked(simulator.say("search for arq", tools=offered)) == [
        ("search", {"query": "arq", "limit": 1, "engine": "searxng", "deep": False})
    ]


def test_a_time_zone_goes_where_the_schema_has_a_place(simulator: Server) -> None:
    zoned = {
        "type": "function",
        "function": {
            "name": "get_time",
            "parameters": {
                "type": "object",
                "properties": {"timezone": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}},
            },
        },
    }
    assert asked(simulator.say("What time is it in Asia/Tokyo?", tools=[zoned])) == [
        ("get_time", {"timezone": "Asia/Tokyo"})
    ]
    assert asked(simulator.say("What time is it?", tools=[zoned])) == [("get_time", {})]


def test_only_this_turns_results_count(simulator: Server) -> None:
    """An earlier turn's answer must not be mistaken for the one that this turn still needs."""
    question = user("Compute 6*7")
    first = simulator.message(messages=[question], tools=TOOLS)
    earlier = [
        question,
        first,
        {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "42"},
        {"role": "assistant", "content": "42"},
    ]
    again = simulator.message(messages=[*earlier, user("Compute 1+1")], tools=TOOLS)
    assert asked(again) == [calculate("1+1")]
    assert "42" not in answered(simulator, [*earlier, user("Compute 1+1")], ["2"], tools=TOOLS)


def test_it_tells_what_the_user_said_before(simulator: Server) -> None:
    history = [user("My name is Ada [[delay=0]]"), {"role": "assistant", "content": "Hello Ada"}, user("I like tea")]
    text = simulator.message(messages=[*history, user("What did I say?")])["content"]
    assert text == '[simulated] Earlier you said: "My name is Ada"; "I like tea".'
    text = simulator.message(messages=[user("我叫小明"), user("我刚才说了什么？")])["content"]
    assert text == "[模拟] 你之前说过：「我叫小明」。"
    assert "nothing before" in simulator.say("What did I say?")["content"]


def test_content_parts_are_read(simulator: Server) -> None:
    parts = [{"type": "text", "text": "Compute"}, {"type": "text", "text": "6*7"}]
    assert asked(simulator.message(messages=[{"role": "user", "content": parts}], tools=TOOLS)) == [calculate("6*7")]
