"""Finds losses by name, so that a configuration can say which one trains, and a user can add one.

@register_loss("mine")
def mine(lp, lse, weights, *, old, sharpness=2.0) -> LossValue: ...

loss = loss_named("mine", sharpness=3.0)     # `old` comes from the batch, `sharpness` from here
"""

import difflib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from pinisi.base.errors import ConfigError
from pinisi.losses.loss import Loss

Made = TypeVar("Made", bound=Callable[..., Any])

_LOSSES: dict[str, Callable[..., Any]] = {}
_MAKERS: set[str] = set()  # those whose call gives a loss, not a value


def register_loss(name: str, *, makes: bool = False) -> Callable[[Made], Made]:
    """Gives a loss a name. Decorates a loss function; a class whose objects are losses; or, with makes=True, a function that
    returns a loss. Raises ConfigError if another has the name."""

    def add(loss: Made) -> Made:
        # a file that is run and then imported registers twice
        if name in _LOSSES and _LOSSES[name] is not loss and _place(_LOSSES[name]) != _place(loss):
            raise ConfigError(
                f"there is a loss {name!r} already, {_LOSSES[name]}: register this one by another name"
            )
        _LOSSES[name] = loss
        if makes or isinstance(loss, type):
            _MAKERS.add(name)
        return loss

    return add


def _place(loss: Callable[..., Any]) -> object:
    code = getattr(inspect.unwrap(loss), "__code__", None)
    return loss if code is None else (code.co_filename, code.co_qualname)


def loss_names() -> list[str]:
    """All losses that have a name, sorted."""
    return sorted(_LOSSES)


def loss_settings(name: str) -> list[str]:
    """What may be set of a loss: a maker's parameters, a loss function's keyword-only ones with a default."""
    parameters = inspect.signature(_found(name)).parameters.values()
    if name in _MAKERS:
        return [p.name for p in parameters]
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty]


def loss_named(name: str, **settings: Any) -> Loss:
    """The loss of that name with these settings. Raises ConfigError for a name or a setting that isn't there, with the nearest
    one, and for values that the loss refuses."""
    loss, allowed = _found(name), loss_settings(name)
    for key in settings:
        if key not in allowed:
            raise ConfigError(f"the loss {name!r} has no setting {key!r}; {_nearest(key, allowed)}")
    if name not in _MAKERS:
        return partial(loss, **settings) if settings else loss
    missing = [
        p.name
        for p in inspect.signature(loss).parameters.values()
        if p.default is p.empty and p.name not in settings
    ]
    if missing:
        raise ConfigError(f"the loss {name!r} needs {' and '.join(missing)}: give a value for each")
    return loss(**settings)


def _found(name: str) -> Callable[..., Any]:
    if name not in _LOSSES:
        raise ConfigError(f"there is no loss {name!r}; {_nearest(name, loss_names())}")
    return _LOSSES[name]


def _nearest(word: str, known: list[str]) -> str:
    if not known:
        return "there are none to choose from: leave it out"
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.0)[0]
    return f"the nearest is {near!r}, of {', '.join(known)}"
