"""WHL6xx: extension modules of every format."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from packaging.tags import Tag

from pytest_wheelcheck.checks.base import Contents, systems
from pytest_wheelcheck.wheels.binary import Binary
from pytest_wheelcheck.wheels.reader import init_function, module_name

#: Architecture of a tag to the processor part of the suffix (``configure.ac`` of CPython, PLATFORM_TRIPLET).
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
_NATIVE_ENDING = re.compile(r".*\.(so|pyd|dll|dylib)(\.\d+)*")
_STABLE = frozenset({"abi3", "abi3t"})
_GLIBC = re.compile(r"libc\.so\.6(\.1)?")
#: Libraries of the system all of whose symbols have versions.
_VERSIONED = re.compile(
    r"(libc|libm|libdl|librt|libpthread|libutil|libgcc_s|libstdc\+\+|libatomic|libmvec|libresolv|libcrypt)\.so\.[\d.]+"
    r"|ld(-linux|64)?[\w-]*\.so\.\d"
)
#: Machines in the words of ELF for an architecture of a Linux tag.
_MACHINES = {"armv6l": "armv7l"}


def unreadable(contents: Contents) -> Iterator[str]:
    """Modules, libraries and programs that the format's own library cannot read."""
    scripts = f"{contents.data_folder}/scripts/"
    for binary in contents.binaries:
        # Others only start like a native file, as test data may.
        if binary.broken and (_NATIVE_ENDING.fullmatch(binary.path) or binary.path.startswith(scripts)):
            yield f"{binary.path} is no readable {binary.format} file: {binary.broken}"


def no_native_file(contents: Contents) -> Iterator[str]:
    """Nothing that needs a platform, in a wheel for one."""
    if not contents.binaries and "other" not in contents.systems:
        yield f"the wheel is for {', '.join(contents.wheel.platforms)}, and holds no native file"


def suffix(contents: Contents) -> Iterator[str]:
    """Modules that the import system of the tag's interpreters does not see."""
    variants = files_by_module(contents)
    for module, files in variants.items():
        endings = {file[file.rindex("/") + 1 if "/" in file else 0 :].partition(".")[2] for file in files}
        for tag in contents.wheel.tags:
            wanted = suffixes(tag)
            if wanted is None or endings & wanted or (tag.abi == "none" and len(endings) > 1):
                continue
            have, imported = (", ".join(f".{ending}" for ending in sorted(some)) for some in (endings, wanted))
            yield f"{module} has the suffix {have}; {tag} imports {imported}"


def suffixes(tag: Tag) -> frozenset[str] | None:
    """Tell the suffixes, without their first dot, that the interpreters of a tag import; ``None`` where unknown.

    Source: CPython's ``Python/dynload_shlib.c``, ``dynload_win.c`` and ``configure.ac``.
    """
    found = re.fullmatch(r"(?P<kind>cp|pp|py)(?P<major>\d)(?P<minor>\d*)", tag.interpreter)
    if found is None or tag.platform == "any":
        return None
    minor = int(found["minor"] or 0)
    version = found["major"] + found["minor"]
    ending = "pyd" if tag.platform.startswith("win") else "so"
    stable = {"abi3t.so"} if tag.abi == "abi3t" else {"abi3.so"}
    plain = {ending} | (stable if ending == "so" else set())
    if found["kind"] == "py":
        return frozenset(plain)
    if found["kind"] == "pp":
        return None
    abi = re.fullmatch(rf"cp{version}(t?)[a-z]*", tag.abi)
    if abi is None:
        return frozenset(plain) if tag.abi in {"abi3", "abi3t", "none"} else None
    threaded = abi[1]
    if threaded:
        plain -= {"abi3.so"}
        plain |= {"abi3t.so"} if minor >= 15 and ending == "so" else set()
    if ending == "pyd":
        return frozenset(plain | {f"cp{version}{threaded}-{tag.platform}.pyd"})
    # Until 3.7 the names had the m of pymalloc.
    flags = "m" if minor <= 7 else threaded
    if tag.platform.startswith("macosx"):
        return frozenset(plain | {f"cpython-{version}{flags}-darwin.so"})
    triplets = _triplets(tag.platform, minor)
    return None if triplets is None else frozenset(plain | {f"cpython-{version}{flags}-{one}.so" for one in triplets})


def _triplets(platform: str, minor: int) -> set[str] | None:
    found = re.fullmatch(r"(?P<kind>linux|manylinux|musllinux)(?:\d*)(?:_\d+_\d+)?_(?P<arch>\w+)", platform)
    form = _TRIPLETS.get(found["arch"]) if found else None
    if found is None or form is None:
        return None
    if found["kind"] == "linux":
        libcs = {"gnu", "musl"}
    elif found["kind"] == "manylinux":
        libcs = {"gnu"}
    else:
        # CPython tells musl from glibc in this name since 3.11 (bpo-43112), which some older patch releases have too.
        libcs = {"musl"} if minor >= 11 else {"gnu", "musl"}
    return {form.format(libc=libc) for libc in libcs}


def init_name(contents: Contents) -> Iterator[str]:
    """Modules without the function that an import looks for."""
    places = {entry.name: name for name, entry in contents.installed.items()}
    modules = set(contents.wheel.extension_modules)
    for binary in contents.binaries:
        place = places.get(binary.path)
        module = module_name(place or "")
        if module not in modules or module is None or binary.broken:
            continue
        wanted = init_function(module).decode("ascii")
        accepted = {wanted, wanted.replace("PyInit", "PyModExport", 1), wanted.replace("PyInit", "_cffi_pypyinit", 1)}
        if not accepted & set(binary.init_functions):
            others = ", ".join(binary.init_functions[:5]) or "no init function"
            yield f"{binary.path} ({binary.machine}) exports {others} instead of {wanted}"


def abi3_version(contents: Contents) -> Iterator[str]:
    """Modules for the stable ABI that need a newer one than the tag's."""
    from abi3info import DATAS, FUNCTIONS  # a megabyte of tables

    oldest = oldest_abi3(contents.wheel.tags)
    added = {str(symbol.name): entry.added for table in (FUNCTIONS, DATAS) for symbol, entry in table.items()}
    for binary in _stable_modules(contents):
        newer = {
            name: version
            for name in binary.python_symbols
            if (version := added.get(name)) is not None and (version.major, version.minor) > oldest
        }
        if newer:
            names = ", ".join(f"{name} (3.{version.minor})" for name, version in newer.items())
            yield f"{binary.path} needs {names}; the tag admits 3.{oldest[1]}"


def abi3_unknown(contents: Contents) -> Iterator[str]:
    """Modules for the stable ABI that need what is not known to be part of it."""
    from abi3info import DATAS, FUNCTIONS

    known = {str(symbol.name) for table in (FUNCTIONS, DATAS) for symbol in table}
    for binary in _stable_modules(contents):
        if unknown := [name for name in binary.python_symbols if name not in known]:
            yield f"{binary.path} needs {', '.join(unknown)}"


def oldest_abi3(tags: Iterable[Tag]) -> tuple[int, int]:
    """Tell the oldest version of Python that the stable ABI tags among *tags* admit; the first with one is 3.2."""
    found = [
        (int(match[1]), int(match[2] or 2))
        for tag in tags
        if tag.abi in _STABLE and (match := re.fullmatch(r"cp(\d)(\d*)", tag.interpreter))
    ]
    return min(found, default=(3, 2))


def _stable_modules(contents: Contents) -> Iterator[Binary]:
    """Pick the modules that every interpreter of a stable ABI tag would load: not those for one version."""
    modules = set(contents.wheel.extension_modules)
    places = {entry.name: name for name, entry in contents.installed.items()}
    for binary in contents.binaries:
        place = places.get(binary.path, "")
        if module_name(place) in modules and not re.search(r"\.(cpython-|cp)\d+t?-", place) and not binary.broken:
            yield binary


def undefined_symbols(contents: Contents) -> Iterator[str]:
    """Symbols that modules, or bundled libraries that they need, find nowhere.

    The linker writes the version of each symbol that a library of glibc's kind gave it, and on macOS the library itself.
    What has neither must come from the interpreter or from a file of the wheel. Where a library of the system without
    versions is needed (zlib's, those of X11), or one that another wheel must bring, nothing can be told.
    """
    places = {entry.name: name for name, entry in contents.installed.items()}
    modules = set(contents.wheel.extension_modules)
    for kind in ("ELF", "Mach-O"):
        files = native(contents.binaries, kind)
        known: dict[str, list[Binary]] = defaultdict(list)
        for binary in files:
            for name in {binary.name.rpartition("/")[2], binary.path.rpartition("/")[2]}:
                known[name].append(binary)
        for module in files:
            if module_name(places.get(module.path, "")) not in modules:
                continue
            every, foreign = _closure(module, known)
            if kind == "ELF" and (foreign or not any(_GLIBC.fullmatch(one) for part in every for one in part.needed)):
                continue
            for binary in every:
                if binary.undefined:
                    names = ", ".join(binary.undefined[:5])
                    more = f" and {len(binary.undefined) - 5} more" if len(binary.undefined) > 5 else ""
                    yield f"{binary.path} ({binary.machine}) needs {names}{more}, which nothing that it is linked against has"


def _closure(module: Binary, known: Mapping[str, Sequence[Binary]]) -> tuple[list[Binary], bool]:
    """List a module and all files of the wheel that it needs, and tell whether other libraries without versions are."""
    waiting, found, foreign = [module], {module.path: module}, False
    while waiting:
        for library in waiting.pop().needed:
            own = [one for one in known.get(library.rpartition("/")[2], ()) if one.machine == module.machine]
            foreign = foreign or not (own or _VERSIONED.fullmatch(library))
            waiting += [one for one in own if one.path not in found]
            found.update((one.path, one) for one in own)
    return list(found.values()), foreign


def machine(contents: Contents) -> Iterator[str]:
    """Modules, bundled libraries and scripts for another processor or system than the tag's."""
    places = {entry.name: name for name, entry in contents.installed.items()}
    modules = set(contents.wheel.extension_modules)
    scripts = f"{contents.data_folder}/scripts/"
    formats = {"linux": "ELF", "macos": "Mach-O", "windows": "PE"}
    own = {formats[system] for system in contents.systems if system in formats}
    wanted = set(_linux_machines(contents.wheel.platforms))
    for binary in contents.binaries:
        loaded = module_name(places.get(binary.path, "")) in modules or binary.path.startswith(scripts)
        bundled = binary.path.partition("/")[0].endswith(".libs")
        if binary.broken or not (loaded or bundled) or "other" in contents.systems:
            continue
        if binary.format not in own:
            yield f"{binary.path} is a {binary.format} file in a wheel for {', '.join(sorted(contents.systems))}"
        elif binary.format == "ELF" and wanted and binary.machine not in wanted:
            yield f"{binary.path} is for {binary.machine}, the tag says {', '.join(sorted(wanted))}"


def _linux_machines(platforms: Iterable[str]) -> Iterator[str]:
    for platform in platforms:
        found = re.fullmatch(r"(?:linux|manylinux(?:1|2010|2014)|(?:manylinux|musllinux)_\d+_\d+)_(\w+)", platform)
        if found is not None:
            yield _MACHINES.get(found[1], found[1])


def lacks_module(contents: Contents) -> Iterator[str]:
    """Modules that another wheel of the release has, for the same system and implementation."""
    wheel = contents.wheel
    own = set(wheel.extension_modules)
    for other in contents.release:
        same = other.name == wheel.name and other.version == wheel.version and systems(other) == systems(wheel)
        if other is wheel or not same or _implementations(other.tags) != _implementations(wheel.tags):
            continue
        if missing := sorted(set(other.extension_modules) - own):
            yield f"{other.path.name} has {', '.join(missing)}, this wheel has not"


def _implementations(tags: Iterable[Tag]) -> set[str]:
    return {tag.interpreter[:2] for tag in tags}


def files_by_module(contents: Contents) -> dict[str, list[str]]:
    """Map each extension module to its files, which may be one for each interpreter."""
    modules = set(contents.wheel.extension_modules)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in contents.installed:
        module = module_name(name)
        if module in modules:
            found[module].append(name)
    return dict(found)


def native(binaries: Iterable[Binary], kind: str) -> list[Binary]:
    """Pick the readable files of one format."""
    return [binary for binary in binaries if binary.format == kind and not binary.broken]
