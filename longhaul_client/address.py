"""Where the gateway is and who asks: from the arguments, else from the environment."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx

URL_VARIABLE: Final = "LONGHAUL_URL"
KEY_VARIABLE: Final = "LONGHAUL_API_KEY"
DEFAULT_URL: Final = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Address:
    url: str
    api_key: str | None = field(repr=False)

    @classmethod
    def of(cls, url: str | None, api_key: str | None, environment: Mapping[str, str] = os.environ) -> "Address":
        """ValueError for what can be no address or no key. An empty value is none given."""
        url = (url or environment.get(URL_VARIABLE) or DEFAULT_URL).strip().rstrip("/")
        api_key = (api_key or environment.get(KEY_VARIABLE) or "").strip() or None
        try:
            parts = httpx.URL(url)
            port_is_one = parts.port is None or 0 < parts.port < 65_536
            is_address = parts.scheme in {"http", "https"} and bool(parts.host) and port_is_one and " " not in url
        except httpx.InvalidURL:
            is_address = False
        if not is_address:
            raise ValueError(f"{url!r} is no address of a gateway: write http://host:port (url=, or {URL_VARIABLE})")
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise ValueError(f"the API key holds characters that no key has (api_key=, or {KEY_VARIABLE})")
        return cls(url, api_key)

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.api_key is None else {"authorization": f"Bearer {self.api_key}"}

    @property
    def may_be_behind_a_proxy(self) -> bool:
        """Whether the environment's proxies count. This machine's own gateway is never behind one."""
        host = httpx.URL(self.url).host
        if host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:
            return True
