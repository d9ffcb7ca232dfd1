import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import edge  # noqa: E402
import whole  # noqa: E402


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """Exports each checkpoint once for each set of options, and caches the paths."""
    folder = tmp_path_factory.mktemp("bundles")
    made = {}

    def get(checkpoint, *options):
        key = (checkpoint, options)
        if key not in made:
            made[key] = edge.export(checkpoint, folder / f"{len(made)}.edge", *options)
        return made[key]

    return get


@pytest.fixture(scope="session")
def wholes(tmp_path_factory):
    """Exports whole-model files, each once in a separate folder, and caches them."""
    folder = tmp_path_factory.mktemp("wholes")
    made = {}

    def get(checkpoint, *options):
        key = (checkpoint, options)
        if key not in made:
            made[key] = whole.export(checkpoint, folder / str(len(made)), *options)
        return made[key]

    return get


_skips = []


def skip_loudly(reason):
    """Skips a test, and reports it in the summary at every verbosity: a skipped check is no pass."""
    _skips.append(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared():
    if not edge.SHARED.is_dir():
        skip_loudly("NOT RUN: needs ../shared (reference logits and SST-2 dev), which is absent")
    return edge.SHARED


@pytest.fixture(scope="session")
def shipped():
    if not (edge.SHIPPED / "model.safetensors").is_file():
        skip_loudly("NOT RUN: needs models/sst2-minilm, which is absent")
    return edge.SHIPPED


@pytest.fixture(scope="session")
def record():
    """Collects figures that are shown at the end of the run."""
    return _figures.append


_figures = []


def pytest_terminal_summary(terminalreporter):
    for title, rows in (("measured", _figures), ("NOT RUN", sorted(set(_skips)))):
        if rows:
            terminalreporter.section(title)
            for row in rows:
                terminalreporter.line(row)
