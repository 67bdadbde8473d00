"""The report in a real browser, as a file: marks, tables of verdicts, filters, one image large."""

import csv
import io
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browsing import keep
from typer.testing import CliRunner

import musc_lite
from musc_lite import Verdict, load_folder, planted_textures, read_verdicts, write_verdicts
from musc_lite.cli import app
from musc_lite.data.verdicts import sort_by_verdict
from musc_lite.data.view import ResolvedView
from musc_lite.reports.export_maps import write_maps
from musc_lite.reports.report import Result, write_report
from musc_lite.results.scores import Scores
from musc_lite.stages.thresholds import Decision

HOSTILE = ["</script><script>stranger()/a.png", 'b "quoted", and; 100%.png', "<img src=x onerror=stranger()>.png"]
HOSTILE += ["größe & größer#1?.png", "{{ 7 * 7 }}'.png", "=SUM(A1).png"]
NOTES = ['a "scratch", long; 3 mm', "two\nlines", "größer\r\n, then", '"', "=1+1", "</textarea><b>no"]


@pytest.fixture
def page(browser):
    """Open a page that records errors, and requests for anything that is no file; it leaves marks behind unasked."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.errors, page.outside, page.asked = [], [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on(
        "request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or page.outside.append(request)
    )
    page.on("dialog", lambda dialog: (page.asked.append(dialog.type), dialog.accept()))
    yield page
    assert page.errors == []
    assert page.outside == []
    context.close()


def wait_until(page, condition, seconds=30):
    """Wait for a condition in JavaScript; the page forbids the `eval` that playwright's own wait uses."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"no '{condition}' after {seconds} s"
        time.sleep(0.05)


def test_a_script_in_the_report_reaches_no_network(page, report):
    """Escaping keeps scripts of others out; if one slipped in, it could send nothing away."""
    path, _ = report
    page.goto(path.as_uri())
    blocked = page.evaluate(
        """() => new Promise((done) => {
          document.addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
          fetch("http://127.0.0.1:9/photo").catch(() => {});
          setTimeout(() => done("nothing was blocked"), 2000);
        })"""
    )
    assert blocked == "connect-src"
    assert page.locator("img").first.evaluate("image => image.naturalWidth") > 0


def scored(folder, names, *, size=112, **more):
    """Write photos of these names, with a map that has a spot; the first third stands out, ranked as named."""
    textures = planted_textures("brick", n_images=len(names), n_defective=0, image_size=size)
    for name, image in zip(names, textures, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    images = load_folder(folder, labels="none")
    maps = np.zeros((len(names), 28, 28), np.float32)
    for i, name in enumerate(images.names):
        maps[i, 7:14, 14:21] = 1 - names.index(name) / len(names)
    values = maps.max(axis=(1, 2))
    threshold = 1 - (len(names) // 3 - 0.5) / len(names)
    return Scores(images.names, values, values, maps, decision=Decision(threshold), images=images, **more)


@pytest.fixture
def report(tmp_path):
    """A report of six photos with names that mean something to a browser, beside the pictures of their maps."""
    scores = scored(tmp_path / "photos", HOSTILE)
    write_maps(tmp_path, scores)
    return write_report(tmp_path / "report.html", [Result("<b>photos", scores)], maps="maps"), scores


def ranked(scores):
    return [scores.names[i] for i in scores.ranking]


def said(page, what="counts"):
    return page.locator(f"[data-{what}]").first.inner_text()


def saved(page, path):
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save").first.click()
    assert waiting.value.suggested_filename == "verdicts.csv"
    waiting.value.save_as(path)
    return {each.image: each for each in read_verdicts(path)}


def focused(page):
    return page.evaluate("[...document.querySelectorAll('.card')].indexOf(document.activeElement.closest('.card'))")


def test_marks_by_key_and_click_come_back_from_the_saved_table(page, report, tmp_path):
    path, scores = report
    names = ranked(scores)
    page.goto(path.as_uri())
    assert said(page) == "0 good, 0 bad, 0 unsure of 6"
    for key in ("j", "b", "j", "g", "ArrowRight", "u", "j", "b", "b", "j", "g", "x", "k", "k"):
        page.keyboard.press(key)
    assert focused(page) == 2
    page.locator(".card").nth(5).get_by_role("button", name="good", exact=True).click()
    page.keyboard.press("u")  # of the image that was clicked
    assert said(page) == "1 good, 1 bad, 2 unsure of 6, not saved yet"
    pressed = page.locator(".card button[aria-pressed=true]")
    assert pressed.all_inner_texts() == ["bad", "good", "unsure", "unsure"]
    found = saved(page, tmp_path / "verdicts.csv")
    assert {name: each.verdict for name, each in found.items()} == {
        names[0]: "bad",
        names[1]: "good",
        names[2]: "unsure",
        names[5]: "unsure",
    }
    assert [found[name].sha256 for name in names if name in found] == [
        scores.images.digest(scores.names.index(name)) for name in names if name in found
    ]
    assert sort_by_verdict(scores.images, [*found.values()]).count("bad") == 1
    assert said(page) == "1 good, 1 bad, 2 unsure of 6"


def test_class_and_note_of_any_text_come_back(page, report, tmp_path):
    path, scores = report
    page.goto(path.as_uri())
    for card, note in zip(page.locator(".card").all(), NOTES, strict=True):
        card.get_by_role("button", name="bad", exact=True).click()
        card.locator("summary").click()
        card.get_by_label("class").fill(note.split()[0])
        card.get_by_label("note", exact=True).fill(note)
    assert said(page) == "0 good, 6 bad, 0 unsure of 6, not saved yet"  # "b" and "g" in a note are letters
    assert page.locator("#classes option").count() == len({note.split()[0] for note in NOTES})
    found = saved(page, tmp_path / "verdicts.csv")
    assert [found[name].note for name in ranked(scores)] == [note.replace("\r\n", "\n") for note in NOTES]
    assert [found[name].kind for name in ranked(scores)] == [note.split()[0] for note in NOTES]
    keep(page, "report_notes")

    write_verdicts(tmp_path / "again.csv", [replace(each, note=each.note + "!") for each in found.values()])
    page.locator("input[type=file]").set_input_files(tmp_path / "again.csv")
    page.get_by_text("Took 6 rows of again.csv.").wait_for()
    again = saved(page, tmp_path / "verdicts.csv")
    assert [again[name].note for name in ranked(scores)] == [note.replace("\r\n", "\n") + "!" for note in NOTES]


def test_marks_survive_a_reload_and_unsaved_ones_are_warned_of(page, report, tmp_path):
    path, _ = report
    page.goto(path.as_uri())
    page.keyboard.press("j")
    page.keyboard.press("b")
    page.reload()
    assert page.asked == ["beforeunload"]
    assert said(page) == "0 good, 1 bad, 0 unsure of 6, not saved yet"
    assert page.locator(".card").first.get_attribute("data-verdict") == "bad"
    saved(page, tmp_path / "verdicts.csv")
    page.reload()
    assert page.asked == ["beforeunload"]
    assert said(page) == "0 good, 1 bad, 0 unsure of 6"


def test_a_browser_that_keeps_nothing_still_marks_and_saves(page, report, tmp_path):
    page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('denied'); }})")
    page.goto(report[0].as_uri())
    page.keyboard.press("j")
    page.keyboard.press("g")
    assert [each.verdict for each in saved(page, tmp_path / "verdicts.csv").values()] == ["good"]


def test_reports_of_other_files_start_without_marks(page, report, tmp_path):
    page.goto(report[0].as_uri())
    page.keyboard.press("j")
    page.keyboard.press("g")
    other = write_report(tmp_path / "other.html", [Result("o", scored(tmp_path / "other", HOSTILE, size=56))])
    page.goto(other.as_uri())
    assert said(page) == "0 good, 0 bad, 0 unsure of 6"


def test_filters_say_how_many_they_hide(page, report):
    page.goto(report[0].as_uri())
    cards = page.locator(".card:visible")
    assert said(page, "shown") == "all 6 shown"
    page.keyboard.press("j")
    page.keyboard.press("b")
    page.get_by_label("show").select_option("out")
    assert cards.count() == 2
    assert said(page, "shown") == "2 shown, 4 hidden by the filter"
    page.get_by_label("show").select_option("in")
    assert cards.count() == 4
    page.get_by_label("show").select_option("all")
    page.locator("[data-filter=verdict]").select_option("")
    assert said(page, "shown") == "5 shown, 1 hidden by the filter"
    assert said(page).startswith("0 good, 1 bad, 0 unsure of 6")
    cards.first.locator("figcaption strong").click()
    page.keyboard.press("g")
    assert cards.count() == 5  # it stays until the next one is looked at, so that the key takes it back
    page.keyboard.press("j")
    assert cards.count() == 4
    page.locator("[data-filter=verdict]").select_option("bad")
    assert cards.count() == 1
    page.locator("[data-filter=verdict]").select_option("unsure")
    assert said(page, "shown") == "0 shown, 6 hidden by the filter"


def test_arrows_move_by_rows_and_scroll_into_view(page, tmp_path):
    scores = scored(tmp_path / "photos", [f"{k:02}.png" for k in range(30)])
    page.goto(write_report(tmp_path / "report.html", [Result("many", scores)]).as_uri())
    before = page.evaluate("scrollY")
    page.keyboard.press("ArrowDown")  # no image was chosen: the page scrolls
    wait_until(page, f"scrollY > {before}")
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    assert focused(page) == 3
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    assert focused(page) == 1
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    assert focused(page) == 25
    box = page.locator(".card").nth(25).bounding_box()
    bar = page.locator(".bar").bounding_box()
    assert bar["y"] == 0
    assert box["y"] >= bar["height"]
    assert box["y"] + box["height"] <= 900
    for _ in range(20):
        page.keyboard.press("k")
    assert focused(page) == 5
    assert page.locator(".card").nth(5).bounding_box()["y"] >= bar["height"]


def test_an_image_is_enlarged_zoomed_moved_and_marked(page, report):
    page.goto(report[0].as_uri())
    page.locator(".card .open").first.click()
    dialog, names = page.get_by_role("dialog"), ranked(report[1])
    assert dialog.locator("[data-name]").inner_text() == names[0]
    page.keyboard.press("Enter")  # again, by mistake
    assert said(page) == "0 good, 0 bad, 0 unsure of 6"
    page.keyboard.press("b")
    page.keyboard.press("ArrowRight")
    assert dialog.locator("[data-name]").inner_text() == names[1]
    page.keyboard.press("g")
    assert said(page).startswith("1 good, 1 bad, 0 unsure")
    assert dialog.locator("button[aria-pressed=true]").inner_text() == "good"
    pictures = dialog.locator(".pane img")
    assert pictures.count() == 2
    wait_until(page, "document.querySelector('[data-pane=map] img').src.startsWith('file:')")
    assert pictures.nth(1).evaluate("image => image.naturalWidth") == 112
    keep(page, "report_large")

    def boxes():
        return [picture.bounding_box() for picture in pictures.all()]

    small = boxes()
    assert max(box["width"] for box in small) <= 1280 / 2
    across = round(small[0]["x"] + 100) - small[0]["x"]  # the mouse stands on whole pixels
    page.mouse.move(small[0]["x"] + across, small[0]["y"] + 80)
    page.mouse.wheel(0, -400)
    wait_until(page, "document.querySelector('dialog').style.getPropertyValue('--zoom') > 1")
    large = boxes()
    factor = large[0]["width"] / small[0]["width"]
    assert factor > 1.1
    assert large[0]["x"] + across * factor == pytest.approx(
        small[0]["x"] + across, abs=1
    )  # what is under the mouse stays
    page.mouse.dblclick(small[0]["x"] + 100, small[0]["y"] + 80)
    assert boxes()[0]["width"] == pytest.approx(small[0]["width"], abs=1)
    page.keyboard.press("+")
    page.keyboard.press("+")
    large = boxes()
    assert large[0]["width"] == pytest.approx(1.5**2 * small[0]["width"], abs=1)
    page.mouse.move(300, 400)
    page.mouse.down()
    page.mouse.move(330, 380, steps=3)
    page.mouse.up()
    moved = boxes()
    for before, after in zip(large, moved, strict=True):  # both together
        assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((30, -20), abs=1)
    page.keyboard.press("0")
    assert boxes()[1]["width"] == pytest.approx(small[1]["width"], abs=1)
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    wait_until(page, "document.querySelectorAll('.card')[1] === document.activeElement")
    page.keyboard.press("Enter")
    assert dialog.is_visible()


def test_two_fingers_zoom_and_shift_with_arrows_moves(page, report):
    page.goto(report[0].as_uri())
    page.locator(".card .open").first.click()
    picture = page.locator("[data-pane=photo] img")
    small = picture.bounding_box()
    x, y = small["x"] + small["width"] / 2, small["y"] + small["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 100), ("touchEnd", None)):
        points = [] if apart is None else [{"x": x + sign * apart, "y": y, "id": sign + 1} for sign in (-1, 1)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    large = picture.bounding_box()
    assert large["width"] / small["width"] == pytest.approx(2.5, abs=0.1)
    assert large["x"] + large["width"] / 2 == pytest.approx(x, abs=5)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    moved = picture.bounding_box()
    assert (moved["x"] - large["x"], moved["y"] - large["y"]) == pytest.approx((-80, 80), abs=1)
    assert page.locator("dialog [data-name]").inner_text() == ranked(report[1])[0]


def test_a_report_that_travels_alone_shows_what_is_inside_of_it(page, report, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    alone = shutil.copy(report[0], tmp_path / "elsewhere")
    page.goto(Path(alone).as_uri())
    page.locator(".card .open").first.click()
    picture = page.locator("[data-pane=map] img")
    page.wait_for_timeout(300)
    assert picture.get_attribute("src").startswith("data:")
    assert picture.evaluate("image => image.naturalWidth") > 0


def test_links_lead_to_the_pictures_in_maps(page, report):
    page.goto(report[0].as_uri())
    links = page.locator("a.map")
    assert links.count() == 6
    for link in links.evaluate_all("links => links.map(link => link.href)"):
        assert page.goto(link).ok


@pytest.mark.parametrize("region", [(0.0, 0.0, 1.0, 1.0), (0.25, 0.1, 1.0, 0.9)])
def test_boxes_lie_where_the_map_is_hot(page, tmp_path, region):
    scores = scored(tmp_path / "photos", ["a.png", "b.png", "c.png"], resolved_view=ResolvedView((28, 28), 14, region))
    write_maps(tmp_path, scores)
    path = write_report(tmp_path / "report.html", [Result("a region", scores)], maps="maps")
    page.goto(path.as_uri())
    for opened in (False, True):
        if opened:
            page.locator(".card .open").first.click()
            wait_until(page, "document.querySelector('[data-pane=map] img').src.startsWith('file:')")
        parent = page.locator(".pane" if opened else ".card").first
        frame, box = parent.locator(".frame").first.bounding_box(), parent.locator(".box").bounding_box()
        shares = [
            (box["x"] - frame["x"]) / frame["width"],
            (box["y"] - frame["y"]) / frame["height"],
            box["width"] / frame["width"],
            box["height"] / frame["height"],
        ]
        assert shares == pytest.approx([0.5, 0.25, 0.25, 0.25], abs=0.03)
    assert re.fullmatch(
        r"\d+ x \d+ pixels at \d+, \d+: area \d+, peak 1.000", page.locator(".pane .box").get_attribute("title")
    )
    # The picture in maps/ is of the whole photo, and lies so that its part falls on the frame.
    whole, frame = (
        page.locator("[data-pane=map] img").bounding_box(),
        page.locator("[data-pane=map] .frame").bounding_box(),
    )
    assert frame["width"] / whole["width"] == pytest.approx(region[2] - region[0], abs=0.01)
    assert (frame["x"] - whole["x"]) / whole["width"] == pytest.approx(region[0], abs=0.01)
    assert (frame["y"] - whole["y"]) / whole["height"] == pytest.approx(region[1], abs=0.01)
    page.keyboard.press("o")
    assert page.locator(".box:visible").count() == 0
    page.keyboard.press("Escape")
    page.locator(".tools [data-plain]").check()
    assert page.locator(".card .box:visible").count() == 1


def test_a_loaded_table_is_matched_by_bytes_then_by_name(page, report, tmp_path):
    path, scores = report
    names = ranked(scores)
    digest = scores.images.digest(scores.names.index(names[0]))
    rows = [
        "image;sha256;verdict",
        f"renamed.png;{digest};Bad",
        f'"{names[1].replace(chr(34), chr(34) * 2)}";;good',
    ]
    rows += [f"{names[2]};{'0' * 64};bad", "stranger.png;;bad"]
    (tmp_path / "v.csv").write_text("\ufeff" + "\r\n".join(rows) + "\r\n", encoding="utf-8")
    page.goto(path.as_uri())
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(tmp_path / "v.csv")
    page.get_by_text("Took 2 rows of v.csv; verdicts on other images").wait_for()
    assert said(page, "said").endswith(f"{names[2]}, stranger.png.")
    assert said(page) == "1 good, 1 bad, 0 unsure of 6"
    for text, words in (
        ("name,found\na,b\n", "it needs the columns image and verdict"),
        ("image,verdict\na,fine\n", "got 'fine'"),
    ):
        (tmp_path / "wrong.csv").write_text(text)
        chooser.set_input_files(tmp_path / "wrong.csv")
        page.get_by_text(words).wait_for()
        assert said(page) == "1 good, 1 bad, 0 unsure of 6"


def read_in_browser(page, data):
    """Read a table as the report does."""
    page.goto("about:blank")
    page.add_script_tag(path=Path(musc_lite.__file__).parent / "reports" / "verdicts.js")
    rows = page.evaluate("bytes => readTable(new Uint8Array(bytes))", list(data))
    return [Verdict(row["image"], row["verdict"], row["sha256"], row["class"], row["note"]) for row in rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("above", ["", "sep={}\n", 'Verdicts, "of Monday"\r\n\r\n'])
def test_report_and_library_read_the_same_tables(page, tmp_path, encoding, separator, above):
    lines = io.StringIO()
    ways = {"\t": {"lineterminator": "\r", "quoting": csv.QUOTE_ALL}, ";": {"lineterminator": "\n"}, ",": {}}
    table = csv.writer(lines, delimiter=separator, **ways[separator])
    table.writerow(["who", " Verdict ", "IMAGE", "note", "Class", "sha256"])
    table.writerow(["me", "Good", "ä b.png", 'a "scratch", long; 3\tmm', "größe", "0A" * 32])
    table.writerow(["", "", "no verdict.png"])
    table.writerow(["me", "bad", "ä b.png", "two\nlines", "'=1+1"])
    table.writerow([])
    table.writerow(["me", "unsure", "c.png"])
    last = f'me{separator}  bad{separator} "d{separator}.png"{separator}5" deep'
    text = above.format(separator) + lines.getvalue() + last
    bom = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "v.csv").write_bytes((bom + text).encode(encoding))
    found = read_verdicts(tmp_path / "v.csv")
    assert [each.image for each in found] == ["ä b.png", "c.png", f"d{separator}.png"]
    assert found[0] == Verdict("ä b.png", "bad", kind="=1+1", note="two\nlines")
    assert found[2].note == '5" deep'
    assert read_in_browser(page, (bom + text).encode(encoding)) == found


def test_verdicts_that_are_given_are_there_at_the_start(page, report, tmp_path):
    _, scores = report
    names = ranked(scores)
    verdicts = [Verdict(names[0], "bad", kind="</script>", note='"'), Verdict("gone.png", "good")]
    path = write_report(tmp_path / "report.html", [Result("again", scores, verdicts=verdicts)])
    page.goto(path.as_uri())
    assert said(page) == "0 good, 1 bad, 0 unsure of 6"
    assert "verdicts on other images, or on files that have changed: gone.png." in said(page, "said")
    page.keyboard.press("j")
    page.keyboard.press("b")
    assert page.locator(".card summary").first.inner_text() == 'note: </script>: "'


def test_copies_share_their_verdict(page, tmp_path):
    scored(tmp_path / "photos", ["a.png", "b.png", "c.png"])
    shutil.copy(tmp_path / "photos" / "a.png", tmp_path / "photos" / "d.png")
    images = load_folder(tmp_path / "photos", labels="none")
    maps = np.random.default_rng(0).random((4, 8, 8)).astype(np.float32)
    values = maps.max(axis=(1, 2))
    scores = Scores(images.names, values, values, maps, images=images, copy_of=np.array([0, 1, 2, 0]))
    page.goto(write_report(tmp_path / "report.html", [Result("copies", scores)]).as_uri())
    page.get_by_role("figure").filter(has_text="a copy of a.png").get_by_role("button", name="bad", exact=True).click()
    assert said(page).startswith("0 good, 2 bad, 0 unsure of 4")
    assert sorted(saved(page, tmp_path / "v.csv")) == ["a.png", "d.png"]


def test_sections_have_verdicts_of_their_own(page, tmp_path):
    results = [
        Result(name, scored(tmp_path / name, ["a.png", "b.png", "c.png"], size=s))
        for name, s in (("x", 56), ("y/z", 112))
    ]
    page.goto(write_report(tmp_path / "report.html", results).as_uri())
    page.locator(".card").nth(3).get_by_role("button", name="bad", exact=True).click()
    assert page.locator("[data-counts]").all_inner_texts() == [
        "0 good, 0 bad, 0 unsure of 3",
        "0 good, 1 bad, 0 unsure of 3, not saved yet",
    ]
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save").nth(1).click()
    assert waiting.value.suggested_filename.endswith(".csv")
    assert [each.image for each in read_verdicts(waiting.value.path())] == ["a.png"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_pages_do_not_scroll_sideways(page, tmp_path, scheme):
    scores = scored(tmp_path / "photos", [*HOSTILE, f"{'long' * 20}.png", "h.png", "i.png"])
    scores = replace(scores, batch=scores, about={"reference": f"line.musc: 9 images; SHA-256 {'0' * 64}"})
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(write_report(tmp_path / "report.html", [Result("small", scores)], max_images=4).as_uri())
    for _ in range(5):
        page.keyboard.press("j")
    page.keyboard.press("u")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.locator(".narrow .card").count() == 5
    assert said(page, "shown") == "all 9 shown"
    keep(page, f"report_400_{scheme}")
    page.keyboard.press("Enter")
    for button in page.locator("dialog button").all():
        box = button.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400
    assert page.locator("[data-pane=photo]").is_hidden()  # small ones have one picture
    keep(page, f"report_400_{scheme}_large")


def test_fit_reads_what_the_report_saved(page, tmp_path):
    scores = scored(tmp_path / "photos", [f"{k}, photo.png" for k in range(5)])
    page.goto(write_report(tmp_path / "report.html", [Result("photos", scores)]).as_uri())
    for key in ("j", "b", "j", "g"):
        page.keyboard.press(key)
    saved(page, tmp_path / "verdicts.csv")
    arguments = ["fit", tmp_path / "photos", "-o", tmp_path / "line.musc", "--verdicts", tmp_path / "verdicts.csv"]
    done = CliRunner().invoke(app, [*map(str, arguments), "--image-size", "56", "--r", "1", "--layers", "5"])
    assert done.exit_code == 0, done.output
    assert "1 of 5 images is bad by the verdicts and leaves the reference." in done.output
