"""What a new one takes: ten lines, and one line that registers it, for each kind of thing that may be added."""

import json

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import musc_lite
from musc_lite import Detector, MuSc, PatchScorer, View, planted_textures
from musc_lite.backbones import load
from musc_lite.backbones.backbone import Backbone
from musc_lite.benchmark import run_benchmark
from musc_lite.cli.main import COMMANDS, program
from musc_lite.data.datasets import CATALOG, DataSet
from musc_lite.data.loaders import load_folder
from musc_lite.reports import formats
from musc_lite.reports.report import Result, write_report
from musc_lite.results import metrics
from musc_lite.scorers import SCORERS


@pytest.fixture(scope="module")
def images():
    return planted_textures("brick", 6, 2, image_size=56)


@pytest.fixture(scope="module")
def detector(images):
    return MuSc(image_size=56, layers=(5,), r=(1,)).fit(images)


class MeanDistance(PatchScorer):
    """A scorer: how far a patch lies from the mean of all patches of the batch."""

    summary = "A patch is anomalous as far as it lies from the mean of all."

    def fit_score(self, batch, context=None):
        self.mean_ = batch.mean(dim=(0, 1))
        return (batch - self.mean_).norm(dim=-1)

    def score(self, new, batch, context=None):
        return (new - self.mean_).norm(dim=-1)

    def state(self):
        return {"mean": self.mean_}

    def load_state_dict(self, state):
        self.mean_ = state["mean"]


def test_a_scorer(monkeypatch, images, tmp_path):
    monkeypatch.setitem(SCORERS, "mean", MeanDistance)
    fitted = Detector(view=View(56), layers=(5,), scorer=MeanDistance()).fit(images)
    fitted.save(tmp_path / "mean.musc")
    new = planted_textures("brick", 2, 1, image_size=56, seed=1)
    again = Detector.load(tmp_path / "mean.musc").score_images(new)
    np.testing.assert_allclose(again.image_scores, fitted.score_images(new).image_scores, atol=1e-6)
    compared = musc_lite.compare(images, ["mean", "subspace"], detector=MuSc(image_size=56, layers=(5,)))
    assert compared.methods == ["mean", "subspace"]


def flat(name, pretrained, device):
    """Return a backbone whose one block is the colors of each patch of 14 x 14 pixels."""

    def tokens(batch, layers):
        patches = torch.nn.functional.unfold(batch, 14, stride=14).transpose(1, 2)
        return [patches for _ in layers], patches.mean(dim=1)

    colors = ((0.5,) * 3, (0.25,) * 3)
    return Backbone(name, pretrained, 14, 1, 588, *colors, "even", (1,), 56, "0" * 64, device, tokens)


def test_a_backbone_family(monkeypatch, images):
    family = load.Family(lambda name: name == "flat", lambda: ["flat"], flat, lambda name: ("", ""))
    monkeypatch.setitem(load.FAMILIES, "flat", family)
    fitted = MuSc("flat", layers=(0,), r=(1,)).fit(images)
    assert fitted.features_.patch_tokens.shape == (6, 1, 16, 588)
    with pytest.raises(ValueError, match="did you mean 'flat'"):
        musc_lite.load_backbone("flatt")


def write_peak(path, export, i):
    """Write the highest value of a map."""
    path.write_text(f"{export.scores.anomaly_maps[i].max():.3f}")


def test_an_export_format(monkeypatch, detector, tmp_path):
    monkeypatch.setitem(formats.FORMATS, "peaks", formats.Format("peaks/*.txt", f"{__name__}:write_peak"))
    musc_lite.write_results(tmp_path, detector.scores_, ["peaks"])
    listed = json.loads((tmp_path / "results.json").read_text())["images"][0]["files"]["peaks"]
    assert float((tmp_path / listed).read_text()) == pytest.approx(detector.anomaly_maps_.max(), abs=1e-3)
    musc_lite.write_results(tmp_path, detector.scores_)  # a later run takes them away
    assert list(tmp_path.rglob("*.txt")) == []


def test_an_explorer(monkeypatch, detector, tmp_path):
    pytest.importorskip("anywidget", reason="needs the extra 'lab'")
    from matplotlib.figure import Figure

    from musc_lite.monitoring.explorer_app import App
    from musc_lite.widgets import EXPLORERS
    from musc_lite.widgets.explorer import Explorer

    class Peaks(Explorer):
        """The highest score of each image."""

        def __init__(self, detector, **state):
            super().__init__(detector)
            self.children = [self._text]
            self.say(f"highest: {detector.image_scores_.max():.2f}")
            self._ready(state)

        def draw(self):
            return Figure()

        def table(self):
            return ["image", "peak"], list(zip(self.shown.names, self.shown.image_scores, strict=True))

    monkeypatch.setitem(EXPLORERS, "Peaks", Peaks)
    page = App()
    page._make_detector = lambda: MuSc(detector.backbone_, image_size=56, layers=(5,), r=(1,))
    page.choices.source.value = "brick"
    page.run.click()
    assert "Peaks" in page.explorers.titles
    explorer = Peaks(detector)
    assert explorer._text.value.startswith("highest: ")
    assert explorer._csv_file()[2].count(b"\n") == 1 + len(detector.names_)


def load_parts(root, category):
    """Load the photos of one kind of part."""
    return load_folder(root / category)


def test_a_loader(monkeypatch, tmp_path, images):
    parts = DataSet(
        "parts", "photos of parts", "get_parts.py", f"{__name__}:load_parts", categories=lambda *_: ["bolt"]
    )
    monkeypatch.setitem(CATALOG, "parts", parts)
    for name, label, image in zip(images.names, images.labels, images, strict=True):
        folder = tmp_path / "bolt" / ("good", "bad")[label]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{name}.png")
    small = MuSc(image_size=56, layers=(5,), r=(1,))
    (result,) = run_benchmark("parts", tmp_path, tmp_path / "out", small)
    assert (result.category, result.n_images, result.n_defective) == ("bolt", 6, 2)


def false_alarms_at_the_top(truth, scores):
    """Compute the share of normal images among the ranks that the defective ones could fill."""
    return float(1 - truth[scores.argsort()[-truth.sum() :]].mean())


def test_a_metric(monkeypatch, detector, tmp_path):
    metric = metrics.Metric("false alarms at the top", "image", false_alarms_at_the_top)
    monkeypatch.setitem(metrics.METRICS, "image_top", metric)
    found = musc_lite.evaluate([0, 1, 1, 0], [0.1, 0.9, 0.2, 0.5])
    assert found.image_top == 0.5
    assert np.isnan(musc_lite.evaluate().image_top)
    page = write_report(tmp_path / "report.html", [Result("batch", detector.scores_)]).read_text(encoding="utf-8")
    assert "false alarms at the top" in page


def test_a_command(monkeypatch):
    def count(numbers: list[int]):
        """Say how many numbers there are."""
        typer.echo(len(numbers))

    monkeypatch.setitem(COMMANDS, "count", count)
    assert CliRunner().invoke(program(), ["count", "3", "4"]).output == "2\n"
    assert "Say how many numbers there are." in CliRunner().invoke(program(), ["--help"]).output
