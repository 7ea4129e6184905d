import { constants, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { expect, test } from "vitest";
import { ProofThread, type SignatureProof } from "./proof-thread.js";

const TBS = Buffer.from("what is signed");
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ed25519 = generateKeyPairSync("ed25519");

function jwk(publicKey: KeyObject): SignatureProof["key"] {
  return { format: "jwk", key: publicKey.export({ format: "jwk" }) };
}

function aProof(
  { publicKey, privateKey }: { readonly publicKey: KeyObject; readonly privateKey: KeyObject },
  options: Partial<SignatureProof> = {},
): SignatureProof {
  const { hash = "sha256", pss, key = jwk(publicKey) } = options;
  return {
    hash,
    key,
    pss,
    tbs: TBS,
    signature: sign(hash, TBS, { key: privateKey, ...pss }),
    ...options,
  };
}

const p224 = generateKeyPairSync("ec", { namedCurve: "secp224r1" });
const spki = {
  format: "der",
  type: "spki",
  key: ec.publicKey.export({ format: "der", type: "spki" }),
} as const;

test.each<[string, SignatureProof, string]>([
  ["an EC key's", aProof(ec), "fits"],
  ["an Ed25519 key's", aProof(ed25519, { hash: null }), "fits"],
  ["an RSA key's", aProof(rsa), "fits"],
  ["an RSA key's in PSS", aProof(rsa, { pss: PSS }), "fits"],
  ["one whose key comes in DER", aProof(ec, { key: spki }), "fits"],
  ["a P-224 key's", aProof(p224, { key: { ...spki, key: p224.publicKey.export(spki) } }), "fits"],
  ["one of something else", aProof(ec, { tbs: Buffer.from("another") }), "differs"],
  ["one of another padding", { ...aProof(rsa, { pss: PSS }), pss: undefined }, "differs"],
  ["none at all", aProof(ec, { signature: new Uint8Array() }), "differs"],
  ["one by a hash that does not exist", { ...aProof(ec), hash: "sha257" }, "differs"],
  [
    "one of a key that is no point",
    aProof(ec, { key: { format: "jwk", key: { kty: "EC", crv: "P-256", x: "AAAA", y: "AAAA" } } }),
    "no key",
  ],
  ["one of a key that is no DER", aProof(ec, { key: { ...spki, key: Buffer.from("0") } }), "no key"],
])("a signature: %s", async (_name, proof, outcome) => {
  await using thread = new ProofThread();
  expect(await thread.verify(proof)).toBe(outcome);
});

test("every proof of many at once gets its own answer", async () => {
  await using thread = new ProofThread();
  const good = aProof(ec);
  const bad = { ...good, tbs: Buffer.from("another") };
  const proofs = Array.from({ length: 50 }, (_, index) => (index % 3 === 0 ? bad : good));
  const outcomes = await Promise.all(proofs.map((proof) => thread.verify(proof)));
  expect(outcomes).toEqual(proofs.map((proof) => (proof === bad ? "differs" : "fits")));
});

test("bytes that change after the call do not change the answer", async () => {
  await using thread = new ProofThread();
  const proof = aProof(ec);
  const tbs = Buffer.from(proof.tbs);
  const outcome = thread.verify({ ...proof, tbs });
  tbs.fill(0);
  expect(await outcome).toBe("fits");
});

test("a thread that ends fails what waits for it, and the next proof starts another", async () => {
  await using thread = new ProofThread();
  const proof = aProof(ec);
  const waiting = Promise.allSettled([thread.verify(proof), thread.verify(proof)]);
  await thread[Symbol.asyncDispose]();
  for (const result of await waiting) {
    expect(result).toMatchObject({ status: "rejected", reason: { code: "INTERNAL" } });
  }
  expect(await thread.verify(proof)).toBe("fits");
});

test("more proofs than can wait are refused, and those before them are not", async () => {
  const thread = new ProofThread();
  const proof = aProof(ec);
  const all = Promise.allSettled(Array.from({ length: 4098 }, () => thread.verify(proof)));
  await thread[Symbol.asyncDispose]();
  const codes = (await all).map((result) =>
    result.status === "rejected" ? (result.reason as { code: string }).code : result.value,
  );
  expect(codes.filter((code) => code === "BUSY")).toHaveLength(2);
  expect(codes.slice(4096)).toEqual(["BUSY", "BUSY"]);
});
