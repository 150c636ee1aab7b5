"""``wheelcheck init``: a configuration and a CI workflow for a project, from its pyproject.toml."""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from pytest_wheelcheck.cli import output
from pytest_wheelcheck.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib

if TYPE_CHECKING:
    from pytest_wheelcheck.cli.output import Subparsers

WORKFLOW = Path(".github", "workflows", "test-wheels.yml")

#: Names that dependency groups and extras for tests usually have, the best first.
_TEST_NAMES = ("test", "tests", "testing", "dev")

#: Directories that usually have tests.
_TEST_DIRECTORIES = ("tests", "test")

_MATURIN = """\
  build:
    strategy:
      matrix:
        include:
          - {os: ubuntu-24.04, target: x86_64}
          - {os: ubuntu-24.04, target: aarch64}
          - {os: macos-15, target: universal2-apple-darwin}
          - {os: windows-2025, target: x64}
    runs-on: ${{ matrix.os }}
    steps:
      - uses: actions/checkout@v5
      - uses: actions/setup-python@v6
        with:
          python-version: |
            3.12
            3.13
            3.14
      - uses: PyO3/maturin-action@v1
        with:
          target: ${{ matrix.target }}
          manylinux: auto
          args: --release --out dist --find-interpreter
      - uses: actions/upload-artifact@v5
        with:
          name: wheels-${{ matrix.os }}-${{ matrix.target }}
          path: dist
"""

_CIBUILDWHEEL = """\
  build:
    strategy:
      matrix:
        os: [ubuntu-24.04, ubuntu-24.04-arm, macos-15, windows-2025]
    runs-on: ${{ matrix.os }}
    steps:
      - uses: actions/checkout@v5
      - uses: pypa/cibuildwheel@v4
        with:
          output-dir: dist
      - uses: actions/upload-artifact@v5
        with:
          name: wheels-${{ matrix.os }}
          path: dist
"""

_PURE = """\
  build:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v5
      - run: pipx run build --wheel --outdir dist
      - uses: actions/upload-artifact@v5
        with:
          name: wheels-any
          path: dist
"""

_TEST = """\
  test-wheels:
    needs: [build]
    strategy:
      fail-fast: false
      matrix:
        os: {systems}
    runs-on: ${{ matrix.os }}
    steps:
      - uses: actions/checkout@v5
      - uses: actions/setup-python@v6
        with:
          python-version: "3.13"
      - uses: actions/download-artifact@v6
        with:
          path: dist
          pattern: wheels-*
          merge-multiple: true
      - run: python -m pip install pytest-wheelcheck
      - run: wheelcheck test --wheel=dist --wheel-report=wheels.json --wheel-report=wheels.html{tests}
      - uses: actions/upload-artifact@v5
        if: ${{ !cancelled() }}
        with:
          name: wheelcheck-${{ matrix.os }}
          path: wheels.*
  merge:
    needs: [test-wheels]
    if: ${{ !cancelled() }}
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/setup-python@v6
        with:
          python-version: "3.13"
      - uses: actions/download-artifact@v6
        with:
          path: reports
          pattern: wheelcheck-*
      - run: python -m pip install pytest-wheelcheck
      - run: wheelcheck merge --wheel-strict reports/*/wheels.json
"""


def declare(commands: Subparsers) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "init", help="write a configuration and a CI workflow for the project in this directory"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be written, and write nothing")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    """Show what is new, and write it. Nothing that exists is changed, except that a table is appended to pyproject.toml.

    :raises UsageError: there is no pyproject.toml that can be read.
    """
    path = Path("pyproject.toml")
    try:
        raw = path.read_bytes().decode("utf-8")
        text = raw.replace("\r\n", "\n")
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise UsageError(
            f"there is no pyproject.toml in {Path.cwd()}", fix="run it in the project's directory"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"pyproject.toml cannot be read: {error}", fix="correct the file") from None
    changes = list(_changes(data, text))
    for file, before, after in changes:
        name = file.as_posix()
        output.write(
            difflib.unified_diff(
                before.splitlines(), after.splitlines(), name if before else "/dev/null", name, lineterm=""
            )
        )
        if not args.dry_run:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("w", encoding="utf-8", newline="\r\n" if file == path and "\r\n" in raw else "\n") as stream:
                stream.write(after)
    changed = [file for file, _, _ in changes]
    output.write(
        f"{file.as_posix()} is left as it is: it has a configuration of wheelcheck already"
        for file in (path, WORKFLOW)
        if file not in changed
    )
    if args.dry_run:
        output.write(["nothing was written: --dry-run"])
    elif changes:
        output.write(["Next: build wheels into dist/, then run `wheelcheck test --wheel=dist`"])
    else:
        output.write(["nothing was written"])
    return 0


def _changes(data: Mapping[str, Any], text: str) -> Iterator[tuple[Path, str, str]]:
    """Yield file, content before and content afterwards."""
    if "wheelcheck" not in data.get("tool", {}):
        separator = "" if text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
        yield Path("pyproject.toml"), text, f"{text}{separator}{table(data)}"
    if not WORKFLOW.exists():
        yield WORKFLOW, "", workflow(data)


def table(data: Mapping[str, Any]) -> str:
    """Return the table for a project.

    :param data: its pyproject.toml.
    """
    lines = ["[tool.wheelcheck]"]
    groups, extras = data.get("dependency-groups", {}), data.get("project", {}).get("optional-dependencies", {})
    group = next((name for name in _TEST_NAMES if name in groups), "")
    extra = next((name for name in _TEST_NAMES if name in extras), "")
    if group:
        lines.append(f'groups = ["{group}"]  # what the tests need in addition to the wheel')
    elif extra:
        lines.append(
            f'requires = {_toml(list(map(str, extras[extra])))}  # what the tests need: those of the extra "{extra}"'
        )
    else:
        lines.append("requires = []  # what the tests need in addition to the wheel, such as hypothesis")
    if any(name in data.get("project", {}) for name in ("scripts", "gui-scripts")):
        names = [*data["project"].get("scripts", {}), *data["project"].get("gui-scripts", {})]
        lines.append(f"# executables = {_toml([f'{names[0]}: --help'])}  # start this console script, too")
    lines.append('# expect = ["previous"]  # compare with the previous release on the package index')
    return "\n".join(lines) + "\n"


def _toml(texts: list[str]) -> str:
    # A JSON string is a TOML string.
    return json.dumps(texts, ensure_ascii=False)


def workflow(data: Mapping[str, Any]) -> str:
    """Return the workflow for a project.

    :param data: its pyproject.toml.
    """
    tests = next((f" {name}" for name in _TEST_DIRECTORIES if Path(name).is_dir()), "")
    head = "name: wheels\non:\n  push:\n    branches: [main]\n  pull_request:\npermissions:\n  contents: read\njobs:\n"
    build = _build_job(data)
    # Wheels for macOS run there only. Those for Linux and Windows run on Linux.
    systems = "[ubuntu-24.04]" if build is _PURE else "[ubuntu-24.04, macos-15]"
    return f"{head}{build}{_TEST.replace('{tests}', tests).replace('{systems}', systems)}"


def _build_job(data: Mapping[str, Any]) -> str:
    system = data.get("build-system", {})
    required = {canonicalize_name(re.split(r"[^\w.-]", str(line).strip())[0]) for line in system.get("requires", [])}
    if system.get("build-backend") == "maturin":
        return _MATURIN
    native = {
        "setuptools-rust",
        "scikit-build-core",
        "scikit-build",
        "meson-python",
        "cython",
        "pybind11",
        "nanobind",
        "cffi",
    }
    modules = data.get("tool", {}).get("setuptools", {}).get("ext-modules")
    if (
        required & native
        or modules
        or any(Path(name).is_file() for name in ("setup.py", "CMakeLists.txt", "meson.build"))
    ):
        return _CIBUILDWHEEL
    return _PURE
