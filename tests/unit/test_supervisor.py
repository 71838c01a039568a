"""The first process of a gateway's container: every end is a logout, every login is counted, every wait has a word."""

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from healthcheck.automation import ibc
from healthcheck.automation.base import OUTCOMES, classify
from infra.supervisor import WORDS, zone_rules
from tests.unit.supervised import VERSION, Supervised
from tests.unit.test_healthcheck_automation import IBC_LINES

STAMP = "2026-11-26 12:00:00:000 IBC: "
FORM = f"{STAMP}Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT"
SUBMITTED = f"{STAMP}Click button: Paper Log In"
REJECTED = f"{STAMP}detected dialog entitled: Unrecognized Username or Password; event=Opened"
SECOND_FACTOR = f"{STAMP}detected dialog entitled: Second Factor Authentication; event=Opened"
COMPETING = f"{STAMP}End this session and let the other session proceed (scenario 2)"
SESSION = "ibgw:gateways.main.session"
PLANNED = {"autoRestart": "23:59", "coldRestart": "07:05"}


@pytest.fixture
def box(tmp_path: Path) -> Supervised:
    return Supervised(tmp_path)


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """What a test started ends with it, however it ends."""
    yield
    while Supervised.started:
        Supervised.started.pop().kill()


def at(minutes: int) -> str:
    """The time of day in New York, some minutes from now."""
    return f"{datetime.now(ZoneInfo('America/New_York')) + timedelta(minutes=minutes):%H:%M}"


# --- the script ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", ["paper", "live"])
def test_the_script_is_valid_and_complete(stack: str, tmp_path: Path) -> None:
    text = Supervised(tmp_path, stack).script.read_text()
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert " LIMIT=2 " in text
    assert "@" not in "".join(line for line in text.splitlines() if line.startswith("readonly") and "[@]" not in line)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Zurich", "Asia/Kolkata", "Australia/Sydney", "Etc/UTC"])
def test_the_shell_tells_the_time_of_a_zone_that_the_image_lacks(zone: str) -> None:
    for month in range(1, 13):
        instant = datetime(2027, month, 28, 3, 30, tzinfo=ZoneInfo("UTC"))
        told = subprocess.run(
            ["bash", "-c", f"export TZ='{zone_rules(zone)}'; printf '%(%a %H:%M)T' {instant.timestamp():.0f}"],
            capture_output=True, text=True, check=True, env={"LC_ALL": "C"},
        ).stdout  # fmt: skip
        assert told == f"{instant.astimezone(ZoneInfo(zone)):%a %H:%M}"


def test_lines_mean_the_same_in_the_container_and_outside(box: Supervised) -> None:
    """One table: the container's is rendered from it."""
    lines = [line for line, _ in IBC_LINES]
    (box.home / "lines").write_text("".join(f"{line}\n" for line in lines))
    said = box.bash(f'while IFS= read -r line; do classify "$line"; echo "${{WORD:-nothing}}"; done <{box.home}/lines')
    states = [classify(line, ibc.PROFILE) for line in lines]
    assert said.split() == ["nothing" if state is None else WORDS.get(state, "none") for state in states]


def test_every_outcome_is_a_word_that_reports_know() -> None:
    """Besides those, `unknown`, `ended` and `wrong_account` are the supervisor's own; LOGIN_ERROR's text decides."""
    steps = {"begun", "kept", "form", "submitted", "factor", "device", "relogin", "logged_in", "text_follows"}
    assert set(WORDS.values()) - steps <= set(OUTCOMES)


# --- what the image is given --------------------------------------------------------------------------------------


def rendered(box: Supervised) -> list[str]:
    box.bash("load_attempts; before_login")
    return box.template.read_text().split("\n")


def test_the_credentials_go_into_the_template_and_into_no_environment(box: Supervised) -> None:
    rendered(box)
    lines = rendered(box)  # the same container again: nothing is entered twice
    assert lines[:2] == [r"IbLoginId=some\u002Dbody", r"IbPassword=Pass\u0024word"]
    assert oct(box.template.stat().st_mode & 0o777) == "0o600"


def test_a_key_that_the_template_lacks_is_appended(box: Supervised) -> None:
    """Without these lines IBC's command server is off, or listens on all addresses for anybody."""
    lines = rendered(box)
    assert lines[2] == "BindAddress=127.0.0.1"
    assert {"ControlFrom=", "LoginDialogDisplayTimeout=300"} <= set(lines)
    assert f"CommandServerPort={box.ports['commands']}" in lines


def test_the_template_s_line_ends_stay(box: Supervised) -> None:
    box.template.write_bytes(b"IbLoginId=${TWS_USERID}\r\nBindAddress=\r\n")
    box.bash("load_attempts; before_login")
    assert all(line.endswith(b"\r") for line in box.template.read_bytes().split(b"\n")[:-1])


def test_relogin_is_only_for_a_version_whose_last_login_succeeded(tmp_path: Path) -> None:
    box = Supervised(tmp_path, **{"ibgw:gateways.main.secondFactor": {"method": "push", "relogin": True}})
    key = "ReloginAfterSecondFactorAuthenticationTimeout"
    assert f"{key}=no" in rendered(box)
    (box.guard / f"{VERSION}.ok").touch()
    assert f"{key}=yes" in rendered(box)
    (box.guard / f"{VERSION}.attempts").write_text("1\n")
    assert f"{key}=no" in rendered(box)


def test_debugging_logs_no_window_that_holds_the_user_id(tmp_path: Path) -> None:
    """IBC's LogStructureScope=all would log the filled login form."""
    lines = rendered(Supervised(tmp_path, **{"ibgw:gateways.main.debug": {"enabled": True}}))
    assert {"LogStructureScope=unknown", "IncludeStackTraceForExceptions=yes"} <= set(lines)


def test_of_the_gateway_s_own_logs_the_newest_are_kept(tmp_path: Path) -> None:
    """By age and by size; what was too much is not copied again, whatever the settings still hold."""
    box = Supervised(tmp_path, **{"ibgw:gateways.main.debug": {"enabled": True}})
    box.script.write_text(box.script.read_text().replace("LOG_MEBIBYTES=256", "LOG_MEBIBYTES=3", 1))
    logs = box.home / "debug_logs"
    logs.mkdir()
    (box.settings / "abc").mkdir()

    def wrote(name: str, days_ago: int, mebibytes: int) -> None:
        with (box.settings / name).open("w") as file:
            file.truncate(mebibytes * 2**20)
        at = time.time() - days_ago * 86400
        os.utime(box.settings / name, (at, at))

    def kept(rounds: int) -> list[str]:
        box.bash(";".join(["keep_logs", f"find {logs} -type f | xargs -rn1 basename | sort >{box.home}/kept"] * rounds))
        return (box.home / "kept").read_text().split()

    wrote("launcher.log", 0, 1)
    wrote("launcher.log.1", 15, 1)
    wrote("abc/ibgateway.1.ibgzenc", 3, 1)
    wrote("abc/ibgateway.2.ibgzenc", 2, 1)
    wrote("jts.ini", 0, 1)
    assert kept(1) == ["ibgateway.1.ibgzenc", "ibgateway.2.ibgzenc", "launcher.log"]
    wrote("abc/ibgateway.3.ibgzenc", 1, 1)
    for rounds in (1, 3):
        assert kept(rounds) == ["ibgateway.2.ibgzenc", "ibgateway.3.ibgzenc", "launcher.log"]
    os.utime(next(logs.rglob("ibgateway.2.ibgzenc")), (0, 0))
    for number in (1, 2):
        (box.settings / "abc" / f"ibgateway.{number}.ibgzenc").unlink()
    assert kept(1) == ["ibgateway.3.ibgzenc", "launcher.log"]
    # However large, the newest stays.
    wrote("launcher.log", -1, 4)
    assert kept(2) == ["launcher.log"]


def test_an_existing_jts_ini_gets_the_configured_time_zone(box: Supervised) -> None:
    jts = box.settings / "jts.ini"
    jts.write_text("[Logon]\nTimeZone=Etc/UTC\nLocale=en\n")
    rendered(box)
    assert jts.read_text() == "[Logon]\nTimeZone=America/New_York\nLocale=en\n"


def with_screen(box: Supervised) -> None:
    """As 0.2 deployed it, by a setting that is gone; this script may come into such a container."""
    box.values.write_text(box.values.read_text().replace("VNC=no", "VNC=yes"))


def test_nothing_that_it_writes_is_for_others_to_read(tmp_path: Path) -> None:
    box = Supervised(tmp_path)
    with_screen(box)
    box.bash("load_attempts; before_login; save_attempts; keep $GUARD/history 1")
    kept = box.template.with_name("config.ini.tmpl.image")
    written = [box.home / "vnc_password", kept, box.home / "run", box.guard, *box.guard.iterdir()]
    assert len(written) > 6
    assert [(path.name, oct(path.stat().st_mode)) for path in written if path.stat().st_mode & 0o077] == []


def test_the_screen_has_a_new_password_at_each_start(tmp_path: Path) -> None:
    box = Supervised(tmp_path)
    with_screen(box)
    rendered(box)
    first = (box.home / "vnc_password").read_text()
    rendered(box)
    assert len(first) == 12
    assert (box.home / "vnc_password").read_text() != first


@pytest.mark.parametrize(("minutes", "stays"), [(1, True), (10, False)])
def test_only_a_fresh_autorestart_file_is_used(box: Supervised, minutes: int, stays: bool) -> None:
    file = box.settings / "abc" / "autorestart"
    file.parent.mkdir()
    file.touch()
    os.utime(file, (time.time() - minutes * 60,) * 2)
    rendered(box)
    assert file.exists() is stays


def test_a_template_that_cannot_be_kept_ends_the_start(box: Supervised) -> None:
    """Half a copy would leave out what a later start does not set: the trading mode."""
    said = box.bash('cp() { : >"$2"; return 1; }; load_attempts; before_login; echo "$?"')
    assert said.splitlines()[-1] == "1"
    assert not (box.template.parent / "config.ini.tmpl.image").exists()


# --- when a login may be made -------------------------------------------------------------------------------------


def gate(box: Supervised) -> str:
    return box.bash('gate; echo "$HOLD"').splitlines()[-1]


@pytest.mark.parametrize("count", ["2\n", "7\n", "", "many\n"])
def test_a_used_up_or_unreadable_count_holds(box: Supervised, count: str) -> None:
    box.guard.mkdir()
    (box.guard / f"{VERSION}.attempts").write_text(count)
    assert "ibgw: held: attempts: unknown" in box.bash("gate")


def test_a_hold_names_how_the_last_attempt_ended(box: Supervised) -> None:
    box.guard.mkdir()
    (box.guard / f"{VERSION}.attempts").write_text("2\n1 rejected\n2 competing_session\n")
    assert "ibgw: held: attempts: competing_session" in box.bash("gate")


def test_a_new_version_of_the_secret_starts_anew(box: Supervised) -> None:
    box.guard.mkdir()
    (box.guard / "v0.attempts").write_text("2\n")
    assert gate(box) == "none"


def history(box: Supervised, *entries: tuple[int, str]) -> None:
    box.guard.mkdir(exist_ok=True)
    now = int(time.time())
    (box.guard / "history").write_text("".join(f"{now - ago} {word}\n" for ago, word in entries))


@pytest.mark.parametrize(
    ("entries", "seconds"),
    [
        ([(1, "login")], 4),
        ([(30, "login"), (1, "login")], 9),
        ([(90, "login"), (60, "login"), (30, "login"), (1, "login")], 39),
        ([(1, "unreachable")] * 9, 59),
        ([(1, "start")] * 9, 599),
        ([(1, "competing")], 899),
        ([(10, "login")], 0),
        ([(4000, "login")] * 3, 0),
    ],
)
def test_pauses_grow_with_the_starts_that_nobody_asked_to_end(
    box: Supervised, entries: list[tuple[int, str]], seconds: int
) -> None:
    history(box, *entries)
    said = box.bash('gate; echo "$HOLD $((UNTIL ? UNTIL - EPOCHSECONDS : 0))"').splitlines()[-1].split()
    assert said[0] == ("pause" if seconds else "none")
    assert abs(int(said[1]) - seconds) <= 1


@pytest.mark.parametrize("word", ["login", "late_form"])
def test_five_within_an_hour_hold_until_a_person_goes_on(box: Supervised, word: str) -> None:
    history(box, *[(9000 + ago, word) for ago in (50, 40, 30, 20)])
    assert gate(box) == "none"
    history(box, *[(9000 + ago, word) for ago in (50, 40, 30, 20, 10)])
    assert gate(box) == "logins"


def test_what_cannot_be_recorded_is_not_tried(box: Supervised) -> None:
    assert box.bash('keep() { return 1; }; gate; echo "$HOLD"').endswith("unwritable")


def test_a_volume_that_becomes_writable_ends_its_hold(box: Supervised) -> None:
    """A file where the folder should be, since a folder's mode stops no root."""
    box.guard.write_text("")
    said = box.bash('gate; echo "$HOLD"; rm "$GUARD"; gate; echo "$HOLD $LOCKED"')
    assert said.splitlines()[-2:] == ["unwritable", "none yes"]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("exec java -jar ibg-controller.jar", "ibg_controller"),
        ("exec ibcontroller run", "ibcontroller"),
        ("", "unknown"),
    ],
)
def test_only_ibc_is_started(box: Supervised, content: str, word: str) -> None:
    (box.home / "scripts" / "run.sh").write_text(f"#!/bin/bash\n{content}\n")
    assert f"ibgw: held: automation: {word}" in box.bash("gate")


def test_offline_hours_hold_and_end(tmp_path: Path) -> None:
    box = Supervised(tmp_path, **{SESSION: {**PLANNED, "offline": {"from": at(-5), "until": at(30)}}})
    word, until = box.bash('gate; echo "$HOLD $UNTIL"').splitlines()[-1].split()
    assert word == "offline"
    assert 28 * 60 <= int(until) - time.time() <= 31 * 60
    box.render(**{SESSION: {**PLANNED, "offline": {"from": at(5), "until": at(35)}}})
    assert gate(box) == "none"


def test_a_pause_lies_on_the_volume_and_its_end_gives_way(box: Supervised) -> None:
    box.guard.mkdir()
    (box.guard / "pause").write_text(f"{int(time.time()) + 600}\n")
    assert gate(box) == "paused"
    (box.guard / "pause").write_text(f"{int(time.time()) - 1}\n")
    assert gate(box) == "none"
    assert "ExistingSessionDetectedAction=secondary" in rendered(box)
    box.bash("confirmed")
    assert not any(line.startswith("ExistingSession") for line in rendered(box))


def test_a_container_without_the_lock_leaves_the_volume_alone(box: Supervised) -> None:
    box.start().until_phase("logged_in")
    token = box.settings / "abc" / "autorestart"
    token.parent.mkdir()
    token.touch()
    box.bash("gate; end stop")
    assert token.exists()
    assert (box.guard / "stopped").read_text() == "killed\n"


def test_two_containers_on_one_volume_never_log_in_both(box: Supervised) -> None:
    run = box.start()
    run.until_phase("logged_in")
    assert "ibgw: held: volume" in box.bash("gate")
    assert box.events == ["start", "login"]


# --- a stop is a logout -------------------------------------------------------------------------------------------


def test_a_stop_is_a_logout(box: Supervised) -> None:
    run = box.start()
    run.until_phase("logged_in")
    assert run.stop() == 143
    assert box.events == ["start", "login", "STOP", "logout"]
    assert "ibgw: stopped: clean" in box.output


@pytest.mark.parametrize("lines", [[FORM], [FORM, SUBMITTED, SECOND_FACTOR]])
def test_a_stop_without_a_session_is_none(box: Supervised, lines: list[str]) -> None:
    box.plan(logs_in=False, lines=lines)
    run = box.start()
    run.until_phase("second_factor" if SECOND_FACTOR in lines else "login")
    assert run.stop() == 143
    assert box.events == ["start"]
    assert "ibgw: stopped: no session" in box.output


def test_a_stop_before_ibc_takes_note_of_the_login_waits_for_it(box: Supervised) -> None:
    """IBC's STOP ends a program whose login it does not know yet without a logout (StopTask)."""
    box.plan(notes_login_after=2.5)
    run = box.start()
    run.until_phase("logged_in")
    assert run.stop() == 143
    assert box.events == ["start", "login", "STOP", "logout"]
    assert "ibgw: stopped: clean" in box.output


def test_what_ibc_never_took_note_of_is_not_called_clean(box: Supervised) -> None:
    box.plan(notes_login_after=60)
    run = box.start()
    run.until_phase("logged_in")
    assert run.stop() == 143
    assert box.events == ["start", "login", "logout"]
    assert "ibgw: stopped: stranded" in box.output


def test_a_stop_while_it_is_held_ends_at_once(box: Supervised) -> None:
    box.guard.mkdir()
    (box.guard / f"{VERSION}.attempts").write_text("2\n1 rejected\n2 rejected\n")
    (box.guard / "stopped").write_text("killed\n")
    run = box.start()
    run.until(lambda: box.status().get("hold") == "attempts")
    assert run.stop() == 143
    assert box.events == []
    assert (box.guard / "stopped").read_text() == "killed\n", "how the last session ended"


def test_a_gateway_that_does_not_react_is_ended_before_the_grace_is_over(box: Supervised) -> None:
    box.plan(deaf=True)
    box.values.write_text(box.values.read_text().replace("GRACE=90", "GRACE=7"))
    run = box.start()
    run.until_phase("logged_in")
    began = time.monotonic()
    assert run.stop() == 143
    assert time.monotonic() - began < 7
    assert "ibgw: stopped: stranded" in box.output
    assert (box.guard / "stopped").read_text() == "stranded\n"


def test_a_stop_ends_ibc_s_own_restarts(box: Supervised) -> None:
    """A leftover autorestart file made ibcstart.sh start Java again and again after a stop."""
    run = box.start()
    run.until_phase("logged_in")
    (box.settings / "abc").mkdir()
    (box.settings / "abc" / "autorestart").touch()
    (box.home / "again").touch()
    assert run.stop() == 143
    assert box.events == ["start", "login", "STOP", "logout"]
    assert not (box.settings / "abc" / "autorestart").exists()


def test_a_signal_that_is_lost_is_handed_on_again(box: Supervised) -> None:
    """On a loaded host a shell that is busy with other commands lost one in some hundred."""
    lose_the_first = (
        'eval "really_$(declare -f end)"\n'
        'end() { if [[ $1 == stop && ! -e lost ]]; then : >lost; STOP=""; else really_end "$@"; fi; }'
    )
    run = box.start(before=lose_the_first)
    run.until_phase("logged_in")
    assert run.stop() == 143
    assert (box.home / "lost").exists()
    assert box.events == ["start", "login", "STOP", "logout"]


def test_a_killed_container_leaves_word_of_it(box: Supervised) -> None:
    run = box.start()
    run.until_phase("logged_in")
    run.kill()
    assert box.bash('echo "$LAST_STOP"') == "killed"


# --- attempts -----------------------------------------------------------------------------------------------------


def test_a_good_login_clears_the_count(box: Supervised) -> None:
    box.guard.mkdir()
    (box.guard / f"{VERSION}.attempts").write_text("1\n1 rejected\n")
    run = box.start()
    run.until_phase("logged_in")
    run.stop()
    assert box.attempts() == ["0"]


def test_a_rejected_version_is_tried_twice_whatever_restarts_it(box: Supervised) -> None:
    box.plan(logs_in=False, lines=[FORM, SUBMITTED, REJECTED])
    run = box.start()
    run.until(lambda: box.attempts() == ["1", "rejected"])
    run.kill()
    (box.guard / "history").unlink()
    assert box.start().code() == 75
    box.until_held()
    assert box.status()["hold"] == "attempts"
    assert box.attempts() == ["2", "rejected", "rejected"]
    assert box.events.count("start") == 2


def test_an_attempt_counts_before_its_form_appears(box: Supervised) -> None:
    """Whatever ends the container then has no time to write."""
    box.plan(logs_in=False, form=60)
    for count in ("1", "2"):
        run = box.start()
        run.until(lambda: "start" in box.events and box.attempts()[0] == count)  # noqa: B023
        run.kill()
        (box.home / "events").unlink()
        (box.guard / "history").unlink()
    box.until_held()
    assert box.status()["hold"] == "attempts"
    assert box.events == []


def test_ibc_s_own_restart_for_a_full_login_waits_its_turn(box: Supervised) -> None:
    """ibcstart.sh starts Java again at once, for ever; the second one never gets to its form here."""
    box.plan(logs_in=False, ends_after=0.1, lines=[FORM, SUBMITTED], form=0.8)
    (box.home / "again").touch()
    assert box.start().code() == 75
    assert box.attempts() == ["1", "ended"]
    box.until_held()
    assert box.status()["hold"] == "pause"


def test_a_form_that_comes_too_late_is_bounded_though_it_reaches_nobody(box: Supervised) -> None:
    box.plan(logs_in=False, ends_after=0.2, code=88, lines=[f"{STAMP}failed to display login dialog"])
    assert box.start(reached=False).code() == 75
    assert box.attempts() == ["0"]
    assert (box.guard / "history").read_text().split()[1:] == ["late_form"]


def test_an_attempt_that_reaches_nobody_is_taken_back(box: Supervised) -> None:
    box.plan(logs_in=False, ends_after=0.2)
    run = box.start(reached=False)
    assert run.code() == 0
    assert "ibgw: attempt taken back: it reached nobody" in box.output
    assert box.attempts() == ["0"]
    assert (box.guard / "history").read_text().split()[1:] == ["unreachable"]


def test_two_that_met_another_session_say_so(box: Supervised) -> None:
    box.plan(logs_in=False, ends_after=0.5, lines=[FORM, SUBMITTED, COMPETING])
    for _ in range(2):
        assert box.start().code() == 0
        assert (box.guard / "history").read_text().split()[-1] == "competing"
        (box.guard / "history").unlink()
    box.until_held()
    assert "ibgw: held: attempts: competing_session" in box.output


def test_what_a_process_said_counts_although_its_end_is_seen_first(box: Supervised) -> None:
    (box.home / "lines").write_text(f"{STAMP}a setting\n" * 90 + f"{COMPETING}\n")
    # Process 1 did not start at tick 1 of the clock: the one that is looked for is gone.
    gone = "load_attempts; load_history; begin_attempt; JAVA=1:1 REACHED=yes"
    box.bash(f'{gone}; exec {{LOG}}<"$HOME/lines"; watch_java')
    assert box.attempts() == ["1", "competing_session"]


@pytest.mark.parametrize(
    ("line", "outcome"),
    [(REJECTED, "rejected"), (f"{STAMP}Login has completed", "ended")],
    ids=["rejected", "logged-in"],
)
def test_an_answer_counts_although_its_connection_was_never_seen(box: Supervised, line: str, outcome: str) -> None:
    """It came and went between two looks, on a loaded host: were it taken back, a third password would be sent."""
    box.plan(logs_in=False, lines=[FORM, SUBMITTED, line], ends_after=0)
    box.start(reached=False).code()
    assert box.attempts() == ["1", outcome]


@pytest.mark.parametrize("line", [FORM, SECOND_FACTOR])
def test_lines_that_are_read_late_do_not_take_a_login_back(box: Supervised, line: str) -> None:
    """On a slow host the API answers before the script has read the lines of the login."""
    assert box.bash(f"KIND=password; confirmed >/dev/null; on_line '{line}' >/dev/null; echo $PHASE") == "logged_in"


def test_a_session_that_is_kept_against_another_one_is_a_login_still(box: Supervised) -> None:
    """IBC, scenario 5: the dialog was there, and the gateway's own session goes on."""
    dialog = f"{STAMP}detected dialog entitled: Existing session detected; event=Opened"
    code = f'HISTORY=("1 login"); CONFIRMED=yes KIND=password; on_line "{dialog}"; echo "ended ${{HISTORY[*]#* }}"; '
    line = "IBC: Continue this session and let the other session exit (scenario 5)"
    kept = f'on_line "{line}"; echo "ended ${{HISTORY[*]#* }}"'
    said = [line for line in box.bash(code + kept).splitlines() if line.startswith("ended ")]
    assert said == ["ended competing", "ended login"]


def test_the_pause_after_another_session_begins_when_it_was_met(box: Supervised) -> None:
    """However long the gateway's own session has lasted: else it would log in at once, against a person."""
    said = box.bash(
        'HISTORY=("$((EPOCHSECONDS - 10000)) login"); mark competing; load_history; pause_until; '
        'echo "$((PAUSED_UNTIL - EPOCHSECONDS))"'
    )
    assert 890 < int(said.splitlines()[-1]) <= 900


def test_an_answer_of_the_process_before_proves_nothing(box: Supervised) -> None:
    code = 'mkdir -p "$RUN"; echo "ok DU1" >"$RUN/answer"; ASKED=1:1 JAVA=2:2; take_answer; echo "$CONFIRMED"'
    assert box.bash(code).splitlines()[-1] == "no"


def test_a_clock_that_was_ahead_holds_nothing_up(box: Supervised) -> None:
    history(box, (-86400, "login"))
    assert gate(box) == "none"


def test_an_asker_that_ends_without_a_word_leaves_no_earlier_answer(box: Supervised) -> None:
    code = (
        'mkdir -p "$RUN"; echo "ok DU1" >"$RUN/answer"; ask_api_under_a_free_id() { exit 1; }; '
        'connections() { LISTENS=yes; }; JAVA=1:1 REACHED=yes NOW=100; probe; wait "$PROBE" || :; probe; '
        'echo "$CONFIRMED"'
    )
    assert box.bash(code).splitlines()[-1] == "no"


def test_an_answer_that_the_id_is_taken_proves_a_login(box: Supervised) -> None:
    box.plan(api="taken")
    run = box.start()
    run.until_phase("logged_in")
    assert box.status()["api"] == "taken"
    run.stop()
    assert box.attempts() == ["0"]


def test_32_clients_that_leave_no_place_prove_a_login(box: Supervised) -> None:
    code = (
        'connections() { CONNECTIONS=%d CLIENTS=0 LISTENS=yes; }; mkdir -p "$RUN"; echo ended >"$RUN/answer"; '
        "take_answer; "
    )
    assert box.bash(code % 32 + 'echo "$API"').endswith("full")
    assert box.bash(code % 31 + 'echo "$API"').endswith("silent")


def test_a_soft_restart_is_no_attempt(box: Supervised) -> None:
    run = box.start()
    run.until_phase("logged_in")
    for nights in (1, 2, 3):
        box.bash("command_ibc RESTART")
        run.until(lambda: box.events.count("login saved") == nights, "a soft restart")  # noqa: B023
        run.until(lambda: box.output.count("ibgw: logged in") == nights + 1, "confirmed")  # noqa: B023
    assert box.output.count("ibgw: attempt") == 1
    assert run.stop() == 143
    assert box.events.count("logout") == 1


def test_a_gateway_that_ends_after_each_login_is_held_after_five(box: Supervised) -> None:
    box.plan(ends_after=1.5)
    for _ in range(5):
        path = box.guard / "history"
        if path.exists():  # the pauses are for others to wait through
            path.write_text("".join(f"{int(line.split()[0]) - 700} login\n" for line in path.read_text().splitlines()))
        assert box.start().code() == 0
    box.until_held()
    assert box.status()["hold"] == "logins"
    assert box.events.count("login") == 5


def test_restarts_that_somebody_asked_for_need_no_pause(box: Supervised) -> None:
    for _ in range(6):
        run = box.start()
        run.until_phase("logged_in")
        assert run.stop() == 143
    assert "held" not in box.output
    assert "waiting" not in box.output


def test_a_message_of_any_length_is_read(box: Supervised) -> None:
    """A length of 256 has a NUL byte in its middle and at its end, and no variable of bash holds one."""
    (box.home / "bytes").write_bytes(
        b"".join(
            len(body).to_bytes(4, "big") + body for body in (b"4\0" + b"x" * 253 + b"\0", b"15\x001\0\xc3\xa9\0\0")
        )
    )
    code = f"exec 3<{box.home}/bytes; read_all() {{ local LC_ALL=C; "
    said = box.bash(
        code
        + 'message; echo "${#FIELDS[@]} ${#FIELDS[1]}"; message; echo "${FIELDS[@]}"; message; echo $?; }; read_all'
    )
    assert said.splitlines() == ["2 253", "15 1 \u00e9 ", "1"]


# --- accounts, healing, plans -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stack", "account"), [("paper", "U1234567"), ("live", "DU1234567"), ("paper", "DU1,U2")])
def test_a_login_that_shows_the_wrong_kind_of_accounts_is_ended(tmp_path: Path, stack: str, account: str) -> None:
    box = Supervised(tmp_path, stack)
    box.plan(accounts=account)
    assert box.start().code() == 75
    assert box.events == ["start", "login", "STOP", "logout"]
    box.until_held()
    assert "ibgw: held: attempts: wrong_account" in box.output


def test_a_wrong_account_waits_for_nothing(box: Supervised) -> None:
    box.plan(accounts="U1234567", notes_login_after=60)
    began = time.monotonic()
    assert box.start().code() == 75
    assert time.monotonic() - began < 8
    assert box.events == ["start", "login", "logout"]


def quickly(box: Supervised) -> None:
    """Probes and heals in seconds instead of minutes."""
    text = box.script.read_text()
    for before, after in (
        ("UNWELL_SECONDS=180", "UNWELL_SECONDS=2"),
        ("FORM_PATIENCE=120", "FORM_PATIENCE=2"),
        ("every=60", "every=1"),
        ("every=15", "every=1"),
    ):
        assert before in text
        text = text.replace(before, after)
    box.script.write_text(text)


@pytest.mark.parametrize("api", ["wedged", "half_open"])
def test_a_wedged_api_is_restarted_once_an_outage(box: Supervised, api: str) -> None:
    box.render(**{SESSION: {"autoRestart": at(120)}})
    quickly(box)
    run = box.start()
    run.until_phase("logged_in")
    box.plan(api=api)  # for the process that comes next
    box.bash("command_ibc RESTART")
    run.until(lambda: "ibgw: heal: soft_restart" in box.output, "healed")
    run.until(lambda: box.events.count("login saved") == 2, "restarted")
    time.sleep(12)
    assert box.output.count("heal: soft_restart") == 1
    run.stop()
    assert box.status()["heals"] == "1"


def test_nothing_is_healed_around_a_planned_restart_or_where_it_is_off(box: Supervised) -> None:
    ill = 'NOW=1000 UNWELL=1 SESSION=yes; command_ibc() { echo asked; }; heal_api; echo "$HEALED"'
    for session, healed in (
        ({"autoRestart": at(120)}, "yes"),
        ({"autoRestart": at(5)}, "no"),
        ({"autoRestart": at(-5)}, "no"),
        ({"autoRestart": at(120), "heal": False}, "no"),
        ({"autoLogoff": at(120)}, "no"),
    ):
        box.render(**{SESSION: session})
        (box.guard / "heals").unlink(missing_ok=True)
        assert box.bash(ill).splitlines()[-1] == healed, session
    box.render(**{SESSION: {"autoRestart": at(120)}})
    (box.guard / "heals").write_text(f"{int(time.time()) - 60} soft_restart\n" * 3)
    assert box.bash(ill).splitlines()[-1] == "no"
    for trouble in ("FACTOR=1;", "RELOGIN_SINCE=1;"):
        (box.guard / "heals").unlink(missing_ok=True)
        assert box.bash(trouble + ill).splitlines()[-1] == "no"


def test_a_refused_token_is_named_and_cured_by_one_full_login(box: Supervised) -> None:
    quickly(box)
    box.plan(token_refused=True, saved_lines=[f"{STAMP}Re-starting session", FORM])
    run = box.start()
    run.until_phase("logged_in")
    box.bash("command_ibc RESTART")
    assert run.code() == 75
    assert "ibgw: token refused" in box.output
    assert "ibgw: heal: full_login" in box.output
    assert not (box.settings / "abc" / "autorestart").exists()
    (box.guard / "history").unlink()
    again = box.start()
    again.until_phase("logged_in")
    again.stop()
    assert box.events.count("login") == 2


@pytest.mark.parametrize("word", ["locked_out", "competing_session"])
def test_nothing_is_healed_after_a_lock_out_or_for_a_competing_session(box: Supervised, word: str) -> None:
    box.render(**{SESSION: {"autoRestart": at(120)}})
    code = f"NOW=1000 UNWELL=1 SESSION=yes CONFIRMED=yes FORM_SINCE=1; failed {word}; command_ibc() {{ echo asked; }}; "
    said = box.bash(code + 'heal_api; echo "$FORM_SINCE"').splitlines()
    assert "asked" not in said
    assert said[-1] == "0"


def test_a_second_factor_that_is_awaited_is_no_refused_token(box: Supervised) -> None:
    code = "NOW=0 CHILD=1 FORM_SINCE=1 FACTOR=1; token_refused() { echo refused; }; uptime() { NOW=1000; }; each_second"
    assert "refused" not in box.bash(code)
    assert "refused" in box.bash(code.replace("FACTOR=1", "FACTOR=0"))


def test_a_saved_session_is_taken_up_once_and_not_tried_for_ever(box: Supervised) -> None:
    """IBC keeps the file, and its script would start a gateway that crashes with it again and again."""
    run = box.start()
    run.until_phase("logged_in")
    box.plan(logs_in=False, ends_after=0.1, code=3)
    box.bash("command_ibc RESTART")
    assert run.code() == 75
    assert box.events.count("start saved") <= 3
    assert not (box.settings / "abc" / "autorestart").exists()


def test_a_login_forgets_the_saved_session(box: Supervised) -> None:
    run = box.start()
    run.until_phase("logged_in")
    box.bash("command_ibc RESTART")
    run.until(lambda: box.output.count("ibgw: logged in") == 2, "confirmed")
    run.until(lambda: not (box.settings / "abc" / "autorestart").exists(), "forgotten")
    run.stop()


def test_a_form_that_shows_while_a_saved_session_is_taken_up_is_no_refusal(box: Supervised) -> None:
    """IBC logs its window of a restart that goes well, too."""
    quickly(box)
    box.plan(saved_lines=[f"{STAMP}Re-starting session", FORM])
    run = box.start()
    run.until_phase("logged_in")
    box.bash("command_ibc RESTART")
    run.until(lambda: box.output.count("ibgw: logged in") == 2, "confirmed")
    time.sleep(4)
    assert run.stop() == 143
    assert box.events.count("login") == 1


@pytest.mark.parametrize(("api", "refused"), [("ok", False), ("wedged", True)])
def test_a_relogin_that_ibc_clicks_is_a_refusal_only_if_the_api_stays_away(
    box: Supervised, api: str, refused: bool
) -> None:
    code = f"NOW=1000 RELOGIN_SINCE=1 JAVA=1:1 ASKED=1:1 CONFIRMED=yes; echo '{api}' >$RUN/answer; take_answer; "
    said = box.bash(f'mkdir -p "$RUN"; {code} end() {{ :; }}; CHILD=1 NOW=0; each_second; echo "$PHASE"')
    assert (said.splitlines()[-1] == "token_refused") is refused


def test_a_refused_token_waits_where_healing_is_off(box: Supervised) -> None:
    box.render(**{SESSION: {**PLANNED, "heal": False}})
    quickly(box)
    box.plan(token_refused=True, saved_lines=[f"{STAMP}Re-starting session", FORM])
    run = box.start()
    run.until_phase("logged_in")
    box.bash("command_ibc RESTART")
    run.until_phase("token_refused")
    assert not (box.settings / "abc" / "autorestart").exists()
    assert run.stop() == 143
    assert box.events.count("login") == 1


def test_a_pause_that_begins_is_a_logout(box: Supervised) -> None:
    run = box.start()
    run.until_phase("logged_in")
    (box.guard / "pause").write_text(f"{int(time.time()) + 600}\n")
    assert run.code() == 75
    assert box.events[-1] == "logout"
    box.until_held()
    assert box.status()["phase"] == "paused"


def test_a_planned_restart_is_proved_by_what_happened(box: Supervised) -> None:
    # The time stands still: on a busy machine the minute of a real one would be over before the login is.
    box.render(**{SESSION: {"autoRestart": "12:00"}})
    run = box.start(before="minute_of_day() { MINUTE=720 WEEKDAY=1; }")
    run.until_phase("logged_in")
    run.until(lambda: box.status()["event"] == "auto_restart", "due")
    assert box.status()["done"] == "0"
    box.bash("command_ibc RESTART")
    run.until(lambda: box.status()["done"] != "0", "done")
    run.stop()


# --- the status ---------------------------------------------------------------------------------------------------


def test_the_status_is_one_line_of_closed_words_and_numbers(box: Supervised) -> None:
    run = box.start()
    run.until_phase("logged_in")
    run.until(lambda: box.status()["api"] == "ok")
    line = (box.home / "run" / "status").read_text()
    assert line.count("\n") == 1
    assert "some" not in line
    status = box.status()
    assert (status["mode"], status["kind"], status["attempts"], status["limit"]) == ("paper", "password", "0", "2")
    assert abs(int(status["login"]) - time.time()) < 30


# --- a volume that is a copy ----------------------------------------------------------------------------------------


COPIED = "ibgw: the settings volume is a copy: its count of attempts is not known to be the last"
COPIES = {
    "into a new volume": "cp -a {old}/. {new}",
    "by tar, over what is there": "rm -rf {new} && cp -a {now} {new} && tar -C {old} -c . | tar -C {new} -x",
    "file by file, over what is there": "rm -rf {new} && mv {now} {new} && cp -a {old}/. {new}",
}


def held(box: Supervised, before: str = ":") -> str:
    """Why a start would make no login, but for a pause after the one before."""
    return box.bash(f'pause_until() {{ PAUSED_UNTIL=0; }}; {before}; gate; echo "$HOLD"')


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("tried_before", [True, False])
def test_a_volume_filled_from_an_old_copy_grants_no_attempts(box: Supervised, way: str, tried_before: bool) -> None:
    """The copy has a count that is lower than what was tried since, or none of this version of the secret."""
    assert held(box) == "none"
    if tried_before:
        box.bash("gate; begin_attempt")
    old, new = box.home / "old", box.home / "new"
    subprocess.run(["cp", "-a", box.settings, old], check=True)
    box.bash("gate; begin_attempt; begin_attempt")
    new.mkdir()
    names = {"old": old, "new": new, "now": box.settings}
    subprocess.run(["bash", "-ec", COPIES[way].format(**names)], check=True)
    subprocess.run(["rm", "-rf", box.settings], check=True)
    new.rename(box.settings)
    assert held(box).splitlines() == [COPIED, "ibgw: held: attempts: volume_lost", "attempts"]
    assert box.attempts() == ["2", "volume_lost"]
    # What `ibgw login --again` grants, and another start: it is asked once.
    (box.guard / f"{VERSION}.attempts").write_text("1")
    assert held(box) == "none"
    assert held(box) == "none"
    assert box.attempts() == ["1"]


def test_a_volume_of_an_earlier_version_is_no_copy_nor_is_one_whose_filesystem_tells_nothing(box: Supervised) -> None:
    box.bash("gate; begin_attempt")
    (box.guard / "place").unlink()
    assert held(box) == "none"
    assert held(box, "place_of() { :; }") == "none"
    assert held(box) == "none"
    assert box.attempts() == ["1", "unknown"]


def test_a_place_that_cannot_be_kept_holds(box: Supervised) -> None:
    said = box.bash('keep() { [[ $1 != *place ]]; }; gate; echo "$HOLD"')
    assert said.splitlines()[-1] == "unwritable"
