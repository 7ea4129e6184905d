import { memoryStorage } from "./memory-storage.js";
import { storageContract } from "./storage.contract.js";

storageContract("memory", () => Promise.resolve(memoryStorage()));
