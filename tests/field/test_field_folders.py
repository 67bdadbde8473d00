"""Folders as people have them: masks of other data sets, drives of networks, folders that may not be listed."""

import os
import shutil
import subprocess
import sys
import time
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from musc_lite import MuSc, Verdict, View, load_folder, read_verdicts
from musc_lite.cli import app
from musc_lite.data.loaders import left_out
from musc_lite.data.verdicts import sort_by_verdict
from musc_lite.utils.errors import DataNotFoundError, ImageReadError
from musc_lite.utils.names import NameIndex

Y, X = np.mgrid[:48, :64]


def photo(number=0):
    """Make a picture of waves and noise."""
    noise = 9 * np.random.default_rng(number).standard_normal(X.shape)
    return np.clip(130 + 60 * np.sin(X / 9 + number) + noise, 0, 255).astype(np.uint8)


def mask(at=0, marked=255):
    """Make a mask of 6 x 8 pixels, the further right the higher `at`."""
    pixels = np.zeros(X.shape, np.uint8)
    pixels[20:26, 5 * at : 5 * at + 8] = marked
    return pixels


def save(root, files):
    """Write pictures by name; what is given as a number is a photo."""
    for name, picture in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(picture) if isinstance(picture, int) else picture).save(path)


def photos(folder, numbers, ending=".png"):
    return {f"{folder}/{i:03d}{ending}": i for i in numbers}


def masked(images):
    """Return the names of the images with a mask that marks anything, and where it begins."""
    found = images.masks(X.shape)
    return {images.names[i]: int(found[i].any(axis=0).argmax()) // 5 for i in np.flatnonzero(found.any(axis=(1, 2)))}


@pytest.fixture
def silent():
    """Turn each warning into an error."""
    with warnings.catch_warnings(action="error"):
        yield


# ---- masks of the data sets that people have


def dagm(root):
    save(root, photos("Class1/Test", range(576, 582), ".PNG") | {"Class1/Test/Label/578_label.PNG": mask(2)})


def mvtec_ad_2(root):
    save(root, photos("train/good", range(3)) | photos("validation/good", range(2)))
    save(root, photos("test_public/good", range(3)) | photos("test_public/bad", range(3)))
    save(root, {f"test_public/ground_truth/bad/{i:03d}_mask.png": mask(i + 1) for i in range(3)})


def mvtec_3d(root):
    for kind in ("good", "crack"):
        save(root, photos(f"test/{kind}/rgb", range(3)))
        save(root, {f"test/{kind}/gt/{i:03d}.png": mask(i + 1, 255 * (kind == "crack")) for i in range(3)})
        for i in range(3):
            (root / f"test/{kind}/xyz").mkdir(exist_ok=True)
            Image.fromarray(X.astype(np.float32)).save(root / f"test/{kind}/xyz/{i:03d}.tiff")


def mvtec_loco(root):
    save(root, photos("test/good", range(3)) | photos("test/logical", range(3)))
    save(root, {f"ground_truth/logical/{i:03d}/000.png": mask(i + 1, 20) for i in range(3)})


def visa(root):
    save(root, photos("candle/Data/Images/Normal", range(3), ".JPG"))
    save(root, photos("candle/Data/Images/Anomaly", range(3), ".JPG"))
    save(root, {f"candle/Data/Masks/Anomaly/{i:03d}.png": mask(i + 1, 1) for i in range(3)})


def kolektor_2(root):
    save(root, photos("test", range(4)) | {f"test/{i:03d}_GT.png": mask(i, 255 * (i == 2)) for i in range(4)})
    save(root, photos("train", range(2)))


def kolektor(root):
    for folder in ("kos01", "kos02"):
        save(root, {f"{folder}/Part{i}.jpg": i for i in range(3)})
        save(root, {f"{folder}/Part{i}_label.bmp": mask(i, 255 * (i == 1)) for i in range(3)})


def aitex(root):
    save(root, photos("Defect_images", range(3)) | photos("NODefect_images/2306881-210020u", range(10, 14)))
    save(root, {f"Mask_images/{i:03d}_mask.png": mask(i + 1) for i in range(3)})


def by_anomalib(root):
    """The numbers of normal and abnormal photos are the same."""
    save(root, photos("normal_dir", range(3)) | photos("abnormal_dir", range(3)))
    save(root, {f"mask_dir/{i:03d}.png": mask(i + 1) for i in range(3)})


def beside_by_name(name):
    def make(root):
        save(root, photos("good", range(3), ".jpg") | photos("crack", range(3), ".jpg"))
        save(root, {f"{name}/crack/{i:03d}.png": mask(i + 1) for i in range(3)})

    return make


def upper_case(root):
    save(root, photos("OK", range(5)) | photos("NG", range(5, 8)) | {f"MASK/{i:03d}.png": mask(i) for i in range(5, 8)})


LAYOUTS = [  # how it is made, how many normal images, and where defects are
    pytest.param(dagm, 5, {"Class1/Test/578.PNG": 2}, marks=pytest.mark.case(21)),
    pytest.param(mvtec_ad_2, 8, {f"test_public/bad/{i:03d}.png": i + 1 for i in range(3)}, marks=pytest.mark.case(22)),
    pytest.param(mvtec_3d, 3, {f"test/crack/rgb/{i:03d}.png": i + 1 for i in range(3)}),
    pytest.param(mvtec_loco, 3, {f"test/logical/{i:03d}.png": i + 1 for i in range(3)}),
    pytest.param(
        visa, 3, {f"candle/Data/Images/Anomaly/{i:03d}.JPG": i + 1 for i in range(3)}, marks=pytest.mark.case(50)
    ),
    pytest.param(kolektor_2, 3, {"test/002.png": 2}, marks=pytest.mark.case(28)),
    pytest.param(kolektor, 4, {"kos01/Part1.jpg": 1, "kos02/Part1.jpg": 1}),
    pytest.param(aitex, 4, {f"Defect_images/{i:03d}.png": i + 1 for i in range(3)}),
    pytest.param(by_anomalib, 3, {f"abnormal_dir/{i:03d}.png": i + 1 for i in range(3)}, marks=pytest.mark.case(23)),
    *(
        pytest.param(
            beside_by_name(name), 3, {f"crack/{i:03d}.jpg": i + 1 for i in range(3)}, marks=pytest.mark.case(23)
        )
        for name in ("mask", "label", "annotations/masks", "drawn/by me/label")
    ),
    pytest.param(upper_case, 5, {f"NG/{i:03d}.png": i for i in range(5, 8)}, marks=pytest.mark.case(23)),
]


@pytest.mark.parametrize(("make", "n_normal", "defects"), LAYOUTS)
def test_masks_of_known_layouts_are_masks(tmp_path, silent, make, n_normal, defects):
    make(tmp_path)
    images = load_folder(tmp_path)
    assert masked(images) == defects
    assert {images.names[i] for i in np.flatnonzero(images.labels)} == set(defects)
    assert len(images) == n_normal + len(defects)
    assert not any("mask" in name.lower() for name in load_folder(tmp_path, labels="none").names)


@pytest.mark.parametrize("folder", [".", "candle", "candle/Data"])
def test_visa_from_any_level(tmp_path, silent, folder):
    visa(tmp_path)
    assert sorted(masked(load_folder(tmp_path / folder)).values()) == [1, 2, 3]


def test_height_maps_beside_photos_are_listed(tmp_path):
    mvtec_3d(tmp_path)
    assert left_out(load_folder(tmp_path)) == "left out 6 files: 6 height maps (they lie beside photos, which are read)"
    save(tmp_path, photos("bagel/test/good/rgb", [0]) | photos("bagel/train/good/rgb", [0]))
    with pytest.raises(DataNotFoundError, match=r"holds categories: give one, such as .*bagel"):
        load_folder(tmp_path)


@pytest.mark.case(23)
def test_masks_in_a_folder_of_an_unknown_name_are_warned_of(tmp_path):
    save(tmp_path, photos("Monday", range(4)) | photos("Tuesday", range(4)))
    save(tmp_path, {f"drawn/{name}.png": mask(2) for name in "abc"})
    with pytest.warns(UserWarning, match=r"the 3 pictures in drawn/ have two gray levels each.*ranked as photos: move"):
        assert len(load_folder(tmp_path)) == 11


@pytest.mark.case(20)
def test_a_product_called_mask_is_no_mask(tmp_path, silent):
    save(tmp_path, photos("both/masks", range(8)) | photos("both/caps", range(4)))
    save(tmp_path, photos("alone/masks", range(8)))
    save(tmp_path, photos("labels/test/good", range(3)) | photos("labels/test/label", range(3)))
    save(tmp_path, {f"labels/ground_truth/label/{i:03d}_mask.png": mask(i + 1) for i in range(3)})
    assert len(load_folder(tmp_path / "both")) == len(load_folder(tmp_path / "both", labels="none")) == 12
    assert len(load_folder(tmp_path / "alone")) == 8
    assert masked(load_folder(tmp_path / "labels")) == {f"test/label/{i:03d}.png": i + 1 for i in range(3)}


@pytest.mark.case(25)
def test_inverted_masks_are_warned_of(tmp_path):
    save(tmp_path, photos("good", range(3)) | photos("bad", range(3)))
    save(tmp_path, {f"masks/bad/{i:03d}.png": 255 - mask(i) for i in range(3)})
    with pytest.warns(UserWarning, match=r"masks mark 98% of the image .*If they are inverted.*invert them"):
        load_folder(tmp_path)


def test_masks_that_mark_nothing_are_warned_of(tmp_path):
    save(tmp_path, photos("good", range(3)) | photos("bad", range(3)))
    save(tmp_path, {f"masks/bad/{i:03d}.png": mask(marked=0) for i in range(3)})
    with pytest.warns(UserWarning, match="none of the 3 masks marks anything, so there are no metrics of pixels"):
        load_folder(tmp_path)


@pytest.mark.case(26)
@pytest.mark.parametrize("colors", ["black", "white", "photo", "as the mask"])
def test_masks_in_alpha_are_read(tmp_path, silent, colors):
    save(tmp_path, photos("good", range(3)) | photos("bad", range(3)))
    for i in range(3):
        gray = {"black": 0 * X, "white": 0 * X + 255, "photo": photo(i), "as the mask": mask(i)}[colors]
        cut_out = np.dstack([gray] * 3 + [mask(i)]).astype(np.uint8)
        save(tmp_path, {f"ground_truth/bad/{i:03d}.png": cut_out})
    assert masked(load_folder(tmp_path)) == {f"bad/{i:03d}.png": i for i in range(3)}


# ---- names


@pytest.mark.case(16)
def test_names_that_differ_in_capitals_have_a_mask_each(tmp_path, silent):
    save(tmp_path, photos("good", range(3)) | {"bad/a.png": 4, "bad/A.png": 5})
    if len(list((tmp_path / "bad").iterdir())) < 2:
        pytest.skip("this file system does not tell capitals")
    save(tmp_path, {"ground_truth/bad/a_mask.png": mask(1), "ground_truth/bad/A_mask.png": mask(6)})
    assert masked(load_folder(tmp_path)) == {"bad/a.png": 1, "bad/A.png": 6}


@pytest.mark.case(17)
def test_masks_called_by_the_whole_name_of_the_photo(tmp_path, silent):
    save(tmp_path, photos("good", range(3)) | {"bad/001.bmp": 4, "bad/001.png": 5})
    save(tmp_path, {"ground_truth/bad/001.bmp.png": mask(1), "ground_truth/bad/001.png.png": mask(6)})
    assert masked(load_folder(tmp_path)) == {"bad/001.bmp": 1, "bad/001.png": 6}


@pytest.mark.case(17)
def test_a_mask_of_one_of_two_photos_is_of_neither(tmp_path):
    save(tmp_path, photos("good", range(3)) | {"bad/001.bmp": 4, "bad/001.png": 5})
    save(tmp_path, {"ground_truth/bad/001_mask.png": mask(1)})
    with pytest.raises(ImageReadError, match=r"001\.bmp: it has no mask.*1 masks belong to no image: 001_mask\.png"):
        load_folder(tmp_path)


def test_names_match_in_either_unicode_form(tmp_path, silent):
    composed = unicodedata.normalize("NFC", "Gehäuse")
    save(tmp_path, photos("good", range(3)) | {f"bad/{composed}.png": 4})
    save(tmp_path, {f"masks/bad/{unicodedata.normalize('NFD', composed).upper()}.png": mask(3)})
    assert masked(load_folder(tmp_path)) == {f"bad/{composed}.png": 3}


@pytest.mark.case(17)
def test_a_mask_with_the_whole_name_of_one_of_two_photos_is_of_that_one(tmp_path, silent):
    save(tmp_path, photos("good", range(3)) | {"bad/001.bmp": 4, "bad/001.png": 5})
    save(tmp_path, {"ground_truth/bad/001.png": mask(1)})
    images = load_folder(tmp_path, on_error="skip")
    assert masked(images) == {"bad/001.png": 1}
    assert [path.name for path, _ in images.skipped] == ["001.bmp"]


def test_a_mask_whose_photo_is_gone_goes_to_no_normal_one(tmp_path, silent):
    by_anomalib(tmp_path)
    (tmp_path / "abnormal_dir/000.png").unlink()
    assert masked(load_folder(tmp_path)) == {"abnormal_dir/001.png": 2, "abnormal_dir/002.png": 3}


@pytest.mark.case(20)
def test_photos_of_two_gray_levels_in_a_folder_called_masks_are_photos(tmp_path, silent):
    for folder in ("masks", "caps"):
        save(tmp_path, {f"{folder}/{folder}_{i}.png": mask(i) for i in range(4)})
    assert len(load_folder(tmp_path)) == 8


def test_names_in_the_other_unicode_form_keep_their_capitals():
    decomposed = unicodedata.normalize("NFD", "Ä.png")
    assert NameIndex([("ä.png", 0), ("Ä.png", 1)]).find(decomposed) == [1]


@pytest.mark.case(51)
def test_masks_of_label_studio(tmp_path, silent):
    save(tmp_path, {f"good/{i}.png": i for i in range(3)} | {f"bad/{i}.png": i for i in range(7, 10)})
    save(tmp_path, {f"masks/task-{i}-annotation-{i}-by-1-tag-crack-0.png": mask(i) for i in range(7, 10)})
    assert masked(load_folder(tmp_path)) == {f"bad/{i}.png": i for i in range(7, 10)}


@pytest.mark.case(51)
def test_masks_that_fit_nothing_are_named(tmp_path):
    save(tmp_path, photos("good", range(3)) | photos("bad", range(2)))
    foreign = [f"task-{i}-annotation-{i}-by-1-tag-crack-0.png" for i in range(31, 35)]
    save(tmp_path, {f"masks/{name}": mask(2) for name in foreign})
    expected = rf"it has no mask.*4 masks belong to no image: {', '.join(foreign[:3])} and 1 more\. The mask of bad/000"
    with pytest.raises(ImageReadError, match=expected):
        load_folder(tmp_path)
    save(tmp_path, {f"masks/bad/{i:03d}.png": mask(2) for i in range(2)})
    with pytest.warns(UserWarning, match="4 masks belong to no image"):
        assert len(masked(load_folder(tmp_path))) == 2


# ---- which folders


@pytest.mark.case(18)
def test_folders_of_network_drives_are_left_aside(tmp_path, silent):
    save(tmp_path, {f"IMG_{i}.jpg": i for i in range(4)})
    save(tmp_path, {f"@eaDir/IMG_{i}.jpg/SYNOPHOTO_THUMB_M.jpg": i for i in range(4)})
    for folder in ("#recycle", "$RECYCLE.BIN", "lost+found", ".snapshot", "System Volume Information", "__MACOSX"):
        save(tmp_path, {f"{folder}/old.jpg": 9, f"deeper/{folder}/old.jpg": 9})
    images = load_folder(tmp_path)
    assert (images.names, images.skipped) == ([f"IMG_{i}.jpg" for i in range(4)], [])


@pytest.mark.case(19)
@pytest.mark.parametrize(
    ("folders", "n_images", "words"),
    [
        (("monday", "tuesday", "test"), 6, ""),
        (("train/images", "valid/images", "test/images"), 2, "4 images in train/, valid/ (test/ beside it is scored"),
        (("train/good", "monday", "test/good"), 2, "4 images in monday/, train/ (test/ beside it"),
    ],
)
def test_what_lies_beside_test_is_scored_or_counted(tmp_path, silent, folders, n_images, words):
    for folder in folders:
        save(tmp_path, photos(folder, range(2)))
    images = load_folder(tmp_path)
    assert len(images) == n_images
    assert left_out(images).startswith(f"left out {words}" if words else "")
    assert bool(images.skipped) == bool(words)


@pytest.mark.case(28)
def test_what_lies_in_train_is_counted_beside_masks(tmp_path, silent):
    kolektor_2(tmp_path)
    assert left_out(load_folder(tmp_path)) == "left out 2 images in train/ (test/ beside it is scored alone)"


LOAD = """
import os, sys
from musc_lite.data.loaders import left_out, load_folder
if os.geteuid() == 0:
    os.setgroups([]), os.setegid(65534), os.seteuid(65534)
images = load_folder(sys.argv[1])
print(len(images), left_out(images))
"""


@pytest.mark.case(29)
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other rights")
def test_a_folder_that_may_not_be_listed_is_left_out(tmp_path):
    save(tmp_path, photos("photos", range(3)) | photos("photos/private", range(2)) | photos("photos/lost+found", [0]))
    if os.geteuid() == 0:  # the folders of a test are closed to the user that the script becomes
        for folder in tmp_path.parents:
            if not folder.stat().st_mode & 1:
                folder.chmod(folder.stat().st_mode | 0o011)
        tmp_path.chmod(0o755)
    for name in ("private", "lost+found"):
        (tmp_path / "photos" / name).chmod(0)
    try:
        done = subprocess.run([sys.executable, "-c", LOAD, str(tmp_path / "photos")], capture_output=True, text=True)
    finally:
        for name in ("private", "lost+found"):
            (tmp_path / "photos" / name).chmod(0o755)
    assert done.stdout == "3 left out 1 file: 1 folder that cannot be listed (allow reading, or move it away)\n", done


def test_folders_1200_deep_are_read(tmp_path):
    deep = top = tmp_path / "top"
    top.mkdir()
    home = Path.cwd()
    try:
        for _ in range(1200):  # step by step, since the whole path is too long for some systems
            os.chdir(deep)
            deep = Path("d")
            deep.mkdir()
        save(Path(), {"d/deep.png": 0})
        os.chdir(home)
        save(top, {"a.png": 1})
        assert len(load_folder(top)) == 2
    finally:
        os.chdir(home)
        subprocess.run(["rm", "-rf", str(top)], check=False) if os.name != "nt" else shutil.rmtree(top, True)


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="links need rights on Windows")
def test_links_to_themselves(tmp_path):
    save(tmp_path, {"photos/a.png": 0})
    (tmp_path / "photos/loop").symlink_to("loop")
    (tmp_path / "loop").symlink_to("loop")
    assert load_folder(tmp_path / "photos").names == ["a.png"]
    for given in (tmp_path / "loop", [tmp_path / "photos", tmp_path / "loop"]):
        with pytest.raises(DataNotFoundError, match="loop"):
            load_folder(given)


def test_the_home_of_nobody(tmp_path):
    for given in ("~nosuchuser/photos", ["~nosuchuser/photos", tmp_path]):
        with pytest.raises(DataNotFoundError, match="~nosuchuser/photos: no home folder is known"):
            load_folder(given)


# ---- tables of review labels

NAMES = ["Gehäuse_0.png", "e_4.png", "f_5.png", "sub/Gehäuse_1.png", "sub/c_2.png", "sub/d_3.png"]
KINDS = ["good", "bad", "good", "bad", "good", "unsure"]
ROWS = list(zip(NAMES, KINDS, strict=True))


def table(sep=",", head=("image", "verdict"), rows=ROWS, end="\r\n"):
    return end.join(sep.join(row) for row in [head, *rows]) + end


def renamed(change):
    return [(change(name), kind) for name, kind in ROWS]


TABLES = {
    "plain": table().encode(),
    "UTF-16 with tabs": table("\t").encode("utf-16"),
    "UTF-16 of the other order": b"\xfe\xff" + table("\t").encode("utf-16-be"),
    "tabs": table("\t").encode(),
    "cp1252": table(";").encode("cp1252"),
    "sep=;": ("sep=;\r\n" + table(";")).encode("utf-8-sig"),
    "a title above": ("Results of Monday;\r\n" + table(";")).encode(),
    "capitals": table(head=("Image", "VERDICT")).upper().replace(".PNG", ".png").encode(),
    "blanks": table(", ").encode(),
    "backslashes": table(rows=renamed(lambda name: name.replace("/", "\\"))).encode(),
    "./": table(rows=renamed(lambda name: f"./{name}")).encode(),
    "decomposed": table(rows=renamed(lambda name: unicodedata.normalize("NFD", name))).encode(),
    "whole paths": table(rows=renamed(lambda name: f"PHOTOS/{name}")).encode(),
    "only CR": table(end="\r").encode(),
    "row numbers": table(head=("", "image", "verdict"), rows=[("7", *row) for row in ROWS]).encode(),
}


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    root = tmp_path_factory.mktemp("reviewed")
    save(root, {name: i for i, name in enumerate(NAMES)})
    return load_folder(root)


@pytest.mark.case(34)
@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)
def test_tables_of_spreadsheets_are_read(reviewed, tmp_path, silent, content):
    (tmp_path / "verdicts.csv").write_bytes(content.replace(b"PHOTOS", os.fsencode(reviewed.sources[0].parent)))
    found = dict(zip(reviewed.names, sort_by_verdict(reviewed, read_verdicts(tmp_path / "verdicts.csv")), strict=True))
    assert found == dict(ROWS)


@pytest.mark.case(34)
def test_verdicts_on_no_image_are_named(reviewed):
    verdicts = [Verdict(name if k < 2 else f"x{name}", kind) for k, (name, kind) in enumerate(ROWS)]
    expected = r"4 of 6 verdicts are on none of the 6 images: xf_5\.png, xsub/.* Of these 1 are bad"
    with pytest.warns(UserWarning, match=expected):
        assert sort_by_verdict(reviewed, verdicts).count("bad") == 1


@pytest.mark.case(34)
@pytest.mark.parametrize("order", [1, -1])
def test_an_exact_name_counts_before_others(reviewed, silent, order):
    verdicts = [Verdict("e_4.png", "bad"), Verdict("E_4.PNG", "good")][::order]
    assert sort_by_verdict(reviewed, verdicts)[reviewed.names.index("e_4.png")] == "bad"


@pytest.mark.case(34)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("image,verdict\na.png,OK\n", "line 2: the verdict on 'a.png' must be one of good, bad, unsure, got 'ok'"),
        ("image,verdict\na.png,good\ntotal,6\n", "line 3: the verdict on 'total' must be"),
        (f"image,verdict\na.png,good\n{'b' * 131_073},bad\n", "line 3: field larger than field limit"),
    ],
)
def test_rows_that_are_no_verdict_are_refused_by_line(tmp_path, content, words):
    (tmp_path / "verdicts.csv").write_text(content)
    with pytest.raises(ValueError, match=words):
        read_verdicts(tmp_path / "verdicts.csv")


# ---- slips on the command line


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, photos("photos", range(4)))
    shutil.make_archive("photos", "zip", tmp_path, "photos")
    Path("list.txt").write_text("photos/000.png\n")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.case(56)
@pytest.mark.parametrize("photos", ["photos", "photos/*.png", "phot[o]s", "photos/000.png photos/00[1-3].png"])
def test_inspect_takes_what_score_takes(given, photos):
    done = run("inspect", *photos.split())
    assert done.exit_code == 0, done.output
    assert done.output.startswith("4 images, 64 x 48 pixels")


@pytest.mark.case(56)
@pytest.mark.parametrize("command", [["inspect"], ["score", "-o", "out"]])
@pytest.mark.parametrize(
    ("photos", "words"),
    [
        ("photos.zip", "photos.zip: it is no image: unpack this archive and give the folder"),
        ("list.txt", "list.txt: it is no image: give a folder of images, image files, or a pattern"),
        ("gone/*.png", "nothing matches gone/*.png"),
        ("~nosuchuser/photos", "~nosuchuser/photos: no home folder is known"),
    ],
)
def test_what_is_no_folder_of_images_is_refused(given, command, photos, words):
    done = run(*command, photos)
    assert done.exit_code == 1
    assert words in done.output
    assert "Traceback" not in done.output


@pytest.mark.case(45)
def test_many_small_files_are_inspected_soon(tmp_path):
    for i in range(600):
        save(tmp_path, {f"tray_{i // 100}/{i:03d}.png": photo(i)[:24, :24] * np.uint8(i not in (77, 210))})
    start = time.perf_counter()
    done = run("inspect", tmp_path)
    assert done.output.startswith("600 images, 24 x 24 pixels")
    assert "tray_0/077.png" in done.output
    assert "tray_2/210.png" in done.output
    assert time.perf_counter() - start < 20


@pytest.mark.case(56)
def test_more_patches_than_pixels_are_refused(given):
    images = load_folder("photos")
    with pytest.raises(
        ValueError, match=r"64 x 48 pixels.* too few for 30 x 40 tiles of 16 x 16.* at most 3 x 3 tiles"
    ):
        View(224, tiles=40).resolve(images, 14, 224)
    assert View(224, tiles=3).resolve(images, 14, 224).tiles == (2, 3)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--groups", 99, "6 groups at most, 0 to 5, got 99"),
        ("--classes", 99999, "4 images hold at most as many kinds of defect"),
        ("--r", 99, "an image has 2 x 2: all patches would become the same"),
    ],
)
def test_numbers_that_no_batch_can_have_are_refused_at_once(given, option, value, words):
    start = time.perf_counter()
    done = run("score", "photos", "-o", "out", "--image-size", 28, option, value)
    assert done.exit_code == 1
    assert words in done.output
    assert time.perf_counter() - start < 30


def test_a_neighborhood_may_reach_over_the_whole_image(given, silent):
    assert len(MuSc(image_size=28, r=(1, 5)).fit("photos").image_scores_) == 4
