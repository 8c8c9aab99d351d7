"""Writing a recipe as TOML: tables of plain values, one level deep."""

import json
from typing import Any

from isospike.errors import RecipeError


def format_toml(content: dict[str, Any]) -> str:
    """TOML text of a dict of values and of tables of values; what is None is left out."""
    values = {key: value for key, value in content.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    blocks = ["".join(_lines(values)), *(f"[{name}]\n" + "".join(_lines(table)) for name, table in tables.items())]
    return "\n".join(block for block in blocks if block)


def _lines(values: dict[str, Any]) -> list[str]:
    return [f"{key} = {_format(value)}\n" for key, value in values.items() if value is not None]


def _format(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)  # shortest text that reads back as the same float, with a point or an exponent
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # JSON's escapes are TOML's
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_format(item) for item in value) + "]"
    raise RecipeError(f"recipe: cannot write a {type(value).__name__} as TOML")
