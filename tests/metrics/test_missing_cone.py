"""Agreement outside the missing cone."""

import numpy as np
import pytest

from cryojax_graph.metrics import half_spectrum, measured_correlation, outside_cone, real_map


@pytest.mark.parametrize(("box", "half_angle"), [(12, 30.0), (13, 45.0)])
def test_the_cone_is_what_lies_within_its_angle_of_z(box, half_angle):
    outside = outside_cone(box, half_angle)
    k = np.fft.fftfreq(box) * box
    for (z, y, x), found in np.ndenumerate(outside):
        point = np.array([x, k[y], k[z]])
        length = np.linalg.norm(point)
        angle = np.degrees(np.arccos(abs(point[2]) / length)) if length else 90.0
        # 45° lies on the edge exactly.
        assert found == (round(angle, 6) >= half_angle)


def test_a_right_angle_leaves_the_plane_of_the_untilted_images():
    assert outside_cone(8, 90.0).sum() == 8 * 5
    assert outside_cone(8, 0.0).all()


def test_what_is_in_the_cone_does_not_count():
    box, half_angle = 24, 40.0
    random = np.random.default_rng(0)
    common, noise = random.normal(size=(2, box, box, box)).astype(np.float32)
    cone = ~outside_cone(box, half_angle)
    inside = real_map(half_spectrum(noise) * cone)
    found = measured_correlation(common + inside, common, half_angle_degrees=half_angle)
    np.testing.assert_allclose(found[2:], 1.0, atol=0.02)
    emptied = real_map(half_spectrum(common) * ~cone)
    other = common + 0.5 * noise
    np.testing.assert_allclose(
        measured_correlation(emptied, other, half_angle_degrees=half_angle),
        measured_correlation(common, other, half_angle_degrees=half_angle),
        atol=1e-3,
    )
