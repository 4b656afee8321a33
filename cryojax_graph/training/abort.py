"""The one exception that means: asked to stop, and nothing is lost."""


class Aborted(Exception):
    """The run was asked to stop; the work done so far is in its last checkpoint."""
