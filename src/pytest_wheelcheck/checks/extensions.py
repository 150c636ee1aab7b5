"""WHL6xx: extension modules of every format."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from packaging.tags import Tag

from pytest_wheelcheck.checks.check import first_names
from pytest_wheelcheck.checks.contents import Contents, systems
from pytest_wheelcheck.checks.linux import GLIBC_LIBRARY
from pytest_wheelcheck.wheels.binary import Binary
from pytest_wheelcheck.wheels.modules import init_function, module_name

#: Architecture of a tag to the platform part of the suffix (``configure.ac`` of CPython, PLATFORM_TRIPLET).
_TRIPLETS = {
    "x86_64": "x86_64-linux-{libc}",
    "i686": "i386-linux-{libc}",
    "aarch64": "aarch64-linux-{libc}",
    "armv7l": "arm-linux-{libc}eabihf",
    "armv6l": "arm-linux-{libc}eabihf",
    "ppc64le": "powerpc64le-linux-{libc}",
    "s390x": "s390x-linux-{libc}",
    "riscv64": "riscv64-linux-{libc}",
    "loongarch64": "loongarch64-linux-{libc}",
}
_NATIVE_FILENAME = re.compile(r".*\.(so|pyd|dll|dylib)(\.\d+)*")
_STABLE_ABIS = frozenset({"abi3", "abi3t"})
#: System libraries in which every symbol has a version.
_VERSIONED_LIBRARY = re.compile(
    r"(libc|libm|libdl|librt|libpthread|libutil|libgcc_s|libstdc\+\+|libatomic|libmvec|libresolv|libcrypt)\.so\.[\d.]+"
    r"|ld(-linux|64)?[\w-]*\.so\.\d"
)
#: The format of native files by system.
_FORMATS = {"linux": "ELF", "macos": "Mach-O", "windows": "PE"}
#: Architectures of Linux tags whose files have another machine in :class:`Binary`.
_MACHINES = {"armv6l": "armv7l"}


def unreadable(contents: Contents) -> Iterator[str]:
    """Find modules, libraries and programs that cannot be parsed."""
    for binary in contents.binaries:
        # Other files only start like a native file, as test data may.
        is_native = _NATIVE_FILENAME.fullmatch(binary.path) or binary.path.startswith(contents.scripts_prefix)
        if binary.error and is_native:
            yield f"{binary.path} is not a valid {binary.format} file: {binary.error}"


def no_native_file(contents: Contents) -> Iterator[str]:
    """Find a wheel for one platform without a native file."""
    if not contents.binaries and "other" not in contents.systems:
        yield f"the wheel is for {', '.join(contents.wheel.platforms)}, but has no native file"


def suffix(contents: Contents) -> Iterator[str]:
    """Find modules with a suffix that the tag's interpreters do not import."""
    for module, paths in _paths_by_module(contents).items():
        # A module may have one file for each interpreter.
        present = {path.rpartition("/")[2].partition(".")[2] for path in paths}
        for tag in contents.wheel.tags:
            imported = suffixes(tag)
            if imported is None or present & imported or (tag.abi == "none" and len(present) > 1):
                continue
            yield f"{module} has the suffix {_with_dots(present)}; {tag} imports {_with_dots(imported)}"


def _with_dots(suffixes: Iterable[str]) -> str:
    return ", ".join(f".{suffix}" for suffix in sorted(suffixes))


def _paths_by_module(contents: Contents) -> dict[str, list[str]]:
    modules = set(contents.wheel.extension_modules)
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for path in contents.installed:
        module = module_name(path)
        if module in modules:
            paths[module].append(path)
    return dict(paths)


def suffixes(tag: Tag) -> frozenset[str] | None:
    """Return the suffixes, without their first dot, that the interpreters of a tag import; ``None`` if unknown.

    Source: CPython's ``Python/dynload_shlib.c``, ``dynload_win.c`` and ``configure.ac``.
    """
    interpreter = re.fullmatch(r"(?P<kind>cp|pp|py)(?P<major>\d)(?P<minor>\d*)", tag.interpreter)
    if interpreter is None or tag.platform == "any" or interpreter["kind"] == "pp":
        return None
    minor = int(interpreter["minor"] or 0)
    version = interpreter["major"] + interpreter["minor"]
    extension = "pyd" if tag.platform.startswith("win") else "so"
    stable = {"abi3t.so"} if tag.abi == "abi3t" else {"abi3.so"}
    accepted = {extension} | (stable if extension == "so" else set())
    if interpreter["kind"] == "py":
        return frozenset(accepted)
    abi = re.fullmatch(rf"cp{version}(t?)[a-z]*", tag.abi)
    if abi is None:
        return frozenset(accepted) if tag.abi in {"abi3", "abi3t", "none"} else None
    threaded = abi[1]
    if threaded:
        accepted -= {"abi3.so"}
        accepted |= {"abi3t.so"} if minor >= 15 and extension == "so" else set()
    if extension == "pyd":
        return frozenset(accepted | {f"cp{version}{threaded}-{tag.platform}.pyd"})
    # Until 3.7 the names had the m of pymalloc.
    flags = "m" if minor <= 7 else threaded
    if tag.platform.startswith("macosx"):
        return frozenset(accepted | {f"cpython-{version}{flags}-darwin.so"})
    triplets = _triplets(tag.platform, minor)
    if triplets is None:
        return None
    return frozenset(accepted | {f"cpython-{version}{flags}-{triplet}.so" for triplet in triplets})


def _triplets(platform: str, minor: int) -> set[str] | None:
    match = re.fullmatch(r"(?P<kind>linux|manylinux|musllinux)(?:\d*)(?:_\d+_\d+)?_(?P<arch>\w+)", platform)
    triplet = _TRIPLETS.get(match["arch"]) if match else None
    if match is None or triplet is None:
        return None
    if match["kind"] == "linux":
        libcs = {"gnu", "musl"}
    elif match["kind"] == "manylinux":
        libcs = {"gnu"}
    else:
        # CPython distinguishes musl from glibc in this name since 3.11 (bpo-43112) and some older patch releases.
        libcs = {"musl"} if minor >= 11 else {"gnu", "musl"}
    return {triplet.format(libc=libc) for libc in libcs}


def init_name(contents: Contents) -> Iterator[str]:
    """Find modules without the function that an import looks up."""
    for binary in contents.binaries:
        module = contents.module_of(binary)
        if module is None or binary.error:
            continue
        expected = init_function(module).decode("ascii")
        accepted = {expected} | {expected.replace("PyInit", prefix, 1) for prefix in ("PyModExport", "_cffi_pypyinit")}
        if not accepted & set(binary.init_functions):
            exported = ", ".join(binary.init_functions[:5]) or "no init function"
            yield f"{binary.path} ({binary.machine}) exports {exported} instead of {expected}"


def abi3_version(contents: Contents) -> Iterator[str]:
    """Find modules that need a newer stable ABI than the tag's."""
    from abi3info import DATAS, FUNCTIONS  # a megabyte of tables

    oldest = oldest_abi3(contents.wheel.tags)
    added = {str(symbol.name): entry.added for table in (FUNCTIONS, DATAS) for symbol, entry in table.items()}
    for binary in _stable_abi_modules(contents):
        newer = {
            name: version
            for name in binary.python_symbols
            if (version := added.get(name)) is not None and (version.major, version.minor) > oldest
        }
        if newer:
            names = ", ".join(f"{name} (3.{version.minor})" for name, version in newer.items())
            yield f"{binary.path} needs {names}, but the tag includes Python 3.{oldest[1]}"


def abi3_unknown(contents: Contents) -> Iterator[str]:
    """Find stable ABI modules that need symbols not known to be part of the stable ABI."""
    from abi3info import DATAS, FUNCTIONS

    known = {str(symbol.name) for table in (FUNCTIONS, DATAS) for symbol in table}
    for binary in _stable_abi_modules(contents):
        if unknown := [name for name in binary.python_symbols if name not in known]:
            yield f"{binary.path} needs {', '.join(unknown)}"


def oldest_abi3(tags: Iterable[Tag]) -> tuple[int, int]:
    """Return the oldest Python that the stable ABI tags among *tags* allow. The first with a stable ABI is 3.2."""
    versions = [
        (int(match[1]), int(match[2] or 2))
        for tag in tags
        if tag.abi in _STABLE_ABIS and (match := re.fullmatch(r"cp(\d)(\d*)", tag.interpreter))
    ]
    return min(versions, default=(3, 2))


def _stable_abi_modules(contents: Contents) -> Iterator[Binary]:
    """Yield the modules that every interpreter of a stable ABI tag would load, without those for one version."""
    for binary in contents.binaries:
        path = contents.installed_paths.get(binary.path, "")
        if contents.module_of(binary) and not re.search(r"\.(cpython-|cp)\d+t?-", path) and not binary.error:
            yield binary


def undefined_symbols(contents: Contents) -> Iterator[str]:
    """Find symbols that modules, or bundled libraries that they need, cannot find.

    The linker records the version of each symbol from a library with versions, such as glibc's, and on macOS the library
    itself. A symbol with neither must come from the interpreter or from a file of the wheel. If a system library
    without versions is needed (zlib, X11), or one from another wheel, nothing can be said.
    """
    for file_format in ("ELF", "Mach-O"):
        binaries = contents.readable_binaries(file_format)
        by_name: dict[str, list[Binary]] = defaultdict(list)
        for binary in binaries:
            for name in {binary.name.rpartition("/")[2], binary.path.rpartition("/")[2]}:
                by_name[name].append(binary)
        for module in binaries:
            if contents.module_of(module) is None:
                continue
            loaded, needs_unversioned = _loaded_with(module, by_name)
            uses_glibc = any(GLIBC_LIBRARY.fullmatch(library) for binary in loaded for library in binary.needed)
            if file_format == "ELF" and (needs_unversioned or not uses_glibc):
                continue
            for binary in loaded:
                if binary.undefined:
                    yield (
                        f"{binary.path} ({binary.machine}) needs {first_names(binary.undefined)}, which no linked "
                        "library provides"
                    )


def _loaded_with(module: Binary, by_name: Mapping[str, Sequence[Binary]]) -> tuple[list[Binary], bool]:
    """Return a module and all files of the wheel that it needs, and whether it needs other libraries without versions."""
    pending, loaded, needs_unversioned = [module], {module.path: module}, False
    while pending:
        for library in pending.pop().needed:
            bundled = [file for file in by_name.get(library.rpartition("/")[2], ()) if file.machine == module.machine]
            needs_unversioned = needs_unversioned or not (bundled or _VERSIONED_LIBRARY.fullmatch(library))
            pending += [file for file in bundled if file.path not in loaded]
            loaded.update((file.path, file) for file in bundled)
    return list(loaded.values()), needs_unversioned


def machine(contents: Contents) -> Iterator[str]:
    """Find modules, bundled libraries and scripts for another processor or system than the tag's."""
    if "other" in contents.systems:
        return
    formats = {_FORMATS[system] for system in contents.systems}
    machines = set(_linux_machines(contents.wheel.platforms))
    for binary in contents.binaries:
        is_loaded = contents.module_of(binary) is not None or binary.path.startswith(contents.scripts_prefix)
        is_bundled = binary.path.partition("/")[0].endswith(".libs")
        if binary.error or not (is_loaded or is_bundled):
            continue
        if binary.format not in formats:
            yield f"{binary.path} is a file in {binary.format} format, but the wheel is for {_join(contents.systems)}"
        elif binary.format == "ELF" and machines and binary.machine not in machines:
            yield f"{binary.path} is for {binary.machine}, but the tag is for {_join(machines)}"


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _linux_machines(platforms: Iterable[str]) -> Iterator[str]:
    for platform in platforms:
        match = re.fullmatch(r"(?:linux|manylinux(?:1|2010|2014)|(?:manylinux|musllinux)_\d+_\d+)_(\w+)", platform)
        if match is not None:
            yield _MACHINES.get(match[1], match[1])


def lacks_module(contents: Contents) -> Iterator[str]:
    """Find modules that another wheel of the release for the same system and implementation has."""
    wheel = contents.wheel
    for other in contents.release:
        same = other.name == wheel.name and other.version == wheel.version and systems(other) == systems(wheel)
        if other is wheel or not same or _implementations(other.tags) != _implementations(wheel.tags):
            continue
        if missing := sorted(set(other.extension_modules) - set(wheel.extension_modules)):
            yield f"{other.path.name} has {', '.join(missing)}, this wheel does not"


def _implementations(tags: Iterable[Tag]) -> set[str]:
    return {tag.interpreter[:2] for tag in tags}
