"""Settings for the tests of power indices."""

import pytest

from gamepruning.coalitions.estimators import proxies


@pytest.fixture(autouse=True)
def with_few_trees(monkeypatch):
    """Proxies learn by 3 trees: 100 take a second, and what they find is not tested."""
    monkeypatch.setattr(proxies, "TREES", 3)
