import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score

from musc_lite.results.metrics import f1_max
from musc_lite.results.summary import describe_ranking
from musc_lite.stages.thresholds import (
    ConfusionCounts,
    Decision,
    best_f1_threshold,
    choose_threshold,
    clearest_gap,
    count_outliers,
)

scores_and_labels = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        arrays(np.float32, n, elements=st.floats(0, 1, width=32)), arrays(int, n, elements=st.integers(0, 1))
    )
)


def test_contamination_is_a_share():
    assert choose_threshold(np.arange(10.0), 0.2) == pytest.approx(7.2)
    for wrong in (0, 0.9, None, "some"):
        with pytest.raises(ValueError, match="contamination must be"):
            choose_threshold(np.arange(10.0), wrong)


@given(scores_and_labels)
def test_the_best_f1_is_what_the_metric_says(drawn):
    scores, labels = drawn
    if len(np.unique(labels)) < 2:
        with pytest.raises(ValueError, match="both kinds"):
            best_f1_threshold(labels, scores)
        return
    calls = ConfusionCounts.at(best_f1_threshold(labels, scores), labels, scores)
    assert calls.f1 == pytest.approx(f1_max(labels, scores))
    called = scores > calls.threshold
    assert calls.f1 == pytest.approx(f1_score(labels, called))
    assert calls.found + calls.false_alarms == called.sum()


@pytest.mark.parametrize("n_defective", [0, 3, 12, 30])
def test_the_unit_and_the_origin_of_the_scores_do_not_matter(n_defective):
    for seed in range(5):
        scores = two_groups(60 - n_defective, n_defective, 4, seed)
        for scale, shift in ((1e-3, 0), (50, -3), (1, 100)):
            assert count_outliers(scale * scores + shift) == count_outliers(scores)


def two_groups(n_normal, n_defective, distance, seed=0):
    draw = np.random.default_rng(seed).normal
    return np.r_[draw(size=n_normal), draw(distance, 2, n_defective)]


def test_the_spread_is_that_of_the_lower_half():
    scores = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    assert count_outliers(scores) == 1
    limit = 3 + 3 * 1.4826 * np.median([2.0, 1.0, 0.0])
    assert count_outliers([1.0, 2.0, 3.0, limit - 1e-6, limit - 1e-6]) == 0
    assert count_outliers([1.0, 2.0, 3.0, limit - 1e-6, limit + 1e-6]) == 1


def test_half_of_the_batch_may_be_defective():
    """The median and its deviation, which drew the line before, saw 0 to 3 of 30 here."""
    for seed in range(5):
        n_called = count_outliers(two_groups(30, 30, 8, seed))
        assert 25 <= n_called <= 33


def test_one_group_of_scores_has_few_outliers():
    called = [count_outliers(np.random.default_rng(seed).normal(size=60)) for seed in range(20)]
    assert np.mean(called) < 3  # of 60


@given(arrays(np.float32, st.integers(2, 40), elements=st.floats(0, 1, width=32)))
def test_as_many_lie_above_the_threshold_as_were_counted(scores):
    n_called = count_outliers(scores)
    assert 0 <= n_called < len(scores)
    above = (scores > choose_threshold(scores)).sum()
    ranked = np.sort(scores)[::-1]
    if n_called == 0 or ranked[n_called - 1] > ranked[n_called]:
        assert above == n_called
    else:
        assert above < n_called  # equal scores are not torn apart


def test_equal_scores_are_all_below_the_threshold():
    assert not (np.ones(30) > choose_threshold(np.ones(30))).any()


def test_the_number_comes_from_before_re_scoring_and_the_images_from_after():
    before, after = np.array([0.1, 0.9, 0.2, 0.12, 0.15]), np.array([0.0, 0.4, 0.3, 0.1, 1.0])
    threshold = choose_threshold(after, "auto", before)
    np.testing.assert_array_equal(after > threshold, [False, False, False, False, True])


def test_the_clearest_gap():
    gap = clearest_gap([0.0, 0.1, 0.15, 0.2, 0.8, 0.9])
    assert (gap.n_above, gap.high, gap.low, gap.next) == (2, 0.8, 0.2, 0.05)
    assert clearest_gap([3.0, 1.0]).n_above == 1
    assert clearest_gap([0.0, 0.9, 1.0, 1.1, 1.2, 1.4]).n_above == 1  # a step among the lower half is none of defects


def test_a_gap_below_defects_that_vary_is_seen():
    """Ranks 8 and 9 drop from 0.561 to 0.356; "the scores fall evenly" was said, for the steps among the defects."""
    scores = np.r_[[0.93, 0.86, 0.74, 0.73, 0.62, 0.6, 0.58, 0.561], np.linspace(0.356, 0.1, 32)]
    text = " ".join(describe_ranking(scores, 0.45, [str(i) for i in range(40)]))
    assert "The scores have a gap below rank 8, from 0.561 to 0.356; the largest step after it is 0.009." in text


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (np.linspace(0, 1, 30), "the clearest one lies below rank "),
        (np.r_[np.linspace(0.9, 0.6, 8), np.linspace(0.56, 0.1, 32)], "the clearest one lies below rank "),
        (np.full(12, 0.5), "their upper half is equal"),
        (0.5 + 1e-6 * np.arange(12.0), "their upper half is equal"),  # as they are shown
        (np.r_[0.503, np.full(11, 0.5)], "the clearest one lies below rank 1, from 0.503 to 0.500"),
    ],
)
def test_without_a_gap_none_is_claimed(scores, said):
    text = " ".join(describe_ranking(scores, 2.0, [str(i) for i in range(len(scores))]))
    assert "that separates defects" in text
    assert said in text


def test_scores_of_one_kind_seldom_have_a_gap():
    found = [clearest_gap(np.random.default_rng(seed).normal(0.5, 0.1, 60)).is_clear for seed in range(300)]
    assert np.mean(found) < 0.15


def test_no_image_above_the_threshold_is_no_all_clear():
    text = " ".join(describe_ranking(np.linspace(0, 1, 30), 2.0, [f"{i}.jpg" for i in range(30)]))
    assert "No image is flagged as anomalous (threshold 2.000)." in text
    assert "does not prove that all images are good" in text
    assert "Check the highest scores first: 29.jpg (1.000), 28.jpg (0.966), 27.jpg (0.931)" in text


def test_a_threshold_at_the_top_score_is_none():
    """Where no group of scores is apart, the threshold is the highest score: no decision was made."""
    scores = np.r_[np.linspace(0, 0.2, 28), 0.966, 1.0]
    threshold = choose_threshold(scores, "auto", map_scores=np.linspace(0, 1, 30))
    assert threshold == scores.max()
    names = [f"{i}.jpg" for i in range(30)]
    automatic, by_hand = Decision(threshold, "contamination 'auto'", 30), Decision(threshold)
    text = describe_ranking(scores, threshold, names, decision=automatic)[0]
    assert text.startswith("No image is flagged: the scores do not separate any images")
    assert "29.jpg (1.000), 28.jpg (0.966)" in text
    assert describe_ranking(scores, threshold, names, decision=by_hand)[0].startswith(
        "No image is flagged as anomalous (threshold"
    )


@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        (0.95, "No image is flagged as anomalous (threshold 0.950)."),
        (0.85, "1 of 12 images is flagged as anomalous (threshold 0.850): 11. Images below it may still contain"),
        (0.75, "2 of 12 images are flagged as anomalous (threshold 0.750): 11, 10. Images below"),
        (
            -1,
            "All 12 images are flagged as anomalous (threshold -1.000): 11, 10, 9, 8, 7 and 7 more. All scores lie",
        ),
    ],
)
def test_the_number_of_flagged_images_and_its_verb(threshold, said):
    scores = np.r_[np.linspace(0, 0.5, 10), 0.8, 0.9]
    text = describe_ranking(scores, threshold, [str(i) for i in range(12)], decision=Decision(threshold))[0]
    assert text.startswith(said)
    assert describe_ranking([0.5], 0.1, ["a"])[0].startswith(
        "The image is flagged as anomalous (threshold 0.100): a. All scores lie above"
    )


def test_labels_tell_what_the_best_threshold_would_have_called():
    scores = np.r_[np.linspace(0, 0.4, 12), np.linspace(0.5, 1, 8)]
    labels = np.r_[np.zeros(12, int), np.ones(8, int)]
    text = " ".join(describe_ranking(scores, 0.9, [str(i) for i in range(20)], labels))
    assert "2 of 20 images are flagged as anomalous (threshold 0.900): 19, 18." in text
    assert "the threshold 0.900 flags 2 of 8 defective and 0 of 12 normal images" in text
    assert "the best F1 is at 0.450: 8 of 8 defective and 0 of 12 normal images (F1 1.00)" in text
