"""Dead letters: tasks that failed with their attempts used up, or that nobody may simply try again.

It reads and writes the task store itself, so it also works while no gateway runs. A dead letter is kept for
DEAD_TTL_SECONDS. `manage.py tasks --status failed` also lists what failed otherwise.
"""

import argparse
import json

from operations import configuration, dead_acts
from operations.dead_letters import Selection, add_filters, as_json, found, lines_of, one, screen
from operations.errors import CommandError
from operations.tasks import count
from operations.why import account


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|replay|purge")
    listing = _action(actions, "list", "the last buried first", "Lists dead letters, the last buried first.")
    add_filters(listing)
    listing.add_argument("--limit", type=count, default=20, metavar="N", help="most shown (20)")
    listing.add_argument("--json", action="store_true", help="for programs: one object a line")
    show = _action(actions, "show", "why one was buried, and its attempts", "Tells all of one dead letter.")
    show.add_argument("task_id", metavar="ID", help="as `dead list` shows it")
    show.add_argument("--json", action="store_true", help="for programs: one object")
    dead_acts.add_replay(_action(actions, "replay", "give them new attempts", dead_acts.REPLAY))
    dead_acts.add_purge(_action(actions, "purge", "delete them for good", dead_acts.PURGE))


def _action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, description: str
) -> argparse.ArgumentParser:
    return actions.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def run(arguments: argparse.Namespace) -> int:
    match arguments.action:
        case "list":
            return show_all(arguments)
        case "show":
            return show_one(arguments)
        case "replay":
            return dead_acts.replay(arguments)
    return dead_acts.purge(arguments)


def show_all(arguments: argparse.Namespace) -> int:
    selection = Selection.of(arguments)
    letters, more = found(configuration.load(), selection)
    if arguments.json:
        for letter in letters:
            print(json.dumps(as_json(letter)))
    elif letters:
        print("\n".join(screen(letters)))
        if more:
            print("There are more: use --limit.")
    else:
        print(f"No dead letter{' is like that' if selection.is_narrowed else ''}.")
    return 0


def show_one(arguments: argparse.Namespace) -> int:
    history = one(configuration.load(), arguments.task_id)
    if history.record.dead_until is None:
        status = history.record.status.value
        raise CommandError(f"it is no dead letter: its status is {status}. `manage.py why` tells of any task.")
    if arguments.json:
        print(json.dumps(as_json(history.record, history)))
    else:
        print("\n".join([*lines_of(history), "", *account(history)]))
    return 0
