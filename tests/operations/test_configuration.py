"""Settings and Redis that cannot work: what is said, and that nothing is started."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core_config import Settings
from operations import commandline, configuration, env_example, redis_check
from operations.errors import CommandError
from tests.conftest import RedisServer, free_port

from .conftest import ROOT

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs `start` with an environment, which has to refuse with these words and to start nothing."""

    def run(*words: str, **environment: str) -> str:
        with monkeypatch.context() as patch:
            defaults = {"VAR_DIR": str(tmp_path / "var"), "GATEWAY_PORT": str(free_port())}
            for name, value in (defaults | environment).items():
                patch.setenv(name, value)
            assert commandline.run("start", []) == 1
        said = capsys.readouterr().err
        for word in ("manage.py start: ", *words):
            assert word in said
        assert not (tmp_path / "var").exists()
        return said

    return run


def test_start_refuses_a_redis_that_is_not_there(refused: Refused) -> None:
    port = free_port()
    shown = f"redis://:***@127.0.0.1:{port}/0"
    said = refused(shown, "refused", "REDIS_URL", REDIS_URL=f"redis://:pw1@127.0.0.1:{port}/0")
    assert "pw1" not in said
    refused("no.such.host.invalid", "not known", REDIS_URL="redis://no.such.host.invalid:6379/0")
    refused("no Redis address", REDIS_URL="http://127.0.0.1:6379")


def test_start_names_the_key_the_value_and_the_remedy(refused: Refused) -> None:
    refused("GATEWAY_PORT=99999", "less than or equal to 65535", ".env", GATEWAY_PORT="99999")
    refused("AGENT_TIMEZONE=Mars/Crater", "Europe/Berlin", AGENT_TIMEZONE="Mars/Crater")
    said = refused("WORKER_PROCESSES=x", "LEASE_SECONDS=0", WORKER_PROCESSES="x", LEASE_SECONDS="0")
    assert "pydantic" not in said
    assert "ATTEMPT_TIMEOUT_SECONDS=-1" in refused(AGENT_TIMEOUT_SECONDS="-1")


def test_start_refuses_an_open_door(refused: Refused) -> None:
    refused("GATEWAY_HOST=0.0.0.0", "keys new", GATEWAY_HOST="0.0.0.0")
    keys = {"API_KEYS": f"alice:{'0' * 64}", "ACTIVE_MODEL_KEY": "Simulator"}
    refused("GATEWAY_HOST=203.0.113.7", GATEWAY_HOST="203.0.113.7", **keys)  # no address of this machine
    said = refused("API_KEYS, entry 1", API_KEYS="alice:not-a-hash", ACTIVE_MODEL_KEY="Simulator")
    assert "not-a-hash" not in said


def test_start_refuses_a_model_that_cannot_answer(refused: Refused) -> None:
    refused("ACTIVE_MODEL_KEY", "DASHSCOPE_API_KEY", ACTIVE_MODEL_KEY="Qwen-Max")
    refused("DASHSCOPE_API_KEY", ACTIVE_MODEL_KEY="Qwen-Max", DASHSCOPE_API_KEY="sk-xxxx")
    refused("Simulator", API_KEYS=f"alice:{'0' * 64}")


def test_start_refuses_a_bad_agents_file(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "agents.toml"
    refused(f"AGENTS_FILE {file}", "cannot be read", AGENTS_FILE=str(file))
    file.write_text('[agents.a]\n\nmodle = "GPT"\n')
    refused(f"AGENTS_FILE {file}, line 3, agent 'a', modle", "did you mean 'model'?", AGENTS_FILE=str(file))


def test_a_misspelt_setting_is_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "ROOT", tmp_path)
    assert configuration.misspelt() == []
    (tmp_path / ".env").write_text(
        "WORKER_PROCESES=4\nMY_OWN_API_KEY=x\nworker_concurrency=3\nAGENT_TIMEOUT_SECONDS=9\n"
    )
    (warning,) = configuration.misspelt()
    assert "WORKER_PROCESES" in warning
    assert "did you mean WORKER_PROCESSES?" in warning


def test_a_copy_of_settings_has_the_address_of_its_own_redis() -> None:
    settings = Settings(_env_file=None, redis_url="redis://127.0.0.1:1/0")
    assert settings.redis_address == "redis://127.0.0.1:1/0"
    assert settings.model_copy(update={"redis_url": "redis://127.0.0.1:2/0"}).redis_address == "redis://127.0.0.1:2/0"


def test_the_example_is_what_settings_say() -> None:
    """After a change of Settings: `python -m operations.env_example`."""
    written = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert written == env_example.render()
    names = [line.removesuffix("=") for line in written.splitlines() if line and not line.startswith("#")]
    assert len(names) == len(set(names))
    documented = {configuration.variable_names()[field][0] for field in Settings.model_fields}
    assert documented < set(names)
    assert {"DEEPSEEK_API_KEY", "DASHSCOPE_API_KEY"} <= set(names)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:secret@host:1/0", "redis://:***@host:1/0"),
        ("rediss://me:se@cret@host/0", "rediss://me:***@host/0"),
        ("redis://host:port/0", "(an address that cannot be read)"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert redis_check.without_password(url) == shown


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("::", "http://[::1]:8000"),
    ],
)
def test_where_this_machine_reaches_the_gateway(host: str, url: str) -> None:
    assert configuration.gateway_url(Settings(gateway_host=host)) == url


def test_a_redis_that_works_says_what_it_promises(redis_server: RedisServer) -> None:
    facts = redis_check.check(redis_server.url)
    assert facts.version
    assert facts.memory_bytes > 0
    assert redis_server.process
    assert facts.process_id == redis_server.process.pid
    assert "append-only" in facts.durability
    assert facts.warning == ""


def told(url: str) -> str:
    with pytest.raises(CommandError) as caught:
        redis_check.check(url)
    return str(caught.value)


def test_what_a_redis_can_be_wrong_with_is_told_apart(redis_server: RedisServer) -> None:
    with redis_check.connect(redis_server.url) as client:
        client.config_set("maxmemory-policy", "volatile-lru")  # and no limit yet: one CONFIG SET away
        try:
            assert "noeviction" in told(redis_server.url)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
        client.acl_setuser("ops", enabled=True, passwords=["+right"], commands=["+ping"])
        try:
            host = redis_server.url.removeprefix("redis://")
            assert "refuses the password" in told(f"redis://ops:wrong@{host}")
            assert "may not run" in told(f"redis://ops:right@{host}")
        finally:
            client.acl_deluser("ops")


def test_a_redis_that_loads_is_waited_for(serving: Callable[[list[bytes]], str]) -> None:
    said: list[str] = []
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    url = serving([loading, loading])
    with pytest.raises(CommandError):  # what comes after is no Redis
        redis_check.check(url, said.append)
    assert ["loading its data" in line for line in said] == [True, True]


def test_a_redis_that_never_answers_is_told(serving: Callable[[list[bytes]], str]) -> None:
    assert "no answer within 3 s" in told(serving([b""]))


@pytest.fixture
def serving(request: pytest.FixtureRequest) -> Callable[[list[bytes]], str]:
    """Makes a server that gives each connection one reply to whatever it says, then closes the rest."""

    def serve(replies: list[bytes]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        held: list[socket.socket] = []

        def run() -> None:
            left = list(replies)
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                if not left:
                    connection.close()
                    continue
                reply = left.pop(0)
                while connection.recv(4096) and reply:
                    connection.sendall(reply * 3)  # the client names itself before it asks

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def close() -> None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            for connection in held:
                connection.close()
            thread.join(5)

        request.addfinalizer(close)
        return f"redis://127.0.0.1:{listener.getsockname()[1]}/0"

    return serve
