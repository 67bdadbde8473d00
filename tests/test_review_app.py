"""The foreman's page in a real browser: `musc-lite app` from folder to verdicts, reference and today's photos."""

import csv
import hashlib
import os
import re
import signal
import subprocess
import sys

import psutil
import pytest
from browsing import all_drawn, app_served, keep, kernels, wait_for

from musc_lite import Detector, planted_textures


def write_photos(folder, n_images, n_defective, seed=0):
    """Write oblong photos; the first in the ranking is known: it holds a second defect of another kind."""
    folder.mkdir(parents=True)
    for k, thing in enumerate(planted_textures("brick", n_images, n_defective, seed=seed, image_size=240)):
        picture = thing.crop((0, 0, 240, 160))
        if k == 0:
            picture.paste((250, 0, 250), (90, 60, 150, 110))
        picture.save(folder / f"photo_{k}.png")
    return folder


def find(page, folder):
    """Score a folder; give its cards."""
    page.get_by_label("folder", exact=True).fill(str(folder))
    page.get_by_role("button", name="Find anomalies").click()
    cards = page.locator(".card")
    cards.first.wait_for(timeout=120_000)
    return cards


def open_page(page, url):
    page.goto(url, timeout=120_000)
    page.get_by_role("button", name="Find anomalies").wait_for(timeout=60_000)


def verdicts(tmp_path, folder):
    (table,) = (tmp_path / "out").glob(f"{folder.name}-*/verdicts.csv")
    with table.open(newline="", encoding="utf-8-sig") as file:
        return {row["image"]: (row["verdict"], row["sha256"]) for row in csv.DictReader(file)}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def inside(page, locator):
    """Tell whether all of these lie within the width of the page."""
    edges = "nodes => nodes.map(node => node.getBoundingClientRect()).flatMap(box => [box.left, box.right])"
    return all(0 <= edge <= page.viewport_size["width"] for edge in locator.evaluate_all(edges))


def test_from_a_folder_to_todays_photos(app, page, tmp_path):
    monday, tuesday = write_photos(tmp_path / "monday", 8, 2), write_photos(tmp_path / "tuesday", 3, 1, seed=1)
    (monday / "broken.jpg").write_bytes(b"\xff\xd8 not a photo")
    open_page(page, app)
    page.get_by_label("folder", exact=True).fill(str(tmp_path / "none"))
    page.get_by_role("button", name="Find anomalies").click()
    page.get_by_role("alert").get_by_text("there is no folder").wait_for(timeout=30_000)
    assert page.get_by_role("button", name="Score against the reference").is_disabled()
    page.get_by_label("folder", exact=True).fill(str(tmp_path))
    page.get_by_role("button", name="Choose ...").click()
    page.get_by_role("button", name="monday: 9 images").click()
    wait_for(lambda: page.get_by_label("folder", exact=True).input_value() == str(monday), 10)
    cards = find(page, monday)
    said = page.get_by_role("status").filter(visible=True).first
    wait_for(lambda: said.inner_text().startswith(f"8 photos of {monday}."), 10)
    assert "Left out 1 file: 1 unreadable (repair or remove): broken.jpg." in said.inner_text()
    assert cards.count() == 8
    assert cards.first.get_attribute("data-name") == "photo_0.png"
    wait_for(lambda: all_drawn(page.locator(".open img")), 20)
    box = cards.first.locator(".frame").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(240 / 160, abs=0.02)  # in its own shape

    names = cards.evaluate_all("cards => cards.map(card => card.dataset.name)")
    cards.first.focus()
    page.keyboard.press("b")
    page.locator(".card[data-verdict=bad]").wait_for()
    for key, verdict in (("g", "good"), ("u", "unsure"), ("g", "good")):
        page.keyboard.press("ArrowRight")
        page.keyboard.press(key)
        wait_for(lambda v=verdict: page.evaluate("document.activeElement.closest('.card').dataset.verdict") == v, 10)
    kinds = dict(zip(names, ("bad", "good", "unsure", "good"), strict=False))
    assert verdicts(tmp_path, monday) == {name: (kind, digest(monday / name)) for name, kind in kinds.items()}
    page.keyboard.press("x")
    wait_for(lambda: len(verdicts(tmp_path, monday)) == 3, 10)
    cards.nth(4).get_by_role("button", name="good", exact=True).click()
    wait_for(lambda: verdicts(tmp_path, monday).get(names[4], [""])[0] == "good", 10)
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert inside(page, page.locator(".card:visible, .tools:visible select, .widget-text:visible"))
        keep(page, f"foreman_{width}")

    page.locator("[data-filter=verdict]").select_option("")
    assert page.locator(".card:visible").count() == 4
    assert page.locator("[data-filter=verdict]").locator("option:checked").inner_text() == "none yet (4)"
    page.locator("[data-filter=verdict]").select_option("any")
    page.get_by_label("show", exact=True).select_option("out")
    n_out = int(re.search(r"the (\d+)\s+flagged", page.get_by_label("show", exact=True).inner_text())[1])
    assert page.locator(".card:visible").count() == n_out == page.locator(".badge.outlier").count()
    page.get_by_label("show", exact=True).select_option("all")

    page.get_by_role("button", name="Keep as reference").click()
    said.get_by_text("Saved 7 of 8 images as the reference model").wait_for(timeout=60_000)
    assert Detector.load(tmp_path / "out" / "reference.musc").names_ == sorted(set(names) - {"photo_0.png"})
    page.get_by_label("folder", exact=True).fill(str(tuesday))
    page.get_by_role("button", name="Score against the reference").click()
    said.get_by_text(re.compile(r"3 photos of .*\n[^$]*Compared with reference.musc: 7 images, fitted on 20")).wait_for(
        timeout=60_000
    )
    assert cards.count() == 3
    assert not page.get_by_role("button", name="Keep as reference").is_visible()
    assert page.errors == []
    assert page.outside == []


@pytest.mark.parametrize("width", [1280, 400])
def test_a_photo_is_enlarged_beside_its_map_and_both_are_zoomed(app, page, tmp_path, width):
    folder = write_photos(tmp_path / "photos", 6, 1)
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page, app)
    cards = find(page, folder)
    name = cards.first.get_attribute("data-name")
    cards.first.locator(".open").click()
    dialog = page.get_by_role("dialog")
    page.locator("dialog[data-large='0']").wait_for()
    pictures = dialog.locator(".pane img")
    wait_for(lambda: all_drawn(pictures), 20)
    assert pictures.count() == 3  # the photo; the photo, and its map
    shapes = dialog.locator(".pane .frame").evaluate_all("nodes => nodes.map(n => [n.offsetWidth, n.offsetHeight])")
    assert shapes[0] == shapes[1]
    assert shapes[0][0] / shapes[0][1] == pytest.approx(240 / 160, abs=0.02)
    assert inside(page, dialog.locator("button, .pane"))
    figures = dialog.locator(".pane").evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect().top)")
    assert (figures[0] == figures[1]) == (width == 1280)  # side by side where there is room
    keep(page, f"foreman_large_{width}")

    def place():
        boxes = "nodes => nodes.map(n => [n, n.parentElement].map(one => one.getBoundingClientRect()))"
        photo, heat = (
            [frame["width"], frame["x"] - pane["x"], frame["y"] - pane["y"]]
            for frame, pane in dialog.locator(".pane .frame").evaluate_all(boxes)
        )
        assert photo == pytest.approx(heat)  # both move together
        return photo

    before = place()
    page.keyboard.press("+")
    zoomed = place()
    assert zoomed[0] == pytest.approx(1.5 * before[0])
    frame = dialog.locator(".pane").first.bounding_box()
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    page.mouse.wheel(0, -400)
    wait_for(lambda: place()[0] > 2 * zoomed[0], 5)
    held = place()
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] / 2 + 20, frame["y"] + frame["height"] / 2 + 10)
    page.mouse.up()
    assert place() == pytest.approx([held[0], held[1] + 20, held[2] + 10], abs=1)
    dialog.get_by_role("button", name="whole").click()
    assert place() == pytest.approx(before)
    page.keyboard.press("b")
    dialog.get_by_text(re.compile(f"{name} 1 of 6.*bad")).wait_for()
    page.keyboard.press("ArrowRight")
    dialog.get_by_text("2 of 6").wait_for()
    dialog.get_by_role("button", name="good", exact=True).click()
    wait_for(lambda: sorted(kind for kind, _ in verdicts(tmp_path, folder).values()) == ["bad", "good"], 10)
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    focused = "document.activeElement.getAttribute('aria-label') ?? ''"
    wait_for(lambda: page.evaluate(focused).startswith("rank 2"), 5)  # "close" is told after it is hidden
    page.keyboard.press("Enter")
    page.locator("dialog[data-large='1']").wait_for()
    assert page.errors == []


def wait_for_words(page, words, seconds=90):
    """Wait until something on the page says this; where it does not, tell what the page says instead."""
    found = page.get_by_text(re.compile(words))
    try:
        found.wait_for(timeout=1000 * seconds)
    except Exception as error:
        raise AssertionError(f"no {words!r} after {seconds} s, but: {page.locator('body').inner_text()}") from error


def test_stop_keeps_what_is_extracted_and_the_last_session_comes_back(app, page, tmp_path):
    folder = write_photos(tmp_path / "photos", 40, 4)
    open_page(page, app)
    page.get_by_label("look", exact=True).select_option("closely, where the objects are")
    page.get_by_label("folder", exact=True).fill(str(folder))
    page.get_by_role("button", name="Find anomalies").click()
    wait_for_words(page, "extracting features: [1-9].* of 40, about .* left")
    keep(page, "foreman_working")
    page.get_by_role("button", name="Stop").click()
    wait_for_words(page, "Stopped. What was extracted is kept")
    kept = list((tmp_path / "out" / "features").rglob("*.safetensors"))
    assert len(kept) >= 8
    assert page.locator(".card").count() == 0
    for path in folder.glob("photo_[1-3]?.png"):  # the rest would take long here
        path.unlink()
    page.get_by_label("look", exact=True).select_option("quickly")
    find(page, folder).first.focus()
    page.keyboard.press("b")
    page.locator(".card[data-verdict=bad]").wait_for()
    assert all(path.is_file() for path in kept)

    open_page(page, app)  # another kernel: nothing is left in memory
    assert page.locator(".card").count() == 0
    page.get_by_role("button", name="Go on with photos (1 verdict)").click()
    page.locator(".card[data-verdict=bad]").wait_for(timeout=60_000)
    assert page.locator(".card").count() == 10
    assert page.errors == []


def test_folders_outside_of_the_root_are_refused_in_both_tabs(page, tmp_path):
    shown, secret = write_photos(tmp_path / "line" / "shown", 3, 1), write_photos(tmp_path / "secret", 3, 1)
    (tmp_path / "line" / "link").symlink_to(secret)
    (tmp_path / "line" / "links").mkdir()
    (tmp_path / "line" / "links" / "a.png").symlink_to(secret / "photo_0.png")
    refused = page.get_by_role("alert").filter(visible=True)
    with app_served(tmp_path, shown, "--root", tmp_path / "line") as url:
        open_page(page, url)
        assert page.get_by_label("folder", exact=True).input_value() == str(shown)
        page.get_by_text(f"only folders inside {tmp_path / 'line'} can be opened").wait_for()
        for outside in (secret, tmp_path / "line" / ".." / "secret", tmp_path / "none", tmp_path / "line" / "link"):
            page.get_by_label("folder", exact=True).fill(str(outside))
            page.get_by_role("button", name="Find anomalies").click()
            refused.get_by_text(f"{outside} lies outside of {tmp_path / 'line'}").wait_for()
        page.get_by_label("folder", exact=True).fill(str(tmp_path / "line" / "links"))
        page.get_by_role("button", name="Find anomalies").click()
        refused.get_by_text("a.png is a link to a file outside of").wait_for()
        page.get_by_label("folder", exact=True).fill(str(tmp_path / "line"))
        page.get_by_role("button", name="Choose ...").click()
        page.get_by_role("button", name="shown: 3 images").wait_for()
        assert page.get_by_role("button", name=re.compile("^link: |up to")).count() == 0
        keep(page, "foreman_root")
        page.get_by_role("tab", name="How it works").click()
        page.get_by_label("images", exact=True).select_option("a folder")
        page.get_by_label("its path").fill(str(secret))
        page.get_by_role("button", name="Check").click()
        refused.get_by_text(f"{secret} lies outside of").wait_for()
        page.get_by_label("its path").fill(str(shown))
        page.get_by_role("button", name="Check").click()
        page.get_by_role("status").get_by_text("3 images.").wait_for(timeout=60_000)
    assert page.errors == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_whatever_ends_the_command_ends_its_kernels(page, tmp_path, ending):
    (tmp_path / "runtime").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "runtime"), "IPYTHONDIR": str(tmp_path / "ipython")}
    command = [sys.executable, "-m", "musc_lite.cli", "app", "--no-browser", "-o", str(tmp_path / "out")]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        url = wait_for(lambda: re.search(r"http://\S+", (tmp_path / "log").read_text()), 60)[0]
        connections = psutil.Process(server.pid).net_connections("tcp")
        assert {each.laddr.ip for each in connections if each.status == "LISTEN"} == {"127.0.0.1"}
        open_page(page, url)
        assert len(kernels(tmp_path)) == 1
        server.send_signal(ending)
        server.wait(60)
        wait_for(lambda: not kernels(tmp_path), 60)
        if ending != signal.SIGKILL:
            assert "Traceback" not in (tmp_path / "log").read_text()
    finally:
        if server.poll() is None:
            server.kill()
