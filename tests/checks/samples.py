"""A defective wheel for each check, and sound wheels of every kind, in which no check finds a defect."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders import Raw, build_wheel, make_record, write_zip

from checks.objects import make_elf, make_fat, make_macho, make_pe
from pytest_wheelcheck.checks.contents import MAX_SIZE

LINUX = "cp311-cp311-manylinux_2_17_x86_64"
MUSL = "cp311-cp311-musllinux_1_2_x86_64"
MACOS = "cp311-cp311-macosx_11_0_arm64"
WINDOWS = "cp311-cp311-win_amd64"

INIT = ("PyInit__native",)
LINUX_SUFFIX = ".cpython-311-x86_64-linux-gnu.so"

Files = dict[str, bytes | str]


@dataclass(frozen=True, kw_only=True)
class DefectiveWheel:
    """A wheel with one defect.

    :param make: writes it into a directory; the first path is checked, the others belong to its release.
    :param also: other codes that the same defect must cause.
    :param max_size: as :func:`pytest_wheelcheck.checks.run_checks` takes it.
    :param opens: whether ``open_wheel`` opens it.
    """

    make: Callable[[Path], Path | list[Path]]
    also: frozenset[str] = frozenset()
    opens: bool = True
    max_size: int = MAX_SIZE


def pure(directory: Path, files: Mapping[str, bytes | str] = {}, **more: Any) -> Path:
    return build_wheel(directory, more.pop("name", "pkg"), files={"pkg/__init__.py": "", **files}, **more)


def native(
    directory: Path, module: bytes, suffix: str, tag: str, files: Mapping[str, bytes | str] = {}, **more: Any
) -> Path:
    own: Files = {"pkg/__init__.py": "", "pkg/py.typed": "", f"pkg/_native{suffix}": module}
    return build_wheel(directory, "pkg", files=own | dict(files), tags=more.pop("tags", (tag,)), **more)


def linux(directory: Path, files: Mapping[str, bytes | str] = {}, *, tag: str = LINUX, **elf: Any) -> Path:
    return native(
        directory, make_elf(exports=elf.pop("exports", INIT), **elf), elf.pop("suffix", LINUX_SUFFIX), tag, files
    )


def linux_of(directory: Path, machine: str, triplet: str, **elf: Any) -> Path:
    versions = (("libc.so.6", "GLIBC_2.17"),)
    module = make_elf(machine=machine, exports=INIT, versions=versions, **elf)
    return native(directory, module, f".cpython-311-{triplet}.so", f"cp311-cp311-manylinux_2_17_{machine}")


def musl(directory: Path, **elf: Any) -> Path:
    elf = {"needed": ("libc.so",), "versions": (), "exports": INIT} | elf
    return native(directory, make_elf(**elf), ".cpython-311-x86_64-linux-musl.so", MUSL)


def macos(directory: Path, files: Mapping[str, bytes | str] = {}, *, tag: str = MACOS, **macho: Any) -> Path:
    return native(directory, make_macho(exports=INIT, **macho), ".cpython-311-darwin.so", tag, files)


def universal(directory: Path, slices: tuple[str, ...] = ("x86_64", "arm64")) -> Path:
    every = {
        "x86_64": make_macho(machine="x86_64", exports=INIT, minimum=(10, 9), signed=False),
        "arm64": make_macho(exports=INIT),
    }
    data = make_fat({machine: every[machine] for machine in slices})
    return native(directory, data, ".cpython-311-darwin.so", "cp311-cp311-macosx_10_9_universal2")


def windows(directory: Path, files: Mapping[str, bytes | str] = {}, *, tag: str = WINDOWS, **pe: Any) -> Path:
    suffix = pe.pop("suffix", ".cp311-win_amd64.pyd")
    return native(directory, make_pe(exports=INIT, **pe), suffix, tag, files)


def abi3(directory: Path, imports: tuple[str, ...] = ("PyLong_FromLong", "PyExc_ValueError", "malloc")) -> Path:
    return native(directory, make_elf(exports=INIT, imports=imports), ".abi3.so", "cp38-abi3-manylinux_2_17_x86_64")


def threaded(directory: Path) -> Path:
    suffix = ".cpython-314t-x86_64-linux-gnu.so"
    return native(directory, make_elf(exports=INIT), suffix, "cp314-cp314t-manylinux_2_17_x86_64")


def pypy(directory: Path) -> Path:
    suffix = ".pypy311-pp73-x86_64-linux-gnu.so"
    return native(directory, make_elf(exports=INIT), suffix, "pp311-pypy311_pp73-manylinux_2_17_x86_64")


def bundled(directory: Path) -> Path:
    """A wheel as auditwheel repair writes it."""
    library = make_elf(soname="libfoo-1234.so.1")
    files: Files = {"pkg.libs/libfoo-1234.so.1": library}
    needed = ("libfoo-1234.so.1", "libc.so.6")
    return linux(directory, files, needed=needed, runpath="$ORIGIN/../pkg.libs")


def delocated(directory: Path) -> Path:
    """A wheel as delocate-wheel writes it."""
    library = make_macho(kind=6, name="/DLC/pkg/.dylibs/libfoo.1.dylib")
    needed = ("@loader_path/.dylibs/libfoo.1.dylib", "/usr/lib/libSystem.B.dylib")
    return macos(directory, {"pkg/.dylibs/libfoo.1.dylib": library}, needed=needed)


def delvewheeled(directory: Path) -> Path:
    """A wheel as delvewheel repair writes it."""
    files: Files = {"pkg.libs/foo-1234.dll": make_pe(needed=("KERNEL32.dll", "VCRUNTIME140.dll"))}
    return windows(directory, files, needed=("foo-1234.dll", "python311.dll", "api-ms-win-crt-heap-l1-1-0.dll"))


def program(directory: Path) -> Path:
    """A command-line program, as maturin packs one."""
    files: Files = {"tool-1.0.data/scripts/tool": make_elf(executable=True), "tool/__init__.py": ""}
    return build_wheel(directory, "tool", files=files, tags=("py3-none-manylinux_2_17_x86_64",))


def everything(directory: Path) -> Path:
    """A pure wheel with all kinds of metadata."""
    return build_wheel(
        directory,
        "every-thing",
        "1.0.post1+local.1",
        {
            "every_thing/__init__.py": "",
            "every_thing/cli.py": "",
            "every_thing-1.0.post1+local.1.dist-info/licenses/LICENSE": "",
            "every_thing-1.0.post1+local.1.data/data/share/x": "",
            "every_thing-1.0.post1+local.1.data/scripts/x": "#!python\n",
            "ünï/__init__.py": "",
        },
        build="1",
        tags=("py2-none-any", "py3-none-any"),
        requires=("attrs>=1; python_version > '3.8'",),
        requires_python=">=3.8",
        extras=("more",),
        entry_points={
            "console_scripts": {"every-thing": "every_thing.cli:main", "other": "attrs.cli:main [more]"},
            "some-group.x": {"Name With Spaces": "every_thing"},
        },
        metadata="Metadata-Version: 2.4\nName: every-thing\nVersion: 1.0.post1+local.1\nLicense-File: LICENSE\n"
        "Requires-Python: >=3.8\nDescription-Content-Type: text/markdown\n\n# Name: other\n",
    )


SOUND: dict[str, Callable[[Path], Path]] = {
    "pure": pure,
    "everything": everything,
    "program": program,
    "linux": linux,
    "linux-aarch64": lambda directory: linux_of(directory, "aarch64", "aarch64-linux-gnu"),
    "linux-ppc64le": lambda directory: linux_of(directory, "ppc64le", "powerpc64le-linux-gnu"),
    "linux-s390x": lambda directory: linux_of(directory, "s390x", "s390x-linux-gnu"),
    "linux-armv7l": lambda directory: linux_of(directory, "armv7l", "arm-linux-gnueabihf"),
    "linux-i686": lambda directory: linux_of(directory, "i686", "i386-linux-gnu"),
    "musl": musl,
    "abi3": abi3,
    "threaded": threaded,
    "pypy": pypy,
    "bundled": bundled,
    "macos": macos,
    "universal2": universal,
    "delocated": delocated,
    "windows": windows,
    "windows-abi3": lambda directory: windows(
        directory, tag="cp38-abi3-win_amd64", suffix=".pyd", needed=("python3.dll", "KERNEL32.dll")
    ),
    "delvewheeled": delvewheeled,
}

# Wheels with one defect ----------------------------------------------------------------------------------------------


def archive(directory: Path, *extra: Raw, filename: str = "pkg-1.0-py3-none-any.whl", **zip_: Any) -> Path:
    """A sound wheel, written field by field, with additional members that RECORD lists."""
    files = {
        "pkg/__init__.py": b"",
        "pkg-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n",
        "pkg-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members = [Raw(name=name.encode(), data=data) for name, data in files.items()]
    more = {entry.name.decode("utf-8", "replace"): entry.data for entry in extra if not entry.name.endswith(b"/")}
    own = "pkg-1.0.dist-info/RECORD"
    record = Raw(name=own.encode(), data=make_record({**files, **more}, own).encode())
    return write_zip(directory / filename, [*members, *extra, record], **zip_)


def truncated(directory: Path) -> Path:
    path = pure(directory, {"pkg/data.txt": "x" * 1000})
    path.write_bytes(path.read_bytes()[:-100])
    return path


def in_comment(directory: Path) -> Path:
    inner = archive(directory / "inner").read_bytes()
    return archive(directory, comment=inner)


def rewritten(directory: Path, name: str, data: bytes) -> Path:
    """A sound wheel with one file that was changed without an update of RECORD."""
    members: Files = {"pkg/__init__.py": "x = 1\n"}
    info = "pkg-1.0.dist-info"
    members[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n"
    members[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = make_record(members, f"{info}/RECORD")
    members[name] = data
    return build_wheel(directory, "pkg", files=members, metadata="", wheel_file="", record=record)


def with_record(directory: Path, change: Callable[[str], str]) -> Path:
    members: Files = {"pkg/__init__.py": "x = 1\n"}
    info = "pkg-1.0.dist-info"
    members[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n"
    members[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = change(make_record(members, f"{info}/RECORD"))
    return build_wheel(directory, "pkg", files=members, metadata="", wheel_file="", record=record)


def descriptor(data: bytes) -> bytes:
    size = len(data).to_bytes(4, "little")
    return b"PK\7\x08" + zlib.crc32(data).to_bytes(4, "little") + size + size


def bad_crc(directory: Path) -> Path:
    return archive(directory, Raw(name=b"pkg/x.txt", data=b"abc", lie_crc=1))


def metadata_of(text: str) -> Callable[[Path], Path]:
    return lambda directory: pure(directory, metadata=text)


def release(*makers: Callable[[Path], Path]) -> Callable[[Path], list[Path]]:
    return lambda directory: [make(directory / str(index)) for index, make in enumerate(makers)]


DEFECTIVE: dict[str, DefectiveWheel] = {
    "WHL101": DefectiveWheel(make=truncated, opens=False),
    "WHL102": DefectiveWheel(make=lambda directory: archive(directory, before=b"#!/bin/sh\n"), opens=False),
    "WHL103": DefectiveWheel(
        make=lambda directory: archive(directory, Raw(name=b"pkg/a.py", local_name=b"pkg/b.py")), opens=False
    ),
    "WHL104": DefectiveWheel(
        make=lambda directory: archive(directory, Raw(name=b"pkg/a.py"), Raw(name=b"pkg/a.py", data=b"x")), opens=False
    ),
    "WHL105": DefectiveWheel(make=lambda directory: pure(directory, {"pkg/Readme.txt": "", "pkg/README.txt": ""})),
    "WHL106": DefectiveWheel(make=lambda directory: archive(directory, Raw(name=b"../evil.py")), opens=False),
    "WHL107": DefectiveWheel(
        make=lambda directory: archive(directory, Raw(name=b"pkg/link", data=b"/etc/passwd", mode=0o120777)),
        opens=False,
    ),
    "WHL108": DefectiveWheel(make=lambda directory: archive(directory, Raw(name=b"pkg/x", flags=1)), opens=False),
    "WHL109": DefectiveWheel(
        make=lambda directory: archive(directory, Raw(name=b"pkg/x", data=b"abc", compressed=b"abc", method=14)),
        also=frozenset({"WHL113"}),
        opens=False,
    ),
    "WHL110": DefectiveWheel(
        make=lambda directory: archive(directory, Raw(name=b"pkg/x", data=b"\0" * (65 << 20), method=8)), opens=False
    ),
    "WHL111": DefectiveWheel(
        make=lambda directory: archive(
            directory, Raw(name=b"pkg/x", data=b"abc", flags=8, descriptor=descriptor(b"abc"))
        )
    ),
    "WHL112": DefectiveWheel(make=lambda directory: pure(directory, {"pkg/aux.py": ""})),
    "WHL113": DefectiveWheel(make=bad_crc),
    "WHL121": DefectiveWheel(make=lambda directory: pure(directory, record="")),
    "WHL122": DefectiveWheel(
        make=lambda directory: with_record(directory, lambda text: text + "pkg/__init__.py,only-two\n"),
        also=frozenset({"WHL126", "WHL128"}),
    ),
    "WHL123": DefectiveWheel(make=lambda directory: rewritten(directory, "pkg/new.py", b"")),
    "WHL124": DefectiveWheel(
        make=lambda directory: with_record(directory, lambda text: f"pkg/lost.py,sha256=AAAA,0\n{text}")
    ),
    "WHL125": DefectiveWheel(make=lambda directory: rewritten(directory, "pkg/__init__.py", b"y = 2\n")),
    "WHL126": DefectiveWheel(
        make=lambda directory: with_record(directory, lambda text: text.replace("sha256=", "md5=", 1))
    ),
    "WHL127": DefectiveWheel(
        make=lambda directory: with_record(directory, lambda text: text.replace(",6\n", ",7\n", 1))
    ),
    "WHL128": DefectiveWheel(
        make=lambda directory: with_record(directory, lambda text: text.splitlines(keepends=True)[0] + text)
    ),
    "WHL201": DefectiveWheel(
        make=lambda directory: build_wheel(directory, "Pkg.Name", "1.0.0-rc1".replace("-", ""), {"x.py": ""})
    ),
    "WHL202": DefectiveWheel(make=lambda directory: pure(directory, dist_info="other-1.0.dist-info")),
    "WHL203": DefectiveWheel(make=lambda directory: pure(directory, wheel_file="")),
    "WHL204": DefectiveWheel(make=lambda directory: pure(directory, wheel_tags=("py2-none-any",))),
    "WHL205": DefectiveWheel(
        make=lambda directory: pure(
            directory, build="1", wheel_file="Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
    ),
    "WHL206": DefectiveWheel(
        make=lambda directory: native(directory, make_elf(exports=INIT), LINUX_SUFFIX, LINUX, purelib=True)
    ),
    "WHL207": DefectiveWheel(
        make=lambda directory: native(directory, make_elf(exports=INIT), ".abi3.so", "py3-none-any", purelib=False)
    ),
    "WHL208": DefectiveWheel(make=metadata_of("")),
    "WHL209": DefectiveWheel(make=metadata_of("Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\nRequires-Dist: !!\n")),
    "WHL210": DefectiveWheel(make=metadata_of("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")),
    "WHL211": DefectiveWheel(make=lambda directory: pure(directory, tags=("cp38-none-any",), requires_python=">=3.9")),
    "WHL212": DefectiveWheel(make=lambda directory: pure(directory, entry_points={"console_scripts": {"tool": "pkg"}})),
    "WHL213": DefectiveWheel(
        make=lambda directory: pure(directory, entry_points={"console_scripts": {"../tool": "pkg:main"}})
    ),
    "WHL214": DefectiveWheel(
        make=lambda directory: pure(directory, entry_points={"console_scripts": {"tool": "pkg.cli:main"}})
    ),
    "WHL215": DefectiveWheel(
        make=metadata_of("Metadata-Version: 2.4\nName: pkg\nVersion: 1.0\nLicense-File: LICENSE\n")
    ),
    "WHL216": DefectiveWheel(make=lambda directory: pure(directory, {"other-1.0.data/data/x": ""})),
    "WHL217": DefectiveWheel(make=lambda directory: linux(directory, tag="cp311-cp311-manylinux_2_17")),
    "WHL218": DefectiveWheel(
        make=metadata_of("Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n\nTitle\n==\n\n.. nothing::\n")
    ),
    "WHL219": DefectiveWheel(
        make=metadata_of("Metadata-Version: 2.5\nName: pkg\nVersion: 1.0\nImport-Name: pkg\nImport-Name: pkg.lost\n")
    ),
    "WHL301": DefectiveWheel(make=lambda directory: linux(directory, versions=(("libc.so.6", "GLIBC_2.34"),))),
    "WHL302": DefectiveWheel(make=lambda directory: linux(directory, tag="cp311-cp311-linux_x86_64")),
    "WHL303": DefectiveWheel(
        make=lambda directory: native(
            directory,
            make_elf(machine="armv7l", exports=INIT),
            ".cpython-311-arm-linux-gnueabihf.so",
            "cp311-cp311-linux_armv7l",
        )
    ),
    "WHL304": DefectiveWheel(
        make=lambda directory: linux(directory, needed=("libc.musl-x86_64.so.1",), versions=()),
        also=frozenset({"WHL301"}),
    ),
    "WHL305": DefectiveWheel(
        make=lambda directory: linux(directory, {"pkg.libs/libfoo.so": make_elf(soname="libfoo.so")})
    ),
    "WHL306": DefectiveWheel(make=lambda directory: linux(directory, runpath="/home/me/build")),
    "WHL307": DefectiveWheel(make=lambda directory: linux(directory, runpath="lib")),
    "WHL401": DefectiveWheel(make=lambda directory: macos(directory, minimum=(13, 0))),
    "WHL402": DefectiveWheel(make=lambda directory: universal(directory, ("arm64",))),
    "WHL403": DefectiveWheel(make=lambda directory: macos(directory, needed=("/opt/homebrew/lib/libfoo.1.dylib",))),
    "WHL404": DefectiveWheel(make=lambda directory: macos(directory, signed=False)),
    "WHL501": DefectiveWheel(make=lambda directory: windows(directory, machine="arm64")),
    "WHL502": DefectiveWheel(make=lambda directory: windows(directory, needed=("python312.dll",))),
    "WHL503": DefectiveWheel(make=lambda directory: windows(directory, needed=("python311.dll", "msvcp140.dll"))),
    "WHL601": DefectiveWheel(make=lambda directory: windows(directory, {"pkg/plugin.dll": b"MZ" + b"\0" * 100})),
    "WHL602": DefectiveWheel(make=lambda directory: pure(directory, tags=(WINDOWS,))),
    "WHL603": DefectiveWheel(
        make=lambda directory: native(directory, make_elf(exports=INIT), ".cpython-312-x86_64-linux-gnu.so", LINUX)
    ),
    "WHL604": DefectiveWheel(make=lambda directory: linux(directory, exports=("PyInit_native",))),
    "WHL605": DefectiveWheel(
        make=lambda directory: windows(directory, {"pkg/_other.pyd": make_elf(exports=("PyInit__other",))})
    ),
    "WHL606": DefectiveWheel(
        make=release(
            linux,
            lambda directory: native(
                directory,
                make_elf(exports=INIT),
                ".cpython-312-x86_64-linux-gnu.so",
                "cp312-cp312-manylinux_2_17_x86_64",
                {"pkg/_more.cpython-312-x86_64-linux-gnu.so": make_elf(exports=("PyInit__more",))},
            ),
        )
    ),
    "WHL607": DefectiveWheel(
        make=lambda directory: abi3(directory, imports=("PyObject_Vectorcall", "PyLong_FromLong"))
    ),
    "WHL608": DefectiveWheel(
        make=lambda directory: abi3(directory, imports=("_PyLong_AsByteArray", "PyLong_FromLong"))
    ),
    "WHL609": DefectiveWheel(
        make=lambda directory: linux(directory, imports=("PyLong_FromLong", "pow", "lost_function"))
    ),
    "WHL610": DefectiveWheel(
        make=lambda directory: linux(directory, {"pkg/_plain.abi3.so": make_elf(exports=("add", "subtract"))})
    ),
    "WHL701": DefectiveWheel(
        make=lambda directory: linux_of(directory, "aarch64", "aarch64-linux-gnu", alignment=0x1000)
    ),
    "WHL702": DefectiveWheel(make=lambda directory: linux(directory, stack=7)),
    "WHL703": DefectiveWheel(make=lambda directory: linux(directory, text_relocations=True)),
    "WHL704": DefectiveWheel(make=lambda directory: linux(directory, flags=0x10)),
    "WHL801": DefectiveWheel(make=lambda directory: linux(directory, debug=True)),
    "WHL802": DefectiveWheel(
        make=lambda directory: pure(directory, {"pkg/__pycache__/__init__.cpython-311.pyc": b"x"})
    ),
    "WHL803": DefectiveWheel(make=lambda directory: pure(directory, {"tests/__init__.py": ""})),
    "WHL804": DefectiveWheel(make=lambda directory: pure(directory, {"json.py": ""})),
    "WHL805": DefectiveWheel(make=lambda directory: pure(directory, {"pkg.pth": "import pkg\n"})),
    "WHL806": DefectiveWheel(
        make=lambda directory: build_wheel(
            directory, "pkg", files={f"pkg/_native{LINUX_SUFFIX}": make_elf(exports=INIT)}, tags=(LINUX,)
        )
    ),
    "WHL807": DefectiveWheel(make=pure, max_size=10),
    "WHL901": DefectiveWheel(make=release(pure, lambda directory: pure(directory, version="2.0"))),
    "WHL902": DefectiveWheel(make=release(pure, pure)),
    "WHL903": DefectiveWheel(
        make=release(pure, lambda directory: build_wheel(directory, "other", files={"pkg/__init__.py": ""}))
    ),
}
