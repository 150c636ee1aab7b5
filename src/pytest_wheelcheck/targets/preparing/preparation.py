"""The result of preparing a target."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pytest_wheelcheck.backends.base import Environment
from pytest_wheelcheck.results import StepResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """The result of preparing a target. Crosses process borders as JSON, so that several workers can share it.

    :param steps: results of install, imports, entry points, executables.
    :param environment: where the tests run; ``None`` if they cannot be run.
    :param overlays: directories with the test tools.
    :param notes: what the user should know, one line each.
    """

    steps: tuple[StepResult, ...]
    environment: Environment | None = None
    overlays: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Write it as text."""
        environment = self.environment
        return json.dumps(
            {
                "steps": [step.to_json() for step in self.steps],
                "environment": environment and {name: str(path) for name, path in asdict(environment).items()},
                "overlays": [str(path) for path in self.overlays],
                "notes": self.notes,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Preparation:
        """Read the text of :meth:`to_json`."""
        data = json.loads(text)
        paths = data["environment"]
        return cls(
            steps=tuple(StepResult.from_json(step) for step in data["steps"]),
            environment=Environment(**{field.name: Path(paths[field.name]) for field in fields(Environment)})
            if paths
            else None,
            overlays=tuple(map(Path, data["overlays"])),
            notes=tuple(data["notes"]),
        )
