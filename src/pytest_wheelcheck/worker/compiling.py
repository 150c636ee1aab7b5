"""Compile the Python files of a wheel, to find those whose syntax is not valid for the target's version of Python.

An interpreter of the host with the same version does this as a program, while the target imports the wheel; see
:func:`main`. Where there is none, the target's worker does it.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from . import messages


def compile_files(files: Iterable[tuple[str, str]]) -> list[messages.SyntaxProblem]:
    """Compile files, and return the errors. Nothing is written or executed.

    :param files: pairs of the name for messages, and the path.
    """
    errors: list[messages.SyntaxProblem] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, path in files:
            with open(path, "rb") as file:
                source = file.read()
            try:
                compile(source, path, "exec", dont_inherit=True)
            except SyntaxError as error:
                errors.append({"file": name, "line": error.lineno or 0, "message": str(error.msg)})
            except (ValueError, RecursionError, MemoryError) as error:
                # A NUL byte; or nesting that is too deep for the parser.
                errors.append({"file": name, "line": 0, "message": "%s: %s" % (type(error).__name__, error)})
    return errors


def main() -> None:
    """Compile files: ``compiling.py LIST``.

    LIST is a file with the name and the path of each, both before a null character. Prints the errors as JSON.
    """
    with open(sys.argv[1], "rb") as file:
        texts = [os.fsdecode(text) for text in file.read().split(b"\0")[:-1]]
    sys.stdout.write(json.dumps(compile_files(zip(texts[::2], texts[1::2]))))  # noqa: B905  Python 3.9


if __name__ == "__main__":
    main()
