"""The command ``wheelcheck``."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from pytest_wheelcheck import __version__
from pytest_wheelcheck.errors import UsageError, WheelcheckError, did_you_mean


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the console script.

    :param argv: arguments; those of the process by default.
    :returns: the exit status; 4 for wrong arguments, as pytest has it, 130 after Ctrl-C, and 1 if the reader of the output ends
        early.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["test"]:
        from pytest_wheelcheck.cli.test import run

        return run(args[1:])
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The encoding of a pipe on Windows or in the C locale cannot encode all characters of our texts.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`head`) has seen enough. The interpreter would report the error again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("wheelcheck: interrupted\n")
        return 130
    except WheelcheckError as error:
        sys.stderr.write(f"wheelcheck: {error}\n")
        return 4 if isinstance(error, UsageError) else 1
    return status


def _run(args: Sequence[str]) -> int:
    parser = make_parser()
    if not args:
        parser.print_help(sys.stderr)
        return 4
    program = None
    if args[0] == "exec" and "--" in args:
        # argparse drops the separator, and would take the program for an architecture.
        start = args.index("--")
        args, program = args[:start], list(args[start + 1 :])
    try:
        parsed = parser.parse_args(args)
    except SystemExit as error:  # argparse has printed the error or the help
        return 4 if error.code == 2 else int(error.code or 0)
    if program is not None:
        parsed.program = program
    return int(parsed.run(parsed))


class _Parser(argparse.ArgumentParser):
    """Suggests a name for a mistyped command or option value, as argparse does since Python 3.14."""

    def error(self, message: str) -> NoReturn:
        if "did you mean" not in message.lower() and "maybe you meant" not in message:
            found = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
            choices = re.findall(r"[\w.-]+", found[2]) if found else []
            guess = did_you_mean(found[1], choices, cutoff=0.5) if found else ""
            message += f"\nFix: {guess}" if guess else ""
        super().error(message)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser, with the subcommands. Each sets the attribute ``run`` to the function that runs it."""
    from pytest_wheelcheck.cli import board, cache, checks, doctor, init, interpreters, machines, merge, try_it

    parser: argparse.ArgumentParser = _Parser(
        prog="wheelcheck", description="Test built wheels before anyone installs them."
    )
    parser.add_argument("--version", action="version", version=f"pytest-wheelcheck {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Not reached: main() runs it, because its arguments are pytest's. Declared for the help.
    commands.add_parser(
        "test",
        help="run `pytest --wheel`; takes all of pytest's arguments",
        epilog="The exit status is pytest's.",
        add_help=False,
    )
    try_it.declare(commands)
    init.declare(commands)
    checks.declare(commands)
    machines.declare(commands)
    merge.declare(commands)
    runtime = commands.add_parser("runtime", help="manage interpreters of other architectures and versions")
    actions = runtime.add_subparsers(dest="action", required=True, metavar="ACTION")
    interpreters.declare(commands, actions)
    cache.declare(commands, actions)
    doctor.declare(commands)
    board.declare(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
