"""What an option's text may say; each raises argparse's own error, with what was found and what is expected."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def days(text: str) -> int:
    """A horizon."""
    if not _is_number(text) or not 1 <= int(text) <= 3650:
        raise argparse.ArgumentTypeError(f"found '{text}', expected 1 to 3650 days")
    return int(text)


def members(text: str) -> int:
    """How many a list may have."""
    if not _is_number(text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found '{text}', expected a whole number above 0, such as 100")
    return int(text)


def margin(text: str) -> float:
    """A share of spend."""
    return _between(text, lambda share: 0 < share <= 1, "a share above 0 and up to 1, such as 0.4")


def rate(text: str) -> float:
    """A year's discount."""
    return _between(text, lambda rate: 0 <= rate <= 5, "a yearly rate from 0 to 5, such as 0.1")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()  # ² is a digit, and no number


def _between(text: str, fits: Callable[[float], bool], expected: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not fits(number):
        raise argparse.ArgumentTypeError(f"found '{text}', expected {expected}")
    return number
