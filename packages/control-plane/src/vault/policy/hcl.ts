import { RksError } from "@rk8s/protocol";

/** A value of the HCL subset: what policies are written in. */
export type HclValue = string | number | boolean | null | readonly HclValue[] | HclBody;

/** One `key = value`, `key { … }` or `key "label" { … }`. */
export interface HclItem {
  readonly key: string;
  readonly label: string | undefined;
  readonly value: HclValue;
  readonly line: number;
}

export interface HclBody {
  readonly items: readonly HclItem[];
}

/** Deeper than any policy; keeps hostile text from exhausting the stack. */
const MAX_DEPTH = 16;
/** A refusal quotes what it refuses, which may be as long as the document. */
const MAX_PROBLEM_CHARACTERS = 300;

interface Token {
  readonly kind: "word" | "string" | "heredoc" | "number" | "mark" | "end";
  readonly text: string;
  readonly line: number;
}

/**
 * Parse the part of HCL 1 that Vault policies use: attributes, blocks with at most one label, strings, heredocs,
 * decimal numbers, booleans, `null` as in JSON, lists, the three comment forms. No interpolation.
 * @throws {RksError} INPUT_INVALID with the line
 */
export function parseHcl(text: string): HclBody {
  const parser = new Parser(tokenize(text));
  return { items: parser.items("end", 0) };
}

/** The refusal of a document, with the line it is about. */
export function hclError(line: number, problem: string): RksError {
  return new RksError("INPUT_INVALID", `policy line ${line}: ${problem.slice(0, MAX_PROBLEM_CHARACTERS)}`, {
    suggestion: `Write rules like: path "pki/issue/web" { capabilities = ["update"] }`,
  });
}

class Parser {
  readonly #tokens: readonly Token[];
  #position = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  items(until: "end" | "}", depth: number): HclItem[] {
    const items: HclItem[] = [];
    for (;;) {
      const token = this.#next();
      if (until === "end" ? token.kind === "end" : token.kind === "mark" && token.text === "}") return items;
      if (token.kind === "mark" && token.text === ",") continue;
      if (token.kind !== "word" && token.kind !== "string") throw unexpected(token, "a name");
      items.push(this.#item(token, depth));
    }
  }

  #item(key: Token, depth: number): HclItem {
    const label = this.#peek().kind === "string" ? this.#next().text : undefined;
    const next = this.#peek();
    const isAssigned =
      label === undefined && next.kind === "mark" && (next.text === "=" || next.text === ":");
    if (isAssigned) this.#next();
    else if (next.kind !== "mark" || next.text !== "{") throw unexpected(next, `"=" or "{"`);
    return { key: key.text, label, value: this.#value(depth + 1), line: key.line };
  }

  #value(depth: number): HclValue {
    const token = this.#next();
    if (depth > MAX_DEPTH) throw hclError(token.line, "nested too deeply");
    if (token.kind === "string" || token.kind === "heredoc") return token.text;
    if (token.kind === "number") return finite(token);
    if (token.kind === "word" && CONSTANTS.has(token.text)) return CONSTANTS.get(token.text) ?? null;
    if (token.kind === "mark" && token.text === "{") return { items: this.items("}", depth) };
    if (token.kind === "mark" && token.text === "[") return this.#list(depth);
    throw unexpected(token, "a value");
  }

  #list(depth: number): HclValue[] {
    const values: HclValue[] = [];
    for (;;) {
      if (this.#isNext("]")) return values;
      values.push(this.#value(depth + 1));
      if (this.#isNext("]")) return values;
      if (!this.#isNext(",")) throw unexpected(this.#peek(), `"," or "]"`);
    }
  }

  /** Take the next token when it is this mark. */
  #isNext(mark: string): boolean {
    const token = this.#peek();
    const is = token.kind === "mark" && token.text === mark;
    if (is) this.#next();
    return is;
  }

  #peek(): Token {
    return this.#tokens[this.#position] ?? { kind: "end", text: "", line: 0 };
  }

  #next(): Token {
    const token = this.#peek();
    this.#position += 1;
    return token;
  }
}

const CONSTANTS: ReadonlyMap<string, boolean | null> = new Map([
  ["true", true],
  ["false", false],
  ["null", null],
]);

/**
 * One token or what lies between tokens; `y`, so that it never searches ahead. Groups: space, word, number, string,
 * mark, heredoc and its marker. By number, for names cost more than all the rest.
 */
const LEXEME =
  /(\s+|#[^\n]*|\/\/[^\n]*|\/\*[^]*?\*\/)|([A-Za-z_][\w.-]*)|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|("(?:[^"\\\n]|\\[^\n])*")|([{}[\]=:,])|(<<-?([A-Za-z_]\w*)\n(?:[^]*?\n)?[ \t]*\7(?=[\s,\]}]|$))/y;

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  const lexeme = new RegExp(LEXEME);
  let line = 1;
  while (lexeme.lastIndex < text.length) {
    const at = lexeme.lastIndex;
    const match = lexeme.exec(text);
    if (match === null) throw hclError(line, `cannot read ${JSON.stringify(text.slice(at, at + 20))}`);
    const [, space, word, number, string, mark, heredoc] = match;
    if (word !== undefined) tokens.push({ kind: "word", text: word, line });
    else if (number !== undefined) tokens.push({ kind: "number", text: number, line });
    else if (mark !== undefined) tokens.push({ kind: "mark", text: mark, line });
    else if (string !== undefined) tokens.push({ kind: "string", text: unquote(string, line), line });
    else if (heredoc !== undefined) tokens.push({ kind: "heredoc", text: unindent(heredoc), line });
    const lines = space ?? heredoc;
    if (lines !== undefined) line += lines.split("\n").length - 1;
  }
  tokens.push({ kind: "end", text: "", line });
  return tokens;
}

/** HCL's escapes are JSON's. */
function unquote(quoted: string, line: number): string {
  try {
    return String(JSON.parse(quoted));
  } catch {
    throw hclError(line, `cannot read the string ${quoted.slice(0, 40)}`);
  }
}

/** The lines between the markers; after `<<-` without the indentation of the closing one, where all lines have it. */
function unindent(heredoc: string): string {
  const lines = heredoc.split("\n");
  const [indent = ""] = /^[ \t]*/.exec(lines.at(-1) ?? "") ?? [];
  const body = lines.slice(1, -1);
  const isIndented = heredoc.startsWith("<<-") && body.every((line) => line.startsWith(indent));
  return body.map((line) => `${isIndented ? line.slice(indent.length) : line}\n`).join("");
}

function finite({ text, line }: Token): number {
  const number = Number(text);
  if (!Number.isFinite(number)) throw hclError(line, `the number ${text.slice(0, 40)} is too large`);
  return number;
}

function unexpected(token: Token, expected: string): RksError {
  const found = token.kind === "end" ? "the end" : JSON.stringify(token.text.slice(0, 40));
  return hclError(token.line, `expected ${expected}, found ${found}`);
}
