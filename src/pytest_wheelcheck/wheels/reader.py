"""Opens a wheel safely and parses it, once, into a frozen :class:`~pytest_wheelcheck.model.Wheel`.

Nothing is unpacked to disk. The container is judged by :mod:`~pytest_wheelcheck.wheels.archive` first; what is parsed after
that is our own copy, so that the user's file may change meanwhile without harm.

Source: the binary distribution format (PEP 427), compatibility tags (PEP 425), core metadata, entry points, and
CPython's ``Python/dynload_shlib.c`` and ``dynload_win.c`` for the suffixes of extension modules.
"""

from __future__ import annotations

import configparser
import hashlib
import itertools
import keyword
import os
import re
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from packaging.metadata import RawMetadata, parse_email
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.wheels.archive import CHUNK, Archive, Entry, inspect

#: Bytes of a METADATA, WHEEL or entry_points.txt that are read. The largest METADATA published has about 2 MB.
MAX_TEXT = 16 << 20

_EXECUTABLE = 4  # bytes that tell an executable
_ELF = b"\x7fELF"
_MACHO = frozenset(
    bytes.fromhex(magic) for magic in ("feedface", "feedfacf", "cefaedfe", "cffaedfe", "cafebabe", "cafebabf")
)
_PE = b"MZ"

_EXTENSION = re.compile(r"(?P<stem>[^./]+)(?P<tag>(?:\.[^/]+)?)\.(?:so|pyd)")
_TAGGED = re.compile(r"\.(?:cpython-|cp\d|abi\d+t?$|pypy|graalpy)")
_PYO3 = re.compile(rb"pyo3-(\d{1,3}\.\d{1,3}\.\d{1,3}(?:-[0-9A-Za-z.]{1,20})?)[/\\]+src")


def open_wheel(path: Path, *, shown: str, store: Path) -> Wheel:
    """Copy a wheel, judge its container, and parse it.

    :param path: the user's file.
    :param shown: the path as it stands in node ids.
    :param store: folder for the copy, which becomes ``store/<first 16 digits of the sha256>/<file name>``.
    :raises WheelError: it cannot be read, its name is no wheel's, or its container is damaged, ambiguous or unsafe.
        What is merely wrong (metadata, RECORD) is left to the checks.
    """
    name, version, build, tags = parse_name(path.name, shown=shown)
    copy, digest, size = _copy(path, store, shown=shown)
    archive = inspect(copy)
    if archive.doubtful:
        raise WheelError(
            f"{shown} is not a wheel that may be opened: {archive.doubtful[0].message}",
            cause="the file is damaged, or made to be read differently by different programs",
            fix="build or download the wheel again; `wheelcheck checks` explains each code of the WHL1 family",
            details="\n".join(f"{problem.fault.value}: {problem.message}" for problem in archive.doubtful),
        )
    dist_info = find_dist_info(archive, shown=shown)
    metadata = read_metadata(archive, dist_info)
    data = dist_info.removesuffix(".dist-info") + ".data"
    installed = installed_files(archive, data)
    scripts = {entry.name.removeprefix(f"{data}/scripts/"): entry for entry in archive.files if _below(entry, data)}
    modules = find_modules(archive, installed)
    return Wheel(
        path=copy,
        shown=shown,
        source=Path(os.path.abspath(path)),  # noqa: PTH100 - links are kept as the user wrote them
        sha256=digest,
        size=size,
        name=name,
        version=version,
        build=build,
        tags=tags,
        dist_info=dist_info,
        requires_python=metadata.get("requires_python"),
        requires=tuple(metadata.get("requires_dist", ())),
        extras=tuple(metadata.get("provides_extra", ())),
        console_scripts=tuple(read_console_scripts(archive, dist_info)),
        files=tuple(sorted(installed)),
        scripts=tuple(sorted(scripts)),
        binaries=tuple(sorted(name for name, entry in scripts.items() if is_executable(archive.head(entry, 4)))),
        import_names=find_import_names(installed, modules),
        extension_modules=modules,
        classifiers=tuple(metadata.get("classifiers", ())),
    )


def parse_name(filename: str, *, shown: str = "") -> tuple[str, str, str, tuple[Tag, ...]]:
    """Name, version and build tag as a wheel's file name has them, and its tags, expanded in its order (PEP 425).

    :raises WheelError: it is not the file name of a wheel (PEP 427, «File name convention»).
    """
    try:
        parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise WheelError(
            f"{shown or filename} is not named like a wheel: {error}",
            cause="the file was renamed, or is no wheel",
            fix="a wheel is called name-version(-build)-python-abi-platform.whl; let the build tool name it",
        ) from error
    name, version, *build, python, abi, platform = filename.removesuffix(".whl").split("-")
    product = itertools.product(python.split("."), abi.split("."), platform.split("."))
    return name, version, "".join(build), tuple(dict.fromkeys(Tag(*parts) for parts in product))


def find_dist_info(archive: Archive, *, shown: str) -> str:
    """Find the one ``.dist-info`` folder of a wheel.

    :raises WheelError: there is none, or more than one.
    """
    tops = (entry.name.partition("/") for entry in archive.entries)
    found = sorted({top for top, slash, _ in tops if slash and top.endswith(".dist-info")})
    if len(found) == 1:
        return found[0]
    raise WheelError(
        f"{shown} has {len(found)} .dist-info folders: {', '.join(found)}"
        if found
        else f"{shown} has no .dist-info folder",
        cause="the file is an ordinary zip archive" if not found else "two wheels were merged into one archive",
        fix="build the wheel with a build backend: python -m build --wheel",
    )


def read_metadata(archive: Archive, dist_info: str) -> RawMetadata:
    """METADATA as far as it can be understood; empty where it is missing. The checks judge it.

    :raises WheelError: it cannot be unpacked, or has more than :data:`MAX_TEXT` bytes.
    """
    entry = archive.find(f"{dist_info}/METADATA")
    return {} if entry is None else parse_email(archive.read(entry, limit=MAX_TEXT))[0]


def read_console_scripts(archive: Archive, dist_info: str) -> list[tuple[str, str]]:
    """Name and object reference of each console script; none where ``entry_points.txt`` cannot be understood.

    :raises WheelError: as :func:`read_metadata`.
    """
    entry = archive.find(f"{dist_info}/entry_points.txt")
    text = "" if entry is None else archive.read(entry, limit=MAX_TEXT).decode("utf-8", "replace")
    try:
        groups = parse_entry_points(text)
    except configparser.Error:
        return []
    return list(groups.get("console_scripts", {}).items())


def parse_entry_points(text: str) -> dict[str, dict[str, str]]:
    """Parse an ``entry_points.txt`` into its groups, as its specification says: an ini file whose keys keep their case.

    :raises configparser.Error: it cannot be parsed.
    """
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return {group: dict(parser.items(group)) for group in parser.sections()}


def installed_files(archive: Archive, data: str) -> dict[str, Entry]:
    """Map the members by the name that they have below site-packages; others (scripts, headers, data) are left out.

    :param data: the name of the wheel's ``.data`` folder.
    """
    found: dict[str, Entry] = {}
    for entry in archive.files:
        name = entry.name
        if name.startswith(f"{data}/"):
            kind, _, name = name.removeprefix(f"{data}/").partition("/")
            if kind not in {"purelib", "platlib"} or not name:
                continue
        found.setdefault(name, entry)
    return found


def is_executable(head: bytes) -> bool:
    """Whether a file that starts with these bytes is a native executable or library (ELF, Mach-O, PE)."""
    return head.startswith((_ELF, _PE)) or head[:4] in _MACHO


def find_modules(archive: Archive, installed: dict[str, Entry]) -> tuple[str, ...]:
    """Full dotted names of the extension modules, sorted.

    A file whose suffix names an interpreter or ABI is a module. One with the bare suffix (``.so``, ``.pyd``) may be a
    plain library: it is a module where it holds the name of an init function of its own.

    :raises WheelError: a member that must be looked into cannot be unpacked.
    """
    found = set()
    for name, entry in installed.items():
        module = module_name(name)
        if module is None:
            continue
        if is_tagged(name) or contains(archive.chunks(entry), init_function(module)):
            found.add(module)
    return tuple(sorted(found))


def module_name(name: str) -> str | None:
    """Tell the dotted name of the module that a file would be, ``None`` where its path cannot be a module's.

    :param name: path below site-packages.
    """
    *folders, last = name.split("/")
    match = _EXTENSION.fullmatch(last)
    if match is None:
        return None
    parts = folders if match["stem"] == "__init__" and folders else [*folders, match["stem"]]
    return ".".join(parts) if all(map(_is_module_name, parts)) else None


def is_tagged(name: str) -> bool:
    """Whether a file's suffix names an interpreter or ABI: ``.cpython-311-…so``, ``.abi3.so``, ``.cp311-…pyd``."""
    match = _EXTENSION.fullmatch(name.rpartition("/")[2])
    return match is not None and _TAGGED.match(match["tag"]) is not None


def init_function(module: str) -> bytes:
    """Name the symbol that an import of a module looks for, ``PyInit_name`` (PEP 489, with its rule for other letters).

    :param module: its dotted name, of which the last part counts.
    """
    stem = module.rpartition(".")[2]
    if stem.isascii():
        return f"PyInit_{stem}".encode()
    return b"PyInitU_" + stem.encode("punycode").replace(b"-", b"_")


def contains(chunks: Iterable[bytes], symbol: bytes) -> bool:
    """Whether a symbol's name, with the zero byte that ends it, stands anywhere in a file.

    Every format keeps the names of exported symbols as plain strings that end with a zero byte, so this needs no
    parser, which a malformed file could crash. A library that only mentions the name is taken for a module as well.
    """
    needle = symbol + b"\0"
    kept = b""
    for chunk in chunks:
        if needle in kept + chunk:
            return True
        kept = chunk[-len(needle) :] if len(chunk) >= len(needle) else kept + chunk
    return False


def find_import_names(installed: Iterable[str], modules: Iterable[str]) -> tuple[str, ...]:
    """List the top-level names that can be imported: modules, packages and namespace packages (PEP 420).

    :param installed: paths below site-packages.
    :param modules: dotted names of the extension modules.
    """
    found = {module.partition(".")[0] for module in modules}
    for name in installed:
        *folders, last = name.split("/")
        stem, dot, suffix = last.rpartition(".")
        if not dot or suffix not in {"py", "pyc"} or "__pycache__" in folders:
            continue
        parts = [*folders, stem]
        if all(map(_is_module_name, parts)) and parts[0] not in {"__init__", "__main__"}:
            found.add(parts[0])
    return tuple(sorted(found))


def pyo3_version(data: bytes) -> str | None:
    """Find the version of PyO3 that built a module, where its panic locations tell it; ``None`` where they do not.

    They hold paths such as ``…/pyo3-0.25.1/src/gil.rs``, unless the build remapped or removed them.

    :param data: the bytes of the module, or the part of them to be looked at.
    """
    match = _PYO3.search(data)
    return None if match is None else match[1].decode()


def _is_module_name(part: str) -> bool:
    return part.isidentifier() and not keyword.iskeyword(part)


def _below(entry: Entry, data: str) -> bool:
    rest = entry.name.removeprefix(f"{data}/scripts/")
    return rest != entry.name and "/" not in rest


def _copy(path: Path, store: Path, *, shown: str) -> tuple[Path, str, int]:
    """Copy a file into the store, hashing it on the way: it is read once."""
    digest = hashlib.sha256()
    size = 0
    side: Path | None = None
    try:
        # Checked before it is opened: opening a pipe would wait for its other end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise WheelError(f"{shown} is not a file", fix="give the path of a .whl file, or of a folder of them")
        store.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as source, tempfile.NamedTemporaryFile(dir=store, prefix=".", delete=False) as target:
            side = Path(target.name)
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                target.write(chunk)
        copy = store / digest.hexdigest()[:16] / path.name
        copy.parent.mkdir(exist_ok=True)
        # One that is there is the same, and on Windows cannot be replaced while another process reads it.
        if not copy.exists():
            side.replace(copy)
    except OSError as error:
        raise WheelError(
            f"{shown} cannot be read: {error.strerror or error}",
            cause="the file is missing or not readable, or there is no room for a copy of it",
            fix=f"look at the file, and at the room left in {store}",
        ) from error
    finally:
        if side is not None:
            side.unlink(missing_ok=True)
    return copy, digest.hexdigest(), size
