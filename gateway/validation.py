"""What FastAPI found wrong with a request, as a problem whose sentences help."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from .problems import invalid

MOST_ERRORS = 20
LONGEST_ECHO = 60


async def answer_invalid(request: Request, error: Exception) -> Response:
    """The exception handler of RequestValidationError."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  Starlette's handlers take any exception
    found = [_said(one, request) for one in list(error.errors())[:MOST_ERRORS]]
    return invalid(found).response()


def _said(error: Mapping[str, Any], request: Request) -> dict[str, Any]:
    loc = [part if isinstance(part, int) else str(part)[:LONGEST_ECHO] for part in error["loc"]]
    return {"loc": loc, "msg": _sentence(error, request), "type": error["type"]}


def _sentence(error: Mapping[str, Any], request: Request) -> str:
    match error["type"]:
        case "extra_forbidden":
            return unknown_field(str(error["loc"][-1]), _known_fields(request, str(error["loc"][0])))
        case "missing":
            return "is required"
        case "model_attributes_type" | "model_type" | "dict_type":
            return "must be a JSON object"
        case "string_pattern_mismatch":
            return "holds a character that is not allowed here"
    text = str(error["msg"]).removeprefix("Value error, ")
    return text.replace("Input should be", "must be").replace("String should have", "must have")


def unknown_field(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name[:LONGEST_ECHO], known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(known)}"
    return f"is no field of this call; {hint}"


def _known_fields(request: Request, where: str) -> list[str]:
    route = request.scope["route"]
    fields = [route.body_field] if where == "body" else route.dependant.query_params
    models = [field.field_info.annotation for field in fields if field is not None]
    return sorted(
        field.alias or name
        for model in models
        if isinstance(model, type) and issubclass(model, BaseModel)
        for name, field in model.model_fields.items()
    )
