"""The classification trainers: nnU-Net's network with a classification head, for tumor types such as PDAC, PNET, cyst.

They come in any length too: ``nnUNetTrainerTextoMorphClassifier_250epochs``.
"""

from functools import cache

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_textomorph.classifier_mixin import ClassifierMixin
from nnunet_textomorph.schedule import trainer_of_length


class nnUNetTrainerTextoMorphClassifier(ClassifierMixin, nnUNetTrainer):
    """Trained on real lesions and on synthetic ones of each class (Eq. 5), the rarer the more."""


class nnUNetTrainerTextoMorphClassifierReal(ClassifierMixin, nnUNetTrainer):
    """Trained on real lesions only, to compare with."""

    textomorph_synthetic = False


@cache
def __getattr__(name: str) -> type:
    return trainer_of_length(name, (nnUNetTrainerTextoMorphClassifier, nnUNetTrainerTextoMorphClassifierReal), __name__)
