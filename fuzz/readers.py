"""Fuzz the readers of ZIP containers and native files with atheris.

    python fuzz/readers.py [SECONDS] [DIRECTORY]

Two targets run one after the other, each in its own process for half of the time: the reader of containers, from the
end record to the last unpacked byte; and the readers of native files. The seeds are the files that the tests make. A
container must be refused with an error of this project, or be read within its limits. A native file may make its library
raise, because callers catch that, but must finish quickly and in little memory. DIRECTORY keeps the corpus and the
failing inputs; the default is a temporary directory. Exits with 1 if an input failed.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve()
TESTS = HERE.parent.parent / "tests"
#: Limits for one input of a few kB: seconds and MiB.
SECONDS, MEMORY = 5, 1024
MAX_LENGTH = 8192


def write_container_seeds(directory: Path) -> None:
    """Write sound and defective wheels, as the tests make them."""
    sys.path.insert(0, str(TESTS))
    from checks.samples import DEFECTIVE, SOUND

    makers = {**SOUND, **{code: sample.make for code, sample in DEFECTIVE.items() if code.startswith("WHL1")}}
    for name, make in makers.items():
        with tempfile.TemporaryDirectory() as temporary:
            made = make(Path(temporary))
            path = made[0] if isinstance(made, list) else made
            if path.stat().st_size <= MAX_LENGTH:
                (directory / name).write_bytes(path.read_bytes())


def write_binary_seeds(directory: Path) -> None:
    """Write the native files of the tests."""
    sys.path.insert(0, str(TESTS))
    from checks.objects import make_elf, make_fat, make_macho, make_pe

    exports = ("PyInit_x",)
    seeds = {"fat": make_fat({"arm64": make_macho(), "x86_64": make_macho(machine="x86_64")})}
    for machine in ("x86_64", "s390x", "i686"):
        seeds[f"elf-{machine}"] = make_elf(machine=machine, exports=exports, imports=("PyLong_FromLong",))
    for machine in ("arm64", "x86_64", "i386"):
        seeds[f"macho-{machine}"] = make_macho(machine=machine, exports=exports, anywhere=("x",))
    for machine in ("amd64", "x86"):
        seeds[f"pe-{machine}"] = make_pe(machine=machine, exports=exports)
    for path in (TESTS / "checks" / "data").iterdir():
        if path.suffix in {".so", ".pyd"} and path.stat().st_size <= MAX_LENGTH:
            seeds[path.name] = path.read_bytes()
    for name, data in seeds.items():
        (directory / name).write_bytes(data)


def read_container(data: bytes) -> None:
    """Read a container like a run: check its structure, then unpack every member."""
    from pytest_wheelcheck.errors import WheelError
    from pytest_wheelcheck.wheels.inspection import inspect
    from pytest_wheelcheck.wheels.record_file import parse_record

    path = Path(os.environ["FUZZ_DIRECTORY"], "x.whl")
    path.write_bytes(data)
    container = inspect(path)
    unpacked: dict[str, bytes] = {}
    for member in container.files:
        try:
            size = 0
            for chunk in container.chunks(member):
                size += len(chunk)
                if size > member.size:
                    raise AssertionError(f"{member.name} unpacks to {size} bytes, declared are {member.size}")
            unpacked[member.name] = container.read(member, limit=1 << 20)
        except WheelError:
            continue
        parse_record(unpacked[member.name])
    if not container.defects and len(unpacked) == len(container.files):
        # The standard library must read a container without defects the same.
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = sorted(name for name in archive.namelist() if not name.endswith("/"))
            if names != sorted(unpacked):
                raise AssertionError(f"names differ: {sorted(unpacked)}, with zipfile {names}")
            for name, content in unpacked.items():
                if archive.read(name) != content:
                    raise AssertionError(f"{name} has another content with zipfile")


def read_native_file(data: bytes) -> None:
    """Read a native file like the parser process."""
    from pytest_wheelcheck.wheels.binary import Binary, format_of
    from pytest_wheelcheck.wheels.binary_reader import exports_of_binary, read_binary

    started = time.perf_counter()
    try:
        binaries = read_binary("x.so", data)
        exports_of_binary(data, frozenset({"x"}))
    except (MemoryError, RecursionError):
        raise
    except Exception:  # noqa: BLE001 - the parser process turns any exception of a library into a finding
        binaries = ()
    if not all(isinstance(binary, Binary) and binary.format == format_of(data[:8]) for binary in binaries):
        raise AssertionError(binaries)
    if time.perf_counter() - started > SECONDS:
        raise AssertionError(f"it took {time.perf_counter() - started:.1f} s")


TARGETS = {
    "containers": (read_container, write_container_seeds),
    "binaries": (read_native_file, write_binary_seeds),
}


def fuzz(target: str, arguments: list[str]) -> None:
    """Fuzz one target in this process. Never returns.

    :param arguments: for libFuzzer.
    """
    import atheris

    modules = (
        "binary",
        "binary_reader",
        "container",
        "elf",
        "inspection",
        "macho",
        "pe",
        "record_file",
        "zip_structures",
    )
    with atheris.instrument_imports(include=[f"pytest_wheelcheck.wheels.{name}" for name in modules]):
        import pytest_wheelcheck.wheels.elf
        import pytest_wheelcheck.wheels.inspection
        import pytest_wheelcheck.wheels.macho
        import pytest_wheelcheck.wheels.pe
        import pytest_wheelcheck.wheels.record_file  # noqa: F401
    atheris.Setup([sys.argv[0], *arguments], TARGETS[target][0])
    atheris.Fuzz()


def main() -> int:
    if sys.argv[1:2] == ["--target"]:
        fuzz(sys.argv[2], sys.argv[3:])
        return 0
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(temporary)
        for target, (_, write_seeds) in TARGETS.items():
            corpus = output / target
            corpus.mkdir(parents=True, exist_ok=True)
            write_seeds(corpus)
            work = Path(temporary, f"work-{target}")
            work.mkdir()
            argv = [sys.executable, str(HERE), "--target", target, str(corpus), f"-max_total_time={seconds / 2:.0f}"]
            argv += [f"-timeout={SECONDS}", f"-rss_limit_mb={MEMORY}", f"-max_len={MAX_LENGTH}"]
            argv += [f"-artifact_prefix={output}/{target}-", "-print_final_stats=1", "-verbosity=0"]
            environment = {**os.environ, "FUZZ_DIRECTORY": str(work), "TMPDIR": str(work)}
            ended = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
            lines = ended.stderr.splitlines()
            print(target, *(line for line in lines if line.startswith("stat::")), sep="\n  ", flush=True)
            if ended.returncode:
                failed.append(target)
                print(ended.stdout[-4000:], *lines[-30:], sep="\n")
                print(*(f"input: {path} {path.read_bytes()[:200]!r}" for path in output.glob(f"{target}-*")), sep="\n")
    print("failed:", ", ".join(failed) or "none")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
