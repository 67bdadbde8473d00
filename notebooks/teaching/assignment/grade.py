"""Grade submissions of the assignment: points for each function, and what is wrong where a test fails.

    python notebooks/teaching/assignment/grade.py their.py [other.py ...] [--json points.json]

It runs what students wrote, with your rights: do it where they can do no harm, such as in a container.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent


class Points:
    """A plugin of pytest that collects a line for each test: function, points, whether it passed, and why not."""

    def __init__(self) -> None:
        self.lines: list[dict] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        """Make the mark known."""
        config.addinivalue_line("markers", "points(n, function): what a test is worth")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo):
        """Write the line of a test that ran, or that could not begin, as where the submission cannot be imported."""
        report = yield
        if report.when == "call" or (report.when == "setup" and report.failed):
            worth, function = item.get_closest_marker("points").args
            why = "" if report.passed else call.excinfo.exconly().replace("AssertionError: ", "").strip()
            line = {"function": function, "test": item.name, "points": worth, "passed": report.passed, "why": why}
            self.lines.append(line)
        return report


def run(submission: Path) -> list[dict]:
    """Run the hidden tests on one file, in this process, and give their lines."""
    os.environ["SUBMISSION"] = str(submission.resolve())
    plugin = Points()
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:nbval", "-c", os.devnull, "--rootdir", str(HERE)]
    pytest.main([str(HERE / "hidden_tests.py"), *options], plugins=[plugin])
    return plugin.lines


def grade(submission: Path) -> list[dict]:
    """Run them in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "lines.json"
        command = [sys.executable, __file__, submission.resolve(), "--into", lines]
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=folder, capture_output=True, check=True)
        return json.loads(lines.read_text(encoding="utf-8"))


def total(lines: list[dict]) -> tuple[int, int]:
    """Add up: points reached, points there are."""
    return sum(line["points"] for line in lines if line["passed"]), sum(line["points"] for line in lines)


def in_words(name: str, lines: list[dict]) -> str:
    """Say how many points a submission has, by function, and why the others are lost."""
    said = ["{}: {} of {} points".format(name, *total(lines))]
    for function in dict.fromkeys(line["function"] for line in lines):
        of_function = [line for line in lines if line["function"] == function]
        said.append("  {}: {} of {}".format(function, *total(of_function)))
        lost = [line for line in of_function if not line["passed"]]
        said += [f"    -{line['points']} {line['test']}: {' '.join(line['why'].split())}"[:240] for line in lost]
    return "\n".join(said)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", nargs="*", type=Path)
    parser.add_argument("--json", type=Path, help="write all lines there too")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # the process of one submission
    arguments = parser.parse_args()
    if arguments.into:
        arguments.into.write_text(json.dumps(run(arguments.submissions[0])), encoding="utf-8")
        return
    graded = {str(path): grade(path) for path in arguments.submissions}
    for name, lines in graded.items():
        print(in_words(name, lines))
    if arguments.json:
        arguments.json.write_text(json.dumps(graded, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
