"""The GPU's kernel: its arithmetic through Triton's interpreter on any machine, itself where there is a GPU."""

import os
import subprocess
import sys

import pytest
import torch

import musc_lite
from musc_lite.neighbors.brute_force import min_distances_to_references, pairwise_min_distances, uses_triton

triton = pytest.importorskip("triton", reason="Triton is not installed")
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

SHAPES = [(3, (4, 5), 7), (2, (10, 15), 70), (2, (3, 3), 64), (3, (12, 11), 1)]  # N, grid, C; tiles are 128 by 128


def random_tokens(n_images, grid, n_channels, length=1.0):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(n_images, grid[0] * grid[1], n_channels, generator=generator)
    return length * torch.nn.functional.normalize(tokens, dim=-1)


def assert_close(found, expected, length=1.0):
    """To 2e-3 where distances are above 0.1, to 2e-2 below: half precision loses digits near zero."""
    error = (found.cpu() - expected).abs() / length
    assert (error <= torch.where(expected > 0.1 * length, 2e-3, 2e-2)).all()


def compare_all(device):
    """Compare both ways of `gpu` with those of a CPU; run in a process of its own for the interpreter."""
    from musc_lite.neighbors import gpu

    for n_images, grid, n_channels in SHAPES:
        for length in (1.0, 1e5):
            tokens = random_tokens(n_images, grid, n_channels, length)
            different = ~torch.eye(n_images, dtype=torch.bool)
            progress = []
            found = gpu.pairwise_min_distances(tokens.to(device), progress.append)
            assert_close(found.cpu()[different], pairwise_min_distances(tokens)[different], length)
            assert sum(progress) == n_images * (n_images - 1) // 2
            for window in (None, 0, 2):
                found = gpu.min_distances_to_references(tokens.to(device), tokens[1:].to(device), window, grid)
                expected = [None] * len(tokens)
                min_distances_to_references(tokens, tokens[1:], expected.__setitem__, window, grid)
                assert_close(torch.stack(list(found)), torch.stack(list(expected)), length)


def test_the_kernel_gives_the_same_distances_in_the_interpreter():
    command = "import test_gpu; test_gpu.compare_all('cpu')"
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("capability", "instruction"), [(80, "mma.sync"), (90, "wgmma.mma_async")])
def test_the_kernel_compiles_to_tensor_core_instructions(capability, instruction):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from musc_lite.neighbors import gpu

    if "nvidia" not in triton.backends.backends:
        pytest.skip("this Triton has no compiler for NVIDIA GPUs")
    types = ["*fp16"] * 2 + ["*fp32"] * 2 + ["*i64"] * 2 + ["*fp32"] * 2 + ["i32"] * 4
    names = gpu._nearest_kernel.arg_names
    constants = {"BOTH": True, "WINDOW": -1, "BLOCK_M": gpu.BLOCK_M, "BLOCK_N": gpu.BLOCK_N, "BLOCK_K": gpu.BLOCK_K}
    signature = dict(zip(names, types + ["constexpr"] * 5, strict=True))
    aligned = {(argument,): [["tt.divisibility", 16]] for argument in (*range(8), 9)}
    compiled = compile(
        ASTSource(gpu._nearest_kernel, signature, constexprs=constants, attrs=aligned),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": 8, "num_stages": 3},
    )
    assert instruction in compiled.asm["ptx"]
    assert compiled.metadata.shared <= 160 * 1024  # what a multiprocessor has


@on_cuda
def test_the_kernel_gives_the_same_distances_on_a_gpu():
    if not uses_triton(torch.device("cuda")):
        pytest.skip("this GPU is older than the kernel supports")
    compare_all("cuda")


@on_cuda
@pytest.mark.parametrize(
    "options",
    [{}, {"references": 3}, {"n_components": 16}, {"search_window": 1}, {"max_memory": "500MB"}, {"method": "loop"}],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_scores_on_a_gpu_are_those_of_the_cpu(options, dtype):
    tokens = random_tokens(7, (9, 9), 48).to(dtype)
    found = musc_lite.mutual_scores(tokens.cuda(), **options)
    assert found.is_cuda
    assert_close(found.float(), musc_lite.mutual_scores(tokens.float(), **options))


@on_cuda
def test_an_older_gpu_takes_the_plain_way(monkeypatch):
    tokens = random_tokens(5, (8, 8), 32)
    monkeypatch.setattr("musc_lite.neighbors.brute_force.uses_triton", lambda device: False)
    assert_close(musc_lite.mutual_scores(tokens.cuda()), musc_lite.mutual_scores(tokens))


@on_cuda
def test_a_detector_scores_on_its_gpu():
    images = musc_lite.planted_textures("gravel", n_images=8, n_defective=2, image_size=112)
    on_cpu = musc_lite.MuSc(image_size=112, device="cpu").fit(images)
    detector = musc_lite.MuSc(image_size=112, device="cuda").fit(images)
    assert abs(detector.image_scores_ - on_cpu.image_scores_).max() <= 2e-2  # tokens are made in half precision too
    detector.score_images(musc_lite.planted_textures("gravel", n_images=2, n_defective=1, image_size=112, seed=1))


@on_cuda
def test_tokens_that_do_not_fit_are_scored_on_the_cpu(monkeypatch):
    images = musc_lite.planted_textures("gravel", n_images=4, n_defective=1, image_size=112)
    monkeypatch.setattr("musc_lite.detector.planning.free_memory", lambda device: 10**6)
    with pytest.warns(UserWarning, match="too little free memory"):
        musc_lite.MuSc(image_size=112, device="cuda").fit(images)
