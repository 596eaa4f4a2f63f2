"""What turns an nnU-Net trainer into one that meets synthetic tumors: put it before the trainer among the bases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

from nnunet_textomorph.bank import load_bank
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.plan import FILE_NAME, TextoMorphPlans, check_configuration, infer_plan, load_plan
from nnunet_textomorph.transform import InjectionCounters, TextoMorphTransform


class TextoMorphMixin:
    """Wraps the training transforms of an ``nnUNetTrainer`` and reports each epoch's tumors in the training log.

    The plan is ``TextoMorphPlans.json`` in the preprocessed dataset's folder; without one it is inferred, and the log
    says so. Validation and prediction are nnU-Net's own.
    """

    def initialize(self: Any) -> None:
        """Check plan, configuration and generator before anything is built; a mistake ends training in one line."""
        try:
            plan = self._textomorph_plan = self._read_textomorph_plan()
            Generator.load(plan.generator)  # the workers would find out too late, and without a clear line
            load_bank(Path(plan.bank) if plan.bank else None, plan.organ)
        except (UserError, GeneratorError) as error:
            self.print_to_log_file(f"TextoMorph: {error}")
            raise SystemExit(2) from None
        self._textomorph_counters = InjectionCounters()
        self.num_epochs = plan.epochs or self.num_epochs
        self.num_iterations_per_epoch = plan.iterations_per_epoch or self.num_iterations_per_epoch
        self.num_val_iterations_per_epoch = plan.validation_iterations_per_epoch or self.num_val_iterations_per_epoch
        super().initialize()  # type: ignore[misc]

    def get_training_transforms(self: Any, patch_size: Any, *args: Any, **kwargs: Any) -> BasicTransform:
        """nnU-Net's own, after ours."""
        z, y, x = map(float, self.configuration_manager.spacing)
        ours = TextoMorphTransform(
            self._textomorph_plan,
            (z, y, x),
            self.plans_manager.foreground_intensity_properties_per_channel["0"],
            self._textomorph_counters,
            patch_size,
            Path(self.output_folder) / "textomorph_previews" if self.local_rank == 0 else None,
        )
        return ComposeTransforms([ours, super().get_training_transforms(patch_size, *args, **kwargs)])  # type: ignore[misc]

    def on_epoch_end(self: Any) -> None:
        """Say what was injected: a transform that silently does nothing must not go unnoticed."""
        injected, no_room, seconds = self._textomorph_counters.take()
        self.print_to_log_file(
            f"TextoMorph: {injected} tumors injected, {no_room} attempts found no room, median {1000 * seconds:.0f} ms"
        )
        if not injected and self._textomorph_plan.probability > 0:
            self.print_to_log_file(
                "TextoMorph: WARNING: not one tumor was injected in this epoch; check hosts and tumors in "
                f"{FILE_NAME} against the labels of the dataset."
            )
        super().on_epoch_end()  # type: ignore[misc]

    def _read_textomorph_plan(self: Any) -> TextoMorphPlans:
        check_configuration(self.plans_manager.plans, self.configuration_name, "nnU-Net's plans")
        path = Path(self.preprocessed_dataset_folder_base) / FILE_NAME
        if path.is_file():
            plan = load_plan(path)
            self.print_to_log_file(f"TextoMorph: plan {path}")
        else:
            plan = infer_plan(self.dataset_json)
            self.print_to_log_file(f"TextoMorph: no {path}; inferred from the names of the labels:")
        self.print_to_log_file(f"TextoMorph: {json.dumps(plan.model_dump(exclude_none=True))}")
        return plan
