"""The classification trainers inside nnU-Net: train, stop, continue, validate, classify; and what they refuse."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.run.run_training import run_training
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from tiny_classes import NUMBER, PLANS, TinyClasses, standard, write_case

from nnunet_textomorph import classifier_loader
from nnunet_textomorph.classifier_mixin import ClassifierMixin
from nnunet_textomorph.classifier_network import LesionClassifier
from nnunet_textomorph.cli import main
from nnunet_textomorph.transform import TrainingStopped

TRAINER = "nnUNetTrainerTextoMorphClassifier"
CPU = torch.device("cpu")
CLASSES = ["PDAC", "PNET", "cyst", "normal"]


class Classifier(ClassifierMixin, nnUNetTrainer):
    """As the trainers are, without nnU-Net's search for them."""


class Real(ClassifierMixin, nnUNetTrainer):
    textomorph_synthetic = False


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> TinyClasses:
    made = TinyClasses(tmp_path_factory.mktemp("classes"))
    made.prepare(standard(made))
    return made


@pytest.fixture
def dataset(prepared: TinyClasses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyClasses:
    """A copy that a test may spoil."""
    shutil.copytree(prepared.root, tmp_path / "copy")
    made = TinyClasses.__new__(TinyClasses)
    made.__dict__ = dict(prepared.__dict__)
    made.root = tmp_path / "copy"
    made.raw, made.preprocessed = (
        made.root / p.relative_to(prepared.root) for p in (prepared.raw, prepared.preprocessed)
    )
    made.environment = {
        name: value.replace(str(prepared.root), str(made.root)) for name, value in prepared.environment.items()
    }
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


def trainer(dataset: TinyClasses, kind: type = Real, fold: int = 0) -> Any:
    plans = {**json.loads((dataset.preprocessed / "nnUNetPlans.json").read_text()), "continue_training": False}
    made = kind(plans, "3d_fullres", fold, dataset.dataset_json, CPU)
    made.initialize()
    return made


def loaders(dataset: TinyClasses, kind: type = Real, seed: int = 0) -> tuple[Any, Any, Any]:
    np.random.seed(seed)
    made = trainer(dataset, kind)
    return made, *made.get_dataloaders()


def refused(dataset: TinyClasses, capsys: pytest.CaptureFixture[str], kind: type = Real) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        loaders(dataset, kind)
    assert stopped.value.code == 2
    return capsys.readouterr().out.splitlines()[-1]


def log(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted((folder / "fold_0").glob("training_log_*.txt")))


def cli(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["classify", *map(str, arguments), "-device", "cpu"])


def test_train_stop_continue_validate_and_classify(
    dataset: TinyClasses, generator_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: Any = (NUMBER, "3d_fullres", 0, TRAINER, PLANS)
    dataset.plan({"normal": True}, generator=str(generator_folder), iterations_per_epoch=3)
    run_training(*arguments, device=CPU)
    folder = dataset.folder(TRAINER)
    fold = folder / "fold_0"
    first = log(folder)
    assert "examples seen: PDAC" in first
    assert "New best EMA macro sensitivity" in first
    (inputs,) = json.loads((fold / "textomorph_inputs.json").read_text())
    assert (inputs["trainer"], Path(inputs["generator"]["folder"])) == (TRAINER, generator_folder)
    stored = torch.load(fold / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    assert any(key.startswith("textomorph_") for key in stored["logging"])
    assert not list(folder.rglob("*.npz"))

    dataset.plan({"normal": True}, generator=str(generator_folder), iterations_per_epoch=3, epochs=2)
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    run_training(*arguments, continue_training=True, device=CPU)
    assert log(folder).count("examples seen") == 2
    result = json.loads((fold / "validation" / "classification.json").read_text())
    assert result["classes"] == CLASSES
    assert {p["case"]: p["true"] for p in result["patients"]}["none_0"] == "normal"

    shutil.rmtree(fold / "validation")
    run_training(*arguments, only_run_validation=True, device=CPU)
    again = json.loads((fold / "validation" / "classification.json").read_text())
    assert again == result
    assert {x.name for x in (fold / "validation").iterdir()} == {
        "classification.json",
        "classification.csv",
        "confusion_matrix.png",
    }

    # the same cases as new ones, with what the validation knew: the same probabilities
    images, lesions, out = tmp_path / "images", tmp_path / "lesions", tmp_path / "out"
    images.mkdir(), lesions.mkdir()
    truth = [f"{x['case']},{x['true']}" for x in result["patients"]]
    for x in result["patients"]:
        shutil.copy(dataset.raw / "imagesTr" / f"{x['case']}_0000.nii.gz", images)
        shutil.copy(dataset.raw / "labelsTr" / f"{x['case']}.nii.gz", lesions)
    table = tmp_path / "classes.csv"
    table.write_text("\n".join(["case,class", *truth]))
    done = cli("-i", images, "-m", folder, "-o", out, "--lesions", lesions, "--classes", table)
    assert done.exit_code == 0, done.output
    new = json.loads((out / "classification.json").read_text())
    for mine, theirs in zip(new["patients"], result["patients"], strict=True):
        assert mine["true"] == theirs["true"]
        assert mine["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-3)
    assert new["lesions"][0]["centre"] == pytest.approx(result["lesions"][0]["centre"], abs=1)
    rows = list(csv.DictReader((out / "classification.csv").open()))
    assert [row["level"] for row in rows] == ["patient"] * 4 + ["lesion"] * 3
    assert not (out / ".partial-cases").exists()

    done = cli("-i", images, "-m", folder, "-o", out, "--lesions", lesions)
    assert done.exit_code == 2
    assert "--overwrite" in done.output
    table.write_text("case,class\npdac_0,MCN\npnet_0,PNET\ncyst_0,cyst\nnone_0,normal\n")
    done = cli("-i", images, "-m", folder, "-o", tmp_path / "out2", "--lesions", lesions, "--classes", table)
    assert done.exit_code == 2
    assert "'MCN'" in done.output
    assert not (tmp_path / "out2").exists()
    done = cli("-i", images, "-m", folder, "-o", tmp_path / "out2", "--segmenter", folder)
    assert done.exit_code == 2
    assert "is a classifier" in done.output
    done = cli("-i", images, "-m", folder, "-o", tmp_path / "out2", "--lesions", lesions, "-f", "3")
    assert done.exit_code == 2
    assert "fold_3" in done.output

    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        nnUNetPredictor(device=CPU).initialize_from_trained_model_folder(str(folder), (0,))
    assert stopped.value.code == 2
    assert "textomorph classify" in capsys.readouterr().err


def test_segmentation_weights_load_into_the_backbone(dataset: TinyClasses, tmp_path: Path) -> None:
    dataset.plan()
    made = trainer(dataset)
    architecture = made.configuration_manager
    segmentation = get_network_from_plans(
        architecture.network_arch_class_name,
        architecture.network_arch_init_kwargs,
        architecture.network_arch_init_kwargs_req_import,
        1,
        5,
        deep_supervision=True,
    )
    torch.save({"network_weights": segmentation.state_dict()}, tmp_path / "checkpoint.pth")
    head = made.network.head["seg_layers"].weight.clone()
    load_pretrained_weights(made.network, str(tmp_path / "checkpoint.pth"))
    assert torch.equal(made.network.head["seg_layers"].weight, head)
    for name, weight in made.network.encoder.state_dict().items():
        assert torch.equal(weight, segmentation.encoder.state_dict()[name])
    for name, weight in made.network.decoder.stages.state_dict().items():
        assert torch.equal(weight, segmentation.decoder.stages.state_dict()[name])


@pytest.mark.parametrize("kind", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_features_are_averaged_over_the_patch_or_over_the_lesion(kind: str) -> None:
    from dynamic_network_architectures.architectures import unet
    from torch import nn

    blocks = "n_conv_per_stage" if kind == "PlainConvUNet" else "n_blocks_per_stage"
    network = getattr(unet, kind)(
        1, 2, [4, 4], nn.Conv3d, 3, [1, 2], num_classes=2, n_conv_per_stage_decoder=1, nonlin=nn.ReLU, **{blocks: 1}
    )
    classifier = LesionClassifier(network, 3)
    image = torch.randn(2, 1, 8, 8, 8)
    features = classifier.decoder(classifier.encoder(image))
    mask = torch.zeros(2, 1, 8, 8, 8, dtype=torch.bool)
    mask[0, 0, 2:5, 3, 4:6] = True  # the second has none
    head = classifier.head["seg_layers"]
    whole = head(features.mean((2, 3, 4)))
    assert torch.allclose(classifier(image), whole, atol=1e-5)
    pooled = classifier(image, mask)
    assert torch.allclose(pooled[0], head(features[0, :, 2:5, 3, 4:6].mean((1, 2))), atol=1e-5)
    assert torch.allclose(pooled[1], whole[1], atol=1e-5)
    assert not torch.allclose(pooled[0], whole[0], atol=1e-3)


def test_patches_are_centred_on_lesions_and_classes_drawn_evenly(dataset: TinyClasses) -> None:
    dataset.plan({"normal": True})
    _, _, validation = loaders(dataset)
    seen: Counter[int] = Counter()
    for _ in range(40):
        batch = next(validation)
        seen.update(batch["target"].tolist())
        for true, lesion, image in zip(batch["target"], batch["lesion"][:, 0], batch["data"][:, 0], strict=True):
            assert lesion[8, 16, 16]
            if CLASSES[true] != "normal":
                level = float(image[lesion].mean()) * 30 + 90
                assert level == pytest.approx({"PDAC": 40, "PNET": 140, "cyst": 0}[CLASSES[true]], abs=25)
    assert set(seen) == {0, 1, 2, 3}
    assert max(seen.values()) < 3 * min(seen.values())


def test_synthetic_examples_are_of_their_class_and_shares_are_kept(
    dataset: TinyClasses, generator_folder: Path
) -> None:
    dataset.plan({"synthetic_share": 1.0}, generator=str(generator_folder))
    _, training, _ = loaders(dataset, Classifier)
    batches = [next(training) for _ in range(6)]
    assert all(batch["synthetic"].all() for batch in batches)
    assert all(batch["lesion"].any() for batch in batches)
    # without real lesions in the patch: only those cases have room for such
    assert {case for batch in batches for case in batch["keys"]} <= {"none_1", "none_2"} | {
        c for c in dataset.cases if not c.startswith("none")
    }
    assert "(in " in log(dataset.folder("Classifier"))

    dataset.plan({"synthetic_share": 0.0, "pooling": "patch"}, generator=str(generator_folder))
    _, training, _ = loaders(dataset, Classifier)
    batches = [next(training) for _ in range(5)]
    assert not any(batch["synthetic"].any() for batch in batches)
    assert not any("lesion" in batch for batch in batches)  # features are averaged over the patch


def test_no_real_lesion_stands_in_for_a_synthetic_one_where_only_such_are_wanted(
    dataset: TinyClasses, generator_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_loader, "class_request", lambda *_arguments: None)  # nowhere is room
    dataset.plan({"synthetic_share": 1.0}, generator=str(generator_folder))
    with pytest.raises(TrainingStopped, match="no synthetic tumor of the class"):
        loaders(dataset, Classifier)
    dataset.plan({"synthetic_share": 0.5}, generator=str(generator_folder))
    _, training, _ = loaders(dataset, Classifier)
    assert not next(training)["synthetic"].any()


def test_validation_of_a_fold_without_lesions_ends_in_one_sentence(
    dataset: TinyClasses, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.plan()
    dataset.split([c for c in dataset.cases if c != "none_0"], ["none_0"])
    made = trainer(dataset)
    with pytest.raises(SystemExit) as stopped:
        made.perform_actual_validation()
    assert stopped.value.code == 2
    assert "no validation case with a lesion" in capsys.readouterr().out.splitlines()[-1]
    assert not (dataset.folder("Real") / "fold_0" / "validation" / "classification.json").exists()


def test_classes_csv_tells_the_classes_of_one_tumor_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = TinyClasses(tmp_path / "one", {"background": 0, "pancreas": 1, "tumor": 2})
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    for i in range(3):
        made.add(f"a_{i}", [((9, 14 + 6 * i, 20), 6.0, 2)])
        made.add(f"b_{i}", [((9, 14 + 6 * i, 30), 6.0, 2)], looks=[3])
    made.add("none", [])
    made.prepare(["a_0", "b_0"])
    made.plan(generator=str(generator_folder))
    assert "only" in refused(made, capsys)
    table = made.raw / "classes.csv"
    rows = [f"a_{i},PDAC" for i in range(3)] + [f"b_{i},PNET" for i in range(3)]

    def says(*lines: str) -> None:
        table.write_text("\n".join(["case,class", *lines]))

    says(*rows)
    assert "no line for none" in refused(made, capsys)
    says(*rows[:-1], "b_2,normal", "none,normal")
    assert "b_2" in refused(made, capsys)
    says(*rows, "none,PNET")
    assert "none" in refused(made, capsys)
    says(*rows, "none,normal", "a_0,PNET")
    assert "line 9" in refused(made, capsys)
    says(*rows[:-1], "b_2,Pnet", "none,normal")
    assert "'PNET' as 'Pnet'" in refused(made, capsys)
    table.write_text("patient,class\n")
    assert "case and class" in refused(made, capsys)
    says(*rows, "none,normal")
    _, loader, _ = loaders(made, Classifier)
    batches = [next(loader) for _ in range(20)]
    assert {int(t) for batch in batches for t in batch["target"]} == {0, 1}
    assert any(batch["synthetic"].any() for batch in batches)
    assert all(set(np.unique(batch["target"])) <= {0, 1} for batch in batches)
    assert "PDAC, PNET (from" in log(made.folder("Classifier"))
    table.write_text(table.read_text().replace(",", ";").replace("case;class", "Case; Class"))  # as Excel writes it
    made.plan(generator=str(generator_folder), class_weights={"PDAC": 1.0, "PNET": 0.0})
    _, loader, _ = loaders(made, Classifier)
    drawn = [next(loader) for _ in range(40)]  # a third of them synthetic: none in 12 was seen once
    synthetic = {int(t) for batch in drawn for t, s in zip(batch["target"], batch["synthetic"], strict=True) if s}
    assert synthetic == {0}
    made.plan(generator=str(generator_folder), class_weights={"tumor": 1.0})
    assert "class_weights: 'tumor' is none of PDAC, PNET" in refused(made, capsys, Classifier)
    (made.preprocessed / "classes.csv").write_text("case,class\na_0,PDAC\n")
    assert "differ" in refused(made, capsys)


def test_what_training_cannot_learn_or_judge_is_named_before_it_starts(
    dataset: TinyClasses, capsys: pytest.CaptureFixture[str], generator_folder: Path
) -> None:
    dataset.plan(generator=str(generator_folder))
    rest = [c for c in dataset.cases if not c.startswith("cyst")]
    dataset.split(rest, ["pdac_0", "cyst_0"])
    sentence = refused(dataset, capsys)
    assert "'cyst'" in sentence
    assert "cyst_0" in sentence
    loaders(dataset, Classifier)  # synthetic ones can stand in
    assert "learnt from synthetic tumors alone" in log(dataset.folder("Classifier"))

    dataset.split([*rest, "cyst_1"], ["pdac_0"])
    loaders(dataset)
    assert "'cyst' has 1 training case and no validation case" in log(dataset.folder("Real"))
    dataset.split(dataset.cases, ["none_0"])
    assert "no validation case with a lesion" in refused(dataset, capsys)
    dataset.plan({"normal": True})
    dataset.split([c for c in dataset.cases if not c.startswith("none")], ["pdac_0"])
    assert "no training case with host and without lesions" in refused(dataset, capsys)
    dataset.plan({"malignant": ["HCC"]})
    assert "'HCC'" in refused(dataset, capsys)
    dataset.plan({"pooling": "lesion"})
    path = dataset.preprocessed / "TextoMorphPlans.json"
    path.write_text(path.read_text().replace('"pooling"', '"polling"'))
    assert "polling" in refused(dataset, capsys)


def test_two_classes_in_one_connected_lesion_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = TinyClasses(tmp_path / "mixed")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    for value in (2, 3, 4):
        made.add(f"case_{value}", [((9, 20, 20), 6.0, value)])
        made.add(f"other_{value}", [((9, 20, 20), 6.0, value)])
    made.add("mixed", [((9, 20, 20), 6.0, 2), ((9, 20, 26), 6.0, 3)])
    made.prepare(["case_2", "case_3", "case_4"])
    made.plan()
    sentence = refused(made, capsys)
    assert "two classes in mixed;" in sentence


def test_folds_trained_otherwise_are_not_mixed(dataset: TinyClasses, capsys: pytest.CaptureFixture[str]) -> None:
    dataset.plan({"normal": True})
    made, _, _ = loaders(dataset)
    from nnunet_textomorph.classifier_model import save_model

    save_model(made._classifier_model, Path(made.output_folder_base))
    dataset.plan({"normal": True})
    loaders(dataset)
    dataset.plan({"normal": False})
    assert "classes was" in refused(dataset, capsys)


@pytest.mark.parametrize("name", [TRAINER, f"{TRAINER}Real", f"{TRAINER}Real_5epochs"])
def test_nnunet_finds_the_trainers(dataset: TinyClasses, name: str) -> None:
    found = recursive_find_trainer_class_by_name(name)
    dataset.plan(epochs=7)
    made = trainer(dataset, found)
    assert made.num_epochs == (5 if "_" in name else 7)
    assert made.textomorph_synthetic == ("Real" not in name)
    assert f"{name}__nnUNetPlans" in made.output_folder


def test_classify_refuses_folders_that_do_not_fit(dataset: TinyClasses, tmp_path: Path) -> None:
    dataset.plan()
    segmentation = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    segmentation.mkdir()
    images = dataset.raw / "imagesTr"
    done = cli("-i", images, "-m", segmentation, "-o", tmp_path / "out", "--lesions", dataset.raw / "labelsTr")
    assert done.exit_code == 2
    assert "classifier.json" in done.output
    (segmentation / "plans.json").write_text("{}")
    done = cli("-i", images, "-m", segmentation, "-o", tmp_path / "out", "--lesions", dataset.raw / "labelsTr")
    assert "segmentation model" in done.output
    done = cli("-i", images, "-m", segmentation, "-o", tmp_path / "out")
    assert "--segmenter" in done.output
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.fixture
def model(dataset: TinyClasses) -> Path:
    """A model folder with two untrained folds."""
    from nnunet_textomorph.classifier_model import save_model

    dataset.plan({"malignant": ["PDAC", "PNET"], "pooling": "patch"})
    made = trainer(dataset)
    folder = Path(made.output_folder_base)
    save_model(made._classifier_model, folder)
    (folder / "plans.json").write_text(json.dumps(made.plans_manager.plans))
    (folder / "dataset.json").write_text(json.dumps(dataset.dataset_json))
    made.inference_allowed_mirroring_axes = (0, 1, 2)
    for fold in (0, 1):
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        torch.nn.init.normal_(made.network.head["seg_layers"].weight, std=3.0)
        made.save_checkpoint(str(folder / f"fold_{fold}" / "checkpoint_final.pth"))
    return folder


def test_folds_and_mirrored_patches_are_averaged_and_interrupted_work_goes_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, lesions = tmp_path / "images", tmp_path / "lesions"
    images.mkdir(), lesions.mkdir()
    write_case(images, lesions, "a", [((9, 20, 20), 6.0, 2), ((9, 34, 40), 5.0, 4)])
    write_case(images, lesions, "b", [])
    shutil.copy(lesions / "b.nii.gz", images / "stray.nii.gz")

    def probabilities(*options: object) -> np.ndarray:
        out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        done = cli("-i", images, "-m", model, "-o", out, "--lesions", lesions, *options)
        assert done.exit_code == 0, done.output
        content = json.loads((out / "classification.json").read_text())
        assert content["patients"][1]["predicted"] is None  # no lesion, and no class for that
        assert "without a class: 1" in done.output
        assert len(content["lesions"]) == 2
        assert done.stderr.count("stray.nii.gz") == 1  # which is not named as an image
        worst = max(content["lesions"], key=lambda x: x["probabilities"]["PDAC"] + x["probabilities"]["PNET"])
        assert content["patients"][0]["probabilities"] == worst["probabilities"]
        return np.array([list(x["probabilities"].values()) for x in content["lesions"]])

    checkpoint = model / "fold_1" / "checkpoint_final.pth"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    done = cli("-i", images, "-m", model, "-o", tmp_path / "none", "--lesions", lesions)
    assert (done.exit_code, f"{checkpoint}: cannot be read" in done.output) == (2, True)
    assert not (tmp_path / "none").exists()
    checkpoint.write_bytes(whole)
    first, second = probabilities("-f", "0"), probabilities("-f", "1")
    assert not np.allclose(first, second, atol=1e-3)
    np.testing.assert_allclose(probabilities(), (first + second) / 2, atol=1e-5)
    np.testing.assert_allclose(probabilities("-f", "0", "1"), (first + second) / 2, atol=1e-5)
    assert not np.allclose(probabilities("-f", "0", "--disable_tta"), first, atol=1e-6)

    table = tmp_path / "classes.csv"
    table.write_text("case,class\na,PDAC\nb,normal\n")
    done = cli("-i", images, "-m", model, "-o", tmp_path / "known", "--lesions", lesions, "--classes", table)
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "known" / "classification.json").read_text())
    assert content["patients"][0]["true"] == "PDAC"
    assert [x["true"] for x in content["lesions"]] == [None, None]  # one of the two may be of another class

    from nnunet_textomorph import classify as module

    judged = []
    judge = module._judge

    def stop_at_b(*arguments: Any) -> Any:
        judged.append(arguments[2][0].name)
        if len(judged) == 2:
            raise KeyboardInterrupt
        return judge(*arguments)

    monkeypatch.setattr(module, "_judge", stop_at_b)
    arguments = (images, model, tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        module.classify(*arguments, lesions=lesions, device="cpu")
    assert not (tmp_path / "stopped" / "classification.json").exists()
    module.classify(*arguments, lesions=lesions, device="cpu")
    assert judged == ["a_0000.nii.gz", "b_0000.nii.gz", "b_0000.nii.gz"]


def test_lesions_of_other_values_need_to_be_named(model: Path, tmp_path: Path) -> None:
    images, lesions = tmp_path / "images", tmp_path / "lesions"
    images.mkdir(), lesions.mkdir()
    write_case(images, lesions, "a", [((9, 20, 20), 6.0, 2)])
    import SimpleITK as sitk
    from tiny_nnunet import write

    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(lesions / "a.nii.gz")))
    write(lesions / "a.nii.gz", np.where(labels == 2, 7, 0).astype(np.uint8))
    done = cli("-i", images, "-m", model, "-o", tmp_path / "out", "--lesions", lesions)
    assert done.exit_code == 2
    assert "values 7" in done.output
    done = cli("-i", images, "-m", model, "-o", tmp_path / "out", "--lesions", lesions, "--lesion-label", 7)
    assert done.exit_code == 0, done.output
    write(lesions / "a.nii.gz", labels[:-1])
    done = cli("-i", images, "-m", model, "-o", tmp_path / "out3", "--lesions", lesions)
    assert done.exit_code == 2
    assert "another grid" in done.output
    flipped = sitk.GetImageFromArray(labels)
    flipped.CopyInformation(sitk.ReadImage(str(images / "a_0000.nii.gz")))
    flipped.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))  # the same shape, another place
    sitk.WriteImage(flipped, str(lesions / "a.nii.gz"))
    done = cli("-i", images, "-m", model, "-o", tmp_path / "out3", "--lesions", lesions)
    assert (done.exit_code, "another grid" in done.output) == (2, True)
    (lesions / "a.nii.gz").write_bytes(b"no image")
    done = cli("-i", images, "-m", model, "-o", tmp_path / "out3", "--lesions", lesions)
    assert (done.exit_code, "lesions/a.nii.gz: cannot be read" in done.output) == (2, True)
    (lesions / "a.nii.gz").unlink()
    done = cli("-i", images, "-m", model, "-o", tmp_path / "out3", "--lesions", lesions)
    assert "every image needs its segmentation" in done.output


def test_a_segmentation_model_finds_the_lesions(dataset: TinyClasses, model: Path, tmp_path: Path) -> None:
    """An untrained one: it says what it says, and that is what is classified."""
    segmenter = trainer(dataset, nnUNetTrainer)
    folder = Path(segmenter.output_folder_base)
    (folder / "plans.json").write_text(json.dumps(segmenter.plans_manager.plans))
    (folder / "dataset.json").write_text(json.dumps(dataset.dataset_json))
    segmenter.inference_allowed_mirroring_axes = None
    with torch.no_grad():
        segmenter.network.decoder.seg_layers[-1].weight.zero_()
        segmenter.network.decoder.seg_layers[-1].bias[:] = torch.tensor([0.0, 0.0, 9.0, 0.0, 0.0])  # all PDAC
    segmenter.save_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))
    images, unused = tmp_path / "images", tmp_path / "unused"
    images.mkdir(), unused.mkdir()
    write_case(images, unused, "a", [])
    done = cli("-i", images, "-m", model, "-o", tmp_path / "out", "--segmenter", folder)
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "out" / "classification.json").read_text())
    assert len(content["lesions"]) == 1
    assert content["lesions"][0]["diameter_mm"] > 50
    assert (tmp_path / "out" / "segmentations" / "a.nii.gz").is_file()
    with torch.no_grad():
        segmenter.network.decoder.seg_layers[-1].bias[:] = torch.tensor([9.0, 0.0, 0.0, 0.0, 0.0])  # nothing at all
    segmenter.save_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))
    arguments = ("-i", images, "-m", model, "-o", tmp_path / "out", "--segmenter", folder, "--overwrite")
    done = cli(*arguments)
    assert done.exit_code == 0, done.output
    assert not json.loads((tmp_path / "out" / "classification.json").read_text())["lesions"]
    done = cli(*arguments, "--lesion-label", 9)
    assert (done.exit_code, "--lesion-label 9" in done.output) == (2, True)
    unnamed = {"background": 0, "a": 1, "b": 2, "c": 3, "d": 4}
    (folder / "dataset.json").write_text(json.dumps({**dataset.dataset_json, "labels": unnamed}))
    done = cli(*arguments)
    assert (done.exit_code, "--lesion-label" in done.output) == (2, True)
    done = cli(*arguments, "--lesion-label", 2)
    assert done.exit_code == 0, done.output
