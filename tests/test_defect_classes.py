"""Kinds of defect: regions by a threshold of their image's own, classes by what they look like, severity by size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import normalized_mutual_info_score
from typer.testing import CliRunner

from musc_lite import (
    Features,
    MuSc,
    cluster_vectors,
    defect_classes,
    find_regions,
    planted_textures,
    region_vectors,
    severity,
)
from musc_lite.analysis.defect_classes import APART
from musc_lite.analysis.regions import CORE
from musc_lite.cli import app
from musc_lite.data.view import ResolvedView
from musc_lite.reports.class_plots import plot_class_gallery
from musc_lite.reports.report import Result, write_report
from musc_lite.results.summary import describe_defect_classes
from musc_lite.stages.aggregation import aggregate

GRID = (4, 5)
maps = arrays(float, (3, 20), elements=st.integers(0, 9).map(float))


def picture(*rows):
    """Turn rows of digits into scores (1, M)."""
    return np.array([[float(digit) for digit in "".join(rows)]])


def test_regions_end_half_way_between_usual_and_highest_and_touch_at_corners():
    found = find_regions(picture("11111", "19711", "11161", "11117"), GRID)
    assert found.patches[0].tolist() == [6, 7, 13, 19]  # above (1 + 9) / 2, aslant in one piece
    assert found.boxes.tolist() == [[1, 1, 4, 5]]
    assert (found.means.tolist(), found.peaks.tolist(), found.areas.tolist()) == ([7.25], [9.0], [4])
    assert found.mask(0).ravel().nonzero()[0].tolist() == [6, 7, 13, 19]
    assert len(find_regions(picture("11111", "19711", "11151", "11117"), GRID)) == 2  # 5 is not above 5


def test_half_way_is_from_the_median_not_the_mean():
    scores = np.zeros((1, 20))
    scores[0, [3, 4, 10]] = 10, 5.1, 4.9
    assert [p.tolist() for p in find_regions(scores, GRID).patches] == [[3, 4]]


def test_each_image_has_its_own_threshold():
    faint, strong = picture("1" * 19, "2"), picture("1" * 18, "49")
    found = find_regions(np.concatenate([faint, strong]), GRID)
    assert [p.tolist() for p in found.patches] == [[19], [19]]
    assert find_regions(np.concatenate([faint, strong]), GRID, [1]).images.tolist() == [1]


def test_the_core_is_what_lies_near_the_regions_own_highest_score():
    found = find_regions(picture("11111", "18691", "11111", "17555"), GRID)
    assert found.patches[0].tolist() == [6, 7, 8]
    assert found.cores[0].tolist() == [6, 8]  # 1 + 0.8 * (9 - 1) = 7.4
    assert found.cores[1].tolist() == [16]  # 1 + 0.8 * (7 - 1) = 5.8


@settings(max_examples=50)
@given(maps, st.floats(0.1, 10), st.floats(-5, 5))
def test_regions_do_not_depend_on_the_scale_of_the_scores(scores, factor, shift):
    found = find_regions(scores * 64, GRID)
    other = find_regions(scores * 64 * 2.0 ** round(factor) + round(shift), GRID)
    assert [p.tolist() for p in other.patches] == [p.tolist() for p in found.patches]
    assert set(found.images) == {i for i in range(3) if np.ptp(scores[i]) and scores[i].max() > np.median(scores[i])}
    assert found.images[found.strongest].tolist() == sorted(set(found.images))
    for k in found.strongest:
        assert found.peaks[k] == scores[found.images[k]].max() * 64
        assert set(found.cores[k]) <= set(found.patches[k])


def test_layers_are_averaged_and_other_shapes_refused():
    one, two = picture("1" * 19, "9"), picture("9", "1" * 19)
    both = find_regions(np.stack([one, two])[None], GRID)
    assert [p.tolist() for p in both.patches] == [[0], [19]]
    with pytest.raises(ValueError, match=r"need the shape \(..., images, 20\) .* got \(1, 19\)"):
        find_regions(one[:, 1:], GRID)


def features_of(tokens):
    """Make features of tokens (N, S, M, C) on the grid."""
    return Features(
        torch.as_tensor(tokens), torch.ones(len(tokens), 2), ResolvedView((56, 70), 14), tuple(range(tokens.shape[1]))
    )


def test_vectors_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    features, scores = features_of(rng.normal(size=(4, 3, 20, 6))), rng.random((4, 20))
    regions = find_regions(scores, GRID, [1, 3])
    vectors, spread = region_vectors(regions, features, r=3)
    for k, i in enumerate(regions.images):
        level = np.median(scores[i])
        core = [m for m in regions.patches[k] if scores[i, m] - level >= CORE * (regions.peaks[k] - level)]
        parts = []
        for s in range(3):
            mean = aggregate(features.patch_tokens[:, s], GRID, 3)[i, core].numpy().mean(axis=0)
            parts.append(mean / np.linalg.norm(mean))
        np.testing.assert_allclose(vectors[k], np.concatenate(parts) / np.sqrt(3))
    whole = np.concatenate([aggregate(t, GRID, 3)[[1, 3]].numpy() for t in features.patch_tokens.unbind(1)], axis=2)
    flat = whole.reshape(40, -1) / np.sqrt(3)
    assert spread == pytest.approx(np.sqrt(((flat - flat.mean(axis=0)) ** 2).sum(axis=1).mean()))
    with pytest.raises(ValueError, match="give the features that were scored"):
        region_vectors(regions, features.subset(np.arange(3)))


@settings(max_examples=30)
@given(st.integers(2, 12), st.integers(0, 1000), st.floats(0.2, 3))
def test_clusters_are_those_of_scipy_and_numbered_by_size(n, seed, spread):
    vectors = np.random.default_rng(seed).normal(size=(n, 4))
    tree = linkage(vectors, "ward")
    for n_classes in {1, 2, n, None}:
        criterion = (APART * spread, "distance") if n_classes is None else (n_classes, "maxclust")
        expected, found = fcluster(tree, *criterion), cluster_vectors(vectors, n_classes, spread)
        assert len(set(zip(expected, found, strict=True))) == len(set(expected)) == len(set(found))
        sizes = np.bincount(found)
        assert (np.diff(sizes) <= 0).all()


def two_kinds(n=12):
    """Give features and scores of flagged images by one of two kinds of patch, the rest being normal."""
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(n + 4, 2, 20, 16))
    scores = 0.1 * rng.random((2, 2, n + 4, 20))
    kinds = np.arange(n) % 3 == 0
    for i, kind in enumerate(kinds):
        tokens[i, :, i % 20] = 30 * np.eye(16)[int(kind)] + rng.normal(size=(2, 16))
        scores[:, :, i, i % 20] = 5 + rng.random()
    return features_of(tokens), scores, np.arange(n + 4) < n, kinds


@pytest.mark.parametrize("n_classes", [2, None])
def test_two_kinds_are_told_apart(n_classes):
    features, scores, stand_out, kinds = two_kinds()
    classes = defect_classes(features, scores, stand_out, n_classes)
    assert classes.labels.tolist() == [*kinds.astype(int), -1, -1, -1, -1]
    assert classes.sizes.tolist() == [8, 4]
    members = classes.members(1)
    assert classes.regions.images[np.sort(members)].tolist() == [0, 3, 6, 9]
    middle = classes.vectors[members].mean(axis=0)
    assert (np.diff(np.linalg.norm(classes.vectors[members] - middle, axis=1)) >= 0).all()
    assert describe_defect_classes(classes)[0] == "2 classes of defects in the 12 flagged images: 8 and 4 images."
    assert any("is an estimate" in sentence for sentence in describe_defect_classes(classes)) == (n_classes is None)


def test_one_kind_is_left_whole():
    features, scores, stand_out, kinds = two_kinds()
    assert len(defect_classes(features, scores, stand_out & np.append(~kinds, [False] * 4))) == 1


def test_weaker_regions_take_the_nearest_class():
    features, scores, stand_out, _ = two_kinds()
    features.patch_tokens[1, :, 10] = features.patch_tokens[0, :, 0]  # image 1 has a defect of the other kind too
    scores[:, :, 1, 10] = 4
    classes = defect_classes(features, scores, stand_out, 2)
    mine = classes.regions.images == 1
    assert dict(zip(classes.regions.peaks[mine].round(), classes.region_labels[mine], strict=True))[4] == 1
    assert classes.labels[1] == 0


def test_few_images_or_none_are_said_to_be_few():
    features, scores, stand_out, _ = two_kinds()
    none = defect_classes(features, scores, np.zeros_like(stand_out))
    assert (len(none), none.labels.tolist(), none.sizes.tolist()) == (0, [-1] * 16, [])
    assert describe_defect_classes(none) == ["No image is flagged, so there are no defects to sort."]
    one = defect_classes(features, scores, np.arange(16) == 2)
    assert one.labels[2] == 0
    assert one.labels.max() == 0
    assert describe_defect_classes(one) == ["One image is flagged, so there are no classes of defects."]
    with pytest.warns(UserWarning, match="only 3 images are flagged, too few for 5 kinds of defect"):
        three = defect_classes(features, scores, np.arange(16) < 3, 5)
    assert three.sizes.tolist() == [1, 1, 1]
    assert "With fewer than 10 flagged images, classes are a guess." in describe_defect_classes(three)


def test_what_does_not_fit_is_refused():
    features, scores, stand_out, _ = two_kinds()
    with pytest.raises(ValueError, match="of 16 images with 20 patches give"):
        defect_classes(features, scores[..., :9], stand_out)
    with pytest.raises(ValueError, match=r"got \(2, 2, 16, 20\) and \(16,\) of int64"):
        defect_classes(features, scores, np.arange(16))
    for wrong in (0, 2.5):
        with pytest.raises(ValueError, match="n_classes is a whole number"):
            defect_classes(features, scores, stand_out, wrong)
    with pytest.raises(ValueError, match="give stand_out of as many"):
        severity(find_regions(scores, GRID), scores, stand_out[:3])


def test_severity_is_area_times_depth_over_what_is_usual():
    normal = np.arange(20.0) / 19  # its 90th percentile is 0.9
    scores = np.stack([normal, np.where(np.arange(20) < 4, 6.0, 0.5), np.where(np.arange(20) < 8, 3.4, 0.5)])
    scores[1, :4] += -1, 0, 0, 1  # the mean counts
    stand_out = np.array([False, True, True])
    found = severity(find_regions(scores, GRID, [1, 2]), scores, stand_out)
    assert found.usual == pytest.approx(0.9)
    np.testing.assert_allclose(found.areas, [0.2, 0.4])
    np.testing.assert_allclose(found.contrast, [5.1, 2.5])
    np.testing.assert_allclose(found.values, [1.02, 1.0])  # equally bad: small and deep, large and shallow
    assert severity(find_regions(scores, GRID), scores, np.ones(3, dtype=bool)).usual == np.quantile(scores, 0.9)


@pytest.fixture(scope="module")
def detector(backbone):
    return MuSc(backbone, r=(1,), layers=[4, 6, 8], rescoring_sizes=()).fit(planted_textures("brick", 24, 12))


def test_kinds_of_planted_defects_are_told_apart(detector):
    defective = detector.images_.labels == 1
    classes = defect_classes(detector.features_, detector.patch_scores_, defective, 5)
    true = [name.split("_")[-1] for name in np.array(detector.names_)[defective]]
    assert normalized_mutual_info_score(true, classes.labels[defective]) > 0.8


def test_the_table_has_the_most_severe_first(detector):
    stand_out = detector.images_.labels == 1
    classes = defect_classes(detector.features_, detector.patch_scores_, stand_out)
    bad = severity(classes.regions, detector.patch_scores_, stand_out)
    table = classes.to_frame(detector.names_, bad)
    assert len(table) == len(classes.regions)
    assert (np.diff(table["severity"]) <= 0).all()
    np.testing.assert_allclose(table["severity"], table["area"] * table["depth"])
    first = int(bad.values.argmax())
    assert table["image"][0] == detector.names_[classes.regions.images[first]]
    assert table["kind"][0] == classes.region_labels[first]
    box = table.loc[0, ["top", "left", "bottom", "right"]].to_numpy(float)
    np.testing.assert_allclose(box * 16, classes.regions.boxes[first])
    assert table["strongest"].sum() == 12


def test_the_report_shows_kinds(detector, tmp_path):
    classes = defect_classes(detector.features_, detector.patch_scores_, detector.scores_.is_outlier, 2)
    page = write_report(tmp_path / "report.html", [Result("brick", detector.scores_, classes=classes)]).read_text()
    assert "<h3>Kinds of defect</h3>" in page
    assert describe_defect_classes(classes)[0] in page
    assert page.count('<span class="badge">kind ') == detector.scores_.is_outlier.sum()
    none = defect_classes(detector.features_, detector.patch_scores_, np.zeros(24, dtype=bool))
    page = write_report(tmp_path / "none.html", [Result("brick", detector.scores_, classes=none)]).read_text()
    assert "No image is flagged, so there are no defects to sort." in page
    assert "Kinds of defect, a row each" not in page
    assert "Kinds" not in write_report(tmp_path / "plain.html", [Result("brick", detector.scores_)]).read_text()


def test_the_gallery_has_a_row_for_each_kind(detector):
    classes = defect_classes(detector.features_, detector.patch_scores_, detector.images_.labels == 1, 3)
    axes = plot_class_gallery(classes, detector.scores_, n_columns=5, figure=Figure())
    assert axes.shape == (3, 5)
    titles = [row[0].get_title(loc="left") for row in axes]
    assert titles == [f"kind {k}: {n} image{'s' if n > 1 else ''}" for k, n in enumerate(classes.sizes)]
    k = classes.members(0)[0]
    top, left, bottom, right = classes.regions.boxes[k] * 14 - 0.5
    corner, width, height = axes[0, 0].patches[0].get_xy(), *axes[0, 0].patches[0].get_bbox().size
    assert (*corner, width, height) == (left, top, right - left, bottom - top)


def test_the_command_line_sorts_what_stands_out(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, image in zip((images := planted_textures("brick", 12, 4, 112)).names, images, strict=True):
        image.save(photos / f"{name}.png")
    command = ["score", str(photos), "-o", str(tmp_path / "out"), "--image-size", "112", "--classes"]
    common = ["--contamination", "0.34"]
    done = CliRunner().invoke(app, [*command, "2", *common])
    assert done.exit_code == 0, done.output
    assert "2 classes of defects in the 4 flagged images" in done.output
    assert (
        (tmp_path / "out" / "kinds.csv")
        .read_text(encoding="utf-8-sig")
        .startswith("image,kind,strongest,severity,area,depth,peak,top")
    )
    refused = CliRunner().invoke(app, [*command, "many", *common])
    assert refused.exit_code == 1
    assert "--classes takes" in refused.output
