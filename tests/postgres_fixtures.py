"""A PostgreSQL server of our own in a temporary folder, where one is installed; tests that need it skip otherwise."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def server_programs():
    """The folder of an installed PostgreSQL server's programs, the newest first; None where there is none."""
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = sorted(installed, key=lambda path: float(path.parents[1].name), reverse=True)
    on_path = [Path(found) for name in ("initdb",) if (found := shutil.which(name))]
    return next((path.parent for path in [*newest, *on_path] if (path.parent / "pg_ctl").exists()), None)


@pytest.fixture(scope="module")
def postgres_folder():
    """The folder of its socket: host of a connection as user ritorno to the database postgres."""
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="ritorno-pg-"))  # short enough for a socket; tmp_path is closed to others
    user = {"user": "postgres"} if os.geteuid() == 0 else {}  # the server refuses to run as root
    if user:
        shutil.chown(folder, **user)
    data, log_file = folder / "data", folder / "log"

    def control(program, *arguments):
        command = [programs / program, "-D", data, *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)

    try:
        control("initdb", "--auth=trust", "--username=ritorno", "--no-sync", "--encoding=UTF8", "--locale=C")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c jit=off"
        control("pg_ctl", "start", "-w", "-l", log_file, "-o", options)
        try:
            yield folder
        finally:
            control("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)
