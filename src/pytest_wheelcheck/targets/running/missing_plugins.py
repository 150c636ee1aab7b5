"""Recognizes by messages of pytest that a plugin is missing in a target, and finds what of the project brings it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from pytest_wheelcheck.targets.preparing import known_modules

#: Plugins that run ``async def`` tests.
_ASYNC = frozenset(
    {
        "anyio",
        "pytest-aiohttp",
        "pytest-asyncio",
        "pytest-tornasync",
        "pytest-trio",
        "pytest-twisted",
        "alt-pytest-asyncio",
    }
)

#: Options, keys, fixtures and markers whose names do not begin with that of their plugin. Read from the plugins, in 2026.
_WORDS = {
    "anyio": "anyio free_tcp_port free_udp_port",
    "hypothesis": "hypothesis",
    "inline-snapshot": "inline_snapshot snapshot_check",
    "pyfakefs": "fs fs_class fs_module fs_session patcher",
    "pytest-aiohttp": "aiohttp aiohttp_client aiohttp_server",
    "pytest-asyncio": "asyncio event_loop event_loop_policy unused_tcp_port unused_udp_port",
    "pytest-base-url": "base_url verify_base_url",
    "pytest-bdd": "bdd feature gherkin_terminal_reporter",
    "pytest-console-scripts": "script_runner script_launch_mode",
    "pytest-cov": "cov no_cov no_cover",
    "pytest-datadir": "datadir lazy_datadir original_datadir shared_datadir",
    "pytest-dependency": "dependency automark_dependency",
    "pytest-django": (
        "django ds dc reuse_db create_db migrations no_migrations admin_client client db live_server mailoutbox rf settings "
        "transactional_db"
    ),
    "pytest-doctestplus": "doctestplus doctest_plus doctest_rst doctest_ufunc doctest_only text_file_format",
    "pytest-dotenv": "envfile env_files env_override_existing_values",
    "pytest-env": "env",
    "pytest-examples": "eval_example update_examples",
    "pytest-flask": "client client_class config live_server start_live_server",
    "pytest-freezer": "freezer freeze_time",
    "pytest-html": "html css self_contained_html extras",
    "pytest-httpserver": "httpserver make_httpserver",
    "pytest-localserver": "httpserver httpsserver smtpserver",
    "pytest-memray": "memray limit_memory limit_leaks most_allocations",
    "pytest-mock": "mocker class_mocker module_mocker package_mocker session_mocker",
    "pytest-order": "order indulgent_ordering",
    "pytest-playwright": "browser browser_name context headed page playwright",
    "pytest-qt": "qapp qtbot qtmodeltester qtlog qt_api",
    "pytest-recording": "vcr block_network disable_recording record_mode allowed_hosts",
    "pytest-regressions": (
        "data_regression dataframe_regression file_regression image_regression ndarrays_regression num_regression force_regen "
        "regen_all"
    ),
    "pytest-remotedata": "remote_data",
    "pytest-repeat": "count repeat",
    "pytest-rerunfailures": "flaky reruns reruns_delay only_rerun rerun_except fail_on_flaky",
    "pytest-retry": "flaky retries retry_delay cumulative_timing",
    "pytest-run-parallel": "parallel_threads iterations thread_unsafe num_parallel_threads skip_thread_unsafe",
    "pytest-snapshot": "snapshot snapshot_update",
    "pytest-socket": "disable_socket enable_socket allow_hosts allow_unix_socket socket_enabled socket_disabled",
    "pytest-split": "splits group store_durations durations_path",
    "pytest-subprocess": "fp fake_process",
    "pytest-tornasync": "http_client http_server io_loop app_fixture",
    "pytest-trio": "trio autojump_clock mock_clock nursery",
    "pytest-vcr": "vcr vcr_cassette vcr_record disable_vcr",
    "pytest-virtualenv": "virtualenv",
    "requests-mock": "requests_mock",
    "respx": "respx respx_mock",
    "syrupy": "snapshot snapshot_update snapshot_details",
    "time-machine": "time_machine",
    "typeguard": "typeguard_packages",
}

_PATTERNS = (
    ("async", re.compile(r"async def functions are not natively supported()")),
    ("options", re.compile(r"unrecognized arguments: (.*)")),
    ("key", re.compile(r"Unknown config option: ([\w.-]+)")),
    ("fixture", re.compile(r"fixture '(\w+)' not found")),
    ("marker", re.compile(r"'(\w+)' not found in `markers` configuration option|Unknown pytest\.mark\.(\w+)")),
    ("module", re.compile(r"Error importing plugin \"([\w.]+)\": No module named")),
    ("distributions", re.compile(r"Missing required plugins: (.*)")),
)

_NO_MODULE = re.compile(r"^E\s+ModuleNotFoundError: No module named '(\w+)[\w.]*'\n*(.*)", re.MULTILINE)
_PLACE = re.compile(r"^(\S+\.py):(\d+): (?:in |ModuleNotFoundError)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Lack:
    """What a target's pytest does not know.

    :param kind: ``async`` for a plugin that runs coroutines, ``option``, ``key``, ``fixture``, ``marker``, ``module`` or
        ``distribution``.
    :param name: empty for ``async``.
    """

    kind: str
    name: str = ""

    def needs(self, distribution: str) -> str:
        """Say that it needs a distribution."""
        return (
            f"async def tests need {distribution}"
            if self.kind == "async"
            else f"the {self.kind} {self.name} needs {distribution}"
        )

    def is_met_by(self, distribution: str) -> bool:
        """Return whether a distribution brings it, as far as names show it."""
        name = canonicalize_name(distribution)
        if self.kind == "async":
            return name in _ASYNC
        if self.kind == "distribution":
            return name == canonicalize_name(self.name)
        if self.kind == "module":
            return known_modules.brings(name, self.name)
        wanted = _bare(self.name)
        words = set(map(_bare, _WORDS.get(name, "").split()))
        plugin = _bare(name.removeprefix("pytest-")) if "pytest-" in name else ""
        return wanted in words or bool(plugin and wanted.startswith(plugin))


def lacks(text: str, *, own: Iterable[str] = ()) -> Iterator[Lack]:
    """Yield what a target's pytest does not know, as a text of it shows.

    :param text: a usage error, a warning or the text of a failure.
    :param own: top-level modules of the wheel: what these lack is no plugin.
    """
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            found = next(filter(None, match.groups()), "")
            if kind == "options":
                options = (word.partition("=")[0] for word in found.split() if word.startswith("-"))
                yield from (Lack("option", option) for option in options)
            elif kind == "distributions":
                yield from (
                    Lack("distribution", re.split(r"[\s<>=!~\[]", part.strip())[0]) for part in found.split(",")
                )
            elif kind == "module":
                yield Lack("module", found.partition(".")[0])
            else:
                yield Lack(kind, found)
    yield from _modules(text, frozenset(own))


def missing_in_installed_code(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield the modules that installed files could not import, with file and line, as a failure shows them."""
    for module, file, line in _imports(text):
        if "site-packages" in file:
            yield module, file.replace("\\", "/"), line


def _modules(text: str, own: frozenset[str]) -> Iterator[Lack]:
    """Yield the modules that files of the project could not import: tests and conftest files."""
    for module, file, _ in _imports(text):
        is_project = file and not file.startswith((".", "/")) and "site-packages" not in file
        if module not in own and is_project:
            yield Lack("module", module)


def _imports(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield the modules that could not be imported, with file and line of the import; empty and 0 if they are not shown."""
    for match in _NO_MODULE.finditer(text):
        # pytest names the place behind the exception, or in front of it where a module is collected.
        before = _PLACE.findall(text[: match.start()])
        file, line = (_PLACE.findall(match[2]) or before[-1:] or [("", "0")])[0]
        yield match[1], file, int(line)


def _bare(name: str) -> str:
    return re.sub(r"[-_.]", "", name).lower()
