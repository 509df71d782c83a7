"""What an operator does with dead letters: new attempts for them, or an end."""

import argparse
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from core_config import ConfigurationError, Settings, load_registry
from operations import configuration, terminal
from operations.dead_letters import Selection, add_filters, found
from operations.errors import CommandError
from operations.pause import check_known, in_store
from operations.tasks import count
from taskstore.errors import StoreUnavailable, TaskNotFound, WrongStatus
from taskstore.records import TaskRecord
from taskstore.states import Status
from taskstore.store import TaskStore

REPLAY = """Gives dead letters new attempts: each goes on after the calls that it had finished.

Its budgets begin again, its deadline goes, what it spent stays on it. Any failed task can be replayed by its id;
the filters choose among dead letters. More than one: asks first.
"""
PURGE = """Deletes dead letters for good: record, history and progress. What they cost stays in `manage.py cost`.

Asks first. Nothing brings them back, and an Idempotency-Key that one held begins a new task.
"""

Act = Callable[[TaskStore, TaskRecord], Awaitable[object]]


def add_replay(parser: argparse.ArgumentParser) -> None:
    _add_choice(parser)
    parser.add_argument("--on", metavar="MODEL", help="run them on this model instead of their own")


def add_purge(parser: argparse.ArgumentParser) -> None:
    _add_choice(parser)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task_ids", nargs="*", metavar="ID", help="as `dead list` shows it; or choose by what follows")
    parser.add_argument(
        "--all", action="store_true", help="every dead letter, or every one that the filters let through"
    )
    add_filters(parser)
    parser.add_argument("--limit", type=count, metavar="N", help="most of them, the last buried first (no limit)")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def replay(arguments: argparse.Namespace) -> int:
    settings = configuration.load()
    chosen = _chosen(settings, arguments, _not_failed)
    _check_models(settings, chosen, arguments.on)
    if len(chosen) > 1 and not _agreed(chosen, "Replay them", arguments.yes):
        print("Nothing was replayed.")
        return 1
    # as they came: the oldest first
    done = _each(settings, chosen[::-1], lambda store, task: store.replay(task.task_id, model=arguments.on))
    print(f"Replayed {_number(done)}." + (" How it goes: python3 manage.py why ID" if done else ""))
    return 0 if done == len(chosen) else 1


def purge(arguments: argparse.Namespace) -> int:
    settings = configuration.load()
    chosen = _chosen(settings, arguments, _not_dead)
    if chosen and not _agreed(chosen, "Delete them for good", arguments.yes):
        print("Nothing was purged.")
        return 1
    done = _each(settings, chosen, lambda store, task: store.purge(task.task_id, task.fence))
    print(f"Purged {_number(done)}.")
    return 0 if done == len(chosen) else 1


def _chosen(
    settings: Settings, arguments: argparse.Namespace, problem_of: Callable[[TaskRecord], str | None]
) -> list[TaskRecord]:
    """Those named, or those that the filters let through. CommandError when one of those named cannot be meant: then
    nothing is done to the others either.
    """
    selection = Selection.of(arguments)
    by_filter = arguments.all or selection.is_narrowed or selection.limit is not None
    if arguments.task_ids and by_filter:
        raise CommandError("give either ids, or --all and filters. (To run tasks on another model: replay --on MODEL.)")
    if not arguments.task_ids and not by_filter:
        raise CommandError("which ones? Give ids, filters such as --code worker_lost, or --all.")
    if by_filter:
        return found(settings, selection)[0]
    ids = list(dict.fromkeys(arguments.task_ids))

    async def read(store: TaskStore) -> list[TaskRecord | None]:
        return [await _record(store, task_id) for task_id in ids]

    records = in_store(settings, read)
    problems = [
        f"{terminal.plain(task_id, 64)}: {problem}"
        for task_id, record in zip(ids, records, strict=True)
        if (problem := "no task has this id." if record is None else problem_of(record)) is not None
    ]
    if problems:
        raise CommandError("nothing was done.\n  " + "\n  ".join(problems))
    return [record for record in records if record is not None]


async def _record(store: TaskStore, task_id: str) -> TaskRecord | None:
    try:
        return await store.get(task_id)
    except TaskNotFound:
        return None


def _not_failed(task: TaskRecord) -> str | None:
    return None if task.status is Status.FAILED else f"only what failed can be replayed; it is {task.status.value}."


def _not_dead(task: TaskRecord) -> str | None:
    if task.dead_until is not None:
        return None
    return f"it is no dead letter: its status is {task.status.value}."


def _check_models(settings: Settings, chosen: Sequence[TaskRecord], named: str | None) -> None:
    """CommandError for a model that nobody would ever run the tasks on."""
    try:
        if named is not None:
            check_known(settings, "model", named)
            return
        registry = load_registry(settings)
    except ConfigurationError as error:
        raise CommandError(str(error)) from None
    lost = Counter(task.model for task in chosen if task.model not in registry)
    if lost:
        which = ", ".join(f"{terminal.plain(name, 64)} ({number})" for name, number in lost.most_common())
        raise CommandError(f"the registry no longer has the model of some: {which}. Name another one: --on MODEL.")


def _agreed(chosen: Sequence[TaskRecord], question: str, is_sure: bool) -> bool:
    codes = Counter(task.error_code or "-" for task in chosen).most_common()
    print(f"{_number(len(chosen))}: {', '.join(f'{number} {terminal.plain(code, 40)}' for code, number in codes)}.")
    if is_sure:
        return True
    if not sys.stdin.isatty():
        raise CommandError("nothing was done: nobody can be asked here. Add --yes.")
    try:
        return input(f"{question}? [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        return False


def _each(settings: Settings, chosen: Sequence[TaskRecord], act: Act) -> int:
    """How many it was done to; says which others were changed by somebody else since they were read."""

    async def go(store: TaskStore) -> int:
        done = 0
        for task in chosen:
            try:
                await act(store, task)
            except StoreUnavailable as error:
                raise CommandError(
                    f"Redis failed after {done} of {len(chosen)}: {error}. Ask again for the rest."
                ) from None
            except (TaskNotFound, WrongStatus):
                print(f"{task.task_id}: somebody changed it meanwhile; it was left alone.", file=sys.stderr)
            else:
                done += 1
        return done

    return in_store(settings, go) if chosen else 0


def _number(count_of: int) -> str:
    return "1 task" if count_of == 1 else f"{count_of} tasks"
