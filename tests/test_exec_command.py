"""``wheelcheck exec``: a program in an interpreter's environment, with pip and other packages if it needs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from nodes import COMMAND

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


def execute(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, "exec", *arguments], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("architecture", [(), ("host",)], ids=["", "host"])
@pytest.mark.parametrize("separator", [("--",), ()], ids=["--", ""])
def test_the_host_is_the_platform_without_one(architecture: tuple[str, ...], separator: tuple[str, ...]) -> None:
    code = "import sys; print(sys.version_info[:2], *sys.argv[1:])"
    done = execute(*architecture, MINOR, *separator, "python", "-c", code, "--", "-x")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{sys.version_info[:2]} -- -x\n"


@pytest.mark.parametrize("words", [(), ("host",)], ids=["", "host"])
@pytest.mark.parametrize("separator", [("--",), ()], ids=["--", ""])
def test_words_that_are_missing_mean_this_host_and_this_python(
    words: tuple[str, ...], separator: tuple[str, ...]
) -> None:
    done = execute(*words, *separator, "python", "-c", "import sys; print(sys.version_info[:2], *sys.argv[1:])", "-x")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{sys.version_info[:2]} -x\n"


def test_options_before_a_program_alone() -> None:
    done = execute("--with", "six", "--", "python", "-c", "import six; print(six.__name__)")
    assert (done.returncode, done.stdout) == (0, "six\n"), done.stderr


@pytest.mark.parametrize("arguments", [("aarhc64",), ("aarhc64", "--", "python"), ("python", "3.13", "--", "python")])
def test_a_word_that_is_no_architecture_is_refused(arguments: tuple[str, ...]) -> None:
    done = execute(*arguments)
    assert done.returncode == 4
    assert done.stderr.startswith(f"wheelcheck: {arguments[0]}: unknown architecture\nFix: ")
    assert done.stderr.endswith("; write -- before a program\n")


@pytest.mark.parametrize("program", [("python", "-m", "pip"), ("pip",)], ids=["module", "program"])
def test_pip_is_there(program: tuple[str, ...]) -> None:
    done = execute(MINOR, "--", *program, "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pip ")
    assert done.stdout.endswith(f"(python {MINOR})\n")
    # The environment is a temporary one.
    assert not Path(done.stdout.split()[3]).exists()


def test_packages() -> None:
    done = execute("--with", "six", MINOR, "--", "python", "-c", "import six, sys; sys.exit(len(six.__name__) + 4)")
    assert done.returncode == 7, done.stderr
    done = execute("--with", "no-such-project-at-all", MINOR, "--", "python")
    assert done.returncode == 1
    assert done.stderr.startswith("wheelcheck: no-such-project-at-all cannot be installed\n")
    done = execute("--with", "six", MINOR, "--", "no-such-program")
    assert done.returncode == 1
    assert "wheelcheck: no-such-program cannot be started" in done.stderr


@pytest.mark.long
@pytest.mark.network
@pytest.mark.skipif(sys.platform != "linux", reason="QEMU's user mode is for Linux")
def test_pip_of_another_architecture() -> None:
    done = execute("musllinux-aarch64", "3.12", "--", "python", "-m", "pip", "debug", "--verbose")
    assert done.returncode == 0, done.stderr
    assert "cp312-cp312-linux_aarch64" in done.stdout
    assert "wheelcheck: pip finds no musllinux wheels there" in done.stderr
    # The installer of this package knows the C library.
    done = execute(
        "--with", "markupsafe", "musllinux-aarch64", "3.12", "--", "python", "-c", "import markupsafe._speedups"
    )
    assert done.returncode == 0, done.stderr
