import { MessageReader, MessageWriter } from "./protobuf.js";

/** The messages of etcd's v3 API that the adapter uses, with the fields it uses; numbers as in etcd's `rpc.proto`. */

/** One method of etcd's API: where it is, and how its answer is read. */
export interface Rpc<Answer> {
  readonly path: string;
  readonly decode: (bytes: Uint8Array) => Answer;
}

/** A half-open range of keys; without `end` it is the one key. */
export interface KeyRange {
  readonly key: Uint8Array;
  readonly end?: Uint8Array;
}

/** One key with its value, as stored. */
export interface KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
}

export interface RangeAnswer {
  /** The cluster's id: members of one cluster say the same. */
  readonly cluster: string;
  /** Of the store when the answer was made. */
  readonly revision: number;
  readonly entries: readonly KeyValue[];
  readonly more: boolean;
}

export interface TxnAnswer {
  readonly revision: number;
  readonly succeeded: boolean;
  /** Answers of the branch's ranges, in their order; what puts and deletes answer is passed over. */
  readonly ranges: readonly RangeAnswer[];
}

/** Before every answer. */
interface Header {
  readonly cluster: string;
  readonly revision: number;
}

/** What a watch says of one change. */
export interface WatchEvent {
  readonly isDelete: boolean;
  readonly entry: KeyValue;
}

export interface WatchAnswer {
  readonly revision: number;
  readonly isCreated: boolean;
  readonly isCanceled: boolean;
  readonly cancelReason: string;
  /** Not 0: the watch began before this revision, and everything up to it has been compacted away. */
  readonly compactRevision: number;
  /** Whether more events of the same revisions follow in the next answer. */
  readonly isFragment: boolean;
  readonly events: readonly WatchEvent[];
}

export const RANGE: Rpc<RangeAnswer> = { path: "/etcdserverpb.KV/Range", decode: decodeRange };
export const TXN: Rpc<TxnAnswer> = { path: "/etcdserverpb.KV/Txn", decode: decodeTxn };
export const MEMBER_LIST: Rpc<readonly string[]> = {
  path: "/etcdserverpb.Cluster/MemberList",
  decode: decodeMemberUrls,
};
export const WATCH: Rpc<WatchAnswer> = { path: "/etcdserverpb.Watch/Watch", decode: decodeWatch };

/** What of a range is asked for. */
export interface RangeOptions {
  readonly limit?: number;
  /** As it was then; default: as it is now. */
  readonly revision?: number;
  readonly keysOnly?: boolean;
}

/** For `RANGE`. Linearizable: it sees every write that was answered before. */
export function rangeRequest(range: KeyRange, options: RangeOptions = {}): MessageWriter {
  const { limit = 0, revision = 0, keysOnly = false } = options;
  const request = keyFields(range).integer(3, limit).integer(4, revision);
  return keysOnly ? request.integer(8, 1) : request;
}

/** For `WATCH`: every change in the range from the revision on, in pieces where one answer would be too large. */
export function watchRequest(range: KeyRange, fromRevision: number): MessageWriter {
  const create = keyFields(range).integer(3, fromRevision).integer(4, 1).integer(8, 1);
  return new MessageWriter().message(1, create);
}

/** A request without fields. */
export function emptyRequest(): MessageWriter {
  return new MessageWriter();
}

/** Builds the request of `TXN`; when all comparisons hold the one branch is done, else the other. */
export class TxnWriter {
  readonly #request = new MessageWriter();

  /** The key was last written at `modRevision`; 0: it does not exist. */
  compare(key: Uint8Array, modRevision: number): this {
    this.#request.message(
      1,
      new MessageWriter().integer(1, 0).integer(2, 2).bytes(3, key).integer(6, modRevision),
    );
    return this;
  }

  put(key: Uint8Array, value: Uint8Array): this {
    const put = new MessageWriter().bytes(1, key).bytes(2, value);
    this.#request.message(2, new MessageWriter().message(2, put));
    return this;
  }

  delete(key: Uint8Array): this {
    this.#request.message(2, new MessageWriter().message(3, keyFields({ key })));
    return this;
  }

  read(key: Uint8Array): this {
    this.#request.message(2, new MessageWriter().message(1, rangeRequest({ key })));
    return this;
  }

  /** In the other branch: read the key. */
  otherwiseRead(key: Uint8Array): this {
    this.#request.message(3, new MessageWriter().message(1, rangeRequest({ key })));
    return this;
  }

  /** The request so far. Two of them one after the other are one request with the parts of both. */
  finish(): Buffer {
    return this.#request.finish();
  }
}

function keyFields({ key, end }: KeyRange): MessageWriter {
  const fields = new MessageWriter().bytes(1, key);
  return end === undefined ? fields : fields.bytes(2, end);
}

function decodeRange(bytes: Uint8Array): RangeAnswer {
  const reader = new MessageReader(bytes);
  let header: Header = { cluster: "", revision: 0 };
  let more = false;
  const entries: KeyValue[] = [];
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) header = decodeHeader(reader.bytes());
    else if (field === 2) entries.push(decodeKeyValue(reader.bytes()));
    else if (field === 3) more = reader.boolean();
  }
  return { ...header, entries, more };
}

function decodeTxn(bytes: Uint8Array): TxnAnswer {
  const reader = new MessageReader(bytes);
  let revision = 0;
  let succeeded = false;
  const ranges: RangeAnswer[] = [];
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) ({ revision } = decodeHeader(reader.bytes()));
    else if (field === 2) succeeded = reader.boolean();
    else if (field === 3) ranges.push(...decodeRangeOfOperation(reader.bytes()));
  }
  return { revision, succeeded, ranges };
}

function decodeRangeOfOperation(bytes: Uint8Array): RangeAnswer[] {
  const reader = new MessageReader(bytes);
  return reader.next() === 1 ? [decodeRange(reader.bytes())] : [];
}

function decodeWatch(bytes: Uint8Array): WatchAnswer {
  const reader = new MessageReader(bytes);
  let revision = 0;
  let isCreated = false;
  let isCanceled = false;
  let compactRevision = 0;
  let cancelReason = "";
  let isFragment = false;
  const events: WatchEvent[] = [];
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) ({ revision } = decodeHeader(reader.bytes()));
    else if (field === 3) isCreated = reader.boolean();
    else if (field === 4) isCanceled = reader.boolean();
    else if (field === 5) compactRevision = reader.integer();
    else if (field === 6) cancelReason = text(reader.bytes());
    else if (field === 7) isFragment = reader.boolean();
    else if (field === 11) events.push(decodeEvent(reader.bytes()));
  }
  return { revision, isCreated, isCanceled, compactRevision, cancelReason, isFragment, events };
}

function decodeEvent(bytes: Uint8Array): WatchEvent {
  const reader = new MessageReader(bytes);
  let isDelete = false;
  let entry = decodeKeyValue(new Uint8Array());
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) isDelete = reader.integer() === 1;
    else if (field === 2) entry = decodeKeyValue(reader.bytes());
  }
  return { isDelete, entry };
}

/** What clients of the cluster are told to use, of all members that serve them: a learner does not. */
function decodeMemberUrls(bytes: Uint8Array): string[] {
  const reader = new MessageReader(bytes);
  const urls: string[] = [];
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 2) urls.push(...decodeUrlsOfMember(reader.bytes()));
  }
  return urls;
}

function decodeUrlsOfMember(bytes: Uint8Array): string[] {
  const reader = new MessageReader(bytes);
  const urls: string[] = [];
  let isLearner = false;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 4) urls.push(text(reader.bytes()));
    else if (field === 5) isLearner = reader.boolean();
  }
  return isLearner ? [] : urls;
}

function decodeHeader(bytes: Uint8Array): Header {
  const reader = new MessageReader(bytes);
  let cluster = "";
  let revision = 0;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) cluster = reader.id();
    else if (field === 3) revision = reader.integer();
  }
  return { cluster, revision };
}

function decodeKeyValue(bytes: Uint8Array): KeyValue {
  const reader = new MessageReader(bytes);
  let key: Uint8Array = new Uint8Array();
  let value: Uint8Array = new Uint8Array();
  let createRevision = 0;
  let modRevision = 0;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) key = reader.bytes();
    else if (field === 2) createRevision = reader.integer();
    else if (field === 3) modRevision = reader.integer();
    else if (field === 5) value = Uint8Array.from(reader.bytes());
  }
  return { key, value, createRevision, modRevision };
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}
