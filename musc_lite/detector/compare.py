"""Several methods on one extraction: what each of them says of the same patch vectors."""

from collections.abc import Mapping, Sequence
from functools import partial

from musc_lite.analysis.groups import check_groups
from musc_lite.data.loaders import Images, as_image_set
from musc_lite.detector.components import check_methods, component_class, scorer_name
from musc_lite.detector.detector import Detector
from musc_lite.detector.musc import MuSc
from musc_lite.detector.planning import MemoryPlan, extent_of, fill_in_view, plan_memory, resolve_view
from musc_lite.results.comparison import Comparison
from musc_lite.scorers.base import PatchScorer
from musc_lite.stages.features import Features
from musc_lite.utils.progress import timed
from musc_lite.utils.validation import check_compared

STORAGES = ("float32", "float16", "disk")  # from the fastest to the thriftiest


def compare(
    images: Images,
    methods: Sequence[str] | Mapping[str, PatchScorer] = ("mutual", "subspace", "memory", "gaussian"),
    *,
    detector: Detector | None = None,
    features: Features | None = None,
) -> Comparison:
    """Score the same images by several methods; features are extracted once.

    Parameters
    ----------
    images : ImageSet, path or images
        At least 3.
    methods : sequence of str, or mapping of str to PatchScorer
        Names of scorers, which run with their defaults, but the one of the detector as it is there; or scorers under
        names of your own.
    detector : Detector, optional
        Not fitted: everything but the scorer is that of all methods. None: `MuSc` with its defaults.
    features : Features, optional
        Of these images, where they are there already, as the detector would make them.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If there are fewer than two methods, one is unknown or there twice, or there are too few images.

    Examples
    --------
    >>> from musc_lite import planted_textures
    >>> compare(planted_textures("brick", 6, 1), ["mutual", "subspace"], detector=MuSc(image_size=56))
    Comparison(mutual, subspace on 6 images)
    """
    shared = MuSc() if detector is None else detector
    scorers = _scorers(methods, shared.components.scorer)
    images = as_image_set(images)
    check_compared(len(images))
    backbone, seconds = shared.load_backbone(), dict[str, float]()
    each = {name: shared.with_scorer(scorer).set_params(backbone=backbone) for name, scorer in scorers.items()}
    setups = [one.setup() for one in each.values()]
    for setup in setups:
        check_groups(setup.groups, setup.components.scorer)
    first = setups[0]
    view = first.components.view if features else fill_in_view(first, images)
    resolved_view = features.resolved_view if features else resolve_view(first, images, **view.get_params())
    extent = extent_of(first, resolved_view, features)
    plan = partial(plan_memory, n_images=len(images), extent=extent, max_memory=shared.max_memory)
    plans: list[MemoryPlan] = [plan(setup.components.scorer) for setup in setups]
    if features is None:
        storage = max((found.storage for found in plans), key=STORAGES.index)
        with timed(seconds, "features"):
            features = first.extract(images, extent.layers, resolved_view, storage)
    scores = {name: one.with_components(view=view).fit_features(features, images).scores_ for name, one in each.items()}
    n_bytes = {name: found.n_bytes for name, found in zip(each, plans, strict=True)}
    return Comparison(scores, n_bytes, seconds.get("features"))


def _scorers(methods: Sequence[str] | Mapping[str, PatchScorer], own: PatchScorer) -> dict[str, PatchScorer]:
    """Return the scorers that names stand for; `own` for its own name."""
    if isinstance(methods, Mapping):
        if wrong := [name for name, scorer in methods.items() if not isinstance(scorer, PatchScorer)]:
            raise ValueError(f"methods are names, or scorers under names of your own; {wrong[0]} is no scorer")
        if len(methods) < 2:
            raise ValueError(f"a comparison takes two methods or more, got {', '.join(methods) or 'none'}")
        return dict(methods)
    check_methods(methods)
    classes = {name: component_class("scorer", scorer_name(name)) for name in methods}
    return {name: own if type(own) is found else found() for name, found in classes.items()}
