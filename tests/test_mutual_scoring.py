import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musc_lite import (
    aggregate,
    interval_average,
    mutual_scores,
    nearest_distances,
    nearest_patches,
    similar_patch_counts,
    similarity_counts,
)
from musc_lite import mutual_scoring as module

METHODS = ("loop", "fast")


def random_tokens(n, m, c, seed=0, unit=True):
    tokens = torch.randn(n, m, c, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(tokens, dim=-1) if unit else tokens * 3


def assert_same_distances(found, expected):
    """DESIGN's tolerance: 1e-5 where the distance is above 0.03, else 2e-3."""
    found, expected = np.asarray(found), np.asarray(expected)
    far = expected > 0.03
    np.testing.assert_allclose(found[far], expected[far], atol=1e-5)
    np.testing.assert_allclose(found[~far], expected[~far], atol=2e-3)


token_shapes = st.tuples(st.integers(2, 7), st.integers(1, 9), st.integers(1, 5))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("r", [1, 3, 5])
def test_scores_agree_with_the_published_code(golden, method, r):
    for s in range(3):
        tokens = aggregate(golden["tokens"][:, s], (7, 7), r)
        assert_same_distances(mutual_scores(tokens, method=method), golden[f"patch_scores_r{r}"][s])


@pytest.mark.parametrize("interval", [(0, 0.5), (0.1, 0.5)])
def test_other_intervals_agree_with_the_published_code(golden, interval):
    expected = golden[f"interval_{interval[0]}_{interval[1]}"]
    assert_same_distances(mutual_scores(golden["aggregated_r3"][:, 0], interval=interval), expected)


def test_mean_over_layers_and_degrees_agrees_with_the_published_code(golden):
    scores = [mutual_scores(aggregate(golden["tokens"][:, s], (7, 7), r)) for r in (1, 3, 5) for s in range(3)]
    assert_same_distances(torch.stack(scores).mean(dim=0), golden["patch_scores"])


@settings(max_examples=60, deadline=None)
@given(shape=token_shapes, seed=st.integers(0, 2**16), unit=st.booleans(), tile=st.sampled_from([1, 300, 2**21]))
def test_fast_equals_loop(shape, seed, unit, tile):
    tokens = random_tokens(*shape, seed, unit).double()  # double, so that rounding hides no mistake
    before, module.TILE_BYTES = module.TILE_BYTES, tile  # tiles of one image, of some, of all
    try:
        fast = nearest_distances(tokens)
    finally:
        module.TILE_BYTES = before
    torch.testing.assert_close(fast, nearest_distances(tokens, method="loop"), atol=1e-6, rtol=0)


@settings(max_examples=30, deadline=None)
@given(shape=token_shapes, seed=st.integers(0, 2**16))
def test_scores_follow_their_images_when_these_are_permuted(shape, seed):
    tokens = random_tokens(*shape, seed).double()
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mutual_scores(tokens[order]), mutual_scores(tokens)[order], atol=1e-7, rtol=0)


@settings(max_examples=30, deadline=None)
@given(shape=token_shapes, seed=st.integers(0, 2**16))
def test_where_patches_lie_does_not_matter(shape, seed):
    tokens = random_tokens(*shape, seed).double()
    order = torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mutual_scores(tokens[:, order]), mutual_scores(tokens)[:, order], atol=1e-7, rtol=0)


@settings(max_examples=30, deadline=None)
@given(shape=token_shapes, seed=st.integers(0, 2**16))
def test_distances_bear_a_rotation_and_scale_with_the_tokens(shape, seed):
    tokens = random_tokens(*shape, seed, unit=False).double()
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(shape[2], shape[2])))
    turned = 2.0 * tokens @ torch.from_numpy(rotation)
    torch.testing.assert_close(nearest_distances(turned), 2 * nearest_distances(tokens), atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_single_odd_patch_ranks_first(method):
    tokens = random_tokens(1, 16, 8).repeat(6, 1, 1) + 0.01 * random_tokens(6, 16, 8, seed=1)
    tokens[4, 11] = -tokens[4].mean(dim=0)
    scores = mutual_scores(tokens, method=method)
    assert divmod(scores.argmax().item(), 16) == (4, 11)


@pytest.mark.parametrize("method", METHODS)
def test_identical_images_score_next_to_nothing(method):
    scores = mutual_scores(random_tokens(1, 20, 64).repeat(5, 1, 1), method=method)
    assert scores.max() < 2e-3


@pytest.mark.parametrize("method", METHODS)
def test_an_image_does_not_score_itself(method):
    tokens = torch.tensor([[[0.0], [10.0]], [[1.0], [1.0]], [[2.0], [2.0]]])
    expected = torch.tensor([[[1.0, 2.0], [9.0, 8.0]], [[1.0, 1.0], [1.0, 1.0]], [[2.0, 1.0], [2.0, 1.0]]])
    torch.testing.assert_close(nearest_distances(tokens, method=method), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_images", [2, 3, 4])
def test_few_images_give_numbers(method, n_images):
    tokens = random_tokens(n_images, 5, 3)
    expected = nearest_distances(tokens, method="loop").amin(dim=-1)  # the interval holds one image
    torch.testing.assert_close(mutual_scores(tokens, method=method), expected, atol=1e-5, rtol=0)


def test_half_precision_tokens(golden):
    tokens = torch.from_numpy(golden["aggregated_r3"][:, 0])
    np.testing.assert_allclose(mutual_scores(tokens.half()), mutual_scores(tokens), atol=2e-2)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [((0, 1), 5.5), ((0, 0.3), 2.0), ((0.5, 1.0), 8.0), ((0.9, 0.95), 10.0), ((0, 0.01), 1.0)],
)
def test_interval_average(interval, expected):
    distances = torch.arange(1.0, 11.0).flip(0).expand(2, 3, 10)
    assert torch.equal(interval_average(distances, interval), torch.full((2, 3), expected))


@pytest.mark.parametrize("interval", [(0.3, 0.3), (0.5, 0.2), (-0.1, 0.3), (0, 1.1), (0, float("nan"))])
def test_bad_interval(interval):
    with pytest.raises(ValueError, match="0 <= begin < end <= 1"):
        interval_average(torch.ones(2, 4), interval)


@settings(max_examples=30, deadline=None)
@given(shape=token_shapes, seed=st.integers(0, 2**16), data=st.data())
def test_nearest_patches_are_those_of_the_distances(shape, seed, data):
    tokens = random_tokens(*shape, seed).double()
    i = data.draw(st.integers(0, shape[0] - 1))
    m = data.draw(st.integers(0, shape[1] - 1))
    distances, patches = nearest_patches(tokens, i, m)
    others = [j for j in range(len(tokens)) if j != i]
    torch.testing.assert_close(distances[others], nearest_distances(tokens, "loop")[i, m], atol=1e-6, rtol=0)
    for j in others:
        there = (tokens[i, m] - tokens[j, patches[j]]).norm()
        torch.testing.assert_close(there, distances[j], atol=1e-6, rtol=0)
    assert distances[i] == torch.inf
    assert patches[i] == -1


@settings(max_examples=30, deadline=None)
@given(shape=token_shapes, seed=st.integers(0, 2**16), tile=st.sampled_from([1, 300, 2**21]))
def test_patch_counts_are_the_plain_counts(shape, seed, tile):
    tokens = random_tokens(*shape, seed).double()
    thresholds = [1.3, 0.4]
    before, module.TILE_BYTES = module.TILE_BYTES, tile
    try:
        counts = similar_patch_counts(tokens, thresholds)
    finally:
        module.TILE_BYTES = before
    every = torch.cdist(tokens[:, None], tokens[None])  # (N, N, M, M)
    for t, threshold in enumerate(thresholds):
        within = (every <= threshold).sum(dim=-1)  # (N, N, M)
        within[range(len(tokens)), range(len(tokens))] = 0
        assert torch.equal(counts[..., t], within.sum(dim=1))


def test_image_counts_and_patch_counts_tell_the_same_story():
    tokens = random_tokens(6, 12, 4)
    images = similarity_counts(nearest_distances(tokens), 0.8)
    patches = similar_patch_counts(tokens, [0.8])[..., 0]
    assert torch.equal(images > 0, patches > 0)
    assert (patches >= images).all()
    assert images.max() <= 5


def test_the_number_of_threads_is_left_alone():
    before = torch.get_num_threads()
    mutual_scores(random_tokens(4, 5, 3))
    assert torch.get_num_threads() == before


def test_bad_arguments():
    tokens = random_tokens(3, 4, 2)
    for function in (mutual_scores, nearest_distances):
        with pytest.raises(ValueError, match="at least 2, got 1"):
            function(tokens[:1])
        with pytest.raises(ValueError, match="'fast' or 'loop', got 'quick'"):
            function(tokens, method="quick")
    with pytest.raises(ValueError, match="no patch"):
        nearest_patches(tokens, 3, 0)
    for bad in ([], [-0.1], [float("nan")]):
        with pytest.raises(ValueError, match="thresholds are distances"):
            similar_patch_counts(tokens, bad)
    with pytest.raises(ValueError, match="at least 2"):
        interval_average(torch.ones(3, 0))
