"""GET /metrics, for Prometheus."""

import asyncio

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.requests import Request
from starlette.responses import Response

from gateway.openapi import problems
from gateway.running import gateway_of
from monitoring import exposition


async def metrics_page(request: Request) -> Response:
    """The counts of this gateway, and those that the whole deployment keeps in Redis, in Prometheus's text format."""
    gateway = gateway_of(request)
    processes, stored = gateway.settings.gateway_processes, await gateway.stored.read()
    # in a thread: it reads what other processes counted, and waits for one that is putting it together
    text, content_type = await asyncio.to_thread(exposition.page, processes, stored)
    return Response(text, media_type=content_type)


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/metrics",
        metrics_page,
        methods=["GET"],
        response_class=PlainTextResponse,
        responses=problems("forbidden_host"),
        tags=["operation"],
    )
