"""Stops Longhaul: the gateway finishes its answers, workers get DRAIN_SECONDS for their tasks, then all ends.

Exit codes: 0 stopped, or nothing was running; 1 something could not be stopped.
"""

import argparse

from operations import configuration, launch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--now", action="store_true", help="do not wait for running tasks; others take them up later")


def run(arguments: argparse.Namespace) -> int:
    var_dir = configuration.var_dir()
    if launch.stop(var_dir, print, now=arguments.now):
        print("Longhaul is stopped.")
    else:
        print(f"Longhaul is not running (VAR_DIR {var_dir}).")
    return 0
