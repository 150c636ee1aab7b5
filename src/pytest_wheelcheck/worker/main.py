"""Serves one controller: does the task that it asks for."""

from __future__ import annotations

import os
import sys

from .channel import CHANNEL_CLOSED, ChannelClosedError, ImportDoneError, open_channel
from .codec import InvalidMessageError
from .errors import format_exception
from .held import make_held_file
from .messages import PROTOCOL
from .supervisor import start_supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Serve one controller, and end this process."""
    try:
        code = serve()
    except ImportDoneError:
        sys.exit(0)
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: threads and atexit handlers of the code under test may hang.
    os._exit(code)


def serve() -> int:
    """Serve one controller; return the exit status."""
    held = make_held_file()
    pipes = start_supervisor(held)
    # Without a supervisor, what is held would be lost with the worker.
    supervised = pipes is not None
    channel = open_channel(held if supervised else -1, supervised=supervised)
    try:
        channel.accept()
        if pipes is not None:
            pipes.report(channel.nonce)
        channel.send({"type": "hello", "protocol": PROTOCOL})
        task = channel.receive()
        if task["type"] == "tests":
            from .pytest_main import run_tests

            run_tests(channel, task, pipes)
            return 0
        if pipes is not None:
            pipes.report(0)
            pipes.close()
        if task["type"] == "imports":
            from . import importer

            importer.run_imports(channel, task)
        elif task["type"] == "modules":
            from .modules import run_modules

            run_modules(channel, task)
        else:
            raise InvalidMessageError("the controller sent %s before imports, modules or tests" % task["type"])
    except ChannelClosedError:
        return CHANNEL_CLOSED
    except ImportDoneError:
        raise
    except BaseException as error:
        text = format_exception(error)
        if not channel.nonce:
            # The controller ignores a message without it, but reads the log.
            sys.stderr.write(text)
        try:
            channel.send({"type": "fatal", "text": text})
        except ChannelClosedError:
            return CHANNEL_CLOSED
        return 2
    return 0
