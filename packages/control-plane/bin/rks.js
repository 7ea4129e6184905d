#!/usr/bin/env node
import { main } from "../dist/cli/main.js";

process.exitCode = await main(process.argv.slice(2));
// What a library left open must not keep a finished command alive.
setTimeout(() => process.exit(), 500).unref();
