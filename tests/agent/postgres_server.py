"""A Postgres server of the tests' own: a cluster in a temporary folder, on a loopback port, ended with them."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import free_port

IN_CI = bool(os.environ.get("CI"))

SHOP = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, city text);
CREATE TABLE orders (
    id int PRIMARY KEY, customer_id int REFERENCES customers, total numeric(10, 2), paid bool, at timestamptz,
    note bytea
);
CREATE VIEW big_orders AS SELECT * FROM orders WHERE total > 100;
CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1';
CREATE SCHEMA private;
CREATE TABLE private.salaries (id int, amount int);
CREATE SEQUENCE numbers;
INSERT INTO customers SELECT n, 'Customer ' || n, CASE n % 2 WHEN 0 THEN 'Hangzhou' ELSE 'Leipzig' END
    FROM generate_series(1, 40) n;
INSERT INTO orders SELECT n, 1 + n % 40, n * 2.5, n % 3 = 0, '2026-01-01 12:00+00'::timestamptz + n * interval '1 day',
    '\\x00ff' FROM generate_series(1, 240) n;
"""


class PostgresServer:
    """`admin` is the address of the superuser, `reader` of a role made as docs/tools.md says."""

    def __init__(self, binaries: Path, folder: Path, role_script: str) -> None:
        self.port = free_port()
        self.admin = f"postgresql://admin@127.0.0.1:{self.port}/shop"
        self.reader = f"postgresql://longhaul_reader:a-long-password@127.0.0.1:{self.port}/shop"
        self._binaries = binaries
        self._folder = folder
        self._role_script = role_script
        # The server refuses to run as root. `user=` of Popen is then who it runs as.
        owner = next(entry for name in ("postgres", "nobody") if (entry := _user(name))) if os.geteuid() == 0 else None
        self._as: dict[str, Any] = {}
        if owner is not None:
            self._as = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        data = self._folder / "data"
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(self._folder)}
        subprocess.run(
            [self._binaries / "initdb", "-D", data, "-U", "admin", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
             "--auth-local=reject", "--auth-host=scram-sha-256"],
            check=True, stdout=subprocess.DEVNULL, cwd=self._folder, env=environment, **self._as,
        )  # fmt: skip
        hba = "host all admin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (data / "pg_hba.conf").write_text(hba)
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off",
            "shared_buffers": "16MB", "max_connections": 30, "autovacuum": "off", "log_min_messages": "panic",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [self._binaries / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())],
            cwd=self._folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._as,
        )  # fmt: skip
        self._until_ready()
        with psycopg.connect(self.admin.replace("/shop", "/postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE shop")
        self.execute(SHOP)
        self.execute(self._role_script)

    def execute(self, script: str) -> None:
        """As the superuser."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(script.encode())

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # fast: without waiting for clients
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(20)

    def _until_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.admin.replace("/shop", "/postgres"), connect_timeout=5).close()
                return
            time.sleep(0.05)
        raise AssertionError("the tests' Postgres did not start")


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _binaries() -> Path | None:
    """Where initdb and postgres are: Debian keeps them off the PATH."""
    on_path = shutil.which("initdb")
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    if on_path is not None:
        places.append(Path(on_path).resolve().parent)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


@contextlib.contextmanager
def postgres_server(role_script: str) -> Iterator[PostgresServer]:
    """Skips where there is no Postgres to start; fails there in CI, which installs it."""
    binaries = _binaries()
    if binaries is None:
        if IN_CI:
            pytest.fail("no initdb in /usr/lib/postgresql/*/bin or on the PATH: .ci/run installs postgresql")
        pytest.skip("no Postgres server on this machine: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="longhaul-postgres-"))
    server = PostgresServer(binaries, folder, role_script)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
