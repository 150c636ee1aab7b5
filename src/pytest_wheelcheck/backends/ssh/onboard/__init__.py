"""The part of this package that runs on a board, in any CPython 3.9 or newer, with the standard library alone.

Nothing is installed there. The controller's first ``ssh`` starts a Python of the board, which reads these modules from its
standard input (:func:`pytest_wheelcheck.backends.ssh.bootstrap.payload`) and serves requests (:mod:`.agent`). Each program of a
target is started through another ``ssh`` by :mod:`.programs`, with its standard streams.
"""
