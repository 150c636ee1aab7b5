"""Which targets a wheel gets, and the reasons for those it does not get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from packaging.tags import parse_tag

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.backends.native import NativeBackend
from pytest_wheelcheck.errors import RuntimeUnavailableError, UsageError
from pytest_wheelcheck.interpreters import base, tags
from pytest_wheelcheck.interpreters.base import Answer, Offer, Provider, Request, Starter
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Installation, Outcome, Platform, Wheel
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.targets.planning import plan
from pytest_wheelcheck.targets.planning.specs import Interpreter, parse_specs
from pytest_wheelcheck.targets.target import NoTarget, Target

LINUX = Platform(system="linux", architecture="x86_64", libc="glibc")
MUSL = Platform(system="linux", architecture="x86_64", libc="musl")
ARM = Platform(system="linux", architecture="aarch64", libc="glibc")
MAC = Platform(system="darwin", architecture="arm64")


def a_wheel(tag: str, *, requires_python: str | None = None) -> Wheel:
    path = Path(f"dist/pkg-1.0-{tag}.whl")
    return Wheel(
        path=path,
        shown=str(path),
        source=path,
        sha256="",
        size=0,
        name="pkg",
        version="1.0",
        build="",
        tags=tuple(sorted(parse_tag(tag), key=str)),
        dist_info="pkg-1.0.dist-info",
        requires_python=requires_python,
        requires=(),
        extras=(),
        console_scripts=(),
        files=(),
        scripts=(),
        binaries=(),
    )


def an_offer(
    name: str,
    platform: Platform = LINUX,
    *,
    libc: tuple[int, int] = (2, 36),
    provider: str = "host",
    micro: int = 5,
    assembled: bool = False,
) -> Offer:
    pypy = name.startswith("pypy")
    number = name.removeprefix("pypy")
    version = (3, int(number.removeprefix("3.").removesuffix("t")), micro)
    implementation = "pypy" if pypy else "cpython"
    return Offer(
        provider=provider,
        implementation=implementation,
        version=version,
        free_threaded=name.endswith("t"),
        platform=platform,
        libc_version=libc,
        tags=tags.accepted(
            implementation=implementation,
            version=version,
            free_threaded=name.endswith("t"),
            system=platform.system,
            architecture=platform.architecture,
            libc=platform.libc,
            libc_version=libc,
            system_version=(14, 0),
        ),
        how="a fake",
        key=f"/{provider}/{name}.{micro}-{platform.architecture}-{platform.libc}",
        assembled=assembled,
    )


@dataclass
class Fake:
    """A provider of what it is told."""

    has: Sequence[Offer] = ()
    reason: str = ""
    name: str = "host"
    paths: dict[Path, Offer] = field(default_factory=dict)
    broken: bool = False
    made: list[Offer] = field(default_factory=list)
    slow: bool = False
    asked: int = 0

    def costly(self, request: Request) -> bool:  # noqa: ARG002
        return self.slow

    def offers(self, request: Request) -> Answer:
        self.asked += 1
        if request.python is not None:
            if request.python not in self.paths:
                return Answer.of(reason=f"there is no interpreter at {request.python}")
            offer = self.paths[request.python]
            return Answer.of([offer] if base.fits(offer.platform, request.platform) else [])
        return Answer.of((o for o in self.has if base.fits(o.platform, request.platform)), reason=self.reason)

    def parts(self, offer: Offer) -> tuple[Part, ...]:  # noqa: ARG002 — part of the protocol
        return ()

    def get(self, offer: Offer, starter: Starter) -> Installation:  # noqa: ARG002
        self.made.append(offer)
        if self.broken:
            raise RuntimeUnavailableError("the network is down", fix="try again")
        return offer.installation(Path(offer.key), library=Path(offer.key).parent)


@dataclass(frozen=True, slots=True)
class RunsEverything(NativeBackend):
    """A backend for interpreters of every platform, none of which is started."""

    def covers(self, platform: Platform) -> bool:  # noqa: ARG002
        return True

    def accepts(self, offer: Offer) -> str:  # noqa: ARG002
        return ""


def catalog(*providers: Provider) -> Catalog:
    return Catalog(lambda _: providers, [RunsEverything()])


def some(*names: str) -> Fake:
    return Fake([an_offer(name) for name in names])


def run(
    wheel: str | Wheel, specs: str = "auto", *providers: Fake, host: Platform = LINUX
) -> tuple[list[str], list[tuple[Outcome, str]]]:
    one = wheel if isinstance(wheel, Wheel) else a_wheel(wheel)
    found, without = plan.plan([one], [specs], catalog(*providers), host=host)
    return [target.name for target in found], [(item.outcome, item.reason) for item in without]


HOST = ("3.9", "3.10", "3.11", "3.13", "3.14t", "pypy3.11")


@pytest.mark.parametrize(
    ("tag", "specs", "names"),
    [
        ("cp311-cp311-manylinux2014_x86_64", "auto", ["cp311-linux-x86_64"]),
        ("cp311-cp311-manylinux2014_x86_64", "all", ["cp311-linux-x86_64"]),
        ("cp310-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64", "auto", ["cp310-linux-x86_64", "cp313-linux-x86_64"]),
        ("cp38-abi3-linux_x86_64", "auto", ["cp39-linux-x86_64", "cp313-linux-x86_64"]),
        (
            "cp310-abi3-manylinux2014_x86_64",
            "all",
            ["cp310-linux-x86_64", "cp311-linux-x86_64", "cp313-linux-x86_64"],
        ),
        ("cp310-abi3-manylinux2014_x86_64", "3.11", ["cp311-linux-x86_64"]),
        ("cp310-abi3-manylinux2014_x86_64", "3.13,3.11", ["cp311-linux-x86_64", "cp313-linux-x86_64"]),
        ("py3-none-any", "auto", ["cp39-linux-x86_64", "cp313-linux-x86_64"]),
        ("py2.py3-none-any", "pypy3.11", ["pp311-linux-x86_64"]),
        ("py3-none-any", "cp314t", ["cp314t-linux-x86_64"]),
        ("py3-none-manylinux2014_x86_64", "3.10", ["cp310-linux-x86_64"]),
        ("cp314-cp314t-manylinux_2_28_x86_64", "auto", ["cp314t-linux-x86_64"]),
        ("pp311-pypy311_pp73-manylinux2014_x86_64", "auto", ["pp311-linux-x86_64"]),
        ("cp311.cp313-none-manylinux2014_x86_64", "auto", ["cp311-linux-x86_64", "cp313-linux-x86_64"]),
    ],
)
def test_targets(tag: str, specs: str, names: list[str]) -> None:
    assert run(tag, specs, some(*HOST)) == (names, [])


def test_every_requested_interpreter_has_a_node() -> None:
    """An interpreter that a wheel is not for is skipped with the reason, also if the wheel runs on another one."""
    wheel = a_wheel("cp310-abi3-manylinux2014_x86_64")
    found, without = plan.plan([wheel], ["3.11,3.14t,3.8,pypy3.11,3.13"], catalog(some(*HOST)), host=LINUX)
    assert [target.name for target in found] == ["cp311-linux-x86_64", "cp313-linux-x86_64"]
    needs = "needs CPython 3.10 or newer, but"
    assert {problem.name: (problem.outcome, problem.reason) for problem in without} == {
        "cp314t-linux-x86_64": (
            Outcome.SKIPPED,
            f"{needs} a free-threaded CPython 3.14 (cp314t) was requested: abi3 is not for free-threaded CPython",
        ),
        "cp38-linux-x86_64": (Outcome.SKIPPED, f"{needs} CPython 3.8 was requested"),
        "pp311-linux-x86_64": (Outcome.SKIPPED, f"{needs} PyPy 3.11 was requested: abi3 is for CPython only"),
    }


def test_a_requested_interpreter_that_is_too_old_for_us_is_an_error() -> None:
    """The wheel is for it, so it should have been checked."""
    names, problems = run("py3-none-any", "3.11,3.8", some(*HOST))
    assert names == ["cp311-linux-x86_64"]
    assert problems == [
        (Outcome.ERROR, "CPython 3.8 was requested, but the oldest supported version is 3.9"),
    ]


def test_every_requested_interpreter_of_a_platform_that_is_missing_has_a_node() -> None:
    _, without = plan.plan([a_wheel("py3-none-macosx_11_0_arm64")], ["3.12,3.13"], catalog(some("3.12")), host=LINUX)
    assert [(problem.name, problem.reason) for problem in without] == [
        ("cp312-macosx-arm64", "needs macOS"),
        ("cp313-macosx-arm64", "needs macOS"),
    ]


@pytest.mark.parametrize(
    ("real", "assembled", "names"),
    [
        (("3.11", "3.14"), ("3.15",), ["cp311", "cp314"]),
        # A gap of two versions would be a loss.
        (("3.11", "3.13"), ("3.15",), ["cp311", "cp315"]),
        (("3.11", "3.15"), ("3.14",), ["cp311", "cp315"]),
        (("3.15",), ("3.11", "3.14", "3.15"), ["cp311", "cp315"]),
    ],
)
def test_auto_prefers_a_distributors_interpreter_to_an_assembled_newer_one(
    real: Sequence[str], assembled: Sequence[str], names: Sequence[str]
) -> None:
    host = Fake([an_offer(name) for name in real])
    offers = [an_offer(name, provider="published", assembled=True) for name in assembled]
    published = Fake([replace(offer, rank=3) for offer in offers], name="published")
    found, without = plan.plan([a_wheel("cp39-abi3-linux_x86_64")], [], catalog(published, host), host=LINUX)
    assert [target.runtime.interpreter for target in found] == names
    assert not without
    # A request by name is a request.
    for name in assembled:
        found, _ = plan.plan([a_wheel("py3-none-any")], [name], catalog(published, host), host=LINUX)
        assert [target.runtime.installation.assembled for target in found] == [name not in real]


def unresolved_before(minor: int) -> tuple[list[str], Callable[[Wheel, Runtime], str]]:
    """Return what was asked, and a function that finds no dependencies for versions from *minor* on."""
    asked: list[str] = []

    def unresolved(wheel: Wheel, runtime: Runtime) -> str:
        asked.append(runtime.interpreter)
        return "" if runtime.installation.version[1] < minor else "dependency has no wheel"

    return asked, unresolved


def test_the_newest_interpreter_is_passed_over_if_the_dependencies_have_no_wheels_for_it() -> None:
    wheel, host = a_wheel("cp39-abi3-linux_x86_64"), some("3.9", "3.11", "3.13", "3.14")
    asked, unresolved = unresolved_before(13)
    found, without = plan.plan([wheel], [], catalog(host), host=LINUX, unresolved=unresolved)
    assert [target.runtime.interpreter for target in found] == ["cp39", "cp311"]
    assert asked == ["cp314", "cp39", "cp313", "cp311"]
    used, why = "CPython 3.11 is used instead of", "dependency has no wheel"
    assert [(problem.name, problem.outcome, problem.reason) for problem in without] == [
        ("cp314-linux-x86_64", Outcome.SKIPPED, f"{used} CPython 3.14: {why}"),
        ("cp313-linux-x86_64", Outcome.SKIPPED, f"{used} CPython 3.13: {why}"),
    ]
    # Down to the oldest one, which is then the only target.
    found, _ = plan.plan([wheel], [], catalog(host), host=LINUX, unresolved=unresolved_before(10)[1])
    assert [target.runtime.interpreter for target in found] == ["cp39"]


@pytest.mark.parametrize(("specs", "minor"), [("auto", 9), ("3.14", 13), ("auto,3.14", 13), ("all", 13)])
def test_nothing_is_passed_over_that_the_user_named_or_that_nothing_replaces(specs: str, minor: int) -> None:
    """The installation of the wheel fails there, and shows the reason."""
    host = some("3.9", "3.11", "3.14")
    wheel = a_wheel("cp39-abi3-linux_x86_64")
    found, without = plan.plan([wheel], [specs], catalog(host), host=LINUX, unresolved=unresolved_before(minor)[1])
    assert found[-1].runtime.interpreter == "cp314"
    assert not without


def test_all_is_every_kind() -> None:
    names, problems = run("py3-none-any", "all", some(*HOST))
    assert names == [f"{name}-linux-x86_64" for name in ("cp39", "cp310", "cp311", "pp311", "cp313", "cp314t")]
    assert not problems


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("cp311-cp311-macosx_11_0_arm64", "needs macOS"),
        ("cp311-abi3-macosx_10_9_universal2", "needs macOS"),
        ("cp311-cp311-win_amd64", "needs Windows"),
        ("cp311-cp311-win32", "needs Windows"),
        ("cp311-cp311-manylinux2014_aarch64", "needs aarch64"),
        ("cp311-cp311-linux_armv7l", "needs armv7l"),
        ("cp311-cp311-musllinux_1_2_x86_64", "needs musl libc"),
        ("cp311-cp311-musllinux_1_2_aarch64", "needs aarch64 with musl libc"),
        ("cp313-cp313-ios_13_0_arm64_iphoneos", "needs iOS"),
        ("cp312-cp312-manylinux2014_x86_64", "needs CPython 3.12, but only 3.11 and 3.13 were found"),
        (
            "cp314-cp314t-manylinux2014_x86_64",
            "needs a free-threaded CPython 3.14 (cp314t), but only 3.11 and 3.13 were found",
        ),
        ("pp310-pypy310_pp73-manylinux2014_x86_64", "needs PyPy 3.10, but only 3.11 and 3.13 were found"),
        ("cp314-abi3-manylinux2014_x86_64", "needs CPython 3.14 or newer, but only 3.11 and 3.13 were found"),
        (
            "cp311-cp311-manylinux_2_39_x86_64",
            "needs glibc 2.39 or newer, but the available interpreters have at most glibc 2.36",
        ),
        ("cp38-cp38-manylinux2014_x86_64", "needs CPython 3.8, but the oldest supported version is 3.9"),
        ("cp27-cp27mu-manylinux1_x86_64", "needs an interpreter that accepts cp27-cp27mu-manylinux1_x86_64"),
    ],
)
def test_reasons(tag: str, reason: str) -> None:
    names, ((outcome, told),) = run(tag, "auto", some("3.11", "3.13"))
    assert names == []
    assert outcome is Outcome.SKIPPED
    assert told == reason if "accepts" not in reason else told.startswith(reason)


def test_on_a_mac() -> None:
    mac = Fake([an_offer("3.12", MAC, libc=(0, 0))])
    assert run("cp312-cp312-macosx_10_13_universal2", "auto", mac, host=MAC) == (["cp312-macosx-arm64"], [])
    assert run("cp312-cp312-macosx_15_0_arm64", "auto", mac, host=MAC) == (
        [],
        [(Outcome.SKIPPED, "needs macOS 15.0 or newer, but this host has 14.0")],
    )
    assert run("cp312-cp312-manylinux2014_x86_64", "auto", mac, host=MAC)[1] == [(Outcome.SKIPPED, "needs Linux")]
    assert run("cp312-cp312-macosx_10_9_x86_64", "auto", mac, host=MAC)[1] == [(Outcome.SKIPPED, "needs x86_64")]


def test_a_provider_that_explains_itself() -> None:
    silent = some("3.11")
    debian = Fake(name="debian", reason="QEMU is missing: install qemu-user")
    _, problems = run("cp311-cp311-manylinux2014_aarch64", "auto", silent, debian)
    assert problems == [(Outcome.SKIPPED, "needs aarch64 (debian: QEMU is missing: install qemu-user)")]


def test_each_platform_of_a_wheel_counts() -> None:
    tag = "cp311-cp311-manylinux2014_x86_64.musllinux_1_2_x86_64"
    assert run(tag, "auto", some("3.11")) == (["cp311-linux-x86_64"], [(Outcome.SKIPPED, "needs musl libc")])
    both = Fake([an_offer("3.11"), an_offer("3.11", MUSL, libc=(1, 2))])
    names, problems = run(tag, "auto", both)
    assert sorted(names) == ["cp311-linux-x86_64", "cp311-musllinux-x86_64"]
    assert not problems


def test_any_and_linux_stand_for_the_host() -> None:
    both = Fake([an_offer("3.11"), an_offer("3.11", MUSL, libc=(1, 2)), an_offer("3.13", ARM)])
    for tag in ("py3-none-any", "cp311-cp311-linux_x86_64"):
        assert run(tag, "all", both) == (["cp311-linux-x86_64"], [])


def test_the_first_provider_is_preferred_and_the_next_stands_in() -> None:
    first, second = Fake([an_offer("3.11")]), Fake([an_offer("3.11", provider="other")], name="other")
    assert run("py3-none-any", "auto", first, second) == (["cp311-linux-x86_64"], [])
    assert (len(first.made), len(second.made)) == (1, 0)
    first.broken = True
    assert run("py3-none-any", "auto", first, second) == (["cp311-linux-x86_64"], [])
    assert len(second.made) == 1


def test_only_what_is_needed_is_made() -> None:
    provider = some(*HOST)
    run("cp310-abi3-manylinux2014_x86_64", "auto", provider)
    assert sorted(offer.version[1] for offer in provider.made) == [10, 13]


def test_a_provider_that_breaks_is_an_error() -> None:
    provider = Fake([an_offer("3.11")], broken=True)
    names, ((outcome, reason),) = run("cp311-cp311-manylinux2014_x86_64", "auto", provider)
    assert names == []
    assert outcome is Outcome.ERROR
    assert "CPython 3.11 is not available" in reason
    assert "the network is down" in reason
    assert "try again" in reason


def test_an_interpreter_that_was_asked_for_and_nobody_has() -> None:
    names, ((outcome, reason),) = run("py3-none-any", "3.12", some("3.11"))
    assert (names, outcome) == ([], Outcome.ERROR)
    assert reason == "CPython 3.12 was requested, but only 3.11 was found"
    # Asking does not make a Mac.
    assert run("py3-none-macosx_11_0_arm64", "3.12", some("3.11"))[1] == [(Outcome.SKIPPED, "needs macOS")]


def test_a_wheel_of_another_version_than_was_asked_for() -> None:
    two = [a_wheel("cp312-cp312-manylinux2014_x86_64"), a_wheel("cp311-cp311-manylinux2014_x86_64")]
    found, without = plan.plan(two, ["3.11"], catalog(some("3.11", "3.12")), host=LINUX)
    assert [target.node_id for target in found] == [f"{two[1].shown}::cp311-linux-x86_64"]
    (problem,) = without
    assert problem.wheel is two[0]
    assert problem.outcome is Outcome.SKIPPED
    assert problem.reason == "needs CPython 3.12, but CPython 3.11 was requested"
    # With nothing to test at all, the request was in vain.
    _, ((outcome, _),) = run(two[0], "3.11", some("3.11", "3.12"))
    assert outcome is Outcome.ERROR


@pytest.mark.parametrize(
    ("tag", "specs", "names"),
    [
        ("py3-none-any", "auto", ["cp310-linux-x86_64", "cp311-linux-x86_64"]),
        ("cp39-abi3-manylinux2014_x86_64", "all", ["cp310-linux-x86_64", "cp311-linux-x86_64"]),
        # Its installation will fail there, and tell.
        ("cp313-cp313-manylinux2014_x86_64", "auto", ["cp313-linux-x86_64"]),
        ("py3-none-any", "3.9", ["cp39-linux-x86_64"]),
    ],
)
def test_requires_python(tag: str, specs: str, names: list[str]) -> None:
    wheel = a_wheel(tag, requires_python=">=3.10,<3.13")
    assert run(wheel, specs, some("3.9", "3.10", "3.11", "3.13")) == (names, [])


def test_requires_python_that_nothing_satisfies() -> None:
    wheel = a_wheel("py3-none-any", requires_python=">=3.14")
    assert run(wheel, "auto", some("3.9", "3.11")) == (
        [],
        [(Outcome.SKIPPED, "Requires-Python >=3.14 excludes all available interpreters: 3.9 and 3.11")],
    )
    assert run(a_wheel("py3-none-any", requires_python="rubbish"), "auto", some("3.9"))[1] == []


def test_py3_is_also_for_pypy_where_there_is_nothing_else() -> None:
    assert run("py3-none-any", "auto", some("pypy3.10", "pypy3.11"))[0] == ["pp310-linux-x86_64", "pp311-linux-x86_64"]


def test_abi3_and_abi3t_in_one_wheel() -> None:
    if "cp315-abi3t-linux_x86_64" not in an_offer("3.15t").tags:
        pytest.skip("this packaging does not know PEP 803")
    tag = "cp315-abi3.abi3t-manylinux2014_x86_64"
    assert run(tag, "auto", some("3.14", "3.15", "3.15t")) == (["cp315-linux-x86_64", "cp315t-linux-x86_64"], [])
    names, ((outcome, reason),) = run(tag, "auto", some("3.14", "3.15"))
    assert names == ["cp315-linux-x86_64"]
    assert outcome is Outcome.SKIPPED
    assert reason == "needs a free-threaded CPython 3.15 (cp315t) or newer, but only 3.14 and 3.15 were found"


def test_paths(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    provider = some("3.11", "3.13")
    provider.paths = {
        one: an_offer("3.11", micro=2),
        two: an_offer("3.11", micro=9),
        three: an_offer("3.11", micro=9, provider="host2"),
    }
    assert run("py3-none-any", str(one), provider) == (["cp311-linux-x86_64"], [])
    assert provider.made[-1].version == (3, 11, 2)
    # A path is the interpreter of its version.
    assert run("py3-none-any", f"3.11,{one}", provider) == (["cp311-linux-x86_64"], [])
    assert provider.made[-1].version == (3, 11, 2)
    names, problems = run("py3-none-any", f"{two},{one}", provider)
    assert names == ["cp311-linux-x86_64-3.11.2", "cp311-linux-x86_64-3.11.9"]
    assert not problems
    # The same one twice is one target.
    assert run("py3-none-any", f"{one},{tmp_path}/./one", provider)[0] == ["cp311-linux-x86_64"]


def test_two_paths_of_one_version_get_numbers(tmp_path: Path) -> None:
    offers = {
        tmp_path / name: Offer(**{**_fields(an_offer("3.11")), "key": f"/{name}"})  # type: ignore[arg-type]
        for name in ("a", "b")
    }
    names, _ = run("py3-none-any", ",".join(map(str, offers)), Fake(paths=offers))
    assert names == ["cp311-linux-x86_64-3.11.5-1", "cp311-linux-x86_64-3.11.5-2"]


def _fields(offer: Offer) -> dict[str, object]:
    return {name: getattr(offer, name) for name in Offer.__dataclass_fields__}


def test_paths_that_do_not_fit(tmp_path: Path) -> None:
    provider = Fake(paths={tmp_path / "one": an_offer("3.11")})
    _, ((outcome, reason),) = run("py3-none-any", str(tmp_path / "gone"), provider)
    assert outcome is Outcome.ERROR
    assert "there is no interpreter at" in reason
    _, ((outcome, reason),) = run("cp312-cp312-manylinux2014_x86_64", str(tmp_path / "one"), provider)
    assert outcome is Outcome.ERROR
    assert "needs CPython 3.12" in reason
    _, problems = run("cp311-cp311-win_amd64", str(tmp_path / "one"), provider)
    assert problems == [(Outcome.SKIPPED, "needs Windows")]


def test_a_path_for_one_platform_and_a_version_for_another(tmp_path: Path) -> None:
    provider = Fake([an_offer("3.12", MUSL, libc=(1, 2))], paths={tmp_path / "one": an_offer("3.12")})
    specs = f"3.12,{tmp_path / 'one'}"
    assert run("cp312-cp312-musllinux_1_2_x86_64", specs, provider) == (["cp312-musllinux-x86_64"], [])
    assert run("cp312-cp312-musllinux_1_2_x86_64", str(tmp_path / "one"), provider) == (
        [],
        [(Outcome.SKIPPED, "needs musl libc")],
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.11", Interpreter(version=(3, 11))),
        ("cp313", Interpreter(version=(3, 13))),
        ("python3.9", Interpreter(version=(3, 9))),
        ("3.14t", Interpreter(version=(3, 14), free_threaded=True)),
        ("pypy3.11", Interpreter(version=(3, 11), implementation="pypy")),
        ("pp310", Interpreter(version=(3, 10), implementation="pypy")),
    ],
)
def test_specs(text: str, expected: Interpreter) -> None:
    (spec,) = parse_specs([text])
    assert spec.interpreter == expected


@pytest.mark.parametrize("text", ["3", "2.7", "newest", "3.11.2", "3.x"])
def test_specs_that_mean_nothing(text: str) -> None:
    with pytest.raises(UsageError, match="neither a version nor the path"):
        parse_specs([text])


def test_no_spec_is_auto() -> None:
    assert [spec.text for spec in parse_specs([])] == ["auto"]
    assert [spec.text for spec in parse_specs(["3.11, 3.12", "3.11"])] == ["3.11", "3.12"]


def test_names_are_unique_within_a_wheel() -> None:
    tag = "cp311.cp312-cp311.cp312-manylinux2014_aarch64.musllinux_1_1_aarch64.macosx_11_0_arm64"
    found, without = plan.plan([a_wheel(tag)], [], catalog(some("3.11")), host=LINUX)
    names = [*(target.name for target in found), *(problem.name for problem in without)]
    assert len(names) == len(set(names)) == 3
    assert "cp311-macosx-arm64" in names


def test_with_the_real_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    found: list[Target]
    without: list[NoTarget]
    found, without = plan.plan([a_wheel("py3-none-any")], ["all"], catalog(HostProvider()))
    assert not without
    assert found
    assert all(target.runtime.python.is_file() for target in found)
    versions = [target.runtime.installation.version for target in found]
    assert versions == sorted(versions)


@pytest.mark.parametrize(
    ("tag", "libc", "asked"),
    [
        ("cp311-cp311-manylinux_2_17_x86_64", (2, 36), 0),
        ("cp311-cp311-manylinux_2_38_x86_64", (2, 36), 1),
        ("cp312-cp312-manylinux_2_17_x86_64", (2, 36), 1),
        ("cp311-abi3-manylinux_2_17_x86_64", (2, 36), 1),
    ],
)
def test_a_costly_provider_is_asked_only_for_what_is_missing(tag: str, libc: tuple[int, int], asked: int) -> None:
    quick = Fake(has=[an_offer("3.11", libc=libc)])
    slow = Fake(has=[an_offer("3.12", provider="slow")], name="slow", slow=True)
    plan.plan([a_wheel(tag)], ["auto"], catalog(quick, slow), host=LINUX)
    assert slow.asked == asked


@pytest.mark.parametrize(
    ("quick", "asked", "names"),
    [
        (("3.9", "3.12", "3.15"), 1, ["cp311-linux-x86_64", "cp314-linux-x86_64"]),
        (("3.9", "3.11", "3.14", "3.15"), 0, ["cp311-linux-x86_64", "cp314-linux-x86_64"]),
    ],
)
def test_what_is_enough_depends_on_requires_python(quick: tuple[str, ...], asked: int, names: list[str]) -> None:
    """Interpreters that the wheel excludes are not what would be enough, however easily they are available."""
    slow = Fake(has=[an_offer(name, provider="slow") for name in ("3.11", "3.14")], name="slow", slow=True)
    wheel = a_wheel("py3-none-any", requires_python=">=3.11,<3.15")
    assert run(wheel, "auto", some(*quick), slow) == (names, [])
    assert slow.asked == asked


def test_the_lower_rank_is_taken_first() -> None:
    one = Fake(has=[replace(an_offer("3.11", ARM, provider="one"), rank=1)], name="one")
    other = Fake(has=[an_offer("3.11", ARM, provider="other")], name="other")
    found, _ = plan.plan([a_wheel("cp311-cp311-manylinux_2_17_aarch64")], [], catalog(one, other), host=LINUX)
    assert [target.runtime.installation.provider for target in found] == ["other"]


@pytest.mark.parametrize("broken", [False, True])
def test_what_the_user_named_stands_for_its_platform_and_has_no_substitute(broken: bool) -> None:
    named = Fake([replace(an_offer("3.12", ARM, provider="directory"), rank=-1)], name="directory", broken=broken)
    other = Fake([an_offer(name, ARM, provider="other") for name in ("3.11", "3.12", "3.13")], name="other")
    wheel = a_wheel("cp311-abi3-manylinux_2_17_aarch64")
    found, without = plan.plan([wheel], ["auto"], catalog(named, other), host=LINUX)
    assert [(target.runtime.installation.provider, target.runtime.installation.version[:2]) for target in found] == (
        [] if broken else [("directory", (3, 12))]
    )
    assert [problem.outcome for problem in without] == ([Outcome.ERROR] if broken else [])
    assert not other.made
    # Another version is another matter.
    found, _ = plan.plan([wheel], ["3.13"], catalog(named, other), host=LINUX)
    assert [target.runtime.installation.provider for target in found] == ["other"]
