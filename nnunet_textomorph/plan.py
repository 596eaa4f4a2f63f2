"""TextoMorphPlans.json: what is put where when nnU-Net trains, beside nnU-Net's own plans."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.llm_reports.descriptors import Pathology
from nnunet_textomorph.shapes import SIZE_CLASSES_MM, random_diameter

FILE_NAME = "TextoMorphPlans.json"
TUMOR_NAME = re.compile(
    r"tumou?r|lesion|cancer|carcinoma|metasta|neoplas|sarcoma|adenoma|nodule|\b(mass|masses|cysts?|pdac|pnet|hcc|rcc)\b",
    re.I,
)
ORGANS = ("liver", "pancreas", "kidney", "soft tissue")
KINDS = ("random", "targeted", "class_specific")  # of requests: Eq. 3, Eq. 4, Eq. 5
# how labels name the classes that descriptions know; other pathologies by their own name, as a word
NAMED = {"cyst": r"\bcyst", "metastasis": r"metasta|\bmets?\b"}
PATHOLOGIES = get_args(Pathology)

Labels = dict[str, int | list[int]]


class ClassificationPlan(BaseModel):
    """What the classification trainers do (paper §III-D); segmentation trainers do not read it.

    ``normal``: cases without lesions are a class of their own. ``pooling``: over what features are averaged; over
    the patch, as the paper does it, short trainings learned nothing (docs/classification.md).
    ``synthetic_share``: how many of a class's examples are synthetic, for a class of an average number of lesions; more
    for rarer ones, fewer for more frequent ones. ``malignant``: names of classes; by their names when null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    normal: bool = False
    pooling: Literal["lesion", "patch"] = "lesion"
    synthetic_share: float = Field(default=0.5, ge=0.0, le=1.0)
    malignant: tuple[str, ...] | None = None


class TextoMorphPlans(BaseModel):
    """Checked contents of the file; an unknown key is an error.

    ``hosts`` and ``tumors`` map label names to values of the segmentation. ``probability``: of a tumor per patch.
    ``mix``: weights of the kinds of tumors (random: Eq. 3, targeted: Eq. 4, class_specific: Eq. 5). ``missed``: the
    bank of missed lesions for targeted ones; the one that ``textomorph mine`` wrote for the dataset when null.
    ``class_weights``: of the tumor labels (of the classes of classes.csv, where that tells them) in class-specific
    ones; inverse to their frequency in the fold when null.
    ``size_mix``: weights of the size classes (small < 20 mm, medium < 50 mm, large). ``inside_share``: how much of a
    tumor lies in its host at least; the rest may bulge out. ``steps`` and ``guidance``: the generator's own when null.
    ``synthesis``: in the loader's workers, on the CPU, or by a service on the training device; when null the service
    where that is a GPU.
    ``epochs`` and the two numbers of iterations per epoch: nnU-Net's own when null. ``classification``: of the
    classification trainers only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hosts: Labels = Field(min_length=1)
    tumors: dict[str, int] = Field(min_length=1)
    organ: str
    generator: str | None = None
    bank: str | None = None
    missed: str | None = None
    probability: float = Field(default=0.5, ge=0.0, le=1.0)
    mix: dict[str, float] = {"random": 1.0}
    class_weights: dict[str, float] | None = None
    size_mix: dict[str, float] = {"small": 0.5, "medium": 0.4, "large": 0.1}
    smallest_mm: float = Field(default=6.0, gt=0.0)
    largest_mm: float = Field(default=60.0, gt=0.0)  # the largest that the shipped generator was trained on
    inside_share: float = Field(default=0.8, gt=0.0, le=1.0)
    steps: int | None = Field(default=None, ge=1, le=200)
    guidance: float | None = Field(default=None, ge=0.0)
    synthesis: Literal["workers", "service"] | None = None
    epochs: int | None = Field(default=None, ge=1)
    iterations_per_epoch: int | None = Field(default=None, ge=1)
    validation_iterations_per_epoch: int | None = Field(default=None, ge=1)
    classification: ClassificationPlan = ClassificationPlan()

    @field_validator("size_mix")
    @classmethod
    def _known_sizes(cls, mix: dict[str, float]) -> dict[str, float]:
        return _weights(mix, SIZE_CLASSES_MM)

    @field_validator("mix")
    @classmethod
    def _known_kinds(cls, mix: dict[str, float]) -> dict[str, float]:
        return _weights(mix, KINDS)

    @model_validator(mode="after")
    def _something_to_do(self) -> TextoMorphPlans:
        if not self.host_values:
            raise ValueError("every value of hosts is one of tumors; no tissue is left to put tumors into")
        if self.class_weights is not None:
            _weights(self.class_weights, self.class_weights, "class_weights: ")
        random_diameter(
            self.size_mix, np.random.default_rng(0), smallest_mm=self.smallest_mm, largest_mm=self.largest_mm
        )
        return self

    @property
    def host_values(self) -> list[int]:
        """Values of the segmentation that are host and not tumor."""
        return self.values_of(self.hosts)

    def values_of(self, hosts: Iterable[str]) -> list[int]:
        """Values of these hosts that are not tumor."""
        values: set[int] = set()
        for name in hosts:
            values |= set(_listed(self.hosts[name]))
        return sorted(values - set(self.tumors.values()))

    def hosts_of(self, tumor: str) -> list[str]:
        """The hosts that a tumor label may lie in: those whose organ its name holds (liver_tumor), else all."""
        plain = _plain(tumor)
        return [host for host in self.hosts if organ_of(host) in plain] or list(self.hosts)

    def organ_for(self, tumor: str) -> str:
        """Whose descriptions a tumor label takes: the plan's organ, where its hosts are of several its own host's."""
        if len({organ_of(host) for host in self.hosts}) == 1:
            return self.organ
        own = {organ_of(host) for host in self.hosts_of(tumor)}
        return own.pop() if len(own) == 1 else self.organ

    def hosts_like(self, host: str | None) -> list[str]:
        """The hosts of the same organ as one of them (left and right kidney); all where it is none of them."""
        organ = organ_of(host) if host in self.hosts and host is not None else None
        return [name for name in self.hosts if organ in (None, organ_of(name))]


def infer_plan(
    dataset_json: dict[str, Any],
    *,
    where: str = "dataset.json",
    host_labels: Sequence[str] = (),
    tumor_labels: Sequence[str] = (),
) -> TextoMorphPlans:
    """Infer hosts and tumors from dataset.json's label names; names given override.

    Raises :class:`UserError` when no name looks like a tumor, no or several organs may be the host, or the images
    have more than one channel.
    """
    _check_channels(len(dataset_json.get("channel_names") or dataset_json.get("modality") or {}), where)
    labels: Labels = {k: v for k, v in dataset_json["labels"].items() if k not in ("background", "ignore")}
    for name, value in labels.items():
        if not all(isinstance(v, int) for v in _listed(value)):
            raise UserError(
                f"{where}: the label {name!r} has the value {value!r}; give a whole number, without quotes."
            )
    for name in (*host_labels, *tumor_labels):
        if name not in labels:
            raise UserError(f"{where}: has no label {name!r}; it has {', '.join(labels)}.")
    tumors = _tumors(labels, tumor_labels, where)
    rest: Labels = {k: v for k, v in labels.items() if k not in tumors and not _is_tumor(k)}
    hosts: Labels = {k: labels[k] for k in host_labels} or _healthy(_hosts(rest, list(tumors), where), labels)
    return TextoMorphPlans(hosts=hosts, tumors=tumors, organ=organ_of(next(iter(hosts))))


def check_configuration(plans: dict[str, Any], configuration: str, where: str) -> None:
    """Raise ``NotImplementedError`` for 2d and cascades, :class:`UserError` for an intensity scheme without inverse."""
    available = plans["configurations"]
    if configuration not in available:
        raise UserError(f"{where}: has no configuration {configuration!r}; it has {', '.join(available)}.")
    inherited = _inherited(available, configuration)
    if (
        configuration == "2d"
        or len(inherited.get("patch_size", ())) == 2
        or "cascade" in configuration
        or inherited.get("previous_stage")
    ):
        raise NotImplementedError(
            f"Tumors cannot be put into patches of the configuration {configuration!r}; use 3d_fullres or 3d_lowres."
        )
    schemes = inherited.get("normalization_schemes", [])
    _check_channels(max(1, len(schemes)), where)  # without a scheme, that is what is wrong
    if list(schemes) != ["CTNormalization"]:
        raise UserError(
            f"{where}: normalizes by {', '.join(schemes)}, which is not invertible in a patch (the image's own mean is "
            'lost, as in MRI); only CT works: give the channel the name "CT" in dataset.json and plan again.'
        )


def check_labels_of_plan(plan: TextoMorphPlans, labels: Labels, where: Path) -> None:
    """Raise :class:`UserError` where a dataset's labels are no longer those that the plan was made for."""
    for name, values in [*plan.hosts.items(), *plan.tumors.items()]:
        if name not in labels:
            raise UserError(f"{where}: the dataset has no label {name!r} (any more); run textomorph plan --overwrite.")
        if not set(_listed(values)) <= set(_listed(labels[name])):
            raise UserError(
                f"{where}: {name!r} is {values}, but {labels[name]} in dataset.json; run textomorph plan --overwrite."
            )


def write_plan(
    dataset: str,
    configuration: str = "3d_fullres",
    generator: Path | None = None,
    bank: Path | None = None,
    plans: str = "nnUNetPlans",
    overwrite: bool = False,
    host_labels: Sequence[str] = (),
    tumor_labels: Sequence[str] = (),
) -> tuple[TextoMorphPlans, Path]:
    """Infer a plan for a planned nnU-Net dataset (name or number) and write it beside nnU-Net's plans.

    Raises :class:`UserError` for what :func:`infer_plan` and :func:`check_configuration` refuse, a dataset that is not
    planned, an unusable bank, or an existing file unless ``overwrite``; :class:`GeneratorError` for a generator that
    cannot be loaded.
    """
    # not needed to read a plan, and slow to import
    from nnunet_textomorph.bank import load_bank
    from nnunet_textomorph.generators import generator_reference, load_generator

    load_generator(generator)
    folder = preprocessed_folder(dataset)
    nnunet_plans = folder / f"{plans}.json"
    if not nnunet_plans.is_file():
        raise UserError(f"{nnunet_plans}: no such file; run nnUNetv2_plan_and_preprocess -d {dataset} first.")
    check_configuration(read_json(nnunet_plans), configuration, str(nnunet_plans))
    dataset_json = folder / "dataset.json"
    plan = infer_plan(
        read_json(dataset_json),
        where=str(dataset_json),
        host_labels=host_labels,
        tumor_labels=tumor_labels,
    )
    plan = plan.model_copy(
        update={
            "generator": generator_reference(generator),
            "bank": None if bank is None else str(bank.resolve()),
        }
    )
    load_bank(bank, plan.organ)
    path = folder / FILE_NAME
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists; edit it, or replace it with --overwrite.")
    save_plan(plan, path)
    return plan, path


def save_plan(plan: TextoMorphPlans, path: Path) -> None:
    """Write under a temporary name, then rename."""
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    temporary.write_text(plan.model_dump_json(indent=2) + "\n")
    os.replace(temporary, path)


def load_plan(path: Path) -> TextoMorphPlans:
    """Read a plan; :class:`UserError` names the key that is unknown or unfit."""
    try:
        return TextoMorphPlans.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        fields = (ClassificationPlan if len(first["loc"]) > 1 else TextoMorphPlans).model_fields
        known = f"; the keys are {', '.join(fields)}" if first["type"] == "extra_forbidden" else ""
        raise UserError(f"{path}: {key}: {first['msg']}{known}.") from None


def pathology_of(tumor_name: str) -> str | None:
    """The class that a label's name asks for (PDAC, cyst, metastasis ...), if any."""
    plain = _plain(tumor_name)
    return next((p for p in PATHOLOGIES if re.search(NAMED.get(p, rf"\b{p}s?\b"), plain, re.I)), None)


def lesion_values(plan: TextoMorphPlans, labels: Labels) -> list[int]:
    """Values that no tumor may be put on: the plan's tumors, others named like one, and the ignore label."""
    values = set(plan.tumors.values())
    for name, value in labels.items():
        if name == "ignore" or (_is_tumor(name) and name not in plan.hosts):
            values |= set(_listed(value))
    return sorted(values)


def _check_channels(number: int, where: str) -> None:
    if number != 1:
        raise UserError(f"{where}: has {number} channels; tumors are put into single-channel CT only.")


def _tumors(labels: Labels, wanted: Sequence[str], where: str) -> dict[str, int]:
    names = list(wanted) or [name for name in labels if _is_tumor(name)]
    tumors = {name: value for name in names if isinstance(value := labels[name], int)}
    if not tumors:  # regions only: the tumor is what no other region holds
        tumors = {n: int(v[-1]) for n in names[-1:] if isinstance(v := labels[n], list)}
    if not tumors:
        raise UserError(
            f"{where}: none of the labels {', '.join(labels)} looks like a tumor; "
            "name it with textomorph plan --tumor-label NAME."
        )
    return tumors


def _is_tumor(name: str) -> bool:
    return bool(TUMOR_NAME.search(_plain(name)))


def _healthy(hosts: Labels, labels: Labels) -> Labels:
    """Hosts without the values that any label named like a tumor holds: KiTS's kidney region contains its masses."""
    sick = {value for name, values in labels.items() if _is_tumor(name) for value in _listed(values)}
    return {k: [v for v in value if v not in sick] if isinstance(value, list) else value for k, value in hosts.items()}


def _hosts(rest: Labels, tumor_names: Sequence[str], where: str) -> Labels:
    named = {k: v for k, v in rest.items() if any(organ_of(k) in name.lower() for name in tumor_names)}
    organs = {k: v for k, v in rest.items() if organ_of(k) in ORGANS}
    for candidates in (named, rest, organs):
        if candidates and len({organ_of(k) for k in candidates}) == 1:
            return candidates
    what = f"any of {', '.join(rest)} may hold tumors" if rest else "no label but the tumor's is left as its host"
    raise UserError(f"{where}: {what}; name the host with textomorph plan --host-label NAME.")


def possible_hosts(labels: Labels) -> list[str]:
    """Labels of organs: of known ones, and of those that a tumor's label is named after (colon, colon_tumor)."""
    tumors = [_plain(name) for name in labels if _is_tumor(name)]
    organs = {name: organ_of(name) for name in labels if name not in ("background", "ignore") and not _is_tumor(name)}
    return [name for name, organ in organs.items() if organ in ORGANS or any(organ in tumor for tumor in tumors)]


def organ_of(name: str) -> str:
    """The organ that a label's name holds; else the name itself, in plain words."""
    plain = _plain(name)
    return next((organ for organ in ORGANS if organ in plain), plain)


def _plain(name: str) -> str:
    return re.sub(r"[_\-]+", " ", name).lower().strip()


def _listed(value: int | list[int]) -> list[int]:
    return value if isinstance(value, list) else [value]


def _weights(weights: dict[str, float], known: Iterable[str], where: str = "") -> dict[str, float]:
    unfit = min(weights.values(), default=0) < 0 or not any(weight > 0 for weight in weights.values())
    if unfit or set(weights) - set(known):
        raise ValueError(f"{where}give weights of {', '.join(known)}, none below 0 and at least one above")
    return weights


def read_json(path: Path) -> dict[str, Any]:
    """A file of nnU-Net's; :class:`UserError` where it is absent, no JSON, or lacks what the rest relies on."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; plan the dataset with nnUNetv2_plan_and_preprocess again.") from None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); plan the dataset again.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is no JSON object; plan the dataset again.")
    needed = "labels" if path.name == "dataset.json" else "configurations"
    if not isinstance(content.get(needed), dict):
        raise UserError(f"{path}: names no {needed}; plan the dataset with nnUNetv2_plan_and_preprocess again.")
    return content


def _inherited(configurations: dict[str, Any], name: str) -> dict[str, Any]:
    own = configurations[name]
    parent = own.get("inherits_from")
    return {**_inherited(configurations, parent), **own} if parent else own


def preprocessed_folder(dataset: str) -> Path:
    """nnU-Net's folder of a dataset (name or number); :class:`UserError` where there is none."""
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

    base = os.environ.get("nnUNet_preprocessed")  # noqa: SIM112  # nnU-Net's own spelling
    if not base:
        raise UserError("nnUNet_preprocessed is not set; set nnU-Net's three environment variables first.")
    name = str(dataset)
    if re.fullmatch(r"\d+", name) and Path(base).is_dir():
        found = sorted(p.name for p in Path(base).glob(f"Dataset{int(name):03d}_*"))
        if found:
            return Path(base) / found[0]
    try:
        return Path(base) / str(maybe_convert_to_dataset_name(int(name) if name.isdigit() else name))
    except RuntimeError:
        raise UserError(f"{dataset}: no such dataset in {base}; give its number or its name.") from None
