"""Native files as values: one :class:`Binary` for each slice, whatever the format.

See :mod:`pytest_wheelcheck.wheels.binary_reader` for the readers.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import resources

#: Prefixes of the functions that an import looks up: CPython's (PEP 489, PEP 793), and cffi's for PyPy.
INIT_PREFIXES = ("PyInit_", "PyInitU_", "PyModExport_", "_cffi_pypyinit_")
#: Symbols of a needed version that are read from a file: one more than a message shows.
MAX_VERSION_SYMBOLS = 6

#: Prefixes of the interpreter's own symbols.
PYTHON_PREFIXES = ("Py", "_Py")
#: Symbols of the interpreter and of its modules.
PYTHON_OR_INIT = (*PYTHON_PREFIXES, *INIT_PREFIXES)
#: Libraries of interpreters, as files need them.
#: Libraries that a DLL needs for itself: the kernel's, C's and C++'s.
_RUNTIME_LIBRARY = re.compile(r"(?:kernel32|ntdll|ucrtbase|vcruntime|msvc|api-ms-)", re.IGNORECASE)
_PYTHON_LIBRARY = re.compile(r"(?:.*/)?(?:lib)?(?:python|pypy)\d[^/]*|.*/Python$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Binary:
    """One native file, or one slice of a universal one.

    :param path: its name in the container.
    :param format: ``ELF``, ``Mach-O`` or ``PE``.
    :param machine: as in the platform tags of the format: ``x86_64``, ``i686``, ``aarch64``, ``armv7l``,
        ``ppc64le``, ``s390x``, ``riscv64`` (ELF); ``x86_64``, ``arm64``, ``i386`` (Mach-O); ``amd64``, ``x86``,
        ``arm64`` (PE); the format's own number for other machines.
    :param kind: ``library``, ``executable``, or ``other`` (an object file, a core dump).
    :param error: why the file could not be read; then only *path* and *format* are valid.
    :param needed: libraries that it is linked against, in order (DT_NEEDED, LC_LOAD_DYLIB, import table).
    :param weak: the subset of *needed* that may be missing (LC_LOAD_WEAK_DYLIB; delay-loaded DLLs).
    :param name: its own name for the linker (DT_SONAME, LC_ID_DYLIB); empty if it has none.
    :param search_paths: where it searches for libraries (DT_RPATH and DT_RUNPATH, LC_RPATH). An empty element between
        two others is the working directory (ELF).
    :param inherits: it has no DT_RUNPATH, so the loader also searches the DT_RPATH of the files that need it (ELF).
    :param versions: needed symbol versions, as pairs of library and version: ``("libc.so.6", "GLIBC_2.17")``.
    :param version_symbols: a few of the symbols that need each of these versions, without weak ones.
    :param exports: it exports functions other than init functions.
    :param init_functions: exported functions that an import of it would look up.
    :param python_symbols: functions and data of the interpreter (``Py…``, ``_Py…``) that it needs, without weak ones.
    :param undefined: other needed symbols that are tied to no library: in ELF those without a version, in Mach-O those
        to be looked up in any library (flat namespace within the two-level namespace).
    :param alignment: the smallest alignment of a loaded segment in bytes; 0 if there is none.
    :param executable_stack: the file requests one, or the loader assumes so (ELF).
    :param text_relocations: the loader must write into its code.
    :param static_tls: it needs space in the static TLS block (DF_STATIC_TLS).
    :param debug: it contains debug information.
    :param sections: names and sizes of its largest sections, and of the rest of it; empty if they contradict the file.
    :param debug_size: bytes of debug information.
    :param symbols_size: bytes of the symbols that nothing needs to load it; for Mach-O an estimate.
    :param minimum_os: minimum macOS version, such as ``11.0``; empty if it has none.
    :param signed: it has a code signature (Mach-O).
    """

    path: str
    format: str
    machine: str = ""
    kind: str = "other"
    error: str = ""
    needed: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()
    name: str = ""
    search_paths: tuple[str, ...] = ()
    inherits: bool = False
    versions: tuple[tuple[str, str], ...] = ()
    version_symbols: tuple[tuple[tuple[str, str], tuple[str, ...]], ...] = ()
    exports: bool = False
    init_functions: tuple[str, ...] = ()
    python_symbols: tuple[str, ...] = ()
    undefined: tuple[str, ...] = ()
    alignment: int = 0
    executable_stack: bool = False
    text_relocations: bool = False
    static_tls: bool = False
    debug: bool = False
    sections: tuple[tuple[str, int], ...] = ()
    debug_size: int = 0
    symbols_size: int = 0
    minimum_os: str = ""
    signed: bool = False

    def is_plain_library(self, init: str) -> bool:
        """Whether it is a library that cannot be an extension module: it exports functions, and does not use Python.

        A DLL may export nothing if it is linked against other libraries than those of the system: torch loads such DLLs, which
        register functions in torch's own.

        :param init: its init function, if it were a module. For Windows, setuptools lets the linker export this function
            from everything that it compiles, so projects define one that does nothing.
        """
        others = set(self.init_functions) - ({init} if self.format == "PE" else set())
        filled = self.exports or self._registers
        return self.kind == "library" and filled and not (others or self._uses_python or self.error)

    @property
    def is_empty_library(self) -> bool:
        """Whether it is a library without a function, as a slice is whose code is for another processor only."""
        filled = self.exports or self.init_functions or self._uses_python or self._registers
        return self.kind == "library" and not (filled or self.error)

    @property
    def _registers(self) -> bool:
        return self.format == "PE" and not all(_RUNTIME_LIBRARY.match(library) for library in self.needed)

    @property
    def _uses_python(self) -> bool:
        return bool(self.python_symbols) or any(_PYTHON_LIBRARY.match(library) for library in self.needed)


@dataclass(frozen=True, kw_only=True, slots=True)
class ElfHeader:
    """The facts of an ELF file that decide how it is started and loaded.

    :param machine: as in platform tags.
    :param type: the name of its ``e_type``, such as ``ET_EXEC``.
    :param loader: its dynamic loader (PT_INTERP); empty for a static program or a library.
    :param name: its own name for the linker (DT_SONAME); empty if it has none.
    :param needed: libraries that it is linked against (DT_NEEDED), in order.
    """

    machine: str
    type: str
    loader: str
    name: str = ""
    needed: tuple[str, ...] = ()


def format_of(head: bytes) -> str:
    """Return the format of a native file by its first 8 bytes: ``ELF``, ``Mach-O``, ``PE``, or an empty string.

    A universal Mach-O file has the same magic number as a Java class, whose next word is at least 45.
    """
    if head.startswith(b"\x7fELF"):
        return "ELF"
    if head.startswith(b"MZ"):
        return "PE"
    if head[:4] in {b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf"}:
        return "Mach-O"
    if head[:4] in {b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"} and int.from_bytes(head[4:8], "big") < 20:
        return "Mach-O"
    return ""


@functools.cache
def glibc_symbols() -> frozenset[str]:
    """Return the symbols that glibc's libc and libm export, from ``glibc_symbols.txt``."""
    text = resources.files(__package__).joinpath("glibc_symbols.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))
