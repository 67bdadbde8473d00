"""The command `benchmark`: the paper's tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from musc_lite.cli.common import Output, error_handler, examples, make_output_dir
from musc_lite.cli.method_options import Method, listed, takes_method
from musc_lite.data.datasets import CATALOG, look_up, presets


@examples(
    "musc-lite benchmark textures -o out/textures",
    "musc-lite benchmark mvtec --root data/mvtec --preset mvtec -o out/mvtec",
    "musc-lite benchmark magnetic-tile --root data/mtd --subsets 3 -o out/mtd-3",
)
@takes_method
def benchmark(
    dataset: Annotated[str, typer.Argument(help=f"{listed(CATALOG)}.")],
    output: Output,
    method: Method,
    root: Annotated[Path | None, typer.Option(help="Folder of the data set (not for textures).")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Only this category. Repeat for more.")] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"The paper's settings for {listed(presets())}; other options override them.")
    ] = None,
    subsets: Annotated[
        int, typer.Option(help="Split each category into this number of subsets, scored separately.", min=1)
    ] = 1,
    seed: Annotated[int, typer.Option(help="Random seed of the split.")] = 0,
) -> None:
    """Reproduce the paper's tables: score every category of a data set and print it beside the published values.

    Writes results.csv, results.md, results.png, results/ and scores/ to the output folder. Categories that are done
    are not done again: interrupted and started again, it goes on where it was. By default --precision is float32 here.
    """
    with error_handler():
        from musc_lite.benchmark import find_categories, run_benchmark, table

        if preset is not None and preset not in presets():
            raise ValueError(f"--preset must be one of {', '.join(presets())}, got {preset!r}")
        published = look_up(dataset).preset
        categories = category or find_categories(dataset, root)
        if preset is None and published:
            print(f"The published figures were made with --preset {dataset}: {_words(published)}.")
        method.check()
        chosen = {} if preset is None else presets()[preset]
        print(f"Settings: {_words({**chosen, **method.told}) or 'the defaults of dinov2_vits14'}.")
        make_output_dir(output)
        same_everywhere = {"precision": "float32"}  # the same tables on every machine
        detector = method.detector(preset={**same_everywhere, **chosen})
        results = []
        for result in run_benchmark(
            dataset, root, output, detector, categories=categories, n_subsets=subsets, seed=seed
        ):
            results.append(result)
            auroc = f"image AUROC {100 * result.metrics['image_auroc']:.1f}"
            print(
                f"{result.category}: {auroc}, {result.seconds:.0f} s ({len(results)} of {len(categories)})", flush=True
            )
        print(f"\n{table(dataset, results)}\n\nThe table and a picture of it are in {output}")


def _words(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())
