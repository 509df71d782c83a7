"""The services of docker-compose.yml without a container engine.

Each process is the service's own command, with the environment that Compose would give it and the image's, in the tree
that the Dockerfile makes, as the image's user and with no right to write but in a directory that stands for its tmpfs.
Only addresses and ports are others: containers have networks of their own, and these share this machine's loopback.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from dotenv import dotenv_values

from core_config import ROOT
from longhaul_testing.ports import free_port
from operations.embedded_redis import find_server

from . import compose_files, image_tree

PATIENCE_S = 600
"""Of everything that is waited for: a bound for machines that are loaded, no expectation."""
SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/bin"


def found(program: str, remedy: str) -> str:
    """Its path. Skips the test where it is not installed, and fails it in CI."""
    path = shutil.which(program, path=SYSTEM_PATH)
    if path is None:
        reason = f"{program} is not installed ({remedy})"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    return path


def confined(user: str) -> list[str]:
    """What a command begins with to run as `user` (uid:gid) with no right but to read: the tests' Python may be in
    somebody's home. Empty when these tests are not root's, and the user is then theirs.
    """
    if os.geteuid() != 0:
        return []
    uid, _, gid = user.partition(":")
    rights = "-all,+dac_read_search"
    return [
        found("setpriv", "Debian: util-linux"), f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
        f"--inh-caps={rights}", f"--ambient-caps={rights}", f"--bounding-set={rights}", "--no-new-privs",
    ]  # fmt: skip


class Containers:
    def __init__(self, folder: Path) -> None:
        """`folder` is empty, and its own; .env in it is made by deploy/new_env.sh."""
        self.folder = folder
        self.app, self.tmp, self.data = folder / "app", folder / "tmp", folder / "data"
        (user,) = (one.rest for one in image_tree.instructions()[1] if one.word == "USER")
        self.user = user
        self.said = subprocess.run(
            ["/bin/sh", str(ROOT / "deploy" / "new_env.sh"), str(folder / ".env")],
            env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        (self.key,) = re.findall(r"\bak_\w+", self.said)
        self.variables = {name: value or "" for name, value in dotenv_values(folder / ".env").items()}
        self.ports = {name: free_port() for name in ("redis", "simulator", "gateway", "nginx", "worker")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        image_tree.make(self.app)
        for path in (self.tmp, self.data):
            path.mkdir()
        if os.geteuid() == 0:
            uid, gid = map(int, user.split(":"))
            os.chown(self.tmp, uid, gid)

    # -- what is another here than in a container

    def here(self, text: str) -> str:
        """The same with this machine's addresses, ports and folders."""
        for name, port in (("redis", 6379), ("simulator", 8010), ("gateway", 8000)):
            text = re.sub(rf"(@|//|^|\s){name}:{port}\b", rf"\g<1>127.0.0.1:{self.ports[name]}", text)
        text = re.sub(r"^/app\b", str(self.app), re.sub(r"^/tmp\b", str(self.tmp), text))
        return sys.executable if text == "python" else text

    def environment(self, service: str) -> dict[str, str]:
        given = {**image_tree.variables(), **compose_files.environment(service, self.variables)}
        given |= {"PATH": "/usr/bin:/bin", "TMPDIR": str(self.tmp)}
        own = {
            "GATEWAY_HOST": ("0.0.0.0", "127.0.0.1"),
            "GATEWAY_PORT": ("8000", str(self.ports["gateway"])),
            "SIMULATOR_HOST": ("simulator", "127.0.0.1"),
            "SIMULATOR_PORT": ("8010", str(self.ports["simulator"])),
            "WORKER_METRICS_HOST": ("0.0.0.0", "127.0.0.1"),
            "WORKER_METRICS_PORT": ("9808", str(self.ports["worker"])),
        }
        for name, (there, here) in own.items():
            if name in given:
                assert given[name] == there
                given[name] = here
        return {name: self.here(value) for name, value in given.items()}

    # -- starting

    def start_app(self, service: str) -> None:
        """A service of our image."""
        command = [self.here(part) for part in compose_files.command(service, self.variables)]
        port = {"0.0.0.0": "127.0.0.1", "8010": str(self.ports["simulator"])}
        command = [command[0], *(port.get(part, part) for part in command[1:])]
        self._start(service, [*confined(self.user), *command], self.environment(service), self.app)

    def start_redis(self) -> None:
        program, mounted, *options = compose_files.command("redis", self.variables)
        assert program == "valkey-server"
        changed = {
            "dir /data": f"dir {self.data}",
            "port 6379": f"port {self.ports['redis']}",
            "bind * -::*": "bind 127.0.0.1",
        }
        self._start("redis", [str(find_server()), self._file("redis", mounted, changed), *options], {}, self.data)

    def start_nginx(self) -> None:
        nginx = found("nginx", "Debian: apt-get install nginx-light")
        changed = {
            " /tmp/": f" {self.tmp}/",
            "gateway:8000": f"127.0.0.1:{self.ports['gateway']}",
            "listen 8080;": f"listen 127.0.0.1:{self.ports['nginx']};",
            "/dev/stdout": str(self.tmp / "access.log"),
        }
        mounted = "/etc/longhaul/nginx.conf"
        options = compose_files.command("nginx", self.variables)
        command = [self._file("nginx", mounted, changed) if part == mounted else part for part in options]
        self._start("nginx", [*confined(self.user), nginx, *command], {}, self.tmp)

    def _file(self, service: str, mounted: str, changed: Mapping[str, str]) -> str:
        """The path of a copy of the file that the service has at `mounted`, with these texts replaced by others."""
        (source,) = [source for source, target, _ in compose_files.mounts(service) if target == mounted]
        text = (ROOT / source).read_text(encoding="utf-8")
        for there, here in changed.items():
            assert there in text, there
            text = text.replace(there, here)
        copy = self.folder / Path(mounted).name
        copy.write_text(text, encoding="utf-8")
        return str(copy)

    def _start(self, name: str, command: list[str], environment: dict[str, str], cwd: Path) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    # -- asking

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Fails at once, with its log, when a process ends meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended: {self.log(name)}"
            with contextlib.suppress(httpx.TransportError):
                if holds():
                    return
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
            time.sleep(0.05)

    def healthy(self, service: str) -> bool:
        """As the service's health check says, run as the engine would: in the container, as its user."""
        return self.healthy_at(service, self.ports[service])

    def healthy_at(self, service: str, port: int) -> bool:
        """The same with another port than the service listens on."""
        check = compose_files.services()[service]["healthcheck"]["test"][1:]
        # in a container 127.0.0.1 is its own, and the port the one that it listens on there
        check = [re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", self.here(part)) for part in check]
        command = [*confined(self.user), *check]
        done = subprocess.run(command, cwd=self.app, env=self.environment(service), capture_output=True, text=True)
        return done.returncode == 0

    def client(self, key: str | None) -> httpx.Client:
        """Through nginx."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        url = f"http://127.0.0.1:{self.ports['nginx']}"
        return httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S, trust_env=False)

    def end(self) -> None:
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGKILL)
            process.wait()
        image_tree.release(self.app)
