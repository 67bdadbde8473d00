"""How hard are the planted-defect textures? Image AUROC of the backbone and of raw pixels, over several seeds.

    python benchmarks/textures.py --seeds 5

Prints one Markdown table: the embedded DINOv2 ViT-S/14 with even blocks (r = 1, 3, 5) and with middle blocks
(r = 1, 3), before and after re-scoring, against raw 14 x 14 RGB patches through the same mutual scoring, as they are
and normalized as the backbone's tokens are (r = 1).
"""

import argparse

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

import musc_lite
from musc_lite.data.synthetic import PHOTOS

IMAGE_SIZE, PATCH = 224, 14
SETTINGS = {"even, r = 1, 3, 5": ("even", (1, 3, 5)), "middle, r = 1, 3": ("middle", (1, 3))}


def raw_patches(images: musc_lite.ImageSet) -> Tensor:
    """Cut images into 14 x 14 RGB patches: (N, M, 588) in 0..1."""
    pixels = np.stack([np.asarray(image.resize((IMAGE_SIZE, IMAGE_SIZE))) for image in images]) / np.float32(255)
    n, h = len(pixels), IMAGE_SIZE // PATCH
    return torch.from_numpy(pixels.reshape(n, h, PATCH, h, PATCH, 3).swapaxes(2, 3).reshape(n, h * h, -1))


def image_auroc(images: musc_lite.ImageSet, image_scores: Tensor) -> float:
    """Compare image scores with the labels."""
    return musc_lite.evaluate(labels=images.labels, image_scores=image_scores).image_auroc


def one_set(name: str, seed: int, backbone: musc_lite.Backbone) -> dict[str, float]:
    """Score one set of 40 images in every way."""
    images = musc_lite.planted_textures(name, image_size=IMAGE_SIZE, seed=seed)
    grid = backbone.grid(IMAGE_SIZE)
    found = {}
    pixels = raw_patches(images)
    for title, tokens in {"raw pixels": pixels, "raw, normalized": musc_lite.aggregate(pixels, grid, r=1)}.items():
        maps = musc_lite.upsample_maps(musc_lite.mutual_scores(tokens), grid, IMAGE_SIZE)
        found[title] = image_auroc(images, musc_lite.image_scores_from_maps(maps))
    for title, (layers, degrees) in SETTINGS.items():
        detector = musc_lite.MuSc(backbone, layers=layers, r=degrees).fit(images)
        found[title] = image_auroc(images, detector.map_scores_)
        found[f"{title}, re-scored"] = image_auroc(images, detector.image_scores_)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    n_seeds = parser.parse_args().seeds
    backbone = musc_lite.load_backbone("dinov2_vits14")
    jobs = tqdm([(name, seed) for name in PHOTOS for seed in range(n_seeds)], unit="set")
    results = {job: one_set(*job, backbone) for job in jobs}
    titles = list(next(iter(results.values())))
    print(f"Image AUROC, mean (lowest to highest) over seeds 0 to {n_seeds - 1}\n")
    print(f"| texture | {' | '.join(titles)} |\n|---{'|---' * len(titles)}|")
    for name in PHOTOS:
        values = np.array([[results[name, seed][title] for title in titles] for seed in range(n_seeds)])
        cells = [f"{v.mean():.3f} ({v.min():.3f} to {v.max():.3f})" for v in values.T]
        print(f"| {name} | {' | '.join(cells)} |")
