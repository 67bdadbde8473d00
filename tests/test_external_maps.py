"""Maps of any other method come into the same scores, reports and metrics."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from musc_lite import DataNotFoundError, MuSc, Scores, planted_textures, read_maps, rescore
from musc_lite.reports.export_maps import write_maps
from musc_lite.reports.report import Result, write_report
from musc_lite.stages.thresholds import Decision

NAMES = ["good/1.jpg", "bad/2.png", "bad/3.png"]


@pytest.fixture
def arrays():
    return np.random.default_rng(0).random((3, 5, 7)).astype(np.float32)


def write_npy(folder, name, values):
    np.save(folder / f"{name}.npy", values)


def write_npz(folder, name, values):
    np.savez(folder / f"{name.rsplit('.', 1)[0]}.npz", values)


def write_tiff(folder, name, values):
    Image.fromarray(values).save(folder / f"{name}.tiff")


@pytest.mark.parametrize("write", [write_npy, write_npz, write_tiff])
def test_a_folder_of_maps_is_read_in_the_order_of_the_images(tmp_path, arrays, write):
    for name, values in zip(NAMES, arrays, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, values)
    np.testing.assert_array_equal(read_maps(tmp_path, NAMES), arrays)
    np.testing.assert_array_equal(read_maps(tmp_path, NAMES[::-1]), arrays[::-1])


def test_gray_pictures_of_8_and_16_bits(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_maps(tmp_path, ["a.jpg", "b.jpg"]), [[[0, 255]], [[0, 65535]]])


def test_one_file_of_all_maps(tmp_path, arrays):
    np.savez(tmp_path / "by_name.npz", **dict(zip(NAMES, arrays, strict=True)))
    np.savez(tmp_path / "ours.npz", maps=arrays, names=np.array(NAMES))
    for file in ("by_name.npz", "ours.npz"):
        np.testing.assert_array_equal(read_maps(tmp_path / file, NAMES[::-1]), arrays[::-1])


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5))
def test_maps_of_different_sizes_come_to_one(sizes):
    maps = read_maps([np.full(size, k, float) for k, size in enumerate(sizes)], [str(k) for k in range(len(sizes))])
    assert len(maps) == len(sizes)
    np.testing.assert_allclose(maps, np.broadcast_to(np.arange(len(sizes))[:, None, None], maps.shape), atol=1e-6)


@pytest.mark.parametrize(
    ("maps", "error", "message"),
    [
        ({"good/1.jpg": np.ones((2, 2))}, DataNotFoundError, "2 of 3 images have no map: bad/2.png, bad/3.png"),
        ([np.ones((2, 2))] * 2, ValueError, "2 maps for 3 images"),
        ([np.ones((2, 2)), np.ones((2, 2)), np.full((2, 2), np.nan)], ValueError, "map of bad/3.png holds NaN"),
        ([np.ones((2, 2)), np.ones(2), np.ones((2, 2))], ValueError, r"map of bad/2.png must be numbers \(H, W\)"),
        ("nowhere", DataNotFoundError, "neither a folder of maps nor an .npz"),
    ],
)
def test_what_is_no_map_is_refused(maps, error, message):
    with pytest.raises(error, match=message):
        read_maps(maps, NAMES)


def test_a_picture_in_color_is_no_map(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="a picture in color"):
        read_maps(tmp_path, ["a.jpg"])


def test_our_own_maps_come_back_as_the_same_scores(backbone, tmp_path):
    images = planted_textures("brick", n_images=8, n_defective=3, image_size=112)
    detector = MuSc(backbone, image_size=112, layers=[5, 8], r=(1,)).fit(images)
    write_maps(tmp_path, detector.scores_)
    given_tokens = Scores.from_maps(images, tmp_path / "maps.npz", detector.features_.class_tokens)
    np.testing.assert_allclose(given_tokens.image_scores, detector.image_scores_, atol=1e-6)
    assert given_tokens.threshold == pytest.approx(detector.threshold_)
    plain = Scores.from_maps(images, tmp_path / "maps.npz", about={"method": "a network of ours"})
    np.testing.assert_allclose(plain.image_scores, detector.map_scores_, atol=1e-6)
    page = write_report(tmp_path / "report.html", [Result("theirs", plain)]).read_text()
    assert "a network of ours" in page
    assert f"{Result('ours', detector.scores_).metrics.pixel_auroc:.3f}" in page


def test_class_tokens_and_pooling_are_used():
    images = planted_textures("brick", n_images=3, n_defective=1, image_size=56)
    maps, tokens = np.random.default_rng(0).random((3, 4, 4)), np.eye(3)[[0, 0, 1]]
    scores = Scores.from_maps(images, maps, tokens, pooling="mean", rescoring_sizes=(2,))
    np.testing.assert_allclose(scores.map_scores, maps.mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(scores.image_scores, rescore(scores.map_scores, tokens, (2,)), atol=1e-6)


@pytest.fixture(scope="module")
def given_scores():
    """Maps that nobody's method made, of brick with labels and masks."""
    images = planted_textures("brick", n_images=6, n_defective=2, image_size=56)
    maps = np.random.default_rng(0).random((6, 48, 96)).astype(np.float32)
    maps[2, :24, :48] += 1  # the upper left quarter
    return Scores.from_maps(images, maps, about={"method": "a network of ours"})


class TestExplorersOfScores:
    """Explorers that need no more than scores."""

    @pytest.fixture(autouse=True)
    def _widgets(self):
        pytest.importorskip("anywidget", reason="needs the extra 'lab'")

    def test_threshold(self, given_scores):
        from musc_lite.widgets import ThresholdExplorer

        explorer = ThresholdExplorer(given_scores)
        assert explorer.threshold == pytest.approx(given_scores.threshold)
        assert explorer.grid == (16, 32)
        explorer.threshold, explorer.pixel_threshold = float(np.median(given_scores.image_scores)), 0.9995
        assert explorer.called.sum() == explorer.confusion["images"][:, 1].sum() == 3
        over = given_scores.anomaly_maps > 0.9995
        assert explorer.confusion["pixels"][:, 1].sum() == over.sum()
        for tile in explorer._tiles.tiles:  # the very pixels that are called are painted
            called = over[tile["picture"]]
            assert bool(tile["over"]) == called.any()
            if called.any():
                painted = np.asarray(Image.open(io.BytesIO(tile["over"])).convert("RGBA"))
                np.testing.assert_array_equal(painted[..., 3] > 0, called)
        explorer.image = 2
        text, pictures = explorer._closely.children
        assert given_scores.names[2] in text.value
        image, with_map = (np.asarray(Image.open(io.BytesIO(p.value))).astype(int) for p in pictures.children)
        assert image.shape == with_map.shape
        assert abs(image - with_map)[:28, :28].mean() > 30 > 5 > abs(image - with_map)[28:, 28:].mean()
        assert explorer.static_png().startswith(b"\x89PNG")

    def test_threshold_where_there_is_none(self, given_scores):
        from musc_lite.widgets import ThresholdExplorer

        explorer = ThresholdExplorer(replace(given_scores, decision=Decision(np.inf)))
        assert not explorer.called.any()

    def test_threshold_of_new_images(self, backbone):
        from musc_lite.widgets import ThresholdExplorer

        images = planted_textures("brick", n_images=6, n_defective=2, image_size=56)
        detector = MuSc(backbone, image_size=56, layers=[5], r=(1,)).fit(images.subset(range(4)))
        explorer = ThresholdExplorer(detector.score_images(images.subset([4, 5])))
        assert explorer.grid == (4, 4)
        assert len(explorer._tiles.tiles) == 2

    def test_rescoring(self, given_scores):
        from musc_lite.widgets import RescoringExplorer

        tokens = np.random.default_rng(1).normal(size=(6, 8))
        explorer = RescoringExplorer(given_scores, tokens)
        explorer.windows = (1, 3)
        np.testing.assert_allclose(explorer.rescored, rescore(given_scores.map_scores, tokens, (1, 3)), atol=1e-6)
        for wrong in (None, tokens[:5]):
            with pytest.raises(ValueError, match="one vector for each of the 6 images"):
                RescoringExplorer(given_scores, wrong)

    def test_others_ask_for_a_detector(self, given_scores):
        from musc_lite.widgets import PatchExplorer, ThresholdExplorer

        with pytest.raises(ValueError, match=r"PatchExplorer shows how a detector scores.*give a fitted detector"):
            PatchExplorer(given_scores)
        with pytest.raises(ValueError, match="do not know theirs"):
            ThresholdExplorer(replace(given_scores, images=None))
