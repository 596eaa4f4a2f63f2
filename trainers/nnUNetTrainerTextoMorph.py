"""The trainer that puts random synthetic tumors (Eq. 3) into healthy host tissue while data load."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_textomorph.trainer_mixin import TextoMorphMixin


class nnUNetTrainerTextoMorph(TextoMorphMixin, nnUNetTrainer):
    """nnU-Net's default trainer, with synthetic tumors. Its plan: ``textomorph plan DATASET``."""
