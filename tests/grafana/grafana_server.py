"""A small HTTP server that answers as Grafana's HTTP API is documented: folders, data sources, dashboards.

It keeps what it was given, so that a test looks at the state and not at the calls.
"""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "glsa_canary-3f6e1c"  # gitleaks:allow
USER, PASSWORD = "ada", "canary-9b2d41"


class GrafanaServer:
    def __init__(self) -> None:
        self.folders: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.boards: dict[str, dict[str, Any]] = {}
        self.folder_of: dict[str, str] = {}
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.may_see_sources = True
        self.before_saving: Any = None
        """Called once, before the next dashboard is saved: what somebody else does in that moment."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: Any) -> None:
                status, answer = outer.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=UTF-8")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, authorization: str, body: Any) -> tuple[int, dict[str, Any]]:
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if authorization not in {f"Bearer {TOKEN}", f"Basic {basic}"}:
            return 401, {"message": "Invalid API key" if authorization.startswith("Bearer") else "Unauthorized"}
        kind, _, name = path.removeprefix("/api/").partition("/")
        match method, kind, name:
            case "GET", "folders", uid:
                return (200, self.folders[uid]) if uid in self.folders else (404, {"message": "folder not found"})
            case "POST", "folders", "":
                return self._add_folder(body)
            case "GET" | "POST", "datasources", _ if not self.may_see_sources:
                return 403, {"message": "You'll need additional permissions to perform this action."}
            case "GET", "datasources", uid:
                known = self.sources.get(uid.removeprefix("uid/"))
                return (200, known) if known else (404, {"message": "Data source not found"})
            case "POST", "datasources", "":
                return self._add_source(body)
            case "GET", "dashboards", uid:
                board = self.boards.get(uid.removeprefix("uid/"))
                if board is None:
                    return 404, {"message": "Dashboard not found"}
                return 200, {"dashboard": board, "meta": {"folderUid": self.folder_of[board["uid"]]}}
            case "POST", "dashboards", "db":
                return self._save(body)
        return 404, {"message": "Not found"}

    def _add_folder(self, folder: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if any(one["title"] == folder["title"] or one["uid"] == folder["uid"] for one in self.folders.values()):
            return 409, {"message": "a folder with the same name already exists in the current location"}
        self.folders[folder["uid"]] = folder
        return 200, folder | {"id": len(self.folders), "version": 1}

    def _add_source(self, source: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if any(one["name"] == source["name"] for one in self.sources.values()):
            return 409, {"message": "data source with the same name already exists"}
        self.sources[source["uid"]] = source
        return 200, {
            "datasource": source,
            "id": len(self.sources),
            "message": "Datasource added",
            "name": source["name"],
        }

    def _save(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.before_saving is not None:
            meanwhile, self.before_saving = self.before_saving, None
            meanwhile()
        board = body["dashboard"]
        known = self.boards.get(board["uid"])
        if known is not None and not body["overwrite"] and board.get("version") != known["version"]:
            return 412, {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
        if body.get("folderUid") not in self.folders:
            return 400, {"message": "folder not found"}
        number = board.get("id") or len(self.boards) + 1
        version = (known or {"version": 0})["version"] + 1
        self.boards[board["uid"]] = board | {"id": number, "version": version}
        self.folder_of[board["uid"]] = body["folderUid"]
        self.history.setdefault(board["uid"], []).append(self.boards[board["uid"]])
        return 200, {
            "id": number,
            "uid": board["uid"],
            "url": f"/d/{board['uid']}",
            "status": "success",
            "version": version,
        }
