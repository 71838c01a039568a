#!/bin/bash
# The first process of a gateway's container. The image's files stay as they are: its run.sh is the child of this one.
#
# It decides when a login may be made (start guard, pauses, offline hours), sees to it that every end is a logout, ends a
# login that shows accounts of the wrong kind, heals what a restart heals, and answers one line about itself on a port of
# the `api` network. It never starts the gateway a second time: it ends, Docker starts the container again, and the next
# start waits by what the settings volume remembers.
#
# On the settings volume, in guard/, which outlives the container:
#   VERSION.attempts  the attempts of a secret's version since its last good login, then a line for each: time and outcome
#   VERSION.ok        exists once that version has logged in
#   history           the starts of the last hour that nobody asked to end: time, and start, login, unreachable, late_form
#                     or competing
#   place             which file it is itself, by inode and birth; rewritten at each start. In a copy of the volume it names
#                     another file
#   pause             the time until which the gateway stays logged out, written by `ibgw stop --for`
#   give_way          exists from a planned logout to the next login, which then gives way to a person's session
#   supervisor.sh     this script, which the step that prepares the volume puts there: a new version of it is used from the
#                     container's next start on, and replaces no gateway
#   again             when a person last let the gateway go on, written by `ibgw login --again`
#   heals, planned, stopped   what was healed and when; the last planned event, due and done; how the last session ended
# All times are seconds since the epoch.
#
# Not run with `set -u`, since a name that is not set would end the gateway without a logout; the tests run it so.

# Before anything else: until it has a trap, the kernel drops the signals to a container's first process.
STOP=""
[[ ${BASH_SOURCE[0]} != "$0" ]] || trap 'STOP=yes' TERM INT

# This gateway's own; what an older deployment does not say has the value here. Minutes of the day; -1: none.
MODE="" PORT=0 RELAY_PORT=0 GRACE=60 HEAL=yes AUTO_RESTART=-1 AUTO_LOGOFF=-1 COLD_RESTART=-1 OFFLINE_FROM=-1 OFFLINE_UNTIL=-1
DEBUG=no RELOGIN=no VNC=no CODES=no ZONE_RULES=UTC0
source "@VALUES@"

readonly SCREEN_PORT=@SCREEN_PORT@ COMMANDS=@COMMANDS@ STATUS_PORT=@STATUS_PORT@
readonly CLIENT_ID=@CLIENT_ID@ LIMIT=@LIMIT@ LOGINS_AN_HOUR=@LOGINS_AN_HOUR@
readonly HEALS_A_DAY=@HEALS_A_DAY@ UNWELL_SECONDS=@UNWELL_SECONDS@ FORM_SECONDS=@FORM_SECONDS@
readonly LOG_DAYS=@LOG_DAYS@ LOG_MEBIBYTES=@LOG_MEBIBYTES@
readonly SECRETS=@SECRETS@ LOGS=@LOGS@
readonly WANTED=@WANTED@ TOLD=@TOLD@ # between it and what types its codes (healthcheck/second_factor/handover.py)
# The image has no time zones, so this shell is told the rules of its own; Java knows the zone by its name.
readonly ZONE="${TZ:-}"
export TZ="$ZONE_RULES"

readonly SETTINGS="${TWS_SETTINGS_PATH:?}"
readonly CONFIG="${IBC_INI:-$HOME/ibc/config.ini}"
readonly TEMPLATE="${IBC_INI_TMPL:-$CONFIG.tmpl}"
readonly PRISTINE="$TEMPLATE.image"
readonly GUARD="$SETTINGS/guard" RUN="@RUN@"
readonly STATUS_FILE="$RUN/status"
VERSION="$(<"$SECRETS/secret_version")"
readonly VERSION
readonly ATTEMPTS="$GUARD/$VERSION.attempts" SUCCEEDED="$GUARD/$VERSION.ok"

readonly STOPPED=143 AGAIN=75 # exit codes: asked to stop; ended so that the next start waits its turn
readonly STALE=5              # minutes after which no soft restart is under way any more
readonly FORM_PATIENCE=120    # seconds for which the login form may show while a saved session is taken up
readonly NEAR=10              # minutes around a planned event in which nothing is healed, and within which it must come
readonly UNREACHABLE_PAUSE=60 LONGEST_PAUSE=600 COMPETING_PAUSE=900 # seconds

# The lines of what drives the gateway: each a word and a pattern, the first that matches counts.
readonly LINES=(
@LINES@
)

# --- what is known ------------------------------------------------------------------------------------------------

PHASE=starting SINCE=$EPOCHSECONDS # of the login, as the status tells it
HOLD=none UNTIL=0                  # why no login is made, and until when where that is known
COUNT=0 OUTCOMES=()                # of the secret's version
HISTORY=()
CHILD="" LOG="" LINE="" # the image's run.sh, and its output
JAVA="" STARTED=0       # the gateway's process, as PID:STARTTIME, and since when
KIND=none               # how that process logs in: password or saved (session)
OPEN=no                 # an attempt is under way whose end is not known
REACHED=no CONFIRMED=no SESSION=no
MENU=no                 # IBC has said that the login is complete: before, its STOP ends the program without a logout
FACTOR=0 LOGIN=0 RELOGIN_SINCE=0
API=unknown PROBE="" PROBED=0 UNWELL=0 HEALED=no
DUE=0 DONE=0 EVENT=none CLIENTS=0 CLOCK=0
LOCK="" LOCKED=no PLACED=no LAUNCHED=no COUNTED=no ENDING=no LAST_STOP=none
NOW=0 LOOKED=0 CHECKED=-1 WAIT=0.2 PATIENCE=10      # seconds; WAIT for a line, PATIENCE for IBC's word on the login
ASKED="" LISTENS=no SAVED=0 FORM_SINCE=0            # which process the API's answer is of; starts with a saved session
TEXT_FOLLOWS=no SERVER=""
ASKS=none DEVICES=no # what the login asks for, as what types codes is told; it waits for somebody to choose a device

say() { echo "ibgw: $*"; }

# Seconds that no clock's correction moves.
uptime() { read -r NOW _ </proc/uptime && NOW=${NOW%.*}; }

phase() {
	[[ $PHASE == "$1" ]] && return
	PHASE=$1 SINCE=$EPOCHSECONDS
	publish
}

# --- the volume's memory ------------------------------------------------------------------------------------------

# keep FILE LINE...: on disk before its name is, so that a crash leaves the old text or the new one, never half of it.
keep() {
	printf '%s\n' "${@:2}" >"$1.new" && sync "$1.new" && mv "$1.new" "$1" && sync "$GUARD"
} 2>/dev/null

load_attempts() {
	local lines=()
	COUNT=0 OUTCOMES=()
	[[ -e $ATTEMPTS ]] || return 0
	mapfile -t lines <"$ATTEMPTS"
	COUNT=${lines[0]:-} OUTCOMES=("${lines[@]:1}")
	# What cannot be read as a number counts as exhausted: holding back is the safe mistake.
	[[ $COUNT =~ ^[0-9]+$ ]] || COUNT=$LIMIT
} 2>/dev/null

save_attempts() { keep "$ATTEMPTS" "$COUNT" "${OUTCOMES[@]}"; }

# What no copy of a file has. Empty where that cannot be told.
place_of() { TZ=UTC0 stat -c '%i %w' "$1"; } 2>/dev/null

# A volume that was filled from a copy, such as a backup, has the count of that day: what was tried since is not known, so
# nothing more is. Looked at once a start.
know_place() {
	local file=$GUARD/place known="" now
	[[ $PLACED == no ]] || return 0
	[[ -e $file ]] && known=$(<"$file")
	now=$(place_of "$file")
	if [[ -n $known && -n $now && $known != "$now" ]]; then
		COUNT=$LIMIT OUTCOMES=("$EPOCHSECONDS volume_lost")
		save_attempts || return
		say "the settings volume is a copy: its count of attempts is not known to be the last"
	fi
	: >"$file.new" && keep "$file" "$(place_of "$file.new")" && PLACED=yes
} 2>/dev/null

last_outcome() {
	OUTCOME=unknown
	((${#OUTCOMES[@]})) && OUTCOME=${OUTCOMES[-1]#* }
}

# An attempt begins: counted before the form can appear, which takes seconds.
begin_attempt() {
	((COUNT += 1))
	OUTCOMES+=("$EPOCHSECONDS unknown")
	save_attempts || return 1
	OPEN=yes COUNTED=yes
	HISTORY+=("$EPOCHSECONDS start")
	keep "$GUARD/history" "${HISTORY[@]}"
	say "attempt $COUNT of $LIMIT"
}

# outcome WORD: how the attempt under way ended, as far as is known.
outcome() {
	[[ $OPEN == yes && ${#OUTCOMES[@]} -gt 0 ]] || return 0
	[[ ${OUTCOMES[-1]#* } == "$1" ]] && return 0
	OUTCOMES[-1]="$EPOCHSECONDS $1"
	save_attempts
}

# mark WORD: what became of the last start.
mark() {
	if [[ $1 == competing ]]; then # its pause begins now, however long the session has lasted
		((${#HISTORY[@]})) && unset 'HISTORY[-1]'
		HISTORY+=("$EPOCHSECONDS $1")
	elif ((${#HISTORY[@]})); then
		HISTORY[-1]="${HISTORY[-1]% *} $1"
	fi
	keep "$GUARD/history" "${HISTORY[@]}"
}

confirmed() {
	[[ $CONFIRMED == yes ]] && return
	want in
	CONFIRMED=yes SESSION=yes WAIT=0.5 LOGIN=$EPOCHSECONDS FACTOR=0 FORM_SINCE=0
	if [[ $KIND == password ]]; then
		OPEN=no COUNT=0 OUTCOMES=()
		save_attempts && : >"$SUCCEEDED"
		mark login
	fi
	rm -f "$GUARD/give_way"
	# It is taken up. Left there, IBC's script would start a gateway that crashes with it, again and again.
	SAVED=0
	forget_saved_session
	# Until the end is seen: a container that is killed leaves this word.
	keep "$GUARD/stopped" killed
	say "logged in"
	phase logged_in
}

# The gateway's process is gone. An attempt that reached nobody is taken back: without a way out no password was tried,
# and a host that comes up before its network must not use the attempts up.
process_ended() {
	if [[ $OPEN == yes ]]; then
		if [[ $REACHED == no ]] && ! reached_broker; then
			((COUNT -= 1))
			unset 'OUTCOMES[-1]'
			save_attempts && say "attempt taken back: it reached nobody"
			# A form that comes too late has not reached anybody either, and is held after as many as logins are.
			[[ ${HISTORY[-1]:-} == *\ late_form ]] || mark unreachable
		else
			last_outcome
			[[ $OUTCOME == unknown ]] && outcome ended
		fi
		OPEN=no
	fi
	want none
	JAVA="" WAIT=0.2 KIND=none CONFIRMED=no SESSION=no MENU=no STARTED=0 FACTOR=0 API=unknown UNWELL=0 RELOGIN_SINCE=0 FORM_SINCE=0 DEVICES=no
	planned_done
}

load_history() {
	local entry last kept=()
	HISTORY=()
	[[ -e $GUARD/history ]] && mapfile -t HISTORY <"$GUARD/history"
	# Of a clock that was ahead.
	while ((${#HISTORY[@]})) && ((${HISTORY[-1]% *} > EPOCHSECONDS + 60)); do unset 'HISTORY[-1]'; done
	# By the last entry's hour: a hold lasts until a person ends it, however long that takes.
	last=${HISTORY[-1]:-0}
	for entry in "${HISTORY[@]}"; do
		[[ $entry =~ ^[0-9]+\ [a-z_]+$ ]] && ((${entry% *} > ${last% *} - 3600)) && kept+=("$entry")
	done
	HISTORY=("${kept[@]}")
	LOGINS=0
	for entry in "${HISTORY[@]}"; do
		[[ $entry == *\ login || $entry == *\ late_form ]] && ((LOGINS += 1))
	done
	((LOGINS >= LOGINS_AN_HOUR)) && return
	((${last% *} > EPOCHSECONDS - 3600)) || HISTORY=()
} 2>/dev/null

# --- may the gateway log in? ----------------------------------------------------------------------------------------

minute_of_day() {
	local hour minute
	((EPOCHSECONDS / 60 != CLOCK)) || return 0
	CLOCK=$((EPOCHSECONDS / 60))
	printf -v hour '%(%H)T' "$EPOCHSECONDS"
	printf -v minute '%(%M)T' "$EPOCHSECONDS"
	printf -v WEEKDAY '%(%u)T' "$EPOCHSECONDS"
	MINUTE=$((10#$hour * 60 + 10#$minute))
}

# within MINUTE FROM UNTIL: of the day, past midnight too.
within() { (($2 <= $3 ? $2 <= $1 && $1 < $3 : $2 <= $1 || $1 < $3)); }

# Sets PLAN and PLANNED_END when the gateway is to be logged out now, by the clock or for a time.
logged_out_by_plan() {
	local until=0
	# A time that cannot be read is no pause: whoever wrote it is told by the status that there is none.
	[[ -s $GUARD/pause ]] && { read -r until <"$GUARD/pause"; } 2>/dev/null
	if [[ $until =~ ^[0-9]{1,10}$ ]] && ((until > EPOCHSECONDS)); then
		PLAN=paused PLANNED_END=$until
		return 0
	fi
	minute_of_day
	if ((OFFLINE_FROM >= 0)) && within "$MINUTE" "$OFFLINE_FROM" "$OFFLINE_UNTIL"; then
		PLAN=offline PLANNED_END=$((EPOCHSECONDS - EPOCHSECONDS % 60 + (OFFLINE_UNTIL - MINUTE + 1440) % 1440 * 60))
		return 0
	fi
	return 1
}

pause_until() {
	local starts=${#HISTORY[@]} entry seconds longest=$LONGEST_PAUSE
	PAUSED_UNTIL=0
	((starts)) || return 0
	entry=${HISTORY[-1]}
	seconds=$((5 << (starts > 8 ? 7 : starts - 1)))
	case $entry in
	*\ unreachable) longest=$UNREACHABLE_PAUSE ;;
	*\ competing) seconds=$COMPETING_PAUSE longest=$COMPETING_PAUSE ;;
	esac
	PAUSED_UNTIL=$((${entry% *} + (seconds < longest ? seconds : longest)))
}

# hold WORD UNTIL TEXT: says once why no login is made.
hold() {
	[[ $HOLD == "$1" && $UNTIL == "$2" ]] && return 1
	HOLD=$1 UNTIL=$2 PHASE=$1 SINCE=$EPOCHSECONDS
	say "$3"
	publish
	return 1
}

open_guard() { mkdir -p "$GUARD" && exec {LOCK}>"$GUARD/lock"; } 2>/dev/null

# Whether the gateway may be started now; if not, HOLD says why.
gate() {
	if [[ -z $LOCK ]] && ! open_guard; then
		hold unwritable 0 "held: unwritable: attempts cannot be recorded in $GUARD" || return
	fi
	if [[ $LOCKED == no ]]; then
		flock -n "$LOCK" && LOCKED=yes || hold volume 0 "held: volume: another container has $SETTINGS" || return
	fi
	if [[ $AUTOMATION != ibc ]]; then
		hold automation 0 "held: automation: $AUTOMATION" || return
	fi
	if logged_out_by_plan; then
		[[ -e $GUARD/give_way ]] || : >"$GUARD/give_way"
		hold "$PLAN" "$PLANNED_END" "$PLAN until $PLANNED_END" || return
	fi
	load_attempts
	if ! know_place; then
		hold unwritable 0 "held: unwritable: attempts cannot be recorded in $GUARD" || return
	fi
	load_history
	last_outcome
	if ((COUNT >= LIMIT)); then
		hold attempts 0 "held: attempts: $OUTCOME" || return
	fi
	if ((LOGINS >= LOGINS_AN_HOUR)); then
		hold logins 0 "held: logins: $LOGINS within an hour ended by themselves" || return
	fi
	# Two of its codes were submitted without a login: a third would be as bad as a third password.
	read_codes
	if [[ $CODE == held ]] && ((CODE_HELD >= AGAIN_AT)); then
		hold codes 0 "held: codes" || return
	fi
	pause_until
	if ((PAUSED_UNTIL > EPOCHSECONDS)); then
		hold pause "$PAUSED_UNTIL" "waiting: pause until $PAUSED_UNTIL" || return
	fi
	if ! keep "$GUARD/history" "${HISTORY[@]}"; then
		hold unwritable 0 "held: unwritable: attempts cannot be recorded in $GUARD" || return
	fi
	HOLD=none UNTIL=0
}

# --- what types codes -------------------------------------------------------------------------------------------------

# Sets CODE, what it does; CODE_HELD, since when it types no more; AGAIN_AT, when a person last let the gateway go on.
read_codes() {
	local line=""
	CODE=none CODE_HELD=0 AGAIN_AT=0
	[[ $CODES == yes ]] || return 0
	[[ -s $GUARD/again ]] && read -r AGAIN_AT <"$GUARD/again"
	[[ $AGAIN_AT =~ ^[0-9]{1,10}$ ]] || AGAIN_AT=0
	[[ -s $TOLD ]] && read -r line <"$TOLD"
	[[ $line =~ \ phase=([a-z_]{1,40})\  ]] && CODE=${BASH_REMATCH[1]}
	[[ $line =~ \ held=([0-9]{1,10})$ ]] && CODE_HELD=${BASH_REMATCH[1]}
	return 0
} 2>/dev/null

# want KIND: what the login that is under way asks for. What types codes runs under a user of its own.
want() {
	[[ $CODES == yes && $ASKS != "$1" ]] || return 0
	ASKS=$1
	read_codes
	printf 'v=1 login=%s at=%s kind=%s again=%s\n' "${JAVA:-0}" "$EPOCHSECONDS" "$1" "$AGAIN_AT" >"$WANTED.new" &&
		chmod 644 "$WANTED.new" && mv "$WANTED.new" "$WANTED" || say "what types codes could not be told: $1"
}

# Of which second factor, as the program itself says in launcher.log: IBC's lines do not tell a code from a push. Asked
# each second while one is awaited, since the two do not write at the same moment.
want_factor() {
	local line lines=() named=""
	if [[ $DEVICES == yes ]]; then
		want devices
		return
	fi
	mapfile -t lines < <(tail -n 200 "$SETTINGS/launcher.log")
	for line in "${lines[@]}"; do
		case $line in
		*"- IB GATEWAY RESTART -"*) named="" ;;
		*" - NS_AUTH_START "*) [[ $line =~ token\(s\)=.*\[([^]=[]+)\]\] ]] && named=${BASH_REMATCH[1]} ;;
		esac
	done
	case $named in
	"") ((EPOCHSECONDS - FACTOR < 5)) || want unnamed ;;
	"IB Key") want push ;;
	SMS | *[Pp]asskey* | *FIDO* | *WebAuthn*) want other ;;
	*) want code ;;
	esac
} 2>/dev/null

# What drives the gateway, by the image's content. Only IBC takes its credentials as this script gives them.
find_automation() {
	if [[ -f $IBC_PATH/IBC.jar ]] && grep -q ibcstart.sh "$SCRIPT_PATH"/*.sh && [[ ${USE_IBG_CONTROLLER:-no} != yes ]]; then
		AUTOMATION=ibc
	elif grep -qi 'ibg.controller' "$SCRIPT_PATH"/*.sh; then
		AUTOMATION=ibg_controller
	elif grep -qi 'ibcontroller\|ib-controller' "$SCRIPT_PATH"/*.sh; then
		AUTOMATION=ibcontroller
	else
		AUTOMATION=unknown
	fi
} 2>/dev/null

# --- what the image is given ----------------------------------------------------------------------------------------

# The template that the image substitutes into, from the image's own: a key that it lacks is appended.
render() {
	local line key end=""
	declare -A set=(
		[IbLoginId]="$(<"$SECRETS/tws_userid")"
		[IbPassword]="$(<"$SECRETS/tws_password")"
		# Retries inside one process, which nothing outside can count beforehand: only with a version that has worked, and
		# whose last login succeeded.
		[ReloginAfterSecondFactorAuthenticationTimeout]=no
		[CommandServerPort]="$COMMANDS"
		# Without an address IBC would listen to the whole api network.
		[BindAddress]=127.0.0.1
		[ControlFrom]=
		[LoginDialogDisplayTimeout]="$FORM_SECONDS"
	)
	[[ $RELOGIN == yes && -f $SUCCEEDED && $COUNT == 0 ]] && set[ReloginAfterSecondFactorAuthenticationTimeout]=yes
	[[ -e $GUARD/give_way && ${EXISTING_SESSION_DETECTED_ACTION:-} != manual ]] && set[ExistingSessionDetectedAction]=secondary
	if [[ $DEBUG == yes ]]; then
		# Only windows that IBC does not know: with all of them it would log the filled login form, user id included.
		set[LogStructureScope]=unknown set[LogStructureWhen]=open set[IncludeStackTraceForExceptions]=yes
	fi
	while IFS= read -r line || [[ -n $line ]]; do
		[[ $line == *$'\r' ]] && end=$'\r'
		key=${line%%=*}
		if [[ $line == *=* && -v set[$key] ]]; then
			line="$key=${set[$key]}$end"
			unset "set[$key]"
		fi
		printf '%s\n' "$line" || return
	done <"$PRISTINE"
	for key in "${!set[@]}"; do
		printf '%s=%s%s\n' "$key" "${set[$key]}" "$end" || return
	done
}

prepare() {
	umask 077
	mkdir -p "$RUN"
	open_guard
	find_automation
	[[ -s $GUARD/stopped ]] && read -r LAST_STOP <"$GUARD/stopped"
	[[ -s $GUARD/planned ]] && read -r EVENT DUE DONE <"$GUARD/planned"
} 2>/dev/null

before_login() {
	# The image writes the time zone only once.
	if [[ -f $SETTINGS/jts.ini ]] && ! grep -qx "TimeZone=$TIME_ZONE" "$SETTINGS/jts.ini"; then
		sed -i "s|^TimeZone=.*|TimeZone=$TIME_ZONE|" "$SETTINGS/jts.ini"
	fi
	if [[ $VNC == yes ]]; then
		# New at each start and never in any configuration: x11vnc shows it in its arguments.
		head -c 6 /dev/urandom | od -An -tx1 | tr -d ' \n' >"${VNC_SERVER_PASSWORD_FILE:?}"
	fi
	# A display that was killed leaves its socket, and the image would take that for the new one.
	rm -f /tmp/.X11-unix/X1
	ASKS="" && want none
	# IBC keeps the file of a soft restart: once that is over, a start with it fills nothing into the form, for ever.
	find "$SETTINGS" -mindepth 2 -maxdepth 2 -name autorestart -mmin "+$STALE" -delete
	chmod 600 "$TEMPLATE"
	[[ -f $PRISTINE ]] || { cp "$TEMPLATE" "$PRISTINE.new" && mv "$PRISTINE.new" "$PRISTINE"; } || return
	render >"$TEMPLATE"
}

forget_saved_session() { rm -f "$SETTINGS"/*/autorestart; }

# --- the processes ----------------------------------------------------------------------------------------------------

# starttime PID: in clock ticks since boot, so that a recycled pid is another process.
starttime() {
	local stat
	read -r stat <"/proc/$1/stat" || return 1
	# shellcheck disable=SC2086
	set -- ${stat##*) }
	[[ $1 != Z ]] && START=${20}
} 2>/dev/null

# find_process PATTERN: sets PID and ARGUMENTS of the process with this container's configuration, or fails.
find_process() {
	local file
	for file in /proc/[0-9]*/cmdline; do
		mapfile -d '' -t ARGUMENTS <"$file" || continue
		# shellcheck disable=SC2053
		[[ ${#ARGUMENTS[@]} -gt 1 && ${ARGUMENTS[*]} == *"$CONFIG"* && ${ARGUMENTS[*]} == $1 ]] || continue
		PID=${file#/proc/} PID=${PID%/cmdline}
		return 0
	done
	return 1
} 2>/dev/null

find_java() { find_process '*java *IbcGateway *' && [[ ${ARGUMENTS[0]##*/} == java ]]; }

# Asked several times a second for ever, so by one look at a name; that it is no other process of that number, each second.
java_alive() {
	[[ -n $JAVA && -e /proc/${JAVA%:*} ]] || return
	((NOW == CHECKED)) && return
	starttime "${JAVA%:*}" && [[ ${JAVA#*:} == "$START" ]] && CHECKED=$NOW
}

child_alive() { [[ -n $CHILD && -e /proc/$CHILD ]]; }

# Whether a TCP connection to beyond this container stands, or has stood within the last minute and was closed from here.
# What comes in from outside does not count: the relay's clients, the status, the screen. SYN_SENT (02) reached nobody,
# LISTEN (0A) is no connection. Asked five times a second, so without a new process.
reached_broker() {
	local line lines more relay status screen
	printf -v relay '%04X' "$RELAY_PORT"
	printf -v status '%04X' "$STATUS_PORT"
	printf -v screen '%04X' "$SCREEN_PORT"
	mapfile -t lines </proc/net/tcp
	mapfile -t more </proc/net/tcp6
	for line in "${lines[@]}" "${more[@]}"; do
		# shellcheck disable=SC2086
		set -- $line # its number, own address, remote address, state
		[[ $4 != 02 && $4 != 0A && $4 != st ]] || continue
		case ${2##*:} in "$relay" | "$status" | "$screen") continue ;; esac
		case $3 in
		*7F:* | 00000000000000000000000001000000:*) ;; # 127.0.0.0/8, mapped or not, and ::1
		*) return 0 ;;
		esac
	done
	return 1
} 2>/dev/null

# Sets how many are connected to the gateway (CONNECTIONS) and to its relay (CLIENTS), and whether the gateway LISTENS.
connections() {
	local line lines more port relay
	printf -v port '%04X' "$PORT"
	printf -v relay '%04X' "$RELAY_PORT"
	CONNECTIONS=0 CLIENTS=0 LISTENS=no
	mapfile -t lines </proc/net/tcp
	mapfile -t more </proc/net/tcp6
	for line in "${lines[@]}" "${more[@]}"; do
		# shellcheck disable=SC2086
		set -- $line
		case ${2##*:}/$4 in
		"$port/01") ((CONNECTIONS += 1)) ;;
		"$port/0A") LISTENS=yes ;;
		"$relay/01") ((CLIENTS += 1)) ;;
		esac
	done
} 2>/dev/null

launch() {
	exec {LOG}< <(
		umask 022
		exec {LOCK}>&-
		TZ="$ZONE" exec "$SCRIPT_PATH/run.sh" 2>&1
	)
	CHILD=$!
	phase starting
}

# watch_java [begun]: a new process of the gateway, or the end of the known one, whose last lines are read before it is
# judged; `begun`: they are, and the next line is another one's.
watch_java() {
	java_alive && return
	[[ -n $JAVA && ${1:-} != begun ]] && read_on
	java_alive && return
	if [[ -n $JAVA ]]; then
		process_ended
		phase restarting
	fi
	find_java && starttime "$PID" || return
	JAVA="$PID:$START" STARTED=$EPOCHSECONDS REACHED=no PROBED=0 CHECKED=-1
	case "${ARGUMENTS[*]}" in
	*\ -Drestart=*) KIND=saved ;;
	*) KIND=password ;;
	esac
	phase starting
	if [[ $KIND == saved ]]; then
		LAUNCHED=yes
		((++SAVED <= 2)) && return
		kill -KILL "${JAVA%:*}" 2>/dev/null
		end again "the saved session was not taken up"
	fi
	# IBC starts the gateway again without a pause and without asking: only the next start may, which waits its turn.
	if [[ $LAUNCHED == yes ]]; then
		kill -KILL "${JAVA%:*}" 2>/dev/null
		end again "the gateway started again for a full login"
	elif ! begin_attempt; then
		kill -KILL "${JAVA%:*}" 2>/dev/null
		end again "attempts cannot be recorded in $GUARD"
	fi
	LAUNCHED=yes
}

# --- the API ----------------------------------------------------------------------------------------------------------

# One message of the API: a big-endian length, then fields that each end with NUL. Sets FIELDS; fails as `read` does. Without
# a new process, since it is asked for ever.
message() {
	local byte bytes=0 field n
	for _ in {1..4}; do
		IFS= read -rt 5 -d '' -n 1 -u 3 byte || return
		printf -v n '%d' "'$byte" # 0 for NUL, which no variable holds
		((bytes = bytes * 256 + (n & 255)))
	done
	FIELDS=()
	while ((bytes > 0)); do
		IFS= read -rt 5 -d '' -u 3 field || return
		FIELDS+=("$field")
		((bytes -= ${#field} + 1))
	done
	return 0
}

# ask_api ID: prints `ok ACCOUNTS`, `accounts ACCOUNTS` (logged in, but no next order id: half open), `taken`, `closed`
# (nobody accepts), `ended` (accepted and closed without a word), `silent` or `half_open`. Logged in means that startApi
# returns managed accounts (API reference: message 15 after START_API, 71); versions up to 178 are answered as text.
ask_api() {
	local accounts="" next="" length LC_ALL=C
	{ exec 3<>"/dev/tcp/127.0.0.1/$PORT"; } 2>/dev/null || { echo closed && return; }
	printf 'API\x00\x00\x00\x00\x09v100..178' >&3
	message
	case $? in
	0) ;;
	1) echo ended && return ;;
	*) echo silent && return ;;
	esac
	printf -v length '%02x' $((${#1} + 7))
	# shellcheck disable=SC2059
	printf "\\x00\\x00\\x00\\x${length}71\\x002\\x00$1\\x00\\x00" >&3
	for _ in {1..20}; do
		message || break
		case ${FIELDS[0]} in
		15) accounts=${FIELDS[2]:-} ;;
		9) next=${FIELDS[2]:-} ;;
		4) [[ ${FIELDS[3]:-} == 326 ]] && echo taken && return ;;
		esac
		[[ -n $accounts && -n $next ]] && echo "ok $accounts" && return
	done
	[[ -n $accounts ]] && echo "accounts $accounts" || echo half_open
} 2>/dev/null

# With the next id where another client has this one.
ask_api_under_a_free_id() {
	local id answer
	for id in "$CLIENT_ID" $((CLIENT_ID + 1)) $((CLIENT_ID + 2)); do
		ask_api "$id" >"$RUN/answer"
		read -r answer _ <"$RUN/answer"
		[[ $answer == taken ]] || break
	done
}

# Asks in the background, so that nothing waits for an answer: often while a login is under way, and once a minute later.
probe() {
	local every=60
	if [[ -n $PROBE ]]; then
		kill -0 "$PROBE" 2>/dev/null || take_answer
		return
	fi
	[[ -n $JAVA ]] || return
	if [[ $CONFIRMED == no ]]; then
		# Without the broker there is no login, and without the port nobody to ask.
		[[ $REACHED == yes ]] || return
		every=$((EPOCHSECONDS - STARTED < 300 ? 1 : 5))
	elif ((UNWELL || RELOGIN_SINCE)); then
		every=15
	fi
	((NOW - PROBED >= every)) || return
	connections
	[[ $LISTENS == yes || $CONFIRMED == yes ]] || return
	PROBED=$NOW
	: >"$RUN/answer" # the answer before this one is none, should the asker end without a word
	ask_api_under_a_free_id &
	PROBE=$! ASKED=$JAVA
}

take_answer() {
	local word accounts account
	PROBE=""
	[[ $ASKED == "$JAVA" ]] || return # another process was asked
	read -r word accounts <"$RUN/answer" || return
	if [[ $word == ended ]]; then
		# The gateway takes 32 clients, and they are logged in.
		connections
		((CONNECTIONS >= 32)) && word=full || word=silent
	fi
	# It listens and nobody accepts: its queue is full.
	[[ $word == closed && $LISTENS == yes ]] && word=silent
	# Before a login is told, so that the status tells at once what proved it.
	API=$word
	[[ $word == accounts ]] && API=half_open
	case $word in
	ok | accounts)
		for account in ${accounts//,/ }; do
			# Paper accounts begin with D (DU, DF, DI), live accounts do not.
			if [[ $MODE == paper && $account != D* || $MODE == live && $account == D* ]]; then
				COUNT=$LIMIT OUTCOMES=("$EPOCHSECONDS wrong_account") OPEN=no SESSION=yes
				save_attempts
				PATIENCE=0
				end again "the login shows accounts of the wrong kind for $MODE"
				return
			fi
		done
		confirmed
		;;
	taken | full) confirmed ;;
	esac
	case $API in
	ok | taken | full) UNWELL=0 HEALED=no RELOGIN_SINCE=0 ;;
	*) [[ $SESSION == yes && $API != closed ]] && ((UNWELL == 0)) && UNWELL=$NOW ;;
	esac
	if [[ $CONFIRMED == yes ]]; then
		((UNWELL)) && phase unwell || phase logged_in
	fi
}

# --- the lines of what drives the gateway -----------------------------------------------------------------------------

classify() {
	local row
	WORD=""
	shopt -s nocasematch
	for row in "${LINES[@]}"; do
		if [[ $1 =~ ${row#* } ]]; then
			WORD=${row%% *}
			break
		fi
	done
	shopt -u nocasematch
}

# A line of the image's output: passed on, and read for what it says of the login. What follows from a line is never more
# than a reason, an outcome's name, or an earlier end of what would be counted anyway.
on_line() {
	printf '%s\n' "$1"
	[[ -n $1 ]] || return
	classify "$1"
	if [[ $ENDING == yes ]]; then
		[[ $WORD == logged_in ]] && MENU=yes
		return
	fi
	if [[ $TEXT_FOLLOWS == yes ]]; then
		# IBC prints a dialog's text on the line after its title.
		TEXT_FOLLOWS=no
		case $WORD in rejected | locked_out | unreachable | unavailable | version_refused) ;; *) WORD=login_error ;; esac
	fi
	case $WORD in
	"" | none) return ;;
	text_follows) TEXT_FOLLOWS=yes && return ;;
	begun) watch_java begun ;;
	kept) [[ $CONFIRMED == yes && $KIND == password ]] && mark login ;;
	# The API may have shown the login before its lines are read: they do not take the phase back.
	form)
		[[ $CONFIRMED == yes ]] && return
		phase login
		[[ $KIND == saved ]] && FORM_SINCE=$NOW
		;;
	submitted)
		[[ $CONFIRMED == yes ]] || phase login
		[[ $1 =~ Login\ attempt:\ ([0-9]+) ]] && ((BASH_REMATCH[1] > 1)) && another_attempt
		;;
	device) DEVICES=yes ;;
	factor)
		FACTOR=$EPOCHSECONDS
		[[ $CONFIRMED == yes ]] || phase second_factor
		;;
	rejected)
		# No password was sent but a session's token: it is that which was rejected.
		if [[ $OPEN == yes ]]; then failed rejected; elif [[ $PHASE != locked_out ]]; then token_refused; fi
		;;
	relogin) RELOGIN_SINCE=$NOW ;;
	# A connection may have come and gone between two looks: such a line is no attempt that reached nobody.
	logged_in) SESSION=yes MENU=yes REACHED=yes FACTOR=0 RELOGIN_SINCE=0 FORM_SINCE=0 ;;
	*) failed "$WORD" ;;
	esac
}

# failed OUTCOME: as far as the lines tell.
failed() {
	FACTOR=0 DEVICES=no
	want none
	[[ $1 == unreachable || $1 == late_form ]] || REACHED=yes
	# None of these says that a saved session was refused, and nothing is healed after the latter two.
	case $1 in
	unreachable | unavailable) ((FORM_SINCE)) && FORM_SINCE=$NOW ;;
	locked_out | competing_session) HEALED=yes FORM_SINCE=0 RELOGIN_SINCE=0 ;;
	esac
	outcome "$1"
	[[ $1 == competing_session || $1 == late_form ]] && mark "${1%_session}"
	[[ $CONFIRMED == yes ]] || phase "$1"
	# It may try again inside the same process.
	case $1 in
	rejected | locked_out | second_factor_timeout) [[ $OPEN == yes ]] && ((COUNT >= LIMIT)) && used_up ;;
	esac
}

# IBC logs in again inside one process (after a lock-out or a missed second factor).
another_attempt() {
	[[ $OPEN == yes ]] || return
	((COUNT < LIMIT)) && begin_attempt || used_up
}

used_up() {
	kill -KILL "${JAVA%:*}" 2>/dev/null
	end again "the attempts with this version of the secret are used up"
}

# Whether there was a line within WAIT. Waits in this shell: a `sleep` would be a new process each time, for ever.
tick() {
	local part="" status
	if [[ -n $LOG ]]; then
		IFS= read -rt "$WAIT" -u "$LOG" part
		status=$?
		LINE+=$part
		if ((status == 0)); then
			part=$LINE LINE=""
			on_line "$part"
		elif ((status <= 128)); then # its end: run.sh and all that it started are gone
			exec {LOG}<&-
			LOG=""
		fi
		return "$status"
	fi
	read -rt "$WAIT" -u "$TICK"
}

# The lines that are there already, a hundred at most: what a process has said is read before its end is judged.
read_on() {
	local most=100
	while ((most--)) && [[ -n $LOG ]] && read -rt 0 -u "$LOG"; do
		tick
	done
}

# --- healing ------------------------------------------------------------------------------------------------------------

near_plan() {
	local at
	minute_of_day
	for at in "$AUTO_RESTART" "$AUTO_LOGOFF" "$COLD_RESTART" "$OFFLINE_FROM"; do
		((at >= 0)) && within "$MINUTE" $(((at - NEAR + 1440) % 1440)) $(((at + NEAR) % 1440)) && return 0
	done
	return 1
}

# may_heal: at most HEALS_A_DAY within a day; HEALS is how many there were.
may_heal() {
	local entry lines=()
	HEALS=0 LAST_HEAL=none
	[[ -s $GUARD/heals ]] && mapfile -t lines <"$GUARD/heals"
	KEPT=()
	for entry in "${lines[@]}"; do
		[[ $entry =~ ^[0-9]+\ [a-z_]+$ ]] && ((${entry% *} > EPOCHSECONDS - 86400)) && KEPT+=("$entry") && LAST_HEAL=${entry#* }
	done
	HEALS=${#KEPT[@]}
	[[ $HEAL == yes ]] && ((HEALS < HEALS_A_DAY))
}

record_heal() {
	keep "$GUARD/heals" "${KEPT[@]}" "$EPOCHSECONDS $1" && say "heal: $1"
}

# The API is wedged or half open: one soft restart an outage, which keeps the session.
heal_api() {
	((UNWELL && NOW - UNWELL >= UNWELL_SECONDS)) && [[ $HEALED == no ]] || return
	((AUTO_RESTART >= 0 && FACTOR == 0 && RELOGIN_SINCE == 0)) && ! near_plan && may_heal || return
	HEALED=yes
	record_heal soft_restart && command_ibc RESTART || say "heal: soft_restart could not be asked for"
}

# The saved session was refused: the gateway stands at its login form, into which nothing is filled, for ever.
token_refused() {
	RELOGIN_SINCE=0 FORM_SINCE=0
	say "token refused"
	forget_saved_session
	phase token_refused
	load_attempts
	if ((COUNT < LIMIT)) && may_heal && record_heal full_login; then
		end again "a full login"
	fi
}

# --- the end ------------------------------------------------------------------------------------------------------------

# Sent over a connection that stays open: IBC answers before it acts.
command_ibc() {
	{ exec {CHANNEL}<>"/dev/tcp/127.0.0.1/$COMMANDS" && echo "$1" >&"$CHANNEL"; } 2>/dev/null
}

# log_out: the gateway closes itself, as by its menu, or is ended some seconds before the grace is over.
log_out() {
	local began had=$SESSION asked=no WAIT=0.2
	uptime
	began=$NOW
	phase stopping
	# First the script that would start the gateway again, and what would make it do so.
	find_process '*ibcstart.sh *' && kill -KILL "$PID" 2>/dev/null
	forget_saved_session
	LAST_STOP=no_session
	if [[ -n $JAVA ]] || { find_java && starttime "$PID" && JAVA="$PID:$START"; }; then
		# The API may have shown the login some seconds before IBC takes note of it.
		while [[ $had == yes && $MENU == no ]] && java_alive && ((NOW - began < PATIENCE)); do
			tick
			uptime
		done
		{ [[ $MENU == yes ]] && command_ibc STOP; } || kill -TERM "${JAVA%:*}" 2>/dev/null
		while java_alive; do
			tick
			uptime
			if ((NOW - began >= GRACE - 5)); then
				kill -KILL "${JAVA%:*}" 2>/dev/null
				[[ $had == yes ]] && LAST_STOP=stranded
				break
			elif ((NOW - began >= (GRACE - 5) / 2)) && [[ $asked == no ]]; then
				kill -TERM "${JAVA%:*}" 2>/dev/null
				asked=yes
			fi
		done
		if [[ $had == yes && $LAST_STOP != stranded ]]; then
			[[ $MENU == yes ]] && LAST_STOP=clean || LAST_STOP=stranded
		fi
	fi
	# A soft restart may have fired meanwhile.
	forget_saved_session
	# One that was held all the time tells nothing of how the last session ended.
	[[ $LAUNCHED == no ]] || keep "$GUARD/stopped" "$LAST_STOP"
}

# end again REASON: so that the next start waits its turn. end planned REASON: likewise, and no fault of the gateway's.
# end stop: asked to.
end() {
	[[ $ENDING == no ]] || return
	ENDING=yes
	if [[ $1 == stop ]]; then
		say "stopping"
	else
		say "ending: $2"
	fi
	LAST_STOP=no_session
	# Without the lock it is another container's volume.
	[[ $LOCKED == yes ]] && log_out
	if [[ $1 != again && $COUNTED == yes ]]; then
		# Somebody's wish is no fault of the gateway, so no pause follows from it.
		unset 'HISTORY[-1]'
		keep "$GUARD/history" "${HISTORY[@]}"
	fi
	[[ -n $JAVA ]] && process_ended
	child_alive && kill -TERM "$CHILD" 2>/dev/null
	for _ in {1..10}; do
		child_alive || break
		tick
	done
	read_on
	[[ $LAST_STOP == no_session ]] && say "stopped: no session" || say "stopped: $LAST_STOP"
	[[ $1 == stop || -n $STOP ]] && exit "$STOPPED"
	exit "$AGAIN"
}

# The image's run.sh has ended by itself, and so does the container; Docker starts it again.
child_ended() {
	local code
	java_alive && end again "run.sh ended before the gateway"
	wait "$CHILD"
	code=$?
	read_on
	[[ -n $JAVA ]] && process_ended
	keep "$GUARD/stopped" ended
	exit "$code"
}

# --- plans and status -----------------------------------------------------------------------------------------------------

# Once a minute at most: whether a planned event is due now.
plan_due() {
	local event=none
	minute_of_day
	if ((MINUTE == AUTO_RESTART)); then
		event=auto_restart
	elif ((MINUTE == AUTO_LOGOFF)); then
		event=auto_logoff
	elif ((MINUTE == COLD_RESTART && WEEKDAY == 7)); then
		event=cold_restart
	fi
	[[ $event != none && $SESSION == yes ]] && ((EPOCHSECONDS - DUE > 120)) || return
	EVENT=$event DUE=$EPOCHSECONDS DONE=0
	keep "$GUARD/planned" "$EVENT $DUE $DONE"
}

# The gateway's process ended: the planned event's doing, if one was due just now.
planned_done() {
	((DUE && DONE == 0 && EPOCHSECONDS - DUE <= NEAR * 60)) || return
	DONE=$EPOCHSECONDS
	keep "$GUARD/planned" "$EVENT $DUE $DONE"
}

# Bytes that the container uses, as `docker stats` counts them, in cgroups of version 2 or 1.
memory() {
	local used=0 line lines=() folder=/sys/fs/cgroup
	if [[ -r $folder/memory.current ]]; then
		read -r used <"$folder/memory.current"
	elif [[ -r $folder/memory/memory.usage_in_bytes ]]; then
		folder+=/memory
		read -r used <"$folder/memory.usage_in_bytes"
	fi
	MEMORY=$used
	mapfile -t lines <"$folder/memory.stat"
	for line in "${lines[@]}"; do
		case $line in
		inactive_file\ * | total_inactive_file\ *) MEMORY=$((used > ${line#* } ? used - ${line#* } : 0)) ;;
		esac
	done
} 2>/dev/null

# One line of closed words and numbers, written over the old one in one go: a reader sees the one or the other.
publish() {
	local words=none entry
	((${#OUTCOMES[@]})) && words="" && for entry in "${OUTCOMES[@]}"; do words+="${words:+,}${entry#* }"; done
	memory
	may_heal
	read_codes
	printf '%-600s\n' "v=1 phase=$PHASE since=$SINCE hold=$HOLD until=$UNTIL now=$EPOCHSECONDS mode=$MODE \
automation=$AUTOMATION started=$STARTED kind=$KIND login=$LOGIN api=$API attempts=$COUNT limit=$LIMIT outcomes=$words \
logins=${LOGINS:-0} factor=$FACTOR event=$EVENT due=$DUE done=$DONE heals=$HEALS healed=$LAST_HEAL memory=$MEMORY \
clients=$CLIENTS stopped=$LAST_STOP code=$CODE" 1<>"$STATUS_FILE"
}

serve_status() {
	[[ -n $SERVER ]] && kill -0 "$SERVER" 2>/dev/null && return
	(
		exec {LOCK}>&-
		exec socat -U "TCP-LISTEN:$STATUS_PORT,fork,reuseaddr,max-children=16" "OPEN:$STATUS_FILE,rdonly"
	) 2>/dev/null &
	SERVER=$!
}

each_second() {
	uptime
	((NOW == LOOKED)) && return
	LOOKED=$NOW
	((NOW % 10 == 0)) && serve_status
	((NOW % 10 == 0 || FACTOR && NOW % 2 == 0)) && publish
	[[ -n $CHILD ]] || return
	plan_due
	heal_api
	((FACTOR)) && [[ $CODES == yes && $CONFIRMED == no ]] && want_factor
	if ((FACTOR == 0 && (RELOGIN_SINCE && NOW - RELOGIN_SINCE > 120 || FORM_SINCE && NOW - FORM_SINCE > FORM_PATIENCE))); then
		token_refused
	fi
	if logged_out_by_plan; then
		[[ -e $GUARD/give_way ]] || : >"$GUARD/give_way"
		end planned "$PLAN until $PLANNED_END"
	fi
}

# The gateway writes its logs among its settings; kept apart they outlive a reset of those. Only the newest are kept, and
# what was too much is not copied again.
LOGS_SINCE=0
keep_logs() {
	local since=$((EPOCHSECONDS - LOG_DAYS * 86400)) sum=0 seconds bytes path
	((since > LOGS_SINCE)) && LOGS_SINCE=$since
	find "$SETTINGS" -maxdepth 2 -type f \( -name '*.log*' -o -name '*.ibenc' -o -name '*.ibgzenc' \) \
		-newermt "@$LOGS_SINCE" -exec cp -u --preserve=timestamps --parents {} "$LOGS/" \; || return
	while read -r seconds bytes path; do
		((sum += bytes))
		if ((seconds < LOGS_SINCE || sum > LOG_MEBIBYTES * 1048576 && sum > bytes)); then
			rm -f "$path"
			((seconds >= LOGS_SINCE)) && LOGS_SINCE=$((seconds + 1))
		fi
	done < <(find "$LOGS" -type f -printf '%Ts %s %p\n' | sort -rn)
}

main() {
	trap 'STOP=yes' TERM INT
	say starting
	uptime
	exec {TICK}<> <(:)
	prepare
	publish
	serve_status
	until gate; do
		for _ in {1..5}; do
			tick
			[[ -n $STOP ]] && end stop
		done
		each_second
	done
	before_login || end again "IBC's settings could not be written"
	launch
	if [[ $DEBUG == yes ]]; then
		while sleep 30; do
			keep_logs || say "debug: logs could not be copied to $LOGS"
		done &
	fi
	while true; do
		tick && read_on
		[[ -n $STOP ]] && end stop
		watch_java
		[[ $CONFIRMED == no && $REACHED == no && -n $JAVA ]] && reached_broker && REACHED=yes
		probe
		each_second
		child_alive || child_ended
	done
}

# The first process only waits, and hands a signal on until it is heard: on a loaded host one in some hundred was lost
# among a shell's other commands, and with it a session.
first_process() {
	local pulse pause=0.5
	exec {pulse}<> <(:)
	trap 'STOP=yes' TERM INT
	main &
	while [[ -e /proc/$! ]]; do
		[[ -n $STOP ]] && kill -TERM $! && pause=0.2
		read -rt "$pause" -u "$pulse"
	done
	wait $!
	exit $?
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || first_process
