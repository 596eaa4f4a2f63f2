"""A volume that cannot be written whole is not written at all: ITK leaves half a NIfTI file in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_textomorph.generator.volumes import Volume, read_volume, write_volume

SUFFIXES = [".nii.gz", ".nii", ".nrrd", ".mha"]
PLACE = ((0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))

FULL_DISK = """
import resource, signal, sys
import numpy as np
from nnunet_textomorph.generator.volumes import Volume, write_volume
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # writing beyond fails, as on a full disk
noise = np.random.default_rng(0).integers(-1000, 1000, (40, 80, 80)).astype(np.int16)
for path in sys.argv[1:]:
    try:
        write_volume(path, Volume(noise, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    except OSError as error:
        print(error.filename, error.strerror)
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32])
def test_what_was_written_is_read(suffix: str, kind: type, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 200, (3, 4, 5)).astype(kind)
    write_volume(tmp_path / f"ct{suffix}", Volume(array, (3.0, 2.0, 1.0), *PLACE))
    again = read_volume(tmp_path / f"ct{suffix}")
    np.testing.assert_array_equal(again.array, array)
    assert again.spacing == (3.0, 2.0, 1.0)
    assert [p.name for p in tmp_path.iterdir()] == [f"ct{suffix}"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    paths = [str(tmp_path / f"ct{suffix}") for suffix in SUFFIXES]
    # from another folder than the repository's root, which would hide the installed package
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *paths], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.splitlines() == [f"{path} cannot be written whole; the disk may be full" for path in paths]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, -100.0)])
def test_nifti_voxels_are_those_that_simpleitk_reads(tmp_path, dtype, slope, intercept):
    image = nibabel.Nifti1Image(np.arange(60).reshape(3, 4, 5).astype(dtype), np.diag([1.0, 2.0, 3.0, 1.0]))
    image.header["scl_slope"], image.header["scl_inter"] = slope, intercept
    path = tmp_path / "scaled.nii"
    nibabel.save(image, path)
    told, known = read_volume(path), sitk.ReadImage(str(path))
    np.testing.assert_allclose(told.array, sitk.GetArrayFromImage(known))
    assert told.spacing == known.GetSpacing()[::-1]
    assert (told.origin, told.direction) == (known.GetOrigin(), known.GetDirection())
