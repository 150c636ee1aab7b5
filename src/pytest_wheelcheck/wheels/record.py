"""Reads RECORD, the list of a wheel's files with their hashes and sizes.

Source: PEP 376 and PEP 427, «The .dist-info directory»; the specification «Recording installed projects».
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of RECORD.

    :param path: as it stands there.
    :param algorithm: of the hash; empty where there is none.
    :param digest: raw; empty where there is none, or it cannot be decoded.
    :param size: bytes; ``None`` where there is none, or it is no number.
    :param fault: what is wrong with the form of the line; empty where nothing is.
    """

    path: str
    algorithm: str = ""
    digest: bytes = b""
    size: int | None = None
    fault: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A RECORD.

    :param fault: why it could not be read to its end; empty where it could.
    """

    lines: tuple[Line, ...]
    fault: str = ""


def parse_record(data: bytes) -> Record:
    """Read a RECORD; every fault of form is in the result."""
    lines: list[Line] = []
    try:
        rows = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
        lines.extend(_line(row) for row in rows if row)
    except UnicodeDecodeError as error:
        return Record(lines=tuple(lines), fault=f"it is not UTF-8: {error.reason} at byte {error.start}")
    except csv.Error as error:
        return Record(lines=tuple(lines), fault=f"it is no CSV after {len(lines)} lines: {error}")
    return Record(lines=tuple(lines))


def _line(row: list[str]) -> Line:
    path = row[0]
    if len(row) != 3:
        return Line(path=path, fault=f"{path} has {len(row)} fields instead of 3")
    algorithm, equals, text = row[1].partition("=")
    digest, size, fault = b"", None, ""
    if row[1] and not equals:
        fault = f"{path} has the hash {row[1][:80]!r}, which is not algorithm=digest"
    elif text:
        try:
            digest = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            fault = f"{path} has the digest {text[:80]!r}, which is not URL-safe base64"
    if row[2]:
        if row[2].isdecimal() and row[2].isascii() and len(row[2]) < 20:
            size = int(row[2])
        else:
            fault = f"{path} has the size {row[2][:80]!r}, which is no number"
    return Line(path=path, algorithm=algorithm.lower(), digest=digest, size=size, fault=fault)
