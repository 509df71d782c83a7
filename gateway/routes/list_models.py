"""GET /models: what a task may name as its `model`."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.running import gateway_of
from gateway.schemas import ModelList, ModelView


async def list_models(request: Request) -> Response:
    """The models of the registry. Keys are never shown, only whether they are set."""
    models = gateway_of(request).models
    views = [
        ModelView(
            name=name,
            active=name == models.active,
            simulated=model.simulated,
            has_key=models.has_key[name],
            price_in=model.price_in,
            price_out=model.price_out,
        )
        for name, model in models.registry.items()
    ]
    return answer(ModelList(models=views))


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/models",
        list_models,
        methods=["GET"],
        response_model=ModelList,
        responses=problems("unauthorized", "forbidden_host"),
        tags=["models"],
    )
