"""The table of verbatim provider errors, read once from provider_errors.toml beside this file."""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProviderError:
    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def _load(path: Path) -> dict[str, ProviderError]:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: ProviderError(
            entry["status"],
            entry["body"].encode(),
            tuple((key.lower().encode(), value.encode()) for key, value in entry.get("headers", {}).items()),
        )
        for name, entry in table.items()
    }


PROVIDER_ERRORS = _load(Path(__file__).with_suffix(".toml"))
