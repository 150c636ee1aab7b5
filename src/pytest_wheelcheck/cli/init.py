"""``wheelcheck init``: a configuration and a CI workflow for a project, from its pyproject.toml."""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from pytest_wheelcheck.cli import cibuildwheel, output
from pytest_wheelcheck.cli.cibuildwheel import Taken
from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.interpreters.base import OLDEST
from pytest_wheelcheck.targets.planning.requires_python import admitted_minors

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib

if TYPE_CHECKING:
    from pytest_wheelcheck.cli.output import Subparsers

WORKFLOW = Path(".github", "workflows", "test-wheels.yml")

#: Names that dependency groups and extras for tests usually have, the best first.
_TEST_NAMES = ("test", "tests", "testing", "dev")

#: The newest version of CPython that is set up for maturin.
_NEWEST = 14

#: What a workflow that builds wheels contains.
_BUILDS = re.compile(r"maturin-action|maturin build|cibuildwheel|\bpip wheel\b|-m build\b|pipx run build|\buv build\b")

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
{pythons}
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
        os: {runners}
    runs-on: ${{ matrix.os }}
    steps:
      - uses: actions/checkout@v5
{emulation}      - uses: pypa/cibuildwheel@v4
        with:
          output-dir: dist
{environment}      - uses: actions/upload-artifact@v5
        with:
          name: wheels-${{ matrix.os }}
          path: dist
"""

#: Before cibuildwheel, if it builds for architectures that no runner has.
_EMULATION = """\
      - if: matrix.os == 'ubuntu-24.04'
        uses: docker/setup-qemu-action@v3
"""

#: The architectures that each of the Linux runners builds for, if it has not only its own.
_ARCHITECTURES = """\
        env:
          CIBW_ARCHS_LINUX: ${{ matrix.os == 'ubuntu-24.04-arm' && '{arm}' || '{others}' }}
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
      - run: >-
          wheelcheck test --wheel=dist --wheel-report=wheels.json --wheel-report=wheels.html{tests}
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
        "init",
        help="write a configuration and a CI workflow for the project in this directory; what [tool.cibuildwheel] says about "
        "tests and wheels is taken from there",
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
    taken = cibuildwheel.take(data)
    changes = list(_changes(data, text, taken))
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
    output.write(_notes(taken, changed))
    if WORKFLOW in changed:
        output.write(
            f"{name} builds wheels, too: remove one of the two workflows, or move the jobs test-wheels and merge into that one"
            for name in _other_workflows()
        )
    if args.dry_run:
        output.write(["nothing was written: --dry-run"])
    elif changes:
        command = f"wheelcheck test --wheel=dist {taken.arguments}".strip()
        output.write([f"Next: build wheels into dist/, then run `{command}`"])
    else:
        output.write(["nothing was written"])
    return 0


def _notes(taken: Taken, changed: Collection[Path]) -> Iterator[str]:
    """Yield what became of the keys of cibuildwheel, as far as something was written."""
    in_table = Path("pyproject.toml") in changed
    notes = [
        *(taken.in_table if in_table else ()),
        *([taken.of_expect] if in_table and taken.of_expect and WORKFLOW in changed else ()),
        *(taken.in_workflow if WORKFLOW in changed else ()),
        *(taken.not_taken if changed else ()),
    ]
    if notes:
        yield "Of [tool.cibuildwheel]:"
        yield from (f"  {note}" for note in notes)
    if WORKFLOW in changed and taken.arguments:
        yield "  Remove test-command, or the tests run on each builder, too"


def _changes(data: Mapping[str, Any], text: str, taken: Taken) -> Iterator[tuple[Path, str, str]]:
    """Yield file, content before and content afterwards."""
    if "wheelcheck" not in data.get("tool", {}):
        separator = "" if text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
        # With a workflow of the project's own, the runners are not known, and so are not the wheels.
        expect = () if WORKFLOW.exists() else taken.expect
        yield Path("pyproject.toml"), text, f"{text}{separator}{table(data, taken, expect)}"
    if not WORKFLOW.exists():
        yield WORKFLOW, "", workflow(data, taken)


def table(data: Mapping[str, Any], taken: Taken, expect: Sequence[str]) -> str:
    """Return the table for a project.

    :param data: its pyproject.toml.
    :param taken: what its configuration of cibuildwheel has.
    :param expect: clauses for the wheels of a release.
    """
    lines = ["[tool.wheelcheck]"]
    groups, extras = data.get("dependency-groups", {}), data.get("project", {}).get("optional-dependencies", {})
    group = next((name for name in _TEST_NAMES if name in groups), "")
    extra = next((name for name in _TEST_NAMES if name in extras), "")
    comment = "  # what the tests need in addition to the wheel"
    if taken.groups or taken.requires or taken.extras:
        lines += [
            f"{key} = {_toml(values)}{note}"
            for key, values, note in (
                ("groups", taken.groups, comment),
                ("requires", taken.requires, comment),
                ("extras", taken.extras, "  # the wheels are installed with them"),
            )
            if values
        ]
    elif group:
        lines.append(f'groups = ["{group}"]{comment}')
    elif extra:
        lines.append(f'requires = {_toml(list(map(str, extras[extra])))}{comment}: those of the extra "{extra}"')
    else:
        lines.append(f"requires = []{comment}, such as hypothesis")
    if any(name in data.get("project", {}) for name in ("scripts", "gui-scripts")):
        names = [*data["project"].get("scripts", {}), *data["project"].get("gui-scripts", {})]
        lines.append(f"# executables = {_toml([f'{names[0]}: --help'])}  # start this console script, too")
    if expect:
        lines += ["expect = [  # the wheels of a release", *(f"  {_toml(clause)}," for clause in expect), "]"]
    else:
        lines.append('# expect = ["previous"]  # compare with the previous release on the package index')
    return "\n".join(lines) + "\n"


def _toml(value: str | Sequence[str]) -> str:
    # A JSON string is a TOML string.
    return json.dumps(value, ensure_ascii=False)


def workflow(data: Mapping[str, Any], taken: Taken) -> str:
    """Return the workflow for a project.

    :param data: its pyproject.toml.
    :param taken: what its configuration of cibuildwheel has.
    """
    tests = f" {taken.arguments or cibuildwheel.tests_directory()}".rstrip()
    head = "name: wheels\non:\n  push:\n    branches: [main]\n  pull_request:\npermissions:\n  contents: read\njobs:\n"
    build = _build_job(data)
    # Wheels for macOS run there only. Those for Linux and Windows run on Linux.
    systems = ["ubuntu-24.04", *(["macos-15"] if build is not _PURE and "macos" in taken.systems else [])]
    if build is _CIBUILDWHEEL:
        build = _fill(taken)
    return f"{head}{build}{_TEST.replace('{tests}', tests).replace('{systems}', _list(systems))}"


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(texts)}]"


def _fill(taken: Taken) -> str:
    """Return the job that builds wheels with cibuildwheel, with the runners that have something to build."""
    linux = taken.linux_architectures
    arm = [name for name in linux if name in ("aarch64", "armv7l")]
    others = [name for name in linux if name not in arm]
    own = ["ubuntu-24.04"] * (not linux or bool(others)) + ["ubuntu-24.04-arm"] * (not linux or bool(arm))
    runners = {"linux": own, "macos": ["macos-15"], "windows": ["windows-2025"]}
    environment = _ARCHITECTURES.replace("{arm}", " ".join(arm)).replace("{others}", " ".join(others))
    values = {
        "runners": _list([name for system in taken.systems for name in runners[system]]),
        "emulation": _EMULATION if set(others) - {"x86_64", "i686"} else "",
        "environment": environment if arm and others else "",
    }
    text = _CIBUILDWHEEL
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _build_job(data: Mapping[str, Any]) -> str:
    if cibuildwheel.table(data):
        return _CIBUILDWHEEL
    system = data.get("build-system", {})
    required = {canonicalize_name(re.split(r"[^\w.-]", str(line).strip())[0]) for line in system.get("requires", [])}
    if system.get("build-backend") == "maturin":
        return _MATURIN.replace("{pythons}", "\n".join(f"            {version}" for version in _versions(data)))
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
    if required & native or modules or any(Path(name).is_file() for name in ("CMakeLists.txt", "meson.build")):
        return _CIBUILDWHEEL
    return _CIBUILDWHEEL if _setup_builds_modules() else _PURE


def _versions(data: Mapping[str, Any]) -> list[str]:
    """Return the released versions of CPython that ``requires-python`` admits; the newest three without it."""
    text = str(data.get("project", {}).get("requires-python", "") or f">=3.{_NEWEST - 2}")
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        text = f">=3.{_NEWEST - 2}"
    minors = admitted_minors(text, range(OLDEST[1], _NEWEST + 1))
    return [f"3.{minor}" for minor in minors or [_NEWEST]]


def _other_workflows() -> Iterator[str]:
    """Yield the workflows of the project that build wheels already."""
    for path in sorted(WORKFLOW.parent.glob("*.y*ml")):
        if path.name != WORKFLOW.name and _BUILDS.search(path.read_text(encoding="utf-8", errors="replace")):
            yield path.as_posix()


def _setup_builds_modules() -> bool:
    """Whether there is a setup.py that has extension modules."""
    try:
        text = Path("setup.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"ext_modules|Extension\(|cffi_modules|rust_extensions|has_ext_modules", text) is not None
