"""Puts dashboards, folder and data source into a running Grafana: `python monitoring/import_dashboard.py`.

Nothing is replaced unless it is said: a second run changes nothing, and a dashboard that differs (somebody changed it
in Grafana, or this is a newer Longhaul) needs --overwrite. docs/dashboards.md has settings and errors.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
if not __package__:  # run as a file: Python would look for modules beside it, and not in the project
    sys.path[0] = str(ROOT)
try:
    import httpx
    from pydantic import ValidationError

    from core_config import Settings, keep_loopback_off_proxies
except ModuleNotFoundError as missing:
    if __name__ != "__main__":
        raise
    sys.exit(f"{missing.name} is not installed for this Python. `python3 manage.py status` makes .venv, then run "
             f"{ROOT / '.venv/bin/python'} {__file__}")  # fmt: skip

DASHBOARDS = Path(__file__).resolve().parent / "grafana" / "dashboards"
FOLDER = {"uid": "longhaul", "title": "Longhaul"}
SOURCE_UID = "longhaul-prometheus"
"""What the dashboards ask: the same as provisioning's."""
OK, NOT_FOUND, CONFLICT, CHANGED = 200, 404, 409, 412


class GrafanaError(Exception):
    """What went wrong and what to do, for people; it holds no secret."""


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        settings = Settings()
        keep_loopback_off_proxies()
        with connect(settings) as grafana:
            for line in bring(grafana, settings.prometheus_url, options.runbook, overwrite=options.overwrite):
                sys.stdout.write(f"{line}\n")
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        sys.stderr.write(f"{'.'.join(map(str, wrong['loc'])).upper()}: {wrong['msg']}\n")
        return 1
    except GrafanaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def connect(settings: Settings) -> "Grafana":
    """Raises GrafanaError when a setting is missing; nothing is sent yet."""
    if settings.grafana_url is None:
        raise GrafanaError("GRAFANA_URL is not set: the address of Grafana, such as http://127.0.0.1:3000")
    try:
        address = httpx.URL(settings.grafana_url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in {"http", "https"} or not address.host or address.userinfo:
        raise GrafanaError(
            "GRAFANA_URL is no address: it is http:// or https://, a host, a port if needed, and no user or password "
            "(GRAFANA_USER and GRAFANA_PASSWORD are for those)."
        )
    if settings.grafana_token is not None:
        return Grafana(address, {"Authorization": f"Bearer {settings.grafana_token.get_secret_value()}"}, None)
    if settings.grafana_user is not None and settings.grafana_password is not None:
        return Grafana(
            address, {}, httpx.BasicAuth(settings.grafana_user, settings.grafana_password.get_secret_value())
        )
    raise GrafanaError("Set GRAFANA_TOKEN (a service account's), or GRAFANA_USER and GRAFANA_PASSWORD.")


class Grafana:
    """Its HTTP API, with what can go wrong told in a sentence."""

    def __init__(self, address: httpx.URL, headers: Mapping[str, str], auth: httpx.BasicAuth | None) -> None:
        self.address = address
        self._client = httpx.Client(base_url=address, headers=headers, auth=auth, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call(
        self, method: str, path: str, body: object = None, also: tuple[int, ...] = ()
    ) -> tuple[int, dict[str, Any]]:
        """The status (200 or one of `also`) and the answer. Raises GrafanaError for any other."""
        try:
            response = self._client.request(method, path, json=body)
        except httpx.TimeoutException:
            raise GrafanaError(f"{self.address} took too long to answer {method} {path}. Is it overloaded?") from None
        except httpx.TransportError as error:
            raise GrafanaError(
                f"{self.address} cannot be reached ({error}). Is GRAFANA_URL right, and Grafana up?"
            ) from None
        status = response.status_code
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if status not in {OK, *also} or not isinstance(answer, dict):
            raise GrafanaError(self._refusal(method, path, response, answer))
        return status, answer

    def _refusal(self, method: str, path: str, response: httpx.Response, answer: object) -> str:
        status, said = response.status_code, answer.get("message", "") if isinstance(answer, dict) else ""
        about = f"{self.address} answered {method} {path} with {status}"
        if said:
            about += f" ({said})"
        if status == httpx.codes.UNAUTHORIZED:
            return (
                f"{about}: it does not take GRAFANA_TOKEN, or GRAFANA_USER and GRAFANA_PASSWORD, or they have expired."
            )
        if status == httpx.codes.FORBIDDEN:
            return (
                f"{about}: the account may not do that. Folder and dashboards need Editor, the data source needs Admin."
            )
        if response.is_redirect:
            return f"{about}, a redirect to {response.headers.get('location', 'nowhere')}: correct GRAFANA_URL."
        if not isinstance(answer, dict):
            return f"{about} and no JSON object: is that a Grafana? A path before /api belongs into GRAFANA_URL."
        return f"{about}."


def bring(
    grafana: Grafana, prometheus_url: str, runbook: str | None = None, *, overwrite: bool = False
) -> Iterator[str]:
    """Makes what is missing, and says of each part what it did. Raises GrafanaError, at the end for dashboards that
    differ: the others are there by then.
    """
    yield f"folder       {FOLDER['title']}: {_folder(grafana)}"
    yield f"data source  {SOURCE_UID}: {_source(grafana, prometheus_url)}"
    differing = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        if runbook is not None:
            _set_runbook(board, runbook)
        done = _dashboard(grafana, board, overwrite=overwrite)
        if done is None:
            differing.append(board["title"])
        yield f"dashboard    {board['title']}: {done or 'differs, left as it is'}"
    if differing:
        raise GrafanaError(
            f"{len(differing)} of the dashboards in Grafana differ from these: {', '.join(differing)}. Somebody "
            "changed them there, or Longhaul is newer. --overwrite replaces them; Grafana keeps the old versions."
        )


def _folder(grafana: Grafana) -> str:
    status, _ = grafana.call("GET", f"/api/folders/{FOLDER['uid']}", also=(NOT_FOUND,))
    if status == OK:
        return "is there"
    status, answer = grafana.call("POST", "/api/folders", FOLDER, also=(CONFLICT, CHANGED))  # 412 before Grafana 11
    if status != OK:
        raise GrafanaError(
            f"{grafana.address} has another folder called {FOLDER['title']} ({answer.get('message', status)}). "
            f"Rename it, or give it the uid {FOLDER['uid']}."
        )
    return "made"


def _source(grafana: Grafana, prometheus_url: str) -> str:
    status, known = grafana.call("GET", f"/api/datasources/uid/{SOURCE_UID}", also=(NOT_FOUND, httpx.codes.FORBIDDEN))
    if status == OK:
        return f"is there, asks {_shown(known.get('url', ''))}"
    if status == httpx.codes.FORBIDDEN:
        return "this account may not look at data sources; if it is missing, an Admin has to add it"
    source = {
        "uid": SOURCE_UID, "name": "Longhaul", "type": "prometheus", "access": "proxy", "url": prometheus_url,
        "jsonData": {"httpMethod": "POST", "timeInterval": "15s"},
    }  # fmt: skip
    status, answer = grafana.call("POST", "/api/datasources", source, also=(CONFLICT,))
    if status == CONFLICT:
        raise GrafanaError(
            f"{grafana.address} has another data source called Longhaul ({answer.get('message', status)}). "
            f"Rename it, or give it the uid {SOURCE_UID}."
        )
    return f"made, asks {_shown(prometheus_url)}"


def _shown(address: str) -> str:
    """Without a user and a password."""
    return re.sub("//[^/]*@", "//", address)


def _dashboard(grafana: Grafana, board: dict[str, Any], *, overwrite: bool) -> str | None:
    """What was done; None when Grafana has another one and it was not to be replaced."""
    status, known = grafana.call("GET", f"/api/dashboards/uid/{board['uid']}", also=(NOT_FOUND,))
    there, meta = known.get("dashboard") or {}, known.get("meta") or {}
    if status == OK and holds(there, board):
        return "is there"
    if status == OK and not overwrite:
        return None
    # The version that was seen, and no `overwrite`: what somebody saves in this moment is not lost.
    body = {
        "dashboard": {**board, "id": there.get("id"), "version": there.get("version", 0)},
        "folderUid": meta.get("folderUid", FOLDER["uid"]),  # where somebody moved it to
        "message": "import_dashboard.py", "overwrite": False,
    }  # fmt: skip
    saved, answer = grafana.call("POST", "/api/dashboards/db", body, also=(CHANGED,))
    if saved == CHANGED:
        raise GrafanaError(
            f"{board['title']} was not saved: {answer.get('message', 'it has changed')} ({answer.get('status')}). "
            "Somebody saved it just now, or another one has its title: look at it in Grafana, then run this again."
        )
    return "replaced" if status == OK else "made"


def holds(there: object, ours: object) -> bool:
    """Whether Grafana's copy says all that ours does: it adds defaults, ids and versions of its own."""
    if isinstance(ours, dict) and isinstance(there, dict):
        return all(key == "schemaVersion" or holds(there.get(key), value) for key, value in ours.items())
    if isinstance(ours, list) and isinstance(there, list):
        return len(there) == len(ours) and all(map(holds, there, ours))
    return there == ours


def _set_runbook(board: dict[str, Any], address: str) -> None:
    for variable in board["templating"]["list"]:
        if variable["name"] == "runbook":
            variable["query"] = address
            variable["current"].update(text=address, value=address)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="import_dashboard.py",
        description="Puts Longhaul's dashboards into a running Grafana. Reads GRAFANA_URL, GRAFANA_TOKEN (or "
        "GRAFANA_USER and GRAFANA_PASSWORD) and PROMETHEUS_URL from the environment or .env.",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace dashboards that differ in Grafana")
    parser.add_argument("--runbook", metavar="URL", help="where your people read docs/runbook.md, for the links to it")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
