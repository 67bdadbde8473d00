"""One HTML file of a fitted detector: what it holds, what it refuses, and what a few bytes a patch cost."""

import base64
import copy
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import musc_lite
from musc_lite import MuSc, MutualScorer, SubspaceScorer, from_arrays, load_folder, planted_textures, publish
from musc_lite.cli import app
from musc_lite.reports.html import read_web
from musc_lite.static_page.bundle import MODULES, classic, script
from musc_lite.static_page.payload import choose_images, collect, find_images
from musc_lite.static_page.publish import describe_agreement
from musc_lite.static_page.quantization import measure_agreement, quantize
from musc_lite.utils.errors import DataNotFoundError

FAST = {"image_size": 112, "layers": [5, 7, 8]}
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def images():
    return planted_textures("brick", n_images=8, n_defective=2, image_size=112)


@pytest.fixture(scope="module")
def detector(images):
    return MuSc(**FAST).fit(images)


@pytest.fixture
def folder(tmp_path, images):
    for name, image in zip(images.names, images, strict=True):
        (tmp_path / "photos").mkdir(exist_ok=True)
        image.save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def data_of(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="batch">(.*?)</script>', text, re.DOTALL)[1])


def array(text, kind=np.uint8):
    return np.frombuffer(base64.b64decode(text), kind)


def test_quantized_vectors_are_within_half_a_level():
    tokens = torch.randn(4, 9, 12, generator=torch.Generator().manual_seed(0))
    few = quantize(tokens, 12)
    distances = few.distances_of(1)
    exact = torch.cdist(tokens[1], tokens.flatten(0, 1)).unflatten(1, (4, 9))
    # Each component is off by half a level at most, on both sides.
    assert (distances - exact).abs().max() <= np.linalg.norm(few.steps) + 1e-4
    assert (few.codes.min(axis=(0, 1)) == 0).all()
    assert (few.codes.max(axis=(0, 1)) == 255).all()


def test_what_lies_outside_of_the_components_counts():
    """Four components of twelve equally strong ones: distances keep their size by the byte for the rest."""
    tokens = torch.randn(4, 9, 12, generator=torch.Generator().manual_seed(0))
    few = quantize(tokens, 4)
    exact = torch.cdist(tokens[0], tokens[1:].flatten(0, 1)).flatten()
    with_rest = few.distances_of(0)[:, 1:].flatten()
    without = replace(few, outside=np.zeros_like(few.outside)).distances_of(0)[:, 1:].flatten()
    assert abs((with_rest / exact).mean() - 1) < 0.02
    assert (without / exact).mean() < 0.8


def test_equal_vectors_have_no_steps_that_divide_by_zero():
    few = quantize(torch.ones(2, 3, 4), 2)
    assert few.distances_of(0).max() < 1e-3


def test_agreement_is_perfect_where_nothing_is_lost():
    codes = torch.randint(0, 256, (3, 5, 4), generator=torch.Generator().manual_seed(0)).float()
    found = measure_agreement(codes, quantize(codes, 4), np.arange(3), (0.0, 1.0))
    assert found.same_nearest == 1
    assert found.distance_error[1] < 1.5 * 2  # of distances near 100; two vectors of four components, half a level each
    assert found.patch_rank > 0.99


def test_agreement_is_measured_against_the_exact_vectors(detector, images):
    content = collect(detector, images, (1, 3), detector.aggregated_tokens(1, 3), 8, 64)
    found, tokens = content.agreement(), detector.aggregated_tokens(1, 3)
    exact = musc_lite.nearest_distances(tokens)
    near = []
    for i in range(8):
        here = content.quantized.distances_of(i).amin(dim=2)
        near.append(torch.cat([here[:, :i], here[:, i + 1 :]], dim=1))
    assert found.distance_error[0] == pytest.approx(float((torch.stack(near) - exact).abs().mean()), abs=1e-5)
    assert found.distance_error[1] == pytest.approx(float((torch.stack(near) - exact).abs().max()), abs=1e-4)
    assert found.same_nearest > 0.8
    assert found.image_rank > 0.9
    assert f"{100 * found.same_nearest:.0f} of 100" in describe_agreement(found)


def test_page_holds_the_batch(detector, images, tmp_path):
    written = publish(detector, tmp_path / "deep" / "page.html", images)
    data = data_of(written.path)
    assert written.n_bytes == written.path.stat().st_size < 1_500_000
    assert (written.n_images, data["names"], data["numbers"]) == (8, images.names, list(range(8)))
    assert (data["block"], data["r"]) == (7, 3)
    assert data["labels"] == images.labels.tolist()
    levels = data["patchScores"]
    scores = levels["low"] + levels["step"] * array(levels["codes"], "<u2").reshape(8, 64)
    np.testing.assert_allclose(scores, detector.patch_scores_[1, 1], atol=1e-4)
    masks = np.unpackbits(array(data["defective"]))[: 8 * 64].reshape(8, 64).astype(bool)
    assert (masks == musc_lite.defective_patches(images.masks(112), (8, 8))).all()
    page = written.path.read_text(encoding="utf-8")
    assert all(sentence.split(":")[0] in page for sentence in written.words)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


def test_block_and_r_are_chosen(detector, images, tmp_path):
    data = data_of(publish(detector, tmp_path / "page.html", images, block=8, r=1).path)
    assert (data["block"], data["r"]) == (8, 1)
    with pytest.raises(ValueError, match=r"did not score block 4 at r = 3: blocks \[5, 7, 8\]"):
        publish(detector, tmp_path / "page.html", images, block=4)


def test_photos_keep_their_shape(tmp_path):
    """An oblong photo was squeezed into a square, as the backbone sees it."""
    photos = from_arrays([image.crop((0, 0, 112, 56)) for image in planted_textures("brick", 4, 1, image_size=112)])
    page = publish(MuSc(image_size=56, layers=[5]).fit(photos), tmp_path / "page.html").path
    pictures = [Image.open(io.BytesIO(base64.b64decode(picture))) for picture in data_of(page)["pictures"]]
    assert {picture.size for picture in pictures} == {(224, 112)}


def test_views_are_the_ones_of_jupyter():
    whole = script()
    for name in ("tiles", "chart"):
        body = read_web(*MODULES[name]).replace("export default", "return").strip()
        assert f"const {name} = (() => {{\n{body}\n}})();" in whole
    assert not re.search(r"^(import|export)\b", whole, re.MULTILINE)


@pytest.mark.parametrize(
    "module", ["const a = 1;", "import b from './b.js';\nexport default b;", "export const a = 1;"]
)
def test_modules_that_need_others_are_refused(module):
    with pytest.raises(ValueError, match="is no module that imports nothing"):
        classic("a", module)


def test_those_that_stand_out_are_chosen_first():
    scores = np.linspace(0, 1, 100)
    chosen = choose_images(scores, 0.935, 20)
    assert set(range(94, 100)) <= set(chosen)
    assert len(set(chosen.tolist())) == 20
    assert 0 in chosen
    assert np.diff(chosen[:14]).max() <= 8  # even steps through the rest
    assert len(choose_images(scores, 0.1, 20)) == 20  # at most a half stand out
    assert (choose_images(scores, np.inf, 100) == np.arange(100)).all()


def test_a_page_that_is_too_large_has_fewer_images_and_says_so(detector, images, tmp_path):
    whole = publish(detector, tmp_path / "whole.html", images)
    small = publish(detector, tmp_path / "small.html", images, max_bytes=whole.n_bytes - 1000)
    assert 4 <= small.n_images < 8
    assert small.n_bytes < whole.n_bytes - 1000
    assert f"these are {small.n_images} of 8 images" in small.path.read_text(encoding="utf-8")
    numbers = data_of(small.path)["numbers"]
    assert detector.scores_.ranking[0] in numbers
    assert data_of(small.path)["names"] == [images.names[i] for i in numbers]
    with pytest.raises(ValueError, match=r"a page of 4 images takes [\d,]+ bytes: max_bytes=30000 is less"):
        publish(detector, tmp_path / "none.html", images, max_bytes=30_000)
    assert not (tmp_path / "none.html").exists()


def test_references_score_on_the_page_too(images, tmp_path):
    names = images.names[2:6]
    detector = MuSc(**FAST, references=names).fit(images)
    assert data_of(publish(detector, tmp_path / "page.html").path)["references"] == [2, 3, 4, 5]


def test_copies_are_there_once(images, tmp_path):
    with pytest.warns(UserWarning, match="cop"):
        detector = MuSc(**FAST).fit(images.subset([0, 1, 0, 2, 3]))
    data = data_of(publish(detector, tmp_path / "page.html").path)
    assert data["numbers"] == [0, 1, 3, 4]


def test_flags_are_the_detector_s(images, detector, tmp_path):
    """Scores were rounded to 7 digits: an image just below the threshold was flagged on the page alone."""
    near = copy.copy(detector)
    image_scores = detector.image_scores_.astype(np.float64)
    image_scores[4] = 0.12345677
    near.fitted_ = replace(detector.fitted_, scores=replace(detector.scores_, image_scores=image_scores))
    near.threshold_ = 0.123456775
    data = data_of(publish(near, tmp_path / "page.html", images).path)
    assert data["flagged"] == near.scores_.is_outlier.tolist()
    assert data["imageScores"] == near.image_scores_.tolist()
    assert not data["flagged"][4]
    assert float(f"{near.image_scores_[4]:.7g}") > near.threshold_


def test_without_labels_there_are_none(images, tmp_path):
    detector = MuSc(**FAST).fit([images[i] for i in range(5)])
    data = data_of(publish(detector, tmp_path / "page.html").path)
    assert data["labels"] is None
    assert data["defective"] is None


@pytest.mark.parametrize("scorer", [SubspaceScorer(), MutualScorer(search_window=1), MutualScorer(n_components=8)])
def test_what_the_page_cannot_compute_is_refused(scorer, detector, images, tmp_path):
    other = detector.with_scorer(scorer).fit_features(detector.features_, images)
    with pytest.raises(ValueError, match=r"the page (shows mutual scoring|compares all patches)"):
        publish(other, tmp_path / "page.html")


def test_names_cannot_end_the_script(detector, images, tmp_path):
    hostile = replace(images, names=["</script><script>stranger()", "<!--", *images.names[2:]])
    stranger = MuSc(**FAST).fit(hostile)
    page = publish(stranger, tmp_path / "page.html").path
    assert page.read_text(encoding="utf-8").count("</script>") == 2  # the data's, the script's
    assert data_of(page)["names"] == hostile.names


def test_line_finds_its_photos_where_they_were_or_where_it_is_told(folder, tmp_path):
    MuSc(**FAST).fit(load_folder(folder)).save(tmp_path / "line.musc")
    detector = musc_lite.Detector.load(tmp_path / "line.musc")
    assert find_images(detector).names == sorted(p.name for p in folder.iterdir())
    moved = shutil.move(folder, tmp_path / "moved")
    with pytest.raises(DataNotFoundError, match=r"8 of 8 photos are not where they were fitted, such as .*--images"):
        find_images(detector)
    assert find_images(detector, moved).names == detector.names_
    shutil.copytree(moved, folder)
    other = planted_textures("gravel", 4, 0, image_size=112)[0]
    other.save(folder / detector.names_[3])
    with pytest.raises(ValueError, match=f"1 of 8 images were replaced .* such as {detector.names_[3]}"):
        find_images(detector)
    (tmp_path / "moved" / detector.names_[3]).unlink()
    with pytest.raises(ValueError, match="1 of the 8 images that were fitted are not among the 7 given"):
        find_images(detector, moved)
    other.save(tmp_path / "moved" / detector.names_[3])
    with pytest.raises(ValueError, match=f"1 of 8 images were replaced .* such as {detector.names_[3]}"):
        find_images(detector, moved)


def test_a_loaded_detector_shows_the_photos_that_were_fitted_alone(folder, tmp_path):
    """A crafted file could name any image of the disk, which a report would embed; a replaced photo is none either."""
    MuSc(**FAST).fit(load_folder(folder)).save(tmp_path / "line.musc")
    images = musc_lite.Detector.load(tmp_path / "line.musc").images_
    assert images[3].size == (112, 112)
    planted_textures("gravel", 4, 0, image_size=112)[0].save(images.sources[3])
    for show in (lambda: images[3], lambda: images.subset([3]).digest_and_image(0)):
        with pytest.raises(musc_lite.ImageReadError, match="is not the photo that was fitted"):
            show()
    assert images[2].size == (112, 112)


def test_line_of_arrays_asks_for_its_images(detector, images, tmp_path):
    detector.save(tmp_path / "line.musc")
    loaded = musc_lite.Detector.load(tmp_path / "line.musc")
    with pytest.raises(ValueError, match="these images were not files: give images="):
        publish(loaded, tmp_path / "page.html")
    assert publish(loaded, tmp_path / "page.html", images).n_images == 8


def test_command_writes_a_page_and_says_what_it_is(folder, tmp_path):
    MuSc(**FAST).fit(load_folder(folder)).save(tmp_path / "line.musc")

    def run(*arguments):
        return CliRunner().invoke(app, ["publish", str(tmp_path / "line.musc"), *map(str, arguments)])

    done = run("-o", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert "8 images of 8 x 8 patches, seen by dinov2_vits14: block 7" in done.output
    assert "of 100 cases" in done.output
    assert f"Open {tmp_path / 'page.html'}" in done.output
    folder.rename(tmp_path / "moved")
    gone = run("-o", tmp_path / "page.html")
    assert gone.exit_code == 1
    assert "--images FOLDER" in gone.stderr
    assert run("-o", tmp_path / "page.html", "--images", tmp_path / "moved", "--r", 1).exit_code == 0
    assert "is a folder" in run("-o", tmp_path).stderr


def notebook(*cells):
    """Make a notebook of cells, pairs of code and whether a widget stands before its picture."""
    picture = base64.b64encode(Path(NOTEBOOKS, "scale.png").read_bytes()).decode()
    view = {WIDGET: {"version_major": 2, "version_minor": 0, "model_id": "0"}}
    outputs = [{**(view if is_widget else {}), "image/png": picture, "text/plain": "shown"} for _, is_widget in cells]
    shown = [{"output_type": "display_data", "data": data, "metadata": {}} for data in outputs]
    more = {"cell_type": "code", "execution_count": 1, "metadata": {}}
    code = [{**more, "source": source, "outputs": [each]} for (source, _), each in zip(cells, shown, strict=True)]
    for place, cell in enumerate(code):
        cell["id"] = f"cell-{place}"
    title = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# Title"}
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": [title, *code], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def run_module(*command):
    done = subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def book(detector, tmp_path_factory):
    """A book of two notebooks, both with an explorer; only 03 is of the batch that the live page shows."""
    pytest.importorskip("myst_nb", reason="needs the extra 'book'")
    folder = tmp_path_factory.mktemp("book")
    page = publish(detector, folder / "brick.html", detector.images_).path
    (folder / "text").mkdir()
    (folder / "text" / "index.md").write_text("# Book\n\n```{toctree}\n03_a\n06_b\n```\n")
    explorer, plot = ("explorer = PatchExplorer(detector, selected=(0, 1))\nexplorer", True), ("plt.plot()", False)
    bricks = 'images = musc_lite.planted_textures("brick")'
    (folder / "text" / "03_a.ipynb").write_text(notebook((bricks, False), explorer, plot))
    (folder / "text" / "06_b.ipynb").write_text(notebook((bricks, False), explorer))
    command = ["sphinx", "--quiet", "--fail-on-warning", "-c", NOTEBOOKS, "-D", f"live_page={page}"]
    run_module(*command, folder / "text", folder / "site")
    return folder / "site"


def test_book_shows_live_explorers_of_its_batch(book):
    page = (book / "03_a.html").read_text(encoding="utf-8")
    (frame,) = re.findall(r'<iframe class="live" src="([^"]+)"[^>]*></iframe><noscript>\s*<img', page)
    assert frame == "live/brick.html#patch"
    assert (book / "live" / "brick.html").stat().st_size < 1_500_000
    assert page.count("<img alt=") == 3  # every picture is still there
    assert "iframe" not in (book / "06_b.html").read_text(encoding="utf-8")


def test_html_of_a_notebook_shows_pictures_of_explorers_offline(tmp_path):
    pytest.importorskip("nbconvert", reason="needs the extra 'lab'")
    (tmp_path / "a.ipynb").write_text(notebook(("PatchExplorer(detector)", True)))
    run_module("nbconvert", "--config", NOTEBOOKS / "offline_html.json", "--to", "html", tmp_path / "a.ipynb")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert f'<script type="{WIDGET}">' not in page


def test_agreement_counts_the_same_nearest_patches():
    tokens = torch.randn(4, 9, 16, generator=torch.Generator().manual_seed(0))
    rough = quantize(tokens, 2)
    same = []
    for i in range(4):
        exact = torch.cdist(tokens[i], tokens.flatten(0, 1)).unflatten(1, (4, 9)).argmin(dim=2)  # (M, N)
        here = rough.distances_of(i).argmin(dim=2)
        same += (exact == here)[:, [j for j in range(4) if j != i]].flatten().tolist()
    measured = measure_agreement(tokens, rough, np.arange(4), (0.0, 1.0))
    assert measured.same_nearest == pytest.approx(np.mean(same))
    assert 0.05 < measured.same_nearest < 0.95
