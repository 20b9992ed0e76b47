"""Machine code for some of the codec's readers, where the build has it: `quick`'s functions, or none.

Beside the codec's own functions on a packet's way: these ask the function here first, which answers for messages
written as nearly all are, and read the message themselves where it says None, or isn't there. `new` makes all records
of the packet path, by machine code where there is any.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec
from typing import Any, Final, Protocol, TypeVar

Made = TypeVar("Made")


def machine_code(module: str, name: str) -> Callable[..., Any] | None:
    """A function of a module that is machine code; None where the module is Python, or isn't there."""
    spec = find_spec(module)
    if spec is None or not isinstance(spec.loader, ExtensionFileLoader):
        return None
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def quick(name: str) -> Callable[..., Any] | None:
    """A function of `codec.quick`; None in the interpreted build."""
    return machine_code(_QUICK, name)


def quick_edits(name: str) -> Callable[..., Any] | None:
    """A function of `codec.quick_edits`; None in the interpreted build."""
    return machine_code(_QUICK + "_edits", name)


def quick_names(name: str) -> Callable[..., Any] | None:
    """A function of `codec.quick_names`; None in the interpreted build."""
    return machine_code(_QUICK + "_names", name)


def quick_sdp(name: str) -> Callable[..., Any] | None:
    """A function of `codec.quick_sdp`; None in the interpreted build."""
    return machine_code(_QUICK + "_sdp", name)


_QUICK: Final = "sipalg.codec.quick"


class Maker(Protocol):
    """What makes a NamedTuple of its values."""

    def __call__(self, kind: type[Made], values: tuple[object, ...], /) -> Made:
        """One of this kind, with all of its values."""


_PLAINLY: Final[Any] = tuple.__new__
#: In place of a NamedTuple's own constructor, which costs four times as much.
new: Final[Maker] = machine_code(_QUICK, "made") or _PLAINLY
