import numpy as np
import pytest
import torch
from conftest import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st

from musc_lite import image_similarity, keep_top_k, rescore
from musc_lite.stages import rescoring
from musc_lite.stages.rescoring import RsCIN, neighborhood_scores


@pytest.mark.parametrize(("windows", "key"), [((1, 2, 3), "1_2_3"), ((1, 8, 9), "1_8_9"), ((2,), "2")])
def test_rescore_agrees_with_the_published_code(golden, windows, key):
    found = rescore(golden["rscin_scores"], golden["rscin_class_tokens"], windows)
    np.testing.assert_allclose(found, golden[f"rscin_out_{key}"], atol=1e-6)


@pytest.mark.parametrize("category", ["bottle", "pcb1"])
def test_rescore_agrees_on_real_clip_tokens(category):
    path = SHARED / "golden" / "clip_class_tokens_small.npz"
    if not path.exists():
        pytest.skip("shared/golden/clip_class_tokens_small.npz is not there")
    with np.load(path) as real:
        tokens, scores = real[f"{category}_class_tokens"], real[f"{category}_scores"]
        windows = real[f"{category}_windows"].tolist()
        np.testing.assert_allclose(rescore(scores, tokens, windows), real[f"{category}_out"], atol=1e-5)


def unit_tokens(n, d, seed):
    tokens = np.random.default_rng(seed).normal(size=(n, d))
    return np.abs(tokens) / np.linalg.norm(tokens, axis=1, keepdims=True)


@settings(max_examples=40)
@given(
    n=st.integers(1, 9),
    seed=st.integers(0, 2**16),
    windows=st.lists(st.integers(1, 12), min_size=1, max_size=3),
)
def test_new_scores_are_means_of_scaled_ones(n, seed, windows):
    scores = np.random.default_rng(seed).normal(size=n)
    tokens = unit_tokens(n, 4, seed)
    found = rescore(scores, tokens, windows).numpy()
    assert (found >= -1e-9).all()
    assert (found <= 1 + 1e-9).all()
    order = np.random.default_rng(seed + 1).permutation(n)
    np.testing.assert_allclose(rescore(scores[order], tokens[order], windows), found[order], atol=1e-9)
    np.testing.assert_allclose(rescore(5 * scores - 3, tokens, windows), found, atol=1e-9)


def test_window_one_only_scales():
    found = rescore([2.0, 6.0, 4.0], unit_tokens(3, 4, 0), rescoring_sizes=(1,))
    np.testing.assert_allclose(found, [0.0, 1.0, 0.5])


def test_no_windows_leave_the_scores_alone():
    np.testing.assert_array_equal(rescore([2.0, 6.0], unit_tokens(2, 4, 0), rescoring_sizes=()), [2.0, 6.0])


def test_a_window_over_all_identical_images_gives_the_mean():
    found = rescore([0.0, 1.0, 0.5, 0.1], np.ones((4, 2)) / np.sqrt(2), rescoring_sizes=(99,))
    np.testing.assert_allclose(found, 0.4)


def test_constant_scores_stay_constant():
    found = rescore([3.0, 3.0, 3.0], unit_tokens(3, 4, 0))
    assert np.ptp(found.numpy()) == 0
    assert torch.isfinite(found).all()


def test_keep_top_k_keeps_the_largest():
    kept = keep_top_k([[0.1, 0.9, 0.5], [0.3, 0.2, 0.4]], 2)
    np.testing.assert_allclose(kept, [[0, 0.9, 0.5], [0.3, 0, 0.4]])


def test_similarity_takes_tokens_as_given():
    np.testing.assert_allclose(image_similarity(np.array([[2.0, 0.0], [3.0, 1.0]])), [[4, 6], [6, 10]])


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 1"):
        keep_top_k(np.eye(3), 0)
    with pytest.raises(ValueError, match="one score and one class token per image"):
        rescore([1.0, 2.0], np.ones((3, 2)))
    with pytest.raises(ValueError, match="NaN"):
        rescore([1.0, float("nan")], np.eye(2))
    with pytest.raises(ValueError, match="list of sizes"):
        rescore([1.0, 2.0], np.eye(2), rescoring_sizes=2)
    with pytest.raises(ValueError, match="no positive similarity"):
        rescore([1.0, 2.0], np.zeros((2, 2)))


@pytest.mark.parametrize("n_images", [3, 200])
@pytest.mark.parametrize("windows", [(1, 2, 3), (1, 8, 9), ()])
def test_new_images_are_rescored_as_one_more_image_of_the_batch(n_images, windows):
    rng = torch.Generator().manual_seed(n_images)
    tokens = torch.nn.functional.normalize(torch.rand(n_images + 4, 64, generator=rng), dim=1)
    scores = torch.rand(n_images + 4, generator=rng)
    batch, new = scores[4:], scores[:4]
    found = RsCIN(windows).rescore_new(new, tokens[:4], batch, tokens[4:])
    for q in range(4):
        scaled = (torch.cat([new[q : q + 1], batch]) - batch.min()) / (batch.max() - batch.min())
        similarity = image_similarity(torch.cat([tokens[q : q + 1], tokens[4:]]))
        expected = neighborhood_scores(similarity, scaled, windows)[0] if windows else new[q]
        assert float(found[q]) == pytest.approx(float(expected), abs=1e-6)


def test_rescoring_of_a_new_image_compares_it_alone_with_the_batch(monkeypatch):
    monkeypatch.setattr(rescoring, "image_similarity", None)  # (N + 1)^2 products, of which one row is needed
    RsCIN().rescore_new(torch.rand(2), torch.rand(2, 8), torch.rand(5), torch.rand(5, 8))
