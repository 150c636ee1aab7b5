"""Archives of packages, launchers and hardware profiles, without fetching anything."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import builders
import provisioned
import pytest
from builders import build_wheel
from nodes import Run

from pytest_wheelcheck.backends import environments, illegal_instructions, launcher
from pytest_wheelcheck.backends.base import MachineProfile, Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.backends.qemu import emulators, machines
from pytest_wheelcheck.backends.qemu.backend import QemuBackend
from pytest_wheelcheck.backends.qemu.machines import HOST, PROFILES
from pytest_wheelcheck.backends.registry import backends
from pytest_wheelcheck.errors import RuntimeUnavailableError, UsageError
from pytest_wheelcheck.interpreters import roots, tags
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, host_architecture, runs_natively
from pytest_wheelcheck.interpreters.base import Answer, NativePython, Offer, Request, Starter
from pytest_wheelcheck.interpreters.packages import apt, apt_suites, debian
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Installation, Outcome, Platform
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.targets.planning.plan import plan
from pytest_wheelcheck.wheels.reader import open_wheel

posix = pytest.mark.skipif(os.name != "posix", reason="launchers are shell scripts")


def make_installation(
    architecture: str = "aarch64", libc: str = "glibc", version: tuple[int, int] = (2, 36)
) -> Installation:
    return Installation(
        program=Path("/root-of-packages/usr/bin/python3.11"),
        library=Path("/root-of-packages/usr/lib"),
        root=Path("/root-of-packages"),
        implementation="cpython",
        version=(3, 11, 2),
        free_threaded=False,
        platform=Platform(system="linux", architecture=architecture, libc=libc),
        libc_version=version,
        tags=(),
        provider="debian",
        how="made up",
    )


# --- the archive -------------------------------------------------------------------------------------------------------


def test_a_source_of_the_user() -> None:
    found = apt.parse_source("deb [arch=arm64 signed-by=/keys/one.gpg] file:/mirror suite main")
    assert (found.uri, found.signed_by, found.codename) == ("file:/mirror", "/keys/one.gpg", "suite")
    assert found.suites[-1] == "suite"
    with pytest.raises(RuntimeUnavailableError, match="not a source of packages"):
        apt.parse_source("the one next door")


def test_interpreters_of_a_suite() -> None:
    suite = apt_suites.Suite(
        name="stable",
        codename="fourteen",
        packages={
            "libc6": "2.41-12+deb13u4",
            "python3.13-minimal": "3.13.5-2+deb13u5",
            "python3.14-minimal": "3.14.0~rc2-1",
            "python3.8-minimal": "3.8.2-1",
            "qemu-user": "1:10.0.13+ds-0+deb13u1",
        },
    )
    (offer,) = debian._offers_of_suite(suite, ARCHITECTURES["s390x"], "debian", (2, 41))
    assert offer.version == (3, 13, 5)
    assert offer.libc_version == (2, 41)
    assert "cp313-cp313-manylinux_2_41_s390x" in offer.tags
    emulated = [each.emulated for each in backends() if each.covers(offer.platform) and each.accepts(offer) is not None]
    assert emulated == ([not runs_natively("s390x")] if host_architecture() else [])


def test_an_old_suite_gets_a_newer_c_library_where_it_runs_natively() -> None:
    """The offer accepts the tags that its interpreter will accept once it is there."""
    packages = {"libc6": "2.31-13+deb11u11", "python3.9-minimal": "3.9.2-1+deb11u2"}
    suite = apt_suites.Suite(name="oldest", codename="eleven", packages=packages)
    (host,) = [each for each in ARCHITECTURES.values() if each is host_architecture()] or [ARCHITECTURES["x86_64"]]
    (offer,) = debian._offers_of_suite(suite, host, "debian", (2, 41))
    assert offer.libc_version == ((2, 41) if host_architecture() else (2, 31))
    other = next(each for each in ARCHITECTURES.values() if not runs_natively(each.name))
    (emulated,) = debian._offers_of_suite(suite, other, "debian", (2, 41))
    assert emulated.libc_version == (2, 31)
    # The host's own suite is the first; it may be this old itself.
    (own,) = debian._offers_of_suite(suite, host, "debian", (2, 31))
    assert own.libc_version == (2, 31)


@pytest.mark.parametrize(
    ("version", "language", "abi"),
    [
        ("7.3.11+dfsg-2+deb12u3", (3, 9, 0), "pypy39_pp73"),
        ("7.3.19+dfsg-2", (3, 11, 0), "pypy311_pp73"),
        ("8.0.1+dfsg-1", (3, 11, 0), "pypy311_pp80"),
    ],
)
def test_pypy_of_a_suite(version: str, language: tuple[int, int, int], abi: str) -> None:
    packages = {"libc6": "2.41-12", "pypy3": version}
    suite = apt_suites.Suite(name="stable", codename="fourteen", packages=packages)
    (offer,) = debian._offers_of_suite(suite, ARCHITECTURES["aarch64"], "debian", (2, 41))
    assert (offer.implementation, offer.version) == ("pypy", language)
    assert f"pp{language[0]}{language[1]}-{abi}-manylinux_2_17_aarch64" in offer.tags
    assert "cp311-cp311-manylinux_2_17_aarch64" not in offer.tags


def test_a_pypy_that_is_too_old() -> None:
    for version in ("7.3.9+dfsg-1", "8.1.0~rc1+dfsg-1"):
        suite = apt_suites.Suite(name="old", codename="old", packages={"libc6": "2.31-13", "pypy3": version})
        assert not list(debian._offers_of_suite(suite, ARCHITECTURES["x86_64"], "debian", (2, 41)))


@pytest.mark.network
@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="the tag is x86-64 Linux's")
def test_a_wheel_for_pypy(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """It runs on the PyPy of the package repository, with crashes and left processes handled as on CPython."""
    build_wheel(
        pytester.path / "dist",
        "some",
        files={"some.py": "import sys\nassert sys.implementation.name == 'pypy'\n"},
        tags=["pp311-pypy311_pp73-manylinux_2_17_x86_64"],
    )
    pytester.makepyfile(
        test_it="""
        import os, subprocess, sys
        def test_where(): assert sys.implementation.name == "pypy" and sys.version_info[:2] == (3, 11)
        def test_child():
            code = "import some; print(some.__file__)"
            out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
            assert "site-packages" in out
        def test_exit(): os._exit(3)
        def test_left(): subprocess.Popen(["sleep", "1000"], start_new_session=True)
        """
    )
    usual = ("--wheel=dist", "--wheel-select=WHL201", "--wheel-python=pypy3.11", "-rA", "test_it.py")
    result = run_wheels(*usual, timeout=600)
    if "needs PyPy 3.11" in result.stdout.str():
        raise provisioned.missing("debian", result.stdout.str())
    prefix = "dist/some-*::pp311-linux-x86_64::test_it.py::"
    result.stdout.fnmatch_lines_random(
        [
            f"PASSED {prefix}test_where",
            f"PASSED {prefix}test_child",
            f"FAILED {prefix}test_exit*",
            f"PASSED {prefix}test_left",
            "*sleep 1000*",
        ]
    )
    assert "no subreaper" not in result.stdout.str()


def test_the_order_of_the_suites() -> None:
    found = apt.Repository(uri="file:/mirror", signed_by="", distribution="debian", codename="twelve")
    batches = list(apt_suites.batches(found))
    assert batches[0] == ["twelve"]
    assert batches[1] == ["stable"]
    assert batches[-1] == ["testing", "unstable"]


def test_versions() -> None:
    assert emulators.parse_version("1:7.2+dfsg-7+deb12u18+b3") == (7, 2)
    assert emulators.parse_version("qemu-aarch64 version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)") == (10, 0)
    assert emulators.parse_version("") is None
    assert roots.upstream_version("2.36-9+deb12u14") == (2, 36)


@posix
def test_links_stay_inside_a_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for directory in ("lib/machine", "usr/lib/machine", "usr/lib/python3.11", "usr/lib64", "usr/share/doc"):
        (root / directory).mkdir(parents=True)
    (root / "lib/machine/libc.so.6").write_text("own")
    (root / "lib64").mkdir()
    (root / "lib64/ld.so").symlink_to("/lib/machine/libc.so.6")
    (root / "usr/lib/outside").symlink_to("/etc/nothing-of-ours")
    data = root / "usr/lib/python3.11/_sysconfigdata__machine.py"
    data.write_text("build_time_vars = {'WHEEL_PKG_DIR': '/usr/share/python-wheels/'}")
    roots.tidy(root, Path("/final/root"))
    assert (root / "lib").is_symlink()
    assert (root / "lib64/ld.so").read_text() == "own"
    assert not (root / "lib64/ld.so").readlink().is_absolute()
    assert (root / "usr/lib/outside").readlink() == Path("/etc/nothing-of-ours")
    assert "/final/root/usr/share/python-wheels" in data.read_text()
    assert not (root / "usr/share/doc").exists()


# --- launchers and environments ----------------------------------------------------------------------------------------


@posix
def test_a_launcher_passes_on_its_path_and_its_arguments(tmp_path: Path) -> None:
    directory = tmp_path / "it's a directory"
    directory.mkdir()
    program = directory / "program"
    program.write_text("the program itself")
    emulator = (sys.executable, "-c", "import sys; print(sys.argv[1:])", "-0")
    script = directory / "launcher"
    Launch(before=emulator, after=("--after",)).write(script, program)
    output = subprocess.check_output([script, "a b", "$HOME", ""], text=True)
    assert output.strip() == str(["-0", str(script), "--after", str(program), "a b", "$HOME", ""])


@posix
def test_launchers_of_removed_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    program = tmp_path / "runtimes/one/bin/python3.11"
    program.parent.mkdir(parents=True)
    program.touch()
    installation = replace(make_installation(), program=program, library=program.parent)
    python = launcher.provision(Launch(before=("/bin/emulator", "-0")), installation, name="one")
    assert list(launcher.broken()) == []
    program.unlink()
    assert list(launcher.broken()) == [f"launchers/{python.parent.parent.name}"]
    # The remains of a killed run are removed by the next run that makes the same launcher.
    directory = python.parent.parent
    directory.rename(directory.with_name(f".making-{directory.name}"))
    assert list(launcher.broken()) == []


@pytest.mark.parametrize(
    ("architecture", "libc", "version", "expected"),
    [
        ("aarch64", "glibc", (2, 36), "aarch64-manylinux_2_36"),
        ("aarch64", "glibc", (2, 43), "aarch64-manylinux_2_40"),
        ("s390x", "glibc", (2, 30), "s390x-manylinux_2_28"),
        ("riscv64", "glibc", (2, 41), "riscv64-unknown-linux"),
        ("riscv64", "glibc", (2, 36), None),
        ("aarch64", "musl", (1, 2), "aarch64-unknown-linux-musl"),
        ("ppc64le", "musl", (1, 2), None),
        ("armv7l", "glibc", (2, 36), None),
        ("i686", "glibc", (2, 36), None),
    ],
)
def test_names_of_platforms_for_uv(
    architecture: str, libc: str, version: tuple[int, int], expected: str | None
) -> None:
    assert environments.uv_platform(make_installation(architecture, libc, version)) == expected


# --- machines ----------------------------------------------------------------------------------------------------------


def test_the_table_of_machines() -> None:
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert profile.source
        assert profile.hardware
        assert profile.architecture in ARCHITECTURES
        assert profile.page & (profile.page - 1) == 0


def test_reading_machines() -> None:
    found = machines.parse(["rpi4,host", "cpu=neoverse-n1,page=64k,page=16384,graviton2", "cpu=cortex-a55"])
    assert [profile.name for profile in found] == [
        "rpi4",
        "host",
        "neoverse-n1-64k",
        "16k",
        "graviton2",
        "cortex-a55",
    ]
    assert found[2].page == 65536
    assert found[3].cpu == ""
    for wrong in ("rpi17", "page=1000", "cpu=a b", "speed=1", "page=x"):
        with pytest.raises(UsageError, match="--wheel-machine"):
            machines.parse([wrong])


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("rpi4", (7, 2), True),
        ("rpi4", (10, 0), True),
        ("rpi5", (7, 2), True),
        ("rpi5", (10, 0), False),
        ("graviton3", (7, 2), False),
        ("graviton3", (10, 0), True),
    ],
)
def test_versions_of_qemu_that_can_be_a_machine(name: str, version: tuple[int, int], expected: bool) -> None:
    assert PROFILES[name].accepts(version) is expected


def test_a_machine_that_qemu_cannot_be() -> None:
    backend = QemuBackend()
    runtime = Runtime(
        installation=make_installation("x86_64"), python=Path("/launchers/bin/python3.11"), backend=backend
    )
    with pytest.raises(RuntimeUnavailableError, match=r"could not be checked: x86-64-v4 .* AVX-512"):
        backend.on_machine(runtime, PROFILES["x86-64-v4"])


@posix
def test_a_machine_is_part_of_the_description(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    program = Path(shutil.which("true") or "")
    monkeypatch.setattr(emulators, "find", lambda *_, **__: emulators.Emulator(path=program, version=(8, 0)))
    backend = QemuBackend()
    runtime = Runtime(installation=make_installation(), python=Path("/launchers/bin/python3.11"), backend=backend)
    found = backend.on_machine(runtime, PROFILES["rpi4"])
    assert found is not None
    assert found.installation == replace(runtime.installation, how="made up, as rpi4")


@pytest.mark.parametrize(
    ("architecture", "code", "expected"),
    [
        ("aarch64", "000021b8", "LSE atomics (Armv8.1)"),  # ldadd w1, w0, [x0]
        ("aarch64", "00fc9f88", ""),  # stlr w0, [x0]
        ("aarch64", "007c5f88", ""),  # ldxr w0, [x0]
        ("aarch64", "82fc6048", "LSE atomics (Armv8.1)"),  # caspal x0, x1, x2, x3, [x4]
        ("aarch64", "20c0bfb8", "RCpc loads (Armv8.3)"),  # ldapr w0, [x1]
        ("aarch64", "20e0a26f", "dot product (Armv8.2)"),  # udot v0.4s, v1.16b, v2.4b[1]
        ("aarch64", "20a4824e", "matrix multiplication of integers (i8mm)"),  # smmla v0.4s, v1.16b, v2.16b
        ("aarch64", "2048284e", "AES"),  # aese v0.16b, v1.16b
        ("aarch64", "20d4224e", ""),  # fadd v0.4s, v1.4s, v2.4s
        ("aarch64", "41fce288", "LSE atomics (Armv8.1)"),  # casal w2, w1, [x2]
        ("aarch64", "2094824e", "dot product (Armv8.2)"),  # sdot v0.4s, v1.16b, v2.16b
        ("aarch64", "e0e31825", "SVE"),  # ptrue p0.b
        ("x86_64", "c5f5fed0", "AVX, AVX2, FMA or BMI"),  # vpaddd
        ("x86_64", "62f17c48", "AVX-512"),
        ("x86_64", "f3480fb8c0", "POPCNT"),
        ("x86_64", "660f3817c0", "SSSE3 or SSE4"),  # ptest
        ("x86_64", "0f0b", ""),  # ud2
    ],
)
def test_the_feature_of_an_instruction(architecture: str, code: str, expected: str) -> None:
    assert illegal_instructions.feature(architecture, bytes.fromhex(code)) == expected


def test_an_illegal_instruction_is_explained() -> None:
    output = "noise\nwheelcheck: illegal instruction 000021b8c0035fd6 in /site/pkg/_native.so at 0x250\nmore"
    explanation = illegal_instructions.explain(output, "aarch64", "rpi4")
    assert "rpi4" in explanation
    assert "0xb8210000, of LSE atomics (Armv8.1), is in /site/pkg/_native.so at 0x250" in explanation


class OneProvider:
    """Has one interpreter for aarch64, which does not exist."""

    name = "one"

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — part of the protocol
        return False

    def offers(self, request: Request) -> Answer:
        installation = make_installation()
        offer = Offer.of_cpython(
            provider=self.name,
            version=installation.version,
            free_threaded=False,
            platform=installation.platform,
            libc_version=installation.libc_version,
            how=installation.how,
        )
        return Answer.of([offer] if request.platform == installation.platform else ())

    def parts(self, offer: Offer) -> tuple[Part, ...]:  # noqa: ARG002 — part of the protocol
        return ()

    def get(self, offer: Offer, starter: Starter) -> Installation:  # noqa: ARG002 — part of the protocol
        return make_installation()


class EveryMachineButOne(QemuBackend):
    """Starts nothing, and can be every machine except the Raspberry Pi 5."""

    def covers(self, platform: Platform) -> bool:  # noqa: ARG002 — part of the protocol
        return True

    def accepts(self, offer: Offer) -> str | None:  # noqa: ARG002 — part of the protocol
        return ""

    def fetch(self, platform: Platform) -> None:
        pass

    def make_ready(self, installation: Installation, native_python: NativePython) -> Runtime:  # noqa: ARG002 — part of the protocol
        return Runtime(installation=installation, python=installation.program, backend=self)

    def on_machine(self, runtime: Runtime, profile: MachineProfile) -> Runtime | None:
        if profile.name == "rpi5":
            raise RuntimeUnavailableError("could not be checked: no QEMU")
        return replace(runtime, python=runtime.python.with_name(profile.name))


def test_machines_multiply_targets(tmp_path: Path) -> None:
    path = builders.build_wheel(tmp_path, "tool", tags=["cp311-cp311-manylinux_2_17_aarch64"])
    wheel = open_wheel(path, shown=path.name, store=tmp_path / "store")
    found, missing = plan(
        [wheel],
        [],
        Catalog(lambda _: [OneProvider()], [EveryMachineButOne()]),
        host=Platform(system="linux", architecture="x86_64", libc="glibc"),
        profiles=[HOST, PROFILES["rpi4"], PROFILES["rpi5"], PROFILES["x86-64-v3"]],
    )
    assert [target.name for target in found] == ["cp311-linux-aarch64", "cp311-linux-aarch64+rpi4"]
    assert [target.runtime.python.name for target in found] == ["python3.11", "rpi4"]
    assert [(each.outcome, each.name) for each in missing] == [
        (Outcome.ERROR, "cp311-linux-aarch64+rpi5"),
        (Outcome.ERROR, "no-target+x86-64-v3"),
    ]


def test_the_host_runs_its_own() -> None:
    at = host_architecture()
    assert at is None or runs_natively(at.name)
    assert not runs_natively("s390x") or (at is not None and at.name == "s390x")
    assert tags.oldest_manylinux_minor("aarch64") == 17
