"""Which call a failure happened in: one that opens a pseudo-terminal, on a target that has none, is told apart.

A native function leaves no frame behind. What was called is then read from the source of the innermost frames, where the
failing instruction stands: exactly from CPython 3.11 on (PEP 657), before that by the line.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable, Iterator
    from types import TracebackType

#: Calls that open one, or would: of the standard library, of Windows (ConPTY), and of the usual libraries on it.
KNOWN = (
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

#: The one of them that raises nothing, but returns a number (HRESULT).
_NUMBERED = "CreatePseudoConsole"

#: Frames that are looked at, from the innermost.
_DEPTH = 8


def opened(error: BaseException, names: Iterable[str]) -> tuple[str, str]:
    """Tell the call that opens a pseudo-terminal in which a test failed, and where it stands: ``file:line``.

    :param names: calls of the project's own, beside :data:`KNOWN`; dotted as far as it takes.
    :returns: empty strings where it failed elsewhere.
    """
    known = [tuple(name.split(".")) for name in KNOWN]
    own = [tuple(name.split(".")) for name in names if name]
    for traceback, path in _calls(error):
        place = "%s:%d" % (traceback.tb_frame.f_code.co_filename, traceback.tb_lineno)
        # An alias, and the common words among the usual names: what the first part stands for is looked up.
        paths = (path, _resolved(path, traceback))
        for name in own:
            for each in paths:
                size = min(len(name), len(each))
                if name[-size:] == each[-size:]:
                    return ".".join(name), place
        for name in known:
            if any(each[-len(name) :] == name for each in paths):
                return ".".join(name), place
    return "", ""


def _resolved(path: tuple[str, ...], traceback: TracebackType) -> tuple[str, ...]:
    """Put the place where it was defined before a name that stands for a module, class or function."""
    frame = traceback.tb_frame
    found = frame.f_locals.get(path[0], frame.f_globals.get(path[0]))
    if isinstance(found, type(sys)):
        return (*found.__name__.split("."), *path[1:])
    module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if isinstance(module, str) and isinstance(name, str):
        return (*module.split("."), *name.split("."), *path[1:])
    return path


def _calls(error: BaseException) -> Iterator[tuple[TracebackType, tuple[str, ...]]]:
    """Yield the calls in which an exception arose, the innermost first, each with the frame that made it."""
    frames = []
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        frames.append(traceback)
        traceback = traceback.tb_next
    for one in frames[: -_DEPTH - 1 : -1]:
        file = one.tb_frame.f_code.co_filename
        for node in _nodes(file, one, asserted=isinstance(error, AssertionError)):
            path = _path(node)
            if path:
                yield one, path


def _nodes(file: str, traceback: TracebackType, *, asserted: bool) -> Iterator[ast.AST]:
    """Yield the names of calls, and the attributes that are not there, at which a frame stands."""
    import ast
    import linecache

    tree = _trees.get(file)
    if tree is None:
        try:
            tree = ast.parse("".join(linecache.getlines(file)))
        except (SyntaxError, ValueError):
            tree = ast.Module(body=[], type_ignores=[])
        _trees[file] = tree
    place = _place(traceback)
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Call, ast.Attribute)):
            continue
        name = node.func if isinstance(node, ast.Call) else node
        end = node.end_lineno or node.lineno
        on_line = node.lineno <= traceback.tb_lineno <= end and isinstance(node, ast.Call)
        if asserted:
            # Other calls in an assertion have returned; this one tells by a number that it failed.
            if on_line and _path(name)[-1:] == (_NUMBERED,):
                yield name
        elif on_line if place is None else (node.lineno, end, node.col_offset, node.end_col_offset) == place:
            yield name


_trees: dict[str, ast.Module] = {}


def _place(traceback: TracebackType) -> tuple[int | None, ...] | None:
    """Tell first and last line and column of the failing instruction; ``None`` where the interpreter does not know."""
    if sys.version_info < (3, 11):
        return None
    positions = list(traceback.tb_frame.f_code.co_positions())
    index = traceback.tb_lasti // 2
    if index >= len(positions) or None in positions[index]:
        return None
    return positions[index]


def _path(node: ast.AST) -> tuple[str, ...]:
    """Say a dotted name as its parts; nothing where it is no plain name. What a call returned counts for nothing."""
    import ast

    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return tuple(reversed(parts))


def advice(call: str, place: str, where: str, root: str) -> str:
    """Say what such a failure means, and how to mark the test.

    :param where: the target, in words.
    :param root: the folder from which paths are shown.
    """
    file, _, line = place.rpartition(":")
    try:
        shown = os.path.relpath(file, root)
    except ValueError:  # on another drive
        shown = file
    if shown.startswith(".."):
        shown = file
    shown = shown.replace(os.sep, "/")
    return (
        "it failed in %s, which opens a pseudo-terminal, at %s:%s; %s has none\n"
        "Fix: mark the test with @pytest.mark.pty, and it is skipped there" % (call, shown, line, where)
    )
