"""Takes docs/images/prometheus-*.png again: Prometheus's own graph page under load, `python -m tests.grafana.picture`.

Debian's Prometheus, which has the classic page.
"""

import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from core_config import ROOT
from tests.conftest import RedisServer
from tests.page.chromium import Chromium, find_chromium

from .boards import TARGETS
from .load import round_of_load
from .observed import observed

IMAGES = ROOT / "docs" / "images"
PICTURES = {
    "prometheus-requests": ("overview", "Requests by endpoint"),
    "prometheus-attempts": ("tasks", "Attempts by outcome"),
}
LOAD_S = 100


def main() -> None:
    program = find_chromium()
    if program is None:
        raise SystemExit("Chromium is not installed (Debian: apt-get install chromium)")
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        for part in ("redis", "observed", "chromium"):
            (folder / part).mkdir()
        redis = RedisServer(folder / "redis")
        redis.start()
        ending.callback(redis.kill)
        browser = Chromium(program, folder / "chromium")
        ending.callback(browser.end)
        one = ending.enter_context(observed(folder / "observed", redis.url))
        number = 0
        while time.time() < one.since + LOAD_S:
            round_of_load(one.system, number := number + 1)
        ended = time.time()
        for name, panel in PICTURES.items():
            expression = next(one for one in TARGETS if (one.board, one.panel["title"]) == panel).asked("30s", "5m")
            photograph(browser, f"{one.prometheus.url}/classic/graph", expression, ended, IMAGES / f"{name}.png")


def photograph(browser: Chromium, url: str, expression: str, until: float, path: Path) -> None:
    """The minutes before `until`, stacked."""
    graph = {
        "g0.expr": expression,
        "g0.tab": 0,
        "g0.range_input": f"{LOAD_S}s",
        "g0.end_input": f"{datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M:%S}",
        "g0.step_input": 1,
        "g0.stacked": 1,
    }
    with browser.page(width=1000, height=700) as page:
        page.open(f"{url}?{urlencode(graph)}")
        page.until("document.querySelector('.graph svg path')")
        page.picture(path)


if __name__ == "__main__":
    main()
