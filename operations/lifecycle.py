"""Starting, stopping and restarting a deployed gateway's container, without Pulumi and without replacing anything."""

import io
import queue
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from deployment.description import COMMAND_PORT, Deployment, Gateway, SecondFactor
from deployment.errors import ExitCode, IbgwError, kind
from deployment.tables import Kind
from healthcheck.automation.status import Status
from healthcheck.docker_host import DockerHost, Inspected, docker_errors
from healthcheck.gateway_container import status_of, stop_grace
from healthcheck.remedies import names
from healthcheck.report import Model
from infra.spec import SETTINGS_PATH, SUPERVISOR_PATH, UID
from infra.supervisor import MAXIMUM_ATTEMPTS
from infra.times import parse_time_of_day
from operations.answers import Answer

Say = Callable[[str], None]


class Outcome(StrEnum):
    """What became of a gateway, for programs."""

    STARTED = "started"
    RUNS_ALREADY = "runs_already"
    OFFLINE = "offline"
    PAUSE_ENDED = "pause_ended"
    STOPPED = "stopped"
    STOPPED_ALREADY = "stopped_already"
    PAUSED = "paused"
    RESTARTED = "restarted"
    SESSION_KEPT = "session_kept"
    LOGIN_GRANTED = "login_granted"
    SETTINGS_RESET = "settings_reset"
    SETTINGS_RESTORED = "settings_restored"
    SKIPPED = "skipped"
    """It was as it shall be before."""
    NOT_REACHED = "not_reached"
    """Too many before it had failed, or one waits for its approval."""


Act = Callable[[DockerHost, Deployment, Gateway, Say], Outcome]
"""Each of the acts below. All raise IbgwError that names the container when there is none, and when Docker fails."""


class Acted(Model):
    """One gateway. `outcome` is null where it failed, and `error` says why. `told`: what a person is told, in order."""

    gateway: str
    outcome: Outcome | None = None
    error: str | None = None
    told: tuple[str, ...] = ()


class ActAnswer(Answer):
    """What `start`, `stop`, `restart`, `login` and `reset-settings` did: an entry for each gateway that they were to
    act on. `error`: of the whole, where one failed. `backup`: the file that holds the settings of before."""

    stack: str
    exit_code: int
    gateways: tuple[Acted, ...]
    error: str | None = None
    backup: str | None = None


def noted(act: Act, acted: list[Acted]) -> Act:
    """The act, which also adds what came of it."""

    def run(docker: DockerHost, deployment: Deployment, gateway: Gateway, say: Say) -> Outcome:
        told = list[str]()

        def tell(text: str) -> None:
            told.append(text)
            say(text)

        try:
            outcome = act(docker, deployment, gateway, tell)
        except IbgwError as error:
            acted.append(Acted(gateway=gateway.name, error=str(error), told=tuple(told)))
            raise
        acted.append(Acted(gateway=gateway.name, outcome=outcome, told=tuple(told)))
        return outcome

    return run


POLL = 0.5  # seconds between two looks at a gateway's status
RESTART_SECONDS = 240
"""For a soft restart: IBC may have the gateway restart itself at the next full minute (RestartTask), and it logs in."""
SAY_EVERY = 15  # seconds
HISTORY_FILE = "guard/history"
"""Of its starts and how they ended, a line each; infra/supervisor reads it too."""
AGAIN_FILE = "guard/again"
"""When a person last let the gateway go on; infra/supervisor reads it."""
PAUSE_FILE = "guard/pause"
"""On the settings volume; infra/supervisor reads it."""


def start(docker: DockerHost, deployment: Deployment, gateway: Gateway, say: Say) -> Outcome:
    """Starts the gateway's container unless it runs."""
    with _docker(deployment, gateway):
        container = _inspect(docker, deployment, gateway)
        running = container["State"]["Running"]
        status = status_of(docker, gateway) if running and _supervised(container) else None
        if status is not None and status.hold == "offline":
            say(f"{gateway.container.name} is offline until {_local(status.until, gateway)}, by session.offline.")
            return Outcome.OFFLINE
        if _supervised(container):
            _write(docker, gateway, {PAUSE_FILE: "0"})
        if status is not None and status.hold == "paused":
            say(f"{gateway.container.name}: the pause is over; it logs in now.")
            return Outcome.PAUSE_ENDED
        if running:
            say(f"{gateway.container.name} runs already.")
            return Outcome.RUNS_ALREADY
        docker.start(gateway.container.id)
    say(
        f"{gateway.container.name} started; it logs in now. "
        f"`ibgw verify --stack {deployment.stack} --gateway {gateway.name}` says when it is ready."
    )
    return Outcome.STARTED


def stop(docker: DockerHost, deployment: Deployment, gateway: Gateway, say: Say) -> Outcome:
    """Stops the gateway's container, leaving it time to log out."""
    with _docker(deployment, gateway):
        container = _inspect(docker, deployment, gateway)
        if not container["State"]["Running"]:
            say(f"{gateway.container.name} is stopped already.")
            return Outcome.STOPPED_ALREADY
        _stop(docker, gateway, container, say)
    say(
        f"{gateway.container.name} stopped. It stays stopped until "
        f"`ibgw start --stack {deployment.stack} --gateway {gateway.name}`; `pulumi up` does not start it."
    )
    return Outcome.STOPPED


TOGETHER_SECONDS = 720
"""For an act on all gateways at the same time: the longest `container.stopGrace`, and two minutes."""


def together(
    act: Act, docker: DockerHost, deployment: Deployment, gateways: Sequence[Gateway], say: Say
) -> dict[str, Outcome | IbgwError]:
    """An act on all of them at the same time, and what came of each. One that fails or hangs delays no other."""
    ended: queue.Queue[tuple[str, Outcome | IbgwError]] = queue.Queue()

    def act_on(gateway: Gateway) -> None:
        try:
            ended.put((gateway.name, act(docker, deployment, gateway, say)))
        except IbgwError as error:
            ended.put((gateway.name, error))
        except Exception as error:  # noqa: BLE001 - told by the reader, with the gateway's name
            ended.put((gateway.name, IbgwError(f"a bug in ibgw ({kind(error)})")))

    for gateway in gateways:
        # Daemons: one that hangs does not keep the command from ending.
        threading.Thread(target=act_on, args=(gateway,), name=f"act-{gateway.name}", daemon=True).start()
    late = IbgwError(f"no end within {TOGETHER_SECONDS} s")
    outcomes: dict[str, Outcome | IbgwError] = {gateway.name: late for gateway in gateways}
    end = time.monotonic() + TOGETHER_SECONDS
    for _ in gateways:
        try:
            name, outcome = ended.get(timeout=max(0, end - time.monotonic()))
        except queue.Empty:
            break
        outcomes[name] = outcome
        if isinstance(outcome, IbgwError):
            say(f"{name}: {outcome}")
    return outcomes


def pause(docker: DockerHost, deployment: Deployment, gateway: Gateway, say: Say, *, until: datetime) -> Outcome:
    """Has a running gateway log out until then, whatever restarts, updates or reboots it meanwhile.

    Returns when it has logged out. Raises IbgwError (refused) and changes nothing for one that is stopped or that an
    earlier version deployed.
    """
    name = gateway.container.name
    with _docker(deployment, gateway):
        container = _inspect(docker, deployment, gateway)
        if not container["State"]["Running"]:
            raise IbgwError(
                f"{name} is stopped, so there is nothing to pause, and nothing was changed. It stays stopped until "
                f"`ibgw start --stack {deployment.stack} --gateway {gateway.name}`.",
                exit_code=ExitCode.REFUSED,
            )
        _require_supervisor(container, deployment, gateway)
        _write(docker, gateway, {PAUSE_FILE: f"{until.timestamp():.0f}"})
        grace = stop_grace(container)
        say(f"Pausing {name}; it has {grace} s to log out.")
        _await(
            lambda: (status := status_of(docker, gateway)) is not None and status.hold in ("paused", "offline"),
            seconds=grace + 30,
            say=lambda seconds: say(f"{name}: logging out ({seconds} s)"),
            late=f"{name} was told to pause until {_local(until, gateway)} and has not logged out",
            deployment=deployment,
            gateway=gateway,
        )
    say(
        f"{name} is logged out until {_local(until, gateway)}. "
        f"`ibgw start --stack {deployment.stack} --gateway {gateway.name}` ends that earlier."
    )
    return Outcome.PAUSED


def pause_end(gateway: Gateway, *, length: timedelta | None, until: str | None) -> datetime:
    """When a pause ends: after a length, or at the next time of day `HH:MM` in the gateway's time zone.

    Raises IbgwError (bad usage) for a time of another form.
    """
    if until is None:
        # In UTC: in a zone of its own a day is added by the clock, whatever summer time does.
        return datetime.now(UTC) + (length or timedelta())
    now = datetime.now(ZoneInfo(gateway.schedule.time_zone))
    try:
        at = parse_time_of_day(until)
    except ValueError as error:
        raise IbgwError(f"--until: {error}.", exit_code=ExitCode.BAD_USAGE) from None
    end = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return end if end > now else end + timedelta(days=1)


def restart(docker: DockerHost, deployment: Deployment, gateway: Gateway, say: Say) -> Outcome:
    """Stops the gateway with time to log out and starts it again."""
    with _docker(deployment, gateway):
        container = _inspect(docker, deployment, gateway)
        if container["State"]["Running"]:
            _stop(docker, gateway, container, say)
    start(docker, deployment, gateway, say)
    return Outcome.RESTARTED


def soft_restart(docker: DockerHost, deployment: Deployment, gateway: Gateway, say: Say) -> Outcome:
    """Has the gateway restart itself, which keeps its session: no login, and no phone approval before Sunday.

    Asks IBC's command server from inside the container, and returns when the gateway's new process is logged in with
    the saved session. Raises IbgwError (refused) and changes nothing where it is not offered or the gateway is not
    logged in: IBC answers OK before it looks whether it can, and acts much later. Raises it (failed) where the restart
    did not come to that.
    """
    name = gateway.container.name
    full = f"`ibgw restart --stack {deployment.stack} --gateway {gateway.name}` restarts with a full login."
    if gateway.schedule.auto_restart is None:
        raise IbgwError(
            f"{name} has no session.autoRestart, and only a gateway that restarts itself daily can keep its session "
            f"through a restart. Nothing was changed. {full}",
            exit_code=ExitCode.REFUSED,
        )

    def refused(fault: str) -> IbgwError:
        return IbgwError(f"{name} {fault}. Nothing was changed. {full}", exit_code=ExitCode.REFUSED)

    with _docker(deployment, gateway):
        inspected = _inspect(docker, deployment, gateway)
        if not inspected["State"]["Running"]:
            raise refused("is stopped, so it cannot restart itself")
        _require_supervisor(inspected, deployment, gateway)
        before = status_of(docker, gateway)
        if before is None or before.phase != "logged_in":
            raise refused(f"is not logged in ({before.phase if before else 'starting'}), so it has no session to keep")
        answer = _command(docker, gateway, "RESTART")
        if answer and not answer.startswith("OK"):
            fault = "does not listen" if answer == CLOSED else f"answered {answer!r}"
            raise refused(f"{fault} (IBC's command server, port {COMMAND_PORT} in the container)")
        # Asked is asked: on a busy host it may act on what it has not answered yet.
        told = answer.removeprefix("OK").strip() or f"no answer within {COMMAND_SECONDS} s"
        say(f"{name} restarts itself ({told}).")
        _await(
            lambda: _restarted(before, status_of(docker, gateway), name, full),
            seconds=RESTART_SECONDS,
            say=lambda seconds: say(f"{name}: restarting ({seconds} s)"),
            late=f"{name} was asked to restart itself and is not back with its session",
            deployment=deployment,
            gateway=gateway,
        )
    say(f"{name} is back, with its session kept.")
    return Outcome.SESSION_KEPT


def _restarted(before: Status, now: Status | None, name: str, full: str) -> bool:
    """Whether a new process of the gateway is logged in with the saved session. Raises IbgwError (failed) where it
    cannot be any more."""
    if now is None or (now.started in (None, before.started) and now.hold == "none"):
        return False
    if now.phase == "token_refused" or now.kind == "password" or now.hold != "none":
        raise IbgwError(
            f"{name} restarted and did not keep its session ({now.phase}). {full}", exit_code=ExitCode.FAILED
        )
    return now.kind == "saved" and now.phase == "logged_in"


COMMAND_SECONDS = 10
CLOSED = "closed"


def _command(docker: DockerHost, gateway: Gateway, command: str) -> str:
    """IBC's answer to one command (IBC, CommandChannel: a line of text each way); empty when there is none in time,
    and CLOSED when it could not be asked."""
    script = (
        f"{{ exec 3<>/dev/tcp/127.0.0.1/{COMMAND_PORT} && echo {command} >&3; }} || {{ echo {CLOSED}; exit; }}; "
        f"timeout {COMMAND_SECONDS} grep -m 1 -e ^OK -e ^ERROR <&3"
    )
    return docker.run(gateway.container.id, ["bash", "-c", script]).strip()


def login_again(docker: DockerHost, deployment: Deployment, gateway: Gateway, say: Say) -> Outcome:
    """Lets a gateway go on that its supervisor holds back: grants one more attempt to a secret version that failed
    twice, forgets the logins that ended by themselves or met another session, with the pause that follows, and
    the codes that were typed in vain, and restarts the gateway.

    Raises IbgwError (refused) and changes nothing if it is not held back for either.
    """
    with _docker(deployment, gateway):
        container = _inspect(docker, deployment, gateway)
        used, waits, status = _held(docker, gateway, container)
        if used < MAXIMUM_ATTEMPTS and not waits:
            raise IbgwError(
                f"{gateway.container.name}: the start guard does not hold this version of the secret back, with "
                f"{used} of {MAXIMUM_ATTEMPTS} attempts used, so nothing was changed. "
                f"`ibgw verify --stack {deployment.stack} --gateway {gateway.name}` says what is wrong; "
                f"`ibgw restart --stack {deployment.stack} --gateway {gateway.name}` logs in again.",
                exit_code=ExitCode.REFUSED,
            )
        granted = {} if used < MAXIMUM_ATTEMPTS else {_count_file(gateway): f"{MAXIMUM_ATTEMPTS - 1}"}
        # First, since one that runs writes what it knows when it ends.
        if container["State"]["Running"]:
            _stop(docker, gateway, container, say)
        if gateway.second_factor is SecondFactor.TOTP:
            # By the host's clock, which what types its codes goes by too.
            now = status.now if status is not None and status.now is not None else datetime.now(UTC)
            granted[AGAIN_FILE] = f"{now.timestamp():.0f}"
        _write(docker, gateway, {**granted, HISTORY_FILE: ""})
    said = (
        "one more attempt with this version of the secret"
        if used >= MAXIMUM_ATTEMPTS
        else "its logins that ended are forgotten"
    )
    say(f"{gateway.container.name}: {said}.")
    start(docker, deployment, gateway, say)
    return Outcome.LOGIN_GRANTED


def held_back(docker: DockerHost, deployment: Deployment, gateway: Gateway) -> bool:
    """Whether there is anything for `login_again` to grant."""
    with _docker(deployment, gateway):
        used, waits, _ = _held(docker, gateway, _inspect(docker, deployment, gateway))
    return used >= MAXIMUM_ATTEMPTS or waits


def _held(docker: DockerHost, gateway: Gateway, container: Inspected) -> tuple[int, bool, Status | None]:
    """The attempts that are used, whether something else than those makes it wait, and what one that runs tells."""
    used = guard_attempts(docker, gateway)
    running = container["State"]["Running"]
    status = status_of(docker, gateway) if running and _supervised(container) else None
    waits = status is not None and (status.hold in ("logins", "pause", "codes") or status.code == "held")
    # What it remembers makes its next start wait, though it does not wait now.
    history = (docker.read_file(gateway.container.id, f"{SETTINGS_PATH}/{HISTORY_FILE}") or "").strip()
    return used, waits or history.endswith(" competing") or bool(history and not running), status


def _docker(deployment: Deployment, gateway: Gateway) -> AbstractContextManager[None]:
    return docker_errors(
        f"Container {gateway.container.name} on {deployment.docker_host}",
        f"`ibgw verify --stack {deployment.stack} --gateway {gateway.name}` says how the gateway is now",
    )


def _count_file(gateway: Gateway) -> str:
    return f"guard/{gateway.secret.version_id}.attempts"


def guard_attempts(docker: DockerHost, gateway: Gateway) -> int:
    """The start guard's count of attempts with the deployed version of the secret. Raises DockerError.

    What cannot be read as a number counts as exhausted, as it does there.
    """
    text = docker.read_file(gateway.container.id, f"{SETTINGS_PATH}/{_count_file(gateway)}", last=4096)
    if text is None:
        return 0
    count = text.partition("\n")[0].strip()
    return int(count) if count.isdecimal() else MAXIMUM_ATTEMPTS


def _write(docker: DockerHost, gateway: Gateway, files: dict[str, str]) -> None:
    """Files on the settings volume, each a line, as the image's user would write them."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as packed:
        for path, line in files.items():
            data = f"{line}\n".encode() if line else b""
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.uid, entry.gid = len(data), 0o600, UID, UID
            packed.addfile(entry, io.BytesIO(data))
    docker.write_archive(gateway.container.id, SETTINGS_PATH, archive.getvalue())


def _supervised(inspected: Inspected) -> bool:
    return SUPERVISOR_PATH in (inspected["Config"].get("Cmd") or ())


def _require_supervisor(inspected: Inspected, deployment: Deployment, gateway: Gateway) -> None:
    if not _supervised(inspected):
        raise IbgwError(
            f"{gateway.container.name} was deployed by an earlier version of ibgw and cannot be asked that. "
            "Nothing was changed. "
            f"`ibgw rollout --stack {deployment.stack} --gateway {gateway.name}` takes this version to it.",
            exit_code=ExitCode.REFUSED,
        )


def _await(
    done: Callable[[], bool],
    *,
    seconds: float,
    say: Callable[[int], None],
    late: str,
    deployment: Deployment,
    gateway: Gateway,
) -> None:
    """Returns when `done`. Raises IbgwError (timed out) with `late` after so many seconds."""
    began = told = time.monotonic()
    while not done():
        now = time.monotonic()
        if now - began > seconds:
            raise IbgwError(
                f"{late} within {seconds:.0f} s. "
                f"`ibgw verify --stack {deployment.stack} --gateway {gateway.name}` says how it is now.",
                exit_code=ExitCode.TIMED_OUT,
            )
        if now - told >= SAY_EVERY:
            told = now
            say(round(now - began))
        time.sleep(POLL)


def _local(moment: datetime | None, gateway: Gateway) -> str:
    """In the gateway's own time zone."""
    if moment is None:
        return "an unknown time"
    return f"{moment.astimezone(ZoneInfo(gateway.schedule.time_zone)):%a %H:%M %Z}"


def _stop(docker: DockerHost, gateway: Gateway, inspected: Inspected, say: Say) -> None:
    grace = stop_grace(inspected)
    say(f"Stopping {gateway.container.name}; it has {grace} s to log out.")
    docker.stop(gateway.container.id, grace=grace)


def _inspect(docker: DockerHost, deployment: Deployment, gateway: Gateway) -> Inspected:
    container = docker.inspect(Kind.CONTAINER, gateway.container.id)
    if container is None:
        raise IbgwError(
            f"The container {gateway.container.name} of stack {deployment.stack!r} is gone from "
            f"{deployment.docker_host}. Create it again with {_commands(deployment, gateway)['recreate_missing']}."
        )
    if container["State"].get("Paused"):
        raise IbgwError(
            f"{gateway.container.name} is paused (docker pause): nothing in it runs, and nothing was changed. "
            f"Let it run on first: {_commands(deployment, gateway)['unpause']}",
            exit_code=ExitCode.REFUSED,
        )
    return container


def _commands(deployment: Deployment, gateway: Gateway) -> dict[str, str]:
    return names(gateway, deployment.stack, deployment.docker_host)
