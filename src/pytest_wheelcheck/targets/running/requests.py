"""Asks a worker for tests, also ahead of their turn, so that it does not wait between two of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from pytest_wheelcheck.targets.running.channel import WorkerProcess
from pytest_wheelcheck.targets.running.task import dump_time

#: Tests that a worker is asked for ahead of their turn. It drops them when the session ends before.
AHEAD = 64


class Requests:
    """The tests that the worker of a target was asked for.

    :param timeout: seconds of ``wheel_test_timeout``, scaled; 0 for none.
    :param grace: seconds that a test with a timeout of its own has to end by itself, scaled.
    :param signals: the worker can be asked for its stacks at any time, and sees a request while it runs a test.

    Attribute ``timeouts``: by node id, the test's own timeout in seconds, scaled, and whether it counts the function only.
    """

    def __init__(self, timeout: float, grace: float, *, signals: bool) -> None:
        self.timeouts: dict[str, tuple[float, bool]] = {}
        self._timeout = timeout
        self._grace = grace
        self._signals = signals
        self._asked: deque[str] = deque()
        self._sent = 0

    def ask(self, running: WorkerProcess, node_id: str, following: Sequence[str | None], left: int) -> None:
        """Ask for a test, unless that was done, and for those after it. Later output in the log belongs to the test.

        :param following: the next tests, and ``None`` after the last one. Nothing is asked for without the test after it, which
            decides what is torn down.
        :param left: failures until the run stops; 0 for any number. With a limit, nothing is asked for ahead.
        """
        if self._asked and self._asked[0] == node_id:
            self._asked.popleft()
        else:
            running.mark_end()
            self._send(running, node_id, following[0] if following else None, left)
        running.begin(self._sent - len(self._asked))
        if left:
            return
        most = AHEAD if self._signals else 1
        if len(self._asked) > most // 2:
            # Several at once wake the worker's side less often.
            return
        for index in range(len(self._asked), min(most, len(following) - 1)):
            if (ahead := following[index]) is None:
                return
            self._asked.append(ahead)
            self._send(running, ahead, following[index + 1], left)

    def forget(self) -> None:
        """Forget what was asked for: the worker has ended."""
        self._asked.clear()
        self._sent = 0

    def limit(self, node_id: str) -> float:
        """Return the timeout of a whole test in seconds, at which the controller ends the worker; 0 for none."""
        own, function_only = self.timeouts.get(node_id, (0.0, False))
        return self.phase_limit(node_id, "call" if own and not function_only else "")

    def phase_limit(self, node_id: str, when: str) -> float:
        """Return the timeout of one phase of a test; its own one counts for the call."""
        own, _ = self.timeouts.get(node_id, (0.0, False))
        return own + self._grace if when == "call" else self._timeout

    def describe_hang(self, node_id: str) -> str:
        """Return the text of a test that did not end in time."""
        own, _ = self.timeouts.get(node_id, (0.0, False))
        if own:
            return (
                f"Timeout: the test did not end within its own timeout of {own:g} s and was ended from outside\n"
                "Cause: native code loops or waits while it holds the GIL, so no timeout inside the interpreter can act"
            )
        return (
            f"Timeout: the test did not end within {self._timeout:g} s (wheel_test_timeout) and was ended from outside\n"
            "Fix: read the stacks below; a test that may take longer needs @pytest.mark.timeout(seconds)"
        )

    def _send(self, running: WorkerProcess, node_id: str, following: str | None, left: int) -> None:
        self._sent += 1
        limit = self.limit(node_id)
        # Without signals nobody can ask for stacks, so the watchdog writes them just before the end.
        watchdog = (limit + 30.0 if self._signals else dump_time(limit)) if limit else 0
        running.send(
            {
                "type": "run",
                "id": node_id,
                "number": self._sent,
                "next": following,
                "failures_left": left,
                "watchdog": watchdog,
                "watchdog_exits": self._signals,
            }
        )
