"""How far two networks, and two values of a metric, may be apart."""

import numpy as np
import pytest

from gamepruning import metrics
from gamepruning.compaction.verify import check_value

RARE = np.repeat([0, 1], [998, 2])
FLOATS = np.linspace(0, 1, 1000)


def rmse(outputs, labels):
    return -(((outputs - labels) ** 2).mean() ** 0.5)


@pytest.mark.parametrize(
    ("found", "expected", "metric", "labels"),
    [
        (0.751, 0.75, metrics.accuracy, RARE),  # one example of 1000
        (0.74, 0.99, metrics.balanced_accuracy, RARE),  # one of the two rare ones
        (-1e13, -1.0001e13, rmse, FLOATS),  # rounding of large values
        (np.nan, np.nan, rmse, FLOATS),
    ],
)
def test_rounding_is_no_other_value(found, expected, metric, labels):
    check_value(found, expected, metric, labels)


@pytest.mark.parametrize(
    ("found", "expected", "metric", "labels"),
    [
        (0.76, 0.75, metrics.accuracy, RARE),
        (0.49, 0.99, metrics.balanced_accuracy, RARE),
        (0.76, 0.75, metrics.balanced_accuracy, FLOATS > 0.5),
        (-1.01e13, -1e13, rmse, FLOATS),
        (0.51, 0.5, rmse, FLOATS),
    ],
)
def test_another_value_is_an_error(found, expected, metric, labels):
    labels = labels.astype(int) if labels.dtype == bool else labels
    with pytest.raises(RuntimeError, match="gated off"):
        check_value(found, expected, metric, labels)
