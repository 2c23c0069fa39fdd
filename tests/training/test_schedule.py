import numpy as np
import pytest
from keras import ops

from keras_transformer.training.schedule import WarmupInverseSquareRoot
from tests.reference.transformer import learning_rate


def rate(schedule, step):
    return float(ops.convert_to_numpy(schedule(step)))


@pytest.mark.parametrize("step", [1, 2, 399, 400, 401, 5000])
def test_rate_is_equation_3(step):
    schedule = WarmupInverseSquareRoot(512, 400)
    expected = 512**-0.5 * min(step**-0.5, step * 400**-1.5)
    assert rate(schedule, step - 1) == pytest.approx(expected, rel=1e-5)
    assert learning_rate(step, 512, 400) == pytest.approx(expected, rel=1e-9)


def test_factor_multiplies():
    assert rate(WarmupInverseSquareRoot(64, 10, factor=3.0), 4) == pytest.approx(
        3 * rate(WarmupInverseSquareRoot(64, 10), 4), rel=1e-6
    )


def test_cooldown_falls_linearly_to_nothing():
    plain = WarmupInverseSquareRoot(64, 5)
    cooled = WarmupInverseSquareRoot(64, 5, max_steps=20, cooldown_steps=4)
    shares = [rate(cooled, step) / rate(plain, step) for step in range(14, 21)]
    np.testing.assert_allclose(shares, [1, 1, 1, 0.75, 0.5, 0.25, 0], atol=1e-5)


def test_config_round_trip():
    schedule = WarmupInverseSquareRoot(64, 5, 2.0, 20, 4)
    assert WarmupInverseSquareRoot(**schedule.get_config()).get_config() == schedule.get_config()


def test_values_outside_their_ranges_are_refused():
    with pytest.raises(
        ValueError, match=r"`warmup_steps` must be at least 1 and `factor` above 0, got 0 and 1"
    ):
        WarmupInverseSquareRoot(64, 0)
    with pytest.raises(ValueError, match=r"`cooldown_steps` must be in 0\.\.max_steps \(3\), got 4"):
        WarmupInverseSquareRoot(64, 5, max_steps=3, cooldown_steps=4)
