"""The checkpointer over a real store: conformance, graphs of other kinds than ours, and bytes that somebody planted."""

import operator
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import ormsgpack
import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import BASE_CAPABILITIES
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel

from agent.resume import invoke
from agent.work import AgentWork
from taskstore.claims import Claim
from taskstore.store import TaskStore
from tests.worker.conftest import eventually, new_task
from worker.checkpoints import Checkpoints, DurableRun
from worker.outage import Outage
from worker.progress import NotKeptError, TaskProgress
from worker.steps import StepLog
from worker.writer import Writer


class Bench:
    """One task's attempts, with the writer of this worker."""

    def __init__(self, store: TaskStore) -> None:
        self.store = store
        self.writer = Writer(store, Outage())
        self.lost: list[int] = []
        self._claims = 0
        self.claim: Claim
        self.last: StepLog

    async def begin(self) -> StepLog:
        """Another attempt: the worker of the one before died."""
        if self._claims == 0:
            await self.store.submit(new_task())
        else:
            await self.store.sweep("w1")
        self._claims += 1
        (self.claim,) = (await self.store.claim("w1", self._claims, room=1, extra=0, models={"M": None})).tasks
        fence = self.claim.fence
        log = StepLog(self.claim, str, self.writer.noted, self.read)
        log.on_lost = lambda: self.lost.append(fence)
        return log

    async def read(self) -> dict[str, bytes]:
        return await self.store.progress(self.claim.task_id)

    async def run(self, graph: Any, given: Any) -> Any:
        self.last = await self.begin()
        durable = DurableRun(self.last.progress)
        await durable.open()
        work = AgentWork(task_id=self.claim.task_id, message="", model="M", durable=durable)
        return await invoke(graph, given, {}, work)


@pytest.fixture
async def bench(store: TaskStore) -> AsyncIterator[Bench]:
    made = Bench(store)
    await made.writer.start()
    yield made
    await made.writer.stop()
    assert await store.audit() == []


class ReadAgain(Checkpoints):
    """Answers what another attempt would: all it knows it reads from Redis."""

    def __init__(self, bench: Bench, progress: TaskProgress) -> None:
        super().__init__(progress, history=True)
        self._bench = bench

    def _anew(self) -> Checkpoints:
        return Checkpoints(TaskProgress(lambda _: None, self._bench.read), history=True)

    async def aget_tuple(self, config: Any) -> Any:
        return await self._anew().aget_tuple(config)

    async def alist(self, *args: Any, **filters: Any) -> AsyncIterator[Any]:
        async for found in self._anew().alist(*args, **filters):
            yield found


async def test_it_passes_the_base_groups_of_langgraph_s_own_suite(bench: Bench) -> None:
    log = await bench.begin()

    @checkpointer_test(name="longhaul")
    async def checkpointer() -> AsyncIterator[Checkpoints]:
        yield ReadAgain(bench, log.progress)

    report = await validate(checkpointer, capabilities={group.value for group in BASE_CAPABILITIES})
    found = {group: (result.passed, result.failures) for group, result in report.results.items() if result.detected}
    assert found == {group.value: (True, []) for group in BASE_CAPABILITIES}
    assert sum(result.tests_passed for result in report.results.values()) > 50


class Lines(TypedDict):
    lines: Annotated[list[str], operator.add]


class Trail:
    """Nodes that say that they ran, and one that fails as often as it is told to."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failures = 0

    def node(self, name: str) -> Any:
        async def run(state: Lines) -> dict[str, Any]:
            self.ran.append(name)
            return {"lines": [name]}

        return run

    async def shaky(self, state: Lines) -> dict[str, Any]:
        self.ran.append("shaky")
        if self.failures:
            self.failures -= 1
            raise RuntimeError("planted")
        return {"lines": ["shaky"]}


def chain(**nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(Lines)
    before = START
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


async def test_a_graph_in_a_graph_goes_on_where_it_was_and_leaves_nothing_of_itself(bench: Bench) -> None:
    trail = Trail()
    trail.failures = 1
    inner = chain(first=trail.node("first"), second=trail.shaky).compile()
    outer = chain(before=trail.node("before"), inner=inner, after=trail.node("after"), end=trail.node("end")).compile()
    with pytest.raises(RuntimeError, match="planted"):
        await bench.run(outer, {"lines": ["given"]})
    assert trail.ran == ["before", "first", "shaky"]
    last = await bench.run(outer, {"lines": ["not used"]})
    assert trail.ran == ["before", "first", "shaky", "shaky", "after", "end"]
    assert last == await outer.ainvoke({"lines": ["given"]})  # as if nothing had happened
    # the last checkpoint that another step followed, and what is counted: nothing of the inner graph
    kept = await bench.store.progress(bench.claim.task_id)
    assert sorted(name.split("\x1f")[0] for name in kept) == ["answered", "checkpoint", "steps"]


async def test_a_run_that_did_nothing_keeps_nothing(bench: Bench) -> None:
    trail = Trail()
    trail.failures = 1
    graph = chain(only=trail.shaky, end=trail.node("end")).compile()
    with pytest.raises(RuntimeError, match="planted"):
        await bench.run(graph, {"lines": ["given"]})
    bench.last.close()
    assert bench.last.take() is None
    assert await bench.read() == {}
    # and so it is given again
    assert (await bench.run(graph, {"lines": ["again"]}))["lines"] == ["again", "shaky", "end"]


async def test_what_is_kept_does_not_grow_with_the_steps(bench: Bench) -> None:
    trail = Trail()
    graph = chain(**{f"node{number}": trail.node("x") for number in range(30)}, last=trail.shaky).compile()
    trail.failures = 1
    with pytest.raises(RuntimeError, match="planted"):
        await bench.run(graph, {"lines": []})
    kept = await bench.store.progress(bench.claim.task_id)
    assert sum("checkpoint" in name for name in kept) == 1
    await bench.run(graph, {})
    assert trail.ran == ["x"] * 30 + ["shaky", "shaky"]


async def test_branches_that_finished_are_not_run_again(bench: Bench) -> None:
    trail = Trail()
    trail.failures = 1
    graph = StateGraph(Lines)
    graph.add_node("quick", trail.node("quick"))
    graph.add_node("shaky", trail.shaky)
    for name in ("quick", "shaky"):
        graph.add_edge(START, name)
    compiled = graph.compile()
    with pytest.raises(RuntimeError, match="planted"):
        await bench.run(compiled, {"lines": []})

    async def kept() -> bool:
        return any("writes" in name for name in await bench.read())

    await eventually(kept)
    last = await bench.run(compiled, {})
    assert sorted(trail.ran) == ["quick", "shaky", "shaky"]
    assert sorted(last["lines"]) == ["quick", "shaky"]


async def test_a_graph_that_is_invoked_in_a_thread_is_kept_too(bench: Bench) -> None:
    trail = Trail()

    def first(state: Lines) -> dict[str, Any]:
        trail.ran.append("first")
        return {"lines": ["first"]}

    def second(state: Lines) -> dict[str, Any]:
        trail.ran.append("second")
        if trail.ran.count("second") == 1:
            raise RuntimeError("planted")
        return {"lines": ["second"]}

    inner = chain(first=first, second=second).compile()

    def blocking(state: Lines) -> dict[str, Any]:
        return {"lines": inner.invoke({"lines": []})["lines"]}

    outer = chain(blocking=blocking, end=trail.node("end")).compile()
    with pytest.raises(RuntimeError, match="planted"):
        await bench.run(outer, {"lines": []})
    last = await bench.run(outer, {})
    assert trail.ran == ["first", "second", "second", "end"]
    assert last["lines"] == ["first", "second", "end"]


class Odd(TypedDict):
    handle: Any
    done: bool


async def test_a_state_that_cannot_be_kept_costs_only_its_being_kept(bench: Bench, caplog: Any) -> None:
    """A node with one write that can be kept and one that cannot has not finished, for the next attempt."""
    trail = Trail()

    async def make(state: Odd) -> dict[str, Any]:
        trail.ran.append("make")
        return {"done": False, "handle": object()}

    async def use(state: Odd) -> dict[str, Any]:
        trail.ran.append("use")
        if trail.ran.count("use") == 1:
            raise RuntimeError("planted")
        return {"done": type(state["handle"]) is object}

    graph = StateGraph(Odd)
    graph.add_node("make", make)
    graph.add_node("use", use)
    graph.add_edge(START, "make")
    graph.add_edge("make", "use")
    compiled = graph.compile()
    with pytest.raises(RuntimeError, match="planted"):
        await bench.run(compiled, {"done": False})
    last = await bench.run(compiled, {"done": False})
    assert last["done"] is True
    assert trail.ran == ["make", "use", "make", "use"]
    assert "checkpoint_not_kept" in caplog.text


class Order(BaseModel):
    """A class of a graph's own, in its state."""

    amount: int


class Shop(TypedDict):
    order: Order


async def test_classes_that_a_graph_declares_come_back_as_such(bench: Bench) -> None:
    found: list[Any] = []

    async def make(state: Shop) -> dict[str, Any]:
        return {"order": Order(amount=3)}

    async def use(state: Shop) -> dict[str, Any]:
        found.append(state["order"])
        if len(found) == 1:
            raise RuntimeError("planted")
        return {}

    graph = StateGraph(Shop)
    graph.add_node("make", make)
    graph.add_node("use", use)
    graph.add_edge(START, "make")
    graph.add_edge("make", "use")
    compiled = graph.compile()
    with pytest.raises(RuntimeError, match="planted"):
        await bench.run(compiled, {"order": Order(amount=1)})
    await bench.run(compiled, {})
    assert found == [Order(amount=3)] * 2


async def test_a_run_whose_lease_is_lost_is_told_by_its_next_write(bench: Bench) -> None:
    first = await bench.begin()
    first.progress.set("a", b"1")
    await first.progress.kept()
    second = await bench.begin()
    first.progress.set("a", b"late")
    with pytest.raises(NotKeptError):
        await first.progress.kept()
    assert bench.lost == [1]
    assert await bench.read() == {"a": b"1", "answered": b"0", "steps": b"0"}
    first.progress.set("a", b"later still")
    with pytest.raises(NotKeptError):
        await first.progress.kept()
    await second.progress.open()
    assert second.progress.get("a") == b"1"


def test_what_comes_back_from_a_failed_write_gives_way_to_what_has_changed_since() -> None:
    progress = TaskProgress(lambda _: None)
    for name in ("kept", "changed", "gone"):
        progress.set(name, b"old")
    first = progress.take()
    assert first is not None
    progress.set("changed", b"new")
    progress.drop("gone")
    progress.put_back(first)
    second = progress.take()
    assert second is not None
    assert {name: second.fields[name] for name in ("kept", "changed")} == {"kept": b"old", "changed": b"new"}
    assert "gone" not in second.fields
    # it may have arrived, so it is taken back by name
    assert second.dropped == ["gone"]
    assert second.number > first.number


class Planted:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def constructors(path: Path) -> list[bytes]:
    """Msgpack of LangGraph's that names what to import and call: every form that its serializer has."""

    def pack(value: Any) -> bytes:
        return ormsgpack.packb(value)

    touch = f"touch {path}"
    forms = [
        (0, ("os", "system", touch)),
        (1, ("os", "system", (touch,))),
        (2, ("subprocess", "run", {"args": touch, "shell": True})),
        (3, ("pathlib", "Path", str(path), "touch")),
        (4, ("subprocess", "Popen", {"args": touch, "shell": True})),
        (5, ("subprocess", "Popen", {"args": touch, "shell": True}, "model_validate_json")),
        (1, ("pickle", "loads", (pickle.dumps(Planted(path)),))),
    ]
    return [pack([None, ormsgpack.Ext(code, pack(form)), {"step": 1}]) for code, form in forms]


@pytest.mark.parametrize("form", range(len(constructors(Path("x")))))
async def test_planted_constructors_call_nothing(bench: Bench, tmp_path: Path, form: int) -> None:
    proof = tmp_path / "ran"
    log = await bench.begin()
    client: Any = bench.store.redis
    key, name = bench.store.keys.steps(bench.claim.task_id), "checkpoint\x1fthread\x1f\x1f1"
    await client.hset(key, name, constructors(proof)[form])
    found = await Checkpoints(log.progress).aget_tuple({"configurable": {"thread_id": "thread"}})
    assert found is not None
    # what was to be called with is given back as it is
    assert str(proof) in str(found.checkpoint)
    assert not proof.exists()


async def test_a_planted_pickle_is_not_read(bench: Bench, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    log = await bench.begin()
    client: Any = bench.store.redis
    key, name = bench.store.keys.steps(bench.claim.task_id), "checkpoint\x1fthread\x1f\x1f1"
    await client.hset(key, name, pickle.dumps(Planted(proof)))
    with pytest.raises(ValueError, match="unpack"):  # read as msgpack, it is an empty map
        await Checkpoints(log.progress).aget_tuple({"configurable": {"thread_id": "thread"}})
    assert not proof.exists()


async def test_messages_come_back_as_messages(bench: Bench) -> None:
    log = await bench.begin()
    saver = Checkpoints(log.progress)
    value = saver.serde.dumps_typed([HumanMessage("hello", id="1")])
    assert saver.serde.loads_typed(value) == [HumanMessage("hello", id="1")]
