"""Archives of packages, made and signed here, and files that uv takes for its own downloads."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

import provisioned

from pytest_wheelcheck.interpreters.packages import apt


def make_archive(folder: Path, *, suite: str = "suite", index: str = "", debs: Iterable[Path] = ()) -> str:
    """Make a signed archive that carries amd64 only; give its line for apt.

    :param index: paragraphs of its index, of packages that are not there.
    :param debs: packages that are there.
    """
    pool = folder / "archive" / "pool"
    pool.mkdir(parents=True)
    for deb in debs:
        told = subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True).stdout.strip()
        data = deb.read_bytes()
        (pool / deb.name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        index += f"{told}\nFilename: pool/{deb.name}\nSize: {len(data)}\nSHA256: {digest}\n\n"
    top = folder / "archive" / "dists" / suite
    file = top / "main" / "binary-amd64" / "Packages"
    file.parent.mkdir(parents=True)
    file.write_text(index, encoding="utf-8")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (top / "Release").write_text(
        f"Suite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\n"
        "Date: Sat, 01 Aug 2026 00:00:00 UTC\n"
        f"SHA256:\n {digest} {file.stat().st_size} main/binary-amd64/Packages\n",
        encoding="utf-8",
    )
    # The path of the agent's socket is in there, and must be short (unix(7)).
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
        quick = [*gpg, "--quick-generate-key", "test", "rsa2048", "sign", "never"]
        subprocess.run(quick, check=True, capture_output=True)
        (folder / "key.gpg").write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
        subprocess.run([*gpg, "--clearsign", "-o", top / "InRelease", top / "Release"], check=True)
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
    return f"deb [signed-by={folder / 'key.gpg'}] file:{folder / 'archive'} {suite} main"


def host_archive() -> apt.Repository:
    """Return the archive that the host was installed from; without one, skip the test that asks, or fail it."""
    found = apt.host_repository()
    if found is None:
        raise provisioned.missing("debian", "this host has no apt, or is not Debian or Ubuntu")
    return found


def fetch_debs(names: Iterable[str], folder: Path) -> list[Path]:
    """Download packages of the host's release for x86-64, or for every architecture."""
    found = host_archive()
    command = apt.apt_get_command(found, found.codename, folder / "apt", "amd64")
    subprocess.run([*command, "update"], check=True, capture_output=True)
    subprocess.run([*command, "download", *names], check=True, capture_output=True, cwd=folder)
    return sorted(folder.glob("*.deb"))


def make_download(
    folder: Path, installation: Path, *, key: str, arch: str, libc: str, system: str = "linux", threading: str = ""
) -> dict[str, object]:
    """Pack an installation as uv's downloads are, and describe it as uv's catalogue does.

    :param installation: a folder as ``python`` in the archive is to be.
    :param key: as uv names it, such as ``cpython-3.12.9-linux-aarch64-gnu``.
    :returns: the entry of the catalogue.
    """
    file = folder / f"{key}.tar.gz"
    with gzip.open(file, "wb", compresslevel=1) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(installation, "python")
    major, minor, patch = key.split("-")[1].partition("+")[0].split(".")
    return {
        "name": "cpython",
        "arch": {"family": arch, "variant": None},
        "os": system,
        "libc": libc,
        "major": int(major),
        "minor": int(minor),
        "patch": int(patch),
        "prerelease": "",
        "url": file.as_uri(),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "variant": threading or None,
        "build": "20260801",
    }


def write_catalogue(file: Path, entries: dict[str, dict[str, object]]) -> str:
    """Write a catalogue; give its address for ``UV_PYTHON_DOWNLOADS_JSON_URL``."""
    file.write_text(json.dumps(entries), encoding="utf-8")
    return file.as_uri()
