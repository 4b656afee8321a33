"""What every malformed file must come to: one error that names file, place, cause and remedy."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cryojax_graph.io import InputError


@pytest.fixture
def refuses() -> Callable[..., None]:
    """Check that a reader refuses a file, and that the message says the given words."""

    def check(read: Callable[[Path], object], path: Path, *words: str) -> None:
        with pytest.raises(InputError) as caught:
            read(path)
        error = caught.value
        assert Path(error.file).name == path.name
        assert all((error.place, error.cause, error.remedy))
        assert "\n" not in str(error)
        for word in words:
            assert word in str(error), str(error)

    return check


@pytest.fixture
def little_memory() -> Callable[..., object]:
    """A block that must not allocate more than 50 MiB at any time."""

    @contextmanager
    def block() -> Iterator[None]:
        tracemalloc.start()
        try:
            yield
            assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
        finally:
            tracemalloc.stop()

    return block
