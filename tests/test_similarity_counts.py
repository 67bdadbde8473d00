"""The key observation holds where explorers begin: an ordinary patch finds a match in most images, a defect in few."""

import json
import re

import numpy as np
import pytest

import musc_lite
from musc_lite.stages.similarity_counts import default_features, default_threshold

pytest.importorskip("anywidget", reason="needs the extra 'lab'")

from musc_lite.widgets import PatchExplorer, SimilarityCounts


@pytest.fixture(scope="module", params=["brick", "gravel"])
def planted(request):
    """A fitted detector, which patches are defective and which lie in normal images, (N, M) each."""
    images = musc_lite.planted_textures(request.param, n_images=12, n_defective=4, image_size=168)
    detector = musc_lite.MuSc(layers=[5, 7, 8], image_size=168).fit(images)
    defective = musc_lite.defective_patches(images.masks(168), detector.features_.grid)
    return detector, defective, np.broadcast_to(images.labels[:, None] == 0, defective.shape)


def test_default_threshold_shows_the_key_observation(planted):
    """An ordinary patch opened on "0 of 27": the threshold came from another quantity than the distances shown."""
    detector, defective, normal = planted
    explorer = SimilarityCounts(detector)
    share = explorer.counts / 11
    assert np.median(share[normal]) >= 0.75
    assert (share[normal] >= 0.5).mean() >= 0.85
    assert np.median(share[defective]) <= 0.1


@pytest.mark.parametrize("features", ["default", None])
def test_patches_of_the_explorer(planted, features):
    detector, defective, normal = planted
    explorer = PatchExplorer(detector, **({} if features == "default" else {"features": features}))

    def share(i, m):
        explorer.selected = (i, m)
        return (explorer.answer.similar_patches > 0).mean()

    assert defective[explorer.selected]
    assert share(*explorer.selected) <= 0.1
    places = np.argwhere(normal)[::40].tolist()
    ordinary = [share(*at) for at in places]
    assert np.median(ordinary) >= 0.5
    assert np.mean(np.array(ordinary) >= 0.5) >= 0.6


def test_explorers_and_the_page_begin_with_the_same_features_and_threshold(planted, tmp_path):
    detector, *_ = planted
    patches, counts = PatchExplorer(detector), SimilarityCounts(detector)
    path = musc_lite.publish(detector, tmp_path / "page.html").path
    found = re.search(r'id="batch">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    page = json.loads(found[1])
    s, r = default_features(3, detector.r_)
    threshold = default_threshold(detector.patch_scores_[detector.r_.index(r), s])
    assert patches.threshold == counts.threshold == page["similar"] == threshold
    assert patches.features == counts.features == (s, r)
    assert (page["block"], page["r"]) == (detector.features_.layers[s], r) == (7, 3)
    distances = musc_lite.nearest_distances(detector.aggregated_tokens(s, r))
    assert default_threshold(musc_lite.interval_average(distances)) == threshold  # as the course computes it


def test_threshold_follows_the_features_until_it_is_set(planted):
    explorer = PatchExplorer(planted[0])
    first = explorer.threshold
    explorer.features = (0, 1)
    assert explorer.threshold != first
    explorer.undo()
    assert (explorer.features, explorer.threshold) == ((1, 3), first)
    explorer.threshold = 0.77
    explorer.features = (0, 1)
    assert explorer.threshold == 0.77
