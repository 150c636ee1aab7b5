"""A copy of the worker that takes its place when a test ends it: pytest need not be loaded again.

Loading pytest takes most of the start of a worker, under an emulator seconds. So once the worker has loaded pytest, and no code
of the project, it is forked (Linux). The copy waits; when the supervisor reports that the worker has ended, it goes on at the
same point, after it has made a copy of itself. It is the supervisor's child, not the worker's: code under test that waits for
any child or lists its children does not find it.
"""

from __future__ import annotations

import os
import sys
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .channel import Channel
    from .supervisor import SupervisorPipes


def leave_successor(pipes: SupervisorPipes | None, channel: Channel) -> None:
    """Leave a copy of this process behind, which returns from here as well once this process has ended.

    :param pipes: to the supervisor; ``None`` without one. They are closed.
    """
    if pipes is None:
        return
    while not _leave_one(pipes):
        channel.take_over()
    pipes.close()


def _leave_one(pipes: SupervisorPipes) -> bool:
    """Fork, and report the successor; return whether this is the worker that goes on at once."""
    if len(getattr(sys, "_current_frames", dict)()) > 1:
        # A thread that a start file of the environment has started would be missing in the copy.
        pipes.report(0)
        return True
    # CPython warns of threads, and an emulator has some of its own. The options of the user may turn warnings into errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pid = os.fork()
        except OSError:
            # Too many processes, or no memory. A new worker is started instead.
            pipes.report(0)
            return True
        if pid:
            os.waitpid(pid, 0)
            return True
        try:
            successor = os.fork()
        except OSError:
            pipes.report(0)
            os._exit(0)
    if successor:
        pipes.report(successor)
        # Its parent is the supervisor now.
        os._exit(0)
    # A signal that a test sends to the worker's process group does not reach it.
    os.setsid()
    if not pipes.wait():
        os._exit(0)
    return False
