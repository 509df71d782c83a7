"""docker-compose.yml and the files that it includes, as Compose reads them: merged keys, variables filled in."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # comes without types, and nothing else here needs them

from core_config import ROOT

COMPOSE_FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<sign>[-+])(?P<word>[^}]*))?\}")


@cache
def files() -> Mapping[Path, dict[str, Any]]:
    """Each file with what it says, the main one first."""
    main = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
    paths = [ROOT / one["path"] for one in main["include"]]
    # paths in an included file are those of the project only if it says so
    assert all(one["project_directory"] == "." for one in main["include"])
    return {COMPOSE_FILE: main} | {path: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}


@cache
def section(name: str) -> Mapping[str, Any]:
    """`services`, `networks` or `volumes` of all files. Compose refuses a name that two files have."""
    merged: dict[str, Any] = {}
    for path, content in files().items():
        added = content.get(name, {})
        assert not merged.keys() & added.keys(), path
        merged |= added
    return merged


def services(profile: str | None = None) -> Mapping[str, dict[str, Any]]:
    return {name: one for name, one in section("services").items() if profile in (None, *one["profiles"])}


def filled_in(text: str, variables: Mapping[str, str]) -> str:
    """The value with its `${NAME}`, `${NAME:-else}` and `${NAME:+then}`; the files use no other kind."""

    def value(match: re.Match[str]) -> str:
        given = variables.get(match["name"], "")
        if match["sign"] == "+":
            return match["word"] if given else ""
        return given or (match["word"] or "")

    filled = _VARIABLE.sub(value, text)
    assert "$" not in filled, text
    return filled


def environment(service: str, variables: Mapping[str, str]) -> dict[str, str]:
    """What a container of the service has in its environment when .env holds `variables`."""
    given: dict[str, str] = {}
    for name, value in services()[service].get("environment", {}).items():
        if value is not None:
            given[name] = filled_in(str(value), variables)
        elif name in variables:
            given[name] = variables[name]
    return given


def command(service: str, variables: Mapping[str, str]) -> list[str]:
    return [filled_in(str(part), variables) for part in services()[service]["command"]]


def strings(value: Any) -> Iterator[str]:
    """Every string in it, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from strings(key)
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def variables_named() -> set[str]:
    """Every variable that the files take from .env: filled in, or handed on by its name."""
    named = set()
    for content in files().values():
        named |= {match["name"] for text in strings(content) for match in _VARIABLE.finditer(text)}
    for one in services().values():
        named |= {name for name, value in one.get("environment", {}).items() if value is None}
    return named


def mounts(service: str) -> Iterator[tuple[str, str, bool]]:
    """Source, target and whether it is read only; a source without a slash is a named volume."""
    for mount in services()[service].get("volumes", []):
        if isinstance(mount, str):
            source, target, *mode = mount.split(":")
            yield source, target, mode == ["ro"]
        else:
            yield mount["source"], mount["target"], mount["read_only"]
