import { expect, test } from "vitest";
import { negotiateVersion } from "./version.js";

test.each([{ offered: [1] }, { offered: [3, 2, 1] }, { offered: [1, 1, 65_535] }])(
  "of $offered version 1 is taken",
  ({ offered }) => {
    expect(negotiateVersion(offered)).toBe(1);
  },
);

test.each([{ offered: [2] }, { offered: [0, 3] }, { offered: [] }])(
  "of $offered none is spoken",
  ({ offered }) => {
    expect(() => negotiateVersion(offered)).toThrow(expect.objectContaining({ code: "VERSION_UNSUPPORTED" }));
  },
);
