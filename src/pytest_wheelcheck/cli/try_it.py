"""``wheelcheck try``: two published wheels, one of them broken, and what this package says about them."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_wheelcheck.cli import output
from pytest_wheelcheck.interpreters.base import here
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.reporting.matrix import IMPORTED
from pytest_wheelcheck.system import temporary

if TYPE_CHECKING:
    from pytest_wheelcheck.cli.output import Subparsers

#: Its extension module has the suffix of another architecture: no interpreter imports it. The project that uses it catches the
#: error and works without it. docs/survey.md has the evidence.
BROKEN = "pypi:ruamel.yaml.clib==0.2.12/*-cp312-manylinux*_aarch64.whl"

#: One wheel for each platform, for CPython 3.9 and newer.
SOUND = "pypi:bcrypt==5.0.0/*-cp39-abi3-{platform}.whl"

#: What the second verdict means on a host without a sandbox.
_ONLY_CHECKED = (
    "Only its static checks ran, for the reason above: it was not installed or imported.\n"
    "To run it with your rights: pytest --wheel {wheel} --wheel-no-sandbox"
)


def declare(commands: Subparsers) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "try",
        help="test two published wheels, a broken one and a sound one: a first look",
        epilog="Exit status 1 if the verdicts are not the expected ones.",
    )
    parser.add_argument("--wheel-index", metavar="URL", help="the package index (default: that of pip or uv)")
    parser.set_defaults(run=_run)


def sound_wheel(platform: Platform) -> str:
    """Return the argument of ``--wheel`` for the sound wheel of a platform; that for Linux where there is none."""
    machine = platform.architecture
    if platform.is_windows:
        pattern = platform.name
    elif platform.name.startswith("macosx"):
        pattern = "macosx_*_universal2"
    elif platform.libc == "musl":
        pattern = f"musllinux_1_2_{machine}"
    else:
        # Not the wheel for an older glibc, which works there, too.
        pattern = f"manylinux_2_28_{machine}" if machine in {"x86_64", "aarch64"} else f"manylinux*_{machine}"
    return SOUND.format(platform=pattern)


def _run(args: argparse.Namespace) -> int:
    """Run pytest twice.

    :returns: 0 if the verdicts are those that are expected.
    """
    index = [f"--wheel-index={args.wheel_index}"] if args.wheel_index else []
    output.write(
        ["A wheel that pip installs without complaint, although no interpreter can import its extension module.", ""]
    )
    broken, _ = _pytest(["--wheel", BROKEN, "--wheel-static", *index])
    output.write(["", "A sound wheel.", ""])
    # The interpreter that is there: none is downloaded.
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    wheel = sound_wheel(here())
    sound, shown = _pytest(["--wheel", wheel, f"--wheel-python={version}", *index])
    if (broken, sound) != (1, 0):
        output.write(
            ["", "These are not the expected verdicts (one failure above, none here). The output above has the reason."]
        )
        return 1
    # Without a sandbox, nothing of a wheel from the index runs.
    ran = (
        "It was checked, installed into an environment of its own, and imported."
        if IMPORTED in shown
        else _ONLY_CHECKED.format(wheel=shlex.quote(wheel))
    )
    output.write(
        [
            "",
            ran,
            "",
            "For your own wheels, run `pytest --wheel dist` in your project: your tests run in each target, too.",
            "`wheelcheck doctor` lists what this host can run.",
        ]
    )
    return 0


def _pytest(arguments: Sequence[str]) -> tuple[int, str]:
    """Run pytest in an empty directory; return its exit status and what it printed."""
    output.write([f"$ pytest {shlex.join(arguments)}"])
    sys.stdout.flush()
    env = {name: value for name, value in os.environ.items() if name not in {"PYTEST_ADDOPTS", "PYTEST_PLUGINS"}}
    env["PYTHONIOENCODING"] = "utf-8:backslashreplace"
    with temporary.directory() as directory:
        color = ["--color=yes"] if sys.stdout.isatty() and "NO_COLOR" not in env else []
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *color, *arguments]
        with subprocess.Popen(argv, cwd=directory, env=env, stdout=subprocess.PIPE, encoding="utf-8") as running:
            assert running.stdout is not None  # noqa: S101  it is a pipe
            lines = []
            for line in running.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                lines.append(line)
        return running.returncode, "".join(lines)
