"""WHL6xx: extension modules of every format."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from packaging.tags import Tag

from pytest_wheelcheck.checks import macos
from pytest_wheelcheck.checks.check import Advice, Consequence, first_names
from pytest_wheelcheck.checks.contents import Contents, systems
from pytest_wheelcheck.checks.linux import GLIBC_LIBRARY
from pytest_wheelcheck.wheels.binary import Binary
from pytest_wheelcheck.wheels.modules import describe_suffix, init_function, module_name

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
#: Code for one processor that no loader reads: compilers link it.
_STATIC_LIBRARY = re.compile(r".*\.(a|lib|o|obj)", re.IGNORECASE)
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


def no_native_file(contents: Contents) -> Iterator[str | Advice]:
    """Find a wheel for one platform without a native file.

    Without a Python module it cannot have lost an extension behind a fallback: it consists of headers (nvidia-nvtx-cu12),
    or only of requirements that differ by platform (tensorflow).
    """
    files = [path for path in contents.installed if not path.startswith(f"{contents.wheel.dist_info}/")]
    if contents.binaries or "other" in contents.systems or any(map(_STATIC_LIBRARY.fullmatch, files)):
        return
    message = f"the wheel is for {', '.join(contents.wheel.platforms)}, but has no native file"
    modules = [path for path in files if path.endswith((".py", ".pyi"))]
    # An empty __init__.py makes a directory of headers a package.
    has_modules = any(contents.installed[path].size for path in modules) or (
        bool(modules) and len(modules) == len(files)
    )
    has_purpose = bool(files or contents.wheel.requires)
    yield message if has_modules or not has_purpose else Advice(f"{message} and no Python module")


def suffix(contents: Contents) -> Iterator[str | Consequence]:
    """Find modules with a suffix that the tag's interpreters do not import."""
    for module, paths in _paths_by_module(contents).items():
        # A module may have one file for each interpreter.
        present = {path.rpartition("/")[2].partition(".")[2] for path in paths}
        for tag in contents.wheel.tags:
            imported = suffixes(tag)
            if imported is None or present & imported or (tag.abi == "none" and len(present) > 1):
                continue
            (path, *others) = paths
            described = "" if others else describe_suffix(path)
            subject = f"{path} is for {described}" if described else f"{module} has the suffix {_with_dots(present)}"
            message = f"{subject}, but interpreters of the tag {tag} import only {_with_dots(imported)}"
            # A file for another processor has its suffix as well.
            machine_check = "WHL501" if tag.platform.startswith("win") else "WHL605"
            yield Consequence(message, of=machine_check, file=contents.installed[path].name) if described else message


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
    # Without an ABI, the interpreter's own suffix is as good as in a tag with its ABI: the tag has no other interpreter.
    abi = re.fullmatch(rf"cp{version}(t?)[a-z]*|none", tag.abi) if interpreter["minor"] else None
    if abi is None:
        return frozenset(accepted) if tag.abi in {"abi3", "abi3t", "none"} else None
    threaded = abi[1] or ""
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
            yield f"{binary.path} ({binary.machine}) does not export {expected}; it exports {exported}"


def plain_libraries(contents: Contents) -> Iterator[str]:
    """Find plain libraries with the suffix of an extension module."""
    if paths := dict.fromkeys(binary.path for binary in contents.binaries if contents.is_plain_library(binary)):
        count = "one file is a plain library" if len(paths) == 1 else f"{len(paths)} files are plain libraries"
        yield f"{count} with the suffix of an extension module: {first_names(list(paths))}"


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


def abi3_unknown(contents: Contents) -> Iterator[str | Advice]:
    """Find stable ABI modules that need symbols outside of the stable ABI.

    A symbol that is not in abi3info's table is either not part of the stable ABI, or newer than the table. In a wheel for an
    older version than the newest of the table, both are errors.
    """
    from abi3info import DATAS, FUNCTIONS

    entries = {str(symbol.name): entry for table in (FUNCTIONS, DATAS) for symbol, entry in table.items()}
    newest = max((entry.added.major, entry.added.minor) for entry in entries.values())
    is_certain = oldest_abi3(contents.wheel.tags) < newest
    for binary in _stable_abi_modules(contents):
        if unknown := [name for name in binary.python_symbols if name not in entries]:
            message = f"{binary.path} needs {', '.join(unknown)}, which the stable ABI does not have"
            yield message if is_certain else Advice(f"{message} up to Python {newest[0]}.{newest[1]}")


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


def undefined_symbols(contents: Contents) -> Iterator[str | Advice]:
    """Find symbols that modules, or bundled libraries that they need, cannot find.

    The linker records the version of each symbol from a library with versions, such as glibc's, and on macOS the library
    itself. A symbol with neither must come from the interpreter or from a file of the wheel. If a system library
    without versions is needed (zlib, X11), or one from another wheel, nothing can be said; on macOS, where such a symbol is
    the result of a linker option, it is a warning.
    """
    for file_format in ("ELF", "Mach-O"):
        binaries = contents.readable_binaries(file_format)
        by_name: dict[str, list[Binary]] = defaultdict(list)
        for binary in binaries:
            for name in {binary.name.rpartition("/")[2], binary.path.rpartition("/")[2]}:
                by_name[name].append(binary)
        for module in binaries:
            if not contents.is_loaded(module):
                continue
            loaded, others = _loaded_with(module, by_name)
            if file_format == "Mach-O":
                for binary in loaded:
                    yield from _flat_lookups(binary, others)
                continue
            uses_glibc = any(GLIBC_LIBRARY.fullmatch(library) for binary in loaded for library in binary.needed)
            if not uses_glibc or any(_VERSIONED_LIBRARY.fullmatch(library) is None for library in others):
                continue
            for binary in loaded:
                if binary.undefined:
                    yield (
                        f"{binary.path} ({binary.machine}) needs {first_names(binary.undefined)}, which no linked "
                        "library provides"
                    )


def _flat_lookups(binary: Binary, others: Iterable[str]) -> Iterator[str | Advice]:
    """Divide the symbols that a Mach-O file looks up in every library: those that nothing can supply, and the others."""
    supplied = [symbol for symbol in binary.undefined if macos.may_be_supplied(symbol, others)]
    if missing := sorted(set(binary.undefined) - set(supplied)):
        yield f"{binary.path} ({binary.machine}) needs {first_names(missing)}, which no linked library provides"
    if supplied:
        yield Advice(
            f"{binary.path} ({binary.machine}) searches for {first_names(supplied)} in every library that the process has "
            "loaded, so the import depends on the libraries that the interpreter and other modules load"
        )


def _loaded_with(module: Binary, by_name: Mapping[str, Sequence[Binary]]) -> tuple[list[Binary], frozenset[str]]:
    """Return a module and all files of the wheel that it needs; and the other libraries that these need."""
    pending, loaded, others = [module], {module.path: module}, set()
    while pending:
        for library in pending.pop().needed:
            bundled = [file for file in by_name.get(library.rpartition("/")[2], ()) if file.machine == module.machine]
            others |= set() if bundled else {library}
            pending += [file for file in bundled if file.path not in loaded]
            loaded.update((file.path, file) for file in bundled)
    return list(loaded.values()), frozenset(others)


def machine(contents: Contents) -> Iterator[str]:
    """Find modules, bundled libraries and scripts for another processor or system than the tag's."""
    if "other" in contents.systems:
        return
    formats = {_FORMATS[system] for system in contents.systems}
    machines = set(_linux_machines(contents.wheel.platforms))
    for binary in contents.binaries:
        is_loaded = contents.is_loaded(binary) or binary.path.startswith(contents.scripts_prefix)
        is_bundled = binary.path.partition("/")[0].endswith(".libs")
        if binary.error or not (is_loaded or is_bundled):
            continue
        if binary.format not in formats:
            yield f"{binary.path} is a file in {binary.format} format, but the wheel is for {_join(contents.systems)}"
        elif binary.format == "ELF" and machines and binary.machine not in machines:
            yield f"{binary.path} is for {binary.machine}, but the tag is for {_join(machines)}"


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _linux_machines(platforms: Iterable[str]) -> list[str]:
    found = []
    for platform in platforms:
        match = re.fullmatch(r"(?:linux|manylinux(?:1|2010|2014)|(?:manylinux|musllinux)_\d+_\d+)_(\w+)", platform)
        if match is not None:
            found.append(_MACHINES.get(match[1], match[1]))
    return found


def lacks_module(contents: Contents) -> Iterator[str | Advice]:
    """Find modules that another wheel of the release for the same system and implementation has.

    A module for an instruction set of one architecture (``…_avx2``) is not in the wheels for the others, so these are
    compared only for advice.
    """
    wheel = contents.wheel
    own = _architectures(wheel.platforms)
    for other in contents.release:
        same = other.name == wheel.name and other.version == wheel.version and systems(other) == systems(wheel)
        if other is wheel or not same or _implementations(other.tags) != _implementations(wheel.tags):
            continue
        if missing := sorted(set(other.extension_modules) - set(wheel.extension_modules)):
            message = f"{other.path.name} has {', '.join(missing)}, but this wheel does not"
            is_comparable = own & _architectures(other.platforms)
            yield message if is_comparable else Advice(f"{message}; the architectures differ")


def _architectures(platforms: Iterable[str]) -> frozenset[str]:
    """Return the architectures that platform tags promise. Tags without one stand for themselves."""
    found: set[str] = set()
    for platform in platforms:
        if (tag := macos.parse_tag(platform)) is not None:
            found |= macos.SLICES.get(tag[1], {tag[1]})
        else:
            found.update(_linux_machines([platform]) or [platform])
    return frozenset(found)


def _implementations(tags: Iterable[Tag]) -> set[str]:
    return {tag.interpreter[:2] for tag in tags}
