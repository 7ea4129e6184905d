/** What `rks config init` writes: every key with its default and what it is for. It works as it is. */
export const SAMPLE_CONFIG = `# Configuration of rks, the control plane of rk8s.
# Every key may be left out; what is written here are the defaults.
# Durations: 90s, 10m, 1h30m, 24h, 30d. Relative paths are relative to this file's folder.

# Where agents connect (QUIC, UDP). Host name, IPv4 or [IPv6]; port 0 picks a free one.
addr: "127.0.0.1:50051"

# Where the Vault-compatible API is served over HTTPS, with health and metrics. It opens when the vault is
# first unsealed and stays open when it is sealed later. Port 0 picks a free one; "" serves nothing.
http_addr: "127.0.0.1:8200"

# HTTPS uses a certificate of the cluster's own root (root.pem in vault_folder), or what these files hold. They are
# read again when they change.
# http_tls: { cert_file: ./https.pem, key_file: ./https.key }

# Host names and addresses put into the server certificate besides those of addr and http_addr.
# Needed when one of them is 0.0.0.0 or [::]: name what agents and clients connect to.
advertise: []

# The authority part of every identity: spiffe://rk8s.local/node/worker-1
trust_domain: "rk8s.local"

tls_config:
  # Always on; false is refused.
  enable: true
  # All state of rks: the encrypted store (unless another is named below), the root certificate, the operator socket.
  vault_folder: ./rks-data
  # true: "rks gen certs" also writes the root token and the root key in clear. For experiments only.
  keep_dangerous_files: false

# How the vault is opened. shamir: from unseal shares; "rks gen certs" leaves them in keys.json for an
# unattended start. keyfile: from a file that can live on another disk or in memory.
seal:
  type: shamir
  shares: 1
  threshold: 1
  # type: keyfile
  # key_file: /run/rks/unseal.key

certificates:
  # Lifetimes, to 30d and 90d; certificates are renewed at two thirds of it.
  node_ttl: 1h
  server_ttl: 24h
  # Takes effect when a root is made: by "rks gen certs", and by each rotation.
  root_ttl: 8760h
  # manual: an operator replaces the root before it expires, with "rks ca". auto: rks does so itself from half of its
  # life on, and cuts off nobody who is only away.
  root_rotation: manual
  # vault: "rks gen certs" makes the root. offline: its key is where you keep it, and it signs an intermediate for rks;
  # see docs/offline-root.md.
  root_key: vault

heartbeat:
  # How often a node reports, to 1h, and after how long a silence it is NotReady, to 24h.
  interval: 10s
  grace: 40s

xline_config:
  # Empty: the embedded store in vault_folder. Or the members of an etcd or Xline, as https://store-1:2379: the next
  # "rks start" moves the store there while it serves. "rks gen certs" makes their certificates; see docs/operations.md.
  endpoints: []
  # Before every key in that store: 1 to 64 bytes, no slash at the end.
  prefix: /rk8s

# Or a database, with the package @rk8s/storage-sql: a file that holds its URL, as
# postgres://rks:…@db.example:5432/rks?ca_file=/etc/rks/db-ca.pem; see docs/storage.md.
# sql_config: { url_file: ./database.url }

# Sections of rk8s' own file. Their keys are accepted; none has an effect yet.
network_config: {}
# dns_config: { Port: 5300 }
`;
