"""The task ``tests``: load the target's pytest, and run one session of it for the controller."""

from __future__ import annotations

import os
import sys

from . import finders
from .codec import InvalidMessageError
from .descriptors import dup_high
from .errors import import_nothing_to_format
from .facts import local_facts
from .hooks import make_fixtures, make_plugin
from .rules import UNIX_MODULES
from .session import WorkerSession
from .successor import leave_successor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import messages
    from .channel import Channel
    from .supervisor import SupervisorPipes


def run_tests(channel: Channel, task: messages.Tests, pipes: SupervisorPipes | None) -> None:
    """Load pytest, collect when the controller asks for it, serve ``run`` messages, and send the end record.

    :param pipes: to the supervisor; ``None`` without one.
    :raises RuntimeError: the guard of the environment did not start.
    """
    log = open_log()
    if "WHEELCHECK_ARTIFACTS" in os.environ:
        allow_core_dumps()
    if task["facts"]["machine"] != "host" and sys.platform != "win32":
        from .illegal_instructions import log_illegal_instructions

        log_illegal_instructions(log)
    for directory in task["overlays"]:
        if directory not in sys.path:
            sys.path.append(directory)
    if task["python_m"]:
        sys.path.insert(0, os.getcwd())
    sys.dont_write_bytecode = True
    if not task["guarded"]:
        from . import guard as module

        sys.modules.setdefault("_wheelcheck_guard", module)
    guard = sys.modules["_wheelcheck_guard"].install() if "_wheelcheck_guard" in sys.modules else None
    if guard is None:
        raise RuntimeError("the guard of the environment did not start: is its .pth file disabled (-S, or -I -S)?")
    if sys.platform == "win32":
        finders.install()
    import pytest

    from .rewriting import use_results

    import_nothing_to_format()

    use_results(task["rewritten"])
    session = WorkerSession(pytest, channel, task, guard, _facts(task), log)
    plugins = [make_plugin(session), make_fixtures(session.rules.target), session.rules]
    if not task["consoles"]:
        from . import consoles

        opened = consoles.count_openings()
        if opened is not None:
            plugins.append(consoles.make_plugin(pytest, opened, session.rules.target_name()))
    load_plugins()
    leave_successor(pipes, channel)
    message = channel.receive()
    while message["type"] == "run":
        # It was for the worker that this one follows.
        message = channel.receive()
    if message["type"] != "collect":
        raise InvalidMessageError("the controller sent %s before collect" % message["type"])
    task["fixed_args"].append("--basetemp=" + message["basetemp"])
    args = [*task["fixed_args"], *(arg for occurrence in task["occurrences"] for arg in occurrence["args"])]
    status = pytest.main(args, plugins=plugins)
    channel.send(
        {
            "type": "finished",
            "status": int(status),
            "summary": session.summary,
            "conftest_failed": session.conftest_failed,
        }
    )


def load_plugins() -> None:
    """Import pytest's own plugins, as it does itself at its start: a successor need not do it again."""
    import importlib

    from _pytest import config

    for name in getattr(config, "default_plugins", ()):
        importlib.import_module("_pytest." + name)


def open_log() -> int:
    """Have faulthandler write to the log; return a descriptor of the log that pytest's capturing does not redirect."""
    import faulthandler

    log = dup_high(2)
    faulthandler.enable(file=log)
    try:
        import signal

        faulthandler.register(signal.SIGUSR1, file=log, all_threads=True)
    except (ImportError, AttributeError):
        pass  # Windows: the watchdog of each test writes the stacks.
    return log


def allow_core_dumps() -> None:
    """Let this process dump its memory when it crashes, as far as the administrator allows it. The controller collects that."""
    try:
        import resource
    except ImportError:
        return
    try:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    except (OSError, ValueError):
        pass


def _facts(task: messages.Tests) -> dict[str, Any]:
    facts = dict(local_facts(), **task["facts"])
    if task["pretend"] == "win32":
        facts.update(system="win32", pty=False)
        for name in UNIX_MODULES:
            sys.modules[name] = None  # type: ignore[assignment]
    return facts
