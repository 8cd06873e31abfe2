"""The lift R."""

import pytest
import torch

from qdeq_qiskit.equilibrium import nearest_lift


@pytest.mark.parametrize(("features", "state_size"), [(16, 4), (100, 10), (64, 6), (7, 3), (3, 3)])
def test_the_lift_is_torchs_nearest_upsampling(features: int, state_size: int) -> None:
    state = torch.randn(5, state_size)
    expected = torch.nn.functional.interpolate(state.unsqueeze(1), size=features, mode="nearest").squeeze(1)
    torch.testing.assert_close(state @ nearest_lift(features, state_size).T, expected)


def test_a_lift_to_fewer_features_than_state_entries_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least as many features .* features=3, state_size=4"):
        nearest_lift(3, 4)


def test_the_precision_of_a_lift_can_be_chosen() -> None:
    assert nearest_lift(4, 2, dtype=torch.float64).dtype == torch.float64
