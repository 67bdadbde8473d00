"""How long the stages take while other programs want the processor too.

    python benchmarks/busy.py                  # beside as many busy processes as there are cores
    python benchmarks/busy.py --before FOLDER  # and the same with the code of another checkout

Each variant runs the stages in a process of its own, alone and beside busy ones: features of 40 images of 224 pixels,
aggregation of all layers and r, mutual scoring of all layers and r, and one search among principal components (DINOv2
ViT-S/14). Medians over the rounds, variants taking turns. Beside one busy process per core a program gets half of the
processor, so 2 is the best ratio there is. "spins" is what GNU's OpenMP does where PyTorch was imported first;
"passive" is what `import musc_lite` asks of it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

WAYS = {"spins": {"GOMP_SPINCOUNT": "300000"}, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}}


def run_stages(n_images):
    """Time each stage in this process, whenever a line comes in."""
    import numpy as np

    import musc_lite

    images = musc_lite.from_arrays(list(np.random.default_rng(0).random((n_images, 224, 224, 3))))
    backbone = musc_lite.load_backbone("dinov2_vits14")
    detector = musc_lite.MuSc(backbone).fit(images)

    def run():
        seconds, start = {}, time.perf_counter()

        def done(stage):
            nonlocal start
            now = time.perf_counter()
            seconds[stage] = seconds.get(stage, 0) + now - start
            start = now

        musc_lite.extract_features(images, backbone, progress=False)
        done("features")
        for s in range(len(detector.features_.layers)):
            for r in backbone.default_r:
                tokens = detector.aggregated_tokens(s, r)
                done("aggregation")
                musc_lite.mutual_scores(tokens)
                done("mutual scoring")
        musc_lite.mutual_scores(tokens, n_components=64)
        done("64 components, once")
        return seconds | {"all": sum(seconds.values())}

    run()  # the first time sets things up
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(run()), flush=True)


@contextmanager
def busy_processes(n):
    """Keep so many processes busy; they end with this one, however it ends."""
    program = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def start_worker(folder, settings, n_images):
    """Start a process with the code of a checkout, and wait until it is set up."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment |= {"PYTHONPATH": str(folder)} | settings
    command = [sys.executable, __file__, "--run-stages", "--n-images", str(n_images)]
    worker = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    worker.stdout.readline()
    return worker


def ask(worker):
    """Let a worker run all stages once: seconds of each."""
    print(file=worker.stdin, flush=True)
    return json.loads(worker.stdout.readline())


def main():
    """Run all variants and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--n-busy", type=int, default=os.cpu_count())
    parser.add_argument("--n-images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run-stages", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run_stages:
        return run_stages(arguments.n_images)
    checkouts = {"before": arguments.before} if arguments.before else {}
    checkouts["now"] = Path(__file__).parents[1]
    workers = {
        f"{checkout}, {way}": start_worker(folder, settings, arguments.n_images)
        for checkout, folder in checkouts.items()
        for way, settings in WAYS.items()
    }
    times = {}
    for _ in range(arguments.rounds):
        for n_busy in (0, arguments.n_busy):
            with busy_processes(n_busy):
                for variant, worker in workers.items():
                    for stage, value in ask(worker).items():
                        times.setdefault((variant, stage), {}).setdefault(n_busy > 0, []).append(value)
    for worker in workers.values():
        worker.stdin.close()  # ends it
        worker.wait()
    print(f"| | stage | alone (s) | beside {arguments.n_busy} busy processes (s) | ratio |\n|---|---|---|---|---|")
    for (variant, stage), found in times.items():
        alone, beside = (statistics.median(found[busy]) for busy in (False, True))
        print(f"| {variant} | {stage} | {alone:.2f} | {beside:.2f} | {beside / alone:.1f} |")


if __name__ == "__main__":
    main()
