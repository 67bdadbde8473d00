"""The command line: musc-lite demo | inspect FOLDER | score FOLDER | compare FOLDER | benchmark DATASET | weights."""

import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musc_lite.data.catalog import CATALOG, look_up, presets
from musc_lite.options import Method, listed, parse_classes, parse_contamination, parse_groups, takes_method
from musc_lite.parts import PARTS, check_methods, scorer_name
from musc_lite.support.errors import MuScError
from musc_lite.support.files import atomic_path
from musc_lite.support.parameters import check_compared, check_contamination

if TYPE_CHECKING:  # the command line answers before it needs torch
    from musc_lite.analysis.classes import DefectClasses
    from musc_lite.analysis.groups import Groups
    from musc_lite.budget import Cost
    from musc_lite.data.image_set import ImageSet
    from musc_lite.detector import Detector
    from musc_lite.results.comparison import Comparison
    from musc_lite.results.report import Result
    from musc_lite.views import Framing

START = time.perf_counter()
METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}  # that are printed
LONG = 60  # seconds: what takes longer is announced
GROUPS = "groups.jpg"

app = typer.Typer(
    name="musc-lite",
    help="MuSc: find the odd ones among unlabeled images, by letting the images score each other.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Photos = Annotated[list[Path], typer.Argument(help="A folder of images in any layout; or several, or image files.")]
Contamination = Annotated[str, typer.Option(help="auto, or the expected share of defective images.")]
Labels = Annotated[
    str, typer.Option(help="auto: where the layout is certain; folder: all outside of good/ is defective; none.")
]
OnError = Annotated[str, typer.Option(help="What to do with an unreadable image: raise or skip.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for results; made where it is missing.")]


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
        from musc_lite.musc import MuSc
        from musc_lite.results.report import Result, write_report

        backbone = load_backbone(EMBEDDED)
        results = []
        for name in PHOTOS:
            images = planted_textures(name, n_images=n_images, n_defective=round(0.3 * n_images), seed=seed)
            detector = MuSc(backbone, cache_dir=output / "features").fit(images)
            results.append(Result(name, detector.scores_))
        report = write_report(output / "report.html", results, title="MuSc on planted-defect textures", max_images=24)
        _print_table(results, [result.scores.seconds for result in results])
        print(f"{time.perf_counter() - START:.0f} s in all. Look at {report}")


@app.command(epilog="Examples: `musc-lite inspect photos/`; `musc-lite inspect monday/ tuesday/ -o out/photos`")
def inspect(
    photos: Photos,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for contact_sheet.jpg; made where it is missing.")
    ] = None,
) -> None:
    """Look at the images of a folder before they are scored; takes seconds.

    Says which are there twice, dark, bright, blurred, gray, of another camera, shape or size, unreadable or left out,
    and what to do. With -o it also writes contact_sheet.jpg: thumbnails with names, those with remarks framed.
    """
    with _plain_errors():
        from musc_lite.data.inspection import inspect_images
        from musc_lite.data.loaders import load_folder

        if output is not None:
            _check_apart(output, photos)
            _make_folder(output)
        # Neither labels nor masks matter here, so none of their errors does.
        found = inspect_images(load_folder(photos if len(photos) > 1 else photos[0], labels="none"))
        print(found)
        for path, reason in found.images.skipped:
            print(f"musc-lite: left out {path}: {reason}", file=sys.stderr)
        if output is not None:
            from musc_lite.results.contact_sheet import contact_sheet

            with atomic_path(output / "contact_sheet.jpg") as partial:
                contact_sheet(found).save(partial, "JPEG", quality=88)
            print(f"Look at {output / 'contact_sheet.jpg'}")


@app.command(
    epilog="Examples: "
    "`musc-lite score photos/ -o out/photos`; "
    "`musc-lite score photos/ -o out/photos --image-size 448 --on-error skip`; "
    "`musc-lite score bottle/ -o out/bottle --backbone ViT-L-14-336 --image-size 518`"
)
@takes_method
def score(
    photos: Photos,
    output: Output,
    method: Method,
    contamination: Contamination = "auto",
    labels: Labels = "auto",
    on_error: OnError = "raise",
    groups: Annotated[
        str | None, typer.Option(help="Of several kinds of image, score all by one: largest, or a group's number.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Sort what stands out into so many kinds of defect, or auto: find how many.")
    ] = None,
) -> None:
    """Score the images of a folder by each other.

    Writes scores.csv, report.html, maps/ (each image with its map) and maps.npz to the output folder; groups.jpg
    where the images are of several kinds, kinds.csv with --classes. Several folders and files are one batch.
    Features are kept in OUTPUT/features: interrupted and started again, it goes on where it was.
    """
    with _plain_errors():
        from musc_lite.data.loaders import left_out

        # What needs no torch comes first: its import takes seconds, a slip of the pen is known at once.
        share, normal = parse_contamination(contamination), parse_groups(groups)
        n_classes = parse_classes(classes)
        check_contamination(share)
        method.check()
        _check_apart(output, photos)
        images = _load_photos(photos, labels, on_error)
        _make_folder(output)

        detector = method.detector(share, cache_dir=output / "features").set_params(groups=normal)
        _settle_view(detector, images, output)
        _say_cost(detector, images)
        seconds = {"start": time.perf_counter() - START}
        scores = detector.fit(images).scores_
        written = time.perf_counter()

        from musc_lite.evidence import find_evidence
        from musc_lite.results.exports import write_maps, write_scores
        from musc_lite.results.group_report import group_sentences
        from musc_lite.results.report import Result, unseen_in_words, write_report
        from musc_lite.stages.thresholds import in_words

        lots = _write_groups(detector, output)
        kinds = None if classes is None else _write_kinds(output / "kinds.csv", detector, n_classes)
        result = Result(_named(photos), scores, evidence=find_evidence(detector), groups=lots, classes=kinds)
        write_scores(output / "scores.csv", scores)
        write_maps(output, scores)
        report = write_report(output / "report.html", [result], title=f"{_title(method)} on {result.name}")
        seconds |= {**scores.seconds, "writing": time.perf_counter() - written}
        _print_table([result], [seconds])
        if unseen := unseen_in_words(scores):
            print(f"musc-lite: warning: {unseen}", file=sys.stderr)
        for sentence in in_words(scores.image_scores, scores.threshold, scores.names, images.labels):
            print(sentence)
        if lots is not None:
            print(*group_sentences(lots, scores), f"See {output / GROUPS}")
        if kinds is not None:
            print(" ".join(kinds.in_words()))
        print(f"{time.perf_counter() - START:.0f} s in all. Look at {report}")
        if images.skipped:
            print(f"Not seen: {left_out(images)}")


@app.command(
    epilog="Examples: "
    "`musc-lite compare photos/ --methods musc,subspace,memory,gaussian -o out/compare`; "
    "`musc-lite compare photos/ --methods memory,gaussian --set references=20 -o out/trusted`"
)
@takes_method
def compare(
    photos: Photos,
    output: Output,
    method: Method,
    methods: Annotated[
        str, typer.Option(help=f"Two or more of {listed(PARTS['scorer'])}; musc is another name of mutual.")
    ] = "musc,subspace,memory,gaussian",
    contamination: Contamination = "auto",
    labels: Labels = "auto",
    on_error: OnError = "raise",
) -> None:
    """Score the images of a folder by several methods, and show where these disagree.

    Features are extracted once. Writes table.csv (metrics where there are labels, rank correlations, seconds, planned
    memory) and report.html (methods side by side on the images on which they disagree most) to the output folder.
    --set reaches each method that has such a parameter, all other options each method that they concern.
    """
    with _plain_errors():
        from musc_lite.data.loaders import left_out

        share, names = parse_contamination(contamination), methods.replace(",", " ").split()
        check_contamination(share)
        check_methods(names)
        method.check(names)
        _check_apart(output, photos)
        images = _load_photos(photos, labels, on_error)
        check_compared(len(images))
        _make_folder(output)

        from musc_lite.comparison import compare
        from musc_lite.views import what_a_patch_covers

        detector, scorers = method.musc(share, cache_dir=output / "features"), method.scorers(names)
        framing = _settle_view(detector, images, output)
        print(what_a_patch_covers(framing, images), flush=True)
        _say_costs([detector.with_scorer(scorer).cost_of(len(images), framing) for scorer in scorers.values()])
        comparison = compare(images, scorers, detector=detector)

        from musc_lite.results.comparison_report import write_comparison
        from musc_lite.results.report import unseen_in_words

        report = write_comparison(output, comparison, title=f"Methods compared on {_named(photos)}")
        _print_comparison(comparison)
        if unseen := unseen_in_words(next(iter(comparison.scores.values()))):
            print(f"musc-lite: warning: {unseen}", file=sys.stderr)
        print(f"{time.perf_counter() - START:.0f} s in all. Look at {report}")
        if images.skipped:
            print(f"Not seen: {left_out(images)}")


@app.command(
    epilog="Examples: "
    "`musc-lite benchmark textures -o out/textures`; "
    "`musc-lite benchmark mvtec --root data/mvtec --preset mvtec -o out/mvtec`; "
    "`musc-lite benchmark magnetic-tile --root data/mtd --subsets 3 -o out/mtd-3`"
)
@takes_method
def benchmark(
    dataset: Annotated[str, typer.Argument(help=f"{listed(CATALOG)}.")],
    output: Output,
    method: Method,
    root: Annotated[Path | None, typer.Option(help="Folder of the data set; textures need none.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Only this category (may be repeated).")] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"The paper's settings for {listed(presets())}; other options override them.")
    ] = None,
    subsets: Annotated[int, typer.Option(help="Divide each category into so many parts, scored apart.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Another seed divides otherwise.")] = 0,
) -> None:
    """Repeat the paper's tables: score every category of a data set and print them beside the published figures.

    Writes results.csv, results.md, results.png, results/ and scores/ to the output folder. Categories that are done
    are not done again: interrupted and started again, it goes on where it was. By default --precision is float32 here.
    """
    with _plain_errors():
        from musc_lite.evaluation.benchmark import find_categories, run_benchmark, table

        if preset is not None and preset not in presets():
            raise ValueError(f"--preset must be one of {', '.join(presets())}, got {preset!r}")
        published = look_up(dataset).preset
        categories = category or find_categories(dataset, root)
        if preset is None and published:
            print(f"The published figures were made with --preset {dataset}: {_words(published)}.")
        method.check()
        chosen = {} if preset is None else presets()[preset]
        method = replace(method, precision=method.precision or "float32")  # the same tables on every machine
        print(f"Settings: {_words({**chosen, **method.told}) or 'the defaults of dinov2_vits14'}.")
        _make_folder(output)
        detector = method.detector(preset=chosen)
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


def _load_photos(photos: list[Path], labels: str, on_error: str) -> "ImageSet":
    """Read a batch, and say how it was understood."""
    import numpy as np

    from musc_lite.data.loaders import load_folder
    from musc_lite.data.remarks import remarks_on_sizes

    images = load_folder(photos if len(photos) > 1 else photos[0], on_error=on_error, labels=labels)
    print(f"{len(images)} images; {images.labeling}", flush=True)
    for path, reason in images.skipped:
        print(f"musc-lite: left out {path}: {reason}", file=sys.stderr)
    for remark in remarks_on_sizes(np.array([images.size(i) for i in range(len(images))]), images.names):
        print(f"musc-lite: {remark}", file=sys.stderr)
    images.masks(8)  # a mask that does not fit is said now, not after the long work
    return images


def _named(photos: Sequence[Path]) -> str:
    return photos[0].resolve().name if len(photos) == 1 else f"{len(photos)} folders and files"


def _title(method: Method) -> str:
    name = scorer_name(method.method)
    return "MuSc" if name == "mutual" else f"The method {name}"


def _settle_view(detector: "Detector", images: "ImageSet", output: Path) -> "Framing":
    """Find where the objects are and how closely to look, where that is asked for, and show it before the long work."""
    from musc_lite.closeness import settle_view
    from musc_lite.data.region import WHOLE
    from musc_lite.results.exports import write_region

    seconds, framing = detector.parts.view.seconds, settle_view(detector, images)
    region = framing.region
    if region != WHOLE:
        write_region(output / "region.jpg", images, region)
        shares = ", ".join(f"{share:.2f}" for share in region)
        print(f"Looking at the region {shares} of each photo: see {output / 'region.jpg'}", flush=True)
    if seconds is not None:
        rows, columns = framing.tiles
        print(f"{seconds} s allow --tiles {rows}x{columns}, by an estimate: give that to look the same way again")
    return framing


def _say_cost(detector: "Detector", images: "ImageSet") -> None:
    """Say how closely the photos are looked at, and before long work how long it takes."""
    from musc_lite.closeness import how_closely

    cost = detector.cost(len(images), images)
    print(how_closely(detector, images, cost), flush=True)
    if cost.seconds > LONG:
        print(f"This takes {cost}. Features that are kept from an earlier run take no time.", flush=True)


def _say_costs(costs: "Sequence[Cost]") -> None:
    """Say before long work by several methods how long it takes."""
    from musc_lite.budget import duration

    extraction, scoring = costs[0].extraction_seconds, sum(cost.scoring_seconds for cost in costs)
    if extraction + scoring > LONG:
        print(
            f"This takes about {duration(extraction)} for features and {duration(scoring)} for scoring by "
            f"{len(costs)} methods. Features that are kept from an earlier run take no time.",
            flush=True,
        )


def _write_kinds(path: Path, detector: "Detector", n_classes: int | None) -> "DefectClasses":
    """Sort what stands out by the kind of its defect, and write a table of the regions, the most severe first."""
    from musc_lite.analysis.classes import defect_classes
    from musc_lite.analysis.severity import severity

    scores, patch_scores = detector.scores_, detector.patch_scores_
    kinds = defect_classes(detector.features_, patch_scores, scores.is_outlier, n_classes)
    table = kinds.to_frame(scores.names, severity(kinds.regions, patch_scores, scores.is_outlier))
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6f", encoding="utf-8", lineterminator="\r\n")
    return kinds


def _write_groups(detector: "Detector", output: Path) -> "Groups | None":
    """Draw which kinds of image there are, where that was asked for or there are several; else remove the picture."""
    from musc_lite.normal_group import groups_to_show
    from musc_lite.results.group_report import write_groups

    groups = groups_to_show(detector)
    if groups is None:
        (output / GROUPS).unlink(missing_ok=True)  # of an earlier run
    else:
        write_groups(output / GROUPS, groups, detector.scores_)
    return groups


def _check_apart(output: Path, photos: Iterable[Path]) -> None:
    for folder in photos:
        if output.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"the output folder {output} lies inside of {folder}: its pictures would be scored too")


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to {output} ({error.strerror}); give another folder with -o") from error


def _print_table(results: "Sequence[Result]", seconds: Sequence[Mapping[str, float]]) -> None:
    """Print metrics, as far as there are any, and the seconds of each stage."""
    from rich.console import Console
    from rich.table import Table

    known = [name for name in METRICS if any(getattr(r.metrics, name) == getattr(r.metrics, name) for r in results)]
    table = Table("data set", "images", *(METRICS[name] for name in known), box=None, header_style="bold")
    for stage in seconds[0]:
        table.add_column(f"{stage} (s)", justify="right")
    for result, stages in zip(results, seconds, strict=True):
        values = [getattr(result.metrics, name) for name in known]
        numbers = [f"{value:.3f}" if value == value else "–" for value in values]
        table.add_row(result.name, str(len(result.scores)), *numbers, *(f"{s:.1f}" for s in stages.values()))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _print_comparison(comparison: "Comparison") -> None:
    """Print a line for each method, and how they differ in words."""
    from rich.console import Console
    from rich.table import Table

    frame = comparison.to_frame()
    known = [name for name in METRICS if name in frame]
    columns = {"method": "method"} | {name: METRICS[name] for name in known}
    columns |= {
        "outliers": "stand out",
        "own_outliers": "by it alone",
        "seconds": "seconds",
        "planned_gb": "GB, planned",
    }
    table = Table(*columns.values(), box=None, header_style="bold")
    for row in frame[list(columns)].to_dict("records"):
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    for sentence in comparison.in_words():
        print(sentence)


if __name__ == "__main__":
    app()
