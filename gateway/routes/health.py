"""GET /health, or /healthz: the process is up. It asks nobody: a lost Redis must not get a gateway restarted."""

from datetime import UTC, datetime

from fastapi import FastAPI
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.schemas import Health


async def health() -> Response:
    """Whether this process is up, and nothing else; `/ready` says whether tasks would run."""
    return answer(Health(status="healthy", timestamp=datetime.now(UTC)))


def add(app: FastAPI) -> None:
    for path in ("/health", "/healthz"):
        app.add_api_route(
            path,
            health,
            methods=["GET"],
            response_model=Health,
            responses=problems("forbidden_host"),
            tags=["operation"],
            include_in_schema=path == "/health",
        )
