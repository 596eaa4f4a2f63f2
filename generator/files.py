"""Writing files whole: under a temporary name first, and with one sentence where the disk is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from .errors import GeneratorError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, which takes its place once it is written; nothing half-written stays.

    Raises :class:`GeneratorError` where the disk is full.
    """
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    with full_disk_named(path):
        try:
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)  # safetensors makes files for their owner alone, whatever the umask
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """:class:`GeneratorError` with ``path`` in it for what the libraries raise when they write to a full disk."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _is_full_disk(error):
            raise
        raise GeneratorError(
            f"{path}: cannot be written, the disk is full; free some space and give the command again with --resume."
        ) from None


def _is_full_disk(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    # safetensors and torch give no number; torch's archive only says that its file has not grown as it should have
    return any(said in str(error) for said in ("No space left", "quota exceeded", "inline_container"))
