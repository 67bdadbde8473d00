"""What a batch is made of: kinds of image that lie apart are told, and one kind is left whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from musc_lite import (
    LNAMD,
    Detector,
    GaussianScorer,
    MemoryBankScorer,
    MuSc,
    NearestScorer,
    SubspaceScorer,
    View,
    extract_features,
    from_arrays,
    group_images,
    image_groups,
    planted_textures,
)
from musc_lite.analysis.groups import SMALLEST, image_distances
from musc_lite.detector import explain
from musc_lite.detector.explain import groups_to_show
from musc_lite.reports.group_plots import draw_groups, group_rows, plot_group_gallery, plot_group_matrix
from musc_lite.reports.report import Result, write_report
from musc_lite.results.summary import describe_groups
from musc_lite.stages.aggregation import aggregate
from musc_lite.stages.maps import Pooling


def points(*clusters):
    """Give the distances of points in ten dimensions around some centers, clusters of (center, number)."""
    rng = np.random.default_rng(0)
    places = np.concatenate([center + rng.normal(size=(n, 10)) for center, n in clusters])
    return np.linalg.norm(places[:, None] - places[None], axis=-1)


@settings(max_examples=20)
@given(st.integers(2, 5), st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000))
def test_distances_are_those_of_a_plain_loop(n_images, n_patches, n_channels, seed):
    tokens = torch.randn(n_images, n_patches, n_channels, generator=torch.Generator().manual_seed(seed)).double()
    found = image_distances(tokens)
    for i in range(n_images):
        for j in range(n_images):
            between = torch.cdist(tokens[i], tokens[j])
            expected = (between.amin(dim=1).mean() + between.amin(dim=0).mean()) / 2
            assert found[i, j] == pytest.approx(0 if i == j else expected.item(), abs=1e-5)


@pytest.mark.parametrize("sizes", [(20, 10), (9, 8, 7), (12, 4)])
def test_kinds_that_lie_apart_are_found_the_largest_first(sizes):
    groups = group_images(points(*((12.0 * k, n) for k, n in enumerate(sizes))))
    assert groups.sizes.tolist() == list(sizes)
    assert groups.labels.tolist() == [k for k, n in enumerate(sizes) for _ in range(n)]
    assert groups.separation == 1
    assert [groups.labels[m] for m in groups.medoids] == list(range(len(sizes)))


@pytest.mark.parametrize("n", [3, 10, 40])
def test_one_kind_is_left_whole(n):
    groups = group_images(points((0.0, n)))
    assert len(groups) == 1
    assert groups.members(0).tolist() == list(range(n))
    assert "one kind of image" in repr(groups)


def test_a_few_outliers_are_no_kind():
    assert len(group_images(points((0.0, 20), (20.0, SMALLEST - 1)))) == 1


def test_images_that_are_all_the_same_are_one_kind():
    assert len(group_images(np.zeros((10, 10)))) == 1


def test_the_order_of_the_images_does_not_matter():
    distances = points((0.0, 11), (9.0, 7))
    order = np.random.default_rng(1).permutation(18)
    groups, mixed = group_images(distances), group_images(distances[np.ix_(order, order)])
    np.testing.assert_array_equal(mixed.labels, groups.labels[order])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gravel_among_brick_is_found_and_brick_alone_is_one_kind(backbone, seed):
    brick = planted_textures("brick", 14, 3, seed=seed, image_size=112)
    gravel = planted_textures("gravel", 6, 0, seed=seed, image_size=112)
    mixed = from_arrays([np.asarray(image) for image in [*brick, *gravel]])
    features = extract_features(mixed, backbone, layers=[4, 8], image_size=112, progress=False)
    assert image_groups(features).labels.tolist() == [0] * 14 + [1] * 6
    assert len(image_groups(features.subset(np.arange(14)))) == 1


def test_layers_are_averaged(backbone):
    images = planted_textures("brick", 5, 1, image_size=56)
    features = extract_features(images, backbone, layers=[4, 8], image_size=56, progress=False)
    each = [image_distances(aggregate(features.patch_tokens[:, s], features.grid, 3)) for s in range(2)]
    np.testing.assert_allclose(image_groups(features).distances, np.mean(each, axis=0), atol=1e-6)


def test_scores_against_a_group_are_those_of_a_plain_loop():
    groups = group_images(points((0.0, 11), (12.0, 7)))
    for k in range(2):
        found = groups.scores_against(k)
        for i in range(18):
            others = sorted(groups.distances[i, j] for j in groups.members(k) if j != i)
            assert found[i] == pytest.approx(np.mean(others[: int(0.3 * len(others))]))


def test_the_table_says_what_a_group_scores_inside_and_against_the_largest():
    groups = group_images(points((0.0, 11), (12.0, 7), (24.0, 5)))
    table = groups.to_frame([f"image {i}" for i in range(23)])
    assert table["group"].tolist() == [0, 1, 2]
    assert table["images"].tolist() == [11, 7, 5]
    assert table["medoid"].tolist() == [f"image {m}" for m in groups.medoids]
    for k in range(3):
        members = groups.members(k)
        assert table["inside"][k] == pytest.approx(groups.scores_against(k)[members].mean())
        assert table["against_largest"][k] == pytest.approx(groups.scores_against(0)[members].mean())
    assert table["inside"].max() < 5 < 30 < table["against_largest"][1] < table["against_largest"][2]
    assert groups.to_frame()["medoid"].tolist() == groups.medoids.tolist()


def test_patches_that_are_left_out_are_every_second_of_rows_and_columns(backbone):
    images = planted_textures("brick", 5, 1, image_size=70)
    features = extract_features(images, backbone, layers=[8], image_size=70, progress=False)
    tokens = aggregate(features.patch_tokens[:, 0], features.grid, 3).unflatten(1, (5, 5))[:, ::2, ::2].flatten(1, 2)
    np.testing.assert_allclose(image_groups(features, every=2).distances, image_distances(tokens), atol=1e-6)
    with pytest.raises(ValueError, match="every is a whole number, 1 for all patches, got 0"):
        image_groups(features, every=0)


def test_pictures():
    groups = group_images(points((0.0, 9), (12.0, 5)))
    ax = plot_group_matrix(groups, Figure(layout="constrained").subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["group 0: 9", "group 1: 5"]
    images = planted_textures("brick", 14, 0, image_size=56)
    axes = plot_group_gallery(groups, images, n_columns=4)
    assert axes.shape == (2, 4)
    assert axes[1, 0].get_title(loc="left") == "group 1: 5 images"
    figure = draw_groups(groups, images)
    assert len(figure.axes) == 2 + 2 * 6  # the matrix, its colors, two rows of the gallery


@pytest.fixture(scope="module")
def mixed():
    """Twelve photos of brick, eight of gravel."""
    photos = [*planted_textures("brick", 12, 0, image_size=112), *planted_textures("gravel", 8, 0, image_size=112)]
    return from_arrays([np.asarray(photo) for photo in photos])


SMALL = {"image_size": 112, "layers": [4, 8], "r": (1,), "rescoring_sizes": ()}


def test_images_of_another_kind_stand_out_by_the_normal_group(backbone, mixed, tmp_path):
    alone = MuSc(backbone, **SMALL, pooling="mean").fit(mixed)
    assert alone.normal_ is None
    with pytest.warns(UserWarning, match=r"12 and 8: .* scored by the 12 of group 0 alone"):
        detector = MuSc(backbone, **SMALL, pooling="mean", groups="largest").fit(mixed)
    assert detector.normal_.tolist() == list(range(12))
    assert detector.map_scores_[12:].min() > detector.map_scores_[:12].max()
    assert not alone.map_scores_[12:].min() > alone.map_scores_[:12].max()
    assert "12 images of the group" in detector.provenance()["groups"]
    detector.save(tmp_path / "saved")
    loaded = MuSc.load(tmp_path / "saved", backbone)
    new = planted_textures("gravel", 2, 0, image_size=112, seed=1)
    np.testing.assert_array_equal(loaded.score_images(new).image_scores, detector.score_images(new).image_scores)
    explained = loaded.get_scorer(0, 1).explain(loaded.aggregated_tokens(0, 1), 15, 3)
    assert explained.images.tolist() == list(range(12))


@pytest.mark.parametrize("scorer", [SubspaceScorer(), GaussianScorer(), MemoryBankScorer()], ids=str)
def test_any_scorer_that_takes_references_can_be_fitted_to_the_normal_group(backbone, mixed, scorer):
    view = {"view": View(112), "layers": [8], "aggregation": LNAMD((1,)), "pooling": Pooling("mean")}
    with pytest.warns(UserWarning, match="12 and 8"):
        detector = Detector(backbone, **view, scorer=scorer, groups=0).fit(mixed)
    assert detector.map_scores_[12:].min() > detector.map_scores_[:12].max()


def test_one_kind_is_scored_as_ever(backbone):
    brick = planted_textures("brick", 16, 3, image_size=112)
    plain, asked = (MuSc(backbone, **SMALL, groups=groups).fit(brick) for groups in (None, "largest"))
    np.testing.assert_array_equal(asked.image_scores_, plain.image_scores_)


def test_what_names_no_group_is_refused(backbone, mixed):
    with pytest.raises(ValueError, match="groups is 'largest' or the number of a group"):
        MuSc(backbone, **SMALL, groups="smallest").fit(mixed)
    with pytest.raises(ValueError, match="there is no group 2: the batch holds 2 kinds of image, 12 and 8"):
        MuSc(backbone, **SMALL, groups=2).fit(mixed)
    with pytest.raises(ValueError, match="chooses the references itself"):
        MuSc(backbone, **SMALL, groups=0, references=5).fit(mixed)
    with pytest.raises(ValueError, match="takes none"):
        Detector(backbone, scorer=NearestScorer(), groups=0).fit(mixed)


@pytest.fixture
def enough(monkeypatch):
    """Let a batch of 16 be enough for a look that nobody asked for."""
    monkeypatch.setattr(explain, "ENOUGH", 16)


@pytest.mark.usefixtures("enough")
def test_the_report_shows_kinds_that_nobody_asked_for_and_what_they_mean(backbone, mixed, tmp_path):
    detector = MuSc(backbone, **SMALL).fit(mixed)
    groups = groups_to_show(detector)
    assert groups.sizes.tolist() == [12, 8]
    page = write_report(tmp_path / "report.html", [Result("mixed", detector.scores_, groups=groups)]).read_text()
    assert "<h3>Kinds of image</h3>" in page
    assert "2 kinds of image, 12 and 8" in page
    assert "All images were compared with all others" in page
    assert f"{groups.to_frame()['against_largest'][1]:.3f}" in page
    assert "Kinds of image" not in write_report(tmp_path / "report.html", [Result("m", detector.scores_)]).read_text()


def test_kinds_that_were_asked_for_are_shown_as_scored(backbone, mixed):
    with pytest.warns(UserWarning, match="12 and 8"):
        detector = MuSc(backbone, **SMALL, groups="largest").fit(mixed)
    assert groups_to_show(detector) is detector.groups_
    assert "scored by the 12 images of the group" in describe_groups(detector.groups_, detector.scores_)[1]


def test_few_images_are_not_looked_at_unasked(backbone, mixed):
    assert groups_to_show(MuSc(backbone, **SMALL).fit(mixed)) is None


@pytest.mark.usefixtures("enough")
def test_one_kind_is_shown_only_where_it_was_asked_for(backbone):
    brick = planted_textures("brick", 16, 3, image_size=112)
    assert groups_to_show(MuSc(backbone, **SMALL).fit(brick)) is None
    asked = MuSc(backbone, **SMALL, groups="largest").fit(brick)
    assert len(groups_to_show(asked)) == 1
    assert "All images were compared with all others" in describe_groups(asked.groups_, asked.scores_)[1]


@pytest.mark.usefixtures("enough")
def test_copies_are_left_out_of_groups_and_rows_name_the_right_images(backbone, mixed, tmp_path):
    again = mixed.subset([0, *range(20)])
    again.names = ["again", *mixed.names]
    with pytest.warns(UserWarning, match="cop(y|ies)"):
        detector = MuSc(backbone, **SMALL).fit(again)
    groups = groups_to_show(detector)
    assert groups.sizes.tolist() == [12, 8]
    rows = group_rows(groups, detector.scores_)
    once = [name for name, i in zip(again.names, detector.copy_of_, strict=True) if again.names[i] == name]
    assert [row["medoid"] for row in rows] == [once[m] for m in groups.medoids]
    page = write_report(tmp_path / "report.html", [Result("again", detector.scores_, groups=groups)]).read_text()
    assert rows[1]["medoid"] in page
