"""Any nnU-Net trainer in any length, by its name: ``nnUNetTrainer_8epochs_50iterations``.

nnU-Net asks a module for the class of a name, so one is made when it is asked for. Same schedule for all trainers of a
comparison: ``textomorph benchmark --epochs 8 --iterations 50`` trains under such names.
"""

from nnunet_textomorph.schedule import scheduled_trainer


def __getattr__(name: str) -> type:
    return scheduled_trainer(name, __name__)
