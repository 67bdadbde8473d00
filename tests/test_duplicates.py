"""Copies and nearly equal photos are found, and photos that only look alike are not."""

import time
from io import BytesIO

import numpy as np
import pytest
from conftest import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import shift

from musc_lite import from_arrays, load_folder, planted_textures
from musc_lite.data import duplicates
from musc_lite.data.duplicates import find_duplicates, fine_structure, near_duplicates
from musc_lite.data.image_set import ImageSet
from musc_lite.utils.errors import ImageReadError


@pytest.fixture(scope="module")
def photos():
    """Twelve pictures of 3 textures, 160 x 160 pixels."""
    return [image for name in ("brick", "grass", "gravel") for image in planted_textures(name, 4, 1, image_size=160)]


def as_jpeg(image, **options):
    stream = BytesIO()
    image.save(stream, "JPEG", **options)
    return Image.open(stream).convert("RGB")


COPIES = {
    "saved again": lambda image: as_jpeg(image, quality=70),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "half the size, saved again": lambda image: as_jpeg(
        image.resize((image.width // 2, image.height // 2)), quality=70
    ),
    "brighter": lambda image: image.point(lambda value: min(255, value * 1.05)),
    "darker by half": lambda image: image.point(lambda value: value * 0.5),
    "gray": lambda image: image.convert("L").convert("RGB"),
}
OTHERS = {
    "moved": lambda image: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 5, 0, 1, 5)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda image: image.rotate(90),
}


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_near_duplicates(photos, copy):
    n = len(photos)
    images = from_arrays([*photos, *map(COPIES[copy], photos)])
    assert near_duplicates(images) == [(i, i + n) for i in range(n)]


@pytest.mark.parametrize("change", OTHERS)
def test_other_pictures_of_the_same_are_none(photos, change):
    assert near_duplicates(from_arrays([*photos, *map(OTHERS[change], photos)])) == []


def fixed_camera(n, seed):
    """Photograph n boards from one place: the same parts, each a little moved, with noise; all look alike."""
    numbers = np.random.default_rng(seed)
    parts = [(*numbers.integers(10, 170, 2), *numbers.integers(8, 40, 2), numbers.integers(0, 255)) for _ in range(40)]
    photos = []
    for _ in range(n):
        board = np.full((200, 200), 60.0)
        for top, left, height, width, value in parts:
            top, left = top + numbers.integers(-2, 3), left + numbers.integers(-2, 3)
            board[max(0, top) : top + height, max(0, left) : left + width] = value
        photos.append(np.clip(board + numbers.normal(0, 6, board.shape), 0, 255).astype(np.uint8))
    return photos


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_photos_by_a_fixed_camera_are_told_apart_from_copies(seed):
    boards = fixed_camera(6, seed)
    copies = [np.asarray(as_jpeg(Image.fromarray(board), quality=70)) for board in boards]
    assert near_duplicates(from_arrays([*boards, *copies])) == [(i, i + 6) for i in range(6)]


def test_pictures_without_anything_on_them_are_no_duplicates():
    numbers = np.random.default_rng(0)
    flat = [np.full((64, 64), value, np.uint8) for value in (0, 0, 90, 255)]
    shade = [
        np.rint(np.linspace(low, low + 0.9, 64)).astype(np.uint8) * np.ones((64, 1), np.uint8) for low in (90, 120)
    ]
    noise = [numbers.integers(99, 102, (64, 64), dtype=np.uint8) for _ in range(3)]
    assert near_duplicates(from_arrays([*flat, *shade, *noise])) == []


def test_pairs_of_files(tmp_path, photos):
    for name, image in zip(("a", "b", "c"), [photos[0], photos[0], photos[1]], strict=True):
        image.save(tmp_path / f"{name}.png")
        image.save(tmp_path / f"{name}.jpg")
    images = load_folder(tmp_path)
    groups = [[images.names[i] for i in group] for group in near_duplicates(images)]
    assert groups == [["a.jpg", "a.png", "b.jpg", "b.png"], ["c.jpg", "c.png"]]


def test_copies_are_told_from_near_duplicates(photos):
    again = as_jpeg(photos[1], quality=70)
    images = from_arrays([photos[0], photos[1], photos[0], again, photos[0], again])
    found = find_duplicates(images)
    assert found.digests == [images.digest(i) for i in range(6)]
    assert found.copy_of.tolist() == [0, 1, 0, 3, 0, 3]
    assert found.alike == [(1, 3)]  # the copies themselves are in no pair


def test_files_that_are_gone(tmp_path):
    images = ImageSet([tmp_path / "a.png", tmp_path / "b.png"], ["a", "b"])
    for find in (near_duplicates, find_duplicates):
        with pytest.raises(ImageReadError, match=r"a\.png cannot be read: No such file"):
            find(images)


@pytest.mark.parametrize("n", [0, 1])
def test_few_images(n):
    images = ImageSet([Image.new("RGB", (8, 8))] * n, ["a"] * n)
    assert near_duplicates(images) == []
    found = find_duplicates(images)
    assert (found.copy_of.tolist(), found.alike) == ([0] * n, [])


def test_large_photos_are_read_small(tmp_path):
    """A thousand photos of a telephone would otherwise take minutes."""
    numbers = np.random.default_rng(0)
    photo = Image.fromarray(numbers.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((4_000, 3_000))
    photo.save(tmp_path / "a.jpg", quality=90)
    photo.resize((1_000, 750)).save(tmp_path / "b.jpg")
    images = load_folder(tmp_path)
    assert near_duplicates(images) == [(0, 1)]
    assert images[0].size == (4_000, 3_000)

    def seconds(work):
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    # The best of three: a busy machine lets one of them wait.
    whole, small = ([seconds(work) for _ in range(3)] for work in (lambda: images[0], lambda: near_duplicates(images)))
    assert min(small) < min(whole)


def same_print(n, seed, move=0.5, noise=3):
    """Photograph n prints of one pattern: a little moved, in a little other light, each with its own noise."""
    numbers = np.random.default_rng(seed)
    pattern = np.full((180, 180), 200.0)
    for _ in range(40):
        top, left, height, width = *numbers.integers(0, 160, 2), *numbers.integers(4, 40, 2)
        pattern[top : top + height, left : left + width] = numbers.integers(0, 255)
    photos = []
    for _ in range(n):
        moved = shift(pattern, numbers.uniform(-move, move, 2), order=1, mode="nearest")[10:-10, 10:-10]
        light, grain = numbers.uniform(0.97, 1.03), numbers.normal(0, noise, moved.shape)
        photos.append(Image.fromarray(np.clip(light * moved + grain, 0, 255).astype(np.uint8)).convert("RGB"))
    return photos


def test_identical_products_are_no_copies():
    """They correlate up to 0.999, which counted before: 140 solar cells made 254 pairs."""
    prints = [same_print(24, seed) for seed in range(6)]
    assert max(np.triu(fine @ fine.T, 1).max() for fine in [np.stack([*map(fine_structure, prints[0])])]) > 0.99
    found = sum(len(group) for photos in prints for group in near_duplicates(from_arrays(photos)))
    assert found <= 4  # of 144: by chance two are moved by the same fraction of a pixel


def test_a_second_product_is_no_group_of_copies(photos):
    assert near_duplicates(from_arrays([*photos, *same_print(6, 0)])) == []


def test_a_copy_among_identical_products_is_found():
    prints = same_print(24, 3, move=2)
    assert near_duplicates(from_arrays([*prints, as_jpeg(prints[5], quality=95)])) == [(5, 24)]


def test_several_copies_of_a_photo_are_one_group(photos):
    images = from_arrays([*photos, *(COPIES[name](photos[3]) for name in ("saved again", "brighter", "gray"))])
    assert near_duplicates(images) == [(3, 12, 13, 14)]


def test_frames_of_a_still_scene_are_one_group(photos):
    still = same_print(12, 0, move=0, noise=2)
    assert near_duplicates(from_arrays(still)) == [tuple(range(12))]
    assert near_duplicates(from_arrays([*photos, *still])) == [tuple(range(12, 24))]


def test_groups_are_found_across_blocks(photos, monkeypatch):
    images = from_arrays([*photos, *map(COPIES["brighter"], photos)])
    monkeypatch.setattr(duplicates, "BLOCK", 5)
    assert near_duplicates(images) == [(i, i + 12) for i in range(12)]


@pytest.mark.parametrize("name", ["board/test", "toy/test"])
def test_real_photos_that_look_alike_are_no_duplicates(name):
    folder = SHARED / "data" / name
    if not folder.is_dir():
        pytest.skip(f"shared/data/{name} is not there")
    assert near_duplicates(load_folder(folder)) == []
