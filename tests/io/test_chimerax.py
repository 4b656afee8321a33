import numpy as np
import pytest

from cryojax_graph.io import (
    InputError,
    write_bild,
    write_cxc,
    write_defattr,
    write_views_bild,
)


def test_a_script_opens_models_and_maps_with_their_levels(tmp_path):
    path = tmp_path / "a.cxc"
    write_cxc(path, models=["motion.cif"], maps={"map 1.mrc": 0.25}, commands=["color bychain"])
    assert path.read_text().splitlines() == [
        'open "motion.cif"',
        'open "map 1.mrc"',
        "volume #2 level 0.25 style surface transparency 0.5",
        "color bychain",
        "view",
    ]


@pytest.mark.parametrize("name", ['a"; exit; "', "a\nexit"])
def test_a_file_name_cannot_become_a_command(name, tmp_path):
    with pytest.raises(InputError, match="cannot stand in a ChimeraX script"):
        write_cxc(tmp_path / "a.cxc", models=[name])


def test_a_command_of_two_lines_is_refused(tmp_path):
    with pytest.raises(InputError, match="not one line"):
        write_cxc(tmp_path / "a.cxc", commands=["view\nexit"])


def test_attributes_are_tab_separated_and_finite(tmp_path):
    path = tmp_path / "a.defattr"
    write_defattr(path, "uncertainty", {"/A:25": 1.5, "/A:26": np.nan, "/B:-3": 1e-9})
    assert path.read_text().splitlines() == [
        "attribute: uncertainty",
        "match mode: any",
        "recipient: residues",
        "\t/A:25\t1.5",
        "\t/B:-3\t1e-09",
    ]
    for name in ("two words", "1st", "_hidden", "größe"):
        with pytest.raises(InputError, match="no attribute name"):
            write_defattr(path, name, {})


def test_a_graph_is_spheres_and_cylinders_coloured_by_kind(tmp_path):
    path = tmp_path / "a.bild"
    nodes = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0.0]])
    edges = np.array([[0, 1], [1, 2], [2, 0]])
    write_bild(
        path,
        nodes,
        edges,
        edge_kinds=["peptide", "peptide", "contact"],
        edge_colors={"contact": (1.0, 0.0, 0.0)},
    )
    lines = path.read_text().splitlines()
    assert lines[:2] == [".color 0.2 0.4 0.8", ".sphere 0.000 0.000 0.000 0.5"]
    # The edge between two nodes in one place has no length and is left out.
    assert lines[4:] == [
        ".color 0.5 0.5 0.5",
        ".cylinder 0.000 0.000 0.000 1.000 0.000 0.000 0.15",
        ".color 1 0 0",
        ".cylinder 1.000 0.000 0.000 0.000 0.000 0.000 0.15",
    ]


def test_a_graph_without_edges(tmp_path):
    write_bild(tmp_path / "a.bild", np.zeros((1, 3)), np.zeros((0, 2), int))
    assert (tmp_path / "a.bild").read_text().count("\n") == 2


def test_views_are_rods_around_the_particle_as_long_as_they_are_many(tmp_path):
    path = tmp_path / "views.bild"
    directions = np.array([[0, 0, 1.0], [1.0, 0, 0], [0, -1.0, 0]])
    centre = np.full(3, 50.0)
    write_views_bild(path, directions, np.array([30, 10, 0]), centre=centre, radius=30.0)
    lines = path.read_text().splitlines()
    assert lines[0::2] == [".color 1 0 0", ".color 0.333333 0 0.666667"]
    rods = np.array([line.split()[1:] for line in lines[1::2]], float)
    np.testing.assert_allclose(rods[0, :6], [50, 50, 80, 50, 50, 90])
    np.testing.assert_allclose(rods[1, :6], [80, 50, 50, 83.333, 50, 50], atol=1e-3)
    write_views_bild(path, directions, np.zeros(3, int), centre=centre, radius=30.0)
    assert path.read_text().strip() == ""
