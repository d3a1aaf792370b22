"""The sweep: every feature of every customer at every cut-off, in one pass; the same function for one customer.

`compile_sweep` turns declared features into machine code once and keeps it on disk, so only the first run on a
machine waits for the compiler. Training, batch and a single request all run what it returns.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import math
import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from features.algebra import AsOf, Edge, Expr, walk
from features.codegen import source
from features.codegen_terms import AS_OF_PARTS, COLUMN_ARGUMENTS
from features.errors import EventsError
from features.events import DAY_US, EVENT_NAMES, FIRST_CUSTOM
from features.lifecycle import Policy
from features.log import EventLog
from features.pulse import Season

logger = logging.getLogger(__name__)

LET_GO = 1 << 21  # rows: some sixty megabytes
LONGEST_GAP = 40_000  # days; a gap of a century is its own problem
LOGS = np.round(np.log(np.maximum(np.arange(LONGEST_GAP), 1)) * 1e6).astype(np.int64)

EPOCH = date(1970, 1, 1).toordinal()

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Chunk:
    """Rows of consecutive customers: values (n_rows, n_columns), and each row's customer position and as_of position.

    `values` is a view of a buffer that the next chunk reuses: copy what must stay.
    """

    values: Floats
    customer: Int64s
    as_of: Int64s


@dataclass(frozen=True)
class Sweep:
    """A compiled pass. Columns come in the order of the expressions it was made from."""

    module: ModuleType
    edges: tuple[Edge, ...]
    params: tuple[str, ...]
    n_columns: int
    is_seasonal: bool

    def chunks(
        self, log: EventLog, as_ofs: Int64s, policy: Policy, dtype: npt.DTypeLike = np.float64, max_rows: int = 32_768
    ) -> Iterator[Chunk]:
        """Stream the table: one row per customer and as_of (microseconds, ascending) on or after her first event."""
        columns, question = self._columns(log), self._question(log, as_ofs, policy)
        owners = log.starts, log.ends
        rows = self.module.rows_before(log.columns["ts"], *owners, 0, log.n_customers, as_ofs)
        log.release(0, len(log.columns["ts"]))

        def fill(cut: tuple[int, int], buffer: Floats) -> Chunk:
            first, last = cut
            part = rows[first : last + 1] - rows[first]
            size, per_customer = int(part[-1]), np.diff(part)
            if size > len(buffer):
                buffer = np.empty((size, self.n_columns), dtype)
            self.module.customers(*columns, *owners, first, last, *question, part, buffer)
            if log.is_compact:
                log.release(*_left(int(log.starts[first]), int(log.ends[last - 1]), log.n_events))
            customer = np.repeat(np.arange(first, last), per_customer)
            as_of = np.arange(size) - np.repeat(part[1:], per_customer) + len(as_ofs)
            return Chunk(buffer[:size], customer, as_of)

        yield from _ahead(fill, list(_cuts(rows, max_rows)), lambda: np.empty((max_rows, self.n_columns), dtype))

    def one(self, log: EventLog, customer: int, as_of: int, policy: Policy) -> Floats:
        """One customer's row, shape (n_columns,), float64; all null if she was not yet known."""
        return self.asker(log, policy)(customer, as_of)

    def asker(self, log: EventLog, policy: Policy) -> Callable[[int, int], Floats]:
        """`one` for many single requests: everything but the customer and as_of is prepared. Threads may share it."""
        ask_some = self.some(log, policy)

        def ask(customer: int, as_of: int) -> Floats:
            row: Floats = ask_some(np.array([customer], np.int64), as_of)[0]
            return row

        return ask

    def some(self, log: EventLog, policy: Policy) -> Callable[[Int64s, int], Floats]:
        """`asker` for some customers (their positions, in any order) at one as_of: shape (n_customers, n_columns)."""
        columns, parts_of = self._columns(log), self._as_of_parts(log, policy)
        rest = self._edges_us(policy), self._params(policy), goal_code(log, policy), LOGS

        @lru_cache(maxsize=512)
        def at(as_of: int) -> tuple[Int64s, Floats]:
            as_ofs = np.array([as_of], np.int64)
            return as_ofs, parts_of(as_ofs)

        def ask(customers: Int64s, as_of: int) -> Floats:
            runs = log.starts[customers], log.ends[customers]
            for array in runs:
                array.flags.writeable = False  # Numba compiles anew for each mix of the two kinds
            n = len(customers)
            out = np.full((n, self.n_columns), np.nan)
            self.module.customers(*columns, *runs, 0, n, *at(as_of), *rest, np.arange(n + 1), out)
            return out

        return ask

    def at(self, log: EventLog, as_ofs: Int64s, before: Int64s, policy: Policy) -> Floats:
        """Each of the log's customers at instants of her own, shape (len(as_ofs), n_columns).

        Hers are as_ofs[before[c]:before[c + 1]], ascending, and none lies before her first event.
        """
        days, place = np.unique(as_ofs // DAY_US, return_inverse=True)
        parts = self._as_of_parts(log, policy)(days * DAY_US)[place]
        out = np.full((len(as_ofs), self.n_columns), np.nan)
        rest = self._edges_us(policy), self._params(policy), goal_code(log, policy), LOGS
        self.module.customers_at(*self._columns(log), log.starts, log.ends, as_ofs, before, parts, *rest, out)
        return out

    def _columns(self, log: EventLog) -> list[npt.NDArray[np.generic]]:
        return [log.columns[name] for name in COLUMN_ARGUMENTS]

    def _question(self, log: EventLog, as_ofs: Int64s, policy: Policy) -> tuple[object, ...]:
        """The generated functions' arguments from as_ofs to logs."""
        edges, params = self._edges_us(policy), self._params(policy)
        parts = self._as_of_parts(log, policy)(as_ofs)
        return as_ofs, parts, edges, params, goal_code(log, policy), LOGS

    def _as_of_parts(self, log: EventLog, policy: Policy) -> Callable[[Int64s], npt.NDArray[np.float64]]:
        """What gives, per as_of, the parts of codegen_terms.AS_OF_PARTS, shape (n_as_ofs, 4)."""
        first_day = log.first_ts // DAY_US
        season = None
        if self.is_seasonal:
            season = Season.of(log.shop_pulse, goal_code(log, policy), policy.horizon_days, first_day)

        @lru_cache(maxsize=512)  # requests ask about the same few days
        def of_day(day: int) -> tuple[float, ...]:
            index = season.index(day) if season else math.nan
            return day, _day_of_year(day), day - first_day, index

        def parts(as_ofs: Int64s) -> npt.NDArray[np.float64]:
            days = (as_ofs // DAY_US).tolist()
            return np.array([of_day(day) for day in days], np.float64).reshape(-1, len(AS_OF_PARTS))

        return parts

    def _edges_us(self, policy: Policy) -> Int64s:
        days = [edge.days + edge.horizons * policy.horizon_days for edge in self.edges]
        return np.array([max(d, 0) * DAY_US for d in days], np.int64)  # never past as_of

    def _params(self, policy: Policy) -> npt.NDArray[np.float64]:
        return np.array([float(getattr(policy, name)) for name in self.params], np.float64)


def compile_sweep(expressions: Sequence[Expr]) -> Sweep:
    """The pass that computes these expressions, compiled or taken from the cache on disk."""
    return _compiled(tuple(expressions))


def goal_code(log: EventLog, policy: Policy) -> int:
    """The stored code of the policy's goal event. Raises EventsError when the log cannot contain it."""
    if policy.goal_event in EVENT_NAMES:
        return EVENT_NAMES.index(policy.goal_event)
    if policy.goal_event in log.events:
        return FIRST_CUSTOM + log.events.index(policy.goal_event)
    raise EventsError(
        f"policy: found goal_event '{policy.goal_event}', expected an event of this log "
        f"({', '.join((*EVENT_NAMES, *log.events))}). Correct the policy."
    )


@lru_cache(maxsize=32)
def _compiled(expressions: tuple[Expr, ...]) -> Sweep:
    text, edges, params = source(expressions)
    parts = {node.part for expression in expressions for node in walk(expression) if isinstance(node, AsOf)}
    return Sweep(_load(text), tuple(edges), tuple(params), len(expressions), "season_index" in parts)


def _load(text: str) -> ModuleType:
    """The generated module, from a file named after its content so that Numba's cache beside it stays valid."""
    name = f"ritorno_sweep_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = cache_folder() / f"{name}.py"
    if not path.exists():
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(text)
        fresh.replace(path)
        lines = text.count("\n")
        logger.info("compiling a feature pass of %d lines; the next run will find it in %s", lines, path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Numba looks the module up by name when it reads its cache
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=1)
def cache_folder() -> Path:
    """Where compiled passes are kept: $RITORNO_CACHE, else the user's cache folder, else one for this process only.

    Code is imported from there, so a folder that others could write to is not used.
    """
    chosen = os.environ.get("RITORNO_CACHE")
    base = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ritorno"
    try:
        base.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(base, os.W_OK) and base.stat().st_uid == os.getuid():
            return base
    except (OSError, RuntimeError):
        pass
    logger.warning("no private cache folder at %s: the feature pass is compiled anew for each process", base)
    return Path(tempfile.mkdtemp(prefix="ritorno-"))


def _day_of_year(day: int) -> int:
    """Of a day since 1970; January 1 is 1."""
    return date.fromordinal(EPOCH + day).timetuple().tm_yday


def _ahead(
    fill: Callable[[tuple[int, int], Floats], Chunk], cuts: Sequence[tuple[int, int]], buffer: Callable[[], Floats]
) -> Iterator[Chunk]:
    """Each cut's chunk, in order; while one is used, a thread per core fills the next ones.

    No thread ever waits for another, as they would at the end of each parallel loop: on a busy machine, that is most
    of the time.
    """
    workers = min(get_num_threads(), len(cuts))
    if workers < 2:
        spare = buffer()
        yield from (fill(cut, spare) for cut in cuts)
        return
    buffers = cycle([buffer() for _ in range(workers + 1)])  # one more, for the chunk that is being used
    with ThreadPoolExecutor(workers) as pool:
        started: deque[Future[Chunk]] = deque()
        for cut in cuts:
            started.append(pool.submit(fill, cut, next(buffers)))
            if len(started) > workers:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()


def _left(first: int, last: int, end: int) -> tuple[int, int]:
    """The whole pieces of LET_GO rows that end between these two rows, or with the last row of all.

    To let go of each chunk's pages alone takes longer than to fill the chunk: all cores wait for each other.
    """
    return first // LET_GO * LET_GO, last if last == end else last // LET_GO * LET_GO


def _cuts(rows: Int64s, max_rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of customers with at most max_rows rows each (more only where a single customer has more)."""
    first, end = 0, len(rows) - 1
    while first < end:
        last = int(np.searchsorted(rows, rows[first] + max_rows, side="right")) - 1
        last = min(max(last, first + 1), end)
        yield first, last
        first = last
