"""What turns an nnU-Net trainer into one that meets synthetic tumors: put it before the trainer among the bases."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import torch.distributed as dist
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from nnunet_textomorph.bank import load_bank
from nnunet_textomorph.classes import CENSUS_NAME, TumorClass, lesion_diameters, tumor_classes
from nnunet_textomorph.counters import EpochSummary, InjectionCounters, merged
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.implant import region_shape
from nnunet_textomorph.generators import load_generator
from nnunet_textomorph.llm_reports.bank import DescriptionBank
from nnunet_textomorph.missed import (
    MissedShape,
    check_fits,
    check_labels,
    default_path,
    load_missed,
    shapes,
    usable_lesions,
)
from nnunet_textomorph.plan import (
    FILE_NAME,
    TextoMorphPlans,
    check_configuration,
    check_labels_of_plan,
    infer_plan,
    lesion_values,
    load_plan,
)
from nnunet_textomorph.processes import exit_with_parent, how_it_ended
from nnunet_textomorph.provenance import note_inputs
from nnunet_textomorph.requests import Sources
from nnunet_textomorph.schedule import VALIDATION_SHARE
from nnunet_textomorph.synthesis import InWorkers, Service, Synthesis, SynthesisError
from nnunet_textomorph.transform import CurrentCase, NamedCases, TextoMorphTransform, TrainingStopped

if TYPE_CHECKING:
    from nnunet_textomorph.generators import AnyGenerator

WORKER_GONE = "background workers are no longer alive"  # as nnU-Net's loader tells it


class TextoMorphMixin:
    """Wraps the training transforms of an ``nnUNetTrainer`` and reports each epoch's tumors in the training log.

    The plan is ``TextoMorphPlans.json`` in the preprocessed dataset's folder; without one it is inferred, and the log
    says so. Validation and prediction are nnU-Net's own.

    Set in a subclass: ``textomorph_mix``, weights of the kinds of tumors, ``textomorph_epochs``, and
    ``textomorph_iterations`` per epoch (and a fifth of it to validate), ``textomorph_generator``, a registered name;
    all instead of what the plan says.
    """

    textomorph_mix: ClassVar[dict[str, float] | None] = None
    textomorph_epochs: ClassVar[int | None] = None
    textomorph_iterations: ClassVar[int | None] = None
    textomorph_generator: ClassVar[str | None] = None

    def initialize(self: Any) -> None:
        """Read plan and schedule before anything is built; a mistake ends training in one line."""
        try:
            plan = self._textomorph_plan = self._read_textomorph_plan()
        except UserError as error:
            self._end_textomorph(error)
        self._textomorph_case = CurrentCase()
        self.num_epochs = self.textomorph_epochs or plan.epochs or self.num_epochs
        if self.textomorph_iterations:
            self.num_iterations_per_epoch = self.textomorph_iterations
            self.num_val_iterations_per_epoch = max(1, self.textomorph_iterations // VALIDATION_SHARE)
        else:
            own, own_val = self.num_iterations_per_epoch, self.num_val_iterations_per_epoch
            self.num_iterations_per_epoch = plan.iterations_per_epoch or own
            self.num_val_iterations_per_epoch = plan.validation_iterations_per_epoch or own_val
        super().initialize()  # type: ignore[misc]

    def get_dataloaders(self: Any) -> tuple[Any, Any]:
        """nnU-Net's own, once generator and banks are checked; validation alone does without them."""
        plan: TextoMorphPlans = self._textomorph_plan
        try:
            generator = load_generator(plan.generator)  # the workers would find out late, and without a clear line
            self._textomorph_sources = self._find_textomorph_sources()
        except (UserError, GeneratorError) as error:
            self._end_textomorph(error)
        self._textomorph_counters = InjectionCounters(list(plan.tumors))
        try:
            self._textomorph_synthesis = self._start_synthesis(generator)
        except SynthesisError as error:
            self._end_textomorph(error, exit_code=1)
        loaders = super().get_dataloaders()  # type: ignore[misc]
        self._textomorph_workers = [worker for loader in loaders for worker in getattr(loader, "_processes", ())]
        return loaders

    def get_tr_and_val_datasets(self: Any) -> tuple[Any, Any]:
        """nnU-Net's own; the training one tells the transform whose patch it gets."""
        training, validation = super().get_tr_and_val_datasets()  # type: ignore[misc]
        return NamedCases(training, self._textomorph_case), NamedCases(validation, CurrentCase())

    def get_training_transforms(self: Any, patch_size: Any, *args: Any, **kwargs: Any) -> BasicTransform:
        """nnU-Net's own, after ours."""
        z, y, x = map(float, self.configuration_manager.spacing)
        ours = TextoMorphTransform(
            self._textomorph_plan,
            (z, y, x),
            self.plans_manager.foreground_intensity_properties_per_channel["0"],
            self._textomorph_counters,
            self._textomorph_synthesis,
            patch_size,
            Path(self.output_folder) / "textomorph_previews" if self.local_rank == 0 else None,
            self._textomorph_sources,
            self._textomorph_case,
        )
        return ComposeTransforms([ours, super().get_training_transforms(patch_size, *args, **kwargs)])  # type: ignore[misc]

    def on_train_start(self: Any) -> None:
        """nnU-Net's own; then note beside the checkpoints what this training's tumors come from."""
        super().on_train_start()  # type: ignore[misc]
        if self.local_rank == 0:
            self._note_textomorph_inputs()

    def run_training(self: Any) -> None:
        """nnU-Net's own; where tumors cannot be made any more it ends with one line, and leaves no process behind."""
        exit_with_parent()  # a rank of -num_gpus: its launcher may be killed
        try:
            super().run_training()  # type: ignore[misc]
        except (RuntimeError, TrainingStopped) as error:  # nnU-Net's where a worker is gone, and ours without workers
            reason = self._why_textomorph_ended()
            if reason is None and WORKER_GONE in str(error):  # before nnU-Net has given the loaders with their workers
                reason = "a worker that loads data ended before its first batch, perhaps because memory ran out"
            if reason is None:
                raise
            sentence = f"training stopped: {reason.rstrip('.')}. Go on with --c once that is put right."
            self._end_textomorph(sentence, exit_code=1)
        finally:
            if (synthesis := getattr(self, "_textomorph_synthesis", None)) is not None:
                synthesis.close()

    def on_epoch_end(self: Any) -> None:
        """Say what was injected: a transform that silently does nothing must not go unnoticed."""
        summary = self._take_textomorph_summary()
        if not summary.total and self._textomorph_plan.probability > 0:
            self.print_to_log_file(
                "TextoMorph: WARNING: not one tumor was injected in this epoch; check hosts and tumors in "
                f"{FILE_NAME} against the labels of the dataset."
            )
        super().on_epoch_end()  # type: ignore[misc]

    def _take_textomorph_summary(self: Any) -> EpochSummary:
        """What the epoch injected, on all ranks, told to the log and to nnU-Net's logger."""
        summary: EpochSummary = self._textomorph_counters.take()
        if self.is_ddp:
            parts: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(parts, summary)
            summary = merged(parts)
        self.print_to_log_file(f"TextoMorph: {summary.line()}")
        self._log_textomorph(summary.values())
        return summary

    def _note_textomorph_inputs(self: Any) -> None:
        plan: TextoMorphPlans = self._textomorph_plan
        missed = self._missed_path() if self._textomorph_sources.missed else None
        synthesis = self._textomorph_synthesis
        where = f"service on {synthesis.device}" if isinstance(synthesis, Service) else "workers"
        note_inputs(Path(self.output_folder), type(self).__name__, self.current_epoch, plan, missed, where)

    def _log_textomorph(self: Any, values: dict[str, float]) -> None:
        """Into nnU-Net's logger, which wants every value in every epoch: those that were not counted are NaN."""
        columns: dict[str, list[Any]] = self.logger.local_logger.my_fantastic_logging
        for key in values.keys() | {key for key in columns if key.startswith("textomorph_")}:
            column = columns.setdefault(key, [])
            column.extend([float("nan")] * (self.current_epoch - len(column)))
            self.logger.log(key, values.get(key, float("nan")), self.current_epoch)

    def _start_synthesis(self: Any, generator: AnyGenerator) -> Synthesis:
        """In the workers, or a service where the training device is a GPU; the plan may ask for either."""
        plan: TextoMorphPlans = self._textomorph_plan
        kind = plan.synthesis or ("service" if self.device.type == "cuda" else "workers")
        if kind == "workers" or plan.probability == 0 or type(generator) is not Generator:
            return InWorkers(plan.generator, generator, self._textomorph_sources.texts if plan.probability > 0 else ())
        *_, loaded, _ = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        largest = region_shape(
            list(loaded), self.configuration_manager.spacing, generator.domain, generator.region_multiple
        )
        workers = max(1, get_allowed_n_proc_DA())
        service = Service(plan.generator, generator.config, str(self.device), workers, largest, workers)
        self.print_to_log_file(f"TextoMorph: tumors are synthesized by process {service.pid} on {self.device}")
        return service

    def _why_textomorph_ended(self: Any) -> str | None:
        synthesis: Synthesis | None = getattr(self, "_textomorph_synthesis", None)
        if synthesis is None:
            return None
        reason = synthesis.ended() or self._textomorph_counters.failure()
        if reason is None:
            codes = [worker.exitcode for worker in getattr(self, "_textomorph_workers", ())]
            killed = next((code for code in codes if code and code != -SIGTERM), None)
            reason = None if killed is None else f"a worker that loads data {how_it_ended(killed)}"
        return reason

    def _read_textomorph_plan(self: Any) -> TextoMorphPlans:
        check_configuration(self.plans_manager.plans, self.configuration_name, "nnU-Net's plans")
        path = Path(self.preprocessed_dataset_folder_base) / FILE_NAME
        if path.is_file():
            plan = load_plan(path)
            check_labels_of_plan(plan, self.dataset_json["labels"], path)
            self.print_to_log_file(f"TextoMorph: plan {path}")
        else:
            plan = infer_plan(self.dataset_json)
            self.print_to_log_file(f"TextoMorph: no {path}; inferred from the names of the labels:")
        if self.textomorph_mix is not None:
            plan = plan.model_copy(update={"mix": self.textomorph_mix})
        if self.textomorph_generator is not None:
            plan = plan.model_copy(update={"generator": self.textomorph_generator, "steps": None, "guidance": None})
        self.print_to_log_file(f"TextoMorph: {json.dumps(plan.model_dump(exclude_none=True))}")
        return plan

    def _find_textomorph_sources(self: Any) -> Sources:
        """What tumors are drawn from. Nothing of the fold's validation cases is in it."""
        plan: TextoMorphPlans = self._textomorph_plan
        kinds = {kind for kind, weight in plan.mix.items() if weight > 0}
        bank, banks = self._description_banks()
        # what the loaders will read, not what the split file says: a trainer may choose its cases itself
        training, validation = (set(dataset.identifiers) for dataset in self.get_tr_and_val_datasets())
        return Sources(
            bank,
            plan.mix,
            self._missed_shapes(training, validation) if "targeted" in kinds else (),
            self._tumor_classes(bank, banks, training) if "class_specific" in kinds else {},
            tuple(lesion_values(plan, self.dataset_json["labels"])),
            banks,
        )

    def _description_banks(self: Any) -> tuple[DescriptionBank, dict[str, DescriptionBank]]:
        """The bank of the plan's organ, and those of tumor labels whose host is another."""
        plan: TextoMorphPlans = self._textomorph_plan
        path = Path(plan.bank) if plan.bank else None
        organs = {name: plan.organ_for(name) for name in plan.tumors}
        others = {name: load_bank(path, organ) for name, organ in organs.items() if organ != plan.organ}
        return load_bank(path, plan.organ), others

    def _missed_shapes(self: Any, training: Collection[str], validation: Collection[str]) -> tuple[MissedShape, ...]:
        plan: TextoMorphPlans = self._textomorph_plan
        path = self._missed_path()
        bank = load_missed(path)
        check_fits(bank, path, self.plans_manager.dataset_name, plan.tumors)
        kept, left_out = usable_lesions(bank, training, validation)
        reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        if not kept:
            raise UserError(
                f"{path}: none of its {len(bank.lesions)} missed lesions may be used in fold {self.fold} ({reasons}); "
                "mine more folds, or train another fold."
            )
        if not bank.external:
            check_labels(kept, path, self._label_files({lesion.case for lesion in kept}))
        self.print_to_log_file(
            f"TextoMorph: {len(kept)} of {len(bank.lesions)} missed lesions kept, of "
            f"{len({lesion.case for lesion in kept})} cases; left out: {reasons or 'none'} ({path})"
        )
        if bank.external:
            self.print_to_log_file(
                f"TextoMorph: WARNING: the missed lesions are of another set ({bank.source}); results on that set will "
                "say nothing of unseen cases."
            )
        return shapes(kept, self.plans_manager.transpose_forward)

    def _missed_path(self: Any) -> Path:
        missed = self._textomorph_plan.missed
        return Path(missed) if missed else default_path(Path(self.preprocessed_dataset_folder_base))

    def _tumor_classes(
        self: Any, bank: DescriptionBank, banks: dict[str, DescriptionBank], training: Collection[str]
    ) -> dict[str, TumorClass]:
        plan: TextoMorphPlans = self._textomorph_plan
        diameters = lesion_diameters(
            plan,
            training,
            self._label_files(training),
            self.plans_manager.image_reader_writer_class(),
            Path(self.preprocessed_dataset_folder_base) / CENSUS_NAME,
        )
        classes = tumor_classes(plan, bank, diameters, banks)
        total = sum(each.weight for each in classes.values())
        shares = (
            f"{name} {len(each.diameters_mm)} lesions, drawn {100 * each.weight / total:.0f} %"
            for name, each in classes.items()
        )
        self.print_to_log_file(f"TextoMorph: classes in this fold's training cases: {'; '.join(shares)}")
        return classes

    def _label_files(self: Any, cases: Collection[str]) -> dict[str, Path]:
        """The label files of these cases, as nnU-Net keeps them for validation."""
        folder = Path(self.preprocessed_dataset_folder_base) / "gt_segmentations"
        files = {case: folder / f"{case}{self.dataset_json['file_ending']}" for case in cases}
        for path in files.values():
            if not path.is_file():
                raise UserError(f"{path}: no such file; run nnUNetv2_plan_and_preprocess again.")
        return files

    def _end_textomorph(self: Any, reason: Exception | str, exit_code: int = 2) -> NoReturn:
        self.print_to_log_file(f"TextoMorph: {reason}")
        raise SystemExit(exit_code) from None
