"""How to score, as options of the command line: read, checked as far as that takes no torch, made into a detector."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from musc_lite.detector.components import PARTS, part_class, scorer_name
from musc_lite.reports.formats import check_formats
from musc_lite.utils.validation import check_group, check_parameters

if TYPE_CHECKING:  # the command line answers before it needs torch
    from musc_lite.detector.detector import Detector
    from musc_lite.detector.musc import MuSc
    from musc_lite.scorers.base import PatchScorer

__all__ = ["Method", "listed", "parse_classes", "parse_contamination", "parse_formats", "parse_groups", "takes_method"]

OF_MUTUAL = ("interval", "references", "n_components", "window", "aligned")  # options that other scorers do not have
EMPTY: dict = {}


def listed(names: Iterable[str]) -> str:
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
    if text is not None and not re.fullmatch(r"\s*\d+(\s*[x, ]\s*\d+)?\s*", text):
        raise ValueError(f"{option} takes a whole number such as 2, or two as in 2x3, got {text!r}")
    numbers = _numbers(option, None if text is None else text.replace("x", " "))
    return numbers[0] if numbers and len(numbers) == 1 else numbers


def _image_size(text: str | None) -> int | tuple[int, ...] | str | None:
    if text is not None and (found := re.fullmatch(r"(aspect|auto)([:\s]+[1-9]\d*)?", text)):
        return found[0].replace(":", " ")
    return _sides("--image-size (pixels, height x width, aspect or auto)", text)


def _pooling(text: str | None) -> str | float | None:
    if text in (None, "max", "mean"):
        return text
    numbers = _numbers("--pooling", text, float) or ()
    if len(numbers) != 1:
        raise ValueError(f"--pooling takes max, mean or one share of the highest pixels such as 0.005, got {text!r}")
    return numbers[0]


def parse_contamination(text: str) -> Literal["auto"] | float:
    """Read "auto" or a share."""
    if text == "auto":
        return "auto"
    numbers = _numbers("--contamination", text, float) or ()
    if len(numbers) != 1:
        raise ValueError(f"--contamination takes auto or one share such as 0.1, got {text!r}")
    return numbers[0]


def parse_groups(text: str | None) -> str | int | None:
    """Read "largest" or the number of a group."""
    if text is None or text == "largest":
        return text
    if not text.isdecimal():
        raise ValueError(f"--groups takes largest, or the number of a group such as 1, got {text!r}")
    check_group(int(text))
    return int(text)


def parse_classes(text: str | None) -> int | None:
    """Read "auto", which is None, or a number of kinds."""
    if text in (None, "auto"):
        return None
    numbers = _numbers("--classes", text) or ()
    if len(numbers) != 1 or numbers[0] < 1:
        raise ValueError(f"--classes takes auto or one number of kinds such as 3, got {text!r}")
    return numbers[0]


def parse_formats(text: str) -> tuple[str, ...]:
    """Read "coco,masks"; an empty text gives none."""
    formats = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    check_formats(formats)
    return formats


@dataclass(frozen=True)
class Method:
    """How to score: the options that `score` and `benchmark` share."""

    backbone: Annotated[
        str | None, typer.Option(help="dinov2_vits14 (default), dinov2_vitb14, dinov3_vitb16, ViT-L-14-336, ...")
    ] = None
    pretrained: Annotated[str, typer.Option(help="A weights file for the backbone, or a tag of open_clip.")] = "auto"
    method: Annotated[str, typer.Option(help=f"{listed(PARTS['scorer'])}: how patches are scored.")] = "mutual"
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the method, share=0.2 (may be repeated)."),
    ] = None
    layers: Annotated[str | None, typer.Option(help="even, middle or block numbers such as 4,6,8.")] = None
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Pixels a side; 336x504; aspect, aspect:448: the photos' shape; auto:60: as close as 60 s allow."
        ),
    ] = None
    region: Annotated[
        str | None,
        typer.Option(help="Look at this part of each photo only: left, top, right, bottom as shares; or auto."),
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
    precision: Annotated[
        str | None,
        typer.Option(help="float32; bfloat16; auto: bfloat16 where this processor is faster at it. By default auto."),
    ] = None

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
        check_parameters(**{name: given[name] for name in ("r", "interval", "windows", "max_memory") if name in given})
        return given

    @property
    def told(self) -> dict:
        """What was chosen, for people to read."""
        name = scorer_name(self.method)
        return ({} if name == "mutual" else {"method": name}) | self.settings | parse_assignments(self.given or [])

    def check(self, methods: Sequence[str] | None = None) -> None:
        """Refuse what no photos make right: options that do not fit each other or the methods, by default the one."""
        names = [scorer_name(name) for name in (methods or [self.method])]
        foreign = [name for name in OF_MUTUAL if name in self.settings and "mutual" not in names]
        if foreign:
            option = f"--{foreign[0].replace('_', '-')}"
            raise ValueError(f"{option} belongs to the method mutual; what {listed(names)} takes is given by --set")
        if self.aligned and self.tiles is None and not (self.image_size or "").startswith("auto"):
            raise ValueError("--aligned compares each tile with the same tile of the others: give --tiles too")
        if texts := parse_assignments(self.given or []):  # the classes know their parameters, and need torch
            twice = [name for name in texts if "mutual" in names and name in self.settings]
            if twice:
                raise ValueError(f"{twice[0]} is given twice: by --set and by --{twice[0].replace('_', '-')}")
            for scorer in scorers_by_name(names, texts).values():
                scorer.check()

    def scorers(self, methods: Sequence[str], preset: Mapping = EMPTY) -> "dict[str, PatchScorer]":
        """Make the scorers of some methods; that of mutual scoring has options of its own."""
        texts = parse_assignments(self.given or [])
        found = scorers_by_name(methods, texts)
        settings = {**preset, **self.settings}
        own = {name: settings[name] for name in OF_MUTUAL if name in settings and name not in texts}
        for name, scorer in found.items():
            if scorer_name(name) == "mutual":
                scorer.set_params(**own)
        return found

    def detector(
        self,
        contamination: Literal["auto"] | float = "auto",
        preset: Mapping = EMPTY,
        cache_dir: Path | None = None,
        **more: Any,
    ) -> "Detector":
        """Make the detector that the options describe; `more` goes to `MuSc`."""
        musc = self.musc(contamination, preset, cache_dir, **more)
        (scorer,) = self.scorers([self.method], preset).values()
        if scorer_name(self.method) == "mutual":
            return musc.set_params(**scorer.get_params(deep=False))
        return musc.with_scorer(scorer)

    def musc(
        self,
        contamination: Literal["auto"] | float = "auto",
        preset: Mapping = EMPTY,
        cache_dir: Path | None = None,
        **more: Any,
    ) -> "MuSc":
        """Make the detector that they describe but for the method, which is the paper's."""
        from musc_lite.backbones.load import EMBEDDED, load_backbone
        from musc_lite.detector.musc import MuSc

        settings = {**preset, **self.settings}
        backbone = load_backbone(
            settings.pop("backbone", EMBEDDED), self.pretrained, self.device, self.precision or "auto"
        )
        settings |= {"contamination": contamination, "batch_size": self.batch_size, "cache_dir": cache_dir}
        settings |= more
        return MuSc(backbone, **settings)


def parse_assignments(texts: Sequence[str]) -> dict[str, str]:
    """Read "NAME=value" texts.

    Examples
    --------
    >>> parse_assignments(["share=0.2", "references=a.png,b.png"])
    {'share': '0.2', 'references': 'a.png,b.png'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals:
            raise ValueError(f"--set takes NAME=value such as share=0.2, got {text!r}")
        if name in found:
            raise ValueError(f"--set {name}: there are two of it, {found[name]!r} and {value!r}")
        found[name] = value
    return found


def scorers_by_name(methods: Sequence[str], texts: Mapping[str, str]) -> "dict[str, PatchScorer]":
    """Make scorers; each takes those of the parameters that it has.

    Raises
    ------
    ValueError
        If none of them has such a parameter, or a text is no value of it.

    Examples
    --------
    >>> list(scorers_by_name(["memory", "subspace"], {"share": "0.2"}).values())
    [MemoryBankScorer(share=0.2), SubspaceScorer()]
    """
    classes = {name: part_class("scorer", scorer_name(name)) for name in methods}
    known = {name: signature(found, eval_str=True).parameters for name, found in classes.items()}
    for name in texts:
        if not any(name in parameters for parameters in known.values()):
            have = "; ".join(f"{method} has {listed(own) if own else 'none'}" for method, own in known.items())
            raise ValueError(f"--set {name}: there is no such parameter; {have}")
    return {
        method: found(
            **{name: _value(known[method][name], text) for name, text in texts.items() if name in known[method]}
        )
        for method, found in classes.items()
    }


def _value(parameter: Parameter, text: str) -> Any:
    """Read a text as what the signature of a scorer says that it is."""
    kind, default = parameter.annotation, parameter.default
    if kind is Parameter.empty:
        kind = type(default) if isinstance(default, int | float) else str
    try:
        return _read(kind, text)
    except (ValueError, KeyError, TypeError) as error:
        kind = getattr(kind, "__name__", kind) if isinstance(kind, type) else kind
        raise ValueError(f"--set {parameter.name} takes {kind}, got {text!r}") from error


def _read(kind: Any, text: str) -> Any:
    """Read a text as a type; of a union as the first that it can be, of a sequence with commas in between."""
    from musc_lite.scorers.base import PatchScorer

    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if NoneType in inner and text.lower() in ("", "none"):
            return None
        for each in inner:
            if each is not NoneType:
                with suppress(ValueError, KeyError):
                    return _read(each, text)
        raise ValueError(text)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return tuple(_read(inner[0], part.strip()) for part in text.split(","))
    if issubclass(kind, PatchScorer):
        return part_class("scorer", scorer_name(text))()
    return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)


def takes_method(command: Callable) -> Callable:
    """Give a command the options of `Method`, as its one argument `method`; --method not where it has --methods."""
    own, shared = signature(command, eval_str=True), dict(signature(Method, eval_str=True).parameters)
    if "methods" in own.parameters:
        del shared["method"]

    @wraps(command)
    def run(**options):
        method = Method(**{name: options.pop(name) for name in shared})
        return command(**options, method=method)

    parameters = [parameter for name, parameter in own.parameters.items() if name != "method"] + list(shared.values())
    keywords = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__signature__ = own.replace(parameters=keywords)  # type: ignore[attr-defined]  # PEP 362, in no type of a function
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    return run
