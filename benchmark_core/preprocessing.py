"""How an image file becomes a model's input."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop, scale to [0, 1] and normalise.

    The default is that of Kazemian et al.: RGB, resized straight to 224 x 224 (bilinear with antialias, no crop),
    scaled to [0, 1] and normalised with the ImageNet mean and standard deviation.

    Parameters
    ----------
    size
        Height and width of the input, in pixels.
    shorter_side
        If given, the shorter side is first resized to this many pixels and the centre is then cropped to ``size``;
        otherwise the image is resized to ``size`` regardless of its aspect ratio.
    colour
        ``rgb`` (3 channels) or ``grey`` (1 channel, ITU-R 601 luma).
    interpolation
        ``bilinear`` or ``bicubic``, both with antialiasing.
    mean, std
        Per channel, on the [0, 1] scale; the input is ``(x - mean) / std``.
    """

    size: tuple[int, int] = (224, 224)
    shorter_side: int | None = None
    colour: Literal["rgb", "grey"] = "rgb"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def as_key(self) -> dict[str, Any]:
        """Return the plain data that enters a representation's key."""
        return asdict(self)

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return 3 if self.colour == "rgb" else 1

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return the input as a float32 array of shape (channels, height, width)."""
        import numpy as np
        from PIL import Image

        image = image.convert("RGB" if self.colour == "rgb" else "L")
        method = Image.Resampling.BILINEAR if self.interpolation == "bilinear" else Image.Resampling.BICUBIC
        height, width = self.size
        if self.shorter_side is None:
            image = image.resize((width, height), method)
        else:
            scale = self.shorter_side / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), method)
            left, top = round((image.width - width) / 2), round((image.height - height) / 2)
            image = image.crop((left, top, left + width, top + height))
        pixels = np.asarray(image, dtype=np.float32).reshape(height, width, self.channels) / np.float32(255)
        mean, std = (np.asarray(values, dtype=np.float32) for values in (self.mean, self.std))
        normalised: np.ndarray = (pixels - mean) / std
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))
