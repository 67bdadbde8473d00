import hashlib
import os
import pickle
import sys
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from musc_lite.data import pixels as pixels_module
from musc_lite.data.arrays import from_arrays
from musc_lite.data.decode import count_pages, read_image, read_mask, read_size
from musc_lite.data.image_set import ImageSet
from musc_lite.detector.detector import as_image_set
from musc_lite.utils.errors import ImageReadError

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY16 = np.array([[0, 257, 40000], [65535, 128, 129]], dtype=np.uint16)
GRAY16_AS_8 = np.array([[0, 1, 156], [255, 0, 1]], dtype=np.uint8)  # round(value / 257)
EXTENSIONS = ["png", "jpg", "bmp", "tif", "webp", "heic"]
PHOTOMETRIC = {2: "minisblack", 3: "rgb"}
TURN_RIGHT = 6  # EXIF: turn the stored image 90 degrees clockwise to see it upright


def pixels(image):
    assert image.mode == "RGB"
    return np.asarray(image)


def stacked(gray):
    return np.repeat(gray[..., None], 3, axis=2)


def encoded(extension, array=COLOR, **options):
    stream = BytesIO()
    if extension == "heic":
        pillow_heif.from_pillow(Image.fromarray(array)).save(stream, **options)
    else:
        Image.fromarray(array).save(stream, {"jpg": "jpeg", "tif": "tiff"}.get(extension, extension), **options)
    return stream.getvalue()


def save(path, data):
    path.write_bytes(data)
    return path


# ---- reading: formats and modes


@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "webp"])
def test_lossless_files_keep_every_pixel(tmp_path, extension):
    options = {"lossless": True} if extension == "webp" else {}
    path = save(tmp_path / f"a.{extension}", encoded(extension, **options))
    np.testing.assert_array_equal(pixels(read_image(path)), COLOR)


@pytest.mark.parametrize("array", [np.full((16, 16, 3), (200, 30, 90), np.uint8), np.full((16, 16), 77, np.uint8)])
def test_jpeg_keeps_flat_colors(tmp_path, array):
    path = save(tmp_path / "a.jpg", encoded("jpg", array, quality=95))
    expected = array if array.ndim == 3 else stacked(array)
    np.testing.assert_allclose(pixels(read_image(path)).astype(int), expected, atol=3)


@pytest.mark.parametrize("extension", ["png", "bmp", "tif"])
def test_gray_becomes_three_equal_channels(tmp_path, extension):
    path = save(tmp_path / f"a.{extension}", encoded(extension, GRAY))
    np.testing.assert_array_equal(pixels(read_image(path)), stacked(GRAY))


@pytest.mark.parametrize("extension", ["png", "bmp", "tif"])
def test_one_bit_becomes_black_and_white(tmp_path, extension):
    path = save(tmp_path / f"a.{extension}", encoded(extension, GRAY > 127))
    np.testing.assert_array_equal(pixels(read_image(path)), stacked(np.where(GRAY > 127, 255, 0)))


def test_fax_of_one_bit(tmp_path):
    path = save(tmp_path / "a.tif", encoded("tif", GRAY > 127, compression="group4", tiffinfo={262: 0}))
    np.testing.assert_array_equal(pixels(read_image(path)), stacked(np.where(GRAY > 127, 255, 0)))


def test_palette_becomes_its_colors(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 200, 210, 220])
    image.save(tmp_path / "a.png")
    expected = [[(10, 20, 30), (200, 210, 220)], [(200, 210, 220), (10, 20, 30)]]
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "a.png")), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_laid_over_white(tmp_path, mode):
    image, options = Image.new(mode, (2, 1)), {}
    if mode == "P":
        image.putpalette([0, 0, 0, 50, 50, 50])
        options = {"transparency": 0}
    elif mode == "LA":
        image.putdata([(0, 0), (50, 255)])
    else:
        image.putdata([(0, 0, 0, 0), (50, 50, 50, 255)])
    if mode == "P":
        image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", **options)
    assert pixels(read_image(tmp_path / "a.png")).tolist() == [[[255] * 3, [50] * 3]]


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (1, 1), (0, 0, 0, 128)).save(tmp_path / "a.webp", lossless=True)
    assert read_image(tmp_path / "a.webp").getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("extension", ["tif", "jpg"])
def test_cmyk_becomes_rgb(tmp_path, extension):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / f"a.{extension}")
    np.testing.assert_allclose(read_image(tmp_path / f"a.{extension}").getpixel((4, 4)), (255, 0, 0), atol=3)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_16_bit_gray_is_scaled_not_clipped(tmp_path, extension):
    path = save(tmp_path / f"a.{extension}", encoded(extension, GRAY16))
    np.testing.assert_array_equal(pixels(read_image(path)), stacked(GRAY16_AS_8))


@pytest.mark.parametrize(
    "options",
    [
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"dtype": np.int32},
        {"dtype": np.uint32},
        {"photometric": "miniswhite"},
    ],
    ids=str,
)
def test_16_bit_gray_tiffs_of_all_kinds(tmp_path, options):
    options = dict(options)
    stored = GRAY16.astype(options.pop("dtype", np.uint16))
    if options.get("photometric") == "miniswhite":
        stored = 65535 - stored
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "a.tif")), stacked(GRAY16_AS_8))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bit_color_tiff(tmp_path, planar, byteorder):
    stored = COLOR.astype(np.uint16) * 257
    layout = stored if planar == "contig" else np.moveaxis(stored, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", layout, photometric="rgb", planarconfig=planar, byteorder=byteorder)
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "a.tif")), COLOR)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("array", [GRAY, COLOR], ids=["gray", "color"])
def test_float_tiff_from_0_to_1(tmp_path, dtype, array):
    tifffile.imwrite(tmp_path / "a.tif", (array / 255).astype(dtype), photometric=PHOTOMETRIC[array.ndim])
    expected = array if array.ndim == 3 else stacked(array)
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "a.tif")), expected)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0.0, 200.0]], np.float32), [0, 200]),
        (np.array([[np.nan, 0.5, np.inf]], np.float32), [0, 128, 0]),
        (np.array([[-128, 0, 127]], np.int32), [0, 128, 255]),
        (np.array([[0, 2**17 - 1]], np.int32), [0, 255]),
        (np.array([[-128, 0, 127]], np.int8), [0, 128, 255]),
        (np.array([[-1000, 0, 1400]], np.int16), [65, 128, 215]),
    ],
    ids=["float", "nan", "negative", "17 bits", "signed 8 bits", "signed 16 bits"],
)
def test_tiffs_of_other_values_are_scaled_by_the_bits_that_they_use(tmp_path, array, expected):
    tifffile.imwrite(tmp_path / "odd.tif", array)
    assert pixels(read_image(tmp_path / "odd.tif"))[0, :, 0].tolist() == expected


def test_tiff_of_five_channels_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "odd.tif", np.zeros((4, 4, 5), np.uint8), planarconfig="contig")
    assert_refused(tmp_path / "odd.tif", "kind of TIFF is not supported")


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "webp"])
def test_exif_rotation_is_applied(tmp_path, extension):
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8] = 255  # the upper half as stored is the right half when upright
    exif = Image.Exif()
    exif[274] = TURN_RIGHT
    path = save(tmp_path / f"a.{extension}", encoded(extension, stored, exif=exif))
    upright = pixels(read_image(path))
    assert upright.shape == (32, 16, 3)
    assert upright[:, 10:].min() > 200
    assert upright[:, :6].max() < 50
    np.testing.assert_array_equal(read_mask(path), upright[..., 0] > 127)


@pytest.mark.parametrize("orientation", range(9))  # 0 is no orientation, and is ignored
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_the_size_is_that_of_the_upright_image(tmp_path, extension, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    options = {} if extension == "bmp" else {"exif": exif.tobytes() if extension == "heic" else exif}
    path = save(tmp_path / f"a.{extension}", encoded(extension, np.zeros((16, 32, 3), np.uint8), **options))
    assert read_size(path) == ImageSet([path], ["a"]).size(0) == read_image(path).size


@pytest.mark.parametrize("late", [False, True])
def test_the_size_of_a_png_whose_rotation_stands_behind_its_pixels(tmp_path, late):
    exif = Image.Exif()
    exif[274] = TURN_RIGHT
    content = encoded("png", exif=exif)
    at = content.index(b"eXIf") - 4
    length = 12 + int.from_bytes(content[at : at + 4], "big")
    chunk, rest = content[at : at + length], content[:at] + content[at + length :]
    path = save(tmp_path / "a.png", rest[:-12] + chunk + rest[-12:] if late else content)
    assert read_size(path) == read_image(path).size == (5, 7)


@pytest.mark.parametrize("kind", ["16 bits", "planes", "white is 0", "tiles"])
def test_the_size_of_tiffs_that_pillow_does_not_read(tmp_path, kind):
    pixels, options = np.zeros((3, 32, 48), np.uint16), {"photometric": "rgb", "planarconfig": "separate"}
    if kind != "planes":
        pixels = np.zeros((32, 48) if kind == "white is 0" else (32, 48, 3), np.uint16)
        options = {"photometric": "miniswhite" if kind == "white is 0" else "rgb"}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options, **({"tile": (16, 16)} if kind == "tiles" else {}))
    assert read_size(tmp_path / "a.tif") == read_image(tmp_path / "a.tif").size == (48, 32)


def test_the_size_comes_from_the_header_alone(tmp_path):
    path = save(tmp_path / "a.jpg", encoded("jpg", RNG.integers(0, 256, (64, 96, 3), dtype=np.uint8))[:2000])
    assert read_size(path) == (96, 64)
    with pytest.raises(ImageReadError, match="truncated"):
        read_image(path)
    for content, message in [(b"no image at all", "it is not a PNG"), (b"", r"it is empty \(0 bytes\)")]:
        with pytest.raises(ImageReadError, match=message):
            read_size(save(tmp_path / "b.jpg", content))


def test_the_size_of_an_image_that_is_too_large_is_refused(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", encoded("png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ImageReadError, match="more pixels than"):
        read_size(path)


def test_first_frame_of_several(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for extension in ("tif", "webp", "png"):
        path = tmp_path / f"a.{extension}"
        frames[0].save(
            path,
            save_all=True,
            append_images=frames[1:],
            **({"lossless": True} if extension == "webp" else {}),
        )
        assert read_image(path).getpixel((0, 0)) == (255, 0, 0)


def test_phone_photo_that_holds_several_pictures(tmp_path):
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").getpixel((0, 0)), (255, 0, 0), atol=3)


def heic(image, **options):
    stream = BytesIO()
    pillow_heif.from_pillow(image).save(stream, **options)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "sent.jpg"])  # some programs only rename it
def test_photos_of_telephones(tmp_path, name):
    smooth = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
    path = save(
        tmp_path / name, heic(Image.fromarray(np.stack([smooth, smooth[::-1], 2 * smooth], axis=2)), quality=90)
    )
    expected = np.stack([smooth, smooth[::-1], 2 * smooth], axis=2).astype(int)
    np.testing.assert_allclose(pixels(read_image(path)), expected, atol=12)
    np.testing.assert_array_equal(read_mask(path), pixels(read_image(path)).max(axis=2) > 127)


def test_heic_of_other_kinds(tmp_path):
    half = Image.new("RGBA", (64, 48), (255, 0, 0, 0))
    half.paste((255, 0, 0, 255), (32, 0, 64, 48))
    seen = pixels(read_image(save(tmp_path / "a.heic", heic(half))))[:, [5, 60]]
    np.testing.assert_allclose(seen, np.broadcast_to([[255, 255, 255], [255, 0, 0]], seen.shape), atol=6)
    deep = pillow_heif.from_bytes("RGB;16", (64, 48), np.full((48, 64, 3), 40_000, np.uint16).tobytes())
    deep.save(tmp_path / "deep.heic")
    np.testing.assert_allclose(pixels(read_image(tmp_path / "deep.heic")), 156, atol=3)
    tiles = heic(Image.fromarray(np.full((700, 900, 3), 77, np.uint8)), tile_size=256)
    np.testing.assert_allclose(pixels(read_image(save(tmp_path / "tiles.heic", tiles))), 77, atol=3)


@pytest.mark.parametrize("turned", [True, False])
def test_heic_is_turned_upright_once(tmp_path, turned):
    """Telephones write the rotation twice, for the decoder (irot) and as EXIF, which by itself says nothing."""
    stored = np.zeros((64, 128, 3), np.uint8)
    stored[:32] = 255
    exif = Image.Exif()
    exif[274] = TURN_RIGHT
    file, stream = pillow_heif.from_bytes("RGB", (128, 64), stored.tobytes()), BytesIO()
    file.info["exif"] = exif.tobytes()
    file.save(stream)
    data = bytearray(stream.getvalue())
    assert b"Exif" in data
    if not turned:
        data[data.index(b"irot") + 4] = 0  # quarters of a turn
    upright = pixels(read_image(save(tmp_path / "a.heic", data)))
    assert upright.shape[:2] == ((128, 64) if turned else (64, 128))
    bright = upright[:, 40:] if turned else upright[:24]
    dark = upright[:, :24] if turned else upright[40:]
    assert bright.min() > 200
    assert dark.max() < 50


def test_of_several_heic_pictures_the_primary_one_is_read(tmp_path):
    both = pillow_heif.from_pillow(Image.new("RGB", (64, 48), "red"))
    both.add_from_pillow(Image.new("RGB", (48, 64), "blue"))
    both.save(tmp_path / "a.heic", primary_index=1)
    np.testing.assert_allclose(read_image(tmp_path / "a.heic").getpixel((0, 0)), (0, 0, 255), atol=5)


@pytest.mark.parametrize(
    ("at_least", "size"), [(None, (600, 400)), (600, (600, 400)), (150, (300, 200)), (9, (75, 50))]
)
def test_large_jpegs_may_be_read_smaller(tmp_path, at_least, size):
    smooth = Image.fromarray(COLOR).resize((600, 400), Image.Resampling.BICUBIC)
    for mode in ("RGB", "L", "CMYK"):
        smooth.convert(mode).save(tmp_path / "a.jpg", quality=95)
        small = read_image(tmp_path / "a.jpg", at_least)
        assert small.size == size
        whole = read_image(tmp_path / "a.jpg").resize(size, Image.Resampling.BOX)
        np.testing.assert_allclose(pixels(small).astype(int), pixels(whole), atol=12)
    smooth.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", at_least).size == (600, 400)


# ---- reading: what cannot be used


def assert_refused(path, message):
    with pytest.raises(ImageReadError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "on_error='skip'" in str(caught.value)
    with pytest.raises(ImageReadError, match=message):
        read_mask(path)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
def test_truncated_file(tmp_path, extension, part):
    data = encoded(extension, RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    assert_refused(save(tmp_path / f"cut.{extension}", data[: int(len(data) * part)]), "cannot be read")


def test_truncated_tiff_that_only_tifffile_reads(tmp_path):
    stream = BytesIO()
    tifffile.imwrite(stream, RNG.random((64, 64, 3)), photometric="rgb", rowsperstrip=8)
    assert_refused(save(tmp_path / "cut.tif", stream.getvalue()[:-100]), "cannot be read")


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (COLOR / 255, {"photometric": "rgb", "extratags": [(274, "H", 1, TURN_RIGHT, True)]}),
        (np.zeros((4, 5, 7), np.uint16), {"photometric": "separated", "planarconfig": "separate"}),
    ],
    ids=["turned float", "16-bit CMYK in planes"],
)
def test_rare_tiffs_are_refused_rather_than_misread(tmp_path, array, options):
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    assert_refused(tmp_path / "a.tif", "this kind of TIFF is not supported")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_with_fewer_strips_than_rows(tmp_path, dtype, planar):
    layout = np.ones((8, 9, 3) if planar == "contig" else (3, 8, 9), dtype)
    tifffile.imwrite(tmp_path / "a.tif", layout, photometric="rgb", planarconfig=planar)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        tiff.pages[0].tags["ImageLength"].overwrite(800)
    assert_refused(tmp_path / "a.tif", "cannot be read")


def test_empty_file(tmp_path):
    assert_refused(save(tmp_path / "empty.png", b""), "0 bytes")


@pytest.mark.parametrize("data", [b"hello", b"GIF89a" + bytes(50), b"%!PS-Adobe-3.0 EPSF-3.0\n", b"II*\0" + bytes(20)])
def test_file_that_is_no_image(tmp_path, data):
    assert_refused(save(tmp_path / "text.png", data), "cannot be read")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"GIF89a", "it is a GIF image: convert it to PNG"),
        (b"\0\0\0\x20ftypavif", "it is an AVIF image: convert"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "it is a JPEG 2000 image: convert"),
        (b"<!DOCTYPE html><html>404", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a Git LFS pointer.*git lfs pull"),
        (b"text", "not a PNG, JPEG, BMP, TIFF, WEBP image"),
    ],
)
@pytest.mark.parametrize("read", [read_image, read_size])
def test_what_stands_behind_the_name_of_an_image_is_said(tmp_path, start, message, read):
    with pytest.raises(ImageReadError, match=message):
        read(save(tmp_path / "a.png", start + bytes(200)))


def test_folder_with_the_name_of_an_image(tmp_path):
    (tmp_path / "x.png").mkdir()
    assert_refused(tmp_path / "x.png", "it is a folder or a device")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only Unix has named pipes")
@pytest.mark.timeout(20)
def test_named_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    assert_refused(tmp_path / "x.png", "it is a folder or a device")


def test_missing_file(tmp_path):
    assert_refused(tmp_path / "gone.png", "No such file")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root and Windows may read any file")
def test_file_without_permission(tmp_path):
    path = save(tmp_path / "a.png", encoded("png"))
    path.chmod(0)
    assert_refused(path, "Permission denied")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("too_many", [1.5, 3])  # Pillow warns up to twice its limit, then raises
@pytest.mark.parametrize("kind", ["png", "float tif"])
def test_more_pixels_than_the_limit(tmp_path, monkeypatch, too_many, kind):
    path = tmp_path / f"big.{kind[-3:]}"
    if kind == "png":
        path.write_bytes(encoded("png"))
    else:
        tifffile.imwrite(path, COLOR / 255, photometric="rgb")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(5 * 7 / too_many))
    assert_refused(path, "more pixels than .*: cut it into pieces")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    np.testing.assert_array_equal(pixels(read_image(path)), COLOR)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("extension", EXTENSIONS)
@settings(max_examples=50)
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused(tmp_path_factory, extension, data):
    damaged = bytearray(encoded(extension))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = save(tmp_path_factory.getbasetemp() / f"damaged.{extension}", bytes(damaged))
    for read in (read_image, read_mask):
        with suppress(ImageReadError):
            assert np.asarray(read(path)).ndim == (2 if read is read_mask else 3)


# ---- masks


@pytest.mark.parametrize("defect", [1, 255])
@pytest.mark.parametrize("kind", ["L", "P", "RGB", "RGBA", "LA", "1", "I;16"])
def test_masks_count_what_is_not_zero(tmp_path, kind, defect):
    expected = GRAY > 127
    values = expected.astype(np.uint8) * defect
    if kind == "P":
        image = Image.fromarray(values)
        image.putpalette([90, 90, 90] + [0] * 765)  # the palette's colors say nothing: only the index counts
    elif kind == "RGB":
        image = Image.fromarray(np.stack([np.zeros_like(values), values, np.zeros_like(values)], axis=2))
    elif kind in ("RGBA", "LA"):
        image = Image.fromarray(values).convert(kind)  # alpha is 255 everywhere
    elif kind == "1":
        image = Image.fromarray(expected)
    else:
        image = Image.fromarray(values.astype({"L": np.uint8, "I;16": np.uint16}[kind]))
    assert image.mode == kind
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), expected)


def test_cmyk_masks_count_light_not_ink(tmp_path):
    image = Image.new("CMYK", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.save(tmp_path / "mask.tif")
    assert read_mask(tmp_path / "mask.tif").tolist() == [[False, True]]


def test_jpeg_masks_ignore_compression_noise(tmp_path):
    mask = np.zeros((32, 32), np.uint8)
    mask[5:18, 9:21] = 255
    path = save(tmp_path / "mask.jpg", encoded("jpg", mask, quality=70))
    assert ((np.asarray(Image.open(path)) > 0) != (mask > 0)).any(), "there is noise to ignore"
    np.testing.assert_array_equal(read_mask(path), mask > 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_soft_edges_count_above_half(tmp_path, dtype):
    """Masks drawn with anti-aliasing, as those of the magnetic tiles are."""
    full = np.iinfo(dtype).max
    mask = np.array([[0, full // 5, full // 2, full // 2 + 1, full]], dtype=dtype)
    path = save(tmp_path / "mask.png", encoded("png", mask))
    assert read_mask(path).tolist() == [[False, False, False, True, True]]


def test_masks_are_resized_to_the_nearest_pixel():
    mask = np.zeros((4, 8), bool)
    mask[1, 2] = mask[3, 7] = True
    images = from_arrays([np.zeros((4, 8)), np.zeros((4, 8))], masks=[mask, None])
    np.testing.assert_array_equal(images.masks((4, 8)), [mask, np.zeros_like(mask)])
    np.testing.assert_array_equal(images.masks((8, 16))[0], mask.repeat(2, 0).repeat(2, 1))
    dot = np.zeros((9, 9), bool)
    dot[4, 4] = True  # any averaging would lose a single pixel
    assert (
        from_arrays([np.zeros((9, 9))], masks=[dot]).masks(3)[0].tolist() == (np.arange(9).reshape(3, 3) == 4).tolist()
    )
    assert images.masks(3).shape == (2, 3, 3)
    assert images.masks(3).dtype == bool


def test_mask_of_another_size_names_both_files(tmp_path):
    image = save(tmp_path / "a.png", encoded("png"))
    mask = save(tmp_path / "m.png", encoded("png", np.zeros((6, 7), np.uint8)))
    images = ImageSet([image], ["a"], mask_sources=[mask])
    with pytest.raises(ImageReadError, match=r"m\.png has 7 x 6 pixels, its image .*a\.png 7 x 5"):
        images.masks(4)


def test_a_mask_is_read_without_decoding_its_image(tmp_path, monkeypatch):
    images = ImageSet([save(tmp_path / "a.png", encoded("png"))], ["a"], mask_sources=[np.ones((5, 7), bool)])
    monkeypatch.setattr(ImageSet, "__getitem__", None)
    assert images.mask(0).all()
    assert from_arrays([GRAY]).size(0) == (7, 5)


def test_several_masks_of_one_image_are_united(tmp_path):
    parts = [np.zeros((5, 7), np.uint8) for _ in range(3)]
    for value, (part, place) in enumerate(zip(parts, [(0, 0), (4, 6), (0, 0)], strict=True), start=1):
        part[place] = value
    files = [save(tmp_path / f"{i}.png", encoded("png", part)) for i, part in enumerate(parts)]
    images = ImageSet([save(tmp_path / "a.png", encoded("png"))] * 2, ["a", "b"], mask_sources=[files, None])
    np.testing.assert_array_equal(images.mask(0), sum(parts) > 0)
    np.testing.assert_array_equal(images.masks((5, 7)), [sum(parts) > 0, np.zeros((5, 7), bool)])
    np.testing.assert_array_equal(images.subset([1, 0]).mask(1), sum(parts) > 0)
    save(files[1], encoded("png", np.zeros((6, 7), np.uint8)))
    with pytest.raises(ImageReadError, match=r"1\.png has 7 x 6 pixels, its image .*a\.png 7 x 5"):
        images.mask(0)


def test_no_masks_is_none():
    assert from_arrays([GRAY]).masks(4) is None


# ---- from_arrays


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (GRAY, stacked(GRAY)),
        (GRAY[..., None], stacked(GRAY)),
        (COLOR, COLOR),
        (COLOR / 255, COLOR),
        ((COLOR / 255).astype(np.float32), COLOR),
        (COLOR.astype(np.uint16) * 257, COLOR),
        (GRAY16, stacked(GRAY16_AS_8)),
        (GRAY > 127, stacked(np.where(GRAY > 127, 255, 0))),
        (np.dstack([COLOR, np.full((5, 7), 255, np.uint8)]), COLOR),
        (np.dstack([COLOR, np.zeros((5, 7), np.uint8)]), COLOR),  # alpha that is 0 everywhere is padding
        (GRAY.astype(np.int64) * 16, stacked(np.rint(GRAY.astype(int) * 16 / 4095 * 255))),
        (GRAY.astype(np.float32), stacked(GRAY)),
        (np.eye(5, 7, dtype=np.uint8), stacked(np.eye(5, 7) * 255)),
        (np.eye(5, 7, dtype=np.int64), stacked(np.eye(5, 7) * 255)),
        (torch.tensor(COLOR).permute(2, 0, 1), COLOR),
        (torch.tensor(COLOR).permute(2, 0, 1) / 255, COLOR),
        (torch.tensor(GRAY)[None], stacked(GRAY)),
        (torch.tensor(GRAY), stacked(GRAY)),
        (torch.ones(1, 5, 7, dtype=torch.bfloat16, requires_grad=True), np.full((5, 7, 3), 255)),
        (Image.fromarray(COLOR), COLOR),
        (Image.fromarray(GRAY16), stacked(GRAY16_AS_8)),
        (Image.fromarray(GRAY).convert("LA"), stacked(GRAY)),
    ],
)
def test_arrays_of_all_kinds(item, expected):
    np.testing.assert_array_equal(pixels(from_arrays([item])[0]), expected)


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
@settings(max_examples=50)
def test_arrays_come_back_as_they_were(array):
    array[0, 0, :2] = 0, 255  # the whole range is used
    for given_as in (array, array.astype(np.uint16) * 257, array / 255, Image.fromarray(array)):
        np.testing.assert_array_equal(pixels(from_arrays([given_as])[0]), array)


def test_pil_images_are_turned_upright():
    image = Image.fromarray(COLOR)
    image.getexif()[274] = TURN_RIGHT
    np.testing.assert_array_equal(pixels(from_arrays([image])[0]), np.rot90(COLOR, -1))


@pytest.mark.parametrize(
    "batch",
    [np.stack([COLOR, 255 - COLOR]), torch.tensor(np.stack([COLOR, 255 - COLOR])).permute(0, 3, 1, 2)],
)
def test_a_batch_is_a_list_of_images(batch):
    images = from_arrays(batch)
    assert len(images) == 2
    np.testing.assert_array_equal(pixels(images[1]), 255 - COLOR)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (np.array([[np.nan, 0.5]]), "NaN or infinite"),
        (np.array([[np.inf, 0.5]]), "NaN or infinite"),
        (np.zeros((3, 5, 7), np.uint8), r"shape \(3, 5, 7\)"),
        (np.zeros((5, 7, 2), np.uint8), r"shape \(5, 7, 2\)"),
        (np.zeros((0, 7), np.uint8), r"shape \(0, 7\)"),
        (np.zeros(5, np.uint8), r"shape \(5,\)"),
        (np.zeros((5, 7), object), "dtype object"),
        (np.zeros((5, 7), complex), "dtype complex"),
        (torch.zeros(4, 5, 7, 3), r"shape \(4, 5, 7, 3\) .* batch .*for image in batch"),
        ("photo.png", r"'photo\.png' is a path.*load_folder\(\['photo\.png', \.\.\.\]\)"),
        (Path("photo.png"), "'photo.png' is a path"),
        ((GRAY, 1), r"a tuple is not an image: .*for image, label in"),
        ([torch.zeros(3, 5, 7), 1], r"a list is not an image"),
        ({"image": GRAY}, r"a dict is not an image"),
        ((Image.fromarray(GRAY), 1), r"a tuple is not an image"),
        (None, "shape"),
    ],
)
def test_wrong_arrays_are_named(item, message):
    with pytest.raises(ValueError, match=f"image 1: .*{message}"):
        from_arrays([GRAY, item])


@pytest.mark.parametrize(
    "given_as", [GRAY, COLOR, torch.zeros(3, 5, 7), Image.fromarray(COLOR), "folder", Path(), 5, {}]
)
def test_one_thing_is_not_a_list(given_as):
    with pytest.raises(ValueError, match="list of images or one 4-D batch"):
        from_arrays(given_as)


@pytest.mark.parametrize("lazy", [iter, lambda items: (item for item in items), lambda items: map(np.asarray, items)])
def test_images_may_come_one_by_one(lazy):
    for take in (from_arrays, as_image_set):
        images = take(lazy([COLOR, 255 - COLOR]))
        np.testing.assert_array_equal(pixels(images[1]), 255 - COLOR)
        assert images.names == ["image_000", "image_001"]


@pytest.mark.parametrize("lazy", [iter, set, lambda items: map(Path, items)])
def test_paths_may_come_one_by_one(tmp_path, lazy):
    paths = [str(save(tmp_path / f"{i}.png", encoded("png"))) for i in range(3)]
    images = as_image_set(lazy(paths))
    assert sorted(images.names) == paths
    np.testing.assert_array_equal(pixels(images[2]), COLOR)


def test_folders_may_stand_in_a_list_of_paths(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "1.png", encoded("png"))
    last = save(tmp_path / "2.png", encoded("png"))
    assert as_image_set([tmp_path / "b", tmp_path / "a", last]).names == ["2.png", "a/1.png", "b/1.png"]


@pytest.mark.parametrize("given_as", [5, None, COLOR.astype(object), {"a": COLOR}, object()])
def test_other_things_are_no_images(given_as):
    with pytest.raises(ValueError, match="list of images or one 4-D batch"):
        as_image_set(given_as)


@pytest.mark.parametrize("empty", [[], np.zeros((0, 5, 7, 3))])
def test_empty_list(empty):
    with pytest.raises(ValueError, match="no images"):
        from_arrays(empty)


def test_opened_image_whose_file_is_damaged(tmp_path):
    data = encoded("png", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    opened = Image.open(BytesIO(data[: len(data) // 2]))
    with pytest.raises(ImageReadError, match="image 0 cannot be decoded"):
        from_arrays([opened])


DOT = np.eye(5, 7, dtype=bool)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0]}, "1 labels for 2 images"),
        ({"masks": [None] * 3}, "3 masks for 2 images"),
        ({"names": ["a"]}, "1 names for 2 images"),
        ({"labels": [0, 2]}, "0 .normal. and 1"),
        ({"labels": ["0", "1"]}, "0 .normal. and 1"),
        ({"labels": [0, np.nan]}, "0 .normal. and 1"),
        ({"labels": [0, None]}, "0 .normal. and 1"),
        ({"labels": [[0, 1]]}, "flat list"),
        ({"masks": [None, np.zeros((7, 5), bool)]}, r"mask 1 has .*\(7, 5\).*\(5, 7\)"),
        ({"masks": [None, np.zeros((5, 7))]}, "mask 1: .*float64"),
        ({"masks": [None, np.zeros((1, 5, 7), bool)]}, r"mask 1: .*\(1, 5, 7\)"),
        ({"masks": [DOT, None], "labels": [1, 1]}, "image 1 is labeled 1 .* no mask"),
        ({"masks": [DOT, DOT], "labels": [0, 1]}, "image 0 is labeled 0 .* mask marks"),
    ],
    ids=str,
)
def test_labels_masks_and_names_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        from_arrays([GRAY, GRAY], **options)


def test_from_arrays_says_where_labels_are_from():
    assert from_arrays([GRAY, GRAY, GRAY], labels=[0, 1, 0]).labeling == "labels: 2 normal, 1 defective (as given)"
    assert from_arrays([GRAY, GRAY], masks=[None, DOT]).labeling == (
        "labels: 1 normal, 1 defective (where a mask marks anything)"
    )
    assert from_arrays([GRAY]).labeling == ""
    assert ImageSet([], []).labeling == ""


def test_labels_from_masks():
    masks = [None, DOT, DOT.astype(np.uint8) * 3, np.zeros((5, 7), np.uint8), torch.tensor(DOT)]
    images = from_arrays([GRAY] * 5, masks=masks)
    assert images.labels.tolist() == [0, 1, 1, 0, 1]
    np.testing.assert_array_equal(images.masks((5, 7)), np.array([0, 1, 1, 0, 1])[:, None, None] * DOT > 0)


@pytest.mark.parametrize("labels", [[0, 1], (False, True), np.array([0.0, 1.0]), torch.tensor([0, 1])])
def test_labels_are_integers(labels):
    images = from_arrays([GRAY, GRAY], labels=labels)
    assert images.labels.dtype.kind == "i"
    assert images.labels.tolist() == [0, 1]


# ---- the set


def ten_images():
    """Ten 2 x 2 images, image i filled with i; odd ones are defective, each mask marks one of two pixels."""
    masks = [np.array([[i % 4 == 1, i % 4 == 3], [False, False]]) if i % 2 else None for i in range(10)]
    return from_arrays([np.full((2, 2), i, np.uint8) for i in range(10)], np.arange(10) % 2, masks)


@pytest.fixture
def ten():
    return ten_images()


INDICES = st.one_of(
    st.lists(st.integers(-10, 9)),
    st.lists(st.booleans(), min_size=10, max_size=10),
    st.slices(10),
    st.lists(st.booleans(), min_size=10, max_size=10).map(np.array),
    st.lists(st.integers(0, 9)).map(lambda index: np.array(index, dtype=int)),
)


@pytest.mark.parametrize(
    "make",
    [lambda images: images, lambda images: pickle.loads(pickle.dumps(images))],
    ids=["same", "pickled"],
)
@given(index=INDICES)
@settings(max_examples=60)
def test_subset_keeps_images_labels_names_and_masks_together(make, index):
    images = make(ten_images())
    chosen = np.arange(10)[index if isinstance(index, slice) else list(index)]
    subset = images.subset(index)
    assert len(subset) == len(chosen)
    assert [image.getpixel((0, 0))[0] for image in subset] == chosen.tolist()
    assert subset.labels.tolist() == (chosen % 2).tolist()
    assert subset.names == [f"image_{i:03d}" for i in chosen]
    np.testing.assert_array_equal(subset.masks(2), images.masks(2)[chosen])
    assert [subset.digest(i) for i in range(len(subset))] == [images.digest(i) for i in chosen]


@pytest.mark.parametrize("index", [(), (1, 2), range(3), np.array([]), torch.tensor([4, 1])], ids=str)
def test_subset_takes_any_sequence(ten, index):
    assert [image.getpixel((0, 0))[0] for image in ten.subset(index)] == [int(i) for i in index]


def test_subset_outside_the_set(ten):
    for index in ([10], [-11], [True, False], [0.5]):
        with pytest.raises(IndexError):
            ten.subset(index)


def test_indexing_and_iterating(ten):
    assert len(list(ten)) == len(ten) == 10
    assert ten[-1].getpixel((0, 0)) == (9, 9, 9)
    assert ten[np.int64(3)].getpixel((0, 0)) == (3, 3, 3)
    with pytest.raises(IndexError):
        ten[10]
    with pytest.raises(TypeError, match="slice"):
        ten[2:4]


def test_drawing_on_an_image_leaves_the_set_alone(ten):
    ten[0].putpixel((0, 0), (255, 0, 0))
    assert ten[0].getpixel((0, 0)) == (0, 0, 0)


def test_repr_says_what_is_there(ten):
    assert repr(ten) == "ImageSet(10 images: 5 normal, 5 defective; with masks)"
    skipped = [(Path("bad.png"), "it is empty")]
    assert repr(ImageSet([], [], skipped=skipped)) == "ImageSet(0 images; no masks; 1 files skipped)"


def test_whether_there_are_masks_is_known_unread(ten):
    assert ten.has_masks
    assert ImageSet([Path("a.png")], ["a"], mask_sources=[Path("gone.png")]).has_masks
    assert not ImageSet([Path("a.png")], ["a"]).has_masks


def test_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    data = encoded("png")
    paths = [save(tmp_path / name, data) for name in ("a.png", "b.png")]
    images = ImageSet(paths, ["a", "b"], labels=[0, 1])
    assert images.digest(0) == images.digest(1) == hashlib.sha256(data).hexdigest()
    save(paths[1], encoded("png", 255 - COLOR))
    assert images.digest(1) != images.digest(0)
    paths[0].unlink()
    with pytest.raises(ImageReadError, match=r"a\.png"):
        images.digest(0)


def test_digest_of_an_array_tells_pixels_and_sizes_apart():
    images = from_arrays([np.zeros((2, 8)), np.zeros((4, 4)), np.ones((4, 4)), np.zeros((4, 4))], names=list("abcd"))
    digests = [images.digest(i) for i in range(4)]
    assert len(set(digests)) == 3
    assert digests[1] == digests[3]


def test_the_fingerprint_changes_with_everything_that_belongs_to_the_data(tmp_path):
    paths = [save(tmp_path / f"{name}.png", encoded("png")) for name in "abcd"]
    mask = save(tmp_path / "mask.png", encoded("png", 255 - COLOR))
    box = np.eye(4, dtype=bool)

    def fingerprint(sources=paths[:2], names=("a", "b"), labels=(0, 1), masks=(None, mask)):
        return ImageSet(list(sources), list(names), labels, masks).fingerprint()

    assert fingerprint() == fingerprint(paths[2:])  # the same bytes elsewhere
    others = [
        fingerprint(names=("a", "c")),
        fingerprint(labels=None),
        fingerprint(labels=(1, 0)),
        fingerprint(masks=None),
        fingerprint(masks=(mask, None)),
        fingerprint(masks=(None, [mask, paths[0]])),
        fingerprint(masks=(None, box)),
        fingerprint(masks=(None, ~box)),
        fingerprint([paths[0], mask]),
    ]
    assert len({fingerprint(), *others}) == 1 + len(others)
    assert len(fingerprint()) == 64


@pytest.mark.parametrize("kind", ["rgb", "rgba", "la", "p", "gray16", "planes", "float", "int32"])
def test_pixels_do_not_depend_on_how_many_rows_are_converted_at_a_time(tmp_path, monkeypatch, kind):
    path = tmp_path / ("a.tif" if kind in ("planes", "float", "int32") else "a.png")
    wide = RNG.integers(0, 65536, (11, 7, 3)).astype(np.uint16)
    if kind == "planes":
        tifffile.imwrite(path, np.moveaxis(wide, -1, 0), photometric="rgb", planarconfig="separate")
    elif kind == "float":
        tifffile.imwrite(path, wide / 65535, photometric="rgb")
    elif kind == "int32":
        tifffile.imwrite(path, wide[..., 0].astype(np.int32))
    elif kind == "gray16":
        Image.fromarray(wide[..., 0]).save(path)
    else:
        pixels = RNG.integers(0, 256, (11, 7, 4), dtype=np.uint8)
        image = Image.fromarray(pixels).convert({"rgb": "RGB", "la": "LA"}.get(kind, "RGBA"))
        image = image.convert("RGB").quantize(9) if kind == "p" else image
        image.save(path, **({"transparency": 2} if kind == "p" else {}))
    whole = np.asarray(read_image(path)), read_mask(path)
    monkeypatch.setattr(pixels_module, "BAND", 15)  # two rows, the last one alone
    np.testing.assert_array_equal(np.asarray(read_image(path)), whole[0])
    np.testing.assert_array_equal(read_mask(path), whole[1])


def test_phone_photo_with_a_film_behind_it(tmp_path):
    """A motion photo: what follows the picture looks like thousands of scans, and is none."""
    film = b"\xff\xda\0\x08" * 2_000_000
    path = save(tmp_path / "a.jpg", encoded("jpg", np.full((48, 48, 3), 99, np.uint8), progressive=True) + film)
    np.testing.assert_allclose(pixels(read_image(path)), 99, atol=2)


def test_more_memory_than_the_limit_is_told_in_mb(tmp_path, monkeypatch):
    path = save(tmp_path / "a.webp", encoded("webp", np.zeros((500, 500, 3), np.uint8)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300_000)
    assert_refused(path, r"takes 4 MB of memory, more than 3 MB: cut it into pieces")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_image(path).size == (500, 500)


def heic_that_says(size, width, height):
    """Write a HEIC of one color whose header gives another size."""
    data = bytearray(heic(Image.new("RGB", size, (9, 99, 199))))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(data)


def test_heic_larger_than_the_limit_is_refused_by_its_header(tmp_path, monkeypatch):
    path = save(tmp_path / "a.heic", heic_that_says((64, 64), 20_000, 20_000))
    assert_refused(path, "more pixels than .*: cut it into pieces")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6_000)
    path = save(tmp_path / "b.heic", heic(Image.new("RGB", (72, 80))))
    assert_refused(path, "takes 0 MB of memory, more than 0 MB")


def test_heic_larger_than_it_says_is_refused(tmp_path):
    assert_refused(save(tmp_path / "a.heic", heic_that_says((2_000, 2_000), 64, 64)), "cannot be read")


@pytest.mark.skipif(not hasattr(os, "truncate"), reason="needs files with holes")
def test_a_heic_larger_than_memory_is_refused_unread(tmp_path):
    path = save(tmp_path / "a.heic", heic(Image.new("RGB", (64, 48))))
    os.truncate(path, 40 * 10**9)
    assert_refused(path, "reading it takes 80,000 MB of memory")


@pytest.mark.parametrize("n_bytes", [-1, -9, -2_000, -9_000, "before mdat"])
def test_a_heic_of_tiles_that_is_cut_short_is_refused(tmp_path, n_bytes):
    """Of the tiles that are missing libheif says nothing: they would be gray."""
    data = heic(Image.fromarray(RNG.integers(0, 256, (300, 300, 3), dtype=np.uint8)), tile_size=128)
    whole = save(tmp_path / "whole.heic", data)
    assert read_image(whole).size == (300, 300)
    cut = data[: data.index(b"mdat") - 4] if n_bytes == "before mdat" else data[:n_bytes]
    assert_refused(save(tmp_path / "cut.heic", cut), "cannot be read")


@pytest.mark.parametrize("behind", [b"\0\0\0\x10mpvd" + bytes(8), b"SEFT" * 9, bytes(20), b"\0"])
def test_what_a_telephone_writes_behind_a_heic_does_not_matter(tmp_path, behind):
    path = save(tmp_path / "a.heic", heic(Image.new("RGB", (300, 300), "red"), tile_size=128) + behind)
    np.testing.assert_allclose(pixels(read_image(path)), np.full((300, 300, 3), (255, 0, 0)), atol=5)


def test_a_film_behind_the_name_of_a_photo(tmp_path):
    assert_refused(save(tmp_path / "a.heic", b"\0\0\0\x18ftypmp42" + bytes(200)), "cannot be read")


def test_heic_without_its_package(tmp_path, monkeypatch):
    path = save(tmp_path / "a.heic", encoded("heic"))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # what Python finds where it is not installed
    assert_refused(path, r"it is a HEIC photo: pip install 'musc-lite\[heic\]' reads it")


def test_reading_heic_leaves_pillow_as_it_is(tmp_path, monkeypatch):
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)  # scikit-image's imageio registers it for itself
    read_image(save(tmp_path / "a.heic", encoded("heic")))
    assert "HEIF" not in Image.OPEN


# ---- pages


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("kind", ["tif", "big tif", "tif by Pillow", "webp"])
def test_pages_are_counted(tmp_path, n, kind):
    path = tmp_path / ("a.webp" if kind == "webp" else "a.tif")
    frames = [Image.new("RGB", (16, 16), (50 * i, 0, 0)) for i in range(n)]
    if kind in ("tif", "big tif"):
        with tifffile.TiffWriter(path, bigtiff=kind == "big tif", byteorder=">" if kind == "big tif" else "<") as file:
            for frame in frames:
                file.write(np.asarray(frame), photometric="rgb")
    else:
        frames[0].save(path, save_all=True, append_images=frames[1:])
    assert count_pages(path) == n


def test_smaller_copies_are_no_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for step in (1, 2, 4):
            file.write(np.zeros((64 // step, 64 // step), np.uint8), subfiletype=1 if step > 1 else 0)
        file.write(np.zeros((64, 64), np.uint8))
    assert count_pages(tmp_path / "a.tif") == 2


TURNS_BACK = b"II*\0\x08\0\0\0" + b"\1\0" + bytes(12) + b"\x08\0\0\0"
FAR_AWAY = b"II+\0\x08\0\0\0" + b"\xff" * 8  # a BigTIFF


@pytest.mark.parametrize(
    "data", [b"", b"II*\0", TURNS_BACK[:8], TURNS_BACK, FAR_AWAY, b"RIFF\xff\0\0\0WEBPVP8X", b"text" * 9]
)
@pytest.mark.timeout(20)
def test_pages_of_damaged_files_are_counted_as_one(tmp_path, data):
    """A directory that leads back to itself does not hold forever."""
    assert count_pages(save(tmp_path / "a.tif", data)) == 1
    assert count_pages(tmp_path / "gone.tif") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only Unix has named pipes")
@pytest.mark.timeout(20)
def test_pages_of_a_named_pipe_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.tif")
    assert count_pages(tmp_path / "x.tif") == 1


def test_files_are_read_only_when_asked_for(tmp_path):
    images = ImageSet([tmp_path / "later.png"], ["later.png"])
    save(tmp_path / "later.png", encoded("png"))
    np.testing.assert_array_equal(pixels(images[0]), COLOR)


def test_fingerprint_of_masks_that_are_arrays_beside_files(tmp_path):
    """A list of masks may hold arrays; it was read as a list of files."""
    Image.new("L", (4, 4)).save(tmp_path / "mask.png")
    image, mask = Image.new("RGB", (4, 4)), np.eye(4, dtype=bool)
    united = ImageSet([image], ["a"], [1], [[tmp_path / "mask.png", mask]])
    other = ImageSet([image], ["a"], [1], [[tmp_path / "mask.png", ~mask]])
    assert united.fingerprint() != other.fingerprint()
    assert united.mask(0).sum() == 4
