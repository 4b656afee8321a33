"""A warning where fitted conformations leave much unexplained."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest

from cryojax_graph.jobs.flex import completeness
from cryojax_graph.models.backbone_graph.agreement import ShellAgreement

SHELLS = 17


class Told:
    def __init__(self):
        self.metrics, self.warnings = {}, []

    def metric(self, name, value, unit=None):
        self.metrics[name] = value

    def warn(self, text):
        self.warnings.append(text)


@pytest.mark.parametrize(
    ("share", "warns"), [(0.95, False), (0.8, False), (0.7, True), (0.3, True)]
)
@pytest.mark.parametrize("held", [0, 5, 70])
def test_what_is_left_unexplained_is_warned_of(monkeypatch, share, warns, held):
    """Predictions that hold a share of the signal and nothing else."""
    asked = []
    views = SimpleNamespace(rotation=np.random.default_rng(0).random((170, 3, 3)), shift=None)
    views.shift = views.rotation[:, 0, :2]

    def agreement(c_alpha, images, **more):
        # In the poses that came of the fit, not in those that the reader knows.
        np.testing.assert_array_equal(images["rotation"], views.rotation[asked[-1]])
        np.testing.assert_array_equal(images["shift"], views.shift[asked[-1]])
        even = np.ones(SHELLS)
        frequency = np.arange(SHELLS) / (2 * (SHELLS - 1) * 4.0)
        box = 2 * (SHELLS - 1)
        return ShellAgreement(frequency, share * even, share * even, even, 0 * even, box)

    monkeypatch.setattr(completeness, "shell_agreement", agreement)
    monkeypatch.setattr(completeness, "noise_of_spectra", lambda spectra: np.zeros(SHELLS))
    monkeypatch.setattr(completeness, "extra_variance", lambda imaging: 0.0)
    monkeypatch.setattr(
        completeness,
        "conformations",
        lambda params, some, **more: iter([np.zeros((len(some), 3, 3))]),
    )
    problem = SimpleNamespace(
        saved=None,
        held=np.arange(100, 100 + held),
        fitted=np.arange(20),
        config=None,
        template=None,
        particles=SimpleNamespace(pixel_size=4.0, views=views),
        reader=SimpleNamespace(
            spectra=lambda some: asked.append(some) or {"spectrum": None, "rotation": None}
        ),
    )
    job = Told()
    # Only what it asks of a problem is there: its type is not checked.
    inspect.unwrap(completeness.check_completeness)(problem, {"imaging": None}, job)
    assert job.metrics["conformations_explain_percent"] == pytest.approx(100 * share)
    assert bool(job.warnings) is warns
    # Images that the fit has not seen, where there are enough.
    np.testing.assert_array_equal(asked[0], problem.held if held > 60 else problem.fitted)


@pytest.mark.parametrize(
    ("strength", "louder", "warns"),
    [(1.0, 1.0, False), (1.2, 0.8, False), (2.0, 1.0, True), (1.0, 2.0, True), (0.4, 0.4, True)],
)
def test_images_unlike_those_of_the_fit_are_warned_of(strength, louder, warns):
    even, frequency = np.ones(SHELLS), np.arange(SHELLS) / 128.0
    agreement = ShellAgreement(frequency, 3 * strength * even, even, even, even, 32)
    imaging = {"log_scale": np.log(3.0), "log_noise": np.log(np.linspace(1, 2, SHELLS))}
    noise = louder**2 * np.linspace(1, 2, SHELLS)
    job = Told()
    compare = inspect.unwrap(completeness._compare_with_fit)
    compare(agreement, noise, imaging, job)
    assert job.metrics["strength_beside_fit"] == pytest.approx(strength)
    assert job.metrics["noise_beside_fit"] == pytest.approx(louder)
    assert bool(job.warnings) is warns
