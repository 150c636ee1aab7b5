"""Combines the coverage data of all targets and makes the reports. An interpreter of the host runs this file as a program.

It imports coverage from the test tools of a target. The public interface of coverage is used, of 6.0 and newer.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Files without a source that a note names.
_MAX_NAMES = 5


class Combination:
    """The combined data of one run.

    :param task: ``files``; ``sites``, pairs of a directory of installed modules, and the directories of their sources by
        top-level names (a name without one has an empty text); ``installed``, directories that stand for the source of such
        a name; ``run``, the directory of the run; ``roots``, those of the project; ``sources``, ``config``, ``append``,
        ``reports``, ``fail_under``, ``precision``: the options.
    """

    def __init__(self, coverage: Any, task: dict[str, Any]) -> None:
        self._coverage = coverage
        self._task = task
        self._without_source: set[str] = set()
        self._cov = self._open()
        self._relative = bool(self._cov.get_option("run:relative_files"))
        self.data_file = os.path.abspath(self._cov.get_option("run:data_file"))

    def _open(self, data_file: str | None = None) -> Any:
        more = {} if data_file is None else {"data_file": data_file}
        return self._coverage.Coverage(
            config_file=self._task["config"] or True, source=self._task["sources"] or None, **more
        )

    def here(self, path: str) -> str:
        """Return the source of a measured file; an empty text if it is to be left out."""
        absolute = os.path.abspath(path)
        for site, bases in self._task["sites"]:
            if absolute.startswith(site + os.sep):
                relative = absolute[len(site) + 1 :]
                first = relative.split(os.sep, 1)[0]
                top = first.removesuffix(".py")
                bases_of_top = [bases[top]] if bases.get(top) else self._task["installed"].get(top, [])
                for base in bases_of_top:
                    found = os.path.join(base, relative)
                    if os.path.isfile(found):
                        return self._shown(found)
                self._without_source.add(relative)
                return ""
        inside = any(absolute.startswith(root + os.sep) for root in self._task["roots"])
        if not inside or absolute.startswith(self._task["run"] + os.sep) or not os.path.exists(absolute):
            # Files that tests made; and a target does not decide which of the user's files a report shows.
            return ""
        return self._shown(absolute)

    def _shown(self, path: str) -> str:
        """Return a path as coverage has it in its data."""
        path = os.path.realpath(path)
        relative = os.path.relpath(path)
        return relative if self._relative and not relative.startswith("..") else path

    def combine(self) -> None:
        """Write the data file."""
        # Another program may read it meanwhile.
        side = "%s.wheelcheck-%d" % (self.data_file, os.getpid())
        omits = _omitting(self._cov)
        try:
            data = self._coverage.CoverageData(side)
            if self._task["append"] and os.path.exists(self.data_file):
                _update(data, self._read(self.data_file), lambda path: path)
            for file in self._task["files"]:
                part = self._read(file)
                places = {path: self.here(path) for path in part.measured_files()}
                left_out = [path for path, place in places.items() if not place or omits(os.path.abspath(place))]
                if left_out:
                    part.close()
                    _forget(file, left_out)
                    part = self._read(file)
                _update(data, part, places.__getitem__)
                part.close()
            if not data.measured_files():
                raise ValueError("no file of the source tree was measured")
            data.write()
            data.close()
            os.replace(side, self.data_file)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(side)

    def _read(self, file: str) -> Any:
        data = self._coverage.CoverageData(file)
        data.read()
        return data

    def notes(self) -> list[str]:
        """Return what the user should know about the data."""
        names = sorted(self._without_source)
        if not names:
            return []
        more = " and %d more" % (len(names) - _MAX_NAMES) if len(names) > _MAX_NAMES else ""
        return ["not in the source tree, so left out: %s%s" % (", ".join(names[:_MAX_NAMES]), more)]

    def report(self) -> tuple[str, float]:
        """Make the reports; return what the terminal shows, and the total in percent."""
        text = io.StringIO()
        cov = self._cov = self._open()
        cov.load()
        if self._task["precision"] is not None:
            cov.set_option("report:precision", self._task["precision"])
        reports = dict(self._task["reports"])
        total = float(cov.report(file=io.StringIO(), ignore_errors=True))
        if "term" in reports or "term-missing" in reports:
            modifiers = {reports.get("term"), reports.get("term-missing")}
            cov.report(
                file=text,
                ignore_errors=True,
                show_missing="term-missing" in reports or None,
                skip_covered="skip-covered" in modifiers or None,
            )
        for kind, destination in reports.items():
            if kind not in {"term", "term-missing"}:
                where = self._write(kind, destination)
                text.write("Coverage %s written to %s\n" % (kind.upper(), os.path.relpath(where)))
        return text.getvalue(), total

    def _write(self, kind: str, destination: str) -> str:
        """Write one report; return its path."""
        cov = self._cov
        if kind == "html":
            cov.html_report(directory=destination or None, ignore_errors=True)
            return destination or str(cov.get_option("html:directory"))
        if kind == "annotate":
            cov.annotate(directory=destination or None, ignore_errors=True)
            return destination or os.curdir
        if kind in {"markdown", "markdown-append"}:
            destination = destination or "coverage.md"
            with open(destination, "a" if kind == "markdown-append" else "w", encoding="utf-8") as file:
                cov.report(file=file, output_format="markdown", ignore_errors=True)
            return destination
        write = {"xml": cov.xml_report, "json": cov.json_report, "lcov": cov.lcov_report}[kind]
        write(outfile=destination or None, ignore_errors=True)
        return destination or str(cov.get_option("%s:output" % kind))

    def failure(self, total: float) -> str:
        """Return why the total is too small; empty if it is not."""
        required = self._task["fail_under"]
        if required is None:
            required = self._cov.get_option("report:fail_under") or 0
        precision = int(self._cov.get_option("report:precision") or 0)
        # As coverage itself does it: 99.9 % is never rounded up to 100 %.
        if round(total, precision) >= required and not (required == 100 and total < 100):
            return ""
        return "total coverage of %.2f%% is less than the required %g%%" % (total, required)


def _update(data: Any, part: Any, place: Callable[[str], str]) -> None:
    """Add data, with other paths. The name of the parameter, and what it takes, depend on the version of coverage."""
    import inspect

    if "map_path" in inspect.signature(data.update).parameters:
        data.update(part, map_path=place)
        return

    class Aliases:
        @staticmethod
        def map(path: str) -> str:
            return place(path)

    data.update(part, aliases=Aliases())


def _forget(file: str, paths: list[str]) -> None:
    """Remove files from a data file. The schema is documented (coverage: dbschema), and there is no function for it."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(file)) as database, database:
        for path in paths:
            for table in ("line_bits", "arc", "tracer"):
                database.execute(
                    "delete from %s where file_id in (select id from file where path = ?)" % table,  # noqa: S608
                    (path,),
                )
            database.execute("delete from file where path = ?", (path,))


def _omitting(cov: Any) -> Callable[[str], bool]:
    """Return whether the setting ``omit`` leaves out a file: a target cannot apply a path of the source tree."""
    import importlib

    files = importlib.import_module("coverage.files")
    matcher = files.GlobMatcher(files.prep_patterns(cov.get_option("run:omit") or []), "omit")
    return matcher.match  # type: ignore[no-any-return]


def main(task_file: str, result_file: str) -> None:
    """Do the task in a file, and write the result to another: ``text``, ``notes``, ``failure``, ``error``."""
    with open(task_file, encoding="utf-8") as file:
        task = json.load(file)
    sys.path[:0] = task["tools"]
    result = {"text": "", "notes": [], "failure": "", "error": ""}
    combination = None
    try:
        import importlib

        coverage = importlib.import_module("coverage")
        combination = Combination(coverage, task)
        combination.combine()
        result["notes"] = combination.notes()
        if task["report"]:
            result["text"], total = combination.report()
            result["failure"] = combination.failure(total)
    except Exception as error:
        result["error"] = " ".join(str(error).split()) or type(error).__name__
        result["notes"] = combination.notes() if combination is not None else []
    with open(result_file, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
