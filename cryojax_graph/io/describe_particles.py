"""What is in a table of particles, and what is unusual about it, in plain words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Shaped

from cryojax_graph.io.carried import own_name
from cryojax_graph.io.cif_text import TEXT, to_numbers
from cryojax_graph.io.describe_images import blank_warning, pixel_warnings
from cryojax_graph.io.errors import InputError, row_place
from cryojax_graph.io.images import (
    CARRIED_SIGN,
    PIXEL_TOLERANCE,
    ParticleImages,
    carried_sign_holds,
    open_images,
)
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.particle_table import ParticleTable, Piece
from cryojax_graph.io.passthrough import read_completed
from cryojax_graph.io.relion import OPTICS_GROUP, as_text

_PIECES: tuple[Piece, ...] = ("poses", "ctf", "pixel_size", "box", "half_sets")
# Those for whose sake jobs look into the files beside a table of cryoSPARC.
_LOOKED_FOR: tuple[Piece, ...] = ("poses", "ctf", "pixel_size")
_MOST_IMAGES = 64
# Columns whose effect on the image is not modelled.
_IGNORED = {
    "rlnBeamTiltX": "beam tilt",
    "rlnBeamTiltY": "beam tilt",
    "rlnOddZernike": "higher aberrations",
    "rlnEvenZernike": "higher aberrations",
    "ctf/tilt_A": "beam tilt",
    "ctf/trefoil_A": "higher aberrations",
    "ctf/tetra_A": "higher aberrations",
    "ctf/anisomag": "anisotropic magnification",
    "rlnMagMat00": "anisotropic magnification",
    "rlnMagMat01": "anisotropic magnification",
    "rlnMagMat10": "anisotropic magnification",
    "rlnMagMat11": "anisotropic magnification",
    "rlnCtfScalefactor": "scale of the CTF",
    "ctf/scale": "scale of the CTF",
}
# Those of which 1 means none; of the others 0 does.
_ONE_IS_NONE = {"rlnCtfScalefactor", "ctf/scale", "rlnMagMat00", "rlnMagMat11"}
# Of which the exponential is still a number.
_LARGEST_EXPONENT = 700.0

CtfState: TypeAlias = Literal["as recorded", "multiplied", "phase-flipped"]
_TREATMENTS: dict[str, tuple[CtfState, str]] = {
    "rlnCtfDataAreCtfPremultiplied": ("multiplied", "multiplied by their CTF"),
    "rlnCtfDataArePhaseFlipped": ("phase-flipped", "phase-flipped"),
}


@dataclass(frozen=True)
class ParticleFacts:
    """A table of particles.

    Args:
        path: the file.
        kind: ``star`` or ``cs``.
        count: number of particles.
        columns: names of the columns.
        states: pieces that the table states: poses, ctf, pixel_size, box, half_sets.
        optics_groups: number of optics groups in use.
        stacks: number of different image files.
        pixel_size: smallest and largest in Å, or None.
        box: smallest and largest in pixels, or None.
        defocus: smallest and largest in Å, or None.
        voltage: smallest and largest in kV, or None.
        half_set_counts: particles of half 1 and half 2.
        images_found: whether every stack was found and fits the table.
        warnings: what is unusual.
    """

    path: str
    kind: str
    count: int
    columns: tuple[str, ...]
    states: tuple[str, ...]
    optics_groups: int
    stacks: int
    pixel_size: tuple[float, float] | None
    box: tuple[float, float] | None
    defocus: tuple[float, float] | None
    voltage: tuple[float, float] | None
    half_set_counts: tuple[int, int]
    images_found: bool
    warnings: tuple[str, ...]


def describe_particles(
    path: str | Path, *, image_root: str | Path | None = None, limits: Limits = DEFAULT_LIMITS
) -> ParticleFacts:
    """Look at a table of particles, joined as jobs join it, and at some of its images.

    Args:
        path: STAR or ``.cs`` file.
        image_root: folder under which the names of the table are looked up first.
        limits: caps on size and columns.

    Returns:
        facts and warnings; missing images are a warning.

    Raises:
        InputError: the table itself is damaged or is none.
    """
    table, joined, _ = read_completed(path, *_LOOKED_FOR, limits=limits)
    warnings = [f"read with the columns of {file.name} beside it" for file in joined]
    warnings += [*_absences(table), *_value_warnings(table), *_ignored(table)]
    found, image_warnings = _look_at_images(table, image_root, limits)
    groups = table.optics_group
    half = table.half_set if table.half_set is not None else np.zeros(0, np.int64)
    return ParticleFacts(
        path=str(path),
        kind=table.kind,
        count=len(table),
        columns=tuple(table.columns),
        states=tuple(piece for piece in _PIECES if table.has(piece)),
        optics_groups=1 if groups is None else len(np.unique(groups)),
        stacks=len(np.unique(table.image_path)),
        pixel_size=_range(table.pixel_size),
        box=_range(table.box),
        defocus=_range(table.defocus_u),
        voltage=_range(table.voltage_kv),
        half_set_counts=(int((half == 1).sum()), int((half == 2).sum())),
        images_found=found,
        warnings=(*warnings, *image_warnings),
    )


def _range(values: Shaped[np.ndarray, " n"] | None) -> tuple[float, float] | None:
    return None if values is None else (float(values.min()), float(values.max()))


def _absences(table: ParticleTable) -> list[str]:
    words: dict[Piece, str] = {
        "poses": "it states no poses: they have to be searched",
        "ctf": "it states no complete CTF",
        "pixel_size": "it states no pixel size",
        "half_sets": "it states no half-sets: they would have to be drawn anew",
    }
    warnings = []
    for piece, text in words.items():
        if not table.has(piece):
            absent = ", ".join(table.absent_columns(piece))
            warnings.append(f"{text}; it lacks {absent}" if absent else text)
    if table.kind == "star" and table.optics is None:
        name = "rlnOpticsGroup"
        warnings.append(
            f"it has {name} but no table data_optics"
            if name in table.columns
            else "it has no optics groups (RELION 3.0 or older)"
        )
    if any(name.startswith("alignments2D/") for name in table.columns) and not table.has("poses"):
        warnings.append("its alignments are those of a 2D classification")
    return warnings


def optics_warnings(table: ParticleTable) -> list[str]:
    """Optics that no microscope has, as after a mistake of unit.

    Args:
        table: particles.

    Returns:
        one sentence for each column.
    """
    warnings = []
    for name, (low, high) in {
        "voltage_kv": (60, 1000),
        "spherical_aberration_mm": (0, 8),
        "amplitude_contrast": (0.01, 0.5),
        "defocus_u": (100, 100_000),
    }.items():
        values = getattr(table, name)
        if values is not None and ((values < low) | (values > high)).any():
            count = int(((values < low) | (values > high)).sum())
            warnings.append(f"{name} of {count} particles is not between {low} and {high}")
    return warnings


def ctf_treatment(table: ParticleTable) -> str | None:
    """What was done to the images with their CTF before they came here.

    Args:
        table: particles.

    Returns:
        in words, with the column that says so; None where the images are as recorded.
    """
    for name, (_, treatment) in _TREATMENTS.items():
        if _is_set(_stated(table, name)):
            return f"the images were {treatment} ({name})"
    return None


def ctf_state(table: ParticleTable) -> CtfState:
    """What was done to the images with their CTF, all of them alike.

    Args:
        table: particles.

    Returns:
        one word or two.

    Raises:
        InputError: some images were treated and others not.
    """
    for name, (state, treatment) in _TREATMENTS.items():
        flags = _stated(table, name)
        if not _is_set(flags):
            continue
        if any(not _is_set(np.array([flag])) for flag in np.unique(flags)):
            cause = f"only some of the images were {treatment}"
            raise InputError(table.source, name, cause, "reconstruct from one kind at a time")
        return state
    return "as recorded"


def _stated(table: ParticleTable, name: str) -> Shaped[np.ndarray, "n ..."]:
    """A column of the particles, else of the optics groups that they are in.

    A column that was carried along from the other program counts. None where there is no such
    column.
    """
    for label, values in table.columns.items():
        if own_name(label) == name:
            return np.asarray(values)
    if table.optics is None or name not in table.optics.columns or table.optics_group is None:
        return np.zeros(0, "U1")
    numbers = table.optics.columns[OPTICS_GROUP].astype(np.float64)
    return np.asarray(table.optics.columns[name])[np.isin(numbers, table.optics_group)]


def _value_warnings(table: ParticleTable) -> list[str]:
    warnings = optics_warnings(table)
    if table.pixel_size is not None:
        sizes = np.unique(table.pixel_size)
        warnings += [text for size in sizes.tolist() for text in pixel_warnings(size)][:3]
        if len(sizes) > 1:
            warnings.append(f"{len(sizes)} different pixel sizes, {sizes[0]:g} to {sizes[-1]:g} Å")
    if table.optics_group is not None and len(np.unique(table.optics_group)) > 1:
        warnings.append(f"{len(np.unique(table.optics_group))} optics groups")
    if table.box is not None and len(np.unique(table.box)) > 1:
        warnings.append("different box sizes")
    if table.shift_angstrom is not None and table.box is not None and table.pixel_size is not None:
        far = np.abs(table.shift_angstrom).max(axis=1) > table.box * table.pixel_size / 4
        if far.any():
            warnings.append(f"{int(far.sum())} particles are shifted by more than a quarter box")
    if repeated := len(table) - len(np.unique(table.image_of_row())):
        warnings.append(f"{repeated} rows repeat an image of another row")
    sign = table.columns.get("blob/sign")
    if sign is not None and sign.dtype.kind == "f" and (sign < 0).any():
        warnings.append(
            "cryoSPARC marks the particles as dark on light (blob/sign -1): read inverted"
        )
    return warnings + envelope_warnings(table) + sign_warnings(table)


def envelope_warnings(table: ParticleTable) -> list[str]:
    """Rows whose B-factor makes the CTF amplify what it should damp, as those of Warp and M do.

    Args:
        table: particles.

    Returns:
        one sentence where there are such rows.
    """
    if table.b_factor is None or not (table.b_factor < 0).any():
        return []
    negative = table.b_factor < 0
    column = "rlnCtfBfactor" if table.kind == "star" else "ctf/bfactor"
    first = row_place(int(negative.argmax()), table=table.table_name, column=column)
    by = ""
    if table.pixel_size is not None:
        # exp(-B k² / 4), where k is 1 / (2 pixels) at Nyquist.
        exponent = float(np.max(-table.b_factor / (16.0 * table.pixel_size**2)))
        by = f", up to {np.exp(min(exponent, _LARGEST_EXPONENT)):.2g} times at Nyquist"
    return [
        f"{Path(table.source).name}: the B-factor of the CTF is negative in {negative.sum():,} of "
        f"{len(table):,} rows, down to {table.b_factor.min():g} Å² (the first is {first}): fine "
        f"detail is amplified instead of damped{by}, as RELION would; give it the other sign, or "
        "set it to 0"
    ]


def sign_warnings(table: ParticleTable) -> list[str]:
    """What cryoSPARC said of the contrast of images that are not those of the table.

    Args:
        table: particles.

    Returns:
        one sentence where there are such images.
    """
    sign = table.columns.get(CARRIED_SIGN)
    if sign is None:
        return []
    other = ~carried_sign_holds(table) & (sign.astype(np.float32) < 0)
    if not other.any():
        return []
    return [
        f"{int(other.sum())} images are in other files than those that cryoSPARC marked as dark on "
        f"light ({CARRIED_SIGN} -1): read as they are"
    ]


def unmodelled(table: ParticleTable) -> list[str]:
    """Effects of the optics that a table states and that are not modelled.

    Args:
        table: particles.

    Returns:
        each in words, with the first column that states it.
    """
    effects = {}
    for name, effect in _IGNORED.items():
        if _is_set(_stated(table, name), none=float(name in _ONE_IS_NONE)):
            effects.setdefault(effect, f"{effect} ({name})")
    return [*effects.values()]


def _ignored(table: ParticleTable) -> list[str]:
    treatment = ctf_treatment(table)
    effects = [*unmodelled(table), *([treatment] if treatment else [])]
    return [f"not modelled: {effect}" for effect in effects]


def _is_set(values: Shaped[np.ndarray, "n ..."], *, none: float = 0.0) -> bool:
    """Whether any value, or element of a vector, is another; text that is no number is set."""
    if values.dtype.kind in "bfiu":
        return bool(np.any(values != none))
    vectors = [text.strip("[]").split(",") for text in set(as_text(values.ravel()).tolist())]
    elements = [element for vector in vectors for element in vector if element]
    numbers, bad = to_numbers(np.array(elements, TEXT))
    return bad is not None or bool((numbers != none).any())


def _look_at_images(
    table: ParticleTable, image_root: str | Path | None, limits: Limits
) -> tuple[bool, list[str]]:
    try:
        images = open_images(table, image_root=image_root, limits=limits)
    except InputError as error:
        return False, [f"images: {error.place}: {error.cause}; {error.remedy}"]
    warnings = _unset_pixel_sizes(table, images)
    count = min(len(table), _MOST_IMAGES)
    rows = np.unique(np.linspace(0, len(table) - 1, count).astype(np.int64))
    try:
        spread = [float(np.ptp(images.read(rows[i : i + 1]))) for i in range(len(rows))]
    except InputError as error:
        return True, [*warnings, f"images: {error.place}: {error.cause}; {error.remedy}"]
    blank = rows[np.array(spread) == 0.0]
    if not len(blank):
        return True, warnings
    place = row_place(int(blank[0]), table=table.table_name)
    told = blank_warning(len(blank), len(rows))
    blank_told = f"images: {place}: {told}; leave such particles out, or extract them again"
    return True, [*warnings, blank_told]


def _unset_pixel_sizes(table: ParticleTable, images: ParticleImages) -> list[str]:
    """Headers of 1 Å are no contradiction to the table, as they may never have been set."""
    if table.pixel_size is None:
        return []
    headers = np.array([stack.pixel_size for stack in images.stacks])[images.stack_number]
    unset = (headers == 1.0) & (np.abs(table.pixel_size - 1.0) > PIXEL_TOLERANCE)
    if not unset.any():
        return []
    stated = table.pixel_size[unset][0]
    return [f"its images state a pixel size of 1 Å, the table {stated:g} Å: the table's is taken"]
