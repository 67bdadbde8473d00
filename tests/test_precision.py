"""Products in bfloat16: how far they are from float32, who uses them, and who says so."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import musc_lite
from musc_lite import aggregate, mutual_scores
from musc_lite.cli import app
from musc_lite.data.view import ResolvedView
from musc_lite.detector.planning import BatchShape, plan_memory
from musc_lite.neighbors import brute_force, cpu_bfloat16
from musc_lite.scorers.base import ScoringContext
from musc_lite.scorers.mutual import MutualScorer
from musc_lite.scorers.recurring import RecurringScorer
from musc_lite.utils import precision
from musc_lite.utils.precision import resolve_precision

CPU = torch.device("cpu")
SHORT = ScoringContext(grid=(4, 4), precision="bfloat16")
shapes = st.tuples(st.integers(2, 6), st.integers(1, 20), st.integers(1, 40))


def tokens_of(shape, seed=0, scale=1.0):
    tokens = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return scale * torch.nn.functional.normalize(tokens, dim=-1)


def assert_close(found, expected, scale=1.0):
    """Half of the last of 8 digits of the square, 2^-8 of it; and what rounding the vectors changes."""
    torch.testing.assert_close(found, expected, rtol=2**-9 + 1e-5, atol=0.006 * scale)


@settings(max_examples=60)
@given(shapes, st.integers(0, 99), st.sampled_from([1e-3, 1.0, 30.0]))
def test_the_product_is_half_the_squared_distance_of_the_rounded_vectors(shape, seed, scale):
    tokens = tokens_of(shape, seed, scale)
    longer = cpu_bfloat16.append_norms(tokens)
    bits = cpu_bfloat16.half_squared_norms(cpu_bfloat16.negate_queries(longer[0], shape[-1]), longer)
    rounded = tokens.bfloat16().double()
    expected = (rounded[:, :, None] - rounded[0]).square().sum(dim=-1) / 2  # (J, M, Q)
    found = bits.view(torch.bfloat16).double()
    torch.testing.assert_close(found, expected, rtol=2**-8, atol=1e-6 * scale**2)


@settings(max_examples=60)
@given(shapes, st.integers(0, 99), st.sampled_from([1e-3, 1.0, 30.0]), st.integers(1, 3))
def test_distances_are_close_to_those_of_float32(shape, seed, scale, n_tiles):
    tokens, whole = tokens_of(shape, seed, scale), cpu_bfloat16.TILE_BYTES
    try:
        cpu_bfloat16.TILE_BYTES = n_tiles * 2 * shape[1] ** 2  # some products of a few images each
        found = brute_force.pairwise_min_distances(tokens, precision="bfloat16")
    finally:
        cpu_bfloat16.TILE_BYTES = whole
    assert_close(found, brute_force.pairwise_min_distances(tokens), scale)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"references": 4},
        {"references": [1, 3]},
        {"n_components": 8},
        {"search_window": 1},
        {"search_window": 0},
        {"aligned": True},
    ],
    ids=str,
)
def test_every_search_is_close_to_float32(parameters):
    tokens, new = tokens_of((8, 16, 24)), tokens_of((3, 16, 24), seed=1)
    exact, short = MutualScorer(**parameters), MutualScorer(**parameters)
    plain, context = ScoringContext((4, 4), tiles=(2, 2)), replace(SHORT, tiles=(2, 2))
    assert_close(short.fit_score(tokens, context), exact.fit_score(tokens, plain))
    assert_close(short.score(new, tokens, context), exact.score(new, tokens, plain))
    assert_close(short.nearest(tokens, context), exact.nearest(tokens, plain))


def test_a_budget_that_forbids_shared_products_gives_the_same():
    tokens = tokens_of((30, 16, 24))
    least = MutualScorer().cost(tokens.shape).least_bytes
    assert_close(mutual_scores(tokens, max_memory=least, precision="bfloat16"), mutual_scores(tokens))


def test_recurring_defects_are_seen_as_well():
    tokens = tokens_of((12, 16, 24))
    tokens[:4, 5] = torch.nn.functional.normalize(torch.ones(24), dim=0) + 0.001 * tokens[:4, 6]
    found = RecurringScorer().fit_score(tokens, SHORT)
    assert_close(found, RecurringScorer().fit_score(tokens))


def test_what_is_equal_stays_equal():
    tokens = tokens_of((1, 16, 384)).expand(4, -1, -1)
    assert mutual_scores(tokens, precision="bfloat16").max() < 0.002


def test_real_tokens_score_within_a_thousandth(backbone):
    images = musc_lite.planted_textures("gravel", 14, 4, image_size=112)
    features = musc_lite.extract_features(images, backbone, layers=[2, 5, 11], image_size=112, progress=False)
    for s, r in ((0, 1), (1, 3), (2, 1)):
        tokens = aggregate(features.patch_tokens[:, s], features.grid, r)
        exact, short = mutual_scores(tokens), mutual_scores(tokens, precision="bfloat16")
        torch.testing.assert_close(short, exact, rtol=0, atol=1.5e-3)
        assert (short - exact).mean().abs() < 1e-4  # up as often as down


def test_double_precision_is_never_shortened():
    tokens = tokens_of((4, 5, 6)).double()
    assert torch.equal(mutual_scores(tokens, precision="bfloat16"), mutual_scores(tokens))


@pytest.mark.parametrize(
    ("small", "large", "expected"), [(1, 0.5, "bfloat16"), (1, 0.9, "float32"), (50, 0.1, "float32")]
)
def test_auto_takes_what_is_measured_to_be_faster(monkeypatch, small, large, expected):
    asked = []

    def seconds(size, kind):
        asked.append((size, kind))
        return {128: small, 512: large}[size] if kind == torch.bfloat16 else 1.0

    monkeypatch.setattr(precision, "_seconds", seconds)
    precision._bfloat16_is_faster.cache_clear()
    assert resolve_precision("auto", CPU) == expected
    assert small < 10 or (512, torch.bfloat16) not in asked  # a hundred times slower is not tried in large
    precision._bfloat16_is_faster.cache_clear()


def test_only_a_cpu_has_a_choice():
    assert resolve_precision("bfloat16", torch.device("cuda")) == resolve_precision("auto", torch.device("cuda"))
    assert resolve_precision("bfloat16", torch.device("cuda")) == "float32"
    assert resolve_precision("float32", CPU) == "float32"
    with pytest.raises(ValueError, match="precision must be 'float32', 'bfloat16' or 'auto', got 'half'"):
        musc_lite.load_backbone("dinov2_vits14", precision="half")


@pytest.fixture(scope="module")
def images():
    return musc_lite.planted_textures("brick", n_images=8, n_defective=2, image_size=112)


@pytest.fixture(scope="module")
def both(images):
    settings = {"image_size": 112, "layers": (5, 8), "r": (1, 3)}
    return [musc_lite.MuSc(precision=each, **settings).fit(images) for each in ("float32", "bfloat16")]


class TestDetector:
    def test_default_is_float32(self, both):
        assert musc_lite.MuSc().precision == musc_lite.load_backbone("dinov2_vits14").precision == "float32"
        assert "precision" not in both[0].provenance()

    def test_tokens_change_by_about_a_percent_and_scores_hardly(self, both):
        exact, short = (each.features_.patch_tokens for each in both)
        assert 0 < (short - exact).norm() / exact.norm() < 0.015
        np.testing.assert_allclose(both[1].patch_scores_, both[0].patch_scores_, atol=0.02)
        np.testing.assert_array_equal(both[1].image_scores_.argsort()[-2:], both[0].image_scores_.argsort()[-2:])

    def test_the_same_tokens_are_scored_with_the_precision_of_the_backbone(self, images, both):
        exact = both[0]
        short = musc_lite.MuSc(**{**exact.get_params(), "precision": "bfloat16"}).fit_features(exact.features_, images)
        assert 0 < np.abs(short.patch_scores_ - exact.patch_scores_).max() < 0.01

    def test_what_was_used_is_said(self, both):
        assert both[1].provenance()["precision"].startswith("bfloat16")

    def test_new_images_are_scored_the_same_way(self, both):
        new = musc_lite.planted_textures("brick", n_images=3, n_defective=1, image_size=112, seed=1)
        exact, short = (each.score_images(new).map_scores for each in both)
        assert 0 < np.abs(exact - short).max() < 0.02

    def test_a_saved_or_pickled_one_chooses_again(self, both, tmp_path, monkeypatch):
        both[1].save(tmp_path / "detector")
        for faster, expected in ((True, "bfloat16"), (False, "float32")):
            monkeypatch.setattr(precision, "_bfloat16_is_faster", lambda faster=faster: faster)
            assert musc_lite.MuSc.load(tmp_path / "detector").backbone_.precision == expected
            assert pickle.loads(pickle.dumps(both[1].backbone_)).precision == expected

    def test_cached_features_of_one_are_not_taken_for_the_other(self, images, both, tmp_path):
        exact, short = (each.backbone_ for each in both)
        how = {"layers": [5], "image_size": 112, "cache_dir": tmp_path, "progress": False}
        first, second = (musc_lite.extract_features(images, each, **how).patch_tokens for each in (exact, short))
        assert not torch.equal(first, second)
        assert torch.equal(musc_lite.extract_features(images, exact, **how).patch_tokens, first)
        assert len(list(tmp_path.iterdir())) == 2

    def test_a_budget_holds_the_copy_too(self):
        extent = BatchShape((5,), (1,), ResolvedView((224, 224), 14), 384)
        exact, short = (plan_memory(MutualScorer(), 100, extent, precision=each) for each in ("float32", "bfloat16"))
        assert short.n_bytes - exact.n_bytes == cpu_bfloat16.append_norms(torch.zeros(100, 256, 384)).nbytes


def test_the_command_line_says_it_in_its_report(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name, image in zip("abcd", musc_lite.planted_textures("gravel", 4, 1, image_size=112), strict=True):
        image.save(photos / f"{name}.png")
    options = ["--image-size", "112", "--layers", "5", "--precision", "bfloat16"]
    done = CliRunner().invoke(app, ["score", str(photos), "-o", str(out), *options])
    assert done.exit_code == 0, done.output
    assert "bfloat16: scores differ a little from those of float32" in (out / "report.html").read_text()
