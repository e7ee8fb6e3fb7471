#!/bin/sh
# Gives the browser tests their Chromium where that needs nobody's consent: as root on Debian.
# Quiet, harmless to repeat, and never a reason for a run to fail: the tests themselves say what is
# missing.

for name in chromium chromium-browser google-chrome; do
	command -v "$name" >/dev/null 2>&1 && exit 0
done

if [ "$(id -u)" = 0 ] && grep -qs '^ID=debian' /etc/os-release; then
	echo "Installing Chromium for the browser tests (once) ..."
	log=$(mktemp)
	export DEBIAN_FRONTEND=noninteractive
	options="-qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o DPkg::Lock::Timeout=60"
	# shellcheck disable=SC2086 # options are words
	if { apt-get $options update && apt-get $options install -y --no-install-recommends chromium; } \
		>"$log" 2>&1; then
		rm -f "$log"
		exit 0
	fi
	tail -n 3 "$log"
	rm -f "$log"
fi
echo "No Chromium: to run the browser tests too, install it (Debian: apt-get install chromium)."
exit 0
