"""`manage.py bench` as people call it, on stock arq, which needs nothing that is not here."""

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from core_config import ROOT
from loadtest.bench import saved
from operations import commandline, leftovers


def command(tmp_path, *words):
    kept = {name: os.environ[name] for name in ("PATH", leftovers.VARIABLE) if name in os.environ}
    return {
        "args": [sys.executable, "manage.py", "bench", *words],
        "cwd": ROOT,
        "env": {**kept, "LONGHAUL_NO_VENV": "1", "VAR_DIR": str(tmp_path)},
        "text": True,
    }


def test_a_run_is_shown_saved_and_drawn(tmp_path):
    words = ("--rows", "slots", "--only", "arq", "--rounds", "1", "--save", str(tmp_path / "run.json"))
    done = subprocess.run(**command(tmp_path, *words), capture_output=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    run = saved.read(tmp_path / "run.json")
    (sample,) = run.samples
    assert (sample.row, sample.contender, sample.round) == ("slots", "arq", 1)
    assert 0 < sample.value <= 100  # of ten slots and tasks of a tenth of a second
    assert run.versions["arq"] == "0.28.0"
    assert "arq" in done.stdout
    assert "<svg" in (tmp_path / "bench" / "bench.html").read_text()


def test_ctrl_c_shows_what_was_measured_and_leaves_nothing_running(tmp_path):
    words = ("--rows", "slots", "--only", "arq", "--rounds", "50")
    running = subprocess.Popen(**command(tmp_path, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    watch = threading.Timer(600, running.kill)
    watch.start()
    try:
        for line in running.stderr or ():
            if line.startswith("round 1/50"):
                break
        family = psutil.Process(running.pid).children(recursive=True)
        assert family  # Redis at least
        running.send_signal(signal.SIGINT)
        said, errors = running.communicate()
    finally:
        watch.cancel()
        running.kill()
        running.wait()
    assert running.returncode == 130, said + errors
    assert "interrupted" in errors
    assert "[slots; " in said
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rows", "nop"), "there is no row 'nop'. There are "),
        (("--only", "ark"), "there is no contender 'ark'. There are "),
        (("--compare", str(ROOT / "README.md")), "holds no run of manage.py bench"),
        (("--rounds", "0"), "expected an integer of 1 or more"),
    ],
)
def test_wrong_usage(capsys, words, said):
    with pytest.raises(SystemExit, match="2"):  # argparse's own way, and that of a program
        sys.exit(commandline.run("bench", words))
    assert said in capsys.readouterr().err
