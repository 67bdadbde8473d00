import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import musc_lite
from musc_lite.benchmark import divide, score_subsets
from musc_lite.data.datasets import CATALOG, PUBLISHED_METRICS, presets


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    n_subsets=st.integers(1, 6),
    seed=st.integers(0, 3),
    by_type=st.booleans(),
)
def test_each_image_is_in_one_subset_and_types_are_dealt_out_evenly(sizes, n_subsets, seed, by_type):
    names = [f"{kind}/{i}.png" for kind, size in enumerate(sizes) for i in range(size)]
    try:
        subsets = divide(names, n_subsets, seed=seed, by_type=by_type)
    except ValueError:
        assert len(names) < 2 * n_subsets + len(sizes) * n_subsets
        return
    assert sorted(i for subset in subsets for i in subset) == list(range(len(names)))
    assert len(subsets) == n_subsets
    for kind in range(len(sizes)) if by_type else ():
        counts = [sum(names[i].startswith(f"{kind}/") for i in subset) for subset in subsets]
        assert max(counts) - min(counts) <= 1


def test_the_published_division_is_repeated():
    """As the published code reads: one seed, then each type shuffled and every s-th image taken."""
    names = [f"broken/{i:03}.png" for i in range(7)] + [f"good/{i:03}.png" for i in range(9)]
    for k in range(3):
        random.seed(0)
        expected = []
        for group in (list(range(7)), list(range(7, 16))):
            random.shuffle(group)
            dealt = [group[i : i + 3] for i in range(0, len(group), 3)]
            expected += [hand[k] for hand in dealt if len(hand) > k]
        assert divide(names, 3)[k] == sorted(expected)


@pytest.mark.parametrize("n_subsets", [0, -1, 3])
def test_too_many_subsets_are_refused(n_subsets):
    with pytest.raises(ValueError, match="give fewer subsets" if n_subsets > 0 else "1 or more"):
        divide(["a/1", "a/2", "a/3", "a/4", "a/5"], n_subsets)


def test_subsets_score_as_batches_of_their_own(backbone):
    images = musc_lite.planted_textures("gravel", n_images=9, n_defective=3, image_size=56)
    detector = musc_lite.MuSc(backbone, image_size=56, r=(1,))
    whole = score_subsets(detector, images, [range(9)])
    fitted = musc_lite.MuSc(backbone, image_size=56, r=(1,)).fit(images)
    np.testing.assert_array_equal(whole.anomaly_maps, fitted.anomaly_maps_)
    np.testing.assert_allclose(whole.image_scores, fitted.image_scores_, atol=1e-6)

    subsets = [[0, 2, 4, 6, 8], [1, 3, 5, 7]]
    apart = score_subsets(detector, images, subsets)
    for subset in subsets:
        alone = musc_lite.MuSc(backbone, image_size=56, r=(1,)).fit(images.subset(subset))
        np.testing.assert_allclose(apart.map_scores[subset], alone.map_scores_, atol=1e-6)
    assert apart.names == images.names
    with pytest.raises(ValueError, match="exactly one subset"):
        score_subsets(detector, images, [[0, 1, 2], [2, 3]])


def test_published_means_are_those_of_the_categories():
    published = {name: data_set.figures for name, data_set in CATALOG.items() if data_set.figures}
    assert list(published) == ["mvtec", "visa", "btad"]
    for dataset, figures in published.items():
        means = np.mean([row for category, row in figures.items() if category != "mean"], axis=0)
        stated = np.array(figures["mean"])
        if dataset == "visa":
            means[PUBLISHED_METRICS.index("pixel_auroc")] = 98.71  # as printed; the categories' mean is 98.84
        np.testing.assert_allclose(means, stated, atol=0.011)


def test_presets_are_the_published_settings():
    published = musc_lite.MuSc.published()
    assert list(presets()) == ["mvtec", "visa", "btad"]
    for preset in presets().values():
        assert {**published.get_params(deep=False), **preset} == {
            **published.get_params(deep=False),
            "windows": preset["windows"],
        }
    assert presets()["visa"]["windows"] == (1, 8, 9)
