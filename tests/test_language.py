"""What people read is plain technical English: the field's words, docstrings that begin with a verb, short messages."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "musc_lite").rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "notebooks" / "guide.md", ROOT / "notebooks" / "index.md"]
READ = [*PAGES, *SOURCES, *(path for kind in ("jinja", "js") for path in (ROOT / "musc_lite").rglob(f"*.{kind}"))]

# Words of our own, and the field's.
METAPHORS = {
    r"(images?|nothing|photos?|those|which) (that )?(do not |does not )?stands? out": "flagged as anomalous",
    r"\bodd ones\b": "anomalies",
    r"\bdraws? the line\b": "sets the threshold",
    r"\bline files?\b": "reference model",
    r"\bvouch": "confirm as good",
    r"\breckon": "estimate",
    r"\bforeman\b": "review app",
    r"\ball-clear\b": "this does not prove that all images are good",
    r"\bcalled defective\b": "flagged",
    r"\bspeaks? for\b": "is averaged with",
    r"\bfinds? its like\b": "has a match",
}
# Names of the previous version; where one of them still works, it is in a table of old names.
OLD = """
Framing NamedTokens OF_SCORES OutlierAnswers about_line apply_line asked_again atomic_path average_of_the_rest
bands_of cached_file cells_of_grid check_apart far_apart find_weights fit_line followed_by half_squares
how_closely is_fused is_shortened keep_weights kept_path known_images lay_map line_digest middle_size n_longer
nearest_of_pairs nearest_to_references not_written of_references on_all_cores one_thread opposed places_of
plain_errors published_size say_cost score_by_trusted scorer_at set_state settle_precision settle_view
some_photos split_ranks things_shared unseen_defects usual_high weights_explained what_a_patch_covers
""".split()  # noqa: SIM905 - a long table
VERBS = ("Give", "Say", "Tell", "Refuse")
LONGEST = 50  # words of a sentence in an error or a warning; it names what was given, what is needed and what to do


def shown(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", READ, ids=shown)
def test_no_metaphor_of_our_own(path):
    text = path.read_text(encoding="utf-8")
    found = {m[0]: better for word, better in METAPHORS.items() for m in re.finditer(word, text, re.IGNORECASE)}
    assert not found


def test_old_names_are_gone_but_for_the_tables_of_old_names():
    pattern = re.compile(r"\b(" + "|".join(OLD) + r")\b")
    found = [
        f"{shown(path)}:{k}: {line.strip()}"
        for path in SOURCES
        for k, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line) and not re.search("renamed_|OLD_NAMES|=\"|': '", line)
    ]
    assert not found, "\n".join(found)


def test_docstrings_of_functions_begin_with_what_they_do():
    found = [
        f"{shown(path)}: {node.name}: {docstring.splitlines()[0]}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and (docstring := ast.get_docstring(node))
        and docstring.split()[0] in VERBS
    ]
    assert not found, "\n".join(found)


def messages(tree):
    """Yield the texts of errors and warnings, with a word for each value that is filled in."""
    for node in ast.walk(tree):
        made = node.exc if isinstance(node, ast.Raise) else node
        if not isinstance(made, ast.Call) or not made.args:
            continue
        if isinstance(node, ast.Raise) or ast.unparse(made.func) == "warnings.warn":
            text = made.args[0]
            if isinstance(text, ast.JoinedStr):
                yield node.lineno, "".join(str(v.value) if isinstance(v, ast.Constant) else "X" for v in text.values)
            elif isinstance(text, ast.Constant):
                yield node.lineno, str(text.value)


def test_sentences_of_errors_and_warnings_are_short():
    found = [
        f"{shown(path)}:{line}: {len(sentence.split())} words: {sentence}"
        for path in SOURCES
        for line, text in messages(ast.parse(path.read_text(encoding="utf-8")))
        for sentence in re.split(r"[.;:] ", text)
        if len(sentence.split()) > LONGEST
    ]
    assert not found, "\n".join(found)


def test_the_readme_is_short_and_begins_with_a_picture_and_two_commands():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 150
    assert lines[2].startswith("![")
    assert [line.split("#")[0].strip() for line in lines[5:7]] == ["make demo", "make test"]


def test_spelling_is_american():
    codespell = shutil.which("codespell", path=str(Path(sys.executable).parent)) or shutil.which("codespell")
    if codespell is None:
        pytest.skip("needs codespell, of the extra 'test'")
    where = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "musc_lite", "data_scripts", "benchmarks"]
    where += ["notebooks/text", *map(shown, (ROOT / "notebooks").glob("*.md"))]
    command = [codespell, "--builtin", "clear,rare,en-GB_to_en-US", "--ignore-words-list", "fpr,sortings", *where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
