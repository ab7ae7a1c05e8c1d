#!/bin/sh
# Installs the programs that the tests talk to, on Debian and its kin as root or with sudo; elsewhere says what is missing.
# In CI a missing program is an error; elsewhere the tests that need it skip and name it. PortAudio's headers and a
# compiler are needed everywhere: PyAudio comes as source.
set -eu

missing=""
for program in mosquitto shellcheck pulseaudio ffmpeg chromium prometheus; do
    PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
command -v chromedriver >/dev/null 2>&1 || missing="$missing chromium-driver"
command -v pactl >/dev/null 2>&1 || missing="$missing pulseaudio-utils"
# PortAudio reaches PulseAudio through ALSA's plugin.
find /usr/lib -name libasound_module_pcm_pulse.so 2>/dev/null | grep -q . || missing="$missing libasound2-plugins"
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
command -v cc >/dev/null 2>&1 || missing="$missing gcc"
[ -e /usr/include/portaudio.h ] || missing="$missing portaudio19-dev"
[ -n "$missing" ] || exit 0

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null 2>&1 && $as_root true 2>/dev/null; then
    echo "installing$missing"
    $as_root apt-get update -qq
    # RUNLEVEL=1 keeps Debian from starting broker and Prometheus as services; the tests start their own.
    # shellcheck disable=SC2086
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
    # Nor is Prometheus, which would serve the whole network, to start with the machine.
    case "$missing" in *prometheus*) $as_root systemctl disable --quiet prometheus 2>/dev/null || true ;; esac
elif [ -n "${CI:-}" ]; then
    echo "missing:$missing; install them and run again" >&2
    exit 1
else
    echo "missing:$missing; the tests that need them will skip" >&2
fi
