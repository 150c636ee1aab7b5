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

from pytest_wheelcheck.checks.contents import Contents
from pytest_wheelcheck.wheels.dist_info import parse_entry_points
from pytest_wheelcheck.wheels.modules import is_tagged, module_name

#: The newest Wheel-Version that installers must support (PEP 427).
_WHEEL_VERSION = (1, 0)
#: Subdirectories that a ``.data`` directory may have (PEP 427, "The .data directory"; keys of
#: ``sysconfig.get_paths``).
_SCHEMES = frozenset({"purelib", "platlib", "headers", "scripts", "data"})
#: Micro versions that are compared with Requires-Python.
_MICROS = range(40)
#: The last minor version on which an abi3 wheel, or one for any Python of a major version, may be installed.
_LAST_MINOR = 40

# importlib.metadata.EntryPoint accepts empty parts of a dotted name, so the forms of the entry points specification
# are written out here.
_OBJECT_REFERENCE = re.compile(r"(?P<module>\w+(?:\.\w+)*)\s*(?::\s*(?P<attr>\w+(?:\.\w+)*)\s*)?(?:\[[^\]]*\]\s*)?")
_GROUP = re.compile(r"[\w-]+(\.[\w-]+)*")
_SCRIPT_GROUPS = ("console_scripts", "gui_scripts")

# packaging.tags lists the tags of the running interpreter only, so the forms of all known tags are written out here.
_PYTHON_TAG = re.compile(r"(?P<kind>py|cp|pp|ip|jy|graalpy)(?P<major>\d)(?P<minor>\d*)")
_ARCH = r"[a-z0-9_]+"
_PLATFORM = re.compile(
    rf"any|win32|win_amd64|win_arm64|win_ia64|win_arm32|linux_{_ARCH}|manylinux(?:1|2010|2014)_{_ARCH}"
    rf"|(?:manylinux|musllinux)_\d+_\d+_{_ARCH}|macosx_\d+_\d+_{_ARCH}|ios_\d+_\d+_{_ARCH}|android_\d+_{_ARCH}"
    rf"|(?:pyodide|pyemscripten|emscripten)_\d+_\d+(?:_\d+)?_wasm32|(?:freebsd|netbsd|openbsd|dragonfly)_{_ARCH}"
)
_ABI = re.compile(r"none|abi3|abi3t|cp\d{2,3}[a-z]*|pypy\d+_pp\d+|graalpy\d+_\d+_native|graalpy_\w+")


# File name, .dist-info and WHEEL --------------------------------------------------------------------------------------


def file_name(contents: Contents) -> Iterator[str]:
    """Find a file name whose name or version is not normalized."""
    wheel = contents.wheel
    name = canonicalize_name(wheel.name).replace("-", "_")
    if wheel.name != name:
        yield f"the name in the file name is {wheel.name}, its normalized form is {name}"
    version = str(Version(wheel.version))
    if wheel.version != version:
        yield f"the version in the file name is {wheel.version}, its normalized form is {version}"


def dist_info(contents: Contents) -> Iterator[str]:
    """Find a ``.dist-info`` directory of another project or version."""
    wheel = contents.wheel
    name, _, version = wheel.dist_info.removesuffix(".dist-info").rpartition("-")
    if canonicalize_name(name) != canonicalize_name(wheel.name) or not same_version(version, wheel.version):
        yield f"the directory is {wheel.dist_info}, but the file name has {wheel.name}-{wheel.version}"


def wheel_file(contents: Contents) -> Iterator[str]:
    """Find a WHEEL that is missing, or has a version that installers refuse."""
    headers = contents.wheel_file
    if headers is None:
        yield f"there is no {contents.wheel.dist_info}/WHEEL"
        return
    versions = [str(value) for value in headers.get_all("Wheel-Version") or []]
    if len(versions) != 1 or re.fullmatch(r"\d{1,9}\.\d{1,9}", versions[0].strip()) is None:
        yield f"Wheel-Version is {', '.join(versions) or 'missing'}, expected a version such as 1.0"
    elif tuple(map(int, versions[0].strip().split("."))) > _WHEEL_VERSION:
        yield f"Wheel-Version is {versions[0]}; installers support 1.0"
    purelibs = [str(value) for value in headers.get_all("Root-Is-Purelib") or []]
    if len(purelibs) != 1 or purelibs[0].strip().lower() not in {"true", "false"}:
        yield f"Root-Is-Purelib is {', '.join(purelibs) or 'missing'}, expected true or false"


def wheel_tags(contents: Contents) -> Iterator[str]:
    """Find tags in WHEEL that are not those of the file name."""
    headers = contents.wheel_file
    if headers is None:
        return
    inside: set[Tag] = set()
    for value in map(str, headers.get_all("Tag") or []):
        if (tags := _parse_tag(value.strip())) is None:
            yield f"WHEEL has the invalid tag {value}"
        else:
            inside |= tags
    outside = set(contents.wheel.tags)
    if missing := sorted(map(str, outside - inside)):
        yield f"the file name has {', '.join(missing)}, WHEEL does not"
    if extra := sorted(map(str, inside - outside)):
        yield f"WHEEL has {', '.join(extra)}, the file name does not"


def build_tag(contents: Contents) -> Iterator[str]:
    """Find a build tag in WHEEL that is not that of the file name."""
    headers = contents.wheel_file
    inside = "" if headers is None else str(headers.get("Build", "")).strip()
    if headers is not None and inside != contents.wheel.build:
        yield f"the build tag is {contents.wheel.build or '(none)'} in the file name, {inside or '(none)'} in WHEEL"


def purelib(contents: Contents) -> Iterator[str]:
    """Find extension modules in a wheel that declares itself pure."""
    wheel, headers = contents.wheel, contents.wheel_file
    if headers is None or "any" in wheel.platforms:
        return  # any_platform reports it
    if str(headers.get("Root-Is-Purelib", "")).strip().lower() == "true":
        for path, member in contents.installed.items():
            # Modules below .data/platlib are in the right directory whatever the root is.
            is_in_root = not member.name.startswith(contents.data_directory + "/")
            if is_in_root and (module_name(path) in wheel.extension_modules or is_tagged(path)):
                yield f"Root-Is-Purelib is true, but {path} is an extension module"


def any_platform(contents: Contents) -> Iterator[str]:
    """Find extension modules in a wheel for any platform."""
    if "any" in contents.wheel.platforms:
        # Also those that are plain libraries with the suffix of a module.
        tagged = {module for path in contents.installed if is_tagged(path) and (module := module_name(path))}
        for module in sorted(tagged.union(contents.wheel.extension_modules)):
            yield f"{module} is an extension module, but the platform tag is any"


# METADATA -------------------------------------------------------------------------------------------------------------


def metadata_missing(contents: Contents) -> Iterator[str]:
    """Find missing METADATA."""
    if contents.data("METADATA") is None:
        yield f"there is no {contents.wheel.dist_info}/METADATA"


def metadata_form(contents: Contents) -> Iterator[str]:
    """Find METADATA that ``packaging.metadata`` refuses."""
    data = contents.data("METADATA")
    if data is None:
        return
    try:
        Metadata.from_email(data, validate=True)
    except Exception as error:  # an ExceptionGroup, which Python 3.10 does not have
        if not hasattr(error, "exceptions"):
            raise
        for invalid in error.exceptions:
            # setuptools wrote License-File for years before PEP 639, and indexes accept it.
            is_early = getattr(invalid, "field", "") == "license-file" and "introduced in metadata version" in str(
                invalid
            )
            if not is_early:
                yield str(invalid)


def metadata_names(contents: Contents) -> Iterator[str]:
    """Find a name or version in METADATA that is not that of the file name."""
    if contents.data("METADATA") is None:
        return
    wheel = contents.wheel
    name, version = (_metadata_value(contents, header) for header in ("name", "version"))
    if canonicalize_name(name) != canonicalize_name(wheel.name):
        yield f"the name is {name or '(none)'} in METADATA, {wheel.name} in the file name"
    if not same_version(version, wheel.version):
        yield f"the version is {version or '(none)'} in METADATA, {wheel.version} in the file name"


def _metadata_value(contents: Contents, header: str) -> str:
    """Return the value of a header of METADATA, or the first value if it is repeated; empty if it is missing.

    :param header: its name in lower case.
    """
    fields, unparsed = contents.metadata
    value = dict(fields).get(header.replace("-", "_")) or next(iter(unparsed.get(header, ())), "")
    return str(value).strip()


def requires_python(contents: Contents) -> Iterator[str]:
    """Find a Requires-Python that excludes every interpreter that the tags allow."""
    text = contents.wheel.requires_python
    if text is None:
        return
    try:
        allowed = SpecifierSet(text)
    except InvalidSpecifier:
        return  # metadata_form reports it
    excluded = []
    for interpreter, abi in dict.fromkeys((tag.interpreter, tag.abi) for tag in contents.wheel.tags):
        versions = versions_of_tag(interpreter, abi)
        if not versions or any(allowed.contains(version, prereleases=True) for version in versions):
            return
        excluded.append(f"{interpreter}-{abi}")
    yield f"Requires-Python is {text}, which excludes every interpreter of {', '.join(excluded)}"


def versions_of_tag(interpreter: str, abi: str) -> list[str]:
    """Return the versions of Python that the interpreter part of a tag allows; none if unknown.

    ``cp311-cp311`` allows 3.11.x; ``cp311-abi3`` and ``py311`` every later 3.x; ``py3`` every 3.x.
    """
    match = _PYTHON_TAG.fullmatch(interpreter)
    if match is None:
        return []
    major, minor = int(match["major"]), int(match["minor"] or 0)
    is_open_ended = abi.startswith("abi3") or match["kind"] == "py" or not match["minor"]
    last = _LAST_MINOR if is_open_ended else minor
    return [f"{major}.{number}.{micro}" for number in range(minor, last + 1) for micro in _MICROS]


def description(contents: Contents) -> Iterator[str]:
    """Find a description that an index cannot render. Any text is valid Markdown, so only reStructuredText can fail."""
    if contents.has_rst_description and (reason := contents.rendering_error):
        yield reason


def license_files(contents: Contents) -> Iterator[str]:
    """Find license files that METADATA lists and the wheel does not contain."""
    if contents.data("METADATA") is None:
        return
    try:
        if Version(_metadata_value(contents, "metadata-version")) < Version("2.4"):
            return
    except InvalidVersion:
        return  # metadata_form reports it
    for name in contents.metadata[0].get("license_files", ()):
        path = f"{contents.wheel.dist_info}/licenses/{name.strip()}"
        if contents.container.find(path) is None:
            yield f"METADATA lists the license file {name.strip()}, but there is no {path}"


# Entry points ---------------------------------------------------------------------------------------------------------


def entry_points(contents: Contents) -> Iterator[str]:
    """Find entry points that cannot be parsed or loaded."""
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
            match = _OBJECT_REFERENCE.fullmatch(reference.strip())
            if match is None:
                yield f"{name} in {group} refers to {reference!r}, which is not module or module:object"
            elif group in _SCRIPT_GROUPS and match["attr"] is None:
                yield f"{name} in {group} refers to {reference!r}, which does not name a function"


def _scripts(contents: Contents) -> Iterator[tuple[str, str, str]]:
    """Yield group, name and object reference of every script."""
    try:
        groups = parse_entry_points(contents.text("entry_points.txt") or "")
    except configparser.Error:
        return  # entry_points reports it
    for group in _SCRIPT_GROUPS:
        for name, reference in groups.get(group, {}).items():
            yield group, name, reference


def script_names(contents: Contents) -> Iterator[str]:
    """Find scripts whose names are paths."""
    for group, name, _ in _scripts(contents):
        if name in {"", ".", ".."} or re.search(r"[/\\:\x00-\x1f]", name):
            yield f"{name!r} in {group} would be written outside of the scripts directory"


def script_modules(contents: Contents) -> Iterator[str]:
    """Find scripts whose module should be in the wheel and is not."""
    wheel = contents.wheel
    files = set(wheel.files)
    for group, name, reference in _scripts(contents):
        match = _OBJECT_REFERENCE.fullmatch(reference.strip())
        if match is None:
            continue
        module = match["module"]
        top = module.partition(".")[0]
        # Another wheel may provide modules of a namespace package, so only regular packages are checked.
        if f"{top}/__init__.py" not in files or module in wheel.extension_modules:
            continue
        path = module.replace(".", "/")
        if not files & {f"{path}.py", f"{path}/__init__.py", f"{path}.pyc", f"{path}/__init__.pyc"}:
            yield f"{name} in {group} needs the module {module}, which is not in the wheel"


# .data directories and tags -------------------------------------------------------------------------------------------


def data_directories(contents: Contents) -> Iterator[str]:
    """Find ``.data`` directories that installers do not know."""
    expected = contents.data_directory
    for member in contents.container.files:
        top, slash, rest = member.name.partition("/")
        if not slash or not top.endswith(".data"):
            continue
        scheme = rest.partition("/")[0]
        if top != expected:
            yield f"{top}/ does not belong to this wheel, whose data directory is {expected}/"
        elif scheme not in _SCHEMES:
            yield f"{top}/{scheme} is not a directory that installers know"


def known_tags(contents: Contents) -> Iterator[str]:
    """Find tags that no interpreter or index knows."""
    for tag in contents.wheel.tags:
        if _PLATFORM.fullmatch(tag.platform) is None:
            yield f"{tag.platform} is not a platform that indexes accept"
        if _PYTHON_TAG.fullmatch(tag.interpreter) is None and re.fullmatch(r"graalpy\w+", tag.interpreter) is None:
            yield f"{tag.interpreter} is not a known interpreter"
        if _ABI.fullmatch(tag.abi) is None:
            yield f"{tag.abi} is not a known ABI"


def _parse_tag(text: str) -> frozenset[Tag] | None:
    try:
        return parse_tag(text)
    except ValueError:
        return None


def same_version(first: str, second: str) -> bool:
    """Whether two texts are the same version (PEP 440)."""
    # File names have _ instead of - (wheel specification); only local versions have either (1.0+a-b).
    return canonicalize_version(first.replace("_", "-")) == canonicalize_version(second.replace("_", "-"))
