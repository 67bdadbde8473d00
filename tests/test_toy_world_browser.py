"""The toy world in a real JupyterLab: dragged by mouse and finger, moved by keys, in both themes."""

import numpy as np
import pytest
from browsing import in_kernel, keep, run_all, set_theme, wait_for

PREPARE = "from musc_lite.widgets import ToyWorld\nworld = ToyWorld()\nworld"
TOUCH = """([selector, [dx, dy]]) => {
    const field = document.querySelector(".musc-toy-plane");
    const dot = document.querySelector(selector);
    const box = dot.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const finger = { pointerId: 7, pointerType: "touch", isPrimary: true, bubbles: true, cancelable: true, button: 0 };
    field.setPointerCapture = () => {};  // no real finger is down
    const at = (share) => ({ ...finger, clientX: x + share * dx, clientY: y + share * dy });
    dot.dispatchEvent(new PointerEvent("pointerdown", at(0)));
    for (const share of [0.5, 1]) field.dispatchEvent(new PointerEvent("pointermove", at(share)));
    field.dispatchEvent(new PointerEvent("pointerup", at(1)));
}"""


def middle(locator):
    box = locator.bounding_box()
    return np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_points_follow_mouse_finger_and_keys(lab, page, theme):
    set_theme(lab, theme)
    run_all(page, lab, [PREPARE], f"toy_{theme.lower()}")
    field, status = page.locator(".musc-toy-plane"), page.locator(".musc-toy [role=status]")
    status.get_by_text("image 0, patch 4").wait_for()
    assert field.locator(".musc-toy-point").count() == page.locator(".musc-toy-scores .musc-toy-point").count() == 30
    keep(page, f"toy_world_{theme.lower()}")

    def agreed():
        return status.inner_text() == in_kernel(lab, "world.sentence")

    def point(i, m):
        return field.locator(f".musc-toy-point[data-image='{i}'][data-patch='{m}']")

    begin, to = middle(point(1, 4)), middle(point(3, 4))
    page.mouse.move(*begin)
    page.mouse.down()
    page.mouse.move(*(begin + to) / 2)
    page.mouse.move(*to)
    page.mouse.up()
    wait_for(lambda: np.allclose(in_kernel(lab, "world.points")[1][4], [10.0, 3.6], atol=0.05), 10)
    assert in_kernel(lab, "world.selected") == (1, 4)
    wait_for(agreed, 10)
    assert in_kernel(lab, "world.scores")[0][4] > 1.6  # the defect that is left has lost its double

    page.get_by_label("chosen point", exact=True).select_option("image 1, patch 4")
    page.get_by_label("chosen point", exact=True).press("ArrowDown")
    status.get_by_text("image 2, patch 0").wait_for()
    field.press("ArrowUp")
    field.press("Shift+ArrowRight")
    wait_for(lambda: np.allclose(in_kernel(lab, "world.points")[2][0], [2.7, 2.3]), 10)
    page.get_by_label("closest images").press("ArrowRight")
    wait_for(lambda: in_kernel(lab, "world.closest") == 4, 10)
    wait_for(agreed, 10)
    assert page.locator(".musc-toy-counts").count() == 4
    assert page.locator(".musc-toy-left-out").count() == 1

    page.evaluate(
        TOUCH, [".musc-toy-plane .musc-toy-point[data-image='4'][data-patch='1'] .musc-toy-reach", [50, -2000]]
    )
    wait_for(lambda: in_kernel(lab, "world.selected") == (4, 1), 10)
    wait_for(lambda: in_kernel(lab, "world.points")[4][1][0] > 2.8, 10)
    inside, frame = middle(point(4, 1)), field.bounding_box()
    assert inside[1] == pytest.approx(frame["y"] + 11, abs=4)  # not farther than the plane
    keep(page, f"toy_world_moved_{theme.lower()}")

    page.get_by_role("button", name="back to the beginning").click()
    wait_for(lambda: in_kernel(lab, "world.points == world.beginning"), 10)
    wait_for(agreed, 10)
    in_kernel(lab, "world.set_trait('selected', (5, 3))")
    status.get_by_text("image 5, patch 3").wait_for()
    color = status.evaluate("node => getComputedStyle(node).color")
    brightness = [int(part) for part in color.strip("rgba()").split(",")[:3]]
    assert min(brightness) > 180 if theme == "Dark" else max(brightness) < 80
    assert page.errors == []
    assert page.outside == []


def test_every_control_has_a_name_and_a_narrow_page_shows_all(lab, page):
    run_all(page, lab, [PREPARE], "toy_narrow")
    page.set_viewport_size({"width": 760, "height": 1100})
    toy = page.locator(".musc-toy")
    toy.get_by_text("image 0, patch 4: score").wait_for()
    for role, name in [
        ("group", "points that score each other"),
        ("combobox", "chosen point"),
        ("slider", "closest images"),
        ("button", "back to the beginning"),
        ("application", "plane: arrow keys move the chosen point, with Shift ten times as far"),
    ]:
        assert page.get_by_role(role, name=name, exact=True).count() == 1, name
    chart = toy.locator(".musc-toy-scores")
    assert chart.get_attribute("role") == "img"
    assert "image 0, patch 4: score" in chart.get_attribute("aria-label")
    assert toy.get_by_role("status").get_attribute("aria-live") == "polite"
    box = toy.bounding_box()
    for part in (".musc-toy-plane", ".musc-toy-scores", ".musc-toy-bar"):
        inner = toy.locator(part).bounding_box()
        assert inner["x"] + inner["width"] <= box["x"] + box["width"] + 1, part
    keep(page, "toy_world_narrow")
    assert page.errors == []
