"""Grade submissions of the assignment: points for each function, and what is wrong where a test fails.

    python notebooks/teaching/assignment/grade.py their.py [other.py ...] [--json points.json]

A submission runs in processes of its own (`run_submission.py`), which get inputs and return arrays. This process
compares the arrays. That stops mistakes and shortcuts, but no attack on the machine: run it in a container.
"""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypeAlias

import numpy as np
from hidden_tests import TESTS, Steps

RUNNER = Path(__file__).with_name("run_submission.py")
LARGEST_SOURCE = 1_000_000  # bytes
LARGEST_OUTPUT = 256 << 20
Call: TypeAlias = tuple[str, tuple]  # a function and its arguments


def grade(submission: Path) -> list[dict]:
    """Return a line for each test: function, test, points, whether it passed, and why not."""
    steps = [test.steps() for test in TESTS]
    answers = run_all(
        submission, [[(test.function, call) for call in next(each)] for test, each in zip(TESTS, steps, strict=True)]
    )
    lines = []
    for test, step, answer in zip(TESTS, steps, answers, strict=True):
        why = answer if isinstance(answer, str) else compare(step, answer)
        name = test.steps.__name__
        lines.append({"function": test.function, "test": name, "points": test.points, "passed": not why, "why": why})
    return lines


def compare(step: Steps, answer: list[np.ndarray]) -> str:
    """Return what is wrong with the arrays that a submission returned for a test; "" if they are right."""
    try:
        step.send(answer)
    except StopIteration:
        return ""
    except AssertionError as error:
        return str(error)
    raise RuntimeError("a test yields once")


def run_all(submission: Path, tests: list[list[Call]]) -> list[list[np.ndarray] | str]:
    """Return for each test the arrays that its calls gave, or why there are none.

    Where a process ends early, the test at which it ended is lost, and another process goes on with the next.
    """
    try:
        with submission.open("rb") as file:
            source = file.read(LARGEST_SOURCE + 1)
    except OSError as error:
        return [f"the file cannot be read: {error.strerror}"] * len(tests)
    if len(source) > LARGEST_SOURCE:
        return [f"the file has more than {LARGEST_SOURCE:,} bytes"] * len(tests)
    answers: list[list[np.ndarray] | str] = []
    while left := tests[len(answers) :]:
        if not hasattr(signal, "setitimer"):
            left = left[:1]  # on Windows this process alone watches the clock, of one test at a time
        records, why = run(source, [call for calls in left for call in calls])
        if not records:  # not even the import ended
            return answers + [why] * (len(tests) - len(answers))
        del records[0]
        for calls in left:
            if len(records) < len(calls):
                answers.append(why)
                break
            answers.append([records.pop(0) for _ in calls])
    return answers


def run(source: bytes, calls: list[Call]) -> tuple[list[np.ndarray], str]:
    """Run calls in one process; return a record for the import, then one for each call that ended, and why it ended."""
    seconds = int(os.environ.get("SECONDS_EACH", "20"))  # of computing, for a loop that never ends
    task = {"source": source.decode("latin-1"), "seconds": seconds, "calls": calls}
    stdin = json.dumps(task, default=lambda array: {"dtype": str(array.dtype), "values": array.tolist()}).encode()
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        command = [sys.executable, "-I", "-B", RUNNER]
        try:
            code = subprocess.run(
                command,
                input=stdin,
                stdout=out,
                stderr=errors,
                cwd=folder,
                env=os.environ | threads,
                timeout=3 * seconds * (len(calls) + 2),
                start_new_session=True,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
        out.seek(0)
        errors.seek(max(errors.seek(0, os.SEEK_END) - 4000, 0))
        said = errors.read().decode(errors="replace").rpartition("\n")[2].strip()
        return read_records(out.read(LARGEST_OUTPUT), len(calls) + 1), reason(code, said, seconds)


def read_records(data: bytes, n_most: int) -> list[np.ndarray]:
    """Read .npy records as far as they are whole; what another program wrote ends them."""
    stream, records = io.BytesIO(data), []
    while len(records) < n_most and stream.tell() < len(data):
        try:
            array = np.lib.format.read_array(stream, allow_pickle=False)
        except Exception:  # whatever crafted bytes make the reader raise
            break
        if array.dtype.kind not in "biuf":
            break
        records.append(array)
    return records


def reason(code: int | None, said: str, seconds: int) -> str:
    """Return why a process ended before it had answered all calls."""
    timers = {-getattr(signal, name, 0) for name in ("SIGALRM", "SIGPROF")} - {0}
    if code is None or code in timers:
        return f"not done after {seconds} seconds"
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name}"
    return said if code == 1 and said else f"the process ended without a result (exit code {code})"


def total(lines: list[dict]) -> tuple[int, int]:
    """Add up: points reached, points there are."""
    return sum(line["points"] for line in lines if line["passed"]), sum(line["points"] for line in lines)


def in_words(name: str, lines: list[dict]) -> str:
    """Return how many points a submission has, by function, and why the others are lost."""
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
    arguments = parser.parse_args()
    graded: dict[str, list[dict]] = {}
    try:
        for path in arguments.submissions:
            graded[str(path)] = lines = grade(path)
            print(in_words(str(path), lines), flush=True)
    except KeyboardInterrupt:
        print(f"interrupted: {len(graded)} of {len(arguments.submissions)} files are graded", file=sys.stderr)
        sys.exit(130)
    finally:
        if arguments.json:
            arguments.json.write_text(json.dumps(graded, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
