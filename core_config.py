"""Settings and the model registry: the only module that reads the environment and `.env`; imports nothing of ours."""

import ipaddress
import os
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

VERSION = "0.1.0"
ROOT = Path(__file__).resolve().parent

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
DEFAULT_SIMULATOR_PORT = 8010


class ConfigurationError(Exception):
    """A setting that cannot work. The message names the key, the value and the remedy; it never holds a secret."""


class Settings(BaseSettings):
    """Every setting, from the environment first and `.env` second. An empty value counts as not set."""

    model_config = SettingsConfigDict(
        env_file=ROOT / ".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
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
    chat_timeout_seconds: float = Field(60, gt=0, description="How long `POST /chat` waits before it answers 504.")
    max_message_chars: int = Field(32_000, ge=1, description="Longest message that a task may have.")
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
    max_retries: int = Field(3, ge=0, description="Retries of a task whose attempts fail in passing.")
    max_crashes: int = Field(3, ge=1, description="Workers that a task may take down before it is a dead letter.")
    attempt_timeout_seconds: float = Field(
        120,
        gt=0,
        validation_alias=AliasChoices("ATTEMPT_TIMEOUT_SECONDS", "AGENT_TIMEOUT_SECONDS"),
        description="Longest run of one attempt. AGENT_TIMEOUT_SECONDS is an older name for it.",
    )
    result_ttl_seconds: int = Field(3600, ge=1, description="How long a finished task can be read.")
    dead_ttl_seconds: int = Field(604_800, ge=1, description="How long a dead letter is kept for a replay.")
    session_ttl_seconds: int = Field(604_800, ge=1, description="How long a session lives after its last task.")
    usage_ttl_days: int = Field(90, ge=1, description="Days that the daily totals of tokens and cost are kept.")

    active_model_key: str | None = Field(
        None,
        description="Model of the registry that tasks use unless they name one. Unset: the first whose key is set, "
        "else the Simulator.",
    )
    models_file: Path | None = Field(None, description="TOML file that adds to the model registry or overrides it.")
    agent_max_iterations: int = Field(10, ge=1, description="Model calls that one task may make.")
    max_tokens_per_request: int = Field(4000, ge=1, description="Most tokens that one model call may answer with.")
    model_timeout_seconds: float = Field(60, gt=0, description="Longest single model call, inside the attempt.")
    tool_timeout_seconds: float = Field(30, gt=0, description="Longest single tool call, inside the attempt.")
    agent_timezone: str | None = Field(
        None, description="Time zone of the get_time tool, such as Asia/Shanghai. Unset: the machine's."
    )
    searxng_url: str | None = Field(None, description="SearXNG server of the search tool, with JSON answers enabled.")
    tavily_api_key: SecretStr | None = Field(None, description="Tavily key of the search tool.")

    simulator_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of the simulated model. Unset: `manage.py start` takes a free one; "
        f"a process started by hand uses {DEFAULT_SIMULATOR_PORT}.",
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

    var_dir: Path = Field(Path("var"), description="Where pid files, logs and the private Redis's data live.")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR.")

    @field_validator("var_dir", "models_file", "api_keys_file")
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

    @cached_property
    def redis_address(self) -> str:
        """The Redis of a process that was started by hand or got REDIS_URL from `manage.py start`."""
        return self.redis_url or DEFAULT_REDIS_URL

    @property
    def has_api_keys(self) -> bool:
        return self.api_keys is not None or self.api_keys_file is not None

    @property
    def gateway_is_local(self) -> bool:
        return is_loopback(self.gateway_host)


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
