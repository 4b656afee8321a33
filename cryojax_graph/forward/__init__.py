"""The differentiable forward model: structure, pose and CTF to image.

How the parts go together:

- What scatters: ``atom_gaussians`` and ``residue_gaussians`` give masses and widths of Gaussians,
  ``density_of_gaussians`` a map of them, ``density_of_atoms`` one of many atoms of few kinds;
  ``volume_spectrum`` makes a ``VolumeSpectrum`` of a map, if it ``can_be_numbered``.
- One image of Gaussians, ``gaussian_image``, or of a map, ``map_image``: ``view`` places points in
  the image; ``project_gaussians`` draws every one on every pixel, ``project_groups`` each group of
  a ``GroupPlan`` in a window (``plan_groups`` divides, ``lost_mass`` says what is left out);
  ``slice_spectrum`` cuts through a map; ``contrast_transfer`` is what the microscope with a given
  ``CTF`` does (``electron_wavelength``). ``slice_at`` and ``transfer_at`` are both at any
  frequencies; ``cells_of`` and ``interpolate_spectrum`` are what a slice is made of.
- Back from images to a map: ``insert_slices`` adds images to ``SliceSums`` (``no_slices`` at
  first), also of several maps at once (``sums_of_map`` takes one out), ``complete_sums`` makes
  ``SpectrumSums`` of them, ``symmetrize_sums`` turns those, and ``solve_map`` divides data by
  weights, or by the ``sampling_density`` that these tell; ``shell_weights`` and
  ``spectrum_shells`` tell what a Wiener filter needs.
  ``back_project`` is the plain adjoint of the slice. ``cone_bootstrap`` tells the deviation of
  every voxel; ``deal_into_parts``, ``without_part``, and ``Replicates`` (``no_replicates``,
  ``add_replicate``, ``jackknife_variance``) are what it is made of.
- Half spectra: ``gaussian_spectrum`` and ``map_spectrum`` are the same images before the inverse
  transform, which ``to_image`` does and ``to_spectrum`` undoes. ``filter_image``, ``shift_image``,
  ``shift_phase``, ``low_pass``, ``crop_spectrum`` and ``pad_spectrum`` change images.
- Noise: ``radial_noise_power`` estimates it by shells outside a particle (``outside_disc``, in the
  ``corners``, of which ``background_level`` is the mean), ``noise_power`` spreads shells over a
  half spectrum, ``sample_noise`` draws from that, and ``whitening_filter`` makes it white.
- Maps: ``automatic_mask`` finds a soft mask around the particle in the map ``blur_map``;
  ``soften`` gives any binary one a soft edge, ``soft_sphere`` is a ball; ``sharpen`` weights
  shells, undoes a B-factor and cuts off at a resolution.
- How likely an observed image is: ``log_likelihood`` of two half spectra, at a given contrast or at
  the ``optimal_scale``; ``inner_product`` is what both are made of.
- Many images: ``jax.vmap``, or ``map_images`` (``map_batches`` for a function of many) and the
  differentiable ``sum_images``, which keep intermediate arrays in cache.
- Where pixels and coefficients lie: ``pixel_coordinates``, ``frequency_axes``,
  ``frequency_indices``, ``radial_frequency``; ``spectrum_multiplicity`` completes half a spectrum.

An image with white noise of variance 0.1, and how likely it is:

    half_spectrum = gaussian_spectrum(
        positions, masses, widths, rotation, shift, ctf, box=64, pixel_size=1.5
    )
    observed = to_image(half_spectrum) + sample_noise(key, 0.1, box=64)
    score = log_likelihood(half_spectrum, to_spectrum(observed), 0.1)
"""

from cryojax_graph.forward.automatic_mask import automatic_mask, blur_map, soften
from cryojax_graph.forward.batched import map_batches, map_images, sum_images
from cryojax_graph.forward.bootstrap import (
    Replicates,
    add_replicate,
    cone_bootstrap,
    deal_into_parts,
    jackknife_variance,
    no_replicates,
    without_part,
)
from cryojax_graph.forward.ctf import CTF, contrast_transfer, electron_wavelength, transfer_at
from cryojax_graph.forward.density import density_of_atoms, density_of_gaussians
from cryojax_graph.forward.fourier import (
    crop_spectrum,
    filter_image,
    low_pass,
    pad_spectrum,
    shift_image,
    shift_phase,
    to_image,
    to_spectrum,
)
from cryojax_graph.forward.grids import (
    frequency_axes,
    frequency_indices,
    pixel_coordinates,
    radial_frequency,
    spectrum_multiplicity,
)
from cryojax_graph.forward.grouping import GroupPlan, plan_groups
from cryojax_graph.forward.image import (
    gaussian_image,
    gaussian_spectrum,
    inner_product,
    log_likelihood,
    map_image,
    map_spectrum,
    optimal_scale,
    view,
)
from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.forward.noise import (
    background_level,
    corners,
    noise_power,
    outside_disc,
    radial_noise_power,
    sample_noise,
    whitening_filter,
)
from cryojax_graph.forward.project import project_gaussians
from cryojax_graph.forward.reconstruct import (
    SliceSums,
    SpectrumSums,
    back_project,
    complete_sums,
    insert_slices,
    no_slices,
    shell_weights,
    solve_map,
    spectrum_shells,
    sums_of_map,
    symmetrize_sums,
)
from cryojax_graph.forward.sampling_density import sampling_density
from cryojax_graph.forward.scattering import atom_gaussians, residue_gaussians
from cryojax_graph.forward.sharpening import sharpen
from cryojax_graph.forward.slices import (
    VolumeSpectrum,
    can_be_numbered,
    cells_of,
    interpolate_spectrum,
    slice_at,
    slice_spectrum,
    volume_spectrum,
)
from cryojax_graph.forward.windows import lost_mass, project_groups

__all__ = [
    "CTF",
    "GroupPlan",
    "Replicates",
    "SliceSums",
    "SpectrumSums",
    "VolumeSpectrum",
    "add_replicate",
    "atom_gaussians",
    "automatic_mask",
    "back_project",
    "background_level",
    "blur_map",
    "can_be_numbered",
    "cells_of",
    "complete_sums",
    "cone_bootstrap",
    "contrast_transfer",
    "corners",
    "crop_spectrum",
    "deal_into_parts",
    "density_of_atoms",
    "density_of_gaussians",
    "electron_wavelength",
    "filter_image",
    "frequency_axes",
    "frequency_indices",
    "gaussian_image",
    "gaussian_spectrum",
    "inner_product",
    "insert_slices",
    "interpolate_spectrum",
    "jackknife_variance",
    "log_likelihood",
    "lost_mass",
    "low_pass",
    "map_batches",
    "map_image",
    "map_images",
    "map_spectrum",
    "no_replicates",
    "no_slices",
    "noise_power",
    "optimal_scale",
    "outside_disc",
    "pad_spectrum",
    "pixel_coordinates",
    "plan_groups",
    "project_gaussians",
    "project_groups",
    "radial_frequency",
    "radial_noise_power",
    "residue_gaussians",
    "sample_noise",
    "sampling_density",
    "sharpen",
    "shell_weights",
    "shift_image",
    "shift_phase",
    "slice_at",
    "slice_spectrum",
    "soft_sphere",
    "soften",
    "solve_map",
    "spectrum_multiplicity",
    "spectrum_shells",
    "sum_images",
    "sums_of_map",
    "symmetrize_sums",
    "to_image",
    "to_spectrum",
    "transfer_at",
    "view",
    "volume_spectrum",
    "whitening_filter",
    "without_part",
]
