import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from musc_lite import evaluate
from musc_lite.results.metrics import aupro


def test_metrics_agree_with_the_published_code(golden):
    found = evaluate(golden["m_labels"], golden["m_image_scores"], golden["m_masks"], golden["m_maps"])
    np.testing.assert_allclose([found.image_auroc, found.image_f1_max, found.image_ap], golden["m_image"], atol=1e-6)
    np.testing.assert_allclose(
        [found.pixel_auroc, found.pixel_f1_max, found.pixel_ap], golden["m_pixel"][:3], atol=1e-6
    )
    assert found.aupro == pytest.approx(golden["m_pixel"][3], abs=0.01)


def plain_aupro(masks, maps, max_fpr=0.3):
    """The definition: the curve at every threshold, region by region."""
    regions = [
        (n, r == i) for n, mask in enumerate(masks) for r, k in [label(mask, np.ones((3, 3)))] for i in range(1, k + 1)
    ]
    curve = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        found = maps >= threshold
        overlap = np.mean([found[n][region].mean() for n, region in regions])
        curve.append((found[~masks].mean(), overlap))
    fpr, overlap = np.array(curve).T
    grid = np.linspace(0, max_fpr, 200001)
    return np.trapezoid(np.interp(grid, fpr, overlap), grid) / max_fpr


@settings(max_examples=25)
@given(seed=st.integers(0, 2**16), ties=st.booleans())
def test_aupro_is_its_definition(seed, ties):
    rng = np.random.default_rng(seed)
    masks = rng.random((3, 6, 7)) < 0.3
    maps = rng.integers(0, 5, masks.shape) / 4 if ties else rng.normal(size=masks.shape)
    assert aupro(masks, maps) == pytest.approx(plain_aupro(masks, maps), abs=2e-4)


def test_aupro_does_not_depend_on_the_order_of_the_images():
    rng = np.random.default_rng(0)
    masks = rng.random((6, 16, 16)) < 0.1
    masks[2:4] = False
    for maps in (np.zeros(masks.shape), rng.integers(0, 3, masks.shape), rng.normal(size=masks.shape)):
        forward, backward = aupro(masks, maps), aupro(masks[::-1], maps[::-1])
        assert forward == pytest.approx(backward, abs=1e-12)


def test_constant_maps_are_chance():
    masks = np.zeros((2, 8, 8), bool)
    masks[0, :2, :2] = True
    assert evaluate(masks=masks, maps=np.ones((2, 8, 8))).aupro == pytest.approx(0.15)


def test_small_regions_count_as_much_as_large_ones():
    masks = np.zeros((1, 20, 20), bool)
    masks[0, :10, :10], masks[0, 15, 15] = True, True
    only_large = np.where(masks, 1.0, 0.0)
    only_large[0, 15, 15] = 0.0
    assert aupro(masks, only_large) == pytest.approx(0.5 + 0.15 * 0.5, abs=1e-3)


def test_what_is_missing_or_undefined_is_nan():
    assert np.isnan(list(evaluate().asdict().values())).all()
    only_labels = evaluate(labels=[0, 1], image_scores=[0.1, 0.2])
    assert only_labels.image_auroc == 1
    assert np.isnan(only_labels.aupro)
    maps = np.random.default_rng(0).random((2, 4, 4))
    masks = np.zeros((2, 4, 4), bool)
    assert np.isnan([*evaluate(masks=masks, maps=maps).asdict().values()]).all()  # no defective pixel
    assert np.isnan([*evaluate(masks=~masks, maps=maps).asdict().values()]).all()  # no normal pixel
    assert np.isnan(evaluate(labels=[1, 1], image_scores=[0.1, 0.2]).image_auroc)
    masks[0, 0, 0] = True
    only_masks = evaluate(masks=masks, maps=maps)
    assert np.isfinite(only_masks.aupro)
    assert np.isnan(only_masks.image_auroc)


def test_bad_arguments():
    with pytest.raises(ValueError, match="same shape"):
        evaluate(labels=[0, 1], image_scores=[0.1])
    with pytest.raises(ValueError, match="must be 0"):
        evaluate(labels=[0, 2], image_scores=[0.1, 0.2])
    for bad in (np.nan, np.inf, -np.inf):  # in our own words: scikit-learn refuses them later, and not all of them
        with pytest.raises(ValueError, match=r"^image_scores hold NaN or infinite values"):
            evaluate(labels=[0, 1, 1], image_scores=[0.1, bad, 0.2])
        with pytest.raises(ValueError, match=r"^image_scores hold NaN or infinite values"):
            evaluate(labels=[1, 1], image_scores=[0.1, bad])  # of one kind: no metric is defined that could refuse
        with pytest.raises(ValueError, match=r"^maps hold NaN or infinite values"):
            evaluate(masks=np.zeros((1, 2, 2)), maps=np.full((1, 2, 2), bad))
    with pytest.raises(ValueError, match=r"\(N, H, W\)"):
        evaluate(masks=np.zeros((4, 4)), maps=np.zeros((4, 4)))
