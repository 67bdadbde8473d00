"""The toy world of the course: its three lessons, and the explorer that moves its points."""

import io
import json

import numpy as np
import pytest
import torch
import traitlets
from matplotlib.figure import Figure
from PIL import Image

from musc_lite import nearest_distances
from musc_lite.exercises import toy_world
from musc_lite.reports.plots import plot_plane

pytest.importorskip("anywidget", reason="needs the extra 'lab'")

from test_widgets import outputs

from musc_lite.widgets import ToyWorld

DEFECTS, RARE = np.s_[:2, 4], np.s_[2:, 4]
COMMON = np.s_[:, :4]


def scores(n_closest):
    return np.sort(nearest_distances(toy_world()))[..., :n_closest].mean(axis=-1)


class TestLessons:
    def test_by_the_mean_over_all_patches_the_defects_are_the_most_normal(self):
        world = torch.from_numpy(toy_world())
        others = [torch.cat([world[:i], world[i + 1 :]]).reshape(-1, 2) for i in range(6)]
        means = np.stack([torch.cdist(world[i], others[i]).mean(dim=1) for i in range(6)])
        assert means[DEFECTS].max() < min(means[COMMON].min(), means[RARE].min())

    def test_by_the_closest_image_alone_a_defect_that_occurs_twice_hides(self):
        assert scores(1)[DEFECTS].max() < scores(1)[COMMON].max()

    def test_by_the_closest_three_the_defects_alone_stand_out(self):
        assert scores(3)[DEFECTS].min() > 2 * max(scores(3)[COMMON].max(), scores(3)[RARE].max())

    def test_by_all_images_the_rare_normal_kind_outranks_the_defects(self):
        assert scores(5)[RARE].min() > scores(5)[DEFECTS].max()


class TestPlotPlane:
    def test_every_point_bears_the_number_of_its_image(self):
        ax = Figure().subplots()
        assert plot_plane(toy_world(), ax=ax) is ax
        assert [text.get_text() for text in ax.texts] == [str(i) for i in range(6) for _ in range(5)]
        assert [text.xy for text in ax.texts] == pytest.approx(toy_world().reshape(-1, 2))

    def test_lines_lead_to_the_nearest_points_and_those_that_count_are_solid(self):
        ax = Figure().subplots()
        plot_plane(toy_world(), scores(2), selected=(0, 4), n_closest=2, label="score", ax=ax)
        lengths = [np.hypot(*np.diff(line.get_data(), axis=1).ravel()) for line in ax.lines]
        assert lengths == pytest.approx(np.sort(nearest_distances(toy_world())[0, 4]))
        assert [line.get_linestyle() for line in ax.lines] == ["-", "-", "--", "--", "--"]
        assert ax.figure.axes[-1].get_ylabel() == "score"


class TestToyWorld:
    @pytest.mark.parametrize("closest", range(1, 6))
    def test_scores_are_the_mean_over_the_closest_images(self, closest):
        world = ToyWorld()
        world.closest = closest
        assert np.allclose(world.scores, scores(closest))
        i, m = world.selected
        counted = [link["distance"] for link in world.links if link["counts"]]
        assert len(counted) == closest
        assert np.mean(counted) == pytest.approx(world.scores[i][m])

    def test_any_number_of_images_can_count(self):
        """A share of the images that is cut off to a whole number must not lose one."""
        world = ToyWorld(np.random.default_rng(0).normal(size=(50, 2, 2)))
        for closest in range(1, 50):
            world.closest = closest
            assert int(49 * world.interval[1]) == closest

    def test_links_lead_to_the_nearest_point_of_each_other_image(self):
        world = ToyWorld()
        world.selected = (3, 2)
        points = np.array(world.points)
        to_all = np.linalg.norm(points - points[3, 2], axis=-1)
        assert {link["image"] for link in world.links} == {0, 1, 2, 4, 5}
        distances = [link["distance"] for link in world.links]
        assert distances == sorted(distances)
        for link in world.links:
            assert link["patch"] == to_all[link["image"]].argmin()
            assert link["distance"] == pytest.approx(to_all[link["image"]].min())

    def test_a_point_that_joins_the_others_loses_its_score(self):
        world = ToyWorld()
        before, points = world.scores[0][4], json.loads(json.dumps(world.points))
        points[0][4] = [5.2, 4.9]  # among the third kind
        world.points = points
        assert world.scores[0][4] < before / 2
        assert world.sentence.startswith(f"image 0, patch 4: score {world.scores[0][4]:.2f}, the mean of ")

    def test_sentence_has_the_distances_and_the_rank(self):
        world = ToyWorld()
        world.closest = 5
        world.selected = (2, 0)
        far = sorted(nearest_distances(toy_world())[2, 0].tolist())
        rank = int((np.array(world.scores) > world.scores[2][0]).sum()) + 1
        assert world.sentence == (
            f"image 2, patch 0: score {np.mean(far):.2f}, the mean of {', '.join(f'{d:.2f}' for d in far)}; "
            f"left out: none; rank {rank} of 30"
        )

    def test_browser_moves_a_point(self):
        world = ToyWorld()
        points = toy_world()
        points[1, 4] = 9, 3
        state = {"points": points.tolist(), "selected": [1, 4], "closest": 2}
        world._handle_msg({"content": {"data": {"method": "update", "state": state}}, "buffers": []})
        assert world.selected == (1, 4)
        assert world.scores[1][4] == pytest.approx(np.sort(nearest_distances(points)[1, 4])[:2].mean())
        assert world.beginning == toy_world().tolist()

    @pytest.mark.parametrize(
        ("trait", "value", "words"),
        [
            ("points", toy_world()[:5].tolist(), r"\(6, 5, 2\)"),
            ("points", [[[0.0, 1.0], [2.0]]], r"\(6, 5, 2\)"),
            ("points", np.full((6, 5, 2), np.nan).tolist(), "finite"),
            ("selected", (6, 0), "6 images of 5 patches"),
            ("selected", (0, -1), "6 images of 5 patches"),
            ("closest", 0, "1 to 5"),
            ("closest", 6, "1 to 5"),
        ],
    )
    def test_bad_values_are_refused_and_change_nothing(self, trait, value, words):
        world = ToyWorld()
        before = getattr(world, trait), world.sentence
        with pytest.raises(traitlets.TraitError, match=words):
            setattr(world, trait, value)
        assert (getattr(world, trait), world.sentence) == before

    @pytest.mark.parametrize("shape", [(1, 5, 2), (6, 5, 3), (6, 2), (6, 0, 2)])
    def test_refuses_what_is_no_plane(self, shape):
        with pytest.raises(ValueError, match="at least 2 images"):
            ToyWorld(np.zeros(shape))

    def test_two_images_are_a_world(self):
        assert ToyWorld([[[0, 0]], [[3, 4]]]).scores == [[5.0], [5.0]]

    def test_points_that_all_agree_can_be_drawn(self):
        assert ToyWorld(np.zeros((3, 2, 2))).static_png()

    def test_static_picture_stands_in_where_no_kernel_runs(self):
        world = ToyWorld()
        live, still = outputs(world)
        assert live["text/plain"] == "ToyWorld(6 images of 5 patches)"
        assert set(live) == {"text/plain", "application/vnd.jupyter.widget-view+json"}
        assert set(still) == {"text/plain", "image/png"}
        assert Image.open(io.BytesIO(world.static_png())).size == (640, 256)
