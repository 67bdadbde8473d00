import os
import signal
import time

import pytest
import torch

from musc_lite import DataNotFoundError, Features, MutualScorer, SubspaceScorer, aggregate, mutual_scores
from musc_lite.data.view import ResolvedView
from musc_lite.scorers.base import ScoringContext

distributed = pytest.importorskip("distributed", reason="needs Dask, of the extra 'cluster'")

SCORER = MutualScorer((0.1, 0.4))


@pytest.fixture(scope="module")
def client():
    """Two workers, each a process of its own with one thread."""
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    tokens = torch.randn(23, 2, 49, 16, generator=torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("cluster") / "features.safetensors"
    Features(tokens, torch.ones(23, 4), ResolvedView((98, 98), 14), (3, 5)).save(path)
    tokens = aggregate(tokens[:, 1], (7, 7), 3)
    return path, tokens, SCORER.fit_score(tokens)


@pytest.mark.parametrize("block", [1, 5, 100])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"references": 7},
        {"references": [22, 3, 4, 9]},
        {"search_window": 2},
        {"n_components": 5},
        {"references": 6, "search_window": 1, "n_components": 9},
    ],
    ids=str,
)
def test_cluster_gives_the_scores_of_one_process(client, saved, options, block):
    from musc_lite.scorers.cluster import mutual_scores_on_cluster

    path, tokens, _ = saved
    scorer = MutualScorer((0.1, 0.4), **options)
    scores = mutual_scores_on_cluster(path, client, s=1, r=3, scorer=scorer, block=block)
    torch.testing.assert_close(scores, scorer.fit_score(tokens, ScoringContext((7, 7))), atol=1e-5, rtol=0)


def test_axes_are_those_of_the_references(saved):
    from musc_lite.scorers.cluster import mutual_scores_on_cluster

    path, tokens, _ = saved
    some = MutualScorer(references=[0, 1, 2], n_components=3)
    found = mutual_scores_on_cluster(path, AtOnce(), s=1, r=3, scorer=some)
    torch.testing.assert_close(found, some.fit_score(tokens), atol=1e-5, rtol=0)


def test_a_new_file_of_the_same_name_is_read_again(saved, tmp_path):
    from musc_lite.scorers.cluster import mutual_scores_on_cluster

    def scores_of(seed):
        tokens = torch.randn(5, 1, 4, 8, generator=torch.Generator().manual_seed(seed))
        Features(tokens, torch.ones(5, 4), ResolvedView((28, 28), 14), (3,)).save(tmp_path / "features.safetensors")
        return mutual_scores_on_cluster(tmp_path / "features.safetensors", AtOnce(), s=0, r=1)

    first, second, again = (scores_of(seed) for seed in (0, 1, 0))
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    ("scorer", "error", "words"),
    [
        (SubspaceScorer(), TypeError, "a cluster runs MutualScorer only, got SubspaceScorer"),
        (MutualScorer(references=50), ValueError, "references must be 2 to 23 of the 23 images"),
        (MutualScorer(n_components=17), ValueError, "between 1 and the 16 channels"),
        (MutualScorer(search_window=-1), ValueError, "search_window must be a whole number"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_does_not_fit_is_said_before_any_work(saved, scorer, error, words):
    from musc_lite.scorers.cluster import mutual_scores_on_cluster

    with pytest.raises(error, match=words):
        mutual_scores_on_cluster(saved[0], None, s=1, r=3, scorer=scorer)


@pytest.fixture(scope="module")
def tiled(tmp_path_factory):
    """Features of 2 x 3 tiles on a grid of 3 x 9 patches, which two rows of tiles cannot share evenly."""
    resolved_view = ResolvedView((28, 42), 14, tiles=(2, 3), overlap=(1, 0))
    tokens = torch.randn(11, 2, 27, 16, generator=torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("tiled") / "features.safetensors"
    Features(tokens, torch.ones(11, 4), resolved_view, (3, 5)).save(path)
    return (
        path,
        aggregate(tokens[:, 1], resolved_view.grid, 3),
        ScoringContext(resolved_view.grid, tiles=resolved_view.tiles),
    )


@pytest.mark.parametrize("block", [1, 4, 100])
def test_aligned_tiles_have_the_scores_of_one_process(client, tiled, block):
    from musc_lite.scorers.cluster import mutual_scores_on_cluster

    path, tokens, context = tiled
    aligned, everywhere = (
        mutual_scores_on_cluster(path, client, s=1, r=3, scorer=MutualScorer(aligned=each), block=block)
        for each in (True, False)
    )
    expected = MutualScorer(aligned=True).fit_score(tokens, context)
    torch.testing.assert_close(aligned, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(everywhere, mutual_scores(tokens), atol=1e-5, rtol=0)
    assert (aligned - everywhere).max() > 0.01


def test_features_of_one_tile_are_aligned_as_they_are(saved):
    from musc_lite.scorers.cluster import mutual_scores_on_cluster

    path, _, expected = saved
    scores = mutual_scores_on_cluster(path, AtOnce(), s=1, r=3, scorer=MutualScorer((0.1, 0.4), aligned=True))
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("aligned", [False, True])
def test_a_worker_keeps_the_blocks_that_it_has_read(tiled, aligned):
    from musc_lite.scorers import cluster

    cluster._tokens.cache_clear()
    cluster.mutual_scores_on_cluster(tiled[0], AtOnce(), s=1, r=3, scorer=MutualScorer(aligned=aligned), block=4)
    assert cluster._tokens.cache_info().misses == 4  # of 9: three blocks, six comparisons of one or two


class AtOnce:
    """A client that does everything in this process, when it is submitted."""

    def submit(self, function, *arguments):
        return function(*arguments)

    def gather(self, results):
        return results


def test_a_worker_that_dies_midway_costs_time_only(client, saved, monkeypatch):
    from musc_lite.scorers import cluster

    compare, path = cluster._compare, saved[0]

    def slowly(*arguments):
        time.sleep(0.05)
        return compare(*arguments)

    monkeypatch.setattr(cluster, "_compare", slowly)
    (address, process), submit, killed = next(iter(client.run(os.getpid).items())), client.submit, []

    def submit_and_kill(function, *arguments):
        future = submit(function, *arguments)
        if function is cluster._score and not killed:  # all comparisons are submitted, some are done
            wait_until_some_are_done(client)
            os.kill(process, signal.SIGKILL)
            killed.append(address)
        return future

    monkeypatch.setattr(client, "submit", submit_and_kill)
    scores = cluster.mutual_scores_on_cluster(path, client, s=1, r=3, scorer=SCORER, block=3)
    assert killed == [address]
    assert address not in client.scheduler_info()["workers"]
    torch.testing.assert_close(scores, saved[2], atol=1e-5, rtol=0)


def wait_until_some_are_done(client):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if sum(len(keys) for keys in client.has_what().values()) >= 4:
            return
        time.sleep(0.05)
    raise TimeoutError("no comparison was done within a minute")


def test_a_file_that_is_no_features_file_is_refused(client, tmp_path):
    from musc_lite.scorers.cluster import mutual_scores_on_cluster

    with pytest.raises(DataNotFoundError, match="not a complete features file"):
        mutual_scores_on_cluster(tmp_path / "none", client, s=0, r=1)
