"""The system as docker-compose.yml runs it, but for the engine: `sh deploy/new_env.sh`, then the services of `app` and
`simulator`, as the image's user in the image's tree, where nothing can be written.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from longhaul_testing.ports import free_port

from . import image_tree
from .running import Containers, confined


@pytest.fixture(scope="module")
def containers() -> Iterator[Containers]:
    # not pytest's folder, which only its owner may enter
    with tempfile.TemporaryDirectory(prefix="longhaul-containers-") as folder:
        Path(folder).chmod(0o755)
        containers = Containers(Path(folder))
        try:
            containers.start_redis()
            for service in ("simulator", "gateway", "worker"):
                containers.start_app(service)
            containers.start_nginx()
            for service in ("simulator", "gateway"):
                containers.until(partial(containers.healthy, service), f"{service} is healthy")
            with containers.client(None) as client:
                containers.until(lambda: client.get("/ready").status_code == 200, "it is ready")
            yield containers
        finally:
            containers.end()


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def test_a_task_runs_from_the_published_port_to_the_simulated_model(containers: Containers) -> None:
    with containers.client(containers.key) as client:
        task_id = client.post("/task", json={"message": "Compute (123 * 456 + 789) / 3"}).json()["task_id"]
        task = client.get(f"/task/{task_id}", params={"wait": 60}).json()
    assert (task["status"], task["model"]) == ("success", "Simulator")
    assert "18959" in task["result"]


def test_a_stream_is_not_held_back_on_its_way(containers: Containers) -> None:
    """The model sends its second token only when the first has arrived here."""
    with (
        containers.client(containers.key) as client,
        client.stream("POST", "/chat/stream", json={"message": "[[hold_token=2 tokens=3]] hello held"}) as answer,
    ):
        coming = events(answer.iter_lines())
        first = next(data for name, data in coming if name == "token")
        release = f"http://127.0.0.1:{containers.ports['simulator']}/release"
        assert client.post(release, json={"match": "held"}).json() == {"released": 1}
        rest = list(coming)
    name, result = rest[-1]
    assert (name, result["status"]) == ("result", "success")
    assert result["result"].startswith(first["text"])


def test_prometheus_reads_what_the_worker_did(containers: Containers) -> None:
    called = re.compile(r'^agent_model_calls_total\{.*model="Simulator".*\} [1-9]', re.MULTILINE)
    page = f"http://127.0.0.1:{containers.ports['worker']}/metrics"
    with containers.client(containers.key) as client:
        client.post("/chat", json={"message": "hello"}).raise_for_status()
        containers.until(lambda: called.search(client.get(page).text) is not None, "its model call is counted")
    assert list((containers.tmp / "metrics").glob("*.db")), "shared with a quarantine worker"


@pytest.mark.parametrize("service", ["simulator", "gateway", "worker"])
def test_a_health_check_tells_well_from_ill(containers: Containers, service: str) -> None:
    assert containers.healthy(service)
    assert not containers.healthy_at(service, free_port())


def test_nobody_comes_in_without_the_key(containers: Containers) -> None:
    with containers.client(None) as client:
        assert client.post("/task", json={"message": "hello"}).status_code == 401
        assert client.get("/health").status_code == 200


def test_redis_wants_the_password_and_keeps_what_it_is_told(containers: Containers) -> None:
    port = containers.ports["redis"]
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with redis.Redis(port=port, password=containers.variables["REDIS_PASSWORD"], decode_responses=True) as client:
        asked = ("appendonly", "appendfsync", "maxmemory", "maxmemory-policy", "protected-mode", "save")
        assert {name: client.config_get(name)[name] for name in asked} == {
            "appendonly": "yes", "appendfsync": "everysec", "maxmemory": str(512 << 20),
            "maxmemory-policy": "noeviction", "protected-mode": "yes", "save": "",
        }  # fmt: skip
    shown = " ".join(psutil.Process(containers.processes["redis"].pid).cmdline())
    assert containers.variables["REDIS_PASSWORD"] not in shown, "whoever lists processes would see it"


def test_every_process_is_the_image_s_user_without_rights(containers: Containers) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can run them as another user")
    uid = int(containers.user.split(":")[0])
    for name in ("gateway", "worker", "simulator", "nginx"):
        assert set(psutil.Process(containers.processes[name].pid).uids()) == {uid}, name


def test_where_the_programs_are_nothing_can_be_written(containers: Containers) -> None:
    """That the confinement of these tests is one."""
    script = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('x')"
    for folder in (containers.app, containers.app / "gateway"):
        tried = subprocess.run(
            [*confined(containers.user), sys.executable, "-c", script, str(folder / "new")],
            env=containers.environment("gateway"), capture_output=True, text=True,
        )  # fmt: skip
        assert "PermissionError" in tried.stderr
    expected = {inside for _, inside in image_tree.copied()}
    assert {
        file.relative_to(containers.app).as_posix() for file in containers.app.rglob("*") if file.is_file()
    } == expected


def test_the_operator_s_commands_run_in_it(containers: Containers) -> None:
    """`docker compose exec gateway python manage.py …`"""
    ran = subprocess.run(
        [*confined(containers.user), sys.executable, "manage.py", "tasks", "--json"],
        cwd=containers.app, env=containers.environment("gateway"), capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def test_a_gateway_without_keys_does_not_open_its_door(containers: Containers) -> None:
    environment = containers.environment("gateway") | {"API_KEYS": "", "GATEWAY_HOST": "0.0.0.0"}
    refused = subprocess.run(
        [*confined(containers.user), sys.executable, "-m", "gateway"],
        cwd=containers.app, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "API_KEYS" in refused.stderr


def test_sigterm_ends_each_cleanly(containers: Containers) -> None:
    """Last, and in the order in which Compose stops them: who depends on others first."""
    for name in ("nginx", "worker", "gateway", "simulator", "redis"):
        process = containers.processes[name]
        assert process.poll() is None, containers.log(name)
        process.terminate()
        assert process.wait(120) == 0, containers.log(name)
