import pytest

from training.schedules import constant, cooldown, halved, linear, log_linear, rising


@pytest.mark.parametrize(
    ("step", "value"),
    [
        (1, 1.59963e-4),
        (1000, 1.27093e-4),
        (3000, 8.0190e-5),
        (10_000, 1.6e-5),
        (20_000, 1.6e-6),
        (30_000, 1.6e-6),
    ],
)
def test_log_linear_gives_the_published_rates(step, value):
    assert log_linear(1.6e-4, 1.6e-6, 20_000)(step) == pytest.approx(value, rel=1e-5)


def test_linear_ends_where_it_should():
    rate = linear(2.0, 1.0, 10)
    assert [rate(0), rate(5), rate(10), rate(99)] == [2.0, 1.5, 1.0, 1.0]


def test_cooldown_holds_and_then_falls_to_a_tenth():
    factor = cooldown(1000, 0.3)
    assert [factor(k) for k in (1, 700, 1000)] == [1.0, 1.0, pytest.approx(0.1)]
    assert factor(850) == pytest.approx(0.55)
    assert cooldown(1000, 0.0)(1000) == 1.0


def test_rising_begins_at_nothing_and_ends_at_the_schedule():
    rate = rising(constant(3.0), 10)
    assert [rate(1), rate(5), rate(10), rate(99)] == [pytest.approx(0.3), 1.5, 3.0, 3.0]
    assert rising(constant(3.0), 0)(1) == 3.0


def test_halved_falls_after_each_part_of_the_run():
    value = halved(8.0, (0.2, 0.5), 100)
    assert [value(k) for k in (1, 20, 21, 50, 51, 100)] == [8, 8, 4, 4, 2, 2]
