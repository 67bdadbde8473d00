"""`musc-lite apply --watch`: a line for each photo as it arrives, until Ctrl+C."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path


def _say(text: str) -> None:
    print(f"musc-lite: warning: {datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def keep_watching(model: Path, folders: Sequence[Path], output: Path, device: str | None) -> None:
    """Score what arrives in a folder until it is stopped, and say at the end how to look at it."""
    from musc_lite.data.discovery import existing_folder

    for folder in folders:
        existing_folder(folder)
    if len(folders) != 1:
        raise ValueError(f"--watch takes one folder in which photos arrive, got {', '.join(map(str, folders))}")

    from musc_lite.detector.detector import Detector
    from musc_lite.monitoring.reference import reference_digest, reference_info
    from musc_lite.monitoring.watch import check_reference, watch_folder
    from musc_lite.results.summary import describe_difference
    from musc_lite.utils.progress import progress_callback

    detector = Detector.load(model, device=device)
    print(f"Reference model {reference_info(model, detector)['reference']}")
    earlier = check_reference(output, reference_digest(model))
    if earlier:
        print(f"{len(earlier)} photos were scored before, up to {earlier[-1].time}.")
    print(f"Watching {folders[0]}; Ctrl+C ends it. Results: {output / 'watched.csv'} and {output / 'maps'}", flush=True)
    n_photos = n_outliers = 0
    try:
        with progress_callback(lambda _: None):  # a line a photo is enough: no bars
            for found in watch_folder(model, detector, folders[0], output, say=_say):
                told = found.remark if found.score is None else f"{found.score:.3f}"
                p_value = "" if found.p_value is None else f"  p {found.p_value:.3f}"
                remark = f"  {found.remark}" if found.score is not None and found.remark else ""
                out = "  FLAGGED" if found.outlier else ""
                print(f"{found.time[11:19]}  {found.image}  {told}{p_value}{out}{remark}", flush=True)
                n_photos, n_outliers = n_photos + 1, n_outliers + found.outlier
    except KeyboardInterrupt:
        photos = f"{n_photos} photo{'s' * (n_photos != 1)}"
        print(
            f"\nStopped: {photos}, {n_outliers} flagged as anomalous. The same command resumes. "
            f"`musc-lite drift {model} {output}` plots them by day."
        )
        for sentence in describe_difference(n_outliers, n_photos):
            print(sentence)
