"""What the controller and a board agree on. The controller imports it on every system."""

from __future__ import annotations

import struct

#: The lengths of JSON and data.
HEADER = struct.Struct(">II")

#: Version of the requests. It is part of the name of the directory on the board.
PROTOCOL = 1

#: Seconds without a frame after which the controller is gone.
SILENCE = 20.0

#: The name of this package in the directory of the run.
PACKAGE = "wheelcheck_board"

#: Start of the line on standard error that reports how a program ended; its token follows, then exit status and ``oom``.
EXIT_LINE = "wheelcheck board-exit"

#: What scripts have instead of the directory of the run: their content does not depend on it in the store.
RUN_MARK = b"@WHEELCHECK-RUN-DIRECTORY@"
