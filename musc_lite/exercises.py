"""What only the course needs: answers to exercises are checked, and a batch is small enough to be scored by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np


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


def toy_world() -> np.ndarray:
    """Make a batch of six images of five patches each, whose tokens are points in the plane.

    The points 0 to 3 of each image are of four kinds that all images hold: the corners of a square. Point 4 is a
    defect in the images 0 and 1, amid the square, and a rare normal kind in the images 2 to 5, far on the right.

    Returns
    -------
    ndarray (6, 5, 2)
        x and y of each point: N = 6 images, M = 5 patches, C = 2 channels.

    Examples
    --------
    >>> toy_world()[0]
    array([[2.1, 2.5],
           [1.6, 4.6],
           [5.2, 4.7],
           [5.4, 2.3],
           [3.4, 3.7]])
    """
    return np.array(
        [
            [[2.1, 2.5], [1.6, 4.6], [5.2, 4.7], [5.4, 2.3], [3.4, 3.7]],
            [[2.2, 1.9], [2.1, 4.5], [5.4, 4.6], [5.1, 2.0], [3.7, 3.4]],
            [[1.7, 2.2], [1.8, 4.5], [5.0, 5.3], [4.8, 1.7], [9.6, 3.3]],
            [[1.9, 1.6], [1.9, 5.0], [5.3, 5.0], [5.1, 1.6], [10.0, 3.6]],
            [[1.6, 1.8], [2.2, 4.8], [4.9, 5.6], [5.4, 1.8], [9.8, 3.0]],
            [[1.6, 2.5], [2.3, 5.1], [4.9, 4.9], [5.5, 2.0], [10.1, 3.3]],
        ]
    )
