"""Text-driven latent diffusion of tumors in CT (TextoMorph, section III-B). Standalone: knows nothing of nnU-Net.

from nnunet_textomorph.generator import Generator

ct_with_tumor = Generator.load().implant(ct_hu, spacing_mm, tumor_mask, "A hypoattenuating mass in the liver.")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import GeneratorError

if TYPE_CHECKING:
    from .generator import Generator

__all__ = ["Generator", "GeneratorError"]


def __getattr__(name: str) -> Any:
    """``Generator``, imported when it is asked for: the command line starts without torch."""
    if name != "Generator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .generator import Generator

    return Generator
