"""Labelled images: what is accepted, and how they are divided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qdeq_qiskit.training import DataError, Images, ImageSplits


def images(labels: list[int], classes: int = 3) -> Images:
    pixels = np.arange(len(labels) * 4, dtype=np.float32).reshape(-1, 2, 2)
    return Images(pixels, np.array(labels), classes)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_not_finite_is_refused_with_its_image(bad: float) -> None:
    pixels = np.zeros((4, 2, 2))
    pixels[2, 0, 1] = bad
    with pytest.raises(DataError, match="1 images have NaN or infinite pixels, the first is image 2"):
        Images(pixels, np.zeros(4, dtype=int), 2)


@pytest.mark.parametrize("label", [-1, 3, 200])
def test_a_label_out_of_range_is_refused_with_the_range(label: int) -> None:
    with pytest.raises(DataError, match=rf"image 1 has label {label}; with 3 classes, labels are 0 to 2"):
        images([0, label, 2])


@pytest.mark.parametrize(
    ("pixels", "labels", "reason"),
    [
        (np.zeros((3, 4)), np.zeros(3, dtype=int), r"expected \(images, height, width\)"),
        (np.zeros((3, 2, 2)), np.zeros(2, dtype=int), "3 images have labels of shape"),
        (np.zeros((3, 2, 2)), np.zeros(3), "expected integers"),
        (np.zeros((0, 2, 2)), np.zeros(0, dtype=int), "there are no images"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(pixels: np.ndarray, labels: np.ndarray, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        Images(pixels, labels, 2)


def test_parts_keep_the_proportions_and_hold_every_image_once() -> None:
    whole = images([0] * 40 + [1] * 20 + [2] * 20)
    first, second = whole.divide(0.25, seed=1)
    assert np.bincount(second.labels).tolist() == [10, 5, 5]
    together = np.sort(np.concatenate([first.pixels[:, 0, 0], second.pixels[:, 0, 0]]))
    np.testing.assert_array_equal(together, whole.pixels[:, 0, 0])


def test_the_same_seed_divides_the_same_way_and_another_does_not() -> None:
    whole = images([0, 1, 2] * 20)
    again = [whole.divide(0.3, seed=seed)[1].pixels for seed in (1, 1, 2)]
    np.testing.assert_array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


def test_a_class_too_small_to_divide_is_an_error_with_the_counts() -> None:
    with pytest.raises(DataError, match=r"\[5, 5, 1\] per class"):
        images([0] * 5 + [1] * 5 + [2]).divide(0.5, seed=0)


def test_a_sample_of_any_size_can_be_drawn_and_is_the_same_for_the_same_seed() -> None:
    whole = images([0] * 4 + [1] * 4 + [2] * 3)
    for count in range(1, 12):
        drawn = whole.sample(count, seed=5)
        assert len(drawn) == count
        assert len(np.unique(drawn.pixels[:, 0, 0])) == count
        np.testing.assert_array_equal(drawn.pixels, whole.sample(count, seed=5).pixels)
    assert set(whole.sample(3, seed=5).labels) == {0, 1, 2}


def test_a_split_without_some_class_is_refused() -> None:
    full, lacking = images([0, 1, 2]), images([0, 2])
    with pytest.raises(DataError, match="the valid split has no image of class b"):
        ImageSplits("toy", ("a", "b", "c"), full, lacking, full)


def test_the_fingerprint_of_the_splits_is_that_of_their_pixels_labels_and_order() -> None:
    first = ImageSplits("toy", ("a", "b"), *(images([0, 1, 0, 1]) for _ in range(3)))
    again = ImageSplits("toy", ("a", "b"), *(images([0, 1, 0, 1]) for _ in range(3)))
    assert first.fingerprint() == again.fingerprint()
    test = first.test
    altered = [
        test.take(np.array([1, 0, 2, 3])),
        replace(test, labels=np.array([0, 1, 1, 1])),
        replace(test, pixels=test.pixels * np.float32(1 + 1e-6) + np.float32(1e-6)),
        replace(test, pixels=test.pixels.reshape(4, 1, -1)),
    ]
    for part in altered:
        other = replace(first, test=part).fingerprint()
        assert {split for split in other if other[split] != first.fingerprint()[split]} == {"test"}
