"""A few mutated releases; ``tox run -e mutations`` runs a thousand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mutations
import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="the runs are forked")
def test_mutated_wheels_leave_the_others_alone() -> None:
    script = Path(mutations.__file__)
    command = [sys.executable, str(script), "--runs=12", "--seconds=15", "--installed=0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the runs are forked")
def test_a_changed_verdict_is_found(tmp_path: Path) -> None:
    """A wheel that becomes another version of another project changes the verdict on that project."""
    found = mutations.Mutations(tmp_path, share=0.0)
    before = found.baseline("pure")
    mutated = found.sound / "p01-1.0-py3-none-any.whl"
    parts = mutations.read(mutated)
    parts.filename = "p00-2.0-py3-none-any.whl"
    release = tmp_path / "release"
    release.mkdir()
    for path in found.wheels("pure"):
        if path != mutated:
            (release / path.name).write_bytes(path.read_bytes())
    written = mutations.write(release, parts)
    after = found.run(release, "pure")
    with pytest.raises(mutations.WrongError, match=r"p00-1.0-py3-none-any.whl changed: .*WHL901"):
        mutations.check(before, after, mutated.name, written.name, "names")
