"""The current date and time, in the configured zone or one that the model names."""

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from langchain_core.tools import StructuredTool, ToolException

from core_config import Settings


def current_time(zone: str | None, now: datetime | None = None) -> str:
    """For example `2026-11-21T17:42:00+08:00 (Saturday, Asia/Shanghai)`; without a zone, in the machine's."""
    now = now or datetime.now(UTC)
    if zone is None:
        there = now.astimezone()
        name = there.tzname() or "local time"
    else:
        there = now.astimezone(_zone(zone))
        name = zone
    return f"{there.isoformat(timespec='seconds')} ({there:%A}, {name})"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        city = name.strip().replace(" ", "_").lower()
        near = sorted(zone for zone in available_timezones() if city and city == zone.rpartition("/")[2].lower())
        hint = f" Did you mean {near[0]}?" if near else " Use a name such as Asia/Shanghai or Europe/Berlin."
        raise ToolException(f"No time zone is called {name[:60]!r}.{hint}") from None


def build(settings: Settings) -> StructuredTool:
    async def get_time(
        timezone: Annotated[str | None, "IANA name such as Asia/Shanghai; leave it out for the user's own."] = None,
    ) -> str:
        """Tell the current date, time and weekday."""
        return current_time(timezone or settings.agent_timezone)

    return StructuredTool.from_function(coroutine=get_time, name="get_time")
