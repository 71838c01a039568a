#!/bin/bash
# Runs in the gateway's container at each start, before the image renders IBC's config.ini (run.sh, START_SCRIPTS).
# run.sh ignores what it returns, so everything that must not happen is prevented here, not reported.
#
# 1. Puts the user id into IBC's template: the image reads only the password from a file.
# 2. Start guard: one version of a secret is tried at most @LIMIT@ times without a successful login, whatever restarts the
#    gateway, since more wrong attempts lock the account. IBC restarts Java by itself, without start scripts and without
#    delay, so a background half watches Java processes.
# 3. Lets IBC take commands from inside this container, for a restart that keeps the session.
# 4. Brings the time zone of an existing jts.ini in line: the image writes it only once.
#
# The state lies on the settings volume, which outlives the container: guard/<version>.attempts holds the number of
# attempts since the last successful login, guard/<version>.ok exists once one has succeeded.
set -u

readonly PORT=@PORT@ CLIENT_ID=@CLIENT_ID@ LIMIT=@LIMIT@
readonly SECRETS=@SECRETS@
readonly SETTINGS="${TWS_SETTINGS_PATH:?}"
readonly CONFIG="${IBC_INI:-$HOME/ibc/config.ini}"
readonly TEMPLATE="${IBC_INI_TMPL:-$CONFIG.tmpl}"
readonly PRISTINE="$TEMPLATE.image"
readonly GUARD="$SETTINGS/guard"
VERSION="$(<"$SECRETS/secret_version")"
readonly VERSION
readonly ATTEMPTS="$GUARD/$VERSION.attempts" SUCCEEDED="$GUARD/$VERSION.ok"

say() { echo "ibgw-guard: $*"; }

attempts() {
	local count=0
	if [[ -e $ATTEMPTS ]]; then
		# What cannot be read as a number counts as exhausted: holding back is the safe mistake.
		count=""
		read -r count <"$ATTEMPTS"
		[[ $count =~ ^[0-9]+$ ]] || count=$LIMIT
	fi 2>/dev/null
	echo "$count"
}

# On disk before its name is, so that a crash leaves the old number or the new one, never an empty file.
record() { echo "$1" >"$ATTEMPTS.new" && sync "$ATTEMPTS.new" && mv "$ATTEMPTS.new" "$ATTEMPTS" && sync "$GUARD"; }

# render USER_ID PASSWORD RELOGIN: the template that the image will substitute into, from the image's own.
render() {
	local line
	while IFS= read -r line || [[ -n $line ]]; do
		case $line in
		IbLoginId=*) line="IbLoginId=$1" ;;
		IbPassword=*) line="IbPassword=$2" ;;
		ReloginAfterSecondFactorAuthenticationTimeout=*) line="${line%%=*}=$3" ;;
		# For `ibgw restart --soft`. Without an address IBC would listen to the whole api network.
		CommandServerPort=*) line="CommandServerPort=@COMMANDS@" ;;
		BindAddress=*) line="BindAddress=127.0.0.1" ;;
		# Only windows that IBC does not know: with all of them it would log the filled login form, user id included.
		LogStructureScope=*) [[ @DEBUG@ == yes ]] && line="LogStructureScope=unknown" ;;
		LogStructureWhen=*) [[ @DEBUG@ == yes ]] && line="LogStructureWhen=open" ;;
		IncludeStackTraceForExceptions=*) [[ @DEBUG@ == yes ]] && line="IncludeStackTraceForExceptions=yes" ;;
		esac
		printf '%s\n' "$line"
	done <"$PRISTINE"
}

# Without credentials IBC stays at the login form and submits nothing.
hold() {
	say "held: $*"
	render "" "" no >"$TEMPLATE"
}

blank_rendered() {
	local line rendered
	rendered="$(while IFS= read -r line; do
		case $line in
		IbLoginId=* | IbPassword=*) line="${line%%=*}=" ;;
		esac
		printf '%s\n' "$line"
	done <"$CONFIG")"
	printf '%s\n' "$rendered" >"$CONFIG"
}

# One message of the API: a big-endian length, then that many bytes; its fields end with NUL, printed as lines.
message() {
	local length
	length="$(timeout 5 head -c 4 <&3 | od -An -tu1)" || return 1
	# shellcheck disable=SC2086
	set -- $length
	(($# == 4)) || return 1
	timeout 5 head -c $(($1 * 16777216 + $2 * 65536 + $3 * 256 + $4)) <&3 | tr '\0' '\n'
}

# Logged in means that startApi returns managed accounts (API reference: message 15 after START_API, 71).
logged_in() (
	exec 3<>"/dev/tcp/127.0.0.1/$PORT" || return 1
	printf 'API\x00\x00\x00\x00\x09v100..178' >&3
	message >/dev/null || return 1
	start="$(printf '71\n2\n%d\n\n' "$CLIENT_ID" | wc -c)"
	# shellcheck disable=SC2059
	printf "\\x00\\x00\\x00\\x$(printf '%02x' "$start")71\\x002\\x00${CLIENT_ID}\\x00\\x00" >&3
	for _ in {1..20}; do
		fields=()
		mapfile -t fields < <(message)
		((${#fields[@]})) || return 1
		[[ ${fields[0]} == 15 && -n ${fields[2]:-} ]] && return 0
	done
	return 1
) 2>/dev/null

# started PID: when the process started, in clock ticks since boot, so that a recycled pid is another process.
started() {
	local stat
	read -r stat <"/proc/$1/stat" || return 1
	# shellcheck disable=SC2086
	set -- ${stat##*) }
	STARTED=${20}
} 2>/dev/null

# find_java: sets PID, or fails when no gateway runs.
find_java() {
	local file arguments
	for file in /proc/[0-9]*/cmdline; do
		mapfile -d '' -t arguments <"$file" || continue
		[[ ${#arguments[@]} -gt 1 && ${arguments[0]##*/} == java && ${arguments[*]} == *IbcGateway* ]] || continue
		PID=${file#/proc/} PID=${PID%/cmdline}
		return 0
	done
	return 1
} 2>/dev/null

# Whether a TCP connection to beyond this container stands, or has stood within the last minute and was closed from here.
# The relay's and the screen's own clients come in from outside and do not count; SYN_SENT (02) reached nobody, LISTEN
# (0A) is no connection.
# Asked five times a second, so without a new process.
reached_broker() {
	local line lines more relay screen=170C
	printf -v relay '%04X' $((PORT + 2))
	mapfile -t lines </proc/net/tcp
	mapfile -t more </proc/net/tcp6
	for line in "${lines[@]}" "${more[@]}"; do
		# shellcheck disable=SC2086
		set -- $line # its number, own address, remote address, state
		[[ $4 != 02 && $4 != 0A && $4 != st && ${2##*:} != "$relay" && ${2##*:} != "$screen" ]] || continue
		case $3 in
		*7F:* | 00000000000000000000000001000000:*) ;; # 127.0.0.0/8, mapped or not, and ::1
		*) return 0 ;;
		esac
	done
	return 1
} 2>/dev/null

# The end of an attempt that never reached the broker: without a way out no password was tried, and a host that comes up
# before its network must not use the attempts up.
take_back() {
	reached_broker && return
	local count
	count="$(attempts)"
	((count > 0)) && record $((count - 1)) && say "attempt taken back: it reached nobody"
}

watch() {
	local known="" confirmed=yes reached=yes pause=0 wait=10 tick
	# Waits in this shell: a `sleep` would be a new process five times a second, for ever.
	exec {tick}<> <(:)
	while true; do
		read -rt 0.2 -u "$tick"
		if [[ -z $known ]] || ! started "${known%:*}" || [[ ${known#*:} != "$STARTED" ]]; then
			[[ $confirmed == no && $reached == no ]] && take_back
			known="" confirmed=yes reached=yes
			find_java && started "$PID" || continue
			known="$PID:$STARTED" pause=0 wait=10
			# Counted before the form can appear, which takes seconds. A soft restart is counted too: when its session was
			# ended meanwhile, it logs in with the password. A good one is confirmed within seconds and clears the count.
			if (($(attempts) >= LIMIT)) || ! record $(($(attempts) + 1)); then
				kill -KILL "$PID"
				blank_rendered
				hold_or_say_why
				continue
			fi
			confirmed=no reached=no
			say "attempt $(attempts) of $LIMIT with this secret version"
		fi
		[[ $confirmed == yes ]] && continue
		[[ $reached == no ]] && reached_broker && reached=yes
		# Until the login is confirmed: every 2 s at first, less often the longer it takes, never two at a time. Without
		# the broker there is none, and a question that is not answered would keep this loop from meeting a connection.
		if ((++pause >= wait)) && [[ $reached == yes ]]; then
			pause=0 wait=$((wait < 150 ? wait + 5 : wait))
			if logged_in; then
				confirmed=yes
				record 0 && : >"$SUCCEEDED"
				say "logged in"
			fi
		fi
	done
}

hold_or_say_why() {
	if [[ ! -w $GUARD ]]; then
		hold "attempts cannot be recorded in $GUARD, so none is made"
	elif (($(attempts) >= LIMIT)); then
		hold "this secret version was tried twice without a successful login"
	else
		return 1
	fi
}

umask 077
[[ -f $PRISTINE ]] || cp "$TEMPLATE" "$PRISTINE"
chmod 600 "$TEMPLATE"
mkdir -p "$GUARD"

if [[ -f $SETTINGS/jts.ini ]] && ! grep -qx "TimeZone=$TIME_ZONE" "$SETTINGS/jts.ini"; then
	sed -i "s|^TimeZone=.*|TimeZone=$TIME_ZONE|" "$SETTINGS/jts.ini"
fi

if [[ @VNC@ == yes ]]; then
	# New at each start and never in any configuration: x11vnc shows it in its arguments.
	head -c 6 /dev/urandom | od -An -tx1 | tr -d ' \n' >"${VNC_SERVER_PASSWORD_FILE:?}"
fi

if ! hold_or_say_why; then
	# Relogin retries inside one process, which nothing here can count: only with a version that has worked, and whose
	# last login succeeded.
	relogin=no
	[[ @RELOGIN@ == yes && -f $SUCCEEDED && $(attempts) == 0 ]] && relogin=yes
	# shellcheck disable=SC2016
	render "$(<"$SECRETS/tws_userid")" '${TWS_PASSWORD}' "$relogin" >"$TEMPLATE"
	watch &
	disown
fi

if [[ @DEBUG@ == yes ]]; then
	# The gateway writes its logs among its settings; kept apart they outlive a reset of those.
	while sleep 30; do
		find "$SETTINGS" -maxdepth 2 \( -name '*.log' -o -name '*.ibenc' \) -exec cp -u --parents {} "@LOGS@/" \; ||
			say "debug: logs could not be copied to @LOGS@"
	done &
	disown
fi
exit 0
