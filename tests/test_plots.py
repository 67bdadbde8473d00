import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from musc_lite.reports import plots
from musc_lite.reports.plots import COLORS, map_color_limits, overlay, plot_anomaly_map, plot_gallery, plot_ranking


@pytest.fixture
def ax():
    return Figure().subplots()


def test_normal_images_stay_calm_beside_a_defect():
    maps = np.random.default_rng(0).normal(1.0, 0.05, (10, 32, 32))
    maps[3, :6, :6] = 3.0
    low, high = map_color_limits(maps)
    gray = np.full((32, 32, 3), 128, np.uint8)
    changed = [np.abs(overlay(gray, m, low, high).astype(int) - 128).mean() for m in maps]
    assert changed[3] > 2.5 * max(changed[:3] + changed[4:])
    assert max(changed[:3] + changed[4:]) < 5


def test_a_batch_without_defects_is_not_painted_red():
    maps = np.random.default_rng(0).normal(1.0, 0.05, (10, 32, 32))
    low, high = map_color_limits(maps)
    assert (maps.max() - low) / (high - low) < 1.2
    assert np.mean((maps - low) / (high - low) > 0.5) < 0.05


def test_rounding_noise_has_no_color():
    maps = np.random.default_rng(0).uniform(1e-4, 5e-4, (5, 16, 16))
    low, high = map_color_limits(maps)
    gray = np.full((16, 16, 3), 128, np.uint8)
    assert np.abs(overlay(gray, maps[0], low, high).astype(int) - 128).max() < 6


def test_a_large_outlier_in_a_small_batch_is_colored():
    maps = np.random.default_rng(0).normal(0.3, 0.01, (3, 32, 32))
    maps[0] += 0.3
    low, high = map_color_limits(maps)
    assert np.mean((maps[0] - low) / (high - low)) > 0.5


def test_a_defect_of_an_object_before_a_background_is_seen():
    """Where most pixels are background the scale reached three times as far as any score: a pale halo was seen."""
    rng = np.random.default_rng(0)
    maps = rng.normal(0.2, 0.01, (12, 32, 32))
    maps[:, 10:22, 6:26] += rng.normal(0.15, 0.02, (12, 12, 20))  # the object
    maps[4, 12:16, 8:12] += 0.25
    low, high = map_color_limits(maps)
    shares = np.clip((maps - low) / (high - low), 0, 1)
    assert shares[4, 12:16, 8:12].min() > 0.6
    assert np.delete(shares, 4, axis=0).max() < 0.45


def test_constant_maps_have_a_color_range():
    low, high = map_color_limits(np.ones((2, 4, 4)))
    assert high > low
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay(image, np.ones((4, 4)), low, high), image)


def test_the_map_is_stretched_over_the_image():
    hot = np.zeros((8, 8))
    hot[:, 6:] = 1
    found = overlay(np.zeros((10, 40, 3), np.uint8), hot, 0, 1)
    assert found.shape == (10, 40, 3)
    assert found.dtype == np.uint8
    assert found[:, 34:].min(axis=(0, 1)).max() > 100
    assert found[:, :20].max() == 0


def test_maps_need_not_be_square():
    hot = np.zeros((2, 30, 50))
    hot[0, :10, 40:] = 1
    gray = np.full((60, 100, 3), 128, np.uint8)
    found = overlay(gray, hot[0], 0, 1)
    assert np.abs(found[:18, 82:].astype(int) - 128).min() > 0  # above, at the right
    np.testing.assert_array_equal(found[22:], gray[22:])
    np.testing.assert_array_equal(found[:, :78], gray[:, :78])
    axes = plot_gallery([gray, gray], hot, [1.0, 0.0], masks=hot > 0)
    assert [ax.images[0].get_array().shape for ax in axes.flat] == [(60, 100, 3)] * 2
    plt.close()


def test_plots_draw_on_the_given_axes(ax):
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4] = True
    drawn = plot_anomaly_map(np.zeros((8, 8, 3), np.uint8), np.eye(8), low=0, high=1, mask=mask, ax=ax)
    assert drawn is ax
    assert len(ax.images) == 1
    assert len(ax.collections) == 1


def test_a_map_alone_has_its_own_color_scale(ax):
    gray, anomaly_map = np.full((8, 8, 3), 128, np.uint8), np.eye(8)
    low, high = 0.0, 1.0  # its upper quartile and its highest value
    for given in ({}, {"low": low}, {"high": high}):
        plot_anomaly_map(gray, anomaly_map, **given, ax=ax)
        np.testing.assert_array_equal(ax.images[-1].get_array(), overlay(gray, anomaly_map, low, high))
    plot_anomaly_map(gray, anomaly_map, low=0.5, ax=ax)
    np.testing.assert_array_equal(ax.images[-1].get_array(), overlay(gray, anomaly_map, 0.5, high))


def test_ranking_is_sorted_and_colored(ax):
    plot_ranking([0.2, 0.9, 0.5], 0.6, labels=[0, 1, 0], ax=ax)
    points = ax.collections[0].get_offsets()
    np.testing.assert_allclose(points, [[1, 0.9], [2, 0.5], [3, 0.2]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["normal", "defective", "threshold"]
    assert len(set(COLORS.values())) == len(COLORS)


def test_ranking_without_labels(ax):
    plot_ranking([0.2, 0.9], 0.6, ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["unlabeled", "threshold"]


def test_patch_frames_lie_on_their_patches():
    ax = plots.plot_image(np.zeros((32, 48, 3), np.uint8), patches=[4], grid=(2, 3))
    assert [patch.get_xy() for patch in ax.patches] == [(15.5, 15.5)] * 2  # row 1, column 1 of patches 16 pixels wide
    plt.close("all")


def test_gallery_shows_the_most_anomalous_first_and_the_most_normal_last():
    images = [np.zeros((8, 8, 3), np.uint8)] * 9
    axes = plots.plot_gallery(images, np.zeros((9, 8, 8)), np.arange(9.0), names=list("abcdefghi"), n_columns=3)
    assert [ax.get_title() for ax in axes.flat] == ["8.00 i", "7.00 h", "6.00 g", "2.00 c", "1.00 b", "0.00 a"]
    plt.close("all")


@pytest.mark.parametrize(
    ("n", "shape", "shown"),
    [
        (1, (1, 1), [0]),
        (2, (1, 2), [0, 1]),
        (5, (1, 5), [*range(5)]),
        (7, (2, 4), [*range(7)]),
        (12, (2, 6), [*range(12)]),
        (13, (2, 6), [*range(6), *range(7, 13)]),  # the most normal six in the last row
    ],
)
@pytest.mark.parametrize("style", ["default", "musc_lite.course"])
def test_gallery_is_as_large_as_its_images_need(n, shape, shown, style):
    images = [np.zeros((8, 8, 3), np.uint8)] * n
    names = [f"camera WW/MMMM_{k:04}_of_a_long_day.png" for k in range(n)]
    with plt.style.context(style):
        axes = plots.plot_gallery(images, np.zeros((n, 8, 8)), np.arange(n)[::-1], names=names)
    assert axes.shape == shape
    drawn = [ax for ax in axes.flat if ax.images]
    assert [int(float(ax.get_title().split()[0])) for ax in drawn] == [n - 1 - k for k in shown]
    assert all("_of_a_long_day.png"[-9:] in ax.get_title() for ax in drawn)
    figure = axes[0, 0].figure
    figure.draw_without_rendering()
    boxes = [box for ax in drawn for box in (ax.title.get_window_extent(), ax.get_window_extent())]
    for k, box in enumerate(boxes):  # titles and images overlap nowhere, and none is cut off
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    plt.close("all")


def test_gallery_of_fewer_rows_and_columns():
    images = [np.zeros((8, 8, 3), np.uint8)] * 9
    shapes = [
        plots.plot_gallery(images, np.zeros((9, 8, 8)), np.arange(9), n_columns=columns, n_rows=rows).shape
        for columns, rows in [(4, 1), (20, 1), (3, 5), (1, 2)]
    ]
    assert shapes == [(1, 4), (1, 9), (3, 3), (2, 1)]
    plt.close("all")


def test_distances_show_the_interval_average():
    distances = np.linspace(0.1, 1.0, 10)
    ax = plots.plot_distances({"normal": distances}, interval=(0.0, 0.3))
    assert [text.get_text() for text in ax.texts] == ["0.20"]
    plt.close("all")


def test_alike_vectors_get_alike_colors():
    tokens = np.random.default_rng(0).random((2, 9, 5))
    tokens[1, 3] = tokens[0, 7]
    colors = plots.pca_colors(tokens)
    assert np.allclose(colors[1, 3], colors[0, 7])


@pytest.mark.parametrize("labels", [None, [0, 1, 0, 1, 0, 0]])
def test_slopes_and_matrix_draw_every_image(labels):
    ax = plots.plot_slopes(torch.arange(6.0), np.arange(6.0) + 1, labels)
    assert sorted(line.get_ydata().tolist() for line in ax.lines) == [[i, i + 1] for i in range(6)]
    plt.close("all")
    ax = plots.plot_distance_matrix(np.random.default_rng(0).random((2, 5)), ["a", "b"])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]
    plt.close("all")


def test_frames_need_a_grid():
    with pytest.raises(ValueError, match="grid"):
        plots.plot_image(np.zeros((8, 8, 3), np.uint8), patches=[0])


def test_no_line_is_left_out():
    ax = plots.plot_lines({str(i): ([0, 1], [0, i]) for i in range(9)}, ax=Figure().subplots())
    assert len(ax.lines) == 9
