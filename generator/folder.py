"""Writing and reading a generator folder: ``generator.json`` and ``model.safetensors``, never pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .config import FORMAT_VERSION, GeneratorConfig
from .errors import GeneratorError

CONFIG_NAME, WEIGHTS_NAME = "generator.json", "model.safetensors"
DEFAULT_FOLDER = Path(__file__).parent / "default"


def write_folder(folder: Path, config: GeneratorConfig, module: nn.Module) -> None:
    """Write both files, each under a temporary name first; weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: _half(value) for name, value in module.state_dict().items()}
    mark = f".partial-{os.getpid()}-"
    save_file(weights, folder / (mark + WEIGHTS_NAME), metadata={"format": "pt"})
    (folder / (mark + CONFIG_NAME)).write_text(config.model_dump_json(indent=2) + "\n")
    for name in (WEIGHTS_NAME, CONFIG_NAME):  # the description last: a folder with one is complete
        os.replace(folder / (mark + name), folder / name)


def read_config(folder: Path) -> GeneratorConfig:
    """Read ``generator.json``; :class:`GeneratorError` says what is missing, of another version or not understood."""
    path = folder / CONFIG_NAME
    if not folder.is_dir():
        raise GeneratorError(f"{folder}: no such folder; give a generator folder, with {CONFIG_NAME} in it.")
    if not path.is_file():
        raise GeneratorError(f"{path}: is missing; a generator folder holds {CONFIG_NAME} and {WEIGHTS_NAME}.")
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise GeneratorError(f"{path}: is not valid JSON; it may be truncated, copy it again.") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise GeneratorError(
            f"{path}: has format version {version}, this program reads {FORMAT_VERSION}; "
            "train the generator anew or install the version of nnunet-textomorph that wrote it."
        )
    try:
        return GeneratorConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise GeneratorError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


def read_weights(folder: Path, module: nn.Module) -> None:
    """Load ``model.safetensors`` into ``module``; :class:`GeneratorError` for a missing, truncated or unfit file."""
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise GeneratorError(f"{path}: is missing; a generator folder holds {CONFIG_NAME} and {WEIGHTS_NAME}.")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise GeneratorError(f"{path}: cannot be read ({error}); it may be truncated, copy it again.") from None
    expected = module.state_dict()
    for name, value in expected.items():
        if name not in weights:
            raise GeneratorError(f"{path}: holds no {name!r}; it does not belong to the {CONFIG_NAME} beside it.")
        if weights[name].shape != value.shape:
            raise GeneratorError(
                f"{path}: {name!r} has shape {tuple(weights[name].shape)}, {CONFIG_NAME} asks for {tuple(value.shape)}."
            )
        if not bool(torch.isfinite(weights[name].float()).all()):
            raise GeneratorError(f"{path}: {name!r} holds NaN or infinity; train again from an earlier checkpoint.")
    module.load_state_dict({name: weights[name].to(value.dtype) for name, value in expected.items()})


def _half(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.to(torch.float16) if value.dtype == torch.float32 else value
