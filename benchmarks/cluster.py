"""When a cluster pays: the same scoring in one process and on Dask workers with as many cores, taking turns.

    python benchmarks/cluster.py [--only-memory] [--memory 1GB]

One process with two threads against two workers of one thread each on this machine, for growing N (M = 256, C = 384,
one layer, r = 3). What the cluster loses at equal cores (reading features, aggregating blocks again for each task,
gathering minima) is what more machines must win back: k machines are about k times that share as fast. Start-up of the
cluster is printed apart. Every patch is compared everywhere; with `aligned`, of T tiles, the products shrink to 1/T and
what the cluster loses stays as it is, so that more machines win less.

The first line scores N = 512 on two worker processes under a memory limit (`--memory`): workers read blocks of the
features file. The peak of one process is that of this one, which also made the tokens and is the cluster's client.
"""

import argparse
import resource
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from distributed import Client, LocalCluster
from mutual_scoring import seconds

from musc_lite import Features, MutualScorer, aggregate
from musc_lite.data.view import ResolvedView
from musc_lite.scorers.base import ScoringContext
from musc_lite.scorers.cluster import mutual_scores_on_cluster

SIZES = (128, 256, 512)
OPTIONS = ({"references": 64}, {"search_window": 2}, {"n_components": 64})  # at the second size
ROUNDS = 3


def one_process(features, scorer):
    """Aggregate and score in this process."""
    return scorer.fit_score(aggregate(features.patch_tokens[:, 0], features.grid, 3), ScoringContext(features.grid))


def score_on_cluster(client, path, _, scorer):
    """Score from the features file; the features in this process are not used."""
    return mutual_scores_on_cluster(path, client, s=0, r=3, scorer=scorer)


def peak_bytes():
    """Return the most memory that this process has held."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def within_memory(limit, folder, n_images=512):
    """Score a batch on workers that may hold less than one process takes, and print what each took."""
    tokens = torch.randn(n_images, 1, 256, 384, generator=torch.Generator().manual_seed(0))
    features = Features(tokens, torch.ones(n_images, 4), ResolvedView((224, 224), 14), (5,))
    path = Path(folder, "large.safetensors")
    features.save(path)
    workers = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "memory_limit": limit}
    with LocalCluster(**workers, dashboard_address=None) as cluster, Client(cluster) as client:
        client.run(torch.set_num_threads, 1)
        start = time.perf_counter()
        found = mutual_scores_on_cluster(path, client, s=0, r=3, scorer=MutualScorer())
        took, peaks = time.perf_counter() - start, client.run(peak_bytes).values()
    alone = one_process(features, MutualScorer())
    print(
        f"\n{n_images} images, workers of {limit} each: {took:.0f} s, at most {max(peaks) / 1e6:.0f} MB in a worker; "
        f"one process {peak_bytes() / 1e6:.0f} MB; largest difference {(found - alone).abs().max().item():.0e}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--only-memory", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        within_memory(options.memory, folder)
    if options.only_memory:
        raise SystemExit
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.run(torch.set_num_threads, 1)
        print(f"cluster of two workers started in {time.perf_counter() - start:.1f} s\n")
        print("| N | search | one process (s) | cluster (s) | one process / cluster | largest difference |")
        print("|---|---|---|---|---|---|")
        runs = [(n_images, MutualScorer()) for n_images in SIZES]
        for n_images, scorer in [*runs, *((SIZES[1], MutualScorer(**options)) for options in OPTIONS)]:
            tokens = torch.randn(n_images, 1, 256, 384, generator=torch.Generator().manual_seed(0))
            features = Features(tokens, torch.ones(n_images, 4), ResolvedView((224, 224), 14), (5,))
            path = Path(folder, f"{n_images}.safetensors")
            features.save(path)

            alone, on_cluster = (
                partial(one_process, scorer=scorer),
                partial(score_on_cluster, client, path, scorer=scorer),
            )
            difference = (on_cluster(features) - alone(features)).abs().max().item()
            rounds = []
            for _ in range(ROUNDS):
                path.touch()  # a new file to the workers: what they keep of the old one does not count
                rounds.append((seconds(alone, features), seconds(on_cluster, features)))
            first, second = (statistics.median(column) for column in zip(*rounds, strict=True))
            share = statistics.median(a / b for a, b in rounds)
            search = scorer.provenance()["search"].split(",")[0]
            print(
                f"| {n_images} | {search} | {first:.2f} | {second:.2f} | {share:.2f} | {difference:.0e} |", flush=True
            )
