"""Images of a report as small pictures, each in its own range of grey."""

import html
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Num

from cryojax_graph.jobs.figures import caption_below
from cryojax_graph.jobs.png import data_uri, encode_png, grey_levels

_OUTLINE = np.array([255, 140, 0], np.uint8)


def image_grid(
    images: Num[np.ndarray, "n height width"],
    *,
    captions: Sequence[str] | None = None,
    caption: str = "",
    width: int = 128,
    outlines: Bool[np.ndarray, "n height width"] | None = None,
) -> str:
    """Thumbnails, each stretched to its own range of grey, row 0 of each image at the top.

    Args:
        images: any unit.
        captions: of each image.
        caption: of all.
        width: of each on the page, CSS pixels.
        outlines: pixels drawn in colour.

    Returns:
        HTML.
    """
    cells = []
    for i, image in enumerate(images):
        label = html.escape(captions[i]) if captions else ""
        pixels = grey_levels(image)
        if outlines is not None:
            pixels = np.where(outlines[i][..., None], _OUTLINE, pixels[..., None])
        uri = data_uri(encode_png(pixels))
        cells.append(
            f'<figure><img src="{uri}" width="{width}" alt="{label or f"image {i + 1}"}">'
            f"<figcaption>{label}</figcaption></figure>"
        )
    style = f"grid-template-columns: repeat(auto-fill, minmax({width}px, 1fr))"
    grid = f'<div class="thumbnails" style="{style}">{"".join(cells)}</div>'
    return f"<figure>{grid}{caption_below(caption)}</figure>"
