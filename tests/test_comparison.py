"""Methods side by side: ranks, correlations, what one calls alone, one extraction, the files."""

import re
from dataclasses import replace

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from musc_lite import (
    Comparison,
    Detector,
    Fusion,
    MemoryBankScorer,
    MuSc,
    MutualScorer,
    PatchScorer,
    Scores,
    SubspaceScorer,
    View,
    compare,
    extract_features,
    from_arrays,
    planted_textures,
    write_comparison,
)
from musc_lite.cli import app
from musc_lite.reports import comparison_report
from musc_lite.results.summary import describe_comparison
from musc_lite.stages.thresholds import Decision


def scores_of(values, threshold=np.inf, **more):
    values = np.array(values, dtype=float)
    maps = values[:, None, None] * np.ones((1, 8, 8))
    return Scores([f"{i}.png" for i in range(len(values))], values, values, maps, decision=Decision(threshold), **more)


@pytest.fixture
def three():
    return Comparison(
        {
            "a": scores_of([4, 3, 2, 1], 2.5, seconds={"features": 9.0, "scoring": 2.0, "maps": 0.5}),
            "b": scores_of([30, 40, 20, 10], 15),
            "c": scores_of([1, 2, 3, 4], 3.5),
        },
        {"a": 2_000_000_000},
    )


def test_ranks_begin_with_the_most_anomalous(three):
    assert three.ranks.tolist() == [[1, 2, 3, 4], [2, 1, 3, 4], [4, 3, 2, 1]]
    assert three.spread.tolist() == [3, 2, 1, 3]
    assert three.disagreements().tolist() == [0, 3, 1, 2]  # of equal spreads, both with a rank 1, the first
    assert three.disagreements(1).tolist() == [0]
    even = Comparison({"a": scores_of([1, 2, 3, 4]), "b": scores_of([2, 1, 4, 3])})
    assert even.spread.tolist() == [1, 1, 1, 1]
    assert even.disagreements().tolist() == [2, 3, 0, 1]  # of equal spreads the more anomalous first


def test_rank_correlations_have_their_closed_forms(three):
    rho, tau = three.correlations(), three.correlations("kendall")
    assert rho.loc["a", "b"] == pytest.approx(1 - 6 * 2 / (4 * 15))  # one swap of neighbors among four
    assert tau.loc["a", "b"] == pytest.approx((5 - 1) / 6)
    assert rho.loc["a", "c"] == tau.loc["c", "a"] == -1
    assert (np.diag(rho) == 1).all()
    with pytest.raises(ValueError, match="'spearman' or 'kendall', got 'pearson'"):
        three.correlations("pearson")


def test_outliers_of_one_method_alone(three):
    assert three.own_outliers == {"a": [], "b": ["2.png"], "c": ["3.png"]}


def test_the_table_says_what_is_known(three):
    table = three.to_frame().set_index("method")
    assert table.outliers.tolist() == [2, 3, 1]
    assert table.own_outliers.tolist() == [0, 1, 1]
    assert table.seconds["a"] == 2.5  # without features
    assert np.isnan(table.seconds["b"])
    assert table.planned_gb["a"] == 2
    assert table.spearman_c["a"] == -1
    assert "image_auroc" not in table
    assert describe_comparison(three) == [
        "a and b rank the images most alike (Spearman's correlation 0.80), a and c least (-1.00).",
        "They disagree most on 0.png (ranks 1 to 4), 3.png (ranks 1 to 4), 1.png (ranks 1 to 3).",
    ]


def test_scores_that_are_all_equal_have_no_order():
    flat = Comparison({"a": scores_of([1, 1, 1]), "b": scores_of([1, 2, 3])})
    assert flat.ranks[0].tolist() == [2, 2, 2]
    assert np.isnan(flat.correlations().loc["a", "b"])
    same = Comparison({"a": scores_of([1, 2, 3]), "b": scores_of([1, 2, 3])})
    assert len(same.disagreements()) == 0
    assert describe_comparison(same)[-1] == "All methods rank the images the same way."


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=12))
def test_units_of_the_scores_do_not_matter(values):
    a, b = np.array(values, dtype=float).T
    plain = Comparison({"a": scores_of(a), "b": scores_of(b)})
    other = Comparison({"a": scores_of(1000 * a + 7), "b": scores_of(np.exp(b))})
    np.testing.assert_array_equal(plain.ranks, other.ranks)
    np.testing.assert_array_equal(plain.correlations(), other.correlations())
    np.testing.assert_array_equal(plain.disagreements(), other.disagreements())


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"a": scores_of([1, 2, 3])}, "two methods or more, got a"),
        ({"a": scores_of([1, 2]), "b": scores_of([1, 2])}, "give at least 3, got 2"),
        ({"a": scores_of([1, 2, 3]), "b": scores_of([1, 2, 3, 4])}, "a and b scored different images"),
    ],
    ids=["one method", "two images", "different images"],
)
def test_what_cannot_be_compared_is_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        Comparison(scores)


@pytest.fixture(scope="module")
def images():
    return planted_textures("brick", 14, 4, image_size=56)


@pytest.fixture(scope="module")
def detector(backbone):
    return Detector(backbone, view=View(56), layers=[5, 8], scorer=MutualScorer((0.1, 0.5)))


@pytest.fixture(scope="module")
def comparison(images, detector):
    return compare(images, ["mutual", "subspace", "memory"], detector=detector)


def test_each_method_scores_as_it_does_alone(images, detector, comparison):
    alone = {"mutual": detector, **{n: detector.with_scorer(s()) for n, s in [("subspace", SubspaceScorer)]}}
    for name, one in alone.items():  # the detector's own scorer keeps its interval
        expected = one.fit(images).scores_
        np.testing.assert_allclose(comparison.scores[name].image_scores, expected.image_scores, atol=1e-5)
        assert comparison.scores[name].threshold == pytest.approx(expected.threshold, abs=1e-5)
    assert comparison.metrics["mutual"]["image_auroc"] > 0.5
    assert comparison.feature_seconds > 0
    assert all(n_bytes > 0 for n_bytes in comparison.n_bytes.values())
    assert comparison.seconds("mutual") > 0


def test_features_are_extracted_once(images, detector, backbone, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "musc_lite.detector.setup.extract_features", lambda *a, **k: calls.append(k) or extract_features(*a, **k)
    )
    own = {"mine": SubspaceScorer(n_components=3), "both": Fusion()}
    found = compare(images, own, detector=detector)
    assert len(calls) == 1
    assert found.methods == ["mine", "both"]
    given = compare(images, own, detector=detector, features=extract_features(images, backbone, **calls[0]))
    assert len(calls) == 1
    assert given.feature_seconds is None
    np.testing.assert_array_equal(given.ranks, found.ranks)


def test_memory_is_that_of_the_thriftiest_plan(images, detector, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "musc_lite.detector.setup.extract_features", lambda *a, **k: calls.append(k) or extract_features(*a, **k)
    )
    methods = {"subspace": SubspaceScorer(), "memory": MemoryBankScorer(coreset_ratio=0.5)}
    needed = compare(images, methods, detector=detector).n_bytes
    compare(
        images, methods, detector=detector.with_scorer(SubspaceScorer()).set_params(max_memory=max(needed.values()) - 1)
    )
    assert [call["storage"] for call in calls] == ["float32", "float16"]


def test_the_detector_stays_as_it_was(images, backbone):
    shared = MuSc(backbone, image_size="auto 600", layers=[5])
    view = View("auto 600")
    compare(images, ["mutual", "nearest"], detector=shared)
    compare(images, ["mutual", "nearest"], detector=Detector(backbone, view=view, layers=[5]))
    assert shared.image_size == "auto 600"
    assert repr(view) == repr(View("auto 600"))


class Refused(PatchScorer):
    def check(self):
        raise ValueError("no batch makes this right")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["mutual"], "two methods or more, got mutual"),
        (["mutual", "mutual"], "mutual is there twice"),
        (["mutual", "subspce"], "must be one of mutual, .*, got 'subspce'"),
        ({"a": SubspaceScorer(), "b": "subspace"}, "b is no scorer"),
        ({"a": SubspaceScorer(variance=2), "b": SubspaceScorer()}, "variance is the share"),
        ({"a": SubspaceScorer(), "b": Refused()}, "no batch makes this right"),
        ({"a": SubspaceScorer()}, "two methods or more, got a"),
    ],
    ids=["one", "twice", "unknown", "no scorer", "a wrong parameter", "refused by itself", "one of my own"],
)
def test_methods_are_checked_before_the_work(images, detector, methods, message, monkeypatch):
    monkeypatch.setattr("musc_lite.detector.setup.extract_features", lambda *a, **k: pytest.fail("it began to work"))
    with pytest.raises(ValueError, match=message):
        compare(images, methods, detector=detector)
    with pytest.raises(ValueError, match="give at least 3, got 2"):
        compare(images.subset([0, 1]), ["mutual", "subspace"], detector=detector)


def test_the_report_shows_the_largest_disagreement_first(comparison, tmp_path):
    report = write_comparison(tmp_path / "new", comparison)
    page = report.read_text()
    shown = [comparison.names[i] for i in comparison.disagreements()]
    assert re.findall(r"<figcaption><strong>(.*?)</strong>", page) == shown
    assert 0 < len(shown) <= 12 < len(comparison.names)
    sources = re.findall(r'(?:src|href)="([^"]*)', page)
    assert len(sources) == 4 * len(shown)  # the photo, and a map of each method
    assert all(source.startswith("data:image/") for source in sources)
    assert "://" not in page
    first = comparison.disagreements(1)[0]
    assert f"rank {comparison.ranks[1, first]:g}, score {comparison.scores['subspace'].image_scores[first]:.3f}" in page
    assert "<strong>subspace</strong>: A few directions hold most" in page
    assert "Memory was not measured" in page
    assert "A patch covers 14 x 14 pixels" in page
    assert "blue outlines" in page.lower()
    table = pandas.read_csv(tmp_path / "new" / "table.csv").set_index("method")
    assert table.image_auroc["memory"] == pytest.approx(comparison.metrics["memory"]["image_auroc"], abs=1e-5)
    assert table.spearman_mutual["memory"] == pytest.approx(comparison.correlations().loc["mutual", "memory"], abs=1e-5)


def test_each_method_has_one_scale(comparison, tmp_path, monkeypatch):
    scales, drawn = [], comparison_report.overlay
    monkeypatch.setattr(comparison_report, "overlay", lambda *a: scales.append(a[2:]) or drawn(*a))
    write_comparison(tmp_path, comparison)
    assert len(set(scales)) == 3
    assert all(scales[k::3] == [scales[k]] * (len(scales) // 3) for k in range(3))


def test_maps_of_another_method_are_compared_too(comparison, images, tmp_path):
    mine = Scores.from_maps(images, np.random.default_rng(0).random((14, 20, 20)))
    images = replace(mine, names=mine.names)
    found = Comparison({**comparison.scores, "<b>mine</b>": images})
    page = write_comparison(tmp_path, found).read_text()
    assert "<b>mine" not in page
    assert "&lt;b&gt;mine&lt;/b&gt;: maps" in page  # its parameters
    assert ">–<" in page  # its seconds are not known


def test_without_labels_there_are_ranks_alone(backbone, tmp_path):
    images = from_arrays([np.random.default_rng(k).random((28, 28, 3)) for k in range(4)])
    found = compare(images, ["memory", "gaussian"], detector=MuSc(backbone, image_size=28, layers=[5]))
    page = write_comparison(tmp_path, found, title="A & B").read_text()
    assert "AUROC" not in page
    assert "A &amp; B" in page
    assert "spearman_gaussian" in found.to_frame()


def test_compare_on_the_command_line(backbone, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for i, image in enumerate(planted_textures("gravel", 6, 1, image_size=56)):
        image.save(folder / f"{i}.png")
    options = ["--image-size", "56", "--layers", "5", "--r", "1", "--interval", "0,0.5"]
    options += ["--precision", "float32"]  # the same numbers everywhere

    def run(*more):
        return CliRunner().invoke(app, ["compare", str(folder), "-o", str(out), *options, *more])

    done = run("--methods", "mutual,memory", "--scorer-param", "coreset_ratio=0.5")
    assert done.exit_code == 0, done.output
    assert "rank the images" in done.output
    settings = {"image_size": 56, "layers": [5], "r": (1,), "interval": (0, 0.5)}
    methods = {"mutual": MutualScorer((0, 0.5)), "memory": MemoryBankScorer(coreset_ratio=0.5)}
    expected = compare(folder, methods, detector=MuSc(backbone, **settings)).to_frame()
    table = pandas.read_csv(out / "table.csv")
    assert table.spearman_mutual.tolist() == pytest.approx(expected.spearman_mutual.tolist(), abs=1e-5)
    page = (out / "report.html").read_text()
    assert "Methods compared on photos" in page
    assert "50% of the patches" in page
    assert "0 to 0.5 of the other images" in page
    for wrong, message in [
        (["--methods", "mutual"], "two methods or more, got mutual"),
        (["--methods", "memory,gaussian"], "--interval belongs to the method mutual; what memory or gaussian takes"),
        (
            ["--methods", "mutual,memory", "--scorer-param", "variance=0.9"],
            "no such parameter; mutual has interval, references",
        ),
        (["--methods", "mutual,memory", "--scorer-param", "interval=0,1"], "interval is given twice"),
    ]:
        refused = run(*wrong)
        assert refused.exit_code == 1, wrong
        assert message in refused.stderr
    assert run("--method", "mutual").exit_code == 2
    for i in range(2, 6):
        (folder / f"{i}.png").unlink()
    assert "give at least 3, got 2" in run("--methods", "mutual,memory").stderr
