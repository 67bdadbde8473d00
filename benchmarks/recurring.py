"""Does a defect that many images share stand out: mutual scoring beside `RecurringScorer`.

    python benchmarks/recurring.py [--seeds 0 1 2]

One coin, 46 pixels wide at 224, lies at random places in 1, 4, 8 and 12 of 24 images of a texture. Blocks 5 and 7,
r = 1 and 3. Printed: the mean score of the patches on coins as a multiple of that of the images without one; image
AUROC of images with a coin, by the largest patch score; and that of a batch of `planted_textures` without any coin.
"""

import argparse

import numpy as np
import skimage.data
import torch
from PIL import Image, ImageDraw

import musc_lite

N_IMAGES, COUNTS, LAYERS, R = 24, (1, 4, 8, 12), (5, 7), (1, 3)
SCORERS = {"mutual": musc_lite.MutualScorer(), "recurring": musc_lite.RecurringScorer()}


def with_coins(clean: list[Image.Image], seed: int) -> tuple[musc_lite.ImageSet, torch.Tensor]:
    """Lay the coin on each image, and say which patches of 14 pixels it covers by half: (N, M)."""
    coin = Image.fromarray(skimage.data.coins()).crop((190, 169, 236, 215)).convert("RGB")
    disk, rng = Image.new("L", coin.size), np.random.default_rng(seed)
    ImageDraw.Draw(disk).ellipse((0, 0, 45, 45), fill=255)
    pictures, covered = [], []
    for image in clean:
        x, y = (int(place) for place in rng.integers(0, 224 - 46, 2))
        picture, mask = image.copy(), Image.new("L", image.size)
        picture.paste(coin, (x, y), disk)
        mask.paste(disk, (x, y))
        pictures.append(np.asarray(picture))
        covered.append(np.asarray(mask))
    share = musc_lite.patch_shares(np.stack(covered) > 0, (16, 16))
    return musc_lite.from_arrays(pictures), torch.from_numpy(share > 0.5)


def tokens_of(images: musc_lite.ImageSet, backbone: musc_lite.Backbone) -> list[torch.Tensor]:
    """Extract and aggregate: (N, M, C) for each block and r."""
    features = musc_lite.extract_features(images, backbone, layers=LAYERS, progress=False)
    layers = features.patch_tokens.unbind(dim=1)
    return [musc_lite.aggregate(tokens, features.grid, r) for tokens in layers for r in R]


def score(scorer: musc_lite.PatchScorer, tokens: list[torch.Tensor]) -> torch.Tensor:
    """Return the mean over blocks and r: (N, M)."""
    return torch.stack([scorer.fit_score(each) for each in tokens]).mean(dim=0)


def auroc(labels: np.ndarray, scores: torch.Tensor) -> float:
    """Return the image AUROC of the largest patch score."""
    return musc_lite.evaluate(labels, scores.amax(dim=1).numpy()).image_auroc


def main() -> None:
    """Print a table a texture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds, backbone = parser.parse_args().seeds, musc_lite.load_backbone("dinov2_vits14")
    titles = [f"coin in {k}" for k in COUNTS]
    print(f"Ratio / image AUROC, mean over {len(seeds)} seeds\n\n| texture | scorer | {' | '.join(titles)} | clean |")
    print(f"|---|---|{'---|' * (len(COUNTS) + 1)}")
    for texture in ("brick", "grass", "gravel"):
        found: dict[str, list] = {name: [] for name in SCORERS}
        for seed in seeds:
            clean = musc_lite.planted_textures(texture, N_IMAGES, 0, seed=seed)
            coins, on_coin = with_coins(list(clean), seed)
            defective = musc_lite.planted_textures(texture, 40, 12, seed=seed)
            base, covered, planted = (tokens_of(images, backbone) for images in (clean, coins, defective))
            for name, scorer in SCORERS.items():
                row = []
                for k in COUNTS:
                    mixed = [torch.cat([there[:k], rest[k:]]) for there, rest in zip(covered, base, strict=True)]
                    scores = score(scorer, mixed)
                    ratio = float(scores[:k][on_coin[:k]].mean() / scores[k:].mean())
                    row += [ratio, auroc(np.arange(N_IMAGES) < k, scores)]
                found[name].append([*row, auroc(defective.labels, score(scorer, planted))])
        for name, rows in found.items():
            means = np.mean(rows, axis=0)
            pairs = [f"{ratio:.2f} / {value:.3f}" for ratio, value in means[:-1].reshape(-1, 2)]
            print(f"| {texture} | {name} | {' | '.join(pairs)} | {means[-1]:.3f} |", flush=True)


if __name__ == "__main__":
    main()
