"""The assignment's grader gives points for what is right and takes them for the mistakes that students make."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from musc_lite.data.catalog import CATALOG

TEACHING = Path(__file__).parents[1] / "notebooks/teaching"
ASSIGNMENT = TEACHING / "assignment"
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


grader = loaded(ASSIGNMENT / "grade.py")


def lost(lines):
    return {line["test"] for line in lines if not line["passed"]}


@pytest.fixture
def graded(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMISSION", "")  # put back afterwards

    def grade(text):
        path = tmp_path / "theirs.py"
        path.write_text(text, encoding="utf-8")
        lines = grader.run(path)
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


def test_what_cannot_be_imported_gets_no_points_and_is_told(graded):
    lines, said = graded("def aggregate(:")
    assert grader.total(lines) == (0, 20)
    assert "SyntaxError" in said


def test_a_loop_without_end_loses_its_own_points_only(graded, monkeypatch):
    monkeypatch.setenv("SECONDS_EACH", "3")
    begin = "    low, high = image_scores.min()"
    lines, said = graded(SOLUTION.replace(begin, "    while True:\n        pass\n" + begin))
    assert {line["function"] for line in lines if not line["passed"]} == {"rescore"}
    assert "14 of 20 points" in said
    assert "not done after 3 seconds" in said


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
