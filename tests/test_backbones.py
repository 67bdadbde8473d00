import copy
import dataclasses
import pickle
import subprocess
import sys

import joblib
import numpy as np
import open_clip
import pytest
import timm
import torch
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage import data
from sklearn.base import clone

from musc_lite import MuSc, WeightsNotFoundError, from_arrays, load_backbone
from musc_lite.backbones.weights import embedded_weights

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")


def batch(size, n=2):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def block_outputs(blocks, run):
    """Run a model and catch what its blocks return, by hooks: the plain way to read them."""
    caught = {}
    hooks = [b.register_forward_hook(lambda _, __, out, i=i: caught.__setitem__(i, out)) for i, b in enumerate(blocks)]
    with torch.inference_mode():
        final = run()
    for hook in hooks:
        hook.remove()
    return caught, final


def test_embedded_backbone_reads_the_blocks_of_a_plain_forward_pass(backbone):
    model = timm.create_model("vit_small_patch14_dinov2.lvd142m", num_classes=0, dynamic_img_size=True).eval()
    model.load_state_dict(embedded_weights(), strict=True)
    caught, final = block_outputs(model.blocks, lambda: model(batch(112)))
    patches, classes = backbone.forward_tokens(batch(112), [2, 7])
    assert patches.shape == (2, 2, 64, 384)
    torch.testing.assert_close(patches[:, 0], caught[2][:, 1:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(patches[:, 1], caught[7][:, 1:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(classes, final, atol=1e-4, rtol=1e-4)


def test_embedded_weights_are_the_real_thing(backbone):
    """Trained features take a brightened, mirrored wall for the same kind of thing, and grass for another."""
    brick, grass = data.brick(), data.grass()
    changed = np.clip(brick[:, ::-1] * 0.8 + 40, 0, 255).astype(np.uint8)

    def gap(model):
        def embed(array):
            image = Image.fromarray(array[:224, :224]).convert("RGB")
            return model.forward_tokens(model.preprocess(image, 224)[None], [11])[1][0]

        to_brick, to_grass = (torch.cosine_similarity(embed(brick), embed(x), dim=0) for x in (changed, grass))
        return (to_brick - to_grass).item()

    assert gap(backbone) > 0.2
    assert gap(backbone) > 3 * abs(gap(load_backbone("dinov2_vits14", "random")))


@pytest.mark.parametrize("size", [64, 224, 256])
def test_clip_reads_the_blocks_of_a_plain_forward_pass_at_any_size(size):
    backbone = load_backbone("ViT-B-32", "random")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # two images at once must not resize the positions twice
    patches, classes = backbone.forward_tokens(batch(size), [3, 11])
    torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None)
    state = model.state_dict()
    resized = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None, force_image_size=size)
    open_clip.model.resize_pos_embed(state, resized)
    resized.load_state_dict(state)
    visual = resized.eval().visual
    caught, final = block_outputs(visual.transformer.resblocks, lambda: resized.encode_image(batch(size)))
    assert patches.shape == (2, 2, (size // 32) ** 2, 768)
    torch.testing.assert_close(patches[:, 0], caught[3][:, 1:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(patches[:, 1], caught[11][:, 1:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(classes, final, atol=1e-4, rtol=1e-4)


def test_clip_position_embeddings_are_always_resized_from_the_trained_ones():
    backbone = load_backbone("ViT-B-32", "random")
    before, _ = backbone.forward_tokens(batch(224), [5])
    backbone.forward_tokens(batch(64), [5])
    after, _ = backbone.forward_tokens(batch(224), [5])
    torch.testing.assert_close(before, after, atol=0, rtol=0)


def test_openai_weights_run_with_quick_gelu():
    """The plain config with OpenAI weights has another activation, and open_clip only warns."""
    assert open_clip.get_pretrained_cfg("ViT-L-14-336", "openai")["quick_gelu"] is True
    assert not open_clip.get_model_config("ViT-L-14-336").get("quick_gelu", False)

    def activations(name):
        backbone = load_backbone(name, "random")
        return {type(block.mlp.gelu) for block in backbone.tokens.visual.transformer.resblocks}, backbone

    quick, a = activations("ViT-B-32")
    plain, b = activations("ViT-B-32-gelu")
    assert quick == {QuickGELU}
    assert plain == {torch.nn.GELU}
    assert a.weights_sha256 == b.weights_sha256  # the same weights ...
    assert not torch.allclose(a.forward_tokens(batch(64), [5])[0], b.forward_tokens(batch(64), [5])[0], atol=1e-3)


def test_register_tokens_are_left_out():
    backbone = load_backbone("vit_small_patch14_reg4_dinov2.lvd142m", "random")
    patches, classes = backbone.forward_tokens(batch(56), [11])
    assert patches.shape == (2, 1, 16, 384)
    assert classes.shape == (2, 384)


def test_dinov3_runs():
    backbone = load_backbone("dinov3_vits16", "random")
    patches, classes = backbone.forward_tokens(batch(64), backbone.layers())
    assert patches.shape == (2, 4, 16, 384)
    assert classes.shape == (2, 384)
    assert backbone.default_image_size == 512


def test_random_weights_warn_and_are_always_the_same():
    with pytest.warns(UserWarning, match="random weights"):
        first = load_backbone("vit_tiny_patch16_224", "random")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    second = load_backbone("vit_tiny_patch16_224", "random")
    assert first.weights_sha256 == second.weights_sha256
    assert torch.rand(1) == expected  # the caller's random state is left alone


def test_weights_from_a_file(tmp_path):
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    backbone = load_backbone("vit_tiny_patch16_224", pretrained=str(tmp_path / "weights.safetensors"))
    caught, _ = block_outputs(model.eval().blocks, lambda: model(batch(224)))
    torch.testing.assert_close(backbone.forward_tokens(batch(224), [5])[0][:, 0], caught[5][:, 1:])


def test_layer_choices(backbone):
    assert backbone.layers("even") == [2, 5, 8, 11]
    assert backbone.layers("middle") == [4, 5, 6, 7, 8, 9]
    assert backbone.layers() == backbone.layers(backbone.default_layers)
    assert backbone.layers([7, 1]) == [1, 7]
    large = dataclasses.replace(backbone, depth=24)
    assert large.layers("even") == [5, 11, 17, 23]  # the paper's, for CLIP ViT-L/14
    for bad in ([], [12], [-1], [3, 3]):
        with pytest.raises(ValueError, match="between 0 and 11"):
            backbone.layers(bad)
    with pytest.raises(ValueError, match="'even', 'middle' or a list"):
        backbone.layers("deep")


def test_preprocessing_is_a_bicubic_square_in_the_colors_of_the_weights(backbone):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8))
    found = backbone.preprocess(image, 28)
    expected = np.asarray(image.resize((28, 28), Image.Resampling.BICUBIC)) / 255
    expected = (expected - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(found.permute(1, 2, 0), expected, atol=1e-5)
    clip = load_backbone("ViT-B-32", "random")
    assert clip.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_said_before_the_work():
    with pytest.raises(ValueError, match="no CUDA device"):
        load_backbone("dinov2_vits14", device="cuda")
    with pytest.raises(ValueError, match="no device that torch knows"):
        load_backbone("dinov2_vits14", device="gpu")


def test_bad_names_and_sizes(backbone):
    with pytest.raises(ValueError, match=r"no backbone is named 'dinov2_vits'.*'dinov2_vits14'"):
        load_backbone("dinov2_vits")
    for name in ("RN50", "resnet50"):
        with pytest.raises(ValueError, match="vision transformer"):
            load_backbone(name, "random")
    with pytest.raises(ValueError, match="multiple of the patch size 14 of dinov2_vits14: 224 or 238, not 230"):
        backbone.grid(230)
    with pytest.raises(ValueError, match=r"has no OpenAI weights; give pretrained= one of .*laion2b"):
        load_backbone("ViT-H-14")


@pytest.mark.parametrize("name", ["dinov2_vitb14", "ViT-B-32"])
def test_weights_of_a_hub_that_cannot_be_reached(name):
    with pytest.raises(WeightsNotFoundError, match=f"musc-lite weights {name} --from-file FILE"):
        load_backbone(name)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "ViT-B-32"])
def test_a_weights_file_that_is_not_there(name):
    with pytest.raises(WeightsNotFoundError, match=r"nowhere\.safetensors"):
        load_backbone(name, pretrained="nowhere.safetensors")


SMALL = {"layers": [3, 7], "image_size": 64, "r": (1, 3)}


def random_images(n, seed=0):
    return from_arrays(list(np.random.default_rng(seed).random((n, 64, 64, 3))))


@pytest.fixture
def tiny_file(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "tiny.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(), path)
    return path


def test_a_detector_from_joblib_scores_bit_for_bit_the_same(tmp_path, tiny_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    detector = MuSc(load_backbone("vit_tiny_patch16_224", tiny_file.name), **SMALL).fit(random_images(4))
    joblib.dump(detector, tmp_path / "kept.joblib")
    assert (tmp_path / "kept.joblib").stat().st_size < 2_000_000  # the weights, 22 MB, are not in it
    program = f"""
import joblib, numpy as np
detector = joblib.load({str(tmp_path / "kept.joblib")!r})
new = detector.score_images(list(np.random.default_rng(1).random((2, 64, 64, 3)))).anomaly_maps
np.savez({str(tmp_path / "scores.npz")!r}, fitted=detector.image_scores_, new=new)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "scores.npz") as scores:
        np.testing.assert_array_equal(scores["fitted"], detector.image_scores_)
        np.testing.assert_array_equal(scores["new"], detector.score_images(random_images(2, seed=1)).anomaly_maps)


def test_clip_and_the_embedded_backbone_pickle_too(backbone):
    for one in (backbone, load_backbone("ViT-S-32-alt-gelu", "random")):
        again = pickle.loads(pickle.dumps(one))
        patches, classes = again.forward_tokens(batch(56 if one is backbone else 64), [3])
        expected = one.forward_tokens(batch(56 if one is backbone else 64), [3])
        assert torch.equal(patches, expected[0])
        assert torch.equal(classes, expected[1])
        assert again == dataclasses.replace(one, tokens=again.tokens)  # all that it says of itself


def test_changes_of_a_backbone_survive(backbone):
    changed = dataclasses.replace(backbone, default_r=(5,))
    assert pickle.loads(pickle.dumps(changed)).default_r == (5,)
    own = dataclasses.replace(backbone, tokens=len)  # no forward pass that a name could bring back
    assert pickle.loads(pickle.dumps(own)).tokens is len


def test_copies_share_the_weights():
    detector = MuSc(load_backbone("vit_tiny_patch16_224", "random"), **SMALL).fit(random_images(3))
    for again in (copy.deepcopy(detector), copy.copy(detector), clone(detector)):
        assert again.backbone is detector.backbone
    assert copy.deepcopy(detector).backbone_ is detector.backbone_
    again = clone(detector).fit(random_images(3))
    np.testing.assert_array_equal(again.image_scores_, detector.image_scores_)


def test_other_processes_score_the_same():
    detector = MuSc(load_backbone("vit_tiny_patch16_224", "random"), **SMALL).fit(random_images(3))
    new = [random_images(1, seed) for seed in (1, 2, 3)]
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(detector.score_samples)(images) for images in new)
    np.testing.assert_array_equal(found, [detector.score_samples(images) for images in new])


def test_other_weights_on_this_machine_are_found_out(tiny_file):
    kept = pickle.dumps(load_backbone("vit_tiny_patch16_224", str(tiny_file)))
    state = load_file(tiny_file)
    save_file(state | {"norm.bias": state["norm.bias"] + 1}, tiny_file)
    with pytest.raises(WeightsNotFoundError, match=r"other weights of vit_tiny_patch16_224.*tiny\.safetensors"):
        pickle.loads(kept)
    tiny_file.unlink()
    with pytest.raises(WeightsNotFoundError, match=r"no weights file .*tiny\.safetensors"):
        pickle.loads(kept)
    save_file(state, tiny_file)
    assert pickle.loads(kept).name == "vit_tiny_patch16_224"  # an error is not remembered


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_where_the_device_is_missing_a_backbone_comes_back_on_the_cpu(backbone, device):
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is one")
    elsewhere = dataclasses.replace(backbone, device=torch.device(device))
    assert pickle.loads(pickle.dumps(elsewhere)).device == torch.device("cpu")
