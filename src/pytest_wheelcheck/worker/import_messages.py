"""The messages of the tasks that import: part of :mod:`.messages`, which says how they are used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypedDict
else:
    TypedDict = dict


class ImportJob(TypedDict):
    """A module or entry point. ``attribute``: dotted, of an entry point; else empty. ``after``: imported first, or empty."""

    name: str
    kind: Literal["import", "entry"]
    module: str
    attribute: str
    after: str


class Imports(TypedDict):
    """Import each module; send one :class:`Imported` for each, in any order, and :class:`Importing` meanwhile.

    ``fork``: fork a child for each job, from this process, or from the one that has imported the package that the job is
    ``after``; without it this process does all jobs itself. A job is not complete if its package cannot be imported, or if
    the process that was to do it was lost. ``names``: top-level names of the wheel. ``sites``: site-packages directories of its
    environment. ``machine``: an emulated CPU model, or empty. ``timeout``: seconds until a child is killed; ``limit``: of a
    job ``after`` another. ``watchdog``: seconds until this process writes its stacks, or 0; only without ``fork``.
    """

    type: Literal["imports"]
    jobs: list[ImportJob]
    fork: bool
    names: list[str]
    sites: list[str]
    free_threaded: bool
    machine: str
    timeout: float
    limit: float
    watchdog: float


class Modules(TypedDict):
    """Import modules, all in this process, and send one :class:`Module` for each; then compile, and send :class:`Compiled`.

    ``sources``: files to compile that no import has compiled (the host may do that), relative to ``sites``: site-packages.
    ``limit``: seconds until this process writes its stacks and ends, since a module did not end.
    """

    type: Literal["modules"]
    names: list[str]
    sources: list[str]
    sites: list[str]
    limit: float


class Frame(TypedDict):
    """One entry of a traceback. ``lines``: source lines up to the one that was running."""

    file: str
    line: int
    function: str
    lines: list[str]


class RaisedError(TypedDict):
    """One exception of a chain. ``missing``: what an :class:`ImportError` could not find.

    ``relation``: ``cause`` or ``context`` of the next one of the chain; empty for the last.
    """

    type: str
    message: str
    missing: str | None
    relation: Literal["", "cause", "context"]
    frames: list[Frame]


class ImportResult(TypedDict):
    """What the process of an import saw itself.

    ``seconds``: of the import, without the module before it. ``file``: of the module. ``error``: exception chain, the
    outermost last. ``gil``: a free-threaded interpreter runs with the GIL afterwards. ``mapped``: files mapped by the import;
    ``before``: those mapped before. ``foreign``: modules of the wheel's names from elsewhere, pairs of name and file.
    ``extensions``: extension modules that were loaded, pairs of name and file.
    """

    seconds: float
    file: str
    error: list[RaisedError] | None
    gil: bool
    mapped: list[str]
    before: list[str]
    foreign: list[list[str]]
    extensions: list[list[str]]


class Imported(ImportResult):
    """One import is done.

    ``after``: of the job. ``complete``: the process lived long enough to send its result; else the fields of that are empty.
    ``status``: of the process, as :attr:`subprocess.Popen.returncode`. ``output``: what it printed.
    """

    type: Literal["imported"]
    name: str
    kind: Literal["import", "entry"]
    after: str
    complete: bool
    status: int
    timed_out: bool
    output: str


class Importing(TypedDict):
    """The imports go on, and no result is ready."""

    type: Literal["importing"]


class Module(TypedDict):
    """One module of :class:`Modules` was imported.

    ``error``: exception chain, the outermost last. ``loaded``: another module had imported it before.
    """

    type: Literal["module"]
    name: str
    error: list[RaisedError] | None
    loaded: bool
    seconds: float


class SyntaxProblem(TypedDict):
    """A file that cannot be compiled. ``line``: 0 where it is not known."""

    file: str
    line: int
    message: str


class Compiled(TypedDict):
    """All modules were imported and all other files compiled."""

    type: Literal["compiled"]
    errors: list[SyntaxProblem]
