import os
import re
from pathlib import Path

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
from musc_lite.neighbors import brute_force
from musc_lite.scorers.base import ScoringContext
from musc_lite.scorers.mutual import MutualScorer
from musc_lite.stages.similarity_counts import similar_patch_counts_in_steps

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


@settings(max_examples=60)
@given(shape=token_shapes, seed=st.integers(0, 2**16), unit=st.booleans(), tile=st.sampled_from([1, 300, 2**21]))
def test_fast_equals_loop(shape, seed, unit, tile):
    tokens = random_tokens(*shape, seed, unit).double()  # double, so that rounding hides no mistake
    before, brute_force.TILE_BYTES = brute_force.TILE_BYTES, tile  # tiles of one image, of some, of all
    try:
        fast = nearest_distances(tokens)
    finally:
        brute_force.TILE_BYTES = before
    torch.testing.assert_close(fast, nearest_distances(tokens, method="loop"), atol=1e-6, rtol=0)


@settings(max_examples=30)
@given(shape=token_shapes, seed=st.integers(0, 2**16))
def test_scores_follow_their_images_when_these_are_permuted(shape, seed):
    tokens = random_tokens(*shape, seed).double()
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mutual_scores(tokens[order]), mutual_scores(tokens)[order], atol=1e-7, rtol=0)


@settings(max_examples=30)
@given(shape=token_shapes, seed=st.integers(0, 2**16))
def test_where_patches_lie_does_not_matter(shape, seed):
    tokens = random_tokens(*shape, seed).double()
    order = torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mutual_scores(tokens[:, order]), mutual_scores(tokens)[:, order], atol=1e-7, rtol=0)


@settings(max_examples=30)
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


@settings(max_examples=30)
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


@settings(max_examples=30)
@given(shape=token_shapes, seed=st.integers(0, 2**16), tile=st.sampled_from([1, 300, 2**21]))
def test_patch_counts_are_the_plain_counts(shape, seed, tile):
    tokens = random_tokens(*shape, seed).double()
    thresholds = [1.3, 0.4]
    before, brute_force.TILE_BYTES = brute_force.TILE_BYTES, tile
    try:
        counts = similar_patch_counts(tokens, thresholds)
    finally:
        brute_force.TILE_BYTES = before
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


def options(draw, n, grid):
    """Draw references and a window that fit n images of this grid."""
    some = st.lists(st.integers(0, n - 1), min_size=2, unique=True)
    return {
        "references": draw(st.none() | st.integers(2, n) | some),
        "search_window": draw(st.none() | st.integers(0, 4)),
        "grid": grid,
    }


@settings(max_examples=80)
@given(data=st.data(), seed=st.integers(0, 2**16), tile=st.sampled_from([1, 300, 2**21]))
def test_fast_equals_loop_with_references_and_windows(data, seed, tile):
    n, grid = data.draw(st.integers(2, 7)), data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    tokens = random_tokens(n, grid[0] * grid[1], data.draw(st.integers(1, 5)), seed, data.draw(st.booleans())).double()
    chosen = options(data.draw, n, grid)
    before, brute_force.TILE_BYTES = brute_force.TILE_BYTES, tile
    try:
        fast = mutual_scores(tokens, **chosen)
    finally:
        brute_force.TILE_BYTES = before
    torch.testing.assert_close(fast, mutual_scores(tokens, method="loop", **chosen), atol=1e-6, rtol=0)


def test_all_images_as_references_are_no_references():
    tokens = random_tokens(5, 9, 4).double()
    torch.testing.assert_close(mutual_scores(tokens, references=range(5)), mutual_scores(tokens))
    torch.testing.assert_close(mutual_scores(tokens, references=5), mutual_scores(tokens))


def test_window_of_the_whole_grid_is_no_window():
    tokens = random_tokens(4, 12, 4).double()
    torch.testing.assert_close(mutual_scores(tokens, search_window=3, grid=(3, 4)), mutual_scores(tokens))


def test_window_of_zero_compares_each_place_with_itself():
    tokens = random_tokens(4, 9, 5).double()
    expected = torch.stack([(tokens - tokens[i]).norm(dim=-1)[torch.arange(4) != i].amin(dim=0) for i in range(4)])
    torch.testing.assert_close(mutual_scores(tokens, search_window=0, interval=(0, 0.3)), expected)


def test_window_finds_a_part_at_the_wrong_place():
    """Every image holds the part; only with a window it is missed where it is misplaced."""
    tokens = torch.zeros(8, 9, 2)
    tokens[..., 0] = 1
    tokens[:, 4] = torch.tensor([0.0, 1.0])
    tokens[7] = tokens[7].roll(2, dims=0)
    assert mutual_scores(tokens)[7].max() < 1e-2
    assert mutual_scores(tokens, search_window=0)[7].max() > 1


def test_all_components_change_nothing_and_few_keep_the_largest_directions():
    tokens = random_tokens(5, 9, 6).double()
    torch.testing.assert_close(mutual_scores(tokens, n_components=6), mutual_scores(tokens))
    flat = torch.cat([tokens, torch.zeros(5, 9, 3)], dim=-1)  # three channels that hold nothing
    torch.testing.assert_close(mutual_scores(flat, n_components=6), mutual_scores(tokens))


def test_half_precision_is_kept_and_close():
    tokens = random_tokens(6, 16, 32)
    exact, half = mutual_scores(tokens), mutual_scores(tokens.half())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, atol=2e-3, rtol=0)
    torch.testing.assert_close(
        mutual_scores(tokens.half(), max_memory=MutualScorer().cost(tokens.shape).least_bytes), half, atol=1e-5, rtol=0
    )


def test_budget_chooses_the_way_and_not_the_scores():
    tokens = random_tokens(120, 64, 8)
    least = MutualScorer().cost(tokens.shape).least_bytes  # more for more threads
    calls = {budget: [] for budget in (None, least)}
    scores = {budget: mutual_scores(tokens, max_memory=budget, progress=calls[budget].append) for budget in calls}
    torch.testing.assert_close(scores[least], scores[None], atol=1e-5, rtol=0)
    for budget, n_pairs in ((None, 120 * 119 // 2), (least, 120 * 120)):
        assert sum(calls[budget]) == MutualScorer().cost(tokens.shape, budget).n_steps == n_pairs


def resident(kind: str) -> int:
    """Read resident memory in bytes: "VmRSS" now, "VmHWM" at its peak."""
    return 1024 * int(re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux tells resident memory")
def test_resident_memory_stays_within_the_budget():
    tokens = random_tokens(800, 64, 4).half()  # the distances of all pairs would take 164 MB
    budget = MutualScorer().cost(tokens.shape).least_bytes
    mutual_scores(tokens[:100], max_memory=budget)  # starts threads, loads what is loaded late
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from now on
    before = resident("VmRSS")
    mutual_scores(tokens, max_memory=budget)
    assert resident("VmHWM") - before < budget + 45e6  # allocators keep what they were given back


@pytest.mark.parametrize("budget", [0, "a lot", "-1GB", "1GBit", "inf", "nan"])
def test_what_is_no_budget_is_refused(budget):
    with pytest.raises(ValueError, match="a size is a number of bytes"):
        mutual_scores(random_tokens(3, 4, 2), max_memory=budget)


def test_too_small_a_budget_names_the_smallest_that_works():
    tokens = random_tokens(12, 16, 4)
    with pytest.raises(ValueError, match=r"takes at least (\d+) bytes") as refused:
        mutual_scores(tokens, max_memory="1KB")
    least = int(re.search(r"at least (\d+)", str(refused.value))[1])
    torch.testing.assert_close(mutual_scores(tokens, max_memory=least), mutual_scores(tokens), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="takes at least"):
        mutual_scores(tokens, max_memory=least - 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"references": 1}, "references must be 2 to 4"),
        ({"references": 5}, "references must be 2 to 4"),
        ({"references": 2.5}, "references must be 2 to 4"),
        ({"n_components": 2.5}, "between 1 and the 5 channels"),
        ({"references": [1, 1]}, "at least 2 of the images 0 to 3"),
        ({"references": [1, 4]}, "at least 2 of the images 0 to 3"),
        ({"references": [0.5, 1]}, "at least 2 of the images 0 to 3"),
        ({"search_window": -1, "grid": (2, 3)}, "search_window must be a whole number"),
        ({"search_window": 1}, "needs to know the grid of the 6 patches"),
        ({"search_window": 1, "grid": (2, 4)}, "needs to know the grid of the 6 patches"),
        ({"n_components": 0}, "between 1 and the 5 channels"),
        ({"n_components": 6}, "between 1 and the 5 channels"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        mutual_scores(random_tokens(4, 6, 5), **wrong)


def test_new_images_are_searched_the_same_way():
    tokens = random_tokens(6, 12, 8).double()
    grid = ScoringContext(grid=(3, 4))
    all_as_references = mutual_scores(tokens, interval=(0, 1), references=range(1, 6), search_window=1, grid=(3, 4))[0]
    new = MutualScorer((0, 1), search_window=1).score(tokens[:1], tokens[1:], grid)[0]
    torch.testing.assert_close(new, all_as_references)
    axes = brute_force.principal_axes(tokens[1:], 4)
    close = MutualScorer(n_components=4).score(tokens[:1], tokens[1:])
    torch.testing.assert_close(close, MutualScorer().score(tokens[:1] @ axes, tokens[1:] @ axes))


class TestSimilarPatchCountsInSteps:
    def test_equals_the_comparison_with_each_threshold(self):
        tokens = torch.nn.functional.normalize(
            torch.randn(5, 40, 6, generator=torch.Generator().manual_seed(0)), dim=-1
        )
        counts = similar_patch_counts_in_steps(tokens)
        assert counts.shape == (5, 40, 201)
        torch.testing.assert_close(counts.long(), similar_patch_counts(tokens, [k / 100 for k in range(201)]))

    def test_distances_on_an_edge_count_as_similar(self):
        tokens = (torch.arange(12.0, dtype=torch.float64) / 8).reshape(3, 4, 1)  # distances of whole eighths
        counts = similar_patch_counts_in_steps(tokens, n_per_unit=8)
        torch.testing.assert_close(counts.long(), similar_patch_counts(tokens, [k / 8 for k in range(17)]))

    def test_copies_are_similar_at_any_threshold_above_zero(self):
        tokens = torch.nn.functional.normalize(
            torch.randn(1, 9, 16, generator=torch.Generator().manual_seed(1)), dim=-1
        )
        counts = similar_patch_counts_in_steps(tokens.repeat(4, 1, 1))
        assert (counts[..., 1] >= 3).all()
        assert (counts[..., -1] == 3 * 9).all()

    def test_tells_its_progress_and_ends_when_asked(self):
        tokens, done = torch.randn(6, 4, 3), []
        similar_patch_counts_in_steps(tokens, progress=done.append)
        assert sum(done) == 15

        def stop(n_pairs):
            raise InterruptedError

        with pytest.raises(InterruptedError):
            similar_patch_counts_in_steps(tokens, progress=stop)
