"""The nir package, which is optional."""

from importlib import import_module
from typing import Any

from isospike.errors import ExportError


def require_nir() -> Any:
    """The module ``nir``.

    Raises:
        ExportError: it is not installed.
    """
    try:
        return import_module("nir")
    except ImportError as error:
        raise ExportError(f"NIR needs the package nir ({error}): pip install 'isospike[nir]'") from error
