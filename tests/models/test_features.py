"""From images to features."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch

from qdeq_qiskit.models import Features, Pooling


def pooled_by_hand(image: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    """Average pooling written out: padded zeros count, windows that do not fit are dropped."""
    padded = np.pad(image, padding)
    starts = range(0, len(padded) - kernel + 1, stride)
    return np.array([[padded[i : i + kernel, j : j + kernel].mean() for j in starts] for i in starts])


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding", "count"), [(28, 6, 6, 0, 16), (28, 5, 3, 2, 100), (8, 2, 2, 0, 16)]
)
def test_pooling_is_the_papers(side: int, kernel: int, stride: int, padding: int, count: int) -> None:
    images = torch.rand(3, side, side, dtype=torch.float64)
    features = Features(pool=Pooling(kernel=kernel, stride=stride, padding=padding)).of(images)
    assert features.shape == (3, count)
    normalised = (images.numpy() - 0.1307) / 0.3081
    for row, image in zip(features.numpy(), normalised, strict=True):
        np.testing.assert_allclose(row, pooled_by_hand(image, kernel, stride, padding).ravel(), atol=1e-12)


def test_without_pooling_pixels_are_laid_out_row_by_row() -> None:
    images = torch.rand(2, 4, 4)
    features = Features(mean=0, std=1).of(images)
    torch.testing.assert_close(features, images.reshape(2, 16))


def test_images_are_left_as_they_were_and_chunks_do_not_matter() -> None:
    images = torch.rand(10, 12, 12)
    before = images.clone()
    features = Features(pool=Pooling(kernel=3))
    torch.testing.assert_close(features.of(images, chunk=3), features.of(images))
    assert torch.equal(images, before)


@pytest.mark.parametrize("pool", [Pooling(kernel=9), Pooling(kernel=2, padding=2)])
def test_a_window_that_does_not_fit_is_refused_with_the_sizes(pool: Pooling) -> None:
    with pytest.raises(ValueError, match=rf"8×8 pixels cannot be pooled with kernel {pool.kernel}"):
        Features(pool=pool).of(torch.rand(1, 8, 8))


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, height, width\)"):
        Features().of(torch.rand(2, 1, 8, 8))


@pytest.mark.parametrize(("height", "width", "side"), [(32, 32, 28), (32, 20, 7), (8, 8, 12)])
def test_resizing_is_pillows(height: int, width: int, side: int) -> None:
    images = torch.rand(2, height, width, generator=torch.Generator().manual_seed(0))
    features = Features(mean=0.1, std=0.5, resize=side).of(images)
    for row, image in zip(features, images, strict=True):
        picture = PIL.Image.fromarray((image.numpy() - np.float32(0.1)) / np.float32(0.5))
        resized = np.asarray(picture.resize((side, side), PIL.Image.Resampling.BILINEAR))
        np.testing.assert_allclose(row.numpy(), resized.ravel(), atol=1e-5)


def test_what_was_resized_is_pooled_as_images_of_that_size_are() -> None:
    images = torch.rand(3, 32, 32, dtype=torch.float64)
    pool = Pooling(kernel=5, stride=3, padding=2)
    resized = Features(mean=0, std=1, resize=28).of(images).reshape(3, 28, 28)
    features = Features(resize=28, pool=pool).of(images)
    assert features.shape == (3, 100)
    torch.testing.assert_close(features, Features(pool=pool).of(resized))
    assert Features(resize=28, pool=pool).of(images[:0]).shape == (0, 100)


def test_the_size_after_resizing_is_what_pooling_must_fit() -> None:
    with pytest.raises(ValueError, match="images of 4×4 pixels cannot be pooled with kernel 6"):
        Features(resize=4, pool=Pooling(kernel=6)).of(torch.rand(1, 32, 32))
    assert Features(resize=28).hint(32, 32, 16) == " (kernel: 7 gives 16)"
