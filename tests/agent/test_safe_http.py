"""What may leave and what may not: SECURITY's corpus against the real guard, on a web of our own."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.safe_http import MAX_BYTES, OutboundError, SafeHttp
from tests.agent.web import OTHER_PUBLIC, PUBLIC, Web, page, redirect, running_web


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with running_web(tmp_path, "site.test", "other.test", "xn--bcher-kva.test") as web:
        web.pages["/"] = page("Hello.")
        yield web


async def refused(http: SafeHttp, url: str) -> str:
    with pytest.raises(OutboundError) as caught:
        await http.get(url)
    return str(caught.value)


async def test_a_public_page_is_read_by_its_name_at_the_checked_address(web: Web) -> None:
    got = await web.http().get("https://site.test/#top")
    assert (got.body, got.content_type, got.url) == (b"Hello.", "text/plain", "https://site.test/")
    assert web.dialled == [(PUBLIC, 443)]
    (path, headers), *more = web.asked
    assert (path, headers["host"], more) == ("/", "site.test", [])
    assert set(headers) == {"host", "user-agent", "accept", "accept-encoding"}


async def test_the_certificate_must_be_the_names_and_not_the_addresses(web: Web) -> None:
    assert "cannot be reached" in await refused(web.http(), "https://stranger.test/")
    assert web.asked == []


# Each is one of loopback's many names, and goes through the system's own resolver.
NUMBERS = ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0x7f000001", "127.0.0.1", "localhost", "0", "[::1]", "[::]",
           "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fd00:ec2::254]", "169.254.169.254",
           "224.0.0.1", "100.64.0.1", "10.0.0.1", "192.168.0.1", "0.0.0.0", "１２７.0.0.1", "127。0。0。1"]  # fmt: skip


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("host", NUMBERS)
async def test_no_spelling_of_a_private_address_gets_through(web: Web, host: str, scheme: str) -> None:
    told = await refused(web.http(allow_http=True, system_names=True), f"{scheme}://{host}/")
    assert "no name or address of the public web" in told or "no valid URL" in told
    assert web.dialled == []
    assert web.asked == []


FORMS = {
    "file:///etc/passwd": "not an https",
    "gopher://site.test/_x": "not an https",
    "javascript:alert(1)": "not an https",
    "data:text/html,x": "not an https",
    "ftp://site.test/": "not an https",
    "unix:///run/docker.sock": "not an https",
    "//site.test/": "not an https",
    "site.test": "not an https",
    "https://": "not an https",
    "https:///x": "not an https",
    "": "not an https",
    "http://site.test/": "only https:// is allowed",
    "https://user@site.test/": "user name",
    "https://user:password@site.test/": "user name",
    "https://site.test@evil.test/": "user name",
    "https://@site.test/": "user name",
    "https://site.test:22/": "port 22",
    "https://site.test:6379/": "port 6379",
    "https://site.test:8443/": "port 8443",
    "https://site.test:0/": "port 0",
    "https://site.test:99999/": "port 99999",
    "https://site.test:x/": "no valid URL",
    "https://[::1/": "no valid URL",
    "https://site.test/\r\nX-Injected: 1": "characters",
    "https://site.test\r\nHost: evil/": "characters",
    "https://site.test/a b": "characters",
    "https://site.test/\x00": "characters",
    "https://evil.test\\@site.test/": "characters",
    "https://\ud800.test/": "no valid URL",
    "https://xn--a.test/": "no valid URL",
    "https://" + "a" * 300 + ".test/": "",
    "https://site.test/" + "a" * 3000: "longer than 2048",
}


@pytest.mark.parametrize("url", FORMS, ids=lambda url: repr(url[:40]))
async def test_an_address_of_the_wrong_form_is_never_asked(web: Web, url: str) -> None:
    assert FORMS[url] in await refused(web.http(), url)
    assert web.asked == []


async def test_escaped_line_ends_stay_escaped(web: Web) -> None:
    await refused(web.http(), "https://site.test/%0d%0aX-Injected:%201")
    ((path, headers),) = web.asked
    assert path == "/%0d%0aX-Injected:%201"
    assert "x-injected" not in headers


async def test_a_name_in_another_script_is_asked_by_its_ascii_form(web: Web) -> None:
    assert (await web.http().get("https://bücher.test/")).body == b"Hello."
    assert web.looked_up == ["xn--bcher-kva.test"]
    assert web.asked[0][1]["host"] == "xn--bcher-kva.test"


async def test_http_only_when_it_is_allowed(web: Web) -> None:
    assert (await web.http(allow_http=True).get("http://site.test/")).body == b"Hello."
    assert web.dialled == [(PUBLIC, 80)]


async def test_one_private_address_among_public_ones_is_enough_to_refuse(web: Web) -> None:
    for mixed in ([PUBLIC, "10.0.0.1"], ["127.0.0.1", PUBLIC], [OTHER_PUBLIC, PUBLIC, "::1"], []):
        web.names["mixed.test"] = [mixed]
        told = await refused(web.http(), "https://mixed.test/")
        assert told == "'mixed.test' is no name or address of the public web, so it was not asked."
    assert web.dialled == []


async def test_rebinding_changes_nothing(web: Web) -> None:
    """A name server that answers public, then private: the second answer is never asked for."""
    web.names["site.test"] = [[PUBLIC], ["127.0.0.1"]]
    assert (await web.http().get("https://site.test/")).body == b"Hello."
    assert web.looked_up == ["site.test"]
    assert web.dialled == [(PUBLIC, 443)]


async def test_rebinding_between_redirects_is_seen(web: Web) -> None:
    web.names["site.test"] = [[PUBLIC], ["127.0.0.1"]]
    web.pages["/again"] = redirect("/")
    assert "no name or address" in await refused(web.http(), "https://site.test/again")
    assert [path for path, _ in web.asked] == ["/again"]


async def test_unknown_and_private_names_are_told_alike(web: Web) -> None:
    """Else the answers would tell which names this network has."""

    async def unknown(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    http = web.http()
    web.names["name.test"] = [["10.0.0.1"]]
    private = await refused(http, "https://name.test/")
    http._resolve = unknown
    assert await refused(http, "https://name.test/") == private


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("https://10.0.0.1/", "no name or address"),
        ("https://inside.test/", "no name or address"),
        ("//169.254.169.254/latest/meta-data/", "no name or address"),
        ("http://site.test/", "only https://"),
        ("http://169.254.169.254/latest/", "only https://"),
        ("https://site.test:6379/", "port 6379"),
        ("https://user:pw@site.test/", "user name"),
        ("file:///etc/passwd", "not an https"),
        ("javascript:alert(1)", "not an https"),
        ("https://site.test/\x01", "characters"),
        ("/loop", "more than 3 times"),
    ],
)
async def test_a_redirect_is_checked_like_the_first_address(web: Web, to: str, told: str) -> None:
    web.names["inside.test"] = [["192.168.0.10"]]
    web.pages["/go"] = redirect(to)
    web.pages["/loop"] = redirect("/loop")
    assert told in await refused(web.http(), "https://site.test/go")
    assert {address for address, _ in web.dialled} == {PUBLIC}
    assert {path for path, _ in web.asked} <= {"/go", "/loop"}
    assert len(web.asked) <= 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_three_redirects_are_followed(web: Web, status: int) -> None:
    web.pages |= {"/1": redirect("/2", status), "/2": redirect("https://other.test/3?a=b", status)}
    web.pages["/3?a=b"] = redirect("./", status)
    got = await web.http().get("https://site.test/1")
    assert (got.body, got.url) == (b"Hello.", "https://other.test/")
    assert [headers["host"] for _, headers in web.asked] == ["site.test", "site.test", "other.test", "other.test"]


async def test_a_bomb_is_not_unpacked(web: Web) -> None:
    bomb = zlib.compressobj(9, wbits=31)
    packed = b"".join(bomb.compress(bytes(1_000_000)) for _ in range(200)) + bomb.flush()
    assert len(packed) < MAX_BYTES
    web.pages["/bomb"] = page(packed, content_encoding="gzip")
    web.pages["/large"] = page(bytes(MAX_BYTES + 1))
    web.pages["/just"] = page(gzip.compress(bytes(MAX_BYTES)), content_encoding="gzip")
    tracemalloc.start()
    try:
        assert "larger than 2097152" in await refused(web.http(), "https://site.test/bomb")
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_BYTES  # one chunk of it holds thirty times as much
    finally:
        tracemalloc.stop()
    assert "larger than 2097152" in await refused(web.http(), "https://site.test/large")
    assert len((await web.http().get("https://site.test/just")).body) == MAX_BYTES


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (page(b"not gzip", content_encoding="gzip"), "not packed as it says"),
        (page(gzip.compress(b"x" * 999)[:-5], content_encoding="gzip"), "not packed as it says"),
        (page(gzip.compress(b"a") + gzip.compress(b"b"), content_encoding="gzip"), "not packed as it says"),
        (page(b"x", content_encoding="br"), "packed as 'br'"),
        (page(b"x", content_encoding="gzip, gzip"), "packed as 'gzip, gzip'"),
        (page("x", status=500), "status 500"),
        (page("x", status=304), "status 304"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf", "broke off"),
        (b"no HTTP at all\r\n\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000, "broke off"),
        (b"", "broke off"),
    ],
    ids=lambda value: repr(value[:30]),
)
async def test_a_bad_answer_is_told_in_words(web: Web, answer: bytes, told: str) -> None:
    web.pages["/bad"] = answer
    assert told in await refused(web.http(), "https://site.test/bad")


async def test_gzip_is_unpacked(web: Web) -> None:
    web.pages["/packed"] = page(gzip.compress(b"Hello, packed."), content_encoding="gzip")
    assert (await web.http().get("https://site.test/packed")).body == b"Hello, packed."


async def test_a_slow_drip_ends_at_the_total_time(web: Web) -> None:
    gone = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1000000\r\n\r\n")
        try:
            while True:
                writer.write(b".")
                await writer.drain()
                await asyncio.sleep(0.02)
        finally:
            gone.set()

    web.pages["/drip"] = drip
    assert "within 2 seconds" in await refused(web.http(seconds=2), "https://site.test/drip")
    async with asyncio.timeout(10):
        await gone.wait()  # the connection was closed, not left


async def test_a_slow_name_server_and_a_silent_server_end_too(web: Web) -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    web.pages["/silent"] = silent
    assert "within 0.3 seconds" in await refused(web.http(seconds=0.3), "https://site.test/silent")
    http = web.http(seconds=0.3)
    http._resolve = never
    assert "within 0.3 seconds" in await refused(http, "https://site.test/")


async def test_the_next_address_is_tried_when_one_does_not_answer(web: Web) -> None:
    web.names["site.test"] = [[OTHER_PUBLIC, PUBLIC]]
    http = web.http()
    dial = http._dial
    http._dial = lambda address, port: ("127.0.0.1", 1) if address == OTHER_PUBLIC else dial(address, port)
    assert (await http.get("https://site.test/")).body == b"Hello."
    assert web.dialled == [(PUBLIC, 443)]


async def test_a_trusted_host_may_be_private_on_its_port_only(web: Web) -> None:
    port = web.ports[80]
    web.names["wiki.test"] = [["10.1.2.3"]]
    http = web.http(trusted=frozenset({("wiki.test", port)}))
    assert (await http.get(f"http://wiki.test:{port}/")).body == b"Hello."
    assert web.dialled == [("10.1.2.3", port)]
    assert "port 6379" in await refused(http, "https://wiki.test:6379/")
    assert "no name or address" in await refused(http, "https://wiki.test/")
    assert "no name or address" in await refused(http, "https://10.1.2.3/")
    for metadata in ("169.254.169.254", "fd00:ec2::254"):
        web.names["wiki.test"] = [[metadata]]
        assert "no name or address" in await refused(http, f"http://wiki.test:{port}/")


async def test_a_trusted_host_without_a_port_has_the_two_of_the_web(web: Web) -> None:
    web.names["site.test"] = [["10.1.2.3"]]
    http = web.http(trusted=frozenset({("site.test", None)}))
    assert (await http.get("http://site.test/")).body == b"Hello."
    assert (await http.get("https://site.test/")).body == b"Hello."
    assert "port 8080" in await refused(http, "https://site.test:8080/")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_behind_a_proxy_nothing_is_fetched(web: Web, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, f"http://127.0.0.1:{web.ports[80]}")
    assert "proxy" in await refused(web.http(), "https://site.test/")
    assert (web.asked, web.dialled) == ([], [])
    monkeypatch.setenv("NO_PROXY", "site.test")
    monkeypatch.setenv("no_proxy", "site.test")
    assert (await web.http().get("https://site.test/")).body == b"Hello."


async def test_a_cancel_is_not_swallowed(web: Web) -> None:
    asked = asyncio.Event()

    async def silent(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.sleep(60)

    web.pages["/silent"] = silent
    task = asyncio.create_task(web.http().get("https://site.test/silent"))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
