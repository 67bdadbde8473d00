"""The tests of the assignment, each with its points and with what is wrong where it fails. Not for students.

`grade.py` runs them; so does `SUBMISSION=their.py python -m pytest hidden_tests.py`. They compare with the library on
inputs drawn here and with what the published code returned (`tests/data/golden.npz`).
"""

import importlib.util
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import musc_lite

GOLDEN = np.load(Path(__file__).parents[3] / "tests/data/golden.npz")


def points(n, function):
    """Say how much a test is worth, and of which function."""
    return pytest.mark.points(n, function)


@pytest.fixture(scope="module")
def theirs():
    """Load the submission once."""
    spec = importlib.util.spec_from_file_location("submission", os.environ["SUBMISSION"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _time_limit():
    if not hasattr(signal, "SIGPROF"):  # Windows
        yield
        return

    seconds = int(os.environ.get("SECONDS_EACH", "20"))  # for a loop that never ends

    def stop(*_):
        pytest.fail(f"not done after {seconds} seconds")

    # Seconds of computing, which other work on the machine does not use up; and ten times as many of waiting.
    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, 10 * seconds)}
    before = {name: signal.signal(name, stop) for name in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    yield
    for name, (timer, _) in timers.items():
        signal.setitimer(timer, 0)
        signal.signal(name, before[name])


def random_tokens(n_images, n_patches, n_channels, seed=0):
    """Draw patch tokens that are neither centered nor of unit length."""
    return np.random.default_rng(seed).normal(0.5, 2, (n_images, n_patches, n_channels))


def same(given, expected, why):
    """Hold a result against ours: shape first, then values."""
    given = np.asarray(given)
    assert given.shape == expected.shape, f"shape {given.shape} instead of {expected.shape}"
    np.testing.assert_allclose(given, expected, rtol=0, atol=2e-3, err_msg=why)


@points(1, "aggregate")
def test_aggregated_patches_have_unit_length(theirs):
    found = theirs.aggregate(random_tokens(2, 12, 5), (3, 4), 3)
    same(np.linalg.norm(found, axis=2), np.ones((2, 12)), "each patch vector has length 1")


@points(2, "aggregate")
def test_tokens_are_normalized_by_image(theirs):
    tokens = random_tokens(3, 12, 5)
    same(theirs.aggregate(tokens, (3, 4), 1), musc_lite.aggregate(tokens, (3, 4), 1).numpy(), "step 1, r = 1")


@points(2, "aggregate")
def test_neighborhood_inside(theirs):
    tokens = random_tokens(2, 7 * 9, 5)
    ours = musc_lite.aggregate(tokens, (7, 9), 3).numpy().reshape(2, 7, 9, 5)
    found = np.asarray(theirs.aggregate(tokens, (7, 9), 3)).reshape(2, 7, 9, 5)
    same(found[:, 1:-1, 1:-1], ours[:, 1:-1, 1:-1], "step 2, away from the border, of 7 rows and 9 columns")


@points(2, "aggregate")
def test_what_lies_outside_adds_nothing(theirs):
    golden = {r: GOLDEN[f"aggregated_r{r}_first3"] for r in (5,)} | {3: GOLDEN["aggregated_r3"]}
    for r, expected in golden.items():
        found = np.asarray(theirs.aggregate(GOLDEN["tokens"][: len(expected), 1], (7, 7), r)).reshape(-1, 7, 7, 32)
        ours = expected[:, 1].reshape(-1, 7, 7, 32)
        for edge in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
            same(found[edge], ours[edge], f"step 2, at the border, r = {r}")


@points(2, "mutual_scores")
def test_nearest_patch_of_the_nearest_image(theirs):
    tokens = random_tokens(4, 6, 3)
    same(theirs.mutual_scores(tokens, 0.0, 0.3), musc_lite.mutual_scores(tokens).numpy(), "int(3 * 0.3) is 0: take one")


@points(2, "mutual_scores")
def test_own_image_is_left_out(theirs):
    found = np.asarray(theirs.mutual_scores(random_tokens(11, 6, 3), 0.0, 0.1))  # the one closest image
    assert found.shape == (11, 6), f"shape {found.shape} instead of {(11, 6)}"
    assert found.min() > 1e-3, "a patch at distance 0 from itself: an image is no witness for itself"


@points(1, "mutual_scores")
def test_interval_of_the_closest_images(theirs):
    tokens = random_tokens(11, 6, 3)
    ours = musc_lite.mutual_scores(tokens).numpy()
    same(theirs.mutual_scores(tokens), ours, "the mean of the closest 3 of 10 images")


@points(1, "mutual_scores")
def test_interval_with_a_beginning(theirs):
    tokens = random_tokens(11, 6, 3)
    ours = musc_lite.mutual_scores(tokens, interval=(0.2, 0.6)).numpy()
    same(theirs.mutual_scores(tokens, 0.2, 0.6), ours, "the mean of the places 2 to 5, counted from 0")


@points(1, "mutual_scores")
def test_scores_of_the_published_code(theirs):
    found = theirs.mutual_scores(GOLDEN["aggregated_r3"][:, 0])
    same(found, GOLDEN["patch_scores_r3"][0], "layer 0, r = 3 of the published code")


@points(1, "rescore")
def test_window_of_one_only_scales(theirs):
    scores, tokens = rescoring_inputs()
    same(
        theirs.rescore(scores, tokens, (1,)),
        (scores - scores.min()) / np.ptp(scores),
        "the image itself is in its window",
    )


@points(2, "rescore")
def test_window_of_two_asks_one_neighbor(theirs):
    scores, tokens = rescoring_inputs()
    same(theirs.rescore(scores, tokens, (2,)), musc_lite.rescore(scores, tokens, (2,)).numpy(), "k = 2")


@points(1, "rescore")
def test_windows_are_averaged(theirs):
    scores, tokens = rescoring_inputs()
    ours = musc_lite.rescore(scores, tokens, (2, 5)).numpy()
    same(theirs.rescore(scores, tokens, (2, 5)), ours, "the mean over the windows 2 and 5")


@points(2, "rescore")
def test_rescoring_of_the_published_code(theirs):
    found = theirs.rescore(GOLDEN["rscin_scores"], GOLDEN["rscin_class_tokens"], (1, 8, 9))
    same(found, GOLDEN["rscin_out_1_8_9"], "windows 1, 8 and 9 of the published code")


def rescoring_inputs():
    """Give scores (9,) and class tokens (9, 6) of unit length, all alike enough that no similarity is negative."""
    random = np.random.default_rng(0)
    tokens = random.random((9, 6))
    return random.random(9) + 0.2, tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
