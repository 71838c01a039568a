"""What the container's first process says of itself: all that it prints begins with `ibgw: `.

It stands before every automation's own lines. The lines of the start guard before it, `ibgw-guard: `, are kept, since
containers that were made with it are looked at too.
"""

from healthcheck.automation.base import Lines, LoginState

PREFIX = r"^ibgw(-guard)?: "

STARTING = "ibgw: starting"
"""The first line of each start."""

LINES: Lines = (
    (rf"^{STARTING}$", LoginState.STARTING),
    # The outcome of the last attempt, a word of OUTCOMES, is read apart.
    (r"^ibgw: held: attempts: [a-z_]+$", LoginState.GUARD_HELD),
    (r"^ibgw: held: wrong_account(:|$)", LoginState.WRONG_ACCOUNT),
    (r"^ibgw: held: logins(:|$)", LoginState.TOO_MANY_LOGINS),
    (r"^ibgw: held: codes$", LoginState.CODES_HELD),
    (r"^ibgw: held: volume(:|$)", LoginState.VOLUME_LOCKED),
    (r"^ibgw: held: unwritable(:|$)", LoginState.GUARD_UNWRITABLE),
    (r"^ibgw: held: automation(:|$)", LoginState.AUTOMATION_UNSUPPORTED),
    (r"^ibgw: waiting: pause", LoginState.WAITING),
    (r"^ibgw: offline until [0-9]{1,10}$", LoginState.OFFLINE),
    (r"^ibgw: paused until [0-9]{1,10}$", LoginState.PAUSED),
    (r"^ibgw: attempt [0-9]+ of [0-9]+$", LoginState.STARTING),
    (r"^ibgw: logged in$", LoginState.LOGGED_IN),
    (r"^ibgw: stopping$", LoginState.STOPPING),
    (r"^ibgw: stopped: clean$", LoginState.STOPPED_CLEAN),
    (r"^ibgw: stopped: no session$", LoginState.STOPPED_NO_SESSION),
    (r"^ibgw: stopped: stranded$", LoginState.STOPPED_STRANDED),
    (r"^ibgw: heal: (soft_restart|full_login)$", LoginState.HEALING),
    (r"^ibgw: token refused$", LoginState.TOKEN_REFUSED),
    (r"^ibgw-guard: held: attempts cannot be recorded", LoginState.GUARD_UNWRITABLE),
    (r"^ibgw-guard: held:", LoginState.GUARD_HELD),
    (r"^ibgw-guard: logged in", LoginState.LOGGED_IN),
)

WAITS_ITS_TURN = 75
"""The exit code of a container that its first process ended, so that Docker restarts it and the next start waits."""

EXIT_CODES: dict[int, str] = {
    WAITS_ITS_TURN: "ended so that the next start waits its turn",
    143: "stopped",
}
