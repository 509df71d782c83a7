"""A real Chromium, driven by the Chrome DevTools Protocol over two pipes: JSON with a NUL after each message."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S = 120
"""Of everything that is waited for: a bound for machines that are loaded, no expectation."""

# The browser reads commands from descriptor 3 and answers on 4. Ours may have those very numbers: first out of the way.
_HAND_OVER = """
import fcntl, os, sys
reads, writes = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1:3])
os.dup2(reads, 3)
os.dup2(writes, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_QUIET = (
    "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--no-default-browser-check", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--disable-default-apps", "--no-proxy-server", "--password-store=basic", "--lang=en-US",
    "--font-render-hinting=none", "--hide-scrollbars",
)  # fmt: skip


class PageError(AssertionError):
    """What the page or the browser refused to do."""


class Chromium:
    def __init__(self, program: str, folder: Path) -> None:
        """`folder` is for its profile and its log."""
        reads, self._commands = os.pipe()
        self._answers, writes = os.pipe()
        self._log = folder / "chromium.log"
        sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
        hand_over = [sys.executable, "-c", _HAND_OVER, str(reads), str(writes)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*hand_over, program, *_QUIET, *sandbox, f"--user-data-dir={folder / 'profile'}", "about:blank"],
                pass_fds=(reads, writes),
                env={"PATH": _path(), "HOME": str(folder), "LANG": "C.UTF-8"},
                stdout=log,
                stderr=log,
            )
        os.close(reads)
        os.close(writes)
        self._number = 0
        self._unread = b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """What the browser answers. Raises PageError."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE_S
        while True:
            answer = self._read(until)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            if "method" in answer:
                self.events.append(answer)

    def _read(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, until - time.monotonic()))
            read = os.read(self._answers, 1 << 20) if ready else b""
            if not read:
                raise PageError(f"Chromium does not answer: {self._log.read_text(errors='replace')[-2000:]}")
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\0")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @contextmanager
    def page(self, width: int = 1000, height: int = 900) -> "Iterator[Page]":
        """A page in a profile of its own, which knows nothing of earlier ones."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call(
            "Target.createTarget", url="about:blank", browserContextId=context, width=width, height=height
        )["targetId"]
        page = Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        try:
            for domain in ("Page", "Runtime", "Log"):
                page.call(f"{domain}.enable")
            yield page
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)

    def end(self) -> None:
        with suppress(PageError, OSError):
            self.call("Browser.close")
        os.close(self._commands)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)


class Page:
    """One tab."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def open(self, url: str) -> None:
        failed = self.call("Page.navigate", url=url).get("errorText")
        assert not failed, failed
        self.until("document.readyState === 'complete'")

    def reload(self) -> None:
        self.run("window.isOld = true")
        self.call("Page.reload")
        self.until("!window.isOld && document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """The value of the JavaScript expression. Raises PageError."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(f"{expression}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Its value, as soon as it is a true one."""
        until = time.monotonic() + PATIENCE_S
        while True:
            with suppress(PageError):  # between two documents there is none to ask
                if value := self.run(expression):
                    return value
            assert time.monotonic() < until, (
                f"{expression}: never; the page shows\n{self.run('document.body.innerText')}"
            )
            time.sleep(0.03)

    def text(self, element_id: str) -> str:
        return str(self.run(f"document.getElementById({json.dumps(element_id)}).textContent"))

    def until_text(self, element_id: str, part: str) -> str:
        """Its whole text, as soon as it can be seen and holds `part`."""
        element = f"document.getElementById({json.dumps(element_id)})"
        holds = f"{element}.checkVisibility() && {element}.textContent.includes({json.dumps(part)})"
        return str(self.until(f"{holds} ? {element}.textContent : null"))

    def type(self, element_id: str, text: str) -> None:
        """As a person at the keyboard, over what stands there."""
        self.run(f"document.getElementById({json.dumps(element_id)}).focus()")
        self.run("document.activeElement.select()")
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, modifiers: int = 0, text: str = "") -> None:
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def click(self, element_id: str) -> None:
        """With the mouse, in its middle: what lies over it would get the click."""
        place = self.run(
            f"(element => {{ element.scrollIntoView({{block: 'center'}}); const box = element.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })"
            f"(document.getElementById({json.dumps(element_id)}))"
        )
        about = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **about)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **about)

    def complaints(self) -> list[str]:
        """What the browser's console says so far: errors, exceptions, refused loads."""
        self.run("1")  # what was said before it has arrived then
        said = []
        for event in self._browser.events:
            params = event["params"]
            if event.get("sessionId") != self._session:
                continue
            if event["method"] == "Log.entryAdded":
                said.append(params["entry"]["text"])
            elif event["method"] == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                said.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning"}:
                said.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
        return said

    def picture(self, path: Path) -> None:
        """The whole page, also what is below the window's edge."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))


def find_chromium() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name, path=_path()))), None)


def _path() -> str:
    """CI's PATH has nothing but Python; Debian's `chromium` is a script that needs the usual commands too."""
    return f"{os.environ.get('PATH', '')}:/usr/local/bin:/usr/bin:/bin"


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Skips where there is none, save in CI."""
    program = find_chromium()
    if program is None:
        reason = "Chromium is not installed (Debian: apt-get install chromium)"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    browser = Chromium(program, tmp_path_factory.mktemp("chromium"))
    try:
        browser.call("Browser.getVersion")
        yield browser
    finally:
        browser.end()
