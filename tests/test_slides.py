"""The slides are one file that asks nothing of the network; in a real browser keys, touch, notes and paper work."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browsing import keep

nbformat = pytest.importorskip("nbformat", reason="comes with nbconvert, of the extra 'lab'")
pytest.importorskip("mistune", reason="comes with nbconvert, of the extra 'lab'")

TEACHING = Path(__file__).parents[1] / "notebooks/teaching"
SPEC = importlib.util.spec_from_file_location("make_slides", TEACHING / "make_slides.py")
make_slides = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make_slides)


@pytest.fixture(scope="module")
def deck(tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / "sub" / "slides.html"
    make_slides.make_slides(path)
    return path


def test_deck_is_one_file_of_15_to_20_slides(deck):
    page = deck.read_text(encoding="utf-8")
    assert 15 <= page.count("<section") <= 20
    assert deck.stat().st_size < 2_000_000
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert not re.search(r"url\(|@import", page)


def test_every_picture_has_words_and_most_slides_have_what_to_say(deck):
    page = deck.read_text(encoding="utf-8")
    words = re.findall(r'<img [^>]*?alt="([^"]*)"', page)
    assert len(words) == page.count("<img") > 12
    assert all(len(each) > 15 for each in words)
    assert page.count('<aside class="notes">') > 0.9 * page.count("<section")


def test_a_figure_that_is_gone_is_named():
    with pytest.raises(
        ValueError, match=r"asks for \.\./00_quickstart\.ipynb#five-rows, but .* figures under: five-lines"
    ):
        make_slides.picture("../00_quickstart.ipynb#five-rows")


def test_a_notebook_that_was_run_in_part_is_named_with_the_command(tmp_path):
    """`make book` died with a traceback after a student had run a notebook up to some cell."""
    notebook = nbformat.read(TEACHING.parent / "03_mutual_scoring.ipynb", as_version=4)
    for cell in notebook.cells[len(notebook.cells) // 4 :]:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for name in ("teaching/slides.md", "teaching/slides.css", "teaching/slides.js", "teaching/make_slides.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(TEACHING.parent / name, tmp_path / name)
    for path in (*TEACHING.parent.glob("*.ipynb"), *TEACHING.parent.glob("*.png"), *TEACHING.parent.glob("*.jpg")):
        shutil.copy(path, tmp_path)
    nbformat.write(notebook, tmp_path / "03_mutual_scoring.ipynb")
    command = [sys.executable, tmp_path / "teaching/make_slides.py", tmp_path / "slides.html"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "python notebooks/execute.py 03_mutual_scoring.ipynb" in done.stderr


@pytest.fixture
def page(browser, deck):
    context = browser.new_context(viewport={"width": 1280, "height": 720}, has_touch=True)
    page = context.new_page()
    errors, outside = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or outside.append(request.url))
    page.goto(deck.as_uri())
    yield page
    assert errors == []
    assert outside == []
    context.close()


def place(page):
    return page.locator("#place").inner_text()


def test_keys_buttons_and_the_address_lead_through(page, deck):
    n = page.locator("section").count()
    assert place(page) == f"1 / {n}"
    for key in ("ArrowRight", " ", "PageDown"):
        page.keyboard.press(key)
    assert place(page) == f"4 / {n}"
    assert page.url.endswith("#4")
    page.keyboard.press("ArrowLeft")
    page.locator("#back").click()
    assert place(page) == f"2 / {n}"
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    assert place(page) == f"{n} / {n}"
    page.goto(deck.as_uri() + "#7")
    page.reload()
    assert place(page) == f"7 / {n}"
    assert page.locator("section:visible").count() == 1


def test_a_swipe_leads_on_and_a_scroll_does_not(page):
    swipe = """([x, y]) => { for (const [kind, a, b] of [["touchstart", 600, 300], ["touchend", 600 + x, 300 + y]])
        document.dispatchEvent(new TouchEvent(kind, {changedTouches: [new Touch({identifier: 1, target: document.body,
        clientX: a, clientY: b})]})) }"""
    page.evaluate(swipe, [-200, 10])
    assert place(page).startswith("2 /")
    page.evaluate(swipe, [-100, 200])
    assert place(page).startswith("2 /")
    page.evaluate(swipe, [200, 0])
    assert place(page).startswith("1 /")


def test_notes_come_and_go(page):
    page.keyboard.press("ArrowRight")
    notes = page.locator("section.here .notes")
    assert not notes.is_visible()
    page.keyboard.press("n")
    assert notes.is_visible()
    assert page.locator("#notes").get_attribute("aria-pressed") == "true"
    page.locator("#notes").click()
    assert not notes.is_visible()


def test_every_slide_fits_its_window_and_shows_its_pictures(page):
    for number in range(1, page.locator("section").count() + 1):
        section = page.locator("section.here")
        box = section.bounding_box()
        assert box["height"] <= 721, f"slide {number} is {box['height']} pixels high"
        widths = section.locator("img").evaluate_all("each => each.map(img => img.naturalWidth)")
        assert all(width > 20 for width in widths), f"slide {number}"
        keep(page, f"slide_{number:02}")
        page.keyboard.press("ArrowRight")


def test_paper_has_a_page_for_each_slide(page, tmp_path):
    printed = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type /Page\b", printed)) == page.locator("section").count()
