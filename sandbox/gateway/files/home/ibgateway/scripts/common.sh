# The steps of run.sh, which sources this file: `exit` ends the container. Source: common.sh and run.sh of the image.

# sysexits.h, EX_UNAVAILABLE: no exit code of the image, so that it is not mistaken for one.
readonly E_NOT_IMPLEMENTED=69

# What the image can do and the simulator cannot: refused by name, never ignored.
refuse_unsupported() {
	local name
	for name in "${!SSH_@}" DUAL_MODE TWS_USERID_PAPER TWS_PASSWORD_PAPER TWS_PASSWORD_PAPER_FILE; do
		if [ -n "${!name}" ]; then
			not_implemented "${name}"
		fi
	done
	if [ "${TRADING_MODE}" = both ]; then
		not_implemented "TRADING_MODE=both"
	fi
	if [ "${GATEWAY_OR_TWS}" != gateway ]; then
		not_implemented "GATEWAY_OR_TWS=${GATEWAY_OR_TWS}"
	fi
}

not_implemented() {
	echo >&2 "error: the simulated gateway does not implement $1"
	exit "${E_NOT_IMPLEMENTED}"
}

# VARIABLE from the file that VARIABLE_FILE names; both at once are an error. A file that cannot be read ends the script.
file_env() {
	local name="$1" file="$1_FILE" value=""
	if [ -n "${!name}" ] && [ -n "${!file}" ]; then
		printf >&2 'error: both %s and %s are set (but are exclusive)\n' "${name}" "${file}"
		exit 1
	fi
	if [ -n "${!name}" ]; then
		value="${!name}"
	elif [ -n "${!file}" ]; then
		value="$(<"${!file}")"
	fi
	export "${name}"="${value}"
}

# What came from a file does not stay in the environment.
unset_env() {
	local file="$1_FILE"
	if [ -n "${!file}" ]; then
		unset "$1"
	fi
}

# Each *.sh of a folder, as a child process. Its exit code is ignored: a failure reads as if it had not been there.
run_scripts() {
	local script
	if [ ! -d "$1" ]; then
		echo "> No start scripts defined on $1"
		return 0
	fi
	echo "> Running start up scripts on $1"
	for script in "$1"/*.sh; do
		echo "> Running ${script}"
		if ! { [ -f "${script}" ] && bash "${script}"; }; then
			echo "File ${script} not found."
		fi
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
	local socket="/tmp/.X11-unix/X${DISPLAY#:}" tries=0
	if [ -S "${socket}" ]; then
		return 0
	fi
	echo ".> Waiting for Xvfb socket on ${DISPLAY}..."
	while [ ! -S "${socket}" ]; do
		sleep 0.2
		tries=$((tries + 1))
		if [ "${tries}" -ge 50 ]; then
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
	if [ -n "${JAVA_HEAP_SIZE}" ]; then
		sed -i "s/-Xmx768m/-Xmx${JAVA_HEAP_SIZE}m/g" "${TWS_PATH}/ibgateway/${IB_GATEWAY_VERSION}/ibgateway.vmoptions"
		echo ".> Java heap size set to ${JAVA_HEAP_SIZE}m"
	else
		echo ".> Usign default Java heap size 768m."
	fi
}

set_ports() {
	case "${TRADING_MODE}" in
	paper) API_PORT=4002 SOCAT_PORT=4004 ;;
	live) API_PORT=4001 SOCAT_PORT=4003 ;;
	*)
		echo ".> Invalid TRADING_MODE: ${TRADING_MODE}"
		exit 1
		;;
	esac
	export API_PORT SOCAT_PORT
	echo ".> API_PORT set to: ${API_PORT}"
	echo ".> SOCAT_PORT set to: ${SOCAT_PORT}"
}

apply_settings() {
	local folder="${TWS_PATH}"
	if [ "${CUSTOM_CONFIG}" = yes ]; then
		echo ".> Using CUSTOM_CONFIG, (value:${CUSTOM_CONFIG})"
		return 0
	fi
	echo ".> Appling settings to IBC's config.ini"
	file_env TWS_PASSWORD
	envsubst <"${IBC_INI_TMPL}" >"${IBC_INI}"
	unset_env TWS_PASSWORD
	chmod 600 "${IBC_INI}"
	if [ -n "${TWS_SETTINGS_PATH}" ]; then
		echo ".> Settings directory set to: ${TWS_SETTINGS_PATH}"
		folder="${TWS_SETTINGS_PATH}"
		if [ ! -d "${folder}" ]; then
			echo ".> Creating directory: ${folder}"
			mkdir "${folder}"
		fi
	else
		echo ".> Settings directory NOT set, defaulting to: ${TWS_PATH}"
	fi
	if [ ! -f "${folder}/${TWS_INI}" ]; then
		echo ".> Setting timezone in ${folder}/${TWS_INI}"
		envsubst <"${TWS_PATH}/${TWS_INI_TMPL}" >"${folder}/${TWS_INI}"
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
	echo ".>		on2fatimeout: ${TWOFA_TIMEOUT_ACTION}"
	"${IBC_PATH}/scripts/ibcstart.sh" "${TWS_MAJOR_VRSN}" -g \
		"--tws-path=${TWS_PATH}" \
		"--ibc-path=${IBC_PATH}" "--ibc-ini=${IBC_INI}" \
		"--on2fatimeout=${TWOFA_TIMEOUT_ACTION}" \
		"--tws-settings-path=${TWS_SETTINGS_PATH}" &
	pid+=("$!")
	echo "$!" >"/tmp/pid_${TRADING_MODE}"
}
