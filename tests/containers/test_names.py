"""Every path, port, variable and address that the files name exists."""

import re
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]  # comes without types, and nothing else here needs them

from core_config import DEFAULT_SIMULATOR_PORT, MODEL_REGISTRY, ROOT, Settings

from .compose_files import environment, files, mounts, section, services, strings, variables_named

EXAMPLE = [
    line.partition("=")[0]
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PROVIDERS = {model.api_key_env for model in MODEL_REGISTRY.values() if model.api_key_env}
TOLD_OF = PROVIDERS | {"LANGFUSE_SECRET_KEY"}
"""Keys that the gateway is told of, and does not get."""

# Who gets a setting. What stands nowhere here goes to both.
GATEWAY_ONLY = {
    "API_KEYS", "API_KEYS_FILE", "CORS_ORIGINS", "STREAM_KEEPALIVE_SECONDS", "WATCH_TOKEN_SECONDS",
    "CHAT_TIMEOUT_SECONDS", "MAX_BODY_BYTES", "GATEWAY_HOST", "GATEWAY_PORT",
}  # fmt: skip
WORKER_ONLY = PROVIDERS | {
    "LOOP_STALL_SECONDS", "DRAIN_SECONDS", "AGENT_MAX_ITERATIONS", "MAX_TOKENS_PER_REQUEST", "MODEL_TIMEOUT_SECONDS",
    "TOOL_TIMEOUT_SECONDS", "AGENT_TIMEZONE", "SEARXNG_URL", "TAVILY_API_KEY", "FETCH_ENABLED", "FETCH_ALLOW_HTTP",
    "FETCH_ALLOW_HOSTS", "DATABASE_URL", "DATABASE_TIMEOUT_SECONDS", "DATABASE_MAX_ROWS", "LANGFUSE_SECRET_KEY",
    "OTEL_EXPORTER_OTLP_HEADERS", "WORKER_METRICS_HOST", "WORKER_METRICS_PORT",
}  # fmt: skip
NEITHER = {
    "GATEWAY_PROCESSES": "one process a container: run more containers",
    "WORKER_PROCESSES": "as GATEWAY_PROCESSES: --scale worker=N",
    "VAR_DIR": "the image's own; .env's is where `manage.py` keeps its data on the host",
    "SIMULATOR_OPTIONS": "of the one that `manage.py start` runs; here its options are its `command`",
    "GRAFANA_URL": "monitoring/import_dashboard.py's, which is for a Grafana elsewhere",
    "GRAFANA_TOKEN": "as GRAFANA_URL",
    "GRAFANA_USER": "as GRAFANA_URL, and the user of the Grafana here",
    "GRAFANA_PASSWORD": "as GRAFANA_USER",
    "PROMETHEUS_URL": "as GRAFANA_URL",
}
SET_HERE = {
    "REDIS_URL", "SIMULATOR_HOST", "SIMULATOR_PORT", "GATEWAY_HOST", "GATEWAY_PORT", "WORKER_METRICS_HOST",
    "WORKER_METRICS_PORT",
}  # fmt: skip
"""Given a value of the containers' own, because .env's is one of the host's."""

EVERYTHING = {name: f"{name.lower()}-of-the-env-file" for name in EXAMPLE}
IN_THE_GATEWAY = environment("gateway", EVERYTHING)
IN_A_WORKER = environment("worker", EVERYTHING)


@pytest.mark.parametrize("name", EXAMPLE)
def test_a_setting_reaches_who_reads_it(name: str) -> None:
    """A setting without a row in the tables above goes to both: add it to `x-settings` of docker-compose.yml."""
    wanted = {
        "gateway": name not in WORKER_ONLY and name not in NEITHER,
        "worker": name not in GATEWAY_ONLY and name not in NEITHER,
    }
    if name not in TOLD_OF:
        assert {"gateway": name in IN_THE_GATEWAY, "worker": name in IN_A_WORKER} == wanted
    for given in (IN_THE_GATEWAY, IN_A_WORKER):
        if name in given and name not in SET_HERE and not (given is IN_THE_GATEWAY and name in TOLD_OF):
            assert given[name] == EVERYTHING[name]


def names_of_settings() -> list[list[str]]:
    """Of each setting all the names that it may have."""
    names = []
    for field, info in Settings.model_fields.items():
        choices = getattr(info.validation_alias, "choices", None)
        names.append([str(choice) for choice in choices] if choices else [field.upper()])
    return names


def test_a_setting_s_older_names_reach_who_its_name_reaches() -> None:
    for name, *others in names_of_settings():
        for other in others:
            for service in ("gateway", "worker"):
                assert (name in environment(service, {name: "1"})) == (other in environment(service, {other: "1"})), (
                    other
                )


def test_nothing_is_set_that_no_process_reads() -> None:
    known = {alias for names in names_of_settings() for alias in names} | PROVIDERS | {"PROMETHEUS_MULTIPROC_DIR"}
    assert set(IN_THE_GATEWAY) | set(IN_A_WORKER) <= known


def test_a_secret_is_with_those_only_who_use_it() -> None:
    secrets = {
        **{name: {"worker"} for name in PROVIDERS | {"TAVILY_API_KEY", "DATABASE_URL", "OTEL_EXPORTER_OTLP_HEADERS"}},
        "LANGFUSE_SECRET_KEY": {"worker", "langfuse-web"},
        "API_KEYS": {"gateway"},
        "REDIS_PASSWORD": {"redis", "gateway", "worker", "redis-exporter"},
        "GRAFANA_PASSWORD": {"grafana", "host-grafana"},
    }
    given = {name: f"the-secret-{name}" for name in secrets}
    for name, holders in secrets.items():
        found = {
            service
            for service in services()
            if any(given[name] in value for value in environment(service, given).values())
        }
        assert found == holders, name


def test_the_gateway_knows_that_there_is_a_key_and_not_which() -> None:
    for name in TOLD_OF:
        assert environment("gateway", {name: "sk-a-real-one"})[name] == "held-by-the-worker"
        assert environment("gateway", {})[name] == ""


def test_every_variable_of_the_files_is_explained() -> None:
    page = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `([A-Z]+_[A-Z_]+)` \|", page, re.MULTILINE))
    settings = {alias for names in names_of_settings() for alias in names}
    assert variables_named() - set(EXAMPLE) - settings <= explained, "add it to the table of docs/containers.md"
    assert explained <= variables_named() | {"COMPOSE_PROFILES"}, "the table names what no file reads"


def test_every_path_that_is_mounted_exists() -> None:
    for name in services():
        for source, _, _ in mounts(name):
            if source.startswith("./"):
                assert (ROOT / source).exists(), source


def test_every_volume_is_used() -> None:
    used = {source for name in services() for source, _, _ in mounts(name) if "/" not in source}
    assert used == set(section("volumes"))


def test_every_address_is_a_service_at_the_port_that_it_listens_on() -> None:
    listens = {
        "redis": 6379, "gateway": 8000, "simulator": DEFAULT_SIMULATOR_PORT, "prometheus": 9090,
        "langfuse-postgres": 5432, "langfuse-redis": 6379, "langfuse-s3": 8333,
    }  # fmt: skip
    found = set()
    for text in strings([content["services"] for content in files().values()]):
        for url in re.findall(r"\w+://[^\s\"]+", text):
            address = urlsplit(re.sub(r"\$\{[^}]*\}", "x", url))
            host = address.hostname
            if host is None or host == "127.0.0.1":
                continue
            assert host in services(), url
            if host == "langfuse-clickhouse":
                assert address.port == {"http": 8123, "clickhouse": 9000}[address.scheme]
            else:
                assert address.port == listens[host], url
            found.add(host)
    assert {"redis", "prometheus", "langfuse-clickhouse"} <= found
    assert environment("gateway", {})["GATEWAY_PORT"] == str(listens["gateway"])
    assert environment("worker", {})["SIMULATOR_PORT"] == str(listens["simulator"])
    assert environment("worker", {})["SIMULATOR_HOST"] in services()
    assert services()["simulator"]["command"][-1] == str(listens["simulator"])


def test_prometheus_reads_the_services_at_the_ports_that_they_listen_on() -> None:
    page = (ROOT / "monitoring" / "prometheus" / "prometheus.compose.yml").read_text(encoding="utf-8")
    read = {job["job_name"]: job for job in yaml.safe_load(page)["scrape_configs"]}
    ((gateway,), (worker,)) = (read[name]["dns_sd_configs"] for name in ("gateway", "worker"))
    assert (gateway["names"], str(gateway["port"])) == (["gateway"], environment("gateway", {})["GATEWAY_PORT"])
    assert (worker["names"], str(worker["port"])) == (["worker"], environment("worker", {})["WORKER_METRICS_PORT"])
    others = {name: job["static_configs"][0]["targets"] for name, job in read.items() if "static_configs" in job}
    asked = {target for targets in others.values() for target in targets} - {"127.0.0.1:9090"}
    assert asked == {"redis-exporter:9121", "node-exporter:9100", "alertmanager:9093"}
    for target in asked | {"gateway:", "worker:"}:
        assert set(services()[target.split(":")[0]]["networks"]) & set(services()["prometheus"]["networks"]), target


def test_grafana_finds_its_boards_where_they_are_mounted() -> None:
    provisioned = ROOT / "monitoring" / "grafana" / "provisioning" / "dashboards" / "longhaul.yaml"
    (provider,) = yaml.safe_load(provisioned.read_text(encoding="utf-8"))["providers"]
    for name in ("grafana", "host-grafana"):
        mounted = {target: source for source, target, _ in mounts(name)}
        assert list((ROOT / mounted[provider["options"]["path"]]).glob("*.json")), name
        assert "PROMETHEUS_URL" in environment(name, {}), "the data source's file reads it"


def test_no_two_services_of_a_profile_have_a_port_of_this_machine() -> None:
    """Beside `manage.py start` nothing takes its port either."""
    taken: dict[str, list[str]] = {}
    for name, one in services().items():
        for port in one.get("ports", []):
            taken.setdefault(port.rsplit(":", 1)[0], []).append(name)
    assert all(len(names) == 1 for names in taken.values()), taken
    assert not [name for name in services("monitoring") if "ports" in services()[name]]
