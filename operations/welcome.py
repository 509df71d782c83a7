"""What `start` says when everything runs: what to try, which model answers, where things are."""

import shlex
import sys

from core_config import Settings, load_registry
from operations.runstate import RunState

_QUESTION = "Compute (123 * 456 + 789) / 3"


def text(settings: Settings, state: RunState, durability: str) -> str:
    """`durability`: what Redis promises, as a phrase; empty when it has just stopped answering."""
    key = ' -H "Authorization: Bearer $KEY"' if settings.has_api_keys else ""
    url = state.gateway_url
    body = '{"message": "' + _QUESTION + '"}'
    python = shlex.join([sys.argv[0] if sys.argv[0].startswith("/") else "manage.py"])
    lines = [
        "",
        f"Longhaul is running at {url}",
        "",
        *_model(settings, state),
        f"  Redis  {state.redis_url} ({_redis(state, durability)})",
        f"  Logs   {settings.var_dir / 'logs'}",
        *(["  Reload on: a change of the agents' code replaces the workers"] if state.reload else []),
        "",
        "Try:",
        f"  curl -s {url}/task{key} -H 'content-type: application/json' -d '{body}'",
        f"  curl -s '{url}/task/<id>?wait=20'{key}",
        f'  python3 {python} ask "{_QUESTION}"',
        f"  python3 {python} status | logs -f | restart | stop",
    ]
    return "\n".join(lines)


def _model(settings: Settings, state: RunState) -> list[str]:
    if not load_registry(settings)[state.model].simulated:
        return [f"  Model  {state.model}"]
    chosen = settings.active_model_key is not None
    why = f"ACTIVE_MODEL_KEY={state.model}" if chosen else "no provider's API key is set"
    return [
        f"  Model  {state.model}: SIMULATED. No language model is running: answers are made up by a program ({why}).",
        "         For a real one set its key, such as DEEPSEEK_API_KEY, in the environment or .env, then restart.",
    ]


def _redis(state: RunState, durability: str) -> str:
    return "; ".join(filter(None, ["private" if state.redis_is_private else "yours", durability]))
