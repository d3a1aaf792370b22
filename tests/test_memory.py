"""What a worker does about memory: freed memory goes back, what stays is not looked through again and again."""

import gc
import os
import subprocess
import sys

import pytest

from serving import memory

MEASURE = """
import ctypes, threading
from serving.memory import keep_in_one_place, settle
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
keep_in_one_place()
before = resident()
def load():
    rows = [bytes(1000) for _ in range(100_000)]
    last = rows[-1]
    del rows
    return last
thread = threading.Thread(target=load); thread.start(); thread.join()
settle()
print((resident() - before) // 1_000_000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_what_loading_in_a_thread_has_freed_is_given_back():
    found = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 20  # of the hundred megabytes


def test_what_has_been_loaded_is_not_collected_again():
    try:
        memory.settle()
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()


def test_processes_to_come_share_one_heap_too_unless_somebody_has_said_otherwise(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    memory.keep_in_one_place()
    assert os.environ["MALLOC_ARENA_MAX"] == "4"


def test_another_c_library_has_no_such_calls(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    memory._call("no such function", 1)
