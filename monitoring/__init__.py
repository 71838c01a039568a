"""Rules, routes and a dashboard for whoever runs Prometheus, Alertmanager and Grafana beside a stack: the source, and
what is rendered of it. No part of the package that is installed."""
