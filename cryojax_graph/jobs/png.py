"""Arrays to PNG images, for reports."""

import base64
import struct
import zlib

import numpy as np
from jaxtyping import Num, UInt8


def encode_png(
    pixels: UInt8[np.ndarray, "height width"] | UInt8[np.ndarray, "height width 3"],
) -> bytes:
    """PNG file of a grey or an RGB image (ISO/IEC 15948, one IDAT chunk, no filter).

    Args:
        pixels: row 0 is the top of the picture.

    Returns:
        contents of the file.
    """
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    colour = 0 if pixels.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            _chunk(b"IEND", b""),
        ]
    )


def grey_levels(
    image: Num[np.ndarray, "height width"], *, percent: float = 0.5
) -> UInt8[np.ndarray, "height width"]:
    """Stretch an image to the range of a screen.

    Args:
        image: any unit; values that are not finite show black.
        percent: share of pixels that may saturate at either end.

    Returns:
        grey levels, 0 to 255; a constant image is mid-grey.
    """
    finite = np.isfinite(image)
    if not finite.any():
        return np.zeros(image.shape, np.uint8)
    low, high = np.percentile(image[finite], [percent, 100.0 - percent])
    if low == high:
        return np.where(finite, 128, 0).astype(np.uint8)
    level = (np.where(finite, image, low) - low) / (high - low)
    return np.where(finite, np.clip(level, 0.0, 1.0) * 255.0, 0.0).round().astype(np.uint8)


def data_uri(png: bytes) -> str:
    """Address that holds the image itself.

    Args:
        png: contents of a PNG file.

    Returns:
        a ``data:`` URI.
    """
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
