"""Recurring defects: found by the jump of their distances, and scored without the images that share them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from musc_lite import MutualScorer, RecurringScorer, recurring_patches
from musc_lite.reports.recurring_plots import plot_recurring
from musc_lite.results.summary import describe_recurring
from musc_lite.scorers.recurring import distance_gaps, find_recurring, interval_average_excluding, recurring_clusters
from musc_lite.stages.mutual_scoring import interval_average


def batch_with(n_sharing, n_images=24, seed=0, n_patches=6):
    """Images of random patches in a small cloud; in the first ones patch 2 is far from it, and nearly the same."""
    tokens = torch.from_numpy(np.random.default_rng(seed).normal(size=(n_images, n_patches, 8)))
    tokens[:n_sharing, 2] = tokens[:n_sharing, 2] * 0.02 + 9
    return tokens


def plain_jump(distances):
    ordered = np.sort(distances)
    found = [(k * np.log(ordered[k] / ordered[k - 1]), k) for k in range(2, len(distances) // 2)]
    return max(found)


def test_jumps_are_those_of_a_plain_loop():
    distances = np.random.default_rng(0).uniform(0.2, 3, size=(20, 11))
    found, k = distance_gaps(torch.from_numpy(distances))
    expected = [plain_jump(row) for row in distances]
    assert_close(found, torch.tensor([value for value, _ in expected], dtype=torch.float64))
    assert k.tolist() == [place for _, place in expected]


@pytest.mark.parametrize("n_sharing", [3, 8, 12])
def test_what_recurs_in_up_to_half_of_the_images_stands_out_again(n_sharing):
    batch = batch_with(n_sharing)
    scores, plain = RecurringScorer().fit_score(batch), MutualScorer().fit_score(batch)
    shared = scores[:n_sharing, 2]
    assert shared.min() > 3 * scores[n_sharing:].max()
    if n_sharing > 7:  # the interval of 6 of 23 images is full of them
        assert plain[:n_sharing, 2].max() < plain[n_sharing:].min()
    rest = torch.ones_like(scores, dtype=torch.bool)
    rest[:n_sharing, 2] = False
    assert_close(scores[rest], plain[rest])  # nothing else changes


def test_what_recurs_in_more_than_half_of_the_images_belongs_to_the_product():
    batch = batch_with(16)
    assert_close(RecurringScorer().fit_score(batch)[:16], MutualScorer().fit_score(batch)[:16])


def test_links_that_are_not_returned_do_not_count():
    distances = torch.full((8, 1, 8), 1.0)
    distances[0, 0, 1:3] = 0.1  # image 0 finds itself in 1 and 2, but they look elsewhere
    distances[range(8), 0, range(8)] = torch.inf
    assert not find_recurring(distances).any()
    distances[1, 0, [0, 2]] = 0.1
    assert find_recurring(distances)[:2, 0].sum(dim=1).tolist() == [2, 2]  # half of the links are returned
    (thing,) = recurring_clusters(distances, 2.0)
    assert thing.images.tolist() == [0, 1]  # image 2 links to nobody


def test_the_patch_that_is_shared_speaks_for_its_image():
    distances = torch.full((8, 2, 8), 1.0)
    distances[:3, 1, :3] = 0.1
    distances[0, 0, 5:7] = 0.01  # jumps further, but nobody returns it
    distances[range(8), :, range(8)] = torch.inf
    (thing,) = recurring_clusters(distances, 2.0)
    assert thing.images.tolist() == [0, 1, 2]
    assert thing.patches.tolist() == [1, 1, 1]


def test_rounding_makes_no_jump():
    distances = torch.tensor([1e-9, 1e-9, 1e-6, 1e-6] + [1.0] * 8)  # four times the same patch, but for rounding
    size, k = distance_gaps(distances)
    assert int(k) == 4
    assert float(size) == pytest.approx(4 * np.log(100))  # a hundredth of the median is the least


@given(st.integers(0, 3), st.integers(0, 100))
def test_clean_batches_are_scored_as_ever(n_channels, seed):
    batch = torch.from_numpy(np.random.default_rng(seed).normal(size=(12, 5, 4 + n_channels)))
    assert_close(RecurringScorer(jump=np.inf).fit_score(batch), MutualScorer().fit_score(batch))


def test_with_an_infinite_jump_it_is_mutual_scoring():
    batch = batch_with(8)
    assert_close(RecurringScorer(jump=np.inf).fit_score(batch), MutualScorer().fit_score(batch))


@given(st.integers(0, 100))
def test_neither_order_nor_scale_matters(seed):
    batch, order = batch_with(5, 12, seed), torch.from_numpy(np.random.default_rng(seed).permutation(12))
    scores = RecurringScorer().fit_score(batch)
    assert_close(RecurringScorer().fit_score(batch[order]), scores[order])
    assert_close(RecurringScorer().fit_score(batch * 3), scores * 3)


def test_the_rest_is_averaged_by_its_own_interval():
    distances = torch.rand(4, 10)
    left_out = torch.zeros(4, 10, dtype=torch.bool)
    left_out[1, :3] = left_out[3, 2:9] = True
    expected = [interval_average(d[~out], (0.1, 0.5)) for d, out in zip(distances, left_out, strict=True)]
    assert_close(interval_average_excluding(distances, left_out, (0.1, 0.5)), torch.stack(expected))


def test_new_images_do_not_profit_from_what_the_batch_shares():
    batch, new = batch_with(8), batch_with(1, 2, seed=1)
    scorer = RecurringScorer()
    scorer.fit_score(batch)
    scores = scorer.score(new, batch)
    assert scores[0, 2] > 3 * scores[1].max()
    loaded = RecurringScorer()
    loaded.load_state_dict(scorer.state())
    assert_close(loaded.score(new, batch), scores)
    assert scores[0, 2] > 10 * MutualScorer().score(new, batch)[0, 2]


def test_identical_patches_make_no_jump():
    batch = batch_with(0)
    batch[:, 0] = batch[0, 0]  # the same in all images, such as a black corner
    assert_close(RecurringScorer().fit_score(batch), MutualScorer().fit_score(batch))


@pytest.mark.parametrize("n_images", [2, 3, 5])
def test_few_images_are_scored_as_by_mutual_scoring(n_images):
    batch = batch_with(0, n_images)
    assert_close(RecurringScorer().fit_score(batch), MutualScorer().fit_score(batch))


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="jump must be above 0"):
        RecurringScorer(jump=0).check()
    with pytest.raises(ValueError, match="takes at least"):
        RecurringScorer().cost((100, 256, 384), "1MB")


def test_two_things_that_recur_are_told_apart():
    batch = batch_with(4)
    batch[4:9, 5] = batch[4:9, 5] * 0.02 - 9  # and something else in five others
    more, fewer = recurring_patches(batch)
    assert more.images.tolist() == [4, 5, 6, 7, 8]
    assert set(more.patches) == {5}
    assert fewer.images.tolist() == [0, 1, 2, 3]
    assert set(fewer.patches) == {2}
    assert min(more.jumps.min(), fewer.jumps.min()) >= 2
    names = [f"{i}.png" for i in range(24)]
    assert describe_recurring(more, names) == "5 images share a rare patch: 4.png, 5.png, 6.png, 7.png, 8.png"


def test_where_nothing_recurs_nothing_is_found():
    assert recurring_patches(batch_with(0)) == []
    assert recurring_patches(batch_with(2, 4)) == []  # too few images to tell
    with pytest.raises(ValueError, match="jump must be above 0"):
        recurring_patches(batch_with(0), jump=-1)


def test_what_recurs_is_drawn_a_row_a_thing():
    found = recurring_patches(batch_with(4))
    images = [np.zeros((20, 30, 3), dtype=np.uint8)] * 24
    axes = plot_recurring(found, images, (2, 3), n_columns=3)
    assert axes.shape == (1, 3)
    assert axes[0, 0].get_title(loc="left") == "shared by 4 images"
    assert {patch.get_xy() for patch in axes[0, 0].patches} == {(19.5, -0.5)}  # patch 2 of 2 x 3
    plt.close(axes[0, 0].figure)
