"""Wrong input gives one readable message: options, ini values, wheels, requirements, paths, interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from ground import Ground

#: A program that is not an interpreter.
PROGRAM = r"C:\windows\system32\hostname.exe" if sys.platform == "win32" else "/bin/true"

OPTIONS = [
    (["--wheel=none.whl"], "none.whl"),
    (["--wheel="], "--wheel"),
    (["--wheel=tests/test_one.py"], "test_one.py"),
    (["--wheel=dist/*.zip"], "dist/*.zip"),
    (["--wheel=empty"], "empty"),
    (["tests/none.py"], "tests/none.py"),
    (["tests/test_one.py::test_none"], "test_none"),
    (["--wheel-python=2.7.x"], "2.7.x"),
    (["--wheel-python=/none/python"], str(Path("/none/python"))),
    (["--wheel-python=/etc/passwd"], str(Path("/etc/passwd"))),
    ([f"--wheel-python={PROGRAM}"], PROGRAM),
    (["--wheel-python=9.99"], "9.99"),
    (["--wheel-machine=pdp11"], "pdp11"),
    (["--wheel-machine=page=abc"], "page"),
    (["--wheel-jobs=0"], "--wheel-jobs"),
    (["--wheel-jobs=many"], "many"),
    (["--wheel-select=NONE1"], "NONE1"),
    (["--wheel-ignore=NONE1"], "NONE1"),
    (["--wheel-requires=not a requirement!"], "not a requirement!"),
    (["--wheel-requires=-r none.txt"], "none.txt"),
    (["--wheel-requires=demo==9.9"], "demo==9.9"),
    (["--wheel-extra=none"], "none"),
    (["--wheel-group=none"], "none"),
    (["--wheel-find-links=none"], "none"),
    (["--wheel-index=nonsense://x"], "pytest and the test requirements cannot be resolved"),
    (["--wheel-report=none.doc"], "none.doc"),
    (["--wheel-expect=nowhere"], "nowhere"),
    (["--wheel-none"], "--wheel-none"),
    (["-k", "("], "("),
    (["-m", "("], "("),
    (["--pdb"], "--pdb"),
    (["-c", "none.ini"], "none.ini"),
    (["--rootdir=none"], "none"),
    (["-p", "no_such_plugin"], "no_such_plugin"),
    (["-o", "wheel_test_timeout=soon"], "soon"),
    (["-o", "wheel_timeout_scale=-1"], "-1"),
    (["-o", "wheel_entry_timeout=nan"], "nan"),
    (["-o", "wheel_executables=nonsense"], "nonsense"),
    (["-o", "wheel_wine=maybe"], "wheel_wine: "),
    (["-o", "wheel_max_size=big"], "wheel_max_size = big"),
    (["-o", "wheel_sysroots=nonsense"], "nonsense"),
    (["-o", "wheel_expect=cp399"], "cp399"),
    (["--wheel-sysroot=aarch64=none"], "none"),
    (["--wheel-sysroot=pdp11=dist"], "pdp11"),
    (["--wheel-expect=cp314-cp311: any"], "cp314-cp311"),
    (["--wheel-machine=page=7"], "page=7"),
    (["--wheel-python=" + "9" * 400], "neither a version nor the path"),
    (["--wheel-requires=-r tests"], "tests"),
    (["--wheel=/proc/self/mem"], "/proc/self/mem"),
    (["--wheel=[.whl"], "[.whl"),
    (["--wheel=" + "x" * 400 + ".whl"], "there is no such file" if sys.platform == "win32" else "File name too long"),
    (["dist/demo-1.0-py3-none-any.whl::nothing"], "nothing"),
    (["-s"], "-s cannot be used"),
    (["-o", "wheel_executables=x: 'open"], "open"),
    (["-o", "wheel_select=NONE1"], "NONE1"),
]


@pytest.mark.parametrize(
    ("args", "expected"), OPTIONS, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_command_lines(demo: Ground, args: list[str], expected: str) -> None:
    (demo.path / "empty").mkdir()
    found = demo.run("--wheel-offline", *args)
    assert found.code in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED}
    assert expected in found.text
    assert "Traceback (most recent call last)" not in found.text
    assert "pytest_wheelcheck/" not in found.text.replace(os.fspath(Path(sys.executable)), "")


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all", b"PK\5\6" + bytes(18), None], ids=repr)
def test_files_that_are_not_wheels(demo: Ground, data: bytes | None) -> None:
    """The good wheel has its results, and the bad file is one failure."""
    bad = demo.path / "dist" / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(demo.wheel.read_bytes()[:300] if data is None else data)
    found = demo.run("--wheel=dist", "--wheel-select=")
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.nodes["tests/test_one.py::test_one"] == "PASSED"
    assert "bad-1.0-py3-none-any.whl" in found.text
    assert "Traceback (most recent call last)" not in found.text


@pytest.mark.parametrize(
    "name", ["demo.whl", "demo-1.0.whl", "demo-1.0-py3-none.whl", "de mo-x-py3-none-any.whl", "-.whl"]
)
def test_invalid_file_names(demo: Ground, name: str) -> None:
    demo.wheel.rename(demo.wheel.with_name(name))
    found = demo.run(f"--wheel=dist/{name}")
    assert found.code != 0
    assert "Traceback (most recent call last)" not in found.text


@pytest.mark.parametrize("requires", ["no such requirement!", "demo[", "x @ nonsense", "other; python_version ~ '3'"])
def test_requirements_of_the_wheel(demo: Ground, requires: str) -> None:
    wheel = build_wheel(demo.path / "dist", "needy", files={"needy/__init__.py": ""}, requires=[requires])
    found = demo.run(f"--wheel={wheel}", "--wheel-offline")
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.nodes["install"] in {"FAILED", "ERROR"}
    assert "Traceback (most recent call last)" not in found.text


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["checks", "NONE1"],
        ["test"],
        ["test", "none.whl"],
        ["runtime", "path", "nonsense"],
        ["runtime", "remove", "nonsense"],
        ["runtime", "install", "nonsense"],
        ["exec", "nonsense", "true"],
        ["merge", "none.json"],
        ["cache", "nonsense"],
        ["cache", "prune", "--days=soon"],
    ],
    ids=" ".join,
)
def test_the_command(demo: Ground, args: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest_wheelcheck", *args],
        cwd=demo.path,
        env=demo.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode not in {0, -1}, output
    assert "Traceback" not in output
    assert output.strip()


def test_no_timeout(demo: Ground) -> None:
    """Zero means no timeout, not an immediate one."""
    script = "#!python\nimport time\ntime.sleep(0.3)\n"
    files = {"demo/__init__.py": "import time\ntime.sleep(0.3)\n", "demo-1.0.data/scripts/demo-slow": script}
    wheel = build_wheel(demo.path / "slow", "demo", files={**files})
    demo.write(test_one="import time\ndef test_one(): time.sleep(0.3)\n")
    demo.ini("wheel_entry_timeout = 0", "wheel_test_timeout = 0", "wheel_timeout_scale = 0")
    found = demo.run(f"--wheel={wheel}")
    assert found.code == 0
    assert found.nodes["run[demo-slow]"] == "PASSED"
