"""Answers, serialised once: FastAPI would validate a model again and render it through a second encoder."""

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.responses import Response


def answer(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers, "application/json")
