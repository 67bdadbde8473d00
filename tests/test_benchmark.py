import csv
import json
import random
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import musc_lite
from musc_lite import benchmark
from musc_lite.benchmark import CategoryResult, divide, find_categories, run_benchmark, score_subsets, table
from musc_lite.cli import app
from musc_lite.data.datasets import CATALOG, PUBLISHED_METRICS, DataSet, presets
from musc_lite.data.synthetic import PHOTOS


@pytest.fixture(scope="module")
def mvtec(tmp_path_factory):
    """Two textures of small images in the MVTec AD layout; one bears the name of a published category."""
    root = tmp_path_factory.mktemp("mvtec")
    for name, texture in (("screw", "gravel"), ("my parts", "brick")):
        images = musc_lite.planted_textures(texture, n_images=8, n_defective=3, image_size=64)
        for i, (image, mask) in enumerate(zip(images, images.masks(64), strict=True)):
            kind = "bad" if images.labels[i] else "good"
            (root / name / "test" / kind).mkdir(parents=True, exist_ok=True)
            image.save(root / name / "test" / kind / f"{i}.png")
            if kind == "bad":
                (root / name / "ground_truth" / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(255 * mask.astype(np.uint8)).save(root / name / "ground_truth" / kind / f"{i}_mask.png")
    return root


@pytest.fixture
def counted(monkeypatch):
    """Which categories are really scored."""
    scored = []

    def count(detector, images, subsets):
        scored.append(len(subsets))
        return score_subsets(detector, images, subsets)

    score_subsets = benchmark.score_subsets
    monkeypatch.setattr(benchmark, "score_subsets", count)
    return scored


@pytest.fixture
def detector(backbone):
    return musc_lite.MuSc(backbone, image_size=56, r=(1,))


@pytest.mark.filterwarnings("ignore:.*published")  # the number of images of 'screw'
def test_a_run_goes_on_where_it_was_interrupted(mvtec, tmp_path, detector, counted):
    whole = list(run_benchmark("mvtec", mvtec, tmp_path / "whole", detector))
    assert [result.category for result in whole] == ["my parts", "screw"]
    assert len(counted) == 2

    run = run_benchmark("mvtec", mvtec, tmp_path / "cut", detector)
    next(run)
    run.close()
    assert "screw" not in (tmp_path / "cut" / "results.csv").read_text()
    resumed = list(run_benchmark("mvtec", mvtec, tmp_path / "cut", detector))
    assert len(counted) == 4  # 'my parts' was not scored again
    assert [result.metrics for result in resumed] == [result.metrics for result in whole]
    for file in ("results.csv", "results.md", "scores/screw.csv", "scores/my parts.csv"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not (tmp_path / "cut" / "features" / "screw").exists()
    assert Image.open(tmp_path / "cut" / "results.png").size[0] > 400


@pytest.mark.filterwarnings("ignore:.*published")
def test_what_was_made_otherwise_is_made_again(mvtec, tmp_path, detector, backbone, counted):
    def run(detector=detector, **options):
        before = len(counted)
        list(run_benchmark("mvtec", mvtec, tmp_path, detector, categories=["screw"], **options))
        return len(counted) > before

    assert run()
    assert not run()
    assert not run(musc_lite.MuSc(backbone, image_size=56, r=(1,), batch_size=3))
    assert run(musc_lite.MuSc(backbone, image_size=56, r=(3,)))
    assert run(n_subsets=2)
    result = tmp_path / "results" / "screw.json"
    result.write_text(result.read_text()[:-20])
    assert run(n_subsets=2)
    changed = json.loads(result.read_text())
    changed["run"]["data_sha256"] = "0" * 64
    result.write_text(json.dumps(changed))
    assert run(n_subsets=2)


def test_the_table_shows_published_figures_and_their_mean():
    def result(category, auroc):
        metrics = dict.fromkeys(PUBLISHED_METRICS, float("nan")) | {"image_auroc": auroc}
        return CategoryResult(category, 10, 3, metrics, 1.0, {})

    assert table("mvtec", [result("screw", 0.5), result("tile", 1.0)]).splitlines() == [
        "| category | images | image AUROC |",
        "|---|---|---|",
        "| screw | 10 | 50.0 / 82.2 |",
        "| tile | 10 | 100.0 / 100.0 |",
        "| mean |  | 75.0 / 91.1 |",
    ]
    assert "| mean |  | 75.0 |" in table("mvtec", [result("screw", 0.5), result("nut", 1.0)])


@pytest.mark.filterwarnings("ignore:.*published")
def test_the_command_prints_and_keeps_the_table(mvtec, tmp_path):
    arguments = ["benchmark", "mvtec", "--root", str(mvtec), "-o", str(tmp_path), "--category", "screw"]
    done = CliRunner().invoke(app, [*arguments, "--image-size", "56", "--r", "1", "--subsets", "2"])
    assert done.exit_code == 0, done.output
    assert "--preset mvtec" in done.output
    assert "| screw | 8 |" in done.output
    with (tmp_path / "results.csv").open(encoding="utf-8-sig") as file:
        (row,) = csv.DictReader(file)
    assert float(row["published_image_auroc"]) == 0.8217
    assert 0 <= float(row["image_auroc"]) <= 1
    run = json.loads((tmp_path / "results" / "screw.json").read_text())["run"]
    assert run["versions"]["musc-lite"] == musc_lite.__version__
    assert run["n_subsets"] == 2
    assert run["settings"]["layers"] == [4, 5, 6, 7, 8, 9]  # what the backbone chose is written down
    assert (
        "r 1; rescoring_sizes 1, 2, 3; layers 4, 5, 6, 7, 8, 9; n_subsets 2; seed 0"
        in (tmp_path / "results.md").read_text()
    )
    assert len(run["weights_sha256"]) == len(run["data_sha256"]) == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mvtek"], "one of mvtec"),
        (["mvtec"], "--root"),
        (["mvtec", "--root", "ROOT", "--preset", "paper"], "--preset must be one of mvtec, visa, btad"),
        (["mvtec", "--root", "ROOT", "--category", "scew"], "Did you mean 'screw'"),
        (["visa", "--root", "ROOT"], "no category of visa"),
        (["btad", "--root", "nowhere"], "there is no folder nowhere"),
        (["mvtek", "--root", "ROOT", "--category", "screw"], "one of mvtec"),
        (["magnetic-tile", "--root", "ROOT", "--category", "MT_Crack"], "is one category, 'magnetic_tile'"),
        (["mvtec", "--root", "ROOT", "--subsets", "9"], "give fewer subsets"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*published")
def test_what_cannot_be_run_is_said(mvtec, tmp_path, arguments, message):
    arguments = [str(mvtec) if argument == "ROOT" else argument for argument in arguments]
    done = CliRunner().invoke(app, ["benchmark", *arguments, "-o", str(tmp_path)])
    assert done.exit_code == 1
    assert message in done.output


def load_dots(root, category):
    """Load the made-up data set."""
    return musc_lite.load_folder(root / category)


@pytest.fixture
def dots(monkeypatch):
    """A data set that nothing but its record knows of."""
    record = DataSet(
        name="dots",
        title="dots that somebody made up",
        script="get_dots.py",
        loader=f"{__name__}:load_dots",
        figures={"my parts": (91, 92, 93, 94, 95, 96, 97)},
        preset={"image_size": 56, "r": (1,)},
    )
    monkeypatch.setitem(CATALOG, "dots", record)


@pytest.mark.usefixtures("dots")
def test_a_data_set_is_one_record(mvtec, tmp_path, detector):
    assert find_categories("dots", mvtec) == ["my parts", "screw"]
    (result,) = run_benchmark("dots", mvtec, tmp_path / "run", detector, categories=["my parts"])
    assert (result.n_images, result.n_defective, result.run["dataset"]) == (8, 3, "dots")
    assert " / 91.0 | " in table("dots", [result])
    assert "ours / published" in (tmp_path / "run" / "results.md").read_text()
    with pytest.raises(ValueError, match=r"dots is read from a folder.*data_scripts/get_dots\.py"):
        find_categories("dots", None)

    arguments = ["dots", "--root", str(mvtec), "--preset", "dots", "--category", "my parts"]
    done = CliRunner().invoke(app, ["benchmark", *arguments, "-o", str(tmp_path / "command")])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "command/results/my parts.json").read_text())["metrics"] == result.metrics


def test_every_data_set_has_a_script_and_a_loader():
    scripts = Path(__file__).parents[1] / "data_scripts"
    for name, data_set in CATALOG.items():
        assert data_set.name == name
        assert (scripts / data_set.script).is_file()
        assert callable(resolve_name(data_set.loader))


def test_the_catalog_is_read_in_no_time():
    """The command line lists the data sets before anything is loaded."""
    heavy = "{'torch', 'numpy', 'PIL', 'musc_lite.data.loaders'} & set(sys.modules)"
    code = f"import sys, musc_lite.data.datasets; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_categories_are_those_that_are_there(mvtec):
    assert find_categories("mvtec", mvtec) == ["my parts", "screw"]
    assert find_categories("textures", None) == list(PHOTOS)


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    n_subsets=st.integers(1, 6),
    seed=st.integers(0, 3),
    by_type=st.booleans(),
)
def test_each_image_is_in_one_subset_and_types_are_dealt_out_evenly(sizes, n_subsets, seed, by_type):
    names = [f"{kind}/{i}.png" for kind, size in enumerate(sizes) for i in range(size)]
    try:
        subsets = divide(names, n_subsets, seed=seed, by_type=by_type)
    except ValueError:
        assert len(names) < 2 * n_subsets + len(sizes) * n_subsets
        return
    assert sorted(i for subset in subsets for i in subset) == list(range(len(names)))
    assert len(subsets) == n_subsets
    for kind in range(len(sizes)) if by_type else ():
        counts = [sum(names[i].startswith(f"{kind}/") for i in subset) for subset in subsets]
        assert max(counts) - min(counts) <= 1


def test_the_published_division_is_repeated():
    """As the published code reads: one seed, then each type shuffled and every s-th image taken."""
    names = [f"broken/{i:03}.png" for i in range(7)] + [f"good/{i:03}.png" for i in range(9)]
    for k in range(3):
        random.seed(0)
        expected = []
        for group in (list(range(7)), list(range(7, 16))):
            random.shuffle(group)
            dealt = [group[i : i + 3] for i in range(0, len(group), 3)]
            expected += [hand[k] for hand in dealt if len(hand) > k]
        assert divide(names, 3)[k] == sorted(expected)


@pytest.mark.parametrize("n_subsets", [0, -1, 3])
def test_too_many_subsets_are_refused(n_subsets):
    with pytest.raises(ValueError, match="give fewer subsets" if n_subsets > 0 else "1 or more"):
        divide(["a/1", "a/2", "a/3", "a/4", "a/5"], n_subsets)


def test_subsets_score_as_batches_of_their_own(backbone):
    images = musc_lite.planted_textures("gravel", n_images=9, n_defective=3, image_size=56)
    detector = musc_lite.MuSc(backbone, image_size=56, r=(1,))
    whole = score_subsets(detector, images, [range(9)])
    fitted = musc_lite.MuSc(backbone, image_size=56, r=(1,)).fit(images)
    np.testing.assert_array_equal(whole.anomaly_maps, fitted.anomaly_maps_)
    np.testing.assert_allclose(whole.image_scores, fitted.image_scores_, atol=1e-6)

    subsets = [[0, 2, 4, 6, 8], [1, 3, 5, 7]]
    apart = score_subsets(detector, images, subsets)
    for subset in subsets:
        alone = musc_lite.MuSc(backbone, image_size=56, r=(1,)).fit(images.subset(subset))
        np.testing.assert_allclose(apart.map_scores[subset], alone.map_scores_, atol=1e-6)
    assert apart.names == images.names
    with pytest.raises(ValueError, match="exactly one subset"):
        score_subsets(detector, images, [[0, 1, 2], [2, 3]])


def test_published_means_are_those_of_the_categories():
    published = {name: data_set.figures for name, data_set in CATALOG.items() if data_set.figures}
    assert list(published) == ["mvtec", "visa", "btad"]
    for dataset, figures in published.items():
        means = np.mean([row for category, row in figures.items() if category != "mean"], axis=0)
        stated = np.array(figures["mean"])
        if dataset == "visa":
            means[PUBLISHED_METRICS.index("pixel_auroc")] = 98.71  # as printed; the categories' mean is 98.84
        np.testing.assert_allclose(means, stated, atol=0.011)


def test_presets_are_the_published_settings():
    published = musc_lite.MuSc.published()
    assert list(presets()) == ["mvtec", "visa", "btad"]
    for preset in presets().values():
        assert {**published.get_params(deep=False), **preset} == {
            **published.get_params(deep=False),
            "rescoring_sizes": preset["rescoring_sizes"],
        }
    assert presets()["visa"]["rescoring_sizes"] == (1, 8, 9)
