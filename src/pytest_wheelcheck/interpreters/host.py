"""The provider ``host``: the running interpreter, those on ``PATH``, and those in well-known directories.

This module lists the candidates, and :mod:`.facts` identifies them.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError, WheelcheckError
from pytest_wheelcheck.interpreters.base import OLDEST, Answer, Offer, Request, Starter, fits
from pytest_wheelcheck.interpreters.facts import Facts, identify
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import pools

#: The file names of interpreters.
_NAMES = re.compile(r"(python|pypy)(3(\.\d+t?)?)?(\.exe)?", re.IGNORECASE)

#: The interpreter's paths in an installation. On Windows, an installation may also contain programs for other systems.
_EXECUTABLES = ("bin/python3", "bin/pypy3", "bin/python", "install/bin/python3")
_EXECUTABLES_WINDOWS = ("python.exe", "pypy3.exe", "install/python.exe")


def candidates() -> Iterator[tuple[Path, str]]:
    """Yield the executables that may be interpreters of this host, and where each was found; the running one first.

    Directories of shims are omitted. A shim of pyenv starts the version that the working directory selects, or fails.
    """
    yield Path(sys.executable), "the running interpreter"
    for entry in dict.fromkeys(os.environ.get("PATH", "").split(os.pathsep)):
        if entry and Path(entry).name not in {"shims", "WindowsApps"}:
            for file in _entries(Path(entry)):
                if _NAMES.fullmatch(file.name) and (os.name != "nt" or file.suffix.lower() == ".exe"):
                    yield file, "PATH"
    for directory, where in _directories():
        for installation in _entries(directory):
            if not installation.name.startswith("."):
                for name in _EXECUTABLES_WINDOWS if os.name == "nt" else _EXECUTABLES:
                    if (installation / name).is_file():
                        yield installation / name, where
                        break


def _directories() -> Iterator[tuple[Path, str]]:
    """Yield the well-known directories of installations."""
    home = Path("~").expanduser()
    yield Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions", "pyenv"
    # uv's documentation, "Storage": XDG_DATA_HOME also on macOS, the roaming directory on Windows.
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
        for variable, name in (("LOCALAPPDATA", "Programs/Python"), ("ProgramFiles", ".")):
            if os.environ.get(variable):
                yield Path(os.environ[variable]) / name, "python.org"


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir(), key=lambda path: path.name)
    except OSError:
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class HostInterpreter:
    """An interpreter of the host.

    :param where: where it was found, for the user.
    """

    facts: Facts
    where: str


class HostProvider:
    """Offers the host's own interpreters: of each kind and minor version the newest one.

    All candidates are identified once, for the first request. An explicit path is not compared with others.
    """

    name = "host"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interpreters: tuple[HostInterpreter, ...] | None = None
        self._left_out: dict[Path, str] = {}

    @property
    def left_out(self) -> dict[Path, str]:
        """The candidates that are not offered, each with the reason. Empty before the first request."""
        return dict(self._left_out)

    def interpreters(self) -> tuple[HostInterpreter, ...]:
        """Return every interpreter of the host that runs and is supported; the running one first."""
        with self._lock:
            if self._interpreters is None:
                self._interpreters = self._search()
            return self._interpreters

    def cpython(self, version: tuple[int, int], *, free_threaded: bool | None = False) -> Path | None:
        """Return the host's own CPython of a minor version, if it has a final release of it.

        :param free_threaded: which build; ``None`` for either.
        """
        for interpreter in self.interpreters():
            facts = interpreter.facts
            if (
                facts.implementation == "cpython"
                and facts.version[:2] == version
                and facts.level == "final"
                and free_threaded in {None, facts.free_threaded}
            ):
                return facts.python
        return None

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — part of the protocol
        """See :meth:`.base.Provider.costly`."""
        return False

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        if request.python is not None:
            return self._explicit(request.python, request.platform)
        best: dict[object, HostInterpreter] = {}
        for interpreter in self.interpreters():
            facts = interpreter.facts
            if not fits(facts.platform, request.platform):
                continue
            kind = (facts.implementation, facts.version[:2], facts.free_threaded, facts.platform)
            # Of equal ones the first is used. So the running one has precedence.
            if kind not in best or _release(facts) > _release(best[kind].facts):
                best[kind] = interpreter
        return Answer.of(self._offer(interpreter) for interpreter in best.values())

    def parts(self, offer: Offer) -> tuple[Part, ...]:  # noqa: ARG002 — part of the protocol
        """See :meth:`.base.Provider.parts`: it is there."""
        return ()

    def get(self, offer: Offer, starter: Starter) -> Installation:  # noqa: ARG002 — part of the protocol
        """See :meth:`.base.Provider.get`."""
        python = Path(offer.key)
        if not python.exists():
            raise RuntimeUnavailableError(
                f"{python} does not exist anymore", cause="it was removed during this run", fix="run again"
            )
        return offer.installation(python, library=python.resolve().parent.parent / "lib")

    def _offer(self, interpreter: HostInterpreter) -> Offer:
        facts = interpreter.facts
        return Offer(
            provider=self.name,
            implementation=facts.implementation,
            version=facts.version,
            free_threaded=facts.free_threaded,
            platform=facts.platform,
            libc_version=facts.libc_version,
            tags=facts.tags,
            how=f"{facts.python} ({interpreter.where})",
            key=str(facts.python),
            prerelease=facts.level != "final",
            runs_here=True,
        )

    def _explicit(self, python: Path, platform: Platform) -> Answer:
        """Return the offer of an interpreter by its path, or by the directory of its environment or installation."""
        path = python.expanduser().absolute()
        if path.is_dir():
            files = [path / name for name in ("bin/python3", "bin/python", "python.exe", "Scripts/python.exe")]
            path = next((file for file in files if file.is_file()), path)
        if not path.is_file():
            return Answer.of(reason=f"there is no interpreter at {python}")
        try:
            facts = identify(path.resolve())
        except WheelcheckError as error:
            return Answer.of(reason=error.message)
        if facts.version[:2] < OLDEST:
            return Answer.of(reason=_too_old(facts))
        if not fits(facts.platform, platform):
            return Answer()
        return Answer.of([self._offer(HostInterpreter(facts=facts, where="named by its path"))])

    def _search(self) -> tuple[HostInterpreter, ...]:
        unique: dict[Path, str] = {}
        for path, where in candidates():
            with contextlib.suppress(OSError):
                # Links to the same executable are one interpreter, even those in virtual environments.
                unique.setdefault(path.resolve(strict=True), where)
        with pools.threads(min(8, (os.cpu_count() or 2) + 1), "identify") as pool:
            identified = pools.map_concurrently(pool, self._identify, unique)
        result: dict[Path, HostInterpreter] = {}
        for facts, where in zip(identified, unique.values(), strict=True):
            if facts is not None:
                result.setdefault(facts.python, HostInterpreter(facts=facts, where=where))
        return tuple(result.values())

    def _identify(self, path: Path) -> Facts | None:
        try:
            facts = identify(path)
        except ProcessError as error:
            self._left_out[path] = f"{error.message}\n{error.details}".strip()
        except WheelcheckError as error:
            self._left_out[path] = error.message
        else:
            if facts.version[:2] >= OLDEST:
                return facts
            self._left_out[path] = _too_old(facts)
        return None


def _release(facts: Facts) -> tuple[tuple[int, int, int], bool]:
    """Return a key that orders releases: a newer one is greater."""
    return facts.version, facts.level == "final"


def _too_old(facts: Facts) -> str:
    version = ".".join(map(str, facts.version[:2]))
    return f"{facts.python} is Python {version}; {'.'.join(map(str, OLDEST))} is the oldest supported version"
