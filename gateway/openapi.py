"""The OpenAPI document: FastAPI's, with our problems and our key in it."""

from collections import defaultdict
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .event_frames import DATA
from .guard import OPEN
from .problems import KINDS, MEDIA_TYPE, TASK_STATUSES
from .schemas import ProblemBody

_SCHEMA = {"$ref": "#/components/schemas/Problem"}
_STATUS_OF = {code: kind.status for code, kind in KINDS.items()} | {
    code.value: status for code, status in TASK_STATUSES.items()
}


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can answer these codes."""
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in codes:
        by_status[_STATUS_OF[str(code)]].append(f"`{code}`")
    return {
        status: {"description": " or ".join(dict.fromkeys(names)), "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}
        for status, names in sorted(by_status.items())
    }


def describe(app: FastAPI, *, with_keys: bool) -> None:
    """Makes `app.openapi` say what the layers before the router do."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            parts = document.setdefault("components", {})
            schemas = parts.setdefault("schemas", {})
            schemas["Problem"] = ProblemBody.model_json_schema()
            # no route answers with them as JSON: they are the data of its events
            schemas |= {data.__name__: data.model_json_schema() for data in DATA.values()}
            if with_keys:
                parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                for path, operations in document["paths"].items():
                    for operation in operations.values():
                        operation["security"] = [] if path in OPEN else [{"key": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
