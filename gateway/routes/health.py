"""GET /health: the process is up. It asks nobody else, so that a lost Redis never gets a gateway restarted."""

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
    app.add_api_route(
        "/health",
        health,
        methods=["GET"],
        response_model=Health,
        responses=problems("forbidden_host"),
        tags=["operation"],
    )
