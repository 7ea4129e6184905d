#!/usr/bin/env python3
"""A service with a Kubernetes account gets, uses and gives back a client certificate.

Reads VAULT_ADDR and VAULT_CACERT; arguments: the login's role, the file with the account's JWT, the PKI mount, its role
and a common name. Prints one JSON document.
"""
import json
import os
import sys

import hvac

login_role, jwt_file, mount, role, common_name = sys.argv[1:6]
client = hvac.Client(url=os.environ["VAULT_ADDR"], verify=os.environ.get("VAULT_CACERT", True))
with open(jwt_file) as file:
    client.auth.kubernetes.login(role=login_role, jwt=file.read().strip())
assert client.is_authenticated()

assert client.secrets.pki.read_crl_configuration(mount_point=mount)["data"]["disable"] is False
described = client.secrets.pki.read_role(role, mount_point=mount)["data"]
assert described["client_flag"] is True
certificate = client.secrets.pki.generate_certificate(
    role, common_name, {"format": "pem", "ttl": "24h", "private_key_format": "pkcs8"}, mount_point=mount
)["data"]
serial = certificate["serial_number"]
assert certificate["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
client.secrets.pki.revoke_certificate(serial, mount_point=mount)
crl = client.secrets.pki.read_crl(mount_point=mount)
print(json.dumps({"serial": serial, "crl": crl, "certificate": certificate["certificate"]}))
