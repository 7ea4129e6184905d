import { memoryStorage } from "./memory-storage.js";
import { storageContract } from "./testing/storage-contract.js";

storageContract("memory", () => Promise.resolve(memoryStorage()));
