import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryojax_graph.io import InputError, new_particles, open_images, with_columns, write_stack
from cryojax_graph.io.describe_particles import sign_warnings

TEXT = np.dtypes.StringDType()
STACKS = {
    name: np.random.default_rng(i).normal(size=(4 + i, 6, 6)).astype(np.float32)
    for i, name in enumerate(("b.mrcs", "a.mrcs", "sub/c.mrcs"))
}
PATHS = ["b.mrcs", "a.mrcs", "sub/c.mrcs", "a.mrcs", "b.mrcs", "sub/c.mrcs", "a.mrcs"]
INDICES = [3, 0, 5, 4, 0, 1, 0]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name, images in STACKS.items():
        write_stack(tmp_path / name, images, pixel_size=1.5)
    return tmp_path


def table(folder, **changes):
    fields = {
        "image_path": np.array(PATHS, TEXT),
        "image_index": np.array(INDICES),
        "pixel_size": np.full(len(PATHS), 1.5),
        "box": np.full(len(PATHS), 6),
    }
    return new_particles(folder / "t.star", fields | changes)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, len(PATHS) - 1), max_size=20))
def test_images_of_several_stacks_come_in_the_order_asked_for(rows, folder):
    read = open_images(table(folder)).read(np.array(rows, np.int64))
    assert read.shape == (len(rows), 6, 6)
    for row, image in zip(rows, read, strict=True):
        np.testing.assert_array_equal(image, STACKS[PATHS[row]][INDICES[row]])


def test_images_that_cryosparc_marks_as_dark_come_light_on_dark(folder):
    light = table(folder)
    signs = np.where(np.arange(len(PATHS)) % 2, -1.0, 1.0)
    marked = with_columns(light, {"cs/blob/sign": signs})
    every = np.arange(len(PATHS))
    read = open_images(marked).read(every)
    np.testing.assert_array_equal(
        read, signs[:, None, None].astype(np.float32) * open_images(light).read(every)
    )


def test_a_carried_sign_is_said_of_the_files_that_it_was_carried_with(folder):
    carried = {"cs/blob/sign": np.full(len(PATHS), -1.0), "cs/blob/path": np.array(PATHS, TEXT)}
    # A folder before the name, another ending and the mark of cryoSPARC change no image.
    carried["cs/blob/path"][:] = [f">J7/{path.removesuffix('s')}" for path in PATHS]
    every = np.arange(len(PATHS))
    same = with_columns(table(folder), carried)
    np.testing.assert_array_equal(open_images(same).sign, -1)
    shutil.copy(folder / "a.mrcs", folder / "inverted.mrcs")
    names = np.array(["inverted.mrcs"] * 2 + PATHS[2:], TEXT)
    indices = np.array([0, 1, *INDICES[2:]])
    made = with_columns(same, {"image_path": names, "image_index": indices})
    np.testing.assert_array_equal(open_images(made).sign, [1, 1, *[-1] * (len(every) - 2)])
    assert "2 images are in other files" in sign_warnings(made)[0]
    assert sign_warnings(same) == []


def test_a_fingerprint_is_of_the_pixels(folder, tmp_path_factory):
    first = open_images(table(folder)).fingerprint()
    elsewhere = tmp_path_factory.mktemp("copy")
    shutil.copytree(folder, elsewhere, dirs_exist_ok=True)
    assert open_images(table(elsewhere)).fingerprint() == first
    write_stack(elsewhere / "a.mrcs", STACKS["a.mrcs"][::-1].copy(), pixel_size=1.5)
    assert open_images(table(elsewhere)).fingerprint() != first


def test_images_are_found_under_an_image_root(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    particles = table(elsewhere)
    with pytest.raises(InputError, match=r"row 1 of table particles: no file 'b\.mrcs'"):
        open_images(particles)
    assert len(open_images(particles, image_root=folder)) == len(PATHS)


def test_names_that_fall_together_under_an_image_root_are_refused(folder, tmp_path_factory):
    particles = table(
        tmp_path_factory.mktemp("elsewhere"),
        image_path=np.array(["x/a.mrcs", "y/a.mrcs"] * 3 + ["x/a.mrcs"], TEXT),
        image_index=np.zeros(len(PATHS), int),
    )
    with pytest.raises(InputError, match="both mean"):
        open_images(particles, image_root=folder)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((5, 6, 5), "5 × 6 pixels are not square"), ((5, 8, 8), "images of 8 pixels")],
)
def test_images_of_other_shapes_are_refused(shape, words, folder):
    write_stack(folder / "b.mrcs", np.ones(shape), pixel_size=1.5)
    with pytest.raises(InputError, match=words):
        open_images(table(folder))


def test_a_box_that_is_not_that_of_the_images_is_refused(folder):
    with pytest.raises(InputError, match="box size 64, but the images have 6"):
        open_images(table(folder, box=np.full(len(PATHS), 64)))


def test_another_pixel_size_in_the_header_is_refused_unless_the_table_is_trusted(folder):
    particles = table(folder, pixel_size=np.full(len(PATHS), 3.0))
    with pytest.raises(InputError, match=r"row 1 .*pixel size 3 Å, but .* states 1\.5"):
        open_images(particles)
    assert len(open_images(particles, trust_table_pixel_size=True)) == len(PATHS)
    open_images(table(folder, pixel_size=np.full(len(PATHS), 1.51)))


@pytest.mark.parametrize("stated", [0.0, 1.0])
def test_a_pixel_size_that_was_never_set_is_no_contradiction(stated, folder):
    for name, images in STACKS.items():
        write_stack(folder / name, images, pixel_size=stated)
    open_images(table(folder))


def test_a_name_without_a_number_needs_a_file_of_one_image(folder):
    particles = table(folder)
    names = np.array([f"{i + 1}@{p}" for i, p in zip(INDICES, PATHS, strict=True)], TEXT)
    names[1] = "a.mrcs"
    unclear = with_columns(particles, {"rlnImageName": names})
    with pytest.raises(InputError, match=r"row 2 .*'a\.mrcs' has no number .* holds 5 images"):
        open_images(unclear)
    names[1] = "one.mrcs"
    write_stack(folder / "one.mrcs", STACKS["b.mrcs"][:1], pixel_size=1.5)
    read = open_images(with_columns(particles, {"rlnImageName": names})).read(np.array([1]))
    np.testing.assert_array_equal(read[0], STACKS["b.mrcs"][0])


def test_an_index_beyond_its_stack_is_refused(folder):
    with pytest.raises(InputError, match=r"row 2 .*: image 6 of .*a\.mrcs, which holds 5"):
        open_images(table(folder, image_index=np.array([3, 5, 5, 4, 0, 1, 0])))
