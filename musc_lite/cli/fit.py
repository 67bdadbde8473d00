"""The command `fit`: a batch kept as the reference for later photos."""

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
    check_apart,
    examples,
    load_photos,
    make_folder,
    plain_errors,
    say_cost,
    say_depth,
    settle_view,
)
from musc_lite.cli.method_options import Method, parse_contamination, takes_method

if TYPE_CHECKING:
    from musc_lite.results.scores import Scores


@examples(
    "musc-lite fit photos/ -o line.musc",
    "musc-lite fit photos/ -o line.musc --verdicts verdicts.csv --false-alarm-rate 0.05",
)
@takes_method
def fit(
    photos: Photos,
    line: Annotated[Path, typer.Option("--output", "-o", help="The line file to write, such as line.musc.")],
    method: Method,
    contamination: Contamination = "auto",
    labels: Labels = "auto",
    on_error: OnError = "raise",
    verdicts: Annotated[
        Path | None,
        typer.Option(help="A table (image, verdict: good, bad or unsure): bad images leave the reference."),
    ] = None,
    trusted: Annotated[bool, typer.Option(help="Score by the images with the verdict good alone.")] = False,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(help="Draw the line so that of good images at most this share is called; by good verdicts."),
    ] = None,
) -> None:
    """Fit a reference batch and keep it in one file, to which `musc-lite apply` compares what comes in.

    Takes the options of `musc-lite score` that shape the scores, but not --groups, --classes, --write,
    --pixel-threshold and --explore. Features are kept in LINE.features: interrupted and started again, it goes
    on where it was; the folder may be deleted.
    """
    with plain_errors():
        from musc_lite.data.verdicts import read_verdicts, sort_by_verdict

        share = parse_contamination(contamination)
        if share != "auto" and false_alarm_rate is not None:
            raise ValueError("--contamination and --false-alarm-rate each set the threshold: give one of the two")
        method.check()
        if line.is_dir():
            raise ValueError(f"{line} is a folder; -o names the file to write, such as {line / 'line.musc'}")
        check_apart(line, photos)
        if verdicts is None and (trusted or false_alarm_rate is not None):
            raise ValueError("trusted images are those with the verdict good: give --verdicts FILE")
        found = None if verdicts is None else read_verdicts(verdicts)
        images = load_photos(photos, labels, on_error)
        with warnings.catch_warnings(action="ignore"):  # `fit_line` repeats them
            kinds = [] if found is None else sort_by_verdict(images, found)
        make_folder(line.parent)
        features = line.with_name(f"{line.name}.features")

        from musc_lite.monitoring.reference import fit_line, score_by_trusted
        from musc_lite.results.summary import describe_guarantee, describe_scores

        detector = method.detector(share, cache_dir=features, false_alarm_rate=false_alarm_rate)
        if trusted:
            detector = score_by_trusted(detector)
        detector, _ = settle_view(detector, images, line.parent)
        say_cost(detector, images, n_fits=1 if found is None else 2)  # `fit_line` fits before and after the verdicts
        detector, before = fit_line(detector, images, found)
        detector.save(line)

        scores = detector.scores_
        say_depth(scores)
        if before is not None:
            trusted_names = {name for name, kind in zip(images.names, kinds, strict=True) if kind == "good"}
            print(" ".join(_what_verdicts_changed(before, scores, kinds.count("bad"), trusted_names)))
        else:
            print("Without verdicts what is defective among them stays in the reference: its like passes for normal.")
        if detector.calibration_ is not None:
            n_outside = len(detector.calibration_)
            print(f"{n_outside} good ones are kept out of the reference, to draw the line for the false alarm rate.")
            print(" ".join(describe_guarantee(detector.calibration_, detector.threshold_)))
        for sentence in describe_scores(scores):
            print(sentence)
        size = line.stat().st_size / 1e6
        print(f"{time.perf_counter() - START:.0f} s in all. Kept {len(scores)} images in {line}, {size:.0f} MB.")


def _what_verdicts_changed(before: "Scores", after: "Scores", n_bad: int, good: Collection[str]) -> list[str]:
    """Say how many images leave, which of the others stand out now or no longer, and how their scores changed."""
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
        sentences.append(f"You found good, and the line calls: {', '.join(called[:5])}{more}, and photos like them.")
    earlier = dict(zip(before.names, before.map_scores.tolist(), strict=True))
    changes = [(name, earlier[name], score) for name, score in zip(after.names, after.map_scores.tolist(), strict=True)]
    most = sorted(changes, key=lambda change: -abs(change[2] - change[1]))[:3]
    told = ", ".join(f"{name} from {old:.3f} to {new:.3f}" for name, old, new in most)
    return [*sentences, f"Scores before re-scoring, which can be compared, changed most for {told}."]
