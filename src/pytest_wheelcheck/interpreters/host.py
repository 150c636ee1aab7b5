"""The interpreters that the host has: the running one, those on ``PATH``, and those of well-known folders.

The candidates are listed here; ``python-discovery`` (the library with which virtualenv finds interpreters) judges them
one by one, and one small program run in each tells what the library does not: free threading, the C library, the
platform as it really is. What was learnt is kept in the cache, by path, modification time and size.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError, WheelcheckError
from pytest_wheelcheck.interpreters import tags
from pytest_wheelcheck.interpreters.base import OLDEST, Answer, Offer, Platform, Request, fits, glibc, narrow
from pytest_wheelcheck.model import Runtime
from pytest_wheelcheck.system import cache, process

#: Seconds that an interpreter may take to tell about itself.
QUERY_DEADLINE = 60.0

_NAMES = re.compile(r"(python|pypy)(3(\.\d+t?)?)?(\.exe)?", re.IGNORECASE)

#: Where the interpreter is in a folder of an installation. What Windows cannot start may lie beside what it can.
_PLACES = ("bin/python3", "bin/pypy3", "bin/python", "install/bin/python3")
_PLACES_WINDOWS = ("python.exe", "pypy3.exe", "install/python.exe")

#: Bump when the cached facts change their meaning.
_GENERATION = 1

# Runs in interpreters of any age, with -I -S: so no site-packages, no .pth file and no sitecustomize takes part.
# musl tells its version only through its loader (PEP 656), which the memory map names also where a launcher started it.
_QUERY = r"""
import json, os, platform, struct, sys, sysconfig
libc, libc_version, loader = "", "", ""
if sys.platform.startswith("linux"):
    try:
        libc, libc_version = os.confstr("CS_GNU_LIBC_VERSION").split()[:2]
    except Exception:
        try:
            with open("/proc/self/maps") as maps:
                for line in maps:
                    word = line.split()[-1]
                    if "ld-musl-" in word or word.endswith("/libc.so"):
                        libc, loader = "musl", word
                        break
        except Exception:
            pass
        if not libc and "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE")):
            libc = "musl"
        if loader:
            import subprocess
            try:
                said = subprocess.Popen([loader], stderr=subprocess.PIPE).communicate()[1].decode("ascii", "replace")
                libc_version = said.partition("Version ")[2].split()[0]
            except Exception:
                pass
print("wheelcheck:" + json.dumps({
    "implementation": sys.implementation.name,
    "version": list(sys.version_info),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "system": "linux" if sys.platform.startswith("linux") else sys.platform,
    "platform": sysconfig.get_platform(),
    "machine": platform.machine(),
    "mac": platform.mac_ver()[0],
    "bits": 8 * struct.calcsize("P"),
    "libc": libc,
    "libc_version": libc_version,
    "suffix": sysconfig.get_config_var("EXT_SUFFIX") or "",
}))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What an interpreter told about itself.

    :param python: the executable that was asked.
    :param level: ``final``, ``candidate``, ``beta`` or ``alpha``.
    :param system_version: macOS's version; ``(0, 0)`` elsewhere.
    :param abi: the ABI tag of an implementation other than CPython.
    """

    python: Path
    implementation: str
    version: tuple[int, int, int]
    level: str
    free_threaded: bool
    system: str
    architecture: str
    libc: str
    libc_version: tuple[int, int]
    system_version: tuple[int, int]
    abi: str

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return Platform(system=self.system, architecture=self.architecture, libc=self.libc)

    @property
    def tags(self) -> tuple[str, ...]:
        """Every tag it accepts, best first."""
        return tags.accepted(
            implementation=self.implementation,
            version=self.version,
            free_threaded=self.free_threaded,
            system=self.system,
            architecture=self.architecture,
            libc=self.libc,
            libc_version=self.libc_version,
            system_version=self.system_version if self.system == "darwin" else None,
            abi=self.abi or None,
        )


def query(python: Path, argv: Sequence[str | Path] = ()) -> Facts:
    """Run one small program in an interpreter and read what it tells.

    :param argv: how to start it; its path alone, if empty.
    :raises ProcessError: it does not run, or not within a minute.
    :raises RuntimeUnavailableError: it runs, and tells nothing that can be understood.
    """
    # Without it, a Python built against an old SDK takes macOS 11 and later for 10.16 (packaging.tags.mac_platforms).
    env = {**os.environ, "SYSTEM_VERSION_COMPAT": "0"}
    done = process.run([*(argv or [python]), "-I", "-S", "-c", _QUERY], env=env, timeout=QUERY_DEADLINE)
    _, mark, text = done.stdout.rpartition("wheelcheck:")
    try:
        return _read(python, json.loads(text) if mark else {})
    except (ValueError, KeyError, TypeError) as error:
        raise RuntimeUnavailableError(
            f"{python} does not say what it is",
            cause="it is not a Python interpreter, or one that is damaged",
            details=done.stderr or done.stdout,
        ) from error


def _read(python: Path, told: dict[str, Any]) -> Facts:
    system = str(told["system"])
    where = str(told["platform"]).replace("-", "_").replace(".", "_")
    if system == "linux":
        architecture = narrow(where.removeprefix("linux_"), bits=int(told["bits"]))
    elif system == "win32":
        architecture = {"win32": "x86"}.get(where, where.removeprefix("win_"))
    else:
        architecture = str(told["machine"])
    implementation = str(told["implementation"])
    suffix = str(told["suffix"]).split(".")
    # As packaging.tags._generic_abi does it: .pypy311-pp73-x86_64-linux-gnu.so
    abi = "_".join(suffix[1].split("-")[:2]) if implementation == "pypy" and len(suffix) > 2 else ""
    version = told["version"]
    return Facts(
        python=python,
        implementation=implementation,
        version=(int(version[0]), int(version[1]), int(version[2])),
        level=str(version[3]),
        free_threaded=bool(told["free_threaded"]),
        system=system,
        architecture=architecture,
        libc=str(told["libc"]),
        libc_version=_two(str(told["libc_version"])),
        system_version=_two(str(told["mac"])),
        abi=abi,
    )


def _two(text: str) -> tuple[int, int]:
    numbers = [int(number) for number in re.findall(r"\d+", text)[:2]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (numbers[0], 0) if numbers else (0, 0)


def judge(python: Path) -> Facts:
    """Find out what an interpreter is; one of a virtual environment stands for the one below it.

    :raises WheelcheckError: it does not run, is not understood, or its base cannot be found.
    """
    facts = _remembered(python)
    if facts is not None:
        return facts
    facts = query(python)
    if facts.version[:2] >= OLDEST:
        # Before 3.14, only site.py tells a virtual environment, and the query runs without it.
        base = _base(python).resolve()
        if base.parent != python.parent:
            facts = query(base)
    _remember(python, facts)
    return facts


def runtime_of(offer: Offer, python: Path) -> Runtime:
    """Make the runtime of a native interpreter that was offered, of what it turns out to be.

    :raises WheelcheckError: as :func:`judge` does.
    """
    facts = judge(python)
    return replace(
        offer,
        implementation=facts.implementation,
        version=facts.version,
        free_threaded=facts.free_threaded,
        platform=facts.platform,
        libc_version=facts.libc_version,
        tags=facts.tags,
    ).runtime(python)


def _base(python: Path) -> Path:
    """Ask python-discovery for the interpreter itself, below all virtual environments."""
    from python_discovery import PythonInfo

    try:
        info = PythonInfo.from_exe(str(python), None, raise_on_error=False, resolve_to_host=True)
    except Exception as error:  # the library raises whatever the interpreter's answer leads to
        raise RuntimeUnavailableError(
            f"{python} could not be judged: {error}", cause="python-discovery does not understand its answer"
        ) from error
    if info is None:
        raise RuntimeUnavailableError(
            f"{python} could not be judged", cause="it is a wrapper that does not end in a Python interpreter"
        )
    return Path(info.system_executable or info.executable or python)


def facts_to_json(facts: Facts) -> str:
    """Write facts as text."""
    return json.dumps({**asdict(facts), "python": str(facts.python)})


def facts_from_json(text: str) -> Facts:
    """Read what :func:`facts_to_json` wrote.

    :raises ValueError: it is something else; also as :class:`KeyError` or :class:`TypeError`.
    """
    told = json.loads(text)
    for name in ("version", "libc_version", "system_version"):
        told[name] = tuple(told[name])
    return Facts(**{**told, "python": Path(told["python"])})


def _memory(python: Path) -> tuple[Path, list[object]]:
    found = python.stat()
    # A new C library of the host changes the answer of the same executable.
    key = [_GENERATION, str(python), found.st_mtime_ns, found.st_size, glibc()]
    return cache.root() / "interpreters" / f"{cache.digest(str(python))}.json", key


def _remembered(python: Path) -> Facts | None:
    try:
        file, key = _memory(python)
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["key"] != key:
            return None
        facts = facts_from_json(json.dumps(kept["facts"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if facts.python.exists() else None


def _remember(python: Path, facts: Facts) -> None:
    # Not being able to write costs time only.
    with contextlib.suppress(OSError):
        file, key = _memory(python)
        file.parent.mkdir(parents=True, exist_ok=True)
        side = file.with_name(f".{file.stem}-{os.getpid()}-{threading.get_ident()}")
        text = json.dumps({"key": key, "facts": json.loads(facts_to_json(facts))})
        side.write_text(text, encoding="utf-8")
        side.replace(file)


def candidates() -> Iterator[tuple[Path, str]]:
    """List the executables that may be interpreters of this host, each with where it was found, best known first.

    Folders of shims are left out: pyenv's start whatever the working directory asks for, or fail.
    """
    yield Path(sys.executable), "the running interpreter"
    for entry in dict.fromkeys(os.environ.get("PATH", "").split(os.pathsep)):
        if entry and Path(entry).name not in {"shims", "WindowsApps"}:
            for file in _entries(Path(entry)):
                if _NAMES.fullmatch(file.name) and (os.name != "nt" or file.suffix.lower() == ".exe"):
                    yield file, "PATH"
    for folder, where in _folders():
        for version in _entries(folder):
            if not version.name.startswith("."):
                for name in _PLACES_WINDOWS if os.name == "nt" else _PLACES:
                    if (version / name).is_file():
                        yield version / name, where
                        break


def _folders() -> Iterator[tuple[Path, str]]:
    home = Path("~").expanduser()
    yield Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions", "pyenv"
    # uv's documentation, «Storage»: XDG_DATA_HOME also on macOS, the roaming folder on Windows.
    if chosen := os.environ.get("UV_PYTHON_INSTALL_DIR"):
        yield Path(chosen), "uv"
    elif sys.platform == "win32":
        yield Path(os.environ.get("APPDATA") or home / "AppData/Roaming") / "uv/python", "uv"
        yield Path(os.environ.get("APPDATA") or home / "AppData/Roaming") / "uv/data/python", "uv"
    else:
        yield Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share") / "uv/python", "uv"
    # The manylinux and musllinux images.
    yield Path("/opt/python"), "/opt/python"
    if sys.platform == "darwin":
        yield Path("/Library/Frameworks/Python.framework/Versions"), "python.org"
        yield Path("/Library/Frameworks/PythonT.framework/Versions"), "python.org"
    if sys.platform == "win32":
        for variable, below in (("LOCALAPPDATA", "Programs/Python"), ("ProgramFiles", ".")):
            if os.environ.get(variable):
                yield Path(os.environ[variable]) / below, "python.org"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError:
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An interpreter of the host, and where it was found."""

    facts: Facts
    where: str


class HostProvider:
    """Offers the host's own interpreters: one, the newest, of each kind and minor version.

    All candidates are looked at once, at the first question. An explicit path is always taken as it is.
    """

    name = "host"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: tuple[Found, ...] | None = None
        self._left_out: dict[Path, str] = {}
        self._explicit: dict[str, Found] = {}

    @property
    def left_out(self) -> dict[Path, str]:
        """The candidates that are not offered, each with the reason. Filled by the first question."""
        return dict(self._left_out)

    def found(self) -> tuple[Found, ...]:
        """Give every interpreter of the host that works and is new enough, best known first."""
        with self._lock:
            if self._found is None:
                self._found = self._search()
            return self._found

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — others look at it
        """See :meth:`.base.Provider.costly`."""
        return False

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        if request.python is not None:
            return self._path(request.python, request.platform)
        best: dict[object, Found] = {}
        for found in self.found():
            facts = found.facts
            if not fits(facts.platform, request.platform):
                continue
            kind = (facts.implementation, facts.version[:2], facts.free_threaded, facts.platform)
            # Of two equal ones the first stays, and the running one comes first.
            if kind not in best or _age(facts) > _age(best[kind].facts):
                best[kind] = found
        return Answer(offers=tuple(self._offer(found) for found in best.values()))

    def get(self, offer: Offer) -> Runtime:
        """See :meth:`.base.Provider.get`."""
        python = Path(offer.key)
        if not python.exists():
            raise RuntimeUnavailableError(
                f"{python} is gone", cause="it was removed while this run was going on", fix="run again"
            )
        return offer.runtime(python)

    def _offer(self, found: Found) -> Offer:
        facts = found.facts
        return Offer(
            provider=self.name,
            implementation=facts.implementation,
            version=facts.version,
            free_threaded=facts.free_threaded,
            platform=facts.platform,
            libc_version=facts.libc_version,
            tags=facts.tags,
            how=f"{facts.python} ({found.where})",
            key=str(facts.python),
        )

    def _path(self, python: Path, platform: Platform) -> Answer:
        path = python.expanduser().absolute()
        if path.is_dir():
            # A folder such as a virtual environment or an installation.
            inside = [path / name for name in ("bin/python3", "bin/python", "python.exe", "Scripts/python.exe")]
            path = next((file for file in inside if file.is_file()), path)
        if not path.is_file():
            return Answer(reason=f"there is no interpreter at {python}")
        try:
            facts = judge(path.resolve())
        except WheelcheckError as error:
            return Answer(reason=error.message)
        if facts.version[:2] < OLDEST:
            return Answer(reason=_too_old(facts))
        if not fits(facts.platform, platform):
            return Answer()
        return Answer(offers=(self._offer(Found(facts=facts, where="named by its path")),))

    def _search(self) -> tuple[Found, ...]:
        unique: dict[Path, str] = {}
        for path, where in candidates():
            with contextlib.suppress(OSError):
                # Links to one executable are one interpreter, also those of virtual environments.
                unique.setdefault(path.resolve(strict=True), where)
        with ThreadPoolExecutor(max_workers=min(8, (os.cpu_count() or 2) + 1)) as pool:
            judged = process.map_concurrently(pool, self._judge, unique)
        result: dict[Path, Found] = {}
        for facts, where in zip(judged, unique.values(), strict=True):
            if facts is not None:
                result.setdefault(facts.python, Found(facts=facts, where=where))
        return tuple(result.values())

    def _judge(self, path: Path) -> Facts | None:
        try:
            facts = judge(path)
        except ProcessError as error:
            self._left_out[path] = f"{error.message}\n{error.details}".strip()
        except WheelcheckError as error:
            self._left_out[path] = error.message
        else:
            if facts.version[:2] >= OLDEST:
                return facts
            self._left_out[path] = _too_old(facts)
        return None


def _age(facts: Facts) -> tuple[tuple[int, int, int], bool]:
    return facts.version, facts.level == "final"


def _too_old(facts: Facts) -> str:
    version = ".".join(map(str, facts.version[:2]))
    return f"{facts.python} is Python {version}; {'.'.join(map(str, OLDEST))} is the oldest that gets targets"
