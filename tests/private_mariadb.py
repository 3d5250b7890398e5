"""A MariaDB server of our own, for what is read only when a server starts."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

_PROGRAMS = ("mariadb-install-db", "mariadbd")
_STARTS_WITHIN = 60


def why_not() -> str:
    """What is missing here; empty if a server can be started."""
    missing = [name for name in _PROGRAMS if _find(name) is None]
    return f"{' and '.join(missing)} not found" if missing else ""


def _find(program: str) -> str | None:
    # Where Debian has servers is on no user's PATH.
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def server(*options: str) -> Iterator[dict[str, str]]:
    """The variables that name a server with these options, which is gone afterwards with all its data."""
    with TemporaryDirectory() as directory:
        try:
            port, process = _started(directory, options)
        except (OSError, subprocess.SubprocessError) as error:
            raise RuntimeError(f"{error}\n{Path(directory, 'log').read_text()}") from error
        try:
            yield {
                "MARIADB_HOST": "127.0.0.1",
                "MARIADB_PORT": str(port),
                "MARIADB_USER": "root",
                "MARIADB_PASSWORD": "",
            }
        finally:
            process.terminate()
            process.wait()


def _started(directory: str, options: tuple[str, ...]) -> tuple[int, "subprocess.Popen[bytes]"]:
    common = ["--no-defaults", f"--datadir={directory}/data"]
    if os.geteuid() == 0:  # whom the server refuses
        shutil.chown(directory, "mysql")
        common.append("--user=mysql")
    install, serve = [[_find(name) or name, *common] for name in _PROGRAMS]
    with Path(directory, "log").open("wb") as log:
        subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, stdout=log, stderr=log)
        port = free_port()
        own = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={directory}/socket"]
        process = subprocess.Popen([*serve, *own, *options], stdout=log, stderr=log)
    deadline = time.monotonic() + _STARTS_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return port, process
        time.sleep(0.1)
    process.kill()
    raise ChildProcessError("mariadbd does not answer")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
