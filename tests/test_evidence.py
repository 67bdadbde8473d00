"""What an image is flagged by is shown where it is, beside the closest place in an image that is not flagged."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from musc_lite import Detector, MuSc, NearestScorer, find_evidence, from_arrays, planted_textures
from musc_lite.data.view import ResolvedView, View
from musc_lite.reports.evidence_pictures import SHOWN, draw_evidence, draw_place
from musc_lite.results.evidence import Evidence

SPOT = (200, 60, 230, 90)  # left, top, right, bottom on photos of 320 x 160


def spotted_photos():
    """Five cuts of one texture, 320 x 160, the fourth with a red spot."""
    (brick,) = planted_textures("brick", 2, 0, image_size=448).subset(np.array([0]))
    photos = [brick.crop((5 * i, 30 * i, 5 * i + 320, 30 * i + 160)) for i in range(5)]
    ImageDraw.Draw(photos[3]).ellipse(SPOT, fill="red")
    return from_arrays([np.asarray(photo) for photo in photos])


@pytest.fixture(
    scope="module", params=[{}, {"image_size": "aspect 112", "region": (0.25, 0, 1, 1), "tiles": 2}], ids=str
)
def fitted(request, backbone):
    settings = {"image_size": 112, "layers": [5, 8], "r": (1, 3)} | request.param
    return MuSc(backbone, **settings).fit(spotted_photos())


def test_the_strangest_patch_lies_on_the_defect(fitted):
    first = find_evidence(fitted)[0]
    left, top, right, bottom = fitted.features_.resolved_view.patch_box(first.patch, (320, 160))
    assert first.image == 3
    assert left < SPOT[2]
    assert right > SPOT[0]
    assert top < SPOT[3]
    assert bottom > SPOT[1]


def test_its_likeness_is_the_nearest_by_the_mean_over_layers_and_degrees(fitted):
    (found,) = find_evidence(fitted, [3])
    means = 0
    for s, r in fitted.scorers_:
        tokens = fitted.aggregated_tokens(s, r)
        means = means + (tokens[3, found.patch] - tokens).norm(dim=-1).numpy() / len(fitted.scorers_)
    means[3] = np.inf
    assert (found.compared, found.compared_patch) == np.unravel_index(means.argmin(), means.shape)
    assert found.distance == pytest.approx(means.min(), abs=1e-4)


def test_images_that_stand_out_are_no_comparison(fitted):
    (closest,) = {each.compared for each in find_evidence(fitted, [3])}
    threshold = fitted.threshold_
    try:
        fitted.threshold_ = np.sort(fitted.image_scores_)[-3]  # two stand out
        normal = set(np.flatnonzero(fitted.image_scores_ <= fitted.threshold_))
        assert all(each.compared in normal for each in find_evidence(fitted, range(5)))
        fitted.threshold_ = -1.0  # all do: then any will do
        assert find_evidence(fitted, [3])[0].compared == closest
    finally:
        fitted.threshold_ = threshold


def test_without_names_it_is_of_those_that_stand_out(fitted):
    ranking = fitted.scores_.ranking.tolist()
    assert [each.image for each in find_evidence(fitted)] == ranking[:3]
    assert [each.image for each in find_evidence(fitted, [1, 0])] == [1, 0]


def test_copies_show_what_their_first_shows(backbone):
    photos = spotted_photos()
    twice = from_arrays([np.asarray(photos[i]) for i in (3, 0, 3, 1, 2, 4)])
    with pytest.warns(UserWarning, match="cop(y|ies)"):
        detector = MuSc(backbone, image_size=112, r=(1,)).fit(twice)
    first, second = find_evidence(detector, [0, 2])
    assert first.patch == second.patch
    assert first.compared == second.compared
    assert first.compared not in (0, 2)


def test_a_scorer_that_explains_nothing_shows_the_place_alone(backbone):
    photos = spotted_photos()
    detector = Detector(backbone, view=View(112), scorer=NearestScorer()).fit(photos)
    (found,) = find_evidence(detector, [3])
    assert found.compared is None
    assert len(draw_evidence(found, photos, detector.features_.resolved_view)) == 1


def test_a_large_photo_is_shown_pixel_by_pixel():
    pixels = np.random.default_rng(0).integers(0, 255, (900, 1600, 3), dtype=np.uint8)
    resolved_view = ResolvedView((224, 224), 14)
    shown = np.asarray(draw_place(Image.fromarray(pixels), resolved_view, 8 * 16 + 8, "red"))
    side = shown.shape[1]
    assert side == 600  # six patches of 100 pixels
    assert (shown[:50, :50] == pixels[178:228, 550:600]).all()  # around (850, 478), the middle of the patch


@pytest.mark.parametrize("size", [(30, 20), (64, 500), (500, 64), (1, 1)])
@pytest.mark.parametrize("patch", [0, 255])
def test_the_picture_stays_within_the_photo(size, patch):
    picture = draw_place(Image.new("RGB", size), ResolvedView((224, 224), 14), patch, "red")
    assert picture.width <= 2 * SHOWN
    assert picture.height <= 2 * SHOWN


def test_both_are_drawn(fitted):
    photos = spotted_photos()
    pictures = draw_evidence(Evidence(3, 0, 1, 2, 0.5), photos, fitted.features_.resolved_view)
    assert [picture.mode for picture in pictures] == ["RGB", "RGB"]
