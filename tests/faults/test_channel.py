"""Results arrive whatever tests do to descriptors, streams, directories, locale, variables, signals, threads, children."""

from __future__ import annotations

import pytest
from ground import Ground

TESTS = r"""
import ctypes, json, locale, os, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time
import pytest
import wheelcheck_witness as witness

LIBC = ctypes.CDLL(None)

def test_print():
    witness.misbehave("print")

def test_junk():
    for fd in (1, 2):
        os.write(fd, bytes(range(256)) * 4096)
    LIBC.puts(b"by C")
    LIBC.fflush(None)

@pytest.mark.parametrize("fails", [False, True])
def test_megabytes(fails):
    for _ in range(50):
        os.write(1, b"x" * 99_999 + b"\n")
        print("y" * 99_999)
    assert not fails, "long"

def test_close_fds():
    witness.misbehave("close-fds")

def test_dup2():
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)

def test_dup2_over_all(tmp_path):
    # Every open descriptor becomes a file, including the channel.
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    for other in range(256):
        if other != fd:
            os.dup2(fd, other)

def test_after_dup2(): print("captured")

def test_forged():
    # A message in the format of the channel, on every descriptor, including the channel.
    data = json.dumps({"type": "done", "stop": "forged", "restart": False, "nonce": "0", "pid": os.getpid()})
    frame = struct.pack(">I", len(data)) + data.encode()
    for fd in range(3, 256):
        try:
            if os.get_inheritable(fd) or fd >= 200:
                os.write(fd, frame)
        except OSError:
            pass

def test_garbage():
    for fd in range(200, 256):
        try:
            os.write(fd, b"\xff" * 4096)
        except OSError:
            pass

def test_after_garbage(): pass

def test_directory_changed():
    os.chdir("/")

def test_directory_deleted():
    os.chdir(tempfile.mkdtemp())
    os.rmdir(os.getcwd())

def test_after_directory(): assert not os.path.exists("/proc/self/cwd/x")

def test_temporary_deleted():
    shutil.rmtree(tempfile.gettempdir())

def test_after_temporary(tmp_path): pass

def test_locale():
    for name in ("C", "de_DE.UTF-8", "tr_TR.UTF-8"):
        try:
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            pass
    LIBC.setlocale(6, b"C")

def test_environment():
    os.environ.clear()

def test_after_environment():
    assert subprocess.run([sys.executable, "-c", "import wheelcheck_witness"]).returncode == 0

def test_signals():
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))

def test_streams():
    sys.stdin = sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None

@pytest.fixture
def functions_replaced(monkeypatch):
    # The reports of setup and call are sent while the functions are replaced.
    for module, names in ((json, "dumps loads"), (struct, "pack unpack"), (os, "read write"), (time, "monotonic time")):
        for name in names.split():
            monkeypatch.setattr(module, name, None)
    monkeypatch.setattr(os, "getpid", lambda: 1)

def test_functions(functions_replaced): pass

def test_functions_replaced_for_good():
    json.dumps = json.loads = struct.pack = struct.unpack = os.read = time.monotonic = time.time = None

def test_after_functions(): pass

def test_fork_runs_on():
    os.fork()

def test_fork_raises():
    if os.fork() == 0:
        raise SystemExit(3)

def test_fork_once():
    with open(os.path.join(os.path.dirname(__file__), "once"), "a") as file:
        file.write("x")

def test_threads():
    def chatter():
        while True:
            os.write(1, b"chatter\n")
            print("chatter")
            time.sleep(0.01)
    for _ in range(4):
        threading.Thread(target=chatter, daemon=True).start()
    threading.Thread(target=threading.Event().wait).start()

def test_limits():
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

def test_after_limits():
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

def test_recursion():
    sys.setrecursionlimit(60)

def test_collector():
    import gc
    gc.disable()
    sys.settrace(lambda *_: None)
    threading.settrace(lambda *_: None)

def test_frozen_clock(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    monkeypatch.setattr(time, "perf_counter", lambda: -1.0)

def test_last(): pass
"""


def test_results_arrive(either: Ground) -> None:
    ground = either
    ground.ini("wheel_test_timeout = 10", "wheel_timeout_scale = 3")
    ground.write(test_channel=TESTS)
    found = ground.run(bound=240, kept=True)
    names = [line.partition("(")[0].removeprefix("def ") for line in TESTS.splitlines() if line.startswith("def test_")]
    outcomes = {name.partition("::")[2]: outcome for name, outcome in found.nodes.items() if "::" in name}
    assert {name.partition("[")[0] for name in outcomes} == set(names)
    print({name: outcome for name, outcome in outcomes.items() if outcome != "PASSED"})
    # These broke the worker. The test that did it failed, and no other.
    assert {name for name, outcome in outcomes.items() if outcome != "PASSED"} == {
        "test_megabytes[True]",
        "test_dup2_over_all",
        "test_garbage",
    }
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert (ground.path / "tests" / "once").read_text() == "x"
    # Too long for a report: both ends are shown, and the full output is in a file.
    assert len(found.text) < 1_000_000
    (kept,) = ground.temp.glob("wheelcheck-*")
    (folder,) = kept.iterdir()
    assert f"the complete output of failed tests is in {folder}" in found.text
    files = list(folder.iterdir())
    assert all(f"the full output is in {path}]" in found.text for path in files)
    assert sorted(path.stat().st_size for path in files) == [10_000_000]
