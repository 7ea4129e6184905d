#!/usr/bin/env node
import { main } from "../dist/cli/main.js";

process.exitCode = await main(process.argv.slice(2));
// What was printed is for its reader, however slow. What a library left open must not keep a finished command alive.
process.stdout.write("", () => setTimeout(() => process.exit(), 500).unref());
