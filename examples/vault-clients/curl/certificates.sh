#!/bin/sh
# A certificate authority with nothing but curl, as Vault's documentation writes it. Reads VAULT_ADDR, VAULT_TOKEN and
# VAULT_CACERT. The argument is a folder for what it makes.
set -eu
out=$1
mount=pki-curl-$$
vault() {
  method=$1 path=$2
  shift 2
  # The token goes in by a file descriptor: arguments can be read by everyone on the host.
  printf 'header = "X-Vault-Token: %s"\n' "$VAULT_TOKEN" |
    curl --silent --show-error --fail-with-body --cacert "$VAULT_CACERT" --config - --request "$method" "$VAULT_ADDR/v1/$path" "$@"
}
# The value of a text field in one JSON document.
field() { sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p' | sed 's/\\n/\n/g'; }

vault POST "sys/mounts/$mount" --data '{"type": "pki", "config": {"max_lease_ttl": "8760h"}}'
vault POST "$mount/root/generate/internal" --data '{"common_name": "curl example root", "ttl": "8700h", "key_type": "ec"}' >"$out/root.json"
vault POST "$mount/roles/web" --data '{"allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec"}' >/dev/null
vault LIST "$mount/roles" >"$out/roles.json"
vault GET "$mount/roles?list=true" | grep -q '"web"'
vault POST "$mount/issue/web" --data '{"common_name": "www.example.com", "ttl": "24h"}' >"$out/issued.json"
field certificate <"$out/issued.json" >"$out/leaf.pem"
field private_key <"$out/issued.json" >"$out/leaf.key"
serial=$(field serial_number <"$out/issued.json")
# What everyone may read needs no token.
curl --silent --fail --cacert "$VAULT_CACERT" "$VAULT_ADDR/v1/$mount/ca/pem" >"$out/ca.pem"
curl --silent --fail --cacert "$VAULT_CACERT" "$VAULT_ADDR/v1/$mount/cert/$serial" >/dev/null
vault POST "$mount/revoke" --data "{\"serial_number\": \"$serial\"}" >/dev/null
curl --silent --fail --cacert "$VAULT_CACERT" "$VAULT_ADDR/v1/$mount/crl/pem" >"$out/crl.pem"
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$out/own.key" -subj /CN=own.example.com -out "$out/own.csr" 2>/dev/null
# The request as one JSON string.
csr=$(awk '{ printf "%s\\n", $0 }' "$out/own.csr")
vault PUT "$mount/sign/web" --data "{\"csr\": \"$csr\", \"common_name\": \"own.example.com\"}" >"$out/signed.json"
field certificate <"$out/signed.json" >"$out/own.pem"
printf '%s\n' "$mount"
