"""A LangGraph checkpointer over a task's progress: each step of the graph is kept before the next one begins.

Only the last checkpoint of a graph is kept, and what is pending in it; each holds the whole state, and an attempt goes
on from the last. Nothing is kept for a step that did nothing, nor for the graph's last one: its result is the task's
outcome, which is written at once; and when that result is refused, another attempt must make that step again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    writes_sort_key,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR

from agent.durable import Earlier, ToolLedger

from .ledger import BEGUN, DONE, Ledger
from .progress import SEPARATOR, SOON_S, TaskProgress

CHECKPOINT, WRITES = f"checkpoint{SEPARATOR}", f"writes{SEPARATOR}"
LEVEL = "|"
"""Between the steps of nested graphs in LangGraph's name of a graph."""
MAX_BYTES = 16_777_216
"""Of one checkpoint: Redis is to hold many tasks' and to write each within milliseconds."""

# None: only messages and plain types are made from bytes, no class that the bytes name; and never a pickle
SERDE = JsonPlusSerializer(allowed_msgpack_modules=None)

log = logging.getLogger(__name__)
T = TypeVar("T")


class Checkpoints(BaseCheckpointSaver[int]):
    def __init__(self, progress: TaskProgress, *, history: bool = False) -> None:
        """`history` keeps every checkpoint, as a general checkpointer does."""
        super().__init__(serde=SERDE)
        self._progress = progress
        self._history = history
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- reading

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        await self._opened()
        return self.get_tuple(config)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        thread, graph = _place(config)
        wanted = get_checkpoint_id(config)
        found = self._ids(thread, graph)
        checkpoint_id = wanted or max(found, default=None)
        if checkpoint_id is None or checkpoint_id not in found:
            return None
        return self._tuple(thread, graph, checkpoint_id)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        await self._opened()
        for found in self.list(config, filter=filter, before=before, limit=limit):
            yield found

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Newest first."""
        places = [name.split(SEPARATOR)[1:] for name in self._progress.fields(CHECKPOINT)]
        if config is not None:
            asked = config["configurable"]
            graph, one = asked.get("checkpoint_ns"), get_checkpoint_id(config)
            places = [
                place
                for place in places
                if place[0] == asked["thread_id"] and graph in (None, place[1]) and one in (None, place[2])
            ]
        end = get_checkpoint_id(before) if before else None
        for thread, graph_name, checkpoint_id in sorted(places, key=lambda place: place[2], reverse=True):
            if limit is not None and limit <= 0:
                return
            if end is not None and checkpoint_id >= end:
                continue
            found = self._tuple(thread, graph_name, checkpoint_id)
            about: dict[str, Any] = {**found.metadata}
            if all(about.get(key) == value for key, value in (filter or {}).items()):
                limit = None if limit is None else limit - 1
                yield found

    def _ids(self, thread: str, graph: str) -> Sequence[str]:
        prefix = SEPARATOR.join((f"{CHECKPOINT}{thread}", graph, ""))
        return [name.removeprefix(prefix) for name in self._progress.fields(prefix)]

    def _tuple(self, thread: str, graph: str, checkpoint_id: str) -> CheckpointTuple:
        kept = self._progress.get(SEPARATOR.join((f"{CHECKPOINT}{thread}", graph, checkpoint_id)))
        parent, checkpoint, metadata = self._value(kept or b"")
        writes = []
        prefix = SEPARATOR.join((f"{WRITES}{thread}", graph, checkpoint_id, ""))
        for name, value in self._progress.fields(prefix).items():
            task, index = name.removeprefix(prefix).split(SEPARATOR)
            path, channel, written = self._value(value)
            writes.append((writes_sort_key(path, task, int(index)), (task, channel, written)))
        writes.sort(key=lambda write: write[0])
        return CheckpointTuple(
            config=_config(thread, graph, checkpoint_id),
            checkpoint=checkpoint,
            metadata=metadata,
            parent_config=_config(thread, graph, parent) if parent else None,
            pending_writes=[write for _, write in writes],
        )

    # -- writing

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,  # noqa: ARG002  each checkpoint holds its whole state
    ) -> RunnableConfig:
        await self._opened()
        thread, graph = _place(config)
        stored = _config(thread, graph, checkpoint["id"])
        prunes = not self._history and "counters_since_delta_snapshot" not in metadata
        if prunes and not graph and _is_last(checkpoint):
            self._forget_writes(thread, graph)
            return stored
        value = self._bytes([get_checkpoint_id(config), checkpoint, metadata])
        if value is None:
            return stored
        if prunes:
            self._forget(thread, graph)
        name = SEPARATOR.join((f"{CHECKPOINT}{thread}", graph, checkpoint["id"]))
        if _did_nothing(checkpoint) and not self._history:
            self._progress.hold(name, value)
        else:
            self._progress.set(name, value)
            await self._progress.kept()
        return stored

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._opened()
        self._put_writes(config, writes, task_id, task_path)
        if self._history:
            await self._progress.kept()
        self._progress.write_within(SOON_S)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._opened()
        for prefix in (CHECKPOINT, WRITES):
            for name in self._progress.fields(f"{prefix}{thread_id}{SEPARATOR}"):
                self._progress.drop(name)
        await self._progress.kept()

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self._wait(lambda: self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._wait(lambda: self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        self._wait(lambda: self.adelete_thread(thread_id))

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        thread, graph = _place(config)
        checkpoint_id = config["configurable"]["checkpoint_id"]
        if checkpoint_id not in self._ids(thread, graph):
            return  # of a checkpoint that a later one has replaced
        if not self._history and [channel for channel, _ in writes] == [ERROR]:
            return  # the node runs again: that it failed is of use to nobody
        prefix = SEPARATOR.join((f"{WRITES}{thread}", graph, checkpoint_id, task_id, ""))
        made: dict[str, bytes] = {}
        for place, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, place)
            written = self._bytes([task_path, channel, value])
            if written is None:  # all or nothing: with some of its writes, a node would look finished
                return
            if index < 0 or self._progress.get(f"{prefix}{index}") is None:
                made[f"{prefix}{index}"] = written
        for name, written in made.items():
            self._progress.set(name, written)

    def _forget(self, thread: str, graph: str) -> None:
        """What the checkpoint to come replaces: the one before, and all of the graphs and tools that ran since."""
        for name in self._progress.fields(SEPARATOR.join((f"{CHECKPOINT}{thread}", graph, ""))):
            self._progress.drop(name)
        self._forget_writes(thread, graph)
        for prefix in (CHECKPOINT, WRITES):
            for name in self._progress.fields(f"{prefix}{thread}{SEPARATOR}"):
                if _ran_in(name.split(SEPARATOR)[2], graph):
                    self._progress.drop(name)
        for prefix in (BEGUN, DONE):
            for name in self._progress.fields(prefix):
                if _ran_in(name.split(SEPARATOR)[1], graph):
                    self._progress.drop(name)

    def _forget_writes(self, thread: str, graph: str) -> None:
        for name in self._progress.fields(SEPARATOR.join((f"{WRITES}{thread}", graph, ""))):
            self._progress.drop(name)

    def _bytes(self, value: Any) -> bytes | None:
        """None for what cannot be kept: the run goes on, and an attempt after it from what was kept before."""
        try:
            _, made = self.serde.dumps_typed(value)
        except Exception:  # an object in a graph's state that is neither a message nor plain data
            log.warning("checkpoint_not_kept", exc_info=True)
            return None
        if len(made) > MAX_BYTES:
            log.warning("checkpoint_too_large", extra={"bytes": len(made)})
            return None
        return made

    def _value(self, kept: bytes) -> Any:
        return self.serde.loads_typed(("msgpack", kept))

    # -- for graphs that run in threads

    async def _opened(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._progress.open()

    def _wait(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """LangGraph calls these from a node's thread, when a graph is invoked there without await."""
        if self._loop is None:
            raise RuntimeError("the run has not begun")
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()


class DurableRun:
    """agent.durable.Durable of one attempt."""

    def __init__(self, progress: TaskProgress) -> None:
        self._progress = progress
        self.ledger: ToolLedger = Ledger(progress, SERDE)

    @cached_property
    def saver(self) -> BaseCheckpointSaver[Any]:
        """Made for a graph that asks for it: a plain function has none."""
        return Checkpoints(self._progress)

    async def open(self) -> Earlier:
        return await self._progress.open()


def _place(config: RunnableConfig) -> tuple[str, str]:
    asked = config["configurable"]
    return str(asked["thread_id"]), str(asked.get("checkpoint_ns", ""))


def _config(thread: str, graph: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": graph, "checkpoint_id": checkpoint_id}}


def _did_nothing(checkpoint: Checkpoint) -> bool:
    """Whether it only holds what the run was given: it goes with the next write."""
    return checkpoint["versions_seen"].keys() <= {"__input__", "__start__"}


def _is_last(checkpoint: Checkpoint) -> bool:
    """Whether nothing follows: a node of a StateGraph runs because a channel of these names was written."""
    written = checkpoint.get("updated_channels")
    if written is None or "__start__" not in checkpoint["versions_seen"] or _did_nothing(checkpoint):
        return False
    return not any(channel.startswith(("branch:", "join:", "__")) for channel in written)


def _ran_in(inner: str, graph: str) -> bool:
    """Whether `inner` names a step, or a graph in a step, of `graph`. A graph that keeps its memory from call to call
    (`checkpointer=True`) has no step in its name.
    """
    if graph and not inner.startswith(graph + LEVEL):
        return False
    below = inner.removeprefix(graph + LEVEL) if graph else inner
    return below != "" and inner != graph and all(":" in level for level in below.split(LEVEL))
