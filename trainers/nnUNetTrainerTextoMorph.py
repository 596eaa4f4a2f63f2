"""The trainers: nnU-Net's default one, with synthetic tumors put into healthy host tissue while data load.

Each for any number of epochs too, named as nnU-Net names them: ``nnUNetTrainerTextoMorphTargeted_250epochs``. nnU-Net
asks a module for the class of a name, so one is made when it is asked for, and no list has to say which there are.
"""

from functools import cache

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_textomorph.schedule import trainer_of_length
from nnunet_textomorph.trainer_mixin import TextoMorphMixin


class nnUNetTrainerTextoMorph(TextoMorphMixin, nnUNetTrainer):
    """The mix of tumors that the plan says, random ones by default. The plan: ``textomorph plan DATASET``."""


class nnUNetTrainerTextoMorphRandom(TextoMorphMixin, nnUNetTrainer):
    """Random tumors only (Eq. 3)."""

    textomorph_mix = {"random": 1.0}  # noqa: RUF012


class nnUNetTrainerTextoMorphTargeted(TextoMorphMixin, nnUNetTrainer):
    """Lesions that were missed only (Eq. 4). The bank of them: ``textomorph mine DATASET``."""

    textomorph_mix = {"targeted": 1.0}  # noqa: RUF012


class nnUNetTrainerTextoMorphClassSpecific(TextoMorphMixin, nnUNetTrainer):
    """Rare classes more often than others only (Eq. 5)."""

    textomorph_mix = {"class_specific": 1.0}  # noqa: RUF012


_TRAINERS = (
    nnUNetTrainerTextoMorph,
    nnUNetTrainerTextoMorphRandom,
    nnUNetTrainerTextoMorphTargeted,
    nnUNetTrainerTextoMorphClassSpecific,
)


@cache
def __getattr__(name: str) -> type:
    return trainer_of_length(name, _TRAINERS, __name__)
