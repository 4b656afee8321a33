import gzip
from dataclasses import replace

import mrcfile
import numpy as np
import pytest

from cryojax_graph.io import (
    ArrayFacts,
    InputError,
    Map,
    MapFacts,
    ModelFacts,
    ParticleFacts,
    SequenceFacts,
    StackFacts,
    describe,
    file_kind,
    new_particles,
    read_particles,
    with_columns,
    write_map,
    write_npz,
    write_particles,
    write_stack,
)
from cryojax_graph.io.describe_images import describe_map
from cryojax_graph.io.describe_particles import ctf_state, envelope_warnings, unmodelled
from cryojax_graph.io.star import StarTable

TEXT = np.dtypes.StringDType()
ATOM = "ATOM      1  CA  ALA A{:4d}    {:8.3f}   0.000   0.000  1.00 20.00           C\n"


def warned(facts, *words):
    for word in words:
        assert any(word in warning for warning in facts.warnings), facts.warnings


@pytest.fixture
def files(tmp_path):
    """One good file of every kind."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 4, 4)).astype(np.float32)
    write_map(tmp_path / "map.mrc", Map(values, np.full(3, 1.3), np.zeros(3)))
    write_stack(tmp_path / "a.mrcs", rng.normal(size=(6, 8, 8)), pixel_size=1.3)
    n = 6
    table = new_particles(
        tmp_path / "p.star",
        {
            "image_path": np.array(["a.mrcs"] * n, TEXT),
            "image_index": np.arange(n),
            "euler_degrees": rng.uniform(0, 90, (n, 3)),
            "shift_angstrom": np.zeros((n, 2)),
            "defocus_u": np.full(n, 15000.0),
            "defocus_v": np.full(n, 14000.0),
            "defocus_angle_degrees": np.zeros(n),
            "voltage_kv": np.full(n, 300.0),
            "spherical_aberration_mm": np.full(n, 2.7),
            "amplitude_contrast": np.full(n, 0.1),
            "pixel_size": np.full(n, 1.3),
            "box": np.full(n, 8),
            "half_set": np.arange(n) % 2 + 1,
        },
    )
    write_particles(table, tmp_path / "p.star")
    write_particles(table, tmp_path / "p.cs")
    (tmp_path / "m.pdb").write_text(ATOM.format(1, 0.0) + ATOM.format(2, 3.8) + "END\n")
    (tmp_path / "s.fasta").write_text(">a\nMKLV\n")
    return tmp_path, table


KINDS = {
    "map.mrc": ("map", MapFacts),
    "a.mrcs": ("stack", StackFacts),
    "p.star": ("particles", ParticleFacts),
    "p.cs": ("particles", ParticleFacts),
    "m.pdb": ("model", ModelFacts),
    "s.fasta": ("sequences", SequenceFacts),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_are_told_by_contents(name, files):
    folder, _ = files
    kind, facts = KINDS[name]
    assert file_kind(folder / name) == kind
    assert isinstance(describe(folder / name), facts)
    hidden = folder / ("stack.mrcs" if kind == "stack" else "nameless")
    hidden.write_bytes((folder / name).read_bytes())
    assert file_kind(hidden) == kind
    packed = folder / f"{name}.gz"
    packed.write_bytes(gzip.compress((folder / name).read_bytes()))
    assert file_kind(packed) == kind


def test_an_archive_that_is_no_trajectory_is_described_as_arrays(tmp_path):
    path = tmp_path / "latents.npz"
    write_npz(path, {"latents": np.array([[1.0, np.nan]], np.float32), "name": np.array(["a"])})
    assert file_kind(path) == "arrays"
    facts = describe(path)
    assert isinstance(facts, ArrayFacts)
    assert facts.shapes == {"latents": (1, 2), "name": (1,)}
    assert facts.types == {"latents": "float32", "name": "text"}
    assert facts.warnings == ("array latents: 1 of 2 numbers are not finite",)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="not an undamaged"):
        describe(path)


@pytest.mark.parametrize("contents", [b"", b"hello\n", b"a,b\n1,2\n", b"\x89PNG\r\n\x1a\n" * 200])
def test_other_files_are_refused(contents, tmp_path):
    (tmp_path / "x").write_bytes(contents)
    with pytest.raises(InputError, match="of no kind that is read here"):
        describe(tmp_path / "x")


@pytest.mark.parametrize("name", ["map.mrc", "a.mrcs", "p.star", "p.cs"])
def test_good_files_give_no_warning(name, files):
    folder, _ = files
    assert describe(folder / name).warnings == ()


def test_facts_of_a_map(files):
    folder, _ = files
    facts = describe(folder / "map.mrc")
    assert (facts.shape, facts.axis_order, facts.stored_as) == ((4, 4, 4), "xyz", "float32")
    assert facts.voxel_size == pytest.approx((1.3, 1.3, 1.3))
    with mrcfile.open(folder / "map.mrc") as mrc:
        assert facts.mean == pytest.approx(mrc.data.mean(), abs=1e-6)
        assert facts.deviation == pytest.approx(mrc.data.std(), rel=1e-5)


def test_an_odd_map_is_warned_of_in_every_respect(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(np.zeros((3, 4, 4), np.float32))
        mrc.header.cella = (4 * 30.0, 4 * 30.0, 3 * 31.0)
        mrc.header.mapc, mrc.header.maps = 3, 1
        mrc.header.nxstart, mrc.header.origin.x = 5, 3.0
    facts = describe(tmp_path / "a.mrc")
    warned(facts, "not in the order x, y, z", "30 Å is implausible", "not cubic", "both origin")
    warned(facts, "every value is 0")
    assert facts.axis_order == "zyx"


def test_a_stack_saved_as_a_volume_is_suspected(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32))
    facts = describe(tmp_path / "a.mrc")
    assert isinstance(facts, StackFacts)
    warned(facts, "no pixel size", "its sections are taken as images")
    warned(describe_map(tmp_path / "a.mrc"), "no voxel size", "may be a stack of images")


@pytest.mark.parametrize(
    ("shape", "cell", "axes"),
    [
        ((8, 8, 8), (0, 0, 0), (1, 2, 3)),
        ((3, 8, 8), (10, 10, 4), (1, 2, 3)),
        ((3, 8, 6), (0, 0, 0), (1, 2, 3)),
        ((3, 8, 8), (0, 0, 0), (3, 2, 1)),
    ],
)
def test_other_volumes_are_maps(shape, cell, axes, tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(np.random.default_rng(0).normal(size=shape).astype(np.float32))
        mrc.header.cella = cell
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = axes
    assert file_kind(tmp_path / "a.mrc") == "map"


def test_a_byte_order_mark_changes_no_kind(files):
    folder, _ = files
    for name in ("p.star", "m.pdb", "s.fasta"):
        contents = (folder / name).read_bytes()
        (folder / name).write_bytes(b"\xef\xbb\xbf" + contents)
        assert file_kind(folder / name) == KINDS[name][0]
        assert isinstance(describe(folder / name), KINDS[name][1])


def test_an_odd_stack_is_warned_of(tmp_path):
    images = np.random.default_rng(0).normal(size=(5, 6, 8)).astype(np.float32)
    images[2] = 3.0
    with mrcfile.new(tmp_path / "a.mrcs") as mrc:
        mrc.set_data(images)
    facts = describe(tmp_path / "a.mrcs")
    warned(facts, "1 of 5 images looked at are blank", "not square", "calls it a volume")
    warned(facts, "no pixel size")
    assert facts.mean == pytest.approx(images.mean(), rel=1e-4)
    assert facts.deviation == pytest.approx(images.std(), rel=1e-4)


def test_facts_of_particles(files):
    folder, _ = files
    for name in ("p.star", "p.cs"):
        facts = describe(folder / name)
        assert facts.states == ("poses", "ctf", "pixel_size", "box", "half_sets")
        assert facts.count == 6
        assert facts.images_found
        assert facts.half_set_counts == (3, 3)
        assert facts.defocus == (15000, 15000)
        assert facts.pixel_size == pytest.approx((1.3, 1.3))


def test_a_pixel_size_of_1_in_the_header_beside_another_in_the_table_is_told(files):
    folder, _ = files
    stack = np.random.default_rng(0).normal(size=(6, 8, 8))
    assert not any("1 Å" in warning for warning in describe(folder / "p.star").warnings)
    write_stack(folder / "a.mrcs", stack, pixel_size=1.0)
    warned(describe(folder / "p.star"), "state a pixel size of 1 Å, the table 1.3 Å")


def test_odd_particles_are_warned_of(files):
    folder, table = files
    odd = with_columns(
        table,
        {
            "image_index": np.array([0, 0, 1, 2, 3, 9]),
            "pixel_size": np.where(np.arange(6) < 2, 0.01, 0.01),
            "defocus_u": np.full(6, 1.5),
            "shift_angstrom": np.full((6, 2), 50.0),
            "rlnBeamTiltX": np.full(6, 0.5),
        },
    )
    write_particles(odd, folder / "odd.star")
    facts = describe(folder / "odd.star")
    warned(facts, "1 rows repeat an image", "0.01 Å is implausible", "defocus_u of 6 particles")
    warned(facts, "more than a quarter box", "not modelled: beam tilt", "which holds 6")
    assert not facts.images_found


@pytest.mark.parametrize(
    ("columns", "effect"),
    [
        ({"rlnMagMat00": "1.0", "rlnMagMat01": "0", "rlnMagMat11": "1.000000"}, None),
        ({"rlnMagMat00": "1.01", "rlnMagMat01": "0", "rlnMagMat11": "1"}, "magnification"),
        ({"rlnMagMat01": "0.002"}, "magnification"),
        ({"rlnEvenZernike": "[0,0,0,0,0,0,0,0,0]"}, None),
        ({"rlnOddZernike": "[]"}, None),
        ({"rlnEvenZernike": "[0,0,0,0.5,0,0,0,0,0]"}, "higher aberrations"),
        ({"cs/ctf/tilt_A": "[0.0,0.0]", "cs/ctf/scale": "1.0"}, None),
        ({"cs/ctf/tilt_A": "[0.0,0.1]"}, "beam tilt (ctf/tilt_A)"),
        ({"cs/ctf/scale": "0.9"}, "scale of the CTF"),
    ],
)
def test_what_no_job_models_is_told_wherever_it_is_written(files, columns, effect):
    _, table = files
    count = len(table)
    odd = with_columns(table, {name: np.array([v] * count, TEXT) for name, v in columns.items()})
    if effect is None:
        assert unmodelled(odd) == []
    else:
        assert effect in unmodelled(odd)[0]


def test_an_envelope_that_amplifies_is_told_with_how_much(files):
    folder, table = files
    assert envelope_warnings(table) == []
    assert envelope_warnings(with_columns(table, {"b_factor": np.full(6, 60.0)})) == []
    b_factor = np.array([0.0, 30.0, -40.0, 0.0, -80.0, 5.0])
    odd = with_columns(table, {"b_factor": b_factor})
    for ending, column in (("star", "rlnCtfBfactor"), ("cs", "ctf/bfactor")):
        write_particles(odd, folder / f"odd.{ending}")
        (told,) = envelope_warnings(read_particles(folder / f"odd.{ending}"))
        assert (
            f"odd.{ending}: the B-factor of the CTF is negative in 2 of 6 rows, down to -80" in told
        )
        assert "row 3" in told
        assert column in told
        # exp(80 / 4 / (2 · 1.3)²).
        assert "up to 19 times at Nyquist" in told
        warned(describe(folder / f"odd.{ending}"), told)
    bare = replace(odd, pixel_size=None)
    assert "Nyquist" not in envelope_warnings(bare)[0]
    far = with_columns(table, {"b_factor": np.full(6, -1e12)})
    assert "1e+304 times" in envelope_warnings(far)[0]


def test_optics_groups_that_no_particle_is_in_say_nothing(files):
    _, table = files
    optics = {
        name: np.array([*values.tolist()] * 2, TEXT)
        for name, values in table.optics.columns.items()
    }
    optics["rlnOpticsGroup"] = np.array(["1", "2"], TEXT)
    optics["rlnCtfDataAreCtfPremultiplied"] = np.array(["0", "1"], TEXT)
    optics["rlnBeamTiltX"] = np.array(["0.0", "0.3"], TEXT)
    both = replace(table, optics=StarTable(optics))
    assert ctf_state(both) == "as recorded"
    assert unmodelled(both) == []
    second = with_columns(both, {"rlnOpticsGroup": np.full(len(table), 2)})
    assert ctf_state(second) == "multiplied"
    assert "beam tilt" in unmodelled(second)[0]
    write_particles(second, files[0] / "second.cs")
    assert ctf_state(read_particles(files[0] / "second.cs")) == "multiplied"


def test_a_bare_table_is_told_what_it_lacks(tmp_path):
    path = tmp_path / "a.star"
    path.write_text("data_\nloop_\n_rlnImageName\n_rlnOpticsGroup\n1@s.mrcs 1\n2@s.mrcs 2\n")
    facts = describe(path)
    warned(facts, "no poses", "no complete CTF", "no pixel size", "no half-sets")
    warned(facts, "no table data_optics", "2 optics groups", "no file 's.mrcs'")
    assert facts.states == ()


def test_a_table_is_told_the_columns_that_it_lacks_of_what_it_has(tmp_path):
    path = tmp_path / "a.star"
    labels = ("ImageName", "DefocusU", "DefocusV", "DefocusAngle", "Voltage", "AngleRot")
    head = "".join(f"_rln{label}\n" for label in labels)
    path.write_text(f"data_\nloop_\n{head}1@s.mrcs 10000 9000 0 300 10\n")
    warned(describe(path), "complete CTF; it lacks rlnSphericalAberration, rlnAmplitudeContrast")
    warned(describe(path), "to be searched; it lacks rlnAngleTilt, rlnAnglePsi")
    assert "it states no pixel size" in describe(path).warnings


def test_bad_images_of_a_table_are_told(files):
    folder, _ = files
    images = np.full((6, 8, 8), 0.1, np.float32)
    write_stack(folder / "a.mrcs", images, pixel_size=1.3)
    facts = describe(folder / "p.star")
    warned(facts, "images: row 1 of table particles: 6 of 6 images looked at are blank")
    raw = bytearray((folder / "a.mrcs").read_bytes())
    raw[-4:] = b"\xff\xff\xff\x7f"
    (folder / "a.mrcs").write_bytes(raw)
    warned(describe(folder / "p.star"), "1 pixels in 1 of 1 images are NaN")
    warned(describe(folder / "a.mrcs"), "1 pixels in 1 of 1 images are NaN")


def test_facts_of_a_model_and_its_oddities(tmp_path):
    path = tmp_path / "m.pdb"
    lines = [ATOM.format(1, 0.0), ATOM.format(2, 3.8), ATOM.format(3, 20.0)]
    lines.append(ATOM.format(9, 40.0).replace("ATOM  ", "HETATM").replace("ALA", "HOH"))
    lines.append(ATOM.format(10, 50.0).replace("CA  ALA", "P     G").replace("1.00", "0.50"))
    path.write_text("".join(lines))
    facts = describe(path)
    assert facts.chains == {"A": "AAAG"}
    assert facts.residues == {"nucleotide": 1, "protein": 3, "water": 1}
    assert facts.chain_breaks == 1
    warned(facts, "3 amino acids lack N, CA or C", "1 nucleotides", "1 ligands, ions or water")
    warned(facts, "every B-factor is 20", "1 atoms of partial", "breaks inside protein chains: 1")
    path.write_text(f"MODEL 1\n{lines[0]}ENDMDL\nMODEL 2\n{lines[0]}ENDMDL\n")
    warned(describe(path), "2 models")


def test_oddities_of_sequences(tmp_path):
    path = tmp_path / "s.fasta"
    path.write_text(">a\nMKXv\n>b\nMKXV\n>c\nGATTACA\n")
    facts = describe(path)
    assert (facts.count, facts.proteins, facts.shortest, facts.longest) == (3, 2, 4, 7)
    warned(facts, "1 nucleic acids", "lower-case letters in 1", "2 unknown", "sequences are equal")
