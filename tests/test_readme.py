"""Every Python example of the README runs as it stands there, and its YAML is a campaign."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bulkmail.config.load import load_campaign

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder in which the README's paths exist."""
    shutil.copytree(ROOT / "campaigns", tmp_path / "campaigns", ignore=shutil.ignore_patterns(".bulkmail", "keys"))
    return tmp_path


@pytest.mark.parametrize("example", PYTHON, ids=["engine", "send"])
def test_an_example_runs_as_printed(example: str, clone: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=clone,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(clone)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "delivered" in done.stdout or " of " in done.stdout


def test_there_are_examples_of_both_faces_of_the_library() -> None:
    assert len(PYTHON) == 2


def test_the_yaml_of_the_readme_is_a_campaign_that_loads(clone: Path) -> None:
    text = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0]
    document = yaml.safe_load(text)
    document["delivery"]["route"] = "sandbox"  # where a missing key file is no mistake
    path = clone / "campaigns" / "readme.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    assert load_campaign(path).campaign == "spring-2027"
