"""Where synthetic tumors may stand without making a patch's class untrue, and how voxels map back to the image file."""

from __future__ import annotations

import numpy as np

from nnunet_textomorph.classifier_cases import CaseContent, ClassNames, Example, FoundLesion
from nnunet_textomorph.classifier_loader import lesion_at, mock_lesion, moved, tumor_places
from nnunet_textomorph.classify import _in_file

CLASSES = ClassNames(("PDAC", "cyst"), ("PDAC",), None, None, "label values")
HOST = np.argwhere(np.ones((4, 4, 40), bool))
PATCH = (4, 8, 10)


def contents(**places: int | None) -> dict[str, CaseContent]:
    """Cases with a lesion about a voxel of the last axis, or without."""
    made = {}
    for case, x in places.items():
        lesions = () if x is None else (FoundLesion(2, 1.0, (2, 2, x), ((0, 4), (0, 4), (x - 2, x + 3)), 5.0),)
        made[case] = CaseContent(lesions, HOST)
    return made


def test_synthetic_tumors_go_where_a_patch_holds_no_real_lesion() -> None:
    cases = contents(**{f"c{i}": 5 for i in range(5)})
    found = [Example(case, 0, content.lesions[0]) for case, content in cases.items()]
    for places in tumor_places(list(cases), cases, found, CLASSES, PATCH, False):
        assert {place.case for place in places} == set(cases)
        for place in places:
            assert not place.alike
            assert len(place.voxels)
            start = place.voxels[:, 2] - 5
            assert (start >= 8).all()  # the lesion ends at 7


def test_where_few_cases_have_such_places_those_of_the_same_class_are_taken_too() -> None:
    wide = (4, 8, 200)  # the whole case is in a patch
    cases = contents(healthy=None, pdac=5, cyst=20)
    found = [Example("pdac", 0, cases["pdac"].lesions[0]), Example("cyst", 1, cases["cyst"].lesions[0])]
    pdac, cyst = tumor_places(list(cases), cases, found, CLASSES, wide, False)
    assert [(p.case, p.alike) for p in pdac] == [("healthy", False), ("pdac", True)]
    assert [(p.case, p.alike) for p in cyst] == [("healthy", False), ("cyst", True)]
    pdac, cyst = tumor_places(list(cases), cases, found, CLASSES, wide, True)
    assert [p.case for p in pdac] == [p.case for p in cyst] == ["healthy"]
    mixed = [*found, Example("pdac", 1, cases["pdac"].lesions[0])]
    pdac, _ = tumor_places(list(cases), cases, mixed, CLASSES, wide, False)
    assert [p.case for p in pdac] == ["healthy"]


def test_masks_of_lesions() -> None:
    labels = np.zeros((6, 8, 8), np.int16)
    labels[1:3, 1:3, 1:3], labels[1:3, 3, 1:3], labels[4:, 5:, 5:] = 2, 3, 2
    mask = lesion_at(labels, [2, 3], (1, 1, 1))
    assert mask.sum() == 12
    assert not lesion_at(labels, [2, 3], (0, 0, 0)).any()
    shifted = moved(mask, np.array([-2, 0, 1]))
    stays = np.argwhere(mask)[6:]  # the upper of two slices
    assert np.array_equal(np.argwhere(shifted), stays + np.array([-2, 0, 1]))
    mock = mock_lesion((9, 9, 9), [30.0], (1.0, 1.0, 1.0), np.random.default_rng(0))
    assert mock.all()  # larger than the patch
    small = mock_lesion((9, 9, 9), [4.0], (1.0, 1.0, 1.0), np.random.default_rng(0))
    assert small[4, 4, 4]
    assert 15 < small.sum() < 60


def test_voxels_are_mapped_back_to_the_image_file() -> None:
    properties = {
        "shape_after_cropping_and_before_resampling": (10, 40, 60),
        "bbox_used_for_cropping": [[2, 12], [5, 45], [0, 60]],
    }
    assert _in_file((5, 10, 15), properties, (10, 20, 30)) == (7.0, 25.5, 30.5)
    # the file's axes are the plan's first two exchanged
    assert _in_file((5, 10, 15), properties, (10, 20, 30), [1, 0, 2]) == (25.5, 7.0, 30.5)
