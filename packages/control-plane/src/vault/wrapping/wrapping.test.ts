import { expect, test } from "vitest";

import type { JsonObject } from "../backend.js";
import type { VaultResponse, VaultWrapInfo } from "../request.js";
import { anUnsealedVault, echoBackend } from "../testing/unsealed-vault.js";
import type { TestVault } from "../testing/unsealed-vault.js";

const notWrapping = { code: "INPUT_INVALID", message: "wrapping token is not valid or does not exist" };
const denied = { code: "PERMISSION_DENIED" };

async function wrap(
  { vault, root }: TestVault,
  data: JsonObject,
  wrapTtlSeconds = 60,
): Promise<VaultWrapInfo> {
  const request = { operation: "update", path: "sys/wrapping/wrap", data, clientToken: root } as const;
  const wrapInfo = (await vault.handle({ ...request, wrapTtlSeconds }))?.wrap_info;
  if (wrapInfo === undefined || wrapInfo === null) throw new TypeError("nothing was wrapped");
  return wrapInfo;
}

function unwrap(
  { vault }: TestVault,
  token: string,
  data: JsonObject = {},
): Promise<VaultResponse | undefined> {
  return vault.write(token, "sys/wrapping/unwrap", data);
}

test("what is wrapped can be fetched once, with the token as the request's", async () => {
  await using subject = await anUnsealedVault();
  const info = await wrap(subject, { secret: "x" });
  expect(info).toMatchObject({
    ttl: 60,
    creation_time: "2027-01-15T08:00:00.000Z",
    creation_path: "sys/wrapping/wrap",
  });
  expect(info.token).toMatch(/^hvs\./);
  expect(await unwrap(subject, info.token)).toMatchObject({
    data: { secret: "x" },
    wrap_info: null,
    auth: null,
  });
  await expect(unwrap(subject, info.token)).rejects.toMatchObject(notWrapping);
});

test("or as a field, by somebody who may unwrap, and by nobody at all", async () => {
  await using subject = await anUnsealedVault();
  const other = await subject.tokenWith({});
  const first = await wrap(subject, { secret: "x" });
  expect((await unwrap(subject, other, { token: first.token }))?.data).toEqual({ secret: "x" });
  await expect(unwrap(subject, other, { token: first.token })).rejects.toMatchObject(notWrapping);
  const second = await wrap(subject, { secret: "y" });
  expect((await unwrap(subject, "", { token: second.token }))?.data).toEqual({ secret: "y" });
  const third = await wrap(subject, { secret: "z" });
  expect((await unwrap(subject, third.token, { token: third.token }))?.data).toEqual({ secret: "z" });
});

test.each(["request", "field"])(
  "of 50 who unwrap at once with the token as %s exactly one wins",
  async (where) => {
    await using subject = await anUnsealedVault();
    const { token } = await wrap(subject, { secret: "x" });
    const tries = Array.from({ length: 50 }, () =>
      where === "request" ? unwrap(subject, token) : unwrap(subject, subject.root.reveal(), { token }),
    );
    const results = await Promise.allSettled(tries);
    const won = results.filter((result) => result.status === "fulfilled");
    expect(won.map(({ value }) => value?.data)).toEqual([{ secret: "x" }]);
    const lost = results.flatMap((result) =>
      result.status === "rejected" ? [result.reason as unknown] : [],
    );
    expect(lost).toEqual(lost.map(() => expect.objectContaining(notWrapping) as unknown));
  },
);

test.each(["", "x", "hvs.wrong"])("%j unwraps nothing", async (token) => {
  await using subject = await anUnsealedVault();
  await expect(unwrap(subject, token)).rejects.toMatchObject(notWrapping);
  await expect(subject.vault.write(token, "sys/wrapping/lookup", {})).rejects.toMatchObject(notWrapping);
});

test("a token that wraps nothing loses no use by being tried", async () => {
  await using subject = await anUnsealedVault();
  const token = await subject.tokenWith({ num_uses: 1 });
  await expect(unwrap(subject, token)).rejects.toMatchObject(notWrapping);
  await expect(unwrap(subject, subject.root.reveal(), { token })).rejects.toMatchObject(notWrapping);
  expect(await subject.vault.read(token, "auth/token/lookup-self")).toBeDefined();
});

test("a wrapping token does nothing but be unwrapped, and is no policy that a token can be given", async () => {
  await using subject = await anUnsealedVault();
  const { token } = await wrap(subject, { secret: "x" });
  await expect(subject.vault.read(token, "sys/mounts")).rejects.toMatchObject(denied);
  // Which cost its only use.
  await expect(unwrap(subject, token)).rejects.toMatchObject(notWrapping);
  await expect(subject.tokenWith({ policies: ["response-wrapping"] })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("it expires, and what it kept with it", async () => {
  await using subject = await anUnsealedVault();
  await subject.clock.nextSleep();
  const { token } = await wrap(subject, { secret: "x" });
  expect((await subject.vault.barrier.list("cubbyhole/")).entries).toHaveLength(2);
  subject.advanceSeconds(60);
  await expect(unwrap(subject, token)).rejects.toMatchObject(notWrapping);
  await subject.clock.nextSleep();
  expect((await subject.vault.barrier.list("cubbyhole/")).entries).toHaveLength(0);
});

test("lookup takes no token of its own and no use", async () => {
  await using subject = await anUnsealedVault();
  const { token } = await wrap(subject, { secret: "x" }, 90);
  const expected = {
    creation_ttl: 90,
    creation_time: "2027-01-15T08:00:00.000Z",
    creation_path: "sys/wrapping/wrap",
  };
  expect((await subject.vault.write("", "sys/wrapping/lookup", { token }))?.data).toEqual(expected);
  expect((await subject.vault.read(token, "sys/wrapping/lookup"))?.data).toEqual(expected);
  expect((await unwrap(subject, token))?.data).toEqual({ secret: "x" });
});

test("rewrap moves it to a new token and ends the old one", async () => {
  await using subject = await anUnsealedVault();
  const { token } = await wrap(subject, { secret: "x" }, 90);
  subject.advanceSeconds(30);
  const again = (await subject.vault.write(subject.root, "sys/wrapping/rewrap", { token }))?.wrap_info;
  expect(again).toMatchObject({ ttl: 90, creation_path: "sys/wrapping/wrap" });
  await expect(unwrap(subject, token)).rejects.toMatchObject(notWrapping);
  await expect(subject.vault.write("", "sys/wrapping/rewrap", { token: again?.token })).rejects.toMatchObject(
    denied,
  );
  expect((await unwrap(subject, again?.token ?? ""))?.data).toEqual({ secret: "x" });
});

test("any answer with data or a token is wrapped, nothing is not, and an error never", async () => {
  await using subject = await anUnsealedVault({ backends: { echo: echoBackend } });
  const { vault, root } = subject;
  await vault.write(root, "sys/mounts/e", { type: "echo" });
  const read = await vault.handle({ operation: "read", path: "e/a/b", clientToken: root, wrapTtlSeconds: 5 });
  expect(read).toMatchObject({ data: null, auth: null, wrap_info: { ttl: 5, creation_path: "e/a/b" } });
  expect((await unwrap(subject, read?.wrap_info?.token ?? ""))?.data).toMatchObject({ path: "a/b" });
  const made = await vault.handle({
    operation: "update",
    path: "auth/token/create",
    data: { ttl: "1h" },
    clientToken: root,
    wrapTtlSeconds: 5,
  });
  expect(made).toMatchObject({ auth: null, wrap_info: { wrapped_accessor: expect.any(String) as unknown } });
  const auth = (await unwrap(subject, made?.wrap_info?.token ?? ""))?.auth;
  expect(auth?.accessor).toBe(made?.wrap_info?.wrapped_accessor);
  expect(await vault.read(auth?.client_token ?? "", "auth/token/lookup-self")).toBeDefined();
  const request = { clientToken: root, wrapTtlSeconds: 5 } as const;
  expect(await vault.handle({ ...request, operation: "read", path: "e/nothing" })).toBeUndefined();
  await expect(vault.handle({ ...request, operation: "read", path: "nowhere" })).rejects.toMatchObject({
    code: "NOT_FOUND",
  });
});

test.each([-1, 0.5, Number.NaN, 2_764_801])("%s s are no time to keep an answer", async (wrapTtlSeconds) => {
  await using subject = await anUnsealedVault();
  const request = { operation: "read", path: "sys/mounts", clientToken: subject.root } as const;
  await expect(subject.vault.handle({ ...request, wrapTtlSeconds })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("wrap asks for a time, and keeps no more than there is room for", async () => {
  await using subject = await anUnsealedVault();
  await expect(subject.vault.write(subject.root, "sys/wrapping/wrap", { a: 1 })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  await expect(wrap(subject, { a: "x".repeat(1_100_000) })).rejects.toMatchObject({ code: "INPUT_INVALID" });
  const before = (await subject.vault.barrier.list("token/id/")).entries.length;
  const login = { operation: "update", path: "auth/token/create", clientToken: subject.root } as const;
  await expect(
    subject.vault.handle({ ...login, data: { ttl: "x" }, wrapTtlSeconds: 5 }),
  ).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect((await subject.vault.barrier.list("token/id/")).entries).toHaveLength(before);
});

test("policies can ask for wrapping", async () => {
  await using subject = await anUnsealedVault({ backends: { echo: echoBackend } });
  const { vault, root } = subject;
  await vault.write(root, "sys/mounts/e", { type: "echo" });
  const policy = `path "e/*" { capabilities = ["read"] min_wrapping_ttl = "10s" max_wrapping_ttl = "60s" }`;
  await vault.write(root, "sys/policies/acl/e", { policy });
  const clientToken = await subject.tokenWith({ policies: ["e"] });
  const request = { operation: "read", path: "e/x", clientToken } as const;
  await expect(vault.handle(request)).rejects.toMatchObject(denied);
  await expect(vault.handle({ ...request, wrapTtlSeconds: 9 })).rejects.toMatchObject(denied);
  await expect(vault.handle({ ...request, wrapTtlSeconds: 61 })).rejects.toMatchObject(denied);
  expect(await vault.handle({ ...request, wrapTtlSeconds: 60 })).toMatchObject({ wrap_info: { ttl: 60 } });
});

test("a cubbyhole is its token's alone, also root's, and ends with it", async () => {
  await using subject = await anUnsealedVault();
  const { vault, root } = subject;
  const [one, two] = [await subject.tokenWith({}), await subject.tokenWith({})];
  await vault.write(one, "cubbyhole/a/b", { secret: "x" });
  await vault.write(one, "cubbyhole/c", { secret: "y" });
  expect((await vault.read(one, "cubbyhole/a/b"))?.data).toEqual({ secret: "x" });
  expect((await vault.list(one, "cubbyhole/"))?.data).toEqual({ keys: ["a/", "c"] });
  expect((await vault.list(one, "cubbyhole/a"))?.data).toEqual({ keys: ["b"] });
  for (const other of [two, root]) {
    expect(await vault.read(other, "cubbyhole/a/b")).toBeUndefined();
    expect(await vault.list(other, "cubbyhole/")).toBeUndefined();
    await vault.delete(other, "cubbyhole/c");
  }
  await vault.delete(one, "cubbyhole/c");
  expect(await vault.read(one, "cubbyhole/c")).toBeUndefined();
  await vault.write(root, "auth/token/revoke", { token: one });
  expect((await vault.barrier.list("cubbyhole/")).entries).toEqual([]);
});

test("batch tokens and the operators' socket have no cubbyhole", async () => {
  await using subject = await anUnsealedVault();
  const batch = await subject.tokenWith({ type: "batch", policies: ["default"] });
  await expect(subject.vault.write(batch, "cubbyhole/x", { a: 1 })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  const request = { operation: "update", path: "cubbyhole/x", data: { a: 1 }, authority: "root" } as const;
  await expect(subject.vault.handle(request)).rejects.toMatchObject({ code: "INPUT_INVALID" });
});
