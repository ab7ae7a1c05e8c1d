"""Commands over MQTT, off unless `commands.enabled`: thresholds, update of the bundle, restart.

`schema` says what a command is, `thresholds` changes and keeps thresholds, `handler` answers. Who may send commands is
the broker's to say: see deploy/mosquitto.
"""
