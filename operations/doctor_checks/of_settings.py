"""The settings and the files that they name: what `start` would refuse, and what works and is hardly meant."""

import os
from collections.abc import Iterator

from dotenv import dotenv_values

from core_config import (
    ENV_FILE,
    MODEL_REGISTRY,
    ConfigurationError,
    ModelConfig,
    Settings,
    api_key_of,
    load_registry,
    variable,
)
from operations import configuration
from operations.doctor_checks.finding import Check, Finding, ok, refused, warning
from operations.doctor_checks.situation import Situation
from operations.errors import CommandError
from operations.providers import provider_of


def find(situation: Situation) -> Iterator[Finding]:
    settings = situation.settings
    try:
        yield from _names(settings)
    except UnicodeDecodeError:
        return  # `settings` says so, and what it would set nobody knows
    try:
        registry = load_registry(settings)
    except ConfigurationError as error:
        yield refused(Check.MODELS_FILE, CommandError(str(error)), "Correct that line, or unset MODELS_FILE.")
        registry = MODEL_REGISTRY
    else:
        yield ok(Check.MODELS_FILE, f"{len(registry)} models; {_source('MODELS_FILE', settings.models_file)}")
        yield _active_model(settings, registry)
    yield from _provider_keys(registry)
    yield _agents_file(settings)
    yield _callers(settings)
    yield _held(
        Check.CORS, settings, settings.cors_origins or "CORS_ORIGINS is not set: no page of another origin may call"
    )
    yield _held(
        Check.DATABASE,
        settings,
        "DATABASE_URL is an address that can be" if settings.database_url else "DATABASE_URL is not set: no such tool",
    )


def _names(settings: Settings) -> Iterator[Finding]:
    """What is written under a name or in a place where it does nothing."""
    wrong, hidden = configuration.misspelt(), _shadowed(settings)
    for text in wrong:
        says, _, guess = text.partition("; ")
        yield warning(Check.MISSPELT, says, f"{guess[:1].upper()}{guess[1:]} Correct the name: until then it is unset.")
    if not wrong:
        yield ok(Check.MISSPELT, f"no name in {ENV_FILE.name} is nearly a setting's")
    if hidden:
        yield warning(
            Check.SHADOWED,
            f"the environment and {ENV_FILE.name} set {', '.join(hidden)} differently, and the environment wins",
            f"unset {' '.join(hidden)} in this shell, or take it out of {ENV_FILE.name}.",
        )
    else:
        yield ok(Check.SHADOWED, f"the environment contradicts nothing in {ENV_FILE.name}")


def _shadowed(settings: Settings) -> list[str]:
    """Names of ours, and of the providers' keys, with one value in the environment and another in `.env`."""
    if not ENV_FILE.is_file():
        return []
    names = {name for names in configuration.variable_names().values() for name in names}
    names |= set(_by_variable(_registry(settings)))
    written = dotenv_values(ENV_FILE, encoding="utf-8")
    return sorted(name for name in names if written.get(name) and os.environ.get(name, written[name]) != written[name])


def _registry(settings: Settings) -> dict[str, ModelConfig]:
    try:
        return load_registry(settings)
    except ConfigurationError:
        return MODEL_REGISTRY


def _by_variable(registry: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
    """By the variable that holds a key, the first model that needs it."""
    found: dict[str, ModelConfig] = {}
    for model in registry.values():
        if model.api_key_env:
            found.setdefault(model.api_key_env, model)
    return found


def _active_model(settings: Settings, registry: dict[str, ModelConfig]) -> Finding:
    try:
        name = configuration.active_model(settings)
    except CommandError as error:
        return refused(Check.ACTIVE_MODEL, error, "python3 manage.py models lists the names.")
    if not registry[name].simulated:
        return ok(Check.ACTIVE_MODEL, name)
    if settings.active_model_key:
        return ok(Check.ACTIVE_MODEL, f"{name}, chosen by ACTIVE_MODEL_KEY: answers are made up")
    return warning(
        Check.ACTIVE_MODEL,
        f"{name}, because no provider's key is set: answers are made up by a program",
        f"set {next(iter(_by_variable(registry)), 'a key')} or another provider's key; or ACTIVE_MODEL_KEY={name} to "
        "say that it is meant.",
    )


def _provider_keys(registry: dict[str, ModelConfig]) -> Iterator[Finding]:
    """Whether there are any, not whether the providers take them: that costs a call each (`models test`)."""
    held = []
    for name, model in _by_variable(registry).items():
        if api_key_of(model) is not None:
            held.append(name)
        elif variable(name):
            provider = provider_of(model)
            where = f" Keys are made at {provider.keys}." if provider else ""
            yield warning(
                Check.PROVIDER_KEYS,
                f"{name} holds a placeholder, which counts as none",
                f"Set the key, or unset it.{where}",
            )
    if held:
        yield ok(Check.PROVIDER_KEYS, f"{', '.join(held)} set; python3 manage.py models test tries them")
    else:
        yield ok(Check.PROVIDER_KEYS, "none is set")


def _agents_file(settings: Settings) -> Finding:
    try:
        configuration.check_agents(settings)
    except CommandError as error:
        return refused(Check.AGENTS_FILE, error, "Correct that line, or unset AGENTS_FILE.")
    return ok(Check.AGENTS_FILE, _source("AGENTS_FILE", settings.agents_file))


def _source(name: str, path: object) -> str:
    return f"{name} is not set" if path is None else f"{name} {path}"


def _callers(settings: Settings) -> Finding:
    try:
        configuration.check_callers(settings)
    except CommandError as error:
        return refused(Check.CALLERS, error, "python3 manage.py keys new NAME makes a right one.")
    if not settings.has_api_keys:
        return ok(Check.CALLERS, f"no keys: GATEWAY_HOST={settings.gateway_host} serves this machine only")
    from gateway.auth import KeyRing  # noqa: PLC0415 not a part of every command's start-up

    callers = KeyRing(settings).callers
    admins = sum(caller.admin for caller in callers)
    return ok(
        Check.CALLERS,
        f"{len(callers)} keys of {len({caller.name for caller in callers})} callers, {admins} of an admin",
    )


def _held(check: Check, settings: Settings, says: str) -> Finding:
    try:
        {Check.CORS: configuration.check_cors, Check.DATABASE: configuration.check_database}[check](settings)
    except CommandError as error:
        return refused(check, error, "Correct it, or unset it.")
    return ok(check, says)
