/** `2026-01-01T00:00:00.000Z info  Node changed nodeName=node-1 from=Ready to=NotReady` */
const CHANGE = /^(\S+) info +Node changed nodeName=(\S+) from=\S+ to=(\S+)$/;

/** What the log of `rks` says about which nodes are not Ready any more. */
export class ReadinessLog {
  /** When each was found to be NotReady, by its name. */
  readonly notReady = new Map<string, number>();

  read(line: string): void {
    const [, time, name, to] = CHANGE.exec(line) ?? [];
    if (time === undefined || name === undefined) return;
    if (to === "NotReady") this.notReady.set(name, Date.parse(time));
  }
}
