#!/bin/bash
# Starts the gateway's program and starts it again where IBC's own ibcstart.sh would.

E_INVALID_ARG=3
E_VERSION_NOT_INSTALLED=4
E_PATH_NOT_EXIST=5
E_INI_NOT_EXIST=6
E_VMOPTIONS_NOT_FOUND=7
E_LOGIN_TIMED_OUT=$((1111 % 256))
E_LOGIN_DIALOG_TIMED_OUT=$((1112 % 256))

error_exit() {
	{
		echo
		echo "=========================== An error has occurred ============================="
		echo
		echo "Error: $2"
	} >&2
	exit "$1"
}

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
if [[ -n "${on_timeout}" && "${on_timeout}" != restart && "${on_timeout}" != exit ]]; then
	error_exit "${E_INVALID_ARG}" "2FA timeout action set to ${on_timeout} but must be either 'restart' or 'exit' (case-insensitive)"
fi
settings="${settings%%+(/)}"
settings="${settings:-${tws_path}}"
program="${tws_path}/ibgateway/${version}"

echo
echo "================================================================================"
echo
echo "Starting IBC version 3.24.1 on $(date +"%Y-%m-%d") at $(date +%T)"
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

[[ -e "${settings}" ]] || error_exit "${E_PATH_NOT_EXIST}" "TWS settings path: ${settings} does not exist"
[[ -e "${program}/jars" ]] || error_exit "${E_VERSION_NOT_INSTALLED}" "Offline TWS/Gateway version ${version} is not installed: can't find jars folder"
[[ -e "${ibc_path}" ]] || error_exit "${E_PATH_NOT_EXIST}" "IBC path: ${ibc_path} does not exist"
[[ -e "${ibc_ini}" ]] || error_exit "${E_INI_NOT_EXIST}" "IBC configuration file: ${ibc_ini}  does not exist"
[[ -e "${program}/ibgateway.vmoptions" ]] || error_exit "${E_VMOPTIONS_NOT_FOUND}" "Neither tws.vmoptions nor ibgateway.vmoptions could be found"

classpath="${program}/jars/jts4launch.jar:${program}/.install4j/i4jruntime.jar:${ibc_path}/IBC.jar"
vm_options=()
while read -r line; do
	if [[ -n "${line}" && "${line:0:1}" != "#" && "${line:0:2}" != "-D" ]]; then
		vm_options+=("${line}")
	fi
done <"${program}/ibgateway.vmoptions"
session_id=$(mktemp -u XXXXXXXX)
vm_options+=("-Dexe4j.isInstall4j=true" "-Dinstall4jType=standalone" "-DjtsConfigDir=${settings}" "-Dibcsessionid=${session_id}")

# An autorestart file, in a user's folder, means that the last run ended in a soft restart.
find_auto_restart() {
	local found=()
	restart_option=()
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
java="$(<"${program}/.install4j/inst_jre.cfg")/bin/java"
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
