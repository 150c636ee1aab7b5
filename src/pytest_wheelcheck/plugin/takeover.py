"""The host's pytest in a run of wheels: what it parses, what it must not load, and where its root folder is."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from _pytest.config.findpaths import determine_setup

from pytest_wheelcheck.plugin.arguments import Split, split


@dataclass(frozen=True, slots=True)
class Launch:
    """What ``wheelcheck test`` hands to the plugin, as a plugin object.

    :param target_args: arguments for the target's pytest alone.
    :param host_args: pairs of words that stand in the command line for the host's pytest alone.
    :param plugins_env: ``PYTEST_PLUGINS`` for the target.
    """

    target_args: tuple[str, ...] = ()
    host_args: tuple[tuple[str, str], ...] = ()
    plugins_env: str = ""


SPLIT = pytest.StashKey[Split]()

#: ini keys that name things which only the target has, or that speak of what the host does not do.
_NEUTRAL = ("filterwarnings", "usefixtures")

#: Libraries of ours whose logs would come between the live logs (``log_cli``) of the user's tests.
_CHATTY = ("filelock", "python_discovery", "virtualenv")


def take_over(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Keep the user's conftests and tests out of this process, and divide the command line.

    :param args: pytest's arguments, merged with ``addopts``; changed in place.
    :raises pytest.UsageError: an option makes no sense with wheels.
    """
    config.known_args_namespace.noconftest = True
    _leave_project(config)
    for key in _NEUTRAL:
        config.getini(key).clear()
    config.known_args_namespace.pythonwarnings = []
    _forget_filter_warnings(config)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    inner: Any = config
    if ini_file(config) is None:
        inner._inipath = None  # the null device stands for «no ini file», and is not one to show
    known = parser._inidict.keys() | parser._ini_aliases.keys()
    for name in inner._inicfg:
        # Keys of the target's plugins; whether they exist there, the target's pytest says.
        if name not in known:
            parser.addini(name, "a key for the targets")
    if config.option.wheel:
        # A worker of xdist: the controller has divided the command line already.
        args[:] = []
        return
    found = split(args, parser.optparser._option_string_actions)
    if found.refused:
        raise pytest.UsageError(
            f"{', '.join(found.refused)} cannot be used with --wheel: tests run in other interpreters, whose terminal "
            "is not yours. Fix: -rP shows the output of passed tests; to debug, run pytest in the environment that "
            "--wheel-keep leaves"
        )
    config.stash[SPLIT] = found
    args[:] = found.host


def _leave_project(config: pytest.Config) -> None:
    """Put the project's folders last on the path of this process: a module there may have the name of one of ours.

    They are not taken off, since the project may be one of our dependencies, installed in editable mode.
    """
    roots = (str(config.rootpath), str(config.invocation_params.dir))
    added = {*map(str, config.getini("pythonpath")), *os.environ.get("PYTHONPATH", "").split(os.pathsep), *roots, ""}
    last = [path for path in dict.fromkeys(sys.path) if path in added and (not path or path.startswith(roots))]
    sys.path[:] = [*(path for path in sys.path if path not in last), *filter(None, last)]


def _forget_filter_warnings(config: pytest.Config) -> None:
    """Drop the complaint about filters for warnings of packages that only the targets have.

    pytest applies the filters once before plugins exist; the complaint waits for the terminal reporter by now.
    """
    history = getattr(config.hook.pytest_warning_recorded, "_call_history", None) or []
    history[:] = [
        call
        for call in history
        if not str(call[0]["warning_message"].message).startswith("Failed to import filter module")
    ]


def launch_of(config: pytest.Config) -> Launch:
    """Return what ``wheelcheck test`` handed over, or nothing."""
    given = config.invocation_params.plugins or ()
    return next((plugin for plugin in given if isinstance(plugin, Launch)), Launch())


def restart(config: pytest.Config) -> int | None:
    """Run again with the right root folder, where pytest took a wheel's folder into account to find it.

    pytest looks for its root folder and ini file from all positional arguments, and at that time it does not know what
    ``--wheel`` is. A wheel outside the project would move the root folder to a common ancestor, without an ini file.

    :returns: the exit code of the other run, or ``None`` where the root folder is right.
    """
    found = config.stash.get(SPLIT, None)
    if found is None:
        return None
    setup: Any = determine_setup(
        inifile=config.option.inifilename,
        override_ini=None,
        args=found.paths,
        rootdir_cmd_arg=config.option.rootdir,
        invocation_dir=config.invocation_params.dir,
    )
    root: Path = setup[0]
    ini: Path | None = setup[1] if setup[1] is not None and setup[1].is_file() else None
    if (root, ini) == (config.rootpath, ini_file(config)):
        return None
    again = [f"--rootdir={root}", "-c", str(ini or os.devnull)]
    return int(
        pytest.main([*again, *map(str, config.invocation_params.args)], plugins=config.invocation_params.plugins)
    )


def ini_file(config: pytest.Config) -> Path | None:
    """Return the ini file in use, ``None`` where there is none."""
    return config.inipath if config.inipath is not None and config.inipath.is_file() else None
