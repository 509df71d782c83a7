"""manage.py keys new: what is printed opens the gateway's door, and only its hash is stored."""

import hashlib
import re
import stat
from pathlib import Path

import pytest

from gateway.auth import parse_entries
from operations import commandline

from .conftest import Copy


def printed(text: str) -> tuple[str, str]:
    key = re.search(r"^  (ak_[0-9a-f]{8}_[\w-]{43})$", text, re.MULTILINE)
    entry = re.search(r"^  (\S+:[0-9a-f]{64}(?::admin)?)$", text, re.MULTILINE)
    assert key
    return key[1], entry[1] if entry else ""


def test_a_new_key_is_one_that_the_gateway_takes(copy: Copy) -> None:
    made = copy.manage("keys", "new", "alice", "--admin")
    assert made.returncode == 0, made.stderr
    key, entry = printed(made.stdout)
    (caller,) = parse_entries([entry], "API_KEYS").values()
    assert (caller.name, caller.admin) == ("alice", True)
    assert hashlib.sha256(key.encode()).hexdigest() in entry
    assert printed(copy.manage("keys", "new", "alice").stdout)[0] != key


def test_it_is_added_to_the_file_that_only_the_owner_can_read(copy: Copy, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"bob:{'0' * 64}")  # no line end: the new entry must not grow out of the old one
    path.chmod(0o644)
    made = copy.manage("keys", "new", "alice", "--write", API_KEYS_FILE=str(path))
    assert made.returncode == 0, made.stderr
    key, _ = printed(made.stdout)
    assert key not in path.read_text()
    assert [caller.name for caller in parse_entries(path.read_text().splitlines(), "file").values()] == ["bob", "alice"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = copy.manage("keys", "new", "carol", "--write", API_KEYS_FILE=str(tmp_path / "no" / "keys"))
    assert (again.returncode, "API_KEYS_FILE" in again.stderr) == (1, True)
    unset = copy.manage("keys", "new", "carol", "--write")
    assert (unset.returncode, "API_KEYS_FILE is not set" in unset.stderr) == (1, True)


@pytest.mark.parametrize("name", ["", "a:b", "a,b", "-x ", "ä", "x" * 65, "a b", "new\nline"])
def test_a_name_that_no_entry_could_hold_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        commandline.run("keys", ["new", "--", name])
    assert exit_.value.code == 2
    assert "a name is" in capsys.readouterr().err
