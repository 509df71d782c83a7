"""Calls models once each, as the workers do, with a question of a few words, and says of each that does not answer what
is wrong and what to do about it.

Without names: every model whose key is set, and the active one. A model that needs no key, such as one's own server or
the Simulator, is called when it is named or active. Each call costs what a question of some twenty tokens costs.

Exit codes: 0 all answered, 1 one did not or there was none to ask.
"""

import argparse
import asyncio
import dataclasses
import datetime as dt
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core_config import ConfigurationError, ModelConfig, Settings, api_key_of, load_registry
from operations import configuration, runstate, terminal
from operations.errors import CommandError
from operations.providers import retired_on, successors
from operations.redaction import redactor

if TYPE_CHECKING:
    from agent.probe import Seen
    from operations.diagnosis import Diagnosis

DEFAULT_SECONDS = 30.0
MOST_AT_ONCE = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="models of the registry; unset, all that have a key")
    parser.add_argument(
        "--timeout", type=_seconds, default=DEFAULT_SECONDS, metavar="SECONDS", help="longest call (default: 30)"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    settings = configuration.load()
    try:
        settings = _with_simulator(settings)
        registry = load_registry(settings)
        names = chosen(registry, arguments.names, None if arguments.names else configuration.active_model(settings))
    except ConfigurationError as error:
        raise CommandError(str(error)) from None
    tested = asyncio.run(call_models({name: registry[name] for name in names}, settings, arguments.timeout))
    if arguments.json:
        print(json.dumps(report(tested), indent=2, ensure_ascii=False))
    else:
        show(tested)
    return 0 if all(one.works for one in tested) else 1


@dataclasses.dataclass(frozen=True)
class Trial:
    name: str
    model: ModelConfig
    base_url: str | None
    """The model's, without a password."""
    seen: "Seen"
    diagnosis: "Diagnosis | None"
    said: str | None
    """The provider's own words about a call that failed; no key is in them."""

    @property
    def works(self) -> bool:
        return self.diagnosis is None


def chosen(registry: Mapping[str, ModelConfig], named: Sequence[str], active: str | None) -> list[str]:
    """The models to call, each once. CommandError when one that is named is not in the registry."""
    if strangers := [name for name in named if name not in registry]:
        raise CommandError(f"there is no model {strangers[0]!r} in the registry. Known: {', '.join(registry)}.")
    if named:
        return list(dict.fromkeys(named))
    return [name for name, model in registry.items() if name == active or api_key_of(model) is not None]


async def call_models(models: Mapping[str, ModelConfig], settings: Settings, seconds: float) -> list[Trial]:
    """All calls at once, but no more than MOST_AT_ONCE; in the order of `models`."""
    # here, for loading them takes seconds, which `manage.py models --help` need not
    from agent.probe import probe  # noqa: PLC0415
    from agent.quiet_litellm import litellm  # noqa: PLC0415
    from operations.diagnosis import About, diagnose, words  # noqa: PLC0415

    today = dt.datetime.now(dt.UTC).date()
    room = asyncio.Semaphore(MOST_AT_ONCE)

    async def one(name: str, model: ModelConfig) -> Trial:
        async with room:
            seen = await probe(name, model, settings, seconds=seconds)
        known = _known(litellm.model_cost, model)
        about = About(
            name=name,
            model=model,
            retired=retired_on(known, today),
            successors=successors(model, litellm.model_cost, today),
            seconds=seconds,
            proxy_variable=_proxy_variable(seen),
        )
        shown = None if model.base_url is None else redact(model.base_url)  # an address may hold a password
        if (diagnosis := diagnose(about, seen)) is None:
            return Trial(name, model, shown, seen, None, None)
        told = dataclasses.replace(diagnosis, says=redact(diagnosis.says))
        return Trial(name, model, shown, seen, told, words(seen, redact))

    redact = redactor(settings, {**load_registry(settings), **models})
    return list(await asyncio.gather(*(one(name, model) for name, model in models.items())))


def _known(table: Mapping[str, Any], model: ModelConfig) -> Mapping[str, object] | None:
    provider, _, name = model.litellm_id.partition("/")
    found = [table.get(model.litellm_id), table.get(name)]
    return next((one for one in found if one and one.get("litellm_provider") == provider), None)


def _proxy_variable(seen: "Seen") -> str | None:
    """The environment variable that names the call's proxy; None without one, or when it is the system's settings."""
    if seen.url is None or seen.proxy is None:
        return None
    lower = (f"{seen.url.scheme}_proxy", "all_proxy")
    return next((name for one in lower for name in (one, one.upper()) if os.environ.get(name)), None)


def _with_simulator(settings: Settings) -> Settings:
    """The port of the simulator that runs here, which `start` chose unless SIMULATOR_PORT says."""
    state = runstate.running(configuration.var_dir())
    if settings.simulator_port is not None or state is None or state.simulator_port is None:
        return settings
    return settings.model_copy(update={"simulator_port": state.simulator_port})


def report(tested: Sequence[Trial]) -> dict[str, Any]:
    """For JSON: durations in milliseconds, cost in USD, null where nobody knows."""
    return {
        "all_work": all(one.works for one in tested),
        "cost_usd": total_cost(tested),
        "models": [
            {
                "model": one.name,
                "litellm_id": one.model.litellm_id,
                "base_url": one.base_url,
                "works": one.works,
                "simulated": one.model.simulated,
                "fault": None if one.diagnosis is None else one.diagnosis.fault.value,
                "error_code": one.seen.code,
                "http_status": one.seen.status,
                "says": None if one.diagnosis is None else one.diagnosis.says,
                "provider_says": one.said,
                "latency_ms": None if one.seen.latency_ms is None else round(one.seen.latency_ms),
                "token_usage": one.seen.usage.as_dict() if one.works else None,
                "cost_usd": one.seen.cost_usd,
            }
            for one in tested
        ],
    }


def total_cost(tested: Sequence[Trial]) -> float | None:
    """USD of all calls that were answered; None when the price of one is unknown."""
    costs = [one.seen.cost_usd for one in tested if one.works]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def show(tested: Sequence[Trial]) -> None:
    rows = []
    for one in tested:
        latency = "-" if one.seen.latency_ms is None else f"{one.seen.latency_ms:.0f} ms"
        tokens, cost = "-", "-"
        if one.works:
            tokens = str(one.seen.usage.total_tokens) if one.seen.usage.total_tokens else "unknown"
            cost = terminal.dollars(one.seen.cost_usd)
        state = "works" if one.diagnosis is None else one.diagnosis.fault.value.replace("_", " ")
        rows.append((one.name, f"{state}{' (SIMULATED)' if one.model.simulated else ''}", latency, tokens, cost))
    terminal.table(("MODEL", "RESULT", ">LATENCY", ">TOKENS", ">COST"), rows)
    for one in tested:
        if one.diagnosis:
            print(f"\n{one.name}: {one.diagnosis.says}")
            if one.said:
                print(f"  it was said: {one.said}")
    working = sum(one.works for one in tested)
    print(f"\n{working} of {len(tested)} work. The calls cost {terminal.dollars(total_cost(tested))} in all.")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:  # and not NaN
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 3600")
    return seconds
