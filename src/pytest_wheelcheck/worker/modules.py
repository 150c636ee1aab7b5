"""The task ``modules``: import all modules of a wheel in one process, and compile the files that no import compiled.

A package that is imported in a process of its own imports some of its modules. The others have the same right to work, but
a process for each would cost minutes. Each result is sent at once: a module may end the process.
"""

from __future__ import annotations

import os
import sys
import time

from .errors import describe_exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import messages
    from .channel import Channel


def run_modules(channel: Channel, task: messages.Modules) -> None:
    """Import the modules, send one ``module`` for each, then compile, and send ``compiled``."""
    import faulthandler
    import importlib

    faulthandler.enable(file=2)
    log = os.dup(2)
    pid = os.getpid()
    import_module = importlib.import_module
    for name in task["names"]:
        loaded = name in sys.modules
        error = None
        start = time.perf_counter()
        faulthandler.dump_traceback_later(task["limit"], exit=True, file=log)
        try:
            import_module(name)
        except BaseException as raised:
            error = describe_exception(raised)
        faulthandler.cancel_dump_traceback_later()
        if os.getpid() != pid:
            # The module forked, and this is the copy.
            os._exit(0)
        seconds = time.perf_counter() - start
        channel.send({"type": "module", "name": name, "error": error, "loaded": loaded, "seconds": seconds})
    errors = _compile(task)
    channel.send({"type": "compiled", "errors": errors})


def _compile(task: messages.Modules) -> list[messages.SyntaxProblem]:
    """Compile the files that were not imported; return the errors."""
    import warnings

    warnings.simplefilter("ignore")
    imported = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            imported.add(os.path.normcase(file))
    errors: list[messages.SyntaxProblem] = []
    for relative in task["sources"]:
        paths = [os.path.join(site, *relative.split("/")) for site in task["sites"]]
        path = next(filter(os.path.isfile, paths), "")
        if not path or os.path.normcase(path) in imported:
            continue
        with open(path, "rb") as file:
            source = file.read()
        try:
            compile(source, path, "exec", dont_inherit=True)
        except SyntaxError as error:
            errors.append({"file": relative, "line": error.lineno or 0, "message": str(error.msg)})
        except (ValueError, RecursionError, MemoryError) as error:
            # A NUL byte; or nesting that is too deep for the parser.
            errors.append({"file": relative, "line": 0, "message": "%s: %s" % (type(error).__name__, error)})
    return errors
