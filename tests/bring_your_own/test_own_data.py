"""Users' images: arrays, torch datasets, .npz files and folders, as splits, by recipe, and from the command."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset
from typer.testing import CliRunner

from qdeq_qiskit.cli import app
from qdeq_qiskit.training import DataError, DataRecipe, ImageSplits, RunDirectory, TrainingRecipe, load_splits
from qdeq_qiskit.training import report as report_module
from qdeq_qiskit.training.data.image_folder import read_image_folder
from qdeq_qiskit.training.evaluate_run import evaluate_run
from qdeq_qiskit.training.fit import fit, resume

GRAY = np.random.default_rng(0).integers(0, 256, (24, 8, 8)).astype(np.uint8)
LABELS = np.arange(24) % 2
NAMES = np.array(["bird", "cat"])[LABELS]


def together(splits: ImageSplits) -> tuple[np.ndarray, np.ndarray]:
    """All images of the splits and the names of their classes, in the order of their bytes."""
    parts = (splits.train, splits.valid, splits.test)
    pixels, labels = np.concatenate([each.pixels for each in parts]), np.concatenate([each.labels for each in parts])
    order = np.argsort([image.tobytes() for image in pixels])
    return pixels[order], np.array(splits.class_names)[labels][order]


def expected(names: np.ndarray = NAMES) -> tuple[np.ndarray, np.ndarray]:
    pixels = GRAY.astype(np.float32) / 255
    order = np.argsort([image.tobytes() for image in pixels])
    return pixels[order], names[order]


def assert_all_images_of(splits: ImageSplits, names: np.ndarray = NAMES) -> None:
    for found, wanted in zip(together(splits), expected(names), strict=True):
        np.testing.assert_array_equal(found, wanted)


def write_folder(folder: Path, images: np.ndarray = GRAY, names: np.ndarray = NAMES, suffix: str = "png") -> Path:
    for row, (image, name) in enumerate(zip(images, names, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name / f"{row:03}.{suffix}")
    return folder


def folder_recipe(folder: Path, **options: Any) -> DataRecipe:
    return DataRecipe(name="image_folder", path=str(folder), **options)


def array_recipe(path: Path, **options: Any) -> DataRecipe:
    return DataRecipe(name="arrays", path=str(path), **options)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


class WithClasses(TensorDataset):
    classes = ("bird", "cat")


def test_every_door_gives_the_same_images_with_the_same_classes(tmp_path: Path) -> None:
    as_floats, tensors = GRAY / 255, (torch.tensor(GRAY).unsqueeze(1), torch.tensor(LABELS))
    doors = [
        ImageSplits.from_arrays(GRAY, NAMES),
        ImageSplits.from_arrays(as_floats[..., None], LABELS, class_names=["bird", "cat"]),
        ImageSplits.from_arrays(list(GRAY), NAMES.tolist()),
        ImageSplits.from_dataset(WithClasses(*tensors)),
        load_splits(array_recipe(saved(tmp_path / "a.npz", images=GRAY, labels=NAMES))),
        load_splits(folder_recipe(write_folder(tmp_path / "images"))),
    ]
    for splits in doors:
        assert splits.class_names == ("bird", "cat")
        assert_all_images_of(splits)
        assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [14, 4, 6]
        assert splits.fingerprint() == doors[0].fingerprint() or splits is doors[-1]  # a folder is sorted by class


def test_labels_that_are_any_numbers_stand_for_themselves() -> None:
    splits = ImageSplits.from_arrays(GRAY, 3 + 6 * LABELS)
    assert splits.class_names == ("3", "9")
    assert_all_images_of(splits, np.array(["3", "9"])[LABELS])
    assert ImageSplits.from_arrays(GRAY, 2 + 8 * LABELS).class_names == ("2", "10")  # sorted as numbers


def test_splits_of_ones_own_are_kept_and_saved_ones_come_back_bit_for_bit(tmp_path: Path) -> None:
    splits = ImageSplits.from_arrays(
        GRAY[:12], NAMES[:12], valid=(GRAY[12:18], NAMES[12:18]), test=(GRAY[18:], NAMES[18:]), name="mine"
    )
    np.testing.assert_array_equal(splits.test.pixels, GRAY[18:].astype(np.float32) / 255)
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [12, 6, 6]
    splits.save(tmp_path / "mine.npz")
    again = load_splits(array_recipe(tmp_path / "mine.npz"))
    assert again.fingerprint() == splits.fingerprint()
    assert again.class_names == splits.class_names


def test_folders_train_and_test_are_the_splits_and_classes_are_chosen_by_name_in_order(tmp_path: Path) -> None:
    names = np.array(["bird", "cat", "dog"])[np.arange(24) % 3]
    for split, rows in (("train", slice(0, 18)), ("test", slice(18, 24))):
        write_folder(tmp_path / split, GRAY[rows], names[rows])
    splits = load_splits(folder_recipe(tmp_path, classes=("dog", "bird")))
    assert splits.class_names == ("dog", "bird")
    assert (len(splits.train) + len(splits.valid), len(splits.test)) == (12, 4)
    np.testing.assert_array_equal(splits.test.labels, [1, 1, 0, 0])
    assert load_splits(folder_recipe(tmp_path, classes=(2, 0))).fingerprint() == splits.fingerprint()


def test_classes_named_by_numbers_are_chosen_by_these_names(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, names=np.array(["3", "6", "10"])[np.arange(24) % 3])
    assert load_splits(folder_recipe(folder, classes=(6, 3))).class_names == ("6", "3")
    with pytest.raises(
        DataError, match=r"data\.classes holds 0, but the classes of image_folder are '10', '3', '6'; null takes"
    ):
        load_splits(folder_recipe(folder, classes=(0, 3)))


def test_pictures_are_made_gray_and_of_one_size_whatever_they_were(tmp_path: Path) -> None:
    height, width = 12, 20
    ramp = np.linspace(0, 255, width).astype(np.uint8)[None].repeat(height, 0)
    colour = np.stack([ramp, 255 - ramp, ramp], axis=2)
    transparent = np.concatenate([colour, np.full((height, width, 1), 9, np.uint8)], axis=2)
    deep = ramp.astype(np.uint16) * 257
    pictures = {"gray": ramp, "colour": colour, "transparent": transparent, "deep": deep}
    for name, array in pictures.items():
        for number in range(5):
            for label in ("a", "b"):
                (tmp_path / name / label).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(tmp_path / name / label / f"{number}.png")
    found = {name: load_splits(folder_recipe(tmp_path / name, size=10)).train.pixels[0] for name in pictures}
    assert {image.shape for image in found.values()} == {(10, 10)}
    means = ramp.reshape(height, 10, 2).mean(axis=(0, 2)) / 255  # inside, a bilinear half is near the mean of pairs
    np.testing.assert_allclose(found["gray"][5, 1:-1], means[1:-1], atol=0.02)
    np.testing.assert_allclose(found["deep"], found["gray"], atol=0.004)
    np.testing.assert_allclose(found["colour"], found["transparent"], atol=0)
    luma = (0.299 + 0.114) * ramp / 255 + 0.587 * (1 - ramp / 255.0)  # ITU-R BT.601
    np.testing.assert_allclose(found["colour"][5, 1:-1], luma[0].reshape(10, 2).mean(axis=1)[1:-1], atol=0.02)


def test_pictures_are_turned_as_cameras_noted_and_a_link_to_nothing_is_no_less_a_picture(tmp_path: Path) -> None:
    gray = (np.arange(6).reshape(2, 3) * 40).astype(np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # held so that what is up lies at the right
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(gray).save(tmp_path / name / "x.png", exif=turned)
    recipe = DataRecipe(name="image_folder", path=str(tmp_path))
    pixels = read_image_folder(tmp_path, size=None).train[0]
    np.testing.assert_allclose(pixels[0], np.rot90(gray, -1) / 255, atol=1e-6)
    (tmp_path / "b" / "y.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"y\.png: cannot be read: No such file"):
        load_splits(recipe)


def test_what_is_no_picture_is_counted_and_hidden_files_are_not_looked_at(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", suffix="JPG")
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    (folder / ".git").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_splits(folder_recipe(folder))
    (folder / "cat" / "notes.txt").write_text("mew")
    with pytest.warns(UserWarning, match=r"cat: 1 files are no PNG or JPEG .* left out, the first is notes\.txt"):
        load_splits(folder_recipe(folder))


def wrong_arrays() -> dict[str, tuple[dict[str, Any], str]]:
    """Arguments of `from_arrays`, and what is said of them."""

    def at(array: np.ndarray, place: Any, value: Any) -> np.ndarray:
        array = array.copy()
        array[place] = value
        return array

    unit = GRAY / 255
    good = {"images": GRAY, "labels": NAMES}
    return {
        "nan": ({"images": at(unit, (5, 0, 1), np.nan)}, "1 images have NaN or infinite pixels, the first is image 5"),
        "infinite": ({"images": at(unit, (7, 0, 1), np.inf)}, "1 images have NaN .* the first is image 7"),
        "to 255": ({"images": GRAY.astype(float)}, r"pixels lie between 0 and 255, as float64; expected 0 … 1"),
        "16 bits": ({"images": GRAY.astype(np.uint16) * 257}, "pixels lie between 0 and 65535, as uint16"),
        "negative": ({"images": unit - 0.5}, "pixels lie between -0.5 and 0.5"),
        "colour": ({"images": np.stack([GRAY] * 3, axis=3)}, r"\(24, 8, 8, 3\); they are colour images, .*mean\(3\)"),
        "colour first": ({"images": np.stack([GRAY] * 3, axis=1)}, r"they are colour images, .*images\.mean\(1\)"),
        "rows": ({"images": GRAY.reshape(24, 64)}, r"shape \(24, 64\); expected .*EquilibriumClassifier"),
        "unequal": ({"images": [*GRAY[:23], GRAY[23, :7]]}, r"unequal sizes: .* \(8, 8\), number 23 has \(7, 8\)"),
        "objects": ({"images": np.array([*GRAY[:23], GRAY[23, :7]], dtype=object)}, "unequal sizes"),
        "words": ({"images": np.full((24, 8, 8), "x")}, "images are words"),
        "complex": ({"images": GRAY * 1j}, "images are of type complex128; expected numbers"),
        "nothing": ({"images": GRAY[:0], "labels": LABELS[:0], "class_names": ["a", "b"]}, "there are no images"),
        "no pixels": ({"images": GRAY[:, :0]}, r"images have shape \(24, 0, 8\)"),
        "too few labels": ({"labels": NAMES[:20]}, "24 images have 20 labels; expected one for each"),
        "fractions": ({"labels": LABELS + 0.5}, "labels are of type float64; expected whole numbers or names"),
        "one-hot": ({"labels": np.eye(2, dtype=int)[LABELS]}, r"labels have shape \(24, 2\); expected one for each"),
        "one class": ({"labels": 0 * LABELS}, "the classes are '0'; expected at least two different ones"),
        "no classes": ({"class_names": []}, "the classes are none"),
        "twice": ({"class_names": ["a", "a"]}, "the classes are 'a', 'a'; expected at least two different"),
        "out of range": (
            {"labels": at(LABELS, 4, 2), "class_names": ["a", "b"]},
            r"image 4 has label 2; with 2 classes, labels are 0 to 1 \(1 images are outside\)",
        ),
        "below range": ({"labels": LABELS - 1, "class_names": ["a", "b"]}, "image 0 has label -1"),
        "a class unheard of": (
            {"labels": at(NAMES.astype("U9"), 9, "dog"), "class_names": ["bird", "cat"]},
            "image 9 is of class 'dog'; the classes are 'bird', 'cat'",
        ),
        "an empty class": ({"class_names": ["bird", "cat", "dog"]}, "the train split has no image of class dog"),
        "a class of one": ({"labels": at(NAMES.astype("U9"), 9, "dog")}, r"test_fraction is 0\.25: 24 images \(\[1"),
        "no validation": ({"valid": (GRAY[:0], NAMES[:0])}, r"mine \(valid\): there are no images"),
        "a test of others": ({"test": (GRAY[:, :7], NAMES)}, r"mine \(test\): images have 7×8 pixels, .* set 8×8"),
        "a test class": ({"test": (GRAY[:1], ["dog"])}, r"mine \(test\): image 0 is of class 'dog'"),
    } | {"": (good, "")}


WRONG = wrong_arrays()
GOOD, _ = WRONG.pop("")


@pytest.mark.parametrize("name", WRONG)
def test_arrays_that_cannot_be_used_are_refused_in_a_sentence(name: str) -> None:
    change, said = WRONG[name]
    with pytest.raises(DataError, match=said) as caught:
        ImageSplits.from_arrays(**(GOOD | change), name="mine")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in WRONG if not {"valid", "test"} & set(WRONG[name][0])])
def test_the_same_in_a_file_is_refused_with_the_name_of_the_file(name: str, tmp_path: Path) -> None:
    change, said = WRONG[name]
    arrays = GOOD | change
    if isinstance(arrays["images"], list) or np.asarray(arrays["images"]).dtype == object:
        arrays["images"], said = np.array([None, 3]), "holds Python objects, which are never loaded"
    path = saved(tmp_path / "mine.npz", **arrays)
    with pytest.raises(DataError, match=said) as caught:
        load_splits(array_recipe(path))
    assert str(caught.value).startswith(f"{path}: ")


def test_files_that_are_no_whole_npz_files_are_refused_with_their_names(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.npz", images=GRAY, labels=LABELS).read_bytes()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr("images.npy", whole[:10])
    contents = {
        "short.npz": (whole[:900], "is not a whole .npz file"),
        "text.npz": (b"hello", "is not a whole .npz file"),
        "empty.npz": (b"", "is not a whole .npz file"),
        "entry.npz": (bomb.getvalue(), "is damaged|is not a whole|holds Python objects|there is no 'labels'"),
        "flipped.npz": (whole[:200] + bytes(40) + whole[240:], "is not a whole .npz file"),
    }
    for name, (content, said) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: ({said})"):
            load_splits(array_recipe(tmp_path / name))
    with pytest.raises(DataError, match="there is no 'labels' in it; expected images and labels"):
        load_splits(array_recipe(saved(tmp_path / "half.npz", images=GRAY)))
    with pytest.raises(DataError, match="there is no 'test_labels' in it"):
        load_splits(array_recipe(saved(tmp_path / "half.npz", images=GRAY, labels=LABELS, test_images=GRAY)))
    with pytest.raises(DataError, match="it holds 'lables', which means nothing here"):
        load_splits(array_recipe(saved(tmp_path / "half.npz", images=GRAY, labels=LABELS, lables=LABELS)))
    with pytest.raises(DataError, match=r"none\.npz: there is no such file"):
        load_splits(array_recipe(tmp_path / "none.npz"))
    with pytest.raises(DataError, match=r"is a folder; expected an \.npz file"):
        load_splits(array_recipe(tmp_path))


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_broken_in_a_file_it_is_read_or_refused_in_a_sentence(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)

    def broken(content: bytes) -> bytes:
        damaged = bytearray(content[: rng.integers(1, len(content))] if rng.random() < 0.2 else content)
        for place in rng.integers(0, len(damaged), rng.integers(1, 12)):
            damaged[place] = rng.integers(256)
        return bytes(damaged)

    def array(values: np.ndarray) -> bytes:
        written = io.BytesIO()
        np.save(written, values)
        return written.getvalue()

    folder = write_folder(tmp_path / "images")
    picture, victim = (folder / "cat" / "001.png").read_bytes(), folder / "cat" / "001.png"
    whole = saved(tmp_path / "mine.npz", images=GRAY, labels=NAMES).read_bytes()
    said: list[str] = []
    for number in range(40):
        (tmp_path / "mine.npz").write_bytes(broken(whole))
        if number % 2:  # an archive whose checksums are right
            with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
                header = array(GRAY)
                archive.writestr("images.npy", broken(header[:128]) + header[128:])
                archive.writestr("labels.npy", array(LABELS))
        victim.write_bytes(broken(picture))
        for recipe in (array_recipe(tmp_path / "mine.npz"), folder_recipe(folder, size=8)):
            try:
                load_splits(recipe)
            except DataError as error:
                said.append(str(error))
    assert len(said) > 40
    assert all(str(tmp_path) in each and "\n" not in each for each in said)


def test_an_array_that_only_says_that_it_is_huge_is_refused(tmp_path: Path) -> None:
    written = io.BytesIO()
    np.save(written, GRAY)
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("images.npy", written.getvalue().replace(b"(24, 8, 8), ", b"(1" + b"0" * 13 + b",)"))
        archive.writestr("labels.npy", written.getvalue())
    with pytest.raises(DataError, match=r"does not fit into memory|is damaged"):
        load_splits(array_recipe(tmp_path / "mine.npz"))


def test_a_malicious_pickle_in_place_of_arrays_is_not_run(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "owned",))

    with pytest.raises(DataError, match="holds Python objects, which are never loaded"):
        load_splits(array_recipe(saved(tmp_path / "a.npz", images=np.array([Malicious()]), labels=LABELS)))
    (tmp_path / "b.npz").write_bytes(__import__("pickle").dumps(Malicious()))
    with pytest.raises(DataError, match=r"is not a whole \.npz file"):
        load_splits(array_recipe(tmp_path / "b.npz"))
    assert not (tmp_path / "owned").exists()


def test_pictures_that_cannot_be_read_are_refused_with_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "images")
    path = folder / "cat" / "001.png"
    whole = path.read_bytes()
    huge = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(huge, "PNG")  # 50 kB that would be 400 MB
    large = io.BytesIO()
    Image.new("1", (8_000, 8_000)).save(large, "PNG")
    gif = io.BytesIO()
    Image.fromarray(GRAY[0]).save(gif, "GIF")
    contents = {
        "truncated": (whole[: len(whole) // 2], r"001\.png: (cannot be read|is damaged|is no PNG)"),
        "damaged": (whole[:40] + bytes(20) + whole[60:], r"001\.png: (cannot be read|is damaged|is no PNG)"),
        "empty": (b"", r"001\.png: is no PNG or JPEG image, whatever its name says"),
        "text": (b"hello", r"001\.png: is no PNG or JPEG image"),
        "gif": (gif.getvalue(), r"001\.png: is no PNG or JPEG image"),
        "bomb": (huge.getvalue(), r"001\.png: has far more pixels; at most 50,000,000 are read"),
        "large": (large.getvalue(), r"001\.png: has 8000×8000 pixels; at most 50,000,000 are read"),
    }
    for content, said in contents.values():
        path.write_bytes(content)
        with pytest.raises(DataError, match=said) as caught:
            load_splits(folder_recipe(folder))
        assert "\n" not in str(caught.value)
    Image.fromarray(GRAY[0][:6]).save(path)
    with pytest.raises(DataError, match=r"001\.png: has 8×6 pixels, but .*000\.png has 8×8; set data\.size"):
        load_splits(folder_recipe(folder))
    load_splits(folder_recipe(folder, size=8))
    monkeypatch.setattr("qdeq_qiskit.training.data.image_folder.MOST_BYTES", 1000)
    with pytest.raises(DataError, match=r"24 images of 8×8 pixels do not fit .* set data\.size"):
        load_splits(folder_recipe(folder))


def test_folders_that_hold_no_classes_are_refused_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder; the images were to be read from"):
        load_splits(folder_recipe(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="has 0 sub-folders; expected at least two, one for each class"):
        load_splits(folder_recipe(tmp_path))
    folder = write_folder(tmp_path / "images")
    with pytest.raises(DataError, match="has 0 sub-folders"):
        load_splits(folder_recipe(folder / "cat"))
    with pytest.raises(DataError, match=r"000\.png: is a file"):
        load_splits(folder_recipe(folder / "bird" / "000.png"))
    (folder / "dog").mkdir()
    with pytest.raises(DataError, match="holds no PNG or JPEG file, so that there is no image of class 'dog'"):
        load_splits(folder_recipe(folder))
    split = tmp_path / "split"
    write_folder(split / "train")
    write_folder(split / "test", names=np.array(["bird", "cow"])[LABELS])
    with pytest.raises(DataError, match="test: has a class 'cow', which there is nothing of to train on"):
        load_splits(folder_recipe(split))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"name": "digits", "path": "x"}, "path is for name image_folder or arrays, not for digits"),
        ({"name": "mnist", "size": 28}, "size is for name image_folder; the images of mnist have a size of their own"),
        ({"name": "arrays", "path": "x", "size": 28}, "size is for name image_folder"),
        ({"name": "image_folder"}, "the key 'path' is missing: image_folder needs a folder, path: DIR"),
        ({"name": "arrays"}, "the key 'path' is missing: arrays needs a file, path: FILE.npz"),
        ({"name": "digits", "classes": (1, "1")}, "at least two classes are needed, each listed once"),
        ({"name": "digits", "classes": (1.5, 2)}, "whole number|integer"),
    ],
)
def test_keys_of_another_data_set_are_refused_where_they_are_written(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DataRecipe.model_validate(data)


@pytest.mark.parametrize("door", ["image_folder", "arrays"])
def test_a_run_on_ones_own_images_has_its_digests_and_is_continued_from_anywhere_with_these_only(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "write_report", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    images = GRAY // 2 + (120 * LABELS).astype(np.uint8)[:, None, None]
    path = "mine" if door == "image_folder" else "mine.npz"
    if door == "image_folder":
        write_folder(tmp_path / path, images)
    else:
        saved(tmp_path / path, images=images, labels=NAMES)
    changes = [f"data={{name: {door}, path: {path}}}", "optimisation.epochs=1", "optimisation.batch_size=8"]
    run = fit(TrainingRecipe.load("digits4", changes), out=tmp_path / "run", report=False)
    assert run.origin()["data"] == load_splits(run.recipe().data).fingerprint()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    longer = TrainingRecipe.load(run.path / "recipe.yaml", ["optimisation.epochs=2"])
    assert resume(run.path, recipe=longer, report=False).result()["epochs"] == 2
    moved = (tmp_path / path).rename(tmp_path / "elsewhere" / path)
    longer = TrainingRecipe.load(run.path / "recipe.yaml", ["optimisation.epochs=3", f"data.path={path}"])
    assert resume(run.path, recipe=longer, report=False).recipe().data.path == str(moved)
    moved.rename(tmp_path / path)
    images[3, 0, 0] ^= 1
    if door == "image_folder":
        write_folder(tmp_path / path, images)
    else:
        saved(tmp_path / path, images=images, labels=NAMES)
    longer = TrainingRecipe.load(run.path / "recipe.yaml", ["optimisation.epochs=4", f"data.path={tmp_path / path}"])
    with pytest.raises(ValueError, match="begun with other data: the images or labels of "):
        resume(run.path, recipe=longer, report=False)
    assert RunDirectory.open(run.path).finished
    (tmp_path / path).rename(moved)
    with pytest.warns(UserWarning, match="the run was trained with other data: the images or labels of "):
        evaluate_run(run.path)


@pytest.mark.parametrize(("batch_size", "steps"), [(13, 2), (1000, 1)])  # of 14 images: a last batch of one; all
def test_a_run_takes_a_batch_of_one_and_one_larger_than_the_data(batch_size: int, steps: int, tmp_path: Path) -> None:
    path = saved(tmp_path / "mine.npz", images=GRAY, labels=NAMES)
    changes = [f"data={{name: arrays, path: {path}}}", "optimisation.epochs=1", f"optimisation.batch_size={batch_size}"]
    run = fit(TrainingRecipe.load("digits4", changes), out=tmp_path / "run", report=False)
    assert run.result()["steps"] == steps


def test_the_code_of_the_page_on_data_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "data.md"
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE):
        exec(compile(block, page.name, "exec"), {})
    assert (tmp_path / "mine.npz").is_file()


def test_the_command_fits_a_folder_and_says_which_pooling_fits_the_circuit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "images")
    arguments = ["fit", "digits4", "--out", str(tmp_path / "run"), "--set", "data.name=image_folder"]
    arguments += ["--set", f"data.path={folder}", "--set", "data.classes=null", "--set", "optimisation.epochs=1"]
    unfitting = CliRunner().invoke(app, [*arguments, "--set", "data.size=28"])
    assert unfitting.exit_code == 2
    said = "give 196 features, but the circuit takes 16; change model.features.pool (kernel: 7 gives 16)"
    assert said in unfitting.stderr
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(report_module, "write_report", lambda *_: None)
    fitting = CliRunner().invoke(app, arguments)
    assert fitting.exit_code == 0, fitting.output
    assert "test accuracy" in fitting.stdout
