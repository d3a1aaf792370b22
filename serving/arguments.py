"""What the commands' options may be: each a text in, a value out, and a sentence where it is neither."""

from __future__ import annotations

import argparse

DAY_SECONDS = 86_400


def port(text: str) -> int:
    """A TCP port. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"found {text}, expected a whole number from 1 to 65535, such as 8000.")
    return int(text)


def seconds(text: str) -> float:
    """Up to a day. Raises ArgumentTypeError."""
    try:
        found = float(text)
    except ValueError:
        found = 0
    if not 0 < found <= DAY_SECONDS:  # false for nan too
        raise argparse.ArgumentTypeError(f"found {text}, expected seconds above 0 and up to {DAY_SECONDS}, such as 2.")
    return found


def days(text: str) -> int:
    """Up to a century. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 36_525):
        raise argparse.ArgumentTypeError(f"found {text}, expected whole days from 1 to 36525, such as 3.")
    return int(text)


def workers(text: str) -> int:
    """How many processes. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 64):
        raise argparse.ArgumentTypeError(f"found {text}, expected a whole number from 1 to 64, such as 2.")
    return int(text)


def megabytes(text: str) -> int:
    """Megabytes, as bytes. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"found {text}, expected whole megabytes from 1 to 1000000, such as 2000.")
    return int(text) * 1_000_000


def pause(text: str) -> float:
    """Seconds; 0 for never. Raises ArgumentTypeError."""
    return 0.0 if text == "0" else seconds(text)
