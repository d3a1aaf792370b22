"""The service as a process: one port, one app, and the publisher beside it as a child."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from features.errors import RitornoError
from features.store import open_store
from serving import bundles
from serving.app import create_app
from serving.publisher import Publisher, command
from serving.schedule import Folding
from serving.settings import Settings

SILENT_SECONDS = 60  # after which a worker is taken for hung: on a busy machine its imports alone take ten
UVICORN: dict[str, Any] = {"log_level": "warning", "access_log": False}  # paths hold customer ids


def serve(settings: Settings, publish: bool, say: Callable[[str], object]) -> None:
    """Answer on the settings' host and port until stopped; with `publish`, bring the models from the registry too."""
    open_store(settings.store)  # refuses to start on what it could never answer from
    with listening(settings) as listener, ExitStack() as running:
        publisher = running.enter_context(Publisher(command(settings))) if publish else None
        folding = running.enter_context(Folding(settings))
        say(_greeting(settings, listener.getsockname()[1]))
        if settings.workers > 1:
            _run_workers(settings, listener)
        else:
            app = create_app(settings, lambda: (publisher.problem if publisher else None) or folding.problem)
            uvicorn.Server(uvicorn.Config(app, **UVICORN)).run(sockets=[listener])


def _run_workers(settings: Settings, listener: socket.socket) -> None:
    """Several processes behind one socket; one that dies is replaced. /readyz does not tell of this process's children.

    To tell of them, their problems would have to be handed to the workers.
    """
    app = partial(worker_app, settings)
    config = uvicorn.Config(
        app, factory=True, workers=settings.workers, timeout_worker_healthcheck=SILENT_SECONDS, **UVICORN
    )
    Multiprocess(config, [listener]).run()


def worker_app(settings: Settings) -> FastAPI:
    """The app of one of several processes; it ends with the process that started it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (connection.wait([parent.sentinel]), os._exit(0)), daemon=True).start()
    return create_app(settings)


def _greeting(settings: Settings, port: int) -> str:
    """Where it answers, to whom, and from what."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    whom = (
        "this machine only, since there are no keys yet" if settings.is_loopback else "anyone who reaches it: no keys"
    )
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


def end_with_parent() -> None:
    """End this process as soon as its standard input closes."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


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
