"""Serves one controller, in the mode that it asks for."""

from __future__ import annotations

import os
import sys

from . import CHANNEL_GONE
from .channel import ChannelClosedError, ChildDoneError, open_channel
from .codec import InvalidMessageError
from .keeper import keep
from .messages import PROTOCOL
from .telling import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Serve one controller, and end this process."""
    try:
        code = serve()
    except ChildDoneError:
        sys.exit(0)
    sys.stdout.flush()
    sys.stderr.flush()
    # After the end record nothing of the code under test is waited for: threads and atexit handlers may hang.
    os._exit(code)


def serve() -> int:
    """Serve one controller; return the exit status."""
    keeper = keep()
    channel = open_channel()
    try:
        channel.accept()
        if keeper >= 0:
            os.write(keeper, channel.nonce.encode("ascii"))
            os.close(keeper)
        channel.send({"type": "hello", "protocol": PROTOCOL})
        task = channel.receive()
        if task["type"] == "imports":
            from . import importer

            if not task["fork"]:
                importer.import_alone(channel, task)
                raise ChildDoneError
            importer.Importer(channel, task).run()
        elif task["type"] == "tests":
            from .session import run_tests

            run_tests(channel, task)
        else:
            raise InvalidMessageError("the controller sent %s before imports or tests" % task["type"])
    except ChannelClosedError:
        return CHANNEL_GONE
    except ChildDoneError:
        raise
    except BaseException as error:
        text = render(error)
        if not channel.nonce:
            # The controller ignores a message without it, but reads the log.
            sys.stderr.write(text)
        try:
            channel.send({"type": "fatal", "text": text})
        except ChannelClosedError:
            return CHANNEL_GONE
        return 2
    return 0
