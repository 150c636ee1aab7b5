"""What an interpreter reports about itself.

``python-discovery`` (the library with which virtualenv finds interpreters) resolves virtual environments, and one small
program run in each interpreter reports what the library does not: free threading, the C library, the actual platform. Facts
are cached by path, modification time and size.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters import tags
from pytest_wheelcheck.interpreters.base import OLDEST, Offer, glibc, narrow
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import cache, process

#: Seconds that an interpreter may take to tell about itself.
QUERY_DEADLINE = 60.0

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
    """What an interpreter answer about itself.

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


def _read(python: Path, answer: dict[str, Any]) -> Facts:
    system = str(answer["system"])
    where = str(answer["platform"]).replace("-", "_").replace(".", "_")
    if system == "linux":
        architecture = narrow(where.removeprefix("linux_"), bits=int(answer["bits"]))
    elif system == "win32":
        architecture = {"win32": "x86"}.get(where, where.removeprefix("win_"))
    else:
        architecture = str(answer["machine"])
    implementation = str(answer["implementation"])
    suffix = str(answer["suffix"]).split(".")
    # As packaging.tags._generic_abi does it: .pypy311-pp73-x86_64-linux-gnu.so
    abi = "_".join(suffix[1].split("-")[:2]) if implementation == "pypy" and len(suffix) > 2 else ""
    version = answer["version"]
    return Facts(
        python=python,
        implementation=implementation,
        version=(int(version[0]), int(version[1]), int(version[2])),
        level=str(version[3]),
        free_threaded=bool(answer["free_threaded"]),
        system=system,
        architecture=architecture,
        libc=str(answer["libc"]),
        libc_version=_two(str(answer["libc_version"])),
        system_version=_two(str(answer["mac"])),
        abi=abi,
    )


def _two(text: str) -> tuple[int, int]:
    numbers = [int(number) for number in re.findall(r"\d+", text)[:2]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (numbers[0], 0) if numbers else (0, 0)


def identify(python: Path) -> Facts:
    """Return the facts of an interpreter; for one of a virtual environment, those of its base interpreter.

    :raises WheelcheckError: it does not run, its answer is not understood, or its base is not found.
    """
    facts = _cached(python)
    if facts is not None:
        return facts
    facts = query(python)
    if facts.version[:2] >= OLDEST:
        # Before 3.14, only site.py detects a virtual environment, and the query runs without it.
        base = _base(python).resolve()
        if base.parent != python.parent:
            facts = query(base)
    _store(python, facts)
    return facts


def installation_of(offer: Offer, python: Path) -> Installation:
    """Return the installation of a native interpreter that was offered, with what it reports about itself.

    :raises WheelcheckError: as :func:`identify` does.
    """
    facts = identify(python)
    measured = replace(
        offer,
        implementation=facts.implementation,
        version=facts.version,
        free_threaded=facts.free_threaded,
        platform=facts.platform,
        libc_version=facts.libc_version,
        tags=facts.tags,
    )
    return measured.installation(python, library=python.resolve().parent.parent / "lib")


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
    answer = json.loads(text)
    for name in ("version", "libc_version", "system_version"):
        answer[name] = tuple(answer[name])
    return Facts(**{**answer, "python": Path(answer["python"])})


def _cache_file(python: Path) -> tuple[Path, list[object]]:
    found = python.stat()
    # A new C library of the host changes the answer of the same executable.
    key = [_GENERATION, str(python), found.st_mtime_ns, found.st_size, glibc()]
    return cache.root() / "interpreters" / f"{cache.digest(str(python))}.json", key


def _cached(python: Path) -> Facts | None:
    try:
        file, key = _cache_file(python)
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["key"] != key:
            return None
        facts = facts_from_json(json.dumps(stored["facts"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if facts.python.exists() else None


def _store(python: Path, facts: Facts) -> None:
    # Not being able to write costs time only.
    with contextlib.suppress(OSError):
        file, key = _cache_file(python)
        file.parent.mkdir(parents=True, exist_ok=True)
        side = file.with_name(f".{file.stem}-{os.getpid()}-{threading.get_ident()}")
        text = json.dumps({"key": key, "facts": json.loads(facts_to_json(facts))})
        side.write_text(text, encoding="utf-8")
        side.replace(file)
