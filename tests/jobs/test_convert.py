"""``convert`` on the command line: tables, selections, models, maps, and what it refuses."""

import shutil

import mrcfile
import numpy as np
import pytest

from cryojax_graph.cli import main
from cryojax_graph.io import (
    InputError,
    read_atoms,
    read_cs,
    read_map,
    read_particles,
    read_star,
    read_trajectory,
    subset,
    write_cs,
    write_npz,
    write_particles,
    write_stack,
)
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.mrc import Map, write_map
from cryojax_graph.jobs.check.findings import examine
from cryojax_graph.jobs.convert import ConvertConfig, convert, plan_convert
from cryojax_graph.jobs.convert.maps import flip_hand
from cryojax_graph.jobs.convert.selection import select_rows
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.passthrough import read_with_passthrough

N = 8
HEAD = (
    "data_particles\n\nloop_\n_rlnImageName\n_rlnDetectorPixelSize\n_rlnMagnification\n_rlnNote\n"
)


@pytest.fixture
def star(tmp_path):
    """A table of RELION 3.0 that does not state its box; two stacks."""
    rows = [f"{i // 2 + 1}@stacks/{'ab'[i % 2]}.mrcs 5 38168 note{i}" for i in range(N)]
    (tmp_path / "p.star").write_text(HEAD + "\n".join(rows) + "\n")
    return tmp_path / "p.star"


@pytest.fixture
def cs(tmp_path):
    columns = {
        "uid": np.arange(N, dtype=np.uint64) + 2**63,
        "blob/path": np.array([b"stacks/a.mrc"] * N),
        "blob/idx": np.arange(N, dtype=np.uint32),
        "blob/shape": np.full((N, 2), 64, np.uint32),
        "blob/psize_A": np.full(N, 1.5, np.float32),
        "blob/sign": np.full(N, -1, np.float32),
    }
    write_cs(tmp_path / "p.cs", columns)
    return tmp_path / "p.cs"


def run(*words):
    return main(["convert", *map(str, words)])


def notes_of(table):
    return table.columns["rlnNote"].tolist()


def test_the_command_converts_there_and_back(star, tmp_path, capsys):
    assert run(star, "-o", tmp_path / "q.cs", "--box", 64) == 0
    told = capsys.readouterr().out
    assert "8 particles of RELION, 4 columns" in told
    assert "Done:" in told
    assert read_cs(tmp_path / "q.cs")["blob/shape"][0].tolist() == [64, 64]
    assert run(tmp_path / "q.cs", "-o", tmp_path / "r.star") == 0
    back = read_star(tmp_path / "r.star")["particles"].columns
    for label, values in read_star(star)["particles"].columns.items():
        assert back[label].tolist() == values.tolist()


def test_the_box_is_taken_from_the_images_where_they_are(star, tmp_path, capsys):
    assert run(star, "-o", tmp_path / "q.cs") == 2
    assert "give --box, or --image-root" in capsys.readouterr().err
    assert not (tmp_path / "q.cs").exists()
    (tmp_path / "project" / "stacks").mkdir(parents=True)
    for name in "ab":
        images = np.zeros((4, 24, 24), np.float32)
        write_stack(tmp_path / f"project/stacks/{name}.mrcs", images, pixel_size=1.31)
    assert run(star, "-o", tmp_path / "q.cs", "--image-root", tmp_path / "project") == 0
    assert read_particles(tmp_path / "q.cs").box.tolist() == [24] * N


def test_cryosparcs_stacks_and_contrast_are_told_to_the_user_of_relion(cs, tmp_path, capsys):
    assert run(cs, "-o", tmp_path / "q.star") == 0
    told = capsys.readouterr().out
    assert "8 image names end in .mrc:mrcs" in told
    assert "dark on light (blob/sign -1)" in told
    assert read_star(tmp_path / "q.star")["particles"].columns["rlnImageName"][0].endswith(":mrcs")
    assert run(cs, "-o", tmp_path / "plain.star", "--plain-stack-names") == 0
    names = read_star(tmp_path / "plain.star")["particles"].columns["rlnImageName"]
    assert names[0] == "000001@stacks/a.mrc"
    assert "dark on light" in capsys.readouterr().out


def test_what_is_lost_or_not_translated_is_one_note_each(star, tmp_path, capsys):
    text = star.read_text().replace("_rlnNote\n", "_rlnBeamTiltX\n").replace("note", "0.")
    star.write_text(text + "\ndata_job\n_rlnJobType Class3D\n\ndata_more\n_rlnX 1\n")
    assert run(star, "-o", tmp_path / "q.cs", "--box", "64") == 0
    told = capsys.readouterr().out.split("\n")
    assert sum("not carried" in line for line in told) == 1
    assert any("the table data_job, the table data_more" in line for line in told)
    assert any("not translated: beam tilt (rlnBeamTiltX)" in line for line in told)
    assert run(star, "-o", tmp_path / "q.npz") == 0
    assert "not carried" not in capsys.readouterr().out


def test_passthrough_files_are_found_or_named(cs, tmp_path):
    columns = read_cs(cs)
    more = {"uid": columns["uid"][::-1].copy(), "ctf/df1_A": np.arange(N, dtype=np.float32)}
    (tmp_path / "job").mkdir()
    shutil.copy(cs, tmp_path / "job")
    write_cs(tmp_path / "job" / "J1_passthrough_particles.cs", more)
    assert run(tmp_path / "job" / "p.cs", "-o", tmp_path / "q.cs") == 0
    assert read_cs(tmp_path / "q.cs")["ctf/df1_A"].tolist() == list(range(N))[::-1]
    named = tmp_path / "job" / "J1_passthrough_particles.cs"
    assert run(cs, "-o", tmp_path / "r.cs", "--passthrough", named) == 0
    assert read_cs(tmp_path / "r.cs")["ctf/df1_A"].tolist() == list(range(N))[::-1]


@pytest.fixture
def nameless(cs, tmp_path):
    """Outputs of a job that touches no images: only its passthrough file names them."""
    columns = read_cs(cs)
    folder = tmp_path / "J45"
    folder.mkdir()
    poses = {
        "uid": columns["uid"],
        "alignments3D/pose": np.full((N, 3), 0.1, np.float32),
        "alignments3D/shift": np.zeros((N, 2), np.float32),
        "alignments3D/psize_A": np.full(N, 1.5, np.float32),
    }
    write_cs(folder / "J45_particles.cs", poses)
    write_cs(folder / "J45_passthrough_particles.cs", {k: v[::-1] for k, v in columns.items()})
    return folder / "J45_particles.cs"


def test_names_of_images_may_stand_in_the_passthrough_file(nameless, tmp_path, capsys):
    assert run(nameless, "-o", tmp_path / "q.star") == 0
    assert "with the columns of J45_passthrough_particles.cs" in capsys.readouterr().out
    made, table = read_particles(tmp_path / "q.star"), read_with_passthrough(nameless, "poses")
    for read in (made, table):
        assert read.image_path.tolist() == ["stacks/a.mrc"] * N
        assert read.image_index.tolist() == list(range(N))
        assert read.has("poses")
    found = examine(str(nameless))
    assert found.kind == "particles (cryoSPARC)"
    assert "read with the columns of J45_passthrough_particles.cs beside it" in found.notes
    # Such a table selects, too.
    assert run(nameless, "-o", tmp_path / "r.star", "--select", nameless) == 0


def test_a_table_without_names_of_images_anywhere_is_refused_with_the_remedy(nameless, tmp_path):
    beside = nameless.with_name("J45_passthrough_particles.cs")
    write_cs(beside, {name: values[: N // 2] for name, values in read_cs(beside).items()})
    with pytest.raises(InputError, match="4 of 8 particles"):
        read_with_passthrough(nameless, "poses")
    beside.unlink()
    with pytest.raises(InputError, match="put its passthrough file beside it"):
        read_with_passthrough(nameless, "poses")
    assert run(nameless, "-o", tmp_path / "q.star") == 2


def test_files_of_other_jobs_beside_a_complete_table_are_noted_and_left(cs, tmp_path, capsys):
    columns = read_cs(cs)
    other = {"uid": columns["uid"] - np.uint64(N), "ctf/df1_A": np.ones(N, np.float32)}
    write_cs(tmp_path / "J9_passthrough_particles.cs", other)
    assert run(cs, "-o", tmp_path / "q.cs") == 0
    told = capsys.readouterr().out
    assert "do not list all of its particles: J9_passthrough_particles.cs" in told
    assert list(read_cs(tmp_path / "q.cs")) == list(columns)
    assert examine(str(cs)).kind == "particles (cryoSPARC)"


SELECTIONS = {
    "index": ("index\n5\n0\n2\n", [0, 2, 5]),
    "row": ("row\n6\n1\n3\n", [0, 2, 5]),
    "image": ("image\n000003@stacks/b.mrcs\n000001@stacks/a.mrcs\n", [0, 5]),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_list_selects_rows_and_every_column_stays(name, star, tmp_path):
    text, rows = SELECTIONS[name]
    (tmp_path / "s.csv").write_text(text)
    assert run(star, "-o", tmp_path / "q.star", "--select", tmp_path / "s.csv") == 0
    before, after = read_particles(star), read_particles(tmp_path / "q.star")
    assert list(after.columns) == list(before.columns)
    assert notes_of(after) == [f"note{row}" for row in rows]


@pytest.mark.parametrize("ending", ["star", "npz"])
def test_a_table_selects_its_own_images_in_the_order_of_the_whole(ending, star, tmp_path):
    write_particles(subset(read_particles(star), np.array([5, 1, 4])), tmp_path / f"s.{ending}")
    assert run(star, "-o", tmp_path / "q.star", "--select", tmp_path / f"s.{ending}") == 0
    assert notes_of(read_particles(tmp_path / "q.star")) == ["note1", "note4", "note5"]


def test_images_are_found_where_folders_differ_and_all_rows_of_an_image_are_kept(star, tmp_path):
    twice = subset(read_particles(star), np.array([0, 3, 3, 6]))
    write_particles(twice, tmp_path / "twice.star")
    moved = star.read_text().replace("stacks/", "elsewhere/")
    chosen = [line for line in moved.split("\n") if line[-5:] not in ("note0", "note5", "note7")]
    (tmp_path / "s.star").write_text("\n".join(chosen))
    with pytest.raises(InputError, match=r"3 of 5 are not in .*p.star"):
        select_rows(twice, tmp_path / "s.star")
    (tmp_path / "t.star").write_text(HEAD + "2@elsewhere/b.mrcs 5 38168 n\n")
    selection = select_rows(twice, tmp_path / "t.star")
    assert selection.rows.tolist() == [1, 2]
    assert selection.by == "image names without their folders"


def test_identifiers_select_from_cs_and_from_a_star_file_that_carries_them(cs, tmp_path):
    part = subset(read_particles(cs), np.array([6, 2]))
    write_particles(part, tmp_path / "s.cs")
    assert run(cs, "-o", tmp_path / "whole.star") == 0
    (tmp_path / "s.csv").write_text(f"uid\n{2**63 + 6}\n{2**63 + 2}\n")
    write_npz(tmp_path / "s.npz", {"uid": part.columns["uid"]})
    for table in (cs, tmp_path / "whole.star"):
        for selection in ("s.cs", "s.csv", "s.npz"):
            chosen = select_rows(read_particles(table), tmp_path / selection)
            assert chosen == (pytest.approx([2, 6]), "cryoSPARC's identifiers")


@pytest.mark.parametrize(
    "arrays",
    [{"index": np.array([4, 1])}, {"mask": np.isin(np.arange(N), [1, 4])}],
    ids=["index", "mask"],
)
def test_arrays_select_rows(arrays, star, tmp_path):
    write_npz(tmp_path / "s.npz", arrays)
    assert select_rows(read_particles(star), tmp_path / "s.npz").rows.tolist() == [1, 4]


BAD_SELECTIONS = {
    "no header": ("s.csv", "0\n1\n", "line 1: '0' is not what a selection holds"),
    "two columns": ("s.csv", "index,uid\n1,2\n", "line 1"),
    "no number": ("s.csv", "index\n1\none\n", "line 3: 'one' is not a whole number"),
    "negative": ("s.csv", "index\n-1\n", "line 2: '-1'"),
    "beyond": ("s.csv", "index\n8\n", "row 8 of a table of 8, counted from 0"),
    "row zero": ("s.csv", "row\n0\n", "row 0 of a table of 8, counted from 1"),
    "twice": ("s.csv", "index\n3\n3\n", "row 3 is named twice"),
    "empty": ("s.csv", "index\n", "selects no particle"),
    "no such image": ("s.csv", "image\n000009@stacks/a.mrcs\n", "1 of 1 are not in"),
    "no identifiers": ("s.csv", "uid\n5\n", "has no identifiers of cryoSPARC"),
    "other images": ("s.star", HEAD + "1@c.mrcs 5 38168 n\n", "none of its images is in"),
    "some missing": (
        "s.star",
        HEAD + "1@stacks/a.mrcs 5 38168 n\n9@stacks/a.mrcs 5 38168 n\n",
        "1 of 2 are not in .*first '000009@stacks/a.mrcs'",
    ),
    "two arrays": ("s.npz", {"index": np.arange(2), "uid": np.arange(2)}, "give one vector"),
    "floats": ("s.npz", {"index": np.arange(2.0)}, "give whole numbers from 0"),
    "short mask": ("s.npz", {"mask": np.ones(3, bool)}, "bool of 3 entries for 8 particles"),
    "sequences": ("s.fasta", ">a\nMKV\n", "it is no selection of particles"),
}


@pytest.mark.parametrize("how", BAD_SELECTIONS)
def test_a_wrong_selection_is_refused_and_nothing_is_written(how, star, tmp_path):
    name, contents, words = BAD_SELECTIONS[how]
    if isinstance(contents, str):
        (tmp_path / name).write_text(contents)
    else:
        write_npz(tmp_path / name, contents)
    config = ConvertConfig(str(star), select=str(tmp_path / name))
    with pytest.raises(InputError, match=words):
        convert(config, options=JobOptions(output=str(tmp_path / "q.star")))
    assert not (tmp_path / "q.star").exists()


def density():
    values = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    return Map(values, np.full(3, 1.5), np.array([1.0, -2.0, 30.0]))


@pytest.mark.parametrize(
    ("kind", "output", "options", "words"),
    [
        ("star", "q.txt", [], "'.txt' names no form of particles; use .star, .cs, .npz"),
        ("star", "q.mrc", [], "names no form of particles"),
        ("star", "q.cs", ["--voxel-size", "2"], "--voxel-size: it is for map files"),
        ("star", "q.cs", ["--flip-hand"], "--flip-hand: it is for map files"),
        ("star", "q.cs", ["--model", "1"], "--model: it is for model files"),
        ("star", "q.cs", ["--box", "0"], "--box: 0 is not possible"),
        ("star", "q.cs", ["--box", "64", "--pixel-size", "2"], "--pixel-size: the table states"),
        ("star", "q.cs", ["--box", "64", "--plain-stack-names"], "only STAR files mark stacks"),
        ("star", "q.cs", ["--box", "64", "--passthrough", "x.cs"], "belong to .cs tables"),
        ("star", "p.star", ["--overwrite"], "it is the input itself"),
        ("star", "none/q.cs", ["--box", "64"], "there is no folder"),
        ("cs", "q.star", ["--box", "64"], "--box: the table states it, 64"),
        ("map", "q.star", [], "names no form of maps"),
        ("map", "q.mrc", ["--select", "a.csv"], "--select: it is for particles files"),
        ("map", "q.mrc", ["--voxel-size", "-1"], "--voxel-size: -1.0 is not possible"),
        ("map", "q.mrc", ["--origin", "0", "nan", "0"], "--origin: 0 nan 0 is no place"),
        ("map", "q.mrc", ["--origin", "0", "0", "inf"], "--origin: 0 0 inf is no place"),
        ("model", "q.npz", [], "names no form of models; use .cif"),
        ("model", "q.cif", ["--half-precision"], "--half-precision: it is for map files"),
        ("model", "q.cif", ["--model", "9"], "choose one of 1 to 1"),
        (
            "sequences",
            "q.fasta",
            [],
            "it holds sequences, and only particle tables, models and maps",
        ),
    ],
)
def test_wrong_combinations_are_refused_with_one_error(
    kind, output, options, words, star, cs, tmp_path, peptide, capsys
):
    write_map(tmp_path / "m.mrc", density())
    write_atoms(tmp_path / "m.pdb", peptide)
    (tmp_path / "s.fasta").write_text(">a\nMKV\n")
    files = {"star": star, "cs": cs, "map": "m.mrc", "model": "m.pdb", "sequences": "s.fasta"}
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(tmp_path / files[kind], "-o", tmp_path / output, *options) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("Wrong input") == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_output_is_replaced_only_when_told(star, tmp_path, capsys):
    (tmp_path / "q.star").write_text("mine")
    assert run(star, "-o", tmp_path / "q.star") == 2
    assert "it is there already" in capsys.readouterr().err
    assert (tmp_path / "q.star").read_text() == "mine"
    assert run(star, "-o", tmp_path / "q.star", "--overwrite") == 0
    assert len(read_particles(tmp_path / "q.star")) == N
    assert run(star, "-o", tmp_path) == 2


def test_a_dry_run_writes_nothing(star, tmp_path, capsys):
    assert run(star, "-o", tmp_path / "q.cs", "--box", "64", "--dry-run") == 0
    told = capsys.readouterr().out
    assert "read particles from" in told
    assert "Folder:" not in told
    assert not (tmp_path / "q.cs").exists()
    with pytest.raises(InputError, match="there is no such file"):
        plan_convert(ConvertConfig("nowhere"), options=JobOptions(output="q.cs"))


def test_a_model_survives_both_formats(peptide, tmp_path, capsys):
    write_atoms(tmp_path / "a.cif", peptide)
    assert run(tmp_path / "a.cif", "-o", tmp_path / "b.pdb") == 0
    assert run(tmp_path / "b.pdb", "-o", tmp_path / "c.cif") == 0
    again = read_atoms(tmp_path / "c.cif")
    for name in ("name", "residue_name", "residue_number", "chain", "element", "insertion_code"):
        assert getattr(again, name).tolist() == getattr(peptide, name).tolist()
    np.testing.assert_allclose(again.positions, peptide.positions, atol=1e-3)
    assert "other records are not" in capsys.readouterr().out


def test_all_models_of_a_trajectory_or_one_of_them(motion_files, tmp_path):
    motion = read_trajectory(motion_files[0])
    assert run(motion_files[0], "-o", tmp_path / "all.cif") == 0
    np.testing.assert_allclose(
        read_trajectory(tmp_path / "all.cif").positions, motion.positions, atol=1e-3
    )
    for source in (motion_files[0], tmp_path / "all.cif"):
        assert run(source, "-o", tmp_path / "one.pdb", "--model", "3", "--overwrite") == 0
        np.testing.assert_allclose(
            read_atoms(tmp_path / "one.pdb").positions, motion.positions[2], atol=1e-3
        )
    assert run(motion_files[0], "-o", tmp_path / "five.pdb", "--model", "5") == 2


def test_atoms_left_out_are_counted(tmp_path, capsys):
    line = "ATOM  {:5d}  CA {}ALA A   1       0.000   0.000   {}.000  {}           C\n"
    lines = [line.format(1, "A", 1, "0.40 10.00"), line.format(2, "B", 2, "0.60 10.00")]
    (tmp_path / "a.pdb").write_text("".join(lines))
    assert run(tmp_path / "a.pdb", "-o", tmp_path / "b.cif") == 0
    assert "1 atoms in alternate locations" in capsys.readouterr().out
    assert read_atoms(tmp_path / "b.cif").positions[0, 2] == 2.0


def test_a_map_of_any_axis_order_is_written_in_the_usual_one(tmp_path, capsys):
    values = density().values
    with mrcfile.new(tmp_path / "a.ccp4") as mrc:
        mrc.set_data(np.ascontiguousarray(values.transpose(2, 1, 0)))
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = 3, 2, 1
        mrc.header.mx, mrc.header.my, mrc.header.mz = 7, 6, 5
        mrc.header.cella = (7 * 1.5, 6 * 1.5, 5 * 1.5)
        # Columns run along z here: the starts are of z, y, x.
        mrc.header.nxstart, mrc.header.nystart, mrc.header.nzstart = 4, -2, 10
    assert run(tmp_path / "a.ccp4", "-o", tmp_path / "b.mrc") == 0
    assert "stored as zyx before" in capsys.readouterr().out
    with mrcfile.open(tmp_path / "b.mrc") as mrc:
        np.testing.assert_array_equal(mrc.data, values)
        assert mrc.header.origin.tolist() == (15.0, -3.0, 6.0)
        assert mrc.header.mode == 2
        np.testing.assert_allclose(mrc.voxel_size.tolist(), 1.5)


def test_voxel_size_origin_and_half_precision(tmp_path, capsys):
    write_map(tmp_path / "a.mrc", density())
    options = ["--voxel-size", "2", "--origin", "1", "2", "-3", "--half-precision"]
    assert run(tmp_path / "a.mrc", "-o", tmp_path / "b.mrc", *options) == 0
    half = read_map(tmp_path / "b.mrc")
    assert (half.voxel_size.tolist(), half.origin.tolist()) == ([2, 2, 2], [1, 2, -3])
    np.testing.assert_array_equal(half.values, density().values.astype(np.float16))
    assert "16 bits changed values by at most" in capsys.readouterr().out
    assert run(tmp_path / "b.mrc", "-o", tmp_path / "c.mrc") == 0
    with mrcfile.open(tmp_path / "c.mrc") as mrc:
        assert mrc.header.mode == 2
        np.testing.assert_array_equal(mrc.data, half.values)


@pytest.mark.parametrize("sections", [6, 7])
def test_the_other_hand_is_the_mirror_image_about_the_centre_of_the_box(sections):
    values = np.random.default_rng(0).normal(size=(sections, 4, 4)).astype(np.float32)
    given = Map(values, np.ones(3), np.zeros(3))
    flipped, centre = flip_hand(given), sections // 2
    np.testing.assert_array_equal(flipped.values[centre], values[centre])
    np.testing.assert_array_equal(flipped.values[centre + 2], values[centre - 2])
    np.testing.assert_array_equal(flip_hand(flipped).values, values)
    assert (flipped.values != values).any()


def test_flip_hand_on_the_command_line(tmp_path):
    write_map(tmp_path / "a.mrc", density())
    assert run(tmp_path / "a.mrc", "-o", tmp_path / "b.mrc", "--flip-hand") == 0
    np.testing.assert_array_equal(read_map(tmp_path / "b.mrc").values, density().values[::-1])
