"""What a fitted detector says, saves and scores with is that of its fit; scikit-learn's ways to use one."""

import base64
import copy
import html
import io
import json
import pickle
from dataclasses import replace
from functools import partial
from typing import ClassVar
from unittest.mock import patch

import joblib
import numpy as np
import pytest
import torch
import typer
from PIL import Image
from sklearn.base import clone, is_outlier_detector
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline
from typer.testing import CliRunner

import musc_lite.detector.fit
from musc_lite import (
    Detector,
    GaussianScorer,
    MemoryBankScorer,
    MuSc,
    NearestScorer,
    SubspaceScorer,
    View,
    extract_features,
    from_arrays,
    load_backbone,
)
from musc_lite.cli import app
from musc_lite.cli.common import error_handler, print_cost
from musc_lite.cli.method_options import Method
from musc_lite.detector.planning import MemoryPlan
from musc_lite.detector.setup import Setup
from musc_lite.reports.report import Result, write_report
from musc_lite.results.external_maps import read_maps
from musc_lite.results.summary import NO_PROOF_BY_HAND, NO_PROOF_OF_GOOD_IMAGES, NO_PROOF_OF_SCORES, describe_scores
from musc_lite.stages.maps import Pooling
from musc_lite.stages.rescoring import RsCIN
from musc_lite.stages.thresholds import ContaminationThreshold, Decision
from musc_lite.static_page.payload import _picture
from musc_lite.utils.errors import DataNotFoundError, MuScError
from musc_lite.utils.files import read_tensors, write_tensors
from musc_lite.widgets import NeighborhoodExplorer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def noise(prefix, n_images, seed):
    photos = np.random.default_rng(seed).integers(0, 256, (n_images, 28, 28, 3)).astype(np.uint8)
    return from_arrays(list(photos), names=[f"{prefix}{i}" for i in range(n_images)])


FIRST, SECOND, NEW, TRUSTED = noise("first", 5, 0), noise("second", 6, 1), noise("new", 2, 2), noise("trusted", 4, 3)
STAGES = [
    "unique_batch",
    "plan_memory",
    "view_of_batch",
    "find_normal",
    "score_each",
    "upsample_maps",
    "expand",
    "Setup.extract",
    "Pooling.pool",
    "RsCIN.rescore",
    "RsCIN.rescore_new",
    "ContaminationThreshold.compute",
]


@pytest.fixture
def musc(backbone):
    return MuSc(backbone, image_size=28, r=(1,), layers=(5,))


def all_that_it_says(detector, folder):
    detector.save(folder / "saved.musc")
    scores = detector.scores_
    report = write_report(folder / "report.html", [Result("batch", scores)]).read_bytes()
    new = detector.score_images(NEW)
    tensors, about = read_tensors(folder / "saved.musc", "saved detector")
    return {
        "names": list(detector.names_),
        "images": detector.images_.fingerprint(),
        "scores": scores.to_frame().to_csv(),
        "about": detector.provenance(),
        "new": new.to_frame().to_csv(),
        "about new": new.about,
        "file": [{k: t.tolist() for k, t in tensors.items()}, about],
        "report": report,
        "groups": None if detector.groups_ is None else str(detector.groups_),
    }


@pytest.fixture(scope="module")
def fitted(backbone, tmp_path_factory):
    """Return a fitted detector, and what it says; tests take a copy."""
    detector = MuSc(backbone, image_size=28, r=(1,), layers=(5,)).fit(FIRST)
    return detector, all_that_it_says(detector, tmp_path_factory.mktemp("fitted"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_second_fit_that_ends_early_leaves_the_first_one_whole(fitted, stage, monkeypatch, tmp_path):
    detector, before = copy.copy(fitted[0]), fitted[1]

    def end(*args, **kwargs):
        raise KeyboardInterrupt

    owner, _, method = stage.rpartition(".")
    parts = {"RsCIN": RsCIN, "ContaminationThreshold": ContaminationThreshold, "Pooling": Pooling, "Setup": Setup}
    with monkeypatch.context() as patched:
        patched.setattr(parts[owner] if owner else musc_lite.detector.fit, method, end)
        with pytest.raises(KeyboardInterrupt):
            detector.set_params(groups="largest", pooling="mean").fit(SECOND, trusted=TRUSTED)
    assert all_that_it_says(detector, tmp_path) == before


def test_a_second_fit_that_is_refused_leaves_the_first_one_whole_and_a_third_works(fitted, tmp_path):
    detector, before = copy.copy(fitted[0]), fitted[1]
    with pytest.raises(ValueError, match="belong to the batch"):
        detector.fit(SECOND, trusted=SECOND)
    assert all_that_it_says(detector, tmp_path) == before
    assert detector.fit(SECOND).names_ == SECOND.names
    assert detector.image_scores_.shape == (6,)


CHANGES = {
    "layers": (8,),
    "image_size": 56,
    "region": (0, 0, 0.5, 1),
    "tiles": 2,
    "r": (3,),
    "interval": (0.5, 1.0),
    "rescoring_sizes": (),
    "references": 3,
    "n_components": 8,
    "search_window": 1,
    "pooling": "mean",
    "groups": "largest",
    "max_memory": "1GB",
    "contamination": 0.4,
    "false_alarm_rate": 0.3,
    "precision": "bfloat16",
    "backbone": "another",
}


def test_parameters_set_after_the_fit_change_nothing_of_it(fitted, tmp_path):
    detector, before = copy.copy(fitted[0]).set_params(**CHANGES), fitted[1]
    assert all_that_it_says(detector, tmp_path) == before
    for parameters in (detector.get_params(), clone(detector).get_params()):
        assert CHANGES.items() <= parameters.items()


def test_a_new_fit_and_a_saved_one_go_by_their_own_parameters(musc, tmp_path):
    detector = musc.fit(FIRST).set_params(rescoring_sizes=(), interval=(0.5, 1.0))
    detector.save(tmp_path / "saved.musc")
    loaded = Detector.load(tmp_path / "saved.musc")
    assert loaded.rescoring_sizes == [1, 2, 3]
    assert loaded.provenance() == detector.provenance()
    loaded.set_params(rescoring_sizes=())
    np.testing.assert_array_equal(loaded.score_images(NEW).image_scores, detector.score_images(NEW).image_scores)
    expected = MuSc(musc.backbone, image_size=28, r=(1,), layers=(5,), rescoring_sizes=(), interval=(0.5, 1.0)).fit(
        FIRST
    )
    again = detector.fit(FIRST)
    np.testing.assert_array_equal(again.image_scores_, expected.image_scores_)
    assert again.provenance()["interval"] == "0.5 to 1 of the other images"


def test_parts_changed_in_place_after_the_fit_change_nothing_of_it(backbone, tmp_path):
    scorer, references = NearestScorer(), ["first0", "first1", "first2"]
    detector = Detector(backbone, view=View(28), scorer=scorer, layers=(5,)).fit(FIRST)
    mutual = MuSc(backbone, image_size=28, references=references).fit(FIRST)
    before = [all_that_it_says(each, tmp_path) for each in (detector, mutual)]
    detector.view.set_params(size=56)
    scorer.set_params(k=3)
    references.clear()
    assert [all_that_it_says(each, tmp_path) for each in (detector, mutual)] == before


@pytest.mark.case(58)
class TestScikitLearn:
    """clone, Pipeline, cross-validation, grid search, pickle, deepcopy and joblib."""

    files = property(lambda self: list(FIRST))

    def test_it_is_an_outlier_detector_and_clones_without_its_fit(self, musc):
        detector = musc.fit(self.files, np.zeros(5))
        assert is_outlier_detector(detector)
        fresh = clone(detector)
        assert {**fresh.get_params(), "backbone": 0} == {**detector.get_params(), "backbone": 0}
        assert not hasattr(fresh, "names_")
        assert not fresh.__sklearn_is_fitted__()

    def test_pipelines_and_cross_validation_predict_inliers_and_outliers(self, musc):
        for found, n in (
            (Pipeline([("musc", musc)]).fit(self.files[:3]).predict(self.files[3:]), 2),
            (cross_val_predict(musc, self.files, cv=2), 5),
        ):
            assert found.shape == (n,)
            assert set(found.tolist()) <= {-1, 1}

    def test_a_grid_search_takes_the_best_parameters(self, musc):
        grid = {"r": [(1,), (3,)]}
        search = GridSearchCV(musc, grid, scoring=lambda one, X, y=None: float(one.r == (3,)), cv=2).fit(self.files)
        assert search.best_params_ == {"r": (3,)}
        assert search.best_estimator_.r_ == (3,)

    def test_copies_say_and_score_the_same(self, musc, tmp_path):
        detector = musc.fit(FIRST, trusted=TRUSTED).set_params(rescoring_sizes=())
        before = all_that_it_says(detector, tmp_path)
        joblib.dump(detector, tmp_path / "dumped")
        copies = pickle.loads(pickle.dumps(detector)), copy.deepcopy(detector), joblib.load(tmp_path / "dumped")
        for each in copies:
            assert all_that_it_says(each, tmp_path) == before
            assert each.rescoring_sizes == ()

    def test_processes_share_a_fitted_one(self, musc):
        detector = musc.fit(FIRST)
        score = joblib.delayed(lambda one, photo: one.score_images([photo]).image_scores[0])
        found = joblib.Parallel(2, backend="threading")(score(detector, photo) for photo in NEW)
        np.testing.assert_array_equal(found, detector.score_images(NEW).image_scores)


class TestOutlinesOfRegions:
    """With a region, the outline of a true defect lies where the defect is in what is shown."""

    @pytest.fixture(scope="class")
    def pair(self, backbone):
        """Return two detectors of the right halves of the same photos, one of them knows a mask."""
        photos = [np.full((56, 112, 3), 100 + 10 * i, np.uint8) for i in range(4)]
        mask = np.zeros((56, 112), bool)
        mask[20:30, 80:90] = True  # of the right half the columns 24 to 33
        sets = from_arrays(photos), from_arrays(photos, masks=[mask, None, None, None])
        return [MuSc(backbone, image_size=28, r=(1,), layers=(5,), region=(0.5, 0, 1, 1)).fit(one) for one in sets]

    def check(self, plain, drawn):
        plain, drawn = (np.asarray(image.convert("RGB"), dtype=int) for image in (plain, drawn))
        rows, columns = np.nonzero(abs(drawn - plain).max(axis=2) > 60)
        scale = plain.shape[0] / 56
        assert np.array([columns.min(), columns.max()]) / scale == pytest.approx([23, 34], abs=2)
        assert np.array([rows.min(), rows.max()]) / scale == pytest.approx([19, 30], abs=2)

    def test_in_the_pictures_of_explorers(self, pair):
        plain, drawn = (NeighborhoodExplorer(each) for each in pair)
        assert drawn.seen_mask(0).shape == drawn.seen(0).size[::-1]
        self.check(*(Image.open(io.BytesIO(each.picture(0, 224))) for each in (plain, drawn)))

    def test_in_their_still_figures(self, pair):
        (contour,) = NeighborhoodExplorer(pair[1]).draw().axes[0].collections
        (outline,) = [path.vertices for path in contour.get_paths()]
        assert outline.min(axis=0) == pytest.approx([24, 20], abs=1)
        assert outline.max(axis=0) == pytest.approx([33, 29], abs=1)

    def test_on_the_published_page(self, pair):
        pictures = [base64.b64decode(_picture(each.scores_, 0)) for each in pair]
        self.check(*(Image.open(io.BytesIO(each)) for each in pictures))


def sentences(detector, folder):
    report = write_report(folder / "report.html", [Result("batch", detector.scores_)]).read_text(encoding="utf-8")
    return " ".join(html.unescape(report).split())


@pytest.mark.parametrize("load", [False, True])
def test_the_report_says_what_the_threshold_was_set_from(backbone, load, tmp_path):
    small = {"image_size": 28, "r": (1,), "layers": (5,)}
    batch = noise("batch", 12, 0).subset([*range(12)])
    cases = {
        NO_PROOF_OF_SCORES: MuSc(backbone, **small).fit(batch, trusted=TRUSTED),
        NO_PROOF_OF_GOOD_IMAGES: MuSc(backbone, **small, false_alarm_rate=0.3).fit(batch, trusted=TRUSTED),
        NO_PROOF_BY_HAND: MuSc(backbone, **small).fit(batch),
    }
    cases[NO_PROOF_BY_HAND].threshold_ = 9.0
    for right, detector in cases.items():
        decision = replace(detector.decision_, value=9.0)  # above all scores
        detector.fitted_ = detector.fitted_.with_decision(decision)
        if load:
            detector.save(tmp_path / "saved.musc")
            detector = Detector.load(tmp_path / "saved.musc", backbone)
            detector.fitted_ = replace(detector.fitted_, scores=replace(detector.scores_, images=batch))
        assert detector.scores_.decision == detector.score_images(NEW).decision == decision
        for said in (sentences(detector, tmp_path), " ".join(describe_scores(detector.score_images(NEW)))):
            assert [sentence in said for sentence in cases] == [sentence == right for sentence in cases]
        assert detector.provenance()["threshold"] == f"9 ({decision.rule})"
    assert (cases[NO_PROOF_OF_GOOD_IMAGES].decision_.n_used, cases[NO_PROOF_OF_SCORES].decision_.n_used) == (4, 12)


def test_scores_of_another_threshold_say_that_it_was_set_by_hand(fitted):
    scores = fitted[0].scores_
    assert scores.decision.rule == "contamination 'auto'"
    other = replace(scores, decision=Decision(9.0))
    assert other.decision == Decision(9.0, "set by hand")
    assert NO_PROOF_BY_HAND in " ".join(describe_scores(other))


class TestProvenance:
    """`describe` names all that shaped the numbers, also after saving and loading."""

    def both(self, detector, folder):
        detector.save(folder / "saved.musc")
        backbone = detector.backbone_ if detector.backbone_.device.type == "cpu" else None
        loaded = Detector.load(folder / "saved.musc", backbone)
        return detector.provenance(), loaded.provenance()

    @pytest.mark.parametrize(
        "scorer", [SubspaceScorer, GaussianScorer, MemoryBankScorer, partial(GaussianScorer, True)]
    )
    @pytest.mark.parametrize(
        ("references", "words"),
        [(None, None), (["first0", "first2"], "the images first0, first2"), (3, "3 images drawn at random")],
    )
    def test_references(self, backbone, scorer, references, words):
        parts = {"view": View(28), "scorer": scorer(references=references), "layers": (5,)}
        said = Detector(backbone, **parts).fit(FIRST).provenance()["scorer"]
        assert words in said if words else "images first" not in said
        assert "the batch" not in said or words is None

    @pytest.mark.parametrize(
        ("storage", "words"),
        [("float32", None), ("float16", "patch tokens in float16:"), ("disk", "patch tokens in float16, on disk:")],
    )
    def test_storage(self, musc, storage, words, monkeypatch, tmp_path):
        monkeypatch.setattr(musc_lite.detector.fit, "plan_memory", lambda *_: MemoryPlan(storage, 0, None))
        detector = musc.fit(FIRST)
        before, after = self.both(detector, tmp_path)
        assert before == after
        assert before["storage"].startswith(words) if words else "storage" not in before
        given = clone(musc).set_params(backbone=musc.backbone).fit_features(detector.features_, FIRST)
        assert ("storage" in given.provenance()) == (storage != "float32")

    @pytest.mark.parametrize(("now", "words"), [("cuda", "float16"), ("cpu", "float16; of new images float32")])
    def test_precision_of_a_gpu(self, fitted, now, words, tmp_path):
        detector = copy.copy(fitted[0])
        assert "precision" not in detector.provenance()
        on_gpu = replace(detector.backbone_, device=torch.device("cuda"))
        fitted = replace(detector.fitted_, products=on_gpu.products)
        setup = replace(fitted.setup, backbone=on_gpu if now == "cuda" else detector.backbone_)
        detector.fitted_ = replace(fitted, setup=setup).with_decision(detector.decision_)
        before, after = self.both(detector, tmp_path)
        assert before["precision"] == f"{words}: scores differ a little from those of float32"
        assert after["precision"].startswith("float16; of new images float32")


class TestContradictions:
    """Settings of which one would be ignored are refused."""

    def test_a_contamination_beside_a_false_alarm_rate(self, tmp_path):
        both = MuSc(contamination=0.4, false_alarm_rate=0.3)
        for refused in (lambda: both.fit(FIRST, trusted=TRUSTED), lambda: both.cost(5, FIRST)):
            with pytest.raises(ValueError, match="each of them sets the threshold: give one"):
                refused()
        assert clone(both).contamination == 0.4  # scikit-learn's tools may carry it about
        assert MuSc(false_alarm_rate=0.3).components.threshold.rate == 0.3

    def test_on_the_command_line(self, tmp_path):
        options = ["--contamination", "0.4", "--false-alarm-rate", "0.3", "--verdicts", "none.csv"]
        found = CliRunner().invoke(app, ["fit", str(tmp_path), "-o", str(tmp_path / "line.musc"), *options])
        assert found.exit_code == 1
        assert "--contamination and --false-alarm-rate each set the threshold" in found.output

    @pytest.mark.parametrize("pooling", ["0.5,0.9", "0.5 0.9", "", "mean,max"])
    def test_several_poolings(self, tmp_path, pooling):
        found = CliRunner().invoke(app, ["score", str(tmp_path), "-o", str(tmp_path / "out"), "--pooling", pooling])
        assert found.exit_code == 1
        assert "--pooling takes" in found.output
        assert Method(given={"pooling": "0.005"}).settings == {"pooling": 0.005}


def test_either_class_loads_what_the_other_saved(musc, backbone, tmp_path):
    class Own(MuSc):
        """A class of a user."""

    musc.fit(FIRST).save(tmp_path / "musc")
    Detector(backbone, view=View(28), scorer=NearestScorer(), layers=(5,)).fit(FIRST).save(tmp_path / "detector")
    for asked, name, right in (
        (MuSc, "detector", Detector),
        (Detector, "detector", Detector),
        (MuSc, "musc", MuSc),
        (Detector, "musc", MuSc),
        (Own, "musc", Own),
    ):
        loaded = asked.load(tmp_path / name)
        assert type(loaded) is right
        assert loaded.score_images(NEW).image_scores.shape == (2,)


def test_the_announced_time_counts_both_fits_of_a_reference_with_verdicts(musc, capsys):
    once = replace(musc.cost(5, FIRST), extraction_seconds=100.0, scoring_seconds=300.0)
    for n_fits, minutes in ((1, "5 min"), (2, "10 min")):
        with patch.object(MuSc, "cost", lambda *_: once):
            print_cost(musc, FIRST, n_fits=n_fits)
        said = capsys.readouterr().out
        assert f"{minutes} for mutual scoring" in said
        assert f"({once.n_pairs * n_fits} pairs" in said


class TestCraftedFiles:
    """A saved detector that somebody has changed is refused by name, before any long work."""

    CHANGES: ClassVar = {
        "a later version": {"version": 99},
        "a tile of 21,000 pixels": {
            "framing": {
                "tile_size": [21_000, 21_000],
                "patch_size": 14,
                "region": [0, 0, 1, 1],
                "tiles": [2, 2],
                "overlap": [2998, 2998],
            }
        },
        "no pixels": {"framing": {"tile_size": [0, 0], "patch_size": 14}},
        "a patch of none": {"framing": {"tile_size": [28, 28], "patch_size": 0}},
        "other names": {"names": ["one"]},
        "copies in a circle": {"copy_of": [1, 0, 2, 3, 4]},
        "copies of nobody": {"copy_of": [-9, 0, 0, 0, 0]},
        "another r": {"r": [1, 3, 5]},
        "layers that are none": {"layers": "five"},
        "a list": None,
    }

    @pytest.mark.parametrize("change", CHANGES)
    def test_is_refused(self, fitted, change, tmp_path):
        fitted[0].save(tmp_path / "saved.musc")
        tensors, about = read_tensors(tmp_path / "saved.musc", "saved detector")
        changed = [] if self.CHANGES[change] is None else {**about, **self.CHANGES[change]}
        write_tensors(tmp_path / "crafted.musc", tensors, "saved detector", json.dumps(changed))
        with pytest.raises(DataNotFoundError, match=r"crafted\.musc"):
            Detector.load(tmp_path / "crafted.musc", fitted[0].backbone_)

    def test_deep_json_is_refused(self, tmp_path):
        deep = "[" * 100_000 + "]" * 100_000
        write_tensors(tmp_path / "crafted.musc", {"a": torch.zeros(1)}, "saved detector", deep)
        with pytest.raises(DataNotFoundError, match=r"crafted\.musc"):
            Detector.load(tmp_path / "crafted.musc")


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="torch finds no device 'mps' here"):
        load_backbone("dinov2_vits14", device="mps")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no archive", "pickled", "one name"])
def test_crafted_maps_are_refused(content, tmp_path):
    path = tmp_path / "maps.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "pickled":
        np.savez(path, maps=np.array([{}, {}], dtype=object), names=["a", "b"])
    else:
        np.savez(path, maps=np.zeros((2, 3, 3)), names=np.array("a"))
    with pytest.raises((MuScError, ValueError)):
        read_maps(path, ["a", "b"])


@pytest.mark.parametrize("names", [("other",), ("patch_tokens", "class_token")])
def test_crafted_cache_files_are_made_again(backbone, names, tmp_path):
    expected = extract_features(FIRST, backbone, layers=[5], image_size=28, cache_dir=tmp_path)
    file = next(tmp_path.rglob("*.safetensors"))
    write_tensors(
        file,
        {name: torch.zeros(3) for name in names},
        "cached features",
        json.dumps({"file": f"{file.parent.name}/{file.name}"}),
    )
    with pytest.warns(UserWarning, match="of the cache were made again"):
        again = extract_features(FIRST, backbone, layers=[5], image_size=28, cache_dir=tmp_path)
    torch.testing.assert_close(again.patch_tokens, expected.patch_tokens)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_too_little_memory_is_one_sentence(error, capsys):
    with pytest.raises(typer.Exit), error_handler():
        raise error
    assert "give --max-memory" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="another"), error_handler():
        raise RuntimeError("another")
