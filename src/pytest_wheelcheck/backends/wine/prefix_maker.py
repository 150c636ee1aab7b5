"""Has Wine make a prefix. Run as a script: ``python -I -S prefix_maker.py CONFIG``.

It is a process of its own because it becomes a subreaper and forks. *CONFIG* describes Wine as for :mod:`.runner`, except
that ``prefix`` is the directory to make.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

#: Seconds until the registry must be written, and until the programs of Wine must have ended by themselves.
_REGISTRY_DEADLINE, _EXIT_DEADLINE = 60.0, 10.0


def main(config: str) -> None:
    """Make the prefix and end everything that was started for it."""
    # Without site, our package is not on the path.
    sys.path.insert(0, str(Path(__file__).parents[3]))
    from pytest_wheelcheck.backends.wine import runner

    wine = json.loads(Path(config).read_text(encoding="utf-8"))
    prefix = wine["prefix"]
    os.environ[runner.DIAGNOSE] = "1"
    runner.prctl(runner.SUBREAPER, 1)

    def run(*command: str) -> None:
        pid = os.fork()
        if pid == 0:
            env = runner.variables(wine, prefix, "")
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            runner.exec_wine(wine["wine"], list(command), env, {signal.SIGCHLD})
        while os.waitpid(-1, 0)[0] != pid:
            pass

    run("wineboot", "--init")
    # The server writes the registry when all programs have ended.
    run("wineboot", "--shutdown")
    end = time.monotonic() + _REGISTRY_DEADLINE
    while not Path(prefix, "system.reg").exists() and time.monotonic() < end:
        time.sleep(0.1)
    end = time.monotonic() + _EXIT_DEADLINE
    while runner.descendants() and time.monotonic() < end:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        time.sleep(0.05)
    runner.end_remaining(prefix)
    runner.remove_socket_directory(prefix)


if __name__ == "__main__":
    main(sys.argv[1])
