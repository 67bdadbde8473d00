"""The tests of the assignment, each with its points and with what is wrong where it fails. Not for students.

A test yields the calls, each a tuple of arguments, and gets what the submission returned, a list of arrays. All of this
runs in the grader's process, where no code of a submission runs. Expected values come from the library on inputs drawn
here, and from what the published code returned (`tests/data/golden.npz`).
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

import musc_lite

GOLDEN = np.load(Path(__file__).parents[3] / "tests/data/golden.npz")
Steps: TypeAlias = Generator[list[tuple], list[np.ndarray], None]


@dataclass(frozen=True)
class HiddenTest:
    """What a test is worth, of which function, and its steps."""

    points: int
    function: str
    steps: Callable[[], Steps]


TESTS: list[HiddenTest] = []


def points(n: int, function: str) -> Callable[[Callable[[], Steps]], Callable[[], Steps]]:
    """Return how much a test is worth, and of which function."""

    def add(steps: Callable[[], Steps]) -> Callable[[], Steps]:
        TESTS.append(HiddenTest(n, function, steps))
        return steps

    return add


def random_tokens(n_images: int, n_patches: int, n_channels: int, seed: int = 0) -> np.ndarray:
    """Draw patch tokens that are neither centered nor of unit length."""
    return np.random.default_rng(seed).normal(0.5, 2, (n_images, n_patches, n_channels))


def rescoring_inputs() -> tuple[np.ndarray, np.ndarray]:
    """Return scores (9,) and class tokens (9, 6) of unit length, all alike enough that no similarity is negative."""
    random = np.random.default_rng(0)
    tokens = random.random((9, 6))
    return random.random(9) + 0.2, tokens / np.linalg.norm(tokens, axis=1, keepdims=True)


def shaped(found: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise AssertionError where a result has another shape, or values that are no finite numbers."""
    assert found.shape == shape, f"shape {found.shape} instead of {shape}"
    n_bad = found.size - np.isfinite(found).sum()
    assert not n_bad, f"{n_bad} of {found.size} values are NaN or infinite"


def same(found: np.ndarray, expected: np.ndarray, why: str) -> None:
    """Raise AssertionError where a result differs from ours: shape first, then values."""
    shaped(found, expected.shape)
    apart = np.abs(found.astype(np.float64) - expected)
    assert apart.max() <= 2e-3, (
        f"{why}: {(apart > 2e-3).sum()} of {apart.size} values differ, by up to {apart.max():.3g}"
    )


@points(1, "aggregate")
def test_aggregated_patches_have_unit_length():
    (found,) = yield [(random_tokens(2, 12, 5), (3, 4), 3)]
    shaped(found, (2, 12, 5))
    same(np.linalg.norm(found, axis=2), np.ones((2, 12)), "each patch vector has length 1")


@points(2, "aggregate")
def test_tokens_are_normalized_by_image():
    tokens = random_tokens(3, 12, 5)
    (found,) = yield [(tokens, (3, 4), 1)]
    same(found, musc_lite.aggregate(tokens, (3, 4), 1).numpy(), "step 1, r = 1")


@points(2, "aggregate")
def test_neighborhood_inside():
    tokens = random_tokens(2, 7 * 9, 5)
    (found,) = yield [(tokens, (7, 9), 3)]
    shaped(found, tokens.shape)
    found, ours = (each.reshape(2, 7, 9, 5) for each in (found, musc_lite.aggregate(tokens, (7, 9), 3).numpy()))
    same(found[:, 1:-1, 1:-1], ours[:, 1:-1, 1:-1], "step 2, away from the border, of 7 rows and 9 columns")


@points(2, "aggregate")
def test_what_lies_outside_adds_nothing():
    golden = {r: GOLDEN[f"aggregated_r{r}_first3"] for r in (5,)} | {3: GOLDEN["aggregated_r3"]}
    results = yield [(GOLDEN["tokens"][: len(expected), 1], (7, 7), r) for r, expected in golden.items()]
    for (r, expected), found in zip(golden.items(), results, strict=True):
        ours = expected[:, 1]
        shaped(found, ours.shape)
        found, ours = (each.reshape(-1, 7, 7, 32) for each in (found, ours))
        for edge in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
            same(found[edge], ours[edge], f"step 2, at the border, r = {r}")


@points(2, "mutual_scores")
def test_nearest_patch_of_the_nearest_image():
    tokens = random_tokens(4, 6, 3)
    (found,) = yield [(tokens, 0.0, 0.3)]
    same(found, musc_lite.mutual_scores(tokens).numpy(), "int(3 * 0.3) is 0: take one")


@points(2, "mutual_scores")
def test_own_image_is_left_out():
    (found,) = yield [(random_tokens(11, 6, 3), 0.0, 0.1)]  # the one closest image
    shaped(found, (11, 6))
    assert found.min() > 1e-3, "a patch at distance 0 from itself: an image is no witness for itself"


@points(1, "mutual_scores")
def test_interval_of_the_closest_images():
    tokens = random_tokens(11, 6, 3)
    (found,) = yield [(tokens,)]
    same(found, musc_lite.mutual_scores(tokens).numpy(), "the mean of the closest 3 of 10 images")


@points(1, "mutual_scores")
def test_interval_with_a_beginning():
    tokens = random_tokens(11, 6, 3)
    (found,) = yield [(tokens, 0.2, 0.6)]
    ours = musc_lite.mutual_scores(tokens, interval=(0.2, 0.6)).numpy()
    same(found, ours, "the mean of the places 2 to 5, counted from 0")


@points(1, "mutual_scores")
def test_scores_of_the_published_code():
    (found,) = yield [(GOLDEN["aggregated_r3"][:, 0],)]
    same(found, GOLDEN["patch_scores_r3"][0], "layer 0, r = 3 of the published code")


@points(1, "rescore")
def test_window_of_one_only_scales():
    scores, tokens = rescoring_inputs()
    (found,) = yield [(scores, tokens, (1,))]
    same(found, (scores - scores.min()) / np.ptp(scores), "the image itself is in its window")


@points(2, "rescore")
def test_window_of_two_asks_one_neighbor():
    scores, tokens = rescoring_inputs()
    (found,) = yield [(scores, tokens, (2,))]
    same(found, musc_lite.rescore(scores, tokens, (2,)).numpy(), "k = 2")


@points(1, "rescore")
def test_windows_are_averaged():
    scores, tokens = rescoring_inputs()
    (found,) = yield [(scores, tokens, (2, 5))]
    same(found, musc_lite.rescore(scores, tokens, (2, 5)).numpy(), "the mean over the windows 2 and 5")


@points(2, "rescore")
def test_rescoring_of_the_published_code():
    (found,) = yield [(GOLDEN["rscin_scores"], GOLDEN["rscin_class_tokens"], (1, 8, 9))]
    same(found, GOLDEN["rscin_out_1_8_9"], "windows 1, 8 and 9 of the published code")
