"""A test that ends or blocks the interpreter is one failure, and all other tests have their results."""

from __future__ import annotations

import os
import re
import sys

import pytest
from builders import build_wheel
from ground import Ground

TESTS = """
import os, sys, threading, time
import pytest
import wheelcheck_witness as witness

{tests}

def raises():
    raise ValueError("of a thread")

def test_thread():
    thread = threading.Thread(target=raises)
    thread.start()
    thread.join()

def test_sys_exit(): sys.exit(3)
def test_after_sys_exit(): pass
def test_interrupt(): raise KeyboardInterrupt
def test_after_interrupt(): pass
def test_kill_group(): os.killpg(0, 9)
def test_after_kill_group(): pass

@pytest.fixture
def crash():
    witness.misbehave("segfault")

def test_setup(crash): pass
def test_after_setup(): pass

@pytest.fixture
def late():
    yield
    witness.misbehave("abort")

def test_teardown(late): pass
def test_last(): pass
"""

#: The message in the report on each misbehavior of the witness.
ENDS = {
    "segfault": "killed by SIGSEGV",
    "abort": "killed by SIGABRT",
    "illegal": "killed by SIGILL",
    "bus": "killed by SIGBUS",
    "fpe": "killed by SIGFPE",
    "stack": "killed by SIGSEGV",
    "exit0": "the interpreter died: exit status 0",
    "exit5": "the interpreter died: exit status 5",
    "kill": "killed by SIGKILL",
    "memory": "MemoryError",
    "panic": "PanicException: the witness was asked to panic",
    "hang": "Timeout: the test did not end within 2 s (wheel_test_timeout) and was ended from outside",
    "hang-detached": "Timeout: the test did not end within 2 s",
}

#: These do not change a test's outcome. Their effects at the interpreter's exit must not matter.
HARMLESS = ("print", "atexit-hang", "atexit-abort")

#: Under an emulator, each of these needs a new worker, which takes seconds. They are tested there at import only, unless
#: WHEELCHECK_EVERY_FAULT is set.
EXPENSIVE = (
    {"abort", "illegal", "bus", "fpe", "exit5", "kill", "hang"}
    if not os.environ.get("WHEELCHECK_EVERY_FAULT")
    else set()
)

ONE = """
def test_{name}(): witness.misbehave("{kind}")
def test_after_{name}(): pass
"""


def test_in_tests(either: Ground) -> None:
    either.ini("wheel_test_timeout = 2", "wheel_timeout_scale = 1")
    ends = {kind: text for kind, text in ENDS.items() if not either.emulated or kind in set(either.kinds) - EXPENSIVE}
    kinds = (*ends, *HARMLESS)
    tests = "".join(ONE.format(name=kind.replace("-", "_"), kind=kind) for kind in kinds)
    crash = "import wheelcheck_witness as witness\nwitness.misbehave('segfault')\n"
    either.write(test_collection=crash, test_ends=TESTS.format(tests=tests))
    found = either.run(bound=240)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    names = {name.partition("::test_")[2]: outcome for name, outcome in found.nodes.items() if "::" in name}
    failed = {kind.replace("-", "_") for kind in ends} | {"sys_exit", "interrupt", "kill_group"}
    assert {name for name, outcome in names.items() if outcome == "FAILED"} == failed
    assert {name for name, outcome in names.items() if outcome == "ERROR"} == {"setup", "teardown"}
    assert len(names) == 2 * len(kinds) + 11
    reports = {
        part.partition(" __")[0].rpartition("::test_")[2]: f"{part}\n" for part in found.text.split("\n______")[1:]
    }
    for kind, text in ends.items():
        assert text in reports[kind.replace("-", "_")], kind
    for kind in {"segfault", "abort", "illegal", "bus", "fpe", "hang", "hang-detached"} & set(ends):
        assert f"in test_{kind.replace('-', '_')}\n" in reports[kind.replace("-", "_")], kind
    assert found.nodes["tests/test_collection.py"] == "FAILED"
    assert "killed by SIGSEGV, while tests/test_collection.py was collected" in found.text
    assert "ERROR at setup of" in found.text
    assert "ERROR at teardown of" in found.text
    assert "PytestUnhandledThreadExceptionWarning" in found.text
    assert "left processes running" not in found.text


@pytest.mark.parametrize("kind", ["segfault", "exit0"])
def test_at_the_import(ground: Ground, kind: str) -> None:
    """The witness misbehaves wherever it is imported: in the import check and in the test module."""
    ground.ini("wheel_test_timeout = 2")
    ground.write(test_one="import wheelcheck_witness\ndef test_one(): pass\n", test_two="def test_two(): pass\n")
    found = ground.run(env={"WHEELCHECK_WITNESS_IMPORT": kind}, bound=40)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    # One cause is one failure.
    assert found.only("FAILED") == ["import[wheelcheck_witness]"]
    assert found.only("SKIPPED") == [
        "entry[wheelcheck-witness]",
        "import[wheelcheck_witness._native]",
        "tests/test_one.py",
    ]
    assert found.only("PASSED") == ["compile", "install", "tests/test_two.py::test_two"]


#: Modules that are no friends of their process, and whether their import counts as failed.
MODULES = {
    "thread_raises": ("import threading\nthreading.Thread(target=lambda: 1 / 0).start()\n", False),
    "thread_runs_on": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
        False,
    ),
    "thread_blocks": ("import threading\nthreading.Thread(target=threading.Event().wait).start()\n", True),
    "sys_exit": ("raise SystemExit(0)\n", True),
    "interrupt": ("raise KeyboardInterrupt\n", True),
    "fork": ("import os, time\nif os.fork() == 0: time.sleep(60)\n", False),
    "fork_and_exit": ("import os, time\nif os.fork() == 0: os._exit(0)\n", False),
    "daemon": (
        (
            "import os\nif os.fork() == 0:\n"
            "    os.setsid()\n    if os.fork() == 0: os.execvp('sleep', ['sleep', '61'])\n    os._exit(0)\n"
        ),
        False,
    ),
    "close": ("import os\nfor fd in (0, 1, 2): os.close(fd)\n", False),
    "close_all": ("import os\nos.closerange(0, 4096)\n", True),
    "forge": (
        "import os\nfor fd in range(256):\n  try: os.write(fd, b'{\"ok\": true}')\n  except OSError: pass\nos._exit(0)\n",
        True,
    ),
}


def test_many_imports(either: Ground) -> None:
    """Modules of one wheel that end the process in every way. The other modules are imported without errors."""
    either.ini("wheel_test_timeout = 2", "wheel_timeout_scale = 2")
    kinds = [kind for kind in (*ENDS, *HARMLESS) if kind in either.kinds]
    files = {f"good_{number}.py": "" for number in range(len(kinds) + len(MODULES))}
    expected = dict.fromkeys((name.removesuffix(".py") for name in files), "PASSED")
    for kind in kinds:
        name = f"bad_{kind.replace('-', '_')}"
        files[f"{name}.py"] = f"import wheelcheck_witness as w\nw.misbehave({kind!r})\n"
        expected[name] = "PASSED" if kind == "print" else "FAILED"
    for name, (text, fails) in MODULES.items():
        files[f"bad_{name}.py"] = text
        expected[f"bad_{name}"] = "FAILED" if fails else "PASSED"
    tags = ["py3-none-manylinux_2_17_aarch64" if either.emulated else "py3-none-any"]
    wheel = build_wheel(either.path / "zoo", "zoo", files={**files}, tags=tags, requires=["wheelcheck-witness"])
    either.write(test_one="import good_1\ndef test_one(): pass\n")
    found = either.run(f"--wheel={wheel}", f"--wheel-find-links={either.wheel.parent}", "--wheel-offline", bound=240)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    outcomes = {name[7:-1]: outcome for name, outcome in found.nodes.items() if name.startswith("import[")}
    assert outcomes == expected
    assert found.nodes["tests/test_one.py::test_one"] == "PASSED"
    assert "importing it left processes running, which were ended: 1: " in found.text
    assert " sleep 61" in found.text


@pytest.mark.skipif(sys.platform == "win32", reason="limits memory with a Unix call")
def test_out_of_memory(demo: Ground) -> None:
    demo.write(
        test_memory="""
        import os, resource

        def test_limited():
            pages = int(open("/proc/self/statm").read().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20),) * 2)
            blocks = [bytearray(1 << 20) for _ in range(1000)]

        def test_after_limited(): pass
        def test_as_the_kernel_ends_it(): os.kill(os.getpid(), 9)
        def test_last(): pass
        """
    )
    found = demo.run()
    assert found.code == pytest.ExitCode.TESTS_FAILED
    failed = ["tests/test_memory.py::test_as_the_kernel_ends_it", "tests/test_memory.py::test_limited"]
    assert found.only("FAILED") == failed
    assert found.nodes["tests/test_memory.py::test_last"] == "PASSED"
    # It is indented as the line of code, which is in a frame of its own only before CPython 3.12.
    assert re.search(r"^E +MemoryError$", found.text, re.MULTILINE)
    assert "killed by SIGKILL\nCause: the kernel was out of memory" in found.text


def test_worker_that_cannot_be_restarted(demo: Ground) -> None:
    """After three crashes at start, the target is given up, and each test that did not run has the reason."""
    demo.write(
        conftest="""
        import os, pathlib
        boots = pathlib.Path("boots")
        boots.write_text(boots.read_text() + "x" if boots.exists() else "x")
        if boots.read_text() != "x":
            os.abort()
        """,
        test_one="""
        import os
        def test_first(): pass
        def test_exit(): os._exit(3)
        def test_third(): pass
        def test_last(): pass
        """,
    )
    found = demo.run()
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.only("FAILED") == ["tests/test_one.py::test_exit"]
    assert found.only("ERROR") == ["tests/test_one.py::test_last", "tests/test_one.py::test_third"]
    assert (demo.path / "boots").read_text() == "xxxx"
    assert found.text.count("\nno fresh worker could be started (3 tries)") == 2
    died = "Aborted" if sys.platform == "win32" else "killed by SIGABRT"
    assert found.text.count(f"{died}, while pytest and the conftest files were loaded") == 2


def test_interpreter_that_does_not_exit(demo: Ground) -> None:
    """Results are reported before the interpreter exits, so a deadlock at exit costs nothing."""
    demo.write(
        conftest="""
        import atexit, threading
        lock = threading.Lock()
        lock.acquire()
        atexit.register(lock.acquire)
        threading.Thread(target=threading.Event().wait).start()
        """
    )
    found = demo.run(bound=30)
    assert found.code == 0
