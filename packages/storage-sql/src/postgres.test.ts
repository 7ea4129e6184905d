import { storageContract } from "@rk8s/storage/testing";

import { concurrencyTests } from "./concurrency.contract.js";
import { contentTests } from "./content.contract.js";
import { historyTests } from "./history.contract.js";
import { outageTests } from "./outage.contract.js";
import { open } from "./testing/open.js";
import { suiteOn } from "./testing/sql-suite.js";

suiteOn("postgres", "the storage contract", (server) => {
  storageContract("postgres", async () => open(await server().newDatabase()));
  contentTests(server);
  concurrencyTests(server);
  historyTests(server);
});

suiteOn("postgres", "a server that dies, and answers that get lost", outageTests);
