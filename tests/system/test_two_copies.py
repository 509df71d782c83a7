"""Two copies beside each other, each with a Redis and with pages of metrics of its own."""

import json

import httpx

from tests.conftest import free_port

from .test_metrics import samples, until


def test_two_copies_run_and_count_their_own_tasks(system, make_system):
    """Each has its pages where `status` and the files for Prometheus say, until it stops."""
    port = free_port()
    second = make_system(WORKER_METRICS_HOST="127.0.0.1", WORKER_METRICS_PORT=str(port)).start()
    refused = make_system(WORKER_METRICS_PORT=str(port))
    said = refused.manage("start")
    assert (said.returncode, f"port {port} of 127.0.0.1 is taken" in said.stderr) == (1, True)
    assert "WORKER_METRICS_PORT" in said.stderr
    told = {copy: copy.status() for copy in (system, second)}
    assert told[system]["redis"]["url"] != told[second]["redis"]["url"]
    pages = {copy: told[copy]["metrics"] for copy in told}
    assert pages[second]["workers"] == f"http://127.0.0.1:{port}/metrics"
    assert pages[system]["workers"] != pages[second]["workers"]
    for copy, page in pages.items():
        folder = copy.folder / "var" / "prometheus"
        for name, url in (("gateway", page["gateway"]), ("workers", page["workers"])):
            (group,) = json.loads((folder / f"{name}.json").read_text())
            assert group["targets"] == [httpx.URL(url).netloc.decode()]
    assert pages[second]["workers"] in second.manage("status").stdout

    run = ("agent_task_run_seconds_count", "default", "Simulator", "success")
    before = samples(pages[system]["workers"]).get(run)
    task_id = second.submit("Compute 1 + 1")
    assert second.final(task_id)["status"] == "success"
    assert system.http.get(f"/task/{task_id}").status_code == 404
    until(lambda: samples(pages[second]["workers"]).get(run) == 1, "the second copy counts its task")
    assert samples(pages[system]["workers"]).get(run) == before

    assert second.manage("stop").returncode == 0
    assert not list((second.folder / "var" / "prometheus").iterdir())
    assert not (second.folder / "var" / "metrics").exists()
    assert system.ask("Compute 2 + 2")["status"] == "success"
