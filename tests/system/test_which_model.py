"""Which model runs, and starts that must be refused: what is said, and the exit code."""

import pytest

from tests.conftest import free_port

KEY = "a" * 40


def active_of(system):
    [active] = [model["name"] for model in system.http.get("/models").json()["models"] if model["active"]]
    return active


def test_nothing_set_is_the_simulator_and_said_loudly(system):
    assert "SIMULATED" in system.started
    assert active_of(system) == "Simulator"


def test_one_key_is_that_keys_model(make_system):
    system = make_system(DASHSCOPE_API_KEY=KEY)
    started = system.manage("start")
    assert started.returncode == 0, started.stderr
    assert "Qwen-Max" in started.stdout
    assert "SIMULATED" not in started.stdout
    assert active_of(system) == "Qwen-Max"
    assert KEY not in system.http.get("/models").text
    assert KEY not in system.manage("logs").stdout


def test_a_placeholder_is_no_key(make_system):
    placeholders = {"DASHSCOPE_API_KEY": "sk-xxxx", "OPENAI_API_KEY": "your-api-key-here", "ANTHROPIC_API_KEY": "<key>"}
    listed = make_system(**placeholders, DEEPSEEK_API_KEY="").manage("models").stdout
    active = next(line for line in listed.splitlines() if line.startswith("*"))
    assert "Simulator" in active


ENTRY = f"alice:{'0' * 64}"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"ACTIVE_MODEL_KEY": "DeepSeek-V3"}, ["DeepSeek-V3", "DEEPSEEK_API_KEY"]),
        ({"ACTIVE_MODEL_KEY": "Deepseek"}, ["Deepseek", "DeepSeek-V3", "Simulator"]),
        ({"API_KEYS": ENTRY}, ["ACTIVE_MODEL_KEY", "Simulator"]),
        ({"GATEWAY_HOST": "0.0.0.0"}, ["GATEWAY_HOST", "API_KEYS"]),
        ({"GATEWAY_HOST": "0.0.0.0", "API_KEYS": ENTRY}, ["ACTIVE_MODEL_KEY", "Simulator"]),
        ({"API_KEYS": "alice", "ACTIVE_MODEL_KEY": "Simulator"}, ["API_KEYS"]),
        ({"WORKER_CONCURRENCY": "many"}, ["WORKER_CONCURRENCY", "many"]),
        ({"AGENT_TIMEZONE": "Mars/Olympus"}, ["AGENT_TIMEZONE", "Mars/Olympus"]),
        ({"MODELS_FILE": "absent.toml"}, ["MODELS_FILE", "absent.toml"]),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(make_system, environment, says):
    system = make_system(**environment)
    started = system.manage("start")
    assert started.returncode in {1, 2}
    said = started.stderr + started.stdout
    assert all(word in said for word in says), said
    assert "Traceback" not in said
    assert not (system.folder / "var" / "run.json").exists(), "nothing runs"


def test_a_redis_that_is_not_there_is_told_with_its_address(make_system):
    for url in (f"redis://127.0.0.1:{free_port()}/0", "redis://no-such-host.invalid:6379/0", "http://127.0.0.1:1"):
        started = make_system(REDIS_URL=url).manage("start")
        assert started.returncode in {1, 2}
        assert "REDIS_URL" in started.stderr
        assert "Traceback" not in started.stderr


def test_a_taken_port_is_told_with_its_setting(make_system, redis_server):
    started = make_system(GATEWAY_PORT=str(redis_server.port)).manage("start")
    assert started.returncode == 1
    assert "GATEWAY_PORT" in started.stderr
    assert str(redis_server.port) in started.stderr


def test_with_keys_a_simulator_chosen_by_name_runs_and_asks_for_the_key(make_system):
    maker = make_system()
    made = maker.manage("keys", "new", "alice")
    assert made.returncode == 0
    key = next(word for word in made.stdout.split() if word.startswith("ak_"))
    entry = next(word for word in made.stdout.split() if "alice:" in word).split("=")[-1].strip("\"'")
    system = make_system(API_KEYS=entry, ACTIVE_MODEL_KEY="Simulator").start()
    assert system.http.post("/task", json={"message": "hi"}).status_code == 401
    allowed = {"Authorization": f"Bearer {key}"}
    answer = system.http.post("/chat", json={"message": "Compute 1 + 1"}, headers=allowed)
    assert answer.status_code == 200
    logs = (system.folder / "var" / "logs").glob("*")
    assert all(key not in log.read_text() for log in logs)
