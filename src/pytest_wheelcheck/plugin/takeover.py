"""The host's pytest in a run with wheels: its arguments and root directory, and the user's code that it must not import."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from _pytest.config.findpaths import determine_setup

from pytest_wheelcheck.plugin import mistyped
from pytest_wheelcheck.plugin.arguments import Action, CommandLine, divide


@dataclass(frozen=True, slots=True)
class CommandArguments:
    """Passed by ``wheelcheck test`` to the plugin, as a plugin object.

    :param target_args: arguments for the targets' pytest only.
    :param host_args: options with their values that are on the command line for the host's pytest only.
    :param plugins_env: ``PYTEST_PLUGINS`` for the targets.
    :param wheelcheck_command: the command, for the help and for usage errors.
    """

    target_args: tuple[str, ...] = ()
    host_args: tuple[tuple[str, str], ...] = ()
    plugins_env: str = ""
    wheelcheck_command: str = "wheelcheck test"


COMMAND_LINE = pytest.StashKey[CommandLine]()

#: ini keys that name modules or fixtures that only the target has.
_TARGET_INI_KEYS = ("filterwarnings", "usefixtures")

#: Plugins that change how tests run, or mark those that they do not know: pytest-run-parallel, by its entry point and by ``-p``.
_TARGET_PLUGINS = ("run-parallel", "pytest_run_parallel.plugin")

#: Libraries of this plugin whose log records would appear between the live logs (``log_cli``) of the user's tests.
_VERBOSE_LOGGERS = ("filelock", "python_discovery", "virtualenv")


def take_over(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Keep the user's conftest files and tests out of this process, and divide the command line.

    :param args: pytest's arguments, merged with ``addopts``; changed in place.
    :raises pytest.UsageError: an option is not supported with wheels, or an argument is certainly mistyped.
    """
    # Of an earlier run in this process.
    gc.unfreeze()
    config.known_args_namespace.noconftest = True
    _deprioritize_project(config)
    for key in _TARGET_INI_KEYS:
        config.getini(key).clear()
    config.known_args_namespace.pythonwarnings = []
    for plugin in filter(None, map(config.pluginmanager.getplugin, _TARGET_PLUGINS)):
        config.pluginmanager.unregister(plugin)
    # pytest-cov, if this environment has it, reads the option in its own hook of this purpose, which runs later.
    config.known_args_namespace.cov_source = []
    _forget_filter_warnings(config)
    for name in _VERBOSE_LOGGERS:
        logger = logging.getLogger(name)
        config.add_cleanup(partial(logger.setLevel, logger.level))
        logger.setLevel(logging.WARNING)
    private: Any = config
    if ini_file(config) is None:
        private._inipath = None  # the null device means "no ini file"; the header must not show it
    known = parser._inidict.keys() | parser._ini_aliases.keys()
    for name in private._inicfg:
        # Keys of the target's plugins. The target's pytest reports those that do not exist.
        if name not in known:
            parser.addini(name, "a key for the targets")
    if config.option.wheel:
        # A worker of xdist: the controller has divided the command line already.
        args[:] = []
        return
    options = known_options(config)
    command_line = divide(args, options)
    mistyped.refuse(command_line.own, options, config.invocation_params.dir)
    if command_line.refused:
        raise pytest.UsageError(
            f"{', '.join(command_line.refused)} cannot be used with --wheel\n"
            "Cause: the tests run in other interpreters, which have no access to this terminal\n"
            "Fix: use -rP to show the output of passed tests; to debug, run pytest in an environment that --wheel-keep "
            "leaves"
        )
    config.stash[COMMAND_LINE] = command_line
    args[:] = command_line.host


def spare_garbage_collector() -> None:
    """Exclude the objects that exist now from garbage collection, until the next run in this process.

    Modules, and one item for each test, live as long as the run. Reading them again and again took 2.9 of 23 seconds with 20,000
    tests. pytest collects garbage ten times at the end, and the interpreter when it exits.
    """
    gc.freeze()


def _deprioritize_project(config: pytest.Config) -> None:
    """Move the project's directories to the end of ``sys.path``: a module there may shadow one of our dependencies.

    They are not removed, because the project may itself be one of our dependencies, installed in editable mode.
    """
    roots = (str(config.rootpath), str(config.invocation_params.dir))
    added = {*map(str, config.getini("pythonpath")), *os.environ.get("PYTHONPATH", "").split(os.pathsep), *roots, ""}
    last = [path for path in dict.fromkeys(sys.path) if path in added and (not path or path.startswith(roots))]
    sys.path[:] = [*(path for path in sys.path if path not in last), *filter(None, last)]


def _forget_filter_warnings(config: pytest.Config) -> None:
    """Drop pytest's warning that a warning filter names a module that cannot be imported: only the targets have it.

    pytest applies the filters once before plugins are loaded; the recorded warning waits for the terminal reporter.
    """
    history = getattr(config.hook.pytest_warning_recorded, "_call_history", None) or []
    history[:] = [
        call
        for call in history
        if not str(call[0]["warning_message"].message).startswith("Failed to import filter module")
    ]


def known_options(config: pytest.Config) -> Mapping[str, Action]:
    """Return the options of this process's pytest by their strings, short and long."""
    private: Any = config
    actions: Mapping[str, Action] = private._parser.optparser._option_string_actions
    return actions


def command_arguments(config: pytest.Config) -> CommandArguments:
    """Return the arguments that ``wheelcheck test`` passed, or none."""
    plugins = config.invocation_params.plugins or ()
    return next((plugin for plugin in plugins if isinstance(plugin, CommandArguments)), CommandArguments())


def restart(config: pytest.Config) -> int | None:
    """Run pytest again with the right root directory, if the path of a wheel misled pytest.

    pytest derives its root directory and ini file from all positional arguments, before it knows the option ``--wheel``.
    A wheel outside the project would move the root directory to a common ancestor, where there is no ini file.

    :returns: the exit status of the other run, or ``None`` if the root directory is right.
    """
    command_line = config.stash.get(COMMAND_LINE, None)
    if command_line is None:
        return None
    setup: Any = determine_setup(
        inifile=config.option.inifilename,
        override_ini=None,
        args=command_line.paths,
        rootdir_cmd_arg=config.option.rootdir,
        invocation_dir=config.invocation_params.dir,
    )
    root: Path = setup[0]
    ini: Path | None = setup[1] if setup[1] is not None and setup[1].is_file() else None
    if (root, ini) == (config.rootpath, ini_file(config)):
        return None
    options = [f"--rootdir={root}", "-c", str(ini or os.devnull)]
    return int(
        pytest.main([*options, *map(str, config.invocation_params.args)], plugins=config.invocation_params.plugins)
    )


def ini_file(config: pytest.Config) -> Path | None:
    """Return the ini file in use; ``None`` if there is none."""
    return config.inipath if config.inipath is not None and config.inipath.is_file() else None
