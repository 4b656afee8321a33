import bz2
import gzip
import itertools
import struct

import gemmi
import mrcfile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryojax_graph.io import InputError, Map, read_map, write_map
from cryojax_graph.io.mrc import read_density

# Voxel [z, y, x] lies at (x, y, z) * VOXEL + the position of voxel 0.
VOXEL = np.array([1.25, 1.5, 2.0])
VALUES = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)


def write_permuted(path, axes, *, origin=(0, 0, 0), start=(0, 0, 0)):
    """The map above with columns, rows, sections along ``axes``, written by mrcfile."""
    stored = axes[::-1]
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.ascontiguousarray(VALUES.transpose([3 - axis for axis in stored])))
        header = mrc.header
        header.mapc, header.mapr, header.maps = axes
        header.mx, header.my, header.mz = VALUES.shape[::-1]
        header.cella = tuple(VOXEL * VALUES.shape[::-1])
        header.origin = tuple(origin)
        header.nxstart, header.nystart, header.nzstart = (start[axis - 1] for axis in axes)


@pytest.mark.parametrize("axes", list(itertools.permutations((1, 2, 3))))
@pytest.mark.parametrize(
    ("origin", "start"),
    [((0, 0, 0), (0, 0, 0)), ((10, -20, 30), (0, 0, 0)), ((0, 0, 0), (-3, 7, 11))],
)
def test_a_map_is_in_register_for_every_axis_order_origin_and_start(axes, origin, start, tmp_path):
    path = tmp_path / "a.mrc"
    write_permuted(path, axes, origin=origin, start=start)
    density = read_map(path)
    np.testing.assert_array_equal(density.values, VALUES)
    np.testing.assert_allclose(density.voxel_size, VOXEL, rtol=1e-6)
    expected = np.array(origin) if any(origin) else np.array(start) * VOXEL
    np.testing.assert_allclose(density.origin, expected, atol=1e-4)


def test_an_origin_beside_a_start_wins_and_is_not_added(tmp_path):
    write_permuted(tmp_path / "a.mrc", (1, 2, 3), origin=(10, 20, 30), start=(5, 5, 5))
    np.testing.assert_array_equal(read_map(tmp_path / "a.mrc").origin, [10, 20, 30])


@pytest.mark.parametrize("axes", list(itertools.permutations((1, 2, 3))))
def test_gemmi_puts_the_same_value_at_the_same_place(axes, tmp_path):
    path = tmp_path / "a.ccp4"
    write_permuted(path, axes, start=(-3, 2, 1))
    density = read_map(path)
    # gemmi keeps the axes of the file, so its values are compared one by one, by position.
    other = gemmi.read_ccp4_map(str(path))
    other.setup(float("nan"))
    for z, y, x in ((0, 0, 0), (3, 4, 5), (1, 2, 3)):
        position = np.array([x, y, z]) * density.voxel_size + density.origin
        value = other.grid.interpolate_value(gemmi.Position(*position))
        assert value == pytest.approx(density.values[z, y, x], abs=1e-4)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_packed_map_is_the_same_map(pack, tmp_path):
    write_permuted(tmp_path / "a.mrc", (3, 1, 2), origin=(1, 2, 3))
    (tmp_path / "b.map").write_bytes(pack((tmp_path / "a.mrc").read_bytes()))
    first, second = read_map(tmp_path / "a.mrc"), read_map(tmp_path / "b.map")
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.origin, second.origin)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint16, np.float16, np.float32])
@pytest.mark.parametrize("order", ["<", ">"])
def test_all_modes_and_byte_orders_as_mrcfile_writes_them(kind, order, tmp_path):
    low, high = (0, 200) if kind == np.uint16 else (-100, 100)
    values = np.random.default_rng(1).integers(low, high, (3, 4, 5)).astype(kind)
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(values.astype(values.dtype.newbyteorder(order)))
        mrc.voxel_size = 2.0
    density = read_map(tmp_path / "a.mrc")
    assert density.values.dtype == np.float32
    np.testing.assert_array_equal(density.values, values.astype(np.float32))


@pytest.mark.parametrize(("flags", "first"), [(0, 200.0), (1, -56.0)])
def test_bytes_of_imod_are_unsigned_unless_it_says_otherwise(flags, first, tmp_path):
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.full((2, 2, 2), -56, np.int8))
        mrc.voxel_size = 1.0
    raw = bytearray(path.read_bytes())
    struct.pack_into("<2i", raw, 152, 1146047817, flags)
    path.write_bytes(raw)
    assert read_map(path).values[0, 0, 0] == first


def test_a_given_voxel_size_replaces_one_never_set(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(VALUES)
    with pytest.raises(InputError, match="voxel size"):
        read_map(tmp_path / "a.mrc")
    np.testing.assert_array_equal(read_map(tmp_path / "a.mrc", voxel_size=1.7).voxel_size, 1.7)
    with pytest.raises(InputError, match="voxel size"):
        read_map(tmp_path / "a.mrc", voxel_size=0.0)


@pytest.mark.parametrize("half", [False, True])
def test_what_is_written_is_read_back_and_is_valid_for_mrcfile(half, tmp_path):
    path = tmp_path / "a.mrc"
    density = Map(VALUES, VOXEL, np.array([7.5, -8.0, 9.25]))
    write_map(path, density, half=half)
    again = read_map(path)
    np.testing.assert_allclose(again.values, VALUES, atol=2e-3 if half else 0)
    np.testing.assert_allclose(again.voxel_size, VOXEL, rtol=1e-6)
    np.testing.assert_array_equal(again.origin, density.origin)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(mrc.data.astype(np.float32), again.values)
        np.testing.assert_allclose(mrc.voxel_size.tolist(), VOXEL, rtol=1e-6)
        assert mrc.header.origin.tolist() == (7.5, -8.0, 9.25)
        assert mrc.is_volume()
        assert mrc.header.dmax == pytest.approx(again.values.max())
        assert mrc.header.rms == pytest.approx(again.values.std(), rel=1e-5)
    grid = gemmi.read_ccp4_map(str(path)).grid
    assert (grid.nu, grid.nv, grid.nw) == VALUES.shape[::-1]


@pytest.mark.parametrize(("value", "half"), [(np.nan, False), (np.inf, False), (1e6, True)])
def test_a_value_that_is_not_finite_is_never_written(value, half, tmp_path):
    values = VALUES.copy()
    values[1, 2, 3] = value
    density = Map(values, VOXEL, np.zeros(3))
    with pytest.raises(InputError, match="voxel z=1, y=2, x=3"):
        write_map(tmp_path / "a.mrc", density, half=half)
    assert not any(tmp_path.iterdir())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    origin=st.tuples(*[st.floats(-1e4, 1e4, width=32)] * 3),
    axes=st.permutations((1, 2, 3)),
)
def test_any_shape_and_origin_survive_a_round_trip(shape, origin, axes, tmp_path):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    write_map(tmp_path / "a.mrc", Map(values, np.full(3, 1.3), np.array(origin)))
    density = read_map(tmp_path / "a.mrc")
    np.testing.assert_array_equal(density.values, values)
    np.testing.assert_array_equal(density.origin, np.float32(origin))
    raw = bytearray((tmp_path / "a.mrc").read_bytes())
    struct.pack_into("<3i", raw, 64, *axes)
    (tmp_path / "b.mrc").write_bytes(raw)
    permuted, header, _ = read_density(tmp_path / "b.mrc")
    assert permuted.shape == tuple(shape[header.axes[::-1].index(axis)] for axis in (3, 2, 1))


def test_a_given_voxel_size_is_that_of_the_start_too(tmp_path):
    write_permuted(tmp_path / "a.mrc", (1, 2, 3), start=(-4, 5, 6))
    stated, given = read_map(tmp_path / "a.mrc"), read_map(tmp_path / "a.mrc", voxel_size=3.0)
    assert np.abs(stated.origin).max() > 0
    np.testing.assert_allclose(given.origin, stated.origin / stated.voxel_size * 3.0)
