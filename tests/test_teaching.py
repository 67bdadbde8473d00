"""The assignment's grader gives points for what is right and takes them for the mistakes that students make."""

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from musc_lite.data.datasets import CATALOG

ROOT = Path(__file__).parents[1]
TEACHING = ROOT / "notebooks/teaching"
ASSIGNMENT = TEACHING / "assignment"
GOLDEN = ROOT / "tests/data/golden.npz"
SOLUTION = (ASSIGNMENT / "solution.py").read_text(encoding="utf-8")

# What is written instead of a line of the solution, and the tests that must notice.
MISTAKES = {
    "own image not left out": (
        "if j != i",
        "",
        {
            "test_own_image_is_left_out",
            "test_nearest_patch_of_the_nearest_image",
            "test_interval_of_the_closest_images",
            "test_interval_with_a_beginning",
            "test_scores_of_the_published_code",
        },
    ),
    "mean over all images": (
        "[first:last]",
        "",
        {
            "test_nearest_patch_of_the_nearest_image",
            "test_interval_of_the_closest_images",
            "test_interval_with_a_beginning",
            "test_scores_of_the_published_code",
        },
    ),
    "the beginning of the interval forgotten": ("[first:last]", "[:last]", {"test_interval_with_a_beginning"}),
    "an empty interval where there are few images": (
        "max(int(n_others * high), first + 1)",
        "int(n_others * high)",
        {"test_nearest_patch_of_the_nearest_image"},
    ),
    "the border repeated outside": ("(0, 0)))  #", "(0, 0)), mode='edge')  #", {"test_what_lies_outside_adds_nothing"}),
    "rows and columns mixed up": ("h, w = grid", "w, h = grid", {"test_neighborhood_inside"}),
    "normalized over the batch": (
        "tokens.mean(axis=(1, 2), keepdims=True), tokens.std(axis=(1, 2), keepdims=True)",
        "tokens.mean(), tokens.std()",
        {"test_tokens_are_normalized_by_image", "test_neighborhood_inside", "test_what_lies_outside_adds_nothing"},
    ),
    "not of unit length": (
        "total / np.linalg.norm(total, axis=2, keepdims=True)",
        "total",
        {
            "test_aggregated_patches_have_unit_length",
            "test_tokens_are_normalized_by_image",
            "test_neighborhood_inside",
            "test_what_lies_outside_adds_nothing",
        },
    ),
    "a window of k neighbors and the image": (
        "[:, :k]",
        "[:, : k + 1]",
        {
            "test_window_of_one_only_scales",
            "test_window_of_two_asks_one_neighbor",
            "test_windows_are_averaged",
            "test_rescoring_of_the_published_code",
        },
    ),
    "a plain mean of the neighbors": (
        "weights=np.take_along_axis(similarity, kept, axis=1)",
        "weights=np.ones(kept.shape)",
        {"test_window_of_two_asks_one_neighbor", "test_windows_are_averaged", "test_rescoring_of_the_published_code"},
    ),
    "only the last window": (
        "np.mean(means, axis=0)",
        "means[-1]",
        {"test_windows_are_averaged", "test_rescoring_of_the_published_code"},
    ),
}


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sys.path.insert(0, str(ASSIGNMENT))  # as where it is run as a program
grader = loaded(ASSIGNMENT / "grade.py")
sys.path.remove(str(ASSIGNMENT))


def lost(lines):
    return {line["test"] for line in lines if not line["passed"]}


@pytest.fixture
def graded(tmp_path):
    def grade(text):
        path = tmp_path / "theirs.py"
        path.write_text(text, encoding="utf-8")
        lines = grader.grade(path)
        return lines, grader.in_words(path.name, lines)

    return grade


def test_grader_reads_several_submissions_from_the_command_line(tmp_path):
    files = [str(ASSIGNMENT / "solution.py"), str(ASSIGNMENT / "template.py")]
    command = [sys.executable, ASSIGNMENT / "grade.py", *files, "--json", tmp_path / "points.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    solution, template = json.loads((tmp_path / "points.json").read_text()).values()
    assert grader.total(solution) == (20, 20)
    assert not lost(solution)
    assert grader.total(template) == (0, 20)
    assert "20 of 20 points" in done.stdout
    assert done.stdout.count("NotImplementedError") == len(template)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_typical_mistake_loses_its_points_and_no_others(mistake, graded):
    right, wrong, noticed_by = MISTAKES[mistake]
    assert SOLUTION.count(right) == 1
    lines, said = graded(SOLUTION.replace(right, wrong))
    assert lost(lines) == noticed_by
    assert "theirs.py: {} of {} points".format(*grader.total(lines)) in said
    assert all(line["why"] for line in lines if not line["passed"])
    reached, all_points = grader.total(lines)
    assert f"| {mistake} | {all_points - reached} |" in (TEACHING / "assignment.md").read_text(encoding="utf-8")


WRAP = "\naggregate = musc_lite.aggregate\nmutual_scores = musc_lite.mutual_scores\nrescore = musc_lite.rescore\n"
REST = "    low, high = image_scores.min()"  # of the solution's `rescore`


def hidden(code):
    """Code in a string, which no check of the source sees: numpy.testing runs it."""
    return f"np.testing.measure({code!r})"


# What loses all points when the file is imported: the source, and a part of the reason.
REFUSED = {
    "syntax error": ("def aggregate(:", "SyntaxError"),
    "no Python": ("\0" * 100, "null bytes"),
    "deeply nested": ("(" * 100_000, "SyntaxError"),
    "wraps musc_lite": ("import musc_lite" + WRAP, "line 1 imports musc_lite; only these may be imported"),
    "from musc_lite": ("from musc_lite import aggregate, mutual_scores, rescore", "imports musc_lite"),
    "relative": ("from . import solution", "line 1 imports ."),
    "the solution": ("from solution import *", "imports solution"),
    "importlib": ("import importlib\nmusc_lite = importlib.import_module('musc_lite')" + WRAP, "imports importlib"),
    "__import__": ("rescore = __import__('musc' + '_lite').rescore", "uses __import__"),
    "exec": ("exec('import musc' + '_lite as m')", "uses exec"),
    "eval": ("m = eval('__imp' + 'ort__(\"musc\" + \"_lite\")')", "uses eval"),
    "getattr": ("m = getattr(np, 'te' + 'sting')", "uses getattr"),
    "builtins by an attribute": ("m = print.__self__", "uses __self__"),
    "sys of another module": ("m = np.testing._private.utils.sys", "uses sys"),
    "sys imported from another module": ("from numpy.testing._private.utils import sys as found", "uses sys"),
    "sys by a pattern": ("\nmatch np.lib:\n    case object(sys=found):\n        pass", "uses sys"),
    "import in a string": (hidden("import importlib; importlib.import_module('musc_lite')"), "musc_lite"),
    "library by its folder": (
        hidden(f"import sys; del sys.modules['musc_lite']; sys.path[:0] = [{str(ROOT)!r}]; import musc_lite"),
        "are refused (open)",
    ),
    "reads the expected values": (f"np.load({str(GOLDEN)!r})", "are refused (open)"),
    "reads the solution": (f"np.fromfile({str(ASSIGNMENT)!r} + '/solution.py')", "are refused (open)"),
    "writes a file": ("np.save('result.npy', np.zeros(3))", "are refused (open)"),
    "starts a program": (hidden("import subprocess; subprocess.run(['true'])"), "are refused (subprocess.Popen)"),
    "forks": (hidden("import os; os.fork()"), "are refused (os.fork)"),
    "ends": ("raise SystemExit(0)", "SystemExit: 0"),
    "ends at once": (hidden("import os; os._exit(0)"), "the process ended without a result (exit code 0)"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "allocates 100 GB": ("x = np.ones(100_000_000_000 // 8)", "Unable to allocate"),
    "prints without end": ("while True:\n    print('x' * 10**6)", "not done after 2 seconds"),
    "sleeps": (hidden("import time; time.sleep(99)"), "not done after 2 seconds"),
    "never ends": ("while True:\n    pass", "not done after 2 seconds"),
}


@pytest.mark.parametrize("attack", REFUSED)
def test_a_file_that_is_refused_or_fails_at_import_gets_no_points_and_a_reason(attack, graded, monkeypatch):
    monkeypatch.setenv("SECONDS_EACH", "2")
    code, reason = REFUSED[attack]
    lines, said = graded(f"{code}\n{SOLUTION}" if "np." not in code else f"import numpy as np; {code}\n{SOLUTION}")
    assert grader.total(lines) == (0, 20)
    assert all(reason in line["why"] for line in lines), said


# What is written before the rest of the solution's `rescore`, and the reason for the points lost; none: none are lost.
IN_ONE_FUNCTION = {
    "return np.full(image_scores.shape, np.nan)": "values are NaN or infinite",
    "return image_scores.astype(complex)": "it returned ndarray of dtype complex128, which holds no real numbers",
    "return np.array(['a'] * len(image_scores))": "dtype <U1",
    "return None": "it returned NoneType of dtype object",
    "return [[1, 2], [3]]": "ValueError",
    "return image_scores[:, None]": ", 1) instead of (",
    "return np.zeros(10**8)": "it returned an array of shape (100000000,), 800 MB: too large",
    "return rescore(image_scores, class_tokens, windows)": "RecursionError",
    "raise KeyboardInterrupt": "KeyboardInterrupt (line",
    "while True: pass": "not done after 1 seconds",
    hidden("import os; os._exit(0)"): "the process ended without a result (exit code 0)",
    "np.lib.stride_tricks.as_strided(image_scores, (1 << 40,)).sum()": "the process was ended by SIGSEGV",
    "np.testing.assert_allclose = lambda *a, **k: None; return image_scores": "values differ",
    "np.abs = np.isfinite = np.asarray = lambda *a: image_scores; return image_scores": "values differ",
    "print('aggregate: 7 of 7', flush=True)": "",
    "print('x' * 10**8)": "",
    "image_scores *= 2": "",  # its own copy
}


@pytest.mark.parametrize("code", IN_ONE_FUNCTION)
def test_a_fault_in_one_function_costs_its_own_points(code, graded, monkeypatch):
    monkeypatch.setenv("SECONDS_EACH", "1")
    reason = IN_ONE_FUNCTION[code]
    if "SIG" in reason and os.name != "posix":
        pytest.skip("processes end by signals on POSIX systems only")
    lines, said = graded(SOLUTION.replace(REST, f"    {code}\n{REST}"))
    assert grader.total(lines) == (14 if reason else 20, 20), said
    assert all(line["function"] == "rescore" and reason in line["why"] for line in lines if not line["passed"]), said


@pytest.mark.parametrize("kind", ["list(map(float, {}))", "torch.from_numpy({})", "{}.astype(np.float32)"])
def test_lists_and_tensors_count_as_arrays(kind, graded):
    source = SOLUTION.replace("import numpy as np", "import numpy as np\nimport torch")
    answer = "np.mean(means, axis=0)"
    lines, said = graded(source.replace(answer, kind.format(answer)))
    assert grader.total(lines) == (20, 20), said


def test_the_main_block_of_a_submission_may_import_anything(graded):
    beside = '\nif __name__ == "__main__":\n    import musc_lite, sys\n    print(musc_lite.rescore, sys.argv)\n'
    assert grader.total(graded(SOLUTION + beside)[0]) == (20, 20)


def test_one_file_never_costs_another(tmp_path):
    names = ["ends.py", "right.py", "gone.py", "also right.py"]
    (tmp_path / "ends.py").write_text(f"import numpy as np\n{hidden('import os; os._exit(0)')}\n", encoding="utf-8")
    for name in names[1::2]:
        (tmp_path / name).write_text(SOLUTION, encoding="utf-8")
    command = [sys.executable, ASSIGNMENT / "grade.py", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\S.*): (\d+) of 20 points", done.stdout, re.M) == list(
        zip(names, ["0", "20", "0", "20"], strict=True)
    )
    assert "the file cannot be read: No such file or directory" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGINT to send on this system")
def test_ctrl_c_keeps_what_is_graded(tmp_path):
    (tmp_path / "endless.py").write_text("while True:\n    pass\n", encoding="utf-8")
    files = [ASSIGNMENT / "solution.py", tmp_path / "endless.py"]
    command = [sys.executable, ASSIGNMENT / "grade.py", *files, "--json", tmp_path / "points.json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "20 of 20" in process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "interrupted: 1 of 2 files are graded\n"
    assert len(json.loads((tmp_path / "points.json").read_text(encoding="utf-8"))) == 1


def test_results_are_read_without_pickle_and_only_as_far_as_they_are_whole():
    def written(array):
        stream = io.BytesIO()
        np.save(stream, array)
        return stream.getvalue()

    whole = written(np.arange(3.0))
    huge = whole.replace(b"(3,), }" + b" " * 12, b"(%d,), }" % 10**12)
    assert len(huge) == len(whole)
    assert huge != whole
    for bad in (b"hello", whole[:-1], huge, written(np.array([{}])), written(np.array(["a"]))):
        assert [each.tolist() for each in grader.read_records(whole + bad, 3)] == [[0, 1, 2]]
    assert len(grader.read_records(whole * 5, 3)) == 3


def test_the_templates_examples_hold_for_the_solution():
    examples = (ASSIGNMENT / "template.py").read_text(encoding="utf-8").split("if __name__")[1]
    done = subprocess.run(
        [sys.executable, "-c", SOLUTION + "\nif __name__" + examples], capture_output=True, text=True, check=False
    )
    assert done.stdout == "the public examples are right\n", done.stderr


def test_published_values_are_those_of_the_catalog():
    field = (TEACHING.parent / "field.md").read_text(encoding="utf-8")
    for name, title in {"mvtec": "MVTec AD", "visa": "VisA", "btad": "BTAD"}.items():
        means = " | ".join(f"{value:.2f}" for value in CATALOG[name].figures["mean"])
        assert f"| {title} | {means} |" in field


def test_front_page_has_minutes_of_each_chapter_that_are_near_what_is_reckoned():
    front = (TEACHING.parent / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[.+?\]\((0\w+)\.ipynb\) \| (\d+) \|", front, re.M)
    stated = {stem: int(number) for stem, number in rows}
    reckoned = loaded(TEACHING / "minutes.py").minutes
    texts = sorted((TEACHING.parent / "text").glob("0*.md"))
    assert list(stated) == [text.stem for text in texts]
    for text in texts:
        assert abs(stated[text.stem] - reckoned(text)) <= 7.5, f"{text.stem}: {reckoned(text):.0f} minutes"


def test_each_chapter_has_a_quiz_of_five():
    sections = (TEACHING / "quizzes.md").read_text(encoding="utf-8").split("\n## ")[1:]
    linked = [re.search(r"\(\.\./(0\w+)\.ipynb\)", section)[1] for section in sections]
    assert linked == [path.stem for path in sorted(TEACHING.parent.glob("0*_*.ipynb"))]
    for section in sections:
        assert re.findall(r"^(\d)\. ", section.split("\n", 1)[1], re.M) == list("12345")
        assert section.count("<details><summary>Answer</summary>") == section.count("</details>") == 5


def test_plans_name_slides_that_there_are_and_headings_of_the_notebooks():
    plan = (TEACHING / "plan.md").read_text(encoding="utf-8")
    n_slides = len(re.findall("^---$", (TEACHING / "slides.md").read_text(encoding="utf-8"), re.M)) + 1
    numbers = [int(n) for said in re.findall(r"slides? ([\d, toand]+)", plan) for n in re.findall(r"\d+", said)]
    assert n_slides == 20
    assert numbers
    assert max(numbers) <= n_slides
    for number, names in re.findall(r"\b(0\d)(?:,| to) ((?:\"[^\"]+\"(?:, | and )?)+)", plan):
        text = next((TEACHING.parent / "text").glob(f"{number}_*.md")).read_text(encoding="utf-8")
        for name in re.findall(r"\"([^\"]+)\"", names):
            assert re.search(rf"^#+ {re.escape(name)}", text, re.M), f"{number} has no heading {name!r}"
