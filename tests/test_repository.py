"""Files that only other programs read, such as GitHub: they are well formed and do not contradict each other."""

import tomllib
from pathlib import Path

import pytest
import yaml

import musc_lite

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
YAML = [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"]


def read(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_is_well_formed(path):
    assert isinstance(read(path), dict)


def test_one_version_and_one_address():
    citation = read("CITATION.cff")
    assert citation["version"] == PROJECT["version"] == musc_lite.__version__
    assert citation["license"] == PROJECT["license"]
    address = PROJECT["urls"]["Repository"]
    assert citation["repository-code"] == address
    advisory = f"{address}/security/advisories/new"
    assert advisory in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert read(".github/ISSUE_TEMPLATE/config.yml")["contact_links"][0]["url"] == advisory


def test_the_paper_is_cited():
    paper = read("CITATION.cff")["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == ["Li", "Huang", "Xue", "Zhou"]
    assert (paper["type"], paper["year"]) == ("conference-paper", 2024)
    assert paper["url"] in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/ISSUE_TEMPLATE/[!c]*.yml")), ids=lambda path: path.stem)
def test_issue_forms_have_what_github_asks_for(path):
    form = read(path)
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


def test_workflows_run_with_few_rights_and_a_limit():
    for path in ROOT.glob(".github/workflows/*.yml"):
        workflow = read(path)
        assert workflow["permissions"] == {"contents": "read"}
        assert all(job["timeout-minutes"] for job in workflow["jobs"].values())


def test_the_oldest_python_of_the_package_is_tested():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    for job in read(".github/workflows/tests.yml")["jobs"].values():
        assert min(job["strategy"]["matrix"]["python"]) == oldest
