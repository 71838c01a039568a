#!/bin/bash
# The relay: clients' port on all interfaces to the gateway's own port on loopback. It accepts before the login.

while true; do
	printf "Forking :::%d onto 0.0.0.0:%d > trading mode %s \n" "${API_PORT}" "${SOCAT_PORT}" "${TRADING_MODE}"
	socat "TCP-LISTEN:${SOCAT_PORT},fork" "TCP:127.0.0.1:${API_PORT}"
	sleep "${SSH_RESTART:-5}"
done
