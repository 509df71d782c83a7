"""What a number on a command line may be: types for argparse, whose errors say what was expected."""

import argparse
import math


def count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of 1 or more, got {text}")
    return number


def seconds(text: str) -> float:
    number = float(text)
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return number
