#!/usr/bin/env node
const argv = process.argv.slice(2);
const isDaemon = argv[0] === "pod" && argv[1] === "daemon";
const { main } = isDaemon ? await import("../dist/cli/supervised.js") : await import("../dist/cli/main.js");

process.exitCode = await main(argv);
// What was printed is for its reader, however slow. Whatever else a command has left behind keeps nobody waiting.
process.stdout.write("", () => setTimeout(() => process.exit(), 500).unref());
