"""One table of parameters: what `MuSc`, its components, the command line and saved files call by the same name."""

import warnings
from inspect import signature

import numpy as np
import pytest
from sklearn.base import clone
from typer.testing import CliRunner

import musc_lite
from musc_lite import MuSc, MutualScorer, Scores, mutual_scores, planted_textures, rescore
from musc_lite.cli import app
from musc_lite.cli.main import OLD_OPTIONS, current_arguments
from musc_lite.cli.method_options import Method
from musc_lite.detector.components import COMPONENTS, default_component
from musc_lite.detector.options import OPTIONS, flag, of_component
from musc_lite.stages.rescoring import RsCIN, RsCon

OF_COMMANDS = {"groups", "contamination", "false_alarm_rate", "cache_dir"}  # parameters that some commands alone have
GIVEN = {"layers": "even", "image_size": "28", "region": "auto", "tiles": "2", "pooling": "mean", "r": "1"}
GIVEN |= {"interval": "0,0.5", "rescoring_sizes": "1,2", "max_memory": "2GB", "overlap": 0.1, "aligned": True}
GIVEN |= {"references": 5, "n_components": 8, "search_window": 1, "batch_size": 2}


def test_the_table_holds_the_parameters_of_musc():
    assert set(OPTIONS) | OF_COMMANDS == set(signature(MuSc).parameters)
    described = MuSc.__doc__.split("Attributes")[0]
    assert [name for name in OPTIONS if name not in described] == []


@pytest.mark.parametrize("kind", [kind for kind in COMPONENTS if kind != "threshold"])
def test_a_component_has_its_parameters_under_these_names_and_defaults(kind):
    theirs, ours = signature(default_component(kind)).parameters, signature(MuSc).parameters
    names = of_component(kind)
    assert set(names.values()) == set(theirs)
    assert {name: ours[name].default for name in names} == {n: theirs[t].default for n, t in names.items()}


def test_the_command_line_reads_each_as_a_value_that_musc_takes():
    settings = Method(given=GIVEN).settings
    assert set(OPTIONS) - set(settings) == {"backbone", "device", "precision"}
    assert (settings["image_size"], settings["tiles"], settings["interval"]) == (28, 2, (0.0, 0.5))
    MuSc(**settings).components.check()


@pytest.mark.parametrize("command", ["score", "fit", "compare", "benchmark"])
def test_each_is_an_option_and_old_names_are_hidden(command):
    """The help fits 80 columns without a broken word, and shows what people need first before the rest."""
    told = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert [name for name in OPTIONS if flag(name) not in told] == []
    assert [old for old in OLD_OPTIONS if f"{old} " in told] == []
    narrow = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80"}).output
    assert max(map(len, narrow.splitlines())) <= 80
    assert [name for name in OPTIONS if flag(name) not in narrow] == []
    panels = [line.split()[1] for line in narrow.splitlines() if line.startswith("╭─ ")]
    assert panels[-1] == "Advanced"
    assert {"View", "Method", "Performance"} < set(panels)


@pytest.mark.parametrize("made", [MuSc, RsCIN, RsCon, MutualScorer])
def test_old_names_still_work_and_name_the_new_one(made):
    old, new, value = ("window", "search_window", 2) if made is MutualScorer else ("windows", "rescoring_sizes", (4,))
    with pytest.deprecated_call(match=f"{made.__name__}: {old} is called {new} now"):
        found = made(**{old: value})
    assert getattr(found, new) == value
    assert old not in found.get_params()
    with pytest.deprecated_call(match=new):
        assert getattr(found, old) == value
    with pytest.deprecated_call(match=new):
        found.set_params(**{old: value})
    with pytest.deprecated_call(match=new):
        setattr(found, old, value)
    with pytest.deprecated_call(), pytest.raises(TypeError, match="are one parameter"):
        made(**{old: value, new: value})
    with warnings.catch_warnings(action="error"):
        assert clone(found).get_params()[new] == value


def test_old_names_of_functions():
    rng = np.random.default_rng(0)
    scores, tokens = rng.random(4), rng.random((4, 3))
    with pytest.deprecated_call():
        np.testing.assert_array_equal(rescore(scores, tokens, windows=(2,)), rescore(scores, tokens, (2,)))
    patches = rng.random((3, 4, 2))
    with pytest.deprecated_call():
        old = mutual_scores(patches, window=0)
    np.testing.assert_array_equal(old, mutual_scores(patches, search_window=0))
    images = planted_textures("brick", 4, 1, image_size=56)
    maps = rng.random((4, 56, 56)).astype("float32")
    with pytest.deprecated_call():
        old = Scores.from_maps(images, maps, tokens, windows=(2,))
    np.testing.assert_array_equal(
        old.image_scores, Scores.from_maps(images, maps, tokens, rescoring_sizes=(2,)).image_scores
    )


def test_old_options_and_the_old_method_name_still_work_and_say_so(tmp_path):
    images = planted_textures("brick", 4, 1, image_size=56)
    (tmp_path / "photos").mkdir()
    for i in range(4):
        images[i].save(tmp_path / "photos" / f"{i}.png")
    run = [str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--image-size", "28", "--layers", "5"]
    done = CliRunner().invoke(app, ["score", *run, "--windows", "2", "--window", "1", "--method", "musc"])
    assert done.exit_code == 0, done.output
    for old, new in [
        ("--windows", "--rescoring-sizes"),
        ("--window", "--search-window"),
        ("the method musc", "mutual"),
    ]:
        assert f"warning: {old} is called {new} now" in done.output
    for old, new in OLD_OPTIONS.items():
        assert current_arguments(["score", old, f"{old}=a"]) == ["score", new, f"{new}=a"]
    assert current_arguments(["days", "days"]) == ["drift", "days"]  # a folder may be called so


def test_old_names_of_classes_and_attributes():
    with pytest.deprecated_call(match="musc_lite.fit_line is called musc_lite.fit_reference now"):
        assert musc_lite.fit_line is musc_lite.fit_reference
    with pytest.deprecated_call(match="ConformalThreshold"):
        assert musc_lite.FalseAlarmRate is musc_lite.ConformalThreshold
    with pytest.raises(AttributeError):
        _ = musc_lite.nothing
    with pytest.deprecated_call(match="MemoryBankScorer: share is called coreset_ratio now"):
        assert musc_lite.MemoryBankScorer(share=0.5).coreset_ratio == 0.5
    detector = MuSc(image_size=28, layers=[5]).fit(planted_textures("brick", 4, 1, image_size=56))
    for old, new in [("parts", "components"), ("describe", "provenance")]:
        with pytest.deprecated_call(match=new):
            assert getattr(detector, old) is not None
    with pytest.deprecated_call(match="resolved_view"):
        assert detector.scores_.framing is detector.scores_.resolved_view
