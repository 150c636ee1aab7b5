import sys
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypedDict, TypeVar

_T = TypeVar("_T")

class _Facts(TypedDict):
    architecture: str
    machine: str
    page_size: int
    cpu_features: list[str]
    libc: Literal["glibc", "musl", "msvcrt", "ucrt", ""]
    libc_version: str
    pointer_width: int
    endianness: Literal["big", "little"]
    pid: int
    pyo3: str

__all__ = [
    "KINDS",
    "Session",
    "__version__",
    "atomic_add",
    "avx2_add",
    "call_from_threads",
    "facts",
    "lse_add",
    "misbehave",
    "parallel_sum",
]
if sys.platform != "win32":
    __all__ += ["page_aligned", "pty_round_trip", "pty_size", "pty_spawn"]

__version__: Final[str]
KINDS: Final[tuple[str, ...]]

class Session:
    def spawn(self, argv: Sequence[str], rows: int = 24, cols: int = 80) -> None: ...
    def write(self, text: str) -> None: ...
    def read(self, timeout: float = 10.0) -> str: ...

def facts() -> _Facts: ...
def parallel_sum(n: int, threads: int = 2) -> int: ...
def call_from_threads(callback: Callable[[int], _T], threads: int = 1) -> list[_T]: ...
def atomic_add(times: int, threads: int = 2) -> int: ...
def misbehave(kind: str, size: int | None = None) -> None: ...

if sys.platform != "win32":
    def page_aligned(page_size_assumed: int) -> None: ...
    def pty_round_trip(text: str) -> str: ...
    def pty_size(rows: int, cols: int) -> tuple[int, int]: ...
    def pty_spawn(argv: Sequence[str], timeout: float = 60.0) -> str: ...

def avx2_add(left: int = 40, right: int = 2) -> int: ...  # x86-64 only
def lse_add(left: int = 40, right: int = 2) -> int: ...  # aarch64 only
