"""What a group's robot of DingTalk or Feishu is sent for Alertmanager's notification, and whether it took it.

Neither takes Alertmanager's own JSON, and both answer 200 also when they refuse: the body tells. Pure; alert_bridge.py
sends.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

MOST_BYTES = 18_000
"""Of a message's text: both refuse a request of over 20 kB."""


@dataclass(frozen=True, slots=True)
class Robot:
    """A robot's address, which holds its token, and the secret of its signature if that is switched on."""

    url: str
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    url: str
    body: dict[str, Any]


def dingtalk(robot: Robot, notification: Mapping[str, Any], now_s: float) -> Message:
    title, text = words_of(notification)
    url = robot.url
    if robot.secret is not None:
        stamp = str(round(now_s * 1000))
        signature = _signature(robot.secret, f"{stamp}\n{robot.secret}")
        url += ("&" if urlsplit(url).query else "?") + urlencode({"timestamp": stamp, "sign": signature})
    return Message(url, {"msgtype": "markdown", "markdown": {"title": title, "text": f"### {title}\n\n{text}"}})


def feishu(robot: Robot, notification: Mapping[str, Any], now_s: float) -> Message:
    title, text = words_of(notification)
    body: dict[str, Any] = {"msg_type": "text", "content": {"text": f"{title}\n{text}"}}
    if robot.secret is not None:
        stamp = str(round(now_s))
        # here the text that is signed is empty, and what is signed elsewhere is the key
        body |= {"timestamp": stamp, "sign": _signature(f"{stamp}\n{robot.secret}", "")}
    return Message(robot.url, body)


KINDS = {"dingtalk": dingtalk, "feishu": feishu}


def refusal(answer: Mapping[str, Any]) -> str | None:
    """Why the robot did not take it, None when it did. `errcode` is DingTalk's word, `code` Feishu's."""
    code = answer.get("errcode", answer.get("code"))
    if code == 0:
        return None
    return f"{code}: {answer.get('errmsg', answer.get('msg', 'no reason given'))}"


def words_of(notification: Mapping[str, Any]) -> tuple[str, str]:
    """(title, text) of a notification (version 4 of Alertmanager's webhook): firing alerts first. Raises KeyError,
    TypeError or AttributeError when it is none.
    """
    alerts = notification["alerts"]
    firing = [alert for alert in alerts if alert["status"] == "firing"]
    name = notification["groupLabels"].get("alertname", "alerts")
    severity = notification["commonLabels"].get("severity", "")
    title = f"[{f'FIRING {len(firing)}' if firing else 'RESOLVED'}] {severity.upper()} {name}".replace("  ", " ")
    parts = [
        "\n\n".join(
            alert["annotations"][key]
            for key in ("summary", "description", "runbook_url")
            if key in alert["annotations"]
        )
        for alert in firing
    ]
    parts += [f"Over: {alert['annotations'].get('summary', name)}" for alert in alerts if alert["status"] != "firing"]
    return title, _cut("\n\n".join(parts))


def _cut(text: str) -> str:
    encoded = text.encode()
    return text if len(encoded) <= MOST_BYTES else encoded[:MOST_BYTES].decode(errors="ignore") + " …"


def _signature(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()
