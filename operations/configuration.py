"""Settings as the operator's commands read them: what is wrong with one is told as key, value and remedy."""

import contextlib
import difflib
import hashlib
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dotenv import dotenv_values
from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic_settings import BaseSettings

from agent.database_file import database_file
from agents_config import load_agents
from core_config import ROOT, ConfigurationError, Settings, resolve_active_model
from operations.errors import CommandError


def load() -> Settings:
    """The settings of the environment and `.env`. CommandError: each bad key, its value unless secret, why."""
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(_problem(str(found["loc"][0]), found["input"], found["msg"]) for found in error.errors())
    except UnicodeDecodeError:
        problems = f"{ROOT / '.env'} is not UTF-8 text"
    raise CommandError(f"{problems}. Correct it in the environment or in {ROOT / '.env'}.")


def with_defaults() -> Settings:
    """The settings with the default in the place of each that cannot be, so that one bad value hides nothing else."""
    try:
        return Settings()
    except UnicodeDecodeError:
        return Settings(_env_file=None)
    except ValidationError as error:
        given = {}
        for found in error.errors():
            location = str(found["loc"][0]).upper()
            field, names = next(
                (field, names) for field, names in variable_names().items() if location in (field.upper(), *names)
            )
            about = Settings.model_fields[field]
            given[names[0] if about.validation_alias else field] = about.default
        return Settings(**given)


def variable_names() -> dict[str, tuple[str, ...]]:
    """By field, the environment variables that set it, the documented one first."""
    names = {}
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [field.upper()]
        names[field] = tuple(str(choice) for choice in choices)
    return names


def misspelt() -> list[str]:
    """A warning for each name in `.env` that is no setting but nearly one. Others may be a provider's: no word."""
    known = [name for names in variable_names().values() for name in names]
    env_file = ROOT / ".env"
    warnings = []
    for name in dotenv_values(env_file) if env_file.exists() else {}:
        near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.85)
        if near and name.upper() not in known:
            warnings.append(f"{env_file} sets {name}, which is no setting; did you mean {near[0]}?")
    return warnings


def check(settings: Settings) -> None:
    """CommandError when these settings cannot work together, before anything is started."""
    for one in (check_callers, check_cors, check_database, check_simulator, active_model, check_agents):
        one(settings)


def check_callers(settings: Settings) -> None:
    """CommandError when everybody could call, or nobody."""
    if not settings.gateway_is_local and not settings.has_api_keys:
        raise CommandError(
            f"GATEWAY_HOST={settings.gateway_host} is open to others and there are no API keys, so anybody could use "
            "it. Make a key (manage.py keys new NAME) and set API_KEYS, or leave GATEWAY_HOST at 127.0.0.1."
        )
    if settings.has_api_keys:
        from gateway.auth import KeyRing  # noqa: PLC0415 not a part of every command's start-up

        with _told():
            KeyRing(settings)


def check_cors(settings: Settings) -> None:
    if settings.cors_origins:
        from gateway.cors import options_of  # noqa: PLC0415 as above

        with _told():
            options_of(settings)


def check_database(settings: Settings) -> None:
    with _told():
        database_file(settings)


def check_simulator(settings: Settings) -> None:
    """CommandError when the simulated model would not start with its options: it is asked itself."""
    given = settings.simulator_options
    if given is None:
        return
    try:
        options = shlex.split(given)
    except ValueError as error:
        raise CommandError(f"SIMULATOR_OPTIONS={given}: {error}. Close the quotation.") from None
    command = [sys.executable, "-m", "loadtest.simulator", "--check", *options]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if asked.returncode != 0:
        reason = asked.stderr.strip().rpartition("error: ")[2]
        raise CommandError(f"SIMULATOR_OPTIONS={given}: {reason}. docs/simulator.md has the options.")


def check_agents(settings: Settings) -> None:
    """CommandError when AGENTS_FILE cannot be used as a whole. What only a worker can find out makes one agent
    unavailable, and the others run.
    """
    with _told():
        load_agents(settings)


def active_model(settings: Settings) -> str:
    with _told():
        return resolve_active_model(settings)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        raise CommandError(str(error)) from None


def redis_source(settings: Settings) -> str | None:
    """Tells whether two settings mean the same Redis: None for the private one, else a hash of its address."""
    return None if settings.redis_url is None else hashlib.sha256(settings.redis_url.encode()).hexdigest()


def gateway_url(settings: Settings) -> str:
    """Where this machine reaches the gateway."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.gateway_host, settings.gateway_host)  # noqa: S104 compared, not bound
    host = host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.gateway_port}"


class _Place(BaseSettings):
    """VAR_DIR alone, so that a bad value elsewhere keeps nobody from `stop` and `logs`."""

    model_config = Settings.model_config
    var_dir: Path = Path("var")


def var_dir() -> Path:
    return ROOT / _Place().var_dir.expanduser()


def _problem(location: str, value: object, message: str) -> str:
    field = next((name for name, names in variable_names().items() if location.upper() in (name.upper(), *names)), "")
    shown = location.upper() if not field else variable_names()[field][0]
    info = Settings.model_fields.get(field)
    secret = info is None or SecretStr in getattr(info.annotation, "__args__", ()) or field in ("redis_url", "api_keys")
    return f"{shown}{'' if secret else f'={value}'}: {message.removeprefix('Value error, ')}"
