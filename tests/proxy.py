"""A server at an address of its own, whose network fails when a test wants it to."""

import socket
from contextlib import suppress
from threading import Event, Thread


class Proxy:
    """Passes on what comes to its port, until it is cut or silent; then it passes on what comes later."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._to = (host, port)
        self._open: list[socket.socket] = []
        self._speaks = Event()
        self._speaks.set()
        self.has_kept_back = Event()
        self._is_down = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours = self._server.accept()[0]
                if self._is_down:
                    ours.close()
                    continue
                theirs = socket.create_connection(self._to)
                self._open += ours, theirs
                for pair in ((ours, theirs), (theirs, ours)):
                    Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while sent := source.recv(65536):
                if not self._speaks.is_set():
                    self.has_kept_back.set()
                    self._speaks.wait()
                target.sendall(sent)
            target.shutdown(socket.SHUT_WR)

    def fall_silent(self) -> None:
        """Every connection stays open."""
        self._speaks.clear()

    def speak(self) -> None:
        self._speaks.set()

    def cut(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def go_down(self) -> None:
        """Cut, and refuse who comes, until it is up again."""
        self._is_down = True
        self.cut()

    def come_up(self) -> None:
        self._is_down = False

    def close(self) -> None:
        self._server.close()
        self.cut()
        self.speak()
