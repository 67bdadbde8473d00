"""The explorers by mouse, keyboard and finger in a real JupyterLab."""

import numpy as np
import pytest
from browsing import PREPARE, ask, click_patch, drag, end_kernels, in_kernel, keep, run_all, set_theme, wait_for

SHOW = [PREPARE, "p = PatchExplorer(detector, selected=(3, 100))\np"]


def test_keys_stay_in_the_second_picture_until_enter(lab, page):
    run_all(page, lab, SHOW, "second")
    tiles = page.locator(".musc-tiles canvas")
    tiles.nth(12).wait_for()
    compared = in_kernel(lab, "p.compared")
    nearest = in_kernel(lab, "p._large.tiles[1]['marks'][0][0]")
    tiles.nth(1).focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        tiles.nth(1).press(key)
    patch = min(nearest // 16 + 2, 15) * 16 + min(nearest % 16 + 1, 15)
    away = in_kernel(lab, f"float(p.answer.to_all[{compared}, {patch}])")
    readout = page.locator(".musc-readout")
    assert readout.inner_text() == f"patch {patch}: {away:.2f} away"
    assert tiles.nth(1).get_attribute("aria-label") == readout.inner_text()
    assert in_kernel(lab, "(p.selected, p.compared)") == ((3, 100), compared)
    keep(page, "second_picture")
    tiles.nth(1).press("Enter")
    page.get_by_text(f"image {compared}, patch {patch}").wait_for()
    assert in_kernel(lab, "p.selected") == (compared, patch)
    assert page.errors == []


def test_mouse_over_a_patch_and_a_rectangle_of_patches(lab, page):
    run_all(page, lab, SHOW, "hover")
    tiles = page.locator(".musc-tiles canvas")
    tiles.nth(12).wait_for()
    said, before = page.get_by_role("status").inner_text(), tiles.nth(5).screenshot()
    box = tiles.first.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wait_for(lambda: in_kernel(lab, "p._pointed") == 8 * 16 + 8, 20)
    wait_for(lambda: tiles.nth(5).screenshot() != before, 10)
    assert page.get_by_role("status").inner_text() == said  # nothing is picked
    keep(page, "hover")
    page.mouse.move(5, 5)
    wait_for(lambda: tiles.nth(5).screenshot() == before, 20)
    drag(page, box, (0.28, 0.28), (0.53, 0.47))
    wait_for(lambda: in_kernel(lab, "p.region") == (4, 7, 4, 8), 20)
    page.get_by_role("status").get_by_text("region of 20 patches").wait_for()
    keep(page, "region_of_patches")
    page.get_by_role("button", name="Undo").click()
    wait_for(lambda: in_kernel(lab, "p.region") == (), 20)
    numbers = page.locator(".musc-number")
    shown = [n for n in numbers.all_inner_texts() if n]
    assert shown == in_kernel(lab, "[str(n) for n in p.answer.similar_patches]")
    assert float(numbers.nth(2).evaluate("node => getComputedStyle(node).fontSize.slice(0, -2)")) >= 18
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename == "PatchExplorer.csv"
    assert download.value.path().read_text().count("\n") == 12
    assert page.errors == []
    assert page.outside == []


def test_large_pictures_are_looked_at_closer_by_keys_wheel_and_buttons(lab, page):
    run_all(page, lab, SHOW, "closer")
    tiles = page.locator(".musc-tiles canvas")
    tiles.nth(12).wait_for()
    first, picture = tiles.first, page.locator(".musc-picture").first
    box, (row, column) = first.bounding_box(), divmod(100, 16)
    beside = {"x": box["width"] * (column + 1.5) / 16, "y": box["height"] * (row + 0.5) / 16}  # the patch to the right
    first.click(position=beside)
    wait_for(lambda: in_kernel(lab, "p.selected") == (3, 101), 20)
    page.get_by_role("button", name="Undo").click()
    wait_for(lambda: in_kernel(lab, "p.selected") == (3, 100), 20)
    first.focus()
    for _ in range(3):
        first.press("+")
    assert "musc-enlarged" in picture.get_attribute("class")
    assert "musc-enlarged" not in page.locator(".musc-picture").nth(1).get_attribute("class")
    keep(page, "closer")
    first.hover(position=beside)
    assert page.locator(".musc-readout").inner_text().startswith("patch 100")  # it is 3.4 patches wide and stays there
    before = first.screenshot()
    page.mouse.wheel(box["width"] / 16 * 3.375, 0)
    wait_for(lambda: first.screenshot() != before, 10)
    first.click(position=beside)
    wait_for(lambda: in_kernel(lab, "p.selected") == (3, 101), 20)
    assert "musc-enlarged" in picture.get_attribute("class")  # as long as this image is shown
    for _ in range(4):
        first.press("ArrowRight")
    wait_for(lambda: in_kernel(lab, "p.selected") == (3, 105), 20)
    # It has followed: the frame of what is picked is seen.
    frame = """c => {
        const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return data.some((red, k) => k % 4 === 0 && red === 0xd5 && data[k + 1] === 0x5e && data[k + 2] === 0);
    }"""
    wait_for(lambda: first.evaluate(frame), 10)
    picture.get_by_role("button", name="whole").click()
    assert "musc-enlarged" not in picture.get_attribute("class")
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -60)
    page.keyboard.up("Control")
    wait_for(lambda: "musc-enlarged" in picture.get_attribute("class"), 10)
    wait_for(lambda: in_kernel(lab, "p._sharp") == {3}, 20)
    page.locator(".musc-explorer select").first.select_option(index=5)
    wait_for(lambda: "musc-enlarged" not in picture.get_attribute("class"), 20)
    assert page.errors == []


def test_names_tab_stops_and_the_status_line(lab, page):
    names = ["SimilarityCounts", "NeighborhoodExplorer", "IntervalExplorer", "ThresholdExplorer"]
    cells = [*SHOW, *(f"e{k} = {name}(detector)\ne{k}" for k, name in enumerate(names))]
    page.set_viewport_size({"width": 900, "height": 5200})
    run_all(page, lab, cells, "names")
    page.locator(".musc-tiles canvas").nth(2 + 11 + 2 + 3 + 12 - 1).wait_for()
    handles = page.locator(".noUi-handle")
    wait_for(lambda: all(handles.evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")), 10)
    named = handles.evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert len(named) == len(set(named)) + 1 == 8  # "threshold" twice, in two explorers
    assert {"other images, nearest first, begin", "image threshold"} <= set(named)
    keep(page, "names_900")
    stops = "groups => groups.map(g => [...g.querySelectorAll('canvas')].filter(c => c.tabIndex === 0).length)"
    groups = page.locator(".musc-tiles")
    assert set(groups.evaluate_all(stops)) <= {0, 1}
    gallery = groups.nth(1).locator("canvas")
    gallery.first.focus()
    gallery.first.press("ArrowRight")
    assert gallery.nth(1).evaluate("node => node === document.activeElement && node.tabIndex === 0")
    gallery.nth(1).press("End")
    assert gallery.last.evaluate("node => node === document.activeElement")
    gallery.last.press("Enter")
    wait_for(lambda: in_kernel(lab, "bool(p.compared == p.answer.others[-1])"), 20)
    status = page.get_by_role("status").first
    status.evaluate("node => { window.kept = node; }")
    said = status.inner_text()
    page.locator(".musc-explorer").first.locator(".noUi-handle").press("ArrowRight")
    wait_for(lambda: status.inner_text() != said, 20)
    assert status.evaluate("node => node === window.kept && node.getAttribute('aria-live') === 'polite'")
    counts = page.locator(".musc-explorer").nth(1)
    click_patch(page, counts.locator("canvas").first, 37)
    wait_for(lambda: in_kernel(lab, "(e0.patch, p.selected[1])") == (37, 37), 20)
    for _ in range(2):
        counts.locator("canvas").first.press("ArrowDown")  # faster than answers come
    wait_for(lambda: in_kernel(lab, "(e0.patch, p.selected[1])") == (69, 69), 20)
    assert page.errors == []


def test_threshold_line_is_dragged_by_mouse_key_and_finger(lab, page):
    run_all(page, lab, [PREPARE, "t = ThresholdExplorer(detector)\nt"], "line")
    knob = page.locator(".musc-handle")
    knob.wait_for()
    before, box = in_kernel(lab, "t.threshold"), knob.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + 30, steps=4)
    page.mouse.up()
    wait_for(lambda: in_kernel(lab, "t.threshold") > before + 0.05, 20)
    moved = in_kernel(lab, "t.threshold")
    knob.press("ArrowLeft")
    wait_for(lambda: in_kernel(lab, "t.threshold") < moved, 20)
    assert knob.evaluate("node => node === document.activeElement")
    keep(page, "threshold_line")
    page.locator(".musc-chart").first.hover(position={"x": 120, "y": 120})
    page.locator(".musc-plate").first.wait_for()
    cdp, tile = page.context.new_cdp_session(page), page.locator(".musc-tiles canvas").nth(4)
    box = tile.bounding_box()
    finger = [{"x": box["x"] + 30, "y": box["y"] + 30}]
    cdp.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": finger})
    cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_for(lambda: in_kernel(lab, "t.image") == in_kernel(lab, "int(t.shown.ranking[4])"), 20)
    assert page.errors == []


def test_a_restarted_kernel_is_said(lab, page):
    run_all(page, lab, SHOW, "restarted")
    tiles = page.locator(".musc-tiles canvas")
    tiles.nth(12).wait_for()
    ask(lab, f"kernels/{lab.pop('prepared')}/restart", "POST")
    page.wait_for_timeout(2000)
    click_patch(page, tiles.first, 37)
    alert = page.get_by_role("alert").get_by_text("run the cell again")
    alert.wait_for(timeout=15_000)
    keep(page, "kernel_gone")


@pytest.mark.parametrize(("width", "theme"), [(900, "Dark"), (1280, "Light")])
def test_explorers_fit_the_page(lab, page, theme, width):
    set_theme(lab, theme)
    names = ["PatchExplorer", "SimilarityCounts", "IntervalExplorer", "RescoringExplorer", "ThresholdExplorer"]
    page.set_viewport_size({"width": width, "height": 4600})
    cells = [PREPARE, *(f"e{k} = {name}(detector)\ne{k}" for k, name in enumerate(names)), "e1.bar = 0\ne4.image = 1"]
    run_all(page, lab, cells, f"fit_{theme}_{width}")
    page.locator(".musc-tiles canvas").nth(2 + 11 + 2 + 12 + 12 - 1).wait_for()
    page.wait_for_timeout(1500)
    keep(page, f"explorers_{theme.lower()}_{width}")
    right = "nodes => nodes.map(node => node.getBoundingClientRect().right)"
    edge = np.min(
        page.locator(".jp-OutputArea-output >> visible=true").evaluate_all(right)
    )  # still pictures are hidden
    assert max(page.locator(".musc-tiles canvas, .musc-chart").evaluate_all(right)) <= edge + 1
    assert page.errors == []


def test_still_picture_stands_in_for_a_widget_that_is_gone(lab, page):
    """After save, restart and reopening there was "Error displaying widget: model not found" alone."""
    run_all(page, lab, SHOW, "reopened")
    page.locator(".musc-tiles canvas").nth(12).wait_for()
    picture = page.locator(".jp-OutputArea-output img")
    assert (picture.count(), picture.is_visible()) == (1, False)
    page.keyboard.press("Control+s")
    wait_for(lambda: "still picture" in (lab["folder"] / "reopened.ipynb").read_text(encoding="utf-8"), 20)
    end_kernels(lab)
    page.goto("about:blank")
    page.goto(f"{lab['url']}/lab/tree/reopened.ipynb?reset")
    picture.wait_for(timeout=60_000)
    assert picture.is_visible()
    keep(page, "reopened")
