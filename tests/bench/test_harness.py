"""The order of measuring, what becomes of visits that fail, and that nothing of a visit is left. A real Redis."""

import asyncio
import sys

import psutil
import pytest

from loadtest.bench import harness
from loadtest.bench.stage import BenchError
from loadtest.bench.study import Contender, Found, Row, Study

ROW = Row("r", "a row", "ms", "lower")


def study(*contenders, **more):
    return Study("s", (ROW,), contenders, **more)


async def run(stages, *studies, rounds=1):
    record = harness.Record()
    said: list[str] = []
    await harness.measure(stages, studies, rounds, record, said.append, seed=3)
    return record, said


async def test_each_round_visits_everybody_once_in_an_order_of_its_own(stages):
    def contender(name):
        async def measure(stage):
            visited.append(name)
            return {"r": 1.0}

        return Contender(name, measure)

    visited: list[str] = []
    names = list("abcdef")
    record, _ = await run(stages, study(*map(contender, names)), rounds=4)
    rounds = [visited[at : at + 6] for at in range(0, 24, 6)]
    assert all(sorted(order) == names for order in rounds)
    assert len({tuple(order) for order in rounds}) > 1
    assert sorted({sample.round for sample in record.samples}) == [1, 2, 3, 4]


async def test_a_study_may_have_fewer_rounds(stages):
    async def measure(stage):
        return {"r": Found(20.0, at_least=True)}

    record, _ = await run(stages, study(Contender("a", measure), most_rounds=1), rounds=3)
    assert [(sample.value, sample.at_least, sample.round) for sample in record.samples] == [(20.0, True, 1)]


async def test_a_visit_that_fails_stops_nobody_else(stages):
    async def fails(stage):
        raise BenchError("it does not come up")

    async def hangs(stage):
        await asyncio.sleep(3600)

    async def works(stage):
        return {"r": 1.0}

    contenders = (Contender("fails", fails), Contender("hangs", hangs), Contender("works", works))
    record, said = await run(stages, study(*contenders, seconds=0.3))
    assert [sample.contender for sample in record.samples] == ["works"]
    assert {failure.contender: failure.reason for failure in record.failures} == {
        "fails": "it does not come up", "hangs": "took longer than 0.3 s",
    }  # fmt: skip
    assert sum("failed: " in line for line in said) == 2


async def test_a_row_that_the_study_does_not_have_is_a_mistake(stages):
    async def measure(stage):
        return {"another": 1.0}

    with pytest.raises(ValueError, match="another"):
        await run(stages, study(Contender("a", measure)))


async def test_each_visit_finds_an_empty_redis(stages):
    async def measure(stage):
        found = await stage.redis.dbsize()
        await stage.redis.set("left", "behind")
        return {"r": float(found)}

    record, _ = await run(stages, study(Contender("a", measure)), rounds=3)
    assert [sample.value for sample in record.samples] == [0, 0, 0]


@pytest.mark.parametrize("how", ["returns", "fails", "hangs", "interrupted"])
async def test_what_a_visit_started_ends_with_it(stages, how):
    """The process and its child, which a kill of the process alone would leave."""
    started: list[psutil.Process] = []
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"

    async def measure(stage):
        program = await stage.start("sleeper", [sys.executable, "-c", child])
        parent = psutil.Process(program.pid)
        while not parent.children():
            await asyncio.sleep(0.01)
        started.extend([parent, *parent.children()])
        if how == "fails":
            raise BenchError("no")
        if how in {"hangs", "interrupted"}:
            await asyncio.sleep(3600)
        return {"r": 1.0}

    running = asyncio.ensure_future(run(stages, study(Contender("a", measure), seconds=2 if how == "hangs" else 60)))
    if how == "interrupted":
        while len(started) < 2:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    else:
        await running
    async with asyncio.timeout(30):
        while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in started):
            await asyncio.sleep(0.01)
    assert len(started) == 2


async def test_a_program_that_ends_is_told_with_its_last_words(stages):
    async def measure(stage):
        program = await stage.start("loser", [sys.executable, "-c", "import sys; sys.exit('no such queue')"])
        await program.process.wait()
        program.check()
        return {}

    record, _ = await run(stages, study(Contender("a", measure)))
    assert "loser ended (exit 1): no such queue" in record.failures[0].reason


async def test_only_what_is_kept_of_the_environment_reaches_a_program(stages, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-developer")

    async def measure(stage):
        asked = "import os; print(sorted(name for name in os.environ if 'KEY' in name or 'BENCH' in name))"
        program = await stage.start("env", [sys.executable, "-c", asked], environment={"BENCH_X": "1"}, stdout=True)
        said, _ = await program.process.communicate()
        assert said.decode().strip() == "['BENCH_X']"
        return {"r": 1.0}

    record, _ = await run(stages, study(Contender("a", measure)))
    assert not record.failures
