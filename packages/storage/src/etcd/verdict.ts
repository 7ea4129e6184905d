import { type ErrorCode, RksError } from "@rk8s/protocol";

/** What says most about a store, first: an answer of etcd more than silence, silence more than a closed door. */
const TELLING: readonly ErrorCode[] = [
  "UNAVAILABLE",
  "TIMED_OUT",
  "CLIENT_CERTIFICATE_REFUSED",
  "SERVER_UNTRUSTED",
  "SERVER_NAME_MISMATCH",
  "CONFIG_INVALID",
  "UNREACHABLE",
];

/** One error for what the members of a store failed with, at least one: the most telling, and how the others did. */
export function verdict(errors: readonly RksError[]): RksError {
  const [first, ...others] = errors.toSorted((a, b) => rank(a) - rank(b));
  if (first === undefined) throw new TypeError("a verdict needs an error");
  if (others.length === 0) return first;
  const rest = others.map(({ message }) => message).join("; ");
  return new RksError(first.code, `${first.message} (${rest})`, {
    suggestion: first.suggestion,
    cause: first.cause,
  });
}

function rank({ code }: RksError): number {
  const index = TELLING.indexOf(code);
  return index === -1 ? TELLING.length : index;
}
