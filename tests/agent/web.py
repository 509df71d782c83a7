"""A small web on loopback: names of the tests' own, servers over http and https, and a note of every connection.

The guard is the real one. Only the two ends that need a network are replaced: what a name resolves to, and which socket
a checked address leads to.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.safe_http import OutboundPolicy, SafeHttp

PUBLIC = "93.184.215.14"
OTHER_PUBLIC = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def page(body: bytes | str = "Hello.", content_type: str = "text/plain", *, status: int = 200, **headers: str) -> bytes:
    """A whole HTTP answer."""
    payload = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(payload)}"]
    if content_type:
        lines.append(f"content-type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload


def redirect(to: str, status: int = 302) -> bytes:
    return page("", status=status, location=to)


@dataclass
class Web:
    """`names` are the name server, `pages` the answers by path; `asked` and `dialled` say what happened."""

    ports: dict[int, int]
    authority: ssl.SSLContext
    pages: dict[str, bytes | Answer] = field(default_factory=dict)
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    """By host, the answers of the name server in turn; the last one again and again. Others have one of PUBLIC."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers of each request."""
    dialled: list[tuple[str, int]] = field(default_factory=list)
    """The address and port of each connection that was let through."""
    looked_up: list[str] = field(default_factory=list)

    def http(
        self,
        *,
        allow_http: bool = False,
        trusted: frozenset[tuple[str, int | None]] = frozenset(),
        seconds: float = 20,
        system_names: bool = False,
    ) -> SafeHttp:
        return SafeHttp(
            OutboundPolicy(allow_http=allow_http, trusted=trusted),
            resolve=None if system_names else self._resolve,
            dial=self._dial,
            tls=self.authority,
            total_seconds=seconds,
        )

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        self.looked_up.append(host)
        try:
            return [str(ip_address(host))]
        except ValueError:
            answers = self.names.get(host, [[PUBLIC]])
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def _dial(self, address: str, port: int) -> tuple[str, int]:
        self.dialled.append((address, port))
        return "127.0.0.1", self.ports.get(port, port)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines) if key}
            path = start.split(" ")[1]
            self.asked.append((path, headers))
            answer = self.pages.get(path, page("No such page.", status=404))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done
        finally:
            writer.close()


@asynccontextmanager
async def running_web(folder: Path, *certified: str) -> AsyncIterator[Web]:
    """Serves http and https, with a certificate for `certified` names that `web.authority` trusts."""
    server_tls, authority = _certificates(folder, *certified)
    web = Web(ports={}, authority=authority)
    plain = await asyncio.start_server(web.serve, "127.0.0.1", 0)
    secure = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=server_tls)
    web.ports = {80: plain.sockets[0].getsockname()[1], 443: secure.sockets[0].getsockname()[1]}
    try:
        yield web
    finally:
        plain.close()
        secure.close()


def _certificates(folder: Path, *names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Server's and client's side of a certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Longhaul tests")])
    now = datetime.now(UTC)
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "web.pem", folder / "web.key"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, private)
    return server, ssl.create_default_context(cafile=str(public))
