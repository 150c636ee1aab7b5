"""Modules whose assert statements were rewritten ahead.

pytest rewrites the assert statements of test modules and of plugins (:mod:`_pytest.assertion.rewrite`). That takes a hundred
times as long as to load the result, and ten times as long again under an emulator. So an interpreter of the host does it
ahead, with the same version of Python and of pytest: this file is the program that it runs, and what a worker loads the
results with. A result depends on the text of the module alone, which names its file.

The results hold the code objects of :func:`marshal.dumps`, after the magic number of the bytecode.
"""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import sys
import time
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

#: Seconds after which the program stops: a worker rewrites the other modules itself.
LIMIT = 60.0


def result_name(source: bytes) -> str:
    """Return the name of the file for a module's text."""
    return "%s.%s" % (hashlib.sha256(source).hexdigest()[:40], sys.implementation.cache_tag)


def use_results(directory: str) -> None:
    """Have pytest load the modules that were rewritten ahead.

    :param directory: of the results; need not exist. Without it, and with a pytest that rewrites in another way, pytest rewrites
        the modules itself.
    """
    import _imp

    from _pytest.assertion import rewrite

    original: Any = getattr(rewrite, "_rewrite_test", None)
    if original is None or not os.path.isdir(directory):
        return

    def rewrite_test(fn: Path, config: Any) -> tuple[Any, Any]:
        __tracebackhide__ = True
        # With this key, the results call a hook of plugins.
        if not config.getini("enable_assertion_pass_hook"):
            code = _read_result(os.path.join(directory, result_name(fn.read_bytes())))
            if code is not None:
                _imp._fix_co_filename(code, str(fn))
                # The first part describes the module for pytest's own cache, which is not written here.
                return None, code
        found: tuple[Any, Any] = original(fn, config)
        return found

    rewrite._rewrite_test = rewrite_test


def _read_result(path: str) -> Any:
    """Return the code object in a file; ``None`` if there is none that this interpreter can load."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        if data.startswith(importlib.util.MAGIC_NUMBER):
            # Written by this host, for this target alone.
            return marshal.loads(data[len(importlib.util.MAGIC_NUMBER) :])  # noqa: S302
    except (OSError, EOFError, ValueError, TypeError):
        pass
    return None


class _Config:
    """The configuration that the results are for."""

    def getini(self, _: str) -> bool:
        return False


def main() -> None:
    """Rewrite modules: ``rewriting.py SITE OUTPUT LIST``.

    SITE is the directory of pytest, OUTPUT that of the results, LIST a file with the paths of the modules, each before a null
    character. A module whose text is not valid, or causes a warning, is left to the worker, where the user sees it.
    """
    site, output, listed = sys.argv[1:]
    sys.path.insert(0, site)
    from pathlib import Path

    from _pytest.assertion import rewrite

    with open(listed, "rb") as file:
        paths = [os.fsdecode(path) for path in file.read().split(b"\0") if path]
    config: Any = _Config()
    end = time.monotonic() + LIMIT
    for path in paths:
        if time.monotonic() > end:
            break
        try:
            with open(path, "rb") as file:
                source = file.read()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                code = rewrite._rewrite_test(Path(path), config)[1]
        except Exception:  # noqa: S112  the worker tells the user
            continue
        result = os.path.join(output, result_name(source))
        # On a full disk, no part of a result stays.
        with open(result + ".new", "wb") as file:
            file.write(importlib.util.MAGIC_NUMBER + marshal.dumps(code))
        os.replace(result + ".new", result)


if __name__ == "__main__":
    main()
