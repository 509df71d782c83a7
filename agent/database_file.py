"""Where the database tool's data is: DATABASE_URL, checked without asking anybody, so that a start can do it."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from core_config import ROOT, ConfigurationError, Settings

if TYPE_CHECKING:
    from agent.read_only_postgres import PostgresAddress


def database_file(settings: Settings) -> "Path | PostgresAddress | None":
    """The SQLite file or the Postgres database that DATABASE_URL names; None when it is unset.

    Raises ConfigurationError, without the URL's content: it may hold a password.
    """
    if settings.database_url is None:
        return None
    url = settings.database_url.get_secret_value()
    scheme = url.partition(":")[0]
    if scheme.partition("+")[0] in ("postgres", "postgresql"):
        return _postgres(url.removeprefix(scheme))
    scheme, separator, rest = url.partition(":///")
    if not separator or scheme != "sqlite":
        raise ConfigurationError(
            "DATABASE_URL is no address of an SQLite file or of a Postgres database. Write sqlite:///path for a file "
            "under the project, sqlite:////path for an absolute one, postgresql://user:password@host/name, or unset it."
        )
    path = ROOT / Path(rest).expanduser()
    if not path.is_file():
        raise ConfigurationError(f"DATABASE_URL: there is no file {path}. Correct the path, or unset it.")
    return path


def _postgres(rest: str) -> "PostgresAddress":
    import psycopg  # noqa: PLC0415  a tenth of a second that only its users pay

    from agent.read_only_postgres import PostgresAddress  # noqa: PLC0415  as above

    address = f"postgresql{rest}"
    with contextlib.suppress(psycopg.Error):  # its text holds the address
        ports = str(psycopg.conninfo.conninfo_to_dict(address).get("port") or "")
        if all(port.isdecimal() or not port for port in ports.split(",")):
            return PostgresAddress(address)
    raise ConfigurationError(
        "DATABASE_URL is no address of a Postgres database. Write postgresql://user:password@host:5432/name, with "
        "special characters of the password as %XX, or unset it."
    )
