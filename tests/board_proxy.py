"""A network between the tests and a board: slow, far away, interrupted or silent. It is a TCP proxy on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

_T = TypeVar("_T")

#: The direction of bytes: from the client to the board, or back.
Direction = Literal["up", "down"]

#: Bytes that are forwarded at once at most.
_CHUNK = 16384

#: Bytes that are on their way at most, in each direction of a connection. A client notices early that the network is slow.
_IN_FLIGHT = 256 * 1024


@dataclass
class _Lane:
    """One direction of the whole network.

    :param total: the bytes forwarded.
    :param free: the time at which the lane can take the next byte.
    :param triggers: totals, and what happens when they are reached.
    """

    total: int = 0
    free: float = 0.0
    triggers: list[tuple[int, Callable[[], object]]] = field(default_factory=list)


class Proxy:
    """Forwards connections to a port of the loopback.

    ``rate``, in bytes per second and direction for all connections together, and ``delay``, in seconds each way, can be changed
    at any time.

    :param target: the port.
    """

    def __init__(self, target: int, *, rate: float | None = None, delay: float = 0.0) -> None:
        self.target = target
        self.rate = rate
        self.delay = delay
        self.connections = 0
        self._lanes: dict[str, _Lane] = {"up": _Lane(), "down": _Lane()}
        self._open: dict[asyncio.Task[None], tuple[socket.socket, ...]] = {}
        self._loop = asyncio.new_event_loop()
        self._moving = asyncio.Event()
        self._moving.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name=f"proxy of {target}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Proxy:  # noqa: PYI034  Self is not in CPython 3.10
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what tests see and do ---------------------------------------------------------------------------------------

    @property
    def up(self) -> int:
        """The bytes forwarded to the board."""
        return self._lanes["up"].total

    @property
    def down(self) -> int:
        """The bytes forwarded from the board."""
        return self._lanes["down"].total

    @property
    def open_connections(self) -> int:
        """The number of connections."""
        return len(self._open)

    def reset_counts(self) -> None:
        """Count from zero."""
        for lane in self._lanes.values():
            lane.total = 0

    def cut(self) -> None:
        """Reset all connections. New ones are accepted."""
        self._do(self._cut())

    def freeze(self) -> None:
        """Lose the network: nothing arrives any more, and nobody is told."""
        self._do(self._set_moving(moving=False))

    def thaw(self) -> None:
        """Forward again, also what was on its way."""
        self._do(self._set_moving(moving=True))

    def after(self, count: int, action: Callable[[], object], *, direction: Direction = "up") -> None:
        """Do something, in a thread of its own, once *count* more bytes were forwarded.

        Bytes behind these are held back until the action is done.
        """
        self._do(self._arm(count, action, direction))

    def close(self) -> None:
        """Reset all connections, and accept no more."""
        if self._thread.is_alive():
            self._do(self._cut())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._listener.close()

    # --- in the thread of the proxy ----------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        accepting = self._loop.create_task(self._accept())
        try:
            self._loop.run_forever()
        finally:
            accepting.cancel()
            pending = asyncio.all_tasks(self._loop)
            for task in pending:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _set_moving(self, *, moving: bool) -> None:
        if moving:
            self._moving.set()
        else:
            self._moving.clear()

    async def _arm(self, count: int, action: Callable[[], object], direction: Direction) -> None:
        lane = self._lanes[direction]
        lane.triggers.append((lane.total + count, action))
        lane.triggers.sort(key=lambda trigger: trigger[0])

    async def _cut(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            _reset_on_close(self._open[task])
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            await self._moving.wait()
            self.connections += 1
            task = self._loop.create_task(self._connection(client))
            self._open[task] = (client,)

    async def _connection(self, client: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None
        board = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._open[task] = (client, board)
        lanes: list[asyncio.Task[None]] = []
        try:
            for end in (client, board):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.sleep(2 * self.delay)
            await self._loop.sock_connect(board, ("127.0.0.1", self.target))
            lanes.append(self._loop.create_task(self._forward("up", client, board)))
            lanes.append(self._loop.create_task(self._forward("down", board, client)))
            await asyncio.gather(*lanes)
        except OSError:
            # One end is gone without a goodbye; the other is told in the same way.
            _reset_on_close((client, board))
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
            del self._open[task]
            client.close()
            board.close()

    async def _forward(self, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        """Read from one end. What was read is sent by another task, when it has arrived there."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT // _CHUNK)
        sender = asyncio.ensure_future(self._deliver(direction, queue, sink))
        lane = self._lanes[direction]
        try:
            while True:
                size = _CHUNK if self.rate is None else max(1, min(_CHUNK, int(self.rate / 20)))
                # A sender that failed is noticed at once, not when the other end happens to send.
                receiving = asyncio.ensure_future(self._loop.sock_recv(source, size))
                try:
                    await asyncio.wait({receiving, sender}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not receiving.done():
                        receiving.cancel()
                        await asyncio.gather(receiving, return_exceptions=True)
                if receiving.cancelled():
                    await sender
                    return
                data = receiving.result()
                now = self._loop.time()
                lane.free = max(lane.free, now)
                if self.rate is not None:
                    lane.free += len(data) / self.rate
                    await asyncio.sleep(lane.free - now)
                await queue.put((max(lane.free, now) + self.delay, data))
                if not data:
                    await sender
                    return
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _deliver(
        self, direction: Direction, queue: asyncio.Queue[tuple[float, bytes]], sink: socket.socket
    ) -> None:
        lane = self._lanes[direction]
        while True:
            due, data = await queue.get()
            await asyncio.sleep(due - self._loop.time())
            await self._moving.wait()
            if not data:
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)
                return
            while data:
                room = lane.triggers[0][0] - lane.total if lane.triggers else len(data)
                part, data = data[: max(room, 0)], data[max(room, 0) :]
                if part:
                    await self._loop.sock_sendall(sink, part)
                    lane.total += len(part)
                while lane.triggers and lane.triggers[0][0] <= lane.total:
                    _, action = lane.triggers.pop(0)
                    # The action may end this very connection, and has to be completed nevertheless.
                    await asyncio.shield(self._loop.run_in_executor(None, functools.partial(action)))
                    await self._moving.wait()


def _reset_on_close(ends: tuple[socket.socket, ...]) -> None:
    """Have connections reset when they are closed: the other end sees no orderly end."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
