"""How to score, as options of the command line: read, checked as far as that takes no torch, made into a detector."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, wraps
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from musc_lite.detector.components import COMPONENTS, component_class, scorer_name
from musc_lite.detector.options import OPTIONS, flag, of_component, read_numbers, read_one_number
from musc_lite.reports.formats import check_formats
from musc_lite.utils.validation import check_contamination, check_group

if TYPE_CHECKING:  # the command line answers before it needs torch
    from musc_lite.detector.detector import Detector
    from musc_lite.detector.musc import MuSc
    from musc_lite.scorers.base import PatchScorer

HOW_FAST = ("batch_size", "device", "precision")  # parameters that change no score
EMPTY: dict = {}
# Where the help shows the options that people need first; all others are under "Advanced".
ORDER = (None, "Input", "View", "Method", "Output", "Performance", "Advanced")
PANELS = {"image_size": "View", "region": "View", "tiles": "View", "method": "Method", "device": "Performance"}


def listed(names: Iterable[str]) -> str:
    """Write "mvtec, visa or btad"."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def parse_contamination(text: str) -> Literal["auto"] | float:
    """Read "auto" or a share, and refuse what is no share of defective images."""
    share: Any = read_one_number("--contamination", text, ("auto",), "auto or one share such as 0.1")
    check_contamination(share)
    return share


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
    numbers = read_numbers("--classes", text)
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
    """How to score: the options that `score`, `fit`, `compare` and `benchmark` share.

    Attributes
    ----------
    method, pretrained : str
        What --method and --pretrained say.
    assignments : sequence of str
        What --scorer-param says, "NAME=value" each.
    given : mapping of str to object
        Name of a parameter in `OPTIONS`: what was given for it; None: nothing.
    """

    method: str = "mutual"
    pretrained: str = "auto"
    assignments: Sequence[str] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The parameters of `MuSc` that options were given for, read, and checked as far as that takes no torch."""
        found = {}
        for name, option in OPTIONS.items():
            given = self.given.get(name)
            if given is not None:
                is_text = isinstance(given, str) and not isinstance(option.read, type)
                found[name] = option.read(flag(name), given) if is_text else given
                if option.check:
                    option.check(found[name])
        return found

    @property
    def told(self) -> dict[str, Any]:
        """What was chosen of what changes scores, for people to read."""
        name = scorer_name(self.method)
        chosen = {name: value for name, value in self.settings.items() if name not in HOW_FAST}
        return ({} if name == "mutual" else {"method": name}) | chosen | self.texts

    @property
    def texts(self) -> dict[str, str]:
        """What --scorer-param assigns to the parameters of a scorer."""
        return parse_assignments(self.assignments or [])

    def check(self, methods: Sequence[str] | None = None) -> None:
        """Raise an error for options that do not fit each other or the methods, by default the one method."""
        names = [scorer_name(name) for name in (methods or [self.method])]
        foreign = [name for name in of_component("scorer") if name in self.settings and "mutual" not in names]
        if foreign:
            raise ValueError(
                f"{flag(foreign[0])} belongs to the method mutual; what {listed(names)} takes, --scorer-param gives"
            )
        if self.settings.get("aligned") and "tiles" not in self.settings and not self._chooses_tiles:
            raise ValueError("--aligned compares each tile with the same tile of the others: give --tiles too")
        if texts := self.texts:  # the classes know their parameters, and need torch
            twice = [name for name in texts if "mutual" in names and name in self.settings]
            if twice:
                raise ValueError(f"{twice[0]} is given twice: by --scorer-param and by {flag(twice[0])}")
            for scorer in scorers_by_name(names, texts).values():
                scorer.check()

    @property
    def _chooses_tiles(self) -> bool:
        return str(self.settings.get("image_size")).startswith("auto")

    def scorers(self, methods: Sequence[str], preset: Mapping = EMPTY) -> "dict[str, PatchScorer]":
        """Make the scorers of some methods; that of mutual scoring has options of its own."""
        found = scorers_by_name(methods, self.texts)
        settings = {**preset, **self.settings}
        own = {name: settings[name] for name in of_component("scorer") if name in settings and name not in self.texts}
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

        settings = {**preset, **self.settings, "contamination": contamination, "cache_dir": cache_dir, **more}
        backbone = load_backbone(
            settings.pop("backbone", EMBEDDED),
            self.pretrained,
            settings.pop("device", None),
            settings.pop("precision", "auto"),
        )
        return MuSc(backbone, **settings)


def parse_assignments(texts: Sequence[str]) -> dict[str, str]:
    """Read "NAME=value" texts.

    Examples
    --------
    >>> parse_assignments(["coreset_ratio=0.2", "references=a.png,b.png"])
    {'coreset_ratio': '0.2', 'references': 'a.png,b.png'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals:
            raise ValueError(f"--scorer-param takes NAME=value such as coreset_ratio=0.2, got {text!r}")
        if name in found:
            raise ValueError(f"--scorer-param {name}: there are two of it, {found[name]!r} and {value!r}")
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
    >>> list(scorers_by_name(["memory", "subspace"], {"coreset_ratio": "0.2"}).values())
    [MemoryBankScorer(coreset_ratio=0.2), SubspaceScorer()]
    """
    classes = {name: component_class("scorer", scorer_name(name)) for name in methods}
    known = {name: signature(found, eval_str=True).parameters for name, found in classes.items()}
    for name in texts:
        if not any(name in parameters for parameters in known.values()):
            have = "; ".join(f"{method} has {listed(own) if own else 'none'}" for method, own in known.items())
            raise ValueError(f"--scorer-param {name}: there is no such parameter; {have}")
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
        raise ValueError(f"--scorer-param {parameter.name} takes {kind}, got {text!r}") from error


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
        return component_class("scorer", scorer_name(text))()
    return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)


def takes_method(command: Callable) -> Callable:
    """Add the options of `Method` to a command as its argument `method`; without --method if it has --methods."""
    own = signature(command, eval_str=True)
    shared = [
        _option("method", str, f"How patches are scored: {listed(COMPONENTS['scorer'])}.", "mutual"),
        _option("pretrained", str, "Weights file of the backbone, or a tag of open_clip.", "auto"),
        _option(
            "scorer_param",
            list[str],
            "Parameter of the method, such as coreset_ratio=0.2. Repeat for more.",
            metavar="NAME=VALUE",
        ),
    ]
    if "methods" in own.parameters:
        del shared[0]
    for name, option in OPTIONS.items():
        kind = option.read if isinstance(option.read, type) else str
        shared.append(_option(name, kind, option.help))

    @wraps(command)
    def run(**given: Any) -> Any:
        of_method = {parameter.name: given.pop(parameter.name) for parameter in shared}
        named = {name: of_method.pop(name) for name in ("method", "pretrained") if name in of_method}
        return command(**given, method=Method(**named, assignments=of_method.pop("scorer_param"), given=of_method))

    parameters = [parameter for name, parameter in own.parameters.items() if name != "method"] + shared
    parameters.sort(key=_panel)
    keywords = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__signature__ = own.replace(parameters=keywords)  # type: ignore[attr-defined]  # PEP 362, in no type of a function
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    return run


def _panel(parameter: Parameter) -> int:
    """Return the place of a parameter's panel in the help."""
    about = get_args(parameter.annotation)[-1]
    return ORDER.index(getattr(about, "rich_help_panel", None))


def _option(name: str, kind: Any, about: str, default: Any = None, **more: Any) -> Parameter:
    """Return a parameter of a command; its flag is given, or typer would add --no-aligned to --aligned."""
    panel = PANELS.get(name, "Advanced")
    annotation = Annotated[kind | None, typer.Option(flag(name), help=about, rich_help_panel=panel, **more)]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
