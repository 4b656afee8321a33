"""How large an input may be; checked before anything of that size is allocated."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Caps that every reader checks before it allocates; raise one to read what it refuses.

    Args:
        map_bytes: one map, as stored, once unpacked.
        text_bytes: one table, model or sequence file, once unpacked.
        array_bytes: one array of an ``.npz`` or ``.cs`` file, once unpacked.
        header_bytes: one header: extended header of a map, description of a table's columns.
        unpack_ratio: how often a packed text or array may exceed its size on disk; applied once
            more than ``unpack_free_bytes`` came out.
        unpack_free_bytes: amount that may be unpacked at any ratio.
        columns: columns of one table.
        atoms: atoms of one file, over all its models.
    """

    map_bytes: int = 16 * 2**30
    text_bytes: int = 4 * 2**30
    array_bytes: int = 16 * 2**30
    header_bytes: int = 64 * 2**20
    unpack_ratio: int = 30
    unpack_free_bytes: int = 16 * 2**20
    columns: int = 4096
    atoms: int = 50_000_000


DEFAULT_LIMITS = Limits()
# Of files that a job keeps for itself: as large, and packed as well, as its own arrays come out.
OWN_LIMITS = Limits(array_bytes=2**50, unpack_ratio=2**20)
