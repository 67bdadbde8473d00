"""Methods side by side as files: a table for other programs, one HTML file for people."""

from pathlib import Path

import numpy as np
from PIL import Image

from musc_lite.data.roi import crop
from musc_lite.reports.html import THUMBNAIL, data_uri, write_page
from musc_lite.reports.plots import draw_mask_outline, map_color_limits, overlay
from musc_lite.reports.report import data_notes, parameters
from musc_lite.results.comparison import Comparison
from musc_lite.results.metrics import METRICS
from musc_lite.results.scores import Scores
from musc_lite.results.summary import describe_comparison
from musc_lite.utils.tables import write_frame

MOST_IMAGES, MOST_NAMES = 12, 10


def write_comparison(folder: str | Path, comparison: Comparison, *, title: str = "Methods compared") -> Path:
    """Write table.csv (`Comparison.to_frame`) and report.html, self-contained, to a folder.

    The report shows the photos on which the methods disagree most, at most 12, the largest spread of rank first: each
    with one map for each method, all maps of a method on one scale.

    Returns
    -------
    Path
        Of the report.
    """
    folder, table = Path(folder), comparison.to_frame()
    (folder / "report.html").unlink(missing_ok=True)  # killed while it writes, no new table stands beside an old report
    write_frame(folder / "table.csv", table, "%.6g")
    scores = next(iter(comparison.scores.values()))
    images = scores.required_images
    return write_page(
        folder / "report.html",
        "comparison.html.jinja",
        title=title,
        sentences=describe_comparison(comparison),
        ideas={method: each.about.get("method", "") for method, each in comparison.scores.items()},
        metric_names=[METRICS[name].title for name in comparison.known_metrics],
        rows=[_row(comparison, row) for row in table.to_dict("records")],
        feature_seconds=comparison.feature_seconds,
        correlations=_correlations(comparison),
        own_outliers={method: _some(names) for method, names in comparison.own_outliers.items() if names},
        cards=_cards(comparison),
        n_images=len(images),
        any_masks=images.has_masks,
        data_notes=data_notes(scores),
        parameters=_parameters(comparison),
    )


def _number(value: float, form: str) -> str:
    return "–" if np.isnan(value) else format(value, form)


def _some(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _row(comparison: Comparison, row: dict) -> dict:
    """Write the numbers of one method."""
    return {
        "method": row["method"],
        "metrics": [_number(row[name], ".3f") for name in comparison.known_metrics],
        "counts": [row["outliers"], row["own_outliers"]],
        "costs": [_number(row["seconds"], ".1f"), _number(row["planned_gb"], ".2f")],
    }


def _correlations(comparison: Comparison) -> dict[str, list[tuple[str, str]]]:
    """Write Spearman's and Kendall's correlation of each method with each; none with itself."""
    spearman, kendall = (comparison.correlations(kind) for kind in ("spearman", "kendall"))
    return {
        a: [("", "") if a == b else (_number(spearman[a][b], ".2f"), _number(kendall[a][b], ".2f")) for b in spearman]
        for a in spearman
    }


def _cards(comparison: Comparison) -> list[dict]:
    """Show the photos on which the methods disagree most, and what each method makes of them."""
    first = next(iter(comparison.scores.values()))
    images, masks = first.required_images, first.masks()
    scales = {method: map_color_limits(scores.anomaly_maps) for method, scores in comparison.scores.items()}
    cards = []
    for i in comparison.disagreements(MOST_IMAGES).tolist():
        photo, ranks = _thumbnail(first, i), comparison.ranks[:, i]
        maps = [
            {
                "method": method,
                "rank": f"{rank:g}",
                "score": scores.image_scores[i],
                "is_outlier": scores.is_outlier[i],
                "overlay": data_uri(
                    Image.fromarray(overlay(_thumbnail(scores, i), scores.anomaly_maps[i], *scales[method]))
                ),
            }
            for (method, scores), rank in zip(comparison.scores.items(), ranks, strict=True)
        ]
        cards.append(
            {
                "name": images.names[i],
                "label": None if images.labels is None else ("normal", "defective")[images.labels[i]],
                "ranks": f"{ranks.min():g} to {ranks.max():g}",
                "photo": data_uri(photo if masks is None else draw_mask_outline(photo, masks[i])),
                "maps": maps,
            }
        )
    return cards


def _thumbnail(scores: Scores, i: int) -> Image.Image:
    """Take what the method looked at of the i-th photo."""
    image = crop(scores.required_images[i], scores.region)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image


def _parameters(comparison: Comparison) -> dict[str, str]:
    """Name everything that shaped the numbers: what all methods have in common once, the rest for each."""
    each = {
        method: {title: line for title, line in parameters(scores).items() if title != "method"}
        for method, scores in comparison.scores.items()
    }
    first, *others = each.values()
    common = {title: line for title, line in first.items() if all(other.get(title) == line for other in others)}
    own = {
        f"{method}: {title}": line
        for method, lines in each.items()
        for title, line in lines.items()
        if title not in common
    }
    return common | own
