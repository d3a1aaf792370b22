"""Parallel regions of compiled code run one at a time in a process.

Numba's plainest threading layer, the one it falls back to where no OpenMP is installed, ends the process when two
threads enter parallel regions at once.
"""

import threading

ONE_AT_A_TIME = threading.Lock()
