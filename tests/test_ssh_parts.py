"""The parts of boards over ssh: addresses, paths, what is sent, and the store."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boards import Board, Boards

from pytest_wheelcheck.backends.ssh import destination, diagnosis, project, transfer
from pytest_wheelcheck.backends.ssh.connection import Connection
from pytest_wheelcheck.backends.ssh.destination import Destination
from pytest_wheelcheck.backends.ssh.onboard.files import Store
from pytest_wheelcheck.backends.ssh.paths import Prefixes
from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.system import progress

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and modes of files")

# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arguments", "name"),
    [
        ("ssh://pi@board", ("--", "pi@board"), "pi@board"),
        ("ssh://pi@board:2222", ("-p", "2222", "--", "pi@board"), "pi@board:2222"),
        ("ssh://pi@board/", ("--", "pi@board"), "pi@board"),
        ("pi@board", ("--", "pi@board"), "pi@board"),
        ("board", ("--", "board"), "board"),
        ("board.example:22", ("-p", "22", "--", "board.example"), "board.example:22"),
        ("ssh://pi@[fe80::1%eth0]:22", ("-p", "22", "--", "pi@fe80::1%eth0"), "pi@[fe80::1%eth0]:22"),
        ("ssh://[::1]", ("--", "::1"), "[::1]"),
    ],
)
def test_addresses(text: str, arguments: tuple[str, ...], name: str) -> None:
    (found,) = destination.parse([text], [])
    assert (found.arguments, found.name) == (arguments, name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-oProxyCommand=x",
        "ssh://-oProxyCommand=x",
        "ssh://-oProxyCommand=x@board",
        "ssh://pi@-oProxyCommand=x",
        "ssh://pi@board:-1",
        "ssh://pi@board:65536",
        "ssh://pi@board:22x",
        "ssh://pi@board/directory",
        "ssh://pi@board -oProxyCommand=x",
        "ssh://pi:secret@board",
        "http://board",
        "pi@@board",
        "fe80::1",
        "board\nother",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="not the address of a board"):
        destination.parse([text], [])


def test_configured_boards() -> None:
    lines = [
        "pi4 = ssh://pi@board:22 directory=/mnt/x wait=5.5 jobs=2",
        "other=board",
    ]
    first, second, third = destination.parse(["pi4,other", "board", "pi4"], lines)
    assert first == Destination(name="pi4", host="board", user="pi", port=22, directory="/mnt/x", wait=5.5, jobs=2)
    assert second == Destination(name="other", host="board")
    assert third == Destination(name="board", host="board")


@pytest.mark.parametrize(
    "line",
    [
        "pi4",
        "pi4 =",
        "= ssh://board",
        "-o = ssh://board",
        "a b = ssh://board",
        "pi4 = ssh://board wait",
        "pi4 = ssh://board what=1",
        "pi4 = ssh://board wait=soon",
        "pi4 = ssh://board wait=-1",
        "pi4 = ssh://board wait=nan",
        "pi4 = ssh://board wait=inf",
        "pi4 = ssh://board jobs=0",
        "pi4 = ssh://board jobs=x",
        "pi4 = -oProxyCommand=x",
    ],
)
def test_boards_that_are_configured_wrongly(line: str) -> None:
    with pytest.raises(UsageError, match="wheel_hosts"):
        destination.parse(["pi4"], [line])


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("ssh: connect to host board port 22: Connection timed out", "pi does not answer"),
        ("ssh: connect to host board port 22: No route to host", "pi does not answer"),
        ("Timeout, server board not responding.", "pi does not answer"),
        ("/root/.ssh/config: line 1: Bad configuration option: x", "ssh refuses its own configuration"),
        ("This account is currently not available.", "the account on pi has no shell"),
        ("wheelcheck: no python: Linux armv6l", "pi has no Python 3.9 or newer"),
        ("something else", "the connection to pi failed"),
        ("", "the connection to pi failed"),
    ],
)
def test_what_messages_of_ssh_mean(output: str, message: str) -> None:
    error = diagnosis.connecting(Destination(name="pi", host="board", user="u", port=23), output)
    assert error.message == message
    assert error.cause
    assert error.fix
    assert "{" not in str(error)


# --- paths -----------------------------------------------------------------------------------------------------------


def test_paths() -> None:
    mentioned: list[str] = []
    paths = Prefixes((("/work/run", "/b/run"), ("/work", "/b/project")), mentioned.append)
    assert paths.to_target("/work/run/x") == "/b/run/x"
    assert paths.to_target("/work") == "/b/project"
    assert paths.to_target("/workshop") == "/workshop"
    assert mentioned == ["/work/run/x", "/work"]
    assert paths.settings_to_target({"a": ["--x=/work/y", "-c", "/work/z::test[/work]", "/work=x", 3, None]}) == {
        "a": ["--x=/b/project/y", "-c", "/b/project/z::test[/work]", "/work=x", 3, None]
    }
    assert paths.node_id_to_target("tests/a.py::test") == "tests/a.py::test"
    assert paths.text_from_target("in /b/project/x.py: /b/run, /b/projects /b/project.d") == (
        "in /work/x.py: /work/run, /b/projects /b/project.d"
    )
    # The names of a collected test only look like paths.
    message = {"names": ["test[/b/run/x]"], "marks": [], "text": ["/b/run/x", 1, {"longrepr": "/b/project"}]}
    assert paths.message_from_target(message) == {
        "names": ["test[/b/run/x]"],
        "marks": [],
        "text": ["/work/run/x", 1, {"longrepr": "/work"}],
    }


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_scan(tmp_path: Path) -> None:
    root, run = tmp_path / "tree", tmp_path / "run"
    (root / "d").mkdir(parents=True)
    (root / "file").write_bytes(b"x")
    (root / "file").chmod(0o640)
    (root / "link").symlink_to("/nowhere")
    (root / "d/script").write_text(f"#!{run}/bin/python\nprint()\n", encoding="utf-8")
    (root / "d/script").chmod(0o755)
    (root / "d/plain").write_text(f"#!{run}/bin/python\n", encoding="utf-8")
    if sys.platform != "win32":
        os.mkfifo(root / "pipe")
    found = transfer.scan(root, transfer.Digests(), moved=((str(run).encode(), b"/there"),))
    assert {name: entry.kind for name, entry in found.items()} == {
        "": "d",
        "d": "d",
        "d/plain": "f",
        "d/script": "s",
        "file": "f",
        "link": "l",
    }
    assert found["file"].value == hashlib.sha256(b"x").hexdigest()
    assert (found["file"].mode, found["file"].size) == (0o640, 1)
    assert found["link"].value == "/nowhere"
    assert found["d/script"].content == b"#!/there/bin/python\nprint()\n"
    assert [*transfer.scan(root / "file", transfer.Digests())] == [""]
    assert [*transfer.scan(root, transfer.Digests(), names=iter(["gone", "d/plain"]))] == ["d/plain"]


def test_a_digest_is_that_of_the_changed_file(tmp_path: Path) -> None:
    digests = transfer.Digests()
    path = tmp_path / "x"
    found = []
    for text in ("a", "b", "bb"):
        path.write_text(text, encoding="utf-8")
        found.append(transfer.scan(path, digests)[""].value)
    assert found == [hashlib.sha256(text.encode()).hexdigest() for text in ("a", "b", "bb")]


def test_files_of_a_project_without_git(tmp_path: Path) -> None:
    for name in ("a.py", "dist/x.whl", "build/x", "lib/y.pyc", "lib/y.py", ".venv/z", "data/large.bin", "data/small"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "outside").symlink_to("/usr")
    assert [*project.list_files(tmp_path, [])] == ["a.py", "data/large.bin", "data/small", "lib/y.py", "outside"]
    assert [*project.list_files(tmp_path, ["build", "!data", "data/small"])] == [
        "a.py",
        "build/x",
        "data/small",
        "lib/y.py",
        "outside",
    ]


def test_files_that_the_run_names(tmp_path: Path) -> None:
    for name in ("a.py", "build/pytest.ini", "build/x", "build/tests/test_a.py", "data/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    words = ["-c", str(tmp_path / "build/pytest.ini"), "--x=build/x", "a.py::test", "data", "x" * 5000, "\0", "..", "."]
    named = [*project.named_paths(tmp_path, words)]
    assert [*project.list_files(tmp_path, [], named)] == ["a.py", "build/pytest.ini", "build/x", "data/x"]
    named = [*project.named_paths(tmp_path, ["build/tests"])]
    assert [*project.list_files(tmp_path, ["!data"], named)] == ["a.py", "build/tests/test_a.py"]


# --- the store -------------------------------------------------------------------------------------------------------


def reader(data: bytes) -> Callable[[int], bytes]:
    parts: Iterator[int] = iter(range(1, 1000))
    rest = bytearray(data)

    def read(most: int) -> bytes:
        part = bytes(rest[: min(most, next(parts))])
        del rest[: len(part)]
        return part

    return read


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def lacking(store: Store, files: list[tuple[str, int]]) -> list[str]:
    paths = [(name, Path(store.path(name)), size) for name, size in files]
    return [name for name, path, size in paths if not path.exists() or path.stat().st_size != size]


def test_the_store(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    contents = [b"", b"first" * 100, b"second"]
    files = [(digest(data), len(data)) for data in contents]
    assert lacking(store, files) == [name for name, _ in files]
    assert store.receive(files, reader(b"".join(contents))) is None
    assert lacking(store, files) == []
    for (name, _), data in zip(files, contents, strict=True):
        assert store.copy(name, str(tmp_path / "copy"), mode=0o640, mtime=10**18, run="")
        assert (tmp_path / "copy").read_bytes() == data
    status = (tmp_path / "copy").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o640, 10**18)
    assert store.size() == sum(map(len, contents))


def test_what_arrives_damaged_is_not_kept(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    files = [(digest(b"right"), 5), (digest(b"whole"), 5)]
    assert store.receive(files, reader(b"wrongwhole")) is None
    assert lacking(store, files) == [digest(b"right")]
    assert not [*(tmp_path / "store").rglob("*.*")]


def test_a_file_that_was_damaged_later(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    name = digest(b"data")
    store.receive([(name, 4)], reader(b"data"))
    Path(store.path(name)).write_bytes(b"dat\0")
    assert not store.copy(name, str(tmp_path / "copy"), mode=0o600, mtime=0, run="")
    assert not (tmp_path / "copy").exists()
    assert lacking(store, [(name, 4)]) == [name]
    assert not [*tmp_path.glob("copy*")]


def test_a_script_gets_the_directory_of_the_run(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    content = b"#!@WHEELCHECK-RUN-DIRECTORY@/python\n"
    store.receive([(digest(content), len(content))], reader(content))
    assert store.copy(digest(content), str(tmp_path / "x"), mode=0o755, mtime=0, run="/run/1")
    assert (tmp_path / "x").read_bytes() == b"#!/run/1/python\n"


def test_the_store_forgets_what_nobody_uses(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    files = [(digest(data), len(data)) for data in (b"old", b"new!")]
    store.receive(files, reader(b"oldnew!"))
    old = time.time() - 31 * 86400
    for name, _ in files:
        os.utime(store.path(name), (old, old))
    unfinished = Path(store.path(files[0][0]) + ".123")
    unfinished.touch()
    os.utime(unfinished, (time.time() - 7200,) * 2)
    assert store.copy(files[1][0], str(tmp_path / "copy"), mode=0o600, mtime=0, run="")
    store.prune()
    assert lacking(store, files) == [files[0][0]]
    assert not unfinished.exists()


@pytest.fixture
def connection(board: Board, board_path: Path) -> Iterator[Connection]:
    (where,) = destination.parse([board.url], [])
    found = Connection(where, "run1")
    try:
        found.open()
        yield found
    finally:
        found.close()


def test_a_tree_is_mirrored(connection: Connection, board: Board, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_bytes(b"one")
    (root / "empty").mkdir()
    (root / "link").symlink_to("a")
    (root / "odd \n\u00e4 name").write_bytes(b"odd")
    mirror = transfer.Mirror(connection, lambda: tmp_path)
    there = board.home / f".cache/pytest-wheelcheck-board/v{1}/runs/run1/t"

    def update() -> None:
        mirror.update("t", root, transfer.scan(root, transfer.Digests()))
        assert {name: content(there / name) for name in transfer.scan(there, transfer.Digests())} == {
            name: content(root / name) for name in transfer.scan(root, transfer.Digests())
        }

    update()
    # A file becomes a directory, a directory a file, and a link a file.
    (root / "a/b/file").unlink()
    (root / "a/b/file").mkdir()
    (root / "empty").rmdir()
    (root / "empty").write_bytes(b"two")
    (root / "link").unlink()
    (root / "link").write_bytes(b"three")
    update()
    # What the store has lost meanwhile is sent again, and what is damaged there as well.
    store = board.home / ".cache/pytest-wheelcheck-board/v1/store"
    for path in store.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0" * path.stat().st_size)
    (root / "copy").write_bytes(b"three")
    update()
    (root / "link").unlink()
    (root / "link").symlink_to("copy")
    update()


def test_the_progress_of_files_that_are_sent(boards: Boards, board: Board, board_path: Path, tmp_path: Path) -> None:
    (where,) = destination.parse([board.through(boards.proxy(board, rate=2_000_000)).url], [])
    (tmp_path / "large").write_bytes(os.urandom(4_000_000))
    found = Connection(where, "run1")
    lines: list[str] = []
    try:
        found.open()
        with progress.lines_to(lines.append):
            mirror = transfer.Mirror(found, lambda: tmp_path)
            mirror.update("t", tmp_path / "large", transfer.scan(tmp_path / "large", transfer.Digests()))
    finally:
        found.close()
    print("\n".join(lines))
    pattern = rf"sending files to {re.escape(where.name)}: \[(#*)\.*\] (\d\.\d) of 4\.0 MB"
    matches = [re.fullmatch(pattern, line) for line in lines]
    shown = [(float(match[2]), len(match[1])) for match in matches if match]
    assert len(shown) == len(lines)
    # The line is updated five times in a second.
    assert len({*shown}) >= 3
    assert shown == sorted(shown)
    assert all(abs(bar - 6 * sent) <= 1.5 for sent, bar in shown)


def content(path: Path) -> Any:
    if path.is_symlink():
        return str(path.readlink())
    return (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
