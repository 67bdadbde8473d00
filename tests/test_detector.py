import re
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import musc_lite
from musc_lite import Detector, MuSc, MutualScorer, evaluate, from_arrays, planted_textures
from musc_lite.data.view import ResolvedView
from musc_lite.detector.planning import BatchShape, plan_memory


@pytest.fixture(scope="module")
def images():
    return planted_textures("gravel", n_images=8, n_defective=2, image_size=112)


@pytest.fixture(scope="module")
def detector(backbone, images):
    return MuSc(backbone, image_size=112).fit(images)


def test_equals_the_stages_called_by_hand(backbone, images, detector):
    features = musc_lite.extract_features(images, backbone, image_size=112)
    scores = torch.stack(
        [
            torch.stack(
                [
                    musc_lite.mutual_scores(musc_lite.aggregate(features.patch_tokens[:, s], features.grid, r=r))
                    for s in range(len(features.layers))
                ]
            )
            for r in backbone.default_r
        ]
    )
    maps = musc_lite.upsample_maps(scores.mean(dim=(0, 1)), features.grid, 112)
    before = musc_lite.image_scores_from_maps(maps)
    after = musc_lite.rescore(before, features.class_tokens)
    np.testing.assert_array_equal(detector.patch_scores_, scores)
    np.testing.assert_array_equal(detector.anomaly_maps_, maps)
    np.testing.assert_array_equal(detector.map_scores_, before)
    np.testing.assert_array_equal(detector.image_scores_, after)
    assert detector.patch_scores_.shape == (2, 6, 8, 64)


def test_fitted_attributes_are_numpy_and_torch_where_the_design_says(detector):
    assert isinstance(detector.image_scores_, np.ndarray)
    assert isinstance(detector.features_.patch_tokens, torch.Tensor)
    assert detector.aggregated_tokens(0, 3).shape == (8, 64, 384)
    assert set(detector.seconds_) == {"features", "scoring", "maps", "re-scoring"}


def test_scikit_learn_conventions(backbone):
    detector = MuSc(backbone, r=(1,), interval=(0.0, 0.5))
    assert clone(detector).get_params()["interval"] == (0.0, 0.5)
    assert repr(MuSc(r=(1, 3))) == "MuSc(r=(1, 3))"
    assert MuSc().set_params(rescoring_sizes=()).rescoring_sizes == ()
    with pytest.raises(NotFittedError):
        detector.score_images([np.zeros((8, 8))])


def test_published_settings():
    published = MuSc.published()
    assert published.backbone == "ViT-L-14-336-gelu"  # plain GELU, visible
    assert (published.layers, published.image_size, published.r) == ("even", 518, (1, 3, 5))
    assert (published.interval, published.rescoring_sizes) == ((0.0, 0.3), (1, 2, 3))
    assert MuSc.published("dinov2_vits14", rescoring_sizes=(1, 8, 9)).rescoring_sizes == (1, 8, 9)


def test_recommended_settings_look_more_closely():
    recommended = MuSc.recommended(rescoring_sizes=())
    assert (recommended.image_size, recommended.layers, recommended.r) == (448, (4, 6, 8), (1, 3))
    assert (recommended.interval, recommended.rescoring_sizes) == ((0.0, 0.3), ())


def test_fit_predict_answers_from_the_fit(backbone, images, detector):
    predicted = MuSc(backbone, image_size=112, contamination=0.25).fit_predict(images)
    highest = np.argsort(detector.image_scores_)[-2:]
    assert set(np.flatnonzero(predicted == -1)) == set(highest)
    assert set(predicted) <= {-1, 1}


def test_a_threshold_set_by_hand_is_the_one_that_answers(backbone, images, tmp_path):
    """It did so only after the detector had been saved and loaded."""
    detector = MuSc(backbone, layers=[5], r=(1,), image_size=112).fit(images)
    new = planted_textures("gravel", n_images=4, n_defective=2, image_size=112, seed=7)
    scores = detector.score_images(new).image_scores
    for threshold in (scores.min() - 1, np.median(scores), scores.max() + 1):
        detector.threshold_ = float(threshold)
        expected = np.where(scores > threshold, -1, 1)
        np.testing.assert_array_equal(detector.predict(new), expected)
        assert detector.offset_ == -detector.threshold_
        detector.save(tmp_path / "fitted.safetensors")
        np.testing.assert_array_equal(MuSc.load(tmp_path / "fitted.safetensors", backbone).predict(new), expected)
    detector.offset_ = -0.25  # scikit-learn's way
    assert detector.threshold_ == 0.25


@pytest.fixture(scope="module")
def with_copies(images):
    """The last image three times, the first twice."""
    return images.subset([0, 1, 2, 3, 4, 5, 6, 7, 7, 0, 7])


def test_copies_are_scored_once_and_hide_nothing(backbone, images, with_copies):
    """A bad photo that was there three times scored 0.000 and ranked last."""
    once = MuSc(backbone, image_size=112).fit(images)
    with pytest.warns(
        UserWarning, match=r"3 images are copies of others, byte for byte: gravel_007_good \(of gravel_007_good\)"
    ):
        detector = MuSc(backbone, image_size=112).fit(with_copies)
    index = [0, 1, 2, 3, 4, 5, 6, 7, 7, 0, 7]
    np.testing.assert_array_equal(detector.copy_of_, [0, 1, 2, 3, 4, 5, 6, 7, 7, 0, 7])
    np.testing.assert_allclose(detector.image_scores_, once.image_scores_[index], atol=1e-5)
    np.testing.assert_allclose(detector.anomaly_maps_, once.anomaly_maps_[index], atol=1e-5)
    np.testing.assert_allclose(detector.patch_scores_, once.patch_scores_[:, :, index], atol=1e-5)
    assert detector.threshold_ == pytest.approx(once.threshold_, abs=1e-5)
    new = planted_textures("gravel", n_images=2, n_defective=1, image_size=112, seed=5)
    np.testing.assert_allclose(detector.score_images(new).image_scores, once.score_images(new).image_scores, atol=1e-5)
    assert len(detector.features_) == 11
    with pytest.warns(UserWarning, match="cop(y|ies)"):
        assert len(MuSc(backbone, layers=[5], r=(1,), image_size=112).fit_predict(with_copies)) == 11


def test_copies_stay_copies_when_saved(backbone, with_copies, tmp_path):
    with pytest.warns(UserWarning, match="cop(y|ies)"):
        detector = MuSc(backbone, layers=[5], r=(1,), image_size=112).fit(with_copies)
    detector.save(tmp_path / "fitted.safetensors")
    loaded = MuSc.load(tmp_path / "fitted.safetensors", backbone)
    np.testing.assert_array_equal(loaded.copy_of_, detector.copy_of_)
    new = planted_textures("gravel", n_images=2, n_defective=1, image_size=112, seed=5)
    np.testing.assert_array_equal(loaded.score_images(new).image_scores, detector.score_images(new).image_scores)


def test_a_photo_saved_again_is_warned_of(backbone, images):
    photos = [np.asarray(image) for image in images]
    photos.append(np.asarray(images[2].resize((56, 56))))
    batch = from_arrays(photos, names=[*images.names, "sent by mail"])
    settings = {"layers": [5], "r": (1,), "image_size": 112}
    with pytest.warns(UserWarning, match=r"2 photos are nearly the same picture: gravel_002_scratch, sent by mail"):
        MuSc(backbone, **settings).fit(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MuSc(backbone, **settings).fit(images)


def test_nothing_but_copies_cannot_be_scored(backbone):
    same = [np.asarray(planted_textures("brick", 1, 0, 112)[0])] * 4
    with pytest.raises(ValueError, match="all 4 images are copies of image_000"):
        MuSc(backbone, image_size=112).fit(same)


def test_references_by_name(backbone, images):
    """They failed with "too many dimensions"."""
    settings = {"layers": [5], "r": (1,), "image_size": 112}
    by_index = MuSc(backbone, references=[1, 4, 6], **settings).fit(images)
    by_name = MuSc(backbone, references=[images.names[i] for i in (6, 1, 4)], **settings).fit(images)
    np.testing.assert_array_equal(by_name.image_scores_, by_index.image_scores_)
    new = planted_textures("gravel", n_images=2, n_defective=1, image_size=112, seed=5)
    np.testing.assert_array_equal(by_name.score_images(new).image_scores, by_index.score_images(new).image_scores)
    assert by_name.cost(100).n_pairs == 300
    with pytest.raises(ValueError, match=r"1 names are not in .*'gravel_04_good'; did you mean 'gravel_004_good'"):
        MuSc(backbone, references=[images.names[1], "gravel_04_good"], **settings).fit(images)


def test_a_new_image_scores_as_if_it_had_been_in_the_batch(backbone, images):
    """Against N fitted images a new one has the N others that it has in a batch of N + 1."""
    whole = MuSc(backbone, image_size=112, rescoring_sizes=()).fit(images)
    batch = MuSc(backbone, image_size=112, rescoring_sizes=()).fit(images.subset(range(7)))
    new = batch.score_images(images.subset([7]))
    np.testing.assert_allclose(new.image_scores, whole.image_scores_[7:], atol=1e-5)
    np.testing.assert_allclose(new.anomaly_maps, whole.anomaly_maps_[7:], atol=1e-5)


def test_new_images_are_scored_apart(detector):
    new = planted_textures("gravel", n_images=3, n_defective=1, image_size=112, seed=7)
    together = detector.score_images(new)
    for i in range(3):
        alone = detector.score_images(new.subset([i]))
        np.testing.assert_allclose(alone.image_scores, together.image_scores[i : i + 1], atol=1e-5)
    np.testing.assert_allclose(detector.score_samples(new), -together.image_scores)
    decision = detector.decision_function(new)
    np.testing.assert_allclose(decision, detector.threshold_ - together.image_scores)
    np.testing.assert_array_equal(detector.predict(new), np.where(decision < 0, -1, 1))


def test_new_scores_are_on_the_scale_of_the_fit(backbone, images):
    """With window 1, re-scoring only scales, by the range of the fit."""
    detector = MuSc(backbone, image_size=112, rescoring_sizes=(1,)).fit(images)
    new = detector.score_images(planted_textures("brick", n_images=1, n_defective=0, image_size=112))
    low, high = detector.map_scores_.min(), detector.map_scores_.max()
    np.testing.assert_allclose(new.image_scores, (new.map_scores - low) / (high - low), rtol=1e-5)
    assert new.image_scores[0] > 1  # a brick wall among gravel: stranger than all that was fitted


def test_order_of_images_does_not_matter(backbone, images, detector):
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = MuSc(backbone, image_size=112).fit(images.subset(order))
    np.testing.assert_allclose(shuffled.image_scores_, detector.image_scores_[order], atol=1e-4)


def test_takes_a_folder_or_a_list(backbone, images, detector, tmp_path):
    for name, image in zip(images.names, images, strict=True):
        image.save(tmp_path / f"{name}.png")
    from_list = MuSc(backbone, image_size=112).fit(list(images))
    from_folder = MuSc(backbone, image_size=112).fit(tmp_path)
    np.testing.assert_array_equal(from_list.image_scores_, detector.image_scores_)
    np.testing.assert_array_equal(from_folder.image_scores_, detector.image_scores_)


def test_all_but_identical_images_are_all_normal(backbone):
    same = [np.array(planted_textures("brick", 1, 0, 112)[0]) for _ in range(4)]
    for i, pixels in enumerate(same):
        pixels[0, i, 0] ^= 1  # or they were copies
    detector = MuSc(backbone, image_size=112).fit(same)
    assert detector.map_scores_.max() < 0.05
    assert np.isfinite(detector.image_scores_).all()


def test_takes_paths_of_files_and_keeps_names(backbone, images, detector, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        image.save(path)
    fitted = MuSc(backbone, image_size=112).fit(paths[:-1])
    assert fitted.names_ == [str(path) for path in paths[:-1]]
    new = fitted.score_images(str(paths[-1]))
    assert new.names == [str(paths[-1])]
    assert new.image_scores.shape == (1,)


def test_an_image_of_the_batch_is_not_new(images, detector):
    with pytest.warns(UserWarning, match="1 of these images belong to the fitted batch, such as gravel_003"):
        detector.score_images(images.subset([3]))


def test_parameters_changed_after_the_fit_do_not_mix_into_it(backbone, images):
    detector = MuSc(backbone, image_size=112, layers=[5, 8]).fit(images.subset(range(7)))
    expected = detector.score_images(images.subset([7])).image_scores
    changed = detector.set_params(image_size=56, layers=[4]).score_images(images.subset([7])).image_scores
    np.testing.assert_array_equal(changed, expected)


def test_one_image_alone_cannot_be_scored(backbone):
    with pytest.raises(ValueError, match=r"at least 2, got 1 \(lonely\)"):
        MuSc(backbone).fit(from_arrays([np.zeros((28, 28))], names=["lonely"]))


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"r": (2,)}, "odd"),
        ({"r": 3}, "odd"),
        ({"interval": 0.3}, "two shares"),
        ({"rescoring_sizes": 2}, "rescoring_sizes"),
        ({"rescoring_sizes": None}, "rescoring_sizes"),
        ({"contamination": None}, "contamination"),
        ({"layers": 5}, "layers"),
        ({"layers": [4.5]}, "layers"),
        ({"image_size": 112.5}, "image_size"),
        ({"batch_size": "8"}, "batch_size"),
        ({"r": ()}, "odd"),
        ({"interval": (0.5, 0.1)}, "begin < end"),
        ({"rescoring_sizes": (0, 1)}, "at least 1"),
        ({"contamination": 0.9}, "contamination"),
        ({"contamination": "some"}, "contamination"),
        ({"layers": "deep"}, "layers"),
        ({"image_size": 100}, "multiple of the patch size"),
    ],
)
def test_bad_parameters_are_refused_before_the_work(backbone, parameter, message):
    def not_run(batch, layers):
        raise AssertionError("the work has begun")

    import dataclasses

    with pytest.raises(ValueError, match=message):
        MuSc(dataclasses.replace(backbone, tokens=not_run), **parameter).fit(
            [np.full((28, 28), i / 3) for i in range(3)]
        )


def test_real_backbone_finds_planted_defects(backbone):
    images = planted_textures("brick", n_images=20, n_defective=6)
    detector = MuSc(backbone).fit(images)
    found = evaluate(images.labels, detector.image_scores_, images.masks(224), detector.anomaly_maps_)
    assert found.image_auroc > 0.8
    assert found.pixel_auroc > 0.9
    assert found.aupro > 0.7


def test_real_backbone_finds_defects_of_magnetic_tiles(backbone, magnetic_tiles):
    every_fourth = magnetic_tiles.subset(range(0, len(magnetic_tiles), 4))
    detector = MuSc(backbone).fit(every_fourth)
    found = evaluate(every_fourth.labels, detector.image_scores_, every_fourth.masks(224), detector.anomaly_maps_)
    assert found.image_auroc > 0.7
    assert found.pixel_auroc > 0.7


OPTIONS = [{"references": 5}, {"references": [0, 2, 3, 7]}, {"n_components": 32}, {"search_window": 2}]


@pytest.mark.parametrize("options", [{}, *OPTIONS], ids=str)
def test_saved_and_loaded_it_scores_the_same_bits(backbone, images, tmp_path, options):
    detector = MuSc(backbone, layers=[5], r=(3,), image_size=112, **options).fit(images.subset(range(8)))
    detector.save(tmp_path / "fitted.safetensors")
    loaded = MuSc.load(tmp_path / "fitted.safetensors", backbone)
    new = planted_textures("gravel", n_images=3, n_defective=1, image_size=112, seed=5)
    before, after = detector.score_images(new), loaded.score_images(new)
    np.testing.assert_array_equal(after.image_scores, before.image_scores)
    np.testing.assert_array_equal(after.anomaly_maps, before.anomaly_maps)
    np.testing.assert_array_equal(loaded.predict(new), detector.predict(new))
    for name in ("image_scores_", "map_scores_", "patch_scores_", "anomaly_maps_", "threshold_", "names_", "r_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(detector, name))
    with pytest.warns(UserWarning, match="belong to the fitted batch"):
        loaded.score_images(images.subset([0]))


def test_a_detector_that_0_1_saved_scores_the_same(backbone):
    loaded = MuSc.load(Path(__file__).parent / "data" / "saved_by_0.1.safetensors", backbone)
    assert (loaded.n_components, loaded.references, loaded.r_) == (32, [0, 1, 3], (1, 3))
    scores = loaded.score_images(planted_textures("gravel", n_images=3, n_defective=1, image_size=56, seed=4))
    np.testing.assert_allclose(scores.image_scores, [0.13286926, 0.12651205, 0.25437847], atol=1e-5)
    np.testing.assert_allclose(scores.anomaly_maps.max(axis=(1, 2)), [0.28701624, 0.28053322, 0.30825725], atol=1e-5)
    np.testing.assert_array_equal(loaded.labels_, 1)


@pytest.mark.parametrize(
    ("name", "kind", "threshold", "expected"),
    [
        ("musc", MuSc, 1.1982918408870697, [0.9849749803543091, -0.006426106207072735]),
        ("detector", Detector, 2.0110063552856445, [1.4224287271499634, 0.9731462597846985]),
    ],
)
def test_files_that_do_not_name_their_class_are_read_as_the_class_that_wrote_them(
    backbone, name, kind, threshold, expected
):
    for asked in (MuSc, Detector):
        loaded = asked.load(Path(__file__).parent / "data" / f"saved_by_0.1_{name}.safetensors", backbone)
        assert type(loaded) is kind
        assert loaded.threshold_ == threshold
        assert len(loaded.calibration_) == 4
        photos = np.random.default_rng(2).integers(0, 256, (2, 28, 28, 3)).astype(np.uint8)
        np.testing.assert_allclose(loaded.score_images(list(photos)).image_scores, expected, atol=1e-5)


def test_a_loaded_detector_finds_its_images_where_they_were_files(backbone, images, tmp_path):
    for i, image in enumerate(images):
        image.save(tmp_path / f"{i}.png")
    MuSc(backbone, layers=[5], r=(1,), image_size=112).fit(tmp_path).save(tmp_path / "fitted.safetensors")
    loaded = MuSc.load(tmp_path / "fitted.safetensors", backbone)
    np.testing.assert_array_equal(np.asarray(loaded.images_[3]), np.asarray(images[3]))


def test_a_loaded_detector_finds_its_masks_where_they_were_files(backbone, images, tmp_path):
    for i, image in enumerate(images.subset(range(3))):
        image.save(tmp_path / f"{i}.png")
        Image.new("L", image.size, 255 * (i == 0)).save(tmp_path / f"{i}.bmp")
    files, masks = ([tmp_path / f"{i}.{kind}" for i in range(3)] for kind in ("png", "bmp"))
    batch = musc_lite.ImageSet(files, ["a", "b", "c"], [1, 1, 0], [masks[0], [masks[1], masks[0]], None])
    MuSc(backbone, layers=[5], r=(1,), image_size=112).fit(batch).save(tmp_path / "fitted.safetensors")
    loaded = MuSc.load(tmp_path / "fitted.safetensors", backbone)
    assert loaded.images_.masks(4).all(axis=(1, 2)).tolist() == [True, True, False]
    assert loaded.images_.mask_sources == batch.mask_sources


def test_a_loaded_detector_has_the_masks_that_were_arrays(backbone, images, tmp_path):
    """They came back all empty."""
    for i, image in enumerate(images.subset(range(4))):
        image.save(tmp_path / f"{i}.png")
    bmp = tmp_path / "mask.bmp"
    Image.new("L", (112, 112), 255).save(bmp)
    files = [tmp_path / f"{i}.png" for i in range(4)]
    odd = np.random.default_rng(0).random((112, 112)) > 0.9
    batch = musc_lite.ImageSet(files, list("abcd"), [1, 1, 1, 0], [odd, bmp, [odd, bmp], None])
    detector = MuSc(backbone, layers=[5], r=(1,), image_size=112).fit(batch)
    detector.save(tmp_path / "fitted.safetensors")
    loaded = MuSc.load(tmp_path / "fitted.safetensors", backbone)
    np.testing.assert_array_equal(loaded.images_.masks(112), batch.masks(112))
    assert loaded.images_.masks(112)[0].sum() == odd.sum()
    loaded.save(tmp_path / "again.safetensors")
    again = MuSc.load(tmp_path / "again.safetensors", backbone)
    np.testing.assert_array_equal(again.images_.masks(112), batch.masks(112))


def test_a_loaded_detector_of_images_in_memory_has_no_images(backbone, images, detector, tmp_path):
    detector.save(tmp_path / "fitted.safetensors")
    loaded = MuSc.load(tmp_path / "fitted.safetensors", backbone)
    assert loaded.images_ is None
    loaded.save(tmp_path / "again.safetensors")
    np.testing.assert_array_equal(MuSc.load(tmp_path / "again.safetensors", backbone).names_, detector.names_)


def test_broken_and_foreign_files_are_no_detectors(backbone, images, tmp_path):
    path = tmp_path / "fitted.safetensors"
    with pytest.raises(musc_lite.DataNotFoundError, match="not a complete saved detector"):
        MuSc.load(path, backbone)
    detector = MuSc(backbone, layers=[5], r=(1,), image_size=112).fit(images)
    detector.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(musc_lite.DataNotFoundError, match="not a complete saved detector"):
        MuSc.load(path, backbone)
    detector.features_.save(path)
    with pytest.raises(musc_lite.DataNotFoundError, match="not a complete saved detector"):
        MuSc.load(path, backbone)


def test_other_weights_are_refused(backbone, images, tmp_path):
    path = tmp_path / "fitted.safetensors"
    MuSc(backbone, layers=[5], r=(1,), image_size=112).fit(images).save(path)
    with pytest.raises(ValueError, match="fitted with other weights"):
        MuSc.load(path, replace(backbone, weights_sha256="0" * 64))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_new_images_are_searched_for_as_in_the_batch(backbone, images, options):
    """Scored by images 0 to 4 in the batch, the last image has the map that it has when it is new."""
    options = options | {"references": range(5), "layers": [5], "r": (3,), "image_size": 112}
    fitted = MuSc(backbone, **options).fit(images)
    without = MuSc(backbone, **options).fit(images.subset(range(7)))
    new = without.score_images(images.subset([7]))
    np.testing.assert_allclose(new.anomaly_maps[0], fitted.anomaly_maps_[7], atol=1e-5)


def test_a_budget_changes_how_tokens_are_kept_and_hardly_the_scores(backbone, images, tmp_path):
    unlimited = MuSc(backbone, image_size=112).fit(images)
    for storage in ("float16", "disk"):
        budgets = range(1_000_000, 300_000_000, 500_000)
        extent = BatchShape((4, 5, 6, 7, 8, 9), r=(1, 3), resolved_view=ResolvedView((112, 112), 14), n_channels=384)
        plans = {}
        for budget in budgets:
            with suppress(ValueError):
                plan = plan_memory(MutualScorer(), 8, extent, budget)
                plans.setdefault(plan.storage, budget)
        detector = MuSc(backbone, image_size=112, max_memory=plans[storage], cache_dir=tmp_path).fit(images)
        assert detector.features_.patch_tokens.dtype == torch.float16
        np.testing.assert_allclose(detector.patch_scores_, unlimited.patch_scores_, atol=2e-3)
        np.testing.assert_allclose(detector.image_scores_, unlimited.image_scores_, atol=2e-2)


def test_too_small_a_budget_is_refused_before_the_work(backbone, images):
    with pytest.raises(ValueError, match=r"take at least \d+ bytes") as refused:
        MuSc(backbone, image_size=112, max_memory="1MB").fit(images)
    least = int(re.search(r"at least (\d+)", str(refused.value))[1])
    assert MuSc(backbone, image_size=112, max_memory=least).cost(len(images)).n_bytes == least
    with pytest.raises(ValueError, match="take at least"):
        MuSc(backbone, image_size=112, max_memory=least - 1).cost(len(images))


def test_cost_is_in_proportion_to_the_pairs(backbone):
    detector = MuSc(backbone, layers=[5, 8], r=(1, 3, 5))
    assert detector.cost(100).n_pairs == 6 * 100 * 99 // 2
    assert detector.set_params(references=10).cost(100).n_pairs == 6 * 100 * 10
    cost = detector.cost(1000)
    assert 0 < cost.extraction_seconds < 10_000
    assert 0 < cost.scoring_seconds < 10_000
    assert "GB of memory" in str(cost)
    with pytest.raises(NotFittedError):  # an estimate is no fit
        detector.score_images([np.zeros((8, 8))])
    with pytest.raises(ValueError, match="at least 2 images"):
        detector.cost(1)


def test_what_json_does_not_know_is_saved_all_the_same(backbone, images, tmp_path):
    options = {
        "layers": range(4, 6),
        "references": np.arange(3),
        "r": (np.int64(3),),
        "interval": (0.0, np.float32(0.5)),
    }
    detector = MuSc(backbone, image_size=112, **options).fit(images)
    detector.save(tmp_path / "new folder" / "fitted.safetensors")
    loaded = MuSc.load(tmp_path / "new folder" / "fitted.safetensors", backbone)
    new = planted_textures("gravel", n_images=2, n_defective=1, image_size=112, seed=5)
    np.testing.assert_array_equal(loaded.score_images(new).map_scores, detector.score_images(new).map_scores)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_components": 1000}, "between 1 and the 384 channels"),
        ({"search_window": "2"}, "search_window must be a whole number"),
        ({"references": 9}, "references must be 2 to 8"),
        ({"references": "all"}, "references must be 2 to 8"),
        ({"references": "trusted"}, "are the images with the verdict good"),
        ({"max_memory": "inf"}, "a size is a number of bytes"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_the_work(backbone, images, wrong, message):
    def refuse(batch, layers):
        raise AssertionError("extracted")

    with pytest.raises(ValueError, match=message):
        MuSc(replace(backbone, tokens=refuse), image_size=112, **wrong).fit(images)


def test_a_loaded_detector_caches_features_of_new_images_where_it_is_told_to(backbone, images, tmp_path):
    """A saved file says neither where to write nor how many images go through the backbone at once."""
    for i, image in enumerate(images):
        image.save(tmp_path / f"{i}.png")
    MuSc(backbone, layers=[5], r=(1,), image_size=56).fit(images).save(tmp_path / "fitted.safetensors")
    loaded = MuSc.load(tmp_path / "fitted.safetensors", backbone).set_params(cache_dir=tmp_path / "cache")
    loaded.score_images([tmp_path / "1.png", tmp_path / "2.png"])
    assert len([*(tmp_path / "cache").rglob("*.safetensors")]) == 2
