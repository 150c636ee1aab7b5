"""Wheels for the tests: real zip files, made from a dict, the same bytes every time.

:func:`build_wheel` makes sound wheels and, through its overrides, wheels with one fault in their metadata.
:func:`write_zip` writes an archive field by field, for the faults that no library would write.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

#: The oldest moment that a zip can name; every member has it, so that equal contents are equal files.
EPOCH = (1980, 1, 1, 0, 0, 0)


def member(name: str, *, mode: int = 0o100644, method: int = ZIP_DEFLATED) -> ZipInfo:
    """A member's header: *mode* as ``st_mode`` has it, file type included."""
    info = ZipInfo(name, date_time=EPOCH)
    info.create_system = 3
    info.compress_type = method
    info.external_attr = mode << 16
    return info


def build_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    files: Mapping[str, bytes | str] = {},
    *,
    tags: Sequence[str] = ("py3-none-any",),
    build: str = "",
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    extras: Sequence[str] = (),
    entry_points: str | Mapping[str, Mapping[str, str]] | None = None,
    metadata_extra: str = "",
    description: str = "",
    metadata: str | bytes | None = None,
    wheel_file: str | bytes | None = None,
    wheel_tags: Sequence[str] | None = None,
    wheel_extra: str = "",
    purelib: bool | None = None,
    dist_info: str | None = None,
    record: str | bytes | None = None,
    modes: Mapping[str, int] = {},
    filename: str | None = None,
) -> Path:
    """Write a wheel into *folder* and return its path. Everything is sound unless an override says otherwise.

    :param name: distribution name; ``-`` becomes ``_`` in the file name.
    :param files: contents by their names in the archive; ``name-version.data/…`` and dist-info files are taken too.
    :param tags: whole tags; several are compressed into one file name, and must be the product of their parts.
    :param entry_points: groups, or the text of ``entry_points.txt``.
    :param metadata_extra: further header lines of METADATA.
    :param metadata: the whole METADATA instead; an empty string leaves the file out.
    :param wheel_file: the whole WHEEL instead; an empty string leaves the file out.
    :param wheel_tags: the tags in WHEEL, where they are to differ from the file name's.
    :param wheel_extra: further lines of WHEEL.
    :param purelib: ``Root-Is-Purelib``; by default whether the platform is ``any``.
    :param dist_info: the name of the dist-info folder, where it is to differ from the file name's.
    :param record: the whole RECORD instead; an empty string leaves the file out.
    :param modes: ``st_mode`` of members, where it is not that of a plain file.
    :param filename: the whole file name instead.
    """
    stem = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    if filename is None:
        filename = "-".join(filter(None, [stem, version, build, compress_tags(tags)])) + ".whl"
    info = dist_info or f"{stem}-{version}.dist-info"
    if metadata is None:
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [] if requires_python is None else [f"Requires-Python: {requires_python}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        lines += [f"Provides-Extra: {extra}" for extra in extras]
        metadata = "\n".join([*lines, metadata_extra.strip("\n")]).rstrip("\n") + "\n"
        metadata += f"\n{description}" if description else ""
    if wheel_file is None:
        pure = all(tag.endswith("-any") for tag in tags) if purelib is None else purelib
        lines = ["Wheel-Version: 1.0", "Generator: builders", f"Root-Is-Purelib: {str(pure).lower()}"]
        lines += [f"Build: {build}"] if build else []
        lines += [f"Tag: {tag}" for tag in (tags if wheel_tags is None else wheel_tags)]
        wheel_file = "\n".join([*lines, wheel_extra.strip("\n")]).rstrip("\n") + "\n"
    if isinstance(entry_points, Mapping):
        entry_points = "\n".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
            for group, entries in entry_points.items()
        )
    members: dict[str, bytes | str] = dict(files)
    own: dict[str, bytes | str | None] = {"METADATA": metadata, "WHEEL": wheel_file, "entry_points.txt": entry_points}
    members |= {f"{info}/{file}": data for file, data in own.items() if data}
    if record is None:
        record = make_record(members, f"{info}/RECORD")
    if record:
        members[f"{info}/RECORD"] = record
    path = folder / filename
    with ZipFile(path, "w") as archive:
        for file, data in members.items():
            archive.writestr(member(file, mode=modes.get(file, 0o100644)), data)
    return path


def make_record(members: Mapping[str, bytes | str], own: str) -> str:
    """The text of a RECORD over *members*; *own* is its own name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for file, data in members.items():
        raw = data.encode() if isinstance(data, str) else data
        digest = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
        writer.writerow((file, f"sha256={digest}", len(raw)))
    writer.writerow((own, "", ""))
    return text.getvalue()


def compress_tags(tags: Sequence[str]) -> str:
    """The compressed tag set of a file name (PEP 425)."""
    parts = [list(dict.fromkeys(part)) for part in zip(*(tag.split("-") for tag in tags), strict=True)]
    product = {"-".join(parts) for parts in itertools.product(*parts)}
    assert product == set(tags), f"a file name cannot say {tags}: it would mean {sorted(product)}"
    return "-".join(".".join(part) for part in parts)


@dataclass(kw_only=True)
class Raw:
    """One member of :func:`write_zip`: every field as it is to stand in the file, right by default.

    ``local_…`` override the local header alone; ``lie_…`` stand in both headers.
    """

    name: bytes
    data: bytes = b""
    method: int = 0
    flags: int = 0
    needs: int = 20
    mode: int = 0o100644
    system: int = 3
    extra: bytes = b""
    compressed: bytes | None = None
    lie_crc: int | None = None
    lie_size: int | None = None
    lie_compressed: int | None = None
    lie_offset: int | None = None
    local_name: bytes | None = None
    local_method: int | None = None
    local_flags: int | None = None
    local_crc: int | None = None
    local_size: int | None = None
    local_compressed: int | None = None
    local_extra: bytes = b""
    descriptor: bytes = b""
    central: bool = True
    local: bool = True
    comment: bytes = b""

    def stream(self) -> bytes:
        """The stored bytes of the member."""
        if self.compressed is not None:
            return self.compressed
        if self.method == 8:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            return packer.compress(self.data) + packer.flush()
        return self.data


def write_zip(
    path: Path,
    members: Sequence[Raw],
    *,
    before: bytes = b"",
    between: bytes = b"",
    after: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
    central_size: int | None = None,
    central_offset: int | None = None,
    end: bytes | None = None,
) -> Path:
    """Write a zip archive field by field (APPNOTE.TXT 4.3).

    :param before: bytes in front of the first member; offsets count them.
    :param between: bytes between the last member and the central directory.
    :param after: bytes behind the end record and its *comment*.
    :param count: number of members that the end record claims.
    :param end: the whole end record instead.
    """
    body = bytearray(before)
    central = bytearray()
    for entry in members:
        stream = entry.stream()
        crc = zlib.crc32(entry.data) if entry.lie_crc is None else entry.lie_crc
        size = len(entry.data) if entry.lie_size is None else entry.lie_size
        compressed = len(stream) if entry.lie_compressed is None else entry.lie_compressed
        offset = len(body) if entry.lie_offset is None else entry.lie_offset
        if entry.local:
            name = entry.name if entry.local_name is None else entry.local_name
            body += struct.pack(
                "<4s5H3I2H",
                b"PK\3\4",
                20,
                entry.flags if entry.local_flags is None else entry.local_flags,
                entry.method if entry.local_method is None else entry.local_method,
                0,
                0x21,
                crc if entry.local_crc is None else entry.local_crc,
                compressed if entry.local_compressed is None else entry.local_compressed,
                size if entry.local_size is None else entry.local_size,
                len(name),
                len(entry.local_extra),
            )
            body += name + entry.local_extra + stream + entry.descriptor
        if entry.central:
            central += struct.pack(
                "<4s2B5H3I5H2I",
                b"PK\1\2",
                20,
                entry.system,
                entry.needs,
                entry.flags,
                entry.method,
                0,
                0x21,
                crc,
                compressed,
                size,
                len(entry.name),
                len(entry.extra),
                len(entry.comment),
                0,
                0,
                (entry.mode << 16) & 0xFFFFFFFF,
                offset,
            )
            central += entry.name + entry.extra + entry.comment
    body += between
    if end is None:
        number = sum(entry.central for entry in members) if count is None else count
        end = struct.pack(
            "<4s4H2IH",
            b"PK\5\6",
            0,
            0,
            number,
            number,
            len(central) if central_size is None else central_size,
            len(body) if central_offset is None else central_offset,
            len(comment),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(body) + bytes(central) + end + comment + after)
    return path
