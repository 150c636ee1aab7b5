"""Read pip's configuration: its files and environment variables.

Written by hand because pip has no public interface for it (``pip._internal.configuration`` is private, and pip need not
be installed), and running ``pip config list`` would take longer than most installations with uv.
"""

from __future__ import annotations

import configparser
import locale
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pytest_wheelcheck.errors import InstallError


def files(environ: Mapping[str, str], *, system: str = sys.platform) -> tuple[Path, ...]:
    """List the files that pip reads its configuration from, weakest first, whether or not they exist.

    Source: https://pip.pypa.io/en/stable/topics/configuration/ and ``pip._internal.configuration``.

    :param environ: environment variables.
    :param system: as ``sys.platform``.
    """
    chosen = environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return ()
    name = "pip.ini" if system == "win32" else "pip.conf"
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())
    found: list[Path] = []
    if system == "win32":
        found.append(Path(environ.get("PROGRAMDATA") or r"C:\ProgramData") / "pip" / name)
        user = [home / "pip" / name, Path(environ.get("APPDATA") or home / "AppData" / "Roaming") / "pip" / name]
    elif system == "darwin":
        found.append(Path("/Library/Application Support/pip") / name)
        support = home / "Library" / "Application Support" / "pip"
        user = [home / ".pip" / name, (support if support.is_dir() else home / ".config" / "pip") / name]
    else:
        directories = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
        found.extend(Path(directory) / "pip" / name for directory in directories if directory)
        found.append(Path("/etc") / name)
        user = [home / ".pip" / name, Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / name]
    # PIP_CONFIG_FILE replaces the user's files.
    if not (chosen and Path(chosen).exists()):
        found.extend(user)
    found.append(Path(environ.get("VIRTUAL_ENV") or sys.prefix) / name)
    if chosen:
        found.append(Path(chosen))
    return tuple(found)


def read(environ: Mapping[str, str], *, system: str = sys.platform) -> dict[str, str]:
    """Read the options that pip's files and environment variables set for ``pip install``.

    As in pip, a later file overrides an earlier one key by key, ``[install]`` overrides ``[global]``, ``PIP_*``
    overrides both, and an empty value counts as absent. Source: ``pip._internal.cli.parser.ConfigOptionParser``.

    :return: pip's long option without dashes (``index-url``) → its value, unsplit.
    :raises InstallError: a file cannot be parsed.
    """
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in files(environ, system=system):
        if not path.is_file():
            continue
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding=locale.getpreferredencoding(do_setlocale=False))
        except (configparser.Error, UnicodeDecodeError) as error:
            raise InstallError(
                f"pip's configuration file {path} cannot be read",
                fix=f"fix the file, or set the environment variable PIP_CONFIG_FILE to {os.devnull}",
                details=str(error),
            ) from error
        for section, values in sections.items():
            if parser.has_section(section):
                values.update({_option_name(key): value for key, value in parser.items(section)})
    variables = {_option_name(key[4:]): value for key, value in environ.items() if key.startswith("PIP_")}
    merged: dict[str, str] = {}
    for values in (sections["global"], sections["install"], variables):
        merged.update({key: value for key, value in values.items() if value})
    return merged


def is_true(value: str | None) -> bool:
    """Return whether a string is one of those that pip and uv take for true."""
    return (value or "").lower() in ("y", "yes", "t", "true", "on", "1")


def _option_name(key: str) -> str:
    return key.lower().replace("_", "-").removeprefix("--")
