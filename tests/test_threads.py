"""Stages where another program wants the processor too: threads must not wait for each other."""

import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from musc_lite import MuSc, from_arrays
from musc_lite.utils.threads import map_on_cpu_threads, single_thread

CPU = torch.device("cpu")
ONE_CORE = """
import contextlib, os, time, warnings
import torch
import musc_lite
from musc_lite.stages.aggregation import aggregate_each, as_tokens

warnings.simplefilter("ignore")
torch.set_num_threads(2)
backbone = musc_lite.load_backbone("vit_tiny_patch16_224", "random")
tokens = torch.randn(40, 1, 256, 192, generator=torch.Generator().manual_seed(0))
images = musc_lite.from_arrays([image for image in torch.rand(4, 128, 128, 3).numpy()])
stages = {
    "extraction": lambda: musc_lite.extract_features(images, backbone, image_size=128, progress=False),
    "aggregation": lambda: aggregate_each(tokens[:, 0], (16, 16), 3, torch.device("cpu")),
    "checks": lambda: as_tokens(tokens[:, 0]),
    "mutual scoring": lambda: musc_lite.mutual_scores(tokens[:, 0, :144, :64]),
    "components": lambda: musc_lite.mutual_scores(tokens[:, 0, :100], n_components=8),
}

def seconds(stage, n_threads):
    torch.set_num_threads(n_threads)
    start = time.perf_counter()
    stage()
    return time.perf_counter() - start

for stage in stages.values():  # starts all threads, so that these stay on one core too
    seconds(stage, 2)
core = {min(os.sched_getaffinity(0))}
os.sched_setaffinity(0, core)
for thread in os.listdir("/proc/self/task"):
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.sched_setaffinity(int(thread), core)
for name, stage in stages.items():
    shared, alone = (min(seconds(stage, n) for _ in range(3)) for n in (2, 1))
    print(f"{name}: {shared / alone:.1f}")
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux puts a process on one core")
def test_two_threads_on_one_core_take_no_longer_than_one():
    """What a busy machine does, without its chance: threads that wait for each other there take 20 times as long."""
    environment = os.environ | {"GOMP_SPINCOUNT": "300000", "OMP_NUM_THREADS": "2"}  # as GNU's OpenMP does unasked
    done = subprocess.run([sys.executable, "-c", ONE_CORE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    ratios = {name: float(ratio) for name, ratio in (line.split(": ") for line in done.stdout.splitlines())}
    assert len(ratios) == 5
    assert max(ratios.values()) < 5, ratios


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_scores_do_not_depend_on_the_number_of_threads(backbone, three_threads):
    images = from_arrays(list(np.random.default_rng(0).random((7, 56, 56, 3))))
    settings = {"image_size": 56, "layers": [5, 8], "n_components": 16, "references": 5}
    three = MuSc(backbone, **settings).fit(images)
    torch.set_num_threads(1)
    one = MuSc(backbone, **settings, batch_size=3).fit(images)
    assert torch.equal(one.features_.patch_tokens, three.features_.patch_tokens)
    np.testing.assert_array_equal(one.patch_scores_, three.patch_scores_)
    np.testing.assert_array_equal(one.image_scores_, three.image_scores_)


def test_each_item_stays_in_a_thread_of_its_own(three_threads):
    def visit(item):
        inside = list(map_on_cpu_threads(lambda _: threading.get_ident(), range(5), CPU))  # works where it is called
        return item, torch.get_num_threads(), set(inside) == {threading.get_ident()}

    assert list(map_on_cpu_threads(visit, range(20), CPU)) == [(i, 1, True) for i in range(20)]
    assert torch.get_num_threads() == 3


def test_fewer_items_than_cores_share_them(three_threads):
    assert list(map_on_cpu_threads(lambda _: torch.get_num_threads(), range(1), CPU)) == [3]
    torch.set_num_threads(6)
    assert list(map_on_cpu_threads(lambda _: torch.get_num_threads(), range(3), CPU)) == [2, 2, 2]
    assert list(map_on_cpu_threads(lambda item: item, [], CPU)) == []


def test_what_a_thread_raises_is_raised_and_the_rest_left(three_threads):
    visited = []

    def visit(item):
        visited.append(item)
        time.sleep(1e-4)  # or all are visited before the first is asked for
        if item == 1:
            raise ValueError("item 1")

    with pytest.raises(ValueError, match="item 1"):
        list(map_on_cpu_threads(visit, range(10_000), CPU))
    assert len(visited) < 10_000
    assert torch.get_num_threads() == 3


def test_one_thread_for_a_while(three_threads):
    with single_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP says what it was told")
@pytest.mark.parametrize(
    ("imports", "asked", "policy"),
    [
        ("musc_lite, torch", {}, "PASSIVE"),
        ("musc_lite, torch", {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),  # whoever asks for it gets it
        ("musc_lite, torch", {"GOMP_SPINCOUNT": "5"}, None),
        ("torch, musc_lite", {}, None),  # too late: nothing is set that would reach other programs only
    ],
)
def test_pytorch_is_asked_to_wait_without_spinning(imports, asked, policy):
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    program = f"import {imports}, os; print(os.environ.get('OMP_WAIT_POLICY'))"
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE"} | asked
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == str(policy)
    heard = set(re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr))
    assert heard == {"0"} if policy == "PASSIVE" else heard != {"0"}
