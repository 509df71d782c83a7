"""`monitoring/import_dashboard.py` against a server that answers as Grafana's API is documented."""

import copy
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core_config import ROOT
from monitoring import import_dashboard
from monitoring.grafana.board import SOURCE_UID
from tests.conftest import free_port

from .boards import BOARDS
from .grafana_server import PASSWORD, TOKEN, USER, GrafanaServer

SHIPPED = {board["uid"]: board for board in BOARDS.values()}


@dataclass(frozen=True, slots=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def grafana() -> Iterator[GrafanaServer]:
    server = GrafanaServer()
    yield server
    server.end()


@pytest.fixture
def run(grafana: GrafanaServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process; `None` for a variable that is not set."""

    def run(*arguments: str, **environment: str | None) -> Done:
        for name, value in ({"GRAFANA_URL": grafana.url, "GRAFANA_TOKEN": TOKEN} | environment).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        code = import_dashboard.main(list(arguments))
        return Done(code, *capsys.readouterr())

    return run


def said(done: Done) -> str:
    """All that it printed; no secret is ever in it."""
    text = done.stdout + done.stderr
    assert TOKEN not in text
    assert PASSWORD not in text
    assert "Traceback" not in text
    return text


def state(grafana: GrafanaServer) -> Any:
    return copy.deepcopy((grafana.folders, grafana.sources, grafana.boards))


def test_it_reads_its_settings(grafana: GrafanaServer, run: Run) -> None:
    """GRAFANA_URL, GRAFANA_TOKEN and PROMETHEUS_URL."""
    done = run(PROMETHEUS_URL="http://prometheus.example:9090")
    assert done.returncode == 0, said(done)
    assert grafana.folders == {"longhaul": {"uid": "longhaul", "title": "Longhaul"}}
    source = grafana.sources[SOURCE_UID]
    assert (source["type"], source["url"], source["access"]) == (
        "prometheus",
        "http://prometheus.example:9090",
        "proxy",
    )
    assert set(grafana.boards) == set(SHIPPED)
    for uid, board in SHIPPED.items():
        kept = {name: value for name, value in grafana.boards[uid].items() if name not in {"id", "version"}}
        assert kept == board
        assert grafana.folder_of[uid] == "longhaul"
    for board in SHIPPED.values():
        assert f"{board['title']}: made\n" in done.stdout


def test_a_second_run_changes_nothing(grafana: GrafanaServer, run: Run) -> None:
    assert run().returncode == 0
    before = state(grafana)
    done = run()
    assert done.returncode == 0, said(done)
    assert state(grafana) == before
    assert done.stdout.count("is there") == 2 + len(SHIPPED)


def test_what_grafana_adds_by_itself_is_no_difference(grafana: GrafanaServer, run: Run) -> None:
    assert run().returncode == 0
    board = grafana.boards["longhaul-overview"]
    board["schemaVersion"] += 1
    board["panels"][1]["pluginVersion"] = "12.0.0"
    before = state(grafana)
    assert run().returncode == 0
    assert state(grafana) == before


def test_a_dashboard_that_somebody_changed_is_left_until_it_is_said(grafana: GrafanaServer, run: Run) -> None:
    assert run().returncode == 0
    grafana.boards["longhaul-models"]["panels"][2]["title"] = "Mine"
    del grafana.boards["longhaul-tasks"]
    done = run()
    assert done.returncode == 1
    assert "Longhaul / Models. Somebody changed" in said(done)
    assert grafana.boards["longhaul-models"]["panels"][2]["title"] == "Mine"
    assert "longhaul-tasks" in grafana.boards  # the others are brought all the same

    done = run("--overwrite")
    assert done.returncode == 0, said(done)
    assert "Longhaul / Models: replaced" in done.stdout
    assert grafana.boards["longhaul-models"]["panels"] == SHIPPED["longhaul-models"]["panels"]
    assert [one["version"] for one in grafana.history["longhaul-models"]] == [1, 2]
    assert [one["version"] for one in grafana.history["longhaul-overview"]] == [1]


def test_what_is_saved_in_the_same_moment_is_not_lost(grafana: GrafanaServer, run: Run) -> None:
    assert run().returncode == 0
    board = grafana.boards["longhaul-models"]
    board["panels"][2]["title"] = "Mine"

    def save() -> None:
        board["panels"][2]["title"] = "Mine, just now"
        board["version"] += 1

    grafana.before_saving = save
    done = run("--overwrite")
    assert done.returncode == 1
    assert "version-mismatch" in said(done)
    assert grafana.boards["longhaul-models"]["panels"][2]["title"] == "Mine, just now"


def test_a_user_and_a_password_do_where_there_is_no_token(grafana: GrafanaServer, run: Run) -> None:
    done = run(GRAFANA_TOKEN=None, GRAFANA_USER=USER, GRAFANA_PASSWORD=PASSWORD)
    assert done.returncode == 0, said(done)
    assert set(grafana.boards) == set(SHIPPED)


def test_a_data_source_that_is_there_is_left_as_it_is(grafana: GrafanaServer, run: Run) -> None:
    grafana.sources[SOURCE_UID] = {"uid": SOURCE_UID, "name": "Ours", "url": "https://metrics.example"}
    done = run()
    assert done.returncode == 0, said(done)
    assert grafana.sources == {SOURCE_UID: {"uid": SOURCE_UID, "name": "Ours", "url": "https://metrics.example"}}
    assert "is there, asks https://metrics.example" in done.stdout


def test_a_password_in_the_data_source_s_address_is_not_shown(grafana: GrafanaServer, run: Run) -> None:
    address = f"http://{USER}:{PASSWORD}@127.0.0.1:9090"
    for asks in ("made", "is there"):
        assert f"{asks}, asks http://127.0.0.1:9090\n" in said(run(PROMETHEUS_URL=address))
    assert grafana.sources[SOURCE_UID]["url"] == address


def test_a_dashboard_stays_where_somebody_moved_it_to(grafana: GrafanaServer, run: Run) -> None:
    assert run().returncode == 0
    grafana.folders["ours"] = {"uid": "ours", "title": "Ours"}
    grafana.folder_of["longhaul-models"] = "ours"
    grafana.boards["longhaul-models"]["title"] = "Mine"
    assert run("--overwrite").returncode == 0
    assert grafana.boards["longhaul-models"]["title"] == SHIPPED["longhaul-models"]["title"]
    assert grafana.folder_of == dict.fromkeys(SHIPPED, "longhaul") | {"longhaul-models": "ours"}


def test_who_may_not_look_at_data_sources_brings_the_dashboards(grafana: GrafanaServer, run: Run) -> None:
    grafana.may_see_sources = False
    done = run()
    assert done.returncode == 0, said(done)
    assert "an Admin has to add it" in done.stdout
    assert set(grafana.boards) == set(SHIPPED)


def test_the_links_lead_to_the_runbook_that_is_named(grafana: GrafanaServer, run: Run) -> None:
    address = "https://wiki.example/longhaul/runbook"
    assert run("--runbook", address).returncode == 0
    for board in grafana.boards.values():
        runbook = next(one for one in board["templating"]["list"] if one["name"] == "runbook")
        assert (runbook["query"], runbook["current"]["value"]) == (address, address)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"GRAFANA_URL": None}, "GRAFANA_URL is not set"),
        ({"GRAFANA_URL": "grafana:3000"}, "GRAFANA_URL is no address"),
        ({"GRAFANA_URL": f"http://{USER}:{PASSWORD}@127.0.0.1:1"}, "GRAFANA_URL is no address"),
        ({"GRAFANA_TOKEN": None, "GRAFANA_USER": USER}, "Set GRAFANA_TOKEN"),
        ({"GRAFANA_TOKEN": "another"}, "401 (Invalid API key): it does not take GRAFANA_TOKEN"),
    ],
    ids=["no address", "no scheme", "a password in the address", "no credentials", "refused credentials"],
)
def test_what_is_wrong_is_told_and_nothing_is_made(
    grafana: GrafanaServer, run: Run, environment: dict[str, str | None], told: str
) -> None:
    done = run(**environment)
    assert done.returncode == 1
    assert told in said(done)
    assert state(grafana) == ({}, {}, {})


def test_nobody_at_the_address(run: Run) -> None:
    done = run(GRAFANA_URL=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "cannot be reached" in said(done)


def test_something_else_at_the_address(run: Run) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"

    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(page)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        done = run(GRAFANA_URL=f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert done.returncode == 1
    assert "is that a Grafana?" in said(done)


def test_names_that_are_taken(grafana: GrafanaServer, run: Run) -> None:
    grafana.folders["other"] = {"uid": "other", "title": "Longhaul"}
    done = run()
    assert done.returncode == 1
    assert "another folder called Longhaul" in said(done)
    grafana.folders.clear()
    grafana.sources["other"] = {"uid": "other", "name": "Longhaul", "url": "https://metrics.example"}
    done = run()
    assert done.returncode == 1
    assert "another data source called Longhaul" in said(done)


@pytest.mark.parametrize(
    "how", [("monitoring/import_dashboard.py",), ("-m", "monitoring.import_dashboard")], ids=["file", "module"]
)
def test_it_runs_as_a_file_and_as_a_module(grafana: GrafanaServer, tmp_path: Path, how: tuple[str, ...]) -> None:
    """In a copy, which has no `.env`."""
    shutil.copytree(ROOT / "monitoring", tmp_path / "monitoring", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "core_config.py", tmp_path)
    done = subprocess.run(
        [sys.executable, *how],
        cwd=tmp_path,
        env={"GRAFANA_URL": grafana.url, "GRAFANA_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert set(grafana.boards) == set(SHIPPED)


def test_it_makes_the_data_source_that_the_dashboards_ask() -> None:
    assert import_dashboard.SOURCE_UID == SOURCE_UID
