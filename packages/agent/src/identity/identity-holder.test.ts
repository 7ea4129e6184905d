import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { Identity } from "./identity.js";
import { IdentityHolder } from "./identity-holder.js";
import { KeyPair } from "./key-pair.js";
import type { TrustedRoots } from "./trusted-roots.js";

const OLD = Uint8Array.of(1);
const NEW = Uint8Array.of(2);
const keeper = { instanceId: "i-1", keep: () => Promise.resolve() };

function anIdentity(trustGeneration: number, trustBundle: readonly Uint8Array[]): Identity {
  const date = new Date(0);
  const init = { role: "node", nodeName: "worker-1", certificateChain: [], serialNumber: "01" } as const;
  const dates = { notAfter: date, issuedAt: date, renewAfter: date };
  return new Identity({ ...init, ...dates, trustBundle, trustGeneration }, KeyPair.create());
}

test("roots are told when they come alone and when they come with a certificate", async () => {
  const told: (readonly Uint8Array[])[] = [];
  const onRoots = ({ roots }: TrustedRoots): Promise<void> => {
    told.push(roots);
    return Promise.resolve();
  };
  using holder = new IdentityHolder(anIdentity(0, [OLD]), { keeper, onRoots });
  expect(await holder.learnRoots({ generation: 1, roots: [OLD, NEW] })).toBe(true);
  await holder.issued(anIdentity(2, [NEW]));
  await holder.issued(anIdentity(2, [NEW]));
  expect(told).toEqual([[OLD, NEW], [NEW]]);
  expect(holder.trust).toEqual({ generation: 2, roots: [NEW] });
});

test("roots that could not be written down are written down when they are heard of again", async () => {
  let isFull = true;
  const told: (readonly Uint8Array[])[] = [];
  const onRoots = ({ roots }: TrustedRoots): Promise<void> => {
    if (isFull) return Promise.reject(new RksError("STORAGE_FULL", "no room"));
    told.push(roots);
    return Promise.resolve();
  };
  using holder = new IdentityHolder(anIdentity(0, [OLD]), { keeper, onRoots });
  const heard = { generation: 1, roots: [NEW] };
  await expect(holder.learnRoots(heard)).rejects.toMatchObject({ code: "STORAGE_FULL" });
  await expect(holder.issued(anIdentity(2, [NEW]))).rejects.toMatchObject({ code: "STORAGE_FULL" });
  expect(holder.newest.trustGeneration).toBe(2);
  isFull = false;
  expect(await holder.learnRoots(heard)).toBe(false);
  expect(told).toEqual([[NEW]]);
});
