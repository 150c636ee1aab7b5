"""WHL2xx: metadata, names and tags."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator

from packaging.metadata import Metadata
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, parse_tag
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version

from pytest_wheelcheck.checks.base import Contents
from pytest_wheelcheck.wheels.reader import module_name, parse_entry_points

#: The Wheel-Version that installers must understand (PEP 427).
_WHEEL_VERSION = (1, 0)
#: What a ``.data`` folder may hold (PEP 427, «The .data directory»; the keys of ``sysconfig.get_paths``).
_SCHEMES = frozenset({"purelib", "platlib", "headers", "scripts", "data"})
#: Micro versions that are tried against Requires-Python.
_MICROS = range(40)
#: Minor versions that an abi3 wheel, or one for any Python of a major version, may be installed on.
_LAST_MINOR = 40

#: The forms that the entry points specification gives.
_OBJECT = re.compile(r"(?P<module>\w+(?:\.\w+)*)\s*(?::\s*(?P<attr>\w+(?:\.\w+)*)\s*)?(?:\[[^\]]*\]\s*)?")
_GROUP = re.compile(r"[\w-]+(\.[\w-]+)*")
_SCRIPT_GROUPS = ("console_scripts", "gui_scripts")

_PYTHON_TAG = re.compile(r"(?P<kind>py|cp|pp|ip|jy|graalpy)(?P<major>\d)(?P<minor>\d*)")
_ARCH = r"[a-z0-9_]+"
_PLATFORM = re.compile(
    rf"any|win32|win_amd64|win_arm64|win_ia64|win_arm32|linux_{_ARCH}|manylinux(?:1|2010|2014)_{_ARCH}"
    rf"|(?:manylinux|musllinux)_\d+_\d+_{_ARCH}|macosx_\d+_\d+_{_ARCH}|ios_\d+_\d+_{_ARCH}|android_\d+_{_ARCH}"
    rf"|(?:pyodide|pyemscripten|emscripten)_\d+_\d+(?:_\d+)?_wasm32|(?:freebsd|netbsd|openbsd|dragonfly)_{_ARCH}"
)
_ABI = re.compile(r"none|abi3|abi3t|cp\d{2,3}[a-z]*|pypy\d+_pp\d+|graalpy\d+_\d+_native|graalpy_\w+")


def file_name(contents: Contents) -> Iterator[str]:
    """Name and version of the file name in another spelling than the normal one."""
    wheel = contents.wheel
    name = canonicalize_name(wheel.name).replace("-", "_")
    if wheel.name != name:
        yield f"the name part is {wheel.name}, normalised it is {name}"
    version = str(Version(wheel.version))
    if wheel.version != version:
        yield f"the version part is {wheel.version}, normalised it is {version}"


def dist_info(contents: Contents) -> Iterator[str]:
    """Dist-info of another project or version."""
    wheel = contents.wheel
    name, _, version = wheel.dist_info.removesuffix(".dist-info").rpartition("-")
    if canonicalize_name(name) != canonicalize_name(wheel.name) or not same_version(version, wheel.version):
        yield f"the folder is {wheel.dist_info}, the file name says {wheel.name}-{wheel.version}"


def wheel_file(contents: Contents) -> Iterator[str]:
    """WHEEL missing, or of a version that installers refuse."""
    found = contents.wheel_file
    if found is None:
        yield f"there is no {contents.wheel.dist_info}/WHEEL"
        return
    version = found.get_all("Wheel-Version") or []
    if len(version) != 1 or re.fullmatch(r"\d{1,9}\.\d{1,9}", str(version[0]).strip()) is None:
        yield f"it has the Wheel-Version {', '.join(map(str, version)) or '(none)'} instead of one like 1.0"
    elif tuple(map(int, str(version[0]).strip().split("."))) > _WHEEL_VERSION:
        yield f"it has the Wheel-Version {version[0]}; installers know 1.0"
    pure = found.get_all("Root-Is-Purelib") or []
    if len(pure) != 1 or str(pure[0]).strip().lower() not in {"true", "false"}:
        yield f"it has the Root-Is-Purelib {', '.join(map(str, pure)) or '(none)'} instead of true or false"


def wheel_tags(contents: Contents) -> Iterator[str]:
    """Tags in WHEEL that are not those of the file name."""
    found = contents.wheel_file
    if found is None:
        return
    inside: set[Tag] = set()
    for line in map(str, found.get_all("Tag") or []):
        if (tags := _read_tag(line.strip())) is None:
            yield f"WHEEL has the tag {line}, which is none"
        else:
            inside |= tags
    outside = set(contents.wheel.tags)
    if missing := sorted(map(str, outside - inside)):
        yield f"the file name says {', '.join(missing)}; WHEEL does not"
    if extra := sorted(map(str, inside - outside)):
        yield f"WHEEL says {', '.join(extra)}; the file name does not"


def build_tag(contents: Contents) -> Iterator[str]:
    """Build tags in WHEEL that are not the file name's."""
    found = contents.wheel_file
    inside = "" if found is None else str(found.get("Build", "")).strip()
    if found is not None and inside != contents.wheel.build:
        yield f"the file name has the build tag {contents.wheel.build or '(none)'}, WHEEL {inside or '(none)'}"


def purelib(contents: Contents) -> Iterator[str]:
    """Extension modules in a wheel that says it is pure."""
    wheel, found = contents.wheel, contents.wheel_file
    if found is None or "any" in wheel.platforms:
        return  # any_platform tells it
    if str(found.get("Root-Is-Purelib", "")).strip().lower() == "true":
        data = contents.data_folder + "/"
        inside = set(wheel.extension_modules)
        # Modules below .data/platlib are where they should be whatever the root is.
        roots = [name for name, entry in contents.installed.items() if not entry.name.startswith(data)]
        for name in roots:
            if module_name(name) in inside:
                yield f"Root-Is-Purelib is true, but {name} is an extension module"


def any_platform(contents: Contents) -> Iterator[str]:
    """Extension modules in a wheel for any platform."""
    if "any" in contents.wheel.platforms:
        for module in contents.wheel.extension_modules:
            yield f"{module} is an extension module, but the platform tag is any"


def metadata_missing(contents: Contents) -> Iterator[str]:
    """No METADATA."""
    if contents.data("METADATA") is None:
        yield f"there is no {contents.wheel.dist_info}/METADATA"


def metadata_form(contents: Contents) -> Iterator[str]:
    """METADATA that ``packaging.metadata`` refuses."""
    data = contents.data("METADATA")
    if data is None:
        return
    try:
        Metadata.from_email(data, validate=True)
    except Exception as error:  # an ExceptionGroup, which Python 3.10 has not
        if not hasattr(error, "exceptions"):
            raise
        for one in error.exceptions:
            # setuptools wrote License-File for years before PEP 639 did; indexes let it pass.
            if not (getattr(one, "field", "") == "license-file" and "introduced in metadata version" in str(one)):
                yield str(one)


def metadata_names(contents: Contents) -> Iterator[str]:
    """Name or version in METADATA that are not the file name's."""
    wheel, text = contents.wheel, contents.text("METADATA")
    if text is None:
        return
    head = _headers(text)
    name, version = head.get("name", ""), head.get("version", "")
    if canonicalize_name(name) != canonicalize_name(wheel.name):
        yield f"METADATA says that the name is {name or '(nothing)'}, the file name says {wheel.name}"
    if not same_version(version, wheel.version):
        yield f"METADATA says that the version is {version or '(nothing)'}, the file name says {wheel.version}"


def requires_python(contents: Contents) -> Iterator[str]:
    """Requires-Python that refuses every interpreter that the tags admit."""
    text = contents.wheel.requires_python
    if text is None:
        return
    try:
        allowed = SpecifierSet(text)
    except InvalidSpecifier:
        return  # metadata_form tells it
    refused = []
    for interpreter, abi in dict.fromkeys((tag.interpreter, tag.abi) for tag in contents.wheel.tags):
        versions = admitted_versions(interpreter, abi)
        if not versions or any(allowed.contains(version, prereleases=True) for version in versions):
            return
        refused.append(f"{interpreter}-{abi}")
    yield f"Requires-Python is {text}, which refuses every interpreter that {', '.join(refused)} admits"


def description(contents: Contents) -> Iterator[str]:
    """Descriptions that an index cannot render. Any text is Markdown, so only reStructuredText can be wrong."""
    if contents.restructured and (reason := contents.rendering):
        yield reason


def entry_points(contents: Contents) -> Iterator[str]:
    """Entry points that cannot be read, named, or loaded."""
    text = contents.text("entry_points.txt")
    if text is None:
        return
    try:
        groups = parse_entry_points(text)
    except configparser.Error as error:
        yield f"entry_points.txt cannot be parsed: {' '.join(str(error).split())}"
        return
    for group, entries in groups.items():
        if _GROUP.fullmatch(group) is None:
            yield f"the group {group!r} is not a dotted name"
        for name, reference in entries.items():
            found = _OBJECT.fullmatch(reference.strip())
            if found is None:
                yield f"{name} of {group} refers to {reference!r}, which is not module or module:object"
            elif group in _SCRIPT_GROUPS and found["attr"] is None:
                yield f"{name} of {group} refers to {reference!r}, which names no function"


def script_names(contents: Contents) -> Iterator[str]:
    """Console scripts whose names are paths."""
    text = contents.text("entry_points.txt")
    try:
        groups = parse_entry_points(text or "")
    except configparser.Error:
        return  # entry_points tells it
    for group in _SCRIPT_GROUPS:
        for name in groups.get(group, {}):
            if name in {"", ".", ".."} or re.search(r"[/\\:\x00-\x1f]", name):
                yield f"{name!r} of {group} would be written outside the folder of scripts"


def script_modules(contents: Contents) -> Iterator[str]:
    """Console scripts whose module the wheel should have and has not."""
    wheel = contents.wheel
    text = contents.text("entry_points.txt")
    try:
        groups = parse_entry_points(text or "")
    except configparser.Error:
        return
    files = set(wheel.files)
    for group in _SCRIPT_GROUPS:
        for name, reference in groups.get(group, {}).items():
            found = _OBJECT.fullmatch(reference.strip())
            if found is None:
                continue
            module = found["module"]
            top = module.partition(".")[0]
            # A namespace package may get the module from another wheel, so only regular packages are judged.
            if f"{top}/__init__.py" not in files or module in wheel.extension_modules:
                continue
            path = module.replace(".", "/")
            if not files & {f"{path}.py", f"{path}/__init__.py", f"{path}.pyc", f"{path}/__init__.pyc"}:
                yield f"{name} of {group} needs the module {module}, which is not in the wheel"


def licence_files(contents: Contents) -> Iterator[str]:
    """Licence files that METADATA names and the wheel lacks."""
    text = contents.text("METADATA")
    if text is None:
        return
    lines = _header_lines(text)
    version = next((value for key, value in lines if key == "metadata-version"), "")
    try:
        if Version(version) < Version("2.4"):
            return
    except InvalidVersion:
        return  # metadata_form tells it
    for key, value in lines:
        place = f"{contents.wheel.dist_info}/licenses/{value}"
        if key == "license-file" and contents.archive.find(place) is None:
            yield f"METADATA names the licence file {value}; there is no {place}"


def data_folders(contents: Contents) -> Iterator[str]:
    """Folders for other places than site-packages that no installer knows."""
    own = contents.data_folder
    for entry in contents.archive.files:
        top, slash, rest = entry.name.partition("/")
        if not slash or not top.endswith(".data"):
            continue
        scheme = rest.partition("/")[0]
        if top != own:
            yield f"{top}/ belongs to no distribution in this wheel; {own}/ would"
        elif scheme not in _SCHEMES:
            yield f"{top}/{scheme} is for no place that installers know"


def known_tags(contents: Contents) -> Iterator[str]:
    """Tags that no interpreter or index knows."""
    for tag in contents.wheel.tags:
        if _PLATFORM.fullmatch(tag.platform) is None:
            yield f"{tag.platform} is no platform that indexes accept"
        if _PYTHON_TAG.fullmatch(tag.interpreter) is None and re.fullmatch(r"graalpy\w+", tag.interpreter) is None:
            yield f"{tag.interpreter} is no interpreter"
        if _ABI.fullmatch(tag.abi) is None:
            yield f"{tag.abi} is no ABI"


def same_version(first: str, second: str) -> bool:
    """Whether two texts are the same version (PEP 440)."""
    # The wheel specification writes - as _ in file names; only local versions have either (1.0+a-b).
    return canonicalize_version(first.replace("_", "-")) == canonicalize_version(second.replace("_", "-"))


def admitted_versions(interpreter: str, abi: str) -> list[str]:
    """Versions that the interpreter part of a tag admits, as texts; none where it does not tell.

    ``cp311-cp311`` admits 3.11.x; ``cp311-abi3`` and ``py311`` every 3.x from there on; ``py3`` every 3.x.
    """
    found = _PYTHON_TAG.fullmatch(interpreter)
    if found is None:
        return []
    major, minor = int(found["major"]), int(found["minor"] or 0)
    open_ended = abi.startswith("abi3") or found["kind"] == "py" or not found["minor"]
    last = _LAST_MINOR if open_ended else minor
    return [f"{major}.{number}.{micro}" for number in range(minor, last + 1) for micro in _MICROS]


def _read_tag(text: str) -> frozenset[Tag] | None:
    try:
        return parse_tag(text)
    except ValueError:
        return None


def _header_lines(text: str) -> list[tuple[str, str]]:
    """List the headers of METADATA, keys in lower case; continuation lines are left out."""
    head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    pairs = (line.partition(":") for line in head.splitlines() if not line.startswith((" ", "\t")))
    return [(key.strip().lower(), value.strip()) for key, colon, value in pairs if colon]


def _headers(text: str) -> dict[str, str]:
    return dict(reversed(_header_lines(text)))
