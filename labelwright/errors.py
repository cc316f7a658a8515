"""The errors a user can cause. Each message says what was given, what was expected, and what to do.

Everything else that raises is our own bug and keeps Python's ordinary exceptions.
"""

from __future__ import annotations


class LabelwrightError(Exception):
    """Base of every error that is the input's fault, not the code's."""


class DataError(LabelwrightError, ValueError):
    """A data file, a row or a label that cannot be used."""


class RecipeError(LabelwrightError, ValueError):
    """A recipe with an unknown key, a wrong type or a value out of range."""


class BundleError(LabelwrightError, ValueError):
    """A bundle that is incomplete, altered, or from another format version."""


class ModelError(LabelwrightError, RuntimeError):
    """A model that cannot be fetched, verified or loaded."""


class MissingExtraError(LabelwrightError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""


class QueueFullError(LabelwrightError, RuntimeError):
    """More rows wait for an engine than may; the same request can succeed later. A server says 503."""


def one_line(error: BaseException) -> str:
    """An exception as one short line: its type where the message alone says little."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    message = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    kind = type(error).__name__
    return f"{kind}: {message[:200]}" if message else kind
