"""The messages between controller and worker: round trips, and errors for everything that is not declared."""

from __future__ import annotations

import copy
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import build_wheel
from hypothesis import given
from hypothesis import strategies as st
from nodes import Run, run_output
from runtimes import host_session, this_environment

from pytest_wheelcheck import worker as worker_package
from pytest_wheelcheck.errors import WorkerError, WorkerFatalError
from pytest_wheelcheck.targets.running.channel import WorkerProcess
from pytest_wheelcheck.worker import codec, messages
from pytest_wheelcheck.worker.channel import Channel
from pytest_wheelcheck.worker.codec import FROM_CONTROLLER, FROM_WORKER, InvalidMessageError
from pytest_wheelcheck.worker.messages import PROTOCOL

JOB: messages.ImportJob = {"name": "json", "kind": "import", "module": "json", "attribute": "", "after": ""}

IMPORTS: messages.Imports = {
    "type": "imports",
    "jobs": [JOB],
    "fork": os.name == "posix",
    "names": ["json"],
    "sites": [],
    "free_threaded": False,
    "machine": "",
    "timeout": 60,
    "limit": 60,
    "watchdog": 0,
}

TESTS: messages.Tests = {
    "type": "tests",
    "fixed_args": ["--color=no"],
    "occurrences": [{"args": ["-k", "x"], "from_host": True}],
    "overlays": ["/tools"],
    "facts": {
        "wheel": "demo-1-py3-none-any.whl",
        "name": "demo",
        "version": "1",
        "architecture": "x86_64",
        "libc": "glibc",
        "libc_version": "2.36",
        "machine": "host",
        "emulated": False,
    },
    "python_m": False,
    "pretend": "",
    "pty_patterns": ["pty"],
    "pty_calls": [],
    "consoles": True,
    "ini_names": [],
    "markers": [],
    "timeout_scale": 1.5,
    "width": 80,
    "junit": False,
    "skip_modules": [],
    "watchdog": 0,
    "output": "/output",
    "rewritten": "/rewritten",
    "guarded": True,
}

CONTROLLER: list[messages.FromController] = [
    {"type": "start", "protocol": PROTOCOL, "nonce": "0" * 32},
    IMPORTS,
    {"type": "modules", "names": ["demo"], "sources": ["demo/more.py"], "sites": ["/site"], "limit": 60.0},
    TESTS,
    {"type": "collect", "basetemp": "/tmp/b1"},
    {
        "type": "run",
        "id": "t.py::a",
        "number": 1,
        "next": None,
        "failures_left": 0,
        "watchdog": 3.5,
        "watchdog_exits": True,
    },
    {"type": "finish"},
]

WORKER: list[messages.FromWorker] = [
    {"type": "hello", "protocol": PROTOCOL},
    {
        "type": "imported",
        "name": "demo",
        "kind": "import",
        "after": "demo",
        "complete": True,
        "status": -11,
        "timed_out": False,
        "output": "\udcff",
        "seconds": 0.5,
        "file": "/site/demo.py",
        "error": [
            {
                "type": "ImportError",
                "message": "no",
                "missing": None,
                "relation": "cause",
                "frames": [{"file": "/f.py", "line": 3, "function": "f", "lines": ["import x"]}],
            }
        ],
        "gil": False,
        "mapped": ["/lib/libc.so.6"],
        "before": [],
        "foreign": [["demo", "/source/demo.py"]],
        "extensions": [["demo._native", "/site/demo/_native.so"]],
    },
    {"type": "importing"},
    {"type": "module", "name": "demo.more", "error": None, "loaded": True, "seconds": 0.5},
    {"type": "compiled", "errors": [{"file": "demo/more.py", "line": 3, "message": "invalid syntax"}]},
    {"type": "collecting", "id": "t.py", "log_size": -1},
    {
        "type": "collected",
        "items": [
            {
                "id": "t.py::a",
                "location": ["t.py", None, "a"],
                "chain": [["Module", "t.py"], ["Function", "a"]],
                "names": ["a"],
                "marks": [{"name": "pty", "args": [False, None, "x"], "kwargs": {"reason": 3}}],
                "doc": "",
                "timeout": 0,
                "func_only": False,
                "threads": 1,
                "single": "",
            }
        ],
        "reports": [{"nodeid": "u.py"}],
        "header": ["x"],
        "unknown_options": [],
        "deselected": 0,
        "parallel_threads": "4",
        "gil_module": None,
        "pytest_version": "9.0",
    },
    {"type": "phase", "when": "call"},
    {"type": "report", "data": {"outcome": "passed"}},
    {
        "type": "warning",
        "text": "old",
        "category": "DeprecationWarning",
        "filename": "t.py",
        "lineno": 3,
        "when": "runtest",
        "nodeid": "",
        "location": None,
    },
    {"type": "property", "id": "", "name": "a", "value": "b"},
    {"type": "text", "text": "ü"},
    {"type": "expired", "seconds": 1, "text": ""},
    {"type": "done", "stop": "", "returncode": None, "restart": False, "log_size": 0, "gil_module": "demo"},
    {"type": "finished", "status": 0, "summary": "", "conftest_failed": False},
    {"type": "ended", "status": -11, "successor": 4242},
    {"type": "fatal", "text": ""},
]

Known = dict[str, Callable[[Any], str]]

EVERY = [
    *(pytest.param(message, FROM_CONTROLLER, id=message["type"]) for message in CONTROLLER),
    *(pytest.param(message, FROM_WORKER, id=message["type"]) for message in WORKER),
]
every = pytest.mark.parametrize(("message", "known"), EVERY)


def body(frame: bytes) -> bytes:
    assert len(frame) == codec.HEADER + codec.body_length(frame[: codec.HEADER])
    return frame[codec.HEADER :]


def refusal(message: Any, known: Known) -> str:
    """Return the error of a message, which is the same for the sender and for the receiver."""
    with pytest.raises(InvalidMessageError) as sent:
        codec.encode(message, known)
    with pytest.raises(InvalidMessageError) as received:
        codec.check(json.loads(json.dumps(message)), known)
    assert str(sent.value) == str(received.value)
    return str(sent.value)


def test_each_type_has_a_sample() -> None:
    assert [message["type"] for message in CONTROLLER] == list(FROM_CONTROLLER)
    assert [message["type"] for message in WORKER] == list(FROM_WORKER)


@every
def test_round_trip(message: Any, known: Known) -> None:
    envelope = {"nonce": "0", "pid": 7} if known is FROM_WORKER else {}
    received = codec.decode(body(codec.encode(message, known, **envelope)))
    assert {name: received.pop(name) for name in envelope} == envelope
    codec.check(received, known)
    assert received == message


@every
def test_only_in_its_direction(message: Any, known: Known) -> None:
    other = FROM_WORKER if known is FROM_CONTROLLER else FROM_CONTROLLER
    assert refusal(message, other) == f"unknown type {message['type']!r}"


def objects(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object whose fields are declared, the message itself first."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from objects(part, f"{path}[{index}]")
    elif isinstance(value, dict) and not path.endswith((".data", ".reports[0]", ".kwargs")):
        yield path, value
        for name, part in value.items():
            yield from objects(part, f"{path}.{name}")


#: By the type of a valid value: values of all other types.
WRONG: dict[type, list[Any]] = {
    str: [None, 1, True, [], {}],
    int: ["1", 1.5, True, [], {}],
    float: ["1", True, None, [], {}],
    bool: [0, 1, "", None],
    list: ["", {}, 1, True],
    dict: ["", [], None],
}

#: Fields that may be null, or that take several types.
NULLABLE = {"next", "missing", "error", "location", "gil_module"}


@every
def test_fields(message: Any, known: Known) -> None:
    for path, _ in objects(message, message["type"]):
        changed = copy.deepcopy(message)
        found = dict(objects(changed, message["type"]))[path]
        found["another"] = 1
        assert refusal(changed, known) == f"{path} has the unknown field 'another'"
        del found["another"]
        for name, value in list(found.items()):
            if name == "type" and path == message["type"]:
                continue
            del found[name]
            assert refusal(changed, known) == f"{path} has no field {name!r}"
            kinds = (
                (float, int) if name in {"limit", "seconds", "timeout", "timeout_scale", "watchdog"} else (type(value),)
            )
            for wrong in WRONG[kinds[0]] if value is not None else [1.5, {}]:
                if wrong is None and name in NULLABLE:
                    continue
                found[name] = wrong
                problem = refusal(changed, known)
                if name == "protocol":
                    assert "of protocol" in problem
                else:
                    assert problem.startswith(f"{path}.{name} is ")
            found[name] = value
        codec.check(changed, known)


def test_elements() -> None:
    tests: Any = copy.deepcopy(TESTS)
    tests["occurrences"].append("-x")
    assert refusal(tests, FROM_CONTROLLER) == "tests.occurrences[1] is str, not Occurrence"
    tests["occurrences"] = [{"args": ["-k", 3], "from_host": True}]
    assert refusal(tests, FROM_CONTROLLER) == "tests.occurrences[0].args[1] is int, not str"
    phase: Any = {"type": "phase", "when": "collect"}
    assert refusal(phase, FROM_WORKER) == "phase.when is 'collect', not one of ('setup', 'call', 'teardown')"


def test_subclasses_of_plain_types_are_sent() -> None:
    class Text(str):
        __slots__ = ()

    text: Any = {"type": "text", "text": Text("x")}
    assert json.loads(body(codec.encode(text, FROM_WORKER)))["text"] == "x"


@pytest.mark.parametrize("kind", ["unheard-of", None, 3, [], {}])
@pytest.mark.parametrize("known", [FROM_CONTROLLER, FROM_WORKER])
def test_unknown_types(kind: object, known: Known) -> None:
    assert refusal({"type": kind}, known) == f"unknown type {kind!r}"
    assert refusal({}, known) == "unknown type None"


@pytest.mark.parametrize(
    ("message", "known"), [({"type": "start", "token": ""}, FROM_CONTROLLER), ({"type": "hello"}, FROM_WORKER)]
)
def test_another_version_is_named_whatever_its_fields_are(message: dict[str, Any], known: Known) -> None:
    for version in (PROTOCOL - 1, PROTOCOL + 1, "3", None):
        text = refusal({**message, "protocol": version}, known)
        assert text == f"{message['type']} is of protocol {version!r}, not {PROTOCOL}"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"3", b'"text"', b"null", b"[" * 100_000])
def test_bytes_that_are_no_json_object(data: bytes) -> None:
    with pytest.raises(InvalidMessageError, match="no JSON"):
        codec.decode(data)


def test_frames_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidMessageError, match="a frame of 4294967295 bytes"):
        codec.body_length(b"\xff\xff\xff\xff")
    monkeypatch.setattr(codec, "FRAME_LIMIT", 100)
    with pytest.raises(InvalidMessageError, match="text has 128 bytes"):
        codec.encode({"type": "text", "text": "x" * 100}, FROM_WORKER)


@given(st.lists(st.text(max_size=40), max_size=6), st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_frames_in_any_pieces_are_the_same_messages(texts: list[str], pieces: list[int]) -> None:
    sent = [{"type": "text", "text": text} for text in texts]
    left = b"".join(codec.encode(message, FROM_WORKER) for message in sent)
    data = bytearray()
    received: list[Any] = []
    for size in [*pieces, len(left)]:
        data += left[:size]
        left = left[size:]
        received += codec.take_messages(data)
    assert received == sent
    assert not data


def test_values_without_json_are_described() -> None:
    data = json.loads(body(codec.encode({"type": "report", "data": {"x": {1j}}}, FROM_WORKER)))
    assert data["data"] == {"x": "{1j}"}


def test_it_loads_without_the_modules_for_types() -> None:
    # It is loaded at every start of a worker, under an emulator too.
    package = Path(worker_package.__file__).parent
    code = f"""
import sys, json, struct
sys.path.insert(0, {str(package.parent)!r})
sys.modules["{package.name}"] = type(sys)("{package.name}")
sys.modules["{package.name}"].__path__ = [{str(package)!r}]
before = set(sys.modules)
import {package.name}.codec
print(*set(sys.modules) - before)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert set(done.stdout.split()) == {"__future__", "worker.codec", "worker.import_messages", "worker.messages"}


# --- the worker's side -------------------------------------------------------------------------------------------------

WORKER_ARGV = [sys.executable, "-I", "-B", str(Path(worker_package.__file__).parent)]

START = {"type": "start", "protocol": PROTOCOL, "nonce": "a nonce"}


def framed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def answers(*sent: object) -> tuple[list[dict[str, Any]], str]:
    """Send messages, or raw bytes, to a real worker; return its answers and its log."""
    data = b"".join(each if isinstance(each, bytes) else framed(json.dumps(each).encode()) for each in sent)
    done = subprocess.run(WORKER_ARGV, input=data, capture_output=True, check=False, timeout=60)
    found, rest = [], done.stdout
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        found.append(json.loads(rest[4 : 4 + length]))
        rest = rest[4 + length :]
    for message in found:
        assert isinstance(message.pop("pid"), int)
        if message["type"] == "fatal":
            assert done.returncode == 2
    return found, done.stderr.decode()


def test_a_real_worker_understands() -> None:
    (hello, imported), log = answers(START, IMPORTS)
    assert hello == {"type": "hello", "protocol": PROTOCOL, "nonce": "a nonce"}
    assert imported.pop("nonce") == "a nonce"
    codec.check(imported, FROM_WORKER)
    assert (imported["type"], imported["name"], imported["complete"], imported["error"]) == (
        "imported",
        "json",
        True,
        None,
    )
    assert log == ""


INVALID = "the controller sent an invalid message: "


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ([{**START, "protocol": 2}], INVALID + f"start is of protocol 2, not {PROTOCOL}"),
        ([{**START, "mode": "tests"}], INVALID + "start has the unknown field 'mode'"),
        ([{"type": "begin", "nonce": "a nonce"}], INVALID + "unknown type 'begin'"),
        ([{"type": "start", "nonce": "a nonce"}], INVALID + "start has no field 'protocol'"),
        ([START, {"type": "imports"}], INVALID + "imports has no field 'jobs'"),
        ([START, {**IMPORTS, "fork": 1}], INVALID + "imports.fork is int, not bool"),
        ([START, {"type": "hello", "protocol": PROTOCOL}], INVALID + "unknown type 'hello'"),
        ([START, {"type": "finish"}], "the controller sent finish before imports, modules or tests"),
        ([START, framed(b"[]")], "no JSON object: []"),
        ([START, framed(b"\xff")], "no JSON: "),
        ([START, b"\xff\xff\xff\xff"], "a frame of 4294967295 bytes"),
    ],
)
def test_a_real_worker_refuses(sent: list[object], problem: str) -> None:
    found, _ = answers(*sent)
    assert [message["type"] for message in found] == ["hello", "fatal"][-len(sent) :]
    assert all(message["nonce"] == "a nonce" for message in found)
    assert f"InvalidMessageError: {problem}" in found[-1]["text"]


def test_without_a_nonce_the_reason_is_in_the_log() -> None:
    found, log = answers({"type": "start", "protocol": PROTOCOL})
    assert [message["type"] for message in found] == ["fatal"]
    assert f"{INVALID}start has no field 'nonce'" in log


def test_the_worker_sends_nothing_invalid(tmp_path: Path) -> None:
    invalid: Any = {"type": "done", "stop": ""}
    with (tmp_path / "file").open("wb") as file:
        channel = Channel(-1, file.fileno())
        with pytest.raises(InvalidMessageError, match="done has no field 'returncode'"):
            channel.send(invalid)
    assert (tmp_path / "file").read_bytes() == b""


# --- the controller's side ---------------------------------------------------------------------------------------------

#: A fake worker: answers the first message with the messages of its argument.
FAKE = """
import json, os, struct, sys
length, = struct.unpack(">I", sys.stdin.buffer.read(4))
nonce = json.loads(sys.stdin.buffer.read(length))["nonce"]
for message in json.loads(sys.argv[1]):
    if isinstance(message, dict):
        message = json.dumps({"nonce": nonce, "pid": os.getpid(), **message})
    data = message.encode()
    sys.stdout.buffer.write(struct.pack(">I", len(data)) + data)
sys.stdout.buffer.flush()
sys.stdin.buffer.read()
"""

HELLO = {"type": "hello", "protocol": PROTOCOL}


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    running = []

    def start(*argv: str) -> WorkerProcess:
        worker = WorkerProcess(
            host_session(tmp_path), argv, environment=this_environment(), cwd=tmp_path, log=tmp_path / "log"
        )
        running.append(worker)
        worker.start(IMPORTS)
        return worker

    yield start
    for worker in running:
        worker.end()


def test_a_worker_that_reads_nothing_does_not_block(tmp_path: Path) -> None:
    """A `.pth` file hangs, for example, and the first message is larger than the buffer of a pipe."""
    argv = (sys.executable, "-c", "import time; time.sleep(600)")
    worker = WorkerProcess(
        host_session(tmp_path), argv, environment=this_environment(), cwd=tmp_path, log=tmp_path / "log"
    )
    start = time.monotonic()
    worker.start({**IMPORTS, "names": ["x" * 100] * 20_000})
    assert worker.receive(0.5) is None
    worker.end()
    assert time.monotonic() - start < 20
    writers = [thread for thread in threading.enumerate() if thread.name == "wheelcheck-writer"]
    for thread in writers:
        thread.join(10)
        assert not thread.is_alive()


def test_both_sides_together(started: Callable[..., WorkerProcess]) -> None:
    worker = started(*WORKER_ARGV)
    assert worker.receive(60) == HELLO
    imported = worker.receive(60)
    assert imported is not None
    assert imported["type"] == "imported"
    assert imported["file"].endswith("__init__.py")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"type": "unheard-of"}, "unknown type 'unheard-of'"),
        ({"type": "finish"}, "unknown type 'finish'"),
        ({"type": "hello", "protocol": 2, "version": "3.9"}, f"hello is of protocol 2, not {PROTOCOL}"),
        ({"type": "done", "stop": ""}, "done has no field 'returncode'"),
        ({"type": "text", "text": "x", "more": 1}, "text has the unknown field 'more'"),
        ({"type": "text", "text": 3}, "text.text is int, not str"),
        ("[1]", "no JSON object: [1]"),
        ("{", "no JSON: "),
    ],
)
def test_the_controller_refuses(started: Callable[..., WorkerProcess], answer: object, problem: str) -> None:
    worker = started(sys.executable, "-c", FAKE, json.dumps([HELLO, answer]))
    assert worker.receive(60) == HELLO
    with pytest.raises(WorkerError) as refused:
        worker.receive(60)
    assert not isinstance(refused.value, WorkerFatalError)
    assert refused.value.message.startswith(f"the worker sent an invalid message: {problem}")


def test_messages_of_other_processes_are_ignored(started: Callable[..., WorkerProcess]) -> None:
    """A child that a test forked has another process id, and a forged message lacks the nonce."""
    others = [{"type": "done", "nonce": "forged"}, {"type": "done", "pid": 1}, {"type": "done", "pid": None}]
    text = {"type": "text", "text": "last"}
    worker = started(sys.executable, "-c", FAKE, json.dumps([HELLO, *others, '{"type": "done"}', text]))
    assert [worker.receive(60), worker.receive(60)] == [HELLO, text]


def test_the_controller_sends_nothing_invalid(started: Callable[..., WorkerProcess]) -> None:
    worker = started(sys.executable, "-c", FAKE, json.dumps([HELLO]))
    invalid: Any = {"type": "run"}
    with pytest.raises(InvalidMessageError, match="run has no field 'id'"):
        worker.send(invalid)


def test_in_a_run(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """The test during which an invalid message arrives fails with the reason; a fresh worker runs the other tests."""
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    pytester.makepyfile(
        test_channel="""
        import gc, json, os, struct

        def test_before(): pass

        def test_invalid():
            channel, = (found for found in gc.get_objects() if type(found).__name__ == "Channel" and hasattr(found, "nonce"))
            data = json.dumps({"type": "done", "nonce": channel.nonce, "pid": os.getpid()}).encode()
            os.write(channel._out, struct.pack(">I", len(data)) + data)

        def test_after(): pass
        """
    )
    found = run_output(run_wheels("--wheel", "dist", "--wheel-select=WHL101", "-v", "test_channel.py"))
    outcomes = {name.rpartition("::")[2]: outcome for name, outcome in found.nodes.items() if "::test" in name}
    assert outcomes == {"test_before": "PASSED", "test_invalid": "FAILED", "test_after": "PASSED"}
    assert "the worker sent an invalid message: done has no field 'stop'" in found.text
    assert found.code == pytest.ExitCode.TESTS_FAILED
