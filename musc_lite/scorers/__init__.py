"""Ways to score the patches of a batch, one file a method; `base` is what all of them promise."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from musc_lite.scorers.base import PatchScorer

__all__ = ["SCORERS"]

# Name: where the class is, loaded when it is first used. A new scorer is a file and a line here; saved detectors and
# the command line know it by its name. The first is the default, the paper's.
SCORERS: "dict[str, str | type[PatchScorer]]" = {
    "mutual": "musc_lite.scorers.mutual:MutualScorer",
    "nearest": "musc_lite.scorers.knn:NearestScorer",
    "memory": "musc_lite.scorers.memory_bank:MemoryBankScorer",
    "subspace": "musc_lite.scorers.subspace:SubspaceScorer",
    "gaussian": "musc_lite.scorers.gaussian:GaussianScorer",
    "recurring": "musc_lite.scorers.recurring:RecurringScorer",
    "fusion": "musc_lite.scorers.fusion:Fusion",
}
