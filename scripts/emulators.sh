#!/bin/bash
# Starts what stands in for AWS in the tests, and runs a command with it:
#
#	scripts/emulators.sh COMMAND [ARG...]
#
# moto answers for DynamoDB, KMS, Secrets Manager, SQS and the rest
# (LANYARD_TEST_AWS), AWS's own DynamoDB Local for DynamoDB once more
# (LANYARD_TEST_DYNAMODB). Both are installed into .tools/ when they are not
# there, and end with the command. "scripts/emulators.sh install" only installs.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/.tools
mkdir -p "$tools"

need() { # need COMMAND PACKAGE: install the Debian package, as root, if the command is missing
	command -v "$1" >/dev/null && return
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing $2" >&2
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
	else
		echo "the tests of the AWS adapters need $1 (Debian: $2): install it" >&2
		exit 1
	fi
}

install() {
	need python3 python3
	if ! cat "$root/scripts/requirements.txt" "$root/scripts/constraints.txt" | cmp -s - "$tools/venv/installed.txt"; then
		python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv-missing python3-venv || true
		rm -rf "$tools/venv"
		python3 -m venv "$tools/venv"
		"$tools/venv/bin/pip" install -q --disable-pip-version-check -r "$root/scripts/requirements.txt" -c "$root/scripts/constraints.txt"
		cat "$root/scripts/requirements.txt" "$root/scripts/constraints.txt" >"$tools/venv/installed.txt"
	fi
	if ! cmp -s "$root/scripts/dynamodb-local/pom.xml" "$tools/dynamodb-local/pom.xml"; then
		need java default-jre-headless
		need mvn maven
		rm -rf "$tools/dynamodb-local"
		mvn -q -B -f "$root/scripts/dynamodb-local/pom.xml" dependency:copy-dependencies -DoutputDirectory="$tools/dynamodb-local"
		cp "$root/scripts/dynamodb-local/pom.xml" "$tools/dynamodb-local/pom.xml"
	fi
}

# One install at a time: several test runs may start at once.
(
	flock 9
	install
) 9>"$tools/lock"
[ "${1:-}" = install ] && exit 0

# Two ports that nobody has, below those that the kernel gives to outgoing
# connections.
read -r moto dynamodb < <(python3 -c 'import random, socket
both = []
while len(both) < 2:
    s = socket.socket()
    try: s.bind(("127.0.0.1", random.randrange(16000, 32000)))
    except OSError: continue
    both.append(s)
print(*[s.getsockname()[1] for s in both])')
log=$(mktemp)
pids=()
finish() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -f "$log"
}
trap finish EXIT
trap 'exit 130' INT TERM
"$tools/venv/bin/python" "$root/scripts/atomicmoto.py" "$moto" >"$log" 2>&1 &
pids+=($!)
# Its compiler for long runs takes longer than it saves here.
java -XX:TieredStopAtLevel=1 -Djava.library.path="$tools/dynamodb-local" -cp "$tools/dynamodb-local/*" \
	com.amazonaws.services.dynamodbv2.local.main.ServerRunner -inMemory -port "$dynamodb" -disableTelemetry >>"$log" 2>&1 &
pids+=($!)
for port in "$moto" "$dynamodb"; do
	for _ in $(seq 1200); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue 2
		sleep 0.1
	done
	cat "$log" >&2
	echo "an emulator of AWS did not start" >&2
	exit 1
done
export LANYARD_TEST_AWS=http://127.0.0.1:$moto LANYARD_TEST_DYNAMODB=http://127.0.0.1:$dynamodb
"$@"
