"""Angles of tilted particles against rotations written out, one after the other."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.geometry import conical_tilt_angles

angle = st.floats(-400.0, 400.0)


def about_z(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def about_y(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


def relion(rot, tilt, psi):
    return about_z(psi) @ about_y(tilt) @ about_z(rot)


def about(direction, degrees):
    """Rotation of coordinates about any axis, with the sense of ``about_y`` (Rodrigues)."""
    x, y, z = direction
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.eye(3) - s * cross + (1 - c) * cross @ cross


@settings(max_examples=60, deadline=None)
@given(in_plane=angle, tilt=st.floats(-89.0, 89.0), axis=angle)
def test_the_support_is_tilted_about_the_axis_of_the_untilted_image(in_plane, tilt, axis):
    found = conical_tilt_angles(*(np.array([value]) for value in (in_plane, tilt, axis)))[0]
    direction = np.array([np.sin(np.radians(axis)), np.cos(np.radians(axis)), 0.0])
    expected = about(direction, tilt) @ relion(0.0, 0.0, in_plane)
    np.testing.assert_allclose(relion(*found), expected, atol=1e-9)
    rot, theta, psi = found
    assert theta >= 0
    assert -180 <= rot < 180
    assert -180 <= psi < 180


@settings(max_examples=60, deadline=None)
@given(in_plane=angle, tilt=st.floats(-89.0, 89.0), axis=angle, before=angle)
def test_axes_may_lie_differently_in_the_two_images(in_plane, tilt, axis, before):
    given_angles = (np.array([value]) for value in (in_plane, tilt, axis, before))
    found = relion(*conical_tilt_angles(*given_angles)[0])
    expected = about_z(axis) @ about_y(tilt) @ about_z(-before) @ about_z(in_plane)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # The axis keeps its place in the specimen: untilted and tilted image have it where told.
    axis_of_object = about_z(in_plane).T @ [
        np.sin(np.radians(before)),
        np.cos(np.radians(before)),
        0,
    ]
    seen = found @ axis_of_object
    np.testing.assert_allclose(
        seen, [np.sin(np.radians(axis)), np.cos(np.radians(axis)), 0], atol=1e-9
    )


def test_without_a_tilt_the_view_is_that_of_the_untilted_image():
    turns = np.linspace(-170.0, 170.0, 7)
    angles = conical_tilt_angles(turns, np.zeros(7), np.full(7, 33.0))
    for turn, found in zip(turns, angles, strict=True):
        np.testing.assert_allclose(relion(*found), relion(0, 0, turn), atol=1e-12)


def test_views_lie_on_a_cone_around_z():
    angles = conical_tilt_angles(np.arange(0.0, 360.0, 10.0), np.full(36, 50.0), np.full(36, 12.0))
    directions = np.stack([relion(*row)[2] for row in angles])
    np.testing.assert_allclose(directions[:, 2], np.cos(np.radians(50.0)))
