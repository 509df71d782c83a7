"""AGENTS_FILE: what it may say, and what is told of one that is wrong, word for word."""

from pathlib import Path
from typing import Any

import pytest

import core_config
from agents_config import AgentConfig, AgentsFile, McpServerConfig, MiddlewareConfig, load_agents
from core_config import MODEL_REGISTRY, ROOT, ConfigurationError, Settings, line_of

GOOD = """\
[agents.support]
description = "Answers customers."
model = "DeepSeek-V3"
prompt_file = "prompts/support.md"
tools = ["calculator", "my_tools:lookup_order", "mcp:files", "mcp:web/get page"]
max_iterations = 6
middleware = ["my_mw:build", "pii"]

[agents.research]
run = "examples.agents.research:build"

[[agents.research.middleware]]
use = "tool_call_limit"
run_limit = 3

[mcp.files]
command = "python3"
args = ["server.py"]
env = { TOKEN = "${FILES_TOKEN}" }
tools = ["read_file"]
timeout_seconds = 2.5

[mcp.web]
url = "https://example.org/mcp"
headers = { Authorization = "Bearer ${WEB_TOKEN}" }
"""


def read(folder: Path, text: str | bytes) -> AgentsFile:
    path = folder / "agents.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_agents(Settings(_env_file=None, agents_file=path))


def test_the_built_in_agent_is_there_without_a_file() -> None:
    found = load_agents(Settings(_env_file=None))
    assert list(found.agents) == ["default"]
    assert found.agents["default"].tools == ("builtin",)
    assert found.agents["default"].prompt == (ROOT / "agent" / "prompts" / "default.md").read_text(encoding="utf-8")
    assert found.mcp == {}


def test_everything_that_a_file_may_say(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "support.md").write_text("Grüße.", encoding="utf-8")
    found = read(tmp_path, GOOD)
    assert list(found.agents) == ["default", "support", "research"]
    assert found.agents["support"] == AgentConfig(
        description="Answers customers.",
        model="DeepSeek-V3",
        prompt_file=tmp_path / "prompts" / "support.md",
        tools=("calculator", "my_tools:lookup_order", "mcp:files", "mcp:web/get page"),
        max_iterations=6,
        middleware=(MiddlewareConfig(use="my_mw:build"), MiddlewareConfig(use="pii")),
    ).model_copy(update={"prompt": "Grüße."})
    assert found.agents["research"] == AgentConfig(
        run="examples.agents.research:build",
        middleware=(MiddlewareConfig(use="tool_call_limit", options={"run_limit": 3}),),
    )
    assert found.mcp == {
        "files": McpServerConfig(
            command="python3", args=("server.py",), env={"TOKEN": "${FILES_TOKEN}"}, tools=("read_file",),
            timeout_seconds=2.5,
        ),
        "web": McpServerConfig(
            url="https://example.org/mcp", headers={"Authorization": "Bearer ${WEB_TOKEN}"}
        ),
    }  # fmt: skip
    assert found.where("support", "tools") == f"AGENTS_FILE {tmp_path}/agents.toml, line 5, agent 'support', tools"
    assert found.where("support", "run") == f"AGENTS_FILE {tmp_path}/agents.toml, line 1, agent 'support', run"


def test_the_built_in_agent_s_other_fields_stay(tmp_path: Path) -> None:
    built_in = load_agents(Settings(_env_file=None)).agents["default"]
    changed = read(tmp_path, '[agents.default]\nmodel = "Qwen-Max"\n').agents["default"]
    assert changed == built_in.model_copy(update={"model": "Qwen-Max"})
    spoken = read(tmp_path, '[agents.default]\nprompt = "Hi."\n').agents["default"]
    assert (spoken.prompt, spoken.prompt_file, spoken.tools) == ("Hi.", None, ("builtin",))
    assert read(tmp_path, '[agents.default]\nrun = "mine:agent"\n').agents["default"] == AgentConfig(run="mine:agent")


def test_a_relative_agents_file_is_the_project_s() -> None:
    assert Settings(_env_file=None, agents_file="my/agents.toml").agents_file == ROOT / "my" / "agents.toml"


def test_secrets_come_from_the_environment_and_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_config, "ENV_FILE", tmp_path / ".env")
    server = McpServerConfig(command="x", env={"A": "${LH_ONE}", "B": "a-${LH_TWO}-${LH_ONE}", "C": "$5 {x}"})
    monkeypatch.delenv("LH_ONE", raising=False)
    monkeypatch.setenv("LH_TWO", "two")
    with pytest.raises(ConfigurationError, match=r"^LH_ONE is not set\. Set it in the environment or \.env\.$"):
        server.resolved_env()
    (tmp_path / ".env").write_text("LH_ONE=one\n", encoding="utf-8")
    assert server.resolved_env() == {"A": "one", "B": "a-two-one", "C": "$5 {x}"}
    assert sorted(set(server.secrets())) == ["one", "two"]
    assert McpServerConfig(url="https://x.org", headers={"K": "Bearer ${LH_TWO}"}).resolved_headers() == {
        "K": "Bearer two"
    }


KEYS = (
    "Known: description, model, prompt, prompt_file, tools, max_iterations, middleware, output_schema, "
    "output_schema_file, run"
)
MODELS = "Known: " + ", ".join(MODEL_REGISTRY)
TOOLS = (
    "Known: calculator, get_time, search, fetch, database, builtin, a function as module:function, "
    "or an MCP server as mcp:server or mcp:server/tool"
)
MIDDLEWARE = (
    "Known: context_editing, model_call_limit, pii, summarization, todo_list, tool_call_limit, "
    "or a factory as module:function"
)
MCP_KEYS = "Known: command, args, env, url, headers, tools, timeout_seconds"
A = "[agents.a]\n"
BAD: dict[str, tuple[str, str]] = {
    "toml": ("[agents.a]\nmodel = \n", " is not valid TOML: Invalid value (at line 2, column 9)."),
    "table": ("# x\n[agent.a]\n", ", line 2, agent: there is no such table. Write [agents.name] or [mcp.name]."),
    "outside": ('model = "x"\n', ", line 1, model: there is no such table. Write [agents.name] or [mcp.name]."),
    "no tables": ("agents = 3\n", ", line 1, agents: write a table for each agent: [agents.name]."),
    "no table": ("[agents]\na = 3\n", ", line 2, agents.a: write a table for each agent: [agents.name]."),
    "key": (
        '[agents.b]\nmodel = "GPT"\n[agents.a]\nmodle = "GPT"\n',
        f", line 4, agent 'a', modle: there is no such key; did you mean 'model'? {KEYS}.",
    ),
    "text": (A + "prompt = 3\n", ", line 2, agent 'a', prompt: write text, in quotes."),
    "number": (A + 'max_iterations = "6"\n', ", line 2, agent 'a', max_iterations: write a whole number, such as 6."),
    "none": (A + "max_iterations = 0\n", ", line 2, agent 'a', max_iterations: write a number of at least 1."),
    "list": (A + 'tools = "search"\n', ", line 2, agent 'a', tools: write a list, such as [\"calculator\"]."),
    "model": (
        A + 'model = "gtp"\n',
        f", line 2, agent 'a', model: 'gtp' is no model of the registry; did you mean 'GPT'? {MODELS}.",
    ),
    "tool": (
        A + 'tools = [\n  "search",\n  "calculater",\n]\n',
        f", line 4, agent 'a', tools: 'calculater' is no tool; did you mean 'calculator'? {TOOLS}.",
    ),
    "middleware": (
        A + 'middleware = ["pi"]\n',
        f", line 2, agent 'a', middleware: 'pi' is no middleware; did you mean 'pii'? {MIDDLEWARE}.",
    ),
    "middleware without use": (
        "[[agents.a.middleware]]\nlimit = 3\n",
        ", line 1, agent 'a', middleware: write its name, or a table with use = \"name\" and its options.",
    ),
    "prompts": (
        A + 'prompt = "x"\nprompt_file = "y"\n',
        ", line 1, agent 'a', keys: set prompt or prompt_file, not both.",
    ),
    "prompt file": (
        A + 'prompt_file = "none.md"\n',
        (
            ", line 2, agent 'a', prompt_file: none.md cannot be read (No such file or directory). "
            "Its path is relative to the agents file."
        ),
    ),
    "schema": (
        A + 'output_schema = { type = "objekt" }\n',
        ", line 2, agent 'a', output_schema: type: 'objekt' is not valid under any of the given schemas.",
    ),
    "schema as a table": (
        A + '[agents.a.output_schema]\ntype = "object"\n[agents.a.output_schema.properties.n]\npattern = "("\n',
        (", line 2, agent 'a', output_schema: properties.n.pattern: '(' cannot be used: unclosed group."),
    ),
    "schema's number": (
        A + "output_schema = { maximum = 99999999999999999999 }\n",
        ", line 2, agent 'a', output_schema: cannot be written as JSON (Integer exceeds 64-bit range).",
    ),
    "schemas": (
        A + 'output_schema = {}\noutput_schema_file = "y"\n',
        ", line 1, agent 'a', keys: set output_schema or output_schema_file, not both.",
    ),
    "schema file": (
        A + 'output_schema_file = "none.json"\n',
        (
            ", line 2, agent 'a', output_schema_file: none.json holds no JSON Schema (No such file or directory). "
            "Its path is relative to the agents file."
        ),
    ),
    "import path": (
        A + 'run = "my/agent.py"\n',
        (
            ", line 2, agent 'a', run: 'my/agent.py' is no import path; write module:name, "
            "such as my_agents.support:build."
        ),
    ),
    "name": (
        f'[agents.{"x" * 101}]\nprompt = ""\n',
        f", line 1, agent '{'x' * 100}': a name has 1 to 100 printable characters and no slash.",
    ),
    "control character": (
        '[agents."a\\u0007b"]\nprompt = ""\n',
        ", line 1, agent 'a\\x07b': a name has 1 to 100 printable characters and no slash.",
    ),
    "no server": (
        A + 'tools = ["mcp:files"]\n',
        ", line 2, agent 'a', tools: 'mcp:files' names an MCP server that is not in the file; Add it: [mcp.files].",
    ),
    "server": (
        A + 'tools = ["mcp:file"]\n[mcp.files]\ncommand = "x"\n',
        (
            ", line 2, agent 'a', tools: 'mcp:file' names an MCP server that is not in the file; "
            "did you mean 'files'? Known: files."
        ),
    ),
    "server's tool": (
        A + 'tools = ["mcp:files/write"]\n[mcp.files]\ncommand = "x"\ntools = ["read"]\n',
        ", line 2, agent 'a', tools: 'mcp:files/write' is not among the server's tools; Known: read.",
    ),
    "server's key": (
        '[mcp.files]\ncommand = "x"\ntimeout = 3\n',
        f", line 3, MCP server 'files', timeout: there is no such key; did you mean 'timeout_seconds'? {MCP_KEYS}.",
    ),
    "server without a way": (
        "[mcp.files]\n",
        ", line 1, MCP server 'files', keys: set command (a program to start) or url (a running server), and not both.",
    ),
    "headers of a command": (
        '[mcp.files]\ncommand = "x"\nheaders = { A = "b" }\n',
        ", line 1, MCP server 'files', keys: headers belong to url; a command takes args and env.",
    ),
    "environment": (
        '[mcp.files]\ncommand = "x"\nenv = ["A=b"]\n',
        ", line 3, MCP server 'files', env: write a table, such as { NAME = \"value\" }.",
    ),
    "seconds": (
        '[mcp.files]\ncommand = "x"\ntimeout_seconds = 0\n',
        ", line 3, MCP server 'files', timeout_seconds: write a number above 0.",
    ),
}


@pytest.mark.parametrize(("text", "told"), BAD.values(), ids=BAD)
def test_a_file_that_is_wrong_says_where_and_what_to_do(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == f"AGENTS_FILE {tmp_path}/agents.toml{told}"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.toml"
    with pytest.raises(ConfigurationError) as caught:
        load_agents(Settings(_env_file=None, agents_file=nowhere))
    told = "cannot be read (No such file or directory). Correct the path or unset it."
    assert str(caught.value) == f"AGENTS_FILE {nowhere} {told}"
    with pytest.raises(ConfigurationError, match=r"agents\.toml is not valid TOML: .*utf-8"):
        read(tmp_path, b"\xff\xfe\x00")
    for text, told in {
        "{": "Expecting property name",
        "[]": "it holds no object",
        '{"type": 3}': "type: 3 is not valid",
        '{"not":' * 5000 + "{}" + "}" * 5000: "recursion",
    }.items():
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(ConfigurationError, match=rf"output_schema_file: s\.json holds no JSON Schema \(.*{told}"):
            read(tmp_path, '[agents.a]\noutput_schema_file = "s.json"\n')
    (tmp_path / "s.json").write_text('{"type": "object"}')
    agent = read(tmp_path, '[agents.a]\noutput_schema_file = "s.json"\n').agents["a"]
    assert (agent.output_schema, agent.output_schema_file) == ({"type": "object"}, tmp_path / "s.json")
    (tmp_path / "p.md").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"prompt_file: p\.md cannot be read \(it is not UTF-8 text\)"):
        read(tmp_path, '[agents.a]\nprompt_file = "p.md"\n')


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 1),
        (("a", "b c"), 2),
        (("a", "b c", "k"), 3),
        (("a", "b c", "none"), 2),
        (("d", "k"), 6),
        (("d", "x", "y"), 7),
        (("nobody",), 1),
    ],
)
def test_lines_are_told_by_the_path_to_them(path: Any, line: int) -> None:
    text = 'a.k = 1\n[ a . "b c" ] # [d]\nk = 1\n  # k = 2\n[[d]]\n k = 1\nx = { y = 1 }\n' + "w" * 5000 + "\n"
    assert line_of(text, *path) == line
