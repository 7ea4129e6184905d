import { FakeClock } from "@rk8s/protocol/testing";
import { podRuntimeContract } from "../pod-runtime.contract.js";
import { memoryRuntime } from "./memory-runtime.js";

podRuntimeContract("memory", {
  open: () => {
    const runtime = memoryRuntime({ clock: new FakeClock() });
    return Promise.resolve({
      runtime,
      reopen: () => Promise.resolve(runtime),
      dispose: () => Promise.resolve(),
    });
  },
  commands: {
    exit: (code) => ["exit", String(code)],
    print: (text) => ["print", text],
    run: ["run"],
    missing: ["missing"],
    deaf: ["deaf"],
  },
  terminatedExitCode: 143,
});
