"""Trainers that put in random tumors of other generators, to compare with."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

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
