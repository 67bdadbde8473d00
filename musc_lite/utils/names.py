"""Names of images as text that every file and screen can hold, and names of the files that belong to them."""

import hashlib
import os
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

# Control characters, line and paragraph separators, and what stands for bytes that are not UTF-8.
UNSAFE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
RESERVED = re.compile(r'[<>:"|?*\\]' if os.name == "nt" else r"[\0]")  # may not be in a file's name
DEFAULT_CONTEXT = re.compile(r"[A-Za-z0-9_()+,=@~#-][A-Za-z0-9_ .()+,=@~#-]{,120}")  # names that any file system takes
LONGEST, CUT = 255, 200  # bytes of a file's name: most that file systems take, and what is left of a longer one


def writable(name: str) -> str:
    r"""Return a name without control characters, line separators and bytes that are not UTF-8.

    Each is written as %XX, and so is a % of such a name: `urllib.parse.unquote_to_bytes` gives the name on the disk.
    Other names stay as they are.

    Examples
    --------
    >>> writable("50%.png"), writable("new\nline 50%.png"), writable("Geh\udce4use.png")
    ('50%.png', 'new%0Aline 50%25.png', 'Geh%E4use.png')
    """
    return _percent(re.compile(f"{UNSAFE.pattern}|%"), name) if UNSAFE.search(name) else name


def file_names(names: Sequence[str], ending: str) -> list[str]:
    """Return the relative path of a file for each image, with this ending: all different, and below one folder.

    It is the image's own name, as far as that can be. A part of it that is too long for a file system is cut and gets
    a hash of the whole; so does a name that another image has. A leading slash and ".." lose their meaning.

    Examples
    --------
    >>> file_names(["good/a.png", "../b.png"], ".jpg")
    ['good/a.png.jpg', '%2E%2E/b.png.jpg']
    >>> [len(name) for name in file_names(["x" * 250, "x" * 251], ".json")]
    [255, 216]
    """
    found = [_file_name(name, ending) for name in names]
    times, seen = Counter(found), Counter[str]()
    for i, name in enumerate(found):
        seen[name] += 1
        if times[name] > 1:
            found[i] = _file_name(f"{names[i]}~{_hash(f'{writable(names[i])} {seen[name]}')}", ending)
    return found


def check_file_names(folder: Path, names: Iterable[str], ending: str = ".json") -> None:
    """Raise `ValueError` where the file system of a folder does not take the files of some images.

    Each part of a name that is not plain is tried there, in a folder that is removed again.
    """
    paths = {name: path.split("/") for name, path in zip(names, file_names([*names], ending), strict=True)}
    odd = {name: [part for part in parts if not DEFAULT_CONTEXT.fullmatch(part)] for name, parts in paths.items()}
    with tempfile.TemporaryDirectory(dir=folder) as trial:
        refused = [name for name, parts in odd.items() if not all(_can_be(Path(trial), part) for part in parts)]
        alike = [a for a, n in Counter(map(_folded, paths)).items() if n > 1] if _ignores_case(Path(trial)) else []
    if refused or alike:
        example = refused[0] if refused else next(name for name in paths if _folded(name) == alike[0])
        raise ValueError(
            f"results of {len(refused) + len(alike)} images, such as {example!r}, cannot be written to {folder}: "
            "its file system does not take their names; give a folder on another disk, or rename these photos"
        )


def listed(names: Sequence[str], at_most: int = 5, separator: str = ", ") -> str:
    """Join the first of some names, and count the others.

    Examples
    --------
    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    shown = separator.join(names[:at_most])
    return f"{shown} and {len(names) - at_most} more" if len(names) > at_most else shown


def _percent(pattern: re.Pattern, name: str) -> str:
    def code(found: re.Match) -> str:
        letter = ord(found[0])
        content = bytes([letter - 0xDC00]) if 0xDC80 <= letter < 0xDD00 else found[0].encode("utf-8", "surrogatepass")
        return "".join(f"%{byte:02X}" for byte in content)

    return pattern.sub(code, name)


def _file_name(name: str, ending: str) -> str:
    parts = [_percent(RESERVED, part) for part in writable(name).split("/") if part not in ("", ".")] or ["image"]
    parts = ["%2E%2E" if part == ".." else part for part in parts]
    return "/".join([*map(_cut, parts[:-1]), _cut(parts[-1], ending)])


def _cut(part: str, ending: str = "") -> str:
    if len(f"{part}{ending}".encode()) <= LONGEST:
        return f"{part}{ending}"
    return f"{part.encode()[:CUT].decode(errors='ignore')}~{_hash(part)}{ending}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _can_be(folder: Path, name: str) -> bool:
    with suppress(OSError):
        (folder / name).touch()
        (folder / name).unlink()
        return True
    return False


def _ignores_case(folder: Path) -> bool:
    (folder / "Case").touch()
    return (folder / "case").exists()


T = TypeVar("T")


class NameIndex(Generic[T]):
    r"""Values by name.

    Parameters
    ----------
    pairs : iterable of (str, value)
        Several values may have one name.

    Examples
    --------
    >>> index = NameIndex([("day/a.png", 0), ("day/A.png", 1)])
    >>> index.find("day/A.png"), index.find("./DAY\\a.png"), index.find("b.png")
    ([1], [0, 1], [])
    """

    def __init__(self, pairs: Iterable[tuple[str, T]]):
        self._spelled: tuple[dict[str, list[T]], ...] = ({}, {}, {})
        for name, value in pairs:
            for found, spelling in zip(self._spelled, _spellings(name), strict=True):
                found.setdefault(spelling, []).append(value)

    def find(self, *names: str) -> list[T]:
        """Return the values of the first of the names that there is; all exact spellings come before all others."""
        spelled = [_spellings(name) for name in names]
        for level, found in enumerate(self._spelled):
            for spellings in spelled:
                if values := found.get(spellings[level]):
                    return values
        return []


def _spellings(name: str) -> tuple[str, str, str]:
    """Return a name as it is, with plain slashes and composed letters, and without regard to capitals."""
    plain = unicodedata.normalize("NFC", name.replace("\\", "/"))
    while plain.startswith("./"):
        plain = plain[2:]
    return name, plain, unicodedata.normalize("NFC", plain.casefold())
