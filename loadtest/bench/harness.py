"""The order of measuring: in each round every contender of a study is visited once, in an order drawn anew.

So a machine that gets slower for a while slows all of them, and ratios of one round say more than the figures.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence

from loadtest.bench.stage import BenchError, Theatre
from loadtest.bench.study import Contender, Failure, Found, Sample, Study

Say = Callable[[str], None]


class Record:
    """All that a run has found so far: it is there also when the run was interrupted."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.failures: list[Failure] = []


async def measure(
    theatre: Theatre, studies: Sequence[Study], rounds: int, record: Record, say: Say, seed: int = 0
) -> None:
    """Visits everybody `rounds` times and notes what was found. A visit that fails is a Failure and the run goes on."""
    draw = random.Random(seed)  # noqa: S311 no secret
    for number in range(1, rounds + 1):
        for study in studies:
            if study.most_rounds is not None and number > study.most_rounds:
                continue
            for contender in _shuffled(study.contenders, draw):
                begun = time.monotonic()
                problem = await _visit(theatre, study, contender, number, record)
                took = f"{time.monotonic() - begun:5.1f} s"
                say(f"round {number}/{rounds}  {study.key:<10} {contender.name:<24} {problem or took}")


def _shuffled(contenders: Iterable[Contender], draw: random.Random) -> list[Contender]:
    order = list(contenders)
    draw.shuffle(order)
    return order


async def _visit(theatre: Theatre, study: Study, contender: Contender, number: int, record: Record) -> str | None:
    """Measures, and answers why it could not."""
    known = {row.key for row in study.rows}
    try:
        async with asyncio.timeout(study.seconds), theatre.stage() as stage:
            findings = await contender.measure(stage)
    except TimeoutError:
        reason = f"took longer than {study.seconds:g} s"
    except (BenchError, OSError) as error:
        reason = str(error) or type(error).__name__
    else:
        if strange := findings.keys() - known:
            raise ValueError(f"{contender.name} answers for rows that {study.key} does not have: {sorted(strange)}")
        for key, found in findings.items():
            one = found if isinstance(found, Found) else Found(found)
            record.samples.append(Sample(key, contender.name, one.value, number, one.at_least))
        return None
    record.failures.append(Failure(study.key, contender.name, number, reason))
    return f"failed: {reason}"
