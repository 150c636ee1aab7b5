"""The watchdog of tests: it writes the stacks of a test that does not end, and ends the process where that is asked for."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that a watchdog which ends the process may be late.
LATENESS = 60.0

# Bound here: tests replace it.
_now = time.monotonic


class Watchdog:
    """Arms :func:`faulthandler.dump_traceback_later` for tests.

    One that ends the process only acts when the controller is gone, so it may be late: it stays armed for the next tests
    as long as its time suits them. It is a thread, and to start and join one takes longer than a small test. A supervisor
    notices it as well; with one, there is no such watchdog, and no thread that slows an emulator down, whose
    translation for one thread is faster.

    :param log: descriptor that takes the stacks.
    :param supervised: there is a supervisor.
    """

    def __init__(self, log: int, *, supervised: bool) -> None:
        self._log = log
        self._supervised = supervised
        self._expiry = 0.0

    def arm(self, seconds: float, *, exits: bool) -> None:
        """Arm it for a test.

        :param seconds: 0 for no watchdog.
        :param exits: end the process as well.
        """
        if exits and self._supervised:
            return
        import faulthandler

        now = _now()
        if exits and seconds and now + seconds <= self._expiry <= now + seconds + LATENESS:
            return
        self.disarm()
        if seconds:
            late = LATENESS if exits else 0.0
            faulthandler.dump_traceback_later(seconds + late, exit=exits, file=self._log)
            self._expiry = now + seconds + late if exits else 0.0

    def end_test(self, is_idle: Callable[[], bool], *, exits: bool) -> None:
        """Disarm it after a test, unless it may stay armed for the next one.

        :param is_idle: returns whether no other test was asked for yet.
        """
        if not exits or (not self._supervised and is_idle()):
            self.disarm()

    def disarm(self) -> None:
        """Disarm it."""
        import faulthandler

        self._expiry = 0.0
        faulthandler.cancel_dump_traceback_later()
