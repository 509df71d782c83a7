"""Replaces gateway, workers and simulator one by one, with the code and the settings of now; Redis stays.

Nobody is refused meanwhile, and running tasks finish. When REDIS_URL has changed it is a stop and a start. When nothing
runs it is a start. What was started with --reload goes on following the agents' code. Exit codes: 0 done, 1 not (what
ran before runs on, unless the message says otherwise).
"""

import argparse
import os

from operations import agents, configuration, control, launch, runstate, start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    start.add_wait(parser)


def run(arguments: argparse.Namespace) -> int:
    settings = configuration.load()
    configuration.check(settings)
    state = runstate.running(settings.var_dir)
    arguments.reload = state is not None and state.reload
    if state is None:
        print("Longhaul is not running; starting it.")
        return start.run(arguments)
    if configuration.redis_source(settings) != state.redis_source:
        print("REDIS_URL has changed, so everything stops and starts.")
        start.check(settings, port_is_ours=True)
        launch.stop(settings.var_dir, print)
        return start.run(arguments)
    for line in control.restart(settings.var_dir, dict(os.environ)):
        print(f"  {line}", flush=True)
    start.wait_ready(settings, arguments.wait)
    print("Longhaul is restarted.", flush=True)
    agents.warn(settings, runstate.running(settings.var_dir) or state)
    return 0
