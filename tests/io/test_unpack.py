import bz2
import gzip

import pytest

from cryojax_graph.io import InputError, Limits
from cryojax_graph.io.unpack import packing, read_bytes, read_text


@pytest.mark.parametrize(
    ("pack", "kind"), [(bytes, None), (gzip.compress, "gzip"), (bz2.compress, "bzip2")]
)
def test_packing_is_told_by_contents_and_undone(pack, kind, tmp_path):
    path = tmp_path / "any.name"
    path.write_bytes(pack(b"some text\n" * 100))
    assert packing(path) == kind
    assert read_bytes(path) == b"some text\n" * 100
    assert read_text(path).startswith("some text")


def test_a_text_that_begins_like_bzip2_is_text(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"BZhello")
    assert packing(path) is None


@pytest.mark.parametrize(
    ("contents", "kind"),
    [
        (b"PK\x03\x04\0\0", "npz or .zip archive, not text"),
        (b"\x93NUMPY\x01\0", "array of numpy or a .cs table, not text"),
        (bytes(208) + b"MAP " + bytes(812), "MRC map or stack, not text"),
    ],
)
def test_a_sound_file_of_another_kind_is_not_called_damaged(contents, kind, tmp_path):
    path = tmp_path / "model.pdb"
    path.write_bytes(contents)
    with pytest.raises(InputError, match=kind) as refused:
        read_text(path)
    assert "undamaged" not in str(refused.value)


def test_caps_apply_to_what_comes_out(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(3 << 20)))
    assert len(read_bytes(path)) == 3 << 20
    with pytest.raises(InputError, match="more than 30 times"):
        read_bytes(path, limits=Limits(unpack_free_bytes=1 << 20))
    with pytest.raises(InputError, match=r"Limits\.text_bytes"):
        read_bytes(path, limits=Limits(text_bytes=1 << 20))
