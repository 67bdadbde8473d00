"""What only the course needs: an answer to an exercise is correct, not yet, or not given."""

from collections.abc import Callable
from typing import Any

__all__ = ["check"]


def check(exercise: int, answer: Any, is_right: Callable[[Any], Any], hint: str) -> None:
    """Print whether an exercise is answered, and a hint where the answer is not right yet.

    Parameters
    ----------
    exercise : int
        Its number in the notebook.
    answer : object
        What stands in place of `...`.
    is_right : callable
        Takes the answer, gives True or False. An answer of another kind than the exercise asks for may make it fail:
        then the answer is not right yet, and the error is told behind the hint.
    hint : str
        What to look at next.

    Examples
    --------
    >>> check(1, ..., lambda share: abs(share - 0.3) < 0.01, "a share lies between 0 and 1")
    Exercise 1: not answered. Put your answer in place of ... and run both cells.
    >>> check(1, 30, lambda share: abs(share - 0.3) < 0.01, "a share lies between 0 and 1")
    Exercise 1: not yet. Hint: a share lies between 0 and 1.
    >>> check(1, "30 %", lambda share: abs(share - 0.3) < 0.01, "a share lies between 0 and 1")
    Exercise 1: not yet. Hint: a share lies between 0 and 1. (TypeError: unsupported operand type(s) for -: 'str' ...
    >>> check(1, 0.3, lambda share: abs(share - 0.3) < 0.01, "a share lies between 0 and 1")
    Exercise 1: correct.
    """
    if answer is ...:
        print(f"Exercise {exercise}: not answered. Put your answer in place of ... and run both cells.")  # noqa: T201
        return
    why = ""
    try:
        right = bool(is_right(answer))
    except Exception as error:  # whatever a wrong kind of answer leads to
        right, why = False, f" ({type(error).__name__}: {error})"
    print(f"Exercise {exercise}: correct." if right else f"Exercise {exercise}: not yet. Hint: {hint}.{why}")  # noqa: T201
