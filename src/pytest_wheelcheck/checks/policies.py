"""auditwheel's analysis of a Linux wheel, as values that the parser process sends.

Source: PEP 513, 571, 599, 600 (manylinux), 656 (musllinux). The policies are auditwheel's own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """One of auditwheel's policies, and the reasons why a wheel does not meet it.

    :param name: such as ``manylinux_2_17_x86_64``; ``linux_x86_64`` for no policy.
    :param priority: a larger value means more systems; 0 for no policy.
    :param versions: symbol versions that it allows, such as ``GLIBC_2.17``, by their prefix.
    :param libraries: pairs of file and library that is neither allowed nor in the wheel.
    :param symbols: pairs of library and symbol of it that the wheel uses and must not use.
    """

    name: str
    aliases: tuple[str, ...]
    priority: int
    versions: dict[str, tuple[str, ...]]
    libraries: tuple[tuple[str, str], ...]
    symbols: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyAnalysis:
    """auditwheel's analysis of a wheel for one C library and architecture.

    :param libc: ``glibc`` or ``musl``.
    :param architecture: as in platform tags.
    :param best: name of the best policy that the wheel meets.
    :param best_for_instructions: name of the best policy that allows the instruction set that the files declare.
    :param policies: all policies.
    :param unavailable: why there is no analysis, such as no file for this architecture and C library; empty if there
        is one.
    """

    libc: str
    architecture: str
    best: str = ""
    best_for_instructions: str = ""
    policies: tuple[Policy, ...] = ()
    unavailable: str = ""

    def policy(self, name: str) -> Policy:
        """Return the policy with this name."""
        return next(policy for policy in self.policies if policy.name == name)


def libc_and_architecture(platform: str) -> tuple[str, str] | None:
    """Return the C library and architecture of a manylinux or musllinux tag; ``None`` for any other tag.

    ``manylinux_2_17_x86_64`` → ``("glibc", "x86_64")``; ``manylinux2014_i686`` → ``("glibc", "i686")``.
    """
    prefix, _, rest = platform.partition("_")
    if prefix in {"manylinux1", "manylinux2010", "manylinux2014"}:
        return "glibc", rest
    parts = rest.split("_", 2)
    if prefix in {"manylinux", "musllinux"} and len(parts) == 3 and all(map(str.isdecimal, parts[:2])):
        return ("glibc" if prefix == "manylinux" else "musl"), parts[2]
    return None
