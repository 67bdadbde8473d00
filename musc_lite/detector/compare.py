"""Several methods on one extraction: what each of them says of the same patch vectors."""

from collections.abc import Mapping, Sequence
from functools import partial

from sklearn.base import clone

from musc_lite.analysis.reference_group import check_groups
from musc_lite.data.coerce import Images, as_image_set
from musc_lite.detector.components import check_methods, part_class, scorer_name
from musc_lite.detector.detector import Detector
from musc_lite.detector.memory import Plan, plan_memory
from musc_lite.detector.musc import MuSc
from musc_lite.detector.resolution import settle_view
from musc_lite.results.comparison import Comparison
from musc_lite.scorers.base import PatchScorer
from musc_lite.stages.features import Features, extract_features
from musc_lite.utils.progress import timed
from musc_lite.utils.validation import check_compared

__all__ = ["compare"]

STORAGES = ("float32", "float16", "disk")  # from the fastest to the thriftiest


def compare(
    images: Images,
    methods: Sequence[str] | Mapping[str, PatchScorer] = ("musc", "subspace", "memory", "gaussian"),
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
        Names of scorers ("musc" is mutual scoring), which run with their defaults, but the one of the detector as it
        is there; or scorers under names of your own.
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
    >>> compare(planted_textures("brick", 6, 1), ["musc", "subspace"], detector=MuSc(image_size=56))
    Comparison(musc, subspace on 6 images)
    """
    shared = MuSc() if detector is None else detector
    scorers = _scorers(methods, shared.parts.scorer)
    images = as_image_set(images)
    check_compared(len(images))
    backbone, seconds = shared.load_backbone(), dict[str, float]()
    each = {name: clone(shared.with_scorer(scorer)).set_params(backbone=backbone) for name, scorer in scorers.items()}
    for one in each.values():
        one.parts.check()
        check_groups(one.groups, one.parts.scorer)
    first = next(iter(each.values()))
    framing = features.framing if features else settle_view(first, images)
    extent = first.extent(framing, features)
    plan = partial(plan_memory, n_images=len(images), extent=extent, max_memory=shared.max_memory)
    plans: dict[str, Plan] = {name: plan(one.parts.scorer) for name, one in each.items()}
    if features is None:
        storage = max((found.storage for found in plans.values()), key=STORAGES.index)
        extract = partial(extract_features, batch_size=shared.batch_size, cache_dir=shared.cache_dir, storage=storage)
        with timed(seconds, "features"):
            features = extract(images, backbone, layers=extent.layers, view=framing)
    scores = {
        name: one.set_params(view=first.view).fit_features(features, images).scores_ for name, one in each.items()
    }
    return Comparison(scores, {name: found.n_bytes for name, found in plans.items()}, seconds.get("features"))


def _scorers(methods: Sequence[str] | Mapping[str, PatchScorer], own: PatchScorer) -> dict[str, PatchScorer]:
    """Give the scorers that names stand for; `own` for its own name."""
    if isinstance(methods, Mapping):
        if wrong := [name for name, scorer in methods.items() if not isinstance(scorer, PatchScorer)]:
            raise ValueError(f"methods are names, or scorers under names of your own; {wrong[0]} is no scorer")
        if len(methods) < 2:
            raise ValueError(f"a comparison takes two methods or more, got {', '.join(methods) or 'none'}")
        return dict(methods)
    check_methods(methods)
    classes = {name: part_class("scorer", scorer_name(name)) for name in methods}
    return {name: own if type(own) is found else found() for name, found in classes.items()}
