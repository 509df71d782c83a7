"""What each container may do: little. Every service is looked at; the exceptions stand here with their reasons."""

import re
from typing import Any

import pytest

from core_config import ROOT, VERSION

from .compose_files import filled_in, mounts, section, services

SERVICES = sorted(services())
WRITES_ITS_ROOT = {
    "langfuse-web": "Langfuse's images make files beside their code when they start",
    "langfuse-worker": "as langfuse-web",
    "langfuse-clickhouse": "its entry point writes the user into /etc",
    "langfuse-s3": "its entry point changes users",
}
ITS_OWN_USER = {
    "gateway": "the image's: test_image.py",
    "worker": "the image's",
    "simulator": "the image's",
    "alert-bridge": "the image's",
    "langfuse-web": "the image's",
    "langfuse-worker": "the image's",
    "langfuse-s3": "begins as root to give the volume away, then becomes another",
}


@pytest.fixture(params=SERVICES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def service(name: str) -> dict[str, Any]:
    return services()[name]


def test_it_has_no_rights_and_can_get_none(name: str, service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert not service.get("devices")
    assert ("cap_add" in service) == (name == "langfuse-s3")


def test_its_root_is_read_only(name: str, service: dict[str, Any]) -> None:
    assert service.get("read_only", False) is (name not in WRITES_ITS_ROOT)


def test_it_is_not_root(name: str, service: dict[str, Any]) -> None:
    if name in ITS_OWN_USER:
        assert "user" not in service
    else:
        user, group = service["user"].split(":")
        assert int(user) > 0
        assert group.isdigit()


def test_it_is_bounded(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+[mg]", filled_in(service["mem_limit"], {}))
    assert 0 < service["pids_limit"] <= 512
    assert service["logging"]["driver"] == "local", "whose files are rotated"


def test_it_is_watched_and_started_again(name: str, service: dict[str, Any]) -> None:
    kind, program, *_ = service["healthcheck"]["test"]
    assert kind == "CMD", "without a shell"
    assert program in {"python", "wget", "curl", "valkey-cli", "pg_isready"}
    assert service["healthcheck"]["retries"] > 1
    assert service["restart"] == "unless-stopped"
    assert service["init"] is not name.endswith("node-exporter"), "which is among the machine's processes"


def test_its_image_is_a_version(service: dict[str, Any]) -> None:
    image, _, tag = service["image"].rpartition(":")
    assert image
    assert re.search(r"\d+\.\d+", tag), "latest and 3 are other images tomorrow"
    if image == "longhaul":
        assert (tag, service["build"]) == (VERSION, ".")


def test_it_is_reached_from_this_machine_only(name: str, service: dict[str, Any]) -> None:
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", filled_in(port, {})), port
    if service.get("network_mode") == "host":
        assert "ports" not in service
        said = [*service.get("command", []), *service["environment"].values()] if "environment" in service else []
        said = said or service["command"]
        assert any("127.0.0.1" in str(one) for one in said), "it would listen on every address of the machine"


def test_any_number_of_it_may_run(service: dict[str, Any]) -> None:
    assert "container_name" not in service


def test_it_sees_no_files_but_its_own(name: str) -> None:
    for source, target, read_only in mounts(name):
        if "/" not in source and not source.startswith("."):
            assert source in section("volumes")
            continue
        assert read_only, source
        assert "docker.sock" not in source
        assert (source == "/") == (target == "/host") == name.endswith("node-exporter")


def test_redis_is_reached_by_those_who_need_it_only() -> None:
    reached = {name for name, one in services().items() if "store" in one.get("networks", [])}
    assert reached == {"redis", "gateway", "worker", "redis-exporter"}
    assert section("networks")["store"] == {"internal": True}
    assert services()["redis"]["networks"] == ["store"]


def test_nobody_makes_an_account_of_grafana_for_himself() -> None:
    for name in ("grafana", "host-grafana"):
        environment = services()[name]["environment"]
        assert environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
        assert not [variable for variable in environment if "ANONYMOUS" in variable]


def test_the_gateway_has_no_way_out() -> None:
    assert all(section("networks")[network] == {"internal": True} for network in services()["gateway"]["networks"])


def test_every_network_is_there_and_used() -> None:
    used = {network for one in services().values() for network in one.get("networks", [])}
    assert used == set(section("networks"))
    for name, one in services().items():
        if "networks" not in one:
            assert one["network_mode"] == ("service:alertmanager" if name == "alert-bridge" else "host"), name


def test_a_profile_is_whole() -> None:
    """Compose refuses a service that depends on one of another profile."""
    for name, one in services().items():
        (profile,) = one["profiles"]
        assert set(one.get("depends_on", {})) <= set(services(profile)), name
        assert all(needed["condition"] == "service_healthy" for needed in one.get("depends_on", {}).values())


def test_no_file_asks_for_a_variable_that_has_to_be_set() -> None:
    """Compose asks for it whatever profile is started: nobody could watch a `manage.py start` without keys."""
    for path in (ROOT / "docker-compose.yml", *(ROOT / "deploy").glob("*.yml")):
        assert not re.findall(r"\$\{\w+:?\?", path.read_text(encoding="utf-8")), path


def test_workers_are_given_the_time_that_they_drain_for() -> None:
    grace = services()["worker"]["stop_grace_period"]
    assert filled_in(grace, {}) == "1m25s"
    assert filled_in(grace, {"DRAIN_SECONDS": "300"}) == "1m300s"
