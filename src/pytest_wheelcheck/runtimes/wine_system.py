"""Wine itself, and the pristine prefix that every start of a program gets a copy of.

Wine is the host's own where there is one. Else it is unpacked from the packages of Debian into the cache, together
with the C library that they were built for, and runs from there: no root, and nothing of it reaches the system.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck import cache, process
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError

from . import apt, wine_pe, wine_session
from .progress import step

#: Bump when the way in which Wine or the prefix is made changes.
_GENERATION = 2
_PREFIX_GENERATION = 4

#: Seconds for making a prefix: 8 on an idle machine.
_DEADLINE = 300.0

#: What is unpacked, and what is there only in some releases.
_PACKAGES = ("wine64", "libwine", "libc6", "libgcc-s1", "libunwind8", "liblzma5")
_OPTIONAL = ("libz-mingw-w64",)

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

#: How to get it, for people.
ADVICE = "install Wine: apt install wine64, or what your distribution calls it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wine:
    """A Wine that can be run.

    :param program: starts a Windows program.
    :param libraries: folder of the libraries that it needs of its own; ``None`` where the system's will do.
    :param windows: folder of its libraries for Windows programs; ``None`` where it is not known.
    :param version: for people.
    """

    program: Path
    version: str
    libraries: Path | None = None
    windows: Path | None = None


def of_host() -> Wine | None:
    """Find the Wine that is installed."""
    for name in ("wine64", "wine", "/usr/lib/wine/wine64"):
        if found := shutil.which(name):
            try:
                told = process.run([found, "--version"], timeout=60.0)
            except ProcessError:
                continue
            windows = next((Path(place) for place in _LIBRARIES if Path(place).is_dir()), None)
            return Wine(program=Path(found), version=told.stdout.strip(), windows=windows)
    return None


def hindrance(*, offline: bool) -> str:
    """Say why there can be no Wine here, or nothing. Fetches nothing."""
    if _unpacked() is not None or any(shutil.which(name) for name in ("wine64", "wine", "/usr/lib/wine/wine64")):
        return ""
    if apt.archive() is None:
        return f"there is no Wine on this host; {ADVICE}"
    return "Wine is neither installed nor in the cache, and this run is offline" if offline else ""


def get(*, offline: bool) -> Wine:
    """Give a Wine.

    :raises RuntimeUnavailableError: there is none, and it cannot be fetched.
    """
    if found := of_host():
        return found
    folder = _unpacked()
    if folder is None:
        archive = apt.archive()
        if archive is None or offline:
            raise RuntimeUnavailableError("there is no Wine here, and it cannot be fetched", advice=ADVICE)
        folder = cache.provision(_key(archive), lambda side: _unpack(archive, side))
    return Wine(
        program=folder / "usr/lib/wine/wine64",
        version=(folder / "version").read_text(encoding="utf-8"),
        libraries=folder / "usr/lib/x86_64-linux-gnu",
        windows=folder / "usr/lib/x86_64-linux-gnu/wine/x86_64-windows",
    )


def describe(wine: Wine) -> Path:
    """Give the file that tells :mod:`.wine_session` of Wine and its pristine prefix, which is made if need be.

    :raises RuntimeUnavailableError: Wine does not work here.
    """
    stamp = f"{wine.program}\0{wine.version}\0{_PREFIX_GENERATION}"
    key = f"wine/prefix-{cache.digest(stamp)}"
    final = cache.place(key)

    def make(side: Path) -> None:
        with step(f"a prefix for {wine.version}", side):
            _make_prefix(wine, side / "prefix")
        words = {
            "wine": str(wine.program),
            "prefix": str(final / "prefix"),
            "libraries": str(wine.libraries or ""),
        }
        (side / "wine.json").write_text(json.dumps(words), encoding="utf-8")

    return cache.provision(key, make) / "wine.json"


# --- from packages ---------------------------------------------------------------------------------------------------


def _key(archive: apt.Archive) -> str:
    return f"wine/{archive.distribution}-{cache.digest(archive.uri, str(_GENERATION))}"


def _unpacked() -> Path | None:
    archive = apt.archive()
    return cache.present(_key(archive)) if archive else None


def _unpack(archive: apt.Archive, side: Path) -> None:
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
                _settle(side, cache.place(_key(archive)))
        except ProcessError as error:
            problem = error
            continue
        version = packages["libwine"].partition("~")[0].partition("-")[0]
        (side / "version").write_text(f"Wine {version} of {archive.distribution} {suite}", encoding="utf-8")
        return
    raise RuntimeUnavailableError(
        "Wine could not be fetched from the host's archive",
        cause=problem.what if problem else "",
        advice=ADVICE,
        details=problem.details if problem else "",
    )


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
    # A library of Windows' kind from another package (Debian's libz-mingw-w64), which a trigger would link.
    zlib = side / "usr/x86_64-w64-mingw32/lib/zlib1.dll"
    if zlib.is_file():
        target = side / "usr/lib/x86_64-linux-gnu/wine/x86_64-windows/zlib1.dll"
        target.unlink(missing_ok=True)
        shutil.copy2(zlib, target)
    for path in (side / "usr/lib/x86_64-linux-gnu/wine/x86_64-windows").iterdir():
        data = path.read_bytes()
        slim = wine_pe.without_debugging(data)
        if len(slim) < len(data):
            path.write_bytes(slim)
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
    raise RuntimeUnavailableError("the packages of Wine are not as expected: no dynamic loader", advice=ADVICE)


# --- the prefix ------------------------------------------------------------------------------------------------------


def _make_prefix(wine: Wine, prefix: Path) -> None:
    system = prefix / "drive_c/windows/system32"
    system.mkdir(parents=True)
    zlib = (wine.windows or Path()) / "zlib1.dll"
    if zlib.is_file():
        # Not a part of Wine, so it is found in the place of Windows' own libraries only.
        (system / "zlib1.dll").symlink_to(zlib)
    config = prefix.parent / "making.json"
    words = {"wine": str(wine.program), "prefix": str(prefix), "libraries": str(wine.libraries or "")}
    config.write_text(json.dumps(words), encoding="utf-8")
    command = [sys.executable, "-I", "-S", "-c", _MAKING, str(Path(wine_session.__file__)), str(config)]
    try:
        process.run(command, timeout=_DEADLINE)
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"{wine.version} does not work here", cause=error.what, advice=ADVICE, details=error.details
        ) from error
    config.unlink()
    if not (system / "kernel32.dll").exists():
        raise RuntimeUnavailableError(f"{wine.version} made no usable prefix", advice=ADVICE)
    _slim(prefix, wine.windows)
    if not (system / "bcryptprimitives.dll").exists():
        (system / "bcryptprimitives.dll").write_bytes(wine_pe.random_numbers())
    _tame(prefix)


#: Makes a prefix in the place of running a program in a copy of one.
_MAKING = """
import importlib.util, json, os, signal, sys, time
spec = importlib.util.spec_from_file_location("wine_session", sys.argv[1])
session = importlib.util.module_from_spec(spec)
spec.loader.exec_module(session)
wine = json.load(open(sys.argv[2]))
prefix = wine["prefix"]
watched = {signal.SIGCHLD}
session.become_subreaper()
def run(*words):
    pid = os.fork()
    if pid == 0:
        env = session.variables(wine, prefix, "")
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        session.start(wine["wine"], list(words), env, watched)
    while os.waitpid(-1, 0)[0] != pid:
        pass
run("wineboot", "--init")
# The registry is written when the server has seen all programs end.
run("wineboot", "--shutdown")
end = time.monotonic() + 60
while not os.path.exists(prefix + "/system.reg") and time.monotonic() < end:
    time.sleep(0.1)
end = time.monotonic() + 10
while session.descendants() and time.monotonic() < end:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        break
    time.sleep(0.05)
session.sweep(prefix)
session.remove_sockets(prefix)
"""


def _slim(prefix: Path, windows: Path | None) -> None:
    """Put links in the place of the copies of Wine's own libraries: several hundred megabytes."""
    for parent, folders, files in os.walk(prefix / "drive_c"):
        # Wine links the user's folders to those of the real home, which is this prefix; make them plain folders.
        for name in folders:
            path = Path(parent, name)
            if path.is_symlink():
                path.unlink()
                path.mkdir()
        for name in files:
            path = Path(parent, name)
            source = windows / name if windows else None
            if source and not path.is_symlink() and source.is_file() and source.stat().st_size == path.stat().st_size:
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
