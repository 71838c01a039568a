#!/bin/bash
# Runs in the gateway's container at each start, before the image renders IBC's config.ini (run.sh, START_SCRIPTS).
# run.sh ignores what it returns, so everything that must not happen is prevented here, not reported.
#
# 1. Puts the user id into IBC's template: the image reads only the password from a file.
# 2. Start guard: one version of a secret is tried at most @LIMIT@ times without a successful login, whatever restarts the
#    gateway, since more wrong attempts lock the account. IBC restarts Java by itself, without start scripts and without
#    delay, so a background half counts Java processes; a soft restart (-Drestart=) keeps its session and is no attempt.
# 3. Brings the time zone of an existing jts.ini in line: the image writes it only once.
#
# The state lies on the settings volume, which outlives the container: guard/<version>.attempts holds the number of
# attempts since the last successful login, guard/<version>.ok exists once one has succeeded.
set -u

readonly PORT=@PORT@ CLIENT_ID=@CLIENT_ID@ LIMIT=@LIMIT@
readonly SETTINGS="${TWS_SETTINGS_PATH:?}"
readonly CONFIG="${IBC_INI:-$HOME/ibc/config.ini}"
readonly TEMPLATE="${IBC_INI_TMPL:-$CONFIG.tmpl}"
readonly PRISTINE="$TEMPLATE.image"
readonly GUARD="$SETTINGS/guard"
VERSION="$(</run/secrets/secret_version)"
readonly VERSION
readonly ATTEMPTS="$GUARD/$VERSION.attempts" SUCCEEDED="$GUARD/$VERSION.ok"

say() { echo "ibgw-guard: $*"; }

attempts() {
	local count=0
	[[ -f $ATTEMPTS ]] && read -r count <"$ATTEMPTS"
	# A file that cannot be read as a number counts as exhausted: holding back is the safe mistake.
	[[ $count =~ ^[0-9]+$ ]] || count=$LIMIT
	echo "$count"
}

# Written beside and renamed, so that a crash leaves the old number or the new one, never an empty file.
record() { echo "$1" >"$ATTEMPTS.new" && mv "$ATTEMPTS.new" "$ATTEMPTS" && sync "$GUARD"; }

# render USER_ID PASSWORD RELOGIN: the template that the image will substitute into, from the image's own.
render() {
	local line
	while IFS= read -r line || [[ -n $line ]]; do
		case $line in
		IbLoginId=*) line="IbLoginId=$1" ;;
		IbPassword=*) line="IbPassword=$2" ;;
		ReloginAfterSecondFactorAuthenticationTimeout=*) line="ReloginAfterSecondFactorAuthenticationTimeout=$3" ;;
		LogStructureScope=*) [[ @DEBUG@ == yes ]] && line="LogStructureScope=all" ;;
		LogStructureWhen=*) [[ @DEBUG@ == yes ]] && line="LogStructureWhen=openclose" ;;
		IncludeStackTraceForExceptions=*) [[ @DEBUG@ == yes ]] && line="IncludeStackTraceForExceptions=yes" ;;
		esac
		printf '%s\n' "$line"
	done <"$PRISTINE"
}

hold() {
	say "held: this secret version was tried twice without a successful login"
	render "" "" no >"$TEMPLATE"
}

# Without credentials IBC stays at the login form and submits nothing.
blank_rendered() {
	local line rendered
	rendered="$(while IFS= read -r line; do
		case $line in
		IbLoginId=*) line="IbLoginId=" ;;
		IbPassword=*) line="IbPassword=" ;;
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

# find_java: sets PID and SOFT (a soft restart keeps its session), or fails when no gateway runs.
find_java() {
	local file arguments argument
	for file in /proc/[0-9]*/cmdline; do
		mapfile -d '' -t arguments <"$file" || continue
		[[ ${#arguments[@]} -gt 1 && ${arguments[0]##*/} == java && ${arguments[*]} == *IbcGateway* ]] || continue
		PID=${file#/proc/} PID=${PID%/cmdline} SOFT=no
		for argument in "${arguments[@]}"; do [[ $argument == -Drestart=* ]] && SOFT=yes; done
		return 0
	done
	return 1
} 2>/dev/null

watch() {
	local known="" confirmed=no pause=0 wait=10 tick
	# Waits in this shell: a `sleep` would be a new process five times a second, for ever.
	exec {tick}<> <(:)
	while true; do
		read -rt 0.2 -u "$tick"
		if [[ -z $known ]] || ! started "${known%:*}" || [[ ${known#*:} != "$STARTED" ]]; then
			known=""
			find_java && started "$PID" || continue
			known="$PID:$STARTED" confirmed=no pause=0 wait=10
			if [[ $SOFT == no ]]; then
				# The form takes seconds to appear and this process is younger than that: nothing was submitted yet.
				if (($(attempts) >= LIMIT)) || ! record $(($(attempts) + 1)); then
					kill -KILL "$PID"
					blank_rendered
					hold
					continue
				fi
				say "attempt $(attempts) of $LIMIT with this secret version"
			fi
		fi
		# Until the login is confirmed: every 2 s at first, less often the longer it takes, never two at a time.
		if [[ $confirmed == no ]] && ((++pause >= wait)); then
			pause=0 wait=$((wait < 150 ? wait + 5 : wait))
			if logged_in; then
				confirmed=yes
				record 0 && : >"$SUCCEEDED"
				say "logged in"
			fi
		fi
	done
}

umask 077
chmod 600 "$TEMPLATE"
[[ -f $PRISTINE ]] || cp "$TEMPLATE" "$PRISTINE"
mkdir -p "$GUARD" || say "held: cannot create $GUARD"

if [[ -f $SETTINGS/jts.ini ]] && ! grep -qx "TimeZone=$TIME_ZONE" "$SETTINGS/jts.ini"; then
	sed -i "s|^TimeZone=.*|TimeZone=$TIME_ZONE|" "$SETTINGS/jts.ini"
fi

if [[ @VNC@ == yes ]]; then
	# New at each start and never in any configuration: x11vnc shows it in its arguments.
	head -c 6 /dev/urandom | od -An -tx1 | tr -d ' \n' >"${VNC_SERVER_PASSWORD_FILE:?}"
fi

if [[ ! -d $GUARD ]] || (($(attempts) >= LIMIT)); then
	hold
else
	relogin=no
	[[ @RELOGIN@ == yes && -f $SUCCEEDED ]] && relogin=yes
	# shellcheck disable=SC2016
	render "$(</run/secrets/tws_userid)" '${TWS_PASSWORD}' "$relogin" >"$TEMPLATE"
	watch &
	disown
fi

if [[ @DEBUG@ == yes ]]; then
	# The gateway writes its logs among its settings; kept apart they outlive a reset of those.
	while sleep 30; do cp -ru "$SETTINGS"/*.log "$SETTINGS"/*/*.log "$SETTINGS"/*/*.ibenc "@LOGS@"/; done 2>/dev/null &
	disown
fi
exit 0
