"""Which files are the agents' code, and what state they are in: what `start --reload` looks at.

Watched are Python and TOML files in `agent/`, `examples/`, the agents file's folder and the folders of the modules that
it names, and the prompt files that it names. Other files are not: an agent may write some beside its code, and each
would restart the worker that runs it.
"""

import contextlib
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path

from agents_config import AgentConfig, AgentsFile, is_import_path, load_agents
from core_config import ROOT, ConfigurationError, Settings

SUFFIXES = frozenset({".py", ".toml"})
MOST_FOLDERS = 500
"""However large the tree is that the agents file lies in: each costs the kernel a watch."""

_OWN = (ROOT / "agent", ROOT / "examples")
_IGNORED = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_STDLIB = Path(sysconfig.get_path("stdlib"))

Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Look:
    """The agents' code at one moment."""

    folders: tuple[Path, ...]
    """Each for itself: what lies below one is there by itself too."""
    files: Mapping[Path, Stamp] = field(repr=False)
    """By path, its time of change and its size."""

    def changed(self, before: "Look") -> list[Path]:
        """What is new, gone or other than it was."""
        paths = self.files.keys() | before.files.keys()
        return sorted(path for path in paths if self.files.get(path) != before.files.get(path))


class AgentCode:
    """Where the agents' code lies. While the agents file cannot be read, what it said last counts."""

    def __init__(self) -> None:
        self._last = AgentsFile(agents={})

    def look(self, settings: Settings) -> Look:
        with contextlib.suppress(ConfigurationError):  # its own folder is watched in any case: a corrected one is seen
            self._last = load_agents(settings)
        trees, files = [*_OWN], set[Path]()
        if settings.agents_file is not None:
            files.add(settings.agents_file)
            trees.append(settings.agents_file.parent)
        for agent in self._last.agents.values():
            if agent.prompt_file is not None:
                files.add(Path(os.path.normpath(agent.prompt_file)))
            if agent.output_schema_file is not None:
                files.add(Path(os.path.normpath(agent.output_schema_file)))
        modules = {top for agent in self._last.agents.values() for top in _modules(agent)}
        trees += _places(modules, [ROOT] if self._last.path is None else [ROOT, self._last.path.parent])
        folders: dict[Path, None] = {}
        for tree in trees:
            # of the project itself what lies in it, not below: that is much that is no agent's code
            folders.update(dict.fromkeys([tree] if ROOT.is_relative_to(tree) else _below(tree, settings.var_dir)))
        kept = list(folders)[:MOST_FOLDERS]
        files.update(path for folder in kept for path in _code_in(folder))
        around = {path.parent for path in files if path.parent.is_dir()}
        return Look(tuple(sorted({*kept, *around})), dict(_stamps(files)))


def _modules(agent: AgentConfig) -> Iterator[str]:
    """The top-level modules that its import paths name."""
    for text in (agent.run, *agent.tools, *(entry.use for entry in agent.middleware)):
        if text is not None and is_import_path(text):
            yield text.partition(":")[0].partition(".")[0]


def _places(modules: Iterable[str], more: list[Path]) -> Iterator[Path]:
    """The folders of modules that are the user's own, found as agent/imports.py finds them but without an import."""
    for name in modules:
        spec = PathFinder.find_spec(name, [*sys.path, *map(str, more)])
        found = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
        if spec is not None and not found and spec.origin is not None:
            found = [Path(spec.origin).parent]
        for place in found:
            if place.is_dir() and not _IGNORED & set(place.parts) and not place.is_relative_to(_STDLIB):
                yield place.resolve()


def _below(tree: Path, var_dir: Path) -> Iterator[Path]:
    for number, (folder, names, _) in enumerate(os.walk(tree)):
        if number >= MOST_FOLDERS:
            return
        yield Path(folder)
        names[:] = sorted(
            name
            for name in names
            if name not in _IGNORED and not name.startswith(".") and Path(folder, name) != var_dir
        )


def _code_in(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            yield from (Path(entry) for entry in entries if Path(entry.name).suffix in SUFFIXES)
    except OSError:
        return  # it has just gone


def _stamps(files: Iterable[Path]) -> Iterator[tuple[Path, Stamp]]:
    for file in files:
        try:
            about = file.stat()
        except OSError:
            continue  # likewise
        yield file, (about.st_mtime_ns, about.st_size)
