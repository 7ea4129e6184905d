import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fromHex, hex, utf8 } from "./bytes.js";
import { decodeMessage, encodeMessage } from "./codec.js";
import { RksError } from "./errors.js";
import { FrameDecoder } from "./frame.js";
import { parseJoinToken } from "./join-token.js";
import { MESSAGE_SCHEMAS } from "./message.js";
import {
  enrolRecoveryTranscript,
  joinProofTranscript,
  type JoinProofFields,
  recoverProofTranscript,
  renewProofTranscript,
} from "./transcript.js";

/** Cases that any implementation can run; spec/vectors/README.md says how. */
type Vector =
  | FramesVector
  | MessageVector
  | JoinTokenVector
  | ({ readonly run: "join-proof"; readonly fields: Record<keyof JoinProofFields, string> } & ProofVector)
  | ({ readonly run: "renew-proof"; readonly fields: { welcome: string; csr: string } } & ProofVector)
  | EnrolRecoveryVector
  | RecoverVector;

interface ConnectionFields {
  readonly alpn: string;
  readonly hello: string;
  readonly welcome: string;
  readonly serverLeafSpki: string;
}

type EnrolRecoveryVector = ProofVector & {
  readonly run: "enrol-recovery-proof";
  readonly fields: ConnectionFields & { nodeName: string; kind: string; publicKey: string };
};

type RecoverVector = ProofVector & {
  readonly run: "recover-proof";
  readonly fields: ConnectionFields & {
    csr: string;
    nodeName: string;
    kind: string;
    sequence: number;
    machineIdSha256: string;
  };
};

interface FramesVector {
  readonly run: "frames";
  readonly input: string;
  readonly maxFrameBytes?: number;
  readonly frames: readonly { kind: string; body: string }[];
  readonly error: string | null;
}

interface MessageVector {
  readonly run: "message";
  readonly body?: string;
  readonly bodyHex?: string;
  readonly message?: unknown;
  readonly error?: string;
  readonly path?: string;
}

interface JoinTokenVector {
  readonly run: "join-token";
  readonly token: string;
  readonly id?: string;
  readonly seed?: string;
  readonly rootSpkiSha256?: string;
  readonly publicKey?: string;
  readonly error?: string;
}

interface ProofVector {
  readonly transcript: string;
  readonly seed: string;
  readonly publicKey: string;
  readonly signature: string;
  readonly valid: boolean;
}

const folder = new URL("../spec/vectors/", import.meta.url);
const names = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".json"))
  .toSorted();

describe("the vectors of the specification", () => {
  test("hold a good case of every message", () => {
    const cases = names.map((name) => JSON.parse(readFileSync(new URL(name, folder), "utf8")) as Vector);
    const bodies = cases.flatMap((vector) =>
      vector.run === "message" && vector.error === undefined ? [utf8(vector.body ?? "")] : [],
    );
    const types = new Set(bodies.map((body) => decodeMessage(body).type));
    expect([...types].toSorted()).toEqual(Object.keys(MESSAGE_SCHEMAS).toSorted());
  });

  test.each(names)("%s", (name) => {
    const vector = JSON.parse(readFileSync(new URL(name, folder), "utf8")) as Vector;
    const { actual, expected } = run(vector);
    expect(actual).toEqual(expected);
  });
});

interface Outcome {
  readonly actual: unknown;
  readonly expected: unknown;
}

function run(vector: Vector): Outcome {
  if (vector.run === "frames") return runFrames(vector);
  if (vector.run === "message") return runMessage(vector);
  if (vector.run === "join-token") return runJoinToken(vector);
  if (vector.run === "renew-proof") {
    const { welcome, csr } = vector.fields;
    return runProof(vector, renewProofTranscript({ welcome: fromHex(welcome)!, csr: fromHex(csr)! }));
  }
  if (vector.run === "enrol-recovery-proof") {
    const publicKey = fromHex(vector.fields.publicKey)!;
    return runProof(
      vector,
      enrolRecoveryTranscript({ ...vector.fields, ...bytesOf(vector.fields), publicKey }),
    );
  }
  if (vector.run === "recover-proof") {
    const csr = fromHex(vector.fields.csr)!;
    const machineIdSha256 = fromHex(vector.fields.machineIdSha256)!;
    const fields = { ...vector.fields, ...bytesOf(vector.fields), csr, machineIdSha256 };
    return runProof(vector, recoverProofTranscript(fields));
  }
  const { alpn, hello, welcome, tokenId, serverLeafSpki, csr, nodeName, role } = vector.fields;
  const transcript = joinProofTranscript({
    alpn,
    hello: fromHex(hello)!,
    welcome: fromHex(welcome)!,
    tokenId,
    serverLeafSpki: fromHex(serverLeafSpki)!,
    csr: fromHex(csr)!,
    nodeName,
    role: role as "node" | "operator",
  });
  return runProof(vector, transcript);
}

function bytesOf({ hello, welcome, serverLeafSpki }: ConnectionFields): {
  readonly hello: Uint8Array;
  readonly welcome: Uint8Array;
  readonly serverLeafSpki: Uint8Array;
} {
  return { hello: fromHex(hello)!, welcome: fromHex(welcome)!, serverLeafSpki: fromHex(serverLeafSpki)! };
}

function runFrames({ input, maxFrameBytes, frames, error }: FramesVector): Outcome {
  const decoder = new FrameDecoder(maxFrameBytes === undefined ? {} : { maxFrameBytes });
  const decoded: { kind: string; body: string }[] = [];
  const code = codeOf(() => {
    for (const byte of fromHex(input)!) {
      for (const { kind, body } of decoder.push(Uint8Array.of(byte))) decoded.push({ kind, body: hex(body) });
    }
    decoder.end();
  });
  return { actual: { decoded, code }, expected: { decoded: frames, code: error } };
}

function runMessage({ body, bodyHex, message, error, path }: MessageVector): Outcome {
  const bytes = bodyHex === undefined ? utf8(body!) : fromHex(bodyHex)!;
  let actual: unknown;
  let text = "";
  const code = codeOf(
    () => {
      actual = JSON.parse(new TextDecoder().decode(encodeMessage(decodeMessage(bytes))));
    },
    (failure) => {
      text = failure.message;
    },
  );
  const place = path === undefined ? "" : text.slice(0, path.length + 1);
  return {
    actual: { actual, code, place },
    expected: { actual: message, code: error ?? null, place: path === undefined ? "" : `${path}:` },
  };
}

function runJoinToken({ token, id, seed, rootSpkiSha256, publicKey, error }: JoinTokenVector): Outcome {
  let actual: unknown = { id: undefined };
  const code = codeOf(() => {
    const parsed = parseJoinToken(token);
    const seedHex = hex(parsed.seed.reveal());
    actual = {
      id: parsed.id,
      seed: seedHex,
      rootSpkiSha256: hex(parsed.rootSpkiSha256),
      publicKey: publicKeyOf(seedHex),
    };
  });
  return {
    actual: { actual, code },
    expected: { actual: { id, seed, rootSpkiSha256, publicKey }, code: error ?? null },
  };
}

function runProof({ transcript, seed, publicKey, signature, valid }: ProofVector, own: Uint8Array): Outcome {
  const key = privateKey(seed);
  const verified = verify(null, own, createPublicKey(key), fromHex(signature)!);
  const signed = hex(sign(null, own, key));
  return {
    actual: { transcript: hex(own), publicKey: publicKeyOf(seed), verified, same: signed === signature },
    expected: { transcript, publicKey, verified: valid, same: valid },
  };
}

function codeOf(attempt: () => void, onFailure: (error: RksError) => void = () => undefined): string | null {
  try {
    attempt();
    return null;
  } catch (error) {
    if (!(error instanceof RksError)) throw error;
    onFailure(error);
    return error.code;
  }
}

/** An Ed25519 key from its seed, by the constant beginning of its PKCS#8 form (RFC 8410 §7). */
function privateKey(seed: string): ReturnType<typeof createPrivateKey> {
  const der = Buffer.from(`302e020100300506032b657004220420${seed}`, "hex");
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
}

function publicKeyOf(seed: string): string {
  const der = createPublicKey(privateKey(seed)).export({ format: "der", type: "spki" });
  return der.subarray(-32).toString("hex");
}
