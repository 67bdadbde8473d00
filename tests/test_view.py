"""What is looked at of a photo, and how closely: shapes, regions, tiles, and the way back to the photo's pixels."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import musc_lite
from musc_lite import MuSc, View, extract_features, from_arrays
from musc_lite.data.roi import WHOLE, crop, pixel_box, resize_map_to_image
from musc_lite.data.view import ResolvedView
from musc_lite.detector.planning import Cost, describe_resolution
from musc_lite.reports.export_maps import draw_region
from musc_lite.results.metrics import evaluate_scores
from musc_lite.results.summary import describe_defects_outside_roi
from musc_lite.scorers.base import ScoringContext

SMALL = {"layers": (5, 8), "r": (1, 3), "rescoring_sizes": ()}


def photos(n=5, size=(180, 120), seed=0):
    """Noisy gray photos of a (width, height), which look alike."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(rng.normal(130, 6, (n, size[1], size[0], 3)), 0, 255).astype(np.uint8)
    return [Image.fromarray(each) for each in pixels]


def with_spot(images, box, i=0):
    """Draw a black spot at (left, top, right, bottom) of image i."""
    images = list(images)
    images[i] = images[i].copy()
    images[i].paste((0, 0, 0), box)
    return musc_lite.from_arrays(images)


def peak(scores, i=0):
    """Give (x, y) of the highest pixel of a map on its photo; of a plateau its middle."""
    on_photo = scores.map_of_photo(i)
    y, x = np.nonzero(on_photo >= on_photo.max() - 1e-6)
    return x.mean(), y.mean()


def test_a_square_photo_in_its_own_shape_gives_the_same_numbers_bit_for_bit(backbone):
    images = musc_lite.planted_textures("brick", 4, 1, image_size=112)
    plain = musc_lite.MuSc(backbone, image_size=56, **SMALL).fit(images)
    for view in ({"image_size": "aspect 56"}, {"image_size": (56, 56), "region": (0, 0, 1, 1), "tiles": 1}):
        other = musc_lite.MuSc(backbone, **view, **SMALL).fit(images)
        assert np.array_equal(other.anomaly_maps_, plain.anomaly_maps_)
        assert np.array_equal(other.image_scores_, plain.image_scores_)


def test_tiles_are_stitched_as_by_hand(backbone):
    images = musc_lite.planted_textures("gravel", 2, 1, image_size=112)
    features = musc_lite.extract_features(images, backbone, layers=[5], view=View(42, tiles=(2, 3)))
    assert features.grid == (6, 9)
    assert features.image_size == (84, 126)
    whole = images[1].resize((126, 84), Image.Resampling.BICUBIC)
    tile = whole.crop((84, 42, 126, 84))  # second row, third column
    alone = musc_lite.extract_features(musc_lite.from_arrays([tile]), backbone, layers=[5], image_size=42)
    on_grid = features.patch_tokens[1, 0].unflatten(0, (6, 9))
    torch.testing.assert_close(on_grid[3:, 6:].flatten(0, 1), alone.patch_tokens[0, 0], rtol=0, atol=1e-5)
    small = musc_lite.extract_features(images, backbone, layers=[5], image_size=42)  # its class token is the photo's
    torch.testing.assert_close(features.class_tokens, small.class_tokens, rtol=0, atol=1e-6)


sides = st.integers(1, 4)


@given(sides, sides, sides, sides, st.floats(0, 0.5))
def test_stitching_undoes_cutting(rows, columns, h, w, overlap):
    shared = tuple(min(round(overlap * n), n - 1) if count > 1 else 0 for n, count in ((h, rows), (w, columns)))
    resolved_view = ResolvedView((2 * h, 2 * w), 2, tiles=(rows, columns), overlap=shared)
    height, width = resolved_view.size
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8))
    tiles = resolved_view.cut(picture)
    assert len(tiles) == resolved_view.n_passes
    assert {tile.size for tile in tiles} == {(2 * w, 2 * h)}
    tokens = torch.stack([as_patches(tile) for tile in tiles])[:, None]  # one layer
    whole = resolved_view.stitch(tokens)
    assert torch.equal(whole[0], as_patches(picture))


def as_patches(picture):
    """(H, W) -> (M, 4): the pixels of each 2 x 2 patch."""
    pixels = torch.from_numpy(np.array(picture, dtype=np.float32))
    return pixels.unfold(0, 2, 2).unfold(1, 2, 2).flatten(0, 1).flatten(1)


@pytest.mark.parametrize(
    "view",
    [
        {"image_size": 126},
        {"image_size": "aspect 126"},
        {"image_size": (84, 126)},
        {"image_size": "aspect 126", "region": (0.25, 0.2, 0.95, 0.9)},
        {"image_size": 126, "region": (45, 20, 170, 110)},
        {"image_size": 56, "tiles": (2, 3)},
        {"image_size": 56, "tiles": 3, "overlap": 0.25},
        {"image_size": 56, "tiles": 2, "aligned": True, "region": (0.2, 0.1, 1.0, 0.9)},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(180, 120), (113, 171)], ids=str)
def test_a_spot_comes_back_at_its_own_pixels(backbone, view, size):
    if size == (113, 171) and max(view.get("region", (0,))) > 1:
        view = view | {"region": (20, 45, 110, 170)}
    x, y = round(0.55 * size[0]), round(0.45 * size[1])
    images = with_spot(photos(size=size), (x - 6, y - 6, x + 6, y + 6))
    detector = musc_lite.MuSc(backbone, **view, **(SMALL | {"r": (1,)})).fit(images)
    assert detector.scores_.ranking[0] == 0
    found, patch = peak(detector.scores_), detector.features_.resolved_view.patch_extent(size)
    assert abs(found[0] - x) <= patch[0]
    assert abs(found[1] - y) <= patch[1]


@settings(max_examples=12)
@example(128, 161, 0.203125, 0.75, 1)  # between the two columns at the edge, where the map is flat
@given(st.integers(40, 200), st.integers(40, 200), st.floats(0.2, 0.8), st.floats(0.2, 0.8), st.integers(1, 2))
def test_odd_shapes_keep_the_place(backbone, width, height, across, down, tiles):
    x, y = round(across * width), round(down * height)
    images = with_spot(photos(4, (width, height)), (x - 5, y - 5, x + 5, y + 5))
    view = {"image_size": "aspect 84", "tiles": tiles}
    detector = musc_lite.MuSc(backbone, **view, layers=(5,), r=(1,), rescoring_sizes=()).fit(images)
    patch = np.array(detector.features_.resolved_view.patch_extent((width, height)))
    assert detector.scores_.map_of_photo(0).shape == (height, width)
    center = (peak(detector.scores_) // patch + 0.5) * patch
    assert (abs(center - (x, y)) <= patch).all()


@pytest.mark.parametrize(
    ("size", "tiles", "grid"), [((300, 200), 2, (16, 32)), ((200, 300), 3, (48, 32)), ((90, 90), 2, (32, 32))]
)
def test_a_number_of_tiles_counts_along_the_longer_side(size, tiles, grid):
    images = musc_lite.from_arrays(photos(2, size))
    assert View(tiles=tiles).resolve(images, 14, 224).grid == grid


def test_the_shape_of_a_batch_is_that_of_the_middle_photo():
    images = musc_lite.from_arrays([*photos(1, (90, 90)), *photos(2, (180, 90))])
    h, w = View("aspect").resolve(images, 14, 224).grid
    assert (h, w) == (11, 23)
    h, w = View("aspect", region=(0, 0, 0.5, 1)).resolve(images, 14, 224).grid
    assert h == w == 16


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"size": "round"}, "'aspect'"),
        ({"size": 100}, "98 or 112"),
        ({"size": (56, 100)}, "98 or 112"),
        ({"region": (0.2, 0.1, 0.1, 0.9)}, "left < right"),
        ({"region": (-0.1, 0.1, 0.5, 0.9)}, "outside of the photo"),
        ({"region": (0.1, 0.5)}, "left, top, right, bottom"),
        ({"region": "middle"}, "'auto'"),
        ({"region": (0, 0, float("nan"), 1)}, "left, top, right, bottom"),
        ({"region": (10, 10, 200, 100)}, "differ in size .* in shares"),
        ({"tiles": 0}, "at least 1"),
        ({"tiles": (2, 2, 2)}, "rows, columns"),
        ({"tiles": 500}, "too few for"),
        ({"region": (0.5, 0.5, 0.501, 0.9), "tiles": 2}, "image_000.* larger region"),
        ({"overlap": 0.9}, "0 to 0.5"),
    ],
    ids=str,
)
def test_what_is_no_view_says_what_would_do(view, message):
    images = musc_lite.from_arrays([*photos(1, (180, 120)), *photos(1, (120, 120))])
    with pytest.raises(ValueError, match=message):
        View(**view).resolve(images, 14, 224)


def test_a_region_in_pixels_lies_within_the_photos():
    images = musc_lite.from_arrays(photos(2, (180, 120)))
    assert View(region=(90, 0, 180, 60)).resolve(images, 14, 224).region == (0.5, 0, 1, 0.5)
    with pytest.raises(ValueError, match="outside of the photos, which have 180 x 120"):
        View(region=(90, 0, 181, 60)).resolve(images, 14, 224)


def test_a_size_and_a_view_are_one_too_many(backbone):
    with pytest.raises(ValueError, match="not both"):
        musc_lite.extract_features(musc_lite.from_arrays(photos(2)), backbone, image_size=28, view=View(28))


def test_masks_and_maps_cover_the_region_only(backbone):
    box, region = (130, 40, 150, 60), (0.5, 0.25, 1.0, 1.0)
    images = photos(4)
    images[0].paste((0, 0, 0), box)
    masks = np.zeros((4, 120, 180), dtype=bool)
    masks[0, 40:60, 130:150] = masks[0, :20, :20] = True  # the second place lies outside
    labeled = musc_lite.from_arrays(images, labels=[1, 0, 0, 0], masks=masks)
    scores = musc_lite.MuSc(backbone, image_size=84, region=region, **SMALL).fit(labeled).scores_
    assert scores.masks().shape == scores.anomaly_maps.shape == (4, 84, 84)
    assert abs(scores.masks()[0].mean() - 400 / (90 * 90)) < 0.01
    on_photo = scores.map_of_photo(0)
    assert on_photo[:30].max() == on_photo[:, :90].max() == 0
    assert evaluate_scores(scores).pixel_auroc > 0.95


def test_a_fitted_view_is_kept_with_the_detector(backbone, tmp_path):
    images = with_spot(photos(), (90, 60, 104, 72))
    new = with_spot(photos(2, seed=1), (30, 60, 44, 72))
    view = {"image_size": "aspect 56", "tiles": 2, "overlap": 0.2, "region": (0.1, 0, 1, 1)}
    detector = musc_lite.MuSc(backbone, **view, **SMALL).fit(images)
    scores = detector.score_images(new)
    detector.save(tmp_path / "line.safetensors")
    loaded = musc_lite.MuSc.load(tmp_path / "line.safetensors", backbone=backbone)
    assert loaded.features_.resolved_view == detector.features_.resolved_view
    again = loaded.score_images(new)
    assert np.array_equal(again.image_scores, scores.image_scores)
    assert again.region == scores.region == (0.1, 0, 1, 1)


def test_features_keep_their_view_on_disk_and_refuse_another(backbone, tmp_path):
    images = musc_lite.from_arrays(photos(3))
    view = View(28, tiles=(1, 2))
    features = musc_lite.extract_features(images, backbone, layers=[5], view=view)
    features.save(tmp_path / "features")
    again = musc_lite.Features.load(tmp_path / "features")
    assert again.resolved_view == features.resolved_view
    fitted = musc_lite.Detector(backbone, view=view).fit_features(again, images)
    assert fitted.scores_.anomaly_maps.shape == (3, 28, 56)


def test_each_view_has_its_own_place_in_the_cache(backbone, tmp_path):
    images = musc_lite.from_arrays(photos(2))
    views = [View(28), View(56), View((28, 56)), View(28, tiles=(1, 2)), View(28, region=(0, 0, 0.5, 1))]
    found = [musc_lite.extract_features(images, backbone, layers=[5], view=v, cache_dir=tmp_path) for v in views]
    assert len(list(tmp_path.iterdir())) == len(views)
    for view, features in zip(views, found, strict=True):
        again = musc_lite.extract_features(images, backbone, layers=[5], view=view, cache_dir=tmp_path)
        assert torch.equal(again.patch_tokens, features.patch_tokens)
        assert torch.equal(again.class_tokens, features.class_tokens)


@pytest.mark.parametrize(
    "settings", [{}, {"n_components": 4}, {"references": [0, 2, 3]}, {"search_window": 1}], ids=str
)
def test_aligned_tiles_are_scored_one_by_one(settings):
    tokens = torch.nn.functional.normalize(torch.rand(5, 4 * 6, 8, dtype=torch.float64), dim=-1)
    context = ScoringContext((4, 6), tiles=(2, 3))
    scorer = musc_lite.MutualScorer(aligned=True, **settings)
    scores = scorer.fit_score(tokens, context)
    cell = torch.arange(24).view(4, 6)[2:, 2:4].flatten()
    if "n_components" not in settings:  # which are those of the whole photo
        alone = musc_lite.MutualScorer(**settings).fit_score(tokens[:, cell], ScoringContext((2, 2)))
        torch.testing.assert_close(scores[:, cell], alone)
    far = scorer.explain(tokens, 1, int(cell[0]), context).distances
    assert torch.isinf(far[:, 0]).all()
    nearest = scorer.nearest(tokens, context)
    if "references" not in settings:
        mean = musc_lite.interval_average(nearest, scorer.interval)
        torch.testing.assert_close(mean, scores, atol=1e-6, rtol=0)
    everywhere = musc_lite.MutualScorer(**settings).fit_score(tokens, context)
    assert (scores >= everywhere - 1e-9).all()
    new = scorer.score(tokens[:2], tokens, context)
    assert new.shape == (2, 24)


def test_the_cost_of_aligned_tiles_is_a_share_of_the_whole():
    shape, tiles = (40, 1024, 384), (2, 2)
    whole = musc_lite.MutualScorer().cost(shape, tiles=tiles)
    aligned = musc_lite.MutualScorer(aligned=True).cost(shape, tiles=tiles)
    assert aligned.products == whole.products / 4
    assert aligned.n_steps == 4 * whole.n_steps


def test_an_object_is_found_where_it_is(backbone):
    rng, images = np.random.default_rng(0), []
    things = musc_lite.planted_textures("gravel", 6, 0, image_size=112)
    for i in range(6):
        photo = Image.fromarray(np.clip(rng.normal(225, 3, (300, 400, 3)), 0, 255).astype(np.uint8))
        photo.paste(things[i].resize((120, 90)), (150 + 4 * i, 100 + 3 * i))
        images.append(photo)
    detector = musc_lite.MuSc(backbone, image_size=56, region="auto", **SMALL).fit(images)
    left, top, right, bottom = detector.features_.resolved_view.region
    assert 0.25 < left <= 150 / 400
    assert 290 / 400 <= right < 0.85
    assert 0.2 < top <= 100 / 300
    assert 205 / 300 <= bottom < 0.8


def test_where_no_object_is_the_whole_photo_is_looked_at(backbone):
    for name in ("brick", "grass", "gravel"):
        images = musc_lite.planted_textures(name, 6, 2)
        with pytest.warns(UserWarning, match="no clear object"):
            detector = musc_lite.MuSc(backbone, image_size=28, region="auto", **SMALL).fit(images)
        assert detector.features_.resolved_view.region == WHOLE


def test_one_small_photo_does_not_make_the_picture_of_a_region_small():
    photos = [Image.new("RGB", size, "white") for size in ((400, 300), (400, 300), (20, 10))]
    assert draw_region(musc_lite.from_arrays(photos), (0, 0, 0.5, 1)).size == (400 + 400 + 600 + 2 * 12, 300)


def test_a_region_is_at_least_a_pixel():
    assert pixel_box((0.999, 0.0, 1.0, 0.01), (10, 10)) == (9, 0, 10, 1)
    assert crop(Image.new("RGB", (10, 10)), (0.99, 0.99, 1, 1)).size == (1, 1)
    assert resize_map_to_image(np.ones((2, 3)), (10, 20)).all()


def test_defects_outside_of_the_region_are_named(backbone):
    """They are in no pixel metric, and no map can show them."""
    spots = [(4, 4, 14, 14), None, (60, 40, 80, 60)]
    masks = [np.zeros((120, 180), bool) for _ in spots]
    for mask, box in zip(masks, spots, strict=True):
        if box:
            mask[box[1] : box[3], box[0] : box[2]] = True
    images = from_arrays([np.asarray(p) for p in photos(3)], labels=[1, 0, 1], masks=masks)
    assert MuSc(backbone, image_size=56, **SMALL).fit(images).scores_.defects_outside_roi() == []
    scores = MuSc(backbone, image_size=56, region=(0.2, 0.2, 0.8, 0.8), **SMALL).fit(images).scores_
    assert scores.defects_outside_roi() == [images.names[0]]
    assert describe_defects_outside_roi(scores).endswith(f"not scored: {images.names[0]}")


class TestClosestLook:
    """The size "auto": as many tiles as the photos have pixels for and a time allows."""

    PHOTOS = from_arrays(list(np.random.default_rng(0).integers(0, 255, (4, 448, 448, 3), dtype=np.uint8)))

    @pytest.fixture(autouse=True)
    def known_cost(self, monkeypatch):
        """Ten seconds for features and ten for scoring, as on some machine."""
        for module in ("planning", "detector"):
            monkeypatch.setattr(f"musc_lite.detector.{module}.estimate_cost", lambda *_: Cost(10.0, 10.0, 0, 0))

    def tiles(self, backbone, seconds, **settings):
        return MuSc(backbone, image_size=f"auto {seconds}", **settings).resolve_view(self.PHOTOS).tiles

    def test_the_time_decides(self, backbone):
        """Four tiles and the region at once: 5 passes for 1, 16 times the products."""
        assert self.tiles(backbone, 5 * 10 + 16 * 10 - 1) == (1, 1)
        assert self.tiles(backbone, 5 * 10 + 16 * 10) == (2, 2)
        assert self.tiles(backbone, 5 * 10 + 4 * 10, aligned=True) == (2, 2)
        assert self.tiles(backbone, 5 * 10 + 4 * 10 - 1, aligned=True) == (1, 1)

    def test_photos_without_more_pixels_are_not_looked_at_closer(self, backbone):
        assert self.tiles(backbone, 10**6) == (2, 2)  # 14 pixels of the photo to a patch of 14
        small = from_arrays([np.zeros((200, 200, 3), np.uint8)] * 2)
        assert MuSc(backbone, image_size="auto").resolve_view(small).tiles == (1, 1)

    def test_the_region_counts(self, backbone):
        assert self.tiles(backbone, 10**6, region=(0, 0, 0.5, 0.5)) == (1, 1)
        resolved_view = MuSc(backbone, image_size="auto", region="auto").resolve_view(self.PHOTOS, found=(0, 0, 1, 0.5))
        assert (resolved_view.tiles, resolved_view.region) == ((1, 2), (0, 0, 1, 0.5))

    def test_too_little_time_for_the_plain_look_is_said(self, backbone):
        with pytest.warns(UserWarning, match="the plain look takes about 20 s, more than the 19 s given"):
            assert self.tiles(backbone, 19) == (1, 1)

    def test_what_was_chosen_is_kept(self, backbone, tmp_path):
        detector = MuSc(backbone, image_size="auto 210", layers=[5], r=(1,)).fit(self.PHOTOS)
        assert detector.provenance()["closeness"] == "what 210 s allowed"
        assert detector.features_.resolved_view.tiles == (2, 2)
        again = MuSc(backbone, image_size="auto 20", layers=[5], r=(1,)).fit_features(detector.features_, self.PHOTOS)
        assert again.features_.resolved_view.tiles == (2, 2)
        detector.save(tmp_path / "saved")
        assert MuSc.load(tmp_path / "saved", backbone).features_.resolved_view == detector.features_.resolved_view

    def test_closer_looks_are_named_with_what_they_take(self, backbone):
        detector = MuSc(backbone)
        said = describe_resolution(detector.setup(), self.PHOTOS, detector.cost(4))
        assert said.splitlines() == [
            "A patch covers 28 x 28 pixels of your photos (448 x 448); "
            "defects much smaller than that are easily missed.",
            "  --tiles 2: 14 x 14 pixels, about 4 min instead of 20 s",
        ]
        aligned = MuSc(backbone, aligned=True)
        assert "about 90 s instead" in describe_resolution(aligned.setup(), self.PHOTOS, aligned.cost(4))

    @pytest.mark.parametrize("size", ["auto", "aspect"])
    def test_it_needs_photos(self, backbone, size):
        with pytest.raises(ValueError, match=rf"View\(size='{size}'\) depends on the photos: give some"):
            MuSc(backbone, image_size=size).cost(10)
        assert MuSc(backbone, tiles=(2, 2)).cost(10).seconds == 20

    def test_it_leaves_no_choice_of_tiles(self, backbone):
        with pytest.raises(ValueError, match="chooses the tiles itself"):
            MuSc(backbone, image_size="auto", tiles=2).fit(self.PHOTOS)
        with pytest.raises(ValueError, match="give the view to a detector"):
            extract_features(self.PHOTOS, backbone, view=View("auto"))
