"""Maps of any other method come into the same scores, reports and metrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from musc_lite import DataNotFoundError, MuSc, Scores, planted_textures, read_maps, rescore
from musc_lite.results.exports import write_maps
from musc_lite.results.report import Result, write_report

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
    scores = Scores.from_maps(images, maps, tokens, pooling="mean", windows=(2,))
    np.testing.assert_allclose(scores.map_scores, maps.mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(scores.image_scores, rescore(scores.map_scores, tokens, (2,)), atol=1e-6)
