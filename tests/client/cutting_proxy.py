"""A proxy that cuts connections at given places of what the server answers."""

from collections import deque
from collections.abc import Iterable

from tests.chaos.proxy import Proxy, _Link


class CuttingProxy(Proxy):
    """`places`: after so many bytes of its answers each next connection is cut. When they are used up, none is."""

    def __init__(self, target_port: int, places: Iterable[int] = ()) -> None:
        super().__init__(target_port)
        self.places = deque(places)
        self.cuts = 0
        self._left: dict[_Link, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def passes(self, link: _Link, data: bytes, *, is_reply: bool) -> bool:
        if not is_reply:
            return await super().passes(link, data, is_reply=is_reply)
        if link not in self._left:
            if not self.places:
                return await super().passes(link, data, is_reply=is_reply)
            self._left[link] = self.places.popleft()
        left = self._left[link]
        self._left[link] = left - len(data)
        if len(data) < left:
            return True
        link._near.write(data[:left])
        await link._near.drain()
        self.cuts += 1
        # what was written is to arrive: an end, not a reset, which would take it back
        link._near.close()
        link._far.transport.abort()
        return False
