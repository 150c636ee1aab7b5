"""Feed damaged archives and native files to their readers, under atheris.

    python fuzz/readers.py [SECONDS] [FOLDER]

Two readers, one after the other, each in a process of its own for half of the time: the reader of archives, from its first
look to the last unpacked byte; and the readers of native files. The seeds are what the tests make. An archive must be
refused with this project's own error or be read within its bounds; a native file may make its library raise, since that
is caught, but must be done soon, in little memory. FOLDER keeps what was found interesting, and what went wrong; by default
it is a temporary one. Ends with 1 where something went wrong.
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
#: Seconds and MiB that one input of a few kB may take.
SECONDS, MEMORY = 5, 1024
MAX_LENGTH = 8192


def seeds_of_archives(folder: Path) -> None:
    """Sound wheels and faulty ones, as the tests make them."""
    sys.path.insert(0, str(TESTS))
    from checks.samples import FAULTS, SOUND

    makers = {**SOUND, **{code: fault.make for code, fault in FAULTS.items() if code.startswith("WHL1")}}
    for name, make in makers.items():
        with tempfile.TemporaryDirectory() as place:
            made = make(Path(place))
            path = made[0] if isinstance(made, list) else made
            if path.stat().st_size <= MAX_LENGTH:
                (folder / name).write_bytes(path.read_bytes())


def seeds_of_binaries(folder: Path) -> None:
    """The native files of the tests."""
    sys.path.insert(0, str(TESTS))
    from checks.objects import make_elf, make_fat, make_macho, make_pe

    exports = ("PyInit_x",)
    made = {
        **{
            f"elf-{m}": make_elf(machine=m, exports=exports, imports=("PyLong_FromLong",))
            for m in ("x86_64", "s390x", "i686")
        },
        **{f"macho-{m}": make_macho(machine=m, exports=exports, anywhere=("x",)) for m in ("arm64", "x86_64", "i386")},
        **{f"pe-{m}": make_pe(machine=m, exports=exports) for m in ("amd64", "x86")},
        "fat": make_fat({"arm64": make_macho(), "x86_64": make_macho(machine="x86_64")}),
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    for path in (TESTS / "checks" / "data").iterdir():
        if path.suffix in {".so", ".pyd"} and path.stat().st_size <= MAX_LENGTH:
            (folder / path.name).write_bytes(path.read_bytes())


def one_archive(data: bytes) -> None:
    """Read an archive as a run does: judge its structure, then unpack all that it vouches for."""
    from pytest_wheelcheck.errors import WheelError
    from pytest_wheelcheck.wheels.archive import inspect
    from pytest_wheelcheck.wheels.record import parse_record

    path = Path(os.environ["FUZZ_PLACE"], "x.whl")
    path.write_bytes(data)
    archive = inspect(path)
    unpacked: dict[str, bytes] = {}
    for entry in archive.files:
        try:
            size = 0
            for chunk in archive.chunks(entry):
                size += len(chunk)
                if size > entry.size:
                    raise AssertionError(f"{entry.name} gives {size} bytes and promised {entry.size}")
            unpacked[entry.name] = archive.read(entry, limit=1 << 20)
        except WheelError:
            continue
        parse_record(unpacked[entry.name])
    if not archive.problems and len(unpacked) == len(archive.files):
        # What is found without fault is read alike by the standard library.
        with zipfile.ZipFile(io.BytesIO(data)) as other:
            names = sorted(name for name in other.namelist() if not name.endswith("/"))
            if names != sorted(unpacked):
                raise AssertionError(f"{sorted(unpacked)} here, {names} there")
            for name, content in unpacked.items():
                if other.read(name) != content:
                    raise AssertionError(f"{name} has another content there")


def one_binary(data: bytes) -> None:
    """Read a native file as the child process does."""
    from pytest_wheelcheck.wheels.binary import Binary, exports, format_of, read

    started = time.perf_counter()
    try:
        found = read("x.so", data)
        exports(data, frozenset({"x"}))
    except (MemoryError, RecursionError):
        raise
    except Exception:  # noqa: BLE001 - told as a finding, whatever the library raises
        found = ()
    if not all(isinstance(one, Binary) and one.format == format_of(data[:8]) for one in found):
        raise AssertionError(found)
    if time.perf_counter() - started > SECONDS:
        raise AssertionError(f"it took {time.perf_counter() - started:.1f} s")


TARGETS = {"archives": (one_archive, seeds_of_archives), "binaries": (one_binary, seeds_of_binaries)}


def fuzz(name: str, arguments: list[str]) -> None:
    """Run one target in this process; never returns."""
    import atheris

    with atheris.instrument_imports(
        include=[
            "pytest_wheelcheck.wheels.archive",
            "pytest_wheelcheck.wheels.binary",
            "pytest_wheelcheck.wheels.record",
        ]
    ):
        import pytest_wheelcheck.wheels.archive
        import pytest_wheelcheck.wheels.elf
        import pytest_wheelcheck.wheels.macho
        import pytest_wheelcheck.wheels.pe
        import pytest_wheelcheck.wheels.record  # noqa: F401
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name][0])
    atheris.Fuzz()


def main() -> int:
    if sys.argv[1:2] == ["--target"]:
        fuzz(sys.argv[2], sys.argv[3:])
        return 0
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    wrong = []
    with tempfile.TemporaryDirectory() as temporary:
        kept = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(temporary)
        for name, (_, seeds) in TARGETS.items():
            corpus = kept / name
            corpus.mkdir(parents=True, exist_ok=True)
            seeds(corpus)
            place = Path(temporary, f"work-{name}")
            place.mkdir()
            words = [sys.executable, str(HERE), "--target", name, str(corpus), f"-max_total_time={seconds / 2:.0f}"]
            words += [
                f"-timeout={SECONDS}",
                f"-rss_limit_mb={MEMORY}",
                f"-max_len={MAX_LENGTH}",
                f"-artifact_prefix={kept}/{name}-",
            ]
            environment = {**os.environ, "FUZZ_PLACE": str(place), "TMPDIR": str(place)}
            done = subprocess.run(
                [*words, "-print_final_stats=1", "-verbosity=0"],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            lines = done.stderr.splitlines()
            print(name, *(line for line in lines if line.startswith("stat::")), sep="\n  ", flush=True)
            if done.returncode:
                wrong.append(name)
                print(done.stdout[-4000:], *lines[-30:], sep="\n")
                print(*(f"input: {path} {path.read_bytes()[:200]!r}" for path in kept.glob(f"{name}-*")), sep="\n")
    print("wrong:", ", ".join(wrong) or "nothing")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
