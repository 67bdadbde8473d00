"""Field cases of the explorers: copies in a batch."""

from dataclasses import replace

import numpy as np
import pytest

import musc_lite

pytest.importorskip("anywidget", reason="needs the extra 'lab'")

from musc_lite.static_page.payload import choose_features, collect
from musc_lite.widgets import (
    DefectKinds,
    IntervalExplorer,
    NeighborhoodExplorer,
    PatchExplorer,
    RescoringExplorer,
    SimilarityCounts,
    ThresholdExplorer,
)

pytestmark = pytest.mark.case(38)
EXPLORERS = [
    PatchExplorer,
    SimilarityCounts,
    NeighborhoodExplorer,
    IntervalExplorer,
    RescoringExplorer,
    ThresholdExplorer,
]
ORDER = [
    0,
    0,
    1,
    5,
    2,
    3,
    2,
    4,
]  # of the planted photos; 5 has the defect
UNIQUE, FIRST = [0, 2, 3, 4, 5, 7], [0, 0, 2, 3, 4, 5, 4, 7]


@pytest.fixture(scope="module")
def detector():
    images = musc_lite.planted_textures("gravel", n_images=6, n_defective=1, image_size=112)
    images = replace(images.subset(ORDER), names=[f"{k}.png" for k in range(len(ORDER))])
    with pytest.warns(UserWarning, match="cop(y|ies)"):
        return musc_lite.MuSc(layers=[5, 8], r=(1, 3), image_size=112).fit(images)


@pytest.mark.parametrize(
    "kind",
    [PatchExplorer, SimilarityCounts, NeighborhoodExplorer, IntervalExplorer, RescoringExplorer, ThresholdExplorer],
)
def test_opens_at_the_most_anomalous_image(kind, detector):
    explorer = kind(detector)
    most = int(detector.image_scores_.argmax())
    assert most == 3
    if kind.PLACE:
        assert explorer.place[0] == most
    assert explorer.static_png()
    assert len(explorer.table()[1]) > 0


@pytest.mark.parametrize("i", range(len(ORDER)))
def test_numbers_are_those_of_the_batch(i, detector):
    explorer = PatchExplorer(detector, image=i)
    image, patch = explorer.selected
    score = detector.patch_scores_[1, 1, i, patch]
    assert image == i
    assert explorer._large.tiles[0]["name"] == detector.names_[i]
    assert explorer.answer.interval_mean == pytest.approx(float(score), abs=1e-4)
    assert sorted(explorer.answer.others) == [j for j in UNIQUE if j != FIRST[i]]  # no image scores its own copy
    neighbors = RescoringExplorer(detector, image=i)
    np.testing.assert_allclose(neighbors.rescored, neighbors.rescored[FIRST], atol=1e-6)
    assert sorted(neighbors.neighbors(99)) == sorted([i, *(j for j in UNIQUE if j != FIRST[i])])


def test_counts_and_scores_are_those_of_the_detector(detector):
    counts, interval, blocks = (kind(detector) for kind in (SimilarityCounts, IntervalExplorer, NeighborhoodExplorer))
    distances = musc_lite.nearest_distances(detector.aggregated_tokens(1, 3))
    expected = musc_lite.similarity_counts(distances, counts.threshold).numpy()
    np.testing.assert_array_equal(counts.counts[UNIQUE], expected)
    np.testing.assert_array_equal(counts.counts, counts.counts[FIRST])
    np.testing.assert_allclose(interval.scores, detector.patch_scores_[1, 1], atol=1e-5)
    np.testing.assert_allclose(blocks.scores, detector.patch_scores_[1, 1], atol=1e-5)
    blocks.r = 5  # which was not fitted
    assert blocks.scores.shape == interval.scores.shape
    assert DefectKinds(detector).static_png()


def test_rescoring_is_the_detector_s(detector):
    explorer, after = RescoringExplorer(detector), detector.image_scores_
    np.testing.assert_array_equal(np.argsort(explorer.rescored[UNIQUE]), np.argsort(after[UNIQUE]))


def test_page_without_a_kernel(detector):
    features = choose_features(detector)
    content = collect(detector, detector.images_, features, detector.aggregated_tokens(*features), 6, 64)
    assert content.data["numbers"] == UNIQUE
    most = content.data["numbers"][int(np.argmax(content.data["imageScores"]))]
    assert detector.names_[most] == "3.png"
