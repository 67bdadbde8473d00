import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from musc_lite import DataNotFoundError, Features, ImageReadError, extract_features, from_arrays, load_folder
from musc_lite.data.view import ResolvedView


def pictures(n, seed=0, size=40):
    return list(np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8))


@pytest.fixture
def no_backbone(backbone):
    """The same backbone, except that it must not be run."""

    def refuse(batch, layers):
        raise AssertionError("extracted again")

    return dataclasses.replace(backbone, tokens=refuse)


@pytest.fixture
def averages(backbone):
    """The same backbone by name, which gives the mean colors of patches: for tests of what is on disk."""

    def tokens(batch, layers):
        patches = torch.nn.functional.avg_pool2d(batch, 14).flatten(2).mT
        return [patches * (layer + 1) for layer in layers], batch.mean(dim=(2, 3))

    return dataclasses.replace(backbone, tokens=tokens)


def test_shapes_and_unit_class_tokens(backbone):
    features = extract_features(from_arrays(pictures(3)), backbone, layers=[2, 5], image_size=42, batch_size=2)
    assert features.patch_tokens.shape == (3, 2, 9, 384)
    assert features.class_tokens.shape == (3, 384)
    torch.testing.assert_close(features.class_tokens.norm(dim=-1), torch.ones(3))
    assert (features.grid, features.layers, features.image_size) == ((3, 3), (2, 5), 42)
    assert len(features) == 3
    assert "3 images" in repr(features)


def test_images_of_different_sizes(backbone):
    images = from_arrays([*pictures(1, size=30), *pictures(1, size=90), np.zeros((20, 50))])
    assert extract_features(images, backbone, image_size=28).patch_tokens.shape[0] == 3


def test_batch_size_does_not_matter(backbone):
    images = from_arrays(pictures(5))
    one, all_at_once = (extract_features(images, backbone, image_size=42, batch_size=b) for b in (1, 5))
    torch.testing.assert_close(one.patch_tokens, all_at_once.patch_tokens, atol=1e-4, rtol=1e-4)


def test_the_cache_gives_the_same_bits_without_the_backbone(backbone, no_backbone, tmp_path):
    images = from_arrays(pictures(5))
    first = extract_features(images, backbone, image_size=42, cache_dir=tmp_path, batch_size=2)
    second = extract_features(images, no_backbone, image_size=42, cache_dir=tmp_path, batch_size=2)
    assert torch.equal(first.patch_tokens, second.patch_tokens)
    assert torch.equal(first.class_tokens, second.class_tokens)


@pytest.mark.parametrize("change", [{"layers": [1]}, {"image_size": 28}, {"images": from_arrays(pictures(5, seed=1))}])
def test_the_cache_does_not_answer_other_questions(backbone, no_backbone, tmp_path, change):
    asked = {"images": from_arrays(pictures(5)), "image_size": 42}
    extract_features(**asked, backbone=backbone, cache_dir=tmp_path)
    with pytest.raises(AssertionError, match="extracted again"):
        extract_features(**(asked | change), backbone=no_backbone, cache_dir=tmp_path)
    other_weights = dataclasses.replace(no_backbone, weights_sha256="0" * 64)
    with pytest.raises(AssertionError, match="extracted again"):
        extract_features(**asked, backbone=other_weights, cache_dir=tmp_path)


def test_interrupted_and_started_again(backbone, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(from_arrays(pictures(5))):
        image.save(folder / f"{i}.png")
    whole = extract_features(load_folder(folder), backbone, image_size=42, batch_size=2)

    good = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(good[:200])
    cache = tmp_path / "cache"
    with pytest.raises(ImageReadError, match=r"3\.png"):
        extract_features(load_folder(folder), backbone, image_size=42, batch_size=2, cache_dir=cache)
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*.safetensors")}
    assert len(kept) == 2

    (folder / "3.png").write_bytes(good)
    resumed = extract_features(load_folder(folder), backbone, image_size=42, batch_size=2, cache_dir=cache)
    assert torch.equal(resumed.patch_tokens, whole.patch_tokens)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())  # not written again
    assert not list(cache.rglob("*.partial"))


def flip_a_bit(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def reshape_in_the_header(path):
    """Two sizes change places: as many numbers, in another order."""
    data = path.read_bytes()
    changed = re.sub(rb'"shape":\[(\d+),(\d+),(\d+)\]', rb'"shape":[\2,\1,\3]', data)
    assert changed != data
    path.write_bytes(changed)


DAMAGE = {
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a bit in the middle": lambda path: flip_a_bit(path, path.stat().st_size // 2),
    "the last bit": lambda path: flip_a_bit(path, -1),
    "another shape": reshape_in_the_header,
    "more behind it": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "without a checksum": lambda path: save_file(load_file(path), path),
    "another image's": lambda path: shutil.copy(next(p for p in path.parent.glob("*.safe*") if p != path), path),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", [kind for kind in DAMAGE if kind != "a folder"])
def test_a_damaged_cache_file_is_warned_of_and_extracted_again(averages, no_backbone, tmp_path, damage):
    asked = {"images": from_arrays(pictures(3)), "image_size": 42, "cache_dir": tmp_path, "batch_size": 2}
    first = extract_features(**asked, backbone=averages)
    path = min(tmp_path.rglob("*.safetensors"))
    DAMAGE[damage](path)
    with pytest.warns(UserWarning, match=rf"1 files of the cache were made again: .*{path.name}"):
        second = extract_features(**asked, backbone=averages)
    third = extract_features(**asked, backbone=no_backbone)  # it was mended
    for again in (second, third):
        assert torch.equal(first.patch_tokens, again.patch_tokens)
        assert torch.equal(first.class_tokens, again.class_tokens)


def test_a_file_of_other_settings_in_the_cache_is_found_out(averages, tmp_path):
    asked = {"images": from_arrays(pictures(2)), "backbone": averages, "image_size": 42, "cache_dir": tmp_path}
    first = extract_features(**asked, layers=[2])
    (mine,) = tmp_path.iterdir()
    extract_features(**asked, layers=[3])
    (other,) = set(tmp_path.iterdir()) - {mine}
    for file in other.glob("*.safetensors"):
        shutil.copy(file, mine / file.name)
    with pytest.warns(UserWarning, match="holds something else"):
        again = extract_features(**asked, layers=[2])
    assert torch.equal(first.patch_tokens, again.patch_tokens)


@pytest.mark.parametrize("damage", [kind for kind in DAMAGE if kind != "another image's"])
def test_a_damaged_features_file_is_refused(tmp_path, damage):
    path = tmp_path / "features.safetensors"
    Features(torch.rand(6, 9, 4)[:, None], torch.rand(6, 4), ResolvedView((42, 42), 14), (1,)).save(path)
    if damage == "another shape":
        Features(torch.rand(6, 9, 4), torch.rand(6, 4), ResolvedView((42, 42), 14), (1,)).save(path)
    DAMAGE[damage](path)
    with pytest.raises(DataNotFoundError, match=r"features\.safetensors is not a complete features file"):
        Features.load(path)


def test_what_killed_processes_left_goes_after_an_hour(averages, tmp_path):
    images = from_arrays(pictures(2))
    extract_features(images, averages, image_size=28, cache_dir=tmp_path)
    folder = next(tmp_path.iterdir())
    old = [folder / ".a.safetensors.00000000.partial", folder / ".tmpAb1XyZ"]
    young = [folder / ".b.safetensors.00000001.partial", folder / ".tmpAb2XyZ"]
    for leftover in old + young:
        leftover.write_bytes(b"half")
        age = 4000 if leftover in old else 10
        os.utime(leftover, (time.time() - age,) * 2)
    extract_features(images, averages, image_size=28, cache_dir=tmp_path)
    assert all(leftover.exists() for leftover in young)
    assert not any(leftover.exists() for leftover in old)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_other_users_may_read_what_the_umask_lets_them(averages, tmp_path):
    before = os.umask(0o027)
    try:
        features = extract_features(from_arrays(pictures(2)), averages, image_size=28, cache_dir=tmp_path)
        features.save(tmp_path / "features.safetensors")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.safetensors")} == {0o640}


def test_save_and_load(backbone, tmp_path):
    features = extract_features(from_arrays(pictures(2)), backbone, image_size=28)
    features.save(tmp_path / "features.safetensors")
    loaded = Features.load(tmp_path / "features.safetensors")
    assert torch.equal(loaded.patch_tokens, features.patch_tokens)
    assert torch.equal(loaded.class_tokens, features.class_tokens)
    assert (loaded.grid, loaded.layers, loaded.image_size) == (features.grid, features.layers, features.image_size)


def test_files_that_hold_no_features(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    for name in ("missing.safetensors", "broken.safetensors"):
        with pytest.raises(DataNotFoundError, match=name):
            Features.load(tmp_path / name)


def test_bad_arguments(backbone):
    images = from_arrays(pictures(2))
    with pytest.raises(ValueError, match="multiple of the patch size"):
        extract_features(images, backbone, image_size=30)
    with pytest.raises(ValueError, match="batch_size"):
        extract_features(images, backbone, batch_size=0)
    with pytest.raises(ValueError, match="layers"):
        extract_features(images, backbone, layers="all")


def test_class_tokens_do_not_keep_the_patches_of_their_batch_alive(backbone, monkeypatch):
    """They were views of the last block's tokens: 400 KB an image stayed in memory."""
    kept, cat = [], torch.cat
    monkeypatch.setattr(
        torch, "cat", lambda tensors, *rest, **options: kept.append(tensors) or cat(tensors, *rest, **options)
    )
    extract_features(from_arrays(pictures(4)), backbone, image_size=56, batch_size=2)
    class_tokens = next(tensors for tensors in kept if len(tensors) == 2 and tensors[0].shape == (2, 384))
    assert [token.untyped_storage().nbytes() for token in class_tokens] == [2 * 384 * 4] * 2


PEAKS = """
import re, sys, threading
from pathlib import Path
import torch
from musc_lite import Backbone, extract_features, load_folder

def peak():
    return int(re.search("VmHWM: *([0-9]+)", Path("/proc/self/status").read_text().replace("\t", ""))[1]) / 1e3

torch.set_num_threads(4)
photos = load_folder(sys.argv[1])
for n in (1, 4):
    together = threading.Barrier(n)

    def tokens(batch, layers):
        together.wait(60)  # until all n photos are read, and on their way through the backbone
        return [torch.nn.functional.avg_pool2d(batch, 14).flatten(2).mT for _ in layers], batch.mean(dim=(2, 3))

    backbone = Backbone(
        "averages", "none", 14, 12, 3, (0, 0, 0), (1, 1, 1), "even", (1,), 56, "0", torch.device("cpu"), tokens
    )
    extract_features(photos.subset(range(n)), backbone, image_size=56, progress=False)
    print(peak())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its peak memory there")
def test_photos_are_not_held_decoded_while_they_go_through_the_backbone(tmp_path):
    """Of 12 megapixels each takes 48 MB, which many cores would hold many times."""
    for i in range(4):
        Image.new("RGB", (4000, 3000), (60 * i, 100, 100)).save(tmp_path / f"{i}.jpg")
    done = subprocess.run([sys.executable, "-c", PEAKS, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, four = map(float, done.stdout.split())
    assert four - one < 100, (one, four)  # MB; while one is read another may be cut, 48 MB
