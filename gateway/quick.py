"""The calls that are nearly all of a gateway's load, without what FastAPI does for a route that may be anything: it
takes longer to find their arguments than all that is done here with them.

To the router, to the document and to what is wrong with a call a quick route is one like any other. It only looks first
whether it can find the endpoint's arguments by itself. A call that has anything odd about it goes FastAPI's way, with
nothing done yet, so that there is one place that says what is wrong and how.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from .body import JsonRequest, JsonRoute


class QuickRoute(JsonRoute):
    """A route whose endpoint is a coroutine function that takes the request first and answers a Response."""

    @abstractmethod
    async def arguments(self, request: JsonRequest) -> Mapping[str, Any] | None:
        """The endpoint's, but for the request: those that FastAPI would find. None when only FastAPI can tell. May read
        the body, by `request.load`, and raise what that raises.
        """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = None
        if scope["method"] in (self.methods or ()):
            request = JsonRequest(scope, receive)
            found = await self.arguments(request)
            receive = request.again
        if found is None:
            await super().handle(scope, receive, send)
            return
        response = await self.endpoint(request, **found)
        await response(scope, receive, send)
