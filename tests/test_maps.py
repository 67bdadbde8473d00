import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musc_lite import image_scores_from_maps, patch_shares, upsample_maps


def test_maps_and_scores_agree_with_the_published_code(golden):
    maps = upsample_maps(golden["patch_scores"], (7, 7), 98)
    np.testing.assert_allclose(maps[:3], golden["anomaly_maps_first3"], atol=1e-5)
    np.testing.assert_allclose(image_scores_from_maps(maps), golden["image_scores"], atol=1e-5)


@settings(max_examples=30)
@given(h=st.integers(1, 5), w=st.integers(1, 5), seed=st.integers(0, 2**16))
def test_corners_and_range_are_kept(h, w, seed):
    scores = np.random.default_rng(seed).normal(size=(2, h * w))
    maps = upsample_maps(scores, (h, w), (13, 17)).numpy()
    grid = scores.reshape(2, h, w)
    assert maps.shape == (2, 13, 17)
    np.testing.assert_allclose(maps[:, 0, 0], grid[:, 0, 0])
    if h > 1 and w > 1:
        np.testing.assert_allclose(maps[:, -1, -1], grid[:, -1, -1])
    assert maps.min() >= scores.min() - 1e-9
    assert maps.max() <= scores.max() + 1e-9


def test_bad_shape():
    with pytest.raises(ValueError, match=r"2 \* 3 patches"):
        upsample_maps(np.zeros((1, 5)), (2, 3), 14)


@given(grid=st.tuples(st.integers(1, 4), st.integers(1, 4)), patch=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_patch_shares_are_the_means_of_the_patches(grid, patch):
    (h, w), (height, width) = grid, patch
    masks = np.random.default_rng(0).random((2, h * height, w * width)) > 0.5
    shares = patch_shares(masks, grid)
    assert shares.shape == (2, h * w)
    for m in range(h * w):
        top, left = m // w * height, m % w * width
        inside = masks[:, top : top + height, left : left + width]
        np.testing.assert_allclose(shares[:, m], inside.mean(axis=(1, 2)))


@pytest.mark.parametrize("shape", [(1, 6, 11), (1, 7, 10), (6, 10)])
def test_masks_that_the_grid_does_not_divide(shape):
    with pytest.raises(ValueError, match="3 x 5 patches"):
        patch_shares(np.zeros(shape, bool), (3, 5))


def test_pooling_by_hand():
    maps = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(image_scores_from_maps(maps), maps.amax(dim=(1, 2)))
    assert torch.equal(image_scores_from_maps(maps, 0.001), maps.amax(dim=(1, 2)))  # at least one pixel
    torch.testing.assert_close(image_scores_from_maps(maps, "mean"), maps.mean(dim=(1, 2)))
    highest = maps.flatten(1).sort(descending=True).values[:, :7].mean(dim=1)
    torch.testing.assert_close(image_scores_from_maps(maps, 0.2), highest)
    for wrong in ("median", 0, 1.5, None):
        with pytest.raises(ValueError, match="'max', 'mean' or a share"):
            image_scores_from_maps(maps, wrong)
