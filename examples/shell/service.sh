#!/bin/sh
# A service that works for one account at a vendor, with nothing but the nats command and curl: it calls the vendor's API
# and, when the account has to be connected, says where, waits, and goes on.
#
#   service.sh <client> <account> <path of the vendor's API>
set -eu

client=${1:?client} account=${2:?account} path=${3:?path of the vendor\'s API}
server=${ESIGND_SERVER:-nats://127.0.0.1:4222}
tenant=default

# ask ENDPOINT REQUEST prints esignd's answer, which is one line of JSON.
ask() { nats --server "$server" --no-context request --raw --timeout 35s "esign.api.$tenant.$1" "$2" 2>/dev/null; }

# field NAME prints a string or number of the JSON on standard input, and nothing where it is not there.
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

# call TOKEN calls the vendor and prints the status. The token goes by a file descriptor, since everybody can read a command line.
call() {
	curl --silent --output /dev/null --write-out '%{http_code}' --config - <<-CONFIG
		url = "$(echo "$1" | field api_base_url)$path"
		header = "Authorization: Bearer $(echo "$1" | field access_token)"
	CONFIG
}

who="{\"client\":\"$client\",\"account\":\"$account\"}"
grant=$(ask grant.authorize "$who" | field grant)
shown=

while :; do
	answer=$(ask token.get "$who")
	case $(echo "$answer" | field error) in
	'')
		status=$(call "$answer")
		if [ "$status" = 401 ]; then
			answer=$(ask token.report "{\"grant\":\"$grant\",\"generation\":$(echo "$answer" | field generation)}")
			status=$(call "$answer")
		fi
		echo "called the vendor: $status"
		exit
		;;
	reauthorization_required)
		url=$(echo "$answer" | field connect_url)
		[ "$url" = "$shown" ] || echo "connect at $url"
		shown=$url
		# What is told before this listens is not heard, so it asks again after a while.
		nats --server "$server" --no-context subscribe --raw --count 1 --wait 10s "esign.event.$tenant.token.issued.*.$grant" >/dev/null 2>&1 || sleep 1
		;;
	temporarily_unavailable)
		sleep "$(echo "$answer" | field retry_after)"
		;;
	*)
		echo "$answer" >&2
		exit 1
		;;
	esac
done
