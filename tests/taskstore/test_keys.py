"""The scripts build key names from the prefix: each is one of keys.py's, and each of keys.py's is used."""

import inspect
import re

from taskstore.keys import Keys
from taskstore.scripts import FOLDER

LUA = {path.stem: path.read_text() for path in FOLDER.glob("*.lua")}
SCRIPTS_DO_NOT_NAME = {
    "watch_key": "the gateway's own, for watch tokens",
    "probe": "no verb's: room.py asks with it whether there is room",
    "watch": "a channel of the Watcher's own",
    "idempotency": "built by the store, since the client's key is in it; handed to submit",
}


def from_keys() -> dict[str, str]:
    """Method of Keys -> the name it builds, with every argument as X."""
    keys = Keys("")
    methods = [name for name, _ in inspect.getmembers(Keys, inspect.isfunction) if not name.startswith("_")]
    return {
        name: getattr(keys, name)(*("X" for _ in inspect.signature(getattr(keys, name)).parameters)) for name in methods
    }


def in_scripts() -> set[str]:
    """Every name that a script builds after the prefix, with what is put in as X."""
    code = re.sub(r"--.*", "", "\n".join(LUA.values()))
    names = set()
    for expression in re.findall(r"\bP \.\. ('[^']*'(?: \.\. (?:'[^']*'|[\w.()]+))*)", code):
        parts = re.findall(r"'([^']*)'|([\w.()]+)(?= \.\.|$)", expression)
        names.add("".join(literal if not variable else "X" for literal, variable in parts))
    return names


def test_every_key_of_the_scripts_is_in_keys_and_every_one_of_keys_is_used() -> None:
    known = from_keys()
    expected = {name for method, name in known.items() if method not in SCRIPTS_DO_NOT_NAME}
    # names that are themselves put together of parts: an index's name is also a field of the record
    code = "\n".join(LUA.values())
    for part in ("'blocked:' .. r.caller .. ':' .. r.session", "key .. ':log'", "sessions.key(r) .. ':log'"):
        assert part in code
    built = in_scripts() | {"blocked:X:X", "session:X:X:log"}
    built = {name.replace("ready:X:X", "ready:X").replace("leases:X:X", "leases:X") for name in built}
    built = {re.sub(r"^(ready|leases):(X:[ib]|quarantine)$", r"\1:X", name) for name in built}
    assert built == expected


def test_no_two_keys_meet() -> None:
    names = list(from_keys().values())
    assert len(names) == len(set(names))


def test_every_key_says_its_type() -> None:
    for name, method in inspect.getmembers(Keys, inspect.isfunction):
        if not name.startswith("_"):
            assert re.match(r"(Hash|Sorted set|Set|List|String|Stream|Channel)\b", method.__doc__ or ""), name
