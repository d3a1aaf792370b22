"""What loading leaves behind: memory that nobody uses, and a hundred thousand objects that stay.

On glibc only: other C libraries have neither call, and what is here then does nothing.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys

M_ARENA_MAX = -8  # malloc.h


def keep_in_one_place() -> None:
    """Before any thread: let all threads share one heap. Loading happens in one, whose own heap is never given back.

    Here, and in the processes that this one will start.
    """
    _call("mallopt", M_ARENA_MAX, 1)
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")


def settle() -> None:
    """After loading: have garbage collections skip what is there to stay, and give freed memory back, some 15 MB."""
    gc.unfreeze()  # of what was loaded before; most of it goes now
    gc.collect()
    gc.freeze()
    _call("malloc_trim", 0)


def _call(name: str, *numbers: int) -> None:
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), name):
        getattr(libc, name)(*numbers)
