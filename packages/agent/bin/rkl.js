#!/usr/bin/env node
import { main } from "../dist/cli/main.js";

process.exitCode = await main(process.argv.slice(2));
// Whatever a command has left behind does not keep the terminal waiting.
setTimeout(() => process.exit(), 500).unref();
