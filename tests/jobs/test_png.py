import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.jobs.png import data_uri, encode_png, grey_levels


def decode(png: bytes) -> np.ndarray:
    """Read back what the standard says, every checksum included."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", png[at + 8 + length : at + 12 + length])
        assert checksum == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, rest) == (8, [0, 0, 0])
    channels = {0: 1, 2: 3}[colour]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape((height, width) if channels == 1 else (height, width, 3))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.booleans(), st.integers(0, 99))
def test_a_picture_comes_back(height, width, colour, seed):
    shape = (height, width, 3) if colour else (height, width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(decode(encode_png(pixels)), pixels)


def test_grey_levels_span_the_range_and_keep_the_order():
    image = np.linspace(-5.0, 7.0, 400).reshape(20, 20)
    levels = grey_levels(image)
    assert (levels.min(), levels.max()) == (0, 255)
    assert (np.diff(levels.ravel().astype(int)) >= 0).all()


def test_an_outlier_does_not_darken_the_rest():
    image = np.tile(np.arange(20.0), (20, 1))
    image[0, 0] = 1e9
    assert grey_levels(image)[10, 10] > 100


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_a_constant_image_is_grey(value):
    assert (grey_levels(np.full((3, 4), value)) == 128).all()


def test_values_that_are_not_finite_are_black():
    image = np.array([[np.nan, 1.0], [np.inf, 2.0]])
    assert grey_levels(image).tolist() == [[0, 0], [0, 255]]
    assert not grey_levels(np.full((2, 2), np.nan)).any()


def test_a_data_uri_names_its_type():
    assert data_uri(b"abc") == "data:image/png;base64,YWJj"
