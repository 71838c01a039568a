# The steps of run.sh. Sourced, so that `exit` ends the container.

# What the real image can do and this one cannot: refused by name, never ignored.
refuse_unsupported() {
	local name
	for name in SSH_TUNNEL SSH_OPTIONS SSH_PASSPHRASE SSH_PASSPHRASE_FILE SSH_REMOTE_PORT SSH_USER_TUNNEL SSH_VNC_PORT \
		TWS_USERID_PAPER TWS_PASSWORD_PAPER TWS_PASSWORD_PAPER_FILE; do
		if [ -n "${!name:-}" ] && ! [[ "${name}" == SSH_TUNNEL && "${!name}" == no ]]; then
			echo >&2 "error: ${name} is not supported by the simulated gateway"
			exit 1
		fi
	done
	if [ "${TRADING_MODE:-}" = "both" ]; then
		echo >&2 "error: TRADING_MODE=both is not supported by the simulated gateway"
		exit 1
	fi
}

# Process ids by process name; the base has no procps.
running() {
	local folder name
	for folder in /proc/[0-9]*; do
		if { read -r name <"${folder}/comm"; } 2>/dev/null && [ "${name}" = "$1" ]; then
			echo "${folder#/proc/}"
		fi
	done
}

is_running() {
	[ -n "$(running "$1")" ]
}

stop_running() {
	local found
	found=$(running "$1")
	# A process may be gone by now.
	[ -z "${found}" ] || kill ${found} 2>/dev/null || true
}

# VARIABLE from VARIABLE_FILE, if that is set; both at once are an error.
file_env() {
	local name="$1" file="$1_FILE"
	if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
		printf >&2 'error: both %s and %s are set (but are exclusive)\n' "${name}" "${file}"
		exit 1
	fi
	local value="${!name:-}"
	if [ -n "${!file:-}" ]; then
		value="$(<"${!file}")"
	fi
	export "${name}"="${value}"
}

# What came from a file does not stay in the environment.
unset_env() {
	local file="$1_FILE"
	if [ -n "${!file:-}" ]; then
		unset "$1"
	fi
}

# Each *.sh of a folder, as a child process; its exit code is ignored.
run_scripts() {
	local script
	if [ ! -d "$1" ]; then
		echo "> No start scripts defined on $1"
		return 0
	fi
	echo "> Running start up scripts on $1"
	for script in "$1"/*.sh; do
		echo "> Running ${script}"
		[ -f "${script}" ] && bash "${script}" || echo "File ${script} not found."
	done
}

start_xvfb() {
	echo ".> Starting Xvfb server"
	DISPLAY=:1
	export DISPLAY
	rm -f /tmp/.X1-lock
	Xvfb "${DISPLAY}" -ac -screen 0 1024x768x16 &
}

wait_x_socket() {
	local waited=0
	if [ -S "/tmp/.X11-unix/X${DISPLAY#:}" ]; then
		return 0
	fi
	echo ".> Waiting for Xvfb socket on ${DISPLAY}..."
	while [ ! -S "/tmp/.X11-unix/X${DISPLAY#:}" ]; do
		sleep 0.2
		waited=$((waited + 1))
		if [ "${waited}" -ge 50 ]; then
			echo "Error: Timed out waiting for Xvfb socket!"
			exit 1
		fi
	done
	echo ".> Xvfb socket ready!"
}

start_vnc() {
	wait_x_socket
	file_env VNC_SERVER_PASSWORD
	if [ -n "${VNC_SERVER_PASSWORD}" ]; then
		echo ".> Starting VNC server"
		x11vnc -ncache_cr -display :1 -forever -shared -bg -noipv6 -passwd "${VNC_SERVER_PASSWORD}" &
		unset_env VNC_SERVER_PASSWORD
	else
		echo ".> VNC server disabled"
	fi
}

# Only the pattern of a fresh image is replaced, so in one container the first value sticks.
set_java_heap() {
	if [ -n "${JAVA_HEAP_SIZE:-}" ]; then
		sed -i "s/-Xmx768m/-Xmx${JAVA_HEAP_SIZE}m/g" "${TWS_PATH}/ibgateway/${TWS_MAJOR_VRSN}/ibgateway.vmoptions"
		echo ".> Java heap size set to ${JAVA_HEAP_SIZE}m"
	else
		echo ".> Usign default Java heap size 768m."
	fi
}

set_ports() {
	case "${TRADING_MODE:-}" in
	paper) API_PORT=4002 SOCAT_PORT=4004 ;;
	live) API_PORT=4001 SOCAT_PORT=4003 ;;
	*)
		echo ".> Invalid TRADING_MODE: ${TRADING_MODE:-}"
		exit 1
		;;
	esac
	export API_PORT SOCAT_PORT
	echo ".> API_PORT set to: ${API_PORT}"
	echo ".> SOCAT_PORT set to: ${SOCAT_PORT}"
}

apply_settings() {
	local folder
	if [ "${CUSTOM_CONFIG:-}" = "yes" ]; then
		echo ".> Using CUSTOM_CONFIG, (value:${CUSTOM_CONFIG})"
		return 0
	fi
	file_env TWS_PASSWORD
	echo ".> Appling settings to IBC's config.ini"
	envsubst <"${IBC_INI}.tmpl" >"${IBC_INI}"
	unset_env TWS_PASSWORD
	if [ -n "${TWS_SETTINGS_PATH:-}" ]; then
		echo ".> Settings directory set to: ${TWS_SETTINGS_PATH}"
		folder="${TWS_SETTINGS_PATH}"
		if [ ! -d "${folder}" ]; then
			echo ".> Creating directory: ${folder}"
			mkdir "${folder}"
		fi
	else
		echo ".> Settings directory NOT set, defaulting to: ${TWS_PATH}"
		folder="${TWS_PATH}"
	fi
	if [ ! -f "${folder}/${TWS_INI}" ]; then
		echo ".> Setting timezone in ${folder}/${TWS_INI}"
		envsubst <"${TWS_PATH}/${TWS_INI}.tmpl" >"${folder}/${TWS_INI}"
	else
		echo ".> File jts.ini already exists, not setting timezone"
	fi
}

port_forwarding() {
	echo ".> Starting Port Forwarding."
	echo ".> Starting socat"
	"${SCRIPT_PATH}/run_socat.sh" &
}

start_IBC() {
	echo ".> Starting IBC in ${TRADING_MODE} mode, with params:"
	echo ".>		Version: ${TWS_MAJOR_VRSN}"
	echo ".>		program: gateway"
	echo ".>		tws-path: ${TWS_PATH}"
	echo ".>		ibc-path: ${IBC_PATH}"
	echo ".>		ibc-init: ${IBC_INI}"
	echo ".>		tws-settings-path: ${TWS_SETTINGS_PATH:-$TWS_PATH}"
	echo ".>		on2fatimeout: ${TWOFA_TIMEOUT_ACTION:-}"
	"${IBC_PATH}/scripts/ibcstart.sh" "${TWS_MAJOR_VRSN}" -g \
		"--tws-path=${TWS_PATH}" \
		"--ibc-path=${IBC_PATH}" "--ibc-ini=${IBC_INI}" \
		"--on2fatimeout=${TWOFA_TIMEOUT_ACTION:-}" \
		"--tws-settings-path=${TWS_SETTINGS_PATH:-}" &
	pid+=("$!")
	echo "$!" >"/tmp/pid_${TRADING_MODE}"
}
