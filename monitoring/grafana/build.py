"""Writes `dashboards/*.json`: `python -m monitoring.grafana.build`. A test holds that they are what this makes."""

from pathlib import Path

from . import models, overview, tasks, workers

FOLDER = Path(__file__).parent / "dashboards"


def render() -> dict[str, str]:
    """File name, then its text."""
    return {
        f"{board.__name__.rpartition('.')[2]}.json": board.dashboard() for board in (overview, models, tasks, workers)
    }


def main() -> None:
    for name, text in render().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
