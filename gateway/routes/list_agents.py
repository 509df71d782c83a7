"""GET /agents: what a task may name as its `agent`, and whether it would run."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.agents import views
from gateway.answers import answer
from gateway.openapi import problems
from gateway.running import caller_of, gateway_of
from gateway.schemas import AgentList


async def list_agents(request: Request) -> Response:
    """The agents. Why one cannot run is told to an admin; others learn that it cannot."""
    gateway = gateway_of(request)
    said = (await gateway.store.overview()).agents
    return answer(AgentList(agents=list(views(gateway, said, caller_of(request)))))


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/agents",
        list_agents,
        methods=["GET"],
        response_model=AgentList,
        responses=problems("unauthorized", "forbidden_host", "store_unavailable"),
        tags=["agents"],
    )
