"""Settings and the model registry: the only module that reads the environment and `.env`; imports nothing of ours."""

import difflib
import ipaddress
import os
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

VERSION = "0.1.0"
ROOT = Path(__file__).resolve().parent
ENV_FILE = ROOT / ".env"

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
DEFAULT_SIMULATOR_PORT = 8010


class ConfigurationError(Exception):
    """A setting that cannot work. The message names the key, the value and the remedy; it never holds a secret."""


class Settings(BaseSettings):
    """Every setting, from the environment first and `.env` second. An empty value counts as not set."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE, env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )

    redis_url: str | None = Field(
        None,
        description="Redis to use. Unset, `manage.py start` runs a private one under VAR_DIR; "
        f"a process started by hand then uses {DEFAULT_REDIS_URL}.",
    )
    key_prefix: str = Field("lh:", description="Starts every Redis key; separates deployments that share a Redis.")

    gateway_host: str = Field("127.0.0.1", description="Address that the gateway listens on.")
    gateway_port: int = Field(8000, ge=1, le=65535, description="Port that the gateway listens on.")
    gateway_processes: int = Field(1, ge=1, description="Gateway processes that `manage.py start` runs.")
    api_keys: str | None = Field(
        None,
        description="Who may call: `name:<sha256 hex>[:admin],…`, made by `manage.py keys new NAME`. "
        "Unset, only loopback is served and the one caller is `local`.",
    )
    api_keys_file: Path | None = Field(None, description="File with one such entry a line, read again when it changes.")
    cors_origins: str | None = Field(
        None,
        description="Web pages of other origins that may call from a browser, each exactly: "
        "`https://app.example.com,…`; not `*`. Unset: none.",
    )
    stream_keepalive_seconds: float = Field(
        15, gt=0, description="After how long a silent event stream says that it is still there."
    )
    watch_token_seconds: float = Field(300, ge=1, description="How long a watch token lets a browser connect.")
    chat_timeout_seconds: float = Field(60, gt=0, description="How long `POST /chat` waits before it answers 504.")
    max_message_chars: int = Field(32_000, ge=1, description="Longest message that a task may have.")
    max_input_bytes: int = Field(65_536, ge=2, description="Largest JSON that a task's `input` may be.")
    max_body_bytes: int = Field(262_144, ge=1024, description="Largest HTTP body that the gateway reads.")
    queue_max_depth: int = Field(
        100_000, ge=1, description="Most tasks that may wait; past it a submit answers 429 and writes nothing."
    )

    worker_processes: int = Field(1, ge=1, description="Worker processes that `manage.py start` runs.")
    worker_concurrency: int = Field(
        50, ge=1, description="Tasks at once in one worker process; interactive ones may use a tenth more."
    )
    lease_seconds: float = Field(
        5, ge=1, description="How long a worker may be silent before its tasks are given to another."
    )
    loop_stall_seconds: float = Field(
        30, gt=0, description="A worker whose event loop has not moved for this long stops renewing its leases."
    )
    drain_seconds: float = Field(25, ge=0, description="How long a stopping worker lets its running tasks finish.")
    worker_metrics_host: str = Field("127.0.0.1", description="Address of the workers' metrics page.")
    worker_metrics_port: int = Field(
        9808, ge=0, le=65535, description="Port of the workers' metrics page; 0 for none: docs/metrics.md."
    )
    max_retries: int = Field(3, ge=0, description="Retries of a task whose attempts fail in passing.")
    max_crashes: int = Field(3, ge=1, description="Workers that may die with a task before it is a dead letter.")
    attempt_timeout_seconds: float = Field(
        120,
        gt=0,
        validation_alias=AliasChoices("ATTEMPT_TIMEOUT_SECONDS", "AGENT_TIMEOUT_SECONDS"),
        description="Longest run of one attempt. AGENT_TIMEOUT_SECONDS is an older name for it.",
    )
    result_ttl_seconds: int = Field(3600, ge=1, description="How long a finished task can be read.")
    dead_ttl_seconds: int = Field(604_800, ge=1, description="How long a dead letter is kept for a replay.")
    session_ttl_seconds: int = Field(604_800, ge=1, description="How long a session lives after its last task.")
    session_max_turns: int = Field(50, ge=1, description="Most turns that a session remembers.")
    session_max_tokens: int = Field(
        16_000, ge=0, description="Most tokens of a session's earlier turns that a run is given: docs/sessions.md."
    )
    usage_ttl_days: int = Field(90, ge=1, description="Days that the daily totals of tokens and cost are kept.")

    active_model_key: str | None = Field(
        None,
        description="Model of the registry that tasks use unless they name one. Unset: the first whose key is set, "
        "else the Simulator.",
    )
    models_file: Path | None = Field(None, description="TOML file that adds to the model registry or overrides it.")
    agents_file: Path | None = Field(None, description="TOML file that names agents of your own and their tools.")
    agent_max_iterations: int = Field(10, ge=1, description="Model calls that one task may make.")
    max_tokens_per_request: int = Field(4000, ge=1, description="Most tokens that one model call may answer with.")
    model_timeout_seconds: float = Field(60, gt=0, description="Longest single model call, inside the attempt.")
    tool_timeout_seconds: float = Field(30, gt=0, description="Longest single tool call, inside the attempt.")
    agent_timezone: str | None = Field(
        None, description="Time zone of the get_time tool, such as Asia/Shanghai. Unset: the machine's."
    )
    searxng_url: str | None = Field(None, description="SearXNG server of the search tool, with JSON answers enabled.")
    tavily_api_key: SecretStr | None = Field(None, description="Tavily key of the search tool.")
    fetch_enabled: bool = Field(
        False, description="Gives agents the fetch tool, which reads public web pages that users and models name."
    )
    fetch_allow_http: bool = Field(False, description="Lets fetch read http:// addresses too, not only https://.")
    fetch_allow_hosts: str | None = Field(
        None,
        description="Hosts of your own that fetch may read although they are private, as `host[:port],…`; over http "
        "too. Everybody who may submit a task can read them.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="Database of the database tool, read only: sqlite:///file under the project, sqlite:////absolute "
        "path or postgresql://user:password@host/name. Everybody who may submit a task can read what it can.",
    )
    database_timeout_seconds: float = Field(5, gt=0, description="Longest query of the database tool.")
    database_max_rows: int = Field(100, ge=1, description="Most rows that one query of the database tool answers.")

    simulator_host: str = Field(
        "127.0.0.1", description="Host of the simulated model; `manage.py start` runs its own on this machine."
    )
    simulator_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of the simulated model. Unset: `manage.py start` takes a free one; "
        f"a process started by hand uses {DEFAULT_SIMULATOR_PORT}.",
    )
    simulator_options: str | None = Field(
        None,
        description="Options of the simulated model that `manage.py start` runs, such as `--latency lognormal:0.8:4 "
        "--rpm 600`: docs/simulator.md.",
    )

    langfuse_public_key: str | None = Field(
        None, description="Langfuse public key; with the secret one, traces are on."
    )
    langfuse_secret_key: SecretStr | None = Field(None, description="Langfuse secret key.")
    langfuse_host: str = Field(
        "https://cloud.langfuse.com",
        validation_alias=AliasChoices("LANGFUSE_HOST", "LANGFUSE_BASE_URL"),
        description="Langfuse server. LANGFUSE_BASE_URL is another name for it.",
    )
    langfuse_sample_rate: float = Field(
        1.0, ge=0, le=1, description="Share of the tasks that are traced, 0 to 1, wherever their traces go."
    )
    trace_content: Literal["on", "off"] = Field(
        "on", description="off: traces hold no inputs, outputs, arguments, metadata and error texts; all else stays."
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/\s]+\S*$",
        description="Any OTLP backend (HTTP) that traces go to, beside Langfuse or alone, such as "
        "http://127.0.0.1:4318; /v1/traces is added.",
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None, description="Headers for that backend: `name=value,name=value`, values percent-encoded."
    )
    trace_url: str | None = Field(
        None,
        pattern=r"^https?://[^/\s]+\S*\{trace_id\}",
        description="Where people see a trace, as a task's trace_url says it, such as "
        "https://grafana.example.com/trace/{trace_id}. Unset: Langfuse's page, if its keys are set.",
    )

    grafana_url: str | None = Field(None, description="Grafana that monitoring/import_dashboard.py writes to.")
    grafana_token: SecretStr | None = Field(None, description="Token of a Grafana service account.")
    grafana_user: str | None = Field(None, description="Grafana user, where there is no token.")
    grafana_password: SecretStr | None = Field(None, description="Password of that user.")
    prometheus_url: str = Field("http://127.0.0.1:9090", description="Where Grafana reaches Prometheus.")

    var_dir: Path = Field(Path("var"), description="Where pid files, logs and the private Redis's data live.")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: str = Field(
        "line", pattern="^(line|json)$", description="line, for people, or json, one object a line: docs/logs.md."
    )
    log_content: bool = Field(
        False,
        description="Lets the log hold what people ask and models answer: the beginnings of both when a task ends, and "
        "the DEBUG lines of libraries.",
    )

    @field_validator("var_dir", "models_file", "agents_file", "api_keys_file")
    @classmethod
    def _from_root(cls, path: Path | None) -> Path | None:
        """A relative path is relative to the project, so that it means the same from every directory."""
        return None if path is None else ROOT / path.expanduser()

    @field_validator("agent_timezone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError(f"no time zone is called {name!r}; use a name such as Europe/Berlin") from None
        return name

    @field_validator("fetch_allow_hosts")
    @classmethod
    def _readable_hosts(cls, text: str | None) -> str | None:
        for entry in (text or "").split(","):
            if entry.strip() and not _HOST_AND_PORT.fullmatch(entry.strip()):
                raise ValueError(
                    f"{entry.strip()!r} is no host or host:port; write names or addresses without http://, "
                    "IPv6 in brackets, separated by commas"
                )
        return text

    @field_validator("otel_exporter_otlp_headers")
    @classmethod
    def _named_headers(cls, given: SecretStr | None) -> SecretStr | None:
        for number, entry in enumerate((given.get_secret_value() if given else "").split(","), 1):
            if entry.strip() and not re.fullmatch(r"\s*[\w-]+\s*=.*", entry):
                raise ValueError(
                    f"entry {number} is no name=value; write name=value,name=value, values percent-encoded"
                )
        return given

    @cached_property
    def otlp_headers(self) -> dict[str, str]:
        """OTEL_EXPORTER_OTLP_HEADERS by name, in lower case."""
        given = self.otel_exporter_otlp_headers
        entries = (entry.partition("=") for entry in (given.get_secret_value() if given else "").split(","))
        return {name.strip().lower(): unquote(value.strip()) for name, _, value in entries if name.strip()}

    @cached_property
    def trusted_fetch_hosts(self) -> frozenset[tuple[str, int | None]]:
        """FETCH_ALLOW_HOSTS as (host in lower case without brackets, port or None for 80 and 443)."""
        entries = [_HOST_AND_PORT.fullmatch(entry.strip()) for entry in (self.fetch_allow_hosts or "").split(",")]
        return frozenset(
            (entry["host"].strip("[]").lower(), int(entry["port"]) if entry["port"] else None)
            for entry in entries
            if entry
        )

    @property
    def redis_address(self) -> str:
        """The Redis of a process that was started by hand or got REDIS_URL from `manage.py start`."""
        return self.redis_url or DEFAULT_REDIS_URL

    @property
    def has_api_keys(self) -> bool:
        return self.api_keys is not None or self.api_keys_file is not None

    @property
    def gateway_is_local(self) -> bool:
        return is_loopback(self.gateway_host)


_HOST_AND_PORT = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>\d{1,5}))?")


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address) can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def keep_loopback_off_proxies() -> None:
    """Adds loopback to NO_PROXY of this process and its children: no HTTP client sends it through a proxy then."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host.strip()]
        missing = [host for host in ("127.0.0.1", "localhost", "::1") if host not in hosts]
        os.environ[name] = ",".join(hosts + missing)


# The model registry: which models there are, how LiteLLM calls them, what they cost, where their keys are.


class ModelConfig(BaseModel):
    """One model of the registry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    litellm_id: str = Field(pattern=r"^[\w.-]+/\S+$", description="Provider and model, as LiteLLM writes them.")
    price_in: float | None = Field(None, ge=0, description="USD per 1,000 prompt tokens. Unset: LiteLLM's own table.")
    price_out: float | None = Field(None, ge=0, description="USD per 1,000 answered tokens.")
    max_tokens_limit: int = Field(4096, ge=1, description="Most tokens that this model can answer with.")
    api_key_env: str | None = Field(None, description="Variable that holds the key. Unset: it needs none.")
    base_url: str | None = Field(None, pattern=r"^https?://[^/\s]+\S*$", description="Unset: the provider's own.")
    params: dict[str, Any] = Field(default_factory=dict, description="More fields of each request.")
    max_concurrency: int | None = Field(None, ge=1, description="Tasks that may run on this model at once.")
    rpm: int | None = Field(None, ge=1, description="Requests a minute that this model's account allows.")
    fallbacks: tuple[str, ...] = Field((), description="Models to try in turn when this one fails: docs/limits.md.")
    cooldown: bool = Field(True, description="Whether no task is started on it for a time while it fails.")
    simulated: bool = Field(False, description="Answers are made up: every one says so.")

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("set price_in and price_out together, or neither")
        if taken := sorted(_NOT_PARAMS & self.params.keys()):
            raise ValueError(f"params may not hold {', '.join(taken)}: Longhaul sets that itself")
        return self

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """USD by the registry's own prices; None when it has none."""
        if self.price_in is None or self.price_out is None:
            return None
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1000


_NOT_PARAMS = {"api_base", "api_key", "base_url", "client", "max_completion_tokens", "max_retries", "max_tokens"}
_NOT_PARAMS |= {"messages", "model", "n", "num_retries", "request_timeout", "stream", "timeout", "tools"}
SIMULATOR = "Simulator"

# Without ACTIVE_MODEL_KEY the first entry whose key is set is active, so the order is a preference. What is not
# said here (prices with their tiers, cached tokens, off-peak hours) is LiteLLM's table's.
MODEL_REGISTRY: dict[str, ModelConfig] = {
    "DeepSeek-V3": ModelConfig(  # the name stays, the model is what DeepSeek serves now; it thinks unless told not to
        litellm_id="deepseek/deepseek-flash",
        api_key_env="DEEPSEEK_API_KEY",
        max_tokens_limit=393_216,
        params={"thinking": {"type": "disabled"}},
        max_concurrency=50,
    ),
    "Qwen-Max": ModelConfig(  # keys of the international site: base_url https://dashscope-intl.aliyuncs.com/compatible-mode/v1
        litellm_id="dashscope/qwen-max",
        api_key_env="DASHSCOPE_API_KEY",
        base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
        max_tokens_limit=8192,
        max_concurrency=20,
    ),
    "GPT": ModelConfig(
        litellm_id="openai/gpt-6.1-sol", api_key_env="OPENAI_API_KEY", max_tokens_limit=128_000, max_concurrency=20
    ),
    "GPT-Small": ModelConfig(
        litellm_id="openai/gpt-6-luna", api_key_env="OPENAI_API_KEY", max_tokens_limit=128_000, max_concurrency=50
    ),
    "Claude": ModelConfig(
        litellm_id="anthropic/claude-sonnet-5-5",
        api_key_env="ANTHROPIC_API_KEY",
        max_tokens_limit=128_000,
        max_concurrency=20,
    ),
    "Claude-Small": ModelConfig(
        litellm_id="anthropic/claude-haiku-5-5",
        api_key_env="ANTHROPIC_API_KEY",
        max_tokens_limit=128_000,
        max_concurrency=50,
    ),
    # Any OpenAI-compatible server: this is Ollama's port; vLLM's is 8000. Override in MODELS_FILE.
    "Local": ModelConfig(litellm_id="openai/qwen3", base_url="http://127.0.0.1:11434/v1", max_concurrency=4),
    SIMULATOR: ModelConfig(  # base_url follows SIMULATOR_HOST and SIMULATOR_PORT, in load_registry
        litellm_id="openai/simulator",
        price_in=0.0,
        price_out=0.0,
        max_tokens_limit=8192,
        simulated=True,
        cooldown=False,  # its failures were asked for, by one task's message: they say nothing of the next task
    ),
}


def load_registry(settings: Settings | None = None) -> dict[str, ModelConfig]:
    """The shipped entries, with MODELS_FILE's over them. Raises ConfigurationError. Read it once, at start."""
    settings = settings or Settings()
    address = f"{settings.simulator_host}:{settings.simulator_port or DEFAULT_SIMULATOR_PORT}"
    registry = dict(MODEL_REGISTRY)
    registry[SIMULATOR] = registry[SIMULATOR].model_copy(update={"base_url": f"http://{address}/v1"})
    if settings.models_file is not None:
        registry |= _read_models_file(settings.models_file, registry)
    for name, model in registry.items():
        if strangers := [key for key in model.fallbacks if key not in registry]:
            raise ConfigurationError(
                f"model {name!r} falls back to {strangers[0]!r}, {_not_in(registry, strangers[0])}"
            )
    return registry


def read_toml(where: str, path: Path) -> tuple[str, dict[str, Any]]:
    """The file as text and as what it says. `where` begins the message of the ConfigurationError that it may raise."""
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{where} cannot be read ({error.strerror}). Correct the path or unset it.") from None
    except ValueError as error:  # bad TOML (which says its line) or bad UTF-8
        raise ConfigurationError(f"{where} is not valid TOML: {error}.") from None


def _read_models_file(path: Path, shipped: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
    """Each table is a model: `[name]`, then fields of ModelConfig. A shipped model's other fields stay."""
    where = f"MODELS_FILE {path}"
    text, tables = read_toml(where, path)
    models: dict[str, ModelConfig] = {}
    for name, fields in tables.items():
        if not isinstance(fields, dict):
            raise ConfigurationError(
                f"{where}, line {line_of(text, name)}: {name!r} stands outside a table. "
                "Put a model's fields under its name: [My-Model]."
            )
        known = shipped[name].model_dump(exclude_unset=True) if name in shipped else {}
        try:
            models[name] = ModelConfig.model_validate(known | fields)
        except ValidationError as error:
            # A mistyped name before the field that it leaves missing.
            first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
            key = str(first["loc"][0]) if first["loc"] else ""
            problem = first["msg"].removeprefix("Value error, ")
            if first["type"] == "extra_forbidden":
                problem = f"there is no such field; {nearest(key, list(ModelConfig.model_fields))}"
            line = line_of(text, name, key)
            raise ConfigurationError(f"{where}, line {line}, model {name!r}, {key or 'fields'}: {problem}.") from None
    return models


_KEY = r"""(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEYS = re.compile(rf"\s*(?P<table>\[{{0,2}})\s*(?P<keys>{_KEY}(?:\s*\.\s*{_KEY})*)\s*[]=]")


def line_of(text: str, *path: str) -> int:
    """The line of a valid TOML `text` that names the last of `path` (tables, then a key), else the nearest that holds
    it: tomllib keeps no lines.
    """
    best, depth = 1, 0
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if found := _KEYS.match(line):
            named = [key.strip("\"'") for key in re.findall(_KEY, found["keys"])]
            here = named if found["table"] else [*table, *named]
            table = named if found["table"] else table
            common = next(n for n in range(min(len(here), len(path)), -1, -1) if tuple(here[:n]) == path[:n])
            if common > depth:
                best, depth = number, common
    return best


def nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), [one.lower() for one in known], 1, 0.5)
    guess = next((one for one in known if near and one.lower() == near[0]), None)
    return (f"did you mean {guess!r}? " if guess else "") + f"Known: {', '.join(known)}"


def _not_in(registry: dict[str, ModelConfig], name: str) -> str:
    return f"which is no model of the registry; {nearest(name, list(registry))}."


def resolve_active_model(settings: Settings | None = None) -> str:
    """The key of the model that tasks use unless they name one. Raises ConfigurationError when there is none."""
    settings = settings or Settings()
    registry = load_registry(settings)
    if (name := settings.active_model_key) is not None:
        if name not in registry:
            raise ConfigurationError(f"ACTIVE_MODEL_KEY is {name!r}, {_not_in(registry, name)}")
        variable = registry[name].api_key_env
        if variable and api_key_of(registry[name]) is None:
            raise ConfigurationError(
                f"ACTIVE_MODEL_KEY is {name!r}, but {variable} holds no key. Set {variable} in the environment or "
                f".env, or choose another model (ACTIVE_MODEL_KEY={SIMULATOR} needs no key)."
            )
        return name
    for name, model in registry.items():
        if model.api_key_env and api_key_of(model) is not None:
            return name
    if settings.has_api_keys or not settings.gateway_is_local:
        variables = dict.fromkeys(model.api_key_env for model in registry.values() if model.api_key_env)
        raise ConfigurationError(
            f"No model has a key, and with API_KEYS or GATEWAY_HOST={settings.gateway_host} the Simulator is not "
            f"taken unasked. Set one of {', '.join(variables)}, or ACTIVE_MODEL_KEY={SIMULATOR}."
        )
    return SIMULATOR


_PLACEHOLDER = re.compile(
    r"(sk-|key-)?(x{3,}[-x]*|\.{3,}|…|\*{3,}|0{6,}|1234(56)?)|<.*>|\$?\{.*\}|(change|replace)[-_ ]?me.*|to-?do|none"
    r"|null|(sk-)?(ant-)?(your|my|insert|enter|put)[-_ ].*|placeholder.*|example.*|.*[-_]here",
    re.IGNORECASE,
)


def variable(name: str) -> str:
    """The value of any variable, from the environment first and `.env` second; empty when it is not set."""
    value = os.environ.get(name, "").strip()
    if not value and ENV_FILE.is_file():
        value = (dotenv_values(ENV_FILE, encoding="utf-8").get(name) or "").strip()
    return value


def api_key_of(model: ModelConfig) -> str | None:
    """The key of a model, from the environment first and `.env` second; None when unset or a placeholder."""
    value = variable(model.api_key_env) if model.api_key_env else ""
    return None if not value or _PLACEHOLDER.fullmatch(value) else value


def _model(key: str | None, settings: Settings | None) -> ModelConfig:
    settings = settings or Settings()
    registry = load_registry(settings)
    key = key or resolve_active_model(settings)
    if key not in registry:
        raise ConfigurationError(f"You asked for {key!r}, {_not_in(registry, key)}")
    return registry[key]


# Each reads settings and registry anew: for commands and start-up. A process that calls models keeps load_registry's.


def get_active_config(settings: Settings | None = None) -> ModelConfig:
    return _model(None, settings)


def get_litellm_id(key: str | None = None, settings: Settings | None = None) -> str:
    return _model(key, settings).litellm_id


def get_api_key(key: str | None = None, settings: Settings | None = None) -> str | None:
    return api_key_of(_model(key, settings))


def get_base_url(key: str | None = None, settings: Settings | None = None) -> str | None:
    return _model(key, settings).base_url


def get_model_list(settings: Settings | None = None) -> list[str]:
    return list(load_registry(settings))


def estimate_cost(
    prompt_tokens: int, completion_tokens: int, key: str | None = None, settings: Settings | None = None
) -> float | None:
    """USD by the registry's prices; None for a model whose price is LiteLLM's, told by each response."""
    return _model(key, settings).cost(prompt_tokens, completion_tokens)
