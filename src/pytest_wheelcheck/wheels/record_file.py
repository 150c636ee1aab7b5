"""Parses RECORD, the list of a wheel's files with their hashes and sizes.

Source: PEP 376 and PEP 427, "The .dist-info directory"; the specification "Recording installed projects".
``importlib.metadata`` also reads RECORD, but accepts malformed lines without a report, and reads UTF-8 leniently.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordEntry:
    """One line of RECORD.

    :param path: the path as written.
    :param algorithm: name of the hash algorithm, in lower case; empty if there is no hash.
    :param digest: the raw digest; empty if there is none, or it cannot be decoded.
    :param size: size in bytes; ``None`` if there is none, or it is not a number.
    :param error: what is wrong with the form of the line; empty if nothing is.
    """

    path: str
    algorithm: str = ""
    digest: bytes = b""
    size: int | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordFile:
    """A parsed RECORD.

    :param error: why it could not be read to its end; empty if it could.
    """

    entries: tuple[RecordEntry, ...]
    error: str = ""


def parse_record(data: bytes) -> RecordFile:
    """Parse a RECORD. The result contains all errors of form."""
    entries: list[RecordEntry] = []
    try:
        rows = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
        entries.extend(_parse_row(row) for row in rows if row)
    except UnicodeDecodeError as error:
        return RecordFile(
            entries=tuple(entries), error=f"RECORD is not valid UTF-8: {error.reason} at byte {error.start}"
        )
    except csv.Error as error:
        return RecordFile(entries=tuple(entries), error=f"RECORD is not valid CSV after {len(entries)} lines: {error}")
    return RecordFile(entries=tuple(entries))


def _parse_row(row: list[str]) -> RecordEntry:
    path = row[0]
    if len(row) != 3:
        return RecordEntry(path=path, error=f"{path} has {len(row)} fields instead of 3")
    algorithm, equals, text = row[1].partition("=")
    digest, size, error = b"", None, ""
    if row[1] and not equals:
        error = f"{path} has the hash {row[1][:80]!r}, which is not algorithm=digest"
    elif text:
        try:
            digest = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            error = f"{path} has the digest {text[:80]!r}, which is not URL-safe base64"
    if row[2]:
        if row[2].isdecimal() and row[2].isascii() and len(row[2]) < 20:
            size = int(row[2])
        else:
            error = f"{path} has the size {row[2][:80]!r}, which is not a number"
    return RecordEntry(path=path, algorithm=algorithm.lower(), digest=digest, size=size, error=error)
