"""Checks of arguments, which come from configs: errors name the argument and what it may be.

A value of another type is refused as well, also where Python would take it: `split="false"` is
true, and `frozen_stages=True` is 1.
"""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any


def check_choice(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Check that a value is one of a few.

    Raises:
        ValueError: It is not.
    """
    if not any(type(value) is type(choice) and value == choice for choice in allowed):
        raise ValueError(f"{name} must be one of {tuple(allowed)}, got {value!r}")


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Check that a value is a whole number in a range, both ends included.

    Raises:
        ValueError: It is not.
    """
    if not is_whole(value) or value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        unfit = "" if is_whole(value) else ", which is no whole number"
        raise ValueError(f"{name} must be {limits}, got {value!r}{unfit}")


def check_number(name: str, value: Any, below: float = math.inf) -> None:
    """Check that a value is a number in [0, below).

    Raises:
        ValueError: It is not.
    """
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not 0 <= value < below:
        limits = "a number from 0" if below == math.inf else f"in [0, {below:g})"
        raise ValueError(f"{name} must be {limits}, got {value!r}")


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, and not True or False."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def are_whole(values: Any, count: int, least: int) -> bool:
    """Whether values are so many whole numbers, in a sequence, and none is below `least`."""
    if not isinstance(values, Sequence) or len(values) != count:
        return False
    return all(is_whole(value) and value >= least for value in values)
