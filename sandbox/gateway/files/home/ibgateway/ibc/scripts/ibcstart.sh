#!/bin/bash
# Starts the gateway's program and starts it again where IBC's own ibcstart.sh would.

E_NO_JAVA=1
E_NO_TWS_VERSION=2
E_INVALID_ARG=3
E_VERSION_NOT_INSTALLED=4
E_PATH_NOT_EXIST=5
E_INI_NOT_EXIST=6
E_VMOPTIONS_NOT_FOUND=7
E_UNKNOWN_OPERATING_SYSTEM=8
E_LOGIN_TIMED_OUT=$((1111 % 256))
E_LOGIN_DIALOG_TIMED_OUT=$((1112 % 256))

BROKER=/opt/sandbox/gateway/broker

# ask_broker INI: what is to go wrong at this start, and the time; over UDP, as the program itself asks. Sets crash and
# now; without an answer crash is 0 and the time the machine's.
ask_broker() {
	local host port line user="" asked="" answer=""
	crash=0 now=-1
	read -r host port <"${BROKER}"
	if [[ -f "$1" ]]; then
		while IFS= read -r line; do
			[[ "${line}" == IbLoginId=* ]] && user="${line}"
		done <"$1"
	fi
	# dd takes a datagram in one read; bash's own `read` would lose all but its first byte.
	{ exec {asked}<>"/dev/udp/${host}/${port}" && printf '%s\n' "${user}" >&"${asked}" &&
		answer="$(timeout 0.5 dd bs=4096 count=1 status=none <&"${asked}")"; } 2>/dev/null
	[[ -z "${asked}" ]] || exec {asked}>&-
	[[ "${answer}" =~ \"crash\":\ ([0-9]+) ]] && crash="${BASH_REMATCH[1]}"
	[[ "${answer}" =~ \"now\":\ ([0-9]+) ]] && now="${BASH_REMATCH[1]}"
}

error_exit() {
	{
		echo
		echo "=========================== An error has occurred ============================="
		echo
		echo "Error: $2"
		[[ $# -lt 3 ]] || printf '       %s\n' "${@:3}"
	} >&2
	exit "$1"
}

crash=0 now=-1
for argument; do
	[[ "${argument}" == --ibc-ini=* ]] && ask_broker "${argument#*=}"
done
[[ "${crash}" -ne "${E_UNKNOWN_OPERATING_SYSTEM}" ]] || error_exit "${crash}" "Can't detect operating system"

shopt -s nocasematch extglob
echo "Parsing arguments"
for argument; do
	case "${argument}" in
	-g | --gateway) ;;
	--tws-path=*) tws_path="${argument#*=}" ;;
	--tws-settings-path=*) settings="${argument#*=}" ;;
	--ibc-path=*) ibc_path="${argument#*=}" ;;
	--ibc-ini=*) ibc_ini="${argument#*=}" ;;
	--on2fatimeout=*) on_timeout="${argument#*=}" ;;
	-*) error_exit "${E_INVALID_ARG}" "Invalid parameter '${argument}'" ;;
	*) version="${argument}" ;;
	esac
done
settings="${settings%%+(/)}"
settings="${settings:-${tws_path}}"
program="${tws_path}/ibgateway/${version}"
vm_options_file="${program}/ibgateway.vmoptions"
jre_file="${program}/.install4j/inst_jre.cfg"

# What the broker wants to go wrong is spoilt here, so that the script's own checks find it.
case "${crash}" in
"${E_NO_JAVA}") jre_file+=.missing ;;
"${E_NO_TWS_VERSION}") version="" ;;
"${E_INVALID_ARG}") on_timeout=neither ;;
"${E_VERSION_NOT_INSTALLED}") program+=.missing ;;
"${E_PATH_NOT_EXIST}") ibc_path+=.missing ;;
"${E_INI_NOT_EXIST}") ibc_ini+=.missing ;;
"${E_VMOPTIONS_NOT_FOUND}") vm_options_file+=.missing ;;
esac

if [[ -n "${on_timeout}" && "${on_timeout}" != restart && "${on_timeout}" != exit ]]; then
	error_exit "${E_INVALID_ARG}" "2FA timeout action set to ${on_timeout} but must be either 'restart' or 'exit' (case-insensitive)"
fi

echo
echo "================================================================================"
echo
# The real script has no version to show: it prints a variable that nobody sets.
printf 'Starting IBC version  on %(%Y-%m-%d)T at %(%T)T\n' "${now}" "${now}"
echo
echo "Arguments:"
echo
echo "TWS version = ${version}"
echo "Program = Gateway"
echo "Entry point = ibcalpha.ibc.IbcGateway"
echo "--tws-path = ${tws_path}"
echo "--tws-settings-path = ${settings}"
echo "--ibc-path = ${ibc_path}"
echo "--ibc-ini = ${ibc_ini}"
echo "--user ="
echo "--pw ="
echo

[[ -n "${version}" ]] || error_exit "${E_NO_TWS_VERSION}" "TWS major version number has not been supplied"
[[ -e "${settings}" ]] || error_exit "${E_PATH_NOT_EXIST}" "TWS settings path: ${settings} does not exist"
[[ -e "${program}/jars" ]] || error_exit "${E_VERSION_NOT_INSTALLED}" "Offline TWS/Gateway version ${version} is not installed: can't find jars folder" \
	"Make sure you install the offline version of TWS/Gateway" "IBC does not work with the auto-updating TWS/Gateway"
[[ -e "${ibc_path}" ]] || error_exit "${E_PATH_NOT_EXIST}" "IBC path: ${ibc_path} does not exist"
[[ -e "${ibc_ini}" ]] || error_exit "${E_INI_NOT_EXIST}" "IBC configuration file: ${ibc_ini}  does not exist"
[[ -e "${vm_options_file}" ]] || error_exit "${E_VMOPTIONS_NOT_FOUND}" "Neither tws.vmoptions nor ibgateway.vmoptions could be found"

classpath="${program}/jars/jts4launch.jar:${program}/.install4j/i4jruntime.jar:${ibc_path}/IBC.jar"
vm_options=()
while read -r line; do
	if [[ -n "${line}" && "${line:0:1}" != "#" && "${line:0:2}" != "-D" ]]; then
		vm_options+=("${line}")
	fi
done <"${vm_options_file}"
session_id=$(mktemp -u XXXXXXXX)
vm_options+=("-Dexe4j.isInstall4j=true" "-Dinstall4jType=standalone" "-DjtsConfigDir=${settings}" "-Dibcsessionid=${session_id}")

# An autorestart file, in a user's folder, means that a run ended in a soft restart: the last one or, since nobody deletes
# the file, an earlier one. An option that was once found stays until a cold restart, as in the real script.
restart_option=()
find_auto_restart() {
	local found=()
	echo "Finding autorestart file"
	shopt -s nullglob
	found=("${settings}"/*/autorestart)
	shopt -u nullglob
	if [[ ${#found[@]} -eq 1 ]]; then
		local folder="${found[0]%/autorestart}"
		echo "autorestart file found at ${found[0]}: authentication will not be required"
		restart_option=("-Drestart=${folder##*/}")
		echo "AUTORESTART_OPTION is ${restart_option[0]}"
		return 0
	fi
	if [[ ${#found[@]} -gt 1 ]]; then
		rm "${found[@]}"
		echo "*******************************************************************************"
		echo "WARNING: More than one autorestart file was found. IBC can't determine which is"
		echo "         the right one, so they've all been deleted. Full authentication will"
		echo "         be required."
		echo "*******************************************************************************"
		return 0
	fi
	echo "autorestart file not found: full authentication will be required"
	return 1
}

find_auto_restart || true
# The backslash is the real script's.
[[ -e "${jre_file}" ]] || error_exit "${E_NO_JAVA}" "Can\\'t find suitable Java installation"
java="$(<"${jre_file}")/bin/java"
echo "Location of java executable=${java%/java}"
echo

module_access=("--add-opens=java.base/java.util=ALL-UNNAMED" "--add-opens=java.desktop/javax.swing=ALL-UNNAMED")
while :; do
	command=("${java}" "${module_access[@]}" -cp "${classpath}" "${vm_options[@]}" "${restart_option[@]}" ibcalpha.ibc.IbcGateway "${ibc_ini}")
	echo "Starting Gateway with this command:"
	echo "${command[*]}"
	echo

	trap 'kill -TERM $PID' TERM INT
	"${command[@]}" &
	PID=$!
	wait $PID
	trap - TERM INT
	wait $PID
	exit_code=$?
	echo "IBC returned exit status ${exit_code}"

	if [[ ${exit_code} -eq ${E_LOGIN_DIALOG_TIMED_OUT} ]]; then
		:
	elif [[ -e "${settings}/COLDRESTART${session_id}" ]]; then
		rm "${settings}/COLDRESTART${session_id}"
		restart_option=()
		echo "IBC will cold-restart shortly"
	elif find_auto_restart; then
		:
	elif [[ ${exit_code} -ne ${E_LOGIN_TIMED_OUT} || "${on_timeout}" != restart ]]; then
		break
	fi
	# The real script prints the pause instead of taking it: IBC's restarts have no back-off.
	echo "IBC will restart shortly"
	echo "sleep 2"
done

echo "Gateway finished"
echo
exit "${exit_code}"
