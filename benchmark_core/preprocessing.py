"""How an image file becomes a model's input."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from benchmark_core.errors import InputError

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
        If given, the shorter side is first resized to this many pixels and the centre is then cropped to ``size``
        (sizes and offsets rounded like torchvision's); otherwise the image is resized to ``size`` regardless of its
        aspect ratio.
    colour
        ``rgb`` (3 channels) or ``grey`` (1 channel, ITU-R 601 luma).
    interpolation
        ``bilinear`` or ``bicubic``, both with antialiasing.
    mean, std
        Per channel, on the [0, 1] scale; the input is ``(x - mean) / std``.

    Raises
    ------
    InputError
        For settings that contradict each other.
    """

    size: tuple[int, int] = (224, 224)
    shorter_side: int | None = None
    colour: Literal["rgb", "grey"] = "rgb"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise InputError(f"preprocessing: size {self.size} is not (height, width) in pixels")
        if self.shorter_side is not None and self.shorter_side < min(self.size):
            raise InputError(
                f"preprocessing: a shorter side of {self.shorter_side} pixels leaves nothing to crop {self.size} from"
            )
        if self.colour not in ("rgb", "grey") or self.interpolation not in ("bilinear", "bicubic"):
            raise InputError("preprocessing: colour is rgb or grey, interpolation bilinear or bicubic")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise InputError(
                f"preprocessing: colour {self.colour!r} needs a mean and std of {self.channels} values each"
            )
        if not all(value > 0 for value in self.std):
            raise InputError(f"preprocessing: std {self.std} must be positive")

    def as_key(self) -> dict[str, Any]:
        """Return the plain data that enters a representation's key."""
        return asdict(self)

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return 3 if self.colour == "rgb" else 1

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return the input as a float32 array of shape (channels, height, width).

        Raises
        ------
        InputError
            For images whose pixels are floating-point or 32-bit numbers, which have no agreed range.
        """
        import numpy as np
        from PIL import Image

        image = eight_bits(image).convert("RGB" if self.colour == "rgb" else "L")
        method = Image.Resampling.BILINEAR if self.interpolation == "bilinear" else Image.Resampling.BICUBIC
        height, width = self.size
        if self.shorter_side is None:
            image = image.resize((width, height), method)
        else:
            shorter = min(image.size)
            image = image.resize(
                (self.shorter_side * image.width // shorter, self.shorter_side * image.height // shorter), method
            )
            if image.width < width or image.height < height:
                raise InputError(
                    f"an image resized to {image.height} x {image.width} pixels is too small to crop {self.size} from"
                )
            left, top = round((image.width - width) / 2), round((image.height - height) / 2)
            image = image.crop((left, top, left + width, top + height))
        pixels = np.asarray(image, dtype=np.float32).reshape(height, width, self.channels) / np.float32(255)
        mean, std = (np.asarray(values, dtype=np.float32) for values in (self.mean, self.std))
        normalised: np.ndarray = (pixels - mean) / std
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))


@dataclass(frozen=True)
class ShuffledPixels:
    """Make images without spatial structure: the pixels of every image change places in the same way.

    The image is resized straight to ``size`` (RGB, bilinear with antialias) and its positions are permuted, the same
    permutation for every image and channel. For a model whose input is ``size``, as those of Kazemian et al., this is
    their variant: resized, shuffled, then normalised. Other models resize (and crop) the shuffled image.

    Parameters
    ----------
    size
        Height and width in pixels.
    seed
        Of the Philox stream that the permutation comes from.
    """

    size: tuple[int, int] = (224, 224)
    seed: int = 0

    def as_key(self) -> dict[str, Any]:
        """Return the plain data that enters the hash of a stimulus set."""
        return {"shuffled_pixels": asdict(self)}

    def permutation(self) -> np.ndarray:
        """Return, for each position in reading order, the position whose pixel moves there; (height * width,) int64."""
        return _permutation(self.size[0] * self.size[1], self.seed)

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the shuffled image, RGB.

        Raises
        ------
        InputError
            For images whose pixels are floating-point or 32-bit numbers, which have no agreed range.
        """
        import numpy as np
        from PIL import Image

        height, width = self.size
        resized = eight_bits(image).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized).reshape(height * width, 3)
        return Image.fromarray(pixels[self.permutation()].reshape(height, width, 3))


def eight_bits(image: Image.Image) -> Image.Image:
    """Return an image with 8 bits a channel, of which everybody sees the same pixels.

    Grey, palette and CMYK images pass (and become RGB as Pillow converts them), and so does an alpha channel that hides
    nothing.

    Raises
    ------
    InputError
        For images whose pixels are floating-point or 32-bit numbers, which have no agreed range; with transparent
        pixels, which look different on every background; or with an EXIF tag that turns them, which some programs obey
        and others do not: what was shown cannot be told then.
    """
    import numpy as np
    from PIL import Image

    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise InputError("it has transparent pixels; save it on the background on which it was shown")
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    if orientation in range(2, 9):
        raise InputError(
            f"its EXIF orientation is {orientation}, not upright; save it as it was shown, without that tag"
        )
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey to 255, that is, to white
        return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(f"images of mode {image.mode!r} have no agreed range; convert them to 8 bits")
    return image


_EXIF_ORIENTATION = 0x0112


@cache
def _permutation(n: int, seed: int) -> np.ndarray:
    import numpy as np

    # The order of random numbers, not NumPy's own permutation: that may change from version to version.
    order = np.argsort(np.random.Generator(np.random.Philox(key=seed)).random(n), kind="stable")
    order.setflags(write=False)
    return order
