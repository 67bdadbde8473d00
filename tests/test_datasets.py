import csv
import os
import re
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from musc_lite.data import decode as images_module
from musc_lite.data.arrays import from_arrays
from musc_lite.data.datasets import CATALOG
from musc_lite.data.discovery import natural_key
from musc_lite.data.loaders import left_out, load_btad, load_folder, load_magnetic_tile, load_mvtec, load_visa
from musc_lite.utils.errors import DataNotFoundError, ImageReadError

# Data sets made small here hold fewer images than published.
pytestmark = pytest.mark.filterwarnings("ignore:.*published:UserWarning")

MAGNETIC_TILE = Path(__file__).parents[1].parent / "shared/data/magnetic_tile"


def write(root, *names, value=0, size=(8, 8)):
    """Write a gray image of one value under each name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = (
            "PNG" if path.suffix.lower() in (".heic", ".gif", ".psd", ".heif", ".hif") else None
        )  # such content is never looked at
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
    expected = sorted(paths, key=natural_key)
    random.shuffle(paths)
    assert sorted(paths, key=natural_key) == expected


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
    write(tmp_path, "IMG_1.JPG", "anim.gif")
    (tmp_path / "IMG_3.MOV").write_bytes(b"a film")
    images = load_folder(tmp_path, on_error)
    assert images.names == ["IMG_1.JPG"]
    reasons = {path.name: reason for path, reason in images.skipped}
    assert list(reasons) == ["anim.gif", "IMG_3.MOV"]
    assert reasons["anim.gif"].startswith("format not supported: .gif; convert it to one of .png")
    assert reasons["IMG_3.MOV"].startswith("a video: take frames out of it, for instance with ffmpeg")


def write_heic(root, *names):
    for name in names:
        pillow_heif.from_pillow(Image.new("RGB", (64, 48), "red")).save(root / name)


def test_photos_of_telephones_are_images(tmp_path):
    write_heic(tmp_path, "IMG_2.HEIC", "IMG_3.heif", "CANON.HIF")
    images = load_folder(tmp_path, "skip")
    assert images.names == ["CANON.HIF", "IMG_2.HEIC", "IMG_3.heif"]
    assert images.skipped == []
    np.testing.assert_allclose(images[1].getpixel((5, 5)), (255, 0, 0), atol=5)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_without_its_package_heic_is_left_out_with_the_command_that_gets_it(tmp_path, on_error, monkeypatch):
    write_heic(tmp_path, "IMG_2.HEIC", "IMG_3.heic")
    write(tmp_path, "a.png")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # what Python finds where it is not installed
    images = load_folder(tmp_path, on_error)
    assert images.names == ["a.png"]
    assert [reason for _, reason in images.skipped] == ["a HEIC photo: pip install 'musc-lite[heic]' reads it"] * 2
    assert left_out(images) == "left out 2 files: 2 x .heic (pip install 'musc-lite[heic]' reads them)"


def write_pages(path, n):
    pages = [Image.new("RGB", (8, 8), (60 * i, 0, 0)) for i in range(n)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_further_pages_are_said(tmp_path, on_error):
    write_pages(tmp_path / "scan.tif", 5)
    write_pages(tmp_path / "film.webp", 3)
    write_pages(tmp_path / "one.tiff", 1)
    images = load_folder(tmp_path, on_error)
    assert images.names == ["film.webp", "one.tiff", "scan.tif"]
    assert images.skipped == [
        (tmp_path / "film.webp", "page 1 of 3 is read; save the others as files of their own"),
        (tmp_path / "scan.tif", "page 1 of 5 is read; save the others as files of their own"),
    ]
    assert left_out(images) == "left out all but the first page of 2 files (save the others as files of their own)"


def test_one_line_says_what_was_left_out(tmp_path):
    write(tmp_path, "a.png", "b.png", "c.png", "d.gif", "e.GIF", "f.psd", "masks/a.png", "masks/c.png")
    damage(tmp_path / "c.png")
    write_pages(tmp_path / "a.tif", 4)
    write(tmp_path, "masks/a.tif")
    for name in ("1.mov", "2.mp4"):
        (tmp_path / name).write_bytes(b"a film")
    assert left_out(load_folder(tmp_path, "skip")) == (
        "left out 7 files: 2 videos (take frames out), 2 x .gif (convert to .png), 1 x .psd (convert to .png), "
        "1 without a mask (add it, or load all without masks by labels='none', --labels none), 1 unreadable (repair or "
        "remove); and all but the first page of 1 file (save the others as files of their own)"
    )
    assert left_out(load_folder(tmp_path / "masks")) == ""
    assert left_out(from_arrays([np.zeros((8, 8))])) == ""


# ---- labels


@pytest.mark.parametrize("labels", ["auto", "folder"])
@pytest.mark.parametrize("good", ["good", "OK", "Normal"])
@pytest.mark.parametrize("bad", ["bad", "NG", "Defective", "not_ok", "anomalies"])
def test_folders_of_known_words_give_labels(tmp_path, good, bad, labels):
    write(tmp_path, f"{good}/1.png", f"{good}/day2/2.png", f"{bad}/1.png", f"{bad}/hole/1.png", f"line 2/{bad}/1.png")
    images = load_folder(tmp_path, labels=labels)
    normal = {name for name, label in zip(images.names, images.labels, strict=True) if label == 0}
    assert normal == {f"{good}/1.png", f"{good}/day2/2.png"}
    assert images.labeling.startswith(f"labels: 2 normal in {good}/ and {good}/day2/, 3 defective in 3 folders (")


@pytest.mark.parametrize(
    ("others", "beside"),
    [
        (["Monday/1.png"], "Monday/"),
        (["crack/1.png", "bad/1.png", "hole/2.png"], "crack/ and hole/"),
        (["a/1.png", "b/1.png", "c/1.png", "d/1.png"], "a/, b/ and 2 more folders"),
        (["1.png", "2.png"], "images in no folder"),
        (["good/bad/1.png"], "good/bad/"),
        (["line 2/1.png"], "line 2/"),
    ],
)
def test_what_stands_beside_good_is_not_guessed(tmp_path, others, beside):
    write(tmp_path, "good/2.png", "good/3.png", *others)
    images = load_folder(tmp_path)
    assert images.labels is None
    assert images.labeling == (
        f"labels: none taken; good/ stands beside {beside}, which may hold anything: "
        "labels='folder' (--labels folder) counts all images outside good/ as defective"
    )


def test_labels_by_folders_as_asked_for(tmp_path):
    write(tmp_path, "good/1.png", "crack/1.png", "crack/good.png", "loose.png")
    images = load_folder(tmp_path, labels="folder")
    assert dict(zip(images.names, images.labels, strict=True)) == {
        "good/1.png": 0,
        "crack/1.png": 1,
        "crack/good.png": 1,
        "loose.png": 1,
    }
    assert images.labeling == "labels: 1 normal in good/, 3 defective in crack/ and no folder (by labels='folder')"


def test_labels_by_folders_need_a_folder(tmp_path):
    write(tmp_path, "crack/1.png", "good.png")
    with pytest.raises(DataNotFoundError, match=r"labels='folder' \(--labels folder\) needs a folder named good, ok"):
        load_folder(tmp_path, labels="folder")


def test_no_labels_as_asked_for(mvtec, tiles):
    for root in (mvtec / "bottle", tiles):
        images = load_folder(root, labels="none")
        assert images.labels is None
        assert images.masks(8) is None
        assert images.names == load_folder(root).names, "masks are kept out of the images all the same"
        assert images.labeling == "labels: none, as asked for (labels='none')"


def test_labels_of_another_kind(tmp_path):
    with pytest.raises(ValueError, match="labels must be 'auto', 'none' or 'folder', got 'good'"):
        load_folder(tmp_path, labels="good")


def test_the_test_folder_of_mvtec_is_certain_only_in_its_layout(tmp_path):
    write(tmp_path, "test/good/0.png", "test/scratch/0.png")
    images = load_folder(tmp_path)
    assert images.labels.tolist() == [0, 1]
    assert images.labeling == "labels: 1 normal in test/good/, 1 defective in test/scratch/ (layout of MVTec AD)"
    write(tmp_path, "test/loose.png")
    images = load_folder(tmp_path)
    assert images.labels is None
    assert "good/ stands beside images in no folder" in images.labeling
    write(tmp_path, "nested/test/Monday/good/0.png", "nested/test/Tuesday/0.png")
    assert load_folder(tmp_path / "nested").labels is None


def test_the_loader_of_mvtec_takes_the_labels_of_its_layout_even_where_files_lie_loose(mvtec):
    write(mvtec, "bottle/test/loose.png")
    write_mask(mvtec, "bottle/ground_truth/loose.png")
    assert load_mvtec(mvtec, "bottle").labels.tolist() == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda root: write(root, "a.png"), "labels: none (no folder good/, no masks)"),
        (lambda root: write(root, "good/1.png", "good/2.png"), "labels: 2 normal in good/ (by folder names)"),
        (
            lambda root: write(root, "b.png") or write_mask(root, "masks/b.png"),
            "labels: 1 defective in no folder (where a mask marks anything)",
        ),
        (
            lambda root: write(root, "ok/a.png", "x/b.png") or write_mask(root, "masks/x/b.png"),
            "labels: 1 normal in ok/, 1 defective in x/ (by folder names, with masks)",
        ),
    ],
)
def test_one_line_says_how_labels_were_understood(tmp_path, make, line):
    make(tmp_path)
    images = load_folder(tmp_path)
    assert images.labeling == line
    assert images.subset([0]).labeling == line


def test_the_line_counts_what_was_kept(mvtec):
    damage(mvtec / "bottle/test/scratch/001.png")
    images = load_mvtec(mvtec, "bottle", on_error="skip")
    assert images.labeling == "labels: 2 normal in test/good/, 2 defective in test/scratch/ (layout of MVTec AD)"


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


# ---- masks among the images


def write_photo(root, *names, size=(24, 16), bits=False):
    """Write pictures of random pixels, or of two values; those are 24 x 16 pixels."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = np.random.default_rng(len(name))
        pixels = numbers.integers(0, 256, size[::-1], dtype=np.uint8)
        if bits:
            pixels = np.kron(np.array([[0, 1, 0], [0, 0, 1]]), np.ones((8, 8))).astype(np.uint8) * 255
        Image.fromarray(pixels).save(path)


@pytest.fixture
def tiles(tmp_path):
    """Magnetic tiles in the layout of their authors: 2 free of defects, 1 with a blowhole."""
    write(tmp_path, *[f"tiles/MT_Free/Imgs/{i}.jpg" for i in (2, 10)], "tiles/MT_Blowhole/Imgs/1.jpg", value=90)
    write_mask(tmp_path, *[f"tiles/MT_Free/Imgs/{i}.png" for i in (2, 10)], marked=False)
    write_mask(tmp_path, "tiles/MT_Blowhole/Imgs/1.png")
    return tmp_path / "tiles"


def test_load_folder_reads_magnetic_tiles_as_their_loader_does(tiles):
    with warnings.catch_warnings(action="error"):  # nobody said that it is the whole data set
        images = load_folder(tiles)
    expected = load_magnetic_tile(tiles)
    assert images.names == expected.names == ["MT_Blowhole/Imgs/1.jpg", "MT_Free/Imgs/2.jpg", "MT_Free/Imgs/10.jpg"]
    assert images.labels.tolist() == expected.labels.tolist() == [1, 0, 0]
    np.testing.assert_array_equal(images.masks(8), expected.masks(8))


@pytest.mark.parametrize("folder", ["MT_Blowhole", "MT_Blowhole/Imgs"])
def test_one_folder_of_magnetic_tiles_has_no_masks_among_its_images(tiles, folder, monkeypatch):
    for root in (tiles / folder, Path()):
        monkeypatch.chdir(tiles / folder)
        images = load_folder(root)
        assert [Path(name).name for name in images.names] == ["1.jpg"]
        assert images.labels.tolist() == [1]
        assert images.masks(8).sum() == 1


def test_magnetic_tiles_without_masks_are_images(tiles):
    for mask in tiles.rglob("*.png"):
        mask.unlink()
    images = load_folder(tiles)
    assert images.labels.tolist() == [1, 0, 0]
    assert images.masks(8) is None


def test_magnetic_tiles_among_other_images_are_no_layout_of_their_own(tiles):
    write_photo(tiles, "mine/a.png")
    write_photo(tiles, "MT_Blowhole/Imgs/1.jpg")
    with pytest.warns(
        UserWarning, match=r"3 files .* and MT_Blowhole/Imgs/1\.png beside MT_Blowhole/Imgs/1\.jpg looks"
    ):
        images = load_folder(tiles)
    assert len(images) == 7


@pytest.mark.parametrize("ending", [".png", "_mask.png", "-mask1.bmp", "_gt.png"])
def test_masks_ranked_as_photos_are_warned_of(tmp_path, ending):
    write_photo(tmp_path, *[f"day 1/{i}.jpg" for i in range(6)])
    write_photo(tmp_path, *[f"day 1/{i}{ending}" for i in range(4)], bits=True)
    expected = rf"4 files are named like masks.* and day 1/0{ending} beside day 1/0\.jpg looks.*move them to .*masks/"
    with pytest.warns(UserWarning, match=expected) as caught:
        images = load_folder(tmp_path)
    assert len(images) == 10
    assert caught[0].filename == __file__


def test_masks_with_soft_edges_or_noise_are_warned_of(tmp_path):
    write_photo(tmp_path, "a.png", "b.png", size=(64, 64))
    mask = Image.new("L", (32, 32))
    mask.paste(255, (8, 8, 20, 24))
    mask.resize((64, 64), Image.Resampling.BILINEAR).save(tmp_path / "a_mask.jpg", quality=80)
    with pytest.warns(UserWarning, match=r"a_mask\.jpg beside a\.png looks like a mask"):
        load_folder(tmp_path)


@pytest.mark.parametrize("names", [("1.jpg", "1.png"), ("1.png", "1_mask.png"), ("x/1.png", "y/1.png")])
@pytest.mark.parametrize("bits", [True, False])
def test_pairs_of_the_same_kind_are_no_masks(tmp_path, names, bits):
    """The same photo in two formats; two scans in black and white; one name in two folders."""
    write_photo(tmp_path, *names, bits=bits)
    with warnings.catch_warnings(action="error"):
        load_folder(tmp_path)


def test_photos_with_the_names_of_masks_are_no_masks(tmp_path):
    write_photo(tmp_path, *[f"face{end}" for end in (".jpg", ".png", "_mask.png", "_mask1.png")])
    (tmp_path / "broken.jpg").write_text("no image")
    write_photo(tmp_path, "broken.png", bits=True)
    with warnings.catch_warnings(action="error"):
        load_folder(tmp_path)


def test_a_black_and_white_picture_by_itself_is_no_mask(tmp_path):
    write_photo(tmp_path, "a.png", "b_mask.png", bits=True)
    write_photo(tmp_path, "c.png")
    with warnings.catch_warnings(action="error"):
        load_folder(tmp_path)


def test_looking_for_masks_reads_few_files(tmp_path, monkeypatch):
    write_photo(tmp_path, "0.jpg")
    write_photo(tmp_path, "0.png", bits=True)
    for i in range(1, 60):
        for ending in (".jpg", ".png"):
            (tmp_path / f"{i}{ending}").hardlink_to(tmp_path / f"0{ending}")
    read = []
    decode = images_module.decode_pixels
    monkeypatch.setattr(images_module, "decode_pixels", lambda *arguments: read.append(1) or decode(*arguments))
    with pytest.warns(UserWarning, match="60 files are named like masks"):
        load_folder(tmp_path)
    assert len(read) <= 10


def test_a_look_at_masks_reads_few_files(tmp_path, monkeypatch):
    write_photo(tmp_path, "good/0.jpg", "bad/0.jpg")
    write_photo(tmp_path, "masks/bad/0.png", bits=True)
    for i in range(1, 60):
        for ending in ("bad/{}.jpg", "masks/bad/{}.png"):
            (tmp_path / ending.format(i)).hardlink_to(tmp_path / ending.format(0))
    read = []
    decode = images_module.decode_pixels
    monkeypatch.setattr(images_module, "decode_pixels", lambda *arguments: read.append(1) or decode(*arguments))
    assert load_folder(tmp_path).has_masks
    assert len(read) <= 15


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
    write(mvtec, "bottle/test/good/phone.gif")
    images = load_mvtec(mvtec, "bottle", on_error="skip")
    assert images.names == ["test/good/001.png", "test/scratch/001.png"]
    assert images.labels.tolist() == [0, 1]
    assert images.masks(8).sum(axis=(1, 2)).tolist() == [0, 1]
    assert [image.getpixel((0, 0))[0] for image in images] == [0, 200]
    reasons = {path.relative_to(test).as_posix(): reason for path, reason in images.skipped}
    assert set(reasons) == {
        *("scratch/000.png", "scratch/002.png", "good/000.png", "good/x.png", "good/text.jpg"),
        *("good/dangling.png", "good/phone.gif"),
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
    write(tmp_path, "a.gif")
    with pytest.raises(DataNotFoundError, match=r"no images in .*a\.gif: format not supported"):
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
        assert load_folder(tmp_path).names == ["a.png"]
        with pytest.raises(DataNotFoundError, match="closed cannot be listed: Permission denied"):
            load_folder(tmp_path / "closed")
    finally:
        (tmp_path / "closed").chmod(0o755)


# ---- several folders and files


@pytest.fixture
def several(tmp_path, monkeypatch):
    write(tmp_path, "a/1.png", "a/10.png", "a/2.png", "b/1.png", "b/c/1.png", "3.jpg", "d/4.bmp")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a", "b"], ["a/1.png", "a/2.png", "a/10.png", "b/1.png", "b/c/1.png"]),
        (["b", "a"], ["a/1.png", "a/2.png", "a/10.png", "b/1.png", "b/c/1.png"]),
        (["a/10.png", "a/2.png"], ["2.png", "10.png"]),
        (["a/2.png"], ["2.png"]),
        (["3.jpg", "b/c"], ["3.jpg", "b/c/1.png"]),
        (["a", "a/1.png", "./a/../a/2.png", "a"], ["a/1.png", "a/2.png", "a/10.png"]),
        (["a/1.png", "b/1.png"], ["a/1.png", "b/1.png"]),
        (["b", "b/c"], ["b/1.png", "b/c/1.png"]),
        ([".", "a"], None),
    ],
)
@pytest.mark.parametrize("kind", [str, Path, lambda path: Path.cwd() / path])
def test_several_folders_and_files(several, paths, names, kind):
    images = load_folder([kind(path) for path in paths])
    names = names or [f"{several.name}/{name}" for name in load_folder(several).names]
    assert images.names == names
    assert len(list(images)) == len(names)
    assert images.labels is None
    assert len(load_folder(iter(paths))) == len(names)


def test_a_list_of_one_folder_is_that_folder(mvtec, tiles):
    for root in (mvtec / "bottle", tiles):
        one, listed = load_folder(root), load_folder([root])
        assert (listed.names, listed.labeling) == (one.names, one.labeling)
        np.testing.assert_array_equal(listed.masks(8), one.masks(8))


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="links need rights on Windows")
def test_a_file_and_a_link_to_it_count_once(several):
    (several / "b/again.png").symlink_to(several / "a/1.png")
    assert load_folder(["a/1.png", "b/again.png", "b/1.png"]).names == ["a/1.png", "b/1.png"]


def test_masks_of_several_folders_are_no_images(mvtec, tiles):
    images = load_folder([mvtec / "bottle", tiles])
    assert {Path(name).suffix for name in images.names} == {".png", ".jpg"}
    assert len(images) == 5 + 3
    assert images.names[0] == "mvtec/bottle/test/good/000.png"
    assert images.masks(8) is None


@pytest.mark.parametrize(
    ("paths", "labels", "expected"),
    [
        (["good", "bad"], "auto", [1, 1, 0]),
        (["good", "hole"], "auto", None),
        (["good", "hole"], "folder", [0, 1]),
        (["good", "bad"], "none", None),
        (["good/1.png", "hole/1.png"], "folder", [0, 1]),
    ],
)
def test_labels_of_several_folders_come_from_their_names(tmp_path, paths, labels, expected):
    write(tmp_path, "good/1.png", "bad/1.png", "bad/2.png", "hole/1.png")
    images = load_folder([tmp_path / path for path in paths], labels=labels)
    assert (images.labels if expected is None else images.labels.tolist()) == expected
    assert images.labeling.startswith("labels: ")


def test_several_paths_of_which_one_cannot_be_used(several):
    (several / "notes.txt").write_text("no image")
    (several / "film.mp4").write_bytes(b"a film")
    write(several, "x.gif")
    for path, error, message in [
        ("gone.png", DataNotFoundError, r"there is no file or folder gone\.png: check the spelling \(from here, "),
        ("notes.txt", ImageReadError, r"notes\.txt: it is no image: give a folder"),
        ("film.mp4", ImageReadError, r"film\.mp4: a video: take frames"),
        ("x.gif", ImageReadError, r"x\.gif: format not supported: \.gif"),
    ]:
        with pytest.raises(error, match=message):
            load_folder(["a", path])
    images = load_folder(["a", "film.mp4", "notes.txt"], on_error="skip")
    assert len(images) == 3
    assert [path.name for path, _ in images.skipped] == ["film.mp4", "notes.txt"]
    with pytest.raises(DataNotFoundError, match="no paths were given"):
        load_folder([])
    (several / "d/4.bmp").unlink()
    with pytest.raises(DataNotFoundError, match=r"no images in d and x\.gif .*left out: x\.gif: format"):
        load_folder(["d", "x.gif"], on_error="skip")


def test_masks_among_several_paths_are_warned_of(tmp_path):
    write_photo(tmp_path, "a/1.jpg", "b/1.jpg")
    write_photo(tmp_path, "a/1.png", bits=True)
    with pytest.warns(UserWarning, match=r"a/1\.png beside a/1\.jpg looks like a mask") as caught:
        load_folder([tmp_path / "a", tmp_path / "b/1.jpg"])
    assert caught[0].filename == __file__


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


def test_magnetic_tile_elsewhere(tmp_path):
    write(tmp_path, "a.jpg")
    with pytest.raises(DataNotFoundError, match="at least one of MT_Blowhole/Imgs"):
        load_magnetic_tile(tmp_path)


VISA_TABLE = "split_csv/1cls.csv"
BTECH = "BTech_Dataset_transformed"
# Each layout as it is found in the wild: how to load it, where names begin, and the masks of each image in order.
LAYOUTS = {
    "MVTec AD": (
        partial(load_mvtec, category="bottle"),
        "bottle",
        {
            "test/contamination/000.png": ["ground_truth/contamination/000_mask.png"],
            "test/good/000.png": [],
            "test/good/001.png": [],
            "test/hole/000.png": ["ground_truth/hole/000_mask.png"],
        },
    ),
    "MVTec AD with capital letters and without _mask": (
        partial(load_mvtec, category="cup"),
        "cup",
        {
            "Test/Good/000.JPG": [],
            "Test/Hole/000.PNG": ["Ground_Truth/Hole/000.PNG"],
            "Test/Hole/001.JPEG": ["Ground_Truth/Hole/001_Mask.BMP"],
            "Test/Hole/002.BMP": ["Ground_Truth/Hole/002_MASK.png"],
        },
    ),
    "several masks of one image": (
        partial(load_mvtec, category="cup"),
        "cup",
        {
            "test/good/000.png": [],
            "test/hole/000.png": [f"ground_truth/hole/000_mask{end}.png" for end in ("", "_1", "2")],
            "test/hole/001.png": ["ground_truth/hole/001.png", "ground_truth/hole/001_mask-1.PNG"],
            "test/hole/010.png": ["ground_truth/hole/010_mask.png"],
        },
    ),
    "MVTec LOCO AD": (
        partial(load_mvtec, category="pushpins"),
        "pushpins",
        {
            "test/good/000.png": [],
            "test/logical_anomalies/000.png": [f"ground_truth/logical_anomalies/000/00{i}.png" for i in range(3)],
            "test/logical_anomalies/001.png": ["ground_truth/logical_anomalies/001/000.png"],
            "test/structural_anomalies/000.png": ["ground_truth/structural_anomalies/000/000.png"],
        },
    ),
    "VisA": (
        partial(load_visa, category="candle"),
        "",
        {
            "candle/Data/Images/Anomaly/000.JPG": ["candle/Data/Masks/Anomaly/000.png"],
            "candle/Data/Images/Anomaly/002.JPG": ["candle/Data/Masks/Anomaly/002.png"],
            "candle/Data/Images/Normal/0002.JPG": [],
            "candle/Data/Images/Normal/0010.JPG": [],
        },
    ),
    "VisA, converted by anomalib": (
        partial(load_visa, category="pcb1"),
        "pcb1",
        {"test/bad/000.JPG": ["ground_truth/bad/000.png"], "test/good/0002.JPG": []},
    ),
    "VisA, converted by its authors": (
        partial(load_visa, category="pcb1"),
        "1cls/pcb1",
        {"test/bad/000.JPG": ["ground_truth/bad/000.png"], "test/good/0002.JPG": []},
    ),
    "BTAD 01": (
        partial(load_btad, category="01"),
        f"{BTECH}/01",
        {
            "test/ko/0000.bmp": ["ground_truth/ko/0000.png"],
            "test/ko/0001.bmp": ["ground_truth/ko/0001.png"],
            "test/ok/0000.bmp": [],
        },
    ),
    "BTAD 02": (
        partial(load_btad, category="02"),
        f"{BTECH}/02",
        {"test/ko/0000.png": ["ground_truth/ko/0000.png"], "test/ok/0000.png": []},
    ),
    "BTAD 03": (
        partial(load_btad, category="03"),
        "03",
        {"test/ko/0000.bmp": ["ground_truth/ko/0000.bmp"], "test/ok/0000.bmp": []},
    ),
    "magnetic tiles": (
        load_magnetic_tile,
        "",
        {
            "MT_Blowhole/Imgs/exp1_num_2.jpg": ["MT_Blowhole/Imgs/exp1_num_2.png"],
            "MT_Blowhole/Imgs/exp1_num_10.JPG": ["MT_Blowhole/Imgs/exp1_num_10.PNG"],
            "MT_Free/Imgs/exp1_num_2.jpg": [],
        },
    ),
}
EXTRA = ("Thumbs.db", "readme.txt", "license.txt", ".DS_Store", "__MACOSX/._000.png", "._000.png", "desktop.ini")


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    """A data set in small: how to load it, the files that it was made of, and the masks to be found."""
    load, start, files = LAYOUTS[request.param]
    expected = np.zeros((len(files), 8, 8), dtype=bool)
    for i, (image, masks) in enumerate(files.items()):
        write(tmp_path / start, image)
        for j, mask in enumerate(masks):
            write_index_mask(tmp_path / start / mask, (i, j), value=j + 1)
            expected[i, j, i] = True
    if request.param == "VisA":
        write_visa_table(tmp_path, [("candle", "test", image, *masks) for image, masks in files.items()])
    for folder in [tmp_path, *[path for path in tmp_path.rglob("*") if path.is_dir()]]:
        for name in EXTRA:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("no image")
    return partial(load, tmp_path), tmp_path / start, files, expected


def write_index_mask(path, at, value=1):
    """Write a mask as VisA's are: the number of a kind of defect, shown in a color that says nothing."""
    mask = Image.new("P", (8, 8))
    mask.putpalette([0, 0, 0, 0, 0, 1, 0, 0, 0, 90, 0, 0])
    mask.putpixel(at, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    mask.save(path)


def write_visa_table(root, rows):
    (root / VISA_TABLE).parent.mkdir(exist_ok=True)
    with (root / VISA_TABLE).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["object", "split", "label", "image", "mask"])
        for category, split, image, *mask in rows:
            writer.writerow([category, split, "anomaly" if mask else "normal", image, *(mask or [""])])


def test_each_layout_as_it_is_found_in_the_wild(layout):
    load, _, files, masks = layout
    images = load()
    assert images.names == list(files)
    assert images.labels.tolist() == [int(bool(masks)) for masks in files.values()]
    assert re.match("labels: [0-9]+ normal in .*, [0-9]+ defective in .* [(].+[)]$", images.labeling)
    np.testing.assert_array_equal(images.masks(8), masks)
    assert images.skipped == []
    assert all(image.size == (8, 8) for image in images)


def test_in_each_layout_missing_masks_are_named_or_left_out(layout):
    load, folder, files, _ = layout
    image, masks = next((image, masks) for image, masks in files.items() if masks)
    for mask in masks:
        (folder / mask).unlink()
    with pytest.raises(ImageReadError, match=rf"{image}: it has no mask .*on_error='skip'"):
        load()
    images = load(on_error="skip")
    assert images.names == [name for name in files if name != image]
    assert [path for path, _ in images.skipped] == [folder / image]


def test_in_each_layout_damaged_masks_are_left_out(layout):
    load, folder, files, _ = layout
    image, masks = next((image, masks) for image, masks in files.items() if masks)
    (folder / masks[-1]).write_text("no image")
    images = load(on_error="skip")
    assert images.names == [name for name in files if name != image]
    assert Path(masks[-1]).name in images.skipped[0][1]


def test_btad_from_its_own_folder(tmp_path):
    write(tmp_path / BTECH, "02/test/ok/0000.png", "02/test/ko/0000.png", "02/train/ok/0000.png")
    write_mask(tmp_path / BTECH, "02/ground_truth/ko/0000.png", marked=False)
    images = load_btad(tmp_path / BTECH, "02")
    assert images.names == load_btad(tmp_path, "02").names == ["test/ko/0000.png", "test/ok/0000.png"]
    assert images.labels.tolist() == [1, 0], "an empty mask does not make a defective image normal"
    with pytest.raises(DataNotFoundError, match=r"no category '2'.* Categories there: 02$"):
        load_btad(tmp_path, "2")


def test_a_mask_belongs_to_the_image_of_its_whole_name(tmp_path):
    """An image that is itself called so is meant before the one that a mask's ending would lead to."""
    write(tmp_path, "a.png", "a_mask.png", "a_1.png")
    write_mask(tmp_path, "masks/a.png", "masks/a_mask.png", "masks/a_1_mask.png", "masks/a_mask_mask.png")
    names = [
        sources.name if isinstance(sources, Path) else [path.name for path in sources]
        for sources in load_folder(tmp_path).mask_sources
    ]
    assert names == ["a.png", "a_1_mask.png", ["a_mask.png", "a_mask_mask.png"]]


# ---- VisA's table


@pytest.fixture
def visa(tmp_path):
    write(tmp_path, "candle/Data/Images/Normal/0001.JPG", "candle/Data/Images/Anomaly/000.JPG")
    write_index_mask(tmp_path / "candle/Data/Masks/Anomaly/000.png", (3, 3))
    rows = [
        ("candle", "train", "candle/Data/Images/Normal/0002.JPG"),
        ("candle", "test", "candle/Data/Images/Normal/0001.JPG"),
        ("candle", "test", "candle/Data/Images/Anomaly/000.JPG", "candle/Data/Masks/Anomaly/000.png"),
        ("pcb1", "test", "pcb1/Data/Images/Normal/0001.JPG"),
    ]
    write_visa_table(tmp_path, rows)
    return tmp_path


def test_visa_loads_the_test_split_of_one_category(visa):
    images = load_visa(visa, "candle")
    assert images.names == ["candle/Data/Images/Anomaly/000.JPG", "candle/Data/Images/Normal/0001.JPG"]
    assert images.labels.tolist() == [1, 0]
    assert images.mask(0).sum() == images.mask(0)[3, 3] == 1


def test_visa_without_the_category(visa):
    with pytest.raises(DataNotFoundError, match=r"'candles'. Did you mean 'candle'\? Categories there: candle, pcb1$"):
        load_visa(visa, "candles")
    with pytest.raises(DataNotFoundError, match=r"none: each must hold a folder 'test'; or .* split_csv/1cls\.csv"):
        load_visa(visa / "candle", "candle")


def test_visa_listed_images_that_are_not_there(visa):
    with pytest.raises(ImageReadError, match=r"pcb1/Data/Images/Normal/0001\.JPG: there is no such file"):
        load_visa(visa, "pcb1")
    (visa / "candle/Data/Images/Normal/0001.JPG").unlink()
    assert load_visa(visa, "candle", on_error="skip").labels.tolist() == [1]


@pytest.mark.parametrize(
    "content", ["", "object,split,label,image,mask\n", "a,b\n1,2\n", b"\xff\xfe\x00", "split\ntest\n"]
)
def test_visa_with_another_table(visa, content):
    (visa / VISA_TABLE).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataNotFoundError, match=r"1cls\.csv (lists no test images|is not VisA's table)"):
        load_visa(visa, "candle")


# ---- published numbers of images


def test_published_totals():
    counted = [data_set for data_set in CATALOG.values() if data_set.counts]
    totals = {data_set.title: np.sum(list(data_set.counts.values()), axis=0).tolist() for data_set in counted}
    assert totals == {
        "MVTec AD": [467, 1258],
        "VisA": [962, 1200],
        "BTAD": [451, 290],
        "magnetic tiles": [952, 392],
    }


def test_other_numbers_than_published_are_warned_of(mvtec):
    expected = r"MVTec AD in .*mvtec, images in bottle: found 2 normal and 3 defective, published 20 normal and 63 def"
    with pytest.warns(UserWarning, match=expected) as caught:
        load_mvtec(mvtec, "bottle")
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("layout", "name", "counts"),
    [
        ("MVTec AD", "mvtec", {"bottle": (2, 2)}),
        ("VisA", "visa", {"candle": (2, 2)}),
        ("VisA, converted by its authors", "visa", {"pcb1": (1, 1)}),
        ("BTAD 01", "btad", {"01": (1, 2)}),
        ("magnetic tiles", "magnetic-tile", {"MT_Blowhole": (0, 2), "MT_Fray": (0, 0), "MT_Free": (1, 0)}),
    ],
    indirect=["layout"],
)
def test_each_data_set_is_compared_with_its_own_numbers(layout, name, counts, monkeypatch):
    load, *_ = layout
    title = CATALOG[name].title
    with pytest.warns(UserWarning, match=rf"^{title} in .* {next(iter(counts))}: found .*, published"):
        load()
    monkeypatch.setitem(CATALOG, name, replace(CATALOG[name], counts=counts))
    with warnings.catch_warnings(action="error"):
        load()


def test_folders_of_ones_own_are_compared_with_nothing(mvtec):
    (mvtec / "bottle").rename(mvtec / "gravel")
    with warnings.catch_warnings(action="error"):
        load_mvtec(mvtec, "gravel")
        (mvtec / "gravel").rename(mvtec / "bottle")
        load_folder(mvtec / "bottle")


@pytest.mark.skipif(not MAGNETIC_TILE.is_dir(), reason="shared/data/magnetic_tile is not there")
def test_real_magnetic_tiles():
    images = load_magnetic_tile(MAGNETIC_TILE, on_error="skip")
    assert (len(images), int(images.labels.sum()), images.skipped) == (184, 64, [])
    np.testing.assert_array_equal(images.masks(224).any(axis=(1, 2)), images.labels)
