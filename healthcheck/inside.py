"""A gateway's login, asked over its API from inside its own container: what a verifier would say of it, in a tenth of
the time.

Only a good answer counts. Who gets none asks a verifier, which tells why.
"""

from dataclasses import dataclass

from deployment.description import Gateway
from healthcheck.api_facts import LOST, account_kind
from healthcheck.automation.status import PATH, Status, parse
from healthcheck.docker_host import DockerError, DockerHost
from healthcheck.observation import CheckName, CheckObservation, Observation

SCRIPT = r"""
# PORT CLIENT_ID STATUS_FILE: prints the status line, then `version`, its number and the microseconds of the handshake,
# and each message of the API as its fields, all with tabs between. Messages are text up to server version 178: a length
# of four bytes, then fields that end with NUL. Only startApi (71) and reqCurrentTime (49) are sent.
LC_ALL=C
message() {
	local byte bytes=0 field n
	for n in 1 2 3 4; do
		IFS= read -rt 3 -d '' -n 1 -u 3 byte || return
		printf -v n '%d' "'$byte" # 0 for NUL, which no variable holds
		((bytes = bytes * 256 + (n & 255)))
	done
	((bytes < 65536)) || return
	FIELDS=()
	while ((bytes > 0)); do
		IFS= read -rt 3 -d '' -u 3 field || return
		FIELDS+=("${field//[$'\t\r\n']/ }")
		((bytes -= ${#field} + 1))
	done
	return 0
}
told="" accounts="" next=""
[[ -r $3 ]] && IFS= read -r told <"$3"
printf '%s\n' "$told"
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 0
began=${EPOCHREALTIME/./}
printf 'API\x00\x00\x00\x00\x09v100..178' >&3
message || exit 0
printf 'version\t%s\t%d\n' "${FIELDS[0]}" $((${EPOCHREALTIME/./} - began))
printf -v length '%02x' $((${#2} + 7))
printf "\\x00\\x00\\x00\\x${length}71\\x002\\x00$2\\x00\\x00" >&3
IFS=$'\t'
while ((SECONDS < 6)) && message; do
	printf '%s\n' "${FIELDS[*]}"
	case ${FIELDS[0]} in
	15) accounts=yes ;;
	9) next=yes ;;
	49) exit 0 ;;
	*) continue ;;
	esac
	# What it says of connections has come before the answer to this.
	[[ $accounts$next == yesyes ]] && printf '\x00\x00\x00\x0549\x001\x00' >&3
done
exit 0
"""


# Numbers of messages (IN of the TWS API reference).
ERROR, NEXT_VALID_ID, MANAGED_ACCOUNTS, CURRENT_TIME = "4", "9", "15", "49"

NOTICES = frozenset(map(str, LOST))


@dataclass(frozen=True)
class Answered:
    """`checks`: those over the API that passed. `status`: what its first process tells, where it has one that does."""

    checks: tuple[CheckObservation, ...]
    status: Status | None


def ask(docker: DockerHost, container: str, gateway: Gateway) -> Answered | None:
    """Of a gateway that runs, by the port that its clients use; None where nobody answered as a login in order does.

    `container`: its id. Raises nothing that Docker fails with: whoever asks a verifier instead meets it there.
    """
    # A verifier takes its ids from the range's end, and the first process from its beginning.
    first, last = gateway.client_ids.testing
    client_id = (first + last) // 2
    try:
        command = ["timeout", "10", "bash", "-c", SCRIPT, "ask", str(gateway.api.port), str(client_id), PATH]
        told = docker.run(container, command)
    except DockerError:
        return None
    return read(told, gateway, client_id)


def read(told: str, gateway: Gateway, client_id: int) -> Answered | None:
    """What the script printed."""
    first, *lines = told.splitlines() or [""]
    messages: dict[str, list[str]] = {}
    for kind, *fields in (line.split("\t") for line in lines):
        # A notice that a later one takes back is a verifier's to judge.
        if kind == ERROR and not NOTICES.isdisjoint(fields[2:3]):
            return None
        messages.setdefault(kind, fields)
    try:
        version, microseconds = messages["version"]
        server_version, latency_ms = int(version), round(int(microseconds) / 1000)
        accounts = [name for name in messages[MANAGED_ACCOUNTS][1].split(",") if name]
        status = parse(first) if first else None
    except (KeyError, IndexError, ValueError):
        return None
    answered = NEXT_VALID_ID in messages and CURRENT_TIME in messages
    if not answered or {account_kind(name) for name in accounts} != {str(gateway.account_kind)}:
        return None
    connected = Observation(
        f"server version {version}, client id {client_id}",
        data={"server_version": server_version, "client_id": client_id, "latency_ms": latency_ms},
    )
    authenticated = Observation(
        f"{', '.join(accounts)} ({gateway.account_kind})",
        data={"accounts": list(accounts), "account_kind": gateway.account_kind.value},
    )
    return Answered((connected.by(CheckName.CONNECTED), authenticated.by(CheckName.AUTHENTICATED)), status)
