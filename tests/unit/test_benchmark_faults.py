"""The pure parts of the benchmark of faults: when a trader was back, what the guide's alert would say, the table."""

from benchmarks.faults import COUNTED, CURED, FAULTS, GUIDE, OURS, WAYS, Contender, alerted, back, result, table


def contender(way: str = OURS, fault: str = "memory") -> Contender:
    counted = dict.fromkeys(COUNTED, 3)
    return Contender(way, fault, "name", "user", before=counted, after={**counted, "logins": 4, "attempts": 5})


def test_back_is_when_a_trader_could_trade_for_good() -> None:
    assert back([(0, True), (10, True)], 0) == 0
    assert back([(0, True), (4, False), (8, True), (12, False), (16, True), (20, True)], 0) == 16
    assert back([(0, False), (100, False), (130, True)], 120) == 10
    assert back([(0, False), (100, True)], 120) == 0
    assert back([(0, True), (4, False)], 0) is None
    assert back([], 0) is None


def test_the_guides_alert_waits_for_two_minutes_of_a_metric_that_says_so() -> None:
    one = contender(GUIDE)
    one.metric = [(0, True), (30, False), (60, True), (90, False), (120, False), (180, False), (210, False)]
    alerted(one)
    assert one.notices == [(30, "metric"), (90, "metric")]
    assert one.told == [(210, "IB Gateway is down")]


def test_what_is_counted_is_since_the_fault_began() -> None:
    one = contender()
    one.up = [(0, True), (4, False), (8, True)]
    one.notices = [(6, "watcher: port closed"), (2, "watcher: stopped")]
    found = result(one, FAULTS["memory"])
    assert (found.noticed, found.by, found.back, found.away) == (2, "watcher: stopped", 8, True)
    assert found.counted == {**dict.fromkeys(COUNTED, 0), "logins": 1, "attempts": 2}
    cured = contender(fault="connectivity")
    cured.up = [(0, False), (CURED + 5, True)]
    assert result(cured, FAULTS["connectivity"]).back == 5


def test_the_table_says_what_nobody_noticed() -> None:
    quiet, well = contender(GUIDE), contender()
    quiet.up, well.up = [(0, False)], [(0, True)]
    lines = table([result(quiet, FAULTS["memory"]), result(well, FAULTS["memory"])], FAULTS).splitlines()
    assert lines[2].split(" | ")[1:5] == ["guide", "-", "nothing", "no"]
    assert lines[3].split(" | ")[4] == "not away"


def test_there_are_fifteen_faults_and_three_ways() -> None:
    assert (len(FAULTS), len(WAYS)) == (15, 3)
