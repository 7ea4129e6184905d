#!/usr/bin/env python3
"""A certificate authority through hvac: root, role, certificate, revocation, policies, tokens, wrapping.

Reads VAULT_ADDR, VAULT_TOKEN and VAULT_CACERT, as the vault CLI does. Prints one JSON document.
"""
import json
import os
import uuid

import hvac

client = hvac.Client(
    url=os.environ["VAULT_ADDR"], token=os.environ["VAULT_TOKEN"], verify=os.environ.get("VAULT_CACERT", True)
)
assert client.sys.is_initialized() and not client.sys.is_sealed() and client.is_authenticated()
health = client.sys.read_health_status(method="GET")
assert health["sealed"] is False and client.sys.read_health_status(method="HEAD").status_code == 200

mount = "pki-" + uuid.uuid4().hex[:8]
client.sys.enable_secrets_engine("pki", path=mount, description="made by hvac")
client.sys.tune_mount_configuration(mount, max_lease_ttl="8760h")
assert client.sys.read_mount_configuration(mount)["data"]["max_lease_ttl"] == 8760 * 3600
assert mount + "/" in client.sys.list_mounted_secrets_engines()["data"]
pki = client.secrets.pki

# A root whose key stays inside, a role, a certificate.
root = pki.generate_root("internal", "hvac example root", {"ttl": "8700h", "key_type": "ec"}, mount_point=mount)
assert "private_key" not in root["data"]
assert pki.read_ca_certificate(mount_point=mount).strip() == root["data"]["certificate"].strip()
assert pki.read_ca_certificate_chain(mount_point=mount).strip() == root["data"]["certificate"].strip()
pki.set_urls({"crl_distribution_points": ["http://ca.example.com/crl"]}, mount_point=mount)
assert pki.read_urls(mount_point=mount)["data"]["crl_distribution_points"] == ["http://ca.example.com/crl"]
role = {"allowed_domains": "example.com", "allow_subdomains": True, "key_type": "ec", "max_ttl": "720h"}
pki.create_or_update_role("web", role, mount_point=mount)
assert pki.list_roles(mount_point=mount)["data"]["keys"] == ["web"]
read = pki.read_role("web", mount_point=mount)["data"]
assert read["allowed_domains"] == ["example.com"] and read["max_ttl"] == 720 * 3600 and read["key_bits"] == 256
issued = pki.generate_certificate("web", "www.example.com", {"alt_names": "a.example.com"}, mount_point=mount)["data"]
assert issued["private_key"].startswith("-----BEGIN EC PRIVATE KEY-----") and issued["expiration"] > 0
serial = issued["serial_number"]
assert pki.read_certificate(serial, mount_point=mount)["data"]["certificate"].strip() == issued["certificate"].strip()
assert serial in pki.list_certificates(mount_point=mount)["data"]["keys"]

# What a role does not allow is refused with the reason.
try:
    pki.generate_certificate("web", "www.example.org", mount_point=mount)
    raise AssertionError("a foreign name was allowed")
except hvac.exceptions.InvalidRequest as refusal:
    assert "www.example.org" in str(refusal) and "not allowed by role" in str(refusal)

# An intermediate, signed by the root.
below = mount + "-int"
client.sys.enable_secrets_engine("pki", path=below)
csr = pki.generate_intermediate("internal", "hvac example intermediate", {"key_type": "ec"}, mount_point=below)
signed = pki.sign_intermediate(csr["data"]["csr"], "hvac example intermediate", {"ttl": "4000h"}, mount_point=mount)
pki.set_signed_intermediate(signed["data"]["certificate"] + "\n" + root["data"]["certificate"], mount_point=below)
pki.create_or_update_role("any", {"allow_any_name": True, "key_type": "ec"}, mount_point=below)
leaf = pki.generate_certificate("any", "leaf.internal", mount_point=below)["data"]
assert len(leaf["ca_chain"]) == 2

# Revoked: it is in the list at once.
before = pki.read_crl_configuration(mount_point=mount)["data"]
assert before["expiry"] == "72h" and before["disable"] is False
assert pki.revoke_certificate(serial, mount_point=mount)["data"]["state"] == "revoked"
assert pki.read_certificate(serial, mount_point=mount)["data"]["revocation_time"] > 0
crl = pki.read_crl(mount_point=mount)
assert "BEGIN X509 CRL" in crl
pki.set_crl_configuration(expiry="48h", mount_point=mount)
assert pki.rotate_crl(mount_point=mount)["data"]["success"] is True
pki.tidy({"tidy_cert_store": True, "safety_buffer": "72h"}, mount_point=mount)

# A policy and a token that may do one thing, twice.
client.sys.create_or_update_policy("issue-web", 'path "%s/issue/web" { capabilities = ["update"] }' % mount)
assert "issue-web" in client.sys.list_policies()["data"]["policies"]
assert "issue/web" in client.sys.read_policy("issue-web")["data"]["rules"]
limited = client.auth.token.create(policies=["issue-web"], num_uses=2, ttl="1h")["auth"]
assert limited["num_uses"] == 2 and limited["policies"] == ["default", "issue-web"]
worker = hvac.Client(url=client.url, token=limited["client_token"], verify=os.environ.get("VAULT_CACERT", True))
worker.secrets.pki.generate_certificate("web", "b.example.com", mount_point=mount)
try:
    worker.secrets.pki.read_role("web", mount_point=mount)
    raise AssertionError("the policy allowed more than it says")
except hvac.exceptions.Forbidden:
    pass
try:
    worker.secrets.pki.generate_certificate("web", "c.example.com", mount_point=mount)
    raise AssertionError("a third use of a token with two")
except hvac.exceptions.Forbidden:
    pass

# Wrapped: whoever has the wrapping token gets the answer once.
wrapped = client.auth.token.create(policies=["default"], wrap_ttl="60s")["wrap_info"]
unwrapped = hvac.Client(url=client.url, verify=os.environ.get("VAULT_CACERT", True)).sys.unwrap(wrapped["token"])
assert unwrapped["auth"]["client_token"]
try:
    hvac.Client(url=client.url, verify=os.environ.get("VAULT_CACERT", True)).sys.unwrap(wrapped["token"])
    raise AssertionError("unwrapped twice")
except (hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden):
    pass

# Keys and values, both versions.
for version in ("1", "2"):
    path = "kv%s-%s" % (version, uuid.uuid4().hex[:8])
    client.sys.enable_secrets_engine("kv", path=path, options={"version": version})
    kv = client.secrets.kv.v1 if version == "1" else client.secrets.kv.v2
    write = kv.create_or_update_secret
    write("app/db", {"password": "example"}, mount_point=path)
    if version == "1":
        assert kv.read_secret("app/db", mount_point=path)["data"]["password"] == "example"
    else:
        assert kv.read_secret_version("app/db", mount_point=path)["data"]["data"]["password"] == "example"
    assert kv.list_secrets("app", mount_point=path)["data"]["keys"] == ["db"]
    client.sys.disable_secrets_engine(path)

capabilities = client.sys.get_capabilities(paths=[mount + "/roles/web"])
assert capabilities["capabilities"] == ["root"]
print(json.dumps({"serial": serial, "root": root["data"]["certificate"], "leaf": issued["certificate"], "crl": crl}))
