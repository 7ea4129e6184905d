import { expect } from "vitest";
import { z } from "zod";
import type { Wire, WireReply } from "./wire.js";

/** One request of a client's conversation and what must come back. `{name}` stands for what was kept under it. */
export interface Step {
  /** Method and path: `PUT /v1/pki/issue/web`. */
  readonly asks: string;
  /** Sent as JSON, as its client has it. */
  readonly body?: object | string;
  readonly status: number;
  /** What the whole answer must be, JSON types included; nothing: a body of no bytes. */
  readonly answer?: z.ZodType;
  /** What later steps need of the answer, by the way to it: `{ serial: "data.serial_number" }`. */
  readonly keep?: Readonly<Record<string, string>>;
  /** Sent without the client's token. */
  readonly isAnonymous?: true;
}

export interface Conversation {
  readonly wire: Pick<Wire, "send">;
  /** Header fields that the client sends with everything. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Kept from the start; `token` is the client's. */
  readonly values: Readonly<Record<string, string>>;
}

const NO_BODY = z.literal("");

/** Send a client's requests in order and compare every answer. @returns everything that was kept. */
export async function expectConversation(
  conversation: Conversation,
  steps: readonly Step[],
): Promise<Readonly<Record<string, string>>> {
  const { wire, headers = {} } = conversation;
  const values: Record<string, string> = { ...conversation.values };
  const filled = (text: string): string =>
    text.replaceAll(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
  for (const step of steps) {
    const [method = "", path = ""] = filled(step.asks).split(" ");
    const reply = await wire.send({
      method,
      path,
      token: step.isAnonymous === true ? undefined : values["token"],
      headers,
      body: step.body === undefined ? undefined : bodyOf(step.body, values),
    });
    assertAnswer(step, reply);
    for (const [name, way] of Object.entries(step.keep ?? {})) values[name] = valueAt(reply.json, way);
  }
  return values;
}

/** Whole texts of a body that are `{name}` become what was kept; all else is sent as it is. */
function bodyOf(body: object | string, values: Readonly<Record<string, string>>): string {
  if (typeof body === "string") return body;
  return JSON.stringify(body, (_, value: unknown) => {
    const name = typeof value === "string" ? /^\{(\w+)\}$/.exec(value)?.[1] : undefined;
    return name === undefined ? value : (values[name] ?? value);
  });
}

function assertAnswer({ asks, status, answer }: Step, reply: WireReply): void {
  const { headers, text } = reply;
  const isText = answer === undefined || answer instanceof z.ZodString;
  const type = isText ? {} : { "content-type": "application/json" };
  const expected = { asks, status, "cache-control": "no-store", ...type };
  expect({ asks, status: reply.status, ...headers, text }).toMatchObject(expected);
  const { error } = (answer ?? NO_BODY).safeParse(isText ? text : reply.json);
  if (error !== undefined) throw new Error(`${asks}: ${text.slice(0, 2000)}\n${z.prettifyError(error)}`);
}

function valueAt(json: unknown, way: string): string {
  const found = way
    .split(".")
    .reduce((value, name) => (value as Readonly<Record<string, unknown>> | undefined)?.[name], json);
  if (typeof found === "string") return found;
  throw new Error(`there is no text at "${way}"`);
}
