"""Writing and reading a generator folder: ``generator.json``, ``model.safetensors`` and, where there is a distilled
denoiser, ``distilled.safetensors``; never pickle.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .config import FORMAT_VERSION, GeneratorConfig
from .errors import GeneratorError
from .files import replacing

CONFIG_NAME, WEIGHTS_NAME, DISTILLED_NAME = "generator.json", "model.safetensors", "distilled.safetensors"
DEFAULT_FOLDER = Path(__file__).parent / "default"


def write_folder(folder: Path, config: GeneratorConfig, module: nn.Module, distilled: nn.Module | None = None) -> None:
    """Write the files, each under a temporary name first; weights in half precision.

    Raises :class:`GeneratorError` where the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {WEIGHTS_NAME: module} if distilled is None else {WEIGHTS_NAME: module, DISTILLED_NAME: distilled}
    with ExitStack() as stack:
        # put in place in the reverse order, the description last: a folder with one is complete
        names = (CONFIG_NAME, *reversed(written))
        temporary = {name: stack.enter_context(replacing(folder / name)) for name in names}
        for name, network in written.items():
            weights = {key: _half(value) for key, value in network.state_dict().items()}
            save_file(weights, temporary[name], metadata={"format": "pt"})
        temporary[CONFIG_NAME].write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_config(folder: Path) -> GeneratorConfig:
    """Read ``generator.json``; :class:`GeneratorError` says what is missing, of another version or not understood."""
    path = folder / CONFIG_NAME
    if not folder.is_dir():
        raise GeneratorError(f"{folder}: no such folder; give a generator folder, with {CONFIG_NAME} in it.")
    if not path.is_file():
        raise GeneratorError(f"{path}: is missing; a generator folder holds {CONFIG_NAME} and {WEIGHTS_NAME}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
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


def read_weights(folder: Path, module: nn.Module, name: str = WEIGHTS_NAME) -> None:
    """Load a file of weights into ``module``; :class:`GeneratorError` for a missing, truncated or unfit one."""
    path = folder / name
    if not path.is_file():
        raise GeneratorError(f"{path}: is missing; this generator folder holds {CONFIG_NAME} and {name}.")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise GeneratorError(f"{path}: cannot be read ({error}); it may be truncated, copy it again.") from None
    expected = module.state_dict()
    for key, value in expected.items():
        if key not in weights:
            raise GeneratorError(f"{path}: holds no {key!r}; it does not belong to the {CONFIG_NAME} beside it.")
        if weights[key].shape != value.shape:
            raise GeneratorError(
                f"{path}: {key!r} has shape {tuple(weights[key].shape)}, {CONFIG_NAME} asks for {tuple(value.shape)}."
            )
        if not bool(torch.isfinite(weights[key].float()).all()):
            raise GeneratorError(f"{path}: {key!r} holds NaN or infinity; train again from an earlier checkpoint.")
    module.load_state_dict({key: weights[key].to(value.dtype) for key, value in expected.items()})


def _half(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.to(torch.float16) if value.dtype == torch.float32 else value
