from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from builders import Raw, build_wheel, write_zip
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.wheels.container import MAX_DEFECTS_PER_KIND, TOLERATED_DEFECTS, DefectKind
from pytest_wheelcheck.wheels.inspection import inspect
from pytest_wheelcheck.wheels.member_names import unsafe_name, windows_name

A = Raw(name=b"pkg/a.py", data=b"first" * 9, method=8)
B = Raw(name=b"pkg/b.py", data=b"second")

tmp_reuse = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def kinds(path: Path) -> set[DefectKind]:
    return {defect.kind for defect in inspect(path).defects}


def text_of(path: Path) -> str:
    return "\n".join(defect.message for defect in inspect(path).defects)


def zip64_extra(*values: int) -> bytes:
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


def zip64_end(count: int, size: int, offset: int, *, where: int) -> bytes:
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    return record + struct.pack("<4sIQI", b"PK\6\7", 0, where, 1)


def test_a_sound_container(tmp_path: Path) -> None:
    archive = inspect(write_zip(tmp_path / "a.zip", [A, B, Raw(name=b"pkg/", mode=0o40755)], comment=b"hello"))
    assert archive.defects == ()
    assert [entry.name for entry in archive.members] == ["pkg/a.py", "pkg/b.py", "pkg/"]
    assert [entry.name for entry in archive.files] == ["pkg/a.py", "pkg/b.py"]
    entry = archive.find("pkg/a.py")
    assert entry is not None
    assert archive.read(entry, limit=100) == b"first" * 9
    assert archive.head(entry, 3) == b"fir"
    with pytest.raises(WheelError, match="at most 10 bytes"):
        archive.read(entry, limit=10)


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip", b"\0" * 70000])
def test_files_that_are_not_zip_archives(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    assert kinds(path) == {DefectKind.NOT_ZIP}


@pytest.mark.parametrize("cut", [1, 21, 22, 40, 100])
def test_every_truncation_is_found(tmp_path: Path, cut: int) -> None:
    path = write_zip(tmp_path / "a.zip", [A, B])
    path.write_bytes(path.read_bytes()[:-cut])
    assert DefectKind.NOT_ZIP in kinds(path)


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"before": b"x"}, DefectKind.HIDDEN, "before the first member"),
        ({"between": b"xyz"}, DefectKind.HIDDEN, "3 bytes before the central directory"),
        ({"after": b"x"}, DefectKind.HIDDEN, "1 bytes follow"),
        ({"count": 1}, DefectKind.HIDDEN, "counts 1 members"),
        ({"central_size": 10}, DefectKind.NOT_ZIP, "damaged"),
        ({"central_offset": 5}, DefectKind.NOT_ZIP, "damaged"),
        ({"central_offset": 10**6}, DefectKind.NOT_ZIP, "does not end before"),
        ({"count": 65535}, DefectKind.NOT_ZIP, "ZIP64"),
    ],
)
def test_defects_of_the_directory(tmp_path: Path, changes: dict[str, Any], kind: DefectKind, text: str) -> None:
    path = write_zip(tmp_path / "a.zip", [A, B], **changes)
    assert kind in kinds(path)
    assert text in text_of(path)


def test_an_archive_in_the_comment(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", [B]).read_bytes()
    path = write_zip(tmp_path / "outer.zip", [A], comment=inner)
    assert "hidden in the comment" in text_of(path)
    # Also if the inner end record does not fit.
    assert "contains ZIP records" in text_of(write_zip(tmp_path / "other.zip", [A], comment=inner + b"x"))


def test_an_archive_as_a_member_is_not_a_defect(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", [B]).read_bytes()
    assert kinds(write_zip(tmp_path / "outer.zip", [A, Raw(name=b"inner.zip", data=inner)])) == set()


def test_two_directories(tmp_path: Path) -> None:
    first = write_zip(tmp_path / "first.zip", [B]).read_bytes()
    assert DefectKind.HIDDEN in kinds(write_zip(tmp_path / "a.zip", [A], before=first))
    assert inspect(write_zip(tmp_path / "a.zip", [A], after=first)).blocking_defects


def test_members_that_overlap(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", [A, Raw(name=b"pkg/c.py", local=False, data=A.data, method=8, lie_offset=0)])
    assert "overlaps" in text_of(path)


@pytest.mark.parametrize(
    "member",
    [
        Raw(name=b"a", local_name=b"b"),
        Raw(name=b"a", data=b"xyz", local_method=8),
        Raw(name=b"a", data=b"xyz", local_flags=0x800),
        Raw(name=b"a", data=b"xyz", local_crc=1),
        Raw(name=b"a", data=b"xyz", local_size=2),
        Raw(name=b"a", data=b"xyz", lie_size=2),
        Raw(name=b"a", data=b"xyz", method=8, local_compressed=2),
        Raw(name=b"a", extra=b"\x01"),
        Raw(name=b"a", extra=struct.pack("<2HBI", 0x7075, 6, 1, zlib.crc32(b"a")) + b"b"),
        Raw(name=b"a", data=b"xyz", flags=8, descriptor=b"PK\7\x08" + b"\0" * 12),
    ],
)
def test_headers_that_disagree(tmp_path: Path, member: Raw) -> None:
    assert DefectKind.HEADERS in kinds(write_zip(tmp_path / "a.zip", [member]))


@pytest.mark.parametrize("mark", [b"PK\7\x08", b""])
@pytest.mark.parametrize("zeroed", [True, False])
def test_descriptors_that_agree(tmp_path: Path, mark: bytes, zeroed: bool) -> None:
    data = b"xyz"
    member = Raw(name=b"a", data=data, flags=8, descriptor=mark + struct.pack("<3I", zlib.crc32(data), 3, 3))
    if zeroed:
        member.local_crc = member.local_size = member.local_compressed = 0
    path = write_zip(tmp_path / "a.zip", [member, B])
    assert kinds(path) == {DefectKind.DESCRIPTOR}
    assert not inspect(path).blocking_defects


def test_a_stream_as_zipfile_writes_it_is_only_refused_by_indexes(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr("a.py", "x = 1")
    path = tmp_path / "a.zip"
    path.write_bytes(pipe.data)
    assert kinds(path) == {DefectKind.DESCRIPTOR}


def test_zip64_where_it_is_needed(tmp_path: Path) -> None:
    full = 0xFFFFFFFF
    member = Raw(name=b"a", data=b"xyz", lie_size=full, lie_compressed=full, extra=zip64_extra(3, 3))
    member.local_size = member.local_compressed = full
    member.local_extra = zip64_extra(3, 3)
    archive = inspect(write_zip(tmp_path / "a.zip", [member]))
    assert archive.defects == ()
    assert (archive.members[0].size, archive.members[0].compressed_size) == (3, 3)
    lying = Raw(**{**vars(member), "local_extra": zip64_extra(4, 3)})
    assert kinds(write_zip(tmp_path / "a.zip", [lying])) == {DefectKind.HEADERS}


@pytest.mark.parametrize(
    ("shift", "full", "kind"), [(0, True, None), (0, False, DefectKind.HIDDEN), (1, True, DefectKind.HIDDEN)]
)
def test_zip64_end_records(tmp_path: Path, shift: int, full: bool, kind: DefectKind | None) -> None:
    plain = write_zip(tmp_path / "a.zip", [A, B]).read_bytes()
    end = plain.rindex(b"PK\5\6")
    _, _, _, _, count, size, offset, _ = struct.unpack("<4s4H2IH", plain[end:])
    numbers = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if full else (count, count, size, offset)
    path = tmp_path / "b.zip"
    path.write_bytes(
        plain[:end]
        + zip64_end(count, size, offset, where=end + shift)
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *numbers, 0)
    )
    assert (kind in kinds(path)) if kind else kinds(path) == set()


@pytest.mark.parametrize(
    ("member", "kind"),
    [
        (Raw(name=b"a", flags=1), DefectKind.ENCRYPTED),
        (Raw(name=b"a", flags=0x41), DefectKind.ENCRYPTED),
        (Raw(name=b"a", flags=0x2000), DefectKind.ENCRYPTED),
        (Raw(name=b"a", method=12), DefectKind.METHOD),
        (Raw(name=b"a", needs=64), DefectKind.METHOD),
        (Raw(name=b"a", mode=0o120777), DefectKind.SPECIAL),
        (Raw(name=b"a", mode=0o010644), DefectKind.SPECIAL),
        (Raw(name=b"a", mode=0o020644), DefectKind.SPECIAL),
        (Raw(name=b"a/", mode=0o100644), DefectKind.SPECIAL),
        (Raw(name=b"a", mode=0o040755), DefectKind.SPECIAL),
        (Raw(name=b"a/", mode=0o040755, data=b"x"), DefectKind.HIDDEN),
        (Raw(name=b"\xff\xfe", flags=0x800), DefectKind.NAME),
        (Raw(name="ü".encode()), DefectKind.NAME),
        (Raw(name=b""), DefectKind.NAME),
    ],
)
def test_members_that_are_not_plain_files(tmp_path: Path, member: Raw, kind: DefectKind) -> None:
    assert kind in kinds(write_zip(tmp_path / "a.zip", [member]))


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([b"a", b"a"], DefectKind.DUPLICATE),
        ([b"a", b"a/b"], DefectKind.DUPLICATE),
        ([b"a/", b"a"], DefectKind.DUPLICATE),
        ([b"a", b"A"], DefectKind.COLLISION),
        ([b"pkg/x", b"Pkg/y"], DefectKind.COLLISION),
        (["é".encode(), "e\u0301".encode()], DefectKind.COLLISION),
    ],
)
def test_names_that_collide(tmp_path: Path, names: list[bytes], kind: DefectKind) -> None:
    members = [Raw(name=name, flags=0x800, mode=0) for name in names]
    assert kinds(write_zip(tmp_path / "a.zip", members)) == {kind}


def test_decompression_bombs(tmp_path: Path) -> None:
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packed.compress(b"\0" * (70 << 20)) + packed.flush()
    path = write_zip(tmp_path / "a.zip", [Raw(name=b"a", compressed=data, method=8, lie_size=70 << 20)])
    assert DefectKind.EXPANSION in kinds(path)
    # A member is not unpacked further than its declared size.
    archive = inspect(write_zip(tmp_path / "b.zip", [Raw(name=b"a", compressed=data, method=8, lie_size=10)]))
    with pytest.raises(WheelError, match="more than its declared 10 bytes"):
        archive.read(archive.members[0], limit=100)


def test_a_directory_with_too_many_members_is_not_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", [A])
    plain = path.read_bytes()
    end = plain.rindex(b"PK\5\6")
    size, offset = struct.unpack_from("<2I", plain, end + 12)
    path.write_bytes(
        plain[:end]
        + zip64_end(10**9, size, offset, where=end)
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    )
    assert kinds(path) == {DefectKind.EXPANSION}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data": b"abc", "lie_crc": 1}, "CRC"),
        ({"data": b"abc", "method": 8, "compressed": b"\xff\xff"}, "damaged"),
        (
            {"data": b"abc" * 99, "method": 8, "compressed": Raw(name=b"", data=b"abc" * 99, method=8).stream()[:-3]},
            "too early",
        ),
        ({"data": b"abc", "method": 8, "compressed": Raw(name=b"", data=b"abc", method=8).stream() + b"x"}, "follow"),
        ({"data": b"abc", "method": 8, "lie_size": 4}, "instead of 4"),
        ({"data": b"abc", "method": 99}, "method 99"),
    ],
)
def test_streams_that_differ_from_the_declared_content(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    archive = inspect(write_zip(tmp_path / "a.zip", [Raw(name=b"a", **changes)]))
    with pytest.raises(WheelError, match=text):
        archive.read(archive.members[0], limit=1000)


def test_long_names_give_short_messages(tmp_path: Path) -> None:
    (defect,) = inspect(write_zip(tmp_path / "a.zip", [Raw(name=b"a/" * 30000 + b"b")])).defects
    assert defect.kind is DefectKind.NAME
    assert len(defect.message) < 600


def test_many_defects_give_few_messages(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "a.zip", [Raw(name=f"../{number}".encode()) for number in range(MAX_DEFECTS_PER_KIND + 5)]
    )
    messages = [defect.message for defect in inspect(path).defects]
    assert len(messages) == MAX_DEFECTS_PER_KIND + 1
    assert messages[-1] == "and 5 more like these"


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        "C:/x",
        "c:x",
        "a\\b",
        "a\0b",
        "a\nb",
        "./a",
        "a//b",
        "a" * 5000,
        "a/./b",
        "",
        "/",
    ],
)
def test_unsafe_names(name: str) -> None:
    assert unsafe_name(name) is not None


@pytest.mark.parametrize("name", ["a", "a/b.py", "a/", "..a/b..", "a b", "ü/日本", "...", "ab:c"])
def test_safe_names(name: str) -> None:
    assert unsafe_name(name) is None


@pytest.mark.parametrize("name", ["aux", "pkg/NUL.py", "com1.txt", "a/trailing.", "a /b", "a:b", 'a"b', "x?"])
def test_names_that_windows_cannot_create(name: str) -> None:
    assert windows_name(name) is not None


@pytest.mark.parametrize("name", ["auxiliary.py", "pkg/console.py", "com10", "null", ".hidden", "a.b.c"])
def test_names_that_windows_can_create(name: str) -> None:
    assert windows_name(name) is None


@given(st.text(max_size=30))
@example("a/../b")
def test_a_safe_name_stays_below_its_directory_on_every_system(name: str) -> None:
    import ntpath
    import posixpath

    if unsafe_name(name) is not None:
        return
    for system, top in ((posixpath, "/top"), (ntpath, "D:\\top")):
        path = system.normpath(system.join(top, name))
        below = path.startswith(top + system.sep)
        # On Windows a colon in a name separates a stream, which windows_name refuses.
        assert below or windows_name(name) is not None
    name.encode()


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, unique=True))
@tmp_reuse
def test_archives_of_zipfile_are_read_the_same(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            if "\0" not in name:
                info = zipfile.ZipInfo(name)
                info.filename = name
                info.external_attr = 0
                archive.writestr(info, b"" if name.endswith("/") else name.encode())
    # On Windows, zipfile replaces backslashes by slashes.
    assume(os.sep == "/" or not any(os.sep in name for name in names))
    found = inspect(path)
    with zipfile.ZipFile(path) as archive:
        assert [entry.name for entry in found.members] == archive.namelist()
        for entry in found.files:
            assert found.read(entry, limit=100) == archive.read(entry.name)
    for name in names:
        if unsafe_name(name) is not None and "\0" not in name:
            assert DefectKind.NAME in {defect.kind for defect in found.defects}


@given(st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_damage_anywhere_is_found_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    """No damage crashes the reader, and zipfile reads a container without defects the same."""
    path = tmp_path / "pkg-1.0-py3-none-any.whl"
    if not path.exists():
        build_wheel(tmp_path, "pkg", files={"pkg/__init__.py": "x = 1\n", "pkg/ü.txt": "y" * 50})
        (tmp_path / "sound").write_bytes(path.read_bytes())
    sound = bytearray((tmp_path / "sound").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(sound) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "insert"]))
        if kind == "set":
            sound[place] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del sound[place : place + data.draw(st.integers(1, 8))]
        else:
            sound[place:place] = data.draw(st.binary(min_size=1, max_size=8))
    path.write_bytes(sound)
    found = inspect(path)
    try:
        contents = {entry.name: found.read(entry, limit=1 << 20) for entry in found.files}
    except WheelError:
        return
    if {defect.kind for defect in found.defects} <= TOLERATED_DEFECTS:
        with zipfile.ZipFile(path) as archive:
            assert {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")} == contents
