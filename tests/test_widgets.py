"""Explorers give the library's answers, refuse bad values, and show a picture where no kernel runs."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image
from sklearn.exceptions import NotFittedError

import musc_lite

pytest.importorskip("anywidget", reason="needs the extra 'lab'")

from musc_lite.widgets import PatchExplorer


@pytest.fixture(scope="module")
def detector():
    images = musc_lite.planted_textures("brick", n_images=7, n_defective=2, image_size=112)
    return musc_lite.MuSc(layers=[5, 8], r=(1, 3), image_size=112).fit(images)


def browser_sends(tiles, tile, patch):
    """What a click in a browser makes of a picture's patch."""
    tiles._handle_msg(
        {"content": {"data": {"method": "custom", "content": {"tile": tile, "patch": patch}}}, "buffers": []}
    )


class TestPatchExplorer:
    @pytest.mark.parametrize("features", [(0, 1), (1, 3)])
    def test_answer_is_the_library_s(self, detector, features):
        explorer = PatchExplorer(detector, selected=(3, 20))
        explorer.features, explorer.threshold = features, 0.5
        tokens = detector.aggregated_tokens(*features)
        distances, patches = musc_lite.nearest_patches(tokens, 3, 20)
        answer = explorer.answer
        np.testing.assert_allclose(answer.distances, np.sort(distances)[:-1])
        np.testing.assert_array_equal(answer.distances, distances[answer.others])
        np.testing.assert_array_equal(answer.patches, patches[answer.others])
        score = musc_lite.mutual_scores(tokens)[3, 20]
        assert answer.interval_mean == pytest.approx(float(score), abs=1e-5)
        all_distances = musc_lite.nearest_distances(tokens)
        assert (answer.similar_patches > 0).sum() == musc_lite.similarity_counts(all_distances, 0.5)[3, 20]
        assert answer.similar_patches.sum() == musc_lite.similar_patch_counts(tokens, [0.5])[3, 20, 0]
        r_index = detector.r_.index(features[1])
        assert answer.rank == 1 + (detector.patch_scores_[r_index, features[0]] > score.item() + 1e-6).sum()

    def test_mean_of_all_features_is_the_mean_of_their_distances(self, detector):
        explorer = PatchExplorer(detector, selected=(0, 5))
        pairs = [(s, r) for s in range(2) for r in (1, 3)]
        means = torch.stack([musc_lite.patch_distances(detector.aggregated_tokens(*p), 0, 5) for p in pairs]).mean(
            dim=0
        )
        np.testing.assert_allclose(explorer.answer.to_all, means, atol=1e-6)
        scores = detector.patch_scores_.mean(axis=(0, 1))
        assert explorer.answer.rank == 1 + (scores > scores[0, 5]).sum()

    def test_begins_at_the_most_anomalous_patch(self, detector):
        i, m = PatchExplorer(detector).selected
        assert i == detector.image_scores_.argmax()
        assert m == detector.patch_scores_.mean(axis=(0, 1))[i].argmax()

    def test_sentence_says_what_the_answer_holds(self, detector):
        explorer = PatchExplorer(detector, selected=(2, 3))
        answer = explorer.answer
        assert f"in {(answer.similar_patches > 0).sum()} of 6 other images" in explorer.sentence
        assert explorer.sentence.endswith(f"{answer.interval_mean:.2f}; rank {answer.rank:,} of 448")
        explorer.threshold = 2.0  # everything is closer
        assert "in 6 of 6 other images at threshold 2.00, 384 patches" in explorer.sentence

    def test_click_and_key_move_the_selection(self, detector):
        explorer = PatchExplorer(detector, selected=(3, 20))
        browser_sends(explorer._large, tile=0, patch=21)
        assert explorer.selected == (3, 21)
        browser_sends(explorer._gallery, tile=2, patch=0)
        assert explorer.compared == explorer.answer.others[2]
        compared = explorer.compared
        browser_sends(explorer._large, tile=1, patch=9)
        assert explorer.selected == (compared, 9)
        assert explorer._images.value == compared
        explorer._images.value = 0
        assert explorer.selected == (0, 9)

    def test_pictures_show_the_answer(self, detector):
        explorer = PatchExplorer(detector, selected=(3, 20))
        tiles, answer = explorer._gallery.tiles, explorer.answer
        assert [tile["picture"] for tile in tiles] == answer.others.tolist()
        assert [tile["marks"][0][0] for tile in tiles] == answer.patches.tolist()
        assert [bool(tile["frame"]) for tile in tiles] == [True] + [False] * 5  # 30 % of six images
        assert explorer._large.tiles[0]["marks"][0][0] == 20
        brightest = (
            np.frombuffer(explorer._large.tiles[1]["layer"], np.uint8).reshape(64, 4)[:, :3].sum(axis=1).argmax()
        )
        assert brightest == explorer._large.tiles[1]["marks"][0][0]

    @pytest.mark.parametrize(
        ("trait", "value", "words"),
        [
            ("selected", (7, 0), "7 images of 64 patches"),
            ("selected", (0, 64), "counted from 0"),
            ("features", (0, 5), "did not score"),
            ("compared", 7, "no image 7"),
            ("threshold", -0.1, "0 to 2"),
        ],
    )
    def test_bad_values_are_refused_and_change_nothing(self, detector, trait, value, words):
        explorer = PatchExplorer(detector, selected=(3, 20))
        before = getattr(explorer, trait), explorer.sentence
        with pytest.raises(traitlets.TraitError, match=words):
            setattr(explorer, trait, value)
        assert (getattr(explorer, trait), explorer.sentence) == before

    def test_needs_a_fitted_detector(self):
        with pytest.raises(NotFittedError):
            PatchExplorer(musc_lite.MuSc())


def test_static_picture_stands_in_where_no_kernel_runs(detector):
    explorer = PatchExplorer(detector)
    picture = Image.open(io.BytesIO(explorer.static_png()))
    assert picture.width > 500
    assert len(set(picture.convert("L").tobytes())) > 50  # not blank
    bundle = explorer._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == "PatchExplorer(7 images)"
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} <= set(data)
    json.dumps(data)


@pytest.mark.parametrize("missing", ["ipywidgets", "anywidget"])
def test_missing_libraries_are_named(missing):
    code = f"""
import sys
sys.modules[{missing!r}] = None
import musc_lite
try:
    musc_lite.widgets
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'musc-lite[lab]'" in done.stdout
