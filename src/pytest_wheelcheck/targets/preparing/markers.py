"""The values of environment markers on a target (PEP 508)."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_wheelcheck.targets.target import Target


def marker_environment(target: Target) -> Mapping[str, str]:
    """Return the values of environment markers on a target (PEP 508)."""
    installation = target.runtime.installation
    system = installation.platform.system
    return {
        "implementation_name": installation.implementation,
        "implementation_version": installation.version_text,
        "os_name": "nt" if system == "win32" else "posix",
        "platform_machine": installation.platform.architecture.replace("amd64", "AMD64"),
        "platform_python_implementation": {"pypy": "PyPy"}.get(installation.implementation, "CPython"),
        "platform_release": "",
        "platform_system": {"win32": "Windows", "darwin": "Darwin"}.get(system, system.capitalize()),
        "platform_version": "",
        "python_full_version": installation.version_text,
        "python_version": f"{installation.version[0]}.{installation.version[1]}",
        "sys_platform": system,
    }
