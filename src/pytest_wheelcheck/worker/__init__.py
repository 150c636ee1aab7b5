"""The worker: the part of this package that runs in the interpreter of a target, together with the guard.

It uses the syntax of the oldest target (CPython 3.9) and the standard library only, until it loads pytest for the
tests. This directory is copied to the target under another name, so its modules import nothing but each other.

:mod:`.main` serves one controller over a :class:`~.channel.Channel`, watched by the :mod:`.supervisor`. It does one of two
tasks: :mod:`.importer` imports the modules of the wheel, :mod:`.pytest_main` runs the tests in a session of pytest
(:mod:`.session`, :mod:`.hooks`, :mod:`.rules`, :mod:`.provenance`).

The channel is the process's original standard input and output. The worker first moves both to other descriptors and
leaves the null device and its log in their place, so that the code under test cannot print to the channel or read from it.
The same holds for a local process, an emulated one, and one behind ``ssh``. :mod:`.messages` declares the messages.
"""
