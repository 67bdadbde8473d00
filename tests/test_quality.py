"""A look before scoring finds what is unusual, and nothing where nothing is."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import SHARED
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from musc_lite import ImageReadError, contact_sheet, from_arrays, inspect_images, load_folder, planted_textures
from musc_lite.cli import app
from musc_lite.data.quality import remarks_on_sizes

TEXTURES = ("brick", "grass", "gravel")


@pytest.fixture(scope="module")
def textures():
    """Sixteen pictures of each texture."""
    return {name: list(planted_textures(name, 16, 4)) for name in TEXTURES}


def blurred(image):
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / 80))


def scaled(factor):
    return lambda image: image.point(lambda value: min(255, round(value * factor)))


CHANGES = {
    "blurred": blurred,
    "dark": scaled(0.35),
    "bright": lambda image: image.point(lambda value: min(255, 90 + round(value * 1.1))),
    "gray": lambda image: image.convert("L").convert("RGB"),
    "turned": lambda image: image.crop((0, 0, 120, 150)),
    "shape": lambda image: image.crop((0, 0, 224, 112)),
    "size": lambda image: image.resize((90, 68)),
}


def kinds(inspection):
    return [remark.kind for remark in inspection.remarks]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", TEXTURES)
def test_nothing_is_remarked_on_clean_textures(name, seed):
    found = inspect_images(planted_textures(name, seed=seed))
    assert found.remarks == []
    assert str(found).startswith("40 images, 224 x 224 pixels\nNothing is unusual")
    assert (found.n_images, found.median_size) == (40, (224, 224))


@pytest.mark.parametrize("name", TEXTURES)
@pytest.mark.parametrize("kind", CHANGES)
def test_each_kind_is_found_by_name(textures, name, kind):
    images = textures[name]
    if kind in ("turned", "shape", "size"):
        images = [image.crop((0, 0, 200, 150)) for image in images]
        images = images if kind != "shape" else [image.resize((224, 180)) for image in images]
    changed = [CHANGES[kind](image) if i in (3, 7) else image for i, image in enumerate(images)]
    found = inspect_images(from_arrays(changed))
    (remark,) = (remark for remark in found.remarks if remark.kind == kind)
    assert remark.names == ["image_003", "image_007"]
    assert remark.text.startswith("2 of 16 images ")
    assert "image_003, image_007; " in remark.text
    assert found.remarks_of(0) == []
    assert kind in found.remarks_of(7)


def test_color_among_gray_ones(textures):
    images = [CHANGES["gray"](image) for image in textures["grass"]]
    images[2] = textures["grass"][2]
    assert [(r.kind, r.names) for r in inspect_images(from_arrays(images)).remarks] == [("color", ["image_002"])]


def test_copies_and_near_copies(textures):
    images = textures["gravel"]
    found = inspect_images(from_arrays([*images, images[5], scaled(0.9)(images[6])]))
    assert [(r.kind, r.names) for r in found.remarks] == [("copy", ["image_016"]), ("near copy", ["image_017"])]
    assert found.duplicates.copy_of[16] == 5
    assert found.duplicates.alike == [(6, 17)]


def test_small_deviations_of_a_steady_batch_are_none(textures):
    """All photos nearly the same: a robust deviation alone would remark on any of them."""
    image = textures["brick"][0]
    images = [scaled(1 + 0.001 * i)(image) for i in range(15)] + [scaled(0.8)(image)]
    assert {*kinds(inspect_images(from_arrays(images)))} <= {"copy", "near copy"}


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_images(textures, n):
    (remark,) = inspect_images(from_arrays(textures["brick"][:n])).remarks
    assert remark.kind == "few"
    assert ("at least 2" if n == 1 else "trust the ranking") in remark.text


def test_tiny_and_flat_images():
    assert {"copy", "few"} <= {
        *kinds(inspect_images(from_arrays([np.zeros((4, 6)), np.zeros((4, 6)), np.ones((1, 1))])))
    }


@pytest.fixture
def folder(tmp_path, textures):
    """Twelve photos by two cameras, one turned by its EXIF, beside a damaged file, another format and an empty file."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(textures["gravel"][:12]):
        exif = Image.Exif()
        exif[271], exif[272] = "Maker", "Old" if i == 4 else "New"
        exif[274] = 6 if i == 8 else 1
        image.crop((0, 0, 200, 160)).save(folder / f"{i}.jpg", exif=exif, quality=92)
    (folder / "cut.jpg").write_bytes((folder / "1.jpg").read_bytes()[:3000])
    (folder / "empty.png").touch()
    (folder / "film.mov").touch()
    return folder


def test_a_folder(folder):
    found = inspect_images(folder)
    assert [(r.kind, r.names) for r in found.remarks] == [
        ("unreadable", ["cut.jpg", "empty.png"]),
        ("left out", ["film.mov"]),
        ("camera", ["4.jpg"]),
        ("turned", ["8.jpg"]),
    ]
    assert found.sizes.tolist() == [[160, 200] if i == 8 else [200, 160] for i in range(12)]
    assert "160 to 200 pixels wide" in str(found)
    assert "Maker New (11), Maker Old (1)" in str(found)


def test_nothing_that_can_be_read(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageReadError, match=r"none of 1 images can be read: .*a\.png cannot be read: it is empty"):
        inspect_images(tmp_path)


@pytest.mark.parametrize("name", ["board", "toy"])
def test_nothing_is_remarked_on_real_photos_and_changed_ones_are_found(name):
    if not (SHARED / "data" / name).is_dir():
        pytest.skip(f"the development data {name} are not here")
    images = [image.resize((600, 400)) for image in load_folder(SHARED / "data" / name)][::2]
    assert inspect_images(from_arrays(images)).remarks == []
    for i, change in enumerate((blurred, scaled(0.4), scaled(1.9)), start=3):
        images[i] = change(images[i])
    found = {remark.kind: remark.names for remark in inspect_images(from_arrays(images)).remarks}
    assert found == {"blurred": ["image_003"], "dark": ["image_004"], "bright": ["image_005"]}


def run(*arguments):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def test_the_command(folder, tmp_path):
    done = run(folder, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "- unreadable: " in done.output
    assert "- left out 1 file: 1 video (take frames out)" in done.output
    assert f"left out {folder / 'film.mov'}" in done.stderr
    with Image.open(tmp_path / "out" / "contact_sheet.jpg") as sheet:
        assert sheet.format == "JPEG"
        assert sheet.width > 1000


def test_the_command_takes_what_score_takes(folder, tmp_path):
    assert run(folder / "1.jpg", folder / "2.jpg").exit_code == 0
    assert not (tmp_path / "out").exists()
    inside = run(folder, "-o", folder / "out")
    assert inside.exit_code == 1
    assert "lies inside of" in inside.output
    missing = run(tmp_path / "none")
    assert missing.exit_code == 1
    assert "musc-lite: error: " in missing.output


def test_the_command_needs_no_torch(folder):
    command = ["inspect", str(folder), "-o", str(folder.parent / "out")]
    program = f"import sys; from musc_lite.cli import app\ntry: app({command})\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.endswith("contact_sheet.jpg\nFalse\n"), done.stderr


def test_another_shape_is_not_called_turned():
    sizes = np.array([[60, 40]] * 9 + [[40, 60], [35, 40]])
    assert [(r.kind, r.names) for r in remarks_on_sizes(sizes, list("abcdefghijk"))] == [
        ("turned", ["j"]),
        ("shape", ["k"]),
    ]
    assert remarks_on_sizes(np.array([[40, 60]] * 9), list("abcdefghi")) == []


def test_the_contact_sheet_frames_what_was_remarked_on(textures):
    images = [CHANGES["dark"](image) if i == 3 else image for i, image in enumerate(textures["brick"])]
    found = inspect_images(from_arrays(images))
    sheet = np.asarray(contact_sheet(found, columns=4)).astype(int)
    is_frame = abs(sheet - (0xD5, 0x5E, 0x00)).sum(axis=2) == 0
    rows, columns = np.nonzero(is_frame)
    assert rows.max() < sheet.shape[0] / 4  # the first row's
    assert columns.min() > sheet.shape[1] * 3 / 4 - 10  # last picture
    assert contact_sheet(found, max_images=2).width < contact_sheet(found).width
    with pytest.raises(ValueError, match="must be at least 1"):
        contact_sheet(found, max_images=0)
