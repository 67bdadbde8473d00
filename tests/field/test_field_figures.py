"""Counts and sentences: a film of a still scene, and a day of photos by another camera."""

import base64
import html
import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from musc_lite import MuSc, from_arrays, inspect_images, planted_textures
from musc_lite.monitoring.gallery import Gallery, heat_layer
from musc_lite.monitoring.reference import apply_reference
from musc_lite.reports.plots import map_color_limits
from musc_lite.reports.report import Result, write_report
from musc_lite.results.summary import describe_difference, describe_scores
from musc_lite.stages.thresholds import Decision
from musc_lite.utils.files import read_tensors, write_tensors


def still_film(folder, n):
    """Write frames of a machine that stands still: the same scene, but sensor noise and JPEG differ."""
    y, x = np.mgrid[:96, :128]
    scene = 130 + 60 * np.sin(x / 9) * np.cos(y / 8) + 25 * np.random.default_rng(0).standard_normal(x.shape)
    for i in range(n):
        frame = np.clip(scene + np.random.default_rng(i + 1).standard_normal(x.shape), 0, 255).astype(np.uint8)
        Image.fromarray(frame).save(folder / f"frame_{i:04d}.jpg", quality=90)


@pytest.mark.case(42)
def test_a_still_film_is_one_group_of_photos(tmp_path):
    """It was "frame_0005.jpg (of frame_0000.jpg) and 179695 more" for 600 photos."""
    still_film(tmp_path, 120)
    found = inspect_images(tmp_path)
    assert [remark.kind for remark in found.remarks] == ["near copy"]
    assert str(found.remarks[0]).startswith(
        "120 photos are nearly the same picture (1 group, such as frame_0000.jpg, frame_0001.jpg, frame_0002.jpg and "
        "117 more)"
    )
    assert len(found.remarks[0].names) == 119  # one of the group stays


def part(i, height=96, width=128, scale=1):
    """Photograph a part, in gray."""
    y, x = np.mgrid[:height, :width] / scale
    grain = 9 * np.random.default_rng(i).standard_normal(x.shape)
    return np.clip(130 + 60 * np.sin(x / 9 + i) * np.cos(y / 14) + grain, 0, 255).astype(np.uint8)


OTHER_CAMERA = {
    "same": (part, None),
    "portrait": (lambda i: np.rot90(part(i)).copy(), "shape (96 x 128 pixels, the reference 128 x 96)"),
    "square": (lambda i: part(i, 256, 256, 2), "shape (256 x 256 pixels, the reference 128 x 96)"),
    "large": (lambda i: part(i, 288, 384, 3), "size (384 x 288 pixels, the reference 128 x 96)"),
    "color": (
        lambda i: np.dstack([part(i), part(i) * 0.8, part(i) * 0.6]).astype(np.uint8),
        "color (in color, the reference gray)",
    ),
}


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A reference of 12 gray photos, 128 x 96 pixels."""
    path = tmp_path_factory.mktemp("line") / "line.musc"
    MuSc(image_size=56).fit(from_arrays([part(i) for i in range(12)])).save(path)
    return path


@pytest.mark.case(35)
@pytest.mark.parametrize("kind", OTHER_CAMERA)
def test_photos_unlike_the_reference_are_remarked_on(line, kind):
    photograph, differs = OTHER_CAMERA[kind]
    scores = apply_reference(line, from_arrays([photograph(i) for i in range(30, 36)]))
    remarks = [sentence for sentence in describe_scores(scores) if "differ from those of the reference" in sentence]
    assert remarks == ([] if differs is None else [f"These images differ from those of the reference: {differs}."])


def test_a_line_of_an_early_version_loads_without_the_remark(line, tmp_path):
    tensors, about = read_tensors(line, "saved detector")
    del about["appearance"]
    write_tensors(tmp_path / "early.musc", tensors, "saved detector", json.dumps(about))
    scores = apply_reference(tmp_path / "early.musc", from_arrays([np.rot90(part(1)).copy()]))
    assert scores.differences == []


@pytest.mark.case(35)
def test_a_day_on_which_everything_is_flagged_asks_for_the_reason(line):
    scores = apply_reference(line, from_arrays([part(i) for i in range(30, 36)]))
    lowest = float(scores.image_scores.min())
    question = "All 6 images are flagged. Check that product, camera, shape and bit depth are those of the reference"
    assert any(
        sentence.startswith(question) for sentence in describe_scores(replace(scores, decision=Decision(lowest - 1)))
    )
    assert not any(
        "bit depth" in sentence for sentence in describe_scores(replace(scores, decision=Decision(lowest)))
    )  # 5 of 6
    assert describe_difference(4, 4) == []
    assert describe_difference(18, 20)[0].startswith("18 of 20 images are flagged. ")


def test_maps_of_new_photos_have_the_colors_of_their_reference(line):
    """Scaled by themselves, a day of wrong products looked clean: its own highest values were its normal ones."""
    batch = MuSc.load(line).scores_
    wrong = from_arrays([np.random.default_rng(i).integers(0, 256, (96, 128), np.uint8) for i in range(5)])
    scores = apply_reference(line, wrong)
    gallery = Gallery()
    gallery.show(scores, [""] * 5)
    assert gallery._range == map_color_limits(batch.anomaly_maps) != map_color_limits(scores.anomaly_maps)
    heats = [base64.b64decode(card["heat"].split(",")[1]) for card in gallery.cards]
    opaque = [np.asarray(Image.open(BytesIO(heat)))[..., 3].mean() for heat in heats]
    alone = [np.asarray(Image.open(BytesIO(heat_of_its_own(scores, i))))[..., 3].mean() for i in scores.ranking]
    assert np.mean(opaque) > np.mean(alone)


def heat_of_its_own(scores, i):
    return heat_layer(scores.anomaly_maps[i], *map_color_limits(scores.anomaly_maps))


@pytest.mark.parametrize(("n_flagged", "said"), [(0, "No image is"), (1, "1 of 8 images is"), (8, "All 8 images are")])
def test_all_outputs_flag_the_same_images(tmp_path, n_flagged, said):
    """The sentence, the table, the report's cards and the app's gallery, for none, one and all images."""
    images = planted_textures("gravel", 8, 2, image_size=112)
    scores = MuSc(image_size=56).fit(images).scores_
    ranked = np.sort(scores.image_scores)[::-1]
    threshold = [ranked[0] + 1, *((ranked[:-1] + ranked[1:]) / 2), ranked[-1] - 1][n_flagged]
    scores = replace(scores, decision=Decision(float(threshold)))
    sentence = describe_scores(scores)[0]
    assert sentence.startswith(f"{said} flagged as anomalous (threshold {threshold:.3f})")
    assert scores.to_frame()["outlier"].sum() == n_flagged
    page = write_report(tmp_path / "report.html", [Result("gravel", scores)]).read_text(encoding="utf-8")
    assert page.count('class="badge outlier"') == n_flagged
    assert html.escape(sentence) in page
    assert f'threshold</td><td class="wrap">{threshold:.6g}' in page
    gallery = Gallery()
    gallery.show(scores, [""] * 8)
    assert sum(card["is_outlier"] for card in gallery.cards) == n_flagged


def test_remarks_on_one_image_are_singular():
    images = [Image.fromarray(part(i)) for i in range(12)]
    images[3] = Image.fromarray(np.rot90(part(3)).copy())
    said = str(inspect_images(from_arrays(images)))
    assert "1 of 12 images is upright, the others not: " in said
    images[7] = images[3].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert "2 of 12 images are upright, the others not: " in str(inspect_images(from_arrays(images)))
    assert str(inspect_images(from_arrays(images[:1]))).startswith("1 image, 128 x 96 pixels")
