import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { ReportedFailure } from "./cli-io.js";
import { failure, type Finding, reportFindings } from "./diagnosis.js";

async function* of(...findings: Finding[]): AsyncGenerator<Finding, void, void> {
  for (const finding of findings) yield await Promise.resolve(finding);
}

function anIo(): { readonly text: string[]; stdout(text: string): void } {
  const text: string[] = [];
  return { text, stdout: (line) => text.push(line) };
}

const OK: Finding = { check: "clock", status: "ok", detail: "0.1 s apart" };
const WARNING: Finding = { check: "disk", status: "warn", detail: "5 % left", remedy: "Free space." };
const REFUSED = failure(
  "token",
  new RksError("JOIN_TOKEN_USED", "it was used", { suggestion: "Ask for another." }),
);

test("findings are printed as they come, each with what to do", async () => {
  const io = anIo();
  await reportFindings(of(OK, WARNING), io, { json: false });
  expect(io.text).toEqual([
    "ok    clock          0.1 s apart\n",
    "warn  disk           5 % left\n                     → Free space.\n",
  ]);
});

test("the first failure decides the exit code, and all checks are printed", async () => {
  const io = anIo();
  const unreachable = failure("udp", new RksError("UNREACHABLE", "nothing answers"));
  const reported = reportFindings(of(OK, REFUSED, unreachable), io, { json: false });
  await expect(reported).rejects.toEqual(new ReportedFailure(77));
  expect(io.text).toHaveLength(3);
});

test("with --json there is exactly one document, also when something fails", async () => {
  const io = anIo();
  await expect(reportFindings(of(OK, REFUSED), io, { json: true })).rejects.toThrow(ReportedFailure);
  expect(io.text).toHaveLength(1);
  expect(JSON.parse(io.text[0]!)).toEqual({
    healthy: false,
    findings: [
      OK,
      {
        check: "token",
        status: "fail",
        detail: "it was used",
        code: "JOIN_TOKEN_USED",
        remedy: "Ask for another.",
      },
    ],
  });
});

test("a control character in what a peer said does not reach the terminal", async () => {
  const io = anIo();
  await reportFindings(of({ check: "name", status: "warn", detail: "\u001b[31mred" }), io, { json: false });
  expect(io.text.join("")).not.toContain("\u001b");
});
