import tracemalloc

import mrcfile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryojax_graph.io import InputError, open_stack, write_stack, write_stack_in_parts

IMAGES = np.random.default_rng(0).normal(3, 2, size=(9, 6, 8)).astype(np.float32)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(indices=st.lists(st.integers(0, 8), max_size=30))
def test_any_images_come_in_the_order_asked_for(indices, tmp_path):
    path = tmp_path / "a.mrcs"
    if not path.exists():
        write_stack(path, IMAGES, pixel_size=1.5)
    read = open_stack(path).read(np.array(indices, np.int64))
    np.testing.assert_array_equal(read, IMAGES[indices])


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint16, np.float16, np.float32])
@pytest.mark.parametrize("order", ["<", ">"])
def test_stacks_of_mrcfile_of_every_mode(kind, order, tmp_path):
    values = np.arange(60).reshape(3, 4, 5).astype(kind)
    with mrcfile.new(tmp_path / "a.mrcs") as mrc:
        mrc.set_data(values.astype(values.dtype.newbyteorder(order)))
        mrc.set_image_stack()
        mrc.voxel_size = 1.25
        mrc.set_extended_header(np.zeros(3, "V16"))
    stack = open_stack(tmp_path / "a.mrcs")
    np.testing.assert_array_equal(stack.read(np.array([2, 0])), values[[2, 0]])
    assert (len(stack), stack.image_shape, stack.pixel_size) == (3, (4, 5), 1.25)


@pytest.mark.parametrize("half", [False, True])
def test_a_stack_written_in_parts_is_one_valid_stack_with_its_statistics(half, tmp_path):
    path = tmp_path / "a.mrcs"
    with write_stack_in_parts(path, pixel_size=1.5, half=half) as writer:
        for part in (IMAGES[:1], IMAGES[1:1], IMAGES[1:6], IMAGES[6:]):
            writer.append(part)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        stored = IMAGES.astype(np.float16 if half else np.float32)
        np.testing.assert_array_equal(mrc.data, stored)
        assert mrc.is_image_stack()
        assert mrc.voxel_size.x == pytest.approx(1.5)
        assert mrc.header.dmean == pytest.approx(stored.mean(dtype=float), rel=1e-6)
        assert mrc.header.rms == pytest.approx(stored.std(dtype=float), rel=1e-6)
        assert mrc.header.dmin == stored.min()
        assert mrc.header.dmax == stored.max()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_placed_in_their_image(value, tmp_path):
    images = IMAGES.copy()
    images[4, 2, 3] = value
    images[7] = value
    with mrcfile.new(tmp_path / "a.mrcs") as mrc, pytest.warns(RuntimeWarning):
        mrc.set_data(images)
    stack = open_stack(tmp_path / "a.mrcs")
    assert stack.read(np.array([0, 3, 8])).shape == (3, 6, 8)
    with pytest.raises(InputError, match=r"image 5, pixel y=2, x=3: 49 pixels in 2 of 3 images"):
        stack.read(np.array([3, 4, 7]))
    with pytest.raises(InputError, match="images 1-9"):
        write_stack(tmp_path / "b.mrcs", images, pixel_size=1.0)
    assert not (tmp_path / "b.mrcs").exists()


@pytest.mark.parametrize("index", [-1, 9, 2**40])
def test_an_image_that_is_not_there_is_refused(index, tmp_path):
    write_stack(tmp_path / "a.mrcs", IMAGES, pixel_size=1.5)
    with pytest.raises(InputError, match="the stack holds 9 images"):
        open_stack(tmp_path / "a.mrcs").read(np.array([0, index]))


def test_a_stack_that_shrinks_while_in_use_gives_an_error_and_no_crash(tmp_path):
    path = tmp_path / "a.mrcs"
    write_stack(path, IMAGES, pixel_size=1.5)
    stack = open_stack(path)
    path.write_bytes(path.read_bytes()[:-100])
    np.testing.assert_array_equal(stack.read(np.array([0])), IMAGES[:1])
    with pytest.raises(InputError, match="image 9: the file became shorter"):
        stack.read(np.array([8]))
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        stack.read(np.array([0]))


def test_memory_follows_the_batch_and_not_the_stack(tmp_path):
    path = tmp_path / "a.mrcs"
    with write_stack_in_parts(path, pixel_size=1.0) as writer:
        for _ in range(20):
            writer.append(np.ones((16, 128, 128)))
    stack = open_stack(path)
    tracemalloc.start()
    try:
        for start in range(0, len(stack), 16):
            stack.read(np.arange(start, start + 16))
        assert tracemalloc.get_traced_memory()[1] < 4 * 16 * 128 * 128 * 4
    finally:
        tracemalloc.stop()


def test_misuse_of_the_writer_is_a_plain_error(tmp_path):
    def write(*parts):
        with write_stack_in_parts(tmp_path / "a.mrcs", pixel_size=1.0) as writer:
            for part in parts:
                writer.append(part)

    with pytest.raises(ValueError, match="at least one image"):
        write()
    with pytest.raises(ValueError, match="after images of"):
        write(IMAGES, IMAGES[:, :3])
    assert not any(tmp_path.iterdir())
