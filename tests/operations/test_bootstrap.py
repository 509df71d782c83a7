"""The first run: `.venv` from the lock, offline here, with pip or with a stand-in for uv that a test can hold up."""

import base64
import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations import runstate
from tests.conftest import free_port

from .conftest import ROOT, until

BASE_PYTHON = Path(getattr(sys, "_base_executable", sys.executable))

# In the place of a command that needs everything: says where it runs and which `tiny` it sees.
COMMAND = """
def add_arguments(parser): pass
def run(arguments):
    import sys
    try:
        import tiny
        print(sys.prefix, tiny.VERSION)
    except ImportError:
        print(sys.prefix, "without tiny")
    return 0
"""

# Holds the first call up until it is told to go on, and counts the calls.
UV = """#!/bin/sh
echo "$@" >> {folder}/uv-calls
echo $$ > {folder}/uv-pid
while [ -e {folder}/uv-waits ]; do {sleep} 0.05; done
exit 0
"""


def wheel(folder: Path, version: str) -> str:
    """A wheel of the package `tiny`, made by hand; returns its line for a lock."""
    info = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    records = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}"
        for name, text in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*records, f"{info}/RECORD,,"]) + "\n"
    path = folder / f"tiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return f"tiny=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Clone:
    """A new clone on a machine whose PATH holds python3 and nothing else, and whose index is a directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clone"
        self.wheels, self.path = folder / "wheels", folder / "bin"
        for made in (self.folder / "operations", self.wheels, self.path):
            made.mkdir(parents=True)
        shutil.copy(ROOT / "manage.py", self.folder)
        for name in ("__init__.py", "environment.py", "install.py", "commandline.py", "errors.py", "installer.lock"):
            shutil.copy(ROOT / "operations" / name, self.folder / "operations")
        for name in ("status.py", "test.py"):
            (self.folder / "operations" / name).write_text(COMMAND)
        (self.path / "python3").symlink_to(BASE_PYTHON)
        self.venv = self.folder / ".venv"
        self.lock(wheel(self.wheels, "1.0"))
        (self.folder / "requirements-dev.lock").write_text("tiny\ntiny-tests\n")
        self.environment = {
            "PATH": str(self.path),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull,
        }

    def lock(self, text: str) -> None:
        (self.folder / "requirements.lock").write_text(text)

    def command(self, name: str = "status") -> list[str]:
        return [str(self.path / "python3"), str(self.folder / "manage.py"), name]

    def run(self, name: str = "status", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(name), env={**self.environment, **more}, cwd="/", capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip

    @contextlib.contextmanager
    def popen(self) -> "Iterator[subprocess.Popen[str]]":
        """A run in the background, which a failing test does not wait for."""
        with subprocess.Popen(
            self.command(), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            except BaseException:
                (self.folder / "uv-waits").unlink(missing_ok=True)
                process.kill()
                raise

    def add_uv(self, *, waits: bool = False) -> None:
        program = UV.format(folder=self.folder, sleep=shutil.which("sleep", path=os.defpath))
        (self.path / "uv").write_text(program)
        (self.path / "uv").chmod(0o755)
        if waits:
            (self.folder / "uv-waits").touch()

    def let_uv_go(self) -> None:
        (self.folder / "uv-waits").unlink()

    def uv_calls(self) -> list[str]:
        calls = self.folder / "uv-calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def synced(self) -> list[str]:
        """The locks that uv was told to install, in order."""
        return [Path(call.split()[-1]).name for call in self.uv_calls()]


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    made = Clone(tmp_path)
    yield made
    (made.folder / "uv-waits").unlink(missing_ok=True)  # lets a forgotten stand-in end


def test_pip_does_it_when_uv_cannot_and_brings_it_up_to_date_and_no_network_is_told(clone: Clone) -> None:
    (clone.path / "uv").write_text("#!/bin/sh\necho 'uv is broken'\nexit 3\n")
    (clone.path / "uv").chmod(0o755)
    first = clone.run()
    assert (first.returncode, first.stdout) == (0, f"{clone.venv} 1.0\n"), first.stderr
    assert "installing 1 pinned packages" in first.stderr
    assert "uv is broken" in first.stderr
    assert "uv could not install (exit 3" in first.stderr
    assert "installed with pip in" in first.stderr
    assert list(clone.venv.glob("lib/*/site-packages/__pycache__/tiny.*.pyc")), "its modules are compiled"
    second = clone.run()
    assert (second.returncode, second.stdout, second.stderr) == (0, f"{clone.venv} 1.0\n", "")

    good = wheel(clone.wheels, "2.0")
    clone.lock(re.sub("sha256:.", "sha256:" + ("0" if "sha256:0" not in good else "1"), good))
    wrong = clone.run()
    assert wrong.returncode == 1
    assert "pip could not install" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert not (clone.venv / "longhaul.finished").exists()

    (clone.path / "uv").unlink()  # and now there is none, and the index has none either
    clone.lock(good)
    mended = clone.run()
    assert (mended.returncode, mended.stdout) == (0, f"{clone.venv} 2.0\n"), mended.stderr
    assert "uv is not to be had here" in mended.stderr

    # neither tool gets anywhere
    clone.environment |= {"PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/simple", "PIP_RETRIES": "0"}
    del clone.environment["PIP_NO_INDEX"], clone.environment["PIP_FIND_LINKS"]
    clone.lock(wheel(clone.wheels, "3.0"))
    alone = clone.run()
    assert alone.returncode == 1
    assert "the package index cannot be reached" in alone.stderr.splitlines()[-1]
    assert "HTTPS_PROXY" in alone.stderr.splitlines()[-1]
    assert not (clone.venv / "longhaul.finished").exists()


def test_uv_is_called_with_hashes(clone: Clone) -> None:
    clone.add_uv()
    done = clone.run()
    assert (done.returncode, done.stdout) == (0, f"{clone.venv} without tiny\n"), done.stderr
    (call,) = clone.uv_calls()
    lock = clone.folder / "requirements.lock"
    assert call == f"pip sync --require-hashes --compile-bytecode --python {clone.venv / 'bin' / 'python'} {lock}"


def test_a_killed_install_never_looks_finished_and_its_installer_is_waited_for(clone: Clone) -> None:
    clone.add_uv(waits=True)
    with clone.popen() as killed:
        until(clone.uv_calls, "the installer runs")
        killed.send_signal(signal.SIGKILL)
        assert not (clone.venv / "longhaul.finished").exists()
        (clone.venv / "half-written").touch()
        with clone.popen() as second:
            assert second.stderr
            assert "another manage.py is installing" in second.stderr.readline()
            clone.let_uv_go()  # the first run's installer ends, and with it the lock that it had inherited
            out, _ = second.communicate(timeout=60)
        assert (second.returncode, out) == (0, f"{clone.venv} without tiny\n")
        killed.communicate()
    assert not (clone.venv / "half-written").exists()
    assert len(clone.uv_calls()) == 2


def test_two_first_runs_install_once(clone: Clone) -> None:
    clone.add_uv(waits=True)
    done: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: done.append(clone.run())) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(clone.uv_calls, "one of them installs")
    clone.let_uv_go()
    for thread in threads:
        thread.join()
    assert [(one.returncode, one.stdout) for one in done] == [(0, f"{clone.venv} without tiny\n")] * 3
    assert len(clone.uv_calls()) == 1


def test_ctrl_c_is_told_and_the_next_run_starts_anew(clone: Clone) -> None:
    clone.add_uv(waits=True)
    with clone.popen() as broken_off:
        until(clone.uv_calls, "the installer runs")
        broken_off.send_signal(signal.SIGINT)
        _, errors = broken_off.communicate(timeout=30)
    assert (broken_off.returncode, "interrupted" in errors, "Traceback" in errors) == (130, True, False)
    installer = int((clone.folder / "uv-pid").read_text())
    until(lambda: runstate.has_ended(installer), "the installer is ended")
    clone.let_uv_go()
    assert clone.run().returncode == 0


def test_a_venv_that_is_somebody_elses_is_left_alone(clone: Clone) -> None:
    (clone.venv / "bin").mkdir(parents=True)
    (clone.venv / "bin" / "mine").touch()
    done = clone.run()
    assert (done.returncode, "was not made by manage.py" in done.stderr) == (1, True)
    assert (clone.venv / "bin" / "mine").exists()
    without = clone.run(LONGHAUL_NO_VENV="1")
    assert (without.returncode, "without tiny" in without.stdout) == (0, True)


def test_an_environment_of_another_python_or_without_one_is_made_anew(clone: Clone) -> None:
    clone.add_uv()
    assert clone.run().returncode == 0
    finished = clone.venv / "longhaul.finished"
    made_from, _ = finished.read_text().rsplit(maxsplit=1)
    finished.write_text(f"{made_from} 3.10\n")  # as if the machine's python3 was 3.10 when it was made
    again = clone.run()
    assert (again.returncode, "installing" in again.stderr) == (0, True), again.stderr
    (clone.venv / "bin" / "python").unlink()
    again = clone.run()
    assert (again.returncode, "installing" in again.stderr) == (0, True), again.stderr
    assert len(clone.uv_calls()) == 3


def test_only_the_test_command_installs_what_development_needs_and_it_stays(clone: Clone) -> None:
    clone.add_uv()
    assert clone.run().returncode == 0
    assert clone.synced() == ["requirements.lock"]
    (clone.venv / "kept").touch()
    first = clone.run("test")
    assert (first.returncode, "what development needs besides, of 2" in first.stderr) == (0, True), first.stderr
    assert (clone.venv / "kept").exists(), "it is added to what is there"
    for name in ("test", "status", "test"):
        again = clone.run(name)
        assert (again.returncode, again.stderr) == (0, "")
    assert clone.synced() == ["requirements.lock", "requirements-dev.lock"]

    (clone.folder / "requirements-dev.lock").write_text("tiny\ntiny-tests\nmore\n")  # as another version would bring
    assert clone.run().returncode == 0
    assert clone.run("test").stderr == ""
    assert clone.synced()[2:] == ["requirements-dev.lock"], "whoever develops goes on developing"
    assert (clone.venv / "kept").exists()


def test_a_first_test_command_installs_once(clone: Clone) -> None:
    clone.add_uv()
    assert clone.run("test").returncode == 0
    assert clone.run().stderr == ""
    assert clone.synced() == ["requirements-dev.lock"]


def test_an_addition_that_is_broken_off_stops_no_other_command(clone: Clone) -> None:
    clone.add_uv()
    assert clone.run().returncode == 0
    (clone.folder / "uv-waits").touch()
    with subprocess.Popen(clone.command("test"), env=clone.environment, stderr=subprocess.DEVNULL) as adding:
        until(lambda: len(clone.uv_calls()) == 2, "the installer runs")
        assert clone.run().stderr == "", "nor while it goes on"
        adding.kill()
    clone.let_uv_go()
    assert clone.run().stderr == ""
    (clone.venv / "half-written").touch()
    assert clone.run("test").returncode == 0
    assert not (clone.venv / "half-written").exists(), "nobody knows what was added"
    assert clone.synced()[1:] == ["requirements-dev.lock"] * 2


def test_an_environment_without_the_name_of_its_lock_is_brought_up_to_date(clone: Clone) -> None:
    """As versions made it that had one lock for all."""
    clone.add_uv()
    assert clone.run().returncode == 0
    finished = clone.venv / "longhaul.finished"
    finished.write_text(finished.read_text().partition(" ")[2])
    (clone.venv / "kept").touch()
    assert clone.run().returncode == 0
    assert (clone.synced(), (clone.venv / "kept").exists()) == (["requirements.lock"] * 2, True)
