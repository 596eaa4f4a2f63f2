"""Trainers that put in random tumors of other generators, to compare with.

nnU-Net asks a module for the class of a name, so that of any registered generator, another package's too, is made when
it is asked for: ``nnUNetTrainerTextoMorphGenerator_NAME``.
"""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_textomorph.generators import TRAINER, is_registered
from nnunet_textomorph.trainer_mixin import TextoMorphMixin


class nnUNetTrainerSynTumor(TextoMorphMixin, nnUNetTrainer):
    """Hand-crafted tumors."""

    textomorph_mix = {"random": 1.0}  # noqa: RUF012
    textomorph_generator = "syntumor"


class nnUNetTrainerPixel2Cancer(TextoMorphMixin, nnUNetTrainer):
    """Tumors that a cellular automaton grew."""

    textomorph_mix = {"random": 1.0}  # noqa: RUF012
    textomorph_generator = "pixel2cancer"


class nnUNetTrainerDiffTumor(TextoMorphMixin, nnUNetTrainer):
    """The shipped diffusion without text."""

    textomorph_mix = {"random": 1.0}  # noqa: RUF012
    textomorph_generator = "difftumor"


class nnUNetTrainerLeFusion(TextoMorphMixin, nnUNetTrainer):
    """Diffusion of the lesion alone, in the real background."""

    textomorph_mix = {"random": 1.0}  # noqa: RUF012
    textomorph_generator = "lefusion"


class nnUNetTrainerCGAN(TextoMorphMixin, nnUNetTrainer):
    """A conditional GAN's tumors."""

    textomorph_mix = {"random": 1.0}  # noqa: RUF012
    textomorph_generator = "cgan"


def __getattr__(name: str) -> type:
    generator = name.removeprefix(TRAINER)
    if generator == name or not is_registered(generator):
        raise AttributeError(name)
    own = {"textomorph_mix": {"random": 1.0}, "textomorph_generator": generator, "__module__": __name__}
    return type(name, (TextoMorphMixin, nnUNetTrainer), own)
