import { nearestWord, podManifest, RksError, type PodManifest } from "@rk8s/protocol";
import { isAlias, LineCounter, parseAllDocuments, visit } from "yaml";

/** As large as a message may be. */
export const MAX_MANIFEST_BYTES = 1_048_576;
const MAX_DOCUMENTS = 100;
/** `yaml` counts how many nodes aliases multiply to; a billion laughs ends here. */
const MAX_ALIASES = 100;
const MAX_PROBLEMS = 10;

export interface ParsedManifests {
  readonly pods: readonly PodManifest[];
  /** What is understood but has no effect yet, by path. */
  readonly warnings: readonly string[];
}

/** How rk8s spells what Kubernetes spells otherwise. */
const ALIASES: Readonly<Record<string, string>> = {
  api_version: "apiVersion",
  node_name: "nodeName",
  restart_policy: "restartPolicy",
  termination_grace_period_seconds: "terminationGracePeriodSeconds",
  working_dir: "workingDir",
};

/** Fields by place: what has an effect, and what Kubernetes or rk8s know besides. */
const FIELDS = {
  "": { used: ["apiVersion", "kind", "metadata", "spec"], idle: ["status"] },
  metadata: {
    used: ["name", "namespace", "labels", "annotations"],
    idle: [
      "uid",
      "creationTimestamp",
      "deletionTimestamp",
      "generation",
      "resourceVersion",
      "managedFields",
      "ownerReferences",
      "finalizers",
      "selfLink",
    ],
  },
  spec: {
    used: ["nodeName", "containers", "restartPolicy", "terminationGracePeriodSeconds"],
    idle: [
      "tolerations",
      "affinity",
      "priority",
      "priorityClassName",
      "serviceAccount",
      "serviceAccountName",
      "automountServiceAccountToken",
      "dnsPolicy",
      "enableServiceLinks",
      "hostNetwork",
      "imagePullSecrets",
      "preemptionPolicy",
      "schedulerName",
      "securityContext",
      "volumes",
      "topology_constraints",
      "gang",
      "pauseImage",
    ],
  },
  container: {
    used: ["name", "image", "command", "args", "workingDir", "env"],
    idle: [
      "ports",
      "resources",
      "imagePullPolicy",
      "livenessProbe",
      "readinessProbe",
      "startupProbe",
      "securityContext",
      "volumeMounts",
      "terminationMessagePath",
      "terminationMessagePolicy",
      "stdin",
      "tty",
      "gpus",
    ],
  },
  env: { used: ["name", "value"], idle: [] },
} as const satisfies Record<string, { readonly used: readonly string[]; readonly idle: readonly string[] }>;

/**
 * Read pods from YAML or JSON: several documents, `kind: List`, Kubernetes' spelling and rk8s' snake_case. What would
 * change the pod's meaning if it were left out (`initContainers`, `valueFrom`, a misspelling) is refused; what has no
 * effect yet is a warning. `source` names the text in messages.
 * @throws {RksError} INPUT_INVALID for what is no YAML, POD_INVALID for what is no pod; all problems at once, by path.
 */
export function parseManifests(text: string, source: string): ParsedManifests {
  if (Buffer.byteLength(text) > MAX_MANIFEST_BYTES) {
    throw new RksError("INPUT_INVALID", `${source} is larger than ${MAX_MANIFEST_BYTES} bytes`);
  }
  const documents = parseYaml(text, source).flatMap((document) => itemsOf(document));
  if (documents.length === 0) {
    throw new RksError("INPUT_INVALID", `${source} holds no manifest`, {
      suggestion: "Begin with apiVersion: v1 and kind: Pod.",
    });
  }
  const problems: string[] = [];
  const warnings: string[] = [];
  const pods = documents.flatMap((document, i) => {
    const prefix = documents.length === 1 ? "" : `document ${i + 1}: `;
    const found = parsePod(document);
    problems.push(...found.problems.map((problem) => prefix + problem));
    warnings.push(...found.warnings.map((warning) => prefix + warning));
    return found.pod === undefined ? [] : [found.pod];
  });
  if (problems.length > 0) {
    const more = problems.length > MAX_PROBLEMS ? `; and ${problems.length - MAX_PROBLEMS} more` : "";
    throw new RksError("POD_INVALID", `${source}: ${problems.slice(0, MAX_PROBLEMS).join("; ")}${more}`, {
      suggestion: "Correct the manifest.",
    });
  }
  return { pods, warnings };
}

function parseYaml(text: string, source: string): unknown[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  if (!Array.isArray(documents)) return [];
  if (documents.length > MAX_DOCUMENTS) {
    throw new RksError(
      "INPUT_INVALID",
      `${source} holds ${documents.length} documents; ${MAX_DOCUMENTS} are allowed`,
    );
  }
  return documents.flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0]);
      throw new RksError("INPUT_INVALID", `${source}:${line}:${col}: ${error.message.split("\n")[0]}`, {
        suggestion: "Correct the YAML.",
      });
    }
    let aliases = 0;
    visit(document, (_, node) => {
      if (isAlias(node)) aliases++;
      return aliases > MAX_ALIASES ? visit.BREAK : undefined;
    });
    try {
      const value: unknown =
        aliases > MAX_ALIASES ? undefined : document.toJS({ maxAliasCount: MAX_ALIASES });
      if (aliases > MAX_ALIASES) throw new RangeError("too many aliases");
      return value === null || value === undefined ? [] : [value];
    } catch (cause) {
      throw new RksError("INPUT_INVALID", `${source} cannot be read: ${(cause as Error).message}`, { cause });
    }
  });
}

function itemsOf(document: unknown): unknown[] {
  if (!isMap(document)) return [document];
  const { kind, items } = document;
  return kind === "List" && Array.isArray(items) ? (items as unknown[]) : [document];
}

interface Found {
  readonly pod: PodManifest | undefined;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

function parsePod(document: unknown): Found {
  const problems: string[] = [];
  const warnings: string[] = [];
  if (!isMap(document))
    return { pod: undefined, problems: ["expected a map with apiVersion, kind, metadata, spec"], warnings };
  const top = check(document, FIELDS[""], "", problems, warnings);
  if (typeof top["kind"] === "string" && top["kind"] !== "Pod") {
    return {
      pod: undefined,
      problems: [`kind "${top["kind"].slice(0, 60)}" is not supported; only Pod is`],
      warnings,
    };
  }
  const metadata = isMap(top["metadata"])
    ? check(top["metadata"], FIELDS.metadata, "metadata", problems, [])
    : top["metadata"];
  const spec = isMap(top["spec"]) ? checkSpec(top["spec"], problems, warnings) : top["spec"];
  const parsed = podManifest.safeParse({ ...top, metadata, spec });
  if (!parsed.success) {
    for (const { path, message } of parsed.error.issues)
      problems.push(`${formatPath(path)}: ${lowerFirst(message)}`);
  }
  return { pod: problems.length === 0 ? parsed.data : undefined, problems, warnings };
}

function checkSpec(raw: Fields, problems: string[], warnings: string[]): Fields {
  const spec = check(raw, FIELDS.spec, "spec", problems, warnings);
  const { containers } = spec;
  if (!Array.isArray(containers)) return spec;
  const checked = containers.map((container: unknown, i) => {
    if (!isMap(container)) return container;
    const path = `spec.containers[${i}]`;
    const fields = check(container, FIELDS.container, path, problems, warnings);
    for (const [j, variable] of (Array.isArray(fields["env"])
      ? (fields["env"] as unknown[])
      : []
    ).entries()) {
      if (isMap(variable)) check(variable, FIELDS.env, `${path}.env[${j}]`, problems, warnings);
    }
    return fields;
  });
  return { ...spec, containers: checked };
}

type Fields = Readonly<Record<string, unknown>>;

/** The fields under Kubernetes' names; what is not known is a problem, what is not used a warning. */
function check(
  raw: Fields,
  known: { readonly used: readonly string[]; readonly idle: readonly string[] },
  path: string,
  problems: string[],
  warnings: string[],
): Fields {
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(raw)) {
    const name = ALIASES[key] ?? key;
    const at = path === "" ? key : `${path}.${key}`;
    if (name !== key && Object.hasOwn(raw, name)) problems.push(`${at}: ${name} is given, too`);
    // `null` is how YAML writes an empty value, and how Kubernetes reads an absent one.
    if (value !== null && known.used.includes(name)) fields[name] = value;
    else if (value !== null && !known.idle.includes(key) && !known.used.includes(name))
      problems.push(unknownField(key, at, known.used));
    else if (known.idle.includes(key) && path !== "") warnings.push(`${at} has no effect yet`);
  }
  return fields;
}

function unknownField(key: string, at: string, candidates: readonly string[]): string {
  const nearest = nearestWord(key, candidates);
  return nearest === undefined
    ? `${at.slice(0, 120)}: is not supported`
    : `${at.slice(0, 120)}: is not known; did you mean ${nearest}?`;
}

function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((part, i) => (typeof part === "number" ? `[${part}]` : `${i === 0 ? "" : "."}${String(part)}`))
    .join("");
}

function lowerFirst(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}

function isMap(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
