#!/bin/bash
# Source: run_socat.sh of the image. The relay: the clients' port on all interfaces to the gateway's own on loopback. It
# accepts before the login, and is started again, without end, when it stops.

while true; do
	printf "Forking :::%d onto 0.0.0.0:%d > trading mode %s \n" "${API_PORT}" "${SOCAT_PORT}" "${TRADING_MODE}"
	socat "TCP-LISTEN:${SOCAT_PORT},fork" "TCP:127.0.0.1:${API_PORT}"
	sleep 5
done
