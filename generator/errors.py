"""The error that unusable input to the generator raises."""

from __future__ import annotations


class GeneratorError(ValueError):
    """Unusable image, manifest or generator folder. The message is one sentence naming the file or field and a remedy."""
