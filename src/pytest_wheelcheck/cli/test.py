"""``wheelcheck test``: pytest on wheels, without imports of the user's plugins on the host.

pytest imports the plugins of ``-p``, ``PYTEST_PLUGINS`` and the ini key ``required_plugins`` before it loads the plugins of
entry points, such as this one. So this command removes them from the host's command line, environment and ini file, and
passes them to the targets.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from _pytest.config import get_config
from _pytest.config.findpaths import determine_setup

from pytest_wheelcheck.plugin import arguments, options
from pytest_wheelcheck.plugin.takeover import CommandArguments

#: ini keys that the host's pytest must not act on.
_HOST_OVERRIDES = (("-o", "addopts="), ("-o", "required_plugins="), ("-o", "filterwarnings="))

#: Options with which pytest prints something and runs no test.
_INFORMATION = ("-h", "--help", "-V", "--version", "--markers", "--fixtures")


def run(args: Sequence[str]) -> int:
    """Run pytest on wheels.

    :param args: pytest's arguments.
    :returns: pytest's exit status.
    """
    try:
        root, ini, values = _find_setup(args)
    except pytest.UsageError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return pytest.ExitCode.USAGE_ERROR
    all_args = [*shlex.split(os.environ.pop("PYTEST_ADDOPTS", "")), *_addopts(values), *args]
    host_args = [f"--rootdir={root}"] if not _has_option(all_args, "--rootdir") else []
    if not _has_option(all_args, "--wheel"):
        wheel = next((path for text in all_args if (path := text.partition("::")[0]).endswith(".whl")), None)
        if wheel is not None:
            host_args.append(f"--wheel={wheel}")
        elif not _has_option(all_args, *_INFORMATION):
            # Without wheels it would be an ordinary run, which imports the user's tests on the host.
            sys.stderr.write(
                "wheelcheck: no wheel given\n"
                "Fix: pass built wheels, as in `wheelcheck test dist/*.whl` or `wheelcheck test --wheel=dist`\n"
            )
            return pytest.ExitCode.USAGE_ERROR
    if not _has_option(all_args, "-c", "--config-file"):
        host_args += ["-c", str(ini or os.devnull)]
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") or "--disable-plugin-autoload" in all_args:
        host_args += ["-p", "wheelcheck"]
    for pair in _HOST_OVERRIDES:
        host_args += pair
    remaining, plugin_args = _divide_plugins(all_args)
    command_arguments = CommandArguments(
        target_args=tuple(plugin_args),
        host_args=_HOST_OVERRIDES,
        plugins_env=os.environ.pop("PYTEST_PLUGINS", ""),
    )
    return int(pytest.main([*host_args, *remaining], plugins=[command_arguments]))


def _find_setup(args: Sequence[str]) -> tuple[Path, Path | None, dict[str, Any]]:
    """Find the root directory, the ini file and its values, from the test paths among the arguments.

    :raises pytest.UsageError: the ini file or root directory does not exist.
    """
    # A configuration of its own, for the table of options.
    parser = get_config()._parser
    options.declare(parser)
    actions = parser.optparser._option_string_actions
    values = {
        argument.dest: argument.argv[-1].rpartition("=")[2]
        for argument in arguments.parse(args, actions)
        if argument.dest
    }
    setup: Any = determine_setup(
        inifile=values.get("inifilename"),
        override_ini=None,
        args=arguments.divide(args, actions).paths,
        rootdir_cmd_arg=values.get("rootdir"),
        invocation_dir=Path.cwd(),
    )
    return setup[0], setup[1], setup[2]


def _has_option(args: Sequence[str], *names: str) -> bool:
    return any(text.partition("=")[0] in names for text in args)


def _addopts(values: dict[str, Any]) -> list[str]:
    addopts = getattr(values.get("addopts"), "value", values.get("addopts"))
    if addopts is None:
        return []
    return shlex.split(addopts) if isinstance(addopts, str) else [str(text) for text in addopts]


def _divide_plugins(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Move ``-p NAME`` from the host's arguments to the targets', except for ``no:NAME`` and installed plugins."""
    installed = {name for point in entry_points(group="pytest11") for name in (point.name, point.module)}
    host: list[str] = []
    target: list[str] = []
    remaining = iter(args)
    for text in remaining:
        if text == "-p":
            name = next(remaining, "")
        elif text.startswith("-p") and len(text) > 2:
            name = text[2:].strip()
        else:
            host.append(text)
            continue
        (host if name.startswith("no:") or name in installed else target).extend(("-p", name))
    return host, target
