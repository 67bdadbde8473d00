"""The page of `publish` in a real browser: its computations beside the library's, mouse, keys and touch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from browsing import keep
from sklearn.metrics import roc_auc_score

import musc_lite
from musc_lite import MuSc, MutualScorer, planted_textures, publish
from musc_lite.stages.mutual_scoring import nearest_distances_of_image
from musc_lite.stages.rescoring import neighborhood_scores
from musc_lite.static_page.bundle import script
from musc_lite.static_page.payload import collect

CANVAS = "#panel canvas >> visible=true"


@pytest.fixture(scope="module")
def detector():
    images = planted_textures("brick", n_images=8, n_defective=3, image_size=112)
    return MuSc(image_size=112, layers=[5, 7, 8], r=(1, 3)).fit(images)


@pytest.fixture(scope="module")
def file(detector, tmp_path_factory):
    return publish(detector, tmp_path_factory.mktemp("live") / "page.html").path


class Core:
    """The functions of core.js on some content, called in a browser."""

    def __init__(self, page, content):
        self.page = page
        # A script's constants are no properties of the window: the code below sees them by their name all the same.
        page.add_script_tag(content=script("core"))
        page.evaluate("data => { window.data = data; window.batch = core.decode(data); }", content.data)

    def __call__(self, code, **values):
        """Evaluate code that knows data, batch, core and these values; typed arrays come as lists."""
        body = f"const {{ {', '.join(values)} }} = values; const found = {code};"
        listed = "ArrayBuffer.isView(found) ? [...found] : found"
        return self.page.evaluate(f"values => {{ {body} return {listed}; }}", values)

    def compare_all(self):
        """Let `allNearest` run to its end, and keep the table; give the shares that it told on its way."""
        return self.page.evaluate(
            "() => { const work = core.allNearest(batch), told = []; let step = work.next();"
            " for (; !step.done; step = work.next()) told.push(step.value);"
            " window.table = step.value; return told; }"
        )


@pytest.fixture(scope="module", params=[None, [0, 2, 3, 6]], ids=["all", "references"])
def case(request, browser, detector):
    """The core in a browser, and the vectors that it decodes, each with its rest in a direction of its own."""
    fitted, images = detector, detector.images_
    if request.param:
        fitted = detector.with_scorer(MutualScorer(references=request.param)).fit_features(detector.features_, images)
    content = collect(fitted, images, (1, 3), detector.aggregated_tokens(1, 3), 8, 64)
    vectors, rest = content.quantized.vectors.double(), content.quantized.squared_outside.double()
    tokens = torch.cat([vectors, torch.diag(rest.flatten().sqrt()).reshape(8, 64, -1)], dim=-1)
    page = browser.new_page()
    yield Core(page, content), tokens, content
    page.close()


def test_core_gives_the_distances_of_one_patch(case):
    core, tokens, _ = case
    for i, m in [(0, 0), (3, 40), (7, 63)]:
        expected = musc_lite.patch_distances(tokens, i, m)
        np.testing.assert_allclose(core("core.distancesOf(batch, i, m)", i=i, m=m), expected.flatten(), atol=1e-5)


def test_core_finds_the_nearest_patches_in_order(case):
    core, tokens, content = case
    for i, m in [(0, 5), (6, 21)]:
        far, which = musc_lite.nearest_patches(tokens, i, m)
        found = core("core.nearestOf(batch, i, core.distancesOf(batch, i, m))", i=i, m=m)
        assert sorted(each["image"] for each in found) == [j for j in content.references.tolist() if j != i]
        assert [each["distance"] for each in found] == sorted(each["distance"] for each in found)
        assert [each["patch"] for each in found] == [int(which[each["image"]]) for each in found]
        np.testing.assert_allclose([e["distance"] for e in found], [far[e["image"]] for e in found], atol=1e-5)


def test_core_scores_as_the_library_does(case):
    core, tokens, content = case
    told = core.compare_all()
    assert told == sorted(told)
    assert 0.9 < told[-1] <= 1
    references = content.references
    table = np.array(core("[...table].map((d) => (isFinite(d) ? d : -1))")).reshape(8, 64, len(references))
    for i in range(8):
        others = references[references != i]
        expected = nearest_distances_of_image(tokens, i, others.tolist()).sort().values
        np.testing.assert_allclose(table[i, :, : len(others)], expected, atol=1e-5)
        assert (table[i, :, len(others) :] == -1).all()
    scorer = MutualScorer(references=None if len(references) == 8 else references.tolist())
    for interval in [(0.0, 0.3), (0.0, 1.0), (0.3, 0.7), (0.8, 0.85)]:
        scores = scorer.set_params(interval=interval).fit_score(tokens)
        found = core("core.patchScores(batch, table, interval)", interval=interval)
        np.testing.assert_allclose(np.reshape(found, (8, 64)), scores, atol=1e-5)
        of_images = core("core.imageScores(batch, core.patchScores(batch, table, interval))", interval=interval)
        np.testing.assert_allclose(of_images, scores.amax(dim=1), atol=1e-5)
        assert core("core.ranking(scores)", scores=of_images) == scores.amax(dim=1).argsort(descending=True).tolist()
        auroc = roc_auc_score(content.data["labels"], of_images)
        assert core("core.auroc(scores, data.labels)", scores=of_images) == pytest.approx(auroc)


def test_core_counts_as_the_library_does(case):
    core, tokens, content = case
    if len(content.references) < 8:
        pytest.skip("the library counts in all other images")
    core.compare_all()
    distances = musc_lite.nearest_distances(tokens)
    for threshold in (0.2, 0.5013, 0.9):
        found = core("core.similarImages(batch, table, threshold)", threshold=threshold)
        expected = musc_lite.similarity_counts(distances, threshold).numpy()
        np.testing.assert_array_equal(np.reshape(found, (8, 64)), expected)
        counted = "core.countSimilar(batch, core.distancesOf(batch, 2, 9), image, threshold)"
        found = core(f"[0, 1, 3, 4, 5, 6, 7].reduce((sum, image) => sum + {counted}, 0)", threshold=threshold)
        assert found == int(musc_lite.similar_patch_counts(tokens, [threshold])[2, 9, 0])


@pytest.mark.parametrize("windows", [(1, 2, 3), (1,), (5, 30), (8,)])
def test_core_rescores_as_the_library_does(case, detector, windows):
    core, _, content = case
    class_tokens = detector.features_.class_tokens.double()
    similarity = np.reshape(core("core.levels(data.similarity)"), (8, 8))
    np.testing.assert_allclose(similarity, musc_lite.image_similarity(class_tokens), atol=2e-5)
    found = core("core.rescore(data.mapScores, core.levels(data.similarity), windows)", windows=windows)
    scaled = torch.tensor(core("core.scaled(data.mapScores)"), dtype=torch.float64)
    np.testing.assert_allclose(found, neighborhood_scores(torch.from_numpy(similarity), scaled, windows), atol=1e-9)
    exact = musc_lite.rescore(np.array(content.data["mapScores"]), class_tokens, windows)
    np.testing.assert_allclose(found, exact, atol=1e-4)


def test_auroc_counts_ties_half(case):
    core, _, _ = case
    scores, labels = [1, 2, 2, 3, 3, 3, 0], [0, 1, 0, 0, 1, 1, 0]
    found = core("core.auroc(scores, labels)", scores=scores, labels=labels)
    assert found == pytest.approx(roc_auc_score(labels, scores))
    assert core("core.auroc(scores, labels)", scores=scores, labels=[0] * 7) is None


@pytest.fixture
def open_page(browser, file):
    """Open the page at a tab; errors, and requests for anything but the file, fail the test."""
    contexts, errors, outside = [], [], []

    def listen(page):
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        own = (file.as_uri(), "blob:")
        page.on("request", lambda request: request.url.startswith(own) or outside.append(request.url))

    def open_page(tab="patch", width=1280, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        listen(page)
        page.goto(f"{file.as_uri()}#{tab}")
        page.wait_for_selector(CANVAS)
        page.wait_for_timeout(100)  # pictures are decoded
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert outside == []


def said(page):
    return page.inner_text("#status")


def where(patch, picture, grid=8):
    """Give the middle of a patch of a picture."""
    box = picture.bounding_box()
    return {"x": box["width"] * (patch % grid + 0.5) / grid, "y": box["height"] * (patch // grid + 0.5) / grid}


def test_click_shows_the_nearest_patches_and_says_the_counts(open_page, detector):
    page = open_page()
    first, before = page.locator("#panel canvas").first, said(page)
    first.click(position=where(10, first))
    assert said(page) != before
    i = int(detector.scores_.ranking[0])
    assert f"image {i}, patch 10" in first.get_attribute("aria-label")
    rank = 1 + int((detector.patch_scores_[1, 1] > detector.patch_scores_[1, 1, i, 10]).sum())
    assert "of 7 other images" in said(page)
    assert said(page).endswith(f"rank {rank} of 512")
    expected = musc_lite.nearest_patches(detector.aggregated_tokens(1, 3), i, 10)[0].sort().values[:2].mean()
    assert float(said(page).split("closest 30 %: ")[1].split(";")[0]) == pytest.approx(float(expected), abs=0.03)
    distances = [float(text.split(":")[0]) for text in page.locator("#panel .gallery figcaption").all_inner_texts()]
    assert len(distances) == 7
    assert distances == sorted(distances)
    keep(page, "patch")


def test_click_on_a_small_picture_compares_with_it(open_page):
    page = open_page()
    page.locator("#panel .gallery canvas").nth(4).click()
    distance = page.locator("#panel .gallery figcaption").nth(4).inner_text().split(":")[0]
    assert f"nearest at {distance}" in page.locator("#panel canvas").nth(1).get_attribute("aria-label")


def test_arrow_keys_walk_over_patches(open_page):
    page = open_page()
    first = page.locator("#panel canvas").first
    first.click(position=where(27, first))
    for key, patch in [("ArrowRight", 28), ("ArrowDown", 36), ("ArrowLeft", 35), ("ArrowUp", 27)]:
        page.keyboard.press(key)
        assert f"patch {patch}:" in first.get_attribute("aria-label")


def test_hovering_asks_in_passing(open_page):
    page = open_page()
    first = page.locator("#panel canvas").first
    chosen, sentence = first.get_attribute("aria-label"), said(page)
    first.hover(position=where(2, first))
    assert "patch 2:" in first.get_attribute("aria-label")
    assert said(page) == sentence  # nothing is chosen
    page.mouse.move(5, 5)
    assert first.get_attribute("aria-label") == chosen


def test_large_pictures_are_looked_at_closer(open_page):
    page = open_page()
    first, second = page.locator("#panel .musc-picture").nth(0), page.locator("#panel .musc-picture").nth(1)
    canvas = first.locator("canvas")
    canvas.click(position=where(27, canvas))
    canvas.press("+")
    canvas.press("+")
    beside = where(28, canvas)
    canvas.hover(position={**beside, "x": beside["x"] - 4})
    assert "patch 27:" in canvas.get_attribute("aria-label")  # a patch is 2.3 times as wide, and 27 has stayed in place
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert "patch 31:" in canvas.get_attribute("aria-label")
    keep(page, "closer")
    canvas.click(position=where(63, canvas))  # the picture has followed to its right edge
    assert "patch 63:" not in canvas.get_attribute("aria-label")
    assert "musc-enlarged" not in second.get_attribute("class")
    first.get_by_role("button", name="whole").click()
    assert "musc-enlarged" not in first.get_attribute("class")
    canvas.click(position=where(28, canvas))
    assert "patch 28:" in canvas.get_attribute("aria-label")


def test_two_fingers_look_closer_and_one_moves(open_page):
    page = open_page(has_touch=True)
    picture = page.locator("#panel .musc-picture").first
    box = picture.locator("canvas").bounding_box()
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    touch = page.context.new_cdp_session(page)

    def move(*places):
        for k, apart in enumerate([*places, []]):
            points = [{"x": middle[0] + dx, "y": middle[1], "id": n} for n, dx in enumerate(apart)]
            kind = ("touchStart" if k == 0 else "touchMove") if apart else "touchEnd"
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    move([-20, 20], [-30, 30], [-50, 50])
    assert "musc-enlarged" in picture.get_attribute("class")
    assert page.evaluate("visualViewport.scale") == 1  # the page itself keeps its size
    before = picture.screenshot()
    move([0], [15], [30])
    assert picture.screenshot() != before


def test_touch_on_a_narrow_dark_page(open_page):
    page = open_page(width=400, has_touch=True, is_mobile=True, color_scheme="dark")
    first = page.locator("#panel canvas").first
    first.tap(position=where(17, first))
    assert "patch 17:" in first.get_attribute("aria-label")
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"
    keep(page, "patch_narrow_dark")
    page.get_by_role("tab", name="Threshold").tap()
    page.wait_for_timeout(100)
    assert "images are flagged as defective" in said(page)


def test_tabs_by_keys_and_address(open_page):
    page = open_page()
    page.get_by_role("tab", name="Patch").focus()
    names = []
    for _ in range(5):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(150)
        names.append(page.locator("[aria-selected=true]").inner_text())
    assert names == ["Counts", "Interval", "Threshold", "Re-scoring", "Patch"]
    page.get_by_role("tab", name="Re-scoring").click()
    assert page.url.endswith("#rescoring")


def test_interval_changes_scores_and_order(open_page):
    page = open_page("interval")
    assert "mean over the other images 1 to 2 of 7" in said(page)
    shown = page.locator("#panel figcaption").all_inner_texts()
    page.get_by_label("to image").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert "mean over the other images 1 to 7 of 7" in said(page)
    assert "image AUROC" in said(page)
    assert page.locator("#panel figcaption").all_inner_texts() != shown
    page.get_by_label("from image").focus()
    page.keyboard.press("End")
    assert "mean over the other images 7 to 7 of 7" in said(page)
    keep(page, "interval")
    page.get_by_role("tab", name="Patch").click()
    page.locator("#status").get_by_text("images from").wait_for()


def test_similarity_threshold_counts(open_page):
    page = open_page("counts")
    slider = page.get_by_label("threshold of similar patches")
    slider.fill("0")
    assert "a similar one in 0 of 7" in said(page)
    slider.fill("2")
    assert "a similar one in 7 of 7 other images at threshold 2.00" in said(page)
    slider.fill("0.5")
    keep(page, "counts")
    page.get_by_role("tab", name="Patch").click()
    assert "at threshold 0.50" in said(page)


def test_image_threshold_calls_images(open_page, detector):
    page = open_page("threshold")
    n_called = int(detector.scores_.is_outlier.sum())
    assert said(page).startswith(f"{n_called} of 8 images are flagged as defective: precision")
    page.get_by_role("slider", name="image threshold").and_(page.locator("input")).focus()
    page.keyboard.press("End")
    assert said(page).startswith("0 of 8")
    page.keyboard.press("Home")
    assert said(page).startswith("8 of 8")
    assert page.locator("#panel table td").all_inner_texts() == ["0", "5", "0", "3"]
    keep(page, "threshold")


def test_windows_rescore(open_page, detector):
    page = open_page("rescoring")
    assert said(page).startswith(f"image {detector.scores_.ranking[0]}: ")
    before = said(page)
    page.get_by_label("8", exact=True).check()
    assert said(page) != before
    keep(page, "rescoring")
    for size in ("1", "2", "3", "8"):
        page.get_by_label(size, exact=True).uncheck()
    first, second = said(page).split(", ")[:2]
    assert first.split(": ")[1].split()[0] == second.split()[0]  # without windows the score stays


def test_every_control_has_a_name(open_page):
    for tab in ("patch", "counts", "interval", "threshold", "rescoring"):
        page = open_page(tab)
        nameless = page.evaluate(
            "() => [...document.querySelectorAll('#tabs *, #panel :is(input, select, canvas, svg)')].filter((node) =>"
            " !node.labels?.length && !node.getAttribute('aria-label') && !node.textContent).length"
        )
        assert nameless == 0, tab
        assert page.locator("[role=status][aria-live=polite]").count() == 1


def test_page_in_a_frame_fits_and_has_the_colors_around_it(browser, file, tmp_path):
    """With the script of the book, in files that cannot look into each other."""
    script, outer = Path(__file__).parents[1] / "notebooks" / "book.js", tmp_path / "outer.html"
    frame = f'<iframe class="live" src="{file.as_uri()}#threshold" width="800"></iframe>'
    outer.write_text(f'<html data-theme="dark"><script src="{script.as_uri()}"></script>{frame}</html>')
    page = browser.new_page(color_scheme="light")
    page.goto(outer.as_uri())
    inner = page.frame_locator("iframe")
    inner.locator("#panel canvas").first.wait_for()
    assert not inner.locator("h1").is_visible()
    page.wait_for_function("parseFloat(document.querySelector('iframe').style.height) > 200")
    page.wait_for_timeout(200)
    color = "(node) => getComputedStyle(node).backgroundColor"
    assert inner.locator("body").evaluate(color) == "rgb(22, 24, 28)"
    assert inner.locator("html").evaluate("(node) => node.scrollHeight <= innerHeight")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    page.wait_for_timeout(200)
    assert inner.locator("body").evaluate(color) == "rgb(255, 255, 255)"
    page.close()


@pytest.mark.parametrize("width", [700, 900, 1000])
def test_height_stays(open_page, width):
    """Pictures were as wide as their view, and the view a little wider than they: the page grew without end."""
    page = open_page("counts", width=width)
    page.wait_for_timeout(300)
    before = page.evaluate("document.documentElement.scrollHeight")
    page.wait_for_timeout(400)
    assert page.evaluate("document.documentElement.scrollHeight") == before
