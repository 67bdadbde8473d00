"""The seam: a scorer is a file and a line, whatever takes scores knows no method."""

import csv

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.neighbors import NearestNeighbors
from typer.testing import CliRunner

import musc_lite
from musc_lite import Detector, MuSc, MutualScorer, NearestScorer, PatchScorer
from musc_lite.benchmark import run_benchmark, score_subsets
from musc_lite.cli import app
from musc_lite.data.datasets import CATALOG
from musc_lite.data.view import View
from musc_lite.detector.components import COMPONENTS, component_class, component_to_dict
from musc_lite.monitoring.explorer_app import EXPLORERS
from musc_lite.reports.report import Result, write_report
from musc_lite.scorers.base import DEFAULT_CONTEXT, ScoringContext
from musc_lite.stages.aggregation import LNAMD

SMALL = {"view": View(56), "layers": [5, 8], "aggregation": LNAMD((1, 3))}


class FarFromTheMean(PatchScorer):
    """The distance to the mean of all patches of the batch, those of its own image among them."""

    def fit_score(self, batch, context=DEFAULT_CONTEXT):
        self._mean = batch.mean(dim=(0, 1))
        return self.score(batch, batch)

    def score(self, new, batch, context=DEFAULT_CONTEXT):
        return (new - self._mean).norm(dim=-1)

    def state(self):
        return {"mean": self._mean}

    def load_state_dict(self, state):
        self._mean = state["mean"]


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(COMPONENTS["scorer"], "far", FarFromTheMean)


@pytest.fixture(scope="module")
def images():
    return musc_lite.planted_textures("gravel", n_images=8, n_defective=3, image_size=56)


@pytest.fixture(scope="module")
def new():
    return musc_lite.planted_textures("gravel", n_images=3, n_defective=1, image_size=56, seed=4)


@pytest.fixture(scope="module")
def far(backbone, images):
    return Detector(backbone, scorer=FarFromTheMean(), **SMALL).fit(images)


class TestAScorerOfTenLines:
    def test_scores_as_it_says(self, far):
        tokens = far.aggregated_tokens(1, 3)
        expected = (tokens - tokens.mean(dim=(0, 1))).norm(dim=-1)
        np.testing.assert_allclose(far.patch_scores_[1, 1], expected, atol=1e-6)
        assert far.scores_.about["blocks (0-based)"] == "5, 8"

    def test_is_saved_and_loaded_with_its_state(self, far, backbone, new, tmp_path):
        far.save(tmp_path / "far.safetensors")
        loaded = Detector.load(tmp_path / "far.safetensors", backbone)
        assert isinstance(loaded.scorer, FarFromTheMean)
        np.testing.assert_array_equal(loaded.score_images(new).anomaly_maps, far.score_images(new).anomaly_maps)
        assert loaded.scores_.about == far.scores_.about

    def test_without_a_name_it_is_not_saved(self, far, tmp_path, monkeypatch):
        monkeypatch.delitem(COMPONENTS["scorer"], "far")
        with pytest.raises(ValueError, match=r"FarFromTheMean has no name to be saved by: COMPONENTS\['scorer'\]"):
            far.save(tmp_path / "far.safetensors")

    def test_has_a_report(self, far, new, tmp_path):
        scores = far.score_images(new)
        page = write_report(tmp_path / "report.html", [Result("a", far.scores_), Result("b", scores)]).read_text()
        assert page.count("<figure") == 11
        assert "interval" not in page

    def test_is_on_the_command_line(self, backbone, tmp_path):
        folder = tmp_path / "photos"
        folder.mkdir()
        for i, image in enumerate(musc_lite.planted_textures("gravel", 5, 1, image_size=56)):
            image.save(folder / f"{i}.png")
        arguments = ["score", folder, "-o", tmp_path / "out", "--method", "far", "--image-size", 56, "--layers", "5,8"]
        arguments += ["--precision", "float32"]
        done = CliRunner().invoke(app, [str(a) for a in arguments])
        assert done.exit_code == 0, done.output
        with open(tmp_path / "out" / "scores.csv", newline="", encoding="utf-8-sig") as file:
            scores = {row["image"]: float(row["score"]) for row in csv.DictReader(file)}
        expected = Detector(backbone, scorer=FarFromTheMean(), view=View(56), layers=[5, 8]).fit(folder).scores_
        assert scores == pytest.approx(dict(zip(expected.names, expected.image_scores, strict=True)), abs=1e-5)
        refused = CliRunner().invoke(app, [*map(str, arguments), "--interval", "0,0.5"])
        assert refused.exit_code == 1
        refused = CliRunner().invoke(app, [*map(str, arguments[:4]), "--method", "mutal"])
        assert refused.exit_code == 1

    def test_is_benchmarked(self, backbone, tmp_path, monkeypatch):
        load = {"brick": musc_lite.planted_textures("brick", 6, 2, image_size=56)}
        monkeypatch.setattr(type(CATALOG["textures"]), "load", lambda record, root, category: load[category])
        detector = Detector(backbone, scorer=FarFromTheMean(), **SMALL)
        (result,) = run_benchmark("textures", None, tmp_path, detector, categories=["brick"])
        assert result.metrics["image_auroc"] == result.metrics["image_auroc"]
        assert result.run["settings"]["scorer"] == "FarFromTheMean()"
        table = (tmp_path / "scores" / "brick.csv").read_text(encoding="utf-8-sig")
        assert table.startswith("image,score,rank,outlier,label")

    def test_is_shown_by_every_explorer_that_suits_it(self, far):
        shown = {name for name, explorer in EXPLORERS.items() if explorer.supports(far)}
        assert shown == {"Decisions", "Kinds of defect", "Neighborhoods", "Re-scoring"}
        for name, explorer in EXPLORERS.items():
            if name in shown:
                assert explorer(far).static_png()
            else:
                with pytest.raises(ValueError, match="cannot show a FarFromTheMean: it asks for"):
                    explorer(far)

    def test_is_divided_into_subsets(self, backbone, images):
        detector = Detector(backbone, scorer=FarFromTheMean(), **SMALL)
        scores = score_subsets(detector, images, [range(4), range(4, 8)])
        half = clone(detector).fit(images.subset(range(4)))
        np.testing.assert_array_equal(scores.anomaly_maps[:4], half.anomaly_maps_)


def test_a_shelf_shares_one_extraction(backbone, images):
    features = musc_lite.extract_features(images, backbone, layers=[5, 8], image_size=56)
    shelf = [MuSc(backbone, layers=[5, 8], image_size=56), Detector(backbone, scorer=NearestScorer(), **SMALL)]
    for detector in shelf:
        fitted = clone(detector).fit_features(features, images)
        assert fitted.features_ is features
        np.testing.assert_array_equal(fitted.patch_scores_, detector.fit(images).patch_scores_)
    for wrong, message in (
        ({"image_size": 112}, "56 pixels a side, not 112"),
        ({"image_size": 56, "layers": [5]}, r"\(5, 8\) layers, not \(5,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            MuSc(backbone, **wrong).fit_features(features, images)
    with pytest.raises(ValueError, match="8 images, not 5"):
        MuSc(backbone, image_size=56).fit_features(features, images.subset(range(5)))


def test_a_subclass_stays_itself(backbone, images, tmp_path, monkeypatch):
    """Subsets and the benchmark built a plain MuSc of its settings: the subclass's fit was called 0 times."""
    calls = []

    class Counted(MuSc):
        def fit(self, X, y=None):
            calls.append(len(X))
            return super().fit(X, y)

    detector = Counted(backbone, image_size=56, layers=[5], r=(1,))
    score_subsets(detector, images, [range(4), range(4, 8)])
    monkeypatch.setattr(type(CATALOG["textures"]), "load", lambda record, root, category: images)
    list(run_benchmark("textures", None, tmp_path, detector, categories=["brick"]))
    assert calls == [4, 4, 8]


def test_cost_changes_nothing(backbone):
    detector = MuSc(backbone, image_size=56)
    before = dict(vars(detector))
    detector.cost(20)
    assert vars(detector) == before


@settings(max_examples=40)
@given(st.tuples(st.integers(2, 6), st.integers(1, 8), st.integers(1, 5)), st.integers(0, 10_000), st.integers(1, 5))
def test_nearest_is_scikit_learns(shape, seed, k):
    n_images, n_patches, n_channels = shape
    k = min(k, (n_images - 1) * n_patches)
    tokens = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scores = NearestScorer(k).fit_score(tokens)
    for i in range(n_images):
        others = torch.cat([tokens[:i], tokens[i + 1 :]]).reshape(-1, n_channels)
        distances, _ = NearestNeighbors(n_neighbors=k).fit(others).kneighbors(tokens[i])
        np.testing.assert_allclose(scores[i], distances[:, -1], atol=1e-6)
    new = torch.randn(2, n_patches, n_channels, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    distances, _ = (
        NearestNeighbors(n_neighbors=k).fit(tokens.reshape(-1, n_channels)).kneighbors(new.reshape(-1, n_channels))
    )
    np.testing.assert_allclose(NearestScorer(k).score(new, tokens).ravel(), distances[:, -1], atol=1e-6)


def test_nearest_says_what_does_not_fit():
    tokens = torch.rand(3, 4, 2)
    with pytest.raises(ValueError, match="k must be a whole number, 1 or more, got 0"):
        NearestScorer(0).fit_score(tokens)
    with pytest.raises(ValueError, match="only 8 patches in the other images"):
        NearestScorer(9).fit_score(tokens)
    with pytest.raises(ValueError, match="at least 2"):
        NearestScorer().fit_score(tokens[:1])
    with pytest.raises(ValueError, match="takes at least"):
        NearestScorer().fit_score(tokens, ScoringContext(max_memory=10))


SEARCHES = [
    {},
    {"references": [0, 2, 5]},
    {"n_components": 4},
    {"search_window": 1},
    {"references": 3, "search_window": 0},
]


@pytest.mark.parametrize("search", SEARCHES, ids=str)
@pytest.mark.parametrize("interval", [(0.0, 0.3), (0.2, 1.0)])
def test_what_mutual_scoring_shows_is_what_it_scores(search, interval):
    tokens = torch.nn.functional.normalize(torch.randn(7, 12, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    scorer, grid = MutualScorer(interval, **search), ScoringContext(grid=(3, 4))
    scores, nearest = scorer.fit_score(tokens, grid), scorer.nearest(tokens, grid)
    for i in range(7):
        known = nearest[i][:, nearest[i, 0].isfinite()]
        torch.testing.assert_close(musc_lite.interval_average(known, interval), scores[i], atol=1e-5, rtol=0)
        for m in (0, 7):
            shown = scorer.explain(tokens, i, m, grid)
            assert i not in shown.images
            asked = shown.distances[shown.images].amin(dim=1)
            torch.testing.assert_close(asked.sort().values, known[m], atol=1e-4, rtol=0)


def test_fitted_scores_and_those_of_new_images_are_of_one_kind():
    """Scored by images 1 to 5 in the batch, image 0 scores as it does when it is new."""
    tokens = torch.randn(6, 9, 8, generator=torch.Generator().manual_seed(1))
    for scorer in (NearestScorer(2), MutualScorer(n_components=5)):
        as_new = scorer.score(tokens[:1], tokens[1:])
        if isinstance(scorer, MutualScorer):
            scorer.set_params(references=range(1, 6))
        torch.testing.assert_close(scorer.fit_score(tokens)[0], as_new[0], atol=1e-4, rtol=0)


def test_the_state_of_principal_components_is_saved(backbone, images, new, tmp_path):
    fitted = MuSc(backbone, image_size=56, layers=[5], n_components=8).fit(images)
    fitted.save(tmp_path / "fitted.safetensors")
    loaded = MuSc.load(tmp_path / "fitted.safetensors", backbone)
    torch.testing.assert_close(loaded.scorers_[0, 3].state()["axes"], fitted.scorers_[0, 3].state()["axes"])
    np.testing.assert_array_equal(loaded.score_images(new).image_scores, fitted.score_images(new).image_scores)


def test_every_registered_part_can_be_written_down():
    for kind, names in COMPONENTS.items():
        for name in names:
            part = component_class(kind, name)()
            assert component_to_dict(kind, part)["name"] == name
            assert clone(part).get_params() == part.get_params()
            part.check()
    with pytest.raises(ValueError, match="scorer must be one of mutual, nearest"):
        component_class("scorer", "mutal")
