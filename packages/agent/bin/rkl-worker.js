#!/usr/bin/env node
// Started by the supervisor in rkl.js, never by hand.
import { main } from "../dist/cli/worker.js";

process.exitCode = await main(process.argv.slice(2));
// Whatever a command has left behind does not keep the terminal waiting.
setTimeout(() => process.exit(), 500).unref();
