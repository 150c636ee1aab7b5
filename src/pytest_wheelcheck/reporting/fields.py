"""Reads the values of a report from JSON by the annotations of their classes, which also give the JSON Schema.

An annotation is a plain type, a class of values, a tuple or mapping of these, or a union with ``None``. ``Annotated`` with
:class:`OneOf` limits a text to some words.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

#: The names of types in JSON Schema. A JSON number without a fraction is also a ``float``.
_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", types.NoneType: "null"}

_PARAM = re.compile(r"^\s*:param (\w+): (.+?)(?=\n\s*:|\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class OneOf:
    """Limits a text to some words."""

    words: tuple[str, ...]


@cache
def _annotations(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def read(kind: type[T], data: object) -> T:
    """Read an object of a class. Unknown fields are ignored, and fields with a default may be missing.

    :raises TypeError: a value has another type.
    :raises KeyError: a field is missing, or has a word that is not one of its own.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"{type(data).__name__} instead of an object")
    annotations = _annotations(kind)  # type: ignore[arg-type]
    found = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in data:
            found[field.name] = _value(annotations[field.name], data[field.name], field.name)
        elif not _has_default(field):
            raise KeyError(field.name)
    return kind(**found)


def _value(annotation: Any, data: Any, name: str) -> Any:
    base, *further = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    origin, parts = get_origin(base), get_args(base)
    if is_dataclass(base) and isinstance(base, type):
        return read(base, data)
    if origin is tuple and isinstance(data, list):
        return tuple(_value(parts[0], each, name) for each in data)
    if origin is Mapping and isinstance(data, Mapping):
        return {_value(parts[0], key, name): _value(parts[1], each, name) for key, each in data.items()}
    values = (
        [part for part in parts if isinstance(part, type) and is_dataclass(part)] if origin is types.UnionType else []
    )
    if values:
        return None if data is None else read(values[0], data)
    plain = parts if origin is types.UnionType else (base,)
    if type(data) is int and float in plain:
        return float(data)
    if type(data) not in plain:
        raise TypeError(f"{name}: {type(data).__name__}")
    for limit in further:
        if data not in limit.words:
            raise KeyError(f"{name} {data!r}")
    return data


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def object_schema(kind: type) -> dict[str, Any]:
    """Return the JSON Schema of a class. Classes that it refers to are in ``#/$defs``."""
    annotations, texts = _annotations(kind), descriptions(kind)
    own = [field.name for field in fields(kind)]
    properties = {
        name: {"description": texts[name], **_schema(annotations[name])}
        if name in texts
        else _schema(annotations[name])
        for name in own
    }
    return {"type": "object", "description": summary(kind), "properties": properties, "required": own}


def _schema(annotation: Any) -> dict[str, Any]:
    base, *further = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    origin, parts = get_origin(base), get_args(base)
    if is_dataclass(base) and isinstance(base, type):
        return {"$ref": f"#/$defs/{base.__name__}"}
    if origin is tuple:
        return {"type": "array", "items": _schema(parts[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema(parts[1])}
    if origin is types.UnionType:
        if any(map(is_dataclass, parts)):
            return {"anyOf": list(map(_schema, parts))}
        return {"type": [_NAMES[part] for part in parts]}
    found: dict[str, Any] = {"type": _NAMES[base]}
    for limit in further:
        found["enum"] = list(limit.words)
    return found


def classes(kind: type) -> Iterator[type]:
    """Yield a class and those that its fields refer to, each once, in the order of the fields."""
    seen: dict[type, None] = {}
    _collect(kind, seen)
    yield from seen


def _collect(annotation: Any, seen: dict[type, None]) -> None:
    if is_dataclass(annotation) and isinstance(annotation, type):
        if annotation not in seen:
            seen[annotation] = None
            for each in _annotations(annotation).values():
                _collect(each, seen)
        return
    for part in get_args(annotation):
        _collect(part, seen)


def type_name(annotation: Any) -> str:
    """Return the type of a field in words."""
    base, *further = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    for limit in further:
        return ", ".join(f"`{word}`" for word in limit.words)
    origin, parts = get_origin(base), get_args(base)
    if is_dataclass(base) and isinstance(base, type):
        return base.__name__
    if origin is tuple:
        return f"list of {type_name(parts[0])}"
    if origin is Mapping:
        return f"object of {type_name(parts[1])}"
    if origin is types.UnionType:
        return " or ".join(map(type_name, parts))
    return _NAMES[base]


def field_rows(kind: type) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the type and the meaning of each field of a class."""
    annotations, texts = _annotations(kind), descriptions(kind)
    for field in fields(kind):
        yield field.name, type_name(annotations[field.name]), texts.get(field.name, "")


def summary(kind: type) -> str:
    """Return the first paragraph of a class's docstring."""
    return " ".join((kind.__doc__ or "").strip().partition("\n\n")[0].split())


def descriptions(kind: type) -> dict[str, str]:
    """Return the meanings of the fields as the docstring has them, with code in single backquotes."""
    texts = {name: " ".join(text.split()) for name, text in _PARAM.findall(kind.__doc__ or "")}
    return {name: text.replace("``", "`").rstrip(".") for name, text in texts.items()}
