"""The worker: the one thing of ours that runs inside the interpreter of a target, together with the guard.

It uses the standard library only, until it is told to load pytest, and the syntax of the oldest target (CPython 3.9).
This package is copied there as it is, so its modules import nothing but each other: :mod:`.main` serves one controller
over a :class:`~.channel.Channel`, watched by the :mod:`.keeper`, in one of two modes: :mod:`.importer`, or
:mod:`.session` with its :mod:`.hooks`, :mod:`.rules` and :mod:`.provenance`.

The channel is what the process was started with as standard input and output. The first thing the worker does is to move
both to descriptors of their own and to leave the null device and its log in their place, so that nothing that the code
under test prints or reads can reach the channel. The same holds for a local process, an emulated one, and one at the
other end of ``ssh``. The messages are declared in :mod:`.messages`.
"""

#: Modules that exist where pseudo-terminals do; a test module that cannot be imported for want of one is skipped.
UNIX_MODULES = ("pty", "tty", "termios", "fcntl", "resource")

#: Exit status of a worker whose channel was closed, by the controller or by code under test.
CHANNEL_GONE = 71

#: Characters of captured output that a report carries; what is longer loses its middle.
OUTPUT_LIMIT = 100_000

#: Begins the line of the log that tells of processes which tests left behind; the nonce follows.
LEFT_BEHIND = "wheelcheck left-behind "

#: Seconds that a worker has for leaving by itself once the controller is gone.
LEAVE = 0.5

#: Seconds that processes have for ending by themselves once the worker that started them has ended.
LINGER = 0.2
