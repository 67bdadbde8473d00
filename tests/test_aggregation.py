import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musc_lite import aggregate, neighborhood_mean, normalize_tokens


@pytest.mark.parametrize(("r", "key"), [(1, "aggregated_r1_first3"), (3, "aggregated_r3"), (5, "aggregated_r5_first3")])
def test_aggregate_agrees_with_the_published_code(golden, r, key):
    for s in range(3):
        expected = golden[key][:, s]
        found = aggregate(golden["tokens"][: len(expected), s], (7, 7), r)
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_neighborhood_mean_agrees_with_the_published_code(golden):
    expected = golden["aggregated_r3_before_norm_first3"]
    for s in range(3):
        found = neighborhood_mean(normalize_tokens(golden["tokens"][:3, s]), (7, 7), 3)
        np.testing.assert_allclose(found, expected[:, s], atol=2e-6)


def test_the_grid_is_read_row_by_row():
    tokens = torch.zeros(1, 10, 1)
    tokens[0, 0] = 9.0  # upper left of a 2 x 5 grid
    mean = neighborhood_mean(tokens, (2, 5), 3).reshape(2, 5)
    assert torch.equal(mean, torch.tensor([[1.0, 1, 0, 0, 0], [1, 1, 0, 0, 0]]))


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4)),
    r=st.sampled_from([1, 3, 5, 7]),
    seed=st.integers(0, 2**16),
)
def test_neighborhood_mean_is_the_plain_sum_over_the_neighborhood(shape, r, seed):
    n, h, w, c = shape
    tokens = np.random.default_rng(seed).normal(size=(n, h, w, c))
    padded = np.pad(tokens, ((0, 0), (r // 2, r // 2), (r // 2, r // 2), (0, 0)))
    expected = sum(padded[:, y : y + h, x : x + w] for y in range(r) for x in range(r)) / r**2
    found = neighborhood_mean(tokens.reshape(n, h * w, c), (h, w), r)
    np.testing.assert_allclose(found, expected.reshape(n, h * w, c), atol=1e-12)


def test_each_image_is_aggregated_apart():
    tokens = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(1))
    together = aggregate(tokens, (3, 3), 3)
    assert torch.allclose(together[1:2], aggregate(tokens[1:2], (3, 3), 3), atol=1e-6)


def test_half_precision_comes_out_as_float32_on_a_cpu():
    assert aggregate(torch.ones(1, 4, 3, dtype=torch.float16), (2, 2), 3).dtype == torch.float32


@pytest.mark.parametrize("r", [0, 2, -1, 1.5])
def test_bad_degree(r):
    with pytest.raises(ValueError, match="odd whole number"):
        aggregate(np.zeros((1, 4, 2)), (2, 2), r)


def test_bad_tokens():
    with pytest.raises(ValueError, match="2 x 3 has 6 patches, but the tokens have 4"):
        neighborhood_mean(np.zeros((1, 4, 2)), (2, 3), 3)
    with pytest.raises(ValueError, match="take one layer"):
        aggregate(np.zeros((1, 2, 4, 2)), (2, 2), 3)
    with pytest.raises(ValueError, match="NaN"):
        aggregate(np.full((1, 4, 2), np.nan), (2, 2), 3)
    with pytest.raises(ValueError, match="empty"):
        aggregate(np.zeros((0, 4, 2)), (2, 2), 3)
