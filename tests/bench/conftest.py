"""A theatre with a real Redis, and the project itself in the place of its copy."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from core_config import ROOT
from loadtest.bench.stage import Means, Theatre, theatre
from operations.embedded_redis import find_server, server_arguments


@pytest_asyncio.fixture
async def stages(tmp_path: Path) -> AsyncIterator[Theatre]:
    means = Means(
        longhaul=ROOT,
        python=Path(sys.executable),
        peers_python=tmp_path / "not-made",
        redis_command=lambda port, folder: [str(find_server()), *server_arguments(port, folder)],
    )
    async with theatre(means, tmp_path / "run") as made:
        yield made
