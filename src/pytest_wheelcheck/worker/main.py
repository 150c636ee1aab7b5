"""Serves one controller, in the mode that it asks for."""

from __future__ import annotations

import os
import sys

from . import CHANNEL_GONE, PROTOCOL
from .channel import ChannelClosedError, ChildDoneError, open_channel
from .keeper import keep
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
        start = channel.receive()
        channel.nonce = start["nonce"]
        if keeper >= 0:
            os.write(keeper, channel.nonce.encode("ascii"))
            os.close(keeper)
        if start["type"] != "start" or start["protocol"] != PROTOCOL:
            channel.send("fatal", text="protocol %r is not %r" % (start.get("protocol"), PROTOCOL))
            return 2
        channel.send("hello", protocol=PROTOCOL, executable=sys.executable, version=list(sys.version_info[:3]))
        if start["mode"] == "import":
            from .importer import import_alone

            import_alone(channel, start)
            raise ChildDoneError
        if start["mode"] == "imports":
            from .importer import Importer

            Importer(channel, start).run()
        else:
            from .session import run_tests

            run_tests(channel, start)
    except ChannelClosedError:
        return CHANNEL_GONE
    except ChildDoneError:
        raise
    except BaseException as error:
        try:
            channel.send("fatal", text=render(error))
        except ChannelClosedError:
            return CHANNEL_GONE
        return 2
    return 0
