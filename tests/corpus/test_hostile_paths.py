"""Names inside tables that lead where they should not, and inputs that are no files."""

import os
import socket

import pytest

from cryojax_graph.io import (
    InputError,
    allowed_roots,
    describe,
    read_atoms,
    read_map,
    read_npz,
    read_particles,
    read_sequences,
    read_star,
    resolve,
)


@pytest.fixture
def project(tmp_path):
    """A RELION project with a table in a job folder, images, and a secret outside."""
    root = tmp_path / "project"
    for folder in ("Refine3D/job012", "Extract/job003"):
        (root / folder).mkdir(parents=True)
    (root / "default_pipeline.star").write_text("data_\n")
    (root / "Extract/job003/a.mrcs").write_text("images")
    (root / "Refine3D/job012/own.mrcs").write_text("images")
    (tmp_path / "secret.mrcs").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/b.mrcs").write_text("images")
    return root


def table(project):
    return project / "Refine3D/job012/particles.star"


@pytest.mark.parametrize(
    "name",
    ["Extract/job003/a.mrcs", "Extract/../Extract/job003/./a.mrcs", "../../Extract/job003/a.mrcs"],
)
def test_names_are_found_from_the_project_folder_and_the_tables_own(name, project):
    found = resolve(name, allowed_roots(table(project)), place="row 1")
    assert found == (project / "Extract/job003/a.mrcs").resolve()
    own = resolve("own.mrcs", allowed_roots(table(project)), place="row 1")
    assert own == (project / "Refine3D/job012/own.mrcs").resolve()


def test_an_absolute_name_inside_the_project_is_accepted(project):
    name = str(project / "Extract/job003/a.mrcs")
    assert resolve(name, allowed_roots(table(project)), place="row 1").samefile(name)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("../../../secret.mrcs", "outside"),
        ("Extract/../../secret.mrcs", "outside"),
        ("/etc/passwd", "outside"),
        ("/dev/zero", "outside"),
        ("/proc/self/mem", "outside"),
        ("missing.mrcs", "no file"),
        ("Extract/job003", "a folder"),
        ("", "not a file name"),
        ("   ", "not a file name"),
        ("a\nb.mrcs", "not a file name"),
        ("a\0b.mrcs", "not a file name"),
        ("http://example.org/a.mrcs", "network address"),
        ("file:/etc/passwd", "network address"),
        ("x" * 300, "too long"),
        ("a/" * 3000 + "b", "too long"),
        ("~/secret.mrcs", "no file"),
        ("$HOME/secret.mrcs", "no file"),
    ],
)
def test_other_names_are_refused(name, word, project):
    with pytest.raises(InputError) as caught:
        resolve(name, allowed_roots(table(project)), place="row 7")
    assert word in caught.value.cause
    assert "\n" not in str(caught.value)


def test_a_link_that_leads_out_is_refused_until_its_folder_is_named(project, tmp_path):
    link = project / "Extract/job003/link.mrcs"
    link.symlink_to(tmp_path / "elsewhere/b.mrcs")
    with pytest.raises(InputError, match="outside"):
        resolve("Extract/job003/link.mrcs", allowed_roots(table(project)), place="row 1")
    roots = allowed_roots(table(project), tmp_path / "elsewhere")
    found = resolve("Extract/job003/link.mrcs", roots, place="row 1")
    assert found == (tmp_path / "elsewhere/b.mrcs").resolve()


def test_a_folder_link_that_leads_out_is_refused(project, tmp_path):
    (project / "images").symlink_to(tmp_path)
    with pytest.raises(InputError, match="outside"):
        resolve("images/secret.mrcs", allowed_roots(table(project)), place="row 1")


def test_a_loop_of_links_is_no_file(project):
    (project / "loop.mrcs").symlink_to(project / "loop.mrcs")
    with pytest.raises(InputError, match="no file"):
        resolve("loop.mrcs", allowed_roots(table(project)), place="row 1")


def test_a_moved_project_is_found_by_the_ends_of_its_names(project, tmp_path):
    roots = allowed_roots(table(project), tmp_path / "elsewhere")
    found = resolve("../tilts/old/place/b.mrcs", roots, place="row 1")
    assert found == (tmp_path / "elsewhere/b.mrcs").resolve()


@pytest.mark.parametrize("name", ["../../../../tilts/x/a.mrcs", "Extract/../../tilts/x/a.mrcs"])
def test_a_name_that_climbs_says_what_the_image_root_must_hold(name, project, tmp_path):
    with pytest.raises(InputError) as caught:
        resolve(name, allowed_roots(table(project)), place="row 1")
    assert caught.value.remedy == "name the folder that holds 'tilts/x/a.mrcs' as the image root"
    (tmp_path / "archive/tilts/x").mkdir(parents=True)
    (tmp_path / "archive/tilts/x/a.mrcs").write_text("images")
    roots = allowed_roots(table(project), tmp_path / "archive")
    found = resolve(name, roots, place="row 1")
    assert found == (tmp_path / "archive/tilts/x/a.mrcs").resolve()


def test_an_image_root_must_be_a_folder(project):
    with pytest.raises(InputError, match="not a folder"):
        allowed_roots(table(project), project / "default_pipeline.star")


READERS = [read_map, read_star, read_particles, read_atoms, read_sequences, read_npz, describe]


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_regular_file_is_refused_at_once(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        for name in ("pipe", "s", "missing", ".", "name\0zero"):
            with pytest.raises(InputError) as caught:
                read(tmp_path / name)
            assert caught.value.place == "opening it"
    with pytest.raises(InputError, match="device"):
        read("/dev/zero")
