"""Several methods on the same images: where they agree, where they do not, what each costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import kendalltau, rankdata, spearmanr

from musc_lite.results.metrics import evaluate_scores
from musc_lite.results.scores import Scores
from musc_lite.utils.validation import check_compared

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What several methods say of the same images.

    Attributes
    ----------
    scores : mapping of str to Scores
        Of each method, in the order in which they are shown; also such as `Scores.from_maps` made.
    n_bytes : mapping of str to int
        The most memory that a method holds at once by the plan (`planning.plan_memory`), beside program and backbone;
        this is estimated, not measured.
    feature_seconds : float, optional
        What the one extraction took that all methods share.

    Raises
    ------
    ValueError
        If there are fewer than two methods or three images, or the methods scored different images.
    """

    scores: Mapping[str, Scores]
    n_bytes: Mapping[str, int] = field(default_factory=dict)
    feature_seconds: float | None = None

    def __post_init__(self):
        if len(self.scores) < 2:
            raise ValueError(f"a comparison takes two methods or more, got {', '.join(self.scores) or 'none'}")
        (first, names), *others = [(method, list(scores.names)) for method, scores in self.scores.items()]
        for method, other in others:
            if other != names:
                raise ValueError(f"{first} and {method} scored different images: give scores of the same images")
        check_compared(len(names))

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.scores)} on {len(self.names)} images)"

    @property
    def methods(self) -> list[str]:
        """The names of the K methods."""
        return list(self.scores)

    @property
    def names(self) -> list[str]:
        """The names of the N images."""
        return list(next(iter(self.scores.values())).names)

    @cached_property
    def ranks(self) -> np.ndarray:
        """The rank of each image by each method, (K, N): 1 is the most anomalous; equal scores share a mean rank."""
        return rankdata([-scores.image_scores for scores in self.scores.values()], axis=1)

    @property
    def spread(self) -> np.ndarray:
        """How far the ranks of each image lie apart, (N,)."""
        return np.ptp(self.ranks, axis=0)

    def disagreements(self, n_images: int = 12) -> np.ndarray:
        """Find the images on which the methods disagree most.

        Returns
        -------
        ndarray (n,)
            Indices, the largest spread of rank first, of equal ones that with the highest rank; without those on which
            all methods agree.
        """
        order = np.lexsort((self.ranks.min(axis=0), -self.spread))
        return order[self.spread[order] > 0][:n_images]

    def correlations(self, kind: Literal["spearman", "kendall"] = "spearman") -> "pandas.DataFrame":
        """Compute the rank correlations (K, K) of the methods; NaN where all scores of a method are equal.

        Parameters
        ----------
        kind : "spearman" or "kendall"
            Spearman's rho, which weighs a long way in ranks more, or Kendall's tau, which counts pairs of images in
            the same order.
        """
        import pandas

        if kind not in ("spearman", "kendall"):
            raise ValueError(f"the rank correlation must be 'spearman' or 'kendall', got {kind!r}")
        correlate, values = spearmanr if kind == "spearman" else kendalltau, np.eye(len(self.scores))
        for a, b in combinations(range(len(values)), 2):
            told = all(np.ptp(self.ranks[k]) > 0 for k in (a, b))
            values[a, b] = values[b, a] = correlate(self.ranks[a], self.ranks[b]).statistic if told else np.nan
        return pandas.DataFrame(values, index=self.methods, columns=self.methods)

    @property
    def own_outliers(self) -> dict[str, list[str]]:
        """The images that one method alone calls outliers, the most anomalous first."""
        called = np.array([scores.is_outlier for scores in self.scores.values()])  # (K, N)
        alone = called.sum(axis=0) == 1
        return {
            method: [self.names[i] for i in scores.ranking if called[k, i] and alone[i]]
            for k, (method, scores) in enumerate(self.scores.items())
        }

    @cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Of each method what labels and masks allow; NaN for what they do not."""
        return {method: evaluate_scores(scores).asdict() for method, scores in self.scores.items()}

    @property
    def known_metrics(self) -> list[str]:
        """The names of the metrics that some method has."""
        each = list(self.metrics.values())
        return [name for name in each[0] if any(np.isfinite(found[name]) for found in each)]

    def seconds(self, method: str) -> float:
        """Return what a method took after the features, measured; NaN where that is not known."""
        seconds = self.scores[method].seconds
        return sum(value for stage, value in seconds.items() if stage != "features") if seconds else np.nan

    def to_frame(self) -> "pandas.DataFrame":
        """Return a table, a row for each method.

        Returns
        -------
        DataFrame
            Columns method, metrics where there are labels, outliers, own_outliers and their names, seconds (measured,
            without features), planned_gb (estimated), and spearman_METHOD for each.
        """
        import pandas

        own, known, correlations = self.own_outliers, self.known_metrics, self.correlations()
        rows = [
            {
                "method": method,
                **{name: self.metrics[method][name] for name in known},
                "outliers": int(scores.is_outlier.sum()),
                "own_outliers": len(own[method]),
                "own_outlier_names": "; ".join(own[method]),
                "seconds": self.seconds(method),
                "planned_gb": self.n_bytes.get(method, np.nan) / 1e9,
                **{f"spearman_{other}": correlations.loc[method, other] for other in self.methods},
            }
            for method, scores in self.scores.items()
        ]
        return pandas.DataFrame(rows)
