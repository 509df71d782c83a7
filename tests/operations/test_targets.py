"""What Prometheus is told: where the pages are, through a start, a restart that moves one, and a stop."""

import json
import socket
from pathlib import Path

import pytest

from core_config import Settings
from operations import ports, targets
from operations.errors import CommandError
from tests.conftest import free_port

from .conftest import Copy


def told(var: Path, name: str) -> list[str]:
    return [address for group in json.loads((var / "prometheus" / name).read_text()) for address in group["targets"]]


def test_a_restart_moves_the_workers_page_and_keeps_the_counts(copy: Copy):
    first, second = free_port(), free_port()
    copy.start(WORKER_METRICS_PORT=str(first))
    assert told(copy.var, "gateway.json") == [f"127.0.0.1:{copy.port}"]
    assert told(copy.var, "workers.json") == [f"127.0.0.1:{first}"]
    counts = Path(copy.get("/").json()["environment"]["PROMETHEUS_MULTIPROC_DIR"])
    assert counts == copy.var / "metrics" / "gateway"
    counts.mkdir(parents=True)  # a stand-in counts nothing
    (counts / "counted").touch()

    moved = copy.manage("restart", WORKER_METRICS_PORT=str(second))
    assert moved.returncode == 0, moved.stdout + moved.stderr
    assert told(copy.var, "workers.json") == [f"127.0.0.1:{second}"]
    assert copy.state().workers_metrics_url == f"http://127.0.0.1:{second}/metrics"
    assert (ports.answers(first), ports.answers(second)) == (False, True)
    assert (counts / "counted").exists()

    assert copy.manage("stop").returncode == 0
    assert not list((copy.var / "prometheus").iterdir())
    assert not (copy.var / "metrics").exists()


def test_a_taken_default_gives_way_and_a_chosen_port_does_not():
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        unset = Settings().model_copy(update={"worker_metrics_port": port})
        unset.__pydantic_fields_set__.discard("worker_metrics_port")
        listener = targets.listen(unset)
        assert listener is not None
        with listener:
            assert listener.getsockname()[1] > port
        with pytest.raises(CommandError, match=f"port {port} of 127.0.0.1 is taken.* WORKER_METRICS_PORT"):
            targets.listen(Settings(worker_metrics_port=port))


def test_without_a_page_there_is_no_target(tmp_path: Path):
    assert targets.listen(Settings(worker_metrics_port=0)) is None
    targets.write(tmp_path, "http://[::1]:8000", targets.url(None))
    assert (told(tmp_path, "gateway.json"), told(tmp_path, "workers.json")) == (["[::1]:8000"], [])
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        assert targets.url(everywhere) == f"http://127.0.0.1:{everywhere.getsockname()[1]}/metrics"
