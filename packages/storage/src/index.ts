export { assertListRange, assertTransaction } from "./assert-request.js";
export { assertStorePrefix } from "./etcd/prefix.js";
export { assertKey, compareKeys } from "./key.js";
export { Lease } from "./lease.js";
export type { LeaseInit, Taking } from "./lease.js";
export { memoryStorage } from "./memory-storage.js";
export { deletePrefix, pagesOf } from "./pages.js";
export { RecordCollection } from "./record-collection.js";
export type { Stored } from "./record-collection.js";
export { revisionOf } from "./revision.js";
export { busy, forgotten, storageClosed } from "./storage-errors.js";
export {
  MAX_KEY_BYTES,
  MAX_LIST_LIMIT,
  MAX_TRANSACTION_BYTES,
  MAX_TRANSACTION_WRITES,
  MAX_VALUE_BYTES,
} from "./storage.js";
export type {
  Change,
  Comparison,
  Entry,
  ListRange,
  Page,
  Storage,
  TransactionResult,
  Write,
} from "./storage.js";
export { untilCommitted } from "./until-committed.js";
export { copyWrite, sizeOfWrite } from "./write.js";
