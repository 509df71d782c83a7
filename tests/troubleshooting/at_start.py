"""What is said when Longhaul cannot start: nothing is started here but what the message is about."""

import runpy
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core_config import ROOT
from longhaul_testing.ports import free_port
from operations import configuration, environment, install, redis_check
from tests.conftest import RedisServer

from .conftest import Command
from .provoke import provokes

KEYS = {"API_KEYS": f"alice:{'0' * 64}"}


@provokes("python-too-old")
def an_old_python(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(sys, "argv", ["manage.py", "start"])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / "manage.py"), run_name="__main__")
    return str(caught.value)


def _environment(python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said when the .venv of a new clone cannot be made with this program in the place of Python."""
    (tmp_path / "python").write_text(f"#!/bin/sh\n{python}\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(install.InstallError) as caught:
        install.sync(tmp_path / "python", ROOT / "requirements.lock", 1)
    return f"manage.py: {caught.value}"


@provokes("no-pip")
def a_python_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return _environment("echo No module named pip; exit 1", tmp_path, monkeypatch)


@provokes("no-index")
def no_way_to_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    says = 'case "$*" in *--version*) exit 0;; esac; echo "Failed to establish a new connection"; exit 1'
    return _environment(says, tmp_path, monkeypatch)


@provokes("foreign-venv")
def somebody_elses_venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mine").touch()
    for name, path in {"VENV": "", "PYTHON": "bin/python", "FINISHED": "f", "UNFINISHED": "u"}.items():
        monkeypatch.setattr(environment, name, tmp_path / path)
    with pytest.raises(SystemExit):
        environment.enter(["start"])
    return capsys.readouterr().err


@provokes("port-taken")
def a_taken_port(command: Command) -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return command("start", GATEWAY_PORT=str(listener.getsockname()[1]))


@provokes("var-dir")
def a_var_dir_that_is_none(command: Command) -> str:
    return command("start", VAR_DIR="/dev/null/longhaul")


@provokes("setting")
def a_setting_of_the_wrong_kind(command: Command) -> str:
    return command("start", WORKER_CONCURRENCY="many")


@provokes("misspelt")
def a_misspelt_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(configuration, "ROOT", tmp_path)
    (tmp_path / ".env").write_text("WORKER_CONCURENCY=5\n")
    return "\n".join(configuration.misspelt())


@provokes("open-door")
def an_open_door(command: Command) -> str:
    return command("start", GATEWAY_HOST="0.0.0.0")


@provokes("api-keys")
def a_key_in_clear(command: Command) -> str:
    return command("start", API_KEYS="alice:my-own-password", ACTIVE_MODEL_KEY="Simulator")


@provokes("cors-origins")
def an_origin_with_a_slash(command: Command) -> str:
    return command("start", CORS_ORIGINS="http://localhost:8080/")


@provokes("no-model")
def keys_and_no_model(command: Command) -> str:
    return command("start", **KEYS)


@provokes("model-without-key")
def a_model_without_key(command: Command) -> str:
    return command("start", ACTIVE_MODEL_KEY="Qwen-Max", DASHSCOPE_API_KEY="sk-xxxx")


@provokes("model-unknown")
def a_model_that_is_none(command: Command) -> str:
    return command("start", ACTIVE_MODEL_KEY="Deepseek")


@provokes("models-file")
def a_wrong_models_file(command: Command, tmp_path: Path) -> str:
    (tmp_path / "models.toml").write_text('[Mine]\nlitellm_id = "openai/mine"\nbase_ulr = "http://127.0.0.1:1"\n')
    return command("start", MODELS_FILE=str(tmp_path / "models.toml"))


@provokes("agents-file")
def a_wrong_agents_file(command: Command, tmp_path: Path) -> str:
    (tmp_path / "agents.toml").write_text('[agents.mine]\npromt = "Be brief."\n')
    return command("start", AGENTS_FILE=str(tmp_path / "agents.toml"))


@provokes("redis-address")
def an_address_of_no_redis(command: Command) -> str:
    return command("start", REDIS_URL="127.0.0.1:6379")


@provokes("redis-refused")
def a_redis_that_is_not_there(command: Command) -> str:
    return command("start", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")


@provokes("redis-host")
def a_host_that_nobody_knows(command: Command) -> str:
    return command("start", REDIS_URL="redis://no-such-host.invalid:6379/0")


@provokes("redis-password")
def a_wrong_password(command: Command, redis_server: RedisServer) -> str:
    with redis_check.connect(redis_server.url) as client:
        client.acl_setuser("troubled", enabled=True, passwords=["+right"], commands=["+ping"])
        try:
            return command("start", REDIS_URL=redis_server.url.replace("//", "//troubled:wrong@"))
        finally:
            client.acl_deluser("troubled")


@provokes("redis-rights")
def a_user_without_rights(command: Command, redis_server: RedisServer) -> str:
    with redis_check.connect(redis_server.url) as client:
        client.acl_setuser("poor", enabled=True, passwords=["+right"], commands=["+ping"])
        try:
            return command("start", REDIS_URL=redis_server.url.replace("//", "//poor:right@"))
        finally:
            client.acl_deluser("poor")


@provokes("redis-silent")
def a_redis_that_says_nothing(command: Command) -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return command("start", REDIS_URL=f"redis://127.0.0.1:{listener.getsockname()[1]}/0")


@provokes("redis-old")
def an_old_redis(command: Command) -> str:
    info = b"redis_version:5.0.7\r\nredis_mode:standalone\r\nrole:master\r\nused_memory:1\r\nprocess_id:1\r\n"
    with _speaking(info) as url:
        return command("start", REDIS_URL=url)


@contextmanager
def _speaking(info: bytes) -> Iterator[str]:
    """A server that answers INFO with this and everything else with OK."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while asked := connection.recv(4096):
                    replies = [b"+OK\r\n"] * asked.upper().count(b"\r\nCLIENT\r\n")
                    if b"\r\nPING\r\n" in asked:
                        replies.append(b"+PONG\r\n")
                    if b"\r\nINFO\r\n" in asked:
                        replies.append(b"$%d\r\n%s\r\n" % (len(info), info))
                    connection.sendall(b"".join(replies))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@provokes("redis-evicts")
def a_redis_that_evicts(command: Command, redis_server: RedisServer) -> str:
    with redis_check.connect(redis_server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", "500mb")
        try:
            return command("start", REDIS_URL=redis_server.url)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "0")


@provokes("redis-forgets")
def a_redis_that_keeps_nothing(command: Command, redis_server: RedisServer) -> str:
    with redis_check.connect(redis_server.url) as client, socket.create_server(("127.0.0.1", 0)):
        client.config_set("appendonly", "no")
        try:
            return redis_check.check(redis_server.url).warning
        finally:
            client.config_set("appendonly", "yes")


@provokes("not-running")
def a_command_for_a_system_that_does_not_run(command: Command) -> str:
    return command("ask", "Is anybody there?")


@provokes("stop-nothing")
def a_stop_of_nothing(command: Command) -> str:
    return command("stop")


@provokes("logs-of-no-task")
def logs_of_a_task_that_ran_elsewhere(command: Command, tmp_path: Path) -> str:
    (tmp_path / "var" / "logs").mkdir(parents=True)
    (tmp_path / "var" / "logs" / "worker-1.log").touch()
    return command("logs", "--task", "f" * 32)
