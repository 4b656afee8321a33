"""``check`` tells what a file is, and whether a job can use it."""

import io
import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from rich.console import Console

from cryojax_graph.cli import main
from cryojax_graph.io import InputError, write_stack
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.mrc import Map, write_map
from cryojax_graph.io.particles import new_particles, write_particles
from cryojax_graph.jobs.check import CheckConfig, check, plan_check
from cryojax_graph.jobs.check.findings import examine
from cryojax_graph.jobs.check.terminal import plain_lines, print_findings, verdict
from cryojax_graph.jobs.options import JobOptions

OPTIONS = JobOptions(output="")


@pytest.fixture
def files(tmp_path, peptide, motion_files):
    """One good file of every kind, by its kind."""
    random = np.random.default_rng(0)
    density = random.normal(size=(6, 7, 8)).astype(np.float32)
    write_map(tmp_path / "map.mrc", Map(density, np.full(3, 1.5), np.array([1.0, 2.0, 3.0])))
    pixels = random.normal(size=(5, 16, 16)).astype(np.float32)
    write_stack(tmp_path / "p.mrcs", pixels, pixel_size=1.5)
    fields = {
        "image_path": np.full(5, "p.mrcs"),
        "image_index": np.arange(5),
        "euler_degrees": random.uniform(0, 90, (5, 3)),
        "shift_angstrom": np.zeros((5, 2)),
        "defocus_u": np.full(5, 15000.0),
        "defocus_v": np.full(5, 14000.0),
        "defocus_angle_degrees": np.zeros(5),
        "voltage_kv": np.full(5, 300.0),
        "spherical_aberration_mm": np.full(5, 2.7),
        "amplitude_contrast": np.full(5, 0.1),
        "pixel_size": np.full(5, 1.5),
        "half_set": np.array([1, 2, 1, 2, 1]),
    }
    write_particles(new_particles("p.star", fields), tmp_path / "p.star")
    write_atoms(tmp_path / "model.cif", peptide)
    (tmp_path / "s.fasta").write_text(">one\nMKVLAAGLLK\n>two\nMKVLA\n")
    return {
        "density map": str(tmp_path / "map.mrc"),
        "stack of images": str(tmp_path / "p.mrcs"),
        "particles (RELION)": str(tmp_path / "p.star"),
        "atomic model": str(tmp_path / "model.cif"),
        "trajectory": motion_files[0],
        "sequences": str(tmp_path / "s.fasta"),
    }


def test_tells_every_kind_of_file(files):
    told = {kind: examine(path) for kind, path in files.items()}
    assert {kind: finding.kind for kind, finding in told.items()} == {kind: kind for kind in files}
    assert not any(finding.problems for finding in told.values())
    rows = {kind: dict(finding.rows) for kind, finding in told.items()}
    assert rows["density map"]["voxels (z, y, x)"] == "6 × 7 × 8"
    assert rows["density map"]["position of voxel 0 (x, y, z)"] == "1, 2, 3 Å"
    assert rows["stack of images"]["images"] == "5 of 16 × 16 px"
    assert rows["particles (RELION)"]["half-sets"] == "3 and 2"
    assert rows["particles (RELION)"]["for flex"] == "has poses and CTF"
    assert rows["atomic model"]["chain A"] == "3: MKG"
    assert rows["trajectory"]["models"].startswith("4 of")
    assert rows["sequences"]["letters"] == "5 to 10"


def with_value(contents, value):
    """The first pixel replaced."""
    return contents[:1024] + np.float32(value).tobytes() + contents[1028:]


# Which file, the ending of the damaged one, what is done to it, and what must be said.
DAMAGE = {
    "NaN in a map": ("density map", ".mrc", lambda c: with_value(c, np.nan), "NaN"),
    "infinity in a stack": ("stack of images", ".mrcs", lambda c: with_value(c, np.inf), "NaN or"),
    "cut map": ("density map", ".mrc", lambda c: c[:-9], "bytes"),
    "missing stack": (
        "particles (RELION)",
        ".star",
        lambda c: c.replace(b"p.mrcs", b"q.mrcs"),
        "no file 'q.mrcs'",
    ),
    "cut table": ("particles (RELION)", ".star", lambda c: c[:-40], "line"),
    "zero in a model": ("atomic model", ".cif", lambda c: c.replace(b"GLY", b"GL\0"), "zero byte"),
    "cut archive": ("trajectory", ".npz", lambda c: c[:-50], "not an undamaged"),
    "nothing": ("sequences", ".fasta", lambda c: b"", "no kind"),
    "noise": ("sequences", "", lambda c: np.random.default_rng(1).bytes(3000), "no kind"),
}


def damaged(files, how):
    kind, ending, change, _ = DAMAGE[how]
    good = Path(files[kind])
    path = good.with_name(f"damaged{ending}")
    path.write_bytes(change(good.read_bytes()))
    return str(path)


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_a_finding(files, how):
    finding = examine(damaged(files, how))
    assert DAMAGE[how][3] in finding.problems[0]
    assert verdict(finding) == "not usable as it is"
    # Said once.
    assert not set(finding.problems) & set(finding.notes)


def test_a_blank_image_makes_a_table_unusable_and_a_stack_only_when_all_are(files):
    images = np.random.default_rng(0).normal(size=(5, 16, 16)).astype(np.float32)
    images[2] = 0.1
    write_stack(files["stack of images"], images, pixel_size=1.5)
    table = examine(files["particles (RELION)"])
    assert "row 3 of table particles: 1 of 5 images looked at are blank" in table.problems[0]
    assert verdict(examine(files["stack of images"])) == "usable, with notes"
    write_stack(files["stack of images"], np.full_like(images, 0.1), pixel_size=1.5)
    told = examine(files["stack of images"])
    assert told.problems == ("5 of 5 images looked at are blank: all pixels are equal",)
    assert not told.notes


def test_a_voxel_size_that_is_absent_is_not_stated(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32))
    finding = examine(str(tmp_path / "a.mrc"))
    assert dict(finding.rows)["voxel size (x, y, z)"] == "not stated"
    assert "the header states no voxel size; give the voxel size" in finding.problems[0]
    assert not any("nan" in line for line in plain_lines(finding))


@pytest.mark.parametrize("name", ["nowhere.mrc", "."])
def test_what_is_no_file_is_a_finding(tmp_path, name):
    assert examine(str(tmp_path / name)).kind == "not readable"


def test_an_image_root_finds_moved_images(files, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "p.mrcs").rename(elsewhere / "p.mrcs")
    table = files["particles (RELION)"]
    assert "image root" in examine(table).problems[0]
    assert not examine(table, image_root=str(elsewhere)).problems


def test_the_command_tells_and_returns_2_when_a_file_is_unusable(files, tmp_path, capsys):
    assert main(["check", files["density map"], files["sequences"]]) == 0
    told = capsys.readouterr().out
    assert "map.mrc: density map" in told
    assert told.count("verdict: usable\n") == 2
    bad = damaged(files, "missing stack")
    assert main(["check", files["density map"], bad]) == 2
    streams = capsys.readouterr()
    assert "problem: images: row 1 of table particles" in streams.out
    assert "Wrong input" in streams.err
    assert bad in streams.err
    assert files["density map"] not in streams.err


def test_a_job_folder_has_the_page_even_of_unusable_files(files, tmp_path, capsys):
    bad = damaged(files, "cut map")
    with pytest.raises(InputError, match=r"report\.html"):
        check(CheckConfig((*files.values(), bad)), options=JobOptions(output=str(tmp_path / "job")))
    page = (tmp_path / "job" / "report.html").read_text()
    assert page.count("<section") >= 7
    assert page.count("data:image/png") >= 6 + 5 + 5
    findings = json.loads((tmp_path / "job" / "findings.json").read_text())
    assert [bool(finding["problems"]) for finding in findings] == [False] * 6 + [True]
    metrics = json.loads((tmp_path / "job" / "metrics.json").read_text())
    assert (metrics["files"], metrics["unusable_files"]) == (7, 1)


def test_an_empty_map_has_a_page(tmp_path, capsys):
    empty = Map(np.zeros((4, 4, 4), np.float32), np.ones(3), np.zeros(3))
    write_map(tmp_path / "empty.mrc", empty)
    config = CheckConfig((str(tmp_path / "empty.mrc"),))
    assert check(config, options=JobOptions(output=str(tmp_path / "job")))
    assert "every value is 0" in (tmp_path / "job" / "report.html").read_text()


def test_lines_are_plain_and_a_terminal_gets_the_same_words(files, tmp_path):
    (tmp_path / "[red]odd[").write_bytes(Path(files["density map"]).read_bytes())
    finding = examine(str(tmp_path / "[red]odd["))
    assert all("\x1b" not in line and "\n" not in line for line in plain_lines(finding))
    pipe, terminal = io.StringIO(), io.StringIO()
    print_findings([finding], Console(file=pipe, width=20))
    print_findings([finding], Console(file=terminal, force_terminal=True, width=200))
    assert pipe.getvalue() == "\n".join(plain_lines(finding)) + "\n"
    assert "[red]odd[" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()
    for name, value in finding.rows:
        assert name in terminal.getvalue()
        assert value in terminal.getvalue()


def test_a_plan_writes_nothing(files, tmp_path):
    folder = str(tmp_path / "job")
    plan = plan_check(CheckConfig(tuple(files.values())), options=JobOptions(output=folder))
    assert len(plan.actions) == 6
    assert not (tmp_path / "job").exists()
    with pytest.raises(InputError, match="nowhere"):
        plan_check(CheckConfig(("nowhere",)), options=OPTIONS)


def test_no_file_is_refused():
    with pytest.raises(InputError, match="there are none"):
        check(CheckConfig(()), options=OPTIONS)


def test_real_files_are_told_or_refused_with_a_reason(shared_data):
    usable = {
        "maps/emd_5830/map.ccp4.gz": True,
        "maps/io_emd_3197/map.map.gz": True,
        "maps/io_emd_8216/map.map.gz": False,
        "maps/emd_5830/model.pdb.gz": True,
        "maps/emd_5830/sequence.fasta": True,
        "particles/relion31_5/relion31.star": True,
        "particles/empiar_10076_7/empiar_10076_7.cs": True,
        "particles/sim_toy_1000/toy_projections.mrcs": True,
        "particles/metadata_only/relion5.star": False,
        "particles/metadata_only/cryosparc_P12_J24_001_particles.cs": False,
        "trajectories/barstar.npz": True,
        "trajectories/barstar_template.pdb": True,
        "MANIFEST.md": False,
    }
    found = {name: not examine(str(shared_data / name)).problems for name in usable}
    assert found == usable
