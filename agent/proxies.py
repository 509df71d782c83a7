"""Which proxy an address is reached through. Decided here for every HTTP client of the agent, so that they agree."""

import urllib.request

import httpx

from core_config import is_loopback


def proxy_for(url: httpx.URL) -> str | None:
    """The proxy's URL by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY (either case); None: straight there.

    Loopback never goes through a proxy, whatever the environment says.
    """
    if is_loopback(url.host) or urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy:
        return None
    if "://" not in proxy:
        return f"http://{proxy}"
    # httpx knows no socks:// and no socks4; what curl calls socks is socks5 to most who write it.
    return f"socks5://{proxy[8:]}" if proxy.startswith("socks://") else proxy
