import { expect, test } from "vitest";

import { parseEndpoints } from "./endpoint.js";

test.each([
  ["https://10.0.0.5:2379", { host: "10.0.0.5", port: 2379, isSecure: true }],
  ["https://etcd-1.example:443/", { host: "etcd-1.example", port: 443, isSecure: true }],
  ["https://[2001:db8::1]:2379", { host: "2001:db8::1", port: 2379, isSecure: true }],
  ["http://127.0.0.1:2379", { host: "127.0.0.1", port: 2379, isSecure: false }],
  ["http://127.8.8.8:2379", { host: "127.8.8.8", port: 2379, isSecure: false }],
  ["http://localhost:1", { host: "localhost", port: 1, isSecure: false }],
  ["http://[::1]:2379", { host: "::1", port: 2379, isSecure: false }],
])("%s is an endpoint", (url, endpoint) => {
  expect(parseEndpoints([url])).toEqual([{ url, ...endpoint }]);
});

test.each([
  "",
  "10.0.0.5:2379",
  "https://10.0.0.5",
  "https://:2379",
  "https://a:0",
  "https://a:65536",
  "https://a:2379/v3",
  "https://user:secret@a:2379",
  "https://2001:db8::1:2379",
  "https://[10.0.0.5]:2379",
  "https://10.0.0.256:2379",
  "https://a b:2379",
  "grpc://a:2379",
  "unix:///run/etcd.sock",
  "http://10.0.0.5:2379",
  "http://etcd.example:2379",
  "http://localhost.example:2379",
  "http://[::2]:2379",
])(`"%s" is refused`, (url) => {
  expect(() => parseEndpoints([url])).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
});

test("one endpoint named twice counts once, none at all is refused", () => {
  expect(parseEndpoints(["https://a:1", "https://b:1", "https://a:1"]).map(({ host }) => host)).toEqual([
    "a",
    "b",
  ]);
  expect(() => parseEndpoints([])).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  const many = Array.from({ length: 33 }, (_, index) => `https://a:${index + 1}`);
  expect(() => parseEndpoints(many)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
});
