"""The recipes of ``docs/ci.md`` and the action: their commands, and a check against the schemas of the CI services.

``python tests/recipes.py DIRECTORY`` writes the recipes to files and checks them with check-jsonschema.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pytest_wheelcheck.cli import cibuildwheel, init

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "ci.md"
ACTION = ROOT / "action.yml"


def blocks(title: str, language: str, page: Path = PAGE) -> list[str]:
    """Return the code blocks of a section of a page."""
    section = page.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found, title
    return [str(block) for block in found]


def action_steps(inputs: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Return the commands of the action and their variables, with inputs in place of expressions."""
    data: Any = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    values = {name: value.get("default", "") for name, value in data["inputs"].items()} | inputs
    expressions = {f"inputs.{name}": value for name, value in values.items()}
    expressions |= {"runner.temp": inputs["temp"], "steps.python.outputs.python-path": inputs["python"]}
    steps = []
    for step in data["runs"]["steps"]:
        if "run" in step:
            env = {
                name: re.sub(r"\$\{\{ (.*?) \}\}", lambda match: expressions[match[1]], text)
                for name, text in step["env"].items()
            }
            steps.append((step["run"], env))
    return steps


def gitlab_job() -> dict[str, Any]:
    """Return the job for GitLab."""
    (block,) = blocks("GitLab", "yaml")
    data: Any = yaml.safe_load(block)
    return data["test-wheels"]  # type: ignore[no-any-return]


def shard_jobs() -> dict[str, Any]:
    """Return the jobs for GitHub that divide a release."""
    (block,) = blocks("Shards", "yaml")
    data: Any = yaml.safe_load(block)
    return data  # type: ignore[no-any-return]


def main() -> None:
    """Check the recipes."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for title, schema in (("GitHub Actions", "vendor.github-workflows"), ("GitLab", "vendor.gitlab-ci")):
        (block,) = blocks(title, "yaml")
        path = directory / f"{schema}.yml"
        path.write_text(block, encoding="utf-8")
        subprocess.run(["check-jsonschema", "--builtin-schema", schema, path], check=True)
    (block,) = blocks("GitHub Actions", "yaml")
    path = directory / "shards.yml"
    # The key `on` is a boolean for YAML 1.1: the text of the workflow is kept, up to the jobs that are replaced.
    before, after = block.partition("\n  test:\n")[0], block.partition("\n  publish:\n")[2]
    path.write_text(f"{before}\n{blocks('Shards', 'yaml')[0]}  publish:\n{after}", encoding="utf-8")
    subprocess.run(["check-jsonschema", "--builtin-schema", "vendor.github-workflows", path], check=True)
    for number, requires in enumerate(("maturin", "setuptools-rust", "setuptools")):
        path = directory / f"init-{number}.yml"
        data: dict[str, Any] = {"build-system": {"requires": [requires], "build-backend": requires}}
        if requires == "setuptools-rust":
            # Has every part of the job that may be left out.
            own = {"test-command": "pytest -k 'a: #b'", "linux": {"archs": "x86_64 aarch64 s390x"}}
            data["tool"] = {"cibuildwheel": own}
        path.write_text(init.workflow(data, cibuildwheel.take(data)), encoding="utf-8")
        subprocess.run(["check-jsonschema", "--builtin-schema", "vendor.github-workflows", path], check=True)


if __name__ == "__main__":
    main()
