"""`manage.py pause` and `resume` as an operator runs them: against a store, with no gateway."""

from core_config import Settings
from operations.status import show
from taskstore.claims import Settlement
from taskstore.records import NewTask
from taskstore.store import TaskStore

from .conftest import Copy, Manage


async def started(store: TaskStore, number: int) -> list[str]:
    claimed = await store.claim("w1", number, room=9, extra=0, models={"Simulator": None, "Claude": None})
    return [task.task_id for task in claimed.tasks]


async def test_what_is_paused_waits_says_so_and_goes_on_when_it_is_resumed(manage: Manage, store: TaskStore) -> None:
    code, out, err = await manage("pause", "--model", "Claude")
    assert (code, err) == (0, "")
    assert "python3 manage.py resume --model 'Claude'" in out
    assert (await manage("pause", "--agent", "default"))[0] == 0

    task_id = "0" * 32
    await store.submit(NewTask(task_id=task_id, caller="c", message="hello", model="Claude"))
    assert await started(store, 1) == []
    assert "for the end of a pause (manage.py resume)" in (await manage("why", task_id))[1]

    assert await manage("resume", "--model", "Claude") == (0, "Tasks of model Claude start again.\n", "")
    assert await started(store, 2) == []
    assert (await manage("resume", "--agent", "default"))[0] == 0
    assert await started(store, 3) == [task_id]
    said = (0, "Model Claude was not paused and not cooling down.\n", "")
    assert await manage("resume", "--model", "Claude") == said

    await store.settle([Settlement(task_id=task_id, fence=1, kind="fail", fault="provider_no_balance")])
    said = (0, "Tasks of model Claude start again: its cooldown is over.\n", "")
    assert await manage("resume", "--model", "Claude") == said


async def test_a_name_that_no_task_can_have_is_refused_with_the_nearest(manage: Manage, store: TaskStore) -> None:
    for command in ("pause", "resume"):
        code, out, err = await manage(command, "--model", "claud")
        assert (code, out) == (1, "")
        assert f"manage.py {command}: there is no model 'claud'. did you mean 'Claude'? Known: DeepSeek-V3," in err
        code, _, err = await manage(command, "--agent", "defaut")
        assert (code, "did you mean 'default'?" in err) == (1, True)
    assert list((await store.overview()).paused) == []
    # one that was taken out of the registry while it was paused
    await store.pause("model", "Gone")
    assert (await manage("resume", "--model", "Gone"))[0] == 0


async def test_the_whole_command_pauses(copy: Copy, store: TaskStore, settings: Settings) -> None:
    environment = {"REDIS_URL": settings.redis_address, "KEY_PREFIX": settings.key_prefix}
    assert copy.manage("pause", "--model", "Claude", **environment).returncode == 0
    assert [one.name for one in (await store.overview()).paused] == ["Claude"]


def test_status_shows_what_is_paused_and_what_cools_down(capsys) -> None:
    report = {
        "ready": True, "gateway": "http://127.0.0.1:1", "problems": [], "model": "M", "simulated": False,
        "agents": {}, "reload": False, "redis": {"url": "redis://x", "private": True}, "queue": {"queued": 3},
        "workers": None, "processes": [], "metrics": {"gateway": "http://127.0.0.1:1/metrics", "workers": None},
        "paused": [{"kind": "agent", "name": "A", "for_ms": 180_000}],
        "cooling": [
            {"model": "M", "left_ms": 25_000, "error_code": "provider_no_balance"},
            {"model": "N", "left_ms": 0, "error_code": "provider_timeout"},
        ],
    }  # fmt: skip
    show(report)
    printed = capsys.readouterr().out
    assert "Paused  agent A, for 3 min: its tasks are not started\n" in printed
    assert "Cooling model M: it failed (provider_no_balance); one task tries it again in 25 s\n" in printed
    assert "Cooling model N: it failed (provider_timeout); one task tries it again now\n" in printed
