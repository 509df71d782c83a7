"""Takes docs/images/page.png: `python -m tests.page.picture`."""

import tempfile
from pathlib import Path

from core_config import ROOT

from .chromium import Chromium, find_chromium
from .site import KEY, running_site

PICTURE = ROOT / "docs" / "images" / "page.png"
MESSAGE = "Compute (123 * 456 + 789) / 3, and what time is it?"


def main() -> None:
    program = find_chromium()
    if program is None:
        raise SystemExit("Chromium is not installed (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "site").mkdir()
        browser = Chromium(program, Path(folder))
        try:
            with running_site(Path(folder) / "site", AGENT_TIMEZONE="UTC") as site, browser.page(width=880) as page:
                page.open(site.url)
                page.type("gateway", site.system.url)
                page.type("key", KEY)
                page.press("Tab", 9)
                page.until("document.getElementById('model').options.length > 1")
                page.run("document.getElementById('connection').open = false")
                site.system.ask("hello")  # the worker's first call takes seconds, which are none of the task's
                page.type("message", MESSAGE)
                page.click("send")
                page.until("document.getElementById('status').className === 'success'")
                PICTURE.parent.mkdir(exist_ok=True)
                page.run("document.activeElement.blur()")
                page.picture(PICTURE)
        finally:
            browser.end()


if __name__ == "__main__":
    main()
