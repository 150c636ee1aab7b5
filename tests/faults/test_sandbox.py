"""``--wheel-sandbox``: what code under test reaches is its own; what happens there is told as ever."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import provisioned
import pytest
from builders import build_wheel
from ground import BOUND, Ground, wait_for

from pytest_wheelcheck.backends import bubblewrap
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters.architectures import host_architecture
from pytest_wheelcheck.interpreters.packages import apt

if sys.platform == "win32":
    pytest.skip("bubblewrap makes sandboxes on Linux", allow_module_level=True)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap makes sandboxes on Linux"),
    pytest.mark.network,
]

TESTS = """
import errno, multiprocessing, os, pathlib, platform, socket, subprocess, sys, tempfile
import demo
import pytest
import wheelcheck_witness as witness

def refuses(path):
    with pytest.raises(OSError) as caught:
        pathlib.Path(path).write_text("")
    assert caught.value.errno == errno.EROFS

def test_network():
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", {port}), 5)

def test_own_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), 5).close()

def test_home(): refuses(pathlib.Path.home() / "new")
def test_source(): refuses("new")
def test_source_beside_the_tests(): refuses(pathlib.Path(__file__).parent / "new")
def test_cache(): refuses({cache!r} + "/new")
def test_own_source_is_there(): assert pathlib.Path(__file__).read_text()

def test_private_folder():
    assert not os.path.exists({outside!r})
    pathlib.Path({private!r}).write_text("")

def test_temporary(tmp_path):
    (tmp_path / "new").write_text("")
    with tempfile.TemporaryFile() as file:
        file.write(b"x")

def test_environment():
    pathlib.Path(demo.__file__).write_text("")

def test_processes():
    assert len([name for name in os.listdir("/proc") if name.isdigit()]) < 10

def test_subprocess():
    words = [sys.executable, "-c", "import demo, platform; print(platform.machine())"]
    assert subprocess.run(words, capture_output=True, text=True).stdout.strip() == platform.machine()

def test_spawn():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(abs, [-1]) == [1]

def test_pty():
    here, there = os.openpty()
    os.write(there, b"x")
    assert os.read(here, 1) == b"x"

def test_leaves(): subprocess.Popen(["sleep", "9030"], start_new_session=True)
def test_parent(): os.kill(1, 9)
def test_fails(): assert 6 * 9 == 42
def test_crash(): witness.misbehave("segfault")
def test_hang(): witness.misbehave("hang")
def test_last(): pass
"""

MODULES = {
    "demo/__init__.py": "",
    "demo_writes.py": "import os\nopen(os.path.expanduser('~/new'), 'w')\n",
    "demo_calls.py": "import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)\n",
    "demo_crash.py": "import os\nos.abort()\n",
    "demo-1.0.data/scripts/demo-writes": "#!python\nimport os\nopen(os.path.expanduser('~/new'), 'w')\n",
    "demo-1.0.data/scripts/demo-works": "#!python\nopen('{private}', 'w')\nprint('works')\n",
}


@pytest.fixture(scope="session", autouse=True)
def _bubblewrap() -> None:
    try:
        bubblewrap.find()
    except WheelcheckError as error:
        raise provisioned.missing("sandbox", str(error)) from None


def test_what_it_keeps_from_whom(either: Ground, tmp_path: Path) -> None:
    either.ini("wheel_test_timeout = 4", "wheel_timeout_scale = 3")
    tags = ["py3-none-manylinux_2_17_aarch64" if either.emulated else "py3-none-any"]
    outside, home = tmp_path / "outside", tmp_path / "home"
    outside.touch()
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        # Of a name that nobody has: the run without a sandbox writes it into the host's directory.
        private = f"/tmp/wheelcheck-test-{secrets.token_hex(8)}"
        cache = os.environ["WHEELCHECK_CACHE"]
        either.write(test_sandbox=TESTS.format(port=port, cache=cache, outside=str(outside), private=private))
        files = {
            name: text.replace("{port}", str(port)).replace("{private}", private) for name, text in MODULES.items()
        }
        requires = ["wheelcheck-witness"]
        wheel = build_wheel(tmp_path / "wheel", "demo", files={**files}, tags=tags, requires=requires)
        words = (f"--wheel={wheel}", f"--wheel-find-links={either.wheel.parent}")
        found = either.run("--wheel-sandbox", *words, env={"HOME": str(home)}, bound=240)
        assert found.code == pytest.ExitCode.TESTS_FAILED
        assert "sandbox: no network" in found.text
        assert found.only("FAILED") == [
            "import[demo_calls]",
            "import[demo_crash]",
            "import[demo_writes]",
            "run[demo-writes]",
            "tests/test_sandbox.py::test_crash",
            "tests/test_sandbox.py::test_fails",
            "tests/test_sandbox.py::test_hang",
        ]
        tests = [line for line in TESTS.splitlines() if line.startswith("def test_")]
        assert len([name for name in found.nodes if "::" in name]) == len(tests)
        assert found.text.count("Read-only file system") >= 2
        for text in ("killed by SIGSEGV", "killed by SIGABRT", "in test_crash\n", "in test_hang\n", "6 * 9"):
            assert text in found.text
        (line,) = [line for line in found.text.splitlines() if "tests left processes running" in line]
        assert "sleep 9030" in line
        assert "new (new)" not in found.text
        assert not (home / "new").exists()
        if not either.emulated:
            # Nothing but the sandbox keeps them from it.
            found = either.run(*words, "-k", "network or home or source or private or import", env={"HOME": str(home)})
            assert found.only("FAILED") == [
                "import[demo_crash]",
                *(f"tests/test_sandbox.py::test_{name}" for name in ("home", "network", "private_folder", "source")),
                "tests/test_sandbox.py::test_source_beside_the_tests",
            ]
            Path(private).unlink()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=str)
def test_the_run_is_ended(ground: Ground, number: signal.Signals) -> None:
    ground.write(
        test_busy="""
        import os, pathlib, signal, subprocess, sys
        import wheelcheck_witness as witness
        def test_busy():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            subprocess.Popen(["sleep", "9031"], start_new_session=True)
            print("busy", file=sys.__stderr__, flush=True)
            witness.misbehave("hang")
        """
    )
    with ground.started("--wheel-sandbox") as process:
        wait_for(lambda: any("9031" in words for words in ground.processes().values()))
        start = time.monotonic()
        process.send_signal(number)
        process.wait(60)
        wait_for(lambda: not ground.processes())
        assert time.monotonic() - start < BOUND
    ground.nothing_left(files=number != signal.SIGKILL)


def test_where_there_can_be_none(demo: Ground) -> None:
    """What was asked for and cannot be had is an error, told before anything runs."""
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all "$@"'
    demo.prefix = ["unshare", "--map-root-user", "sh", "-c", script, "sh"]
    if subprocess.run([*demo.prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no limit can be set here")
    found = demo.run("--wheel-sandbox")
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert "--wheel-sandbox: no sandbox can be made here\nCause: user namespaces are not allowed" in found.text
    assert not found.nodes
    assert demo.run().code == 0


def test_the_fetched_program_of_a_newer_release(debian_archive: apt.Repository, tmp_path: Path) -> None:
    """Since Debian 13, the loader of the package libc6 is in ``/usr/lib64``, and nothing that is fetched links to it."""
    newer = replace(debian_archive, codename={"debian": "stable", "ubuntu": "devel"}[debian_archive.distribution])
    host = host_architecture()
    assert host is not None
    bubblewrap._fetch(newer, host, tmp_path / "root")
    argv = bubblewrap._started_by_its_loader(tmp_path / "root", host)
    assert subprocess.check_output([*argv, "--version"], text=True).startswith("bubblewrap ")


def test_where_there_is_no_bubblewrap(demo: Ground) -> None:
    env = {"WHEELCHECK_CACHE": str(demo.path / "cache"), "PATH": str(demo.path)}
    found = demo.run("--wheel-sandbox", env=env)
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert "Fix: install the package bubblewrap" in found.text
