"""Files about the project agree with the package."""

import re
from pathlib import Path

import yaml

from uniformer_mm import __version__

ROOT = Path(__file__).resolve().parent.parent


def test_changelog_and_citation_have_the_version():
    sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[:2] == ["Unreleased", __version__]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__


def test_ci_runs_every_supported_python_with_the_oldest_and_the_pinned_torch():
    project = (ROOT / "pyproject.toml").read_text()
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    matrix = job["strategy"]["matrix"]
    oldest = re.search(r'"torch>=([\d.]+)"', project)[1]
    pinned = re.search(r'"torch==([\d.]+)"', project)[1]
    assert matrix["torch"] == [f"{oldest}.0", pinned]
    first, last = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', project).groups()
    assert matrix["python"] == [f"3.{minor}" for minor in range(int(first), int(last))]
    assert job["steps"][-1]["run"] == "bash .ci/run"


def test_the_issue_form_asks_for_the_doctors_report():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug_report.yml").read_text())
    required = {
        field["id"] for field in form["body"] if field.get("validations", {}).get("required")
    }
    assert {"command", "doctor"} <= required
