"""The service as a process: one port, one app, and the publisher beside it as a child."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing import connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from features.commands import begin_to_log
from features.errors import RitornoError
from features.store import open_store
from serving import bundles
from serving.app import create_app
from serving.current import Besides
from serving.keyring import Keyring
from serving.logs import as_json
from serving.memory import keep_in_one_place
from serving.metrics import SHARED
from serving.publisher import Publisher, command
from serving.schedule import Chore, erasing, folding, job_running
from serving.settings import Settings
from serving.tracing import tracer

TOLD_SECONDS = 1.0
SILENT_SECONDS = 60  # after which a worker is taken for hung: on a busy machine its imports alone take ten
UVICORN: dict[str, Any] = {"log_config": None, "log_level": "warning", "access_log": False}  # its own would hold ids


def serve(settings: Settings, publish: bool, say: Callable[[str], object]) -> None:
    """Answer on the settings' host and port until stopped; with `publish`, bring the models from the registry too.

    Raises RitornoError when it could never answer, or would answer anyone: settings.any_host says that this is meant.
    """
    open_store(settings.store)
    has_keys = Keyring(settings.database_url).is_needed
    if not (has_keys or settings.is_loopback or settings.any_host):
        raise RitornoError(
            f"--host: found {settings.host}, which other machines can reach, and no keys: anyone there could read "
            "every customer's scores. Make a key (python -m serving keys add NAME --scope score), use 127.0.0.1 "
            "behind a proxy that checks who asks, or add --i-know."
        )
    keep_in_one_place()
    with listening(settings) as listener, ExitStack() as running:
        children: list[Publisher | Chore] = [
            *([running.enter_context(Publisher(command(settings)))] if publish else []),
            *(running.enter_context(chore(settings)) for chore in (folding, job_running, erasing)),
        ]
        say(_greeting(settings, listener.getsockname()[1], has_keys))

        def amiss() -> str | None:
            return next(filter(None, (child.problem for child in children)), None)

        if settings.workers > 1:
            _run_workers(settings, listener, amiss)
        else:
            app = create_app(settings, amiss, tracer())
            as_json()
            uvicorn.Server(uvicorn.Config(app, **UVICORN)).run(sockets=[listener])


def _run_workers(settings: Settings, listener: socket.socket, amiss: Besides) -> None:
    """Several processes behind one socket; one that dies is replaced. What they must agree on is in one folder.

    <folder>/metrics/   requests, counted together        <folder>/rates/   how often each key has asked
    <folder>/amiss      what is wrong with this process's children
    """
    as_json()
    with TemporaryDirectory(prefix="ritorno-workers-") as name, told(amiss, (folder := Path(name)) / "amiss"):
        for part in ("metrics", "rates"):
            (folder / part).mkdir()
        os.environ.setdefault(SHARED, str(folder / "metrics"))
        app = partial(worker_app, settings, folder)
        config = uvicorn.Config(
            app, factory=True, workers=settings.workers, timeout_worker_healthcheck=SILENT_SECONDS, **UVICORN
        )
        Workers(config, [listener]).run()


class Workers(Multiprocess):
    """uvicorn's keeper of workers, which sees at once that one has died.

    It asks each for a sign of life, and holds the end that the worker answers on open itself: one killed just then
    would be waited for as if it were only slow.
    """

    def keep_subprocess_alive(self) -> None:
        """Start another in the place of one that died."""
        for process in self.processes:
            process.child_conn.close()
        super().keep_subprocess_alive()


@contextmanager
def told(amiss: Besides, note: Path) -> Iterator[None]:
    """Meanwhile, each second, what is amiss is written down where the workers read it."""
    over = threading.Event()

    def write() -> None:
        while not over.wait(TOLD_SECONDS):
            with suppress(OSError):  # a full disk: told once there is room
                bundles.note(note, amiss())

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


def worker_app(settings: Settings, folder: Path) -> FastAPI:
    """The app of one of several processes; it ends with the process that started it. folder: see `_run_workers`."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (connection.wait([parent.sentinel]), os._exit(0)), daemon=True).start()
    begin_to_log()
    as_json()
    return create_app(settings, lambda: bundles.noted(folder / "amiss"), tracer(), folder / "rates")


def _greeting(settings: Settings, port: int, has_keys: bool) -> str:
    """Where it answers, to whom, and from what."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    whom = "anyone who reaches it: no keys"
    if settings.is_loopback:
        whom = "this machine only, since there are no keys yet (python -m serving keys add NAME --scope score)"
    if has_keys:
        whom = "whoever holds a key"
    lines = [f"http://{host}:{port} answers {whom} (store {settings.store}, models {settings.bundle})"]
    if not bundles.current(settings.bundle):
        lines.append("no model is published yet: answers begin with the first (python -m training fit)")
    return "\n".join(lines)


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """A socket bound to host and port. Raises RitornoError when that cannot be."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            other = settings.port + 1 if settings.port < 65535 else settings.port - 1
            raise RitornoError(
                f"--port: {settings.host}:{settings.port} cannot be listened on ({error.strerror}). "
                f"Stop what runs there, or choose another: --port {other}"
            ) from error
        yield listener


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises RitornoError."""
    fresh = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8", newline="")
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise RitornoError(
            f"--out: cannot write {path} ({error.strerror}), expected a file in a folder that exists."
        ) from error
