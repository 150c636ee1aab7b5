"""Find and run uv."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path

from pytest_wheelcheck.errors import InstallError, ProcessError
from pytest_wheelcheck.system import pip_config, process, uv_config
from pytest_wheelcheck.system.uv_config import InstallSettings

# Several threads prepare targets, and use libraries that read these variables (uv, virtualenv, packaging). A thread that asks
# while another one is the first to ask gets None (python/cpython issue 92452). Modules are imported in the main thread.
sysconfig.get_config_vars()

#: Seconds that one call of uv may take: it may have to download packages, and to build them from source.
DEADLINE = 1800.0


@functools.cache
def executable() -> Path:
    """Find uv's executable, that of the distribution ``uv`` which this package depends on.

    :raises InstallError: there is none.
    """
    import uv

    try:
        return Path(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise InstallError(
            "uv, which installs wheels, is missing",
            cause="the distribution uv is installed without its executable",
            fix=process.shown_command([sys.executable, "-m", "pip", "install", "--force-reinstall", "uv"]),
            details=str(error),
        ) from None


@functools.cache
def version() -> str:
    """Return uv's version, such as ``0.13.8``.

    :raises InstallError: uv is missing or cannot be started.
    """
    try:
        output = process.run([executable(), "--version", "--color", "never"], timeout=60).stdout.split()
    except ProcessError as error:
        raise _install_error("uv cannot be used", error) from error
    return output[1] if len(output) > 1 else "unknown"


def run(
    arguments: Iterable[str | Path],
    settings: InstallSettings,
    *,
    project: Path | None = None,
    environ: Mapping[str, str] | None = None,
    timeout: float = DEADLINE,
) -> process.CompletedProcess:
    """Run ``uv pip ARGUMENTS`` with the user's package settings, in the current directory.

    :param arguments: the command and its own arguments, such as ``install --python PATH``.
    :param settings: the command line's.
    :param project: as for :func:`.uv_config.arguments`.
    :param environ: the user's variables; ``None`` for those of this process.
    :param timeout: seconds.
    :return: the result; the caller checks ``returncode``.
    :raises InstallError: uv is missing, cannot be started, or exceeded *timeout*.
    """
    environ = os.environ if environ is None else environ
    pip_options = pip_config.read(environ)
    command = [
        executable(),
        "pip",
        *arguments,
        *uv_config.arguments(settings, environ, pip_options, project=project),
        "--no-progress",
        "--color",
        "never",
    ]
    env = uv_config.environment(environ, pip_options)
    try:
        return process.run(command, env=env, timeout=timeout, check=False, end_with_parent=True)
    except ProcessError as error:
        raise _install_error("uv cannot be used", error) from error


def _install_error(what: str, error: ProcessError) -> InstallError:
    return InstallError(f"{what}: {error.message}", cause=error.cause, fix=error.fix, details=error.details)
