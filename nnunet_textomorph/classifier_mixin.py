"""What turns an nnU-Net trainer into one that classifies lesions (paper §III-D): put it before it among the bases."""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import distributed as dist
from torch import nn

from nnunet_textomorph.classes import TumorClass, tumor_classes
from nnunet_textomorph.classifier_cases import (
    CaseContent,
    ClassNames,
    Example,
    case_contents,
    check_examples,
    class_names,
    counted,
    examples,
    find_classes_file,
    normal_cases,
)
from nnunet_textomorph.classifier_loader import (
    ClassifierLoader,
    ExampleSource,
    Place,
    TumorMaker,
    normal_places,
    real_examples,
    synthetic_shares,
    tumor_places,
)
from nnunet_textomorph.classifier_model import PREDICT_SENTENCE, check_same, describe_model, save_model
from nnunet_textomorph.classifier_network import build_classifier, half_precision
from nnunet_textomorph.counters import InjectionCounters
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generators import load_generator
from nnunet_textomorph.plan import TextoMorphPlans, lesion_values
from nnunet_textomorph.requests import Sources
from nnunet_textomorph.synthesis import SynthesisError
from nnunet_textomorph.trainer_mixin import TextoMorphMixin
from nnunet_textomorph.transform import TextoMorphTransform

CACHE_NAME = "TextoMorphClassifierLesions_{}.json"  # beside nnU-Net's plans, per configuration; may be deleted
# nnU-Net's log speaks of Dice, where a classifier has sensitivity
WORDS = {"Pseudo dice": "Sensitivity per class", "best EMA pseudo Dice": "best EMA macro sensitivity"}


class ClassifierMixin(TextoMorphMixin):
    """Network, patches, loss and validation of a classifier; optimizer, schedule and augmentation stay nnU-Net's.

    Where nnU-Net's logs and ``progress.png`` have the pseudo Dice of a class, this has its sensitivity: the "mean
    pseudo Dice" is the macro sensitivity, and ``checkpoint_best.pth`` that of its best moving average.

    Set in a subclass: ``textomorph_synthetic``, whether synthetic tumors are among the examples.
    """

    textomorph_synthetic: ClassVar[bool] = True

    @staticmethod
    def build_network_architecture(
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> NoReturn:
        """What nnU-Net's predictor calls; a training gets its network by :meth:`initialize`."""
        print(f"\n{PREDICT_SENTENCE}", file=sys.stderr, flush=True)
        raise SystemExit(2)

    def initialize(self: Any) -> None:
        """nnU-Net's own, with the classifier as its network."""
        self.enable_deep_supervision = False
        super().initialize()

    def get_dataloaders(self: Any) -> tuple[Any, Any]:
        """Patches centred on lesions; mistakes in lesions and classes end training in one line."""
        try:
            training, validation = self._classifier_loaders()
        except (UserError, GeneratorError) as error:
            self._end_textomorph(error)
        except SynthesisError as error:
            self._end_textomorph(error, exit_code=1)
        self._seen: Counter[tuple[int, bool]] = Counter()
        return training, validation

    def set_deep_supervision_enabled(self: Any, enabled: bool) -> None:
        """There is none."""

    def plot_network_architecture(self: Any) -> None:
        """nnU-Net's plot knows segmentation networks only."""

    def on_train_start(self: Any) -> None:
        """nnU-Net's own; the model folder then says that it is a classifier's."""
        super(TextoMorphMixin, self).on_train_start()  # type: ignore[misc]
        if self.local_rank == 0:
            save_model(self._classifier_model, Path(self.output_folder_base))
            if self._synthesizes():
                self._note_textomorph_inputs()

    def train_step(self: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's own, with classes as targets."""
        self._seen.update(zip(batch["target"].tolist(), batch["synthetic"].tolist(), strict=True))
        self.optimizer.zero_grad(set_to_none=True)
        _, _, loss = self._forward(batch)
        if self.grad_scaler is not None:
            self.grad_scaler.scale(loss).backward()
            self.grad_scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
        else:
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
            self.optimizer.step()
        return {"loss": loss.detach().cpu().numpy()}

    def validation_step(self: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Loss, and a confusion matrix (true, predicted)."""
        logits, target, loss = self._forward(batch)
        confusion = np.zeros((logits.shape[1],) * 2, int)
        np.add.at(confusion, (target.cpu().numpy(), logits.argmax(1).cpu().numpy()), 1)
        return {"loss": loss.detach().cpu().numpy(), "confusion": confusion}

    def on_validation_epoch_end(self: Any, val_outputs: list[dict[str, Any]]) -> None:
        """Log loss, sensitivity per class and their mean, in the places of nnU-Net's pseudo Dice."""
        confusion = np.sum([x["confusion"] for x in val_outputs], 0)
        loss = float(np.mean([x["loss"] for x in val_outputs]))
        if self.is_ddp:
            everywhere: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(everywhere, (confusion, loss))
            confusion, loss = np.sum([c for c, _ in everywhere], 0), float(np.mean([x for _, x in everywhere]))
        numbers = confusion.sum(1)
        sensitivity = [float(confusion[i, i] / n) if n else float("nan") for i, n in enumerate(numbers)]
        self.logger.log("mean_fg_dice", float(np.nanmean(sensitivity)), self.current_epoch)
        self.logger.log("dice_per_class_or_region", sensitivity, self.current_epoch)
        self.logger.log("val_losses", loss, self.current_epoch)

    def on_epoch_end(self: Any) -> None:
        """Say how many real and synthetic examples of each class the epoch saw."""
        seen = self._seen
        if self.is_ddp:
            everywhere: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(everywhere, seen)
            seen = sum(everywhere, Counter())
        names = self._classifier_classes.names
        parts = (f"{name} {seen[i, False]} real + {seen[i, True]} synthetic" for i, name in enumerate(names))
        self.print_to_log_file(f"TextoMorph: examples seen: {'; '.join(parts)}")
        if self.textomorph_synthetic:
            self._take_textomorph_summary()
            if self._shares_wanted and not any(count for (_, synthetic), count in seen.items() if synthetic):
                self.print_to_log_file("TextoMorph: WARNING: this epoch saw not one synthetic tumor.")
        self._seen.clear()
        super(TextoMorphMixin, self).on_epoch_end()  # type: ignore[misc]

    def print_to_log_file(self: Any, *args: Any, **kwargs: Any) -> None:
        """nnU-Net's own, in a classifier's words."""
        for theirs, ours in WORDS.items():
            args = tuple(x.replace(theirs, ours) if isinstance(x, str) else x for x in args)
        super().print_to_log_file(*args, **kwargs)  # type: ignore[misc]

    def perform_actual_validation(self: Any, save_probabilities: bool = False) -> None:
        """Classify the fold's validation cases, with test-time mirroring, into ``validation/classification.json``."""
        if self.local_rank == 0:
            try:
                self._validate()
            except UserError as error:
                self._end_textomorph(error)
        if self.is_ddp:
            dist.barrier()

    def _build_loss(self: Any) -> nn.Module:
        """Cross-entropy. The loader draws the classes evenly, which balances it; weights would do so a second time."""
        return nn.CrossEntropyLoss()

    def _forward(self: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        image, target = (batch[key].to(self.device, non_blocking=True) for key in ("data", "target"))
        lesion = batch["lesion"].to(self.device, non_blocking=True) if "lesion" in batch else None
        with half_precision(self.device):
            logits = self.network(image, lesion)
            return logits, target, self.loss(logits, target)

    def _read_textomorph_plan(self: Any) -> TextoMorphPlans:
        """The plan, and what it says of the classes."""
        plan: TextoMorphPlans = super()._read_textomorph_plan()
        preprocessed = Path(self.preprocessed_dataset_folder_base)
        classes_file = find_classes_file([*self._raw_folder(), preprocessed])
        classes = class_names(plan, classes_file, self.plans_manager.dataset_name)
        model = describe_model(classes, plan)
        check_same(model, Path(self.output_folder_base))
        rest = [name for name in classes.names if name not in (*classes.malignant, classes.normal)]
        by_name = "" if plan.classification.malignant else " (by their names; classification.malignant says otherwise)"
        self.print_to_log_file(
            f"TextoMorph: classes {', '.join(classes.names)} (from {classes.source}); malignant: "
            f"{', '.join(classes.malignant) or 'none'}; benign: {', '.join(rest) or 'none'}{by_name}"
        )
        self._classifier_classes, self._classifier_model = classes, model
        # on the instance, where it hides the class's, which nnU-Net's predictor calls
        self.build_network_architecture = partial(build_classifier, classes=len(classes.names))
        return plan

    def _synthesizes(self: Any) -> bool:
        return bool(self.textomorph_synthetic and self._textomorph_plan.classification.synthetic_share > 0)

    def _raw_folder(self: Any) -> list[Path]:
        from nnunetv2.paths import nnUNet_raw

        return [Path(str(nnUNet_raw)) / self.plans_manager.dataset_name] if nnUNet_raw.is_set() else []

    def _contents(self: Any, dataset: Any) -> dict[str, CaseContent]:
        folder = Path(self.preprocessed_dataset_folder)
        cache = Path(self.preprocessed_dataset_folder_base) / CACHE_NAME.format(folder.name)
        return case_contents(dataset, folder, self._textomorph_plan, self.configuration_manager.spacing, cache)

    def _classifier_loaders(self: Any) -> tuple[Any, Any]:
        plan: TextoMorphPlans = self._textomorph_plan
        classes: ClassNames = self._classifier_classes
        synthetic = self._synthesizes()
        if synthetic:
            generator = load_generator(plan.generator)  # the workers would find out late, and without a clear line
            bank, banks = self._description_banks()
            self._textomorph_sources = Sources(bank, banks=banks)
        datasets = super(TextoMorphMixin, self).get_tr_and_val_datasets()  # type: ignore[misc]
        contents = [self._contents(dataset) for dataset in datasets]
        found = [examples(list(each), each, classes, plan) for each in contents]
        normals = [normal_cases(list(each), each) for each in contents]
        warnings = check_examples(found[0], found[1], normals[0], classes, self.fold, synthetic)
        for which, each, without in zip(("training", "validation"), found, normals, strict=True):
            self.print_to_log_file(
                f"TextoMorph: lesions in {which} cases: {counted(each, classes)}; {len(without)} cases without"
            )
        for warning in warnings:
            self.print_to_log_file(f"TextoMorph: WARNING: {warning}")

        patch_size = self.configuration_manager.patch_size
        rotation, flat, initial_patch_size, mirror_axes = (
            self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        # nnU-Net's own: the loader itself puts the tumors in
        augmentation = super(TextoMorphMixin, self).get_training_transforms(  # type: ignore[misc]
            patch_size,
            rotation,
            None,
            mirror_axes,
            flat,
            use_mask_for_norm=self.configuration_manager.use_mask_for_norm,
        )
        self._textomorph_counters = InjectionCounters(list(plan.tumors))
        shares, maker = (0.0,) * len(classes.names), None
        places: tuple[tuple[Place, ...], ...] = ()
        if synthetic:
            self._textomorph_synthesis = self._start_synthesis(generator)
            maker, shares = self._tumor_maker(found[0])
            places = self._tumor_places(contents[0], found[0], shares)
        self._shares_wanted = any(shares)
        normal = None if classes.normal is None else classes.names.index(classes.normal)
        sources = [
            ExampleSource(real_examples(each, classes), normal_places(without, content), normal, *rest)
            for each, without, content, rest in zip(
                found, normals, contents, ((shares, places), ((0.0,) * len(shares), ())), strict=True
            )
        ]
        common = {
            "batch_size": self.batch_size,
            "final_patch_size": patch_size,
            "label_manager": self.label_manager,
            "tumor_values": list(plan.tumors.values()),
            "spacing": self.configuration_manager.spacing,
            "lesion_masks": plan.classification.pooling == "lesion",
        }
        training = ClassifierLoader(
            datasets[0],
            patch_size=initial_patch_size,
            transforms=augmentation,
            source=sources[0],
            maker=maker,
            **common,
        )
        validation = ClassifierLoader(
            datasets[1],
            patch_size=patch_size,
            transforms=self.get_validation_transforms(None),
            source=sources[1],
            jitter=False,
            **common,
        )
        return self._augmenters(training, validation)

    def _tumor_places(
        self: Any, contents: dict[str, CaseContent], found: list[Example], shares: tuple[float, ...]
    ) -> tuple[tuple[Place, ...], ...]:
        """Where synthetic tumors of each class may go; the log says in how many cases."""
        classes: ClassNames = self._classifier_classes
        only = self._textomorph_plan.classification.synthetic_share == 1
        patch_size = self.configuration_manager.patch_size
        places = tumor_places(list(contents), contents, found, classes, patch_size, only)
        each = [x for x in zip(classes.names, shares, places, strict=True) if x[0] != classes.normal]
        said = "; ".join(f"{name} {100 * share:.0f} % (in {len(there)} cases)" for name, share, there in each)
        self.print_to_log_file(f"TextoMorph: synthetic examples: {said}")
        lacking = [name for name, share, there in each if share > 0 and not there]
        if lacking:
            self._no_places(lacking, found)
        return places

    def _tumor_maker(self: Any, found: list[Example]) -> tuple[TumorMaker, tuple[float, ...]]:
        """What synthetic tumors are made with, and the share of them in each class's examples."""
        plan: TextoMorphPlans = self._textomorph_plan
        classes: ClassNames = self._classifier_classes
        values = classes.values(plan)
        # the plan of the requests: its tumors are the classes, which share a label where classes.csv tells them apart
        of_classes = plan.model_copy(update={"tumors": values})
        diameters = {
            name: tuple(x.lesion.diameter_mm for x in found if classes.names[x.true] == name) for name in values
        }
        sources: Sources = self._textomorph_sources
        kinds: dict[str, TumorClass] = tumor_classes(of_classes, sources.bank, diameters, sources.banks)
        weights = None if plan.class_weights is None else [plan.class_weights.get(name, 0.0) for name in values]
        numbers = [len(diameters[name]) for name in values]
        of_name = dict(
            zip(values, synthetic_shares(numbers, plan.classification.synthetic_share, weights), strict=True)
        )
        z, y, x = map(float, self.configuration_manager.spacing)
        transform = TextoMorphTransform(
            plan,
            (z, y, x),
            self.plans_manager.foreground_intensity_properties_per_channel["0"],
            self._textomorph_counters,
            self._textomorph_synthesis,
            preview_folder=Path(self.output_folder) / "textomorph_previews" if self.local_rank == 0 else None,
            sources=sources,
        )
        taken = tuple(lesion_values(plan, self.dataset_json["labels"]))
        maker = TumorMaker(transform, of_classes, kinds, classes.names, taken)
        return maker, tuple(of_name.get(name, 0.0) for name in classes.names)

    def _no_places(self: Any, lacking: list[str], found: list[Example]) -> None:
        """Nowhere to put synthetic tumors of these classes: an error where they have no real ones either."""
        names = self._classifier_classes.names
        sentence = (
            f"no training case has a place for synthetic tumors of {', '.join(lacking)}: patches hold a real lesion of "
            "another class everywhere; add cases without lesions"
        )
        if any(name not in {names[x.true] for x in found} for name in lacking):
            raise UserError(f"{sentence[0].upper()}{sentence[1:]}.")
        self.print_to_log_file(f"TextoMorph: WARNING: {sentence}; they are learnt from real ones alone.")

    def _augmenters(self: Any, training: ClassifierLoader, validation: ClassifierLoader) -> tuple[Any, Any]:
        """As in nnUNetTrainer.get_dataloaders: in worker processes, or here where nnUNet_n_proc_DA is 0."""
        from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
        from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
        from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

        workers = get_allowed_n_proc_DA()
        if workers == 0:
            made = [SingleThreadedAugmenter(loader, None) for loader in (training, validation)]
        else:
            made = [
                NonDetMultiThreadedAugmenter(
                    data_loader=loader,
                    transform=None,
                    num_processes=processes,
                    num_cached=cached,
                    seeds=None,
                    pin_memory=self.device.type == "cuda",
                    wait_time=0.002,
                )
                for loader, processes, cached in (
                    (training, workers, max(6, workers // 2)),
                    (validation, max(1, workers // 2), max(3, workers // 4)),
                )
            ]
        for each in made:
            next(each)  # starts the workers, as nnU-Net does
        self._textomorph_workers = [worker for each in made for worker in getattr(each, "_processes", ())]
        return made[0], made[1]

    def _validate(self: Any) -> None:
        from nnunet_textomorph.classify import PatchClassifier, classify_cases

        _, cases = self.do_split()
        dataset = self.dataset_class(self.preprocessed_dataset_folder, cases)
        contents = self._contents(dataset)
        classes: ClassNames = self._classifier_classes
        found = examples(list(contents), contents, classes, self._textomorph_plan)
        if not found:
            raise UserError(f"Fold {self.fold} has no validation case with a lesion; change splits_final.json.")
        network = self.network.module if self.is_ddp else self.network
        classifier = PatchClassifier(
            [getattr(network, "_orig_mod", network)],
            self._classifier_model,
            self.configuration_manager.patch_size,
            self.configuration_manager.spacing,
            self.inference_allowed_mirroring_axes or (),
            self.device,
        )
        folder = Path(self.output_folder) / "validation"
        folder.mkdir(exist_ok=True)
        measured = classify_cases(classifier, dataset, contents, found, folder, str(self.fold))
        self.print_to_log_file(
            f"Validation complete\n{measured['table']}\nwritten to {folder}", also_print_to_console=True
        )
        for name, row in measured["patient_metrics"]["classes"].items():
            if row["sensitivity"] is not None:
                self.logger.log_summary(f"final_val/class_{name}_sensitivity", row["sensitivity"])
