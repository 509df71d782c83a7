"""Writes `.env.example` from `Settings`, so that the two cannot differ: `python -m operations.env_example`.

Values are empty, which means the default; a test fails when the file on disk is another.
"""

import textwrap
from pathlib import Path

from core_config import MODEL_REGISTRY, ROOT, Settings
from operations import configuration

_WIDTH = 118

_HEADER = """\
# Longhaul's settings. Copy this file to .env and fill in what you want to change; the environment goes before .env,
# and an empty value is the default. `python3 manage.py restart` takes changes over.
# Made from Settings in core_config.py by `python -m operations.env_example`; do not edit it by hand.
"""


def render() -> str:
    names = configuration.variable_names()
    parts = [_HEADER]
    parts += [
        _entry(names[field][0], info.description or "", info.default) for field, info in Settings.model_fields.items()
    ]
    parts += ["# Keys of the models' providers. A placeholder such as sk-xxxx counts as none.\n"]
    by_variable: dict[str, list[str]] = {}
    for name, model in MODEL_REGISTRY.items():
        if model.api_key_env:
            by_variable.setdefault(model.api_key_env, []).append(name)
    parts += [_entry(variable, f"Key of {', '.join(models)}.", None) for variable, models in by_variable.items()]
    return "\n".join(parts)


def _entry(name: str, description: str, default: object) -> str:
    shown = "" if default is None else f" Default: {default.as_posix() if isinstance(default, Path) else default}."
    text = textwrap.fill(description + shown, _WIDTH, initial_indent="# ", subsequent_indent="# ")
    return f"{text}\n{name}=\n"


if __name__ == "__main__":
    (ROOT / ".env.example").write_text(render(), encoding="utf-8")
