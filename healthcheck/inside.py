"""A gateway's login, asked over its API beside the stack's prober, or from inside the gateway's own container: what a
verifier would say of it, in a tenth of the time.

Only a good answer counts. Who gets none asks a verifier, which tells why.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deployment.description import STATUS_PORT, Deployment, Gateway
from deployment.tables import Kind
from healthcheck.api_facts import LOST, account_kind
from healthcheck.automation.status import PATH, Status, parse
from healthcheck.docker_host import DockerError, DockerHost, Inspected
from healthcheck.observation import CheckName, CheckObservation, Observation

MARK = "= "
"""Begins the line with a gateway's name."""

SCRIPT = r"""
# HOST PORT CLIENT_ID STATUS, which is its file or its port there: prints the status line, then `version`, its number
# and the microseconds of the handshake, and each message of the API as its fields, all with tabs between. Messages are
# text up to server version 178: a length of four bytes, then fields that end with NUL. Only startApi (71) and
# reqCurrentTime (49) are sent.
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
if [[ $4 == /* ]]; then
	[[ -r $4 ]] && IFS= read -r told <"$4"
else
	exec 4<>"/dev/tcp/$1/$4" && IFS= read -rt 3 -u 4 told
fi
printf '%s\n' "$told"
exec 3<>"/dev/tcp/$1/$2" || exit 0
began=${EPOCHREALTIME/./}
printf 'API\x00\x00\x00\x00\x09v100..178' >&3
message || exit 0
printf 'version\t%s\t%d\n' "${FIELDS[0]}" $((${EPOCHREALTIME/./} - began))
printf -v length '%02x' $((${#3} + 7))
printf "\\x00\\x00\\x00\\x${length}71\\x002\\x00$3\\x00\\x00" >&3
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


ALL = f"""
one() {{
{SCRIPT}}}
while (($#)); do
	exec {{answer}}< <(one "${{@:2:4}}")
	names+=("$1") answers+=("$answer")
	shift 5
done
for at in "${{!names[@]}}"; do
	printf '{MARK}%s\n' "${{names[at]}}"
	cat <&"${{answers[at]}}"
done
"""
"""GATEWAY HOST PORT CLIENT_ID STATUS, of each of several: what SCRIPT prints, at once for all, each below its name. One
after the other, since a shell writes line by line and the lines of several would mix."""

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
    words = ("127.0.0.1", str(gateway.api.port), str(_client_id(gateway)), PATH)
    told = _run(docker, container, SCRIPT, words)
    return read(told, gateway, _client_id(gateway))


def ask_beside(docker: DockerHost, prober: str, gateways: Sequence[Gateway]) -> dict[str, Answered]:
    """The same of all that the stack's prober reaches, at once, beside it; by their names those who answered so.

    `prober`: its container's id.
    """
    words = [
        word
        for one in gateways
        for word in (one.name, one.api.host, str(one.api.port), str(_client_id(one)), str(STATUS_PORT))
    ]
    told: dict[str, list[str]] = {}
    for line in _run(docker, prober, ALL, words).splitlines():
        if line.startswith(MARK):
            told[line.removeprefix(MARK)] = lines = []
        elif told:
            lines.append(line)
    answers = {one.name: read("\n".join(told[one.name]), one, _client_id(one)) for one in gateways if one.name in told}
    return {name: answer for name, answer in answers.items() if answer is not None}


def _client_id(gateway: Gateway) -> int:
    """A verifier takes its ids from the range's end, and the first process from its beginning."""
    first, last = gateway.client_ids.testing
    return (first + last) // 2


def _run(docker: DockerHost, container: str, script: str, words: Iterable[str]) -> str:
    try:
        return docker.run(container, ["timeout", "10", "bash", "-c", script, "ask", *words])
    except DockerError:
        return ""


def running_prober(docker: DockerHost, deployment: Deployment) -> Inspected | None:
    """The stack's, where it has one that runs. Raises DockerError."""
    if deployment.monitoring is None:
        return None
    prober = docker.inspect(Kind.CONTAINER, deployment.monitoring.prober.id)
    return prober if prober is not None and prober["State"]["Status"] == "running" else None


def on_networks_of(prober: Inspected | None, gateway: Gateway) -> bool:
    """Whether it is attached to the gateway's."""
    return prober is not None and gateway.api.network in prober["NetworkSettings"]["Networks"]


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
