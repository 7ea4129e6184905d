import type { JsonObject, Operation } from "../vault/backend.js";
import type { VaultAnswer, VaultResponse } from "../vault/request.js";
import type { HttpAnswer } from "./http-answer.js";

/** What Vault says when there is nothing. */
const NOTHING_THERE: HttpAnswer = { status: 404, body: '{"errors":[]}' };
const DONE: HttpAnswer = { status: 204 };

/** Put a vault's answer into HTTP: documents as they are, data in the form that the answer names. */
export function toHttpAnswer(operation: Operation, answer: VaultAnswer | undefined): HttpAnswer {
  const isQuestion = isReading(operation);
  if (answer === undefined) return isQuestion ? NOTHING_THERE : DONE;
  const { response, form, status, raw } = answer;
  if (raw !== undefined) {
    const { contentType, body, lastModifiedMs } = raw;
    return body.length === 0 ? DONE : { status, body, contentType, lastModifiedMs };
  }
  if (isEmpty(response)) return isQuestion ? NOTHING_THERE : DONE;
  if (isEmptyList(operation, response.data)) return NOTHING_THERE;
  return { status, body: JSON.stringify(inForm(response, form)) };
}

function isReading(operation: Operation): boolean {
  return operation === "read" || operation === "list" || operation === "scan" || operation === "help";
}

function isEmpty({ data, auth, wrap_info: wrapInfo, warnings }: VaultResponse): boolean {
  return data === null && auth === null && wrapInfo === null && warnings === null;
}

/** A list without an element is not there, says Vault. */
function isEmptyList(operation: Operation, data: JsonObject | null): boolean {
  if ((operation !== "list" && operation !== "scan") || data === null) return false;
  const keys = data["keys"];
  return Array.isArray(keys) && keys.length === 0;
}

/** Old clients read either place: members of the data never hide those of the envelope. */
function inForm(response: VaultResponse, form: VaultAnswer["form"]): object {
  // A wrapped answer is the envelope, whatever is in it.
  if (form === "envelope" || response.wrap_info !== null) return response;
  return form === "bare" ? (response.data ?? {}) : { ...response.data, ...response };
}
