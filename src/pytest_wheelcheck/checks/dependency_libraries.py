"""Libraries that are not in the wheel, and that a dependency of the wheel brings.

``torchvision`` is linked against libraries of ``torch``, ``PyQt6`` against those of ``PyQt6-Qt6``. Such a wheel works if the
dependency is loaded first, or is next to it in site-packages. Only an import can show that, so the checks report such a
library as a warning. A library that no dependency brings stays an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_wheelcheck.checks.check import Advice
from pytest_wheelcheck.checks.contents import Contents
from pytest_wheelcheck.wheels.binary import Binary

_QT = r"qt\d?[A-Z]|icu"

#: Libraries of CUDA, which distributions such as ``nvidia-cublas-cu12`` and torch bring.
_NVIDIA = r"cu(?:blas|da|dnn|fft|file|pti|rand|solver|sparse|tensor)|nv(?:rtc|jitlink|perf|shmem|jpeg|tools)|npp|nccl"

#: Libraries of well-known distributions that are not named after them, without the prefix ``lib``, by normalized name.
_LIBRARIES = {
    "apache-tvm-ffi": r"tvm_ffi",
    "intel-openmp": r"iomp",
    "mkl": r"mkl_",
    "msvc-runtime": r"(?:msvcp|vcruntime|concrt|vcomp|vcamp|vccorlib)140",
    "pyarrow": r"arrow|parquet",
    "pyqt5-qt5": _QT,
    "pyqt6-qt6": _QT,
    "pyside6": rf"pyside6|{_QT}",
    "pyside6-addons": _QT,
    "pyside6-essentials": rf"pyside6|{_QT}",
    "torch": rf"c10|shm|caffe2|{_NVIDIA}",
}

#: Number of libraries that a message names.
_SHOWN = 5

#: The shortest name of a distribution that names libraries: shorter ones begin the names of too many.
_SHORTEST = 4


def find(contents: Contents, binaries: Iterable[Binary]) -> dict[str, str]:
    """Return the libraries that a dependency of the wheel brings, as the files name them, each with the dependency.

    :param binaries: files of the wheel. Libraries that the wheel bundles are left out.
    """
    names = [name for text in contents.wheel.requires if (name := _required_name(text))]
    bundled = {name.lower() for name in contents.file_names}
    needed = {library for binary in binaries for library in binary.needed}
    return {
        library: found
        for library in sorted(needed)
        if library.rpartition("/")[2].lower() not in bundled
        and (found := next((name for name in names if brings(name, library)), ""))
    }


def advice(brought: Mapping[str, str], used: Iterable[str]) -> Iterator[Advice]:
    """Yield a warning for each dependency that brings libraries.

    :param brought: the result of :func:`find`.
    :param used: libraries that the check would report otherwise.
    """
    by_dependency: dict[str, list[str]] = {}
    for library in sorted(used):
        by_dependency.setdefault(brought[library], []).append(library.rpartition("/")[2])
    for dependency, libraries in by_dependency.items():
        shown = ", ".join(libraries[:_SHOWN]) + (f" and {len(libraries) - _SHOWN} more" if libraries[_SHOWN:] else "")
        verb, pronoun = ("is", "it") if len(libraries) == 1 else ("are", "them")
        yield Advice(f"{shown} {verb} not in the wheel; {dependency}, which the wheel requires, may bring {pronoun}")


def brings(distribution: str, library: str) -> bool:
    """Return whether a distribution brings a library, as far as their names show it.

    :param distribution: any spelling.
    :param library: the name in a native file, such as ``libtorch_cpu.so``, ``@rpath/libc10.dylib`` or ``Qt6Core.dll``.

    >>> brings("torch", "libtorch_cpu.so"), brings("PyQt6-Qt6", "Qt6Core.dll"), brings("apache-tvm-ffi", "libffi.so.8")
    (True, True, False)
    """
    name = canonicalize_name(distribution)
    stem = library.rpartition("/")[2].removeprefix("lib")
    pattern = _NVIDIA if name.startswith("nvidia-") else _LIBRARIES.get(name, "")
    if pattern and re.match(pattern, stem, re.IGNORECASE):
        return True
    joined = name.replace("-", "")
    return len(joined) >= _SHORTEST and re.sub(r"[^0-9a-z]", "", stem.lower()).startswith(joined)


def _required_name(text: str) -> str:
    """Return the name of a requirement; an empty string if it belongs to an extra, or is not valid."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:  # a check reports it
        return ""
    return "" if "extra" in str(requirement.marker or "") else requirement.name
