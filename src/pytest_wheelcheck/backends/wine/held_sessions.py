"""Sessions of Wine that last as long as a target does: its programs begin in one that is there already.

To begin one takes a second or two. So it is begun when the preparation of the target begins, and is ready when the first
program is. What :mod:`.wine_session` promises holds for each of the programs.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.backends.wine import runner
from pytest_wheelcheck.backends.wine.paths import Drives
from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.model import Runtime
from pytest_wheelcheck.system import process

#: Seconds that a session may take to begin, and to end.
_BEGIN, _END = 120.0, 10.0

_sessions: dict[Path, _Session] = {}
_lock = threading.Lock()


@dataclass(slots=True)
class _Session:
    """A session, or one that is about to begin.

    :param holder: the process whose standard input keeps it.
    :param temporary: where its programs have their temporary files.
    :param prefix: told when it has begun; empty until then, and where it did not begin.
    """

    holder: subprocess.Popen[bytes]
    temporary: Path
    listener: threading.Thread
    prefix: str = ""

    def listen(self) -> None:
        """Wait for its beginning."""
        stream = self.holder.stdout
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self.prefix = stream.readline().decode("utf-8", "surrogateescape").strip()


def begin(runtime: Runtime, folder: Path, drives: Drives | None) -> None:
    """Begin the session of a target, unless it is there; return at once.

    :param folder: the target's own.
    :param drives: all that its programs find; ``None`` where the runtime has none, and nothing is done.
    """
    if drives is None:
        return
    with _lock:
        known = _sessions.get(folder)
        if known is not None and known.holder.poll() is None:
            return
        temporary = folder / "temporary"
        (*python, script, description, _), _ = runtime.launch
        # Without a session, every program begins one of its own.
        with contextlib.suppress(OSError, ProcessError):
            temporary.mkdir(parents=True, exist_ok=True)
            holder = process.spawn(
                [*python, script, "--hold", description, folder, temporary, *drives.words()],
                stdin=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            session = _Session(holder=holder, temporary=temporary, listener=threading.Thread())
            session.listener = threading.Thread(target=session.listen, name="wheelcheck-wine", daemon=True)
            session.listener.start()
            _sessions[folder] = session


def variables(runtime: Runtime, folder: Path, drives: Drives | None) -> dict[str, str]:
    """Give the variables by which a program of a target finds its session, which is begun if need be.

    :param drives: see :func:`begin`.
    """
    begin(runtime, folder, drives)
    session = _sessions.get(folder)
    if session is None:
        return {}
    session.listener.join(_BEGIN)
    if not session.prefix:
        return {}
    return {runner.HELD: session.prefix, "TMPDIR": str(session.temporary)}


def end(folder: Path) -> None:
    """End the session of a target. Not there is well."""
    with _lock:
        session = _sessions.pop(folder, None)
    if session is None:
        return
    if session.holder.stdin is not None:
        with contextlib.suppress(OSError):
            session.holder.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        session.holder.wait(_END)
    process.kill_tree(session.holder)
