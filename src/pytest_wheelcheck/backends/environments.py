"""Virtual environments on this host's file system: made by virtualenv or by hand, filled by uv.

An environment contains the wheel and its declared dependencies, and nothing else, as that of a user does. Its files are
copies, not links to a cache, because code under test may edit its own site-packages.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pytest_wheelcheck.backends.base import Environment, Runtime
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.packages import libraries, tkinter
from pytest_wheelcheck.model import Installation
from pytest_wheelcheck.system import cache, process, uv
from pytest_wheelcheck.system.uv_config import InstallSettings

#: The versions of glibc for which uv 0.13 knows a platform ``ARCHITECTURE-manylinux_2_N``.
_UV_GLIBC = (17, 28, *range(31, 41))


def create_with_virtualenv(runtime: Runtime, directory: Path) -> Environment:
    """Make a virtual environment with virtualenv, without seeds.

    virtualenv is called in this process: of the 150 ms that its command takes, 145 are spent to start Python and import it.
    It stores facts about interpreters in our cache. Safe to call from several threads.

    :param directory: need not exist; its parents are created.
    :raises RuntimeUnavailableError: virtualenv cannot make an environment of this interpreter.
    """
    from virtualenv import session_via_cli

    # The user's settings of virtualenv (seeds, system packages, copies) do not apply.
    env = {key: value for key, value in os.environ.items() if not key.startswith("VIRTUALENV_")}
    env["VIRTUALENV_CONFIG_FILE"] = os.devnull
    # virtualenv 21.15.0 and earlier create their default directory before they read --app-data.
    env["VIRTUALENV_OVERRIDE_APP_DATA"] = str(cache.root() / "virtualenv")
    arguments = [
        *("--quiet", "--python", str(runtime.python), "--app-data", str(cache.root() / "virtualenv")),
        *("--no-seed", "--no-download", "--no-periodic-update", "--activators", "", "--no-vcs-ignore"),
        str(directory),
    ]
    try:
        session = session_via_cli(arguments, setup_logging=False, env=env)
        session.run()
    except (Exception, SystemExit) as error:  # virtualenv declares no errors.
        raise RuntimeUnavailableError(
            f"virtualenv cannot make an environment with {runtime.python}",
            cause=f"the interpreter ({runtime.installation.how}) does not work, or virtualenv does not support it",
            fix="to see the error, run: "
            + process.shown_command(
                [sys.executable, "-m", "virtualenv", "--no-seed", "--python", runtime.python, "DIRECTORY"]
            ),
            details=f"{type(error).__name__}: {error}",
        ) from error
    creator = session.creator
    environment = Environment(
        root=directory,
        python=Path(creator.exe),
        site_packages=Path(creator.purelib),
        platlib=Path(creator.platlib),
        scripts=Path(creator.script_dir),
    )
    for site in environment.site_directories:
        # virtualenv's patch of distutils (before 3.10), which the interpreter would import at every start.
        for name in ("_virtualenv.pth", "_virtualenv.py"):
            (site / name).unlink(missing_ok=True)
    return environment


def create_by_hand(runtime: Runtime, directory: Path) -> Environment:
    """Make a virtual environment without running its interpreter, which would take a second in an emulator.

    PEP 405 defines its contents: a link to the interpreter, a file that names the interpreter's directory, and site-packages
    as in the interpreter's scheme ``venv`` (:mod:`sysconfig`).

    :raises RuntimeUnavailableError: the directory cannot be written.
    """
    stem = runtime.installation.stem
    scripts = directory / "bin"
    site_packages = directory / "lib" / runtime.installation.library_name / "site-packages"
    try:
        scripts.mkdir(parents=True)
        site_packages.mkdir(parents=True)
        for alias in ("python3", f"python{stem}"):
            (scripts / alias).symlink_to("python")
        point(directory, runtime.python, runtime.installation.version_text)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"cannot make a virtual environment in {directory}: {error.strerror or error}"
        ) from error
    return Environment(
        root=directory,
        python=scripts / "python",
        site_packages=site_packages,
        platlib=site_packages,
        scripts=scripts,
    )


def point(directory: Path, python: Path, version: str) -> None:
    """Make *python* the interpreter of an environment that was made by hand."""
    link = directory / "bin" / "python"
    side = directory / "bin" / ".python"
    side.symlink_to(python)
    side.replace(link)
    lines = [f"home = {python.parent}", "include-system-site-packages = false", f"version = {version}"]
    (directory / "pyvenv.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")


def uv_platform(installation: Installation) -> str | None:
    """Return uv's name of a Linux platform (``--python-platform``); ``None`` if uv has none.

    uv 0.13 knows none for armv7l and i686, and for musl only x86_64 and aarch64.
    """
    platform, libc_version = installation.platform, installation.libc_version
    if not platform.is_linux or installation.implementation != "cpython":
        return None
    architecture = platform.architecture
    if platform.libc == "musl":
        # Means musllinux_1_2.
        known = architecture in {"x86_64", "aarch64"} and libc_version >= (1, 2)
        return f"{architecture}-unknown-linux-musl" if known else None
    if architecture == "riscv64":
        # Means manylinux_2_39.
        return "riscv64-unknown-linux" if libc_version >= (2, 39) else None
    if architecture not in {"x86_64", "aarch64", "ppc64le", "s390x"} or libc_version < (2, 17):
        return None
    return f"{architecture}-manylinux_2_{max(minor for minor in _UV_GLIBC if minor <= libc_version[1])}"


def foreign_arguments(installation: Installation) -> list[str]:
    """Return uv's arguments that install for an interpreter with a native one; an empty list if that is impossible."""
    platform = uv_platform(installation)
    return [] if platform is None else ["--python-platform", platform, "--python-version", installation.version_text]


def uv_install(
    python: Path, arguments: Sequence[str | Path], settings: InstallSettings, *, project: Path | None = None
) -> process.CompletedProcess:
    """Run ``uv pip install`` for the environment of *python*. Files are copied, never linked."""
    return uv.run(["install", "--python", python, "--link-mode", "copy", *arguments], settings, project=project)


def extend(
    runtime: Runtime,
    environment: Environment,
    settings: InstallSettings,
    further: Sequence[Path],
    relaunch: Callable[[Installation], Runtime],
) -> tuple[Runtime, str]:
    """Give an environment the system libraries that its files may need, and tkinter: a launcher with them is its interpreter.

    :param further: directories outside of the environment whose modules are loaded in it.
    :param relaunch: returns the runtime of an extended installation.
    :returns: the environment's runtime, which is *runtime* if nothing is missing or available; and why something is not
        available, or an empty string.
    """
    installation, problems = runtime.installation, []
    names = libraries.missing_libraries((*environment.site_directories, environment.scripts, *further), installation)
    # Not an error yet if they are not available: the files may never load them.
    if names:
        try:
            installation = libraries.extend(installation, names, offline=settings.offline)
        except RuntimeUnavailableError as error:
            problems.append(error.message)
    if tkinter.is_missing(environment.site_directories, installation):
        try:
            installation = tkinter.extend(installation, offline=settings.offline)
        except RuntimeUnavailableError as error:
            problems.append(error.message)
    if installation is runtime.installation:
        return runtime, "; ".join(problems)
    extended = relaunch(installation)
    point(environment.root, extended.python, installation.version_text)
    return extended, "; ".join(problems)


def running_python(installation: Installation) -> Path | None:
    """Return the running interpreter if its bytecode has the format of an installation's, else ``None``."""
    if (
        installation.implementation == sys.implementation.name == "cpython"
        and installation.version[:2] == sys.version_info[:2]
        and not installation.free_threaded
    ):
        return Path(sys.executable)
    return None
