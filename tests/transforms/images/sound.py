"""What tests take for the pixels of an image: those of one that is sound."""

import numpy as np

from molino.transforms.images.decode import ImageError, decode_image


def decode(data: bytes, **options: int) -> np.ndarray:
    """Return the pixels of an image as `decode_image` gives them; damage is an error."""
    image, damage = decode_image(data, **options)
    if damage:
        raise ImageError("damaged", damage)
    return image
