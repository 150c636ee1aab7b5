"""The long matrix: one project's published wheels for every architecture and interpreter, with its own tests.

Run by the tox environment ``matrix``. Files are fetched by name and digest; arguments go to ``pytest --wheel``.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PROJECT = "rpds-py"
VERSION = "2026.9.1"

#: The source distribution, for its tests.
SDIST = "4793ef7f78268b124b73fa933440f01d258bbae01de9fa53e9080c9ab0425a12"

#: Python, ABI, platform and sha256 of each wheel.
WHEELS = (
    ("3.11", "cp311", "manylinux_2_17_aarch64", "e01b3c878c8641913e688edd1b3f08658c6783d29cf6b826bd3c0d1ae7a1ffaa"),
    ("3.12", "cp312", "manylinux_2_17_aarch64", "2693b2728bbcc48d09a981a356954b0c47c53ff25b545856f28a889ea619f69a"),
    ("3.13", "cp313", "manylinux_2_17_aarch64", "457866b85daf5034296666168b84a69e0b2e89dc4f1af102b46f6448a60b9063"),
    ("3.14", "cp314", "manylinux_2_17_aarch64", "07deecbfce94c78473018bc7d10b337cc651d12df87a1eb2cb3e4024bc9c33d0"),
    ("3.14", "cp314t", "manylinux_2_17_aarch64", "d7fca4eb6df565e2a928f1c7dad92d27db8f9df0f449e76423ed5d7e713ed445"),
    ("3.12", "cp312", "musllinux_1_2_aarch64", "3b5a6f40f0a1486b4b36c888123afc67acdbd9f33235927acf5ff295429a0ba3"),
    ("3.12", "cp312", "musllinux_1_2_x86_64", "46d80bc76b51a6c24f9944368c28d38b8bcbcea1da4f2f8d3ebc31a67e8c6ec6"),
    ("3.13", "cp313", "manylinux_2_17_armv7l", "a3a52a3ba86436ab3aef510fbe21512abc2ddd1993005dfe50514bd2284ef025"),
    ("3.13", "cp313", "manylinux_2_17_ppc64le", "d7841166b7fa64c9c56404617ae4341448847482d45933b13135d26c130519e5"),
    ("3.13", "cp313", "manylinux_2_17_s390x", "926bdd3e3b5998ddf70cc64bc8cf57209571f9044542913afb673799fec77dd0"),
    ("3.13", "cp313", "manylinux_2_5_i686", "e6ea1cda8d8c688278430e4268a42f5e5da3bdd74578dfadc0820c3f1766ce83"),
    ("3.13", "cp313", "manylinux_2_31_riscv64", "3cd182d7291d29b92c521a0069d9c01ba6193628a9a105531d11b40a6d731a33"),
)


def fetch(folder: Path, digest: str, *options: str) -> None:
    """Download one file of the project; pip compares the digest."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{PROJECT}=={VERSION} --hash=sha256:{digest}\n", encoding="utf-8")
    words = ["download", "-q", "--no-deps", "--require-hashes", "-d", str(folder), *options, "-r", str(wanted)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, stdin=subprocess.DEVNULL, timeout=600)


def main(arguments: list[str]) -> int:
    """Fetch everything and run it."""
    with tempfile.TemporaryDirectory(prefix="matrix-") as name:
        folder = Path(name)
        for place in ("sdist", "dist"):
            (folder / place).mkdir()
        fetch(folder / "sdist", SDIST, "--no-binary", ":all:", "--no-build-isolation")
        (archive,) = (folder / "sdist").glob("*.tar.gz")
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
        for python, abi, platform, digest in WHEELS:
            choice = ["--implementation=cp", f"--python-version={python}", f"--abi={abi}", f"--platform={platform}"]
            fetch(folder / "dist", digest, "--only-binary=:all:", *choice)
        project = folder / archive.name.removesuffix(".tar.gz")
        words = [sys.executable, "-m", "pytest", f"--wheel={folder / 'dist'}", "tests", *arguments]
        return subprocess.run(words, cwd=project, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
