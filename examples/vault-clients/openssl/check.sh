#!/bin/sh
# What openssl says of a leaf, its CA, the CA's revocation list and its OCSP responder.
# Arguments: a PKI mount's address (https://…/v1/pki), a folder with ca.pem, crl.pem, own.pem (good) and leaf.pem (revoked).
set -eu
mount=$1 folder=$2
cd "$folder"
openssl verify -CAfile ca.pem own.pem
openssl verify -CAfile ca.pem -CRLfile crl.pem -crl_check own.pem
# A revoked leaf must not pass.
if openssl verify -CAfile ca.pem -CRLfile crl.pem -crl_check leaf.pem 2>revoked.txt >&2; then exit 1; fi
grep -q "certificate revoked" revoked.txt
openssl x509 -in own.pem -noout -ext subjectAltName,keyUsage,extendedKeyUsage,authorityKeyIdentifier
openssl crl -in crl.pem -noout -CAfile ca.pem -text >crl.txt
grep -q "X509v3 CRL Number" crl.txt
# openssl's own OCSP client speaks no TLS to a private CA; curl carries what it makes.
# -no_nonce: the one in the request is compared; without it openssl would put another in its place.
for leaf in own leaf; do
  openssl ocsp -sha256 -issuer ca.pem -cert $leaf.pem -reqout $leaf.req
  curl --silent --fail --cacert "$VAULT_CACERT" --header "Content-Type: application/ocsp-request" --data-binary @$leaf.req "$mount/ocsp" >$leaf.res
  openssl ocsp -sha256 -no_nonce -issuer ca.pem -cert $leaf.pem -reqin $leaf.req -respin $leaf.res -CAfile ca.pem 2>&1
done
