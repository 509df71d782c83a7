"""The model registry: which models have a key, what they cost, and which their providers have switched off.

Prices and dates are those of the LiteLLM release that is installed, or the registry's own; nothing is asked over the
network. Prices are USD per million tokens. `models test` asks: it calls each model that has a key, once.
"""

import argparse
import datetime as dt
from collections.abc import Mapping

from core_config import ConfigurationError, ModelConfig, api_key_of, load_registry, resolve_active_model
from operations import configuration, models_test, terminal
from operations.errors import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="test")
    models_test.add_arguments(
        actions.add_parser(
            "test",
            help="call each model that has a key once, and say what is wrong",
            description=models_test.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )


def run(arguments: argparse.Namespace) -> int:
    return models_test.run(arguments) if arguments.action == "test" else show()


def show() -> int:
    settings = configuration.load()
    try:
        registry = load_registry(settings)
    except ConfigurationError as error:
        raise CommandError(str(error)) from None
    try:
        active, problem = resolve_active_model(settings), ""
    except ConfigurationError as error:
        active, problem = None, str(error)
    today = dt.datetime.now(dt.UTC).date()
    rows = []
    for name, model in registry.items():
        known = known_to_litellm(model.litellm_id)
        price_in, price_out = prices(model, known)
        mark = "*" if name == active else " "
        rows.append((f"{mark} {name}", model.litellm_id, _key(model), state(model, known, today), price_in, price_out))
    terminal.table(("  MODEL", "LITELLM", "KEY", "STATE", ">IN", ">OUT"), rows)
    print("\n* is active: tasks that name no model use it. Prices are USD per million tokens.")
    if problem:
        raise CommandError(problem)
    return 0


def known_to_litellm(litellm_id: str) -> dict[str, object] | None:
    """What LiteLLM's own table says of a model; it lists some providers' models without the provider."""
    from agent.quiet_litellm import litellm  # noqa: PLC0415 four seconds that only this command pays

    found = litellm.model_cost.get(litellm_id)
    if found is None:
        provider, _, name = litellm_id.partition("/")
        found = litellm.model_cost.get(name)
        if found is not None and found.get("litellm_provider") != provider:
            return None
    return found


def state(model: ModelConfig, known: Mapping[str, object] | None, today: dt.date) -> str:
    """`live`, `retired DATE`, `retires DATE`; what LiteLLM does not know is somebody's own server, or gone."""
    if model.simulated:
        return "SIMULATED"
    if known is None:
        return "your own server" if model.base_url else "unknown to LiteLLM"
    date = known.get("deprecation_date")
    if not isinstance(date, str):
        return "live"
    try:
        return f"{'retired' if dt.date.fromisoformat(date) <= today else 'retires'} {date}"
    except ValueError:
        return f"retires {date}"


def prices(model: ModelConfig, known: Mapping[str, object] | None) -> tuple[str, str]:
    """USD per million tokens in and out, the registry's before LiteLLM's."""
    if model.price_in is not None and model.price_out is not None:
        return f"{model.price_in * 1000:g}", f"{model.price_out * 1000:g}"
    pair = [(known or {}).get(f"{side}_cost_per_token") for side in ("input", "output")]
    price_in, price_out = (f"{cost * 1_000_000:g}" if isinstance(cost, float | int) else "unknown" for cost in pair)
    return price_in, price_out


def _key(model: ModelConfig) -> str:
    if model.api_key_env is None:
        return "none needed"
    return f"{model.api_key_env} {'set' if api_key_of(model) else 'not set'}"
