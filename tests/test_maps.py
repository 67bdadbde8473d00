import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musc_lite import image_scores_from_maps, upsample_maps


def test_maps_and_scores_agree_with_the_published_code(golden):
    maps = upsample_maps(golden["patch_scores"], (7, 7), 98)
    np.testing.assert_allclose(maps[:3], golden["anomaly_maps_first3"], atol=1e-5)
    np.testing.assert_allclose(image_scores_from_maps(maps), golden["image_scores"], atol=1e-5)


@settings(max_examples=30, deadline=None)
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
