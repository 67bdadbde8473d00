"""The explorers and the app in a real browser: run, click, and compare what is seen with the kernel's state."""

import ast
import json
import os
import re
import shutil
import time
from pathlib import Path

import nbformat
import pytest
from browsing import (
    PREPARE,
    all_drawn,
    click_patch,
    drag,
    end_kernels,
    in_kernel,
    keep,
    kernels,
    open_and_run,
    run_all,
    served,
    set_theme,
    wait_for,
    write_notebook,
)
from PIL import Image

from musc_lite import MuSc, find_evidence, planted_textures
from musc_lite.reports.report import Result, write_report

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"


def test_patch_explorer_answers_clicks_and_keys(lab, page):
    run_all(page, lab, [PREPARE, "explorer = PatchExplorer(detector, selected=(3, 100))\nexplorer"], "patch")
    status, tiles = page.locator("[role=status]"), page.locator(".musc-tiles canvas")
    tiles.nth(12).wait_for()
    assert tiles.count() == 2 + 11
    keep(page, "patch_explorer")
    click_patch(page, tiles.nth(0), 37)
    page.get_by_text("image 3, patch 37").wait_for()
    tiles.nth(0).press("ArrowDown")
    page.get_by_text("image 3, patch 53").wait_for()
    assert in_kernel(lab, "explorer.selected") == (3, 53)
    assert in_kernel(lab, "explorer.sentence") == status.inner_text()
    assert page.errors == []
    assert page.outside == []


def test_every_explorer_shows_and_answers(lab, page):
    names = ["SimilarityCounts", "NeighborhoodExplorer", "IntervalExplorer", "RescoringExplorer", "ThresholdExplorer"]
    page.set_viewport_size({"width": 1280, "height": 3400})
    run_all(page, lab, [PREPARE, *(f"e{k} = {name}(detector)\ne{k}" for k, name in enumerate(names))], "all")
    page.locator(".musc-tiles canvas").nth(2 + 3 + 12 + 12 - 1).wait_for()
    status, charts = page.locator("[role=status]"), page.locator(".musc-chart")
    assert status.count() == 5
    assert charts.count() == 7
    keep(page, "explorers")
    on_curves = charts.last.evaluate("""chart => [...chart.querySelectorAll("circle")].map((dot, k) => {
        const curve = chart.querySelectorAll("path[fill=none]")[k];
        return curve.isPointInStroke(new DOMPoint(dot.cx.baseVal.value, dot.cy.baseVal.value));
    })""")
    assert on_curves == [True, True]
    slider = page.locator(".widget-slider .noUi-handle").first  # the threshold of the counts
    before, said = in_kernel(lab, "e0.threshold"), status.first.inner_text()
    slider.press("ArrowRight")
    wait_for(lambda: status.first.inner_text() != said, 20)
    assert in_kernel(lab, "e0.threshold") == pytest.approx(before + 0.01)
    assert f"threshold {before + 0.01:.2f}" in status.first.inner_text()
    click_patch(page, page.locator(".musc-tiles canvas").nth(1), 37)
    page.get_by_text("patch 37 of image").wait_for()
    status.first.get_by_text("patch 37 of image").wait_for()
    assert status.first.inner_text().split(": ")[1].split()[0] == in_kernel(lab, "str(e0.counts[e0.image, 37])")
    page.locator(".musc-tiles canvas").nth(2 + 3 + 12).click()  # of the decisions, the most anomalous image
    page.get_by_text("its closest likeness").wait_for()
    assert in_kernel(lab, "e4.image") == in_kernel(lab, "int(detector.scores_.ranking[0])")
    page.get_by_text("its closest likeness").scroll_into_view_if_needed()
    wait_for(lambda: all_drawn(page.locator(".widget-image")), 20)
    keep(page, "closely")
    assert page.errors == []
    assert page.outside == []


def test_report_shows_evidence_in_the_photos_own_pixels_on_a_click(page, tmp_path):
    detector = MuSc(image_size=112, layers=[5, 8], r=(1,)).fit(planted_textures("brick", n_images=6, n_defective=2))
    result = Result("brick", detector.scores_, evidence=find_evidence(detector))
    page.goto(write_report(tmp_path / "report.html", [result]).as_uri())
    button, picture = page.locator("figure .closely").first, page.locator("figure .closely img").first
    small = picture.bounding_box()["width"]
    button.click()
    assert small < picture.bounding_box()["width"] == picture.evaluate("image => image.naturalWidth")
    keep(page, "report")
    button.press("Enter")
    assert picture.bounding_box()["width"] == small
    assert page.errors == []


def test_dark_theme_is_readable(lab, page):
    set_theme(lab, "Dark")
    run_all(page, lab, [PREPARE, "PatchExplorer(detector)"], "dark")
    page.locator(".musc-tiles canvas").nth(12).wait_for()
    keep(page, "patch_explorer_dark")
    color = page.locator(".musc-tiles figcaption").first.evaluate("node => getComputedStyle(node).color")
    assert min(int(part) for part in color.strip("rgba()").split(",")[:3]) > 180


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_region_picker_follows_mouse_and_keys(lab, page, theme):
    set_theme(lab, theme)
    photos = lab["folder"] / "photos"
    photos.mkdir(exist_ok=True)
    for k, picture in enumerate(planted_textures("brick", n_images=3, n_defective=1)):
        picture.crop((0, 0, 200, 120)).save(photos / f"{k}.jpg")
    prepare = "from musc_lite.widgets import RegionPicker\npicker = RegionPicker('photos')\npicker"
    run_all(page, lab, [prepare], f"region_{theme.lower()}")
    photo, words = page.locator(".musc-region-photo img"), page.locator(".musc-region-words")
    words.get_by_text("whole photo: 200 x 120 pixels").wait_for()
    frame = photo.bounding_box()
    assert frame["width"] / frame["height"] == pytest.approx(200 / 120, abs=0.01)

    def region_becomes(expected):
        wait_for(lambda: in_kernel(lab, "picker.region") == pytest.approx(expected, abs=0.005), 10)

    drag(page, frame, (0.7, 0.8), (0.3, 0.2))  # upward: the corners are put in order
    region_becomes((0.3, 0.2, 0.7, 0.8))
    words.get_by_text("24.").wait_for()
    assert words.inner_text() == in_kernel(lab, "picker.sentence")
    keep(page, f"region_picker_{theme.lower()}")
    drag(page, frame, (0.5, 0.5), (0.6, 0.4))  # inside: moves
    region_becomes((0.4, 0.1, 0.8, 0.7))
    drag(page, frame, (0.8, 0.7), (0.9, 0.95))  # a corner
    region_becomes((0.4, 0.1, 0.9, 0.95))
    drag(page, frame, (0.4, 0.5), (0.2, 0.9))  # an edge: moves one way only
    region_becomes((0.2, 0.1, 0.9, 0.95))
    drag(page, frame, (0.6, 0.5), (1.5, 0.5))  # not farther than the photo
    region_becomes((0.3, 0.1, 1, 0.95))
    drag(page, frame, (0.1, 0.5), (0.1, 0.5))  # a click is no rectangle
    box = page.locator(".musc-region-box")
    box.press("ArrowLeft")
    box.press("Shift+ArrowUp")
    region_becomes((0.29, 0.1, 0.99, 0.94))
    drag(page, frame, (0.05, 0.1), (0.25, 0.9))  # outside: another one
    region_becomes((0.05, 0.1, 0.25, 0.9))
    page.get_by_role("button", name="next photo").click()
    page.wait_for_function("document.querySelector('.musc-region img').alt === '1.jpg'")
    wait_for(lambda: in_kernel(lab, "picker.image") == 1, 10)  # the page knows it before the kernel does
    in_kernel(lab, "picker.set_trait('region', (0.5, 0.0, 1.0, 0.5))")
    wait_for(lambda: abs(box.bounding_box()["x"] - frame["x"] - frame["width"] / 2) < 2, 10)
    page.get_by_role("button", name="whole photo").click()
    words.get_by_text("whole photo: 200 x 120 pixels").wait_for()
    wait_for(lambda: in_kernel(lab, "picker.region") == (0, 0, 1, 1), 10)
    color = words.evaluate("node => getComputedStyle(node).color")
    brightness = [int(part) for part in color.strip("rgba()").split(",")[:3]]
    assert min(brightness) > 180 if theme == "Dark" else max(brightness) < 80
    assert page.errors == []
    assert page.outside == []


def test_pictures_of_an_oblong_grid_are_drawn_in_its_shape(lab, page):
    make = """
from PIL import Image
from musc_lite.widgets.tiles import Tiles, jpeg
def show(grid):
    h, w = grid
    tiles = Tiles(grid=grid, size=240, pictures=[jpeg(Image.new("RGB", (40, 40), "teal"), (40 * w, 40 * h))])
    def pick(tile, patch):
        tiles.picked = patch
        tiles.tiles = [{"picture": 0, "title": f"patch {patch}", "marks": [[patch, "red"]], "layer": layer}]
    layer = bytes(k for patch in range(h * w) for k in (0, 0, 250 if patch % w == w - 1 else 0, 255))
    tiles.on_pick(pick)
    pick(0, 0)
    return tiles
wide, high = show((2, 6)), show((6, 2))
"""
    run_all(page, lab, [make, "wide", "high"], "oblong")
    for k, (name, grid) in enumerate({"wide": (2, 6), "high": (6, 2)}.items()):
        output = page.locator(".musc-tiles").nth(k)
        canvas = output.locator("canvas")
        box = canvas.bounding_box()
        assert (box["height"], box["width"]) == (40 * grid[0], 40 * grid[1])
        click_patch(page, canvas, 9, grid)
        output.locator("figcaption").get_by_text("patch 9").wait_for()
        canvas.press("ArrowRight")  # patch 9 is in the middle of the wide one, at the right end of the high one
        output.locator("figcaption").get_by_text(f"patch {10 if name == 'wide' else 9}").wait_for()
        canvas.press("ArrowUp")
        expected = {"wide": 4, "high": 7}[name]
        output.locator("figcaption").get_by_text(f"patch {expected}").wait_for()
        assert in_kernel(lab, f"{name}.picked") == expected
        last_column = [box["width"] - 20, box["height"] - 20]
        pixel = "(node, at) => [...node.getContext('2d').getImageData(...at, 1, 1).data]"
        assert canvas.evaluate(pixel, last_column) == [0, 0, 250, 255]
        assert canvas.evaluate(pixel, [last_column[0] - 40, last_column[1]]) == [0, 0, 0, 255]
    keep(page, "oblong")
    assert page.errors == []


def in_notebook(lab, explorer, expression):
    """Evaluate an expression of `e`, the last explorer of this class that a cell of the notebook showed."""
    found = f"[o for o in Out.values() if type(o).__name__ == {explorer!r}][-1]"
    return in_kernel(lab, f"(lambda e: {expression})({found})")


def run_course_notebook(lab, page, name):
    """Copy a notebook of the course into Lab's folder, with the cells that its explorers need, and run it."""
    shared = lab["folder"] / "features"
    (NOTEBOOKS / "features").mkdir(exist_ok=True)
    if not shared.exists():
        shared.symlink_to(NOTEBOOKS / "features")
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    cells = [*what_explorers_need(notebook.cells), nbformat.v4.new_code_cell("print('all ' + 'done')")]
    write_notebook(lab, cells, name)
    end_kernels(lab, but=lab.get("prepared"))
    open_and_run(page, lab, name, {"name": "python3"})
    assert page.locator(".jp-RenderedText[data-mime-type*=error]").count() == 0


def what_explorers_need(cells):
    """Keep the code cells that show an explorer, and those that set a name which these use, be it on a detour."""
    wanted, kept = set(), []
    for cell in reversed([c for c in cells if c.cell_type == "code" and "%pip" not in c.source]):
        tree = ast.parse(cell.source)
        if "Explorer(" in cell.source or names_set(tree) & wanted:
            wanted |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            cell.outputs = []
            kept.append(cell)
    return kept[::-1]


def names_set(tree):
    """Give the names that code binds, and those whose parts it sets or whose methods it calls for their effect."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            found.add(base_name(node))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            found.add(base_name(node.value.func))
    return found - {"_", "plt"}


def base_name(node):
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", None)


def explorer_output(page, words):
    """Find the output of the explorer that says these words; outputs far below are drawn when they are scrolled to."""
    outputs = page.locator(".jp-OutputArea-output").filter(has=page.locator("canvas"))
    output = outputs.filter(has_text=words).last
    output.scroll_into_view_if_needed()
    return output


def test_course_notebook_answers_a_click_on_a_patch(lab, page):
    name = "03_mutual_scoring"
    run_course_notebook(lab, page, name)
    output = explorer_output(page, "mean of the closest")
    click_patch(page, output.locator("canvas").first, 37)
    output.get_by_text("patch 37:").wait_for()
    keep(page, name)
    image, patch = in_notebook(lab, "PatchExplorer", "e.selected")
    said = output.get_by_role("status").inner_text()
    assert patch == 37
    assert said == in_notebook(lab, "PatchExplorer", "e.sentence")
    # The answer as the detector knows it, for the layer and r that are chosen.
    scores = "e.detector.patch_scores_[list(e.detector.r_).index(e.features[1]), e.features[0]]"
    rank = in_notebook(lab, "PatchExplorer", f"int(({scores} > {scores}[{image}, 37]).sum()) + 1")
    assert f"rank {rank:,} of" in said
    assert page.errors == []
    assert page.outside == []


def test_course_notebook_answers_a_click_on_a_neighbor(lab, page):
    run_course_notebook(lab, page, "04_rescoring")
    output = explorer_output(page, re.compile("rank .* before"))
    before = in_notebook(lab, "RescoringExplorer", "e.image")
    output.locator("canvas").nth(3).click()
    wait_for(lambda: in_notebook(lab, "RescoringExplorer", "e.image") != before, 20)
    keep(page, "04_rescoring")
    image = in_notebook(lab, "RescoringExplorer", "e.image")
    after = in_notebook(lab, "RescoringExplorer", "float(e.rescored[e.image])")
    assert f"image {image}: " in output.get_by_role("status").inner_text()
    assert f"{after:.2f} after" in output.get_by_role("status").inner_text()
    assert page.errors == []
    assert page.outside == []


def test_course_notebook_follows_a_slider(lab, page):
    run_course_notebook(lab, page, name := "02_neighborhoods")
    output = explorer_output(page, "highest patch score")
    before = output.get_by_role("status").inner_text()
    output.get_by_role("slider").first.press("Home")
    wait_for(lambda: output.get_by_role("status").inner_text() != before, 60)
    wait_for(
        lambda: output.get_by_role("status").inner_text() in in_notebook(lab, "NeighborhoodExplorer", "e._text.value"),
        20,
    )
    keep(page, name)
    assert page.errors == []
    assert page.outside == []


def open_explorers(page, url):
    """Open the tab "How it works"; give its button Run."""
    page.goto(url, timeout=120_000)
    page.get_by_role("tab", name="How it works").click(timeout=60_000)
    run = page.get_by_role("button", name="Run")
    run.wait_for()
    return run


def test_closed_page_ends_its_kernel_also_while_it_loads_or_runs(app, page, tmp_path):
    page.goto(app, wait_until="commit", timeout=60_000)
    wait_for(lambda: kernels(tmp_path), 60)
    page.get_by_text("among your images").wait_for(timeout=60_000, state="attached")  # the kernel is starting
    page.goto("about:blank")
    wait_for(lambda: not kernels(tmp_path), 20)
    run = open_explorers(page, app)
    page.get_by_label("image size").select_option("448 pixels: smaller defects")
    run.click()
    page.get_by_text("extracting features").wait_for(timeout=60_000)
    assert len(kernels(tmp_path)) == 1
    assert page.errors == []
    page.close(run_before_unload=True)
    wait_for(lambda: not kernels(tmp_path), 20)


def test_busy_kernel_of_a_lost_browser_is_ended_and_one_with_an_open_page_is_not(page, tmp_path):
    folder = shutil.copytree(ROOT / "musc_lite" / "monitoring" / "page", tmp_path / "app")
    settings = json.loads((folder / "voila.json").read_text())
    assert 60 <= settings["MappingKernelManager"]["cull_idle_timeout"] <= 120  # time enough to load the app, no more
    settings["MappingKernelManager"] |= {"cull_idle_timeout": 6, "cull_interval": 1}
    (folder / "voila.json").write_text(json.dumps(settings))
    notebook = nbformat.read(folder / "app.ipynb", as_version=4)  # a long run that says nothing, quick to load
    notebook.cells[-1].source = "import time, ipywidgets\nrun = ipywidgets.Button(description='Run')\n"
    notebook.cells[-1].source += "run.on_click(lambda _: (setattr(run, 'description', 'busy'), time.sleep(90)))\nrun"
    nbformat.write(notebook, folder / "app.ipynb")
    (tmp_path / "runtime").mkdir()
    environment = os.environ | {"JUPYTER_PATH": ".", "IPYTHONDIR": str(tmp_path / "ipython")}
    command = ["voila", "app.ipynb", f"--Voila.connection_dir_root={tmp_path / 'runtime'}"]
    with served(command, tmp_path, environment, folder) as url:
        page.goto(url, timeout=60_000)
        page.get_by_role("button", name="Run").click(timeout=60_000)
        page.get_by_role("button", name="busy").wait_for()
        time.sleep(10)
        assert len(kernels(tmp_path)) == 1
        page.close()  # without telling the page, as when a browser crashes
        wait_for(lambda: not kernels(tmp_path), 25)


def test_app_scores_a_folder_without_code(app, page, tmp_path):
    photos = tmp_path / "photos"
    (photos / "a folder of a long name").mkdir(parents=True)
    for k, thing in enumerate(planted_textures("gravel", n_images=8, n_defective=2)):
        picture = Image.new("RGB", (1000, 750), "white")
        picture.paste(thing.resize((600, 450)), (200, 150))
        picture.save(photos / "a folder of a long name" / f"photo_{k}.jpg")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 not a photo")
    run = open_explorers(page, app)
    assert page.title() == "MuSc"
    page.get_by_label("images", exact=True).select_option("a folder")
    page.get_by_label("its path").fill(str(photos / "wrong"))
    run.click()
    page.get_by_role("alert").get_by_text("there is no folder").first.wait_for()
    page.get_by_label("look at").select_option("a part that I draw")
    page.get_by_role("alert").get_by_text("there is no folder").first.wait_for()
    page.get_by_label("its path").fill(str(photos))
    page.get_by_label("its path").press("Enter")
    page.locator(".musc-region-words").get_by_text("whole photo: 1000 x 750 pixels").wait_for()
    page.get_by_label("look at").select_option("where the objects are")
    page.get_by_label("tiles").select_option("2 along the longer side")
    page.get_by_role("button", name="Check").click()
    said = page.get_by_role("status").filter(visible=True).first
    said.get_by_text("A patch covers").wait_for(timeout=60_000)
    lines = said.inner_text().split("\n")
    assert lines[0] == "8 images."
    assert any(line.startswith("  tiles 3: ") for line in lines), lines
    picture = page.locator(".jupyter-widgets.widget-image").filter(visible=True).first
    assert picture.evaluate("node => node.naturalWidth / node.naturalHeight") == pytest.approx(4 + 24 / 320, abs=0.01)
    picture_box, page_box = picture.bounding_box(), said.bounding_box()
    assert picture_box["width"] / picture_box["height"] == pytest.approx(4, abs=0.1)
    assert picture_box["x"] + picture_box["width"] <= page_box["x"] + page_box["width"]
    keep(page, "app_check")
    run.click()
    page.get_by_text("Working.").wait_for(timeout=60_000)
    assert picture.is_visible()
    said.get_by_text("Fewer than 10 images").wait_for(timeout=120_000)
    assert "A patch covers" in said.inner_text()
    assert not picture.is_visible()
    assert "Left out 1 file" in said.inner_text()
    assert "broken.jpg" in said.inner_text()
    shown = page.locator(".widget-slider", has_text="image threshold").locator(".widget-readout").inner_text()
    assert shown in said.inner_text()
    name = page.locator(".musc-name", has_text="photo_3.jpg")
    places = "node => [node, node.firstChild].map(one => one.getBoundingClientRect())"  # at one moment: tiles may grow
    name_box, text_box = name.evaluate(places)
    assert text_box["width"] > name_box["width"]  # too long: its beginning is left out, its end is seen
    assert text_box["right"] == pytest.approx(name_box["right"], abs=1)
    page.get_by_role("tab", name="Patches", exact=True).click()
    patches = page.locator(".musc-tiles:visible canvas")
    patches.nth(2 + 7 - 1).wait_for()
    click_patch(page, patches.first, 37, grid=(32, 32))
    page.get_by_text("patch 37:").wait_for()
    keep(page, "app")
    assert page.errors == []
    assert page.outside == []
    assert len(kernels(tmp_path)) == 1
    page.close(run_before_unload=True)
    wait_for(lambda: not kernels(tmp_path), 20)


def test_app_sets_recurring_defects_apart_and_sorts_what_stands_out(app, page, tmp_path):
    (tmp_path / "photos").mkdir()
    textures = planted_textures("gravel", n_images=16, n_defective=4, image_size=112)
    for name, image in zip(textures.names, textures, strict=True):
        image.save(tmp_path / "photos" / f"{name.replace('/', '_')}.png")
    run = open_explorers(page, app)
    page.get_by_label("images", exact=True).select_option("a folder")
    page.get_by_label("its path").fill(str(tmp_path / "photos"))
    page.get_by_label("score by").select_option("all, recurring defects apart")
    page.get_by_text("images that share a rare patch").wait_for()  # it moves the button: a click before it may miss
    run.click()
    page.get_by_role("tab", name="Kinds of defect").click(timeout=300_000)
    said = page.get_by_role("status").filter(visible=True, has_text="images are flagged. Find how many kinds")
    said.wait_for()
    n_outliers = int(said.inner_text().split(" images are flagged")[0].split()[-1])
    assert n_outliers > 2
    page.get_by_label("kinds of defect").select_option("2")
    page.get_by_text("kind 1: ").wait_for()
    pictures = page.locator(".musc-tiles:visible canvas")
    wait_for(lambda: pictures.count() == n_outliers, 20)
    keep(page, "app_kinds")
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        right = "nodes => Math.max(...nodes.map(node => node.getBoundingClientRect().right))"
        assert pictures.evaluate_all(right) <= width
        keep(page, f"app_kinds_{width}")
    assert page.errors == []
