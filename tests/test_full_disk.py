"""A full disk ends in one sentence and leaves nothing half-written."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

import nnunet_textomorph.generator.folder as folder_module
from nnunet_textomorph.generator.autoencoder import Autoencoder
from nnunet_textomorph.generator.config import GeneratorConfig
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.files import full_disk_named, replacing
from nnunet_textomorph.generator.folder import write_folder

# as raised by these libraries on a tmpfs of 300 KiB
RAISED: dict[str, Callable[[], Exception]] = {
    "a file": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "safetensors": lambda: SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    "torch": lambda: RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
}


@pytest.mark.parametrize("library", list(RAISED))
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(library: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("whole")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("hal")
            raise RAISED[library]()

    with pytest.raises(GeneratorError, match="disk is full") as caught:
        write()
    assert str(path) in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "whole"


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    for error in (PermissionError(errno.EACCES, "Permission denied"), RuntimeError("shapes differ")):
        with pytest.raises(type(error)), full_disk_named(tmp_path):
            raise error


def test_a_folder_stays_whole_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = GeneratorConfig(autoencoder=tiny.AUTOENCODER)
    torch.manual_seed(0)
    network = Autoencoder(tiny.AUTOENCODER)
    write_folder(tmp_path / "out", config, network)
    before = load_file(tmp_path / "out" / "model.safetensors")

    def half(_weights: Any, path: Path, **_options: Any) -> None:
        Path(path).write_bytes(b"half")
        raise RAISED["safetensors"]()

    monkeypatch.setattr(folder_module, "save_file", half)
    with pytest.raises(GeneratorError, match=r"model\.safetensors: cannot be written"):
        write_folder(tmp_path / "out", config, Autoencoder(tiny.AUTOENCODER))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["generator.json", "model.safetensors"]
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
