from tests.chaos.schedule import DECK, Fault, Kind, Schedule


def faults(seed: int, count: int = 100) -> list[Fault]:
    schedule = Schedule(seed)
    return [schedule.next() for _ in range(count)]


def test_the_same_seed_gives_the_same_faults() -> None:
    assert faults(3) == faults(3)
    assert faults(3) != faults(4)


def test_these_are_the_faults_of_seed_1() -> None:
    """A seed in a report repeats that run: its faults may not change with Python or with the code."""
    assert [fault.kind.name for fault in faults(1, 8)] == [
        "KILL_GATEWAY",
        "KILL_WORKER",
        "PROVIDER_DRIP",
        "TERM_WORKER",
        "PROVIDER_ERROR",
        "KILL_WORKER",
        "KILL_WORKER",
        "STOP_REDIS",
    ]


def test_every_kind_strikes_in_each_stretch() -> None:
    stretch = sum(DECK.values())
    for seed in range(5):
        kinds = [fault.kind for fault in faults(seed, 3 * stretch)]
        for at in range(0, len(kinds), stretch):
            assert set(kinds[at : at + stretch]) == set(Kind)


def test_a_target_is_one_of_those_there_are() -> None:
    for fault in faults(1):
        assert fault.choose(1) == 0
        assert 0 <= fault.choose(3) < 3
        assert 2.0 <= fault.between(2.0, 5.0) <= 5.0
