"""Every scorer of the shelf runs through the detector, within memory, from a file, and on new images."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from musc_lite import (
    SNAMD,
    Detector,
    Fusion,
    GaussianScorer,
    MemoryBankScorer,
    MutualScorer,
    NearestScorer,
    RecurringScorer,
    RsCon,
    SubspaceScorer,
    View,
    extract_features,
    planted_textures,
)
from musc_lite.scorers.base import ScoringContext

SHELF = [
    MemoryBankScorer(),
    MemoryBankScorer(["brick_000_good", "brick_003_good"], coreset_ratio=0.5),
    SubspaceScorer(),
    SubspaceScorer(n_components=5, references=4),
    GaussianScorer(),
    GaussianScorer(per_position=True, references=[0, 1, 2, 3, 4, 5]),
    RecurringScorer(),
    RecurringScorer((0.1, 0.5), jump=1.5),
    Fusion(),
    Fusion([NearestScorer(), GaussianScorer()]),
]
each_scorer = pytest.mark.parametrize("scorer", SHELF, ids=repr)


@pytest.fixture(scope="module")
def images():
    return planted_textures("brick", 8, 2, image_size=56)


@pytest.fixture(scope="module")
def features(images, backbone):
    return extract_features(images, backbone, layers=[5, 8], image_size=56, progress=False)


@pytest.fixture(scope="module")
def new():
    return planted_textures("brick", 3, 1, image_size=56, seed=1)


@each_scorer
def test_a_detector_fits_saves_loads_and_scores_new_images(backbone, images, features, new, scorer, tmp_path):
    parts = {"view": View(56), "aggregation": SNAMD((1, 3)), "rescoring": RsCon()}
    detector = Detector(backbone, **parts, scorer=scorer).fit_features(features, images)
    assert detector.r_ == (3,)
    assert detector.patch_scores_.shape == (1, 2, 8, 16)
    assert np.isfinite(detector.image_scores_).all()
    assert detector.provenance()["scorer"]
    expected = detector.score_images(new)
    detector.save(tmp_path / "saved")
    loaded = Detector.load(tmp_path / "saved", backbone)
    np.testing.assert_array_equal(loaded.score_images(new).image_scores, expected.image_scores)
    assert repr(loaded.components.scorer) == repr(detector.components.scorer)
    assert isinstance(loaded.components.aggregation, SNAMD)
    assert isinstance(loaded.components.rescoring, RsCon)


@each_scorer
def test_progress_reaches_what_was_promised_and_memory_is_told(scorer):
    tokens = torch.nn.functional.normalize(torch.randn(8, 16, 12, generator=torch.Generator().manual_seed(0)), dim=-1)
    place = {i: i for i in range(8)} | {f"brick_{i:03}_good": i for i in range(8)}
    told, scorer = [], clone(scorer).resolve_references(place, 8)
    scores = scorer.fit_score(tokens, ScoringContext((4, 4), progress=told.append))
    work = scorer.cost((8, 16, 12))
    assert sum(told) == work.n_steps
    assert work.least_bytes > 0
    assert scores.shape == (8, 16)
    half = clone(scorer).fit_score(tokens.half(), ScoringContext((4, 4)))
    assert half.dtype == torch.float32
    assert (half - scores).abs().max() < 0.02 * scores.abs().max()


@each_scorer
def test_the_cost_is_told_before_the_work(backbone, images, scorer):
    cost = Detector(backbone, view=View(56), scorer=scorer).cost(8)
    assert cost.scoring_seconds > 0
    assert cost.n_bytes > 0


@pytest.mark.parametrize("scorer", [SubspaceScorer(), GaussianScorer(), GaussianScorer(per_position=True)], ids=repr)
def test_where_an_image_sees_itself_it_scores_the_same_as_a_new_one(scorer):
    tokens = torch.randn(6, 9, 4, generator=torch.Generator().manual_seed(0))
    fitted = scorer.fit_score(tokens)
    torch.testing.assert_close(scorer.score(tokens[2:4], tokens), fitted[2:4])


def test_trusted_images_alone_make_the_bank():
    tokens = torch.randn(5, 9, 4, generator=torch.Generator().manual_seed(0))
    bank = MemoryBankScorer([1, 3], coreset_ratio=1)
    scores = bank.fit_score(tokens)
    expected = torch.cdist(tokens[0], tokens[[1, 3]].reshape(-1, 4)).amin(dim=1)
    torch.testing.assert_close(scores[0], expected, atol=1e-4, rtol=0)
    own = torch.cdist(tokens[1], tokens[3]).amin(dim=1)  # one of them sees the other only
    torch.testing.assert_close(scores[1], own, atol=1e-4, rtol=0)
    explained = bank.explain(tokens, 0, 2)
    assert explained.images.tolist() == [1, 3]
    assert explained.distances[explained.images].min() == pytest.approx(expected[2].item(), abs=1e-4)
    assert explained.distances[[0, 2, 4]].isinf().all()


def test_mutual_scoring_beside_the_subspace_is_what_a_fusion_is_without_a_choice():
    tokens = torch.randn(5, 9, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Fusion().fit_score(tokens), Fusion([MutualScorer(), SubspaceScorer()]).fit_score(tokens))
