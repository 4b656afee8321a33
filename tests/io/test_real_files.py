"""Real maps, particles, models and trajectories of many programs: read, or refused for a reason."""

import tarfile
import warnings

import gemmi
import mrcfile
import numpy as np
import pytest

from cryojax_graph.io import (
    InputError,
    describe,
    file_kind,
    find_residues,
    open_images,
    open_stack,
    read_atoms,
    read_cs,
    read_map,
    read_particles,
    read_sequences,
    read_star,
    read_trajectory,
    write_particles,
)
from cryojax_graph.io.mrc import read_density
from cryojax_graph.io.particle_table import canonical_fields
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.io.trajectories import rmsd_to_first

SKEWED = ("io_emd_3001", "io_emd_8216")
# Folder, position of voxel 0 in Å, mean of the map, mean density at the C-alpha atoms of the model.
REGISTER = {
    "emd_0093": ([77.72, 77.72, 92.46], 0.06338, 1.67),
    "emd_1044": ([0, 0, 0], 0.2312, 1.317),
    "emd_20026": ([117.0, 65.65, 101.4], 0.0003227, 0.0486),
    "emd_2513": ([114.84, 62.04, 52.8], 0.005396, 0.1689),
    "emd_4413": ([0, 0, 0], 0.01071, 0.1336),
    "emd_5168": ([-87.1, -87.1, -87.1], 0.4613, 12.42),
    "emd_5778": ([-49.84, -74.15, -71.72], 0.2122, 14.16),
    "emd_6374": ([-135.79, -97.15, 226.32], 0.1072, 12.16),
}


def trilinear(density, points):
    """Values between voxels at points (x, y, z) in Å; points outside are left out."""
    place = ((points - density.origin) / density.voxel_size)[:, ::-1]
    shape = np.array(density.values.shape)
    place = place[((place >= 0) & (place < shape - 1)).all(axis=1)]
    low = place.astype(int)
    total = np.zeros(len(place))
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(corner, place - low, 1 - place + low).prod(axis=1)
        total += weight * density.values[tuple((low + corner).T)]
    return total


@pytest.mark.parametrize("name", REGISTER)
def test_map_and_model_are_in_register(name, shared_data):
    folder = shared_data / "maps" / name
    density = read_map(next(folder.glob("map.*.gz")))
    atoms = read_atoms(folder / "model.pdb.gz")
    residues = find_residues(atoms)
    origin, mean, at_alpha = REGISTER[name]
    np.testing.assert_allclose(density.origin, origin, atol=0.01)
    assert density.values.mean() == pytest.approx(mean, rel=1e-3)
    alpha = residues.backbone[residues.backbone_mask[:, 1], 1]
    assert trilinear(density, alpha).mean() == pytest.approx(at_alpha, rel=2e-3)


def test_all_maps_read_or_are_refused_for_their_skewed_grid(shared_data):
    paths = [*shared_data.glob("maps/*/map*.gz"), *shared_data.glob("states/*/**/*.mrc.gz")]
    assert len(paths) > 50
    for path in paths:
        values, header, _ = read_density(path)
        if path.parent.name in SKEWED:
            with pytest.raises(InputError, match="skewed"):
                read_map(path)
        else:
            np.testing.assert_array_equal(read_map(path).values, values)
        assert header.axes in ((1, 2, 3), (3, 2, 1), (3, 1, 2))


@pytest.mark.parametrize("name", ["io_emd_3001", "io_emd_3197", "emd_3240"])
def test_values_agree_with_mrcfile(name, shared_data):
    path = next((shared_data / "maps" / name).glob("map.*.gz"))
    values, _, _ = read_density(path)
    with mrcfile.open(path) as mrc:
        stored = [int(mrc.header[axis]) for axis in ("maps", "mapr", "mapc")]
        expected = mrc.data.transpose([stored.index(axis) for axis in (3, 2, 1)])
    np.testing.assert_array_equal(values, expected)


TABLES = {
    # pieces stated, number, pixel size, box of the images or None where there are none
    "empiar_10076_7/empiar_10076_7.star": ("ctf pixel_size", 7, 1.31, 320),
    "empiar_10076_7/empiar_10076_7.cs": ("ctf pixel_size box", 7, 1.31, 320),
    "relion31_5/relion31.star": ("poses ctf pixel_size box half_sets", 5, 2.806, 256),
    "aspire_sample_17/sample_particles_relion31.star": (
        "poses ctf pixel_size half_sets", 17, 1.4, 200,
    ),
    "tilt_ribosome_219/sta_testing_bin8.star": ("poses ctf pixel_size half_sets", 219, 1.96, 64),
    "metadata_only/FinalRefinement-OriginalParticles-PfCRT.star": (
        "poses pixel_size half_sets", 5, 1.035, None,
    ),
    "metadata_only/relion31.6opticsgroups.star": (
        "poses ctf pixel_size box half_sets", 139, 1.25, None,
    ),
    "metadata_only/relion5.star": ("poses ctf pixel_size box half_sets", 17, 0.89, None),
    "metadata_only/sta_testing.star": ("poses ctf pixel_size half_sets", 219, 1.96, None),
    "metadata_only/cryosparc_J2_particles_exported.cs": ("ctf pixel_size box", 22, 1.345, None),
    "metadata_only/cryosparc_P12_J24_001_particles.cs": (
        "poses ctf pixel_size box half_sets", 2019, 2.95, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_real_programs(name, shared_data, tmp_path):
    pieces, count, pixel, box = TABLES[name]
    path = shared_data / "particles" / name
    table = read_particles(path)
    stated = [p for p in ("poses", "ctf", "pixel_size", "box", "half_sets") if table.has(p)]
    assert (" ".join(stated), len(table)) == (pieces, count)
    assert table.pixel_size[0] == pytest.approx(pixel, rel=1e-4)
    if box is None:
        with pytest.raises(InputError, match="image root"):
            open_images(table)
    else:
        images = open_images(table)
        assert images.box == box
        assert images.read(np.arange(3)).std() > 0
    again_path = tmp_path / f"again{path.suffix}"
    write_particles(table, again_path)
    again = read_particles(again_path)
    assert list(again.columns) == list(table.columns)
    for column, values in table.columns.items():
        np.testing.assert_array_equal(again.columns[column], values)
    if path.suffix == ".star":
        for block, other in read_star(path).items():
            for column, values in other.columns.items():
                assert read_star(again_path)[block].columns[column].tolist() == values.tolist()


@pytest.mark.parametrize(
    "name", [n for n, t in TABLES.items() if n.endswith("cs") or "box" in t[0]]
)
def test_tables_cross_to_the_other_program_and_back(name, shared_data, tmp_path):
    table = read_particles(shared_data / "particles" / name)
    there = tmp_path / ("a.star" if table.kind == "cs" else "a.cs")
    write_particles(table, there)
    crossed = read_particles(there)
    write_particles(crossed, tmp_path / f"b.{table.kind}")
    for other in (crossed, read_particles(tmp_path / f"b.{table.kind}")):
        for field, values in canonical_fields(table).items():
            others = getattr(other, field)
            if field == "image_path":
                assert others.tolist() == values.tolist()
            elif field == "euler_degrees":
                difference = rotation_from_euler(values) - rotation_from_euler(others)
                assert np.abs(difference).max() < 1e-6
            elif others is not None and field != "optics_group":
                np.testing.assert_allclose(others, values, rtol=1e-6, atol=1e-5, err_msg=field)


def test_star_and_cs_of_the_same_particles_agree(shared_data):
    folder = shared_data / "particles/empiar_10076_7"
    star = read_particles(folder / "empiar_10076_7.star")
    cs = read_particles(folder / "empiar_10076_7.cs")
    for field in canonical_fields(star).keys() - {"image_path", "optics_group", "b_factor"}:
        np.testing.assert_allclose(
            getattr(cs, field), getattr(star, field), rtol=1e-6, atol=1e-6, err_msg=field
        )
    # The ribosomes are dark, which only cryoSPARC's table says (blob/sign).
    dark, light = (open_images(table).read(np.arange(7)) for table in (star, cs))
    np.testing.assert_array_equal(light, -dark)
    radius = np.hypot(*np.meshgrid(*2 * [np.arange(dark.shape[1]) - dark.shape[1] // 2]))
    middle, rim = radius < 0.15 * dark.shape[1], radius > 0.42 * dark.shape[1]
    assert light[:, middle].mean() > light[:, rim].mean()


def test_poses_of_tilted_images_are_the_rotations_of_their_source(shared_data):
    folder = shared_data / "particles/tilt_ribosome_219"
    table = read_particles(folder / "sta_testing_bin8.star")
    with np.load(folder / "poses_ctf.npz") as truth:
        # A point p of the image frame lies at p R in the volume: R takes object to image.
        rotations = truth["rotations"]
    np.testing.assert_allclose(rotation_from_euler(table.euler_degrees), rotations, atol=1e-5)


def test_a_published_table_said_to_be_broken_is_whole_and_its_broken_copy_is_refused(
    shared_data, tmp_path
):
    path = shared_data / "particles/aspire_sample_17/sample_particles_relion31.star"
    table = read_star(path)["particles"]
    assert (len(table.columns), len(table)) == (26, 17)
    broken = tmp_path / "broken.star"
    lines = [
        " ".join(line.split()[:17]) if "@" in line else line
        for line in path.read_text().split("\n")
    ]
    broken.write_text("\n".join(lines))
    with pytest.raises(InputError, match="line 44: 17 values for the 26 columns"):
        read_particles(broken)


def test_stacks_agree_with_mrcfile(shared_data):
    paths = list(shared_data.glob("particles/*/*.mrcs"))
    assert len(paths) == 4
    for path in paths:
        stack = open_stack(path)
        with warnings.catch_warnings(action="ignore"), mrcfile.open(path, permissive=True) as mrc:
            data = np.array(mrc.data)
        np.testing.assert_array_equal(stack.read(np.arange(len(stack))), data)


def test_passthrough_of_a_real_table_on_itself(shared_data):
    path = shared_data / "particles/metadata_only/cryosparc_P12_J24_001_particles.cs"
    assert len(read_cs(path, passthrough=[path])["uid"]) == 2019


def test_models_agree_with_gemmi(shared_data):
    paths = [*shared_data.glob("maps/emd_[25]*/model*.gz"), *shared_data.glob("states/*/*5S*.gz")]
    assert len(paths) > 5
    for path in paths:
        atoms = read_atoms(path)
        structure = gemmi.read_structure(str(path))
        structure.remove_alternative_conformations()
        sites = [a for c in structure[0] for r in c for a in r]
        assert len(sites) == len(atoms), path
        ours = np.sort(atoms.positions.sum(axis=1))
        np.testing.assert_allclose(ours, np.sort([sum(a.pos) for a in sites]), atol=1e-3)
        assert sorted(atoms.element.tolist()) == sorted(a.element.name for a in sites)


TRAJECTORIES = {
    "adk_dims": (98, 214, 1, 0),
    "fab_elbow": (41, 418, 2, 1),
    "gs_b2ar": (56, 1043, 4, 1),
    "spike_trimer": (6, 3396, 3, 0),
    "psi_domain": (225, 56, 1, 0),
    "barstar": (10, 89, 1, 0),
}


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_trajectories_and_their_templates(name, shared_data):
    frames, count, chains, breaks = TRAJECTORIES[name]
    path = shared_data / "trajectories" / f"{name}.npz"
    trajectory = read_trajectory(path)
    residues = find_residues(trajectory.atoms)
    assert (len(trajectory), len(residues)) == (frames, count)
    assert residues.chain_index.max() + 1 == chains
    assert (~residues.joined_to_next).sum() == chains + breaks
    with np.load(path) as arrays:
        np.testing.assert_allclose(rmsd_to_first(trajectory), arrays["ca_rmsd_to_first"], atol=1e-5)
    template = find_residues(read_atoms(path.with_name(f"{name}_template.pdb")))
    assert template.letter.tolist() == residues.letter.tolist()
    np.testing.assert_allclose(template.backbone[:, 1], residues.backbone[:, 1], atol=2e-3)


def test_structures_of_a_large_corpus(shared_data, tmp_path):
    with tarfile.open(shared_data / "structures/corpus-0.tar") as archive:
        members = archive.getmembers()[::40]
        for member in members:
            path = tmp_path / "entry.pdb.gz"
            stream = archive.extractfile(member)
            path.write_bytes(stream.read())
            residues = find_residues(read_atoms(path))
            assert (residues.kind == "protein").all(), member.name
            assert residues.backbone_mask[:, :3].all(), member.name
    assert len(members) > 5


def test_sequences_with_and_without_nucleic_acids(shared_data):
    assert len(read_sequences(shared_data / "maps/emd_0093/sequence.fasta")) == 4
    mixed = shared_data / "maps/emd_44046/sequence.fasta"
    with pytest.raises(InputError, match="line 1: '9b0l_1' is a nucleic acid"):
        read_sequences(mixed)
    kinds = [record.kind for record in read_sequences(mixed, kind="any")]
    assert kinds == ["nucleotide", "protein", "nucleotide", "nucleotide", "nucleotide"]
    assert len(read_sequences(shared_data / "sequences/sequences_valid.fasta.gz")) == 2914


def test_everything_else_is_described_or_refused_with_a_reason(shared_data):
    for path in sorted(shared_data.glob("*/*/*.*")):
        if path.suffix in (".csv", ".md"):
            with pytest.raises(InputError):
                describe(path)
        elif path.name in ("poses.npz", "poses_ctf.npz"):
            assert file_kind(path) == "arrays"
        elif path.suffix in (".star", ".cs", ".mrcs", ".mrc", ".fasta"):
            assert describe(path).path == str(path)
