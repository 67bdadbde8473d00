"""Run one submission on inputs that `grade.py` sends, and write what it returns. The expected values are not here.

Standard input brings the source and the calls as JSON. Standard output takes one .npy record after the import and one
after each call; the submission itself cannot write there. The last line of standard error says why it ended early.
"""

import ast
import importlib
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from types import ModuleType

import numpy as np

MEMORY = 4 << 30  # bytes that a submission may allocate
LARGEST = 16 << 20  # bytes of one result
MODULES = {"__future__", "abc", "collections", "dataclasses", "enum", "functools", "itertools", "math", "numbers"}
MODULES |= {"numpy", "random", "statistics", "torch", "typing", "warnings"}
# Names that reach modules, files or Python's own parts by text: what is done with them cannot be seen in the source.
DYNAMIC = {"__import__", "attrgetter", "builtins", "compile", "ctypes", "eval", "exec", "getattr", "globals"}
DYNAMIC |= {"importlib", "locals", "methodcaller", "musc_lite", "open", "os", "setattr", "subprocess", "sys", "vars"}
DUNDERS = {"__init__", "__post_init__", "__name__", "__doc__", "__all__", "__version__"}
# Events of Python's audit hooks that a computation has no use for: files, processes, network, machine code.
REFUSED = {"ctypes", "mmap", "os", "pty", "resource", "shutil", "signal", "socket", "subprocess", "tempfile"}
HARMLESS = {"os.listdir", "os.scandir"}  # of an import


class ForbiddenError(Exception):
    """The submission does what the assignment does not allow."""


def checked(source: bytes) -> tuple[ast.Module, set[str]]:
    """Return the syntax tree without its `if __name__ == "__main__"` block, and the modules that it imports.

    Raises
    ------
    ForbiddenError
        If it imports a module that is not in `MODULES`, or uses a name that is in `DYNAMIC`.
    """
    tree = ast.parse(source)
    tree.body = [
        node
        for node in tree.body
        if not isinstance(node, ast.If) or node.orelse or ast.unparse(node.test) != "__name__ == '__main__'"
    ]
    modules = set()
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [part for alias in node.names for part in alias.name.split(".")]
            of = [node.module or "."] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            modules |= set(of)
            for module in of:
                if module.split(".")[0] not in MODULES or (isinstance(node, ast.ImportFrom) and node.level):
                    allowed = ", ".join(sorted(MODULES - {"__future__"}))
                    raise ForbiddenError(f"line {node.lineno} imports {module}; only these may be imported: {allowed}")
        elif isinstance(node, ast.Name):
            names = [node.id]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.MatchClass):
            names = node.kwd_attrs
        for name in names:
            if name in DYNAMIC or (name.startswith("__") and name not in DUNDERS | MODULES):
                raise ForbiddenError(f"line {node.lineno} uses {name}, whose effect cannot be judged: do without it")
    return tree, modules


def guard_from_here() -> None:
    """Block files, processes, network and musc_lite in this process, however the code reaches them."""
    sys.modules["musc_lite"] = None  # type: ignore[assignment]  # its import fails
    folders = [os.path.realpath(os.path.join(module.__file__, "../..")) + os.sep for module in (json, np)]
    realpath, fsdecode, writing = os.path.realpath, os.fsdecode, os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def may_read(path: object) -> bool:  # modules of Python and of its packages only
        path = "" if isinstance(path, int) else realpath(fsdecode(path))
        return path.endswith((".py", ".pyc")) and any(
            path.startswith(folder) and "musc_lite" not in path[len(folder) :] for folder in folders
        )

    def refuse(event: str, arguments: tuple) -> None:
        if event == "open":
            allowed = may_read(arguments[0]) and not arguments[2] & writing
        else:
            allowed = event in HARMLESS or event.partition(".")[0] not in REFUSED
        if not allowed:
            raise PermissionError(f"files, processes and the network are refused ({event})")

    sys.addaudithook(refuse)


def limit(seconds: int) -> None:
    """End this process after so many seconds of computing, or three times as many of waiting, from now on."""
    if hasattr(signal, "setitimer"):  # not on Windows, where `grade.py` alone watches the clock
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, 3 * seconds)


def limit_resources() -> None:
    """Limit memory and the size of files."""
    with suppress(ImportError, ValueError, OSError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 * LARGEST, 16 * LARGEST))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def as_array(result: object) -> np.ndarray:
    """Return a result as an array of numbers."""
    array = np.asarray(result)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"it returned {type(result).__name__} of dtype {array.dtype}, which holds no real numbers")
    if array.nbytes > LARGEST:
        raise ValueError(f"it returned an array of shape {array.shape}, {array.nbytes / 1e6:,.0f} MB: too large")
    return array


def main() -> None:
    """Read the task, run it, and end the process without any code of the submission in between."""
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def send(array: np.ndarray) -> None:
        np.lib.format.write_array(results, array, allow_pickle=False)
        results.flush()

    def to_array(value: dict) -> np.ndarray:
        return np.array(value["values"], value["dtype"])

    task = json.loads(sys.stdin.buffer.read(), object_hook=lambda d: to_array(d) if "dtype" in d else d)
    write, leave = os.write, os._exit
    try:
        limit_resources()
        limit(task["seconds"])
        tree, modules = checked(task["source"].encode("latin-1"))
        for name in sorted(modules):
            importlib.import_module(name)
        submission = sys.modules["submission"] = ModuleType("submission")
        code = compile(tree, "<submission>", "exec")
        guard_from_here()
        exec(code, vars(submission))
        send(np.zeros(()))
        for function, arguments in task["calls"]:
            limit(task["seconds"])
            if not hasattr(submission, function):
                raise NameError(f"there is no function {function}")
            given = [tuple(value) if isinstance(value, list) else value for value in arguments]
            send(as_array(vars(submission)[function](*given)))
    except BaseException as error:  # SystemExit and KeyboardInterrupt too
        frames = [n for frame, n in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename[0] == "<"]
        where = f" (line {frames[-1]})" if frames else ""
        why = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
        write(2, f"\n{why[:1000]}{where}".encode(errors="replace"))
        leave(1)
    leave(0)


if __name__ == "__main__":
    main()
