"""The task ``modules``: import all modules of a wheel in one process, and compile the files that no import compiled.

A package that is imported in a process of its own imports some of its modules. The others have the same right to work, but
a process for each would cost minutes. Each result is sent at once: a module may end the process.
"""

from __future__ import annotations

import os
import sys
import time

from .compiling import compile_files
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
    imported = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            imported.add(os.path.normcase(file))
    files = []
    for relative in task["sources"]:
        paths = [os.path.join(site, *relative.split("/")) for site in task["sites"]]
        path = next(filter(os.path.isfile, paths), "")
        if path and os.path.normcase(path) not in imported:
            files.append((relative, path))
    return compile_files(files)
