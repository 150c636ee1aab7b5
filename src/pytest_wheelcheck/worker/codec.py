"""Encodes, decodes and checks the :mod:`.messages`, for both sides.

A message is a frame: four bytes, big-endian, the length in bytes; then a JSON object. In addition to the fields of its
type, each message of the worker has the run's ``nonce`` and the worker's ``pid``: a child that a test forked and code that
writes frames of its own are not taken for the worker.
"""

from __future__ import annotations

import json
import struct

from . import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Checker = Callable[[Any], str]

#: Bytes of the longest frame. A longer one is garbage, not a message.
FRAME_LIMIT = 1 << 30


class InvalidMessageError(ValueError):
    """A message does not follow the protocol."""


# --- checks ----------------------------------------------------------------------------------------------------------

#: Types of JSON values by their names in annotations. An int is a float, too (PEP 484).
_TYPES = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}


def _any(_value: object) -> str:
    return ""


def _plain(annotation: str) -> Checker:
    """Make the check of a value without parts, such as ``str | int``."""
    allowed = tuple(kind for name in annotation.split(" | ") for kind in _TYPES[name])

    def check(value: object) -> str:
        if type(value) in allowed or (isinstance(value, allowed) and type(value) is not bool):
            return ""
        return " is %s, not %s" % (type(value).__name__, annotation)

    return check


def _literal(annotation: str) -> Checker:
    allowed = _literals(annotation)

    def check(value: object) -> str:
        return "" if isinstance(value, str) and value in allowed else " is %.100r, not one of %r" % (value, allowed)

    return check


def _literals(annotation: str) -> tuple[str, ...]:
    """Return the values of ``Literal['a', 'b']``."""
    return tuple(part.strip("'\"") for part in annotation[len("Literal[") : -1].split(", "))


def _list(annotation: str) -> Checker:
    element = _checker(annotation)
    plain = {kind for name in annotation.split(" | ") for kind in _TYPES.get(name, ())}

    def check(value: object) -> str:
        if not isinstance(value, list):
            return " is %s, not list" % type(value).__name__
        if plain.issuperset(map(type, value)):
            return ""
        for index, part in enumerate(value):
            problem = element(part)
            if problem:
                return "[%d]%s" % (index, problem)
        return ""

    return check


def _dict(element: Checker) -> Checker:
    def check(value: object) -> str:
        if not isinstance(value, dict):
            return " is %s, not dict" % type(value).__name__
        if element is not _any:
            for name, part in value.items():
                problem = element(part)
                if problem:
                    return "[%r]%s" % (name, problem)
        return ""

    return check


def _optional(other: Checker) -> Checker:
    def check(value: object) -> str:
        return "" if value is None else other(value)

    return check


def _fields(declared: type) -> Checker:
    """Make the check of a class of :mod:`.messages`: a JSON object with these fields."""
    fields = {name: _checker(annotation) for name, annotation in _annotations(declared).items()}

    def check(value: object) -> str:
        if not isinstance(value, dict):
            return " is %s, not %s" % (type(value).__name__, declared.__name__)
        if value.keys() != fields.keys():
            missing = [name for name in fields if name not in value]
            if missing:
                return " has no field %r" % missing[0]
            return " has the unknown field %r" % next(name for name in value if name not in fields)
        for name, field in fields.items():
            problem = field(value[name])
            if problem:
                return ".%s%s" % (name, problem)
        return ""

    return check


def _annotations(declared: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(declared.__mro__):
        found.update(getattr(base, "__annotations__", {}))
    return found


def _checker(annotation: str) -> Checker:
    """Make the check of an annotation. It returns where a value is wrong and how, or an empty string."""
    if annotation.endswith(" | None"):
        return _optional(_checker(annotation[: -len(" | None")]))
    if annotation.startswith("Literal["):
        return _literal(annotation)
    if annotation.startswith("list["):
        return _list(annotation[len("list[") : -1])
    if annotation.startswith("dict[str, "):
        return _dict(_checker(annotation[len("dict[str, ") : -1]))
    if annotation == "Any":
        return _any
    declared = getattr(messages, annotation, None)
    return _plain(annotation) if declared is None else _fields(declared)


def _by_type(classes: Any) -> dict[str, Checker]:
    return {_literals(_annotations(declared)["type"])[0]: _fields(declared) for declared in classes}


#: The checks of one direction, by the types of its messages.
FROM_CONTROLLER = _by_type(messages.FromController)
FROM_WORKER = _by_type(messages.FromWorker)

_check_import_result = _fields(messages.ImportResult)
_check_imported = _fields(messages.Imported)


def check(message: Any, known: dict[str, Checker]) -> None:
    """Check one message.

    :param known: :data:`FROM_CONTROLLER` or :data:`FROM_WORKER`.
    :raises InvalidMessageError: its type is unknown, it is of another protocol, or a field is missing, unknown or wrong.
    """
    kind = message.get("type")
    checker = known.get(kind) if isinstance(kind, str) else None
    if checker is None:
        raise InvalidMessageError("unknown type %.100r" % (kind,))
    # Before the fields: another version may have others.
    if "protocol" in message and message["protocol"] != messages.PROTOCOL:
        raise InvalidMessageError("%s is of protocol %.100r, not %d" % (kind, message["protocol"], messages.PROTOCOL))
    problem = checker(message)
    if problem:
        raise InvalidMessageError("%s%s" % (kind, problem))


def check_import_result(result: Any) -> bool:
    """Say whether a value is an :class:`~.messages.ImportResult`."""
    return not _check_import_result(result)


def check_imported(message: Any) -> bool:
    """Say whether a value is an :class:`~.messages.Imported`."""
    return not _check_imported(message)


# --- frames ----------------------------------------------------------------------------------------------------------

# Bound here: code under test may replace the functions of these modules.
_to_json = json.JSONEncoder(default=repr).encode
_from_json = json.JSONDecoder().decode
_length = struct.Struct(">I")

#: Bytes before the JSON object of a frame.
HEADER = _length.size


def encode(message: Any, known: dict[str, Checker], **envelope: object) -> bytes:
    """Check a message and return its frame.

    :param known: :data:`FROM_CONTROLLER` or :data:`FROM_WORKER`.
    :param envelope: ``nonce`` and ``pid`` of a worker.
    :raises InvalidMessageError: see :func:`check`; or it is too long.
    """
    check(message, known)
    return frame(message, **envelope)


def frame(message: Any, **envelope: object) -> bytes:
    """Return the frame of a message that was checked.

    :raises InvalidMessageError: it is too long.
    """
    body = _to_json(dict(message, **envelope)).encode("ascii")
    if len(body) > FRAME_LIMIT:
        raise InvalidMessageError("%s has %d bytes" % (message["type"], len(body)))
    return _length.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """Return how many bytes follow the header of a frame.

    :raises InvalidMessageError: too many.
    """
    length: int = _length.unpack(header)[0]
    if length > FRAME_LIMIT:
        raise InvalidMessageError("a frame of %d bytes" % length)
    return length


def decode(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a frame, with its envelope, unchecked.

    :raises InvalidMessageError: it is no JSON object.
    """
    try:
        message = _from_json(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidMessageError("no JSON: %s" % error) from error
    if not isinstance(message, dict):
        raise InvalidMessageError("no JSON object: %.100r" % (message,))
    return message


def take_messages(data: bytearray) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of all complete frames at the beginning of what was received, and remove these.

    :raises InvalidMessageError: see :func:`decode` and :func:`body_length`.
    """
    start = 0
    while len(data) >= start + HEADER:
        begin = start + HEADER
        end = begin + body_length(bytes(data[start:begin]))
        if len(data) < end:
            break
        yield decode(bytes(data[begin:end]))
        start = end
    del data[:start]
