"""What a photo is: bit depth, color, orientation, files that are whole but unusual, containers of Python."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from inputs_photos import (
    centikelvin,
    colors_in_srgb_and_wide,
    deep_png,
    encoded,
    exif_turned,
    pattern,
    preview_first,
    twelve_bits,
    wide_profile,
)
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from musc_lite import Detector, NearestScorer, View, from_arrays, inspect_images, load_folder
from musc_lite.cli import app
from musc_lite.data.decode import read_image, read_mask, read_size
from musc_lite.data.file_hashes import Digests
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import as_image_set
from musc_lite.data.pixels import Scale, range_of, scale_of
from musc_lite.monitoring.watch import watch_folder
from musc_lite.stages.features import extract_features
from musc_lite.utils.errors import ImageReadError

pytestmark = pytest.mark.filterwarnings("ignore:.*nearly the same", "ignore:.*UserWarning")


def gray(image):
    return np.asarray(image)[..., 0].astype(int)


def detector(size=112, **options):
    return Detector(view=View(size), scorer=NearestScorer(), layers=[8], **options)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def write_all(folder, make, ending, n=12, defective=()):
    for i in range(n):
        pixels = make(i, i in defective)
        path = folder / f"{i:02d}.{ending}"
        if ending == "png":
            Image.fromarray(pixels).save(path)
        else:
            tifffile.imwrite(path, pixels)


# ---- bit depth


@pytest.mark.case(1)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_twelve_bits_in_files_of_sixteen(folder, ending):
    write_all(folder, twelve_bits, ending, defective=(4, 9))
    images = load_folder(folder)
    expected = np.rint(twelve_bits(3) / 4095 * 255).astype(int)
    np.testing.assert_array_equal(gray(images[3]), expected)
    assert len(np.unique(gray(images[3]))) > 100
    assert "16-bit images use 12 bits: scaled by 4095" in str(inspect_images(folder))


@pytest.mark.case(1)
def test_two_faint_scratches_in_twelve_bits_rank_first(folder, backbone):
    write_all(folder, twelve_bits, "png", defective=(4, 9))
    fitted = detector(192 // 14 * 14, backbone=backbone).fit(load_folder(folder))
    assert set(np.argsort(-fitted.image_scores_)[:2].tolist()) == {4, 9}
    assert fitted.provenance()["bit depth"] == "16-bit images use 12 bits: scaled by 4095"


@pytest.mark.case(2)
def test_a_hot_spot_in_two_percent_of_the_range_ranks_first(folder, backbone, tmp_path):
    write_all(folder, centikelvin, "tif", defective=(7,))
    fitted = detector(backbone=backbone).fit(load_folder(folder))
    assert np.argmax(fitted.image_scores_) == 7
    scale = fitted.scales_["uint16"]
    assert 29_600 < scale.low < 29_700
    assert 29_950 < scale.high < 30_100

    fitted.save(tmp_path / "saved.musc")
    again = Detector.load(tmp_path / "saved.musc", backbone)
    assert again.scales_ == fitted.scales_
    np.testing.assert_array_equal(np.asarray(again.images_[7]), np.asarray(fitted.images_[7]))
    one = again.score_images(from_arrays([centikelvin(7, True)]))  # one photo alone would have another scale
    np.testing.assert_array_equal(np.asarray(one.images[0]), np.asarray(fitted.images_[7]))
    with pytest.warns(UserWarning, match="1 of 1 images: values beyond .* are clipped"):
        again.score_images(from_arrays([centikelvin(20) + 200]))


def test_new_values_of_another_type_are_warned_of(backbone):
    fitted = detector(28, backbone=backbone).fit([pattern(i) for i in range(4)])
    assert fitted.scales_ == {}
    with pytest.warns(UserWarning, match="the fitted batch holds no uint16 values"):
        fitted.score_images([pattern(9).astype(np.uint16) * 16])


def test_files_of_early_versions_keep_their_scale(backbone):
    path = Path(__file__).parents[1] / "data" / "saved_by_0.1.safetensors"
    loaded = Detector.load(path, backbone)
    assert "bit depth" not in loaded.provenance()
    scored = loaded.score_images([np.full((56, 56), 2570, np.uint16)])
    assert gray(scored.images[0])[0, 0] == 10


def test_a_watch_uses_the_fitted_scale_and_says_what_is_clipped(folder, backbone, tmp_path):
    fitted = detector(28, backbone=backbone).fit([centikelvin(i) for i in range(4)])
    fitted.save(tmp_path / "saved.musc")
    tifffile.imwrite(folder / "new.tif", centikelvin(5) + 250)
    rows = watch_folder(tmp_path / "saved.musc", fitted, folder, tmp_path / "out", seconds=0.01)
    row = next(rows)
    rows.close()
    assert row.score is not None
    assert "are clipped" in row.remark


def test_features_are_cached_apart_for_each_scale(folder, backbone, tmp_path):
    write_all(folder, twelve_bits, "png", n=3)
    images = load_folder(folder)
    settings = {"layers": [2], "image_size": 28, "cache_dir": tmp_path / "cache", "progress": False}
    of_twelve = extract_features(images, backbone, **settings)
    of_sixteen = extract_features(images.scaled_as({"uint16": Scale(0, 65535)}), backbone, **settings)
    again = extract_features(load_folder(folder), backbone, **settings)
    assert not np.allclose(of_twelve.patch_tokens, of_sixteen.patch_tokens)
    assert np.array_equal(of_twelve.patch_tokens, again.patch_tokens)
    names = sorted(path.name for path in (tmp_path / "cache").rglob("*.safetensors"))
    assert len(names) == 6
    assert sum(len(name) == 64 + len(".safetensors") for name in names) == 3  # 65535 is what it always was


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "big-endian TIFF"])
def test_color_of_twelve_bits(tmp_path, kind):
    """Pillow keeps the upper 8 of 16 bits of a color image."""
    values = np.random.default_rng(0).integers(0, 4096, (20, 30, 3)).astype(np.uint16)
    values[0, 0] = 4095
    path = tmp_path / f"a.{kind[-4:].strip().lower()}"
    if kind == "PNG":
        path.write_bytes(deep_png(values))
    else:
        tifffile.imwrite(path, values, photometric="rgb", byteorder=">" if kind.startswith("big") else "<")
    np.testing.assert_array_equal(np.asarray(read_image(path)), np.rint(values / 4095 * 255))


@pytest.mark.parametrize(("bits", "high", "white"), [(12, 2000, 4095), (None, 2000, 2047), (12, 60_000, 65_535)])
def test_bits_that_a_png_declares(tmp_path, bits, high, white):
    """Values that need more bits than the file declares were spread over all 16, as the format wants it."""
    (tmp_path / "a.png").write_bytes(deep_png(np.array([[0, high]]), bits))
    assert gray(read_image(tmp_path / "a.png")).tolist() == [[0, round(high / white * 255)]]


def test_bits_that_a_tiff_declares(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 2000]], np.uint16), extratags=[(281, "H", 1, 4095, True)])
    assert gray(read_image(tmp_path / "a.tif")).tolist() == [[0, round(2000 / 4095 * 255)]]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0, 1], Scale(0, 1)),
        ([0, 200], Scale(0, 255)),
        ([100, 120], Scale(0, 255)),  # nothing is lost in 8 bits
        ([0, 1023], Scale(0, 1023)),
        ([300, 65_000], Scale(0, 65_535)),
        ([40_000, 40_100], Scale(40_000, 40_255)),  # no step of the camera becomes more than a gray level
        ([500, 500], Scale(0, 511)),
    ],
)
def test_scales_of_integers(values, scale):
    assert scale_of([range_of(np.array([values], np.uint16))]) == scale


def test_a_dead_pixel_does_not_set_the_scale():
    values = np.full((100, 200), 2000, np.uint16)
    values[::2] = 3000
    values[5, 5] = 65_535
    assert scale_of([range_of(values)]) == Scale(0, 4095)


def test_arrays_get_one_scale_for_the_batch():
    for dtype in (np.uint16, np.int32, np.float32):
        images = from_arrays([np.full((4, 4), value, dtype) for value in (1000, 4000)])
        assert [gray(image)[0, 0] for image in images] == [round(1000 / 4095 * 255), round(4000 / 4095 * 255)]
        assert [gray(image)[0, 0] for image in images.subset([0])] == [round(1000 / 4095 * 255)]
    black_and_white = from_arrays([np.eye(4, dtype=np.uint8), np.zeros((4, 4), np.uint8)])
    assert np.unique(gray(black_and_white[0])).tolist() == [0, 255]
    dark = from_arrays([np.eye(4, dtype=np.uint8), np.full((4, 4), 9, np.uint8)])
    assert np.unique(gray(dark[0])).tolist() == [0, 1]


def test_floats_of_another_unit_than_the_fitted_ones_are_refused():
    images = from_arrays([np.full((4, 4), 0.5)])
    with pytest.raises(ValueError, match="floats from 0 to 1, those of the fitted batch run from 0 to 1023"):
        images.scaled_as({"float": Scale(0, 1023)})


@pytest.mark.case(4)
def test_signed_sixteen_bits(folder):
    for i in range(3):
        tifffile.imwrite(folder / f"{i}.tif", (pattern(i).astype(np.int16) - 100) * 10)
    expected = np.rint(((pattern(1).astype(int) - 100) * 10 + 1024) / 2047 * 255)
    np.testing.assert_array_equal(gray(load_folder(folder)[1]), expected)


@pytest.mark.case(43)
def test_signed_eight_bits_keep_their_order(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[-72, -1, 0, 73]], np.int8))
    assert gray(read_image(tmp_path / "a.tif")).tolist() == [[56, 127, 128, 201]]


@pytest.mark.case(5)
def test_height_maps_with_holes(folder):
    for i in range(3):
        height = pattern(i).astype(np.float32) * 3
        height[:, :3] = np.nan
        tifffile.imwrite(folder / f"{i}.tif", height)
    found = inspect_images(folder)
    assert found.n_images == 3
    remark = next(remark for remark in found.remarks if remark.kind == "reading")
    assert "3 of 3 images: NaN or infinite values are read as black: fill them before" in str(remark)
    seen = gray(found.images[1])
    assert (seen[:, :3] == 0).all()
    np.testing.assert_array_equal(seen[:, 3:], np.rint(pattern(1)[:, 3:].astype(int) * 3 / 1023 * 255))


# ---- what people see


@pytest.mark.case(6)
def test_alpha_that_is_zero_everywhere_is_ignored(folder):
    for i in range(3):
        pixels = np.dstack([pattern(i)] * 3 + [np.zeros_like(pattern(i))])
        Image.fromarray(pixels).save(folder / f"{i}.png")
    found = inspect_images(folder)
    np.testing.assert_array_equal(gray(found.images[1]), pattern(1))
    assert "3 of 3 images: alpha is 0 everywhere and is ignored" in str(found)


@pytest.mark.case(8)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_photo_is_read_and_not_its_preview(tmp_path, dtype):
    photo = pattern().astype(dtype) * (257 if dtype == np.uint16 else 1)
    photo[0, 0] = np.iinfo(dtype).max if dtype != np.float32 else 255
    preview_first(tmp_path / "a.tif", photo)
    assert read_size(tmp_path / "a.tif") == pattern().shape[::-1]
    np.testing.assert_array_equal(gray(read_image(tmp_path / "a.tif"))[1:], pattern()[1:])
    assert read_mask(tmp_path / "a.tif").shape == pattern().shape


@pytest.mark.case(9)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "PNG with alpha", "TIFF of 16 bits"])
def test_colors_of_a_wide_profile_become_srgb(tmp_path, kind):
    srgb, wide = (np.repeat(np.repeat(colors, 8, 0), 8, 1) for colors in colors_in_srgb_and_wide())
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    pixels = np.dstack([wide, np.full(wide.shape[:2], 255, np.uint8)]) if "alpha" in kind else wide
    if "16" in kind:
        pixels = pixels.astype(np.uint16) * 257
        tifffile.imwrite(tmp_path / "a", pixels, photometric="rgb", iccprofile=wide_profile())
    else:
        Image.fromarray(pixels).save(tmp_path / "a", kind.split()[0], icc_profile=wide_profile(), **options)
    assert abs(np.asarray(read_image(tmp_path / "a")).astype(int) - srgb).mean() < 2


def test_an_srgb_profile_changes_nothing_and_a_damaged_one_costs_a_remark(folder):
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    color = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    for name, profile in (("srgb", srgb), ("cut", wide_profile()[:200]), ("text", b"no profile")):
        Image.fromarray(color).save(folder / f"{name}.png", icc_profile=profile)
    images = load_folder(folder)
    for image in images:
        np.testing.assert_array_equal(np.asarray(image), color)
    assert [names for text, names in images.remarks() if "ICC profile is ignored" in text] == [["cut.png", "text.png"]]


@pytest.mark.case(10)
@pytest.mark.parametrize("cut", [1, 2])
def test_a_jpeg_without_its_end(tmp_path, cut):
    data = encoded(pattern(), "JPEG", quality=90)
    (tmp_path / "whole.jpg").write_bytes(data)
    (tmp_path / "cut.jpg").write_bytes(data[:-cut])
    np.testing.assert_array_equal(gray(read_image(tmp_path / "cut.jpg")), gray(read_image(tmp_path / "whole.jpg")))


@pytest.mark.case(10)
@pytest.mark.parametrize("cut", [6, 40, 600])
def test_a_jpeg_of_which_pixels_are_missing_is_refused(tmp_path, cut):
    (tmp_path / "cut.jpg").write_bytes(encoded(pattern(), "JPEG", quality=90)[:-cut])
    with pytest.raises(ImageReadError, match="truncated"):
        read_image(tmp_path / "cut.jpg")


@pytest.mark.case(11)
@pytest.mark.parametrize("kind", ["rational", "text", "shorts"])
@pytest.mark.filterwarnings("ignore:Metadata Warning")
def test_a_damaged_exif_entry_does_not_matter(tmp_path, kind):
    (tmp_path / "a.jpg").write_bytes(encoded(pattern(), "JPEG", quality=95, exif=exif_turned(kind)))
    assert read_size(tmp_path / "a.jpg") == pattern().shape
    image = read_image(tmp_path / "a.jpg")
    assert abs(gray(image) - np.rot90(pattern(), -1)).mean() < 3
    assert image.getexif().get(274, 1) == 1


@pytest.mark.case(12)
@pytest.mark.parametrize("kind", ["text", "profile", "late text"])
def test_a_png_with_a_long_text(tmp_path, kind):
    info = PngImagePlugin.PngInfo()
    if kind != "profile":
        info.add_text("recipe", "step; " * 350_000, zip=True)
    Image.fromarray(pattern()).save(
        tmp_path / "a.png", pnginfo=info, icc_profile=bytes(1_500_000) if kind == "profile" else None
    )
    if kind == "late text":  # behind the pixels
        data = (tmp_path / "a.png").read_bytes()
        at = data.index(b"zTXt") - 4
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        (tmp_path / "a.png").write_bytes(data[:at] + data[end:-12] + data[at:end] + data[-12:])
    assert read_size(tmp_path / "a.png") == pattern().shape[::-1]
    np.testing.assert_array_equal(gray(read_image(tmp_path / "a.png")), pattern())


@pytest.mark.case(13)
def test_images_are_found_by_content_and_others_are_counted(folder):
    kinds = {"a.png": "PNG", "b.jfif": "JPEG", "c.jpe": "JPEG", "d.dib": "BMP", "e": "JPEG", "f.JPG~": "JPEG"}
    for i, (name, kind) in enumerate(kinds.items()):
        (folder / name).write_bytes(encoded(pattern(i), kind))
    for name in ("g.dcm", "h.exr", "i.pfm", "notes.txt", "README"):
        (folder / name).write_bytes(b"no image here" * 9)
    images = load_folder(folder)
    assert images.names == ["a.png", "b.jfif", "c.jpe", "d.dib", "e"]
    assert [path.name for path, _ in images.skipped] == ["f.JPG~", "g.dcm", "h.exr", "i.pfm"]
    assert "4 files" in str(inspect_images(images))
    assert load_folder([folder / "e", folder / "a.png"]).names == ["a.png", "e"]


@pytest.mark.case(14)
def test_what_a_file_is_in_truth_is_said(folder):
    Image.fromarray(pattern()).save(folder / "ok.jpg")
    Image.fromarray(pattern()).save(folder / "gif.png", "GIF")
    (folder / "page.jpg").write_text("<!DOCTYPE html><html><body>404 not found</body></html>")
    (folder / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123456\n")
    text = str(inspect_images(folder))
    for part in ("it is a GIF image: convert it to PNG", "it is a web page", "a Git LFS pointer"):
        assert part in text


@pytest.mark.case(40)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_line_scan_of_98_megapixels_is_read(tmp_path, monkeypatch):
    """The same in small: 1.1 times the pixels at which Pillow warns."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(pattern().size / 1.1))
    Image.fromarray(pattern()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(gray(read_image(tmp_path / "a.png")), pattern())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pattern().size // 2)
    with pytest.raises(
        ImageReadError, match="more pixels than 3,840: cut it into pieces, or make it smaller"
    ) as caught:
        read_image(tmp_path / "a.png")
    assert "MAX_IMAGE_PIXELS" not in str(caught.value)


# ---- containers of Python


class Dataset:
    """As `torch.utils.data.Dataset`: items by number, and no iterator."""

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return pattern(i)


Dataset.__iter__ = None


@pytest.mark.case(52)
@pytest.mark.parametrize("kind", ["series", "array", "scandir", "open files", "uploads", "bytes", "data set"])
def test_containers_of_images(folder, kind):
    import pandas as pd

    for i in range(3):
        Image.fromarray(pattern(i)).save(folder / f"{i}.png")
    files = sorted(folder.iterdir())
    given = {
        "series": lambda: pd.Series([str(file) for file in files]),
        "array": lambda: np.array([str(file) for file in files]),
        "scandir": lambda: sorted(os.scandir(folder), key=lambda entry: entry.name),
        "open files": lambda: [file.open("rb") for file in files],
        "uploads": lambda: [io.BytesIO(file.read_bytes()) for file in files],
        "bytes": lambda: [file.read_bytes() for file in files],
        "data set": Dataset,
    }[kind]()
    images = as_image_set(given)
    assert len(images) == 3
    np.testing.assert_array_equal(gray(images[2]), pattern(2))


@pytest.mark.case(52)
def test_what_is_no_list_of_images_says_what_to_write(tmp_path):
    import pandas as pd

    with pytest.raises(ValueError, match=r"give one column, such as table\['path'\]"):
        as_image_set(pd.DataFrame({"path": ["a.png"]}))
    with pytest.raises(ValueError, match=r"list\(images\.values\(\)\)"):
        as_image_set({"a": pattern()})
    with pytest.raises(ImageReadError, match=r"image 0 cannot be decoded: it is not a PNG"):
        as_image_set([io.BytesIO(b"text" * 9)])


@pytest.mark.case(59)
def test_kinds_of_tiff(tmp_path):
    g, g16 = pattern(), pattern().astype(np.uint16) * 257
    g16[0, 0] = 65_535
    rgb = np.dstack([g] * 3)
    kinds = {
        "big-endian": (rgb, {"byteorder": ">", "photometric": "rgb"}),
        "tiled": (rgb, {"tile": (32, 32), "photometric": "rgb"}),
        "planar": (np.moveaxis(rgb, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        "white is 0": (65_535 - g16, {"photometric": "miniswhite"}),
        "float16": ((g / 255).astype(np.float16), {}),
        "float64": (g / 255.0, {}),
        "turned": (np.ascontiguousarray(np.rot90(g16)), {"extratags": [(274, "H", 1, 6, True)]}),
        "zlib": (g, {"compression": "zlib"}),
    }
    for name, (pixels, options) in kinds.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, **options)
        assert abs(gray(read_image(tmp_path / f"{name}.tif")) - g)[1:].max() <= 1, name


# ---- one file, two contents


def test_a_digest_and_its_image_are_of_the_same_bytes(folder, monkeypatch):
    """The file is written anew, in place, between the digest and the pixels."""
    first, second = encoded(pattern(1), "PNG"), encoded(pattern(2), "PNG")
    path = folder / "a.png"
    path.write_bytes(first)
    real = Digests.of_open

    def replaced(self, path, file):
        digest = real(self, path, file)
        if path.read_bytes() == first:
            path.write_bytes(second)
        return digest

    monkeypatch.setattr(Digests, "of_open", replaced)
    digest, image = ImageSet([path], ["a.png"]).digest_and_image(0)
    np.testing.assert_array_equal(gray(image), pattern(2))
    assert digest == ImageSet([path], ["a.png"]).digest(0)


def test_a_file_that_always_changes_is_refused(folder, monkeypatch):
    path, real, turn = folder / "a.png", Digests.of_open, iter(range(1, 99))
    path.write_bytes(encoded(pattern(), "PNG"))

    def replaced(self, path, file):
        digest = real(self, path, file)
        path.write_bytes(encoded(pattern(next(turn)), "PNG"))
        return digest

    monkeypatch.setattr(Digests, "of_open", replaced)
    with pytest.raises(ImageReadError, match=r"a\.png cannot be read: it changes while it is read"):
        ImageSet([path], ["a.png"]).digest_and_image(0)


def test_features_are_not_cached_for_a_file_that_was_replaced(folder, backbone, tmp_path, monkeypatch):
    for i in range(2):
        (folder / f"{i}.png").write_bytes(encoded(pattern(i), "PNG"))
    images, real = load_folder(folder), ImageSet.cache_key

    def replaced(self, i):
        key = real(self, i)
        (folder / f"{i}.png").write_bytes(encoded(pattern(i + 5), "PNG"))
        return key

    monkeypatch.setattr(ImageSet, "cache_key", replaced)
    with pytest.raises(ImageReadError, match=r"0\.png was replaced while the batch was read: run it again"):
        extract_features(images, backbone, layers=[2], image_size=28, cache_dir=tmp_path / "c", progress=False)
    assert not list((tmp_path / "c").rglob("*.safetensors"))


@pytest.mark.case(46)
def test_photos_of_twenty_megapixels_say_what_a_patch_covers(tmp_path):
    y, x = np.mgrid[:3648, :5472].astype(np.float32)
    picture = Image.fromarray((128 + 40 * np.sin(x / 230) * np.cos(y / 190)).astype(np.uint8))
    (tmp_path / "photos").mkdir()
    for i in range(2):
        picture.rotate(i).save(tmp_path / "photos" / f"{i}.jpg", quality=50)
    command = ["score", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--layers", "2", "--r", "1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "A patch covers 342 x 228 pixels of your photos (5472 x 3648)" in done.output
