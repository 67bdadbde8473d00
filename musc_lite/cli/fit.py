"""The command `fit`: save a batch as the reference model for later images."""

import time
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musc_lite.cli.common import (
    START,
    Contamination,
    Labels,
    OnError,
    Photos,
    error_handler,
    examples,
    load_photos,
    make_output_dir,
    print_bit_depth,
    print_cost,
    reject_output_inside_input,
    resolve_view,
)
from musc_lite.cli.method_options import Method, parse_contamination, takes_method

if TYPE_CHECKING:
    from musc_lite.results.scores import Scores


@examples(
    "musc-lite fit photos/ -o model.musc",
    "musc-lite fit photos/ -o model.musc --verdicts verdicts.csv --false-alarm-rate 0.05",
)
@takes_method
def fit(
    photos: Photos,
    model: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write, such as model.musc.", rich_help_panel="Output"),
    ],
    method: Method,
    contamination: Contamination = "auto",
    labels: Labels = "auto",
    on_error: OnError = "raise",
    verdicts: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel="Input",
            help="Table with columns image and verdict (good, bad or unsure). Bad images leave the reference.",
        ),
    ] = None,
    good_only: Annotated[
        bool,
        typer.Option(
            "--references-good-only",
            help="Compare with the images of verdict good only.",
            rich_help_panel="Advanced",
        ),
    ] = False,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(
            rich_help_panel="Method",
            help="Set the threshold so that at most this fraction of good images is flagged. Needs good verdicts.",
        ),
    ] = None,
) -> None:
    """Fit a reference model and save it to one file. `musc-lite apply` scores new images against it.

    Takes the options of `musc-lite score` that change scores. Features are cached in MODEL.features: an interrupted run
    resumes when it is started again; the folder may be deleted afterwards.
    """
    with error_handler():
        from musc_lite.data.verdicts import read_verdicts, sort_by_verdict

        share = parse_contamination(contamination)
        if share != "auto" and false_alarm_rate is not None:
            raise ValueError("--contamination and --false-alarm-rate each set the threshold: give one of the two")
        method.check()
        if model.is_dir():
            raise ValueError(f"{model} is a folder; -o names the file to write, such as {model / 'model.musc'}")
        reject_output_inside_input(model, photos)
        if verdicts is None and (good_only or false_alarm_rate is not None):
            raise ValueError("calibration images are those with the verdict good: give --verdicts FILE")
        found = None if verdicts is None else read_verdicts(verdicts)
        images = load_photos(photos, labels, on_error)
        with warnings.catch_warnings(action="ignore"):  # `fit_reference` repeats them
            kinds = [] if found is None else sort_by_verdict(images, found)
        make_output_dir(model.parent)
        features = model.with_name(f"{model.name}.features")

        from musc_lite.monitoring.reference import fit_reference, use_trusted_references
        from musc_lite.results.summary import describe_guarantee, describe_scores

        detector = method.detector(share, cache_dir=features, false_alarm_rate=false_alarm_rate)
        if good_only:
            detector = use_trusted_references(detector)
        detector, _ = resolve_view(detector, images, model.parent)
        print_cost(
            detector, images, n_fits=1 if found is None else 2
        )  # `fit_reference` fits before and after the verdicts
        detector, before = fit_reference(detector, images, found)
        detector.save(model)

        scores = detector.scores_
        print_bit_depth(scores)
        if before is not None:
            trusted_names = {name for name, kind in zip(images.names, kinds, strict=True) if kind == "good"}
            print(" ".join(_what_verdicts_changed(before, scores, kinds.count("bad"), trusted_names)))
        else:
            print(
                "No verdicts were given: defective images stay in the reference, and new images with the same defect "
                "may pass as normal."
            )
        if detector.calibration_ is not None:
            n_outside = len(detector.calibration_)
            print(f"{n_outside} good images are kept out of the reference to calibrate the false alarm rate.")
            print(" ".join(describe_guarantee(detector.calibration_, detector.threshold_)))
        for sentence in describe_scores(scores):
            print(sentence)
        size = model.stat().st_size / 1e6
        print(f"{time.perf_counter() - START:.0f} s in all. Saved {len(scores)} images in {model}, {size:.0f} MB.")


def _what_verdicts_changed(before: "Scores", after: "Scores", n_bad: int, good: Collection[str]) -> list[str]:
    """Return sentences on the images that leave, the changes in flagged images and the changes in scores."""
    stay = set(after.names)
    was, now = (
        {name for name, out in zip(each.names, each.is_outlier, strict=True) if out and name in stay}
        for each in (before, after)
    )
    bad = f"{n_bad} of {len(before)} images {'is' if n_bad == 1 else 'are'} bad by the verdicts"
    sentences = [f"{bad} and {'leaves' if n_bad == 1 else 'leave'} the reference."]
    for some, words in ((now - was, "flagged now, and not before"), (was - now, "not flagged any more")):
        if some:
            names = sorted(some, key=[*after.names].index)
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            sentences.append(
                f"{len(names)} of them {'is' if len(names) == 1 else 'are'} {words}: {', '.join(names[:5])}{more}."
            )
    if called := [name for name, out in zip(after.names, after.is_outlier, strict=True) if out and name in good]:
        more = f" and {len(called) - 5} more" if len(called) > 5 else ""
        sentences.append(
            f"Flagged although their verdict is good: {', '.join(called[:5])}{more}. Images like "
            "them will be flagged too."
        )
    earlier = dict(zip(before.names, before.map_scores.tolist(), strict=True))
    changes = [(name, earlier[name], score) for name, score in zip(after.names, after.map_scores.tolist(), strict=True)]
    most = sorted(changes, key=lambda change: -abs(change[2] - change[1]))[:3]
    told = ", ".join(f"{name} from {old:.3f} to {new:.3f}" for name, old, new in most)
    return [*sentences, f"Scores before re-scoring, which can be compared, changed most for {told}."]
