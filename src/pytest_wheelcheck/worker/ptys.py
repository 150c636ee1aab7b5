"""Finds out whether a failure happened in a call that opens a pseudo-terminal, on a target that has none.

A native function leaves no frame in the traceback. Its name is read from the source of the innermost frames, at the failing
instruction: exactly from CPython 3.11 on (PEP 657), by the line before that.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable, Iterator
    from types import TracebackType

#: Calls that open a pseudo-terminal: of the standard library, of Windows (ConPTY), and of the common libraries for them.
KNOWN_CALLS = (
    "os.openpty",
    "os.forkpty",
    "pty.fork",
    "pty.openpty",
    "pty.spawn",
    "CreatePseudoConsole",
    "ptyprocess.PtyProcess.spawn",
    "ptyprocess.PtyProcessUnicode.spawn",
    "pexpect.spawn",
    "winpty.PTY",
    "winpty.PtyProcess.spawn",
)

#: The one of them that does not raise, but returns an error code (HRESULT).
_RETURNS_ERROR_CODE = "CreatePseudoConsole"

#: Number of innermost frames that are checked.
_DEPTH = 8

_trees: dict[str, ast.Module] = {}


def find_call(error: BaseException, names: Iterable[str]) -> tuple[str, str, int] | None:
    """Return the call that opens a pseudo-terminal and in which a test failed: its name, file and line.

    :param names: the project's own calls, in addition to :data:`KNOWN_CALLS`; as many parts of the dotted name as are known.
    :returns: ``None`` where the test failed elsewhere.
    """
    known = [tuple(name.split(".")) for name in KNOWN_CALLS]
    own = [tuple(name.split(".")) for name in names if name]
    for traceback, written in _failing_calls(error):
        location = traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        # The name as written, and with its first part resolved: that may be an alias, or a common word.
        spellings = (written, _resolve(written, traceback))
        for name in own:
            for spelling in spellings:
                size = min(len(name), len(spelling))
                if name[-size:] == spelling[-size:]:
                    return (".".join(name), *location)
        for name in known:
            if any(spelling[-len(name) :] == name for spelling in spellings):
                return (".".join(name), *location)
    return None


def _resolve(written: tuple[str, ...], traceback: TracebackType) -> tuple[str, ...]:
    """Replace the first part of a name with the dotted name of the module, class or function that it refers to."""
    frame = traceback.tb_frame
    value = frame.f_locals.get(written[0], frame.f_globals.get(written[0]))
    if isinstance(value, type(sys)):
        return (*value.__name__.split("."), *written[1:])
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(module, str) and isinstance(name, str):
        return (*module.split("."), *name.split("."), *written[1:])
    return written


def _failing_calls(error: BaseException) -> Iterator[tuple[TracebackType, tuple[str, ...]]]:
    """Yield the calls in which an exception was raised, the innermost first: traceback entry, and the parts of the name."""
    entries = []
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        entries.append(traceback)
        traceback = traceback.tb_next
    for entry in entries[: -_DEPTH - 1 : -1]:
        file = entry.tb_frame.f_code.co_filename
        for node in _failing_names(file, entry, asserted=isinstance(error, AssertionError)):
            parts = _name_parts(node)
            if parts:
                yield entry, parts


def _failing_names(file: str, traceback: TracebackType, *, asserted: bool) -> Iterator[ast.AST]:
    """Yield the names of called functions, and missing attributes, at the failing instruction of a frame."""
    import ast
    import linecache

    tree = _trees.get(file)
    if tree is None:
        try:
            tree = ast.parse("".join(linecache.getlines(file)))
        except (SyntaxError, ValueError):
            tree = ast.Module(body=[], type_ignores=[])
        _trees[file] = tree
    position = _position(traceback)
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Call, ast.Attribute)):
            continue
        name = node.func if isinstance(node, ast.Call) else node
        end = node.end_lineno or node.lineno
        on_line = node.lineno <= traceback.tb_lineno <= end and isinstance(node, ast.Call)
        if asserted:
            # Other calls in a failed assertion have succeeded; this one may have returned an error code.
            if on_line and _name_parts(name)[-1:] == (_RETURNS_ERROR_CODE,):
                yield name
        elif on_line if position is None else (node.lineno, end, node.col_offset, node.end_col_offset) == position:
            yield name


def _position(traceback: TracebackType) -> tuple[int | None, ...] | None:
    """Return first line, last line and columns of the failing instruction; ``None`` where the interpreter lacks them."""
    if sys.version_info < (3, 11):
        return None
    positions = list(traceback.tb_frame.f_code.co_positions())
    index = traceback.tb_lasti // 2
    if index >= len(positions) or None in positions[index]:
        return None
    return positions[index]


def _name_parts(node: ast.AST) -> tuple[str, ...]:
    """Return the parts of a dotted name, without the result of a call or another expression before it."""
    import ast

    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return tuple(reversed(parts))


def explain(call: tuple[str, str, int], target: str, root: str) -> str:
    """Explain such a failure, and how to mark the test.

    :param call: as :func:`find_call` returns it.
    :param target: name of the target.
    :param root: directory; files below it are shown relative to it.
    """
    name, file, line = call
    try:
        shown = os.path.relpath(file, root)
    except ValueError:  # on another drive
        shown = file
    if shown.startswith(".."):
        shown = file
    return (
        "%s opens a pseudo-terminal (%s:%d), but %s does not have pseudo-terminals\n"
        "Fix: mark the test with @pytest.mark.pty, so that it is skipped there"
        % (name, shown.replace(os.sep, "/"), line, target)
    )
