"""The command line: musc-lite demo | inspect FOLDER | score FOLDER | benchmark DATASET | weights."""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from musc_lite.data.catalog import CATALOG, look_up, presets
from musc_lite.parts import PARTS, part_class
from musc_lite.support.errors import MuScError
from musc_lite.support.files import atomic_path
from musc_lite.support.parameters import check_contamination, check_parameters

if TYPE_CHECKING:  # the command line answers before it needs torch
    from musc_lite.analysis.groups import Groups
    from musc_lite.data.image_set import ImageSet
    from musc_lite.detector import Detector
    from musc_lite.results.report import Result

START = time.perf_counter()
LONG = 60  # seconds: what takes longer is announced
OF_MUTUAL = ("interval", "references", "n_components", "window", "aligned")  # options that other scorers do not have
GROUPS = "groups.jpg"
EMPTY: dict = {}

app = typer.Typer(
    name="musc-lite",
    help="MuSc: find the odd ones among unlabeled images, by letting the images score each other.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for results; made where it is missing.")]


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


def _sides(option: str, text: str | None) -> int | tuple[int, ...] | None:
    """Read "448" or "336x504"."""
    numbers = _numbers(option, None if text is None else text.replace("x", " "))
    return numbers[0] if numbers and len(numbers) == 1 else numbers


def _image_size(text: str | None) -> int | tuple[int, ...] | str | None:
    if text is not None and text.startswith(("aspect", "auto")):
        return text.replace(":", " ")
    return _sides("--image-size (pixels, height x width, aspect or auto)", text)


def _pooling(text: str | None) -> str | float | None:
    return text if text in (None, "max", "mean") else (_numbers("--pooling", text, float) or ("",))[0]


def _groups(text: str | None) -> str | int | None:
    if text is None or text == "largest":
        return text
    if not text.isdecimal():
        raise ValueError(f"--groups takes largest, or the number of a group such as 1, got {text!r}")
    return int(text)


def _contamination(text: str) -> Literal["auto"] | float:
    if text == "auto":
        return "auto"
    numbers = _numbers("--contamination", text, float) or ()
    if len(numbers) != 1:
        raise ValueError(f"--contamination takes auto or one share such as 0.1, got {text!r}")
    return numbers[0]


@dataclass(frozen=True)
class Method:
    """How to score: the options that `score` and `benchmark` share."""

    backbone: Annotated[
        str | None, typer.Option(help="dinov2_vits14 (default), dinov2_vitb14, dinov3_vitb16, ViT-L-14-336, ...")
    ] = None
    pretrained: Annotated[str, typer.Option(help="A weights file for the backbone, or a tag of open_clip.")] = "auto"
    scorer: Annotated[str, typer.Option(help=f"{_listed(PARTS['scorer'])}: how patches are scored.")] = "mutual"
    layers: Annotated[str | None, typer.Option(help="even, middle or block numbers such as 4,6,8.")] = None
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Pixels a side; 336x504; aspect, aspect:448: the photos' shape; auto:60: as close as 60 s allow."
        ),
    ] = None
    region: Annotated[
        str | None, typer.Option(help="Look at this part of each photo only: left,top,right,bottom as shares; or auto.")
    ] = None
    tiles: Annotated[
        str | None, typer.Option(help="Look closer: 2 or more tiles along the longer side, or 2x3 (rows x columns).")
    ] = None
    overlap: Annotated[float | None, typer.Option(help="Share of a tile that the next one shows again, 0 to 0.5.")] = (
        None
    )
    pooling: Annotated[
        str | None, typer.Option(help="From map to image score: max, mean, or a share of the highest pixels, 0.005.")
    ] = None
    r: Annotated[str | None, typer.Option("--r", help="Aggregation degrees such as 1,3,5.")] = None
    interval: Annotated[str | None, typer.Option(help="Share of the closest images that score a patch; 0,0.3.")] = None
    windows: Annotated[
        str | None, typer.Option(help="Re-scoring neighborhoods, 1,2,3; an empty text turns it off.")
    ] = None
    references: Annotated[int | None, typer.Option(help="Score by so many of the images only: for large folders.")] = (
        None
    )
    n_components: Annotated[int | None, typer.Option(help="Search among so many principal components.")] = None
    window: Annotated[int | None, typer.Option(help="Search so many patches around, for parts that lie alike.")] = None
    aligned: Annotated[bool, typer.Option(help="Search each tile only in the same tile of the others.")] = False
    max_memory: Annotated[str | None, typer.Option(help="Memory for the batch, such as 4GB.")] = None
    batch_size: Annotated[int, typer.Option(help="Images that go through the backbone at once.", min=1)] = 8
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default a GPU where there is one.")] = None

    @property
    def settings(self) -> dict:
        """The parameters of `MuSc` that options were given for, checked as far as that takes no torch."""
        settings: dict[str, Any] = {
            "backbone": self.backbone,
            "layers": _layers(self.layers),
            "image_size": _image_size(self.image_size),
            "region": self.region if self.region in (None, "auto") else _numbers("--region", self.region, float),
            "tiles": _sides("--tiles", self.tiles),
            "overlap": self.overlap,
            "pooling": _pooling(self.pooling),
            "r": _numbers("--r", self.r),
            "interval": _numbers("--interval", self.interval, float),
            "windows": _numbers("--windows", self.windows),
            "references": self.references,
            "n_components": self.n_components,
            "window": self.window,
            "aligned": self.aligned or None,
            "max_memory": self.max_memory,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        if self.scorer not in PARTS["scorer"]:
            raise ValueError(f"--scorer must be one of {', '.join(PARTS['scorer'])}, got {self.scorer!r}")
        foreign = [name for name in OF_MUTUAL if name in given and self.scorer != "mutual"]
        if foreign:
            raise ValueError(f"--{foreign[0].replace('_', '-')} belongs to the scorer mutual, not to {self.scorer}")
        check_parameters(**{name: given[name] for name in ("r", "interval", "windows", "max_memory") if name in given})
        return given

    def detector(
        self, contamination: Literal["auto"] | float = "auto", preset: Mapping = EMPTY, cache_dir: Path | None = None
    ) -> "Detector":
        """Make the detector that the options describe."""
        from musc_lite.backbones.load import EMBEDDED, load_backbone
        from musc_lite.musc import MuSc

        settings = {**preset, **self.settings}
        backbone = load_backbone(settings.pop("backbone", EMBEDDED), self.pretrained, self.device)
        musc = MuSc(backbone, **settings, contamination=contamination, batch_size=self.batch_size, cache_dir=cache_dir)
        return musc if self.scorer == "mutual" else musc.with_scorer(part_class("scorer", self.scorer)())


def takes_method(command: Callable) -> Callable:
    """Give a command the options of `Method`, as its one argument `method`."""
    shared, own = signature(Method, eval_str=True).parameters, signature(command, eval_str=True)

    @wraps(command)
    def run(**options):
        method = Method(**{name: options.pop(name) for name in shared})
        return command(**options, method=method)

    parameters = [parameter for name, parameter in own.parameters.items() if name != "method"] + list(shared.values())
    keywords = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__signature__ = own.replace(parameters=keywords)  # type: ignore[attr-defined]  # PEP 362, in no type of a function
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    return run


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
    photos: Annotated[list[Path], typer.Argument(help="A folder of images in any layout; or several, or image files.")],
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
    photos: Annotated[list[Path], typer.Argument(help="A folder of images in any layout; or several, or image files.")],
    output: Output,
    method: Method,
    contamination: Annotated[str, typer.Option(help="auto, or the expected share of defective images.")] = "auto",
    labels: Annotated[
        str, typer.Option(help="auto: where the layout is certain; folder: all outside of good/ is defective; none.")
    ] = "auto",
    on_error: Annotated[str, typer.Option(help="What to do with an unreadable image: raise or skip.")] = "raise",
    groups: Annotated[
        str | None, typer.Option(help="Of several kinds of image, score all by one: largest, or a group's number.")
    ] = None,
) -> None:
    """Score the images of a folder by each other.

    Writes scores.csv, report.html, maps/ (each image with its anomaly map) and maps.npz to the output folder, and
    groups.jpg where the images are of several kinds. Several folders and files are one batch.
    Features are kept in OUTPUT/features: interrupted and started again, it goes on where it was.
    """
    with _plain_errors():
        import numpy as np

        from musc_lite.data.loaders import left_out, load_folder
        from musc_lite.data.remarks import remarks_on_sizes

        # What needs no torch comes first: its import takes seconds, a slip of the pen is known at once.
        share, _ = _contamination(contamination), method.settings
        check_contamination(share)
        normal = _groups(groups)
        _check_apart(output, photos)
        images = load_folder(photos if len(photos) > 1 else photos[0], on_error=on_error, labels=labels)
        print(f"{len(images)} images; {images.labeling}", flush=True)
        for path, reason in images.skipped:
            print(f"musc-lite: left out {path}: {reason}", file=sys.stderr)
        for remark in remarks_on_sizes(np.array([images.size(i) for i in range(len(images))]), images.names):
            print(f"musc-lite: {remark}", file=sys.stderr)
        images.masks(8)  # a mask that does not fit is said now, not after the long work
        _make_folder(output)

        from musc_lite.evidence import find_evidence
        from musc_lite.results.exports import write_maps, write_scores
        from musc_lite.results.group_report import group_sentences
        from musc_lite.results.report import Result, unseen_in_words, write_report
        from musc_lite.stages.thresholds import in_words

        detector = method.detector(share, cache_dir=output / "features").set_params(groups=normal)
        _settle_view(detector, images, output)
        _say_cost(detector, images)
        seconds = {"start": time.perf_counter() - START}
        scores = detector.fit(images).scores_
        written = time.perf_counter()
        name = photos[0].resolve().name if len(photos) == 1 else f"{len(photos)} folders and files"
        result = Result(name, scores, evidence=find_evidence(detector), groups=_write_groups(detector, output))
        write_scores(output / "scores.csv", scores)
        write_maps(output, scores)
        report = write_report(output / "report.html", [result], title=f"MuSc on {result.name}")
        seconds |= {**scores.seconds, "writing": time.perf_counter() - written}
        _print_table([result], [seconds])
        if unseen := unseen_in_words(scores):
            print(f"musc-lite: warning: {unseen}", file=sys.stderr)
        for sentence in in_words(scores.image_scores, scores.threshold, scores.names, images.labels):
            print(sentence)
        if result.groups is not None:
            print(*group_sentences(result.groups, scores), f"See {output / GROUPS}")
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
    dataset: Annotated[str, typer.Argument(help=f"{_listed(CATALOG)}.")],
    output: Output,
    method: Method,
    root: Annotated[Path | None, typer.Option(help="Folder of the data set; textures need none.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Only this category (may be repeated).")] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"The paper's settings for {_listed(presets())}; other options override them.")
    ] = None,
    subsets: Annotated[int, typer.Option(help="Divide each category into so many parts, scored apart.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Another seed divides otherwise.")] = 0,
) -> None:
    """Repeat the paper's tables: score every category of a data set and print them beside the published figures.

    Writes results.csv, results.md, results.png, results/ and scores/ to the output folder. Categories that are done
    are not done again: interrupted and started again, it goes on where it was.
    """
    with _plain_errors():
        from musc_lite.evaluation.benchmark import find_categories, run_benchmark, table

        if preset is not None and preset not in presets():
            raise ValueError(f"--preset must be one of {', '.join(presets())}, got {preset!r}")
        published = look_up(dataset).preset
        categories = category or find_categories(dataset, root)
        if preset is None and published:
            print(f"The published figures were made with --preset {dataset}: {_words(published)}.")
        chosen = {} if preset is None else presets()[preset]
        print(f"Settings: {_words({**chosen, **method.settings}) or 'the defaults of dinov2_vits14'}.")
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


def _settle_view(detector: "Detector", images: "ImageSet", output: Path) -> None:
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


def _say_cost(detector: "Detector", images: "ImageSet") -> None:
    """Say how closely the photos are looked at, and before long work how long it takes."""
    from musc_lite.closeness import how_closely

    cost = detector.cost(len(images), images)
    print(how_closely(detector, images, cost), flush=True)
    if cost.seconds > LONG:
        print(f"This takes {cost}. Features that are kept from an earlier run take no time.", flush=True)


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

    metrics = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}
    known = [name for name in metrics if any(getattr(r.metrics, name) == getattr(r.metrics, name) for r in results)]
    table = Table("data set", "images", *(metrics[name] for name in known), box=None, header_style="bold")
    for stage in seconds[0]:
        table.add_column(f"{stage} (s)", justify="right")
    for result, stages in zip(results, seconds, strict=True):
        values = [getattr(result.metrics, name) for name in known]
        numbers = [f"{value:.3f}" if value == value else "–" for value in values]
        table.add_row(result.name, str(len(result.scores)), *numbers, *(f"{s:.1f}" for s in stages.values()))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    app()
