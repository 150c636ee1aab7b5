"""Build the files of a release, check them, and install the wheel into clean environments of every CPython that is supported.

    python tests/dist.py [DIRECTORY] [--python VERSIONS] [--require VERSIONS] [--sbom FILE] [--pytest REQUIREMENT]

It builds sdist and wheel into the directory, and runs twine, check-wheel-contents and our own static checks on them. Then pip,
pipx and uv each install the wheel for each interpreter, and a small run follows: the command, and a wheel with a test.
Interpreters are those of the host, or those that ``wheelcheck runtime install`` gets. The same is done with pytest's main branch.
What is not available is listed as not run, with the reason; for versions of ``--require`` it is a failure. ``--sbom`` writes a
CycloneDX file of an environment with the wheel and its dependencies. Exits with 1 if something failed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builders import build_wheel
from nodes import COMMAND

ROOT = Path(__file__).parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")
MAIN = "pytest @ git+https://github.com/pytest-dev/pytest"


class StepError(Exception):
    """A program failed; the text is the end of its output."""


@dataclass(frozen=True)
class Result:
    """One row of the table at the end.

    :param verdict: ``passed``, ``FAILED`` or ``not run``.
    """

    name: str
    verdict: str
    details: str


def run(*argv: str | Path, cwd: Path | None = None, **variables: str) -> str:
    """Run a program; return its output.

    :raises StepError: it cannot be started, does not end, or its exit status is not 0.
    """
    # Other runs of pytest have set them.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VIRTUAL_ENV"))}
    try:
        done = subprocess.run(
            [str(each) for each in argv],
            cwd=cwd,
            env={**env, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StepError(str(error)) from error
    if done.returncode:
        raise StepError(f"{Path(argv[0]).name} {argv[1]}: exit status {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def check_files(directory: Path) -> Path:
    """Build the files and check them; return the wheel."""
    run(sys.executable, "-m", "build", "--outdir", directory, ROOT)
    files = sorted(directory.iterdir())
    (wheel,) = [path for path in files if path.suffix == ".whl"]
    run(sys.executable, "-m", "twine", "check", "--strict", *files)
    run(Path(COMMAND).with_name("check-wheel-contents"), wheel)
    run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--wheel", wheel, "--wheel-static", cwd=directory)
    return wheel


def version_of(python: Path) -> str:
    """Return the version of an interpreter; nothing if it does not start."""
    try:
        return run(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    except StepError:
        return ""


def find_interpreter(version: str) -> str:
    """Return the path of an interpreter.

    :raises StepError: there is none.
    """
    names = [
        Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions",
        Path("/opt/hostedtoolcache/Python"),
    ]
    candidates = [path for base in names for path in base.glob(f"{version}.*/**/bin/python{version}")]
    if (on_path := shutil.which(f"python{version}")) is not None:
        candidates.append(Path(on_path))
    # A shim on PATH may have no such version.
    if (found := next((path for path in candidates if version_of(path) == version), None)) is not None:
        return str(found)
    run(COMMAND, "runtime", "install", platform.machine(), version)
    return run(COMMAND, "runtime", "path", platform.machine(), version).strip()


def install(installer: str, python: str, wheel: str, directory: Path, *more: str) -> Path:
    """Install the wheel into a clean environment; return the directory of its programs."""
    environment = directory / "environment"
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    if installer == "pip":
        run(sys.executable, "-m", "virtualenv", "--python", python, environment)
        run(scripts / "python", "-m", "pip", "install", wheel, *more)
    elif installer == "uv":
        run(Path(COMMAND).with_name("uv"), "venv", "--python", python, environment)
        run(Path(COMMAND).with_name("uv"), "pip", "install", "--python", scripts / "python", wheel, *more)
    else:
        home = str(directory / "pipx")
        pipx = (sys.executable, "-m", "pipx", "install", "--python", python, wheel)
        run(*pipx, PIPX_HOME=home, PIPX_BIN_DIR=str(environment), PIPX_MAN_DIR=home)
        return environment
    return scripts


def write_sbom(wheel: str, directory: Path, sbom: Path) -> None:
    """Write what an environment with the wheel contains."""
    scripts = install("pip", sys.executable, wheel, directory)
    # It would name a path of this machine.
    for path in (directory / "environment").rglob("direct_url.json"):
        path.unlink()
    cyclonedx = Path(COMMAND).with_name("cyclonedx-py")
    options = ("--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--output-file", sbom)
    run(cyclonedx, "environment", scripts / "python", *options)


def smoke(scripts: Path, directory: Path) -> str:
    """Use what was installed; return the versions in its header."""
    project = directory / "project"
    build_wheel(project / "dist", "demo", files={"demo/__init__.py": ""})
    (project / "tests").mkdir()
    (project / "tests" / "test_demo.py").write_text("import demo\n\n\ndef test_demo(): pass\n")
    run(scripts / "wheelcheck", "--version")
    run(scripts / "wheelcheck", "checks", "WHL101")
    options = ("--wheel", "dist", "-v", "-p", "no:cacheprovider", "tests")
    # The interpreter of the environment, which pipx does not put on a path.
    python = next(
        (path for path in (scripts / "python", *directory.glob("pipx/venvs/*/bin/python")) if path.exists()), ""
    )
    commands: list[list[str | Path]] = [[scripts / "wheelcheck", "test"]]
    if (scripts / "pytest").exists():
        commands.append([scripts / "pytest"])
    for command in commands:
        found = run(*command, *options, f"--wheel-python={python}", cwd=project)
        if "::tests/test_demo.py::test_demo PASSED" not in found:
            raise StepError(f"the test did not pass\n{found[-3000:]}")
    return next((line for line in found.splitlines() if line.startswith("platform ")), "")


def one(name: str, installer: str, python: str, wheel: str, *more: str, optional: bool = False) -> Result:
    """Install and use the wheel in one way."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        try:
            scripts = install(installer, python, wheel, directory, *more)
        except StepError as error:
            return Result(name, "not run" if optional else "FAILED", str(error))
        try:
            return Result(name, "passed", smoke(scripts, directory))
        except StepError as error:
            return Result(name, "FAILED", str(error))


def results(wheel: str, versions: list[str], required: list[str], main_branch: str = MAIN) -> Iterator[Result]:
    """Yield a result for each interpreter and installer."""
    newest = ""
    for version in versions:
        try:
            python = find_interpreter(version)
        except StepError as error:
            yield Result(f"CPython {version}", "FAILED" if version in required else "not run", str(error))
            continue
        newest = python
        for installer in ("pip", "pipx", "uv"):
            yield one(f"CPython {version}, {installer}", installer, python, wheel)
    if newest:
        yield one("pytest's main branch", "uv", newest, wheel, main_branch, optional=True)


def main() -> int:
    """Do all of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", nargs="?", type=Path, default=ROOT / "dist")
    parser.add_argument("--python", default=",".join(VERSIONS))
    parser.add_argument("--require", default="")
    parser.add_argument("--sbom", type=Path)
    parser.add_argument(
        "--pytest", default=MAIN, help="the requirement for pytest's main branch, such as that of a mirror"
    )
    args = parser.parse_args()
    directory: Path = args.directory.absolute()
    if directory.is_dir() and any(directory.iterdir()):
        parser.error(f"{directory} is not empty")
    try:
        wheel = str(check_files(directory))
        print("build, twine, check-wheel-contents, static checks: passed", flush=True)
        if args.sbom:
            with tempfile.TemporaryDirectory() as temporary:
                write_sbom(wheel, Path(temporary), args.sbom)
            print(f"SBOM: {args.sbom}", flush=True)
    except StepError as error:
        print(f"FAILED: {error}")
        return 1
    failed = False
    required = [version for version in args.require.split(",") if version]
    for result in results(wheel, args.python.split(","), required, args.pytest):
        failed |= result.verdict == "FAILED"
        details = result.details if result.verdict == "passed" else result.details.replace("\n", "\n    ")
        print(f"{result.name}: {result.verdict}: {details}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
