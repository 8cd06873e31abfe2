"""From images to features: pixels normalised, resized, pooled, and laid out in a row."""

from __future__ import annotations

import math
import warnings
from typing import Annotated, final

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class Pooling(BaseModel):
    """Average pooling; padded zeros count in the average, rows and columns that do not fill a window are dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kernel: Annotated[int, Field(ge=1, le=10_000)] = Field(description="Side of the averaged square, in pixels.")
    stride: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="Step between squares, in pixels; null for the kernel's side."
    )
    padding: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="Rows of zeros around the image, in pixels."
    )


@final
class Features(BaseModel):
    """How images become features: x = pool(resize((pixels − mean) / std)), row by row.

    The shipped normalisation is MNIST's mean and standard deviation, which the paper uses for every data set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: Annotated[float, Field(allow_inf_nan=False)] = Field(
        default=0.1307, description="Subtracted from every pixel (pixels are in 0 … 1)."
    )
    std: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=0.3081, description="What pixels are then divided by."
    )
    resize: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None,
        description="Side in pixels of the square that images are made (bilinear, averaging where they shrink), before "
        "pooling; null to leave them as they are.",
    )
    pool: Pooling | None = Field(default=None, description="Average pooling; null for none.")

    def of(self, images: Tensor, *, chunk: int = 4096) -> Tensor:
        """Features of images.

        Args:
            images: (B, height, width).
            chunk: images pooled at a time, which bounds the memory in use.

        Returns:
            (B, d).

        Raises:
            ValueError: the images have another shape, or are smaller than the pooling window.
        """
        if images.ndim != 3:
            raise ValueError(f"images have shape {tuple(images.shape)}; expected (batch, height, width)")
        if images.dtype == torch.uint8:
            images = images.float() / 255
        self._warn_of_range(images)
        self._check_window(*images.shape[1:])
        return torch.cat([self._of_part(part) for part in images.split(chunk)])

    def hint(self, height: int, width: int, wanted: int) -> str:
        """Which pooling gives so many features of images of this size, in words; nothing if none is simple."""
        height, width = self._sides(height, width)
        side = math.isqrt(wanted)
        kernel = height // side if side else 0
        if height != width or side * side != wanted or kernel < 1 or height // kernel != side:
            return ""
        return f" (none gives {wanted})" if kernel == 1 else f" (kernel: {kernel} gives {wanted})"

    def _sides(self, height: int, width: int) -> tuple[int, int]:
        """Those of the images that are pooled."""
        return (height, width) if self.resize is None else (self.resize, self.resize)

    def _check_window(self, height: int, width: int) -> None:
        if self.pool is None:
            return
        height, width = self._sides(height, width)
        kernel, padding = self.pool.kernel, self.pool.padding
        if min(height, width) + 2 * padding < kernel or padding > kernel // 2:
            raise ValueError(
                f"images of {height}×{width} pixels cannot be pooled with kernel {kernel} and "
                f"padding {padding}; the kernel must fit into the padded image, the padding into half the kernel"
            )

    def _of_part(self, images: Tensor) -> Tensor:
        images = (images - self.mean).div_(self.std).unsqueeze(1)
        if self.resize is not None:
            side = (self.resize, self.resize)
            # Antialiased, as Pillow resizes and torchvision does by default.
            images = torch.nn.functional.interpolate(images, side, mode="bilinear", antialias=True)
        if self.pool is not None:
            images = torch.nn.functional.avg_pool2d(
                images, self.pool.kernel, self.pool.stride or self.pool.kernel, self.pool.padding
            )
        return images.flatten(1)

    def _warn_of_range(self, images: Tensor) -> None:
        """Numbers from 0 to 255 look like images, too, and are a mistake here."""
        if not images.numel() or (self.mean, self.std) == (0, 1):
            return
        low, high = (float(end) for end in images.aminmax())
        if low < -1 or high > 2:  # not what rounding, or a little noise, does
            warnings.warn(
                f"pixels lie between {low:g} and {high:g}; features.mean and features.std are for 0 … 1: divide the "
                "images by what stands for white, or, where they are standardised, set mean to 0 and std to 1",
                stacklevel=4,
            )
