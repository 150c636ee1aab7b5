"""Mutated wheels: in a release of 20 wheels, one is changed at random. The verdicts on the other 19 never change.

``python tests/mutations.py [--runs N] [--seed S] [--seconds T] [--installed SHARE] [--installed-wheels N]`` prints a line
for each run that is wrong, with the seed that repeats it (``--seed S --runs 1``). ``--seed`` also continues an interrupted
series. The mutated wheel must get a verdict too, and no run may show an unexpected exception of the package.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builders import EPOCH, build_wheel, make_record
from checks.objects import make_elf, make_macho, make_pe

#: Wheels of a release; of those the ones with a native file, in releases of the kind ``native``; and the wheels of a
#: release that is also installed and imported.
WHEELS, NATIVE_WHEELS, INSTALLED_WHEELS = 20, 3, 3

#: The share of releases with native files, which take longer to check.
NATIVE_SHARE = 0.3

#: Seconds after which a run counts as hanging.
DEADLINE = 300.0

#: What a run prints about an exception that the package did not expect.
BUGS = re.compile(r"INTERNALERROR|a bug in pytest-wheelcheck|File \".*[/\\]pytest_wheelcheck[/\\].*")

INTERESTING = (
    b"\xff\xfe",
    b"\0",
    b"\n",
    b"\r\n\r\n",
    b"::",
    b"\xed\xa0\x80",
    b"%s%n{0}",
    b"[",
    b"]]",
    b"\x1b[31m",
    b"99999999999999999999",
    b"../",
    b"\xf0\x9f\x90\x8d",
    b"; extra == '",
    b" @ file:///",
    b">=3.8,<",
    b"a" * 5000,
)
NAMES = (
    "x",
    "ä",
    "a b",
    "[x]",
    "x::y",
    "-",
    "con",
    "é",
    "日本",
    "a" * 200,
    "%41",
    "~",
    "$HOME",
    "a;b",
    "!",
    "'",
    "x.py",
    "_",
)
REFERENCES = (
    "",
    ":",
    "a:",
    ":b",
    "a:b:c",
    "a.b.c:d.e",
    "a..b:c",
    "1:2",
    "os:getcwd",
    "p00:main [x]",
    "ä:ö",
    "x" * 3000,
    "a b:c d",
)
HEADERS = (
    "Requires-Dist: p00[",
    "Requires-Dist: x; python_version < '",
    "Requires-Dist: x; sys_platform == 'win32' and (",
    "Requires-Dist: x @ file:///nowhere",
    "Requires-Dist:",
    "Requires-Python: >=",
    "Requires-Python: ==3.*.*",
    "Requires-Python: " + ",".join(f"!=3.{n}" for n in range(300)),
    "Requires-Python: <3",
    "Provides-Extra: [x]",
    "Provides-Extra: \udce9",
    "Name: other",
    "Version: 1!2.post3.dev4+local.5",
    "Version: x",
    "Metadata-Version: 99.9",
    "Classifier: Programming Language :: Python :: 3.999999999999999999999",
    "Description-Content-Type: text/x-rst; charset=\udcff",
    "Description-Content-Type: ;;;",
    "Dynamic: Name",
    "License-File: ../../../etc/passwd",
    "License-Expression: (((",
    "Project-URL: x",
    "Import-Name: p00; private; private",
    "Keywords: " + "x," * 5000,
    "no colon at all",
    " folded",
)
TAGS = (
    "py3-none-any",
    "cp312-cp312-manylinux_2_17_x86_64",
    "cp999-abi3-any",
    "py2.py3-none-any.win32",
    "x-y-z",
    "cp312-cp312t-linux_x86_64",
    "pp311-pypy311_pp73-manylinux_9999_1_x86_64",
    "py3-none-macosx_0_0_arm64",
    "cp3-none-any",
    "py-none-any",
    "cp312-none-win_amd64",
    "CP312-None-ANY",
    "py3-none-manylinux_2_17_ä",
)


class WrongError(Exception):
    """A promise was broken."""


@dataclass(kw_only=True)
class Parts:
    """A wheel before it is written: what the mutations change."""

    filename: str
    members: list[tuple[str, bytes]]
    renew_record: bool = True
    bytes_changes: list[Callable[[bytearray], None]] = field(default_factory=list)

    def find(self, suffix: str) -> int:
        return next((at for at, (name, _) in enumerate(self.members) if name.endswith(suffix)), 0)

    def change(self, at: int, data: bytes) -> None:
        self.members[at] = (self.members[at][0], data)


def build(directory: Path, number: int) -> None:
    """Build one of the wheels. The last three have a native file, one for each system; the others are pure."""
    name = f"p{number:02}"
    files: dict[str, bytes | str] = {
        f"{name}/__init__.py": f"def main():\n    return {number}\n",
        f"{name}/data.txt": "data",
        f"{name}/sub/__init__.py": "",
        f"{name}-1.0.data/scripts/{name}-tool": "#!python\nprint('tool')\n",
    }
    tag = "py3-none-any"
    if number == WHEELS:
        tag = "cp312-cp312-manylinux_2_17_x86_64"
        files[f"{name}/_native.cpython-312-x86_64-linux-gnu.so"] = make_elf(exports=("PyInit__native",))
    elif number == WHEELS + 1:
        tag = "cp312-cp312-win_amd64"
        files[f"{name}/_native.cp312-win_amd64.pyd"] = make_pe(exports=("PyInit__native",))
    elif number == WHEELS + 2:
        tag = "cp312-cp312-macosx_11_0_arm64"
        files[f"{name}/_native.cpython-312-darwin.so"] = make_macho(exports=("PyInit__native",))
    build_wheel(
        directory,
        name,
        files=files,
        tags=(tag,),
        requires_python=">=3.8",
        extras=("more",),
        metadata_extra="Classifier: Programming Language :: Python :: 3.12\nDescription-Content-Type: text/markdown",
        description="A description.\n",
        entry_points={"console_scripts": {f"{name}-cli": f"{name}:main"}},
    )


def scramble(rng: random.Random, data: bytes) -> bytes:
    """Change some bytes of a text or file."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randint(0, len(found))
        choice = rng.randrange(5)
        if choice == 0 and found:
            found[at % len(found)] = rng.randrange(256)
        elif choice == 1:
            found[at:at] = rng.choice(INTERESTING)
        elif choice == 2:
            del found[at : at + rng.randint(1, 40)]
        elif choice == 3:
            found[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 20)))
        else:
            found[at:at] = found[: rng.randint(0, 100)]
    return bytes(found)


def mutate_bytes(rng: random.Random, parts: Parts) -> None:
    def change(data: bytearray) -> None:
        end = len(data)
        # The end of the archive has the structures that readers start from.
        at = rng.randrange(max(end - 200, 0), end) if rng.random() < 0.5 else rng.randrange(end)
        choice = rng.randrange(4)
        if choice == 0:
            data[at] = rng.randrange(256)
        elif choice == 1:
            del data[at:]
        elif choice == 2:
            data[at : at + rng.randint(1, 60)] = bytes(rng.randint(0, 60))
        else:
            data[at:at] = rng.choice(INTERESTING)

    parts.bytes_changes += [change] * rng.choice((1, 1, 1, 3, 20))


def mutate_members(rng: random.Random, parts: Parts) -> None:
    at = rng.randrange(len(parts.members))
    name, data = parts.members[at]
    choice = rng.randrange(7)
    if choice == 0:
        del parts.members[at]
    elif choice == 1:
        parts.members.append((name, scramble(rng, data)))
    elif choice == 2:
        parts.change(at, scramble(rng, data))
    elif choice == 3:
        parts.change(at, b"")
    elif choice == 4:
        parts.members[at] = (f"{name}/{rng.choice(NAMES)}", data)
    elif choice == 5:
        parts.members.append((name.upper(), data))
    else:
        native = rng.choice((b"\x7fELF\2\1\1", b"MZ\x90\0", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"))
        junk = bytes(rng.randrange(256) for _ in range(rng.randint(8, 400)))
        top = parts.filename[:3]
        suffix = rng.choice((".so", ".pyd", ".cpython-312-x86_64-linux-gnu.so", ".dll", ".pth", ""))
        parts.members.append((f"{top}/_junk{suffix}", native + junk))
    parts.renew_record = rng.random() < 0.7


def mutate_metadata(rng: random.Random, parts: Parts) -> None:
    at = parts.find(".dist-info/METADATA")
    data = parts.members[at][1]
    for _ in range(rng.choice((1, 1, 2))):
        if rng.random() < 0.5:
            header = rng.choice(HEADERS).encode("utf-8", "surrogateescape") + b"\n"
            lines = data.splitlines(keepends=True)
            lines.insert(rng.randint(0, min(6, len(lines))), header)
            data = b"".join(lines)
        else:
            data = scramble(rng, data)
    parts.change(at, data)


def mutate_other_files(rng: random.Random, parts: Parts) -> None:
    at = parts.find(rng.choice((".dist-info/WHEEL", ".dist-info/RECORD")))
    parts.change(at, scramble(rng, parts.members[at][1]))
    parts.renew_record = False


def mutate_names(rng: random.Random, parts: Parts) -> None:
    choice = rng.randrange(6)
    stem, _, rest = parts.filename.partition("-")
    version, _, tag = rest.removesuffix(".whl").partition("-")
    if choice == 0:
        parts.filename = f"{stem}-{version}-{rng.choice(TAGS)}.whl"
    elif choice == 1:
        new = rng.choice(("1", "1.0+x_y", "1!1", "01.0", "v1", "1.0.dev", "x", "1.0-1", "1.0\n"))
        parts.filename = f"{stem}-{new}-{tag}.whl"
    elif choice == 2:
        parts.filename = f"{stem}{rng.choice(NAMES)[:100]}-{version}-{tag}.whl".replace("/", "")
    elif choice == 3:
        at = rng.randrange(len(parts.filename) - 4)
        character = rng.choice("-_.:[]*?\\\n\t\udcff%~é ")
        parts.filename = f"{parts.filename[:at]}{character}{parts.filename[at:]}"
    else:
        at = rng.randrange(len(parts.members))
        name, data = parts.members[at]
        first, slash, last = name.rpartition("/")
        new = rng.choice((*NAMES, "..", ".", "a\\b", "C:x", "\x01", "x" * 300, "__init__.py", "_native.so"))
        parts.members[at] = (f"{first}{slash}{new}" if rng.random() < 0.5 else f"{new}/{last}", data)


def mutate_scripts(rng: random.Random, parts: Parts) -> None:
    at = parts.find("-tool")
    name, data = parts.members[at]
    bodies = (
        b"",
        b"#!python",
        b"#!pythonw\nx",
        b"#!/nowhere\n",
        b"\x7fELF" + bytes(60),
        b"MZ",
        b"#!python\nimport os\nos.abort()\n",
    )
    data = rng.choice((*bodies, scramble(rng, data)))
    parts.members[at] = (name.rpartition("/")[0] + "/" + rng.choice((name.rpartition("/")[2], *NAMES)), data)


def mutate_entry_points(rng: random.Random, parts: Parts) -> None:
    at = parts.find(".dist-info/entry_points.txt")
    data = parts.members[at][1]
    group = rng.choice(("console_scripts", "console_scripts", "gui_scripts", "pytest11", "", "a b", "x]"))
    line = f"{rng.choice(NAMES)} = {rng.choice(REFERENCES)}\n"
    more = f"[{group}]\n{line}".encode() if rng.random() < 0.4 else line.encode()
    parts.change(at, scramble(rng, data + more) if rng.random() < 0.4 else data + more)


MUTATIONS = {
    "bytes": mutate_bytes,
    "members": mutate_members,
    "metadata": mutate_metadata,
    "other files": mutate_other_files,
    "names": mutate_names,
    "scripts": mutate_scripts,
    "entry points": mutate_entry_points,
}


def write(directory: Path, parts: Parts) -> Path:
    """Write a mutated wheel. A name that this file system or zipfile refuses is replaced."""
    members = parts.members
    if parts.renew_record:
        at = parts.find(".dist-info/RECORD")
        own = members[at][0]
        record = make_record({name: data for name, data in members if name != own}, own)
        parts.change(at, record.encode("utf-8", "replace"))
    path = directory / parts.filename
    try:
        path.write_bytes(b"")
    except (OSError, ValueError):
        path = directory / "p-1.0-py3-none-any.whl"
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name, date_time=EPOCH)
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data)
    whole = bytearray(path.read_bytes())
    for change in parts.bytes_changes:
        if whole:
            change(whole)
    path.write_bytes(whole)
    return path


def read(path: Path) -> Parts:
    with zipfile.ZipFile(path) as archive:
        return Parts(filename=path.name, members=[(name, archive.read(name)) for name in archive.namelist()])


#: Outcomes of the nodes of one wheel.
Verdict = dict[str, str]


@dataclass(frozen=True)
class Result:
    """The end of a run."""

    status: int
    text: str
    verdicts: dict[str, Verdict]


class Mutations:
    """Runs pytest on mutated releases.

    :param directory: an empty directory.
    :param share: of the runs that also install and import.
    :param installed: number of wheels of a release that is installed.
    """

    def __init__(self, directory: Path, share: float, installed: int = INSTALLED_WHEELS) -> None:
        self.directory = directory
        self.share = share
        self.installed = installed
        self.sound = directory / "sound"
        self._baselines: dict[str, Result] = {}
        for number in range(WHEELS + NATIVE_WHEELS):
            build(self.sound, number)

    def baseline(self, kind: str) -> Result:
        """Return the outcomes of a release without a mutation."""
        if kind not in self._baselines:
            with tempfile.TemporaryDirectory(dir=self.directory) as name:
                for path in self.wheels(kind):
                    shutil.copy(path, name)
                self._baselines[kind] = self.run(Path(name), kind)
        return self._baselines[kind]

    def wheels(self, kind: str) -> list[Path]:
        """Return the wheels of a release of the kind ``pure``, ``native`` or ``installed``."""
        wheels = sorted(self.sound.iterdir())
        if kind == "native":
            return wheels[NATIVE_WHEELS:]
        return wheels[: self.installed if kind == "installed" else WHEELS]

    def once(self, seed: int) -> str:
        """Mutate one wheel and run.

        :returns: what was done.
        :raises WrongError: the other wheels have another outcome, or the run ended in a wrong way.
        """
        rng = random.Random(seed)
        chance = rng.random()
        release_kind = (
            "installed" if chance < self.share else "native" if chance < self.share + NATIVE_SHARE else "pure"
        )
        before = self.baseline(release_kind)
        kind = rng.choice(list(MUTATIONS))
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            release = Path(name)
            paths = self.wheels(release_kind)
            chosen = rng.choice(paths[-NATIVE_WHEELS:] if release_kind == "native" else paths)
            for path in paths:
                if path != chosen:
                    shutil.copy(path, release)
            parts = read(chosen)
            for mutation in (kind, *(rng.choice(list(MUTATIONS)) for _ in range(rng.choice((0, 0, 1))))):
                MUTATIONS[mutation](rng, parts)
            mutated = write(release, parts)
            found = self.run(release, release_kind)
        done = f"{kind}, {release_kind}"
        check(before, found, chosen.name, mutated.name, done)
        return done

    def run(self, release: Path, kind: str) -> Result:
        """Run pytest in a forked process, which does not have to import anything."""
        project = self.directory / "project"
        project.mkdir(exist_ok=True)
        (project / "pytest.ini").write_text("[pytest]\nwheel_test_timeout = 20\n", encoding="utf-8")
        report, log = project / "report.json", project / "log"
        report.unlink(missing_ok=True)
        arguments = ["--wheel", str(release), f"--wheel-report={report}", "-p", "no:cacheprovider", "-q", "--color=no"]
        arguments += ["-p", "no:hypothesispytest", "--assert=plain"]
        arguments += (
            [f"--wheel-python={sys.executable}", "--wheel-jobs=2"] if kind == "installed" else ["--wheel-static"]
        )
        if sys.platform == "win32":
            raise NotImplementedError("the runs are forked")
        pid = os.fork()
        if pid == 0:
            run_forked(project, log, arguments)
        end = time.monotonic() + DEADLINE
        status = 0
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise WrongError("the run hangs")
            time.sleep(0.01)
        status = int((project / "status").read_text(encoding="ascii") or -1)
        text = log.read_text(encoding="utf-8", errors="backslashreplace")
        if not report.exists():
            raise WrongError(f"no report\n{text}")
        wheels = json.loads(report.read_text(encoding="utf-8"))["wheels"]
        return Result(status, text, {wheel["filename"]: verdict(wheel) for wheel in wheels})


def run_forked(project: Path, log: Path, arguments: list[str]) -> None:
    """Run pytest in this process, which is a forked one, and end it."""
    if sys.platform == "win32":
        raise NotImplementedError
    import pytest

    status = -1
    try:
        os.setsid()
        os.chdir(project)
        (project / "status").write_text("", encoding="ascii")
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        status = int(pytest.main(arguments))
    except BaseException:  # noqa: BLE001  the exit status shows it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        (project / "status").write_text(str(status), encoding="ascii")
        os._exit(0)


def verdict(wheel: dict[str, Any]) -> Verdict:
    """Return the outcomes of a wheel's nodes, as the report has them."""
    found: Verdict = {}
    for where, results in (
        ("", wheel["checks"]),
        *((f"{each['name']}::", each["results"]) for each in wheel["targets"]),
    ):
        for result in results:
            found[f"{where}{result['name']}"] = result["outcome"]
    for each in wheel["not_run"]:
        found[each["name"]] = each["outcome"]
    return found


def check(before: Result, found: Result, chosen: str, mutated: str, done: str) -> None:
    """Compare a run with the one before the mutation.

    :raises WrongError: it differs in more than the mutated wheel.
    """
    problems = [f"it shows {bug!r}" for bug in dict.fromkeys(BUGS.findall(found.text))]
    if found.status not in {0, 1}:
        problems.append(f"exit status {found.status}")
    if not found.verdicts.get(mutated):
        problems.append(f"no verdict on {mutated!r}")
    for name, outcomes in before.verdicts.items():
        if name != chosen and found.verdicts.get(name) != outcomes:
            now = found.verdicts.get(name, {})
            changed = {key: now.get(key) for key in {*now, *outcomes} if now.get(key) != outcomes.get(key)}
            problems.append(f"{name} changed: {dict(list(changed.items())[:5])}")
    bad = any(outcome in {"failed", "error"} for each in found.verdicts.values() for outcome in each.values())
    if found.status in {0, 1} and bad != bool(found.status):
        problems.append(f"exit status {found.status}, although {'a node' if bad else 'no node'} failed")
    if problems:
        raise WrongError(f"{done} of {mutated!r}: {'; '.join(problems)}\n{found.text}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; each following run has the next number")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no run after this time")
    parser.add_argument("--installed", type=float, default=0.03, help="share of runs that install and import")
    parser.add_argument(
        "--installed-wheels",
        type=int,
        default=INSTALLED_WHEELS,
        choices=range(2, WHEELS + 1),
        metavar="N",
        help=f"wheels of a release that is installed (default {INSTALLED_WHEELS}, at most {WHEELS})",
    )
    parser.add_argument("--log", type=Path, help="directory for the output of wrong runs")
    given = parser.parse_args()
    # The forked runs do not have to import these.
    for module in ("pytest_timeout", "xdist.plugin"):
        importlib.import_module(module)
    import pytest_wheelcheck.plugin.run  # noqa: F401

    wrong: list[int] = []
    counts: Counter[str] = Counter()
    start = time.monotonic()
    seed = given.seed
    with tempfile.TemporaryDirectory(prefix="mutations-") as name:
        mutations = Mutations(Path(name).resolve(), given.installed, given.installed_wheels)
        while seed < given.seed + given.runs and time.monotonic() - start < given.seconds:
            try:
                counts[mutations.once(seed)] += 1
            except WrongError as error:
                wrong.append(seed)
                print(f"seed {seed}: {str(error).partition(chr(10))[0]}", flush=True)
                if given.log:
                    given.log.mkdir(parents=True, exist_ok=True)
                    (given.log / f"{seed}.txt").write_text(str(error), encoding="utf-8", errors="backslashreplace")
            seed += 1
            if (seed - given.seed) % 50 == 0:
                print(f"{seed - given.seed} runs, {time.monotonic() - start:.0f} s; next seed {seed}", flush=True)
    done = seed - given.seed
    print(f"{done} runs from seed {given.seed} in {time.monotonic() - start:.0f} s, {len(wrong)} wrong {wrong or ''}")
    for what, count in sorted(counts.items()):
        print(f"  {count:4} {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
