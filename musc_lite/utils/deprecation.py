"""Old names that still work for one version, each with a warning that names the new one."""

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

Decorated = TypeVar("Decorated", bound=Callable)


def renamed_parameters(**new_names: str) -> Callable[[Decorated], Decorated]:
    """Decorate a function or a scikit-learn estimator: keyword arguments of the old names still work.

    An estimator's `set_params` and attributes take the old names too; `get_params` returns the new ones alone.

    Parameters
    ----------
    **new_names : str
        The old name of a parameter = its new name.

    Examples
    --------
    >>> @renamed_parameters(window="search_window")
    ... def reach(search_window=1):
    ...     return search_window
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     reach(window=2), str(caught[0].message)
    (2, 'reach: window is called search_window now; the old name goes with the next version')
    """

    def decorate(decorated: Decorated) -> Decorated:
        if not isinstance(decorated, type):
            return _translating(decorated, decorated.__name__, new_names)  # type: ignore[return-value]
        name = decorated.__name__
        for method in ("__init__", "set_params"):
            setattr(decorated, method, _translating(getattr(decorated, method), name, new_names))
        return renamed_attributes(**new_names)(decorated)

    return decorate


def renamed_attributes(**new_names: str) -> Callable[[Decorated], Decorated]:
    """Decorate a class: attributes and methods of the old names still work.

    Parameters
    ----------
    **new_names : str
        The old name of an attribute = its new name.
    """

    def decorate(decorated: Decorated) -> Decorated:
        for old, new in new_names.items():
            setattr(decorated, old, _old_attribute(decorated.__name__, old, new))
        return decorated

    return decorate


def current_names(parameters: Mapping[str, Any], decorated: Any) -> dict[str, Any]:
    """Return parameters that an earlier version saved, under the names that the class has now."""
    new_names: Mapping[str, str] = getattr(decorated.__init__, "new_names", {})
    return {new_names.get(name, name): value for name, value in parameters.items()}


def _translating(function: Callable, owner: str, new_names: Mapping[str, str]) -> Callable:
    @wraps(function)
    def translating(*args: Any, **given: Any) -> Any:
        for old in new_names.keys() & given.keys():
            warn_of_old_name(f"{owner}: {old}", new_names[old])
            if new_names[old] in given:
                raise TypeError(f"{owner}: {old} and {new_names[old]} are one parameter: give the second alone")
            given[new_names[old]] = given.pop(old)
        return function(*args, **given)

    translating.new_names = new_names  # type: ignore[attr-defined]
    return translating


def _old_attribute(owner: str, old: str, new: str) -> property:
    def read(self: Any) -> Any:
        warn_of_old_name(f"{owner}: {old}", new)
        return getattr(self, new)

    def write(self: Any, value: Any) -> None:
        warn_of_old_name(f"{owner}: {old}", new)
        setattr(self, new, value)

    return property(read, write, doc=f"The old name of `{new}`.")


def warn_of_old_name(old: str, new: str, stacklevel: int = 4) -> None:
    """Warn where an old name is used."""
    message = f"{old} is called {new} now; the old name goes with the next version"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)
