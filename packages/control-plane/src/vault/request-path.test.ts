import { expect, test } from "vitest";

import { canonicalPath, canonicalPatterns } from "./request-path.js";

test.each([
  ["pki/roles/web", "pki/roles/web", "pki/roles/web"],
  ["/pki/roles/web/", "pki/roles/web", "pki/roles/web/"],
  ["sys/policies/acl/Admin", "sys/policies/acl/admin", "sys/policies/acl/admin"],
  ["sys/policy/ADMIN/", "sys/policy/admin", "sys/policy/admin/"],
  ["pki/roles/Web", "pki/roles/Web", "pki/roles/Web"],
])("%s leads to %s and is judged as %s", (given, path, asked) => {
  expect(canonicalPath("read", given)).toEqual({ path, asked });
});

test.each(["", "/", "//", "a//b", "//a", "a/../b", "./a", "a/.", "a\u0000b", "a\nb", "x".repeat(513)])(
  "%j is refused",
  (path) => {
    expect(() => canonicalPath("read", path)).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
  },
);

test.each([
  ["sys/policies/acl/Admin", true],
  ["sys/policy/Ad*", true],
  ["sys/+/Admin", true],
  ["+/policies/+/Admin", true],
  ["sys/policies/acl/admin", false],
  ["sys/mounts/PKI", false],
  ["pki/roles/Admin", false],
])("a rule for %s counts in lower case as well: %s", (pattern, isCaseless) => {
  const expected = isCaseless ? [pattern, pattern.toLowerCase()] : [pattern];
  expect(canonicalPatterns(pattern)).toEqual(expected);
});
