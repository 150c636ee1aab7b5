"""Unpacks the wheel of a published interpreter into an installation.

* ``bin/python3.N``: the wheel's console program, changed into an interpreter (:mod:`.console`);
* ``lib/python3.N/lib-dynload`` and ``lib/freeze_core.libs``: the wheel's extension modules, and the libraries that their run
  paths lead to;
* ``lib/python3.N/_sysconfigdata_*.py``, which the wheel does not contain.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES
from pytest_wheelcheck.interpreters.published import console
from pytest_wheelcheck.interpreters.published.table import PublishedInterpreter
from pytest_wheelcheck.system import pip

#: Libraries that only tkinter needs. With their alignment of 2 MiB they are half of an installation.
_TK = ("libX", "libxcb", "libtk", "libtcl", "libfontconfig", "libfreetype", "libpng", "libbrotli")

#: The files of certificate authorities in common distributions (Go's ``crypto/x509/root_linux.go``).
CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def unpack(wheel: Path, published: PublishedInterpreter, side: Path, final: Path, *, loader: Path | None) -> None:
    """Unpack a wheel next to the standard library of an installation.

    :param side: the directory of the installation.
    :param final: the directory that *side* will be moved to.
    :param loader: the dynamic loader that the interpreter is to name; ``None`` for the one that it names.
    """
    _extract(wheel, published, side, loader)
    library = side / "lib" / f"python{published.stem}"
    (library / "site-packages").mkdir()
    prefix = f"_sysconfigdata_{'t' if published.free_threaded else ''}_"
    data = library / f"{prefix}linux_{_multiarch(published)}.py"
    data.write_text(_sysconfig(published, final, _copy_pip(side)), encoding="utf-8")
    # The standard library may be Debian's, whose sysconfig omits the system in this name (until 3.12).
    (library / f"{prefix}{_multiarch(published)}.py").symlink_to(data.name)


def _extract(wheel: Path, published: PublishedInterpreter, side: Path, loader: Path | None) -> None:
    dynload = side / "lib" / f"python{published.stem}" / "lib-dynload"
    libraries = side / "lib" / "freeze_core.libs"
    programs = side / "bin"
    for directory in (dynload, libraries, programs):
        directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            parent, _, base = name.rpartition("/")
            if base.startswith(("_tkinter.", *_TK)):
                continue
            if parent == "freeze_core/lib" and base.endswith(".so"):
                (dynload / base).write_bytes(archive.read(name))
            elif parent == "freeze_core.libs" and base:
                (libraries / base).write_bytes(_with_certificates(archive.read(name)))
                (libraries / base).chmod(0o755)
                # The run path of the program. musl also searches it for the libraries of all that the program loads.
                (side / "lib" / base).symlink_to(f"freeze_core.libs/{base}")
            elif parent == "freeze_core/bases" and base.startswith("console-"):
                python = programs / f"python{published.stem}"
                python.write_bytes(console.as_python(archive.read(name), loader=loader))
                python.chmod(0o755)
    plain = ".".join(map(str, published.version[:2]))
    for alias in dict.fromkeys(("python3", "python", f"python{plain}")):
        if not (programs / alias).exists():
            (programs / alias).symlink_to(f"python{published.stem}")


def _with_certificates(library: bytes) -> bytes:
    """Make an OpenSSL that was built in the manylinux images read the certificates of this host.

    The path in it (``/opt/_internal/openssl-3.5/cert.pem``) exists in the images only, and is replaced.
    """
    file = next((path for path in CERTIFICATES if Path(path).is_file()), "").encode()

    def replacement(match: re.Match[bytes]) -> bytes:
        return file.ljust(len(match[0]), b"\0") if file and len(file) < len(match[0]) else match[0]

    return re.sub(rb"/opt/_internal/openssl-[0-9.]+/cert\.pem\0", replacement, library)


def _copy_pip(side: Path) -> Path | None:
    """Copy a wheel of pip for ``ensurepip`` next to the library. Return its directory; ``None`` if there is no pip."""
    wheel = pip.embedded_pip()
    if wheel is None:
        return None
    directory = side / "lib" / "wheels"
    directory.mkdir(parents=True)
    shutil.copy2(wheel, directory)
    return directory


def _multiarch(published: PublishedInterpreter) -> str:
    name = ARCHITECTURES[published.architecture].multiarch
    return name.replace("-gnu", "-musl") if published.libc == "musl" else name


def _sysconfig(published: PublishedInterpreter, root: Path, wheels: Path | None) -> str:
    """Return the text of a ``_sysconfigdata`` module with the variables that apply to the installation.

    :param root: the directory of the installation.
    :param wheels: the directory with the wheel of pip.
    """
    major, minor, _ = published.version
    threading = "t" if published.free_threaded else ""
    multiarch = _multiarch(published)
    soabi = f"cpython-{major}{minor}{threading}-{multiarch}"
    include = root / "include" / f"python{published.stem}"
    values: dict[str, str | int] = {
        "ABIFLAGS": threading,
        "AR": "ar",
        "BINDIR": str(root / "bin"),
        "CC": "cc",
        "CCSHARED": "-fPIC",
        "CFLAGS": "-O3 -Wall",
        "CONFINCLUDEPY": str(include),
        "CXX": "c++",
        "EXE": "",
        "EXT_SUFFIX": f".{soabi}.so",
        "HOST_GNU_TYPE": f"{published.architecture}-pc-linux-{'musl' if published.libc == 'musl' else 'gnu'}",
        "INCLUDEPY": str(include),
        "LDLIBRARY": f"libpython{published.stem}.a",
        "LDSHARED": "cc -shared",
        "LDVERSION": published.stem,
        "LIBDIR": str(root / "lib"),
        "MULTIARCH": multiarch,
        "OPT": "-O3 -Wall",
        "PLATLIBDIR": "lib",
        "Py_DEBUG": 0,
        "Py_ENABLE_SHARED": 0,
        "Py_GIL_DISABLED": int(published.free_threaded),
        "SHLIB_SUFFIX": ".so",
        "SIZEOF_VOID_P": 8,
        "SOABI": soabi,
        "TZPATH": "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo",
        "VERSION": f"{major}.{minor}",
        "WITH_PYMALLOC": 0 if published.free_threaded else 1,
        "exec_prefix": str(root),
        "prefix": str(root),
    }
    if wheels is not None:
        values["WHEEL_PKG_DIR"] = str(root / "lib" / wheels.name)
    # Readers of such files search for this line (CPython's Lib/sysconfig/__main__.py writes it).
    head = "# system configuration generated and used by the sysconfig module\n"
    return f"{head}build_time_vars = {json.dumps(values, indent=1)}\n"
