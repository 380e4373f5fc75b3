#!/usr/bin/env bash
# Get the real servers and clients that some tests talk to, from Debian's packages; as root.
# Postfix, Exim and OpenSMTPD cannot be installed side by side: the last two are unpacked under build/peers instead.
set -euo pipefail
cd "$(dirname "$0")/../.."

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
  postfix dovecot-core dovecot-imapd dovecot-pop3d swaks libidn12 libevent-2.1-7 util-linux
# For the unsubscribe page; without it, its pictures alone are not taken.
apt-get install -y -qq --no-install-recommends chromium || echo "Chromium could not be installed" >&2
mkdir -p build/peers build/peers-packages
# _apt may not write here, and says so; root may.
(cd build/peers-packages && apt-get download -qq exim4-base exim4-daemon-light opensmtpd)
for package in build/peers-packages/*.deb; do
  dpkg-deb -x "$package" build/peers
done
