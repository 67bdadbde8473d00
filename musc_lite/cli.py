"""The command line: musc-lite demo | score FOLDER | benchmark DATASET | weights."""

import csv
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated
from zipfile import BadZipFile

import typer

from musc_lite.data.catalog import CATALOG, look_up, presets
from musc_lite.support.errors import MuScError

START = time.perf_counter()
LARGEST_OVERLAY = 1024  # pixels along the longer side
MAP_ENDING = ".jpg"  # a PNG of a photo takes 40 times as long to write, and 4 times the room
LONG = 60  # seconds: what takes longer is announced

app = typer.Typer(
    name="musc-lite",
    help="MuSc: find the odd ones among unlabeled images, by letting the images score each other.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for results; made where it is missing.")]
BackboneName = Annotated[str, typer.Option(help="dinov2_vits14, dinov2_vitb14, dinov3_vitb16, ViT-L-14-336, ...")]
Layers = Annotated[str | None, typer.Option(help="even, middle or block numbers such as 4,6,8.")]
ImageSize = Annotated[int | None, typer.Option(help="Pixels along the side; more finds smaller defects.")]
Degrees = Annotated[str | None, typer.Option("--r", help="Aggregation degrees such as 1,3,5.")]
Interval = Annotated[str | None, typer.Option(help="Share of the closest images that score a patch; 0,0.3.")]
Windows = Annotated[str | None, typer.Option(help="Re-scoring neighborhoods, 1,2,3; an empty text turns it off.")]
References = Annotated[int | None, typer.Option(help="Score by so many of the images only: for large folders.")]
Components = Annotated[int | None, typer.Option(help="Search among so many principal components.")]
Window = Annotated[int | None, typer.Option(help="Search so many patches around, for parts that lie alike.")]
Memory = Annotated[str | None, typer.Option(help="Memory for the batch, such as 4GB.")]
BatchSize = Annotated[int, typer.Option(help="Images that go through the backbone at once.", min=1)]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default a GPU where there is one.")]


def _listed(names: Iterable[str]) -> str:
    """Write "mvtec, visa or btad"."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _numbers(option: str, text: str | None, kind: type = int) -> tuple | None:
    """Read "1,3,5"; an empty text gives none."""
    try:
        return None if text is None else tuple(kind(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"{option} takes numbers with commas between them, got {text!r}") from error


def _layers(text: str | None) -> str | tuple[int, ...] | None:
    return text if text in (None, "even", "middle") else _numbers("--layers (even, middle or block numbers)", text)


def _contamination(text: str) -> str | float:
    if text == "auto":
        return text
    numbers = _numbers("--contamination", text, float)
    if len(numbers) != 1:
        raise ValueError(f"--contamination takes auto or one share such as 0.1, got {text!r}")
    return numbers[0]


def _settings(layers, image_size, r, interval, windows, references, n_components, window, max_memory) -> dict:
    """Give the parameters of `MuSc` that options were given for."""
    settings = {
        "layers": _layers(layers),
        "image_size": image_size,
        "r": _numbers("--r", r),
        "interval": _numbers("--interval", interval, float),
        "windows": _numbers("--windows", windows),
        "references": references,
        "n_components": n_components,
        "window": window,
        "max_memory": max_memory,
    }
    return {name: value for name, value in settings.items() if value is not None}


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Print the project's own errors as one message: exit code 1, interrupted 130; its warnings as one line each."""

    def one_line(message, *_, **__) -> None:
        print(f"musc-lite: warning: {message}", file=sys.stderr, flush=True)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = one_line
            yield
    except (MuScError, ValueError, OSError) as error:
        print(f"musc-lite: error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        print(
            "\nmusc-lite: interrupted; the features extracted so far are kept: run the same command to go on",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None


@app.command()
def demo(
    output: Output = Path("out/demo"),
    n_images: Annotated[int, typer.Option(help="Images of each texture.", min=4)] = 40,
    seed: Annotated[int, typer.Option(help="Another seed makes other images.", min=0)] = 0,
) -> None:
    """Find planted defects in three textures, print how well it went and write a report.

    The images are made from photographs inside scikit-image; the backbone is the real DINOv2 ViT-S/14.
    """
    with _plain_errors():
        from musc_lite.backbones.load import EMBEDDED, load_backbone
        from musc_lite.data.textures import PHOTOS, planted_textures
        from musc_lite.detector import MuSc
        from musc_lite.results.report import Result, evaluate_detector, write_report

        backbone = load_backbone(EMBEDDED)
        results = []
        for name in PHOTOS:
            images = planted_textures(name, n_images=n_images, n_defective=round(0.3 * n_images), seed=seed)
            detector = MuSc(backbone, cache_dir=output / "features").fit(images)
            results.append(Result(name, images, detector, evaluate_detector(detector, images)))
        report = write_report(output / "report.html", results, title="MuSc on planted-defect textures", max_images=24)
        _print_table(results, [result.detector.seconds_ for result in results])
        print(f"{time.perf_counter() - START:.0f} s in all. Look at {report}")


@app.command(
    epilog="Examples: "
    "`musc-lite score photos/ -o out/photos`; "
    "`musc-lite score photos/ -o out/photos --image-size 448 --on-error skip`; "
    "`musc-lite score bottle/ -o out/bottle --backbone ViT-L-14-336 --image-size 518`"
)
def score(
    photos: Annotated[list[Path], typer.Argument(help="A folder of images in any layout; or several, or image files.")],
    output: Output,
    backbone: BackboneName = "dinov2_vits14",
    pretrained: Annotated[str, typer.Option(help="A weights file for the backbone, or a tag of open_clip.")] = "auto",
    layers: Layers = None,
    image_size: ImageSize = None,
    r: Degrees = None,
    interval: Interval = None,
    windows: Windows = None,
    references: References = None,
    n_components: Components = None,
    window: Window = None,
    max_memory: Memory = None,
    contamination: Annotated[str, typer.Option(help="auto, or the expected share of defective images.")] = "auto",
    labels: Annotated[
        str, typer.Option(help="auto: where the layout is certain; folder: all outside of good/ is defective; none.")
    ] = "auto",
    on_error: Annotated[str, typer.Option(help="What to do with an unreadable image: raise or skip.")] = "raise",
    batch_size: BatchSize = 8,
    device: Device = None,
) -> None:
    """Score the images of a folder by each other.

    Writes scores.csv, report.html, maps/ (each image with its anomaly map) and maps.npz to the output folder. Several
    folders and files are one batch.
    Features are kept in OUTPUT/features: interrupted and started again, it goes on where it was.
    """
    with _plain_errors():
        from musc_lite.data.loaders import left_out, load_folder
        from musc_lite.support.parameters import check_parameters

        # What needs no torch comes first: its import takes seconds, a slip of the pen is known at once.
        settings = _settings(layers, image_size, r, interval, windows, references, n_components, window, max_memory)
        settings["contamination"] = _contamination(contamination)
        checked = ("r", "interval", "windows", "max_memory", "contamination")
        check_parameters(**{name: settings[name] for name in checked if name in settings})
        for folder in photos:
            if output.resolve().is_relative_to(folder.resolve()):
                raise ValueError(
                    f"the output folder {output} lies inside of {folder}: its pictures would be scored too"
                )
        images = load_folder(photos if len(photos) > 1 else photos[0], on_error=on_error, labels=labels)
        print(f"{len(images)} images; {images.labeling}", flush=True)
        for path, reason in images.skipped:
            print(f"musc-lite: left out {path}: {reason}", file=sys.stderr)
        images.masks(8)  # a mask that does not fit is said now, not after the long work
        _make_folder(output)

        from musc_lite.backbones.load import load_backbone
        from musc_lite.detector import MuSc
        from musc_lite.results.report import Result, evaluate_detector, write_report
        from musc_lite.stages.thresholds import in_words

        loaded = load_backbone(backbone, pretrained, device)
        detector = MuSc(loaded, **settings, batch_size=batch_size, cache_dir=output / "features")
        _say_cost(detector, len(images))
        seconds = {"start": time.perf_counter() - START}
        detector.fit(images)
        written = time.perf_counter()
        name = photos[0].resolve().name if len(photos) == 1 else f"{len(photos)} folders and files"
        result = Result(name, images, detector, evaluate_detector(detector, images))
        _write_scores(output / "scores.csv", result)
        _write_maps(output, result)
        report = write_report(output / "report.html", [result], title=f"MuSc on {result.name}")
        seconds |= detector.seconds_ | {"writing": time.perf_counter() - written}
        _print_table([result], [seconds])
        for sentence in in_words(detector.image_scores_, detector.threshold_, images.names, images.labels):
            print(sentence)
        print(f"{time.perf_counter() - START:.0f} s in all. Look at {report}")
        if images.skipped:
            print(f"Not seen: {left_out(images)}")


@app.command(
    epilog="Examples: "
    "`musc-lite benchmark textures -o out/textures`; "
    "`musc-lite benchmark mvtec --root data/mvtec --preset mvtec -o out/mvtec`; "
    "`musc-lite benchmark magnetic-tile --root data/mtd --subsets 3 -o out/mtd-3`"
)
def benchmark(
    dataset: Annotated[str, typer.Argument(help=f"{_listed(CATALOG)}.")],
    output: Output,
    root: Annotated[Path | None, typer.Option(help="Folder of the data set; textures need none.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Only this category (may be repeated).")] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"The paper's settings for {_listed(presets())}; other options override them.")
    ] = None,
    subsets: Annotated[int, typer.Option(help="Divide each category into so many parts, scored apart.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Another seed divides otherwise.")] = 0,
    backbone: Annotated[str | None, typer.Option(help="dinov2_vits14 (default), ViT-L-14-336, ...")] = None,
    layers: Layers = None,
    image_size: ImageSize = None,
    r: Degrees = None,
    interval: Interval = None,
    windows: Windows = None,
    references: References = None,
    n_components: Components = None,
    window: Window = None,
    max_memory: Memory = None,
    batch_size: BatchSize = 8,
    device: Device = None,
) -> None:
    """Repeat the paper's tables: score every category of a data set and print them beside the published figures.

    Writes results.csv, results.md, results.png, results/ and scores/ to the output folder. Categories that are done
    are not done again: interrupted and started again, it goes on where it was.
    """
    with _plain_errors():
        from musc_lite.detector import MuSc
        from musc_lite.evaluation.benchmark import find_categories, run_benchmark, table

        if preset is not None and preset not in presets():
            raise ValueError(f"--preset must be one of {', '.join(presets())}, got {preset!r}")
        published = look_up(dataset).preset
        categories = category or find_categories(dataset, root)
        if preset is None and published:
            print(f"The published figures were made with --preset {dataset}: {_words(published)}.")
        settings = _settings(layers, image_size, r, interval, windows, references, n_components, window, max_memory)
        settings = presets().get(preset, {}) | settings | ({} if backbone is None else {"backbone": backbone})
        print(f"Settings: {_words(settings) or 'the defaults of dinov2_vits14'}.")
        _make_folder(output)
        detector = MuSc(**settings, batch_size=batch_size, device=device)
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


def _words(settings: dict) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())


@app.command()
def weights(
    names: Annotated[list[str] | None, typer.Argument(help="Backbones; by default the embedded dinov2_vits14.")] = None,
    from_file: Annotated[Path | None, typer.Option(help="Take the weights of one backbone from this file.")] = None,
) -> None:
    """Fetch the weights of backbones before they are needed, for example before a class or a flight."""
    with _plain_errors():
        from musc_lite.backbones.load import EMBEDDED, find_weights, keep_weights, load_backbone

        names = names or [EMBEDDED]
        if from_file is not None:
            if len(names) > 1:
                raise ValueError(f"--from-file takes the weights of one backbone, got {', '.join(names)}")
            keep_weights(names[0], from_file)
        for name in names:
            backbone = load_backbone(name)
            print(f"{backbone} is ready: {find_weights(name)}\nSHA-256 over its weights: {backbone.weights_sha256}")
        if from_file is not None and names != [EMBEDDED]:
            print("Every tensor fits; that they are the published ones is not checked: compare the SHA-256.")


def _say_cost(detector, n_images: int) -> None:
    """Say before long work how long it takes."""
    cost = detector.cost(n_images)
    if cost.extraction_seconds + cost.scoring_seconds > LONG:
        print(f"This takes {cost}. Features that are kept from an earlier run take no time.", flush=True)


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to {output} ({error.strerror}); give another folder with -o") from error


def _write_scores(path: Path, result) -> None:
    from musc_lite.support.files import atomic_path

    images, scores, copy_of = result.images, result.detector.image_scores_, result.detector.copy_of_
    has_copies = any(copy_of != range(len(images)))
    ranked = sorted(range(len(images)), key=lambda i: -scores[i])
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        more = ["label"] * (images.labels is not None) + ["copy_of"] * has_copies
        writer.writerow(["image", "score", "rank", "outlier", *more])
        for rank, i in enumerate(ranked, start=1):
            row = [images.names[i], f"{scores[i]:.6f}", rank, int(scores[i] > result.detector.threshold_)]
            row += [] if images.labels is None else [images.labels[i]]
            row += [images.names[copy_of[i]] if copy_of[i] != i else ""] if has_copies else []
            writer.writerow(row)


def _write_maps(output: Path, result) -> None:
    import numpy as np
    from PIL import Image

    from musc_lite.results.plots import color_range, overlay
    from musc_lite.support.files import atomic_path

    maps, names = result.detector.anomaly_maps_, result.images.names
    _remove_earlier_maps(output)
    with atomic_path(output / "maps.npz") as partial, partial.open("wb") as file:
        np.savez_compressed(file, maps=maps, names=np.array(names))
    low, high = color_range(maps)
    for i, name in enumerate(names):
        path = output / "maps" / f"{name}{MAP_ENDING}"  # a.jpg and a.png of one folder stay apart
        path.parent.mkdir(parents=True, exist_ok=True)
        image = result.images[i]
        image.thumbnail((LARGEST_OVERLAY, LARGEST_OVERLAY))
        Image.fromarray(overlay(image, maps[i], low, high)).save(path, quality=90)


def _remove_earlier_maps(output: Path) -> None:
    """Take away an earlier run's pictures, which must not stand among the new ones; other files stay."""
    import numpy as np

    folder = (output / "maps").resolve()
    with suppress(OSError, ValueError, KeyError, BadZipFile), np.load(output / "maps.npz") as earlier:
        for name in earlier["names"]:
            picture = (folder / f"{name}{MAP_ENDING}").resolve()
            if picture.is_relative_to(folder):  # the list is a file that anybody may have written
                picture.unlink(missing_ok=True)


def _print_table(results, seconds: Sequence[dict[str, float]]) -> None:
    """Print metrics, as far as there are any, and the seconds of each stage."""
    from rich.console import Console
    from rich.table import Table

    metrics = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}
    known = [name for name in metrics if any(getattr(r.metrics, name) == getattr(r.metrics, name) for r in results)]
    table = Table("data set", "images", *(metrics[name] for name in known), box=None, header_style="bold")
    for stage in seconds[0]:
        table.add_column(f"{stage} (s)", justify="right")
    for result, stages in zip(results, seconds, strict=True):
        values = [getattr(result.metrics, name) for name in known]
        numbers = [f"{value:.3f}" if value == value else "–" for value in values]
        table.add_row(result.name, str(len(result.images)), *numbers, *(f"{s:.1f}" for s in stages.values()))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    app()
