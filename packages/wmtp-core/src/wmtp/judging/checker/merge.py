"""Arguments that a program has changed are changed in the test too. Runs in the trusted process."""

from __future__ import annotations

import collections
from typing import Any

from wmtp.judging.checker.handles import RemoteObject
from wmtp.judging.sandbox.lent_functions import CHANGEABLE, refill


def merged(mine: Any, after: Any) -> Any:
    """What stands in place of `mine` once the program may have changed it: `mine` itself, changed in place, if it is a
    container of the same kind; else `after`."""
    if type(mine) is not type(after):
        return after
    if type(mine) is tuple:
        return tuple(map(merged, mine, after)) if len(mine) == len(after) else after
    if not isinstance(mine, CHANGEABLE):
        return after
    if isinstance(mine, list):
        after = _items(mine, after)
    elif isinstance(mine, dict):
        after = {key: merged(mine[key], value) if key in mine else value for key, value in after.items()}
    refill(mine, after)
    return mine


SEARCHED = 200  # items of a list, for one that the program has moved


def _items(mine: list[Any], after: list[Any]) -> list[Any]:
    """The items of a list after the program had it. One that is only in another place now, as in a sorted list of lists, is the
    item that it was; so is one that has changed where it stands."""
    here = dict(enumerate(mine))
    items: dict[int, Any] = {}
    for place, new in enumerate(after):  # those that are as they were
        if place in here and _alike(here[place], new):
            items[place] = here.pop(place)
    if len(mine) <= SEARCHED:
        for place, new in enumerate(after):
            if place not in items and isinstance(new, CHANGEABLE):
                found = next((old for old, item in here.items() if _alike(item, new)), None)
                if found is not None:
                    items[place] = here.pop(found)
    return [items[place] if place in items else merged(here.get(place, new), new) for place, new in enumerate(after)]


def _alike(one: Any, other: Any) -> bool:
    """Equal data of equal types. Objects of the program are not asked: the same or not."""
    if one is other:
        return True
    if type(one) is not type(other) or isinstance(one, RemoteObject):
        return False
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(_alike, one.values(), other.values()))
    return bool(one == other)
