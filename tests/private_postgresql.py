"""A PostgreSQL server of our own that asks for a password, which the one of the tests need not do."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.private_mariadb import free_port

USER, PASSWORD = "postgres", "of-the-private-server"
_PROGRAMS = ("initdb", "pg_ctl")


def why_not() -> str:
    """What is missing here; empty if a server can be started."""
    missing = [name for name in _PROGRAMS if _find(name) is None]
    return f"{' and '.join(missing)} not found" if missing else ""


def _find(program: str) -> str | None:
    # Where Debian has servers is on no user's PATH.
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return shutil.which(program, path=":".join([os.environ["PATH"], *map(str, places)]))


@contextmanager
def server() -> Iterator[int]:
    """The port of a server that knows ``USER`` by ``PASSWORD``, which is gone afterwards with all its data."""
    with TemporaryDirectory() as directory:
        user = None
        if os.geteuid() == 0:  # whom the server refuses
            user = USER
            shutil.chown(directory, user)
        port, data = free_port(), f"{directory}/data"
        initdb, pg_ctl = (_find(name) or name for name in _PROGRAMS)
        secret = Path(directory, "password")
        secret.write_text(PASSWORD)
        own = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory} -c fsync=off"
        create = [initdb, "-D", data, "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"]
        _run(*create, "--encoding=UTF8", user=user, directory=directory)
        _run(pg_ctl, "-D", data, "-l", f"{directory}/log", "-o", own, "-w", "start", user=user, directory=directory)
        try:
            yield port
        finally:
            _run(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop", user=user, directory=directory)


def _run(*command: str, user: str | None, directory: str) -> None:
    # The server keeps the output of the program that starts it, so a pipe would never end.
    with Path(directory, "output").open("ab") as output:
        subprocess.run(command, check=True, stdout=output, stderr=output, user=user, cwd=directory)
