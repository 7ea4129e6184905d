import { z } from "zod";

import type { Answer, JsonObject } from "../backend.js";
import { requiredText, text } from "../field-types.js";
import { type BackendPath, operation } from "../path-table.js";
import { decodeRootToken, OTP_CHARACTERS, type RootGenerationStatus } from "../seal/root-generation.js";
import { assertNotAsked } from "./not-asked.js";
import type { SealPathPorts } from "./seal-paths.js";

type Form = NonNullable<Answer["form"]>;
type Ports = Pick<SealPathPorts, "operate">;

/**
 * The paths that make a root token, relative to `sys/`: `generate-root/…`, with bare answers, and OpenBao's
 * `generate-root-token/…`, in the envelope. All of them take `sudo`, as OpenBao's do since 2.5.3.
 */
export function rootGenerationPaths(ports: Ports): readonly BackendPath[] {
  return [
    ...pathsUnder("generate-root", "bare", ports),
    ...pathsUnder("generate-root-token", "envelope", ports),
    {
      pattern: "decode-token",
      operations: {
        update: operation({
          access: "anyone",
          summary: "Unmask a root token with its one-time password.",
          fields: z.object({
            encoded_token: requiredText({ maxCharacters: 1024 }),
            otp: requiredText({ maxCharacters: 1024 }),
          }),
          handle: ({ fields }) => ({
            data: { token: decodeRootToken(fields.encoded_token, fields.otp).reveal() },
            form: "repeated",
          }),
        }),
      },
    },
  ];
}

function pathsUnder(prefix: string, form: Form, { operate }: Ports): readonly BackendPath[] {
  return [
    {
      pattern: `${prefix}/attempt`,
      operations: {
        read: operation({
          access: "sudo",
          summary: "Tell how far making a root token is.",
          handle: async () => {
            const status = await operate((open) => Promise.resolve(open.rootGeneration.status()));
            return { data: describe(status), form };
          },
        }),
        update: operation({
          access: "sudo",
          summary: "Begin to make a root token; gives the one-time password that unmasks it.",
          fields: z.object({ otp: text(""), pgp_key: text("") }),
          handle: async ({ fields }) => {
            const { otp: own, ...others } = fields;
            assertNotAsked(others);
            const { otp, status } = await operate(({ rootGeneration }) => {
              const made = rootGeneration.start(own === "" ? undefined : own);
              return Promise.resolve({ otp: made, status: rootGeneration.status() });
            });
            return { data: { ...describe(status), otp: own === "" ? otp.reveal() : "" }, form };
          },
        }),
        delete: operation({
          access: "sudo",
          summary: "Cancel making a root token.",
          handle: async () => {
            await operate((open) => Promise.resolve(open.rootGeneration.cancel()));
            return undefined;
          },
        }),
      },
    },
    {
      pattern: `${prefix}/update`,
      operations: {
        update: operation({
          access: "sudo",
          summary: "Give one unseal share; the last one needed gives the masked root token.",
          fields: z.object({ key: requiredText({ maxCharacters: 1024 }), nonce: text("") }),
          handle: async ({ fields }) => {
            const { encoded, status } = await operate(async ({ rootGeneration }) => ({
              encoded: await rootGeneration.add(fields.key, fields.nonce),
              status: rootGeneration.status(),
            }));
            if (encoded === undefined) return { data: describe(status), form };
            const done = { ...status, nonce: fields.nonce, progress: status.required };
            const token = { complete: true, encoded_token: encoded, encoded_root_token: encoded };
            return { data: { ...describe(done), ...token }, form };
          },
        }),
      },
    },
  ];
}

function describe({ nonce, progress, required }: RootGenerationStatus): JsonObject {
  return {
    nonce,
    started: nonce !== "",
    progress,
    required,
    complete: false,
    encoded_token: "",
    encoded_root_token: "",
    pgp_fingerprint: "",
    otp: "",
    otp_length: OTP_CHARACTERS,
  };
}
