"""Settings of the quality of maps."""

from dataclasses import dataclass

from cryojax_graph.io.errors import InputError


@dataclass(frozen=True)
class QualitySettings:
    """How the quality of maps is measured; the defaults are RELION's where it has them.

    Args:
        randomise_below: Phases become random where the unmasked FSC first falls below this.
        guinier_from: Lowest resolution of the fit of the B-factor, Å.
        mask_low_pass: Resolution to which maps are blurred to find the automatic mask, Å.
        mask_extend: How far the automatic mask reaches beyond the surface, Å; at least 3 voxels.
        mask_edge: Width of its soft edge, Å; at least 6 voxels.
        local_sampling: Distance between the spheres of local resolution, and their diameter, Å.
        local_randomise_from: Phases are random from here on in their correction, Å.
        local_lowest: Lowest local resolution, Å.
        cone_axes: Directions in which resolution is measured.
        cone_half_angle: Between the axis of a cone of directions and its edge, degrees.

    Raises:
        InputError: a value is out of range.
    """

    randomise_below: float = 0.8
    guinier_from: float = 10.0
    mask_low_pass: float = 15.0
    mask_extend: float = 6.0
    mask_edge: float = 12.0
    local_sampling: float = 25.0
    local_randomise_from: float = 25.0
    local_lowest: float = 50.0
    cone_axes: int = 256
    cone_half_angle: float = 20.0

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        for name, value in vars(self).items():
            if not value > 0:
                self._refuse(name, f"{value} is not above 0")
        if self.randomise_below >= 1:
            self._refuse("randomise_below", f"{self.randomise_below} is not below 1")
        if self.cone_axes < 3:
            self._refuse("cone_axes", f"{self.cone_axes} are too few for a body")
        if self.cone_half_angle > 90:
            self._refuse("cone_half_angle", f"{self.cone_half_angle} is above 90 degrees")

    def _refuse(self, name: str, cause: str) -> None:
        option = f"--quality.{name.replace('_', '-')}"
        raise InputError("command line", option, cause, "choose another value")
