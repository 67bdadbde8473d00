"""The equations of the shelf beside mutual scoring, each against a plain form or a well-kept library."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.covariance import OAS
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from musc_lite import MutualScorer, NearestScorer, rescore
from musc_lite.neighbors.covariance import mean_and_covariance
from musc_lite.scorers.base import ScoringContext
from musc_lite.scorers.fusion import Fusion
from musc_lite.scorers.gaussian import GaussianScorer
from musc_lite.scorers.memory_bank import MemoryBankScorer, k_center
from musc_lite.scorers.subspace import SubspaceScorer
from musc_lite.stages.aggregation import SNAMD, normalize_tokens, similarity_mean
from musc_lite.stages.rescoring import RsCIN, RsCon

SHAPES = st.tuples(st.integers(2, 7), st.integers(1, 9), st.integers(1, 7))
SEEDS = st.integers(0, 2**16)
some = settings(max_examples=30)

SHELF = {
    "subspace": SubspaceScorer(n_components=3),
    "gaussian": GaussianScorer(),
    "gaussian each place": GaussianScorer(per_position=True),
    "memory": MemoryBankScorer(coreset_ratio=1),
    "fusion": Fusion([MutualScorer(), SubspaceScorer(n_components=3), NearestScorer()]),
}
of_all = pytest.mark.parametrize("scorer", SHELF.values(), ids=SHELF)


def random_tokens(shape, seed=0):
    """Vectors that scatter unlike in all directions, around a mean that is not 0."""
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(size=shape) @ random.normal(size=(shape[2], shape[2])) + 2)


def flat(tokens):
    return tokens.reshape(-1, tokens.shape[-1]).numpy()


class TestMoments:
    @some
    @given(SHAPES, SEEDS)
    def test_are_numpys(self, shape, seed):
        tokens = random_tokens(shape, seed)
        mean, covariance = mean_and_covariance(tokens)
        np.testing.assert_allclose(mean, flat(tokens).mean(axis=0), atol=1e-10)
        np.testing.assert_allclose(covariance, np.atleast_2d(np.cov(flat(tokens).T, ddof=0)), atol=1e-10)

    def test_of_many_images_are_put_together(self):
        tokens = random_tokens((37, 3, 4))
        np.testing.assert_allclose(mean_and_covariance(tokens)[1], np.cov(flat(tokens).T, ddof=0), atol=1e-10)

    @pytest.mark.parametrize(("dtype", "atol"), [(torch.float16, 2e-5), (torch.float32, 2e-5)])
    def test_in_less_precision_far_from_the_origin(self, dtype, atol):
        tokens = (random_tokens((5, 40, 6)) / 8 + 500).to(dtype)
        mean, covariance = mean_and_covariance(tokens)
        assert mean.dtype == covariance.dtype == torch.float64
        exact = flat(tokens.double())
        np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-7)
        np.testing.assert_allclose(covariance, np.cov(exact.T, ddof=0), atol=atol)


class TestSubspace:
    @some
    @given(SHAPES, SEEDS, st.sampled_from([0.1, 0.5, 0.9, 0.99]))
    def test_is_the_residual_of_scikit_learns_pca(self, shape, seed, variance):
        tokens, new = random_tokens(shape, seed), random_tokens((2, *shape[1:]), seed + 1)
        scorer = SubspaceScorer(variance)
        self.assert_residuals(PCA(variance, svd_solver="full").fit(flat(tokens)), scorer, tokens, new)

    @some
    @given(SHAPES, SEEDS, st.data())
    def test_of_so_many_directions(self, shape, seed, data):
        n = data.draw(st.integers(1, min(shape[2], shape[0] * shape[1])))
        tokens, new = random_tokens(shape, seed), random_tokens((2, *shape[1:]), seed + 1)
        self.assert_residuals(PCA(n).fit(flat(tokens)), SubspaceScorer(n_components=n), tokens, new, data=tokens)

    def assert_residuals(self, pca, scorer, tokens, new, data=None):
        for images, found in ((tokens, scorer.fit_score(tokens)), (new, scorer.score(new, tokens))):
            if data is not None and images is new and pca.n_components_ >= min(flat(data).shape[0] - 1, data.shape[2]):
                continue  # no variance is left to choose the last axes by
            vectors = flat(images)
            residuals = np.linalg.norm(vectors - pca.inverse_transform(pca.transform(vectors)), axis=1)
            np.testing.assert_allclose(found.ravel(), residuals, atol=1e-6)

    def test_of_constant_tokens_is_zero(self):
        assert SubspaceScorer().fit_score(torch.ones(3, 4, 5)).abs().max() == 0


class TestGaussian:
    @some
    @given(SHAPES, SEEDS)
    def test_of_all_places_is_scikit_learns_oas(self, shape, seed):
        tokens, new = random_tokens(shape, seed), random_tokens((2, *shape[1:]), seed + 1)
        scorer, fitted = GaussianScorer(), OAS().fit(flat(tokens))
        for images, found in ((tokens, scorer.fit_score(tokens)), (new, scorer.score(new, tokens))):
            np.testing.assert_allclose(found.ravel() ** 2, fitted.mahalanobis(flat(images)), rtol=1e-6, atol=1e-8)

    @some
    @given(SHAPES, SEEDS)
    def test_of_each_place_is_scikit_learns_oas_place_by_place(self, shape, seed):
        tokens, new = random_tokens(shape, seed), random_tokens((2, *shape[1:]), seed + 1)
        scorer = GaussianScorer(per_position=True)
        for images, found in ((tokens, scorer.fit_score(tokens)), (new, scorer.score(new, tokens))):
            for m in range(shape[1]):
                expected = OAS().fit(tokens[:, m].numpy()).mahalanobis(images[:, m].numpy())
                np.testing.assert_allclose(found[:, m] ** 2, expected, rtol=1e-6, atol=1e-8)

    @pytest.mark.parametrize("per_position", [False, True])
    def test_of_constant_tokens_is_the_distance(self, per_position):
        tokens, scorer = torch.ones(3, 4, 5), GaussianScorer(per_position)
        assert scorer.fit_score(tokens).abs().max() == 0
        torch.testing.assert_close(scorer.score(tokens[:1] + 1, tokens), torch.full((1, 4), 5**0.5))


def nearest_elsewhere(images, batch, references, own):
    """Measure with scikit-learn from each patch to the nearest of the references, not those of its own image."""
    scores = np.empty(images.shape[:2])
    for i, image in enumerate(images):
        others = flat(batch[[j for j in references if not (own and j == i)]])
        scores[i] = NearestNeighbors(n_neighbors=1).fit(others).kneighbors(image)[0][:, 0]
    return scores


def plain_k_center(vectors, n_kept):
    chosen = [0]
    while len(chosen) < n_kept:
        to_chosen = [min(np.linalg.norm(v - vectors[c]) for c in chosen) for v in vectors]
        chosen.append(int(np.argmax(to_chosen)))
    return chosen


class TestMemoryBank:
    @some
    @given(SHAPES, SEEDS, st.data())
    def test_of_all_patches_is_scikit_learns_nearest_neighbor(self, shape, seed, data):
        tokens, new = random_tokens(shape, seed), random_tokens((2, *shape[1:]), seed + 1)
        trusted = data.draw(st.none() | st.sets(st.integers(0, shape[0] - 1), min_size=2))
        scorer = MemoryBankScorer(None if trusted is None else sorted(trusted), coreset_ratio=1)
        looked_at = trusted or range(shape[0])
        found, as_new = scorer.fit_score(tokens), scorer.score(new, tokens)
        np.testing.assert_allclose(found, nearest_elsewhere(tokens, tokens, looked_at, own=True), atol=1e-6)
        np.testing.assert_allclose(as_new, nearest_elsewhere(new, tokens, looked_at, own=False), atol=1e-6)
        if trusted is None:
            np.testing.assert_allclose(found, NearestScorer(k=1).fit_score(tokens), atol=1e-6)

    @some
    @given(SHAPES, SEEDS, st.floats(0.01, 1))
    def test_looks_at_its_bank_and_shows_it(self, shape, seed, share):
        tokens, scorer = random_tokens(shape, seed), MemoryBankScorer(coreset_ratio=share)
        scores, bank = scorer.fit_score(tokens), scorer.state()["bank"]
        assert len(bank) == max(2, round(share * shape[0] * shape[1]))
        owners = bank // shape[1]
        for i in range(shape[0]):
            others = flat(tokens)[bank[owners != i]]
            distances = np.linalg.norm(tokens[i].numpy()[:, None] - others, axis=-1)
            np.testing.assert_allclose(scores[i], distances.min(axis=1), atol=1e-6)
            shown = scorer.explain(tokens, i, 0)
            assert set(shown.images.tolist()) == set(owners.tolist()) - {i}
            assert int(shown.distances.isfinite().sum()) == len(bank)
            assert shown.distances[shown.images].min() == pytest.approx(float(scores[i, 0]), abs=1e-6)

    @some
    @given(st.integers(1, 40), st.integers(1, 5), SEEDS, st.data())
    def test_k_center_is_the_plain_greedy_loop(self, n, n_channels, seed, data):
        vectors = np.random.default_rng(seed).normal(size=(n, n_channels))
        n_kept = data.draw(st.integers(1, n))
        assert k_center(torch.from_numpy(vectors), n_kept).tolist() == plain_k_center(vectors, n_kept)

    def test_k_center_of_wide_vectors_chooses_in_a_projection(self):
        vectors = random_tokens((1, 60, 100))[0]
        random = torch.randn(100, 8, generator=torch.Generator().manual_seed(0)).double()
        chosen = k_center(vectors, 20, n_dimensions=8).tolist()
        assert chosen == plain_k_center((vectors @ random).numpy(), 20)
        assert k_center(vectors.half(), 20, n_dimensions=8)[0] == 0

    @some
    @given(SHAPES, SEEDS, st.floats(0.01, 0.9))
    def test_scores_do_not_depend_on_the_order_of_the_images(self, shape, seed, share):
        tokens, order = random_tokens(shape, seed), np.random.default_rng(seed).permutation(shape[0])
        as_they_are, permuted = (
            MemoryBankScorer(coreset_ratio=share).fit_score(some) for some in (tokens, tokens[order])
        )
        np.testing.assert_allclose(permuted, as_they_are[order], atol=1e-6)

    @pytest.mark.parametrize("owner", range(4))
    def test_a_bank_of_one_image_gets_a_patch_of_another(self, owner):
        tokens = random_tokens((4, 9, 3), owner) / 100
        tokens[owner, :2] += torch.tensor([[50.0, 0, 0], [-50.0, 0, 0]])  # the two that cover all others
        scorer = MemoryBankScorer(coreset_ratio=2 / 36)
        assert scorer.fit_score(tokens).isfinite().all()
        first, second = scorer.state()["bank"].tolist()
        assert first // 9 != second // 9

    def test_k_center_chooses_no_vector_twice(self):
        assert sorted(k_center(torch.ones(5, 3), 9).tolist()) == [0, 1, 2, 3, 4]


class TestFusion:
    @some
    @given(SHAPES, SEEDS)
    def test_is_the_mean_in_units_of_the_spread(self, shape, seed):
        tokens, new = random_tokens(shape, seed), random_tokens((2, *shape[1:]), seed + 1)
        each = [MutualScorer(), NearestScorer(), GaussianScorer()]
        fusion, expected, expected_new = Fusion(each), [], []
        for scorer in each:
            scores, as_new = scorer.fit_score(tokens).numpy(), scorer.score(new, tokens).numpy()
            middle = np.quantile(scores, 0.5, method="lower")
            spread = 1.4826 * np.quantile(np.abs(scores - middle), 0.5, method="lower")
            assume(spread > 1e-4)
            expected.append((scores - middle) / spread)
            expected_new.append((as_new - middle) / spread)
        np.testing.assert_allclose(fusion.fit_score(tokens), np.mean(expected, axis=0), atol=1e-7)
        np.testing.assert_allclose(fusion.score(new, tokens), np.mean(expected_new, axis=0), atol=1e-7)

    def test_units_do_not_matter(self):
        class Shouting(NearestScorer):
            def fit_score(self, batch, context=None):
                return 1000 * super().fit_score(batch) + 5

        tokens = random_tokens((5, 6, 4))
        plain, loud = (Fusion([MutualScorer(), other]) for other in (NearestScorer(), Shouting()))
        torch.testing.assert_close(plain.fit_score(tokens), loud.fit_score(tokens))


class TestSimilarityAggregation:
    @some
    @given(
        st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4)),
        st.sampled_from([1, 3, 5, 9]),
        SEEDS,
    )
    def test_is_the_plain_double_loop(self, shape, r, seed):
        n_images, h, w, n_channels = shape
        tokens = np.random.default_rng(seed).normal(size=shape)
        expected = np.empty_like(tokens)
        for i, y, x in np.ndindex(n_images, h, w):
            rows, columns = slice(max(0, y - r // 2), y + r // 2 + 1), slice(max(0, x - r // 2), x + r // 2 + 1)
            around = tokens[i, rows, columns].reshape(-1, n_channels)
            weights = np.exp(-np.linalg.norm(around - tokens[i, y, x], axis=1))
            expected[i, y, x] = weights @ around / weights.sum()
        found = similarity_mean(torch.from_numpy(tokens.reshape(n_images, h * w, n_channels)), (h, w), r)
        np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-12)

    def test_snamd_averages_the_degrees_of_unit_vectors(self):
        tokens = random_tokens((3, 12, 5))
        unit = torch.nn.functional.normalize(normalize_tokens(tokens), dim=-1)
        mean = sum(similarity_mean(unit, (3, 4), r) for r in (1, 3, 5)) / 3
        found = SNAMD((5, 1, 3)).aggregate(tokens, (3, 4), 5, torch.device("cpu"))
        torch.testing.assert_close(found, mean / mean.norm(dim=-1, keepdim=True))
        assert SNAMD((5, 1, 3)).degrees((1, 7)) == (5,)


@some
@given(st.integers(2, 9), SEEDS, st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_rscon_is_rescoring_with_the_image_alone_among_the_windows(n, seed, windows):
    random = np.random.default_rng(seed)
    scores = torch.from_numpy(random.normal(size=n))
    tokens = torch.nn.functional.normalize(torch.from_numpy(np.abs(random.normal(size=(n, 4)))), dim=1)
    sizes = sorted({1, *windows})
    found = RsCon(windows).rescore(scores, tokens)
    torch.testing.assert_close(found, rescore(scores, tokens, sizes))
    scaled = (scores - scores.min()) / (scores.max() - scores.min())
    assert (found >= scaled / len(sizes) - 1e-9).all()  # each keeps its share of its own score
    new = scores[:2] + 0.1, tokens[:2].flip(1), scores, tokens
    torch.testing.assert_close(RsCon(windows).rescore_new(*new), RsCIN(sizes).rescore_new(*new))


def test_rscon_without_windows_leaves_the_scores_alone():
    scores = torch.tensor([2.0, 6.0])
    assert RsCon(()).rescore(scores, torch.eye(2)) is scores


@of_all
def test_the_order_of_images_does_not_matter(scorer):
    tokens, order = random_tokens((6, 9, 5)), torch.tensor([3, 0, 5, 1, 4, 2])
    grid, new = ScoringContext(grid=(3, 3)), random_tokens((2, 9, 5), 1)
    scores, as_new = scorer.fit_score(tokens, grid), scorer.score(new, tokens, grid)
    torch.testing.assert_close(scorer.fit_score(tokens[order], grid), scores[order], atol=1e-6, rtol=0)
    torch.testing.assert_close(scorer.score(new.flip(0), tokens[order], grid), as_new.flip(0), atol=1e-6, rtol=0)


@of_all
def test_the_axes_of_the_channels_do_not_matter(scorer):
    tokens, turn = random_tokens((6, 9, 5)), torch.linalg.qr(random_tokens((1, 5, 5), 7)[0]).Q
    scores = scorer.fit_score(tokens)
    torch.testing.assert_close(scorer.fit_score(tokens @ turn), scores, atol=1e-6, rtol=0)


@of_all
def test_half_precision_is_computed_in_float32(scorer):
    tokens = torch.nn.functional.normalize(random_tokens((6, 9, 5)) - 2, dim=-1)
    scores, half = scorer.fit_score(tokens), scorer.fit_score(tokens.half())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), scores, atol=5e-3, rtol=2e-2)
    assert scorer.score(tokens[:1].half(), tokens.half()).dtype == torch.float32


@of_all
def test_one_image_is_too_few(scorer):
    with pytest.raises(ValueError, match="at least 2"):
        scorer.fit_score(torch.rand(1, 4, 3))
