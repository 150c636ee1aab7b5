"""Wine itself, and the pristine prefix that every start of a program gets a copy of.

Wine is the host's own where there is one. Else it is unpacked from the packages of Debian into the cache, together
with the C library that they were built for, and runs from there: no root, and nothing of it reaches the system.

32-bit programs need a half of their own: libraries for Windows programs, and nothing for 32-bit Linux, since the 64-bit
Wine runs their code («new WoW64», whole since Wine 8). It is fetched when it is asked for; the host's own Wine must have it.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import re
import shutil
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_wheelcheck.backends.wine import runner
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import apt
from pytest_wheelcheck.interpreters.windows import pe_programs, pe_strip
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.system.progress import step

#: Bump when the way in which Wine, its 32-bit half or the prefix is made changes.
_GENERATION = 2
_PREFIX_GENERATION = 4
_HALF_GENERATION = 1

#: Seconds for making a prefix: 8 on an idle machine.
_DEADLINE = 300.0

#: What is unpacked, and what is there only in some releases.
_PACKAGES = ("wine64", "libwine", "libc6", "libgcc-s1", "libunwind8", "liblzma5")
_OPTIONAL = ("libz-mingw-w64",)

#: What the host's own may be called.
_PROGRAMS = ("wine64", "wine", "/usr/lib/wine/wine64")

#: Services of Wine that are started with every session; all others when somebody asks for them.
_STARTED = {"MountMgr", "nsiproxy"}

#: Where Wine's own libraries for Windows programs are, on the usual distributions.
_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows",
    "/usr/lib/wine/x86_64-windows",
    "/usr/lib64/wine/x86_64-windows",
    "/opt/wine-stable/lib64/wine/x86_64-windows",
    "/opt/wine-devel/lib64/wine/x86_64-windows",
)

#: The same for 32-bit programs, where they are not beside those.
_LIBRARIES_32 = (
    "/usr/lib/i386-linux-gnu/wine/i386-windows",
    "/usr/lib/wine/i386-windows",
    "/usr/lib32/wine/i386-windows",
    "/opt/wine-stable/lib/wine/i386-windows",
    "/opt/wine-devel/lib/wine/i386-windows",
)

#: How to get it, for people.
ADVICE = "install Wine: apt install wine64, or what your distribution calls it"
_ADVICE_32 = (
    "install its 32-bit half: dpkg --add-architecture i386, apt update, apt install wine32:i386, or what your "
    "distribution calls it"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wine:
    """A Wine that can be run.

    :param program: starts a Windows program.
    :param libraries: folder of the libraries that it needs of its own; ``None`` where the system's will do.
    :param windows: folder of its libraries for Windows programs; ``None`` where it is not known.
    :param windows32: the same for 32-bit ones; ``None`` where it has no such half.
    :param path: folder with that, where Wine does not look by itself; else ``None``.
    :param version: for people.
    """

    program: Path
    version: str
    libraries: Path | None = None
    windows: Path | None = None
    windows32: Path | None = None
    path: Path | None = None


def of_host() -> Wine | None:
    """Find the Wine that is installed."""
    for name in _PROGRAMS:
        if found := shutil.which(name):
            try:
                told = process.run([found, "--version"], timeout=60.0)
            except ProcessError:
                continue
            windows = next((Path(place) for place in _LIBRARIES if Path(place).is_dir()), None)
            return Wine(program=Path(found), version=told.stdout.strip(), windows=windows, windows32=_half_of_host())
    return None


def _half_of_host() -> Path | None:
    places = (*(str(Path(place).with_name("i386-windows")) for place in _LIBRARIES), *_LIBRARIES_32)
    # Debian's 64-bit package has the folder, and nothing in it.
    return next((Path(place) for place in places if Path(place, "ntdll.dll").is_file()), None)


def hindrance(*, offline: bool, bits: int = 64) -> str:
    """Say why there can be no Wine here, or nothing. Fetches nothing.

    :param bits: of the programs that it is to run.
    """
    if any(shutil.which(name) for name in _PROGRAMS):
        if bits == 32 and _half_of_host() is None:
            return f"the Wine of this host runs no 32-bit programs; {_ADVICE_32}"
        return ""
    archive = apt.host_repository()
    if archive is None:
        return f"there is no Wine on this host; {ADVICE}"
    if not offline:
        return ""
    folder = cache.find(_key(archive))
    if folder is None:
        return "Wine is neither installed nor in the cache, and this run is offline"
    if bits == 32 and cache.find(_half_key(archive, _version_of(folder))) is None:
        return "what Wine needs for 32-bit programs is not in the cache, and this run is offline"
    return ""


def get(*, offline: bool, bits: int = 64) -> Wine:
    """Give a Wine.

    :param bits: of the programs that it is to run.
    :raises RuntimeUnavailableError: there is none, and it cannot be fetched.
    """
    if found := of_host():
        if bits == 32 and found.windows32 is None:
            raise RuntimeUnavailableError(f"{found.version} of this host runs no 32-bit programs", fix=_ADVICE_32)
        return found
    archive = apt.host_repository()
    if archive is None or (offline and cache.find(_key(archive)) is None):
        raise RuntimeUnavailableError("there is no Wine here, and it cannot be fetched", fix=ADVICE)
    folder = cache.provision(_key(archive), lambda side: _unpack(archive, side))
    wine = Wine(
        program=folder / "usr/lib/wine/wine64",
        version=_version_of(folder),
        libraries=folder / "usr/lib/x86_64-linux-gnu",
        windows=folder / "usr/lib/x86_64-linux-gnu/wine/x86_64-windows",
    )
    if bits == 64:
        return wine
    key = _half_key(archive, wine.version)
    if offline and cache.find(key) is None:
        raise RuntimeUnavailableError(
            "what Wine needs for 32-bit programs is not in the cache, and this run is offline",
            fix="run once with the network",
        )
    half = cache.provision(key, lambda side: _unpack_half(archive, wine, side))
    return replace(wine, windows32=half / "i386-windows", path=half)


def describe(wine: Wine) -> Path:
    """Give the file that tells :mod:`.wine_session` of Wine and its pristine prefix, which is made if need be.

    :raises RuntimeUnavailableError: Wine does not work here.
    """
    stamp = f"{wine.program}\0{wine.version}\0{_PREFIX_GENERATION}" + (f"\0{wine.windows32}" if wine.windows32 else "")
    key = f"wine/prefix-{cache.digest(stamp)}"
    final = cache.path(key)

    def make(side: Path) -> None:
        with step(f"a prefix for {wine.version}", side):
            _make_prefix(wine, side / "prefix")
        (side / "wine.json").write_text(_words(wine, final / "prefix"), encoding="utf-8")

    return cache.provision(key, make) / "wine.json"


def _words(wine: Wine, prefix: Path) -> str:
    words = {"wine": wine.program, "prefix": prefix, "libraries": wine.libraries or "", "path": wine.path or ""}
    return json.dumps({name: str(value) for name, value in words.items()})


# --- from packages ---------------------------------------------------------------------------------------------------


def _key(archive: apt.Repository) -> str:
    return f"wine/{archive.distribution}-{cache.digest(archive.uri, str(_GENERATION))}"


def _half_key(archive: apt.Repository, version: str) -> str:
    return f"wine/{archive.distribution}-i386-{cache.digest(_key(archive), version, str(_HALF_GENERATION))}"


def _version_of(folder: Path) -> str:
    return (folder / "version").read_text(encoding="utf-8")


def _unpack(archive: apt.Repository, side: Path) -> None:
    problem: ProcessError | None = None
    for suite in dict.fromkeys(("stable", archive.codename, "testing", "unstable")):
        if archive.distribution == "ubuntu" and suite != archive.codename:
            continue
        shutil.rmtree(side / "usr", ignore_errors=True)
        try:
            with step(f"Wine from {archive.distribution} {suite}", side):
                packages = apt.fetch(
                    archive,
                    suite,
                    _PACKAGES,
                    side,
                    architecture="amd64",
                    dependencies=False,
                    optional=_OPTIONAL,
                )
                _settle(side, cache.path(_key(archive)))
        except ProcessError as error:
            problem = error
            continue
        (side / "version").write_text(_version(packages, archive, suite), encoding="utf-8")
        return
    raise RuntimeUnavailableError(
        "Wine could not be fetched from the host's archive",
        cause=problem.message if problem else "",
        fix=ADVICE,
        details=problem.details if problem else "",
    )


def _version(packages: dict[str, str], archive: apt.Repository, suite: str) -> str:
    version = packages["libwine"].partition("~")[0].partition("-")[0]
    return f"Wine {version} of {archive.distribution} {suite}"


def _unpack_half(archive: apt.Repository, wine: Wine, side: Path) -> None:
    """Fetch the libraries for 32-bit programs: the same version, from the same suite."""
    suite = wine.version.rpartition(" ")[2]
    unpacked = side / "unpacked"
    what = f"the 32-bit half of {wine.version}"
    with step(what, side):
        try:
            packages = apt.fetch(
                archive, suite, ("libwine",), unpacked, architecture="i386", dependencies=False, optional=_OPTIONAL
            )
        except ProcessError as error:
            raise RuntimeUnavailableError(
                f"{what} could not be fetched from the host's archive",
                cause=error.message,
                fix="run again when the archive can be reached",
                details=error.details,
            ) from error
        if _version(packages, archive, suite) != wine.version:
            raise RuntimeUnavailableError(
                f"{what} is not to be had any longer",
                cause=f"{archive.distribution} {suite} has {packages['libwine']} by now",
                fix=f"remove {wine.program.parents[3]}, so that both halves are fetched anew",
            )
        folder = next((path.parent for path in unpacked.glob("usr/lib/**/i386-windows/ntdll.dll")), None)
        if folder is None or wine.windows is None:
            raise RuntimeUnavailableError(
                f"the packages of {what} are not as expected: no i386-windows/ntdll.dll", fix=_ADVICE_32
            )
        folder.rename(side / "i386-windows")
        _take_zlib(unpacked / "usr/i686-w64-mingw32", side / "i386-windows")
        _slim_libraries(side / "i386-windows")
        # What the libraries call on Linux is looked for beside the folder in which they are.
        (side / "x86_64-unix").symlink_to(wine.windows.with_name("x86_64-unix"), target_is_directory=True)
        shutil.rmtree(unpacked)


def _take_zlib(source: Path, windows: Path) -> None:
    """Take a library of Windows' kind from another package (Debian's libz-mingw-w64), which a trigger would link."""
    if (source / "lib/zlib1.dll").is_file():
        (windows / "zlib1.dll").unlink(missing_ok=True)
        shutil.copy2(source / "lib/zlib1.dll", windows / "zlib1.dll")


def _slim_libraries(windows: Path) -> None:
    for path in windows.iterdir():
        data = path.read_bytes()
        slim = pe_strip.strip_debug_sections(data)
        if len(slim) < len(data):
            path.write_bytes(slim)


def _settle(side: Path, final: Path) -> None:
    """Make what was unpacked run from where it will be."""
    if not (side / "lib64").exists():
        for name in ("lib", "lib64"):
            if not (side / name).exists() and (side / "usr" / name).is_dir():
                (side / name).symlink_to(f"usr/{name}")
    elif (side / "lib").is_dir() and not (side / "lib").is_symlink():
        shutil.copytree(side / "lib", side / "usr/lib", symlinks=True, dirs_exist_ok=True)
    programs = side / "usr/lib/wine"
    loader = final / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    for name in ("wine64", "wineserver64"):
        data = (programs / name).read_bytes()
        (programs / name).write_bytes(_with_loader(data, loader))
    # A script that would be run by the host's shell with the libraries of another system.
    (programs / "wineserver").write_bytes((programs / "wineserver64").read_bytes())
    (programs / "wineserver").chmod(0o755)
    # Where Wine was built to look, relative to its programs (Debian's patches move its folders).
    (side / "usr/lib/share").symlink_to("../share")
    inner = side / "usr/share/wine/wine"
    if not inner.exists():
        inner.symlink_to(".")
    windows = side / "usr/lib/x86_64-linux-gnu/wine/x86_64-windows"
    _take_zlib(side / "usr/x86_64-w64-mingw32", windows)
    _slim_libraries(windows)
    for name in (
        "var",
        "etc",
        "usr/share/doc",
        "usr/i686-w64-mingw32",
        "usr/x86_64-w64-mingw32",
        "usr/x86_64-w64-mingw32ucrt",
    ):
        shutil.rmtree(side / name, ignore_errors=True)


def _with_loader(program: bytes, loader: Path) -> bytes:
    """Have the kernel start a program by another dynamic loader (elf(5); it reads the name from the file)."""
    data = bytearray(program)
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for at in range(table, table + size * count, size):
        if struct.unpack_from("<I", data, at)[0] == 3:  # PT_INTERP
            name = str(loader).encode() + b"\0"
            struct.pack_into("<Q", data, at + 8, len(data))
            struct.pack_into("<Q", data, at + 32, len(name))
            return bytes(data + name)
    raise RuntimeUnavailableError("the packages of Wine are not as expected: no dynamic loader", fix=ADVICE)


# --- the prefix ------------------------------------------------------------------------------------------------------


def _make_prefix(wine: Wine, prefix: Path) -> None:
    system, system32 = (prefix / "drive_c/windows" / name for name in ("system32", "syswow64"))
    for folder, source in ((system, wine.windows), (system32, wine.windows32)):
        if source is not None and (source / "zlib1.dll").is_file():
            # Not a part of Wine, so it is found in the place of Windows' own libraries only.
            folder.mkdir(parents=True)
            (folder / "zlib1.dll").symlink_to(source / "zlib1.dll")
    system.mkdir(parents=True, exist_ok=True)
    config = prefix.parent / "making.json"
    config.write_text(_words(wine, prefix), encoding="utf-8")
    command = [sys.executable, "-I", "-S", "-c", _MAKING, str(Path(runner.__file__)), str(config)]
    try:
        process.run(command, timeout=_DEADLINE)
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"{wine.version} does not work here", cause=error.message, fix=ADVICE, details=error.details
        ) from error
    config.unlink()
    if not (system / "kernel32.dll").exists():
        raise RuntimeUnavailableError(f"{wine.version} made no usable prefix", fix=ADVICE)
    _slim(prefix, [folder for folder in (wine.windows, wine.windows32) if folder])
    for bits, folder in ((64, system), (32, system32)):
        if folder.is_dir() and not (folder / "bcryptprimitives.dll").exists():
            (folder / "bcryptprimitives.dll").write_bytes(pe_programs.bcryptprimitives_dll(bits=bits))
    _tame(prefix)


#: Makes a prefix in the place of running a program in a copy of one.
_MAKING = """
import importlib.util, json, os, signal, sys, time
spec = importlib.util.spec_from_file_location("wine_runner", sys.argv[1])
runner = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runner)
wine = json.load(open(sys.argv[2]))
prefix = wine["prefix"]
watched = {signal.SIGCHLD}
runner.become_subreaper()
def run(*words):
    pid = os.fork()
    if pid == 0:
        env = runner.variables(wine, prefix, "")
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        runner.start(wine["wine"], list(words), env, watched)
    while os.waitpid(-1, 0)[0] != pid:
        pass
run("wineboot", "--init")
# The registry is written when the server has seen all programs end.
run("wineboot", "--shutdown")
end = time.monotonic() + 60
while not os.path.exists(prefix + "/system.reg") and time.monotonic() < end:
    time.sleep(0.1)
end = time.monotonic() + 10
while runner.descendants() and time.monotonic() < end:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        break
    time.sleep(0.05)
runner.sweep(prefix)
runner.remove_sockets(prefix)
"""


def _slim(prefix: Path, windows: Sequence[Path]) -> None:
    """Put links in the place of the copies of Wine's own libraries: several hundred megabytes.

    :param windows: the folders of these libraries, of which several may have a file of the same name and size.
    """
    for parent, folders, files in os.walk(prefix / "drive_c"):
        # Wine links the user's folders to those of the real home, which is this prefix; make them plain folders.
        for name in folders:
            path = Path(parent, name)
            if path.is_symlink():
                path.unlink()
                path.mkdir()
        for name in files:
            path = Path(parent, name)
            for source in (folder / name for folder in windows):
                if not path.is_symlink() and source.is_file() and filecmp.cmp(source, path, shallow=False):
                    path.unlink()
                    path.symlink_to(source)
    # Every session has drives of its own.
    shutil.rmtree(prefix / "dosdevices")
    (prefix / "dosdevices").mkdir()


def _tame(prefix: Path) -> None:
    """Turn off what a test has no use for: services, the debugger after a crash, windows on a screen, updates."""
    system = prefix / "system.reg"
    text = system.read_text(encoding="utf-8", errors="surrogateescape")

    def on_demand(match: re.Match[str]) -> str:
        if match[1] in _STARTED:
            return match[0]
        return re.sub(r'"Start"=dword:0000000[0-2]', '"Start"=dword:00000003', match[0])

    text = re.sub(
        r"^\[System\\\\(?:ControlSet001|CurrentControlSet)\\\\Services\\\\([^\\\]]+)\].*?(?=^\[)",
        on_demand,
        text,
        flags=re.MULTILINE | re.DOTALL,
    )
    # What is started with every session, only to find that it is turned off.
    text = re.sub(r'^"winemenubuilder"=.*\n', "", text, flags=re.MULTILINE)
    text = re.sub(r'^"Debugger"="winedbg[^"\n]*"', '"Debugger"="false"', text, flags=re.MULTILINE)
    system.write_text(text, encoding="utf-8", errors="surrogateescape")
    user = prefix / "user.reg"
    with user.open("a", encoding="utf-8") as file:
        file.write('\n[Software\\\\Wine\\\\Drivers]\n"Graphics"="null"\n"Audio"=""\n')
        file.write('\n[Software\\\\Wine\\\\WineDbg]\n"ShowCrashDialog"=dword:00000000\n')
    (prefix / ".update-timestamp").write_text("disable\n", encoding="utf-8")
    with contextlib.suppress(OSError):
        (prefix / "wineserver").unlink()
