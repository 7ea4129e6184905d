import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { parseManifests } from "./manifest.js";

const POD = `
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
    - name: main
      command: [sleep, "600"]
`;

function problemOf(text: string): RksError {
  try {
    parseManifests(text, "web.yaml");
  } catch (reason) {
    if (reason instanceof RksError) return reason;
    throw reason;
  }
  throw new Error("the manifest was accepted");
}

test("a pod in YAML gets Kubernetes' defaults", () => {
  expect(parseManifests(POD, "web.yaml")).toEqual({
    warnings: [],
    pods: [
      {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "web", namespace: "default" },
        spec: {
          containers: [{ name: "main", command: ["sleep", "600"] }],
          restartPolicy: "Always",
          terminationGracePeriodSeconds: 30,
        },
      },
    ],
  });
});

test("JSON is YAML, and a list holds pods", () => {
  const pod = parseManifests(POD, "").pods[0];
  const list = JSON.stringify({ apiVersion: "v1", kind: "List", items: [pod, pod] });
  expect(parseManifests(list, "list.json").pods).toEqual([pod, pod]);
});

test("several documents are several pods, empty ones are none", () => {
  const { pods } = parseManifests(
    `---\n${POD}\n---\n# nothing\n---\n${POD.replace("web", "two")}`,
    "all.yaml",
  );
  expect(pods.map(({ metadata }) => metadata.name)).toEqual(["web", "two"]);
});

test("rk8s' spelling means the same as Kubernetes'", () => {
  const ours = `
api_version: v1
kind: Pod
metadata: { name: web }
spec:
  node_name: worker-1
  restart_policy: OnFailure
  termination_grace_period_seconds: 5
  containers: [{ name: main, command: [pwd], working_dir: /tmp }]
`;
  expect(parseManifests(ours, "web.yaml").pods[0]?.spec).toEqual({
    nodeName: "worker-1",
    restartPolicy: "OnFailure",
    terminationGracePeriodSeconds: 5,
    containers: [{ name: "main", command: ["pwd"], workingDir: "/tmp" }],
  });
});

test("what has no effect yet is named in a warning", () => {
  const text = POD.replace("command:", "resources: { limits: { cpu: 1 } }\n      command:").replace(
    "spec:",
    "spec:\n  volumes: []",
  );
  expect(parseManifests(text, "web.yaml").warnings).toEqual([
    "spec.volumes has no effect yet",
    "spec.containers[0].resources has no effect yet",
  ]);
});

test("what a control plane added is passed over, so that its own output can be applied again", () => {
  const text =
    POD.replace("name: web", "name: web\n  uid: u-1\n  creationTimestamp: 2026-01-01T00:00:00Z") +
    "status: { phase: Running }\n";
  expect(parseManifests(text, "web.yaml")).toEqual(parseManifests(POD, "web.yaml"));
});

test.each([
  { name: "nothing", text: "", code: "INPUT_INVALID", message: "web.yaml holds no manifest" },
  { name: "broken YAML", text: "a: [1,\nb: 2", code: "INPUT_INVALID", message: "web.yaml:" },
  { name: "a key twice", text: "a: 1\na: 2", code: "INPUT_INVALID", message: "web.yaml:2:1" },
  { name: "a word", text: "hello", code: "POD_INVALID", message: "expected a map" },
  {
    name: "another kind",
    text: "kind: Service",
    code: "POD_INVALID",
    message: 'kind "Service" is not supported',
  },
  { name: "no containers", text: POD.split("spec:")[0]!, code: "POD_INVALID", message: "spec: " },
  {
    name: "a misspelled field",
    text: POD.replace("command", "comand"),
    code: "POD_INVALID",
    message: "spec.containers[0].comand: is not known; did you mean command?",
  },
  {
    name: "init containers",
    text: POD.replace("containers", "initContainers: []\n  containers"),
    code: "POD_INVALID",
    message: "spec.initContainers: is not",
  },
  {
    name: "a value from elsewhere",
    text: `${POD}      env: [{ name: A, valueFrom: {} }]\n`,
    code: "POD_INVALID",
    message: "spec.containers[0].env[0].valueFrom: is not",
  },
  {
    name: "a number as a value",
    text: `${POD}      env: [{ name: A, value: 80 }]\n`,
    code: "POD_INVALID",
    message: "spec.containers[0].env[0].value: ",
  },
  {
    name: "a bad name",
    text: POD.replace("name: web", "name: Web_1"),
    code: "POD_INVALID",
    message: "metadata.name: ",
  },
  {
    name: "two spellings of one field",
    text: POD.replace("spec:", "spec:\n  nodeName: a\n  node_name: b"),
    code: "POD_INVALID",
    message: "spec.node_name: nodeName is given, too",
  },
  {
    name: "more than a message can hold",
    text: `#${"x".repeat(1_048_576)}`,
    code: "INPUT_INVALID",
    message: "larger than",
  },
  {
    name: "too many documents",
    text: "--- 1\n".repeat(101),
    code: "INPUT_INVALID",
    message: "101 documents",
  },
  { name: "an unknown anchor", text: "a: *b", code: "INPUT_INVALID", message: "" },
])("$name is refused", ({ text, code, message }) => {
  const error = problemOf(text);
  expect(error.code).toBe(code);
  expect(error.message).toContain(message);
  expect(error.suggestion === undefined || error.suggestion.endsWith(".")).toBe(true);
});

test("a billion laughs are refused at once", () => {
  const levels = Array.from(
    { length: 12 },
    (_, i) => `l${i + 1}: &l${i + 1} [${Array(9).fill(`*l${i}`).join(", ")}]`,
  );
  expect(problemOf(`l0: &l0 lol\n${levels.join("\n")}\n`).code).toBe("INPUT_INVALID");
});

test("all problems are reported, each with its document", () => {
  const { message } = problemOf(
    `${POD.replace("web", "A")}---${POD.replace("main", "B").replace("v1", "v2")}`,
  );
  expect(message).toMatch(/^web.yaml: document 1: metadata.name: .*; document 2: .*; document 2: /);
});

test("__proto__ is a field like any other", () => {
  expect(problemOf(`${POD}  __proto__: { polluted: 1 }\n`).message).toContain("__proto__");
  expect(Object.prototype).not.toHaveProperty("polluted");
});

test("any text is a list of pods or a coded error", () => {
  const words = fc.constantFrom(
    "apiVersion: v1",
    "kind: Pod",
    "metadata:",
    "  name: a",
    "spec:",
    "  containers:",
    "  - name: b",
    "---",
    "- ",
    "&a ",
    "*a",
    "!!binary x",
    "? ",
    "{",
    "]",
    "null",
    "<<: *a",
    "1",
    ": ",
  );
  const texts = fc.oneof(
    fc.string(),
    fc.array(words, { maxLength: 20 }).map((lines) => lines.join("\n")),
  );
  fc.assert(
    fc.property(texts, (text) => {
      expect(outcomeOf(text)).toMatch(/^(accepted|INPUT_INVALID|POD_INVALID)$/);
    }),
    { numRuns: 300 },
  );
});

test("every manifest among the examples can be applied", () => {
  const folder = new URL("../../../../examples/manifests/", import.meta.url);
  for (const name of readdirSync(folder)) {
    const { pods, warnings } = parseManifests(readFileSync(new URL(name, folder), "utf8"), name);
    expect([name, pods.length > 0, warnings]).toEqual([name, true, []]);
  }
});

function outcomeOf(text: string): string {
  try {
    return parseManifests(text, "x").pods.length > 0 ? "accepted" : "empty";
  } catch (reason) {
    return reason instanceof RksError ? reason.code : String(reason);
  }
}
