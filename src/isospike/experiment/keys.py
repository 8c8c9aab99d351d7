"""The keys of a recipe: settings applied to them, and errors that name them."""

import dataclasses
import difflib
import tomllib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from isospike.errors import RecipeError
from isospike.experiment.recipe import Recipe

_ELSEWHERE = ("train", "seed")  # the recipe has one seed for everything


def apply_setting(content: dict[str, Any], setting: str) -> None:
    """Put the value of ``a.b=value`` into the tables ``content``; values are as in TOML, or else words.

    Raises:
        RecipeError: it has no key, or the key runs through a value.
    """
    key, separator, text = setting.partition("=")
    if not separator or not key:
        raise RecipeError(f"--set {setting}: expected key=value, such as train.epochs=5")
    *sections, last = key.split(".")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise RecipeError(f"--set {setting}: {section!r} is a value, not a section")
    if text == "none" and not _is_text(key):
        place.pop(last, None)  # TOML has no null: an absent key means none
        return
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    place[last] = text if key in _list_text_keys() and not isinstance(value, str) else value


def _is_text(key: str) -> bool:
    """Whether "none" is a word that this key may hold."""
    return key in ("quantise.levels", "convert.limit", "limit")


def explain_error(error: ValidationError) -> str:
    """One line for the first thing that is wrong."""
    unknown = ("extra_forbidden", "unexpected_keyword_argument")
    first = min(error.errors(), key=lambda found: found["type"] not in unknown)  # a typo explains what is missing
    place = [str(part) for part in first["loc"]]
    key = ".".join(place)
    if first["type"] in unknown:
        nearest, known = _find_nearest(key)
        remedy = f"known: {', '.join(known)}" if nearest is None else f"did you mean {nearest!r}?"
        return f"unknown key {key!r}; {remedy}"
    if first["type"] in ("missing", "missing_argument"):
        return f"the key {key!r} is missing"
    got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}{got}"


def _find_nearest(key: str) -> tuple[str | None, list[str]]:
    """The key of the same section that is spelt nearly so, or one of another section that is spelt so; and the keys
    that there are beside it."""
    section, _, last = key.rpartition(".")
    places = [name.rpartition(".") for name in (list_keys() if section else list(Recipe.model_fields))]
    siblings = [name for before, _, name in places if before == section]
    for name in difflib.get_close_matches(last, siblings, n=1):
        return (f"{section}.{name}" if section else name), siblings
    others = [before for before, _, name in places if name == last]
    known = [f"{section}.{name}" if section else name for name in siblings]
    return (f"{others[0]}.{last}" if others else None), known


def list_keys() -> list[str]:
    """Every key that a recipe may have, in dotted form."""
    return list(_list_types())


def _list_text_keys() -> list[str]:
    """The keys whose values are words, even where they look like numbers."""
    return [key for key, kind in _list_types().items() if kind in (str, str | None)]


def _list_types() -> dict[str, Any]:
    """The type of each key."""
    types: dict[str, Any] = {}
    for name, info in Recipe.model_fields.items():
        kind: Any = info.annotation
        kind = next((part for part in get_args(kind) if isinstance(part, type) and issubclass(part, BaseModel)), kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            types |= {f"{name}.{inner}": field.annotation for inner, field in kind.model_fields.items()}
        elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
            fields = [field for field in dataclasses.fields(kind) if (name, field.name) != _ELSEWHERE]
            types |= {f"{name}.{field.name}": field.type for field in fields}
        else:
            types[name] = kind
    return types
