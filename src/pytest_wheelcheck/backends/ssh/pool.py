"""The connections of this process, one for each board, shared by all targets there."""

from __future__ import annotations

import atexit
import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_wheelcheck.backends.ssh import diagnosis, transfer
from pytest_wheelcheck.backends.ssh.connection import Connection
from pytest_wheelcheck.backends.ssh.destination import Destination
from pytest_wheelcheck.backends.ssh.diagnosis import BoardError, UnreachableError
from pytest_wheelcheck.system import process, temporary

#: Seconds between two tries to reach a board that was restarted.
_RETRY = 2.0


class SharedConnection:
    """A connection that is made anew if it was lost, with the files that were sent.

    :param destination: the board.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.users = 0
        #: It stays the same after the connection was lost, so that paths stay valid.
        self._run = secrets.token_hex(8)
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._mirror: transfer.Mirror | None = None
        self._digests = transfer.Digests()
        self._scratch: temporary.TemporaryDirectory | None = None
        self._gave_up = False

    @property
    def connection(self) -> Connection:
        """The current connection."""
        assert self._connection is not None  # noqa: S101  ensure() made it
        return self._connection

    @property
    def directory(self) -> str:
        """The directory of this process's files on the board."""
        return self.connection.directory

    def ensure(self, query: str = "") -> Connection:
        """Connect, unless that was done. A board that was reached before is waited for.

        :param query: see :meth:`Connection.open`.
        :raises BoardError: the board cannot be reached.
        """
        with self._lock:
            if self._connection is not None and not self._connection.is_lost():
                return self._connection
            again = self._connection is not None
            self._drop()
            end = time.monotonic() + (self.destination.wait if again and not self._gave_up else 0.0)
            while True:
                connection = Connection(self.destination, self._run)
                try:
                    connection.open(query)
                except BoardError as error:
                    curable = isinstance(error, UnreachableError)
                    if not curable or time.monotonic() >= end or process.is_stopping():
                        # Later programs do not wait again.
                        self._gave_up = True
                        if again and curable:
                            raise diagnosis.lost(self.destination, f"{error.message}\n{error.details}") from error
                        raise
                    time.sleep(_RETRY)
                else:
                    break
            self._gave_up = False
            self._connection = connection
            self._mirror = transfer.Mirror(connection, self._scratch_directory)
            return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _scratch_directory(self) -> Path:
        if self._scratch is None:
            self._scratch = temporary.make()
        return self._scratch.path

    def send(
        self, tree: str, root: Path, *, names: Callable[[], Iterator[str]] | None = None, moved: transfer.Moved = ()
    ) -> None:
        """Make a tree on the board equal to a directory or file of this host.

        :param tree: relative to the directory of the run.
        :param names: returns the files of the directory to send; ``None`` for all.
        :param moved: see :func:`.transfer.scan`.
        :raises BoardError: that is impossible.
        """
        with self._lock:
            self.ensure()
            assert self._mirror is not None  # noqa: S101  ensure() made it
            wanted = transfer.scan(root, self._digests, names=names() if names else None, moved=moved)
            self._mirror.update(tree, root, wanted)

    def has(self, tree: str) -> bool:
        """Return whether a tree was sent since the board was connected."""
        return self._mirror is not None and self._mirror.has(tree)

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._drop()
            self._connection = None
            if self._scratch is not None:
                self._scratch.remove()
                self._scratch = None


# Process-wide on purpose: the targets of a board share its connection.
_connections: dict[Destination, SharedConnection] = {}
_lock = threading.Lock()


def acquire(destination: Destination) -> SharedConnection:
    """Return the connection to a board for a target, not yet connected if it is the first."""
    with _lock:
        shared = _connections.setdefault(destination, SharedConnection(destination))
        shared.users += 1
        return shared


def release(shared: SharedConnection) -> None:
    """Give a connection back; the last target closes it."""
    with _lock:
        shared.users -= 1
        if shared.users > 0:
            return
        _connections.pop(shared.destination, None)
    shared.close()


def keep(destination: Destination) -> SharedConnection:
    """Return the connection to a board, for the targets that will follow; :func:`close_all` closes it."""
    with _lock:
        return _connections.setdefault(destination, SharedConnection(destination))


def close_all() -> None:
    """Close all connections."""
    with _lock:
        shared = list(_connections.values())
        _connections.clear()
    for one in shared:
        with contextlib.suppress(BoardError):
            one.close()


atexit.register(close_all)
