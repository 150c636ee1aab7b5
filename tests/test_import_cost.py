"""A package is imported once for all of its modules, and the results are those of an interpreter for each."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import elsewhere
import pytest
from builders import build_wheel
from compiled import LINUX_TAG, SUFFIX, extension, needs_compiler
from nodes import RunDist, RunOutput, run_output

HEAD = "#include <stdlib.h>\n#include <unistd.h>\n"


def python(code: str) -> str:
    """C that runs Python when a module is imported."""
    return f'if (PyRun_SimpleString("{code}")) return -1;'


#: Native modules of one package, by the C that runs when they are imported, and what they are.
MODULES = {
    "pkg.loaded": ("", "PASSED"),
    "pkg.good": ("", "PASSED"),
    "pkg.sub.deep.one": ("", "PASSED"),
    "pkg.sub.deep.two": ("", "PASSED"),
    "pkg.sub.deep.loaded": ("", "PASSED"),
    "pkg.crashes": ("abort();", "FAILED"),
    "pkg.sub.deep.crashes": ("abort();", "FAILED"),
    "pkg.hangs": ("for (;;) pause();", "FAILED"),
    "pkg.leaves": ("_exit(0);", "FAILED"),
    "pkg.exits": ("exit(3);", "FAILED"),
    "pkg.ends_badly": ("Py_AtExit(abort);", "FAILED"),
    "pkg.stays": (python("import atexit, time; atexit.register(time.sleep, 600)"), "FAILED"),
    "pkg.needs_good": (python("import sys; assert 'pkg.good' in sys.modules"), "FAILED"),
    "pkg.before_good": (python("import sys; assert 'pkg.good' not in sys.modules"), "PASSED"),
    "pkg.forks": (python("import os; os.fork()"), "PASSED"),
    "pkg.closes": (python("import os; os.closerange(3, 20)"), "PASSED"),
    "pkg.replaces": (
        python("import os, select, time; os.fork = os.waitpid = select.select = time.sleep = None"),
        "PASSED",
    ),
}

#: Written once for each process that imports the package.
NOTE = "import os\nwith open({path!r}, 'a') as file: print(__name__, os.getpid(), file=file)\n"


def build(directory: Path, notes: Path, packages: dict[str, str], *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Build a wheel of the package, and of others with two native modules each; return the expected outcomes.

    :param packages: their names and code.
    :param without: modules that are left out.
    """
    modules = {name: entry for name, entry in MODULES.items() if name not in without}
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": NOTE.format(path=str(notes)) + "from . import loaded\n",
        "pkg/sub/__init__.py": "",
        "pkg/sub/deep/__init__.py": NOTE.format(path=str(notes)) + "from . import loaded\n",
        "pkg/sub/deep/cli.py": "def main(): pass\n",
    }
    for name, (body, _) in modules.items():
        path = f"{name.replace('.', '/')}{SUFFIX}"
        files[path] = extension(directory / name, name.rpartition(".")[2], head=HEAD, body=body)
    for name, code in packages.items():
        files[f"{name}/__init__.py"] = code
        for module in ("one", "two"):
            files[f"{name}/{module}{SUFFIX}"] = extension(directory / name, module)
    build_wheel(
        directory.parent / "dist",
        "pkg",
        files=files,
        tags=[LINUX_TAG],
        entry_points={"console_scripts": {"pkg-cli": "pkg.sub.deep.cli:main", "pkg-none": "pkg.sub.deep.cli:none"}},
    )
    expected = {f"import[{name}]": outcome for name, (_, outcome) in modules.items()}
    expected |= {f"import[{name}{end}]": "PASSED" for name in packages for end in ("", ".one", ".two")}
    return {**expected, "import[pkg]": "PASSED", "entry[pkg-cli]": "PASSED", "entry[pkg-none]": "FAILED"}


def outcomes(ran: RunOutput) -> dict[str, str]:
    return {name: outcome for name, outcome in ran.nodes.items() if name.startswith(("import[", "entry["))}


#: Packages that do not work in a copy of the process that imported them, and work otherwise.
PACKAGES = {
    "threads": "import threading, time\nthreading.Thread(target=time.sleep, args=[600], daemon=True).start()\n",
    "at_fork": "import os\nos.register_at_fork(after_in_child=os.abort)\n",
    "at_exit": "import atexit, os, tempfile\npath = tempfile.mkdtemp()\n\n@atexit.register\ndef remove():\n"
    "    try:\n        os.rmdir(path)\n    except OSError:\n        os._exit(3)\n",
    "no_children": "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n",
}


@needs_compiler
def test_the_same_results(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    notes = pytester.path / "notes"
    expected = build(pytester.path / "build", notes, PACKAGES)
    pytester.makeini("[pytest]\nwheel_test_timeout = 6\n")
    ran = run_dist()
    assert outcomes(ran) == expected, ran.text
    assert "killed by SIGABRT" in ran.text
    assert "the import exceeded its timeout" in ran.text
    assert "exit status 0 in the middle of the import" in ran.text
    assert "but the interpreter failed afterwards, while it exited: killed by SIGABRT" in ran.text
    assert "the interpreter exceeded the timeout while it exited" in ran.text
    # Once for all that is sound; once for each that is not; and modules[pkg] imports all of it, again after each death.
    failed = sum(outcome == "FAILED" for outcome in expected.values())
    imported = [line.split()[0] for line in notes.read_text("ascii").splitlines()]
    assert imported.count("pkg") <= 1 + failed + 1
    assert imported.count("pkg.sub.deep") <= 1 + 2 + 1


@needs_compiler
@pytest.mark.parametrize(
    "without",
    [
        pytest.param((), id="many"),
        pytest.param(
            ("pkg.exits", "pkg.leaves", "pkg.ends_badly", "pkg.stays", "pkg.closes"), id="few", marks=pytest.mark.long
        ),
    ],
)
def test_without_fork(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]
) -> None:
    elsewhere.require_mounts()
    notes = tmp_path / "notes"
    expected = build(pytester.path / "build", notes, {}, without=without)
    if without:
        # One process goes on through the modules, so one of them sees the others.
        expected |= {"import[pkg.needs_good]": "PASSED"}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("ELSEWHERE", str(tmp_path / "elsewhere"))
    arguments = ("-v", "-p", "no:cacheprovider", "--wheel=dist", "--wheel-select=WHL101", "-o", "wheel_test_timeout=6")
    ran = run_output(
        pytester.run(sys.executable, elsewhere.__file__, *arguments, f"--wheel-python={sys.executable}", timeout=300)
    )
    assert outcomes(ran) == expected, ran.text
    if without:
        # Together three times, as two modules end it; alone for each that fails, twice without a result; and modules[pkg].
        assert notes.read_text("ascii").count("pkg ") <= 3 + 5 + 1


@needs_compiler
def test_modules_that_their_package_loads_have_facts(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    slow = "#include <unistd.h>\n"
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": "from . import one\n",
        f"pkg/one{SUFFIX}": extension(pytester.path / "one", "one", head=slow, body="usleep(200000);"),
        f"pkg/two{SUFFIX}": extension(pytester.path / "two", "two", head=slow, body='write(1, "spoken\\n", 7);'),
        f"pkg/three{SUFFIX}": extension(pytester.path / "three", "three"),
    }
    build_wheel(pytester.path / "dist", "pkg", files=files, tags=[LINUX_TAG])
    ran = run_dist("-rA")
    assert set(ran.nodes.values()) == {"PASSED"}
    for name, least in (("one", 0.2), ("two", 0.0), ("three", 0.0)):
        found = re.search(rf"import\[pkg\.{name}\] _+\n-+ Details -+\nimported in ([\d.]+) s after pkg\n", ran.text)
        assert found is not None, ran.text
        assert least <= float(found[1]) < least + 0.2
