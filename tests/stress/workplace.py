"""A process that extracts features and fits detectors in children, which may be killed, crowded or short of disk.

It loads torch and the backbone once; each job is a fork, so that it starts in milliseconds and may end in any way.
Where Linux allows it, it has mounts of its own: small disks and read-only folders that nobody else sees.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

N_IMAGES, BATCH_SIZE, IMAGE_SIZE = 14, 4, 42  # the last batch is not full
NOBODY = 65_534


class Workplace:
    """The process, for use in a with statement; `can_mount` tells whether it has mounts of its own."""

    def __enter__(self) -> "Workplace":
        apart = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        self.can_mount = (
            bool(shutil.which("unshare")) and subprocess.run([*apart, "true"], capture_output=True).returncode == 0
        )
        command = [*(apart if self.can_mount else []), sys.executable, str(Path(__file__))]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}  # a fork has no other threads
        self.process = subprocess.Popen(command, **pipes, text=True, bufsize=1, env=environment)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the process that works ended before it was ready")
        return self

    def __exit__(self, *exception) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def do(self, job: str, *, copies: int = 1, kill: float | int | None = None, **options) -> list[dict]:
        """Do a job in as many children at once, and give what each came to.

        Parameters
        ----------
        job : str
            A function of this module, and its first argument: "fit CACHE", "save FILE", "mount FOLDER", ...
        kill : float or int, optional
            Kill the child after so many seconds, or when so many half files have been seen in its folder.
        **options
            Of `_child`.

        Returns
        -------
        list of dict
            "answer" of the job or "error" that it raised, "status" of the child (0, or minus a signal), "seconds".
        """
        request = {"job": job, "copies": copies, "kill": kill, "options": options}
        self.process.stdin.write(json.dumps(request) + "\n")
        return json.loads(self.process.stdout.readline())


# ---- jobs


def fit(cache: str) -> str:
    """Fit with this cache folder, or none; give a hash over features and scores."""
    from musc_lite import MuSc

    detector = MuSc(STATE["backbone"], image_size=IMAGE_SIZE, batch_size=BATCH_SIZE, cache_dir=cache or None)
    detector.fit(STATE["images"])
    features = detector.features_
    results = (features.patch_tokens, features.class_tokens, detector.anomaly_maps_, detector.image_scores_)
    return hashlib.sha256(b"".join(np.asarray(result).tobytes() for result in results)).hexdigest()


def fit_on_disk(cache: str) -> str:
    """Extract with tokens in a file beside the cache."""
    from musc_lite import extract_features

    options = {"image_size": IMAGE_SIZE, "batch_size": BATCH_SIZE, "cache_dir": cache, "storage": "disk"}
    return str(extract_features(STATE["images"], STATE["backbone"], **options).patch_tokens.sum().item())


def save_features(path: str) -> str:
    """Extract, and save the features."""
    from musc_lite import extract_features

    extract_features(STATE["images"], STATE["backbone"], image_size=IMAGE_SIZE).save(path)
    return "saved"


def save_detector(path: str) -> str:
    """Fit, and save the detector."""
    from musc_lite import MuSc

    MuSc(STATE["backbone"], image_size=IMAGE_SIZE).fit(STATE["images"]).save(path)
    return "saved"


def check(folder: str) -> tuple[int, int, int]:
    """Read all files of a cache: how many there are, how many are damaged, and how many half ones lie beside."""
    from musc_lite import DataNotFoundError
    from musc_lite.utils.files import read_tensors

    files, damaged = list(Path(folder).rglob("*.safetensors")), 0
    for file in files:
        try:
            read_tensors(file, "cached features")
        except DataNotFoundError:
            damaged += 1
    return len(files), damaged, len(list(Path(folder).rglob(".*")))


def fill(folder: str) -> str:
    """Fill a disk to the last byte."""
    with suppress(OSError), open(Path(folder) / "filler", "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return "full"


def fill_but_64k(folder: str) -> str:
    """Fill a disk but for 64 kB."""
    fill(folder)
    filler = Path(folder) / "filler"
    os.truncate(filler, filler.stat().st_size - 65_536)
    return "nearly full"


def list_files(folder: str) -> dict[str, str]:
    """Name all files but the filler, with a hash of each."""
    files = sorted(p for p in Path(folder).rglob("*") if p.is_file() and p.name != "filler")
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# ---- in the process


STATE: dict = {}


def _mount(folder: str, size: str | None = None, **other) -> None:
    """Mount a small disk on a folder, or change its size, or make the folder read-only."""
    if size:
        done = ["-o", f"remount,size={size}"] if os.path.ismount(folder) else ["-o", f"size={size}"]
        subprocess.run(["mount", "-t", "tmpfs", *done, "tmpfs", folder], check=True, capture_output=True)
    else:
        subprocess.run(["mount", "--bind", folder, folder], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True, capture_output=True)


def _child(job: str, answer_to: Path, largest_file: int | None = None, nobody: bool = False) -> None:
    """Do a job under limits; the last thing that happens in a child."""
    import resource

    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if nobody and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    name, _, argument = job.partition(" ")
    try:
        answer = {"answer": globals()[name](argument)}
    except BaseException as error:  # whatever comes out is what is looked for
        kinds = [kind.__name__ for kind in type(error).__mro__]
        answer = {"error": f"{type(error).__name__}: {error}", "is_ours": "MuScError" in kinds}
    os.write(answer_to, json.dumps(answer).encode())
    os._exit(0)


def _wait_for_half_files(child: int, folder: str, n: int) -> None:
    """Wait until so many files were seen in this folder and below while they were written, or the child has ended."""
    seen = set()
    while len(seen) < n and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        for inner in os.scandir(folder):
            seen |= {entry.name for entry in os.scandir(inner) if entry.name.startswith(".")}


def _run(job: str, copies: int, kill: float | int | None, options: dict) -> list[dict]:
    if job.startswith("mount "):
        _mount(job.removeprefix("mount "), **options)
        return []
    children = []
    for _ in range(copies):
        read, write = os.pipe()
        start = time.perf_counter()
        child = os.fork()
        if child == 0:
            _child(job, write, **options)
        os.close(write)
        children.append((child, read, start))
    if isinstance(kill, int):
        _wait_for_half_files(children[0][0], job.split(" ", 1)[1], kill)
    elif kill is not None:
        time.sleep(kill)
    if kill is not None:
        os.kill(children[0][0], signal.SIGKILL)
    answers = []
    for child, read, start in children:
        with os.fdopen(read, "rb") as pipe:
            data = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers.append({"status": status, "seconds": time.perf_counter() - start} | (json.loads(data) if data else {}))
    return answers


def _main(requests: Iterable[str]) -> None:
    import torch
    from tqdm import tqdm

    import musc_lite

    tqdm.monitor_interval = 0  # its thread holds a lock now and then: a child forked in that moment waits for ever
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    STATE["backbone"] = musc_lite.load_backbone("dinov2_vits14")
    pictures = np.random.default_rng(0).integers(0, 256, (N_IMAGES, 40, 40, 3), dtype=np.uint8)
    STATE["images"] = musc_lite.from_arrays(list(pictures))
    fit("")  # loads what loads late
    print("ready", flush=True)
    for request in requests:
        print(json.dumps(_run(**json.loads(request))), flush=True)


if __name__ == "__main__":
    _main(sys.stdin)
