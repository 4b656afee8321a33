"""Poses found with several conformations."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.jobs.flex.pose_search import _searched
from cryojax_graph.jobs.pose.searcher import Found


def found_at(degrees: float, evidence: float, deviation: float) -> Found:
    rotation = Rotation.from_rotvec([[0, 0, np.radians(degrees)]]).as_matrix()
    zero = np.zeros(1)
    values = dict.fromkeys(Found._fields, zero) | {
        "rotation": rotation,
        "shift": np.full((1, 2), degrees),
        "evidence": np.array([evidence], np.float32),
        "rotation_deviation": np.array([np.radians(deviation)]),
    }
    return Found(**values)


class Particles(SimpleNamespace):
    def _replace(self, **changes):
        return SimpleNamespace(**(vars(self) | changes))


@pytest.mark.parametrize(
    ("behind", "expected"), [(40.0, 2.0), (0.0, np.hypot(2.0, np.sqrt(0.5) * 120))]
)
def test_a_pose_is_as_sure_as_the_choice_of_the_conformation(behind, expected):
    every = [found_at(120.0, 50.0 - behind - 1e-3, 2.0), found_at(0.0, 50.0, 2.0)]
    particles = Particles(views=SimpleNamespace(ctf=None))
    told = SimpleNamespace(log=lambda text: None)
    # Only what it asks of particles and job is there: their types are not checked.
    found = _searched.__wrapped__(particles, every, told)
    np.testing.assert_allclose(found.particles.views.rotation[0], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found.particles.views.shift, 0.0)
    assert np.degrees(found.doubt[0]) == pytest.approx(expected, rel=1e-2)
    assert found.evidence.shape == (1, 2)
