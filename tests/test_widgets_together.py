"""What explorers share: one selection and one store, undo, a line of code, files; and what was wrong with them."""

import copy
import csv
import dataclasses
import io
import threading
import time

import numpy as np
import pytest
import torch
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import musc_lite
from musc_lite.data.image_set import ImageSet

pytest.importorskip("anywidget", reason="needs the extra 'lab'")

from test_widgets import each_explorer

from musc_lite.widgets import (
    IntervalExplorer,
    NeighborhoodExplorer,
    PatchExplorer,
    RescoringExplorer,
    SimilarityCounts,
    ThresholdExplorer,
    similarity_counts,
)
from musc_lite.widgets.cache import ArrayCache, kept_of
from musc_lite.widgets.interval_explorer import share_of


@pytest.fixture(scope="module")
def detector():
    images = musc_lite.planted_textures("brick", n_images=7, n_defective=2, image_size=112)
    return musc_lite.MuSc(layers=[5, 8], r=(1, 3), image_size=112).fit(images)


def custom(**content):
    """What a view in a browser sends."""
    return {"content": {"data": {"method": "custom", "content": content}}, "buffers": []}


def browser_sends(tiles, tile, patch):
    """What a click in a browser makes of a picture's patch."""
    tiles._handle_msg(custom(tile=tile, patch=patch))


def browser_asks(explorer, what):
    """What a button of the status bar makes of it: the messages that come back, with their buffers."""
    sent = []
    explorer._text.send = lambda message, buffers=None: sent.append((message, buffers))
    explorer._text._handle_msg({"content": {"data": {"method": "custom", "content": {"ask": what}}}, "buffers": []})
    return sent


class TestPointingAndRegions:
    def test_mouse_over_a_patch_colors_the_others_and_changes_nothing(self, detector):
        explorer = PatchExplorer(detector, selected=(3, 20))
        features, before = explorer.features, (explorer._gallery.tiles, explorer.sentence)
        assert "layer" not in before[0][0]
        explorer._large._handle_msg(custom(tile=0, point=41))
        found = musc_lite.patch_distances(detector.aggregated_tokens(0, 1), 3, 41)
        explorer.features = (0, 1)
        explorer._large._handle_msg(custom(tile=0, point=41))
        order = [tile["picture"] for tile in explorer._gallery.tiles]
        assert order == explorer.answer.others.tolist()
        nearest = [tile["marks"][0][0] for tile in explorer._gallery.tiles]
        assert nearest == found[order].argmin(dim=1).tolist()
        for tile in explorer._gallery.tiles:
            colors = np.frombuffer(tile["layer"], np.uint8).reshape(64, 4)
            assert colors[:, :3].sum(axis=1).argmax() == tile["marks"][0][0]
        assert explorer.selected == (3, 20)
        explorer._large._handle_msg(custom(tile=0, point=None))
        assert all("layer" not in tile for tile in explorer._gallery.tiles)
        explorer.features = features
        assert (explorer._gallery.tiles, explorer.sentence) == before

    def test_patches_of_a_region_ask_together(self, detector):
        explorer = PatchExplorer(detector, selected=(3, 20))
        explorer.features = (1, 3)
        explorer._large._handle_msg(custom(tile=0, region=[1, 2, 3, 5]))
        assert explorer.region == (1, 2, 3, 5)
        assert explorer.patches == [11, 12, 13, 19, 20, 21]
        tokens = detector.aggregated_tokens(1, 3)
        nearest = torch.stack([musc_lite.patch_distances(tokens, 3, m) for m in explorer.patches]).amin(dim=0)
        np.testing.assert_allclose(explorer.answer.to_all, nearest, atol=1e-5)
        assert explorer.sentence.startswith("region of 6 patches: similar patches in")
        assert explorer._large.tiles[0]["region"] == [1, 2, 3, 5]
        browser_sends(explorer._large, tile=0, patch=20)
        assert explorer.region == ()
        assert explorer.patches == [20]

    @pytest.mark.parametrize("region", [(2, 1, 0, 0), (0, 8, 0, 0), (0, 0, 0), (-1, 0, 0, 0)])
    def test_regions_that_are_not_there_are_refused(self, detector, region):
        explorer = PatchExplorer(detector, selected=(3, 20))
        with pytest.raises(traitlets.TraitError, match="grid of 8 x 8"):
            explorer.region = region
        assert explorer.region == ()

    def test_dots_are_told_apart_by_label_and_choose_their_image(self, detector):
        explorer = PatchExplorer(detector, selected=(3, 20))
        normal, defective, *_ = explorer._chart.data
        assert [normal["name"], defective["name"]] == ["normal image", "defective image"]
        assert [normal["hollow"], defective["hollow"]] == [False, True]
        places = np.array(defective["x"], dtype=int) - 1
        assert (detector.images_.labels[explorer.answer.others[places]] == 1).all()
        explorer._chart._handle_msg(custom(entry=1, index=0))
        assert explorer.compared == explorer.answer.others[places[0]]


class TestSimilarityCountsPicks:
    def test_a_picked_patch_stays_marked_when_the_threshold_moves(self, detector):
        explorer = SimilarityCounts(detector)
        browser_sends(explorer._tiles, tile=1, patch=12)
        for threshold in (0.3, 0.6):
            explorer.threshold = threshold
            assert [tile["marks"][0][0] for tile in explorer._tiles.tiles] == [12, 12]  # where arrow keys go on from
            said = f"patch 12 of image {explorer.image}: {explorer.counts[explorer.image, 12]} other"
            assert explorer._text.value.startswith(said)
        explorer.image = (explorer.image + 1) % 7
        assert explorer.patch is None
        assert explorer._tiles.tiles[0]["marks"] == []

    def test_a_bar_leads_to_its_patches(self, detector):
        explorer = SimilarityCounts(detector)
        explorer.features, explorer.threshold = (1, 3), 0.5
        bar = int(explorer.counts.min())
        explorer._chart._handle_msg(custom(entry=0, index=bar))
        held = explorer.counts == bar
        shown = {int(tile["name"].split()[1]): tile for tile in explorer._of_bar.tiles}
        assert explorer._of_bar.pictures == [explorer.thumbnails()[i] for i in shown]
        assert set(shown) == set(np.flatnonzero(held.any(axis=1)))
        for i, tile in shown.items():
            layer = np.frombuffer(tile["layer"], np.uint8).reshape(64, 4)
            np.testing.assert_array_equal(layer[:, 3] > 0, held[i])
            assert tile["number"] == str(held[i].sum())
        image = next(iter(shown))
        patch = int(held[image].argmax())
        browser_sends(explorer._of_bar, tile=0, patch=patch)
        assert explorer.place == (image, patch)
        explorer._chart._handle_msg(custom(entry=0, index=bar))
        assert explorer._of_bar.tiles == []

    def test_counting_takes_place_in_a_thread_that_can_be_stopped(self, detector, monkeypatch):
        explorer = SimilarityCounts(copy.copy(detector))
        asked, go_on = threading.Event(), threading.Event()
        count = similarity_counts.similar_patch_counts_in_steps

        def slow(tokens, per_unit, progress):
            asked.set()
            go_on.wait(20)
            return count(tokens, per_unit, progress=progress)

        monkeypatch.setattr(similarity_counts, "similar_patch_counts_in_steps", slow)
        explorer.what = "patches"  # comes back while it is counted
        assert asked.wait(5)
        assert explorer.work.busy
        assert explorer._chart.xlabel == similarity_counts.TITLES["images"]
        explorer.work.stop.click()
        go_on.set()
        explorer.work.wait()
        assert not explorer.work.busy
        assert explorer.what == "images"  # what was shown before
        explorer.what = "patches"
        explorer.work.wait()
        assert explorer._chart.xlabel == similarity_counts.TITLES["patches"]
        tokens = detector.aggregated_tokens(*explorer.features)
        expected = musc_lite.similar_patch_counts(tokens, [explorer.threshold])[..., 0]
        np.testing.assert_array_equal(explorer.counts, expected)


def test_thresholds_of_two_explorers_can_be_linked(detector):
    patches, counts = PatchExplorer(detector), SimilarityCounts(detector)
    traitlets.link((patches, "threshold"), (counts, "threshold"))
    for value in (0.37, 0.375, 1.999):
        patches.threshold = value
        assert counts.threshold == patches.threshold == pytest.approx(value, abs=0.0051)
    counts.what, counts.threshold = "patches", 0.41
    assert patches.threshold == 0.41
    expected = musc_lite.similar_patch_counts(detector.aggregated_tokens(*counts.features), [0.41])[..., 0]
    np.testing.assert_array_equal(counts.counts, expected)


def test_each_step_of_the_interval_is_an_image(detector):
    explorer = IntervalExplorer(detector)
    for last in range(1, 7):
        explorer._ends.value = (1, last)
        assert explorer.bounds(6) == (0, last)
        assert f"images 1 to {last} of 6" in explorer._text.value
    explorer._ends.value = (4, 4)
    assert explorer.bounds(6) == (3, 4)
    explorer.interval = (0.0, 0.3)
    assert explorer._ends.value == (1, 1)
    assert explorer.interval == (0.0, 0.3)  # what was set stays as it is


@given(n=st.integers(1, 2000), data=st.data())
def test_a_share_of_images_is_that_many_of_them(n, data):
    k = data.draw(st.integers(0, n))
    assert int(n * share_of(k, n)) == k


def test_painted_pixels_are_the_ones_that_are_counted(detector):
    """The gallery showed thresholded scores of patches, the table beside it counted pixels."""
    explorer = ThresholdExplorer(detector)
    for quantile in (0.5, 0.97):
        explorer.pixel_threshold = float(np.quantile(detector.anomaly_maps_, quantile))
        shown = {tile["picture"]: tile["over"] for tile in explorer._tiles.tiles}
        alphas = {i: np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[..., 3] for i, png in shown.items() if png}
        called = detector.anomaly_maps_ > explorer.pixel_threshold
        assert set(alphas) == set(np.flatnonzero(called.any(axis=(1, 2))))
        for i, alpha in alphas.items():
            np.testing.assert_array_equal(alpha > 0, called[i])
        assert sum((alpha > 0).sum() for alpha in alphas.values()) == explorer.confusion["pixels"][:, 1].sum()


def test_the_line_in_the_histogram_is_the_threshold(detector):
    explorer = ThresholdExplorer(detector)
    assert explorer._bars.rules == [explorer.threshold]
    value = float(np.median(detector.image_scores_))
    explorer._bars._handle_msg(custom(rule=value))
    assert explorer.threshold == value
    assert explorer._bars.rules == [value]


def test_photos_keep_their_shape(backbone):
    """A photo of 4 to 3 was shown as the square that the backbone sees."""
    photos = [np.asarray(image)[:84] for image in musc_lite.planted_textures("brick", 4, n_defective=1, image_size=112)]
    detector = musc_lite.MuSc(backbone, layers=[5], r=(1,), image_size=56).fit(musc_lite.from_arrays(photos))
    explorer = PatchExplorer(detector)
    for picture in (*explorer._large.pictures, *explorer._gallery.pictures):
        width, height = Image.open(io.BytesIO(picture)).size
        assert width / height == pytest.approx(112 / 84, abs=0.02)


class TestStateAndSelection:
    @each_explorer
    def test_one_line_of_code_shows_the_same_again(self, kind, detector):
        explorer = kind(detector)
        changes = {"image": 2, "threshold": 0.41, "features": (1, 1), "interval": (0.0, 0.5), "windows": (1, 2), "r": 3}
        for name, value in changes.items():
            if name in kind.STATE:
                setattr(explorer, name, value)
        again = eval(explorer.code, {"detector": detector, kind.__name__: kind})
        for name in kind.STATE:
            assert getattr(again, name) == getattr(explorer, name)
        assert again.code == explorer.code == explorer._text.code

    def test_the_patch_stands_in_the_code(self, detector):
        explorer = PatchExplorer(detector)
        explorer.selected = (3, 37)
        assert explorer.code == "PatchExplorer(detector, selected=(3, 37))"
        explorer.compared = other = int(explorer.answer.others[4])
        assert explorer.code == f"PatchExplorer(detector, selected=(3, 37), compared={other})"

    def test_unknown_state_is_refused(self, detector):
        with pytest.raises(TypeError, match="no 'color': it can begin with image, layer, r"):
            NeighborhoodExplorer(detector, color="red")

    def test_undo_goes_back_step_by_step(self, detector, monkeypatch):
        explorer = PatchExplorer(detector, selected=(3, 20))
        assert not explorer._text.can_undo
        monkeypatch.setattr("musc_lite.widgets.undo.SECONDS_OF_A_DRAG", 0.0)
        sentences = [explorer.sentence]
        for patch in (21, 45):
            explorer.selected = (3, patch)
            sentences.append(explorer.sentence)
        assert explorer._text.can_undo
        for sentence in sentences[-2::-1]:
            browser_asks(explorer, "undo")
            assert explorer.sentence == sentence
        assert explorer.selected == (3, 20)
        assert not explorer._text.can_undo
        browser_asks(explorer, "undo")  # changes nothing
        assert explorer.sentence == sentences[0]

    def test_a_drag_is_undone_at_once_with_what_followed_from_it(self, detector):
        explorer = PatchExplorer(detector, selected=(3, 20))
        explorer.region, before = (1, 2, 1, 2), explorer.threshold
        for step in range(1, 5):
            explorer.threshold = before + step / 100
        explorer.selected = (5, 20)
        explorer.undo()
        assert (explorer.selected, explorer.region) == ((3, 20), (1, 2, 1, 2))
        explorer.undo()
        assert explorer.threshold == before
        explorer.undo()
        assert explorer.region == ()
        assert not explorer._text.can_undo

    @each_explorer
    def test_gives_a_picture_and_a_table(self, kind, detector):
        explorer = kind(detector)
        (picture, (png,)), here = browser_asks(explorer, "png")
        assert picture == {"file": f"{kind.__name__}.png", "type": "image/png"}
        assert Image.open(io.BytesIO(png)).format == "PNG"
        assert here[0] == {"here": True}
        (_, (text,)), _ = browser_asks(explorer, "csv")
        names, *rows = csv.reader(io.StringIO(text.decode("utf-8-sig")))
        assert len(rows) >= 1
        assert {len(line) for line in rows} == {len(names)}

    def test_all_explorers_of_a_detector_share_what_is_selected(self, detector):
        detector = copy.copy(detector)
        patches, counts, blocks = PatchExplorer(detector), SimilarityCounts(detector), NeighborhoodExplorer(detector)
        windows, decisions = RescoringExplorer(detector), ThresholdExplorer(detector)
        elsewhere = PatchExplorer(copy.copy(detector), selected=(0, 0))
        patches.selected = (4, 33)
        assert counts.place == (4, 33)
        assert (blocks.image, windows.image, decisions.image) == (4, 4, None)
        browser_sends(counts._tiles, tile=0, patch=5)
        assert patches.selected == (4, 5)
        decisions.image = 2
        assert (patches.selected[0], counts.image, blocks.image, windows.image) == (2, 2, 2, 2)
        windows.image = 6
        assert decisions.image == 6
        assert elsewhere.selected == (0, 0)
        later = PatchExplorer(detector, selected=(1, 1))  # the cell was run again
        assert counts.image == 6
        counts.image = 3
        assert later.selected[0] == 3
        assert patches.selected[0] == 6


def test_explorers_of_a_detector_share_what_was_made(detector, monkeypatch):
    detector, made = copy.copy(detector), []
    make = type(detector).aggregated_tokens
    monkeypatch.setattr(type(detector), "aggregated_tokens", lambda *given: made.append(given[1:]) or make(*given))
    PatchExplorer(detector, features=None)
    for kind in (SimilarityCounts, IntervalExplorer, NeighborhoodExplorer):
        explorer = kind(detector)
        assert explorer.kept is kept_of(detector)
    assert len(made) == len(set(made)) == 4
    features = dataclasses.replace(detector.features_)  # as after another fit
    detector.fitted_ = dataclasses.replace(detector.fitted_, features=features)
    assert kept_of(detector) is not explorer.kept


def test_explorers_share_thumbnails_that_are_decoded_small(backbone, tmp_path, monkeypatch):
    """Each explorer decoded every photo at full size, for pictures of 96 pixels."""
    photo = musc_lite.planted_textures("brick", 1, n_defective=0, image_size=112)[0].resize((1536, 1024))
    for k in range(4):
        photo.rotate(k).save(tmp_path / f"{k}.jpg")
    detector = musc_lite.MuSc(backbone, layers=[5], r=(1,), image_size=56).fit(musc_lite.load_folder(tmp_path))
    sizes, read = [], ImageSet.digest_and_image
    monkeypatch.setattr(ImageSet, "digest_and_image", lambda *given: sizes.append(read(*given)[1].size) or read(*given))
    PatchExplorer(detector)
    assert len(sizes) == 4 + 2  # four thumbnails, two large pictures
    assert max(map(max, sizes)) <= 768
    sizes.clear()
    for kind in (ThresholdExplorer, RescoringExplorer, PatchExplorer):
        kind(detector)
    assert sizes == []


def test_what_two_threads_want_is_made_once():
    kept, made = ArrayCache(10**6), []

    def make():
        made.append(1)
        time.sleep(0.05)
        return np.zeros(10)

    threads = [threading.Thread(target=kept.get, args=("a", make)) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert kept.get("b", lambda: np.ones(2)).sum() == 2  # who wants something else does not wait
    for thread in threads:
        thread.join()
    assert made == [1]
    assert kept.n_bytes == 96
