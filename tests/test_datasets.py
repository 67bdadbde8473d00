import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from musc_lite.datasets import _natural_key, load_folder, load_magnetic_tile, load_mvtec
from musc_lite.errors import DataNotFoundError, ImageReadError

MAGNETIC_TILE = Path(__file__).parents[1].parent / "shared/data/magnetic_tile"


def write(root, *names, value=0, size=(8, 8)):
    """Write a gray image of one value under each name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if path.suffix.lower() in (".heic", ".gif") else None  # such content is never looked at
        Image.new("L", size, value).save(path, kind)


def write_mask(root, *names, size=(8, 8), marked=True):
    """Write masks that mark the upper left pixel."""
    for name in names:
        write(root, name, size=size)
        mask = Image.new("L", size)
        mask.putpixel((0, 0), 255 * marked)
        mask.save(root / name)


def damage(path):
    path.write_bytes(path.read_bytes()[:-25])


@pytest.fixture
def mvtec(tmp_path):
    """A data set of one category: 2 good and 3 scratched test images with masks."""
    root = tmp_path / "mvtec"
    write(root, "bottle/train/good/000.png", "bottle/test/good/000.png", "bottle/test/good/001.png")
    write(root, *[f"bottle/test/scratch/00{i}.png" for i in range(3)], value=200)
    write_mask(root, *[f"bottle/ground_truth/scratch/00{i}_mask.png" for i in range(3)])
    return root


# ---- which files, in which order


def test_flat_folder_in_natural_order_without_labels(tmp_path):
    write(tmp_path, "img10.png", "img2.png", "IMG1.PNG")
    images = load_folder(tmp_path)
    assert images.names == ["IMG1.PNG", "img2.png", "img10.png"]
    assert images.labels is None
    assert images.masks(8) is None
    assert images.skipped == []
    assert [image.size for image in load_folder(str(tmp_path))] == [(8, 8)] * 3


@given(st.lists(st.text("aB1.20_é", min_size=1, max_size=5), unique=True), st.randoms())
def test_order_does_not_depend_on_how_the_system_lists_files(names, random):
    paths = [Path(name) for name in names]
    expected = sorted(paths, key=_natural_key)
    random.shuffle(paths)
    assert sorted(paths, key=_natural_key) == expected


def test_nested_folders_and_all_extensions(tmp_path):
    names = ["a/1.bmp", "a/b/2.JPG", "a/b/3.jpeg", "c/4.tif", "c/5.TIFF", "c/6.webp", "c/7.png"]
    write(tmp_path, *names)
    images = load_folder(tmp_path)
    assert sorted(images.names) == sorted(names)
    assert len(list(images)) == 7


def test_hidden_and_other_files_are_ignored(tmp_path):
    write(tmp_path, "a.png", ".b.png", "._c.png", ".git/d.png", "__MACOSX/e.png", "x/__MACOSX/f.png")
    for name in ("notes.txt", "test", "masks"):
        (tmp_path / name).write_text("no image")
    images = load_folder(tmp_path)
    assert images.names == ["a.png"]
    assert images.skipped == []


def test_hidden_parents_do_not_matter(tmp_path):
    write(tmp_path, ".cache/data/a.png")
    assert load_folder(tmp_path / ".cache/data").names == ["a.png"]


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="links need rights on Windows")
@pytest.mark.timeout(20)
def test_links_are_followed_once(tmp_path):
    write(tmp_path, "data/good/a.png", "elsewhere/b.png")
    (tmp_path / "data/good/back").symlink_to(tmp_path / "data")
    (tmp_path / "data/bad").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/a_second_way").symlink_to(tmp_path / "data/good")
    images = load_folder(tmp_path / "data")
    assert images.names == ["bad/b.png", "good/a.png"]
    assert images.labels.tolist() == [1, 0]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_formats_that_are_not_supported_are_listed(tmp_path, on_error):
    write(tmp_path, "IMG_1.JPG", "IMG_2.HEIC", "anim.gif")
    images = load_folder(tmp_path, on_error)
    assert images.names == ["IMG_1.JPG"]
    assert [path.name for path, _ in images.skipped] == ["anim.gif", "IMG_2.HEIC"]
    assert all("format not supported" in reason and ".png" in reason for _, reason in images.skipped)


# ---- labels


@pytest.mark.parametrize("good", ["good", "OK", "Normal"])
def test_a_good_folder_gives_labels(tmp_path, good):
    write(tmp_path, f"{good}/1.png", f"{good}/day2/2.png", "crack/1.png", "hole/1.png", "loose.png")
    images = load_folder(tmp_path)
    normal = {name for name, label in zip(images.names, images.labels, strict=True) if label == 0}
    assert normal == {f"{good}/1.png", f"{good}/day2/2.png"}


def test_only_good_images_are_all_zeros(tmp_path):
    write(tmp_path, "good/1.png", "good/2.png")
    assert load_folder(tmp_path).labels.tolist() == [0, 0]


@pytest.mark.parametrize("name", ["a.png", "goodies/a.png", "left/a.png", "bad/good.png"])
def test_without_a_good_folder_no_labels(tmp_path, name):
    write(tmp_path, name)
    assert load_folder(tmp_path).labels is None
    assert load_folder(tmp_path, "skip").labels is None


def test_a_root_named_good_says_nothing(tmp_path):
    write(tmp_path, "good/1.png")
    assert load_folder(tmp_path / "good").labels is None


# ---- masks


@pytest.mark.parametrize("load", [lambda root: load_mvtec(root, "bottle"), lambda root: load_folder(root / "bottle")])
def test_mvtec_layout(mvtec, load):
    images = load(mvtec)
    expected = [f"test/{name}.png" for name in ("good/000", "good/001", "scratch/000", "scratch/001", "scratch/002")]
    assert images.names == expected
    assert images.labels.tolist() == [0, 0, 1, 1, 1]
    masks = images.masks(8)
    assert masks[:, 0, 0].tolist() == [False, False, True, True, True]
    assert masks.sum() == 3


@pytest.mark.parametrize("mask", ["a_mask.png", "a.png", "A_MASK.BMP", "a.tif"])
def test_mask_names(tmp_path, mask):
    write(tmp_path, "test/bad/a.jpg", "test/good/a.jpg")
    write_mask(tmp_path, f"ground_truth/bad/{mask}")
    images = load_folder(tmp_path)
    assert images.names == ["test/bad/a.jpg", "test/good/a.jpg"]
    assert images.masks(8).sum(axis=(1, 2)).tolist() == [1, 0]


@pytest.mark.parametrize("folder", ["ground_truth", "masks", "Masks"])
@pytest.mark.parametrize(
    ("image", "mask"), [("a.png", "a.png"), ("x/a.png", "x/a_mask.png"), ("images/a.jpg", "a.png")]
)
def test_masks_beside_any_folder_give_labels(tmp_path, folder, image, mask):
    write(tmp_path, image, Path(image).with_name("clean.png"))
    write_mask(tmp_path, f"{folder}/{mask}")
    write_mask(tmp_path, f"{folder}/{Path(mask).with_name('clean.png')}", marked=False)
    images = load_folder(tmp_path)
    assert len(images) == 2
    assert images.names[0] == image
    assert images.labels.tolist() == [1, 0]
    assert images.masks(8).sum(axis=(1, 2)).tolist() == [1, 0]


def test_missing_masks_are_named_or_left_out(mvtec):
    (mvtec / "bottle/ground_truth/scratch/001_mask.png").unlink()
    with pytest.raises(ImageReadError, match=r"scratch/001\.png: it has no mask .*on_error='skip'"):
        load_mvtec(mvtec, "bottle")
    images = load_mvtec(mvtec, "bottle", on_error="skip")
    assert images.labels.tolist() == images.masks(8).any(axis=(1, 2)).tolist() == [0, 0, 1, 1]
    assert [(path.name, "no mask" in reason) for path, reason in images.skipped] == [("001.png", True)]


def test_without_good_each_image_needs_a_mask(tmp_path):
    write(tmp_path, *[f"{i}.png" for i in range(9)])
    write_mask(tmp_path, "masks/0.png", "masks/5.png")
    with pytest.raises(ImageReadError, match=r"1\.png: it has no mask.*and 2 more"):
        load_folder(tmp_path)
    images = load_folder(tmp_path, "skip")
    assert images.names == ["0.png", "5.png"]
    assert images.labels.tolist() == [1, 1]
    assert len(images.skipped) == 7


def test_mask_of_another_size(mvtec):
    write_mask(mvtec, "bottle/ground_truth/scratch/001_mask.png", size=(8, 9))
    images = load_mvtec(mvtec, "bottle")
    with pytest.raises(ImageReadError, match=r"001_mask\.png has 8 x 9 pixels, its image .*001\.png 8 x 8"):
        images.masks(8)
    images = load_mvtec(mvtec, "bottle", on_error="skip")
    assert images.labels.tolist() == images.masks(8).any(axis=(1, 2)).tolist() == [0, 0, 1, 1]
    assert "001_mask.png has 8 x 9" in images.skipped[0][1]


# ---- files that cannot be used


def test_raise_is_lazy(tmp_path):
    write(tmp_path, "a.png", "b.png")
    damage(tmp_path / "a.png")
    images = load_folder(tmp_path)
    assert len(images) == 2
    assert images[1].size == (8, 8)
    with pytest.raises(ImageReadError, match=r"a\.png"):
        images[0]


def test_file_that_vanished_after_loading(tmp_path):
    write(tmp_path, "a.png")
    images = load_folder(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(ImageReadError, match=r"a\.png cannot be read: No such file"):
        images[0]


def test_skip_leaves_out_what_is_bad_and_keeps_the_rest_together(mvtec):
    test, truth = mvtec / "bottle/test", mvtec / "bottle/ground_truth"
    damage(test / "scratch/000.png")
    damage(truth / "scratch/002_mask.png")
    (test / "good/000.png").write_bytes(b"")
    (test / "good/x.png").mkdir()
    (test / "good/text.jpg").write_text("no image")
    (test / "good/dangling.png").symlink_to(test / "nowhere.png")
    write(mvtec, "bottle/test/good/phone.heic")
    images = load_mvtec(mvtec, "bottle", on_error="skip")
    assert images.names == ["test/good/001.png", "test/scratch/001.png"]
    assert images.labels.tolist() == [0, 1]
    assert images.masks(8).sum(axis=(1, 2)).tolist() == [0, 1]
    assert [image.getpixel((0, 0))[0] for image in images] == [0, 200]
    reasons = {path.relative_to(test).as_posix(): reason for path, reason in images.skipped}
    assert set(reasons) == {
        *("scratch/000.png", "scratch/002.png", "good/000.png", "good/x.png", "good/text.jpg"),
        *("good/dangling.png", "good/phone.heic"),
    }
    assert "0 bytes" in reasons["good/000.png"]
    assert "folder" in reasons["good/x.png"]
    assert "002_mask.png" in reasons["scratch/002.png"]
    assert not any("on_error" in reason for reason in reasons.values()), "skipping is what was done already"


def test_a_folder_named_like_an_image_raises_at_load(tmp_path):
    write(tmp_path, "a.png", "x.png/inside.png")
    with pytest.raises(ImageReadError, match=r"x\.png: it is a folder"):
        load_folder(tmp_path)
    assert load_folder(tmp_path, "skip").names == ["a.png"]


def test_all_files_bad(tmp_path):
    write(tmp_path, "a.png", "b.png")
    for name in ("a.png", "b.png"):
        damage(tmp_path / name)
    with pytest.raises(DataNotFoundError, match=r"no images in .*a\.png: cannot be read.*b\.png: cannot be read"):
        load_folder(tmp_path, "skip")


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_folder_without_images(tmp_path, on_error):
    with pytest.raises(DataNotFoundError, match=r"no images in .*\.png .jpg") as caught:
        load_folder(tmp_path, on_error)
    assert str(tmp_path) in str(caught.value)
    write(tmp_path, "a.heic")
    with pytest.raises(DataNotFoundError, match=r"no images in .*a\.heic: format not supported"):
        load_folder(tmp_path, on_error)


def test_missing_folder_or_a_file_instead(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"no folder .*nowhere"):
        load_folder(tmp_path / "nowhere")
    write(tmp_path, "a.png")
    with pytest.raises(DataNotFoundError, match=r"a\.png is a file: give the folder"):
        load_folder(tmp_path / "a.png")


def test_wrong_on_error(tmp_path):
    write(tmp_path, "a.png")
    with pytest.raises(ValueError, match="'raise' or 'skip', got 'ignore'"):
        load_folder(tmp_path, on_error="ignore")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root and Windows may list any folder")
def test_folder_without_permission(tmp_path):
    write(tmp_path, "a.png", "closed/b.png")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(DataNotFoundError, match="closed cannot be listed: Permission denied"):
            load_folder(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o755)


# ---- data sets


def test_missing_category_lists_those_there_are(mvtec):
    write(mvtec, "cable/test/good/0.png", "readme/a.png")
    with pytest.raises(DataNotFoundError, match=r"no category 'Botle'. Did you mean 'bottle'\? .*: bottle, cable$"):
        load_mvtec(mvtec, "Botle")
    with pytest.raises(DataNotFoundError, match="none: each must hold a folder 'test'"):
        load_mvtec(mvtec / "cable", "good")
    with pytest.raises(DataNotFoundError, match=r"no folder .*nowhere"):
        load_mvtec(mvtec / "nowhere", "bottle")


def test_a_folder_of_categories_is_not_loaded_as_one(mvtec):
    with pytest.raises(DataNotFoundError, match=r"holds categories: give one, such as .*bottle"):
        load_folder(mvtec)


def test_magnetic_tile_layout(tmp_path):
    write(
        tmp_path,
        "MT_Blowhole/Imgs/exp1_num_2.jpg",
        "MT_Free/Imgs/exp1_num_10.jpg",
        "MT_Free/Imgs/exp1_num_9.jpg",
    )
    write_mask(tmp_path, "MT_Blowhole/Imgs/exp1_num_2.png")
    write_mask(tmp_path, "MT_Free/Imgs/exp1_num_9.png", marked=False)
    write(tmp_path, "others/Imgs/a.jpg")
    images = load_magnetic_tile(tmp_path)
    assert images.names == [
        "MT_Blowhole/Imgs/exp1_num_2.jpg",
        "MT_Free/Imgs/exp1_num_9.jpg",
        "MT_Free/Imgs/exp1_num_10.jpg",
    ]
    assert images.labels.tolist() == [1, 0, 0]
    assert images.masks(8).sum(axis=(1, 2)).tolist() == [1, 0, 0]


def test_magnetic_tile_elsewhere(tmp_path):
    write(tmp_path, "a.jpg")
    with pytest.raises(DataNotFoundError, match="at least one of MT_Blowhole/Imgs"):
        load_magnetic_tile(tmp_path)


@pytest.mark.skipif(not MAGNETIC_TILE.is_dir(), reason="shared/data/magnetic_tile is not there")
def test_real_magnetic_tiles():
    images = load_magnetic_tile(MAGNETIC_TILE, on_error="skip")
    assert (len(images), int(images.labels.sum()), images.skipped) == (184, 64, [])
    np.testing.assert_array_equal(images.masks(224).any(axis=(1, 2)), images.labels)
