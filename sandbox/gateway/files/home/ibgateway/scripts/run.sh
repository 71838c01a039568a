#!/bin/bash
# The container's entry point (PID 1). Same order, lines and exit codes as the real image's run.sh.

set -Eeo pipefail

echo "*************************************************************************"
echo ".> Starting IBC/IB gateway"
echo "*************************************************************************"

source "${SCRIPT_PATH}/common.sh"

# The gateway logs out of the broker when IBC gets its signal; everything else goes first, as in the real image.
stop_ibc() {
	echo ".> 😘 Received SIGINT or SIGTERM. Shutting down IB Gateway."
	if is_running x11vnc; then
		echo ".> Stopping x11vnc."
		stop_running x11vnc
	fi
	echo ".> Stopping Xvfb."
	stop_running Xvfb
	echo ".> Stopping socat."
	stop_running run_socat.sh
	stop_running socat
	echo ".> Stopping IBC."
	kill -SIGTERM "${pid[@]}"
	wait "${pid[@]}"
	echo ".> Done... $?"
}

refuse_unsupported

if [ -n "${START_SCRIPTS:-}" ]; then
	run_scripts "${HOME}/${START_SCRIPTS}"
fi
start_xvfb
echo ".> SSH tunnel disabled"
set_java_heap
start_vnc
if [ -n "${X_SCRIPTS:-}" ]; then
	wait_x_socket
	run_scripts "${HOME}/${X_SCRIPTS}"
fi

set_ports
apply_settings
port_forwarding
start_IBC
if [ -n "${IBC_SCRIPTS:-}" ]; then
	run_scripts "${HOME}/${IBC_SCRIPTS}"
fi

trap stop_ibc SIGINT SIGTERM
wait "${pid[@]}"
exit $?
