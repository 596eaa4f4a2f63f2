"""The error that unusable input to the generator raises."""

from __future__ import annotations


class GeneratorError(ValueError):
    """Unusable image, manifest or generator folder. The message is one sentence with the file and a remedy."""
