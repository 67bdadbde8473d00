"""Largest difference of each stage from what the published code returned: python benchmarks/golden.py."""

from pathlib import Path

import numpy as np

import musc_lite

GRID, DEGREES, LAYERS = (7, 7), (1, 3, 5), range(3)


def largest(found, expected) -> float:
    """Return the largest absolute difference."""
    return float(np.abs(np.asarray(found, dtype=float) - expected).max())


if __name__ == "__main__":
    with np.load(Path(__file__).parents[1] / "tests" / "data" / "golden.npz") as file:
        golden = dict(file)
    tokens = golden["tokens"]
    aggregated = {(r, s): musc_lite.aggregate(tokens[:, s], GRID, r) for r in DEGREES for s in LAYERS}
    for r, key in zip(DEGREES, ("aggregated_r1_first3", "aggregated_r3", "aggregated_r5_first3"), strict=True):
        expected = golden[key]
        difference = max(largest(aggregated[r, s][: len(expected)], expected[:, s]) for s in LAYERS)
        print(f"LNAMD, r = {r}: {difference:.1e}")
    for method in ("loop", "fast"):
        scores = {key: musc_lite.mutual_scores(value, method=method) for key, value in aggregated.items()}
        difference = max(largest(scores[r, s], golden[f"patch_scores_r{r}"][s]) for r in DEGREES for s in LAYERS)
        print(f"MSM, {method}: {difference:.1e}")
    patch_scores = np.mean([value.numpy() for value in scores.values()], axis=0)
    print(f"mean over layers and degrees: {largest(patch_scores, golden['patch_scores']):.1e}")
    maps = musc_lite.upsample_maps(patch_scores, GRID, 98)
    print(f"anomaly maps: {largest(maps[:3], golden['anomaly_maps_first3']):.1e}")
    print(f"image scores: {largest(musc_lite.image_scores_from_maps(maps), golden['image_scores']):.1e}")
    for windows in ((1, 2, 3), (1, 8, 9), (2,)):
        found = musc_lite.rescore(golden["rscin_scores"], golden["rscin_class_tokens"], windows)
        expected = golden[f"rscin_out_{'_'.join(map(str, windows))}"]
        print(f"RsCIN, windows {windows}: {largest(found, expected):.1e}")
    m = musc_lite.evaluate(golden["m_labels"], golden["m_image_scores"], golden["m_masks"], golden["m_maps"])
    print(f"image metrics: {largest([m.image_auroc, m.image_f1_max, m.image_ap], golden['m_image']):.1e}")
    print(f"pixel metrics: {largest([m.pixel_auroc, m.pixel_f1_max, m.pixel_ap], golden['m_pixel'][:3]):.1e}")
    print(f"AUPRO (reference: 200 thresholds): {abs(m.aupro - golden['m_pixel'][3]):.1e}")
