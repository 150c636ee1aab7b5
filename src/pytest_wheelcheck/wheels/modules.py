"""Names of the modules in a wheel, derived from its files.

Source: CPython's ``Python/dynload_shlib.c`` and ``dynload_win.c`` for the suffixes of extension modules, PEP 489 for
init functions, PEP 420 for namespace packages.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping

from pytest_wheelcheck.wheels.container import Container, Member

_EXTENSION = re.compile(r"(?P<stem>[^./]+)(?P<tag>(?:\.[^/]+)?)\.(?:so|pyd)")
_TAGGED = re.compile(r"\.(?:cpython-|cp\d|abi\d+t?$|pypy|graalpy)")
_PYO3 = re.compile(rb"pyo3-(\d{1,3}\.\d{1,3}\.\d{1,3}(?:-[0-9A-Za-z.]{1,20})?)[/\\]+src")


def find_extension_modules(container: Container, installed: Mapping[str, Member]) -> tuple[str, ...]:
    """Return the full dotted names of the extension modules, sorted.

    A file whose suffix names an interpreter or ABI is a module. A file with a bare suffix (``.so``, ``.pyd``) may be a
    plain library: it is a module if it contains the name of its init function.

    :param installed: members by their paths below site-packages.
    :raises WheelError: a member cannot be unpacked.
    """
    modules = set()
    for path, member in installed.items():
        module = module_name(path)
        if module is None:
            continue
        if is_tagged(path) or contains_symbol(container.chunks(member), init_function(module)):
            modules.add(module)
    return tuple(sorted(modules))


def module_name(path: str) -> str | None:
    """Return the dotted name of the extension module that a file would be; ``None`` if its path is not a module's.

    :param path: path below site-packages.
    """
    *parents, filename = path.split("/")
    match = _EXTENSION.fullmatch(filename)
    if match is None:
        return None
    parts = parents if match["stem"] == "__init__" and parents else [*parents, match["stem"]]
    return ".".join(parts) if all(map(_is_identifier, parts)) else None


def is_tagged(path: str) -> bool:
    """Whether a file's suffix names an interpreter or ABI: ``.cpython-311-…so``, ``.abi3.so``, ``.cp311-…pyd``."""
    match = _EXTENSION.fullmatch(path.rpartition("/")[2])
    return match is not None and _TAGGED.match(match["tag"]) is not None


def init_function(module: str) -> bytes:
    """Return the symbol that an import of a module looks up: ``PyInit_name``, or the encoded form of PEP 489.

    :param module: its dotted name. Only the last part counts.
    """
    stem = module.rpartition(".")[2]
    if stem.isascii():
        return f"PyInit_{stem}".encode()
    return b"PyInitU_" + stem.encode("punycode").replace(b"-", b"_")


def contains_symbol(chunks: Iterable[bytes], symbol: bytes) -> bool:
    """Whether a file contains a symbol's name, followed by a zero byte.

    Every format stores the names of exported symbols as plain strings that end with a zero byte. So no parser is
    needed, which a malformed file could crash. A library that only mentions the name also counts as a module.
    """
    needle = symbol + b"\0"
    tail = b""
    for chunk in chunks:
        if needle in tail + chunk:
            return True
        tail = chunk[-len(needle) :] if len(chunk) >= len(needle) else tail + chunk
    return False


def find_import_names(installed: Iterable[str], modules: Iterable[str]) -> tuple[str, ...]:
    """Return the top-level names that can be imported: modules, packages and namespace packages (PEP 420), sorted.

    :param installed: paths below site-packages.
    :param modules: dotted names of the extension modules.
    """
    names = {module.partition(".")[0] for module in modules}
    for path in installed:
        *parents, filename = path.split("/")
        stem, dot, suffix = filename.rpartition(".")
        if not dot or suffix not in {"py", "pyc"} or "__pycache__" in parents:
            continue
        parts = [*parents, stem]
        if all(map(_is_identifier, parts)) and parts[0] not in {"__init__", "__main__"}:
            names.add(parts[0])
    return tuple(sorted(names))


def pyo3_version(data: bytes) -> str | None:
    """Return the version of PyO3 that built a module, from its panic locations; ``None`` if it has none.

    The locations are paths such as ``…/pyo3-0.25.1/src/gil.rs``, unless the build remapped or removed them.

    :param data: the bytes of the module, or a part of them.
    """
    match = _PYO3.search(data)
    return None if match is None else match[1].decode()


def _is_identifier(part: str) -> bool:
    return part.isidentifier() and not keyword.iskeyword(part)
