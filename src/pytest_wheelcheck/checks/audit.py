"""What auditwheel finds in a Linux wheel, as values that cross from the child process.

Source: PEP 513, 571, 599, 600 (manylinux), 656 (musllinux); the policies are auditwheel's own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """One of auditwheel's policies, with what keeps the wheel from it.

    :param name: such as ``manylinux_2_17_x86_64``; ``linux_x86_64`` for none.
    :param priority: the larger, the more systems; 0 for none.
    :param versions: symbol versions that it allows, such as ``GLIBC_2.17``, by their prefix.
    :param libraries: pairs of file and library: the library is neither allowed nor in the wheel.
    :param symbols: pairs of library and symbol that must not be used of it.
    """

    name: str
    aliases: tuple[str, ...]
    priority: int
    versions: dict[str, tuple[str, ...]]
    libraries: tuple[tuple[str, str], ...]
    symbols: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What auditwheel says of the files for one C library and architecture.

    :param libc: ``glibc`` or ``musl``.
    :param architecture: as in platform tags.
    :param overall: the best policy that the content earns.
    :param machine: the best one by the instruction set that the files declare.
    :param policies: all of them.
    :param nothing: why there is no verdict: no file is for this architecture and C library.
    """

    libc: str
    architecture: str
    overall: str = ""
    machine: str = ""
    policies: tuple[Policy, ...] = ()
    nothing: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """auditwheel's verdicts, one for each C library and architecture that the tags name."""

    verdicts: tuple[Verdict, ...]


def platform_parts(platform: str) -> tuple[str, str] | None:
    """Tell the C library and architecture of a manylinux or musllinux tag; ``None`` for any other.

    ``manylinux_2_17_x86_64`` → ``("glibc", "x86_64")``; ``manylinux2014_i686`` → ``("glibc", "i686")``.
    """
    prefix, _, rest = platform.partition("_")
    if prefix in {"manylinux1", "manylinux2010", "manylinux2014"}:
        return "glibc", rest
    numbers = rest.split("_", 2)
    if prefix in {"manylinux", "musllinux"} and len(numbers) == 3 and all(map(str.isdecimal, numbers[:2])):
        return ("glibc" if prefix == "manylinux" else "musl"), numbers[2]
    return None
