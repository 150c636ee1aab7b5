"""What an interpreter reports about itself.

``python-discovery`` (the library that virtualenv finds interpreters with) resolves virtual environments. A small program, run
in the interpreter, reports facts that the library does not: free threading, the C library, the actual platform. Facts are
cached by path, modification time and size.
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

#: Seconds that an interpreter has to report its facts.
QUERY_TIMEOUT = 60.0

#: Increase when the cached facts change their meaning.
_GENERATION = 1

#: The program that an interpreter runs to report its facts.
# Runs in interpreters of any version, with -I -S: without site-packages, .pth files and sitecustomize.
# Only its loader reports the version of musl (PEP 656). The memory map names the loader even if a launcher started it.
QUERY = r"""
import json, os, platform, struct, sys, sysconfig
libc, libc_version, loader = "", "", ""
if sys.platform.startswith("linux"):
    try:
        libc, libc_version = os.confstr("CS_GNU_LIBC_VERSION").split()[:2]
    except Exception:
        try:
            with open("/proc/self/maps") as maps:
                for line in maps:
                    path = line.split()[-1]
                    if "ld-musl-" in path or path.endswith("/libc.so"):
                        libc, loader = "musl", path
                        break
        except Exception:
            pass
        if not libc and "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE")):
            libc = "musl"
        if loader:
            import subprocess
            try:
                output = subprocess.Popen([loader], stderr=subprocess.PIPE).communicate()[1].decode("ascii", "replace")
                libc_version = output.partition("Version ")[2].split()[0]
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
    """What an interpreter reports about itself.

    :param python: its executable.
    :param implementation: ``cpython``, ``pypy`` or another value of ``sys.implementation.name``.
    :param version: major, minor, micro.
    :param level: ``final``, ``candidate``, ``beta`` or ``alpha``.
    :param system: ``linux``, or another value of ``sys.platform``.
    :param architecture: as in platform tags.
    :param libc: ``glibc``, ``musl`` or an empty string.
    :param libc_version: major, minor; ``(0, 0)`` if unknown.
    :param system_version: the version of macOS: major, minor; ``(0, 0)`` on other systems.
    :param abi: the ABI tag of PyPy; otherwise empty.
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
        """The platform that it runs on."""
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
    """Run a small program in an interpreter and read the facts that it reports.

    :param argv: the argv that starts the interpreter; empty for its path alone.
    :raises ProcessError: it does not run, or not within :data:`QUERY_TIMEOUT`.
    :raises RuntimeUnavailableError: its output is not understood.
    """
    # Without this, a Python built against an old SDK takes macOS 11 and later for 10.16 (packaging.tags.mac_platforms).
    env = {**os.environ, "SYSTEM_VERSION_COMPAT": "0"}
    completed = process.run([*(argv or [python]), "-I", "-S", "-c", QUERY], env=env, timeout=QUERY_TIMEOUT)
    return read_answer(python, completed.stdout, completed.stderr)


def read_answer(python: Path, output: str, errors: str = "") -> Facts:
    """Read what an interpreter printed for :data:`QUERY`.

    :param errors: what it wrote to standard error.
    :raises RuntimeUnavailableError: it is not understood.
    """
    _, mark, text = output.rpartition("wheelcheck:")
    try:
        return _read(python, json.loads(text) if mark else {})
    except (ValueError, KeyError, TypeError) as error:
        raise RuntimeUnavailableError(
            f"{python} does not report what it is",
            cause="it is not a Python interpreter, or it is damaged",
            details=errors or output,
        ) from error


def _read(python: Path, answer: dict[str, Any]) -> Facts:
    system = str(answer["system"])
    tag = str(answer["platform"]).replace("-", "_").replace(".", "_")
    if system == "linux":
        architecture = narrow(tag.removeprefix("linux_"), bits=int(answer["bits"]))
    elif system == "win32":
        architecture = {"win32": "x86"}.get(tag, tag.removeprefix("win_"))
    else:
        architecture = str(answer["machine"])
    implementation = str(answer["implementation"])
    suffix = str(answer["suffix"]).split(".")
    # .pypy311-pp73-x86_64-linux-gnu.so; the same as in packaging.tags._generic_abi.
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
        libc_version=_major_minor(str(answer["libc_version"])),
        system_version=_major_minor(str(answer["mac"])),
        abi=abi,
    )


def _major_minor(text: str) -> tuple[int, int]:
    """Return the first two numbers in a version; 0 for one that is missing."""
    major, minor = [*map(int, re.findall(r"\d+", text)[:2]), 0, 0][:2]
    return major, minor


def identify(python: Path) -> Facts:
    """Return the facts of an interpreter; for that of a virtual environment, the facts of its base interpreter.

    :raises WheelcheckError: it does not run, its output is not understood, or its base is not found.
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
    """Return the installation of a native interpreter that was offered, with the facts that it reports.

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
    """Return the interpreter that a virtual environment is based on, through any number of them."""
    from python_discovery import PythonInfo

    try:
        info = PythonInfo.from_exe(str(python), None, raise_on_error=False, resolve_to_host=True)
    except Exception as error:  # The library declares no errors.
        raise RuntimeUnavailableError(
            f"{python} could not be identified: {error}", cause="python-discovery does not understand its output"
        ) from error
    if info is None:
        raise RuntimeUnavailableError(
            f"{python} could not be identified", cause="it is a wrapper that does not start a Python interpreter"
        )
    return Path(info.system_executable or info.executable or python)


def facts_to_json(facts: Facts) -> str:
    """Return facts as text."""
    return json.dumps({**asdict(facts), "python": str(facts.python)})


def facts_from_json(text: str) -> Facts:
    """Read the text that :func:`facts_to_json` returned.

    :raises ValueError: the text is not JSON.
    :raises KeyError: a field is missing.
    :raises TypeError: the fields are others.
    """
    fields = json.loads(text)
    for name in ("version", "libc_version", "system_version"):
        fields[name] = tuple(fields[name])
    return Facts(**{**fields, "python": Path(fields["python"])})


def _cache_file(python: Path) -> tuple[Path, list[object]]:
    status = python.stat()
    # A new C library of the host changes the facts of the same executable.
    key = [_GENERATION, str(python), status.st_mtime_ns, status.st_size, glibc()]
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
    # If the file cannot be written, the next run takes longer.
    with contextlib.suppress(OSError):
        file, key = _cache_file(python)
        file.parent.mkdir(parents=True, exist_ok=True)
        side = file.with_name(f".{file.stem}-{os.getpid()}-{threading.get_ident()}")
        text = json.dumps({"key": key, "facts": json.loads(facts_to_json(facts))})
        side.write_text(text, encoding="utf-8")
        side.replace(file)
