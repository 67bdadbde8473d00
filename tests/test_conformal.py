"""A threshold with a promise: by simulation, and what it refuses."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musc_lite import ConformalThreshold, Detector, MuSc, SubspaceScorer, View, planted_textures
from musc_lite.results.summary import describe_drift, describe_guarantee, describe_scores
from musc_lite.stages.conformal import (
    DRIFT_LEVEL,
    conformal_threshold,
    find_drift,
    min_false_alarm_rate,
    p_values,
)

SMALL = {"image_size": 56, "layers": (5,), "r": (1,)}
numbers = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30)  # with many ties


@pytest.mark.parametrize("n_trusted", range(1, 120))
def test_the_lowest_rate_is_enough_and_a_thousandth_less_is_not(n_trusted):
    rate = min_false_alarm_rate(n_trusted)
    assert ConformalThreshold(rate).min_calibration_size <= n_trusted
    assert ConformalThreshold(rate - 0.001).min_calibration_size > n_trusted


@given(numbers, numbers, st.floats(0.02, 0.98))
def test_what_lies_above_the_threshold_has_a_p_value_of_at_most_the_rate(scores, calibration, rate):
    if len(calibration) < ConformalThreshold(rate).min_calibration_size:
        with pytest.raises(ValueError, match=f"needs at least {ConformalThreshold(rate).min_calibration_size} images"):
            conformal_threshold(calibration, rate)
        return
    threshold = conformal_threshold(calibration, rate)
    np.testing.assert_array_equal(np.array(scores) > threshold, p_values(scores, calibration) <= rate + 1e-12)


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 19), (0.1, 9), (0.29, 3), (0.01, 99), (0.5, 1), (0.9, 1)])
def test_so_many_are_needed_and_no_more(rate, needed):
    assert ConformalThreshold(rate).min_calibration_size == needed
    conformal_threshold(np.arange(needed), rate)
    with pytest.raises(ValueError, match="needs at least"):
        conformal_threshold(np.arange(needed - 1), rate)


def test_on_average_the_promise_holds_and_is_not_given_away():
    rng, rate = np.random.default_rng(0), 0.1
    for n in (9, 25):
        alarms = [(rng.gamma(2, size=50) > conformal_threshold(rng.gamma(2, size=n), rate)).mean() for _ in range(2000)]
        error = np.std(alarms) / np.sqrt(len(alarms))
        k = int(rate * (n + 1))
        assert np.mean(alarms) == pytest.approx(k / (n + 1), abs=3 * error)


def test_the_bound_for_these_trusted_images_holds_nine_times_in_ten():
    rng, held = np.random.default_rng(0), []
    for _ in range(1000):
        calibration = rng.random(29)
        threshold = conformal_threshold(calibration, 0.1)
        (sentence,) = describe_guarantee(calibration, threshold)
        bound = float(re.search(r"with probability 0.9 at most ([\d.]+) %", sentence)[1]) / 100
        held.append(1 - threshold <= bound)  # how much of all good images lies above
    assert np.mean(held) == pytest.approx(0.9, abs=0.03)
    (sentence,) = describe_guarantee(np.arange(4), 3)  # a share s of 4 independent ones lies below with (1 - s)^4
    assert f"at most {100 * (1 - 0.1 ** (1 / 4)):.2g} %" in sentence
    assert describe_guarantee(calibration, threshold + 1e-9) == []  # another threshold promises nothing


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, True, "0.05", float("nan")])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match="a false alarm rate lies between 0 and 1"):
        ConformalThreshold(rate).check()


class TestDrift:
    def test_days_without_drift_are_warned_of_at_the_level(self):
        rng, warned, called = np.random.default_rng(0), [], []
        for _ in range(2000):
            calibration, day = rng.normal(size=39), rng.normal(size=30)
            drift = find_drift(day, calibration, conformal_threshold(calibration, 0.1))
            warned.append(drift.is_likely)
            called.append(drift.p_called < DRIFT_LEVEL)
        assert np.mean(warned) <= DRIFT_LEVEL + 0.007
        assert np.mean(called) <= DRIFT_LEVEL + 0.007

    def test_a_change_is_seen_and_a_day_with_more_defects_is_none(self):
        rng = np.random.default_rng(0)
        calibration = rng.normal(size=39)
        threshold = conformal_threshold(calibration, 0.05)
        darker = find_drift(rng.normal(size=40) - 1.5, calibration, threshold)
        assert darker.is_likely
        assert "Check whether light, camera or product have changed" in describe_drift(darker)[0]
        defects = find_drift(np.r_[rng.normal(size=30), np.full(15, 9.0)], calibration, threshold)
        assert not defects.is_likely
        assert describe_drift(defects)[0].startswith("18 of 45 images are flagged, more than false alarms explain")

    def test_a_day_that_is_called_altogether_is_told(self):
        drift = find_drift(np.full(8, 9.0), np.arange(9.0), 8.0)
        assert (drift.p_value, drift.n_called) == (1.0, 8)
        assert find_drift([9.0], np.arange(9.0), 8.0).p_called == pytest.approx(1 / 10)  # one among ten ranks
        assert "or all images have changed" in describe_drift(drift)[0]


class TestDetector:
    @pytest.fixture(scope="class")
    @staticmethod
    def photos():
        return [planted_textures("brick", n, 0, seed=seed, image_size=56) for seed, n in ((0, 8), (1, 9), (2, 5))]

    def test_the_line_is_drawn_from_the_scores_of_trusted_images(self, photos, tmp_path):
        batch, trusted, new = photos
        detector = MuSc(**SMALL, false_alarm_rate=0.1).fit(batch, trusted=trusted)
        expected = MuSc(**SMALL).fit(batch).score_images(trusted).image_scores
        np.testing.assert_allclose(detector.calibration_, np.sort(expected), atol=1e-6)
        assert detector.threshold_ == pytest.approx(expected.max(), abs=1e-6)
        assert detector.provenance()["threshold"].endswith("(false alarm rate 0.1)")
        assert detector.provenance()["trusted"] == "9 images outside of the batch"
        scores = detector.score_images(new)
        np.testing.assert_array_equal(scores.is_outlier, scores.p_values <= 0.1)
        assert list(scores.to_frame().columns) == ["image", "score", "rank", "outlier", "p_value", "label"]
        assert "at most 10 % of good images like the 9 calibration images" in " ".join(describe_scores(scores))
        detector.save(tmp_path / "line.musc")
        again = Detector.load(tmp_path / "line.musc").score_images(new)
        np.testing.assert_array_equal(again.p_values, scores.p_values)
        assert detector.scores_.p_values is None  # of the batch itself nothing is promised

    def test_a_method_whose_images_see_themselves_has_it_too(self, photos):
        parts = {"view": View(56), "layers": (5,), "scorer": SubspaceScorer(), "threshold": ConformalThreshold(0.1)}
        detector = Detector(**parts).fit(photos[0], trusted=photos[1])
        assert detector.threshold_ == detector.calibration_.max()

    def test_trusted_images_alone_give_p_values(self, photos):
        detector = MuSc(**SMALL).fit(photos[0], trusted=photos[1])
        assert detector.threshold_ == MuSc(**SMALL).fit(photos[0]).threshold_
        assert detector.score_images(photos[2]).p_values is not None

    def test_too_few_none_and_those_of_the_batch_are_refused(self, photos):
        batch, trusted, _ = photos
        rated = MuSc(**SMALL, false_alarm_rate=0.1)
        with pytest.raises(ValueError, match=r"needs at least 9 images .* not part of the batch: fit"):
            rated.fit(batch)
        twice = [*(trusted[i] for i in range(8)), trusted[0]]  # copies count once
        with pytest.raises(ValueError, match=r"needs at least 9 images .* got 8: give more, or ask"):
            rated.fit(batch, trusted=twice)
        with pytest.raises(ValueError, match="2 trusted images belong to the batch"):
            MuSc(**SMALL).fit(batch, trusted=[batch[0], batch[3], trusted[0]])
