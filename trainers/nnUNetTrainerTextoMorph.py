"""The trainers: nnU-Net's default one, with synthetic tumors put into healthy host tissue while data load.

Each for any number of epochs too, named as nnU-Net names them: ``nnUNetTrainerTextoMorphTargeted_250epochs``. nnU-Net
asks a module for the class of a name, so one is made when it is asked for, and no list has to say which there are.
"""

import re
from functools import cache

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

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


_TRAINERS = {
    trainer.__name__: trainer
    for trainer in (
        nnUNetTrainerTextoMorph,
        nnUNetTrainerTextoMorphRandom,
        nnUNetTrainerTextoMorphTargeted,
        nnUNetTrainerTextoMorphClassSpecific,
    )
}


@cache
def __getattr__(name: str) -> type:
    found = re.fullmatch(r"(nnUNetTrainerTextoMorph[A-Za-z]*)_([1-9]\d*)epochs?", name)
    if not found or found[1] not in _TRAINERS:
        raise AttributeError(name)
    return type(name, (_TRAINERS[found[1]],), {"textomorph_epochs": int(found[2]), "__module__": __name__})
