"""Entry points resolve, and executables start."""

from __future__ import annotations

import subprocess
import sys

import pytest
from builders import build_wheel
from compiled import LINUX_TAG, needs_compiler
from nodes import RunDist


def test_console_scripts_resolve(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={
            "pkg/__init__.py": "VALUE = 1\ndef main(): raise SystemExit('this must not be called')\n"
            "class Tool:\n    @classmethod\n    def run(cls): pass\n",
            "pkg/broken.py": "import not_declared\n",
            "other/__init__.py": "def main(): pass\n",
        },
        extras=["x"],
        entry_points={
            "console_scripts": {
                "good": "pkg:main",
                "nested": "pkg:Tool.run",
                "extra": "other:main [x]",
                "no-attribute": "pkg:absent",
                "no-nested": "pkg:Tool.absent",
                "no-call": "pkg:VALUE",
                "no-module": "pkg.absent:main",
                "no-dependency": "pkg.broken:main",
            },
            "gui_scripts": {"window": "pkg:absent"},
        },
    )
    ran = run_dist()
    entries = {name[6:-1]: outcome for name, outcome in ran.nodes.items() if name.startswith("entry[")}
    assert [name for name, outcome in entries.items() if outcome == "PASSED"] == ["good", "nested", "extra"]
    assert [name for name, outcome in entries.items() if outcome == "FAILED"] == [
        "no-attribute",
        "no-nested",
        "no-call",
        "no-module",
        "no-dependency",
    ]
    assert "module 'pkg' has no attribute 'absent'" in ran.text
    assert "type object 'Tool' has no attribute 'absent'" in ran.text
    assert "the entry point no-call refers to 1, which is not callable" in ran.text
    assert "the wheel does not contain pkg.absent" in ran.text
    assert "does not declare a dependency that brings not_declared" in ran.text
    assert "this must not be called" not in ran.text
    # Console scripts are not started unless they are named.
    assert not [name for name in ran.nodes if name.startswith("run[")]


PRINTS = '#!python\nimport sys\nprint("ARGUMENTS", sys.argv[1:])\n'


def test_executables_are_configured(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    scripts = {
        "plain": PRINTS,
        "helped": PRINTS,
        "left-out": "#!python\nraise SystemExit(9)\n",
        "left-too": "#!python\nraise SystemExit(9)\n",
        "shell": '#!/bin/sh\necho "SHELL $1 $VIRTUAL_ENV"\n',
    }
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={
            "pkg.py": "import sys\ndef main(): print('CONSOLE', sys.argv[1:])\n",
            **{f"pkg-1.0.data/scripts/{name}": text for name, text in scripts.items()},
        },
        modes={f"pkg-1.0.data/scripts/{name}": 0o100755 for name in scripts},
        entry_points={"console_scripts": {"console": "pkg:main", "silent": "pkg:main"}},
    )
    pytester.makeini(
        """
        [pytest]
        wheel_executables =
            helped: --help "two words"
            left-*: off
            console: -c
        """
    )
    ran = run_dist("-rP")
    assert [name for name in ran.nodes if name.startswith("run[")] == [
        "run[console]",
        "run[helped]",
        "run[plain]",
        "run[shell]",
    ]
    assert ran.code in {0, 5}
    for line in ("ARGUMENTS ['--help', 'two words']", "ARGUMENTS ['--version']", "CONSOLE ['-c']"):
        assert line in ran.text
    if sys.platform == "win32":
        assert ran.only("SKIPPED") == ["run[shell]"]
        assert "Windows starts no such file" in ran.text
    else:
        assert "SHELL --version /" in ran.text


def test_all_executables_are_switched_off(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={"pkg.py": "", "pkg-1.0.data/scripts/bad": "#!python\nraise SystemExit(9)\n"},
    )
    pytester.makeini("[pytest]\nwheel_executables = *: off\n")
    assert not [name for name in run_dist().nodes if name.startswith("run[")]
    pytester.makeini("[pytest]\nwheel_executables = bad\n")
    wrong = run_dist()
    assert wrong.code == 4
    assert "wheel_executables in tox.ini: 'bad' is not of the form" in wrong.text


@needs_compiler
def test_executables_that_do_not_start(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    def compiled(name: str, body: str) -> bytes:
        source = pytester.path / f"{name}.c"
        source.write_text(
            f"#include <stdio.h>\n#include <stdlib.h>\nint main(int c, char **v) {{ {body} return 0; }}\n", "ascii"
        )
        subprocess.run(["gcc", "-o", source.with_suffix(""), source], check=True, timeout=60)
        return source.with_suffix("").read_bytes()

    programs: dict[str, bytes | str] = {
        "elf": compiled("elf", 'printf("ELF %s\\n", v[1]);'),
        "crash": compiled("crash", "abort();"),
        "refuse": "#!python\nimport sys\nprint('bad words', file=sys.stderr)\nsys.exit(2)\n",
        "usage": "#!python\nimport sys\nprint('Usage: usage FILE', file=sys.stderr)\nsys.exit(1)\n",
        "named": "#!python\nimport sys\nprint('unknown option', sys.argv[1])\nsys.exit(1)\n",
        "broken": "#!python\nprint('usage: none')\nimport no_such_module\n",
        "garbage": b"\x7fELFgarbage",
        "hang": "#!python\nimport time\ntime.sleep(60)\n",
        "lost": "#!/no/such/interpreter\n",
    }
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={"pkg.py": "", **{f"pkg-1.0.data/scripts/{name}": text for name, text in programs.items()}},
        modes={f"pkg-1.0.data/scripts/{name}": 0o100755 for name in programs},
        tags=[LINUX_TAG],
    )
    pytester.makeini("[pytest]\nwheel_entry_timeout = 2\nwheel_executables = named: -z\n")
    ran = run_dist("-rP")
    outcomes = {name: outcome for name, outcome in ran.nodes.items() if name.startswith("run[")}
    assert outcomes == {
        "run[broken]": "FAILED",
        "run[crash]": "FAILED",
        "run[elf]": "PASSED",
        "run[garbage]": "FAILED",
        "run[hang]": "FAILED",
        "run[lost]": "FAILED",
        "run[named]": "FAILED",
        "run[refuse]": "FAILED",
        "run[usage]": "PASSED",
    }
    # Nothing is known to be wrong with a program that refuses arguments which nobody named.
    assert "`usage --version` ended with exit status 1 and a message about its usage" in ran.text
    assert "ELF --version" in ran.text
    assert "`crash --version` ended with killed by SIGABRT" in ran.text
    assert "`refuse --version` ended with exit status 2" in ran.text
    assert "bad words" in ran.text
    assert "name others, such as " in ran.text
    assert "hang did not end within 2 seconds" in ran.text
    assert "`garbage --version` did not start" in ran.text
    assert "`lost --version` did not start" in ran.text


def test_executables_that_lack_a_module(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    """The missing module is named as what it is, and not the arguments."""
    programs = {
        "undeclared": "#!python\nimport absent\n",
        "extra": "#!python\nimport yaml\n",
        "own": "#!python\nimport pkg.missing\n",
        "build": "#!python\nraise ModuleNotFoundError(\"No module named '_tkinter'\")\n",
        "arguments": "#!python\ntry:\n    import absent\nexcept ImportError:\n    raise SystemExit('bad option')\n",
    }
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={"pkg/__init__.py": "", **{f"pkg-1.0.data/scripts/{name}": text for name, text in programs.items()}},
        modes={f"pkg-1.0.data/scripts/{name}": 0o100755 for name in programs},
        requires=["pyyaml; extra == 'config'"],
        extras=["config"],
    )
    ran = run_dist()
    assert ran.only("FAILED") == ["run[arguments]", "run[extra]", "run[own]", "run[undeclared]"]
    assert ran.only("SKIPPED") == ["run[build]"]
    assert "build needs _tkinter, a part of the standard library that this interpreter lacks" in ran.text
    assert (
        "Cause: the wheel does not declare a dependency that brings absent (no Requires-Dist in METADATA)" in ran.text
    )
    assert "Cause: yaml is declared for the extra 'config' only, but a plain import needs it" in ran.text
    assert "Cause: the wheel does not contain pkg.missing" in ran.text
    assert 'or if undeclared is not for this target, set executables = ["undeclared: off"] in ' in ran.text
    assert "import_ignore" not in ran.text
    # Only of the program that ended for another reason.
    assert ran.text.count("if the program does not know these arguments") == 1
