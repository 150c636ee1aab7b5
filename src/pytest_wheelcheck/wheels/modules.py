"""Names of the modules in a wheel, derived from its files.

Source: CPython's ``Python/dynload_shlib.c`` and ``dynload_win.c`` for the suffixes of extension modules, PEP 489 for
init functions, PEP 420 for namespace packages.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping

from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.wheels.binary import Binary
from pytest_wheelcheck.wheels.bounded import read_members
from pytest_wheelcheck.wheels.container import Container, Member

_EXTENSION = re.compile(r"(?P<stem>[^./]+)(?P<tag>(?:\.[^/]+)?)\.(?:so|pyd)")
_TAGGED = re.compile(r"\.(?:cpython-|cp\d|abi\d+t?$|pypy|graalpy)")
_LIBRARY = re.compile(r"\.(?:so|pyd|dll|dylib)(?:\.|$)")
_OF_INTERPRETER = re.compile(
    r"\.(?:cpython-|cp)(?P<version>\d{2,3})(?P<flags>[a-z]*)-(?P<platform>[\w-]+)|\.pypy(?P<pypy>\d{2,3})-pp\d+-(?P<host>[\w-]+)"
)
_PYO3 = re.compile(rb"pyo3-(\d{1,3}\.\d{1,3}\.\d{1,3}(?:-[0-9A-Za-z.]{1,20})?)[/\\]+src")


def find_extension_modules(container: Container, installed: Mapping[str, Member]) -> tuple[str, ...]:
    """Return the full dotted names of the extension modules, sorted.

    A file is a module if it contains the name of its init function. Without it, a file with the bare suffix ``.so`` is a
    plain library. A ``.pyd``, and a file whose suffix names an interpreter or ABI, is a broken module, unless a parser finds
    that it is a plain library: setuptools gives these suffixes to everything that it compiles, also to what is loaded with
    cffi or ctypes. A library without an init function may use Python if other files are linked against it. For Windows
    setuptools also demands an init function, so a ``.pyd`` may be a plain library that has one.

    :param installed: members by their paths below site-packages.
    :raises WheelError: a member cannot be unpacked.
    """
    modules: set[str] = set()
    unsure: dict[str, str] = {}
    for path, member in installed.items():
        module = module_name(path)
        if module is None:
            continue
        if not contains(container.chunks(member), init_function(module) + b"\0"):
            unsure |= {member.name: module} if is_tagged(path) or path.endswith(".pyd") else {}
        elif path.endswith(".pyd") and not contains(map(bytes.lower, container.chunks(member)), b"python"):
            unsure[member.name] = module
        else:
            modules.add(module)
    plain = _plain_libraries(container, unsure) if unsure else frozenset()
    modules.update(module for name, module in unsure.items() if name not in plain)
    return tuple(sorted(modules))


def _plain_libraries(container: Container, modules: Mapping[str, str]) -> frozenset[str]:
    """Return those of some members that are plain libraries, in all their slices.

    :param modules: the dotted name of each member, if it were a module.
    """
    try:
        found = read_members(container.path, modules)
    except ProcessError:
        return frozenset()  # the checks that read native files report it
    files = {member.name.rpartition("/")[2].lower() for member in container.files}
    plain = {
        name
        for name, slices in found.items()
        # pycryptodome's functions for one processor are in universal files whose other slice is empty.
        if (filled := [binary for binary in slices if not binary.is_empty_library])
        and all(
            binary.is_plain_library(init_function(modules[name]).decode("ascii"))
            # Otherwise a library of the wheel may contain the module.
            and not (binary.init_functions and files & {library.lower() for library in binary.needed})
            for binary in filled
        )
    }
    others = [
        name for name, slices in found.items() if name not in plain and slices and all(map(_may_be_linked, slices))
    ]
    return frozenset(plain | _find_linked(container, others))


def _may_be_linked(binary: Binary) -> bool:
    return binary.kind == "library" and binary.exports and not (binary.init_functions or binary.error)


def _find_linked(container: Container, names: Iterable[str]) -> set[str]:
    """Return those of some members that another native file names as it names the libraries that it is linked against.

    Each file is unpacked once, whatever the number of names.
    """
    missing = {name: name.rpartition("/")[2].encode("utf-8", "surrogateescape") + b"\0" for name in names}
    linked: set[str] = set()
    for member in container.files:
        texts = {name: text for name, text in missing.items() if name not in linked and name != member.name}
        if texts and _LIBRARY.search(member.name):
            present = contained(container.chunks(member), texts.values())
            linked.update(name for name, text in texts.items() if text in present)
    return linked


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


def describe_suffix(path: str) -> str:
    """Return the interpreter and the platform that a file's suffix names; an empty string if it names none.

    >>> describe_suffix("pkg/_native.cpython-313t-x86_64-linux-gnu.so")
    'free-threaded CPython 3.13 on x86_64-linux-gnu'
    """
    match = _EXTENSION.fullmatch(path.rpartition("/")[2])
    found = match and _OF_INTERPRETER.fullmatch(match["tag"])
    if not found:
        return ""
    number = found["version"] or found["pypy"]
    name = "PyPy" if found["pypy"] else "free-threaded CPython" if "t" in found["flags"] else "CPython"
    return f"{name} {number[0]}.{number[1:]} on {found['platform'] or found['host']}"


def init_function(module: str) -> bytes:
    """Return the symbol that an import of a module looks up: ``PyInit_name``, or the encoded form of PEP 489.

    :param module: its dotted name. Only the last part counts.
    """
    stem = module.rpartition(".")[2]
    if stem.isascii():
        return f"PyInit_{stem}".encode()
    return b"PyInitU_" + stem.encode("punycode").replace(b"-", b"_")


def contains(chunks: Iterable[bytes], needle: bytes) -> bool:
    """Whether a file contains some bytes; see :func:`contained`."""
    return bool(contained(chunks, (needle,)))


def contained(chunks: Iterable[bytes], needles: Iterable[bytes]) -> set[bytes]:
    """Return those of some bytes that a file contains, such as a symbol's name and a zero byte.

    Every format stores the names of exported symbols and of needed libraries as plain strings that end with a zero byte.
    So no parser is needed, which a malformed file could crash. A library that only mentions the name also counts as a module.
    """
    missing = set(needles)
    found: set[bytes] = set()
    longest = max(map(len, missing), default=0)
    tail = b""
    for chunk in chunks:
        text = tail + chunk
        new = {needle for needle in missing if needle in text}
        found |= new
        missing -= new
        if not missing:
            break
        tail = text[-longest:]
    return found


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
