"""Records on their way to other systems: OpenTelemetry, OCSF, syslog."""
