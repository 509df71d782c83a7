"""What keeps a model from answering, in a sentence for the operator that says what to do. Pure: `models test` asks and
prints.
"""

import json
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import httpx

from agent.errors import ErrorCode, retry_after
from agent.probe import Seen
from core_config import ModelConfig
from operations import terminal
from operations.providers import provider_of, region_of

E = TypeVar("E", bound=BaseException)

MOST_WORDS = 300
"""Characters of what a provider said."""

_MASKED = re.compile(r"\S*\*{3,}\S*")
"""A key as providers quote it: its ends, and stars."""
_TITLE = re.compile(r"<(?:title|h1)[^>]*>(.*?)</", re.IGNORECASE | re.DOTALL)


class Fault(StrEnum):
    KEY_MISSING = "key_missing"
    KEY_REFUSED = "key_refused"
    KEY_OR_REGION = "key_or_region"
    COUNTRY_NOT_SERVED = "country_not_served"
    NO_BALANCE = "no_balance"
    MODEL_NOT_SERVED = "model_not_served"
    CONTENT_BLOCKED = "content_blocked"
    RATE_LIMITED = "rate_limited"
    BAD_REQUEST = "bad_request"
    PROXY = "proxy"
    TLS = "tls"
    NO_SUCH_HOST = "no_such_host"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    NOT_THE_API = "not_the_api"
    PROVIDER_DOWN = "provider_down"
    BAD_ANSWER = "bad_answer"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    fault: Fault
    says: str


@dataclass(frozen=True, slots=True)
class About:
    """What is known of the model beside the call."""

    name: str
    """In the registry."""
    model: ModelConfig
    retired: str | None
    """The day since which it is not served."""
    successors: Sequence[str]
    seconds: float
    """How long the call was waited for."""
    proxy_variable: str | None
    """The environment variable that names the proxy on the way."""

    @property
    def at(self) -> str:
        """Who serves it."""
        provider = provider_of(self.model)
        return provider.name if provider else f"The server at {self.model.base_url or 'an address that LiteLLM knows'}"


def diagnose(about: About, seen: Seen) -> Diagnosis | None:
    """None when the model answered."""
    if seen.code is None:
        return None
    if seen.url is None:
        return _unsent(about, seen)
    return _on_the_way(about, seen, seen.url) or _no_api(about, seen, seen.url) or _refused(about, seen)


def words(seen: Seen, redact: Callable[[str], str]) -> str | None:
    """What the provider, or who answered in its place, said: one line, bounded, without keys. None: nothing."""
    said = ""
    if seen.body:
        said = _message(seen.body)
    elif len(seen.causes) > 1 and (seen.url is None or seen.code == ErrorCode.INTERNAL):
        said = str(seen.causes[1])
    return terminal.plain(_MASKED.sub("[redacted]", redact(said)), MOST_WORDS) or None


def _message(body: str) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        title = _TITLE.search(body)
        return title[1] if title else re.sub(r"<[^>]*>", " ", body)
    error = document.get("error", document) if isinstance(document, dict) else document
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return error if isinstance(error, str) else json.dumps(document, ensure_ascii=False)


def _unsent(about: About, seen: Seen) -> Diagnosis:
    variable = about.model.api_key_env
    if seen.code == ErrorCode.PROVIDER_AUTH and variable:
        provider = provider_of(about.model)
        where = f" Keys are made at {provider.keys}." if provider else ""
        return Diagnosis(Fault.KEY_MISSING, f"{variable} holds no key: it is unset, or a placeholder.{where}")
    return Diagnosis(
        Fault.BAD_REQUEST,
        f"LiteLLM sends nothing for litellm_id = {about.model.litellm_id!r}: correct it, or the entry's params.",
    )


def _on_the_way(about: About, seen: Seen, url: httpx.URL) -> Diagnosis | None:
    """The request did not get there, or its answer not back."""
    host, proxy = url.host, _proxy(about, seen)
    tls = _innermost(seen, ssl.SSLError)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return Diagnosis(
            Fault.TLS,
            f"The certificate that {host} shows is not trusted ({tls.verify_message}). Something on the way opens TLS, "
            "as companies' proxies do, or the server signs its own: put the CA's certificate into a file and set "
            f"SSL_CERT_FILE to it.{f' {proxy} is in use.' if proxy else ''}",
        )
    if tls is not None:
        return Diagnosis(
            Fault.TLS,
            f"{host}:{url.port or 443} speaks no TLS that fits ({tls.reason or 'the handshake failed'}). "
            f"If it is a plain HTTP server, base_url begins with http://.{f' {proxy} is in use.' if proxy else ''}",
        )
    if seen.status == 407 or _innermost(seen, httpx.ProxyError) or (proxy and _lost(seen) and seen.status is None):
        return Diagnosis(Fault.PROXY, _proxy_fault(about, seen, host))
    if _innermost(seen, socket.gaierror):
        return Diagnosis(
            Fault.NO_SUCH_HOST, f"No address is known for {host}: is base_url right, and does DNS work here?"
        )
    if _innermost(seen, ConnectionRefusedError):
        start = " `manage.py start` runs it." if about.model.simulated else " Is the server running?"
        where = f"{host}:{url.port or (443 if url.scheme == 'https' else 80)}"
        return Diagnosis(Fault.REFUSED, f"Nothing listens at {where}.{'' if provider_of(about.model) else start}")
    if seen.code == ErrorCode.PROVIDER_TIMEOUT and seen.status is None:
        way = f" The way there is {proxy}." if proxy else ""
        return Diagnosis(
            Fault.TIMEOUT,
            f"No answer from {host} within {about.seconds:g} s. A model that is still being loaded, or a firewall that "
            f"drops: try --timeout {about.seconds * 4:g}.{way}",
        )
    if _lost(seen) and seen.status is None:
        return Diagnosis(Fault.UNREACHABLE, f"The connection to {host} failed or ended without an answer.")
    return None


def _proxy_fault(about: About, seen: Seen, host: str) -> str:
    proxy = _proxy(about, seen) or "A proxy"
    remedy = f"Correct {about.proxy_variable}" if about.proxy_variable else "Correct the system's proxy settings"
    remedy += f", or add {host} to NO_PROXY if it can be reached without."
    refusal = _innermost(seen, httpx.ProxyError)
    if seen.status == 407 or (refusal and "407" in str(refusal)):
        return f"{proxy} wants a user and a password (HTTP 407): write them into its address. {remedy}"
    if refusal:
        return f"{proxy} does not let this through to {host} ({terminal.plain(str(refusal), 80)}). {remedy}"
    if _innermost(seen, socket.gaierror):
        return f"{proxy} has a name that no address is known for. {remedy}"
    if _innermost(seen, ConnectionRefusedError):
        return f"{proxy} is not there: nothing listens at its address. {remedy}"
    return f"{proxy} ended the connection to {host} without an answer. {remedy}"


def _no_api(about: About, seen: Seen, url: httpx.URL) -> Diagnosis | None:
    """Somebody answered, but not the API."""
    proxy = _proxy(about, seen)
    if seen.status is not None and 300 <= seen.status < 400:
        target = _host(seen.headers.get("location", "")) or "another page"
        return Diagnosis(
            Fault.NOT_THE_API, f"{url.host} sends on to {target} (HTTP {seen.status}). {_whose_page(about, proxy)}"
        )
    is_page = "html" in seen.headers.get("content-type", "") or seen.body.lstrip()[:1] == "<"
    if not is_page or (seen.status or 0) >= 500:
        return None
    return Diagnosis(
        Fault.PROXY if proxy else Fault.NOT_THE_API,
        f"An HTML page came in place of JSON (HTTP {seen.status}). {_whose_page(about, proxy)}",
    )


def _host(address: str) -> str:
    try:
        return terminal.plain(httpx.URL(address).host, 100)
    except httpx.InvalidURL:
        return ""


def _whose_page(about: About, proxy: str | None) -> str:
    if proxy:
        return f"{proxy} is in the way: its login or block page, most likely. Let it pass the host, or use NO_PROXY."
    url = about.model.base_url
    base = f"base_url is {url}; most servers' ends in /v1" if url else "No proxy is set here"
    return f"A network's login page, or a wrong address: {base}."


def _refused(about: About, seen: Seen) -> Diagnosis:
    """The provider's API answered, and not with an answer."""
    model, provider = about.model, provider_of(about.model)
    name = model.litellm_id.partition("/")[2]
    match seen.code:
        case ErrorCode.PROVIDER_AUTH if "unsupported_country" in seen.body or "territory not supp" in seen.body:
            return Diagnosis(
                Fault.COUNTRY_NOT_SERVED,
                f"{about.at} does not serve the country that this request came from (HTTP {seen.status}).",
            )
        case ErrorCode.PROVIDER_AUTH if provider and provider.sites:
            return Diagnosis(Fault.KEY_OR_REGION, _key_or_region(about, seen))
        case ErrorCode.PROVIDER_AUTH:
            variable = f"the key in {model.api_key_env}" if model.api_key_env else "a call without a key"
            remedy = f" Make one at {provider.keys}." if provider else " Set api_key_env if it wants one."
            return Diagnosis(Fault.KEY_REFUSED, f"{about.at} refuses {variable} (HTTP {seen.status}).{remedy}")
        case ErrorCode.PROVIDER_NO_BALANCE:
            money = provider.money if provider else "Ask whoever runs it."
            return Diagnosis(Fault.NO_BALANCE, f"The key is right, but its account has no balance left. {money}")
        case ErrorCode.MODEL_UNAVAILABLE:
            return Diagnosis(Fault.MODEL_NOT_SERVED, _not_served(about, name))
        case ErrorCode.CONTENT_BLOCKED:
            return Diagnosis(
                Fault.CONTENT_BLOCKED,
                f"{about.at}'s content filter blocked a question that is harmless. The key works; look at the filters "
                "that the account has, and at params.",
            )
        case ErrorCode.PROVIDER_RATE_LIMITED:
            wait = retry_after(seen.headers)
            asks = "" if wait is None else f" and asks to wait {wait:g} s"
            return Diagnosis(
                Fault.RATE_LIMITED,
                f"The key works, but {about.at} limits its rate (HTTP 429){asks}. Others may be using it: lower "
                f"max_concurrency of {about.name}, or raise the account's limit.",
            )
        case ErrorCode.CONTEXT_TOO_LONG | ErrorCode.PROVIDER_BAD_REQUEST:
            return Diagnosis(
                Fault.BAD_REQUEST,
                f"{about.at} refuses the request (HTTP {seen.status}), which is a short question with the entry's own "
                f"fields: correct max_tokens_limit or params of {about.name}.",
            )
        case ErrorCode.PROVIDER_TIMEOUT:
            return Diagnosis(Fault.TIMEOUT, f"{about.at} began to answer and did not end within {about.seconds:g} s.")
        case ErrorCode.PROVIDER_UNAVAILABLE:
            proxy = _proxy(about, seen)
            way = f" Or {proxy[0].lower()}{proxy[1:]}, which is on the way, cannot reach it." if proxy else ""
            return Diagnosis(
                Fault.PROVIDER_DOWN,
                f"{about.at} has a fault (HTTP {seen.status}): that is not the key's. Try again in a while.{way}",
            )
        case ErrorCode.EMPTY_ANSWER:
            return Diagnosis(Fault.BAD_ANSWER, "The key works, but the model answered without a word.")
        case _ if seen.status is None:
            return Diagnosis(
                Fault.BAD_REQUEST, f"The request could not be made: correct base_url or params of {about.name}."
            )
        case _:
            return Diagnosis(
                Fault.BAD_ANSWER,
                f"{about.at} sent an answer that is not what LiteLLM reads for {model.litellm_id!r} "
                f"(HTTP {seen.status}). Is base_url ({model.base_url or 'unset'}) that of such an API?",
            )


def _key_or_region(about: About, seen: Seen) -> str:
    provider = provider_of(about.model)
    if provider is None:
        return ""
    here = region_of(provider, about.model)
    others = "; ".join(
        f'base_url = "{url}" takes those of {site}' for url, site in provider.sites.items() if site != here
    )
    takes = f", which takes keys of {here} only" if here else ""
    return (
        f"{about.at} refuses the key in {about.model.api_key_env} (HTTP {seen.status}) at {about.model.base_url}"
        f"{takes}. Keys of one region are strangers in the others. If it is another region's, set in MODELS_FILE under "
        f"[{about.name}] what fits: {others}. Else make a key: {provider.keys}."
    )


def _not_served(about: About, name: str) -> str:
    since = f": LiteLLM's table has it as switched off on {about.retired}" if about.retired else ""
    told = f"{about.at} serves this account no model {name!r}{since}."
    if not about.successors:
        return f"{told} Set litellm_id of {about.name} to one that it serves (GET {about.model.base_url}/models)."
    first, *rest = about.successors
    more = f" (LiteLLM's table also lists {', '.join(rest)})" if rest else ""
    return f'{told} Set litellm_id = "{first}"{more} under [{about.name}] in MODELS_FILE, or have the account admitted.'


def _proxy(about: About, seen: Seen) -> str | None:
    """The proxy without what its address may hold of a password."""
    if seen.proxy is None:
        return None
    where = f"{seen.proxy.host}:{seen.proxy.port}" if seen.proxy.port else seen.proxy.host
    return f"The proxy {where}" + (f" ({about.proxy_variable})" if about.proxy_variable else "")


def _innermost(seen: Seen, kind: type[E]) -> E | None:
    """Not the first: aiohttp's own errors are of these kinds too, without what OpenSSL says."""
    return next((cause for cause in reversed(seen.causes) if isinstance(cause, kind)), None)


def _lost(seen: Seen) -> bool:
    return _innermost(seen, httpx.TransportError) is not None and _innermost(seen, httpx.TimeoutException) is None
