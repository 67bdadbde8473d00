"""The command `demo`: planted defects in three textures, scored."""

import time
from pathlib import Path
from typing import Annotated

import typer

from musc_lite.cli.common import (
    START,
    Output,
    error_handler,
    print_table,
)


def demo(
    output: Output = Path("out/demo"),
    n_images: Annotated[int, typer.Option(help="Images per texture.", min=4)] = 40,
    seed: Annotated[int, typer.Option(help="Random seed of the images.", min=0)] = 0,
) -> None:
    """Find planted defects in three textures, print how well it went and write a report.

    The images are made from photographs inside scikit-image; the backbone is the real DINOv2 ViT-S/14.
    """
    with error_handler():
        from musc_lite.backbones.load import EMBEDDED, load_backbone
        from musc_lite.data.synthetic import PHOTOS, planted_textures
        from musc_lite.detector.musc import MuSc
        from musc_lite.reports.report import Result, write_report

        backbone = load_backbone(EMBEDDED)
        results = []
        for name in PHOTOS:
            images = planted_textures(name, n_images=n_images, n_defective=round(0.3 * n_images), seed=seed)
            detector = MuSc(backbone, cache_dir=output / "features").fit(images)
            results.append(Result(name, detector.scores_))
        report = write_report(output / "report.html", results, title="MuSc on planted-defect textures", max_images=24)
        print_table(results, [result.scores.seconds for result in results])
        print(f"{time.perf_counter() - START:.0f} s in all. Look at {report}")
