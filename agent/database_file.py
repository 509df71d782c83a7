"""Where the database tool's data is: DATABASE_URL as a file. Loads nothing, so that a start can check it at once."""

from pathlib import Path

from core_config import ROOT, ConfigurationError, Settings


def database_file(settings: Settings) -> Path | None:
    """The SQLite file that DATABASE_URL names; None when it is unset. Raises ConfigurationError, without the URL's
    content: another database's URL holds a password.
    """
    if settings.database_url is None:
        return None
    scheme, separator, rest = settings.database_url.get_secret_value().partition(":///")
    if not separator or scheme != "sqlite":
        scheme = scheme.partition(":")[0]
        if scheme.partition("+")[0] in ("postgres", "postgresql"):
            raise ConfigurationError(
                "DATABASE_URL names a Postgres database, which the database tool cannot read yet: only SQLite. "
                "Use sqlite:///path, or unset it."
            )
        raise ConfigurationError(
            "DATABASE_URL is no address of an SQLite file. Write sqlite:///path for one under the project, "
            "sqlite:////path for an absolute one, or unset it."
        )
    path = ROOT / Path(rest).expanduser()
    if not path.is_file():
        raise ConfigurationError(f"DATABASE_URL: there is no file {path}. Correct the path, or unset it.")
    return path
