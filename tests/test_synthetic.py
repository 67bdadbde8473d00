import hashlib
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from musc_lite.data import synthetic
from musc_lite.data.synthetic import KINDS, PHOTOS, places_in_photo, planted_textures

SCRIPT = Path(__file__).parents[1] / "data_scripts" / "make_textures.py"

# Made once; any change of the generator's pixels must be deliberate, because older results rest on them.
PINNED = "1cb399609b291fb15b9760040086c24236d619cfdd7fd709d2f888580fa6e0d6"


def pixels(images):
    return np.stack([np.asarray(image) for image in images])


def digest(images, size):
    return hashlib.sha256(pixels(images).tobytes() + images.masks(size).tobytes()).hexdigest()


@pytest.fixture(scope="module", params=PHOTOS)
def default_set(request):
    return planted_textures(request.param)


def test_default_set(default_set):
    masks = default_set.masks(224)
    assert len(default_set) == 40
    assert pixels(default_set).shape == (40, 224, 224, 3)
    assert default_set.labels.sum() == 12
    assert masks.any(axis=(1, 2)).tolist() == (default_set.labels == 1).tolist()
    # Defective pictures are spread through the set, not piled up at one end.
    assert 0 < default_set.labels[:20].sum() < 12


def test_kinds_appear_about_equally_and_agree_with_labels(default_set):
    kinds = [name.split("_")[2] for name in default_set.names]
    assert [kind != "good" for kind in kinds] == (default_set.labels == 1).tolist()
    counts = [kinds.count(kind) for kind in KINDS]
    assert min(counts) == 2
    assert max(counts) == 3


def test_names_are_in_order(default_set):
    photo = default_set.names[0].split("_")[0]
    assert all(name.startswith(f"{photo}_{i:03d}_") for i, name in enumerate(default_set.names))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "image_size"), [("brick", 224), ("grass", 300), ("gravel", 112)])
def test_only_the_mask_differs_from_the_defect_free_rendering(name, kind, image_size):
    picture, mask = synthetic._render(name, 3, kind, image_size, seed=1)
    clean, no_mask = synthetic._render(name, 3, None, image_size, seed=1)
    assert not no_mask.any()
    assert picture.dtype == clean.dtype == np.uint8
    np.testing.assert_array_equal(picture[~mask], clean[~mask])
    # A brick's plain face hardly changes out of focus; everything else does.
    changed = (picture != clean).any(-1)[mask].mean()
    assert changed > (0.6 if kind == "blur" else 0.95)
    assert abs(picture[mask].astype(int) - clean[mask]).mean() > 4


@pytest.mark.parametrize("kind", KINDS)
def test_areas_are_within_bounds(kind):
    for i in range(6):
        mask = synthetic._render(PHOTOS[i % 3], i, kind, 224, seed=5)[1]
        assert 0.004 < mask.mean() < 0.1


@pytest.mark.parametrize("name", PHOTOS)
def test_defects_stay_within_the_tones_of_the_picture(name):
    for i, kind in enumerate(KINDS * 3):
        picture, mask = synthetic._render(name, i, kind, 224, seed=2)
        clean, _ = synthetic._render(name, i, None, 224, seed=2)
        inside = picture[mask].mean(-1)
        assert inside.min() >= clean.mean(-1).min() - 8
        assert inside.max() <= clean.mean(-1).max() + 8


def test_same_seed_same_bytes_other_seed_other_bytes():
    first, again, other = (planted_textures("grass", 4, 2, 64, seed=seed) for seed in (3, 3, 4))
    assert digest(first, 64) == digest(again, 64)
    assert (pixels(first) != pixels(other)).mean() > 0.5


def test_bytes_are_pinned():
    sets = [planted_textures(name, n_images=6, n_defective=5) for name in PHOTOS]
    assert hashlib.sha256("".join(digest(images, 224) for images in sets).encode()).hexdigest() == PINNED


def test_larger_set_begins_with_the_same_crops():
    small, large = pixels(planted_textures("brick", 3, 0, 64)), pixels(planted_textures("brick", 6, 0, 64))
    np.testing.assert_array_equal(small, large[:3])


def test_more_defects_keep_the_earlier_ones():
    few, many = planted_textures("gravel", 8, 3, 64), planted_textures("gravel", 8, 6, 64)
    kept = few.labels == 1
    np.testing.assert_array_equal(pixels(few)[kept], pixels(many)[kept])
    good = many.labels == 0
    np.testing.assert_array_equal(pixels(few)[good], pixels(many)[good])


def test_no_defects_and_only_defects():
    none, only = planted_textures("gravel", 3, 0, 64), planted_textures("gravel", 3, 3, 64)
    assert none.labels.tolist() == [0, 0, 0]
    assert not none.masks(64).any()
    assert only.labels.tolist() == [1, 1, 1]
    assert only.masks(64).any(axis=(1, 2)).all()


@pytest.mark.parametrize("image_size", [56, 112, 448])
def test_every_size_shows_the_same_field_of_view(image_size):
    images, reference = (planted_textures("gravel", 5, 5, size) for size in (image_size, 224))
    masks = images.masks(image_size)
    assert masks.shape == (5, image_size, image_size)
    assert masks.any(axis=(1, 2)).all()
    for image, mask, other, other_mask in zip(images, masks, reference, reference.masks(224), strict=True):
        assert image.size == (image_size, image_size)
        thumbnails = [np.asarray(im.resize((28, 28), Image.Resampling.BOX), float) for im in (image, other)]
        assert np.corrcoef(thumbnails[0].ravel(), thumbnails[1].ravel())[0, 1] > 0.98
        centers = [np.argwhere(m).mean(0) / len(m) for m in (mask, other_mask)]
        np.testing.assert_allclose(*centers, atol=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "granite"}, "'granite'.*'brick', 'grass', 'gravel'"),
        ({"n_images": 0}, "at least one image.*got 0"),
        ({"n_images": 5, "n_defective": 6}, "0 to n_images = 5, got 6"),
        ({"n_defective": -1}, "got -1"),
        ({"image_size": 55}, "56 or more, got 55"),
        ({"seed": -1}, "0 or more, got -1"),
    ],
)
def test_wrong_arguments_teach(arguments, message):
    with pytest.raises(ValueError, match=message):
        planted_textures(**{"name": "gravel", **arguments})


def test_script_writes_the_mvtec_layout(tmp_path, capsys):
    main = runpy.run_path(str(SCRIPT))["main"]
    main([str(tmp_path), "--name", "gravel", "--n-images", "6", "--n-defective", "5", "--image-size", "64"])
    root, images = tmp_path / "gravel", planted_textures("gravel", 6, 5, 64)
    assert "6 pictures" in capsys.readouterr().out
    assert {path.stem for path in root.glob("test/*/*.png")} == set(images.names)
    assert len(list(root.glob("ground_truth/*/*.png"))) == 5
    for image, mask, name in zip(images, images.masks(64), images.names, strict=True):
        kind = name.split("_")[2]
        assert Image.open(root / "test" / kind / f"{name}.png").tobytes() == image.tobytes()
        if kind != "good":
            written = np.asarray(Image.open(root / "ground_truth" / kind / f"{name}_mask.png"))
            np.testing.assert_array_equal(written, 255 * mask)


def test_script_explains_wrong_arguments(tmp_path, capsys):
    main = runpy.run_path(str(SCRIPT))["main"]
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--n-images", "3", "--n-defective", "4"])
    assert "0 to n_images = 3, got 4" in capsys.readouterr().err


@pytest.mark.parametrize("name", PHOTOS)
def test_places_lead_to_what_the_pictures_show(name):
    places = places_in_photo(name, n_images=3, seed=4)
    assert places.shape == (3, 224, 224, 2)
    for picture, place in zip(planted_textures(name, 3, 0, seed=4), places, strict=True):
        rows, columns = place.round().astype(int).transpose(2, 0, 1)
        there = synthetic._photo(name)[rows, columns]
        assert np.corrcoef(there.ravel(), np.asarray(picture.convert("L")).ravel())[0, 1] > 0.9
