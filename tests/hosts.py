"""Install the plugin on fresh hosts, and test published wheels on every interpreter that ``wheelcheck doctor`` lists there.

    python tests/hosts.py [--suite NAME]… [--condition NAME]… [--platform NAME]… [--project NAME]… [--state DIR] [--report FILE]

A host is a root file system that debootstrap made, with ``python3`` and ``venv`` and nothing else, used by an unprivileged
user. Each suite of Debian is one host; each condition (no apt, no user namespaces, a full disk, …) is a further host, of the
newest stable suite. On each, the plugin's wheel is installed from the package index, ``wheelcheck doctor --json`` lists its
interpreters, and pytest tests the wheels of ``hosts.toml``. A host fails if

- an interpreter that doctor lists has no passed target, or a target of it does not pass;
- the output has a traceback of ours, or a listing of one of our scripts.

Where the condition takes away what a run needs, doctor may list less; what it lists must work all the same.

Needs root, debootstrap, and about 3 GB in the state directory. Exits with 1 if a host fails.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus import Listed, fetch, read_list

from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.system import cache

LIST = Path(__file__).with_name("hosts.toml")

#: The suites, and the one that has the conditions.
SUITES = ("bookworm", "trixie", "forky")
USUAL = "trixie"

#: The unprivileged user of a host.
USER = 1000

#: The platforms that the hosts are tested with under a condition: native, emulated, another libc, another system.
FEW = ("linux-x86_64", "linux-aarch64", "musllinux-x86_64", "win_amd64")

#: What no output of ours may contain: our own traceback, a warning at a line of ours, or lines of a script that we pass to
#: an interpreter.
EMBARRASSING = re.compile(
    r"^Traceback \(most recent call last\)|INTERNALERROR|^\s*(?:import|from) \w+(?:, \w+)*$"
    r"|pytest_wheelcheck/\S+\.py:\d+: \w*Warning: .*",
    re.MULTILINE,
)

#: Answers every request, also one for a tunnel, as an overloaded proxy does.
PROXY = """
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        self.send_error(503)
    do_GET = do_HEAD = do_POST = do_CONNECT = answer
    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", 8503), Handler).serve_forever()
"""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is special about a host.

    :param tmp: options of the mount of ``/tmp``.
    :param disk: size of the disk that the user can write to; empty for the state directory's.
    :param home: the user's home directory.
    :param env: further variables.
    :param prepare: shell commands that root runs in the new root.
    :param begin: shell commands that the user runs after the installation.
    :param network: without it, everything runs once with the network, and then without it.
    :param user_namespaces: whether the user may make some.
    """

    tmp: str = "mode=1777"
    disk: str = ""
    home: str = "/home/user"
    env: dict[str, str] = field(default_factory=dict)
    prepare: str = ""
    begin: str = ""
    network: bool = True
    user_namespaces: bool = True


CONDITIONS = {
    "no apt": Condition(prepare="rm /usr/bin/apt* /usr/bin/dpkg*"),
    "no user namespaces": Condition(user_namespaces=False),
    "LANG=C": Condition(env={"LANG": "C", "LC_ALL": "C"}),
    "umask 077": Condition(begin="umask 077"),
    "a home with spaces and umlauts": Condition(home="/home/Jürgen Über Spaß"),
    "an unwritable home": Condition(prepare="chown root:root /home/user; chmod 755 /home/user"),
    "/tmp mounted noexec": Condition(tmp="mode=1777,noexec"),
    "512 MB of free disk": Condition(disk="512m"),
    "no network, warm cache": Condition(network=False),
    "a proxy that answers 503": Condition(
        begin="python3 /input/proxy.py & proxy=$!; sleep 1",
        env=dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:8503"),
    ),
}

#: Root's part. $1: the suite's root; $2: an empty directory; $3: input; $4: results. The rest: see the conditions.
MOUNTS = """
set -e
[ -z "$DISK" ] || mount -t tmpfs -o "size=$DISK" tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
root="$2/root"
mkdir -p "$root/input" "$root/results" "$root$USER_HOME" "$root/opt/venv"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o "$TMP" tmpfs "$root/tmp"
mount --bind "$3" "$root/input"
mount --bind "$4" "$root/results"
cp /etc/resolv.conf "$root/etc/resolv.conf"
[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/pip.conf"
mkdir -p "$root/etc/ssl/certs"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
echo "user:x:1000:1000::$USER_HOME:/bin/sh" >> "$root/etc/passwd"
chown 1000:1000 "$root$USER_HOME" "$root/opt/venv" "$4"
chroot "$root" /bin/sh -c "$PREPARE"
# Not chroot, in which the kernel admits no user namespaces.
mkdir "$root/outside"
cd "$root"
pivot_root . outside
umount -l outside
user="setpriv --reuid=1000 --regid=1000 --clear-groups"
if [ -n "$NO_USER_NAMESPACES" ]; then
    # The user namespace that the host's programs are in admits no further one. A map needs a process outside.
    mkfifo /tmp/mapped
    unshare --user sh -c 'read mapped < /tmp/mapped; echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"' sh \\
        $user /bin/sh /input/session.sh &
    own=$(readlink "/proc/$$/ns/user")
    while [ "$(readlink "/proc/$!/ns/user")" = "$own" ]; do sleep 0.1; done
    echo "0 0 65536" > "/proc/$!/uid_map"
    echo "0 0 65536" > "/proc/$!/gid_map"
    echo mapped > /tmp/mapped
    wait $!
    exit
fi
if [ -n "$NO_NETWORK" ]; then
    SUFFIX=-warm $user /bin/sh /input/session.sh
    OFFLINE=1 exec unshare --net $user /bin/sh /input/session.sh
fi
exec $user /bin/sh /input/session.sh
"""

#: The user's part: installation, and for each directory of wheels doctor and a run.
SESSION = """
cd "$HOME" 2>/dev/null || cd /
[ -e /opt/venv/wheelcheck/bin/wheelcheck ] || {{
    python3 -m venv /opt/venv/wheelcheck && /opt/venv/wheelcheck/bin/pip install --quiet /input/own/*.whl
}} > /results/install.log 2>&1 || exit 3
mkdir -p /opt/venv/work && cd /opt/venv/work || exit 3
look() {{
    for wheels in /input/wheels/*; do
        name=$(basename "$wheels")
        /opt/venv/wheelcheck/bin/wheelcheck doctor --json "${{name#linux-}}" ${{OFFLINE:+--offline}} \\
            > "/results/$name$SUFFIX.doctor" 2> "/results/$name$SUFFIX.doctor.log"
        begin=$(date +%s)
        /opt/venv/wheelcheck/bin/python -m pytest -v -p no:cacheprovider "--wheel=$wheels" \\
            --wheel-python=all ${{OFFLINE:+--wheel-offline}} \\
            "--wheel-report=/results/$name$SUFFIX.json" > "/results/$name$SUFFIX.log" 2>&1
        echo $? $(($(date +%s) - begin)) > "/results/$name$SUFFIX.status"
    done
}}
{begin}
look
[ -z "$proxy" ] || kill "$proxy"
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one host.

    :param listed: number of pairs of platform and interpreter that doctor lists.
    :param worked: number of those with passed targets only.
    :param problems: one line each.
    :param platforms: what was run on each platform, one line each.
    """

    suite: str
    condition: str
    seconds: float
    listed: int = 0
    worked: int = 0
    problems: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """What the host is."""
        return f"{self.suite}, {self.condition}" if self.condition else self.suite


def make_root(suite: str, state: Path) -> Path:
    """Return the root of a suite, made by debootstrap from the mirror of this host."""
    root = state / suite
    if (root / "etc/debian_version").exists() and not (root / "debootstrap").exists():
        return root
    repository = apt.host_repository()
    if repository is None or repository.distribution != "debian":
        raise SystemExit("this host has no repository of Debian")
    shutil.rmtree(root, ignore_errors=True)
    keys = [f"--keyring={repository.signed_by}"] if repository.signed_by.startswith("/") else []
    scripts = Path("/usr/share/debootstrap/scripts")
    # An older debootstrap does not know the names of newer suites.
    script = [] if (scripts / suite).exists() else [str(scripts / "sid")]
    argv = ["debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", *keys]
    subprocess.run([*argv, suite, str(root), repository.uri, *script], check=True, stdout=subprocess.DEVNULL)
    # The mirror may be a snapshot, whose lists of the newest suites have expired.
    (root / "etc/apt/apt.conf.d/snapshot").write_text('Acquire::Check-Valid-Until "false";\n', encoding="ascii")
    return root


def directory_of(listed: Listed) -> str:
    """The platform of a wheel as doctor names it."""
    tag = listed.file.removesuffix(".whl").split("-")[-1].split(".")[0]
    match = re.fullmatch(r"(many|musl)linux(?:\d{1,4})?_(?:\d+_\d+_)?(\w+)", tag)
    return f"{'musl' if match[1] == 'musl' else ''}linux-{match[2]}" if match else tag


def sort_wheels(wheels: Iterable[Listed], downloads: Path, directory: Path) -> None:
    """Link the wheels into one directory for each platform."""
    for listed in wheels:
        name = directory_of(listed)
        (directory / name).mkdir(parents=True, exist_ok=True)
        os.link(downloads / listed.file, directory / name / listed.file)


def run_host(
    suite: str,
    name: str,
    condition: Condition,
    state: Path,
    own: Path,
    *,
    platforms: Sequence[str],
    projects: Sequence[str],
) -> Outcome:
    start = time.monotonic()
    root = make_root(suite, state)
    results = state / "results" / f"{suite} {name}".strip().replace("/", "")
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    made = tempfile.mkdtemp(dir=state)
    try:
        inside, upper = Path(made, "input"), Path(made, "upper")
        (inside / "own").mkdir(parents=True)
        upper.mkdir()
        Path(made).chmod(0o755)
        shutil.copy(own, inside / "own")
        projects = projects or (("markupsafe",) if name else ())
        wheels = [listed for listed in read_list(LIST) if not projects or listed.name in projects]
        downloads = cache.root() / "hosts"
        wanted = [one for one in wheels if not platforms or directory_of(one) in platforms]
        fetch(wanted, downloads)
        sort_wheels(wanted, downloads, inside / "wheels")
        (inside / "proxy.py").write_text(PROXY, encoding="utf-8")
        # After the installation: the proxy is for the programs under test.
        exports = "".join(f"export {key}='{value}'\n" for key, value in condition.env.items())
        session = SESSION.format(begin=exports + condition.begin)
        (inside / "session.sh").write_text(session, encoding="utf-8")
        # The index and the certificates as this host is configured; see docs/emulation.md.
        passed = {
            key: value
            for key, value in os.environ.items()
            if key.startswith(("PIP_", "UV_", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")) and "FIND_LINKS" not in key
        }
        own_env = {
            "HOME": condition.home,
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            "USER_HOME": condition.home,
            "TMP": condition.tmp,
            "DISK": condition.disk,
            "PREPARE": condition.prepare or "true",
            "NO_NETWORK": "" if condition.network else "1",
            "NO_USER_NAMESPACES": "" if condition.user_namespaces else "1",
        }
        argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", MOUNTS, "sh"]
        ended = subprocess.run(
            [*argv, str(root), str(upper), str(inside), str(results)],
            env={**passed, **own_env},
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3 * 3600,
        )
        (results / "session.log").write_text(ended.stdout + ended.stderr, encoding="utf-8")
    finally:
        # Gigabytes: the next host does not wait for it.
        subprocess.Popen(["rm", "-rf", made])
    listed, worked, problems = judge(results)
    if ended.returncode not in {0, 1} and not listed:
        problems.insert(0, f"the session ended with exit status {ended.returncode}, see session.log and install.log")
    return Outcome(
        suite=suite,
        condition=name,
        seconds=time.monotonic() - start,
        listed=listed,
        worked=worked,
        problems=tuple(problems),
        platforms=tuple(platform_lines(results)),
    )


def judge(results: Path) -> tuple[int, int, list[str]]:
    """Compare what doctor lists with what passed; look for what users must not see."""
    problems: list[str] = []
    doctor = [row for file in sorted(results.glob("*.doctor")) for row in read_doctor(file, problems)]
    listed = worked = 0
    problems += [
        f"{file.stem}: the session ended before the run did"
        for file in sorted(results.glob("*.doctor"))
        if not file.stem.endswith("-warm") and not file.with_suffix(".status").exists()
    ]
    for row in doctor:
        # Doctor describes further platforms, and not each host has wheels for all of them.
        if not (results / f"{row['platform']}.status").exists():
            continue
        try:
            wheels = json.loads((results / f"{row['platform']}.json").read_text(encoding="utf-8"))["wheels"]
        except (OSError, ValueError):
            problems.append(f"{row['platform']}: the run wrote no report")
            continue
        targets, admitted = list(targets_of(wheels)), interpreters_of(wheels)
        # Of those that are fetched, it promises none if it says that the disk has no room for all.
        # Published wheels for PyPy have the ABI pp73, which PyPy 8 has no more.
        promised = [entry for entry in row["interpreters"] if entry["fits"] and not entry["how"].startswith("PyPy 8.")]
        for interpreter in (entry["interpreter"] for entry in promised):
            if interpreter not in admitted:
                continue
            own = [bad for name, bad in targets if name == interpreter]
            listed += 1
            worked += bool(own) and not any(own)
            if not own:
                problems.append(f"{row['platform']} {interpreter}: doctor lists it, and no wheel ran on it")
            problems += [f"{row['platform']} {interpreter}: {bad}" for bad in dict.fromkeys(filter(None, own))]
    for log in sorted(results.glob("*.log")):
        if log.name != "install.log" and (
            match := EMBARRASSING.search(log.read_text(encoding="utf-8", errors="replace"))
        ):
            problems.append(f"{log.name}: the output has {match[0].strip()!r}")
    return listed, worked, problems


def read_doctor(file: Path, problems: list[str]) -> list[dict[str, Any]]:
    """Read what doctor wrote; not that of a warm-up, after which the network is taken away."""
    try:
        rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        problems.append(f"{file.stem}: doctor wrote no JSON: {first_line(Path(f'{file}.log'))}")
        return []
    return [] if file.stem.endswith("-warm") else rows


def platform_lines(results: Path) -> Iterator[str]:
    """Describe each run: the interpreters with the number of targets that passed, the outcomes of all nodes, the time."""
    for status in sorted(results.glob("*.status")):
        try:
            wheels = json.loads(status.with_suffix(".json").read_text(encoding="utf-8"))["wheels"]
        except (OSError, ValueError):
            continue
        found: dict[str, list[bool]] = collections.defaultdict(list)
        for interpreter, bad in targets_of(wheels):
            found[interpreter].append(not bad)
        shown = ", ".join(f"{name} {sum(passed)}/{len(passed)}" for name, passed in sorted(found.items(), key=order))
        nodes = collections.Counter(
            result["outcome"]
            for wheel in wheels
            for results_of in (wheel["checks"], *(target["results"] for target in wheel["targets"]))
            for result in results_of
        )
        counts = ", ".join(f"{nodes[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped", "error"))
        seconds = int(status.read_text(encoding="ascii").split()[-1])
        yield f"{status.stem}: {shown or 'no target'}; {counts}; {seconds / 60:.1f} min"


def order(item: tuple[str, object]) -> tuple[str, int]:
    """Sort cp39 before cp310."""
    match = re.fullmatch(r"(\D+)3(\d+)t?", item[0])
    return (match[1], int(match[2])) if match else (item[0], 0)


def interpreters_of(wheels: Sequence[dict[str, Any]]) -> frozenset[str]:
    """The interpreters that a run had wheels for, as doctor names them: not every release has wheels for all."""
    tags = (tag.split("-") for wheel in wheels for tag in wheel["tags"])
    return frozenset(f"{python}t" if abi.endswith("t") else python for python, abi, _ in tags)


def targets_of(wheels: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The interpreter of each target of a run, and its first failure."""
    for wheel in wheels:
        for target in wheel["targets"]:
            bad = next((one for one in target["results"] if one["outcome"] in {"failed", "error"}), None)
            yield target["interpreter"], f"{bad['name']}: {bad['text'].partition(chr(10))[0]}" if bad else ""


def first_line(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else ""
    return text.splitlines()[-1] if text else "no output"


def table(outcomes: Iterable[Outcome]) -> str:
    """The results as a Markdown table."""
    heads = ("host", "interpreters that doctor lists", "of these, all wheels pass", "minutes", "problems")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for one in outcomes:
        grouped = collections.Counter(re.sub(r"^\S+ cp\w+: ", "", problem) for problem in one.problems)
        problems = "; ".join(f"{text} ({count})" if count > 1 else text for text, count in grouped.items())
        lines.append(f"| {one.host} | {one.listed} | {one.worked} | {one.seconds / 60:.1f} | {problems or 'none'} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", action="append", choices=SUITES)
    parser.add_argument("--condition", action="append", choices=CONDITIONS)
    parser.add_argument("--platform", action="append", default=[])
    parser.add_argument("--project", action="append", default=[], help="of hosts.toml; of the conditions: markupsafe")
    parser.add_argument("--state", type=Path, default=Path(tempfile.gettempdir(), "wheelcheck-hosts"))
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    # As an exception, it ends the host's programs, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if (
        sys.platform != "linux"
        or platform.machine() != "x86_64"
        or os.geteuid() != 0
        or not shutil.which("debootstrap")
    ):
        print("needs root and debootstrap on x86-64 Linux", file=sys.stderr)
        return 2
    state = args.state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    import uv

    project = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as built:
        subprocess.run([uv.find_uv_bin(), "-q", "build", "--wheel", "-o", built, project], check=True)
        (own,) = Path(built).glob("*.whl")
        everything = not args.suite and not args.condition
        chosen = [(suite, "", Condition()) for suite in args.suite or (SUITES if everything else ())]
        names = args.condition or (CONDITIONS if everything else ())
        chosen += [(USUAL, name, CONDITIONS[name]) for name in names]
        outcomes = []
        for suite, name, condition in chosen:
            platforms = args.platform or (FEW if name else ())
            outcomes.append(run_host(suite, name, condition, state, own, platforms=platforms, projects=args.project))
            print(table(outcomes[-1:]).splitlines()[-1], flush=True)
    text = table(outcomes)
    for one in outcomes:
        text += f"\n\n{one.host}: targets that passed on each interpreter, outcomes of all nodes, time\n\n"
        text += "\n".join(f"- {line}" for line in one.platforms)
    print(text)
    if args.report:
        args.report.write_text(f"{text}\n", encoding="utf-8")
    return 1 if any(one.problems for one in outcomes) else 0


if __name__ == "__main__":
    raise SystemExit(main())
