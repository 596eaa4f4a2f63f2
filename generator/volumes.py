"""Reading and writing CT volumes as arrays, with the checks that bad files need."""

from __future__ import annotations

import errno
import itertools
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .errors import GeneratorError

Spacing = tuple[float, float, float]

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
NIFTI_HEADER_BYTES = 352  # before the voxels of a file without extensions, as SimpleITK writes it


@dataclass(frozen=True)
class Volume:
    """A 3D image: ``array`` (D, H, W), ``spacing`` in mm in the same axis order, and its place in the patient.

    ``origin`` and ``direction`` are SimpleITK's (x, y, z order), kept to write results on the same grid.
    """

    array: np.ndarray
    spacing: Spacing
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    def with_array(self, array: np.ndarray) -> Volume:
        """The same grid with other voxels. Raises ``ValueError`` when the shape differs."""
        if array.shape != self.array.shape:
            raise ValueError(f"array of shape {array.shape} does not fit the grid {self.array.shape}")
        return Volume(array, self.spacing, self.origin, self.direction)

    def same_grid(self, other: Volume, tolerance_mm: float = 0.1) -> bool:
        """Whether voxel (i, j, k) of both lies at the same place in the patient, within ``tolerance_mm``."""
        if self.array.shape != other.array.shape:
            return False
        return bool(np.linalg.norm(self._corners() - other._corners(), axis=1).max() <= tolerance_mm)

    def _corners(self) -> np.ndarray:
        """The eight outermost voxels' centres in the patient, mm: (8, 3)."""
        ends = [(0, n - 1) for n in self.array.shape[::-1]]
        voxels = np.array(list(itertools.product(*ends))) * np.array(self.spacing[::-1])
        return voxels @ np.array(self.direction).reshape(3, 3).T + np.array(self.origin)

    def grid_text(self) -> str:
        """Shape, spacing and origin in words, for error messages (axis order z, y, x)."""
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing)
        origin = ", ".join(f"{o:.1f}" for o in self.origin)
        return f"{' x '.join(map(str, self.array.shape))} voxels of {spacing} mm, origin ({origin})"


def read_volume(path: str | os.PathLike[str], *, integer: bool = False) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file as (D, H, W).

    ``integer=False`` gives float32 (HU for a CT) and refuses NaN; ``integer=True`` gives int16 labels and refuses
    fractions. Raises :class:`GeneratorError` for a missing, corrupt, 4D, multi-channel or non-finite file.
    """
    path = Path(path)
    if not path.is_file():
        raise GeneratorError(f"{path}: no such file.")
    if not path.name.lower().endswith(SUFFIXES):
        raise GeneratorError(f"{path}: not a NIfTI, NRRD or MetaImage file; give one of {', '.join(SUFFIXES)}.")
    if not os.access(path, os.R_OK):
        raise GeneratorError(f"{path}: may not be read; change its permissions.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    nifti = path.name.lower().endswith((".nii", ".nii.gz"))
    # SimpleITK fills what is cut off from a NIfTI file, and NaN, with zeros; so its voxels are read by nibabel
    array = _nifti_voxels(path) if nifti else None
    try:
        reader.ReadImageInformation()
        if reader.GetNumberOfComponents() != 1:
            raise GeneratorError(
                f"{path}: has {reader.GetNumberOfComponents()} channels per voxel; give a single-channel image."
            )
        if reader.GetDimension() != 3:
            raise GeneratorError(f"{path}: has {reader.GetDimension()} dimensions; give one 3D volume.")
        if array is None:
            array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # ITK ends with the system's last error, whatever that was of
        reason = next((line for line in reversed(lines) if not line.startswith("Reason:")), type(error).__name__)
        raise GeneratorError(f"{path}: cannot be read as an image ({reason}); the file may be truncated.") from None
    whole_numbers = np.issubdtype(array.dtype, np.integer)
    if not whole_numbers and not np.isfinite(array).all():
        raise GeneratorError(f"{path}: contains NaN or infinite voxels; repair the image first.")
    if integer:
        labels = (array if whole_numbers else np.rint(array)).astype(np.int16)
        if not np.array_equal(labels, array):
            raise GeneratorError(f"{path}: is not a label image; its voxels must be whole numbers.")
        array = labels
    else:
        array = array.astype(np.float32)
    z, y, x = reader.GetSpacing()[::-1]
    return Volume(array, (float(z), float(y), float(x)), reader.GetOrigin(), reader.GetDirection())


def _nifti_voxels(path: Path) -> np.ndarray:
    """The voxels, scaled as the header says, with the first axis last as SimpleITK has it."""
    try:
        return np.asanyarray(nibabel.load(path).dataobj).T  # type: ignore[attr-defined]
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise GeneratorError(f"{path}: cannot be read as an image ({reason}); the file may be truncated.") from None


def write_volume(path: str | os.PathLike[str], volume: Volume) -> None:
    """Write a volume; under a temporary name first, so that a killed run leaves no half-written file.

    Raises ``OSError`` with the file's name where it cannot be written whole, as on a full disk.
    """
    path = Path(path)
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing[::-1])
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction)
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError:
            raise _not_whole(path) from None
        if not _whole_nifti(temporary, volume.array.nbytes):
            raise _not_whole(path)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _whole_nifti(path: Path, voxel_bytes: int) -> bool:
    """False for a NIfTI file that is cut off: its writer passes over a full disk in silence."""
    size = path.stat().st_size
    if path.name.lower().endswith(".nii"):
        return size == NIFTI_HEADER_BYTES + voxel_bytes
    if path.name.lower().endswith(".nii.gz"):  # gzip ends with the length of what it holds, modulo 2^32
        with path.open("rb") as file:
            file.seek(max(0, size - 4))
            return int.from_bytes(file.read(), "little") == (NIFTI_HEADER_BYTES + voxel_bytes) % 2**32
    return True


def _not_whole(path: Path) -> OSError:
    return OSError(errno.EIO, "cannot be written whole; the disk may be full", str(path))


def resample(array: np.ndarray, spacing: Spacing, new_spacing: Spacing, *, order: int = 1) -> np.ndarray:
    """Resample (D, H, W) from one spacing (mm) to another about the array's centre; ``order`` 1 linear, 0 nearest."""
    if np.allclose(spacing, new_spacing, rtol=1e-3):
        return array
    shape = [max(1, round(n * s / t)) for n, s, t in zip(array.shape, spacing, new_spacing, strict=True)]
    return resize(array, shape, order=order)


def resize(array: np.ndarray, shape: tuple[int, ...] | list[int], *, order: int = 1) -> np.ndarray:
    """Resize (D, H, W) to ``shape`` over the same extent; ``order`` 1 linear, 0 nearest. Keeps the dtype."""
    factors = [n / m for n, m in zip(array.shape, shape, strict=True)]
    offset = [(f - 1) / 2 for f in factors]
    return ndimage.affine_transform(array, factors, offset, tuple(shape), order=order, mode="nearest")


def box_around(mask: np.ndarray, spacing: Sequence[float], margin_mm: float) -> tuple[slice, ...]:
    """The bounding box of a mask that is not empty, wider by ``margin_mm`` on each side as far as the array goes."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    margins = [int(np.ceil(margin_mm / s)) for s in spacing]
    return tuple(
        slice(max(0, f.start - m), min(n, f.stop + m)) for f, m, n in zip(found, margins, mask.shape, strict=True)
    )
