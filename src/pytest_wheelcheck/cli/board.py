"""``wheelcheck board``: what a board is, what would run there, and what runs have cached there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.config.findpaths import determine_setup

from pytest_wheelcheck.backends import boards
from pytest_wheelcheck.cli import output
from pytest_wheelcheck.plugin import project_table

if TYPE_CHECKING:
    from pytest_wheelcheck.cli.output import Subparsers


def declare(commands: Subparsers) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "board",
        help="show what a board is, what would run there, and the files of earlier runs",
        description="Show the hardware, system, interpreters and accepted platform tags of a board, and the size of the files of "
        "earlier runs.",
        epilog="Exit status 1 if no interpreter is usable.",
    )
    parser.add_argument(
        "board",
        help="[ssh://][USER@]ADDRESS[:PORT], where ADDRESS may be a name of ssh's configuration, or a name of the ini key "
        "wheel_hosts of the project in the working directory",
    )
    parser.add_argument("--clean", action="store_true", help="remove the files that runs have cached there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    """Report on a board, or clean it.

    :returns: 1 if no interpreter of it can be used.
    """
    if args.clean:
        name, freed = boards.clean(args.board, _configured_hosts())
        if args.json:
            output.write_json({"board": name, "freed": freed})
        else:
            output.write([f"{name}: {freed} bytes freed" if freed else f"{name} has no cached files"])
        return 0
    report = boards.examine(args.board, _configured_hosts())
    if args.json:
        output.write_json(report.to_json())
    else:
        output.write(report.lines())
    return 0 if report.is_usable else 1


def _configured_hosts() -> Sequence[str]:
    """Return the lines of the key ``wheel_hosts`` of the project in the working directory, if there is one."""
    try:
        root, _, values, *_ = determine_setup(
            inifile=None, override_ini=None, args=[], rootdir_cmd_arg=None, invocation_dir=Path.cwd()
        )
        project = root / "pyproject.toml"
        table = project_table.table(project.read_bytes()) if project.is_file() else {}
    except pytest.UsageError:
        return ()
    value: Any = values.get("wheel_hosts", table.get("hosts", ()))
    value = getattr(value, "value", value)
    lines = value.splitlines() if isinstance(value, str) else map(str, value)
    return [line.strip() for line in lines if line.strip()]
