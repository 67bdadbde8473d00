"""The registry of exchangeable parts: what saved detectors and the command line know by name.

A new part is a file and a line here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from musc_lite.scorers import SCORERS
from musc_lite.utils.deprecation import current_names, warn_of_old_name

if TYPE_CHECKING:  # the command line reads the names before it needs any of this
    from musc_lite.data.view import View
    from musc_lite.scorers.base import PatchScorer
    from musc_lite.stages.aggregation import LNAMD
    from musc_lite.stages.conformal import ConformalThreshold
    from musc_lite.stages.maps import Pooling
    from musc_lite.stages.rescoring import RsCIN
    from musc_lite.stages.thresholds import ContaminationThreshold
    from musc_lite.utils.component import Component

# Kind, name: where the class is; it is loaded when it is first used. The first of a kind is the default, the paper's.
COMPONENTS: "Mapping[str, dict[str, Any]]" = {
    "view": {"photo": "musc_lite.data.view:View"},
    "aggregation": {
        "lnamd": "musc_lite.stages.aggregation:LNAMD",
        "snamd": "musc_lite.stages.aggregation:SNAMD",
    },
    "scorer": SCORERS,
    "pooling": {"map": "musc_lite.stages.maps:Pooling"},
    "rescoring": {"rscin": "musc_lite.stages.rescoring:RsCIN", "rscon": "musc_lite.stages.rescoring:RsCon"},
    "threshold": {
        "contamination": "musc_lite.stages.thresholds:ContaminationThreshold",
        "false alarm rate": "musc_lite.stages.conformal:ConformalThreshold",
    },
}
OLD_NAMES = {"musc": "mutual"}  # of scorers

# What a saved file may be: the name of a class, and where it is.
DETECTORS = {"Detector": "musc_lite.detector.detector:Detector", "MuSc": "musc_lite.detector.musc:MuSc"}


@dataclass(frozen=True)
class Components:
    """What a detector is made of, in the order of the data."""

    view: "View"
    aggregation: "LNAMD"
    scorer: "PatchScorer"
    pooling: "Pooling"
    rescoring: "RsCIN"
    threshold: "ContaminationThreshold | ConformalThreshold"

    @classmethod
    def from_params(cls, **given: "Component | None") -> "Components":
        """Take the parts that are given, and the default of each other kind."""
        missing: dict[str, Any] = {kind: default_component(kind)() for kind in COMPONENTS if given.get(kind) is None}
        return cls(**given | missing)

    def check(self) -> None:
        """Raise ValueError before the long work for parameters that a component would refuse after it."""
        for part in vars(self).values():
            part.check()

    def provenance(self) -> dict[str, str]:
        """Collect the lines of all parts."""
        return {title: line for part in vars(self).values() for title, line in part.provenance().items()}


def component_class(kind: str, name: str) -> "type[Component]":
    """Return the class of a part.

    Raises
    ------
    ValueError
        If there is no such part.

    Examples
    --------
    >>> component_class("scorer", "nearest").__name__
    'NearestScorer'
    """
    if name not in COMPONENTS[kind]:
        raise ValueError(f"the {kind} must be one of {', '.join(COMPONENTS[kind])}, got {name!r}")
    found = COMPONENTS[kind][name]
    return resolve_name(found) if isinstance(found, str) else found


def default_component(kind: str) -> "type[Component]":
    """Return the first class of a kind, the paper's."""
    return component_class(kind, next(iter(COMPONENTS[kind])))


def detector_class(name: str) -> Any:
    """Return the class of a saved detector; ValueError where there is none of that name."""
    if name not in DETECTORS:
        raise ValueError(f"its class {name!r} is none of {', '.join(DETECTORS)}")
    return resolve_name(DETECTORS[name])


def scorer_name(name: str) -> str:
    """Return the registered name of a scorer; an old one works with a DeprecationWarning.

    Raises
    ------
    ValueError
        If there is no such scorer.

    Examples
    --------
    >>> scorer_name("subspace")
    'subspace'
    """
    known = COMPONENTS["scorer"]
    if name in OLD_NAMES and name not in known:
        warn_of_old_name(f"the method {name}", OLD_NAMES[name])
        return OLD_NAMES[name]
    if name not in known:
        raise ValueError(f"the method must be one of {', '.join(known)}, got {name!r}")
    return name


def check_methods(names: Sequence[str]) -> None:
    """Raise an error for fewer than two scorers to compare, an unknown one, and the same twice."""
    known = [scorer_name(name) for name in names]
    if len(known) < 2:
        raise ValueError(f"a comparison takes two methods or more, got {', '.join(names) or 'none'}")
    if twice := [name for k, name in enumerate(known) if name in known[:k]]:
        raise ValueError(f"the method {twice[0]} is there twice: {', '.join(names)}")


def component_to_dict(kind: str, part: "Component | None") -> dict | None:
    """Write a part as its name and its parameters.

    Raises
    ------
    ValueError
        If its class is not registered: a file that named any class could run anything.
    """
    if part is None:
        return None
    for name in COMPONENTS[kind]:
        if component_class(kind, name) is type(part):
            parameters = {key: _as_json(value) for key, value in part.get_params(deep=False).items()}
            return {"name": name, "parameters": parameters}
    raise ValueError(
        f"{type(part).__name__} has no name to be saved by: COMPONENTS[{kind!r}]['a name'] = {type(part).__name__} "
        "(musc_lite.detector.components), here and where it is loaded"
    )


def component_from_dict(kind: str, about: Mapping | None) -> "Component | None":
    """Undo `component_to_dict`."""
    if about is None:
        return None
    found = component_class(kind, about["name"])
    parameters = {key: _from_json(value) for key, value in current_names(about["parameters"], found).items()}
    return found(**parameters)


def _as_json(value: Any) -> Any:
    """Write down a list of scorers, such as a fusion has, and tuples, which JSON lacks; other values stay."""
    from musc_lite.scorers.base import PatchScorer

    if isinstance(value, list | tuple) and value and all(isinstance(each, PatchScorer) for each in value):
        return {"scorers": [component_to_dict("scorer", each) for each in value]}
    return {"tuple": [*value]} if isinstance(value, tuple) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict) and "scorers" in value:
        return [component_from_dict("scorer", each) for each in value["scorers"]]
    return tuple(value["tuple"]) if isinstance(value, dict) and "tuple" in value else value
