"""A full disk, a home that cannot be written, no network, a damaged cache, odd paths: told in words, never a wrong pass."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import build_wheel
from compiled import needs_compiler
from ground import Ground, wait_for

from pytest_wheelcheck.results import describe_unexpected

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="surroundings of Unix")

ONE = "import demo\ndef test_one(): pass\n"


def readable(text: str) -> None:
    """The program speaks to a person: no traceback of ours."""
    assert "INTERNALERROR>" not in text
    assert "Traceback (most recent call last)" not in text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("size", [0, 700, 2000], ids="{}k".format)
def test_temporary_folder_on_a_full_disk(demo: Ground, small_disk: Path, size: int) -> None:
    (small_disk / "filler").write_bytes(b"x" * ((2048 - size) << 10 if size < 2000 else 0))
    demo.temp = small_disk
    found = demo.run(env={"TMPDIR": str(small_disk)})
    readable(found.text)
    if size == 0:
        # Not a byte: Python takes another folder.
        assert found.code == 0
        return
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert "No space left on device" in found.text
    assert "Cause: the disk is full" in found.text or "Cause: the directory for temporary files" in found.text
    assert found.only("ERROR") in (["install"], ["tools"])


def test_cache_on_a_full_disk(demo: Ground, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * (1700 << 10))
    found = demo.run(env={"WHEELCHECK_CACHE": str(small_disk / "cache")})
    assert found.code == pytest.ExitCode.TESTS_FAILED
    readable(found.text)
    assert "No space left on device" in found.text or "no space" in found.text.lower()
    # With room again, the same cache serves.
    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    assert demo.run(env={"WHEELCHECK_CACHE": str(small_disk / "cache")}).code == 0


def test_doctor_on_a_full_disk(demo: Ground, small_disk: Path) -> None:
    """It does not promise interpreters that it would have to fetch."""
    env = {**demo.env, "WHEELCHECK_CACHE": str(small_disk / "cache")}
    doctor = [sys.executable, "-m", "pytest_wheelcheck", "doctor", "linux-aarch64"]
    rows = json.loads(subprocess.run([*doctor, "--json"], env=env, capture_output=True, check=True, timeout=120).stdout)
    fetched = [each for row in rows for each in row["interpreters"] if not each["ready"]]
    assert fetched
    assert not any(each["fits"] for each in fetched)
    shown = subprocess.run(doctor, env=env, capture_output=True, check=True, timeout=120, text=True).stdout
    assert "(fetched on first use, if the disk has room" in shown
    assert f"0.0 GB are free in {small_disk / 'cache'}" in shown
    assert "Fix: free disk space" in shown


def test_the_message_of_a_full_disk() -> None:
    text = describe_unexpected(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/cache/file"))
    assert text.startswith(
        "could not be checked: [Errno 28] No space left on device: '/cache/file'\nCause: the disk is full\n"
    )
    assert "please report it" not in text
    assert "please report it" in describe_unexpected(OSError(errno.EIO, "input/output error"))


def test_file_size_limit(demo: Ground) -> None:
    """The full disk of those who may not mount one."""
    words = demo.words()
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))"
    script = f"{limit}; os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=demo.path,
        # Python before 3.13 leaves byte-code that was cut off where other runs would find it.
        env={**demo.env, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    demo.nothing_left()
    assert done.returncode != 0
    print(done.stdout, done.stderr)
    readable(done.stdout + done.stderr)


def test_home_that_cannot_be_written(demo: Ground) -> None:
    env = {name: value for name, value in demo.env.items() if name not in {"WHEELCHECK_CACHE", "XDG_CACHE_HOME"}}
    demo.env = {**env, "HOME": "/proc/self", "XDG_CACHE_HOME": "/proc/self/cache"}
    found = demo.run()
    assert found.code in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.USAGE_ERROR}
    readable(found.text)
    assert "WHEELCHECK_CACHE" in found.text


def test_cache_that_cannot_be_written(demo: Ground) -> None:
    found = demo.run(env={"WHEELCHECK_CACHE": "/proc/self/cache"})
    assert found.code in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.USAGE_ERROR}
    readable(found.text)
    assert "the cache directory /proc/self/cache cannot be written" in found.text


def test_temporary_folder_that_is_not_there(demo: Ground) -> None:
    demo.env["TMPDIR"] = "/proc/self/none"
    found = demo.run()
    readable(found.text)


def test_no_network(demo: Ground) -> None:
    """Without a network, what is cached serves; what is not is missed, in words."""
    prefix = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network can be left here")
    assert demo.run().code == 0  # fills the cache
    demo.prefix = prefix
    assert demo.run("--wheel-offline").code == 0
    found = demo.run("--wheel-requires=no-such-distribution-anywhere", bound=120)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    readable(found.text)
    assert "the package index cannot be reached" in found.text


def test_index_that_cannot_be_reached(demo: Ground) -> None:
    found = demo.run(
        "--wheel-index=http://127.0.0.1:9/simple", "--wheel-requires=no-such-distribution-anywhere", bound=120
    )
    assert found.code == pytest.ExitCode.TESTS_FAILED
    readable(found.text)
    assert "127.0.0.1:9" in found.text


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache as one run leaves it."""
    folder = tmp_path_factory.mktemp("filled")
    wheel = build_wheel(folder / "dist", "demo", files={"demo/__init__.py": ""})
    words = [
        sys.executable,
        "-m",
        "pytest",
        f"--wheel={wheel}",
        f"--wheel-python={sys.executable}",
        "-p",
        "no:cacheprovider",
    ]
    env = {**os.environ, "WHEELCHECK_CACHE": str(folder / "cache")}
    # Without tests, it ends with 0 all the same: install and import are nodes.
    subprocess.run(words, cwd=folder, env=env, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    return folder / "cache"


def damage_marks(cache: Path) -> None:
    for mark in cache.rglob(".complete"):
        mark.unlink()


def damage_files(cache: Path) -> None:
    for folder in cache.glob("overlays/*/site"):
        shutil.rmtree(folder)


def damage_content(cache: Path) -> None:
    for path in cache.glob("overlays/*/site/_pytest/*.py"):
        path.write_bytes(b"\0")


def damage_sides(cache: Path) -> None:
    for folder in cache.glob("overlays/*"):
        folder.rename(folder.with_name(f".making-{folder.name}"))


def damage_kinds(cache: Path) -> None:
    for folder in cache.glob("overlays/*"):
        shutil.rmtree(folder)
        folder.write_text("a file where a folder should be")


def damage_virtualenv(cache: Path) -> None:
    for path in cache.glob("virtualenv/**/*.json"):
        path.write_text("{")


def damage_version(cache: Path) -> None:
    """As another version left it: other names, other answers."""
    for folder in cache.glob("*/*/"):
        if (folder / ".complete").exists():
            folder.rename(folder.with_name(f"{folder.name}-other"))
    for path in cache.rglob("*.json"):
        path.write_text('{"of": "another version", "until": 1e99, "suite": {}}')


def damage_answers(cache: Path) -> None:
    for path in cache.rglob("*.json"):
        path.write_bytes(b"\xff\0[")


@pytest.mark.parametrize(
    "damage",
    [
        damage_marks,
        damage_files,
        damage_content,
        damage_sides,
        damage_kinds,
        damage_virtualenv,
        damage_version,
        damage_answers,
    ],
    ids=lambda one: one.__name__,
)
def test_damaged_cache(demo: Ground, damage: object, filled_cache: Path) -> None:
    """A cache that was half written, half emptied or changed: used, made again, or told."""
    cache = demo.path / "cache"
    shutil.copytree(filled_cache, cache, symlinks=True)
    demo.env["WHEELCHECK_CACHE"] = str(cache)
    assert callable(damage)
    damage(cache)
    found = demo.run()
    assert found.code == 0


def test_two_runs_on_an_empty_cache(demo: Ground) -> None:
    demo.env["WHEELCHECK_CACHE"] = str(demo.path / "cache")
    processes = [
        subprocess.Popen(demo.words(), cwd=demo.path, env=demo.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(3)
    ]
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out.decode()
        assert b"4 passed" in out
    demo.nothing_left()


@pytest.mark.parametrize("how", ["removed", "replaced", "truncated"])
def test_wheel_changed_during_the_run(demo: Ground, how: str) -> None:
    """What is tested is the file as it was when the run began."""
    demo.write(
        test_one="""
        import importlib.metadata, pathlib, time
        def test_one():
            pathlib.Path("running").touch()
            while pathlib.Path("running").exists():
                time.sleep(0.02)
        def test_two():
            assert importlib.metadata.version("demo") == "1.0"
        """
    )
    with demo.started() as process:
        wait_for((demo.path / "running").exists)
        if how == "removed":
            demo.wheel.unlink()
        elif how == "replaced":
            build_wheel(demo.path / "other", "demo", "2.0", files={"demo/__init__.py": "1 / 0"}).replace(demo.wheel)
        else:
            os.truncate(demo.wheel, 10)
        (demo.path / "running").unlink()
        assert process.wait(30) == 0
    demo.nothing_left()


@pytest.mark.parametrize(
    "name",
    ['-it\'s a "quoted"\n\t% é ü 日本 `x` ;&|<>\\', "a" * 200 + "/" + "b" * 200 + "/" + "c" * 200],
    ids=["odd", "long"],
)
def test_paths(pytester: pytest.Pytester, name: str) -> None:
    """Project, wheel, temporary folder and cache below a path that is no fun."""
    base = pytester.path
    for _ in range(6 if len(name) > 500 else 1):
        if len(os.fsencode(base / name)) < 2300:
            base = base / name
    base.mkdir(parents=True)
    odd = Ground(base, base / "temporary", build_wheel(base / "dist", "demo", files={"demo/__init__.py": ""}))
    odd.write(test_one=ONE)
    odd.ini()
    found = odd.run("-p", "no:junitxml", env={"WHEELCHECK_CACHE": str(base / "cache")})
    readable(found.text)
    assert found.code == 0
    assert "4 passed" in found.text


@pytest.mark.parametrize("name", ["C", "no_SUCH"])
def test_locales(demo: Ground, name: str) -> None:
    demo.wheel = build_wheel(demo.path / "dist é", "demo", files={"demo/__init__.py": "print('é 日本')"})
    demo.write(test_one="import demo\ndef test_é(): print('日本'); assert 'é' == '日'\ndef test_last(): pass\n")
    env = {key: value for key, value in demo.env.items() if not key.startswith(("LC_", "LANG", "PYTHONUTF8"))}
    demo.env = {**env, "LANG": name, "LC_ALL": name, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    found = demo.run()
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed" in found.text.splitlines()[-1]
    readable(found.text)


def test_isolation(demo: Ground) -> None:
    """What one target's tests write into their environment or the temporary folder is not there for another's."""
    build_wheel(demo.path / "dist", "other", files={"other/__init__.py": ""})
    demo.write(
        test_one="""
        import os, pathlib, sys, tempfile
        def test_one():
            site = pathlib.Path(os.path.dirname(sys.modules["_wheelcheck_guard"].__file__))
            mine = [site / "left.py", pathlib.Path(tempfile.gettempdir(), "left")]
            assert not [path for path in mine if path.exists()]
            for path in mine:
                path.write_text("")
            import pytest
            # Tools, too, are a copy.
            pathlib.Path(pytest.__file__).write_text("1 / 0")
        """
    )
    for _ in range(2):
        found = demo.run("--wheel=dist")
        assert found.code == 0
        assert found.text.count("test_one PASSED") == 2


def test_what_tests_leave_in_the_source_tree_is_told(demo: Ground) -> None:
    (demo.path / "data.txt").write_text("before")
    (demo.path / ".git").mkdir()
    (demo.path / "build").mkdir()
    (demo.path / "build" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    demo.write(
        test_one="""
        import pathlib
        def test_one():
            pathlib.Path("data.txt").write_text("after it")
            pathlib.Path("tests/new.txt").write_text("")
            pathlib.Path(".git/index").write_text("")
            pathlib.Path("build/object").write_text("")
        """
    )
    found = demo.run("--junit-xml=report.xml")
    (line,) = [line for line in found.text.splitlines() if "data.txt" in line]
    assert "changed" in line
    assert "tests/new.txt" in line
    assert "index" not in line
    assert "object" not in line
    assert "report.xml" not in line
    found = demo.run("-k", "install")
    assert "data.txt" not in found.text


def test_caches_on_another_file_system(demo: Ground) -> None:
    """Nothing can be linked or renamed from there to the environments."""
    places = [Path(path) for path in ("/dev/shm", "/var/tmp", "/run/user") if os.access(path, os.W_OK)]
    place = next((path for path in places if path.stat().st_dev != demo.path.stat().st_dev), None)
    if place is None:
        pytest.skip("there is one file system only")
    other = Path(tempfile.mkdtemp(dir=place))
    try:
        home = {"HOME": str(other), "WHEELCHECK_CACHE": str(other / "cache"), "UV_CACHE_DIR": str(other / "uv")}
        demo.ini("wheel_requires = iniconfig")
        for _ in range(2):
            assert demo.run(env=home).code == 0
    finally:
        shutil.rmtree(other)


def test_project_removed_during_the_run(demo: Ground) -> None:
    """By a test, with the working directory of everybody and the wheel in it."""
    text = "import os, shutil\ndef test_one(): shutil.rmtree(os.getcwd())\ndef test_two(): pass\n"
    project = demo.path / "project"
    (project / "tests").mkdir(parents=True)
    (project / "tests" / "test_gone.py").write_text(text)
    shutil.move(demo.wheel, project / demo.wheel.name)
    demo.wheel = project / demo.wheel.name
    done = subprocess.run(
        demo.words(), cwd=project, env=demo.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    said = done.stdout.decode()
    demo.nothing_left()
    assert "test_gone.py::test_one PASSED" in said
    assert "test_gone.py::test_two PASSED" in said
    # pytest itself cannot return to the folder that it was started in.
    assert done.returncode != 0


def _deep(base: Path, length: int) -> Path:
    """Make a folder whose path has so many bytes."""
    while (left := length - len(os.fsencode(base)) - 1) > 0:
        # Not so that one byte is left, which would have to be a separator.
        base /= "d" * (left if left <= 200 else min(200, left - 2))
    base.mkdir(parents=True)
    return base


@pytest.mark.skipif(sys.platform != "linux", reason="PATH_MAX of Linux")
def test_paths_as_long_as_the_system_takes(demo: Ground) -> None:
    """The wheel as deep as it can be opened, the project almost: tools look there for hidden folders of theirs."""
    base = _deep(demo.path / "deep", 4000)
    deep = Ground(base, demo.path / "other", demo.wheel)
    deep.write(test_one=ONE)
    deep.ini()
    folder = _deep(demo.path / "wheel", 4095 - len(demo.wheel.name) - 1)
    shutil.move(demo.wheel, folder / demo.wheel.name)
    deep.wheel = folder / demo.wheel.name
    found = deep.run()
    readable(found.text)
    assert found.code == 0
    assert "4 passed" in found.text


@pytest.mark.skipif(sys.platform != "linux", reason="PATH_MAX of Linux")
@pytest.mark.parametrize("variable", ["TMPDIR", "WHEELCHECK_CACHE"])
def test_folders_with_paths_that_are_too_long(demo: Ground, variable: str) -> None:
    """Nothing fits into them: told, and nothing passes that was not run."""
    # A folder for a run fits, and no environment in it, however short the names in one are.
    folder = _deep(demo.path / "deep", 4060)
    found = demo.run(env={variable: str(folder)})
    readable(found.text)
    assert found.code != 0
    assert "File name too long" in found.text


#: Takes the place of the C library's clock of the day, and of no other; a file says by how many seconds it is wrong.
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long wrong(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("WRONG_BY"), "re");
    if (file) {
        if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
        fclose(file);
    }
    return seconds;
}
int clock_gettime(clockid_t which, struct timespec *found) {
    int (*next)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int status = next(which, found);
    if (which == CLOCK_REALTIME) found->tv_sec += wrong();
    return status;
}
int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    int (*next)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int status = next(found, zone);
    found->tv_sec += wrong();
    return status;
}
time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}
"""


@needs_compiler
@pytest.mark.parametrize("days", [pytest.param(-400, marks=pytest.mark.long), 400])
def test_clock_that_jumps(demo: Ground, days: int) -> None:
    """The clock of run, installer and tests goes wrong by a year while a test runs: time-outs count on another."""
    source, library, clock = (demo.path / name for name in ("clock.c", "clock.so", "clock"))
    source.write_text(CLOCK)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60)
    demo.ini("wheel_test_timeout = 4")
    demo.write(
        test_one=f"""
        import datetime, pathlib, time
        def test_before(): pass
        def test_jump():
            before = datetime.date.today()
            pathlib.Path("clock").write_text("{days * 86400}")
            assert abs((datetime.date.today() - before).days) == 400
            time.sleep(0.2)
        def test_after(): pass
        def test_hang(): time.sleep(60)
        def test_last(): pass
        """
    )
    bent = {"LD_PRELOAD": str(library), "WRONG_BY": str(clock), "WHEELCHECK_CACHE": str(demo.path / "cache")}
    found = demo.run(env=bent)
    readable(found.text)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.only("FAILED") == ["tests/test_one.py::test_hang"]
    assert found.nodes["tests/test_one.py::test_last"] == "PASSED"
    # What was made by one clock serves by the other, in a run that begins in the wrong year and in one that does not.
    demo.write(test_one=ONE)
    for env in (bent, {"WHEELCHECK_CACHE": str(demo.path / "cache")}):
        assert demo.run(env=env).code == 0
