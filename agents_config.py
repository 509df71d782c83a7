"""The agents file (AGENTS_FILE): which agents there are, what each may use, and the MCP servers they share.

Loads no LLM library, so the gateway can read it too. What is wrong with the file as a whole is a ConfigurationError
here, with its line; what only running it can show (an import, a server that does not start) makes one agent
unavailable in the worker: agent/specs.py.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

import schema_rules
from core_config import ROOT, ConfigurationError, Settings, line_of, load_registry, nearest, read_toml, variable

DEFAULT_AGENT: Final = "default"
BUILTIN: Final = "builtin"
"""In `tools`: every built-in tool that this deployment has switched on."""
BUILTIN_TOOLS: Final = ("calculator", "get_time", "search", "fetch", "database")
MIDDLEWARE: Final = (
    "context_editing",
    "model_call_limit",
    "pii",
    "summarization",
    "todo_list",
    "tool_call_limit",
)
"""LangChain's, by short names. Those that try a model or a tool again are left out: only the queue retries."""
MAX_NAME_CHARS: Final = 100
MAX_PROMPT_CHARS: Final = 100_000

_IMPORT_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_MCP: Final = re.compile(r"mcp:(?P<server>[^/]+)(/(?P<tool>.+))?")
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_]\w*)\}")


def is_import_path(text: str) -> bool:
    """Whether it is written `module:attribute`."""
    return _IMPORT_PATH.fullmatch(text) is not None and not text.startswith("mcp:")


def mcp_reference(text: str) -> tuple[str, str | None] | None:
    """Server and tool of `mcp:server` (all its tools: None) or `mcp:server/tool`; None when it is neither."""
    found = _MCP.fullmatch(text)
    return None if found is None else (found["server"], found["tool"])


def _import_path(text: str) -> str:
    if not is_import_path(text):
        raise ValueError(f"{text!r} is no import path; write module:name, such as my_agents.support:build")
    return text


def _tool(text: str) -> str:
    if text in (BUILTIN, *BUILTIN_TOOLS) or mcp_reference(text) or is_import_path(text):
        return text
    raise ValueError(
        f"{text!r} is no tool; {nearest(text, [*BUILTIN_TOOLS, BUILTIN])}, a function as module:function, "
        "or an MCP server as mcp:server or mcp:server/tool"
    )


def _middleware(text: str) -> str:
    if text in MIDDLEWARE or is_import_path(text):
        return text
    raise ValueError(f"{text!r} is no middleware; {nearest(text, list(MIDDLEWARE))}, or a factory as module:function")


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        fault = schema_rules.fault_in(schema)
    except (TypeError, RecursionError) as error:  # a number or a depth that JSON cannot have here
        raise ValueError(f"cannot be written as JSON ({error})") from None
    if fault is not None:
        raise ValueError(": ".join([*([".".join(fault.place)] if fault.place else []), fault.said]))
    return schema


def _table(entry: Any) -> Any:
    """`"pii"` is short for `{use = "pii"}`; the other keys of a table are options."""
    if isinstance(entry, MiddlewareConfig):
        return entry
    if isinstance(entry, str):
        return {"use": entry}
    if isinstance(entry, dict) and "use" in entry:
        return {"use": entry["use"], "options": {key: value for key, value in entry.items() if key != "use"}}
    raise ValueError('write its name, or a table with use = "name" and its options')


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_E = TypeVar("_E", bound=_Entry)


class MiddlewareConfig(_Entry):
    use: Annotated[str, AfterValidator(_middleware)]
    """One of MIDDLEWARE, or the import path of a factory."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Its keyword arguments."""


class AgentConfig(_Entry):
    """One agent. With `run` it is code, else it is described by its prompt, tools and middleware."""

    description: str = Field("", max_length=500)
    model: str | None = None
    """Registry key of the model of its tasks that name none. None: the active one."""
    prompt: str | None = Field(None, max_length=MAX_PROMPT_CHARS)
    """The system prompt; load_agents puts the text of `prompt_file` here."""
    prompt_file: Path | None = None
    """Absolute after load_agents."""
    tools: tuple[Annotated[str, AfterValidator(_tool)], ...] = ()
    """All that it may call: names of BUILTIN_TOOLS, BUILTIN, `module:function`, `mcp:server` or `mcp:server/tool`."""
    max_iterations: int | None = Field(None, ge=1, strict=True)
    """Model calls that one of its tasks may make. None: AGENT_MAX_ITERATIONS."""
    middleware: tuple[Annotated[MiddlewareConfig, BeforeValidator(_table)], ...] = ()
    output_schema: Annotated[dict[str, Any], AfterValidator(_schema)] | None = None
    """JSON Schema of the answers to its tasks that bring none; load_agents puts that of `output_schema_file` here."""
    output_schema_file: Path | None = None
    """A JSON file. Absolute after load_agents."""
    run: Annotated[str, AfterValidator(_import_path)] | None = None
    """`module:name` of a factory, a compiled LangGraph graph or an `async def agent(input, ctx)`."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.prompt is not None and self.prompt_file is not None:
            raise ValueError("set prompt or prompt_file, not both")
        if self.output_schema is not None and self.output_schema_file is not None:
            raise ValueError("set output_schema or output_schema_file, not both")
        return self


class McpServerConfig(_Entry):
    """One MCP server: a program that is started, or an address."""

    command: str | None = Field(None, min_length=1)
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    """As written: `resolved_env` fills in `${VARIABLE}`."""
    url: str | None = Field(None, pattern=r"^https?://[^/\s]+\S*$")
    headers: dict[str, str] = Field(default_factory=dict)
    """As written: `resolved_headers` fills in `${VARIABLE}`."""
    tools: tuple[str, ...] | None = None
    """Only these of its tools. None: all."""
    timeout_seconds: float = Field(10, gt=0, strict=True)
    """Longest start, and longest call."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("set command (a program to start) or url (a running server), and not both")
        if self.url is not None and (self.args or self.env):
            raise ValueError("args and env belong to command; a url takes headers")
        if self.command is not None and self.headers:
            raise ValueError("headers belong to url; a command takes args and env")
        return self

    def resolved_env(self) -> dict[str, str]:
        """`env` with the variables' values. Raises ConfigurationError that names one that is not set."""
        return {name: _resolved(value) for name, value in self.env.items()}

    def resolved_headers(self) -> dict[str, str]:
        """`headers` with the variables' values. Raises ConfigurationError that names one that is not set."""
        return {name: _resolved(value) for name, value in self.headers.items()}

    def secrets(self) -> list[str]:
        """The values of all variables that it names and that are set: for the log's filter."""
        named = _VARIABLE.findall(" ".join((*self.env.values(), *self.headers.values())))
        return [value for value in map(variable, named) if value]


def _resolved(text: str) -> str:
    def value(found: re.Match[str]) -> str:
        told = variable(found[1])
        if not told:
            raise ConfigurationError(f"{found[1]} is not set. Set it in the environment or .env.")
        return told

    return _VARIABLE.sub(value, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsFile:
    """What AGENTS_FILE says, and the built-in agent."""

    agents: dict[str, AgentConfig]
    """By name, `default` first: it is there without any file."""
    mcp: dict[str, McpServerConfig] = field(default_factory=dict)
    path: Path | None = None
    """The file; import paths also start at its folder."""
    text: str = field(default="", repr=False)

    def where(self, agent: str, key: str) -> str:
        """`AGENTS_FILE <path>, line N, agent 'x', key`, to begin a problem with."""
        if self.path is None:
            return f"agent {agent!r}, {key}"
        return f"AGENTS_FILE {self.path}, line {line_of(self.text, 'agents', agent, key)}, agent {agent!r}, {key}"


_BUILT_IN: Final[dict[str, Any]] = {
    "description": "The built-in agent: an assistant with every tool that is switched on.",
    "prompt_file": ROOT / "agent" / "prompts" / "default.md",
    "tools": (BUILTIN,),
}


def load_agents(settings: Settings) -> AgentsFile:
    """Every agent that a task may name. Raises ConfigurationError with file, line, key and remedy."""
    path = settings.agents_file
    if path is None:
        return AgentsFile(agents={DEFAULT_AGENT: _with_prompt(AgentConfig(**_BUILT_IN), ROOT)})
    text, document = read_toml(f"AGENTS_FILE {path}", path)
    return _File(path, text, document).read(settings)


class _File:
    """An agents file while it is read."""

    def __init__(self, path: Path, text: str, document: dict[str, Any]) -> None:
        self._path, self._text, self._document = path, text, document

    def read(self, settings: Settings) -> AgentsFile:
        for name in self._document:
            if name not in ("agents", "mcp"):
                raise self._wrong((name,), f"{name}: there is no such table. Write [agents.name] or [mcp.name]")
        servers = self._entries("mcp", "MCP server", McpServerConfig)
        agents = {DEFAULT_AGENT: _with_prompt(AgentConfig(**_BUILT_IN), ROOT)}
        registry = list(load_registry(settings))
        for name, agent in self._entries("agents", "agent", AgentConfig).items():
            if agent.model is not None and agent.model not in registry:
                problem = f"{agent.model!r} is no model of the registry; {nearest(agent.model, registry)}"
                raise self._wrong(("agents", name, "model"), f"agent {name!r}, model: {problem}")
            for reference in agent.tools:
                self._check_server(name, reference, servers)
            try:
                agent = _with_schema(agent, self._path.parent)  # noqa: PLW2901  the same agent, its schema read
            except (OSError, ValueError, RecursionError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                problem = f"{agent.output_schema_file} holds no JSON Schema ({why})"
                raise self._wrong(
                    ("agents", name, "output_schema_file"),
                    f"agent {name!r}, output_schema_file: {problem}. Its path is relative to the agents file",
                ) from None
            try:
                agents[name] = _with_prompt(agent, self._path.parent)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                problem = f"{agent.prompt_file} cannot be read ({why}). Its path is relative to the agents file"
                raise self._wrong(("agents", name, "prompt_file"), f"agent {name!r}, prompt_file: {problem}") from None
        return AgentsFile(agents=agents, mcp=servers, path=self._path, text=self._text)

    def _entries(self, kind: str, noun: str, model: type[_E]) -> dict[str, _E]:
        """The tables `[kind.name]`, each checked."""
        tables = self._document.get(kind, {})
        if not isinstance(tables, dict):
            raise self._wrong((kind,), f"{kind}: write a table for each {noun}: [{kind}.name]")
        entries = {}
        for name, fields in tables.items():
            if not isinstance(fields, dict):
                raise self._wrong((kind, name), f"{kind}.{name}: write a table for each {noun}: [{kind}.name]")
            if not name or len(name) > MAX_NAME_CHARS or not name.isprintable() or "/" in name:
                problem = f"a name has 1 to {MAX_NAME_CHARS} printable characters and no slash"
                raise self._wrong((kind, name), f"{noun} {name[:MAX_NAME_CHARS]!r}: {problem}")
            known = _BUILT_IN if (kind, name) == ("agents", DEFAULT_AGENT) and "run" not in fields else {}
            if "prompt" in fields:
                known = {key: value for key, value in known.items() if key != "prompt_file"}
            try:
                entries[name] = model.model_validate({**known, **fields})
            except ValidationError as error:
                raise self._invalid((kind, name), f"{noun} {name!r}", model, error) from None
        return entries

    def _invalid(
        self, table: tuple[str, str], about: str, model: type[BaseModel], error: ValidationError
    ) -> ConfigurationError:
        # A mistyped name before the field that it leaves missing.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        key = str(first["loc"][0]) if first["loc"] else ""
        problem = _REMEDIES.get(first["type"], first["msg"].removeprefix("Value error, "))
        if first["type"] == "extra_forbidden":
            problem = f"there is no such key; {nearest(key, list(model.model_fields))}"
        entry = first["input"] if isinstance(first["input"], str) and len(first["loc"]) > 1 else None
        return self._wrong((*table, key), f"{about}, {key or 'keys'}: {problem}", entry)

    def _check_server(self, agent: str, reference: str, servers: dict[str, McpServerConfig]) -> None:
        if (named := mcp_reference(reference)) is None:
            return
        server, tool = named
        if server not in servers:
            known = nearest(server, list(servers)) if servers else f"Add it: [mcp.{server}]"
            problem = f"{reference!r} names an MCP server that is not in the file; {known}"
        elif tool is not None and (only := servers[server].tools) is not None and tool not in only:
            problem = f"{reference!r} is not among the server's tools; {nearest(tool, list(only))}"
        else:
            return
        raise self._wrong(("agents", agent, "tools"), f"agent {agent!r}, tools: {problem}", reference)

    def _wrong(self, at: tuple[str, ...], problem: str, entry: str | None = None) -> ConfigurationError:
        """`entry`: of a list that goes over several lines, the entry that is meant."""
        line = line_of(self._text, *at)
        if entry:
            rest = self._text.splitlines()[line - 1 :]
            line += next((i for i, one in enumerate(rest) if f'"{entry}"' in one or f"'{entry}'" in one), 0)
        return ConfigurationError(f"AGENTS_FILE {self._path}, line {line}, {problem}.")


_REMEDIES: Final = {
    "string_type": "write text, in quotes",
    "int_type": "write a whole number, such as 6",
    "float_type": "write a number of seconds, such as 10",
    "tuple_type": 'write a list, such as ["calculator"]',
    "dict_type": 'write a table, such as { NAME = "value" }',
    "greater_than_equal": "write a number of at least 1",
    "greater_than": "write a number above 0",
}


def _with_schema(agent: AgentConfig, folder: Path) -> AgentConfig:
    """With the schema of its schema file, if it has one. Raises OSError, ValueError."""
    if agent.output_schema_file is None:
        return agent
    path = folder / agent.output_schema_file.expanduser()
    schema = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(schema, dict):
        raise ValueError("it holds no object")  # noqa: TRY004  a fault of the file, as the others
    return agent.model_copy(update={"output_schema": _schema(schema), "output_schema_file": path})


def _with_prompt(agent: AgentConfig, folder: Path) -> AgentConfig:
    """With the text of its prompt file, if it has one. Raises OSError, UnicodeDecodeError."""
    if agent.prompt_file is None:
        return agent
    path = folder / agent.prompt_file.expanduser()
    return agent.model_copy(update={"prompt": path.read_text(encoding="utf-8"), "prompt_file": path})
