"""A release of 60 wheels: how long it takes on one runner and on five, and what that costs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from materials import PYTEST, RPDS, Materials
from measuring import run

#: Runners that divide the release.
SHARDS = 5


def measure(materials: Materials, progress: Callable[[str], None]) -> dict[str, Any]:
    """Test the wheels of rpds-py in one run and in shards, one after the other; return the seconds of each run.

    Those for Windows are only checked, as on a host without Wine, and so are the others for which this host has no
    interpreter.
    """
    cwd = materials.project("release", RPDS.format(20))
    # Only the other cases need this one.
    wheels = [
        path for tags, path in materials.rpds.items() if not tags.startswith("cp315-cp315-manylinux_2_17_aarch64")
    ]
    wheels = wheels[::10] if materials.quick else wheels
    argv = (*PYTEST, *(f"--wheel={wheel}" for wheel in wheels), "--wheel-no-wine")
    report = cwd / "one.json"
    one = (*argv, f"--wheel-report={report}", "tests")
    run(one, cwd)  # fills the caches
    whole = run(one, cwd, memory=True)
    targets = [
        target["name"]
        for wheel in json.loads(report.read_text(encoding="utf-8"))["wheels"]
        for target in wheel["targets"]
    ]
    progress(f"{len(wheels)} wheels, {len(targets)} targets: {whole.seconds:.1f} s")
    parts: list[Path] = []
    shards: list[float] = []
    for number in range(1, SHARDS + 1):
        parts.append(cwd / f"{number}.json")
        shard = (*argv, f"--wheel-shard={number}/{SHARDS}", f"--wheel-report={parts[-1]}", "tests")
        shards.append(run(shard, cwd).seconds)
        progress(f"shard {number}/{SHARDS}: {shards[-1]:.1f} s")
    program = Path(sys.executable).with_name("wheelcheck")
    merge = run((program, "merge", *parts, f"--wheel-report={cwd / 'merged.json'}"), cwd).seconds
    return {
        "wheels": len(wheels),
        "targets": len(targets),
        "emulated": sum("aarch64" in name for name in targets),
        "one": whole.seconds,
        "controller": whole.controller,
        "tree": whole.tree,
        "shards": shards,
        "merge": merge,
    }


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the table."""
    shards = found["shards"]
    total = sum(shards) + found["merge"]
    name = f"{found['wheels']} wheels of rpds-py, {found['targets']} targets, {found['emulated']} of them emulated"
    yield f"| {name} | until the result | cost |"
    yield "| --- | --- | --- |"
    yield f"| one runner | {found['one']:.1f} s | {found['one']:.1f} s |"
    yield f"| {len(shards)} shards and `wheelcheck merge` | {max(shards) + found['merge']:.1f} s | {total:.1f} s |"
    yield f"| ratio | {(max(shards) + found['merge']) / found['one']:.2f} | {total / found['one']:.2f} |"
