"""The worker: the one thing of ours that runs inside the interpreter of a target, together with the guard.

It uses the standard library only, until it is told to load pytest, and the syntax of the oldest target (CPython 3.9).
This package is copied there as it is, so its modules import nothing but each other: :mod:`.main` serves one controller
over a :class:`~.channel.Channel`, watched by the :mod:`.keeper`, in one of two modes: :mod:`.importer`, or
:mod:`.session` with its :mod:`.hooks`, :mod:`.rules` and :mod:`.provenance`.

The protocol
============
The channel is what the process was started with as standard input and output. The first thing the worker does is to move
both to descriptors of their own and to leave the null device and its log in their place, so that nothing that the code
under test prints or reads can reach the channel. The same holds for a local process, an emulated one, and one at the
other end of ``ssh``.

A message is a frame: four bytes, big-endian, the length in bytes; then a JSON object in ASCII. Every object has a
``"type"``. The controller's first message is ``start``; it carries the protocol's version and a nonce, and every
message from the worker carries the nonce back together with the process id, so that a child which a test forked, or a
print that looks like a message, is not taken for the worker.

From the controller:

========== ===========================================================================================================
``start``  ``protocol``, ``nonce``, ``mode`` (``imports``, ``import`` or ``tests``) and that mode's settings
``run``    ``id``: the node id to run; ``next``: the one after it or ``null``; ``left``: failures until the run stops, or 0;
           ``watchdog``: seconds after which the process writes its stacks and, if ``leave``, ends itself (the controller
           may be gone)
``finish`` end the session: tear down, tell the summary, exit
========== ===========================================================================================================

From the worker:

============= ========================================================================================================
``hello``     ``facts`` of the interpreter
``imported``  one result of the mode ``imports``, or that of ``import``: see :class:`~.importer.Importer`
``collecting`` ``id``: the module that is collected next, or ``""`` after the last one; ``log``: bytes of the log before it
``collected`` ``items``, ``reports`` (of modules that failed or skipped), ``header`` (lines), ``unknown`` (options of the
              host's that the target does not know), ``pytest`` (version)
``phase``     ``id``, ``when``: only for tests whose time-out does not count their fixtures
``report``    ``data``: a report as pytest's own ``pytest_report_to_serializable`` makes it
``warning``   one recorded warning, as text
``property``  ``id``, ``name``, ``value``: for the JUnit report's entry of a test, or, without ``id``, of the whole run
``text``      what plugins wrote to the terminal
``expired``   ``seconds``, ``text``: pytest-timeout's thread ends the process now; what it says, with all stacks
``done``      ``id``: the test has ended and all its reports were sent; ``stop``: why the session is to stop, or ``""``;
              ``fresh``: whether the rest needs a fresh worker
``finished``  the end record: ``status`` (pytest's exit code), ``summary`` (text), ``conftest_failed`` (whether a conftest
              could not be loaded). Only after it was the run complete.
``fatal``     ``text``: the worker itself cannot go on
============= ========================================================================================================
"""

PROTOCOL = 2

#: Modules that exist where pseudo-terminals do; a test module that cannot be imported for want of one is skipped.
UNIX_MODULES = ("pty", "tty", "termios", "fcntl", "resource")

#: Exit status of a worker whose channel was closed, by the controller or by code under test.
CHANNEL_GONE = 71

#: Frames above this many bytes are nonsense, not messages.
FRAME_LIMIT = 1 << 30

#: Characters of captured output that a report carries; what is longer loses its middle.
OUTPUT_LIMIT = 100_000

#: Begins the line of the log that tells of processes which tests left behind; the nonce follows.
LEFT_BEHIND = "wheelcheck left-behind "

#: Seconds that a worker has for leaving by itself once the controller is gone.
LEAVE = 0.5

#: Seconds that processes have for ending by themselves once the worker that started them has ended.
LINGER = 0.2
