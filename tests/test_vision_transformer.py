"""The transformer that is written to be read gives timm's numbers, and spares users what timm takes to import."""

import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from musc_lite.backbones.vision_transformer import VisionTransformer
from musc_lite.backbones.weights import embedded_weights

HEAVY = ("torchvision", "timm", "open_clip", "torch._dynamo", "matplotlib.pyplot", "seaborn", "onnx", "requests")
HEAVY += ("sklearn.metrics", "sklearn.cluster", "sklearn.mixture", "sklearn.decomposition", "skimage.transform")


@pytest.fixture(scope="module")
def state():
    return embedded_weights()


@pytest.fixture(scope="module")
def ours(state):
    model = VisionTransformer().eval()
    model.load_state_dict(state, strict=True)
    return model


@pytest.fixture(scope="module")
def timms(state):
    model = timm.create_model("vit_small_patch14_dinov2.lvd142m", num_classes=0, dynamic_img_size=True).eval()
    model.load_state_dict(state, strict=True)
    return model


@pytest.mark.parametrize("size", [(224, 224), (112, 168), (518, 518)])  # positions resized, oblong, as they are
@torch.inference_mode()
def test_every_block_gives_timm_s_tokens(ours, timms, size):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    blocks, class_tokens = ours(images, list(range(12)))
    final, expected = timms.forward_intermediates(images, indices=list(range(12)), norm=False, output_fmt="NLC")
    torch.testing.assert_close(blocks, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(class_tokens, final[:, 0], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_attention_is_its_equation(ours):
    """softmax(Q K^T / sqrt(d)) V, head by head."""
    attention, tokens = ours.blocks[5].attn, torch.randn(1, 7, 384, generator=torch.Generator().manual_seed(0))
    qkv = (tokens[0] @ attention.qkv.weight.T + attention.qkv.bias).reshape(7, 3, 6, 64)
    heads = [F.softmax(qkv[:, 0, h] @ qkv[:, 1, h].T / 8, dim=-1) @ qkv[:, 2, h] for h in range(6)]
    torch.testing.assert_close(attention(tokens)[0], attention.proj(torch.cat(heads, dim=-1)), atol=1e-5, rtol=1e-5)


@settings(max_examples=20)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_pillow_alone_resizes_and_standardizes_as_torchvision_does(backbone, width, height, rows, columns, seed):
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
    size = (14 * rows, 14 * columns)
    resized = TF.to_tensor(TF.resize(image, list(size), InterpolationMode.BICUBIC))
    expected = TF.normalize(resized, backbone.mean, backbone.std)
    np.testing.assert_array_equal(backbone.preprocess(image, size), expected)


def test_a_first_detector_imports_nothing_that_takes_seconds_and_that_it_does_not_need():
    code = (
        "import sys, numpy, musc_lite\n"
        "images = musc_lite.from_arrays(numpy.zeros((2, 40, 40, 3), numpy.uint8))\n"
        "backbone = musc_lite.load_backbone('dinov2_vits14')\n"
        "musc_lite.MuSc(backbone)\n"
        "musc_lite.extract_features(images, backbone, image_size=28, progress=False)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_itself_imports_nothing_large():
    code = (
        "import sys, musc_lite; print([name for name in ('torch', 'sklearn', 'PIL', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
