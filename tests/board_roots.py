"""Root file systems of boards: Debian's packages, unpacked without root, once in the cache of the tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pytest_wheelcheck.backends import bubblewrap
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters import roots
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, host_architecture
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.system import cache, process

#: The user of every board, and the numbers of user and group.
USER, ID = "pi", 1000

#: What every board has, with all that these depend on. libfaketime makes a clock that is wrong.
PACKAGES = ("base-files", "coreutils", "dash", "libfaketime", "openssh-server", "procps", "sed", "tar", "util-linux")

#: What boards with Python have, too.
PYTHON = ("python3", "libstdc++6", "libatomic1")

#: Increase when the roots change.
_GENERATION = 1

_FILES = {
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/sh\n"
        f"{USER}:x:{ID}:{ID}::/home/{USER}:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    ),
    "etc/group": f"root:x:0:\n{USER}:x:{ID}:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

#: Places for file systems and files of each board.
_DIRECTORIES = ("board", "dev", "proc", "run/sshd", "sys", "tmp", "var/tmp", f"home/{USER}", "root", "etc/ssh")


def debian_root(architecture: str, *, python: bool = True, packages: Sequence[str] = (), suite: str = "") -> Path:
    """Return a root file system in the cache; make it first if there is none.

    :param python: whether it has a Python.
    :param packages: further packages.
    :param suite: of the host's package repository; by default the one that the host was installed from.
    :raises RuntimeUnavailableError: the host has no package repository.
    :raises ProcessError: the packages cannot be downloaded.
    """
    repository = apt.host_repository()
    if repository is None:
        raise RuntimeUnavailableError("boards are made of the packages of Debian or Ubuntu, and this host has no apt")
    suite = suite or repository.codename
    names = [*PACKAGES, *PYTHON, *packages]
    digest = cache.digest(str(_GENERATION), repository.uri, *names)
    key = f"boards/{suite}-{architecture}{'' if python else '-without-python'}-{digest}"

    def make(side: Path) -> None:
        root = side / "root"
        if not python:
            _without_python(debian_root(architecture, packages=packages, suite=suite), root)
            return
        apt.fetch(repository, suite, names, root, architecture=ARCHITECTURES[architecture].debian)
        roots.tidy(root, cache.path(key) / "root")
        for name in _DIRECTORIES:
            (root / name).mkdir(parents=True, exist_ok=True)
        for name, text in _FILES.items():
            (root / name).write_text(text, encoding="ascii")
        if not (root / "usr/bin/sh").exists():
            (root / "usr/bin/sh").symlink_to("dash")
        _compile(root, architecture, suite)

    return cache.provision(key, make) / "root"


def _without_python(source: Path, root: Path) -> None:
    """Make another root of the same files, without those of Python."""
    shutil.copytree(source, root, symlinks=True, copy_function=os.link)
    for pattern in ("usr/bin/py*3*", "usr/lib/python3*", "usr/share/python3*", "usr/lib/*/libpython3*"):
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _compile(root: Path, architecture: str, suite: str) -> None:
    """Compile the bytecode of the standard library, as the package's own script does. Under an emulator, every program
    would spend seconds on that, because nothing can be stored in a root that cannot be written."""
    host = host_architecture()
    assert host is not None
    compiler = root if architecture == host.name else debian_root(host.name, suite=suite)
    argv: list[str | Path] = [*bubblewrap.find(), "--unshare-all", "--ro-bind", compiler, "/", "--bind", root, "/board"]
    argv += [
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--",
        "/usr/bin/python3",
        "-I",
        "-m",
        "compileall",
        "-q",
        "-q",
        "-j",
        "0",
    ]
    (library,) = (root / "usr/lib").glob("python3.*")
    # The exit status is ignored, because a standard library may contain files with invalid syntax.
    process.run([*argv, "-s", "/board", "-p", "/", f"/board/usr/lib/{library.name}"], check=False)


def ssh_program(name: str) -> str:
    """Return the path of a program of the host's OpenSSH.

    :raises RuntimeUnavailableError: it is not installed.
    """
    if found := shutil.which(name):
        return found
    raise RuntimeUnavailableError(f"{name} is not installed", fix="install the package openssh-client")
