"""Copies directories to a board: only files that its store lacks are sent, and only differences to what is there are made.

And fetches the files that programs have left in a directory there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_wheelcheck.backends.ssh.connection import Connection
from pytest_wheelcheck.backends.ssh.diagnosis import BoardError
from pytest_wheelcheck.setting_lines import list_line
from pytest_wheelcheck.system import progress

#: Tries to make a tree, each after the files that the store lacks were sent again.
_TRIES = 3

#: Bytes of all files that are fetched from a directory, and of one request for parts of them.
_MAX_FETCHED, _MAX_PART = 500 << 20, 8 << 20

#: Parts that one request asks for, and seconds that it may take.
_MAX_PARTS, _FETCH_TIMEOUT = 500, 600.0

#: Bytes of a script whose paths are changed.
_MAX_SCRIPT = 1 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, script, link or directory of a tree.

    :param kind: ``f``, ``s`` (a script that names the directory of the run), ``l`` or ``d``.
    :param value: the digest of a file, or where a link leads.
    :param content: of a script, with a mark for the directory of the run.
    """

    kind: str
    mode: int
    value: str
    size: int
    mtime: int
    content: bytes = field(default=b"", repr=False)


#: The entries of a tree by their relative paths; that of the tree itself is empty.
Tree = Mapping[str, Entry]


class Digests:
    """The SHA-256 of files, each computed once as long as it does not change."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int], str] = {}

    def of(self, path: str, status: os.stat_result) -> str:
        """Return the digest of a file."""
        key = (path, status.st_ino, status.st_size, status.st_mtime_ns)
        if key not in self._known:
            with open(path, "rb") as file:  # noqa: PTH123  called for thousands of files
                self._known[key] = hashlib.file_digest(file, "sha256").hexdigest() if _FAST else _digest(file.read())
        return self._known[key]


_FAST = hasattr(hashlib, "file_digest")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


#: Pairs of a directory of this host and its path on the board, with a mark for the directory of the run.
Moved = Sequence[tuple[bytes, bytes]]


def scan(root: Path, digests: Digests, *, names: Iterator[str] | None = None, moved: Moved = ()) -> dict[str, Entry]:
    """List a directory or a file.

    :param names: relative paths of files below *root*; ``None`` for all of them.
    :param moved: directories whose paths are replaced in scripts, in links and in the file of a virtual environment.
    """
    found: dict[str, Entry] = {}
    for name in _walk(root) if names is None else names:
        path = os.path.join(root, name) if name else os.fspath(root)  # noqa: PTH118
        # A file may vanish meanwhile.
        with contextlib.suppress(OSError):
            found[name] = _entry(path, digests, moved)
    return found


def _walk(root: Path) -> Iterator[str]:
    yield ""
    if root.is_symlink() or not root.is_dir():
        return
    for parent, directories, files in os.walk(root):
        relative = os.path.relpath(parent, root)
        prefix = "" if relative == "." else f"{relative}{os.sep}"
        for name in (*directories, *files):
            yield f"{prefix}{name}"


def _entry(path: str, digests: Digests, moved: Moved) -> Entry:
    status = os.lstat(path)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return Entry("l", 0, os.fsdecode(_replaced(os.fsencode(os.readlink(path)), moved)), 0, 0)  # noqa: PTH115
    if stat.S_ISDIR(status.st_mode):
        return Entry("d", mode, "", 0, 0)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is no file")
    is_config = os.path.basename(path) == "pyvenv.cfg"  # noqa: PTH119
    if moved and (is_config or mode & 0o100) and status.st_size < _MAX_SCRIPT:
        with open(path, "rb") as file:  # noqa: PTH123
            content = file.read()
        changed = _replaced(content, moved) if is_config or content.startswith(b"#!") else content
        if changed != content:
            return Entry("s", mode, _digest(changed), len(changed), status.st_mtime_ns, changed)
    return Entry("f", mode, digests.of(path, status), status.st_size, status.st_mtime_ns)


def _replaced(content: bytes, moved: Moved) -> bytes:
    for here, there in moved:
        content = content.replace(here, there)
    return content


class Mirror:
    """The trees on a board during one connection, and how they become what they are here."""

    def __init__(self, connection: Connection, scratch: Callable[[], Path]) -> None:
        self._connection = connection
        self._scratch = scratch
        self._there: dict[str, Tree] = {}

    def has(self, tree: str) -> bool:
        """Return whether a tree was made on the board."""
        return tree in self._there

    def update(self, tree: str, root: Path, wanted: Tree) -> None:
        """Make a tree of the board's directory of the run equal to one of this host.

        :param tree: relative to the directory of the run.
        :param root: where the files are here.
        :param wanted: from :func:`scan`.
        :raises BoardError: that is impossible.
        """
        before = self._there.get(tree, {})
        delete = sorted((name for name in before if name not in wanted), reverse=True)
        changed = {name: entry for name, entry in wanted.items() if before.get(name) != entry}
        # A file that becomes a directory, or the other way round.
        delete += [
            name
            for name, entry in changed.items()
            if name in before and (before[name].kind == "d") != (entry.kind == "d")
        ]
        if not changed and not delete:
            return
        pending = changed
        for last in range(_TRIES, -1, -1):
            answer, _ = self._connection.request(
                "update",
                tree=tree,
                delete=[name.replace(os.sep, "/") for name in delete],
                write=[
                    [name.replace(os.sep, "/"), entry.kind, entry.mode, entry.value, entry.mtime]
                    for name, entry in sorted(pending.items())
                ],
            )
            if not (missing := set(answer["missing"])):
                self._there[tree] = wanted
                return
            delete = []
            pending = {name: entry for name, entry in pending.items() if entry.value in missing}
            if last:
                self._send(root, pending)
        raise BoardError(
            f"{self._connection.destination.name} did not get {len(pending)} of the files whole",
            cause="they change while they are sent, or the board's memory card is damaged",
            fix=f"leave out files that change: set {list_line('push', '!PATTERN')}",
        )

    def _send(self, root: Path, files: Tree) -> None:
        unique = {entry.value: (name, entry) for name, entry in files.items()}
        listed: list[tuple[str, int, Path]] = []
        scripts: list[Path] = []
        try:
            for digest, (name, entry) in sorted(unique.items(), key=lambda item: item[1][0]):
                path = root / name if name else root
                if entry.kind == "s":
                    path = self._scratch() / digest
                    path.write_bytes(entry.content)
                    scripts.append(path)
                listed.append((digest, entry.size, path))
            total = sum(size for _, size, _ in listed)
            if listed:
                with progress.sending(f"sending files to {self._connection.destination.name}", total) as report:
                    self._connection.send_files(listed, report)
        finally:
            for path in scripts:
                path.unlink(missing_ok=True)


def fetch(connection: Connection, tree: str, directory: Path, *, core_of: str = "") -> str:
    """Fetch the regular files of a directory of the board.

    :param tree: relative to the directory of the run there.
    :param directory: receives them; need not exist. Files there are replaced.
    :param core_of: fetch only core dumps whose memory has this text.
    :returns: why files are missing; empty if none are.
    :raises BoardError: that is impossible.
    """
    answer, _ = connection.request("list", tree=tree, core_of=core_of, timeout=_FETCH_TIMEOUT)
    left, omitted = _MAX_FETCHED, 0
    parts: list[tuple[str, int, int]] = []
    for name, size in answer["files"]:
        # A board is not trusted with the names of files.
        if not _is_inside(str(name)):
            continue
        if size > left:
            omitted += 1
            continue
        left -= size
        parts += [(name, offset, min(_MAX_PART, size - offset)) for offset in range(0, max(size, 1), _MAX_PART)]
    while parts:
        asked, total = [parts.pop(0)], 0
        while parts and len(asked) < _MAX_PARTS and (total := total + asked[-1][2]) + parts[0][2] <= _MAX_PART:
            asked.append(parts.pop(0))
        answer, packed = connection.request("read", tree=tree, parts=asked, timeout=_FETCH_TIMEOUT)
        data = _inflated(packed)
        for (name, offset, _), size in zip(asked, answer["sizes"], strict=True):
            _write_part(directory.joinpath(*name.split("/")), offset, data[:size])
            data = data[size:]
    return f"{omitted} files are too large to be fetched from {connection.destination.name}" if omitted else ""


def _write_part(path: Path, offset: int, part: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if offset else "wb") as file:
        file.seek(offset)
        file.write(part)


def _is_inside(name: str) -> bool:
    """Return whether a relative path of a board is one that leads nowhere else."""
    parts = name.split("/")
    return bool(name) and "\\" not in name and "\0" not in name and not any(part in {"", ".", ".."} for part in parts)


def _inflated(packed: bytes) -> bytes:
    stream = zlib.decompressobj()
    data = stream.decompress(packed, _MAX_PART + 1)
    if not stream.eof or len(data) > _MAX_PART:
        raise ValueError("a part of a file is too large")
    return data
