#!/bin/bash
# The container's entry point (PID 1). Source: run.sh of the image; same order, lines and exit codes.

# With -e everything that fails ends the container, in the stop handler too.
set -Eeo pipefail

echo "*************************************************************************"
echo ".> Starting IBC/IB gateway"
echo "*************************************************************************"

source "${SCRIPT_PATH}/common.sh"

# On SIGTERM and SIGINT. The display goes before the gateway. IBC's start script returns 143, which ends this one at the
# `wait`: the last line is never printed.
stop_ibc() {
	echo ".> 😘 Received SIGINT or SIGTERM. Shutting down IB Gateway."
	if pgrep x11vnc >/dev/null; then
		echo ".> Stopping x11vnc."
		pkill x11vnc
	fi
	echo ".> Stopping Xvfb."
	pkill Xvfb
	echo ".> Stopping socat."
	pkill run_socat.sh
	pkill socat
	echo ".> Stopping IBC."
	kill -SIGTERM "${pid[@]}"
	wait "${pid[@]}"
	echo ".> Done... $?"
}

refuse_unsupported

if [ -n "${START_SCRIPTS}" ]; then
	run_scripts "${HOME}/${START_SCRIPTS}"
fi
start_xvfb
echo ".> SSH tunnel disabled"
set_java_heap
start_vnc
if [ -n "${X_SCRIPTS}" ]; then
	wait_x_socket
	run_scripts "${HOME}/${X_SCRIPTS}"
fi

set_ports
apply_settings
port_forwarding
start_IBC
if [ -n "${IBC_SCRIPTS}" ]; then
	run_scripts "${HOME}/${IBC_SCRIPTS}"
fi

# Only from here on: before, PID 1 has no handler, and the kernel drops the signals.
trap stop_ibc SIGINT SIGTERM
wait "${pid[@]}"
exit $?
