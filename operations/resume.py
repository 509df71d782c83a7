"""Ends a pause: what waited starts at once. Of a model it also ends a cooldown, as after a key was corrected."""

import argparse

from operations import configuration, pause


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pause.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    settings = configuration.load()
    kind, name = pause.what_of(arguments)
    was_paused, was_cooling = pause.in_store(settings, lambda store: store.resume(kind, name))
    if not was_paused and not was_cooling:
        pause.check_known(settings, kind, name)  # one that was paused may be out of the registry since
        print(f"{kind.capitalize()} {name} was not paused{' and not cooling down' if kind == 'model' else ''}.")
        return 0
    print(f"Tasks of {kind} {name} start again" + (": its cooldown is over." if was_cooling else "."))
    return 0
